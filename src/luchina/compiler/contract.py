"""A contraction as a group: pointwise nodes over its result join it as its epilogue.

The group's program begins with the accumulated element. Whatever joins must be expressible as the body of an
``Epilogue``: pointwise primitives on it and on plain windows over the result's axes.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from luchina.compiler import contraction, movement
from luchina.compiler.body import ITEMSIZE, Body, Instruction
from luchina.compiler.group import MAX_INSTRUCTIONS, REDUCTIONS, Group, NeedsMemory
from luchina.compiler.nest import LoopBuilder
from luchina.compiler.prims import Node
from luchina.compiler.target import host
from luchina.compiler.task import Storage, Task, Window

if TYPE_CHECKING:
    from luchina.compiler.schedule import Scheduler

# ``product`` is a contraction of windows, what devices make of convolutions (``expansion.py``).
CONTRACTIONS = frozenset({"dot", "conv2d", "conv2d_input", "conv2d_weight", "product"})

# Inner products shorter than this leave most of a vector empty.
MIN_DEPTH = 32

# An epilogue reads at most so many arrays beside the result; single numbers do not count.
MAX_EXTRA = 8


class ContractionGroup(Group):
    """``node``, a contraction, and what is done to its elements before they are written."""

    def __init__(self, scheduler: Scheduler, node: Node) -> None:
        self.node = node
        super().__init__(scheduler, node.shape)
        self.operands = tuple(scheduler.view(source) for source in node.inputs)
        self.members = [node]
        self._lower(node)

    def _new_builder(self) -> LoopBuilder:
        builder = super()._new_builder()
        builder.ops.append(self.node.op)
        builder.assume(self.node, builder.kept, builder.instruction("accumulated", self.node.dtype))
        return builder

    def accepts(self, node: Node) -> bool:
        fits = node.op not in REDUCTIONS and node.size == self.node.size
        return fits and not self.closed and not self.busy and len(self.builder.instructions) <= MAX_INSTRUCTIONS

    def _rows(self, node: Node) -> movement.Rows | None:
        return movement.reshaped(self.builder.kept, node.shape, self.outer, self.builder.extents)

    def _lower(self, node: Node) -> None:
        rows = self._rows(node)
        if rows is None:
            raise NeedsMemory
        value = self.builder.lower(node, rows) if node is self.node else self.builder.define(node, rows)
        self.values.append((value, rows))

    def _fits(self) -> bool:
        builder = self.builder
        plain = all(not o.masks and o.index_stride is None and o.kind == "load" for o in builder.operands)
        arrays = sum(any(o.row[1:]) for o in builder.operands)
        return plain and arrays <= MAX_EXTRA and all(builder.merged(o.row) for o in builder.operands)

    def finish(self, needed: list[int]) -> list[Task]:
        builder = self.builder
        self._store(needed)
        loads = [o for o in builder.operands if o.kind == "load"]
        stores = [o for o in builder.operands if o.kind == "store"]
        body, order = _body(builder.instructions)
        operands = list(builder.operands)
        extra = tuple(_window(operands[i].storage, builder.merged(operands[i].row), operands[i].dtype) for i in order)
        outs: list[contraction.Window] = []
        for instruction in builder.instructions:
            if instruction.op == "store":
                to = operands[instruction.attrs[0]]
                outs.append(_window(to.storage, builder.merged(to.row), to.dtype))
        epilogue = contraction.Epilogue(body, extra)
        if not body.instructions and body.outputs == (0,):
            epilogue = None  # type: ignore[assignment]
        windows = [_window(w.storage, (w.offset, *w.strides), w.dtype) for w in self.operands]
        if self._is_inner_product():
            return self._as_loops(needed)
        try:
            calls = self._calls(windows, outs, epilogue)
        except NotImplementedError:
            if self.node.op != "dot":
                raise
            return self._as_loops(needed)
        storages = self.scheduler.storages
        tasks = [
            Task(
                call.kernel,
                call.params,
                call.blocks,
                [storages[slot] for slot in call.reads],
                [storages[slot] for slot in call.writes],
                ops=builder.ops,
                scratch=call.scratch,
                cost=call.cost,
                flops=call.flops,
            )
            for call in calls
        ]
        inputs = {w.storage for w in self.operands}
        tasks[-1].inplace = [
            (to.storage, o.storage)
            for to in stores
            for o in loads
            if to.storage is not None
            and o.storage is not None
            and o.row == to.row
            and ITEMSIZE[o.dtype] == ITEMSIZE[to.dtype]
            and o.storage not in inputs
            and sum(other.storage is o.storage for other in loads) == 1
        ]
        tasks[0].nbytes_read = sum(_footprint(w.shape, w.strides, w.dtype) for w in self.operands) + sum(
            _footprint(builder.extents, o.row[1:], o.dtype) for o in loads
        )
        tasks[-1].nbytes_written = sum(_footprint(builder.extents, o.row[1:], o.dtype) for o in stores)
        return tasks

    def _is_inner_product(self) -> bool:
        """A matrix by a vector, or vectors by vectors, that lie along k: read once in long runs, as a reduction."""
        if self.node.op != "dot":
            return False
        _, m, n = self.node.shape
        depth = self.node.inputs[0].shape[2]
        along = all(w.strides[2 - i] == 1 for i, w in enumerate(self.operands))
        plain = self.node.dtype in ("float32", "float64")
        return plain and min(m, n) == 1 and depth >= MIN_DEPTH and along

    def _calls(self, windows: list, outs: list, epilogue: contraction.Epilogue | None) -> list[contraction.Call]:
        node = self.node
        a, b = node.inputs
        common: dict[str, Any] = {"target": host(), "temporary": self.scheduler.temporary, "epilogue": epilogue}
        if node.op == "dot":
            batch, m, n = node.shape
            shape = (batch, m, n, a.shape[2])
            return contraction.dot(windows[0], windows[1], outs, shape, **common)
        plan = getattr(contraction, node.op)
        x_shape = node.shape if node.op == "conv2d_input" else a.shape
        w_shape = node.shape if node.op == "conv2d_weight" else b.shape
        return plan(*windows, outs, x_shape, w_shape, *node.attrs, **common)

    def _as_loops(self, needed: list[int]) -> list[Task]:
        """A product as a reduction."""
        extent = self.node.inputs[0].shape[2]
        builder = self.scheduler.builder(self.scheduler, self.outer, (extent,), self.splits)
        batch, m, n, k = builder.counters
        builder.ops.append("dot")
        left = builder.load(self.operands[0], (batch, m, k), ())
        right = builder.load(self.operands[1], (batch, k, n), ())
        product = builder.instruction("mul", self.node.dtype, (left, right))
        values = [builder.instruction("reduce.sum", self.node.dtype, (product,))]
        builder.assume(self.node, builder.kept, values[0])
        for member in self.members[1:]:
            rows = movement.reshaped(builder.kept, member.shape, self.outer, builder.extents)
            assert rows is not None
            values.append(builder.define(member, rows))
        for i in needed:
            member = self.members[i]
            rows = movement.reshaped(builder.kept, member.shape, self.outer, builder.extents)
            builder.store(values[i], self.stores[id(member)], rows)
        return [builder.finish()]


def _window(storage: Storage | None, row: movement.Row | None, dtype: str) -> contraction.Window:
    assert storage is not None and row is not None
    return contraction.Window(storage.slot, row[0], tuple(row[1:]), dtype)


def _footprint(shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> int:
    return prod(n for n, s in zip(shape, strides) if s) * ITEMSIZE[dtype]


def _body(program: list[Instruction]) -> tuple[Body, list[int]]:
    """A group's program as a body, and the builder's operands that are its further inputs, in order."""
    order: list[int] = []
    inputs = [program[0].dtype]
    for instruction in program:
        if instruction.op == "load":
            order.append(instruction.attrs[0])
            inputs.append(instruction.dtype)
    number: dict[int, int] = {0: 0}
    instructions: list[Instruction] = []
    outputs: list[int] = []
    for i, instruction in enumerate(program):
        if instruction.op == "load":
            number[i] = 1 + order.index(instruction.attrs[0])
        elif instruction.op == "store":
            outputs.append(number[instruction.args[0]])
        elif instruction.op != "accumulated":
            attrs = (instruction.attrs[0].value,) if instruction.op == "const" else instruction.attrs
            number[i] = len(inputs) + len(instructions)
            args = tuple(number[a] for a in instruction.args)
            instructions.append(Instruction(instruction.op, instruction.dtype, args, attrs))
    return Body(tuple(inputs), tuple(instructions), tuple(outputs)), order


def window_of(scheduler: Scheduler, node: Node) -> Window:
    """``node`` as a strided view on memory: through its movement where that composes, else a buffer of its own."""
    chain = []
    source = node
    while id(source) not in scheduler.windows and source.op in ("permute", "expand", "slice", "reshape"):
        chain.append(source)
        source = source.inputs[0]
    known = scheduler.windows.get(id(source))
    strides = known.strides if known else movement.contiguous_strides(source.shape)
    moved = _moved(chain, source.shape, strides) if node.size else None
    if moved is None:
        return scheduler.readable(scheduler.realise(node))
    there = scheduler.readable(scheduler.realise(source))
    return Window(there.storage, node.shape, moved[0], there.offset + moved[1])


def _moved(chain: list[Node], shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, ...], int] | None:
    """Strides and offset after the movement of ``chain``, the last first; None where it takes a copy."""
    offset = 0
    for step in reversed(chain):
        if step.op == "permute":
            strides = tuple(strides[a] for a in step.attrs)
        elif step.op == "expand":
            strides = tuple(s if n == m else 0 for s, n, m in zip(strides, shape, step.shape))
        elif step.op == "slice":
            starts, steps = step.attrs
            offset += sum(start * stride for start, stride in zip(starts, strides))
            strides = tuple(stride * by for stride, by in zip(strides, steps))
        else:
            seen = movement.restrided(shape, strides, step.shape)
            if seen is None:
                return None
            strides = seen
        shape = step.shape
    return strides, offset
