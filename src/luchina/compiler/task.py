"""The scheduler's words: storages, windows on them, and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.body import ITEMSIZE
from luchina.compiler.movement import contiguous_strides

if TYPE_CHECKING:
    from luchina.compiler.kernel import Kernel
    from luchina.compiler.prims import Node


class Storage:
    """One buffer of a program, and its entry in the kernels' table.

    ``kind``: ``input`` (number ``index``), ``output``, ``temp`` (in the arena), ``scalars``. An output may take over
    the memory of an input that was donated: ``takes``.
    """

    __slots__ = ("dtype", "index", "kind", "nbytes", "slot", "takes")

    def __init__(self, kind: str, slot: int, nbytes: int, dtype: str, index: int) -> None:
        self.kind = kind
        self.slot = slot
        self.nbytes = nbytes
        self.dtype = dtype
        self.index = index
        self.takes: Storage | None = None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.slot}: {self.nbytes} bytes of {self.dtype}>"


class Window(NamedTuple):
    """A strided view on a storage, in elements."""

    storage: Storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def dtype(self) -> str:
        return self.storage.dtype

    @property
    def is_contiguous(self) -> bool:
        return self.strides == contiguous_strides(self.shape)


def nbytes(node: Node) -> int:
    """Bytes of a node's value in memory."""
    return node.size * ITEMSIZE[node.dtype]


def contiguous(storage: Storage, shape: Sequence[int]) -> Window:
    """All of a storage, row-major."""
    return Window(storage, tuple(shape), contiguous_strides(shape))


@dataclass
class Task:
    """One kernel of the program with its parameters.

    ``inplace`` lists pairs (written, read) of storages that may be the same memory: the kernel has read an element of
    the second when it writes that of the first, and reads it nowhere else.
    """

    kernel: Kernel
    params: list[int]
    blocks: int
    reads: list[Storage]
    writes: list[Storage]
    inplace: list[tuple[Storage, Storage]] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    scratch: int = 0
    cost: float = 0.0
    flops: int = 0
    nbytes_read: int = 0
    nbytes_written: int = 0
