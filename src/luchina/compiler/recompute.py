"""Values computed a second time where that is cheaper than keeping them.

What the forward pass makes and the backward pass reads again lies in memory in between, and all of it at once between
the two. Where such a value is a cheap function of others that are kept anyway (a GELU of its input, a normalised row of
the row and its moments), its late readers read a *copy* of the expression instead, which is computed when they are
near: the copy's kernel waits for what they wait for.

An order of single values stands for that of kernels here: an estimate, on which no result depends.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.body import COST
from luchina.compiler.prims import MOVEMENT, POINTWISE, Node
from luchina.compiler.task import nbytes

if TYPE_CHECKING:
    from luchina.compiler.schedule import Scheduler

# A program that needs less for its temporaries is left as it is: they stay in cache.
WORTH_BYTES = 8 << 20

# How many values that can be computed next are compared.
LOOK_AHEAD = 16

# A value below this part of the whole is kept.
SMALL_PART = 256

# Most of what an element may cost to compute again, in units of ``COST``.
MAX_COST = 64

# Of what is read for it, in its own bytes.
MAX_READ = 2.1

# Of what has to be kept for longer instead.
MAX_INSTEAD = 0.6


class Recomputed(NamedTuple):
    """The graph with copies; ``copies`` are never kept for several readers' sake."""

    outputs: list[Node]
    copies: frozenset[int]


def recompute(scheduler: Scheduler) -> Recomputed | None:
    """The scheduler's graph with copies of what is not worth keeping; None where nothing is gained."""
    if sum(nbytes(node) for node in scheduler.order if id(node) in scheduler.roots) < WORTH_BYTES:
        return None
    timeline = _Timeline(scheduler)
    if timeline.most < WORTH_BYTES:
        return None
    dropped = _choose(scheduler, timeline)
    return _rewrite(scheduler, timeline, dropped) if dropped else None


class _Timeline:
    """When each realised node is made and read. At the ``divide`` most bytes of what might be computed again lie idle;
    ``most`` is the largest sum of what is alive at once."""

    def __init__(self, scheduler: Scheduler) -> None:
        roots = _likely_order(scheduler)
        self.made = {id(node): i for i, node in enumerate(roots)}
        self.last: dict[int, int] = {}
        self.results = _results(scheduler)
        alive, idle = [0] * (len(roots) + 2), [0] * (len(roots) + 2)
        for i, node in enumerate(roots):
            key = id(node)
            if key in self.results:
                self.last[key] = len(roots)
                continue
            touched = [i, *sorted(self.made[reader] for reader in scheduler.readers[key])]
            self.last[key] = touched[-1]
            alive[i] += nbytes(node)
            alive[touched[-1] + 1] -= nbytes(node)
            if node.op in POINTWISE and touched[-1] > i:
                start = max(range(len(touched) - 1), key=lambda k: touched[k + 1] - touched[k])
                idle[touched[start]] += nbytes(node)
                idle[touched[start + 1]] -= nbytes(node)
        taken, lying = list(accumulate(alive)), list(accumulate(idle))
        self.most = max(taken)
        self.divide = lying.index(max(lying))

    def crosses(self, node: Node) -> bool:
        """Whether a realised node is kept over the divide."""
        return self.made[id(node)] <= self.divide < self.last[id(node)]


def _likely_order(scheduler: Scheduler) -> list[Node]:
    """The roots in an order like that of their kernels: among those that can be computed, the one that frees most
    memory, else the first."""
    roots = [node for node in scheduler.order if id(node) in scheduler.roots]
    number = {id(node): i for i, node in enumerate(roots)}
    results = _results(scheduler)
    reads = [[number[source] for source in scheduler.reads[id(node)].roots] for node in roots]
    size = [0 if id(node) in results else nbytes(node) for node in roots]
    left = [len(scheduler.readers[id(node)]) for node in roots]
    waiting = [len(sources) for sources in reads]
    ready = [i for i, count in enumerate(waiting) if not count]
    order: list[Node] = []
    while ready:
        best, chosen = 0, ready[0]
        for i in ready[:LOOK_AHEAD]:
            freed = sum([size[source] for source in reads[i] if left[source] == 1]) - size[i]
            if freed > best:
                best, chosen = freed, i
        del ready[bisect_left(ready, chosen)]
        order.append(roots[chosen])
        for source in reads[chosen]:
            left[source] -= 1
        for reader in scheduler.readers[id(roots[chosen])]:
            at = number[reader]
            waiting[at] -= 1
            if not waiting[at]:
                insort(ready, at)
    return order


def _results(scheduler: Scheduler) -> set[int]:
    """ids of what is returned, under whatever shape."""
    found = set()
    for node in scheduler.outputs:
        found.add(id(node))
        while node.op in MOVEMENT:
            node = node.inputs[0]
            found.add(id(node))
    return found


def _choose(scheduler: Scheduler, timeline: _Timeline) -> dict[int, Node]:
    """What is dropped after its early readers, by id."""
    dropped: dict[int, Node] = {}
    prolonged: set[int] = set()
    for node in scheduler.order:
        key = id(node)
        if key not in scheduler.roots or key in timeline.results or node.op not in POINTWISE:
            continue
        if not timeline.crosses(node) or nbytes(node) * SMALL_PART < timeline.most:
            continue
        inside, sources = expression(node, scheduler.roots, dropped)
        cost = sum(COST.get(n.op, 1) for n in inside if n.op in POINTWISE)
        # What has to be kept longer instead: moments of rows, or the 16 bits that a float32 value was made of.
        ending = [s for s in sources if s.op != "input" and timeline.last[id(s)] <= timeline.divide]
        instead = sum(nbytes(s) for s in ending if id(s) not in prolonged)
        plain = all(n.op in POINTWISE or n.op in _MOVES for n in inside)
        read = sum(min(nbytes(s), nbytes(node)) for s in sources)
        if plain and instead <= MAX_INSTEAD * nbytes(node) and cost <= MAX_COST and read <= MAX_READ * nbytes(node):
            dropped[key] = node
            prolonged.update(map(id, ending))
    return dropped


_MOVES = (MOVEMENT - {"strided"}) | {"const", "scalar", "iota"}


def expression(node: Node, roots: set[int], through: Mapping[int, Node]) -> tuple[list[Node], list[Node]]:
    """The nodes that computing ``node`` takes, and what they read from memory; those to go ``through`` are not read."""
    inside: list[Node] = []
    sources: list[Node] = []
    seen = {id(node)}
    stack = [node]
    while stack:
        at = stack.pop()
        if at is not node and (at.op == "input" or (id(at) in roots and id(at) not in through)):
            sources.append(at)
            continue
        inside.append(at)
        for source in at.inputs:
            if id(source) not in seen:
                seen.add(id(source))
                stack.append(source)
    return inside, sources


def _rewrite(scheduler: Scheduler, timeline: _Timeline, dropped: dict[int, Node]) -> Recomputed:
    """The graph in which everything after the divide reads copies of what was dropped."""
    roots = scheduler.roots
    copies: dict[int, Node] = {}
    late: dict[int, Node] = {}  # each node as it is read after the divide
    made: set[int] = set()

    def copy(node: Node) -> Node:
        if node.op == "input" or (id(node) in roots and id(node) not in dropped):
            return late[id(node)]
        known = copies.get(id(node))
        if known is None:
            known = copies[id(node)] = Node(
                node.op, tuple(copy(i) for i in node.inputs), node.shape, node.dtype, node.attrs
            )
            made.add(id(known))
        return known

    for node in scheduler.order:
        key = id(node)
        if key in dropped:
            late[key] = copy(node)
        elif key in roots and timeline.made[key] <= timeline.divide:
            late[key] = node
        elif any(late[id(i)] is not i for i in node.inputs):
            late[key] = Node(node.op, tuple(late[id(i)] for i in node.inputs), node.shape, node.dtype, node.attrs)
        else:
            late[key] = node
    return Recomputed([late[id(node)] for node in scheduler.outputs], frozenset(made))
