"""Scaled dot-product attention beside PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from compare import agree, random, same_error

import luchina
from luchina.graph import program
from luchina.nn import functional as F

pytestmark = pytest.mark.parity

QUERY, KEY, VALUE = random(1, 2, 3, 5, 4), random(2, 2, 3, 6, 4), random(3, 2, 3, 6, 7)
MASK = random(4, 5, 6) > 0
MASK[2] = False  # a query that may attend to nothing
CASES = [
    (
        "F.scaled_dot_product_attention(x, y, z)",
        (
            QUERY,
            KEY,
            VALUE,
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, is_causal=True)",
        (
            QUERY,
            KEY,
            VALUE,
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, scale=0.3)",
        (
            QUERY,
            KEY,
            VALUE,
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, attn_mask=w)",
        (
            QUERY,
            KEY,
            VALUE,
            random(4, 5, 6),
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, attn_mask=w)",
        (
            QUERY,
            KEY,
            VALUE,
            MASK,
        ),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, enable_gqa=True)",
        (
            random(1, 2, 4, 5, 4),
            random(2, 2, 2, 6, 4),
            random(3, 2, 2, 6, 7),
        ),
    ),
]

SDPA = "F.scaled_dot_product_attention"
LONG = random(1, 2, 3, 70, 20), random(2, 2, 3, 101, 20), random(3, 2, 3, 101, 36)
CASES += [
    (f"{SDPA}(x, y, z)", LONG),
    (f"{SDPA}(x, y, z, is_causal=True)", LONG),
    (f"{SDPA}(y, x, z[:, :, :70], is_causal=True)", LONG),
    (f"{SDPA}(x, y, z, scale=-0.3)", LONG),
    (f"{SDPA}(x, y, z, attn_mask=w.detach())", (*LONG, random(4, 70, 101))),
    (f"{SDPA}(x, y, z, attn_mask=w.detach() > 0)", (*LONG, random(4, 2, 1, 1, 101))),
    (f"{SDPA}(x, y, z, attn_mask=w.detach() > 0)", (*LONG, random(4, 3, 70, 1))),
    (f"{SDPA}(x[0, 0], y[0, 0], z[0, 0], is_causal=True)", LONG),
    (f"{SDPA}(x[0], y[1], z[0])", LONG),
    (f"{SDPA}(x[:, None], y[:, None], z[:, None])", LONG),
    (f"{SDPA}(x[:, :1], y, z[:1])", LONG),
    (f"{SDPA}(x, y[0, :1], z[0, :1])", LONG),
    (f"{SDPA}(x, x, x, is_causal=True)", LONG[:1]),
    (f"{SDPA}(*(p.transpose(1, 2) for p in x.view(2, 33, 3, 3, 8).unbind(2)), is_causal=True)",
     (random(1, 2, 33, 72),)),
    (f"{SDPA}(*(p.view(2, 40, 3, 8).transpose(1, 2) for p in x.split(24, 2))).transpose(1, 2).reshape(2, 40, 24)",
     (random(1, 2, 40, 72),)),
    (f"{SDPA}(x[..., ::2], y[..., ::2], z[..., ::3])", LONG),
    (f"{SDPA}(x.transpose(2, 3), y[:, :, :70].transpose(2, 3), z[:, :, :20])", LONG),
    (f"{SDPA}(x[:, :, :3], y, z)", LONG),
    (f"{SDPA}(x[:, :, :3], y, z, is_causal=True)", LONG),
    (f"{SDPA}(x[:, :, :1], y[:, :1], z[:, :1])", LONG),
    (f"{SDPA}(x[:, :, :3], y, z, attn_mask=w.detach())", (*LONG, random(4, 3, 101))),
    (f"{SDPA}(x[:, :, :3], y, z, attn_mask=w.detach() > 0)", (*LONG, random(4, 2, 1, 1, 101))),
    (f"{SDPA}(x, y, z, enable_gqa=True)",
     (random(1, 2, 6, 2, 8), random(2, 2, 2, 70, 8), random(3, 2, 2, 70, 8))),
    (f"{SDPA}(x, y, z, is_causal=True, enable_gqa=True)",
     (random(1, 2, 6, 70, 8), random(2, 2, 2, 70, 8), random(3, 2, 2, 70, 8))),
    (f"{SDPA}(x, y, z, attn_mask=w.detach() > 0, enable_gqa=True)",
     (random(1, 2, 4, 5, 4), random(2, 2, 2, 6, 4), random(3, 2, 2, 6, 7), random(4, 5, 6))),
    (f"{SDPA}(x, y, z, attn_mask=w.detach() > 0, enable_gqa=True)",
     (random(1, 2, 4, 5, 4), random(2, 2, 2, 6, 4), random(3, 2, 2, 6, 7), random(4, 2, 4, 5, 6))),
    (f"{SDPA}(x, y, z, attn_mask=w.detach(), enable_gqa=True)",
     (random(1, 2, 4, 5, 4), random(2, 2, 2, 6, 4), random(3, 2, 2, 6, 7), random(4, 1, 1, 6))),
    (f"{SDPA}(x, y, z, is_causal=True)", (random(1, 2, 0, 4), random(2, 2, 5, 4), random(3, 2, 5, 3))),
    (f"{SDPA}(x, y, z)", (random(1, 2, 3, 4), random(2, 2, 0, 4), random(3, 2, 0, 3))),
    (f"{SDPA}(x, y, z)", (random(1, 2, 3, 0), random(2, 2, 5, 0), random(3, 2, 5, 3))),
]  # fmt: skip


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_values_and_gradients(code: str, arrays: tuple) -> None:
    agree(code, *arrays, double=False)


@pytest.mark.parametrize(("code", "arrays"), CASES, ids=[code for code, _ in CASES])
def test_gradients_of_gradients(code: str, arrays: tuple) -> None:
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # the only one that has them
        agree(code, *arrays)


ERRORS = [
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,3),r(2,5,6))",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,4,6))",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,5,6),attn_mask=M.ones(3,5,dtype=M.bool),is_causal=True)",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,5,6),attn_mask=M.ones(3,5,dtype=L))",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,5,6),attn_mask=M.ones(4,5,dtype=M.bool))",
    "F.scaled_dot_product_attention(r(4),r(5,4),r(5,6))",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4).double(),r(2,5,6))",
    "F.scaled_dot_product_attention(r(2,4,3,4),r(2,3,5,4),r(2,3,5,6),enable_gqa=True)",
    "F.scaled_dot_product_attention(r(2,3,4),r(2,5,4),r(2,5,6),attn_mask=r(3,5).double())",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    same_error(code)


def _both(check) -> tuple:
    return check(torch), check(luchina)


@pytest.mark.parametrize("keys", [6, 66])
def test_a_query_that_may_attend_to_nothing_gives_zeros_and_takes_no_gradient(keys: int) -> None:
    mask = np.ones((5, keys), bool)
    mask[2] = False

    def run(module) -> list[np.ndarray]:
        q, k, v = (module.tensor(random(i, 1, 2, n, 4), requires_grad=True) for i, n in enumerate((5, keys, keys)))
        out = module.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=module.tensor(mask))
        out.sum().backward()
        return [x.detach().numpy() for x in (out, q.grad, k.grad, v.grad)]

    theirs, ours = _both(run)
    assert not ours[0][0, :, 2].any() and not ours[1][0, :, 2].any()
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spoils_what_sees_it(which: int, number: float) -> None:
    arrays = [random(i, 1, 1, 5, 4) for i in range(3)]
    arrays[which][0, 0, 3, 1] = number

    def run(module) -> np.ndarray:
        tensors = [module.tensor(a) for a in arrays]
        return module.nn.functional.scaled_dot_product_attention(*tensors, is_causal=True).numpy()

    theirs, ours = _both(run)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_scores_beyond_the_range_of_exp() -> None:
    q, k, v = (random(i, 1, 1, 80, 8) * s for i, s in enumerate((100.0, 100.0, 1.0)))
    theirs, ours = _both(
        lambda m: m.nn.functional.scaled_dot_product_attention(*(m.tensor(x).float() for x in (q, k, v))).numpy()
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["plain", "causal", "mask"])
def test_float32_is_no_less_accurate_than_pytorch(kind: str) -> None:
    arrays = [random(i, 2, 4, 200, 32).astype(np.float32) for i in range(4)]
    mask = random(4, 200, 200) > -0.5

    def run(module, dtype: str) -> list[np.ndarray]:
        q, k, v, g = (module.tensor(a).to(getattr(module, dtype)) for a in arrays)
        for x in (q, k, v):
            x.requires_grad_(True)
        more = {"is_causal": True} if kind == "causal" else {"attn_mask": module.tensor(mask)} if kind == "mask" else {}
        out = module.nn.functional.scaled_dot_product_attention(q, k, v, **more)
        (out * g).sum().backward()
        return [x.detach().numpy().astype(np.float64) for x in (out, q.grad, k.grad, v.grad)]

    exact, theirs, ours = run(torch, "float64"), run(torch, "float32"), run(luchina, "float32")
    for e, a, b in zip(exact, theirs, ours, strict=True):
        assert np.sqrt(np.mean((b - e) ** 2)) <= 1.1 * np.sqrt(np.mean((a - e) ** 2))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(dtype: str) -> None:
    arrays = [random(i, 2, 2, 70, 32) for i in range(3)]

    def run(module) -> list[np.ndarray]:
        q, k, v = (module.tensor(a).to(getattr(module, dtype)).requires_grad_(True) for a in arrays)
        out = module.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        out.sum().backward()
        return [x.detach().float().numpy() for x in (out, q.grad, k.grad, v.grad)]

    for a, b in zip(*_both(run), strict=True):
        tolerance = {"float16": 2e-3, "bfloat16": 2e-2}[dtype]
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


def test_the_forward_pass_looked_at_first_gives_the_same_gradients() -> None:
    def run(look: bool) -> list[bytes]:
        q, k, v = (luchina.tensor(random(i, 2, 3, 70, 16), requires_grad=True) for i in range(3))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        loss = (out * out).sum()
        if look:
            loss.item()
        runs = []
        program.observers.append(runs.append)
        loss.backward()
        found = [x.grad.numpy().tobytes() for x in (q, k, v)]
        program.observers.remove(runs.append)
        names = [op for each in runs for kernel in each.program.executable.kernels for op in kernel.ops]
        assert names.count("attention") == (0 if look else 1)  # what backward reads was kept
        return found

    assert run(False) == run(True)


def test_gradcheck() -> None:
    q, k, v = (luchina.tensor(random(i, 1, 2, n, 3), requires_grad=True) for i, n in enumerate((4, 5, 5)))
    mask = luchina.tensor(random(5, 4, 5) > 0)
    for more in ({}, {"is_causal": True}, {"attn_mask": mask}):
        assert luchina.autograd.gradcheck(lambda *x, more=more: F.scaled_dot_product_attention(*x, **more), (q, k, v))


def test_memory_grows_with_the_context_and_not_with_its_square() -> None:
    length, peak = 8192, []
    q, k, v = (luchina.randn(1, 1, length, 16, requires_grad=True) for _ in range(3))
    program.observers.append(lambda run: peak.append(run.program.executable.arena_bytes))
    try:
        F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
        assert q.grad is not None and bool(luchina.isfinite(q.grad).all())
    finally:
        program.observers.pop()
    assert max(peak) < length * length  # bytes: a quarter of the scores
