"""Writing a finished tile: the epilogue, element by element, from sums in scratch to the output windows.

    void columns(ptr params, i64 n, ptr to)
    void write(ptr params, ptr table, ptr c, i64 batch, i64 split, i64 m, i64 rows, i64 n, i64 columns, ptr offsets)

    void prefetch(ptr params, ptr table, i64 batch, i64 split, i64 m, i64 rows, i64 n)

``columns`` finds, for each window of class "t", the offsets of the columns of a panel and whether a vector of them is
a run of adjacent elements. ``prefetch`` asks for the lines that a tile will be written to and for those its epilogue
reads: short pieces of rows, which no hardware foresees, while the tile is being summed. They come to the second cache:
rows a power of two apart would drive each other, and the panels, out of the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from luchina.compiler import body
from luchina.compiler.body import ITEMSIZE, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction.microkernel import LINE, prefetch
from luchina.compiler.contraction.spec import ACCUMULATE, Params, Spec
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, vector

if TYPE_CHECKING:
    from luchina.compiler.target import Target

COLUMNS_SIGNATURE = "ptr %params, i64 %n, ptr %to"
PREFETCH_SIGNATURE = "ptr %params, ptr %table, i64 %batch, i64 %split, i64 %m, i64 %rows, i64 %n"
SIGNATURE = (
    "ptr %params, ptr %table, ptr %c, i64 %batch, i64 %split, i64 %m, i64 %rows, i64 %n, i64 %columns, ptr %offsets"
)


def tabled_windows(spec: Spec) -> list[int]:
    """Numbers of the windows whose columns are found by table."""
    return [i for i, (_, kind) in enumerate(spec.windows) if kind == "t"]


def columns_bytes(spec: Spec, lanes: int) -> int:
    """Size of what ``columns`` writes: for each such window and vector, a flag and the offsets."""
    return len(tabled_windows(spec)) * spec.nv * (lanes + 1) * 8


def adjacent_windows(spec: Spec) -> list[int]:
    """Numbers of the windows whose rows are adjacent elements."""
    return [i for i, (_, kind) in enumerate(spec.windows) if kind == "1"]


def emit_columns(spec: Spec, target: Target) -> Emitter:
    e = Emitter()
    params = Params(e, spec)
    lanes = target.lanes(ACCUMULATE[spec.dtype])
    with e.loop(e.i64(0), e.i64(spec.nv)) as loop:
        start = e.add(Operand("i64", "%n"), e.mul(loop.index, lanes))
        valid = v.below(e, e.sub(params["N"], start), lanes)
        index = v.counting(e, start, lanes)
        if spec.tabled:
            index = v.counting(e, e.cast("trunc", start, "i32"), lanes)
            digit = [e.cast("sext", d, "i64") for d in v.digits(e, params, "n", index)]
        else:
            digit = [index]
        for number, window in enumerate(tabled_windows(spec)):
            offsets = v.combine(e, digit, [params[f"w{window}_n_{i}"] for i in range(len(digit))])
            place = e.add(e.mul(loop.index, lanes + 1), number * spec.nv * (lanes + 1))
            pointer = e.gep("i64", Operand("ptr", "%to"), place)
            e.store(e.cast("zext", v.is_run(e, offsets, valid), "i64"), pointer, 8)
            e.store(offsets, e.gep("i64", pointer, 1), 8)
    return e


class _Writer:
    def __init__(self, spec: Spec, target: Target) -> None:
        self.e = Emitter()
        self.spec = spec
        self.target = target
        self.params = Params(self.e, spec)
        self.lanes = target.lanes(ACCUMULATE[spec.dtype])
        self.element = STORAGE_TYPE[ACCUMULATE[spec.dtype]]
        self.masks_are_free = target.name == "avx512" and all(ITEMSIZE[dtype] >= 4 for dtype, _ in spec.outs)

    def emit(self) -> Emitter:
        e, spec, lanes = self.e, self.spec, self.lanes
        columns = Operand("i64", "%columns")
        starts, steps = self.rows_of(range(len(spec.windows)))
        self.known = self.fixed(starts)
        with e.loop(e.i64(0), columns, lanes) as column:
            left = e.sub(columns, column.index)
            if not self.masks_are_free:
                name = e.fresh("M")
                e.cond_br(e.icmp("slt", left, e.i64(lanes)), f"{name}.part", f"{name}.whole")
                e.label(f"{name}.whole")
                self.rows(starts, steps, column.index, None)
                e.br(f"{name}.end")
                e.label(f"{name}.part")
            self.rows(starts, steps, column.index, v.below(e, left, lanes))
            if not self.masks_are_free:
                e.br(f"{name}.end")
                e.label(f"{name}.end")
        return e

    def rows_of(self, windows: Iterable[int]) -> tuple[list[Operand], list[Operand]]:
        """For each of these windows, where the tile's first row begins and how far apart its rows are."""
        e = self.e
        batch, split, first, n = (Operand("i64", f"%{name}") for name in ("batch", "split", "m", "n"))
        starts, steps = [], []
        for i in windows:
            dtype, kind = self.spec.windows[i]
            number = {what: self.params[f"w{i}_{what}"] for what in ("slot", "offset", "batch", "split", "m")}
            at = e.add(number["offset"], e.mul(batch, number["batch"]))
            at = e.add(at, e.mul(split, number["split"]))
            at = e.add(at, e.mul(first, number["m"]))
            if kind == "1":
                at = e.add(at, n)
            base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), number["slot"]), 8)
            starts.append(e.gep(STORAGE_TYPE[dtype], base, at))
            steps.append(number["m"])
        return starts, steps

    def emit_prefetch(self) -> Emitter:
        e, spec = self.e, self.spec
        windows = adjacent_windows(spec)
        with e.loop(e.i64(0), Operand("i64", "%rows"), carry=self.rows_of(windows)[0]) as row:
            steps = [self.params[f"w{i}_m"] for i in windows]
            for i, pointer in zip(windows, row.carried, strict=True):
                dtype = spec.windows[i][0]
                for at in range(0, spec.nv * self.lanes * ITEMSIZE[dtype], LINE):
                    prefetch(e, e.gep("i8", pointer, at), level=2)
            row.next = [
                e.gep(STORAGE_TYPE[spec.windows[i][0]], pointer, step)
                for i, pointer, step in zip(windows, row.carried, steps, strict=True)
            ]
        return e

    def fixed(self, starts: list[Operand]) -> dict[int, Operand]:
        """Those values of the body that are one number for the whole kernel, computed once, in all lanes."""
        e, spec = self.e, self.spec
        if spec.body is None:
            return {}
        single = {
            i: body.from_storage(e, dtype, e.load(STORAGE_TYPE[dtype], starts[i - 1], 1))
            for i, (dtype, kind) in enumerate(spec.operands, 1)
            if kind == "c"
        }
        for i, (op, dtype, args, attrs) in enumerate(spec.body.instructions, len(spec.body.inputs)):
            if op == "const":
                single[i] = e.const(body.register_type(dtype), attrs[0])
            elif all(a in single for a in args):
                values = [single[a] for a in args]
                source = spec.body.dtype(args[-1])
                if op == "cast":
                    single[i] = body.emit_cast(e, source, dtype, *values)
                else:
                    single[i] = body.emit_op(e, self.target, op, source, *values)
        first = len(spec.body.inputs)
        return {
            i: e.splat(value, self.lanes)
            for i, value in single.items()
            if i < first or spec.body.instructions[i - first].op != "const"
        }

    def rows(self, starts: list[Operand], steps: list[Operand], column: Operand, mask: Operand | None) -> None:
        """One vector of columns, row by row; without a mask it is whole."""
        e, spec = self.e, self.spec
        with e.loop(e.i64(0), Operand("i64", "%rows")) as row:
            bases = [
                e.gep(STORAGE_TYPE[dtype], start, e.mul(step, row.index))
                for (dtype, _), start, step in zip(spec.windows, starts, steps, strict=True)
            ]
            at = e.add(e.mul(row.index, spec.nv * self.lanes), column)
            total = e.load(vector(self.element, self.lanes), e.gep(self.element, Operand("ptr", "%c"), at), 4)
            self.element_wise(total, bases, column, mask)

    def element_wise(self, total: Operand, bases: list[Operand], column: Operand, mask: Operand | None) -> None:
        e, spec = self.e, self.spec
        read = len(spec.operands)
        results = [total]
        if spec.body is not None:
            kind = body.register_type(spec.dtype, self.lanes)
            first = total if total.type == kind else self.e.cast("trunc", total, kind.split("x")[-1].strip(" >"))
            operands = [first]
            for i in range(read):
                operands.append(self.known.get(i + 1) or self.load(i, bases[i], column, mask))
            results = body.emit(e, self.target, spec.body, operands, self.lanes, self.known)
        for i, result in enumerate(results, read):
            self.store(i, result, bases[i], column, mask)

    def _table(self, window: int, column: Operand) -> tuple[Operand, Operand]:
        """Whether the columns are a run, and their offsets."""
        e = self.e
        number = tabled_windows(self.spec).index(window)
        per = self.lanes + 1
        place = e.add(e.mul(e.bin("udiv", column, e.i64(self.lanes)), per), number * self.spec.nv * per)
        pointer = e.gep("i64", Operand("ptr", "%offsets"), place)
        run = e.icmp("ne", e.load("i64", pointer, 8), e.i64(0))
        return run, e.load(vector("i64", self.lanes), e.gep("i64", pointer, 1), 8)

    def load(self, window: int, base: Operand, column: Operand, mask: Operand | None) -> Operand:
        e = self.e
        dtype, kind = self.spec.windows[window]
        stored = STORAGE_TYPE[dtype]
        wide = storage_type(dtype, self.lanes)
        if kind == "0":
            raw = e.splat(e.load(stored, base, 1), self.lanes)
        elif kind == "1":
            raw = v.masked_load(e, wide, e.gep(stored, base, column), mask)
        else:
            run, offsets = self._table(window, column)
            name = e.fresh("R")
            e.cond_br(run, f"{name}.run", f"{name}.apart")
            e.label(f"{name}.run")
            near = v.masked_load(e, wide, e.gep(stored, base, e.extract(offsets, 0)), mask)
            e.br(f"{name}.end")
            e.label(f"{name}.apart")
            far = v.gather(e, wide, v.addresses(e, stored, base, offsets), mask)
            e.br(f"{name}.end")
            e.label(f"{name}.end")
            raw = e.phi(wide, [(near, f"{name}.run"), (far, f"{name}.apart")])
        return body.from_storage(e, dtype, raw)

    def store(self, window: int, value: Operand, base: Operand, column: Operand, mask: Operand | None) -> None:
        e = self.e
        dtype, kind = self.spec.windows[window]
        stored = STORAGE_TYPE[dtype]
        raw = value if self.spec.body is None else body.to_storage(e, dtype, value)
        if kind == "1":
            v.masked_store(e, raw, e.gep(stored, base, column), mask)
            return
        run, offsets = self._table(window, column)
        name = e.fresh("W")
        e.cond_br(run, f"{name}.run", f"{name}.apart")
        e.label(f"{name}.run")
        v.masked_store(e, raw, e.gep(stored, base, e.extract(offsets, 0)), mask)
        e.br(f"{name}.end")
        e.label(f"{name}.apart")
        v.scatter(e, raw, v.addresses(e, stored, base, offsets), mask)
        e.br(f"{name}.end")
        e.label(f"{name}.end")


def emit_write(spec: Spec, target: Target) -> Emitter:
    """The function that applies the epilogue to a tile and writes it."""
    return _Writer(spec, target).emit()


def emit_prefetch(spec: Spec, target: Target) -> Emitter:
    """The function that asks for a tile's lines."""
    return _Writer(spec, target).emit_prefetch()
