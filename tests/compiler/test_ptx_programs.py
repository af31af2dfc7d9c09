"""The compiler's programs as PTX, run by the machine of ``tests/runtime/ptx_machine.py``, against the interpreter."""

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
from tests.runtime.fake_cuda import Driver, installed

from luchina.compiler import prims as P
from luchina.compiler.device import compile_for
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

    with pytest.MonkeyPatch.context() as patch, installed(Driver()):
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
