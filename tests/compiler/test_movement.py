"""Rows: where an element of a moved array comes from, checked on every element."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from luchina.compiler import movement


def gather(array, rows, extents):
    """The array read at ``rows`` for every value of the counters."""
    out = np.empty(extents, array.dtype)
    for counters in itertools.product(*map(range, extents)):
        at = tuple(row[0] + sum(k * i for k, i in zip(row[1:], counters)) for row in rows)
        out[counters] = array[at]
    return out


def units(extents):
    return tuple(movement.unit_row(a, len(extents)) for a in range(len(extents)))


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        ((6, 4), (24,)),
        ((24,), (2, 3, 4)),
        ((2, 3, 4), (6, 4)),
        ((6, 1, 4), (1, 6, 4)),
        ((4, 6), (4, 2, 3)),
        ((1, 1), (1,)),
    ],
)
def test_reshape(source, shape):
    x = np.arange(np.prod(source)).reshape(source)
    try:
        rows = movement.reshaped(units(shape), source, shape, shape)
    except movement.AxisTooCoarse as coarse:
        # One split of that axis, and it is affine.
        extents = (*shape[: coarse.axis], shape[coarse.axis] // coarse.factor, coarse.factor, *shape[coarse.axis + 1 :])
        parts = units(extents)
        a = coarse.axis
        joined = movement.combine(parts[a : a + 2], (coarse.factor, 1), 0, len(extents))
        rows = movement.reshaped((*parts[:a], joined, *parts[a + 2 :]), source, shape, extents)
        np.testing.assert_array_equal(gather(x, rows, extents).reshape(shape), x.reshape(shape))
        return
    np.testing.assert_array_equal(gather(x, rows, shape), x.reshape(shape))


def test_reshape_of_a_transposed_array_is_not_affine():
    rows = movement.permuted(units((3, 4)), (1, 0))
    # (4, 3) transposed to (3, 4), flattened: needs memory in between.
    flat = (movement.combine(units((3, 4)), (4, 1), 0, 2),)
    assert movement.reshaped(flat, (3, 4), (12,), (3, 4)) == units((3, 4))
    assert movement.reshaped((movement.combine(rows, (3, 1), 0, 2),), (3, 4), (12,), (3, 4)) is None


def test_chain_of_movements():
    x = np.arange(60).reshape(3, 4, 5)
    shape = (5, 2, 3)
    rows = movement.permuted(units(shape), (2, 1, 0))  # x[..., ...] permuted by (2, 1, 0) after a slice of axis 1
    rows = movement.sliced(rows, (2, 3, 0), (-1, -2, 1))
    want = x[::-1][:, [3, 1]].transpose(2, 1, 0)
    np.testing.assert_array_equal(gather(x, rows, shape), want)


def test_bounds():
    assert movement.bounds((3, 2, -1), (4, 5)) == (-1, 9)


def test_pad_and_expand():
    assert movement.shifted(units((5,)), (2,)) == ((-2, 1),)
    assert movement.expanded(units((3, 4)), (1, 4)) == (movement.zero_row(2), movement.unit_row(1, 2))
