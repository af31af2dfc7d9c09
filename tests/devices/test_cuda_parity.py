"""As ``test_parity.py`` with CUDA as the default device: all of it on a card, a part on the card of numpy
(``tests/runtime/fake_cuda.py``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from tests.runtime.fake_cuda import Driver, has_card, installed

import luchina
from devices import test_parity as corpus
from luchina import devices
from luchina.graph import program
from luchina.runtime import accelerators

as_default = corpus.as_default


@pytest.fixture(scope="module")
def where() -> Iterator[luchina.device]:
    """A CUDA device."""
    with pytest.MonkeyPatch.context() as patch, nullcontext() if has_card() else installed(Driver(memory=1 << 28)):
        patch.setattr(devices, "_known", dict(devices._known))
        accelerators.accelerator.cache_clear()
        program.clear()
        yield devices.resolve("cuda")
        program.clear()
    accelerators.accelerator.cache_clear()


@pytest.mark.parametrize("names", corpus._groups()[:: 1 if has_card() else 5])
def test_same_as_pytorch(names: list[str], as_default: luchina.device) -> None:
    corpus.test_same_as_pytorch(names, as_default)
