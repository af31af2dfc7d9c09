"""``round`` to decimal places beside PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
from compare import agree, random, same_error

pytestmark = pytest.mark.parity

NUMBERS = np.concatenate([random(0, 30) * 100, [0.5, 1.5, 2.5, -0.5, 0.25, -0.0, 15.0, 25.0, np.nan, np.inf, 1e300]])


@pytest.mark.parametrize("decimals", [-2, -1, 0, 1, 2, 5])
def test_values_and_gradients(decimals: int) -> None:
    agree(f"M.round(x, decimals={decimals})", NUMBERS, double=False)
    agree(f"x.float().round(decimals={decimals})", NUMBERS[:-1], grad=False)
    agree(f"x.bfloat16().round(decimals={decimals}).double()", NUMBERS[:-1], grad=False)
    agree(f"x.half().round(decimals={decimals}).double()", NUMBERS[:-1], grad=False)
    agree(f"x.clone().round_(decimals={decimals})", NUMBERS, grad=False)


def test_errors() -> None:
    same_error("M.round(t([1, 25]), decimals=-1)")
    same_error("M.round(t([True]), decimals=1)")
    same_error("M.round(t([True]))")
