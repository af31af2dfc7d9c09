"""How the time of a training step grows with batch size, width and depth, and with 1 and 2 threads.

    python benchmarks/growth.py

Each point is a step of a multi-layer perceptron (SGD) in a process of its own. Writes ``results/growth.md`` and, with
matplotlib, ``results/growth.png``.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

HERE = pathlib.Path(__file__).parent
BASE = {"batch": 128, "width": 256, "depth": 4}
SWEEPS = {
    "batch": (16, 32, 64, 128, 256, 512, 1024, 2048),
    "width": (32, 64, 128, 256, 512, 1024),
    "depth": (1, 2, 4, 8, 16, 32, 64, 128),
}


def measure(engine: str, batch: int, width: int, depth: int) -> dict[str, float]:
    """Seconds of a step, and of the first one."""
    torch: Any = __import__(engine)
    nn = torch.nn
    torch.manual_seed(0)
    layers: list[Any] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, y = torch.randn(batch, width), torch.randn(batch, width)

    def step() -> None:
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    times = []
    until = time.perf_counter() + 0.6
    while time.perf_counter() < until or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return {"step": statistics.median(times), "first": first}


def run(engine: str, threads: int, point: dict[str, int]) -> dict[str, float]:
    """``measure`` in a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "LUCHINA_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, engine, *map(str, point.values())]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    lines, curves = [], {}
    for name, values in SWEEPS.items():
        lines += [
            f"| {name} | MFLOP a step | luchina µs | on 1 thread | PyTorch µs | first step |",
            "|" + " ---: |" * 6,
        ]
        points = []
        for value in values:
            point = {**BASE, name: value}
            ours, alone, theirs = run("luchina", 2, point), run("luchina", 1, point), run("torch", 2, point)
            flops = 6 * point["batch"] * point["width"] ** 2 * point["depth"]
            lines.append(
                f"| {value} | {flops / 1e6:,.0f} | {ours['step'] * 1e6:,.0f} | {alone['step'] * 1e6:,.0f} | "
                f"{theirs['step'] * 1e6:,.0f} | {ours['first']:.2f} s |"
            )
            print(lines[-1], flush=True)
            points.append((value, ours["step"], alone["step"], theirs["step"]))
        curves[name] = points
        lines.append("")
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / "growth.md").write_text("\n".join(lines))
    plot(curves, folder / "growth.png")


def plot(curves: dict[str, list[tuple[float, ...]]], path: pathlib.Path) -> None:
    """Time against each extent, both axes logarithmic."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed: no plot (pip install matplotlib)")
        return
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(1, len(curves), figsize=(12, 4), layout="constrained", sharey=True)
    for axes, (name, points) in zip(all_axes, curves.items()):
        x, ours, alone, theirs = zip(*points)
        for label, y, style in (
            ("luchina", ours, "o-"),
            ("luchina, 1 thread", alone, "o:"),
            ("PyTorch", theirs, "s--"),
        ):
            axes.plot(x, [1e6 * v for v in y], style, label=label)
        axes.set(xscale="log", yscale="log", xlabel=name)
    all_axes[0].set_ylabel("µs a training step")
    all_axes[0].legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], *map(int, sys.argv[2:5]))))
    else:
        main()
