"""Writes over memory: an optimizer's step, which changes its parameters and states where they lie.

Such a step is one Value whose inputs are the gradients and one leaf, the *pack* of all memory that it writes over.
Nobody waits for its results: the run that computes it leaves them in the storages. Only memory that nobody else looks
at is written over.
"""

from __future__ import annotations

from sys import getrefcount
from typing import Any

from luchina.dispatch.exchange import Exchangeable
from luchina.graph.value import Value, from_buffer
from luchina.runtime import accelerators
from luchina.runtime.accelerators import Memory
from luchina.runtime.buffers import Buffer


class Update:
    """One step's writes, pending.

    Attributes
        value: computes what is written, one result for each of ``tensors``, in order.
        tensors: whose storages receive it, a list.
        written: called when it is done.
    """

    __slots__ = ("tensors", "value", "written")

    def __init__(self, value: Value, tensors: list[Any], written: Any) -> None:
        self.value = value
        self.tensors = tensors
        self.written = written

    def finish(self, results: list[Any]) -> None:
        """Let the storages show the results, most of which are the very memory that they had."""
        show(self.tensors, results)
        self.written()


def numbers_of(tensor: Any) -> Value:
    """A tensor's Value without its role as a leaf."""
    value = tensor._storage.value
    if value.shape == tensor._shape and not value.needs_grad and tensor._is_whole():
        return value
    return tensor._read()


def _ready(
    held: tuple[Any, ...],
    params: list[Any],
    without: list[Any],
    counters: list[Any],
    versions: list[int],
    memory: Buffer | None,
) -> list[Value] | None:
    """The Values of the parameters' gradients, if everything is as the step before left it, else None.

    Args:
        held: dictionaries, each followed by a key and what has to be there.
        params, without: the parameters that have a gradient, and those that have none.
        counters, versions, memory: tensors which are that memory, and the readings of their version counters.
    """
    for mapping, name, expected in zip(held[::3], held[1::3], held[2::3]):
        if mapping.get(name) is not expected:
            return None
    for param in without:
        if param._grad is not None:
            return None
    if len(counters) != len(versions):
        return None
    for counter, version in zip(counters, versions):
        if counter._counter.version != version or counter._storage.value.buffer is not memory:
            return None
    gradients = [param._grad for param in params]
    return None if any(g is None for g in gradients) else [numbers_of(g) for g in gradients]


ready = Exchangeable(_ready)  # until ``luchina.dispatch`` has compiled it


def show_one(tensor: Any, buffer: Buffer | Memory) -> None:
    """Let a tensor's storage show what was written to a buffer, its own or another."""
    storage = tensor._storage
    value = storage.value
    if buffer is not value.buffer:
        storage.value = tensor._value = from_buffer(buffer, value.shape, value.dtype)
    storage.generation += 1
    tensor._counter.version += 1


def _show(tensors: list[Any], buffers: list[Any]) -> None:
    """``show_one`` for each tensor and its buffer."""
    for tensor, buffer in zip(tensors, buffers, strict=True):
        show_one(tensor, buffer)


show = Exchangeable(_show)  # until ``luchina.dispatch`` has compiled it


def _own(tensors: list[Any]) -> list[Buffer | Memory] | None:
    """``own_memory`` of each tensor; None if it is None of any."""
    buffers = [own_memory(tensor) for tensor in tensors]
    return None if None in buffers else buffers  # type: ignore[return-value]


own = Exchangeable(_own)  # until ``luchina.dispatch`` has compiled it


def own_memory(tensor: Any) -> Buffer | Memory | None:
    """The memory of a tensor, for writing over: a copy of its own where somebody else holds it too. None if the tensor
    is pending, a part of its storage, or shared with other libraries."""
    storage = tensor._storage
    value = storage.value
    buffer = value.buffer
    if buffer is None or storage.lent or value.needs_grad or value.shape != tensor._shape:
        return None
    if not tensor._dense or tensor._offset:
        return None
    seen = tensor._value
    # The storage's Value, this function and the question itself; and the Value that the tensor shows, if another.
    holders = 3 if seen is value or seen is None or seen.buffer is not buffer else 4
    if getrefcount(buffer) > holders or _is_part(buffer):
        fresh = accelerators.allocate_beside(buffer)
        accelerators.copy(fresh, buffer, value.size * value.dtype.itemsize)
        storage.value = tensor._value = from_buffer(fresh, value.shape, value.dtype)  # nothing shows the old memory
        storage.generation += 1
        return fresh
    return buffer


def _is_part(buffer: Buffer | Memory) -> bool:
    """Whether others may lie in a block's memory too: it is another library's, or windows on it are held."""
    if isinstance(buffer, Memory):
        # Beside this Memory only the question itself may hold the device's buffer.
        return buffer.ptr != buffer.owner.ptr or getrefcount(buffer.owner) > 2
    return buffer.is_external
