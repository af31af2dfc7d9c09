"""Memory: 64-byte aligned blocks that come from, and go back to, a pool of size classes.

A fresh block from the system costs a page fault for every 4 KB at its first use, more than computing what goes into it.
So a block that nobody holds any more is kept for the next one of its class, up to ``POOL_LIMIT`` bytes.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np

from luchina.dispatch.exchange import Exchangeable
from luchina.runtime import guard

ALIGNMENT = 64
POOL_LIMIT = 1 << 30
"""Bytes of unused blocks that are kept; what is freed beyond them returns to the system."""
_LARGE = 1 << 20
_HUGE = 1 << 21
_ADVICE_HUGE_PAGES = 14
GUARDED = bool(guard.MODE)
"""Whether every block lies between forbidden pages (see ``guard.py``)."""

_pool: dict[int, list[int]] = {}
_pooled = 0
_in_use = 0
_peak = 0


class Buffer:
    """A block of memory. It belongs to the holder of this object, and returns to the pool with it.

    Attributes:
        ptr: its address, a multiple of 64 unless the memory is another library's.
        nbytes: its size as asked for.
    """

    __slots__ = ("__weakref__", "_size", "nbytes", "owner", "ptr")

    def __init__(self, ptr: int, nbytes: int, size: int = 0, owner: Any = None) -> None:
        self.ptr = ptr
        self.nbytes = nbytes
        self._size = size
        self.owner = owner

    @property
    def is_external(self) -> bool:
        """Whether the memory is another library's (numpy's, a DLPack producer's, a mapped file's)."""
        return self._size == 0

    def __del__(self) -> None:
        size = self._size
        if size:
            try:
                if GUARDED:
                    guard.release(self.ptr, size, self.nbytes)
                else:
                    _release(self.ptr, size)
            except TypeError:  # the interpreter is ending and has cleared this module
                return

    def __repr__(self) -> str:
        return f"<Buffer of {self.nbytes} bytes at {self.ptr:#x}>"


def _allocate(nbytes: int, spare: float = 1.25) -> Buffer:
    """A buffer of ``nbytes`` bytes with unspecified content.

    A large one may be a block that was kept and has up to ``spare`` times its size: what is needed for the time of one
    run only can do with any.

    Raises:
        NoMemory: if the system has no such memory; nothing else is affected.
    """
    global _in_use, _peak, _pooled
    if GUARDED:
        return _allocate_guarded(nbytes)
    if nbytes <= 64:
        size = 64
    else:
        # Eight classes between powers of two: at most an eighth is wasted.
        shift = (nbytes - 1).bit_length() - 4
        size = (((nbytes - 1) >> shift) + 1) << shift
        if size & 63:
            size = (size + 63) & -64
    try:
        ptr = _pool[size].pop()
        _pooled -= size
    except LookupError:
        found = _larger(size, spare) if size >= _LARGE else 0
        if found:
            size = found
            ptr = _pool[size].pop()
            _pooled -= size
        else:
            if spare > 1.25:  # the memory of runs has to grow: what it had goes back first
                _give_back(size // 2, size)
            ptr = _from_system(nbytes, size)
    _in_use += size
    if _in_use > _peak:
        _peak = _in_use
    return Buffer(ptr, nbytes, size)


allocate = Exchangeable(_allocate)  # until ``luchina.dispatch`` has compiled it


def _larger(size: int, spare: float) -> int:
    """The least size of a block that is kept and at least as large; 0 if that is more than ``spare`` times as much."""
    fitting = [kept for kept, blocks in _pool.items() if blocks and size <= kept <= spare * size]
    return min(fitting, default=0)


def _give_back(least: int, below: int) -> None:
    """Return the blocks that are kept and have such a size to the system."""
    global _pooled
    free = _c_library()[1]
    for kept, blocks in list(_pool.items()):
        while least <= kept < below and blocks:
            try:
                ptr = blocks.pop()
            except IndexError:
                break
            _pooled -= kept
            free(ptr)


def _allocate_guarded(nbytes: int) -> Buffer:
    if nbytes < 0:
        raise RuntimeError(f"cannot allocate a negative number of bytes: {nbytes}")
    try:
        ptr, size = guard.allocate(nbytes)
    except (MemoryError, OverflowError):
        raise no_memory(nbytes) from None
    return Buffer(ptr, nbytes, size)


def external(ptr: int, nbytes: int, owner: Any) -> Buffer:
    """A buffer on memory that ``owner`` keeps alive: a numpy array, a DLPack capsule, a mapped file."""
    return Buffer(ptr, nbytes, 0, owner)


def _release(ptr: int, size: int) -> None:
    global _in_use, _pooled
    _in_use -= size
    if _pooled + size > POOL_LIMIT:
        if size > POOL_LIMIT:
            _c_library()[1](ptr)
            return
        empty_cache()  # what is kept was of little use: the newest sizes are the likeliest to come again
    _pooled += size
    blocks = _pool.get(size)
    if blocks is None:
        _pool[size] = [ptr]
    else:
        blocks.append(ptr)


def _from_system(nbytes: int, size: int) -> int:
    if nbytes < 0:
        raise RuntimeError(f"cannot allocate a negative number of bytes: {nbytes}")
    aligned, _, advise = _c_library()
    block = ctypes.c_void_p()
    huge = size >= _HUGE
    code = aligned(ctypes.byref(block), _HUGE if huge else ALIGNMENT, size) if size < 1 << 63 else 12
    if code:
        empty_cache()
        code = aligned(ctypes.byref(block), ALIGNMENT, size) if size < 1 << 63 else 12
    if code or not block.value:
        _give_up_reserve()
        raise no_memory(nbytes, code)
    if not _reserve:
        _keep_reserve()
    if huge and advise is not None:
        # Pages of 2 MB: one page fault where there would be 512. Advice only, so a refusal does not matter.
        advise(block, nbytes & -_HUGE, _ADVICE_HUGE_PAGES)  # the rest in small ones, of which only those used are there
    return block.value


RESERVE = 4 << 20
"""Bytes that are asked for and not touched, so that Python has room to deal with the error when there are no more."""
_reserve: list[int] = []


def _keep_reserve() -> None:
    block = ctypes.c_void_p()
    if not _c_library()[0](ctypes.byref(block), ALIGNMENT, RESERVE) and block.value:
        _reserve.append(block.value)


def _give_up_reserve() -> None:
    while _reserve:
        _c_library()[1](_reserve.pop())


class NoMemory(RuntimeError):
    """The system has no such memory; nothing else is affected."""


def no_memory(nbytes: int, code: int = 12) -> NoMemory:
    """PyTorch's error for a block that cannot be had."""
    return NoMemory(
        f"DefaultCPUAllocator: can't allocate memory: you tried to allocate {nbytes} bytes. "
        f"Error code {code} (Cannot allocate memory)"
    )


@functools.cache
def _c_library() -> tuple[Any, Any, Any]:
    library = ctypes.PyDLL(None)
    aligned = library.posix_memalign
    aligned.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    free = library.free
    free.argtypes = [ctypes.c_void_p]
    free.restype = None
    advise = None
    if sys.platform.startswith("linux"):
        advise = library.madvise
        advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return aligned, free, advise


def empty_cache() -> None:
    """Give the pool's unused blocks back to the system."""
    _give_back(0, 1 << 63)


def memory_allocated() -> int:
    """Bytes in blocks that somebody holds; other libraries' memory is not counted."""
    return _in_use


def max_memory_allocated() -> int:
    """The most that ``memory_allocated`` has been since the start or ``reset_peak_memory``."""
    return _peak


def memory_pooled() -> int:
    """Bytes in blocks that nobody holds and that are kept for the next ``allocate``."""
    return _pooled


def reset_peak_memory() -> None:
    """Let ``max_memory_allocated`` start again from what is in use now."""
    global _peak
    _peak = _in_use


# ---- other libraries' view of a buffer

# numpy has no bfloat16: its bits are given as unsigned integers.
_TYPESTR = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "|i1",
    "uint8": "|u1",
    "bool": "|b1",
}
_NUMPY = {name: np.dtype(code) for name, code in _TYPESTR.items()}
ITEMSIZE = {name: int(code[2]) for name, code in _TYPESTR.items()}


def as_numpy(
    buffer: Buffer, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, offset: int = 0
) -> np.ndarray:
    """A numpy array on the buffer's memory, which it keeps alive.

    Args:
        dtype: name of a dtype; bfloat16 gives its bits as uint16.
        strides: in bytes; ``None`` for contiguous.
        offset: of the first element, in bytes.
    """
    block: Any = (ctypes.c_ubyte * buffer.nbytes).from_address(buffer.ptr)
    block.owner = buffer  # the array's ``base`` is the block
    return np.ndarray(shape, _NUMPY[dtype], block, offset, strides)


def from_numpy(array: np.ndarray) -> Buffer:
    """A buffer on the memory of a contiguous numpy array, which it keeps alive."""
    return external(array.__array_interface__["data"][0], array.nbytes, array)


def from_bytes(data: bytes | bytearray | memoryview) -> Buffer:
    """A new buffer with a copy of ``data``."""
    view = memoryview(data).cast("B")
    buffer = allocate(len(view))
    copy_in(buffer, view)
    return buffer


def copy_in(buffer: Buffer, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
    """Write ``data`` into the buffer from byte ``offset`` on."""
    size = len(memoryview(data).cast("B"))
    if offset < 0 or offset + size > buffer.nbytes:
        raise ValueError(f"{size} bytes at {offset} do not fit a buffer of {buffer.nbytes}")
    if size:
        memory(buffer)[offset : offset + size] = memoryview(data).cast("B")


def memory(buffer: Buffer) -> memoryview:
    """The buffer as writable bytes; the buffer must outlive the view."""
    block = (ctypes.c_ubyte * buffer.nbytes).from_address(buffer.ptr)
    return memoryview(block).cast("B")
