"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write, which becomes ``path`` when the block ends well.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and take the place of ``path`` in one
    step. After any failure (an exception in the block, a full disk, Ctrl-C) ``path`` is what it was before.

    Raises:
        RuntimeError: the folder does not exist, or the system cannot write there.
    """
    target = Path(os.path.realpath(path))  # a symbolic link stays one: what it points at is replaced
    if not target.parent.is_dir():
        raise RuntimeError(f"Parent directory {Path(path).parent} does not exist.")
    if target.is_dir():
        raise RuntimeError(f"cannot write to '{path}': it is a folder")
    if target.exists() and not target.is_file():  # a pipe or a device cannot be replaced, only written to
        with open(target, "wb") as file:
            yield file
        return
    temporary = target.parent / f".{target.name[:100]}.{secrets.token_hex(6)}.tmp"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            kept = "; the file of that name is unchanged" if target.exists() else ""
            raise RuntimeError(f"cannot write '{path}': {error.strerror or error}{kept}") from error
        raise
    _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    """Let the new name survive a power failure too, where the system offers that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_path(f: Any) -> bool:
    """Whether ``f`` names a file (and is not one)."""
    return isinstance(f, (str, os.PathLike))
