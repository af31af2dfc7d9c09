"""Packing: a panel of an operand, ``width`` lanes by k, in the order in which the micro-kernel reads it.

A panel is ``packed[k][lane]`` in the accumulation dtype; rows that are copied as they are (mode "row") lie
``row_length`` elements apart. Vectors are stored whole: where ``width`` is not a multiple
of the lanes, the surplus is overwritten by the next row; a panel has ``surplus_rows`` more rows than k for the last
one, and after the last panel there are ``slack`` elements of space.

    void pack(ptr params, ptr base, i64 x, i64 stop, i64 k, i64 count, ptr to, ptr tables)

packs the panels of lanes ``x … stop`` at ``k … k + count``; ``base`` is the operand's element (0, 0), ``tables`` what
``emit_tables`` wrote for ``k``. What lies in lanes beyond the extent is arbitrary: their products are never written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.body import ITEMSIZE, from_storage, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction.spec import ACCUMULATE, Params, Spec
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, vector

if TYPE_CHECKING:
    from luchina.compiler.target import Target

SIGNATURE = "ptr %params, ptr %base, i64 %x, i64 %stop, i64 %k, i64 %count, ptr %to, ptr %tables"
TABLES_SIGNATURE = "ptr %params, i64 %k, i64 %count, ptr %tables"
TABLES = 4  # of A's and B's offsets along k, and of the rows and columns of B's patch


class _Lanes(NamedTuple):
    """A vector's worth of lanes of a panel: which exist, their offsets, and their position in the image."""

    valid: Operand
    offsets: Operand
    row: Operand | None
    column: Operand | None


def surplus_rows(lanes: int, width: int) -> int:
    """Rows of a panel after those of k."""
    return -(-(-width % lanes) // width)


def row_length(e: Emitter, count: Operand, lanes: int) -> Operand:
    """Elements from one copied row of ``count`` elements to the next: whole vectors, and seldom a power of two."""
    return e.bin("and", e.add(count, 2 * lanes - 1), e.i64(-lanes))


def slack(lanes: int, width: int) -> int:
    """Elements that may be written after a panel."""
    return lanes * (width + 1)


def loaded(e: Emitter, dtype: str, raw: Operand) -> Operand:
    """A raw value as it is accumulated."""
    value = from_storage(e, dtype, raw)
    to = ACCUMULATE[dtype]
    if to == "int32" and dtype != "int32":
        value = e.cast("zext" if dtype == "uint8" else "sext", value, "i32")
    return value


def emit_tables(spec: Spec, target: Target) -> Emitter:
    """For each k of a block: the offset in A, in B, and the row and column that it adds to in B's image."""
    e = Emitter()
    params = Params(e, spec)
    lanes = target.lanes("int32")
    entries = params["k_entries"]
    with e.loop(e.i64(0), Operand("i64", "%count"), lanes) as loop:
        start = e.cast("trunc", e.add(Operand("i64", "%k"), loop.index), "i32")
        digit = v.digits(e, params, "k", v.counting(e, start, lanes))
        last = digit[1:]
        columns = [
            v.combine(e, digit, [params.narrow(f"ak_{i}") for i in range(3)]),
            v.combine(e, digit, [params.narrow(f"bk_{i}") for i in range(3)]),
            e.add(v.combine(e, last[:1], [params.narrow("h_k")]), e.splat(params.narrow("h_0"), lanes)),
            e.add(v.combine(e, last[1:], [params.narrow("w_k")]), e.splat(params.narrow("w_0"), lanes)),
        ]
        for number, column in enumerate(columns):
            at = e.add(e.mul(entries, number), loop.index)
            e.store(column, e.gep("i32", Operand("ptr", "%tables"), at), 4)
    return e


class Packer:
    """Writes the function that packs an operand."""

    def __init__(self, spec: Spec, target: Target, operand: str) -> None:
        self.e = Emitter()
        self.params = Params(self.e, spec)
        self.operand = operand
        self.mode = spec.a if operand == "a" else spec.b
        self.dtype = spec.dtype
        self.lanes = target.lanes(ACCUMULATE[spec.dtype])
        self.width = spec.mr if operand == "a" else spec.nv * self.lanes
        self.stored = STORAGE_TYPE[spec.dtype]
        self.packed = STORAGE_TYPE[ACCUMULATE[spec.dtype]]
        self.wide = storage_type(spec.dtype, self.lanes)
        self.bounded = operand == "b" and spec.tabled
        self.base, self.to, self.tables = (Operand("ptr", f"%{name}") for name in ("base", "to", "tables"))
        self.x, self.stop, self.k, self.count = (Operand("i64", f"%{name}") for name in ("x", "stop", "k", "count"))
        self.extent = self.params["M" if operand == "a" else "N"]
        self.x_stride = self.params[f"{operand}_x"]
        self.k_stride = self.params[f"{operand}_k"]
        if spec.tabled:
            self.entries = self.params["k_entries"]
            if self.bounded:
                self.height, self.image_width = self.params.narrow("height"), self.params.narrow("width")

    def emit(self) -> Emitter:
        e = self.e
        if self.mode in ("k", "tk"):
            kept = self.stored if self.mode == "k" else self.packed
            self.square_at = e.inst("ptr", f"alloca [{self.lanes * self.lanes} x {kept}], align 64")
        if self.mode == "tx":
            self.room = e.inst("ptr", f"alloca [{3 * self.width} x i32], align 64")
            self.flag = e.inst("ptr", "alloca i64, align 8")
        if self.mode == "tk":  # room to look single lanes up
            self.room = e.inst("ptr", f"alloca [{3 * self.lanes} x i32], align 64")
        if self.mode == "row":
            self.copied_rows()
            return e
        rows = e.add(self.count, surplus_rows(self.lanes, self.width))
        if self.mode == "x":
            self.along_x(rows)
            return e
        with e.loop(self.x, self.stop, self.width) as panel:
            to = e.gep(self.packed, self.to, e.mul(e.sub(panel.index, self.x), rows))
            if self.mode == "tx":
                self.runs_x(panel.index, to)
            else:
                with self.vectors(panel.index) as lane:
                    each = {"s": self.gathered, "k": self.along_k, "tk": self.runs_k}[self.mode]
                    each(e.gep(self.packed, to, lane))
        return e

    @contextmanager
    def vectors(self, panel: Operand, upwards: bool = False) -> Iterator[Operand]:
        """For the vectors of a panel: from the last to the first, whose rows then overwrite the surplus of the rows
        before. Gives the number of the first lane."""
        e = self.e
        final = (self.width - 1) // self.lanes * self.lanes
        with e.loop(e.i64(0), e.i64(self.width), self.lanes) as loop:
            lane = loop.index if upwards or not final else e.sub(e.i64(final), loop.index)
            self.first = e.add(panel, lane)
            self.left = e.sub(self.extent, self.first)
            yield lane

    def store(self, raw: Operand, to: Operand, row: Operand) -> None:
        value = loaded(self.e, self.dtype, raw)
        self.e.store(value, self.e.gep(self.packed, to, self.e.mul(row, self.width)), 4)

    # ---- offsets by stride

    def along_x(self, rows: Operand) -> None:
        """All panels for one k after the other: memory is read in long runs. Masks only where the extent ends."""
        e = self.e
        panel_size = e.mul(rows, self.width)
        # Whole vectors may be read of the panels before this one.
        surplus = -self.width % self.lanes
        whole = e.sub(e.sub(v.least(e, self.stop, e.sub(self.extent, surplus)), self.x), self.width - 1)
        whole = e.select(e.icmp("sgt", whole, e.i64(0)), whole, e.i64(0))
        middle = e.add(self.x, whole)
        with e.loop(e.i64(0), self.count) as loop:
            source = e.gep(self.stored, self.base, e.mul(e.add(self.k, loop.index), self.k_stride))
            to = e.gep(self.packed, self.to, e.mul(loop.index, self.width))
            at = self.x
            for stop, masked in ((middle, False), (self.stop, True)):
                with e.loop(at, stop, self.width, carry=[to, at]) as panel:
                    to = panel.carried[0]
                    for lane in reversed(range(0, self.width, self.lanes)):
                        first = e.add(panel.index, lane)
                        valid = v.below(e, e.sub(self.extent, first), self.lanes) if masked else None
                        raw = v.masked_load(e, self.wide, e.gep(self.stored, source, first), valid)
                        e.store(loaded(e, self.dtype, raw), e.gep(self.packed, to, lane), 4)
                    panel.next = [e.gep(self.packed, to, panel_size), e.add(panel.index, self.width)]
                to, at = panel.carried

    def copied_rows(self) -> None:
        e = self.e
        source = e.gep(self.stored, e.gep(self.stored, self.base, self.k), e.mul(self.x, self.x_stride))
        length = row_length(e, self.count, self.lanes)
        whole = e.bin("and", self.count, e.i64(-self.lanes))
        with e.loop(self.x, self.stop, carry=[source, self.to]) as row:
            source, to = row.carried
            for start, stop, masked in ((e.i64(0), whole, False), (whole, self.count, True)):
                with e.loop(start, stop, self.lanes) as k:
                    valid = v.below(e, e.sub(stop, k.index), self.lanes) if masked else None
                    raw = v.masked_load(e, self.wide, e.gep(self.stored, source, k.index), valid)
                    e.store(loaded(e, self.dtype, raw), e.gep(self.packed, to, k.index), 4)
            row.next = [e.gep(self.stored, source, self.x_stride), e.gep(self.packed, to, length)]

    def gathered(self, to: Operand) -> None:
        e = self.e
        valid = v.below(e, self.left, self.lanes)
        offsets = e.mul(v.counting(e, self.first, self.lanes), e.splat(self.x_stride, self.lanes))
        with e.loop(e.i64(0), self.count) as loop:
            pointer = e.gep(self.stored, self.base, e.mul(e.add(self.k, loop.index), self.k_stride))
            pointers = v.addresses(e, self.stored, pointer, offsets)
            self.store(v.gather(e, self.wide, pointers, valid), to, loop.index)

    def along_k(self, to: Operand) -> None:
        e = self.e
        source = self.lane_source()
        with e.loop(e.i64(0), self.count, self.lanes) as loop:
            self.store_transposed(self.square(source, loop.index), to, loop.index)

    def lane_source(self) -> Operand:
        """Where the first of a vector of lanes begins."""
        e = self.e
        return e.gep(self.stored, e.gep(self.stored, self.base, self.k), e.mul(self.first, self.x_stride))

    def square(self, source: Operand, k: Operand) -> list[Operand]:
        """The rows of a square of each lane's elements of k, to be transposed in registers; of one that is not whole by
        way of memory. Lanes beyond the extent repeat the last one."""
        e = self.e
        used = min(self.lanes, self.width)
        size = ITEMSIZE[self.dtype]
        left = e.sub(self.count, k)
        rest = e.bin("or", e.icmp("slt", self.left, e.i64(used)), e.icmp("slt", left, e.i64(self.lanes)))
        here = e.gep(self.stored, source, k)
        with e.when(rest):
            inside = v.below(e, left, self.lanes)
            with e.loop(e.i64(0), e.i64(used)) as each:
                row = e.mul(v.least(e, each.index, e.sub(self.left, 1)), self.x_stride)
                raw = v.masked_load(e, self.wide, e.gep(self.stored, here, row), inside)
                e.store(raw, e.gep(self.stored, self.square_at, e.mul(each.index, self.lanes)), 8)
        first = e.select(rest, self.square_at, here)
        apart = e.select(rest, e.i64(self.lanes * size), e.mul(self.x_stride, size))
        places = v.Rows(e, used, apart).at(first)
        return [loaded(e, self.dtype, e.load(self.wide, place, 1)) for place in places]

    def stage(self, raw: Operand, lane: Operand, only: Operand | None = None) -> None:
        """Keep one row of a square, or ``only`` some columns of it."""
        e = self.e
        value, place = loaded(e, self.dtype, raw), e.gep(self.packed, self.square_at, e.mul(lane, self.lanes))
        if only is None:
            e.store(value, place, 64)
        else:
            v.masked_store(e, value, place, only)

    def store_square(self, to: Operand, row: Operand) -> None:
        """Write the square that is kept as rows ``row …`` of the panel."""
        e = self.e
        wide = vector(self.packed, self.lanes)
        places = [e.gep(self.packed, self.square_at, i * self.lanes) for i in range(min(self.lanes, self.width))]
        self.store_transposed([e.load(wide, place, 64) for place in places], to, row)

    def store_transposed(self, rows: list[Operand], to: Operand, row: Operand) -> list[Operand]:
        """Write the columns of a square, of which ``rows`` exist, as rows ``row …`` of the panel, and give them."""
        e = self.e
        square = v.transpose(e, rows + [Operand(rows[0].type, "poison")] * (self.lanes - len(rows)))
        start = e.gep(self.packed, to, e.mul(row, self.width))
        for i, column in enumerate(square):
            e.store(column, e.gep(self.packed, start, i * self.width), 4)
        return square

    # ---- offsets by table

    def place(self) -> _Lanes:
        e = self.e
        valid = v.below(e, self.left, self.lanes)
        # Lanes beyond the extent repeat the last one.
        index = v.counting(e, e.cast("trunc", self.first, "i32"), self.lanes)
        final = e.splat(e.cast("trunc", e.sub(self.extent, 1), "i32"), self.lanes)
        index = e.select(e.icmp("slt", index, final), index, final)
        if not self.bounded:
            return _Lanes(valid, e.mul(index, e.splat(self.params.narrow("a_x"), self.lanes)), None, None)
        digit = v.digits(e, self.params, "n", index)
        offsets = v.combine(e, digit, [self.params.narrow(f"bx_{i}") for i in range(3)])
        # A lane beyond the extent lies in a row that no image has.
        row = v.combine(e, digit[1:2], [self.params.narrow("h_x")])
        row = e.select(valid, row, e.const(row.type, 1 << 30))
        column = v.combine(e, digit[2:], [self.params.narrow("w_x")])
        return _Lanes(valid, offsets, row, column)

    def table(self, name: str, row: Operand, lanes: int = 1) -> Operand:
        e = self.e
        number = {"offset": "ab".index(self.operand), "row": 2, "column": 3}[name]
        at = e.add(e.mul(self.entries, number), row) if number else row
        return e.load(vector("i32", lanes), e.gep("i32", self.tables, at), 4)

    def inside(self, row: Operand, column: Operand) -> Operand:
        """Which lanes lie in the image; negative positions count as huge."""
        e = self.e
        checks = ((row, self.height), (column, self.image_width))
        return e.bin("and", *(e.icmp("ult", position, e.splat(bound, self.lanes)) for position, bound in checks))

    def mask_at(self, lane: _Lanes, row: Operand) -> Operand:
        if lane.row is None or lane.column is None:
            return lane.valid
        e = self.e
        here = [e.splat(self.table(name, row), self.lanes) for name in ("row", "column")]
        return self.inside(e.add(lane.row, here[0]), e.add(lane.column, here[1]))

    def gather_rows(self, lane: _Lanes, to: Operand, start: Operand, stop: Operand) -> None:
        e = self.e
        offsets = e.cast("sext", lane.offsets, "i64")
        with e.loop(start, stop) as loop:
            base = e.gep(self.stored, self.base, e.cast("sext", self.table("offset", loop.index), "i64"))
            pointers = v.addresses(e, self.stored, base, offsets)
            self.store(v.gather(e, self.wide, pointers, self.mask_at(lane, loop.index)), to, loop.index)

    def runs_x(self, panel: Operand, to: Operand) -> None:
        """Where every vector of a panel is a run of adjacent elements they go together through k."""
        e = self.e
        places, all_runs = self.room, self.flag
        e.store(e.i64(1), all_runs, 8)
        with self.vectors(panel, upwards=True) as start:
            lane = self.place()
            run = e.cast("zext", v.is_run(e, lane.offsets, lane.valid), "i64")
            e.store(e.bin("and", run, e.load("i64", all_runs, 8)), all_runs, 8)
            for number, vector_ in enumerate((lane.offsets, lane.row, lane.column)):
                assert vector_ is not None
                e.store(vector_, e.gep("i32", places, e.add(start, number * self.width)), 4)
        together = e.icmp("ne", e.load("i64", all_runs, 8), e.i64(0))
        with e.when(together):
            wide = vector("i32", self.lanes)
            starts = range(0, self.width, self.lanes)
            rows, columns = (
                [e.load(wide, e.gep("i32", places, number * self.width + at), 4) for at in starts] for number in (1, 2)
            )
            sources = [
                e.gep(self.stored, self.base, e.cast("sext", e.load("i32", e.gep("i32", places, at), 4), "i64"))
                for at in starts
            ]
            with e.loop(e.i64(0), self.count) as loop:
                offset = e.cast("sext", self.table("offset", loop.index), "i64")
                here = [e.splat(self.table(name, loop.index), self.lanes) for name in ("row", "column")]
                target = e.gep(self.packed, to, e.mul(loop.index, self.width))
                for at, source, row, column in zip(starts, sources, rows, columns, strict=True):
                    mask = self.inside(e.add(row, here[0]), e.add(column, here[1]))
                    raw = v.masked_load(e, self.wide, e.gep(self.stored, source, offset), mask)
                    e.store(loaded(e, self.dtype, raw), e.gep(self.packed, target, at), 4)
        with e.when(e.bin("xor", together, e.const("i1", 1))), self.vectors(panel) as start:
            self.runs_apart(e.gep(self.packed, to, start))

    def runs_apart(self, to: Operand) -> None:
        """A vector that is one run or two is loaded whole, others are gathered."""
        e = self.e
        lane = self.place()
        begin = e.extract(lane.offsets, 0)
        second = e.sub(e.extract(lane.offsets, self.lanes - 1), self.lanes - 1)
        near = v.run_from(e, lane.offsets, begin)
        far = e.bin("and", v.run_from(e, lane.offsets, second), v.invert(e, near))
        runs = v.every(e, e.bin("or", e.bin("or", near, far), v.invert(e, lane.valid)))
        starts = [e.gep(self.stored, self.base, e.cast("sext", start, "i64")) for start in (begin, second)]
        zero = e.i64(0)
        with e.loop(zero, e.select(runs, self.count, zero)) as loop:
            offset = e.cast("sext", self.table("offset", loop.index), "i64")
            inside = self.mask_at(lane, loop.index)
            raw = v.masked_load(e, self.wide, e.gep(self.stored, starts[0], offset), e.bin("and", inside, near))
            pointer = e.gep(self.stored, starts[1], offset)
            self.store(v.masked_load(e, self.wide, pointer, e.bin("and", inside, far), raw), to, loop.index)
        self.gather_rows(lane, to, zero, e.select(runs, zero, self.count))

    def runs_k(self, to: Operand) -> None:
        e = self.e
        lane = self.place()
        for number, vector_ in enumerate((lane.offsets, lane.row, lane.column)):
            if vector_ is not None:
                e.store(vector_, e.gep("i32", self.room, number * self.lanes), 4)
        last = e.sub(self.count, 1)
        with e.loop(e.i64(0), self.count, self.lanes) as loop:
            left = e.sub(self.count, loop.index)
            exists = v.below(e, left, self.lanes)
            offsets = self.table("offset", loop.index, self.lanes)
            # At most two runs: one that begins with the first lane, one that ends with the last.
            begin = e.extract(offsets, 0)
            final = v.least(e, e.add(loop.index, self.lanes - 1), last)
            back = e.cast("trunc", e.sub(final, loop.index), "i32")
            second = e.sub(self.table("offset", final), back)
            near = e.bin("and", v.run_from(e, offsets, begin), exists)
            far = e.bin("and", e.bin("and", v.run_from(e, offsets, second), exists), v.invert(e, near))
            runs = v.every(e, e.bin("or", e.bin("or", near, far), v.invert(e, exists)))
            with e.when(runs):
                self.stage_run(loop.index, near, begin, None)
                with e.when(e.icmp("ne", begin, second)):
                    self.stage_run(loop.index, far, second, far)
                self.store_square(to, loop.index)
            stop = e.add(loop.index, v.least(e, left, e.i64(self.lanes)))
            self.gather_rows(lane, to, e.select(runs, stop, loop.index), stop)

    def stage_run(self, row: Operand, mask: Operand, offset: Operand, only: Operand | None) -> None:
        """A run of k's of each lane into the square; ``only`` these columns of it."""
        e = self.e
        base = e.gep(self.stored, self.base, e.cast("sext", offset, "i64"))
        if self.bounded:
            here = [self.table(name, row, self.lanes) for name in ("row", "column")]
        with e.loop(e.i64(0), e.i64(min(self.lanes, self.width))) as lane:
            mine = [
                e.load("i32", e.gep("i32", self.room, e.add(lane.index, i * self.lanes)), 4)
                for i in range(3 if self.bounded else 1)
            ]
            read = mask
            if self.bounded:
                at = [e.add(h, e.splat(m, self.lanes)) for h, m in zip(here, mine[1:], strict=True)]
                read = e.bin("and", mask, self.inside(*at))
            pointer = e.gep(self.stored, base, e.cast("sext", mine[0], "i64"))
            self.stage(v.masked_load(e, self.wide, pointer, read), lane.index, only)


def emit_pack(spec: Spec, target: Target, operand: str) -> Emitter:
    """The function that packs a panel of operand ``a`` or ``b``."""
    return Packer(spec, target, operand).emit()
