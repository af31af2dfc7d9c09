"""The axes of loop kernels: merged, ordered, tiled."""

from __future__ import annotations

import itertools

from luchina.compiler.layout import Axes


def arranged(extents, outer, forms, loads):
    axes = Axes(extents, outer, forms, loads)
    axes.arrange()
    return axes


def visited(extents, forms):
    """The set of addresses that are visited together."""
    return {
        tuple(sum(k * i for k, i in zip(form, counters)) for form in forms)
        for counters in itertools.product(*map(range, extents))
    }


def test_contiguous_axes_become_one():
    axes = arranged([4, 1, 5, 6], 4, [[30, 30, 6, 1], [30, 0, 6, 1]], [0])
    assert (axes.extents, axes.forms) == ([120], [[1], [1]])


def test_a_broadcast_axis_stays():
    axes = arranged([4, 5, 6], 3, [[30, 6, 1], [0, 6, 1]], [0])
    assert (axes.extents, axes.forms) == ([4, 30], [[30, 1], [0, 1]])


def test_outer_and_inner_axes_are_not_mixed():
    axes = arranged([4, 5], 1, [[5, 1]], [0])
    assert (axes.outer, axes.inner, axes.along) == (1, 1, "inner")


def test_sum_down_columns_has_vectors_across_them():
    axes = arranged([6, 8], 1, [[1, 6]], [0])
    assert axes.along == "outer"


def test_inner_axes_run_in_the_order_of_memory():
    """Sum over (N, H·W) of N, C, H·W given as (C; HW, N): the last axis is the adjacent one."""
    axes = arranged([3, 10, 4], 1, [[10, 1, 30]], [0])
    assert axes.extents == [3, 4, 10] and axes.forms == [[10, 30, 1]]


def test_a_reduction_of_one_element_is_still_one():
    axes = arranged([5, 1], 1, [[1, 0]], [0])
    assert axes.inner == 1


def test_transposition_is_tiled():
    extents, forms = [64, 96], [[1, 64], [96, 1]]
    axes = arranged(extents, 2, forms, [0])
    assert len(axes.extents) == 4 and axes.extents[-1] == 32 and axes.forms[1][-1] == 1
    assert visited(axes.extents, axes.forms) == visited(extents, forms)


def test_a_short_last_axis_gives_way_to_a_long_one():
    """Unpooling by two: vectors along the rows, whatever lies between their elements."""
    axes = arranged([100, 32, 2], 3, [[32, 1, 0], [64, 2, 1]], [0])
    assert (axes.extents, axes.forms) == ([2, 3200], [[0, 1], [1, 2]])
    # A contiguous short row is not worth it.
    axes = arranged([100, 10], 2, [[10, 1], [0, 1], [10, 1]], [0, 1])
    assert axes.extents == [100, 10]
