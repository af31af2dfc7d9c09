"""What programs ask before they choose a device: ``luchina.backends`` and the default device.

>>> import luchina as torch
>>> torch.backends.mps.is_available(), torch.backends.cuda.is_built(), torch.get_default_device()
(False, False, device(type='cpu'))
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from luchina import devices


def _no() -> bool:
    """Not here."""
    return False


def _none() -> None:
    """There is no version of what is not here."""


cuda = SimpleNamespace(is_built=_no)
mps = SimpleNamespace(is_built=_no, is_available=_no)
cudnn = SimpleNamespace(is_available=_no, version=_none)
mkl = SimpleNamespace(is_available=_no)
mkldnn = SimpleNamespace(is_available=_no)
openmp = SimpleNamespace(is_available=_no)


def get_default_device() -> devices.device:
    """Where tensors are made: the CPU."""
    return devices.CPU


def set_default_device(device: Any) -> None:
    """Choose where tensors are made; RuntimeError that says what is there for anything but the CPU (or None)."""
    devices.resolve(device)
