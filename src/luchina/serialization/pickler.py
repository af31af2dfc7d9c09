"""From Python objects to the ``data.pkl`` of a checkpoint.

Only what ``load`` makes again is written; anything else is an error that names its place. The result is a pickle of
protocol 2 with PyTorch's names in it, which is written here directly because those names cannot be imported.
"""

from __future__ import annotations

import pickle
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from luchina.devices import device
from luchina.dtypes import dtype
from luchina.serialization.names import STORAGE_NAMES
from luchina.shape import Size
from luchina.storage import Storage
from luchina.tensor import Tensor

_BATCH = 1000  # items that one SETITEMS or APPENDS takes, as pickle has it


class Pickler:
    """Writes one object; ``storages`` then lists the memory that it refers to, in the order of their numbers."""

    def __init__(self) -> None:
        self.storages: list[Storage] = []
        self._out: list[bytes] = []
        self._memo: dict[Any, int] = {}  # id of an object, or a text: its number
        self._alive: list[Any] = []  # an id means something only while its object lives
        self._numbers: dict[int, str] = {}  # id of a storage: its key
        self._path: list[str] = []

    def dump(self, obj: Any) -> bytes:
        """The pickle of ``obj``.

        Raises:
            pickle.PicklingError: something in it is not of a kind that a checkpoint can hold.
        """
        self._out.append(pickle.PROTO + b"\x02")
        self._save(obj)
        self._out.append(pickle.STOP)
        return b"".join(self._out)

    # ---- dispatch

    def _save(self, obj: Any) -> None:
        known = self._memo.get(id(obj))
        if known is not None:
            self._get(known)
            return
        writer = _WRITERS.get(type(obj))
        if writer is None:
            writer = Pickler._tensor if isinstance(obj, Tensor) else None
        if writer is None:
            raise pickle.PicklingError(self._refusal(obj))
        writer(self, obj)

    def _step(self, where: str, obj: Any) -> None:
        self._path.append(where)
        self._save(obj)
        self._path.pop()

    def _refusal(self, obj: Any) -> str:
        kind = f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.")
        message = f"a checkpoint cannot hold a {kind} (at checkpoint{''.join(self._path)})"
        if hasattr(obj, "state_dict"):
            return message + ": save its .state_dict() instead"
        if hasattr(obj, "item") and getattr(obj, "shape", None) == ():
            return message + ": save it as a Python number, x.item()"
        if type(obj).__module__ == "numpy":
            return message + ": save it as a tensor, luchina.from_numpy(x)"
        return message + (
            ": only tensors, numbers, text, bytes, None, lists, tuples, dicts, sets, dtypes, devices and sizes can be "
            "loaded again without running the file's code"
        )

    # ---- the memo

    def _put(self, key: Any, obj: Any) -> None:
        number = self._memo[key] = len(self._memo)
        self._alive.append(obj)
        self._out.append(_numbered(pickle.BINPUT, pickle.LONG_BINPUT, number))

    def _get(self, number: int) -> None:
        self._out.append(_numbered(pickle.BINGET, pickle.LONG_BINGET, number))

    # ---- writers of kinds

    def _none(self, obj: None) -> None:
        self._out.append(pickle.NONE)

    def _bool(self, obj: bool) -> None:
        self._out.append(pickle.NEWTRUE if obj else pickle.NEWFALSE)

    def _int(self, obj: int) -> None:
        if 0 <= obj < 1 << 8:
            self._out.append(pickle.BININT1 + bytes((obj,)))
        elif 0 <= obj < 1 << 16:
            self._out.append(pickle.BININT2 + struct.pack("<H", obj))
        elif -(1 << 31) <= obj < 1 << 31:
            self._out.append(pickle.BININT + struct.pack("<i", obj))
        else:
            data = pickle.encode_long(obj)
            short = len(data) < 256
            size = bytes((len(data),)) if short else struct.pack("<i", len(data))
            self._out.append((pickle.LONG1 if short else pickle.LONG4) + size + data)

    def _float(self, obj: float) -> None:
        self._out.append(pickle.BINFLOAT + struct.pack(">d", obj))

    def _str(self, obj: str) -> None:
        known = self._memo.get(obj)
        if known is not None:
            self._get(known)
            return
        data = obj.encode("utf-8", "surrogatepass")
        self._out.append(pickle.BINUNICODE + struct.pack("<I", len(data)) + data)
        self._put(obj, obj)

    def _bytes(self, obj: bytes) -> None:
        self._call("_codecs", "encode", (obj.decode("latin1"), "latin1"))
        self._put(id(obj), obj)

    def _bytearray(self, obj: bytearray) -> None:
        self._call("__builtin__", "bytearray", (obj.decode("latin1"), "latin-1"))
        self._put(id(obj), obj)

    def _complex(self, obj: complex) -> None:
        self._call("__builtin__", "complex", (obj.real, obj.imag))

    def _tuple(self, obj: tuple) -> None:
        self._out.append(pickle.MARK)
        for i, element in enumerate(obj):
            self._step(f"[{i}]", element)
        known = self._memo.get(id(obj))
        if known is not None:  # an element led back to this tuple
            self._out.append(pickle.POP_MARK)
            self._get(known)
            return
        self._out.append(pickle.TUPLE)
        self._put(id(obj), obj)

    def _list(self, obj: list) -> None:
        self._out.append(pickle.EMPTY_LIST)
        self._put(id(obj), obj)
        for start in range(0, len(obj), _BATCH):
            self._out.append(pickle.MARK)
            for i, element in enumerate(obj[start : start + _BATCH], start):
                self._step(f"[{i}]", element)
            self._out.append(pickle.APPENDS)

    def _dict(self, obj: dict) -> None:
        self._out.append(pickle.EMPTY_DICT)
        self._put(id(obj), obj)
        self._items(obj.items())

    def _ordered_dict(self, obj: OrderedDict) -> None:
        self._call("collections", "OrderedDict", ())
        self._put(id(obj), obj)
        self._items(obj.items())
        if vars(obj):  # a state_dict carries its layers' versions as an attribute
            self._step(".__dict__", dict(vars(obj)))
            self._out.append(pickle.BUILD)

    def _counter(self, obj: Counter) -> None:
        self._call("collections", "Counter", (dict(obj),))
        self._put(id(obj), obj)

    def _items(self, items: Iterable[tuple[Any, Any]]) -> None:
        pairs = list(items)
        for start in range(0, len(pairs), _BATCH):
            self._out.append(pickle.MARK)
            for key, value in pairs[start : start + _BATCH]:
                self._step(f"[{key!r} as a key]", key)
                self._step(f"[{key!r}]", value)
            self._out.append(pickle.SETITEMS)

    def _set(self, obj: set) -> None:
        self._call("__builtin__", "set", (list(obj),))
        self._put(id(obj), obj)

    def _size(self, obj: Size) -> None:
        self._call("torch", "Size", (tuple(obj),))
        self._put(id(obj), obj)

    def _dtype(self, obj: dtype) -> None:
        self._global("torch", obj.name)

    def _device(self, obj: device) -> None:
        self._call("torch", "device", (obj.type,) if obj.index is None else (obj.type, obj.index))

    def _tensor(self, obj: Tensor) -> None:
        from luchina.nn.parameter import Buffer, Parameter

        state = obj._own_attributes()
        if type(obj) is Parameter:
            self._global("torch._utils", "_rebuild_parameter_with_state" if state else "_rebuild_parameter")
            self._out.append(pickle.MARK)
            self._rebuild(obj, requires_grad=False)
            self._bool(obj.requires_grad)
            self._ordered_dict(OrderedDict())
            if state:
                self._step(".__dict__", state)
            self._out.append(pickle.TUPLE + pickle.REDUCE)
        elif type(obj) is Tensor and not state:
            self._rebuild(obj, obj.requires_grad)
        elif type(obj) in (Tensor, Buffer):
            if type(obj) is Buffer:
                state = {**state, "_is_buffer": True}
            self._global("torch._tensor", "_rebuild_from_type_v2")
            self._out.append(pickle.MARK)
            self._global("torch._utils", "_rebuild_tensor_v2")
            self._global("torch", "Tensor")
            self._rebuild_arguments(obj, obj.requires_grad)
            self._step(".__dict__", state)
            self._out.append(pickle.TUPLE + pickle.REDUCE)
        else:
            raise pickle.PicklingError(self._refusal(obj))
        self._put(id(obj), obj)

    # ---- parts

    def _global(self, module: str, name: str) -> None:
        key = (module, name)
        known = self._memo.get(key)
        if known is not None:
            self._get(known)
            return
        self._out.append(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self._put(key, key)

    def _call(self, module: str, name: str, arguments: tuple) -> None:
        self._global(module, name)
        self._out.append(pickle.MARK)
        for argument in arguments:
            self._save(argument)
        self._out.append(pickle.TUPLE + pickle.REDUCE)

    def _rebuild(self, obj: Tensor, requires_grad: bool) -> None:
        self._global("torch._utils", "_rebuild_tensor_v2")
        self._rebuild_arguments(obj, requires_grad)
        self._out.append(pickle.REDUCE)

    def _rebuild_arguments(self, obj: Tensor, requires_grad: bool) -> None:
        """storage, offset, size, stride, requires_grad, backward hooks"""
        self._out.append(pickle.MARK)
        self._storage(obj._storage, obj.dtype)
        self._int(obj.storage_offset())
        for extents in (tuple(obj.shape), tuple(obj.stride())):
            self._out.append(pickle.MARK)
            for n in extents:
                self._int(n)
            self._out.append(pickle.TUPLE)
        self._bool(requires_grad)
        self._ordered_dict(OrderedDict())
        self._out.append(pickle.TUPLE)

    def _storage(self, storage: Storage, d: dtype) -> None:
        key = self._numbers.get(id(storage))
        if key is None:
            key = self._numbers[id(storage)] = str(len(self.storages))
            self.storages.append(storage)
        self._out.append(pickle.MARK)
        self._str("storage")
        self._global("torch", STORAGE_NAMES[d])
        self._str(key)
        self._str(str(storage.device))
        self._int(storage.value.size)
        self._out.append(pickle.TUPLE + pickle.BINPERSID)


def _numbered(short: bytes, long: bytes, number: int) -> bytes:
    return short + bytes((number,)) if number < 256 else long + struct.pack("<I", number)


_WRITERS: dict[type, Callable[[Pickler, Any], None]] = {
    type(None): Pickler._none,
    bool: Pickler._bool,
    int: Pickler._int,
    float: Pickler._float,
    complex: Pickler._complex,
    str: Pickler._str,
    bytes: Pickler._bytes,
    bytearray: Pickler._bytearray,
    tuple: Pickler._tuple,
    list: Pickler._list,
    dict: Pickler._dict,
    OrderedDict: Pickler._ordered_dict,
    Counter: Pickler._counter,
    set: Pickler._set,
    Size: Pickler._size,
    dtype: Pickler._dtype,
    device: Pickler._device,
    Tensor: Pickler._tensor,
}
