"""The code for computing what is pending, by a program seen before; the twin is ``graph.program._realize_all``."""

from __future__ import annotations

from luchina.compiler.ir import Operand
from luchina.dispatch.parts import find, thread_of
from luchina.dispatch.writer import NULL, ObjectEmitter

ARGS, NARGS, NAMES = Operand("ptr", "%args"), Operand("i64", "%nargs"), Operand("ptr", "%names")
ZERO = Operand("i32", "0")


def realize(e: ObjectEmitter) -> str:
    """``realize(values)``: whatever is pending and alive. Until the program runs nothing is changed, so that the twin
    may take over: for a new program, for what backward will read, for several devices, for watchers."""
    lock, passed = e.given("program_lock"), e.array(3)
    held = [e.cell() for _ in range(8)]
    kind_at, error_at, trace_at = (e.cell() for _ in range(3))
    at = e.cell("i64", e.i64(0))
    values_at, targets_at, key_at, buffers_at, scalars_at, results_at, updates_at, fresh_at = held

    def call(function: str, *arguments: Operand) -> Operand:
        for i, argument in enumerate(arguments):
            e.store(argument, e.gep("ptr", passed, i), 8)
        return e.api("PyObject_Vectorcall", e.given(function), passed, e.i64(len(arguments)), NULL)

    def method(owner: Operand, name: str, *arguments: Operand) -> Operand:
        for i, argument in enumerate((owner, *arguments)):
            e.store(argument, e.gep("ptr", passed, i), 8)
        return e.api("PyObject_VectorcallMethod", e.given(name), passed, e.i64(1 + len(arguments)), NULL)

    def size(a: Operand) -> Operand:
        return e.api("PyList_Size", a, result="i64")

    def empty(a: Operand) -> Operand:
        return e.icmp("eq", size(a), e.i64(0))

    def keep(a: Operand, cell: Operand, fail: str = "fail") -> Operand:
        e.store(e.present(a, fail), cell, 8)
        return a

    def clear(a: Operand) -> None:
        e.api("PyList_SetSlice", a, e.i64(0), size(a), NULL, result="i32")

    e.unless(e.icmp("eq", NAMES, NULL), "unlocked.twin")
    e.unless(e.icmp("eq", NARGS, e.i64(1)), "unlocked.twin")
    e.decref(e.present(method(lock, "acquire"), "unlocked.fail"))
    thread = thread_of(e, "recording", "fail")
    updates, watched = find(e, thread, "updates", "twin"), find(e, thread, "watched", "twin")
    leaves, counted = find(e, thread, "leaves", "twin"), find(e, thread, "counted", "twin")
    e.unless(empty(find(e, thread, "leaving", "twin")), "twin")
    e.unless(empty(e.given("observers")), "twin")
    accelerators = e.present(e.api("PyObject_GetAttr", e.given("present"), e.given("accelerators")), "fail")
    e.decref(accelerators)
    e.unless(e.is_(accelerators, "False"), "twin")
    values = keep(e.api("PySequence_List", e.load("ptr", ARGS, 8)), values_at)
    targets = keep(call("gather", values), targets_at)
    count = size(targets)
    e.split(e.bin("and", e.icmp("eq", count, e.i64(0)), empty(updates)), "nothing", "something")
    e.br("computed")
    e.label("something")

    # The program.
    with e.loop(e.i64(0), count) as loop:
        value = e.api("PyList_GetItem", targets, loop.index)
        e.unless(e.is_(e.kind(value), "Value"), "twin")
        open_ = e.is_(e.slot(value, "Value", "needs_grad"), "True")
        closed = e.is_(e.slot(value, "Value", "freed"), "True")
        e.unless(e.any_of(closed, e.bin("xor", open_, Operand("i1", "true"))), "twin")
    key = keep(call("signature", targets, updates), key_at)
    program = e.present(e.api("PyDict_GetItemWithError", e.given("programs"), key), "twin")
    plan = e.item(program, 4)
    e.unless(e.bin("xor", e.is_(plan, "None"), Operand("i1", "true")), "twin")
    buffers = keep(e.api("PyList_New", e.i64(0)), buffers_at)
    scalars = keep(e.api("PyList_New", e.i64(0)), scalars_at)
    for place, slot, into in ((1, "buffer", buffers), (2, "number", scalars)):
        numbers = e.item(program, place)
        with e.loop(e.i64(0), e.api("PyTuple_Size", numbers, result="i64")) as loop:
            leaf = e.api("PyList_GetItem", leaves, e.integer(e.item(numbers, loop.index)))
            e.api("PyList_Append", into, e.slot(leaf, "Value", slot), result="i32")
    packs = e.item(program, 3)
    with e.loop(e.i64(0), e.api("PyTuple_Size", packs, result="i64")) as loop:
        leaf = e.api("PyList_GetItem", leaves, e.integer(e.item(packs, loop.index)))
        pack = e.slot(leaf, "Value", "buffer")
        e.unless(e.is_(e.kind(pack), "Pack"), "twin")
        for slot, into in (("buffers", buffers), ("numbers", scalars)):
            more = e.slot(pack, "Pack", slot)
            code = e.api("PyList_SetSlice", into, size(into), size(into), more, result="i32")
            e.unless(e.icmp("eq", code, ZERO), "fail")

    # Run it. Updates are taken off before, so that an interrupt cannot leave them to be done twice.
    e.store(e.incref(updates), updates_at, 8)
    fresh = keep(e.api("PyList_New", e.i64(0)), fresh_at)
    e.api("PyDict_SetItem", thread, e.given("updates"), fresh, result="i32")
    results = e.present(call("execute", plan, buffers, scalars), "unrun")
    e.store(results, results_at, 8)
    epoch = e.present(e.api("PyIter_Next", e.given("epochs")), "fail")
    e.api("PyDict_SetItem", thread, e.given("epoch"), epoch, result="i32")
    e.decref(epoch)
    clear(leaves)
    e.api("PyDict_Clear", counted, result="void")
    e.api("PyDict_SetItem", thread, e.given("touched"), e.given("False"), result="i32")
    e.decref(e.present(call("fill", targets, results), "fail"))
    statistics = e.given("statistics")
    runs = e.present(e.api("PyDict_GetItemWithError", statistics, e.given("runs")), "fail")
    more_runs = e.present(e.api("PyNumber_Add", runs, e.given("one")), "fail")
    e.api("PyDict_SetItem", statistics, e.given("runs"), more_runs, result="i32")
    e.decref(more_runs)
    e.store(count, at, 8)
    with e.loop(e.i64(0), size(updates)) as loop:
        update = e.api("PyList_GetItem", updates, loop.index)
        start = e.load("i64", at, 8)
        stop = e.add(start, size(e.slot(update, "Update", "tensors")))
        e.store(stop, at, 8)
        part = e.present(e.api("PyList_GetSlice", results, start, stop), "fail")
        done = method(update, "finish", part)
        e.decref(part)
        e.decref(e.present(done, "fail"))
    e.br("computed")

    e.label("computed")
    clear(watched)
    e.api("PyDict_SetItem", thread, e.given("graded"), e.given("zero"), result="i32")
    consumed, walked = find(e, thread, "consumed", "fail"), find(e, thread, "walked", "fail")
    e.unless(e.bin("and", empty(consumed), empty(walked)), "unsettled")
    e.br("end")
    e.label("unsettled")
    e.decref(e.present(method(e.given("recording"), "settle"), "fail"))
    e.br("end")
    e.label("end")
    for cell in held:
        e.decref(e.load("ptr", cell, 8))
    e.decref(method(lock, "release"))
    e.ret(e.incref(e.given("None")))

    e.label("unrun")  # for want of memory, perhaps: the twin tries again, and knows what to do
    e.unless(e.icmp("ne", e.api("PyErr_ExceptionMatches", e.given("NoMemory"), result="i32"), ZERO), "fail")
    e.api("PyErr_Clear", result="void")
    e.api("PyDict_SetItem", thread, e.given("updates"), updates, result="i32")
    e.br("twin")

    e.label("twin")
    for cell in held:
        e.decref(e.load("ptr", cell, 8))
    e.unless(e.icmp("eq", e.api("PyErr_Occurred"), NULL), "failed")
    e.decref(method(lock, "release"))
    e.br("unlocked.twin")
    e.label("unlocked.twin")
    e.ret(e.api("PyObject_Vectorcall", e.given("twin"), ARGS, NARGS, NAMES))
    e.label("fail")
    for cell in held:
        e.decref(e.load("ptr", cell, 8))
    e.br("failed")
    e.label("failed")  # the lock is given back with no error set, which is put back afterwards
    e.api("PyErr_Fetch", kind_at, error_at, trace_at, result="void")
    e.decref(method(lock, "release"))
    e.api("PyErr_Restore", *(e.load("ptr", cell, 8) for cell in (kind_at, error_at, trace_at)), result="void")
    e.ret(NULL)
    e.label("unlocked.fail")
    e.ret(NULL)
    return e.finished("realize")
