"""``luchina.nn.functional``: what layers compute, as functions of tensors, under PyTorch's signatures."""

from __future__ import annotations

import math
import warnings
from typing import Any

import luchina
from luchina import Tensor
from luchina.nn import engine
from luchina.nn._activations import (
    celu,
    elu,
    gelu,
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    relu_,
    rrelu,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from luchina.nn._attention import multi_head_attention_forward, scaled_dot_product_attention
from luchina.nn._losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    pairwise_distance,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
)
from luchina.nn._windows import fold as fold
from luchina.nn._windows import unfold as unfold
from luchina.precision import listed

Ints = int | tuple[int, ...] | list[int]

# Operations whose signature is the engine's own.
linear = engine.linear
conv1d = engine.conv1d
conv2d = engine.conv2d
conv_transpose2d = engine.conv_transpose2d
one_hot = engine.one_hot
pad = engine.pad


@listed
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = x₁ᵀ W_o x₂ + b_o; weight (O, I₁, I₂)."""
    for i, x in enumerate((input1, input2), 1):
        if x.size(-1) != weight.size(i):
            raise RuntimeError(
                f"bilinear(): input{i} size does not match weight size: got {x.size(-1)} but expected {weight.size(i)}"
            )
    y = luchina.einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else y + bias


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Tensor:
    """Transposed convolution of (N, C, L) or (C, L) by weight (C, O/groups, K)."""
    if weight.dim() != 3:
        raise RuntimeError(f"conv_transpose1d: expected a weight of 3 dimensions, but got {weight.dim()}")
    rows = [(n, _one(value)) for n, value in ((1, stride), (0, padding), (0, output_padding), (1, dilation))]
    stride_, padding_, output_padding_, dilation_ = rows
    y = engine.conv_transpose2d(
        input.unsqueeze(-2), weight.unsqueeze(-2), bias, stride_, padding_, output_padding_, groups, dilation_
    )
    return y.squeeze(-2)


# ---- pooling


def _one(value: Ints) -> int:
    return value if isinstance(value, int) else value[0]


def max_pool2d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of (N, C, H, W) or (C, H, W)."""
    options = {"return_indices": True} if return_indices else {}
    return engine.max_pool2d(
        input, kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode, **options
    )


def max_pool1d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of (N, C, L) or (C, L)."""
    if input.dim() not in (2, 3):
        raise RuntimeError(
            "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but got:"
            f"{list(input.shape)}"
        )
    k = _one(kernel_size)
    step = k if stride is None else _one(stride)
    y = max_pool2d(
        input.unsqueeze(-2),
        (1, k),
        (1, step),
        (0, _one(padding)),
        (1, _one(dilation)),
        ceil_mode,
        return_indices,
    )
    return (y[0].squeeze(-2), y[1].squeeze(-2)) if return_indices else y.squeeze(-2)


def avg_pool2d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, H, W) or (C, H, W)."""
    return engine.avg_pool2d(
        input,
        kernel_size,
        kernel_size if stride is None else stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )


def avg_pool1d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L)."""
    _check_rank("avg_pool1d", input, 1)
    k = _one(kernel_size)
    step = k if stride is None else _one(stride)
    y = avg_pool2d(input.unsqueeze(-2), (1, k), (1, step), (0, _one(padding)), ceil_mode, count_include_pad)
    return y.squeeze(-2)


def _check_rank(name: str, input: Tensor, spatial: int) -> None:
    if input.dim() not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"Expected {spatial + 1} to {spatial + 2} dimensions, but got {input.dim()}-dimensional tensor for "
            f"argument #1 'self' (while checking arguments for {name})"
        )


adaptive_avg_pool2d = engine.adaptive_avg_pool2d


def adaptive_avg_pool1d(input: Tensor, output_size: Ints) -> Tensor:
    """The means of ``output_size`` nearly equal parts of (N, C, L) or (C, L)."""
    _check_rank("adaptive_avg_pool1d", input, 1)
    return engine.adaptive_avg_pool2d(input.unsqueeze(-2), (1, _one(output_size))).squeeze(-2)


def _parts(length: int, n: int) -> list[tuple[int, int]]:
    """The bounds of adaptive pooling's windows: floor(i·L/n) to ceil((i+1)·L/n)."""
    return [(i * length // n, -((-(i + 1) * length) // n)) for i in range(n)]


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of nearly equal parts of (N, C, H, W) or (C, H, W), and where in H·W they are."""
    _check_rank("adaptive_max_pool2d", input, 2)
    sizes = [output_size] * 2 if isinstance(output_size, int) or output_size is None else list(output_size)
    high, wide = input.shape[-2:]
    height, width = (have if want is None else want for want, have in zip(sizes, (high, wide)))
    if height and width and high % height == 0 and wide % width == 0:
        window = (high // height, wide // width)
        return max_pool2d(input, window, window, return_indices=return_indices)
    parts = [(rows, columns) for rows in _parts(high, height) for columns in _parts(wide, width)]
    values, indices = [], []
    for (top, bottom), (left, right) in parts:
        value, at = input[..., top:bottom, left:right].flatten(-2).max(-1)
        values.append(value)
        across = right - left
        indices.append((at // across + top) * wide + at % across + left)
    shape = (*input.shape[:-2], height, width)
    largest = luchina.stack(values, -1).reshape(shape)
    return (largest, luchina.stack(indices, -1).reshape(shape)) if return_indices else largest


def adaptive_max_pool1d(input: Tensor, output_size: Ints, return_indices: bool = False) -> Any:
    """The largest elements of nearly equal parts of (N, C, L) or (C, L), and where they are."""
    _check_rank("adaptive_max_pool1d", input, 1)
    y = adaptive_max_pool2d(input.unsqueeze(-2), (1, _one(output_size)), return_indices)
    return (y[0].squeeze(-2), y[1].squeeze(-2)) if return_indices else y.squeeze(-2)


# ---- normalisation


def _check_more_than_one(input: Tensor) -> None:
    count = input.numel() // max(input.size(1), 1)
    if input.numel() and count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x − mean) / √(var + eps) · weight + bias for each channel (dimension 1).

    In training the batch's statistics are used, and the running ones move towards them by ``momentum``.
    """
    if training:
        _check_more_than_one(input)
        if eps <= 0.0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    return engine.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalisation of each sample by itself."""
    if not use_input_stats:
        return engine.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n, c, *spatial = input.shape
    if input.numel() and math.prod(spatial) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.size()}")
    means = None if running_mean is None else running_mean.repeat(n)
    variances = None if running_var is None else running_var.repeat(n)
    flat = input.reshape(1, n * c, *spatial)
    y = engine.batch_norm(flat, means, variances, None, None, True, momentum, eps).reshape(n, c, *spatial)
    with luchina.no_grad():
        if running_mean is not None and means is not None:
            running_mean.copy_(means.reshape(n, c).mean(0))
        if running_var is not None and variances is not None:
            running_var.copy_(variances.reshape(n, c).mean(0))
    shape = (c, *[1] * len(spatial))
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


@engine.replayed
def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x − mean) / √(var + eps) · weight + bias over the last dimensions, which are ``normalized_shape``."""
    if normalized_shape.__class__ is not tuple:
        normalized_shape = tuple(normalized_shape)
    return engine.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x − mean) / √(var + eps) · weight + bias, each sample's channels in ``num_groups`` groups."""
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    return engine.group_norm(input, num_groups, weight, bias, eps)


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x / √(mean(x²) + eps) · weight over the last dimensions; eps is the dtype's epsilon unless given."""
    shape = tuple(normalized_shape)
    if tuple(input.shape[input.dim() - len(shape) :]) != shape or input.dim() < len(shape):
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*"
            f"{', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    wide = input.float() if input.dtype in (luchina.float16, luchina.bfloat16) else input
    if eps is None:
        eps = luchina.finfo(wide.dtype).eps
    axes = tuple(range(-len(shape), 0))
    y = wide * ((wide * wide).mean(axes, keepdim=True) + eps).rsqrt()
    return (y if weight is None else y * weight).to(input.dtype)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + α · mean of x² over ``size`` neighbouring channels)^β."""
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality                          input (got {input.dim()} dimensions)"
        )
    n, c = input.shape[:2]
    squares = (input * input).reshape(n, 1, c, -1)
    squares = engine.pad(squares, (0, 0, size // 2, (size - 1) // 2))
    mean = avg_pool2d(squares, (size, 1), stride=1).reshape(input.shape)
    return input / (mean * alpha + k) ** beta


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """x / max(‖x‖ₚ, eps) along ``dim``."""
    y = input / luchina.norm(input, p, dim, True).clamp_min(eps).expand_as(input)
    return y if out is None else out.copy_(y)


# ---- dropout


def _check_p(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, each element is 0 with probability p, else divided by 1 − p."""
    _check_p(p)
    if inplace:
        return input.copy_(engine.dropout(input.clone(), p, training))
    return engine.dropout(input, p, training)


def _feature_mask(input: Tensor, p: float, channels: int) -> Tensor:
    """One draw for each sample and channel, over the remaining dimensions."""
    shape = (*input.shape[:channels], *[1] * (input.dim() - channels))
    return luchina.empty(shape, dtype=input.dtype, device=input.device).bernoulli_(1 - p)


def _feature_dropout(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    if not training or p == 0 or input.numel() == 0:
        return input
    if input.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    noise = 0.0 if p == 1 else _feature_mask(input, p, 2).div_(1 - p)
    return input.mul_(noise) if inplace else input * noise


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, L) or (C, L)."""
    _check_p(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that dropout1d exists "
            "to provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an "
            "optional batch dimension (i.e. 2D or 3D inputs)."
        )
    if input.dim() == 2:
        return _feature_dropout(input.unsqueeze(0), p, training, inplace).squeeze(0)
    return _feature_dropout(input, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, H, W)."""
    _check_p(p)
    if input.dim() not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.dim()}-D input to dropout2d, which is deprecated and will result in an "
            "error in a future release. To retain the behavior and silence this warning, please use dropout instead. "
            "Note that dropout2d exists to provide channel-wise dropout on inputs with 2 spatial dimensions, a "
            "channel dimension, and an optional batch dimension (i.e. 3D or 4D inputs).",
            stacklevel=2,
        )
    return _feature_dropout(input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    _check_p(p)
    if input.dim() not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.dim()}-D input to dropout3d, which is deprecated and will result in an "
            "error in a future release. To retain the behavior and silence this warning, please use dropout instead. "
            "Note that dropout3d exists to provide channel-wise dropout on inputs with 3 spatial dimensions, a "
            "channel dimension, and an optional batch dimension (i.e. 4D or 5D inputs).",
            stacklevel=2,
        )
    if input.dim() != 5:
        return _feature_dropout(input.unsqueeze(0), p, training, inplace).squeeze(0)
    return _feature_dropout(input, p, training, inplace)


_ALPHA = 1.7580993408473766  # minus the limit of SELU for x → −∞


def _alpha_dropout(input: Tensor, p: float, training: bool, inplace: bool, channels: int) -> Tensor:
    _check_p(p)
    if not training or p == 0 or input.numel() == 0:
        return input
    if input.dim() < channels:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    if p == 1:
        return input.mul_(0.0) if inplace else input * 0.0
    a = 1 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    keep = _feature_mask(input, p, channels)
    shift = (keep - 1) * (_ALPHA * a) + _ALPHA * a * p
    return input.mul_(keep * a).add_(shift) if inplace else input * (keep * a) + shift


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout to SELU's lower limit that keeps mean 0 and variance 1."""
    return _alpha_dropout(input, p, training, inplace, input.dim())


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """``alpha_dropout`` of whole channels."""
    return _alpha_dropout(input, p, training, inplace, 2)


# ---- embedding, distances, pixels


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """weight[input]; the row ``padding_idx`` gets no gradient; rows longer than ``max_norm`` are first shortened."""
    if sparse:
        raise NotImplementedError("embedding with sparse=True: sparse gradients are not supported")
    if scale_grad_by_freq:
        raise NotImplementedError("embedding with scale_grad_by_freq=True is not supported yet")
    if padding_idx is not None:
        rows = weight.size(0)
        if padding_idx >= rows or padding_idx < -rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if max_norm is not None:
        with luchina.no_grad():
            rows_used = input.reshape(-1)
            used = weight.detach()[rows_used]
            norm = luchina.norm(used, norm_type, 1, True)
            # The same row may be used twice: both writes hold the same numbers.
            weight[rows_used] = luchina.where(norm > max_norm, used * (max_norm / (norm + 1e-7)), used)
    engine.check_rows(input, weight)
    return engine.rows(weight, input, padding_idx)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(…, C·r², H, W) to (…, C, H·r, W·r)."""
    *batch, c, h, w = input.shape
    r = upscale_factor
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(batch)
    y = input.reshape(*batch, c // (r * r), r, r, h, w)
    y = y.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return y.reshape(*batch, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(…, C, H·r, W·r) to (…, C·r², H, W)."""
    *batch, c, h, w = input.shape
    r = downscale_factor
    for name, size in (("height", h), ("width", w)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size"
                f"({-2 if name == 'height' else -1})={size} is not divisible by {r}"
            )
    n = len(batch)
    y = input.reshape(*batch, c, h // r, r, w // r, r)
    y = y.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return y.reshape(*batch, c * r * r, h // r, w // r)


@listed
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Resize the spatial dimensions of (N, C, …) to ``size`` or by ``scale_factor``, nearest or (bi)linear."""
    spatial = input.dim() - 2
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "either size or scale_factor should be defined"
            if size is None
            else "only one of size or scale_factor should be defined"
        )
    rank = {"linear": 3, "bilinear": 4}.get(mode)
    if mode != "nearest" and rank is None:
        raise NotImplementedError(
            f"interpolate with mode={mode!r} is not supported: there are nearest, linear, bilinear"
        )
    if input.dim() not in (3, 4, 5):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        )
    for name, what, value in (("output", "output size", size), ("scale_factor", "scale_factor", scale_factor)):
        if isinstance(value, (tuple, list)) and len(value) != spatial:
            raise ValueError(
                f"Input and {name} must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(input.shape[2:])} and {what} of {'shape ' if name != 'output' else ''}{value}."
            )
    if rank is not None and input.dim() != rank:
        raise NotImplementedError(f"Got {input.dim()}D input, but {mode} mode needs {rank}D input")
    if mode == "nearest" and align_corners is not None:
        raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear")
    given = size if size is not None else scale_factor
    given = [given] * spatial if isinstance(given, (int, float)) else list(given)
    have = input.shape[2:]
    want = given if size is not None else [math.floor(n * float(s)) for n, s in zip(have, given)]
    for i in range(spatial):
        scale = have[i] / want[i] if size is not None else 1 / given[i]
        if mode == "nearest":
            at = [min(int(k * scale), have[i] - 1) for k in range(want[i])]
            input = input.index_select(2 + i, luchina.tensor(at, device=input.device))
        elif have[i] != want[i]:
            input = _lerp_axis(input, 2 + i, have[i], want[i], scale, bool(align_corners))
    return input


def _lerp_axis(input: Tensor, axis: int, have: int, want: int, scale: float, align: bool) -> Tensor:
    low, high, weights = [], [], []
    for k in range(want):
        at = k * (have - 1) / (want - 1) if align and want > 1 else 0.0 if align else max((k + 0.5) * scale - 0.5, 0.0)
        floor = min(int(at), have - 1)
        low.append(floor)
        high.append(min(floor + 1, have - 1))
        weights.append(at - floor)
    shape = [1] * input.dim()
    shape[axis] = want
    t = luchina.tensor(weights, dtype=input.dtype, device=input.device).reshape(shape)
    a = input.index_select(axis, luchina.tensor(low, device=input.device))
    b = input.index_select(axis, luchina.tensor(high, device=input.device))
    return a * (1 - t) + b * t


upsample = interpolate

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "feature_alpha_dropout",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "mish",
    "mse_loss",
    "multi_head_attention_forward",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "unfold",
    "upsample",
]
