"""One recorded Value for the same function applied to many groups of tensors: how an optimizer updates its parameters.

The function is traced once for each signature of a group; the trace is what the program compiles. Numbers that change
from
step to step (learning rate, bias correction) are run-time scalars, so they compile nothing.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

from luchina.autograd.modes import no_grad
from luchina.compiler import prims
from luchina.devices import present
from luchina.dtypes import float32
from luchina.graph.program import lower_into, realize, walk
from luchina.graph.update import Update as Pending
from luchina.graph.update import numbers_of, own
from luchina.graph.value import (
    Op,
    Pack,
    Signature,
    Spec,
    Value,
    from_buffer,
    mode,
    pack_signature,
    packed,
    recording,
    scalar,
)
from luchina.runtime.accelerators import Memory
from luchina.runtime.buffers import Buffer, allocate
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
            inputs += [numbers_of(tensor) for tensor in row]
        results = iter(_op_for(update, options, names)(*inputs, attrs=(groups,)))
        for row in targets:
            for target in row:
                value = next(results)
                storage = target._storage
                if storage.value.shape == value.shape and not storage.value.needs_grad and value.dtype is target._dtype:
                    storage.set(value)
                    target._value = value  # in place of what it showed before, whose memory is free with that
                    target._counter.version += 1
                else:
                    target._replace(wrap_value(value))
    finally:
        mode.grad = before


class Members:
    """Tensors that a step writes over: for each row the parameter and its states."""

    __slots__ = ("_signatures", "rows", "sizes", "tensors")

    def __init__(self, rows: Sequence[tuple[Tensor, ...]]) -> None:
        self.rows = rows
        self.tensors = [tensor for row in rows for tensor in row]
        self.sizes = tuple([len(row) for row in rows])
        self._signatures: dict[int, Signature] = {}

    def signature(self, numbers: int) -> Signature:
        """Shapes and dtypes, with the count of numbers that go with them."""
        found = self._signatures.get(numbers)
        if found is None:
            members = tuple([(tuple(t._shape), t._dtype) for t in self.tensors])
            found = self._signatures[numbers] = pack_signature(members, numbers)
        return found


def overwrite(
    update: Update,
    members: Members,
    gradients: Sequence[Tensor],
    scalars: dict[str, float],
    options: Any = (),
    written: Callable[[], None] = lambda: None,
    values: Sequence[Value] | None = None,
) -> None:
    """``row = update(row[0], gradient, *row[1:], **scalars, **options)`` for every row of members, where they lie.

    As ``apply``, but nothing is recorded for the members: their storages change when the program has run. ``written``
    is called then. ``values`` are those of the gradients, where they are known already. What cannot be written over
    (pending, shared, a part of a storage) is replaced.
    """
    buffers = own(members.tensors)
    if buffers is None:
        rows = [(row[0], gradient, *row[1:]) for row, gradient in zip(members.rows, gradients)]
        apply(update, rows, members.rows, scalars, options)
        written()
        return
    if present.accelerators and len({b.device for b in buffers if b.__class__ is Memory} | {*map(type, buffers)}) > 2:
        places = _by_device(members.rows, gradients)
        for number, (own_rows, own_gradients) in enumerate(places, 1):
            done = written if number == len(places) else lambda: None
            overwrite(update, Members(own_rows), own_gradients, scalars, options, done)
        return
    if values is None:
        values = [numbers_of(gradient) for gradient in gradients]
    pack = packed(Pack(buffers, tuple(scalars.values())), members.signature(len(scalars)))
    before, mode.grad = mode.grad, False
    try:
        value = _overwriting(update, options, tuple(scalars))(pack, *values, attrs=(members.sizes,))
    finally:
        mode.grad = before
    recording.updates.append(Pending(value, members.tensors, written))


def _by_device(rows: Sequence[tuple[Tensor, ...]], gradients: Sequence[Tensor]) -> list[tuple[list, list]]:
    """The rows of each device, with their gradients."""
    places: dict[Any, tuple[list, list]] = {}
    for row, gradient in zip(rows, gradients):
        own_rows, own_gradients = places.setdefault(row[0].device, ([], []))
        own_rows.append(row)
        own_gradients.append(gradient)
    return list(places.values())


@functools.cache
def _overwriting(update: Update, options: Any, names: tuple[str, ...]) -> Op:
    def infer(pack: Value, *gradients_and_sizes: Any) -> Spec:
        *gradients, sizes = gradients_and_sizes
        members, at = pack.attrs[0][0], 0
        for gradient, size in zip(gradients, sizes, strict=True):
            own = members[at : at + size]
            signature = (own[0], (gradient.shape, gradient.dtype), *own[1:])
            for (shape, dtype), result in zip(own, _trace(update, options, names, signature)[2], strict=True):
                if result.shape != shape or result.dtype is not dtype:
                    raise RuntimeError(f"cannot replace {dtype}{list(shape)} by {result.dtype}{list(result.shape)}")
            at += size
        return Spec((), float32)  # nobody sees it

    def lower(pack: Any, *gradients_and_sizes: Any) -> tuple:
        from luchina.dtypes import BY_NAME

        members, numbers = pack
        *gradients, sizes = gradients_and_sizes
        results: list[Any] = []
        at = 0
        for gradient, size in zip(gradients, sizes, strict=True):
            row = [members[at], gradient, *members[at + 1 : at + size]]
            signature = tuple((n.shape, BY_NAME[n.dtype]) for n in row)
            results += _inline(_trace(update, options, names, signature), numbers, row)
            at += size
        return tuple(results)

    return Op(getattr(update, "__name__", "update"), infer, lower)


def assign(tensors: Sequence[Tensor], number: float) -> Buffer | None:
    """Make every 0-d tensor that number, which is known on the host; float32 ones share one buffer,
    which is returned if all of them do."""
    memory = allocate(4)
    ctypes.c_float.from_address(memory.ptr).value = number
    shared = True
    for tensor in tensors:
        storage = tensor._storage
        if tensor._dtype is float32 and storage.value.shape == () and not storage.value.needs_grad and not storage.lent:
            storage.value = from_buffer(memory, (), float32)
            storage.generation += 1
            tensor._counter.version += 1
        else:
            shared = False
            with no_grad():
                tensor.fill_(number)
    return memory if shared else None


def run() -> None:
    """Compute everything that was recorded: a training step ends here, as one program."""
    realize(())
