"""``compile``: a primitive graph to something that runs."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler import jit, plans
from luchina.compiler.plans import Call, Layout
from luchina.compiler.prims import Node
from luchina.dispatch.exchange import Exchangeable
from luchina.runtime import executor
from luchina.runtime.buffers import Buffer, allocate
from luchina.runtime.program import KernelCall, Program

if TYPE_CHECKING:
    from luchina.compiler.task import Task


def compile(outputs: Sequence[Node], donated: Collection[int] = (), keep: bool = False) -> Executable:
    """Plan ``outputs`` and compile what is new; see ``docs/architecture.md``. With ``keep`` the plan is looked for on
    disk first, and kept there."""
    key = plans.digest(outputs, donated) if keep else None
    if key is not None and (found := plans.load(key)) is not None:
        try:
            return Executable(*found)
        except plans.NotKept:
            pass
    from luchina.compiler.planner import plan  # a process that finds its plans does without

    calls, layout = plan(outputs, donated)
    executable = Executable(calls, layout)
    if key is not None:
        plans.store(key, calls, layout)
    return executable


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

    def __init__(self, task: Task | Call) -> None:
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

    def __init__(self, calls: Sequence[Call], layout: Layout) -> None:
        # What runs programs comes with them: where nothing is stored, both are compiled at once.
        addresses = jit.load([*[call.kernel for call in calls], executor.kernel()])
        self.kernels = [KernelInfo(call) for call in calls]
        self.profiling = False
        self.recorded: list[str] = []  # names of the operations that were lowered, for ``explain``
        self.arena_bytes = layout.arena
        self._program = Program(
            [KernelCall(address, *call[1:5]) for address, call in zip(addresses, calls)], layout.slots
        )
        self._floats = (ctypes.c_double * (len(layout.places) // 3))()
        self._integers = (ctypes.c_int64 * len(self._floats)).from_buffer(self._floats)
        self.plan = Plan(
            **layout._asdict(),
            numbers=ctypes.addressof(self._floats),
            calls=self._program.address,
            kernels=len(calls),
            scratch=self._program.scratch,
            long=sum(call.cost for call in calls) > LONG,
            executable=self,
        )

    def run(self, inputs: Sequence[Buffer], scalars: Sequence[float | int] = ()) -> list[Buffer]:
        """Buffers with the outputs: new ones, or donated inputs that were written over.

        ``inputs[i]`` is what ``prims.input(i, …)`` stands for.
        """
        if self.profiling:
            return self.run_by_python(inputs, scalars)
        return execute(self.plan, list(inputs), list(scalars))

    def run_by_python(self, inputs: Sequence[Buffer], scalars: Sequence[float | int]) -> list[Buffer]:
        """``run``, which also takes the kernels' times if it is asked to."""
        plan = self.plan
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
    """What a run needs to know, in numbers: a ``Layout``, and

    Attributes
        numbers: the address of the run-time scalars.
        calls, kernels, scratch: the address of the kernels' calls, how many there are, and what memory a thread needs.
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
