"""What a first step costs: deep models, models of a hundred shapes, and lengths that change with every batch.

    python benchmarks/compile_time.py [case …] [--also torch.compile]

Each case runs in processes of its own: on luchina with an empty cache of kernels, again with the full one, and on
PyTorch. ``first`` is the first step, ``second`` the step after it, ``step`` the median of later ones. Where every step
of a round has a shape of its own (``lengths``), a step is the whole round. Writes ``results/compile_time.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

HERE = pathlib.Path(__file__).parent
SECONDS = 2.0  # of later steps
Step = Callable[[], Any]


def mlp_200(torch: Any) -> Step:
    """200 residual layers x + relu(linear(norm(x))), 64 wide, batch 64."""
    nn = torch.nn
    norms = nn.ModuleList([nn.LayerNorm(64) for _ in range(200)])
    layers = nn.ModuleList([nn.Linear(64, 64) for _ in range(200)])
    head = nn.Linear(64, 10)

    def forward(x: Any) -> Any:
        for norm, layer in zip(norms, layers):
            x = x + torch.relu(layer(norm(x)))
        return head(x)

    parameters = [*norms.parameters(), *layers.parameters(), *head.parameters()]
    return _classifier(torch, parameters, forward, torch.randn(64, 64))


def conv_200(torch: Any) -> Step:
    """200 convolutions 3×3 with batch norm and ReLU, 16 channels on 8×8, batch 16."""
    nn = torch.nn
    layers: list[Any] = [nn.Conv2d(3, 16, 3, padding=1)]
    for _ in range(199):
        layers += [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, bias=False)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    return _classifier(torch, model.parameters(), model, torch.randn(16, 3, 8, 8))


def transformer_48(torch: Any) -> Step:
    """48 blocks of attention and two linear layers, 64 wide, 4 heads, 32 tokens, batch 4."""
    import workloads

    model = workloads._gpt(torch, width=64, depth=48, context=32)
    x, y = torch.randint(65, (4, 32)), torch.randint(65, (4 * 32,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> Any:
        loss = torch.nn.functional.cross_entropy(model(x).view(-1, 65), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def linear_100_shapes(torch: Any) -> Step:
    """100 linear layers with ReLU, no two of one shape: widths 40, 41, … 140; batch 32."""
    nn = torch.nn
    layers: list[Any] = []
    for width in range(40, 140):
        layers += [nn.Linear(width, width + 1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(140, 10))
    return _classifier(torch, model.parameters(), model, torch.randn(32, 40))


def conv_100_shapes(torch: Any) -> Step:
    """100 convolutions with batch norm and ReLU, no two of one shape: channels 4, 5, … 104, windows 1, 3 and 5, planes
    from 16×16 down; batch 4."""
    nn = torch.nn
    layers: list[Any] = []
    for i in range(100):
        size = (1, 3, 3, 5)[i % 4]
        padding = size // 2 - (i % 11 == 10 and size == 3)
        layers += [nn.Conv2d(4 + i, 5 + i, size, padding=padding, bias=False), nn.BatchNorm2d(5 + i), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(104, 10))
    return _classifier(torch, model.parameters(), model, torch.randn(4, 4, 16, 16))


def lengths_100(torch: Any) -> Step:
    """A training round of the GPT of ``bench.py`` over 100 batches, each of another length: 16, 17, … 115 tokens."""
    import workloads

    model = workloads._gpt(torch, context=128)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    batches = [(torch.randint(65, (2, n)), torch.randint(65, (2 * n,))) for n in range(16, 116)]

    def step() -> Any:
        for x, y in batches:
            loss = torch.nn.functional.cross_entropy(model(x).view(-1, 65), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    return step


def _classifier(torch: Any, parameters: Any, model: Any, x: Any) -> Step:
    optimizer = torch.optim.SGD(parameters, lr=1e-3)
    y = torch.randint(10, (len(x),))

    def step() -> Any:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


CASES = (mlp_200, conv_200, transformer_48, linear_100_shapes, conv_100_shapes, lengths_100)


def measure(engine: str, name: str) -> dict[str, float]:
    """In this process: seconds of the first step, the second, and the median of later ones; what luchina planned."""
    sys.path.insert(0, str(HERE))
    if engine == "luchina":
        import luchina as torch
        import luchina.nn
        import luchina.optim  # noqa: F401
    else:
        import torch
    torch.manual_seed(0)
    step = globals()[name](torch)
    if engine == "torch.compile":
        step = torch.compile(step)
    times = []
    until = float("inf")
    while len(times) < 3 or time.perf_counter() < until:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
        if len(times) == 2:
            until = time.perf_counter() + SECONDS
    result = {"first": times[0], "second": times[1], "step": statistics.median(times[2:])}
    if engine == "luchina":
        from luchina.compiler import jit
        from luchina.graph import program

        result |= {"compiled": jit.compiled, "llvm": jit.compile_seconds, "programs": len(program._programs)}
    return result


def run(engine: str, name: str, cache: str) -> dict[str, float]:
    """``measure`` in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", engine, name],
        env={**os.environ, "LUCHINA_CACHE": cache, "TORCHINDUCTOR_CACHE_DIR": cache},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name} on {engine}: {done.stderr[-800:]}")
    return json.loads(done.stdout.splitlines()[-1])


def line(name: str, also: list[str]) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as cache:
        empty, full, theirs = run("luchina", name, cache), run("luchina", name, cache), run("torch", name, cache)
        cells = [f"{empty['first']:.2f}", f"{full['first']:.3f}", f"{theirs['first']:.3f}"]
        cells += [f"{full['second']:.3f}", f"{full['step'] * 1e3:.2f}", f"{theirs['step'] * 1e3:.2f}"]
        cells += [f"{empty['compiled']:.0f}", f"{empty['programs']:.0f}"]
        for engine in also:
            other = run(engine, name, cache)
            cells += [f"{other['first']:.1f}", f"{other['step'] * 1e3:.2f}"]
    return "| " + " | ".join([name, *cells]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="which, all without any")
    parser.add_argument("--also", nargs="*", default=[], choices=["torch.compile"], help="measure these too (minutes)")
    parser.add_argument("--measure", nargs=2, metavar=("ENGINE", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    head = ["case", "first step, empty cache s", "full cache s", "PyTorch s", "second s", "step ms", "PyTorch ms"]
    head += ["kernels", "programs"] + [text for engine in options.also for text in (f"{engine}, first s", "step ms")]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    print("\n".join(lines))
    for name in options.cases or [case.__name__ for case in CASES]:
        lines.append(line(name, options.also))
        print(lines[-1], flush=True)
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / "compile_time.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
