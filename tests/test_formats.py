"""Bits of numbers: against the platform's own conversions, and PyTorch's for bfloat16."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import luchina
from luchina.formats import FORMATS, decimal, encode, parse, rounding, table

FP64, FP32, FP16, BF16 = FORMATS
anything = st.floats(allow_nan=False) | st.floats(-1e5, 1e5) | st.floats(-1e-6, 1e-6) | st.floats(6.0e4, 7.0e4)


@settings(max_examples=400, deadline=None)
@given(anything)
def test_patterns_are_the_platforms(x: float) -> None:
    assert encode(x, FP64).pattern == struct.unpack("<Q", struct.pack("<d", x))[0]
    with np.errstate(over="ignore", under="ignore"):
        assert encode(x, FP32).pattern == int(np.float64(x).astype(np.float32).view(np.uint32))
        assert encode(x, FP16).pattern == int(np.float64(x).astype(np.float16).view(np.uint16))


@pytest.mark.parity
@settings(max_examples=200, deadline=None)
@given(st.floats(width=32, allow_nan=False))
def test_bfloat16_patterns_are_pytorchs(x: float) -> None:
    import torch

    assert encode(x, BF16).pattern == int(torch.tensor(x).bfloat16().view(torch.uint16).item())


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(FORMATS))
def test_the_value_is_one_that_rounds_to_itself(x: float, target: object) -> None:
    stored = encode(x, target)
    if stored.kind in ("normal", "subnormal"):
        assert encode(stored.value, target) == stored
        neighbours = [s for s in (stored.pattern - 1, stored.pattern + 1)]
        for pattern in neighbours:
            sign, rest = divmod(pattern, 2 ** (target.bits - 1))
            exponent, fraction = divmod(rest, 2**target.fraction_bits)
            other = type(stored)(target, sign, exponent, fraction)
            if other.kind in ("normal", "subnormal"):
                assert abs(stored.value - Fraction(x)) <= abs(other.value - Fraction(x))


@pytest.mark.parametrize("target", FORMATS, ids=lambda f: f.name)
def test_limits_are_finfos(target: object) -> None:
    info = luchina.finfo(getattr(luchina, target.dtype))
    assert target.bits == info.bits
    assert float(target.largest) == info.max
    assert encode(info.max, target).value == target.largest
    assert encode(target.smallest, target).pattern == 1
    assert encode(info.tiny, target).kind == "normal" and encode(info.tiny, target).fraction == 0


def test_special_values() -> None:
    assert encode(math.inf, FP16).kind == encode(70000, FP16).kind == "infinity"
    assert encode(65519.99, FP16).value == 65504 and encode(65520, FP16).kind == "infinity"
    assert encode(math.nan, BF16).kind == "nan"
    assert encode(-0.0, FP32).pattern == 1 << 31 and encode(-0.0, FP32).kind == "zero"
    assert encode(2.0**-25, FP16).kind == "zero"  # a tie: to even
    assert encode(2.0**-25 * 1.001, FP16).kind == "subnormal"


def test_table_and_words() -> None:
    rows = {row.format.name: (row, what) for row, what in table("3.14")}
    assert rows["fp16"][0].exponent_text == "10000" and rows["fp16"][0].fraction_text == "1001001000"
    assert decimal(rows["fp32"][0].value) == "3.1400001049041748"
    assert rows["fp16"][0].formula == "2^1 · 1.5703125"
    assert rows["bf16"][1] == "+0.000625, relative 0.0002"
    assert [what for _, what in table("0.5")] == ["exact"] * 4
    assert table("1e-8")[2][1] == "too small: the smallest is 5.96e-8"
    assert table("70000")[2][1] == "too large: the largest is 65504"
    assert table("1e-6")[2][1].endswith("(subnormal: fewer digits)")
    assert [what for _, what in table("nan")] == ["exact"] * 4
    assert table("-0")[1][0].pattern == 1 << 31
    assert rounding(Fraction(1, 3), encode(Fraction(1, 3), FP64)).startswith("−1.85e-17")


def test_parse() -> None:
    assert parse("1/3") == Fraction(1, 3) and parse("0x1.8p3") == 12 and parse(" 2.5 ") == Fraction(5, 2)
    for wrong in ("abc", "", "1/0", "1e99999999"):
        with pytest.raises(ValueError, match=r"number|exponent"):
            parse(wrong)


def test_command() -> None:
    def explain(*args: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "luchina", "explain", *args], capture_output=True, text=True)

    shown = explain("--float", "-3.14")
    assert shown.returncode == 0 and "1 10000 1001001000" in shown.stdout and "0xc048f5c3" in shown.stdout
    for args, message in (
        ((), "nothing to explain"),
        (("--float", "x"), "not a number"),
        (("--float", "1", "a.py"), "stands alone"),
    ):
        wrong = explain(*args)
        assert wrong.returncode == 1 and message in wrong.stderr
