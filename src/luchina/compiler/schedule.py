"""From the primitive graph to kernels: what becomes a buffer, what is computed inside which loop.

A node is *realised* when it has a buffer of its own; every other node is written into the loops of those that use it.
``Scheduler.tasks`` are in an order in which they can run. Each task is one kernel with its parameters, the buffers it
reads and writes, and what is told about it.
"""

from __future__ import annotations

import bisect
import heapq
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from luchina.compiler import movement, prims
from luchina.compiler.attention.plan import AttentionKernels
from luchina.compiler.body import EXPENSIVE, ITEMSIZE
from luchina.compiler.contract import CONTRACTIONS, ContractionGroup, window_of
from luchina.compiler.group import REDUCTIONS, Group, NeedsMemory
from luchina.compiler.nest import LoopBuilder
from luchina.compiler.prims import MOVEMENT, POINTWISE, Node
from luchina.compiler.recurrence.plan import RecurrenceKernels
from luchina.compiler.tables import TableKernels
from luchina.compiler.task import Storage, Task, Window, contiguous, nbytes

# An inlined expression of more nodes than this, or deeper, gets a buffer in between.
MAX_INLINED = 120

# A shared expression of at most this many nodes over one large operand is computed again by each reader.
MAX_REPEATED = 4

# How many roots that are ready are asked for one that leaves open groups open.
LOOK_AHEAD = 8

# Concatenations of concatenations are written straight into the last one up to this depth.
MAX_NESTED = 16


class Scheduler(TableKernels, AttentionKernels, RecurrenceKernels):
    """Plans one program. Afterwards: ``tasks``, ``storages`` (by table slot) and ``results`` (a storage per output)."""

    builder = LoopBuilder
    contractions = ContractionGroup
    widest = "float64"
    """How run-time numbers that are not whole are handed over."""

    def __init__(
        self, outputs: Sequence[Node], donated: Collection[int] = (), copies: frozenset[int] = frozenset()
    ) -> None:
        self.outputs = list(outputs)
        self.copies = copies
        self.donated = donated
        self.tasks: list[Task] = []
        self.storages: list[Storage] = []
        self.inputs: dict[int, Storage] = {}
        self.windows: dict[int, Window] = {}
        self.order = prims.topological(self.outputs)
        self.scalars: Storage | None = None
        self.scalar_places: dict[tuple[int, str], int] = {}
        self.results: list[Storage] = []
        self.open: dict[Storage, Group] = {}
        self._by_id = {id(node): node for node in self.order}
        self._frozen = 0
        self._failed: set[tuple[int, int, int]] = set()
        self._touching: dict[int, list[Group]] = {}  # by node: groups that compute or read it, some closed by now
        self._changed: dict[Group, None] = {}  # open groups that were joined or read since they were last looked at
        self._nested: dict[int, int] = {}
        self._overwritten: set[int] = set()
        self._attending: dict[int, tuple[Task, dict[str, int]]] = {}
        self._told: dict[int, Window] = {}
        self._uses: Counter[int] = Counter()
        self._users: dict[Storage, set[int]] = {}
        self._seen = 0
        self.groups = 0
        self.roots = self._choose_roots()
        self.readers = self._find_readers()
        self.reads = self._find_reads()

    # ---- buffers

    def storage(self, kind: str, size: int, dtype: str, index: int = 0) -> Storage:
        made = Storage(kind, len(self.storages), size * ITEMSIZE[dtype], dtype, index)
        self.storages.append(made)
        return made

    def scalar_place(self, index: int, held: str) -> tuple[Storage, int]:
        """Where run-time scalar ``index`` lies as ``widest`` or int64: the storage and the number of its 8 bytes."""
        if self.scalars is None:
            self.scalars = self.storage("scalars", 0, "int64")
        place = self.scalar_places.setdefault((index, held), len(self.scalar_places))
        self.scalars.nbytes = 8 * len(self.scalar_places)
        return self.scalars, place

    def temporary(self, nbytes: int) -> int:
        """Table entry of memory that one task leaves for the next."""
        return self.storage("temp", nbytes, "uint8").slot

    def view(self, node: Node) -> Window:
        """``node`` as a strided view on memory that can be read now."""
        return window_of(self, node)

    # ---- the decision

    def _choose_roots(self) -> set[int]:
        """ids of the nodes that are members of a kernel in their own right; all others are inlined into these."""
        uses: dict[int, int] = {}
        stretched: set[int] = set()
        for node in reversed(self.order):
            own = uses.get(id(node), 0)
            for source in node.inputs:
                uses[id(source)] = uses.get(id(source), 0) + (own if node.op in MOVEMENT else 1)
                if node.op == "expand" or (node.op in MOVEMENT and id(node) in stretched):
                    stretched.add(id(source))
        roots = {id(node) for node in self.outputs}
        for node in self.order:
            if node.op in _FROM_MEMORY:
                for source in node.inputs[:1] if node.op == "take" else node.inputs:
                    while source.op in MOVEMENT:
                        source = source.inputs[0]
                    if source.op in POINTWISE:
                        roots.add(id(source))
        inlined: dict[int, _Inlined] = {}
        nothing = _Inlined()
        for node in self.order:
            key, op = id(node), node.op
            if op in MOVEMENT:
                inside = inlined[id(node.inputs[0])]
                inlined[key] = _Inlined(inside.sources, inside.weight, inside.depth + 1, inside.dear)
            elif op not in POINTWISE:
                if op in ("const", "scalar", "iota"):
                    inlined[key] = nothing
                    continue
                inlined[key] = _Inlined(frozenset((key,)))
                if op not in ("input", "take"):
                    roots.add(key)
            else:
                parts = [inlined[id(i)] for i in node.inputs]
                sources = parts[0].sources if len(parts) == 1 else frozenset().union(*(p.sources for p in parts))
                weight, depth = 1 + sum([p.weight for p in parts]), 1 + max([p.depth for p in parts])
                dear = op in EXPENSIVE or any([p.dear for p in parts])
                kept = dear and key in stretched
                if not kept and uses.get(key, 0) > 1:
                    size = node.size
                    cheap = not dear and weight <= MAX_REPEATED
                    kept = not cheap or sum(4 * self._by_id[s].size >= size for s in sources) > 1
                if weight > MAX_INLINED or depth > MAX_INLINED or key in roots or (kept and key not in self.copies):
                    roots.add(key)
                    inlined[key] = _Inlined(frozenset((key,)))
                else:
                    inlined[key] = _Inlined(sources, weight, depth, dear)
        return roots

    def _find_readers(self) -> dict[int, set[int]]:
        """For each node, the roots whose computation reads it."""
        readers: dict[int, set[int]] = {id(node): set() for node in self.order}
        for node in reversed(self.order):
            through = {id(node)} if id(node) in self.roots else readers[id(node)]
            for source in node.inputs:
                readers[id(source)] |= through
        return readers

    def _find_reads(self) -> dict[int, _Reads]:
        """What each root reads: the inverse of ``readers``."""
        reads = {root: _Reads(set(), {root}) for root in self.roots}
        for node in self.order:
            key = id(node)
            if key in self.roots:
                for reader in self.readers[key]:
                    reads[reader].roots.add(key)
                    reads[reader].all.add(key)
            elif node.op == "input":
                for reader in self.readers[key]:
                    reads[reader].all.add(key)
        return reads

    # ---- realising

    def plan(self) -> None:
        """Make all tasks: again and again the first root that can join an open group, else one that frees memory, else
        the first that is ready."""
        self.results = [None] * len(self.outputs)  # type: ignore[list-item]
        positions: dict[int, list[int]] = {}
        for position, node in enumerate(self.outputs):
            positions.setdefault(id(node), []).append(position)
        roots = [node for node in self.order if id(node) in self.roots]
        number = {id(node): i for i, node in enumerate(roots)}
        reads: list[list[Node]] = [[] for _ in roots]
        for root in roots:
            for reader in self.readers[id(root)]:
                reads[number[reader]].append(root)
        followers = self._followers(roots, number)
        waiting = [len(sources) for sources in reads]
        for following in followers.values():
            for i in following:
                waiting[i] += 1
        ready: list[int] = []
        untried: list[int] = []  # a heap: those whose groups have changed since they were tried
        by_source: dict[int, list[int]] = {}
        done: set[int] = set()
        placed: set[int] = set()

        def admit(i: int) -> None:
            bisect.insort(ready, i)
            heapq.heappush(untried, i)
            for source in self._sources(roots[i]):
                by_source.setdefault(source, []).append(i)

        left = [len(self.readers[id(root)]) for root in roots]
        kept = [id(root) in positions for root in roots]

        def freed(i: int) -> int:
            """Bytes of temporaries that are dead when a root is computed, less what it takes itself."""
            dead = sum(nbytes(source) for source in reads[i] if left[at := number[id(source)]] == 1 and not kept[at])
            return dead - (0 if kept[i] else nbytes(roots[i]))

        for i, count in enumerate(waiting):
            if not count:
                admit(i)
        while ready:
            chosen = None
            while untried and chosen is None:
                i = heapq.heappop(untried)
                if id(roots[i]) not in done and self._try_join(roots[i], positions):
                    chosen = i
            if chosen is None:
                self._close_complete(done)
                freeing = [(bytes_, -i) for i in ready[: 8 * LOOK_AHEAD] if (bytes_ := freed(i)) > 0]
                first = [-i for _, i in sorted(freeing, reverse=True)] + ready[:LOOK_AHEAD]
                chosen = next((i for i in first if not self._closes(roots[i])), first[0])
            root = roots[chosen]
            if id(root) in self.windows or id(root) in positions or not self._is_piece(root):
                if not self._overwrite(root, positions, placed):
                    self._settle(root, positions)
                placed.add(id(root))
            del ready[bisect.bisect_left(ready, chosen)]
            done.add(id(root))
            for source in reads[chosen]:
                left[number[id(source)]] -= 1
            for source in (root, *reads[chosen]):
                group = self._open_group(source)
                if group is not None:
                    self._changed[group] = None
            group = self._open_group(root)
            if group is not None:
                for i in sorted({i for source in group.touched for i in by_source.get(source, ())}):
                    if id(roots[i]) not in done:
                        heapq.heappush(untried, i)
            for at in (*(number[reader] for reader in self.readers[id(root)]), *followers.get(chosen, ())):
                waiting[at] -= 1
                if not waiting[at]:
                    admit(at)
        self.close_all()
        for node in self.outputs:
            for position in positions.pop(id(node), ())[0 if node.op == "input" else 1 :]:
                self.results[position] = self.storage("output", node.size, node.dtype)
                self.write(node, contiguous(self.results[position], node.shape))
        self._touching.clear()
        self._changed.clear()

    def _followers(self, roots: list[Node], number: dict[int, int]) -> dict[int, list[int]]:
        """For a root, the copies that wait for it: a copy is made beside the first late reader of what it reads itself,
        else when what its own first reader takes beside it is there (numbers of roots)."""
        followers: dict[int, list[int]] = {}
        sources: dict[int, list[int]] = {}
        if self.copies:
            for i, root in enumerate(roots):
                for reader in self.readers[id(root)]:
                    sources.setdefault(number[reader], []).append(i)
        for i, root in enumerate(roots):
            readers = [number[reader] for reader in self.readers[id(root)]]
            if id(root) not in self.copies or not readers:
                continue
            beside = [s for s in sources[min(readers)] if id(roots[s]) not in self.copies]
            if not beside:
                continue
            start = max(beside)
            behind = set(readers)  # what depends on the copy
            stack = list(readers)
            while stack:
                for reader in self.readers[id(roots[stack.pop()])]:
                    if number[reader] not in behind:
                        behind.add(number[reader])
                        stack.append(number[reader])
            large = [s for s in sources.get(i, ()) if 4 * roots[s].size >= root.size]
            others = {number[reader] for s in large for reader in self.readers[id(roots[s])]}
            others = {o for o in others - behind if o > start and id(roots[o]) not in self.copies}
            followers.setdefault(min(others, default=start), []).append(i)
        return followers

    def _close_complete(self, done: set[int]) -> None:
        """Make the kernels that nothing more can join, so that what they read is freed early and still in cache."""
        changed, self._changed = self._changed, {}
        for group in changed:
            if not group.closed and all(self.readers[id(member)] <= done for member in group.members):
                group.close()

    def _open_group(self, node: Node) -> Group | None:
        """The group that computes a node, if its kernel is not made yet."""
        window = self.windows.get(id(node))
        return None if window is None else self.open.get(window.storage)

    def _candidates(self, sources: set[int]) -> list[Group]:
        """The open groups that compute or read one of ``sources``, the youngest first."""
        found: dict[Group, None] = {}
        for source in sources:
            groups = self._touching.get(source)
            if groups:
                groups[:] = [group for group in groups if not group.closed]
                found.update(dict.fromkeys(groups))
        return sorted(found, key=lambda group: -group.serial)

    def _closes(self, node: Node) -> bool:
        """Whether reading what ``node`` needs would close an open group."""
        return any(
            (window := self.windows.get(source)) is not None and window.storage in self.open
            for source in self._sources(node)
        )

    def _destination(self, node: Node, positions: dict[int, list[int]]) -> Window:
        """Where a root goes: the buffer of the first output that it is or has in another shape, or a temporary."""
        where = positions.get(id(node))
        shown = None if where else self._shown(node, positions)
        if shown is not None:
            where = positions[id(shown)]
        storage = self.storage("output" if where else "temp", node.size, node.dtype)
        if where:
            self.results[where[0]] = storage
        if shown is not None:
            self.windows[id(shown)] = contiguous(storage, shown.shape)
        return contiguous(storage, node.shape)

    def _shown(self, node: Node, positions: dict[int, list[int]]) -> Node | None:
        """The output that is this node in another shape, if its kernel can take no epilogue that would write it so."""
        if self._is_loop(node) or node.op in CONTRACTIONS:
            return None
        found = [
            self._by_id[reader]
            for reader in self.readers[id(node)]
            if reader in positions and reader not in self.windows and self._by_id[reader].op == "reshape"
        ]
        found = [other for other in found if other.inputs[0] is node]
        return min(found, key=lambda other: positions[id(other)][0], default=None)

    def _settle(self, node: Node, positions: dict[int, list[int]]) -> None:
        if id(node) in self.windows or node.op == "input":
            return
        self.place(node, self._destination(node, positions))

    def _try_join(self, node: Node, positions: dict[int, list[int]]) -> bool:
        """Let a root join an open group if that closes no other."""
        if not node.size or not self._is_loop(node) or id(node) in self.windows:
            return False
        sources = self._sources(node)
        for group in self._candidates(sources):
            attempt = (id(node), group.serial, len(group.members))
            if attempt in self._failed:
                continue
            self._frozen += 1
            try:
                # The destination's storage is made only when it is known to be needed.
                joined = group.accepts(node) and group.add(node)
            finally:
                self._frozen -= 1
            if joined:
                self._joined(node, group, sources, self._destination(node, positions))
                return True
            self._failed.add(attempt)
        return False

    def _is_piece(self, node: Node) -> bool:
        """Whether the only reader can have the node written straight into its own result."""
        readers = [self._by_id[r] for r in self.readers[id(node)]]
        readers = [r for r in readers if r.op not in prims.ATTENTION_FURTHER]
        if node.op in POINTWISE or len(readers) != 1:
            return False
        (reader,) = readers
        if reader.op == "update":
            return node is reader.inputs[1]
        depth = 1 + max((self._nested.get(id(piece), 0) for piece in node.inputs), default=0)
        self._nested[id(node)] = depth if node.op == "concat" else 0
        return reader.op == "concat" and depth <= MAX_NESTED and sum(piece is node for piece in reader.inputs) <= 1

    def _overwrite(self, node: Node, positions: dict[int, list[int]], placed: set[int]) -> bool:
        """Give an update the memory of its base, if that is a temporary and all its other readers have it behind them.

        A chain of updates so costs what is written, not a copy for each.
        """
        if node.op != "update" or id(node) in self.windows or not node.size:
            return False
        base, source = node.inputs
        window = self.windows.get(id(base))
        others = self.readers[id(base)] - {id(node)}
        if window is None or window.storage.kind != "temp" or id(base) in positions or not others <= placed:
            return False
        if source.size and self._reads(source, base):
            self.readable(self.realise(source))
        self.readable(window)
        for reader in others:
            group = self._open_group(self._by_id[reader])
            if group is not None:
                group.close()
        del self.windows[id(base)]
        self._overwritten.add(id(base))
        where = positions.get(id(node))
        if where:
            window.storage.kind = "output"
            self.results[where[0]] = window.storage
        self.windows[id(node)] = window
        strides, offset = node.attrs
        self.write(source, Window(window.storage, source.shape, strides, offset))
        return True

    def realise(self, node: Node) -> Window:
        """The window where ``node`` lies or will lie in memory."""
        window = self.windows.get(id(node))
        if window is None:
            if node.op == "input":
                storage = self.inputs.get(node.attrs[0])
                if storage is None:
                    storage = self.inputs[node.attrs[0]] = self.storage("input", node.size, node.dtype, node.attrs[0])
                window = self.windows[id(node)] = contiguous(storage, node.shape)
            else:
                assert id(node) not in self._overwritten, f"{node!r} is read after its memory was written over"
                window = self.place(node, contiguous(self.storage("temp", node.size, node.dtype), node.shape))
        return window

    def _is_loop(self, node: Node) -> bool:
        return node.op in POINTWISE or node.op in MOVEMENT or node.op in REDUCTIONS or node.op in _SOURCES

    def place(self, node: Node, to: Window) -> Window:
        """Plan that ``node`` is written to a window: in a group of loops where it can be."""
        if node.size and self._is_loop(node):
            self._join(node, to)
        elif node.op in CONTRACTIONS and node.size:
            self._joined(node, self.contractions(self, node), {id(node)}, to)
        else:
            self.compute(node, to)
            self.windows[id(node)] = to
        return to

    def readable(self, window: Window) -> Window:
        """The window, once the kernel that writes it has its place in the order."""
        group = self.open.get(window.storage)
        if group is not None:
            if self._frozen:
                raise NeedsMemory
            group.close()
        return window

    def close_all(self) -> None:
        for group in list(dict.fromkeys(self.open.values())):
            group.close()

    # ---- groups

    def _join(self, node: Node, to: Window) -> None:
        """Into an open group that shares what it reads, else into a new one."""
        sources = self._sources(node)
        for group in self._candidates(sources):
            if group.accepts(node) and group.add(node):
                self._joined(node, group, sources, to)
                return
        wide = self._widened(node, sources) if node.op in REDUCTIONS else None
        new = wide or Group(self, *_space(node))
        if wide is None and not new.add(node):
            raise NeedsMemory
        self._joined(node, new, sources, to)

    def _joined(self, node: Node, group: Group, sources: set[int], to: Window) -> None:
        for source in sources - group.touched:
            self._touching.setdefault(source, []).append(group)
        group.touched |= sources
        group.stores[id(node)] = to
        self.open[to.storage] = group
        self.windows[id(node)] = to

    def _widened(self, node: Node, sources: set[int]) -> Group | None:
        """A reduction and the pointwise group whose members it reduces, as one group over the reduction's space."""
        wide = Group(self, *_space(node))
        if not wide.rows_fit() or node.attrs[0] != len(wide.outer):
            wide.dismiss()
            return None
        for group in self._candidates(sources):
            if group.inner or group.busy or type(group) is not Group or sources.isdisjoint(map(id, group.members)):
                continue
            if all(wide.accepts(member) and wide.add(member) for member in group.members) and wide.add(node):
                for member in group.members:
                    self._joined(member, wide, group.touched, group.stores[id(member)])
                group.dismiss()
                return wide
            wide.dismiss()
            wide = Group(self, *_space(node))
        wide.dismiss()
        return None

    def _sources(self, node: Node) -> set[int]:
        """The node and the realised nodes that it reads."""
        reads = self.reads.get(id(node))
        if reads is not None and reads.roots <= self.windows.keys():
            return reads.all
        found = {id(node)}
        stack = list(node.inputs)
        seen: set[int] = set()
        while stack:
            source = stack.pop()
            if id(source) in seen:
                continue
            seen.add(id(source))
            if source.op == "input" or id(source) in self.windows:
                found.add(id(source))
            else:
                stack.extend(source.inputs)
        return found

    # ---- kernels on their own

    def compute(self, node: Node, to: Window) -> None:
        """Add the tasks that write ``node`` into a window, now."""
        if node.size == 0:
            return
        if node.op in _CONTIGUOUS and not to.is_contiguous:
            self.realise(node)
            self.write(node, to)
        elif node.op in REDUCTIONS:
            inner = tuple(node.inputs[0].shape[a] for a in node.attrs)
            self.loop(node.shape, inner, lambda builder: builder.store(builder.reduce(node, builder.kept), to))
        elif (handler := getattr(self, "_" + node.op, None)) is not None:
            handler(node, to)
        elif node.op in CONTRACTIONS:
            group = self.contractions(self, node)
            group.stores[id(node)] = to
            self.tasks += group.finish([0])
        elif not self._is_loop(node):
            raise NotImplementedError(f"the compiler has no kernel for the primitive {node.op!r} yet")
        else:
            self.loop(node.shape, (), lambda builder: builder.store(builder.lower(node, builder.kept), to))

    def loop(self, outer: tuple[int, ...], inner: tuple[int, ...], fill: Callable[[LoopBuilder], None]) -> None:
        """Add one loop kernel whose program ``fill`` writes; its axes are split as the movement in it asks for."""
        splits: list[tuple[int, int]] = []
        while True:
            builder = self.builder(self, outer, inner, splits)
            try:
                fill(builder)
            except movement.AxisTooCoarse as coarse:
                splits.append((coarse.axis, coarse.factor))
                continue
            self.tasks.append(builder.finish())
            return

    def write(self, node: Node, to: Window) -> None:
        """``node`` into a window, now: a copy where it has a buffer already."""
        if node.size == 0:
            return
        if id(node) in self.windows or node.op == "input":
            source = self.readable(self.realise(node))
            self.loop(source.shape, (), lambda builder: builder.store(builder.load(source, builder.kept, ()), to))
        elif not self._attend_into(node, to):
            self.compute(node, to)

    # ---- what is written in pieces

    def _concat(self, node: Node, to: Window) -> None:
        (axis,) = node.attrs
        start = 0
        for piece in node.inputs:
            self.write(piece, Window(to.storage, piece.shape, to.strides, to.offset + start * to.strides[axis]))
            start += piece.shape[axis]

    def _update(self, node: Node, to: Window) -> None:
        base, source = node.inputs
        strides, offset = node.attrs
        assert to.is_contiguous
        if source.size and self._reads(source, base):
            self.realise(source)  # the region must not change while the source is being read from it
        alone = self.readers[id(base)] <= {id(node)} and all(base is not output for output in self.outputs)
        alone = alone and base.op == "input" and base.attrs[0] in self.donated
        if alone and to.storage.kind == "output" and to.storage.nbytes == self.realise(base).storage.nbytes:
            to.storage.takes = self.realise(base).storage
        else:
            self.write(base, to)
        self.write(source, Window(to.storage, source.shape, strides, to.offset + offset))

    def _reads(self, node: Node, source: Node) -> bool:
        """Whether computing ``node`` reads ``source`` from memory."""
        return node is source or id(source) in self._sources(node)


# Primitives whose operands are read from memory.
_FROM_MEMORY = CONTRACTIONS | {"scatter", "scan", "argsort", "strided", "take"}
_FROM_MEMORY |= {"attention", "attention_backward", "recurrence", "recurrence_backward"}

# Primitives whose kernels write row-major results only.
_CONTIGUOUS = frozenset({"update", "scatter", "scan", "argsort", "attention_lse"})
_CONTIGUOUS |= {"recurrence", "recurrence_backward"}

_SOURCES = frozenset({"input", "const", "scalar", "iota", "take"})


class _Inlined(NamedTuple):
    """What computing a node inside another kernel amounts to.

    Attributes
        sources: ids of what is read from memory.
        weight: pointwise operations.
        depth: the longest way to what is in memory.
        dear: whether any of the operations is expensive.
    """

    sources: frozenset[int] = frozenset()
    weight: int = 0
    depth: int = 0
    dear: bool = False


class _Reads(NamedTuple):
    """ids of the roots that a root reads; and of itself, these and the inputs that it reads."""

    roots: set[int]
    all: set[int]


def _space(node: Node) -> tuple:
    """The iteration space of a node as arguments of ``Group``."""
    return (node.shape, node.inputs[0].shape, node.attrs) if node.op in REDUCTIONS else (node.shape,)
