"""Packing and the first tile at once: few rows of A, and a B whose rows lie along k, as weights do.

Turning squares of B in registers takes as long as multiplying them by a tile of rows. Done together, each hides some of
the other.

    void turn(ptr params, ptr base, i64 x, i64 k, i64 count, ptr to, i64 keep, ptr a, ptr c, i1 fresh)

packs the panel of lanes ``x …`` at ``k … k + count`` (whole squares) as ``packing`` does, and makes the tile at ``c``
the sum of its products with the rows at ``a``, as the micro-kernel does, to the bit. ``keep`` is 1, or 0 where there is
no other tile: then squares are written one over the other, which spares the first cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from luchina.compiler.body import ITEMSIZE
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction.microkernel import multiply_add
from luchina.compiler.contraction.packing import Packer, loaded, row_length
from luchina.compiler.contraction.spec import ACCUMULATE, Spec
from luchina.compiler.ir import Emitter, Operand, vector

if TYPE_CHECKING:
    from luchina.compiler.target import Target

SIGNATURE = "ptr %params, ptr %base, i64 %x, i64 %k, i64 %count, ptr %to, i64 %keep, ptr %a, ptr %c, i1 %fresh"

# Up to so many rows of A, packing B takes a good part of the time. Squares and sums need so many registers.
MOST_ROWS = 16
REGISTERS = 32


def fits(target: Target, dtype: str, m: int, k: int) -> bool:
    """Whether B is turned on the way: for A read in rows."""
    lanes = target.lanes(ACCUMULATE[dtype])
    return target.registers >= REGISTERS and m <= MOST_ROWS and k > 0 and k % lanes == 0


class _Turner(Packer):
    def __init__(self, spec: Spec, target: Target) -> None:
        super().__init__(spec, target, "b")
        self.spec, self.target = spec, target

    def emit(self) -> Emitter:
        e, spec, size = self.e, self.spec, ITEMSIZE[self.dtype]
        self.square_at = e.inst("ptr", f"alloca [{self.lanes * self.lanes} x {self.stored}], align 64")
        if spec.a == "direct":
            apart, self.a_type, a_step = e.mul(self.params["a_x"], size), self.stored, self.params["a_k"]
        else:
            length = row_length(e, self.count, self.lanes)
            apart, self.a_type, a_step = e.mul(length, ITEMSIZE[ACCUMULATE[self.dtype]]), self.packed, e.i64(1)
        rows_of_a = v.Rows(e, spec.mr, apart)
        wide = vector(self.packed, self.lanes)
        with self.vectors(self.x) as lane:
            to = e.gep(self.packed, self.to, lane)
            source = self.lane_source()
            carry = [e.const(wide, 0)] * spec.mr + [Operand("ptr", "%a")]
            with e.loop(e.i64(0), self.count, self.lanes, carry) as loop:
                *sums, at = loop.carried
                row = e.mul(loop.index, Operand("i64", "%keep"))
                columns = self.store_transposed(self.square(source, loop.index), to, row)
                for column in columns:
                    for m, place in enumerate(rows_of_a.at(at)):
                        left = e.load(self.a_type, place, 1)
                        left = loaded(e, self.dtype, left) if spec.a == "direct" else left
                        sums[m] = multiply_add(e, self.target, e.splat(left, self.lanes), column, sums[m])
                    at = e.gep(self.a_type, at, a_step)
                loop.next = [*sums, at]
            places = [e.gep(self.packed, Operand("ptr", "%c"), e.add(lane, m * self.width)) for m in range(spec.mr)]
            for total, place in zip(loop.carried, places):
                old = e.load(wide, place, 4)
                both = e.add(old, total) if self.packed[0] == "i" else e.bin("fadd", old, total)
                e.store(e.select(Operand("i1", "%fresh"), total, both), place, 4)
        return e


def emit_turn(spec: Spec, target: Target) -> Emitter:
    """The function that packs a panel of B and makes the first tile beside it."""
    return _Turner(spec, target).emit()
