"""Who keeps memory alive: numpy arrays, DLPack capsules, mapped files, and what a program reads while it waits."""

import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import luchina as torch


def churn():
    """Free what nobody holds and write over memory that was given back."""
    gc.collect()
    for n in (3, 16, 100, 1000, 5000):
        [torch.full((n,), -1.0).sum().item() for _ in range(5)]


def test_an_array_outlives_its_tensor():
    array = (torch.arange(1000.0) * 2).numpy()
    view = torch.arange(24.0).reshape(4, 6)[1:, ::2].t().numpy()
    churn()
    assert array.tolist() == [2.0 * i for i in range(1000)]
    assert view.tolist() == [[6, 12, 18], [8, 14, 20], [10, 16, 22]]
    array[:] = 7
    view[:] = 7


def test_a_tensor_outlives_its_array():
    x = torch.from_numpy(np.arange(1000.0))
    pending = torch.from_numpy(np.arange(100.0)) * 3
    window = torch.from_numpy(np.arange(60.0).reshape(6, 10))[2:5, 3::2]
    churn()
    assert x.sum().item() == 499500 and pending.sum().item() == 14850
    assert window.tolist() == [[23, 25, 27, 29], [33, 35, 37, 39], [43, 45, 47, 49]]
    x += 1
    assert x[-1].item() == 1000


def test_an_array_that_a_tensor_shows_cannot_be_resized():
    array = np.arange(10.0)
    x = torch.from_numpy(array)
    with pytest.raises(ValueError, match="resize"):
        array.resize(100_000)
    del x
    gc.collect()


def test_a_bytearray_that_a_tensor_shows_cannot_be_resized():
    data = bytearray(range(40))
    x = torch.frombuffer(data, dtype=torch.uint8)
    with pytest.raises(BufferError):
        data.extend(bytes(100_000))
    assert x.sum().item() == 780
    x[0] = 9
    assert data[0] == 9


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_a_read_only_array_is_read_where_it_lies():
    array = np.frombuffer(np.arange(10.0).tobytes())
    x = torch.from_numpy(array)
    del array
    churn()
    assert (x * 2).tolist() == [2.0 * i for i in range(10)]


def test_a_capsule_outlives_its_tensor_and_its_consumer():
    capsule = (torch.arange(1000.0) + 1).__dlpack__()
    churn()
    x = torch.from_dlpack(np.from_dlpack(_Once(capsule)))
    churn()
    assert x.sum().item() == 500500
    unused = (torch.arange(1000.0) + 1).__dlpack__()
    del unused
    churn()


class _Once:
    """A producer with one capsule."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **_):
        return self.capsule

    def __dlpack_device__(self):
        return (1, 0)


def test_memory_of_another_library_by_dlpack_outlives_the_array():
    x = torch.from_dlpack(np.arange(1000.0)[100:900:2])
    churn()
    assert x.sum().item() == sum(range(100, 900, 2))


def test_a_mapped_file_cannot_be_closed_under_a_tensor(tmp_path):
    path = tmp_path / "numbers"
    path.write_bytes(np.arange(5000, dtype="float32").tobytes())
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    x = torch.frombuffer(mapped, dtype=torch.float32)
    with pytest.raises(BufferError):
        mapped.close()
    del mapped
    os.unlink(path)
    churn()
    assert x[4999].item() == 4999 and (x + 1).sum().item() == 12502500


def test_a_memmap_outlives_its_name(tmp_path):
    np.arange(5000, dtype="float32").tofile(tmp_path / "numbers")
    x = torch.from_numpy(np.memmap(tmp_path / "numbers", dtype="float32", mode="r+"))[10:20]
    churn()
    assert x.tolist() == list(range(10, 20))


def test_what_a_recorded_operation_reads_lives_until_it_runs():
    x = torch.from_numpy(np.arange(1000.0))
    y = (x * 2)[::2]
    z = torch.cat([y, y])
    del x, y
    churn()
    assert z.sum().item() == 998000


def test_the_array_interface_of_a_dying_expression():
    assert np.asarray(torch.arange(1000.0) + 1).sum() == 500500
    assert np.array(memoryview((torch.arange(100.0) + 1).numpy())).sum() == 5050


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="maps memory as Linux does")
@pytest.mark.skipif(bool(os.environ.get("LUCHINA_GUARD")), reason="this is that run")
def test_none_of_this_touches_freed_memory():
    command = [sys.executable, "-X", "faulthandler", "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "LUCHINA_GUARD": "after"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
