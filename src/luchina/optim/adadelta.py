"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from luchina import Tensor
from luchina.optim.optimizer import Optimizer, check_at_least_zero, check_lr, check_modes


def adadelta_update(
    param: Tensor,
    grad: Tensor,
    square_avg: Tensor,
    acc_delta: Tensor,
    *,
    lr: float,
    rho: float,
    rest: float,
    eps: float,
    weight_decay: float,
    decays: bool,
    maximize: bool,
) -> tuple[Tensor, ...]:
    """v = ρv + (1 − ρ)g²; d = g √(u + eps) / √(v + eps); u = ρu + (1 − ρ)d²; param − lr · d."""
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    square_avg = square_avg * rho + rest * grad * grad
    delta = (acc_delta + eps).sqrt() / (square_avg + eps).sqrt() * grad
    acc_delta = acc_delta * rho + rest * delta * delta
    return param - lr * delta, square_avg, acc_delta


class Adadelta(Optimizer):
    """Steps whose size is the root mean square of former steps over that of the gradients.

    ``foreach`` is accepted: every step is one fused program.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_at_least_zero(epsilon=eps, weight_decay=weight_decay)
        check_modes(foreach=foreach, fused=None, differentiable=differentiable, capturable=capturable)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _step_group(self, group: dict[str, Any]) -> None:
        numbers = {name: float(group[name]) for name in ("lr", "rho", "eps", "weight_decay")}
        for rows in self._rows(group, "square_avg", "acc_delta"):
            self._update(
                adadelta_update,
                rows,
                {**numbers, "rest": 1 - group["rho"]},
                decays=group["weight_decay"] != 0,
                maximize=group["maximize"],
            )
