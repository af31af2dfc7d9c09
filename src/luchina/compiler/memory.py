"""Where results and temporaries live.

Temporaries share one arena: a place is used again as soon as its last reader has run, and a kernel may write where it
reads when it visits each element once. In the same way an output may take over the memory of a donated input.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from luchina.compiler.task import Storage, Task

ALIGNMENT = 64


def drop_dead(tasks: Sequence[Task]) -> list[Task]:
    """The tasks whose results are read later, or are outputs."""
    wanted: set[Storage] = set()
    kept: list[Task] = []
    for task in reversed(tasks):
        if any(s.kind == "output" or s in wanted for s in task.writes):
            wanted.update(task.reads)
            # A storage written in pieces has several writers, all of which count.
            kept.append(task)
    return kept[::-1]


def lifetimes(tasks: Sequence[Task]) -> dict[Storage, tuple[int, int]]:
    """First and last task that touches each storage, in the order of first touch."""
    spans: dict[Storage, tuple[int, int]] = {}
    for i, task in enumerate(tasks):
        for storage in (*task.writes, *task.reads):
            first, _ = spans.get(storage, (i, i))
            spans[storage] = (first, i)
    return spans


def take_over(tasks: Sequence[Task], donated: Container[int]) -> None:
    """Let outputs take the memory of donated inputs that die in the kernel that writes them."""
    spans = lifetimes(tasks)
    taken = {s.takes for s in spans if s.takes}
    for i, task in enumerate(tasks):
        for written, read in task.inplace:
            if (
                written.kind == "output"
                and written.takes is None
                and spans[written][0] == i
                and read.kind == "input"
                and read.index in donated
                and read not in taken
                and read.nbytes == written.nbytes
                and spans[read][1] == i
            ):
                written.takes = read
                taken.add(read)


def plan_arena(tasks: Sequence[Task]) -> tuple[dict[Storage, int], int]:
    """Offset of every temporary in the arena, and the arena's size: first fit among those alive together."""
    spans = lifetimes(tasks)
    dying = {(written, read) for task in tasks for written, read in task.inplace}
    places: dict[Storage, list[int]] = {}  # start, end, last task of whoever holds it now
    alive: list[list[int]] = []
    size = 0
    for storage, (first, last) in spans.items():
        if storage.kind != "temp":
            continue
        need = -(-max(storage.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        alive = sorted(p for p in alive if p[2] >= first)
        for read in tasks[first].reads:
            place = places.get(read)
            if place is None or (storage, read) not in dying:
                continue
            if place[2] == first == spans[read][1] and place[1] - place[0] >= need:
                place[2] = last
                places[storage] = place
                break
        else:
            at = 0
            for start, end, _ in alive:
                if start - at >= need:
                    break
                at = max(at, end)
            places[storage] = [at, at + need, last]
            alive.append(places[storage])
            size = max(size, at + need)
    return {storage: place[0] for storage, place in places.items()}, size
