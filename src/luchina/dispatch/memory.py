"""The code that takes a small block of memory from the pool and gives it back; the twins are in ``runtime.buffers``."""

from __future__ import annotations

from luchina.compiler.ir import Operand
from luchina.dispatch.writer import NULL, ObjectEmitter

ARGS, NARGS, NAMES = Operand("ptr", "%args"), Operand("i64", "%nargs"), Operand("ptr", "%names")
SMALL = 1 << 20
"""A larger block is left to the twin, which looks among those of other sizes too."""


def _counted(e: ObjectEmitter, name: str, odd: str) -> Operand:
    """A number of the module ``buffers``; at ``odd`` if it is none, as when the interpreter ends."""
    found = e.present(e.api("PyDict_GetItemWithError", e.given("memory"), e.given(name)), odd)
    e.unless(e.is_(e.kind(found), "int"), odd)
    return e.integer(found)


def _count(e: ObjectEmitter, name: str, number: Operand) -> None:
    made = e.api("PyLong_FromLong", number)
    e.api("PyDict_SetItem", e.given("memory"), e.given(name), made, result="i32")
    e.decref(made)


def _twin(e: ObjectEmitter) -> None:
    e.label("twin")
    e.ret(e.api("PyObject_Vectorcall", e.given("twin"), ARGS, NARGS, NAMES))


def allocate(e: ObjectEmitter) -> str:
    """``allocate(nbytes)`` from the blocks that are kept of its size class."""
    e.unless(e.icmp("eq", NAMES, NULL), "twin")
    e.unless(e.icmp("eq", NARGS, e.i64(1)), "twin")
    asked = e.load("ptr", ARGS, 8)
    e.unless(e.is_(e.kind(asked), "int"), "twin")
    n = e.integer(asked)
    e.unless(e.icmp("sge", n, e.i64(0)), "cleared")
    e.unless(e.icmp("sle", n, e.i64(SMALL)), "cleared")
    # As in the twin: eight classes between powers of two, whole lines.
    last = e.sub(e.select(e.icmp("sgt", n, e.i64(64)), n, e.i64(65)), 1)
    zeros = e.call("i64", "llvm.ctlz.i64", last, Operand("i1", "true"))
    shift = e.sub(e.bin("sub", e.i64(64), zeros), 4)
    size = e.bin("shl", e.add(e.bin("lshr", last, shift), 1), shift)
    size = e.bin("and", e.add(size, 63), e.i64(-64))
    size = e.select(e.icmp("sgt", n, e.i64(64)), size, e.i64(64))
    key = e.present(e.api("PyLong_FromLong", size), "fail")
    blocks = e.present(e.api("PyDict_GetItemWithError", e.given("pool"), key), "none")
    count = e.api("PyList_Size", blocks, result="i64")
    e.unless(e.icmp("sgt", count, e.i64(0)), "none")
    pooled, used = _counted(e, "_pooled", "none"), _counted(e, "_in_use", "none")
    peak = _counted(e, "_peak", "none")
    made = e.present(e.inner("new", Operand("ptr", "%self"), e.given("Buffer")), "failed")
    place = e.sub(count, 1)
    e.put(made, "Buffer", "ptr", e.incref(e.api("PyList_GetItem", blocks, place)))
    e.api("PyList_SetSlice", blocks, place, count, NULL, result="i32")
    e.put(made, "Buffer", "nbytes", e.incref(asked))
    e.put(made, "Buffer", "_size", key)
    e.put(made, "Buffer", "owner", e.incref(e.given("None")))
    _count(e, "_pooled", e.bin("sub", pooled, size))
    used = e.bin("add", used, size)
    _count(e, "_in_use", used)
    with e.when(e.icmp("sgt", used, peak)):
        _count(e, "_peak", used)
    e.ret(made)
    e.label("failed")
    e.decref(key)
    e.br("fail")
    e.label("fail")
    e.ret(NULL)
    e.label("none")
    e.decref(key)
    e.br("cleared")
    e.label("cleared")
    e.api("PyErr_Clear", result="void")
    e.br("twin")
    _twin(e)
    return e.finished("allocate")


def release(e: ObjectEmitter) -> str:
    """``Buffer.__del__``: back to the blocks of its size class."""
    e.unless(e.icmp("eq", NARGS, e.i64(1)), "twin")
    buffer = e.load("ptr", ARGS, 8)
    kept = e.present(e.slot(buffer, "Buffer", "_size"), "done")
    e.unless(e.icmp("ne", kept, e.given("zero")), "done")
    size = e.integer(kept)
    pooled, used = _counted(e, "_pooled", "done"), _counted(e, "_in_use", "done")
    limit = _counted(e, "POOL_LIMIT", "done")
    after = e.bin("add", pooled, size)
    e.unless(e.icmp("sle", after, limit), "twin")
    blocks = e.present(e.api("PyDict_GetItemWithError", e.given("pool"), kept), "twin")
    e.api("PyList_Append", blocks, e.slot(buffer, "Buffer", "ptr"), result="i32")
    _count(e, "_pooled", after)
    _count(e, "_in_use", e.bin("sub", used, size))
    e.br("done")
    e.label("done")
    e.ret(e.incref(e.given("None")))
    _twin(e)
    return e.finished("release")
