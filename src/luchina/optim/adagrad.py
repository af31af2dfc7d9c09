"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import luchina
from luchina import Tensor
from luchina.optim.optimizer import Optimizer, check_at_least_zero, check_lr, check_modes


def adagrad_update(
    param: Tensor,
    grad: Tensor,
    total: Tensor,
    *,
    rate: float,
    eps: float,
    weight_decay: float,
    decays: bool,
    maximize: bool,
) -> tuple[Tensor, ...]:
    """s = s + g²; param − rate · g / (√s + eps)."""
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    total = total + grad * grad
    return param - rate * grad / (total.sqrt() + eps), total


class Adagrad(Optimizer):
    """Steps along the gradient divided by the root of the sum of its squares so far.

    The rate falls as lr / (1 + (t − 1) · lr_decay). ``foreach`` and ``fused`` are accepted: every step is one fused
    program.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_at_least_zero(
            lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value
        )
        check_at_least_zero(epsilon=eps)
        check_modes(foreach=foreach, fused=fused, differentiable=differentiable)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param] = {
                    "step": luchina.tensor(0.0, dtype=luchina.float32, device="cpu"),
                    "sum": luchina.full_like(param, initial_accumulator_value).detach(),
                }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)
            group.setdefault("fused", None)
            group.setdefault("maximize", False)
            group.setdefault("differentiable", False)

    def _step_group(self, group: dict[str, Any]) -> None:
        for rows in self._rows(group, "sum"):
            self._update(
                adagrad_update,
                rows,
                {
                    "rate": float(group["lr"]) / (1 + (rows.step - 1) * group["lr_decay"]),
                    "eps": float(group["eps"]),
                    "weight_decay": float(group["weight_decay"]),
                },
                decays=group["weight_decay"] != 0,
                maximize=group["maximize"],
            )
