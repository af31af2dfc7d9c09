"""An optimizer's step writes over its parameters and states on a device too: the CPU's tests, and a device's own."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from tests.optim import test_in_place as programs

# What says nothing about the CPU: imported as tests of this file.
from tests.optim.test_in_place import (  # noqa: F401
    test_a_graph_that_reads_what_a_step_wrote_over_is_refused,
    test_copies_train_apart,
    test_memory_that_two_tensors_share_is_not_written_over,
    test_more_parameters_later,
    test_states_that_users_change_count,
    test_what_was_taken_before_a_step_stays_as_it_was,
)

import luchina as torch
from luchina.runtime import accelerators


@pytest.fixture(autouse=True)
def as_default(where: torch.device) -> Iterator[torch.device]:
    """Tensors are made on the device."""
    with where:
        yield where


@pytest.mark.parametrize("make", programs.OPTIMIZERS)
def test_parameters_and_states_stay_where_they_are(make, as_default: torch.device) -> None:
    model, x = programs._model(), torch.randn(5, 3)
    optimizer = make(model.parameters())
    for _ in range(12):  # until a program has a table for each place that its results come to lie in
        assert math.isfinite(programs._step(model, optimizer, x).item())
    tensors = [*model.parameters()]
    tensors += [t for own in optimizer.state.values() for n, t in own.items() if n not in ("step", "mu_product")]
    assert all(t.device is as_default for t in tensors)
    before = programs._addresses(tensors)
    memory = accelerators.accelerator(as_default.type, as_default.index or 0).memory
    taken = memory.taken
    for _ in range(3):
        programs._step(model, optimizer, x).item()
    assert programs._addresses(tensors) == before
    assert memory.taken == taken


def test_other_windows_on_the_memory_see_the_step() -> None:
    model, x = programs._model(), torch.randn(5, 3)
    optimizer = programs.OPTIMIZERS[3](model.parameters())
    weight = model[0].weight
    data, row = weight.data, weight.detach()[1]
    before = row.clone()
    for _ in range(3):
        programs._step(model, optimizer, x)
        assert data.tolist() == weight.tolist() and row.tolist() == weight.tolist()[1]
    assert before.tolist() != row.tolist()


def test_a_window_that_is_pending_has_the_numbers_of_before() -> None:
    w = torch.arange(4.0, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0)
    for step in range(3):
        row = w.detach()[1:3] * 1
        w.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert row.tolist() == [1.0 - step, 2.0 - step] and w.tolist() == [i - step - 1.0 for i in range(4)]


def test_one_optimizer_of_two_devices(as_default: torch.device) -> None:
    a = torch.ones(2, requires_grad=True)
    b = torch.ones(2, device="cpu", requires_grad=True)
    c = torch.full((), 2.0, device="cpu", requires_grad=True)
    optimizer = torch.optim.Adam([a, b, c], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        pending = a.detach() * c.detach()  # reads a number of the CPU that the step writes over
        expected = [x * c.item() for x in a.tolist()]
        (a.sum() + (b.sum() + c).to(as_default)).backward()
        optimizer.step()
        assert pending.tolist() == pytest.approx(expected)
    assert a.device is as_default and a.tolist() == pytest.approx([-0.5, -0.5]) == b.tolist()
    assert c.item() == pytest.approx(0.5)
    assert [optimizer.state[p]["step"].item() for p in (a, b, c)] == [3, 3, 3]


def test_as_on_the_cpu(as_default: torch.device) -> None:
    for make in programs.OPTIMIZERS:
        losses = []
        for d in ("cpu", as_default):
            torch.manual_seed(0)
            with torch.device("cpu"):
                model, x = programs._model(), torch.randn(5, 3)
            model, x = model.to(d), x.to(d)
            optimizer = make(model.parameters())
            losses.append([programs._step(model, optimizer, x).item() for _ in range(6)])
        assert losses[0] == pytest.approx(losses[1], rel=1e-4, abs=1e-7)
