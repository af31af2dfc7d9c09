"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import luchina
from luchina import Tensor
from luchina.optim.optimizer import Optimizer, check_at_least_zero, check_betas, check_lr, check_modes, lerp


def adamax_update(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_inf: Tensor,
    *,
    step_size: float,
    beta1: float,
    beta2: float,
    rest1: float,
    eps: float,
    weight_decay: float,
    upper: bool,
    decays: bool,
    maximize: bool,
) -> tuple[Tensor, ...]:
    """m = β₁m + (1 − β₁)g; u = max(β₂u, |g| + eps); param − step_size · m / u."""
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    exp_avg = lerp(exp_avg, grad, rest1, beta1, upper)
    exp_inf = luchina.maximum(exp_inf * beta2, grad.abs() + eps)
    return param - step_size * exp_avg / exp_inf, exp_avg, exp_inf


class Adamax(Optimizer):
    """Adam with the largest recent gradient instead of the root mean square.

    ``foreach`` is accepted: every step is one fused program.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_at_least_zero(epsilon=eps)
        check_betas(betas)
        check_at_least_zero(weight_decay=weight_decay)
        check_modes(foreach=foreach, fused=None, differentiable=differentiable, capturable=capturable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _step_group(self, group: dict[str, Any]) -> None:
        beta1, beta2 = map(float, group["betas"])
        for rows in self._rows(group, "exp_avg", "exp_inf"):
            self._update(
                adamax_update,
                rows,
                {
                    "step_size": float(group["lr"]) / (1 - beta1**rows.step),
                    "beta1": beta1,
                    "beta2": beta2,
                    "rest1": 1 - beta1,
                    "eps": float(group["eps"]),
                    "weight_decay": float(group["weight_decay"]),
                },
                upper=1 - beta1 >= 0.5,
                decays=group["weight_decay"] != 0,
                maximize=group["maximize"],
            )
