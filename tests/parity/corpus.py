"""The files that hold programs."""

from __future__ import annotations

import importlib

FILES = ["lesson", "ops", "tensors", "indexing", "views", "autograd", "modules", "training", "random_numbers"]


def load_programs() -> None:
    for name in FILES:
        importlib.import_module(f"parity.{name}")
