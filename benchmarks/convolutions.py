"""Convolutions of ordinary networks beside PyTorch's, forward and both gradients.

    python benchmarks/convolutions.py [words of a case's name]

A ratio is PyTorch's time in the better of its two memory formats over luchina's. Each engine has a process of its own;
runs alternate, and the best of each counts. Cases below ``GOAL`` are repeated at the end, the slowest first.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from roofline import Engine

GOAL = 0.85
BATCHES = (1, 8, 32)


class Layer(NamedTuple):
    """A convolution by its hyperparameters; ``size`` is the input's, with one extent a spatial dimension."""

    network: str
    channels: int
    size: tuple[int, ...]
    out: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    transposed: bool = False

    def __str__(self) -> str:
        kind = "transposed " if self.transposed else ""
        more = "".join(
            f" {letter}{value}"
            for letter, value, usual in (("s", self.stride, 1), ("p", self.padding, 0), ("d", self.dilation, 1))
            if value != usual
        )
        more += f" g{self.groups}" if self.groups > 1 else ""
        size = "x".join(map(str, self.size))
        return f"{self.network}: {kind}{self.channels}->{self.out} on {size} k{self.kernel}{more}"


def _square(network: str, *rows: tuple[int, ...], **more: Any) -> list[Layer]:
    """(channels, side, out, kernel[, stride[, padding[, dilation[, groups]]]]) for each."""
    return [Layer(network, channels, (side, side), *rest, **more) for channels, side, *rest in rows]


LAYERS = [
    *_square("ResNet-18", (3, 224, 64, 7, 2, 3), (64, 56, 64, 3, 1, 1), (64, 56, 128, 3, 2, 1), (64, 56, 128, 1, 2)),
    *_square("ResNet-18", (128, 28, 128, 3, 1, 1), (128, 28, 256, 3, 2, 1), (256, 14, 256, 3, 1, 1)),
    *_square("ResNet-18", (256, 14, 512, 3, 2, 1), (512, 7, 512, 3, 1, 1), (256, 14, 512, 1, 2)),
    *_square("ResNet-50", (64, 56, 64, 1), (64, 56, 256, 1), (256, 56, 64, 1), (256, 56, 128, 1), (256, 56, 512, 1, 2)),
    *_square("ResNet-50", (128, 56, 128, 3, 2, 1), (128, 28, 512, 1), (512, 28, 128, 1), (512, 28, 1024, 1, 2)),
    *_square("ResNet-50", (256, 14, 1024, 1), (1024, 14, 256, 1), (1024, 14, 2048, 1, 2), (512, 7, 2048, 1)),
    *_square("ResNet-50", (2048, 7, 512, 1)),
    *_square("CIFAR ResNet", (3, 32, 16, 3, 1, 1), (16, 32, 16, 3, 1, 1), (16, 32, 32, 3, 2, 1), (32, 16, 32, 3, 1, 1)),
    *_square("CIFAR ResNet", (16, 32, 32, 1, 2), (32, 16, 64, 3, 2, 1), (64, 8, 64, 3, 1, 1)),
    *_square("MobileNet", (3, 224, 32, 3, 2, 1), (32, 112, 16, 1), (16, 112, 96, 1), (96, 56, 24, 1), (24, 56, 144, 1)),
    *_square("MobileNet", (144, 28, 32, 1), (192, 28, 64, 1), (384, 14, 96, 1), (960, 7, 160, 1), (320, 7, 1280, 1)),
    *_square("MobileNet", (32, 112, 32, 3, 1, 1, 1, 32)),
    *_square("MobileNet", (96, 112, 96, 3, 2, 1, 1, 96), (144, 56, 144, 3, 1, 1, 1, 144)),
    *_square("MobileNet", (192, 28, 192, 3, 1, 1, 1, 192), (576, 14, 576, 3, 2, 1, 1, 576)),
    *_square("MobileNet", (960, 7, 960, 3, 1, 1, 1, 960)),
    *_square("MobileNet", (240, 28, 240, 5, 2, 2, 1, 240), (672, 14, 672, 5, 1, 2, 1, 672)),
    *_square("VGG", (3, 224, 64, 3, 1, 1), (64, 112, 128, 3, 1, 1), (256, 28, 512, 3, 1, 1), (512, 14, 512, 3, 1, 1)),
    *_square("LeNet", (1, 28, 6, 5, 1, 2), (6, 14, 16, 5), (1, 28, 32, 3)),
    *_square("LeNet", (32, 26, 64, 3), (1, 28, 32, 5), (32, 12, 64, 5)),
    *_square("Inception", (192, 14, 32, 5, 1, 2), (16, 28, 32, 5, 1, 2), (64, 28, 96, 5, 1, 2)),
    *_square("UNet", (64, 64, 64, 3, 1, 1), (128, 32, 128, 3, 1, 1), (3, 128, 32, 3, 1, 1), (32, 64, 1, 1)),
    *_square("UNet", (128, 32, 64, 2, 2), (256, 16, 128, 2, 2), (64, 64, 32, 2, 2), transposed=True),
    *_square("DCGAN", (256, 8, 128, 4, 2, 1), (128, 16, 64, 4, 2, 1), transposed=True),
    *_square("DCGAN", (64, 32, 3, 4, 2, 1), (100, 1, 256, 4), transposed=True),
    *_square("DCGAN", (3, 64, 64, 4, 2, 1), (64, 32, 128, 4, 2, 1), (128, 16, 256, 4, 2, 1)),
    *_square("DeepLab", (256, 28, 256, 3, 1, 2, 2), (64, 32, 64, 3, 1, 2, 2), (512, 14, 256, 3, 1, 6, 6)),
    *_square("ResNeXt", (128, 56, 128, 3, 1, 1, 1, 32), (256, 28, 256, 3, 1, 1, 1, 32), (256, 56, 256, 3, 2, 1, 1, 32)),
    *_square("ShuffleNet", (240, 28, 60, 1, 1, 0, 1, 3)),
    *_square("ViT", (3, 224, 192, 16, 16), (3, 32, 64, 4, 4), (3, 28, 64, 7, 7)),
    *_square("ConvNeXt", (3, 224, 96, 4, 4), (96, 56, 96, 7, 1, 3, 1, 96), (192, 28, 192, 7, 1, 3, 1, 192)),
    *_square("ConvNeXt", (384, 14, 384, 7, 1, 3, 1, 384), (768, 7, 768, 7, 1, 3, 1, 768)),
    *_square("ConvNeXt", (96, 56, 192, 2, 2), (192, 28, 384, 2, 2)),
    Layer("M5", 1, (8000,), 32, 80, 16),
    Layer("M5", 32, (125,), 32, 3, 1, 1),
    Layer("Wav2Vec", 1, (16000,), 128, 10, 5),
    Layer("Wav2Vec", 128, (1600,), 128, 3, 2),
    Layer("WaveNet", 32, (2048,), 64, 2, 1, 0, 8),
    Layer("WaveNet", 64, (2048,), 64, 1),
    Layer("TCN", 64, (512,), 64, 7, 1, 6, 2),
    Layer("Whisper", 80, (1500,), 384, 3, 1, 1),
    Layer("Whisper", 384, (1500,), 384, 3, 2, 1),
    Layer("Conformer", 144, (400,), 144, 31, 1, 15, 1, 144),
    Layer("HiFi-GAN", 128, (256,), 64, 16, 8, 4, transposed=True),
    Layer("HiFi-GAN", 64, (2048,), 64, 11, 1, 25, 5),
]  # fmt: skip


def case(layer: Layer, batch: int, what: str) -> Callable[[Any], list[Callable[[], Any]]]:
    """How a library (``luchina`` or ``torch``) makes the runs of which the fastest counts."""

    def make(t: Any) -> list[Callable[[], Any]]:
        t.manual_seed(0)
        rank = len(layer.size)
        geometry = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        window = (layer.kernel,) * rank
        inner = layer.out // layer.groups if layer.transposed else layer.channels // layer.groups
        x = t.randn(batch, layer.channels, *layer.size)
        w = t.randn(layer.channels if layer.transposed else layer.out, inner, *window) / inner**0.5
        name = f"conv_transpose{rank}d" if layer.transposed else f"conv{rank}d"
        conv = functools.partial(getattr(t.nn.functional, name), groups=layer.groups, **geometry)
        g = t.randn(*conv(x, w).shape)
        versions = [(x, w, g)]
        if t.__name__ == "torch" and rank == 2:
            versions.append(tuple(v.contiguous(memory_format=t.channels_last) for v in versions[0]))
        if what == "forward":
            return [lambda x=x, w=w: conv(x, w).numpy() for x, w, _ in versions]
        runs = []
        for x_, w_, g_ in versions:
            wanted = (x_ if what == "input" else w_).requires_grad_()
            # PyTorch has computed y and goes back again and again; luchina does not compute what nobody looks at.
            kept = conv(x_, w_) if t.__name__ == "torch" else None
            runs.append(functools.partial(_gradient, t, conv, (x_, w_), kept, wanted, g_))
        return runs

    return make


def _gradient(t: Any, conv: Callable[..., Any], operands: Any, y: Any, wanted: Any, g: Any) -> Any:
    if y is None:
        return t.autograd.grad(conv(*operands), wanted, g)[0].numpy()
    return t.autograd.grad(y, wanted, g, retain_graph=True)[0].numpy()


CASES = {
    f"{layer} batch {batch} {what}": case(layer, batch, what)
    for layer in LAYERS
    for batch in BATCHES
    for what in ("forward", "input", "weight")
    if not (layer.channels == 3 and what == "input") and batch * layer.channels * prod(layer.size) < 1 << 23
}


def main(words: list[str]) -> None:
    chosen = [name for name in CASES if all(word in f"{name} " for word in words)]
    if not chosen:
        raise SystemExit(f"no case has {' and '.join(map(repr, words))} in its name, as {next(iter(CASES))!r} has")
    engines = [Engine("luchina", __file__), Engine("torch", __file__)]
    slow = []
    for name in chosen:
        ours, theirs = map(min, zip(*([engine.seconds(name) for engine in engines] for _ in range(2)), strict=True))
        line = f"{theirs / ours:5.2f} {ours * 1e6:9.1f} us, PyTorch {theirs * 1e6:9.1f} us  {name}"
        print(line, flush=True)
        if theirs / ours < GOAL:
            slow.append(line)
    print(f"\n{len(slow)} of {len(chosen)} below {GOAL}", *sorted(slow), sep="\n")


if __name__ == "__main__":
    Engine.serve(sys.argv[2], CASES) if sys.argv[1:2] == ["serve"] else main(sys.argv[1:])
