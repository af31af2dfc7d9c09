"""The error function and its complement."""

from __future__ import annotations

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
    a = x.abs()
    if m.double:
        large = 1.0 - erfc_tail(m, a)
    else:  # 1 - e^-p(a) with a polynomial p: only its absolute error counts
        r, k = reduce(m, -m.polynomial("erf_tail", a.at_most(4.0)))
        large = 1.0 - (expm1_reduced(m, r) + 1.0) * m.power_of_two(k)
    return (a < 1.0).select(erf_small(m, x), large.with_sign(x))


def erfc(m: Mathematics, x: Lanes) -> Lanes:
    a = x.abs()
    tail = erfc_tail(m, a)
    return (a < 0.5).select(1.0 - erf_small(m, x), (x < 0.0).select(2.0 - tail, tail))
