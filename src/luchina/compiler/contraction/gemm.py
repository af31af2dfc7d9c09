"""Matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from luchina.compiler.contraction.interface import Call, Epilogue, Window

if TYPE_CHECKING:
    from luchina.compiler.target import Target


def dot(
    a: Window,
    b: Window,
    outs: list[Window],
    shape: tuple[int, int, int, int],
    target: Target,
    temporary: Callable[[int], int],
    epilogue: Epilogue | None = None,
) -> list[Call]:
    """``C[i, m, n] = sum_k A[i, m, k] · B[i, k, n]``: ``prims.dot``.

    Args:
        a: window with strides (batch, m, k).
        b: window with strides (batch, k, n); of the same dtype.
        outs: windows with strides (batch, m, n), one for each output of the epilogue.
        shape: (batch, M, N, K).
        target: the machine.
        temporary: gives the table entry of a temporary of so many bytes.
        epilogue: applied to every element once; its operands have strides (batch, m, n).
    """
    raise NotImplementedError
