"""Logarithms: x = 2ⁿ·(1 + f) with 1 + f between √½ and √2; log(1 + f) by a polynomial of f, or of f / (2 + f)."""

from __future__ import annotations

import math

from luchina.compiler.vecmath.lanes import LN2, LOG2E, LOG10_2, LOG10E, Lanes, Mathematics


def split(m: Mathematics, x: Lanes) -> tuple[Lanes, Lanes]:
    """(1 + f, n as an integer) of a positive normal number."""
    one, root_half = (0x3FF0000000000000, 0x3FE6A09E667F3BCD) if m.double else (0x3F800000, 0x3F3504F3)
    bits = x.bits()
    k = ((bits + (one - root_half)) >> m.mantissa_bits) - m.bias
    return (bits - (k << m.mantissa_bits)).as_float(), k


def decompose(m: Mathematics, x: Lanes) -> tuple[Lanes, Lanes]:
    """(f, n), the numbers below the normal ones included."""
    small = x < 2.0 ** (2 - m.bias - 1)
    one_f, k = split(m, small.select(x * 2.0**m.precision, x))
    n = m.small_float(k)
    return one_f - 1.0, small.select(n - float(m.precision), n)


def log1p_reduced(m: Mathematics, f: Lanes) -> Lanes:
    """log(1 + f)."""
    if not m.double:
        return m.fma(f * f, m.polynomial("log", f), f)
    s = f / (f + 2.0)
    t = s * s
    return f - s * (f - t * m.polynomial("atanh", t))


def plus_multiple(m: Mathematics, y: Lanes, n: Lanes, value: object) -> Lanes:
    """y + n·value, with value in two parts; the products with the first are exact."""
    high, low = m.parts(value, 2, m.precision - 12)  # type: ignore[arg-type]
    return m.fma(n, high, m.fma(n, low, y))


def specials(x: Lanes, y: Lanes) -> Lanes:
    """The logarithm of what is not a positive finite number."""
    y = (x < math.inf).select(y, x)
    return (x > 0.0).select(y, x.equals(0.0).select(-math.inf, x * math.nan))


def log(m: Mathematics, x: Lanes) -> Lanes:
    f, n = decompose(m, x)
    return specials(x, plus_multiple(m, log1p_reduced(m, f), n, LN2))


def log2(m: Mathematics, x: Lanes) -> Lanes:
    f, n = decompose(m, x)
    return specials(x, m.fma(log1p_reduced(m, f), float(LOG2E), n))


def log10(m: Mathematics, x: Lanes) -> Lanes:
    f, n = decompose(m, x)
    return specials(x, plus_multiple(m, log1p_reduced(m, f) * float(LOG10E), n, LOG10_2))


def log1p(m: Mathematics, x: Lanes) -> Lanes:
    """log(u) of the rounded u = 1 + x; what rounding lost is added to f."""
    u = x + 1.0
    back = u - 1.0
    lost = (1.0 - (u - back)) + (x - back)
    one_f, k = split(m, u)
    most = 100
    f = one_f - 1.0 + lost * m.power_of_two(0 - (k > most).select(most, k))
    y = plus_multiple(m, log1p_reduced(m, f), m.small_float(k), LN2)
    return specials(u, y).with_sign(x)
