"""Values that are computed again for late readers: less memory, the same bits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.compiler.test_build import check, data, graphs, run

from luchina.compiler import build, planner
from luchina.compiler import prims as P
from luchina.compiler import recompute as module

LAYERS, WIDTH = 6, 64


def network():
    """Layers of tanh(x) · erf(x) of a product, and back through them with what a derivative would read."""

    def product(a, b, turned=()):
        a, b = (P.permute(n, (1, 0)) if i in turned else n for i, n in enumerate((a, b)))
        return P.reshape(P.dot(P.reshape(a, (1, *a.shape)), P.reshape(b, (1, *b.shape))), (a.shape[0], b.shape[1]))

    x = P.input(0, (200, WIDTH), "float32")
    weights = [P.input(1 + i, (WIDTH, WIDTH), "float32") for i in range(LAYERS)]
    saved = []
    for weight in weights:
        before = product(x, weight)
        saved.append((x, before))
        x = P.binary("mul", before, P.unary("erf", before))
    g, outputs = x, [P.reduce("sum", x, (0, 1))]
    for weight, (x, before) in reversed(list(zip(weights, saved))):
        g = P.binary("mul", g, P.binary("add", P.unary("erf", before), before))
        outputs.append(product(x, g, (0,)))
        g = product(g, weight, (1,))
    return [*outputs, g]


def arrays():
    return [data((200, WIDTH)), *(0.1 * data((WIDTH, WIDTH), seed=i) for i in range(LAYERS))]


def test_what_is_cheap_is_not_kept(monkeypatch):
    kept, before = run(network(), arrays())
    assert before.arena_bytes < module.WORTH_BYTES
    monkeypatch.setattr(module, "WORTH_BYTES", 0)
    again, after = run(network(), arrays())
    # Of each layer the product alone is kept: neither its error function nor what the next layer reads.
    assert after.arena_bytes < 0.65 * before.arena_bytes
    assert len(after.kernels) == len(before.kernels)
    assert all((a == b).all() for a, b in zip(kept, again))


def test_a_dear_or_sourceless_value_is_kept(monkeypatch):
    """What would read more than it saves, or takes long, stays in memory."""
    monkeypatch.setattr(module, "WORTH_BYTES", 0)
    xs = [P.input(i, (300,), "float32") for i in range(3)]
    wide = P.binary("add", P.binary("add", xs[0], xs[1]), P.unary("exp", xs[2]))
    dear = P.unary("lgamma", xs[0])
    late = P.unary("exp", P.reduce("sum", P.binary("mul", wide, dear), (0,)))
    outputs = [P.binary("add", P.binary("mul", wide, late), dear)]
    executable = check(outputs, [data((300,), seed=i) for i in range(3)])
    assert sum(kernel.ops.count("lgamma") for kernel in executable.kernels) == 1
    assert sum(kernel.ops.count("exp") for kernel in executable.kernels) == 2


@pytest.mark.parametrize("small_part", [256, 1 << 30])
def test_random_graphs(small_part):
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(graphs())
    def every(case):
        shape, dtype, outputs, donated = case
        check(outputs, [data(shape, dtype, 1), data(shape, dtype, 2)], donated=donated)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WORTH_BYTES", 0)
        patch.setattr(module, "SMALL_PART", small_part)
        every()


def test_a_small_program_is_planned_once(monkeypatch):
    planned = []
    scheduler = planner.Scheduler
    monkeypatch.setattr(planner, "Scheduler", lambda *a: planned.append(scheduler(*a)) or planned[-1])
    build.compile(network())
    assert len(planned) == 1
