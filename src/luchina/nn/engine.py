"""The engine's recorded operations as functions of Tensors: the one door from ``nn`` to ``ops``.

``functional`` gives them PyTorch's signatures; each is one Value when it is recorded. The three below do
more than record: they draw random numbers or update running statistics.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from luchina import Tensor, face, zeros
from luchina.dispatch import install as install_calls
from luchina.dispatch.calls import Call
from luchina.graph.value import scalar
from luchina.layout import arranged, in_order, order_of
from luchina.ops import embedding, norm
from luchina.ops.dropout import DROPOUT
from luchina.ops.registry import PUBLIC
from luchina.random import keep_mask
from luchina.tensor import wrap_value


def __getattr__(name: str) -> Callable[..., Any]:
    if name not in PUBLIC:
        raise AttributeError(f"luchina has no operation named '{name}'")
    function = globals()[name] = face.lift(PUBLIC[name].call)
    return function


def replayed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors whose calls are remembered as those of the operations are, not only the operations that it
    comes down to. It neither warns nor looks at data."""
    return install_calls.function(Call(function, laid=function.__name__ in face.ELEMENTWISE))


def check_rows(index: Tensor, weight: Tensor) -> None:
    """The errors of ``embedding``."""
    embedding.check(index._read(), weight._read())


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """0 with probability p, else input / (1 − p); draws nothing if p is 0 or 1, or outside training."""
    if not training or p == 0 or not input.numel():
        return input
    if p == 1:
        return input * zeros((), dtype=input.dtype, device=input.device)
    order, value, keep = order_of(input), input._read(), scalar(1.0 - p)
    if order is None:
        return wrap_value(DROPOUT(value, keep_mask(tuple(input.shape), 1 - p, input.device)._read(), keep))
    # The mask is drawn in the order of the input's memory, as PyTorch draws it.
    turned = in_order(value, order)
    return arranged(DROPOUT(turned, keep_mask(turned.shape, 1 - p, input.device)._read(), keep), order)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """(x − mean) / √(var + eps) · weight + bias a channel, with the batch's statistics in training, which also move the
    running ones, else with the running ones."""
    read = face.read
    norm.check_batch_norm(read(input), read(running_mean), read(running_var), read(weight), read(bias), training)
    if not training:
        return face.lift(norm.batch_norm_apply)(input, running_mean, running_var, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        n = input.numel() // input.shape[1] if input.shape[1] else 0
        # Without no_grad, whose end may run what is recorded: a step should stay one program.
        mean, var = (m.detach() for m in face.lift(norm.batch_norm_stats)(input.detach()))
        running_mean.copy_((running_mean * (1 - momentum) + mean * momentum).detach())
        running_var.copy_((running_var * (1 - momentum) + var * (momentum * n / max(n - 1, 1))).detach())
    return face.lift(norm.batch_norm_train)(input, weight, bias, eps)


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
    """softmax(q kᵀ · scale + mask) v, with dropout on the weights."""
    mask = None
    if dropout_p > 0:
        heads = query.shape[:-2]
        mask = keep_mask((*heads, query.shape[-2], key.shape[-2]), 1 - dropout_p, query.device)
    return _lifted("scaled_dot_product_attention")(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa, dropout_mask=mask
    )


@functools.cache
def _lifted(name: str) -> Callable[..., Any]:
    """An operation that a function here wraps, itself on Tensors."""
    return face.lift(PUBLIC[name].call)
