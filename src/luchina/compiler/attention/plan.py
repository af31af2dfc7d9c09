"""How attention gets into a program: its primitives' tasks, where their results lie, and in which layout.

``attention`` and ``attention_backward`` give one result each to the graph; their further results (the logarithms of the
sums, the gradients of keys and values) are nodes of their own whose only input is the first. The task is made with the
first node; a further one is a place in memory that the task is told when it comes up.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from luchina.compiler import prims
from luchina.compiler.attention import backward, forward
from luchina.compiler.attention.parts import TILES, panel
from luchina.compiler.body import ITEMSIZE
from luchina.compiler.contraction.plan import EAGERNESS
from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.contraction.tiles import FLOPS_PER_NANOSECOND, padded
from luchina.compiler.movement import restrided
from luchina.compiler.prims import Node
from luchina.compiler.target import host
from luchina.compiler.task import Storage, Task, Window, contiguous

# From (A, L, C, G, D), where one token's heads lie together, to (A, C, G, L, D).
HEADS_FIRST = (0, 2, 3, 1, 4)

_LAID_OUT = frozenset({"attention", "attention_backward", "attention_dk", "attention_dv"})


class AttentionKernels:
    """What ``Scheduler`` does for the attention primitives."""

    tasks: list[Task]
    _attending: dict[int, tuple[Task, dict[str, int]]]
    _told: dict[int, Window]
    _uses: Counter[int]
    _users: dict[Storage, set[int]]
    _seen: int
    order: list[Node]
    outputs: list[Node]
    windows: dict[int, Window]

    if TYPE_CHECKING:

        def storage(self, kind: str, size: int, dtype: str, index: int = -1) -> Any: ...
        def loop(self, outer: tuple[int, ...], inner: tuple[int, ...], fill: Any) -> None: ...
        def view(self, node: Node) -> Window: ...
        def _plain(self, node: Node) -> Window: ...
        def realise(self, node: Node) -> Window: ...
        def write(self, node: Node, to: Window) -> None: ...
        def compute(self, node: Node, to: Window) -> None: ...

    def _attend(self, node: Node, task: Task, numbers: dict[str, int], names: tuple[str, ...]) -> None:
        task.params = [numbers[name] for name in names]
        self.tasks.append(task)
        self._attending[id(node)] = (task, {name: i for i, name in enumerate(names)})

    def _attend_into(self, node: Node, to: Window) -> bool:
        """Let a kernel write what ``node`` moves, and nobody else reads, to its last place: a piece of a whole."""
        chain = [node]
        while chain[-1].op in ("permute", "reshape") and id(chain[-1]) not in self.windows:
            chain.append(chain[-1].inputs[0])
        source = chain[-1]
        if len(chain) == 1 or source.op not in _LAID_OUT or id(source) in self.windows:
            return False
        strides = to.strides
        for moved, inside in zip(chain, chain[1:]):
            if moved.op == "permute":
                strides = tuple(strides[moved.attrs.index(axis)] for axis in range(len(strides)))
            else:
                seen = restrided(moved.shape, strides, inside.shape)
                if seen is None:
                    return False
                strides = seen
        if strides[-1] != 1 or not all(self._read_once(each) for each in chain):
            return False
        self.compute(source, Window(to.storage, source.shape, strides, to.offset))
        return True

    def _read_once(self, node: Node) -> bool:
        if not self._uses:
            users = (n for n in self.order if n.op not in prims.ATTENTION_FURTHER)
            self._uses = Counter([id(i) for n in users for i in n.inputs])
        return self._uses[id(node)] == 1 and all(node is not output for output in self.outputs)

    def _rows_apart(self, node: Node, to: Window) -> bool:
        """Whether a kernel can write there; if it cannot, ``node`` is copied there from a buffer of its own."""
        if to.strides[-1] == 1 or to.shape[-1] == 1:
            return True
        self.realise(node)
        self.write(node, to)
        return False

    def _attention(self, node: Node, to: Window) -> None:
        if not self._rows_apart(node, to):
            return
        q, k, v, *mask = node.inputs
        scale, causal, heads_first = node.attrs
        target, dtype = host(), node.dtype
        windows = {"q": self.view(q), "k": self.view(k), "v": self.view(v)}
        if mask:
            windows["mask"] = self.view(mask[0])
        windows["out"] = to if heads_first else _permuted(to, HEADS_FIRST)
        a, c, g, queries, width = q.shape
        keys, value_width = v.shape[3:]
        block, lanes = TILES[target.name].block, target.lanes(ACCUMULATE[dtype])
        spec = forward.Forward(
            dtype, "causal" if causal else mask[0].dtype if mask else None, panel(target, dtype, value_width)
        )
        k_step, v_step = padded(width, lanes), padded(value_width, spec.nv * lanes)
        places, scratch = _places(
            dtype,
            q=padded(width, lanes) * block,
            k=block * k_step,
            v=block * v_step,
            s=block * block,
            o=block * v_step,
            mask=block * block if mask else 0,
            max=block,
            sum=block,
            factor=block,
        )
        q_blocks = -(-queries // block)
        numbers = dict.fromkeys(forward.PARAMS, 0) | places
        numbers |= {"batch_1": c, "batch_2": g, "queries": queries, "keys": keys, "width": width}
        numbers |= {"value_width": value_width, "scale": _bits(scale), "q_blocks": q_blocks, "lse_slot": -1}
        numbers |= {"k_step": k_step, "v_step": v_step}
        for name, window in windows.items():
            numbers |= _window_numbers(name, window)
        flops = 2 * a * c * g * queries * keys * (width + value_width) // (2 if causal else 1)
        task = Task(
            spec.kernel(),
            [],
            a * c * g * q_blocks,
            [w.storage for name, w in windows.items() if name != "out"],
            [to.storage],
            ops=["attention"],
            scratch=scratch,
            cost=1.3 * EAGERNESS * flops / FLOPS_PER_NANOSECOND[target.name],
            flops=flops,
            nbytes_read=sum(n.size * ITEMSIZE[n.dtype] for n in (q, k, v)),
            nbytes_written=node.size * ITEMSIZE[dtype],
        )
        self._attend(node, task, numbers, forward.PARAMS)

    def _attention_backward(self, node: Node, to: Window) -> None:
        if not self._rows_apart(node, to):
            return
        q, k, v, lse, delta, g, *mask = node.inputs
        scale, causal, parts, heads_first = node.attrs
        target, dtype = host(), q.dtype
        windows = {"q": self.view(q), "k": self.view(k), "v": self.view(v), "g": self.view(g)}
        if mask:
            windows["mask"] = self.view(mask[0])
        sums = {"lse": self._plain(lse), "delta": self._plain(delta)}
        share = to
        if parts > 1:
            share = Window(to.storage, to.shape[1:], to.strides[1:], to.offset)
        windows["dq"] = share if heads_first else _permuted(share, HEADS_FIRST)
        a, c, g_extent, queries, width = q.shape
        keys, value_width = v.shape[3:]
        block, lanes = TILES[target.name].block, target.lanes(ACCUMULATE[dtype])
        spec = backward.Backward(
            dtype,
            "causal" if causal else mask[0].dtype if mask else None,
            panel(target, dtype, width),
            panel(target, dtype, value_width),
            parts > 1,
        )
        q_step, v_step = padded(width, spec.nk * lanes), padded(value_width, spec.nv * lanes)
        dq_size = padded(queries, block) * q_step
        places, scratch = _places(
            dtype,
            kt=padded(width, lanes) * block,
            vt=padded(value_width, lanes) * block,
            k=block * q_step,
            q=block * q_step,
            g=block * v_step,
            s=block * block,
            d=block * block,
            dk=block * q_step,
            dv=block * v_step,
            mask=block * block if mask else 0,
            dq=dq_size,
        )
        numbers = dict.fromkeys(backward.PARAMS, 0) | places
        numbers |= {"batch_1": c, "batch_2": g_extent, "queries": queries, "keys": keys, "width": width}
        numbers |= {"value_width": value_width, "scale": _bits(scale), "parts": parts, "dk_slot": -1, "dv_slot": -1}
        numbers |= {"q_step": q_step, "v_step": v_step, "dq_size": dq_size, "dq_part": to.strides[0]}
        for name, window in windows.items():
            numbers |= _window_numbers(name, window)
        for name, window in sums.items():
            numbers |= {f"{name}_slot": window.storage.slot, f"{name}_offset": window.offset}
        heads = a * c * g_extent
        flops = 2 * heads * queries * keys * (3 * width + 2 * value_width) // (2 if causal else 1)
        task = Task(
            spec.kernel(),
            [],
            heads * parts,
            [w.storage for name, w in (windows | sums).items() if name != "dq"],
            [to.storage],
            ops=["attention_backward"],
            scratch=scratch,
            cost=1.3 * EAGERNESS * flops / FLOPS_PER_NANOSECOND[target.name],
            flops=flops,
            nbytes_read=sum(n.size * ITEMSIZE[n.dtype] for n in node.inputs),
            nbytes_written=node.size * ITEMSIZE[node.dtype],
        )
        self._attend(node, task, numbers, backward.PARAMS)

    def _attention_further(self, node: Node, to: Window) -> None:
        """A further result of a task: tell the task where it goes, or copy it if it already knows a place."""
        if id(node.inputs[0]) not in self._attending:
            self.realise(node.inputs[0])
        task, places = self._attending[id(node.inputs[0])]
        told = self._told.get(id(node))
        # The task runs earlier than now: nothing else may have been done to that memory.
        touched = not self._touching_tasks(to.storage) <= {id(task)}
        if told is None and not touched and to.storage.takes is None and (to.strides[-1] == 1 or to.shape[-1] == 1):
            told = to
        elif told is None:
            told = contiguous(self.storage("temp", node.size, node.dtype), node.shape)
        if id(node) not in self._told:
            self._told[id(node)] = told
            task.writes.append(told.storage)
            self._users.setdefault(told.storage, set()).add(id(task))
            task.nbytes_written += node.size * ITEMSIZE[node.dtype]
            if node.op == "attention_lse":
                numbers = {"lse_slot": told.storage.slot}
            else:
                window = told if node.attrs[0] else _permuted(told, HEADS_FIRST)
                numbers = _window_numbers(node.op[-2:], window)
            for name, number in numbers.items():
                task.params[places[name]] = number
        if told is not to:
            source = told
            self.loop(node.shape, (), lambda builder: builder.store(builder.load(source, builder.kept, ()), to))

    def _touching_tasks(self, storage: Storage) -> set[int]:
        """ids of the tasks so far that read or write a storage."""
        for task in self.tasks[self._seen :]:
            for touched in (*task.reads, *task.writes):
                self._users.setdefault(touched, set()).add(id(task))
        self._seen = len(self.tasks)
        return self._users.get(storage, set())

    _attention_lse = _attention_dk = _attention_dv = _attention_further


def choose_layouts(outputs: Sequence[Node]) -> list[Node]:
    """Attention results that are only wanted with their heads first, as results of the program, are written so."""
    order = prims.topological(outputs)
    if not any(node.op in _LAID_OUT for node in order):
        return list(outputs)
    users: dict[int, list[Node]] = {}
    for node in order:
        for source in node.inputs:
            users.setdefault(id(source), []).append(node)
    results = set(map(id, outputs))
    new: dict[int, Node] = {}
    turned: set[int] = set()
    for node in order:
        inputs = tuple(new[id(i)] for i in node.inputs)
        mine = [user for user in users.get(id(node), []) if user.op not in prims.ATTENTION_FURTHER]
        attrs = node.attrs
        if node.op in _LAID_OUT and len(mine) == 1 and id(node) not in results and mine[0].attrs == HEADS_FIRST:
            end = mine[0]
            while id(end) not in results and len(users.get(id(end), [])) == 1 and users[id(end)][0].op == "reshape":
                end = users[id(end)][0]
            if id(end) in results:
                shape = tuple(node.shape[i] for i in HEADS_FIRST)
                new[id(node)] = Node(node.op, inputs, shape, node.dtype, (*attrs[:-1], True))
                turned.add(id(mine[0]))
                continue
        if id(node) in turned:
            new[id(node)] = inputs[0]
        elif all(a is b for a, b in zip(inputs, node.inputs)):
            new[id(node)] = node
        elif node.op == "reshape":
            new[id(node)] = prims.reshape(inputs[0], node.shape)
        else:
            new[id(node)] = Node(node.op, inputs, node.shape, node.dtype, attrs)
    return [new[id(node)] for node in outputs]


def _bits(number: float) -> int:
    return struct.unpack("<q", struct.pack("<d", number))[0]


def _permuted(window: Window, axes: tuple[int, ...]) -> Window:
    shape, strides = (tuple(x[a] for a in axes) for x in (window.shape, window.strides))
    return Window(window.storage, shape, strides, window.offset)


def _window_numbers(name: str, window: Window) -> dict[str, int]:
    what = ("0", "1", "2", "row", "column")
    numbers = {f"{name}_{key}": stride for key, stride in zip(what, window.strides, strict=True)}
    return numbers | {f"{name}_slot": window.storage.slot, f"{name}_offset": window.offset}


def _places(dtype: str, **elements: int) -> tuple[dict[str, int], int]:
    """Byte offsets in scratch of tables of sums, and their total size."""
    places, at = {}, 0
    for name, count in elements.items():
        places[f"at_{name}"] = at
        at += padded(count * ITEMSIZE[ACCUMULATE[dtype]], 64) if count else 0
    return places, at
