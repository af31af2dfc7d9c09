"""Loss functions, under PyTorch's signatures."""

from __future__ import annotations

import math
import warnings

import luchina
from luchina import Tensor
from luchina.nn import engine
from luchina.precision import listed


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that PyTorch's two old flags mean, with its warning; else ``reduction``."""
    if size_average is None and reduce is None:
        return reduction
    meant = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{meant}' instead.", stacklevel=3
    )
    return meant


def reduced(loss: Tensor, reduction: str, wrong: str = "{} is not a valid value for reduction") -> Tensor:
    """The mean or the sum of a loss, or all of it; ``wrong`` is the text of the error (PyTorch has three)."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(wrong.format(reduction))
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


_WRONG_WEIGHTED = "Invalid reduction mode: {}. Expected one of 'none', 'mean', 'sum'."
_WRONG_SHORT = "{} is not valid"


def _check_reduction(reduction: str, wrong: str = "{} is not a valid value for reduction") -> str:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(wrong.format(reduction))
    return reduction


def _warn_sizes(input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


def _weighted(loss: Tensor, weight: Tensor, reduction: str) -> Tensor:
    if weight.shape != loss.shape:
        raise ValueError("Weights and input must have the same size.")
    loss = loss * weight
    if reduction == "mean":
        return loss.sum() / weight.sum()
    return reduced(loss, reduction, _WRONG_WEIGHTED)


@listed
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input − target)², then its mean.

    >>> mse_loss(luchina.tensor([2.0]), luchina.tensor([5.0]))
    tensor(9.)
    """
    reduction = reduction_of(size_average, reduce, reduction)
    _warn_sizes(input, target)
    if weight is not None:
        return _weighted(engine.mse_loss(input, target, reduction="none"), weight, reduction)
    return engine.mse_loss(input, target, reduction=_check_reduction(reduction))


@listed
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input − target|, then its mean."""
    reduction = reduction_of(size_average, reduce, reduction)
    _warn_sizes(input, target)
    if weight is not None:
        return _weighted(engine.l1_loss(input, target, reduction="none"), weight, reduction)
    return engine.l1_loss(input, target, reduction=_check_reduction(reduction))


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """½d²/β where |d| < β, else |d| − ½β, with d = input − target."""
    reduction = _check_reduction(reduction_of(size_average, reduce, reduction))
    _warn_sizes(input, target)
    if beta == 0.0:
        return engine.l1_loss(input, target, reduction=reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    return engine.smooth_l1_loss(input, target, reduction=reduction, beta=beta)


@listed
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """½d² where |d| ≤ δ, else δ(|d| − ½δ), with d = input − target."""
    _warn_sizes(input, target)
    if weight is None:
        return engine.huber_loss(input, target, reduction=reduction, delta=delta)
    loss = engine.huber_loss(input, target, reduction="none", delta=delta)
    if weight.shape != loss.shape:
        raise ValueError("Weights and input must have the same size.")
    return reduced(loss * weight, reduction, _WRONG_WEIGHTED)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """−log softmax(input)[target]: class indices (…), or probabilities of input's shape; classes on dimension 1."""
    return engine.cross_entropy(
        input,
        target,
        weight=weight,
        ignore_index=ignore_index,
        reduction=_check_reduction(reduction_of(size_average, reduce, reduction)),
        label_smoothing=label_smoothing,
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """−input[target] for log-probabilities ``input`` with classes on dimension 1."""
    return engine.nll_loss(
        input,
        target,
        weight=weight,
        ignore_index=ignore_index,
        reduction=_check_reduction(reduction_of(size_average, reduce, reduction)),
    )


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """−(y log p + (1 − y) log(1 − p)) for probabilities p = ``input``; each logarithm is at least −100.

    >>> binary_cross_entropy(luchina.tensor([0.7]), luchina.tensor([1.0]))
    tensor(0.3567)
    """
    reduction = _check_reduction(reduction_of(size_average, reduce, reduction))
    if target.shape != input.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
        )
    return engine.binary_cross_entropy(input, target, weight=weight, reduction=reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of σ(input), exact for large |input|."""
    reduction = _check_reduction(reduction_of(size_average, reduce, reduction))
    if target.shape != input.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    return engine.binary_cross_entropy_with_logits(
        input, target, weight=weight, reduction=reduction, pos_weight=pos_weight
    )


@listed
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """y (log y − input), for log-probabilities ``input``; ``reduction="batchmean"`` divides the sum by the batch."""
    reduction = reduction_of(size_average, reduce, reduction)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
            stacklevel=2,
        )
    if reduction == "batchmean":
        total = engine.kl_div(input, target, reduction="sum", log_target=log_target)
        return total / input.size(0) if input.dim() else total
    return engine.kl_div(input, target, reduction=_check_reduction(reduction), log_target=log_target)


@listed
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """e^input − target · input (``log_input``), else input − target · log(input + eps)."""
    reduction = reduction_of(size_average, reduce, reduction)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + luchina.where(target <= 1, luchina.zeros_like(stirling), stirling)
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """½(log var + (input − target)² / var), with var at least eps."""
    if not isinstance(var, luchina.Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        variance: Tensor = luchina.full_like(input, float(var))
    elif bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    else:
        variance = var
    if variance.shape != input.shape:
        if input.shape[:-1] == variance.shape:
            variance = variance.unsqueeze(-1)
        elif not (input.shape[:-1] == variance.shape[:-1] and variance.size(-1) == 1):
            raise ValueError("var is of incorrect size")
    _check_reduction(reduction, _WRONG_SHORT)
    # The limit is put on the value only: the gradient of var passes as if there were none.
    variance = variance + (variance.detach().clamp(min=eps) - variance.detach())
    loss = 0.5 * (variance.log() + (input - target) ** 2 / variance)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)


@listed
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin − x) where y = −1."""
    zero = luchina.zeros_like(input)
    loss = luchina.where(target != 1, (margin - input).clamp(min=0), zero) + luchina.where(target != -1, input, zero)
    return reduced(loss, reduction_of(size_average, reduce, reduction))


@listed
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + e^{−yx})."""
    return reduced(luchina.log1p((-target * input).exp()), reduction_of(size_average, reduce, reduction))


@listed
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, −y(x₁ − x₂) + margin)."""
    reduction = _check_reduction(reduction_of(size_average, reduce, reduction))
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduced((-target * (input1 - input2) + margin).clamp(min=0), reduction)


@listed
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 − cos(x₁, x₂) where y = 1, max(0, cos(x₁, x₂) − margin) where y = −1."""
    eps = 1e-12
    product = (input1 * input2).sum(-1)
    norms = ((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps)
    cos = product / norms.sqrt()
    zero = luchina.zeros_like(cos)
    loss = luchina.where(target == 1, 1 - cos, zero) + luchina.where(target == -1, (cos - margin).clamp(min=0), zero)
    return reduced(loss, reduction_of(size_average, reduce, reduction))


@listed
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, ‖a − p‖ − ‖a − n‖ + margin)."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = luchina.minimum(far, pairwise_distance(positive, negative, p, eps))
    loss = (pairwise_distance(anchor, positive, p, eps) - far + margin).clamp(min=0)
    return reduced(loss, reduction_of(size_average, reduce, reduction))


@listed
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Σᵢ≠ᵧ max(0, margin − x[y] + x[i])ᵖ / C."""
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    single = input.dim() == 1
    x = input.unsqueeze(0) if single else input
    y = target.reshape(-1, 1)
    gap = (margin - x.gather(1, y) + x).clamp(min=0)
    gap = gap if p == 1 else gap * gap
    if weight is not None:
        gap = gap * weight[y]
    classes = luchina.arange(x.size(1), device=x.device)
    loss = luchina.where(classes == y, luchina.zeros_like(gap), gap).sum(1) / x.size(1)
    return reduced(loss[0] if single else loss, reduction_of(size_average, reduce, reduction))


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of the binary cross-entropy of σ(input)."""
    from luchina.nn._activations import logsigmoid

    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(-1) / input.size(-1), reduction_of(size_average, reduce, reduction), _WRONG_SHORT)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x₁·x₂ / (max(‖x₁‖, ε) · max(‖x₂‖, ε)) along ``dim``."""
    return engine.cosine_similarity(x1, x2, dim, eps)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """‖x₁ − x₂ + ε‖ₚ along the last dimension."""
    return luchina.norm(x1 - x2 + eps, p, -1, keepdim)
