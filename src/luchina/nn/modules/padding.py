"""Padding layers."""

from __future__ import annotations

from typing import Any

from luchina import Tensor
from luchina.nn import functional as F
from luchina.nn.modules.module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ZeroPad1d",
    "ZeroPad2d",
]


class _Pad(Module):
    spatial: int
    mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self.spatial) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A constant on both sides of the last dimension."""

    spatial = 1


class ConstantPad2d(_ConstantPad):
    """A constant around the last two dimensions."""

    spatial = 2


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Zeros on both sides of the last dimension."""

    spatial = 1


class ZeroPad2d(_ZeroPad):
    """Zeros around the last two dimensions."""

    spatial = 2


class ReflectionPad1d(_Pad):
    """The input mirrored at both ends of the last dimension, the end itself not repeated."""

    spatial, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The input mirrored around the last two dimensions."""

    spatial, mode = 2, "reflect"


class ReplicationPad1d(_Pad):
    """The end elements repeated on both sides of the last dimension."""

    spatial, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The end elements repeated around the last two dimensions."""

    spatial, mode = 2, "replicate"


class CircularPad1d(_Pad):
    """The input wrapped round on the last dimension."""

    spatial, mode = 1, "circular"


class CircularPad2d(_Pad):
    """The input wrapped round on the last two dimensions."""

    spatial, mode = 2, "circular"
