"""How CPython lays out the few objects that compiled code reads and writes, and how a compiled function becomes
callable.

Only what every build of CPython with a global lock shares is relied on: an object's type is its second word, a
tuple's items lie in its body, and a slot of a class lies where its descriptor says. ``supported`` tries each of these
before anything is built on them.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import sysconfig
from typing import Any

WORD = 8
TYPE = 8
"""Offset of an object's type."""
ITEMS = tuple.__basicsize__
"""Offset of a tuple's first item."""

_FASTCALL, _KEYWORDS = 0x0080, 0x0002
# Of a member descriptor: type, name, qualified name, member; of the member: name, kind, offset.
_DESCRIPTOR_MEMBER, _MEMBER_OFFSET = 40, 16


class _Method(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def offset(cls: type, slot: str) -> int:
    """Where a slot of ``cls`` lies in its objects."""
    descriptor = next(base.__dict__[slot] for base in cls.__mro__ if slot in base.__dict__)
    member = ctypes.c_void_p.from_address(id(descriptor) + _DESCRIPTOR_MEMBER).value
    assert member is not None
    return ctypes.c_ssize_t.from_address(member + _MEMBER_OFFSET).value


def function(name: str, address: int, context: tuple, doc: str | None = None) -> Any:
    """The compiled function at an address as a callable, which is given ``context`` at every call."""
    method = _Method(name.encode(), address, _FASTCALL | _KEYWORDS, None if doc is None else doc.encode())
    # Never freed: CPython calls through it until the very end of the interpreter, when modules are gone.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(method))
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]
    return make(ctypes.addressof(method), context, "luchina")


def method(callable: Any) -> Any:
    """The callable as a method: called through an object, it is given the object first."""
    make = ctypes.pythonapi.PyInstanceMethod_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object]
    return make(callable)


class _Probe:
    __slots__ = ("first", "second")

    first: object
    second: object


def supported() -> bool:
    """Whether this Python's objects are laid out as compiled code expects."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if ctypes.sizeof(ctypes.c_void_p) != WORD or platform.system() == "Windows":
        return False
    probe, mark = _Probe(), object()
    probe.second = mark
    try:
        held = ctypes.c_void_p.from_address(id(probe) + offset(_Probe, "second")).value
    except (StopIteration, KeyError, AssertionError):
        return False
    pair = (mark, probe)
    item = ctypes.c_void_p.from_address(id(pair) + ITEMS + WORD)
    kind = ctypes.c_void_p.from_address(id(probe) + TYPE)
    return held == id(mark) and item.value == id(probe) and kind.value == id(_Probe)
