"""Whole programs against the numpy interpreter: every primitive, odd shapes, and random graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import reference

from luchina.compiler import build
from luchina.compiler import prims as P
from luchina.compiler.body import EXPENSIVE
from luchina.runtime import buffers

TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 2e-5, "float64": 1e-12}


GUARD = 512


class Guarded:
    """A buffer between two guards that nobody may write to."""

    def __init__(self, nbytes):
        self.block = buffers.allocate(nbytes + 2 * GUARD)
        self.ptr, self.nbytes = self.block.ptr + GUARD, nbytes
        self.bytes = buffers.memory(self.block)
        self.bytes[:GUARD] = self.bytes[GUARD + nbytes :] = b"\xa5" * GUARD

    def check(self):
        assert self.bytes[:GUARD] == self.bytes[GUARD + self.nbytes :] == b"\xa5" * GUARD, "written out of bounds"


def run(outputs, arrays, scalars=(), donated=()):
    """Outputs as arrays, and the executable; all memory that it touches lies between guards."""
    executable = build.compile(outputs, donated)
    held = [Guarded(np.asarray(a).nbytes) for a in arrays]
    for buffer, array in zip(held, arrays):
        buffer.bytes[GUARD : GUARD + buffer.nbytes] = np.ascontiguousarray(array).tobytes()

    def allocate(nbytes, spare=1.0):
        held.append(Guarded(nbytes))
        return held[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "allocate", allocate)
        results = executable.run(held, list(scalars))
    for buffer in held:
        buffer.check()
    return [np.array(buffers.as_numpy(r, n.dtype, n.shape)) for r, n in zip(results, outputs)], executable


def check(outputs, arrays, scalars=(), donated=()):
    """Run and compare; gives the executable."""
    got, executable = run(outputs, arrays, scalars, donated)
    want = reference.evaluate(outputs, [np.ascontiguousarray(a) for a in arrays], scalars)
    for node, a, b in zip(outputs, got, want):
        if node.dtype == "bfloat16":
            a, b = reference.from_bfloat16(a), reference.from_bfloat16(b)
        if node.dtype in P.FLOATS:
            tolerance = TOLERANCE[node.dtype]
            scale = np.max(np.abs(b[np.isfinite(b)]), initial=1e-30)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * min(scale, 1e3), err_msg=P.text(outputs))
        else:
            np.testing.assert_array_equal(a, b, err_msg=P.text(outputs))
    return executable


def data(shape, dtype="float32", seed=0):
    rng = np.random.default_rng([seed, *shape])
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in P.INTS:
        return rng.integers(0 if dtype == "uint8" else -9, 9, shape).astype(dtype)
    values = rng.standard_normal(shape)
    return reference.to_bfloat16(values) if dtype == "bfloat16" else values.astype(dtype)


# ---- one primitive at a time


@pytest.mark.parametrize("dtype", sorted(P.DTYPES))
def test_pointwise(dtype):
    """Every cheap pointwise primitive of a dtype in one program, on a length that leaves a tail."""
    kind = "f" if dtype in P.FLOATS else "i" if dtype in P.INTS else "b"
    a, b = P.input(0, (3, 53), dtype), P.input(1, (53,), dtype)
    outs = [P.unary(op, a) for op, kinds in P.UNARY.items() if kind in kinds and op not in EXPENSIVE]
    outs += [
        P.binary(op, a, b) for op, kinds in P.BINARY.items() if kind in kinds and op not in ("pow", "fmod", "atan2")
    ]
    outs += [P.binary(op, a, b) for op in sorted(P.COMPARE)]
    outs += [P.where(P.binary("lt", a, b), a, b)]
    if kind == "f":
        arrays = [data((3, 53), dtype), data((53,), dtype)]
        arrays[0][0, :4] = reference.store(np.array([np.nan, np.inf, -np.inf, -0.0]), dtype)
    else:
        arrays = [data((3, 53), dtype), data((53,), dtype)]
    check(outs, arrays)


@pytest.mark.parametrize("dtype", sorted(P.DTYPES))
def test_cast(dtype):
    x = P.input(0, (41,), dtype)
    values = data((41,), dtype)
    if dtype in P.FLOATS:
        values = reference.store(np.abs(reference.load(values, dtype)) * 9, dtype)
    check([P.cast(x, other) for other in sorted(P.DTYPES)], [values])


def test_integer_division_never_traps():
    a, b = P.input(0, (6,), "int32"), P.input(1, (6,), "int32")
    least = np.iinfo(np.int32).min
    x = np.array([7, -7, least, 5, -5, least], np.int32)
    y = np.array([0, 2, -1, -2, 0, 0], np.int32)
    check([P.binary("idiv", a, b), P.binary("irem", a, b)], [x, y])


def test_nan_wins_maximum_and_relu():
    x = P.input(0, (5,), "float32")
    zero = P.const(0.0, "float32")
    values = np.array([np.nan, -1, 2, -np.inf, np.inf], np.float32)
    check([P.binary("maximum", x, zero), P.binary("minimum", zero, x), P.reduce("max", x, (0,))], [values])


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_reduce(axes, dtype):
    x = P.input(0, (5, 37, 19), dtype)
    ops = ["sum", "max", "min"]
    check([P.reduce(op, x, axes) for op in ops], [data((5, 37, 19), dtype)])


def test_reduce_bool_and_product():
    x, y = P.input(0, (4, 9), "bool"), P.input(1, (4, 9), "float64")
    outs = [P.reduce(op, x, (1,)) for op in ("max", "min")] + [P.reduce("prod", y, (0,))]
    check(outs, [data((4, 9), "bool"), data((4, 9), "float64")])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
def test_argreduce(axis, dtype):
    x = P.input(0, (23, 45), dtype)
    values = data((23, 45), dtype)
    if dtype == "float32":
        values = np.round(values * 2)
        values[3, 5] = values[7, 5] = values[3, 30] = np.nan
        values[4] = -np.inf
        values[:, 4] = np.inf
    check([P.argreduce("argmax", x, axis), P.argreduce("argmin", x, axis)], [values])


def test_long_sums_are_accurate():
    """Better than adding in order: a million equal numbers, where float32 would drift."""
    x = P.input(0, (1 << 20,), "float32")
    (got,), _ = run([P.reduce("sum", x, (0,))], [np.full(1 << 20, 0.1, np.float32)])
    assert abs(got / (np.float64(np.float32(0.1)) * (1 << 20)) - 1) < 5e-7
    y = P.input(0, (1 << 16, 3), "float32")
    (got,), _ = run([P.reduce("sum", y, (0,))], [np.full((1 << 16, 3), 0.1, np.float32)])
    assert np.all(np.abs(got / (np.float64(np.float32(0.1)) * (1 << 16)) - 1) < 5e-7)


def test_movement_chain_is_one_kernel():
    x = P.input(0, (6, 4, 5), "float32")
    y = P.permute(P.reshape(P.slice(x, (5, 0, 1), (3, 4, 4), (-2, 1, 1)), (12, 4)), (1, 0))
    y = P.binary("add", P.expand(P.reshape(y, (4, 1, 12)), (4, 7, 12)), P.const(1.0, "float32"))
    assert len(check([y], [data((6, 4, 5))]).kernels) == 1


def test_reshape_that_is_not_a_view():
    x = P.input(0, (4, 6), "float32")
    y = P.binary("add", x, x)
    check([P.reshape(P.permute(y, (1, 0)), (8, 3)), P.reshape(P.permute(x, (1, 0)), (3, 8))], [data((4, 6))])


def test_elements_of_a_padded_number_that_is_in_memory():
    one = P.const(1, "float32")
    padded = P.pad(P.reshape(one, (1,)), (0,), (2,))
    first, last = (P.slice(padded, (i,), (1,), (1,)) for i in (0, 2))
    both = P.binary("add", P.binary("mul", first, P.input(0, (1,), "float32")), last)
    check([P.concat([both, P.input(0, (1,), "float32")], 0), one], [np.array([3], "float32")])


def test_pad():
    x = P.input(0, (5, 7), "float32")
    y = P.binary("mul", x, P.const(2.0, "float32"))
    outs = [
        P.pad(x, (1, 2), (0, 3)),
        P.pad(y, (0, 20), (2, 17), 3.5),
        P.pad(P.permute(x, (1, 0)), (2, 2), (1, 1), -1.0),
        P.pad(P.pad(x, (1, 1), (1, 1), 1.0), (2, 0), (0, 2), 2.0),
        P.pad(P.input(1, (0, 3), "int32"), (1, 1), (1, 0), 4),
        P.slice(P.pad(x, (3, 3), (3, 3), 9.0), (10, 12), (11, 7), (-1, -2)),
    ]
    check(outs, [data((5, 7)), data((0, 3), "int32")])


def test_concat_and_update():
    x, y = P.input(0, (4, 6), "float32"), P.input(1, (2, 6), "float32")
    both = P.concat([x, P.binary("add", y, y), P.slice(x, (0, 0), (0, 6), (1, 1))], 0)
    wide = P.concat([x, P.permute(P.reshape(x, (6, 4)), (1, 0))], 1)
    changed = P.update(x, P.slice(y, (0, 0), (2, 3), (1, 1)), (6, 2), 7)
    twice = P.update(changed, P.const(5.0, "float32", (3,)), (-1,), 20)
    check([both, wide, twice, P.reduce("sum", changed, (0,))], [data((4, 6)), data((2, 6))])


def test_strided_windows():
    x = P.input(0, (4, 6), "float32")
    outs = [
        P.strided(x, (5, 3), (4, 1), 2),
        P.reduce("sum", P.strided(P.binary("add", x, x), (20, 5), (1, 1), 0), (1,)),
    ]
    check(outs, [data((4, 6))])


@pytest.mark.parametrize("width", [1, 40])
def test_take(width):
    x, index = P.input(0, (11, width), "float32"), P.input(1, (30,), "int64")
    rows = P.take(x, index)
    numbers = np.random.default_rng(1).integers(0, 11, 30)
    check([P.binary("mul", rows, rows), P.reduce("sum", rows, (0,))], [data((11, width)), numbers])


def test_iota_and_scalars():
    x = P.binary("add", P.cast(P.iota(70), "float32"), P.scalar(0, "float32"))
    grid = P.binary("lt", P.reshape(P.iota(9), (9, 1)), P.iota(9))
    check([x, grid, P.scalar(1, "int32"), P.scalar(1, "float64")], [], [2.5, 7])


def test_odd_programs():
    """0-d, empty, constants, an input handed back, one node twice, eight axes."""
    zero_d, empty = P.input(0, (), "float32"), P.input(1, (0, 3), "float32")
    deep = P.input(2, (2, 1, 2, 1, 2, 3, 1, 2), "float32")
    outs = [
        zero_d,
        P.binary("add", zero_d, zero_d),
        empty,
        P.reduce("sum", empty, (0,)),
        P.reduce("prod", empty, (0,)),
        P.const(3, "int16", (2, 2)),
        P.const(float("nan"), "float32"),
        P.permute(deep, (7, 6, 5, 4, 3, 2, 1, 0)),
        P.reduce("sum", P.permute(deep, (7, 2, 5, 4, 3, 6, 1, 0)), (1, 3)),
        P.dot(P.input(3, (1, 2, 0), "float32"), P.input(4, (1, 0, 3), "float32")),
    ]
    outs += [outs[1], deep]
    arrays = [data(()), data((0, 3)), data((2, 1, 2, 1, 2, 3, 1, 2)), data((1, 2, 0)), data((1, 0, 3))]
    check(outs, arrays)


def test_new_extents_compile_nothing():
    from luchina.compiler import jit

    def program(n, m):
        x = P.input(0, (n, m), "float32")
        return [P.reduce("sum", P.binary("mul", x, x), (1,)), P.binary("add", x, P.const(1.0, "float32"))]

    check(program(30, 50), [data((30, 50))])
    before = jit.compiled + jit.loaded
    check(program(31, 77), [data((31, 77))])
    assert jit.compiled + jit.loaded == before


# ---- random graphs

KINDS = ["binary", "binary", "reduce", "reshape", "permute", "slice", "pad", "expand", "concat", "where", "update"]
KINDS += ["centre", "centre", "take", "argmax", "dot", "half", "same"]


@st.composite
def graphs(draw):
    """A small random graph over two inputs, with shapes from few extents so that operations meet."""
    extents = st.sampled_from([1, 2, 3, 17])
    shape = tuple(draw(st.lists(extents, min_size=1, max_size=3)))
    dtype = draw(st.sampled_from(["float32", "float32", "int32"]))
    nodes = [P.input(0, shape, dtype), P.input(1, shape, dtype)]
    for _ in range(draw(st.integers(1, 9))):
        x = draw(st.sampled_from(nodes))
        kind = draw(st.sampled_from(KINDS))
        rank = len(x.shape)
        if kind == "binary":
            same = [n for n in nodes if n.shape == x.shape]
            x = P.binary(draw(st.sampled_from(["add", "sub", "maximum", "mul"])), x, draw(st.sampled_from(same)))
        elif kind == "reduce" and rank:
            axes = draw(st.sets(st.integers(0, rank - 1), min_size=1))
            x = P.reduce(draw(st.sampled_from(["sum", "max"])), x, tuple(axes))
        elif kind == "reshape":
            x = P.reshape(x, (x.size,)) if draw(st.booleans()) else P.reshape(x, (1, *x.shape, 1))
            if x.size % 2 == 0 and draw(st.booleans()):
                x = P.reshape(x, (2, x.size // 2))
        elif kind == "permute":
            x = P.permute(x, draw(st.permutations(range(rank))))
        elif kind == "slice":
            steps = [draw(st.sampled_from([1, 1, 2, -1])) for _ in x.shape]
            starts = [0 if s > 0 else n - 1 for n, s in zip(x.shape, steps)]
            x = P.slice(x, starts, [-(-n // abs(s)) for n, s in zip(x.shape, steps)], steps)
        elif kind == "pad" and x.size < 2000:
            low = [draw(st.integers(0, 2)) for _ in x.shape]
            x = P.pad(x, low, [draw(st.integers(0, 2)) for _ in x.shape], draw(st.sampled_from([0, 1])))
        elif kind == "expand" and x.size < 2000:
            x = P.expand(x, (3, *(4 if n == 1 else n for n in x.shape)))
        elif kind == "concat" and rank and x.size < 2000:
            x = P.concat([x, x], draw(st.integers(0, rank - 1)))
        elif kind == "where":
            x = P.where(P.binary("lt", x, P.const(1, dtype)), x, P.const(2, dtype))
        elif kind == "centre" and rank:
            axis = draw(st.integers(0, rank - 1))
            kept = tuple(1 if a == axis else n for a, n in enumerate(x.shape))
            x = P.binary("sub", x, P.reshape(P.reduce("max", x, (axis,)), kept))
        elif kind == "take" and x.size < 2000:
            rows = P.reshape(x, (x.shape[0] if rank else 1, x.size // (x.shape[0] if rank else 1)))
            count = rows.shape[0]
            x = P.take(rows, P.binary("irem", P.iota(count + 2), P.const(count, "int64")))
        elif kind == "argmax" and rank:
            x = P.cast(P.argreduce("argmax", x, draw(st.integers(0, rank - 1))), dtype)
        elif kind == "dot" and rank == 2 and x.size < 400:
            x = P.dot(P.reshape(x, (1, *x.shape)), P.reshape(P.permute(x, (1, 0)), (1, *x.shape[::-1])))
            x = P.binary("minimum", x, P.const(50, dtype))
        elif kind == "half" and dtype == "float32":
            x = P.cast(P.cast(x, "bfloat16"), dtype)
        elif kind == "same":
            same = [n for n in nodes if n.size == x.size]
            x = P.binary("maximum", x, P.reshape(draw(st.sampled_from(same)), x.shape))
        elif kind == "update" and x.size > 2:
            x = P.update(x, P.const(3, dtype, (x.size // 2,)), (2,), 0)
        nodes.append(x)
    outputs = draw(st.lists(st.sampled_from(nodes[2:]), min_size=1, max_size=3))
    return shape, dtype, [*outputs, nodes[-1]], draw(st.sets(st.integers(0, 1)))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(graphs())
def test_random_graphs(case):
    shape, dtype, outputs, donated = case
    check(outputs, [data(shape, dtype, 1), data(shape, dtype, 2)], donated=donated)


# ---- memory


def test_donated_input_is_written_over():
    p, g = P.input(0, (300,), "float32"), P.input(1, (300,), "float32")
    outs = [P.binary("sub", p, P.binary("mul", g, P.const(0.5, "float32")))]
    check(outs, [data((300,)), data((300,), seed=1)], donated=[0])
    executable = build.compile(outs, [0])
    held = [buffers.from_bytes(data((300,)).tobytes()) for _ in range(2)]
    (result,) = executable.run(held)
    assert result is held[0]
    (result,) = build.compile(outs).run(held)
    assert result is not held[0] and result is not held[1]


def test_donated_input_that_is_read_elsewhere_is_left_alone():
    """Reversed reading, or another reader later: writing in place would be wrong."""
    p = P.input(0, (300,), "float32")
    turned = P.binary("add", p, P.slice(p, (299,), (300,), (-1,)))
    later = P.reduce("sum", P.binary("mul", P.reshape(p, (3, 100)), P.reshape(turned, (3, 100))), (0,))
    check([turned, later], [data((300,))], donated=[0])


def test_update_of_a_donated_input_copies_nothing():
    cache, row = P.input(0, (50, 8), "float32"), P.input(1, (1, 8), "float32")
    outs = [P.update(cache, row, (8, 1), 24)]
    executable = check(outs, [data((50, 8)), data((1, 8))], donated=[0])
    assert len(executable.kernels) == 1
    check([outs[0], cache], [data((50, 8)), data((1, 8))], donated=[0])
    # The source is read from what the region overwrites.
    shifted = P.update(cache, P.slice(cache, (0, 0), (49, 8), (1, 1)), (8, 1), 8)
    check([shifted], [data((50, 8))], donated=[0])


def test_softmax_in_place():
    x = P.input(0, (20, 70), "float32")
    check([softmax(x)], [data((20, 70))], donated=[0])


# ---- fusion


def softmax(x):
    rows = (x.shape[0], 1)
    e = P.unary("exp", P.binary("sub", x, P.reshape(P.reduce("max", x, (1,)), rows)))
    return P.binary("div", e, P.reshape(P.reduce("sum", e, (1,)), rows))


@pytest.mark.parametrize("shape", [(20, 70), (1, 5), (300, 3)])
def test_softmax_is_one_kernel(shape):
    assert len(check([softmax(P.input(0, shape, "float32"))], [data(shape)]).kernels) == 1


def test_layer_norm_after_a_residual_is_one_kernel():
    n, c = 37, 130
    x = P.binary("add", P.input(0, (n, c), "float32"), P.input(1, (n, c), "float32"))
    scale = P.const(1 / c, "float32")
    mean = P.binary("mul", P.reduce("sum", x, (1,)), scale)
    d = P.binary("sub", x, P.reshape(mean, (n, 1)))
    var = P.binary("mul", P.reduce("sum", P.binary("mul", d, d), (1,)), scale)
    y = P.binary("mul", d, P.reshape(P.unary("rsqrt", var), (n, 1)))
    assert len(check([y, x, mean], [data((n, c)), data((n, c), seed=1)]).kernels) == 1


def test_adam_is_one_kernel_of_three_outputs():
    p, g, m, v = (P.input(i, (100, 30), "float32") for i in range(4))
    half = P.const(0.5, "float32")
    m2 = P.binary("add", P.binary("mul", m, half), P.binary("mul", g, half))
    v2 = P.binary("add", P.binary("mul", v, half), P.binary("mul", P.binary("mul", g, g), half))
    p2 = P.binary("sub", p, P.binary("mul", P.scalar(0, "float32"), P.binary("div", m2, P.unary("sqrt", v2))))
    arrays = [data((100, 30), seed=i) for i in range(4)]
    arrays[3] = np.abs(arrays[3])
    assert len(check([p2, m2, v2], arrays, [0.1], donated=[0, 2, 3]).kernels) == 1


def test_linear_and_relu_are_one_kernel():
    x, w, b = P.input(0, (40, 20), "float32"), P.input(1, (16, 20), "float32"), P.input(2, (16,), "float32")
    y = P.dot(P.reshape(x, (1, 40, 20)), P.reshape(P.permute(w, (1, 0)), (1, 20, 16)))
    y = P.binary("maximum", P.binary("add", P.reshape(y, (40, 16)), b), P.const(0.0, "float32"))
    assert len(check([y], [data((40, 20)), data((16, 20)), data((16,))]).kernels) == 1


def test_a_linear_layer_of_a_batch_is_one_kernel_with_what_follows():
    x, w, b = P.input(0, (3, 40, 20), "float32"), P.input(1, (16, 20), "float32"), P.input(2, (16,), "float32")
    skip = P.input(3, (3, 40, 16), "float32")
    flat = P.dot(P.reshape(x, (1, 120, 20)), P.permute(P.reshape(w, (1, 16, 20)), (0, 2, 1)))
    y = P.reshape(P.binary("add", flat, b), (3, 40, 16))
    arrays = [data((3, 40, 20)), data((16, 20)), data((16,)), data((3, 40, 16))]
    activated = P.binary("mul", P.unary("erf", y), P.binary("add", y, skip))
    assert len(check([activated], arrays).kernels) == 1
    assert len(check([y, activated], arrays).kernels) == 1
    # An operand that is laid out otherwise than the product cannot be part of it, and is right all the same.
    turned = P.permute(P.input(3, (40, 3, 16), "float32"), (1, 0, 2))
    check([P.binary("add", y, turned)], [*arrays[:3], data((40, 3, 16))])


@pytest.mark.parametrize("shape", [(1, 1, 100, 70), (1, 90, 1, 64), (3, 1, 50, 33), (2, 1, 1, 5000)])
@pytest.mark.parametrize("turned", [False, True])
def test_matrix_by_vector(shape, turned):
    batch, m, n, k = shape
    a = P.input(0, (batch, m, k), "float32")
    b = P.input(1, (batch, n, k) if turned else (batch, k, n), "float32")
    bias = P.input(2, (n,), "float32")
    product = P.dot(a, P.permute(b, (0, 2, 1)) if turned else b)
    y = P.binary("maximum", P.binary("add", product, bias), P.const(0.0, "float32"))
    assert len(check([y], [data(a.shape), data(b.shape), data((n,))]).kernels) == 1


def test_numbers_of_an_epilogue_are_computed_once():
    a, b = P.input(0, (1, 50, 30), "float32"), P.input(1, (1, 30, 40), "float32")
    old = P.input(2, (1, 50, 40), "float32")
    rate, decay = (P.cast(P.scalar(i, "float64"), "float32") for i in range(2))
    kept = P.binary("add", P.binary("mul", old, decay), P.binary("mul", P.dot(a, b), P.binary("sub", rate, decay)))
    arrays = [data((1, 50, 30)), data((1, 30, 40)), data((1, 50, 40))]
    executable = check([kept, P.unary("sqrt", P.unary("abs", kept))], arrays, [0.3, 0.9])
    assert len(executable.kernels) == 1
    assert executable.kernels[0].ir().count("fptrunc") == 2


# ---- threads


def test_same_bits_for_any_number_of_threads():
    from luchina.runtime import threads

    x = P.input(0, (700, 900), "float32")
    outs = [P.reduce("sum", x, (0, 1)), P.reduce("sum", x, (0,)), P.reduce("sum", x, (1,)), softmax(x)]
    array = data((700, 900))
    before = threads.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            results.append([a.tobytes() for a in run(outs, [array])[0]])
    finally:
        threads.set_num_threads(before)
    assert results[0] == results[1] == results[2]


# ---- tables


@pytest.mark.parametrize("mode", ["add", "set", "max"])
def test_scatter(mode):
    base, source = P.input(0, (7, 5), "float32"), P.input(1, (12, 5), "float32")
    index = P.input(2, (12,), "int64")
    numbers = np.random.default_rng(3).integers(0, 7, 12)
    out = P.scatter(base, index, P.binary("mul", source, source), mode)
    outs = [
        out,
        P.concat([P.reshape(out, (5, 7)), P.scatter(P.permute(P.reshape(base, (5, 7)), (0, 1)), *_same(index))], 1),
    ]
    check(outs, [data((7, 5)), data((12, 5)), numbers])


def _same(index):
    """An index and a source for a table of five rows."""
    return P.binary("irem", index, P.const(5, "int64")), P.const(1.0, "float32", (12, 7))


def test_scan_and_argsort():
    x = P.input(0, (6, 40), "float32")
    turned = P.permute(x, (1, 0))
    outs = [P.Node("scan", (turned,), turned.shape, "float32", ("sum",)), P.scan("max", P.binary("add", x, x))]
    outs += [P.argsort(turned), P.argsort(x, descending=True), P.cast(P.argsort(P.unary("neg", x)), "float32")]
    check(outs, [np.round(data((6, 40)))])


# ---- contractions


def test_bias_and_relu_of_a_convolution_are_no_kernels_of_their_own():
    x, w, b = P.input(0, (2, 3, 9, 8), "float32"), P.input(1, (5, 3, 3, 3), "float32"), P.input(2, (5,), "float32")
    geometry = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    product = P.conv2d(x, w, *geometry)
    y = P.binary("maximum", P.binary("add", product, P.reshape(b, (5, 1, 1))), P.const(0.0, "float32"))
    arrays = [data((2, 3, 9, 8)), data((5, 3, 3, 3)), data((5,))]
    assert len(check([y], arrays).kernels) == len(check([product], arrays[:2]).kernels)
    g = P.input(2, (2, 5, 9, 8), "float32")
    arrays[2] = data((2, 5, 9, 8))
    check([P.conv2d_input(g, w, (9, 8), *geometry), P.conv2d_weight(x, g, (3, 3), *geometry)], arrays)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "int32", "uint8"])
def test_dot_of_a_dtype(dtype):
    a, b = P.input(0, (2, 9, 17), dtype), P.input(1, (2, 17, 5), dtype)
    check([P.binary("add", P.dot(a, b), P.const(2, dtype))], [data((2, 9, 17), dtype), data((2, 17, 5), dtype)])


def test_dot_reads_views():
    x = P.input(0, (3, 4, 2, 5), "float32")
    q = P.reshape(P.permute(x, (0, 2, 1, 3)), (6, 4, 5))
    k = P.permute(P.slice(q, (0, 3, 0), (6, 4, 5), (1, -1, 1)), (0, 2, 1))
    assert len(check([P.dot(q, k)], [data((3, 4, 2, 5))]).kernels) <= 2


def test_argmax_over_a_flattened_window():
    x = P.input(0, (3, 4, 8), "float32")
    window = P.slice(x, (0, 1, 2), (3, 2, 3), (1, 1, 2))
    outs = [P.argreduce(op, P.reshape(window, (3, 6)), 1) for op in ("argmax", "argmin")]
    check([*outs, P.argreduce("argmax", P.reshape(P.permute(x, (2, 0, 1)), (8, 12)), 1)], [data((3, 4, 8))])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_every_other_element(dtype):
    """Read and written at stride two, over whole vectors and a rest; nothing in between is touched."""
    x, y = P.input(0, (4, 301), dtype), P.input(1, (600,), dtype)
    even = P.slice(x, (0, 0), (4, 151), (1, 2))
    odd = P.slice(x, (0, 299), (4, 150), (1, -2))
    spread = P.update(P.reshape(x, (1204,)), y, (2,), 1)
    check([P.binary("add", even, even), odd, spread], [data((4, 301), dtype), data((600,), dtype)])


@pytest.mark.parametrize("shape", [(37, 53, 300), (130, 70, 9), (1, 17, 4000), (300, 10, 33)])
def test_weight_update_in_the_epilogue_happens_once(shape):
    """A donated weight is written over by the very product that its update needs."""
    m, n, k = shape
    p, a, b = P.input(0, (m, n), "float64"), P.input(1, (1, m, k), "float64"), P.input(2, (1, k, n), "float64")
    step = P.binary("mul", P.reshape(P.dot(a, b), (m, n)), P.const(0.5, "float64"))
    arrays = [data((m, n), "float64"), data((1, m, k), "float64"), data((1, k, n), "float64")]
    check([P.binary("sub", p, step)], arrays, donated=[0])


def test_a_repeated_condition():
    """One bit for all lanes: a form on which LLVM's instruction selection did not end."""
    x, y = P.input(0, (5, 200), "bool"), P.input(1, (5, 1), "bool")
    check([P.binary("xor", x, P.expand(y, (5, 200)))], [data((5, 200), "bool"), data((5, 1), "bool")])
