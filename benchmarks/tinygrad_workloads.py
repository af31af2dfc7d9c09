"""The same workloads in tinygrad, written by hand as its users would: its own layers, optimizers and ``TinyJit``.

Each is ``name() -> step`` as in ``workloads.py``; a step waits for its result. What has no counterpart here is not
compared. tinygrad's default device for a processor compiles with clang, which has to be there. For tinygrad 0.14.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad import Context, Tensor, TinyJit, nn

Step = Callable[[], Any]


def training(loss: Callable[[], Tensor], optimizer: Any) -> Step:
    """A step of gradient, update and loss as one jitted function."""

    @TinyJit
    def advance() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value.realize(*optimizer.schedule_step())

    def step() -> float:
        with Context(TRAINING=1):
            return advance().item()

    return step


def classifier(model: Callable[[Tensor], Tensor], optimizer: Any, x: Tensor) -> Step:
    y = Tensor.randint(x.shape[0], high=10).realize()
    return training(lambda: model(x).sparse_categorical_crossentropy(y), optimizer)


def inference(model: Callable[..., Tensor], *inputs: Tensor) -> Step:
    call = TinyJit(lambda *inputs: model(*inputs).realize())
    inputs = tuple(x.realize() for x in inputs)
    return lambda: call(*inputs).numpy()


class Layers:
    """Layers one after the other, with an activation between linear ones."""

    def __init__(self, *widths: int, activation: Callable[[Tensor], Tensor] = Tensor.relu) -> None:
        self.layers = [nn.Linear(n, m) for n, m in zip(widths, widths[1:])]
        self.activation = activation

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def gradient_descent() -> Step:
    x = Tensor.randn(100, 2).realize()
    y = (x @ Tensor([[2.0], [-3.0]]) + 0.5).realize()
    w, b = Tensor.zeros(2, 1).contiguous(), Tensor.zeros(1).contiguous()
    return training(lambda: ((x @ w + b - y) ** 2).mean(), nn.optim.SGD([w, b], lr=0.1))


def mlp_2_16_16_1() -> Step:
    model = Layers(2, 16, 16, 1)
    x = Tensor.rand(32, 2).realize()
    y = (x[:, :1] * x[:, 1:]).realize()
    return training(lambda: ((model(x) - y) ** 2).mean(), nn.optim.Adam(nn.state.get_parameters(model), lr=1e-2))


def mlp_784_128_10() -> Step:
    model = Layers(784, 128, 10)
    optimizer = nn.optim.SGD(nn.state.get_parameters(model), lr=0.1)
    return classifier(model, optimizer, Tensor.rand(64, 784).realize())


def mlp_wide() -> Step:
    model = Layers(1024, 2048, 1024, 10, activation=lambda x: x.gelu().dropout(0.1))
    optimizer = nn.optim.AdamW(nn.state.get_parameters(model), lr=1e-3)
    return classifier(model, optimizer, Tensor.randn(256, 1024).realize())


class MnistCNN:
    def __init__(self) -> None:
        self.a, self.b, self.head = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3), Layers(64 * 144, 128, 10)

    def __call__(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x).relu()).relu().max_pool2d(2).flatten(1))


def mnist_cnn() -> Step:
    model = MnistCNN()
    optimizer = nn.optim.Adam(nn.state.get_parameters(model), lr=1e-3)
    return classifier(model, optimizer, Tensor.rand(64, 1, 28, 28).realize())


class Block:
    """A block of the GPT."""

    def __init__(self, width: int, heads: int) -> None:
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads = heads

    def __call__(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (p.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        seen = q.scaled_dot_product_attention(k, v, is_causal=True).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(seen)
        return x + self.down(self.up(self.norm2(x)).gelu())


class GPT:
    def __init__(self, vocabulary: int = 65, width: int = 128, heads: int = 4, depth: int = 4, context: int = 64):
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = [Block(width, heads) for _ in range(depth)]
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def __call__(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.place(Tensor.arange(tokens.shape[1]).reshape(1, -1))
        return self.head(self.norm(x.sequential(self.blocks)))


def gpt() -> Step:
    model = GPT()
    tokens = Tensor.randint(12, 65, high=65).realize()
    x, y = tokens[:, :-1].contiguous().realize(), tokens[:, 1:].reshape(-1).contiguous().realize()
    optimizer = nn.optim.AdamW(nn.state.get_parameters(model), lr=1e-3)
    return training(lambda: model(x).reshape(-1, 65).sparse_categorical_crossentropy(y), optimizer)


def gpt_inference() -> Step:
    return inference(GPT(), Tensor.randint(1, 64, high=65))


class VAE:
    def __init__(self) -> None:
        self.encode, self.mean, self.spread = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.decode, self.out = nn.Linear(20, 400), nn.Linear(400, 784)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.encode(x).relu()
        mean, logvar = self.mean(hidden), self.spread(hidden)
        z = mean + Tensor.randn(*mean.shape) * (0.5 * logvar).exp()
        return self.out(self.decode(z).relu()).sigmoid(), mean, logvar


def vae() -> Step:
    model, x = VAE(), Tensor.rand(128, 784).realize()

    def loss() -> Tensor:
        image, mean, logvar = model(x)
        fit = image.binary_crossentropy(x, reduction="sum")
        return fit - 0.5 * (1 + logvar - mean**2 - logvar.exp()).sum()

    return training(loss, nn.optim.Adam(nn.state.get_parameters(model), lr=1e-3))


def pointwise_chain() -> Step:
    def chain(x: Tensor) -> Tensor:
        return ((x.sigmoid() * x + x.tanh()) ** 2 - (-x * x).exp() * 0.5).abs().sum()

    return inference(chain, Tensor.randn(2**20))


def norm_softmax() -> Step:
    return inference(lambda x: x.layernorm().softmax(-1), Tensor.randn(2048, 1024))


def product(left: tuple[int, ...], right: tuple[int, ...]) -> Step:
    return inference(Tensor.matmul, Tensor.randn(*left), Tensor.randn(*right))


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
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q.scaled_dot_product_attention(k, v, is_causal=True)

    return inference(attend, *(Tensor.randn(2, 8, 512, 64) for _ in range(3)))


def mlp_inference() -> Step:
    return inference(Layers(784, 128, 10), Tensor.rand(1, 784))
