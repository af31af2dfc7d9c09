"""The examples in docstrings run as tests."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import luchina

MODULES = sorted(m.name for m in pkgutil.walk_packages(luchina.__path__, "luchina.") if not m.name.endswith("__main__"))


@pytest.mark.parametrize("package", sorted({name.split(".")[1] for name in MODULES}))
def test_examples(package):
    ran = 0
    for name in MODULES:
        if name.split(".")[1] == package:
            module = importlib.import_module(name)
            result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
            assert not result.failed, f"{result.failed} of {result.attempted} examples of {name} fail"
            ran += result.attempted
    if package in ("dtypes", "nn", "serialization"):
        assert ran


def test_the_example_of_the_package():
    assert not doctest.testmod(luchina).failed
