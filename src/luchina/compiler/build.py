"""``compile``: a primitive graph to something that runs."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence

from luchina.compiler import jit
from luchina.compiler.attention.plan import choose_layouts
from luchina.compiler.memory import drop_dead, plan_arena, put_off, take_over
from luchina.compiler.prims import Node
from luchina.compiler.recompute import recompute
from luchina.compiler.schedule import Scheduler
from luchina.compiler.simplify import simplify
from luchina.compiler.task import Task
from luchina.runtime.buffers import GUARDED, Buffer, allocate
from luchina.runtime.program import KernelCall, Program


def compile(outputs: Sequence[Node], donated: Collection[int] = ()) -> Executable:
    """Plan ``outputs`` and compile what is new; see ``docs/architecture.md``."""
    scheduler = Scheduler(choose_layouts(simplify(outputs)), donated)
    if (again := recompute(scheduler)) is not None:
        scheduler = Scheduler(again.outputs, donated, again.copies)
    scheduler.plan()
    return Executable(scheduler)


SMALL_ARENA = 1 << 16  # bytes of an arena that may be any block of its size


class KernelInfo:
    """What is told about one kernel of a program.

    Attributes:
        name: the kernel's symbol.
        ops: the primitives that were fused into it.
        bytes_read, bytes_written, flops: its work in one run.
        nanoseconds: time of the last run, if that run was profiled.
    """

    def __init__(self, task: Task) -> None:
        self.name = task.kernel.name
        self.ops = task.ops
        self.bytes_read = task.nbytes_read
        self.bytes_written = task.nbytes_written
        self.flops = task.flops
        self.blocks = task.blocks
        self.nanoseconds: int | None = None
        self._kernel = task.kernel

    def ir(self) -> str:
        """LLVM IR of the kernel for this machine."""
        return jit.kernel_ir(self._kernel)

    def assembly(self) -> str:
        """Assembly of the kernel for this machine."""
        return jit.kernel_assembly(self._kernel)

    def __repr__(self) -> str:
        return f"<{self.name}: {' '.join(self.ops)}; {self.bytes_read}+{self.bytes_written} bytes, {self.flops} flops>"


class Executable:
    """A compiled program: run it as often as you like, with buffers of the shapes that it was planned for.

    Attributes:
        kernels: one ``KernelInfo`` for each kernel, in order.
        profiling: when True, each run takes the time of every kernel.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        tasks = drop_dead(scheduler.tasks)
        for position, storage in enumerate(scheduler.results):
            storage.index = position
        tasks = put_off(tasks, scheduler.donated)
        take_over(tasks, scheduler.donated)
        self.kernels = [KernelInfo(task) for task in tasks]
        self.profiling = False
        self.recorded: list[str] = []  # names of the operations that were lowered, for ``explain``
        addresses = jit.load([task.kernel for task in tasks])
        calls = [
            KernelCall(address, task.params, task.blocks, task.scratch, task.cost)
            for address, task in zip(addresses, tasks)
        ]
        self._program = Program(calls, len(scheduler.storages))
        offsets, self.arena_bytes = plan_arena(tasks) if not GUARDED else ({}, 0)
        self._outputs: list[tuple[int, int]] = []
        self._taken: list[tuple[int, int]] = []
        self._inputs: list[tuple[int, int]] = []
        self._temps: list[tuple[int, int]] = []
        self._table = [0] * len(scheduler.storages)
        self._placed = 0, self._table  # where the arena lay in the last run, and the table with the temporaries there
        self._results: list[int] = [storage.slot for storage in scheduler.results]
        self._scalars_slot = -1
        for storage in scheduler.storages:
            if storage.kind == "input":
                self._inputs.append((storage.slot, storage.index))
            elif storage.takes is not None:
                self._taken.append((storage.slot, storage.takes.index))
            elif storage.kind == "output" or (GUARDED and storage.kind == "temp"):
                self._outputs.append((storage.slot, storage.nbytes))
            elif storage.kind == "temp":
                self._temps.append((storage.slot, offsets.get(storage, 0)))
            else:
                self._scalars_slot = storage.slot
                self._scalars = _Scalars(scheduler.scalar_places)

    def run(self, inputs: Sequence[Buffer], scalars: Sequence[float | int] = ()) -> list[Buffer]:
        """Buffers with the outputs: new ones, or donated inputs that were written over.

        ``inputs[i]`` is what ``prims.input(i, …)`` stands for.
        """
        arena = None
        if self.arena_bytes:
            size = self.arena_bytes
            arena = allocate(size) if size < SMALL_ARENA else allocate(size, spare=8)
            start, table = self._placed
            if start != arena.ptr:  # the same memory as in the last run, mostly
                start, table = arena.ptr, self._table.copy()
                for slot, offset in self._temps:
                    table[slot] = start + offset
                self._placed = start, table
            table = table.copy()
        else:
            table = self._table.copy()
        for slot, index in self._inputs:
            table[slot] = inputs[index].ptr
        buffers = {}
        for slot, nbytes in self._outputs:
            buffer = buffers[slot] = allocate(nbytes)
            table[slot] = buffer.ptr
        for slot, index in self._taken:
            buffer = buffers[slot] = inputs[index]
            table[slot] = buffer.ptr
        if self._scalars_slot >= 0:
            table[self._scalars_slot] = self._scalars.set(scalars)
        if self.profiling:
            for kernel, time in zip(self.kernels, self._program.run_profiled(table), strict=True):
                kernel.nanoseconds = time
        else:
            self._program.run(table)
        return [buffers[slot] for slot in self._results]


class _Scalars:
    """The run-time scalars in memory, each as float64, as int64, or as both, whichever the kernels read."""

    def __init__(self, places: dict[tuple[int, str], int]) -> None:
        self._places = [(place, index, held == "float64") for (index, held), place in places.items()]
        self._floats = (ctypes.c_double * len(places))()
        self._integers = (ctypes.c_int64 * len(places)).from_buffer(self._floats)
        self._address = ctypes.addressof(self._floats)

    def set(self, scalars: Sequence[float | int]) -> int:
        """Write them; gives their address."""
        for place, index, is_float in self._places:
            if is_float:
                self._floats[place] = scalars[index]
            else:
                self._integers[place] = int(scalars[index])
        return self._address
