"""The demo trains on a device as it does on the processor."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

import luchina as torch
from luchina.cli import app


def _accuracy(device: str, out: object) -> float:
    result = CliRunner().invoke(app, ["demo", "--device", device, "--epochs", "6", "--out", str(out)])
    assert result.exit_code == 0, result.output
    found = re.search(r"test accuracy ([\d.]+)%", result.output)
    assert found is not None
    return float(found[1])


def test_the_demo_learns_as_much(where: torch.device, tmp_path: object) -> None:
    here, there = (_accuracy(device, tmp_path / device) for device in ("cpu", "opencl"))
    assert here > 96 and there > 96 and there == pytest.approx(here, abs=1.5)


def test_a_device_that_is_not_there_ends_with_a_line(where: torch.device, tmp_path: object) -> None:
    result = CliRunner().invoke(app, ["demo", "--device", "opencl:9", "--out", str(tmp_path)])
    assert result.exit_code == 1 and "What is there: 'cpu', 'opencl:0'" in " ".join(result.output.split())
