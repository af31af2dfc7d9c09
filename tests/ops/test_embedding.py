"""Embeddings and one-hot vectors beside PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from compare import agree, random, same_error

pytestmark = pytest.mark.parity

CASES = [
    ("F.embedding(t([[0, 2], [2, 1]]), x)", (random(1, 3, 4),)),
    ("F.embedding(t([[0, 2], [2, 1]]), x, padding_idx=2)", (random(1, 3, 4),)),
    ("F.embedding(t([], dtype=L), x)", (random(1, 3, 4),)),
    ("F.embedding(t(1), x)", (random(1, 3, 4),)),
]


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


@pytest.mark.parametrize(
    "code", ["F.one_hot(t([0, 2]))", "F.one_hot(t([[0], [2]]), 5)", "F.one_hot(t([], dtype=L), 3)"]
)
def test_one_hot(code: str) -> None:
    agree(code, grad=False)


ERRORS = [
    "F.embedding(t([1,5]),r(3,4))",
    "F.embedding(t([-1]),r(3,4))",
    "F.embedding(t([1.]),r(3,4))",
    "F.embedding(t([1]),r(3))",
    "F.embedding(t([1],dtype=M.int16),r(3,4))",
    "F.one_hot(t([0,2]),2)",
    "F.one_hot(t([0,-2]))",
    "F.one_hot(t([0.]))",
    "F.one_hot(t([],dtype=L))",
    "F.one_hot(t([0,1]),0)",
    "F.one_hot(t([1],dtype=M.int32))",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
