"""Sorting, selecting and searching beside PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
from compare import agree, random, same_error

pytestmark = pytest.mark.parity

CUBE = random(0, 3, 4, 5)
TIES = np.array([1.0, 2.0, 2.0, 2.0, 3.0])
NANS = np.array([[1.0, np.nan, 3.0], [2.0, 1.0, 0.0]])
ROWS = np.sort(random(1, 2, 7))
CASES = [
    ("M.sort(x, 1)", (CUBE,)),
    ("M.sort(x, 0, descending=True)", (CUBE,)),
    ("M.topk(x, 2, 1)", (CUBE,)),
    ("M.topk(x, 3, -1, largest=False)", (CUBE,)),
    ("M.kthvalue(x, 2, 1)", (CUBE,)),
    ("M.median(x, 1)", (CUBE,)),
    ("M.median(x)", (CUBE,)),
    ("M.cummax(x, 1)", (CUBE,)),
    ("M.cummin(x, 2)", (CUBE,)),
    ("M.msort(x)", (CUBE,)),
    ("M.median(x)", (TIES,)),
    ("M.mode(x)", (TIES,)),
    ("M.median(x, 1)", (NANS,)),
    ("M.cummax(x, 1)", (NANS,)),
]


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


PLAIN = [
    ("M.unique(x, return_inverse=True, return_counts=True)", (TIES,)),
    ("M.unique_consecutive(x, return_inverse=True, return_counts=True)", (np.array([3, 3, 1, 3]),)),
    ("M.searchsorted(x, y)", (ROWS, random(2, 2, 4))),
    ("M.searchsorted(x, y, right=True)", (ROWS[0], ROWS)),
    ("M.bucketize(y, x)", (ROWS[0], np.array([[1.0, np.nan], [np.inf, -9.0]]))),
    ("M.sort(x, 1, descending=True)", (NANS,)),
    ("M.median(x)", (NANS,)),
    ("M.bincount(t([1, 2, 2, 5]), x)", (random(1, 4),)),
    ("M.histc(x.float(), 4).double()", (random(1, 20),)),
]


@pytest.mark.parametrize(("code", "arrays"), PLAIN, ids=[code for code, _ in PLAIN])
def test_without_gradient(code: str, arrays: tuple) -> None:
    agree(code, *arrays, grad=False)


@pytest.mark.parametrize("n", range(6))
def test_search_in_short_sequences(n: int) -> None:
    agree("M.searchsorted(x, y)", np.arange(float(n)), np.arange(-1.0, 8.0), grad=False)


ERRORS = [
    "M.sort(r(3),dim=2)",
    "M.topk(r(3,4),5)",
    "M.topk(r(3,4),2,dim=3)",
    "M.topk(t(3.),2)",
    "M.topk(r(3),-1)",
    "M.topk(t([True]),1)",
    "M.kthvalue(r(3),4)",
    "M.kthvalue(r(3),0)",
    "M.median(r(0,3),0)",
    "M.mode(r(0))",
    "M.cummax(r(3),2)",
    "M.searchsorted(r(2,3),r(3,2))",
    "M.bucketize(r(2),r(2,2))",
    "M.searchsorted(t([1.,3.,5.]),t([2.,3.]),side='foo')",
    "M.searchsorted(t([1.,3.,5.]),t([2.,3.]),right=True,side='left')",
    "M.bincount(t([1,-2,2]))",
    "M.bincount(t([1.]))",
    "M.bincount(t([[1]]))",
    "M.bincount(t([1,2]),t([1.]))",
    "M.bincount(t([1,2]),minlength=-1)",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
