"""Convolutions over planes: values, gradients and epilogues in geometries that take a path of their own."""

import numpy as np
import pytest

import luchina
from luchina.compiler.contraction import planes_conv

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

# images, channels, outputs, rows, columns, window, stride, padding, dilation, groups
SHAPES = [
    (3, 40, 24, 14, 14, (1, 1), 1, 0, 1, 1),  # images are lines, cut by blocks
    (5, 500, 9, 7, 7, (1, 1), 1, 0, 1, 1),  # several chunks of channels
    (3, 12, 20, 15, 14, (1, 1), 2, 0, 1, 1),
    (2, 50, 30, 16, 17, (3, 3), 2, 1, 1, 1),
    (2, 8, 12, 30, 33, (5, 5), 1, 2, 1, 2),
    (1, 3, 33, 40, 61, (7, 7), 2, 3, 1, 1),
    (2, 6, 5, 20, 21, (3, 5), (3, 2), (0, 3), (2, 1), 1),
    (2, 6, 5, 20, 21, (3, 3), (1, 3), 1, 1, 1),  # columns are gathered
    (4, 5, 7, 1, 50, (1, 4), (1, 2), (0, 2), 1, 1),  # lines of images follow each other
    (2, 20, 18, 9, 9, (3, 3), 1, 2, 2, 1),
    (2, 6, 4, 6, 5, (6, 5), 1, 0, 1, 2),  # one output a channel
    (5, 12, 70, 13, 14, (3, 3), 2, 1, 1, 1),  # lines of small images follow each other
    (2, 3, 40, 33, 49, (4, 4), (4, 4), (1, 0), 1, 1),  # patches: columns are picked from several vectors
    (2, 3, 40, 33, 97, (5, 8), (4, 8), (2, 3), 1, 1),  # patches: squares are turned
]


def _run(engine, arrays, shape, dtype):
    *_, stride, padding, dilation, groups = shape
    kind = getattr(engine, dtype)
    x, w, b = (engine.tensor(a).to(kind).requires_grad_() for a in arrays)
    y = engine.nn.functional.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    (y * y.detach()).sum().backward()
    return [t.detach().to(engine.float64).numpy() for t in (y, x.grad, w.grad, b.grad)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients(shape, dtype, monkeypatch):
    called = []
    conv = planes_conv.conv
    monkeypatch.setattr(planes_conv, "conv", lambda *args: called.append(args) or conv(*args))
    images, channels, out, rows, columns, window, *_, groups = shape
    rng = np.random.default_rng(0)
    sizes = (images, channels, rows, columns), (out, channels // groups, *window), (out,)
    arrays = [rng.standard_normal(s) for s in sizes]
    arrays = [torch.tensor(a).to(getattr(torch, dtype)).double().numpy() for a in arrays]  # what the dtype can hold
    tolerance = {"float32": 3e-6, "float64": 1e-13, "bfloat16": 2e-2}[dtype]
    for ours, exact in zip(_run(luchina, arrays, shape, dtype), _run(torch, arrays, shape, "float64")):
        np.testing.assert_allclose(ours, exact, rtol=tolerance, atol=tolerance * np.abs(exact).max())
    assert called


@pytest.mark.parametrize("stride", [1, 2])
def test_an_epilogue_is_applied_once_to_every_element(stride):
    """A bias of the channels, a residual of the result's shape and one of a line's, in both directions."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 6, 20, 23)).astype("float32"), rng.standard_normal((9, 6, 5, 5)).astype("float32")
    side = [(n - 5) // stride + 1 for n in (20, 23)]
    bias, residual = (
        rng.standard_normal((9, 1, 1)).astype("float32"),
        rng.standard_normal((2, 9, *side)).astype("float32"),
    )
    line = rng.standard_normal(side[1]).astype("float32")

    def result(engine, kind):
        a, b, c, r, s = (engine.tensor(t).to(kind) for t in (x, w, bias, residual, line))
        y = (engine.nn.functional.conv2d(a, b, stride=stride) + c).relu() * r + s
        up = engine.nn.functional.conv_transpose2d(y, b, stride=stride)
        return y.double().numpy(), (up.relu() + 1).double().numpy()

    for ours, exact in zip(result(luchina, luchina.float32), result(torch, torch.float64)):
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())


def test_an_image_does_not_depend_on_the_others_or_on_threads():
    rng = np.random.default_rng(0)
    x, w = (luchina.tensor(rng.standard_normal(s).astype("float32")) for s in ((9, 70, 21, 22), (33, 70, 5, 5)))
    whole = luchina.nn.functional.conv2d(x, w, stride=2, padding=2).numpy()
    before = luchina.get_num_threads()
    try:
        luchina.set_num_threads(1)
        for image in (0, 8):
            alone = luchina.nn.functional.conv2d(x[image : image + 1], w, stride=2, padding=2).numpy()
            assert (alone == whole[image]).all()
    finally:
        luchina.set_num_threads(before)


def test_what_is_not_finite_stays_in_its_windows():
    x, w = luchina.zeros(1, 4, 12, 12), luchina.ones(3, 4, 5, 5)
    x[0, 1, 6, 0] = float("nan")
    y = luchina.nn.functional.conv2d(x, w, padding=2).numpy()
    seen = np.zeros((12, 12), bool)
    seen[4:9, :3] = True
    assert (np.isnan(y[0, 0]) == seen).all()
