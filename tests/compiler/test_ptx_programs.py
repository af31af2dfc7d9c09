"""The compiler's programs as PTX against the interpreter: on a card where there is one, else on the machine of
``tests/runtime/ptx_machine.py``."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from tests import reference
from tests.compiler import test_build as programs

# The programs of the CPU's tests that say nothing about the CPU: imported as tests of this file.
from tests.compiler.test_build import (  # noqa: F401
    test_a_repeated_condition,
    test_adam_is_one_kernel_of_three_outputs,
    test_argmax_over_a_flattened_window,
    test_argreduce,
    test_cast,
    test_concat_and_update,
    test_donated_input_that_is_read_elsewhere_is_left_alone,
    test_dot_of_a_dtype,
    test_every_other_element,
    test_integer_division_never_traps,
    test_iota_and_scalars,
    test_layer_norm_after_a_residual_is_one_kernel,
    test_long_sums_are_accurate,
    test_movement_chain_is_one_kernel,
    test_nan_wins_maximum_and_relu,
    test_odd_programs,
    test_pad,
    test_pointwise,
    test_random_graphs,
    test_reduce,
    test_reduce_bool_and_product,
    test_reshape_that_is_not_a_view,
    test_scan_and_argsort,
    test_scatter,
    test_softmax_in_place,
    test_softmax_is_one_kernel,
    test_strided_windows,
    test_take,
)
from tests.runtime.fake_cuda import Driver, has_card, installed

from luchina.compiler import allowed, expansion
from luchina.compiler import prims as P
from luchina.compiler.device import compile_for
from luchina.compiler.targets import groups, product, product_kernel, ptx, singles
from luchina.runtime import cuda


@pytest.fixture(autouse=True, scope="module")
def on_the_device():
    """The programs' ``check`` runs here."""

    def run(outputs, arrays, scalars=(), donated=()):
        device = cuda.device()
        executable = compile_for(device, outputs, donated)
        held = [device.upload(np.ascontiguousarray(a).tobytes()) for a in arrays]
        results = executable.run(held, list(scalars))
        got = []
        for buffer, node in zip(results, outputs):
            data = device.download(buffer)
            got.append(np.frombuffer(data, reference.STORAGE[node.dtype])[: node.size].reshape(node.shape))
        return got, executable

    with pytest.MonkeyPatch.context() as patch, nullcontext() if has_card() else installed(Driver()):
        patch.setattr(programs, "run", run)
        yield


MATH = sorted(op for op in P.UNARY if op in programs.EXPENSIVE and "f" in P.UNARY[op])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("op", MATH)
def test_mathematics(op, dtype):
    x = P.input(0, (3, 41), dtype)
    values = programs.data((3, 41), dtype)
    values = np.clip(np.abs(values) / 4 + 0.05, 0, 0.9).astype(dtype) + (op == "acosh") * np.ones((), dtype)
    programs.check([P.unary(op, x)], [values])


@pytest.mark.parametrize("geometry", [((1, 1), ((1, 1), (1, 1)), (1, 1), 1), ((2, 1), ((0, 1), (2, 2)), (1, 2), 2)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_convolution_and_its_transposes(geometry, dtype):
    groups = geometry[3]
    x, w = P.input(0, (2, 4, 9, 8), dtype), P.input(1, (6, 4 // groups, 3, 3), dtype)
    y = P.conv2d(x, w, *geometry)
    g = P.input(2, y.shape, dtype)
    outs = [y, P.conv2d_input(g, w, (9, 8), *geometry), P.conv2d_weight(x, g, (3, 3), *geometry)]
    programs.check(outs, [programs.data(n.shape, dtype, seed=i) for i, n in enumerate((x, w, g))])


def layouts(dtype):
    """Products of operands that lie along either axis, of sizes that fit wide accesses and of sizes that do not."""
    for batch, m, k, n in ((1, 70, 96, 40), (2, 70, 90, 130), (1, 3, 7, 5)):
        for turned in range(4):
            a = P.input(0, (batch, k, m) if turned & 1 else (batch, m, k), dtype)
            b = P.input(1, (batch, n, k) if turned & 2 else (batch, k, n), dtype)
            left = P.permute(a, (0, 2, 1)) if turned & 1 else a
            right = P.permute(b, (0, 2, 1)) if turned & 2 else b
            yield P.dot(left, right), [programs.data(a.shape, dtype), programs.data(b.shape, dtype, 1)]


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int16"])
def test_products(capability, dtype):
    with installed(Driver((capability,))) as driver:
        for y, arrays in layouts(dtype):
            programs.check([y], arrays)
    engine = product.engine_for(ptx.TARGETS[capability], dtype)
    assert any(name.startswith("mma.") for name in driver.issued) == (engine == "mma")
    assert any(name.startswith("cp.async") for name in driver.issued) == (capability > (8,) and dtype != "int16")


def test_products_in_tf32_where_it_is_allowed(monkeypatch):
    monkeypatch.setattr(allowed, "tensor_float", True)
    monkeypatch.setitem(programs.TOLERANCE, "float32", 3e-3)
    with installed(Driver()) as driver:
        for y, arrays in layouts("float32"):
            programs.check([y], arrays)
    assert any(name.startswith("mma.sync.aligned.m16n8k8.row.col.f32.tf32") for name in driver.issued)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_large_tiles(monkeypatch, dtype):
    monkeypatch.setattr(product, "FEW", 1)
    a, b = P.input(0, (1, 140, 72), dtype), P.input(1, (1, 72, 136), dtype)
    executable = programs.check([P.dot(a, b)], [programs.data(a.shape, dtype), programs.data(b.shape, dtype, 1)])
    assert "m=128, n=128" in executable.kernels[0]._kernel.key


def test_epilogue():
    """Bias, activation and residual join the product; what is read is read once."""
    a, b, bias = P.input(0, (1, 50, 64), "float16"), P.input(1, (1, 64, 48), "float16"), P.input(2, (48,), "float16")
    residual = P.input(3, (50, 48), "float16")
    y = P.binary("add", P.dot(a, b), P.expand(P.reshape(bias, (1, 1, 48)), (1, 50, 48)))
    y = P.binary("add", P.unary("tanh", y), P.reshape(residual, (1, 50, 48)))
    arrays = [programs.data(n.shape, "float16", i) for i, n in enumerate((a, b, bias, residual))]
    assert len(programs.check([y], arrays).kernels) == 1


def one_warp_after_another():
    """A product of each kind and rows that groups reduce, each warp as far ahead of the others as it can be."""
    with installed(Driver(by_warps=True)):
        for dtype in ("float16", "float32"):
            a, b = P.input(0, (1, 60, 100), dtype), P.input(1, (1, 100, 40), dtype)
            programs.check([P.dot(a, b)], [programs.data(a.shape, dtype), programs.data(b.shape, dtype, 1)])
        x = P.input(0, (2, 600), "float32")
        programs.check([programs.softmax(x), P.argreduce("argmax", x, 1)], [programs.data((2, 600))])


def test_no_barrier_is_missing():
    one_warp_after_another()


@pytest.mark.parametrize("module", [product_kernel, groups])
def test_a_missing_barrier_would_show(module, monkeypatch):
    monkeypatch.setenv("LUCHINA_CACHE", "off")
    monkeypatch.setattr(module, "barrier", lambda e, target: None)
    with pytest.raises(AssertionError, match=r"Not equal|Mismatch"):
        one_warp_after_another()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_inputs_that_begin_anywhere(dtype):
    """A window on memory takes the form of the program without wide accesses."""
    device = cuda.device()
    a, b, c = P.input(0, (1, 64, 64), dtype), P.input(1, (1, 64, 64), dtype), P.input(2, (1, 64, 64), dtype)
    executable = compile_for(device, [P.binary("add", P.dot(a, b), c)], [2])
    arrays = [programs.data((1, 64, 64), dtype, i) for i in range(3)]
    (want,) = reference.evaluate([P.binary("add", P.dot(a, b), c)], arrays)
    for at in range(4):
        held = [device.upload(b"\0" * 4 * (i == at) + x.tobytes()) for i, x in enumerate(arrays)]
        windows = [
            SimpleNamespace(ptr=h.ptr + 4 * (i == at), nbytes=arrays[0].nbytes, owner=h) for i, h in enumerate(held)
        ]
        (result,) = executable.run(windows)
        got = np.frombuffer(device.download(result), dtype).reshape(want.shape)
        np.testing.assert_allclose(got, want, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(6, 48), (5, 7), (3, 4, 16)])
def test_items_with_adjacent_elements(shape, dtype, monkeypatch):
    """Sixteen bytes at once where all arrays allow it; other shapes one by one."""
    monkeypatch.setattr(singles, "ENOUGH", 1)
    x, row = P.input(0, shape, dtype), P.input(1, shape[-1:], dtype)
    wide = P.expand(P.reshape(row, (1,) * (len(shape) - 1) + shape[-1:]), shape)
    turned = P.permute(
        P.input(2, (*shape[:-2], shape[-1], shape[-2]), dtype),
        (*range(len(shape) - 2), -1 % len(shape), -2 % len(shape)),
    )
    arrays = [programs.data(n.shape, dtype, i) for i, n in enumerate((x, row, turned.inputs[0]))]
    small = P.cast(P.binary("lt", x, wide), "float32")
    with installed(Driver()) as driver:
        programs.check([P.binary("maximum", P.binary("add", x, wide), x), small], arrays[:2])
        programs.check([P.binary("add", x, turned)], arrays)
        programs.check([P.pad(x, [1] * len(shape), [2] * len(shape), 1)], arrays[:1])
    assert any(".v4." in name or ".v2." in name for name in driver.issued) == (shape != (5, 7))


def test_random_graphs_with_adjacent_elements(monkeypatch):
    monkeypatch.setattr(singles, "ENOUGH", 1)
    programs.test_random_graphs()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_long_sums_are_made_in_parts(dtype, monkeypatch):
    monkeypatch.setattr(expansion, "PART", 32)
    a, b = P.input(0, (1, 20, 160), dtype), P.input(1, (1, 160, 24), dtype)
    executable = programs.check([P.dot(a, b)], [programs.data(a.shape, dtype), programs.data(b.shape, dtype, 1)])
    assert len(executable.kernels) == 2
    x, w = P.input(0, (4, 3, 6, 6), dtype), P.input(1, (5, 3, 3, 3), dtype)
    geometry = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    g = P.input(1, P.conv2d(x, w, *geometry).shape, dtype)
    programs.check([P.conv2d_weight(x, g, (3, 3), *geometry)], [programs.data(n.shape, dtype) for n in (x, g)])


def test_the_parts_of_a_sum_follow_from_the_sum_alone():
    assert expansion.parts_of(4095, 4095) == 1 and expansion.parts_of(8192, 8192) == 4
    assert expansion.parts_of(25088, 32) == 8 and expansion.parts_of(25088, 1) == 1
    assert expansion.parts_of(1 << 20, 1 << 20) == 32
