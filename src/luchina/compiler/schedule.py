"""From the primitive graph to kernels: what becomes a buffer, what is computed inside which loop.

A node is *realised* when it has a buffer of its own; every other node is written into the loops of those that use it.
``Scheduler.tasks`` are in an order in which they can run. Each task is one kernel with its parameters, the buffers it
reads and writes, and what is told about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from luchina.compiler import movement, prims
from luchina.compiler.body import EXPENSIVE, ITEMSIZE
from luchina.compiler.nest import LoopBuilder
from luchina.compiler.prims import MOVEMENT, POINTWISE, Node
from luchina.compiler.task import Storage, Task, Window, contiguous

# An inlined expression of more nodes than this, or deeper, gets a buffer in between.
MAX_INLINED = 120


class Scheduler:
    """Plans one program. Afterwards: ``tasks``, ``storages`` (by table slot) and ``results`` (a storage per output)."""

    def __init__(self, outputs: Sequence[Node], donated: Sequence[int] = ()) -> None:
        self.outputs = list(outputs)
        self.donated = frozenset(donated)
        self.tasks: list[Task] = []
        self.storages: list[Storage] = []
        self.inputs: dict[int, Storage] = {}
        self.windows: dict[int, Window] = {}
        self.order = prims.topological(self.outputs)
        self.scalars: Storage | None = None
        self.scalar_places: dict[tuple[int, str], int] = {}
        self.results: list[Storage] = []
        self._forced = self._choose_realised()

    # ---- buffers

    def storage(self, kind: str, size: int, dtype: str, index: int = 0) -> Storage:
        made = Storage(kind, len(self.storages), size * ITEMSIZE[dtype], dtype, index)
        self.storages.append(made)
        return made

    def scalar_place(self, index: int, held: str) -> tuple[Storage, int]:
        """Where run-time scalar ``index`` lies as float64 or int64: the storage and the number of its 8 bytes."""
        if self.scalars is None:
            self.scalars = self.storage("scalars", 0, "int64")
        place = self.scalar_places.setdefault((index, held), len(self.scalar_places))
        self.scalars.nbytes = 8 * len(self.scalar_places)
        return self.scalars, place

    # ---- the decision

    def _choose_realised(self) -> set[int]:
        """ids of pointwise nodes that get a buffer although they could be inlined."""
        uses: dict[int, int] = {}
        stretched: set[int] = set()
        for node in reversed(self.order):
            mine = uses.get(id(node), 0)
            for source in node.inputs:
                uses[id(source)] = uses.get(id(source), 0) + (mine if node.op in MOVEMENT else 1)
                if node.op == "expand" or (node.op in MOVEMENT and id(node) in stretched):
                    stretched.add(id(source))
        forced: set[int] = set()
        weight: dict[int, int] = {}
        dear: dict[int, bool] = {}
        for node in self.order:
            key = id(node)
            if node.op not in POINTWISE and node.op not in MOVEMENT:
                weight[key], dear[key] = 0, False
                continue
            weight[key] = 1 + sum(weight[id(i)] for i in node.inputs)
            dear[key] = node.op in EXPENSIVE or any(dear[id(i)] for i in node.inputs)
            if node.op in MOVEMENT:
                continue
            shared = uses.get(key, 0) > 1 and not self._is_trivial(node)
            if shared or weight[key] > MAX_INLINED or (dear[key] and key in stretched):
                forced.add(key)
                weight[key], dear[key] = 0, False
        return forced

    @staticmethod
    def _is_trivial(node: Node) -> bool:
        """One operation on leaves that take no memory traffic, or a mere conversion: cheaper to repeat than to keep."""
        leaves = []
        for source in node.inputs:
            while source.op in MOVEMENT:
                source = source.inputs[0]
            leaves.append(source)
        return all(s.op in ("const", "scalar", "iota") for s in leaves)

    # ---- realising

    def plan(self) -> None:
        """Make all tasks."""
        wanted: dict[int, list[int]] = {}
        for position, node in enumerate(self.outputs):
            wanted.setdefault(id(node), []).append(position)
        self.results = [None] * len(self.outputs)  # type: ignore[list-item]
        for node in self.order:
            positions = wanted.get(id(node))
            if positions:
                first = self.storage("output", node.size, node.dtype, positions[0])
                self.results[positions[0]] = first
                window = contiguous(first, node.shape)
                self.compute(node, window)
                if node.op != "input":
                    self.windows[id(node)] = window
                for position in positions[1:]:
                    again = self.storage("output", node.size, node.dtype, position)
                    self.results[position] = again
                    self.copy(window, contiguous(again, node.shape))
            elif id(node) in self._forced:
                self.realise(node)

    def realise(self, node: Node) -> Window:
        """The window where ``node`` lies in memory; computed now if it was not before."""
        window = self.windows.get(id(node))
        if window is None:
            if node.op == "input":
                storage = self.inputs.get(node.attrs[0])
                if storage is None:
                    storage = self.inputs[node.attrs[0]] = self.storage("input", node.size, node.dtype, node.attrs[0])
                window = contiguous(storage, node.shape)
            else:
                window = contiguous(self.storage("temp", node.size, node.dtype), node.shape)
                self.compute(node, window)
            self.windows[id(node)] = window
        return window

    def compute(self, node: Node, to: Window) -> None:
        """Add the tasks that write ``node`` into a window."""
        if node.size == 0:
            return
        handler = getattr(self, "_" + node.op, None)
        if handler is not None:
            handler(node, to)
        else:
            self.loop(node.shape, (), lambda builder: builder.store(builder.lower(node, builder.kept), to))

    def loop(self, outer: tuple[int, ...], inner: tuple[int, ...], fill: Callable[[LoopBuilder], None]) -> None:
        """Add one loop kernel whose program ``fill`` writes; its axes are split as the movement in it asks for."""
        splits: list[tuple[int, int]] = []
        while True:
            builder = LoopBuilder(self, outer, inner, splits)
            try:
                fill(builder)
            except movement.AxisTooCoarse as coarse:
                splits.append((coarse.axis, coarse.factor))
                continue
            self.tasks.append(builder.finish())
            return

    def copy(self, source: Window, to: Window) -> None:
        if prod(source.shape) == 0:
            return
        self.loop(source.shape, (), lambda builder: builder.store(builder.load(source, builder.kept, ()), to))

    # ---- what is not pointwise

    def _reduction(self, node: Node, to: Window) -> None:
        inner = tuple(node.inputs[0].shape[a] for a in node.attrs)
        self.loop(node.shape, inner, lambda builder: builder.store(builder.reduce(node, builder.kept), to))

    _sum = _prod = _max = _min = _argmax = _argmin = _reduction

    def _concat(self, node: Node, to: Window) -> None:
        (axis,) = node.attrs
        start = 0
        for piece in node.inputs:
            offset = to.offset + start * to.strides[axis]
            region = Window(to.storage, piece.shape, to.strides, offset)
            start += piece.shape[axis]
            if id(piece) in self.windows or piece.op == "input":
                self.copy(self.realise(piece), region)
            else:
                self.compute(piece, region)

    def _update(self, node: Node, to: Window) -> None:
        base, source = node.inputs
        strides, offset = node.attrs
        assert to.is_contiguous
        self.write(base, to)
        if source.size:
            region = Window(to.storage, source.shape, strides, to.offset + offset)
            # What is written must not be read from the half-written result: the source is complete before.
            self.write(source, region)

    def write(self, node: Node, to: Window) -> None:
        """``node`` into a window: a copy where it has a buffer already."""
        if node.size == 0:
            return
        if id(node) in self.windows or node.op == "input":
            self.copy(self.realise(node), to)
        else:
            self.compute(node, to)

    def _dot(self, node: Node, to: Window) -> None:
        a, b = node.inputs

        def fill(builder: LoopBuilder) -> None:
            batch, m, n, k = builder.counters
            factors = builder.lower(a, (batch, m, k)), builder.lower(b, (batch, k, n))
            product = builder.instruction("mul", node.dtype, factors)
            builder.store(builder.instruction("reduce.sum", node.dtype, (product,)), to)

        self.loop(node.shape, (a.shape[2],), fill)
