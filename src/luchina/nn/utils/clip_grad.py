"""Limits on gradients, which keep a step of training from going too far."""

from __future__ import annotations

from collections.abc import Iterable

import luchina
from luchina import Tensor


def _parameters(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, luchina.Tensor) else list(parameters)


def _grads(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in _parameters(parameters) if p.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors taken as one vector.

    ``foreach`` chooses among implementations in PyTorch; here there is one.
    """
    tensors = _parameters(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return luchina.tensor(0.0)
    norms = [luchina.norm(t, norm_type) for t in tensors]
    total = luchina.norm(luchina.stack(norms), norm_type)
    if error_if_nonfinite and not bool(luchina.isfinite(total)):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """grad ← grad · min(1, max_norm / (total_norm + 1e-6))."""
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    with luchina.no_grad():
        for grad in _grads(parameters):
            grad.mul_(factor)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients so that their common norm is at most ``max_norm``; returns the norm before.

    RuntimeError with ``error_if_nonfinite`` if that norm is nan or infinite.
    """
    parameters = _parameters(parameters)
    with luchina.no_grad():
        total = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite, foreach)
        clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of the gradients to [−clip_value, clip_value]."""
    clip_value = float(clip_value)
    with luchina.no_grad():
        for grad in _grads(parameters):
            grad.clamp_(min=-clip_value, max=clip_value)
