"""Memory: alignment, reuse, bounds, failure, and sharing with numpy."""

import gc
import weakref
from itertools import pairwise

import numpy as np
import pytest

from luchina.runtime import buffers
from luchina.runtime.buffers import Buffer, allocate, as_numpy, external, from_bytes, from_numpy


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 127, 129, 1000, 4096, 4097, 1 << 20, (1 << 21) + 1, 10_000_001])
def test_a_block_is_aligned_and_large_enough(nbytes):
    block = allocate(nbytes)
    assert block.ptr % 64 == 0 and block.nbytes == nbytes
    view = as_numpy(block, "uint8", (nbytes,))
    view[:] = 7
    assert int(view.sum(dtype=np.int64)) == 7 * nbytes


def test_live_blocks_do_not_overlap():
    blocks = [allocate(n) for n in (1, 64, 65, 100, 1000, 1000, 5000)]
    spans = sorted((b.ptr, b.ptr + b.nbytes) for b in blocks)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_size_classes_waste_at_most_an_eighth():
    buffers.empty_cache()
    for nbytes in (520, 1025, 5000, 123_457, 3_000_001):
        before = buffers.memory_allocated()
        block = allocate(nbytes)
        assert nbytes <= buffers.memory_allocated() - before <= max(nbytes * 9 / 8, nbytes + 64)
        del block


def test_a_block_returns_to_the_pool_and_is_used_again():
    block = allocate(5000)
    address = block.ptr
    del block
    assert allocate(4990).ptr == address


def test_counters():
    gc.collect()
    start = buffers.memory_allocated()
    buffers.reset_peak_memory()
    block = allocate(1 << 16)
    assert buffers.memory_allocated() == start + (1 << 16)
    del block
    assert buffers.memory_allocated() == start
    assert buffers.max_memory_allocated() == start + (1 << 16)
    assert buffers.memory_pooled() >= 1 << 16
    buffers.empty_cache()
    assert buffers.memory_pooled() == 0


def test_the_pool_is_bounded(monkeypatch):
    buffers.empty_cache()
    monkeypatch.setattr(buffers, "POOL_LIMIT", 1 << 20)
    blocks = [allocate(n << 18) for n in (1, 2, 3, 1, 2, 3)]
    while blocks:
        blocks.pop()
        assert 0 < buffers.memory_pooled() <= 1 << 20
    last = allocate(1 << 18)
    large = allocate(1 << 21)
    del large
    assert buffers.memory_pooled() <= 1 << 20
    del last
    assert buffers.memory_pooled() > 0


@pytest.mark.parametrize("nbytes", [4 * 10**15, 1 << 62, 1 << 66])
def test_what_the_system_does_not_have_is_an_error(nbytes):
    before = buffers.memory_allocated()
    with pytest.raises(
        RuntimeError, match=f"DefaultCPUAllocator: can't allocate memory: you tried to allocate {nbytes} bytes"
    ):
        allocate(nbytes)
    assert buffers.memory_allocated() == before
    assert allocate(100).nbytes == 100


def test_a_negative_size_is_an_error():
    with pytest.raises(RuntimeError, match="negative"):
        allocate(-1)


def test_numpy_shares_the_memory_and_keeps_it():
    block = allocate(24)
    view = as_numpy(block, "float32", (2, 3))
    again = as_numpy(block, "float32", (3,), offset=12)
    view[:] = np.arange(6).reshape(2, 3)
    assert again.tolist() == [3.0, 4.0, 5.0]
    held = buffers.memory_allocated()
    del block, again
    assert buffers.memory_allocated() == held, "the array keeps the block"
    assert view.tolist() == [[0, 1, 2], [3, 4, 5]]
    del view
    assert buffers.memory_allocated() == held - 64


def test_strided_views_and_every_dtype():
    block = from_bytes(np.arange(12, dtype=np.int16).tobytes())
    assert as_numpy(block, "int16", (3, 4), strides=(2, 6)).tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    for name, kind in {"bool": np.bool_, "bfloat16": np.uint16, "float16": np.float16, "int64": np.int64}.items():
        assert as_numpy(block, name, (2,)).dtype == kind


def test_external_memory_lives_as_long_as_the_buffer():
    class Watched(np.ndarray):
        pass

    gone = []
    array = np.arange(5, dtype=np.float64).view(Watched)
    weakref.finalize(array, gone.append, True)
    block = from_numpy(array)
    assert block.is_external and block.nbytes == 40 and block.ptr == array.ctypes.data
    del array
    gc.collect()
    assert not gone
    assert as_numpy(block, "float64", (5,)).tolist() == [0, 1, 2, 3, 4]
    del block
    gc.collect()
    assert gone == [True]


def test_external_memory_is_never_pooled():
    array = np.zeros(64, dtype=np.uint8)
    pooled, used = buffers.memory_pooled(), buffers.memory_allocated()
    block: Buffer = external(array.ctypes.data, 64, array)
    del block
    assert (buffers.memory_pooled(), buffers.memory_allocated()) == (pooled, used)


def test_copy_in_checks_its_bounds():
    block = from_bytes(b"abcdef")
    buffers.copy_in(block, b"XY", 2)
    assert bytes(buffers.memory(block)) == b"abXYef"
    for data, offset in [(b"1234567", 0), (b"12", 5), (b"1", -1)]:
        with pytest.raises(ValueError, match="do not fit"):
            buffers.copy_in(block, data, offset)
    assert bytes(buffers.memory(from_bytes(b""))) == b""
