"""Scaled dot-product attention.

One operation where the compiler has a kernel for it: a pass over the keys that never keeps the scores, and one for the
gradients. It is written out in products and a softmax where the scores themselves are wanted: dropout on them, a
gradient of the mask, derivatives of derivatives.
"""

from __future__ import annotations

import math
from typing import Any

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph.value import OUT, Op, Spec, Value, mode
from luchina.ops.activation import SOFTMAX, SOFTMAX_BACKWARD
from luchina.ops.matmul import matmul
from luchina.ops.movement import expand, reshape, transpose
from luchina.ops.pointwise import add, cast, div, eq, mul
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
    if not names[0] == names[1] == names[2]:
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
        lead, (rows, width) = x.shape[:-3], x.shape[-2:]
        wide = expand(reshape(x, (*lead, own, 1, rows, width)), (*lead, own, heads // own, rows, width))
        result.append(reshape(wide, (*lead, heads, rows, width)))
    return result[0], result[1]


# ---- written out


def _weights(query: Value, key: Value, mask: Value | None, causal: bool, factor: float) -> Value:
    """softmax(QKᵀ · factor + mask), 0 where nothing may be attended to."""
    # Half of the scale on either side, as PyTorch has it: 16-bit products overflow later.
    side: Any = math.sqrt(abs(factor))
    scores = matmul(mul(query, side if factor >= 0 else -side), transpose(mul(key, side), key.ndim - 2, key.ndim - 1))
    if causal:
        scores = CAUSAL(scores)
    elif mask is not None:
        broadcast(scores, mask)
        if mask.dtype is dtypes.bool_:
            scores = where(mask, scores, full((), -math.inf, scores.dtype))
        else:
            scores = add(scores, mask)
    weights = SOFTMAX(scores, attrs=(scores.ndim - 1, query.dtype))
    if mask is not None and key.shape[-2]:
        # All masked: the row is −∞ and its softmax nan; PyTorch's is 0.
        nothing = eq(amax(scores, -1, True), -math.inf)
        weights = where(nothing, full((), 0, weights.dtype), weights)
    return weights


def _written_out_vjp(g: Value, q: Value, k: Value, v: Value, mask: Value | None, causal: bool, factor: float) -> tuple:
    """Gradients that can be differentiated again."""
    weights = _weights(q, k, mask, causal, factor)
    change = SOFTMAX_BACKWARD(matmul(g, _turned(v)), weights, attrs=(weights.ndim - 1,))
    change = mul(change, factor)
    return matmul(change, k), matmul(_turned(change), q), matmul(_turned(weights), g)


def _turned(x: Value) -> Value:
    return transpose(x, x.ndim - 2, x.ndim - 1)


# ---- one operation
#
# Inputs are query, key, value, then the mask if there is one, then the logarithms of Σ exp if a gradient may be asked
# for; attributes are the scale, whether it is causal, whether there is a mask.

FEW_QUERIES, MANY_KEYS = 8, 64
PARTS = 16  # so many blocks of work at least, where the keys can be divided
PART_KEYS = 64


def _sums_dtype(d: dtypes.dtype) -> dtypes.dtype:
    return d if d is dtypes.float64 else dtypes.float32


def _lead(q: Any, k: Any, v: Any) -> tuple[int, ...]:
    """The common shape of the axes before the last two."""
    return p.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])


def _infer(q: Value, k: Value, v: Value, *rest: Any) -> Spec:
    return Spec((*_lead(q, k, v), q.shape[-2], v.shape[-1]), q.dtype)


def _infer_lse(q: Value, k: Value, v: Value, *rest: Any) -> Spec:
    return Spec((*_lead(q, k, v), q.shape[-2]), _sums_dtype(q.dtype))


def _heads(x: Node, lead: tuple[int, ...], tail: int = 2) -> Node:
    """Broadcast to ``lead``, as (A, C, G, …): all axes but the last two or one, and those."""
    x = p.expand(x, (*lead, *x.shape[len(x.shape) - tail :]))
    three = (1,) * (2 - len(lead)) + (*lead, 1) if len(lead) < 3 else (math.prod(lead[:-2]), *lead[-2:])
    return p.reshape(x, (*three, *x.shape[len(lead) :]))


def _kernel_inputs(q: Node, k: Node, v: Node, rest: tuple) -> tuple[tuple[Node, Node, Node], Node | None, float, bool]:
    scale, causal, masked = rest[-3:]
    lead = _lead(q, k, v)
    mask = None
    if masked:
        mask = p.expand(rest[0], (*lead, q.shape[-2], k.shape[-2]))
        mask = _heads(mask, lead)
    return (_heads(q, lead), _heads(k, lead), _heads(v, lead)), mask, scale, causal


def _attention_node(q: Node, k: Node, v: Node, rest: tuple) -> Node:
    (q, k, v), mask, scale, causal = _kernel_inputs(q, k, v, rest)
    return p.attention(q, k, v, mask, scale, causal)


def _heads_first(x: Node, lead: tuple[int, ...]) -> Node:
    """(A, L, C, G, D) as (…, L, D)."""
    return p.reshape(p.permute(x, (0, 2, 3, 1, 4)), (*lead, x.shape[1], x.shape[4]))


def _is_lookup(q: Node, k: Node) -> bool:
    """A few queries and many keys, as when a model writes token after token: two products of few rows are quicker."""
    return q.shape[-2] <= FEW_QUERIES and k.shape[-2] >= MANY_KEYS and q.dtype in ("float32", "float64")


def _look_up(q: Node, k: Node, v: Node, rest: tuple) -> tuple[Node, Node]:
    """The result and the logarithms of Σ exp, by products over all keys: a row of scores for each query."""
    scale, causal, masked = rest[-3:]
    full_lead, full_queries = _lead(q, k, v), q.shape[-2]
    if full_lead and k.shape[:-2] == v.shape[:-2] == (*full_lead[:-1], 1) and not (causal or masked):
        # Heads that share their keys are so many more queries.
        q = p.expand(q, (*full_lead, *q.shape[-2:]))
        q = p.reshape(q, (*full_lead[:-1], 1, full_lead[-1] * full_queries, q.shape[-1]))
    (q, k, v), mask, scale, causal = _kernel_inputs(q, k, v, rest)
    lead = q.shape[:3]
    flat = [p.reshape(x, (math.prod(lead), *x.shape[3:])) for x in (q, k, v)]
    scaled = p.binary("mul", flat[0], p.const(scale, q.dtype))
    scores = p.dot(scaled, p.permute(flat[1], (0, 2, 1)))
    if causal:
        scores = _lower_causal(scores)
    elif mask is not None:
        mask = p.reshape(mask, scores.shape)
        if mask.dtype == "bool":
            scores = p.where(mask, scores, p.const(-math.inf, q.dtype))
        else:
            scores = p.binary("add", scores, p.cast(mask, q.dtype))
    most = p.reduce("max", scores, (2,))
    base = p.where(p.binary("eq", most, p.const(-math.inf, q.dtype)), p.const(0.0, q.dtype), most)
    weights = p.unary("exp", p.binary("sub", scores, p.reshape(base, (*base.shape, 1))))
    total = p.reduce("sum", weights, (2,))
    none = p.binary("eq", total, p.const(0.0, q.dtype))
    shares = p.binary("div", weights, p.reshape(p.where(none, p.const(1.0, q.dtype), total), (*total.shape, 1)))
    lse = p.where(none, p.const(math.inf, q.dtype), p.binary("add", base, p.unary("log", total)))
    out = p.reshape(p.dot(shares, flat[2]), (*full_lead, full_queries, v.shape[4]))
    return out, p.reshape(lse, (*full_lead, full_queries))


def _lower(q: Node, k: Node, v: Node, *rest: Any) -> Node:
    lead = _lead(q, k, v)
    if _is_lookup(q, k):
        return _look_up(q, k, v, rest)[0]
    return _heads_first(_attention_node(q, k, v, rest), lead)


def _lower_lse(q: Node, k: Node, v: Node, *rest: Any) -> Node:
    if _is_lookup(q, k):
        return _look_up(q, k, v, rest)[1]
    return p.reshape(p.attention_lse(_attention_node(q, k, v, rest)), (*_lead(q, k, v), q.shape[-2]))


def _vjp(g: Value, value: Value) -> tuple:
    q, k, v, *rest = value.inputs
    scale, causal, masked = value.attrs
    mask = rest[0] if masked else None
    if mode.grad:
        return _written_out_vjp(g, q, k, v, mask, causal, scale)
    inputs = (q, k, v, *([mask] if mask is not None else []), rest[-1], value, cast(g, q.dtype))
    return tuple(op(*inputs, attrs=value.attrs) for op in (ATTENTION_DQ, ATTENTION_DK, ATTENTION_DV))


def _lower_backward(q: Node, k: Node, v: Node, *rest: Any) -> tuple[Node, Node, Node]:
    lse, out, g = rest[-6:-3]
    lead = _lead(q, k, v)
    (q, k, v), mask, scale, causal = _kernel_inputs(q, k, v, rest)
    product = p.binary("mul", p.cast(g, lse.dtype), p.cast(out, lse.dtype))
    delta = p.reduce("sum", product, (len(g.shape) - 1,))
    lse, delta, g = _heads(lse, lead, 1), _heads(delta, lead, 1), _heads(g, lead)
    parts = max(1, min(-(-PARTS // math.prod(lead)), k.shape[3] // PART_KEYS))
    dq, dk, dv = p.attention_backward(q, k, v, mask, lse, delta, g, scale, causal, parts)
    if parts > 1:
        dq = p.reshape(p.cast(p.reduce("sum", dq, (0,)), q.dtype), (*lead, *q.shape[3:]))
    else:
        dq = _heads_first(dq, lead)
    return dq, _heads_first(dk, lead), _heads_first(dv, lead)


def _gradient(name: str, which: int) -> Op:
    """The gradient of one input, at the shape that the inputs broadcast to."""

    def infer(*args: Any) -> Spec:
        x = args[which]
        return Spec((*_lead(*args[:3]), *x.shape[-2:]), x.dtype)

    return Op(name, infer, lambda *args: _lower_backward(*args)[which])


ATTENTION_DQ = _gradient("attention_query_backward", 0)
ATTENTION_DK = _gradient("attention_key_backward", 1)
ATTENTION_DV = _gradient("attention_value_backward", 2)
ATTENTION_LSE = Op("attention_logsumexp", _infer_lse, _lower_lse)
ATTENTION = Op(
    "scaled_dot_product_attention",
    _infer,
    _lower,
    _vjp,
    ((0, 1, 2, 3, 4, OUT),) * 3,
    "ScaledDotProductFlashAttentionForCpu",
)


def _fits(q: Value, k: Value, v: Value, mask: Value | None, grouped: bool) -> bool:
    """Whether the kernel takes these; shapes that do not fit each other are left to the products to refuse."""
    if not q.dtype.is_floating_point or not q.size or not v.size or not k.size:
        return False
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        return False
    leads = [x.shape[:-2] for x in (q, k, v)]
    if mask is None and not grouped and leads[0] == leads[1] == leads[2]:
        return True
    if grouped:
        same = leads[0][:-1] == leads[1][:-1] and leads[1] == leads[2]
        return same and (mask is None or _spans(mask, (*leads[0], q.shape[-2], k.shape[-2])))
    lead = list(leads[0])
    for other in leads:
        if len(other) > len(lead) or any(n != m and n != 1 for n, m in zip(other[::-1], lead[::-1])):
            return False
    return mask is None or _spans(mask, (*lead, q.shape[-2], k.shape[-2]))


def _spans(mask: Value, scores: tuple[int, ...]) -> bool:
    """Whether a mask broadcasts to the scores."""
    return mask.ndim <= len(scores) and all(n in (1, m) for n, m in zip(mask.shape[::-1], scores[::-1]))


def _attend(q: Value, k: Value, v: Value, mask: Value | None, causal: bool, scale: float) -> Value:
    inputs = (q, k, v) if mask is None else (q, k, v, mask)
    attrs = (float(scale), bool(causal), mask is not None)
    if mode.grad and (q.needs_grad or k.needs_grad or v.needs_grad):
        inputs = (*inputs, ATTENTION_LSE(*inputs, attrs=attrs))
    return ATTENTION(*inputs, attrs=attrs)


def _attend_in_groups(q: Value, k: Value, v: Value, mask: Value | None, causal: bool, scale: float) -> Value:
    """Fewer heads of keys and values: each serves a group of the query's heads, and is read where it lies."""
    lead, heads, own = q.shape[:-3], q.shape[-3], k.shape[-3]
    q5 = reshape(q, (*lead, own, heads // own, *q.shape[-2:]))
    k5, v5 = (reshape(x, (*lead, own, 1, *x.shape[-2:])) for x in (k, v))
    if mask is not None and mask.ndim >= 3:
        groups = (own, heads // own) if mask.shape[-3] == heads else (1, 1)
        mask = reshape(mask, (*mask.shape[:-3], *groups, *mask.shape[-2:]))
    out = _attend(q5, k5, v5, mask, causal, scale)
    return reshape(out, (*q.shape[:-1], v.shape[-1]))


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
    width = query.shape[-1]
    factor = (1 / math.sqrt(width) if width else 1.0) if scale is None else scale
    if enable_gqa:
        heads = query.shape[-3]
        if any(heads % x.shape[-3] for x in (key, value)):
            raise RuntimeError("Number of heads in key and value must divide the number of heads in ")
    plain = dropout_mask is None and (attn_mask is None or not (mode.grad and attn_mask.needs_grad))
    if plain and _fits(query, key, value, attn_mask, enable_gqa):
        if not enable_gqa:
            return _attend(query, key, value, attn_mask, is_causal, factor)
        return _attend_in_groups(query, key, value, attn_mask, is_causal, factor)
    if enable_gqa:
        key, value = _grouped(query, key, value)
    weights = _weights(query, key, attn_mask, is_causal, factor)
    if dropout_mask is not None and dropout_p:
        weights = div(mul(weights, dropout_mask), 1 - dropout_p)
    return matmul(weights, value)
