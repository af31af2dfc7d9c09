"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import luchina
from luchina import Tensor
from luchina.optim.optimizer import Optimizer, check_at_least_zero, check_betas, check_lr, check_modes, lerp


def adam_update(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *largest: Tensor,
    step_size: float,
    root_correction: float,
    beta1: float,
    beta2: float,
    rest1: float,
    rest2: float,
    eps: float,
    decay: float,
    upper: bool,
    decays: bool,
    decoupled: bool,
    maximize: bool,
) -> tuple[Tensor, ...]:
    """m = β₁m + (1 − β₁)g; v = β₂v + (1 − β₂)g²; param − step_size · m / (√v / root_correction + eps).

    ``rest`` is 1 − β, ``root_correction`` √(1 − β₂ᵗ), ``step_size`` lr / (1 − β₁ᵗ). ``decay`` multiplies the parameter
    when it is decoupled (AdamW: 1 − lr · weight_decay), else it is the share of the parameter that joins the gradient.
    ``largest``, of AMSGrad, is the largest v so far.
    """
    if maximize:
        grad = -grad
    if decays and decoupled:
        param = param * decay
    elif decays:
        grad = grad + decay * param
    exp_avg = lerp(exp_avg, grad, rest1, beta1, upper)
    exp_avg_sq = exp_avg_sq * beta2 + rest2 * grad * grad
    if largest:
        largest = (luchina.maximum(largest[0], exp_avg_sq),)
    denominator = (largest[0] if largest else exp_avg_sq).sqrt() / root_correction + eps
    return param - step_size * exp_avg / denominator, exp_avg, exp_avg_sq, *largest


class Adam(Optimizer):
    """Steps along the running mean of gradients, divided by the root of their running mean square.

    θ ← θ − lr · m̂ / (√v̂ + eps), with m̂ and v̂ corrected for their start from zero. ``amsgrad`` divides by the largest v̂
    so far; ``decoupled_weight_decay`` shrinks θ itself instead of adding to the gradient (AdamW).
    ``foreach`` and ``fused`` are accepted: every step is one fused program.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_lr(lr)
        check_at_least_zero(epsilon=eps)
        check_betas(betas)
        check_at_least_zero(weight_decay=weight_decay)
        check_modes(foreach=foreach, fused=fused, differentiable=differentiable, capturable=capturable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("amsgrad", "maximize", "capturable", "differentiable", "decoupled_weight_decay"):
                group.setdefault(name, False)
            for name in ("foreach", "fused"):
                group.setdefault(name, None)

    def _step_group(self, group: dict[str, Any]) -> None:
        names = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])]
        beta1, beta2 = map(float, group["betas"])
        lr, weight_decay, decoupled = float(group["lr"]), float(group["weight_decay"]), group["decoupled_weight_decay"]
        for rows in self._rows(group, *names):
            numbers = {
                "step_size": lr / (1 - beta1**rows.step),
                "root_correction": (1 - beta2**rows.step) ** 0.5,
                "beta1": beta1,
                "beta2": beta2,
                "rest1": 1 - beta1,
                "rest2": 1 - beta2,
                "eps": float(group["eps"]),
                "decay": 1 - lr * weight_decay if decoupled else weight_decay,
            }
            self._update(
                adam_update,
                rows,
                numbers,
                upper=1 - beta1 >= 0.5,
                decays=weight_decay != 0,
                decoupled=decoupled,
                maximize=group["maximize"],
            )


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves: θ ← θ · (1 − lr · weight_decay) before the step."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
