"""Order: sorting, the largest k, running extremes, and searching in what is sorted.

Values come from indices by a gather, so that gradients flow to the places that the values came from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph.value import Op, Spec, Value
from luchina.ops.checks import STATIC_BOUNDS, bounds, host
from luchina.ops.index import constant, gather
from luchina.ops.movement import clone, reshape, slice_
from luchina.ops.pointwise import cast, dtype_title
from luchina.ops.registry import as_value, axis_of, full, public
from luchina.ops.results import named


def _last(x: Node, axis: int) -> tuple[Node, tuple[int, ...]]:
    axes = list(range(len(x.shape)))
    axes[axis], axes[-1] = axes[-1], axes[axis]
    return p.permute(x, axes), tuple(axes)


def _lower_argsort(x: Node, axis: int, descending: bool) -> Node:
    if not x.shape:
        return p.const(0, "int64")
    turned, axes = _last(x, axis)
    return p.permute(p.argsort(turned, descending), axes)


ARGSORT = Op("argsort", lambda x, axis, descending: Spec(x.shape, dtypes.int64), _lower_argsort)
STATIC_BOUNDS["argsort"] = lambda v: (0, max((v.shape[v.attrs[0]] if v.shape else 1) - 1, 0))


@public()
def argsort(input: Value, dim: int = -1, descending: bool = False, stable: bool = False) -> Value:
    """int64 indices that sort along ``dim``; always stable."""
    return ARGSORT(input, attrs=(axis_of(dim, input.ndim), descending))


@public()
def sort(input: Value, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """(values, indices) sorted along ``dim``; always stable, nan last (first if descending).

    Source: https://pytorch.org/docs/stable/generated/torch.sort.html
    """
    axis = axis_of(dim, input.ndim)
    indices = ARGSORT(input, attrs=(axis, descending))
    if not input.ndim:
        return named("sort", clone(input), indices)
    return named("sort", gather(input, axis, indices), indices)


@public()
def msort(input: Value) -> Value:
    """Sorted along the first dimension."""
    return sort(input, 0)[0]


def _head(x: Value, axis: int, start: int, k: int) -> Value:
    starts, sizes = [0] * x.ndim, list(x.shape)
    starts[axis], sizes[axis] = start, k
    return slice_(x, starts, sizes, (1,) * x.ndim)


@public()
def topk(input: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the ``k`` largest (or smallest) along ``dim``, in order.

    Source: https://pytorch.org/docs/stable/generated/torch.topk.html
    """
    axis = axis_of(dim, input.ndim)
    n = input.shape[axis] if input.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError("selected index k out of range")
    if not input.ndim:
        return named("topk", clone(input), full((), 0, dtypes.int64))
    indices = _head(ARGSORT(input, attrs=(axis, largest)), axis, 0, k)
    return named("topk", gather(input, axis, indices), indices)


def _pick(name: str, input: Value, indices: Value, axis: int, at: int, keepdim: bool) -> Any:
    index = _head(indices, axis, at, 1)
    values = gather(input, axis, index)
    if not keepdim:
        shape = input.shape[:axis] + input.shape[axis + 1 :]
        values, index = reshape(values, shape), reshape(index, shape)
    return named(name, values, index)


@public()
def kthvalue(input: Value, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the k-th smallest element along ``dim``."""
    axis = axis_of(dim, input.ndim)
    if not 1 <= k <= (input.shape[axis] if input.ndim else 1):
        raise RuntimeError("kthvalue(): selected number k out of range for dimension " + str(axis))
    if not input.ndim:
        return named("kthvalue", clone(input), full((), 0, dtypes.int64))
    return _pick("kthvalue", input, ARGSORT(input, attrs=(axis, False)), axis, k - 1, keepdim)


@public()
def median(input: Value, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of everything, or (values, indices) along ``dim``; nan if there is one."""
    from luchina.ops.pointwise import isnan
    from luchina.ops.reduce import any as any_
    from luchina.ops.select import where

    if dim is None:
        flat = reshape(input, (input.size,))
        if not input.size:
            if not input.dtype.is_floating_point:
                raise RuntimeError("median() of an empty integer tensor has no value")
            return full((), float("nan"), input.dtype)
        middle = _pick("median", flat, ARGSORT(flat, attrs=(0, False)), 0, (input.size - 1) // 2, False)[0]
        if not input.dtype.is_floating_point:
            return middle
        return where(any_(isnan(flat)), float("nan"), middle)
    axis = axis_of(dim, input.ndim)
    if not input.ndim:
        return named("median", clone(input), full((), 0, dtypes.int64))
    n = input.shape[axis]
    if n == 0:
        raise IndexError(f"median(): Expected reduction dim {axis} to have non-zero size.")
    order = ARGSORT(input, attrs=(axis, False))
    if input.dtype.is_floating_point and bool(np.isnan(host(cast(input, dtypes.float64))).any()):
        from luchina.ops.reduce import argmax

        first = argmax(cast(isnan(input), dtypes.int64), axis, True)
        lower = _head(order, axis, (n - 1) // 2, 1)
        index = where(any_(isnan(input), axis, True), first, lower)
        return _pick("median", input, index, axis, 0, keepdim)
    return _pick("median", input, order, axis, (n - 1) // 2, keepdim)


@public()
def mode(input: Value, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the most frequent element along ``dim``, the smallest of equals; found on the host."""
    axis = axis_of(dim, input.ndim)
    if not input.ndim:
        return named("mode", clone(input), full((), 0, dtypes.int64))
    array = np.moveaxis(host(cast(input, dtypes.float64) if input.dtype.is_floating_point else input), axis, -1)
    found = np.empty(array.shape[:-1], np.int64)
    for place in np.ndindex(found.shape):
        values, counts = np.unique(array[place], return_counts=True)
        found[place] = np.flatnonzero(array[place] == values[counts.argmax()])[-1]
    index = constant(np.expand_dims(found, axis), dtypes.int64)
    return _pick("mode", input, index, axis, 0, keepdim)


# ---- running extremes


def _running(name: str, input: Value, dim: int, op: str) -> Any:
    """The running extreme and where it stands: the index of the last element that equals it so far."""
    axis = axis_of(dim, input.ndim)
    if not input.ndim:
        return named(name, clone(input), full((), 0, dtypes.int64))
    indices = RUNNING_INDEX(input, attrs=(axis, op))
    return named(name, gather(input, axis, indices), indices)


def _lower_running_index(x: Node, axis: int, op: str) -> Node:
    turned, axes = _last(x, axis)
    if x.dtype == "bool":
        turned = p.cast(turned, "uint8")
    best = p.scan(op, turned)
    hit = p.binary("eq", turned, best)
    if x.dtype in p.FLOATS:
        hit = p.binary("or", hit, p.unary("isnan", turned))
    place = p.expand(p.iota(turned.shape[-1]), turned.shape)
    return p.permute(p.scan("max", p.where(hit, place, p.const(0, "int64"))), axes)


RUNNING_INDEX = Op("running_index", lambda x, axis, op: Spec(x.shape, dtypes.int64), _lower_running_index)
STATIC_BOUNDS["running_index"] = lambda v: (0, max(v.shape[v.attrs[0]] - 1, 0))


@public()
def cummax(input: Value, dim: int) -> Any:
    """(values, indices) of the running maximum along ``dim``."""
    return _running("cummax", input, dim, "max")


@public()
def cummin(input: Value, dim: int) -> Any:
    """(values, indices) of the running minimum along ``dim``."""
    return _running("cummin", input, dim, "min")


# ---- distinct elements and searching, whose shapes or orders depend on the data: on the host


@public()
def unique(
    input: Value, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The distinct elements in order; with their inverse indices and counts on request."""
    if input.dtype is dtypes.bfloat16:
        raise RuntimeError("unique of bfloat16 is not there yet: convert to float32")
    array = host(input)
    values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=dim, equal_nan=False)
    results = [constant(values, input.dtype)]
    if return_inverse:
        shape = input.shape if dim is None else (input.shape[dim],)
        results.append(constant(inverse.reshape(shape), dtypes.int64))
    if return_counts:
        results.append(constant(counts, dtypes.int64))
    return results[0] if len(results) == 1 else tuple(results)


@public(method=False)
def searchsorted(
    sorted_sequence: Value, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None
) -> Value:
    """Where each number would go into a sorted sequence (rows, if it has more dimensions)."""
    values = as_value(input)
    right = right or side == "right"
    found = _search(sorted_sequence, values, right)
    return cast(found, dtypes.int32) if out_int32 else found


def _search(sequence: Value, values: Value, right: bool) -> Value:
    """Counts how many elements of the sequence lie before each value."""
    from luchina.ops.pointwise import le, logical_or, lt, isnan
    from luchina.ops.reduce import sum as sum_

    if sequence.ndim != 1 and sequence.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor "
            f"and input value tensor must match, but we got boundaries tensor {list(sequence.shape)} and input value tensor "
            f"{list(values.shape)}"
        )
    n = sequence.shape[-1]
    row = reshape(sequence, (*sequence.shape[:-1], 1, n)) if sequence.ndim > 1 else sequence
    column = reshape(values, (*values.shape, 1))
    before = le(row, column) if right else lt(row, column)
    if values.dtype.is_floating_point:
        before = logical_or(before, isnan(column))
    return sum_(before, -1)


@public(method=False)
def bucketize(input: Any, boundaries: Value, *, out_int32: bool = False, right: bool = False) -> Value:
    """The bucket of each number among sorted boundaries."""
    found = _search(boundaries, as_value(input), right)
    return cast(found, dtypes.int32) if out_int32 else found


@public()
def bincount(input: Value, weights: Value | None = None, minlength: int = 0) -> Value:
    """How often each non-negative integer occurs (or the sum of its weights)."""
    if input.ndim != 1 or input.dtype.is_floating_point:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    low, high = bounds(input) if input.size else (0, -1)
    if low < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    n = max(high + 1, minlength)
    from luchina.ops.index import scatter_add

    source = full(input.shape, 1, dtypes.int64) if weights is None else weights
    if weights is not None and not (weights.dtype is dtypes.float32):
        source = cast(weights, dtypes.float64)
    return scatter_add(full((n,), 0, source.dtype), 0, cast(input, dtypes.int64), source)


@public()
def histc(input: Value, bins: int = 100, min: float = 0, max: float = 0) -> Value:
    """Counts of ``bins`` equal intervals between min and max (of the data, if both are 0)."""
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"\"histogram_cpu\" not implemented for '{dtype_title(input.dtype)}'")
    array = host(cast(input, dtypes.float64))
    if min == max == 0 and array.size:
        min, max = float(array.min()), float(array.max())
    if min == max:
        min, max = min - 1, max + 1
    return constant(np.histogram(array, bins, (min, max))[0], input.dtype)
