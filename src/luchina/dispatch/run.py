"""The code for running a program seen before; the twins are in ``graph.program`` and ``compiler.build``.

gather      what is pending and alive                          twin: ``program._gather``
signature   the key that a program is found by                 twin: ``program._signature``
execute     its memory, its table, the call into the kernels   twin: ``build._execute``
fill        the results into the Values                        twin: ``program._fill``
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from luchina.compiler.ir import Operand
from luchina.dispatch.writer import NULL, ObjectEmitter

SELF = Operand("ptr", "%self")
ARGS, NARGS, NAMES = Operand("ptr", "%args"), Operand("i64", "%nargs"), Operand("ptr", "%names")
ZERO, TRUE = Operand("i32", "0"), Operand("i1", "true")
SLOTS = 2048
"""Entries of a program's table; a larger one is left to the twin."""
PAIRS = 1 << 15
"""Leaves times memory that is written over: the most that are compared one by one."""

PLAN = (
    *("slots", "inputs", "outputs", "taken", "temporaries", "arena", "scalars", "places", "numbers"),
    *("calls", "kernels", "scratch", "results", "long"),
)
"""What ``build.Plan`` says, in this order."""


def _arguments(e: ObjectEmitter, count: int) -> list[Operand]:
    """The arguments; the twin is called for another number of them."""
    e.unless(e.icmp("eq", NAMES, NULL), "twin")
    e.unless(e.icmp("eq", NARGS, e.i64(count)), "twin")
    return [e.load("ptr", e.gep("ptr", ARGS, i), 8) for i in range(count)]


def _end(e: ObjectEmitter, *cells: Operand) -> None:
    """The ends of a function that may still go on to its twin: what the cells hold is given back."""
    for label, result in (("twin", None), ("fail", NULL)):
        e.label(label)
        for cell in cells:
            e.decref(e.load("ptr", cell, 8))
        e.ret(result or e.api("PyObject_Vectorcall", e.given("twin"), ARGS, NARGS, NAMES))


def _not(e: ObjectEmitter, condition: Operand) -> Operand:
    return e.bin("xor", condition, TRUE)


def gather(e: ObjectEmitter) -> str:
    """``gather(values)``: the pending Values of living storages, then ``values``, each once."""
    result_at, seen_at = e.cell(), e.cell()
    (asked,) = _arguments(e, 1)
    e.unless(e.is_(e.kind(asked), "list"), "twin")
    thread = e.present(e.api("PyObject_GetAttr", e.given("recording"), e.given("__dict__")), "fail")
    e.decref(thread)
    watched = e.present(e.api("PyDict_GetItemWithError", thread, e.given("watched")), "twin")
    result = e.present(e.api("PyList_New", e.i64(0)), "fail")
    e.store(result, result_at, 8)
    seen = e.present(e.api("PySet_New", NULL), "fail")
    e.store(seen, seen_at, 8)

    @contextmanager
    def each(values: Operand) -> Iterator[Operand]:
        with e.loop(e.i64(0), e.api("PyList_Size", values, result="i64")) as loop:
            yield e.api("PyList_GetItem", values, loop.index)

    def add(value: Operand, skip: str) -> None:
        e.unless(e.is_(e.slot(value, "Value", "buffer"), "None"), skip)
        known = e.api("PySet_Contains", seen, value, result="i32")
        e.unless(e.icmp("eq", known, ZERO), skip)
        e.api("PySet_Add", seen, value, result="i32")
        e.api("PyList_Append", result, value, result="i32")

    with each(watched) as reference:
        holder = e.present(e.api("PyObject_CallNoArgs", reference), "fail")
        e.decref(holder)  # what is alive is held by somebody else too, and only this code runs
        e.unless(_not(e, e.is_(holder, "None")), "dead")
        e.unless(e.is_(e.kind(holder), "Storage"), "twin")
        add(e.slot(holder, "Storage", "value"), "dead")
        e.br("dead")
        e.label("dead")
    with each(asked) as value:
        e.unless(e.is_(e.kind(value), "Value"), "twin")
        add(value, "known")
        e.br("known")
        e.label("known")
    e.decref(seen)
    e.ret(result)
    _end(e, result_at, seen_at)
    return e.finished("gather")


def signature(e: ObjectEmitter) -> str:
    """``signature(targets, updates)``: the keys of the targets; with updates theirs, and which leaf is which memory."""
    keys_at = e.cell()
    targets, updates = _arguments(e, 2)
    thread = e.present(e.api("PyObject_GetAttr", e.given("recording"), e.given("__dict__")), "fail")
    e.decref(thread)
    epoch = e.present(e.api("PyDict_GetItemWithError", thread, e.given("epoch")), "twin")
    leaves = e.present(e.api("PyDict_GetItemWithError", thread, e.given("leaves")), "twin")
    e.unless(e.is_(e.kind(targets), "list"), "twin")
    e.unless(e.is_(e.kind(updates), "list"), "twin")
    keys = e.present(e.api("PyList_New", e.i64(0)), "fail")
    e.store(keys, keys_at, 8)

    def add(value: Operand) -> None:
        number = e.present(e.inner("key", SELF, value, epoch, thread), "fail")
        e.api("PyList_Append", keys, number, result="i32")
        e.decref(number)

    with e.loop(e.i64(0), e.api("PyList_Size", targets, result="i64")) as loop:
        add(e.api("PyList_GetItem", targets, loop.index))
    many = e.api("PyList_Size", updates, result="i64")
    e.split(e.icmp("sgt", many, e.i64(0)), "updates", "done")
    with e.loop(e.i64(0), many) as loop:
        add(e.slot(e.api("PyList_GetItem", updates, loop.index), "Update", "value"))
    e.api("PyList_Append", keys, e.given("None"), result="i32")
    count = e.api("PyList_Size", leaves, result="i64")
    with e.loop(e.i64(0), count) as loop:
        buffer = e.slot(e.api("PyList_GetItem", leaves, loop.index), "Value", "buffer")
        with e.loop(e.i64(0), many, carry=[e.i64(-1), e.i64(0)]) as over:
            found, base = over.carried
            update = e.slot(e.api("PyList_GetItem", updates, over.index), "Update", "value")
            pack = e.slot(e.item(e.slot(update, "Value", "inputs"), 0), "Value", "buffer")
            members = e.slot(pack, "Pack", "buffers")
            size = e.api("PyList_Size", members, result="i64")
            e.unless(e.icmp("slt", e.bin("mul", size, count), e.i64(PAIRS)), "twin")
            with e.loop(e.i64(0), size, carry=[found]) as inside:
                same = e.icmp("eq", e.api("PyList_GetItem", members, inside.index), buffer)
                inside.next = [e.select(same, e.bin("add", base, inside.index), inside.carried[0])]
            over.next = [inside.carried[0], e.bin("add", base, size)]
        found = over.carried[0]
        e.split(e.icmp("sge", found, e.i64(0)), "alias", "none")
        number = e.api("PyLong_FromLong", found)
        e.api("PyList_Append", keys, number, result="i32")
        e.decref(number)
        e.br("placed")
        e.label("none")
        e.api("PyList_Append", keys, e.given("None"), result="i32")
        e.br("placed")
        e.label("placed")
    e.br("done")
    e.label("done")
    result = e.api("PyList_AsTuple", keys)
    e.decref(keys)
    e.ret(result)
    _end(e, keys_at)
    return e.finished("signature")


def execute(e: ObjectEmitter) -> str:
    """``execute(plan, inputs, scalars)``: run the kernels; a list of the results' buffers."""
    made_at, arena_at, state_at, lock_at, pool_at, one = (e.cell() for _ in range(6))
    table = e.inst("ptr", f"alloca [{SLOTS} x i64]")
    plan, inputs, scalars = _arguments(e, 3)
    says = {name: e.item(plan, i) for i, name in enumerate(PLAN)}
    e.unless(e.icmp("sle", e.integer(says["slots"]), e.i64(SLOTS)), "twin")
    made = e.present(e.api("PyList_New", e.i64(0)), "fail")
    e.store(made, made_at, 8)

    def integer(pair: Operand, index: Operand) -> Operand:
        return e.integer(e.item(pair, index))

    @contextmanager
    def pairs(name: str) -> Iterator[tuple[Operand, Operand]]:
        """The numbers of a flat tuple, two by two."""
        flat = says[name]
        with e.loop(e.i64(0), e.api("PyTuple_Size", flat, result="i64"), 2) as loop:
            yield integer(flat, loop.index), integer(flat, e.add(loop.index, 1))

    def enter(slot: Operand, pointer: Operand) -> None:
        e.store(pointer, e.gep("i64", table, slot), 8)

    def address(buffer: Operand) -> Operand:
        return e.integer(e.slot(buffer, "Buffer", "ptr"))

    for name in ("inputs", "taken"):
        with pairs(name) as (slot, index):
            buffer = e.api("PyList_GetItem", inputs, index)
            e.unless(e.is_(e.kind(buffer), "Buffer"), "twin")
            enter(slot, address(buffer))
    flat = says["outputs"]
    with e.loop(e.i64(0), e.api("PyTuple_Size", flat, result="i64"), 2) as loop:
        nbytes = e.item(flat, e.add(loop.index, 1))
        fresh = e.present(e.api("PyObject_CallOneArg", e.given("allocate"), nbytes), "fail")
        e.api("PyList_Append", made, fresh, result="i32")
        e.decref(fresh)
        enter(integer(flat, loop.index), address(fresh))
    e.unless(_not(e, e.is_(says["arena"], "zero")), "scalars")
    arena = e.present(e.api("PyObject_CallOneArg", e.given("arena"), says["arena"]), "fail")
    e.store(arena, arena_at, 8)
    start = address(arena)
    with pairs("temporaries") as (slot, offset):
        enter(slot, e.bin("add", start, offset))
    e.br("scalars")

    e.label("scalars")
    places = says["places"]
    memory = e.inst("ptr", f"inttoptr {e.integer(says['numbers'])} to ptr")
    with e.loop(e.i64(0), e.api("PyTuple_Size", places, result="i64"), 3) as loop:
        to = e.gep("i64", memory, integer(places, loop.index))
        number = e.present(e.api("PyList_GetItem", scalars, integer(places, e.add(loop.index, 1))), "fail")
        floating = e.icmp("ne", integer(places, e.add(loop.index, 2)), e.i64(0))
        e.split(floating, "float", "whole")
        e.store(e.api("PyFloat_AsDouble", number, result="double"), to, 8)
        e.br("stored")
        e.label("whole")
        e.unless(e.is_(e.kind(number), "int"), "twin")
        e.store(e.integer(number), to, 8)
        e.br("stored")
        e.label("stored")
    e.unless(e.icmp("eq", e.api("PyErr_Occurred"), NULL), "fail")
    slot = e.integer(says["scalars"])
    with e.when(e.icmp("sge", slot, e.i64(0))):
        enter(slot, e.integer(says["numbers"]))

    # One program at a time uses the pool of threads. No Python code runs from taking the lock to giving it back, so no
    # interrupt can come between, but where the pool has too little private memory.
    lock = e.present(e.api("PyDict_GetItemWithError", e.given("threads"), e.given("lock")), "fail")
    e.incref(lock)
    e.decref(e.present(_method(e, lock, "acquire", one), "fail"))
    e.store(lock, lock_at, 8)
    pool = e.present(e.api("PyDict_GetItemWithError", e.given("threads"), e.given("_pool")), "locked")
    e.store(pool, pool_at, 8)
    e.split(e.is_(pool, "None"), "fresh", "there")
    made_pool = e.present(e.api("PyObject_CallOneArg", e.given("pool_of"), says["scratch"]), "locked")
    e.decref(made_pool)  # the module keeps it
    e.store(made_pool, pool_at, 8)
    e.br("pooled")
    e.label("there")
    stride = e.present(e.api("PyObject_GetAttr", pool, e.given("stride")), "locked")
    room = e.integer(stride)
    e.decref(stride)
    e.cond_br(e.icmp("sge", room, e.integer(says["scratch"])), "pooled", "fresh")
    e.label("pooled")
    where = e.present(e.api("PyObject_GetAttr", e.load("ptr", pool_at, 8), e.given("address")), "locked")
    pool_address = e.integer(where)
    e.decref(where)
    calls, count = e.integer(says["calls"]), e.integer(says["kernels"])
    function = e.inst("ptr", f"inttoptr {e.integer(e.given('run'))} to ptr")
    e.split(e.is_(says["long"], "True"), "leave", "go")
    e.store(e.api("PyEval_SaveThread"), state_at, 8)
    e.br("go")
    e.label("go")
    e.raw(f"call void {function.text}({pool_address}, {calls}, {count}, {table})")
    state = e.load("ptr", state_at, 8)
    with e.when(e.icmp("ne", state, NULL)):
        e.api("PyEval_RestoreThread", state, result="void")
    e.decref(_method(e, lock, "release", one))
    e.decref(lock)

    codes = says["results"]
    results = e.present(e.api("PyList_New", e.i64(0)), "fail")
    with e.loop(e.i64(0), e.api("PyTuple_Size", codes, result="i64")) as loop:
        code = integer(codes, loop.index)
        e.split(e.icmp("sge", code, e.i64(0)), "new", "old")
        e.api("PyList_Append", results, e.api("PyList_GetItem", made, code), result="i32")
        e.br("next")
        e.label("old")  # a donated input
        given = e.api("PyList_GetItem", inputs, e.bin("sub", e.i64(-1), code))
        e.api("PyList_Append", results, given, result="i32")
        e.br("next")
        e.label("next")
    e.decref(made)
    e.decref(e.load("ptr", arena_at, 8))
    e.ret(results)
    e.label("locked")
    held = e.load("ptr", lock_at, 8)
    e.decref(_method(e, held, "release", one))
    e.decref(held)
    e.br("fail")
    _end(e, made_at, arena_at)
    return e.finished("execute")


def _method(e: ObjectEmitter, a: Operand, name: str, room: Operand) -> Operand:
    """Call a method without arguments; ``room`` is for one pointer."""
    e.store(a, room, 8)
    return e.api("PyObject_VectorcallMethod", e.given(name), room, e.i64(1), NULL)


def fill(e: ObjectEmitter) -> str:
    """``fill(targets, results)``: Values that are computed hold their memory, and nothing else unless backward needs
    it."""
    targets, results = _arguments(e, 2)
    with e.loop(e.i64(0), e.api("PyList_Size", targets, result="i64")) as loop:
        value = e.api("PyList_GetItem", targets, loop.index)
        buffer = e.api("PyList_GetItem", results, loop.index)
        old = e.slot(value, "Value", "buffer")
        e.put(value, "Value", "buffer", e.incref(buffer))
        e.decref(old)
        e.unless(e.is_(e.slot(value, "Value", "needs_grad"), "False"), "kept")
        for name, nothing in (("op", "None"), ("inputs", "empty")):
            old = e.slot(value, "Value", name)
            e.put(value, "Value", name, e.incref(e.given(nothing)))
            e.decref(old)
        e.br("kept")
        e.label("kept")
    e.ret(e.incref(e.given("None")))
    _end(e)
    return e.finished("fill")
