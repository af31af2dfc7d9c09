"""The random generator gives PyTorch's numbers: against stored ones, against PyTorch, and against plain models."""

import hashlib
import math
import pickle
import re
import threading
from pathlib import Path

import numpy as np
import pytest

import luchina
from luchina import generator as generator_module
from luchina.compiler.random import rule_kernel
from luchina.generator import Generator
from luchina.runtime.buffers import Buffer, allocate, as_numpy, from_bytes

ITEMSIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1}
ITEMSIZE |= {"uint8": 1, "bool": 1}
FLOATS = ["float32", "float64", "float16", "bfloat16"]
GOLDEN = Path(__file__).parent / "golden" / "rng.npz"


def fill(g: Generator, rule: str, dtype: str, n: int, *args, **options) -> bytes:
    buffer = allocate(n * ITEMSIZE[dtype])
    getattr(g, "fill_" + rule)(buffer, dtype, n, *args, **options)
    return as_numpy(buffer, dtype, (n,)).tobytes()


def linspace(n: int, dtype: str) -> Buffer:
    """``torch.linspace(0, 1, n)``: stepping from both ends."""
    kind = {"float64": np.float64, "float16": np.float32, "bfloat16": np.float32, "float32": np.float32}[dtype]
    step = kind(1) / kind(n - 1)
    i = np.arange(n).astype(kind)
    values = np.where(np.arange(n) < n // 2, step * i, kind(1) - step * (kind(n - 1) - i)).astype(kind)
    return encode(values, dtype)


def encode(values: np.ndarray, dtype: str) -> Buffer:
    if dtype != "bfloat16":
        return from_bytes(values.astype(dtype).tobytes())
    bits = values.astype(np.float32).view(np.uint32)
    return from_bytes(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes())


def draw(g: Generator, rule: str, dtype: str, n: int, *args) -> bytes:
    """What ``golden/make_rng.py`` draws under the same name."""
    match rule:
        case "normal_strided":
            return fill(g, "normal", dtype, n, *args, contiguous=False)
        case "full_range":
            return fill(g, "random", dtype, n, full_range=True)
        case "bernoulli_tensor":
            out = allocate(n * ITEMSIZE[dtype])
            g.fill_bernoulli_tensor(out, dtype, linspace(n, dtype), dtype, n)
            return as_numpy(out, dtype, (n,)).tobytes()
        case "multinomial":
            rows, samples, replacement = args
            out = allocate(8 * rows * samples)
            weights = encode((np.arange(rows * n) % 7 + 1).astype(np.float32), dtype)
            g.fill_multinomial(out, weights, dtype, rows, n, samples, bool(replacement))
            return as_numpy(out, "int64", (rows * samples,)).tobytes()
        case _:
            return fill(g, rule, dtype, n, *args)


def golden() -> dict[str, bytes]:
    with np.load(GOLDEN) as file:
        ends = np.cumsum(file["sizes"])
        parts = np.split(file["data"], ends[:-1])
        return {name: part.tobytes() for name, part in zip(str(file["names"]).split("\n"), parts)}


def golden_seeds() -> list[int]:
    return sorted({int(name.split("|")[0]) for name in golden() if "|" in name})


@pytest.mark.parametrize("seed", golden_seeds())
def test_stored_numbers_and_states(seed):
    """Every rule in one long sequence; numbers and the state after each are PyTorch's to the bit."""
    entries = golden()
    g = Generator().manual_seed(seed)
    cases = [name for name in entries if name.startswith(f"{seed}|") and not name.endswith("|state")]
    assert len(cases) > 200
    wrong = []
    for name in cases:
        _, rule, dtype, n, arguments = name.split("|")
        args = [float(a) if "." in a else int(a) for a in arguments.split(",") if a]
        size = len(entries[name])
        numbers = draw(g, rule, dtype, int(n), *args)[:size]
        state = hashlib.blake2b(g.get_state(), digest_size=8).digest()
        if numbers != entries[name] or state != entries[name + "|state"]:
            wrong.append(name)
    assert not wrong


def test_a_stored_state_continues_where_pytorch_stopped():
    entries = golden()
    state = entries["state after manual_seed(3), randn(3)"]
    g = Generator()
    g.set_state(state)
    assert g.initial_seed() == 3
    assert g.get_state() == state
    assert fill(g, "normal", "float32", 20) == entries["randn(20) that follows"]
    again = Generator().manual_seed(3)
    fill(again, "normal", "float32", 3)
    assert again.get_state() == state


@pytest.mark.parity
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_length_as_pytorch(seed, dtype):
    import torch

    kind = getattr(torch, dtype)
    g, t = Generator().manual_seed(seed), torch.Generator().manual_seed(seed)

    def same(ours: bytes, theirs) -> bool:
        theirs = theirs.contiguous()
        return ours == (theirs.view(torch.int16) if theirs.dtype == torch.bfloat16 else theirs).numpy().tobytes()

    for n in [*range(1, 41), 623, 624, 625, 1000, 65536]:
        empty = torch.empty(n, dtype=kind)
        assert same(fill(g, "uniform", dtype, n, -0.1, 0.7), empty.uniform_(-0.1, 0.7, generator=t)), n
        assert same(fill(g, "normal", dtype, n, 0.3, 0.02), empty.normal_(0.3, 0.02, generator=t)), n
        strided = torch.empty(n, 2, dtype=kind)[:, 0].normal_(0.3, 0.02, generator=t)
        assert same(fill(g, "normal", dtype, n, 0.3, 0.02, contiguous=False), strided), n
        assert same(fill(g, "random", dtype, n), empty.random_(generator=t)), n
        assert same(fill(g, "randint", dtype, n, 0, 200), empty.random_(0, 200, generator=t)), n
        assert same(fill(g, "bernoulli", dtype, n, 0.1), empty.bernoulli_(0.1, generator=t)), n
        assert same(fill(g, "exponential", dtype, n, 3.0), empty.exponential_(3.0, generator=t)), n
        assert same(fill(g, "randperm", "int64", n), torch.randperm(n, generator=t)), n
        assert g.get_state() == t.get_state().numpy().tobytes(), n


# ---- the engine against numpy's


@pytest.mark.parametrize("seed", [0, 5489, 2**32 - 1])
def test_words_are_the_textbooks(seed):
    g = Generator().manual_seed(seed)
    parts = [as_numpy(g.words(n), "int32", (n,)).view(np.uint32) for n in (1, 2, 620, 1, 1, 3000, 623, 625)]
    expected = np.random.RandomState(seed).randint(0, 1 << 32, sum(map(len, parts)), dtype=np.uint64)
    assert (np.concatenate(parts) == expected).all()


def test_only_the_low_half_of_the_seed_matters():
    streams = {fill(Generator().manual_seed(s), "random", "int64", 9) for s in (5, 2**32 + 5, 5 - 2**32)}
    assert len(streams) == 1


def test_random64_is_two_words_the_first_on_top():
    words = np.random.RandomState(7).randint(0, 1 << 32, 2, dtype=np.uint64)
    assert Generator().manual_seed(7).random64() == int(words[0]) << 32 | int(words[1])


def test_a_large_permutation_is_the_inside_out_shuffle(monkeypatch):
    n = 2000
    monkeypatch.setattr(generator_module, "_LARGE_PERMUTATION", n)
    drawn = np.frombuffer(fill(Generator().manual_seed(1), "randperm", "int64", n), np.int64)
    words = np.random.RandomState(1).randint(0, 1 << 32, 2 * n, dtype=np.uint64)
    expected = np.arange(n)
    for i, (high, low) in enumerate(words.reshape(n, 2)):
        j = (int(high) << 32 | int(low)) % (i + 1)
        expected[i] = expected[j]
        expected[j] = i
    assert (drawn == expected).all()


# ---- seeds and states


def test_seeds():
    g = Generator()
    assert g.initial_seed() == 67280421310721
    assert g.manual_seed(-1) is g
    assert g.initial_seed() == 2**64 - 1
    first, second = g.seed(), g.seed()
    assert first != second == g.initial_seed()
    assert Generator().manual_seed(np.int64(4)).initial_seed() == 4


def test_two_processes_do_not_share_their_first_seed():
    assert generator_module.default_generator.initial_seed() != Generator().initial_seed()


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_that_does_not_fit_is_refused(seed):
    with pytest.raises(ValueError, match="Overflow when unpacking long"):
        Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", ["a", 1.5, None])
def test_a_seed_that_is_no_integer_is_refused(seed):
    with pytest.raises(RuntimeError, match=f"manual_seed expected a long, but got {type(seed).__name__}"):
        Generator().manual_seed(seed)


def test_a_kept_normal_is_forgotten_with_a_new_seed():
    g = Generator().manual_seed(2)
    first = fill(g, "normal", "float64", 1)
    assert g.manual_seed(2) is g
    assert fill(g, "normal", "float64", 1) == first


@pytest.mark.parametrize("before", [0, 1, 623, 624, 625, 1248])
def test_states_go_round(before):
    g = Generator().manual_seed(11)
    g.words(before)
    fill(g, "normal", "float32", 3)  # leaves a kept normal
    state = g.get_state()
    copies = [g.clone_state(), Generator().set_state(state), pickle.loads(pickle.dumps(g))]
    expected = fill(g, "normal", "float32", 5) + fill(g, "uniform", "float64", 1000)
    for copy in copies:
        assert copy.initial_seed() == 11
        assert fill(copy, "normal", "float32", 5) + fill(copy, "uniform", "float64", 1000) == expected


def test_a_wrong_state_is_refused_and_changes_nothing():
    g = Generator().manual_seed(1)
    state = g.get_state()
    with pytest.raises(RuntimeError, match=r"Expected a CPUGeneratorImplState of size 5056 but found .* 5$"):
        g.set_state(bytes(5))
    left, following = slice(8, 12), slice(16, 24)
    for where, value in [(left, 0), (left, 700), (left, -1), (slice(12, 16), 0), (following, 700), (following, 3)]:
        damaged = bytearray(state)
        damaged[where] = value.to_bytes(where.stop - where.start, "little", signed=True)
        with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
            g.set_state(damaged)
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        g.set_state(bytes(5056))
    assert g.get_state() == state


def test_other_devices_are_refused():
    with pytest.raises(RuntimeError, match="cuda"):
        Generator("cuda")


# ---- rules


def test_nothing_is_drawn_for_nothing():
    g = Generator().manual_seed(1)
    state = g.get_state()
    for rule, args in [("uniform", ()), ("normal", ()), ("randint", (0, 5)), ("randperm", ()), ("bernoulli", (0.5,))]:
        fill(g, rule, "float32", 0, *args)
    assert fill(g, "randperm", "int64", 1) == bytes(8)
    assert g.get_state() == state


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_never_reaches_its_upper_bound(dtype):
    buffer = allocate(100_000 * ITEMSIZE[dtype])
    Generator().manual_seed(0).fill_uniform(buffer, dtype, 100_000)
    values = as_numpy(buffer, dtype, (100_000,))
    one = 0x3F80 if dtype == "bfloat16" else 1
    assert values.min() >= 0 and values.max() < one


@pytest.mark.parametrize("low, high", [(5, 5), (5, 2)])
def test_an_empty_range_is_refused(low, high):
    with pytest.raises(RuntimeError, match=f"to be less than 'to', but got from={low} >= to={high}"):
        fill(Generator(), "randint", "int64", 3, low, high)


def test_a_buffer_that_is_too_small_is_refused():
    g = Generator().manual_seed(1)
    state = g.get_state()
    with pytest.raises(ValueError, match="do not fit"):
        g.fill_uniform(allocate(8), "float32", 3)
    with pytest.raises(ValueError, match="too small"):
        g.fill_multinomial(allocate(8), allocate(40), "float32", 1, 10, 2, True)
    assert g.get_state() == state


@pytest.mark.parametrize(
    "weights, samples, replacement, message",
    [
        ([1, -1], 1, False, "contains either `inf`, `nan` or element < 0"),
        ([1, np.nan], 1, True, "contains either `inf`, `nan` or element < 0"),
        ([1, np.inf], 2, False, "contains either `inf`, `nan` or element < 0"),
        ([0, 0], 1, False, "sum of probabilities <= 0"),
        ([0, 0], 2, True, "sum of probabilities <= 0"),
        ([1, -1], 2, True, "encountering probability entry < 0"),
        ([1, np.inf], 2, True, "encountering probability entry = infinity or NaN"),
    ],
)
def test_impossible_weights_are_refused(weights, samples, replacement, message):
    g = Generator().manual_seed(1)
    state = g.get_state()
    with pytest.raises(RuntimeError, match=message):
        p = encode(np.array(weights), "float32")
        g.fill_multinomial(allocate(8 * samples), p, "float32", 1, len(weights), samples, replacement)
    assert g.get_state() == state


def test_multinomial_without_replacement_chooses_each_once_and_zeros_last():
    n = 500
    weights = encode(np.r_[np.zeros(100), np.ones(n - 100)], "float32")
    out = allocate(8 * n)
    Generator().manual_seed(0).fill_multinomial(out, weights, "float32", 1, n, n, False)
    chosen = as_numpy(out, "int64", (n,))
    assert sorted(chosen) == list(range(n))
    assert sorted(chosen[-100:]) == list(range(100))


def test_threads_share_a_generator_without_losing_words():
    g = Generator().manual_seed(1)
    parts: list[np.ndarray] = []

    def work():
        for _ in range(50):
            parts.append(np.frombuffer(fill(g, "uniform", "float64", 500), np.float64))

    runners = [threading.Thread(target=work) for _ in range(4)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    alone = np.frombuffer(fill(Generator().manual_seed(1), "uniform", "float64", 100_000), np.float64)
    assert sorted(np.concatenate(parts)) == sorted(alone)


def test_a_rule_prints_as_ir():
    from luchina.compiler import jit

    text = jit.kernel_ir(rule_kernel("uniform", "float32"))
    assert "llvm.fma" in text and "double %low, double %high" in text


@pytest.mark.parametrize(
    ("weights", "several"),
    [
        ([-1.0, 2.0], "invalid multinomial distribution (encountering probability entry < 0)"),
        ([math.inf, 1.0], "invalid multinomial distribution (encountering probability entry = infinity or NaN)"),
        ([0.0, 0.0], "invalid multinomial distribution (sum of probabilities <= 0)"),
    ],
)
def test_multinomial_says_what_is_wrong_as_pytorch_does(weights, several):
    single = "probability tensor contains either `inf`, `nan` or element < 0" if any(weights) else several
    for count, replacement, text in ((3, True, several), (1, True, single), (1, False, single)):
        with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
            luchina.multinomial(luchina.tensor(weights), count, replacement)
