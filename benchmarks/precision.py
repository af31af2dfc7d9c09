"""What 16-bit floats are worth on this processor: time, memory and accuracy beside float32's.

    python benchmarks/precision.py

Time: the same line in float32 and in 16 bits, runs alternate, the best of each counts. Memory: the most that training
steps take beside what the process had before, with and without autocast, each in a process of its own, at batch sizes
whose activations outweigh the parameters. Accuracy: the digits network trained from start to end. Writes
``results/precision.md``.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import luchina as torch
import luchina.nn
import luchina.optim

HERE = pathlib.Path(__file__).parent
DTYPES = ("float32", "bfloat16", "float16")
ROWS, COLUMNS = 4096, 2048  # more than the caches hold
SEEDS = 3
EPOCHS = 8

functional = torch.nn.functional

MEMORY_BOUND: dict[str, Callable[[Any, Any], Any]] = {
    "copy": lambda x, y: x.clone(),
    "x·2+1": lambda x, y: x * 2 + 1,
    "x+y": lambda x, y: x + y,
    "relu": lambda x, y: functional.relu(x),
    "sum": lambda x, y: x.sum(),
    "sum of rows": lambda x, y: x.sum(0),
    "softmax": lambda x, y: x.softmax(-1),
    "layer norm": lambda x, y: functional.layer_norm(x, x.shape[-1:]),
    "transpose": lambda x, y: x.t().contiguous(),
}


def product(m: int, k: int, n: int) -> Callable[[Any], Callable[[], Any]]:
    def make(dtype: Any) -> Callable[[], Any]:
        a, b = torch.randn(m, k).to(dtype), torch.randn(n, k).to(dtype)
        return lambda: functional.linear(a, b)

    return make


def convolution(channels: int, side: int, out: int, size: int, stride: int = 1) -> Callable[[Any], Callable[[], Any]]:
    def make(dtype: Any) -> Callable[[], Any]:
        x, w = torch.randn(32, channels, side, side).to(dtype), torch.randn(out, channels, size, size).to(dtype)
        return lambda: functional.conv2d(x, w, stride=stride, padding=size // 2)

    return make


CONTRACTIONS = {
    "linear 1024³": product(1024, 1024, 1024),
    "linear 256×768×3072": product(256, 768, 3072),
    "linear 768×128×512": product(768, 128, 512),
    "linear 4096×64×64": product(4096, 64, 64),
    "conv 3×3, 64→64 on 32²": convolution(64, 32, 64, 3),
    "conv 3×3 stride 2, 64→128 on 32²": convolution(64, 32, 128, 3, 2),
    "conv 1×1, 256→256 on 14²": convolution(256, 14, 256, 1),
    "conv 5×5, 16→32 on 28²": convolution(16, 28, 32, 5),
}


def best_of(runs: list[Callable[[], Any]], seconds: float = 0.4) -> list[float]:
    """Seconds of the fastest run of each, in turns; a run ends when its result is in memory."""
    best = [float("inf")] * len(runs)
    for _ in range(4):
        for i, run in enumerate(runs):
            run().data_ptr()
            stop = time.perf_counter() + seconds / 4
            while (start := time.perf_counter()) < stop:
                run().data_ptr()
                best[i] = min(best[i], time.perf_counter() - start)
    return best


def times(title: str, wanted: float, cases: dict[str, Callable[[Any], Callable[[], Any]]]) -> list[str]:
    """A table of float32's time over that in 16 bits."""
    lines = [f"{title}: float32's time / 16 bits', wanted {wanted}.", "", "| case | float32 | bfloat16 | float16 |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for name, make in cases.items():
        torch.manual_seed(0)
        full, *half = best_of([make(getattr(torch, d)) for d in DTYPES])
        lines.append(f"| {name} | {full * 1e3:.3f} ms | " + " | ".join(f"{full / t:.2f}" for t in half) + " |")
        print(lines[-1], flush=True)
    return [*lines, ""]


def memory_bound(line: Callable[[Any, Any], Any]) -> Callable[[Any], Callable[[], Any]]:
    def make(dtype: Any) -> Callable[[], Any]:
        x, y = torch.randn(ROWS, COLUMNS).to(dtype), torch.randn(ROWS, COLUMNS).to(dtype)
        return lambda: line(x, y)

    return make


# ---- memory


def cast(dtype: str) -> Any:
    """Autocast to a 16-bit dtype; nothing for float32."""
    return nullcontext() if dtype == "float32" else torch.autocast("cpu", dtype=getattr(torch, dtype))


def training_step(name: str, dtype: str) -> Callable[[], Any]:
    """A step of a network of ``workloads.py`` with many activations."""
    import workloads

    torch.manual_seed(0)
    if name == "resnet":
        model = workloads._resnet(torch)
        x, y = torch.randn(96, 3, 32, 32), torch.randint(10, (96,))
    else:
        model = workloads._gpt(torch)
        x, y = torch.randint(65, (64, 64)), torch.randint(65, (64 * 64,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)

    def step() -> Any:
        with cast(dtype):
            logits = model(x)
            loss = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(name: str, dtype: str) -> dict[str, float]:
    """In this process: MB that three training steps took at the most, and the time of the last."""
    from bench import peak

    step = training_step(name, dtype)
    before = peak()
    for _ in range(3):
        start = time.perf_counter()
        step()
    return {"memory": peak() - before, "seconds": time.perf_counter() - start}


def memory() -> list[str]:
    lines = ["Most memory of training steps beside the process's own, wanted 1.5 times less than float32's.", ""]
    lines += ["| network | float32 | bfloat16 | less by | float16 | less by |", "| --- |" + " ---: |" * 5]
    for name in ("resnet", "gpt"):
        found = []
        for dtype in DTYPES:
            for _ in range(2):  # the second time the kernels are there, and no compiler is loaded
                command = [sys.executable, __file__, "--measure", name, dtype]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1])["memory"])
        full, *half = found
        cells = " | ".join(f"{m:.0f} MB | {full / m:.2f}" for m in half)
        lines.append(f"| {name} | {full:.0f} MB | {cells} |")
        print(lines[-1], flush=True)
    return [*lines, ""]


# ---- accuracy


def trained(dtype: str, seed: int) -> float:
    """Share of right answers on the test data after a full training run."""
    from luchina.examples import digits

    torch.manual_seed(seed)
    train, _, test = digits.load_data(seed)
    loader = torch.utils.data.DataLoader(train, batch_size=64, shuffle=True)
    model = digits.DigitNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    scaler = torch.amp.GradScaler("cpu", enabled=dtype == "float16")
    for _ in range(EPOCHS):
        model.train()
        for images, labels in loader:
            with cast(dtype):
                loss = functional.cross_entropy(model(images).float(), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        schedule.step()
    with cast(dtype):
        return digits.accuracy(model, test)


def accuracy() -> list[str]:
    lines = [
        f"Right answers of the digits network after {EPOCHS} epochs, mean of {SEEDS} seeds, wanted within 0.5 %.",
        "",
    ]
    lines += ["| " + " | ".join(DTYPES) + " |", "| " + " ---: |" * len(DTYPES)]
    means = [sum(trained(dtype, seed) for seed in range(SEEDS)) / SEEDS for dtype in DTYPES]
    lines.append("| " + " | ".join(f"{mean:.2%}" for mean in means) + " |")
    print(lines[-1], flush=True)
    return [*lines, ""]


def main() -> None:
    sys.path.insert(0, str(HERE))
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
        return
    kept = memory()  # first: what this process has by then counts in those that it starts
    lines = times("Memory-bound programs", 1.4, {n: memory_bound(line) for n, line in MEMORY_BOUND.items()})
    lines += times("Contractions in 16-bit storage", 0.9, CONTRACTIONS)
    lines += [*kept, *accuracy()]
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / "precision.md").write_text("\n".join(lines))
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
