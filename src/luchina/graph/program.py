"""From recorded Values to a run: program cache, execution, and which Values are computed.

``realize`` computes Values. Everything that is still pending and that somebody can still look at is computed in the
same
program, so that a training step (forward, gradients, update) is one program. A program is found by the keys of its
results
(see ``value.Recording``): a step that was seen before costs a dictionary look-up and one native call.
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from luchina.devices import CPU, device, present
from luchina.dispatch.exchange import Exchangeable
from luchina.dtypes import on_default_change
from luchina.graph.value import OUT, PICK, Pack, Value, forget_keys, key_of, recording, too_large
from luchina.runtime.buffers import Buffer, NoMemory, empty_cache, no_memory

if TYPE_CHECKING:
    from luchina.compiler.prims import Node
    from luchina.graph.update import Update

PLAIN_LIMIT = 600  # the same where none of them needs a gradient: a loop of steps becomes runs of one program
PENDING_LIMIT = 4000  # holders watched since the last run before everything is run anyway
A_GRADIENT = 3  # holders of a gradient, at the most: itself, its sum with an older one, what that is written to


class Program(NamedTuple):
    """A compiled program, and which of the epoch's leaves it reads: memory, numbers, packs of both. ``plan`` is its
    executable's, where running it is all there is to do."""

    executable: Any  # of ``compiler.build``, or ``Parts`` of several devices
    buffers: tuple[int, ...]
    scalars: tuple[int, ...]
    packs: tuple[int, ...] = ()
    plan: Any = None


class Run(NamedTuple):
    """One execution of a program, as observers see it."""

    targets: list[Value]
    program: Program
    new: bool


_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A child has only the thread that forked: it waits for the run of another, so that nothing is left half done.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_programs: dict[tuple, Program] = {}
observers: list[Callable[[Run], None]] = []  # told of every run; ``luchina explain`` listens here
statistics = {"runs": 0, "programs": 0}
profiling = False  # take the time of every kernel of programs compiled from now on; ``luchina explain`` sets it

# How a Value that stands for others is opened when a program is compiled; the autograd package sets it for gradients.
expansions: dict[Any, Callable[[Value], Value]] = {}
before_saving: list[Callable[[], None]] = []  # brings ``Value.freed`` up to date


def watch(holder: Any) -> None:
    """Remember an object whose ``.value`` is pending: it is computed at the next run if it is still alive then."""
    if too_large and holder.value.key in too_large:
        raise no_memory(holder.value.size * holder.value.dtype.itemsize)
    watched = recording.watched
    watched.append(weakref.ref(holder))
    if holder.value.needs_grad:
        recording.graded = len(watched)
    if len(watched) - recording.graded > PLAIN_LIMIT or len(watched) > PENDING_LIMIT:
        realize(())


def make_room(count: int) -> bool:
    """Let ``count`` more holders be watched with no run among them: the gradients of a loss are recorded together.
    False if there are too many of them."""
    watched = recording.watched
    if len(watched) + count > PENDING_LIMIT:
        watched[:] = [reference for reference in watched if reference() is not None]
    recording.graded = len(watched) + count
    return len(watched) + count <= PENDING_LIMIT


def pending_count() -> int:
    """How many holders were watched since the last run; some may be dead."""
    return len(recording.watched)


def _realize_all(values: Iterable[Value]) -> None:
    """Compute ``values`` and whatever else is pending and alive."""
    with _lock:
        _realize(values)


realize = Exchangeable(_realize_all)  # until ``luchina.dispatch`` has compiled it


def _end_of_default() -> None:
    """The default dtype changes, which no key knows: what integers become in floating operations depends on it."""
    realize(())
    forget_keys()


on_default_change.append(_end_of_default)


def _realize(values: Iterable[Value]) -> None:
    values = list(values)
    targets = gather(values)
    updates = recording.updates
    if updates and present.accelerators:
        targets, updates = _of_one_device(targets, updates)
    if targets or updates:
        recording.updates = []  # before they are done: an interrupt must not leave them to be done twice
        try:
            _run(targets, updates)
        except NoMemory:
            recording.updates = updates
            empty_cache()  # the compiler needs some too
            wanted = [value for value in values if value.buffer is None]
            if not wanted or len(wanted) == len(targets):
                raise
            _run(wanted)  # what nobody has asked for yet may wait for memory
            return
    recording.watched.clear()
    recording.graded = 0
    recording.settle()


def _of_one_device(targets: list[Value], updates: list[Update]) -> tuple[list[Value], list[Update]]:
    """Targets and updates of a single device; those of others are run now."""
    where = updates[-1].value.device
    apart = [update for update in updates if update.value.device is not where]
    others = [value for value in targets if (value.device or CPU) is not where]
    if others or apart:
        _run(targets if apart else others)  # before anything that they read is written over
    recording.updates = updates = [*apart, *(update for update in updates if update.value.device is where)]
    for update in apart:
        _run([], [update])
        recording.updates = updates = updates[1:]
    return [value for value in targets if value.buffer is None], updates


def _gather(values: list[Value]) -> list[Value]:
    """The pending Values of everything that was watched and is alive, then ``values``, each once."""
    targets: dict[Value, None] = {}
    for reference in recording.watched:
        holder = reference()
        if holder is not None and holder.value.buffer is None:
            targets[holder.value] = None
    for value in values:
        if value.buffer is None:
            targets[value] = None
    return list(targets)


gather = Exchangeable(_gather)  # until ``luchina.dispatch`` has compiled it


def realize_only(value: Value) -> None:
    """Compute one Value and what it needs, leaving everything else pending: for an index that must be checked now."""
    if value.buffer is None:
        with _lock:
            _run([value])


def walk(targets: Sequence[Value], known: frozenset[Value] = frozenset()) -> tuple[list[Value], list[Value]]:
    """Pending Values that the targets need, inputs first, and the leaves in order of first use; Values that are
    ``known`` count as leaves."""
    order: list[Value] = []
    leaves: list[Value] = []
    done: dict[Value, bool] = {}
    stack = list(reversed(targets))
    while stack:
        value = stack[-1]
        if value in done:
            stack.pop()
            if not done[value]:
                done[value] = True
                order.append(value)
            continue
        if value.buffer is not None or value.number is not None or value in known:
            done[value] = True
            leaves.append(value)
            stack.pop()
            continue
        assert value.op is not None, f"{value!r} was let go before it was computed"
        done[value] = False
        expand = expansions.get(value.op)
        for source in (expand(value),) if expand else reversed(value.inputs):
            if source not in done:
                stack.append(source)
    return order, leaves


def _is_open(value: Value) -> bool:
    """Whether backward may still go through a Value. One of several results is done with when the operation is."""
    return value.needs_grad and not value.freed and not (value.op is PICK and value.inputs[0].freed)


def _saved(targets: list[Value]) -> list[Value]:
    """Pending Values that a later backward will read: they are results of this program too."""
    for value in targets:
        if value.needs_grad and _is_open(value):
            break
    else:
        return []
    for update in before_saving:
        update()
    if not any(_is_open(v) for v in targets):
        return []
    have = set(targets)
    extra = []
    for value in walk(targets)[0]:
        if not value.needs_grad or value.freed or value.op is None:
            continue
        for source, reads in zip(value.inputs, value.op.reads):
            if not source.needs_grad:
                continue
            for number in reads:
                if number >= len(value.inputs):
                    continue
                read = value if number == OUT else value.inputs[number]
                if present.accelerators and read.device is None:
                    continue  # made of numbers alone: it is made again on whichever device reads it
                if read.buffer is None and read.number is None and read not in have:
                    have.add(read)
                    extra.append(read)
    return extra


def _run(targets: list[Value], updates: list[Update] | None = None) -> None:
    updates = updates or []
    saved = _saved(targets)
    if saved:
        targets = targets + saved
    key = signature(targets, updates)
    program = _programs.get(key)
    new = program is None
    if program is None:
        program = _compile(targets, updates)
        if program is None:  # another thread computed something of this after it was recorded: it is a leaf by now
            recording.restart()
            key = signature(targets, updates)
            program = _programs.get(key) or _compile(targets, updates)
            assert program is not None, "an expansion read memory of its own"
        _programs[key] = program
        statistics["programs"] += 1
    leaves = recording.leaves
    buffers: list[Any] = [leaves[i].buffer for i in program.buffers]
    scalars: list[Any] = [leaves[i].number for i in program.scalars]
    for i in program.packs:
        pack: Any = leaves[i].buffer
        buffers += pack.buffers
        scalars += pack.numbers
    results = program.executable.run(buffers, scalars)
    statistics["runs"] += 1
    recording.restart()  # first, so that an interrupt among the next lines leaves no key that speaks of pending Values
    fill(targets, results)
    if recording.leaving:
        recording.arrive()
    at = len(targets)
    for update in updates:
        update.finish(results[at : at + len(update.tensors)])
        at += len(update.tensors)
    if observers:
        run = Run(targets, program, new)
        for observer in observers:
            observer(run)


def _fill(targets: list[Value], results: list[Any]) -> None:
    """Values that are computed hold their memory, and nothing else unless backward needs it."""
    for value, buffer in zip(targets, results):
        value.buffer = buffer
        if not value.needs_grad:
            value.op = None
            value.inputs = ()


fill = Exchangeable(_fill)  # until ``luchina.dispatch`` has compiled it


def _signature(targets: Sequence[Value], updates: Sequence[Update]) -> tuple:
    """What a program is found by: the keys of its results, and which leaves are memory that an update writes over."""
    epoch = recording.epoch
    keys = [k if (k := v.key) >= 0 and v.epoch == epoch else key_of(v) for v in targets]
    if not updates:
        return tuple(keys)
    keys += [key_of(update.value) for update in updates]
    places = _written(updates)
    return (*keys, None, *[places.get(id(leaf.buffer)) for leaf in recording.leaves])


signature = Exchangeable(_signature)  # until ``luchina.dispatch`` has compiled it


def _written(updates: Sequence[Update]) -> dict[int, int]:
    """The memory that is written over, by its ``Buffer``'s id: its place among that of all updates."""
    places: dict[int, int] = {}
    for update in updates:
        places.update(zip(map(id, update.value.inputs[0].buffer.buffers), count(len(places))))
    return places


def lower(
    order: Sequence[Value],
    leaves: Sequence[Value],
    targets: Sequence[Value],
    constants: Sequence[Value] = (),
    updates: Sequence[Update] = (),
) -> list[Node]:
    """The primitive graph of recorded Values; buffers and scalars are numbered in the order of ``leaves``, and behind
    them those of the updates' packs. A leaf that is memory of a pack is the pack's."""
    from luchina.compiler import prims

    nodes: dict[Value, Any] = {
        v: prims.const(v.number or 0, v.dtype.name if v.dtype.name != "bool" else "int64") for v in constants
    }
    buffers = scalars = 0
    for value in leaves:
        if value.number is None:
            nodes[value] = prims.input(buffers, value.shape, value.dtype.name)
            buffers += 1
        else:
            nodes[value] = prims.scalar(scalars, value.dtype.name if value.dtype.name != "bool" else "int64")
            scalars += 1
    for update in updates:
        pack = update.value.inputs[0]
        signature, numbers = pack.attrs[0]
        inputs = [prims.input(buffers + k, shape, dtype.name) for k, (shape, dtype) in enumerate(signature)]
        nodes[pack] = inputs, [prims.scalar(scalars + k, "float64") for k in range(numbers)]
        buffers += len(signature)
        scalars += numbers
    if updates:
        places = _written(updates)
        members = [node for update in updates for node in nodes[update.value.inputs[0]][0]]
        for value in recording.leaves:
            place = places.get(id(value.buffer))
            if place is not None:
                nodes[value] = members[place]
    lower_into(nodes, order)
    results = [nodes[v] for v in targets]
    for update in updates:
        results += nodes[update.value]
    return results


def lower_into(nodes: dict[Value, Any], order: Sequence[Value]) -> None:
    """Add the primitives of every Value in ``order`` (inputs first) that has none yet."""
    for value in order:
        if value not in nodes:
            assert value.op is not None
            expand = expansions.get(value.op)
            if expand:
                nodes[value] = nodes[expand(value)]
            else:
                nodes[value] = value.op.lower(*[nodes[s] for s in value.inputs], *value.attrs)


def _compile(targets: list[Value], updates: Sequence[Update] = ()) -> Program | None:
    """``_lowered``, without the garbage collector, which would look at every node of the graph many times."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return _lowered(targets, updates)
    finally:
        if collects:
            gc.enable()


def _lowered(targets: list[Value], updates: Sequence[Update]) -> Program | None:
    """The program of ``targets``; None if their keys speak of Values as pending that are computed by now."""
    from luchina.compiler.build import compile as compile_graph

    order, found = walk([*targets, *[update.value for update in updates]])
    if updates:
        places = _written(updates)
        found = [v for v in found if v.buffer.__class__ is not Pack and id(v.buffer) not in places]
    # Every leaf was counted when it was recorded, but for the numbers that an expansion brought in: they are
    # part of a derivative's formula, the same each time.
    numbers = {leaf: i for i, leaf in enumerate(recording.leaves)}
    leaves = [v for v in found if v in numbers]
    constants = [v for v in found if v not in numbers]
    if any(v.number is None for v in constants):
        return None
    executable: Any = None
    if present.accelerators:
        from luchina.graph import parts

        if parts.elsewhere([*targets, *order]):
            executable = parts.build(targets, order, leaves, constants, updates)
    if executable is None:
        outputs = lower(order, leaves, targets, constants, updates)
        first = sum(1 for v in leaves if v.number is None)
        written = sum(len(update.tensors) for update in updates)
        donated = {first + k: len(targets) + k for k in range(written)}
        executable = compile_graph(outputs, donated, keep=not profiling)
    executable.profiling = profiling
    executable.recorded = [v.op.name for v in order if v.op is not None]
    return Program(
        executable,
        tuple(numbers[v] for v in leaves if v.number is None),
        tuple(numbers[v] for v in leaves if v.number is not None),
        tuple(numbers[update.value.inputs[0]] for update in updates),
        None if profiling else getattr(executable, "plan", None),
    )


_aside: dict[Any, Any] = {}


def run_alone(value: Value) -> Any:
    """The memory of one Value that is made of numbers alone, without touching what is recorded."""
    from luchina.compiler import prims

    op, attrs = value.op, value.attrs
    assert op is not None
    numbers = [source.number for source in value.inputs]
    kinds = tuple([source.dtype.name for source in value.inputs])

    def outputs() -> list[Node]:
        return [op.lower(*[prims.scalar(i, kind) for i, kind in enumerate(kinds)], *attrs)]

    return run_aside((op, attrs, kinds), outputs, [], numbers, value.device or CPU)[0]


def run_aside(
    key: Any,
    outputs: Callable[[], list[Node]],
    inputs: list[Any],
    scalars: Sequence[Any] = (),
    where: device | None = None,
) -> list[Any]:
    """Run a small program of primitives on memory that is there, without touching what is recorded."""
    if where is None:
        where = CPU if inputs[0].__class__ is Buffer else inputs[0].device
    executable = _aside.get((where, key))
    if executable is None:
        if where is CPU:
            from luchina.compiler.build import compile as compile_graph

            executable = compile_graph(outputs())
        else:
            from luchina.graph.parts import DevicePart

            executable = DevicePart(where, outputs())
        _aside[where, key] = executable
    return executable.run(inputs, scalars)


def clear() -> None:
    """Forget every compiled program (their kernels stay with the JIT)."""
    _programs.clear()
    _aside.clear()
