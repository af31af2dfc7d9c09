"""Regions of mixed precision: dtypes and values op by op as PyTorch's, state, gradients, threads."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
import pytest

import luchina
from luchina import precision

# Expressions of x (3, 3), y (3, 3), v (3,), c (1, 2, 6, 6) and k (2, 2, 3, 3) in the dtype under test, and of f (3, 3)
# in float32 (float64 beside float64); i is indices, n the engine's nn.functional, M the engine.
EXPRESSIONS = """
M.mm(x, y); x @ y; v @ v; x @ v; M.mv(x, v); M.dot(v, v); M.addmm(f, x, y); M.outer(v, v); M.inner(x, y)
M.bmm(x[None], y[None]); M.baddbmm(f[None], x[None], y[None]); M.tensordot(x, y, 1); M.kron(x, y)
M.einsum('ij,jk->ik', x, y); M.einsum('i,j->ij', v, v); M.einsum('ij->i', x); M.einsum('ij,ij->ij', x, y)
M.einsum('i,i->', v, v); M.einsum('ij,jk,kl->il', x, y, x); n.bilinear(x, y, M.stack([x, y]))
n.linear(x, y, v); n.linear(v, x); n.linear(x, f); n.prelu(x - 0.5, v[:1])
n.scaled_dot_product_attention(x[None, None], y[None, None], x[None, None])
n.scaled_dot_product_attention(x[None, None], y[None, None], x[None, None], f)
n.conv2d(c, k); n.conv_transpose2d(c, k); n.conv1d(c[0], k[0]); n.conv2d(c, k, padding=1, stride=2)
n.softmax(x, -1); n.log_softmax(x, -1); n.layer_norm(c, (6,)); n.gelu(x); n.relu(x); x.exp(); x ** 2; x.log(); x.rsqrt()
x.sum(); x.mean(); x.var(); x.norm(); x.cumsum(0); x.prod(); x.prod(1); x.trace(); x.logsumexp(0); M.cdist(x, y)
n.mse_loss(x, y); n.mse_loss(x, f, reduction='none'); n.l1_loss(x, y); n.smooth_l1_loss(x, y); n.huber_loss(x, y)
n.binary_cross_entropy(x, y); n.binary_cross_entropy_with_logits(x, y); n.kl_div(x.log(), y, reduction='batchmean')
n.poisson_nll_loss(x, y); n.soft_margin_loss(x, y); n.hinge_embedding_loss(x, y); n.gaussian_nll_loss(x, y, x)
n.nll_loss(x, i); n.cross_entropy(x, i); n.cross_entropy(x, y); n.multi_margin_loss(x, i)
n.margin_ranking_loss(v, v, v); n.triplet_margin_loss(x, y, f); n.cosine_embedding_loss(x, y, M.ones(3))
n.multilabel_soft_margin_loss(x, y); n.cosine_similarity(x, y); n.pairwise_distance(x, y)
n.max_pool2d(c, 2); n.avg_pool2d(c, 2); n.interpolate(c, scale_factor=2)
n.pad(c, (1, 1, 1, 1), mode='reflect'); n.pad(c, (1, 1, 1, 1), mode='replicate'); n.pad(c, (1, 1, 1, 1)); n.pad(c, (1, 1, 1, 1), mode='circular')
M.cat([x, f]); M.cat([x, y]); M.stack([x, f]); M.where(f > 0.5, x, f); f.index_copy(0, i[:1], x[:1]); x + f; x * y
M.mm(x, y, out=M.empty(3, 3, dtype=x.dtype)); M.addcmul(x, x, y)
"""  # noqa: E501
CASES = [e.strip() for line in EXPRESSIONS.strip().splitlines() for e in line.split(";")]


def _numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(0.1, 0.9, shape).astype(np.float32)


def _run(engine: Any, expression: str, lower: str, dtype: str) -> tuple[str, np.ndarray]:
    def tensor(*shape: int) -> Any:
        return engine.tensor(_numbers(*shape))

    shapes = {"x": (3, 3), "y": (1, 3, 3), "v": (3,), "c": (1, 2, 6, 6), "k": (2, 2, 3, 3)}
    names = {name: tensor(*shape).to(getattr(engine, dtype)) for name, shape in shapes.items()}
    names["y"] = names["y"][0]
    names |= {
        "f": tensor(2, 3, 3)[1].to(names["x"].dtype if dtype == "float64" else engine.float32),
        "i": engine.tensor([0, 2, 1]),
        "M": engine,
        "n": engine.nn.functional,
    }
    with warnings.catch_warnings(), engine.autocast("cpu", dtype=getattr(engine, lower)):
        warnings.simplefilter("ignore")
        result = eval(expression, names)
    result.tolist()  # computed by itself, so that it is rounded to its dtype
    return str(result.dtype), result.detach().double().numpy()


@pytest.mark.parity
@pytest.mark.parametrize("expression", CASES)
def test_as_pytorch(expression: str) -> None:
    import torch

    for lower, dtype in (
        ("bfloat16", "float32"),
        ("bfloat16", "bfloat16"),
        ("float16", "float32"),
        ("float16", "float64"),
    ):
        try:
            expected = _run(torch, expression, lower, dtype)
        except (RuntimeError, NotImplementedError):
            with pytest.raises((RuntimeError, NotImplementedError)):
                _run(luchina, expression, lower, dtype)
            continue
        got = _run(luchina, expression, lower, dtype)
        assert got[0] == expected[0], (lower, dtype)
        eps = {"torch.bfloat16": 2.0**-7, "torch.float16": 2.0**-10}.get(got[0], 1e-6)
        if dtype == "bfloat16":  # functions of 16-bit numbers round where they like between the steps of a formula
            eps = max(eps, 2.0**-7)
        if "bilinear" in expression:  # PyTorch's float32 result went through 16 bits inside; here it did not
            eps = 2.0**-7
        scale = float(np.abs(expected[1]).max())  # PyTorch accumulates some float16 sums in float16
        np.testing.assert_allclose(got[1], expected[1], rtol=eps, atol=eps * scale, err_msg=f"{lower} {dtype}")


@pytest.mark.parity
@pytest.mark.parametrize("lower", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "build",
    [
        "nn.RNN(3, 4)", "nn.GRU(3, 4)", "nn.LSTM(3, 4)", "nn.RNNCell(3, 4)", "nn.GRUCell(3, 4)", "nn.LSTMCell(3, 4)",
        "nn.TransformerEncoderLayer(16, 2, 8, dropout=0.0)", "nn.BatchNorm1d(2)", "nn.LayerNorm(3)",
        "nn.GroupNorm(1, 2)",
    ],
)  # fmt: skip
def test_layers_as_pytorch(build: str, lower: str) -> None:
    import torch

    if "LSTM(" in build and lower == "float16":
        pytest.skip("PyTorch cannot run it on every CPU")

    def run(engine: Any, dtype: str) -> Any:
        engine.manual_seed(0)
        layer = eval(build, {"nn": engine.nn})
        rows = _numbers(2, 3) if "Cell" in build else _numbers(5, 2, 16 if "Encoder" in build else 3)
        with engine.autocast("cpu", dtype=getattr(engine, lower)):
            result = layer(engine.tensor(rows).to(getattr(engine, dtype)))
        while isinstance(result, tuple):
            result = result[0]
        result.float().sum().backward()
        weight = next(layer.parameters())
        return str(result.dtype), result.detach().float().numpy(), str(weight.grad.dtype), weight.grad.numpy()

    for dtype in ("float32", lower):
        expected, got = run(torch, dtype), run(luchina, dtype)
        assert got[0] == expected[0] and got[2] == expected[2]
        step = 2.0**-6 if lower == "bfloat16" else 2.0**-9
        np.testing.assert_allclose(got[1], expected[1], rtol=step, atol=step * float(np.abs(expected[1]).max()))
        scale = max(1.0, float(np.abs(expected[3]).max()))
        np.testing.assert_allclose(got[3], expected[3], rtol=4 * step, atol=4 * step * scale)


def test_state_nests_and_comes_back() -> None:
    def state() -> tuple:
        return (
            luchina.is_autocast_enabled("cpu"),
            luchina.get_autocast_dtype("cpu"),
            luchina.is_autocast_cache_enabled(),
        )

    outside = (False, luchina.bfloat16, True)
    assert state() == outside and not luchina.is_autocast_enabled()
    region = luchina.autocast("cpu", cache_enabled=False)
    with region:
        assert state() == (True, luchina.bfloat16, False)
        with luchina.autocast("cpu", enabled=False):
            assert state() == (False, luchina.bfloat16, False)
            assert (luchina.ones(2, 2) @ luchina.ones(2, 2)).dtype is luchina.float32
            with luchina.amp.autocast("cpu", luchina.float16), region:
                assert state() == (True, luchina.bfloat16, False)
        assert state() == (True, luchina.bfloat16, False)
    assert state() == outside
    with pytest.raises(ZeroDivisionError), luchina.autocast("cpu"):
        1 / 0  # noqa: B018
    assert state() == outside and precision.anywhere.threads == 0 and not precision.region.casts


def test_decorator_and_threads() -> None:
    @luchina.autocast("cpu", dtype=luchina.float16)
    def product(x: Any) -> Any:
        return x @ x

    assert product.__name__ == "product" and product(luchina.ones(2, 2)).dtype is luchina.float16
    seen = []
    with luchina.autocast("cpu"):
        thread = threading.Thread(target=lambda: seen.append((luchina.ones(2, 2) @ luchina.ones(2, 2)).dtype))
        thread.start()
        thread.join()
    assert seen == [luchina.float32]


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="Expected `device_type` of type `str`, got: `<class 'int'>`"):
        luchina.autocast(3)
    with pytest.raises(RuntimeError, match="at start of device string: nope"):
        luchina.autocast("nope")
    with pytest.warns(UserWarning, match="In CPU autocast, but the target dtype is not supported"):
        region = luchina.autocast("cpu", dtype=luchina.float32)
    with region:
        assert (luchina.ones(2, 2) @ luchina.ones(2, 2)).dtype is luchina.float32
    with pytest.warns(UserWarning, match="CUDA is not available: what is there is 'cpu'. Disabling autocast"):
        region = luchina.autocast("cuda")
    with region:
        assert luchina.get_autocast_dtype("cuda") is luchina.float16 and not luchina.is_autocast_enabled()
    with pytest.raises(TypeError, match="requires a callable, but got Tensor"):
        luchina.autocast("cpu")(luchina.ones(1))


def test_a_weight_is_cast_once_a_region_and_anew_when_written() -> None:
    weight = luchina.nn.Parameter(luchina.ones(2, 2))
    x = luchina.ones(2, 2)
    with luchina.autocast("cpu"):
        first, second = x @ weight, x @ weight
        assert len(precision.region.casts) == 1
        assert first._read().inputs[1] is second._read().inputs[1]
        with luchina.no_grad():
            assert not (x @ weight).requires_grad
        assert (x @ weight).requires_grad  # the cast made under no_grad is another one
        with luchina.no_grad():
            weight.mul_(3)
        assert (x @ weight)[0, 0].item() == 6.0
    with luchina.autocast("cpu", cache_enabled=False):
        assert (x @ weight)._read().inputs[1] is not (x @ weight)._read().inputs[1]
    (first + second).sum().backward()
    assert weight.grad.dtype is luchina.float32 and weight.grad.tolist() == [[4.0, 4.0], [4.0, 4.0]]


def test_several_backwards_in_one_region() -> None:
    layer, x = luchina.nn.Linear(3, 3), luchina.ones(2, 3)
    with luchina.autocast("cpu"):
        for _ in range(3):
            layer(x).sum().backward()
            luchina.ones(1).item()
    assert layer.weight.grad.tolist() == [[6.0] * 3] * 3


def test_custom_functions() -> None:
    seen = []

    class Square(luchina.autograd.Function):
        @staticmethod
        @luchina.amp.custom_fwd(device_type="cpu", cast_inputs=luchina.float32)
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            seen.append((x.dtype, luchina.is_autocast_enabled("cpu")))
            return x @ x

        @staticmethod
        @luchina.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            seen.append((g.dtype, luchina.is_autocast_enabled("cpu")))
            return g @ x.t() + x.t() @ g

    class Product(Square):
        @staticmethod
        @luchina.amp.custom_fwd(device_type="cpu")
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x @ x

    x = luchina.ones(2, 2, requires_grad=True)
    with luchina.autocast("cpu"):
        y = Square.apply((x @ x) * 1.0)
    y.sum().backward()
    assert y.dtype is luchina.float32 and seen == [(luchina.float32, False), (luchina.float32, False)]
    seen.clear()
    with luchina.autocast("cpu"):
        z = Product.apply(x)
    z.float().sum().backward()
    assert z.dtype is luchina.bfloat16 and seen == [(luchina.bfloat16, True)]


def test_shared_memory_is_read_at_once() -> None:
    array = np.ones((2, 2), np.float32)
    x = luchina.from_numpy(array)
    with luchina.autocast("cpu"):
        y = x @ x
    array[:] = 5
    assert y.tolist() == [[2.0, 2.0], [2.0, 2.0]]
