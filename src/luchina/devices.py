"""Where a tensor lies."""

from __future__ import annotations

import threading
from typing import Any

from luchina.runtime import accelerators

KNOWN = (
    *("cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla", "lazy"),
    *("vulkan", "mps", "meta", "hpu", "mtia", "privateuseone"),
)


class device:  # named as in PyTorch
    """A device: ``device("cpu")``, ``device("cuda", 0)``.

    >>> import luchina
    >>> luchina.device("cpu")
    device(type='cpu')
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index if index is None else index
        if not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str, not {type.__class__.__name__}")
        if ":" in type:
            if index is not None:
                raise RuntimeError(f"'type' must not include an index because index was passed explicitly: {type}")
            type, _, number = type.partition(":")
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{type}:{number}'")
            index = int(number)
        if type not in KNOWN:
            raise RuntimeError(f"Expected one of {', '.join(KNOWN)} device type at start of device string: {type}")
        self.type = type
        self.index = index

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple:
        return device, (self.type, self.index)

    def __enter__(self) -> device:
        """Tensors that name no device are made here until the block ends."""
        _entered.blocks.append(_default.device)
        _default.device = resolve(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _default.device = _entered.blocks.pop()


CPU = device("cpu")


class _Present:
    """What this process has met so far."""

    accelerators = False  # a device other than the CPU was asked for and is there


present = _Present()
"""While no accelerator is present, nobody has to ask where anything lies."""


class _Default(threading.local):
    """Where tensors are made that name no device; each thread has its own."""

    device: device = CPU


class Current(threading.local):
    """The numbers that are meant where a kind is named without one; each thread has its own."""

    cuda = 0


class _Entered(threading.local):
    """The defaults that ``with device(...)`` blocks will put back."""

    def __init__(self) -> None:
        self.blocks: list[device] = []


_default = _Default()
_entered = _Entered()
current = Current()
_known: dict[tuple[str, int], device] = {}


def resolve(what: Any) -> device:
    """A device that exists on this machine, with its number, always the same object; None is the default device.

    Raises:
        RuntimeError: if it does not exist; the message says what is there.
    """
    if what is None:
        return _default.device
    if what is CPU:
        return CPU
    if isinstance(what, int) and not isinstance(what, bool):
        what = device("cuda", what)
    wanted = what if isinstance(what, device) else device(what)
    if wanted.type == "cpu":
        return CPU
    number = wanted.index
    if number is None:
        number = current.cuda if wanted.type == "cuda" else 0
    place = (wanted.type, number)
    found = _known.get(place)
    if found is None:
        accelerators.accelerator(*place)
        found = _known[place] = device(*place)
        present.accelerators = True
    return found


def set_default_device(device: Any) -> None:
    """Where tensors are made from now on that name no device; None is the CPU again.

    >>> import luchina
    >>> luchina.set_default_device("cpu")
    >>> luchina.get_default_device()
    device(type='cpu')

    Source: https://pytorch.org/docs/stable/generated/torch.set_default_device.html
    """
    _default.device = CPU if device is None else resolve(device)


def get_default_device() -> device:
    """Where tensors are made that name no device."""
    return _default.device
