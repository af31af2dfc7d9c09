"""Convolutions as implicit matrix products: the patches are gathered while packing, never in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from luchina.compiler.contraction.interface import Call, Epilogue, Window

if TYPE_CHECKING:
    from luchina.compiler.target import Target


def conv2d(
    x: Window,
    w: Window,
    outs: list[Window],
    x_shape: tuple[int, int, int, int],
    w_shape: tuple[int, int, int, int],
    stride: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    dilation: tuple[int, int],
    groups: int,
    target: Target,
    temporary: Callable[[int], int],
    epilogue: Epilogue | None = None,
) -> list[Call]:
    """``prims.conv2d``: x (N, C, H, W), w (O, C/groups, kh, kw), outs and epilogue operands (N, O, H', W')."""
    raise NotImplementedError


def conv2d_input(
    g: Window,
    w: Window,
    outs: list[Window],
    x_shape: tuple[int, int, int, int],
    w_shape: tuple[int, int, int, int],
    stride: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    dilation: tuple[int, int],
    groups: int,
    target: Target,
    temporary: Callable[[int], int],
    epilogue: Epilogue | None = None,
) -> list[Call]:
    """``prims.conv2d_input``: g (N, O, H', W'), w (O, C/groups, kh, kw), outs and epilogue operands (N, C, H, W)."""
    raise NotImplementedError


def conv2d_weight(
    x: Window,
    g: Window,
    outs: list[Window],
    x_shape: tuple[int, int, int, int],
    w_shape: tuple[int, int, int, int],
    stride: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    dilation: tuple[int, int],
    groups: int,
    target: Target,
    temporary: Callable[[int], int],
    epilogue: Epilogue | None = None,
) -> list[Call]:
    """``prims.conv2d_weight``: x (N, C, H, W), g (N, O, H', W'), outs and epilogue operands (O, C/groups, kh, kw)."""
    raise NotImplementedError
