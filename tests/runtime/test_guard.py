"""Memory between forbidden pages: that the guard catches what it should, and that programs run under it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="maps memory as Linux does")


def guarded(text, mode, **more):
    environment = {**os.environ, "LUCHINA_GUARD": mode, **more}
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", text], capture_output=True, text=True, env=environment, cwd=TESTS
    )


WRITE = """
import ctypes
from luchina.runtime.buffers import allocate
block = allocate({nbytes})
ctypes.memset(block.ptr + {at}, 1, 1)
del block
print("lived")
"""


@pytest.mark.parametrize(
    "mode, nbytes, at, dies",
    [
        ("after", 128, 127, None),
        ("after", 128, 128, "Segmentation fault"),
        ("after", 100, 100, "beside a block of 100 were written"),
        ("after", 4096, -1, "Segmentation fault"),
        ("before", 128, 0, None),
        ("before", 128, -1, "Segmentation fault"),
        ("before", 128, 130, "beside a block of 128 were written"),
    ],
)
def test_what_leaves_its_block_is_caught(mode, nbytes, at, dies):
    done = guarded(WRITE.format(nbytes=nbytes, at=at), mode)
    assert (done.stdout.strip() == "lived") == (dies is None)
    assert (dies or "") in done.stderr


def test_freed_memory_is_gone_and_fresh_memory_is_no_number():
    text = """
import ctypes, math
from luchina.runtime.buffers import allocate
block = allocate(64)
assert math.isnan(ctypes.c_float.from_address(block.ptr).value)
ptr = block.ptr
del block
ctypes.memset(ptr, 0, 1)
"""
    assert "Segmentation fault" in guarded(text, "after").stderr


PROGRAMS = """
import sys, warnings
warnings.simplefilter("ignore")
import luchina
from parity import harness
from parity.corpus import load_programs
load_programs()
parts = sys.argv[1:]
chosen = [p for p in harness.PROGRAMS.values() if p.name.split(".")[0] in {parts!r}]
for program in chosen:
    harness.run(program, luchina)
print(len(chosen))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode, parts", [("after", ["indexing", "modules", "training"]), ("before", ["views", "modules", "autograd"])]
)
def test_programs_keep_to_their_memory(mode, parts):
    done = guarded(PROGRAMS.format(parts=parts), mode, LUCHINA_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 200
