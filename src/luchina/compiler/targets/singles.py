"""Loop kernels of work items that work alone: an item has one element, one row, or a few adjacent elements, which it
reads and writes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from luchina.compiler.body import ITEMSIZE
from luchina.compiler.ir import Operand, module
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.loops import Group, Step, Writer
from luchina.compiler.loopspec import HEADER, LoopSpec, record_size
from luchina.compiler.target import Target
from luchina.compiler.targets.product import ALIGNMENT
from luchina.compiler.vecmath import alone

ENOUGH = 1 << 16
"""Elements from which every processor of a card has work, even if an item has several."""


def kernel(spec: LoopSpec, lanes: int) -> Kernel:
    """A loop kernel whose items have ``lanes`` adjacent elements of the last outer axis each."""
    key = f"single {lanes} {spec}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: emit(spec, lanes, target, name))


def emit(spec: LoopSpec, lanes: int, target: Target, name: str) -> str:
    """The LLVM module of a loop kernel for single items."""
    writer = ItemWriter(spec, lanes, target)
    writer.write()
    return module([writer.e.function(name)], writer.e.declarations, target.triple)


def lanes_for(spec: LoopSpec, extents: Sequence[int], params: Sequence[int]) -> int:
    """How many adjacent elements an item can take: as many as 16 bytes hold of the widest array, if all arrays lie
    element by element along the last axis and start at multiples of that; else 1."""
    axes = spec.outer + spec.inner
    if spec.along != "outer" or spec.inner or prod(extents) < ENOUGH:
        return 1
    if any(i.op in alone.FUNCTIONS for i in spec.program):
        return 1  # written for one lane
    arrays = [a for a in spec.accesses if a.kind in ("load", "store")]
    if any(a.masks or a.indexed or a.vector not in "01" for a in spec.accesses):
        return 1
    adjacent = [ITEMSIZE[a.dtype] for a in arrays if a.vector == "1"]
    lanes = min(ALIGNMENT // max(adjacent, default=ALIGNMENT), 8)
    at = HEADER + axes
    multiples = [extents[-1]]
    for access in spec.accesses:
        if access.kind in ("load", "store") and access.vector == "1":
            _, offset, *coefficients = params[at : at + 2 + axes]
            multiples += [offset, *(c for c, n in zip(coefficients[:-1], extents) if n > 1)]
        at += record_size(access, axes)
    return lanes if all(m % lanes == 0 for m in multiples) else 1


class ItemWriter(Writer):
    """Writes a loop kernel whose blocks are single items."""

    def __init__(self, spec: LoopSpec, lanes: int, target: Target) -> None:
        super().__init__(spec, target)
        self.lanes = lanes

    def read_params(self) -> None:
        super().read_params()
        self.per_block, self.chunk = self.e.i64(1), self.e.i64(self.lanes)

    def lane_loop(self, start: Operand, stop: Operand, carry: list[Operand], run: Step) -> list[Operand]:
        """An item has a whole number of lanes: all of its columns, or one after another along a row."""
        if self.spec.along == "outer":
            return run(start, Group(self.lanes), carry)
        with self.e.loop(start, stop, 1, carry) as loop:
            loop.next = run(loop.index, Group(1), loop.carried)
        return loop.carried

    def alignment(self, dtype: str, lanes: int) -> int:
        return lanes * ITEMSIZE[dtype]
