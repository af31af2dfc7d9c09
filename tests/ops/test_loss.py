"""Losses beside PyTorch: reductions, weights, ignored targets, errors."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
from compare import agree, random, same_error

pytestmark = pytest.mark.parity


REDUCTIONS = ["mean", "sum", "none"]
WEIGHT = "t([0.1, 0.2, 0.3, 0.4], dtype=M.float64)"
TARGET = np.array([0, 3, -100, 1, 2])
SIGNS = np.array([1.0, -1.0, 1.0])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_distances(name: str, reduction: str) -> None:
    agree(f"F.{name}(x, y, reduction='{reduction}')", random(1, 3, 4), random(2, 3, 4), double=name != "l1_loss")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", ["", f", weight={WEIGHT}", f", weight={WEIGHT}, label_smoothing=0.2",
                                     ", label_smoothing=0.1", f", weight={WEIGHT}, ignore_index=1"])  # fmt: skip
def test_cross_entropy(options: str, reduction: str) -> None:
    target = np.where(TARGET < 0, 1, TARGET) if "ignore_index" in options else TARGET
    agree(f"F.cross_entropy(x, y, reduction='{reduction}'{options})", random(1, 5, 4), target)
    if "smoothing" not in options:
        agree(f"F.nll_loss(x, y, reduction='{reduction}'{options})", random(1, 5, 4), target)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_of_many_dimensions_and_of_one(reduction: str) -> None:
    target = np.arange(16).reshape(2, 4, 2) % 3
    agree(f"F.cross_entropy(x, y, reduction='{reduction}')", random(1, 2, 3, 4, 2), target)
    agree(f"F.nll_loss(x, y, reduction='{reduction}')", random(1, 2, 3, 4, 2), target)
    agree(f"F.cross_entropy(x, y, reduction='{reduction}')", random(1, 4), np.array(2))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_of_probabilities(reduction: str) -> None:
    options = f"weight={WEIGHT}, label_smoothing=0.1, reduction='{reduction}'"
    agree(f"F.cross_entropy(x, y.softmax(1), {options})", random(1, 5, 4), random(2, 5, 4))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_of_probabilities(reduction: str) -> None:
    x, y, z = random(1, 3, 4), random(2, 3, 4), np.abs(random(3, 4))
    agree(f"F.binary_cross_entropy(x.sigmoid(), y.sigmoid(), reduction='{reduction}')", x, y)
    for option in ("pos_weight", "weight"):
        code = f"F.binary_cross_entropy_with_logits(x, y.sigmoid(), reduction='{reduction}', {option}=z.detach())"
        agree(code, x, y, z)
    agree(f"F.kl_div(x, y.sigmoid(), reduction='{reduction}')", x, y)
    agree(f"F.kl_div(x, y, reduction='{reduction}', log_target=True)", x, y)


OTHERS = [
    ("F.mse_loss(x, y)", (random(1, 3, 1), random(2, 3, 4))),
    ("F.kl_div(x, y, reduction='batchmean')", (random(1, 3, 4), np.array([[0.0, 1, 2, 0]] * 3))),
    ("F.poisson_nll_loss(x, y, full=True)", (random(1, 3, 4), np.abs(random(2, 3, 4)) * 3)),
    ("F.poisson_nll_loss(x, y, log_input=False)", (np.abs(random(1, 3, 4)), np.abs(random(2, 3, 4)))),
    ("F.gaussian_nll_loss(x, y, z)", (random(1, 3, 4), random(2, 3, 4), np.abs(random(3, 3, 4)))),
    ("F.triplet_margin_loss(x, y, z)", (random(1, 3, 4), random(2, 3, 4), random(3, 3, 4))),
    ("F.triplet_margin_loss(x, y, z, swap=True)", (random(1, 3, 4), random(2, 3, 4), random(3, 3, 4))),
    ("F.hinge_embedding_loss(x, y.detach())", (random(1, 3), SIGNS)),
    ("F.soft_margin_loss(x, y.detach())", (random(1, 3), SIGNS)),
    ("F.margin_ranking_loss(x, y, z.detach())", (random(1, 3), random(2, 3), SIGNS)),
    ("F.cosine_embedding_loss(x, y, z.detach())", (random(1, 3, 4), random(2, 3, 4), SIGNS)),
]


@pytest.mark.parametrize(("code", "arrays"), OTHERS, ids=[code for code, _ in OTHERS])
def test_the_others(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


ERRORS = [
    "F.mse_loss(r(3),r(2))",
    "F.mse_loss(t([1,2,3]),t([1,2,3]))",
    "F.mse_loss(r(3),r(3),reduction='foo')",
    "F.l1_loss(t([1,2,3]),t([1,2,3]))",
    "F.smooth_l1_loss(r(3),r(3),beta=-1)",
    "F.smooth_l1_loss(t([1]),t([2]))",
    "F.huber_loss(r(3),r(3),delta=0)",
    "F.cross_entropy(r(3,4),t([0,1]))",
    "F.cross_entropy(r(3,4),t([0,1,4]))",
    "F.cross_entropy(r(3,4),t([0,1,-1]))",
    "F.cross_entropy(r(3,4),t([0.,1.,2.]))",
    "F.cross_entropy(r(3,4),t([0,1,2],dtype=M.int32))",
    "F.cross_entropy(r(4),t([1,2]))",
    "F.cross_entropy(t(3.),t(1))",
    "F.cross_entropy(r(3,4,5),M.zeros(3,4,dtype=L))",
    "F.cross_entropy(r(3,4,5,6),M.zeros(3,5,5,dtype=L))",
    "F.cross_entropy(r(3,4),t([[0],[1],[2]]))",
    "F.cross_entropy(r(3,4),M.zeros(3,4,dtype=L))",
    "F.cross_entropy(r(3,4),t([0,1,2]),weight=r(3))",
    "F.cross_entropy(r(3,4),r(3,4),weight=r(3))",
    "F.cross_entropy(r(3,4),t([0,1,2]),weight=r(4).double())",
    "F.cross_entropy(r(3,4),t([0,1,2]),label_smoothing=2)",
    "F.cross_entropy(r(3,4),r(3,4),ignore_index=0)",
    "F.cross_entropy(t([[1,2]]),t([0]))",
    "F.nll_loss(r(3,4),t([0,1,4]))",
    "F.nll_loss(r(3,4),t([0,1]))",
    "F.nll_loss(r(3,4),t([[0],[1],[2]]))",
    "F.nll_loss(t(4.),t(1))",
    "F.nll_loss(r(3,4),t([0.,1.,2.]))",
    "F.nll_loss(r(3,4,5),M.zeros(3,4,dtype=L))",
    "F.nll_loss(r(3,4,5,6),M.zeros(3,5,5,dtype=L))",
    "F.nll_loss(r(3,4,5,6),M.zeros(3,5,6,dtype=L)+7)",
    "F.nll_loss(r(3,4),t([0,1,2]),weight=r(3))",
    "F.nll_loss(r(3,4,5,6),M.zeros(3,5,6,dtype=L),weight=r(3))",
    "F.nll_loss(r(3,4),t([0,1,2],dtype=M.int32))",
    "F.nll_loss(r(3,4),t([0,1,2]),weight=r(4).double())",
    "F.binary_cross_entropy(t([0.5,2.]),t([1.,0.]))",
    "F.binary_cross_entropy(t([0.5]),t([2.]))",
    "F.binary_cross_entropy(t([0.5]),t([1]))",
    "F.binary_cross_entropy(t([0.5]),t([1.]).double())",
    "F.binary_cross_entropy(t([0.5,.5]),t([1.]))",
    "F.binary_cross_entropy(t([.5,.5]),t([0.,1.]),weight=r(3))",
    "F.binary_cross_entropy_with_logits(r(3),r(2))",
    "F.binary_cross_entropy_with_logits(r(3),t([1,0,1]))",
    "F.binary_cross_entropy_with_logits(r(3),r(3),pos_weight=r(2))",
    "F.binary_cross_entropy_with_logits(t([1,2]),t([1,2]))",
    "F.kl_div(r(3),t([1,0,1]))",
    "F.kl_div(r(3,2),r(3))",
    "F.poisson_nll_loss(r(3),r(3),reduction='foo')",
    "F.gaussian_nll_loss(r(3),r(3),t([-1.,1.,1.]))",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
