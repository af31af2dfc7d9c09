"""Optimizers: PyTorch's trajectories and states, groups, closures, hooks, errors."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import luchina
from luchina import nn, optim

SETTINGS = """
SGD(p, .1)
SGD(p, .1, momentum=.9, dampening=.3, weight_decay=.1)
SGD(p, .1, momentum=.9, nesterov=True, maximize=True)
Adam(p, .1, weight_decay=.1, amsgrad=True)
Adam(p, .1, (.3, .7), 1e-3, maximize=True)
AdamW(p, .1, weight_decay=.3)
RMSprop(p, .1, alpha=.9, centered=True, momentum=.5, weight_decay=.1)
RMSprop(p, .1, maximize=True)
Adagrad(p, .1, lr_decay=.1, weight_decay=.1, initial_accumulator_value=.2)
Adamax(p, .1, weight_decay=.1)
NAdam(p, .1, weight_decay=.1, decoupled_weight_decay=True)
Adadelta(p, .5, weight_decay=.1)
Adam([{'params': p[:1], 'lr': .3}, {'params': p[1:], 'betas': (.5, .6)}], .1)
""".strip().split("\n")


def train(engine, text: str, dtype: str, steps: int = 6):
    p = [
        engine.nn.Parameter(engine.tensor(np.linspace(-1, 1.5, n, dtype=dtype).reshape(shape)))
        for n, shape in ((6, (2, 3)), (4, (4,)), (1, ()))
    ]
    unused = engine.nn.Parameter(engine.ones(2))
    optimizer = eval(text, {**vars(engine.optim), "p": [*p, unused]})
    for step in range(steps):
        loss = (p[0].sin().sum() * p[2] + p[1].cos().sum() - 1).tanh()
        optimizer.zero_grad()
        loss.backward()
        if step == 3:  # one parameter sits out a step, so that step counts differ
            p[1].grad = None
        optimizer.step()
    return p, optimizer


def as_numbers(x):
    if hasattr(x, "detach"):
        return (str(x.dtype), np.array(x.detach().numpy(), dtype=np.float64))
    if isinstance(x, dict):
        return {k: as_numbers(v) for k, v in x.items()}
    return [as_numbers(e) for e in x] if isinstance(x, (list, tuple)) else x


def compare(got, expected, rtol: float, path: str = "") -> None:
    if isinstance(expected, tuple) and len(expected) == 2 and isinstance(expected[1], np.ndarray):
        assert got[0] == expected[0], path
        np.testing.assert_allclose(got[1], expected[1], rtol=rtol, atol=rtol / 30, err_msg=path)
    elif isinstance(expected, dict):
        assert list(got) == list(expected), path
        for key in expected:
            compare(got[key], expected[key], rtol, f"{path}/{key}")
    elif isinstance(expected, list):
        assert len(got) == len(expected), path
        for i, (a, b) in enumerate(zip(got, expected)):
            compare(a, b, rtol, f"{path}/{i}")
    else:
        assert got == expected, path


def compare_training(text: str, dtype: str, rtol: float) -> None:
    import torch

    expected, got = train(torch, text, dtype), train(luchina, text, dtype)
    compare(as_numbers(got[0]), as_numbers(expected[0]), rtol)
    compare(as_numbers(got[1].state_dict()), as_numbers(expected[1].state_dict()), rtol)
    assert repr(got[1]) == repr(expected[1])


@pytest.mark.parity
@pytest.mark.parametrize("text", SETTINGS)
def test_trajectory_state_and_printed_form(text: str) -> None:
    """In float64, where a difference of formula cannot hide behind rounding."""
    # NAdam's product of momenta and the number of steps are float32, as PyTorch keeps them.
    compare_training(text, "float64", 1e-6 if "NAdam" in text else 1e-10)


@pytest.mark.parity
@pytest.mark.parametrize("text", SETTINGS)
def test_trajectory_in_float32(text: str) -> None:
    if "centered" in text:
        pytest.skip("the variance is a small difference of large numbers: in float32 its last digits are noise")
    compare_training(text, "float32", 3e-5)


def test_sgd_by_hand() -> None:
    w = nn.Parameter(luchina.tensor([1.0, -2.0]))
    optimizer = optim.SGD([w], lr=0.1, momentum=0.5)
    for expected in ([0.9, -2.2], [0.75, -2.5]):
        w.grad = luchina.tensor([1.0, 2.0])
        optimizer.step()
        assert w.tolist() == pytest.approx(expected)
    assert optimizer.state[w]["momentum_buffer"].tolist() == pytest.approx([1.5, 3.0])


def test_adam_by_hand() -> None:
    w = nn.Parameter(luchina.tensor([1.0]))
    optimizer = optim.Adam([w], lr=0.1)
    w.grad = luchina.tensor([7.0])
    optimizer.step()
    assert w.item() == pytest.approx(0.9)  # the first step is lr in the gradient's direction, whatever its size
    state = optimizer.state[w]
    assert state["step"].item() == 1.0
    assert state["exp_avg"].item() == pytest.approx(0.7)


def test_a_resumed_run_goes_the_same_way() -> None:
    def start():
        luchina.manual_seed(1)
        net = nn.Linear(3, 2)
        return net, optim.AdamW(net.parameters(), lr=0.05)

    def steps(net, optimizer, n):
        for _ in range(n):
            optimizer.zero_grad()
            (net(luchina.ones(2, 3)) ** 2).sum().backward()
            optimizer.step()

    whole, optimizer = start()
    steps(whole, optimizer, 6)
    half, first = start()
    steps(half, first, 3)
    saved = copy.deepcopy(first.state_dict())
    resumed = optim.AdamW(half.parameters(), lr=1.0)
    resumed.load_state_dict(saved)
    steps(half, resumed, 3)
    assert half.weight.tolist() == whole.weight.tolist()
    assert resumed.param_groups[0]["lr"] == 0.05


def test_a_failed_load_changes_nothing() -> None:
    w = nn.Parameter(luchina.ones(1))
    optimizer = optim.SGD([w], lr=0.1)
    other = optim.SGD([w, nn.Parameter(luchina.ones(1))], lr=0.7)
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_closure_and_hooks() -> None:
    w, seen = nn.Parameter(luchina.tensor([2.0])), []
    optimizer = optim.SGD([w], lr=0.25)
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after"))

    def closure():
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert w.item() == 1.0
    before.remove()
    optimizer.step()
    assert seen == ["before", "after", "after"]


def test_zero_grad() -> None:
    w = nn.Parameter(luchina.ones(1))
    optimizer = optim.SGD([w], lr=0.1)
    w.grad = luchina.ones(1)
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert w.grad is None


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda w: optim.SGD([], 0.1), ValueError, "optimizer got an empty parameter list"),
        (lambda w: optim.SGD(w, 0.1), TypeError, "params argument given to the optimizer should be an iterable"),
        (lambda w: optim.SGD([w * 2], 0.1), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda w: optim.SGD([w], -1), ValueError, "Invalid learning rate: -1"),
        (lambda w: optim.SGD([w], 1, nesterov=True), ValueError, "Nesterov momentum requires a momentum"),
        (lambda w: optim.Adam([w], betas=(1.0, 0.9)), ValueError, "Invalid beta parameter at index 0: 1.0"),
        (lambda w: optim.Adam([w], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda w: optim.RMSprop([w], alpha=-1), ValueError, "Invalid alpha value: -1"),
        (lambda w: optim.SGD([{"params": [w]}, {"params": [w]}], 0.1), ValueError, "more than one parameter group"),
        (lambda w: optim.SGD({w}, 0.1).add_param_group({"params": {w}}), TypeError, "ordered collections"),
        (lambda w: optim.Adam([w], differentiable=True), NotImplementedError, "differentiable"),
        (lambda w: optim.Adam([w], fused=True, foreach=True), RuntimeError, "cannot be `True` together"),
    ],
)
def test_errors(make, kind, text) -> None:
    with pytest.raises(kind, match=text):
        make(nn.Parameter(luchina.ones(1)))
