"""The arena: nothing overlaps that lives at the same time, and what is dead is used again."""

from __future__ import annotations

import random

from luchina.compiler.memory import drop_dead, lifetimes, plan_arena, take_over
from luchina.compiler.task import Storage, Task


def storage(kind, slot, nbytes, index=0):
    return Storage(kind, slot, nbytes, "float32", index)


def task(reads, writes, inplace=()):
    return Task(None, [], 1, list(reads), list(writes), inplace=list(inplace))


def test_nothing_alive_overlaps():
    rng = random.Random(0)
    for _ in range(50):
        temps = [storage("temp", i, rng.randrange(1, 2000)) for i in range(12)]
        tasks = [task(rng.sample(temps[:i], min(i, 2)), [temps[i]]) for i in range(12)]
        offsets, size = plan_arena(tasks)
        spans = lifetimes(tasks)
        for a in temps:
            assert offsets[a] % 64 == 0 and offsets[a] + a.nbytes <= size
            for b in temps:
                together = spans[a][0] <= spans[b][1] and spans[b][0] <= spans[a][1]
                if a is not b and together:
                    assert offsets[a] + a.nbytes <= offsets[b] or offsets[b] + b.nbytes <= offsets[a]


def test_a_chain_needs_two_places_or_one_in_place():
    temps = [storage("temp", i, 1000) for i in range(6)]
    chain = [task(temps[i - 1 : i] if i else [], [temps[i]]) for i in range(6)]
    assert plan_arena(chain)[1] == 2 * 1024
    for i in range(1, 6):
        chain[i].inplace = [(temps[i], temps[i - 1])]
    assert plan_arena(chain)[1] == 1024


def test_only_a_dead_donated_input_is_taken_over():
    x, out, later = storage("input", 0, 64), storage("output", 1, 64), storage("output", 2, 64)
    first, second = task([x], [out], [(out, x)]), task([x], [later], [(later, x)])
    take_over([first], ())
    assert out.takes is None
    take_over([first, second], [0])
    assert out.takes is None and later.takes is x


def test_dead_tasks_are_dropped():
    x, a, b, out = storage("input", 0, 4), storage("temp", 1, 4), storage("temp", 2, 4), storage("output", 3, 4)
    tasks = [task([x], [a]), task([a], [b]), task([a], [out])]
    assert drop_dead(tasks) == [tasks[0], tasks[2]]
