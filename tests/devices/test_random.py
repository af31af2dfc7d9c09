"""Random numbers drawn from the generators of a device."""

from __future__ import annotations

import copy
import pickle

import pytest

import luchina as torch


def _many(where: object, **options: object) -> list:
    """Something of every rule."""
    x = torch.zeros(5, device=where)
    probabilities = torch.tensor([0.1, 0.0, 0.7, 0.2], device=where)
    return [
        torch.rand(3, device=where, **options).tolist(),
        torch.randn(2, 2, device=where, dtype=torch.float64, **options).tolist(),
        torch.randint(-5, 5, (4,), device=where, **options).tolist(),
        torch.randint(0, 2**50, (4,), device=where, **options).tolist(),
        torch.randperm(7, device=where, **options).tolist(),
        torch.normal(1.0, 2.0, (3,), device=where, **options).tolist(),
        torch.bernoulli(torch.full((6,), 0.5, device=where), **options).tolist(),
        torch.multinomial(probabilities, 3, **options).tolist(),
        torch.multinomial(probabilities, 9, replacement=True, **options).tolist(),
        x.uniform_(-1, 1, **options).tolist(),
        x.exponential_(2.0, **options).tolist(),
        x.bernoulli_(0.5, **options).tolist(),
        torch.zeros(4, dtype=torch.int32, device=where).random_(**options).tolist(),
    ]


def test_a_seed_gives_the_numbers_again(where: torch.device) -> None:
    torch.manual_seed(5)
    first = _many(where)
    again = _many(where)
    torch.manual_seed(5)
    assert _many(where) == first != again
    assert _many(where, generator=torch.Generator(where).manual_seed(5)) == first


def test_numbers_of_pytorch_on_cuda(where: torch.device) -> None:
    torch.manual_seed(0)
    assert [f"{x:.4f}" for x in torch.rand(4, device=where).tolist()] == ["0.3990", "0.5167", "0.0249", "0.9401"]
    assert [f"{x:.4f}" for x in torch.rand(3, device=where).tolist()] == ["0.9722", "0.7910", "0.4690"]


def test_choices_follow_the_weights(where: torch.device) -> None:
    torch.manual_seed(1)
    weights = torch.tensor([[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]], device=where)
    chosen = torch.multinomial(weights, 4000, replacement=True).cpu()
    assert (chosen[1] == 1).all() and not (chosen[0] == 1).any()
    assert abs((chosen[0] == 2).float().mean().item() - 0.75) < 0.03
    assert sorted(torch.multinomial(torch.ones(50, device=where), 50).tolist()) == list(range(50))
    assert sorted(torch.randperm(50, device=where).tolist()) == list(range(50))


def test_generators(where: torch.device) -> None:
    generator = torch.Generator("opencl").manual_seed(3)
    assert generator.device is where and generator.initial_seed() == 3
    torch.rand(2, device=where, generator=generator)
    state = generator.get_state()
    assert len(state) == 16
    following = torch.rand(2, device=where, generator=generator).tolist()
    for other in (pickle.loads(pickle.dumps(generator)), copy.deepcopy(generator), generator.clone_state()):
        other.set_state(state)
        assert torch.rand(2, device=where, generator=other).tolist() == following
    with pytest.raises(RuntimeError, match="Expected a 'opencl' device type for generator but found 'cpu'"):
        torch.rand(1, device=where, generator=torch.Generator())
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'opencl'"):
        torch.rand(1, generator=generator)
    with pytest.raises(RuntimeError, match="wrong size"):
        generator.set_state(b"12")


def test_fork_rng_puts_every_stream_back(where: torch.device) -> None:
    torch.rand(1, device=where)
    with torch.random.fork_rng():
        inside = torch.rand(2, device=where).tolist(), torch.rand(2).tolist()
    assert (torch.rand(2, device=where).tolist(), torch.rand(2).tolist()) == inside


def test_dropout_is_part_of_the_program_and_of_no_other(where: torch.device) -> None:
    from luchina.graph import program

    x = torch.ones(64, 64, device=where, requires_grad=True)
    torch.manual_seed(2)

    def step() -> torch.Tensor:
        y = torch.nn.functional.dropout(x, 0.25)
        y.sum().backward()
        kept, x.grad = x.grad, None
        assert torch.equal(kept, y)
        return y

    step()
    first = step()
    compiled = program.statistics["programs"]
    second = step()
    assert program.statistics["programs"] == compiled
    assert not torch.equal(first, second)
    assert abs((first > 0).float().mean().item() - 0.75) < 0.03
    assert first.unique().tolist() == pytest.approx([0.0, 4 / 3])
