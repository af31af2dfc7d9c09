"""``compile``: a primitive graph to something that runs."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from typing import NamedTuple

from luchina.compiler import jit
from luchina.compiler.attention.plan import choose_layouts
from luchina.compiler.memory import drop_dead, plan_arena, put_off, take_over
from luchina.compiler.prims import Node
from luchina.compiler.recompute import recompute
from luchina.compiler.schedule import Scheduler
from luchina.compiler.simplify import simplify
from luchina.compiler.task import Task
from luchina.dispatch.exchange import Exchangeable
from luchina.runtime.buffers import GUARDED, Buffer, allocate
from luchina.runtime.program import KernelCall, Program


def compile(outputs: Sequence[Node], donated: Collection[int] = ()) -> Executable:
    """Plan ``outputs`` and compile what is new; see ``docs/architecture.md``."""
    scheduler = Scheduler(choose_layouts(simplify(outputs)), donated)
    if (again := recompute(scheduler)) is not None:
        scheduler = Scheduler(again.outputs, donated, again.copies)
    scheduler.plan()
    return Executable(scheduler)


LONG = 20_000  # estimated nanoseconds from which on other Python threads go on while a program runs
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
        # The run-time scalars, each as float64, as int64, or as both, whichever the kernels read.
        places = scheduler.scalar_places
        self._floats = (ctypes.c_double * len(places))()
        self._integers = (ctypes.c_int64 * len(places)).from_buffer(self._floats)
        inputs: list[int] = []
        outputs: list[int] = []
        taken: list[int] = []
        temporaries: list[int] = []
        scalars, codes = -1, {}
        for storage in scheduler.storages:
            if storage.kind == "input":
                inputs += storage.slot, storage.index
            elif storage.takes is not None:
                codes[storage.slot] = -1 - storage.takes.index
                taken += storage.slot, storage.takes.index
            elif storage.kind == "output" or (GUARDED and storage.kind == "temp"):
                codes[storage.slot] = len(outputs) // 2
                outputs += storage.slot, storage.nbytes
            elif storage.kind == "temp":
                temporaries += storage.slot, offsets.get(storage, 0)
            else:
                scalars = storage.slot
        self._plan = Plan(
            slots=len(scheduler.storages),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            taken=tuple(taken),
            temporaries=tuple(temporaries),
            arena=self.arena_bytes,
            scalars=scalars,
            places=tuple(n for (index, held), place in places.items() for n in (place, index, int(held == "float64"))),
            numbers=ctypes.addressof(self._floats),
            calls=self._program.address,
            kernels=len(calls),
            scratch=self._program.scratch,
            results=tuple(codes[storage.slot] for storage in scheduler.results),
            long=sum(task.cost for task in tasks) > LONG,
            executable=self,
        )

    def run(self, inputs: Sequence[Buffer], scalars: Sequence[float | int] = ()) -> list[Buffer]:
        """Buffers with the outputs: new ones, or donated inputs that were written over.

        ``inputs[i]`` is what ``prims.input(i, …)`` stands for.
        """
        if self.profiling:
            return self.run_by_python(inputs, scalars)
        return execute(self._plan, list(inputs), list(scalars))

    def run_by_python(self, inputs: Sequence[Buffer], scalars: Sequence[float | int]) -> list[Buffer]:
        """``run``, which also takes the kernels' times if it is asked to."""
        plan = self._plan
        table = [0] * plan.slots
        made = [allocate(nbytes) for nbytes in plan.outputs[1::2]]
        for slot, buffer in zip(plan.outputs[::2], made):
            table[slot] = buffer.ptr
        for pairs in (plan.inputs, plan.taken):
            for slot, index in zip(pairs[::2], pairs[1::2]):
                table[slot] = inputs[index].ptr
        if plan.arena:
            block = arena(plan.arena)
            for slot, offset in zip(plan.temporaries[::2], plan.temporaries[1::2]):
                table[slot] = block.ptr + offset
        if plan.scalars >= 0:
            table[plan.scalars] = plan.numbers
            for place, index, is_float in zip(plan.places[::3], plan.places[1::3], plan.places[2::3]):
                if is_float:
                    self._floats[place] = scalars[index]
                else:
                    self._integers[place] = int(scalars[index])
        if self.profiling:
            for kernel, time in zip(self.kernels, self._program.run_profiled(table), strict=True):
                kernel.nanoseconds = time
        else:
            self._program.run(table)
        return [made[code] if code >= 0 else inputs[-1 - code] for code in plan.results]


class Plan(NamedTuple):
    """What a run needs to know, in numbers.

    Attributes
        slots: entries of the table of pointers that the kernels are given.
        inputs, taken: pairs of an entry and the number of an input: read only, and written over as a result.
        outputs: pairs of an entry and its bytes.
        temporaries: pairs of an entry and its offset in the arena of ``arena`` bytes.
        scalars: the entry of the run-time scalars, or -1.
        places: triples of a scalar's place in the memory at ``numbers``, its number, and whether it is held as float64.
        calls, kernels, scratch: the address of the kernels' calls, how many there are, and what memory a thread needs.
        results: where each result is: number i of the new buffers, or ~i of the inputs.
        long: other Python threads go on meanwhile.
        executable: whose plan it is.
    """

    slots: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    taken: tuple[int, ...]
    temporaries: tuple[int, ...]
    arena: int
    scalars: int
    places: tuple[int, ...]
    numbers: int
    calls: int
    kernels: int
    scratch: int
    results: tuple[int, ...]
    long: bool
    executable: Executable


def arena(nbytes: int) -> Buffer:
    """Memory for the temporaries of one run."""
    return allocate(nbytes) if nbytes < SMALL_ARENA else allocate(nbytes, spare=1.5)


def _execute(plan: Plan, inputs: list[Buffer], scalars: list[float | int]) -> list[Buffer]:
    """Run a plan: the results' buffers."""
    return plan.executable.run_by_python(inputs, scalars)


execute = Exchangeable(_execute)  # until ``luchina.dispatch`` has compiled it
