"""What programs ask before they choose a device: ``luchina.backends``.

>>> import luchina as torch
>>> torch.backends.mps.is_available(), torch.backends.cuda.is_built()
(False, False)
"""

from __future__ import annotations

from types import SimpleNamespace


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
