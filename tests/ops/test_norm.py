"""Normalisations beside PyTorch, with both orders of gradients."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
from compare import agree, random, same_error

pytestmark = pytest.mark.parity

COUNTED = np.array([1.0, 2.0, 3.0, 4.0])
CASES = [
    (
        "F.layer_norm(x, (6,), y, z)",
        (
            random(1, 3, 4, 6),
            random(2, 6),
            random(3, 6),
        ),
    ),
    (
        "F.layer_norm(x, (4, 6), y, z)",
        (
            random(1, 3, 4, 6),
            random(2, 4, 6),
            random(3, 4, 6),
        ),
    ),
    ("F.layer_norm(x, (6,))", (random(1, 3, 4, 6),)),
    (
        "F.group_norm(x, 2, y, z)",
        (
            random(1, 3, 4, 6),
            random(2, 4),
            random(3, 4),
        ),
    ),
    ("F.group_norm(x, 2)", (random(1, 3, 4, 2, 3),)),
    (
        "F.batch_norm(x, None, None, y, z, True)",
        (
            random(1, 3, 4, 2, 3),
            random(2, 4),
            random(3, 4),
        ),
    ),
    (
        "F.batch_norm(x, None, None, y, z, True)",
        (
            random(1, 5, 4),
            random(2, 4),
            random(3, 4),
        ),
    ),
    (
        "F.batch_norm(x, w.detach(), w.detach() + 1, y, z, False)",
        (
            random(1, 3, 4, 2),
            random(2, 4),
            random(3, 4),
            COUNTED,
        ),
    ),
    (
        "F.rms_norm(x, (6,), y)",
        (
            random(1, 3, 6),
            random(2, 6),
        ),
    ),
    ("F.rms_norm(x, (6,), eps=1e-3)", (random(1, 3, 6),)),
    (
        "F.instance_norm(x, None, None, y, z)",
        (
            random(1, 3, 4, 6),
            random(2, 4),
            random(3, 4),
        ),
    ),
    ("F.normalize(x)", (random(1, 3, 4),)),
    (
        "F.cosine_similarity(x, y)",
        (
            random(1, 3, 4),
            random(2, 3, 4),
        ),
    ),
    (
        "F.cosine_similarity(x, y, dim=-1)",
        (
            random(1, 3, 4),
            random(2, 4),
        ),
    ),
    (
        "F.pairwise_distance(x, y)",
        (
            random(1, 3, 4),
            random(2, 3, 4),
        ),
    ),
    ("F.local_response_norm(x, 3)", (random(1, 2, 5, 4),)),
]


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


ERRORS = [
    "F.layer_norm(r(2,3),(4,))",
    "F.layer_norm(r(2,3),())",
    "F.layer_norm(r(2,3),(3,),r(2))",
    "F.layer_norm(r(2,3),(3,),r(3).double())",
    "F.layer_norm(r(2,3),(3,),r(3),r(2))",
    "F.layer_norm(t([[1]]),(1,))",
    "F.group_norm(r(2,3,4),2)",
    "F.group_norm(r(2,4,4),2,r(3))",
    "F.group_norm(r(2),2)",
    "F.batch_norm(r(2,3,4),r(2),r(3))",
    "F.batch_norm(r(2,3,4),r(3),r(2))",
    "F.batch_norm(r(2,3,4),r(3),r(3),r(2))",
    "F.batch_norm(r(2,3,4),r(3),r(3),r(3),r(2))",
    "F.batch_norm(r(2,3,4),None,None)",
    "F.batch_norm(r(1,3),r(3),r(3),training=True)",
    "F.rms_norm(r(2,3),(4,))",
    "F.cosine_similarity(t([[1]]),t([[1]]))",
    "F.local_response_norm(r(2,3),2)",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
