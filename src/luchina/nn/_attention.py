"""Multi-head attention as a function of its weights."""

from __future__ import annotations

import math
import warnings
from typing import Any

import luchina
from luchina import Tensor
from luchina.nn import engine


@engine.replayed
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(QKᵀ · scale + mask) V; scale is 1/√E unless given.

    Shapes: query (…, L, E), key (…, S, E), value (…, S, Ev), mask broadcast to (…, L, S): True means "may attend",
    a floating mask is added.
    """
    return engine.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


def additive_mask(
    mask: Tensor | None, name: str, other: Tensor | None, other_name: str, dtype: Any, check_other: bool = True
) -> Tensor | None:
    """A bool mask (True: do not attend) as 0 and −inf; a floating mask as it is."""
    if mask is None:
        return None
    is_float = mask.is_floating_point()
    if mask.dtype != luchina.bool and not is_float:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if check_other and other is not None and mask.dtype != other.dtype:
        warnings.warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )
    if is_float:
        return mask
    return luchina.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))


def _check_shapes(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, heads: int
) -> bool:
    """Whether the input is batched; AssertionError where dimensions do not fit."""
    batched = query.dim() == 3
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor"
        )
    kind, rank = ("batched (3-D)", 3) if batched else ("unbatched (2-D)", 2)
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {rank}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if padding is not None and padding.dim() != rank - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {rank - 1}-D but found "
            f"{padding.dim()}-D tensor instead"
        )
    if mask is not None:
        if mask.dim() not in (2, 3):
            raise AssertionError(
                f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {mask.dim()}-D tensor "
                "instead"
            )
        expected = (heads, query.shape[0], key.shape[0])
        if not batched and mask.dim() == 3 and tuple(mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {tuple(mask.shape)}")
    return batched


def _project(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value by one packed weight (3E, E): one product for self-attention."""
    e = query.size(-1)
    if query is key and key is value:
        q, k, v = engine.linear(query, weight, bias).split(e, -1)
        return q, k, v
    b_q, b_kv = (None, None) if bias is None else bias.split([e, 2 * e])
    if key is value:
        w_q, w_kv = weight.split([e, 2 * e])
        k, v = engine.linear(key, w_kv, b_kv).split(e, -1)
        return engine.linear(query, w_q, b_q), k, v
    w_q, w_k, w_v = weight.chunk(3)
    b_k, b_v = (None, None) if b_kv is None else b_kv.chunk(2)
    return engine.linear(query, w_q, b_q), engine.linear(key, w_k, b_k), engine.linear(value, w_v, b_v)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention with ``num_heads`` heads over sequences (L, N, E) or (L, E), and the weights if they are wanted.

    Masks: bool (True: do not attend) or added; ``attn_mask`` (L, S) or (N·heads, L, S), ``key_padding_mask`` (N, S).
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same_key, same_query = value is key, query is key
        query_ = query.unsqueeze(1)
        key_ = query_ if same_query else key.unsqueeze(1)
        value = key_ if same_key else value.unsqueeze(1)
        query, key = query_, key_
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    target, batch, embed = query.shape

    padding = additive_mask(key_padding_mask, "key_padding_mask", attn_mask, "attn_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and padding is None and not need_weights:
        mask = None
    else:
        mask = additive_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
        is_causal = False  # the mask says it all
    if embed != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}")
    head = embed // num_heads
    if head * num_heads != embed:
        raise AssertionError(f"embed_dim {embed} not divisible by num_heads {num_heads}")

    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
        biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        projections = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = (engine.linear(x, w, b) for x, w, b in zip((query, key, value), projections, biases))
    else:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias)

    if mask is not None:
        expected = (target, key.shape[0]) if mask.dim() == 2 else (batch * num_heads, target, key.shape[0])
        if tuple(mask.shape) != expected:
            raise RuntimeError(f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}.")
        mask = mask.unsqueeze(0) if mask.dim() == 2 else mask
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k and bias_v must be given together")
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value.")
        k = luchina.cat([k, bias_k.repeat(1, batch, 1)])
        v = luchina.cat([v, bias_v.repeat(1, batch, 1)])
        mask, padding = _one_more_key(mask), _one_more_key(padding)

    # (sequence, batch, heads · head) to (batch · heads, sequence, head)
    q = q.reshape(target, batch * num_heads, head).transpose(0, 1)
    k = k.reshape(k.shape[0], batch * num_heads, head).transpose(0, 1) if static_k is None else static_k
    v = v.reshape(v.shape[0], batch * num_heads, head).transpose(0, 1) if static_v is None else static_v
    for name, static in (("k", static_k), ("v", static_v)):
        if static is not None and (static.size(0), static.size(2)) != (batch * num_heads, head):
            raise AssertionError(
                f"expecting static_{name} of ({batch * num_heads}, S, {head}), but got {tuple(static.shape)}"
            )
    if add_zero_attn:
        zeros = luchina.zeros((batch * num_heads, 1, head), dtype=k.dtype, device=k.device)
        k, v = luchina.cat([k, zeros], dim=1), luchina.cat([v, zeros], dim=1)
        mask, padding = _one_more_key(mask), _one_more_key(padding)
    source = k.size(1)

    if padding is not None:
        if padding.shape[0] != batch or padding.shape[1] != source:
            raise AssertionError(
                f"Expected key_padded_mask of shape ({batch}, {source}), but got {tuple(padding.shape)}"
            )
        padding = padding.reshape(batch, 1, 1, source).expand(-1, num_heads, -1, -1)
        padding = padding.reshape(batch * num_heads, 1, source)
        mask = padding if mask is None else mask + padding
    dropout_p = dropout_p if training else 0.0

    weights: Tensor | None = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / head)) @ k.transpose(-2, -1)
        if mask is not None:
            scores = mask.to(scores.dtype) + scores
        weights = engine.softmax(scores, -1)
        if dropout_p > 0.0:
            weights = engine.dropout(weights, dropout_p, True)
        output = (weights @ v).transpose(0, 1).reshape(target * batch, embed)
        weights = weights.reshape(batch, num_heads, target, source)
        if average_attn_weights:
            weights = weights.mean(dim=1)
        weights = weights if batched else weights.squeeze(0)
    else:
        if mask is not None:
            mask = mask.unsqueeze(0) if mask.size(0) == 1 else mask.reshape(batch, num_heads, -1, source)
        output = scaled_dot_product_attention(
            q.reshape(batch, num_heads, target, head),
            k.reshape(batch, num_heads, source, head),
            v.reshape(batch, num_heads, source, head),
            mask,
            dropout_p,
            is_causal,
        )
        output = output.permute(2, 0, 1, 3).reshape(target * batch, embed)
    output = engine.linear(output, out_proj_weight, out_proj_bias)
    output = output.reshape(target, batch, output.size(1))
    return (output if batched else output.squeeze(1)), weights


def _one_more_key(mask: Tensor | None) -> Tensor | None:
    """A mask for one more key, to which every query may attend."""
    return None if mask is None else engine.pad(mask, (0, 1))
