"""``save`` and ``load``: checkpoints in PyTorch's file format, each of the two opening the other's files.

>>> import io, luchina
>>> file = io.BytesIO()
>>> luchina.save({"weight": luchina.ones(2)}, file)
>>> _ = file.seek(0)
>>> luchina.load(file)
{'weight': tensor([1., 1.])}
"""

from __future__ import annotations

import mmap as memory_map
import os
import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from luchina import creation
from luchina.devices import device as Device
from luchina.devices import resolve
from luchina.dtypes import dtype
from luchina.ops.transfer import to_device
from luchina.runtime import accelerators, buffers
from luchina.runtime.accelerators import on_host
from luchina.serialization.archive import ALIGNMENT, Reader, Writer, native_order
from luchina.serialization.atomic import is_path, replacing
from luchina.serialization.pickler import Pickler
from luchina.serialization.unpickler import Unpickler
from luchina.storage import Storage
from luchina.tensor import UntypedStorage

__all__ = ["load", "save"]

FILE_LIKE = str | os.PathLike[str] | IO[bytes]
MAP_LOCATION = Callable[[UntypedStorage, str], Any] | Device | str | Mapping[str, str] | None

# How PyTorch's files before version 1.6 start: a pickled number, no zip archive.
_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def save(
    obj: Any,
    f: FILE_LIKE,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Write tensors and plain containers of them to a file that ``load`` and PyTorch's ``torch.load`` open.

    Tensors that share memory still do after loading, with their strides; a view brings all of its memory along. A path
    is written whole or not at all: after an error the file that was there is unchanged.

    Args:
        obj: tensors, Parameters, numbers, text, bytes, None, dtypes, sizes, devices, and lists, tuples, dicts,
            OrderedDicts, sets of them: a ``state_dict()`` of a module or an optimizer, for instance.
        f: a path, or an object with ``write``.

    Raises:
        pickle.PicklingError: something in ``obj`` is of another kind; its place is named.
        RuntimeError: the file cannot be written.

    Source: https://pytorch.org/docs/stable/generated/torch.save.html
    """
    if pickle_module not in (None, pickle) or pickle_protocol != 2:
        raise RuntimeError(
            "luchina.save writes protocol 2 of Python's pickle; another module or protocol is not offered"
        )
    if not _use_new_zipfile_serialization:
        raise RuntimeError("luchina.save writes the zip format only, not the one of PyTorch before 1.6")
    if not is_path(f) and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    pickler = Pickler()
    structure = pickler.dump(obj)
    if is_path(f):
        with replacing(f) as file:  # type: ignore[arg-type]
            _write(file, structure, pickler.storages)
    else:
        _write(f, structure, pickler.storages)  # type: ignore[arg-type]


def _write(file: IO[bytes], structure: bytes, storages: list[Storage]) -> None:
    with Writer(file) as writer:
        writer.add("data.pkl", structure)
        writer.add(".format_version", b"1")
        writer.add(".storage_alignment", str(ALIGNMENT).encode())
        writer.add("byteorder", native_order())
        for number, storage in enumerate(storages):
            writer.add(f"data/{number}", _memory(storage))
        writer.add("version", b"3\n")


def _memory(storage: Storage) -> memoryview:
    """A storage's bytes, or a copy of them if they lie on a device; ``storage`` must outlive the view."""
    value = storage.realize()
    assert value.buffer is not None
    block = on_host(value.buffer)
    if block is not value.buffer:
        return memoryview(bytes(buffers.memory(block)[: storage.nbytes]))
    return buffers.memory(block)[: storage.nbytes]


def load(
    f: FILE_LIKE,
    map_location: MAP_LOCATION = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Read what ``save`` or PyTorch's ``torch.save`` wrote. No code that a file names is ever run.

    Args:
        f: a path, or an object with ``read``, ``seek`` and ``tell``.
        map_location: where tensors go that were saved on a device which is not here: a device,
            ``{"cuda:0": "cpu"}``, or
            a function of (storage, location).
        weights_only: True is the only choice.
        mmap: leave tensor data in the file (a path) and read each page at its first use; writes do not reach the file.

    Raises:
        pickle.UnpicklingError: the file asks for something that a checkpoint of tensors does not need, or is none.
        RuntimeError: the file is damaged, or its tensors lie on a device that is not here.

    Source: https://pytorch.org/docs/stable/generated/torch.load.html
    """
    if weights_only is False:
        raise RuntimeError(
            "luchina.load(weights_only=False) does not exist: such a file can run any code on this "
            "machine. Save tensors "
            "and state_dicts, which weights_only=True loads; a whole model saved by PyTorch can be turned into its "
            "state_dict there: torch.save(torch.load(f, weights_only=False).state_dict(), g)"
        )
    if pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if pickle_load_args:
        raise TypeError(f"load() got an unexpected keyword argument '{next(iter(pickle_load_args))}'")
    if is_path(f):
        with open(f, "rb") as file:  # type: ignore[arg-type]
            return _load(file, os.fspath(f), map_location, bool(mmap))  # type: ignore[arg-type]
    for method in ("seek", "tell", "read"):
        if not hasattr(f, method):
            raise AttributeError(
                f"'{type(f).__name__}' object has no attribute '{method}'. You can only load from a file that is "
                "seekable. Please pre-load the data into a buffer like io.BytesIO and try to load from it instead."
            )
    if mmap:
        raise ValueError("f must be a file name in order to use the mmap argument")
    return _load(f, "the file", map_location, False)  # type: ignore[arg-type]


def _load(file: IO[bytes], name: str, map_location: MAP_LOCATION, mapped: bool) -> Any:
    _check_kind(file, name)
    reader = Reader(file)
    if reader.has("constants.pkl"):
        raise RuntimeError(f"'{name}' is a TorchScript archive, which holds a program; save its state_dict() instead")
    order = reader.read("byteorder") if reader.has("byteorder") else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"Unknown endianness type: {order!r:.40}")
    storages = _Storages(reader, order != native_order(), _restorer(map_location), mapped)
    return Unpickler(reader.read("data.pkl"), storages.find).load()


def _check_kind(file: IO[bytes], name: str) -> None:
    position = file.tell()
    start = file.read(16)
    file.seek(position)
    if not start:
        raise EOFError(f"'{name}' is empty")
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return
    if _LEGACY_MAGIC in start or start[:10] == b"././@LongL" or start[:5] == b"sys_i":
        raise RuntimeError(
            f"'{name}' is in the format that PyTorch wrote before version 1.6, which luchina does not read. Convert it "
            "with PyTorch: torch.save(torch.load(f), g)"
        )
    raise pickle.UnpicklingError(f"Weights only load failed: '{name}' is not a checkpoint (no zip archive)")


class _Storages:
    """The memory of a checkpoint's tensors, each part read when it is first spoken of."""

    def __init__(self, reader: Reader, swap: bool, restore: Callable[[Storage, str], Storage], mapped: bool) -> None:
        self.reader = reader
        self.swap = swap
        self.restore = restore
        self.known: dict[str, Storage] = {}
        self.map: memory_map.mmap | None = None
        if mapped:
            if swap:
                raise RuntimeError("mmap=True cannot be used for a file of the other byte order")
            self.map = memory_map.mmap(reader.file.fileno(), 0, access=memory_map.ACCESS_COPY)

    def find(self, pid: tuple) -> Storage:
        """The storage of a persistent id ``("storage", type, key, location, elements)``."""
        if len(pid) != 5 or pid[0] != "storage" or type(pid[1]) is not dtype:
            raise ValueError("a persistent id is malformed")
        _, d, key, location, count = pid
        if type(key) is not str or type(location) is not str or type(count) is not int or count < 0:
            raise ValueError("a persistent id is malformed")
        storage = self.known.get(key)
        if storage is None:
            storage = self.known[key] = self.restore(self._read(f"data/{key}", d, count), location)
        elif storage.value.dtype is not d or storage.value.size != count:
            raise RuntimeError(f"storage {key} is described in two ways: the checkpoint is damaged")
        return storage

    def _read(self, member: str, d: dtype, count: int) -> Storage:
        nbytes = count * d.itemsize
        there = self.reader.size(member)
        if there != nbytes:
            raise RuntimeError(
                f"record size ({there} bytes) does not match expected size ({nbytes} bytes = {count} elements * "
                f"{d.itemsize} bytes/element) for dtype {d.name}"
            )
        offset = self.reader.offset(member) if self.map is not None and count else None
        if offset is not None and offset % d.itemsize == 0:
            return creation.frombuffer(self.map, dtype=d, count=count, offset=offset)._storage
        storage = creation.empty(count, dtype=d, device="cpu")._storage
        memory = _memory(storage)
        self.reader.read_into(member, memory)
        if self.swap and d.itemsize > 1:
            np.frombuffer(memory, d.numpy).byteswap(inplace=True)
        return storage


def _restorer(map_location: MAP_LOCATION) -> Callable[[Storage, str], Storage]:
    """The rule that puts a loaded storage on its device."""
    if map_location is None:
        return _place
    if isinstance(map_location, Mapping):
        places = map_location
        return lambda storage, location: _place(storage, places.get(location, location))
    if isinstance(map_location, (str, Device)):
        wanted = str(map_location)
        return lambda storage, location: _place(storage, wanted)
    if not callable(map_location):
        raise TypeError(f"'{type(map_location).__name__}' object is not callable")

    def restore(storage: Storage, location: str) -> Storage:
        shown = UntypedStorage(storage)
        result = map_location(shown, location)
        if result is None:
            return _place(storage, location)
        if result != shown:
            raise RuntimeError("map_location returned something else than the storage it was given, or None")
        return storage

    return restore


def _place(storage: Storage, location: Any) -> Storage:
    place = str(location)
    if place == "cpu":
        return storage
    kind = place.partition(":")[0]
    if accelerators.count(kind):
        return Storage(to_device(storage.value, resolve(place)))
    if kind == "cuda":
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is "
            "False. If you are running "
            "on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to "
            "map your storages to "
            "the CPU."
        )
    raise RuntimeError(
        f"don't know how to restore data location of torch.storage.UntypedStorage (tagged with "
        f"{place}). What is there: {accelerators.present()}; map_location='cpu' puts all tensors on the CPU."
    )
