"""Attention's kernels beside numpy in float64: every mask, layout and tail; bits, memory and the number of kernels."""

from __future__ import annotations

import numpy as np
import pytest
from tests import reference
from tests.compiler.test_build import run

from luchina.compiler import build, jit
from luchina.compiler import prims as P
from luchina.runtime import threads

TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 2e-5, "float64": 1e-12}
CASES = [
    # lead (A, C, G), queries, keys, widths, mask
    ((1, 1, 1), 1, 1, 1, 1, None),
    ((2, 3, 1), 5, 7, 4, 3, None),
    ((1, 2, 2), 64, 64, 32, 32, "causal"),
    ((1, 2, 1), 65, 130, 16, 48, "causal"),
    ((1, 2, 1), 130, 65, 64, 64, "causal"),
    ((1, 2, 1), 97, 100, 20, 17, "bool"),
    ((2, 1, 1), 50, 200, 32, 100, "float32"),
    ((1, 1, 1), 200, 300, 33, 8, None),
]


def arrays(case: tuple, dtype: str, seed: int = 0) -> list[np.ndarray]:
    """q, k, v, g and perhaps a mask in which one query sees nothing."""
    lead, queries, keys, width, value_width, mask = case
    rng = np.random.default_rng(seed)
    shapes = [(queries, width), (keys, width), (keys, value_width), (queries, value_width)]
    made = [reference.store(rng.standard_normal((*lead, *shape)), dtype) for shape in shapes]
    if mask in ("bool", "float32"):
        seen = rng.random((*lead, queries, keys)) > 0.4
        seen[..., queries // 2, :] = False
        made.append(seen if mask == "bool" else np.where(seen, rng.standard_normal(seen.shape), -np.inf).astype(mask))
    return made


def graph(case: tuple, dtype: str, parts: int = 1) -> list[P.Node]:
    """Result, logarithms of sums, gradients: of inputs numbered as ``arrays`` gives them."""
    lead, queries, keys, width, value_width, kind = case
    shapes = [(queries, width), (keys, width), (keys, value_width), (queries, value_width)]
    q, k, v, g = (P.input(i, (*lead, *shape), dtype) for i, shape in enumerate(shapes))
    mask = P.input(4, (*lead, queries, keys), kind) if kind in ("bool", "float32") else None
    scale, causal = width**-0.5, kind == "causal"
    out = P.attention(q, k, v, mask, scale, causal)
    lse = P.attention_lse(out)
    product = P.binary("mul", P.cast(P.permute(out, (0, 2, 3, 1, 4)), lse.dtype), P.cast(g, lse.dtype))
    delta = P.reduce("sum", product, (4,))
    dq, dk, dv = P.attention_backward(q, k, v, mask, lse, delta, g, scale, causal, parts)
    if parts > 1:
        dq = P.permute(P.cast(P.reduce("sum", dq, (0,)), dtype), (0, 3, 1, 2, 4))
    return [out, lse, dq, dk, dv]


def expected(case: tuple, given: list[np.ndarray], dtype: str) -> list[np.ndarray]:
    """The same in numpy, in float64."""
    *_, width, _, kind = case
    q, k, v, g = (reference.load(x, dtype).astype(np.float64) for x in given[:4])
    scores = q @ k.swapaxes(-1, -2) * width**-0.5
    if kind == "causal":
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    elif kind == "bool":
        scores = np.where(given[4], scores, -np.inf)
    elif kind is not None:
        scores = scores + given[4]
    most = scores.max(-1, keepdims=True)
    most = np.where(np.isinf(most), 0, most)
    weights = np.exp(scores - most)
    total = weights.sum(-1, keepdims=True)
    nothing = total == 0
    weights = weights / np.where(nothing, 1, total)
    lse = np.where(nothing, np.inf, most + np.log(np.where(nothing, 1, total)))[..., 0]
    change = g @ v.swapaxes(-1, -2)
    change = weights * (change - (change * weights).sum(-1, keepdims=True)) * width**-0.5
    results = [weights @ v, change @ k, change.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ g]
    out, *gradients = (x.transpose(0, 3, 1, 2, 4) for x in results)
    return [out, lse, *gradients]


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients(case: tuple, dtype: str, parts: int) -> None:
    given = arrays(case, dtype)
    results, _ = run(graph(case, dtype, parts), given)
    for got, want in zip(results, expected(case, given, dtype), strict=True):
        got = reference.load(got, dtype) if got.dtype not in (np.float32, np.float64) else got
        np.testing.assert_allclose(
            got, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * max(1, np.sqrt(case[2]) / 4)
        )


def test_heads_first_results_are_written_so_and_views_are_read_where_they_lie() -> None:
    """The layout (B, T, H, D) that models have: one kernel, whether a result is wanted so or with its heads first."""
    tokens = [P.input(i, (2, 40, 3, 16), "float32") for i in range(3)]
    heads = [P.reshape(P.permute(x, (0, 2, 1, 3)), (2, 3, 1, 40, 16)) for x in tokens]
    out = P.attention(*heads, None, 0.25, True)
    first = P.reshape(P.permute(out, (0, 2, 3, 1, 4)), (2, 3, 40, 16))
    w = P.input(3, (1, 48, 8), "float32")
    back = P.dot(P.reshape(P.permute(first, (0, 2, 1, 3)), (1, 80, 48)), w)
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(shape).astype(np.float32) for shape in [(2, 40, 3, 16)] * 3 + [(1, 48, 8)]]
    (product,), executable = run([back], given)
    assert [kernel.ops for kernel in executable.kernels] == [["attention"], ["dot"]]
    (by_head,), executable = run([first], given[:3])
    assert [kernel.ops for kernel in executable.kernels] == [["attention"]]
    np.testing.assert_allclose(product, by_head.swapaxes(1, 2).reshape(1, 80, 48) @ given[3], rtol=1e-4, atol=1e-5)
    both, _ = run([first, back], given)
    np.testing.assert_array_equal(both[0], by_head)
    np.testing.assert_array_equal(both[1], product)


def test_a_further_result_in_two_places() -> None:
    """Gradients as pieces of one array and again by themselves."""
    case = CASES[2]
    out, lse, dq, dk, dv = graph(case, "float32")
    given = arrays(case, "float32")
    plain, _ = run([dq, dk, dv, lse], given)
    joined, _ = run([P.concat([dq, dk, dv], 4), dk, dv, dk, lse, P.concat([lse, lse], 0), out], given)
    np.testing.assert_array_equal(joined[0], np.concatenate(plain[:3], 4))
    for got, want in zip(joined[1:6], [plain[1], plain[2], plain[1], plain[3], np.concatenate([plain[3]] * 2)]):
        np.testing.assert_array_equal(got, want)


def test_gradients_are_written_straight_into_the_array_that_joins_them() -> None:
    """As packed projections have it: (B, C, T, D) each, side by side in (B, T, 3 · C · D)."""
    case = ((2, 3, 1), 70, 70, 16, 16, "causal")
    given = arrays(case, "float32")
    _, _, *gradients = graph(case, "float32")
    plain, _ = run(gradients, given)

    def by_token(x: P.Node) -> P.Node:
        heads_first = P.reshape(P.permute(x, (0, 2, 3, 1, 4)), (2, 3, 70, 16))
        return P.reshape(P.permute(heads_first, (0, 2, 1, 3)), (2, 70, 48))

    want = [x.reshape(2, 70, 48) for x in plain]
    dq, dk, dv = map(by_token, gradients)
    (joined,), executable = run([P.concat([dq, dk, dv], 2)], given)
    assert executable.kernels[-1].ops == ["attention_backward"]
    np.testing.assert_array_equal(joined, np.concatenate(want, 2))
    # Not so simple: other orders, pieces that are wanted elsewhere too, memory that holds something already.
    base = P.const(7.0, "float32", (2, 70, 96))
    x = P.unary("neg", P.reshape(P.permute(P.input(0, (2, 3, 1, 70, 16), "float32"), (0, 3, 1, 2, 4)), (2, 70, 48)))
    results, _ = run(
        [
            P.concat([dv, x, dk], 2),
            dv,
            P.update(base, dq, (70 * 96, 96, 1), 48),
            P.concat([P.reshape(dk, (2, 70, 48, 1))] * 2, 3),
        ],
        given,
    )
    negative = -given[0].transpose(0, 3, 1, 2, 4).reshape(2, 70, 48)
    np.testing.assert_array_equal(results[0], np.concatenate([want[2], negative, want[1]], 2))
    np.testing.assert_array_equal(results[1], want[2])
    np.testing.assert_array_equal(results[2], np.concatenate([np.full((2, 70, 48), 7, np.float32), want[0]], 2))
    np.testing.assert_array_equal(results[3], np.stack([want[1]] * 2, 3))


@pytest.mark.parametrize("parts", [1, 3])
def test_the_same_bits_for_one_and_two_threads(parts: int) -> None:
    case = ((1, 2, 1), 300, 300, 32, 32, "causal")
    given = arrays(case, "float32")
    before = threads.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            threads.set_num_threads(count)
            results, _ = run(graph(case, "float32", parts), given)
            found.append([x.tobytes() for x in results])
    finally:
        threads.set_num_threads(before)
    assert found[0] == found[1]


def test_other_lengths_compile_no_attention_kernel() -> None:
    def compile_for(case: tuple) -> set[str]:
        executable = build.compile(graph(case, "float32"))
        return {kernel.name for kernel in executable.kernels if any("attention" in op for op in kernel.ops)}

    first = compile_for(((2, 3, 1), 10, 10, 32, 32, "causal"))
    for length in (1, 11, 64, 100, 1000):
        before = jit.compiled
        assert compile_for(((1, 2, 1), length, length + 3, 32, 32, "causal")) == first
        assert jit.compiled <= before + 3  # the sum of dO · O may be cut another way


@pytest.mark.parametrize("parts", [1, 16])
def test_memory_grows_with_the_length_and_not_with_its_square(parts: int) -> None:
    needed = []
    for length in (4096, 8192):
        executable = build.compile(graph(((1, 1, 1), length, length, 32, 32, "causal"), "float32", parts))
        needed.append(executable.arena_bytes + executable._program.scratch)
        assert needed[-1] < length * length  # a quarter of the scores
    assert needed[1] < 2.1 * needed[0]
