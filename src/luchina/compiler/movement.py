"""Movement without moving: which element of a node a kernel's iteration reads.

A kernel runs over axes with counters ``i₀, i₁, …``. For a node that it reads, each of the node's dimensions has a
*row*: an affine function of the counters, held as ``(constant, k₀, k₁, …)`` for ``constant + Σ kₐ·iₐ``. Movement
primitives only rewrite rows, so that a chain of them costs nothing; at a buffer, the rows and its strides give the
operand's window.
"""

from __future__ import annotations

from collections.abc import Sequence

Row = tuple[int, ...]
Rows = tuple[Row, ...]


def zero_row(axes: int) -> Row:
    return (0,) * (axes + 1)


def unit_row(axis: int, axes: int) -> Row:
    """The counter of one axis."""
    return (0,) * (axis + 1) + (1,) + (0,) * (axes - axis - 1)


def scaled(row: Row, factor: int, constant: int = 0) -> Row:
    """``factor·row + constant``."""
    return (factor * row[0] + constant, *(factor * k for k in row[1:]))


def combine(rows: Sequence[Row], strides: Sequence[int], constant: int, axes: int) -> Row:
    """``constant + Σ rowⱼ·strideⱼ``: an element's address from its coordinates."""
    total = [0] * (axes + 1)
    for row, stride in zip(rows, strides, strict=True):
        if stride:
            for a, k in enumerate(row):
                total[a] += k * stride
    total[0] += constant
    return tuple(total)


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a row-major array, in elements."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def restrided(shape: Sequence[int], strides: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
    """Strides with which a window of ``shape`` and ``strides`` (not empty) can be seen as ``new``, or None.

    Axes that are contiguous among themselves are joined; a new axis may not reach from one such run into another.
    """
    runs: list[tuple[int, int]] = []  # extent and innermost stride
    for extent, stride in zip(shape, strides):
        if extent == 1:
            continue
        if runs and runs[-1][1] == extent * stride:
            runs[-1] = (runs[-1][0] * extent, stride)
        else:
            runs.append((extent, stride))
    result: list[int] = []
    inside = 1  # what the stride of an axis of one element would be
    for extent in reversed(new):
        if extent == 1:
            result.append(inside)
            continue
        left, stride = runs.pop()
        if left % extent:
            return None
        result.append(stride)
        inside = stride * extent
        if left > extent:
            runs.append((left // extent, stride * extent))
    return tuple(reversed(result))


def permuted(rows: Rows, axes: Sequence[int]) -> Rows:
    """Rows of ``x`` from those of ``permute(x, axes)``."""
    result: list[Row] = [()] * len(rows)
    for row, axis in zip(rows, axes):
        result[axis] = row
    return tuple(result)


def expanded(rows: Rows, shape: Sequence[int]) -> Rows:
    """Rows of ``x`` of ``shape`` from those of an ``expand`` of it."""
    return tuple((0,) * len(row) if n == 1 else row for row, n in zip(rows, shape, strict=True))


def sliced(rows: Rows, starts: Sequence[int], steps: Sequence[int]) -> Rows:
    """Rows of ``x`` from those of a ``slice`` of it."""
    return tuple(scaled(row, step, start) for row, start, step in zip(rows, starts, steps, strict=True))


def shifted(rows: Rows, low: Sequence[int]) -> Rows:
    """Rows of ``x`` from those of a ``pad`` of it: they leave ``x`` where the padding is."""
    return tuple(scaled(row, 1, -n) for row, n in zip(rows, low, strict=True))


def bounds(row: Row, extents: Sequence[int]) -> tuple[int, int]:
    """Least and greatest value of a row while each counter runs over its extent."""
    low = high = row[0]
    for k, n in zip(row[1:], extents, strict=True):
        if k > 0:
            high += k * (n - 1)
        else:
            low += k * (n - 1)
    return low, high


class AxisTooCoarse(Exception):
    """A reshape is affine only if kernel axis ``axis`` is split, its inner part having extent ``factor``."""

    def __init__(self, axis: int, factor: int) -> None:
        self.axis = axis
        self.factor = factor


def reshaped(rows: Rows, source: Sequence[int], shape: Sequence[int], extents: Sequence[int]) -> Rows | None:
    """Rows of ``x`` of shape ``source`` from those of ``reshape(x, shape)``; None where they would not be affine.

    Raises:
        AxisTooCoarse: where splitting an axis of the kernel would help.
    """
    axes = len(extents)
    if 0 in source:  # nothing is there to be read
        return tuple(zero_row(axes) for _ in source)
    result: list[Row] = []
    i = j = 0
    while i < len(source):
        if source[i] == 1:
            result.append(zero_row(axes))
            i += 1
            continue
        # The smallest groups of dimensions on both sides that hold the same number of elements.
        first_in, first_out = i, j
        size_in, size_out = source[i], 1
        i += 1
        while size_in != size_out:
            if size_out < size_in:
                size_out *= shape[j]
                j += 1
            else:
                size_in *= source[i]
                i += 1
        group = shape[first_out:j]
        linear = combine(rows[first_out:j], contiguous_strides(group), 0, axes)
        split = _split(linear, source[first_in:i], extents)
        if split is None:
            return None
        result += split
    return tuple(result)


def _split(linear: Row, dims: Sequence[int], extents: Sequence[int]) -> list[Row] | None:
    """``linear`` as coordinates in row-major ``dims``."""
    result: list[Row] = []
    for n in reversed(dims[1:]):
        rest, here = [0] * len(linear), [0] * len(linear)
        rest[0], here[0] = divmod(linear[0], n)
        for a, k in enumerate(linear[1:], 1):
            if k % n == 0:
                rest[a] = k // n
            else:
                here[a] = k
        low, high = bounds(tuple(here), extents)
        if low < 0 or high >= n:
            for axis, k in enumerate(here[1:]):
                if 0 < k < n and n % k == 0 and extents[axis] % (n // k) == 0 and extents[axis] > n // k:
                    raise AxisTooCoarse(axis, n // k)
            return None
        result.append(tuple(here))
        linear = tuple(rest)
    return [linear, *reversed(result)]
