"""From the primitive graph to a plan: every pass of the compiler, in order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from luchina.compiler.attention.plan import choose_layouts
from luchina.compiler.memory import drop_dead, plan_arena, put_off, take_over
from luchina.compiler.plans import Call, Layout
from luchina.compiler.prims import Node
from luchina.compiler.recompute import recompute
from luchina.compiler.schedule import Scheduler
from luchina.compiler.simplify import simplify
from luchina.runtime.buffers import GUARDED


def plan(outputs: Sequence[Node], donated: Collection[int]) -> tuple[list[Call], Layout]:
    """The kernels' calls of ``outputs``, and where everything lies; ``donated`` as in ``build.compile``."""
    scheduler = Scheduler(choose_layouts(simplify(outputs)), donated)
    if (again := recompute(scheduler)) is not None:
        scheduler = Scheduler(again.outputs, donated, again.copies)
    scheduler.plan()
    tasks = drop_dead(scheduler.tasks)
    for position, storage in enumerate(scheduler.results):
        storage.index = position
    tasks = put_off(tasks, donated)
    take_over(tasks, donated)
    offsets, arena_bytes = plan_arena(tasks) if not GUARDED else ({}, 0)
    inputs: list[int] = []
    made: list[int] = []
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
            codes[storage.slot] = len(made) // 2
            made += storage.slot, storage.nbytes
        elif storage.kind == "temp":
            temporaries += storage.slot, offsets.get(storage, 0)
        else:
            scalars = storage.slot
    # The run-time scalars, each as float64, as int64, or as both, whichever the kernels read.
    places = scheduler.scalar_places
    layout = Layout(
        slots=len(scheduler.storages),
        inputs=tuple(inputs),
        outputs=tuple(made),
        taken=tuple(taken),
        temporaries=tuple(temporaries),
        arena=arena_bytes,
        scalars=scalars,
        places=tuple(n for (index, held), place in places.items() for n in (place, index, int(held == "float64"))),
        results=tuple(codes[storage.slot] for storage in scheduler.results),
    )
    calls = [
        Call(t.kernel, t.params, t.blocks, t.scratch, t.cost, t.ops, t.flops, t.nbytes_read, t.nbytes_written)
        for t in tasks
    ]
    return calls, layout
