"""Copies across: what is read along one axis and written along another goes through squares in registers.

A square is as many rows as a vector has lanes, each read as one whole vector and written, turned, as one whole vector.
So no line of memory is visited twice, however many of them share a set of the cache (rows a power of two apart).
"""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.contraction import lanes as v
from luchina.compiler.ir import Emitter, Operand, module, vector
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.layout import Axes

if TYPE_CHECKING:
    from luchina.compiler.target import Target

# Elements that can be turned, by size, and the type that carries their bits.
CARRIERS = {2: "i16", 4: "i32", 8: "i64"}

# A block is a square of so many elements a side; smaller arrays, and axes shorter than a square, are not worth it.
SIDE = 64
SMALLEST = 1024
SHORTEST = 8

_FIXED = (
    "in_slot",
    "in_at",
    "out_slot",
    "out_at",
    "rows",
    "columns",
    "in_step",
    "out_step",
    "row_chunks",
    "column_chunks",
)


class Copy(NamedTuple):
    """One kernel call: the code, its numbers, and how many blocks there are."""

    kernel: Kernel
    params: list[int]
    blocks: int


def plan(
    extents: tuple[int, ...], size: int, read: tuple[int, tuple[int, ...]], write: tuple[int, tuple[int, ...]]
) -> Copy | None:
    """The call that copies ``extents`` elements of ``size`` bytes, or None where plain loops do as well.

    Args:
        read, write: (table entry, row): the address of an element, as a constant and a coefficient per axis.
    """
    (source, (in_at, *loads)), (target, (out_at, *stores)) = read, write
    if size not in CARRIERS or prod(extents) < SMALLEST:
        return None
    axes = Axes(list(extents), len(extents), [loads, stores], [0])
    axes.drop_ones()
    axes.merge()
    loads, stores = axes.forms
    every = range(len(axes.extents))
    along = [a for a in every if loads[a] == 1 and stores[a] not in (0, 1)]
    across = [a for a in every if stores[a] == 1 and loads[a] not in (0, 1)]
    if not along or not across:
        return None
    i, j = along[0], across[0]
    rows, columns = axes.extents[j], axes.extents[i]
    if min(rows, columns) < SHORTEST:
        return None
    rest = [a for a in every if a not in (i, j)]
    chunks = ceil(rows / SIDE), ceil(columns / SIDE)
    params = [source, in_at, target, out_at, rows, columns, loads[j], stores[i], *chunks]
    for a in rest:
        params += [axes.extents[a], loads[a], stores[a]]
    blocks = prod(chunks) * prod(axes.extents[a] for a in rest)
    return Copy(_kernel(size, len(rest)), params, blocks)


def _kernel(size: int, outer: int) -> Kernel:
    key = f"transposition of {size} bytes, {outer} outer axes"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: emit(size, outer, target, name))


def emit(size: int, outer: int, target: Target, name: str) -> str:
    """Text of the module. A square's rows lie along the axis that is read, its columns along the written one."""
    e = Emitter()
    element = CARRIERS[size]
    lanes = target.vector_bits // (8 * size)

    def param(at: int) -> Operand:
        return e.load("i64", e.gep("i64", Operand("ptr", "%params"), at), 8)

    p = {what: param(at) for at, what in enumerate(_FIXED)}
    axes = [[param(len(_FIXED) + 3 * a + i) for i in range(3)] for a in range(outer)]
    base = {
        way: e.gep(element, e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), p[f"{way}_slot"]), 8), p[f"{way}_at"])
        for way in ("in", "out")
    }
    with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
        number, start = block.index, {}
        for chunk in ("column", "row"):
            rest = e.bin("udiv", number, p[f"{chunk}_chunks"])
            start[chunk] = e.mul(e.sub(number, e.mul(rest, p[f"{chunk}_chunks"])), SIDE)
            number = rest
        source, to = base["in"], base["out"]
        for extent, load, store in reversed(axes):
            rest = e.bin("udiv", number, extent)
            index = e.sub(number, e.mul(rest, extent))
            source, to = e.gep(element, source, e.mul(index, load)), e.gep(element, to, e.mul(index, store))
            number = rest
        row_stop, column_stop = (
            v.least(e, e.add(start[chunk], SIDE), p[extent])
            for chunk, extent in (("row", "rows"), ("column", "columns"))
        )
        square = _Square(e, element, lanes, p["in_step"], p["out_step"])
        with e.loop(start["row"], row_stop, lanes) as row, e.loop(start["column"], column_stop, lanes) as column:
            left = e.sub(row_stop, row.index), e.sub(column_stop, column.index)
            whole = e.bin("and", *(e.icmp("sge", n, e.i64(lanes)) for n in left))
            read = e.gep(element, source, e.add(e.mul(row.index, p["in_step"]), column.index))
            write = e.gep(element, to, e.add(e.mul(column.index, p["out_step"]), row.index))
            with e.when(whole):
                square.turn(read, write)
            with e.when(e.bin("xor", whole, e.const("i1", 1))):
                square.turn(read, write, *left)
    return module([e.function(name)], e.declarations, target.triple)


def turn_pairs(e: Emitter, rows: list[Operand]) -> list[Operand]:
    """Columns of a square of 16-bit elements: neighbouring rows are joined to rows of 32-bit pairs, half the columns in
    each, which make two squares of pairs."""
    lanes, wide = len(rows), rows[0].type
    pairs = vector("i32", lanes // 2)
    columns: list[Operand] = [rows[0]] * lanes
    for upper in (0, 4):
        taken = [chunk + upper + i for chunk in range(0, lanes, 8) for i in range(4)]  # as one instruction takes them
        order = ", ".join(f"i32 {i}, i32 {lanes + i}" for i in taken)
        joined = []
        for a, b in zip(rows[::2], rows[1::2]):
            mixed = e.inst(wide, f"shufflevector {a}, {b}, <{lanes} x i32> <{order}>")
            joined.append(e.inst(pairs, f"bitcast {mixed} to {pairs}"))
        for column, pair in zip(taken, v.transpose(e, joined)):
            columns[column] = e.inst(wide, f"bitcast {pair} to {wide}")
    return columns


class _Square:
    def __init__(self, e: Emitter, element: str, lanes: int, in_step: Operand, out_step: Operand) -> None:
        self.e, self.element, self.lanes = e, element, lanes
        self.in_step, self.out_step = in_step, out_step

    def turn(self, read: Operand, write: Operand, rows: Operand | None = None, columns: Operand | None = None) -> None:
        """Copy a square of which ``rows`` by ``columns`` exist (all, without them)."""
        e = self.e
        wide = vector(self.element, self.lanes)
        mask = None if columns is None else v.below(e, columns, self.lanes)
        values = []
        for i in range(self.lanes):
            if i:
                step = self.in_step
                if rows is not None:  # rows that do not exist read the last one again
                    step = e.select(e.icmp("sgt", rows, e.i64(i)), step, e.i64(0))
                read = e.gep(self.element, read, step)
            values.append(v.masked_load(e, wide, read, mask))
        turned = turn_pairs(e, values) if self.element == "i16" else v.transpose(e, values)
        for i, value in enumerate(turned):
            if i:
                write = e.gep(self.element, write, self.out_step)
            exists = None
            if rows is not None and columns is not None:
                exists = v.below(e, e.select(e.icmp("sgt", columns, e.i64(i)), rows, e.i64(0)), self.lanes)
            v.masked_store(e, value, write, exists)
