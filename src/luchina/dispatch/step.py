"""The code for gradients, and for an optimizer's tensors round a step; the twins are in ``autograd.remembered`` and
``graph.update``."""

from __future__ import annotations

from luchina.compiler.ir import Operand
from luchina.dispatch.writer import NULL, ObjectEmitter

SELF = Operand("ptr", "%self")
ARGS, NARGS, NAMES = Operand("ptr", "%args"), Operand("i64", "%nargs"), Operand("ptr", "%names")
_EQUAL = Operand("i32", "2")  # ``Py_EQ``


def _twin(e: ObjectEmitter) -> None:
    e.label("twin")
    e.ret(e.api("PyObject_Vectorcall", e.given("twin"), ARGS, NARGS, NAMES))


def own(e: ObjectEmitter) -> str:
    """``own(tensors)``: the buffers of tensors that nobody else looks at; the twin is asked for any other."""
    found_at, holders_at = e.cell(), e.cell("i64", e.i64(0))
    e.unless(e.icmp("eq", NARGS, e.i64(1)), "twin")
    tensors = e.load("ptr", ARGS, 8)
    count = e.api("PyList_Size", tensors, result="i64")
    result = e.present(e.api("PyList_New", count), "fail")
    with e.loop(e.i64(0), count) as loop:
        tensor = e.api("PyList_GetItem", tensors, loop.index)
        storage = e.slot(tensor, "Tensor", "_storage")
        value = e.slot(storage, "Storage", "value")
        buffer = e.slot(value, "Value", "buffer")
        e.unless(e.is_(e.kind(buffer), "Buffer"), "other")
        e.unless(e.is_(e.slot(storage, "Storage", "lent"), "False"), "other")
        e.unless(e.is_(e.slot(value, "Value", "needs_grad"), "False"), "other")
        e.unless(e.is_(e.slot(tensor, "Tensor", "_dense"), "True"), "other")
        e.unless(e.is_(e.slot(tensor, "Tensor", "_offset"), "zero"), "other")
        shape, shown = e.slot(value, "Value", "shape"), e.slot(tensor, "Tensor", "_shape")
        equal = e.api("PyObject_RichCompareBool", shape, shown, _EQUAL, result="i32")
        e.unless(e.icmp("eq", equal, Operand("i32", "1")), "other")
        e.unless(e.icmp("ne", e.slot(buffer, "Buffer", "_size"), e.given("zero")), "other")
        # Who holds it: the storage's Value, and the Value that the tensor shows, if that is another.
        e.store(e.i64(1), holders_at, 8)
        seen = e.slot(tensor, "Tensor", "_value")
        e.split(e.any_of(e.icmp("eq", seen, value), e.is_(seen, "None")), "alone", "beside")
        e.br("count")
        e.label("beside")
        second = e.icmp("eq", e.slot(seen, "Value", "buffer"), buffer)
        e.store(e.add(e.cast("zext", second, "i64"), 1), holders_at, 8)
        e.br("count")
        e.label("count")
        number = e.present(e.api("PyObject_CallOneArg", e.given("getrefcount"), buffer), "spoilt")
        holders = e.integer(number)
        e.decref(number)
        e.unless(e.icmp("sle", holders, e.load("i64", holders_at, 8)), "other")
        e.store(e.incref(buffer), found_at, 8)
        e.br("found")
        e.label("other")
        asked = e.present(e.api("PyObject_CallOneArg", e.given("own_memory"), tensor), "spoilt")
        e.split(e.is_(asked, "None"), "nothing", "something")
        e.decref(result)
        e.ret(asked)
        e.label("something")
        e.store(asked, found_at, 8)
        e.br("found")
        e.label("found")
        e.api("PyList_SetItem", result, loop.index, e.load("ptr", found_at, 8), result="i32")
    e.ret(result)
    e.label("spoilt")
    e.decref(result)
    e.br("fail")
    e.label("fail")
    e.ret(NULL)
    _twin(e)
    return e.finished("own")


def ready(e: ObjectEmitter) -> str:
    """``ready(held, params, without, counters, versions, memory)``: the Values of the parameters' gradients, if
    everything is as the step before left it, else None."""
    result_at = e.cell()
    e.unless(e.icmp("eq", NARGS, e.i64(6)), "twin")
    held, params, without, counters, versions, memory = (e.load("ptr", e.gep("ptr", ARGS, i), 8) for i in range(6))
    for each, kind in ((held, "tuple"), (params, "list"), (without, "list"), (counters, "list"), (versions, "list")):
        e.unless(e.is_(e.kind(each), kind), "twin")
    with e.loop(e.i64(0), e.api("PyTuple_Size", held, result="i64"), 3) as loop:
        mapping, name, expected = (e.item(held, e.add(loop.index, k)) for k in range(3))
        found = e.api("PyDict_GetItemWithError", mapping, name)
        e.unless(e.icmp("eq", found, expected), "changed")
    with e.loop(e.i64(0), e.api("PyList_Size", without, result="i64")) as loop:
        param = e.api("PyList_GetItem", without, loop.index)
        gradient = e.present(e.api("PyObject_GetAttr", param, e.given("_grad")), "fail")
        e.decref(gradient)  # the parameter keeps it
        e.unless(e.is_(gradient, "None"), "changed")
    count = e.api("PyList_Size", counters, result="i64")
    e.unless(e.icmp("eq", e.api("PyList_Size", versions, result="i64"), count), "changed")
    with e.loop(e.i64(0), count) as loop:
        tensor = e.api("PyList_GetItem", counters, loop.index)
        version = e.slot(e.slot(tensor, "Tensor", "_counter"), "Counter", "version")
        known = e.api("PyList_GetItem", versions, loop.index)
        same = e.api("PyObject_RichCompareBool", version, known, _EQUAL, result="i32")
        e.unless(e.icmp("eq", same, Operand("i32", "1")), "changed")
        value = e.slot(e.slot(tensor, "Tensor", "_storage"), "Storage", "value")
        e.unless(e.icmp("eq", e.slot(value, "Value", "buffer"), memory), "changed")
    count = e.api("PyList_Size", params, result="i64")
    e.store(e.present(e.api("PyList_New", count), "fail"), result_at, 8)
    with e.loop(e.i64(0), count) as loop:
        param = e.api("PyList_GetItem", params, loop.index)
        gradient = e.present(e.api("PyObject_GetAttr", param, e.given("_grad")), "fail")
        e.decref(gradient)
        e.unless(e.bin("xor", e.is_(gradient, "None"), Operand("i1", "true")), "changed")
        storage = e.slot(gradient, "Tensor", "_storage")
        shown = e.icmp("eq", e.slot(gradient, "Tensor", "_generation"), e.slot(storage, "Storage", "generation"))
        value = e.slot(storage, "Storage", "value")
        e.unless(e.bin("and", shown, e.icmp("eq", e.slot(gradient, "Tensor", "_value"), value)), "asked")
        e.unless(e.is_(e.slot(value, "Value", "needs_grad"), "False"), "asked")
        result = e.load("ptr", result_at, 8)
        e.api("PyList_SetItem", result, loop.index, e.incref(value), result="i32")
        e.br("next")
        e.label("asked")
        asked = e.present(e.api("PyObject_CallOneArg", e.given("numbers_of"), gradient), "fail")
        e.api("PyList_SetItem", e.load("ptr", result_at, 8), loop.index, asked, result="i32")
        e.br("next")
        e.label("next")
    e.ret(e.load("ptr", result_at, 8))
    e.label("changed")
    e.unless(e.icmp("eq", e.api("PyErr_Occurred"), NULL), "fail")
    e.decref(e.load("ptr", result_at, 8))
    e.ret(e.incref(e.given("None")))
    e.label("fail")
    e.decref(e.load("ptr", result_at, 8))
    e.ret(NULL)
    _twin(e)
    return e.finished("ready")


def show(e: ObjectEmitter) -> str:
    """``show(tensors, buffers)``: the storages were written over. A leaf of the autograd graph gets its next Value now,
    not when somebody reads it."""
    pair = e.array(2)
    e.unless(e.icmp("eq", NARGS, e.i64(2)), "twin")
    tensors, buffers = e.load("ptr", ARGS, 8), e.load("ptr", e.gep("ptr", ARGS, 1), 8)
    count = e.api("PyList_Size", tensors, result="i64")
    e.unless(e.icmp("eq", e.api("PyList_Size", buffers, result="i64"), count), "twin")
    one = e.given("one")
    with e.loop(e.i64(0), count) as loop:
        tensor = e.api("PyList_GetItem", tensors, loop.index)
        buffer = e.api("PyList_GetItem", buffers, loop.index)
        storage = e.slot(tensor, "Tensor", "_storage")
        counter = e.slot(tensor, "Tensor", "_counter")
        value = e.slot(storage, "Storage", "value")
        e.unless(e.icmp("eq", e.slot(value, "Value", "buffer"), buffer), "moved")
        before = e.slot(storage, "Storage", "generation")
        later = e.present(e.api("PyNumber_Add", before, one), "fail")
        shown = e.icmp("eq", e.slot(tensor, "Tensor", "_generation"), before)
        e.put(storage, "Storage", "generation", later)
        count_before = e.slot(counter, "Counter", "version")
        e.put(counter, "Counter", "version", e.present(e.api("PyNumber_Add", count_before, one), "fail"))
        e.decref(count_before)
        # A leaf as it was, but for its version.
        e.split(shown, "leaf", "done")
        leaf = e.slot(tensor, "Tensor", "_value")
        e.unless(e.is_(e.slot(leaf, "Value", "needs_grad"), "True"), "done")
        e.unless(e.is_(e.slot(leaf, "Value", "op"), "None"), "done")
        e.unless(e.icmp("eq", e.slot(leaf, "Value", "buffer"), buffer), "done")
        e.unless(e.icmp("eq", e.slot(leaf, "Value", "cell"), counter), "done")
        none, empty, minus_one = e.given("None"), e.given("empty"), e.given("minus_one")
        shape, dtype = e.slot(leaf, "Value", "shape"), e.slot(leaf, "Value", "dtype")
        again = e.inner("value", SELF, none, empty, empty, shape, dtype, e.given("True"), minus_one, minus_one, none)
        e.present(again, "fail")
        for name, held in (
            ("buffer", buffer),
            ("cell", counter),
            ("hooks", e.slot(leaf, "Value", "hooks")),
            ("version", e.slot(counter, "Counter", "version")),
            ("key", e.slot(leaf, "Value", "key")),
            ("place", e.slot(leaf, "Value", "place")),
        ):
            old = e.slot(again, "Value", name)
            e.put(again, "Value", name, e.incref(held))
            e.decref(old)
        old = e.slot(tensor, "Tensor", "_generation")
        e.put(tensor, "Tensor", "_generation", e.incref(later))
        e.decref(old)
        e.put(tensor, "Tensor", "_value", again)
        e.decref(leaf)
        e.br("done")
        e.label("moved")
        e.store(tensor, pair, 8)
        e.store(buffer, e.gep("ptr", pair, 1), 8)
        e.decref(e.present(e.api("PyObject_Vectorcall", e.given("show_one"), pair, e.i64(2), NULL), "fail"))
        e.br("shown")
        e.label("done")
        e.decref(before)
        e.br("shown")
        e.label("shown")
    e.ret(e.incref(e.given("None")))
    e.label("fail")
    e.ret(NULL)
    _twin(e)
    return e.finished("show")


def reached(e: ObjectEmitter) -> str:
    """``reached(leaves, read, numbers)``: the leaves with these numbers, if nothing was written to those that are read
    and no hook waits; else None."""
    result_at = e.cell()
    e.unless(e.icmp("eq", NARGS, e.i64(3)), "twin")
    leaves, read, numbers = (e.load("ptr", e.gep("ptr", ARGS, i), 8) for i in range(3))
    e.unless(e.is_(e.kind(leaves), "list"), "twin")
    with e.loop(e.i64(0), e.api("PyTuple_Size", read, result="i64")) as loop:
        leaf = e.present(e.api("PyList_GetItem", leaves, e.integer(e.item(read, loop.index))), "fail")
        cell = e.slot(leaf, "Value", "cell")
        e.split(e.is_(cell, "None"), "unread", "shown")
        e.br("next")
        e.label("shown")
        e.unless(e.is_(e.kind(cell), "Counter"), "twin")
        version, known = e.slot(cell, "Counter", "version"), e.slot(leaf, "Value", "version")
        same = e.api("PyObject_RichCompareBool", version, known, _EQUAL, result="i32")
        e.unless(e.icmp("eq", same, Operand("i32", "1")), "other")
        e.br("next")
        e.label("next")
    count = e.api("PyTuple_Size", numbers, result="i64")
    e.store(e.present(e.api("PyList_New", count), "fail"), result_at, 8)
    with e.loop(e.i64(0), count) as loop:
        leaf = e.present(e.api("PyList_GetItem", leaves, e.integer(e.item(numbers, loop.index))), "fail")
        hooks = e.slot(leaf, "Value", "hooks")
        e.unless(e.is_(e.kind(hooks), "TensorHooks"), "other")
        for name in ("functions", "after"):
            size = e.api("PyObject_Size", e.slot(hooks, "TensorHooks", name), result="i64")
            e.unless(e.icmp("eq", size, e.i64(0)), "other")
        e.api("PyList_SetItem", e.load("ptr", result_at, 8), loop.index, e.incref(leaf), result="i32")
    e.ret(e.load("ptr", result_at, 8))
    e.label("other")
    e.decref(e.load("ptr", result_at, 8))
    e.br("twin")
    e.label("fail")
    e.decref(e.load("ptr", result_at, 8))
    e.ret(NULL)
    _twin(e)
    return e.finished("reached")


def accumulate(e: ObjectEmitter) -> str:
    """``accumulate(leaves, loss, attrs)``: a leaf without a gradient gets one here; its hooks are asked otherwise."""
    passed, value_at = e.array(3), e.cell()
    e.unless(e.icmp("eq", NARGS, e.i64(3)), "twin")
    leaves, loss, attrs = (e.load("ptr", e.gep("ptr", ARGS, i), 8) for i in range(3))
    e.unless(e.is_(e.kind(leaves), "list"), "twin")

    def call(function: str, *arguments: Operand, names: Operand = NULL) -> Operand:
        for i, argument in enumerate(arguments):
            e.store(argument, e.gep("ptr", passed, i), 8)
        positional = len(arguments) - (names is not NULL)
        return e.api("PyObject_Vectorcall", e.given(function), passed, e.i64(positional), names)

    with e.loop(e.i64(0), e.api("PyList_Size", leaves, result="i64")) as loop:
        leaf = e.api("PyList_GetItem", leaves, loop.index)
        hooks = e.slot(leaf, "Value", "hooks")
        made = call("record", e.given("gradient"), loss, e.item(attrs, loop.index), names=e.given("with_attrs"))
        e.store(e.present(made, "fail"), value_at, 8)
        e.unless(e.is_(e.kind(hooks), "TensorHooks"), "asked")
        after = e.api("PyObject_Size", e.slot(hooks, "TensorHooks", "after"), result="i64")
        e.unless(e.icmp("eq", after, e.i64(0)), "asked")
        tensor = e.present(e.api("PyObject_CallNoArgs", e.slot(hooks, "TensorHooks", "tensor")), "spoilt")
        e.decref(tensor)  # its module keeps it, and only this code runs
        e.unless(e.bin("xor", e.is_(tensor, "None"), Operand("i1", "true")), "done")
        have = e.present(e.api("PyObject_GetAttr", tensor, e.given("_grad")), "spoilt")
        e.decref(have)
        e.unless(e.is_(have, "None"), "asked")
        shown = e.present(call("wrap_value", made), "spoilt")
        e.api("PyObject_SetAttr", tensor, e.given("_grad"), shown, result="i32")
        e.decref(shown)
        e.br("done")
        e.label("asked")
        e.store(hooks, e.gep("ptr", passed, 0), 8)
        e.store(made, e.gep("ptr", passed, 1), 8)
        answer = e.api("PyObject_VectorcallMethod", e.given("accumulate"), passed, e.i64(2), NULL)
        e.decref(e.present(answer, "spoilt"))
        e.br("done")
        e.label("done")
        e.decref(made)
    e.ret(e.incref(e.given("None")))
    e.label("spoilt")
    e.decref(e.load("ptr", value_at, 8))
    e.br("fail")
    e.label("fail")
    e.ret(NULL)
    _twin(e)
    return e.finished("accumulate")
