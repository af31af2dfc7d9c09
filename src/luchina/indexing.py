"""``x[...]``, reading and writing.

Integers, slices, ``None`` and ``...`` give a view; masks and integer tensors gather (or scatter) elements.
"""

from __future__ import annotations

from typing import Any

from luchina import dtypes, elements, views
from luchina.devices import CPU, device, present
from luchina.dispatch import install as install_calls
from luchina.dispatch.calls import Call
from luchina.face import expandable, settle
from luchina.graph.value import Value
from luchina.ops.movement import expand, reshape
from luchina.ops.pointwise import cast, dtype_title
from luchina.ops.registry import as_value
from luchina.ops.transfer import to_device
from luchina.overlap import check_partial_overlap, each_once, replacing
from luchina.tensor import Tensor, view_of, wrap_value


def _is_list_index(item: Any) -> bool:
    return isinstance(item, (list, tuple, range)) or (
        hasattr(item, "__array__") and not isinstance(item, Tensor) and getattr(item, "ndim", 0) > 0
    )


def _is_old_tuple(key: Any) -> bool:
    """A short list that holds lists, tensors or slices stands for a tuple, as in numpy of old and in PyTorch still."""
    return (
        isinstance(key, list)
        and len(key) < 32
        and any(e is None or e is Ellipsis or isinstance(e, (list, tuple, slice, Tensor)) for e in key)
    )


def _as_tensor(item: Any) -> Tensor:
    from luchina.creation import as_tensor

    result = as_tensor(list(item) if isinstance(item, range) else item)
    return result.to(dtypes.int64) if result.numel() == 0 and result.dtype.is_floating_point else result


def _items(key: Any, ndim: int) -> list[Any]:
    """The key as a list with an entry for each dimension it consumes (and None for new ones), ``...`` expanded."""
    items = list(key) if isinstance(key, tuple) or _is_old_tuple(key) else [key]
    items = [_as_tensor(list(i) if isinstance(i, tuple) else i) if _is_list_index(i) else i for i in items]
    used = 0
    ellipses = 0
    for item in items:
        if item is Ellipsis:
            ellipses += 1
        elif item is not None and not isinstance(item, bool):
            used += item.ndim if isinstance(item, Tensor) and item.dtype in (dtypes.bool_, dtypes.uint8) else 1
    if used > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    if ellipses:
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        rest = [i for i in items[at + 1 :] if i is not Ellipsis]
        items = [*items[:at], *[slice(None)] * (ndim - used), *rest]
    return items


def _is_integer(item: Any) -> bool:
    return (hasattr(item, "__index__") and not isinstance(item, (Tensor, bool))) or (
        isinstance(item, Tensor)
        and item.ndim == 0
        and not item.dtype.is_floating_point
        and item.dtype is not dtypes.bool_
        and item.dtype is not dtypes.uint8
    )


def _slice_bounds(item: slice, n: int) -> tuple[int, int, int]:
    step = 1 if item.step is None else int(item.step)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, step = slice(
        None if item.start is None else int(item.start), None if item.stop is None else int(item.stop), step
    ).indices(n)
    return start, max(0, -(-(stop - start) // step)), step


_LABELS = {"gone": "SelectBackward0", "new": "UnsqueezeBackward0", "axis": "SliceBackward0"}


def basic(x: Tensor, items: list[Any]) -> tuple[Tensor, list[Any]]:
    """The view that integers, slices and None ask for, and the tensor indices left for its dimensions."""
    cuts: dict[int, tuple[int, int, int]] = {}
    layout: list[tuple[str, Any]] = []  # of the result: a kept axis, a new one, an index tensor on an axis
    axis = 0
    whole = x
    for item in items:
        if item is None:
            # As PyTorch, which goes through the key from left to right: the axis that follows is still uncut.
            layout.append(("new", whole._shape[axis] * whole._strides[axis] if axis < whole.ndim else 1))
        elif isinstance(item, bool):
            layout.append(("bool", item))
        elif isinstance(item, slice):
            start, size, step = _slice_bounds(item, x.shape[axis])
            if (start, size, step) != (0, x.shape[axis], 1):
                cuts[axis] = (start, size, step)
            layout.append(("axis", axis))
            axis += 1
        elif _is_integer(item):
            n, i = x.shape[axis], int(item)
            if not -n <= i < n:
                raise IndexError(f"index {i} is out of bounds for dimension {axis} with size {n}")
            cuts[axis] = (i + n if i < 0 else i, 1, 1)
            layout.append(("gone", axis))
            axis += 1
        elif isinstance(item, str):
            raise TypeError("new(): invalid data type 'str'")
        elif isinstance(item, Tensor):
            width = item.ndim if item.dtype in (dtypes.bool_, dtypes.uint8) else 1
            for offset in range(width if item.dtype in (dtypes.bool_, dtypes.uint8) else 0):
                if item.shape[offset] != x.shape[axis + offset]:
                    raise IndexError(
                        f"The shape of the mask {list(item.shape)} at index {offset} does not match the shape of the "
                        f"indexed tensor {list(x.shape)} at index {axis + offset}"
                    )
            layout.append(("tensor", (axis, width, item)))
            axis += width
        else:
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
                f"{type(item).__name__})"
            )
    layout += [("axis", a) for a in range(axis, x.ndim)]
    if cuts:
        x = views.window(x, cuts)
    shape: list[int] = []
    strides: list[int] = []
    indices: list[Any] = []
    for kind, what in layout:
        if kind == "axis":
            shape.append(x._shape[what])
            strides.append(x._strides[what])
            indices.append(None)
        elif kind == "new":
            shape.append(1)
            strides.append(what)
            indices.append(None)
        elif kind == "bool":
            shape.append(1)
            strides.append(0)
            from luchina.creation import tensor

            indices.append(tensor([what]))
        elif kind == "tensor":
            start, width, item = what
            shape += x._shape[start : start + width]
            strides += x._strides[start : start + width]
            if item.dtype in (dtypes.bool_, dtypes.uint8) and item.ndim == 0:
                shape.append(1)
                strides.append(0)
                item = item.reshape(1)
            indices.append(item)
    if tuple(shape) != tuple(x._shape):
        asked = [kind for kind, what in layout if kind in ("gone", "new") or (kind == "axis" and what in cuts)]
        last = asked[-1] if asked else "axis"
        x = view_of(x, reshape(x._read(), tuple(shape)), tuple(shape), tuple(strides), x._offset, _LABELS[last])
    return x, indices


def _index_values(indices: list[Any], where: device) -> list[Value | None]:
    """One int64 Value (or None) for each dimension, on a device; a mask becomes the coordinates where it holds."""
    result: list[Value | None] = []
    for item in indices:
        if item is None:
            result.append(None)
        elif item.dtype in (dtypes.bool_, dtypes.uint8):
            from luchina.ops.index import nonzero

            places = nonzero(item._read())
            result += [_column(places, i) for i in range(item.ndim)]
        elif item.dtype.is_floating_point or item.dtype is dtypes.int16 or item.dtype is dtypes.int8:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        else:
            result.append(cast(item._read(), dtypes.int64))
    if present.accelerators:
        # An index of the CPU may point into any device's memory.
        return [to_device(v, where) if v is not None and v.device is CPU else v for v in result]
    return result


def _column(places: Value, i: int) -> Value:
    from luchina.ops.movement import slice_

    n = places.shape[0]
    return reshape(slice_(places, (0, i), (n, 1), (1, 1)), (n,))


_INT, _SLICE, _NEW, _REST = range(4)


def _spelt(key: Any) -> tuple[int | None, ...] | None:
    """A key of ints, slices, ``None`` and ``...`` as one flat tuple of ints and Nones, by which a call is remembered;
    None for any other key."""
    spelt: list[int | None] = []
    for item in key if key.__class__ is tuple else (key,):
        if item.__class__ is int:
            spelt += (_INT, item)
        elif item.__class__ is slice:
            spelt += (_SLICE, item.start, item.stop, item.step)
        elif item is None:
            spelt.append(_NEW)
        elif item is Ellipsis:
            spelt.append(_REST)
        else:
            return None
    return tuple(spelt)


def _read_out(spelt: tuple[int | None, ...]) -> tuple[Any, ...]:
    """The key that was spelt."""
    key: list[Any] = []
    parts = iter(spelt)
    for kind in parts:
        if kind == _INT:
            key.append(next(parts))
        elif kind == _SLICE:
            key.append(slice(next(parts), next(parts), next(parts)))
        else:
            key.append(None if kind == _NEW else Ellipsis)
    return tuple(key)


# A window on what was recorded: calls of this are remembered (see ``luchina.dispatch``).
_window = install_calls.function(Call(lambda self, spelt: _getitem(self, _read_out(spelt))))


def getitem(self: Tensor, key: Any) -> Tensor:
    """``x[key]``."""
    short = elements.window(self, key)
    if short is not None:
        return short
    if self._storage.value.buffer is None:
        spelt = _spelt(key)
        if spelt is not None:
            return _window(self, spelt)
    return _getitem(self, key)


def _getitem(self: Tensor, key: Any) -> Tensor:
    if key.__class__ is int and self.ndim:
        n = self._shape[0]
        if not -n <= key < n:
            raise IndexError(f"index {key} is out of bounds for dimension 0 with size {n}")
        return views.select(self, 0, key)
    if self.ndim == 0 and _is_integer(key):
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
            "0-dim tensor to a number"
        )
    x, indices = basic(self, _items(key, self.ndim))
    if all(i is None for i in indices):
        if x is self:
            return view_of(self, reshape(self._read(), tuple(self._shape)), self._shape, self._strides, self._offset)
        return x
    from luchina.ops.index import index_get

    result = wrap_value(index_get(x._read(), _index_values(indices, x.device)))
    settle((self,), result)
    return result


def setitem(self: Tensor, key: Any, value: Any) -> None:
    """``x[key] = value``."""
    if elements.write(self, key, value):
        return
    if self.ndim == 0 and _is_integer(key):
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
            "0-dim tensor to a number"
        )
    if isinstance(value, Tensor):
        source = value._read()
    elif isinstance(value, (bool, int, float)) or hasattr(value, "__index__"):
        source = as_value(value)
    else:
        kind = type(value)
        what = f"numpy.{kind.__name__}" if kind.__module__ == "numpy" else kind.__name__
        raise TypeError(f"can't assign a {what} to a {self.type()}")
    x, indices = basic(self, _items(key, self.ndim))
    if all(i is None for i in indices):
        if isinstance(value, Tensor):
            check_partial_overlap(x, value)
            if _same_window(x, value):  # the second half of ``x[key] += y``
                x._check_writable()
                x._counter.version += 1
                return
        _assign(each_once(x) if source.ndim == 0 else x, cast(source, self.dtype))
        return
    self._check_writable()
    masks = [i for i in indices if i is not None and i.dtype is dtypes.bool_]
    if (
        source.dtype is not self.dtype
        and isinstance(value, Tensor)
        and not (masks and (source.ndim == 0 or key is True))
    ):
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {dtype_title(self.dtype)} for the "
            f"destination and {dtype_title(source.dtype)} for the source."
        )
    source = cast(source, self.dtype)
    from luchina.ops.index import index_put

    values = _index_values(indices, x.device)
    x._write(index_put(x._read(), values, source, False))


def _same_window(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors show the same elements of one storage in the same order."""
    return x._storage is y._storage and x._offset == y._offset and x._shape == y._shape and x._strides == y._strides


def _assign(target: Tensor, source: Value) -> None:
    while source.ndim > target.ndim and source.shape[0] == 1:
        source = reshape(source, source.shape[1:])
    if not expandable(source.shape, target.shape):
        if source.ndim > target.ndim:
            raise RuntimeError(
                f"expand(torch.{target.type().removeprefix('torch.')}{{{list(source.shape)}}}, "
                f"size={list(target.shape)}): the "
                f"number of sizes provided ({target.ndim}) must be greater or equal to the number of dimensions in the "
                f"tensor ({source.ndim})"
            )
        lead = target.ndim - source.ndim
        axis = next(i for i, n in enumerate(source.shape) if n not in (1, target.shape[lead + i]))
        raise RuntimeError(
            f"The expanded size of the tensor ({target.shape[lead + axis]}) must match the existing size "
            f"({source.shape[axis]}) at non-singleton dimension {lead + axis}.  Target sizes: {list(target.shape)}.  "
            f"Tensor sizes: {list(source.shape)}"
        )
    target._write(replacing(target, expand(source, tuple(target.shape))))


def put(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """``index_put_``: write (or add) ``values`` at places given by index tensors."""
    self._check_writable()
    items = [_as_tensor(i) if _is_list_index(i) else i for i in indices]
    x, left = basic(self, _items(tuple(items), self.ndim))
    from luchina.ops.index import index_put

    x._write(index_put(x._read(), _index_values(left, x.device), cast(values._read(), self.dtype), accumulate))
    return self


def _put(self: Tensor, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
    """``index_put_`` on a copy."""
    return put(self.clone(), indices, values, accumulate)


def install() -> None:
    """Indexing as methods of ``Tensor``."""
    methods = {"__getitem__": getitem, "__setitem__": setitem, "index_put_": put, "index_put": _put}
    for name, method in methods.items():
        setattr(Tensor, name, method)
