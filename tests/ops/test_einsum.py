"""Einsum and what is said with it, beside PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from compare import agree, random, same_error

pytestmark = pytest.mark.parity

CASES = [
    (
        "M.einsum('ij,jk->ik', x, y)",
        (
            random(1, 2, 3),
            random(2, 3, 4),
        ),
    ),
    (
        "M.einsum('bij,bjk->bik', x, y)",
        (
            random(1, 2, 3, 4),
            random(2, 2, 4, 5),
        ),
    ),
    (
        "M.einsum('ij,kj->', x, y)",
        (
            random(1, 2, 3),
            random(2, 4, 3),
        ),
    ),
    ("M.einsum('ii->i', x)", (random(1, 3, 3),)),
    ("M.einsum('iij->j', x)", (random(1, 3, 3, 2),)),
    (
        "M.einsum('i,j->ij', x, y)",
        (
            random(1, 2),
            random(2, 3),
        ),
    ),
    (
        "M.einsum('bi,bi->b', x, y)",
        (
            random(1, 2, 3),
            random(2, 2, 3),
        ),
    ),
    (
        "M.einsum('...ij,...jk->...ik', x, y)",
        (
            random(1, 2, 1, 3, 4),
            random(2, 5, 4, 2),
        ),
    ),
    (
        "M.einsum('ij,jk,kl->il', x, y, z)",
        (
            random(1, 2, 3),
            random(2, 3, 4),
            random(3, 4, 2),
        ),
    ),
    (
        "M.einsum('bhqd,bhkd->bhqk', x, y)",
        (
            random(1, 2, 3, 4, 5),
            random(2, 2, 3, 6, 5),
        ),
    ),
    ("M.einsum('ij->ji', x)", (random(1, 2, 3),)),
    ("M.einsum('ij', x)", (random(1, 2, 3),)),
    ("M.einsum('ba', x)", (random(1, 2, 3),)),
    (
        "M.einsum('ij,j->i', x, y)",
        (
            random(1, 2, 3),
            random(2, 1),
        ),
    ),
    (
        "M.einsum('ij,j', x, y)",
        (
            random(1, 2, 3),
            random(2, 3),
        ),
    ),
    ("M.einsum('a...b->b...', x)", (random(1, 2, 3, 4),)),
    (
        "M.einsum('ijk,jil->kl', x, y)",
        (
            random(1, 3, 4, 5),
            random(2, 4, 3, 2),
        ),
    ),
    (
        "M.einsum('i,i,i->i', x, y, z)",
        (
            random(1, 3),
            random(2, 3),
            random(3, 3),
        ),
    ),
    (
        "M.einsum(x, [0, 1], y, [1, 2], [0, 2])",
        (
            random(1, 2, 3),
            random(2, 3, 4),
        ),
    ),
    (
        "M.tensordot(x, y, ([2, 1], [0, 1]))",
        (
            random(1, 2, 3, 4),
            random(2, 4, 3, 5),
        ),
    ),
    (
        "M.tensordot(x, y)",
        (
            random(1, 2, 3, 4),
            random(2, 3, 4, 5),
        ),
    ),
    (
        "M.kron(x, y)",
        (
            random(1, 2, 3),
            random(2, 4),
        ),
    ),
    ("M.trace(x)", (random(1, 3, 4),)),
    ("M.diag(x, -1)", (random(1, 3),)),
    ("M.diag(x, 1)", (random(1, 3, 4),)),
    ("M.diag_embed(x, 1)", (random(1, 2, 3),)),
    (
        "M.cross(x, y, dim=1)",
        (
            random(1, 2, 3),
            random(2, 2, 3),
        ),
    ),
    (
        "M.cross(x, y, dim=-1)",
        (
            random(1, 2, 3),
            random(2, 1, 3),
        ),
    ),
]


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


ERRORS = [
    "M.einsum('ij,jk',r(2,3),r(4,5))",
    "M.einsum('ij,jk->il',r(2,3),r(3,5))",
    "M.einsum('ij->iij',r(2,3))",
    "M.einsum('ij,jk->ik',r(2,3))",
    "M.einsum('ijk->ik',r(2,3))",
    "M.einsum('ij->ik->k',r(2,3))",
    "M.einsum('i1->i',r(2,3))",
    "M.einsum('ii->i',r(2,3))",
    "M.einsum('...i,...i->...',r(2,3),r(4,3))",
    "M.einsum('ij..->i',r(2,3))",
    "M.einsum('ij,jk',r(2,3),r(3,5).double())",
    "M.tensordot(r(2,3),r(4,5),1)",
    "M.tensordot(r(2,3),r(3,5),3)",
    "M.tensordot(r(2,3),r(3,5),-1)",
    "M.tensordot(r(2,3),r(4,5),([1],[0]))",
    "M.tensordot(r(2,3),r(4,5),([1],[0,1]))",
    "M.trace(r(2))",
    "M.diag(r(2,3,4))",
    "M.diagonal(r(3,3),0,0,0)",
    "M.cross(r(2),r(2))",
    "M.cross(r(3,4),r(3))",
    "M.cross(r(3,4),r(3,5))",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
