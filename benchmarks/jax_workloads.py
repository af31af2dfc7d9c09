"""The same workloads in JAX, written by hand as its users would: pure functions under ``jit``, parameters in a tree.

Each is ``name() -> step`` as in ``workloads.py``; a step waits for its result. What has no counterpart here is not
compared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax, nn, random

Step = Callable[[], Any]


def linear(key: Any, n: int, m: int) -> dict[str, Any]:
    bound = n**-0.5
    a, b = random.split(key)
    return {
        "w": random.uniform(a, (n, m), minval=-bound, maxval=bound),
        "b": random.uniform(b, (m,), minval=-bound, maxval=bound),
    }


def dense(p: Any, x: Any) -> Any:
    return x @ p["w"] + p["b"]


def layers(seed: int, *widths: int) -> list[Any]:
    return [linear(k, n, m) for k, n, m in zip(random.split(random.key(seed), len(widths)), widths, widths[1:])]


def mlp(params: Any, x: Any, activation: Any = nn.relu) -> Any:
    for p in params[:-1]:
        x = activation(dense(p, x))
    return dense(params[-1], x)


def cross_entropy(logits: Any, y: Any) -> Any:
    return -jnp.take_along_axis(nn.log_softmax(logits), y[..., None], -1).mean()


def sgd(p: Any, g: Any, s: Any, t: Any, lr: float = 0.1, momentum: float = 0.0, decay: float = 0.0) -> Any:
    g = g + decay * p
    s = momentum * s + g if momentum else s
    return p - lr * (s if momentum else g), s


def adam(p: Any, g: Any, s: Any, t: Any, lr: float = 1e-3, decay: float = 0.0) -> Any:
    m, v = s
    p = p * (1 - lr * decay)
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return p - lr * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), (m, v)


def training(loss: Any, params: Any, data: tuple, update: Any, moments: int = 0) -> Step:
    """A step of gradient, update and loss as one jitted function that gives up its old parameters."""
    params = jax.tree.map(jnp.copy, params)  # each parameter memory of its own: it will be given up
    state = jax.tree.map(lambda p: tuple(map(jnp.zeros_like, (p,) * moments)) if moments else jnp.zeros_like(p), params)

    @partial(jax.jit, donate_argnums=(0, 1))
    def advance(params: Any, state: Any, t: Any, *data: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, *data, t)
        flat, tree = jax.tree.flatten(params)
        flat_state = tree.flatten_up_to(state)
        pairs = [update(p, g, s, t) for p, g, s in zip(flat, tree.flatten_up_to(grads), flat_state)]
        return tree.unflatten([p for p, _ in pairs]), tree.unflatten([s for _, s in pairs]), value

    held = [params, state, 0.0]

    def step() -> Any:
        held[2] += 1
        held[0], held[1], value = advance(held[0], held[1], held[2], *data)
        return value.block_until_ready()

    return step


def classifier(model: Any, params: Any, x: Any, classes: int, update: Any, moments: int = 0) -> Step:
    y = random.randint(random.key(9), (x.shape[0],), 0, classes)
    return training(lambda p, x, y, t: cross_entropy(model(p, x, t), y), params, (x, y), update, moments)


def inference(model: Any, params: Any, x: Any) -> Step:
    call = jax.jit(model)
    return lambda: call(params, x).block_until_ready()


def gradient_descent() -> Step:
    x = random.normal(random.key(0), (100, 2))
    y = x @ jnp.array([[2.0], [-3.0]]) + 0.5
    params = {"w": jnp.zeros((2, 1)), "b": jnp.zeros(1)}
    return training(lambda p, x, y, t: ((dense(p, x) - y) ** 2).mean(), params, (x, y), sgd)


def mlp_2_16_16_1() -> Step:
    x = random.uniform(random.key(0), (32, 2))
    y = x[:, :1] * x[:, 1:]
    params = layers(1, 2, 16, 16, 1)
    return training(lambda p, x, y, t: ((mlp(p, x) - y) ** 2).mean(), params, (x, y), partial(adam, lr=1e-2), 2)


def mlp_784_128_10() -> Step:
    x = random.uniform(random.key(0), (64, 784))
    return classifier(lambda p, x, t: mlp(p, x), layers(1, 784, 128, 10), x, 10, sgd)


def dropout(key: Any, x: Any, p: float) -> Any:
    return jnp.where(random.bernoulli(key, 1 - p, x.shape), x / (1 - p), 0)


def mlp_wide() -> Step:
    def model(params: Any, x: Any, t: Any) -> Any:
        keys = random.split(random.key(t.astype(int)), 2)
        for p, key in zip(params, keys):
            x = dropout(key, nn.gelu(dense(p, x), approximate=False), 0.1)
        return dense(params[-1], x)

    x = random.normal(random.key(0), (256, 1024))
    return classifier(model, layers(1, 1024, 2048, 1024, 10), x, 10, partial(adam, decay=0.01), 2)


def convolve(x: Any, w: Any, stride: int = 1, pad: int = 0) -> Any:
    return lax.conv_general_dilated(x, w, (stride, stride), ((pad, pad), (pad, pad)))


def filters(key: Any, n: int, m: int, size: int) -> Any:
    return random.normal(key, (m, n, size, size)) * (n * size * size) ** -0.5


def mnist_cnn() -> Step:
    k = random.split(random.key(0), 3)
    params = {
        "a": filters(k[0], 1, 32, 3),
        "b": filters(k[1], 32, 64, 3),
        "c": jnp.zeros(32),
        "d": jnp.zeros(64),
        "l": layers(2, 64 * 144, 128, 10),
    }

    def model(p: Any, x: Any, t: Any) -> Any:
        x = nn.relu(convolve(x, p["a"]) + p["c"][:, None, None])
        x = nn.relu(convolve(x, p["b"]) + p["d"][:, None, None])
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return mlp(p["l"], x.reshape(x.shape[0], -1))

    return classifier(model, params, random.uniform(k[2], (64, 1, 28, 28)), 10, adam, 2)


def batch_norm(p: Any, x: Any, training: bool) -> Any:
    scale, shift = p
    if not training:
        return x * scale[:, None, None] + shift[:, None, None]
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) * lax.rsqrt(var + 1e-5) * scale[:, None, None] + shift[:, None, None]


def _resnet() -> Any:
    def norm(n: int) -> Any:
        return jnp.ones(n), jnp.zeros(n)

    keys = iter(random.split(random.key(0), 40))
    params: dict[str, Any] = {"stem": (filters(next(keys), 3, 32, 3), norm(32)), "head": layers(3, 256, 10)}
    narrow = 32
    for i, wide in enumerate((32, 64, 128, 256)):
        for j in range(2):
            block = {
                "a": filters(next(keys), narrow, wide, 3),
                "b": filters(next(keys), wide, wide, 3),
                "na": norm(wide),
                "nb": norm(wide),
            }
            if narrow != wide:
                block |= {"s": filters(next(keys), narrow, wide, 1), "ns": norm(wide)}
            params[f"{i}{j}"] = block
            narrow = wide

    def model(p: Any, x: Any, training: bool) -> Any:
        w, n = p["stem"]
        x = nn.relu(batch_norm(n, convolve(x, w, 1, 1), training))
        for name in sorted(key for key in p if key.isdigit()):
            b = p[name]
            stride = 2 if "s" in b else 1
            y = nn.relu(batch_norm(b["na"], convolve(x, b["a"], stride, 1), training))
            y = batch_norm(b["nb"], convolve(y, b["b"], 1, 1), training)
            x = nn.relu(y + (batch_norm(b["ns"], convolve(x, b["s"], stride), training) if "s" in b else x))
        return mlp(p["head"], x.mean((2, 3)))

    return params, model


def resnet() -> Step:
    params, model = _resnet()
    x = random.normal(random.key(1), (32, 3, 32, 32))
    update = partial(sgd, lr=0.05, momentum=0.9, decay=5e-4)
    return classifier(lambda p, x, t: model(p, x, True), params, x, 10, update)


def resnet_inference() -> Step:
    params, model = _resnet()
    return inference(lambda p, x: model(p, x, False), params, random.normal(random.key(1), (1, 3, 32, 32)))


def attention(q: Any, k: Any, v: Any) -> Any:
    """Causal; (batch, heads, length, width)."""
    scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
    seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    return nn.softmax(jnp.where(seen, scores, -jnp.inf)) @ v


def layer_norm(p: Any, x: Any) -> Any:
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(var + 1e-5) * p[0] + p[1]


def _gpt(vocabulary: int = 65, width: int = 128, heads: int = 4, depth: int = 4, context: int = 64) -> Any:
    keys = iter(random.split(random.key(0), 8 * depth + 8))
    norm = jnp.ones(width), jnp.zeros(width)
    params: dict[str, Any] = {
        "token": random.normal(next(keys), (vocabulary, width)),
        "place": random.normal(next(keys), (context, width)),
        "head": random.normal(next(keys), (width, vocabulary)) * width**-0.5,
        "norm": norm,
        "blocks": [
            {
                "n1": norm,
                "n2": norm,
                "qkv": linear(next(keys), width, 3 * width),
                "out": linear(next(keys), width, width),
                "up": linear(next(keys), width, 4 * width),
                "down": linear(next(keys), 4 * width, width),
            }
            for _ in range(depth)
        ],
    }

    def model(p: Any, tokens: Any) -> Any:
        batch, length = tokens.shape
        x = p["token"][tokens] + p["place"][:length]
        for b in p["blocks"]:
            parts = jnp.split(dense(b["qkv"], layer_norm(b["n1"], x)), 3, -1)
            q, k, v = (a.reshape(batch, length, heads, width // heads).swapaxes(1, 2) for a in parts)
            x = x + dense(b["out"], attention(q, k, v).swapaxes(1, 2).reshape(batch, length, width))
            x = x + dense(b["down"], nn.gelu(dense(b["up"], layer_norm(b["n2"], x)), approximate=False))
        return layer_norm(p["norm"], x) @ p["head"]

    return params, model


def gpt() -> Step:
    params, model = _gpt()
    tokens = random.randint(random.key(1), (12, 65), 0, 65)
    data = tokens[:, :-1], tokens[:, 1:]
    return training(lambda p, x, y, t: cross_entropy(model(p, x), y), params, data, partial(adam, decay=0.01), 2)


def gpt_inference() -> Step:
    params, model = _gpt()
    return inference(model, params, random.randint(random.key(1), (1, 64), 0, 65))


def lstm() -> Step:
    k = random.split(random.key(0), 4)
    params = {"i": linear(k[0], 64, 512), "h": linear(k[1], 128, 512), "l": layers(1, 128, 10)}

    def model(p: Any, x: Any, t: Any) -> Any:
        inputs = dense(p["i"], x.swapaxes(0, 1))

        def cell(state: Any, a: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(a + dense(p["h"], h), 4, -1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            return (nn.sigmoid(o) * jnp.tanh(c), c), None

        zero = jnp.zeros((x.shape[0], 128))
        (h, _), _ = lax.scan(cell, (zero, zero), inputs)
        return mlp(p["l"], h)

    return classifier(model, params, random.normal(k[2], (32, 50, 64)), 10, adam, 2)


def vae() -> Step:
    encode, mean, spread, decode, out = (
        layers(i, n, m)[0] for i, (n, m) in enumerate(((784, 400), (400, 20), (400, 20), (20, 400), (400, 784)))
    )
    params = {"encode": encode, "mean": mean, "spread": spread, "decode": decode, "out": out}

    def loss(p: Any, x: Any, t: Any) -> Any:
        hidden = nn.relu(dense(p["encode"], x))
        mean, logvar = dense(p["mean"], hidden), dense(p["spread"], hidden)
        z = mean + random.normal(random.key(t.astype(int)), mean.shape) * jnp.exp(0.5 * logvar)
        image = nn.sigmoid(dense(p["out"], nn.relu(dense(p["decode"], z))))
        fit = -(x * jnp.clip(jnp.log(image), -100) + (1 - x) * jnp.clip(jnp.log1p(-image), -100)).sum()
        return fit - 0.5 * (1 + logvar - mean**2 - jnp.exp(logvar)).sum()

    return training(loss, params, (random.uniform(random.key(1), (128, 784)),), adam, 2)


def pointwise_chain() -> Step:
    x = random.normal(random.key(0), (2**20,))
    call = jax.jit(lambda x: jnp.abs((nn.sigmoid(x) * x + jnp.tanh(x)) ** 2 - jnp.exp(-x * x) * 0.5).sum())
    return lambda: call(x).item()


def norm_softmax() -> Step:
    one = jnp.ones(1024), jnp.zeros(1024)
    return inference(lambda p, x: nn.softmax(layer_norm(p, x)), one, random.normal(random.key(0), (2048, 1024)))


def product(left: tuple[int, ...], right: tuple[int, ...]) -> Step:
    return inference(jnp.matmul, random.normal(random.key(0), left), random.normal(random.key(1), right))


def matmul_1024() -> Step:
    return product((1024, 1024), (1024, 1024))


def matmul_64_784_512() -> Step:
    return product((64, 784), (784, 512))


def matmul_256_768_3072() -> Step:
    return product((256, 768), (768, 3072))


def matmul_4096_64_64() -> Step:
    return product((4096, 64), (64, 64))


def matmul_batched() -> Step:
    return product((64, 128, 64), (64, 64, 128))


def attention_forward() -> Step:
    q, k, v = (random.normal(key, (2, 8, 512, 64)) for key in random.split(random.key(0), 3))
    return inference(lambda q, kv: attention(q, *kv), q, (k, v))


def attention_backward() -> Step:
    call = jax.jit(jax.grad(lambda qkv: attention(*qkv).sum()))
    qkv = tuple(random.normal(key, (2, 8, 512, 64)) for key in random.split(random.key(0), 3))
    return lambda: jax.block_until_ready(call(qkv))


def mlp_inference() -> Step:
    return inference(mlp, layers(1, 784, 128, 10), random.uniform(random.key(0), (1, 784)))
