"""Scatter: rows of a source combined into the rows of a table that an index names, in order.

    for i in range(n): table[index[i], :] = op(table[index[i], :], source[i, :])

Blocks are ranges of target rows: each reads the whole index and does the rows that fall to it, so that two blocks
never write the same row and the order of a row's contributions is that of the index for any number of threads.
"""

from __future__ import annotations

from typing import NamedTuple

from luchina.compiler.body import ITEMSIZE, emit_op, load_value, store_value
from luchina.compiler.ir import Emitter, Operand, module
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.target import Target

_COMBINE = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum"}
ROW_BLOCKS = 8
WORTH_SPLITTING = 1 << 15  # elements of the source below which one block does it all
NARROW = 64  # elements of a row below which looking at the whole index costs more than the rows do


class Scatter(NamedTuple):
    """A scatter kernel: ``dtype`` of table and source, ``mode`` set add mul max min."""

    dtype: str
    mode: str

    def kernel(self) -> Kernel:
        key = f"scatter {self.dtype} {self.mode}"
        return Kernel(None, key, lambda target: self._emit(target, kernel_name(key)))

    def _emit(self, target: Target, name: str) -> str:
        e = Emitter()
        table, index, source, rows, width, n, blocks = _parameters(e, 7, pointers=3)
        lanes = max(target.vector_bits // (8 * max(ITEMSIZE[self.dtype], 4)), 1)
        share = e.bin("sdiv", e.sub(e.add(rows, blocks), 1), blocks)
        first = e.mul(Operand("i64", "%lo"), share)
        last = e.mul(Operand("i64", "%hi"), share)
        whole = e.mul(e.bin("sdiv", width, e.i64(lanes)), lanes)
        with e.loop(e.i64(0), n) as loop:
            row = e.load("i64", e.gep("i64", index, loop.index), 8)
            mine = e.bin("and", e.icmp("sge", row, first), e.icmp("slt", row, last))
            with e.when(mine):
                to = e.mul(row, width)
                start = e.mul(loop.index, width)
                with e.loop(e.i64(0), whole, lanes) as inner:
                    self._step(e, target, table, source, e.add(to, inner.index), e.add(start, inner.index), lanes)
                with e.loop(whole, width) as inner:
                    self._step(e, target, table, source, e.add(to, inner.index), e.add(start, inner.index), 1)
        return module([e.function(name)], e.declarations, target.triple)

    def _step(
        self, e: Emitter, target: Target, table: Operand, source: Operand, to: Operand, at: Operand, lanes: int
    ) -> None:
        element = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}[ITEMSIZE[self.dtype]]
        place = e.gep(element, table, to)
        value = load_value(e, self.dtype, e.gep(element, source, at), lanes)
        if self.mode != "set":
            op = _COMBINE[self.mode]
            if self.dtype == "bool":
                op = {"add": "or", "mul": "and"}.get(op, op)
            value = emit_op(e, target, op, self.dtype, load_value(e, self.dtype, place, lanes), value)
        store_value(e, self.dtype, value, place)


def _parameters(e: Emitter, count: int, pointers: int) -> list[Operand]:
    """The kernel's parameters: for each pointer a table slot and a byte offset, then plain numbers."""
    params = Operand("ptr", "%params")
    result = []
    at = 0
    for i in range(count):
        value = e.load("i64", e.gep("i64", params, at), 8)
        at += 1
        if i < pointers:
            base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), value), 8)
            value = e.gep("i8", base, e.load("i64", e.gep("i64", params, at), 8))
            at += 1
        result.append(value)
    return result


def blocks_for(rows: int, width: int, n: int) -> int:
    """How many ranges of rows the work is cut into: by the extents only."""
    return min(ROW_BLOCKS, rows) if width >= NARROW and n * width >= WORTH_SPLITTING else 1
