"""The corpus of ``tests/parity`` with a device as the default: every operation gives there what it gives on PyTorch.

Of an operation's samples few dtypes run here, and its gradients: what differs on a device is where numbers lie and how
loops are started, not how the numbers of another dtype are computed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

import luchina
import luchina.random
from luchina import devices
from luchina.ops.transfer import to_device
from parity import harness, ops
from parity.corpus import load_programs
from parity.test_parity import GOLDEN

load_programs()

GROUP = 24
# Every operation and kind of index; of the rest one program in so many.
FILES = {"ops": 1, "modules": 2, "indexing": 1, "autograd": 3, "training": 6, "views": 2, "tensors": 3, "lines": 8}

# What such programs say is true on the CPU only.
ELSEWHERE = {
    **dict.fromkeys(
        [
            "autograd.custom_function",
            "ops.conversion: str(x)",
            "tensors.attributes",
            "tensors.default_dtype",
            "tensors.print_options",
            "tensors.printed_forms",
            "tensors.scalars",
            "views.gradient_through_in_place",
            "lines.torch.ones(1).to('cpu').device",
        ],
        "they print a tensor or its device",
    ),
    **dict.fromkeys(
        [
            "tensors.dlpack",
            "tensors.numpy_protocols",
            "views.as_tensor_sharing",
            "views.contiguous_and_clone",
            "views.numpy_sharing",
            "views.numpy_sharing_of_views",
        ],
        "they share memory with the host",
    ),
    "training.attention_by_hand": "Adam divides by rounding errors where a gradient is 0 but for them",
}


class Skipped:
    """Stands for a sample that does not run here."""


_evaluate = ops.evaluate
_first: dict[str, str] = {}


def _some(torch: Any, expression: str, arrays: Any, dtype: str, layout: str, grad: bool) -> Any:
    """The expression in its first dtype, some in integers or bfloat16 too, and its gradient."""
    also = ("int64", "bfloat16", "", "")[zlib.crc32(expression.encode()) % 4]
    if grad or dtype in (_first.setdefault(expression, dtype), also):
        return _evaluate(torch, expression, arrays, dtype, layout, grad)
    return Skipped()


def _without_skipped(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: value for key, value in result.items() if value != "Skipped"}
    return result


@cache
def _stored() -> dict[str, Any]:
    return harness.restore(GOLDEN)


def _names(file: str) -> list[str]:
    names = [name for name in harness.PROGRAMS if name.split(".")[0] == file][:: FILES[file]]
    # Which dtype two dtypes promote to is decided before anything has a device.
    return [name for name in names if not name.startswith(("ops.promotion", *ELSEWHERE)) and "repr(" not in name]


def _groups() -> list[Any]:
    groups = []
    for file in FILES:
        names = _names(file)
        for i in range(0, len(names), GROUP):
            groups.append(pytest.param(names[i : i + GROUP], id=f"{file}-{i // GROUP}"))
    return groups


@pytest.fixture
def as_default(where: luchina.device, monkeypatch: pytest.MonkeyPatch) -> Iterator[luchina.device]:
    """Tensors are made on the device; random numbers are the CPU's, which the stored results were made with."""
    drawn = luchina.random._draw

    def draw(where: Any, generator: Any, shape: Any, d: Any, rule: str, *args: Any) -> Any:
        return to_device(drawn(devices.CPU, generator, shape, d, "bernoulli" if rule == "keep" else rule, *args), where)

    numpy = luchina.Tensor.numpy

    def on_host(x: luchina.Tensor, *, force: bool = False) -> Any:
        return numpy(x if force or x.requires_grad else x.cpu(), force=force)

    monkeypatch.setattr(luchina.random, "_draw", draw)
    monkeypatch.setattr(luchina.Tensor, "numpy", on_host)
    monkeypatch.setattr(ops, "evaluate", _some)
    with where:
        yield where


@pytest.mark.parametrize("names", _groups())
def test_same_as_pytorch(names: list[str], as_default: luchina.device) -> None:
    failures = []
    for name in names:
        program = harness.PROGRAMS[name]
        got = _without_skipped(harness.run(program, luchina))
        expected = _stored()[name]
        if isinstance(expected, dict) and isinstance(got, dict):
            expected = {key: value for key, value in expected.items() if key in got}
        lines = list(harness.differences(got, expected, program))
        failures += [f"{name}\n" + "\n".join(f"    {line}" for line in lines[:8])] if lines else []
    if failures:
        pytest.fail(f"{len(failures)} of {len(names)} programs differ:\n" + "\n".join(failures), pytrace=False)


def test_most_samples_run(as_default: luchina.device) -> None:
    """The filter leaves something of every operation."""
    for name in _names("ops")[::40]:
        result = harness.run(harness.PROGRAMS[name], luchina)
        assert not isinstance(result, dict) or _without_skipped(result), name
