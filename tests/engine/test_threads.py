"""Python threads: each records for itself, and they may share models and data."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import luchina as torch
from luchina import nn
from luchina.graph import program


@pytest.fixture(autouse=True)
def switch_often():
    """Let Python change threads between nearly any two lines."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def small_network(seed):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.2)
    return model, torch.randn(16, 6, generator=generator)


def trained(seed, steps):
    model, x = small_network(seed)
    y = (x[:, 0] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for i in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 7 == 0:
            loss.item()
    return [p.tolist() for p in model.parameters()]


def test_trainings_side_by_side_give_what_they_give_alone():
    alone = [trained(seed, 60) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda seed: trained(seed, 60), range(4))) == alone


def test_threads_share_a_model_and_return_what_is_pending():
    model, _ = small_network(0)
    inputs = [torch.randn(5, 6) for _ in range(40)]
    with torch.no_grad():
        expected = [model(x).tolist() for x in inputs]

    def answer(x):
        with torch.no_grad():
            return model(x)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(answer, inputs))
        programs = program.statistics["programs"]
        for _ in range(5):
            assert [y.tolist() for y in pool.map(answer, inputs)] == expected
    assert program.statistics["programs"] - programs < 20, "a model in threads keeps its programs"


def test_threads_look_at_the_same_pending_tensors():
    x = torch.randn(50)
    for _ in range(20):
        pending = [x * i + 1 for i in range(8)]
        expected = [[a * i + 1 for a in x.tolist()] for i in range(8)]
        ready = threading.Barrier(4)

        def look():
            ready.wait()  # noqa: B023
            return [(p * 2).tolist() for p in pending]  # noqa: B023

        with ThreadPoolExecutor(4) as pool:
            for found in [f.result() for f in [pool.submit(look) for _ in range(4)]]:
                for mine, theirs in zip(found, expected):
                    assert mine == pytest.approx([2 * v for v in theirs], rel=1e-5, abs=1e-5)
