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


@pytest.mark.parametrize("mode, seed", [("after", 1), ("before", 10_001)])
def test_random_programs_keep_to_their_memory_and_read_what_was_written(mode, seed):
    text = (
        f"import runpy, sys; sys.argv = ['', '{seed}', '30']; runpy.run_path('runtime/guard_fuzz.py', None, '__main__')"
    )
    done = guarded(text, mode, LUCHINA_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["30"]


LIFETIMES = """
import ctypes, gc, os, signal, sys, threading
import numpy as np
import luchina as torch

def step(seed):
    x = torch.arange(3000.0).reshape(50, 60) + seed
    w = torch.ones(60, 7, requires_grad=True)
    ((x @ w).softmax(-1).sum(0) * 2).sum().backward()
    return [w.grad.sum().item(), x.sort(0).values.sum().item()]

expected = [step(i) for i in range(4)]
failed = []

def many(turns):
    torch.rand(300_000)
    for turn in range(turns):
        for i in range(4):
            if step(i) != expected[i]:
                failed.append((turn, i))

threads = [threading.Thread(target=many, args=(20,)) for _ in range(3)]
for t in threads:
    t.start()
for _ in range(10):  # children, while kernels run in the other threads
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if [step(i) for i in range(4)] == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
many(5)
for t in threads:
    t.join()
assert not failed, failed
dead = threading.Thread(target=many, args=(1,))  # what an ended thread computed stays
kept = []
dead = threading.Thread(target=lambda: kept.append(torch.arange(1000.0) * 3))
dead.start(); dead.join(); del dead; gc.collect()
many(1)
assert kept[0].sum().item() == 1498500
print("lived", flush=True)
late = threading.Thread(target=many, args=(10**6,), daemon=True)  # and the interpreter ends while it runs
late.start()
import time; time.sleep(0.2)
"""


@pytest.mark.parametrize("mode", ["after", "before"])
@pytest.mark.filterwarnings("ignore")
def test_threads_forks_and_the_end_of_the_interpreter(mode):
    done = guarded(LIFETIMES, mode, LUCHINA_NUM_THREADS="2")
    assert (done.returncode, done.stdout) == (0, "lived\n"), done.stderr[-3000:]
