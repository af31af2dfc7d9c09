"""Elementary functions of 2^20 numbers on luchina and on PyTorch: elements per nanosecond on one thread.

Both are timed in this process, in turns; a row has the medians of the rounds. Luchina's time has the recording and the
look-up of the program in it, as a user's call has. More threads are not compared here: two pools of threads in one
process get in each other's way.

    python benchmarks/vecmath.py [--rounds 15] [--dtype float32] [function …]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import luchina

SIZE = 1 << 20
FUNCTIONS = ["exp", "tanh", "sigmoid", "erf", "log", "expm1", "log1p", "sin", "cos", "erfc", "pow", "atan2"]


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def contestants(name: str, dtype: str) -> list[Callable[[], Any]]:
    """The function on luchina, looked at, and on PyTorch, over the same numbers."""
    numbers = torch.rand(SIZE, dtype=getattr(torch, dtype)) * 2 + 0.1
    theirs = [numbers] * (2 if name in ("pow", "atan2") else 1)
    ours = [luchina.tensor(numbers.numpy())] * len(theirs)
    f, g = getattr(luchina, name), getattr(torch, name)

    def on_luchina() -> None:
        f(*ours).data_ptr()  # looks, and so computes

    return [on_luchina, lambda: g(*theirs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("functions", nargs="*", default=FUNCTIONS)
    options = parser.parse_args()
    luchina.set_num_threads(1)
    torch.set_num_threads(1)
    print(f"| {options.dtype} | luchina | PyTorch | ratio |\n| --- | ---: | ---: | ---: |")
    for name in options.functions:
        runs = contestants(name, options.dtype)
        for run in runs:
            run()
        times = [[seconds(run) for run in runs] for _ in range(options.rounds)]
        ours, theirs = (SIZE / statistics.median(t) / 1e9 for t in zip(*times, strict=True))
        print(f"| {name} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.1f} |", flush=True)


if __name__ == "__main__":
    main()
