"""``luchina explain``: what each program of a script is made of, and what its kernels cost.

Set ``LUCHINA_EXPLAIN=1`` for the same report at the end of any run.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from luchina.graph import program


class Report:
    """Listens to runs and remembers every program, with the times of its kernels' last runs."""

    def __init__(self) -> None:
        self.programs: dict[int, tuple[Any, int]] = {}
        self.order: list[int] = []

    def __call__(self, run: program.Run) -> None:
        key = id(run.program.executable)
        if key not in self.programs:
            self.order.append(key)
            self.programs[key] = run.program.executable, 0
        executable, runs = self.programs[key]
        self.programs[key] = executable, runs + 1

    def write(self, out: TextIO, ir: bool = False, asm: bool = False) -> None:
        """The report as text: a table a program, then, on request, LLVM IR and assembly of its kernels."""
        shown: set[str] = set()
        for number, key in enumerate(self.order, 1):
            executable, runs = self.programs[key]
            kernels = executable.kernels
            total = sum(k.nanoseconds or 0 for k in kernels)
            print(
                f"program {number}: {len(executable.recorded)} operations recorded, {len(kernels)} kernels, "
                f"run {runs} time{'s' if runs != 1 else ''}, arena {executable.arena_bytes:,} bytes, "
                f"last run {total / 1e3:.1f} µs",
                file=out,
            )
            print(f"  recorded: {' '.join(executable.recorded)}", file=out)
            if kernels:
                print(
                    f"  {'kernel':14}{'µs':>9}{'bytes':>13}{'FLOPs':>13}{'GB/s':>8}{'GFLOP/s':>9}  fused into it",
                    file=out,
                )
            for kernel in kernels:
                ns = kernel.nanoseconds or 0
                moved = kernel.bytes_read + kernel.bytes_written
                print(
                    f"  {kernel.name[:12]:14}{ns / 1e3:9.1f}{moved:13,}{kernel.flops:13,}"
                    f"{moved / ns if ns else 0:8.1f}{kernel.flops / ns if ns else 0:9.1f}  {_chain(kernel.ops)}",
                    file=out,
                )
            print(file=out)
            for kernel in kernels:
                if kernel.name not in shown:
                    shown.add(kernel.name)
                    if ir:
                        print(f"; ---- LLVM IR of {kernel.name}: {_chain(kernel.ops)}\n{kernel.ir()}", file=out)
                    if asm:
                        print(f"# ---- assembly of {kernel.name}: {_chain(kernel.ops)}\n{kernel.assembly()}", file=out)


def _chain(ops: Sequence[str]) -> str:
    """Names in order, repetitions counted: ``add mul×2``."""
    counted: list[tuple[str, int]] = []
    for op in ops:
        if counted and counted[-1][0] == op:
            counted[-1] = op, counted[-1][1] + 1
        else:
            counted.append((op, 1))
    return " ".join(op if n == 1 else f"{op}×{n}" for op, n in counted)


def start() -> Report:
    """Begin to listen, with kernel times on."""
    report = Report()
    program.profiling = True
    program.observers.append(report)
    return report


def stop(report: Report) -> None:
    """Stop listening."""
    program.profiling = False
    program.observers.remove(report)


def run_script(
    path: str, args: Sequence[str] = (), ir: bool = False, asm: bool = False, out: TextIO | None = None
) -> Report:
    """Run a Python script as ``__main__`` and write what its programs were made of."""
    report = start()
    before = sys.argv
    sys.argv = [path, *args]
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        sys.argv = before
        program.realize(())
        stop(report)
        report.write(out or sys.stdout, ir, asm)
    return report


def at_exit() -> None:
    """The report of a whole process, on stderr when it ends."""
    import atexit

    report = start()

    def finish() -> None:
        program.realize(())
        report.write(sys.stderr)

    atexit.register(finish)
