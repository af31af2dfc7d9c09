"""PyTorch's checkpoint container: an uncompressed zip file whose tensor data starts at multiples of 64 bytes.

Members, under one folder: ``data.pkl`` (the structure), ``byteorder``, ``data/0`` … (one storage each), ``version``.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from typing import IO, Any

ALIGNMENT = 64
_FOLDER = "archive"
_ZIP64_FROM = int(((1 << 31) - 1) / 1.05)  # beyond this the zipfile module adds a zip64 field of 20 bytes
_LOCAL_HEADER = 30
_CHUNK = 1 << 24
_MOST_DEFLATE_CAN_SAVE = 1032  # a deflated member that claims to be larger than this times its bytes lies


def _damaged(what: str) -> RuntimeError:
    return RuntimeError(
        f"PytorchStreamReader failed {what}. The checkpoint is damaged or incomplete: it was not saved to the end, was "
        "changed afterwards, or did not arrive whole."
    )


class Writer:
    """Puts the members into a file, in PyTorch's order and alignment."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)

    def add(self, name: str, data: Any) -> None:
        """A member with the bytes of ``data``."""
        view = memoryview(data).cast("B")
        info = zipfile.ZipInfo(f"{_FOLDER}/{name}")
        info.file_size = len(view)
        large = len(view) > _ZIP64_FROM
        start = self._zip.start_dir + _LOCAL_HEADER + len(info.filename.encode()) + (20 if large else 0) + 4
        padding = -start % ALIGNMENT
        info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        with self._zip.open(info, "w", force_zip64=large) as member:
            for at in range(0, len(view), _CHUNK):
                member.write(view[at : at + _CHUNK])

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        """Write the table of contents; after a failure, let go of the file."""
        if kind is not None:
            self._zip.fp = None  # else it would try once more to write when it is collected
        self._zip.close()


class Reader:
    """The members of a checkpoint; every size that the file states is checked against the bytes that are there."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            raise _damaged("reading zip archive: no central directory") from error
        names = self._zip.namelist()
        self.folder = names[0].split("/", 1)[0] if names and "/" in names[0] else ""
        if not self.folder:
            raise RuntimeError(f"file in archive is not in a subdirectory: {names[0] if names else 'it is empty'}")

    def has(self, name: str) -> bool:
        """Whether there is such a member."""
        return f"{self.folder}/{name}" in self._zip.NameToInfo

    def size(self, name: str) -> int:
        """Bytes in a member."""
        return self._info(name).file_size

    def read(self, name: str) -> bytes:
        """A member's bytes."""
        data = bytearray(self.size(name))
        self.read_into(name, memoryview(data))
        return bytes(data)

    def read_into(self, name: str, memory: memoryview) -> None:
        """Fill ``memory``, which has the member's size, and compare the checksum."""
        info = self._info(name)
        at = 0
        try:
            with self._zip.open(info) as member:
                while at < len(memory):
                    n = member.readinto(memory[at : at + _CHUNK])  # type: ignore[attr-defined]
                    if not n:
                        raise EOFError
                    at += n
                member.read(1)  # the checksum is compared at the end
        except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, _inflate_error()) as error:
            raise _damaged(f"reading file {name}: {error or 'it is cut off'}") from error

    def offset(self, name: str) -> int | None:
        """Where an uncompressed member's bytes start in the file; ``None`` for a compressed one."""
        info = self._info(name)
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        self.file.seek(info.header_offset)
        header = self.file.read(_LOCAL_HEADER)
        if len(header) != _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise _damaged(f"reading file {name}: no header")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        return info.header_offset + _LOCAL_HEADER + name_length + extra_length

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = self._zip.NameToInfo.get(f"{self.folder}/{name}")
        if info is None:
            raise _damaged(f"locating file {name}: file not found")
        stored = info.compress_type == zipfile.ZIP_STORED
        possible = info.compress_size if stored else info.compress_size * _MOST_DEFLATE_CAN_SAVE
        if info.file_size > possible or info.header_offset + info.compress_size > self._length():
            raise _damaged(f"reading file {name}: it claims to have {info.file_size} bytes")
        return info

    def _length(self) -> int:
        position = self.file.tell()
        length = self.file.seek(0, 2)
        self.file.seek(position)
        return length


def _inflate_error() -> type[Exception]:
    import zlib

    return zlib.error


def native_order() -> bytes:
    """What ``byteorder`` says on this machine."""
    return sys.byteorder.encode()
