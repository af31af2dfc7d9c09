"""Builds one loop kernel: lowers nodes over the kernel's axes and turns the result into a spec and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from luchina.compiler import loops, loopspec, movement, transposition
from luchina.compiler.body import COST, ITEMSIZE, Instruction
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.layout import Axes
from luchina.compiler.loopspec import Access, LoopSpec
from luchina.compiler.movement import Row, Rows
from luchina.compiler.prims import INTS, POINTWISE, Node
from luchina.compiler.target import host
from luchina.compiler.task import Storage, Task, Window

if TYPE_CHECKING:
    from luchina.compiler.group import Group
    from luchina.compiler.schedule import Scheduler

# A kernel's work is shared out in blocks of about this many bytes moved or operations done.
BLOCK_WORK = 65536

# Of one vectorised operation on an element, or of one byte moved.
NANOSECONDS = 0.05

# Values of a row that are kept from one phase to the next: they share the second-level cache with the row itself.
MAX_SCRATCH = 1 << 18

Mask = tuple[Row, int]


class _Operand(NamedTuple):
    kind: str
    dtype: str
    storage: Storage | None
    row: Row
    masks: tuple[Mask, ...]
    index_stride: int | None


class LoopBuilder:
    """One loop kernel in the making, over ``outer`` and ``inner`` extents.

    ``splits`` are axes to divide in two, one after another: each ``(axis, extent of its inner part)``. ``counters`` has
    one row for each extent that was asked for, whatever it was split into.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        outer: tuple[int, ...],
        inner: tuple[int, ...] = (),
        splits: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.scheduler = scheduler
        self.outer = len(outer)
        extents = [*outer, *inner]
        parts = [[a] for a in range(len(extents))]
        for axis, factor in splits:
            extents[axis : axis + 1] = [extents[axis] // factor, factor]
            self.outer += axis < self.outer
            parts = [[p + (p > axis) for p in own] + ([axis + 1] if axis in own else []) for own in parts]
        self.extents = tuple(extents)
        self.parts = parts
        self.axes = len(extents)
        self.counters: Rows = tuple(
            movement.combine(
                [
                    movement.unit_row(p, self.axes) if extents[p] != 1 else movement.zero_row(self.axes)
                    for p in sorted(own)
                ],
                movement.contiguous_strides([extents[p] for p in sorted(own)]),
                0,
                self.axes,
            )
            for own in parts
        )
        self.kept = self.counters[: len(outer)]
        self.reduced = self.counters[len(outer) :]
        self.operands: dict[_Operand, int] = {}
        self.program: dict[Instruction, int] = {}
        self.instructions: list[Instruction] = []
        self.group: Group | None = None
        self.ops: list[str] = []
        self._lowered: dict[tuple, int] = {}

    # ---- the program

    def snapshot(self) -> tuple:
        """What ``restore`` needs to take back everything added after now."""
        return len(self.instructions), len(self.operands), len(self.ops), len(self._lowered)

    def restore(self, snapshot: tuple) -> None:
        """Forget what was added since the snapshot."""
        instructions, operands, ops, lowered = snapshot
        del self.instructions[instructions:]
        del self.ops[ops:]
        for table, size in ((self.program, instructions), (self.operands, operands), (self._lowered, lowered)):
            while len(table) > size:
                table.popitem()

    def instruction(self, op: str, dtype: str, args: tuple[int, ...] = (), attrs: tuple = ()) -> int:
        """Number of an instruction's value; the same instruction is written once."""
        if op == "const":
            attrs = (_Constant(attrs[0]),)
        instruction = Instruction(op, dtype, args, attrs)
        value = self.program.setdefault(instruction, len(self.program))
        if value == len(self.instructions):
            self.instructions.append(instruction)
        return value

    def operand(self, *fields: Any) -> int:
        return self.operands.setdefault(_Operand(*fields), len(self.operands))

    def constant(self, value: float | int, dtype: str) -> int:
        return self.instruction("const", dtype, (), (value,))

    def load(self, window: Window, rows: Rows, masks: tuple[Mask, ...], index: tuple[int, int] | None = None) -> int:
        """A load through a window; ``index`` is (value, stride) of an indirect coordinate."""
        row = movement.combine(rows, window.strides, window.offset, self.axes)
        stride = None if index is None else index[1]
        at = self.operand("load", window.dtype, window.storage, row, masks, stride)
        return self.instruction("load", window.dtype, () if index is None else (index[0],), (at,))

    def store(self, value: int, to: Window, rows: Rows | None = None) -> None:
        """Write a value into a window over the outer axes (or ``rows``)."""
        rows = self.kept if rows is None else rows
        row = movement.combine(rows, to.strides, to.offset, self.axes)
        at = self.operand("store", to.dtype, to.storage, row, (), None)
        self.instruction("store", to.dtype, (value,), (at,))

    def merged(self, row: Row) -> Row | None:
        """A row over the extents that were asked for, if it crosses the parts of each with one stride."""
        result = [row[0]]
        for own in self.parts:
            axes = [p for p in sorted(own) if self.extents[p] > 1]
            for slow, fast in zip(axes, axes[1:]):
                if row[slow + 1] != row[fast + 1] * self.extents[fast]:
                    return None
            result.append(row[axes[-1] + 1] if axes else 0)
        return tuple(result)

    # ---- lowering

    def lower(self, node: Node, rows: Rows, masks: tuple[Mask, ...] = ()) -> int:
        """The value of ``node`` at ``rows``, wherever all ``masks`` hold."""
        key = (id(node), rows, masks)
        value = self._lowered.get(key)
        if value is None:
            value = self._lowered[key] = self._lower(node, rows, masks)
        return value

    def assume(self, node: Node, rows: Rows, value: int) -> None:
        """Take ``value`` for what ``node`` is at ``rows``."""
        self._lowered[id(node), rows, ()] = value

    def define(self, node: Node, rows: Rows) -> int:
        """The value of ``node`` computed here, even if a buffer is meant for it."""
        value = self._lowered[id(node), rows, ()] = self._express(node, rows, ())
        return value

    def _lower(self, node: Node, rows: Rows, masks: tuple[Mask, ...]) -> int:
        scheduler = self.scheduler
        if node.size == 0:
            return self.constant(0, node.dtype)
        if masks and (value := self._lowered.get((id(node), rows, ()))) is not None:
            return value
        window = scheduler.windows.get(id(node))
        if window is not None:
            return self.load(scheduler.readable(window), rows, masks)
        return self._express(node, rows, masks)

    def _express(self, node: Node, rows: Rows, masks: tuple[Mask, ...]) -> int:
        scheduler, op = self.scheduler, node.op
        if op == "const":
            return self.constant(node.attrs[0], node.dtype)
        if op == "scalar":
            whole = node.dtype in INTS or node.dtype == "bool"
            held = "int64" if whole else scheduler.widest
            storage, place = scheduler.scalar_place(node.attrs[0], held)
            at = self.operand("load", held, storage, (place * 8 // ITEMSIZE[held],) + (0,) * self.axes, (), None)
            value = self.instruction("load", held, (), (at,))
            return value if held == node.dtype else self.instruction("cast", node.dtype, (value,))
        if op == "iota":
            at = self.operand("index", "int64", None, rows[0], (), None)
            return self.instruction("index", node.dtype, (), (at,))
        if op in POINTWISE:
            args = tuple(self.lower(source, rows, masks) for source in node.inputs)
            self.ops.append(op)
            return self.instruction(op, node.dtype, args)
        if op == "take":
            return self._lower_take(node, rows, masks)
        if op == "strided":
            return self._lower_strided(node, rows, masks)
        if op in _MOVES:
            return self._lower_movement(node, rows, masks)
        return self.load(scheduler.readable(scheduler.realise(node)), rows, masks)

    def _lower_movement(self, node: Node, rows: Rows, masks: tuple[Mask, ...]) -> int:
        (x,) = node.inputs
        if node.op == "permute":
            return self.lower(x, movement.permuted(rows, node.attrs), masks)
        if node.op == "expand":
            return self.lower(x, movement.expanded(rows, x.shape), masks)
        if node.op == "slice":
            return self.lower(x, movement.sliced(rows, *node.attrs), masks)
        if node.op == "reshape":
            inside = movement.reshaped(rows, x.shape, node.shape, self.extents)
            if inside is not None:
                return self.lower(x, inside, masks)
            # Not affine over these axes: the flat address is, so x needs a row-major buffer.
            flat = movement.combine(rows, movement.contiguous_strides(node.shape), 0, self.axes)
            return self._lower_flat(x, flat, masks)
        low, _, fill = node.attrs
        inside = movement.shifted(rows, low)
        own = []
        for row, extent in zip(inside, x.shape):
            least, most = movement.bounds(row, self.extents)
            if least < 0 or most >= extent:
                own.append((row, extent))
        masks += tuple(mask for mask in own if mask not in masks)
        value = self.lower(x, inside, masks)
        if not own:
            return value
        source = self.instructions[value]
        if source.op == "load" and fill == 0 and not source.args:
            read = next(islice(self.operands, source.attrs[0], None))
            if set(own) <= set(read.masks):
                return value  # a masked load gives 0 outside; one that was there before may have no masks
        at = self.operand("mask", "bool", None, movement.zero_row(self.axes), tuple(own), None)
        holds = self.instruction("mask", "bool", (), (at,))
        return self.instruction("where", node.dtype, (holds, value, self.constant(fill, node.dtype)))

    def _lower_flat(self, node: Node, flat: Row, masks: tuple[Mask, ...]) -> int:
        window = self.scheduler.readable(self.scheduler.realise(node))
        assert window.is_contiguous, node
        return self.load(Window(window.storage, (), (1,), window.offset), (flat,), masks)

    def _lower_strided(self, node: Node, rows: Rows, masks: tuple[Mask, ...]) -> int:
        strides, offset = node.attrs
        return self._lower_flat(node.inputs[0], movement.combine(rows, strides, offset, self.axes), masks)

    def _lower_take(self, node: Node, rows: Rows, masks: tuple[Mask, ...]) -> int:
        x, index = node.inputs
        window = self.scheduler.readable(self.scheduler.realise(x))
        stride = window.strides[0]
        value = self.lower(index, rows[:1], masks)
        self.ops.append("take")
        window = Window(window.storage, window.shape[1:], window.strides[1:], window.offset)
        return self.load(window, rows[1:], masks, (value, stride))

    def reduce(self, node: Node, rows: Rows) -> int:
        """A reduction whose reduced axes are this kernel's inner axes, at ``rows`` of what it keeps."""
        (x,) = node.inputs
        inner = iter(self.reduced)
        kept = iter(rows)
        at = tuple(next(inner) if a in node.attrs else next(kept) for a in range(len(x.shape)))
        args: tuple[int, ...] = (self.lower(x, at),)
        if node.op in ("argmax", "argmin"):
            number = self.operand("index", "int64", None, self.reduced[0], (), None)
            args += (self.instruction("index", "int64", (), (number,)),)
        value = self.instruction("reduce." + node.op, node.dtype, args)
        self.ops.append(node.op)
        self._lowered[id(node), rows, ()] = value
        return value

    # ---- the finished kernel

    def finish(self) -> Task:
        """The kernel, with axes merged where every operand allows."""
        operands = list(self.operands)
        program = self.instructions
        if (turned := self._transposition(operands)) is not None:
            return turned
        forms = [list(row[1:]) for o in operands for row in (o.row, *(m[0] for m in o.masks))]
        loads, count = [], 0
        for operand in operands:
            if operand.kind == "load" and operand.storage is not None:
                loads.append(count)
            count += 1 + len(operand.masks)
        axes = Axes(list(self.extents), self.outer, forms, loads)
        axes.arrange()
        vector_axis = len(axes.extents) - 1 if axes.along == "inner" else axes.outer - 1
        arranged = iter(axes.forms)
        several = prod(axes.extents) > 1
        accesses: list[Access] = []
        records: list[int] = []
        for operand in operands:
            coefficients = next(arranged)
            masks = [(next(arranged), row[0], extent) for row, extent in operand.masks]
            lane_class = _class(coefficients[vector_axis], operand.kind)
            if operand.kind == "store" and axes.along == "outer" and lane_class == "0":
                assert axes.extents[vector_axis] == 1, "many elements of a kernel stored in one place"
                lane_class = "1"
            every = [coefficients, *(m[0] for m in masks)]
            is_inner = any(any(c[axes.outer :]) for c in every)
            indexed = operand.index_stride is not None
            accesses.append(
                Access(
                    operand.kind,
                    operand.dtype,
                    lane_class,
                    is_inner,
                    tuple(_class(m[0][vector_axis], "mask") for m in masks),
                    indexed,
                    operand.kind == "load" and several and not masks and not indexed and not any(coefficients),
                )
            )
            records += [operand.storage.slot if operand.storage else 0, operand.row[0], *coefficients]
            if operand.index_stride is not None:
                records.append(operand.index_stride)
            for own, constant, extent in masks:
                records += [constant, extent, *own]
        instructions = tuple(i._replace(attrs=(i.attrs[0].value,)) if i.op == "const" else i for i in program)
        spec = LoopSpec(axes.outer, axes.inner, axes.along, tuple(accesses), instructions)
        extents = axes.extents
        keep = loopspec.repeated(spec) if spec.inner else ()
        scratch = 0
        if keep:
            places = loopspec.scratch_elements(spec, prod(extents[spec.outer :]), loopspec.choose_lanes(spec, host()))
            scratch = places * sum(loopspec.register_bytes(program[i].dtype) for i in keep)
            if scratch <= MAX_SCRATCH:
                spec = spec._replace(keep=keep)
            else:
                scratch = 0
        return self._task(spec, extents, records, operands, scratch)

    def _transposition(self, operands: list[_Operand]) -> Task | None:
        """The kernel as a copy by squares, where it is a copy from one layout to another."""
        if [i.op for i in self.instructions] != ["load", "store"] or len(self.extents) != self.outer:
            return None
        read, write = operands
        if read.masks or read.index_stride is not None or read.storage is None or write.storage is None:
            return None
        size = ITEMSIZE[read.dtype]
        copy = transposition.plan(self.extents, size, (read.storage.slot, read.row), (write.storage.slot, write.row))
        if copy is None or read.dtype != write.dtype:
            return None
        nbytes = size * prod(self.extents)
        return Task(
            copy.kernel,
            copy.params,
            copy.blocks,
            [read.storage],
            [write.storage],
            ops=self.ops,
            cost=2 * NANOSECONDS * nbytes,
            nbytes_read=nbytes,
            nbytes_written=nbytes,
        )

    def _task(
        self, spec: LoopSpec, extents: list[int], records: list[int], operands: list[_Operand], scratch: int
    ) -> Task:
        total = prod(extents)
        weight = sum(COST.get(i.op, 1) for i in spec.program)
        inner = prod(extents[spec.outer :])
        rows = prod(extents[: spec.outer])
        chunk = 1
        items = rows
        if spec.along == "outer":
            width = extents[spec.outer - 1]
            chunk = max(64, BLOCK_WORK // max(1, weight * inner) // 64 * 64)
            chunk = min(chunk, -(-width // 64) * 64)
            items = prod(extents[: spec.outer - 1]) * -(-width // chunk)
        work = weight * max(1, total // max(1, items))
        per_block = max(1, BLOCK_WORK // max(1, work))
        params = [items, per_block, chunk, *extents, *records]
        reads = {o.storage.slot: o.storage for o in operands if o.kind == "load" and o.storage}
        writes = {o.storage.slot: o.storage for o in operands if o.kind == "store" and o.storage}
        read, written = (_traffic(self.extents, operands, kind) for kind in ("load", "store"))
        key = str(spec)
        name = kernel_name(key)
        kernel = Kernel(name, key, lambda target: loops.emit(spec, target, name))
        return Task(
            kernel,
            params,
            -(-items // per_block),
            list(reads.values()),
            list(writes.values()),
            inplace=_inplace(spec, operands),
            ops=self.ops,
            scratch=scratch,
            cost=NANOSECONDS * (weight * total + read + written),
            flops=total * sum(i.op not in ("load", "store", "const", "index", "mask") for i in spec.program),
            nbytes_read=read,
            nbytes_written=written,
        )


class _Constant:
    """A constant compared by type and bits: 0.0 is not -0.0, 1 is not True, NaN is NaN."""

    __slots__ = ("value",)

    def __init__(self, value: float | int) -> None:
        self.value = value

    def __hash__(self) -> int:
        return hash(repr(self.value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Constant) and repr(self.value) == repr(other.value)


_MOVES = frozenset({"reshape", "permute", "expand", "slice", "pad"})


def _class(coefficient: int, kind: str) -> str:
    known = (0, 1, 2) if kind in ("load", "store") else (0, 1)
    return str(coefficient) if coefficient in known else "s"


def _inplace(spec: LoopSpec, operands: list[_Operand]) -> list[tuple[Storage, Storage]]:
    """Pairs (written, read) of storages that may share memory; see ``Task``."""
    reads: dict[Storage, list[_Operand]] = {}
    for operand in operands:
        if operand.kind == "load" and operand.storage is not None:
            reads.setdefault(operand.storage, []).append(operand)
    # A row that is visited again must not have been written over: only the last visit may write in place, and what is
    # stored once a row, after all visits.
    full = loopspec.is_full(spec)
    phase = loopspec.phases_of(spec, full)
    last = max(phase, default=0)
    late = {i.attrs[0] for i, f, p in zip(spec.program, full, phase) if i.op == "store" and (p == last or not f)}
    pairs = []
    for at, written in enumerate(operands):
        if written.kind != "store" or written.storage is None or (spec.inner and at not in late):
            continue
        for storage, users in reads.items():
            only = users[0]
            plain = len(users) == 1 and not only.masks and only.index_stride is None
            if plain and only.row == written.row and ITEMSIZE[only.dtype] == ITEMSIZE[written.dtype]:
                pairs.append((written.storage, storage))
    return pairs


def _traffic(extents: tuple[int, ...], operands: list[_Operand], kind: str) -> int:
    """Bytes moved by all operands of a kind, each element of a broadcast once."""
    total = 0
    for operand in operands:
        if operand.kind == kind and operand.storage is not None:
            count = prod(n for n, k in zip(extents, operand.row[1:]) if k)
            total += count * ITEMSIZE[operand.dtype]
    return total
