"""The short way to single elements and small windows of memory that is computed already.

A loop over elements (``x[i].item()``, ``y[i] = 3.0``) is Python, not a program: nothing is recorded for it. Every
function here says None or False where anything is out of the ordinary (gradients, pending numbers, masks, memory of
somebody else), and the caller goes the long way.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

from luchina import dtypes
from luchina.dispatch import install as install_calls
from luchina.dispatch.calls import Call
from luchina.graph import program
from luchina.graph.value import from_buffer, mode
from luchina.runtime import buffers
from luchina.runtime.accelerators import on_host
from luchina.runtime.accelerators import window as window_on
from luchina.runtime.buffers import Buffer
from luchina.shape import Size
from luchina.tensor import Tensor, layout_of, wrap_value

_C_TYPES: dict[Any, Any] = {
    dtypes.float32: ctypes.c_float, dtypes.float64: ctypes.c_double, dtypes.int64: ctypes.c_int64,
    dtypes.int32: ctypes.c_int32, dtypes.int16: ctypes.c_int16, dtypes.int8: ctypes.c_int8,
    dtypes.uint8: ctypes.c_uint8, dtypes.bool_: ctypes.c_bool,
}  # fmt: skip
_LIMITS = {
    d: (dtypes.iinfo(d).min, dtypes.iinfo(d).max) for d in _C_TYPES if not d.is_floating_point and d is not dtypes.bool_
}
_NUMBERS = (int, float, bool)


def read(x: Tensor, offset: int) -> Any:
    """The Python number at ``offset`` of the tensor's storage, computed if need be; None for 16-bit floats."""
    kind = _C_TYPES.get(x._dtype)
    if kind is None:
        return None
    value = x._storage.value
    if value.buffer is None:
        value = x._storage.realize()
    assert value.buffer is not None
    block = value.buffer
    if block.__class__ is not Buffer:
        size = x._dtype.itemsize
        return kind.from_address(on_host(window_on(block, offset * size, size)).ptr).value
    return kind.from_address(block.ptr + offset * x._dtype.itemsize).value


def _place(x: Tensor, key: Any) -> tuple[list[int], list[int], int] | None:
    """Shape, strides and offset of the window that integers and slices ask for; None for any other key."""
    shape, strides, offset = x._shape, x._strides, x._offset
    items = key if key.__class__ is tuple else (key,)
    if len(items) > len(shape):
        return None
    sizes: list[int] = []
    steps: list[int] = []
    for axis, item in enumerate(items):
        n = shape[axis]
        kind = item.__class__
        if kind is slice:
            start, stop, step = item.start, item.stop, item.step
            for bound in (start, stop, step):
                if bound is not None and bound.__class__ is not int:
                    return None
            if step is not None and step <= 0:
                return None
            start, stop, step = item.indices(n)
            sizes.append(max(0, -(-(stop - start) // step)))
            steps.append(strides[axis] * step)
            offset += start * strides[axis]
            continue
        if kind is not int:
            if kind is not Tensor or item._shape or item._dtype is not dtypes.int64:
                return None
            item = read(item, item._offset)
        if not -n <= item < n:
            return None
        offset += (item + n if item < 0 else item) * strides[axis]
    used = len(items)
    sizes += shape[used:]
    steps += strides[used:]
    return sizes, steps, offset


def window(x: Tensor, key: Any) -> Tensor | None:
    """``x[key]`` for integers and slices, if no gradient can flow through it: a view that is only looked up when it is
    read."""
    storage = x._storage
    root = storage.value
    if root.buffer is None or root.needs_grad or x._leaf or x._detached:
        return None
    base = x._base
    if base is not None and (base._leaf or base._detached):
        return None
    place = _place(x, key)
    if place is None:
        return None
    shape, strides, offset = place
    reach = 1
    for n, step in zip(shape, strides):
        if n == 0:
            return None
        reach += (n - 1) * step
    if reach >= math.prod(root.shape):
        return None
    view: Any = object.__new__(Tensor)
    view._storage = storage
    view._shape = Size(shape) if shape else _SCALAR
    view._strides = tuple(strides)
    view._dense = view._strides == layout_of(view._shape)[1]
    view._offset = offset
    view._dtype = x._dtype
    view._counter = x._counter
    view._value = None
    view._generation = -1
    view._base = x if base is None else base
    return view


_SCALAR = Size()


def write(x: Tensor, key: Any, number: Any) -> bool:
    """``x[key] = number`` for a single element, at once; False if it has to be recorded.

    That is safe only while nothing is pending: whatever was recorded before must still see the old number.
    """
    storage = x._storage
    root = storage.value
    buffer = root.buffer
    if buffer.__class__ is not Buffer or root.needs_grad or x._leaf or x._detached:
        return False
    if buffer.is_external or program.pending_count():
        return False
    base = x._base
    if base is not None and (base._leaf or base._detached or x._multi_view is not None):
        return False
    if x._counter.inference and not mode.inference:
        return False
    if number.__class__ is Tensor:
        if number._shape or number._storage.value.buffer is None or number.requires_grad:
            return False
        number = read(number, number._offset)
    if number.__class__ not in _NUMBERS:
        return False
    kind = _C_TYPES.get(x._dtype)
    place = _place(x, key)
    if kind is None or place is None or any(n != 1 for n in place[0]):
        return False
    limits = _LIMITS.get(x._dtype)
    if limits is not None:
        if number.__class__ is float:
            if not math.isfinite(number):
                return False
            number = int(number)
        if not limits[0] <= number <= limits[1]:
            return False
    elif x._dtype is dtypes.bool_:
        number = bool(number)
    kind.from_address(buffer.ptr + place[2] * x._dtype.itemsize).value = number
    storage.value = from_buffer(buffer, root.shape, root.dtype)
    storage.generation += 1
    x._counter.version += 1
    return True


FEW = 4
SMALL = 1 << 20  # bytes


def joined(tensors: Any, new_axis: bool) -> Tensor | None:
    """Many small computed tensors along the first dimension (or along a new one), copied at once.

    A batch that is put together from rows would else be a program with as many inputs as there are rows, and another
    one for every number of rows.
    """
    if tensors.__class__ not in (list, tuple) or len(tensors) < FEW or tensors[0].__class__ is not Tensor:
        return None
    first = tensors[0]
    shape, d = first._shape, first._dtype
    rest = shape if new_axis else shape[1:]
    if not (new_axis or shape):
        return None
    size = math.prod(rest) * d.itemsize
    parts, rows = [], 0
    for x in tensors:
        if x.__class__ is not Tensor or x._leaf or x._detached or x._dtype is not d or not x.is_contiguous():
            return None
        root = x._storage.value
        base = x._base
        if root.buffer.__class__ is not Buffer or root.needs_grad:
            return None
        if base is not None and (base._leaf or base._detached):
            return None
        if (x._shape if new_axis else x._shape[1:]) != rest or (not new_axis and len(x._shape) != len(shape)):
            return None
        n = 1 if new_axis else x._shape[0]
        parts.append((root.buffer.ptr + x._offset * d.itemsize, n * size))
        rows += n
    if not 0 < rows * size <= SMALL:
        return None
    buffer = buffers.allocate(rows * size)
    at = buffer.ptr
    for pointer, n in parts:
        if n:
            ctypes.memmove(at, pointer, n)
            at += n
    return wrap_value(from_buffer(buffer, (rows, *rest), d))


def _short_way(name: str, long: Callable[..., Tensor]) -> Callable[..., Tensor]:
    spread = install_calls.function(Call(lambda dim, *tensors: long(tensors, dim)))  # remembered, a tensor an argument

    @functools.wraps(long)
    def function(tensors: Any, dim: int = 0, **options: Any) -> Tensor:
        if dim.__class__ is not int or options or tensors.__class__ not in (list, tuple):
            return long(tensors, dim, **options)
        if dim == 0:
            short = joined(tensors, name == "stack")
            if short is not None:
                return short
        return spread(dim, *tensors)

    return function


def install(namespace: dict[str, Any]) -> None:
    """``cat`` and ``stack`` that try the short way first."""
    for name in ("cat", "stack"):
        namespace[name] = _short_way(name, namespace[name])
