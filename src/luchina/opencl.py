"""``luchina.opencl``: devices with an OpenCL driver, as ``luchina.cuda`` has NVIDIA's.

>>> import luchina
>>> luchina.opencl.device_count() >= 0
True
"""

from __future__ import annotations

from typing import Any

from luchina import device_generator, devices, random
from luchina.graph import program
from luchina.runtime import accelerators
from luchina.tensor import Tensor

__all__ = ["device_count", "get_device_name", "get_rng_state", "is_available", "manual_seed", "synchronize"]


def is_available() -> bool:
    """Whether there is a device that luchina can use: see ``why_not``."""
    return device_count() > 0


def device_count() -> int:
    """How many devices there are."""
    return accelerators.count("opencl")


def why_not() -> str:
    """Why there is no device (no driver, a driver without SPIR-V …); empty where there is one."""
    try:
        devices.resolve("opencl")
    except RuntimeError as error:
        return str(error)
    return ""


def _find(what: Any = None) -> devices.device:
    """The device that an argument names: a number, a ``luchina.device`` or its text, or None for the first."""
    if what is None:
        what = 0
    where = devices.device("opencl", what) if isinstance(what, int) else devices.device(what)
    if where.type != "opencl":
        raise ValueError(f"Expected an opencl device, but got: {where}")
    return devices.resolve(where)


def get_device_name(device: Any = None) -> str:
    """What the driver says that a device is."""
    where = _find(device)
    return accelerators.accelerator(where.type, where.index or 0).description


def synchronize(device: Any = None) -> None:
    """Run what is recorded, and wait until a device has done all its work."""
    where = _find(device)
    program.realize(())
    accelerators.accelerator(where.type, where.index or 0).synchronize()


def manual_seed(seed: int, device: Any = None) -> None:
    """Seed a device's generator."""
    device_generator.default(_find(device)).manual_seed(seed)


def get_rng_state(device: Any = None) -> Tensor:
    """The state of a device's generator: 16 bytes, its seed and its offset."""
    return random.state_tensor(device_generator.default(_find(device)))


def set_rng_state(new_state: Tensor, device: Any = None) -> None:
    """Set the state of a device's generator."""
    device_generator.default(_find(device)).set_state(bytes(new_state.tolist()))
