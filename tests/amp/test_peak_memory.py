"""Mixed precision holds its activations in half the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import luchina
from luchina import nn
from luchina.runtime import buffers


def _linear() -> tuple[Any, Any]:
    layers = [layer for _ in range(6) for layer in (nn.Linear(128, 128), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(128, 10)), luchina.randn(4096, 128)


def _conv() -> tuple[Any, Any]:
    layers = [layer for _ in range(4) for layer in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())]
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), *layers), luchina.randn(16, 3, 32, 32)


def _peak(build: Callable[[], tuple[Any, Any]], enabled: bool) -> int:
    """Bytes that a forward and a backward pass need at most, beyond the weights and the data."""
    luchina.manual_seed(0)
    model, x = build()
    for tensor in (*model.parameters(), x):
        tensor.sum().item()
    before = buffers.memory_allocated()
    buffers.reset_peak_memory()
    with luchina.autocast("cpu", enabled=enabled):
        loss = model(x).float().pow(2).mean()
    loss.backward()
    total = sum(p.grad.sum() for p in model.parameters())
    total.item()
    return buffers.max_memory_allocated() - before


@pytest.mark.parametrize("build", [_linear, _conv])
def test_peak_memory_is_at_most_two_thirds(build: Callable[[], tuple[Any, Any]]) -> None:
    assert _peak(build, False) >= 1.5 * _peak(build, True)
