"""Random numbers of devices beside a model in numpy, and beside what PyTorch prints on NVIDIA's cards.

The operation does not need a device: here it runs on the CPU. ``tests/devices/test_random.py`` draws from generators.
"""

from __future__ import annotations

import numpy as np
import pytest

import luchina
from luchina.compiler import prims as p
from luchina.devices import CPU
from luchina.graph import program
from luchina.ops import philox
from luchina.ops.philox import Layout
from luchina.runtime.buffers import as_numpy
from luchina.tensor import wrap_value

M = np.uint64(0xFFFFFFFF)


def model(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox 4×32-10 by its definition: rows of four words."""
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        a, b = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (b >> np.uint64(32)) ^ c1 ^ k0, b & M, (a >> np.uint64(32)) ^ c3 ^ k1, a & M
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & M, (k1 + np.uint64(0xBB67AE85)) & M
    return np.stack([c0, c1, c2, c3], 1)


def words(seed: int, offset: int, n: int, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """For each element the words of its round, and its place among them, by simulating threads and their rounds."""
    rows, places = np.zeros((n, 4), np.uint64), np.zeros(n, np.int64)
    threads = layout.threads(n)
    key = (seed & 0xFFFFFFFF, seed >> 32)
    v = layout.vector
    for turn in range(-(-n // threads)):
        width = 1 if v > 1 else layout.width
        t = np.arange(threads)
        round_ = offset // 4 + (turn // 2 if v == 2 else turn)
        counter = np.stack([t * 0 + (round_ & 0xFFFFFFFF), t * 0 + (round_ >> 32), t, t * 0], 1)
        made = model(counter, key)
        for j in range(v if v > 1 else width):
            if v > 1:
                at, place = (turn * threads + t) * v + j, j + (2 * (turn % 2) if v == 2 else 0)
            else:
                at, place = turn * threads * width + j * threads + t, j
            inside = at < n
            rows[at[inside]], places[at[inside]] = made[inside], place
    return rows, places


A100 = Layout(864)


def draw(rule: str, n: int, d: luchina.dtype, *arguments: float, seed: int = 0, offset: int = 0, layout: Layout = A100):
    return wrap_value(philox.draw(seed, offset, rule, (n,), d, layout, CPU, *arguments)).numpy()


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # of the authors of Philox
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(counter, key, expected):
    numbers = [*counter, *key]
    nodes = [p.scalar(i, "int64") for i in range(6)]
    found = program.run_aside(
        "philox known answers", lambda: list(philox.philox(tuple(nodes[:4]), tuple(nodes[4:]))), [], numbers, CPU
    )
    assert [int(as_numpy(b, "int64", ())) for b in found] == list(expected)
    assert model(np.array([counter]), key).tolist() == [list(expected)]


def test_numbers_of_pytorch_on_cuda():
    """``torch.manual_seed(0)``, then ``rand(10)`` and ``rand(9)``, or ``randn(16)``, as many have printed them."""
    first = "0.3990 0.5167 0.0249 0.9401 0.9459 0.7967 0.4150 0.8203 0.2290 0.9096"
    then = "0.9722 0.7910 0.4690 0.3300 0.3345 0.3783 0.7640 0.6405 0.1103"
    normal = (
        "-0.9247 -0.4253 -2.6438 0.1452 -0.1209 -0.5797 -0.6229 -0.3284 "
        "-1.0745 -0.3631 -1.6711 2.2655 0.3117 -0.1842 1.2866 1.1820"
    )
    for text, got in (
        (first, draw("uniform", 10, luchina.float32, 0.0, 1.0)),
        (then, draw("uniform", 9, luchina.float32, 0.0, 1.0, offset=Layout(864).offset(10))),
        (normal, draw("normal", 16, luchina.float32, 0.0, 1.0)),
    ):
        assert " ".join(f"{x:.4f}" for x in got) == text


LAYOUTS = {
    "one number a thread": (1000, Layout(864)),
    "several": (9000, Layout(4)),
    "pairs": (9001, Layout(4, 2)),
    "four neighbours": (9004, Layout(4, 4, 4)),
    "two neighbours": (9002, Layout(4, 4, 2)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_who_makes_which_element(name):
    n, layout = LAYOUTS[name]
    seed, offset = 0x123456789ABCDEF0, (1 << 34) - 8
    rows, places = words(seed, offset, n, layout)
    rule = "wide_integers" if layout.width == 2 else "integers"
    got = draw(rule, n, luchina.int64, 5, 1 << 20, seed=seed, offset=offset, layout=layout)
    if layout.width == 2:
        pick = np.arange(n)
        full = (rows[pick, 2 * places] << np.uint64(32)) | rows[pick, 2 * places + 1]
    else:
        full = rows[np.arange(n), places]
    assert (got == (full % np.uint64(1 << 20)).astype(np.int64) + 5).all()
    turns = -(-n // (layout.threads(n) * layout.width)) if layout.vector == 1 else -(-n // (layout.threads(n) * 4))
    assert layout.offset(n) == 4 * turns


@pytest.mark.parametrize("count", [1 << 28, 3**20, (1 << 62) + 12345, (1 << 63) - 1, 1 << 63])
def test_wide_ranges(count):
    rows, _ = words(7, 0, 500, Layout(864, 2))
    full = (rows[:, 0] << np.uint64(32)) | rows[:, 1]
    got = draw("wide_integers", 500, luchina.int64, -3, count % (1 << 63), seed=7, layout=Layout(864, 2))
    assert (got == (full % np.uint64(count)).astype(np.int64) - 3).all()


def test_distributions():
    rows, _ = words(3, 0, 4000, Layout(864))
    u = rows[:, 0].astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)
    assert (draw("uniform", 4000, luchina.float32, 0.0, 1.0, seed=3) == np.where(u == 1, 0, u)).all()
    assert (draw("bernoulli", 4000, luchina.float32, 0.3, seed=3) == (u < np.float32(0.3))).all()
    np.testing.assert_allclose(draw("exponential", 4000, luchina.float32, 2.0, seed=3), -np.log(u) / 2, rtol=1e-5)
    wide, _ = words(3, 0, 4000, Layout(864, 2))
    bits = (wide[:, 0] ^ (wide[:, 1] << np.uint64(21))).astype(np.float64)
    got = draw("uniform", 4000, luchina.float64, -1.0, 3.0, seed=3, layout=Layout(864, 2))
    np.testing.assert_allclose(got, -1 + 4 * (bits * 2.0**-53 + 2.0**-54), rtol=0, atol=1e-15)
    angle = 2 * np.pi * ((wide[:, 2] ^ (wide[:, 3] << np.uint64(21))).astype(np.float64) * 2.0**-53 + 2.0**-54)
    radius = np.sqrt(-2 * np.log(bits * 2.0**-53 + 2.0**-54))
    got = draw("normal", 4000, luchina.float64, 1.0, 2.0, seed=3, layout=Layout(864, 2))
    np.testing.assert_allclose(got, 1 + 2 * radius * np.sin(angle), rtol=1e-12, atol=1e-12)
