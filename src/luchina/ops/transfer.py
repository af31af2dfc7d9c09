"""Moving numbers from device to device: computed and copied at once, with the gradient going the way back."""

from __future__ import annotations

from typing import Any

from luchina.devices import CPU, device
from luchina.graph import program
from luchina.graph.placement import supported
from luchina.graph.value import Op, Spec, Value, from_buffer, mode
from luchina.runtime import accelerators
from luchina.runtime.buffers import as_numpy


def _same(x: Value, where: device) -> Spec:
    return Spec(x.shape, x.dtype)


LOOKED_AT = 1 << 14
"""Integers of at most so many elements are looked at on their way to a device: they may be indices or targets, about
which the host will be asked."""

PLACE = Op("place", _same, lambda x, where: x)
"""What is made of numbers alone, on a device."""


def _vjp(g: Value, value: Value) -> tuple[Value]:
    where = value.inputs[0].device
    return (to_device(g, CPU if where is None else where),)


def _lower(*args: Any) -> Any:
    raise AssertionError("what was moved is memory")


TO_DEVICE = Op("to_device", _same, _lower, _vjp, grad_name="ToCopy")
"""The same numbers on another device. Such a Value is computed already when it is made."""


def to_device(value: Value, where: device) -> Value:
    """The Value on a device."""
    have = value.device
    if have is where:
        return value
    supported(where, (value.dtype,))
    if have is None:
        return PLACE(value, attrs=(where,))
    if value.buffer is None:
        program.realize((value,))
    block: Any = accelerators.on_host(value.buffer)
    if where is not CPU:
        here, block = block, accelerators.upload(where, block, value.size * value.dtype.itemsize)
        if 0 < value.size <= LOOKED_AT and value.dtype.name in ("int64", "int32", "uint8"):
            numbers = as_numpy(here, value.dtype.name, value.shape)
            accelerators.known_bounds[block.owner] = {value.dtype.name: (int(numbers.min()), int(numbers.max()))}
    if not (mode.grad and value.needs_grad):
        return from_buffer(block, value.shape, value.dtype)
    return Value(TO_DEVICE, (value,), (where,), value.shape, value.dtype, needs_grad=True, buffer=block)


def follow(value: Value, other: Value) -> Value:
    """The Value where ``other`` lies; what lies anywhere stays as it is beside a Value of the CPU."""
    where = other.device
    if where is None or value.device is where or (value.device is None and where is CPU):
        return value
    return to_device(value, where)
