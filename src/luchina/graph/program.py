"""From recorded Values to a run: signature, program cache, execution.

``realize`` computes Values. Everything that is still pending and that somebody can still look at is computed in the same program, so
that a training step (forward, gradients, update) is one program. A program is found by its signature: the structure
of the graph, with shapes and dtypes at its leaves. A step that was seen before costs this walk and one native call.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from luchina.graph.value import OUT, Value

if TYPE_CHECKING:
    from luchina.compiler.build import Executable
    from luchina.compiler.prims import Node

PENDING_LIMIT = 4000  # Values recorded since the last run before everything is run anyway

_programs: dict[Any, Executable] = {}
_watched: list[weakref.ref] = []  # holders (storages) of Values that were pending when they were recorded
observers: list[Callable[[Run], None]] = []  # told of every run; ``luchina explain`` listens here
statistics = {"runs": 0, "programs": 0}


class Run:
    """One execution of a program, as observers see it."""

    def __init__(self, values: list[Value], order: list[Value], executable: Executable, new: bool) -> None:
        self.values = values
        self.order = order
        self.executable = executable
        self.new = new


def watch(holder: Any) -> None:
    """Remember an object whose ``.value`` is pending: it is computed at the next run if it is still alive then."""
    _watched.append(weakref.ref(holder))
    if len(_watched) > PENDING_LIMIT:
        realize(())


def pending_count() -> int:
    """How many holders were watched since the last run; some may be dead."""
    return len(_watched)


def realize(values: Iterable[Value]) -> None:
    """Compute ``values`` and whatever else is pending and alive."""
    targets: list[Value] = []
    seen: set[int] = set()
    for reference in _watched:
        holder = reference()
        if holder is not None:
            value = holder.value
            if value.buffer is None and id(value) not in seen:
                seen.add(id(value))
                targets.append(value)
    for value in values:
        if value.buffer is None and id(value) not in seen:
            seen.add(id(value))
            targets.append(value)
    if targets:
        _run(targets)
    _watched.clear()


def realize_only(value: Value) -> None:
    """Compute one Value and what it needs, leaving everything else pending: for an index that must be checked now."""
    if value.buffer is None:
        _run([value])


def _walk(targets: list[Value]) -> tuple[list[Value], list[Value]]:
    """Pending Values that the targets need, inputs first, and the leaves in order of first use."""
    order: list[Value] = []
    leaves: list[Value] = []
    state: dict[int, bool] = {}
    stack = list(reversed(targets))
    while stack:
        value = stack[-1]
        key = id(value)
        if key in state:
            stack.pop()
            if not state[key]:
                state[key] = True
                order.append(value)
            continue
        if value.buffer is not None or value.number is not None:
            state[key] = True
            leaves.append(value)
            stack.pop()
            continue
        assert value.op is not None, f"{value!r} was let go before it was computed"
        state[key] = False
        for other in reversed(value.inputs):
            if id(other) not in state:
                stack.append(other)
    return order, leaves


def _saved(order: list[Value], targets: list[Value]) -> list[Value]:
    """Pending Values that a later backward will read: they are outputs of this program too."""
    have = {id(v) for v in targets}
    extra = []
    for value in order:
        if not value.needs_grad or value.freed or value.op is None:
            continue
        for source, reads in zip(value.inputs, value.op.reads):
            if not source.needs_grad:
                continue
            for number in reads:
                read = value if number == OUT else value.inputs[number]
                if read.buffer is None and read.number is None and id(read) not in have:
                    have.add(id(read))
                    extra.append(read)
    return extra


def _run(targets: list[Value]) -> None:
    order, leaves = _walk(targets)
    targets = targets + _saved(order, targets)
    number = {id(v): i for i, v in enumerate(leaves)}
    first = len(leaves)
    signature: list[Any] = [(v.shape, v.dtype) if v.number is None else v.dtype for v in leaves]
    for i, value in enumerate(order):
        number[id(value)] = first + i
        signature.append((value.op, value.attrs, *[number[id(s)] for s in value.inputs]))
    signature.append(tuple([number[id(v)] for v in targets]))
    key = tuple(signature)
    executable = _programs.get(key)
    new = executable is None
    if executable is None:
        executable = _compile(order, leaves, targets)
        _programs[key] = executable
        statistics["programs"] += 1
    buffers = executable.run(
        [v.buffer for v in leaves if v.number is None],
        [v.number for v in leaves if v.number is not None],
    )
    statistics["runs"] += 1
    for value, buffer in zip(targets, buffers):
        value.buffer = buffer
        if not value.needs_grad:
            value.op = None
            value.inputs = ()
    if observers:
        run = Run(targets, order, executable, new)
        for observer in observers:
            observer(run)


def lower(order: Sequence[Value], leaves: Sequence[Value], targets: Sequence[Value]) -> list[Node]:
    """The primitive graph of recorded Values."""
    from luchina.compiler import prims

    nodes: dict[int, Any] = {}
    buffers = scalars = 0
    for value in leaves:
        if value.number is None:
            nodes[id(value)] = prims.input(buffers, value.shape, value.dtype.name)
            buffers += 1
        else:
            nodes[id(value)] = prims.scalar(scalars, value.dtype.name if value.dtype.name != "bool" else "int64")
            scalars += 1
    for value in order:
        assert value.op is not None
        node = value.op.lower(*[nodes[id(s)] for s in value.inputs], *value.attrs)
        nodes[id(value)] = node
    return [nodes[id(v)] for v in targets]


def _compile(order: list[Value], leaves: list[Value], targets: list[Value]) -> Executable:
    import os

    if os.environ.get("LUCHINA_REFERENCE"):
        from tests.reference_backend import compile as compile_graph
    else:
        from luchina.compiler.build import compile as compile_graph

    return compile_graph(lower(order, leaves, targets))


def clear() -> None:
    """Forget every compiled program (their kernels stay with the JIT)."""
    _programs.clear()
