"""What a call of a function on tensors recorded, so that the same call can be done again without asking why.

Most calls (a layer, an activation, an operator) read their tensors, check shapes, choose a dtype and record one
operation, or a few. All of that is a function of what the call was given: the keys of its tensors' Values (which
stand for their structure, shapes and dtypes; see ``graph.value.Recording``), its other arguments, and whether
gradients are recorded. A ``Call`` remembers it as a ``Template``: the operations to record, with the numbers of the
arguments in the places of their inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from luchina.dtypes import on_default_change
from luchina.graph.value import PICK, Spec, Value, key_of, mode, recording, sequence
from luchina.ops import checks
from luchina.tensor import Tensor

MEMORY = 4096
"""Templates that one function keeps; more than that, and it starts anew."""
STEPS = 16
"""Operations of a call that is remembered."""
EARLIER = 32
"""Added to the number of an earlier step, where an input is not an argument but what the call itself recorded."""


class Step(NamedTuple):
    """One operation to record."""

    op: Any
    inputs: tuple[int, ...]
    attrs: tuple
    shape: tuple[int, ...]
    dtype: Any
    needs_grad: bool
    key: int
    label: str | None


class Window(NamedTuple):
    """A view of the first argument: how far behind its start the view begins, whether its elements lie in row-major
    order, whether autograd loses sight of it, and which of several views it is."""

    offset: int
    dense: bool
    detached: bool
    part: tuple[str, int] | None


class Result(NamedTuple):
    """A tensor that a call gives: which step's Value it shows, as a new tensor or a view."""

    step: int
    shape: Any
    strides: tuple[int, ...]
    view: Window | None


class Template(NamedTuple):
    """What a call records, and what it gives: one tensor, or a tuple of several. ``strides`` are those that the first
    argument has to have, where they make a difference."""

    steps: tuple[Step, ...]
    results: tuple[Result, ...]
    several: bool
    strides: tuple[int, ...] | None


class Call:
    """A function on tensors, with what its calls recorded.

    Attributes
        python: the function itself.
        laid: its result lies in memory as its operands do, so that only row-major ones are remembered.
        free: a Python number among its arguments is a run-time scalar whatever it is, and no part of the key.
        views: it gives a view of its first argument where that one's strides allow it, else a copy.
        memo: a Template for each thing that it was given; None where there is none to be had.
    """

    __slots__ = ("free", "laid", "memo", "python", "views")

    def __init__(self, python: Callable[..., Any], laid: bool = False, free: bool = False, views: bool = False) -> None:
        self.python = python
        self.laid = laid
        self.free = free
        self.views = views
        self.memo: dict[tuple, Template | None] = {}
        calls.append(self)

    def learn(self, key: tuple, *args: Any) -> Any:
        """The call itself, and a Template of it for the next time. The key ends with the last arguments' names."""
        before, asked = next(sequence), checks.asked.count
        names = key[-1] or ()
        first = len(args) - len(names)
        result = self.python(*args[:first], **dict(zip(names, args[first:])))
        if len(self.memo) >= MEMORY:
            self.memo.clear()
        self.memo[key] = _template(self, result, args, before) if checks.asked.count == asked else None
        return result


calls: list[Call] = []


def forget() -> None:
    """Let go of all Templates: something changed that no key knows."""
    for call in calls:
        call.memo.clear()


on_default_change.append(forget)


def _template(call: Call, result: Any, args: Sequence[Any], before: int) -> Template | None:
    """The Template of a call that gave ``result``; None unless all of it was recorded after number ``before`` on the
    arguments alone, as ordinary operations with one result each."""
    if mode.inference:
        return None
    places: dict[Value, int] = {}
    numbers: list[int] = []
    for i, a in enumerate(args):
        if isinstance(a, Tensor):
            places.setdefault(a._value, i)
        elif call.free and a.__class__ in (int, float):
            numbers.append(i)
    steps: list[Step] = []
    results: list[Result] = []
    several = result.__class__ is tuple
    for tensor in result if several else (result,):
        if any(tensor is a for a in args) or tensor.__class__ is not Tensor:  # the first: ``out=``
            return None
        count = len(steps)
        if not _follow(tensor._value, args, numbers, places, steps, before) or len(steps) == count:
            return None
        shown = _result(tensor, args, places[tensor._value] - EARLIER)
        if shown is None:
            return None
        results.append(shown)
    used = {source for step in steps for source in step.inputs}
    if not used.issuperset(numbers):
        return None  # the call itself looked at the number, as at an alpha of 1
    source = args[0]
    matter = (call.views and isinstance(source, Tensor)) or any(each.view is not None for each in results)
    strides = source._strides if matter else None
    return Template(tuple(steps), tuple(results), several, strides)


def _result(tensor: Tensor, args: Sequence[Any], step: int) -> Result | None:
    """How a tensor that a call gave shows its Value; None where that is out of the ordinary."""
    value = tensor._value
    if tensor._generation != tensor._storage.generation or value.cell is not tensor._counter:
        return None
    if tensor._base is None:
        whole = not tensor.__dict__ and value is tensor._storage.value
        return Result(step, tensor._shape, tensor._strides, None) if whole else None
    source = args[0]
    if tensor.__dict__.keys() - {"_base", "_detached", "_multi_view"} or tensor._storage is not getattr(
        source, "_storage", None
    ):
        return None
    if source._detached or tensor._counter is not source._counter or value.version != tensor._counter.version:
        return None
    start = tensor._offset - source._offset
    view = Window(start, tensor._dense, tensor._detached, tensor._multi_view)
    return Result(step, tensor._shape, tensor._strides, view)


def _follow(
    value: Value | None,
    args: Sequence[Any],
    numbers: list[int],
    places: dict[Value, int],
    steps: list[Step],
    before: int,
) -> bool:
    """Add the steps that lead to a Value, inputs first."""
    if value is None:
        return False
    if value in places:
        return True
    if value.number is not None:
        if len(numbers) != 1 or args[numbers[0]] is not value.number:
            return False
        places[value] = numbers[0]
        return True
    op = value.op
    if (
        op is None
        or op is PICK
        or value.buffer is not None
        or value.sequence <= before
        or value.hooks is not None
        or value.context is not None
        or value.epoch != recording.epoch
        or type(op.infer(*value.inputs, *value.attrs)) is not Spec
    ):
        return False
    for source in value.inputs:
        if not _follow(source, args, numbers, places, steps, before):
            return False
    if len(steps) == STEPS:
        return False
    inputs = tuple([places[source] for source in value.inputs])
    steps.append(Step(op, inputs, value.attrs, value.shape, value.dtype, value.needs_grad, key_of(value), value.label))
    places[value] = EARLIER + len(steps) - 1
    return True
