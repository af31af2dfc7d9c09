"""Reductions: many elements to one along some dimensions, and running reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.dtypes import dtype
from luchina.graph.value import OUT, Op, Spec, Value
from luchina.ops.checks import STATIC_BOUNDS
from luchina.ops.movement import expand, flip, reshape, transpose
from luchina.ops.pointwise import abs as abs_
from luchina.ops.pointwise import add, cast, div, dtype_title, eq, exp, log, mul, ne, pow, sub
from luchina.ops.registry import axes_of, axis_of, full, public
from luchina.ops.select import where

Dim = int | Sequence[int] | None


def _kept(shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple([1 if i in axes else n for i, n in enumerate(shape)])
    return tuple([n for i, n in enumerate(shape) if i not in axes])


def restore(g: Value, shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> Value:
    """A reduced Value with the reduced axes back as extents of 1, so that it broadcasts against the input."""
    return g if keepdim else reshape(g, _kept(shape, axes, True))


def _lower_reduce(prim: str) -> Any:
    def lower(x: Node, axes: tuple[int, ...], keepdim: bool, d: dtype) -> Node:
        x = p.cast(x, d.name)
        return p.reshape(p.reduce(prim, x, axes), _kept(x.shape, axes, keepdim))

    return lower


def _reduce_spec(x: Value, axes: tuple[int, ...], keepdim: bool, d: dtype) -> Spec:
    return Spec(_kept(x.shape, axes, keepdim), d)


def _sum_vjp(g: Value, v: Value) -> tuple:
    x, (axes, keepdim, _) = v.inputs[0], v.attrs
    return (expand(restore(g, x.shape, axes, keepdim), x.shape),)


SUM = Op("sum", _reduce_spec, _lower_reduce("sum"), _sum_vjp, ((),))


def _sum_dtype(input: Value, d: dtype | None) -> dtype:
    return d or (input.dtype if input.dtype.is_floating_point else dtypes.int64)


@public()
def sum(input: Value, dim: Dim = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Value:
    """Σ input along ``dim`` (all dimensions if None). Integers and bools are summed in int64.

    Source: https://pytorch.org/docs/stable/generated/torch.sum.html
    """
    return SUM(input, attrs=(axes_of(dim, input.ndim), keepdim, _sum_dtype(input, dtype)))


def count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Number of elements that one result element is made of."""
    return math.prod([shape[a] for a in axes])


def _lower_mean(x: Node, axes: tuple[int, ...], keepdim: bool, d: dtype) -> Node:
    n = count(x.shape, axes)
    inner = "float64" if d.name == "float64" else "float32"
    total = p.reduce("sum", p.cast(x, inner), axes)
    mean = p.binary("div", total, p.const(float(n), inner))
    return p.reshape(p.cast(mean, d.name), _kept(x.shape, axes, keepdim))


def _mean_vjp(g: Value, v: Value) -> tuple:
    x, (axes, keepdim, _) = v.inputs[0], v.attrs
    each = div(restore(g, x.shape, axes, keepdim), max_(count(x.shape, axes), 1))
    return (expand(each, x.shape),)


def max_(a: int, b: int) -> int:
    return a if a > b else b


MEAN = Op("mean", _reduce_spec, _lower_mean, _mean_vjp, ((),))


@public()
def mean(input: Value, dim: Dim = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Value:
    """Arithmetic mean along ``dim``; floating only, as in PyTorch.

    Source: https://pytorch.org/docs/stable/generated/torch.mean.html
    """
    d = dtype or input.dtype
    if not d.is_floating_point:
        what = "Input" if dtype is None else "Output"
        raise RuntimeError(
            f"mean(): could not infer output dtype. {what} dtype must be either a floating point or complex dtype. "
            f"Got: {dtype_title(d)}"
        )
    return MEAN(input, attrs=(axes_of(dim, input.ndim), keepdim, d))


def _prod_vjp(g: Value, v: Value) -> tuple:
    """Product of the others, from both sides: exact where elements are 0."""
    x, (axes, keepdim, _) = v.inputs[0], v.attrs
    if x.size == 0:
        return (full(x.shape, 0, x.dtype),)
    if len(axes) != 1:
        flat = reshape(x, (x.size,))
        return (mul(g if not keepdim else reshape(g, ()), reshape(_others(flat, 0), x.shape)),)
    return (mul(restore(g, x.shape, axes, keepdim), _others(x, axes[0])),)


def _others(x: Value, axis: int) -> Value:
    before = _exclusive_cumprod(x, axis)
    after = flip(_exclusive_cumprod(flip(x, axis), axis), axis)
    return mul(before, after)


def _exclusive_cumprod(x: Value, axis: int) -> Value:
    from luchina.ops.movement import cat, slice_

    sizes = list(x.shape)
    sizes[axis] -= 1
    one = list(x.shape)
    one[axis] = 1
    head = slice_(x, (0,) * x.ndim, sizes, (1,) * x.ndim)
    return cumprod(cat([full(tuple(one), 1, x.dtype), head], axis), axis)


PROD = Op("prod", _reduce_spec, _lower_reduce("prod"), _prod_vjp, ((0,),))


@public()
def prod(input: Value, dim: int | None = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Value:
    """Π input along ``dim``, or of everything."""
    return PROD(input, attrs=(axes_of(dim, input.ndim), keepdim, _sum_dtype(input, dtype)))


# ---- extremes


def _extreme_vjp(g: Value, v: Value) -> tuple:
    """Equal extremes share the gradient evenly, as torch.amax has it."""
    x, (axes, keepdim, _) = v.inputs[0], v.attrs
    best = restore(v, x.shape, axes, keepdim)
    chosen = cast(eq(x, best), x.dtype)
    shares = div(chosen, sum(chosen, axes or None, True) if axes else chosen)
    return (mul(restore(g, x.shape, axes, keepdim), shares),)


AMAX = Op("amax", _reduce_spec, _lower_reduce("max"), _extreme_vjp, ((0, OUT),))
AMIN = Op("amin", _reduce_spec, _lower_reduce("min"), _extreme_vjp, ((0, OUT),))


def _amextreme(op: Op, input: Value, dim: Dim, keepdim: bool) -> Value:
    axes = axes_of(dim, input.ndim)
    for axis in axes:
        if input.ndim and input.shape[axis] == 0:
            raise IndexError(
                f"{op.name}(): Expected reduction dim {axis} to have non-zero size."
                if dim not in (None, (), [])
                else f"{op.name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
    if input.ndim == 0:
        axes = ()
    return op(input, attrs=(axes, keepdim, input.dtype))


@public()
def amax(input: Value, dim: Dim = (), keepdim: bool = False) -> Value:
    """The largest element along ``dim``; ties share the gradient."""
    return _amextreme(AMAX, input, dim, keepdim)


@public()
def amin(input: Value, dim: Dim = (), keepdim: bool = False) -> Value:
    """The smallest element along ``dim``; ties share the gradient."""
    return _amextreme(AMIN, input, dim, keepdim)


def _arg_spec(x: Value, axis: int | None, keepdim: bool) -> Spec:
    if axis is None:
        return Spec((1,) * x.ndim if keepdim else (), dtypes.int64)
    return Spec(_kept(x.shape, (axis,) if x.ndim else (), keepdim), dtypes.int64)


def _lower_arg(prim: str) -> Any:
    def lower(x: Node, axis: int | None, keepdim: bool) -> Node:
        if axis is None or not x.shape:
            flat = p.reshape(x, (x.size,))
            return p.reshape(p.argreduce(prim, flat, 0), (1,) * len(x.shape) if keepdim else ())
        return p.reshape(p.argreduce(prim, x, axis), _kept(x.shape, (axis,), keepdim))

    return lower


ARGMAX = Op("argmax", _arg_spec, _lower_arg("argmax"))
ARGMIN = Op("argmin", _arg_spec, _lower_arg("argmin"))


def _arg_bounds(value: Value) -> tuple[int, int]:
    x, axis = value.inputs[0], value.attrs[0]
    return 0, (x.size if axis is None or not x.ndim else x.shape[axis]) - 1


STATIC_BOUNDS["argmax"] = STATIC_BOUNDS["argmin"] = _arg_bounds


def _arg(op: Op, input: Value, dim: int | None, keepdim: bool) -> Value:
    if input.dtype is dtypes.bool_:
        raise RuntimeError(f"{op.name}(): does not support bool input")
    if dim is None:
        if not input.size:
            raise IndexError(f"{op.name}(): Expected reduction dim to be specified for input.numel() == 0.")
        return op(input, attrs=(None, keepdim))
    axis = axis_of(dim, input.ndim)
    if input.ndim and input.shape[axis] == 0:
        raise IndexError(f"{op.name}(): Expected reduction dim {axis} to have non-zero size.")
    return op(input, attrs=(axis, keepdim))


@public()
def argmax(input: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """int64 index of the (first) largest element, in the flattened input if ``dim`` is None."""
    return _arg(ARGMAX, input, dim, keepdim)


@public()
def argmin(input: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """int64 index of the (first) smallest element, in the flattened input if ``dim`` is None."""
    return _arg(ARGMIN, input, dim, keepdim)


def _extreme_with_index(arg: Op, all_: Op, elementwise: Any, input: Value, args: tuple, kwargs: dict) -> Any:
    """The three forms of torch.max: of everything, along a dimension (values, indices), of two tensors."""
    from luchina.ops.index import gather
    from luchina.ops.results import named

    other = kwargs.get("other", args[0] if args else None)
    if isinstance(other, Value):
        return elementwise(input, other)
    dim = kwargs.get("dim", args[0] if args else None)
    keepdim = bool(kwargs.get("keepdim", args[1] if len(args) > 1 else False))
    if dim is None:
        if not input.size:
            raise RuntimeError(
                f"{all_.name[1:]}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        return all_(input, attrs=(axes_of(None, input.ndim), False, input.dtype))
    axis = axis_of(dim, input.ndim)
    if input.ndim == 0:
        return named(all_.name[1:], input, full((), 0, dtypes.int64, input.device))
    if input.shape[axis] == 0:
        raise IndexError(f"{all_.name[1:]}(): Expected reduction dim {axis} to have non-zero size.")
    indices = arg(input, attrs=(axis, True))
    values = gather(input, axis, indices)
    if not keepdim:
        shape = _kept(input.shape, (axis,), False)
        values, indices = reshape(values, shape), reshape(indices, shape)
    return named(all_.name[1:], values, indices)


@public()
def max(input: Value, *args: Any, **kwargs: Any) -> Any:
    """``max(input)``, ``max(input, dim, keepdim=False) -> (values, indices)`` or ``max(input, other)``.

    Source: https://pytorch.org/docs/stable/generated/torch.max.html
    """
    from luchina.ops.select import maximum

    return _extreme_with_index(ARGMAX, AMAX, maximum, input, args, kwargs)


@public()
def min(input: Value, *args: Any, **kwargs: Any) -> Any:
    """``min(input)``, ``min(input, dim, keepdim=False) -> (values, indices)`` or ``min(input, other)``."""
    from luchina.ops.select import minimum

    return _extreme_with_index(ARGMIN, AMIN, minimum, input, args, kwargs)


@public()
def aminmax(input: Value, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest and the largest element: a pair (min, max)."""
    from luchina.ops.results import named_fields

    if dim is None and not input.size:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    axes: Dim = () if dim is None else dim
    return named_fields("aminmax", ("min", "max"), amin(input, axes, keepdim), amax(input, axes, keepdim))


# ---- truth

ALL = Op("all", _reduce_spec, lambda x, *a: _lower_truth("min", x, *a))
ANY = Op("any", _reduce_spec, lambda x, *a: _lower_truth("max", x, *a))


def _lower_truth(prim: str, x: Node, axes: tuple[int, ...], keepdim: bool, d: dtype) -> Node:
    shape = _kept(x.shape, axes, keepdim)
    if count(x.shape, axes) == 0:
        return p.cast(p.const(prim == "min", "bool", shape), d.name)
    return p.cast(p.reshape(p.reduce(prim, p.cast(x, "bool"), axes), shape), d.name)


def _truth_dtype(input: Value) -> dtype:
    return dtypes.uint8 if input.dtype is dtypes.uint8 else dtypes.bool_


@public()
def all(input: Value, dim: Dim = None, keepdim: bool = False) -> Value:
    """Whether every element (along ``dim``) is not zero."""
    return ALL(input, attrs=(axes_of(dim, input.ndim) if input.ndim else (), keepdim, _truth_dtype(input)))


@public()
def any(input: Value, dim: Dim = None, keepdim: bool = False) -> Value:
    """Whether some element (along ``dim``) is not zero."""
    return ANY(input, attrs=(axes_of(dim, input.ndim) if input.ndim else (), keepdim, _truth_dtype(input)))


# ---- spread


def _lower_var(x: Node, axes: tuple[int, ...], keepdim: bool, correction: float) -> Node:
    """Two passes: the mean first, then the squares of the distances, so that nothing cancels."""
    n = count(x.shape, axes)
    inner = "float64" if x.dtype == "float64" else "float32"
    wide = p.cast(x, inner)
    kept = _kept(x.shape, axes, True)
    mean = p.binary("div", p.reshape(p.reduce("sum", wide, axes), kept), p.const(float(n), inner))
    away = p.binary("sub", wide, mean)
    total = p.reduce("sum", p.binary("mul", away, away), axes)
    result = p.binary("div", total, p.const(float(n - correction if n > correction else 0.0), inner))
    return p.reshape(p.cast(result, x.dtype), _kept(x.shape, axes, keepdim))


def _var_vjp(g: Value, v: Value) -> tuple:
    x, (axes, keepdim, correction) = v.inputs[0], v.attrs
    n = count(x.shape, axes)
    away = sub(x, mean(x, axes, True) if axes else x)
    freedom = n - correction
    scale = 2.0 / freedom if freedom > 0 else math.nan if n else 0.0
    return (mul(mul(restore(g, x.shape, axes, keepdim), scale), away),)


VAR = Op(
    "var",
    lambda x, axes, keepdim, correction: Spec(_kept(x.shape, axes, keepdim), x.dtype),
    _lower_var,
    _var_vjp,
    ((0,),),
)


def _spread_arguments(
    name: str, input: Value, dim: Any, unbiased: bool | None, keepdim: bool, correction: float | None
) -> tuple:
    if not input.dtype.is_floating_point:
        who = name if name.endswith("_mean") else "std and var"
        raise RuntimeError(f"{who} only support floating point and complex dtypes")
    if isinstance(dim, bool):  # var(unbiased) without dimensions
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = 1 if unbiased else 0
    axes = axes_of(dim, input.ndim) if input.ndim else ()
    return axes, keepdim, 1 if correction is None else correction


@public()
def var(
    input: Value,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Value:
    """Σ(x − x̄)² / (n − correction) along ``dim``; correction 1 by default.

    Source: https://pytorch.org/docs/stable/generated/torch.var.html
    """
    return VAR(input, attrs=_spread_arguments("var", input, dim, unbiased, keepdim, correction))


@public()
def std(
    input: Value,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Value:
    """√var: the standard deviation."""
    arguments = _spread_arguments("std", input, dim, unbiased, keepdim, correction)
    return STD(input, attrs=arguments)


def _lower_std(x: Node, axes: tuple[int, ...], keepdim: bool, correction: float) -> Node:
    inner = "float64" if x.dtype == "float64" else "float32"
    return p.cast(p.unary("sqrt", _lower_var(p.cast(x, inner), axes, keepdim, correction)), x.dtype)


def _std_vjp(g: Value, v: Value) -> tuple:
    x, (axes, keepdim, correction) = v.inputs[0], v.attrs
    n = count(x.shape, axes)
    away = sub(x, mean(x, axes, True) if axes else x)
    # A deviation of 0 has no slope: PyTorch gives 0 there.
    slope = where(eq(v, 0), 0.0, div(g, mul(v, max_(n - correction, 0))))
    return (mul(restore(slope, x.shape, axes, keepdim), away),)


STD = Op(
    "std",
    lambda x, axes, keepdim, correction: Spec(_kept(x.shape, axes, keepdim), x.dtype),
    _lower_std,
    _std_vjp,
    ((0, OUT),),
)


@public()
def var_mean(
    input: Value,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple:
    """(var, mean)."""
    axes, keepdim, correction = _spread_arguments("var_mean", input, dim, unbiased, keepdim, correction)
    return VAR(input, attrs=(axes, keepdim, correction)), mean(input, axes or None, keepdim)


@public()
def std_mean(
    input: Value,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple:
    """(std, mean)."""
    axes, keepdim, correction = _spread_arguments("std_mean", input, dim, unbiased, keepdim, correction)
    return STD(input, attrs=(axes, keepdim, correction)), mean(input, axes or None, keepdim)


# ---- norms and log-sum-exp


def _lower_norm2(x: Node, axes: tuple[int, ...], keepdim: bool) -> Node:
    inner = "float64" if x.dtype == "float64" else "float32"
    wide = p.cast(x, inner)
    total = p.unary("sqrt", p.reduce("sum", p.binary("mul", wide, wide), axes))
    return p.reshape(p.cast(total, x.dtype), _kept(x.shape, axes, keepdim))


def _norm2_vjp(g: Value, v: Value) -> tuple:
    x, (axes, keepdim) = v.inputs[0], v.attrs
    slope = where(eq(v, 0), 0.0, div(g, v))
    return (mul(restore(slope, x.shape, axes, keepdim), x),)


NORM2 = Op(
    "linalg_vector_norm",
    lambda x, axes, keepdim: Spec(_kept(x.shape, axes, keepdim), x.dtype),
    _lower_norm2,
    _norm2_vjp,
    ((0, OUT),),
)


@public()
def norm(input: Value, p: Any = "fro", dim: Dim = None, keepdim: bool = False, dtype: dtype | None = None) -> Value:
    """(Σ |x|ᵖ)^(1/p) along ``dim``; p may be 0 (count), ±inf, "fro" (2).

    Source: https://pytorch.org/docs/stable/generated/torch.norm.html
    """
    if p == "nuc":
        raise RuntimeError("the nuclear norm needs a singular value decomposition, which is not there yet")
    x = cast(input, dtype) if dtype is not None else input
    if not x.dtype.is_floating_point:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got " + dtype_title(x.dtype)
        )
    axes = axes_of(dim, x.ndim) if x.ndim else ()
    order = 2.0 if p in ("fro", None) else float(p)
    if order == 2:
        return NORM2(x, attrs=(axes, keepdim))
    if order in (math.inf, -math.inf):
        return (amax if order > 0 else amin)(abs_(x), axes, keepdim)
    if order == 0:
        return sum(cast(ne(x, 0), x.dtype), axes, keepdim) if axes else cast(ne(x, 0), x.dtype)
    if order == 1:
        return SUM(abs_(x), attrs=(axes, keepdim, x.dtype))
    total = SUM(pow(abs_(x), order), attrs=(axes, keepdim, x.dtype))
    return pow(total, 1 / order)


def _lower_logsumexp(x: Node, axes: tuple[int, ...], keepdim: bool, d: dtype) -> Node:
    inner = "float64" if d.name == "float64" else "float32"
    wide = p.cast(x, inner)
    kept = _kept(x.shape, axes, True)
    if count(x.shape, axes) == 0:
        return p.const(-math.inf, d.name, _kept(x.shape, axes, keepdim))
    top = p.reshape(p.reduce("max", wide, axes), kept)
    finite = p.binary("lt", p.unary("abs", top), p.const(math.inf, inner))
    top = p.where(finite, top, p.const(0, inner))
    total = p.reshape(p.reduce("sum", p.unary("exp", p.binary("sub", wide, top)), axes), kept)
    result = p.binary("add", p.unary("log", total), top)
    return p.reshape(p.cast(result, d.name), _kept(x.shape, axes, keepdim))


def _logsumexp_vjp(g: Value, v: Value) -> tuple:
    x, (axes, keepdim, _) = v.inputs[0], v.attrs
    return (mul(restore(g, x.shape, axes, keepdim), exp(sub(x, restore(v, x.shape, axes, keepdim)))),)


LOGSUMEXP = Op("logsumexp", _reduce_spec, _lower_logsumexp, _logsumexp_vjp, ((0, OUT),))


@public()
def logsumexp(input: Value, dim: Dim, keepdim: bool = False) -> Value:
    """log Σ eˣ along ``dim``, without overflow."""
    d = input.dtype if input.dtype.is_floating_point else dtypes.get_default_dtype()
    return LOGSUMEXP(input, attrs=(axes_of(dim, input.ndim) if input.ndim else (), keepdim, d))


# ---- running reductions


def _last(x: Node, axis: int) -> tuple[Node, tuple[int, ...]]:
    """The input with ``axis`` last, and the permutation that undoes it (it is its own inverse)."""
    axes = list(range(len(x.shape)))
    axes[axis], axes[-1] = axes[-1], axes[axis]
    return p.permute(x, axes), tuple(axes)


def _lower_scan(prim: str) -> Any:
    def lower(x: Node, axis: int, d: dtype) -> Node:
        x = p.cast(x, d.name)
        if not x.shape:
            return x
        turned, axes = _last(x, axis)
        return p.permute(p.scan(prim, turned), axes)

    return lower


def _scan_spec(x: Value, axis: int, d: dtype) -> Spec:
    return Spec(x.shape, d)


def _reversed_cumsum(g: Value, axis: int) -> Value:
    return flip(cumsum(flip(g, axis), axis), axis) if g.ndim else g


CUMSUM = Op("cumsum", _scan_spec, _lower_scan("sum"), lambda g, v: (_reversed_cumsum(g, v.attrs[0]),), ((),))


@public(inplace=True)
def cumsum(input: Value, dim: int, *, dtype: dtype | None = None) -> Value:
    """Running sum along ``dim``."""
    return CUMSUM(input, attrs=(axis_of(dim, input.ndim), _sum_dtype(input, dtype)))


def _cumprod_vjp(g: Value, v: Value) -> tuple:
    """Σ_{j≥i} g_j Π_{k≤j, k≠i} x_k. Dividing by x_i is quick but not defined at 0, so the products are made
    explicitly: an (n, n) table along the axis, exact for any input."""
    x, (axis, _) = v.inputs[0], v.attrs
    if not x.ndim:
        return (g,)
    x, g = transpose(x, axis, -1 % x.ndim), transpose(g, axis, -1 % x.ndim)
    n = x.shape[-1]
    lead = x.shape[:-1]
    from luchina.ops.movement import triu

    i = full((n, n), 1, x.dtype)
    eye = mul(triu(i), sub(1, triu(i, 1)))
    # row i: x with its i-th element replaced by 1, multiplied up from the start
    rows = where(ne(eye, 0), 1.0, expand(reshape(x, (*lead, 1, n)), (*lead, n, n)))
    products = triu(cumprod(rows, x.ndim))
    result = sum(mul(products, reshape(g, (*lead, 1, n))), -1)
    return (transpose(result, axis, -1 % x.ndim),)


CUMPROD = Op("cumprod", _scan_spec, _lower_scan("prod"), _cumprod_vjp, ((0,),))


@public(inplace=True)
def cumprod(input: Value, dim: int, *, dtype: dtype | None = None) -> Value:
    """Running product along ``dim``."""
    return CUMPROD(input, attrs=(axis_of(dim, input.ndim), _sum_dtype(input, dtype)))


@public()
def logcumsumexp(input: Value, dim: int) -> Value:
    """Running log Σ eˣ along ``dim``."""
    axis = axis_of(dim, input.ndim)
    top = amax(input, axis, True) if input.ndim else input
    return add(log(cumsum(exp(sub(input, top)), axis)), top)


@public()
def count_nonzero(input: Value, dim: Dim = None) -> Value:
    """How many elements (along ``dim``) are not zero."""
    return sum(ne(input, 0), dim)


@public()
def diff(input: Value, n: int = 1, dim: int = -1) -> Value:
    """Differences of neighbours along ``dim``, taken ``n`` times."""
    from luchina.ops.movement import slice_

    axis = axis_of(dim, input.ndim)
    for _ in range(n):
        sizes = list(input.shape)
        sizes[axis] = max_(sizes[axis] - 1, 0)
        ahead = [0] * input.ndim
        ahead[axis] = 1 if sizes[axis] else 0
        ones = (1,) * input.ndim
        input = sub(slice_(input, ahead, sizes, ones), slice_(input, (0,) * input.ndim, sizes, ones))
    return input
