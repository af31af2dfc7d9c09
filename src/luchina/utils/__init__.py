"""Around training: data loading, checkpointing and DLPack."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("checkpoint", "data", "dlpack"):
        return importlib.import_module(f"luchina.utils.{name}")
    raise AttributeError(f"module 'luchina.utils' has no attribute '{name}'")
