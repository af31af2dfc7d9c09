"""``make bench``: ordinary PyTorch-API scripts on luchina and PyTorch; JAX and tinygrad where they are installed, and
``torch.compile`` on request.

Every round runs each workload once on each engine, alternating, each in a process of its own with its defaults. The
table has medians over the rounds: microseconds a step, PyTorch's time divided by luchina's (the median of the rounds'
ratios, and their range), the first step with an empty and with a full cache of kernels, the kernels compiled, and the
most memory that the steps took beside what the process had before them.

    python benchmarks/bench.py [--rounds 5] [--only name …] [--also torch.compile jax tinygrad]

Writes ``results/steps.md``, ``results/steps.json`` and, with matplotlib, ``results/ratios.png``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

HERE = pathlib.Path(__file__).parent
SECONDS = 1.5  # of steps measured in each process
BY_HAND = ("jax", "tinygrad")  # ``jax_workloads.py``, ``tinygrad_workloads.py``
OTHERS = ("torch.compile", *BY_HAND)


def peak() -> float:
    """The most MB that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(engine: str, name: str) -> dict[str, float]:
    """In this process: time of the import, of the first step, the median of the steps after it, and memory."""
    start = time.perf_counter()
    sys.path.insert(0, str(HERE))
    if engine in BY_HAND:
        workloads = importlib.import_module(f"{engine}_workloads")
        arguments = []
    else:
        import workloads

        if engine == "luchina":
            import luchina as torch
            import luchina.nn
            import luchina.optim  # noqa: F401
        else:
            import torch
        arguments = [torch]
    result = {"import": time.perf_counter() - start}
    step = getattr(workloads, name)(*arguments)
    if engine == "torch.compile":
        step = torch.compile(step)
    before = peak()
    start = time.perf_counter()
    step()
    result["first"] = time.perf_counter() - start
    times = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until or len(times) < 20:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    result["step"] = statistics.median(times[len(times) // 4 :])
    result["memory"] = peak() - before
    if engine == "luchina":
        from luchina.compiler import jit

        result["compiled"] = jit.compiled
    return result


def run(engine: str, name: str, cache: str) -> dict[str, float]:
    """``measure`` in a fresh process."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, __file__, "--measure", engine, name],
        env={**environment, "LUCHINA_CACHE": cache, "TORCHINDUCTOR_CACHE_DIR": cache},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name} on {engine}: {done.stderr[-800:]}")
    return json.loads(done.stdout.splitlines()[-1])


def written_in(engine: str, name: str) -> bool:
    """Whether the workload was written for an engine of another interface."""
    return f"def {name}() " in (HERE / f"{engine}_workloads.py").read_text()


def installed() -> list[str]:
    """The engines of other interfaces that are there."""
    return [engine for engine in BY_HAND if importlib.util.find_spec(engine)]


def compare(name: str, rounds: int, engines: tuple[str, ...]) -> dict[str, Any]:
    """One workload on all engines: medians, ratios and their range."""
    seen: dict[str, list[dict[str, float]]] = {engine: [] for engine in ("empty", *engines)}
    for _ in range(rounds):
        for engine in engines:
            if engine in BY_HAND and not written_in(engine, name):
                continue
            with tempfile.TemporaryDirectory() as cache:
                if engine == "luchina":
                    seen["empty"].append(run(engine, name, cache))
                seen[engine].append(run(engine, name, cache))

    def median(engine: str, what: str) -> float:
        return statistics.median(r[what] for r in seen[engine])

    ratios = sorted(theirs["step"] / ours["step"] for ours, theirs in zip(seen["luchina"], seen["torch"]))
    row = {
        "workload": name,
        "luchina": median("luchina", "step"),
        "torch": median("torch", "step"),
        "ratio": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
        "first, empty cache": median("empty", "first"),
        "first, full cache": median("luchina", "first"),
        "kernels": int(median("empty", "compiled")),
        "memory": median("luchina", "memory"),
        "torch memory": median("torch", "memory"),
        "import": median("luchina", "import"),
        "torch import": median("torch", "import"),
    }
    for engine in OTHERS:
        if seen.get(engine):
            row[engine], row[f"{engine}, first"] = median(engine, "step"), median(engine, "first")
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    others = [engine for engine in OTHERS if any(engine in row for row in rows)]
    head = ["workload", "luchina µs", "PyTorch µs", "ratio", "range", "first step, empty cache", "full cache"]
    head += ["kernels", "memory MB", "PyTorch MB"] + [
        text for engine in others for text in (f"{engine} µs", "its first step")
    ]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in rows:
        cells = [
            row["workload"],
            f"{row['luchina'] * 1e6:,.0f}",
            f"{row['torch'] * 1e6:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['lowest']:.2f}–{row['highest']:.2f}",
            f"{row['first, empty cache']:.2f} s",
            f"{row['first, full cache']:.3f} s",
            str(row["kernels"]),
            f"{row['memory']:.0f}",
            f"{row['torch memory']:.0f}",
        ]
        for engine in others:
            there = engine in row
            cells += [f"{row[engine] * 1e6:,.0f}", f"{row[f'{engine}, first']:.1f} s"] if there else ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    mean = math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows))
    lines += ["", f"Geometric mean of the ratios: {mean:.2f}."]
    imports = (statistics.median(row[key] for row in rows) for key in ("import", "torch import"))
    lines.append("`import luchina`: {:.3f} s; `import torch`: {:.3f} s.".format(*imports))
    return "\n".join(lines) + "\n"


def plot(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Ratios as bars on a logarithmic axis."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed: no plot (pip install matplotlib)")
        return
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.32 * len(rows) + 1.2), layout="constrained")
    rows = rows[::-1]
    middle = [row["ratio"] for row in rows]
    spread = [[m - row["lowest"] for m, row in zip(middle, rows)], [row["highest"] - m for m, row in zip(middle, rows)]]
    colours = ["#2a7f62" if m >= 1 else "#b5482f" for m in middle]
    axes.barh([row["workload"] for row in rows], middle, xerr=spread, color=colours, ecolor="#666666")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("PyTorch's time / luchina's (right of 1: luchina is faster)")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=None, metavar="WORKLOAD")
    parser.add_argument(
        "--also", nargs="*", default=installed(), choices=OTHERS, help="measure these too (minutes a round)"
    )
    parser.add_argument("--measure", nargs=2, metavar=("ENGINE", "WORKLOAD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    sys.path.insert(0, str(HERE))
    import workloads

    rows = []
    for name in options.only or [w.__name__ for w in workloads.ALL]:
        rows.append(compare(name, options.rounds, ("luchina", "torch", *options.also)))
        print(table(rows).splitlines()[len(rows) + 1], flush=True)
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / "steps.md").write_text(table(rows))
    (folder / "steps.json").write_text(json.dumps(rows, indent=1))
    plot(rows, folder / "ratios.png")
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
