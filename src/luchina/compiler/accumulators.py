"""Reductions in registers: what is carried through a loop for each of them.

A sum's order depends on its own extent only: partial sums of ``CHUNK`` terms in each lane are made in the accumulation
dtype, and added up in float64, where there is any. So a long float32 sum is as accurate as a pairwise one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from luchina.compiler import body
from luchina.compiler.body import register_type
from luchina.compiler.ir import Emitter, Operand, element_of, lanes_of, vector
from luchina.compiler.prims import FLOATS

if TYPE_CHECKING:
    from luchina.compiler.loops import Group, Writer

CHUNK = 32  # terms of a partial sum, in each lane


def accumulator(writer: Writer, index: int, lanes: int) -> Accumulator:
    op = writer.spec.program[index].op.removeprefix("reduce.")
    source = writer.types[writer.spec.program[index].args[0]]
    return (ArgAccumulator if op.startswith("arg") else Accumulator)(writer, op, source, lanes)


class Accumulator:
    """One reduction of a phase. ``lanes`` is 1 where lanes are combined in the end (``along="inner"``)."""

    def __init__(self, writer: Writer, op: str, dtype: str, lanes: int) -> None:
        self.writer = writer
        self.e = writer.e
        self.op = op
        self.dtype = dtype
        self.lanes = lanes
        self.element = register_type(dtype)
        # Chunks of a float sum or product are combined in float64.
        widened = dtype in FLOATS and op in ("sum", "prod") and writer.target.has_f64
        self.total = "double" if widened else self.element

    def width(self) -> int:
        """Number of registers carried through a chunk."""
        return 1

    def total_width(self) -> int:
        return 1

    def neutral(self) -> float | int:
        if self.op in ("sum", "prod"):
            return int(self.op == "prod")
        return body.lowest(self.dtype) if self.op == "max" else body.highest(self.dtype)

    def initial_total(self) -> list[Operand]:
        return [self.e.const(vector(self.total, self.lanes), self.neutral())]

    def initial(self, lanes: int | None) -> list[Operand]:
        return [self.e.const(vector(self.element, lanes or self.lanes), self.neutral())]

    def join(self, a: Operand, b: Operand) -> Operand:
        e = self.e
        if self.op in ("sum", "prod"):
            is_float = element_of(a.type) in ("float", "double")
            return e.bin(("f" if is_float else "") + ("add" if self.op == "sum" else "mul"), a, b)
        op = "maximum" if self.op == "max" else "minimum"
        return body.emit_op(e, self.writer.target, op, self.dtype, a, b)

    def accumulate(self, carried: list[Operand], arguments: list[Operand], group: Group) -> list[Operand]:
        e = self.e
        (acc,), (value,) = carried, arguments
        lanes = lanes_of(acc.type)
        if lanes_of(value.type) != lanes and group.lanes == 1:
            # A scalar tail: into lane 0.
            return [e.insert(acc, self.join(e.extract(acc, 0), value), 0)]
        value = e.splat(value, lanes) if lanes_of(value.type) != lanes else value
        joined = self.join(acc, value)
        if group.mask is not None and self.writer.spec.along == "inner":
            joined = e.select(group.mask, joined, acc)
        return [joined]

    def fold(self, totals: list[Operand], partial: list[Operand]) -> list[Operand]:
        e = self.e
        value = partial[0]
        if lanes_of(value.type) != self.lanes:
            value = self.across(value)
        if element_of(value.type) != self.total:
            value = e.cast("fpext", value, self.total)
        return [self.join(totals[0], value)]

    def across(self, value: Operand) -> Operand:
        """The lanes of a vector combined, in halves."""
        e = self.e
        while (lanes := lanes_of(value.type)) > 1:
            value = self.join(*_halves(e, value, lanes))
        return value

    def finish(self, totals: list[Operand]) -> Operand:
        value = totals[0]
        if self.total != self.element:
            value = self.e.cast("fptrunc", value, self.element)
        return value


def _halves(e: Emitter, value: Operand, lanes: int) -> tuple[Operand, Operand]:
    half = lanes // 2
    element = element_of(value.type)
    parts = []
    for start in (0, half):
        if half == 1:
            parts.append(e.extract(value, start))
        else:
            mask = ", ".join(f"i32 {start + i}" for i in range(half))
            text = f"shufflevector {value}, {value.type} poison, <{half} x i32> <{mask}>"
            parts.append(e.inst(vector(element, half), text))
    return parts[0], parts[1]


class ArgAccumulator(Accumulator):
    """argmax and argmin: the best value so far and where it was; the first wins, NaN before any number."""

    def __init__(self, writer: Writer, op: str, dtype: str, lanes: int) -> None:
        super().__init__(writer, "max" if op == "argmax" else "min", dtype, lanes)

    def width(self) -> int:
        return 2

    def total_width(self) -> int:
        return 2

    def initial_total(self) -> list[Operand]:
        return [*super().initial_total(), self.e.const(vector("i64", self.lanes), (1 << 63) - 1)]

    def initial(self, lanes: int | None) -> list[Operand]:
        return [*super().initial(lanes), self.e.const(vector("i64", lanes or self.lanes), (1 << 63) - 1)]

    def better(self, a: list[Operand], b: list[Operand]) -> list[Operand]:
        """The better of two (value, index) pairs."""
        e = self.e
        (x, i), (y, j) = a, b
        compare = "gt" if self.op == "max" else "lt"
        beats = body.emit_op(e, self.writer.target, compare, self.dtype, y, x)
        ties = body.emit_op(e, self.writer.target, "eq", self.dtype, y, x)
        if self.dtype in FLOATS:
            x_nan, y_nan = e.fcmp("uno", x, x), e.fcmp("uno", y, y)
            neither = e.bin("xor", x_nan, e.const(x_nan.type, 1))
            beats = e.bin("or", beats, e.bin("and", y_nan, neither))
            ties = e.bin("or", ties, e.bin("and", y_nan, x_nan))
        beats = e.bin("or", beats, e.bin("and", ties, e.icmp("slt", j, i)))
        return [e.select(beats, y, x), e.select(beats, j, i)]

    def accumulate(self, carried: list[Operand], arguments: list[Operand], group: Group) -> list[Operand]:
        e = self.e
        lanes = lanes_of(carried[0].type)
        if group.lanes == 1 and lanes > 1:
            first = [e.extract(c, 0) for c in carried]
            return [e.insert(c, b, 0) for c, b in zip(carried, self.better(first, arguments))]
        wide = [a if lanes_of(a.type) == lanes else e.splat(a, lanes) for a in arguments]
        best = self.better(carried, wide)
        if group.mask is not None and self.writer.spec.along == "inner":
            best = [e.select(group.mask, b, c) for b, c in zip(best, carried)]
        return best

    def fold(self, totals: list[Operand], partial: list[Operand]) -> list[Operand]:
        e = self.e
        while (lanes := lanes_of(partial[0].type)) > self.lanes:
            x, y = _halves(e, partial[0], lanes)
            i, j = _halves(e, partial[1], lanes)
            partial = self.better([x, i], [y, j])
        return self.better(totals, partial)

    def finish(self, totals: list[Operand]) -> Operand:
        return totals[1]
