"""Machine code on its way into memory: position-independent bytes, what they export and what they need.

An ``Image`` needs no linker and no LLVM to be loaded: ``place`` copies it to executable pages and writes the
addresses of the C functions that it calls. A process that finds its kernels in the cache never loads LLVM.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_COUNTS = struct.Struct("<IIIQ")
_ENTRY = struct.Struct("<QH")
_RELATIVE = struct.Struct("<QQ")
_ALIGN = 64


@dataclass
class Image:
    """Bytes of code and constants with 8-byte slots to be filled in where they are placed."""

    code: bytes
    exports: dict[str, int]
    """Offsets of the functions."""
    imports: list[tuple[int, str]] = field(default_factory=list)
    """Slots that receive the address of a C function."""
    relative: list[tuple[int, int]] = field(default_factory=list)
    """Slots that receive the image's own address plus an offset."""

    def pack(self) -> bytes:
        """The image as bytes for the cache."""
        parts = [_COUNTS.pack(len(self.exports), len(self.imports), len(self.relative), len(self.code))]
        for offset, name in [*((at, name) for name, at in self.exports.items()), *self.imports]:
            parts += [_ENTRY.pack(offset, len(name)), name.encode()]
        parts += [_RELATIVE.pack(*pair) for pair in self.relative]
        return b"".join([*parts, self.code])

    @staticmethod
    def unpack(data: bytes) -> Image:
        """The inverse of ``pack``."""
        exports, imports, relative, length = _COUNTS.unpack_from(data)
        at = _COUNTS.size
        entries: list[tuple[int, str]] = []
        for _ in range(exports + imports):
            offset, size = _ENTRY.unpack_from(data, at)
            at += _ENTRY.size + size
            entries.append((offset, data[at - size : at].decode()))
        pairs = [_RELATIVE.unpack_from(data, at + i * _RELATIVE.size) for i in range(relative)]
        at += relative * _RELATIVE.size
        table = {name: offset for offset, name in entries[:exports]}
        return Image(data[at : at + length], table, entries[exports:], pairs)


@functools.cache
def libraries() -> tuple[ctypes.CDLL, ...]:
    """Where C functions are looked for: this process, the mathematics library, the compiler's helpers."""
    found = [ctypes.CDLL(None)]
    for name in ("libm.so.6", "libgcc_s.so.1") if sys.platform.startswith("linux") else ():
        try:
            found.append(ctypes.CDLL(name))
        except OSError:
            continue
    return tuple(found)


@functools.cache
def symbol(name: str) -> int:
    """Address of a C function.

    Raises:
        RuntimeError: if no library of the process has it.
    """
    for library in libraries():
        if function := getattr(library, name, None):
            return ctypes.cast(function, ctypes.c_void_p).value or 0
    raise RuntimeError(f"compiled code calls {name!r}, which this system's C library does not have")


@functools.cache
def _memory_functions() -> tuple[Any, Any]:
    library = ctypes.CDLL(None, use_errno=True)
    reserve, protect = library.mmap, library.mprotect
    reserve.restype = ctypes.c_void_p
    reserve.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return reserve, protect


def place(images: Sequence[Image]) -> list[dict[str, int]]:
    """Put images into executable memory and give the addresses of their functions.

    The pages are written first and made executable afterwards, never both. They stay for the life of the process:
    a worker thread may be inside them until its very end.
    """
    starts: list[int] = []
    size = 0
    for image in images:
        starts.append(size)
        size += -(-len(image.code) // _ALIGN) * _ALIGN
    if not size:
        return []
    size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    reserve, protect = _memory_functions()
    base = reserve(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if base in (None, ctypes.c_void_p(-1).value):
        raise RuntimeError(f"no memory for {size} bytes of compiled code")
    for start, image in zip(starts, images):
        code = bytearray(image.code)
        for offset, name in image.imports:
            struct.pack_into("<Q", code, offset, symbol(name))
        for offset, target in image.relative:
            struct.pack_into("<Q", code, offset, base + start + target)
        ctypes.memmove(base + start, bytes(code), len(code))
    if protect(base, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise RuntimeError("this system does not allow memory to be made executable, which compiled kernels need")
    return [{name: base + start + at for name, at in image.exports.items()} for start, image in zip(starts, images)]
