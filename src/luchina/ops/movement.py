"""Which element, never which value: reshaping, transposing, slicing, joining.

On the tensor face most of these give views (see ``luchina.views``); here they are what a view's Value is computed with.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.dtypes import dtype
from luchina.graph.value import Op, Spec, Value, result_dtype
from luchina.ops.pointwise import cast
from luchina.ops.registry import axis_of, full, public

RESHAPE = Op(
    "reshape",
    lambda x, shape: Spec(shape, x.dtype),
    lambda x, shape: p.reshape(x, shape),
    lambda g, v: (reshape(g, v.inputs[0].shape),),
    ((),),
    "View",
)


def reshape(input: Value, shape: tuple[int, ...]) -> Value:
    """The same elements in row-major order under another shape."""
    return input if input.shape == shape else RESHAPE(input, attrs=(shape,))


PERMUTE = Op(
    "permute",
    lambda x, axes: Spec(tuple([x.shape[a] for a in axes]), x.dtype),
    lambda x, axes: p.permute(x, axes),
    lambda g, v: (permute(g, _inverse(v.attrs[0])),),
    ((),),
)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    result = [0] * len(axes)
    for i, a in enumerate(axes):
        result[a] = i
    return tuple(result)


def permute(input: Value, axes: tuple[int, ...]) -> Value:
    """Axis i of the result is axis ``axes[i]`` of the input."""
    return PERMUTE(input, attrs=(axes,))


TRANSPOSE = Op(
    "transpose",
    lambda x, a, b: Spec(_swapped(x.shape, a, b), x.dtype),
    lambda x, a, b: p.permute(x, _swapped(tuple(range(len(x.shape))), a, b)),
    lambda g, v: (transpose(g, *v.attrs),),
    ((),),
)


def _swapped(items: tuple, a: int, b: int) -> tuple:
    result = list(items)
    result[a], result[b] = result[b], result[a]
    return tuple(result)


def transpose(input: Value, dim0: int, dim1: int) -> Value:
    """Two axes exchanged."""
    return TRANSPOSE(input, attrs=(dim0, dim1))


T = Op("t", lambda x: Spec(x.shape[::-1], x.dtype), lambda x: p.permute(x, (1, 0)), lambda g, v: (T(g),), ((),), "T")
"""A matrix transposed; an operation of its own because PyTorch prints it as one."""

EXPAND = Op(
    "expand",
    lambda x, shape: Spec(shape, x.dtype),
    lambda x, shape: p.expand(x, shape),
    lambda g, v: (g,),
    ((),),
)


def expand(input: Value, shape: tuple[int, ...]) -> Value:
    """Broadcast to ``shape``."""
    return input if input.shape == shape else EXPAND(input, attrs=(shape,))


def _sum_to_axes(shape: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...]:
    lead = len(shape) - len(target)
    return tuple(i for i in range(len(shape)) if i < lead or (target[i - lead] == 1 and shape[i] != 1))


SUM_TO = Op(
    "sum_to_size",
    lambda x, shape: Spec(shape, x.dtype),
    lambda x, shape: p.reshape(p.reduce("sum", x, _sum_to_axes(x.shape, shape)), shape),
    lambda g, v: (expand(g, v.inputs[0].shape),),
    ((),),
)


def sum_to(input: Value, shape: tuple[int, ...]) -> Value:
    """The transpose of broadcasting: summed over every axis that broadcasting ``shape`` would repeat."""
    return input if input.shape == shape else SUM_TO(input, attrs=(shape,))


SLICE = Op(
    "slice",
    lambda x, starts, sizes, steps: Spec(sizes, x.dtype),
    lambda x, starts, sizes, steps: p.slice(x, starts, sizes, steps),
    lambda g, v: (slice_backward(g, v.inputs[0].shape, v.attrs[0], v.attrs[2]),),
    ((),),
)


def slice_(input: Value, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> Value:
    """``out[i…] = input[starts + i·steps]``."""
    return SLICE(input, attrs=(tuple(starts), tuple(sizes), tuple(steps)))


def _lower_slice_backward(g: Node, shape: tuple, starts: tuple, steps: tuple) -> Node:
    if all(s == 1 for s in steps):
        high = [n - start - size for n, start, size in zip(shape, starts, g.shape)]
        return p.pad(g, starts, high)
    strides = contiguous_strides(shape)
    offset = sum(a * b for a, b in zip(starts, strides))
    base = p.const(0, g.dtype, shape)
    return p.update(base, g, [a * b for a, b in zip(strides, steps)], offset)


SLICE_BACKWARD = Op(
    "slice_backward",
    lambda g, shape, starts, steps: Spec(shape, g.dtype),
    _lower_slice_backward,
    lambda g, v: (slice_(g, v.attrs[1], v.inputs[0].shape, v.attrs[2]),),
    ((),),
)


def slice_backward(g: Value, shape: tuple[int, ...], starts: tuple[int, ...], steps: tuple[int, ...]) -> Value:
    """The transpose of a slice: zeros of ``shape`` with ``g`` in the sliced places."""
    return SLICE_BACKWARD(g, attrs=(shape, starts, steps))


_strides: dict[tuple[int, ...], tuple[int, ...]] = {}


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements, as PyTorch counts them (an empty axis counts as one)."""
    shape = tuple(shape)
    found = _strides.get(shape)
    if found is None:
        strides, step = [], 1
        for n in reversed(shape):
            strides.append(step)
            step *= max(n, 1)
        if len(_strides) > 4096:
            _strides.clear()
        found = _strides[shape] = tuple(reversed(strides))
    return found


# ---- arbitrary windows

STRIDED = Op(
    "as_strided",
    lambda x, shape, strides, offset: Spec(shape, x.dtype),
    lambda x, shape, strides, offset: p.strided(x, shape, strides, offset),
    lambda g, v: (strided_backward(g, v.inputs[0].shape, v.attrs[1], v.attrs[2]),),
    ((),),
)


def strided(input: Value, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Value:
    """A window on the input's elements in row-major order."""
    if offset == 0 and shape == input.shape and strides == contiguous_strides(shape):
        return input
    return STRIDED(input, attrs=(shape, strides, offset))


def overlaps(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether two indices of a window may name one element (never wrong when it says no)."""
    reach = 0
    for stride, n in sorted((abs(s), n) for s, n in zip(strides, shape) if n > 1):
        if stride <= reach:
            return True
        reach += stride * (n - 1)
    return False


def _window_index(shape: Sequence[int], strides: Sequence[int], offset: int) -> Node:
    """Flat element number for each position of a window."""
    index = p.const(offset, "int64", shape)
    for axis, (n, stride) in enumerate(zip(shape, strides)):
        along = p.reshape(p.iota(n), (n,) + (1,) * (len(shape) - axis - 1))
        index = p.binary("add", index, p.binary("mul", along, p.const(stride, "int64")))
    return index


def _lower_strided_backward(g: Node, shape: tuple, strides: tuple, offset: int) -> Node:
    zeros = p.const(0, g.dtype, shape)
    if not overlaps(g.shape, strides):
        return p.update(zeros, g, strides, offset)
    index = p.reshape(_window_index(g.shape, strides, offset), (g.size,))
    base = p.reshape(zeros, (prod(shape), 1))
    return p.reshape(p.scatter(base, index, p.reshape(g, (g.size, 1)), "add"), shape)


STRIDED_BACKWARD = Op(
    "as_strided_backward",
    lambda g, shape, strides, offset: Spec(shape, g.dtype),
    _lower_strided_backward,
    lambda g, v: (strided(g, v.inputs[0].shape, v.attrs[1], v.attrs[2]),),
    ((),),
)


def strided_backward(g: Value, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Value:
    """The transpose of ``strided``: each element of ``g`` added to the place it was read from."""
    return STRIDED_BACKWARD(g, attrs=(shape, strides, offset))


UPDATE = Op(
    "copy_slices",
    lambda base, source, strides, offset: Spec(base.shape, base.dtype),
    lambda base, source, strides, offset: p.update(base, source, strides, offset),
    lambda g, v: (
        UPDATE(g, full(v.inputs[1].shape, 0, g.dtype), attrs=v.attrs) if v.inputs[0].needs_grad else None,
        strided(g, v.inputs[1].shape, *v.attrs) if v.inputs[1].needs_grad else None,
    ),
    ((), ()),
    "CopySlices",
    saves=True,
)


def update(base: Value, source: Value, strides: tuple[int, ...], offset: int) -> Value:
    """``base`` with a window of it replaced by ``source``: what a write through a view means."""
    return UPDATE(base, source, attrs=(strides, offset))


REWRITE = Op(
    "rewrite",
    lambda old, new: Spec(new.shape, new.dtype),
    lambda old, new: new,
    lambda g, v: (g, None),
    ((), ()),
)
"""New numbers under an old gradient history: a write that autograd was told not to see."""

# ---- joining


def _concat_spec(*xs_and_attrs: Any) -> Spec:
    *xs, axis, d = xs_and_attrs
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return Spec(tuple(shape), d)


def _concat_vjp(g: Value, v: Value) -> tuple:
    axis, start, pieces = v.attrs[0], 0, []
    for x in v.inputs:
        starts = [0] * x.ndim
        starts[axis] = start
        start += x.shape[axis]
        pieces.append(slice_(g, starts, x.shape, (1,) * x.ndim) if x.needs_grad else None)
    return tuple(pieces)


CONCAT = Op(
    "cat",
    _concat_spec,
    lambda *args: p.concat([p.cast(x, args[-1].name) for x in args[:-2]], args[-2]),
    _concat_vjp,
)


@public("concat", "concatenate", method=False)
def cat(tensors: Sequence[Value], dim: int = 0) -> Value:
    """Joined along an existing dimension; dtypes promote; 1-d empty tensors are skipped, as in PyTorch.

    Source: https://pytorch.org/docs/stable/generated/torch.cat.html
    """
    if tensors.__class__ is Value:
        raise TypeError("cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    tensors = list(tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    for i, x in enumerate(tensors):
        if x.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    d = tensors[0].dtype
    for x in tensors[1:]:
        d = dtypes.promote_types(d, x.dtype)
    kept = [x for x in tensors if x.shape != (0,)]
    if not kept:
        return cast(tensors[0], d)
    first = kept[0]
    axis = axis_of(dim, first.ndim)
    for i, x in enumerate(kept):
        if x.ndim != first.ndim:
            raise RuntimeError(f"Tensors must have same number of dimensions: got {first.ndim} and {x.ndim}")
        for a, (n, m) in enumerate(zip(first.shape, x.shape)):
            if a != axis and n != m:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {axis}. Expected size {n} but got size {m} "
                    f"for tensor number {i} in the list."
                )
    return cast(kept[0], d) if len(kept) == 1 and len(tensors) > 1 else CONCAT(*kept, attrs=(axis, d))


@public(method=False)
def stack(tensors: Sequence[Value], dim: int = 0) -> Value:
    """Joined along a new dimension; all of one shape.

    Source: https://pytorch.org/docs/stable/generated/torch.stack.html
    """
    if tensors.__class__ is Value:
        raise TypeError("stack(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tensors[0]
    axis = axis_of(dim, first.ndim + 1)
    for i, x in enumerate(tensors):
        if x.shape != first.shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first.shape)} at entry 0 and "
                f"{list(x.shape)} at entry {i}"
            )
    return cat([reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in tensors], axis)


@public(method=False)
def hstack(tensors: Sequence[Value]) -> Value:
    """Joined along the second dimension (the first, for 1-d tensors)."""
    tensors = [reshape(x, (1,)) if x.ndim == 0 else x for x in tensors]
    return cat(tensors, 0 if tensors and tensors[0].ndim == 1 else 1)


@public(method=False)
def vstack(tensors: Sequence[Value]) -> Value:
    """Joined along the first dimension, 1-d tensors as rows."""
    return cat([reshape(x, (1, x.size)) if x.ndim < 2 else x for x in tensors], 0)


# ---- repeating, turning, padding


@public(function=False)
def repeat(input: Value, *sizes: Any) -> Value:
    """Copies of the whole tensor: ``sizes[i]`` of them along dimension i, new dimensions in front."""
    sizes = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    if len(sizes) < input.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(sizes)}: {list(sizes)}")
    shape = (1,) * (len(sizes) - input.ndim) + input.shape
    paired = [m for n, s in zip(shape, sizes) for m in (1, n)]
    spread = [m for n, s in zip(shape, sizes) for m in (s, n)]
    wide = expand(reshape(input, tuple(paired)), tuple(spread))
    return clone(reshape(wide, tuple(n * s for n, s in zip(shape, sizes))))


@public()
def tile(input: Value, *dims: Any) -> Value:
    """``repeat`` which takes fewer numbers than dimensions (the first ones count as 1)."""
    dims = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    return repeat(input, *((1,) * (input.ndim - len(dims)) + dims))


@public()
def flip(input: Value, *dims: Any) -> Value:
    """The order of elements reversed along the given dimensions."""
    dims = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    axes = [axis_of(d, input.ndim) for d in dims]
    if len(set(axes)) != len(axes):
        raise RuntimeError(
            f"dim {next(a for a in axes if axes.count(a) > 1)} appears multiple times in the list of dims"
        )
    if not input.size:
        return clone(input)
    starts = [n - 1 if a in axes else 0 for a, n in enumerate(input.shape)]
    steps = [-1 if a in axes else 1 for a in range(input.ndim)]
    return clone(slice_(input, starts, input.shape, steps))


@public()
def fliplr(input: Value) -> Value:
    """Flipped along the second dimension."""
    return flip(input, 1)


@public()
def flipud(input: Value) -> Value:
    """Flipped along the first dimension."""
    return flip(input, 0)


@public()
def roll(input: Value, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Value:
    """Elements moved on by ``shifts``; those that leave at the end come back at the start.

    Source: https://pytorch.org/docs/stable/generated/torch.roll.html
    """
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None or dims == () or dims == []:
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        return reshape(roll(reshape(input, (input.size,)), shifts, 0), input.shape)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(dims) != len(shifts):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    for shift, dim in zip(shifts, dims):
        axis = axis_of(dim, input.ndim)
        n = input.shape[axis]
        shift = shift % n if n else 0
        if shift:
            ones = (1,) * input.ndim
            start, first, second = [0] * input.ndim, list(input.shape), list(input.shape)
            start[axis], first[axis], second[axis] = n - shift, shift, n - shift
            tail = slice_(input, start, first, ones)
            input = cat([tail, slice_(input, (0,) * input.ndim, second, ones)], axis)
    return clone(input) if all(s == 0 for s in shifts) else input


CLONE = Op("clone", lambda x: Spec(x.shape, x.dtype), lambda x: x, lambda g, v: (g,), ((),))


@public()
def clone(input: Value) -> Value:
    """A copy with the gradient passing through."""
    return CLONE(input)


PAD = Op(
    "constant_pad_nd",
    lambda x, low, high, fill: Spec(tuple([a + n + b for a, n, b in zip(low, x.shape, high)]), x.dtype),
    lambda x, low, high, fill: p.pad(x, low, high, fill),
    lambda g, v: (slice_(g, v.attrs[0], v.inputs[0].shape, (1,) * g.ndim),),
    ((),),
)


def constant_pad(input: Value, low: Sequence[int], high: Sequence[int], fill: float = 0) -> Value:
    """``fill`` around the input; a negative amount cuts."""
    cut_low, cut_high = [max(-n, 0) for n in low], [max(-n, 0) for n in high]
    if any(cut_low) or any(cut_high):
        sizes = [n - a - b for n, a, b in zip(input.shape, cut_low, cut_high)]
        input = slice_(input, cut_low, sizes, (1,) * input.ndim)
    low, high = tuple(max(n, 0) for n in low), tuple(max(n, 0) for n in high)
    if not any(low) and not any(high):
        return input
    return PAD(input, attrs=(low, high, _number(fill, input.dtype)))


def _number(x: float, d: dtype) -> float | int:
    return float(x) if d.is_floating_point else int(x)


# ---- triangles


def _lower_triangle(x: Node, diagonal: int, upper: bool) -> Node:
    rows, columns = x.shape[-2:]
    i = p.reshape(p.iota(rows), (rows, 1))
    j = p.iota(columns)
    edge = p.binary("add", i, p.const(diagonal, "int64"))
    keep = p.binary("ge" if upper else "le", p.expand(j, (rows, columns)), edge)
    return p.where(keep, x, p.const(0, x.dtype))


TRIANGLE = Op(
    "triangle",
    lambda x, diagonal, upper: Spec(x.shape, x.dtype),
    _lower_triangle,
    lambda g, v: (TRIANGLE(g, attrs=v.attrs),),
    ((),),
)


def _triangle(input: Value, diagonal: int, upper: bool) -> Value:
    if input.ndim < 2:
        raise RuntimeError(f"tri{'u' if upper else 'l'}: input tensor must have at least 2 dimensions")
    return TRIANGLE(input, attrs=(diagonal, upper))


@public(inplace=True)
def tril(input: Value, diagonal: int = 0) -> Value:
    """The lower triangle of each matrix (on and below ``diagonal``), zeros elsewhere."""
    return _triangle(input, diagonal, upper=False)


@public(inplace=True)
def triu(input: Value, diagonal: int = 0) -> Value:
    """The upper triangle of each matrix (on and above ``diagonal``), zeros elsewhere."""
    return _triangle(input, diagonal, upper=True)


def common_dtype(*values: Value) -> dtype:
    """The promoted dtype of several operands."""
    return result_dtype(*values)
