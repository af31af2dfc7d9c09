"""Tests of devices run wherever a driver is: see ``tests/compiler/test_opencl.py``."""

from __future__ import annotations

import os

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
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"in CI an OpenCL device has to be there: {reason}")
    if reason:
        pytest.skip(reason)
    return luchina.devices.resolve("opencl")
