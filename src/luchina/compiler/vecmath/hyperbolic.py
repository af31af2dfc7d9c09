"""Hyperbolic functions and their inverses (tanh, the busy one, is with exp)."""

from __future__ import annotations

import math

from luchina.compiler.vecmath.exponential import expm1_reduced, reduce
from luchina.compiler.vecmath.lanes import LN2, Lanes, Mathematics
from luchina.compiler.vecmath.logarithm import log1p


def quarter_expm1(m: Mathematics, a: Lanes) -> Lanes:
    """(eᵃ - 1) / 4 for a ≥ 0, which does not overflow where sinh and cosh do not."""
    r, k = reduce(m, a.at_most(710.5 if m.double else 89.5))
    power = m.power_of_two(k - 2)
    return m.fma(expm1_reduced(m, r), power, power - 0.25)


def sinh(m: Mathematics, x: Lanes) -> Lanes:
    """(t + t/(t + 1)) / 2 with t = e^|x| - 1."""
    a = x.abs()
    h = quarter_expm1(m, a)
    tiny = 2.0**-30 if m.double else 2.0**-14
    return (a < tiny).select(a, h * 2.0 + h / (h + 0.25) * 0.5).with_sign(x)


def cosh(m: Mathematics, x: Lanes) -> Lanes:
    h = quarter_expm1(m, x.abs()) + 0.25
    return h * 2.0 + 0.125 / h


def asinh(m: Mathematics, x: Lanes) -> Lanes:
    """log1p(a + a² / (1 + √(1 + a²))), and log(2a) for large a = |x|."""
    a = x.abs()
    large = a > 2.0**60
    square = a * a
    y = log1p(m, large.select(a, a + square / ((square + 1.0).sqrt() + 1.0)))
    return large.select(y + float(LN2), y).with_sign(x)


def acosh(m: Mathematics, x: Lanes) -> Lanes:
    """log1p(t + √(2t + t²)) with t = x - 1, and log(2x) for large x."""
    large = x > 2.0**60
    t = x - 1.0
    y = log1p(m, large.select(x, t + m.fma(t, t, t * 2.0).sqrt()))
    return (x < 1.0).select(math.nan, large.select(y + float(LN2), y))


def atanh(m: Mathematics, x: Lanes) -> Lanes:
    """log1p(2a / (1 - a)) / 2 with a = |x|."""
    a = x.abs()
    return (log1p(m, (a + a) / (1.0 - a)) * 0.5).with_sign(x)
