"""NAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import luchina
from luchina import Tensor
from luchina.optim.optimizer import Optimizer, check_at_least_zero, check_betas, check_lr, check_modes, lerp
from luchina.optim.rows import Rows


def nadam_update(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    grad_size: float,
    avg_size: float,
    correction: float,
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
    """m = β₁m + (1 − β₁)g; v = β₂v + (1 − β₂)g²; param − (grad_size · g + avg_size · m) / (√(v / correction) + eps)."""
    if maximize:
        grad = -grad
    if decays and decoupled:
        param = param * decay
    elif decays:
        grad = grad + decay * param
    exp_avg = lerp(exp_avg, grad, rest1, beta1, upper)
    exp_avg_sq = exp_avg_sq * beta2 + rest2 * grad * grad
    denominator = (exp_avg_sq / correction).sqrt() + eps
    param = param - grad_size * grad / denominator
    return param - avg_size * exp_avg / denominator, exp_avg, exp_avg_sq


class NAdam(Optimizer):
    """Adam that looks ahead along its momentum, as Nesterov's method does.

    ``foreach`` is accepted: every step is one fused program.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_at_least_zero(epsilon=eps)
        check_betas(betas)
        check_at_least_zero(weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_modes(foreach=foreach, fused=None, differentiable=differentiable, capturable=capturable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _step_group(self, group: dict[str, Any]) -> None:
        beta1, beta2 = map(float, group["betas"])
        lr, weight_decay, decoupled = float(group["lr"]), float(group["weight_decay"]), group["decoupled_weight_decay"]
        self._start(self._with_grads(group), "mu_product", "exp_avg", "exp_avg_sq")
        for rows in self._rows(group, "exp_avg", "exp_avg_sq"):
            step = rows.step
            mu, mu_next = (beta1 * (1.0 - 0.5 * (0.96 ** (at * group["momentum_decay"]))) for at in (step, step + 1))
            products = self._multiply_mu(rows.params, mu)
            for product, same in products.items():
                if len(products) > 1:
                    rows = Rows(self, group, ("exp_avg", "exp_avg_sq"), same, step)
                self._update(
                    nadam_update,
                    rows,
                    {
                        "grad_size": lr * (1.0 - mu) / (1.0 - product),
                        "avg_size": lr * mu_next / (1.0 - product * mu_next),
                        "correction": 1 - beta2**step,
                        "beta1": beta1,
                        "beta2": beta2,
                        "rest1": 1 - beta1,
                        "rest2": 1 - beta2,
                        "eps": float(group["eps"]),
                        "decay": 1 - lr * weight_decay if decoupled else weight_decay,
                    },
                    upper=1 - beta1 >= 0.5,
                    decays=weight_decay != 0,
                    decoupled=decoupled,
                    maximize=group["maximize"],
                )

    def _multiply_mu(self, params: list[Any], mu: float) -> dict[float, list[Any]]:
        """``mu_product`` times mu, in float32 as PyTorch keeps it; the parameters by the new product."""
        by_product: dict[float, list[Any]] = {}
        for param in params:
            by_product.setdefault(self.state[param]["mu_product"].item(), []).append(param)
        new: dict[float, list[Any]] = {}
        for old, members in by_product.items():
            number = luchina.tensor(old) * luchina.tensor(mu)
            product = number.item()
            for param in members:
                self.state[param]["mu_product"]._replace(luchina.tensor(product))
            new.setdefault(product, []).extend(members)
        return new
