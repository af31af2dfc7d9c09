"""What is said where OpenCL cannot be used: no pyopencl, no driver, drivers that lack what programs need."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import luchina
from luchina.runtime import accelerators, opencl


class Error(Exception):
    """pyopencl's."""


def _device(name: str, il: str = "SPIR-V_1.4", svm: int = 7) -> Any:
    return SimpleNamespace(name=name, il_version=il, svm_capabilities=svm, version="OpenCL 3.0")


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends that these devices are what the drivers offer."""

    def offer(*offered: Any, error: str = "") -> None:
        def get_platforms() -> list[Any]:
            if error:
                raise Error(error)
            return [SimpleNamespace(get_devices=lambda: list(offered))]

        monkeypatch.setattr(opencl, "_opencl", lambda: SimpleNamespace(Error=Error, get_platforms=get_platforms))
        opencl.devices.cache_clear()
        accelerators.accelerator.cache_clear()

    monkeypatch.setattr(luchina.devices, "_known", {})
    yield offer
    opencl.devices.cache_clear()
    accelerators.accelerator.cache_clear()


def _said() -> str:
    with pytest.raises(RuntimeError) as raised:
        luchina.ones(2).to("opencl")
    assert (luchina.ones(2) + 1).tolist() == [2.0, 2.0]  # the CPU goes on
    assert not luchina.opencl.is_available() and luchina.opencl.why_not() == str(raised.value)
    return str(raised.value)


def test_no_driver(drivers: Any) -> None:
    drivers(error="PLATFORM_NOT_FOUND_KHR")
    said = _said()
    assert "no OpenCL driver is installed (PLATFORM_NOT_FOUND_KHR)" in said and "What is there: 'cpu'" in said


def test_no_devices(drivers: Any) -> None:
    drivers()
    assert "no usable OpenCL device: the drivers offer none" in _said()


def test_no_pyopencl(monkeypatch: pytest.MonkeyPatch, drivers: Any) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.undo()
    monkeypatch.setattr(luchina.devices, "_known", {})
    monkeypatch.setattr(opencl, "importlib", SimpleNamespace(import_module=missing))
    opencl.devices.cache_clear()
    accelerators.accelerator.cache_clear()
    assert "OpenCL needs pyopencl: pip install luchina[opencl]" in _said()


def test_each_device_says_what_it_lacks(drivers: Any) -> None:
    drivers(
        _device("Old", il=""),
        _device("Apart", svm=1),
    )
    said = _said()
    for part in (
        "Old lacks SPIR-V (its intermediate languages: none)",
        "Apart lacks shared virtual memory through any pointer",
    ):
        assert part in said
