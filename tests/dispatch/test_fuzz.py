"""Random programs show the same whether compiled functions or their twins in Python run them, however often."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from tests.dispatch import programs

from luchina.dispatch import install, objects

pytestmark = [
    pytest.mark.skipif(not objects.supported(), reason="this Python's objects are laid out in another way"),
    pytest.mark.filterwarnings("ignore"),
]
SMALL = st.integers(0, 11)
STEP = st.tuples(st.sampled_from(programs.NAMES), SMALL, SMALL, st.integers(0, 23))


@pytest.fixture(scope="module")
def twins() -> Iterator[subprocess.Popen]:
    """A process that runs programs by the twins."""
    with subprocess.Popen(
        [sys.executable, str(Path(programs.__file__))],
        env={**os.environ, "LUCHINA_DISPATCH": "python"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@settings(
    max_examples=400, derandomize=True, deadline=None, database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink], suppress_health_check=[*HealthCheck],
)  # fmt: skip
@given(st.lists(STEP, min_size=14, max_size=20))
@example([("backward", 2, 1, 0), ("mask", 2, 2, 0), ("clone", 2, 0, 0), ("number", 5, 0, 0)])
@example(
    [
        *(("look", 0, 0, 0), ("look", 1, 0, 0), ("t", 2, 0, 0), ("matmul", 1, 5, 0), ("look", 6, 0, 0)),
        *(("reshape", 1, 0, 8), ("look", 7, 0, 0), ("reshape", 0, 0, 8)),
    ]
)
def test_random_programs(twins: subprocess.Popen, program: list[programs.Step]) -> None:
    assert install.install()
    twins.stdin.write(f"{program}\n")
    twins.stdin.flush()
    wanted = twins.stdout.readline().rstrip("\n")
    for _ in range(3):
        assert programs.run(program) == wanted
