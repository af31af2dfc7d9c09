"""A step writes over its parameters and states where they lie, and nobody who looks at something else sees it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import luchina as torch
from luchina.runtime import buffers

nn = torch.nn
OPTIMIZERS = [
    lambda params: torch.optim.Adam(params, lr=0.1),
    lambda params: torch.optim.AdamW(params, lr=0.1, amsgrad=True),
    lambda params: torch.optim.SGD(params, lr=0.1),
    lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    lambda params: torch.optim.RMSprop(params, lr=0.1),
    lambda params: torch.optim.Adagrad(params, lr=0.1),
    lambda params: torch.optim.NAdam(params, lr=0.1),
]


def _model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))


def _step(model, optimizer, x):
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def _addresses(tensors):
    return [t._storage.value.buffer.ptr for t in tensors]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_parameters_and_states_stay_where_they_are(make):
    model, x = _model(), torch.randn(5, 3)
    optimizer = make(model.parameters())
    for _ in range(3):
        loss = _step(model, optimizer, x)
    tensors = [*model.parameters()]
    tensors += [t for own in optimizer.state.values() for n, t in own.items() if n not in ("step", "mu_product")]
    before = _addresses(tensors)
    used = buffers.memory_allocated()
    for _ in range(3):
        loss = _step(model, optimizer, x)
    assert _addresses(tensors) == before
    assert buffers.memory_allocated() == used
    assert np.isfinite(loss.item())


def test_what_was_taken_before_a_step_stays_as_it_was():
    model, x = _model(), torch.randn(5, 3)
    optimizer = OPTIMIZERS[0](model.parameters())
    kept = []
    for _ in range(4):
        _step(model, optimizer, x)
        weight, own = model[0].weight, optimizer.state[model[0].weight]
        pending = weight.detach() * 1
        now = [weight.tolist(), own["exp_avg"].tolist(), float(own["step"])]
        kept.append((now, weight.detach().clone(), own["exp_avg"].clone(), own["step"].clone(), pending))
    for (w, m, n), weight, average, step, pending in kept:
        assert weight.tolist() == w == pending.tolist() and average.tolist() == m and step.item() == n
    assert [n for (_, _, n), *_ in kept] == [1, 2, 3, 4]


def test_other_windows_on_the_memory_see_the_step():
    model, x = _model(), torch.randn(5, 3)
    optimizer = OPTIMIZERS[3](model.parameters())
    weight = model[0].weight
    data, row, array = weight.data, weight.detach()[1], weight.detach().numpy()
    for _ in range(3):
        _step(model, optimizer, x)
        assert data.tolist() == weight.tolist() == array.tolist() and row.tolist() == weight.tolist()[1]


def test_a_graph_that_reads_what_a_step_wrote_over_is_refused():
    w = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)
    for _ in range(3):
        loss = (w * w).sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_memory_that_two_tensors_share_is_not_written_over():
    """The program is the same, but the parameter of the loss is not the one of the step."""
    one, two = torch.ones(3, requires_grad=True), torch.full((3,), 2.0, requires_grad=True)
    mine, other = (torch.optim.SGD([w], lr=0.5) for w in (one, two))
    for _ in range(3):
        (one * one).sum().backward()
        mine.step()
        mine.zero_grad()
    assert one.tolist() == [0, 0, 0]
    with torch.no_grad():
        one.fill_(1)
    for _ in range(2):
        (one * one).sum().backward()
        two.grad = one.grad
        other.step()
        one.grad = two.grad = None
    assert one.tolist() == [1, 1, 1] and two.tolist() == [0, 0, 0]


def test_copies_train_apart():
    model, x = _model(), torch.randn(5, 3)
    optimizer = OPTIMIZERS[0](model.parameters())
    _step(model, optimizer, x)
    twin = copy.deepcopy(model)
    theirs = OPTIMIZERS[0](twin.parameters())
    theirs.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        _step(model, optimizer, x)
    assert any(a.tolist() != b.tolist() for a, b in zip(model.parameters(), twin.parameters()))
    for _ in range(3):
        _step(twin, theirs, x)
    assert all(a.tolist() == b.tolist() for a, b in zip(model.parameters(), twin.parameters()))


def test_states_that_users_change_count():
    w = torch.ones(2, requires_grad=True)
    optimizer = OPTIMIZERS[0]([w])
    for _ in range(3):
        w.sum().backward()
        optimizer.step()
    own = optimizer.state[w]
    own["step"].fill_(10)
    own["exp_avg"] = torch.zeros(2)
    w.sum().backward()
    optimizer.step()
    assert own["step"].item() == 11 and own["exp_avg"].tolist() != [0, 0]
    w.grad = None
    optimizer.step()
    assert own["step"].item() == 11


def test_more_parameters_later():
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = OPTIMIZERS[0]([a, b])
    a.sum().backward()
    optimizer.step()
    (a + b).sum().backward()
    optimizer.step()
    optimizer.add_param_group({"params": [torch.ones(2, requires_grad=True)]})
    optimizer.step()
    assert [optimizer.state[p]["step"].item() for p in (a, b)] == [3, 2]
