"""The inverse of the error function, and the derivative of log Γ."""

from __future__ import annotations

import math
from fractions import Fraction

from luchina.compiler.vecmath.error_function import erf_small, erfc_tail
from luchina.compiler.vecmath.exponential import exp
from luchina.compiler.vecmath.lanes import Lanes, Mathematics
from luchina.compiler.vecmath.logarithm import log
from luchina.compiler.vecmath.trigonometric import quarters, turned


def erfinv(m: Mathematics, y: Lanes) -> Lanes:
    """y times a polynomial of w = -log(1 - y²), or of √w above 6.25; float64 is then corrected by Halley's rule."""
    a = y.abs()
    w = -log(m, (1.0 - a) * (1.0 + a))
    near = m.polynomial("erfinv", w / 3.125 - 1.0)
    far = m.polynomial("erfinv_tail", (w.sqrt() - 4.3) / 1.8)
    x = a * (w < 6.25).select(near, far)
    if m.table is m.long:
        # Above 1/2 by the complements: 1 - a is exact, and erfc keeps its digits.
        excess = (a < 0.53).select(erf_small(m, x) - a, (1.0 - a) - erfc_tail(m, x))
        step = excess / (exp(m, -(x * x)) * (2.0 / math.sqrt(math.pi)))
        x = x - step / m.fma(x, step, 1.0)
    return (a < 1.0).select(x, a.equals(1.0).select(math.inf, m.constant(math.nan, a))).with_sign(y)


SHIFT = 10  # from here on the asymptotic series has all digits
BERNOULLI = [Fraction(1, 6), Fraction(-1, 30), Fraction(1, 42), Fraction(-1, 30)]
BERNOULLI += [Fraction(5, 66), Fraction(-691, 2730), Fraction(7, 6)]
SERIES = [float(-b / (2 * k)) for k, b in enumerate(BERNOULLI, 1)]


def digamma(m: Mathematics, x: Lanes) -> Lanes:
    """log z - 1/(2z) - Σ B₂ₖ/(2k·z²ᵏ) for z ≥ 10. Below that, ψ(x) = ψ(x + 10) - Σ 1/(x + k); left of zero,
    ψ(x) = ψ(1 - x) - π/tan(πx)."""
    left = x < 0.0
    positive = left.select(1.0 - x, x)
    small = positive < float(SHIFT)
    z = small.select(positive + float(SHIFT), positive)
    inverse = 1.0 / z
    t = inverse * inverse
    y = log(m, z) - inverse * 0.5 + t * m.horner(SERIES, t)
    steps = 1.0 / (positive + (SHIFT - 1.0))
    for k in reversed(range(SHIFT - 1)):  # the smallest first
        steps = steps + 1.0 / (positive + float(k))
    y = small.select(y - steps, y)
    nearest, _ = m.nearest(x, 1.0)
    s, c, turn = quarters(m, (x - nearest) * math.pi)
    y = left.select(y - turned(m, s, c, turn + 1) / turned(m, s, c, turn) * math.pi, y)
    y = (left & x.trunc().equals(x)).select(math.nan, y)
    return x.equals(0.0).select(m.constant(-math.inf, x).with_sign(-x), y)
