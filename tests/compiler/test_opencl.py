"""The compiler's programs on an OpenCL device against the numpy interpreter.

Runs wherever a driver is: ``pip install luchina[opencl-cpu]``, and a folder named by ``OCL_ICD_VENDORS`` with an
.icd file that holds the path of ``libintelocl.so``.
"""

from __future__ import annotations

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

from luchina.compiler import prims as P
from luchina.compiler.device import compile_for
from luchina.compiler.kernel import Kernel
from luchina.compiler.targets import spirv
from luchina.compiler.targets.groups import GroupKernel
from luchina.runtime import opencl


def _device():
    try:
        return opencl.device()
    except opencl.NoDevice as error:
        return str(error)


DEVICE = _device()
pytestmark = pytest.mark.skipif(isinstance(DEVICE, str), reason=f"no OpenCL device: {DEVICE}")


def run(outputs, arrays, scalars=(), donated=()):
    """As ``test_build.run``, on the device."""
    executable = compile_for(DEVICE, outputs, donated)
    held = [DEVICE.upload(np.ascontiguousarray(a).tobytes()) for a in arrays]
    results = executable.run(held, list(scalars))
    got = []
    for buffer, node in zip(results, outputs):
        data = DEVICE.download(buffer)
        got.append(np.frombuffer(data, reference.STORAGE[node.dtype])[: node.size].reshape(node.shape))
    return got, executable


@pytest.fixture(autouse=True, scope="module")
def on_the_device():
    """The programs' ``check`` runs here."""
    with pytest.MonkeyPatch.context() as patch:
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
def test_convolution_and_its_transposes(geometry):
    groups = geometry[3]
    x, w = P.input(0, (2, 4, 9, 8), "float32"), P.input(1, (6, 4 // groups, 3, 3), "float32")
    y = P.conv2d(x, w, *geometry)
    g = P.input(2, y.shape, "float32")
    outs = [y, P.conv2d_input(g, w, (9, 8), *geometry), P.conv2d_weight(x, g, (3, 3), *geometry)]
    programs.check(outs, [programs.data(n.shape, seed=i) for i, n in enumerate((x, w, g))])


def test_products_large_and_turned():
    a, b = P.input(0, (2, 70, 130), "float32"), P.input(1, (2, 90, 130), "float32")
    y = P.binary("maximum", P.dot(a, P.permute(b, (0, 2, 1))), P.const(0.0, "float32"))
    programs.check([y], [programs.data(a.shape), programs.data(b.shape, seed=1)])


def is_group(info):
    return isinstance(info._kernel, GroupKernel)


@pytest.mark.parametrize("n", [64, 65, 2048, 5003])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
def test_rows_reduced_by_a_work_group(n, dtype):
    x = P.input(0, (5, n), dtype)
    values = programs.data((5, n), dtype)
    outs = [P.reduce(op, x, (1,)) for op in ("max", "min")]
    outs += [P.argreduce(op, x, 1) for op in ("argmax", "argmin")]
    outs += [P.reduce("sum", x, (1,))] if dtype != "bool" else []
    if dtype == "float32":
        values[1, 50] = values[1, 60] = np.nan
        values[2] = 1
    executable = programs.check(outs, [values])
    assert all(map(is_group, executable.kernels))


def test_phases_of_a_work_group():
    """Softmax, and a row written over in its last phase together with what it has once."""
    x, bias = P.input(0, (7, 1000), "float32"), P.input(1, (7, 1), "float32")
    arrays = [programs.data((7, 1000)), programs.data((7, 1))]
    executable = programs.check([programs.softmax(x)], arrays[:1], donated=[0])
    assert [is_group(info) for info in executable.kernels] == [True]
    total = P.reshape(P.reduce("sum", x, (1,)), (7, 1))
    centred = P.binary("sub", P.binary("add", x, bias), total)
    programs.check([centred, P.binary("sub", bias, total)], arrays, donated=[0, 1])
    y = P.input(0, (3, 40, 5, 80), "float32")
    programs.check([P.reduce("sum", y, axes) for axes in ((1, 3), (1, 2, 3), (3,))], [programs.data((3, 40, 5, 80))])


def test_same_bits_run_after_run():
    x = P.input(0, (70, 900), "float32")
    outs = [P.reduce("sum", x, axes) for axes in ((0, 1), (0,), (1,))] + [programs.softmax(x)]
    first, second = ([a.tobytes() for a in run(outs, [programs.data((70, 900))])[0]] for _ in range(2))
    assert first == second


def test_programs_come_from_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("LUCHINA_CACHE", str(tmp_path))
    outs = [P.binary("mul", P.input(0, (5,), "float32"), P.const(3.25, "float32"))]
    kernels = [info._kernel for info in compile_for(DEVICE, outs).kernels]
    DEVICE._kernels.clear()
    DEVICE.load(kernels)
    DEVICE._kernels.clear()
    monkeypatch.setattr(spirv, "binary", lambda kernel: pytest.fail("compiled again"))
    DEVICE.load(kernels)


def test_what_the_device_cannot_do_is_said():
    x = P.input(0, (5,), "float32")
    call = "define void @strange(ptr %p) { call void @puts(ptr %p) ret void }\ndeclare void @puts(ptr)\n"
    with pytest.raises(NotImplementedError, match="puts of the C library"):
        DEVICE.load([Kernel("strange", "strange", lambda target: call)])
    with pytest.raises(opencl.OutOfMemory, match="tried to allocate"):
        DEVICE.allocate(1 << 60)
    with pytest.raises(opencl.NoDevice, match="opencl:99"):
        opencl.device(99)
    with pytest.raises(RuntimeError, match="refuses"):
        DEVICE.load([Kernel("broken", "broken", lambda target: "define void @broken() { nonsense }\n")])
    programs.check([P.binary("add", x, x)], [programs.data((5,))])


@pytest.mark.parametrize("tries", [spirv.TRIES, 1])
def test_modules_have_labels_of_their_own(tries, monkeypatch):
    """LLVM forgets to forget those of earlier functions that lay at the same place."""
    monkeypatch.setattr(spirv, "TRIES", tries)

    def kernel(blocks):
        body = "".join(f"b{i}:\n  br label %b{i + 1}\n" for i in range(blocks))
        text = f"define spir_kernel void @k{blocks}() {{\n  br label %b0\n{body}b{blocks}:\n  ret void\n}}\n"
        return Kernel(f"k{blocks}", f"labels {blocks}", lambda target: text)

    for number in range(60 if tries > 1 else 8):
        words = np.frombuffer(spirv.binary(kernel(1 + number % 7)), np.uint32)
        numbers, at = [], 5
        while at < len(words):
            kind = words[at] & 0xFFFF
            if kind == 248 or 19 <= kind <= 33:
                numbers.append(int(words[at + 1]))
            at += words[at] >> 16
        assert len({*numbers}) == len(numbers) > 2
