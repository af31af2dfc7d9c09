"""x to the power y, and the remainder of x by y."""

from __future__ import annotations

import math
from fractions import Fraction

from luchina.compiler.vecmath.exponential import expm1_reduced, reduce
from luchina.compiler.vecmath.lanes import LN2, Lanes, Mathematics, libm, rarely
from luchina.compiler.vecmath.logarithm import decompose, log1p_reduced, plus_multiple


def two_sum(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """a + b as a rounded sum and its error."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def log_twice(m: Mathematics, x: Lanes) -> tuple[Lanes, Lanes]:
    """log x for positive finite x in twice the digits: 2·atanh(s) = 2s + 2/3·s³ + s⁵·p(s²) with s = f / (2 + f)."""
    f, n = decompose(m, x)
    below = f + 2.0
    s = f / below
    p, p_error = m.product(s, below)
    s_low = ((f - p) - p_error - s * (f - (below - 2.0))) / below
    t, t_low = m.product(s, s)
    t_low = t_low + s * s_low * 2.0
    cube, cube_low = m.product(s, t)
    cube_low = cube_low + s * t_low + s_low * t
    third, third_low = m.parts(Fraction(2, 3), 2, 53)
    v, v_low = m.product(cube, third)
    v_low = v_low + cube * third_low + cube_low * third
    rest = m.fma(cube * t, m.polynomial("log_power", t), s_low * 2.0 + v_low)
    high, low = two_sum(s * 2.0, v)
    ln2, ln2_low = m.parts(LN2, 2, 41)
    total, error = two_sum(n * ln2, high)
    return two_sum(total, error + (low + rest + n * ln2_low))


def pow(m: Mathematics, x: Lanes, y: Lanes) -> Lanes:
    """e^(y·log|x|), with the sign of x if y is an odd integer."""
    a = x.abs()
    far = 2.0**70  # a larger exponent has the same result, and products with it stay finite
    exponent = y.at_most(far).at_least(-far)
    inside = (a > 0.0) & (a < math.inf)
    of_edge = a.equals(0.0).select(-math.inf, a)  # the logarithm of 0, ∞ and NaN
    exact = m.table is m.long
    if exact:
        log, log_low = log_twice(m, a)
        product, error = m.product(exponent, log)
        error = m.fma(exponent, log_low, error)
    else:
        f, n = decompose(m, a)
        product = exponent * plus_multiple(m, log1p_reduced(m, f), n, LN2)
    product = inside.select(product, exponent * of_edge)
    limited = product.at_least(-800.0).at_most(800.0)
    r, k = reduce(m, limited)
    if exact:
        r = r + (limited.equals(product) & inside).select(error, 0.0)
    z = m.scale(expm1_reduced(m, r) + 1.0, k)
    integer = y.trunc().equals(y)
    half = y * 0.5
    odd = integer & half.trunc().differs(half)
    negative = x.bits() < 0
    z = (negative & odd).select(-z, z)
    z = ((x < 0.0) & (a < math.inf) & integer.equals(0)).select(math.nan, z)
    return (y.equals(0.0) | x.equals(1.0)).select(1.0, z)


def fmod(m: Mathematics, x: Lanes, y: Lanes) -> Lanes:
    """x - trunc(x/y)·y, exactly: in one step while the quotient has few enough digits, else by the C library."""
    if not m.fused:
        return libm(m, "fmod", x, y)
    quotient = x / y
    r = m.fma(-quotient.trunc(), y, x)
    crossed = ((r < 0.0) & (x > 0.0)) | ((r > 0.0) & (x < 0.0))
    r = crossed.select(r + y.abs().with_sign(x), r)
    r = (x.abs() < y.abs()).select(x, r.abs().with_sign(x))
    return rarely(m, quotient.abs() >= 2.0**52, r, lambda: libm(m, "fmod", x, y))
