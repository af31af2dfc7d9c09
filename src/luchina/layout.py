"""In which order the elements of a new tensor lie: as PyTorch's, in that of the tensors it is made from.

A result is row-major, unless an operand's axes were moved (``x.t() + 1`` lies in memory as ``x`` does). It shows in
``stride()``, in what ``view`` allows, and in the order in which random numbers fill a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from luchina.graph.value import Value
from luchina.ops.movement import CLONE, contiguous_strides, permute, reshape
from luchina.ops.pointwise import cast
from luchina.tensor import Tensor, grad_name, make, wrap_value


def memory_order(shape: Sequence[int], operands: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """The axes of a result from the slowest to the fastest, given the strides of its operands (0 where one is
    broadcast); None for row-major.

    Two axes keep the order that the first operand with an opinion has for them.
    """
    order = list(range(len(shape) - 1, -1, -1))  # from the fastest on
    for i in range(1, len(order)):
        at = i
        for before in range(i - 1, -1, -1):
            verdict = _compare(shape, operands, order[before], order[at])
            if verdict > 0:
                order[before], order[at] = order[at], order[before]
                at = before
            elif verdict < 0:
                break
    axes = tuple(reversed(order))
    moved = [axis for axis in axes if shape[axis] != 1]
    return None if moved == sorted(moved) else axes


def _compare(shape: Sequence[int], operands: Sequence[Sequence[int]], a: int, b: int) -> int:
    """Whether axis ``a`` is slower (1) or faster (-1) than ``b``; 0 if nobody can tell."""
    for strides in operands:
        if strides[a] == 0 or strides[b] == 0:
            continue
        if strides[a] != strides[b]:
            return -1 if strides[a] < strides[b] else 1
        if shape[a] > shape[b]:
            return 1
    return 0


def order_of(tensor: Tensor) -> tuple[int, ...] | None:
    """The axes of a tensor from the slowest to the fastest; None if it is row-major."""
    return None if tensor.is_contiguous() else memory_order(tensor._shape, [tensor._strides])


CHANNELS_LAST = (0, 2, 3, 1)


def order_in(memory_format: Any, rank: int, kept: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The axes of a result from the slowest to the fastest in a ``memory_format``, None for row-major; ``kept`` is
    what keeping the order of its operand means.

    Raises:
        RuntimeError: for ``channels_last`` of another rank than 4.
    """
    if memory_format in (None, "preserve_format"):
        return kept
    if memory_format == "contiguous_format":
        return None
    if memory_format != "channels_last":
        raise NotImplementedError(f"memory_format={memory_format} is not there yet")
    if rank != 4:
        raise RuntimeError("required rank 4 tensor to use channels_last format")
    return CHANNELS_LAST


def copied(x: Tensor, memory_format: Any, d: Any = None) -> Tensor:
    """A copy (of dtype ``d``) that lies in memory as ``memory_format`` says, with the gradient passing through."""
    order = order_in(memory_format, x.ndim, order_of(x))
    value = x._read() if order is None else permute(x._read(), order)
    value = CLONE(value) if d is None or d is x.dtype else cast(value, d)
    return wrap_value(value) if order is None else arranged(value, order)


def arranged(value: Value, order: Sequence[int]) -> Tensor:
    """A tensor on memory that holds ``value``, whose axes are a tensor's in ``order``, in row-major order."""
    first = wrap_value(value)
    storage = first._storage
    whole = storage.value
    steps = contiguous_strides(whole.shape)
    back = [0] * len(order)
    for at, axis in enumerate(order):
        back[axis] = at
    shape, strides = tuple([whole.shape[at] for at in back]), tuple([steps[at] for at in back])
    result = make(Tensor, storage, shape, strides, 0, whole.dtype)
    result._moved, result._counter = True, first._counter
    if whole.needs_grad:
        shown = permute(whole, tuple(back))
        shown.label = grad_name(whole)
        shown.cell = result._counter
        result._value, result._generation = shown, storage.generation
    return result


def in_order(value: Value, order: Sequence[int]) -> Value:
    """The Value with its axes in ``order``."""
    return permute(value, tuple(order))


def elementwise(
    call: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], label: Any = None
) -> Tensor | None:
    """The result of an elementwise operation where an operand's axes were moved, in the memory order that PyTorch gives
    it; None where it is row-major. ``label(value)`` names the result's ``grad_fn``."""
    for x in args:
        if isinstance(x, Tensor) and (x._base is not None or x._moved or x._detached) and not x.is_contiguous():
            break
    else:
        return None
    tensors = [x for x in args if isinstance(x, Tensor)]
    rank = max(x.ndim for x in tensors)
    shape = [1] * rank
    for x in tensors:
        for axis, n in enumerate(x._shape, rank - x.ndim):
            if n != 1:
                shape[axis] = n
    operands = []
    for x in tensors:
        steps = [0 if n == 1 != shape[i] else s for i, (n, s) in enumerate(zip(x._shape, x._strides), rank - x.ndim)]
        operands.append([0] * (rank - x.ndim) + steps)
    order = memory_order(shape, operands)
    if order is None:
        return None
    value = call(*[_turned(x, rank, order) if isinstance(x, Tensor) else x for x in args], **kwargs)
    if value.__class__ is not Value:
        return None
    if label is not None:
        label(value)
    return arranged(value, order)


def _turned(x: Tensor, rank: int, order: Sequence[int]) -> Value:
    value = x._read()
    if not value.shape:
        return value
    if len(value.shape) < rank:
        value = reshape(value, (1,) * (rank - len(value.shape)) + value.shape)
    return permute(value, tuple(order))
