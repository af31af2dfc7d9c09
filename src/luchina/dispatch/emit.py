"""The code that does a call again: functions on Python objects, written as LLVM IR.

Each has a Python twin that defines what it does and takes over whenever anything is out of the ordinary (see
``docs/architecture.md`` for the list).

A function first finds out, changing nothing, whether it can do everything by itself; if not it calls the twin.
Addresses of Python's objects are not in the code: they come with each call, in a tuple (``CONTEXT``), so that the
code can be kept on disk.
"""

from __future__ import annotations

from collections.abc import Mapping

from luchina.compiler.ir import module
from luchina.dispatch import call, layer, memory, parts, realize, run, step
from luchina.dispatch.context import CONTEXT
from luchina.dispatch.writer import ObjectEmitter

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


_FUNCTIONS = (
    *(parts.new, parts.value, parts.number, parts.shown, parts.viewed, parts.watch, parts.key),
    *(call.call, call.record, call.wrap),
    *(step.own, step.ready, step.show, step.reached, step.accumulate, memory.allocate, memory.release),
    *(layer.layer, layer.part),
    *(run.gather, run.signature, run.execute, run.fill, realize.realize),
)
