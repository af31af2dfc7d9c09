"""Pooling beside PyTorch: ties, padding, ceil mode, places, gradients."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
from compare import agree, random, same_error

pytestmark = pytest.mark.parity

PLANES = np.round(random(0, 2, 3, 8, 6) * 2)  # with ties
CASES = [
    ("F.max_pool2d(x, 2)", (PLANES,)),
    ("F.max_pool2d(x, 3, 2, 1)", (PLANES,)),
    ("F.max_pool2d(x, (2, 3))", (PLANES,)),
    ("F.max_pool2d(x, 3, ceil_mode=True)", (PLANES,)),
    ("F.max_pool2d(x, 2, 2, dilation=2)", (PLANES,)),
    ("F.max_pool2d(x, 3, 1, 1)", (PLANES,)),
    ("F.max_pool2d(x, (8, 6))", (PLANES,)),
    ("F.max_pool2d(x, 5, 3, 2)", (PLANES,)),
    ("F.max_pool2d(x, 3, 2, 1, return_indices=True)", (PLANES,)),
    ("F.max_pool2d(x, 2, return_indices=True)", (PLANES,)),
    ("F.max_pool2d(x[0], 2)", (PLANES,)),
    ("F.avg_pool2d(x, 2)", (PLANES,)),
    ("F.avg_pool2d(x, 3, 2, 1)", (PLANES,)),
    ("F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)", (PLANES,)),
    ("F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)", (PLANES,)),
    ("F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)", (PLANES,)),
    ("F.avg_pool2d(x, (8, 6))", (PLANES,)),
    ("F.avg_pool2d(x, 2, divisor_override=3)", (PLANES,)),
    ("F.avg_pool2d(x, 3, 3)", (PLANES,)),
    ("F.adaptive_avg_pool2d(x, 1)", (PLANES,)),
    ("F.adaptive_avg_pool2d(x, (4, 3))", (PLANES,)),
    ("F.adaptive_avg_pool2d(x, (3, 5))", (PLANES,)),
    ("F.adaptive_avg_pool2d(x, (None, 4))", (PLANES,)),
    ("F.adaptive_max_pool2d(x, (3, 4))", (PLANES,)),
    ("F.adaptive_max_pool2d(x, (4, 3))", (PLANES,)),
    ("F.max_pool1d(x, 2)", (random(1, 2, 3, 9),)),
    ("F.max_pool1d(x, 3, 2, 1)", (random(1, 2, 3, 9),)),
    ("F.avg_pool1d(x, 2)", (random(1, 2, 3, 9),)),
    ("F.avg_pool1d(x, 3, 1, 1)", (random(1, 2, 3, 9),)),
    ("F.adaptive_avg_pool1d(x, 4)", (random(1, 2, 3, 9),)),
    ("F.max_pool1d(x, 3, return_indices=True)", (random(1, 2, 3, 9),)),
    ("F.max_pool1d(x, 4, ceil_mode=True)", (random(1, 2, 3, 9),)),
]


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


ERRORS = [
    "F.max_pool2d(r(1,3,4,4),2,padding=2)",
    "F.max_pool2d(r(1,3,4,4),5)",
    "F.max_pool2d(r(4,4),2)",
    "F.max_pool2d(r(1,0,4,4),2)",
    "F.max_pool2d(r(1,1,4,0),2)",
    "F.max_pool2d(r(1,3,4,4),2,stride=0)",
    "F.max_pool2d(r(1,3,4,4),(2,2,2))",
    "F.max_pool2d(r(1,3,4,4),0)",
    "F.max_pool1d(r(5),2)",
    "F.avg_pool2d(r(1,3,4,4),2,padding=2)",
    "F.avg_pool2d(r(1,3,4,4),2,divisor_override=0)",
    "F.avg_pool2d(r(4,4),2)",
    "F.avg_pool2d(r(1,3,4,4),5)",
    "F.avg_pool1d(r(5),2)",
    "F.adaptive_avg_pool2d(r(5,7),2)",
    "F.adaptive_avg_pool2d(r(1,1,5,7),(-1,2))",
    "F.adaptive_avg_pool1d(r(7),3)",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
