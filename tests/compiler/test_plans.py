"""Plans kept on disk: found again without planning, made again when their kernels are gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from luchina.compiler import build, jit, planner, plans, prims
from luchina.compiler.prims import Node
from luchina.runtime import cache
from luchina.runtime.buffers import as_numpy, from_numpy


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCHINA_CACHE", str(tmp_path))
    monkeypatch.setattr(plans, "_stored", 0)


def graph(layers: int = 30, width: int = 8, factor: float = 0.5) -> list[Node]:
    """Products and pointwise functions, one after another, with a sum, a run-time scalar and a donated input."""
    x, w, kept = (prims.input(i, (width, width), "float32") for i in range(3))
    number = prims.expand(prims.scalar(0, "float32"), (width, width))
    for _ in range(layers):
        product = prims.dot(prims.reshape(x, (1, width, width)), prims.reshape(w, (1, width, width)))
        y = prims.unary("tanh", prims.reshape(product, (width, width)))
        x = prims.binary("add", prims.binary("mul", y, prims.const(factor, "float32", (width, width))), number)
    return [prims.reduce("sum", x, (1,)), prims.binary("add", kept, x)]


def run(executable: build.Executable) -> list[np.ndarray]:
    state = np.random.default_rng(0)
    arrays = [state.standard_normal((8, 8)).astype(np.float32) for _ in range(3)]
    results = executable.run([from_numpy(a) for a in arrays], [0.25])
    return [as_numpy(b, "float32", shape).copy() for b, shape in zip(results, ((8,), (8, 8)))]


def refuse(*arguments: object) -> None:
    raise AssertionError("planned")


def test_a_kept_plan_gives_the_same_bits_without_planning(monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.compile(graph(), {2: 1}, keep=True)
    expected = run(first)
    monkeypatch.setattr(planner, "plan", refuse)
    again = build.compile(graph(), {2: 1}, keep=True)
    for a, b in zip(run(again), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    told = [(k.name, k.ops, k.bytes_read, k.bytes_written, k.flops, k.blocks) for k in first.kernels]
    assert told == [(k.name, k.ops, k.bytes_read, k.bytes_written, k.flops, k.blocks) for k in again.kernels]
    assert again.plan.taken == first.plan.taken != ()


def test_another_constant_shape_or_donation_is_another_plan() -> None:
    keys = {
        plans.digest(graph(), {2: 1}),
        plans.digest(graph(factor=0.25), {2: 1}),
        plans.digest(graph(width=9), {2: 1}),
        plans.digest(graph(), {}),
        plans.digest(graph()[::-1], {2: 0}),
        plans.digest(graph(), [2]),
    }
    assert None not in keys
    assert len(keys) == 6
    assert plans.digest(graph(), {2: 1}) in keys


def test_small_programs_are_not_kept() -> None:
    assert plans.digest(graph(layers=2), ()) is None


def test_without_a_cache_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCHINA_CACHE", "off")
    assert plans.digest(graph(), ()) is None
    run(build.compile(graph(), {2: 1}, keep=True))


def test_a_plan_whose_kernels_are_gone_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(build.compile(graph(), {2: 1}, keep=True))
    key = plans.digest(graph(), {2: 1})
    assert key is not None
    kept = cache.load(key)
    assert kept is not None
    cache.clear()
    cache.store(key, kept)
    monkeypatch.setattr(jit, "_addresses", {})
    for a, b in zip(run(build.compile(graph(), {2: 1}, keep=True)), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_process_keeps_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MAX_BYTES", 10)
    build.compile(graph(), {2: 1}, keep=True)
    key = plans.digest(graph(), {2: 1})
    assert key is not None
    assert plans.load(key) is None
