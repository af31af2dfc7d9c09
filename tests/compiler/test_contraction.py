"""The contraction template against float64 numpy and, for convolutions, PyTorch's float64."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from luchina.compiler import contraction, jit
from luchina.compiler.body import Body, Instruction
from luchina.compiler.contraction import Epilogue, Slots, Window, tiles, turning
from luchina.compiler.contraction.spec import magic
from luchina.compiler.target import host
from luchina.runtime import threads
from luchina.runtime.program import KernelCall, Program

EPS = {"float32": 2.0**-24, "float64": 2.0**-53, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def window(slot: int, array: np.ndarray, dtype: str | None = None) -> Window:
    strides = tuple(s // array.itemsize for s in array.strides)
    return Window(slot, 0, strides, dtype or str(array.dtype))


def run(calls: list, arrays: list[np.ndarray], slots: Slots) -> None:
    """Run kernel calls on arrays whose table entries are their positions."""
    temporaries = [np.full(nbytes, 0xFF, np.uint8) for nbytes in slots.sizes]  # NaN where nothing was written
    addresses = jit.load([call.kernel for call in calls])
    program = Program(
        [KernelCall(a, c.params, c.blocks, c.scratch, c.cost) for a, c in zip(addresses, calls, strict=True)],
        len(arrays) + len(temporaries),
    )
    program.run([array.ctypes.data for array in arrays + temporaries])


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)).astype(np.uint16)


def from_bfloat16(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)


def sample(shape: tuple[int, ...], dtype: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is stored, and its value in float64 (integers stay)."""
    rng = np.random.default_rng(seed)
    if dtype == "bfloat16":
        stored = to_bfloat16(rng.standard_normal(shape))
        return stored, from_bfloat16(stored).astype(np.float64)
    if dtype.startswith("float"):
        stored = rng.standard_normal(shape).astype(dtype)
        return stored, stored.astype(np.float64)
    low, high = (0, 255) if dtype == "uint8" else (-100, 100)
    stored = rng.integers(low, high, shape).astype(dtype)
    return stored, stored.astype(np.int64)


def value_of(stored: np.ndarray, dtype: str) -> np.ndarray:
    return (from_bfloat16(stored) if dtype == "bfloat16" else stored).astype(np.float64)


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values with another layout: transposed, or every second element of a larger array."""
    if layout == "transposed":
        return np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)
    if layout == "apart":
        wide = np.zeros((array.shape[0], array.shape[1] * 2, array.shape[2] * 3), array.dtype)
        view = wide[:, ::2, ::3]
        view[...] = array
        return view
    return np.ascontiguousarray(array)


def dot(a: np.ndarray, b: np.ndarray, c: np.ndarray, dtype: str) -> list:
    slots = Slots(3)
    shape = (a.shape[0], a.shape[1], b.shape[2], a.shape[2])
    calls = contraction.dot(window(0, a, dtype), window(1, b, dtype), [window(2, c, dtype)], shape, host(), slots, None)
    run(calls, [a, b, c], slots)
    return calls


SHAPES = [
    (1, 1, 1, 1),
    (3, 5, 7, 9),
    (2, 33, 65, 129),
    (1, 16, 16, 16),
    (1, 1, 300, 77),
    (1, 300, 1, 77),
    (2, 300, 3, 20),
    (1, 70, 530, 401),
    (1, 9, 8, 9000),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layouts", ["plain plain", "transposed plain", "plain transposed", "apart apart"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dot_is_numpys_product(shape, layouts, dtype):
    batch, m, n, k = shape
    first, second = layouts.split()
    a, a_value = sample((batch, m, k), dtype, 1)
    b, b_value = sample((batch, k, n), dtype, 2)
    c = np.full((batch, m, n), np.nan, dtype)
    dot(laid_out(a, first), laid_out(b, second), c, dtype)
    bound = (k + 2) * EPS[dtype] * (abs(a_value) @ abs(b_value))
    assert (abs(c - a_value @ b_value) <= bound).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(2, 5, 7, 9), (1, 64, 48, 100), (1, 1, 70, 800), (1, 290, 90, 800)], ids=str)
@pytest.mark.parametrize("layout", ["plain", "transposed", "apart"])
def test_half_precision_is_summed_in_float32_and_rounded_once(dtype, shape, layout):
    batch, m, n, k = shape
    a, a_value = sample((batch, m, k), dtype, 1)
    b, b_value = sample((batch, k, n), dtype, 2)
    c = np.zeros((batch, m, n), a.dtype)
    dot(laid_out(a, layout), laid_out(b, layout), c, dtype)
    exact = a_value @ b_value
    bound = EPS[dtype] * abs(exact) + (k + 2) * EPS["float32"] * (abs(a_value) @ abs(b_value))
    assert (abs(value_of(c, dtype) - exact) <= 1.01 * bound).all()


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8"])
@pytest.mark.parametrize("layout", ["plain", "transposed", "apart"])
def test_integers_wrap(dtype, layout):
    a, a_value = sample((2, 20, 50), dtype, 1)
    b, b_value = sample((2, 50, 35), dtype, 2)
    c = np.zeros((2, 20, 35), dtype)
    dot(laid_out(a, layout), laid_out(b, layout), c, dtype)
    assert (c == (a_value @ b_value).astype(dtype)).all()


@pytest.mark.parametrize("shape", [(2, 4, 5, 0), (1, 1, 1, 0)], ids=str)
def test_an_empty_sum_is_zero(shape):
    batch, m, n, k = shape
    c = np.full((batch, m, n), 7, "float32")
    dot(np.zeros((batch, m, k), "float32"), np.zeros((batch, k, n), "float32"), c, "float32")
    assert (c == 0).all()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5)], ids=str)
def test_nothing_to_do_is_no_call(shape):
    batch, m, n, k = shape
    c = np.zeros((batch, m, n), "float32")
    assert dot(np.zeros((batch, m, k), "float32"), np.zeros((batch, k, n), "float32"), c, "float32") == []


@pytest.mark.parametrize("m", [4, 16, 32, 56])
def test_a_product_of_few_rows_is_divided_along_columns(m):
    """Rows together, so that the weights are packed once; and enough blocks for some threads."""
    tile = tiles.tiling(host(), "float32", (1, m, 512, 256), "direct", "k", "blocks")
    assert tile.m_block >= m
    assert tile.n_block <= 256


def test_broadcast_and_reversed_operands():
    a, _ = sample((1, 6, 20), "float32", 1)
    b, _ = sample((4, 20, 40), "float32", 2)
    spread = np.broadcast_to(a, (4, 6, 20))
    c = np.zeros((4, 6, 40), "float32")
    dot(spread, b, c, "float32")
    np.testing.assert_allclose(c, a.astype("float64") @ b, rtol=1e-5, atol=1e-5)
    back = b[:, ::-1, ::-1]
    slots = Slots(3)
    last = Window(1, 20 * 40 - 1, (20 * 40, -40, -1), "float32")
    calls = contraction.dot(window(0, spread), last, [window(2, c)], (4, 6, 40, 20), host(), slots)
    run(calls, [spread, b, c], slots)
    np.testing.assert_allclose(c, a.astype("float64") @ back, rtol=1e-5, atol=1e-5)


def test_the_order_of_a_sum_depends_on_its_own_extent_only():
    """f(x)[i] is the same to the bit whatever else is in the batch, and wherever it lies."""
    k = 1000
    a, _ = sample((1, 130, k), "float32", 1)
    b, _ = sample((1, k, 90), "float32", 2)
    whole = np.zeros((1, 130, 90), "float32")
    dot(a, b, whole, "float32")
    for rows in (slice(3, 4), slice(0, 2), slice(7, 20), slice(50, 130)):
        for columns in (slice(0, 1), slice(5, 30), slice(60, 90)):
            part = np.zeros((1, rows.stop - rows.start, columns.stop - columns.start), "float32")
            dot(a[:, rows], np.ascontiguousarray(b[:, :, columns]), part, "float32")
            assert (part == whole[:, rows, columns]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "uint8"])
@pytest.mark.parametrize("n, k", [(64, 128), (70, 800), (9, 32), (33, 416)])
def test_few_rows_by_weights_are_the_same_sums(dtype, n, k):
    """Squares of the weights are turned while the first rows are multiplied: to the bit what many rows give."""
    a, _ = sample((1, 130, k), dtype, 1)
    b, _ = sample((1, n, k), dtype, 2)
    b = b.swapaxes(1, 2)
    whole = np.zeros((1, 130, n), a.dtype)
    dot(a, b, whole, dtype)
    for rows in (slice(5, 6), slice(0, 2), slice(7, 20), slice(114, 130)):
        part = np.zeros((1, rows.stop - rows.start, n), a.dtype)
        (call,) = dot(a[:, rows], b, part, dtype)
        assert ("k+" in call.kernel.key) == turning.fits(host(), dtype, rows.stop - rows.start, k)
        assert (part == whole[:, rows]).all()


def relu_of_biased(dtype: str) -> Body:
    """(pre-activation, relu(pre-activation) * scale) of an accumulated element, a bias and a scale."""
    return Body(
        (dtype, dtype, dtype),
        (
            Instruction("add", dtype, (0, 1)),
            Instruction("const", dtype, (), (0.0,)),
            Instruction("maximum", dtype, (3, 4)),
            Instruction("mul", dtype, (5, 2)),
        ),
        (3, 6),
    )


@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (2, 40, 70, 30), (1, 130, 3, 20), (1, 8, 8, 9000)], ids=str)
@pytest.mark.parametrize("bias_axis", ["rows", "columns"])
def test_the_epilogue_is_applied_once_and_each_output_is_written(shape, bias_axis):
    batch, m, n, k = shape
    a, a_value = sample((batch, m, k), "float32", 1)
    b, b_value = sample((batch, k, n), "float32", 2)
    bias, _ = sample((max(m, n),), "float32", 3)
    scale, _ = sample((batch, m, n * 2), "float32", 4)
    pre = np.full((batch, m, n), np.nan, "float32")
    post = np.full((batch, n, m), np.nan, "float32")
    slots = Slots(6)
    strides = (0, 1, 0) if bias_axis == "rows" else (0, 0, 1)
    epilogue = Epilogue(relu_of_biased("float32"), (Window(2, 0, strides, "float32"), window(3, scale[:, :, ::2])))
    calls = contraction.dot(
        window(0, a), window(1, b), [window(4, pre), window(5, post.swapaxes(1, 2))], shape, host(), slots, epilogue
    )
    run(calls, [a, b, bias, scale, pre, post], slots)
    total = a_value @ b_value + (bias[:m, None] if bias_axis == "rows" else bias[:n])
    bound = (k + 4) * EPS["float32"] * (abs(a_value) @ abs(b_value) + 1)
    assert (abs(pre - total) <= bound).all()
    expected = np.maximum(pre, 0) * scale[:, :, ::2]
    assert (post.swapaxes(1, 2) == expected).all()


def test_an_epilogue_that_does_not_fit_is_refused():
    w = Window(0, 0, (1, 1, 1), "float32")
    with pytest.raises(TypeError, match="the epilogue takes"):
        contraction.dot(w, w, [w, w], (1, 2, 2, 2), host(), Slots(1), Epilogue(relu_of_biased("float32"), (w,)))
    with pytest.raises(NotImplementedError, match="of bool"):
        b = w._replace(dtype="bool")
        contraction.dot(b, b, [b], (1, 2, 2, 2), host(), Slots(1))


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 9, 64, 1000, 123457, 2**30, 2**31 - 1])
def test_magic_divides_exactly(divisor):
    multiplier, shift = magic(divisor)
    numbers = [0, 1, divisor - 1, divisor, min(divisor + 1, 2**31 - 1), 2**31 - 2, 2**31 - 1]
    numbers += [q * divisor - i for q in (2, 5) for i in (0, 1) if q * divisor < 2**31]
    assert multiplier < 2**32 + 1
    assert [n * multiplier >> shift for n in numbers] == [n // divisor for n in numbers]


# ---- convolutions: (N, C, H, W), (O, kh, kw), stride, padding, dilation, groups

CONVOLUTIONS = {
    "same": ((2, 3, 8, 8), (5, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "same, long rows": ((2, 4, 5, 40), (8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "valid": ((2, 3, 20, 21), (4, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "everything odd": ((2, 4, 9, 7), (6, 3, 2), (2, 2), ((1, 0), (2, 1)), (1, 2), 2),
    "depthwise": ((2, 8, 12, 12), (8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 8),
    "depthwise, two outputs each": ((1, 4, 9, 9), (8, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 4),
    "strides of three and two": ((2, 4, 17, 19), (6, 3, 3), (3, 2), ((2, 2), (0, 3)), (2, 1), 1),
    "one tap": ((3, 5, 6, 6), (7, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "one tap, strided": ((3, 5, 6, 6), (7, 1, 1), (2, 3), ((0, 0), (0, 0)), (1, 1), 1),
    "kernel larger than the image": ((2, 3, 4, 4), (5, 7, 7), (1, 1), ((3, 3), (3, 3)), (1, 1), 1),
    "stride beyond the kernel": ((2, 3, 11, 11), (4, 2, 2), (4, 4), ((0, 0), (0, 0)), (1, 1), 1),
    "stride equals dilation": ((2, 3, 11, 11), (4, 3, 3), (2, 2), ((0, 0), (0, 0)), (2, 2), 1),
    "many images": ((40, 4, 16, 16), (8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "one pixel": ((3, 6, 1, 1), (5, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
}


def _output_shape(case: tuple) -> tuple[int, ...]:
    x_shape, (out_channels, *taps), stride, padding, dilation, _ = case
    sizes = zip(x_shape[2:], taps, stride, padding, dilation, strict=True)
    return (x_shape[0], out_channels, *((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes))


def convolve(kind: str, first: np.ndarray, second: np.ndarray, out: np.ndarray, case: tuple, w_shape: tuple) -> None:
    x_shape, _, stride, padding, dilation, groups = case
    slots = Slots(3)
    calls = getattr(contraction, kind)(
        window(0, first), window(1, second), [window(2, out)],
        x_shape, w_shape, stride, padding, dilation, groups, host(), slots,
    )  # fmt: skip
    run(calls, [first, second, out], slots)


@pytest.mark.parity
@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolution_and_its_gradients_are_pytorchs(name, dtype):
    import torch

    case = CONVOLUTIONS[name]
    x_shape, (out_channels, *taps), stride, padding, dilation, groups = case
    w_shape = (out_channels, x_shape[1] // groups, *taps)
    x, x_value = sample(x_shape, dtype, 1)
    w, w_value = sample(w_shape, dtype, 2)
    g, g_value = sample(_output_shape(case), dtype, 3)

    def exact(x: np.ndarray, w: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
        tx, tw = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
        padded = torch.nn.functional.pad(tx, (*padding[1], *padding[0]))
        y = torch.nn.functional.conv2d(padded, tw, None, stride, 0, dilation, groups)
        y.backward(torch.tensor(g))
        return [t.numpy() for t in (y.detach(), tx.grad, tw.grad)]

    expected = exact(x_value, w_value, g_value)
    sizes = exact(abs(x_value), abs(w_value), abs(g_value))
    terms = max(w_value.size // groups, g_value.size // out_channels)
    operands = ((x, w), (g, w), (x, g))
    for kind, pair, value, size in zip(("conv2d", "conv2d_input", "conv2d_weight"), operands, expected, sizes):
        out = np.full(value.shape, np.nan, dtype)
        convolve(kind, *pair, out, case, w_shape)
        assert (abs(out - value) <= (terms + 2) * EPS[dtype] * size).all(), kind


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["conv2d", "conv2d_input", "conv2d_weight"])
def test_convolution_of_channels_last_images(kind):
    import torch

    case = CONVOLUTIONS["same, long rows"]
    x_shape, (out_channels, *taps), *_ = case
    w_shape = (out_channels, x_shape[1], *taps)
    x, w = sample(x_shape, "float32", 1)[0], sample(w_shape, "float32", 2)[0]
    y_shape = (x_shape[0], out_channels, *x_shape[2:])
    g = sample(y_shape, "float32", 3)[0]
    first, second, shape = {
        "conv2d": (x, w, y_shape), "conv2d_input": (g, w, x_shape), "conv2d_weight": (x, g, w_shape)
    }[kind]  # fmt: skip
    plain, last = np.zeros(shape, "float32"), np.zeros(shape, "float32")
    convolve(kind, first, second, plain, case, w_shape)

    def channels_last(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    last = channels_last(last)
    convolve(kind, channels_last(first), channels_last(second), last, case, w_shape)
    if kind == "conv2d_weight":  # over planes and by patches: sums of many pixels are divided otherwise
        np.testing.assert_allclose(plain, last, rtol=1e-5, atol=1e-5 * abs(plain).max())
    else:
        assert (plain == last).all()
    if kind == "conv2d":
        expected = torch.nn.functional.conv2d(torch.tensor(x).double(), torch.tensor(w).double(), padding=1)
        np.testing.assert_allclose(plain, expected.numpy(), atol=1e-4)


def test_convolution_with_an_epilogue():
    """Bias along the channels and a residual of the result's shape; both outputs."""
    case = CONVOLUTIONS["same"]
    x_shape, (out_channels, *taps), *rest = case
    w_shape = (out_channels, x_shape[1], *taps)
    y_shape = (x_shape[0], out_channels, *x_shape[2:])
    x, w = sample(x_shape, "float32", 1)[0], sample(w_shape, "float32", 2)[0]
    bias, scale = sample((out_channels,), "float32", 3)[0], sample(y_shape, "float32", 4)[0]
    plain, pre, post = (np.full(y_shape, np.nan, "float32") for _ in range(3))
    convolve("conv2d", x, w, plain, case, w_shape)
    slots = Slots(6)
    epilogue = Epilogue(relu_of_biased("float32"), (Window(2, 0, (0, 1, 0, 0), "float32"), window(3, scale)))
    calls = contraction.conv2d(
        window(0, x), window(1, w), [window(4, pre), window(5, post)],
        x_shape, w_shape, *rest, host(), slots, epilogue,
    )  # fmt: skip
    run(calls, [x, w, bias, scale, pre, post], slots)
    assert (pre == plain + bias[:, None, None]).all()
    assert (post == np.maximum(pre, 0) * scale).all()


def test_no_images_are_no_calls_and_a_weight_gradient_of_zeros():
    x, w = np.zeros((0, 3, 4, 4), "float32"), np.zeros((5, 3, 3, 3), "float32")
    g = np.zeros((0, 5, 2, 2), "float32")
    rest = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1, host())
    assert contraction.conv2d(window(0, x), window(1, w), [window(2, g)], x.shape, w.shape, *rest, Slots(3)) == []
    w[...] = np.nan
    calls = contraction.conv2d_weight(window(0, x), window(1, g), [window(2, w)], x.shape, w.shape, *rest, Slots(3))
    run(calls, [x, g, w], Slots(3))
    assert (w == 0).all()


# ---- promises


def test_the_same_bits_for_one_and_two_threads():
    a, _ = sample((1, 500, 700), "float32", 1)
    b, _ = sample((1, 700, 600), "float32", 2)
    x, g = sample((40, 4, 16, 16), "float32", 3)[0], sample((40, 8, 16, 16), "float32", 4)[0]
    results = []
    before = threads.get_num_threads()
    try:
        for count in (1, 2):
            threads.set_num_threads(count)
            c, w = np.zeros((1, 500, 600), "float32"), np.zeros((8, 4, 3, 3), "float32")
            dot(a, b, c, "float32")
            convolve("conv2d_weight", x, g, w, CONVOLUTIONS["many images"], w.shape)
            results.append((c, w))
    finally:
        threads.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert (one == two).all()


def test_other_extents_need_no_other_code():
    def made(batch: int, width: int) -> None:
        a, b = sample((1, batch, 64), "float32", 1)[0], sample((1, 64, width), "float32", 2)[0]
        dot(a, b, np.zeros((1, batch, width), "float32"), "float32")

    made(256, 96)
    before = jit.compiled
    for batch in (252, 257, 300, 1000):
        made(batch, 96)
    assert jit.compiled - before <= 2


@pytest.mark.parametrize("target", ["avx2", "sse2"])
def test_narrower_machines(target):
    """The same products with the code of a lower row of the table, in a process of its own."""
    if sys.platform != "linux" or host().arch != "x86_64" or host().name == target == "sse2":
        pytest.skip("needs an x86-64 machine above the row")
    only = "test_dot_is_numpys_product and plain or half or wrap or depthwise or everything or epilogue"
    environment = os.environ | {"LUCHINA_TARGET": target}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__, "-k", only]
    if "LUCHINA_TARGET" in os.environ:
        pytest.skip("already in such a process")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
