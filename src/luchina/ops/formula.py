"""Formulas over primitives in Python's own operators, so that a lowering reads like its mathematics.

``@formula`` turns a function of ``Formula``s into a lowering: 16-bit floats are widened to float32 on the way in and
the result is rounded once on the way out, to the dtype of the first operand.

>>> lowered = formula(lambda x: x * sigmoid(x))
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from luchina.compiler import prims as p
from luchina.compiler.prims import Node

HALF = ("float16", "bfloat16")


class Formula:
    """A Node with arithmetic. Numbers become constants of its dtype."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def dtype(self) -> str:
        return self.node.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.node.shape

    def _with(self, op: str, other: Any, swapped: bool = False) -> Formula:
        right = other.node if isinstance(other, Formula) else p.const(other, self.node.dtype)
        return Formula(p.binary(op, right, self.node) if swapped else p.binary(op, self.node, right))

    def __add__(self, other: Any) -> Formula:
        return self._with("add", other)

    def __radd__(self, other: Any) -> Formula:
        return self._with("add", other)

    def __sub__(self, other: Any) -> Formula:
        return self._with("sub", other)

    def __rsub__(self, other: Any) -> Formula:
        return self._with("sub", other, swapped=True)

    def __mul__(self, other: Any) -> Formula:
        return self._with("mul", other)

    def __rmul__(self, other: Any) -> Formula:
        return self._with("mul", other)

    def __truediv__(self, other: Any) -> Formula:
        return self._with("div", other)

    def __rtruediv__(self, other: Any) -> Formula:
        return self._with("div", other, swapped=True)

    def __neg__(self) -> Formula:
        return Formula(p.unary("neg", self.node))

    def __lt__(self, other: Any) -> Formula:
        return self._with("lt", other)

    def __le__(self, other: Any) -> Formula:
        return self._with("le", other)

    def __gt__(self, other: Any) -> Formula:
        return self._with("gt", other)

    def __ge__(self, other: Any) -> Formula:
        return self._with("ge", other)

    def equals(self, other: Any) -> Formula:
        return self._with("eq", other)

    def __and__(self, other: Any) -> Formula:
        return self._with("and", other)

    def __or__(self, other: Any) -> Formula:
        return self._with("or", other)

    def __invert__(self) -> Formula:
        return Formula(p.unary("invert", self.node))

    def max(self, other: Any) -> Formula:
        return self._with("maximum", other)

    def min(self, other: Any) -> Formula:
        return self._with("minimum", other)

    def to(self, dtype: str) -> Formula:
        return Formula(p.cast(self.node, dtype))

    def reshape(self, shape: Sequence[int]) -> Formula:
        return Formula(p.reshape(self.node, tuple(shape)))

    def sum(self, axes: Sequence[int]) -> Formula:
        """The sum over ``axes``, which stay as extents of 1."""
        return self._reduce("sum", axes)

    def top(self, axes: Sequence[int]) -> Formula:
        """The maximum over ``axes``, which stay as extents of 1."""
        return self._reduce("max", axes)

    def mean(self, axes: Sequence[int]) -> Formula:
        count = 1
        for axis in axes:
            count *= self.shape[axis]
        return self.sum(axes) / float(count)

    def _reduce(self, op: str, axes: Sequence[int]) -> Formula:
        kept = [1 if a in axes else n for a, n in enumerate(self.shape)]
        return Formula(p.reshape(p.reduce(op, self.node, tuple(axes)), kept))


def _function(op: str) -> Callable[[Formula], Formula]:
    return lambda x: Formula(p.unary(op, x.node))


exp, expm1, log, log1p, sqrt, rsqrt, tanh, sigmoid, erf, normal_cdf, absolute, sign, isnan = map(
    _function,
    ["exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "normal_cdf", "abs", "sign", "isnan"],
)


def where(condition: Formula, a: Any, b: Any) -> Formula:
    """``a`` where the condition holds, else ``b``; at least one of them is a Formula."""
    d = a.dtype if isinstance(a, Formula) else b.dtype
    left, right = (x.node if isinstance(x, Formula) else p.const(x, d) for x in (a, b))
    return Formula(p.where(condition.node, left, right))


def iota(shape: Sequence[int], axis: int, dtype: str = "int64") -> Formula:
    """Position along ``axis``, in an array that broadcasts against ``shape``."""
    n = shape[axis]
    line = p.iota(n) if dtype == "int64" else p.cast(p.iota(n), dtype)
    return Formula(p.reshape(line, [n if a == axis else 1 for a in range(len(shape))]))


def wide(x: Node) -> Node:
    """The dtype that arithmetic runs in: float32 for 16-bit floats."""
    return p.cast(x, "float32") if x.dtype in HALF else x


def formula(body: Callable[..., Formula]) -> Callable[..., Node]:
    """A lowering from a function of Formulas (and attrs)."""

    @functools.wraps(body)
    def lower(*args: Any) -> Node:
        d = args[0].dtype
        result = body(*[Formula(wide(a)) if isinstance(a, Node) else a for a in args])
        return p.cast(result.node, d)

    return lower
