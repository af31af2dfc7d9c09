"""Scaled dot-product attention beside PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from compare import agree, random, same_error

pytestmark = pytest.mark.parity

QUERY, KEY, VALUE = random(1, 2, 3, 5, 4), random(2, 2, 3, 6, 4), random(3, 2, 3, 6, 7)
MASK = random(4, 5, 6) > 0
MASK[2] = False  # a query that may attend to nothing
CASES = [
    (
        "F.scaled_dot_product_attention(x, y, z)",
        (
            QUERY,
            KEY,
            VALUE,
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, is_causal=True)",
        (
            QUERY,
            KEY,
            VALUE,
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, scale=0.3)",
        (
            QUERY,
            KEY,
            VALUE,
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, attn_mask=w)",
        (
            QUERY,
            KEY,
            VALUE,
            random(4, 5, 6),
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, attn_mask=w)",
        (
            QUERY,
            KEY,
            VALUE,
            MASK,
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, enable_gqa=True)",
        (
            random(1, 2, 4, 5, 4),
            random(2, 2, 2, 6, 4),
            random(3, 2, 2, 6, 7),
        ),
    ),
]


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays)


ERRORS = [
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,3),r(2,5,6))",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,4,6))",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,5,6),attn_mask=M.ones(3,5,dtype=M.bool),is_causal=True)",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,5,6),attn_mask=M.ones(3,5,dtype=L))",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,5,6),attn_mask=M.ones(4,5,dtype=M.bool))",
    "F.scaled_dot_product_attention(r(4),r(5,4),r(5,6))",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4).double(),r(2,5,6))",
    "F.scaled_dot_product_attention(r(2,4,3,4),r(2,3,5,4),r(2,3,5,6),enable_gqa=True)",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,5,6),attn_mask=r(3,5).double())",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)
