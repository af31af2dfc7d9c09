"""Views: other windows on the same memory.

Each function works out shape, strides and offset by PyTorch's rules, and the Value as the matching movement of the
source's
Value, so that gradients flow through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from luchina.dispatch import install as install_calls
from luchina.dispatch.calls import Call
from luchina.graph.value import mode
from luchina.ops import movement
from luchina.ops.movement import contiguous_strides
from luchina.ops.pointwise import dtype_title
from luchina.ops.registry import axis_of
from luchina.shape import as_shape
from luchina.tensor import Tensor, view_of, wrap_value


def view_strides(shape: Sequence[int], strides: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
    """Strides with which a window of ``shape`` and ``strides`` can be seen as ``new``; None if it takes a copy.

    Runs of dimensions that are contiguous among themselves are regrouped; a new dimension may not cross from one run
    into another.
    """
    if 0 in shape:
        return contiguous_strides(new)
    result: list[int] = []
    at = len(new) - 1
    axis = len(shape) - 1
    while axis >= 0:
        run, step = shape[axis], strides[axis]
        while axis > 0 and (shape[axis - 1] == 1 or run == 1 or strides[axis - 1] == run * step):
            axis -= 1
            if run == 1:
                step = strides[axis]
            run *= shape[axis]
        axis -= 1
        filled = 1
        while at >= 0 and (filled < run or new[at] == 1):
            result.append(step * filled)
            filled *= new[at]
            at -= 1
        if filled != run:
            return None
    while at >= 0:
        if new[at] != 1:
            return None
        result.append(result[-1] * new[at + 1] if result else 1)
        at -= 1
    return tuple(reversed(result))


def infer_shape(sizes: tuple[int, ...], numel: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes with a −1 replaced by what is left."""
    known, unknown = 1, None
    for i, n in enumerate(sizes):
        if n == -1:
            if unknown is not None:
                raise RuntimeError("only one dimension can be inferred")
            unknown = i
        elif n < 0:
            raise RuntimeError(f"invalid shape dimension {n}")
        else:
            known *= n
    fits = numel == known if unknown is None else known > 0 and numel % known == 0
    if not fits:
        if unknown is not None and known == 0 and numel == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(sizes)} because the "
                f"unspecified dimension size -1 "
                "can be any value and is ambiguous"
            )
        raise RuntimeError(f"shape '{list(sizes)}' is invalid for input of size {numel}")
    if unknown is None:
        return sizes
    return (*sizes[:unknown], numel // known, *sizes[unknown + 1 :])


def view(self: Tensor, *shape: Any) -> Tensor:
    """The same memory under another shape (one size may be −1), or as another dtype of the same width.

    Source: https://pytorch.org/docs/stable/generated/torch.Tensor.view.html
    """
    from luchina.dtypes import dtype

    if len(shape) == 1 and isinstance(shape[0], dtype):
        return _as_dtype(self, shape[0])
    new = infer_shape(as_shape(shape, "view"), self.numel(), self._shape)
    strides = view_strides(self._shape, self._strides, new)
    if strides is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return view_of(self, movement.reshape(self._read(), new), new, strides, self._offset, "ViewBackward0")


def _as_dtype(self: Tensor, d: Any) -> Tensor:
    """The same bytes as numbers of another dtype: memory that both share from now on."""
    from luchina.creation import on_memory

    old, new = self.dtype.itemsize, d.itemsize
    names = (dtype_title(self.dtype), dtype_title(d))
    if d is self.dtype:
        return view_of(self, movement.reshape(self._read(), self._shape), self._shape, self._strides, self._offset)
    if self.requires_grad and mode.grad:
        raise NotImplementedError("view(dtype) of a tensor that requires grad is not there yet: detach it first")
    shape, strides = tuple(self._shape), tuple(self._strides)
    if old != new:
        sizes = f"to view {names[0]} as {names[1]} (different element sizes)"
        if not shape:
            raise RuntimeError(f"self.dim() cannot be 0 {sizes}")
        if strides[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 {sizes}, but got {strides[-1]}")
        times = new // old
        if times > 1:
            if shape[-1] % times:
                raise RuntimeError(f"self.size(-1) must be divisible by {times} {sizes}, but got {shape[-1]}")
            for axis, stride in enumerate(strides[:-1]):
                if stride % times:
                    raise RuntimeError(f"self.stride({axis}) must be divisible by {times} {sizes}, but got {stride}")
            if self._offset % times:
                raise RuntimeError(
                    f"self.storage_offset() must be divisible by {times} {sizes}, but got {self._offset}"
                )
        shape = (*shape[:-1], shape[-1] * old // new)
        strides = (*[s * old // new for s in strides[:-1]], 1)
    reach = 1 + sum((n - 1) * s for n, s in zip(shape, strides)) if 0 not in shape else 0
    return on_memory(self._shared_memory(reach * new), reach, shape, strides, d)


def reshape(self: Tensor, *shape: Any) -> Tensor:
    """Another shape: a view where that is possible, else a copy."""
    new = infer_shape(as_shape(shape, "reshape", "shape"), self.numel(), self._shape)
    strides = view_strides(self._shape, self._strides, new)
    value = movement.reshape(self._read(), new)
    if strides is None:
        return wrap_value(value if value is not self._read() else movement.clone(value))
    return view_of(self, value, new, strides, self._offset, "ViewBackward0")


def permute(self: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order."""
    axes = as_shape(dims, "permute", "dims")
    if len(axes) != self.ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {self.ndim} is not equal to len(dims) = {len(axes)}"
        )
    axes = tuple(axis_of(a, self.ndim) for a in axes)
    if len(set(axes)) != len(axes):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return _permuted(self, axes)


def _permuted(self: Tensor, axes: tuple[int, ...]) -> Tensor:
    shape = tuple([self._shape[a] for a in axes])
    strides = tuple([self._strides[a] for a in axes])
    return view_of(self, movement.permute(self._read(), axes), shape, strides, self._offset)


def transpose(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged."""
    a, b = axis_of(dim0, self.ndim), axis_of(dim1, self.ndim)
    shape, strides = list(self._shape), list(self._strides)
    if self.ndim == 0:
        return view_of(self, movement.reshape(self._read(), ()), (), (), self._offset)
    shape[a], shape[b] = shape[b], shape[a]
    strides[a], strides[b] = strides[b], strides[a]
    return view_of(self, movement.transpose(self._read(), a, b), tuple(shape), tuple(strides), self._offset)


def t(self: Tensor) -> Tensor:
    """A matrix transposed; fewer dimensions stay as they are."""
    if self.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {self.ndim}D")
    if self.ndim < 2:
        return view_of(
            self,
            movement.reshape(self._read(), tuple(self._shape)),
            self._shape,
            self._strides,
            self._offset,
            "TBackward0",
        )
    return view_of(self, movement.T(self._read()), self._shape[::-1], self._strides[::-1], self._offset)


def movedim(self: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Dimensions moved to other places, the rest in order."""
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    if len(sources) != len(targets):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({sources} dims) should contain the "
            f"same number of dims "
            f"as destination ({targets} dims)"
        )
    if self.ndim == 0:
        return self
    origin = [axis_of(d, self.ndim) for d in sources]
    goal = [axis_of(d, self.ndim) for d in targets]
    axes: list[int] = [-1] * self.ndim
    for a, b in zip(origin, goal):
        axes[b] = a
    rest = iter(a for a in range(self.ndim) if a not in origin)
    return _permuted(self, tuple(next(rest) if a == -1 else a for a in axes))


def squeeze(self: Tensor, dim: Any = None) -> Tensor:
    """Without its dimensions of extent 1 (or only without the given ones, where their extent is 1)."""
    if dim is None:
        gone = {i for i, n in enumerate(self._shape) if n == 1}
    else:
        dims = dim if isinstance(dim, (tuple, list)) else (dim,)
        axes = [axis_of(d, self.ndim) for d in dims]
        gone = {a for a in axes if self.ndim and self._shape[a] == 1}
    kept = [i for i in range(self.ndim) if i not in gone]
    shape = tuple([self._shape[i] for i in kept])
    label = "SqueezeBackward0" if dim is None else "SqueezeBackward1"
    return view_of(
        self, movement.reshape(self._read(), shape), shape, tuple([self._strides[i] for i in kept]), self._offset, label
    )


def unsqueeze(self: Tensor, dim: int) -> Tensor:
    """With a new dimension of extent 1 at ``dim``."""
    axis = axis_of(dim, self.ndim + 1)
    shape = (*self._shape[:axis], 1, *self._shape[axis:])
    step = self._strides[axis] * self._shape[axis] if axis < self.ndim else 1
    strides = (*self._strides[:axis], step, *self._strides[axis:])
    return view_of(self, movement.reshape(self._read(), shape), shape, strides, self._offset, "UnsqueezeBackward0")


def expand(self: Tensor, *sizes: Any) -> Tensor:
    """Dimensions of extent 1 repeated without a copy; −1 keeps an extent, new ones come in front."""
    wanted = as_shape(sizes, "expand")
    lead = len(wanted) - self.ndim
    if lead < 0:
        raise RuntimeError(
            f"expand(torch.{self.type().removeprefix('torch.')}{{{list(self._shape)}}}, "
            f"size={list(wanted)}): the number of "
            f"sizes provided ({len(wanted)}) must be greater or equal to the number of dimensions in the tensor "
            f"({self.ndim})"
        )
    shape, strides = [], []
    for i, n in enumerate(wanted):
        if i < lead:
            if n == -1:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}"
                )
            shape.append(n)
            strides.append(0)
            continue
        have = self._shape[i - lead]
        if n in (-1, have):
            shape.append(have)
            strides.append(self._strides[i - lead])
        elif have == 1:
            shape.append(n)
            strides.append(0)
        else:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({have}) at "
                f"non-singleton dimension "
                f"{i}.  Target sizes: {list(wanted)}.  Tensor sizes: {list(self._shape)}"
            )
    return view_of(self, movement.expand(self._read(), tuple(shape)), tuple(shape), tuple(strides), self._offset)


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Expanded to the shape of ``other``."""
    return expand(self, *other._shape)


def broadcast_to(self: Tensor, shape: Sequence[int]) -> Tensor:
    """Expanded to ``shape``."""
    return expand(self, *shape)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """Viewed in the shape of ``other``."""
    return view(self, *other._shape)


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """Reshaped to the shape of ``other``."""
    return reshape(self, *other._shape)


def flatten(self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from ``start_dim`` to ``end_dim`` as one."""
    start, end = axis_of(start_dim, self.ndim), axis_of(end_dim, self.ndim)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if self.ndim == 0:
        return reshape(self, 1)
    if start == end:
        return self
    n = 1
    for extent in self._shape[start : end + 1]:
        n *= extent
    return reshape(self, *self._shape[:start], n, *self._shape[end + 1 :])


def unflatten(self: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension as several."""
    axis = axis_of(dim, self.ndim)
    if self.ndim == 0:
        raise RuntimeError("unflatten: a tensor of at least 1 dimension is expected")
    extent = self._shape[axis]
    if -1 not in sizes and prod(sizes) != extent:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {axis} ({extent}) in the "
            "input tensor"
        )
    inner = infer_shape(tuple(sizes), extent, sizes)
    return view(self, *self._shape[:axis], *inner, *self._shape[axis + 1 :])


def ravel(self: Tensor) -> Tensor:
    """As one dimension."""
    return reshape(self, -1)


def slice_view(self: Tensor, axis: int, start: int, size: int, step: int, label: str = "SliceBackward0") -> Tensor:
    """``size`` elements along ``axis`` from ``start`` with ``step``."""
    return window(self, {axis: (start, size, step)}, label)


def window(self: Tensor, cuts: dict[int, tuple[int, int, int]], label: str = "SliceBackward0") -> Tensor:
    """Several axes sliced at once: axis -> (start, size, step)."""
    starts, sizes, steps = [0] * self.ndim, list(self._shape), [1] * self.ndim
    strides, offset = list(self._strides), self._offset
    for axis, (start, size, step) in cuts.items():
        starts[axis], sizes[axis], steps[axis] = start, size, step
        offset += start * strides[axis]
        strides[axis] *= step
    value = movement.slice_(self._read(), starts, sizes, steps) if 0 not in sizes else None
    if value is None:
        value = movement.slice_(self._read(), [0] * self.ndim, sizes, [1] * self.ndim)
    return view_of(self, value, tuple(sizes), tuple(strides), offset, label)


def narrow(self: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """``length`` elements along ``dim`` from ``start``."""
    axis = axis_of(dim, self.ndim)
    if self.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    n = self._shape[axis]
    start = int(start)
    if not -n <= start <= n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n}], but got {start})")
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return slice_view(self, axis, start, length, 1)


def select(self: Tensor, dim: int, index: Any) -> Tensor:
    """One slice along ``dim``, without that dimension."""
    if self.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis = axis_of(dim, self.ndim)
    n = self._shape[axis]
    index = int(index)
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(self._shape)} at dimension {axis}"
        )
    index = index + n if index < 0 else index
    cut = slice_view(self, axis, index, 1, 1)
    return _drop(cut, axis)


def _drop(self: Tensor, axis: int) -> Tensor:
    shape = self._shape[:axis] + self._shape[axis + 1 :]
    strides = self._strides[:axis] + self._strides[axis + 1 :]
    return view_of(self, movement.reshape(self._read(), tuple(shape)), shape, strides, self._offset, "SelectBackward0")


def split(self: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive pieces along ``dim``: of one size (the last may be smaller) or of the given sizes."""
    if self.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    axis = axis_of(dim, self.ndim)
    n = self._shape[axis]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0:
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
        if size == 0 and n != 0:
            raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
        sizes = [min(size, n - i) for i in range(0, n, size)] if n else [0]
        name = "Split"
    else:
        sizes = [int(s) for s in split_size_or_sections]
        if sum(sizes) != n or any(s < 0 for s in sizes):
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
                f"dimension {axis}), "
                f"but got split_sizes={sizes}"
            )
        name = "SplitWithSizes"
    result, start = [], 0
    for i, size in enumerate(sizes):
        piece = slice_view(self, axis, start, size, 1, "SplitBackward0")
        piece._multi_view = (name, i)
        result.append(piece)
        start += size
    return tuple(result)


def chunk(self: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most ``chunks`` equal pieces along ``dim``."""
    if self.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = self._shape[axis_of(dim, self.ndim)]
    size = -(-n // chunks)
    if size == 0:
        return split(self, [0] * chunks, dim)
    return split(self, size, dim)


def tensor_split(self: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views split at indices, or into a number of nearly equal parts."""
    if self.ndim == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    axis = axis_of(dim, self.ndim)
    n = self._shape[axis]
    if isinstance(indices_or_sections, int):
        parts = indices_or_sections
        if parts <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {parts}")
        sizes = [n // parts + (i < n % parts) for i in range(parts)]
        cuts = [sum(sizes[:i]) for i in range(1, parts)]
    else:
        cuts = [int(i) for i in indices_or_sections]
    edges = [0, *[min(max(c + n if c < 0 else c, 0), n) for c in cuts], n]
    return tuple(slice_view(self, axis, a, max(b - a, 0), 1) for a, b in zip(edges, edges[1:]))


def unbind(self: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of every slice along ``dim``."""
    if self.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    axis = axis_of(dim, self.ndim)
    from luchina.elements import window as plain_window

    result = []
    before = (slice(None),) * axis
    for i in range(self._shape[axis]):
        piece = plain_window(self, (*before, i))
        if piece is None:
            piece = select(self, axis, i)
        if piece._value is not None and piece._value.needs_grad:
            piece._value.label = "UnbindBackward0"
        piece._multi_view = ("Unbind", i)
        result.append(piece)
    return tuple(result)


def diagonal(self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of a diagonal of two dimensions, as the last dimension."""
    a, b = axis_of(dim1, self.ndim), axis_of(dim2, self.ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n, m = self._shape[a], self._shape[b]
    length = max(min(n, m - offset) if offset >= 0 else min(n + offset, m), 0)
    start = 0
    if length:
        start = offset * self._strides[b] if offset >= 0 else -offset * self._strides[a]
    kept = [i for i in range(self.ndim) if i not in (a, b)]
    shape = (*[self._shape[i] for i in kept], length)
    strides = (*[self._strides[i] for i in kept], self._strides[a] + self._strides[b])
    return _strided_view(self, shape, strides, self._offset + start, "DiagonalBackward0")


def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """A view of all windows of ``size`` along a dimension, ``step`` apart, as a new last dimension."""
    axis = axis_of(dimension, self.ndim)
    n = self._shape[axis] if self.ndim else 1
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {axis} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    shape, strides = list(self._shape), list(self._strides)
    shape[axis] = (n - size) // step + 1
    strides[axis] *= step
    return _strided_view(self, (*shape, size), (*strides, self._strides[axis]), self._offset)


def _strided_view(
    self: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, label: str | None = None
) -> Tensor:
    """A view given by strides in the storage; its Value is a window on this tensor's own Value where that is whole."""
    if self._is_whole():
        value = movement.strided(self._read(), shape, strides, offset)
        return view_of(self, value, shape, strides, offset, label)
    if self.requires_grad:
        own = contiguous_strides(self._shape)
        scale = {s: o for s, o, n in zip(self._strides, own, self._shape) if n > 1}
        mapped = _map_strides(strides, scale)
        if mapped is not None:
            inner = _map_offset(offset - self._offset, self._shape, self._strides, own)
            return view_of(self, movement.strided(self._read(), shape, mapped, inner), shape, strides, offset)
        raise RuntimeError("this view of a non-contiguous view is not differentiable yet: call .contiguous() first")
    return view_of(self, None, shape, strides, offset)


def _map_strides(strides: Sequence[int], scale: dict[int, int]) -> tuple[int, ...] | None:
    """Strides in memory as strides in row-major order of the tensor's own elements, as sums of its axes' steps."""
    result = []
    for s in strides:
        found = next((o * (s // m) for m, o in scale.items() if s == m), None)
        if found is None:
            found = next((scale[m] + scale[k] for m in scale for k in scale if m < k and m + k == s), None)
        if found is None:
            return None
        result.append(found)
    return tuple(result)


def _map_offset(offset: int, shape: Sequence[int], strides: Sequence[int], own: Sequence[int]) -> int:
    result = 0
    for _, stride, mine in sorted(zip(shape, strides, own), key=lambda e: -e[1]):
        if stride:
            result += offset // stride * mine
            offset %= stride
    return result


def as_strided(self: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """Any window on the tensor's storage.

    Source: https://pytorch.org/docs/stable/generated/torch.as_strided.html
    """
    shape, strides = tuple(size), tuple(stride)
    offset = self._offset if storage_offset is None else storage_offset
    if len(shape) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in strides):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got strides: " + str(list(strides))
        )
    reach = offset + sum((n - 1) * s for n, s in zip(shape, strides)) + 1 if 0 not in shape else 0
    if reach > self._storage.value.size:
        width = self.dtype.itemsize
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize {width} "
            f"requiring a storage size of {reach * width} are out of bounds for storage of size {self._storage.nbytes}"
        )
    return _strided_view(self, shape, strides, offset)


METHODS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        view, reshape, permute, transpose, t, movedim, squeeze, unsqueeze, expand, expand_as, view_as, reshape_as,
        flatten, unflatten, ravel, narrow, select, split, chunk, tensor_split, unbind, diagonal, unfold, as_strided,
        broadcast_to,
    )
}  # fmt: skip
METHODS["swapaxes"] = METHODS["swapdims"] = transpose
METHODS["moveaxis"] = movedim
METHODS["split_with_sizes"] = split
FUNCTIONS = {
    k: f for k, f in METHODS.items() if k not in ("view", "view_as", "reshape_as", "expand", "expand_as", "unfold")
}


def _in_place(view: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """``squeeze_`` and its like: the tensor itself becomes the view of what it was."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._check_writable()
        seen = view(self, *args, **kwargs)
        self._shape, self._strides, self._offset = seen._shape, seen._strides, seen._offset
        self._dense = seen._dense
        self._generation = -1
        self._counter.version += 1
        return self

    method.__name__ = name
    method.__doc__ = f"In-place version of ``{view.__name__}``."
    return method


def _matrix_transpose(self: Tensor) -> Tensor:
    if self.ndim == 0:
        return self
    if self.ndim == 1:
        raise RuntimeError(f"tensor.mT is only supported on matrices or batches of matrices. Got {self.ndim}-D tensor.")
    return transpose(self, -2, -1)


# Calls of these are remembered: see ``luchina.dispatch``.
_REPLAYED = ("view", "reshape", "transpose", "permute", "unsqueeze", "flatten", "t", "split", "chunk", "unbind")


def install(namespace: dict[str, Any]) -> None:
    """Views as methods and functions."""
    for name, function in METHODS.items():
        setattr(Tensor, name, function)
    namespace.update(FUNCTIONS)
    for name in _REPLAYED:
        call = Call(METHODS[name], views=True)
        setattr(Tensor, name, install_calls.method(name, call))
        if name in FUNCTIONS:
            namespace[name] = install_calls.function(call)
    for name in ("squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t"):
        setattr(Tensor, f"{name}_", _in_place(METHODS[name], f"{name}_"))
    setattr(Tensor, "T", property(lambda self: _permuted(self, tuple(range(self.ndim))[::-1])))
    setattr(Tensor, "mT", property(_matrix_transpose))
    setattr(Tensor, "H", property(t))
