"""exp and what is made of it: eʳ on |r| ≤ ln2/2 by a polynomial, times a power of two."""

from __future__ import annotations

from luchina.compiler.vecmath.lanes import LN2, LOG2E, Lanes, Mathematics


def limits(m: Mathematics) -> tuple[float, float]:
    """Beyond these arguments eˣ is zero or infinite."""
    return (-746.0, 710.0) if m.double else (-104.0, 89.0)


def reduce(m: Mathematics, x: Lanes) -> tuple[Lanes, Lanes]:
    """x = n·ln2 + r: r, and n as an integer."""
    n, k = m.nearest(x, float(LOG2E))
    return m.minus_multiple(x, n, LN2), k


def expm1_reduced(m: Mathematics, r: Lanes) -> Lanes:
    """eʳ - 1 for a reduced argument."""
    return m.fma(r * r, m.polynomial("exp", r), r)


def exp(m: Mathematics, x: Lanes) -> Lanes:
    low, high = limits(m)
    r, k = reduce(m, x.at_least(low).at_most(high))
    return m.scale(expm1_reduced(m, r) + 1.0, k)


def exp2(m: Mathematics, x: Lanes) -> Lanes:
    low, high = (-1080.0, 1025.0) if m.double else (-152.0, 129.0)
    x = x.at_least(low).at_most(high)
    n, k = m.nearest(x, 1.0)
    return m.scale(expm1_reduced(m, (x - n) * float(LN2)) + 1.0, k)


def expm1(m: Mathematics, x: Lanes) -> Lanes:
    _, high = limits(m)
    r, k = reduce(m, x.at_least(-40.0 if m.double else -20.0).at_most(high))
    over = k > m.bias  # 2ⁿ itself would be infinite
    power = m.power_of_two(over.select(m.bias, k))
    q = expm1_reduced(m, r)
    y = m.fma(q, power, over.select(power, power - 1.0))
    return over.select(y * 2.0, y).with_sign(x)


def tanh(m: Mathematics, x: Lanes) -> Lanes:
    """An odd polynomial up to 5/8; 1 - 2z / (1 + z) with z = e^(-2|x|) above."""
    a = x.abs()
    r, k = reduce(m, (a * -2.0).at_least(-40.0 if m.double else -20.0))
    z = (expm1_reduced(m, r) + 1.0) * m.power_of_two(k)
    large = 1.0 - (z + z) / (z + 1.0)
    square = a * a
    small = m.fma(a * square, m.polynomial("tanh", square), a)
    return (a < 0.625).select(small, large).with_sign(x)


def sigmoid(m: Mathematics, x: Lanes) -> Lanes:
    """z - z·q or 1 - q with z = e^-|x| and q = z / (1 + z): small results keep their digits."""
    low, _ = limits(m)
    r, k = reduce(m, (-x.abs()).at_least(low))
    z = m.scale(expm1_reduced(m, r) + 1.0, k)
    base = (x < 0.0).select(z, 1.0)
    return m.fma(base, -(z / (z + 1.0)), base)
