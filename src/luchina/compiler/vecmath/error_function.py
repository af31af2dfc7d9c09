"""The error function and its complement."""

from __future__ import annotations

import math

from luchina.compiler.vecmath.exponential import expm1_reduced, reduce
from luchina.compiler.vecmath.lanes import Lanes, Mathematics


def erf_small(m: Mathematics, x: Lanes) -> Lanes:
    """erf(x) for |x| ≤ 1: an odd polynomial."""
    return m.fma(x, m.polynomial("erf", x * x), x)


def erfc_tail(m: Mathematics, a: Lanes) -> Lanes:
    """erfc(a) for a ≥ 1/2: e^(-a²) / (2a + 1) times a polynomial of (a - 4) / (a + 4); a² in twice the digits."""
    a = a.at_most(28.0)
    factor = m.polynomial("erfc", (a - 4.0) / (a + 4.0)) / (a * 2.0 + 1.0)
    square, error = m.product(a, a)
    r, k = reduce(m, -square)
    y = (expm1_reduced(m, r - error) + 1.0) * factor
    return m.scale(y, k)


def erf(m: Mathematics, x: Lanes) -> Lanes:
    """1 - erfc; in float32 1 - e^-p with a polynomial p = -log erfc(|x|): one formula, with the digits of small x."""
    a = x.abs()
    if m.double:
        return (a < 1.0).select(erf_small(m, x), (1.0 - erfc_tail(m, a)).with_sign(x))
    a = a.at_most(4.0)
    r, k = reduce(m, -m.fma(a, m.by_halves("erf_exponent", a), a))
    power = m.power_of_two(k)
    return m.fma(expm1_reduced(m, r), power, power - 1.0).with_sign(x)


def erfc(m: Mathematics, x: Lanes) -> Lanes:
    a = x.abs()
    tail = erfc_tail(m, a)
    return (a < 0.5).select(1.0 - erf_small(m, x), (x < 0.0).select(2.0 - tail, tail))


def normal_cdf(m: Mathematics, x: Lanes) -> Lanes:
    """Φ(x) = erfc(-x/√2) / 2, the chance that a normal variable is below x: what GELU multiplies x by.

    In float32 the lower tail is t = e^(-a·P(a)) / 2 with a = |x| and the upper 1 - t, within 2⁻²⁴ of the exact value;
    far out t is 0. (Its relative error in the tail is larger than that of the functions above.)
    """
    if m.double:
        return erfc(m, x * -math.sqrt(0.5)) * 0.5
    a = x.abs().at_most(14.0)
    r, k = reduce(m, -(a * m.by_halves("normal_tail", a)))
    power = m.power_of_two((k < 2 - m.bias).select(-m.bias, k - 1))
    tail = m.fma(expm1_reduced(m, r), power, power)
    return (x < 0.0).select(tail, 1.0 - tail)
