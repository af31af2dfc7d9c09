"""Bodies: their text, and the conversions between registers and memory."""

from __future__ import annotations

import numpy as np
import pytest
from tests import reference
from tests.compiler.test_build import run

from luchina.compiler import prims as P
from luchina.compiler.body import Body, Instruction, highest, identity, lowest


def test_text_tells_constants_apart():
    def body(value):
        return Body(
            ("float32",), (Instruction("const", "float32", (), (value,)), Instruction("add", "float32", (0, 1))), (2,)
        )

    texts = {str(body(v)) for v in (0.0, -0.0, 1, 1.0, True)}
    assert len(texts) == 5
    assert str(body(0.5)) == "%0:float32; %1:float32 = const(0.5); %2:float32 = add(%0, %1); -> %2"
    assert identity("int8").output_dtypes == ("int8",)
    assert hash(body(1.0)) == hash(body(1.0))


def test_every_float16_and_bfloat16_survives_a_round_trip():
    bits = np.arange(1 << 16, dtype=np.uint16)
    for dtype in ("float16", "bfloat16"):
        stored = bits.view(np.float16) if dtype == "float16" else bits
        (got,), _ = run([P.cast(P.cast(P.input(0, bits.shape, dtype), "float32"), dtype)], [stored])
        got = got.view(np.uint16)
        quiet = np.isnan(reference.load(stored, dtype))
        assert np.array_equal(got[~quiet], bits[~quiet])
        assert np.isnan(reference.load(got.view(stored.dtype), dtype)[quiet]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_to_half_precision_is_to_nearest_even(dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 1 << 32, 1 << 16, dtype=np.uint32).view(np.float32)
    ties = (np.arange(1 << 12, dtype=np.uint32) << 15 | 0x3F000000).view(np.float32)
    x = np.concatenate([x, ties, np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 65520, 1e-8], np.float32)])
    (got,), _ = run([P.cast(P.input(0, x.shape, "float32"), dtype)], [x])
    with np.errstate(all="ignore"):
        want = reference.store(x, dtype)
    a, b = reference.load(got, dtype), reference.load(want, dtype)
    np.testing.assert_array_equal(a, b)


def all_bfloat16() -> tuple[np.ndarray, np.ndarray]:
    """Every bit pattern, each beside another one."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    return bits, np.random.default_rng(0).permutation(bits)


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "maximum", "minimum"])
def test_arithmetic_of_every_bfloat16_is_rounded(op):
    a, b = all_bfloat16()
    x, y = (P.input(i, a.shape, "bfloat16") for i in range(2))
    wide = P.binary(op, P.cast(x, "float32"), P.cast(y, "float32"))
    results = [P.binary(op, x, y), P.binary("mul", P.cast(wide, "bfloat16"), y)]  # the second is rounded twice
    got, _ = run(results, [a, b])
    with np.errstate(all="ignore"):
        function = {"div": np.divide, "mul": np.multiply, "sub": np.subtract}.get(op) or getattr(np, op)
        first = reference.store(function(reference.from_bfloat16(a), reference.from_bfloat16(b)), "bfloat16")
        second = reference.store(reference.from_bfloat16(first) * reference.from_bfloat16(b), "bfloat16")
    for have, want in zip(got, (first, second), strict=True):
        np.testing.assert_array_equal(reference.from_bfloat16(have), reference.from_bfloat16(want))


def test_what_chooses_a_bfloat16_keeps_its_bits():
    a, b = all_bfloat16()
    x, y = (P.input(i, a.shape, "bfloat16") for i in range(2))
    zero = P.const(0.0, "bfloat16", a.shape)
    odd = P.input(2, a.shape, "bool")
    chosen = [P.where(odd, x, y), P.unary("neg", x), P.unary("abs", x), P.binary("maximum", x, zero)]
    (where, neg, magnitude, relu), _ = run(chosen, [a, b, a % 2 == 1])
    np.testing.assert_array_equal(where, np.where(a % 2 == 1, a, b))
    np.testing.assert_array_equal(neg, a ^ 0x8000)
    np.testing.assert_array_equal(magnitude, a & 0x7FFF)
    expected = np.where(np.isnan(reference.from_bfloat16(a)), a, np.where(a & 0x8000, 0, a))
    np.testing.assert_array_equal(relu & 0x7FFF, expected & 0x7FFF)


def test_nan_of_any_bits_stays_nan_in_sixteen():
    bits = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF800001, 0x7F80FFFF, 0x7FC00000] * 20, np.uint32)
    x = P.input(0, bits.shape, "float32")
    for dtype in ("bfloat16", "float16"):
        y = P.cast(x, dtype)
        (plain, sum_), _ = run([y, P.binary("add", y, P.const(1.0, dtype, bits.shape))], [bits.view(np.float32)])
        assert np.isnan(reference.load(plain, dtype)).all()
        assert np.isnan(reference.load(sum_, dtype)).all()


@pytest.mark.parametrize("shape", [(5000,), (3, 40), (7, 33, 5), (1,)])
def test_numbers_of_a_kernel_are_read_once(shape):
    """Run-time scalars and single elements in every kind of loop: pointwise, along rows and down columns."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    number, single = (
        P.expand(P.scalar(0, "float32"), shape),
        P.expand(P.reshape(P.input(1, (1,), "float32"), ()), shape),
    )
    scaled = P.binary("mul", P.binary("add", P.input(0, shape, "float32"), number), P.unary("exp", single))
    got, _ = run(
        [scaled, P.reduce("sum", scaled, (len(shape) - 1,)), P.reduce("max", scaled, (0,))],
        [x, np.array([0.5], np.float32)],
        [2.0],
    )
    want = (x + np.float32(2.0)) * np.exp(np.float32(0.5))
    for have, expected in zip(got, (want, want.sum(-1), want.max(0)), strict=True):
        np.testing.assert_allclose(have, expected, rtol=2e-6)


def test_bounds_of_dtypes():
    assert (lowest("int8"), highest("int8")) == (-128, 127)
    assert (lowest("uint8"), highest("bool")) == (0, 1)
    assert highest("float16") == np.inf
