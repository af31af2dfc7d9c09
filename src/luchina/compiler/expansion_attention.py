"""Attention as products and softmax, for devices that have no kernel of their own for it: its scores lie in memory."""

from __future__ import annotations

import math

from luchina.compiler import prims
from luchina.compiler.prims import Node


def _flat(x: Node, dtype: str) -> Node:
    """(A, C, G, rows, width) as (A · C · G, rows, width), in the dtype of sums."""
    return prims.cast(prims.reshape(x, (math.prod(x.shape[:3]), *x.shape[3:])), dtype)


def _sums(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def _turned(x: Node) -> Node:
    return prims.permute(x, (0, 2, 1))


def _token_by_token(x: Node, lead: tuple[int, ...], dtype: str) -> Node:
    """(A · C · G, L, D) as (A, L, C, G, D)."""
    heads = prims.reshape(prims.cast(x, dtype), (*lead, *x.shape[1:]))
    return prims.permute(heads, (0, 3, 1, 2, 4))


def _scores(q: Node, k: Node, mask: Node | None, scale: float, causal: bool) -> Node:
    """scale · Q Kᵀ + mask of flat operands; -∞ where nothing may be attended to."""
    dtype = q.dtype
    scores = prims.dot(prims.binary("mul", q, prims.const(scale, dtype)), _turned(k))
    none = prims.const(-math.inf, dtype)
    rows, columns = scores.shape[1:]
    if causal:
        ahead = prims.binary("le", prims.iota(columns), prims.reshape(prims.iota(rows), (rows, 1)))
        return prims.where(prims.expand(ahead, scores.shape), scores, none)
    if mask is None:
        return scores
    mask = prims.reshape(mask, scores.shape)
    if mask.dtype == "bool":
        return prims.where(mask, scores, none)
    return prims.binary("add", scores, prims.cast(mask, dtype))


def _column(x: Node) -> Node:
    return prims.reshape(x, (*x.shape, 1))


def forward(node: Node) -> dict[str, Node]:
    """What an ``attention`` node stands for, and ``attention_lse`` of it."""
    q, k, v, *rest = node.inputs
    scale, causal, _ = node.attrs
    dtype = _sums(q.dtype)
    scores = _scores(_flat(q, dtype), _flat(k, dtype), rest[0] if rest else None, scale, causal)
    most = prims.reduce("max", scores, (2,))
    zero, one = prims.const(0.0, dtype), prims.const(1.0, dtype)
    base = prims.where(prims.binary("eq", most, prims.const(-math.inf, dtype)), zero, most)
    weights = prims.unary("exp", prims.binary("sub", scores, _column(base)))
    total = prims.reduce("sum", weights, (2,))
    nothing = prims.binary("eq", total, zero)
    shares = prims.binary("div", weights, _column(prims.where(nothing, one, total)))
    lse = prims.where(nothing, prims.const(math.inf, dtype), prims.binary("add", base, prims.unary("log", total)))
    out = _token_by_token(prims.dot(shares, _flat(v, dtype)), q.shape[:3], q.dtype)
    return {"attention": out, "attention_lse": prims.reshape(lse, q.shape[:4])}


def backward(node: Node) -> dict[str, Node]:
    """The three gradients of an ``attention_backward`` node."""
    q, k, v, lse, delta, g, *rest = node.inputs
    scale, causal, parts, _ = node.attrs
    dtype, lead = lse.dtype, q.shape[:3]
    q3, k3, v3, g3 = (_flat(x, dtype) for x in (q, k, v, g))
    scores = _scores(q3, k3, rest[0] if rest else None, scale, causal)
    weights = prims.unary("exp", prims.binary("sub", scores, prims.reshape(lse, (*scores.shape[:2], 1))))
    change = prims.binary("sub", prims.dot(g3, _turned(v3)), prims.reshape(delta, (*scores.shape[:2], 1)))
    change = prims.binary("mul", prims.binary("mul", weights, change), prims.const(scale, dtype))
    dq = prims.dot(change, k3)
    if parts > 1:  # the shares of several blocks of keys: here the first is all
        dq = prims.reshape(dq, (1, *q.shape))
        dq = prims.pad(dq, (0,) * 6, (parts - 1, 0, 0, 0, 0, 0))
    else:
        dq = _token_by_token(dq, lead, q.dtype)
    return {
        "attention_backward": dq,
        "attention_dk": _token_by_token(prims.dot(_turned(change), q3), lead, q.dtype),
        "attention_dv": _token_by_token(prims.dot(_turned(weights), g3), lead, q.dtype),
    }
