"""Small networks of several kinds train on a device as they do on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import luchina as torch
from luchina import Tensor, nn

F = nn.functional
Made = tuple[nn.Module, Callable[[], Tensor]]  # a model and its loss


def convolutional(d: Any) -> Made:
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, stride=2, bias=False), nn.GroupNorm(4, 16), nn.SiLU(), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, 5)),
    ).to(d)
    x, y = torch.randn(8, 3, 16, 16).to(d), torch.randint(0, 5, (8,)).to(d)
    return model, lambda: F.cross_entropy(model(x), y, label_smoothing=0.1)


def decoder(d: Any) -> Made:
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, groups=3, padding=1), nn.Conv2d(6, 8, 1), nn.LeakyReLU(0.1)),
        *(nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1), nn.Hardswish(), nn.Upsample(scale_factor=2)),
        *(nn.Conv2d(4, 1, 5, dilation=2, padding=4), nn.AvgPool2d(2)),
    ).to(d)
    x, t = torch.randn(2, 3, 9, 7).to(d), torch.randn(2, 1, 18, 14).to(d)
    return model, lambda: F.smooth_l1_loss(model(x), t)


class Block(nn.Module):
    """Causal attention and a layer behind it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.first(x)).split(width, dim=2)
        q, k, v = (p.view(batch, length, self.heads, -1).transpose(1, 2) for p in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape)
        x = x + self.project(y)
        return x + self.wide(self.second(x))


class Words(nn.Module):
    """A language model whose last layer shares the embedding's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(17, 32), nn.Parameter(torch.zeros(12, 32))
        self.blocks, self.norm = nn.Sequential(Block(32, 4), Block(32, 4)), nn.LayerNorm(32)
        self.out = nn.Linear(32, 17, bias=False)
        self.out.weight = self.table.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.norm(self.blocks(self.table(words) + self.places)))


def language(d: Any) -> Made:
    model, words = Words().to(d), torch.randint(0, 17, (4, 13)).to(d)
    return model, lambda: F.cross_entropy(model(words[:, :-1]).flatten(0, 1), words[:, 1:].flatten())


def recurrent(kind: str) -> Callable[[Any], Made]:
    def make(d: Any) -> Made:
        two = kind == "GRU"
        layer = getattr(nn, kind)(6, 10, num_layers=2, batch_first=True, bidirectional=two)
        model = nn.ModuleList([nn.Embedding(11, 6), layer, nn.Linear(20 if two else 10, 11)]).to(d)
        words = torch.randint(0, 11, (3, 9)).to(d)

        def loss() -> Tensor:
            table, layer, out = model
            return F.cross_entropy(out(layer(table(words))[0]).transpose(1, 2), words.roll(-1, 1))

        return model, loss

    return make


def variational(d: Any) -> Made:
    model = nn.ModuleList([nn.Linear(20, 16), nn.Linear(16, 8), nn.Linear(4, 16), nn.Linear(16, 20)]).to(d)
    x, noise = torch.rand(16, 20).to(d), torch.randn(16, 4).to(d)

    def loss() -> Tensor:
        mean, log = model[1](model[0](x).relu()).chunk(2, 1)
        back = model[3](F.softplus(model[2](mean + noise * (log / 2).exp())))
        divergence = (mean**2 + log.exp() - 1 - log).sum(1).mean() / 2
        return F.binary_cross_entropy_with_logits(back, x, reduction="sum") / 16 + divergence

    return model, loss


def ordered(d: Any) -> Made:
    """Embeddings with padding, and what sorts, picks and runs along an axis."""
    model = nn.ModuleList([nn.Embedding(30, 8, padding_idx=0), nn.Conv1d(8, 6, 3, padding=1), nn.Linear(6, 3)]).to(d)
    words, y = torch.randint(0, 30, (5, 11)).to(d), torch.randint(0, 3, (5,)).to(d)

    def loss() -> Tensor:
        h = model[1](model[0](words).transpose(1, 2)).relu()
        h = h.max(2).values + h.topk(3, dim=2).values.mean(2) + h.sort(dim=2).values[:, :, -2] + h.cumsum(2)[:, :, 4]
        return F.nll_loss(model[2](h).log_softmax(1), y)

    return model, loss


def distances(d: Any) -> Made:
    model = nn.Sequential(nn.Linear(5, 7), nn.PReLU(7), nn.Linear(7, 4)).to(d)
    x = torch.randn(27, 5).to(d)

    def loss() -> Tensor:
        a, p, n = F.normalize(model(x), dim=1).view(3, 9, 4)
        away = torch.cdist(a, p).mean() + (a @ n.t()).logsumexp(1).mean() / 10
        return F.triplet_margin_loss(a, p, n, margin=0.5) + away + sum(w.norm() for w in model.parameters()) / 100

    return model, loss


RUNS = {
    "convolutional": (convolutional, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True)),
    "decoder": (decoder, lambda p: torch.optim.RMSprop(p, lr=0.002)),
    "language": (language, lambda p: torch.optim.AdamW(p, lr=0.01)),
    "LSTM": (recurrent("LSTM"), lambda p: torch.optim.Adadelta(p, lr=0.5)),
    "GRU": (recurrent("GRU"), lambda p: torch.optim.Adagrad(p, lr=0.02)),
    "variational": (variational, lambda p: torch.optim.NAdam(p, lr=0.01)),
    "ordered": (ordered, lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-3)),
    "distances": (distances, lambda p: torch.optim.Adamax(p, lr=0.01)),
}


def losses(d: Any, name: str, steps: int = 5, lower: torch.dtype | None = None) -> list[float]:
    """Those of some steps, with a schedule and clipped gradients; in a region of autocast if ``lower`` is given."""
    torch.manual_seed(0)
    make, optimize = RUNS[name]
    model, loss = make(d)
    optimizer = optimize(model.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast(torch.device(d).type, lower, enabled=lower is not None):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        found.append(value.item())
    return found


@pytest.mark.parametrize("name", RUNS)
def test_as_on_the_cpu(where: torch.device, name: str) -> None:
    assert losses(where, name) == pytest.approx(losses("cpu", name), rel=2e-6)


@pytest.mark.parametrize("name", ["language", "LSTM"])
def test_in_16_bits(where: torch.device, name: str) -> None:
    """Autocast's lists are others than on the CPU."""
    exact = losses("cpu", name)
    for lower, near in ((torch.bfloat16, 3e-2), (torch.float16, 3e-3)):
        there = losses(where, name, lower=lower)
        assert there == pytest.approx(exact, rel=near) and there != exact
