"""Small compositions of other operations that scripts use by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from luchina import dtypes
from luchina.graph.value import Value
from luchina.ops.checks import host
from luchina.ops.index import constant, index_select
from luchina.ops.matmul import matmul
from luchina.ops.movement import expand, reshape, transpose
from luchina.ops.pointwise import abs as abs_
from luchina.ops.pointwise import add, eq, exp, isnan, log, log1p, logical_and, mul, neg, sub
from luchina.ops.reduce import any as any_
from luchina.ops.reduce import sum as sum_
from luchina.ops.registry import as_value, axis_of, broadcast, public
from luchina.ops.select import maximum, where


@public()
def logaddexp(input: Value, other: Value) -> Value:
    """log(eᵃ + eᵇ), without overflow."""
    top = maximum(input, other)
    far = neg(abs_(sub(input, other)))
    return where(isnan(far), top, add(top, log1p(exp(far))))  # equal infinities have no distance


@public()
def xlogy(input: Any, other: Any) -> Value:
    """x · log y, and 0 where x is 0 (unless y is nan)."""
    x, y = as_value(input), as_value(other)
    product = mul(x, log(y))
    return where(logical_and(eq(x, 0), eq(isnan(product), isnan(product))), where(isnan(y), math.nan, 0.0), product)


@public()
def inner(input: Value, other: Value) -> Value:
    """Σ over the last dimension of both."""
    if input.ndim == 0 or other.ndim == 0:
        return mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)} and "
            f"{list(other.shape)}"
        )
    if other.ndim == 1:
        return matmul(input, other)
    flat = reshape(other, (math.prod(other.shape[:-1]), other.shape[-1]))
    return reshape(matmul(input, transpose(flat, 0, 1)), (*input.shape[:-1], *other.shape[:-1]))


@public()
def repeat_interleave(input: Value, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Value:
    """Each element along ``dim`` (of the flattened input, if None) repeated: a number of times, or its own number.

    Source: https://pytorch.org/docs/stable/generated/torch.repeat_interleave.html
    """
    if dim is None:
        input, dim = reshape(input, (input.size,)), 0
    axis = axis_of(dim, input.ndim)
    n = input.shape[axis] if input.ndim else 1
    if isinstance(repeats, Value):
        counts = host(repeats)
        if repeats.dtype not in (dtypes.int64, dtypes.int32):
            raise RuntimeError("repeats has to be Long or Int tensor")
    else:
        counts = np.array(repeats)
    if (counts < 0).any():
        raise RuntimeError("repeats can not be negative")
    if counts.ndim == 1 and counts.size not in (1, n):
        raise RuntimeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{counts.size} and input.size({axis}) = {n}"
        )
    places = np.repeat(np.arange(n), counts if counts.size != 1 else int(counts.reshape(-1)[0]))
    return index_select(input, axis, constant(places.astype(np.int64), dtypes.int64, input.device))


@public(method=False)
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Value:
    """Whether each element occurs among the test elements."""
    x, among = as_value(elements), as_value(test_elements)
    flat = reshape(among, (among.size,))
    found = any_(eq(reshape(x, (*x.shape, 1)), flat), x.ndim) if among.size else eq(x, math.nan)
    return eq(found, False) if invert else found


@public(method=False)
def broadcast_tensors(*tensors: Any) -> tuple[Value, ...]:
    """All in their common shape."""
    values: Sequence[Value] = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape = broadcast(*values)
    return tuple(expand(v, shape) for v in values)


def _at_least(rank: int, value: Value) -> Value:
    if value.ndim >= rank:
        return value
    if rank == 3 and value.ndim == 2:
        return reshape(value, (*value.shape, 1))
    if rank == 3 and value.ndim == 1:
        return reshape(value, (1, value.size, 1))
    return reshape(value, (1,) * (rank - value.ndim) + value.shape)


def _all_at_least(rank: int, tensors: tuple) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Value):
        return _at_least(rank, tensors[0])
    given = tensors[0] if len(tensors) == 1 else tensors
    return tuple(_at_least(rank, v) for v in given)


@public(method=False)
def atleast_1d(*tensors: Any) -> Any:
    """With at least one dimension."""
    return _all_at_least(1, tensors)


@public(method=False)
def atleast_2d(*tensors: Any) -> Any:
    """With at least two dimensions."""
    return _all_at_least(2, tensors)


@public(method=False)
def atleast_3d(*tensors: Any) -> Any:
    """With at least three dimensions."""
    return _all_at_least(3, tensors)


@public(function=False)
def sum_to_size(input: Value, *size: Any) -> Value:
    """Summed over the dimensions that broadcasting ``size`` to the input's shape would repeat."""
    shape = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    lead = input.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, input.shape[lead:])):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(input.shape)}}}.")
    axes = [i for i in range(input.ndim) if i < lead or (shape[i - lead] == 1 and input.shape[i] != 1)]
    return reshape(sum_(input, axes), tuple(shape)) if axes else input
