"""What formulas leave to the C library on a processor, for machines that have none: one lane, float64.

Sine, cosine and tangent of huge numbers (Payne and Hanek's reduction), the remainder of huge quotients, and log |Γ|.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from luchina.compiler.vecmath.lanes import PI, Lanes, Mathematics
from luchina.compiler.vecmath.logarithm import log
from luchina.compiler.vecmath.special import BERNOULLI
from luchina.compiler.vecmath.trigonometric import quarters, reduced, turned

_WORDS = 22
_FRONT = 64  # zeros before the point, so that no position is negative


def _two_over_pi() -> int:
    """The first bits of 2/π: π by Machin's formula, 16·atan(1/5) - 4·atan(1/239), in integers."""
    bits = 64 * _WORDS + 64

    def atan_inverse(n: int) -> int:
        term = total = (1 << bits) // n
        k = 1
        while term:
            term //= n * n
            k += 2
            total += (term // k) * (1 - k % 4 + 1 if k % 4 == 1 else -1)
        return total

    pi = 16 * atan_inverse(5) - 4 * atan_inverse(239)
    return (1 << (2 * bits + 1)) // pi >> 64 + _FRONT


def _window(m: Mathematics, at: Lanes) -> list[Lanes]:
    """Three words of 2/π from bit ``at`` on, the most significant first."""
    e = m.e
    digits = _two_over_pi()
    words = [(digits >> 64 * (_WORDS - 1 - i)) & (1 << 64) - 1 for i in range(_WORDS)]
    listed = ", ".join(f"i64 {word - (word >> 63 << 64)}" for word in words)
    name = "two_over_pi"
    kind = f"[{_WORDS} x i64]"
    e.declarations[name] = f"@{name} = internal addrspace(1) constant {kind} [{listed}]"
    first, shift = (at >> 6).v, (at & 63).v
    read = []
    for i in range(4):
        place = f"getelementptr i64, ptr addrspace(1) @{name}, {e.add(first, i)}"
        read.append(e.inst("i64", f"load i64, ptr addrspace(1) {e.inst('ptr', place).text}, align 8"))
    return [Lanes(m, e.intrinsic("fshl", a, b, shift)) for a, b in zip(read, read[1:])]


def _times(m: Mathematics, a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """Both words of a product of words, by halves."""
    mask = (1 << 32) - 1
    a0, a1, b0, b1 = a & mask, a >> 32, b & mask, b >> 32
    cross, other = a0 * b1, a1 * b0
    middle = (a0 * b0 >> 32) + (cross & mask) + (other & mask)
    return a1 * b1 + (cross >> 32) + (other >> 32) + (middle >> 32), a * b


def huge_quarters(m: Mathematics, x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """As ``quarters``, for |x| of 2³⁰ and more."""
    e = m.e
    bits = x.abs().bits()
    exponent = (bits >> 52) - 1075  # |x| = mantissa · 2^exponent
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    finite = x.abs() < math.inf
    # Bits of 2/π before this one only count whole turns.
    start = Lanes(m, e.select(finite.v, (exponent + (_FRONT - 2)).v, e.i64(0)))
    w2, w1, w0 = _window(m, start)
    high0, r0 = _times(m, mantissa, w0)
    high1, low1 = _times(m, mantissa, w1)
    r1 = low1 + high0
    carry = Lanes(m, e.cast("zext", e.icmp("ult", r1.v, low1.v), "i64"))
    r2 = mantissa * w2 + high1 + carry
    fraction = (r2 << 2) | (r1 >> 62)
    rest = (r1 << 2) | (r0 >> 62)
    k = (r2 >> 62) + (fraction >> 63)  # to the nearest
    part = Lanes(m, e.cast("sitofp", fraction.v, "double")) + Lanes(m, e.cast("uitofp", rest.v, "double")) * 2.0**-64
    s, c = reduced(m, part * (float(PI / 2) * 2.0**-64))
    s = (x.bits() < 0).select(-s, s)
    k = (x.bits() < 0).select(0 - k, k)
    return finite.select(s, x - x), finite.select(c, x - x), k


def sin(m: Mathematics, x: Lanes) -> Lanes:
    s, c, k = huge_quarters(m, x)
    return turned(m, s, c, k)


def cos(m: Mathematics, x: Lanes) -> Lanes:
    s, c, k = huge_quarters(m, x)
    return turned(m, s, c, k + 1)


def tan(m: Mathematics, x: Lanes) -> Lanes:
    s, c, k = huge_quarters(m, x)
    odd = (k & 1).differs(0)
    return odd.select(c, s) / odd.select(-s, c)


def fmod(m: Mathematics, x: Lanes, y: Lanes) -> Lanes:
    """Fifty digits of the quotient at a time; each remainder is exact."""
    e = m.e
    b = y.abs()
    below = b < 2.0**-1022
    magnitude = (below.select(b * 2.0**54, b).bits() >> 52) - below.select(m.constant(54, b.bits()), 0)
    with e.loop(e.i64(0), e.i64(44), 1, [x.abs().v]) as loop:
        r = Lanes(m, loop.carried[0])
        exponent = (r.bits() >> 52) - magnitude - 50
        step = m.scale(b, (exponent < 0).select(0, exponent))
        digits = (r / step).trunc()
        left = m.fma(-digits, step, r)
        left = (left < 0.0).select(left + step, left)
        loop.next = [(r < b).select(r, left).v]
    return Lanes(m, loop.carried[0]).with_sign(x)


_TERMS = [Fraction(b) / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI, 1)]
_FROM = 8  # from here on the asymptotic series has all digits


def lgamma(m: Mathematics, x: Lanes) -> Lanes:
    """(z - 1/2)·log z - z + log √2π + Σ B₂ₖ/(2k·(2k-1)·z²ᵏ⁻¹) for z ≥ 8. Below that by
    Γ(z + 8) = Γ(z)·z·(z + 1)…; left of 1/2 by Γ(x)·Γ(1 - x) = π/sin πx. In float64 to 1e-14, absolutely."""
    m = Mathematics(m.e, m.fused, "double", "double", True)  # for float32 too: digits are lost near its zeros
    x = Lanes(m, x.v)
    left = x < 0.5
    positive = left.select(1.0 - x, x)
    small = positive < float(_FROM)
    z = small.select(positive + float(_FROM), positive)
    inverse = 1.0 / z
    y = m.fma(z - 0.5, log(m, z), -z) + 0.5 * math.log(2 * math.pi)
    y = y + inverse * m.horner([float(t) for t in _TERMS], inverse * inverse)
    below = small.select(positive, m.constant(1.0, x))
    product = below
    for k in range(1, _FROM):
        product = product * (below + float(k))
    y = small.select(y - log(m, product), y)
    nearest, _ = m.nearest(x, 1.0)
    s, c, turn = quarters(m, (x - nearest) * math.pi)
    around = math.log(math.pi) - log(m, turned(m, s, c, turn).abs())
    y = left.select(around - y, y)
    y = (left & x.trunc().equals(x)).select(math.inf, y)
    return (x.abs().equals(math.inf)).select(math.inf, y)


FUNCTIONS: dict[str, Callable[..., Lanes]] = {"sin": sin, "cos": cos, "tan": tan, "fmod": fmod, "lgamma": lgamma}
