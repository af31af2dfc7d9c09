"""The kernels of recurrent layers beside numpy in float64: every cell, tails of rows and units, both directions."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from tests.compiler.test_build import run

from luchina.compiler import build, jit
from luchina.compiler import prims as P
from luchina.compiler.recurrence.spec import TILES, Spec, choose_tile, rows_of_block
from luchina.compiler.target import TARGETS, host
from luchina.runtime import threads

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
MODES = sorted(P.CELLS)
CASES = [  # steps, batch, hidden
    (1, 1, 1),
    (3, 2, 5),
    (4, 7, 16),
    (5, 13, 21),
    (2, 33, 40),
]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def step(mode: str, x: np.ndarray, u: np.ndarray, h: np.ndarray, c: np.ndarray | None) -> tuple:
    """h, c and the gates after one step."""
    if mode == "LSTM":
        i, f, g, o = np.split(x + u, 4, 1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        return o * np.tanh(c), c, (i, f, g, o)
    if mode == "GRU":
        xs, us = np.split(x, 3, 1), np.split(u, 3, 1)
        r, z = sigmoid(xs[0] + us[0]), sigmoid(xs[1] + us[1])
        n = np.tanh(xs[2] + r * us[2])
        return n + z * (h - n), None, (r, z, n, us[2])
    return (np.tanh(x + u) if mode == "RNN_TANH" else np.maximum(x + u, 0)), None, ()


def forward(mode: str, arrays: list[np.ndarray], reverse: bool) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """h and c before and after every step, in the trace's order, and the gates, in float64."""
    x, h, *rest, w = (a.astype("float64") for a in arrays)
    cell = P.CELLS[mode]
    steps = len(x)
    c, bias = rest[0] if cell.has_c else None, rest[0] if cell.biased else 0
    hs, cs, kept = [h], [c], [None] * steps
    for t in range(steps)[::-1] if reverse else range(steps):
        h, c, gates = step(mode, x[t], h @ w.T + bias, h, c)
        hs.append(h)
        cs.append(c)
        kept[t] = np.concatenate(gates, 1) if gates else np.zeros((len(h), 0))
    order = slice(None, None, -1 if reverse else 1)
    return np.stack(hs[order]), np.stack(cs[order]) if cell.has_c else None, np.stack(kept)


def arrays_of(mode: str, case: tuple[int, int, int], dtype: str, seed: int = 0) -> list[np.ndarray]:
    """x, h0, then c0 or the bias where there is one, and w."""
    steps, batch, hidden = case
    cell = P.CELLS[mode]
    rng = np.random.default_rng(seed)
    width = cell.gates * hidden
    shapes = [(steps, batch, width), (batch, hidden)]
    shapes += [(batch, hidden)] * cell.has_c + [(width,)] * cell.biased + [(width, hidden)]
    found = [rng.standard_normal(shape) for shape in shapes]
    found[-1] /= np.sqrt(hidden)
    return [a.astype(dtype) for a in found]


def graph(mode: str, arrays: list[np.ndarray], reverse: bool, keep: bool = True) -> P.Node:
    x, h0, *rest, w = (P.input(i, a.shape, str(a.dtype)) for i, a in enumerate(arrays))
    cell = P.CELLS[mode]
    c0, bias = rest[0] if cell.has_c else None, rest[0] if cell.biased else None
    return P.recurrence(mode, x, h0, c0, bias, w, reverse, keep)


def backward_graph(mode: str, arrays: list[np.ndarray], reverse: bool, steps: int) -> P.Node:
    g, gh, *gc, trace, w = (P.input(i, a.shape, str(a.dtype)) for i, a in enumerate(arrays))
    return P.recurrence_backward(mode, g, gh, gc[0] if gc else None, trace, w, steps, reverse)


def sections(mode: str, case: tuple[int, int, int], flat: np.ndarray, keep: bool) -> tuple:
    steps, batch, hidden = case
    cell, at = P.CELLS[mode], P.recurrence_sections(mode, *case, keep)
    assert flat.size == at.size
    h = flat[: at.c].reshape(steps + 1, batch, hidden)
    c = flat[at.c : at.kept].reshape(-1, batch, hidden) if cell.has_c else None
    return h, c, flat[at.kept :].reshape(steps, batch, -1) if keep else None


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mode", MODES)
def test_forward(mode: str, case: tuple[int, int, int], reverse: bool) -> None:
    for dtype, tolerance in TOLERANCE.items():
        given = arrays_of(mode, case, dtype)
        want = forward(mode, given, reverse)
        for keep in (True, False):
            (flat,), _ = run([graph(mode, given, reverse, keep)], given)
            h, c, kept = sections(mode, case, flat, keep)
            np.testing.assert_allclose(h, want[0], rtol=tolerance, atol=tolerance)
            if c is not None:
                last = want[1] if keep else want[1][:1] if reverse else want[1][-1:]
                np.testing.assert_allclose(c, last, rtol=tolerance, atol=tolerance)
            if kept is not None:
                np.testing.assert_allclose(kept, want[2], rtol=tolerance, atol=tolerance)


def loss(mode: str, arrays: list[np.ndarray], reverse: bool, g: np.ndarray, ends: list[np.ndarray]) -> float:
    h, c, _ = forward(mode, arrays, reverse)
    every, end = (h[:-1], 0) if reverse else (h[1:], -1)
    total = (every * g).sum() + (h[end] * ends[0]).sum()
    return total + (c[end] * ends[1]).sum() if c is not None else total


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("case", [(1, 1, 1), (3, 2, 5), (3, 9, 17)])
@pytest.mark.parametrize("mode", MODES)
def test_backward_is_the_slope(mode: str, case: tuple[int, int, int], reverse: bool) -> None:
    """Along drawn directions of x, h0 and c0; du by the direction of w that it makes."""
    steps, batch, hidden = case
    cell = P.CELLS[mode]
    given = arrays_of(mode, case, "float64", seed=1)
    rng = np.random.default_rng(2)
    g = rng.standard_normal((steps, batch, hidden))
    ends = [rng.standard_normal((batch, hidden)) for _ in range(1 + cell.has_c)]
    (trace,), _ = run([graph(mode, given, reverse)], given)
    inputs = [g, *ends, trace, given[-1]]
    (flat,), _ = run([backward_graph(mode, inputs, reverse, steps)], inputs)
    every = steps * batch * cell.gates * hidden
    dx = flat[:every].reshape(steps, batch, -1)
    du = flat[every : 2 * every].reshape(steps, batch, -1) if cell.biased else dx
    carried = flat[-batch * hidden :].reshape(batch, hidden) if cell.carries else 0
    dh0 = du[-1 if reverse else 0] @ given[-1] + (carried if cell.biased else 0)
    hs = forward(mode, given, reverse)[0]
    before = hs[1:] if reverse else hs[:-1]
    dw = np.einsum("tbg,tbh->gh", du, before)
    gradients = [dx, dh0, *([carried] if cell.has_c else []), *([du.sum((0, 1))] if cell.biased else []), dw]
    assert len(gradients) == len(given)
    for i, gradient in enumerate(gradients):
        direction = rng.standard_normal(given[i].shape)
        near = [[a + sign * 1e-6 * direction if j == i else a for j, a in enumerate(given)] for sign in (1, -1)]
        slope = (loss(mode, near[0], reverse, g, ends) - loss(mode, near[1], reverse, g, ends)) / 2e-6
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_one_cotangent_for_every_step() -> None:
    case = (4, 3, 6)
    given = arrays_of("LSTM", case, "float32")
    (trace,), _ = run([graph("LSTM", given, False)], given)
    rng = np.random.default_rng(0)
    g, gh, gc = (rng.standard_normal((1, 3, 6)).astype("float32") for _ in range(3))
    found = []
    for each in (g, np.repeat(g, 4, 0)):
        inputs = [each, gh[0], gc[0], trace, given[-1]]
        (flat,), _ = run([backward_graph("LSTM", inputs, False, 4)], inputs)
        found.append(flat)
    np.testing.assert_array_equal(*found)


def test_inputs_are_read_where_they_lie() -> None:
    """Projections of another order of axes cost no copy."""
    given = arrays_of("GRU", (4, 3, 8), "float32")
    x = P.permute(P.input(0, (3, 4, 24), "float32"), (1, 0, 2))
    rest = [P.input(i, a.shape, "float32") for i, a in enumerate(given) if i]
    node = P.recurrence("GRU", x, rest[0], None, *rest[1:], False, True)
    (turned,), executable = run([node], [np.ascontiguousarray(given[0].swapaxes(0, 1)), *given[1:]])
    (plain,), _ = run([graph("GRU", given, False)], given)
    np.testing.assert_array_equal(turned, plain)
    assert [kernel.ops for kernel in executable.kernels] == [["pack"], ["gru forward"]]


def test_a_row_does_not_see_the_others() -> None:
    """NaN and infinity in one row, also where it shares a tile, leave the others their bits."""
    given = arrays_of("LSTM", (3, 9, 5), "float32")
    (plain,), _ = run([graph("LSTM", given, False)], given)
    given[0][1, 4], given[1][2] = np.nan, np.inf
    (spoilt,), _ = run([graph("LSTM", given, False)], given)
    others = [0, 1, 3, 5, 6, 7, 8]
    for a, b in zip(sections("LSTM", (3, 9, 5), plain, True), sections("LSTM", (3, 9, 5), spoilt, True)):
        np.testing.assert_array_equal(a[:, others], b[:, others])
        assert np.isnan(b[-1, 4]).all()


@pytest.mark.parametrize("mode", MODES)
def test_the_same_bits_for_one_and_two_threads(mode: str) -> None:
    case = (20, 40, 64)
    given = arrays_of(mode, case, "float32")
    rng = np.random.default_rng(0)
    ends = [rng.standard_normal((40, 64)).astype("float32") for _ in range(1 + P.CELLS[mode].has_c)]
    g = rng.standard_normal((20, 40, 64)).astype("float32")
    before = threads.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            threads.set_num_threads(count)
            (trace,), executable = run([graph(mode, given, False)], given)
            assert executable.kernels[-1].blocks > 1
            inputs = [g, *ends, trace, given[-1]]
            (flat,), _ = run([backward_graph(mode, inputs, False, 20)], inputs)
            found.append(trace.tobytes() + flat.tobytes())
    finally:
        threads.set_num_threads(before)
    assert found[0] == found[1]


@pytest.mark.parametrize("mode", MODES)
def test_other_lengths_and_widths_compile_nothing(mode: str) -> None:
    def make(case: tuple[int, int, int]) -> None:
        given = arrays_of(mode, case, "float32")
        build.compile([graph(mode, given, False)])
        ends = [given[1]] * (1 + P.CELLS[mode].has_c)
        trace = np.zeros(P.recurrence_sections(mode, *case, True).size, "float32")
        build.compile([backward_graph(mode, [np.zeros(case, "float32"), *ends, trace, given[-1]], True, case[0])])

    make((10, 32, 64))
    before = jit.compiled
    for case in ((1, 32, 64), (11, 32, 64), (500, 32, 64), (10, 32, 100), (7, 64, 20)):
        make(case)
    assert jit.compiled == before


def test_tiles_and_blocks() -> None:
    """Two workers are given a share each where there are rows enough, and registers suffice."""
    for name, row in TARGETS.items():
        for mr, nv, _ in TILES[name]:
            assert mr * nv + nv + 1 <= row.registers
    for batch in (1, 2, 3, 8, 12, 32, 33, 100):
        mr, _ = choose_tile(host(), batch)
        rows = rows_of_block(batch, mr, 1 << 20)
        assert rows % mr == 0 and (batch < 4 or -(-batch // rows) > 1 or batch <= 2 * mr)
    assert rows_of_block(64, 8, 1 << 10) == 8
    assert str(Spec("forward", "LSTM", "float32", 8, 2)) != str(Spec("forward", "LSTM", "float32", 8, 2, False))


def test_wide_layers_share_panels_between_tiles() -> None:
    """Recurrent weights beyond the second cache: blocks of two tiles, and chains of more than 512 steps."""
    case = (2, 20, 530)
    given = arrays_of("RNN_TANH", case, "float32")
    assert rows_of_block(20, choose_tile(host(), 20)[0], 530 * 530 * 4) > choose_tile(host(), 20)[0]
    (flat,), _ = run([graph("RNN_TANH", given, False)], given)
    h, _, _ = sections("RNN_TANH", case, flat, True)
    np.testing.assert_allclose(h, forward("RNN_TANH", given, False)[0], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("target", ["avx2", "sse2"])
def test_narrower_machines(target: str) -> None:
    """The same with the code of a lower row of the table, in a process of its own."""
    if sys.platform != "linux" or host().arch != "x86_64" or host().name in (target, "sse2"):
        pytest.skip("needs an x86-64 machine above the row")
    if "LUCHINA_TARGET" in os.environ:
        pytest.skip("already in such a process")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env=os.environ | {"LUCHINA_TARGET": target}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:]
