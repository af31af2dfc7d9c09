"""``Tensor``: PyTorch's mutable face on storages and Values.

A tensor is a window (shape, strides, offset) on a storage. Reading it gives a Value; writing it gives the storage a
new Value. What an operation *means* is not here but in ``luchina.ops``; the functions and methods are made from that
list by ``luchina.face``.
"""

from __future__ import annotations

import builtins
import functools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from luchina import dtypes
from luchina.autograd.engine import Hooks, printed_name
from luchina.devices import CPU, device, present
from luchina.dispatch.exchange import Exchangeable
from luchina.dtypes import dtype
from luchina.graph import program
from luchina.graph.value import Value, detach, from_buffer, leaf, mode, recording
from luchina.ops.movement import CLONE, REWRITE, contiguous_strides, overlaps, reshape, strided, update
from luchina.ops.pointwise import cast
from luchina.ops.transfer import follow, to_device
from luchina.runtime.accelerators import on_host
from luchina.runtime.accelerators import window as memory_part
from luchina.runtime.buffers import as_numpy, external
from luchina.shape import Size
from luchina.storage import Counter, InferenceCounter, Storage

_handles = count()


class TensorHooks(Hooks):
    """What happens to a tensor's cotangent: the user's hooks, ``retain_grad``, and accumulation into a leaf."""

    __slots__ = ("after", "functions", "retain", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)
        self.functions: OrderedDict[int, Callable] = OrderedDict()
        self.after: OrderedDict[int, Callable] = OrderedDict()
        self.retain = False

    def plain(self) -> bool:
        return not self.functions and not self.after

    def transform(self, gradient: Value) -> Value:
        for function in list(self.functions.values()):
            shown = wrap_value(gradient)
            result = function(shown)
            if result is not None:
                if not isinstance(result, Tensor):
                    raise TypeError(f"expected Tensor, but hook returned '{type(result).__name__}'")
                if result.shape != gradient.shape:
                    raise RuntimeError(
                        "hook '" + getattr(function, "__name__", "hook") + "' has changed the size of value"
                    )
                gradient = result._read()
        tensor = self.tensor()
        if self.retain and tensor is not None:
            tensor._grad = wrap_value(gradient)
        return gradient

    def accumulate(self, gradient: Value) -> None:
        tensor = self.tensor()
        if tensor is None:
            return
        have = tensor._grad
        program.make_room(program.A_GRADIENT)
        if have is None:
            tensor._grad = wrap_value(gradient)
        elif mode.grad:
            tensor._grad = have + wrap_value(gradient)
        else:
            have._write((have + wrap_value(gradient))._read())
        if self.after:
            for function in list(self.after.values()):
                function(tensor)


class RemovableHandle:
    """Takes a hook off again: ``handle.remove()``, or as a context manager."""

    def __init__(self, hooks: OrderedDict[int, Any]) -> None:
        self.hooks = weakref.ref(hooks)
        self.id = next(_handles)

    def remove(self) -> None:
        hooks = self.hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Node:
    """What ``tensor.grad_fn`` shows of the Value that made it."""

    def __new__(cls, value: Value) -> Node:
        """An object of a class named like the function: ``type(y.grad_fn).__name__`` is looked at."""
        name = grad_name(value).rsplit("::", 1)[-1]
        if name not in _NODE_CLASSES:
            _NODE_CLASSES[name] = type(name, (Node,), {})
        return object.__new__(_NODE_CLASSES[name])

    def __init__(self, value: Value) -> None:
        self._value = value

    def name(self) -> str:
        return grad_name(self._value)

    @property
    def next_functions(self) -> tuple:
        value = self._value
        if value.op is not None and value.op.name == "pick":
            value = value.inputs[0]
        return tuple((Node(s), 0) if s.needs_grad else (None, 0) for s in value.inputs)

    @property
    def variable(self) -> Tensor | None:
        return self._value.hooks.tensor() if self._value.hooks else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)

    def __repr__(self) -> str:
        place = "luchina.autograd.function." if self.name().endswith("Backward") else ""
        return f"<{place}{type(self).__name__} object at 0x{id(self._value):x}>"


_NODE_CLASSES: dict[str, type[Node]] = {}


def grad_name(value: Value) -> str:
    """The name that PyTorch prints for the function which made a Value: ``MmBackward0``."""
    if value.label is not None:
        return value.label
    if value.op is None or value.op.name == "leaf":
        return "torch::autograd::AccumulateGrad"  # as PyTorch's ``name()`` has it
    op = value.op
    if op.name == "pick" and value.inputs:
        op = value.inputs[0].op or op
    return printed_name(op)


class Tensor:
    """A table of numbers of any number of dimensions, as ``torch.Tensor``.

    ``Tensor(2, 3)`` makes an uninitialised float32 tensor of that shape and ``Tensor([1, 2])`` one with those
    numbers; the function ``luchina.tensor`` is the usual way.

    Source: https://pytorch.org/docs/stable/tensors.html
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_counter",
        "_dense",
        "_dtype",
        "_generation",
        "_offset",
        "_shape",
        "_storage",
        "_strides",
        "_value",
    )

    # What few tensors have lies in the instance's dictionary; these are the values of all others.
    _base: Tensor | None = None  # the tensor that this one is a view of
    _detached = False  # reads and writes the memory without its gradient history
    _moved = False  # its axes are in another order than row-major, though it is not a view
    _leaf = False  # a leaf that wants a gradient
    _hooks: TensorHooks | None = None
    _grad: Tensor | None = None
    _multi_view: tuple[str, int] | None = None  # one of several views that one call returned

    if TYPE_CHECKING:
        _storage: Storage
        _shape: Size
        _strides: tuple[int, ...]
        _offset: int
        _dtype: dtype
        _counter: Counter
        _value: Any  # a Value from the first reading on
        _generation: int
        _dense: bool  # the elements lie in row-major order without gaps

        # Operators and most methods are put here by luchina.face from the list of operations.
        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        from luchina import creation

        return creation.legacy_tensor(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    # ---- the Value behind it

    def _read(self) -> Value:
        """The tensor's numbers now, as a Value."""
        if self._generation == self._storage.generation:
            return self._value
        return self._refresh()

    def _refresh(self) -> Value:
        storage = self._storage
        if self._leaf:
            whole = storage.value
            if whole.buffer is not None and whole.shape == self._shape and self._dense and not self._offset:
                value = Value(None, (), (), whole.shape, whole.dtype, True, whole.buffer)
            else:
                value = leaf(self._window(detach(whole)))
            value.hooks = self._hooks
        elif self._detached:
            value = detach(self._window(storage.value))
        elif self._base is not None and self._base._leaf and self._base._is_whole():
            value = strided(self._base._read(), self._shape, self._strides, self._offset)
        else:
            value = self._window(storage.value)
            if self._base is not None and value.needs_grad:
                # A view whose memory was written through another tensor: PyTorch's name for its new history.
                value = alias(value) if value is storage.value else value
                value.label = "AsStridedBackward0"
            elif self._moved and value.needs_grad and value is not storage.value:
                value.label = grad_name(storage.value)
            if self._hooks is not None:
                value.hooks = self._hooks
        if value.cell is not self._counter:
            if value.cell is not None:  # another tensor shows this very Value
                if value.buffer is not None and not value.needs_grad:
                    value = from_buffer(value.buffer, value.shape, value.dtype)  # nothing to record
                else:
                    value = alias(value)
            value.cell = self._counter
            value.version = self._counter.version
        self._value = value
        self._generation = storage.generation
        return value

    def _window(self, value: Value) -> Value:
        if self._is_whole():
            return value if value.shape == self._shape else reshape(value, self._shape)
        if value.buffer is not None and not value.needs_grad and 0 < self._reach() < value.size:
            return memory_window(value, self._shape, self._strides, self._offset)
        return strided(value, self._shape, self._strides, self._offset)

    def _reach(self) -> int:
        """How many elements of memory the window spans; 0 if it is empty."""
        reach = 1
        for n, stride in zip(self._shape, self._strides):
            if n == 0:
                return 0
            reach += (n - 1) * stride
        return reach

    def _is_whole(self) -> bool:
        """Whether the window is all of the storage in its own order."""
        if self._offset:
            return False
        shape = self._shape
        if not self._dense:
            return False
        value = self._storage.value
        return value.shape == shape or value.size == self.numel()

    def _write(self, new: Value) -> None:
        """In-place assignment of a Value that already has this tensor's shape and dtype."""
        self._check_writable()
        self._put(new)

    def _put(self, new: Value) -> None:
        """``_write`` after its checks."""
        storage = self._storage
        old = storage.value
        if present.accelerators:
            new = follow(new, old)
        if old.needs_grad or old.buffer is None:
            recording.touched = True
        if self._is_whole():
            result = new if new.shape == old.shape else reshape(new, old.shape)
            if result.cell is not None:
                result = alias(result)
        else:
            result = update(old, new, self._strides, self._offset)
        if not mode.grad or self._detached:
            result = detach(result)
            if old.needs_grad:
                before, mode.grad = mode.grad, True
                result = REWRITE(old, result)
                mode.grad = before
        if self._base is not None and result.needs_grad:
            result.label = "CopySlices"
        storage.set(result)
        self._counter.version += 1
        if self._hooks is not None and not self._leaf:
            self._hooks = None  # the hooks were on what the tensor was before

    def _check_writable(self) -> None:
        """PyTorch's errors for a write that autograd or the layout forbids; nothing is changed."""
        if self._counter.inference and not mode.inference:
            raise RuntimeError(
                "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a "
                "normal tensor before doing inplace update.See "
                "https://github.com/pytorch/rfcs/pull/17 for more details."
            )
        if mode.grad and not self._detached:
            if self._leaf:
                raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
            base = self._base
            if base is not None and base._leaf:
                raise RuntimeError(
                    "a view of a leaf Variable that requires grad is being used in an in-place operation."
                )
            if self._multi_view is not None and self._read().needs_grad:
                raise RuntimeError(
                    f"Output {self._multi_view[1]} of {self._multi_view[0]} is a view and is being modified inplace. "
                    "This view is the output of a function that returns multiple views. Such functions do not allow "
                    "the output views to be modified inplace. You should replace the inplace operation by an "
                    "out-of-place one."
                )
        if not self._is_whole() and self.numel() > 1 and overlaps(self._shape, self._strides):
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory "
                "location. Please clone() the tensor before performing the operation."
            )

    def _replace(self, new: Tensor) -> None:
        """Swap the numbers of a whole tensor (an optimizer's result); autograd does not see it."""
        value = detach(new._read())
        if value.shape != self._shape or value.dtype is not self._dtype:
            raise RuntimeError(f"cannot replace {self._dtype}{list(self._shape)} by {value.dtype}{list(value.shape)}")
        storage = self._storage
        if not storage.value.needs_grad and self._is_whole() and new._storage.value is value:
            # The common case: ``new`` is a result that nobody else holds, so its Value simply moves here.
            storage.set(value)
            self._counter.version += 1
            return
        before, mode.grad = mode.grad, False
        try:
            self._write(value)
        finally:
            mode.grad = before

    # ---- what it is

    @property
    def shape(self) -> Size:
        return self._shape

    @property
    def dtype(self) -> dtype:
        return self._dtype

    @property
    def device(self) -> device:
        return self._storage.device

    @property
    def ndim(self) -> int:
        return len(self._shape)

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one extent of it."""
        if dim is None:
            return self._shape
        from luchina.ops.registry import axis_of

        return self._shape[axis_of(dim, len(self._shape))]

    def numel(self) -> int:
        """Number of elements."""
        n = 1
        for extent in self._shape:
            n *= extent
        return n

    nelement = numel

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours, in elements."""
        if dim is None:
            return self._strides
        from luchina.ops.registry import axis_of

        return self._strides[axis_of(dim, len(self._shape))]

    def storage_offset(self) -> int:
        """Where the window starts, in elements."""
        return self._offset

    def get_device(self) -> int:
        """The number of the accelerator that the memory is on: −1 for a CPU."""
        index = self.device.index
        return -1 if index is None else index

    def is_set_to(self, tensor: Tensor) -> bool:
        """Whether both are the same window on the same memory."""
        return self._storage is tensor._storage and (self._shape, self._strides, self._offset) == (
            tensor._shape,
            tensor._strides,
            tensor._offset,
        )

    @property
    def real(self) -> Tensor:
        """The real part of a real tensor: itself."""
        return self

    def is_inference(self) -> bool:
        """Whether it was made in inference mode."""
        return self._counter.inference

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in row-major order (or in ``memory_format``) without gaps."""
        if memory_format is None or memory_format == "contiguous_format":
            return self._dense or _is_laid_out(self._shape, self._strides, None)
        if memory_format != "channels_last" or self.ndim != 4:
            return memory_format == "preserve_format" and self.is_contiguous()
        return _is_laid_out(self._shape, self._strides, (0, 2, 3, 1))

    def element_size(self) -> int:
        """Bytes an element."""
        return self._dtype.itemsize

    @property
    def itemsize(self) -> int:
        return self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self._dtype.itemsize

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating one."""
        return self._dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is a complex one: never, so far."""
        return False

    def is_signed(self) -> bool:
        """Whether the dtype can hold negative numbers."""
        return self._dtype.is_signed

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self.device is CPU

    is_sparse = False
    is_quantized = False
    is_meta = False
    is_nested = False
    layout = "torch.strided"
    names = None

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("len() of a 0-d tensor")
        return self._shape[0]

    def __hash__(self) -> int:
        return id(self)

    # ---- autograd

    @property
    def requires_grad(self) -> bool:
        return self._leaf or self._read().needs_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if flag and not self._dtype.is_floating_point:
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        self.requires_grad_(flag)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for (or give up) a gradient; only a leaf can."""
        if requires_grad:
            if not self._dtype.is_floating_point:
                raise RuntimeError("only Tensors of floating point dtype can require gradients")
            if self._counter.inference and not mode.inference:
                raise RuntimeError(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
                )
            if not self._leaf and not self._read().needs_grad:
                self._leaf = True
                self._hooks = self._hooks or TensorHooks(self)
                self._generation = -1
        else:
            if not self.is_leaf:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
                    "in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            if self._leaf:
                self._leaf = False
                self._hooks = None
                self._generation = -1
        return self

    @property
    def is_leaf(self) -> bool:
        return self._leaf or not self._read().needs_grad

    @property
    def grad_fn(self) -> Node | None:
        if self._leaf:
            return None
        value = self._read()
        return Node(value) if value.needs_grad else None

    @property
    def grad(self) -> Tensor | None:
        return self._grad

    @grad.setter
    def grad(self, gradient: Tensor | None) -> None:
        if gradient is not None:
            if not isinstance(gradient, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(gradient).__name__}"
                )
            if gradient is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if gradient.dtype is not self.dtype:
                word = {"float64": "double", "float32": "float", "float16": "c10::Half", "bfloat16": "c10::BFloat16"}
                have = self.type().removeprefix("torch.").removesuffix("Tensor")
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{word.get(gradient.dtype.name, gradient.dtype.name)}'"
                    f" to a tensor with grad_dtype '{have}'. The gradient must match the tensor's grad_dtype (defaults "
                    "to the tensor's dtype). You can set the tensor's grad_dtype attribute with a specific dtype, or "
                    "None to allow any dtype. Set grad_dtype with caution. Diverging the dtypes of a tensor and its "
                    "gradient may break downstream systems that assume they match."
                )
            if gradient.shape != self.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(gradient.shape)}' to a tensor of size "
                    f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
        self._grad = gradient

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Gradients of this tensor with respect to every leaf, added to their ``.grad``.

        Source: https://pytorch.org/docs/stable/generated/torch.Tensor.backward.html
        """
        from luchina import autograd

        autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook(gradient)`` when this tensor's gradient is known; what it returns takes the gradient's place."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        hooks = self._own_hooks()
        handle = RemovableHandle(hooks.functions)
        hooks.functions[handle.id] = hook
        return handle

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call ``hook(tensor)`` after a leaf's ``.grad`` was accumulated."""
        if not self._leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        hooks = self._own_hooks()
        handle = RemovableHandle(hooks.after)
        hooks.after[handle.id] = hook
        return handle

    def _own_hooks(self) -> TensorHooks:
        value = self._read()
        recording.touched = recording.touched or not self._leaf
        if self._hooks is None or value.hooks is not self._hooks:
            if value.hooks is not None:  # another tensor shows the same Value
                self._hooks = value.hooks
            else:
                self._hooks = value.hooks = TensorHooks(self)
        return self._hooks

    def retain_grad(self) -> None:
        """Keep ``.grad`` although this is not a leaf."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if not self._leaf:
            self._own_hooks().retain = True

    @property
    def retains_grad(self) -> bool:
        return not self._leaf and self._hooks is not None and self._hooks.retain

    @property
    def _version(self) -> int:
        return self._counter.version

    @property
    def output_nr(self) -> int:
        value = self._read()
        return value.attrs[0] if value.op is not None and value.op.name == "pick" else 0

    def detach(self) -> Tensor:
        """The same memory without the gradient history."""
        result = make(Tensor, self._storage, self._shape, self._strides, self._offset, self._dtype)
        result._detached = True
        result._counter = self._counter
        return result

    def detach_(self) -> Tensor:
        """Let go of this tensor's own gradient history."""
        if self._base is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for "
                "training, and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence "
                "detach_() cannot be called on these gradients. To fix this error, please refer to the "
                "Optimizer.zero_grad() function in torch/optim/optimizer.py as the solution."
            )
        value = detach(self._storage.value)
        if value.buffer is None and value is not self._storage.value:
            program.watch(self._storage)
        self._storage.value = value
        self._storage.generation += 1
        self._leaf = False
        self._hooks = None
        return self

    @property
    def data(self) -> Tensor:
        """The same memory, unknown to autograd: writes to it are not noticed."""
        result = self.detach()
        result._counter = Counter()
        return result

    @data.setter
    def data(self, new: Tensor) -> None:
        if not isinstance(new, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(new).__name__}")
        if new.dtype is not self._dtype and self._leaf and not new.dtype.is_floating_point:
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        self._storage = new._storage
        self._shape, self._strides, self._offset = new._shape, new._strides, new._offset
        self._dense = new._dense
        self._dtype = new._dtype
        self._base = None
        self._detached = not self._leaf
        self._counter.version += 1
        self._generation = -1

    @property
    def _is_view_tensor(self) -> bool:
        return self._base is not None

    def _is_view(self) -> bool:
        return self._base is not None

    # ---- looking at the numbers

    def _array(self) -> Any:
        """The numbers as a host array that shares the tensor's memory (bfloat16 as uint16), or is a copy of what a
        device holds."""
        value = self._storage.value
        buffer = on_host(value.buffer if value.buffer is not None else self._storage.realize().buffer)
        step = self._dtype.itemsize
        if self._dense:
            return as_numpy(buffer, self._dtype.name, self._shape, None, self._offset * step)
        if not self.numel():
            return as_numpy(buffer, self._dtype.name, self._shape)
        strides = tuple([s * step for s in self._strides])
        return as_numpy(buffer, self._dtype.name, self._shape, strides, self._offset * step)

    def item(self) -> float | int | bool:
        """The only element, as a Python number."""
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        from luchina.elements import read

        number = read(self, self._offset)
        if number is not None:
            return number
        return _python_number(self._array().reshape(()), self._dtype)

    def tolist(self) -> Any:
        """Nested lists of Python numbers; a number for a 0-d tensor."""
        array = self._array()
        if self._dtype is dtypes.bfloat16:
            array = _widen(array)
        return array.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """A numpy array that shares this tensor's memory, both ways."""
        if force:
            return self.detach().to("cpu", copy=True).numpy()
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if present.accelerators and self.device is not CPU:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            )
        if self._dtype is dtypes.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._shared_array()

    def _shared_memory(self, nbytes: int) -> Any:
        """A block on the bytes from this tensor's first element on, which the storage shares while it lives."""
        if self.device is CPU:
            array = self._shared_array()
            return external(array.ctypes.data, nbytes, array)
        program.realize((self._storage.value,))
        block = memory_part(self._storage.value.buffer, self._offset * self._dtype.itemsize, nbytes)
        self._storage.export(block)
        return block

    def _shared_array(self) -> Any:
        program.realize((self._storage.value,))  # whatever was recorded reads the numbers of before
        array = self._array()
        self._storage.export(array.base)
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    __array_priority__ = 1000

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
        """What numpy's functions of tensors give: tensors again."""
        from luchina.creation import from_numpy, tensor

        return from_numpy(array) if getattr(array, "ndim", 0) else tensor(array)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from luchina.printing import tensor_repr

        array = self._array()
        if self._dtype is dtypes.bfloat16:
            array = _widen(array)
        fn = self.grad_fn
        text = tensor_repr(
            array,
            self._dtype.name,
            requires_grad=self._leaf,
            grad_fn_name=fn.name() if fn is not None else None,
            default_dtype=dtypes.get_default_dtype().name,
            device=str(self.device),
        )
        return text

    def __format__(self, spec: str) -> str:
        if self.ndim == 0 and type(self) is Tensor:
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def __bool__(self) -> bool:
        if self.numel() == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        if self.numel() > 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self.item())

    def _only(self) -> float | int | bool:
        if self.numel() != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.item()

    def __float__(self) -> float:
        return float(self._only())

    def __int__(self) -> int:
        return int(self._only())

    def __complex__(self) -> complex:
        return complex(self._only())

    def __reversed__(self) -> Tensor:
        return self.flip(0) if self.ndim else self

    def __index__(self) -> int:
        if self._dtype.is_floating_point or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __iter__(self) -> Any:
        if not self._shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element: Any) -> bool:
        return bool((self == element).any().item())

    def __dir__(self) -> list[str]:
        return sorted(set(object.__dir__(self)))

    def data_ptr(self) -> int:
        """Address of the first element."""
        value = self._storage.realize()
        assert value.buffer is not None
        return value.buffer.ptr + self._offset * self._dtype.itemsize if self.numel() else 0

    def untyped_storage(self) -> UntypedStorage:
        """The memory behind this tensor and its views."""
        return UntypedStorage(self._storage)

    storage = untyped_storage

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """``"torch.FloatTensor"``, or the tensor in another dtype."""
        dtype = getattr(dtype, "dtype", dtype)  # of a ``torch.LongTensor``
        if dtype is None:
            return f"torch.{Counter.title(self._dtype)}"
        if isinstance(dtype, str):
            names = {Counter.title(d): d for d in dtypes.ALL}
            found = names.get(dtype.removeprefix("torch."))
            if found is None:
                raise ValueError(f"invalid type: '{dtype}'")
            dtype = found
        return self.to(dtype)

    # ---- copies

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(_NOT_A_LEAF)
        if id(self) in memo:
            return memo[id(self)]
        # Tensors on one memory share the copy's memory too, as PyTorch's do.
        key = ("storage", id(self._storage))
        if key not in memo:
            memo[key] = Storage(CLONE(detach(self._storage.value))), self._storage
        result = make(type(self), memo[key][0], self._shape, self._strides, self._offset, self._dtype)
        result.__dict__.update(self._own_attributes())
        if self._leaf:
            result.requires_grad_()
        if self._grad is not None:
            result._grad = self._grad.__deepcopy__(memo)
        memo[id(self)] = result
        return result

    def _own_attributes(self) -> dict[str, Any]:
        """What the user set on this tensor."""
        return {k: v for k, v in self.__dict__.items() if k not in _INTERNAL}

    def __copy__(self) -> Tensor:
        """Another tensor on the same memory."""
        result = make(type(self), self._storage, self._shape, self._strides, self._offset, self._dtype)
        result.__dict__.update(self.__dict__)
        result._counter = self._counter
        if self._leaf:
            result._leaf, result._hooks = False, None
            result.requires_grad_()
        return result

    def __reduce_ex__(self, protocol: Any) -> tuple:
        array = self._array()
        order = sorted(range(self.ndim), key=lambda axis: -self._strides[axis])
        # The copy lies in memory as this tensor does.
        kept = array.transpose(order).copy().transpose([order.index(axis) for axis in range(self.ndim)])
        place = () if self.device is CPU else (str(self.device),)
        return _rebuild, (type(self), kept, self._dtype, self.requires_grad, self._own_attributes(), *place)

    @staticmethod
    def _make_subclass(cls: builtins.type, data: Tensor, require_grad: bool = False) -> Any:
        """A tensor of class ``cls`` on the memory of ``data``; a leaf."""
        result = make(cls, data._storage, data._shape, data._strides, data._offset, data._dtype)
        result._detached = True
        if require_grad:
            result._detached = False
            result.requires_grad_()
        return result

    def as_subclass(self, cls: builtins.type) -> Any:
        """The same tensor as an instance of a subclass."""
        result = make(cls, self._storage, self._shape, self._strides, self._offset, self._dtype)
        result._base, result._counter, result._leaf = self._base, self._counter, False
        return result


_NOT_A_LEAF = (
    "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  If you "
    "were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, see "
    "https://github.com/pytorch/pytorch/pull/103001"
)
_INTERNAL = frozenset({"_base", "_moved", "_detached", "_leaf", "_hooks", "_grad", "_multi_view"})


class UntypedStorage:
    """A storage as bytes; equal for a tensor and its views."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def nbytes(self) -> int:
        """Size in bytes."""
        return self._storage.nbytes

    size = nbytes
    __len__ = nbytes

    def data_ptr(self) -> int:
        """Address of the first byte."""
        value = self._storage.realize()
        assert value.buffer is not None
        return value.buffer.ptr

    @property
    def device(self) -> device:
        return self._storage.device

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and other._storage is self._storage

    def __hash__(self) -> int:
        return id(self._storage)

    def __bytes__(self) -> bytes:
        from luchina.runtime.buffers import as_numpy

        value = self._storage.realize()
        assert value.buffer is not None
        return as_numpy(on_host(value.buffer), "uint8", (self.nbytes(),)).tobytes()


def _widen(array: Any) -> Any:
    """bfloat16 bits as float32 numbers, for printing and Python."""
    import numpy as np

    return (array.astype(np.uint32) << 16).view(np.float32)


def _python_number(array: Any, d: dtype) -> float | int | bool:
    return (_widen(array) if d is dtypes.bfloat16 else array).item()


def _rebuild(cls: type, array: Any, d: dtype, requires_grad: bool, attributes: dict, place: str = "cpu") -> Tensor:
    from luchina.creation import from_array
    from luchina.devices import resolve

    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    result = wrap_value(to_device(from_array(array.transpose(order), d)._read(), resolve(place)), cls)
    if order != list(range(array.ndim)):
        moved = result.permute([order.index(axis) for axis in range(array.ndim)])
        result = make(cls, moved._storage, moved._shape, moved._strides, 0, d)
    result.__dict__.update(attributes)
    return result.requires_grad_() if requires_grad else result


# ---- making tensors


def make(
    cls: type, storage: Storage, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, d: dtype
) -> Tensor:
    """A tensor on a storage; its Value is found when it is first read."""
    tensor: Any = object.__new__(cls)
    tensor._storage = storage
    tensor._shape = shape if shape.__class__ is Size else Size(shape)
    tensor._strides = strides
    tensor._dense = strides == layout_of(tensor._shape)[1]
    tensor._offset = offset
    tensor._dtype = d
    tensor._counter = Counter()
    tensor._value = None
    tensor._generation = -1
    return tensor


def layout_of(shape: tuple[int, ...]) -> tuple[Size, tuple[int, ...]]:
    """A shape as users see it, and its row-major strides."""
    layout = layouts.get(shape)
    if layout is None:
        layout = layouts[shape] = Size(shape), contiguous_strides(shape)
    return layout


@functools.lru_cache(4096)
def _is_laid_out(shape: tuple[int, ...], strides: tuple[int, ...], order: tuple[int, ...] | None) -> bool:
    """Whether elements lie without gaps in this order of the axes (None: their own); axes of one element lie anyhow."""
    expected = 1
    for axis in reversed(order or range(len(shape))):
        n = shape[axis]
        if n == 0:
            return True
        if n != 1:
            if strides[axis] != expected:
                return False
            expected *= n
    return True


layouts: dict[tuple[int, ...], tuple[Size, tuple[int, ...]]] = {}


def _wrap_value(value: Value, cls: type = Tensor) -> Tensor:
    """A new tensor whose numbers are ``value``'s."""
    if value.cell is not None or value.weak:
        value = alias(value)
    tensor: Any = object.__new__(cls)
    counter = InferenceCounter() if mode.inference else Counter()
    value.cell = counter
    tensor._storage = Storage(value)
    tensor._shape, tensor._strides = layout_of(value.shape)
    tensor._dense = True
    tensor._offset = 0
    tensor._dtype = value.dtype
    tensor._counter = counter
    tensor._value = value
    tensor._generation = 0
    return tensor


wrap_value = Exchangeable(_wrap_value)  # until ``luchina.dispatch`` has compiled it


def memory_window(root: Value, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Value:
    """A window on computed memory, as memory that starts where the window does."""
    reach = 1
    for n, stride in zip(shape, strides):
        reach += (n - 1) * stride
    size = root.dtype.itemsize
    assert root.buffer is not None
    part = memory_part(root.buffer, offset * size, reach * size)
    if strides == contiguous_strides(shape):
        return from_buffer(part, tuple(shape), root.dtype)
    return strided(from_buffer(part, (reach,), root.dtype), tuple(shape), strides, 0)


def weak_tensor(number: Value) -> Tensor:
    """A run-time scalar as something that tensor code can calculate with; it promotes as a Python number."""
    tensor = make(Tensor, Storage(number), Size(), (), 0, number.dtype)
    tensor._value, tensor._generation = number, 0
    return tensor


def alias(value: Value) -> Value:
    """Another Value with the same numbers and history, for a tensor of its own."""
    if value.weak:
        return cast(value, value.dtype)
    return CLONE(value)


def view_of(
    source: Tensor,
    value: Value | None,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    label: str | None = None,
) -> Tensor:
    """A view: a window on the memory of ``source``, with the Value that autograd sees through; ``label`` is the name
    that its ``grad_fn`` prints."""
    tensor = make(Tensor, source._storage, shape, strides, offset, source._dtype)
    tensor._base = source._base if source._base is not None else source
    tensor._detached = source._detached
    tensor._counter = source._counter
    root = source._storage.value
    if root.buffer is not None and not root.needs_grad and not source._leaf and 0 < tensor._reach() < root.size:
        # Where the window starts is then no part of what is recorded: every batch of a data set is one program.
        base = tensor._base
        if not (base._leaf or base._detached):
            value = memory_window(root, tensor._shape, strides, offset)
    if value is not None:
        if value.cell is not None and (value.cell is not source._counter or value.needs_grad):
            value = alias(value)  # another tensor shows it: this one has a place of its own in the graph
        if label is not None and value.needs_grad:
            value.label = label
        value.cell = source._counter
        value.version = source._counter.version
        tensor._value = value
        tensor._generation = source._storage.generation
    if not mode.grad:
        tensor._detached = tensor._detached or source.requires_grad
    return tensor
