"""Run the parity corpus on PyTorch and store its results: ``python tests/golden/make_parity.py``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from parity import harness
from parity.corpus import load_programs


def main() -> None:
    load_programs()
    results = {name: harness.run(program, torch) for name, program in harness.PROGRAMS.items()}
    harness.archive(results, Path(__file__).parent)
    print(f"{len(results)} programs, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
