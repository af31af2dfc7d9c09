"""Plans of programs, and the on-disk cache of them: a process that runs what another one ran before plans nothing.

A plan is what scheduling ends with: the kernels' calls, and where in memory everything lies. It is kept beside the
kernels under a digest of the primitive graph and of all that planning depends on otherwise: the compiler's own text,
the target, and this Python (plans are written with ``marshal``).
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from luchina.compiler import jit, prims
from luchina.compiler.kernel import Kernel
from luchina.compiler.prims import Node
from luchina.compiler.target import Target, host
from luchina.runtime import cache
from luchina.runtime.buffers import GUARDED

# Smaller programs are planned as fast as they are found.
WORTH_NODES = 100

# What one process adds to the cache at the most: a script may meet any number of shapes.
MAX_BYTES = 32 << 20


class Call(NamedTuple):
    """One use of a kernel, with what is told about it; see ``task.Task``."""

    kernel: Kernel
    params: list[int]
    blocks: int
    scratch: int
    cost: float
    ops: list[str]
    flops: int
    nbytes_read: int
    nbytes_written: int


class Layout(NamedTuple):
    """Where everything lies.

    Attributes
        slots: entries of the table of pointers that the kernels are given.
        inputs, taken: pairs of an entry and the number of an input: read only, and written over as a result.
        outputs: pairs of an entry and its bytes.
        temporaries: pairs of an entry and its offset in the arena of ``arena`` bytes.
        scalars: the entry of the run-time scalars, or -1.
        places: triples of a scalar's place in memory, its number, and whether it is held as float64.
        results: where each result is: number i of the new buffers, or ~i of the inputs.
    """

    slots: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    taken: tuple[int, ...]
    temporaries: tuple[int, ...]
    arena: int
    scalars: int
    places: tuple[int, ...]
    results: tuple[int, ...]


class NotKept(Exception):
    """A kernel of a plan from the cache is not in the cache itself."""


def digest(outputs: Sequence[Node], donated: Collection[int]) -> bytes | None:
    """What a program's plan is kept under; None for one that is not kept."""
    if GUARDED or cache.directory() is None:
        return None
    order = prims.topological(outputs)
    if len(order) < WORTH_NODES:
        return None
    number = {id(node): i for i, node in enumerate(order)}
    graph = [(n.op, [number[id(i)] for i in n.inputs], n.shape, n.dtype, n.attrs) for n in order]
    given = sorted(donated.items() if isinstance(donated, Mapping) else donated)
    ends = [number[id(node)] for node in outputs]
    return cache.digest("plan", jit.environment(host()), sys.version, repr((graph, ends, given)))


def load(key: bytes) -> tuple[list[Call], Layout] | None:
    """The plan that was kept under ``key``; its kernels can be loaded, but not written again."""
    data = cache.load(key)
    if data is None:
        return None
    names, calls, layout = marshal.loads(data)
    kernels = [Kernel(name, text, _missing) for name, text in names]
    return [Call(kernels[number], *rest) for number, *rest in calls], Layout(*layout)


def store(key: bytes, calls: Sequence[Call], layout: Layout) -> None:
    """Keep a plan for other processes."""
    global _stored
    kernels: dict[str, int] = {}
    names: list[tuple[str, str]] = []
    for call in calls:
        if kernels.setdefault(call.kernel.key, len(kernels)) == len(names):
            names.append((call.kernel.name, call.kernel.key))
    rows = [(kernels[call.kernel.key], *call[1:]) for call in calls]
    data = marshal.dumps((names, rows, tuple(layout)))
    if _stored + len(data) <= MAX_BYTES and not jit.edited() and cache.store(key, data):
        _stored += len(data)


_stored = 0


def _missing(target: Target) -> str:
    raise NotKept
