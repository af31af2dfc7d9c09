"""Storage: the one memory that a tensor and all its views stand for.

A storage holds one Value at a time. Writing through any of its tensors gives it another Value and raises its
generation; tensors notice by that. Its elements lie in row-major order of that Value.
"""

from __future__ import annotations

import weakref
from typing import Any

from luchina.devices import CPU, device
from luchina.graph import program
from luchina.graph.value import Value, from_buffer
from luchina.runtime import accelerators

_TITLES = {
    "float16": "HalfTensor",
    "bfloat16": "BFloat16Tensor",
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
    "int8": "CharTensor",
    "int16": "ShortTensor",
    "int32": "IntTensor",
    "int64": "LongTensor",
    "uint8": "ByteTensor",
    "bool": "BoolTensor",
}


class Counter:
    """How often the tensors that share it were written to in place."""

    __slots__ = ("version",)
    inference = False  # made in inference mode

    def __init__(self) -> None:
        self.version = 0

    @staticmethod
    def title(dtype: Any) -> str:
        """PyTorch's name of a tensor type: ``FloatTensor``."""
        return _TITLES[dtype.name]


class InferenceCounter(Counter):
    """Of tensors made in inference mode: they may not be saved for backward, nor written to outside that mode."""

    __slots__ = ()
    inference = True


class Storage:
    """The memory behind tensors.

    Attributes
        value: the current Value; pending, or with a buffer.
        generation: raised at each write.
        shared: the memory belongs to somebody else too (numpy, DLPack): a write goes into it at once, a read runs at
        once.
        lent: it did so at some time; ``shared`` looks whether the borrower still lives.
    """

    __slots__ = ("__weakref__", "_exports", "generation", "lent", "owned_elsewhere", "value")

    def __init__(self, value: Value, owned_elsewhere: bool = False) -> None:
        self.value = value
        self.generation = 0
        self.owned_elsewhere = owned_elsewhere
        self.lent = owned_elsewhere
        self._exports: list[weakref.ref] | None = None
        if value.buffer is None and value.number is None:
            program.watch(self)

    @property
    def device(self) -> device:
        """Where the memory lies."""
        return self.value.device or CPU

    @property
    def shared(self) -> bool:
        if self.owned_elsewhere:
            return True
        if self._exports is None:
            return False
        self._exports = [r for r in self._exports if r() is not None] or None
        self.lent = self._exports is not None
        return self._exports is not None

    def export(self, holder: Any) -> None:
        """``holder`` shows this memory from now on, as long as it lives."""
        self._exports = [*(self._exports or ()), weakref.ref(holder)]
        self.lent = True

    def set(self, value: Value) -> None:
        """The storage's numbers become those of ``value``."""
        if self.lent and self.shared:
            value = self._write_through(value)
        self.value = value
        self.generation += 1
        if value.buffer is None:
            program.watch(self)

    def _write_through(self, value: Value) -> Value:
        """Memory that others see is written at once, and stays the same memory."""
        memory = self.value.buffer
        assert memory is not None
        if value.buffer is None:
            program.realize((value,))
        assert value.buffer is not None
        if value.buffer is not memory:
            accelerators.copy(memory, value.buffer, value.size * value.dtype.itemsize)
        if not value.needs_grad:
            return from_buffer(memory, value.shape, value.dtype)
        value.buffer = memory
        return value

    def realize(self) -> Value:
        """The Value, computed."""
        if self.value.buffer is None:
            program.realize((self.value,))
        return self.value

    @property
    def nbytes(self) -> int:
        return self.value.size * self.value.dtype.itemsize
