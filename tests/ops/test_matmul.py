"""Products of matrices: what is refused."""

from __future__ import annotations

import pytest

import luchina as torch

functional = torch.nn.functional


def ones(*shape):
    return torch.ones(*shape, dtype=torch.bool)


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("addmm_impl_cpu_", lambda: ones(2, 2) @ ones(2, 2)),
        ("addmm_impl_cpu_", lambda: ones(2) @ ones(2, 2)),
        ("addmm_impl_cpu_", lambda: functional.linear(ones(1, 2, 2), ones(2, 2), ones(2))),
        ("addmv_impl_cpu", lambda: ones(2, 2) @ ones(2)),
        ("dot", lambda: ones(2) @ ones(2)),
        ("bmm", lambda: torch.bmm(ones(1, 2, 2), ones(1, 2, 2))),
    ],
)
def test_bools_are_not_multiplied(what, call):
    with pytest.raises(NotImplementedError, match=f"^\"{what}\" not implemented for 'Bool'"):
        call()


def test_nothing_to_multiply():
    assert (ones(0, 2) @ ones(2, 2)).shape == (0, 2)
    assert (ones(2, 0) @ ones(0, 2)).tolist() == [[False] * 2] * 2
