"""The notation of the vector mathematics: formulas over whole vectors, written as one writes them over numbers.

``Lanes`` is a register value with its writer; ``a * b + 1`` appends two instructions. ``Mathematics`` says in what
type a function is computed and how accurate it has to be: the polynomials of float32 are short. Comparisons give
masks (``i1`` vectors), which ``select`` takes: nothing branches. Products and sums are fused only where ``fma`` is
written, so the bits never depend on the number of lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from luchina.compiler.ir import Emitter, Operand, element_of, lanes_of, vector
from luchina.compiler.vecmath.coefficients import LONG, SHORT

Number = float | int

# Irrational constants in 160 bits of fraction.
_SCALE = 1 << 160
LN2 = Fraction(0xB17217F7D1CF79ABC9E3B39803F2F6AF40F34326, _SCALE)
LOG2E = Fraction(0x171547652B82FE1777D0FFDA0D23A7D11D6AEF552, _SCALE)
LOG10_2 = Fraction(0x4D104D427DE7FBCC47C4ACD605BE48BC13569863, _SCALE)
LOG10E = Fraction(0x6F2DEC549B9438CA9AADD557D699EE191F71A301, _SCALE)
PI = Fraction(0x3243F6A8885A308D313198A2E03707344A4093822, _SCALE)


def shortened(value: Fraction, bits: int) -> float:
    """The first ``bits`` significant bits of a positive ``value``."""
    unit = Fraction(2) ** (value.numerator.bit_length() - value.denominator.bit_length() - bits)
    if value >= unit * 2**bits:
        unit *= 2
    return float(value // unit * unit)


class Lanes:
    """A register value in a formula. The other operand of an operator may be a number."""

    __slots__ = ("m", "v")

    def __init__(self, m: Mathematics, v: Operand) -> None:
        self.m = m
        self.v = v

    def _new(self, v: Operand) -> Lanes:
        return Lanes(self.m, v)

    def _bin(self, opcode: str, a: Lanes | Number, b: Lanes | Number) -> Lanes:
        kind = self.v.type
        opcode = opcode if element_of(kind) not in ("float", "double") else "f" + opcode
        return self._new(self.m.e.bin(opcode, self.m.operand(a, kind), self.m.operand(b, kind)))

    def __add__(self, other: Lanes | Number) -> Lanes:
        return self._bin("add", self, other)

    def __radd__(self, other: Number) -> Lanes:
        return self._bin("add", other, self)

    def __sub__(self, other: Lanes | Number) -> Lanes:
        return self._bin("sub", self, other)

    def __rsub__(self, other: Number) -> Lanes:
        return self._bin("sub", other, self)

    def __mul__(self, other: Lanes | Number) -> Lanes:
        return self._bin("mul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Lanes | Number) -> Lanes:
        return self._bin("div", self, other)

    def __rtruediv__(self, other: Number) -> Lanes:
        return self._bin("div", other, self)

    def __neg__(self) -> Lanes:
        return self._new(self.m.e.inst(self.v.type, f"fneg {self.v}"))

    def __and__(self, other: Lanes | Number) -> Lanes:
        return self._int("and", other)

    def __or__(self, other: Lanes | Number) -> Lanes:
        return self._int("or", other)

    def __xor__(self, other: Lanes | Number) -> Lanes:
        return self._int("xor", other)

    def __lshift__(self, other: Lanes | Number) -> Lanes:
        return self._int("shl", other)

    def __rshift__(self, other: Lanes | Number) -> Lanes:
        """Shifts zeros in."""
        return self._int("lshr", other)

    def _int(self, opcode: str, other: Lanes | Number) -> Lanes:
        return self._new(self.m.e.bin(opcode, self.v, self.m.operand(other, self.v.type)))

    def _compare(self, name: str, other: Lanes | Number) -> Lanes:
        b = self.m.operand(other, self.v.type)
        if element_of(self.v.type) in ("float", "double"):
            return self._new(self.m.e.fcmp(("u" if name == "ne" else "o") + name, self.v, b))
        return self._new(self.m.e.icmp(name if name in ("eq", "ne") else "s" + name, self.v, b))

    def __lt__(self, other: Lanes | Number) -> Lanes:
        return self._compare("lt", other)

    def __le__(self, other: Lanes | Number) -> Lanes:
        return self._compare("le", other)

    def __gt__(self, other: Lanes | Number) -> Lanes:
        return self._compare("gt", other)

    def __ge__(self, other: Lanes | Number) -> Lanes:
        return self._compare("ge", other)

    def equals(self, other: Lanes | Number) -> Lanes:
        return self._compare("eq", other)

    def differs(self, other: Lanes | Number) -> Lanes:
        return self._compare("ne", other)

    def is_nan(self) -> Lanes:
        return self._new(self.m.e.fcmp("uno", self.v, self.v))

    def select(self, yes: Lanes | Number, no: Lanes | Number) -> Lanes:
        """``yes`` where this mask holds, else ``no``: at least one is a value."""
        kind = yes.v.type if isinstance(yes, Lanes) else no.v.type  # type: ignore[union-attr]
        return self._new(self.m.e.select(self.v, self.m.operand(yes, kind), self.m.operand(no, kind)))

    def _intrinsic(self, name: str, *more: Lanes | Number) -> Lanes:
        return self._new(self.m.e.intrinsic(name, self.v, *(self.m.operand(a, self.v.type) for a in more)))

    def abs(self) -> Lanes:
        return self._intrinsic("fabs")

    def sqrt(self) -> Lanes:
        return self._intrinsic("sqrt")

    def trunc(self) -> Lanes:
        return self._intrinsic("trunc")

    def with_sign(self, sign: Lanes) -> Lanes:
        """The magnitude of this with the sign of ``sign``."""
        return self._intrinsic("copysign", sign)

    def at_most(self, limit: Number) -> Lanes:
        """The lesser of this and ``limit``; NaN stays."""
        return (self > limit).select(limit, self)

    def at_least(self, limit: Number) -> Lanes:
        return (self < limit).select(limit, self)

    def bits(self) -> Lanes:
        """The same bits as integers."""
        return self._new(self.m.e.cast("bitcast", self.v, self.m.integer))

    def as_float(self) -> Lanes:
        """The same bits as floating-point numbers."""
        return self._new(self.m.e.cast("bitcast", self.v, self.m.element))


class Mathematics:
    """Where and how functions are written: the emitter, whether the machine multiplies and adds in one instruction, the
    element type and the accuracy wanted; ``alone`` is a machine without a C library, ``scales`` one that has AVX-512's
    instruction for x·2ⁿ."""

    def __init__(
        self, e: Emitter, fused: bool, element: str, accuracy: str, alone: bool = False, scales: bool = False
    ) -> None:
        double = element == "double"
        self.e = e
        self.element = element
        self.fused = fused
        self.alone = alone
        self.scales = scales
        self.long = LONG
        self.table = LONG if accuracy == "double" else SHORT
        self.double = double
        self.integer = "i64" if double else "i32"
        self.precision = 53 if double else 24
        self.bias = 1023 if double else 127
        self.mantissa_bits = self.precision - 1
        self._constants: dict[tuple[str, Number], Operand] = {}

    def operand(self, a: Lanes | Number, kind: str) -> Operand:
        if isinstance(a, Lanes):
            return a.v
        key = (kind, a)
        if a == 0 or (found := self._constants.get(key)) is None:  # 0.0 and -0.0 are one key
            found = self._constants[key] = self.e.const(kind, a)
        return found

    def constant(self, value: Number, like: Lanes) -> Lanes:
        """A number as lanes, of the type of ``like``."""
        return Lanes(self, self.operand(value, like.v.type))

    def fma(self, a: Lanes, b: Lanes | Number, c: Lanes | Number) -> Lanes:
        """a·b + c, rounded once where the machine can."""
        if not self.fused:
            return a * b + c
        return a._intrinsic("fma", b, c)

    def polynomial(self, name: str, x: Lanes) -> Lanes:
        """A polynomial of the tables."""
        return self.horner(self.table[name], x)

    def horner(self, coefficients: Sequence[float], x: Lanes) -> Lanes:
        """Σ cₖ·xᵏ, the constant first, by Horner's rule."""
        result: Lanes | float = coefficients[-1]
        for c in reversed(coefficients[:-1]):
            result = self.fma(x, result, c)
        return result  # type: ignore[return-value]

    def by_halves(self, name: str, x: Lanes) -> Lanes:
        """A polynomial of the tables by Estrin's scheme: a few products more, but a chain of log₂ n steps, not of n.

        A core looks ahead some hundred instructions: of a long formula that is too few elements to keep it busy, if
        each waits for itself all the way.
        """
        terms: list[Lanes | float] = list(self.table[name])
        power = x
        while len(terms) > 1:
            pairs: list[Lanes | float] = [self.fma(power, high, low) for low, high in zip(terms[::2], terms[1::2])]
            terms = pairs + terms[len(pairs) * 2 :]
            if len(terms) > 1:
                power = power * power
        return terms[0]  # type: ignore[return-value]

    def parts(self, value: Fraction, count: int, bits: int) -> list[float]:
        """``value`` as an unevaluated sum of numbers of ``bits`` significant bits, the last as long as it can be. None
        is negative, so that x - 0·part is x for -0.0 too."""
        result = []
        for i in range(count):
            part = shortened(value, bits if i < count - 1 else self.precision)
            result.append(part)
            value -= Fraction(part)
        return result

    def minus_multiple(self, x: Lanes, n: Lanes, value: Fraction, count: int = 2) -> Lanes:
        """x - n·value for an integer n, as if in more digits: Cody and Waite's reduction."""
        bits = self.precision if self.fused else {53: 33, 24: 14}[self.precision]
        for part in self.parts(value, count if self.fused else count + 1, bits):
            x = self.fma(n, -part, x) if self.fused else x - n * part
        return x

    def product(self, a: Lanes, b: Lanes | Number) -> tuple[Lanes, Lanes]:
        """a·b as a rounded product and its error, exactly."""
        p = a * b
        if self.fused:
            return p, self.fma(a, b, -p)
        half = float(2 ** ((self.precision + 1) // 2) + 1)
        b = b if isinstance(b, Lanes) else self.constant(b, a)
        a1 = a * half - (a * half - a)
        b1 = b * half - (b * half - b)
        a2, b2 = a - a1, b - b1
        return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2

    def nearest(self, x: Lanes, factor: float) -> tuple[Lanes, Lanes]:
        """The integer nearest to x·factor, as a float and as an integer (some integer for a NaN)."""
        magic = 1.5 * 2.0 ** (self.precision - 1)
        shifted = self.fma(x, factor, magic)
        return shifted - magic, shifted.bits() - magic_bits(self.double)

    def power_of_two(self, n: Lanes) -> Lanes:
        """2ⁿ for an integer n within the exponents of normal numbers."""
        return ((n + self.bias) << self.mantissa_bits).as_float()

    def scale(self, x: Lanes, n: Lanes) -> Lanes:
        """x·2ⁿ, rounded once: n may lead to infinity or below the normal numbers."""
        if self.scales and lanes_of(x.v.type) * (64 if self.double else 32) % 512 == 0:
            return self._scale_by_512_bits(x, self.small_float(n))
        first = ((n + 8192) >> 1) - 4096
        return x * self.power_of_two(first) * self.power_of_two(n - first)

    def _scale_by_512_bits(self, x: Lanes, n: Lanes) -> Lanes:
        """``scale`` for an n that is a float, by one instruction for a vector."""
        e, kind, lanes = self.e, x.v.type, lanes_of(x.v.type)
        own = 8 if self.double else 16
        if lanes > own:  # in halves
            halves = []
            for start in (0, lanes // 2):
                order = ", ".join(f"i32 {start + i}" for i in range(lanes // 2))
                a, b = (
                    e.inst(
                        vector(self.element, lanes // 2),
                        f"shufflevector {v}, {kind} poison, <{lanes // 2} x i32> <{order}>",
                    )
                    for v in (x.v, n.v)
                )
                halves.append(self._scale_by_512_bits(Lanes(self, a), Lanes(self, b)).v)
            order = ", ".join(f"i32 {i}" for i in range(lanes))
            return Lanes(self, e.inst(kind, f"shufflevector {halves[0]}, {halves[1]}, <{lanes} x i32> <{order}>"))
        name = f"llvm.x86.avx512.mask.scalef.{'pd' if self.double else 'ps'}.512"
        mask = e.const("i8" if self.double else "i16", -1)
        return Lanes(self, e.call(kind, name, x.v, n.v, Operand(kind, "poison"), mask, e.const("i32", 4)))

    def small_float(self, n: Lanes) -> Lanes:
        """A small integer as a float: cheaper than a conversion, which many machines lack for 64 bits."""
        return (n + magic_bits(self.double)).as_float() - 1.5 * 2.0 ** (self.precision - 1)


def magic_bits(double: bool) -> int:
    """Bits of the number whose last bit is 1 and that leaves room on both sides: 1.5·2⁵² or 1.5·2²³."""
    return 0x4338000000000000 if double else 0x4B400000


def wide(m: Mathematics, f: Callable[..., Lanes], *xs: Lanes) -> Lanes:
    """A float32 function computed in float64 and rounded once: for those that are rare or lose digits on the way."""
    if m.double:
        return f(m, *xs)
    inner = Mathematics(m.e, m.fused, "double", "float", m.alone, m.scales)
    result = f(inner, *(Lanes(inner, m.e.cast("fpext", x.v, "double")) for x in xs))
    return Lanes(m, m.e.cast("fptrunc", result.v, "float"))


def rarely(m: Mathematics, mask: Lanes, usual: Lanes, rare: Callable[[], Lanes]) -> Lanes:
    """``usual``, or what ``rare`` writes if the mask holds for any lane: a branch that is hardly ever taken."""
    e = m.e
    lanes = lanes_of(mask.v.type)
    some = mask.v if lanes == 1 else e.call("i1", f"llvm.vector.reduce.or.v{lanes}i1", mask.v)
    name, before = e.fresh("R"), e.block
    e.cond_br(some, f"{name}.rare", f"{name}.end")
    e.label(f"{name}.rare")
    other = mask.select(rare(), usual)  # a lane's bits do not depend on its neighbours
    after = e.block
    e.br(f"{name}.end")
    e.label(f"{name}.end")
    return Lanes(m, e.phi(usual.v.type, [(usual.v, before), (other.v, after)]))


def libm(m: Mathematics, name: str, *xs: Lanes) -> Lanes:
    """The C library's function, lane by lane; our own for a machine without it."""
    if m.alone:
        from luchina.compiler.vecmath import alone

        return alone.FUNCTIONS[name](m, *xs)
    return Lanes(m, by_lanes(m.e, name, *(x.v for x in xs)))


def by_lanes(e: Emitter, name: str, *xs: Operand) -> Operand:
    """The C library's function ``name`` (or its float form), lane by lane."""
    kind, element = xs[0].type, element_of(xs[0].type)
    name += "f" if element == "float" else ""
    if kind == element:
        return e.call(kind, name, *xs)
    result = Operand(kind, "poison")
    for lane in range(lanes_of(kind)):
        result = e.insert(result, e.call(element, name, *(e.extract(x, lane) for x in xs)), lane)
    return result
