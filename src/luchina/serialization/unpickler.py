"""From the ``data.pkl`` of a checkpoint to Python objects, without running anything that the file names.

A pickle is a program for a stack machine that can import and call what it likes. This is that machine with two lists:
``_OPCODES``, the instructions that checkpoints need, and ``_GLOBALS``, the names that they may speak of, each with the
function that stands for it here. Nothing is ever imported by name, no attribute of an object is set but an
OrderedDict's.
"""

from __future__ import annotations

import pickle
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from luchina import dtypes
from luchina.devices import device
from luchina.serialization.names import STORAGE_TYPES
from luchina.shape import Size
from luchina.storage import Storage
from luchina.tensor import Tensor, make

Locate = Callable[[tuple], Storage]


class Unpickler:
    """Runs one pickle. ``persistent_load(pid)`` gives the storage that a persistent id stands for."""

    def __init__(self, data: bytes, persistent_load: Locate) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.persistent_load = persistent_load

    def load(self) -> Any:
        """The object.

        Raises:
            pickle.UnpicklingError: the pickle is damaged, or asks for what is not on the lists.
        """
        try:
            while (code := self.take(1)) != pickle.STOP:
                step = _OPCODES.get(code)
                if step is None:
                    raise pickle.UnpicklingError(
                        f"Weights only load failed: instruction {code!r} at byte {self.at - 1} is not one that "
                        "checkpoints need"
                    )
                step(self)
            return self.pop()
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
            raise pickle.UnpicklingError(
                f"Weights only load failed: the pickle is damaged near byte {self.at} ({type(error).__name__}: {error})"
            ) from error

    # ---- the machine's parts

    def take(self, n: int) -> bytes:
        """The next ``n`` bytes of the program."""
        if n < 0 or self.at + n > len(self.data):
            raise pickle.UnpicklingError("Weights only load failed: pickle data was truncated")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, code: str) -> int:
        """The next number, packed as ``code`` of the struct module says."""
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def line(self) -> str:
        """The next line."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise pickle.UnpicklingError("Weights only load failed: pickle data was truncated")
        line = self.data[self.at : end]
        self.at = end + 1
        return line.decode()

    def push(self, obj: Any) -> None:
        """Put ``obj`` on the stack."""
        self.stack.append(obj)

    def pop(self) -> Any:
        """The top of the stack, of what lies above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise pickle.UnpicklingError("Weights only load failed: unexpected MARK found")
        return self.stack.pop()

    def since_mark(self) -> list:
        """All that lies above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    # ---- instructions with more than one step

    def find(self, module: str, name: str) -> None:
        """What a name on the list stands for."""
        known = _GLOBALS.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(
                f"Weights only load failed: the file asks for {module}.{name}, which is not an allowed global. luchina "
                "loads tensors, numbers, text and plain containers; it never runs code that a file names."
            )
        self.push(known)

    def call(self) -> None:
        """REDUCE: call one of the functions on the list."""
        arguments, function = self.pop(), self.pop()
        if type(arguments) is not tuple:
            raise TypeError("arguments are not a tuple")
        if not isinstance(function, Hashable) or function not in _CALLABLE:
            raise pickle.UnpicklingError(f"Weights only load failed: {function!r:.100} cannot be called")
        self.push(function(*arguments))  # type: ignore[operator]  # what is on the list can be called

    def build(self) -> None:
        """BUILD: attributes of an OrderedDict, the ``_metadata`` of a state_dict."""
        state = self.pop()
        target = self.stack[-1]
        if type(target) is not OrderedDict or type(state) not in (dict, OrderedDict):
            raise pickle.UnpicklingError(f"Weights only load failed: cannot set the state of a {type(target).__name__}")
        vars(target).update(state)

    def set_items(self, items: list) -> None:
        """Key, value, key, value … into the dict on top."""
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict, Counter) or len(items) % 2:
            raise TypeError("no dict to put items in")
        for key, value in zip(items[::2], items[1::2]):
            target[key] = value

    def append(self, items: list) -> None:
        """Items to the list on top."""
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError("no list to append to")
        target.extend(items)

    def remember(self, number: int) -> None:
        """Keep the top of the stack under a number."""
        self.memo[number] = self.stack[-1]

    def storage(self) -> None:
        """BINPERSID: the memory that a persistent id stands for."""
        pid = self.pop()
        if type(pid) is not tuple:
            raise TypeError("a persistent id is not a tuple")
        self.push(self.persistent_load(pid))


def _pop_two(machine: Unpickler) -> list:
    last = machine.pop()
    return [machine.pop(), last]


def _pushed_tuple(n: int) -> Callable[[Unpickler], None]:
    def step(machine: Unpickler) -> None:
        machine.push(tuple([machine.pop() for _ in range(n)][::-1]))

    return step


def _text(code: str) -> Callable[[Unpickler], None]:
    return lambda m: m.push(m.take(m.number(code)).decode("utf-8", "surrogatepass"))


def _plain(code: str) -> Callable[[Unpickler], None]:
    return lambda m: m.push(m.number(code))


def _long(code: str) -> Callable[[Unpickler], None]:
    return lambda m: m.push(pickle.decode_long(m.take(m.number(code))))


def _find_by_stack(machine: Unpickler) -> None:
    module, name = _pop_two(machine)
    machine.find(str(module), str(name))


def _add_to_set(machine: Unpickler) -> None:
    items = machine.since_mark()
    if type(machine.stack[-1]) is not set:
        raise TypeError("no set to add to")
    machine.stack[-1].update(items)


# Protocol 2, which PyTorch writes, and what protocols 3 and 4 have in its place.
_OPCODES: dict[bytes, Callable[[Unpickler], Any]] = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: lambda m: m.marks.append(len(m.stack)),
    pickle.POP: lambda m: m.pop(),
    pickle.POP_MARK: lambda m: m.since_mark(),
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: _plain("<i"),
    pickle.BININT1: _plain("<B"),
    pickle.BININT2: _plain("<H"),
    pickle.LONG1: _long("<B"),
    pickle.LONG4: _long("<i"),
    pickle.BINFLOAT: _plain(">d"),
    pickle.BINUNICODE: _text("<I"),
    pickle.SHORT_BINUNICODE: _text("<B"),
    pickle.BINUNICODE8: _text("<Q"),
    pickle.BINBYTES: lambda m: m.push(m.take(m.number("<I"))),
    pickle.SHORT_BINBYTES: lambda m: m.push(m.take(m.number("<B"))),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE: lambda m: m.push(tuple(m.since_mark())),
    pickle.TUPLE1: _pushed_tuple(1),
    pickle.TUPLE2: _pushed_tuple(2),
    pickle.TUPLE3: _pushed_tuple(3),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.APPEND: lambda m: m.append([m.pop()]),
    pickle.APPENDS: lambda m: m.append(m.since_mark()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.SETITEM: lambda m: m.set_items(_pop_two(m)),
    pickle.SETITEMS: lambda m: m.set_items(m.since_mark()),
    pickle.EMPTY_SET: lambda m: m.push(set()),
    pickle.ADDITEMS: _add_to_set,
    pickle.GLOBAL: lambda m: m.find(m.line(), m.line()),
    pickle.STACK_GLOBAL: _find_by_stack,
    pickle.REDUCE: Unpickler.call,
    pickle.BUILD: Unpickler.build,
    pickle.BINPERSID: Unpickler.storage,
    pickle.BINPUT: lambda m: m.remember(m.number("<B")),
    pickle.LONG_BINPUT: lambda m: m.remember(m.number("<I")),
    pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
    pickle.BINGET: lambda m: m.push(m.memo[m.number("<B")]),
    pickle.LONG_BINGET: lambda m: m.push(m.memo[m.number("<I")]),
}


# ---- what the names on the list stand for


def _rebuild_tensor(
    storage: Storage,
    offset: int,
    size: tuple,
    stride: tuple,
    requires_grad: bool = False,
    hooks: Any = None,
    *rest: Any,
) -> Tensor:
    """A window on a storage, which it must not leave."""
    numbers = (offset, *size, *stride)
    if type(storage) is not Storage or len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a tensor's description is malformed")
    if 0 not in size:
        last = offset + sum((n - 1) * step for n, step in zip(size, stride))
        if last >= storage.value.size:
            raise RuntimeError(
                f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}: they need element "
                f"{last} of a storage that has {storage.value.size}"
            )
    tensor = make(Tensor, storage, size, stride, offset, storage.value.dtype)
    return tensor.requires_grad_() if requires_grad else tensor


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: Any, state: dict | None = None) -> Tensor:
    from luchina.nn.parameter import Parameter

    if not isinstance(data, Tensor):
        raise TypeError("a parameter needs a tensor")
    return _with_attributes(Parameter(data, bool(requires_grad)), state or {})


def _rebuild_with_attributes(function: Any, kind: Any, arguments: tuple, state: dict) -> Tensor:
    """A tensor that the user gave attributes, or a Buffer."""
    from luchina.nn.parameter import Buffer

    if function is not _rebuild_tensor or kind is not Tensor:
        raise TypeError("only plain tensors are rebuilt with attributes")
    tensor = _rebuild_tensor(*arguments)
    state = dict(state)
    if state.pop("_is_buffer", False):
        tensor = Buffer(tensor, persistent=bool(state.pop("persistent", True)))
    return _with_attributes(tensor, state)


def _with_attributes(tensor: Tensor, state: dict) -> Tensor:
    for name, value in state.items():
        if type(name) is not str or hasattr(Tensor, name) or name.startswith("__"):
            raise ValueError(f"{name!r} cannot be an attribute of a loaded tensor")
        setattr(tensor, name, value)
    return tensor


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"encoding {encoding!r}")
    return text.encode("latin1")


def _bytearray(text: str = "", encoding: str = "latin-1") -> bytearray:
    return bytearray(_encode(text, encoding) if isinstance(text, str) else bytes(iter(text)))


def _set(items: Any = ()) -> set:
    return set(items)


def _complex(real: float = 0.0, imaginary: float = 0.0) -> complex:
    return complex(float(real), float(imaginary))


def _size(extents: tuple = ()) -> Size:
    if not all(type(n) is int for n in extents):
        raise TypeError("a size has integers")
    return Size(extents)


_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): Counter,
    ("_codecs", "encode"): _encode,
    ("torch", "Tensor"): Tensor,
    ("torch", "Size"): _size,
    ("torch", "device"): device,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_with_attributes,
    **{
        (module, function.__name__.lstrip("_")): function
        for module in ("builtins", "__builtin__")
        for function in (_bytearray, _set, _complex)
    },
    **{("torch", d.name): d for d in dtypes.ALL},
    **{(module, name): d for name, d in STORAGE_TYPES.items() for module in ("torch", "torch.cuda")},
}

_CALLABLE = frozenset(known for known in _GLOBALS.values() if callable(known) and known is not Tensor)
