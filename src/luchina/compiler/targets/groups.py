"""Rows that are reduced by a whole work-group: what the lanes of a vector are on the CPU, work items are here.

Item t of a group of G takes the elements t, t + G, … of a row, in chunks as on the CPU. What each has gathered is
combined in local memory, in halves: the order depends on the row's extent only.
"""

from __future__ import annotations

from collections.abc import Callable

from luchina.compiler.accumulators import CHUNK, Accumulator, ArgAccumulator
from luchina.compiler.ir import Operand, module
from luchina.compiler.loops import Group, Positions, Writer
from luchina.compiler.loopspec import LoopSpec, is_full
from luchina.compiler.target import Target
from luchina.compiler.targets.items import GroupKernel, barrier, local_id

GROUP, LARGE_GROUP = 64, 256
"""Work items of a group, by the length of rows."""

LONG = 2048
"""Rows from here on have large groups."""


def rows_kernel(spec: LoopSpec, extents: list[int]) -> GroupKernel:
    """A loop kernel for groups."""
    group = LARGE_GROUP if extents[-1] >= LONG else GROUP
    return GroupKernel(f"group {group} {spec}", group, lambda target, name: emit(spec, group, target, name))


def fits(spec: LoopSpec, extents: list[int]) -> bool:
    """Whether groups pay, and every element of the inner axes is stored where no other is."""
    if not spec.inner or spec.along != "inner" or extents[-1] < GROUP:
        return False
    full = is_full(spec)
    stores = [(i.attrs[0], f) for i, f in zip(spec.program, full) if i.op == "store"]
    return all(spec.accesses[at].inner == inside for at, inside in stores)


def emit(spec: LoopSpec, group: int, target: Target, name: str) -> str:
    """The LLVM module of a loop kernel for groups."""
    writer = GroupWriter(spec, group, target, name)
    writer.write()
    e = writer.e
    return module([*writer.rooms.values(), e.function(name)], e.declarations, target.triple)


class GroupWriter(Writer):
    """Writes a loop kernel that all work items of a group run together."""

    def __init__(self, spec: LoopSpec, group: int, target: Target, name: str) -> None:
        super().__init__(spec, target)
        self.group = group
        self.name = name
        self.rooms: dict[str, str] = {}
        e = self.e
        self.item = local_id(e, target)
        self.is_first = e.icmp("eq", self.item, e.i64(0))

    def last_axis(
        self,
        positions: Positions,
        totals: list[Operand],
        accumulators: list[Accumulator],
        group: Group,
        body_at: Callable[[Positions, Group, list[Operand]], list[Operand]],
    ) -> list[Operand]:
        """This work item's elements of the last inner axis."""
        e, axis = self.e, self.axes - 1
        with e.loop(e.i64(0), self.extents[axis], CHUNK * self.group, totals) as chunks:
            stop = self.minimum(e.add(chunks.index, CHUNK * self.group), self.extents[axis])
            initial = [o for acc in accumulators for o in acc.initial(1)]
            with e.loop(e.add(chunks.index, self.item), stop, self.group, initial) as loop:
                loop.next = body_at(self.advance(positions, axis, loop.index), group, loop.carried)
            partial, carried = loop.carried, chunks.carried
            folded: list[Operand] = []
            for acc in accumulators:
                folded += acc.fold(carried[: acc.total_width()], partial[: acc.width()])
                carried, partial = carried[acc.total_width() :], partial[acc.width() :]
            chunks.next = folded
        return chunks.carried

    def combine(self, accumulators: list[Accumulator], totals: list[Operand]) -> list[Operand]:
        """What all work items of the group have gathered, known to each of them."""
        e = self.e
        for number, value in enumerate(totals):
            self._put(number, value, self.item)
        barrier(self.e, self.target)
        half = self.group // 2
        while half and totals:
            with e.when(e.icmp("slt", self.item, e.i64(half))):
                mine = [self._get(n, value.type, self.item) for n, value in enumerate(totals)]
                other = [self._get(n, value.type, e.add(self.item, half)) for n, value in enumerate(totals)]
                at = 0
                for acc in accumulators:
                    a, b = mine[at : at + acc.total_width()], other[at : at + acc.total_width()]
                    joined = acc.better(a, b) if isinstance(acc, ArgAccumulator) else [acc.join(a[0], b[0])]
                    for value in joined:
                        self._put(at, value, self.item)
                        at += 1
            barrier(self.e, self.target)
            half //= 2
        results = [self._get(n, value.type, e.i64(0)) for n, value in enumerate(totals)]
        barrier(self.e, self.target)
        return results

    def _place(self, number: int, type_: str, index: Operand) -> str:
        room = f"@{self.name}.{number}.{type_}"
        self.rooms[room] = f"{room} = internal addrspace(3) global [{self.group} x {type_}] poison\n"
        place = self.e.inst("ptr", f"getelementptr {type_}, ptr addrspace(3) {room}, {index}")
        return f"ptr addrspace(3) {place.text}"

    def _put(self, number: int, value: Operand, index: Operand) -> None:
        value = self.e.cast("zext", value, "i8") if value.type == "i1" else value
        self.e.raw(f"store {value}, {self._place(number, value.type, index)}")

    def _get(self, number: int, type_: str, index: Operand) -> Operand:
        kept = "i8" if type_ == "i1" else type_
        value = self.e.inst(kept, f"load {kept}, {self._place(number, kept, index)}")
        return self.e.icmp("ne", value, self.e.const("i8", 0)) if type_ == "i1" else value

    def store(self, a: int, value: Operand, positions: Positions, group: Group) -> None:
        """An element is stored by its work item; what a row has once, by the first, when all have read."""
        if self.spec.accesses[a].inner:
            super().store(a, value, positions, group)
            return
        barrier(self.e, self.target)
        with self.e.when(self.is_first):
            super().store(a, value, positions, group)
