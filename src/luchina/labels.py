"""The names that PyTorch prints for gradient functions, where ours are made of other operations.

A rule is a name, or a function of the call's positional and keyword arguments that gives one (None: the operation's
own).
"""

from __future__ import annotations

from collections.abc import Callable

Rule = str | Callable[[tuple, dict], str | None]


def _with_dim(stem: str) -> Rule:
    return lambda args, kwargs: f"{stem}Backward{int(len(args) > 1 or 'dim' in kwargs)}"


def _max(stem: str) -> Rule:
    def rule(args: tuple, kwargs: dict) -> str | None:
        second = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("other"))
        if second is None:
            return f"{stem}Backward1"
        return f"{stem}Backward0" if isinstance(second, int) else None

    return rule


def _clamp(args: tuple, kwargs: dict) -> str:
    limits = (*args[1:], kwargs.get("min"), kwargs.get("max"))
    return f"ClampBackward{int(all(n is None or isinstance(n, (int, float)) for n in limits))}"


def _linear(args: tuple, kwargs: dict) -> str | None:
    bias = args[2] if len(args) > 2 else kwargs.get("bias")
    if args[0].ndim != 2:
        return "ViewBackward0" if bias is not None or args[0].ndim > 2 else None
    return "AddmmBackward0" if bias is not None else "MmBackward0"


def _named(*names: str) -> dict[str, Rule]:
    return {name: "".join(part.capitalize() for part in name.split("_")) + "Backward0" for name in names}


RULES: dict[str, Rule] = {
    **_named(
        "stack", "repeat", "sort", "topk", "index_select", "masked_fill", "tril", "triu", "flip", "roll", "scatter_add",
        "addmm", "baddbmm", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kthvalue", "cummax", "cummin",
        "lerp", "addcmul", "addcdiv", "gather", "take",
    ),
    "sum": _with_dim("Sum"),
    "mean": _with_dim("Mean"),
    "prod": _with_dim("Prod"),
    "max": _max("Max"),
    "min": _max("Min"),
    "median": lambda args, kwargs: f"MedianBackward{int(len(args) < 2 and 'dim' not in kwargs)}",
    "clamp": _clamp,
    "linear": _linear,
    "l1_loss": "MeanBackward0",
    "log1p": "Log1PBackward0",
    "adaptive_avg_pool2d": lambda args, kwargs: "MeanBackward1" if args[1:] in ((1,), ((1, 1),)) else None,
    "scaled_dot_product_attention": "UnsafeViewBackward0",
}  # fmt: skip


def label_for(name: str, args: tuple, kwargs: dict) -> str | None:
    """The printed name for a call of a public operation."""
    rule = RULES.get(name)
    return rule(args, kwargs) if callable(rule) else rule
