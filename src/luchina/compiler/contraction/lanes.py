"""Vectors with some lanes switched off, and index arithmetic lane by lane."""

from __future__ import annotations

from collections.abc import Callable

from luchina.compiler.contraction.spec import Params
from luchina.compiler.ir import Emitter, Operand, element_of, lanes_of, mangle, vector


def iota(lanes: int, element: str = "i32") -> Operand:
    """``0, 1, …`` lane by lane."""
    if lanes == 1:
        return Operand(element, "0")
    return Operand(vector(element, lanes), "<" + ", ".join(f"{element} {i}" for i in range(lanes)) + ">")


def counting(e: Emitter, start: Operand, lanes: int) -> Operand:
    """``start, start + 1, …``; ``start`` is a scalar integer."""
    return e.bin("add", e.splat(start, lanes), iota(lanes, start.type))


def below(e: Emitter, count: Operand, lanes: int) -> Operand:
    """Lanes whose number is less than ``count`` (i64); compared in 32 bits: one vector for all lanes of most dtypes."""
    most = e.select(e.icmp("slt", count, e.i64(lanes)), count, e.i64(lanes))
    return e.icmp("sgt", e.splat(e.cast("trunc", most, "i32"), lanes), iota(lanes))


def least(e: Emitter, a: Operand, b: Operand) -> Operand:
    """The lesser of two integers."""
    return e.select(e.icmp("slt", a, b), a, b)


def masked_load(
    e: Emitter, type_: str, pointer: Operand, mask: Operand | None, other: Operand | None = None
) -> Operand:
    """Zero (or ``other``) where the mask is off; memory there is not touched. No mask: all of the vector."""
    if mask is None:
        return e.load(type_, pointer, 1)
    return e.call(type_, f"llvm.masked.load.{mangle(type_)}.p0", pointer, mask, other or e.const(type_, 0))


def masked_store(e: Emitter, value: Operand, pointer: Operand, mask: Operand | None) -> None:
    if mask is None:
        e.store(value, pointer, 1)
        return
    e.call("void", f"llvm.masked.store.{mangle(value.type)}.p0", value, pointer, mask)


class Rows:
    """Addresses of ``count`` rows ``stride`` bytes apart, in few registers: one pointer goes along k, and the machine
    adds multiples of the stride as it reads."""

    def __init__(self, e: Emitter, count: int, stride: Operand) -> None:
        self.e, self.count = e, count
        self.multiples = {1: stride, 3: e.mul(stride, 3), 5: e.mul(stride, 5)}

    def at(self, first: Operand) -> list[Operand]:
        """The rows' addresses beside that of the first one."""
        e = self.e
        # LLVM would else keep a pointer for every row, more than there are registers.
        first = e.inst("ptr", f'call ptr asm "", "=r,0"({first})')
        rows = []
        for row in range(self.count):
            if row and row % 6 == 0:
                first = e.gep("i8", first, e.bin("shl", self.multiples[3], e.i64(1)))
            odd, shift = ((0, 0), (1, 0), (1, 1), (3, 0), (1, 2), (5, 0))[row % 6]
            rows.append(e.gep("i8", first, e.bin("shl", self.multiples[odd], e.i64(shift))) if odd else first)
        return rows


def addresses(e: Emitter, element: str, base: Operand, offsets: Operand) -> Operand:
    """A vector of pointers from a vector of element offsets."""
    return e.inst(vector("ptr", lanes_of(offsets.type)), f"getelementptr {element}, {base}, {offsets}")


def gather(e: Emitter, type_: str, pointers: Operand, mask: Operand | None) -> Operand:
    """One element an address, zero where the mask is off."""
    mask = mask or e.const(vector("i1", lanes_of(type_)), 1)
    name = f"llvm.masked.gather.{mangle(type_)}.v{lanes_of(type_)}p0"
    return e.call(type_, name, pointers, mask, e.const(type_, 0))


def scatter(e: Emitter, value: Operand, pointers: Operand, mask: Operand | None) -> None:
    mask = mask or e.const(vector("i1", lanes_of(value.type)), 1)
    name = f"llvm.masked.scatter.{mangle(value.type)}.v{lanes_of(value.type)}p0"
    e.call("void", name, value, pointers, mask)


def invert(e: Emitter, mask: Operand) -> Operand:
    """The other lanes."""
    return e.bin("xor", mask, e.const(mask.type, 1))


def every(e: Emitter, mask: Operand) -> Operand:
    """i1: whether all lanes are on."""
    lanes = lanes_of(mask.type)
    bits = e.inst(f"i{lanes}", f"bitcast {mask} to i{lanes}")
    return e.icmp("eq", bits, e.const(bits.type, -1))


def run_from(e: Emitter, offsets: Operand, start: Operand) -> Operand:
    """Lanes whose offset is ``start`` plus their number."""
    return e.icmp("eq", offsets, counting(e, start, lanes_of(offsets.type)))


def is_run(e: Emitter, offsets: Operand, valid: Operand) -> Operand:
    """i1: whether the valid lanes are adjacent, counted from lane 0."""
    return every(e, e.bin("or", run_from(e, offsets, e.extract(offsets, 0)), invert(e, valid)))


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


def shuffle(e: Emitter, a: Operand, b: Operand, order: list[int]) -> Operand:
    """Lanes of ``a`` and ``b`` (numbered after those of ``a``) in this order."""
    mask = ", ".join(f"i32 {i}" for i in order)
    wide = vector(element_of(a.type), len(order))
    return e.inst(wide, f"shufflevector {a}, {b}, <{len(order)} x i32> <{mask}>")


def transpose(e: Emitter, rows: list[Operand]) -> list[Operand]:
    """Columns of a square of vectors, by shuffles that are one instruction each: first the squares within chunks of
    128 bits, then chunks as a whole."""
    lanes = len(rows)
    wide = rows[0].type
    bits = {"float": 32, "i32": 32, "double": 64, "i64": 64}[wide.split(" x ")[1][:-1]]
    within = min(lanes, 128 // bits)

    def shuffle(a: Operand, b: Operand, order: list[int]) -> Operand:
        text = ", ".join(f"i32 {i}" for i in order)
        return e.inst(wide, f"shufflevector {a}, {b}, <{lanes} x i32> <{text}>")

    def interleave(a: Operand, b: Operand, unit: int) -> list[Operand]:
        """The lower and the upper halves of each chunk, taking ``unit`` lanes of either in turn."""
        results = []
        for half in (0, within // 2):
            order = []
            for chunk in range(0, lanes, within):
                for at in range(half, half + within // 2, unit):
                    here = [chunk + at + i for i in range(unit)]
                    order += here + [lanes + i for i in here]
            results.append(shuffle(a, b, order))
        return results

    # groups[g][j]: for every chunk, column j of the square that rows g·within … make there.
    groups = []
    for g in range(0, lanes, within):
        part = rows[g : g + within]
        if within >= 2:
            part = [x for i in range(0, within, 2) for x in interleave(part[i], part[i + 1], 1)]
        if within == 4:
            part = interleave(part[0], part[2], 2) + interleave(part[1], part[3], 2)
        groups.append(part)
    columns: list[Operand] = [rows[0]] * lanes
    for j in range(within):
        chunks = _transpose_chunks([group[j] for group in groups], within, shuffle)
        for q, chunk in enumerate(chunks):
            columns[q * within + j] = chunk
    return columns


def _transpose_chunks(
    rows: list[Operand], width: int, shuffle: Callable[[Operand, Operand, list[int]], Operand]
) -> list[Operand]:
    """The same with chunks of ``width`` lanes for elements; 1, 2 or 4 rows."""
    count = len(rows)
    lanes = count * width

    def pick(a: Operand, b: Operand, first: int) -> Operand:
        """Every second chunk of both."""
        chunks = [*range(first, count, 2)]
        order = [c * width + i for c in chunks for i in range(width)]
        return shuffle(a, b, order + [lanes + i for i in order])

    if count == 1:
        return rows
    if count == 2:
        return [pick(rows[0], rows[1], first) for first in (0, 1)]
    even = pick(rows[0], rows[1], 0), pick(rows[2], rows[3], 0)
    odd = pick(rows[0], rows[1], 1), pick(rows[2], rows[3], 1)
    return [pick(pair[0], pair[1], first) for first in (0, 1) for pair in (even, odd)]
