"""Copies across axes, by squares in registers: whole and ragged squares, outer axes, slices, every size of element."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.compiler.test_build import run

from luchina.compiler import prims as P


def copied(x, array):
    """The kernels' primitives, once the copy was right in every bit."""
    (got,), executable = run([x], [array])
    return got, [kernel._kernel.key for kernel in executable.kernels]


@pytest.mark.parametrize("shape", [(64, 64), (16, 512), (8, 200), (129, 65), (1000, 33), (37, 41), (2, 900), (7, 300)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int16", "bool", "float16"])
def test_matrix(shape, dtype):
    array = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 99, shape).astype(dtype)
    got, keys = copied(P.permute(P.input(0, shape, dtype), (1, 0)), array)
    np.testing.assert_array_equal(got, array.T)
    squares = array.itemsize in (2, 4, 8) and min(shape) >= 8 and array.size >= 1024
    assert any(key.startswith("transposition") for key in keys) == squares


@pytest.mark.parametrize("axes", list(itertools.permutations(range(4))))
@pytest.mark.parametrize("shape", [(3, 17, 9, 33), (9, 1, 40, 16), (2, 70, 3, 65)])
def test_permutation(shape, axes):
    array = np.random.default_rng(0).standard_normal(shape).astype("float32")
    got, _ = copied(P.permute(P.input(0, shape, "float32"), axes), array)
    np.testing.assert_array_equal(got, array.transpose(axes))


def test_of_a_slice_with_steps_and_backwards():
    array = np.random.default_rng(0).standard_normal((100, 120)).astype("float32")
    x = P.input(0, (100, 120), "float32")
    got, keys = copied(P.permute(P.slice(x, (3, 5), (40, 70), (2, 1)), (1, 0)), array)
    np.testing.assert_array_equal(got, array[3:83:2, 5:75].T)
    assert any(key.startswith("transposition") for key in keys)
    got, _ = copied(P.permute(P.slice(x, (99, 119), (100, 120), (-1, -1)), (1, 0)), array)
    np.testing.assert_array_equal(got, array[::-1, ::-1].T)


def test_expanded():
    array = np.random.default_rng(0).standard_normal((40, 1, 50)).astype("float32")
    x = P.expand(P.input(0, (40, 1, 50), "float32"), (40, 3, 50))
    got, _ = copied(P.permute(x, (2, 1, 0)), array)
    np.testing.assert_array_equal(got, np.broadcast_to(array, (40, 3, 50)).transpose(2, 1, 0))


def test_negative_zero_and_nan_keep_their_bits():
    bits = np.full((32, 64), 0x7FA00001, np.uint32)
    bits[::2] = 0x80000000
    got, _ = copied(P.permute(P.input(0, (32, 64), "float32"), (1, 0)), bits.view(np.float32))
    np.testing.assert_array_equal(got.view(np.uint32), bits.T)
