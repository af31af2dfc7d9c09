"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph.value import Op, Spec, Value
from luchina.ops.activation import SOFTMAX
from luchina.ops.matmul import matmul
from luchina.ops.movement import expand, reshape, transpose
from luchina.ops.pointwise import add, div, eq, mul
from luchina.ops.reduce import amax
from luchina.ops.registry import broadcast, full, public
from luchina.ops.select import where


def _lower_causal(scores: Node) -> Node:
    """−∞ where the key comes after the query."""
    rows, columns = scores.shape[-2:]
    later = p.binary("gt", p.expand(p.iota(columns), (rows, columns)), p.reshape(p.iota(rows), (rows, 1)))
    return p.where(later, p.const(-math.inf, scores.dtype), scores)


def _lower_causal_backward(g: Node) -> Node:
    rows, columns = g.shape[-2:]
    later = p.binary("gt", p.expand(p.iota(columns), (rows, columns)), p.reshape(p.iota(rows), (rows, 1)))
    return p.where(later, p.const(0, g.dtype), g)


CAUSAL_BACKWARD = Op(
    "causal_mask_backward",
    lambda g: Spec(g.shape, g.dtype),
    _lower_causal_backward,
    lambda h, v: (CAUSAL_BACKWARD(h),),
    ((),),
)
CAUSAL = Op("causal_mask", lambda x: Spec(x.shape, x.dtype), _lower_causal, lambda g, v: (CAUSAL_BACKWARD(g),), ((),))

_C_NAMES = {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
            "int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char",
            "uint8": "unsigned char", "bool": "bool"}  # fmt: skip


def _check(query: Value, key: Value, value: Value, mask: Value | None, is_causal: bool) -> None:
    names = [_C_NAMES[x.dtype.name] for x in (query, key, value)]
    if len(set(names)) > 1:
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {names[0]} key.dtype: "
            f"{names[1]} and value.dtype: {names[2]} instead."
        )
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.ndim} key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if mask is not None:
        if is_causal:
            raise RuntimeError(
                "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
            )
        if mask.dtype not in (dtypes.bool_, dtypes.float32, query.dtype):
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{_C_NAMES[mask.dtype.name]} and  query.dtype: {names[0]} instead."
            )


def _grouped(query: Value, key: Value, value: Value) -> tuple[Value, Value]:
    """Keys and values of fewer heads, repeated for the query's heads."""
    heads = query.shape[-3]
    result = []
    for x in (key, value):
        own = x.shape[-3]
        if heads % own:
            raise RuntimeError("Number of heads in key and value must divide the number of heads in ")
        lead, (rows, width) = x.shape[:-3], x.shape[-2:]
        wide = expand(reshape(x, (*lead, own, 1, rows, width)), (*lead, own, heads // own, rows, width))
        result.append(reshape(wide, (*lead, heads, rows, width)))
    return result[0], result[1]


@public(function=False, method=False)
def scaled_dot_product_attention(
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_mask: Value | None = None,
) -> Value:
    """softmax(QKᵀ · scale + mask) V; scale is 1/√E unless given.

    Shapes: query (…, L, E), key (…, S, E), value (…, S, Ev); the mask broadcasts to (…, L, S), True means "may
    attend", a floating mask is added. A query that may attend to nothing gives zeros. ``dropout_mask`` says which
    weights stay (with probability 1 − ``dropout_p``) and has to be given where ``dropout_p`` is not 0.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
    """
    _check(query, key, value, attn_mask, is_causal)
    if dropout_p and dropout_mask is None:
        raise RuntimeError("scaled_dot_product_attention: dropout_p is not 0, but no dropout_mask was given")
    if enable_gqa:
        key, value = _grouped(query, key, value)
    width = query.shape[-1]
    factor = (1 / math.sqrt(width) if width else 1.0) if scale is None else scale
    # Half of the scale on either side, as PyTorch has it: 16-bit products overflow later.
    side: Any = math.sqrt(abs(factor))
    scores = matmul(mul(query, side if factor >= 0 else -side), transpose(mul(key, side), key.ndim - 2, key.ndim - 1))
    if is_causal:
        scores = CAUSAL(scores)
    elif attn_mask is not None:
        broadcast(scores, attn_mask)
        if attn_mask.dtype is dtypes.bool_:
            scores = where(attn_mask, scores, full((), -math.inf, scores.dtype))
        else:
            scores = add(scores, attn_mask)
    weights = SOFTMAX(scores, attrs=(scores.ndim - 1, query.dtype))
    if attn_mask is not None and key.shape[-2]:
        # All masked: the row is −∞ and its softmax nan; PyTorch's is 0.
        nothing = eq(amax(scores, -1, True), -math.inf)
        weights = where(nothing, full((), 0, weights.dtype), weights)
    if dropout_mask is not None and dropout_p:
        weights = div(mul(weights, dropout_mask), 1 - dropout_p)
    return matmul(weights, value)
