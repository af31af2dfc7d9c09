"""Running reductions and stable sorting of rows, beside numpy."""

from __future__ import annotations

import numpy as np
import pytest
from tests import reference
from tests.compiler.test_build import run

from luchina.compiler import prims as P
from luchina.compiler.order import SHORT
from luchina.compiler.prims import DTYPES, FLOATS

WIDE = {"float16": np.float32, "bfloat16": np.float32, "float32": np.float64, "float64": np.float64}


def values(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Elements of all magnitudes with many ties; floats with NaN, infinities and both zeros."""
    rng = np.random.default_rng(seed)
    if dtype not in FLOATS:
        low, high = (0, 2) if dtype == "bool" else (0, 256) if dtype == "uint8" else (-120, 120)
        x = rng.integers(low, high, shape).astype(dtype)
        if x.size > 4 and dtype != "bool":
            x.flat[:2] = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
        return x
    x = np.where(rng.random(shape) < 0.5, rng.integers(-3, 4, shape), rng.standard_normal(shape) * 100)
    special = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 6e-8, -6e-8]
    x = np.where(rng.random(shape) < 0.2, rng.choice(special, shape), x)
    return reference.store(x.astype(np.float64), dtype)


def readable(x: np.ndarray, dtype: str) -> np.ndarray:
    return reference.load(x, dtype) if dtype in FLOATS else x


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_argsort_is_numpys_stable_order(dtype, descending):
    for shape in [(7, 1), (5, 2), (3, SHORT - 1), (3, SHORT), (3, SHORT + 1), (2, 700), (1, 5000), (300, 3)]:
        x = values(dtype, shape, seed=shape[1])
        (got,), _ = run([P.argsort(P.input(0, shape, dtype), descending)], [x])
        np.testing.assert_array_equal(got, reference._argsort(readable(x, dtype), descending), err_msg=str(shape))


@pytest.mark.parametrize("n", [10, 1000])
def test_nan_is_the_largest_and_equal_elements_keep_their_order(n):
    x = np.zeros((1, n), np.float32)
    x[0, ::2] = -0.0
    x[0, 3], x[0, 7], x[0, 5] = np.nan, -np.nan, np.inf
    plain = [i for i in range(n) if i not in (3, 5, 7)]
    for descending, want in ((False, [*plain, 5, 3, 7]), (True, [3, 7, 5, *plain])):
        (got,), _ = run([P.argsort(P.input(0, x.shape, "float32"), descending)], [x])
        assert got[0].tolist() == want


def test_integers_that_differ_in_one_digit_only():
    rng = np.random.default_rng(3)
    for shift in (0, 8, 24, 56):
        x = rng.integers(-100, 100, (2, 500)) << shift
        (got,), _ = run([P.argsort(P.input(0, x.shape, "int64"))], [x])
        np.testing.assert_array_equal(got, np.argsort(x, -1, kind="stable"))


def test_rows_that_are_already_in_order():
    for x in (np.arange(3000.0), np.arange(3000.0)[::-1].copy(), np.full(3000, 2.5)):
        (got,), _ = run([P.argsort(P.input(0, x.shape, "float64"))], [x])
        np.testing.assert_array_equal(got, np.argsort(x, kind="stable"))


@pytest.mark.parametrize("op", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("dtype", [d for d in sorted(DTYPES) if d != "bool"])
def test_scan_runs_in_a_wider_type_and_rounds_each_result(dtype, op):
    for shape in [(1, 1), (3, 17), (40, 2), (1, 300)]:
        rng = np.random.default_rng(shape[1])
        if dtype in FLOATS:
            x = reference.store(rng.standard_normal(shape) if op != "prod" else rng.uniform(0.8, 1.2, shape), dtype)
            wide = reference.load(x, dtype).astype(WIDE[dtype])
            want = reference.store(reference.SCAN[op].accumulate(wide, axis=-1), dtype)
        else:
            x = rng.integers(0, 100, shape).astype(dtype)
            want = reference.SCAN[op].accumulate(x, axis=-1, dtype=x.dtype)
        (got,), _ = run([P.scan(op, P.input(0, shape, dtype))], [x])
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("op", ["sum", "max"])
def test_nan_stays_to_the_end_of_a_running_reduction(op):
    x = np.ones((2, 9), np.float32)
    x[1, 4] = np.nan
    (got,), _ = run([P.scan(op, P.input(0, x.shape, "float32"))], [x])
    assert np.isnan(got).tolist() == [[False] * 9, [False] * 4 + [True] * 5]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_nothing_to_do(shape):
    x = np.zeros(shape, np.float32)
    node = P.input(0, shape, "float32")
    (order, running), _ = run([P.argsort(node), P.scan("sum", node)], [x])
    assert order.shape == running.shape == shape and order.dtype == np.int64


@pytest.mark.parity
def test_running_sums_are_pytorchs_to_the_bit():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((3, 10000)).astype(np.float32)
    (got,), _ = run([P.scan("sum", P.input(0, x.shape, "float32"))], [x])
    np.testing.assert_array_equal(got, torch.cumsum(torch.from_numpy(x), -1).numpy())
