"""Pointwise operations: one result element from one element of each operand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.dtypes import dtype
from luchina.graph.value import OUT, Op, Spec, Value, result_dtype
from luchina.ops.checks import any_zero, bounds, extremes
from luchina.ops.registry import PUBLIC, as_value, broadcast, float_dtype, public

HALF = ("float16", "bfloat16")

# ---- unary functions


def _float_spec(x: Value, *attrs: Any) -> Spec:
    return Spec(x.shape, float_dtype(x.dtype))


def _same_spec(x: Value, *attrs: Any) -> Spec:
    return Spec(x.shape, x.dtype)


def _bool_spec(x: Value, *attrs: Any) -> Spec:
    return Spec(x.shape, dtypes.bool_)


def _lower_float(op: str) -> Callable[[Node], Node]:
    def lower(x: Node) -> Node:
        return p.unary(op, x if x.dtype in p.FLOATS else p.cast(x, dtypes.get_default_dtype().name))

    return lower


def _unary(name: str, doc: str, vjp: Callable[[Value, Value], Value], reads: tuple[int, ...], prim: str = "") -> Op:
    op = Op(name, _float_spec, _lower_float(prim or name), lambda g, v: (vjp(g, v),), (reads,))

    def call(input: Value) -> Value:
        return op(input)

    call.__name__ = name
    call.__doc__ = doc
    public(inplace=True)(call)
    return op


def _x(v: Value) -> Value:
    return v.inputs[0]


_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
_LN2, _LN10 = math.log(2), math.log(10)

# name, formula, cotangent, what the cotangent reads
EXP = _unary("exp", "eˣ, elementwise.", lambda g, v: mul(g, v), (OUT,))
EXP2 = _unary("exp2", "2ˣ, elementwise.", lambda g, v: mul(g, mul(v, _LN2)), (OUT,))
EXPM1 = _unary("expm1", "eˣ − 1, exact near 0.", lambda g, v: mul(g, add(v, 1)), (OUT,))
LOG = _unary("log", "Natural logarithm.", lambda g, v: div(g, _x(v)), (0,))
LOG2 = _unary("log2", "Logarithm to base 2.", lambda g, v: div(g, mul(_x(v), _LN2)), (0,))
LOG10 = _unary("log10", "Logarithm to base 10.", lambda g, v: div(g, mul(_x(v), _LN10)), (0,))
LOG1P = _unary("log1p", "log(1 + x), exact near 0.", lambda g, v: div(g, add(_x(v), 1)), (0,))
SQRT = _unary("sqrt", "Square root.", lambda g, v: div(g, mul(v, 2)), (OUT,))
RSQRT = _unary("rsqrt", "1/√x.", lambda g, v: mul(mul(g, -0.5), mul(v, mul(v, v))), (OUT,))
SIN = _unary("sin", "Sine of radians.", lambda g, v: mul(g, cos(_x(v))), (0,))
COS = _unary("cos", "Cosine of radians.", lambda g, v: mul(g, neg(sin(_x(v)))), (0,))
TAN = _unary("tan", "Tangent of radians.", lambda g, v: mul(g, add(mul(v, v), 1)), (OUT,))
ASIN = _unary("asin", "Inverse sine.", lambda g, v: mul(g, rsqrt(rsub(mul(_x(v), _x(v)), 1))), (0,))
ACOS = _unary("acos", "Inverse cosine.", lambda g, v: mul(g, neg(rsqrt(rsub(mul(_x(v), _x(v)), 1)))), (0,))
ATAN = _unary("atan", "Inverse tangent.", lambda g, v: div(g, add(mul(_x(v), _x(v)), 1)), (0,))
SINH = _unary("sinh", "Hyperbolic sine.", lambda g, v: mul(g, cosh(_x(v))), (0,))
COSH = _unary("cosh", "Hyperbolic cosine.", lambda g, v: mul(g, sinh(_x(v))), (0,))
TANH = _unary("tanh", "Hyperbolic tangent.", lambda g, v: mul(g, rsub(mul(v, v), 1)), (OUT,))
ASINH = _unary("asinh", "Inverse hyperbolic sine.", lambda g, v: mul(g, rsqrt(add(mul(_x(v), _x(v)), 1))), (0,))
ACOSH = _unary("acosh", "Inverse hyperbolic cosine.", lambda g, v: mul(g, rsqrt(sub(mul(_x(v), _x(v)), 1))), (0,))
ATANH = _unary("atanh", "Inverse hyperbolic tangent.", lambda g, v: div(g, rsub(mul(_x(v), _x(v)), 1)), (0,))
ERF = _unary("erf", "Error function.", lambda g, v: mul(mul(g, _TWO_OVER_SQRT_PI), exp(neg(mul(_x(v), _x(v))))), (0,))
ERFC = _unary("erfc", "1 − erf(x).", lambda g, v: mul(mul(g, -_TWO_OVER_SQRT_PI), exp(neg(mul(_x(v), _x(v))))), (0,))
ERFINV = _unary(
    "erfinv", "Inverse error function.", lambda g, v: mul(mul(g, math.sqrt(math.pi) / 2), exp(mul(v, v))), (OUT,)
)
LGAMMA = _unary("lgamma", "log |Γ(x)|.", lambda g, v: mul(g, digamma(_x(v))), (0,))
SIGMOID = _unary("sigmoid", "1 / (1 + e⁻ˣ).", lambda g, v: mul(g, mul(rsub(v, 1), v)), (OUT,))
RECIPROCAL = _unary("reciprocal", "1/x.", lambda g, v: neg(mul(g, mul(v, v))), (OUT,))


def _digamma_vjp(g: Value, v: Value) -> Value:
    raise RuntimeError("the derivative of digamma (polygamma(1, x)) is not there yet")


DIGAMMA = _unary("digamma", "Derivative of log Γ.", _digamma_vjp, (0,))

exp, expm1, log, log1p, sqrt, rsqrt, sin, cos, sinh, cosh, tanh, sigmoid, erf, reciprocal, digamma = (
    EXP, EXPM1, LOG, LOG1P, SQRT, RSQRT, SIN, COS, SINH, COSH, TANH, SIGMOID, ERF, RECIPROCAL, DIGAMMA,
)  # fmt: skip

for _alias, _name in (("arcsin", "asin"), ("arccos", "acos"), ("arctan", "atan"), ("arcsinh", "asinh"),
                      ("arccosh", "acosh"), ("arctanh", "atanh")):  # fmt: skip
    public(name=_alias, inplace=True)(PUBLIC[_name].call)


def _lower_rounding(op: str) -> Callable[[Node], Node]:
    return lambda x: p.unary(op, x) if x.dtype in p.FLOATS else x


def _rounding(name: str, doc: str, prim: str = "") -> Op:
    op = Op(name, _same_spec, _lower_rounding(prim or name), lambda g, v: (mul(g, 0.0),), ((),))

    def call(input: Value) -> Value:
        if input.dtype is dtypes.bool_:
            raise NotImplementedError(f"\"{name}_vml_cpu\" not implemented for 'Bool'")
        return op(input)

    call.__name__ = name
    call.__doc__ = doc
    public(*(("fix",) if name == "trunc" else ()), inplace=True)(call)
    return op


_rounding("floor", "Largest integer not above x; integers stay as they are.")
_rounding("ceil", "Smallest integer not below x; integers stay as they are.")
TRUNC = _rounding("trunc", "x without its fraction.")
ROUND = Op("round", _same_spec, _lower_rounding("round"), lambda g, v: (mul(g, 0.0),), ((),))


@public(inplace=True)
def round(input: Value, *, decimals: int = 0) -> Value:
    """Nearest integer, halves to the even one; with ``decimals``, the nearest multiple of 10⁻ᵈ.

    Source: https://pytorch.org/docs/stable/generated/torch.round.html
    """
    if decimals == 0:
        if input.dtype is dtypes.bool_:
            raise NotImplementedError("\"round_vml_cpu\" not implemented for 'Bool'")
        return ROUND(input)
    _require_float(input, "round_cpu")
    if input.dtype.itemsize == 2:  # the product with 10ᵈ is computed wide
        return cast(round(cast(input, dtypes.float32), decimals=decimals), input.dtype)
    scale = 10.0 ** max(decimals, -decimals)  # ``abs`` is the function of tensors here
    if decimals > 0:
        return div(ROUND(mul(input, scale)), scale)
    return mul(ROUND(div(input, scale)), scale)


def _require_float(x: Value, kernel: str) -> None:
    """PyTorch has no integer kernel for some functions, and says so."""
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtype_title(x.dtype)}'")


@public(inplace=True)
def frac(input: Value) -> Value:
    """x − trunc(x)."""
    _require_float(input, "frac_cpu")
    return sub(input, TRUNC(input))


NEG = Op("neg", _same_spec, lambda x: p.unary("neg", x), lambda g, v: (neg(g),), ((),))


@public("negative", inplace=True)
def neg(input: Value) -> Value:
    """−x."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead."
        )
    return NEG(input)


@public()
def positive(input: Value) -> Value:
    """x itself; a bool tensor is an error."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


ABS = Op(
    "abs",
    _same_spec,
    lambda x: x if x.dtype == "bool" else p.unary("abs", x),
    lambda g, v: (mul(g, sign(_x(v))),),
    ((0,),),
)


@public("absolute", inplace=True)
def abs(input: Value) -> Value:
    """|x|."""
    if input.dtype is dtypes.bool_:
        raise NotImplementedError("\"abs_cpu\" not implemented for 'Bool'")
    return ABS(input)


SIGN = Op(
    "sign",
    _same_spec,
    lambda x: (
        x
        if x.dtype == "bool"
        else p.where(p.unary("isnan", x), p.const(0, x.dtype), p.unary("sign", x))
        if x.dtype in p.FLOATS
        else p.unary("sign", x)
    ),
    lambda g, v: (mul(g, 0.0),),
    ((),),
)


@public("sgn", inplace=True)
def sign(input: Value) -> Value:
    """−1, 0 or 1; 0 for nan, as PyTorch has it."""
    return SIGN(input)


# ---- arithmetic


def _arithmetic_spec(a: Value, b: Value, *attrs: Any) -> Spec:
    return Spec(broadcast(a, b), result_dtype(a, b))


def _division_spec(a: Value, b: Value, *attrs: Any) -> Spec:
    return Spec(broadcast(a, b), float_dtype(result_dtype(a, b)))


def _pair(a: Node, b: Node, d: str) -> tuple[Node, Node, str]:
    """Both operands in the dtype that the arithmetic runs in: 16-bit floats meet in float32."""
    inner = "float32" if d in HALF else d
    return p.cast(a, inner), p.cast(b, inner), inner


def lower_binary(op: str, a: Node, b: Node, d: str) -> Node:
    a, b, inner = _pair(a, b, d)
    if inner == "bool":
        op = {"add": "or", "mul": "and"}.get(op, op)
    return p.cast(p.binary(op, a, b), d)


def _binary(
    name: str,
    vjp: Callable[[Value, Value, Value, Value], tuple],
    reads: tuple,
    spec: Callable[..., Spec] = _arithmetic_spec,
    prim: str = "",
) -> Op:
    """An arithmetic operation; its lowering needs the result's dtype, which promotion of Nodes cannot tell (a Python
    number looks like a 0-d tensor), so the recorded attrs carry it."""
    return Op(
        name,
        lambda a, b, d: Spec(broadcast(a, b), d),
        lambda a, b, d: lower_binary(prim or name, a, b, d.name),
        lambda g, v: vjp(g, v, *v.inputs),
        reads,
    )


ADD = _binary("add", lambda g, v, a, b: (g, g), ((), ()))
SUB = _binary("sub", lambda g, v, a, b: (g, neg(g) if b.needs_grad else None), ((), ()))
MUL = _binary(
    "mul", lambda g, v, a, b: (mul(g, b) if a.needs_grad else None, mul(g, a) if b.needs_grad else None), ((1,), (0,))
)
DIV = _binary(
    "div",
    lambda g, v, a, b: (
        div(g, b) if a.needs_grad else None,
        neg(mul(g, div(div(a, b), b))) if b.needs_grad else None,
    ),
    ((1,), (0, 1)),
)


def _arithmetic(op: Op, a: Value, b: Value) -> Value:
    return op(a, b, attrs=(result_dtype(a, b),))


@public(inplace=True)
def add(input: Any, other: Any, *, alpha: float = 1) -> Value:
    """input + alpha · other, with broadcasting and promotion.

    Source: https://pytorch.org/docs/stable/generated/torch.add.html
    """
    a, b = as_value(input), as_value(other)
    if alpha != 1:
        b = _scaled(b, alpha, a)
    return ADD(a, b, attrs=(result_dtype(a, b),))


def _scaled(b: Value, alpha: float, a: Value) -> Value:
    d = result_dtype(a, b)
    if isinstance(alpha, bool) and d is not dtypes.bool_:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and not d.is_floating_point:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return mul(b, bool(alpha) if d is dtypes.bool_ else alpha)


@public("subtract", inplace=True)
def sub(input: Any, other: Any, *, alpha: float = 1) -> Value:
    """input − alpha · other."""
    a, b = as_value(input), as_value(other)
    if a.dtype is dtypes.bool_ or b.dtype is dtypes.bool_:
        both = "two bool tensors is" if a.dtype is b.dtype else "a bool tensor is"
        raise RuntimeError(
            f"Subtraction, the `-` operator, with {both} not supported. "
            + (
                "Use the `^` or `logical_xor()` operator instead."
                if both.startswith("two")
                else "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
            )
        )
    if alpha != 1:
        b = _scaled(b, alpha, a)
    return SUB(a, b, attrs=(result_dtype(a, b),))


@public()
def rsub(input: Any, other: Any, *, alpha: float = 1) -> Value:
    """other − alpha · input."""
    return sub(other, input, alpha=alpha)


@public("multiply", inplace=True)
def mul(input: Any, other: Any) -> Value:
    """input · other, elementwise."""
    a, b = as_value(input), as_value(other)
    return MUL(a, b, attrs=(result_dtype(a, b),))


@public("divide", "true_divide", inplace=True)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Value:
    """input / other in floating point; ``rounding_mode`` "trunc" or "floor" rounds and keeps integers.

    Source: https://pytorch.org/docs/stable/generated/torch.div.html
    """
    a, b = as_value(input), as_value(other)
    if rounding_mode is None:
        return DIV(a, b, attrs=(float_dtype(result_dtype(a, b)),))
    if rounding_mode == "floor":
        return _integer_safe(DIV_FLOOR, a, b, "div_floor_cpu")
    if rounding_mode != "trunc":
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    d = result_dtype(a, b)
    if d.is_floating_point:
        return TRUNC(DIV(a, b, attrs=(d,)))
    return _integer_safe(IDIV, a, b, "div_trunc_cpu")


def _lower_floor_divide(a: Node, b: Node, d: dtype) -> Node:
    a, b, inner = _pair(a, b, d.name)
    if inner in p.INTS:
        quotient, rest = p.binary("idiv", a, b), p.binary("irem", a, b)
        zero = p.const(0, inner)
        below = p.binary(
            "and", p.binary("ne", rest, zero), p.binary("ne", p.binary("lt", rest, zero), p.binary("lt", b, zero))
        )
        return p.binary("sub", quotient, p.cast(below, inner))
    # Python's rule on floats: divide what is left after the remainder, so that the quotient is exact.
    zero, one = p.const(0, inner), p.const(1, inner)
    rest = p.binary("fmod", a, b)
    quotient = p.binary("div", p.binary("sub", a, rest), b)
    below = p.binary(
        "and", p.binary("ne", rest, zero), p.binary("ne", p.binary("lt", b, zero), p.binary("lt", rest, zero))
    )
    quotient = p.where(below, p.binary("sub", quotient, one), quotient)
    down = p.unary("floor", quotient)
    nearest = p.where(
        p.binary("gt", p.binary("sub", quotient, down), p.const(0.5, inner)), p.binary("add", down, one), down
    )
    signed_zero = p.binary("copysign", p.expand(zero, nearest.shape), p.binary("div", a, b))
    result = p.where(p.binary("eq", quotient, zero), signed_zero, nearest)
    return p.cast(p.where(p.binary("eq", b, zero), p.binary("div", a, b), result), d.name)


def _lower_remainder(a: Node, b: Node, d: dtype) -> Node:
    a, b, inner = _pair(a, b, d.name)
    zero = p.const(0, inner)
    rest = p.binary("irem" if inner in p.INTS else "fmod", a, b)
    other_sign = p.binary("ne", p.binary("lt", rest, zero), p.binary("lt", b, zero))
    wrap = p.binary("and", p.binary("ne", rest, zero), other_sign)
    return p.cast(p.where(wrap, p.binary("add", rest, b), rest), d.name)


def _zero_grad(g: Value, v: Value) -> tuple:
    return tuple(mul(g, 0.0) if s.needs_grad else None for s in v.inputs)


IDIV = Op("div", lambda a, b, d: Spec(broadcast(a, b), d), lambda a, b, d: lower_binary("idiv", a, b, d.name))
DIV_FLOOR = Op("div", lambda a, b, d: Spec(broadcast(a, b), d), _lower_floor_divide, _zero_grad, ((), ()))


def _no_floor_divide_vjp(g: Value, v: Value) -> tuple:
    raise RuntimeError("derivative for aten::floor_divide is not implemented")


FLOOR_DIVIDE = Op(
    "floor_divide", lambda a, b, d: Spec(broadcast(a, b), d), _lower_floor_divide, _no_floor_divide_vjp, ((), ())
)
REMAINDER = Op(
    "remainder",
    lambda a, b, d: Spec(broadcast(a, b), d),
    _lower_remainder,
    lambda g, v: (g, neg(mul(g, div(*v.inputs, rounding_mode="floor"))) if v.inputs[1].needs_grad else None),
    ((), (0, 1)),
)
FMOD = Op(
    "fmod",
    lambda a, b, d: Spec(broadcast(a, b), d),
    lambda a, b, d: lower_binary("fmod" if d.is_floating_point else "irem", a, b, d.name),
    lambda g, v: (g, neg(mul(g, div(*v.inputs, rounding_mode="trunc"))) if v.inputs[1].needs_grad else None),
    ((), (0, 1)),
)


def _require_nonzero(divisor: Value) -> None:
    """Integer division by zero is an error now, not a garbage number later."""
    if not divisor.dtype.is_floating_point and any_zero(divisor):
        raise RuntimeError("ZeroDivisionError")


def _integer_safe(op: Op, a: Value, b: Value, kernel: str) -> Value:
    d = result_dtype(a, b)
    if d is dtypes.bool_:
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Bool'")
    if not d.is_floating_point:
        _require_nonzero(b)
    return op(a, b, attrs=(d,))


@public(inplace=True)
def floor_divide(input: Any, other: Any) -> Value:
    """⌊input / other⌋; integers stay integers and a zero divisor of integers is an error."""
    return _integer_safe(FLOOR_DIVIDE, as_value(input), as_value(other), "div_floor_cpu")


@public(inplace=True)
def remainder(input: Any, other: Any) -> Value:
    """Python's ``%``: the result has the sign of ``other``."""
    return _integer_safe(REMAINDER, as_value(input), as_value(other), "remainder_cpu")


@public(inplace=True)
def fmod(input: Any, other: Any) -> Value:
    """C's fmod: the result has the sign of ``input``."""
    return _integer_safe(FMOD, as_value(input), as_value(other), "fmod_cpu")


# ---- powers

_EXACT_POWERS: dict[float, Callable[[Node], Node]] = {
    0: lambda x: p.const(1, x.dtype, x.shape),
    1: lambda x: x,
    2: lambda x: p.binary("mul", x, x),
    3: lambda x: p.binary("mul", p.binary("mul", x, x), x),
    0.5: lambda x: p.unary("sqrt", x),
    -0.5: lambda x: p.unary("rsqrt", x),
    -1: lambda x: p.unary("reciprocal", x),
    -2: lambda x: p.unary("reciprocal", p.binary("mul", x, x)),
}


def _lower_pow_number(x: Node, exponent: float, d: dtype) -> Node:
    """A power known when recording. Only a few cheap ones come here, so a changing exponent compiles nothing."""
    inner = "float32" if d.name in HALF else d.name
    return p.cast(_EXACT_POWERS[exponent](p.cast(x, inner)), d.name)


_POWER_ROUNDS = 10  # exponents below 2¹⁰: checked when recording


def _integer_power(a: Node, b: Node, inner: str) -> Node:
    """By squaring, in wrapping arithmetic; a negative exponent leaves only ±1 alive, as in PyTorch."""
    one, zero = p.const(1, inner), p.const(0, inner)
    result: Node = p.expand(one, p.broadcast_shapes(a.shape, b.shape))
    base, exponent = a, b
    for _ in range(_POWER_ROUNDS):
        odd = p.binary("ne", p.binary("and", exponent, one), zero)
        result = p.where(odd, p.binary("mul", result, base), result)
        base, exponent = p.binary("mul", base, base), p.binary("shr", exponent, one)
    if inner == "uint8":
        return result
    parity = p.where(p.binary("ne", p.binary("and", b, one), zero), p.const(-1, inner), one)
    inverse = p.where(p.binary("eq", a, one), one, p.where(p.binary("eq", a, p.const(-1, inner)), parity, zero))
    return p.where(p.binary("lt", b, zero), inverse, result)


def _lower_pow(a: Node, b: Node, d: dtype) -> Node:
    a, b, inner = _pair(a, b, d.name)
    if inner in p.FLOATS:
        return p.cast(p.binary("pow", a, b), d.name)
    return _integer_power(a, b, inner)


POW_NUMBER = Op(
    "pow",
    lambda x, exponent, d: Spec(x.shape, d),
    _lower_pow_number,
    lambda g, v: (mul(g, mul(pow(_x(v), v.attrs[0] - 1), v.attrs[0])) if v.attrs[0] else mul(_x(v), 0.0),),
    ((0,),),
)


def _pow_vjp(g: Value, v: Value) -> tuple:
    from luchina.ops.select import where

    a, b = v.inputs
    ga = gb = None
    if a.needs_grad:
        slope = mul(b, pow(a, sub(b, 1)))
        ga = mul(g, where(eq(b, 0), 0.0, slope))
    if b.needs_grad:
        # 0 ** b has slope 0 for b ≥ 0, where log 0 would give nan.
        flat = logical_and(eq(a, 0), ge(b, 0))
        gb = where(flat, 0.0, mul(g, mul(v, log(cast(a, v.dtype)))))
    return ga, gb


POW = Op("pow", lambda a, b, d: Spec(broadcast(a, b), d), _lower_pow, _pow_vjp, ((0, 1), (0, 1, OUT)))


@public(inplace=True)
def pow(input: Any, exponent: Any) -> Value:
    """input ** exponent. Integers to a negative number's power are an error, as in PyTorch.

    Source: https://pytorch.org/docs/stable/generated/torch.pow.html
    """
    a = as_value(input)
    if exponent.__class__ in (int, float):
        d = result_dtype(a, as_value(exponent))
        if exponent in _EXACT_POWERS and not a.weak and (d.is_floating_point or exponent in (0, 1, 2, 3)):
            return POW_NUMBER(a, attrs=(exponent, d))
        if not d.is_floating_point and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    b = as_value(exponent)
    d = result_dtype(a, b)
    if d is dtypes.bool_:
        if exponent is True:  # x ** 1
            return a
        if exponent is False:  # x ** 0
            return logical_or(a, True)
        raise NotImplementedError("\"pow\" not implemented for 'Bool'")
    if not d.is_floating_point and b.size and bounds(b)[1] >= 2**_POWER_ROUNDS <= (largest := extremes(b)[1]):
        raise RuntimeError(f"an integer power with an exponent of {largest} is not there yet: at most 1023")
    return POW(a, b, attrs=(d,))


@public(inplace=True)
def square(input: Value) -> Value:
    """x²."""
    return pow(input, 2)


@public(method=False)
def rpow(input: Any, other: Any) -> Value:
    """other ** input: what ``2 ** tensor`` calls."""
    return pow(other, input)


def _atan2_vjp(g: Value, v: Value, a: Value, b: Value) -> tuple:
    """At the origin, where there is no slope, PyTorch gives 0."""
    from luchina.ops.select import where

    square = add(mul(a, a), mul(b, b))
    share = where(eq(square, 0), 0.0, div(g, square))
    return mul(share, b) if a.needs_grad else None, mul(share, neg(a)) if b.needs_grad else None


ATAN2 = _binary("atan2", _atan2_vjp, ((0, 1), (0, 1)))


@public("arctan2", inplace=True)
def atan2(input: Any, other: Any) -> Value:
    """Angle of the point (other, input), in radians, signs considered."""
    a, b = as_value(input), as_value(other)
    return ATAN2(a, b, attrs=(float_dtype(result_dtype(a, b)),))


@public(inplace=True)
def hypot(input: Any, other: Any) -> Value:
    """√(input² + other²)."""
    a, b = as_value(input), as_value(other)
    _require_float(a, "hypot_cpu")
    return sqrt(add(mul(a, a), mul(b, b)))


# ---- comparisons


def _compare(name: str, doc: str, *aliases: str) -> Callable[[Any, Any], Value]:
    op = Op(
        name,
        lambda a, b, d: Spec(broadcast(a, b), dtypes.bool_),
        lambda a, b, d: p.binary(name, p.cast(a, d.name), p.cast(b, d.name)),
    )

    def call(input: Any, other: Any) -> Value:
        a, b = as_value(input), as_value(other)
        return op(a, b, attrs=(result_dtype(a, b),))

    call.__name__ = name
    call.__doc__ = doc
    return public(*aliases, inplace=True)(call)


eq = _compare("eq", "input = other, elementwise.")
ne = _compare("ne", "input ≠ other, elementwise.", "not_equal")
lt = _compare("lt", "input < other, elementwise.", "less")
le = _compare("le", "input ≤ other, elementwise.", "less_equal")
gt = _compare("gt", "input > other, elementwise.", "greater")
ge = _compare("ge", "input ≥ other, elementwise.", "greater_equal")

ISNAN = Op(
    "isnan", _bool_spec, lambda x: p.unary("isnan", x) if x.dtype in p.FLOATS else p.const(False, "bool", x.shape)
)


@public()
def isnan(input: Value) -> Value:
    """Whether each element is nan."""
    return ISNAN(input)


@public()
def isinf(input: Value) -> Value:
    """Whether each element is +∞ or −∞."""
    return eq(abs(input), math.inf) if input.dtype.is_floating_point else ne(input, input)


@public()
def isfinite(input: Value) -> Value:
    """Whether each element is neither infinite nor nan."""
    return lt(abs(input), math.inf) if input.dtype.is_floating_point else eq(input, input)


@public()
def isposinf(input: Value) -> Value:
    """Whether each element is +∞."""
    return eq(input, math.inf)


@public()
def isneginf(input: Value) -> Value:
    """Whether each element is −∞."""
    return eq(input, -math.inf)


@public(method=True)
def isclose(input: Value, other: Value, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Value:
    """|input − other| ≤ atol + rtol · |other|, elementwise; equal infinities are close."""
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{dtype_title(input.dtype)} did not match {dtype_title(other.dtype)}")
    near = eq(input, other)
    if equal_nan and input.dtype.is_floating_point:
        near = logical_or(near, logical_and(isnan(input), isnan(other)))
    distance = abs(sub(cast(input, dtypes.float64), cast(other, dtypes.float64)))
    allowed = add(mul(abs(cast(other, dtypes.float64)), rtol), atol)
    return logical_or(near, logical_and(isfinite(distance), le(distance, allowed)))


_TITLES = {"float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double", "int8": "Char",
           "int16": "Short", "int32": "Int", "int64": "Long", "uint8": "Byte", "bool": "Bool"}  # fmt: skip


def dtype_title(d: dtype) -> str:
    """PyTorch's name of a dtype in its messages: ``Float``, ``Long``."""
    return _TITLES[d.name]


# ---- logic and bits


def _logical(name: str, prim: str, doc: str) -> Callable[[Any, Any], Value]:
    op = Op(
        name,
        lambda a, b: Spec(broadcast(a, b), dtypes.bool_),
        lambda a, b: p.binary(prim, p.cast(a, "bool"), p.cast(b, "bool")),
    )

    def call(input: Any, other: Any) -> Value:
        return op(as_value(input), as_value(other))

    call.__name__ = name
    call.__doc__ = doc
    return public(inplace=True)(call)


logical_and = _logical("logical_and", "and", "Both are not zero.")
logical_or = _logical("logical_or", "or", "At least one is not zero.")
logical_xor = _logical("logical_xor", "xor", "Just one is not zero.")
LOGICAL_NOT = Op("logical_not", _bool_spec, lambda x: p.unary("invert", p.cast(x, "bool")))
BITWISE_NOT = Op("bitwise_not", _same_spec, lambda x: p.unary("invert", x))


@public(inplace=True)
def logical_not(input: Value) -> Value:
    """Whether each element is zero."""
    return LOGICAL_NOT(input)


@public(inplace=True)
def bitwise_not(input: Value) -> Value:
    """Every bit inverted; logical not of bools."""
    if input.dtype.is_floating_point:
        raise NotImplementedError(f"\"bitwise_not_cpu\" not implemented for '{dtype_title(input.dtype)}'")
    return BITWISE_NOT(input)


def _bitwise(name: str, prim: str, doc: str, shift: bool = False) -> Callable[[Any, Any], Value]:
    op = Op(
        name,
        lambda a, b, d: Spec(broadcast(a, b), d),
        lambda a, b, d: p.binary(prim, p.cast(a, d.name), p.cast(b, d.name)),
    )

    def call(input: Any, other: Any) -> Value:
        a, b = as_value(input), as_value(other)
        d = result_dtype(a, b)
        if d.is_floating_point or (shift and d is dtypes.bool_):
            kernel = {"bitwise_left_shift": "lshift_cpu", "bitwise_right_shift": "rshift_cpu"}.get(name, f"{name}_cpu")
            raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtype_title(d)}'")
        return op(a, b, attrs=(d,))

    call.__name__ = name
    call.__doc__ = doc
    return public(inplace=True)(call)


bitwise_and = _bitwise("bitwise_and", "and", "Bits set in both.")
bitwise_or = _bitwise("bitwise_or", "or", "Bits set in either.")
bitwise_xor = _bitwise("bitwise_xor", "xor", "Bits set in just one.")
bitwise_left_shift = _bitwise("bitwise_left_shift", "shl", "input · 2ᵒᵗʰᵉʳ, wrapping.", shift=True)
bitwise_right_shift = _bitwise("bitwise_right_shift", "shr", "⌊input / 2ᵒᵗʰᵉʳ⌋.", shift=True)

# ---- conversion

CAST = Op("to", lambda x, d: Spec(x.shape, d), lambda x, d: p.cast(x, d.name), lambda g, v: (g,), ((),), "ToCopy")


def cast(input: Value, d: dtype) -> Value:
    """The Value in another dtype."""
    return input if input.dtype is d and not input.weak else CAST(input, attrs=(d,))
