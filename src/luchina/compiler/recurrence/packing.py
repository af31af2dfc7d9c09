"""Packs the recurrent weights (G · H, H) into panels as wide as the micro-kernel's tile: ``[panel][k][column]``.

Forward multiplies by the transpose, so columns are gates' units and k goes over h; backward multiplies by the matrix
itself, so columns are units of h and k goes over the gates' units. Units are padded with zeros to whole vectors. A
block is one vector of columns.
"""

from __future__ import annotations

from typing import NamedTuple

from luchina.compiler.body import ITEMSIZE
from luchina.compiler.contraction import lanes as v
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, module, vector
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.target import Target


class Packing(NamedTuple):
    """One kernel; its parameters are ``w``, ``out``, then H, units (vectors of H), gates and k_vectors."""

    direction: str
    dtype: str
    nv: int

    def kernel(self) -> Kernel:
        key = f"recurrence packing {self.direction} {self.dtype} {self.nv}"
        return Kernel(None, key, lambda target: self._emit(target, kernel_name(key)))

    def _emit(self, target: Target, name: str) -> str:
        e = Emitter()
        numbers = [e.load("i64", e.gep("i64", Operand("ptr", "%params"), i), 8) for i in range(8)]
        w, out = (
            e.gep("i8", e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), numbers[i]), 8), numbers[i + 1])
            for i in (0, 2)
        )
        lanes = target.lanes(self.dtype)
        write = _Writer(e, self.dtype, lanes, self.nv, w, out, *numbers[4:])
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as loop:
            (write.turned if self.direction == "forward" else write.straight)(loop.index)
        return module([e.function(name)], e.declarations, target.triple)


class _Writer:
    def __init__(
        self,
        e: Emitter,
        dtype: str,
        lanes: int,
        nv: int,
        w: Operand,
        out: Operand,
        width: Operand,
        units: Operand,
        gates: Operand,
        k_vectors: Operand,
    ) -> None:
        self.e, self.lanes, self.nv = e, lanes, nv
        self.element, self.size = STORAGE_TYPE[dtype], ITEMSIZE[dtype]
        self.wide = vector(self.element, lanes)
        self.w, self.out = w, out
        self.width, self.units, self.gates, self.k_vectors = width, units, gates, k_vectors

    def _column(self, number: Operand) -> Operand:
        """Where column vector ``number`` begins in its panel."""
        e = self.e
        panel = e.bin("udiv", number, e.i64(self.nv))
        within = e.mul(e.sub(number, e.mul(panel, self.nv)), self.lanes)
        start = e.mul(e.mul(panel, self.k_vectors), self.lanes * self.nv * self.lanes)
        return e.gep(self.element, self.out, e.add(start, within))

    def _store(self, value: Operand, column: Operand, k: Operand) -> None:
        place = self.e.gep(self.element, column, self.e.mul(k, self.nv * self.lanes))
        self.e.store(value, place, self.size)

    def turned(self, number: Operand) -> None:
        """Columns that are rows of the weights: one element of each, step by step.

        A unit that does not exist is the gate's last one again: what it gives meets only the zeros of the h that do not
        exist.
        """
        e, lanes = self.e, self.lanes
        gate = v.least(e, e.bin("udiv", number, self.units), e.sub(self.gates, 1))
        unit = v.counting(e, e.mul(e.sub(number, e.mul(gate, self.units)), lanes), lanes)
        last = e.splat(e.sub(self.width, 1), lanes)
        unit = e.select(e.icmp("slt", unit, last), unit, last)
        rows = e.bin("add", unit, e.splat(e.mul(gate, self.width), lanes))
        starts = v.addresses(e, self.element, self.w, e.bin("mul", rows, e.splat(self.width, lanes)))
        column = self._column(number)
        with e.loop(e.i64(0), self.width) as loop:
            places = e.inst(starts.type, f"getelementptr {self.element}, {starts}, {loop.index}")
            self._store(v.gather(e, self.wide, places, e.const(vector("i1", lanes), 1)), column, loop.index)
        with e.loop(self.width, e.mul(self.units, lanes)) as loop:
            self._store(e.const(self.wide, 0), column, loop.index)

    def straight(self, number: Operand) -> None:
        """Rows of the weights where they are, gate by gate."""
        e, lanes = self.e, self.lanes
        column = self._column(number)
        first = e.mul(number, lanes)
        left = e.sub(self.width, first)
        padded = e.mul(self.units, lanes)
        with e.loop(e.i64(0), self.gates) as gate, e.loop(e.i64(0), padded) as loop:
            row = e.add(e.mul(gate.index, self.width), loop.index)
            count = e.select(e.icmp("slt", loop.index, self.width), left, e.i64(0))
            mask = v.below(e, count, lanes)
            place = e.gep(self.element, self.w, e.add(e.mul(row, self.width), first))
            self._store(v.masked_load(e, self.wide, place, mask), column, e.add(e.mul(gate.index, padded), loop.index))
