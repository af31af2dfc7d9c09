"""A kernel: code that does not exist yet, named by everything that fixes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from luchina.compiler.target import Target


def kernel_name(key: str) -> str:
    """A symbol name derived from ``key``, so that all kernels of a process have names of their own."""
    return "k" + hashlib.blake2b(key.encode(), digest_size=10).hexdigest()


class Kernel:
    """Code of one function of the kernel ABI (``docs/architecture.md``).

    Args:
        name: the function's symbol; ``None`` derives it from the key.
        key: text that fixes the code completely on a given target: the specification, not the data.
        emit: ``emit(target)`` gives the LLVM module's text with one function called ``name``.
    """

    __slots__ = ("emit", "key", "name")

    def __init__(self, name: str | None, key: str, emit: Callable[[Target], str]) -> None:
        self.name = name or kernel_name(key)
        self.key = key
        self.emit = emit

    def __repr__(self) -> str:
        return f"<Kernel {self.name}: {self.key[:80]}>"
