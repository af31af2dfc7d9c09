"""Where results and temporaries live.

Temporaries share one arena: a place is used again as soon as its last reader has run, and a kernel may write where it
reads when it visits each element once. In the same way an output may take over the memory of a donated input.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Mapping, Sequence

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
    """Let outputs take the memory of donated inputs that die in the kernel that writes them. ``donated`` may be a
    mapping that says which output, by its number, each input is for."""
    spans = lifetimes(tasks)
    taken = {s.takes for s in spans if s.takes}
    for i, task in enumerate(tasks):
        for written, read in task.inplace:
            if (
                written.kind == "output"
                and written.takes is None
                and spans[written][0] == i
                and _meant(donated, written, read)
                and read not in taken
                and read.nbytes == written.nbytes
                and spans[read][1] == i
            ):
                written.takes = read
                taken.add(read)


def put_off(tasks: Sequence[Task], donated: Container[int]) -> list[Task]:
    """The tasks in an order in which more outputs find their donated input dead: one that would write over what a task
    soon after it still reads goes behind that task (a weight's update behind the gradient that reads the weight)."""
    order = list(tasks)
    for i in range(len(order) - 1, -1, -1):
        task = order[i]
        goals = {read for written, read in task.inplace if written.kind == "output" and _meant(donated, written, read)}
        near = range(i + 1, min(i + 1 + PUT_OFF, len(order)))
        last = max((j for j in near if not goals.isdisjoint(order[j].reads)), default=i)
        own = {*task.writes}
        free = all(
            own.isdisjoint(other.reads) and own.isdisjoint(other.writes) and not {*task.reads} & {*other.writes}
            for other in order[i + 1 : last + 1]
        )
        if free and last > i:
            order.insert(last, order.pop(i))
    return order


PUT_OFF = 6  # tasks that one is put off behind


def _meant(donated: Container[int], written: Storage, read: Storage) -> bool:
    """Whether the output is the one that an input was donated for."""
    if read.kind != "input" or read.index not in donated:
        return False
    return not isinstance(donated, Mapping) or donated[read.index] == written.index


def plan_arena(tasks: Sequence[Task]) -> tuple[dict[Storage, int], int]:
    """Offset of every temporary in the arena, and the arena's size: first fit among those alive together."""
    spans = lifetimes(tasks)
    dying = {(written, read) for task in tasks for written, read in task.inplace}
    places: dict[Storage, list[int]] = {}  # start, end, last task of whoever holds it now
    alive: list[list[int]] = []  # in order
    size = 0
    for storage, (first, last) in spans.items():
        if storage.kind != "temp":
            continue
        need = -(-max(storage.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        alive = [p for p in alive if p[2] >= first]
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
            insort(alive, places[storage])
            size = max(size, at + need)
    return {storage: place[0] for storage, place in places.items()}, size
