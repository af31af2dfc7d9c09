"""Vector mathematics: elementary functions as straight-line vector IR, of our own derivation.

``emit(e, target, "exp", x)`` writes the function for a ``float`` or ``double`` scalar or vector ``x``. Float32 results
are within 2 units in the last place (``pow`` within 4; ``normal_cdf`` within 2⁻²⁴), float64 results within 4; signed
zeros, infinities, NaN and gradual underflow follow C99. The result of a lane does not depend on the number of lanes.

A function is a formula over ``lanes.Lanes``; its polynomials are in ``coefficients.py``, from
``tools/minimax.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from luchina.compiler.ir import Emitter, Operand, element_of
from luchina.compiler.vecmath import (
    alone,
    error_function,
    exponential,
    hyperbolic,
    logarithm,
    power,
    special,
    trigonometric,
)
from luchina.compiler.vecmath.lanes import Lanes, Mathematics, by_lanes, wide

if TYPE_CHECKING:
    from luchina.compiler.target import Target


__all__ = ["FUNCTIONS", "by_lanes", "emit"]


def _wide(f: Callable[..., Lanes]) -> Callable[..., Lanes]:
    return functools.partial(lambda f, m, *xs: wide(m, f, *xs), f)


FUNCTIONS: dict[str, Callable[..., Lanes]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "tanh": exponential.tanh,
    "sigmoid": exponential.sigmoid,
    "log": logarithm.log,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "log1p": logarithm.log1p,
    "erf": error_function.erf,
    "erfc": _wide(error_function.erfc),
    "normal_cdf": error_function.normal_cdf,
    "sin": _wide(trigonometric.sin),
    "cos": _wide(trigonometric.cos),
    "tan": _wide(trigonometric.tan),
    "asin": _wide(trigonometric.asin),
    "acos": _wide(trigonometric.acos),
    "atan": _wide(trigonometric.atan),
    "atan2": _wide(trigonometric.atan2),
    "sinh": _wide(hyperbolic.sinh),
    "cosh": _wide(hyperbolic.cosh),
    "asinh": _wide(hyperbolic.asinh),
    "acosh": _wide(hyperbolic.acosh),
    "atanh": _wide(hyperbolic.atanh),
    "erfinv": _wide(special.erfinv),
    "digamma": _wide(special.digamma),
    "pow": _wide(power.pow),
    "fmod": _wide(power.fmod),
}


# Functions of OpenCL's own, for devices that cannot compute in float64 between float32 numbers.
OPENCL = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "asinh",
        "acosh",
        "atanh",
        "erfc",
        "lgamma",
        "atan2",
        "pow",
        "fmod",
    ]
)


def emit(e: Emitter, target: Target, name: str, x: Operand, *more: Operand) -> Operand | None:
    """Write function ``name`` of ``x`` (and ``more``, of the same type); ``None`` if there is no vector form of it."""
    without_library = not target.vector_bits
    if not target.has_f64:
        if name in OPENCL:
            return by_lanes(e, f"_Z{len(name)}{name}{'f' * len(more)}", x, *more)
        function = {"erfinv": special.erfinv, "digamma": special.digamma}.get(name) or FUNCTIONS.get(name)
    else:
        function = FUNCTIONS.get(name) or (_wide(alone.lgamma) if without_library and name == "lgamma" else None)
    if function is None:
        return None
    element = element_of(x.type)
    m = Mathematics(e, target.has_fma, element, element, without_library, target.name == "avx512")
    return function(m, *(Lanes(m, operand) for operand in (x, *more))).v
