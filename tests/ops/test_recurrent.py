"""Recurrent layers against PyTorch: results, gradients, gradients of gradients, and what is computed when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import luchina
from luchina.compiler import jit
from luchina.graph import program
from luchina.nn import _recurrent

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

RTOL = {"float32": 1e-4, "float64": 1e-10}
LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
    ("LSTM", {}),
    ("LSTM", {"bias": False, "batch_first": True}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"proj_size": 3, "num_layers": 2}),
    ("GRU", {}),
    ("GRU", {"bias": False, "bidirectional": True}),
    ("GRU", {"num_layers": 3, "batch_first": True}),
]


def pair(kind: str, options: dict[str, Any], dtype: str, sizes: tuple[int, int] = (6, 10)) -> tuple[Any, Any]:
    """PyTorch's layer and ours with the same weights."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(*sizes, **options).to(getattr(torch, dtype))
    ours = getattr(luchina.nn, kind)(*sizes, **options).to(getattr(luchina, dtype))
    ours.load_state_dict({name: luchina.tensor(value.detach().numpy()) for name, value in theirs.state_dict().items()})
    return theirs, ours


def states_of(layer: Any, batch: int, dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = [layer.proj_size or layer.hidden_size, *([layer.hidden_size] if layer.mode == "LSTM" else [])]
    return [rng.standard_normal((count, batch, width)).astype(dtype) for width in widths]


def parts(module: Any, layer: Any, x: np.ndarray, states: list[np.ndarray]) -> tuple[list[Any], list[Any]]:
    """All results of the layer, and everything that they depend on."""
    inputs = [module.tensor(a, requires_grad=True) for a in (x, *states)]
    given = tuple(inputs[1:]) if len(states) > 1 else inputs[1] if states else None
    output, last = layer(inputs[0], given)
    return [output, *(last if isinstance(last, tuple) else (last,))], [*inputs, *layer.parameters()]


def total(results: list[Any]) -> Any:
    return sum((r * r * (i + 1)).sum() for i, r in enumerate(results))


def same(theirs: list[Any], ours: list[Any], dtype: str) -> None:
    assert len(theirs) == len(ours)
    for a, b in zip(theirs, ours):
        a, b = a.detach().numpy(), b.detach().numpy()
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=RTOL[dtype], atol=RTOL[dtype] * max(1.0, float(np.abs(a).max())))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3, 17])
@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_results_and_gradients(kind: str, options: dict[str, Any], batch: int, dtype: str) -> None:
    layers = pair(kind, options, dtype)
    shape = (batch, 7, 6) if options.get("batch_first") else (7, batch, 6)
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    for states in ([], states_of(layers[0], batch, dtype)):
        found = []
        for module, layer in zip((torch, luchina), layers):
            layer.zero_grad()
            results, leaves = parts(module, layer, x, states)
            total(results).backward()
            found.append([*results, *(leaf.grad for leaf in leaves)])
        same(*found, dtype)


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_gradients_of_gradients(kind: str, options: dict[str, Any]) -> None:
    layers = pair(kind, options, "float64", (3, 5))
    shape = (2, 4, 3) if options.get("batch_first") else (4, 2, 3)
    x = np.random.default_rng(0).standard_normal(shape)
    found = []
    for module, layer in zip((torch, luchina), layers):
        results, leaves = parts(module, layer, x, states_of(layers[0], 2, "float64"))
        first = module.autograd.grad(total(results), leaves, create_graph=True)
        second = module.autograd.grad(sum((g * g).sum() for g in first), leaves)
        found.append([*first, *second])
    same(*found, "float64")


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_gradcheck(kind: str) -> None:
    _, layer = pair(kind, {}, "float64", (3, 4))
    weights = [p.detach().requires_grad_() for p in layer.parameters()]
    inputs = [luchina.randn(3, 2, 3, dtype=luchina.float64, requires_grad=True)]
    inputs += [luchina.tensor(s, requires_grad=True) for s in states_of(layer, 2, "float64")]

    def call(x: Any, *rest: Any) -> Any:
        states, given = rest[: len(rest) - 4], rest[-4:]
        output, last = _recurrent.layer(layer.mode, x, tuple(s[0] for s in states), *given)
        return (output, *last)

    assert luchina.autograd.gradcheck(call, [*inputs, *weights])


@pytest.mark.parametrize("used", ["output", "h", "c", "last"])
def test_only_one_result_is_used(used: str) -> None:
    layers = pair("LSTM", {"bidirectional": True}, "float64")
    x = np.random.default_rng(0).standard_normal((5, 3, 6))
    found = []
    for module, layer in zip((torch, luchina), layers):
        (output, h, c), leaves = parts(module, layer, x, [])
        total([{"output": output, "h": h, "c": c, "last": output[-1]}[used]]).backward()
        found.append([leaf.grad for leaf in leaves])
    same(*found, "float64")


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_forward_run_first_and_alone(kind: str) -> None:
    """What backward reads is kept, so looking at the output first changes no bit."""
    _, layer = pair(kind, {"num_layers": 2}, "float32")
    x = np.random.default_rng(0).standard_normal((5, 3, 6)).astype("float32")
    found = []
    for look in (False, True):
        layer.zero_grad()
        results, leaves = parts(luchina, layer, x, [])
        if look:
            seen = [r.detach().numpy().copy() for r in results]
        total(results).backward()
        found.append([leaf.grad.numpy().tobytes() for leaf in leaves])
    with luchina.no_grad():  # another kernel, which keeps nothing
        output, last = layer(luchina.tensor(x))
    for a, b in zip([output, *(last if isinstance(last, tuple) else (last,))], seen):
        assert a.numpy().tobytes() == b.tobytes()
    assert found[0] == found[1]


def test_backward_twice_is_refused() -> None:
    _, layer = pair("LSTM", {}, "float32")
    loss = layer(luchina.ones(2, 3, 6))[0].sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_a_weight_that_changed_is_refused() -> None:
    _, layer = pair("GRU", {}, "float32")
    loss = layer(luchina.ones(2, 3, 6))[0].sum()
    with luchina.no_grad():
        layer.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_another_length_compiles_no_recurrence(kind: str) -> None:
    """A longer or shorter sequence runs the kernels that are there: forward, backward and products."""
    torch.manual_seed(0)
    layer = getattr(luchina.nn, kind)(16, 32)

    def train(steps: int) -> None:
        layer.zero_grad()
        layer(luchina.randn(steps, 24, 16))[0].square().sum().backward()
        layer.weight_hh_l0.grad.numpy()

    for steps in (20, 40):
        train(steps)
    before = jit.compiled
    for steps in (21, 30, 37):
        train(steps)
    assert jit.compiled == before


def test_a_step_is_one_program_whatever_the_length() -> None:
    layer = luchina.nn.LSTM(4, 8)
    counts = []
    for steps in (5, 50):
        seen: list[Any] = []
        program.observers.append(seen.append)
        try:
            layer.zero_grad()
            layer(luchina.ones(steps, 2, 4))[0].sum().backward()
            layer.weight_hh_l0.grad.numpy()
        finally:
            program.observers.remove(seen.append)
        assert len(seen) == 1
        counts.append(len(seen[0].program.executable.kernels))
    assert counts[0] == counts[1] < 40


def test_empty_batch() -> None:
    _, layer = pair("LSTM", {}, "float32")
    output, (h, c) = layer(luchina.zeros(4, 0, 6))
    assert tuple(output.shape) == (4, 0, 10) and tuple(h.shape) == tuple(c.shape) == (1, 0, 10)


def test_half_precision_goes_step_by_step() -> None:
    theirs, ours = pair("GRU", {}, "float32", (3, 4))
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype("float32")
    want = theirs.bfloat16()(torch.tensor(x).bfloat16())[0].float().detach().numpy()
    got = ours.bfloat16()(luchina.tensor(x).bfloat16())[0].float().detach().numpy()
    np.testing.assert_allclose(got, want, atol=0.02)
