"""The reverse pass as a graph: what it records."""

from __future__ import annotations

import numpy as np
import pytest

import luchina as torch
from luchina.autograd import engine


def recorded(value: object) -> list[str]:
    """Names of all operations that a Value depends on."""
    seen, names, stack = set(), [], [value]
    while stack:
        v = stack.pop()
        if id(v) not in seen:
            seen.add(id(v))
            names.append(v.op.name if v.op else "leaf")
            stack.extend(v.inputs)
    return names


@pytest.mark.parametrize("used", [range(6), (0, 2, 3, 5), (1, 2, 4)])
def test_gradients_of_slices_are_joined_not_added(used):
    x = torch.arange(18.0).reshape(6, 3).requires_grad_()
    rows = x.unbind(0)
    loss = sum((rows[i] * (i + 1)).sum() for i in used)
    root = loss._read()
    (gradient,) = engine.backward(
        [(root, torch.ones(())._read())], retain_graph=True, create_graph=False, wanted=[x._read()]
    )
    names = recorded(gradient)
    assert names.count("cat") == 1 and "slice_backward" not in names[: names.index("cat")]
    loss.backward()
    expected = np.zeros((6, 3), np.float32)
    for i in used:
        expected[i] = i + 1
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_overlapping_slices_are_added():
    x = torch.ones(5, requires_grad=True)
    (x[0:3].sum() + x[1:4].sum() * 2 + x[2:5].sum() * 3).backward()
    assert x.grad.tolist() == [1, 3, 6, 5, 3]


def test_joined_gradients_can_be_differentiated_again():
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    a, b, c = x.unbind(0)
    (g,) = torch.autograd.grad(a**3 + b**3 + c**3, x, create_graph=True)
    (gg,) = torch.autograd.grad(g.sum(), x)
    assert gg.tolist() == [6, 12, 18]
