"""Running reductions and sorting along the last axis of a table (rows, n): a row is one block's work.

    scan:    out[r, i] = op(out[r, i-1], x[r, i])
    argsort: a bottom-up merge sort of indices: insertion sort of short runs, then merges between two index arrays
"""

from __future__ import annotations

from typing import NamedTuple

from luchina.compiler.body import ITEMSIZE, emit_op, load_value, store_value
from luchina.compiler.ir import Emitter, Operand, element_of, module
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.scatter import _parameters
from luchina.compiler.target import Target

RUN = 16  # elements that insertion sort puts in order before merging starts
_COMBINE = {"sum": "add", "prod": "mul", "max": "maximum", "min": "minimum"}
_INTEGER = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}


class Scan(NamedTuple):
    """A running ``op`` over rows; 16-bit floats run in float32."""

    dtype: str
    op: str

    def kernel(self) -> Kernel:
        key = f"scan {self.dtype} {self.op}"
        return Kernel(None, key, lambda target: self._emit(target, kernel_name(key)))

    def _emit(self, target: Target, name: str) -> str:
        e = Emitter()
        x, out, n = _parameters(e, 3, pointers=2)
        element = _INTEGER[ITEMSIZE[self.dtype]]
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as rows:
            start = e.mul(rows.index, n)
            first = load_value(e, self.dtype, e.gep(element, x, start))
            store_value(e, self.dtype, first, e.gep(element, out, start))
            with e.loop(e.i64(1), n, carry=[first]) as loop:
                at = e.add(start, loop.index)
                value = load_value(e, self.dtype, e.gep(element, x, at))
                running = emit_op(e, target, _COMBINE[self.op], self.dtype, loop.carried[0], value)
                store_value(e, self.dtype, running, e.gep(element, out, at))
                loop.next = [running]
        return module([e.function(name)], e.declarations, target.triple)


class Argsort(NamedTuple):
    """Stable order of rows; nan counts as the largest."""

    dtype: str
    descending: bool

    def kernel(self) -> Kernel:
        key = f"argsort {self.dtype} {self.descending}"
        return Kernel(None, key, lambda target: self._emit(target, kernel_name(key)))

    def _before(self, e: Emitter, a: Operand, b: Operand) -> Operand:
        """Whether ``a`` must come before ``b``, strictly."""
        first, second = (b, a) if self.descending else (a, b)
        if element_of(first.type) in ("float", "double"):
            less = e.fcmp("olt", first, second)
            return e.bin("or", less, e.bin("and", e.fcmp("ord", first, first), e.fcmp("uno", second, second)))
        unsigned = self.dtype in ("uint8", "bool")
        return e.icmp("ult" if unsigned else "slt", first, second)

    def _emit(self, target: Target, name: str) -> str:
        e = Emitter()
        x, out, n = _parameters(e, 3, pointers=2)
        element = _INTEGER[ITEMSIZE[self.dtype]]
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as rows:
            start = e.mul(rows.index, n)
            row = e.gep(element, x, start)
            order = e.gep("i64", out, start)

            def value(index: Operand, row: Operand = row) -> Operand:
                return load_value(e, self.dtype, e.gep(element, row, index))

            self._insertion_runs(e, value, order, n)
            # Merges go back and forth between the result and the thread's scratch memory.
            scratch = Operand("ptr", "%scratch")
            with _while(e, [e.i64(RUN), order, scratch]) as merge:
                width, source, to = merge.carried
                merge.test(e.icmp("slt", width, n))
                double = e.add(width, width)
                with e.loop(e.i64(0), n, double) as loop:
                    middle = _smaller(e, e.add(loop.index, width), n)
                    end = _smaller(e, e.add(loop.index, double), n)
                    self._merge(e, value, source, to, loop.index, middle, end)
                merge.next = [double, to, source]
            result = merge.carried[1]
            moved = e.inst("i1", f"icmp ne {result}, {order.text}")
            with e.when(moved), e.loop(e.i64(0), n) as loop:
                e.store(e.load("i64", e.gep("i64", result, loop.index), 8), e.gep("i64", order, loop.index), 8)
        return module([e.function(name)], e.declarations, target.triple)

    def _insertion_runs(self, e: Emitter, value: object, order: Operand, n: Operand) -> None:
        with e.loop(e.i64(0), n, RUN) as runs:
            end = _smaller(e, e.add(runs.index, RUN), n)
            with e.loop(runs.index, end) as loop:
                mine = value(loop.index)  # type: ignore[operator]
                with _while(e, [loop.index]) as shift:
                    (hole,) = shift.carried
                    # Reading before the run's start is avoided by looking at the hole itself there.
                    at_start = e.icmp("sle", hole, runs.index)
                    left = e.select(at_start, hole, e.sub(hole, 1))
                    other = e.load("i64", e.gep("i64", order, left), 8)
                    other = e.select(at_start, loop.index, other)
                    ahead = self._before(e, mine, value(other))  # type: ignore[operator]
                    shift.test(e.select(at_start, e.const("i1", 0), ahead))
                    e.store(other, e.gep("i64", order, hole), 8)
                    shift.next = [left]
                e.store(loop.index, e.gep("i64", order, shift.carried[0]), 8)

    def _merge(
        self, e: Emitter, value: object, source: Operand, to: Operand, low: Operand, middle: Operand, end: Operand
    ) -> None:
        last = e.sub(end, 1)
        with e.loop(low, end, carry=[low, middle]) as loop:
            left, right = loop.carried
            more_left, more_right = e.icmp("slt", left, middle), e.icmp("slt", right, end)
            a = e.load("i64", e.gep("i64", source, _smaller(e, left, last)), 8)
            b = e.load("i64", e.gep("i64", source, _smaller(e, right, last)), 8)
            right_first = self._before(e, value(b), value(a))  # type: ignore[operator]
            take_right = e.select(more_left, e.select(more_right, right_first, e.const("i1", 0)), e.const("i1", 1))
            e.store(e.select(take_right, b, a), e.gep("i64", to, loop.index), 8)
            step = e.cast("zext", take_right, "i64")
            loop.next = [e.add(left, e.sub(e.i64(1), step)), e.add(right, step)]


def _smaller(e: Emitter, a: Operand, b: Operand) -> Operand:
    return e.select(e.icmp("slt", a, b), a, b)


class _while:
    """``while test:`` with values carried round; ``test`` is called once in the body, before its effects.

    After the block ``carried`` still names the values at the head, which are the final ones there.
    """

    def __init__(self, e: Emitter, carry: list[Operand]) -> None:
        self.e = e
        self.first = carry
        self.next: list[Operand] = []

    def __enter__(self) -> _while:
        e = self.e
        self.name = e.fresh("W")
        self.before = e.block
        e.br(f"{self.name}.head")
        e.label(f"{self.name}.head")
        self.at = len(e.lines)
        self.carried = [e.inst(c.type, "") for c in self.first]
        return self

    def test(self, condition: Operand) -> None:
        self.e.cond_br(condition, f"{self.name}.body", f"{self.name}.end")
        self.e.label(f"{self.name}.body")

    def __exit__(self, *exception: object) -> None:
        e = self.e
        after = e.block
        e.br(f"{self.name}.head")
        for i, (phi, first, later) in enumerate(zip(self.carried, self.first, self.next, strict=True)):
            e.lines[self.at + i] = (
                f"  {phi.text} = phi {phi.type} [ {first.text}, %{self.before} ], [ {later.text}, %{after} ]"
            )
        e.label(f"{self.name}.end")
