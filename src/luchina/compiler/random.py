"""Native code of the random generator: mt19937 and PyTorch's rules from its words to numbers.

Everything here is serial, in memory order, so a result does not depend on the number of threads. Each rule is a
function of its own, compiled when it is first used:

    void rule(ptr engine, ptr out, i64 n, arguments…)

The engine's words come tempered, a block of 624 at a time, through a staging area in the engine's memory. Where
PyTorch's CPU build fuses a multiplication and an addition, so does the code here: the last bit depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from string import Template

from luchina.compiler.body import ITEMSIZE, emit_cast, load_value, round_to, store_value
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, lanes_of, module, vector
from luchina.compiler.kernel import Kernel
from luchina.compiler.prims import FLOATS
from luchina.compiler.target import Target

# The engine's memory, in bytes.
WORDS_FUNCTION = 0
POSITION = 8  # words of the current block that are used up: 0 to 624
FRESH = 16  # seeded, and no word drawn yet
HAS_NORMAL, NORMAL = 24, 32  # the second number of a pair of normals, kept for the next call
STATUS = 40  # why a rule refused its data; 0 if it did not
STATE = 64  # 624 words and one more that the twist uses
NEXT = 2624
TEMPERED = 5184
STAGE = 7744
STAGE_WORDS = 1024
ENGINE_BYTES = 12288

# ---- the engine

_ENGINE = Template("""
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal void @twist(ptr %old, ptr %other, ptr %new, i64 %from, i64 %to) nounwind {
entry:
  %last = sub i64 %to, $L
  br label %head
head:
  %i = phi i64 [ %from, %entry ], [ %j, %body ]
  %more = icmp slt i64 %i, %to
  br i1 %more, label %body, label %end
body:
  ; The last vector overlaps the one before it: old and new are different memory, so doing a word twice is harmless.
  %at = call i64 @llvm.smin.i64(i64 %i, i64 %last)
  %p = getelementptr i32, ptr %old, i64 %at
  %u = load $V, ptr %p, align 4
  %q = getelementptr i32, ptr %p, i64 1
  %v = load $V, ptr %q, align 4
  %r = getelementptr i32, ptr %other, i64 %at
  %w = load $V, ptr %r, align 4
  %high = and $V %u, splat (i32 -2147483648)
  %low = and $V %v, splat (i32 2147483647)
  %mixed = or $V %high, %low
  %half = lshr $V %mixed, splat (i32 1)
  %bit = and $V %v, splat (i32 1)
  %sign = sub $V zeroinitializer, %bit
  %matrix = and $V %sign, splat (i32 -1727483681)
  %a = xor $V %w, %half
  %b = xor $V %a, %matrix
  %s = getelementptr i32, ptr %new, i64 %at
  store $V %b, ptr %s, align 4
  %j = add i64 %i, $L
  br label %head
end:
  ret void
}
declare i64 @llvm.smin.i64(i64, i64)

; Temper 624 words of %from, and keep them in %state.
define void @temper(ptr %from, ptr %state, ptr %out) nounwind {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %j, %head ]
  %p = getelementptr i32, ptr %from, i64 %i
  %y0 = load $V, ptr %p, align 4
  %q = getelementptr i32, ptr %state, i64 %i
  store $V %y0, ptr %q, align 4
  %a1 = lshr $V %y0, splat (i32 11)
  %y1 = xor $V %y0, %a1
  %a2 = shl $V %y1, splat (i32 7)
  %b2 = and $V %a2, splat (i32 -1658038656)
  %y2 = xor $V %y1, %b2
  %a3 = shl $V %y2, splat (i32 15)
  %b3 = and $V %a3, splat (i32 -272236544)
  %y3 = xor $V %y2, %b3
  %a4 = lshr $V %y3, splat (i32 18)
  %y4 = xor $V %y3, %a4
  %r = getelementptr i32, ptr %out, i64 %i
  store $V %y4, ptr %r, align 4
  %j = add i64 %i, $L
  %more = icmp slt i64 %j, 624
  br i1 %more, label %head, label %end
end:
  ret void
}

define internal void @refill(ptr %engine) nounwind {
  %state = getelementptr i8, ptr %engine, i64 $STATE
  %next = getelementptr i8, ptr %engine, i64 $NEXT
  %tempered = getelementptr i8, ptr %engine, i64 $TEMPERED
  %ahead = getelementptr i32, ptr %state, i64 397
  call void @twist(ptr %state, ptr %ahead, ptr %next, i64 0, i64 227)
  %first = load i32, ptr %next
  %beyond = getelementptr i32, ptr %state, i64 624
  store i32 %first, ptr %beyond
  %behind = getelementptr i32, ptr %next, i64 -227
  call void @twist(ptr %state, ptr %behind, ptr %next, i64 227, i64 624)
  call void @temper(ptr %next, ptr %state, ptr %tempered)
  %position = getelementptr i8, ptr %engine, i64 $POSITION
  store i64 0, ptr %position
  %fresh = getelementptr i8, ptr %engine, i64 $FRESH
  store i64 0, ptr %fresh
  ret void
}

; The next %n words.
define void @words(ptr %engine, ptr %out, i64 %n) nounwind {
entry:
  %tempered = getelementptr i8, ptr %engine, i64 $TEMPERED
  %position.at = getelementptr i8, ptr %engine, i64 $POSITION
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %following, %copy ]
  %left = sub i64 %n, %i
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %look, label %end
look:
  %position = load i64, ptr %position.at
  %empty = icmp sge i64 %position, 624
  br i1 %empty, label %refill, label %copy
refill:
  call void @refill(ptr %engine)
  br label %copy
copy:
  %at = phi i64 [ %position, %look ], [ 0, %refill ]
  %here = sub i64 624, %at
  %count = call i64 @llvm.smin.i64(i64 %here, i64 %left)
  %bytes = shl i64 %count, 2
  %from = getelementptr i32, ptr %tempered, i64 %at
  %to = getelementptr i32, ptr %out, i64 %i
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  %used = add i64 %at, %count
  store i64 %used, ptr %position.at
  %following = add i64 %i, %count
  br label %head
end:
  ret void
}

define void @seed(ptr %engine, i64 %seed) nounwind {
entry:
  %state = getelementptr i8, ptr %engine, i64 $STATE
  %first = trunc i64 %seed to i32
  store i32 %first, ptr %state
  br label %head
head:
  %i = phi i64 [ 1, %entry ], [ %j, %head ]
  %x = phi i32 [ %first, %entry ], [ %z, %head ]
  %a = lshr i32 %x, 30
  %b = xor i32 %x, %a
  %c = mul i32 %b, 1812433253
  %k = trunc i64 %i to i32
  %z = add i32 %c, %k
  %p = getelementptr i32, ptr %state, i64 %i
  store i32 %z, ptr %p
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, 624
  br i1 %more, label %head, label %end
end:
  %position = getelementptr i8, ptr %engine, i64 $POSITION
  store i64 624, ptr %position
  %fresh = getelementptr i8, ptr %engine, i64 $FRESH
  store i64 1, ptr %fresh
  %has = getelementptr i8, ptr %engine, i64 $HAS_NORMAL
  store i64 0, ptr %has
  ret void
}
""")


def engine_kernel() -> Kernel:
    """``words(engine, out, n)``, ``seed(engine, seed)`` and ``temper(from, state, out)``."""

    def emit(target: Target) -> str:
        lanes = min(16, target.lanes("int32"))  # 624 is a multiple of 16
        offsets = {name: value for name, value in globals().items() if name.isupper() and isinstance(value, int)}
        text = _ENGINE.substitute(offsets, L=lanes, V=vector("i32", lanes))
        return f'target triple = "{target.triple}"\n{text}'

    return Kernel("words", "random.engine", emit)


# ---- from words to numbers: each takes registers of any number of lanes


def unit(e: Emitter, dtype: str, word: Operand) -> Operand:
    """Uniform in [0, 1): the low 24 bits of a word as float32, or the low 53 of a pair as float64."""
    element, bits = ("double", 53) if dtype == "float64" else ("float", 24)
    low = e.bin("and", word, e.const(word.type, (1 << bits) - 1))
    number = e.cast("sitofp", low, element)
    return e.bin("fmul", number, e.const(number.type, 2.0**-bits))


def _fma(e: Emitter, a: Operand, b: Operand, c: Operand) -> Operand:
    return e.intrinsic("fma", a, b, c)


def _narrow(e: Emitter, dtype: str, value: Operand) -> Operand:
    """A double as the register value of ``dtype``: PyTorch goes to 16 bits by way of float32."""
    return emit_cast(e, "float64", dtype, value)


class Rule:
    """The function that is being written: its emitter, its arguments and where it draws and stores."""

    def __init__(self, e: Emitter, dtype: str) -> None:
        self.e = e
        self.dtype = dtype
        self.engine, self.out, self.n = Operand("ptr", "%engine"), Operand("ptr", "%out"), Operand("i64", "%n")
        self.stage = e.gep("i8", self.engine, STAGE)
        self.draw_function = e.load("ptr", self.engine, 8)
        self.helpers: list[str] = []

    def draw(self, words: Operand) -> None:
        """Put the next words into the staging area."""
        self.e.raw(f"call void {self.draw_function.text}({self.engine}, {self.stage}, {words})")

    def word(self, index: Operand, words: int, lanes: int = 1) -> Operand:
        """Staged words of element ``index`` and those after it: one each, or two joined, the first one on top."""
        e = self.e
        if words == 1:
            return e.load(vector("i32", lanes), e.gep("i32", self.stage, index), 4)
        pointer = e.gep("i64", self.stage, index)
        pair = e.load(vector("i64", lanes), pointer, 4)
        high, low = e.bin("shl", pair, e.const(pair.type, 32)), e.bin("lshr", pair, e.const(pair.type, 32))
        return e.bin("or", high, low)

    @contextmanager
    def chunks(self, words: int) -> Iterator[tuple[Operand, Operand]]:
        """The elements in pieces whose words fit the staging area and are drawn: ``(first, count)``."""
        e, size = self.e, STAGE_WORDS // words
        with e.loop(e.i64(0), self.n, size) as chunk:
            left = e.sub(self.n, chunk.index)
            count = e.call("i64", "llvm.smin.i64", left, e.i64(size))
            self.draw(e.mul(count, words))
            yield chunk.index, count

    def each(self, words: int, lanes: int, value: Callable[[Operand, Operand], Operand]) -> None:
        """``out[i] = value(i, word i)``, in vectors of ``lanes`` and what remains one by one."""
        e = self.e
        with self.chunks(words) as (first, count):
            whole = e.bin("and", count, e.i64(-lanes))
            for width, start, stop in ((lanes, e.i64(0), whole), (1, whole, count)):
                with e.loop(start, stop, width) as i:
                    at = e.add(first, i.index)
                    self.store(at, value(at, self.word(i.index, words, width)))
                if lanes == 1:
                    break

    def store(self, at: Operand, value: Operand) -> None:
        store_value(self.e, self.dtype, value, self.e.gep(STORAGE_TYPE[self.dtype], self.out, at))


def _argument(e: Emitter, name: str, type_: str, lanes: int, element: str | None = None) -> Operand:
    value = Operand(type_, f"%{name}")
    if element is not None and element != type_:
        value = e.cast("fptrunc", value, element)
    return e.splat(value, lanes)


def _compute(dtype: str) -> str:
    return "double" if dtype == "float64" else "float"


def _words_for(dtype: str) -> int:
    return 2 if dtype == "float64" else 1


# ---- the rules; the signature of each stands beside it in RULES


def _uniform(r: Rule, target: Target) -> None:
    """``fma(u, high - low, low)``; a result that rounding lifted to ``high`` becomes ``low``."""
    e, element = r.e, _compute(r.dtype)

    def value(at: Operand, word: Operand) -> Operand:
        lanes = lanes_of(word.type)
        low, high = (_argument(e, name, "double", lanes, element) for name in ("low", "high"))
        x = _fma(e, unit(e, r.dtype, word), e.bin("fsub", high, low), low)
        x, low, high = (round_to(e, r.dtype, v) for v in (x, low, high))
        return e.select(e.fcmp("oeq", x, high), low, x)

    r.each(_words_for(r.dtype), target.lanes(r.dtype), value)


def _randint(words: int) -> Callable[[Rule, Target], None]:
    def emit(r: Rule, target: Target) -> None:
        """``low + word % range``."""
        e = r.e

        def value(at: Operand, word: Operand) -> Operand:
            if words == 1:
                rest = e.bin("urem", word, e.inst("i32", "trunc i64 %range to i32"))
                rest = e.cast("zext", rest, "i64")
            else:
                rest = e.bin("urem", word, Operand("i64", "%range"))
            return emit_cast(e, "int64", r.dtype, e.bin("add", rest, Operand("i64", "%low")))

        r.each(words, 1, value)

    return emit


def _random(words: int) -> Callable[[Rule, Target], None]:
    def emit(r: Rule, target: Target) -> None:
        """The raw pair of words as int64: the full range of 64 bits."""
        r.each(words, 1, lambda at, word: emit_cast(r.e, "int64", r.dtype, word))

    return emit


def _randperm(r: Rule, target: Target) -> None:
    """Forward Fisher-Yates: element i is swapped with one of those from i on."""
    e = r.e
    element = STORAGE_TYPE[r.dtype]
    with e.loop(e.i64(0), r.n) as i:
        r.store(i.index, emit_cast(e, "int64", r.dtype, i.index))
    total = r.n
    r.n = e.sub(total, 1)
    with r.chunks(1) as (first, count), e.loop(e.i64(0), count) as i:
        at = e.add(first, i.index)
        left = e.cast("trunc", e.sub(total, at), "i32")
        step = e.cast("zext", e.bin("urem", r.word(i.index, 1), left), "i64")
        here = e.gep(element, r.out, at)
        there = e.gep(element, here, step)
        a, b = e.load(element, here, ITEMSIZE[r.dtype]), e.load(element, there, ITEMSIZE[r.dtype])
        e.store(b, here, ITEMSIZE[r.dtype])
        e.store(a, there, ITEMSIZE[r.dtype])


def _randperm_large(r: Rule, target: Target) -> None:
    """Inside-out shuffle with 64-bit draws, for so many elements that 32 bits would be unfair."""
    e = r.e
    element = STORAGE_TYPE[r.dtype]
    with r.chunks(2) as (first, count), e.loop(e.i64(0), count) as i:
        at = e.add(first, i.index)
        other = e.bin("urem", r.word(i.index, 2), e.add(at, 1))
        r.store(at, emit_cast(e, "int64", r.dtype, at))
        here, there = e.gep(element, r.out, at), e.gep(element, r.out, other)
        e.store(e.load(element, there, ITEMSIZE[r.dtype]), here, ITEMSIZE[r.dtype])
        r.store(other, emit_cast(e, "int64", r.dtype, at))


# ---- normals

_LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_QUARTER = (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)


def _horner(e: Emitter, x: Operand, coefficients: tuple[float, ...]) -> Operand:
    value = e.const(x.type, coefficients[0])
    for c in coefficients[1:]:
        value = _fma(e, value, x, e.const(x.type, c))
    return value


def _cephes_log(e: Emitter, v: Operand) -> Operand:
    """ln v of positive normal float32 as the Cephes polynomial gives it."""

    def c(value: float) -> Operand:
        return e.const(v.type, value)

    bits = e.cast("bitcast", v, "i32")
    exponent = e.sub(e.bin("lshr", bits, e.const(bits.type, 23)), 126)
    mantissa = e.bin("or", e.bin("and", bits, e.const(bits.type, 0x807FFFFF)), e.const(bits.type, 0x3F000000))
    m, n = e.cast("bitcast", mantissa, "float"), e.cast("sitofp", exponent, "float")
    small = e.fcmp("olt", m, c(0.707106781186547524))
    n = e.bin("fsub", n, e.select(small, c(1.0), c(0.0)))
    x = e.bin("fsub", m, c(1.0))
    x = e.bin("fadd", x, e.select(small, m, c(0.0)))
    z = e.bin("fmul", x, x)
    y = e.bin("fmul", _horner(e, x, _LOG), x)
    y = _fma(e, y, z, e.bin("fmul", n, c(-2.12194440e-4)))
    y = _fma(e, z, c(-0.5), y)
    return _fma(e, n, c(0.693359375), e.bin("fadd", x, y))


def _cephes_sincos(e: Emitter, theta: Operand) -> tuple[Operand, Operand]:
    """Sine and cosine of non-negative float32 as the Cephes polynomials give them."""

    def c(value: float) -> Operand:
        return e.const(theta.type, value)

    octant = e.cast("fptosi", e.bin("fmul", theta, c(1.27323954473516)), "i32")
    octant = e.bin("and", e.add(octant, 1), e.const(octant.type, ~1))
    j = e.cast("sitofp", octant, "float")
    x = theta
    for part in _QUARTER:
        x = _fma(e, j, c(part), x)
    z = e.bin("fmul", x, x)
    cos = e.bin("fmul", _horner(e, z, _COS), z)
    half = e.bin("fmul", z, c(0.5))
    cos = e.bin("fadd", _fma(e, cos, z, e.inst(half.type, f"fneg {half}")), c(1.0))
    sin = _fma(e, e.bin("fmul", _horner(e, z, _SIN), z), x, x)

    def bit(value: Operand, which: int) -> Operand:
        return e.icmp("ne", e.bin("and", value, e.const(value.type, which)), e.const(value.type, 0))

    def negate(value: Operand, where: Operand) -> Operand:
        return e.select(where, e.inst(value.type, f"fneg {value}"), value)

    swap = bit(octant, 2)
    sine, cosine = e.select(swap, cos, sin), e.select(swap, sin, cos)
    return negate(sine, bit(octant, 4)), negate(cosine, bit(e.add(octant, 2), 4))


def _pair(e: Emitter, dtype: str, u1: Operand, u2: Operand) -> tuple[Operand, Operand]:
    """Box-Muller: two uniforms in [0, 1) give two normals, cosine first."""
    one, two_pi = e.const(u1.type, 1.0), e.const(u1.type, 2 * math.pi)
    u1 = e.bin("fsub", one, u1)
    theta = e.bin("fmul", two_pi, u2)
    if dtype == "float64":
        log, sin, cos = (e.call("double", name, v) for name, v in (("log", u1), ("sin", theta), ("cos", theta)))
    else:
        log = _cephes_log(e, u1)
        sin, cos = _cephes_sincos(e, theta)
    radius = e.intrinsic("sqrt", e.bin("fmul", e.const(log.type, -2.0), log))
    return e.bin("fmul", radius, cos), e.bin("fmul", radius, sin)


def _normal_block(r: Rule, at: Operand, words_at: Operand) -> None:
    """``out[at : at + 16]`` from 16 staged uniforms: the first eight are radii, the others angles."""
    e, dtype = r.e, r.dtype
    lanes = 1 if dtype == "float64" else 8

    def one(j: Operand) -> None:
        first = e.add(words_at, j)
        u1 = unit(e, dtype, r.word(first, _words_for(dtype), lanes))
        u2 = unit(e, dtype, r.word(e.add(first, 8), _words_for(dtype), lanes))
        mean, std = (_argument(e, name, "double", lanes, _compute(dtype)) for name in ("mean", "std"))
        place = e.add(at, j)
        for where, z in zip((place, e.add(place, 8)), _pair(e, dtype, u1, u2)):
            r.store(where, _fma(e, z, std, mean))

    if lanes == 8:
        one(e.i64(0))
    else:
        with e.loop(e.i64(0), e.i64(8)) as j:
            one(j.index)


def _normal(r: Rule, target: Target) -> None:
    """n ≥ 16 normals in blocks; when n is no multiple of 16 the last 16 are drawn anew."""
    e, n, words = r.e, r.n, _words_for(r.dtype)
    whole = e.bin("and", n, e.i64(-16))
    r.n = whole
    with r.chunks(words) as (first, count), e.loop(e.i64(0), count, 16) as block:
        _normal_block(r, e.add(first, block.index), block.index)
    rest = e.sub(n, whole)
    with e.when(e.icmp("ne", rest, e.i64(0))):
        if r.dtype in ("float32", "float64"):
            r.draw(e.mul(rest, words))  # PyTorch fills all of the output with uniforms first
        r.draw(e.i64(16 * words))
        _normal_block(r, e.sub(n, 16), e.i64(0))


def _next_normal(r: Rule) -> Operand:
    """One normal in double precision; they come in pairs, and the engine keeps the second."""
    e = r.e
    has_at, kept_at = e.gep("i8", r.engine, HAS_NORMAL), e.gep("i8", r.engine, NORMAL)
    kept, new, join = (e.fresh("normal") for _ in range(3))
    has = e.load("i64", has_at, 8)
    e.cond_br(e.icmp("ne", has, e.i64(0)), kept, new)
    e.label(kept)
    old = e.load("double", kept_at, 8)
    e.store(e.i64(0), has_at, 8)
    e.br(join)
    e.label(new)
    r.draw(e.i64(4))
    u1, u2 = (unit(e, "float64", r.word(e.i64(k), 2)) for k in (0, 1))
    log = e.call("double", "log1p", e.inst("double", f"fneg {u2}"))
    radius = e.intrinsic("sqrt", e.bin("fmul", e.const("double", -2.0), log))
    theta = e.bin("fmul", e.const("double", 2 * math.pi), u1)
    e.store(e.bin("fmul", radius, e.call("double", "sin", theta)), kept_at, 8)
    e.store(e.i64(1), has_at, 8)
    fresh = e.bin("fmul", radius, e.call("double", "cos", theta))
    last = e.block
    e.br(join)
    e.label(join)
    return e.phi("double", [(old, kept), (fresh, last)])


def _normal_scalar(r: Rule, target: Target) -> None:
    """Normals one by one, for fewer than 16 or a strided output."""
    e = r.e
    with e.loop(e.i64(0), r.n) as i:
        z = _fma(e, _next_normal(r), Operand("double", "%std"), Operand("double", "%mean"))
        r.store(i.index, _narrow(e, r.dtype, z))


def _log_normal(r: Rule, target: Target) -> None:
    e = r.e
    with e.loop(e.i64(0), r.n) as i:
        z = _fma(e, _next_normal(r), Operand("double", "%std"), Operand("double", "%mean"))
        r.store(i.index, _narrow(e, r.dtype, e.call("double", "exp", z)))


# ---- other distributions


def _bernoulli(r: Rule, target: Target) -> None:
    """1 where u < p, in double precision."""

    def value(at: Operand, word: Operand) -> Operand:
        below = r.e.fcmp("olt", unit(r.e, "float64", word), _argument(r.e, "p", "double", lanes_of(word.type)))
        return emit_cast(r.e, "bool", r.dtype, below)

    r.each(2, min(8, target.lanes("float64")), value)


def _bernoulli_tensor(p_dtype: str) -> Callable[[Rule, Target], None]:
    def emit(r: Rule, target: Target) -> None:
        """1 where u < p[i], in the precision of p, at least float32."""
        e = r.e

        def value(at: Operand, word: Operand) -> Operand:
            lanes = lanes_of(word.type)
            p = load_value(e, p_dtype, e.gep(STORAGE_TYPE[p_dtype], Operand("ptr", "%p"), at), lanes)
            return emit_cast(e, "bool", r.dtype, e.fcmp("olt", unit(e, p_dtype, word), p))

        r.each(_words_for(p_dtype), target.lanes(p_dtype), value)

    return emit


def _exponential(r: Rule, target: Target) -> None:
    """``-1/λ · log1p(-u)`` in double precision."""
    e = r.e

    def value(at: Operand, word: Operand) -> Operand:
        u = unit(e, "float64", word)
        log = e.call("double", "log1p", e.inst("double", f"fneg {u}"))
        rate = e.bin("fdiv", e.const("double", -1.0), Operand("double", "%rate"))
        return _narrow(e, r.dtype, e.bin("fmul", rate, log))

    r.each(2, 1, value)


def _geometric(r: Rule, target: Target) -> None:
    """``⌈log u / log1p(-p)⌉`` in double precision."""
    e = r.e

    def value(at: Operand, word: Operand) -> Operand:
        log = e.call("double", "log", unit(e, "float64", word))
        base = e.call("double", "log1p", e.inst("double", "fneg double %p"))
        return _narrow(e, r.dtype, e.call("double", "ceil", e.bin("fdiv", log, base)))

    r.each(2, 1, value)


def _cauchy(r: Rule, target: Target) -> None:
    """``median + σ·tan(π(u - 1/2))`` in double precision."""
    e = r.e

    def value(at: Operand, word: Operand) -> Operand:
        u = e.bin("fsub", unit(e, "float64", word), e.const("double", 0.5))
        tan = e.call("double", "tan", e.bin("fmul", e.const("double", math.pi), u))
        x = _fma(e, Operand("double", "%sigma"), tan, Operand("double", "%median"))
        return _narrow(e, r.dtype, x)

    r.each(2, 1, value)


# Rule: its arguments after (engine, out, n), as LLVM has them, and the function that writes it.
RULES: dict[str, tuple[str, Callable[[Rule, Target], None]]] = {
    "uniform": ("double %low, double %high", _uniform),
    "randint32": ("i64 %low, i64 %range", _randint(1)),
    "randint64": ("i64 %low, i64 %range", _randint(2)),
    "random64": ("", _random(2)),
    "randperm": ("", _randperm),
    "randperm_large": ("", _randperm_large),
    "normal": ("double %mean, double %std", _normal),
    "normal_scalar": ("double %mean, double %std", _normal_scalar),
    "log_normal": ("double %mean, double %std", _log_normal),
    "bernoulli": ("double %p", _bernoulli),
    **{f"bernoulli_tensor_{dtype}": ("ptr %p", _bernoulli_tensor(dtype)) for dtype in sorted(FLOATS)},
    "exponential": ("double %rate", _exponential),
    "geometric": ("double %p", _geometric),
    "cauchy": ("double %median, double %sigma", _cauchy),
}


def find_rule(rule: str) -> tuple[str, Callable[[Rule, Target], None]]:
    """The arguments of a rule and the function that writes it."""
    if rule.startswith("multinomial"):
        from luchina.compiler import multinomial

        return multinomial.RULES[rule]
    return RULES[rule]


def rule_kernel(rule: str, dtype: str) -> Kernel:
    """The function of one rule that writes elements of ``dtype``."""
    arguments, write = find_rule(rule)
    signature = ", ".join(["ptr %engine, ptr %out, i64 %n", *filter(None, [arguments])])

    def emit(target: Target) -> str:
        e = Emitter()
        r = Rule(e, dtype)
        write(r, target)
        return module([*r.helpers, e.function(kernel.name, signature)], e.declarations, target.triple)

    kernel = Kernel(None, f"random.{rule}.{dtype}", emit)
    return kernel
