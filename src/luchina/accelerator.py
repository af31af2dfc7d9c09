"""``luchina.accelerator``: whatever device there is besides the CPU, by one name.

>>> import luchina
>>> luchina.accelerator.device_count() >= 0
True

Source: https://pytorch.org/docs/stable/accelerator.html
"""

from __future__ import annotations

from typing import Any

from luchina import devices
from luchina.graph import program
from luchina.runtime import accelerators


def _kind() -> str | None:
    """NVIDIA's cards if there are any, then OpenCL devices."""
    return next((kind for kind in ("cuda", "opencl") if accelerators.count(kind)), None)


def is_available() -> bool:
    """Whether there is a device besides the CPU."""
    return _kind() is not None


def device_count() -> int:
    """How many devices of the current kind there are."""
    kind = _kind()
    return 0 if kind is None else accelerators.count(kind)


def current_accelerator(check_available: bool = False) -> devices.device | None:
    """The kind of device that is there, without a number; None where there is only the CPU."""
    kind = _kind()
    return None if kind is None else devices.device(kind)


def synchronize(device: Any = None) -> None:
    """Run what is recorded, and wait until a device (the first if none is named) has done all its work.

    Raises:
        RuntimeError: if there is none.
    """
    found = current_accelerator()
    if found is None:
        raise RuntimeError(f"there is no accelerator. What is there: {accelerators.present()}.")
    if device is None or isinstance(device, int):
        device = devices.device(found.type, device or 0)
    where = devices.resolve(device)
    program.realize(())
    if where is not devices.CPU:
        accelerators.accelerator(where.type, where.index or 0).synchronize()
