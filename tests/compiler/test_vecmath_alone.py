"""What machines without a C library compute in its place, against many digits."""

from __future__ import annotations

import ctypes
import math

import mpmath as mp
import numpy as np
import pytest

from luchina.compiler import ir, llvm, vecmath
from luchina.compiler.target import host
from luchina.compiler.targets.spirv import SPIRV
from luchina.compiler.vecmath.alone import _two_over_pi

RNG = np.random.default_rng(0)


def compiled(name, inputs=1, element="double"):
    """The function as a device would compute it, on this processor."""
    e = ir.Emitter()
    xs = [e.load(element, ir.Operand("ptr", f"%p{i}"), 8) for i in range(inputs)]
    e.store(vecmath.emit(e, SPIRV, name, *xs), ir.Operand("ptr", "%out"), 8)
    signature = ", ".join([*(f"ptr %p{i}" for i in range(inputs)), "ptr %out"])
    text = ir.module([e.function(f"alone_{name}_{element}", signature)], e.declarations, host().triple)
    code = llvm.compiler(host()).object_code(text.replace("addrspace(1) ", ""))
    symbol = f"alone_{name}_{element}"
    held, addresses = llvm.load_object(host(), symbol, code, [symbol])
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (inputs + 1))(addresses[symbol])
    kind = ctypes.c_double if element == "double" else ctypes.c_float

    def function(*values):
        places = [*map(kind, values), kind()]
        call(*map(ctypes.addressof, places))
        return places[-1].value

    function.held = held
    return function


def ulps(got, want):
    return abs(float((mp.mpf(got) - want) / mp.mpf(math.ulp(float(want)))))


def test_two_over_pi():
    with mp.workprec(2000):
        assert _two_over_pi() == int(mp.floor(2 / mp.pi * mp.mpf(2) ** (22 * 64 - 64)))


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_of_many_turns(name):
    function = compiled(name)
    signs = RNG.choice([-1, 1], 200)
    hard = 6381956970095103 * 2.0**797  # as near to a multiple of π/2 as a float64 comes
    with mp.workprec(1500):
        for x in map(float, [*(signs * 2.0 ** RNG.uniform(30, 1023.9, 200)), 1e22, hard, -hard, 2.0**30 + 1]):
            assert ulps(function(x), getattr(mp, name)(mp.mpf(x))) <= 4, x
    assert all(math.isnan(function(x)) for x in (math.inf, -math.inf, math.nan))


def test_remainders_of_huge_quotients():
    function = compiled("fmod", 2)
    for _ in range(2000):
        x = float(RNG.choice([-1, 1]) * 2.0 ** RNG.uniform(-1060, 1023))
        y = float(2.0 ** RNG.uniform(-1070, 1000))
        assert function(x, y) == math.fmod(x, y), (x, y)
    assert math.isnan(function(5.0, 0.0)) and math.isnan(function(math.inf, 2.0)) and function(5.0, math.inf) == 5.0
    assert math.copysign(1, function(-1e300, 3.0)) == -1


def test_log_of_gamma():
    function, short = compiled("lgamma"), compiled("lgamma", 1, "float")
    near = [*(1 + RNG.uniform(-1e-3, 1e-3, 50)), *(2 + RNG.uniform(-1e-6, 1e-6, 50))]
    for x in map(float, [*RNG.uniform(-30, 30, 400), *10.0 ** RNG.uniform(-300, 300, 200), *near]):
        want = math.lgamma(x)
        assert abs(function(x) - want) <= 1e-14 * max(1, abs(want)), x
        x = float(np.float32(x if abs(x) < 1e30 else 1))
        want = math.lgamma(x) if x else 0
        if want:
            assert abs(short(x) - want) <= 1e-7 * abs(want) + 2e-15 * abs(x), x
    assert function(0.0) == function(-3.0) == function(math.inf) == function(-math.inf) == math.inf
    assert math.isnan(function(math.nan))
