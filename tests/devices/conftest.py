"""Tests of devices run wherever a driver is: see ``tests/compiler/test_opencl.py``."""

from __future__ import annotations

import pytest

import luchina


def _why_not() -> str:
    try:
        luchina.devices.resolve("opencl")
    except RuntimeError as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def where() -> luchina.device:
    """An OpenCL device."""
    reason = _why_not()
    if reason:
        pytest.skip(reason)
    return luchina.devices.resolve("opencl")
