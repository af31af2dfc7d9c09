"""The body of a kernel: a straight-line scalar program over pointwise primitives, and how it is written with vectors.

A ``Body`` says what happens to ONE element. Loop kernels, contractions (as an epilogue) and scans all take one, and
``emit`` writes it for any number of lanes at once.

Registers and memory hold different things (law: half precision is storage):

=========  ======================  ==================
dtype      in memory               in a register
=========  ======================  ==================
float16    ``half``                ``float``
bfloat16   ``i16``                 ``float``
bool       ``i8``, 0 or 1          ``i1``
others     their own type          their own type
=========  ======================  ==================

So a chain of 16-bit operations is computed in float32 and rounded once, by ``store_value`` or by an explicit cast.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, element_of, lanes_of, vector
from luchina.compiler.prims import COMPARE, FLOATS

if TYPE_CHECKING:
    from luchina.compiler.target import Target

ITEMSIZE = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}

REGISTER_TYPE = STORAGE_TYPE | {"float16": "float", "bfloat16": "float", "bool": "i1"}

# Time of the costly functions for a float32 element, in units of an addition's, measured; of the others it is about 1.
COST = {
    **dict.fromkeys(["exp", "exp2", "expm1", "sigmoid", "idiv", "irem"], 8),
    **dict.fromkeys(["log", "log2", "log10", "log1p", "normal_cdf"], 10),
    **dict.fromkeys(["tanh", "erf", "fmod"], 15),
    **dict.fromkeys(["sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh"], 20),
    **dict.fromkeys(["atan2", "erfc", "asinh", "acosh", "atanh", "pow"], 40),
    **dict.fromkeys(["erfinv", "digamma"], 80),
    "lgamma": 400,
}

# Never computed twice to save a buffer.
EXPENSIVE = frozenset(COST)


class Instruction(NamedTuple):
    """``op`` on earlier values; ``dtype`` is the result's. A constant is ``const`` with its value in attrs."""

    op: str
    dtype: str
    args: tuple[int, ...] = ()
    attrs: tuple = ()


class Body(NamedTuple):
    """Values are numbered: the inputs first, then the instructions, each of which uses smaller numbers only."""

    inputs: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[int, ...]

    def dtype(self, value: int) -> str:
        """dtype of a numbered value."""
        n = len(self.inputs)
        return self.inputs[value] if value < n else self.instructions[value - n].dtype

    @property
    def output_dtypes(self) -> tuple[str, ...]:
        return tuple(map(self.dtype, self.outputs))

    def __str__(self) -> str:
        """One line that fixes the body completely: part of a kernel's key."""
        n = len(self.inputs)
        lines = [", ".join(f"%{i}:{d}" for i, d in enumerate(self.inputs))]
        for i, (op, dtype, args, attrs) in enumerate(self.instructions, n):
            operands = ", ".join([f"%{a}" for a in args] + [repr(a) for a in attrs])
            lines.append(f"%{i}:{dtype} = {op}({operands})")
        lines.append("-> " + ", ".join(f"%{o}" for o in self.outputs))
        return "; ".join(lines)


def identity(dtype: str) -> Body:
    """The body that copies its only input."""
    return Body((dtype,), (), (0,))


# ---- between registers and memory


def register_type(dtype: str, lanes: int = 1) -> str:
    """LLVM type of ``lanes`` values of ``dtype`` in a register."""
    return vector(REGISTER_TYPE[dtype], lanes)


def storage_type(dtype: str, lanes: int = 1) -> str:
    """LLVM type of ``lanes`` values of ``dtype`` in memory."""
    return vector(STORAGE_TYPE[dtype], lanes)


def from_storage(e: Emitter, dtype: str, raw: Operand) -> Operand:
    """What was loaded from memory, as a register value."""
    if dtype == "float16":
        return e.cast("fpext", raw, "float")
    if dtype == "bfloat16":
        wide = e.cast("zext", raw, "i32")
        return _exact(e, e.cast("bitcast", e.bin("shl", wide, e.const(wide.type, 16)), "float"))
    if dtype == "bool":
        return e.icmp("ne", raw, e.const(raw.type, 0))
    return raw


def to_storage(e: Emitter, dtype: str, value: Operand) -> Operand:
    """A register value as it is stored: 16-bit floats are rounded to nearest, ties to even; NaN stays NaN."""
    if dtype == "float16":
        return e.cast("fptrunc", value, "half")
    if dtype == "bfloat16":
        return _upper_halves(e, _bfloat16_bits(e, value))
    if dtype == "bool":
        return e.cast("zext", value, "i8")
    return value


def load_value(e: Emitter, dtype: str, pointer: Operand, lanes: int = 1) -> Operand:
    """``lanes`` adjacent elements at ``pointer``, as a register value."""
    return from_storage(e, dtype, e.load(storage_type(dtype, lanes), pointer, ITEMSIZE[dtype]))


def store_value(e: Emitter, dtype: str, value: Operand, pointer: Operand) -> None:
    """Store a register value into adjacent elements at ``pointer``."""
    e.store(to_storage(e, dtype, value), pointer, ITEMSIZE[dtype])


def _exact(e: Emitter, value: Operand) -> Operand:
    """The value, which from now on is known to be a bfloat16's."""
    e.exact.add(value.text)
    return value


def is_exact(e: Emitter, value: Operand) -> bool:
    """Whether a float32 register value is known to be one that a bfloat16 holds: it was loaded or rounded as one."""
    if value.text in e.exact:
        return True
    number = re.search("0x([0-9A-F]{16})", value.text) if _is_constant(value) else None
    return number is not None and int(number[1], 16) % (1 << 45) == 0  # a double's mantissa has 45 bits more


def _bfloat16_bits(e: Emitter, value: Operand) -> Operand:
    """float32 → i32 whose upper half is the nearest bfloat16 (the lower half is garbage)."""
    bits = e.cast("bitcast", value, "i32")
    if is_exact(e, value):
        return bits
    odd = e.icmp("ne", e.bin("and", bits, e.const(bits.type, 0x10000)), e.const(bits.type, 0))
    rounded = e.select(odd, e.add(bits, 0x8000), e.add(bits, 0x7FFF))
    if value.text in e.clean:
        return rounded
    # Adding could carry a NaN's mantissa over into an infinity: quiet it instead.
    quiet = e.bin("or", bits, e.const(bits.type, 0x400000))
    return e.select(e.fcmp("uno", value, value), quiet, rounded)


def _upper_halves(e: Emitter, bits: Operand) -> Operand:
    """The upper 16 bits of every i32 lane."""
    lanes = lanes_of(bits.type)
    if lanes < WIDE_LANES:
        return e.cast("trunc", e.bin("lshr", bits, e.const(bits.type, 16)), "i16")
    halves = e.inst(vector("i16", 2 * lanes), f"bitcast {bits} to {vector('i16', 2 * lanes)}")
    order = ", ".join(f"i32 {2 * lane + 1}" for lane in range(lanes))
    return e.inst(vector("i16", lanes), f"shufflevector {halves}, {halves.type} poison, <{lanes} x i32> <{order}>")


WIDE_LANES = 32  # a pair of 512-bit vectors: their halves are picked by one instruction


def round_to(e: Emitter, dtype: str, value: Operand) -> Operand:
    """A register value rounded to the precision of ``dtype``: what a store and a load would give."""
    if dtype == "float16":
        return e.cast("fpext", e.cast("fptrunc", value, "half"), "float")
    if dtype == "bfloat16":
        if is_exact(e, value):
            return value
        bits = _bfloat16_bits(e, value)
        return _exact(e, e.cast("bitcast", e.bin("and", bits, e.const(bits.type, 0xFFFF0000)), "float"))
    return value


# ---- the pointwise primitives on registers


def emit(
    e: Emitter,
    target: Target,
    body: Body,
    operands: list[Operand],
    lanes: int,
    known: Mapping[int, Operand] = MappingProxyType({}),
) -> list[Operand]:
    """Write ``body`` for ``lanes`` elements at once; gives the register values of its outputs. Values that are
    ``known`` are not computed."""
    values = list(operands)
    for op, dtype, args, attrs in body.instructions:
        if len(values) in known:
            values.append(known[len(values)])
        elif op == "const":
            values.append(e.const(register_type(dtype, lanes), attrs[0]))
        elif op == "cast":
            values.append(emit_cast(e, body.dtype(args[0]), dtype, values[args[0]]))
        else:
            dtype = body.dtype(args[-1])
            values.append(emit_op(e, target, op, dtype, *(values[a] for a in args)))
    return [values[o] for o in body.outputs]


def emit_op(e: Emitter, target: Target, op: str, dtype: str, *args: Operand) -> Operand:
    """One pointwise primitive on register values; ``dtype`` is that of its (last) operand."""
    result = _emit_op(e, target, op, dtype, *args)
    if dtype == "bfloat16":
        if op in _CHOOSING and all(is_exact(e, a) for a in args[-2:]):
            e.exact.add(result.text)
        elif op in _ARITHMETIC and target.vector_bits and all(a.text in e.clean or is_exact(e, a) for a in args):
            e.clean.add(result.text)
    return result


# What these give is one of their (last two) operands, or its negative.
_CHOOSING = frozenset({"where", "maximum", "minimum", "neg", "abs"})

# A processor gives an operand's NaN, or one of its own whose lower bits are 0. (Cards have others.)
_ARITHMETIC = frozenset({"add", "sub", "mul", "div", "sqrt"})


def _emit_op(e: Emitter, target: Target, op: str, dtype: str, *args: Operand) -> Operand:
    if op == "where":
        return e.select(*args)
    is_float = dtype in FLOATS
    if op in COMPARE:
        return e.fcmp(_FCMP[op], *args) if is_float else e.icmp(_icmp(op, dtype), *args)
    table = _FLOAT_OPS if is_float else _BOOL_OPS if dtype == "bool" else _INT_OPS
    if op in table:
        return table[op](e, dtype, *args)
    return _math(e, target, op, *args)


_FCMP = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


def _icmp(op: str, dtype: str) -> str:
    return op if op in ("eq", "ne") else ("u" if dtype in ("uint8", "bool") else "s") + op


def _is_constant(a: Operand) -> bool:
    return not a.text.startswith("%")


def _float_extreme(predicate: str) -> Callable[..., Operand]:
    """max/min that propagates NaN. One machine instruction when an operand is a number known now (relu, clamp):
    ``select(b > a, b, a)`` gives ``a`` when ``a`` is NaN."""

    def build(e: Emitter, dtype: str, a: Operand, b: Operand) -> Operand:
        if _is_constant(a) and not _is_constant(b):
            a, b = b, a
        chosen = e.select(e.fcmp(predicate, b, a), b, a)
        if _is_constant(b) and "0x7FF8" not in b.text and "0xFFF8" not in b.text:
            return chosen
        return e.select(e.fcmp("uno", b, b), b, chosen)

    return build


def _opcode(name: str) -> Callable[..., Operand]:
    return lambda e, dtype, a, b: e.bin(name, a, b)


def _intrinsic(name: str) -> Callable[..., Operand]:
    return lambda e, dtype, *args: e.intrinsic(name, *args)


def _float_sign(e: Emitter, dtype: str, x: Operand) -> Operand:
    zero = e.const(x.type, 0.0)
    one = e.select(e.fcmp("ogt", x, zero), e.const(x.type, 1.0), zero)
    sign = e.select(e.fcmp("olt", x, zero), e.const(x.type, -1.0), one)
    return e.select(e.fcmp("uno", x, x), x, sign)


_FLOAT_OPS: dict[str, Callable[..., Operand]] = {
    "add": _opcode("fadd"),
    "sub": _opcode("fsub"),
    "mul": _opcode("fmul"),
    "div": _opcode("fdiv"),
    "maximum": _float_extreme("ogt"),
    "minimum": _float_extreme("olt"),
    "copysign": _intrinsic("copysign"),
    "sqrt": _intrinsic("sqrt"),
    "rsqrt": lambda e, dtype, x: e.bin("fdiv", e.const(x.type, 1.0), e.intrinsic("sqrt", x)),
    "reciprocal": lambda e, dtype, x: e.bin("fdiv", e.const(x.type, 1.0), x),
    "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"),
    "trunc": _intrinsic("trunc"),
    "round": _intrinsic("roundeven"),
    "abs": _intrinsic("fabs"),
    "neg": lambda e, dtype, x: e.inst(x.type, f"fneg {x}"),
    "sign": _float_sign,
    "isnan": lambda e, dtype, x: e.fcmp("uno", x, x),
}

_BOOL_OPS: dict[str, Callable[..., Operand]] = {
    "maximum": _opcode("or"),
    "minimum": _opcode("and"),
    "or": _opcode("or"),
    "and": _opcode("and"),
    "xor": _opcode("xor"),
    "invert": lambda e, dtype, x: e.bin("xor", x, e.const(x.type, 1)),
}


def _divide(opcode: str) -> Callable[..., Operand]:
    """Division that never traps: a zero divisor gives 0; the least integer over -1 wraps."""

    def build(e: Emitter, dtype: str, a: Operand, b: Operand) -> Operand:
        zero, one = e.const(a.type, 0), e.const(a.type, 1)
        is_zero = e.icmp("eq", b, zero)
        if dtype == "uint8":
            quotient = e.bin("u" + opcode, a, e.select(is_zero, one, b))
            return e.select(is_zero, zero, quotient)
        is_minus = e.icmp("eq", b, e.const(a.type, -1))
        safe = e.select(e.bin("or", is_zero, is_minus), one, b)
        result = e.bin("s" + opcode, a, safe)
        if opcode == "div":
            result = e.select(is_minus, e.bin("sub", zero, a), result)
        return e.select(is_zero, zero, result)

    return build


def _shift_left(e: Emitter, dtype: str, a: Operand, b: Operand) -> Operand:
    bits = int(element_of(a.type)[1:])
    inside = e.icmp("ult", b, e.const(b.type, bits))
    safe = e.select(inside, b, e.const(b.type, 0))
    return e.select(inside, e.bin("shl", a, safe), e.const(a.type, 0))


def _shift_right(e: Emitter, dtype: str, a: Operand, b: Operand) -> Operand:
    """A shift beyond the width (or by a negative number) leaves the sign alone, as in PyTorch."""
    bits = int(element_of(a.type)[1:])
    inside = e.icmp("ult", b, e.const(b.type, bits))
    safe = e.select(inside, b, e.const(b.type, bits - 1))
    if dtype == "uint8":
        return e.select(inside, e.bin("lshr", a, safe), e.const(a.type, 0))
    return e.bin("ashr", a, safe)


def _int_extreme(name: str) -> Callable[..., Operand]:
    return lambda e, dtype, a, b: e.intrinsic(("u" if dtype == "uint8" else "s") + name, a, b)


def _int_abs(e: Emitter, dtype: str, x: Operand) -> Operand:
    if dtype == "uint8":
        return x
    zero = e.const(x.type, 0)
    return e.select(e.icmp("slt", x, zero), e.bin("sub", zero, x), x)


def _int_sign(e: Emitter, dtype: str, x: Operand) -> Operand:
    zero, one = e.const(x.type, 0), e.const(x.type, 1)
    if dtype == "uint8":
        return e.select(e.icmp("ne", x, zero), one, zero)
    positive = e.select(e.icmp("sgt", x, zero), one, zero)
    return e.select(e.icmp("slt", x, zero), e.const(x.type, -1), positive)


_INT_OPS: dict[str, Callable[..., Operand]] = {
    "add": _opcode("add"),
    "sub": _opcode("sub"),
    "mul": _opcode("mul"),
    "idiv": _divide("div"),
    "irem": _divide("rem"),
    "shl": _shift_left,
    "shr": _shift_right,
    "and": _opcode("and"),
    "or": _opcode("or"),
    "xor": _opcode("xor"),
    "invert": lambda e, dtype, x: e.bin("xor", x, e.const(x.type, -1)),
    "maximum": _int_extreme("max"),
    "minimum": _int_extreme("min"),
    "neg": lambda e, dtype, x: e.bin("sub", e.const(x.type, 0), x),
    "abs": _int_abs,
    "sign": _int_sign,
}


def emit_cast(e: Emitter, source: str, to: str, x: Operand) -> Operand:
    """Conversion of a register value between dtypes; see ``prims.cast``."""
    if source == to:
        return x
    element = REGISTER_TYPE[to]
    unsigned = source in ("uint8", "bool")
    if to == "bool":
        zero = e.const(x.type, 0)
        return e.fcmp("une", x, zero) if source in FLOATS else e.icmp("ne", x, zero)
    if to in FLOATS:
        if source not in FLOATS:
            value = e.cast("uitofp" if unsigned else "sitofp", x, element)
        elif source == "float64":
            value = e.cast("fptrunc", x, element)
        elif to == "float64":
            value = e.cast("fpext", x, element)
        else:
            value = x
        return round_to(e, to, value)
    if source in FLOATS:
        # Narrow integers go through i32 and keep its low bits: what C does on the machines PyTorch runs on.
        value = e.cast("fptosi", x, "i64" if to == "int64" else "i32")
        return _resize(e, value, element, False)
    return _resize(e, x, element, unsigned)


def _resize(e: Emitter, x: Operand, element: str, unsigned: bool) -> Operand:
    have, want = int(element_of(x.type)[1:]), int(element[1:])
    if have == want:
        return x
    return e.cast("trunc" if have > want else "zext" if unsigned else "sext", x, element)


def _math(e: Emitter, target: Target, op: str, *args: Operand) -> Operand:
    """A vectorised function, or the C library's lane by lane."""
    from luchina.compiler import vecmath

    return vecmath.emit(e, target, op, *args) or vecmath.by_lanes(e, op, *args)


# ---- bounds of a dtype, for reductions


def lowest(dtype: str) -> float | int:
    """The least value: where a running maximum starts."""
    if dtype in FLOATS:
        return -math.inf
    return 0 if dtype in ("bool", "uint8") else -(1 << (8 * ITEMSIZE[dtype] - 1))


def highest(dtype: str) -> float | int:
    """The greatest value: where a running minimum starts."""
    if dtype in FLOATS:
        return math.inf
    return 1 if dtype == "bool" else 255 if dtype == "uint8" else (1 << (8 * ITEMSIZE[dtype] - 1)) - 1
