"""Depthwise convolutions: forward and both gradients, in every geometry and float dtype that has a path of its own."""

import numpy as np
import pytest

import luchina
from luchina.compiler.contraction import depthwise, depthwise_lanes

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

# images, channels, outputs, rows, columns, window, stride, padding, dilation
SHAPES = [
    (2, 8, 8, 14, 19, (3, 3), 1, 1, 1),
    (2, 8, 8, 15, 40, (3, 3), 2, 1, 1),
    (2, 6, 6, 15, 40, (5, 5), 2, 2, 1),
    (3, 4, 12, 9, 9, (3, 3), 1, 1, 1),
    (1, 5, 5, 17, 23, (7, 7), 1, 3, 1),
    (2, 4, 4, 20, 21, (3, 5), (1, 2), (0, 3), (2, 1)),
    (2, 3, 3, 11, 70, (3, 3), 3, 1, 1),
    (2, 3, 3, 11, 13, (3, 3), 2, 0, 2),
    (1, 4, 4, 1, 50, (1, 4), (1, 2), (0, 2), 1),
    (1, 2, 2, 130, 150, (3, 3), 1, 1, 1),
    (2, 37, 37, 12, 7, (3, 3), 2, 1, 1),
]


def _run(engine, arrays, shape, dtype):
    *_, stride, padding, dilation = shape
    kind = getattr(engine, dtype)
    x, w, b = (engine.tensor(a).to(kind).requires_grad_() for a in arrays)
    conv = engine.nn.functional.conv2d
    y = conv(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=shape[1])
    (y * y.detach()).sum().backward()
    return [t.detach().to(engine.float64).numpy() for t in (y, x.grad, w.grad, b.grad)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", [depthwise, depthwise_lanes], ids=["columns", "channels"])
def test_values_and_gradients(way, shape, dtype, monkeypatch):
    """In both ways: a lane is a column, or a channel (where an input channel has one output channel)."""
    called = []
    kernel_of = way._kernel
    monkeypatch.setattr(way, "_kernel", lambda spec: called.append(spec.sizes[1]) or kernel_of(spec))
    monkeypatch.setattr(depthwise_lanes, "MOST_BYTES", 0 if way is depthwise else 4 << 20)
    monkeypatch.setattr(depthwise_lanes, "BYTES_A_TAP", 4 << 20)
    images, channels, out, rows, columns, window, *_ = shape
    images += way is depthwise_lanes  # a program of its own
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in ((images, channels, rows, columns), (out, 1, *window), (out,))]
    arrays = [torch.tensor(a).to(getattr(torch, dtype)).double().numpy() for a in arrays]  # what the dtype can hold
    tolerance = {"float32": 3e-6, "float64": 1e-13, "bfloat16": 2e-2}[dtype]
    for ours, exact in zip(_run(luchina, arrays, shape, dtype), _run(torch, arrays, shape, "float64")):
        np.testing.assert_allclose(ours, exact, rtol=tolerance, atol=tolerance * np.abs(exact).max())
    if way is depthwise:
        assert called.count("plane") == (2 if out == channels else 1)
        assert called.count("weight") == 1
    elif out == channels:
        assert called.count("plane") == 2
        assert called.count("weight") == 1


def test_an_epilogue_is_applied_once():
    x, w, s = luchina.randn(2, 4, 10, 11), luchina.randn(4, 1, 3, 3), luchina.randn(2, 4, 10, 11)
    conv = luchina.nn.functional.conv2d(x, w, padding=1, groups=4)
    ours = (conv.relu() + s * 2).numpy()
    y = torch.nn.functional.conv2d(*(torch.tensor(t.numpy()) for t in (x, w)), padding=1, groups=4)
    np.testing.assert_allclose(ours, (y.relu() + torch.tensor(s.numpy()) * 2).numpy(), rtol=1e-5, atol=1e-5)
