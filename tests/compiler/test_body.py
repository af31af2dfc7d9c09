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


def test_bounds_of_dtypes():
    assert (lowest("int8"), highest("int8")) == (-128, 127)
    assert (lowest("uint8"), highest("bool")) == (0, 1)
    assert highest("float16") == np.inf
