"""Normalisations: batch, layer, group, instance, root-mean-square.

They are one operation: x, grouped by a reshape ``view``, is centred (or not) and scaled to variance 1 over some axes,
then multiplied by a weight and moved by a bias. With u the normalised x and r = 1/√(var + eps), its Jacobian

    J = r (I − 11ᵀ/n − uuᵀ/n)        (without the middle term where nothing is centred)

is symmetric, so ``STANDARDIZE_BACKWARD`` is its own transpose, and the derivative of J in x is written with it again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph.value import Op, Spec, Value
from luchina.ops import pointwise as on
from luchina.ops.formula import Formula, formula, rsqrt, wide
from luchina.ops.movement import reshape
from luchina.ops.pointwise import add, dtype_title, mul, neg, sub
from luchina.ops.reduce import mean as mean_
from luchina.ops.reduce import norm as norm_
from luchina.ops.reduce import sum as sum_
from luchina.ops.registry import axis_of, public
from luchina.ops.select import clamp_min


class Groups(NamedTuple):
    """What is normalised together: the ``axes`` of x seen as ``view``."""

    view: tuple[int, ...]
    axes: tuple[int, ...]
    eps: float
    centred: bool = True


def _moments(x: Formula, how: Groups) -> tuple[Formula, Formula]:
    """(x − mean, r), over the view; the variance from centred numbers, so that nothing cancels."""
    away = x - x.mean(how.axes) if how.centred else x
    return away, rsqrt((away * away).mean(how.axes) + how.eps)


def _standardized(x: Formula, how: Groups) -> Formula:
    away, r = _moments(x.reshape(how.view), how)
    return (away * r).reshape(x.shape)


def _affine(y: Formula, weight: Formula | None, bias: Formula | None, shape: tuple[int, ...]) -> Formula:
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


@formula
def _lower_standardize_backward(g: Formula, x: Formula, how: Groups) -> Formula:
    away, r = _moments(x.reshape(how.view), how)
    u, grouped = away * r, g.reshape(how.view)
    rest = grouped - u * (grouped * u).mean(how.axes)
    if how.centred:
        rest = rest - grouped.mean(how.axes)
    return (r * rest).reshape(x.shape)


@formula
def _lower_scale(x: Formula, how: Groups) -> Formula:
    return _moments(x.reshape(how.view), how)[1]


def _mean(x: Value, how: Groups) -> Value:
    return mean_(reshape(x, how.view), how.axes, True)


def _spread(x: Value, how: Groups, shape: tuple[int, ...]) -> Value:
    """A number for each group, for every element of it."""
    from luchina.ops.movement import expand

    return reshape(expand(x, how.view), shape)


def _times(x: Value, groups: Value, how: Groups) -> Value:
    return reshape(mul(reshape(x, how.view), groups), x.shape)


def _standardize_backward_vjp(h: Value, v: Value) -> tuple:
    g, x = v.inputs
    (how,) = v.attrs
    jh = STANDARDIZE_BACKWARD(h, x, attrs=v.attrs)
    if not x.needs_grad:
        return jh, None
    jg = STANDARDIZE_BACKWARD(g, x, attrs=v.attrs)
    u, r = STANDARDIZE(x, attrs=(how, False, False, ())), SCALE(x, attrs=v.attrs)
    hu, gu = _mean(mul(h, u), how), _mean(mul(g, u), how)
    size = sub(_mean(mul(h, g), how), mul(hu, gu))
    if how.centred:
        size = sub(size, mul(_mean(h, how), _mean(g, how)))
    bent = _times(u, mul(mul(r, r), size), how)
    turned = add(_times(jh, mul(r, gu), how), _times(jg, mul(r, hu), how))
    return jh, neg(add(bent, turned))


def _scale_vjp(g: Value, v: Value) -> tuple:
    """dr/dx = −r² u / n."""
    (x,), (how,) = v.inputs, v.attrs
    n = x.size // max(v.size, 1)
    u = STANDARDIZE(x, attrs=(how, False, False, ()))
    return (_times(u, mul(mul(mul(v, v), g), -1.0 / n if n else 0.0), how),)


STANDARDIZE_BACKWARD = Op(
    "standardize_backward",
    lambda g, x, how: Spec(x.shape, x.dtype),
    lambda g, x, how: p.cast(_lower_standardize_backward(g, x, how), x.dtype),  # g is wider beside float32 parameters
    _standardize_backward_vjp,
    ((1,), (0, 1)),
)
SCALE = Op(
    "standard_scale",
    lambda x, how: Spec(tuple([1 if a in how.axes else n for a, n in enumerate(how.view)]), x.dtype),
    _lower_scale,
    _scale_vjp,
    ((0,),),
)


def _lower_norm(x: Node, *rest: Any) -> Node:
    *parameters, how, has_weight, has_bias, shape = rest
    formulas = [Formula(p.cast(n, wide(x).dtype)) for n in parameters]
    weight = formulas[0] if has_weight else None
    bias = formulas[-1] if has_bias else None
    if not x.size:
        return x
    return p.cast(_affine(_standardized(Formula(wide(x)), how), weight, bias, shape).node, x.dtype)


def _norm_vjp(g: Value, v: Value) -> tuple:
    x, *parameters = v.inputs
    how, has_weight, has_bias, shape = v.attrs
    found: list[Value | None] = [None]
    scaled = mul(g, reshape(parameters[0], shape)) if has_weight else g
    if x.needs_grad:
        found[0] = STANDARDIZE_BACKWARD(scaled, x, attrs=(how,))
    # The parameters' shape, seen from x: what has an extent of 1 there is summed.
    lead = x.ndim - len(shape)
    axes = tuple([a for a in range(x.ndim) if a < lead or shape[a - lead] == 1])
    if has_weight:
        u = STANDARDIZE(x, attrs=(how, False, False, ()))
        found.append(_summed(mul(g, u), axes, parameters[0]) if parameters[0].needs_grad else None)
    if has_bias:
        found.append(_summed(g, axes, parameters[-1]) if parameters[-1].needs_grad else None)
    return tuple(found)


def _summed(x: Value, axes: tuple[int, ...], like: Value) -> Value:
    return reshape(sum_(x, axes) if axes else x, like.shape)


def _norm_op(name: str, grad_name: str) -> Op:
    return Op(name, lambda x, *rest: Spec(x.shape, x.dtype), _lower_norm, _norm_vjp, ((0, 1), (0,), ()), grad_name)


STANDARDIZE = _norm_op("standardize", "Standardize")
LAYER_NORM = _norm_op("layer_norm", "NativeLayerNorm")
GROUP_NORM = _norm_op("group_norm", "NativeGroupNorm")
BATCH_NORM = _norm_op("batch_norm", "NativeBatchNorm")
RMS_NORM = _norm_op("rms_norm", "FusedRmsNorm")


def _record(op: Op, x: Value, weight: Value | None, bias: Value | None, how: Groups, shape: tuple[int, ...]) -> Value:
    parameters = [n for n in (weight, bias) if n is not None]
    return op(x, *parameters, attrs=(how, weight is not None, bias is not None, shape))


# ---- over the last dimensions


def _check_float(x: Value, kernel: str) -> None:
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtype_title(x.dtype)}'")


def _check_parameter_types(x: Value, *parameters: Value | None) -> None:
    """A parameter has the input's dtype, or float32 beside a 16-bit input."""
    for parameter in parameters:
        if parameter is not None and parameter.dtype is not x.dtype:
            if x.dtype.itemsize == 2 and parameter.dtype is dtypes.float32:
                continue
            raise RuntimeError(
                f"mixed dtype (CPU): expect parameter to have scalar type of {dtype_title(dtypes.float32)}"
            )


def _trailing(x: Value, shape: tuple[int, ...], star: str) -> tuple[int, ...]:
    """The axes that ``shape`` covers; PyTorch's errors otherwise."""
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    lead = x.ndim - len(shape)
    if lead < 0 or x.shape[lead:] != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*{star}{', '.join(map(str, shape))}], "
            f"but got input of size{list(x.shape)}"
        )
    return tuple(range(lead, x.ndim))


def _check_shape(name: str, parameter: Value | None, shape: tuple[int, ...]) -> None:
    if parameter is not None and parameter.shape != shape:
        raise RuntimeError(
            f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
            f"{list(parameter.shape)} and normalized_shape = {list(shape)}"
        )


def _shape_of(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


@public(method=False)
def layer_norm(
    input: Value,
    normalized_shape: int | Sequence[int],
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
) -> Value:
    """(x − mean) / √(var + eps) · weight + bias over the last dimensions, which are ``normalized_shape``.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.layer_norm.html
    """
    shape = _shape_of(normalized_shape)
    axes = _trailing(input, shape, ", ")
    _check_shape("weight", weight, shape)
    _check_shape("bias", bias, shape)
    _check_float(input, "LayerNormKernelImpl")
    _check_parameter_types(input, weight, bias)
    return _record(LAYER_NORM, input, weight, bias, Groups(input.shape, axes, float(eps)), shape)


@public(method=False)
def rms_norm(
    input: Value, normalized_shape: int | Sequence[int], weight: Value | None = None, eps: float | None = None
) -> Value:
    """x / √(mean(x²) + eps) · weight over the last dimensions; eps is the computing dtype's epsilon unless given."""
    shape = _shape_of(normalized_shape)
    axes = _trailing(input, shape, ", ")
    _check_shape("weight", weight, shape)
    _check_float(input, "rms_norm")
    if eps is None:
        eps = dtypes.finfo(dtypes.float64 if input.dtype is dtypes.float64 else dtypes.float32).eps
    return _record(RMS_NORM, input, weight, None, Groups(input.shape, axes, float(eps), False), shape)


# ---- over channels and samples


def _check_channels(name: str, parameter: Value | None, x: Value) -> None:
    if parameter is not None and (parameter.ndim != 1 or parameter.size != x.shape[1]):
        raise RuntimeError(
            f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape "
            f"{list(parameter.shape)} and input of shape {list(x.shape)}"
        )


def _channel_shape(x: Value) -> tuple[int, ...]:
    """A vector of channels (axis 1) as it broadcasts against x."""
    return (x.shape[1], *(1,) * (x.ndim - 2))


@public(method=False)
def group_norm(
    input: Value, num_groups: int, weight: Value | None = None, bias: Value | None = None, eps: float = 1e-5
) -> Value:
    """(x − mean) / √(var + eps) · weight + bias, each sample's channels in ``num_groups`` groups.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.group_norm.html
    """
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if input.shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    _check_channels("weight", weight, input)
    _check_channels("bias", bias, input)
    _check_float(input, "GroupNormKernelImpl")
    _check_parameter_types(input, weight, bias)
    n = input.shape[0]
    view = (n, num_groups, math.prod(input.shape[1:]) // num_groups)
    return _record(GROUP_NORM, input, weight, bias, Groups(view, (2,), float(eps)), _channel_shape(input))


def _batch_axes(x: Value) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def check_batch_norm(
    input: Value, mean: Value | None, var: Value | None, weight: Value | None, bias: Value | None, training: bool
) -> None:
    """PyTorch's errors for statistics and parameters that are missing or do not fit the channels of the input."""
    vectors = {"running_mean": mean, "running_var": var, "weight": weight, "bias": bias}
    for name in ("running_mean", "running_var"):
        if not training and vectors[name] is None:
            raise RuntimeError(f"{name} must be defined in evaluation mode")
    for name, value in vectors.items():
        if value is not None and value.size != input.shape[1]:
            raise RuntimeError(f"{name} should contain {input.shape[1]} elements not {value.size}")
    _check_float(input, "batch_norm")


def _lower_stats(x: Node, axes: tuple[int, ...]) -> tuple[Node, Node]:
    start = Formula(wide(x))
    mean = start.mean(axes)
    away = start - mean
    var = (away * away).mean(axes)
    channels = (x.shape[1],)
    return p.reshape(mean.node, channels), p.reshape(var.node, channels)


def _stats_spec(x: Value, axes: tuple[int, ...]) -> list[Spec]:
    spec = Spec((x.shape[1],), dtypes.float32 if x.dtype.itemsize == 2 else x.dtype)
    return [spec, spec]


STATS = Op("batch_norm_stats", _stats_spec, _lower_stats)


def batch_norm_stats(x: Value) -> tuple[Value, Value]:
    """Mean and biased variance of each channel (axis 1), in float32 for 16-bit inputs; no gradient."""
    return STATS(x, attrs=(_batch_axes(x),))


def batch_norm_train(x: Value, weight: Value | None, bias: Value | None, eps: float) -> Value:
    """Batch normalisation with the batch's own statistics, through which the gradient flows too."""
    return _record(BATCH_NORM, x, weight, bias, Groups(x.shape, _batch_axes(x), float(eps)), _channel_shape(x))


def _lower_apply(x: Node, mean: Node, var: Node, *rest: Any) -> Node:
    *parameters, eps, has_weight, has_bias = rest
    shape = (x.shape[1], *(1,) * (len(x.shape) - 2))
    start = Formula(wide(x))
    m, s, *formulas = (Formula(p.cast(n, start.dtype)).reshape(shape) for n in (mean, var, *parameters))
    y = (start - m) * rsqrt(s + eps)
    if has_weight:
        y = y * formulas[0]
    return p.cast((y + formulas[-1] if has_bias else y).node, x.dtype)


def _apply_vjp(g: Value, v: Value) -> tuple:
    """With statistics that are numbers of their own."""
    x, mean, var, *parameters = v.inputs
    eps, has_weight, has_bias = v.attrs
    shape, axes = _channel_shape(x), _batch_axes(x)
    r = on.rsqrt(add(reshape(var, shape), eps))
    away = sub(x, reshape(mean, shape))
    scaled = mul(g, mul(r, reshape(parameters[0], shape)) if has_weight else r)
    found: list[Value | None] = [scaled if x.needs_grad else None]
    found.append(neg(sum_(scaled, axes)) if mean.needs_grad else None)
    found.append(sum_(mul(mul(scaled, away), mul(mul(r, r), -0.5)), axes) if var.needs_grad else None)
    if has_weight:
        found.append(sum_(mul(mul(g, away), r), axes) if parameters[0].needs_grad else None)
    if has_bias:
        found.append(sum_(g, axes) if parameters[-1].needs_grad else None)
    return tuple(found)


BATCH_NORM_APPLY = Op(
    "batch_norm_apply",
    lambda x, *rest: Spec(x.shape, x.dtype),
    _lower_apply,
    _apply_vjp,
    ((2, 3), (2, 3), (0, 1, 2, 3), (0, 1, 2), ()),
    "NativeBatchNorm",
)


def batch_norm_apply(x: Value, mean: Value, var: Value, weight: Value | None, bias: Value | None, eps: float) -> Value:
    """(x − mean) / √(var + eps) · weight + bias for each channel, with given statistics."""
    parameters = [n for n in (weight, bias) if n is not None]
    attrs = (float(eps), weight is not None, bias is not None)
    return BATCH_NORM_APPLY(x, mean, var, *parameters, attrs=attrs)


# ---- vectors to length 1, and how far they are apart


@public(function=False, method=False)
def normalize(input: Value, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Value:
    """x / max(‖x‖ₚ, eps) along ``dim``."""
    return on.div(input, clamp_min(norm_(input, p, dim, True), eps))


@public(method=False)
def cosine_similarity(x1: Value, x2: Value, dim: int = 1, eps: float = 1e-8) -> Value:
    """x₁·x₂ / (max(‖x₁‖, ε) · max(‖x₂‖, ε)) along ``dim``.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.cosine_similarity.html
    """
    from luchina.graph.value import result_dtype
    from luchina.ops.movement import expand
    from luchina.ops.registry import broadcast

    shape, d = broadcast(x1, x2), result_dtype(x1, x2)
    if not d.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dtype_title(d)}")
    axis = axis_of(dim, len(shape))
    parts = []
    for x in (x1, x2):
        x = on.cast(expand(x, shape), d)
        parts.append(on.div(x, clamp_min(norm_(x, 2, axis, True), eps)))
    return sum_(mul(*parts), axis)


@public(method=False)
def pairwise_distance(x1: Value, x2: Value, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Value:
    """‖x₁ − x₂ + ε‖ₚ along the last dimension."""
    apart = add(sub(x1, x2), eps)
    return norm_(apart, p, apart.ndim - 1, keepdim)
