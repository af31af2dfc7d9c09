"""Training steps as ordinary PyTorch-API scripts: the same lines run on either engine.

Each workload is ``name(torch) -> step``: a function that sets everything up and gives the function that does one step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]


def gradient_descent(torch: Any) -> Step:
    """Raw tensors: three weights fitted to a line in two variables."""
    torch.manual_seed(0)
    x = torch.randn(100, 2)
    y = x @ torch.tensor([[2.0], [-3.0]]) + 0.5
    w = torch.zeros(2, 1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)

    def step() -> Any:
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w.sub_(0.1 * w.grad)
            b.sub_(0.1 * b.grad)
            w.grad = None
            b.grad = None
        return loss.item()

    return step


def mlp_2_16_16_1(torch: Any) -> Step:
    """A 2-16-16-1 network with Adam, batch 32."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x = torch.rand(32, 2)
    y = x[:, :1] * x[:, 1:]

    return _training_step(optimizer, lambda: nn.functional.mse_loss(model(x), y))


def mlp_784_128_10(torch: Any) -> Step:
    """A 784-128-10 classifier with SGD, batch 64."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.rand(64, 784), torch.randint(10, (64,))

    return _classifier_step(torch, model, optimizer, x, y)


def digits_network(torch: Any) -> Step:
    """The network of ``luchina demo`` with AdamW, batch 64."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(64 * 4 * 4, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    x, y = torch.rand(64, 1, 8, 8), torch.randint(10, (64,))

    return _classifier_step(torch, model, optimizer, x, y)


def mlp_wide(torch: Any) -> Step:
    """A 1024-2048-1024-10 classifier with GELU and dropout, AdamW, batch 256."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(1024, 2048), nn.GELU(), nn.Dropout(0.1), nn.Linear(2048, 1024), nn.GELU(), nn.Dropout(0.1),
        nn.Linear(1024, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return _classifier_step(torch, model, optimizer, torch.randn(256, 1024), torch.randint(10, (256,)))


def mnist_cnn(torch: Any) -> Step:
    """Two convolutions, a pool and two linear layers on 28×28, Adam, batch 64."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return _classifier_step(torch, model, optimizer, torch.rand(64, 1, 28, 28), torch.randint(10, (64,)))


def resnet(torch: Any) -> Step:
    """Eight residual blocks on 32×32, widths 32 to 256, SGD with momentum, batch 32."""
    torch.manual_seed(0)
    model = _resnet(torch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return _classifier_step(torch, model, optimizer, torch.randn(32, 3, 32, 32), torch.randint(10, (32,)))


def gpt(torch: Any) -> Step:
    """A GPT of 4 layers, 128 wide, 4 heads, on a context of 64 tokens, AdamW, batch 12."""
    torch.manual_seed(0)
    model = _gpt(torch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(65, (12, 65))
    x, y = tokens[:, :-1], tokens[:, 1:]

    cross_entropy = torch.nn.functional.cross_entropy
    return _training_step(optimizer, lambda: cross_entropy(model(x).view(-1, 65), y.reshape(-1)))


def lstm(torch: Any) -> Step:
    """An LSTM 64 → 128 over 50 steps with a linear head, Adam, batch 32."""
    nn = torch.nn
    torch.manual_seed(0)
    recurrent, head = nn.LSTM(64, 128, batch_first=True), nn.Linear(128, 10)
    optimizer = torch.optim.Adam([*recurrent.parameters(), *head.parameters()], lr=1e-3)
    x, y = torch.randn(32, 50, 64), torch.randint(10, (32,))

    return _training_step(optimizer, lambda: nn.functional.cross_entropy(head(recurrent(x)[0][:, -1]), y))


def vae(torch: Any) -> Step:
    """A variational autoencoder 784-400-20, Adam, batch 128."""
    nn, functional = torch.nn, torch.nn.functional
    torch.manual_seed(0)

    class VAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.mean, self.spread = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
            self.decode, self.out = nn.Linear(20, 400), nn.Linear(400, 784)

        def forward(self, x: Any) -> Any:
            hidden = functional.relu(self.encode(x))
            mean, logvar = self.mean(hidden), self.spread(hidden)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)
            return torch.sigmoid(self.out(functional.relu(self.decode(z)))), mean, logvar

    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x = torch.rand(128, 784)

    def loss() -> Any:
        image, mean, logvar = model(x)
        fit = functional.binary_cross_entropy(image, x, reduction="sum")
        return fit - 0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())

    return _training_step(optimizer, loss)


def pointwise_chain(torch: Any) -> Step:
    """A chain of pointwise operations over 2²⁰ numbers, down to a scalar."""
    torch.manual_seed(0)
    x = torch.randn(2**20)
    return lambda: ((torch.sigmoid(x) * x + torch.tanh(x)) ** 2 - torch.exp(-x * x) * 0.5).abs().sum().item()


def norm_softmax(torch: Any) -> Step:
    """Layer norm, then softmax, of 2048×1024."""
    torch.manual_seed(0)
    x = torch.randn(2048, 1024)
    return lambda: torch.nn.functional.layer_norm(x, (1024,)).softmax(-1).numpy()


def matmul_1024(torch: Any) -> Step:
    """A product of 1024³."""
    return _product(torch, (1024, 1024), (1024, 1024))


def matmul_64_784_512(torch: Any) -> Step:
    """A product of 64×784 and 784×512."""
    return _product(torch, (64, 784), (784, 512))


def matmul_256_768_3072(torch: Any) -> Step:
    """A product of 256×768 and 768×3072."""
    return _product(torch, (256, 768), (768, 3072))


def matmul_4096_64_64(torch: Any) -> Step:
    """A product of 4096×64 and 64×64."""
    return _product(torch, (4096, 64), (64, 64))


def matmul_batched(torch: Any) -> Step:
    """Sixty-four products of 128×64 and 64×128."""
    return _product(torch, (64, 128, 64), (64, 64, 128))


def attention_forward(torch: Any) -> Step:
    """Causal attention, 2 sequences, 8 heads, 512 tokens, 64 wide."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 8, 512, 64) for _ in range(3))
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).numpy()


def attention_backward(torch: Any) -> Step:
    """The same attention with its gradients."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 8, 512, 64, requires_grad=True) for _ in range(3))

    def step() -> Any:
        q.grad = k.grad = v.grad = None
        torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
        return q.grad.numpy(), k.grad.numpy(), v.grad.numpy()

    return step


def mlp_inference(torch: Any) -> Step:
    """One sample through the 784-128-10 classifier."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
    return _inference_step(torch, model, torch.rand(1, 784))


def resnet_inference(torch: Any) -> Step:
    """One image through the network of eight blocks."""
    torch.manual_seed(0)
    return _inference_step(torch, _resnet(torch).eval(), torch.randn(1, 3, 32, 32))


def gpt_inference(torch: Any) -> Step:
    """One context of 64 tokens through the GPT."""
    torch.manual_seed(0)
    return _inference_step(torch, _gpt(torch).eval(), torch.randint(65, (1, 64)))


def gpt_generation(torch: Any) -> Step:
    """Forty-eight tokens from the GPT, the context growing by each."""
    torch.manual_seed(0)
    model = _gpt(torch).eval()
    start = torch.randint(65, (1, 8))

    def step() -> Any:
        tokens = start
        with torch.no_grad():
            for _ in range(48):
                probabilities = model(tokens)[:, -1].softmax(-1)
                tokens = torch.cat((tokens, torch.multinomial(probabilities, 1)), 1)
        return tokens.tolist()

    return step


# ---- shared parts


def _training_step(optimizer: Any, loss_of: Callable[[], Any]) -> Step:
    def step() -> Any:
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def _classifier_step(torch: Any, model: Any, optimizer: Any, x: Any, y: Any) -> Step:
    return _training_step(optimizer, lambda: torch.nn.functional.cross_entropy(model(x), y))


def _inference_step(torch: Any, model: Any, x: Any) -> Step:
    def step() -> Any:
        with torch.no_grad():
            return model(x).numpy()

    return step


def _product(torch: Any, left: tuple[int, ...], right: tuple[int, ...]) -> Step:
    torch.manual_seed(0)
    a, b = torch.randn(left), torch.randn(right)
    return lambda: (a @ b).numpy()


def _resnet(torch: Any) -> Any:
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, narrow: int, wide: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(wide)
            self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(wide)
            self.skip = nn.Identity()
            if stride != 1 or narrow != wide:
                self.skip = nn.Sequential(nn.Conv2d(narrow, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

        def forward(self, x: Any) -> Any:
            y = torch.relu(self.norm1(self.conv1(x)))
            return torch.relu(self.norm2(self.conv2(y)) + self.skip(x))

    layers = [nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    narrow = 32
    for wide in (32, 64, 128, 256):
        layers += [Block(narrow, wide, 1 if wide == 32 else 2), Block(wide, wide, 1)]
        narrow = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def _gpt(torch: Any, vocabulary: int = 65, width: int = 128, heads: int = 4, depth: int = 4, context: int = 64) -> Any:
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            parts = self.qkv(self.norm1(x)).split(width, dim=2)
            q, k, v = (p.view(batch, length, heads, width // heads).transpose(1, 2) for p in parts)
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(seen.transpose(1, 2).contiguous().view(batch, length, width))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(depth)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens: Any) -> Any:
            x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
            return self.head(self.norm(self.blocks(x)))

    return GPT()


ALL = (
    gradient_descent,
    mlp_2_16_16_1,
    mlp_784_128_10,
    digits_network,
    mlp_wide,
    mnist_cnn,
    resnet,
    gpt,
    lstm,
    vae,
    pointwise_chain,
    norm_softmax,
    matmul_1024,
    matmul_64_784_512,
    matmul_256_768_3072,
    matmul_4096_64_64,
    matmul_batched,
    attention_forward,
    attention_backward,
    mlp_inference,
    resnet_inference,
    gpt_inference,
    gpt_generation,
)
