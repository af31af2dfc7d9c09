"""Every program of the corpus gives on luchina what it gives on PyTorch (or what PyTorch gave: tests/golden)."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import luchina
from parity import harness
from parity.corpus import FILES, NOT_YET, load_programs

GOLDEN = Path(__file__).parents[1] / "golden"
HAVE_TORCH = importlib.util.find_spec("torch") is not None
GROUP = 12  # programs in one test: few enough to balance over processes, enough to share what was compiled

load_programs()


def _groups() -> list[Any]:
    groups = []
    for file in FILES:
        names = [name for name in harness.PROGRAMS if name.split(".")[0] == file]
        size = 1 if file == "training" else GROUP
        for i in range(0, len(names), size):
            groups.append(pytest.param(names[i : i + size], id=f"{file}-{i // size}"))
    return groups


@cache
def _stored() -> dict[str, Any]:
    return harness.restore(GOLDEN)


def _expected(program: harness.Program) -> Any:
    if HAVE_TORCH:
        import torch

        return harness.run(program, torch)
    return _stored()[program.name]


@pytest.mark.parametrize("names", _groups())
def test_same_as_pytorch(names: list[str]) -> None:
    failures = []
    for name in names:
        program = harness.PROGRAMS[name]
        lines = list(harness.differences(harness.run(program, luchina), _expected(program), program))
        if name in NOT_YET:
            lines = [] if lines else ["passes now: take it off the list NOT_YET in corpus.py"]
        failures += [f"{name}\n" + "\n".join(f"    {line}" for line in lines[:8])] if lines else []
    if failures:
        pytest.fail(f"{len(failures)} of {len(names)} programs differ:\n" + "\n".join(failures), pytrace=False)


@pytest.mark.parity
def test_stored_results_are_pytorchs() -> None:
    """The files hold every program, and for a sample of them what PyTorch says today."""
    import torch

    stored = _stored()
    assert stored.keys() == harness.PROGRAMS.keys(), "run tests/golden/make_parity.py again"
    for name in list(harness.PROGRAMS)[::7]:
        program = harness.PROGRAMS[name]
        assert not list(harness.differences(stored[name], harness.run(program, torch), program)), name
