"""Trigonometric functions and their inverses."""

from __future__ import annotations

import math

from luchina.compiler.vecmath.lanes import PI, Lanes, Mathematics, libm, rarely

TWO_OVER_PI = float(2 / PI)


def quarters(m: Mathematics, x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """x = n·π/2 + r: sin r, cos r and n as an integer; for |x| up to ``huge``."""
    n, k = m.nearest(x, TWO_OVER_PI)
    s, c = reduced(m, m.minus_multiple(x, n, PI / 2, 3))
    return s, c, k


def reduced(m: Mathematics, r: Lanes) -> tuple[Lanes, Lanes]:
    """sin r and cos r for r within π/4."""
    t = r * r
    s = r * m.fma(t, m.polynomial("sin", t), 1.0)
    c = m.fma(t * t, m.polynomial("cos", t), m.fma(t, -0.5, 1.0))
    return s, c


def huge(m: Mathematics) -> float:
    """Beyond this the reduction runs out of digits: the C library takes over."""
    return 2.0**30 if m.fused else 2.0**20


def turned(m: Mathematics, s: Lanes, c: Lanes, k: Lanes) -> Lanes:
    """sin(n·π/2 + r)."""
    y = (k & 1).differs(0).select(c, s)
    return (y.bits() ^ ((k & 2) << 62)).as_float()


def sin(m: Mathematics, x: Lanes) -> Lanes:
    s, c, k = quarters(m, x)
    return rarely(m, x.abs() > huge(m), turned(m, s, c, k), lambda: libm(m, "sin", x))


def cos(m: Mathematics, x: Lanes) -> Lanes:
    s, c, k = quarters(m, x)
    return rarely(m, x.abs() > huge(m), turned(m, s, c, k + 1), lambda: libm(m, "cos", x))


def tan(m: Mathematics, x: Lanes) -> Lanes:
    s, c, k = quarters(m, x)
    odd = (k & 1).differs(0)
    return rarely(m, x.abs() > huge(m), odd.select(c, s) / odd.select(-s, c), lambda: libm(m, "tan", x))


def atan_quotient(m: Mathematics, a: Lanes, b: Lanes) -> Lanes:
    """atan(a / b) for a, b ≥ 0: of a/b, of (a - b)/(a + b) plus π/4, or of -b/a plus π/2."""
    low, high = (a <= b * math.tan(math.pi / 8)), (a > b * math.tan(3 * math.pi / 8))
    half = (a > 1.0).select(0.5, m.constant(1.0, a))  # the sum must not overflow, nor small numbers lose digits
    x, y = a * half, b * half
    above = low.select(a, high.select(-b, x - y))
    below = low.select(b, high.select(a, x + y))
    z = above / below
    t = z * z
    near = m.fma(z * t, m.polynomial("atan", t), z)
    (p2, q2), (p4, q4) = m.parts(PI / 2, 2, 53), m.parts(PI / 4, 2, 53)
    far = high.select(p2, m.constant(p4, b)) + (near + high.select(q2, m.constant(q4, b)))  # in two parts
    return low.select(near, far)


def atan(m: Mathematics, x: Lanes) -> Lanes:
    a = x.abs()
    return atan_quotient(m, a, m.constant(1.0, a)).with_sign(x)


def atan2(m: Mathematics, y: Lanes, x: Lanes) -> Lanes:
    """The angle of (x, y): atan(|y| / |x|), taken from π where x is negative (-0 too), with the sign of y."""
    a, b = y.abs(), x.abs()
    alike = a.equals(b) & (a.equals(0.0) | a.equals(math.inf))  # 0/0 counts as 0/1, ∞/∞ as 1/1
    angle = atan_quotient(m, (alike & (a > 0.0)).select(1.0, a), alike.select(1.0, b))
    high, low = m.parts(PI, 2, 53)
    return (x.bits() < 0).select(high - (angle - low), angle).with_sign(y)


def asin_half(m: Mathematics, a: Lanes) -> tuple[Lanes, Lanes]:
    """Whether a > 1/2; if so asin of √((1 - a) / 2), of which asin(a) lacks twice to π/2; else asin(a)."""
    large = a > 0.5
    t = large.select((1.0 - a) * 0.5, a * a)
    s = large.select(t.sqrt(), a)
    return large, m.fma(s * t, m.polynomial("asin", t), s)


def asin(m: Mathematics, x: Lanes) -> Lanes:
    large, p = asin_half(m, x.abs())
    high, low = m.parts(PI / 2, 2, 53)
    return large.select(high - (p * 2.0 - low), p).with_sign(x)


def acos(m: Mathematics, x: Lanes) -> Lanes:
    large, p = asin_half(m, x.abs())
    p2, q2 = m.parts(PI / 2, 2, 53)
    p1, q1 = m.parts(PI, 2, 53)
    twice = p * 2.0
    return large.select((x < 0.0).select(p1 - (twice - q1), twice), p2 - (p.with_sign(x) - q2))
