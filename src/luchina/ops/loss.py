"""Losses: how far a prediction is from its target.

The two that nearly every training uses, ``mse_loss`` and ``cross_entropy`` of class indices, are one operation each
with a closed derivative; the others are short compositions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.dtypes import dtype
from luchina.graph.value import Op, Spec, Value, result_dtype
from luchina.ops import pointwise as on
from luchina.ops.activation import SOFTMAX, SOFTMAX_BACKWARD, log_softmax, logsigmoid
from luchina.ops.checks import bounds, host
from luchina.ops.formula import Formula, absolute, exp, iota, log, sign, where, wide
from luchina.ops.movement import reshape
from luchina.ops.norm import pairwise_distance
from luchina.ops.pointwise import add, cast, dtype_title, mul, neg, sub
from luchina.ops.reduce import mean
from luchina.ops.reduce import sum as sum_
from luchina.ops.registry import broadcast, full, public
from luchina.ops.select import clamp, clamp_min, minimum
from luchina.ops.select import where as select

REDUCTIONS = ("none", "mean", "sum")


def check_reduction(reduction: str) -> str:
    """The reduction as it is; PyTorch's ValueError for an unknown one."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _reduced(loss: Value, reduction: str) -> Value:
    check_reduction(reduction)
    return mean(loss) if reduction == "mean" else sum_(loss) if reduction == "sum" else loss


def _size(shape: tuple[int, ...]) -> str:
    return f"torch.Size({list(shape)})"


def warn_sizes(input: Value, target: Value) -> None:
    """PyTorch's warning where a loss is about to broadcast."""
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({_size(target.shape)}) that is different to the input size ({_size(input.shape)}). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=4,
        )


# ---- of a difference


class Distance(NamedTuple):
    """A loss of d = input − target: its value, its slope and its curvature at d, each given the loss's parameter."""

    value: Callable[[Formula, float], Formula]
    slope: Callable[[Formula, float], Formula]
    curvature: Callable[[Value, float], Value] | None
    kernel: str


_DISTANCES = {
    "mse_loss": Distance(lambda d, _: d * d, lambda d, _: d * 2.0, lambda d, _: full((), 2, d.dtype), "mse_cpu"),
    "l1_loss": Distance(lambda d, _: absolute(d), lambda d, _: sign(d), None, ""),
    "smooth_l1_loss": Distance(
        lambda d, beta: where(absolute(d) < beta, d * d * (0.5 / beta), absolute(d) - 0.5 * beta),
        lambda d, beta: (d / beta).max(-1.0).min(1.0),
        lambda d, beta: select(on.lt(on.abs(d), beta), 1 / beta, 0.0),
        "smooth_l1_cpu",
    ),
    "huber_loss": Distance(
        lambda d, delta: where(absolute(d) <= delta, d * d * 0.5, (absolute(d) - 0.5 * delta) * delta),
        lambda d, delta: d.max(-delta).min(delta),
        lambda d, delta: select(on.le(on.abs(d), delta), 1.0, 0.0),
        "huber_cpu",
    ),
}


def _difference(x: Node, t: Node, d: dtype) -> Formula:
    inner = wide(p.const(0, d.name)).dtype
    return Formula(p.cast(x, inner)) - Formula(p.cast(t, inner))


def _total(loss: Formula, reduction: str, d: dtype) -> Node:
    if reduction == "none":
        return p.cast(loss.node, d.name)
    node = p.reduce("sum", loss.node, range(len(loss.shape)))
    if reduction == "mean":
        node = p.binary("div", node, p.const(float(loss.node.size), node.dtype))
    return p.cast(node, d.name)


def _factor(reduction: str, size: int) -> float:
    """What the reduction multiplies each element's slope by."""
    return 1.0 / size if reduction == "mean" and size else 1.0


def _distance_op(name: str) -> Op:
    value, slope, curvature, kernel = _DISTANCES[name]

    def infer(x: Value, t: Value, reduction: str, parameter: float, d: dtype) -> Spec:
        shape = broadcast(x, t)
        if kernel and not d.is_floating_point:
            raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtype_title(d)}'")
        return Spec(shape if reduction == "none" else (), d)

    def lower_backward(g: Node, x: Node, t: Node, reduction: str, parameter: float, d: dtype) -> Node:
        apart = _difference(x, t, d)
        factor = _factor(reduction, apart.node.size)
        result = slope(apart, parameter) * Formula(p.cast(g, apart.dtype))
        return p.cast((result * factor if factor != 1 else result).node, d.name)

    def backward_vjp(h: Value, v: Value) -> tuple:
        g, x, t = v.inputs
        reduction, parameter, d = v.attrs
        unit = BACKWARD(full((), 1, d), x, t, attrs=v.attrs)
        bent = None
        if curvature is not None and (x.needs_grad or t.needs_grad):
            bent = mul(mul(mul(h, g), curvature(sub(x, t), parameter)), _factor(reduction, v.size))
        return mul(h, unit), bent, None if bent is None else neg(bent)

    BACKWARD = Op(
        f"{name}_backward",
        lambda g, x, t, reduction, parameter, d: Spec(broadcast(x, t), d),
        lower_backward,
        backward_vjp,
        ((1, 2), (0, 1, 2), (0, 1, 2)),
    )

    def vjp(g: Value, v: Value) -> tuple:
        back = BACKWARD(g, *v.inputs, attrs=v.attrs)
        return back if v.inputs[0].needs_grad else None, neg(back) if v.inputs[1].needs_grad else None

    return Op(
        name,
        infer,
        lambda x, t, reduction, parameter, d: _total(value(_difference(x, t, d), parameter), reduction, d),
        vjp,
        ((0, 1), (0, 1)),
    )


_OPS = {name: _distance_op(name) for name in _DISTANCES}


def _distance(name: str, input: Value, target: Value, reduction: str, parameter: float = 0.0) -> Value:
    check_reduction(reduction)
    return _OPS[name](input, target, attrs=(reduction, float(parameter), result_dtype(input, target)))


@public(function=False, method=False)
def mse_loss(input: Value, target: Value, reduction: str = "mean") -> Value:
    """(input − target)², then its mean.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.mse_loss.html
    """
    return _distance("mse_loss", input, target, reduction)


@public(function=False, method=False)
def l1_loss(input: Value, target: Value, reduction: str = "mean") -> Value:
    """|input − target|, then its mean."""
    d = result_dtype(input, target)
    if not d.is_floating_point:
        return _reduced(on.abs(sub(input, target)), reduction)
    return _distance("l1_loss", input, target, reduction)


@public(function=False, method=False)
def smooth_l1_loss(input: Value, target: Value, reduction: str = "mean", beta: float = 1.0) -> Value:
    """½d²/β where |d| < β, else |d| − ½β, with d = input − target."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return _distance("smooth_l1_loss", input, target, reduction, beta)


@public(function=False, method=False)
def huber_loss(input: Value, target: Value, reduction: str = "mean", delta: float = 1.0) -> Value:
    """½d² where |d| ≤ δ, else δ(|d| − ½δ), with d = input − target."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    return _distance("huber_loss", input, target, reduction, delta)


# ---- of class indices: input (rows, classes, positions), target (rows, positions)


class Picking(NamedTuple):
    """How classes are picked and weighed.

    For each row and position i the loss is Σ_c q(i, c) · (−log p(i, c)), with q the smoothed one-hot of the target
    times the weight, and 0 everywhere for a target that is ignored.
    """

    ignore_index: int
    reduction: str
    smoothing: float = 0.0


def _onehot(target: Node, shape: tuple[int, ...]) -> Formula:
    """Whether a class is the target's: (rows, classes, positions)."""
    spread = Formula(p.reshape(target, (shape[0], 1, shape[2])))
    return spread.equals(iota(shape, 1))


def _valid(target: Node, shape: tuple[int, ...], how: Picking) -> Formula:
    return ~Formula(p.reshape(target, (shape[0], 1, shape[2]))).equals(how.ignore_index)


def _shares(target: Node, weight: Node | None, shape: tuple[int, ...], how: Picking, inner: str) -> Formula:
    """q, in the dtype of the arithmetic."""
    each = Formula(p.const(1, inner))
    if weight is not None:
        each = Formula(p.reshape(p.cast(weight, inner), (1, shape[1], 1)))
    chosen = where(_onehot(target, shape), each * (1.0 - how.smoothing) if how.smoothing else each, 0)
    if how.smoothing:
        chosen = chosen + each * (how.smoothing / shape[1])
    return where(_valid(target, shape, how), chosen, 0)


def _divisor(target: Node, weight: Node | None, shape: tuple[int, ...], how: Picking, inner: str) -> Node:
    """Σ of the targets' weights: what the mean divides by. Without smoothing's share, which spreads it over classes."""
    if weight is None:
        counted = _valid(target, shape, how).to(inner)
    else:
        counted = _shares(target, weight, shape, how._replace(smoothing=0.0), inner)
    return p.reduce("sum", counted.node, (0, 1, 2))


def _reduce_rows(loss: Formula, divisor: Callable[[], Node], how: Picking, d: str) -> Node:
    """(rows, 1, positions) by the reduction."""
    if how.reduction == "none":
        return p.cast(p.reshape(loss.node, (loss.shape[0], loss.shape[2])), d)
    total = p.reduce("sum", loss.node, (0, 1, 2))
    if how.reduction == "mean":
        total = p.binary("div", total, divisor())
    return p.cast(total, d)


def _spread_cotangent(g: Node, target: Node, weight: Node | None, shape: tuple, how: Picking, inner: str) -> Formula:
    """The cotangent of each row's own loss: (rows, 1, positions), or one number."""
    g = p.cast(g, inner)
    if how.reduction == "none":
        return Formula(p.reshape(g, (shape[0], 1, shape[2])))
    if how.reduction == "mean":
        g = p.binary("div", g, _divisor(target, weight, shape, how, inner))
    return Formula(g)


def _log_probabilities(x: Formula) -> Formula:
    below = x - x.top((1,))
    return below - log(exp(below).sum((1,)))


def _lower_pick(from_logits: bool) -> Callable[..., Node]:
    def lower(x: Node, target: Node, *rest: Any) -> Node:
        *weights, how = rest
        weight = weights[0] if weights else None
        start = Formula(wide(x))
        logp = _log_probabilities(start) if from_logits else start
        q = _shares(target, weight, x.shape, how, start.dtype)
        touched = logp if not how.smoothing else where(_valid(target, x.shape, how), logp, 0)
        # A class that is not the target's must not count even where its logarithm is −∞ or nan.
        terms = where(_onehot(target, x.shape), touched * q, 0) if not how.smoothing else touched * q
        loss = -terms.sum((1,))
        return _reduce_rows(loss, lambda: _divisor(target, weight, x.shape, how, start.dtype), how, x.dtype)

    return lower


def _pick_spec(x: Value, target: Value, *rest: Any) -> Spec:
    return Spec(target.shape if rest[-1].reduction == "none" else (), x.dtype)


def _lower_cross_entropy_backward(g: Node, x: Node, target: Node, *rest: Any) -> Node:
    """g · (softmax(x) Σ_c q − q)."""
    *weights, how = rest
    weight = weights[0] if weights else None
    start = Formula(wide(x))
    raised = exp(start - start.top((1,)))
    probability = raised / raised.sum((1,))
    q = _shares(target, weight, x.shape, how, start.dtype)
    whole = _valid(target, x.shape, how).to(start.dtype) if weight is None else q.sum((1,))
    each = _spread_cotangent(g, target, weight, x.shape, how, start.dtype)
    result = where(_valid(target, x.shape, how), (probability * whole - q) * each, 0)
    return p.cast(result.node, x.dtype)


def _lower_mass(g: Node, target: Node, *rest: Any) -> Node:
    """The cotangent of each row times Σ_c q: (rows, 1, positions)."""
    *weights, classes, how = rest
    weight = weights[0] if weights else None
    shape = (target.shape[0], classes, target.shape[1])
    inner = wide(g).dtype
    whole = _shares(target, weight, shape, how, inner).sum((1,))
    return p.cast((whole * _spread_cotangent(g, target, weight, shape, how, inner)).node, g.dtype)


MASS = Op(
    "cross_entropy_mass",
    lambda g, target, *rest: Spec((target.shape[0], 1, target.shape[1]), g.dtype),
    _lower_mass,
    lambda h, v: (
        _fold(mul(h, MASS(_ones(v.inputs[0]), *v.inputs[1:], attrs=v.attrs)), v.attrs[-1]),
        *[None for _ in v.inputs[1:]],
    ),
    ((1, 2), (), ()),
)


def _ones(g: Value) -> Value:
    return full(g.shape, 1, g.dtype)


def _fold(x: Value, how: Picking) -> Value:
    """(rows, 1 or classes, positions) summed to the cotangent's shape."""
    return sum_(x, 1) if how.reduction == "none" else sum_(x)


def _cross_entropy_backward_vjp(h: Value, v: Value) -> tuple:
    g, x, *rest = v.inputs
    (how,) = v.attrs
    gg = _fold(mul(h, CROSS_ENTROPY_BACKWARD(_ones(g), x, *rest, attrs=v.attrs)), how) if g.needs_grad else None
    gx = None
    if x.needs_grad:
        mass = MASS(g, *rest, attrs=(x.shape[1], how))
        gx = SOFTMAX_BACKWARD(mul(h, mass), SOFTMAX(x, attrs=(1, x.dtype)), attrs=(1,))
    return gg, gx, *[None for _ in rest]


CROSS_ENTROPY_BACKWARD = Op(
    "cross_entropy_backward",
    lambda g, x, *rest: Spec(x.shape, x.dtype),
    _lower_cross_entropy_backward,
    _cross_entropy_backward_vjp,
    ((1, 2, 3), (0, 1, 2, 3), (), ()),
)
CROSS_ENTROPY = Op(
    "cross_entropy",
    _pick_spec,
    _lower_pick(True),
    lambda g, v: (CROSS_ENTROPY_BACKWARD(g, *v.inputs, attrs=v.attrs), *[None for _ in v.inputs[1:]]),
    ((0, 1, 2), (), ()),
    "NllLoss",
)


def _lower_nll_backward(g: Node, target: Node, *rest: Any) -> Node:
    *weights, classes, how = rest
    weight = weights[0] if weights else None
    shape = (target.shape[0], classes, target.shape[1])
    inner = wide(g).dtype
    q = _shares(target, weight, shape, how, inner)
    each = _spread_cotangent(g, target, weight, shape, how, inner)
    result = where(_onehot(target, shape) & _valid(target, shape, how), -(q * each), 0)
    return p.cast(result.node, g.dtype)


NLL_BACKWARD = Op(
    "nll_loss_backward",
    lambda g, target, *rest: Spec((target.shape[0], rest[-2], target.shape[1]), g.dtype),
    _lower_nll_backward,
    lambda h, v: (NLL(h, *v.inputs[1:], attrs=(v.attrs[-1],)), *[None for _ in v.inputs[1:]]),
    ((1, 2), (), ()),
)
NLL = Op(
    "nll_loss",
    _pick_spec,
    _lower_pick(False),
    lambda g, v: (
        NLL_BACKWARD(g, *v.inputs[1:], attrs=(v.inputs[0].shape[1], *v.attrs)),
        *[None for _ in v.inputs[1:]],
    ),
    ((1, 2), (), ()),
)


def _check_classes(target: Value, classes: int, ignore_index: int) -> None:
    """PyTorch's IndexError for the first target that is no class, unless it is ignored."""
    if not target.size:
        return
    low, high = bounds(target)
    if low < 0 or high >= classes:
        flat = host(target).reshape(-1)
        wrong = flat[((flat < 0) | (flat >= classes)) & (flat != ignore_index)]
        if wrong.size:
            raise IndexError(f"Target {int(wrong[0])} is out of bounds.")


def _pick(op: Op, input: Value, target: Value, weight: Value | None, how: Picking, lead: int) -> Value:
    """Record with the shapes brought to (rows, classes, positions) and back; the checks PyTorch makes, in its order."""
    if target.dtype not in (dtypes.int64, dtypes.uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {dtype_title(target.dtype)}")
    x, t = input, target
    if x.ndim == 1:
        if t.ndim == 1 and t.size != 1:
            raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {t.size}")
        x, t = reshape(x, (1, x.size)), reshape(t, (1,)) if t.ndim == 0 else t
    rows, classes, *spatial = x.shape
    if x.ndim == 2 and t.ndim > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if (t.shape[0] if t.ndim else 1) != rows:
        raise ValueError(
            f"Expected input batch_size ({rows}) to match target batch_size ({t.shape[0] if t.ndim else 1})."
        )
    if t.shape[1:] != tuple(spatial):
        if x.ndim == 4:
            raise RuntimeError(f"size mismatch (got input: {list(x.shape)} , target: {list(t.shape)}")
        raise RuntimeError(f"Expected target size {[rows, *spatial]}, got {list(t.shape)}")
    if weight is not None:
        if weight.ndim != 1 or weight.size != classes:
            if x.ndim > 3:
                raise RuntimeError("weight tensor should be defined either for all or no classes")
            raise RuntimeError(
                f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor "
                f"of shape: {list(weight.shape)}"
            )
        if weight.dtype is not x.dtype:
            raise RuntimeError(f"expected scalar type {dtype_title(x.dtype)} but found {dtype_title(weight.dtype)}")
    _check_classes(t, classes, how.ignore_index)
    positions = math.prod(spatial)
    t = cast(t, dtypes.int64)
    x = x if x.ndim == 3 else reshape(x, (rows, classes, positions))
    flat = t if t.ndim == 2 else reshape(t, (rows, positions))
    loss = op(x, flat, attrs=(how,)) if weight is None else op(x, flat, weight, attrs=(how,))
    if how.reduction != "none":
        return loss
    return reshape(loss, target.shape)


@public(function=False, method=False)
def nll_loss(
    input: Value, target: Value, weight: Value | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Value:
    """−input[target] for log-probabilities ``input`` (N, C, …) or (C,), classes on dimension 1.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.nll_loss.html
    """
    check_reduction(reduction)
    if input.ndim < 1:
        raise ValueError(f"Expected 1 or more dimensions (got {input.ndim})")
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"nll_loss_out_frame\" not implemented for '{dtype_title(input.dtype)}'")
    return _pick(NLL, input, target, weight, Picking(ignore_index, reduction), input.ndim)


@public(function=False, method=False)
def cross_entropy(
    input: Value,
    target: Value,
    weight: Value | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Value:
    """−log softmax(input)[target], classes on dimension 1 (0 for a vector).

    ``target`` holds class numbers (…), or probabilities in input's shape. ``weight`` (C,) weighs classes and, for class
    numbers, the mean; targets of ``ignore_index`` do not count.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html
    """
    check_reduction(reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    if target.shape == input.shape:
        return _soft_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    if not input.dtype.is_floating_point:
        which = "softmax_lastdim_kernel_impl" if input.ndim <= 2 else "softmax_kernel_impl"
        raise NotImplementedError(f"\"log_{which}\" not implemented for '{dtype_title(input.dtype)}'")
    return _pick(
        CROSS_ENTROPY, input, target, weight, Picking(ignore_index, reduction, float(label_smoothing)), input.ndim
    )


def _soft_cross_entropy(
    input: Value, target: Value, weight: Value | None, ignore_index: int, reduction: str, smoothing: float
) -> Value:
    if not target.dtype.is_floating_point:
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {dtype_title(target.dtype)}"
        )
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    axis = 0 if input.ndim == 1 else 1
    classes = input.shape[axis]
    if weight is not None and (weight.ndim != 1 or weight.size != classes):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes or no classes but got "
            f"weight tensor of shape: {list(weight.shape)}"
        )
    logp = log_softmax(input, axis)
    if smoothing > 0:
        target = add(mul(target, 1 - smoothing), smoothing / classes)
    terms = mul(logp, target)
    if weight is not None:
        terms = mul(terms, reshape(weight, (classes, *(1,) * (input.ndim - axis - 1))))
    if reduction == "none":
        return neg(sum_(terms, axis))
    total = neg(sum_(terms))
    return on.div(total, input.size // classes) if reduction == "mean" else total


# ---- of probabilities


def _log_clamped(x: Value) -> Value:
    return clamp_min(on.log(x), -100.0)


def _lower_bce_backward(g: Node, x: Node, t: Node) -> Node:
    """(x − t) / (x (1 − x)), with a denominator of at least 10⁻¹²."""
    start, target = Formula(wide(x)), Formula(wide(t))
    slope = (start - target) / ((1.0 - start) * start).max(1e-12)
    return p.cast((Formula(wide(g)) * slope).node, x.dtype)


def _lower_bce(x: Node, t: Node) -> Node:
    start, target = Formula(wide(x)), Formula(wide(t))
    from luchina.ops.formula import log1p

    loss = (target - 1.0) * log1p(-start).max(-100.0) - target * log(start).max(-100.0)
    return p.cast(loss.node, x.dtype)


def _bce_vjp(g: Value, v: Value) -> tuple:
    x, t = v.inputs
    gt = None
    if t.needs_grad:
        gt = mul(g, sub(_log_clamped(on.rsub(x, 1)), _log_clamped(x)))
    return BCE_BACKWARD(g, x, t), gt


def _bce_backward_vjp(h: Value, v: Value) -> tuple:
    g, x, t = v.inputs
    room = clamp_min(mul(x, on.rsub(x, 1)), 1e-12)
    gx = gt = None
    hg = mul(h, g)
    if x.needs_grad:
        # d/dx (x − t)/(x − x²) = (x² − 2xt + t) / (x − x²)²
        top = add(sub(mul(x, x), mul(mul(x, t), 2)), t)
        gx = mul(hg, on.div(top, mul(room, room)))
    if t.needs_grad:
        gt = neg(on.div(hg, room))
    return BCE_BACKWARD(h, x, t), gx, gt


BCE_BACKWARD = Op(
    "binary_cross_entropy_backward",
    lambda g, x, t: Spec(x.shape, x.dtype),
    _lower_bce_backward,
    _bce_backward_vjp,
    ((1, 2), (0, 1, 2), (0, 1)),
)
BCE = Op("binary_cross_entropy", lambda x, t: Spec(x.shape, x.dtype), _lower_bce, _bce_vjp, ((0, 1), (0,)))


@public(function=False, method=False)
def binary_cross_entropy(input: Value, target: Value, weight: Value | None = None, reduction: str = "mean") -> Value:
    """−(y log p + (1 − y) log(1 − p)) for probabilities p = ``input``; each logarithm is at least −100.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy.html
    """
    check_reduction(reduction)
    if target.shape != input.shape:
        raise ValueError(
            f"Using a target size ({_size(target.shape)}) that is different to the input size ({_size(input.shape)}) "
            "is deprecated. Please ensure they have the same size."
        )
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"binary_cross_entropy\" not implemented for '{dtype_title(input.dtype)}'")
    if target.dtype is not input.dtype:
        raise RuntimeError(f"Found dtype {dtype_title(target.dtype)} but expected {dtype_title(input.dtype)}")
    if weight is not None:
        _check_broadcastable(weight.shape, input.shape)
    if input.size:
        for name, value in (("input", input), ("target", target)):
            check_unit(name, value)
    loss = BCE(input, target)
    if weight is not None:
        loss = mul(loss, weight)
    return _reduced(loss, reduction)


def _check_broadcastable(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    """PyTorch's error for a weight that has to broadcast to the input."""
    for back in range(1, len(shape) + 1):
        if back > len(target) or shape[-back] not in (1, target[-back]):
            raise RuntimeError(
                f"Attempting to broadcast a dimension of length {shape[-back]} at {-back}! Mismatching argument at "
                f"index 1 had {_size(shape)}; but expected shape should be broadcastable to {list(target)}"
            )


_UNIT = frozenset({"sigmoid", "softmax"})  # operations whose results lie in [0, 1]
_MOVED = frozenset(
    {"reshape", "permute", "transpose", "t", "slice", "expand", "as_strided", "clone", "detach", "to", "pick"}
)


def _in_unit(value: Value) -> bool:
    """Whether a pending Value is a probability by its making."""
    while value.op is not None and value.op.name in _MOVED:
        value = value.inputs[0]
    return value.op is not None and value.op.name in _UNIT


def check_unit(name: str, value: Value) -> None:
    """PyTorch's RuntimeError for probabilities outside [0, 1]. A sigmoid's result is known to be inside; anything else
    that is pending is computed first."""
    if value.buffer is None and _in_unit(value):
        return
    array = host(value)
    if array.dtype.kind != "f":
        return
    if not bool(((array >= 0) & (array <= 1)).all()):
        raise RuntimeError(f"all elements of {name} should be between 0 and 1")


@public(function=False, method=False)
def binary_cross_entropy_with_logits(
    input: Value,
    target: Value,
    weight: Value | None = None,
    reduction: str = "mean",
    pos_weight: Value | None = None,
) -> Value:
    """Binary cross-entropy of σ(input), exact for large |input|; ``pos_weight`` weighs the positive targets.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy_with_logits.html
    """
    check_reduction(reduction)
    if target.shape != input.shape:
        raise ValueError(f"Target size ({_size(target.shape)}) must be the same as input size ({_size(input.shape)})")
    if not target.dtype.is_floating_point and input.dtype.is_floating_point:
        raise RuntimeError(
            f"result type {dtype_title(input.dtype)} can't be cast to the desired output type "
            f"{dtype_title(target.dtype)}"
        )
    logp = logsigmoid(input)
    rest = on.rsub(target, 1)
    if pos_weight is None:
        loss = sub(mul(rest, input), logp)
    else:
        each = add(mul(sub(pos_weight, 1), target), 1)
        loss = sub(mul(rest, input), mul(each, logp))
    if weight is not None:
        loss = mul(loss, weight)
    return _reduced(loss, reduction)


@public(function=False, method=False)
def kl_div(input: Value, target: Value, reduction: str = "mean", log_target: bool = False) -> Value:
    """y (log y − input), for log-probabilities ``input``; "batchmean" divides the sum by the batch.

    With ``log_target`` the target is log y. A target of 0 counts 0.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.kl_div.html
    """
    if not target.dtype.is_floating_point or not input.dtype.is_floating_point:
        raise RuntimeError("kl_div: Integral inputs not supported.")
    broadcast(target, input)
    if log_target:
        loss = mul(on.exp(target), sub(target, input))
    else:
        entropy = select(on.eq(target, 0), 0.0, mul(target, on.log(target)))
        loss = sub(entropy, mul(target, input))
    if reduction == "batchmean":
        total = sum_(loss)
        return on.div(total, input.shape[0]) if input.ndim else total
    return _reduced(loss, reduction)


@public(function=False, method=False)
def poisson_nll_loss(
    input: Value,
    target: Value,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Value:
    """eˣ − y x, or x − y log(x + ε) where ``input`` is no logarithm; ``full`` adds Stirling's term for y > 1."""
    check_reduction(reduction)
    if log_input:
        loss = sub(on.exp(input), mul(target, input))
    else:
        loss = sub(input, mul(target, on.log(add(input, eps))))
    if full:
        safe = select(on.gt(target, 1), target, 1.0)
        stirling = add(sub(mul(safe, on.log(safe)), safe), mul(on.log(mul(safe, 2 * math.pi)), 0.5))
        loss = add(loss, select(on.gt(target, 1), stirling, 0.0))
    return _reduced(loss, reduction)


@public(function=False, method=False)
def gaussian_nll_loss(
    input: Value,
    target: Value,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Value:
    """½ (log var + (input − target)² / var), with var at least ε; ``full`` adds ½ log 2π."""
    check_reduction(reduction)
    from luchina.graph.value import detach
    from luchina.ops.registry import as_value

    var = as_value(var)
    if bool((host(var) < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.ndim and var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = reshape(var, (*var.shape, 1))
        elif var.shape != (*input.shape[:-1], 1):
            raise ValueError("var is of incorrect size")
    # The limit is for the numbers, not for the gradient.
    raised = add(var, detach(sub(clamp_min(var, eps), var)))
    apart = sub(input, target)
    loss = mul(add(on.log(raised), on.div(mul(apart, apart), raised)), 0.5)
    if full:
        loss = add(loss, 0.5 * math.log(2 * math.pi))
    return _reduced(loss, reduction)


# ---- of margins


@public(function=False, method=False)
def hinge_embedding_loss(input: Value, target: Value, margin: float = 1.0, reduction: str = "mean") -> Value:
    """x where y = 1, max(0, margin − x) where y = −1."""
    near = select(on.ne(target, 1), clamp_min(on.rsub(input, margin), 0), 0.0)
    return _reduced(add(near, select(on.ne(target, -1), input, 0.0)), reduction)


@public(function=False, method=False)
def soft_margin_loss(input: Value, target: Value, reduction: str = "mean") -> Value:
    """log(1 + e^{−y x})."""
    return _reduced(on.log1p(on.exp(mul(neg(target), input))), reduction)


@public(function=False, method=False)
def margin_ranking_loss(
    input1: Value, input2: Value, target: Value, margin: float = 0.0, reduction: str = "mean"
) -> Value:
    """max(0, −y (x₁ − x₂) + margin)."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {_size(input1.shape)}, input2: {_size(input2.shape)}, target: {_size(target.shape)} "
        )
    return _reduced(clamp_min(add(mul(neg(target), sub(input1, input2)), margin), 0), reduction)


@public(function=False, method=False)
def cosine_embedding_loss(
    input1: Value, input2: Value, target: Value, margin: float = 0.0, reduction: str = "mean"
) -> Value:
    """1 − cos(x₁, x₂) where y = 1, max(0, cos(x₁, x₂) − margin) where y = −1."""
    eps = 1e-12
    squares = [add(sum_(mul(x, x), -1), eps) for x in (input1, input2)]
    cos = on.div(sum_(mul(input1, input2), -1), on.sqrt(mul(*squares)))
    alike = select(on.eq(target, 1), on.rsub(cos, 1), 0.0)
    apart = select(on.eq(target, -1), clamp_min(sub(cos, margin), 0), 0.0)
    return _reduced(add(alike, apart), reduction)


@public(function=False, method=False)
def triplet_margin_loss(
    anchor: Value,
    positive: Value,
    negative: Value,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Value:
    """max(0, ‖a − p‖ − ‖a − n‖ + margin)."""
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    near = pairwise_distance(anchor, positive, p, eps)
    return _reduced(clamp(add(sub(near, far), margin), 0), reduction)
