"""Regions of a device: PyTorch's lists for CUDA, which it follows without a card where tensors are fake; the CPU's
tensors are left alone."""

from __future__ import annotations

from typing import Any

import pytest

import luchina
from amp.test_autocast import CASES
from luchina import precision

MORE = """
x.exp(); x.log(); x.log2(); x.log1p(); x.rsqrt(); x.reciprocal(); 2 / x; x ** 2; 2 ** x; x ** y; M.pow(x, 0.5); x.tan()
x.acos(); x.asin(); x.cosh(); x.sinh(); x.expm1(); x.log10(); x.erfinv(); x.sqrt(); x.sin(); x.tanh(); x.sigmoid()
n.softmax(x, 0); n.log_softmax(x, 0); M.softmax(x, 0, dtype=M.float64); x.sum(0); x.sum(dtype=M.float64); x.mean(0)
x.sum(1, keepdim=True); x.cumsum(0); x.cumprod(0); x.prod(); x.norm(); x.norm(2, 1); M.linalg.norm(x); x.std(); x.var(0)
n.softplus(x); n.gelu(x); n.silu(x); n.elu(x); n.leaky_relu(x); n.logsigmoid(x); n.normalize(x)
n.layer_norm(x, (3,)); n.layer_norm(x, (3,), v, v); n.group_norm(c, 2); n.batch_norm(c, c[0, :, 0, 0], c[0, :, 1, 1])
n.instance_norm(c); n.cosine_similarity(x, y); M.cdist(x, y); M.dist(x, y); x.logsumexp(0); x.logcumsumexp(0)
n.interpolate(c, scale_factor=2); n.interpolate(c, scale_factor=2, mode='bilinear'); n.pixel_shuffle(c[:, :1], 1)
M.addcmul(x, f, y); M.addcdiv(x, y, f); M.atan2(x, f); n.bilinear(x, y, M.stack([x, y])); M.dot(v, f[0])
M.tensordot(x, f, 1); M.addmm(x, x, f); M.mv(x, v); M.outer(v, v); x @ f; f @ f
M.cat([x, f]); M.stack([x, x]); x.clone().index_put((i,), x); x.clone().scatter_add(0, i[None], x); x + f; x * x
n.mse_loss(x, f); n.nll_loss(x, i); n.cross_entropy(x, i); n.binary_cross_entropy_with_logits(x, y); n.kl_div(x, y)
n.dropout(x, 0.5); n.relu(x); n.max_pool2d(c, 2); n.avg_pool2d(c, 2); n.adaptive_avg_pool2d(c, 1); n.embedding(i, x)
n.scaled_dot_product_attention(c, c, c); x.float() @ x; x.double() @ x.double(); x.max(); x.argmax(); x.abs()
x.clamp(0); x.sort()[0]; x.topk(2)[0]; M.where(x > 0, x, f); x.square(); M.lerp(x, y, 0.5)
"""
INDEXED = {
    "x[None, None]": "x2", "y[None, None]": "x2", "x[None]": "x1", "y[None]": "x1", "f[None]": "f1", "v[:1]": "v1",
    "c[0]": "c0", "k[0]": "k0", "f[0]": "f0", "c[0, :, 0, 0]": "m", "c[0, :, 1, 1]": "m", "c[:, :1]": "c",
    "i[None]": "i.unsqueeze(0)", "i[:1], x[:1]": "i, x", ".sort()[0]": ".sort().values",
    ".topk(2)[0]": ".topk(2).values",
}  # fmt: skip


def _without_indexing(expression: str) -> str:
    for indexed, name in INDEXED.items():
        expression = expression.replace(indexed, name)
    return expression


MORE_CASES = [e.strip() for line in MORE.strip().splitlines() for e in line.split(";")]
EXPRESSIONS = dict.fromkeys(_without_indexing(e) for e in CASES + MORE_CASES if "gaussian_nll" not in e)


def _dtype(engine: Any, where: Any, expression: str, lower: str, dtype: str) -> str:
    """The dtype of a result in a region, or the class of an error."""
    shapes = {"x": (3, 3), "y": (3, 3), "v": (3,), "c": (1, 2, 6, 6), "k": (2, 2, 3, 3)}
    # PyTorch's fake tensors cannot be indexed without a card.
    shapes |= {"x1": (1, 3, 3), "x2": (1, 1, 3, 3), "v1": (1,), "c0": (2, 6, 6), "k0": (2, 3, 3), "m": (2,)}
    names = {
        name: engine.full(shape, 0.5, device=where, dtype=getattr(engine, dtype)) for name, shape in shapes.items()
    }
    names |= {
        "f": engine.full((3, 3), 0.5, device=where),
        "f1": engine.full((1, 3, 3), 0.5, device=where),
        "f0": engine.full((3,), 0.5, device=where),
        "i": engine.arange(3, device=where),
        "M": engine,
        "n": engine.nn.functional,
    }
    before = engine.get_autocast_dtype(where)
    engine.set_autocast_dtype(where, getattr(engine, lower))
    engine.set_autocast_enabled(where, True)
    try:
        with engine.device(where):
            result = eval(expression, names)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return type(error).__name__
    finally:
        engine.set_autocast_enabled(where, False)
        engine.set_autocast_dtype(where, before)
    return str(result.dtype)


@pytest.mark.parity
def test_dtypes_are_those_of_cuda() -> None:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    if not luchina.opencl.is_available():
        pytest.skip(luchina.opencl.why_not())
    wrong = []
    for expression in EXPRESSIONS:
        for lower, dtype in (("float16", "float32"), ("float16", "float16"), ("bfloat16", "float32")):
            with FakeTensorMode():
                expected = _dtype(torch, "cuda", expression, lower, dtype)
            got = _dtype(luchina, "opencl", expression, lower, dtype)
            if got != expected:
                wrong.append(f"{expression} of {dtype} in {lower}: {got}, PyTorch {expected}")
    assert not wrong, "\n".join(wrong)


def test_the_other_device_is_left_alone() -> None:
    if not luchina.opencl.is_available():
        pytest.skip(luchina.opencl.why_not())
    here, there = luchina.ones(2, 2), luchina.ones(2, 2, device="opencl")
    one = luchina.tensor(1.0)
    with luchina.autocast("opencl", luchina.bfloat16):
        assert (here @ here).dtype is luchina.float32 and (there @ there).dtype is luchina.bfloat16
        assert luchina.is_autocast_enabled("opencl") and not luchina.is_autocast_enabled("cpu")
        assert (there.bfloat16().exp() * one).dtype is luchina.float32
        with luchina.autocast("cpu", luchina.float16):
            assert (here @ here).dtype is luchina.float16 and (there @ there).dtype is luchina.bfloat16
            with luchina.autocast("opencl", enabled=False):
                assert (here @ here).dtype is luchina.float16 and (there @ there).dtype is luchina.float32
        assert (here @ here).dtype is luchina.float32 and (there @ there).dtype is luchina.bfloat16
    assert precision.anywhere.threads == 0 and not precision.region.dtypes
    with luchina.autocast("cpu"):
        assert (there @ there).dtype is luchina.float32 and (here @ here).dtype is luchina.bfloat16


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU", "LSTMCell", "GRUCell"])
def test_recurrent_layers(layer: str) -> None:
    """In 16 bits as a whole, as cuDNN computes them."""
    if not luchina.opencl.is_available():
        pytest.skip(luchina.opencl.why_not())
    model = getattr(luchina.nn, layer)(3, 4).to("opencl")
    x = luchina.rand(2, 3) if "Cell" in layer else luchina.rand(5, 2, 3)
    with luchina.autocast("opencl"):
        result = model(x.to("opencl"))
    while isinstance(result, tuple):
        result = result[0]
    assert result.dtype is luchina.float16
    result.float().sum().backward()
    assert all(p.grad.dtype is luchina.float32 and p.grad.isfinite().all() for p in model.parameters())


def test_loss_scale_with_gradients_on_two_devices() -> None:
    """One gradient that is not finite skips the step of all."""
    if not luchina.opencl.is_available():
        pytest.skip(luchina.opencl.why_not())
    a = luchina.ones(2, requires_grad=True)
    b = luchina.ones(2, device="opencl", requires_grad=True)
    optimizer = luchina.optim.SGD([a, b], lr=1.0)
    for device in ("cpu", "opencl"):
        scaler = luchina.amp.GradScaler(device, init_scale=8.0, growth_interval=1)
        scales = []
        for factor in (1.0, float("inf"), 1.0):
            optimizer.zero_grad()
            (scaler.scale(a.sum()) * factor).backward()
            scaler.scale(b.sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        assert scales == [16.0, 8.0, 16.0]
    assert a.tolist() == b.tolist() == [-3.0, -3.0]
