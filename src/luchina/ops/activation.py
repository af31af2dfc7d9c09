"""Activation functions: one recorded operation each, its derivative one more.

An activation is three formulas: its value, its cotangent ``back(g, x)``, and its second derivative as operations on
Values, so that gradients of gradients work at any order. Piecewise linear ones have no second derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from luchina import dtypes
from luchina.graph.value import OUT, Op, Spec, Value
from luchina.ops import pointwise as on
from luchina.ops.formula import (
    Formula,
    absolute,
    exp,
    expm1,
    formula,
    log,
    log1p,
    normal_cdf,
    sigmoid,
    tanh,
    where,
)
from luchina.ops.movement import reshape, slice_
from luchina.ops.pointwise import add, dtype_title, mul, neg, sub
from luchina.ops.reduce import sum as sum_
from luchina.ops.registry import axis_of, public
from luchina.ops.select import where as select

Second = Callable[..., Value]


def _spec(x: Value, *attrs: Any) -> Spec:
    return Spec(x.shape, x.dtype)


def _activation(
    name: str,
    value: Callable[..., Formula],
    back: Callable[..., Formula],
    second: Second | None,
    kernel: str = "",
    reads: int = 0,
    grad_name: str | None = None,
) -> Op:
    """Declare an activation. ``kernel`` is PyTorch's name in its error for integers ("" accepts them); with ``reads``
    OUT, ``back`` is given the result in place of x."""

    def infer(x: Value, *attrs: Any) -> Spec:
        if kernel and not x.dtype.is_floating_point:
            raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtype_title(x.dtype)}'")
        return Spec(x.shape, x.dtype)

    def back_vjp(gg: Value, v: Value) -> tuple:
        g, x = v.inputs
        gx = None
        if second is not None and x.needs_grad:
            gx = mul(mul(gg, g), second(x, *v.attrs))
        return backward(gg, x, attrs=v.attrs), gx

    backward = Op(f"{name}_backward", lambda g, x, *a: Spec(x.shape, x.dtype), formula(back), back_vjp, ((1,), (0, 1)))

    def vjp(g: Value, v: Value) -> tuple:
        return (backward(g, v if reads == OUT else v.inputs[0], attrs=v.attrs),)

    return Op(name, infer, formula(value), vjp, ((reads,),), grad_name)


# ---- piecewise linear


def _relu_back(g: Formula, y: Formula) -> Formula:
    return where(y <= 0, 0, g)


RELU = _activation("relu", lambda x: x.max(0), _relu_back, None, reads=OUT)


@public(inplace=True)
def relu(input: Value) -> Value:
    """max(0, x), elementwise; the gradient at 0 is 0."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    return RELU(input)


LEAKY_RELU = _activation(
    "leaky_relu",
    lambda x, slope: where(x > 0, x, x * slope),
    lambda g, x, slope: where(x > 0, g, g * slope),
    None,
    "leaky_relu_cpu",
)


@public(function=False, method=False)
def leaky_relu(input: Value, negative_slope: float = 0.01) -> Value:
    """x where x > 0, else negative_slope · x."""
    return LEAKY_RELU(input, attrs=(float(negative_slope),))


HARDTANH = _activation(
    "hardtanh",
    lambda x, low, high: x.max(low).min(high),
    lambda g, x, low, high: where((x <= low) | (x >= high), 0, g),
    None,
)


def _limits(input: Value, low: float, high: float) -> tuple:
    return (float(low), float(high)) if input.dtype.is_floating_point else (int(low), int(high))


@public(function=False, method=False)
def hardtanh(input: Value, min_val: float = -1.0, max_val: float = 1.0) -> Value:
    """x limited to [min_val, max_val]; no gradient at or outside the limits."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("Bool inputs not supported for hardtanh")
    return HARDTANH(input, attrs=_limits(input, min_val, max_val))


@public(function=False, method=False)
def relu6(input: Value) -> Value:
    """min(max(0, x), 6)."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("Boolean inputs not supported for relu6")
    return HARDTANH(input, attrs=_limits(input, 0, 6))


HARDSIGMOID = _activation(
    "hardsigmoid",
    lambda x: (x + 3.0).max(0.0).min(6.0) / 6.0,
    lambda g, x: where((x > -3.0) & (x < 3.0), g / 6.0, 0.0),
    None,
    "hardsigmoid_cpu",
)
HARDSWISH = _activation(
    "hardswish",
    lambda x: x * (x + 3.0).max(0.0).min(6.0) / 6.0,
    lambda g, x: where(x <= -3.0, 0.0, where(x < 3.0, g * (x / 3.0 + 0.5), g)),
    lambda x: select(on.logical_and(on.gt(x, -3.0), on.lt(x, 3.0)), 1 / 3, 0.0),
    "hardswish_cpu",
)
THRESHOLD = _activation(
    "threshold",
    lambda x, limit, number: where(x <= limit, number, x),
    lambda g, x, limit, number: where(x <= limit, 0, g),
    None,
)
HARDSHRINK = _activation(
    "hardshrink",
    lambda x, lambd: where((x >= -lambd) & (x <= lambd), 0.0, x),
    lambda g, x, lambd: where((x >= -lambd) & (x <= lambd), 0.0, g),
    None,
    "hardshrink_cpu",
)
SOFTSHRINK = _activation(
    "softshrink",
    lambda x, lambd: where(x > lambd, x - lambd, where(x < -lambd, x + lambd, x * 0.0)),
    lambda g, x, lambd: where((x >= -lambd) & (x <= lambd), 0.0, g),
    None,
    "softshrink_check",
)


@public(function=False, method=False)
def hardsigmoid(input: Value) -> Value:
    """min(max(x + 3, 0), 6) / 6."""
    return HARDSIGMOID(input)


@public(function=False, method=False)
def hardswish(input: Value) -> Value:
    """x · min(max(x + 3, 0), 6) / 6."""
    return HARDSWISH(input)


@public(method=False, inplace=True)
def threshold(input: Value, threshold: float, value: float) -> Value:
    """x where x > threshold, else value."""
    return THRESHOLD(input, attrs=_limits(input, threshold, value))


@public(inplace=False)
def hardshrink(input: Value, lambd: float = 0.5) -> Value:
    """x where |x| > λ, else 0."""
    return HARDSHRINK(input, attrs=(float(lambd),))


@public(function=False, method=False)
def softshrink(input: Value, lambd: float = 0.5) -> Value:
    """x shrunk towards 0 by λ."""
    if lambd < 0 or lambd != lambd:
        title = dtype_title(input.dtype)
        largest = dtypes.finfo(input.dtype).max if input.dtype.is_floating_point else 0
        raise RuntimeError(f"lambda must be in range [0, {largest:g}] for input dtype {title}, but found {lambd:g}")
    return SOFTSHRINK(input, attrs=(float(lambd),))


# ---- exponential ones


def _elu(x: Formula, alpha: float, scale: float, rate: float) -> Formula:
    return where(x > 0, x * scale, expm1(x.min(0.0) * rate) * (alpha * scale))


def _elu_back(g: Formula, x: Formula, alpha: float, scale: float, rate: float) -> Formula:
    return where(x > 0, g * scale, g * exp(x.min(0.0) * rate) * (alpha * scale * rate))


def _elu_second(x: Value, alpha: float, scale: float, rate: float) -> Value:
    return select(on.ge(x, 0), 0.0, mul(on.exp(mul(x, rate)), alpha * scale * rate * rate))


ELU = _activation("elu", _elu, _elu_back, _elu_second, "elu_cpu")
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@public(function=False, method=False)
def elu(input: Value, alpha: float = 1.0) -> Value:
    """x where x > 0, else α(eˣ − 1)."""
    return ELU(input, attrs=(float(alpha), 1.0, 1.0))


@public(method=False, inplace=True)
def selu(input: Value) -> Value:
    """scale · (x where x > 0, else α(eˣ − 1)) with the two constants of self-normalising networks."""
    return ELU(input, attrs=(SELU_ALPHA, SELU_SCALE, 1.0))


@public(method=False, inplace=True)
def celu(input: Value, alpha: float = 1.0) -> Value:
    """max(0, x) + min(0, α(e^{x/α} − 1))."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return ELU(input, attrs=(float(alpha), 1.0, 1.0 / alpha))


def _silu_back(g: Formula, x: Formula) -> Formula:
    s = sigmoid(x)
    return g * s * (1.0 + x * (1.0 - s))


def _silu_second(x: Value) -> Value:
    s = on.sigmoid(x)
    slope = mul(s, on.rsub(s, 1))
    return mul(slope, add(mul(x, on.rsub(mul(s, 2), 1)), 2))


SILU = _activation("silu", lambda x: x * sigmoid(x), _silu_back, _silu_second, "silu_cpu")


@public(function=False, method=False)
def silu(input: Value) -> Value:
    """x · σ(x), elementwise."""
    return SILU(input)


def _softplus(x: Formula, beta: float = 1.0, limit: float = 20.0) -> Formula:
    scaled = x * beta if beta != 1 else x
    return where(scaled > limit, x, log1p(exp(scaled.min(limit))) / beta)


def _softplus_back(g: Formula, x: Formula, beta: float, limit: float) -> Formula:
    return where(x * beta > limit, g, g * sigmoid(x * beta))


def _softplus_second(x: Value, beta: float, limit: float) -> Value:
    s = on.sigmoid(mul(x, beta))
    return select(on.gt(mul(x, beta), limit), 0.0, mul(mul(s, on.rsub(s, 1)), beta))


SOFTPLUS = _activation("softplus", _softplus, _softplus_back, _softplus_second, "softplus_cpu")


@public(function=False, method=False)
def softplus(input: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    """log(1 + e^{βx}) / β; x itself where βx > threshold."""
    return SOFTPLUS(input, attrs=(float(beta), float(threshold)))


def _mish_back(g: Formula, x: Formula) -> Formula:
    t = tanh(_softplus(x))
    return g * (t + x * sigmoid(x) * (1.0 - t * t))


def _mish_second(x: Value) -> Value:
    t, s = on.tanh(softplus(x)), on.sigmoid(x)
    w = on.rsub(mul(t, t), 1)  # dt/dx = w s
    inner = add(mul(on.rsub(s, 1), x), sub(2, mul(mul(mul(t, s), x), 2)))
    return mul(mul(w, s), inner)


MISH = _activation("mish", lambda x: x * tanh(_softplus(x)), _mish_back, _mish_second, "mish_cpu")


@public(function=False, method=False)
def mish(input: Value) -> Value:
    """x · tanh(softplus(x))."""
    return MISH(input)


LOGSIGMOID = _activation(
    "log_sigmoid",
    lambda x: x.min(0.0) - log1p(exp(-absolute(x))),
    lambda g, x: g * sigmoid(-x),
    lambda x: neg(mul(on.sigmoid(x), on.sigmoid(neg(x)))),
    "log_sigmoid_cpu",
)


@public(function=False, method=False)
def logsigmoid(input: Value) -> Value:
    """log σ(x), exact for large |x|."""
    return LOGSIGMOID(input)


_PEAK = 1 / math.sqrt(2 * math.pi)  # of the normal density
_TANH_SCALE, _TANH_CUBIC = math.sqrt(2 / math.pi), 0.044715


def _gelu_back(g: Formula, x: Formula) -> Formula:
    return g * (normal_cdf(x) + x * exp(x * x * -0.5) * _PEAK)


def _gelu_second(x: Value) -> Value:
    square = mul(x, x)
    return mul(mul(on.exp(mul(square, -0.5)), _PEAK), on.rsub(square, 2))


GELU = _activation("gelu", lambda x: x * normal_cdf(x), _gelu_back, _gelu_second, "GeluKernelImpl")


def _gelu_tanh(x: Formula) -> Formula:
    return 0.5 * x * (1.0 + tanh(_TANH_SCALE * x * (1.0 + _TANH_CUBIC * x * x)))


def _gelu_tanh_back(g: Formula, x: Formula) -> Formula:
    square = x * x
    t = tanh(_TANH_SCALE * x * (1.0 + _TANH_CUBIC * square))
    slope = _TANH_SCALE * (1.0 + 3 * _TANH_CUBIC * square)
    return g * 0.5 * (1.0 + t + x * (1.0 - t * t) * slope)


def _gelu_tanh_second(x: Value) -> Value:
    square = mul(x, x)
    t = on.tanh(mul(mul(x, _TANH_SCALE), add(mul(square, _TANH_CUBIC), 1)))
    u = mul(add(mul(square, 3 * _TANH_CUBIC), 1), _TANH_SCALE)
    du = mul(x, 6 * _TANH_CUBIC * _TANH_SCALE)
    bent = add(mul(x, sub(mul(du, 0.5), mul(mul(t, u), u))), u)
    return mul(on.rsub(mul(t, t), 1), bent)


GELU_TANH = _activation("gelu_tanh", _gelu_tanh, _gelu_tanh_back, _gelu_tanh_second, "GeluKernelImpl", grad_name="Gelu")


@public(function=False, method=False)
def gelu(input: Value, approximate: str = "none") -> Value:
    """x · Φ(x), elementwise; ``approximate="tanh"`` uses ½x(1 + tanh(√(2/π)(x + 0.044715x³))).

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.gelu.html
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return (GELU if approximate == "none" else GELU_TANH)(input)


@public(function=False, method=False)
def softsign(input: Value) -> Value:
    """x / (1 + |x|)."""
    return on.div(input, add(on.abs(input), 1))


@public(function=False, method=False)
def tanhshrink(input: Value) -> Value:
    """x − tanh(x)."""
    return sub(input, on.tanh(input))


# ---- with a second operand


@public(function=False, method=False)
def glu(input: Value, dim: int = -1) -> Value:
    """a · σ(b), where a and b are the halves of x along ``dim``."""
    if input.ndim == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    axis = axis_of(dim, input.ndim)
    n = input.shape[axis]
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {n}")
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"glu_cpu\" not implemented for '{dtype_title(input.dtype)}'")
    sizes = [n // 2 if a == axis else m for a, m in enumerate(input.shape)]
    starts = [n // 2 if a == axis else 0 for a in range(input.ndim)]
    ones = (1,) * input.ndim
    return mul(slice_(input, (0,) * input.ndim, sizes, ones), on.sigmoid(slice_(input, starts, sizes, ones)))


def _prelu_back_x(g: Formula, x: Formula, w: Formula) -> Formula:
    return where(x > 0, g, g * w)


def _bend(gg: Value, g: Value, x: Value) -> Value:
    """The mixed second derivative: 1 where x < 0."""
    return select(on.ge(x, 0), 0.0, mul(gg, g))


PRELU_BACK_X = Op(
    "prelu_backward",
    lambda g, x, w: Spec(x.shape, x.dtype),
    formula(_prelu_back_x),
    lambda gg, v: (
        PRELU_BACK_X(gg, *v.inputs[1:]),
        None,
        _bend(gg, *v.inputs[:2]) if v.inputs[2].needs_grad else None,
    ),
    ((1, 2), (), (0, 1)),
)
PRELU_BACK_W = Op(
    "prelu_weight_backward",
    lambda g, x: Spec(x.shape, x.dtype),
    formula(lambda g, x: where(x > 0, 0.0, g * x)),
    lambda gg, v: (PRELU_BACK_W(gg, v.inputs[1]), _bend(gg, *v.inputs) if v.inputs[1].needs_grad else None),
    ((1,), (0, 1)),
)
PRELU = Op(
    "prelu",
    lambda x, w: Spec(x.shape, x.dtype),
    formula(lambda x, w: where(x > 0, x, x * w)),
    lambda g, v: (
        PRELU_BACK_X(g, *v.inputs) if v.inputs[0].needs_grad else None,
        PRELU_BACK_W(g, v.inputs[0]) if v.inputs[1].needs_grad else None,
    ),
    ((0, 1), (0,)),
    "PreluKernel",
)


@public(inplace=False)
def prelu(input: Value, weight: Value) -> Value:
    """x where x > 0, else weight · x; ``weight`` holds one number, or one for each channel (dimension 1)."""
    if weight.dtype is not input.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {dtype_title(input.dtype)} and {dtype_title(weight.dtype)}"
        )
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if weight.size != 1:
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.ndim >= 2 else 1
        if channels != weight.size:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.size} and channel size = {channels}."
            )
        weight = reshape(weight, (weight.size, *(1,) * (input.ndim - 2)))
    elif weight.ndim:
        weight = reshape(weight, ())
    return PRELU(input, weight)


# ---- softmax


def _softmax_spec(name: str) -> Callable[..., Spec]:
    def infer(x: Value, axis: int, d: dtypes.dtype) -> Spec:
        if not d.is_floating_point:
            which = "lastdim_kernel_impl" if axis == x.ndim - 1 or x.ndim == 0 else "kernel_impl"
            raise NotImplementedError(f"\"{name}_{which}\" not implemented for '{dtype_title(d)}'")
        return Spec(x.shape, d)

    return infer


def _typed(body: Callable[..., Formula], coarse: Callable[..., Formula] | None = None) -> Callable[..., Any]:
    """A softmax lowering: converted first, 0-d as one element, nothing to do for nothing. ``coarse`` is the formula
    whose result is rounded to 16 bits."""

    def lower(x: Any, axis: int, d: dtypes.dtype) -> Any:
        from luchina.compiler import prims as p

        x = p.cast(x, d.name)
        if x.size == 0:
            return x
        row = p.reshape(x, (1,)) if not x.shape else x
        chosen = coarse if coarse and d.itemsize == 2 else body
        return p.reshape(formula(chosen)(row, axis), x.shape)

    return lower


def _softmax(x: Formula, axis: int) -> Formula:
    raised = exp(x - x.top((axis,)))
    return raised / raised.sum((axis,))


def _coarse_softmax(x: Formula, axis: int) -> Formula:
    """The same with a product for each quotient: the sum is at least 1, and the last bit is lost in rounding."""
    raised = exp(x - x.top((axis,)))
    return raised * (1.0 / raised.sum((axis,)))


def _log_softmax(x: Formula, axis: int) -> Formula:
    below = x - x.top((axis,))
    return below - log(exp(below).sum((axis,)))


def _at_least_row(body: Callable[..., Formula]) -> Callable[..., Any]:
    """The same for the backward formulas of two operands."""

    def lower(g: Any, y: Any, axis: int) -> Any:
        from luchina.compiler import prims as p

        if y.size == 0:
            return g
        if not y.shape:
            return p.reshape(formula(body)(p.reshape(g, (1,)), p.reshape(y, (1,)), axis), ())
        return formula(body)(g, y, axis)

    return lower


def _softmax_back_vjp(h: Value, v: Value) -> tuple:
    """Of (g − Σ gy) y in g and y."""
    g, y = v.inputs
    (axis,) = v.attrs
    gy = None
    if y.needs_grad:
        inner = sum_(mul(g, y), axis, True)
        outer = sum_(mul(h, y), axis, True)
        gy = sub(mul(h, sub(g, inner)), mul(g, outer))
    return SOFTMAX_BACKWARD(h, y, attrs=v.attrs), gy


SOFTMAX_BACKWARD = Op(
    "softmax_backward",
    lambda g, y, axis: Spec(y.shape, y.dtype),
    _at_least_row(lambda g, y, axis: (g - (g * y).sum((axis,))) * y),
    _softmax_back_vjp,
    ((1,), (0, 1)),
)
SOFTMAX = Op(
    "softmax",
    _softmax_spec("softmax"),
    _typed(_softmax, _coarse_softmax),
    lambda g, v: (SOFTMAX_BACKWARD(g, v, attrs=v.attrs[:1]),),
    ((OUT,),),
)


def _log_softmax_back_vjp(h: Value, v: Value) -> tuple:
    """Of g − eʸ Σ g in g and y."""
    g, y = v.inputs
    (axis,) = v.attrs
    raised = mul(on.exp(y), h)
    gy = neg(mul(raised, sum_(g, axis, True))) if y.needs_grad else None
    return sub(h, sum_(raised, axis, True)), gy


LOG_SOFTMAX_BACKWARD = Op(
    "log_softmax_backward",
    lambda g, y, axis: Spec(y.shape, y.dtype),
    _at_least_row(lambda g, y, axis: g - exp(y) * g.sum((axis,))),
    _log_softmax_back_vjp,
    ((1,), (0, 1)),
)
LOG_SOFTMAX = Op(
    "log_softmax",
    _softmax_spec("log_softmax"),
    _typed(_log_softmax),
    lambda g, v: (LOG_SOFTMAX_BACKWARD(g, v, attrs=v.attrs[:1]),),
    ((OUT,),),
)


@public()
def softmax(input: Value, dim: int, dtype: dtypes.dtype | None = None) -> Value:
    """eˣ / Σ eˣ along ``dim``; the input is first converted to ``dtype`` if it is given.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.softmax.html
    """
    return SOFTMAX(input, attrs=(axis_of(dim, input.ndim), dtype or input.dtype))


@public()
def log_softmax(input: Value, dim: int, dtype: dtypes.dtype | None = None) -> Value:
    """x − log Σ eˣ along ``dim``; the input is first converted to ``dtype`` if it is given."""
    return LOG_SOFTMAX(input, attrs=(axis_of(dim, input.ndim), dtype or input.dtype))


@public(function=False, method=False)
def softmin(input: Value, dim: int, dtype: dtypes.dtype | None = None) -> Value:
    """softmax(−x) along ``dim``."""
    return softmax(neg(input), dim, dtype)
