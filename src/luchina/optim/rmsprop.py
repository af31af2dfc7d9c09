"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from luchina import Tensor
from luchina.optim.optimizer import Optimizer, check_at_least_zero, check_lr, check_modes, lerp


def rmsprop_update(
    param: Tensor,
    grad: Tensor,
    square_avg: Tensor,
    *state: Tensor,
    lr: float,
    alpha: float,
    rest: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    upper: bool,
    decays: bool,
    centered: bool,
    keeps: bool,
    maximize: bool,
) -> tuple[Tensor, ...]:
    """v = αv + (1 − α)g²; param − lr · g / (√v + eps); centered: v less the square of g's running mean.

    ``state`` holds the momentum buffer (``keeps``) and the mean gradient (``centered``); ``rest`` is 1 − α.
    """
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    square_avg = square_avg * alpha + rest * grad * grad
    kept = state[:1] if keeps else ()
    means = state[-1:] if centered else ()
    variance = square_avg
    if centered:
        means = (lerp(means[0], grad, rest, alpha, upper),)
        variance = square_avg - means[0] * means[0]
    scaled = variance.sqrt() + eps
    if keeps:
        kept = (momentum * kept[0] + grad / scaled,)
        return param - lr * kept[0], square_avg, *kept, *means
    return param - lr * grad / scaled, square_avg, *means


class RMSprop(Optimizer):
    """Steps along the gradient divided by the root of its running mean square.

    ``centered`` divides by the standard deviation instead; ``momentum`` keeps the direction of former steps.
    ``foreach`` is accepted: every step is one fused program.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_at_least_zero(epsilon=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        check_modes(foreach=foreach, fused=None, differentiable=differentiable, capturable=capturable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("momentum", 0)
            group.setdefault("foreach", None)
            for name in ("centered", "maximize", "capturable", "differentiable"):
                group.setdefault(name, False)

    def _step_group(self, group: dict[str, Any]) -> None:
        keeps, centered = group["momentum"] > 0, group["centered"]
        names = ["square_avg", *(["momentum_buffer"] if keeps else []), *(["grad_avg"] if centered else [])]
        rest = 1 - float(group["alpha"])
        numbers = {name: float(group[name]) for name in ("lr", "alpha", "eps", "weight_decay", "momentum")}
        for rows in self._rows(group, *names):
            self._update(
                rmsprop_update,
                rows,
                {**numbers, "rest": rest},
                upper=rest >= 0.5,
                decays=group["weight_decay"] != 0,
                centered=centered,
                keeps=keeps,
                maximize=group["maximize"],
            )
