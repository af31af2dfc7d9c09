"""The vector mathematics against numbers of more digits, over the whole range of float32 and float64."""

from __future__ import annotations

import ctypes
import functools
import sys

import mpmath
import numpy as np
import pytest

from luchina.compiler import ir, llvm, vecmath
from luchina.compiler.target import TARGETS, Target, _processor_flags, _supports, host, on_system

LIMITS = {"float32": 2.0, "float64": 4.0}
ELEMENT = {"float32": "float", "float64": "double"}
BINARY = ("pow", "atan2", "fmod")
UNARY = sorted(set(vecmath.FUNCTIONS) - {*BINARY, "erfinv", "digamma", "normal_cdf"})
ROWS = [row.name for row in TARGETS.values() if row.arch == host().arch and _supports(row, _processor_flags())]
NUMPY = {name: "arc" + name[1:] for name in ["asin", "acos", "atan", "asinh", "acosh", "atanh"]}
COUNT = 6000

# Where a function has its hard points, beside random bits and numbers of every size: (float32's, float64's) interval.
DENSE = {
    "exp": ((-110, 90), (-750, 711)),
    "exp2": ((-152, 129), (-1080, 1025)),
    "expm1": ((-20, 90), (-40, 711)),
    "tanh": ((-10, 10), (-22, 22)),
    "sigmoid": ((-105, 20), (-750, 40)),
    "sinh": ((-90, 90), (-711, 711)),
    "cosh": ((-90, 90), (-711, 711)),
    "log": ((0.3, 3), (0.3, 3)),
    "log2": ((0.3, 3), (0.3, 3)),
    "log10": ((0.3, 3), (0.3, 3)),
    "log1p": ((-1, 3), (-1, 3)),
    "asin": ((-1, 1), (-1, 1)),
    "acos": ((-1, 1), (-1, 1)),
    "atanh": ((-1, 1), (-1, 1)),
    "acosh": ((1, 3), (1, 3)),
    "erf": ((-4.2, 4.2), (-6.2, 6.2)),
    "erfc": ((-5, 11), (-6, 28)),
    "sin": ((-1e4, 1e4), (-1e6, 1e6)),
    "cos": ((-1e4, 1e4), (-1e6, 1e6)),
    "tan": ((-1e4, 1e4), (-1e6, 1e6)),
}

if np.finfo(np.longdouble).nmant < 63:
    pytest.skip("needs a longdouble of 64 bits for reference", allow_module_level=True)


@functools.cache
def compiled(name: str, element: str, lanes: int, arguments: int, row: Target) -> tuple[object, object]:
    """A native function over arrays whose length is a multiple of ``lanes``."""
    e = ir.Emitter()
    table = ir.Operand("ptr", "%table")
    size = 4 if element == "float" else 8
    *sources, to = [e.load("ptr", e.gep("ptr", table, i), 8) for i in range(arguments + 1)]
    with e.loop(ir.Operand("i64", "%lo"), ir.Operand("i64", "%hi"), lanes) as loop:
        xs = [e.load(ir.vector(element, lanes), e.gep(element, p, loop.index), size) for p in sources]
        y = vecmath.emit(e, row, name, *xs)
        assert y is not None and y.type == xs[0].type
        e.store(y, e.gep(element, to, loop.index), size)
    symbol = f"test_{name}_{element}_{lanes}_{row.name}"
    data = llvm.compiler(row).object_code(ir.module([e.function(symbol)], e.declarations, row.triple))
    library, addresses = llvm.load_object(row, f"{__name__}.{symbol}", data, [symbol])
    return library, ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2, ctypes.c_void_p)(
        addresses[symbol]
    )


def evaluate(name: str, *xs: np.ndarray, row: str = "", lanes: int = 0) -> np.ndarray:
    """The function over arrays, as the machine ``row`` (this one) computes it."""
    target = on_system(TARGETS[row], sys.platform) if row else host()
    dtype = str(xs[0].dtype)
    lanes = lanes or target.lanes(dtype)
    length = -(-len(xs[0]) // lanes) * lanes
    padded = [np.concatenate([x, np.ones(length - len(x), x.dtype)]) for x in xs]
    result = np.empty(length, xs[0].dtype)
    _, function = compiled(name, ELEMENT[dtype], lanes, len(xs), target)
    pointers = (ctypes.c_void_p * (len(xs) + 1))(*[a.ctypes.data for a in (*padded, result)])
    function(ctypes.addressof(pointers), None, 0, length, None)
    return result[: len(xs[0])]


def specials(dtype: str) -> list[float]:
    info = np.finfo(dtype)
    extremes = [float(info.max), float(info.tiny), float(info.smallest_subnormal), np.inf, 1.0, 0.5, 0.0]
    return [*extremes, *(-v for v in extremes), np.nan, 2.0, 10.0, 100.0, 1000.0, 88.72, -87.34, -103.9, 709.78, -745.1]


@functools.cache
def arguments(name: str, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    integer = np.dtype("int32" if dtype == "float32" else "int64")
    bits = rng.integers(np.iinfo(integer).min, np.iinfo(integer).max, COUNT, integer, endpoint=True).view(dtype)
    low, high = DENSE.get(name, ((-10, 10), (-10, 10)))[dtype == "float64"]
    dense = rng.uniform(low, high, COUNT)
    sizes = np.exp2(rng.uniform(-30, 5, COUNT)) * rng.choice([-1, 1], COUNT)
    near_one = 1 + rng.uniform(-1, 1, COUNT) * np.exp2(rng.uniform(-50, 0, COUNT))
    quarters = np.arange(-2000, 2000) * (np.pi / 4)
    parts = [specials(dtype), bits, dense, sizes, near_one, -near_one, quarters]
    if name in ("erf", "erfc"):  # mpmath is slow
        parts = [part[:400] for part in parts]
    return np.concatenate([np.asarray(part, dtype) for part in parts])


def _by_mpmath(f: object, x: np.ndarray, above: float, limit_below: float, limit_above: float) -> np.ndarray:
    """Values of a function that is constant beyond ±above."""

    def one(v: float) -> np.longdouble:
        if np.isnan(v) or abs(v) > above:
            return np.longdouble(np.nan if np.isnan(v) else limit_above if v > 0 else limit_below)
        if v == 0:
            return np.longdouble(v if limit_above == 1 else 1)
        return np.longdouble(mpmath.nstr(f(mpmath.mpf(v)), 25))  # type: ignore[operator]

    return np.array([one(float(v)) for v in x], np.longdouble)


@functools.cache
def expected(name: str, dtype: str) -> np.ndarray:
    given = arguments(name, dtype)
    with np.errstate(all="ignore"), mpmath.workdps(40):
        x = given.astype(np.longdouble)
        if name == "sigmoid":
            z = np.exp(-np.abs(x))
            return np.where(x < 0, z, 1 + 0 * z) / (1 + z)
        if name == "erf":
            return _by_mpmath(mpmath.erf, given, 30, -1, 1)
        if name == "erfc":
            return _by_mpmath(mpmath.erfc, given, 30, 2, 0)
        return getattr(np, NUMPY.get(name, name))(x)


def units(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Error in units of the last place of the rounded exact value; infinite where sign, NaN or infinity differ."""
    with np.errstate(all="ignore"):
        nearest = want.astype(got.dtype)
        largest = np.finfo(got.dtype).max
        finite = np.isfinite(got) & np.isfinite(nearest)
        error = np.abs(got.astype(np.longdouble) - want) / np.spacing(np.abs(np.where(finite, nearest, 1)))
        alike = (got == nearest) & (np.signbit(got) == np.signbit(nearest)) | np.isnan(got) & np.isnan(nearest)
        # The largest number beside infinity is one step away.
        one = np.isinf(got) & (nearest == np.copysign(largest, got)) | np.isinf(nearest) & (
            got == np.copysign(largest, nearest)
        )
        zeros = (got == 0) & (nearest == 0)
        return np.where(finite & ~(zeros & ~alike), error, np.where(alike, 0, np.where(one, 1, np.inf))).astype(float)


def assert_within(limit: float, got: np.ndarray, want: np.ndarray, *xs: np.ndarray) -> None:
    error = units(got, want)
    worst = int(np.argmax(error))
    at = ", ".join(repr(x[worst]) for x in xs)
    assert error[worst] <= limit, f"{error[worst]:.2f} units at {at}: {got[worst]!r}, not {want[worst]!r}"


def test_errors_are_measured():
    """The measure itself: one step is one unit, and wrong signs, NaN and infinities are not forgiven."""
    want = np.array([1.0, 0.0, np.inf, np.nan, 1.0], np.longdouble)
    got = np.array([np.nextafter(np.float32(1), np.float32(2)), -0.0, 3.0, 1.0, np.nan], np.float32)
    assert units(got, want).tolist() == [1.0, np.inf, np.inf, np.inf, np.inf]


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_argument(name, dtype, row):
    x = arguments(name, dtype)
    assert_within(LIMITS[dtype], evaluate(name, x, row=row), expected(name, dtype), x)


def _pairs(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    edges = [0.0, np.inf, 1.0, 0.5, 2.0, 3.0, 7.0, 1e30, 1e-40, 2.0**25 + 2]
    edges = [*edges, *(-v for v in edges), np.nan]
    a, b = np.meshgrid(edges, edges)
    bits = arguments("bits", dtype)
    normal = rng.normal(size=(2, COUNT))
    left, right = [a.ravel(), bits, normal[0]], [b.ravel(), rng.permutation(bits), normal[1]]
    if name == "pow":  # results of every size, bases near one too, and integers
        limit = 87 if dtype == "float32" else 708
        for base in (np.exp2(rng.uniform(-20, 20, COUNT)), 1 + rng.uniform(-1e-3, 1e-3, COUNT)):
            base = base.astype(dtype).astype(float)
            left.append(base)
            right.append(rng.uniform(-1, 1, COUNT) * limit / np.maximum(1e-30, np.abs(np.log(base))))
    left.append(rng.integers(-40, 40, COUNT))
    right.append(rng.integers(-20, 20, COUNT))
    left.append(rng.integers(-(2**24), 2**24, COUNT))
    right.append(rng.integers(-99, 99, COUNT))
    return np.concatenate(left).astype(dtype), np.concatenate(right).astype(dtype)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arguments(name, dtype, row):
    with np.errstate(all="ignore"):
        x, y = _pairs(name, dtype)
        reference = {"pow": np.power, "atan2": np.arctan2, "fmod": np.fmod}[name]
        want = reference(x.astype(np.longdouble), y.astype(np.longdouble))
    limit = 0.0 if name == "fmod" else 4.0 if name == "pow" else LIMITS[dtype]
    assert_within(limit, evaluate(name, x, y, row=row), want, x, y)


@pytest.mark.parametrize("name", ["log2", "log10", "log1p", "sigmoid", "erf", "tanh", "expm1", "exp"])
def test_float32_densely(name):
    """A hundred thousand adjacent numbers from each of some places where float32 errs most, against float64."""
    starts = [0.2, 0.31, 0.5, 0.62, 0.7, 0.88, 1.0, 1.32, 1.4142, 3.8, 17.0]
    x = np.concatenate([(np.float32(s).view(np.int32) + np.arange(40_000, dtype=np.int32)).view("f4") for s in starts])
    x = x if name.startswith("log") else np.concatenate([x, -x])
    wide = x.astype(np.float64)
    if name == "sigmoid":
        want = 1 / (1 + np.exp(-wide))
    else:  # erf in float64, whose own error is tested above
        want = evaluate("erf", wide) if name == "erf" else getattr(np, name)(wide)
    assert_within(2.0, evaluate(name, x), want.astype(np.longdouble), x)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype", LIMITS)
def test_normal_cdf(dtype, row):
    """What GELU takes: as exact as a number near 1 can be, and exactly 0 and 1 far out, as x·(1 + erf(x/√2))/2 is."""
    x = np.concatenate([np.linspace(-9, 9, 4001), [0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, np.inf, -np.inf]]).astype(
        dtype
    )
    with mpmath.workdps(40):
        want = np.array([float(mpmath.ncdf(mpmath.mpf(float(v)))) for v in x])
    got = evaluate("normal_cdf", x, row=row)
    assert np.abs(got - want).max() <= (2.0**-24 if dtype == "float32" else 2.0**-52)
    assert got[-4:].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert np.isnan(evaluate("normal_cdf", np.array([np.nan], dtype), row=row)).all()


def test_tanh_of_recurrent_cells(monkeypatch):
    """It has a formula of its own, without a branch."""
    from luchina.compiler.recurrence import cells

    monkeypatch.setitem(vecmath.FUNCTIONS, "cell_tanh", cells.tanh)
    x = np.exp2(np.random.default_rng(0).uniform(-20, 4, 400_000)).astype("f4")
    x = np.concatenate([x, -x, [0.0, -0.0, np.inf, -np.inf]]).astype("f4")
    assert_within(2.0, evaluate("cell_tanh", x), np.tanh(x.astype(np.longdouble)), x)


@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "log", "sin", "erfc", "pow"])
@pytest.mark.parametrize("dtype", LIMITS)
def test_the_number_of_lanes_does_not_matter(name, dtype):
    x = arguments("lanes", dtype)[:3000]
    xs = (x, x[::-1].copy()) if name == "pow" else (x,)
    want = evaluate(name, *xs)
    for lanes in (1, 3, 64):
        np.testing.assert_array_equal(evaluate(name, *xs, lanes=lanes), want)


def test_huge_angles_beside_small_ones():
    x = np.array([1e300, 0.5, -(2.0**40), np.inf, 3e15, -0.0, 2.0**30 + 1, np.nan] * 4)
    with np.errstate(invalid="ignore"):
        for name in ("sin", "cos", "tan"):
            assert_within(4.0, evaluate(name, x), getattr(np, name)(x.astype(np.longdouble)), x)


def test_what_is_not_there_is_left_to_the_library():
    assert vecmath.emit(ir.Emitter(), host(), "lgamma", ir.Operand("<8 x float>", "%x")) is None
