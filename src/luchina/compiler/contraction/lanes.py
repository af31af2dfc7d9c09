"""Vectors with some lanes switched off, and index arithmetic lane by lane."""

from __future__ import annotations

from luchina.compiler.ir import Emitter, Operand, lanes_of, mangle, vector
from luchina.compiler.contraction.spec import Params


def iota(lanes: int, element: str = "i32") -> Operand:
    """``0, 1, …`` lane by lane."""
    if lanes == 1:
        return Operand(element, "0")
    return Operand(vector(element, lanes), "<" + ", ".join(f"{element} {i}" for i in range(lanes)) + ">")


def counting(e: Emitter, start: Operand, lanes: int) -> Operand:
    """``start, start + 1, …``; ``start`` is a scalar integer."""
    return e.bin("add", e.splat(start, lanes), iota(lanes, start.type))


def below(e: Emitter, count: Operand, lanes: int) -> Operand:
    """Lanes whose number is less than ``count`` (i64)."""
    return e.icmp("sgt", e.splat(count, lanes), iota(lanes, "i64"))


def masked_load(e: Emitter, type_: str, pointer: Operand, mask: Operand) -> Operand:
    """Zero where the mask is off; memory there is not touched."""
    return e.call(type_, f"llvm.masked.load.{mangle(type_)}.p0", pointer, mask, e.const(type_, 0))


def masked_store(e: Emitter, value: Operand, pointer: Operand, mask: Operand) -> None:
    e.call("void", f"llvm.masked.store.{mangle(value.type)}.p0", value, pointer, mask)


def addresses(e: Emitter, element: str, base: Operand, offsets: Operand) -> Operand:
    """A vector of pointers from a vector of element offsets."""
    return e.inst(vector("ptr", lanes_of(offsets.type)), f"getelementptr {element}, {base}, {offsets}")


def gather(e: Emitter, type_: str, pointers: Operand, mask: Operand) -> Operand:
    """One element an address, zero where the mask is off."""
    name = f"llvm.masked.gather.{mangle(type_)}.v{lanes_of(type_)}p0"
    return e.call(type_, name, pointers, mask, e.const(type_, 0))


def scatter(e: Emitter, value: Operand, pointers: Operand, mask: Operand) -> None:
    name = f"llvm.masked.scatter.{mangle(value.type)}.v{lanes_of(value.type)}p0"
    e.call("void", name, value, pointers, mask)


def is_run(e: Emitter, offsets: Operand, valid: Operand) -> Operand:
    """i1: whether the valid lanes are adjacent, counted from lane 0."""
    lanes = lanes_of(offsets.type)
    expected = counting(e, e.extract(offsets, 0), lanes)
    fits = e.bin("or", e.icmp("eq", offsets, expected), e.bin("xor", valid, e.const(valid.type, 1)))
    bits = e.inst(f"i{lanes}", f"bitcast {fits} to i{lanes}")
    return e.icmp("eq", bits, e.const(bits.type, -1))


def digits(e: Emitter, params: Params, axis: str, index: Operand) -> list[Operand]:
    """The three digits of an index (a vector of i32) along ``n`` or ``k``."""
    result = []
    for level in "01":
        name = f"{axis}_{level}_"
        lanes = lanes_of(index.type)
        product = e.bin("mul", e.cast("zext", index, "i64"), e.splat(params[name + "magic"], lanes))
        digit = e.cast("trunc", e.bin("lshr", product, e.splat(params[name + "shift"], lanes)), "i32")
        result.append(digit)
        index = e.sub(index, e.mul(digit, e.splat(params.narrow(name + "extent"), lanes)))
    return [*result, index]


def combine(e: Emitter, digit: list[Operand], coefficients: list[Operand]) -> Operand:
    """``sum_i digit[i] · coefficients[i]`` for vectors of digits and scalars of their type."""
    lanes = lanes_of(digit[0].type)
    terms = [e.mul(d, e.splat(c, lanes)) for d, c in zip(digit, coefficients, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = e.add(total, term)
    return total


def transpose(e: Emitter, rows: list[Operand]) -> list[Operand]:
    """Columns of a square of vectors: log2(lanes) rounds in which pairs of rows change halves."""
    lanes = len(rows)
    wide = rows[0].type
    half = 1
    while half < lanes:
        low = [i + lanes - half if i & half else i for i in range(lanes)]
        high = [i + lanes if i & half else i + half for i in range(lanes)]
        following = list(rows)
        for i in range(lanes):
            if not i & half:
                a, b = rows[i], rows[i + half]
                for to, pick in ((i, low), (i + half, high)):
                    order = ", ".join(f"i32 {p}" for p in pick)
                    following[to] = e.inst(wide, f"shufflevector {a}, {b}, <{lanes} x i32> <{order}>")
        rows = following
        half *= 2
    return rows


