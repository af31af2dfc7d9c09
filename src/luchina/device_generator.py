"""Generators of devices: a seed and an offset, which give PyTorch's CUDA numbers (``ops/philox.py``)."""

from __future__ import annotations

import os
import struct
import threading
from typing import Any

from luchina.devices import CPU, device, resolve
from luchina.dtypes import dtype
from luchina.generator import RANDOM_RANGE, Generator, checked_seed, default_generator
from luchina.graph import program
from luchina.graph.value import Value, from_buffer
from luchina.ops import philox
from luchina.ops.philox import Layout
from luchina.runtime.accelerators import accelerator

_STATE = struct.Struct("<QQ")  # seed, offset

RANGE_OF_PAIRS = 1 << 28
"""Ranges of integers from here on take two words a number."""

BLOCKS_OF_A_PROCESSOR = 8
PROCESSORS = 108
"""What decides from which size on a thread makes several numbers: on a device that is not an NVIDIA card, those of an
A100."""


class DeviceGenerator(Generator):
    """The stream of random numbers of one device."""

    def __init__(self, device: Any) -> None:
        super().__init__()
        self._device = resolve(device)
        self._offset = 0
        processors = getattr(accelerator(self._device.type, self._device.index or 0), "processors", PROCESSORS)
        self._blocks = processors * BLOCKS_OF_A_PROCESSOR

    @property
    def device(self) -> device:
        return self._device

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream anew.

        Raises:
            RuntimeError: if the seed is no integer.
            ValueError: if it does not fit 64 bits.
        """
        value = checked_seed(seed)
        with self._lock:
            self._seed, self._offset = value, 0
        return self

    def get_state(self) -> bytes:
        """Seed and offset: 16 bytes, as PyTorch's CUDA generators have them."""
        with self._lock:
            return _STATE.pack(self._seed, self._offset)

    def set_state(self, state: bytes | bytearray | memoryview) -> Generator:
        """Continue from a state that ``get_state`` gave.

        Raises:
            RuntimeError: if it is no such state; the generator is unchanged then.
        """
        if len(state) != _STATE.size:
            raise RuntimeError("RNG state is wrong size")
        seed, offset = _STATE.unpack(state)
        if offset % 4:
            raise RuntimeError("offset must be a multiple of 4")
        with self._lock:
            self._seed, self._offset = seed, offset
        return self

    def clone_state(self) -> Generator:
        """A generator of its own that will draw the same numbers."""
        return DeviceGenerator(self._device).set_state(self.get_state())

    def __reduce__(self) -> tuple:
        return _restore, (str(self._device), self.get_state())

    # ---- numbers

    def _record(self, rule: str, shape: tuple[int, ...], d: dtype, layout: Layout, *arguments: float | int) -> Value:
        n = 1
        for extent in shape:
            n *= extent
        with self._lock:
            seed, offset = self._seed, self._offset
            self._offset = (offset + layout.offset(n)) % (1 << 64)
        return philox.draw(seed, offset, rule, shape, d, layout, self._device, *arguments)

    def _draw(self, rule: str, shape: tuple[int, ...], d: dtype, *arguments: float | int) -> Value:
        """Numbers in memory: what a tensor starts with is no part of the program that first reads it."""
        value = self._record(rule, shape, d, Layout(self._blocks, philox.width_of(rule, d)), *arguments)
        return from_buffer(program.run_alone(value), shape, d)

    def uniform(self, shape: tuple[int, ...], d: dtype, low: float, high: float) -> Value:
        """Uniform in [low, high)."""
        return self._draw("uniform", shape, d, low, high)

    def normal(self, shape: tuple[int, ...], d: dtype, mean: float, std: float, contiguous: bool = True) -> Value:
        """Normal; the same numbers for every memory order of the result."""
        return self._draw("normal", shape, d, mean, std)

    def exponential(self, shape: tuple[int, ...], d: dtype, rate: float) -> Value:
        """Exponential of parameter ``rate`` (λ)."""
        return self._draw("exponential", shape, d, rate)

    def bernoulli(self, shape: tuple[int, ...], d: dtype, p: float) -> Value:
        """1 with probability ``p``, else 0."""
        return self._draw("bernoulli", shape, d, p)

    def randint(self, shape: tuple[int, ...], d: dtype, low: int, high: int) -> Value:
        """Integers in [low, high), by remainder: the slight bias for large ranges is PyTorch's too.

        Raises:
            RuntimeError: for a range of more than 2⁶³ numbers.
        """
        count = high - low
        if count > 1 << 63:
            raise RuntimeError(f"randint on {self._device} draws from at most 2**63 numbers, not {count}")
        rule = "wide_integers" if count >= RANGE_OF_PAIRS else "integers"
        return self._draw(rule, shape, d, low, count % (1 << 63))

    def random(self, shape: tuple[int, ...], d: dtype) -> Value:
        """Integers over the dtype's whole range."""
        rule = "wide_integers" if d.name in ("int64", "float64") else "integers"
        return self._draw(rule, shape, d, 0, RANDOM_RANGE[d.name] % (1 << 63))

    def keep(self, shape: tuple[int, ...], d: dtype, p: float) -> Value:
        """Which elements dropout keeps, with probability ``p``: part of the program that reads it."""
        n = 1
        for extent in shape:
            n *= extent
        return self._record("bernoulli", shape, d, philox.dropout_layout(n, self._blocks), p)


def _restore(where: str, state: bytes) -> Generator:
    return DeviceGenerator(where).set_state(state)


# ---- which generator

_defaults: dict[device, DeviceGenerator] = {}
_lock = threading.Lock()


class _Seeded:
    """The seed that ``luchina.manual_seed`` was last given, for devices that are met later."""

    seed: int | None = None


def default(where: device) -> Generator:
    """The generator that is drawn from on a device where none is named."""
    if where is CPU:
        return default_generator
    with _lock:
        found = _defaults.get(where)
        if found is None:
            found = _defaults[where] = DeviceGenerator(where)
            found.manual_seed(int.from_bytes(os.urandom(8), "little") if _Seeded.seed is None else _Seeded.seed)
    return found


def all_defaults() -> list[Generator]:
    """The generators that are drawn from where none is named: the CPU's and those of the devices met so far."""
    return [default_generator, *_defaults.values()]


def seed_all(seed: int) -> None:
    """Seed the generators of all devices, also of those that are met later."""
    _Seeded.seed = checked_seed(seed)
    for generator in list(_defaults.values()):
        generator.manual_seed(seed)


def source(where: device, generator: Generator | None) -> Generator:
    """The generator to draw from on a device.

    Raises:
        RuntimeError: if the one that is named is another device's.
    """
    if generator is None:
        return default(where)
    if generator.device.type != where.type:
        raise RuntimeError(f"Expected a '{where.type}' device type for generator but found '{generator.device.type}'")
    return generator
