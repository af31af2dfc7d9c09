"""Gather, scatter, advanced indexing and masks beside PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from compare import agree, random, same_error

pytestmark = pytest.mark.parity

CUBE = random(0, 3, 4, 5)
CASES = [
    ("M.gather(x, 1, t([[0, 3], [1, 1]]))", (random(1, 3, 4),)),
    ("M.gather(x, 1, M.zeros(3, 0, dtype=L))", (random(1, 3, 4),)),
    ("M.gather(x, 0, t([[0, 2, 1, 1]]))", (random(1, 3, 4),)),
    (
        "x.scatter(1, t([[0, 3], [1, 2]]), y)",
        (
            random(1, 3, 4),
            random(2, 2, 2),
        ),
    ),
    ("x.scatter(1, t([[0, 3], [1, 2]]), 2.5)", (random(1, 3, 4),)),
    (
        "x.scatter_add(1, t([[0, 3], [1, 1]]), y)",
        (
            random(1, 3, 4),
            random(2, 2, 2),
        ),
    ),
    ("M.index_select(x, 1, t([0, 2, 2]))", (random(1, 3, 4),)),
    (
        "x.index_add(1, t([0, 2, 2]), y, alpha=2)",
        (
            random(1, 3, 4),
            random(2, 3, 3),
        ),
    ),
    (
        "x.index_copy(0, t([2, 0]), y)",
        (
            random(1, 3, 4),
            random(2, 2, 4),
        ),
    ),
    ("x.index_fill(1, t([0, -1]), 3.0)", (random(1, 3, 4),)),
    ("M.take(x, t([[0, -1], [5, 5]]))", (random(1, 3, 4),)),
    ("M.take_along_dim(x, t([[1], [0], [3]]), 1)", (random(1, 3, 4),)),
    (
        "x.masked_scatter(t([[True, False, True, False]]), y)",
        (
            random(1, 3, 4),
            random(2, 6),
        ),
    ),
    ("M.masked_select(x, x > 0)", (random(1, 3, 4),)),
    ("x[t([0, -1, 1])]", (CUBE,)),
    ("x[:, t([[0, -1], [1, 1]])]", (CUBE,)),
    ("x[t([0, 2]), :, t([1, 1])]", (CUBE,)),
    ("x[:, t([0, 2]), t([[1], [4]])]", (CUBE,)),
    ("x[t([0, 2]), 1]", (CUBE,)),
    ("x[x > 0]", (CUBE,)),
    ("x[..., t([0])]", (CUBE,)),
    (
        "x.index_put((t([0, 0]), t([1, 1])), y, accumulate=True)",
        (
            CUBE,
            random(2, 2, 5),
        ),
    ),
    (
        "x.index_put((t([0, 0]), t([1, 2])), y)",
        (
            CUBE,
            random(2, 2, 5),
        ),
    ),
    ("M.max(x, 1)", (CUBE,)),
    ("M.min(x, 0, keepdim=True)", (CUBE,)),
]


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce(reduce: str, include_self: bool) -> None:
    code = f"x.scatter_reduce(1, t([[0, 3, 0], [1, 1, 1]]), y, '{reduce}', include_self={include_self})"
    agree(code, random(1, 3, 4), random(2, 2, 3), double=reduce in ("sum", "mean"))


@pytest.mark.parametrize("code", ["M.nonzero(x > 0)", "M.nonzero(x > 0, as_tuple=True)", "M.nonzero(x[0, 0, 0])"])
def test_places(code: str) -> None:
    agree(code, CUBE, grad=False)


ERRORS = [
    "M.gather(r(3,4),1,t([[5]]))",
    "M.gather(r(3,4),1,t([5]))",
    "M.gather(r(3,4),1,M.zeros(4,1,dtype=L))",
    "M.gather(r(3,4),1,M.zeros(3,1))",
    "M.gather(r(3),0,t([-1]))",
    "r(3,4).scatter(1,t([[5]]),1.)",
    "r(3,4).scatter(1,t([[-1]]),1.)",
    "r(3,4).scatter(1,t([[0,1]]),r(1,1))",
    "r(3,4).scatter(1,t([[0,1]]),t([[1,2]]))",
    "r(3,4).scatter(1,M.zeros(4,1,dtype=L),1.)",
    "r(3,4).scatter(1,t([[0,1]]),1., reduce='foo')",
    "r(3,4).scatter(1,M.zeros(1,1),1.)",
    "r(3,4).scatter_add(1,t([[0,1]]),t([[1,2]]))",
    "r(3,4).scatter_add(1,t([[0,9]]),r(1,2))",
    "r(3,4).scatter_reduce(1,t([[0,1]]),r(1,2),'foo')",
    "M.index_select(r(3,4),0,t([[1]]))",
    "M.index_select(r(3,4),0,t([3]))",
    "M.index_select(r(3,4),0,t([-1]))",
    "M.index_select(r(3,4),0,t([1.]))",
    "M.index_select(r(3,4),5,t([1]))",
    "r(3,4).index_add(0,t([0,5]),r(2,4))",
    "r(3,4).index_add(0,t([0,1]),r(3,4))",
    "r(3,4).index_add(0,t([0,1]),r(2,3))",
    "r(3,4).index_add(0,t([0,1]),t([[1]]))",
    "r(3,4).index_add(0,t([0,-1]),r(2,4))",
    "r(3,4).index_copy(0,t([0,5]),r(2,4))",
    "r(3,4).index_copy(0,t([0,1]),r(3,4))",
    "r(3,4).index_copy(0,t([0,1]),r(2,3))",
    "r(3,4).index_fill(0,t([0,5]),1.)",
    "r(3,4).index_fill(0,t([0,1]),r(2))",
    "M.take(r(3,4),t([12]))",
    "M.take(r(3,4),t([-13]))",
    "M.take(r(3,4),t([1.]))",
    "M.take_along_dim(r(3,4),t([1]),1)",
    "r(3,4).masked_scatter(t([True,False,True,True]),r(3))",
    "r(3).masked_scatter(t([1,0,1]),r(3))",
    "r(3).masked_scatter(t([True,False,True]),t([1,2]))",
    "M.masked_select(r(3),t([1,0,1]))",
    "M.masked_select(r(3,4),t([True,False]))",
    "r(3)[t([5])]",
    "r(3,4)[t([0,1]),t([0,1,2])]",
    "r(3,4)[t([0,-7])]",
    "r(3,4)[:,t([0,5])]",
    "r(3,4).index_put((t([0,1]),),r(3))",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
