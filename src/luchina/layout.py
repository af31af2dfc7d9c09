"""In which order the elements of a new tensor lie: as PyTorch's, in that of the tensors it is made from.

A result is row-major, unless an operand's axes were moved (``x.t() + 1`` lies in memory as ``x`` does). It shows in
``stride()``, in what ``view`` allows, and in the order in which random numbers fill a tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

from luchina.graph.value import Value
from luchina.ops.movement import contiguous_strides, permute
from luchina.tensor import Tensor, make, wrap_value


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


def arranged(value: Value, order: Sequence[int]) -> Tensor:
    """A tensor on memory that holds ``value``, whose axes are a tensor's in ``order``, in row-major order."""
    whole = wrap_value(value)
    steps = contiguous_strides(value.shape)
    shape, strides = [0] * len(order), [0] * len(order)
    for at, axis in enumerate(order):
        shape[axis], strides[axis] = value.shape[at], steps[at]
    return make(Tensor, whole._storage, tuple(shape), tuple(strides), 0, value.dtype)


def in_order(value: Value, order: Sequence[int]) -> Value:
    """The Value with its axes in ``order``."""
    return permute(value, tuple(order))
