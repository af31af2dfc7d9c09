"""What programs ask before they choose a device: ``luchina.backends``.

>>> import luchina as torch
>>> torch.backends.mps.is_available(), torch.backends.cuda.is_built()
(False, False)
"""

from __future__ import annotations

from types import SimpleNamespace

from luchina.compiler import allowed
from luchina.graph import program


def _no() -> bool:
    """Not here."""
    return False


def _none() -> None:
    """There is no version of what is not here."""


class _Matmul:
    """``backends.cuda.matmul``: how float32 products are computed on a card."""

    @property
    def allow_tf32(self) -> bool:
        """Whether they may be rounded to tf32, 10 bits of fraction, for the tensor cores."""
        return allowed.tensor_float

    @allow_tf32.setter
    def allow_tf32(self, allow: bool) -> None:
        set_float32_matmul_precision("high" if allow else "highest")


def set_float32_matmul_precision(precision: str) -> None:
    """How float32 products are computed: "highest" in float32; "high" and "medium" allow a GPU's tensor cores to round
    their operands to tf32.

    >>> import luchina
    >>> luchina.get_float32_matmul_precision()
    'highest'

    Source: https://pytorch.org/docs/stable/generated/torch.set_float32_matmul_precision.html
    """
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"Unknown float32_matmul_precision: {precision}. It must be highest, high or medium.")
    _precision = precision
    if allowed.tensor_float != (precision != "highest"):
        allowed.tensor_float = precision != "highest"
        program.clear()  # compiled programs are of the other kind


def get_float32_matmul_precision() -> str:
    """What ``set_float32_matmul_precision`` was told; "highest" to begin with."""
    return _precision


_precision = "highest"

cuda = SimpleNamespace(is_built=_no, matmul=_Matmul())
mps = SimpleNamespace(is_built=_no, is_available=_no)
cudnn = SimpleNamespace(is_available=_no, version=_none)
mkl = SimpleNamespace(is_available=_no)
mkldnn = SimpleNamespace(is_available=_no)
openmp = SimpleNamespace(is_available=_no)
