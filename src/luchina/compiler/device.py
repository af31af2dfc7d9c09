"""``compile_for``: a primitive graph to something that runs on a device other than the processor.

The graph is planned by the CPU's scheduler and its kernels are the CPU's loop nests. What differs: contractions have a
template of their own (``targets/product.py``), a block is one item (an element, or a row that is reduced), and nothing
is kept in scratch memory that can be computed again.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from math import prod
from typing import Any, Protocol, cast

from luchina.compiler.build import KernelInfo
from luchina.compiler.contract import ContractionGroup
from luchina.compiler.contraction.interface import Call, Epilogue
from luchina.compiler.expansion import expand_contractions
from luchina.compiler.kernel import Kernel
from luchina.compiler.loopspec import HEADER, LoopSpec
from luchina.compiler.memory import drop_dead, plan_arena, put_off, take_over
from luchina.compiler.narrow import narrow
from luchina.compiler.nest import LoopBuilder
from luchina.compiler.prims import Node
from luchina.compiler.schedule import Scheduler
from luchina.compiler.simplify import simplify
from luchina.compiler.target import Target
from luchina.compiler.targets import groups, product, singles
from luchina.compiler.task import Task, Window


class DeviceBuffer(Protocol):
    """Memory of a device. ``ptr`` is its address there."""

    ptr: int
    nbytes: int


class Launches(Protocol):
    """The kernels of a program, ready to be started with a table of addresses."""

    def run(self, table: bytes) -> None: ...


class Device(Protocol):
    """What a device answers to run programs (``runtime/opencl.py``)."""

    name: str
    target: Target
    unsupported: dict[str, str]

    def allocate(self, nbytes: int) -> DeviceBuffer: ...
    def upload(self, data: bytes) -> DeviceBuffer: ...
    def load(self, kernels: Sequence[Kernel]) -> list[Any]: ...
    def sequence(self, calls: Sequence[tuple[Any, bytes, int, int]]) -> Launches: ...
    def use(self, buffer: Any) -> None: ...
    def text(self, kernel: Kernel) -> str: ...


class DeviceLoops(LoopBuilder):
    """A loop kernel whose blocks are single items: each is a work item's, or a work-group's if it is a long row."""

    def _transposition(self, operands: Any) -> None:
        return None

    def _task(self, spec: LoopSpec, extents: list[int], records: list[int], operands: Any, scratch: int) -> Task:
        task = super()._task(spec._replace(keep=()), extents, records, operands, 0)
        spec = spec._replace(keep=())
        scheduler = cast(DeviceScheduler, self.scheduler)
        wide = scheduler.aligned and scheduler.target.arch == "nvptx64"
        lanes = singles.lanes_for(spec, extents, task.params) if wide else 1
        items = prod(extents[: spec.outer]) // lanes
        task.params[:HEADER] = [items, 1, lanes]
        task.blocks = items
        task.kernel = groups.rows_kernel(spec, extents) if groups.fits(spec, extents) else singles.kernel(spec, lanes)
        return task


class DeviceProduct(ContractionGroup):
    """A contraction on a device, with its epilogue."""

    scheduler: DeviceScheduler

    def _calls(self, windows: list, outs: list, epilogue: Epilogue | None) -> list[Call]:
        node = self.node
        classes = node.attrs[0] if node.op == "product" else "bmn"
        depth = node.inputs[0].shape[len(classes) - classes.count("n") :]
        target = self.scheduler.target
        x, y = windows
        aligned = self.scheduler.aligned
        return [product.call(target, node.inputs[0].dtype, classes, node.shape, depth, x, y, outs, epilogue, aligned)]


class DeviceScheduler(Scheduler):
    """The scheduler, with kernels for a device of kind ``target``; ``aligned`` if all memory begins at multiples of
    ``product.ALIGNMENT``."""

    builder = DeviceLoops
    contractions = DeviceProduct

    def __init__(self, outputs: Sequence[Node], donated: Collection[int], target: Target, aligned: bool) -> None:
        self.target = target
        self.aligned = aligned
        if not target.has_f64:
            self.widest = "float32"
        super().__init__(outputs, donated)

    def view(self, node: Node) -> Window:
        """A window is read where it lies too."""
        if node.op != "strided" or id(node) in self.windows:
            return super().view(node)
        there = self.readable(self.realise(node.inputs[0]))
        if not there.is_contiguous:
            return super().view(node)
        strides, offset = node.attrs
        return Window(there.storage, node.shape, strides, there.offset + offset)


def compile_for(device: Device, outputs: Sequence[Node], donated: Collection[int] = ()) -> DeviceExecutable:
    """Plan ``outputs`` for ``device`` and compile what is new: as ``build.compile``, with the device's buffers."""
    return DeviceExecutable(device, outputs, donated)


def plan(
    outputs: Sequence[Node], target: Target, donated: Collection[int] = (), aligned: bool = True
) -> DeviceScheduler:
    """The kernels of a program for devices of a kind, in order."""
    if not target.has_f64:
        outputs = narrow(outputs)
    scheduler = DeviceScheduler(simplify(expand_contractions(simplify(outputs))), donated, target, aligned)
    scheduler.plan()
    return scheduler


class DeviceKernelInfo(KernelInfo):
    """What is told about one kernel of a device's program."""

    def __init__(self, task: Task, device: Device) -> None:
        super().__init__(task)
        self._device = device

    def ir(self) -> str:
        """LLVM IR of the kernel for the device."""
        return self._device.text(self._kernel)

    def assembly(self) -> str:
        """The driver's language, where it is text (PTX)."""
        if not hasattr(self._device, "assembly"):
            raise NotImplementedError(f"the driver of {self._device.name!r} does not show its machine code")
        return self._device.assembly(self._kernel)


class DeviceExecutable:
    """A compiled program on a device: ``run`` it with buffers of that device.

    Attributes:
        kernels: one ``KernelInfo`` for each kernel, in order.
    """

    def __init__(
        self, device: Device, outputs: Sequence[Node], donated: Collection[int] = (), aligned: bool = True
    ) -> None:
        self.device = device
        self._loose: DeviceExecutable | None = None
        self._program = (outputs, donated) if aligned else None
        scheduler = plan(outputs, device.target, donated, aligned)
        tasks = drop_dead(scheduler.tasks)
        for position, storage in enumerate(scheduler.results):
            storage.index = position
        tasks = put_off(tasks, scheduler.donated)
        take_over(tasks, scheduler.donated)
        self.kernels: list[KernelInfo] = [DeviceKernelInfo(task, device) for task in tasks]
        codes = device.load([task.kernel for task in tasks])
        self._launches = device.sequence(
            [(code, _words(task.params), task.blocks, task.scratch) for code, task in zip(codes, tasks)]
        )
        offsets, self.arena_bytes = plan_arena(tasks)
        self._places = scheduler.scalar_places
        self._results = [storage.slot for storage in scheduler.results]
        self._table = array("Q", bytes(8 * len(scheduler.storages)))
        self._given: list[tuple[int, int]] = []  # table slot and number of each input, and of each taken over
        self._made: list[tuple[int, int]] = []  # table slot and bytes of each new output
        self._temporaries: list[tuple[int, int]] = []  # table slot and place in the arena
        self._numbers = -1
        for storage in scheduler.storages:
            if storage.kind == "input":
                self._given.append((storage.slot, storage.index))
            elif storage.takes is not None:
                self._given.append((storage.slot, storage.takes.index))
            elif storage.kind == "output":
                self._made.append((storage.slot, storage.nbytes))
            elif storage.kind == "temp":
                self._temporaries.append((storage.slot, offsets.get(storage, 0)))
            else:
                self._numbers = storage.slot

    def run(self, inputs: Sequence[Any], scalars: Sequence[float | int] = ()) -> list[Any]:
        """Buffers with the outputs: new ones, or donated inputs that were written over.

        Where an input is a window that begins anywhere, a form of the program without wide accesses runs.
        """
        device = self.device
        if self._program is not None:
            for buffer in inputs:
                if buffer.ptr % product.ALIGNMENT:
                    if self._loose is None:
                        self._loose = DeviceExecutable(device, *self._program, aligned=False)
                    return self._loose.run(inputs, scalars)
        held = {slot: inputs[index] for slot, index in self._given}
        for slot, nbytes in self._made:
            held[slot] = device.allocate(nbytes)
        if self._numbers >= 0:
            held[self._numbers] = device.upload(self._scalars(scalars))
        table = array("Q", self._table)
        for slot, buffer in held.items():
            device.use(buffer)
            table[slot] = buffer.ptr
        if self.arena_bytes:
            arena = device.allocate(self.arena_bytes)
            for slot, offset in self._temporaries:
                table[slot] = arena.ptr + offset
        self._launches.run(table.tobytes())
        return [held[slot] for slot in self._results]

    def _scalars(self, scalars: Sequence[float | int]) -> bytes:
        data = bytearray(8 * len(self._places))
        for (index, kind), place in self._places.items():
            word = array("q", [int(scalars[index])]) if kind == "int64" else array(_CODES[kind], [scalars[index]])
            data[8 * place : 8 * place + word.itemsize] = word.tobytes()
        return bytes(data)


_CODES = {"float64": "d", "float32": "f"}


def _words(values: Sequence[int]) -> bytes:
    return array("Q", [value & 0xFFFFFFFFFFFFFFFF for value in values]).tobytes()
