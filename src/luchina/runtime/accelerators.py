"""Accelerators by kind and number, and their memory as tensors hold it.

An accelerator is what ``runtime/opencl.py`` and its like give: it owns memory and runs programs (the protocol
``Device`` of ``compiler/device.py``). The layers above name it by kind and number and hold ``Memory``.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from typing import Any
from weakref import WeakKeyDictionary

from luchina.runtime.buffers import Buffer, external, from_bytes, memory
from luchina.runtime.buffers import allocate as allocate_on_host

MODULES = {"opencl": "luchina.runtime.opencl", "cuda": "luchina.runtime.cuda"}


class Memory:
    """A buffer of an accelerator, or a window on one.

    Attributes:
        device: where it lies, as whoever made it names that place.
        ptr, nbytes: its address there, and its size.
        owner: the accelerator's own buffer, which lives as long as this.
    """

    __slots__ = ("__weakref__", "device", "nbytes", "owner", "ptr")

    def __init__(self, device: Any, owner: Any, ptr: int, nbytes: int) -> None:
        self.device = device
        self.owner = owner
        self.ptr = ptr
        self.nbytes = nbytes

    def __repr__(self) -> str:
        return f"<Memory of {self.nbytes} bytes at {self.ptr:#x} of {self.device}>"


@functools.cache
def accelerator(kind: str, number: int) -> Any:
    """Device ``number`` of a kind.

    Raises:
        RuntimeError: if it is not there; the message says what is.
    """
    module = _module(kind)
    what = f"device '{kind}:{number}' is not available"
    if module is None:
        raise RuntimeError(f"{what}. What is there: {present()}.")
    try:
        return module.device(number)
    except RuntimeError as error:
        if kind == "cuda" and not count(kind):
            what = "No CUDA device is available"
        raise RuntimeError(f"{what}: {error}. What is there: {present()}.") from None


def count(kind: str) -> int:
    """How many devices of a kind there are."""
    module = _module(kind)
    try:
        return len(module.devices()) if module is not None else 0
    except RuntimeError:
        return 0


def present() -> str:
    """The devices of this machine, for messages: ``'cpu', 'opencl:0'``."""
    names = [f"{kind}:{number}" for kind in MODULES for number in range(count(kind))]
    return ", ".join(repr(name) for name in ("cpu", *names))


def descriptions() -> list[str]:
    """The devices of this machine with what they are, for people."""
    return ["cpu"] + [
        f"{kind}:{number}: {accelerator(kind, number).description}" for kind in MODULES for number in range(count(kind))
    ]


@functools.cache
def _module(kind: str) -> Any:
    try:
        return importlib.import_module(MODULES[kind])
    except (KeyError, ImportError):
        return None


# ---- memory


def window(block: Any, start: int, nbytes: int) -> Any:
    """Part of a block of memory, from byte ``start`` on, which it keeps alive."""
    if block.__class__ is Buffer:
        return external(block.ptr + start, nbytes, block)
    return Memory(block.device, block.owner, block.ptr + start, nbytes)


def allocate(device: Any, nbytes: int) -> Memory:
    """Memory of a device (anything with ``type`` and ``index``) whose contents are undefined."""
    buffer = accelerator(device.type, device.index).allocate(nbytes)
    return Memory(device, buffer, buffer.ptr, nbytes)


def allocate_beside(block: Any) -> Any:
    """As much memory as ``block`` has, where it lies."""
    return allocate_on_host(block.nbytes) if block.__class__ is Buffer else allocate(block.device, block.nbytes)


def upload(device: Any, block: Buffer, nbytes: int) -> Memory:
    """The first bytes of host memory, copied to a device."""
    buffer = accelerator(device.type, device.index).upload(memory(block)[:nbytes] if nbytes else b"")
    return Memory(device, buffer, buffer.ptr, nbytes)


known_bounds: WeakKeyDictionary[Any, dict[str, tuple[int, int]]] = WeakKeyDictionary()
"""What is known of the integers in a device's own buffers, by dtype: the smallest and the largest. An index used
again and again, or came from the host, need not be waited for."""


def copy(to: Any, source: Any, nbytes: int) -> None:
    """The first bytes of a block into another on the same device, behind what was launched before."""
    if to.__class__ is Buffer:
        ctypes.memmove(to.ptr, source.ptr, nbytes)
    else:
        known_bounds.pop(to.owner, None)
        accelerator(to.device.type, to.device.index).copy(to, source, nbytes)


def on_host(block: Any) -> Buffer:
    """Host memory with the numbers of ``block``: itself, or a copy of what a device holds once it has computed them."""
    if block.__class__ is Buffer:
        return block
    return from_bytes(accelerator(block.device.type, block.device.index).download(block))
