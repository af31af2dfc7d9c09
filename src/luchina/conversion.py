"""Methods that convert, copy and fill tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luchina import devices, dtypes
from luchina.creation import as_dtype
from luchina.devices import device
from luchina.dispatch import install as install_calls
from luchina.dispatch.calls import Call
from luchina.dtypes import dtype
from luchina.face import expandable, lift, settle, write
from luchina.graph import program
from luchina.graph.value import Value, mode, result_dtype
from luchina.layout import copied, elementwise
from luchina.ops import creation as ops
from luchina.ops.movement import expand
from luchina.ops.pointwise import cast
from luchina.ops.registry import PUBLIC, as_value
from luchina.ops.transfer import follow, to_device
from luchina.overlap import check_partial_overlap, each_once, replacing
from luchina.tensor import Tensor, wrap_value


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Another dtype and/or device; the tensor itself if nothing changes.

    Source: https://pytorch.org/docs/stable/generated/torch.Tensor.to.html
    """
    wanted, where, copy = kwargs.get("dtype"), kwargs.get("device"), bool(kwargs.get("copy", False))
    unknown = set(kwargs) - {"dtype", "device", "copy", "non_blocking", "memory_format", "other"}
    if unknown:
        raise TypeError(f"to() got an unexpected keyword argument '{sorted(unknown)[0]}'")
    if "other" in kwargs:
        args = (kwargs["other"], *args)
    for i, x in enumerate(args):
        if isinstance(x, Tensor):
            wanted, where = x.dtype, x.device
        elif isinstance(x, dtype) or x in (float, int, bool):
            wanted = x
        elif isinstance(x, (str, device)) or (isinstance(x, int) and not isinstance(x, bool)):
            where = x
        elif isinstance(x, bool):
            copy = x if i == len(args) - 1 and len([a for a in args if isinstance(a, bool)]) == 2 else copy
        elif x is not None:
            raise TypeError(f"to() received an invalid combination of arguments - got ({type(x).__name__})")
    if where is not None:
        there = devices.resolve(where)
        if there is not self.device:
            return _moved(self, there, self.dtype if wanted is None else as_dtype(wanted), kwargs.get("memory_format"))
    d = self.dtype if wanted is None else as_dtype(wanted)
    form = kwargs.get("memory_format")
    if form not in (None, "preserve_format"):
        if d is self.dtype and not copy and self.is_contiguous(form):
            return self
        result = copied(self, form, d)
        settle((self,), result)
        return result
    if d is self.dtype:
        return self.clone() if copy else self
    laid = elementwise(lambda value: cast(value, d), (self,), {})
    result = wrap_value(cast(self._read(), d)) if laid is None else laid
    settle((self,), result)
    return result


def _moved(self: Tensor, where: device, d: dtype, memory_format: Any) -> Tensor:
    """The tensor on another device; its elements lie there in the order that they have here, or in a format."""
    if where is devices.CPU and d is not self.dtype:  # which knows every dtype
        return to(_moved(self, where, self.dtype, memory_format), d)
    if d is not self.dtype or memory_format not in (None, "preserve_format"):
        self = to(self, d, memory_format=memory_format)
    laid = elementwise(lambda value: to_device(value, where), (self,), {})
    return wrap_value(to_device(self._read(), where)) if laid is None else laid


def _converter(d: dtype, name: str) -> Callable[..., Tensor]:
    def convert(self: Tensor, memory_format: Any = None) -> Tensor:
        return to(self, d, memory_format=memory_format)

    convert.__name__ = name
    convert.__doc__ = f"The tensor as {d}."
    return convert


_CONVERTERS = {
    "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16,
    "long": dtypes.int64, "int": dtypes.int32, "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8,
    "bool": dtypes.bool_,
}  # fmt: skip


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another, on its device."""
    return to(self, other.device, other.dtype)


def cpu(self: Tensor) -> Tensor:
    """The tensor on the CPU."""
    return to(self, "cpu")


def cuda(self: Tensor, device: Any = None) -> Tensor:
    """The tensor on a CUDA device; an error that says what is there, without one."""
    return to(self, "cuda" if device is None else device)


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in row-major order (or in ``memory_format``), else a copy that does."""
    if self._dense and memory_format is None:
        return self
    form = "contiguous_format" if memory_format is None else memory_format
    if form == "preserve_format":
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return self if self.is_contiguous(form) else _in_form(self, form)


def _copied(self: Tensor, form: str) -> Tensor:
    result = copied(self, form)
    settle((self,), result)
    return result


_in_form = install_calls.function(Call(_copied))  # what it records does not depend on where its operand lies

_clone = lift(PUBLIC["clone"].call)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy, in the memory order of the tensor or in ``memory_format``, with the gradient passing through."""
    if memory_format in (None, "preserve_format"):
        return _clone(input)
    result = copied(input, memory_format)
    settle((input,), result)
    return result


def result_type(tensor1: Any, tensor2: Any) -> dtype:
    """The dtype that an operation on the two (tensors or numbers) would give.

    >>> import luchina
    >>> luchina.result_type(luchina.tensor([1, 2]), 1.0)
    torch.float32
    """
    return result_dtype(*(x._read() if isinstance(x, Tensor) else as_value(x) for x in (tensor1, tensor2)))


def copy_(self: Tensor, src: Tensor | float, non_blocking: bool = False) -> Tensor:
    """Elements from another tensor, broadcast and converted."""
    if isinstance(src, (bool, int, float)):
        return fill_(self, src)
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    self._check_writable()
    check_partial_overlap(self, src)
    value = cast(src._read(), self.dtype)
    if devices.present.accelerators and value.device is not self.device:
        value = to_device(value, self.device)
    if not expandable(value.shape, self.shape):
        lead = self.ndim - value.ndim
        wrong = (i for i, n in enumerate(value.shape) if lead + i >= 0 and n not in (1, self.shape[lead + i]))
        axis = max(wrong, default=0)
        raise RuntimeError(
            f"The size of tensor a ({self.shape[max(lead + axis, 0)] if self.ndim else 1}) must match "
            f"the size of tensor b "
            f"({value.shape[axis]}) at non-singleton dimension {max(lead + axis, 0)}"
        )
    self._write(replacing(self, expand(value, tuple(self.shape))))
    return self


def fill_(self: Tensor, value: Any) -> Tensor:
    """Every element becomes ``value``."""
    target = each_once(self)
    target._check_writable()
    if isinstance(value, Tensor):
        write(target, ops.fill(target._read(), follow(value._read(), target._read())))
    else:
        target._write(_labelled(replacing(target, ops.fill(target._read(), value)), "FillBackward2"))
    return self


def _labelled(value: Value, label: str) -> Value:
    """The Value under the name that PyTorch prints for it."""
    if value.needs_grad and value.cell is None:
        value.label = label
    return value


def zero_(self: Tensor) -> Tensor:
    """Every element becomes 0."""
    target = each_once(self)
    target._check_writable()
    target._write(_labelled(replacing(target, ops.zero(target._read())), "ZeroBackward0"))
    return self


def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """The main diagonal becomes ``fill_value``."""
    if self.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    n = min(self.shape)
    if self.ndim > 2 and len(set(self.shape)) != 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    if wrap:
        raise RuntimeError("fill_diagonal_(wrap=True) is not there yet")
    self.as_strided((n,), (sum(self.stride()),), self.storage_offset()).fill_(fill_value)
    return self


def resize_(self: Tensor, *sizes: Any) -> Tensor:
    """Another shape in place, for tensors that autograd does not know."""
    from luchina.creation import empty
    from luchina.shape import Size, as_shape

    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    shape = as_shape(sizes)
    fresh = empty(shape, dtype=self.dtype, device=self.device)
    n = min(fresh.numel(), self.numel())
    if n and fresh.numel() != self.numel():
        fresh.view(-1)[:n] = self.reshape(-1)[:n]
    elif n:
        fresh = self.reshape(shape)
    self._storage, self._shape, self._strides, self._offset = fresh._storage, Size(shape), fresh._strides, fresh._offset
    self._dense, self._generation = fresh._dense, -1
    return self


def set_(self: Tensor, source: Tensor) -> Tensor:
    """Become a tensor on the memory of ``source``."""
    if mode.grad and self.requires_grad:
        raise RuntimeError("set_() on a tensor that requires grad is not allowed")
    self.data = source
    return self


def share_memory_(self: Tensor) -> Tensor:
    """Accepted for compatibility with programs that share tensors with worker processes, which get copies here."""
    raise RuntimeError("tensors in memory shared between processes are not there yet")


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """Page-locked memory needs an accelerator; without one this is PyTorch's error."""
    raise RuntimeError("Cannot access accelerator device when none is available.")


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the memory is page-locked: never on a CPU."""
    return False


def is_same_size(self: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal."""
    return self.shape == other.shape


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal."""
    if input.shape != other.shape:
        return False
    return bool((input == other).all().item()) if input.numel() else True


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close; see ``isclose``."""
    return bool(input.isclose(other, rtol, atol, equal_nan).all().item())


def dlpack(self: Tensor, **options: Any) -> Any:
    """A DLPack capsule of this tensor's memory.

    Raises:
        BufferError: on a device. What DLPack calls the memory of OpenCL is a ``cl_mem``, ours is an address.
    """
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if self.device is not devices.CPU:
        raise BufferError(f"memory of {self.device} cannot be exported: copy it with Tensor.cpu() first")
    return self._shared_array().__dlpack__()


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's number of the kind of device (kDLCPU, kDLCUDA, kDLOpenCL), and the device's."""
    return {"cpu": 1, "cuda": 2, "opencl": 4}[self.device.type], self.device.index or 0


def apply_(self: Tensor, function: Callable[[Any], Any]) -> Tensor:
    """A Python function on each element, in place: slow, for experiments."""
    import numpy as np

    if self.requires_grad:
        raise RuntimeError("can't apply_ on a Variable that requires grad")
    array = np.array(self.tolist(), dtype=object)
    changed = np.frompyfunc(function, 1, 1)(array)
    from luchina.creation import tensor

    numbers = changed.tolist() if isinstance(changed, np.ndarray) else changed
    return copy_(self, tensor(numbers, dtype=self.dtype, device="cpu"))


def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a tensor."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """Number of elements."""
    return input.numel()


def synchronize() -> None:
    """Run everything that was recorded."""
    program.realize(())


METHODS = (
    to, type_as, cpu, cuda, contiguous, clone, copy_, fill_, zero_, fill_diagonal_, resize_, set_, share_memory_,
    pin_memory, is_pinned, is_same_size, equal, allclose, apply_,
)  # fmt: skip


def install(namespace: dict[str, Any]) -> None:
    """Conversions as methods, and the few that are functions too."""
    for function in METHODS:
        setattr(Tensor, function.__name__, function)
    for name, d in _CONVERTERS.items():
        setattr(Tensor, name, _converter(d, name))
    setattr(Tensor, "__dlpack__", dlpack)
    setattr(Tensor, "__dlpack_device__", dlpack_device)
    namespace.update(
        clone=clone, equal=equal, allclose=allclose, is_tensor=is_tensor, numel=numel, result_type=result_type
    )
    namespace["is_floating_point"] = Tensor.is_floating_point
    namespace["is_complex"] = Tensor.is_complex
