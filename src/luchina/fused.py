"""One recorded Value for the same function applied to many groups of tensors: how an optimizer updates its parameters.

The function is traced once for each signature of a group; the trace is what the program compiles. Numbers that change
from
step to step (learning rate, bias correction) are run-time scalars, so they compile nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from luchina.autograd.modes import no_grad
from luchina.compiler import prims
from luchina.devices import present
from luchina.dtypes import float32
from luchina.graph.program import lower_into, realize, walk
from luchina.graph.value import Op, Spec, Value, from_buffer, mode, recording, scalar
from luchina.runtime.buffers import allocate
from luchina.tensor import Tensor, weak_tensor, wrap_value

Update = Callable[..., Any]
_traces: dict[Any, tuple[list[Value], list[Value], list[Value]]] = {}
_ops: dict[Any, Op] = {}


def _trace(
    update: Update, options: Any, names: tuple[str, ...], signature: tuple
) -> tuple[list[Value], list[Value], list[Value]]:
    """(tensor placeholders, scalar placeholders, results) of one group."""
    key = (update, options, names, signature)
    found = _traces.get(key)
    if found is None:
        before, mode.grad = mode.grad, False
        try:
            with recording.aside():
                places = [_PLACE(attrs=(i, shape, dtype)) for i, (shape, dtype) in enumerate(signature)]
                numbers = [scalar(1.0) for _ in names]
                tensors = [wrap_value(place) for place in places]
                results = update(*tensors, **dict(zip(names, map(weak_tensor, numbers))), **dict(options))
                results = results if isinstance(results, tuple) else (results,)
                found = places, numbers, [r._read() for r in results]
        finally:
            mode.grad = before
        _traces[key] = found
    return found


def _no_rule(*args: Any) -> Any:
    raise AssertionError("a placeholder stands for an input and is never computed")


_PLACE = Op("placeholder", lambda i, shape, dtype: Spec(shape, dtype), _no_rule)


def _op_for(update: Update, options: Any, names: tuple[str, ...]) -> Op:
    key = (update, options, names)
    op = _ops.get(key)
    if op is None:

        def infer(*values_and_groups: Any) -> list[Spec]:
            *values, groups = values_and_groups
            specs, at = [], len(names)
            for size in groups:
                signature = tuple((v.shape, v.dtype) for v in values[at : at + size])
                specs += [Spec(r.shape, r.dtype) for r in _trace(update, options, names, signature)[2]]
                at += size
            return specs

        def lower(*nodes_and_groups: Any) -> tuple:
            from luchina.dtypes import BY_NAME

            *nodes, groups = nodes_and_groups
            results: list[Any] = []
            at = len(names)
            for size in groups:
                group = nodes[at : at + size]
                signature = tuple((n.shape, BY_NAME[n.dtype]) for n in group)
                results += _inline(_trace(update, options, names, signature), nodes[: len(names)], group)
                at += size
            return tuple(results)

        op = Op(getattr(update, "__name__", "update"), infer, lower)
        _ops[key] = op
    return op


def _inline(trace: tuple, numbers: Sequence[Any], group: Sequence[Any]) -> list[Any]:
    """The trace's primitives with the group's Nodes in the placeholders' places."""
    places, scalars, results = trace
    nodes: dict[Value, Any] = {**dict(zip(places, group)), **dict(zip(scalars, numbers))}
    order, leaves = walk(results)
    for leaf in leaves:
        if leaf not in nodes:
            if leaf.number is None:
                raise RuntimeError("a fused update may read only the tensors that it is given")
            nodes[leaf] = prims.const(leaf.number, leaf.dtype.name if leaf.dtype.name != "bool" else "int64")
    lower_into(nodes, order)
    return [nodes[r] for r in results]


def apply(
    update: Update,
    rows: Sequence[tuple[Tensor, ...]],
    targets: Sequence[tuple[Tensor, ...]],
    scalars: dict[str, float],
    options: Any = (),
) -> None:
    """``targets[i] = update(*rows[i], **scalars, **options)`` for every row of tensors, as one Value.

    ``update`` is a pure function of tensors; ``scalars`` are numbers that may differ each call, ``options`` a tuple of
    (name, value) pairs which select the code. Autograd does not see it.
    """
    if not rows:
        return
    if present.accelerators and len({row[0].device for row in rows}) > 1:
        for where in {row[0].device: None for row in rows}:
            own = [i for i, row in enumerate(rows) if row[0].device is where]
            apply(update, [rows[i] for i in own], [targets[i] for i in own], scalars, options)
        return
    names = tuple(scalars)
    groups = tuple([len(row) for row in rows])
    before, mode.grad = mode.grad, False
    try:
        inputs = [scalar(float(x)) for x in scalars.values()]
        for row in rows:
            inputs += [_numbers_of(tensor) for tensor in row]
        results = iter(_op_for(update, options, names)(*inputs, attrs=(groups,)))
        for row in targets:
            for target in row:
                value = next(results)
                storage = target._storage
                if storage.value.shape == value.shape and not storage.value.needs_grad and value.dtype is target._dtype:
                    storage.set(value)
                    target._counter.version += 1
                else:
                    target._replace(wrap_value(value))
    finally:
        mode.grad = before


def _numbers_of(tensor: Tensor) -> Value:
    """A tensor's Value without its role as a leaf."""
    value = tensor._storage.value
    if value.shape == tensor._shape and not value.needs_grad and tensor._is_whole():
        return value
    return tensor._read()


def assign(tensors: Sequence[Tensor], number: float) -> None:
    """Make every 0-d tensor that number, which is known on the host; float32 ones share one buffer."""
    memory = allocate(4)
    ctypes.c_float.from_address(memory.ptr).value = number
    for tensor in tensors:
        storage = tensor._storage
        if tensor._dtype is float32 and storage.value.shape == () and not storage.value.needs_grad and not storage.lent:
            storage.value = from_buffer(memory, (), float32)
            storage.generation += 1
            tensor._counter.version += 1
        else:
            with no_grad():
                tensor.fill_(number)


def run() -> None:
    """Compute everything that was recorded: a training step ends here, as one program."""
    realize(())
