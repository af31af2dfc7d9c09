"""A program of several devices: one part for each, the CPU's first.

What is moved from device to device is computed before it moves (``ops/transfer.py``), so parts do not wait for each
other, but for 0-dim tensors of the CPU that a device's operations read: the CPU's part gives them, and every run
hands them over.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from luchina.compiler.build import compile as compile_for_cpu
from luchina.compiler.device import compile_for
from luchina.compiler.prims import Node, topological
from luchina.devices import CPU, device
from luchina.graph import program
from luchina.graph.update import Update
from luchina.graph.value import Value
from luchina.runtime import accelerators
from luchina.runtime.accelerators import Memory
from luchina.runtime.buffers import ITEMSIZE, Buffer, from_bytes, memory


def elsewhere(values: Sequence[Value]) -> bool:
    """Whether any of the Values lies on another device than the CPU."""
    return any(value.device not in (CPU, None) for value in values)


class DevicePart:
    """A program of one accelerator, on tensors' memory."""

    def __init__(self, where: device, outputs: Sequence[Node], donated: Any = ()) -> None:
        self.where = where
        self.executable = compile_for(accelerators.accelerator(where.type, where.index or 0), outputs, donated)
        self.kernels = self.executable.kernels
        self.arena_bytes = self.executable.arena_bytes
        self.sizes = [node.size * ITEMSIZE[node.dtype] for node in outputs]
        self.unsupported = self.executable.device.unsupported
        leaves = (node for node in topological(outputs) if node.op == "input") if self.unsupported else ()
        self.dtypes = {node.attrs[0]: node.dtype for node in leaves}

    def run(self, inputs: Sequence[Any], scalars: Sequence[float | int]) -> list[Any]:
        """Memory with the outputs: new, or that of donated inputs. An input may be a 0-dim tensor of the CPU."""
        where = self.where
        held = [self._there(i, x) if x.__class__ is Buffer else x for i, x in enumerate(inputs)]
        results = self.executable.run(held, scalars)
        return [
            buffer if buffer.__class__ is Memory else Memory(where, buffer, buffer.ptr, n)
            for buffer, n in zip(results, self.sizes)
        ]

    def _there(self, index: int, block: Buffer) -> Memory:
        """A number of the CPU on the device, which may have to take a float64 as float32."""
        if self.dtypes.get(index) in self.unsupported:
            block = from_bytes(struct.pack("f", *struct.unpack("d", memory(block)[:8])))
        return accelerators.upload(self.where, block, block.nbytes)


class _Part(NamedTuple):
    """One device's share: what it runs; which inputs and scalars of the whole it takes (inputs beyond the whole's are
    ``handed`` over by the CPU's part); where its results go, among the whole's and then among those handed over."""

    executable: Any
    inputs: tuple[int, ...]
    scalars: tuple[int, ...]
    results: tuple[int, ...]


class Parts:
    """Programs of several devices with the interface of one: see ``compiler.build.Executable``."""

    def __init__(self, parts: list[_Part], results: int) -> None:
        self.parts = parts
        self.results = results
        self.kernels = [kernel for part in parts for kernel in part.executable.kernels]
        self.arena_bytes = sum(part.executable.arena_bytes for part in parts)
        self.profiling = False  # the drivers' own tools take the times of kernels on devices
        self.recorded: list[str] = []

    def run(self, inputs: Sequence[Any], scalars: Sequence[float | int] = ()) -> list[Any]:
        """The outputs' memory, each on its device."""
        found: dict[int, Any] = {}
        held = list(inputs)
        for part in self.parts:
            results = part.executable.run([held[i] for i in part.inputs], [scalars[i] for i in part.scalars])
            found.update(zip(part.results, results))
            if part is self.parts[0]:
                held += [found[i] for i in part.results if i >= self.results]
        return [found[i] for i in range(self.results)]


def build(
    targets: Sequence[Value],
    order: Sequence[Value],
    leaves: Sequence[Value],
    constants: Sequence[Value],
    updates: Sequence[Update] = (),
) -> Parts:
    """Compile ``targets`` on their devices, and ``updates``, all of one: what ``program`` does for the CPU alone."""
    handed = _handed_over(order)
    updating = updates[0].value.device if updates else None
    packs = [update.value.inputs[0].buffer for update in updates]
    written = sum(len(pack.buffers) for pack in packs)
    groups: dict[device, list[int]] = {CPU: []}
    for number, target in enumerate(targets):
        groups.setdefault(target.device or CPU, []).append(number)
    if updating is not None:
        groups.setdefault(updating, [])
    results = len(targets) + written
    outputs = dict(enumerate(targets)) | dict(enumerate(handed, results))
    groups[CPU] += range(results, results + len(handed))
    # What the whole takes: leaves, the memory of packs, what is handed over; numbers that are leaves, those of packs.
    inputs = [v for v in leaves if v.number is None]
    scalars = [v for v in leaves if v.number is not None]
    places = {v: i for i, v in enumerate(inputs)} | {v: i for i, v in enumerate(scalars)}
    places |= {v: i for i, v in enumerate(handed, len(inputs) + written)}
    parts = []
    for where, numbers in groups.items():
        if not numbers and where is not updating:
            continue
        own = [outputs[i] for i in numbers]
        own_updates = updates if where is updating else ()
        known = frozenset(handed if where is not CPU else ())
        own_order, found = program.walk([*own, *(update.value for update in own_updates)], known)
        read = set(found)
        own_leaves = [v for v in (*leaves, *handed) if v in read and (v in places)]
        nodes = program.lower(own_order, own_leaves, own, [v for v in constants if v in read], own_updates)
        taken = tuple(places[v] for v in own_leaves if v.number is None)
        told = tuple(places[v] for v in own_leaves if v.number is not None)
        donated: dict[int, int] = {}
        if own_updates:
            donated = {len(taken) + k: len(own) + k for k in range(written)}
            taken += tuple(range(len(inputs), len(inputs) + written))
            told += tuple(range(len(scalars), len(scalars) + sum(len(pack.numbers) for pack in packs)))
            numbers = [*numbers, *range(len(targets), results)]
        executable: Any = compile_for_cpu(nodes, donated) if where is CPU else DevicePart(where, nodes, donated)
        parts.append(_Part(executable, taken, told, tuple(numbers)))
    return Parts(parts, results)


def _handed_over(order: Sequence[Value]) -> list[Value]:
    """Pending 0-dim Values of the CPU that operations on devices read."""
    handed: dict[Value, None] = {}
    for value in order:
        if value.device not in (CPU, None):
            for source in value.inputs:
                if source.buffer is None and source.number is None and source.device is CPU:
                    handed[source] = None
    return list(handed)
