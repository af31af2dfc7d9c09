"""``make bench``: training steps on luchina and on PyTorch, side by side.

Every round runs each workload once on each engine, alternating, each in a process of its own with its defaults; the
table
has the best round of each engine (of its median step), since another program on the machine only ever adds
time. First-step times of luchina are taken with an empty and with a full cache of kernels.

    python benchmarks/bench.py [--rounds 5] [--only name …]
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

HERE = pathlib.Path(__file__).parent
SECONDS = 1.5  # of steps measured in each process


def measure(engine: str, name: str) -> dict[str, float]:
    """In this process: time of the import, of the first step, and the median of the steps after it."""
    start = time.perf_counter()
    if engine == "torch":
        import torch
    else:
        import luchina as torch
        import luchina.nn
        import luchina.optim
    imported = time.perf_counter() - start
    sys.path.insert(0, str(HERE))
    import workloads

    step = getattr(workloads, name)(torch)
    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    times = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until or len(times) < 20:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    result = {"import": imported, "first": first, "step": statistics.median(times[len(times) // 4 :])}
    if engine == "luchina":
        from luchina.compiler import jit

        result["compiled"] = jit.compiled
    return result


def run(engine: str, name: str, cache: str) -> dict[str, float]:
    """``measure`` in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", engine, name],
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}, "LUCHINA_CACHE": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--measure", nargs=2, metavar=("ENGINE", "WORKLOAD"))
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    sys.path.insert(0, str(HERE))
    import workloads

    names = options.only or [w.__name__ for w in workloads.ALL]
    lines = [
        "| workload | luchina µs | PyTorch µs | ratio | first step, empty cache | first step, full cache | kernels |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    imports: dict[str, list[float]] = {"luchina": [], "torch": []}
    for name in names:
        cold, warm, ours, theirs, kernels = [], [], [], [], 0
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as cache:
                empty = run("luchina", name, cache)
                full = run("luchina", name, cache)
            reference = run("torch", name, "")
            cold.append(empty["first"])
            warm.append(full["first"])
            ours.append(full["step"])
            theirs.append(reference["step"])
            kernels = int(empty["compiled"])
            imports["luchina"].append(full["import"])
            imports["torch"].append(reference["import"])
        ratio = min(theirs) / min(ours)
        lines.append(
            f"| {name} | {min(ours) * 1e6:,.0f} | {min(theirs) * 1e6:,.0f} | {ratio:.2f} | "
            f"{min(cold):.2f} s | {min(warm):.3f} s | {kernels} |"
        )
        print(lines[-1], flush=True)
    lines.append("")
    for engine, seconds in imports.items():
        lines.append(f"`import {engine}`: {min(seconds):.3f} s")
    text = "\n".join(lines) + "\n"
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / "steps.md").write_text(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
