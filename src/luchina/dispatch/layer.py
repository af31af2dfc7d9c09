"""The code for calling a layer and for finding its parts; the twins are ``nn.Module.__call__`` and ``__getattr__``."""

from __future__ import annotations

from luchina.compiler.ir import Operand
from luchina.dispatch.writer import NULL, ObjectEmitter


def layer(e: ObjectEmitter) -> str:
    """``module(*args, **kwargs)``: ``forward``, if no hook waits. An error is given to ``failed(error, module, args)``
    before it goes on."""
    args, count, names = Operand("ptr", "%args"), Operand("i64", "%nargs"), Operand("ptr", "%names")
    kind_at, error_at, trace_at = (e.cell() for _ in range(3))
    e.unless(e.icmp("sgt", count, e.i64(0)), "twin")
    module = e.load("ptr", args, 8)
    hooks = e.api("PyObject_Size", e.given("hooks"), result="i64")
    e.unless(e.icmp("eq", hooks, e.i64(0)), "twin")
    hooked = e.present(e.api("PyObject_GetAttr", module, e.given("_hooked")), "unmade")
    e.decref(hooked)
    e.unless(e.is_(hooked, "False"), "twin")
    result = e.api("PyObject_VectorcallMethod", e.given("forward"), args, count, names)
    e.unless(e.icmp("ne", result, NULL), "failed")
    e.ret(result)

    e.label("failed")
    e.api("PyErr_Fetch", kind_at, error_at, trace_at, result="void")
    e.api("PyErr_NormalizeException", kind_at, error_at, trace_at, result="void")
    trace = e.load("ptr", trace_at, 8)
    with e.when(e.icmp("ne", trace, NULL)):
        e.api("PyException_SetTraceback", e.load("ptr", error_at, 8), trace, result="i32")
    passed = e.api("PyTuple_New", e.i64(3))
    given = e.api("PyTuple_New", e.sub(count, 1))  # the positional ones
    with e.loop(e.i64(1), count) as loop:
        a = e.load("ptr", e.gep("ptr", args, loop.index), 8)
        e.api("PyTuple_SetItem", given, e.sub(loop.index, 1), e.incref(a), result="i32")
    for place, held in enumerate((e.incref(e.load("ptr", error_at, 8)), e.incref(module), given)):
        e.api("PyTuple_SetItem", passed, e.i64(place), held, result="i32")
    e.decref(e.api("PyObject_CallObject", e.given("failed"), passed))
    e.decref(passed)
    e.api("PyErr_Restore", *(e.load("ptr", cell, 8) for cell in (kind_at, error_at, trace_at)), result="void")
    e.ret(NULL)

    e.label("unmade")  # a module without ``Module.__init__``
    e.api("PyErr_Clear", result="void")
    e.br("twin")
    e.label("twin")
    e.ret(e.api("PyObject_Vectorcall", e.given("twin"), args, count, names))
    return e.finished("layer")


def part(e: ObjectEmitter) -> str:
    """``module.name`` of a parameter, buffer or module, which its dictionaries hold."""
    args, count, names = Operand("ptr", "%args"), Operand("i64", "%nargs"), Operand("ptr", "%names")
    e.unless(e.icmp("eq", count, e.i64(2)), "twin")
    name = e.load("ptr", e.gep("ptr", args, 1), 8)
    own = e.present(e.api("PyObject_GetAttr", e.load("ptr", args, 8), e.given("__dict__")), "unmade")
    e.decref(own)  # the module keeps it
    for registry in ("_parameters", "_buffers", "_modules"):
        held = e.present(e.api("PyDict_GetItemWithError", own, e.given(registry)), "unmade")
        found = e.api("PyDict_GetItemWithError", held, name)
        e.split(e.icmp("ne", found, NULL), f"in{registry}", f"not.in{registry}")
        e.ret(e.incref(found))
        e.label(f"not.in{registry}")
    e.br("unmade")
    e.label("unmade")
    e.api("PyErr_Clear", result="void")
    e.br("twin")
    e.label("twin")
    e.ret(e.api("PyObject_Vectorcall", e.given("twin"), args, count, names))
    return e.finished("part")
