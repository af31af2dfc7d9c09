"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import luchina
from luchina import Tensor
from luchina.optim.optimizer import Optimizer, check_at_least_zero, check_lr, check_modes
from luchina.optim.rows import Rows


def sgd_update(
    param: Tensor,
    grad: Tensor,
    *state: Tensor,
    lr: float,
    weight_decay: float,
    momentum: float,
    damping: float,
    keeps: bool,
    decays: bool,
    nesterov: bool,
    maximize: bool,
) -> tuple[Tensor, ...]:
    """buf = momentum · buf + (1 − dampening) · grad; param − lr · buf. The first buf is the gradient itself.

    ``state`` holds buf, zeros at first; ``damping`` is 1 − dampening, and 1 in the first step.
    """
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    if not keeps:
        return (param - lr * grad,)
    buf = momentum * state[0] + damping * grad
    direction = grad + momentum * buf if nesterov else buf
    return param - lr * direction, buf


class SGD(Optimizer):
    """Gradient descent with momentum: θ ← θ − lr · (momentum · previous direction + (1 − dampening) · gradient).

    ``weight_decay`` adds its share of θ to the gradient; ``nesterov`` looks ahead along the momentum; ``maximize``
    climbs. ``foreach`` and ``fused`` are accepted: every step is one fused program.

    >>> optimizer = luchina.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)  # doctest: +SKIP
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_at_least_zero(momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_modes(foreach=foreach, fused=fused, differentiable=differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("nesterov", "maximize", "differentiable"):
                group.setdefault(name, False)
            for name in ("foreach", "fused"):
                group.setdefault(name, None)

    def _rows(self, group: dict[str, Any], *names: str) -> list[Rows]:
        """The parameters that have a gradient and the named states, whose steps are not counted."""
        gathered: dict[int, Rows] = self.__dict__.setdefault("_gathered", {})
        known = gathered.get(id(group))
        if known is not None and known.hold(self, group, names):
            return [known]
        params = [p for p in self._with_grads(group) if all(self.state[p].get(name) is not None for name in names)]
        if not params:
            return []
        gathered[id(group)] = Rows(self, group, names, params)
        return [gathered[id(group)]]

    def _step_group(self, group: dict[str, Any]) -> None:
        momentum = group["momentum"]
        numbers = {
            "lr": float(group["lr"]),
            "weight_decay": float(group["weight_decay"]),
            "momentum": float(momentum),
            "damping": 1.0 - group["dampening"],
        }
        options = {
            "keeps": momentum != 0,
            "decays": group["weight_decay"] != 0,
            "nesterov": group["nesterov"],
            "maximize": group["maximize"],
        }
        names = ("momentum_buffer",) if momentum != 0 else ()
        later = self._rows(group, *names)
        made = sum(len(rows.params) for rows in later)
        if names and made < len(group["params"]):
            first = [p for p in self._with_grads(group) if self.state[p].get("momentum_buffer") is None]
            for param in first:
                self.state[param]["momentum_buffer"] = luchina.zeros_like(param)
            if first:
                # The same program as that of later steps, with other numbers.
                rows = Rows(self, group, names, first)
                self._update(sgd_update, rows, numbers | {"damping": 1.0}, **options)
        for rows in later:
            self._update(sgd_update, rows, numbers, **options)
