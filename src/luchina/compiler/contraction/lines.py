"""Epilogues of the convolutions that write whole lines of an image: sums in scratch, vector by vector, to the outputs.

Every window is adjacent along a line (class "1") or the same element (class "0", operands only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from luchina.compiler import body
from luchina.compiler.body import Body, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction.interface import Epilogue, Window
from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, lanes_of, vector

if TYPE_CHECKING:
    from luchina.compiler.target import Target


class Spec(NamedTuple):
    """What fixes the code of a kernel: sizes of its own, and dtype and class of each window of the epilogue."""

    sizes: tuple[Any, ...]
    operands: tuple[tuple[str, str], ...]
    outs: tuple[tuple[str, str], ...]
    body: Body

    def __str__(self) -> str:
        return f"{self.sizes} {self.operands} > {self.outs} | {self.body}"

    @property
    def windows(self) -> tuple[tuple[str, str], ...]:
        return self.operands + self.outs


def aligned(nbytes: int) -> int:
    """Bytes up to the next cache line."""
    return -(-nbytes // 64) * 64


def spec_of(sizes: tuple[Any, ...], outs: Sequence[Window], epilogue: Epilogue) -> Spec:
    """The spec of an epilogue whose windows ``fit``."""
    operands = tuple((w.dtype, str(w.strides[3])) for w in epilogue.operands)
    return Spec(sizes, operands, tuple((w.dtype, "1") for w in outs), epilogue.body)


def fit(outs: Sequence[Window], epilogue: Epilogue) -> bool:
    """Whether all windows are of a known class along their last axis."""
    return all(w.strides[3] == 1 for w in outs) and all(w.strides[3] in (0, 1) for w in epilogue.operands)


def write(
    e: Emitter,
    target: Target,
    spec: Spec,
    sums: tuple[Operand, int],
    places: Sequence[Operand],
    steps: Sequence[Operand],
    rows: Operand,
    mask: Operand | None,
    dtype: str = "float32",
    vectors: int = 1,
) -> None:
    """Some vectors of each of ``rows`` rows: sums and their step, a place in each window and its step."""
    source, source_step = sums
    lanes = target.lanes(ACCUMULATE[dtype])
    element = STORAGE_TYPE[ACCUMULATE[dtype]]

    def beyond(windows: Sequence[tuple[str, str]], places: Sequence[Operand], j: int) -> list[Operand]:
        return [
            e.gep(STORAGE_TYPE[stored], place, j * lanes) if j and kind == "1" else place
            for (stored, kind), place in zip(windows, places, strict=True)
        ]

    with e.loop(e.i64(0), rows, carry=[source, *places]) as row:
        at, *here = row.carried
        for j in range(vectors):
            value = e.load(vector(element, lanes), e.gep(element, at, j * lanes), 4)
            write_vector(e, target, spec, value, beyond(spec.windows, here, j), mask)
        row.next = [e.gep(element, at, source_step)]
        for (stored, _), place, step in zip(spec.windows, here, steps, strict=True):
            row.next.append(e.gep(STORAGE_TYPE[stored], place, step))


def write_vector(
    e: Emitter, target: Target, spec: Spec, value: Operand, places: Sequence[Operand], mask: Operand | None
) -> None:
    """One vector of sums to its place in each window."""
    lanes = lanes_of(value.type)
    values = [value]
    for (stored, kind), place in zip(spec.operands, places):
        if kind == "0":
            raw = e.splat(e.load(STORAGE_TYPE[stored], place, 1), lanes)
        else:
            raw = v.masked_load(e, storage_type(stored, lanes), place, mask)
        values.append(body.from_storage(e, stored, raw))
    results = body.emit(e, target, spec.body, values, lanes)
    for (stored, _), place, result in zip(spec.outs, places[len(spec.operands) :], results, strict=True):
        assert lanes_of(result.type) == lanes
        v.masked_store(e, body.to_storage(e, stored, result), place, mask)
