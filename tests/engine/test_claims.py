"""What the engine promises of a training step, each promise with a test; figures are printed with ``pytest -s``."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

import luchina as torch
from luchina.compiler import jit
from luchina.graph import program

nn = torch.nn


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 4 * 4, 10)
    )


class Training:
    """A small image classifier and its optimizer, stepped on random data."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.net = conv_net()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-2)

    def batch(self, n: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand(n, 1, 8, 8), torch.randint(10, (n,))

    def step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def test_a_training_step_touches_no_numpy_array(monkeypatch):
    training = Training()
    x, y = training.batch()
    training.step(x, y)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a training step looked at memory through numpy")

    from luchina.runtime import buffers

    monkeypatch.setattr(buffers, "as_numpy", refuse)
    before = program.statistics["runs"]
    for _ in range(3):
        training.step(x, y)
    assert program.statistics["runs"] == before + 3


def test_the_second_step_compiles_nothing():
    program.realize(())
    training = Training()
    training.step(*training.batch())
    compiled, programs = jit.compiled, program.statistics["programs"]
    for _ in range(3):
        training.step(*training.batch())
    assert (jit.compiled, program.statistics["programs"]) == (compiled, programs)


STEP = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, {tests!r})
    from test_claims import Training
    from luchina.compiler import jit
    training = Training()
    loss = training.step(*training.batch()).item()
    print(jit.compiled, jit.loaded, loss.hex())
    """
)


def run_step(cache: str, **environment: str) -> tuple[int, int, str]:
    code = STEP.format(tests=os.path.dirname(__file__))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LUCHINA_CACHE": cache, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    compiled, loaded, loss = done.stdout.split()
    return int(compiled), int(loaded), loss


@pytest.mark.slow
def test_a_second_process_finds_its_kernels_and_damage_is_recompiled(tmp_path):
    cache = str(tmp_path / "cache")
    first = run_step(cache)
    assert first[0] > 0
    second = run_step(cache)
    assert second[0] == 0 and second[1] > 0 and second[2] == first[2]
    for folder, _, names in os.walk(cache):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "r+b") as file:
                file.seek(-8, os.SEEK_END)
                file.write(b"damaged!")
    third = run_step(cache)
    assert third[0] > 0 and third[2] == first[2]


def test_other_batch_sizes_compile_a_bounded_handful():
    training = Training()
    for n in (32, 31):
        training.step(*training.batch(n))
    before = jit.compiled
    for n in (7, 8, 16, 33, 48, 63, 64, 65, 100):
        training.step(*training.batch(n))
    new = jit.compiled - before
    print(f"kernels compiled for nine more batch sizes: {new}")
    assert new <= 12


def test_a_growing_context_compiles_a_bounded_handful():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(16, 2, batch_first=True)
    x = torch.randn(1, 1, 16)
    with torch.no_grad():
        for _ in range(8):
            x = torch.cat([x, attention(x, x, x)[0][:, -1:]], 1)
            x.sum().item()
        before = jit.compiled
        for _ in range(64):
            x = torch.cat([x, attention(x, x, x)[0][:, -1:]], 1)
            x.sum().item()
    new = jit.compiled - before
    print(f"kernels compiled while the context grew by 64 tokens: {new}")
    assert new <= 24


def test_one_and_two_threads_give_the_same_bits():
    def curve(threads: int) -> list[str]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            torch.manual_seed(3)
            net = nn.Sequential(nn.Linear(300, 500), nn.Tanh(), nn.LayerNorm(500), nn.Linear(500, 10))
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
            x, y = torch.randn(256, 300), torch.randint(10, (256,))
            losses = []
            for _ in range(3):
                loss = nn.functional.cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item().hex())
            return losses
        finally:
            torch.set_num_threads(before)

    one = curve(1)
    assert curve(2) == one
    assert curve(2) == one
