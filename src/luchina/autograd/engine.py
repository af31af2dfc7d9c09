"""Reverse mode: from a loss back to every leaf, along the Value graph.

Values are visited in the opposite order of their recording, each once, when all cotangents that reach it are summed. An
operation's ``vjp`` turns the cotangent of its result into those of its inputs, as further Values: nothing is computed
here, so the gradients are compiled together with the forward pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from luchina.autograd.anomaly import state as anomaly
from luchina.devices import present
from luchina.graph.value import OUT, PICK, Op, Value, mode
from luchina.ops.matmul import MM, T
from luchina.ops.movement import SLICE_BACKWARD, SUM_TO, cat, expand, sum_to
from luchina.ops.pointwise import add, cast
from luchina.ops.registry import full
from luchina.ops.transfer import follow


class Hooks:
    """What must happen when a Value's cotangent is known. The tensor face derives its own from this."""

    def plain(self) -> bool:
        """Whether nothing but accumulation happens here."""
        return True

    def transform(self, gradient: Value) -> Value:
        """The cotangent after the user's hooks."""
        return gradient

    def accumulate(self, gradient: Value) -> None:
        """Add it to the leaf's ``.grad``."""


TWICE = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved "
    "tensors after calling backward."
)


def backward(
    roots: Sequence[tuple[Value, Value]],
    *,
    retain_graph: bool,
    create_graph: bool,
    wanted: Sequence[Value] | None = None,
    accumulate: Sequence[Value] | None = None,
    silent: bool = False,
) -> list[Value | None]:
    """Send the cotangents of ``roots`` back.

    With ``wanted``, return the cotangents of those Values (None where nothing reaches them) and touch no leaf.
    Otherwise
    every leaf accumulates; with ``accumulate``, only those Values do (leaf or not). ``silent`` calls no hooks and
    does not
    look whether what the derivatives read is still there and unchanged.
    """
    order = reachable([value for value, _ in roots])
    targets = wanted if wanted is not None else accumulate
    needed = _leading_to(order, targets) if targets is not None else None
    cotangents: dict[int, Any] = {}
    for value, cotangent in roots:
        _add(cotangents, value, cotangent)
    caught: dict[int, Value] = {}
    asked = {id(value) for value in targets or ()}
    before = mode.grad
    mode.grad = create_graph
    try:
        for value in order:
            gradient = cotangents.pop(id(value), None)
            if gradient is None:
                continue
            if gradient.__class__ is Contributions:
                gradient = total(gradient)
            if value.hooks is not None and not silent and type(gradient) is not list:
                gradient = value.hooks.transform(gradient)
            if id(value) in asked:
                caught[id(value)] = gradient
            if value.op is None or value.op.vjp is None:
                if value.hooks is not None and targets is None:
                    value.hooks.accumulate(gradient)
                continue
            if needed is not None and id(value) not in needed:
                continue
            if not silent:
                check_usable(value)
            _propagate(value, gradient, cotangents, needed)
        if accumulate is not None:
            for value in accumulate:
                if id(value) in caught and value.hooks is not None:
                    value.hooks.accumulate(caught[id(value)])
    finally:
        mode.grad = before
    if not retain_graph:
        for value in order:
            if value.op is not None and value.op.vjp is not None and (needed is None or id(value) in needed):
                release(value)
    return [caught.get(id(value)) for value in wanted or ()]


def _propagate(value: Value, gradient: Any, cotangents: dict[int, Any], needed: set[int] | None) -> None:
    op = value.op
    assert op is not None and op.vjp is not None
    if op is PICK:
        parent = value.inputs[0]
        parts = cotangents.setdefault(id(parent), [])
        index = value.attrs[0]
        parts.extend([None] * (index + 1 - len(parts)))
        parts[index] = gradient if parts[index] is None else add(parts[index], gradient)
        return
    found = op.vjp(gradient, value)
    if anomaly.enabled and anomaly.check_nan:
        from luchina.autograd.anomaly import check

        check(value.label or printed_name(op), found)
    for source, cotangent in zip(value.inputs, found):
        if cotangent is None or not source.needs_grad or (needed is not None and id(source) not in needed):
            continue
        _add(cotangents, source, fit(cotangent, source))


def read_by_vjp(value: Value) -> list[Value]:
    """The Values whose numbers (not only shapes) the derivative reads."""
    op = value.op
    assert op is not None
    found = []
    for source, reads in zip(value.inputs, op.reads):
        if source.needs_grad:
            for number in reads:
                if number == OUT:
                    found.append(value)
                elif number < len(value.inputs) and value.inputs[number].number is None:
                    found.append(value.inputs[number])
    return found


def saves(value: Value) -> bool:
    """Whether backward lets go of something that a second one would need. A number that a product reads counts, as it
    does in PyTorch: ``(x * 2).sum()`` cannot be gone through twice, ``(x + 2).sum()`` can."""
    op = value.op
    assert op is not None
    if op is FREED or op.saves:
        return True
    return any(reads and source.needs_grad for source, reads in zip(value.inputs, op.reads))


def _gone(*args: Any) -> Any:
    raise RuntimeError(TWICE)


FREED = Op("freed", _gone, _gone, _gone)
"""What backward leaves of an operation whose saved numbers it let go of."""


def printed_name(op: Op) -> str:
    """What PyTorch prints as ``grad_fn``: ``MmBackward0``."""
    if op.name == "copy_slices":
        return "CopySlices"
    return op.grad_name if op.grad_name.endswith("Backward") else f"{op.grad_name}Backward0"


def release(value: Value, pending: bool = True) -> None:
    """Backward has passed: what the Value kept for it may go, once the Value itself is computed, or if nobody waits for
    it any more."""
    value.freed = True
    if (value.buffer is not None or not pending) and saves(value):
        if value.op is not None and value.op is not FREED:
            value.label = value.label or printed_name(value.op)
        value.inputs = ()
        value.op = FREED


def check_usable(value: Value) -> None:
    """PyTorch's errors if what the derivative reads was let go of, or changed, in the meantime."""
    if value.op is PICK or (value.context is not None and value.context.__class__ is not list):
        return  # a user's function guards what it saved by itself (a list is a loss's gradients)
    if value.freed and saves(value):
        raise RuntimeError(TWICE)
    check_unmodified(value)


def check_unmodified(value: Value) -> None:
    """PyTorch's error if a Value that the derivative reads was overwritten in the meantime."""
    for read in read_by_vjp(value):
        if read.cell is not None and read.cell.version != read.version:
            where = f", which is output 0 of {_stem(read)}," if read.op and read.needs_grad else ""
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"[torch.{read.cell.title(read.dtype)} {list(read.shape)}]{where} is at version "
                f"{read.cell.version}; expected version {read.version} instead. Hint: enable anomaly detection to find "
                "the operation that failed to compute its gradient, with torch.autograd.set_detect_anomaly(True, "
                "check_nan=False)."
            )


def _stem(value: Value) -> str:
    """What PyTorch calls the function that made a Value in that error: ``Exp``."""
    assert value.op is not None
    return re.sub(r"Backward\d*$", "", value.label or printed_name(value.op))


def fit(cotangent: Value, source: Value) -> Value:
    """The cotangent in its input's shape (summed over what was broadcast) and dtype."""
    if cotangent.shape != source.shape:
        lead = len(cotangent.shape) - len(source.shape)
        if lead >= 0 and all(n in (1, m) for n, m in zip(source.shape, cotangent.shape[lead:])):
            cotangent = sum_to(cotangent, source.shape)
        else:
            cotangent = expand(cotangent, source.shape)
    cotangent = cast(cotangent, source.dtype)
    return follow(cotangent, source) if present.accelerators else cotangent


class Contributions(list):
    """The cotangents that reach one Value, until they are summed."""


def _add(cotangents: dict[int, Any], value: Value, cotangent: Value) -> None:
    have = cotangents.get(id(value))
    if have is None:
        cotangents[id(value)] = cotangent
    elif have.__class__ is Contributions:
        have.append(cotangent)
    else:
        cotangents[id(value)] = Contributions((have, cotangent))


def total(contributions: Contributions) -> Value:
    """Their sum. Gradients of slices that lie beside each other along one axis are joined and not added: n steps of a
    sequence would else cost n² elements. Products are one product over all their rows: a weight that n steps share has
    the same kernels for every n."""
    if len(contributions) > MAX_ADDED:
        contributions = _over_all_rows(contributions)
    slices = [v for v in contributions if v.op is SLICE_BACKWARD and v.buffer is None]
    rest = [v for v in contributions if v.op is not SLICE_BACKWARD or v.buffer is not None]
    if len(slices) > 2:
        joined = _joined(slices)
        if joined is not None:
            slices = [joined]
    result = None
    for value in (*rest, *slices):
        result = value if result is None else add(result, value)
    assert result is not None
    return result


MAX_ADDED = 3  # products that are added rather than joined


def _over_all_rows(contributions: Contributions) -> Contributions:
    """Σ aᵢ·bᵢ is [a₁ a₂ …]·[b₁ b₂ …]ᵀ, and a sum of sums is one sum."""
    products = [v for v in contributions if v.op is MM and v.buffer is None]
    sums = [v for v in contributions if v.op is SUM_TO and v.buffer is None and v.inputs[0].shape[1:] == v.shape]
    joined = {id(v) for v in (*products, *sums)}
    found = Contributions(v for v in contributions if id(v) not in joined)
    if len(products) > MAX_ADDED:
        left = [v.inputs[0] for v in products]
        if all(a.op is T and a.buffer is None for a in left):
            a = T(cat([a.inputs[0] for a in left], 0))
        else:
            a = cat(left, 1)
        products = [MM(a, cat([v.inputs[1] for v in products], 0))]
    if len(sums) > MAX_ADDED:
        sums = [sum_to(cat([v.inputs[0] for v in sums], 0), sums[0].shape)]
    found += products + sums
    return found


def _joined(slices: list[Value]) -> Value | None:
    """Zeros with each slice's gradient in its place, if the slices differ along one axis only and do not overlap."""
    shape = slices[0].shape
    axes = {
        axis
        for value in slices
        for axis, (start, n, m) in enumerate(zip(value.attrs[1], value.inputs[0].shape, shape))
        if start or n != m
    }
    if len(axes) != 1 or any(any(step != 1 for step in value.attrs[2]) for value in slices):
        return None
    (axis,) = axes
    pieces, at = [], 0
    for value in sorted(slices, key=lambda v: v.attrs[1][axis]):
        start = value.attrs[1][axis]
        if start < at:
            return None
        if start > at:
            pieces.append(_gap(shape, axis, start - at, value.dtype))
        pieces.append(value.inputs[0])
        at = start + value.inputs[0].shape[axis]
    if at < shape[axis]:
        pieces.append(_gap(shape, axis, shape[axis] - at, slices[0].dtype))
    return cat(pieces, axis)


def _gap(shape: tuple[int, ...], axis: int, n: int, dtype: Any) -> Value:
    return full((*shape[:axis], n, *shape[axis + 1 :]), 0, dtype)


def reachable(roots: Sequence[Value]) -> list[Value]:
    """Every Value with a gradient that the roots depend on, latest recording first."""
    found: dict[int, Value] = {}
    stack = [root for root in roots if root.needs_grad]
    while stack:
        value = stack.pop()
        if id(value) in found:
            continue
        found[id(value)] = value
        for source in value.inputs:
            if source.needs_grad and id(source) not in found:
                stack.append(source)
    return sorted(found.values(), key=_sequence, reverse=True)


def _sequence(value: Value) -> int:
    return value.sequence


def _leading_to(order: Sequence[Value], targets: Sequence[Value]) -> set[int]:
    """Which of the Values depend on a target (the targets included)."""
    leading = {id(value) for value in targets}
    for value in reversed(order):
        if any(id(source) in leading for source in value.inputs):
            leading.add(id(value))
    return leading
