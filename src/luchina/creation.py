"""Making tensors: from data, from numbers, from other people's memory."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from luchina import devices, dtypes
from luchina.dtypes import dtype
from luchina.graph import program
from luchina.graph.value import Value, from_buffer, mode, scalar
from luchina.ops import creation as ops
from luchina.ops.movement import contiguous_strides
from luchina.ops.transfer import to_device
from luchina.options import check, makes
from luchina.runtime import accelerators, buffers
from luchina.shape import Size, as_shape
from luchina.storage import Storage
from luchina.tensor import Tensor, make, wrap_value


def _finish(tensor: Tensor, device: Any, requires_grad: bool) -> Tensor:
    """The new tensor on its device, and a leaf if a gradient is wanted."""
    where = devices.resolve(device)
    if where is not devices.CPU or devices.present.accelerators:
        value = tensor._read()
        if value.device is not where:
            tensor = moved(tensor, where)
    if requires_grad and not tensor.dtype.is_floating_point:
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    return tensor.requires_grad_() if requires_grad else tensor


def moved(tensor: Tensor, where: devices.device) -> Tensor:
    """A tensor that nobody else holds, on another device."""
    result = wrap_value(to_device(tensor._storage.value, where), type(tensor))
    result._shape, result._strides, result._moved = tensor._shape, tensor._strides, tensor._moved
    result._dense, result._generation = tensor._dense, -1
    return result


def _check_sizes(shape: Sequence[int], name: str = "") -> tuple[int, ...]:
    for n in shape:
        if n < 0:
            if name in ("zeros", "ones"):
                raise RuntimeError(f"{name}: Dimension size must be non-negative.")
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(shape)}")
    return tuple(shape)


def _pick_dtype(d: dtype | None) -> dtype:
    if d is None:
        return dtypes.get_default_dtype()
    return as_dtype(d)


_PYTHON_TYPES = {float: dtypes.float64, int: dtypes.int64, bool: dtypes.bool_}


def as_dtype(d: Any) -> dtype:
    """A dtype, also given as Python's ``float``, ``int`` or ``bool``."""
    if isinstance(d, dtype):
        return d
    if d in _PYTHON_TYPES:
        return _PYTHON_TYPES[d]
    raise TypeError(f"dtype must be a luchina dtype, not {d!r}")


# ---- from data


def from_array(array: np.ndarray, d: dtype, cls: type = Tensor) -> Tensor:
    """A tensor with a copy of a host array's numbers (bfloat16 given as its bits)."""
    array = np.ascontiguousarray(array, d.numpy).reshape(array.shape)
    buffer = buffers.allocate(array.nbytes)
    if array.nbytes:
        ctypes.memmove(buffer.ptr, array.ctypes.data, array.nbytes)
    return wrap_value(from_buffer(buffer, array.shape, d), cls)


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """Bits of the nearest bfloat16 of each number, halves to even; nan stays nan."""
    wide = np.ascontiguousarray(array, np.float32)
    bits = wide.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(wide), np.uint16(0x7FC0), rounded).astype(np.uint16)


def _shape_of(data: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(data, (list, tuple)):
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    if hasattr(data, "shape") and shape:
        shape += data.shape
    return tuple(shape)


def _check_nesting(data: Any, shape: tuple[int, ...], axis: int = 0) -> None:
    """PyTorch's error for ragged lists."""
    if axis == len(shape):
        if isinstance(data, (list, tuple)):
            raise ValueError(f"too many dimensions '{type(data).__name__}'")
        return
    if not isinstance(data, (list, tuple)):
        if isinstance(data, np.ndarray):
            if not data.ndim:
                raise TypeError("len() of unsized object")
            if data.shape != shape[axis:]:
                raise ValueError(f"expected sequence of length {shape[axis]} at dim {axis} (got {len(data)})")
        if hasattr(data, "shape"):
            if isinstance(data, Tensor) and data.ndim and data.numel() != 1:
                raise ValueError("only one element tensors can be converted to Python scalars")
            return
        raise TypeError(f"not a sequence: {type(data).__name__}")
    if len(data) != shape[axis]:
        raise ValueError(f"expected sequence of length {shape[axis]} at dim {axis} (got {len(data)})")
    for element in data:
        _check_nesting(element, shape, axis + 1)


def _leaves(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        for element in data:
            yield from _leaves(element)
    else:
        yield data


def _infer(data: Any) -> dtype:
    """The dtype that PyTorch gives nested Python data."""
    kinds = set()
    for x in _leaves(data):
        if isinstance(x, Tensor):
            kinds.add(x.dtype)
        elif isinstance(x, (bool, np.bool_)):
            kinds.add(dtypes.bool_)
        elif isinstance(x, (np.generic, np.ndarray)):
            if x.dtype not in dtypes.FROM_NUMPY:
                raise TypeError(_numpy_types(x.dtype))
            kinds.add(dtypes.FROM_NUMPY[x.dtype])
        elif isinstance(x, int):
            kinds.add(dtypes.int64)
        elif isinstance(x, float):
            kinds.add(dtypes.get_default_dtype())
        elif isinstance(x, complex):
            raise TypeError("luchina has no complex dtypes yet")
        elif isinstance(x, str):
            raise (
                ValueError("too many dimensions 'str'")
                if isinstance(data, (list, tuple))
                else TypeError("new(): invalid data type 'str'")
            )
        else:
            raise RuntimeError(f"Could not infer dtype of {type(x).__name__}")
    result = None
    for d in kinds:
        result = d if result is None else dtypes.promote_types(result, d)
    return result or dtypes.get_default_dtype()


def tensor(
    data: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A new tensor with a copy of ``data``: numbers, nested lists, arrays, tensors.

    >>> import luchina
    >>> luchina.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])

    Source: https://pytorch.org/docs/stable/generated/torch.tensor.html
    """
    devices.resolve(device)
    check(pin_memory=pin_memory)
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        import warnings

        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        result = data.detach().clone() if wanted in (None, data.dtype) else data.detach().to(wanted)
        return _finish(result, data.device if device is None else device, requires_grad)
    return _finish(_from_data(data, wanted), device, requires_grad)


def _from_data(data: Any, wanted: dtype | None) -> Tensor:
    if isinstance(data, np.ndarray) or (isinstance(data, np.generic) and not isinstance(data, (float, int))):
        source = dtypes.FROM_NUMPY.get(data.dtype)
        if source is None:
            raise TypeError(_numpy_types(data.dtype))
        array = np.asarray(data)
        found = wanted or source
    else:
        if isinstance(data, range):
            data = list(data)
        if hasattr(data, "__array__") and not isinstance(data, (list, tuple)):
            return _from_data(np.asarray(data), wanted)
        uniform = _uniform(data)
        if uniform is not None and wanted is None and uniform is not int:
            found = dtypes.bool_ if uniform is bool else dtypes.get_default_dtype()
            return _rounded(np.array(data, dtype=np.float64 if uniform is float else np.bool_), found)
        shape = _shape_of(data)
        if uniform is None:
            _check_nesting(data, shape)
        found = wanted or (dtypes.int64 if uniform is int else _infer(data))
        plain = _plain(data) if uniform is None else data
        if not found.is_floating_point and found is not dtypes.bool_:
            limits = dtypes.iinfo(found)
            array = np.array(plain, dtype=object).reshape(shape) if not shape or 0 in shape else np.array(plain)
            if array.dtype.kind == "f":
                if not np.isfinite(array).all():
                    raise RuntimeError(f"value cannot be converted to type {_C_NAMES[found.name]} without overflow")
                array = np.trunc(array)
            if found is dtypes.uint8 and array.size:  # PyTorch wraps negative bytes
                array = np.where((array < 0) & (array >= -255), array + 256, array)
            if array.size and (int(array.max()) > limits.max or int(array.min()) < limits.min):
                if found is dtypes.int64:
                    raise ValueError("Overflow when unpacking long long")
                raise RuntimeError(f"value cannot be converted to type {_C_NAMES[found.name]} without overflow")
        elif found is dtypes.bool_:
            array = np.array(plain, dtype=object).astype(bool)
        else:
            array = np.array(plain, dtype=np.float64)
        array = array.reshape(shape) if array.shape != shape and 0 in shape else array
    return _rounded(array, found)


def _rounded(array: np.ndarray, d: dtype) -> Tensor:
    """A host array's numbers in a dtype."""
    if d is dtypes.bfloat16:
        return from_array(_to_bfloat16(array.astype(np.float32)), d)
    with np.errstate(all="ignore"):
        return from_array(array.astype(d.numpy), d)


def _uniform(data: Any) -> type | None:
    """float, int or bool, if nested lists hold nothing else and are not ragged; None if somebody has to look closer."""
    if data.__class__ not in (list, tuple) or not data:
        return None
    kinds = set(map(type, data))
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    if kind in _PYTHON_TYPES:
        return kind
    if kind not in (list, tuple) or len({len(row) for row in data}) != 1:
        return None
    found = {_uniform(row) for row in data}
    if len(found) != 1 or None in found:
        return None
    return found.pop() if len({_shape_of(row) for row in data}) == 1 else None


_C_NAMES = {"int8": "int8_t", "int16": "int16_t", "int32": "int", "int64": "int64_t", "uint8": "uint8"}


def _plain(data: Any) -> Any:
    """Nested data with every tensor and array in it as Python numbers."""
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data]
    return data.tolist() if isinstance(data, (Tensor, np.ndarray)) else data


def _numpy_types(d: Any) -> str:
    return (
        f"can't convert np.ndarray of type {d if d.kind != 'O' else 'numpy.object_'}. The only "
        f"supported types are: float64, float32, float16, "
        "complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool."
    )


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor on the memory of a numpy array: each sees the other's writes.

    Source: https://pytorch.org/docs/stable/generated/torch.from_numpy.html
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    d = dtypes.FROM_NUMPY.get(array.dtype)
    if d is None:
        raise TypeError(_numpy_types(array.dtype))
    if any(s < 0 for s in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
            "currently supported. (You can probably work around this by making a copy of your array  "
            "with array.copy().)"
        )
    if any(s % d.itemsize for s in array.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy array to reallocate the memory."
        )
    strides = tuple(s // d.itemsize for s in array.strides)
    extent = 1 + sum((n - 1) * s for n, s in zip(array.shape, strides)) if array.size else 0
    if array.size and array.flags["C_CONTIGUOUS"]:
        strides = contiguous_strides(array.shape)
    return from_memory(array.ctypes.data, extent, array.shape, strides, d, array)


def from_memory(
    pointer: int, extent: int, shape: Sequence[int], strides: Sequence[int], d: dtype, owner: Any
) -> Tensor:
    """A tensor on memory that ``owner`` keeps alive: ``extent`` elements from ``pointer``."""
    return on_memory(buffers.external(pointer, extent * d.itemsize, owner), extent, shape, strides, d)


def on_memory(buffer: Any, extent: int, shape: Sequence[int], strides: Sequence[int], d: dtype) -> Tensor:
    """A tensor on memory that others may see too: ``extent`` elements of a block."""
    whole = math.prod(shape) == extent and tuple(strides) == contiguous_strides(shape)
    value = from_buffer(buffer, tuple(shape) if whole else (extent,), d)
    result = make(Tensor, Storage(value, owned_elsewhere=True), Size(shape), tuple(strides), 0, d)
    if not whole:
        result._moved = True
    return result


def frombuffer(buffer: Any, *, dtype: dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-d tensor on the memory of an object with the buffer protocol."""
    array = np.frombuffer(buffer, dtype.numpy, count, offset)
    result = from_memory(array.ctypes.data, array.size, array.shape, (1,), dtype, array)
    return _finish(result, devices.CPU, requires_grad)


def as_tensor(data: Any, dtype: dtype | None = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, sharing memory where its dtype allows."""
    where = devices.resolve(device)
    if isinstance(data, Tensor):
        return data.to(data.device if device is None else where, dtype)
    if isinstance(data, np.ndarray) and data.dtype in dtypes.FROM_NUMPY and not any(s < 0 for s in data.strides):
        return from_numpy(data).to(where, dtype)
    return _finish(_from_data(data, None if dtype is None else as_dtype(dtype)), where, False)


asarray = as_tensor


def from_dlpack(source: Any) -> Tensor:
    """A tensor on the memory of any DLPack exporter (numpy, PyTorch, JAX …) on the CPU, or of a DLPack capsule."""
    if type(source).__name__ == "PyCapsule":
        source = _Capsule(source)
    try:
        return from_numpy(np.from_dlpack(source))
    except (ValueError, BufferError):  # read-only exporters
        return from_numpy(np.from_dlpack(source).copy())


class _Capsule:
    """A bare DLPack capsule as an exporter, which is what numpy wants."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def legacy_tensor(cls: type, *args: Any, device: Any = None) -> Tensor:
    """``Tensor(2, 3)`` (uninitialised) and ``Tensor([1, 2])`` (data, default dtype), on the CPU unless told where."""
    where = devices.CPU if device is None else devices.resolve(device)
    if where is not devices.CPU:
        return _finish(legacy_tensor(cls, *args), where, False)
    if not args:
        return _empty((0,), dtypes.get_default_dtype(), cls)
    first = args[0]
    if len(args) == 1 and isinstance(first, Tensor):
        result = first.detach()
        result = result if first.dtype is dtypes.get_default_dtype() else result.to(dtypes.get_default_dtype())
        return result.as_subclass(cls) if cls is not Tensor else result
    if len(args) == 1 and (
        (isinstance(first, (list, tuple)) and not isinstance(first, Size)) or isinstance(first, np.ndarray)
    ):
        return _from_data(first, dtypes.get_default_dtype())
    if len(args) == 1 and isinstance(first, (float, bool)):
        raise TypeError(f"new(): data must be a sequence (got {type(first).__name__})")
    return _empty(_check_sizes(as_shape(args, "new")), dtypes.get_default_dtype(), cls)


def _empty(shape: tuple[int, ...], d: dtype, cls: type = Tensor) -> Tensor:
    return wrap_value(from_buffer(buffers.allocate(math.prod(shape) * d.itemsize), tuple(shape), d), cls)


# ---- from numbers


# What makes the numbers of a new tensor: shape, dtype, device.
Fill = Callable[[tuple[int, ...], dtype, devices.device], Value]


def _shaped(fill: Fill) -> Callable[..., Tensor]:
    def make_tensor(
        *sizes: Any,
        size: Any = None,
        dtype: dtype | None = None,
        device: Any = None,
        requires_grad: bool = False,
    ) -> Tensor:
        name = named.__name__
        shape = _check_sizes(as_shape(sizes if size is None else (size,), name), name if len(sizes) == 1 else "")
        where = devices.resolve(device)
        return _finish(wrap_value(fill(shape, _pick_dtype(dtype), where)), where, requires_grad)

    named = makes(make_tensor)
    return named


def _like(fill: Fill) -> Callable[..., Tensor]:
    def make_tensor(
        input: Tensor,
        *,
        dtype: dtype | None = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        layout: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        from luchina.layout import arranged, order_in, order_of

        where = input.device if device is None else devices.resolve(device)

        check(layout, pin_memory)
        order, d = order_in(memory_format, input.ndim, order_of(input)), as_dtype(dtype) if dtype else input.dtype
        if order is None:
            return _finish(wrap_value(fill(tuple(input.shape), d, where)), where, requires_grad)
        whole = fill(tuple([input.shape[axis] for axis in order]), d, where)
        return _finish(arranged(whole, order), where, requires_grad)

    return make_tensor


# A new tensor of zeros or ones gets its memory at once: left pending it would make the first step of a training loop
# another program than the second, where the same tensor is plain memory.


def _zeros(shape: tuple[int, ...], d: dtype, where: devices.device) -> Value:
    if where is not devices.CPU:
        return filled(shape, 0, d, where)
    n = math.prod(shape) * d.itemsize
    buffer = buffers.allocate(n)
    ctypes.memset(buffer.ptr, 0, n)
    return from_buffer(buffer, shape, d)


def _ones(shape: tuple[int, ...], d: dtype, where: devices.device) -> Value:
    return filled(shape, 1, d, where)


def filled(shape: tuple[int, ...], number: Any, d: dtype, where: devices.device) -> Value:
    if where is not devices.CPU:
        number = float(number) if d.is_floating_point else int(number)
        return from_buffer(program.run_alone(ops.FILLED(scalar(number), attrs=(shape, d, where))), shape, d)
    buffer = buffers.allocate(math.prod(shape) * d.itemsize)
    one = np.array(number, np.float32 if d is dtypes.bfloat16 else d.numpy)
    buffers.as_numpy(buffer, d.name, shape).fill(_to_bfloat16(one).reshape(-1)[0] if d is dtypes.bfloat16 else one)
    return from_buffer(buffer, shape, d)


def _uninitialised(shape: tuple[int, ...], d: dtype, where: devices.device) -> Value:
    n = math.prod(shape) * d.itemsize
    return from_buffer(buffers.allocate(n) if where is devices.CPU else accelerators.allocate(where, n), shape, d)


zeros, zeros_like = _shaped(_zeros), _like(_zeros)
ones, ones_like = _shaped(_ones), _like(_ones)
_row_major_empty, empty_like = _shaped(_uninitialised), _like(_uninitialised)


def empty(*sizes: Any, memory_format: Any = None, **options: Any) -> Tensor:
    result = _row_major_empty(*sizes, **options)
    if memory_format is None:
        return result
    return empty_like(result, memory_format=memory_format, requires_grad=result.requires_grad)


_row_major_empty.__name__ = "empty"
for _name, _function, _what in (
    ("zeros", zeros, "Zeros"), ("ones", ones, "Ones"), ("empty", empty, "Uninitialised numbers"),
):  # fmt: skip
    _function.__name__ = _name
    _function.__doc__ = f"{_what} of a shape.\n\nSource: https://pytorch.org/docs/stable/generated/torch.{_name}.html"
for _name, _function in (("zeros_like", zeros_like), ("ones_like", ones_like), ("empty_like", empty_like)):
    _function.__name__ = _name
    _function.__doc__ = f"``{_name.split('_')[0]}`` in the shape and dtype of another tensor."


@makes
def full(
    size: Sequence[int],
    fill_value: Any,
    *,
    dtype: dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A shape filled with one number; its dtype follows the number's type.

    Source: https://pytorch.org/docs/stable/generated/torch.full.html
    """
    if not (isinstance(fill_value, (bool, int, float, np.generic, Tensor)) and getattr(fill_value, "ndim", 0) == 0):
        kind = type(fill_value).__name__
        raise TypeError(f"full(): argument 'fill_value' (position 2) must be Number, not {kind}")
    if isinstance(size, int):
        raise TypeError("full(): argument 'size' (position 1) must be tuple of ints, not int")
    d = as_dtype(dtype) if dtype is not None else _number_dtype(fill_value)
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    where = devices.resolve(device)
    result = wrap_value(filled(_check_sizes(as_shape((size,), "full")), _checked(fill_value, d), d, where))
    return _finish(result, where, requires_grad)


def _checked(x: Any, d: dtype) -> Any:
    """The number, if the dtype can hold it; PyTorch's RuntimeError otherwise."""
    if d is dtypes.bool_:
        return bool(x)
    if d.is_floating_point:
        return float(x)
    limits = dtypes.iinfo(d)
    if not math.isfinite(x) or not limits.min <= int(x) <= limits.max:
        raise RuntimeError(f"value cannot be converted to type {_C_NAMES[d.name]} without overflow")
    return int(x)


def _number_dtype(x: Any) -> dtype:
    if isinstance(x, Tensor):
        return x.dtype
    if isinstance(x, bool):
        return dtypes.bool_
    return dtypes.int64 if isinstance(x, int) else dtypes.get_default_dtype()


def full_like(
    input: Tensor, fill_value: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False,
    memory_format: Any = None, layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """``full`` in the shape and dtype of another tensor."""
    result = empty_like(
        input, dtype=dtype, device=device, memory_format=memory_format, layout=layout, pin_memory=pin_memory
    ).fill_(fill_value)
    return _finish(result, result.device, requires_grad)


@makes
def arange(
    start: Any, end: Any = None, step: Any = 1, *, dtype: dtype | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """start, start + step, … below end; integers unless an argument is a float.

    Source: https://pytorch.org/docs/stable/generated/torch.arange.html
    """
    if end is None:
        if start.__class__ is int and start >= 0 and dtype is None and step.__class__ is int and step == 1:
            counted = wrap_value(ops.arange(start, 0, 1, dtypes.int64, devices.resolve(device)))
            return _finish(counted, device, requires_grad)
        start, end = 0, start
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    floating = any(isinstance(x, float) for x in (start, end, step))
    d = as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype() if floating else dtypes.int64
    n = math.ceil((end - start) / step) if floating else -(-(end - start) // step)
    result = wrap_value(ops.arange(int(n), start, step, d, devices.resolve(device)))
    return _finish(result, device, requires_grad)


@makes
def linspace(
    start: Any, end: Any, steps: int, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``steps`` evenly spaced numbers from start to end, both included."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = (x.item() if isinstance(x, Tensor) else x for x in (start, end))
    value = ops.linspace(float(start), float(end), steps, _pick_dtype(dtype), devices.resolve(device))
    return _finish(wrap_value(value), device, requires_grad)


@makes
def logspace(
    start: float, end: float, steps: int, base: float = 10.0, *, dtype: dtype | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """base to the powers of a linspace."""
    return _finish(base ** linspace(start, end, steps, dtype=dtype, device=device), device, requires_grad)


@makes
def eye(
    n: int, m: int | None = None, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Ones on the diagonal of an (n, m) matrix."""
    rows, columns = n, n if m is None else m
    for letter, size in zip("nm", (rows, columns)):
        if size < 0:
            raise RuntimeError(f"{letter} must be greater or equal to 0, got {size}")
    value = ops.eye(rows, columns, _pick_dtype(dtype), devices.resolve(device))
    return _finish(wrap_value(value), device, requires_grad)


def scalar_tensor(x: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-d tensor."""
    return full((), x, dtype=dtype or dtypes.get_default_dtype(), device=device, requires_grad=requires_grad)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: dtype = dtypes.int64, device: Any = None) -> Tensor:
    """(2, n) coordinates of the lower triangle."""
    return _finish(from_array(np.stack(np.tril_indices(row, offset, col)), dtype), device, False)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: dtype = dtypes.int64, device: Any = None) -> Tensor:
    """(2, n) coordinates of the upper triangle."""
    return _finish(from_array(np.stack(np.triu_indices(row, offset, col)), dtype), device, False)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinate grids of 1-d tensors."""
    vectors = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for v in vectors:
        if v.ndim > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {v}")
    swap = indexing == "xy" and len(vectors) >= 2
    if swap:
        vectors[0], vectors[1] = vectors[1], vectors[0]
    shape = [v.numel() for v in vectors]
    grids = [v.reshape([-1 if i == j else 1 for j in range(len(vectors))]).expand(shape) for i, v in enumerate(vectors)]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def complex_missing(*args: Any, **kwargs: Any) -> Tensor:
    """Complex numbers are not there yet."""
    raise RuntimeError("luchina has no complex dtypes yet")


def is_grad_enabled() -> bool:
    """Whether what is computed now is recorded for gradients."""
    return mode.grad


FUNCTIONS = {
    f.__name__: f
    for f in (
        tensor, from_numpy, frombuffer, as_tensor, from_dlpack, zeros, zeros_like, ones, ones_like, empty, empty_like,
        full, full_like, arange, linspace, logspace, eye, scalar_tensor, tril_indices, triu_indices, meshgrid,
    )
}  # fmt: skip
FUNCTIONS["asarray"] = as_tensor
FUNCTIONS["complex"] = complex_missing


def _new(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, dtype: dtype | None = None, device: Any = None, **kwargs: Any) -> Tensor:
        return function(*args, dtype=dtype or self.dtype, device=self.device if device is None else device, **kwargs)

    return method


def install(namespace: dict[str, Any]) -> None:
    """Creation functions, and their ``new_*`` methods."""
    namespace.update(FUNCTIONS)
    for name, function in (("zeros", zeros), ("ones", ones), ("empty", empty), ("full", full), ("tensor", tensor)):
        setattr(Tensor, f"new_{name}", _new(function))
