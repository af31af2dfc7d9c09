"""Models of many layers and many shapes: a step is one program, from the first step on."""

from __future__ import annotations

import pytest

import luchina as torch
from luchina.graph import program

nn = torch.nn


class Chain(nn.Module):
    """``depth`` layers that scale and shift by parameters of their own."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(2) * 0.99) for _ in range(depth)])
        self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(2)) for _ in range(depth)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for scale, shift in zip(self.scales, self.shifts):
            x = x * scale + shift
        return x


def train(step, steps: int) -> tuple[int, int]:
    """Runs and new programs of some steps."""
    before = dict(program.statistics)
    for _ in range(steps):
        step()
    return tuple(program.statistics[key] - before[key] for key in ("runs", "programs"))


def test_a_step_with_more_parameters_than_may_be_pending_is_one_program() -> None:
    depth = program.PLAIN_LIMIT // 2 + 20
    net = Chain(depth)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.25, momentum=0.5)
    x = torch.tensor([1.0, 2.0])
    losses = []

    def step() -> None:
        loss = net(x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert train(step, 3) == (3, 1)
    assert losses[0] == pytest.approx(3 * 0.99**depth, rel=1e-4)
    # The last shift's gradient is 1; with momentum 0.5 it has moved by lr · (1 + 1.5 + 1.75).
    assert net.shifts[-1].tolist() == pytest.approx([-0.25 * 4.25] * 2)


def test_gradients_that_are_too_many_to_be_pending_are_computed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Chain(40)
    x = torch.tensor([1.0, 2.0])
    net(x).sum().backward()
    expected = [p.grad.tolist() for p in net.parameters()]
    for p in net.parameters():
        p.grad = None
    monkeypatch.setattr(program, "PENDING_LIMIT", 60)
    loss = net(x).sum()
    loss.backward()
    assert [p.grad.tolist() for p in net.parameters()] == expected


def test_an_optimizer_takes_hundreds_of_shapes() -> None:
    params = [nn.Parameter(torch.ones(n)) for n in range(1, 251)]
    optimizer = torch.optim.AdamW(params, lr=0.5)
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    for p in params:  # Adam's first step is lr against the gradient's sign; the weight decays by lr · 0.01
        assert torch.allclose(p, torch.full_like(p, 0.495))


def test_the_first_step_of_a_network_with_norms_is_the_program_of_every_step() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    x, y = torch.randn(16, 4), torch.randint(3, (16,))

    def step() -> None:
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    assert train(step, 4) == (4, 1)


def test_accumulated_gradients_do_not_pile_up() -> None:
    net = Chain(200)
    x = torch.tensor([1.0, 2.0])
    for _ in range(6):
        net(x).sum().backward()
    assert program.pending_count() < 3000
    first = net.shifts[-1].grad
    assert first is not None and first.tolist() == [6.0, 6.0]
