"""Groups: nodes that share one loop kernel.

A group is *open* while nothing has been read from what it writes: until then, further nodes over the same iteration
space may join it. A member's value is taken in a register by members that need it at the same place; a buffer is
written only for readers outside. The first reader from memory closes the group and makes its kernel.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from luchina.compiler import movement
from luchina.compiler.body import ITEMSIZE
from luchina.compiler.movement import Rows
from luchina.compiler.nest import LoopBuilder
from luchina.compiler.prims import REDUCE, Node
from luchina.compiler.task import Task, Window

if TYPE_CHECKING:
    from luchina.compiler.schedule import Scheduler

# A kernel does not grow beyond this: registers run out, and compilation takes longer than it saves.
MAX_INSTRUCTIONS = 90
MAX_OPERANDS = 24

# Rows that are visited several times should stay in the second-level cache.
MAX_ROW_BYTES = 1 << 18

# Elements of an array that one core deals with anyway.
SMALL = 1 << 14

REDUCTIONS = frozenset(REDUCE) | {"argmax", "argmin"}


class NeedsMemory(Exception):
    """A value of a group is wanted from memory while the group is still being written."""


class Group:
    """Members over one iteration space: ``outer`` extents and, for reductions, ``full`` with its reduced ``axes``."""

    def __init__(
        self, scheduler: Scheduler, outer: tuple[int, ...], full: tuple[int, ...] = (), axes: tuple[int, ...] = ()
    ) -> None:
        self.scheduler = scheduler
        self.outer = outer
        self.full = full
        self.axes = axes
        self.inner = tuple(full[a] for a in axes)
        self.members: list[Node] = []
        self.stores: dict[int, Window] = {}
        self.values: list[tuple[int, Rows]] = []
        self.splits: list[tuple[int, int]] = []
        self.builder = self._new_builder()
        self.serial = scheduler.groups
        scheduler.groups += 1
        self.touched: set[int] = set()  # ids of members and of what they read
        self.busy = False
        self.closed = False

    def _new_builder(self) -> LoopBuilder:
        builder = self.scheduler.builder(self.scheduler, self.outer, self.inner, self.splits)
        builder.group = self
        return builder

    # ---- places

    def _full_rows(self) -> Rows:
        kept, reduced = iter(self.builder.kept), iter(self.builder.reduced)
        return tuple(next(reduced) if a in self.axes else next(kept) for a in range(len(self.full)))

    def _rows(self, node: Node) -> Rows | None:
        """Where the kernel's counters are in ``node``: element k of the space is element k of it."""
        if node.op in REDUCTIONS and (node.inputs[0].shape, node.attrs) == (self.full, self.axes):
            return self.builder.kept
        spaces = [(self.builder.kept, self.outer)]
        if self.axes:
            spaces.insert(0, (self._full_rows(), self.full))
        for rows, shape in spaces:
            if shape == node.shape:
                return rows
        for rows, shape in spaces:
            if prod(shape) == node.size and [n for n in shape if n > 1] == [n for n in node.shape if n > 1]:
                return movement.reshaped(rows, node.shape, shape, self.builder.extents)
        return None

    # ---- members

    def accepts(self, node: Node) -> bool:
        """Whether it is worth trying: the space fits, and memory traffic or a kernel is saved."""
        if self.closed or self.busy or len(self.builder.instructions) > MAX_INSTRUCTIONS:
            return False
        if node.op in REDUCTIONS:
            if (node.inputs[0].shape, node.attrs) != (self.full, self.axes):
                return False
        elif self._rows(node) is None:
            return False
        return not self.inner or node.size == prod(self.outer) or self.rows_fit()

    def rows_fit(self) -> bool:
        """Whether a row may well be visited again: it stays in cache, and there are rows enough for every core."""
        if prod(self.full) <= SMALL:
            return True
        return ITEMSIZE["float32"] * prod(self.inner) <= MAX_ROW_BYTES and prod(self.outer) >= 4

    def add(self, node: Node) -> bool:
        """Let ``node`` join; False leaves the group as it was."""
        undo = (self.builder.snapshot(), self.builder, self.values.copy(), self.splits)
        self.busy = True
        try:
            while True:
                try:
                    self._lower(node)
                    break
                except movement.AxisTooCoarse as coarse:
                    self.splits = [*self.splits, (coarse.axis, coarse.factor)]
                    self.builder = self._new_builder()
                    self.values = []
                    for member in self.members:
                        self._lower(member)
            fits = self._fits()
        except NeedsMemory:
            fits = False
        finally:
            self.busy = False
        if not fits:
            snapshot, self.builder, self.values, self.splits = undo
            self.builder.restore(snapshot)
            return False
        self.members.append(node)
        return True

    def _fits(self) -> bool:
        """Whether the kernel may be as it is now, with one more member."""
        return not self.members or len(self.builder.operands) <= MAX_OPERANDS

    def _lower(self, node: Node) -> None:
        rows = self._rows(node)
        assert rows is not None
        if node.op in REDUCTIONS and rows == self.builder.kept:
            value = self.builder.reduce(node, rows)
        else:
            value = self.builder.define(node, rows)
        self.values.append((value, rows))

    def close(self) -> None:
        """Make the kernel; what only members read is not stored."""
        if self.busy:
            raise NeedsMemory
        if self.closed:
            return
        self.closed = True
        scheduler = self.scheduler
        members = set(map(id, self.members))
        needed = []
        for i, node in enumerate(self.members):
            to = self.stores[id(node)]
            del scheduler.open[to.storage]
            if to.storage.kind == "output" or not scheduler.readers[id(node)] <= members:
                needed.append(i)
            else:
                del scheduler.windows[id(node)]
        scheduler.tasks += self.finish(needed)
        self.dismiss()

    def dismiss(self) -> None:
        """Take no more members; nothing of a plan is left for the garbage collector."""
        self.closed = True
        self.builder.group = None

    def _store(self, needed: list[int]) -> None:
        for i in needed:
            value, rows = self.values[i]
            self.builder.store(value, self.stores[id(self.members[i])], rows)

    def finish(self, needed: list[int]) -> list[Task]:
        """The tasks that compute the members and store those that are ``needed``."""
        self._store(needed)
        return [self.builder.finish()]
