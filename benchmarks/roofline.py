"""How near to the machine's limits: contractions beside the processor's fused multiply-adds, the rest beside memcpy.

    python benchmarks/roofline.py

The limit of a contraction is the rate of a loop of independent vector multiply-adds on registers, on as many threads;
that of a memory-bound program is what memcpy moves. PyTorch's rate for the same line stands beside (for a convolution
that of the better of its two memory formats). Each engine has a process of its own, so that the idle threads of one
take no time from the other; runs alternate, and the best of each counts. Writes ``results/roofline.md``.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from luchina.compiler import jit
from luchina.compiler.kernel import Kernel
from luchina.compiler.target import Target, host
from luchina.runtime import threads

THREADS = threads.get_num_threads()
ROWS, COLUMNS = 4096, 1024  # of what the memory-bound programs read
SIZE = 4 * ROWS * COLUMNS
CHAINS = 24  # enough independent sums to hide the latency of a multiply-add


def _chains(target: Target) -> str:
    lanes = target.vector_bits // 32
    wide = f"<{lanes} x float>"
    lines = ["define void @fma_rate(ptr %table, ptr %params, i64 %lo, i64 %hi, ptr %scratch) {", "entry:"]
    lines += [f"  %x = load {wide}, ptr %scratch", "  br label %loop", "loop:"]
    lines.append("  %i = phi i64 [ %lo, %entry ], [ %n, %loop ]")
    for j in range(CHAINS):
        lines.append(f"  %a{j} = phi {wide} [ zeroinitializer, %entry ], [ %b{j}, %loop ]")
    for j in range(CHAINS):
        lines.append(f"  %b{j} = call {wide} @llvm.fma.v{lanes}f32({wide} %x, {wide} %x, {wide} %a{j})")
    lines += [
        "  %n = add i64 %i, 1",
        "  %more = icmp slt i64 %n, %hi",
        "  br i1 %more, label %loop, label %end",
        "end:",
    ]
    for j in range(CHAINS):
        lines.append(f"  %at{j} = getelementptr {wide}, ptr %scratch, i64 {j}")
        lines.append(f"  store {wide} %b{j}, ptr %at{j}")
    lines += ["  ret void", "}", f"declare {wide} @llvm.fma.v{lanes}f32({wide}, {wide}, {wide})"]
    return f'target triple = "{target.triple}"\n' + "\n".join(lines) + "\n"


def at_once(work: Callable[[int], object]) -> float:
    """Seconds of ``work(0)``, ``work(1)``, … on ``THREADS`` threads at once: the best of some runs."""
    best = float("inf")
    for _ in range(9):
        others = [threading.Thread(target=work, args=(i,)) for i in range(1, THREADS)]
        start = time.perf_counter()
        for other in others:
            other.start()
        work(0)
        for other in others:
            other.join()
        best = min(best, time.perf_counter() - start)
    return best


def multiply_add_rate() -> float:
    """FLOP/s of independent vector multiply-adds on every thread."""
    (address,) = jit.load([Kernel("fma_rate", f"rate of {CHAINS} chains of multiply-adds", _chains)])
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2, ctypes.c_void_p)(address)
    turns = 1_000_000
    memory = [ctypes.create_string_buffer(64 * (CHAINS + 2)) for _ in range(THREADS)]
    starts = [(ctypes.addressof(m) + 63) // 64 * 64 for m in memory]
    seconds = at_once(lambda i: function(None, None, 0, turns, starts[i]))
    return 2 * host().vector_bits // 32 * CHAINS * turns * THREADS / seconds


def memcpy_rate(size: int = SIZE) -> float:
    """Bytes read and written a second by memcpy of ``size`` bytes, a part on each thread."""
    a, b = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
    part = size // THREADS
    repeats = 20

    def work(i: int) -> None:
        for _ in range(repeats):
            ctypes.memmove(ctypes.addressof(b) + i * part, ctypes.addressof(a) + i * part, part)

    return 2 * size * repeats / at_once(work)


class Engine:
    """A process that runs the cases of one library."""

    def __init__(self, name: str, script: str = __file__) -> None:
        command = [sys.executable, script, "serve", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, case: str) -> float:
        """Seconds of the fastest run of a case."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    @staticmethod
    def serve(name: str, cases: dict[str, Callable[[Any], Any]]) -> None:
        """Time the cases that are asked for; the life of the process."""
        library = importlib.import_module(name)
        current, runs = "", list[Callable[[], object]]()
        for line in sys.stdin:
            if line != current:
                made = cases[line.rstrip("\n")](library)
                current, runs = line, made if isinstance(made, list) else [made]
            best = float("inf")
            for run in runs:
                run()
                stop = time.perf_counter() + 0.12
                while (start := time.perf_counter()) < stop:
                    run()
                    best = min(best, time.perf_counter() - start)
            print(best, flush=True)


def product(m: int, k: int, n: int, batch: int = 1) -> tuple[float, Callable[[Any], Callable[[], Any]]]:
    lead = (batch,) if batch > 1 else ()

    def make(t: Any) -> Callable[[], Any]:
        t.manual_seed(0)
        a, b = t.randn(*lead, m, k), t.randn(*lead, k, n)
        return lambda: (a @ b).numpy()

    return 2.0 * batch * m * k * n, make


def convolution(
    images: int, channels: int, side: int, out: int, size: int, stride: int = 1, groups: int = 1
) -> tuple[float, Callable[[Any], list[Callable[[], Any]]]]:
    def make(t: Any) -> list[Callable[[], Any]]:
        t.manual_seed(0)
        x, w = t.randn(images, channels, side, side), t.randn(out, channels // groups, size, size)
        pairs = [(x, w)]
        if t.__name__ == "torch":
            pairs.append((x.to(memory_format=t.channels_last), w.to(memory_format=t.channels_last)))
        conv = functools.partial(t.nn.functional.conv2d, stride=stride, padding=size // 2, groups=groups)
        return [lambda x=x, w=w: conv(x, w).numpy() for x, w in pairs]

    reached = (side + 2 * (size // 2) - size) // stride + 1
    return 2.0 * images * out * reached**2 * channels // groups * size**2, make


def memory_bound(passes: float, line: Callable[[Any, Any], Any]) -> tuple[float, Callable[[Any], Callable[[], Any]]]:
    """``passes``: how many times the size of ``x`` has to be read or written at the least."""

    def make(t: Any) -> Callable[[], Any]:
        t.manual_seed(0)
        x = t.randn(ROWS, COLUMNS)
        return lambda: line(t, x).numpy()

    return passes * SIZE, make


CONTRACTIONS = {
    "matmul 1024³": product(1024, 1024, 1024),
    "matmul 1000³": product(1000, 1000, 1000),
    "matmul 64×784×512": product(64, 784, 512),
    "matmul 256×768×3072": product(256, 768, 3072),
    "matmul 4096×64×64": product(4096, 64, 64),
    "matmul 64×(128×64×128)": product(128, 64, 128, 64),
    "conv 3×3, 64→64 on 32², batch 32": convolution(32, 64, 32, 64, 3),
    "conv 3×3 stride 2, 64→128 on 32²": convolution(32, 64, 32, 128, 3, 2),
    "conv 1×1, 256→256 on 14²": convolution(32, 256, 14, 256, 1),
    "conv 1×1 stride 2, 64→128 on 28²": convolution(32, 64, 28, 128, 1, 2),
    "conv 3×3, 3→64 on 32²": convolution(32, 3, 32, 64, 3),
    "conv 5×5, 1→32 on 28²": convolution(64, 1, 28, 32, 5),
    "conv 5×5, 16→32 on 28²": convolution(32, 16, 28, 32, 5),
    "conv 7×7 stride 2, 3→64 on 112²": convolution(8, 3, 112, 64, 7, 2),
    "conv 3×3 depthwise, 64 on 56²": convolution(16, 64, 56, 64, 3, 1, 64),
}

MEMORY = {
    "copy": memory_bound(2, lambda t, x: x.clone()),
    "x·2+1": memory_bound(2, lambda t, x: x * 2 + 1),
    "gelu": memory_bound(2, lambda t, x: t.nn.functional.gelu(x)),
    "sum": memory_bound(1, lambda t, x: x.sum()),
    "sum over rows": memory_bound(1, lambda t, x: x.sum(0)),
    "softmax": memory_bound(2, lambda t, x: x.softmax(-1)),
    "layer norm": memory_bound(2, lambda t, x: t.nn.functional.layer_norm(x, x.shape[-1:])),
    "transpose": memory_bound(2, lambda t, x: x.t().contiguous()),
    "cumsum": memory_bound(2, lambda t, x: x.cumsum(-1)),
}


def rows(engines: list[Engine], cases: dict[str, Any], limit: float, unit: str) -> list[str]:
    lines = [
        f"| case | luchina {unit} | PyTorch {unit} | ratio | of the limit |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, (work, _) in cases.items():
        ours, theirs = map(min, zip(*([engine.seconds(name) for engine in engines] for _ in range(4)), strict=True))
        lines.append(
            f"| {name} | {work / ours / 1e9:.1f} | {work / theirs / 1e9:.1f} | {theirs / ours:.2f} | "
            f"{work / ours / limit:.0%} |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    compute, memory = multiply_add_rate(), memcpy_rate()
    engines = [Engine("luchina"), Engine("torch")]
    lines = [f"Multiply-adds on registers, {THREADS} threads: {compute / 1e9:.0f} GFLOP/s.", ""]
    lines += [
        *rows(engines, CONTRACTIONS, compute, "GFLOP/s"),
        "",
        f"memcpy of {SIZE >> 20} MB: {memory / 1e9:.0f} GB/s (read and written).",
        "",
    ]
    lines += rows(engines, MEMORY, memory, "GB/s")
    folder = pathlib.Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / "roofline.md").write_text("\n".join(lines) + "\n")
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        Engine.serve(sys.argv[2], {name: make for name, (_, make) in (CONTRACTIONS | MEMORY).items()})
    else:
        main()
