"""Choosing between operands elementwise: where, maximum, clamp, masked_fill, and blends."""

from __future__ import annotations

from typing import Any

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.graph.value import Op, Spec, Value, result_dtype
from luchina.ops.pointwise import (
    HALF,
    add,
    div,
    dtype_title,
    eq,
    ge,
    gt,
    isnan,
    le,
    logical_and,
    logical_or,
    lt,
    mul,
    sub,
)
from luchina.ops.registry import as_value, broadcast, public

WHERE = Op(
    "where",
    lambda c, a, b, d: Spec(broadcast(c, a, b), d),
    lambda c, a, b, d: p.where(c, p.cast(a, d.name), p.cast(b, d.name)),
    lambda g, v: (
        None,
        where(v.inputs[0], g, 0.0) if v.inputs[1].needs_grad else None,
        where(v.inputs[0], 0.0, g) if v.inputs[2].needs_grad else None,
    ),
    ((), (0,), (0,)),
)


def where(condition: Value, input: Any, other: Any) -> Value:
    """``input`` where the condition holds, else ``other``; the two promote."""
    a, b = as_value(input), as_value(other)
    if condition.dtype is not dtypes.bool_:
        if condition.dtype is not dtypes.uint8:
            raise RuntimeError(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{_long_title(condition.dtype)}"
            )
        condition = eq(eq(condition, 0), False)
    return WHERE(condition, a, b, attrs=(result_dtype(a, b),))


@public(method=False, name="where")
def where_function(condition: Value, input: Any = None, other: Any = None) -> Any:
    """``input`` where the condition holds, else ``other``; with the condition alone, its coordinates.

    Source: https://pytorch.org/docs/stable/generated/torch.where.html
    """
    if input is None and other is None:
        from luchina.ops.index import nonzero

        return nonzero(condition, as_tuple=True)
    return where(condition, input, other)


@public(function=False, name="where")
def where_method(input: Value, condition: Value, other: Any) -> Value:
    """``x.where(condition, other)``: x where the condition holds."""
    return where(condition, input, other)


def _long_title(d: dtypes.dtype) -> str:
    from luchina.ops.pointwise import dtype_title

    return dtype_title(d)


def _lower_extreme(op: str) -> Any:
    return lambda a, b, d: p.binary(op, p.cast(a, d.name), p.cast(b, d.name))


def _extreme_vjp(ahead: Any) -> Any:
    """The gradient goes to the larger (smaller) one; equal ones share it."""

    def vjp(g: Value, v: Value) -> tuple:
        a, b = v.inputs
        half = where(eq(a, b), div(g, 2), g)
        return (
            where(logical_or(ahead(a, b), eq(a, b)), half, 0.0) if a.needs_grad else None,
            where(logical_or(ahead(b, a), eq(a, b)), half, 0.0) if b.needs_grad else None,
        )

    return vjp


_BOTH = ((0, 1), (0, 1))
MAXIMUM = Op("maximum", lambda a, b, d: Spec(broadcast(a, b), d), _lower_extreme("maximum"), _extreme_vjp(gt), _BOTH)
MINIMUM = Op("minimum", lambda a, b, d: Spec(broadcast(a, b), d), _lower_extreme("minimum"), _extreme_vjp(lt), _BOTH)


@public()
def maximum(input: Any, other: Any) -> Value:
    """The larger of the two, elementwise; nan wins."""
    a, b = as_value(input), as_value(other)
    return MAXIMUM(a, b, attrs=(result_dtype(a, b),))


@public()
def minimum(input: Any, other: Any) -> Value:
    """The smaller of the two, elementwise; nan wins."""
    a, b = as_value(input), as_value(other)
    return MINIMUM(a, b, attrs=(result_dtype(a, b),))


@public()
def fmax(input: Value, other: Value) -> Value:
    """The larger of the two; a nan loses against a number."""
    return where(logical_or(ge(input, other), isnan(other)), input, other)


@public()
def fmin(input: Value, other: Value) -> Value:
    """The smaller of the two; a nan loses against a number."""
    return where(logical_or(le(input, other), isnan(other)), input, other)


def _lower_clamp(x: p.Node, *rest: Any) -> p.Node:
    *limits, has_low, has_high, d = rest
    inner = "float32" if d.name in HALF else d.name
    result = p.cast(x, inner)
    limits = [p.cast(n, inner) for n in limits]
    if has_low:
        result = p.binary("maximum", result, limits.pop(0))
    if has_high:
        result = p.binary("minimum", result, limits.pop(0))
    return p.cast(result, d.name)


def _clamp_vjp(g: Value, v: Value) -> tuple:
    x, *limits = v.inputs
    _has_low, has_high, _ = v.attrs[0], v.attrs[1], v.attrs[2]
    low = limits[0] if _has_low else None
    high = limits[-1] if has_high else None
    inside = None
    if low is not None:
        inside = ge(x, low)
    if high is not None:
        below = le(x, high)
        inside = below if inside is None else logical_and(inside, below)
    assert inside is not None  # clamp asks for at least one limit
    results = [where(inside, g, 0.0) if x.needs_grad else None]
    if low is not None:
        crossed = lt(x, low) if high is None else logical_and(lt(x, low), lt(low, high))
        results.append(where(crossed, g, 0.0) if low.needs_grad else None)
    if high is not None:
        crossed = gt(x, high) if low is None else logical_or(gt(x, high), ge(low, high))
        results.append(where(crossed, g, 0.0) if high.needs_grad else None)
    return tuple(results)


CLAMP = Op(
    "clamp",
    lambda x, *rest: Spec(broadcast(x, *rest[:-3]), rest[-1]),
    _lower_clamp,
    _clamp_vjp,
    ((0, 1, 2), (0, 1, 2), (0, 1, 2)),
)


@public("clip", inplace=True)
def clamp(input: Value, min: Any = None, max: Any = None) -> Value:
    """min(max(input, min), max); limits are numbers or tensors, one may be absent; nan passes.

    Source: https://pytorch.org/docs/stable/generated/torch.clamp.html
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    limits = [as_value(n) for n in (min, max) if n is not None]
    d = result_dtype(input, *limits)
    return CLAMP(input, *limits, attrs=(min is not None, max is not None, d))


@public(inplace=True)
def clamp_min(input: Value, min: Any) -> Value:
    """max(input, min)."""
    return clamp(input, min=min)


@public(inplace=True)
def clamp_max(input: Value, max: Any) -> Value:
    """min(input, max)."""
    return clamp(input, max=max)


_C_NAMES = {
    dtypes.uint8: "uint8_t", dtypes.int8: "int8_t", dtypes.int16: "int16_t", dtypes.int32: "int",
    dtypes.int64: "int64_t",
}  # fmt: skip


_C_WORDS = {
    dtypes.uint8: "unsigned char", dtypes.int8: "signed char", dtypes.int16: "short int", dtypes.int32: "int",
    dtypes.int64: "long int", dtypes.float32: "float", dtypes.float64: "double",
}  # fmt: skip


@public(inplace=True)
def masked_fill(input: Value, mask: Value, value: Any) -> Value:
    """``value`` where the mask holds; the input's dtype stays."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(
            "masked_fill_ only supports boolean masks, but got mask with dtype "
            f"{_C_WORDS.get(mask.dtype, mask.dtype.name)}"
        )
    number = as_value(value)
    if number.ndim != 0:
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {number.ndim} dimension(s)."
        )
    if isinstance(value, (int, float)) and input.dtype in _C_NAMES:
        limits = dtypes.iinfo(input.dtype)
        low = -limits.max - 1 if limits.min == 0 else limits.min  # a small negative number wraps
        if not low <= value <= limits.max:
            raise RuntimeError(f"value cannot be converted to type {_C_NAMES[input.dtype]} without overflow")
    return WHERE(mask, number, input, attrs=(input.dtype,))


@public(inplace=True)
def lerp(input: Value, end: Value, weight: Any) -> Value:
    """input + weight · (end − input), from the nearer end so that weight 1 gives ``end`` exactly."""
    w = as_value(weight)
    if not input.dtype.is_floating_point:
        kernel = "lerp_kernel_scalar" if w.weak else "lerp_kernel_tensor"
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtype_title(input.dtype)}'")
    step = sub(end, input)
    near_start = lt(w, 0.5)
    return where(near_start, add(input, mul(w, step)), sub(end, mul(step, sub(1, w))))


@public(inplace=True)
def addcmul(input: Value, tensor1: Value, tensor2: Value, *, value: float = 1) -> Value:
    """input + value · tensor1 · tensor2; of integers, ``value`` is cut to one."""
    d = result_dtype(input, tensor1, tensor2)
    if d is dtypes.bool_:
        raise NotImplementedError("\"addcmul_cpu_out\" not implemented for 'Bool'")
    value = value if d.is_floating_point else int(value)
    product = mul(tensor1, tensor2) if value == 1 else mul(mul(tensor1, value), tensor2)
    return add(input, product)


@public(inplace=True)
def addcdiv(input: Value, tensor1: Value, tensor2: Value, *, value: float = 1) -> Value:
    """input + value · tensor1 / tensor2."""
    if not (tensor1.dtype.is_floating_point or tensor2.dtype.is_floating_point):
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported: convert tensor1 or tensor2 to a floating dtype first"
        )
    return add(input, div(tensor1 if value == 1 else mul(tensor1, value), tensor2))


@public(inplace=True)
def nan_to_num(
    input: Value, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Value:
    """nan and infinities replaced by numbers (0 and the dtype's largest and smallest by default)."""
    if not input.dtype.is_floating_point:
        return input
    limits = dtypes.finfo(input.dtype)
    result = where(isnan(input), 0.0 if nan is None else float(nan), input)
    result = where(eq(result, float("inf")), limits.max if posinf is None else float(posinf), result)
    return where(eq(result, float("-inf")), limits.min if neginf is None else float(neginf), result)
