"""The on-disk cache of compiled code: a directory of small files, each written whole or not at all.

An entry is ``magic, length, checksum, key, payload``. What does not match in any part (cut off, damaged, of another
version, another key under the same name) is treated as absent. A directory that cannot be read or written, or a full
disk, only means that nothing is kept.

``LUCHINA_CACHE`` names the directory; ``LUCHINA_CACHE=off`` keeps nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import struct
import sys
import time
from collections.abc import Iterable
from pathlib import Path

SIZE_LIMIT = 256 << 20
"""Bytes on disk from which the oldest entries are removed, down to three quarters of it."""

_MAGIC = b"LUCHINA\x02"
_numbers = itertools.count(time.time_ns())  # names of temporary files
_SHELF = re.compile("[0-9a-f]{2}")
_ENTRY = re.compile("[0-9a-f]{38}|new-[0-9]+-[0-9]+")
_HEADER = struct.Struct("<8sQ32s32s")


def directory() -> Path | None:
    """Where entries live, or ``None`` when caching is off."""
    chosen = os.environ.get("LUCHINA_CACHE")
    if chosen is not None:
        return None if chosen.lower() in ("", "0", "off", "none") else Path(chosen)
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "luchina"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "luchina" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "luchina"


def digest(*parts: str) -> bytes:
    """32 bytes that stand for the texts; lengths are mixed in, so that moving a border changes the digest."""
    state = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = part.encode()
        state.update(struct.pack("<Q", len(data)))
        state.update(data)
    return state.digest()


def _checksum(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=32).digest()


def _path(root: str, key: bytes) -> str:
    name = key.hex()
    return f"{root}{os.sep}{name[:2]}{os.sep}{name[2:40]}"


def load(key: bytes) -> bytes | None:
    """The payload stored under ``key``, or ``None`` if there is none that can be trusted."""
    root = directory()
    if root is None:
        return None
    try:
        handle = os.open(_path(str(root), key), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        data = b""
        while chunk := os.read(handle, max(1 << 16, os.fstat(handle).st_size + 1)):
            data += chunk
    except OSError:
        return None
    finally:
        os.close(handle)
    if len(data) < _HEADER.size:
        return None
    magic, length, checksum, stored = _HEADER.unpack_from(data)
    payload = data[_HEADER.size :]
    if magic != _MAGIC or stored != key or length != len(payload) or checksum != _checksum(payload):
        return None
    return payload


def store(key: bytes, payload: bytes) -> bool:
    """Keep ``payload`` under ``key``; false (and nothing changed) when it cannot be written."""
    root = directory()
    if root is None:
        return False
    path = Path(_path(str(root), key))
    data = _HEADER.pack(_MAGIC, len(payload), _checksum(payload), key) + payload
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"new-{os.getpid()}-{next(_numbers)}")
        with open(temporary, "xb") as file:
            file.write(data)
        # No fsync, which can take milliseconds: an entry that a power failure cuts off fails its checksum.
        os.replace(temporary, path)
        return True
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return False


def entries() -> list[tuple[float, int, str]]:
    """Every file of the cache: when it was written, its size, its path. Other files in the directory are not ours."""
    root = directory()
    found: list[tuple[float, int, str]] = []
    if root is None:
        return found
    with contextlib.suppress(OSError):
        for shelf in os.scandir(root):
            if shelf.is_dir() and _SHELF.fullmatch(shelf.name):
                for entry in os.scandir(shelf.path):
                    if _ENTRY.fullmatch(entry.name):
                        with contextlib.suppress(FileNotFoundError):  # another process removed it just now
                            status = entry.stat()
                            found.append((status.st_mtime, status.st_size, entry.path))
    return found


def clear() -> int:
    """Remove every entry; returns how many went."""
    return _remove(path for _, _, path in entries())


def prune() -> int:
    """Remove the oldest entries if the directory has grown beyond ``SIZE_LIMIT``; returns how many went.

    Every change of an emitter leaves the kernels of the version before behind.
    """
    found = entries()
    total = sum(size for _, size, _ in found)
    if total <= SIZE_LIMIT:
        return 0
    oldest = []
    for _, size, path in sorted(found):
        if total <= SIZE_LIMIT * 3 // 4:
            break
        oldest.append(path)
        total -= size
    return _remove(oldest)


def _remove(paths: Iterable[str]) -> int:
    removed = 0
    for path in paths:
        with contextlib.suppress(OSError):  # another process may have been quicker
            os.unlink(path)
            removed += 1
    return removed
