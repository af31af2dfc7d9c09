"""A backward pass that was seen before costs nothing to record.

A loss's key stands for the whole structure of its graph. The first ``backward`` of a structure walks it and remembers
which leaves it reaches. The next one only records, for each such leaf, a ``gradient`` Value of the loss; the
derivatives are expanded
when a program with them is compiled for the first time, which for a known structure is never.

What a memory cannot know sends a pass the long way: hooks, a user's own function, writes over Values of the graph
(``Recording.touched``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from luchina.autograd import engine
from luchina.autograd.anomaly import state as anomaly
from luchina.dispatch.exchange import Exchangeable
from luchina.graph import program
from luchina.graph.value import Op, Spec, Value, key_of, mode, record, recording
from luchina.ops.registry import full


class Plan(NamedTuple):
    """What is remembered of a structure: its leaves that want a gradient and the leaves that derivatives read, both by
    their number in the epoch, the attributes of the leaves' gradients, and whether backward lets go of anything."""

    leaves: tuple[int, ...]
    attrs: tuple[tuple, ...]
    read: tuple[int, ...]
    saves: bool


_plans: dict[int, Plan | None] = {}
PLAN_LIMIT = 10_000


def _infer(loss: Value, shape: tuple[int, ...], dtype: Any, position: int) -> Spec:
    return Spec(shape, dtype)


def _lower(*args: Any) -> Any:
    raise AssertionError("a gradient is expanded before it is lowered")


GRADIENT = Op("gradient", _infer, _lower)
"""∂loss/∂leaf, where the leaf is given by its position in the loss's plan."""


def _expand(value: Value) -> Value:
    loss = value.inputs[0]
    if loss.context is None:
        loss.context = _derive(loss)[1]
    return loss.context[value.attrs[2]]


program.expansions[GRADIENT] = _expand


def _derive(loss: Value) -> tuple[list[Value], list[Value]]:
    """The leaves that the loss depends on, in the order of their first use, and its gradients with respect to them."""
    # In the order of their first use, which is part of the structure; when they were made is not: a parameter that sat
    # out a step is older than the others.
    order = engine.reachable([loss])
    for value in order:  # all leaves that a derivative may read are counted: not all are, if a run came in between
        for source in (value, *value.inputs):
            key_of(source)
    numbers = {v: i for i, v in enumerate(recording.leaves)}
    leaves = [v for v in order if v.op is None or v.op.vjp is None]
    leaves.sort(key=lambda v: numbers.get(v, -1))
    counted = len(recording.leaves)
    before, mode.grad = mode.grad, False
    try:
        one = full(loss.shape, 1, loss.dtype)
        gradients = engine.backward([(loss, one)], retain_graph=True, create_graph=False, wanted=leaves, silent=True)
    finally:
        mode.grad = before
    # Numbers that occur in the derivatives' formulas are not leaves of what the user recorded.
    recording.forget(counted)
    return leaves, [g for g in gradients if g is not None]


def _learn(loss: Value) -> Plan | None:
    """Walk the graph once; None if it reaches behind this epoch (through a Value that is computed already), or to a
    leaf
    that is still pending."""
    order = engine.reachable([loss])
    leaves = [v for v in order if v.op is None or v.op.vjp is None]
    if any(v.buffer is None or v.hooks is None or not v.hooks.plain() for v in leaves):
        return None
    if any(v.buffer is not None and v.op is not None and v.op.vjp is not None for v in order):
        return None
    if any(v.device is not loss.device for v in leaves):
        return None
    numbers = {v: i for i, v in enumerate(recording.leaves)}
    read = {source for v in order if v.op is not None and v.op.vjp is not None for source in engine.read_by_vjp(v)}
    epoch = recording.epoch
    found, gradients = _derive(loss)
    if recording.epoch != epoch:
        return None  # something was moved between devices, and so computed: the numbers are of another epoch
    if len(gradients) != len(found):
        return None
    loss.context = gradients
    return Plan(
        tuple(numbers[v] for v in found),
        tuple((v.shape, v.dtype, position) for position, v in enumerate(found)),
        tuple(sorted(numbers[v] for v in read if v in numbers)),
        any(engine.saves(v) for v in order if v.op is not None and v.op.vjp is not None),
    )


def _reached(leaves: list[Value], read: tuple[int, ...], numbers: tuple[int, ...]) -> list[Value] | None:
    """The leaves with these numbers, if nothing was written to those that are read and no hook waits; else None."""
    for number in read:
        leaf = leaves[number]
        if leaf.cell is not None and leaf.cell.version != leaf.version:
            return None
    targets = [leaves[number] for number in numbers]
    return targets if all(leaf.hooks.plain() for leaf in targets) else None


reached = Exchangeable(_reached)  # until ``luchina.dispatch`` has compiled it


def _accumulate(leaves: list[Value], loss: Value, attrs: tuple[tuple, ...]) -> None:
    """Record the gradient of the loss for each leaf, and add it to what the leaf has."""
    for leaf, each in zip(leaves, attrs):
        leaf.hooks.accumulate(record(GRADIENT, loss, attrs=each))


accumulate = Exchangeable(_accumulate)  # until ``luchina.dispatch`` has compiled it


def backward(loss: Value) -> bool:
    """Accumulate the gradients of a scalar loss into its leaves, if its structure allows the short way."""
    if recording.passed:
        mark_passed()
    if (
        anomaly.enabled
        or recording.touched
        or loss.buffer is not None
        or loss.freed
        or loss.op is None
        or loss.hooks is not None
    ):
        return False
    key = key_of(loss)
    if key in _plans:
        plan = _plans[key]
    else:
        if len(_plans) > PLAN_LIMIT:
            _plans.clear()
        plan = _plans[key] = _learn(loss)
    if plan is None or (recording.consumed and plan.saves):
        return False
    targets = reached(recording.leaves, plan.read, plan.leaves)
    if targets is None:
        return False  # the long way finds out why
    if not program.make_room(program.A_GRADIENT * len(targets)):
        return False
    before, mode.grad = mode.grad, False
    try:
        accumulate(targets, loss, plan.attrs)
    finally:
        mode.grad = before
    recording.consumed.append(loss)
    loss.freed = True
    return True


def mark_passed() -> None:
    """Free the graphs of losses that somebody still keeps though their gradients are computed.

    Nothing is pending behind such a loss, so what a derivative would read goes, computed or not: a list of losses does
    not keep the batches alive.
    """
    passed, recording.passed = recording.passed, []
    for reference in passed:
        loss = reference()
        if loss is None:
            continue
        if loss.context.__class__ is list:
            loss.context = None  # the gradients, as they were written out for the compiler
        for value in engine.reachable([loss]):
            if value.op is not None and value.op.vjp is not None:
                engine.release(value, pending=False)


def mark_consumed() -> None:
    """Let the graphs that short passes went over be what long passes leave: freed."""
    losses, recording.consumed = recording.consumed, []
    recording.walked += losses
    for loss in losses:
        loss.freed = False
        for value in engine.reachable([loss]):
            if value.op is not None and value.op.vjp is not None:
                engine.release(value)


program.before_saving.append(mark_consumed)
