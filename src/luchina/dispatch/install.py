"""Putting the compiled functions in the places of their twins: once, when this process has run a few programs.

A program that looks at one number must not wait for a compiler, so the code is taken from the disk as soon as there
is a first program to run, and compiled only by a process that goes on for a while. ``LUCHINA_DISPATCH=python`` leaves
the twins in place.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luchina import tensor as face
from luchina.autograd import remembered
from luchina.dispatch import calls, context, objects
from luchina.dispatch.exchange import Exchangeable
from luchina.graph import program, update, value
from luchina.runtime import buffers
from luchina.runtime.buffers import Buffer
from luchina.storage import Counter, Storage

if TYPE_CHECKING:
    from luchina.compiler.kernel import Kernel

# The compiler is imported where it is used: not by whoever imports luchina.

COMPILE_AFTER = 4
"""Programs that a process has run before it compiles the functions."""


_functions: list[tuple[Exchangeable, calls.Call]] = []
_methods: list[tuple[str, calls.Call]] = []
_layers: list[tuple[type, dict[str, Any], dict[str, Any]]] = []
installed = False


def function(call: calls.Call) -> Exchangeable:
    """What users call: the twin now, the compiled function from ``install`` on."""
    made = Exchangeable(call.python)
    _functions.append((made, call))
    if installed:
        made.exchange(_compiled(call))
    return made


def method(name: str, call: calls.Call) -> Any:
    """The same as a method of ``Tensor``."""
    _methods.append((name, call))
    return call.python


def layers(cls: type, hooks: Any, failed: Callable[..., None]) -> None:
    """``__call__`` and ``__getattr__`` of a class of layers. A call is ``forward`` if ``hooks`` are empty and the layer
    has none of its own; ``failed(error, layer, args)`` is told of errors."""
    twins = {name: cls.__dict__[name] for name in ("__call__", "__getattr__")}
    _layers.append((cls, twins, {"hooks": hooks, "failed": failed}))
    if installed:
        _install_layers()


def _install_layers() -> None:
    for cls, twins, given in _layers:
        for name, function in (("__call__", "layer"), ("__getattr__", "part")):
            twin = twins[name]
            if cls.__dict__[name] is not twin:
                continue  # somebody put another function in its place
            made = objects.function(name, _addresses[function], _context(twin, **given), twin.__doc__)
            setattr(cls, name, objects.method(made))
    _layers.clear()


# ---- the code


def _offsets() -> dict[tuple[str, str], int]:
    from luchina.precision import Anywhere

    classes = {
        "Value": value.Value,
        "Tensor": face.Tensor,
        "Storage": Storage,
        "Counter": Counter,
        "Buffer": Buffer,
        "Update": update.Update,
        "Pack": value.Pack,
        "TensorHooks": face.TensorHooks,
        "Op": value.Op,
        "Anywhere": Anywhere,
    }
    for name in ("Value", "Tensor", "Storage", "Counter", "Buffer"):
        slots = {*vars(classes[name])["__slots__"]} - {"__weakref__", "__dict__"}
        unknown = slots ^ {*context.SLOTS[name]}
        assert not unknown, f"the code that makes a {name} does not know its slots {unknown}"
    return {
        (name, slot): objects.offset(classes[name], slot) for name, slots in context.SLOTS.items() for slot in slots
    }


@functools.cache
def _kernel() -> Kernel:
    """The module of all functions, named by what writes it and by this Python's layout of objects."""
    from luchina.compiler.kernel import Kernel, kernel_name
    from luchina.dispatch import emit

    offsets = _offsets()
    sources = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
    limits = program.PLAIN_LIMIT, program.PENDING_LIMIT
    key = "dispatch " + kernel_name(f"{sources} {sorted(offsets.items())} {objects.ITEMS} {limits}")
    return Kernel("call", key, lambda target: emit.text(target.triple, offsets))


@functools.cache
def _shared() -> dict[str, Any]:
    """What every function is given; see ``context.CONTEXT``."""
    from luchina import dtypes, precision
    from luchina.compiler import build
    from luchina.runtime import threads
    from luchina.shape import Size

    given: dict[str, Any] = {
        "recording": value.recording,
        "mode": value.mode,
        "anywhere": precision.anywhere,
        "too_large": value.too_large,
        "interned": value.interned,
        "scalar_numbers": value.scalar_numbers,
        "layouts": face.layouts,
        "sequence": value.sequence,
        "Value": value.Value,
        "Tensor": face.Tensor,
        "Storage": Storage,
        "Counter": Counter,
        "Spec": value.Spec,
        "Size": Size,
        "dtype": dtypes.dtype,
        "NoneType": type(None),
        "Buffer": Buffer,
        "zero": 0,
        "one": 1,
        "empty": (),
        "minus_one": -1,
        "float64": dtypes.float64,
        "int64": dtypes.int64,
        "key_of": value.key_of,
        "limit": functools.partial(program.realize, ()),
        "scalar_number": value.scalar_number,
        "record": value.record,
        "gradient": remembered.GRADIENT,
        "with_attrs": ("attrs",),
        "TensorHooks": face.TensorHooks,
        "wrap_value": face.wrap_value,
        "getrefcount": sys.getrefcount,
        "own_memory": update.own_memory,
        "show_one": update.show_one,
        "numbers_of": update.numbers_of,
        "allocate": buffers.allocate,
        "arena": build.arena,
        "run": threads.run_address(),
        "threads": vars(threads),
        "pool_of": threads.pool,
        "memory": vars(buffers),
        "pool": buffers._pool,
        "Pack": value.Pack,
        "program_lock": program._lock,
        "observers": program.observers,
        "present": program.present,
        "programs": program._programs,
        "epochs": value._epochs,
        "statistics": program.statistics,
        "NoMemory": program.NoMemory,
        "gather": program.gather,
        "signature": program.signature,
        "execute": build.execute,
        "fill": program.fill,
    }
    given |= {each.__name__: each for each in (object, int, float, bool, str, tuple, list)}
    given |= {str(each): each for each in (None, True, False)}
    return given


def _context(twin: Callable[..., Any], call: calls.Call | None = None, **own: Any) -> tuple:
    given = _shared() | {"twin": twin} | own
    if call is not None:
        given |= {"memo": call.memo, "learn": call.learn, "laid": call.laid, "free": call.free}
    return tuple([given.get(name, name) for name in context.CONTEXT])  # what is not an object is a name


_addresses: dict[str, int] = {}


def _compiled(call: calls.Call) -> Any:
    twin = call.python
    return objects.function(twin.__name__, _addresses["call"], _context(twin, call), twin.__doc__)


def install() -> bool:
    """Exchange every twin for its compiled function. False where this Python does not allow it."""
    global installed
    if installed or not objects.supported():
        return installed
    from luchina.compiler import build, jit

    _addresses.update(jit.load_module(_kernel()))
    for made, call in _functions:
        made.exchange(_compiled(call))
    for name, call in _methods:
        if face.Tensor.__dict__[name] is call.python:  # else another method took its place
            setattr(face.Tensor, name, objects.method(_compiled(call)))
    _install_layers()
    record = objects.function("record", _addresses["record"], _context(value.Op.record))
    setattr(value.Op, "__call__", objects.method(record))
    value.record.exchange(record)
    setattr(face.Tensor, "__hash__", objects.method(id))
    places = {"wrap": face.wrap_value, "own": update.own, "show": update.show}
    places |= {"ready": update.ready, "reached": remembered.reached, "accumulate": remembered.accumulate}
    places |= {"gather": program.gather, "signature": program.signature, "fill": program.fill}
    places |= {"realize": program.realize}
    if not buffers.GUARDED:
        places |= {"allocate": buffers.allocate, "execute": build.execute}
        release = objects.function("__del__", _addresses["release"], _context(buffers.Buffer.__del__))
        setattr(buffers.Buffer, "__del__", objects.method(release))
    for name, place in places.items():
        place.exchange(objects.function(name, _addresses[name], _context(place.func), place.__doc__))
    installed = True
    return True


# ---- when


_runs = count(1)


def _after_run(run: Any) -> None:
    from luchina.compiler import jit

    number = next(_runs)
    if number >= COMPILE_AFTER or jit.is_stored(_kernel()):
        program.observers.remove(_after_run)
        install()


if os.environ.get("LUCHINA_DISPATCH") != "python" and objects.supported():
    program.observers.append(_after_run)
