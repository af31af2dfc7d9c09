"""DLPack: memory shared with other array libraries."""

from __future__ import annotations

from typing import Any

from luchina.creation import from_dlpack as from_dlpack
from luchina.tensor import Tensor


def to_dlpack(tensor: Tensor) -> Any:
    """A capsule of the tensor's memory."""
    return tensor.__dlpack__()
