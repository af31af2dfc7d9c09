"""Values made from numbers: fills, ranges, the identity."""

from __future__ import annotations

from typing import Any

from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.devices import device
from luchina.dtypes import dtype
from luchina.graph.value import Op, Spec, Value, scalar
from luchina.ops.checks import STATIC_BOUNDS
from luchina.ops.movement import expand
from luchina.ops.pointwise import cast
from luchina.ops.registry import full, public


def filled(shape: tuple[int, ...], number: Any, d: dtype) -> Value:
    """A shape filled with a number that may differ each time without another compilation."""
    if number in (0, 1) and not isinstance(number, bool):
        return full(shape, number, d)
    return expand(cast(scalar(number), d), shape)


FILLED = Op(
    "filled",
    lambda number, shape, d, where: Spec(shape, d),
    lambda number, shape, d, where: p.expand(p.cast(number, d.name), shape),
)
"""A number in every element, on a device."""


def _on(where: device | None, *attrs: Any) -> tuple[Any, ...]:
    """The attributes of an operation without tensors: its device is the last, unless it goes with any."""
    return attrs if where is None else (*attrs, where)


def _inner(d: dtype) -> str:
    return "float64" if d.is_floating_point else "int64"


def _lower_arange(start: Node, step: Node, n: int, d: dtype, where: device | None = None) -> Node:
    inner = _inner(d)
    along = p.cast(p.iota(n), inner)
    return p.cast(p.binary("add", p.cast(start, inner), p.binary("mul", along, p.cast(step, inner))), d.name)


ARANGE = Op("arange", lambda start, step, n, d, *where: Spec((n,), d), _lower_arange)


COUNTING = Op(
    "arange", lambda n, d, *where: Spec((n,), d), lambda n, d, where=None: p.cast(p.cast(p.iota(n), _inner(d)), d.name)
)


def _arange_bounds(value: Value) -> tuple[int, int] | None:
    if value.op is COUNTING:
        return 0, value.attrs[0] - 1
    start, step = (v.number for v in value.inputs)
    if start is None or step is None:
        return None
    last = start + (value.attrs[0] - 1) * step
    return int(min(start, last)), int(max(start, last))


STATIC_BOUNDS["arange"] = _arange_bounds


def arange(n: int, start: float, step: float, d: dtype, where: device | None = None) -> Value:
    """start + step · [0, 1, …, n−1]; both are run-time numbers, unless there is nothing to add and multiply."""
    if start == 0 and step == 1 and start.__class__ is int and step.__class__ is int:
        return COUNTING(attrs=_on(where, n, d))
    return ARANGE(scalar(start), scalar(step), attrs=_on(where, n, d))


def _lower_linspace(start: Node, end: Node, n: int, d: dtype, where: device | None = None) -> Node:
    """From both ends, so that the last number is the end exactly and the middle is symmetric."""
    inner = "float64" if d.name == "float64" or not d.is_floating_point else "float32"
    start, end = p.cast(start, inner), p.cast(end, inner)
    if n == 1:
        return p.cast(p.reshape(start, (1,)), d.name)
    step = p.binary("div", p.binary("sub", end, start), p.const(n - 1, inner))
    i = p.iota(n)
    forward = p.binary("add", start, p.binary("mul", step, p.cast(i, inner)))
    left = p.cast(p.binary("sub", p.const(n - 1, "int64"), i), inner)
    backward = p.binary("sub", end, p.binary("mul", step, left))
    return p.cast(p.where(p.binary("lt", i, p.const(n // 2, "int64")), forward, backward), d.name)


LINSPACE = Op("linspace", lambda start, end, n, d, *where: Spec((n,), d), _lower_linspace)


def linspace(start: float, end: float, n: int, d: dtype, where: device | None = None) -> Value:
    """``n`` evenly spaced numbers, both ends included."""
    return LINSPACE(scalar(start), scalar(end), attrs=_on(where, n, d))


def _lower_eye(n: int, m: int, d: dtype, where: device | None = None) -> Node:
    return p.cast(p.binary("eq", p.reshape(p.iota(n), (n, 1)), p.iota(m)), d.name)


EYE = Op("eye", lambda n, m, d, *where: Spec((n, m), d), _lower_eye)


def eye(n: int, m: int, d: dtype, where: device | None = None) -> Value:
    """The (n, m) matrix with ones on its diagonal."""
    return EYE(attrs=_on(where, n, m, d))


@public(function=False, inplace=True, method=False)
def fill(input: Value, value: Any) -> Value:
    """Every element becomes ``value``."""
    if isinstance(value, Value):
        if value.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions."
            )
        return expand(cast(value, input.dtype), input.shape)
    return filled(input.shape, value, input.dtype)


@public(function=False, inplace=True, method=False)
def zero(input: Value) -> Value:
    """Every element becomes 0."""
    return full(input.shape, 0, input.dtype, input.device)
