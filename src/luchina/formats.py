"""What a floating-point number is made of: sign, exponent and fraction in fp64, fp32, fp16 and bf16.

A number is (−1)^sign · 2^(exponent − bias) · 1.fraction; with an exponent field of zeros it is subnormal,
(−1)^sign · 2^(1 − bias) · 0.fraction; a field of ones means infinity or, with a fraction, not a number.
Everything here is exact: rational numbers, rounded once, to nearest with ties to even.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Format:
    """A binary format of IEEE 754's kind: one sign bit, then exponent, then fraction."""

    name: str
    dtype: str
    exponent_bits: int
    fraction_bits: int

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def largest(self) -> Fraction:
        return (2 - Fraction(1, 2**self.fraction_bits)) * Fraction(2) ** self.bias

    @property
    def smallest(self) -> Fraction:
        """The smallest positive number, a subnormal one."""
        return Fraction(2) ** (1 - self.bias - self.fraction_bits)


FORMATS = (
    Format("fp64", "float64", 11, 52),
    Format("fp32", "float32", 8, 23),
    Format("fp16", "float16", 5, 10),
    Format("bf16", "bfloat16", 8, 7),
)


@dataclass(frozen=True)
class Encoded:
    """A number in a format: its bits, read as unsigned integers, and its exact value (a float if not finite)."""

    format: Format
    sign: int
    exponent: int
    fraction: int

    @property
    def pattern(self) -> int:
        """All bits as one integer."""
        f = self.format
        return (self.sign << (f.bits - 1)) | (self.exponent << f.fraction_bits) | self.fraction

    @property
    def exponent_text(self) -> str:
        return f"{self.exponent:0{self.format.exponent_bits}b}"

    @property
    def fraction_text(self) -> str:
        return f"{self.fraction:0{self.format.fraction_bits}b}"

    @property
    def kind(self) -> str:
        if self.exponent == 2**self.format.exponent_bits - 1:
            return "nan" if self.fraction else "infinity"
        if self.exponent == 0:
            return "subnormal" if self.fraction else "zero"
        return "normal"

    @property
    def value(self) -> Fraction | float:
        if self.kind == "nan":
            return math.nan
        if self.kind == "infinity":
            return -math.inf if self.sign else math.inf
        f = self.format
        significand = Fraction(self.fraction, 2**f.fraction_bits) + (self.exponent > 0)
        return (-1) ** self.sign * significand * Fraction(2) ** (max(self.exponent, 1) - f.bias)

    @property
    def formula(self) -> str:
        """How the fields make the number: ``2^1 · 1.5703125``."""
        if self.kind == "zero":
            return "−0" if self.sign else "0"
        if self.kind not in ("normal", "subnormal"):
            return self.kind
        f = self.format
        lead = 1 if self.kind == "normal" else 0
        significand = lead + Fraction(self.fraction, 2**f.fraction_bits)
        return f"{'−' if self.sign else ''}2^{max(self.exponent, 1) - f.bias} · {decimal(significand)}"


def encode(number: Fraction | float | int, target: Format) -> Encoded:
    """``number`` rounded to a format: to nearest, ties to an even fraction, to infinity beyond the largest.

    >>> one = encode(1, FORMATS[1])
    >>> one.exponent, one.fraction, hex(one.pattern)
    (127, 0, '0x3f800000')
    """
    ones = 2**target.exponent_bits - 1
    if isinstance(number, float):
        sign = int(math.copysign(1.0, number) < 0)
        if math.isnan(number):
            return Encoded(target, 0, ones, 2 ** (target.fraction_bits - 1))
        if math.isinf(number):
            return Encoded(target, sign, ones, 0)
    else:
        sign = int(number < 0)
    exact = abs(Fraction(number))
    if not exact:
        return Encoded(target, sign, 0, 0)
    power = max(_floor_log2(exact), 1 - target.bias)
    # In units of the last place; Python rounds a Fraction half to even. What carries over moves up into the exponent.
    units = round(exact / Fraction(2) ** (power - target.fraction_bits))
    lead, fraction = divmod(units, 2**target.fraction_bits)
    exponent = 0 if lead == 0 else power + target.bias + (lead == 2)
    if exponent >= ones:
        return Encoded(target, sign, ones, 0)
    return Encoded(target, sign, exponent, fraction if lead < 2 else 0)


def _floor_log2(x: Fraction) -> int:
    guess = x.numerator.bit_length() - x.denominator.bit_length()
    return guess if Fraction(2) ** guess <= x else guess - 1


def parse(text: str) -> Fraction | float:
    """A number as it was written, exactly; a float for infinities, NaN and −0. ValueError for anything else.

    >>> parse("0.1")
    Fraction(1, 10)
    """
    try:
        value = float(text)
    except (ValueError, OverflowError):
        try:
            return Fraction(float.fromhex(text) if "0x" in text.lower() else text)
        except (ValueError, ZeroDivisionError, OverflowError):
            raise ValueError(f"not a number: {text!r}") from None
    word = text.strip().lower().lstrip("+-")
    if word in ("inf", "infinity", "nan"):
        return value
    if abs(_decimal_exponent(text)) > 10_000:
        raise ValueError(f"the exponent of {text} is too large to show")
    exact = Fraction(text.strip())
    return exact if exact or math.copysign(1.0, value) > 0 else value


def _decimal_exponent(text: str) -> int:
    return int(text.lower().partition("e")[2] or 0)


def decimal(x: Fraction | float, digits: int = 17) -> str:
    """A number in decimal, to ``digits`` significant digits, without zeros at the end."""
    if isinstance(x, float):
        return str(x)
    if not x:
        return "0"
    import decimal as arithmetic

    with arithmetic.localcontext() as context:
        context.prec = digits
        quotient = arithmetic.Decimal(x.numerator) / arithmetic.Decimal(x.denominator)
        quotient = quotient.normalize()
        text = f"{quotient:f}" if -7 <= quotient.adjusted() < digits else f"{quotient:e}"
    return text


def rounding(given: Fraction | float, stored: Encoded) -> str:
    """What storing did to a number, in words."""
    if isinstance(given, float) and given != 0.0:  # infinities and NaN exist in every format
        return "exact"
    exact, value, f = Fraction(given), stored.value, stored.format
    if stored.kind == "infinity":
        return f"too large: the largest is {decimal(f.largest, 6)}"
    if stored.kind == "zero" and exact:
        return f"too small: the smallest is {decimal(f.smallest, 3)}"
    error = Fraction(value) - exact
    if not error:
        return "exact"
    relative = error / exact
    note = " (subnormal: fewer digits)" if stored.kind == "subnormal" else ""
    return f"{'+' if error > 0 else '−'}{decimal(abs(error), 3)}, relative {float(abs(relative)):.2g}{note}"


def table(text: str) -> list[tuple[Encoded, str]]:
    """A written number in every format, and what rounding did to it.

    A program reads ``text`` as fp64 first, and converts that; so does this. The errors are those against the text.

    >>> [(e.format.name, decimal(e.value), what) for e, what in table("65520")][2]
    ('fp16', 'inf', 'too large: the largest is 65504')
    """
    given = parse(text)
    double = encode(given, FORMATS[0])
    start = -0.0 if double.kind == "zero" and double.sign else double.value
    rows = [double, *(encode(start, f) for f in FORMATS[1:])]
    return [(row, rounding(given, row)) for row in rows]
