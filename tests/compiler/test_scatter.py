"""Scatter: the order of contributions, every mode and dtype, bits that do not depend on how the rows are shared out."""

from __future__ import annotations

import numpy as np
import pytest
from tests import reference
from tests.compiler.test_build import run

from luchina.compiler import prims as P
from luchina.compiler.prims import DTYPES, FLOATS
from luchina.compiler.scatter import NARROW, ROW_BLOCKS, WORTH_SPLITTING, blocks_for

MODES = ["set", "add", "mul", "max", "min"]


def in_order(base: np.ndarray, index: np.ndarray, source: np.ndarray, mode: str, dtype: str) -> np.ndarray:
    """Row after row, each result rounded to the table's dtype."""
    combine = dict(reference.SCAN, set=lambda a, b: b, add=np.add, mul=np.multiply, max=np.maximum, min=np.minimum)
    out = base.copy()
    for i, row in enumerate(index):
        if dtype in FLOATS:
            a, b = (reference.load(v, dtype) for v in (out[row], source[i]))
            out[row] = reference.store(combine[mode](a, b), dtype)
        else:
            out[row] = combine[mode](out[row], source[i])
    return out


def scatter(base: np.ndarray, index: np.ndarray, source: np.ndarray, mode: str, dtype: str) -> np.ndarray:
    nodes = (P.input(0, base.shape, dtype), P.input(1, index.shape, "int64"), P.input(2, source.shape, dtype))
    (got,), _ = run([P.scatter(*nodes, mode)], [base, index, source])
    return got


def numbers(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype in FLOATS:
        return reference.store(rng.uniform(0.5, 1.5, shape), dtype)
    return rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_rows_are_combined_in_the_order_of_the_index(dtype, mode):
    rng = np.random.default_rng(0)
    for rows, width, n in [(5, 1, 40), (3, 7, 9), (6, 33, 20), (4, 3, 0), (1, 16, 5)]:
        base, source = numbers(rng, dtype, (rows, width)), numbers(rng, dtype, (n, width))
        index = rng.integers(0, rows, n)
        want = in_order(base, index, source, mode, dtype)
        np.testing.assert_array_equal(scatter(base, index, source, mode, dtype), want)


@pytest.mark.parametrize("rows", [1, 3, 8, 13, 1000])
def test_ranges_of_rows_give_the_same_bits_as_one_pass(rows):
    """The contributions' magnitudes differ so much that any other order of addition would show."""
    rng = np.random.default_rng(1)
    width, n = 2 * NARROW, 1 + WORTH_SPLITTING // (2 * NARROW)
    assert blocks_for(rows, width, n) == min(rows, ROW_BLOCKS)
    source = (rng.standard_normal((n, width)) * 10.0 ** rng.integers(-6, 6, (n, 1))).astype(np.float32)
    index = rng.integers(0, rows, n)
    base = rng.standard_normal((rows, width)).astype(np.float32)
    want = in_order(base, index, source, "add", "float32")
    np.testing.assert_array_equal(scatter(base, index, source, "add", "float32"), want)


def test_division_into_blocks_is_by_extents():
    assert blocks_for(1000, 1, 10**7) == 1, "narrow rows: reading the index costs more than the rows"
    assert blocks_for(1000, 128, 10) == 1, "little work"
    assert blocks_for(5, 4096, 100) == 5
    assert blocks_for(50000, 128, 4096) == ROW_BLOCKS


@pytest.mark.parametrize("mode", ["max", "min"])
def test_nan_wins(mode):
    base = np.zeros((2, 3), np.float32)
    source = np.array([[1, np.nan, -1], [2, 2, 2]], np.float32)
    got = scatter(base, np.array([1, 1]), source, mode, "float32")
    assert np.isnan(got).tolist() == [[False] * 3, [False, True, False]]


def test_the_base_is_not_written():
    base = np.ones((4, 5), np.float32)
    nodes = (P.input(0, (4, 5), "float32"), P.input(1, (3,), "int64"), P.input(2, (3, 5), "float32"))
    source, index = np.full((3, 5), 2.0, np.float32), np.array([0, 2, 2])
    (got, kept), _ = run([P.scatter(*nodes), P.binary("mul", nodes[0], nodes[0])], [base, index, source])
    np.testing.assert_array_equal(got[:, 0], [3, 1, 5, 1])
    np.testing.assert_array_equal(kept, base)
