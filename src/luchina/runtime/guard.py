"""``LUCHINA_GUARD=after`` or ``before``: every block of memory between pages that nobody may touch.

A kernel that leaves its memory then faults at once, instead of changing a neighbour's numbers. The block lies against
the page after it, or against the page before it; what is left of its own pages up to the multiple of 64 bytes is filled
with a pattern that is looked at when the block is freed. Fresh memory is all ones (NaN, or −1), so that reading what
was never written shows in the results; freed memory is unmapped. Temporaries get blocks of their own, not places in
the arena. Slow, and for finding faults only: run it with ``python -X faulthandler``.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from typing import Any

MODE = os.environ.get("LUCHINA_GUARD", "")
if MODE not in ("", "after", "before"):
    raise ValueError(f"LUCHINA_GUARD is 'after' or 'before', not {MODE!r}")

_PAGE = mmap.PAGESIZE
_FORBIDDEN, _READ_AND_WRITE = 0, mmap.PROT_READ | mmap.PROT_WRITE if hasattr(mmap, "PROT_READ") else 3
_FILL = 0xFF
_PATTERN = 0xA5


def allocate(nbytes: int) -> tuple[int, int]:
    """Address and size of a block between forbidden pages; the address is a multiple of 64.

    Raises:
        MemoryError: if the system has no such memory.
    """
    size = max(-(-nbytes // 64) * 64, 64)
    inner = -(-size // _PAGE) * _PAGE
    map_, protect, _ = _system()
    start = map_(None, inner + 2 * _PAGE, _FORBIDDEN, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if start in (None, ctypes.c_void_p(-1).value) or protect(start + _PAGE, inner, _READ_AND_WRITE):
        raise MemoryError
    ptr = start + _PAGE + (inner - size if MODE == "after" else 0)
    ctypes.memset(start + _PAGE, _PATTERN, inner)
    ctypes.memset(ptr, _FILL, nbytes)
    return ptr, size


def release(ptr: int, size: int, nbytes: int) -> None:
    """Unmap a block, after a look at what lies between its end and the forbidden page (or before its start)."""
    inner = -(-size // _PAGE) * _PAGE
    start = ptr - (inner - size) if MODE == "after" else ptr
    pages = ctypes.string_at(start, inner)
    at = ptr - start
    around = pages[:at] + pages[at + nbytes :]
    if around.count(_PATTERN) != len(around):
        wrong = [i - at for i, byte in enumerate(pages) if byte != _PATTERN and not at <= i < at + nbytes]
        os.write(2, f"luchina: bytes {wrong[:8]} beside a block of {nbytes} were written\n".encode())
        os.abort()
    _system()[2](start - _PAGE, inner + 2 * _PAGE)


@functools.cache
def _system() -> tuple[Any, Any, Any]:
    library = ctypes.PyDLL(None)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return library.mmap, library.mprotect, library.munmap
