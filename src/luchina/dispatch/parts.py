"""Parts that the compiled functions share: new Values and tensors, keys, what belongs to a thread."""

from __future__ import annotations

from luchina.compiler.ir import Operand
from luchina.dispatch.writer import NULL, ObjectEmitter
from luchina.graph.program import PENDING_LIMIT, PLAIN_LIMIT

_TP_NEW = 65  # CPython's number of the slot (``typeslots.h``)


def parameters(*names: str) -> tuple[list[Operand], str]:
    """Pointers that an internal function is given after ``%self``, and its signature."""
    operands = [Operand("ptr", f"%{name}") for name in names]
    return operands, ", ".join(f"ptr %{name}" for name in ("self", *names))


SELF = Operand("ptr", "%self")
NARGS = Operand("i64", "%nargs")


def new(e: ObjectEmitter) -> str:
    """An object of a class, with no slot set: ``object.__new__(cls)``."""
    (cls,), signature = parameters("cls")
    make = e.api("PyType_GetSlot", e.given("object"), Operand("i32", str(_TP_NEW)))
    e.ret(e.inst("ptr", f"call ptr {make.text}({cls}, {e.given('empty')}, ptr null)"))
    return e.finished("new", signature, internal=True)


def value(e: ObjectEmitter) -> str:
    """A recorded Value."""
    names = ("op", "inputs", "attrs", "shape", "dtype", "needs_grad", "key", "epoch", "label")
    operands, signature = parameters(*names)
    made = e.present(e.inner("new", SELF, e.given("Value")), "fail")
    none, false = e.given("None"), e.given("False")
    e.fill(made, "Value", dict(zip(names, operands)))
    e.fill(made, "Value", dict.fromkeys(("buffer", "number", "cell", "context", "hooks", "place"), none))
    e.fill(made, "Value", {"weak": false, "freed": false, "version": e.given("zero")})
    e.put(made, "Value", "sequence", e.api("PyIter_Next", e.given("sequence")))
    e.ret(made)
    e.label("fail")
    e.ret(NULL)
    return e.finished("value", signature, internal=True)


def number(e: ObjectEmitter) -> str:
    """A Python number as a leaf, counted: ``scalar(number)`` under the key that it will have."""
    (number, key, epoch, leaves), signature = parameters("number", "key", "epoch", "leaves")
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


def shown(e: ObjectEmitter) -> str:
    """A tensor with a storage of its own that shows a Value."""
    (value, shape, strides), signature = parameters("value", "shape", "strides")
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


def viewed(e: ObjectEmitter) -> str:
    """A view of a tensor: a window on its storage that shows a Value."""
    (source, value, result), signature = parameters("source", "value", "result")
    view = e.item(result, 3)
    tensor = e.present(e.inner("new", SELF, e.given("Tensor")), "fail")
    counter, storage = e.slot(source, "Tensor", "_counter"), e.slot(source, "Tensor", "_storage")
    for name, held in (("cell", counter), ("version", e.slot(counter, "Counter", "version"))):
        old = e.slot(value, "Value", name)
        e.put(value, "Value", name, e.incref(held))
        e.decref(old)
    e.fill(tensor, "Tensor", {"_storage": storage, "_counter": counter, "_value": value})
    e.fill(tensor, "Tensor", {"_generation": e.slot(storage, "Storage", "generation")})
    e.fill(tensor, "Tensor", {"_shape": e.item(result, 1), "_strides": e.item(result, 2)})
    e.fill(tensor, "Tensor", {"_dtype": e.slot(value, "Value", "dtype"), "_dense": e.item(view, 1)})
    offset = e.api("PyNumber_Add", e.slot(source, "Tensor", "_offset"), e.item(view, 0))
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
    with e.when(e.is_(e.item(view, 2), "True")):
        e.api("PyObject_SetAttr", tensor, e.given("_detached"), e.given("True"), result="i32")
    part = e.item(view, 3)
    with e.when(e.bin("xor", e.is_(part, "None"), Operand("i1", "true"))):
        e.api("PyObject_SetAttr", tensor, e.given("_multi_view"), part, result="i32")
    e.ret(tensor)
    e.label("spoilt")
    e.decref(tensor)
    e.br("fail")
    e.label("fail")
    e.ret(NULL)
    return e.finished("viewed", signature, internal=True)


def watch(e: ObjectEmitter) -> str:
    """``program.watch`` of a tensor's storage: 0, or -1 with Python's error set."""
    (tensor, thread), signature = parameters("tensor", "thread")
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


def key(e: ObjectEmitter) -> str:
    """A Value's key in this epoch, as a reference of the caller's own. Memory that is a leaf for the first time in it
    is counted here; the twin, ``key_of``, takes care of everything else."""
    (value, epoch, thread), signature = parameters("value", "epoch", "thread")
    key = e.slot(value, "Value", "key")
    e.unless(e.icmp("eq", e.slot(value, "Value", "epoch"), epoch), "stale")
    e.unless(e.icmp("ne", key, e.given("minus_one")), "stale")
    e.ret(e.incref(key))
    e.label("stale")
    role_at, place_at = e.cell("ptr", e.given("zero")), e.cell()
    e.unless(e.is_(e.kind(e.slot(value, "Value", "buffer")), "Buffer"), "twin")
    several = e.present(e.api("PyObject_GetAttr", e.given("recording"), e.given("several")), "fail")
    e.decref(several)
    e.unless(e.is_(several, "False"), "twin")
    leaves = e.present(e.api("PyDict_GetItemWithError", thread, e.given("leaves")), "twin")
    count = e.api("PyList_Size", leaves, result="i64")
    op, place = e.slot(value, "Value", "op"), e.slot(value, "Value", "place")
    alone = e.is_(op, "None")
    # Mostly it is counted where it was in the epoch before, and then it has the key that it had.
    e.unless(e.bin("and", alone, e.bin("xor", e.is_(place, "None"), Operand("i1", "true"))), "elsewhere")
    e.unless(e.icmp("eq", e.integer(place), count), "elsewhere")
    e.api("PyList_Append", leaves, value, result="i32")
    before = e.slot(value, "Value", "epoch")
    e.put(value, "Value", "epoch", e.incref(epoch))
    e.decref(before)
    e.ret(e.incref(key))
    e.label("elsewhere")
    e.split(e.is_(e.slot(value, "Value", "needs_grad"), "True"), "graded", "look")
    e.split(alone, "leaf", "computed")
    e.br("parameter")
    e.label("computed")
    e.unless(e.is_(e.slot(op, "Op", "vjp"), "None"), "twin")
    e.br("parameter")
    e.label("parameter")
    e.store(e.given("one"), role_at, 8)
    e.br("look")
    e.label("look")
    parts = [e.slot(value, "Value", name) for name in ("shape", "dtype", "weak")]
    parts += [e.load("ptr", role_at, 8), e.given("None")]
    structure = e.present(e.api("PyTuple_New", e.i64(len(parts) + 1)), "fail")
    here = e.api("PyLong_FromLong", count)
    e.api("PyTuple_SetItem", structure, e.i64(0), here, result="i32")
    for at, held in enumerate(parts, 1):
        e.api("PyTuple_SetItem", structure, e.i64(at), e.incref(held), result="i32")
    entry = e.api("PyDict_GetItemWithError", e.given("interned"), structure)
    e.store(e.select(alone, here, e.given("None")), place_at, 8)
    e.incref(e.load("ptr", place_at, 8))
    e.decref(structure)
    e.unless(e.icmp("ne", entry, NULL), "unknown")
    e.api("PyList_Append", leaves, value, result="i32")
    number, there = e.item(entry, 0), e.load("ptr", place_at, 8)
    for name, held in (("key", number), ("epoch", epoch), ("place", there)):
        old = e.slot(value, "Value", name)
        e.put(value, "Value", name, e.incref(held))
        e.decref(old)
    e.decref(there)
    e.ret(e.incref(number))
    e.label("unknown")
    e.decref(e.load("ptr", place_at, 8))
    e.br("twin")
    e.label("twin")
    e.ret(e.api("PyObject_CallOneArg", e.given("key_of"), value))
    e.label("fail")
    e.ret(NULL)
    return e.finished("key", signature, internal=True)


def thread_of(e: ObjectEmitter, local: str, fail: str) -> Operand:
    """The dictionary of a ``threading.local`` in this thread, borrowed: the thread keeps it."""
    found = e.present(e.api("PyObject_GetAttr", e.given(local), e.given("__dict__")), fail)
    e.decref(found)
    return found


def find(e: ObjectEmitter, mapping: Operand, name: str, fail: str) -> Operand:
    return e.present(e.api("PyDict_GetItemWithError", mapping, e.given(name)), fail)


def find_object(e: ObjectEmitter, mapping: Operand, key: Operand, fail: str) -> Operand:
    return e.present(e.api("PyDict_GetItemWithError", mapping, key), fail)
