"""Compare engines by hand: ``python tests/parity/run.py [PART OF A NAME ...] [--engine luchina|torch|stored] [-v]``."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity import harness
from parity.corpus import NOT_YET, load_programs

GOLDEN = Path(__file__).parents[1] / "golden"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only programs whose name contains one of these")
    parser.add_argument("--engine", default="luchina", help="luchina, torch, or stored (the results in tests/golden)")
    parser.add_argument("--oracle", default="torch", choices=["torch", "stored"])
    parser.add_argument("--most", type=int, default=6, help="lines shown for each failing program")
    parser.add_argument("--slow", action="store_true", help="list the slowest programs")
    options = parser.parse_args()

    load_programs()
    stored = harness.restore(GOLDEN) if "stored" in (options.engine, options.oracle) else {}
    engine = importlib.import_module(options.engine) if options.engine != "stored" else None
    oracle = importlib.import_module("torch") if options.oracle == "torch" else None
    failed, times, causes = [], [], Counter()
    chosen = [p for p in harness.PROGRAMS.values() if not options.names or any(n in p.name for n in options.names)]
    for program in chosen:
        start = time.perf_counter()
        got = harness.run(program, engine) if engine else stored[program.name]
        times.append((time.perf_counter() - start, program.name))
        expected = harness.run(program, oracle) if oracle else stored[program.name]
        lines = list(harness.differences(got, expected, program))
        if lines:
            failed.append(program.name)
            causes.update(
                {
                    line.split("raised ", 1)[1].split("; PyTorch")[0].split(", PyTorch")[0][:110]
                    for line in lines
                    if "raised " in line
                }
            )
            print(f"FAIL {program.name} ({len(lines)}){' (known)' if program.name in NOT_YET else ''}")
            for line in lines[: options.most]:
                print(f"     {line}")
            sys.stdout.flush()
    print(f"{len(chosen) - len(failed)} of {len(chosen)} programs agree; {sum(t for t, _ in times):.1f} s")
    for cause, count in causes.most_common(60):
        print(f"  {count:4d} programs: {cause}")
    if options.slow:
        for seconds, name in sorted(times, reverse=True)[:20]:
            print(f"  {seconds:6.2f} s  {name}")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
