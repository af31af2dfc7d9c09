"""erfinv, digamma and log Γ beside exact values; and that a lane's bits do not depend on the lanes beside it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from mpmath import mp, mpf
from tests.compiler.test_build import run
from tests.compiler.test_vecmath import BINARY, LIMITS, evaluate

from luchina.compiler import prims as P
from luchina.compiler.vecmath import FUNCTIONS

EXACT: dict[str, Callable] = {
    "erfinv": mp.erfinv,
    "digamma": mp.digamma,
    "lgamma": lambda x: mp.log(abs(mp.gamma(x))),
}
# Round its roots a function is a difference of larger numbers: there errors count in units of this number's spacing.
COARSE = {"digamma": 1.0, "lgamma": 1.0, "erfinv": 0.0}


def exact(name: str, x: np.ndarray) -> list[mpf]:
    with mp.workprec(160):
        return [EXACT[name](mpf(v)) for v in x.tolist()]


def apply(name: str, x: np.ndarray) -> np.ndarray:
    """Through the compiler, which leaves to the C library what is not there."""
    (got,), _ = run([P.unary(name, P.input(0, x.shape, str(x.dtype)))], [x])
    return got


def units(name: str, got: np.ndarray, want: list[mpf]) -> np.ndarray:
    nearest = np.array([float(v) for v in want]).astype(got.dtype)
    spacing = np.spacing(np.maximum(np.abs(nearest), got.dtype.type(COARSE[name])))
    return np.array([float(abs(mpf(g) - w) / mpf(s)) for g, w, s in zip(got.tolist(), want, spacing.tolist())])


def positive(dtype: str, top: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    sizes = np.exp2(rng.uniform(math.log2(info.tiny), math.log2(top), 300))
    parts = [sizes, rng.uniform(0, 12, 500), rng.uniform(1.3, 1.6, 100), np.arange(1.0, 30.0), [9.999, 10.0, 10.001]]
    return np.concatenate(parts).astype(dtype)


@pytest.mark.parametrize("dtype", LIMITS)
def test_erfinv(dtype):
    rng = np.random.default_rng(0)
    eps = float(np.finfo(dtype).eps)
    sizes = np.exp2(rng.uniform(-100, -1, 200))
    ends = 1 - np.exp2(rng.uniform(math.log2(eps / 2), -1, 300))
    seams = np.sqrt(-np.expm1(-6.25)) * (1 + np.arange(-20, 20) * eps), 0.53 * (1 + np.arange(-20, 20) * eps)
    y = np.concatenate([rng.uniform(0, 1, 500), sizes, ends, *seams, [1 - eps / 2]])
    y = np.concatenate([y, -y]).astype(dtype)
    y = y[np.abs(y) < 1]
    assert units("erfinv", apply("erfinv", y), exact("erfinv", y)).max() <= LIMITS[dtype]


def test_erfinv_at_the_ends():
    y = np.array([1, -1, 1.5, -np.inf, np.nan, 0.0, -0.0])
    np.testing.assert_array_equal(apply("erfinv", y), [np.inf, -np.inf, np.nan, np.nan, np.nan, 0, 0])
    assert np.signbit(apply("erfinv", y))[-2:].tolist() == [False, True]


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", ["digamma", "lgamma"])
def test_gamma_functions_right_of_zero(name, dtype):
    x = positive(dtype, 1e30)
    assert units(name, apply(name, x), exact(name, x)).max() <= 4.0


def test_poles_of_digamma():
    x = np.array([0.0, -0.0, -1, -7, np.inf, -np.inf, np.nan, -1e300])
    np.testing.assert_array_equal(apply("digamma", x), [-np.inf, np.inf, np.nan, np.nan, np.inf] + [np.nan] * 3)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["digamma", "lgamma"])
def test_gamma_functions_left_of_zero_are_as_good_as_pytorchs(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-20, 0, 300), rng.uniform(-1000, 0, 50), 1e-9 - rng.integers(1, 30, 50)])
    want = exact(name, x)
    theirs = units(name, getattr(torch, name)(torch.from_numpy(x)).numpy(), want)
    assert units(name, apply(name, x), want).max() <= max(4.0, theirs.max())


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_result_does_not_depend_on_its_neighbours(name, dtype):
    """Alone, in any place of a vector, and beside arguments that take a rare way."""
    rng = np.random.default_rng(0)
    xs = [rng.uniform(-4, 4, 50).astype(dtype) for _ in range(1 + (name in BINARY))]
    alone = evaluate(name, *xs, lanes=1)
    for lanes in (2, 3, 16):
        np.testing.assert_array_equal(evaluate(name, *xs, lanes=lanes), alone)
    extreme = np.array([np.finfo(dtype).max, np.nan, -np.inf, 1e30, np.finfo(dtype).tiny, -0.0, 0.5, 3.0], dtype)
    mixed = [np.stack([np.resize(np.roll(extreme, 3 * i), 50), x], 1).ravel() for i, x in enumerate(xs)]
    np.testing.assert_array_equal(evaluate(name, *mixed, lanes=8)[1::2], alone)
