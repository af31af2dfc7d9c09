"""Elements by number: gather and scatter, rows by index, advanced indexing, masks that select.

Two operations do the work. ``GATHER``/``SCATTER`` take one number for each element along an axis; ``INDEX`` and
``INDEX_PUT`` take whole rows, named by one broadcast number an indexed axis. Each is the other's transpose, so
gradients close over them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.devices import CPU, device
from luchina.graph.value import OUT, Op, Spec, Value, from_buffer
from luchina.ops.checks import STATIC_BOUNDS, bounds, host
from luchina.ops.movement import contiguous_strides, expand, reshape, slice_
from luchina.ops.pointwise import cast, div, dtype_title, eq, logical_and, mul
from luchina.ops.registry import as_value, axis_of, broadcast, full, public
from luchina.ops.select import masked_fill, where
from luchina.ops.transfer import to_device
from luchina.runtime.accelerators import Memory

INDEX_DTYPES = (dtypes.int64, dtypes.int32)

# ---- checking indices


def check_range(index: Value, low: int, high: int, message: str, error: type[Exception] = IndexError) -> None:
    """Raise ``message`` (which may show ``{index}``) for the first element outside [low, high)."""
    if not index.size:
        return
    smallest, largest = bounds(index)
    if smallest < low or largest >= high:
        flat = host(index).reshape(-1)
        wrong = flat[(flat < low) | (flat >= high)]
        if wrong.size:  # static bounds may be wider than the data
            raise error(message.format(index=int(wrong[0])))


def _check_bounds(index: Value, size: int, axis: int, low: int = 0, error: type[Exception] = RuntimeError) -> None:
    check_range(index, low, size, f"index {{index}} is out of bounds for dimension {axis} with size {size}", error)


def _wide(index: Value) -> Value:
    return cast(index, dtypes.int64)


WRAP = Op(
    "wrap_index",
    lambda index, n: Spec(index.shape, index.dtype),
    lambda index, n: p.where(
        p.binary("lt", index, p.const(0, "int64")), p.binary("add", index, p.const(n, "int64")), index
    ),
)


def wrap(index: Value, n: int) -> Value:
    """Negative numbers counted from the end of ``n``. What is known not to be negative stays as it is."""
    return WRAP(index, attrs=(n,)) if index.size and bounds(index)[0] < 0 else index


STATIC_BOUNDS["to"] = lambda value: (
    bounds(value.inputs[0])
    if value.inputs[0].op is not None and not value.inputs[0].dtype.is_floating_point and value.inputs[0].size
    else None
)


def _index_bounds(value: Value) -> tuple[int, int] | None:
    """What is taken from memory of a device is within what is known of that."""
    source = value.inputs[0]
    return bounds(source) if source.buffer.__class__ is Memory and source.size else None


STATIC_BOUNDS["index"] = STATIC_BOUNDS["gather"] = _index_bounds

# ---- one number for each element


def _flat_number(index: Node, shape: Sequence[int], axis: int) -> Node:
    """Flat element number in an array of ``shape``: ``index`` along ``axis``, the position's own number elsewhere."""
    strides = contiguous_strides(shape)
    total = p.binary("mul", index, p.const(strides[axis], "int64"))
    for a, n in enumerate(index.shape):
        if a != axis and n > 1:
            along = p.reshape(p.iota(n), (n,) + (1,) * (len(index.shape) - a - 1))
            total = p.binary("add", total, p.binary("mul", along, p.const(strides[a], "int64")))
    return p.reshape(total, (index.size,))


def _lower_gather(x: Node, index: Node, axis: int) -> Node:
    flat = p.take(p.reshape(x, (x.size, 1)), _flat_number(index, x.shape, axis))
    return p.reshape(flat, index.shape)


GATHER = Op(
    "gather",
    lambda x, index, axis: Spec(index.shape, x.dtype),
    _lower_gather,
    lambda g, v: (SCATTER(full(v.inputs[0].shape, 0, g.dtype), v.inputs[1], g, attrs=(v.attrs[0], "add")), None),
    ((1,), ()),
)
"""``x`` and ``index`` of one rank (not 0), index int64 and in range."""


def _lower_scatter(base: Node, index: Node, source: Node, axis: int, mode: str) -> Node:
    rows = p.reshape(source, (source.size, 1))
    flat = p.scatter(p.reshape(base, (base.size, 1)), _flat_number(index, base.shape, axis), rows, mode)
    return p.reshape(flat, base.shape)


def _scatter_vjp(g: Value, v: Value) -> tuple:
    base, index, source = v.inputs
    axis, mode = v.attrs
    zero = full(index.shape, 0, g.dtype)
    if mode == "add":
        return g, None, GATHER(g, index, attrs=(axis,))
    if mode == "set":
        return SCATTER(g, index, zero, attrs=(axis, "set")), None, GATHER(g, index, attrs=(axis,))
    if mode == "mul":
        return _product_vjp(g, v)
    # Extremes: equal ones share the gradient.
    here = cast(eq(base, v), g.dtype)
    there = cast(eq(source, GATHER(v, index, attrs=(axis,))), g.dtype)
    share = div(g, SCATTER(here, index, there, attrs=(axis, "add")))
    return mul(here, share), None, mul(there, GATHER(share, index, attrs=(axis,)))


def _product_vjp(g: Value, v: Value) -> tuple:
    """The product of the others, where at most one factor of a product is 0."""
    base, index, source = v.inputs
    at = v.attrs[:1]
    base_zero, source_zero = eq(base, 0), eq(source, 0)
    safe = masked_fill(base, base_zero, 1)
    without_base = SCATTER(safe, index, source, attrs=v.attrs)
    zeros = SCATTER(full(base.shape, 0, g.dtype), index, cast(source_zero, g.dtype), attrs=(*at, "add"))
    single = logical_and(source_zero, eq(GATHER(zeros, index, attrs=at), 1))
    without_one = SCATTER(base, index, masked_fill(source, single, 1), attrs=v.attrs)
    usual = div(GATHER(mul(g, v), index, attrs=at), masked_fill(source, source_zero, 1))
    gs = where(single, GATHER(mul(g, without_one), index, attrs=at), usual)
    return div(mul(g, without_base), safe), None, gs


SCATTER = Op(
    "scatter",
    lambda base, index, source, axis, mode: Spec(base.shape, base.dtype),
    _lower_scatter,
    _scatter_vjp,
    ((0, 1, 2, OUT), (), (0, 1, 2, OUT)),
)


def _at_least_1d(x: Value) -> Value:
    return reshape(x, (1,)) if x.ndim == 0 else x


def _check_index_dtype(name: str, index: Value) -> None:
    if index.dtype not in INDEX_DTYPES:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


@public()
def gather(input: Value, dim: int, index: Value, *, sparse_grad: bool = False) -> Value:
    """out[i, j, k] = input[index[i, j, k], j, k] for dim 0; likewise along other dimensions.

    Source: https://pytorch.org/docs/stable/generated/torch.gather.html
    """
    if sparse_grad:
        raise NotImplementedError("gather with sparse_grad=True: sparse gradients are not supported")
    axis = axis_of(dim, input.ndim)
    if index.size == 0:
        if index.ndim == input.ndim:
            return GATHER(input, _wide(index), attrs=(axis,))
        return full(index.shape, 0, input.dtype, input.device)
    _check_index_dtype("gather", index)
    if max(index.ndim, 1) != max(input.ndim, 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    x, flat = _at_least_1d(input), _at_least_1d(index)
    for a, (n, m) in enumerate(zip(flat.shape, x.shape)):
        if a != axis and n > m:
            raise RuntimeError(
                f"Size does not match at dimension {a} expected index {list(index.shape)} to be no larger than self "
                f"{list(input.shape)} apart from dimension {axis}"
            )
    _check_bounds(flat, x.shape[axis], axis)
    return reshape(GATHER(x, _wide(flat), attrs=(axis,)), index.shape)


def _scatter(input: Value, dim: int, index: Value, source: Value, mode: str) -> Value:
    """Checked, with the part of ``source`` that the index covers; None where there is nothing to do."""
    axis = axis_of(dim, input.ndim)
    if index.size == 0:
        return input
    _check_index_dtype("scatter", index)
    x, flat, source = _at_least_1d(input), _at_least_1d(index), _at_least_1d(source)
    if flat.ndim != x.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    if source.ndim != flat.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    if source.dtype is not input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if any(n > m and a != axis for a, (n, m) in enumerate(zip(flat.shape, x.shape))) or any(
        n > m for n, m in zip(flat.shape, source.shape)
    ):
        raise RuntimeError(
            f"Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from dimension "
            f"{axis} and to be no larger size than src {list(source.shape)}"
        )
    _check_bounds(flat, x.shape[axis], axis)
    if source.shape != flat.shape:
        source = slice_(source, (0,) * source.ndim, flat.shape, (1,) * source.ndim)
    return reshape(SCATTER(x, _wide(flat), source, attrs=(axis, mode)), input.shape)


def _number_source(input: Value, dim: int, index: Value, number: Any) -> Value:
    """A number spread over the index's shape, after the check that PyTorch words without a source."""
    axis = axis_of(dim, input.ndim)
    x, flat = _at_least_1d(input), _at_least_1d(index)
    if x.ndim == flat.ndim and any(n > m and a != axis for a, (n, m) in enumerate(zip(flat.shape, x.shape))):
        raise RuntimeError(
            f"Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from "
            f"dimension {axis}"
        )
    return expand(cast(as_value(number), input.dtype), index.shape)


@public(inplace=True)
def scatter(
    input: Value, dim: int, index: Value, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Value:
    """``input`` with out[index[i, j, k], j, k] = src[i, j, k] (dim 0); ``src`` is a tensor or a number.

    ``reduce`` "add" or "multiply" combines with what is there. Where an index occurs twice, the last one stays.

    Source: https://pytorch.org/docs/stable/generated/torch.Tensor.scatter_.html
    """
    modes = {None: "set", "add": "add", "multiply": "mul"}
    if reduce not in modes:
        raise RuntimeError("reduce argument must be either add or multiply.")
    source = value if src is None else src
    if not isinstance(source, Value) or (source.weak and source.ndim == 0):
        source = _number_source(input, dim, index, source)
    return _scatter(input, dim, index, source, modes[reduce])


@public(inplace=True)
def scatter_add(input: Value, dim: int, index: Value, src: Value) -> Value:
    """``input`` with out[index[i, j, k], j, k] += src[i, j, k] (dim 0)."""
    return _scatter(input, dim, index, src, "add")


_REDUCTIONS = {"sum": "add", "mean": "add", "prod": "mul", "amax": "max", "amin": "min"}


def _identity(mode: str, d: dtypes.dtype) -> float | int:
    if mode in ("add", "mul"):
        return 0 if mode == "add" else 1
    sign = -1 if mode == "max" else 1
    if d.is_floating_point:
        return sign * math.inf
    if d is dtypes.bool_:
        return int(mode == "min")
    return dtypes.iinfo(d).min if mode == "max" else dtypes.iinfo(d).max


@public(inplace=True)
def scatter_reduce(
    input: Value, dim: int, index: Value, src: Value, reduce: str, *, include_self: bool = True
) -> Value:
    """Elements of ``src`` reduced (sum, prod, mean, amax, amin) into the places of ``input`` that ``index`` names.

    Without ``include_self`` what was in those places does not take part.

    Source: https://pytorch.org/docs/stable/generated/torch.Tensor.scatter_reduce_.html
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    mode, d = _REDUCTIONS[reduce], input.dtype
    base = input
    if not include_self and index.size:
        base = _scatter(input, dim, index, full(src.shape, _identity(mode, d), d), "set")
    result = _scatter(base, dim, index, src, mode)
    if reduce != "mean" or not index.size:
        return result
    start = full(input.shape, 1, d)
    if not include_self:
        start = _scatter(start, dim, index, full(src.shape, 0, d), "set")
    counts = _scatter(start, dim, index, full(src.shape, 1, d), "add")
    return div(result, counts) if d.is_floating_point else div(result, counts, rounding_mode="floor")


# ---- whole rows


def _result_shape(x: Value, indices: Sequence[Value], axes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = broadcast(*indices)
    return shape, tuple([n for a, n in enumerate(x.shape) if a not in axes])


def _place(axes: tuple[int, ...]) -> int:
    """Where the broadcast index axes go: in the place of adjacent indexed axes, else in front."""
    return axes[0] if axes == tuple(range(axes[0], axes[0] + len(axes))) else 0


def _row_number(indices: Sequence[Node], sizes: Sequence[int]) -> Node:
    strides = contiguous_strides(sizes)
    total = None
    for index, stride in zip(indices, strides):
        part = index if stride == 1 else p.binary("mul", index, p.const(stride, "int64"))
        total = part if total is None else p.binary("add", total, part)
    assert total is not None
    return total


def _front(x: Node, axes: tuple[int, ...]) -> tuple[Node, tuple[int, ...]]:
    """The indexed axes moved to the front, as rows; and the order they were taken in."""
    order = (*axes, *[a for a in range(len(x.shape)) if a not in axes])
    turned = p.permute(x, order)
    rows = math.prod(turned.shape[: len(axes)])
    return p.reshape(turned, (rows, math.prod(turned.shape[len(axes) :]))), order


def _index_spec(x: Value, *rest: Any) -> Spec:
    *indices, axes = rest
    shape, kept = _result_shape(x, indices, axes)
    at = _place(axes)
    return Spec((*kept[:at], *shape, *kept[at:]), x.dtype)


def _to_place(count: int, kept: int, at: int) -> tuple[int, ...]:
    """The permutation that brings ``count`` leading axes behind the first ``at`` of the ``kept`` others."""
    return (*range(count, count + at), *range(count), *range(count + at, count + kept))


def _lower_index(x: Node, *rest: Any) -> Node:
    *indices, axes = rest
    kept = tuple([n for a, n in enumerate(x.shape) if a not in axes])
    table, _ = _front(x, axes)
    number = _row_number(indices, [x.shape[a] for a in axes])
    rows = p.take(table, p.reshape(number, (number.size,)))
    result = p.reshape(rows, (*number.shape, *kept))
    return p.permute(result, _to_place(len(number.shape), len(kept), _place(axes)))


def _index_vjp(g: Value, v: Value) -> tuple:
    x, *indices = v.inputs
    zeros = full(x.shape, 0, g.dtype)
    return INDEX_PUT(zeros, g, *indices, attrs=(*v.attrs, True)), *[None for _ in indices]


INDEX = Op("index", _index_spec, _lower_index, _index_vjp, (tuple(range(1, 9)),))


def _lower_index_put(base: Node, values: Node, *rest: Any) -> Node:
    *indices, axes, accumulate = rest
    kept = tuple([n for a, n in enumerate(base.shape) if a not in axes])
    table, order = _front(base, axes)
    number = _row_number(indices, [base.shape[a] for a in axes])
    at, count = _place(axes), len(number.shape)
    shape = (*kept[:at], *number.shape, *kept[at:])
    values = p.expand(values, shape)
    back = (*range(at, at + count), *range(at), *range(at + count, len(shape)))
    rows = p.reshape(p.permute(values, back), (number.size, math.prod(kept)))
    mode = "add" if accumulate else "set"
    written = p.scatter(table, p.reshape(number, (number.size,)), rows, mode)
    turned = p.reshape(written, [base.shape[a] for a in order])
    return p.permute(turned, [order.index(a) for a in range(len(order))])


def _index_put_vjp(g: Value, v: Value) -> tuple:
    base, values, *indices = v.inputs
    axes, accumulate = v.attrs
    gb = g if accumulate else INDEX_PUT(g, full((), 0, g.dtype), *indices, attrs=(axes, False))
    gv = INDEX(g, *indices, attrs=(axes,)) if values.needs_grad else None
    return gb if base.needs_grad else None, gv, *[None for _ in indices]


INDEX_PUT = Op(
    "index_put",
    lambda base, *rest: Spec(base.shape, base.dtype),
    _lower_index_put,
    _index_put_vjp,
    (tuple(range(2, 10)), tuple(range(2, 10))),
)


def _indexed(x: Value, indices: Sequence[Value | None]) -> tuple[list[Value], tuple[int, ...]]:
    """The indices that are there, checked, wrapped and int64; and their axes."""
    axes = tuple([a for a, index in enumerate(indices) if index is not None])
    given = [_wide(index) for index in indices if index is not None]
    try:
        shape = broadcast(*given)
    except RuntimeError:
        shapes = ", ".join(str(list(index.shape)) for index in given)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    wrapped = []
    for i, (axis, index) in enumerate(zip(axes, given)):
        n = x.shape[axis]
        if math.prod(shape):
            if n == 0:
                raise IndexError("index is out of bounds for dimension with size 0")
            _check_bounds(index, n, i, -n, IndexError)
        wrapped.append(wrap(index, n))
    return wrapped, axes


def index_get(x: Value, indices: Sequence[Value | None]) -> Value:
    """``x[indices]``: for each axis an integer Value (they broadcast together) or None for all of it.

    The broadcast axes stand in place of the indexed ones where these are neighbours, else in front.
    """
    given, axes = _indexed(x, indices)
    return INDEX(x, *given, attrs=(axes,)) if axes else x


def index_put(x: Value, indices: Sequence[Value | None], values: Value, accumulate: bool = False) -> Value:
    """``x`` after ``x[indices] = values`` (or ``+=`` with ``accumulate``, which counts repeated places)."""
    if values.dtype is not x.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{dtype_title(x.dtype)} for the destination and {dtype_title(values.dtype)} for the source."
        )
    given, axes = _indexed(x, indices)
    shape, kept = _result_shape(x, given, axes)
    at = _place(axes)
    target = (*kept[:at], *shape, *kept[at:])
    while values.ndim > len(target) and values.shape[0] == 1:
        values = reshape(values, values.shape[1:])
    lead = len(target) - values.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(values.shape, target[lead:])):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to indexing result of "
            f"shape {list(target)}"
        )
    if not math.prod(target):
        return x
    return INDEX_PUT(x, values, *given, attrs=(axes, accumulate))


def _vector(name: str, index: Value) -> Value:
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector")
    return _wide(_at_least_1d(index))


@public()
def index_select(input: Value, dim: int, index: Value) -> Value:
    """The rows (along ``dim``) that a vector of numbers names.

    Source: https://pytorch.org/docs/stable/generated/torch.index_select.html
    """
    axis = axis_of(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if index.dtype not in INDEX_DTYPES:
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    number = _vector("index_select", index)
    x = _at_least_1d(input)
    check_range(number, 0, x.shape[axis], "index out of range in self")
    result = INDEX(x, number, attrs=((axis,),))
    return reshape(result, ()) if input.ndim == 0 else result


@public(inplace=True)
def index_add(input: Value, dim: int, index: Value, source: Value, *, alpha: float = 1) -> Value:
    """``input`` with alpha · source[i] added to row index[i] along ``dim``; repeated numbers add up."""
    axis = axis_of(dim, input.ndim)
    if index.dtype not in INDEX_DTYPES:
        raise RuntimeError("index_add_(): Expected dtype int32/int64 for index")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"index_add_(): self ({dtype_title(input.dtype)}) and source ({dtype_title(source.dtype)}) must have the "
            "same scalar type"
        )
    number = _vector("index_add_", index)
    x, rows = _at_least_1d(input), _at_least_1d(source)
    if rows.shape[:axis] + rows.shape[axis + 1 :] != x.shape[:axis] + x.shape[axis + 1 :]:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(input.shape)} source.shape = {list(source.shape)}"
        )
    if rows.shape[axis] != number.size:
        raise RuntimeError(
            f"index_add_(): Number of indices ({number.size}) should be equal to source.size(dim): "
            f"({rows.shape[axis]}), for dim: {axis}"
        )
    _check_bounds(number, x.shape[axis], axis)
    if alpha != 1:
        rows = cast(mul(rows, alpha), x.dtype)
    return reshape(INDEX_PUT(x, rows, number, attrs=((axis,), True)), input.shape)


@public(inplace=True)
def index_copy(input: Value, dim: int, index: Value, source: Value) -> Value:
    """``input`` with row index[i] along ``dim`` replaced by source[i]."""
    axis = axis_of(dim, input.ndim)
    if index.dtype is not dtypes.int64:
        raise RuntimeError("index_copy_(): Expected a long tensor for index, but got " + dtype_title(index.dtype))
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"index_copy_(): self and source expected to have the same dtype, but got (self) "
            f"{dtype_title(input.dtype)} and (source) {dtype_title(source.dtype)}"
        )
    number = _vector("index_copy_", index)
    x, rows = _at_least_1d(input), _at_least_1d(source)
    if rows.shape[axis] != number.size:
        raise IndexError(
            f"index_copy_(): Number of indices ({number.size}) should be equal to source.size(dim) ({rows.shape[axis]})"
        )
    mine, other = (s[:axis] + s[axis + 1 :] for s in (x.shape, rows.shape))
    if mine != other:
        raise RuntimeError(
            "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: "
            f"{' '.join(map(str, mine))} at dimension {axis} and source slice shape: {' '.join(map(str, other))} at "
            f"dimension {0 if axis else axis}."
        )
    n = x.shape[axis]
    check_range(number, 0, n, f"index_copy_(): index {{index}} is out of bounds for dimension {axis} with size {n}")
    return reshape(INDEX_PUT(x, rows, number, attrs=((axis,), False)), input.shape)


@public(inplace=True)
def index_fill(input: Value, dim: int, index: Value, value: Any) -> Value:
    """``input`` with the rows along ``dim`` that ``index`` names filled with a number."""
    axis = axis_of(dim, input.ndim)
    number = as_value(value)
    if number.ndim:
        raise RuntimeError(
            f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {number.ndim} dimension(s)."
        )
    if index.dtype is not dtypes.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    rows = _vector("index_fill_", index)
    x = _at_least_1d(input)
    n = x.shape[axis]
    _check_bounds(rows, n, axis, -n, IndexError)
    filled = INDEX_PUT(x, cast(number, x.dtype), wrap(rows, n), attrs=((axis,), False))
    return reshape(filled, input.shape)


@public()
def take(input: Value, index: Value) -> Value:
    """Elements of the flattened input, by number (negative ones count from the end)."""
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {dtype_title(index.dtype)}")
    n = input.size
    if index.size and not n:
        raise IndexError("take(): tried to take from an empty tensor")
    message = f"out of range: tried to access index {{index}} on a tensor of {n} elements."
    check_range(index, -n, n, message)
    return INDEX(reshape(input, (n,)), wrap(index, n), attrs=((0,),))


@public()
def take_along_dim(input: Value, indices: Value, dim: int | None = None) -> Value:
    """``gather`` with broadcasting between input and indices; of the flattened ones without ``dim``."""
    if indices.dtype not in INDEX_DTYPES:
        raise RuntimeError(
            f"torch.take_along_dim(): dtype of indices should be Long or Int but got {dtype_title(indices.dtype)}"
        )
    if dim is None:
        return gather(reshape(input, (input.size,)), 0, reshape(indices, (indices.size,)))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    axis = axis_of(dim, input.ndim)
    one = [(1 if a == axis else n) for a, n in enumerate(input.shape)]
    two = [(1 if a == axis else n) for a, n in enumerate(indices.shape)]
    common = broadcast(*[full(tuple(s), 0, input.dtype) for s in (one, two)])
    wide = [(input.shape[a] if a == axis else n) for a, n in enumerate(common)]
    index = [(indices.shape[a] if a == axis else n) for a, n in enumerate(common)]
    return gather(expand(input, tuple(wide)), axis, expand(indices, tuple(index)))


# ---- masks


def constant(array: np.ndarray, d: dtypes.dtype, where: device | None = None) -> Value:
    """A host array as a computed Value, on the device ``where``."""
    from luchina.runtime.buffers import from_numpy

    value = from_buffer(from_numpy(np.ascontiguousarray(array)), array.shape, d)
    return value if where is None or where is CPU else to_device(value, where)


@public()
def nonzero(input: Value, *, as_tuple: bool = False) -> Any:
    """Coordinates of the elements that are not zero, one a row; with ``as_tuple`` one vector a dimension.

    The result's shape depends on the data, so the input is computed at once.
    """
    array = host(input)
    if as_tuple:
        return tuple(constant(i.astype(np.int64), dtypes.int64, input.device) for i in np.nonzero(np.atleast_1d(array)))
    if array.ndim == 0:
        return full((int(bool(array)), 0), 0, dtypes.int64, input.device)
    return constant(np.argwhere(array).astype(np.int64), dtypes.int64, input.device)


@public()
def argwhere(input: Value) -> Value:
    """Coordinates of the elements that are not zero, one a row."""
    return nonzero(input)


@public()
def masked_select(input: Value, mask: Value) -> Value:
    """The elements where the mask holds, in order, as a vector.

    Source: https://pytorch.org/docs/stable/generated/torch.masked_select.html
    """
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    try:
        shape = broadcast(input, mask)
    except RuntimeError:
        broadcast(mask, input)  # PyTorch names the mask first
        raise
    chosen = np.flatnonzero(np.broadcast_to(host(mask), shape)).astype(np.int64)
    flat = reshape(expand(input, shape), (math.prod(shape),))
    return INDEX(flat, constant(chosen, dtypes.int64, input.device), attrs=((0,),))


def _lower_rank(mask: Node) -> Node:
    """How many places hold before each place, in row-major order."""
    running = p.scan("sum", p.cast(p.reshape(mask, (mask.size,)), "int64"))
    before = p.binary("sub", running, p.const(1, "int64"))
    return p.binary("maximum", before, p.const(0, "int64"))


RANK = Op("mask_rank", lambda mask: Spec((mask.size,), dtypes.int64), _lower_rank)


@public(inplace=True)
def masked_scatter(input: Value, mask: Value, source: Value) -> Value:
    """``input`` with the places where the mask holds filled from ``source``, in order."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype {dtype_title(mask.dtype)}"
        )
    if source.dtype is not input.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got"
            f"{dtype_title(input.dtype)} and {dtype_title(source.dtype)}"
        )
    shape = broadcast(input, mask)
    input = expand(input, shape)
    count = int(np.broadcast_to(host(mask), shape).sum())
    if count > source.size:
        raise RuntimeError("Number of elements of source < number of ones in mask")
    if not count:
        return input
    mask = expand(mask, shape)
    values = INDEX(reshape(source, (source.size,)), RANK(mask), attrs=((0,),))
    return where(mask, reshape(values, shape), input)


def zeros_add(shape: tuple[int, ...], index: Value, rows: Value) -> Value:
    """Zeros of ``shape`` with ``rows`` added where ``index`` says, along axis 0: the gradient of looking rows up."""
    return INDEX_PUT(full(shape, 0, rows.dtype), rows, index, attrs=((0,), True))
