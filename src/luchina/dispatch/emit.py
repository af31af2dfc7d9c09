"""The code that does a call again: functions on Python objects, written as LLVM IR.

Three functions, each with a Python twin that defines what it does and takes over whenever anything is out of the
ordinary:

    call    a function on tensors     twin: the function itself; ``calls.Call`` is its memory
    record  ``Op.__call__``           twin: ``Op.record``
    wrap    ``tensor.wrap_value``     twin: the function of that name in Python

A function first finds out, changing nothing, whether it can do everything by itself; if not it calls the twin.
Addresses of Python's objects are not in the code: they come with each call, in a tuple (``CONTEXT``), so that the
code can be kept on disk.
"""

from __future__ import annotations

from collections.abc import Mapping

from luchina.compiler.ir import Operand, module
from luchina.dispatch import memory, run, step
from luchina.dispatch.calls import EARLIER, STEPS
from luchina.dispatch.writer import NULL, ObjectEmitter
from luchina.graph.program import PENDING_LIMIT, PLAIN_LIMIT

ARGUMENTS = 8
"""A call with more of them is left to the twin."""
INPUTS = 64
"""The same of an operation."""

_OBJECTS = (
    "recording", "mode", "anywhere", "too_large", "interned", "scalar_numbers", "layouts", "sequence",
    "object", "Value", "Tensor", "Storage", "Counter", "Spec", "Size", "dtype",
    "None", "True", "False", "int", "float", "bool", "str", "tuple", "NoneType",
    "zero", "empty", "minus_one", "float64", "int64",
    "__dict__", "epoch", "watched", "graded", "grad", "inference", "leaves", "several", "_read", "_base", "_detached",
    "is_floating_point", "attrs", "key_of", "limit", "scalar_number",
    "Buffer", "one", "getrefcount", "own_memory", "show_one",
    "allocate", "arena", "run", "threads", "lock", "_pool", "acquire", "release", "address", "stride",
    "record", "gradient", "with_attrs", "TensorHooks", "_grad", "wrap_value", "accumulate",
    "pool_of", "list", "memory", "pool", "_in_use", "_pooled", "_peak", "POOL_LIMIT",
)  # fmt: skip
OWN = ("twin", "memo", "learn", "laid", "free")
"""What differs from one function to another."""
CONTEXT = {name: i for i, name in enumerate((*_OBJECTS, *OWN))}
"""Where a function finds what it is given, in the tuple that it is bound to."""

SLOTS = {
    "Value": (
        "op", "inputs", "attrs", "shape", "dtype", "needs_grad", "buffer", "number", "weak", "key", "epoch", "label",
        "cell", "context", "version", "hooks", "freed", "sequence",
    ),
    "Tensor": (
        "_storage", "_shape", "_strides", "_offset", "_dtype", "_counter", "_value", "_generation", "_dense",
    ),
    "Storage": ("value", "generation", "owned_elsewhere", "lent", "_exports"),
    "Counter": ("version",),
    "Buffer": ("_size", "nbytes", "owner", "ptr"),
    "Update": ("tensors", "value", "written"),
    "Pack": ("buffers", "numbers"),
    "TensorHooks": ("after", "functions", "tensor"),
    "Op": ("vjp",),
    "Anywhere": ("threads",),
}  # fmt: skip
"""The slots that the code reads or sets: of a Value, a Tensor, a Storage and a Counter, all that a new one has."""

_TP_NEW = 65  # CPython's number of the slot (``typeslots.h``)

Offsets = Mapping[tuple[str, str], int]


def text(triple: str, offsets: Offsets) -> str:
    """The module with all functions."""
    declarations: dict[str, str] = {}
    functions = []
    for write in _FUNCTIONS:
        e = ObjectEmitter(CONTEXT, offsets)
        functions.append(write(e))
        declarations |= e.declarations
    return module(functions, declarations, triple)


def _parameters(*names: str) -> tuple[list[Operand], str]:
    """Pointers that an internal function is given after ``%self``, and its signature."""
    operands = [Operand("ptr", f"%{name}") for name in names]
    return operands, ", ".join(f"ptr %{name}" for name in ("self", *names))


SELF = Operand("ptr", "%self")
NARGS = Operand("i64", "%nargs")


def _new(e: ObjectEmitter) -> str:
    """An object of a class, with no slot set: ``object.__new__(cls)``."""
    (cls,), signature = _parameters("cls")
    make = e.api("PyType_GetSlot", e.given("object"), Operand("i32", str(_TP_NEW)))
    e.ret(e.inst("ptr", f"call ptr {make.text}({cls}, {e.given('empty')}, ptr null)"))
    return e.finished("new", signature, internal=True)


def _value(e: ObjectEmitter) -> str:
    """A recorded Value."""
    names = ("op", "inputs", "attrs", "shape", "dtype", "needs_grad", "key", "epoch", "label")
    operands, signature = _parameters(*names)
    made = e.present(e.inner("new", SELF, e.given("Value")), "fail")
    none, false = e.given("None"), e.given("False")
    e.fill(made, "Value", dict(zip(names, operands)))
    e.fill(made, "Value", dict.fromkeys(("buffer", "number", "cell", "context", "hooks"), none))
    e.fill(made, "Value", {"weak": false, "freed": false, "version": e.given("zero")})
    e.put(made, "Value", "sequence", e.api("PyIter_Next", e.given("sequence")))
    e.ret(made)
    e.label("fail")
    e.ret(NULL)
    return e.finished("value", signature, internal=True)


def _number(e: ObjectEmitter) -> str:
    """A Python number as a leaf, counted: ``scalar(number)`` under the key that it will have."""
    (number, key, epoch, leaves), signature = _parameters("number", "key", "epoch", "leaves")
    dtype = e.select(e.icmp("eq", e.kind(number), e.given("float")), e.given("float64"), e.given("int64"))
    none, empty, false = e.given("None"), e.given("empty"), e.given("False")
    made = e.present(e.inner("value", SELF, none, empty, empty, empty, dtype, false, key, epoch, none), "fail")
    e.decref(e.slot(made, "Value", "number"))
    e.put(made, "Value", "number", e.incref(number))
    e.decref(e.slot(made, "Value", "weak"))
    e.put(made, "Value", "weak", e.incref(e.given("True")))
    e.api("PyList_Append", leaves, made, result="i32")
    e.ret(made)
    e.label("fail")
    e.ret(NULL)
    return e.finished("number", signature, internal=True)


def _shown(e: ObjectEmitter) -> str:
    """A tensor with a storage of its own that shows a Value."""
    (value, shape, strides), signature = _parameters("value", "shape", "strides")
    zero, none, false, true = e.given("zero"), e.given("None"), e.given("False"), e.given("True")
    counter = e.present(e.inner("new", SELF, e.given("Counter")), "fail")
    e.fill(counter, "Counter", {"version": zero})
    e.decref(e.slot(value, "Value", "cell"))
    e.put(value, "Value", "cell", counter)
    storage = e.present(e.inner("new", SELF, e.given("Storage")), "fail")
    e.fill(storage, "Storage", {"value": value, "generation": zero})
    e.fill(storage, "Storage", {"owned_elsewhere": false, "lent": false, "_exports": none})
    tensor = e.inner("new", SELF, e.given("Tensor"))
    e.cond_br(e.icmp("ne", tensor, NULL), "made", "spoilt")
    e.label("made")
    e.put(tensor, "Tensor", "_storage", storage)
    e.fill(tensor, "Tensor", {"_shape": shape, "_strides": strides, "_offset": zero, "_generation": zero})
    e.fill(tensor, "Tensor", {"_dtype": e.slot(value, "Value", "dtype"), "_counter": counter})
    e.fill(tensor, "Tensor", {"_value": value, "_dense": true})
    e.ret(tensor)
    e.label("spoilt")
    e.decref(storage)
    e.br("fail")
    e.label("fail")
    e.ret(NULL)
    return e.finished("shown", signature, internal=True)


def _viewed(e: ObjectEmitter) -> str:
    """A view of a tensor: a window on its storage that shows a Value."""
    (source, value, template), signature = _parameters("source", "value", "template")
    view = e.item(template, 3)
    tensor = e.present(e.inner("new", SELF, e.given("Tensor")), "fail")
    counter, storage = e.slot(source, "Tensor", "_counter"), e.slot(source, "Tensor", "_storage")
    for name, held in (("cell", counter), ("version", e.slot(counter, "Counter", "version"))):
        old = e.slot(value, "Value", name)
        e.put(value, "Value", name, e.incref(held))
        e.decref(old)
    e.fill(tensor, "Tensor", {"_storage": storage, "_counter": counter, "_value": value})
    e.fill(tensor, "Tensor", {"_generation": e.slot(storage, "Storage", "generation")})
    e.fill(tensor, "Tensor", {"_shape": e.item(template, 1), "_strides": e.item(template, 2)})
    e.fill(tensor, "Tensor", {"_dtype": e.slot(value, "Value", "dtype"), "_dense": e.item(view, 2)})
    offset = e.api("PyNumber_Add", e.slot(source, "Tensor", "_offset"), e.item(view, 1))
    e.put(tensor, "Tensor", "_offset", offset)
    base_at = e.cell("ptr", e.present(e.api("PyObject_GetAttr", source, e.given("_base")), "spoilt"))
    e.split(e.is_(e.load("ptr", base_at, 8), "None"), "first", "based")
    e.decref(e.load("ptr", base_at, 8))
    e.store(e.incref(source), base_at, 8)
    e.br("based")
    e.label("based")
    base = e.load("ptr", base_at, 8)
    e.api("PyObject_SetAttr", tensor, e.given("_base"), base, result="i32")
    e.decref(base)
    with e.when(e.is_(e.item(view, 3), "True")):
        e.api("PyObject_SetAttr", tensor, e.given("_detached"), e.given("True"), result="i32")
    e.ret(tensor)
    e.label("spoilt")
    e.decref(tensor)
    e.br("fail")
    e.label("fail")
    e.ret(NULL)
    return e.finished("viewed", signature, internal=True)


def _watch(e: ObjectEmitter) -> str:
    """``program.watch`` of a tensor's storage: 0, or -1 with Python's error set."""
    (tensor, thread), signature = _parameters("tensor", "thread")
    storage = e.slot(tensor, "Tensor", "_storage")
    value = e.slot(tensor, "Tensor", "_value")
    watched = e.present(e.api("PyDict_GetItemWithError", thread, e.given("watched")), "fail")
    reference = e.present(e.api("PyWeakref_NewRef", storage, NULL), "fail")
    e.api("PyList_Append", watched, reference, result="i32")
    e.decref(reference)
    count = e.api("PyList_Size", watched, result="i64")
    e.split(e.is_(e.slot(value, "Value", "needs_grad"), "True"), "graded", "plain")
    number = e.present(e.api("PyLong_FromLong", count), "fail")
    e.api("PyDict_SetItem", thread, e.given("graded"), number, result="i32")
    e.decref(number)
    e.cond_br(e.icmp("sgt", count, e.i64(PENDING_LIMIT)), "full", "done")
    e.label("plain")
    graded = e.api("PyLong_AsLong", e.api("PyDict_GetItemWithError", thread, e.given("graded")), result="i64")
    many = e.icmp("sgt", e.sub(count, graded), e.i64(PLAIN_LIMIT))
    e.cond_br(e.any_of(many, e.icmp("sgt", count, e.i64(PENDING_LIMIT))), "full", "done")
    e.label("full")
    result = e.present(e.api("PyObject_CallNoArgs", e.given("limit")), "fail")
    e.decref(result)
    e.br("done")
    e.label("done")
    e.ret(Operand("i32", "0"))
    e.label("fail")
    e.ret(Operand("i32", "-1"))
    return e.finished("watch", signature, result="i32", internal=True)


def _key(e: ObjectEmitter) -> str:
    """A Value's key in this epoch, as a reference of the caller's own. Memory that is a leaf for the first time in it
    is counted here; the twin, ``key_of``, takes care of everything else."""
    (value, epoch, thread), signature = _parameters("value", "epoch", "thread")
    key = e.slot(value, "Value", "key")
    e.unless(e.icmp("eq", e.slot(value, "Value", "epoch"), epoch), "stale")
    e.unless(e.icmp("ne", key, e.given("minus_one")), "stale")
    e.ret(e.incref(key))
    e.label("stale")
    role_at = e.cell("ptr", e.given("zero"))
    e.unless(e.is_(e.kind(e.slot(value, "Value", "buffer")), "Buffer"), "twin")
    several = e.present(e.api("PyObject_GetAttr", e.given("recording"), e.given("several")), "fail")
    e.decref(several)
    e.unless(e.is_(several, "False"), "twin")
    leaves = e.present(e.api("PyDict_GetItemWithError", thread, e.given("leaves")), "twin")
    e.split(e.is_(e.slot(value, "Value", "needs_grad"), "True"), "graded", "look")
    e.unless(e.is_(e.slot(value, "Value", "op"), "None"), "twin")
    e.store(e.given("one"), role_at, 8)
    e.br("look")
    e.label("look")
    parts = [e.slot(value, "Value", name) for name in ("shape", "dtype", "weak")]
    parts += [e.load("ptr", role_at, 8), e.given("None")]
    structure = e.present(e.api("PyTuple_New", e.i64(len(parts) + 1)), "fail")
    place = e.api("PyLong_FromLong", e.api("PyList_Size", leaves, result="i64"))
    e.api("PyTuple_SetItem", structure, e.i64(0), place, result="i32")
    for at, held in enumerate(parts, 1):
        e.api("PyTuple_SetItem", structure, e.i64(at), e.incref(held), result="i32")
    entry = e.api("PyDict_GetItemWithError", e.given("interned"), structure)
    e.decref(structure)
    e.present(entry, "twin")
    e.api("PyList_Append", leaves, value, result="i32")
    number = e.item(entry, 0)
    for name, held in (("key", number), ("epoch", epoch)):
        old = e.slot(value, "Value", name)
        e.put(value, "Value", name, e.incref(held))
        e.decref(old)
    e.ret(e.incref(number))
    e.label("twin")
    e.ret(e.api("PyObject_CallOneArg", e.given("key_of"), value))
    e.label("fail")
    e.ret(NULL)
    return e.finished("key", signature, internal=True)


def _thread(e: ObjectEmitter, local: str, fail: str) -> Operand:
    """The dictionary of a ``threading.local`` in this thread, borrowed: the thread keeps it."""
    found = e.present(e.api("PyObject_GetAttr", e.given(local), e.given("__dict__")), fail)
    e.decref(found)
    return found


def _find(e: ObjectEmitter, mapping: Operand, name: str, fail: str) -> Operand:
    return e.present(e.api("PyDict_GetItemWithError", mapping, e.given(name)), fail)


def _call(e: ObjectEmitter) -> str:
    """A function on tensors, from the Template of the same call."""
    args, names = Operand("ptr", "%args"), Operand("ptr", "%names")
    values, earlier, passed = e.array(ARGUMENTS), e.array(STEPS), e.array(ARGUMENTS + 1)
    key_at, result_at, what, held, found_at, last_at = (e.cell() for _ in range(6))
    numbers_at, place_at = e.cell("i64", e.i64(0)), e.cell("i64", e.i64(0))

    # Nothing out of the ordinary? Arguments given by name follow the others.
    count_at = e.cell("i64", NARGS)
    e.split(e.icmp("ne", names, NULL), "named", "unnamed")
    e.store(e.add(NARGS, e.api("PyTuple_Size", names, result="i64")), count_at, 8)
    e.br("unnamed")
    e.label("unnamed")
    count = e.load("i64", count_at, 8)
    e.unless(e.icmp("sle", count, e.i64(ARGUMENTS)), "twin")
    e.unless(e.icmp("sgt", count, e.i64(0)), "twin")
    e.unless(e.icmp("eq", e.api("PySet_Size", e.given("too_large"), result="i64"), e.i64(0)), "twin")
    e.unless(e.is_(e.slot(e.given("anywhere"), "Anywhere", "threads"), "zero"), "twin")
    thread, modes = _thread(e, "recording", "fail"), _thread(e, "mode", "fail")
    epoch = _find(e, thread, "epoch", "twin")
    grad = _find(e, modes, "grad", "twin")
    e.unless(e.is_(_find(e, modes, "inference", "twin"), "False"), "twin")
    leaves = _find(e, thread, "leaves", "twin")
    laid, free = e.is_(e.given("laid"), "True"), e.is_(e.given("free"), "True")

    # The key: for each argument None and its Value's key, or its type and itself; whether there are gradients; names.
    length = e.add(e.mul(count, 2), 2)
    key = e.present(e.api("PyTuple_New", length), "fail")
    e.store(key, key_at, 8)
    with e.loop(e.i64(0), count) as loop:
        i = loop.index
        a = e.load("ptr", e.gep("ptr", args, i), 8)
        kind = e.kind(a)
        e.split(e.is_(kind, "Tensor"), "tensor", "other")
        storage = e.slot(a, "Tensor", "_storage")
        e.unless(e.is_(e.slot(storage, "Storage", "lent"), "False"), "twin")
        dense = e.is_(e.slot(a, "Tensor", "_dense"), "True")
        e.unless(e.any_of(dense, e.bin("xor", laid, Operand("i1", "true"))), "twin")
        current = e.icmp("eq", e.slot(a, "Tensor", "_generation"), e.slot(storage, "Storage", "generation"))
        e.split(current, "ready", "refresh")
        e.store(e.incref(e.slot(a, "Tensor", "_value")), e.gep("ptr", values, i), 8)
        e.br("read")
        e.label("refresh")
        e.store(a, passed, 8)
        fresh = e.api("PyObject_VectorcallMethod", e.given("_read"), passed, e.i64(1), NULL)
        e.store(e.present(fresh, "fail"), e.gep("ptr", values, i), 8)
        e.br("read")
        e.label("read")
        value = e.load("ptr", e.gep("ptr", values, i), 8)
        cell = e.slot(value, "Value", "cell")
        e.unless(e.any_of(e.is_(cell, "None"), e.is_(e.kind(cell), "Counter")), "twin")
        number = e.present(e.inner("key", SELF, value, epoch, thread), "fail")
        e.store(e.incref(e.given("None")), what, 8)
        e.store(number, held, 8)
        e.br("enter")

        e.label("other")
        e.split(e.any_of(e.is_(kind, "int"), e.is_(kind, "float")), "numeric", "plain")
        e.cond_br(free, "scalar", "fixed")
        e.label("scalar")  # a run-time scalar: its own key is found when all tensors are counted
        e.split(e.is_(kind, "int"), "whole", "counted")
        e.api("PyLong_AsLong", a, result="i64")
        e.unless(e.icmp("eq", e.api("PyErr_Occurred"), NULL), "huge")
        e.br("counted")
        e.label("huge")
        e.api("PyErr_Clear", result="void")
        e.br("twin")
        e.label("counted")
        e.store(e.add(e.load("i64", numbers_at, 8), 1), numbers_at, 8)
        e.store(e.incref(kind), what, 8)
        e.store(e.incref(e.given("None")), held, 8)
        e.br("enter")
        e.label("fixed")  # 0.0 and -0.0 are equal, and yet not the same
        e.split(e.is_(kind, "float"), "real", "constant")
        e.unless(e.fcmp("one", e.api("PyFloat_AsDouble", a, result="double"), e.const("double", 0.0)), "twin")
        e.br("constant")
        e.label("plain")
        simple = e.any_of(*(e.is_(kind, name) for name in ("bool", "NoneType", "str", "dtype")))
        e.split(simple, "known", "unknown")
        e.br("constant")
        e.label("unknown")
        e.split(e.any_of(e.is_(kind, "tuple"), e.is_(kind, "Size")), "extents", "subclass")
        with e.loop(e.i64(0), e.api("PyTuple_Size", a, result="i64")) as inside:
            e.unless(e.is_(e.kind(e.item(a, inside.index)), "int"), "twin")
        e.br("constant")
        e.label("subclass")
        subtype = e.api("PyType_IsSubtype", kind, e.given("Tensor"), result="i32")
        e.cond_br(e.icmp("ne", subtype, Operand("i32", "0")), "tensor", "twin")
        e.label("constant")
        e.store(e.incref(kind), what, 8)
        e.store(e.incref(a), held, 8)
        e.br("enter")
        e.label("enter")
        e.api("PyTuple_SetItem", key, e.mul(i, 2), e.load("ptr", what, 8), result="i32")
        e.api("PyTuple_SetItem", key, e.add(e.mul(i, 2), 1), e.load("ptr", held, 8), result="i32")
    e.api("PyTuple_SetItem", key, e.mul(count, 2), e.incref(grad), result="i32")
    given = e.select(e.icmp("eq", names, NULL), e.given("None"), names)
    e.api("PyTuple_SetItem", key, e.add(e.mul(count, 2), 1), e.incref(given), result="i32")

    # A run-time scalar counts by its place among the leaves, behind those that the tensors brought.
    numbers = e.load("i64", numbers_at, 8)
    e.split(e.icmp("sgt", numbers, e.i64(0)), "scalars", "look")
    several = e.present(e.api("PyObject_GetAttr", e.given("recording"), e.given("several")), "fail")
    e.decref(several)
    e.unless(e.is_(several, "False"), "twin")
    e.store(e.api("PyList_Size", leaves, result="i64"), place_at, 8)
    with e.loop(e.i64(0), count) as loop:
        kind = e.item(key, e.mul(loop.index, 2))
        number = e.any_of(e.is_(kind, "int"), e.is_(kind, "float"))
        with e.when(number):
            place = e.load("i64", place_at, 8)
            e.store(e.add(place, 1), place_at, 8)
            pair = e.present(e.api("PyTuple_New", e.i64(2)), "fail")
            e.api("PyTuple_SetItem", pair, e.i64(0), e.api("PyLong_FromLong", place), result="i32")
            e.api("PyTuple_SetItem", pair, e.i64(1), e.incref(kind), result="i32")
            found = e.api("PyDict_GetItemWithError", e.given("scalar_numbers"), pair)
            e.store(found, found_at, 8)
            e.split(e.icmp("eq", found, NULL), "unseen", "seen")
            made = e.api("PyObject_CallOneArg", e.given("scalar_number"), pair)
            e.decref(made)  # the dictionary keeps it
            e.store(made, found_at, 8)
            e.br("seen")
            e.label("seen")
            e.decref(pair)
            found = e.present(e.load("ptr", found_at, 8), "fail")
            e.api("PyTuple_SetItem", key, e.add(e.mul(loop.index, 2), 1), e.incref(found), result="i32")
    e.br("look")

    e.label("look")
    template = e.present(e.api("PyDict_GetItemWithError", e.given("memo"), key), "miss")
    e.unless(e.icmp("ne", template, e.given("None")), "twin")
    view = e.item(template, 3)
    e.split(e.is_(view, "None"), "own", "window")
    e.br("ready.to.record")
    e.label("window")  # a view is of memory that lies as it lay when this was learnt
    source = e.load("ptr", args, 8)
    detached = e.present(e.api("PyObject_GetAttr", source, e.given("_detached")), "fail")
    e.decref(detached)
    e.unless(e.is_(detached, "False"), "twin")
    strides = e.slot(source, "Tensor", "_strides")
    equal = e.api("PyObject_RichCompareBool", strides, e.item(view, 0), Operand("i32", "2"), result="i32")
    e.unless(e.icmp("eq", equal, Operand("i32", "1")), "twin")
    e.br("ready.to.record")
    e.label("ready.to.record")
    e.incref(template)

    # Nothing can go wrong from here on: record.
    e.split(e.icmp("sgt", numbers, e.i64(0)), "count", "steps")
    with e.loop(e.i64(0), count) as loop:
        kind = e.item(key, e.mul(loop.index, 2))
        with e.when(e.any_of(e.is_(kind, "int"), e.is_(kind, "float"))):
            a = e.load("ptr", e.gep("ptr", args, loop.index), 8)
            number = e.inner("number", SELF, a, e.item(key, e.add(e.mul(loop.index, 2), 1)), epoch, leaves)
            e.store(e.present(number, "spoilt"), e.gep("ptr", values, loop.index), 8)
    e.br("steps")
    e.label("steps")
    steps = e.item(template, 0)
    with e.loop(e.i64(0), e.api("PyTuple_Size", steps, result="i64")) as loop:
        step = e.item(steps, loop.index)
        sources = e.item(step, 1)
        size = e.api("PyTuple_Size", sources, result="i64")
        inputs = e.present(e.api("PyTuple_New", size), "spoilt")
        with e.loop(e.i64(0), size) as inside:
            source = e.api("PyLong_AsLong", e.item(sources, inside.index), result="i64")
            given = e.icmp("slt", source, e.i64(EARLIER))
            at = e.select(given, e.gep("ptr", values, source), e.gep("ptr", earlier, e.sub(source, EARLIER)))
            e.api("PyTuple_SetItem", inputs, inside.index, e.incref(e.load("ptr", at, 8)), result="i32")
        parts = [e.item(step, k) for k in (0, 2, 3, 4, 5, 6, 7)]
        op, attrs, shape, dtype, needs_grad, number, label = parts
        made = e.inner("value", SELF, op, inputs, attrs, shape, dtype, needs_grad, number, epoch, label)
        e.decref(inputs)
        e.store(e.present(made, "spoilt"), e.gep("ptr", earlier, loop.index), 8)
        e.store(made, last_at, 8)
    e.split(e.is_(e.item(template, 3), "None"), "fresh", "seen.through")
    tensor = e.inner("shown", SELF, e.load("ptr", last_at, 8), e.item(template, 1), e.item(template, 2))
    e.store(e.present(tensor, "spoilt"), result_at, 8)
    code = e.inner("watch", SELF, tensor, thread, result="i32")
    e.unless(e.icmp("eq", code, Operand("i32", "0")), "unwatched")
    e.decref(template)
    e.br("end")
    e.label("seen.through")
    window = e.inner("viewed", SELF, e.load("ptr", args, 8), e.load("ptr", last_at, 8), template)
    e.store(window, result_at, 8)
    e.decref(template)
    e.br("end")

    e.label("unwatched")
    e.decref(tensor)
    e.store(NULL, result_at, 8)
    e.br("spoilt")
    e.label("spoilt")
    e.decref(template)
    e.br("end")
    e.label("miss")
    e.unless(e.icmp("eq", e.api("PyErr_Occurred"), NULL), "fail")
    e.store(key, passed, 8)
    with e.loop(e.i64(0), count) as loop:
        a = e.load("ptr", e.gep("ptr", args, loop.index), 8)
        e.store(a, e.gep("ptr", passed, e.add(loop.index, 1)), 8)
    e.store(e.api("PyObject_Vectorcall", e.given("learn"), passed, e.add(count, 1), NULL), result_at, 8)
    e.br("end")
    e.label("twin")
    e.store(e.api("PyObject_Vectorcall", e.given("twin"), args, NARGS, names), result_at, 8)
    e.br("end")
    e.label("fail")
    e.br("end")
    e.label("end")
    for array, room in ((values, ARGUMENTS), (earlier, STEPS)):
        for k in range(room):
            e.decref(e.load("ptr", e.gep("ptr", array, k), 8))
    e.decref(e.load("ptr", key_at, 8))
    e.ret(e.load("ptr", result_at, 8))
    return e.finished("call")


def _record(e: ObjectEmitter) -> str:
    """``Op.__call__(op, *inputs, attrs=())`` for operations with one result that were recorded before."""
    args, names = Operand("ptr", "%args"), Operand("ptr", "%names")
    key_at, result_at, attrs_at, needs_at = e.cell(), e.cell(), e.cell("ptr", e.given("empty")), e.cell()
    e.unless(e.icmp("sgt", NARGS, e.i64(0)), "twin")
    e.unless(e.icmp("sle", NARGS, e.i64(INPUTS)), "twin")
    e.split(e.icmp("ne", names, NULL), "named", "unnamed")
    e.unless(e.icmp("eq", e.api("PyTuple_Size", names, result="i64"), e.i64(1)), "twin")
    e.unless(e.is_(e.item(names, 0), "attrs"), "twin")
    e.store(e.load("ptr", e.gep("ptr", args, NARGS), 8), attrs_at, 8)
    e.br("unnamed")
    e.label("unnamed")
    attrs = e.load("ptr", attrs_at, 8)
    thread, modes = _thread(e, "recording", "fail"), _thread(e, "mode", "fail")
    epoch, grad = _find(e, thread, "epoch", "twin"), _find(e, modes, "grad", "twin")
    op = e.load("ptr", args, 8)
    count = e.sub(NARGS, 1)
    inputs = e.gep("ptr", args, 1)

    # Does a gradient flow through it?
    e.store(e.given("False"), needs_at, 8)
    derivative = e.icmp("ne", e.slot(op, "Op", "vjp"), e.given("None"))
    asked = e.bin("and", e.is_(grad, "True"), derivative)
    with e.loop(e.i64(0), count) as loop:
        value = e.load("ptr", e.gep("ptr", inputs, loop.index), 8)
        e.unless(e.is_(e.kind(value), "Value"), "twin")
        cell = e.slot(value, "Value", "cell")
        e.unless(e.any_of(e.is_(cell, "None"), e.is_(e.kind(cell), "Counter")), "twin")
        needs = e.bin("and", asked, e.is_(e.slot(value, "Value", "needs_grad"), "True"))
        with e.when(needs):
            e.store(e.given("True"), needs_at, 8)

    key = e.present(e.api("PyTuple_New", e.add(count, 3)), "fail")
    e.store(key, key_at, 8)
    for place, held in enumerate((op, attrs, e.load("ptr", needs_at, 8))):
        e.api("PyTuple_SetItem", key, e.i64(place), e.incref(held), result="i32")
    with e.loop(e.i64(0), count) as loop:
        value = e.load("ptr", e.gep("ptr", inputs, loop.index), 8)
        number = e.present(e.inner("key", SELF, value, epoch, thread), "fail")
        e.api("PyTuple_SetItem", key, e.add(loop.index, 3), number, result="i32")
    entry = e.present(e.api("PyDict_GetItemWithError", e.given("interned"), key), "unseen")
    spec = e.item(entry, 1)
    e.unless(e.is_(e.kind(spec), "Spec"), "twin")
    dtype = e.item(spec, 1)
    e.split(e.is_(e.load("ptr", needs_at, 8), "True"), "graded", "ready")
    floating = e.present(e.api("PyObject_GetAttr", dtype, e.given("is_floating_point")), "fail")
    e.decref(floating)
    e.store(floating, needs_at, 8)
    e.br("ready")
    e.label("ready")
    sources = e.present(e.api("PyTuple_New", count), "fail")
    with e.loop(e.i64(0), count) as loop:
        value = e.load("ptr", e.gep("ptr", inputs, loop.index), 8)
        e.api("PyTuple_SetItem", sources, loop.index, e.incref(value), result="i32")
    none, needs = e.given("None"), e.load("ptr", needs_at, 8)
    number = e.item(entry, 0)
    made = e.inner("value", SELF, op, sources, attrs, e.item(spec, 0), dtype, needs, number, epoch, none)
    e.store(made, result_at, 8)
    e.decref(sources)
    e.br("end")

    e.label("unseen")
    e.unless(e.icmp("eq", e.api("PyErr_Occurred"), NULL), "fail")
    e.br("twin")
    e.label("twin")
    e.store(e.api("PyObject_Vectorcall", e.given("twin"), args, NARGS, names), result_at, 8)
    e.br("end")
    e.label("fail")
    e.br("end")
    e.label("end")
    e.decref(e.load("ptr", key_at, 8))
    e.ret(e.load("ptr", result_at, 8))
    return e.finished("record")


def _wrap(e: ObjectEmitter) -> str:
    """``wrap_value(value)``: a new tensor whose numbers are the Value's."""
    args, names = Operand("ptr", "%args"), Operand("ptr", "%names")
    e.unless(e.icmp("eq", names, NULL), "twin")
    e.unless(e.icmp("eq", NARGS, e.i64(1)), "twin")
    value = e.load("ptr", args, 8)
    e.unless(e.is_(e.kind(value), "Value"), "twin")
    e.unless(e.is_(e.slot(value, "Value", "cell"), "None"), "twin")
    e.unless(e.is_(e.slot(value, "Value", "weak"), "False"), "twin")
    e.unless(e.icmp("eq", e.api("PySet_Size", e.given("too_large"), result="i64"), e.i64(0)), "twin")
    thread, modes = _thread(e, "recording", "fail"), _thread(e, "mode", "fail")
    e.unless(e.is_(_find(e, modes, "inference", "twin"), "False"), "twin")
    layout = _find_object(e, e.given("layouts"), e.slot(value, "Value", "shape"), "twin")
    tensor = e.present(e.inner("shown", SELF, value, e.item(layout, 0), e.item(layout, 1)), "fail")
    buffer, number = e.slot(value, "Value", "buffer"), e.slot(value, "Value", "number")
    e.split(e.bin("and", e.is_(buffer, "None"), e.is_(number, "None")), "pending", "end")
    code = e.inner("watch", SELF, tensor, thread, result="i32")
    e.unless(e.icmp("ne", code, Operand("i32", "0")), "end")
    e.decref(tensor)
    e.br("fail")
    e.label("end")
    e.ret(tensor)
    e.label("twin")
    e.ret(e.api("PyObject_Vectorcall", e.given("twin"), args, NARGS, names))
    e.label("fail")
    e.ret(NULL)
    return e.finished("wrap")


def _find_object(e: ObjectEmitter, mapping: Operand, key: Operand, fail: str) -> Operand:
    return e.present(e.api("PyDict_GetItemWithError", mapping, key), fail)


_FUNCTIONS = (
    *(_new, _value, _number, _shown, _viewed, _watch, _key, _call, _record, _wrap),
    *(step.own, step.show, step.accumulate, memory.allocate, memory.release),
    *(run.gather, run.signature, run.execute, run.fill),
)
