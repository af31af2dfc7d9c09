"""Convolutions and transposed convolutions beside PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from compare import agree, random, same_error

pytestmark = pytest.mark.parity

CASES = [
    ("F.conv2d(x, y, z)", (random(1, 3, 4, 5, 6), random(2, 7, 4, 5, 6), random(3, 7))),  # a matrix product
    ("F.conv1d(x, y, z, stride=2)", (random(1, 3, 4, 5), random(2, 7, 4, 5), random(3, 7))),
    ("F.conv_transpose2d(x, y, z)", (random(1, 3, 4, 1, 1), random(2, 4, 6, 3, 2), random(3, 6))),
    ("F.conv2d(x, y, z)", (random(1, 3, 1, 5, 6), random(2, 7, 1, 1, 1), random(3, 7))),  # outer products
    ("F.conv2d(x, y, z)", (random(1, 3, 5, 5, 6), random(2, 1, 5, 1, 1), random(3, 1))),
    ("F.conv1d(x, y, z)", (random(1, 2, 5, 9), random(2, 1, 5, 1), random(3, 1))),
    ("F.conv2d(x, y)", (random(1, 0, 4, 1, 1), random(2, 3, 4, 1, 1))),
    (
        "F.conv2d(x, y, z)",
        (
            random(1, 2, 4, 7, 6),
            random(2, 6, 4, 3, 2),
            random(3, 6),
        ),
    ),
    (
        "F.conv2d(x, y, z, stride=2, padding=(1, 2), dilation=2, groups=2)",
        (
            random(4, 2, 4, 9, 8),
            random(5, 6, 2, 3, 2),
            random(6, 6),
        ),
    ),
    (
        "F.conv2d(x, y, padding='same')",
        (
            random(1, 4, 7, 6),
            random(2, 6, 4, 4, 3),
        ),
    ),
    (
        "F.conv1d(x, y, z, padding=1, stride=2)",
        (
            random(1, 2, 3, 8),
            random(2, 4, 3, 3),
            random(3, 4),
        ),
    ),
    (
        "F.conv1d(x, y)",
        (
            random(1, 3, 8),
            random(2, 4, 3, 3),
        ),
    ),
    (
        "F.conv2d(x, y)",
        (
            random(1, 0, 3, 5, 5),
            random(2, 4, 3, 3, 3),
        ),
    ),
    (
        "F.conv_transpose2d(x, y, z, stride=2, padding=1, output_padding=1)",
        (
            random(1, 2, 4, 3, 4),
            random(2, 4, 3, 3, 3),
            random(3, 3),
        ),
    ),
    (
        "F.conv_transpose2d(x, y, z, stride=(2, 1), groups=2, dilation=2)",
        (
            random(1, 2, 4, 3, 4),
            random(2, 4, 3, 3, 3),
            random(3, 6),
        ),
    ),
    (
        "F.conv_transpose2d(x, y, z, dilation=2, output_padding=1)",
        (
            random(1, 2, 4, 3, 4),
            random(2, 4, 3, 3, 3),
            random(3, 3),
        ),
    ),
    (
        "F.conv_transpose2d(x, y, z, dilation=2, output_padding=1, padding=2)",
        (
            random(1, 2, 4, 3, 4),
            random(2, 4, 3, 3, 3),
            random(3, 3),
        ),
    ),
    (
        "F.conv_transpose1d(x, y, z, stride=3, output_padding=1)",
        (
            random(1, 2, 4, 5),
            random(2, 4, 3, 3),
            random(3, 3),
        ),
    ),
]


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


ERRORS = [
    "F.conv2d(r(1,3,8,8),r(4,2,3,3))",
    "F.conv2d(r(8,8),r(4,3,3,3))",
    "F.conv2d(r(1,3,2,2),r(4,3,3,3))",
    "F.conv2d(r(1,3,8,8),r(4,3,3,3),r(3))",
    "F.conv2d(r(1,3,8,8),r(4,3,3))",
    "F.conv2d(r(1,3,8,8),r(4,3,3,3),stride=0)",
    "F.conv2d(r(1,3,8,8),r(4,3,3,3),padding=-1)",
    "F.conv2d(r(1,3,8,8),r(4,3,3,3),padding='same',stride=2)",
    "F.conv2d(r(1,3,8,8),r(4,3,3,3),padding='foo')",
    "F.conv2d(r(1,4,8,8),r(4,2,3,3),groups=3)",
    "F.conv2d(r(1,4,8,8),r(3,2,3,3),groups=2)",
    "F.conv2d(r(1,4,8,8),r(4,2,3,3),groups=0)",
    "F.conv2d(r(1,3,8,8),r(4,3,3,3).double())",
    "F.conv2d(r(1,3,8,8),r(4,3,3,3),r(4).double())",
    "F.conv2d(r(1,3,8,8),r(4,3,3,3),stride=(1,2,3))",
    "F.conv2d(r(1,3,8,8),r(4,3,3,3),dilation=0)",
    "F.conv1d(r(1,3,8),r(4,2,3))",
    "F.conv1d(r(8),r(4,3,3))",
    "F.conv1d(r(1,3,2),r(4,3,3))",
    "F.conv_transpose2d(r(1,3,4,4),r(4,2,3,3))",
    "F.conv_transpose2d(r(1,3,4,4),r(3,2,3,3),output_padding=1)",
    "F.conv_transpose2d(r(1,3,4,4),r(3,2,3,3),r(3))",
    "F.conv_transpose2d(r(1,3,1,1),r(3,2,1,1),padding=1)",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
