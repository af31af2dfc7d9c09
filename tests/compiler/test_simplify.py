"""Each rule of the simplifier, as text before and after."""

from __future__ import annotations

import numpy as np
import pytest
from tests import reference

from luchina.compiler import prims as P
from luchina.compiler.simplify import simplify

X = P.input(0, (4, 6), "float32")
N = P.input(0, (4, 6), "int32")


def const(value, dtype="float32"):
    return P.const(value, dtype)


CASES = {
    "reshape of reshape": (P.reshape(P.reshape(X, (24,)), (4, 6)), X),
    "permute back": (P.permute(P.permute(X, (1, 0)), (1, 0)), X),
    "slice of slice": (
        P.slice(P.slice(X, (0, 5), (4, 3), (1, -2)), (1, 0), (3, 2), (1, 1)),
        P.slice(X, (1, 5), (3, 2), (1, -2)),
    ),
    "expand of expand": (
        P.expand(P.expand(P.reshape(X, (1, 4, 1, 6)), (1, 4, 2, 6)), (3, 4, 2, 6)),
        P.expand(P.reshape(X, (1, 4, 1, 6)), (3, 4, 2, 6)),
    ),
    "times one": (P.binary("mul", X, const(1.0)), X),
    "one times": (P.binary("mul", const(1.0), X), X),
    "minus zero": (P.binary("sub", X, const(0.0)), X),
    "plus zero stays": (P.binary("add", X, const(0.0)), P.binary("add", X, const(0.0))),
    "integer plus zero": (P.binary("add", N, const(0, "int32")), N),
    "minus minus": (P.unary("neg", P.unary("neg", X)), X),
    "cast there and back": (P.cast(P.cast(X, "float64"), "float32"), X),
    "rounding cast stays": (P.cast(P.cast(X, "float16"), "float32"), P.cast(P.cast(X, "float16"), "float32")),
    "cast of a constant": (P.cast(const(2, "int64"), "float32"), const(2.0)),
    "known condition": (P.where(P.const(True, "bool"), X, P.unary("neg", X)), X),
    "same on both sides": (P.where(P.binary("lt", X, const(0.0)), X, X), X),
    "sum of single elements": (P.reduce("sum", P.reshape(X, (4, 1, 6)), (1,)), X),
    "max of a repeated value": (
        P.reduce("max", P.expand(P.reshape(X, (4, 1, 6)), (4, 9, 6)), (1,)),
        X,
    ),
    "product over nothing": (
        P.dot(P.input(0, (1, 2, 0), "float32"), P.input(1, (1, 0, 3), "float32")),
        P.const(0, "float32", (1, 2, 3)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rule(name):
    before, after = CASES[name]
    assert P.text(simplify([before])) == P.text([after])


def test_equal_expressions_become_one():
    a = P.binary("mul", X, const(2.0))
    b = P.binary("mul", X, const(2.0))
    (out,) = simplify([P.binary("add", a, b)])
    assert out.inputs[0] is out.inputs[1]


def test_constants_are_told_apart_by_type_and_sign():
    outs = simplify([P.binary("mul", X, const(v)) for v in (0.0, -0.0)])
    assert outs[0] is not outs[1]


@pytest.mark.parametrize("shape", [(300_000,), (299_999,), (3, 70_001)])
@pytest.mark.parametrize("op", ["sum", "max"])
def test_long_reductions_are_split(shape, op):
    """In two stages, with the same result; the parts depend on the extents alone."""
    node = P.reduce(op, P.input(0, shape, "float32"), (len(shape) - 1,))
    split = simplify([node])
    assert P.text(split).count(f"= {op}(") == 2
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(
        reference.evaluate(split, [x])[0], reference.evaluate([node], [x])[0], rtol=1e-5, atol=1e-3
    )


def test_short_reductions_are_not_split():
    node = P.reduce("sum", P.input(0, (300, 300), "float32"), (0, 1))
    assert P.text(simplify([node])) == P.text([node])
