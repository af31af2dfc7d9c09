"""Where an operation's result lies: on the device of its inputs.

Asked once for each signature (``Op.__call__``), like shape and dtype: a recorded Value's device is found by its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from luchina.devices import CPU, device
from luchina.runtime import accelerators

if TYPE_CHECKING:
    from luchina.dtypes import dtype
    from luchina.graph.value import Op, Value

elsewhere: dict[int, device | None] = {}
"""The devices of recorded Values that do not lie on the CPU, by their keys, which are never used again."""


def place(op: Op, inputs: Sequence[Value], attrs: tuple[Any, ...]) -> device | None:
    """The device that all inputs share. 0-dim tensors of the CPU go with any other. Without tensors: the one that an
    attribute names, or None, which goes with any.

    Raises:
        RuntimeError: if two inputs lie on different devices.
    """
    first: Value | None = None
    alone = None
    for value in inputs:
        where = value.device
        if where is None:
            continue
        if where is CPU and not value.shape:
            alone = CPU
        elif first is None:
            first = value
        elif first.device is not where:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {first.device} and "
                f"{where}! ({_title(first)} and {_title(value)}, in {op.name})"
            )
    if first is not None:
        return first.device
    if alone is not None:
        return alone
    for attr in attrs:
        if attr.__class__ is device:
            return attr
    return None


def supported(where: device | None, dtypes: Iterable[dtype]) -> None:
    """Raise TypeError if a device has no arithmetic for one of the dtypes."""
    if where is None or where is CPU:
        return
    accelerator = accelerators.accelerator(where.type, where.index or 0)
    for d in dtypes:
        if d.name in accelerator.unsupported:
            raise TypeError(
                f"{where} does not support {d} ({accelerator.description} lacks {accelerator.unsupported[d.name]}). "
                "Please use torch.float32 instead, or the CPU."
            )


def _title(value: Value) -> str:
    return f"{value.dtype.name}{list(value.shape)} on {value.device}"
