"""What every test starts from: fixed seeds, and PyTorch as the oracle where it is installed."""

from __future__ import annotations

import importlib.util
import os
import random

import numpy as np
import pytest

HAVE_TORCH = importlib.util.find_spec("torch") is not None


def pytest_configure(config: pytest.Config) -> None:
    """In CI the comparison with PyTorch must not be skipped silently."""
    if os.environ.get("CI") == "true" and not HAVE_TORCH:
        pytest.exit("CI=true, but torch cannot be imported: the parity tests would be skipped", returncode=3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not HAVE_TORCH:
        skip = pytest.mark.skip(reason="torch is not installed (stored results are compared instead)")
        for item in items:
            if item.get_closest_marker("parity"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Python's and numpy's global generators start the same in every test."""
    random.seed(0)
    np.random.seed(0)
