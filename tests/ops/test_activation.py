"""Activation functions beside PyTorch: values, gradients, gradients of gradients, errors."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
from compare import agree, random, same_error

pytestmark = pytest.mark.parity

SPECIAL = np.concatenate([random(0, 17) * 3, [0.0, -0.0, 25.0, -25.0, 3.0, -3.0, 6.0]]).reshape(4, 6)
CASES = [
    ("M.relu(x)", (SPECIAL,)),
    ("F.leaky_relu(x)", (SPECIAL,)),
    ("F.gelu(x)", (SPECIAL,)),
    ("F.gelu(x, approximate='tanh')", (SPECIAL,)),
    ("F.silu(x)", (SPECIAL,)),
    ("F.elu(x, 0.7)", (SPECIAL,)),
    ("F.selu(x)", (SPECIAL,)),
    ("F.celu(x, 2.0)", (SPECIAL,)),
    ("F.mish(x)", (SPECIAL,)),
    ("F.softplus(x)", (SPECIAL,)),
    ("F.softplus(x, 2.0, 3.0)", (SPECIAL,)),
    ("F.hardtanh(x)", (SPECIAL,)),
    ("F.relu6(x)", (SPECIAL,)),
    ("F.hardswish(x)", (SPECIAL,)),
    ("F.logsigmoid(x)", (SPECIAL,)),
    ("M.softmax(x, 1)", (SPECIAL,)),
    ("M.softmax(x, 0)", (SPECIAL,)),
    ("M.log_softmax(x, 1)", (SPECIAL,)),
    ("M.log_softmax(x, 0)", (SPECIAL,)),
    ("F.softmin(x, 1)", (SPECIAL,)),
    ("F.glu(x)", (SPECIAL,)),
    ("F.threshold(x, 0.3, 2.0)", (SPECIAL,)),
    ("F.tanhshrink(x)", (SPECIAL,)),
    ("F.softshrink(x)", (SPECIAL,)),
    ("F.hardshrink(x)", (SPECIAL,)),
    ("F.softsign(x)", (SPECIAL,)),
    (
        "F.prelu(x, y)",
        (
            random(1, 2, 6, 2),
            random(2, 6),
        ),
    ),
    (
        "F.prelu(x, y)",
        (
            SPECIAL,
            random(2, 1),
        ),
    ),
    ("M.softmax(x, 0)", (random(3),)),
    ("M.softmax(x, 0)", (random(3, 0, 3),)),
]


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


def test_hardsigmoid() -> None:
    agree("F.hardsigmoid(x)", SPECIAL, double=False)  # PyTorch has no second derivative of it


ERRORS = [
    "F.softmax(t([1,2]),0)",
    "M.softmax(t([1,2]),0)",
    "M.softmax(r(3),1)",
    "M.log_softmax(t([True]),0)",
    "M.relu(t([True]))",
    "F.gelu(t([1]))",
    "F.gelu(r(3),approximate='foo')",
    "F.silu(t([1]))",
    "F.elu(t([1]))",
    "F.softplus(t([1]))",
    "F.leaky_relu(t([1]))",
    "F.mish(t([1]))",
    "F.hardswish(t([1]))",
    "F.hardsigmoid(t([1]))",
    "F.logsigmoid(t([1]))",
    "F.softshrink(t([1]))",
    "F.hardshrink(t([1]))",
    "F.glu(r(3))",
    "F.glu(t(3.))",
    "F.glu(t([1,2]))",
    "F.glu(r(4),3)",
    "F.prelu(r(2,3),r(2))",
    "F.prelu(r(2,3),r(1,3))",
    "F.prelu(r(2,3).double(),r(3))",
    "F.prelu(t(3.),r(2))",
    "F.celu(r(2),0)",
    "F.selu(t([1]))",
    "F.softshrink(r(2),-1)",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
