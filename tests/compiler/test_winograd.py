"""Convolutions by 3×3 windows through transformed tiles: right in every size, as accurate as the plain sum, and nothing
that a result does not depend on spoils it."""

import numpy as np
import pytest

import luchina
from luchina.compiler.contraction import winograd, winograd_weight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

# images, channels, outputs, rows, columns, padding, groups: odd sizes, several segments a vector, parts of tiles
SHAPES = [
    (2, 32, 32, 32, 32, 1, 1),
    (3, 16, 20, 13, 17, 1, 1),
    (3, 33, 40, 9, 11, 0, 1),
    (13, 70, 17, 5, 3, 2, 1),
    (2, 32, 64, 16, 16, (0, 2), 1),
    (4, 32, 64, 7, 7, 1, 2),
    (1, 24, 16, 20, 70, 1, 1),
    (40, 90, 70, 8, 8, 1, 1),
]


def _both(shape, seed=0):
    images, channels, out, rows, columns, _, groups = shape
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, channels, rows, columns)).astype(np.float32)
    w = rng.standard_normal((out, channels // groups, 3, 3)).astype(np.float32) / np.float32(3 * channels**0.5)
    b = rng.standard_normal(out).astype(np.float32)
    return x, w, b


def _run(engine, arrays, padding, groups, dtype=None):
    x, w, b = (engine.tensor(a, requires_grad=True) for a in arrays)
    y = engine.nn.functional.conv2d(x, w, b, padding=padding, groups=groups).relu()
    y.square().sum().backward()
    return [t.detach().numpy() for t in (y, x.grad, w.grad, b.grad)]


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_no_less_accurate_than_pytorchs(shape, monkeypatch):
    called = []
    for module, name in ((winograd, "conv"), (winograd_weight, "weight")):
        plain = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, plain=plain, name=name: called.append(name) or plain(*a))
    arrays = _both(shape)
    exact = _run(torch, [a.astype(np.float64) for a in arrays], *shape[5:])
    ours, theirs = _run(luchina, arrays, *shape[5:]), _run(torch, arrays, *shape[5:])
    for mine, other, true in zip(ours, theirs, exact):
        scale = np.sqrt((true**2).mean())
        error, allowed = (np.sqrt(((a - true) ** 2).mean()) / scale for a in (mine, other))
        assert error < max(2 * allowed, 4e-7)
    images, _, rows, columns = ours[0].shape
    assert called.count("conv") == 2
    tiles = images * ((rows + 1) // 2) * ((columns + 1) // 2)
    least = min(shape[1] // shape[6], shape[2] // shape[6])
    many = least >= winograd_weight.LEAST_CHANNELS and tiles >= winograd_weight.LEAST_TILES
    assert called.count("weight") == many


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", [SHAPES[2], SHAPES[5], SHAPES[7]])
def test_16_bits_are_read_and_written_only(shape, dtype, monkeypatch):
    """Values and gradients are those of float32 from the same numbers, rounded once."""
    called = []
    plain = winograd.conv
    monkeypatch.setattr(winograd, "conv", lambda *a: called.append(1) or plain(*a))
    ours, exact = [], []
    for engine, to, results in ((luchina, getattr(luchina, dtype), ours), (torch, torch.float64, exact)):
        half = getattr(engine, dtype)
        x, w, b = (engine.tensor(a).to(half).to(to).requires_grad_() for a in _both(shape))
        y = engine.nn.functional.conv2d(x, w, b, padding=shape[5], groups=shape[6])
        y.backward(engine.ones_like(y) / 8)
        results += [t.detach().to(engine.float64).numpy() for t in (y, x.grad, w.grad, b.grad)]
    assert len(called) == 2
    epsilon = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    for mine, true in zip(ours, exact):
        assert (abs(mine - true) <= 1.01 * epsilon * abs(true) + 1e-6 * abs(true).max()).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
def test_what_is_not_finite_stays_in_its_windows(value):
    x, w, b = _both((2, 16, 20, 12, 14, 1, 1))
    x[1, 3, 5, 6] = value
    w = np.abs(w)
    ours, theirs = (
        e.nn.functional.conv2d(e.tensor(x), e.tensor(w), e.tensor(b), padding=1).numpy() for e in (luchina, torch)
    )
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_array_equal(np.isinf(ours), np.isinf(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)


def test_an_image_does_not_depend_on_the_others():
    x, w, b = _both((9, 32, 32, 8, 8, 1, 1))
    conv = luchina.nn.functional.conv2d
    whole = conv(luchina.tensor(x), luchina.tensor(w), luchina.tensor(b), padding=1).numpy()
    alone = conv(luchina.tensor(x[3:7]), luchina.tensor(w), luchina.tensor(b), padding=1).numpy()
    np.testing.assert_array_equal(whole[3:7], alone)


@pytest.mark.parametrize("w_layout", ["turned", "transposed"])
def test_weights_of_other_layouts(w_layout):
    x, w, _ = _both((2, 32, 32, 16, 16, 1, 1))
    axes = (0, 1, 3, 2) if w_layout == "transposed" else (1, 0, 2, 3)
    ours = luchina.nn.functional.conv2d(luchina.tensor(x), luchina.tensor(w).permute(*axes), padding=1).numpy()
    theirs = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(w).permute(*axes), padding=1).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_one_and_many_parts_of_the_tiles_give_the_weights_gradient_to_an_optimizer():
    torch.manual_seed(0)
    states = []
    for engine in (luchina, torch):
        engine.manual_seed(0)
        conv = engine.nn.Conv2d(32, 48, 3, padding=1)
        optimizer = engine.optim.SGD(conv.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        for images in (1, 9):
            x = engine.linspace(-1, 1, images * 32 * 400).reshape(images, 32, 20, 20).sin()
            loss = (conv(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        states.append([p.detach().numpy() for p in conv.parameters()])
    for ours, theirs in zip(*states):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
