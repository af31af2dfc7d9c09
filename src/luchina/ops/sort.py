"""Order: sorting, the largest k, running extremes, and searching in what is sorted.

Values come from indices by a gather, so that gradients flow to the places that the values came from.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph.value import OUT, Op, Spec, Value, result_dtype
from luchina.ops.checks import STATIC_BOUNDS, extremes, host
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
    if input.dtype is dtypes.bool_:
        raise RuntimeError("topk does not support bool dtypes on CPU")
    if not 0 <= k <= n:
        raise RuntimeError("selected index k out of range")
    if not input.ndim:
        return named("topk", clone(input), full((), 0, dtypes.int64, input.device))
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
        return named("kthvalue", clone(input), full((), 0, dtypes.int64, input.device))
    return _pick("kthvalue", input, ARGSORT(input, attrs=(axis, False)), axis, k - 1, keepdim)


def _lower_median(flat: Node) -> Node:
    order = p.argsort(flat)
    middle = p.slice(order, ((flat.size - 1) // 2,), (1,), (1,))
    value = p.reshape(p.take(p.reshape(flat, (flat.size, 1)), middle), ())
    if flat.dtype not in p.FLOATS:
        return value
    spoilt = p.reduce("max", p.unary("isnan", flat), (0,))
    return p.where(spoilt, p.const(float("nan"), flat.dtype), value)


def _median_vjp(g: Value, v: Value) -> tuple:
    """All elements that equal the median share the gradient."""
    from luchina.ops.pointwise import div, eq, isnan, logical_and, logical_or, mul
    from luchina.ops.reduce import sum as sum_

    (x,) = v.inputs
    alike = cast(logical_or(eq(x, v), logical_and(isnan(x), isnan(v))), g.dtype)
    return (mul(alike, div(g, sum_(alike))),)


MEDIAN = Op("median", lambda x: Spec((), x.dtype), _lower_median, _median_vjp, ((0, OUT),))


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
                return full((), dtypes.iinfo(input.dtype).min, input.dtype, input.device)
            return full((), float("nan"), input.dtype, input.device)
        return MEDIAN(flat)
    axis = axis_of(dim, input.ndim)
    if not input.ndim:
        return named("median", clone(input), full((), 0, dtypes.int64, input.device))
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
        return named("mode", clone(input), full((), 0, dtypes.int64, input.device))
    if not input.shape[axis]:
        raise IndexError(f"mode(): Expected reduction dim {axis} to have non-zero size.")
    array = np.moveaxis(host(cast(input, dtypes.float64) if input.dtype.is_floating_point else input), axis, -1)
    found = np.empty(array.shape[:-1], np.int64)
    for place in np.ndindex(found.shape):
        values, counts = np.unique(array[place], return_counts=True)
        found[place] = np.flatnonzero(array[place] == values[counts.argmax()])[-1]
    index = constant(np.expand_dims(found, axis), dtypes.int64, input.device)
    return _pick("mode", input, index, axis, 0, keepdim)


# ---- running extremes


def _running(name: str, input: Value, dim: int, op: str) -> Any:
    """The running extreme and where it stands: the index of the last element that equals it so far."""
    axis = axis_of(dim, input.ndim)
    if not input.ndim:
        return named(name, clone(input), full((), 0, dtypes.int64, input.device))
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
    results = [constant(values, input.dtype, input.device)]
    if return_inverse:
        shape = input.shape if dim is None else (input.shape[dim],)
        results.append(constant(inverse.reshape(shape), dtypes.int64, input.device))
    if return_counts:
        results.append(constant(counts, dtypes.int64, input.device))
    return results[0] if len(results) == 1 else tuple(results)


@public(method=False)
def searchsorted(
    sorted_sequence: Value, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None
) -> Value:
    """Where each number would go into a sorted sequence (rows, if it has more dimensions)."""
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    values = as_value(input)
    if sorted_sequence.ndim != 1 and sorted_sequence.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(sorted_sequence.shape)} and "
            f"input value tensor {list(values.shape)}"
        )
    right = right or side == "right"
    found = _search(sorted_sequence, values, right)
    return cast(found, dtypes.int32) if out_int32 else found


def _lower_search(sequence: Node, values: Node, right: bool, d: dtypes.dtype) -> Node:
    """Binary search, all values at once: the answer grows by falling powers of two as long as what it skips lies before
    the value. A nan lies behind everything."""
    n = sequence.shape[-1]
    table = p.reshape(sequence, (sequence.size, 1))
    number = p.const(0, "int64", (values.size,))
    if len(sequence.shape) > 1:  # each row of values in its own row of the table
        per_row = values.shape[-1]
        row = p.binary("idiv", p.iota(values.size), p.const(max(per_row, 1), "int64"))
        start = p.binary("mul", row, p.const(n, "int64"))
    else:
        start = number
    flat = p.cast(p.reshape(values, (values.size,)), d.name)
    step = 1 << max(n.bit_length() - 1, 0)
    while step and n:
        reach = p.binary("add", number, p.const(step, "int64"))
        inside = p.binary("le", reach, p.const(n, "int64"))
        at = p.binary("minimum", p.binary("sub", reach, p.const(1, "int64")), p.const(n - 1, "int64"))
        probe = p.take(table, p.binary("add", start, at))
        probe = p.cast(p.reshape(probe, (values.size,)), d.name)
        stop = p.binary("gt" if right else "ge", probe, flat)
        number = p.where(p.binary("and", inside, p.unary("invert", stop)), reach, number)
        step >>= 1
    return p.reshape(number, values.shape)


SEARCH = Op("searchsorted", lambda sequence, values, right, d: Spec(values.shape, dtypes.int64), _lower_search)


def _search(sequence: Value, values: Value, right: bool) -> Value:
    return SEARCH(sequence, values, attrs=(right, result_dtype(sequence, values)))


@public(method=False)
def bucketize(input: Any, boundaries: Value, *, out_int32: bool = False, right: bool = False) -> Value:
    """The bucket of each number among sorted boundaries."""
    if boundaries.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    found = _search(boundaries, as_value(input), right)
    return cast(found, dtypes.int32) if out_int32 else found


@public()
def bincount(input: Value, weights: Value | None = None, minlength: int = 0) -> Value:
    """How often each non-negative integer occurs (or the sum of its weights)."""
    if input.dtype.is_floating_point:
        raise NotImplementedError(f"\"bincount_cpu\" not implemented for '{dtype_title(input.dtype)}'")
    if input.ndim != 1:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    low, high = extremes(input) if input.size else (0, -1)
    if low < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    n = max(high + 1, minlength)
    from luchina.ops.index import scatter_add

    source = full(input.shape, 1, dtypes.int64) if weights is None else weights
    if weights is not None and weights.dtype is not dtypes.float32:
        source = cast(weights, dtypes.float64)
    return scatter_add(full((n,), 0, source.dtype, input.device), 0, cast(input, dtypes.int64), source)


@public()
def histc(input: Value, bins: int = 100, min: float = 0, max: float = 0) -> Value:
    """Counts of ``bins`` equal intervals between min and max (of the data, if both are 0)."""
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"\"histogram_cpu\" not implemented for '{dtype_title(input.dtype)}'")
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    array = host(cast(input, dtypes.float64))
    if min == max and array.size:
        min, max = float(array.min()), float(array.max())
    if not (math.isfinite(min) and math.isfinite(max)):
        raise RuntimeError(f"torch.histc: range of [{min:g}, {max:g}] is not finite")
    if min > max:
        raise RuntimeError("torch.histc: max must be larger than min")
    if min == max:
        min, max = min - 1, max + 1
    counts = np.histogram(array, bins, (min, max))[0]
    return cast(constant(counts.astype(np.int64), dtypes.int64, input.device), input.dtype)


@public()
def unique_consecutive(
    input: Value, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The input without repetitions of neighbours; with their inverse indices and counts on request.

    Source: https://pytorch.org/docs/stable/generated/torch.unique_consecutive.html
    """
    if input.dtype is dtypes.bfloat16:
        raise RuntimeError("unique_consecutive of bfloat16 is not there yet: convert to float32")
    axis = 0 if dim is None else axis_of(dim, input.ndim)
    array = host(input)
    rows = array.reshape(-1) if dim is None else np.moveaxis(array, axis, 0)
    n = rows.shape[0]
    first = np.ones(n, bool)
    if n:
        first[1:] = (rows[1:] != rows[:-1]).reshape(n - 1, -1).any(1)
    starts = np.flatnonzero(first)
    results = [constant(np.moveaxis(rows[starts], 0, axis), input.dtype, input.device)]
    if return_inverse:
        inverse = (np.cumsum(first) - 1).reshape(input.shape if dim is None else (n,))
        results.append(constant(inverse.astype(np.int64), dtypes.int64, input.device))
    if return_counts:
        results.append(constant(np.diff(np.append(starts, n)).astype(np.int64), dtypes.int64, input.device))
    return results[0] if len(results) == 1 else tuple(results)
