"""Where temporaries live: one arena a program, places reused as soon as their last reader has run."""

from __future__ import annotations

from collections.abc import Sequence

from luchina.compiler.task import Storage, Task

ALIGNMENT = 64


def lifetimes(tasks: Sequence[Task]) -> dict[Storage, tuple[int, int]]:
    """First and last task that touches each storage, in the order of first touch."""
    spans: dict[Storage, tuple[int, int]] = {}
    for i, task in enumerate(tasks):
        for storage in (*task.writes, *task.reads):
            first, _ = spans.get(storage, (i, i))
            spans[storage] = (first, i)
    return spans


def plan_arena(tasks: Sequence[Task]) -> tuple[dict[Storage, int], int]:
    """Offset of every temporary in the arena, and the arena's size: first fit among those alive together."""
    placed: list[tuple[int, int, int]] = []  # offset, end, last task: what is alive
    offsets: dict[Storage, int] = {}
    size = 0
    for storage, (first, last) in lifetimes(tasks).items():
        if storage.kind != "temp":
            continue
        placed = sorted(p for p in placed if p[2] >= first)
        need = -(-max(storage.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        at = 0
        for start, end, _ in placed:
            if start - at >= need:
                break
            at = max(at, end)
        offsets[storage] = at
        placed.append((at, at + need, last))
        size = max(size, at + need)
    return offsets, size
