"""Questions about data that must be answered while recording, because PyTorch raises at the caller's line.

A leaf that is already computed is looked at directly. A pending index is computed first: that splits a program in two,
which is rare, and it keeps the promise that an error is raised where the mistake is.
"""

from __future__ import annotations

import ctypes
from math import prod
from typing import Any

import numpy as np

from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph import program
from luchina.graph.value import Value
from luchina.runtime.accelerators import Memory, known_bounds, on_host
from luchina.runtime.buffers import Buffer, as_numpy

FEW = 4096
"""Elements that numpy looks at in less time than a program takes to start."""


class _Asked:
    """How many questions were answered so far: what depends on data cannot be done again from memory."""

    count = 0


asked = _Asked()


def host(value: Value) -> np.ndarray:
    """The Value's numbers as a read-only host array, computing it if it is pending."""
    asked.count += 1
    if value.number is not None:
        return np.array(value.number)
    if value.buffer is None:
        program.realize_only(value)
    assert value.buffer is not None
    return as_numpy(on_host(value.buffer), value.dtype.name, value.shape)


def any_zero(value: Value) -> bool:
    """Whether any element is 0."""
    return not bool(host(value).all())


def bounds(value: Value) -> tuple[int, int]:
    """Numbers that no element of an integer Value (which is not empty) is below or above. What is known statically is
    not computed, nor on a device what is known of the block of memory: then they may be wider than the data."""
    asked.count += 1
    known = _static_bounds(value)
    if known is not None:
        return known
    if value.number is None and value.buffer is None:
        if value.op is not None and value.op.name == "cat" and all(v.buffer is not None for v in value.inputs):
            lows, highs = zip(*[bounds(v) for v in value.inputs if v.size])  # a growing context stays one program
            return min(lows), max(highs)
        program.realize_only(value)
    block = value.buffer
    if block.__class__ is not Memory:
        return extremes(value)
    owner, name, step = block.owner, value.dtype.name, value.dtype.itemsize
    if (block.ptr - owner.ptr) % step:
        return extremes(value)
    of_block = known_bounds.setdefault(owner, {})
    if name not in of_block:
        n = owner.nbytes // step
        of_block[name] = _extremes(Memory(block.device, owner, owner.ptr, n * step), name, (n,))
    return of_block[name]


def extremes(value: Value) -> tuple[int, int]:
    """Smallest and largest element of an integer Value that is not empty."""
    asked.count += 1
    if value.number is not None:
        return int(value.number), int(value.number)
    if value.buffer is None:
        program.realize_only(value)
    return _extremes(value.buffer, value.dtype.name, value.shape)


def _extremes(block: Any, dtype: str, shape: tuple[int, ...]) -> tuple[int, int]:
    n = prod(shape)
    if n <= FEW and block.__class__ is Buffer:
        if n == 1 and dtype == "int64":
            number = ctypes.c_int64.from_address(block.ptr).value
            return number, number
        array = as_numpy(block, dtype, shape)
        return int(array.min()), int(array.max())

    def both() -> list[Node]:
        flat = p.cast(p.input(0, (n,), dtype), "int64")
        return [p.reduce("min", flat, (0,)), p.reduce("max", flat, (0,))]

    low, high = map(on_host, program.run_aside(("bounds", dtype, n), both, [block]))
    return ctypes.c_int64.from_address(low.ptr).value, ctypes.c_int64.from_address(high.ptr).value


def _static_bounds(value: Value) -> tuple[int, int] | None:
    if value.op is None or value.buffer is not None:
        return None
    rule = STATIC_BOUNDS.get(value.op.name)
    return rule(value) if rule else None


# Operation name -> bounds that hold without looking at any data. Families add theirs.
STATIC_BOUNDS: dict = {}
for _movement in ("reshape", "permute", "expand", "slice", "clone", "detach", "strided"):
    STATIC_BOUNDS[_movement] = lambda value: _static_bounds(value.inputs[0])
