"""Gradient scaling: the scale's way through good and bad steps as PyTorch's, states, misuse."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import luchina


def _story(engine: Any) -> list:
    """Steps with gradients that are finite, infinite, NaN or missing; what is left after each."""
    w = engine.ones(3, requires_grad=True)
    idle = engine.ones(2, requires_grad=True)
    optimizer = engine.optim.SGD([w, idle], lr=0.125)
    scaler = engine.amp.GradScaler("cpu", init_scale=1024.0, growth_factor=1.7, backoff_factor=0.3, growth_interval=2)
    seen: list = []
    for factor in (1.0, 2.0, math.inf, 1.0, math.nan, 1.0, 1.0, 1.0, 3.0e38):
        optimizer.zero_grad()
        scaler.scale((w * engine.tensor([factor, 1.0, 0.5])).sum()).backward()
        scaler.unscale_(optimizer)
        seen.append(w.grad.tolist())
        scaler.step(optimizer)
        scaler.update()
        seen.append([w.tolist(), scaler.get_scale(), scaler.state_dict()])
    scaler.scale(w.sum())
    scaler.update(0.1)
    seen.append(scaler.get_scale())
    return seen


@pytest.mark.parity
def test_story_is_pytorchs() -> None:
    import torch

    assert repr(_story(luchina)) == repr(_story(torch))


def test_growth_stops_at_infinity() -> None:
    w = luchina.ones(1, requires_grad=True)
    optimizer = luchina.optim.SGD([w], lr=0.0)
    scaler = luchina.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
    scaler.scale((w * 0.5).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**127


def test_skipped_step_changes_nothing() -> None:
    w = luchina.ones(2, requires_grad=True)
    optimizer = luchina.optim.Adam([w])
    scaler = luchina.amp.GradScaler("cpu")
    scaler.scale((w * luchina.tensor([1.0, math.inf])).sum()).backward()
    assert scaler.step(optimizer) is None
    assert w.tolist() == [1.0, 1.0] and not optimizer.state
    scaler.update()
    assert scaler.get_scale() == 2.0**15


def test_outputs_in_lists_and_dtypes() -> None:
    scaler = luchina.amp.GradScaler("cpu", init_scale=4.0)
    a, (b, c) = scaler.scale([luchina.ones(()), (luchina.ones(2), luchina.ones((), dtype=luchina.float16))])
    assert (a.item(), b.tolist(), c.item(), c.dtype) == (4.0, [4.0, 4.0], 4.0, luchina.float32)
    with pytest.raises(ValueError, match="outputs must be a Tensor or an iterable of Tensors"):
        scaler.scale(3)


def test_disabled_passes_through() -> None:
    w = luchina.ones(1, requires_grad=True)
    optimizer = luchina.optim.SGD([w], lr=0.5)
    with pytest.warns(UserWarning, match="CUDA is not available: what is there is 'cpu'"):
        default = luchina.amp.GradScaler()
    for scaler in (default, luchina.amp.GradScaler("cpu", enabled=False)):
        optimizer.zero_grad()
        loss = w.sum()
        assert scaler.scale(loss) is loss and scaler.state_dict() == {} and scaler.get_scale() == 1.0
        loss.backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        assert not scaler.is_enabled()
    assert w.item() == 0.0


def test_misuse() -> None:
    w = luchina.ones(1, requires_grad=True)
    optimizer = luchina.optim.SGD([w], lr=0.5)
    scaler = luchina.amp.GradScaler("cpu")
    for name, call in (("step", lambda: scaler.step(optimizer)), ("update", scaler.update)):
        with pytest.raises(AssertionError, match=f"Attempted {name} but _scale is None"):
            call()
    loss = scaler.scale(w.sum())
    with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
        scaler.step(optimizer)
    scaler = luchina.amp.GradScaler("cpu")
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="unscale_\\(\\) has already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="step\\(\\) has already been called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="unscale_\\(\\) is being called after step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="Closure use is not currently supported"):
        scaler.step(optimizer, closure=lambda: loss)
    half = luchina.ones(1, dtype=luchina.float16, requires_grad=True)
    half.sum().backward()
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.unscale_(luchina.optim.SGD([half], lr=0.1))
    with pytest.raises(AssertionError, match="growth factor must be > 1"):
        luchina.amp.GradScaler("cpu", growth_factor=1.0)
    with pytest.raises(RuntimeError, match="state dict is empty"):
        scaler.load_state_dict({})


def test_state_goes_on() -> None:
    scaler = luchina.amp.GradScaler("cpu")
    state = {"scale": 8.0, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 7, "_growth_tracker": 5}
    scaler.load_state_dict(state)
    assert scaler.state_dict() == state and scaler.scale(luchina.ones(())).item() == 8.0
    scaler.load_state_dict(state | {"scale": 16.0})
    assert scaler.scale(luchina.ones(())).item() == 16.0


def _train(engine: Any, lower: str, scaled: bool) -> tuple[list, list]:
    nn = engine.nn
    numbers = np.random.default_rng(0)
    x = engine.tensor(numbers.standard_normal((32, 1, 8, 8)).astype(np.float32))
    y = engine.tensor(numbers.integers(0, 10, 32))
    engine.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(128, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 10))
    optimizer = engine.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scaler = engine.amp.GradScaler("cpu", enabled=scaled, growth_interval=4)
    losses, kinds = [], []
    for _ in range(12):
        optimizer.zero_grad()
        with engine.autocast("cpu", dtype=getattr(engine, lower)):
            logits = model(x)
            loss = nn.functional.cross_entropy(logits, y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        grads = [str(p.grad.dtype) for p in model.parameters()]
        kinds.append((str(logits.dtype), str(loss.dtype), grads, scaler.get_scale()))
    return losses, kinds


@pytest.mark.parity
@pytest.mark.parametrize(("lower", "scaled"), [("bfloat16", False), ("float16", True)])
def test_training_follows_pytorch(lower: str, scaled: bool) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, expected_kinds = _train(torch, lower, scaled)
    losses, kinds = _train(luchina, lower, scaled)
    assert kinds == expected_kinds
    assert losses[-1] < 0.6 * losses[0]
    np.testing.assert_allclose(losses, expected, rtol=1e-2 if lower == "bfloat16" else 2e-3)
