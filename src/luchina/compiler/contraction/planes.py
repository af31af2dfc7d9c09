"""What the outputs of a convolution see, copied into scratch so that a tap is an offset.

For taps t that add ``row(t)`` and ``column(t)`` to a place ``(h·r, v·s)`` of an image, a block copies lines of x once
for every distinct column of the taps, so that lines of S elements follow each other with the padding filled in:

    planes[c][column][row mod h][line][s]

The elements that a tap sees of neighbouring outputs, across the ends of lines too, are then adjacent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from luchina.compiler.body import ITEMSIZE, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction.assembly import Parts
from luchina.compiler.contraction.interface import Window
from luchina.compiler.contraction.microkernel import LINE, prefetch
from luchina.compiler.contraction.packing import loaded
from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.contraction.tiles import padded
from luchina.compiler.ir import STORAGE_TYPE, Operand, vector

if TYPE_CHECKING:
    from luchina.compiler.target import Target

FLOATS = ("float32", "float64", "float16", "bfloat16")

# Lines of channels to come are asked for about so many bytes ahead: no hardware foresees short runs.
AHEAD_BYTES = 12288

GEOMETRY = (
    *("H", "W", "S", "h", "low", "ahead", "plane", "c_plane", "shifts", "remainders", "shift_at", "remainder_at"),
    *("tap_at", "x_slot", "x_offset", "x_group", "x_n", "x_c", "x_h", "x_w", "x_ahead"),
)


class Tap(NamedTuple):
    """Row and column of x that a tap adds, and where its weight lies."""

    row: int
    column: int
    weight: int


class Geometry:
    """The planes of some taps.

    Args:
        taps: all that are met.
        h: rows from one output to the next.
        columns: outputs of a line.
        apart: whether lines are copied for every distinct row of the taps too, instead of every remainder of a row.
            No tap then reaches beyond the last line, so lines of different images can follow each other.
    """

    def __init__(self, taps: Sequence[Tap], h: int, columns: int, apart: bool = False) -> None:
        self.h, self.columns = h, columns
        self.low = min((tap.row for tap in taps), default=0)
        self.period = max((tap.row - self.low + 1 for tap in taps), default=1) if apart else h
        self.remainders = sorted({(tap.row - self.low) % self.period for tap in taps})
        self.shifts = sorted({tap.column for tap in taps})
        self.ahead = max(((tap.row - self.low) // self.period for tap in taps), default=0)
        """Lines that taps reach beyond the last one."""

    @property
    def copies(self) -> int:
        """How often elements are copied."""
        return len(self.shifts) * len(self.remainders)

    def layout(self, elements: int, lanes: int, item: int) -> None:
        """Fix the sizes of planes of so many elements: an odd number of cache lines, which spread over the sets."""
        odd = padded((elements + lanes) * item, 64) // 64
        self.plane = (odd + 1 - odd % 2) * 64 // item

    def offset(self, tap: Tap) -> int:
        """Where a tap's elements of a channel begin."""
        place = self.shifts.index(tap.column) * len(self.remainders)
        place += self.remainders.index((tap.row - self.low) % self.period)
        return place * self.plane + (tap.row - self.low) // self.period * self.columns

    def numbers(self, x: Window, x_group: int, size: tuple[int, int], step: int, run: int, head: int) -> dict[str, int]:
        """The params of ``GEOMETRY``. ``head``: where lists begin; ``run``: outputs of a channel copied at once."""
        ahead = -(-AHEAD_BYTES // (ITEMSIZE[x.dtype] * self.h * step * max(1, run)))
        remainder_at = head + len(self.shifts)
        return {
            **{"H": size[0], "W": size[1], "S": self.columns, "h": self.h, "low": self.low, "ahead": self.ahead},
            **{"plane": self.plane, "c_plane": self.plane * self.copies},
            **{"shifts": len(self.shifts), "remainders": len(self.remainders), "shift_at": head},
            **{"remainder_at": remainder_at, "tap_at": remainder_at + len(self.remainders)},
            **{"x_slot": x.slot, "x_offset": x.offset, "x_group": x_group, "x_ahead": x.strides[1] * ahead},
            **dict(zip(("x_n", "x_c", "x_h", "x_w"), x.strides, strict=True)),
        }

    @property
    def lists(self) -> list[int]:
        """What ``head`` points to."""
        return self.shifts + self.remainders


# Columns farther apart are picked from so many vectors, or from squares of them, or gathered one by one.
MOST_PICKED = 4


def way(x: Window, step: int, shifts: Sequence[int], lanes: int) -> int:
    """How columns a step apart are read: so many adjacent vectors for one; ``-n``: squares, turned in registers, for
    n adjacent shifts at once; 0: gathered."""
    adjacent = 0 < len(shifts) <= lanes and shifts[-1] - shifts[0] == len(shifts) - 1
    if x.strides[3] != 1:
        return 0
    if step <= MOST_PICKED:
        return step
    return -len(shifts) if adjacent and 2 * len(shifts) >= step else 0


def copy_price(way_: int, lanes: int) -> int:
    """Half cycles of a core in which a vector is copied; a multiply-add takes one."""
    return 8 * way_ if way_ > 0 else 8 * lanes // -way_ + 8 if way_ else 64


class PlaneKernel(Parts):
    """A kernel over planes; ``names`` are those of its params, those of ``GEOMETRY`` among them."""

    names: tuple[str, ...] = GEOMETRY
    variant = step = 1

    def __init__(self, sizes: tuple[Any, ...], target: Target, name: str) -> None:
        super().__init__(name, target)
        self.dtype = str(sizes[0])
        self.lanes = target.lanes(ACCUMULATE[self.dtype])
        self.stored, self.element = STORAGE_TYPE[self.dtype], STORAGE_TYPE[ACCUMULATE[self.dtype]]
        self.wide = vector(self.element, self.lanes)
        self.item = ITEMSIZE[ACCUMULATE[self.dtype]]

    def p(self, name: str) -> Operand:
        return self.param(self.names.index(name))

    def param(self, place: int | Operand) -> Operand:
        return self.e.load("i64", self.e.gep("i64", Operand("ptr", "%params"), place), 8)

    def address(self, slot: str) -> Operand:
        return self.e.load("ptr", self.e.gep("ptr", Operand("ptr", "%table"), self.p(slot)), 8)

    def copies(self, x: Operand, row: Operand, part: tuple[Operand, Operand], count: Operand, to: Operand) -> None:
        """All planes of every channel: ``count`` lines from output row ``row`` of image x on."""
        e = self.e
        first = e.add(e.mul(row, self.p("h")), self.p("low"))
        if self.variant < 0:
            column = self.param(self.p("shift_at"))
            with e.loop(e.i64(0), self.p("remainders")) as remainder:
                mine = e.add(first, self.param(e.add(self.p("remainder_at"), remainder.index)))
                place = e.mul(remainder.index, self.p("plane"))
                self.squares(x, mine, column, part, count, e.gep(self.element, to, place))
            return
        with e.loop(e.i64(0), self.p("shifts")) as shift, e.loop(e.i64(0), self.p("remainders")) as remainder:
            column = self.param(e.add(self.p("shift_at"), shift.index))
            mine = e.add(first, self.param(e.add(self.p("remainder_at"), remainder.index)))
            place = e.add(e.mul(shift.index, self.p("remainders")), remainder.index)
            asks = e.icmp("eq", shift.index, e.i64(0))
            self.lines(x, mine, column, part, count, e.gep(self.element, to, e.mul(place, self.p("plane"))), asks)

    def most(self, a: Operand, b: Operand) -> Operand:
        return self.e.select(self.e.icmp("sgt", a, b), a, b)

    def lines(
        self,
        x: Operand,
        row: Operand,
        column: Operand,
        part: tuple[Operand, Operand],
        count: Operand,
        to: Operand,
        asks: Operand,
    ) -> None:
        """A part of ``count`` lines that begin at ``row``, ``column`` of x, for every channel. The last
        vector of a line runs into the next line, whose first comes after it. If it ``asks``, memory of channels to
        come is asked for."""
        e, lanes = self.e, self.lanes
        columns, h = self.p("S"), self.p("h")
        begin, end = self.turns(e.sub(e.i64(0), row), count), self.turns(e.sub(self.p("H"), row), count)
        begins, ends = part
        last = e.mul(e.bin("udiv", e.sub(e.sub(ends, begins), 1), e.i64(lanes)), lanes)
        zero = e.const(self.wide, 0)
        start = e.gep(self.stored, x, e.mul(e.add(row, e.mul(begin, h)), self.p("x_h")))
        x_step, x_c, c_plane = e.mul(h, self.p("x_h")), self.p("x_c"), self.p("c_plane")
        x_ahead = self.p("x_ahead")
        single = e.bin("and", e.icmp("eq", count, e.i64(1)), e.icmp("slt", begin, end))
        several = v.invert(e, single)

        def copy(source: Operand, place: Operand, s: Operand, read: Callable[[Operand], Operand]) -> None:
            e.store(read(source), place, 4)
            if self.variant:
                with e.when(asks):
                    later = e.gep(self.stored, source, e.add(e.add(e.mul(s, self.step), column), x_ahead))
                    for at in range(0, self.variant * lanes * ITEMSIZE[self.dtype], LINE):
                        prefetch(e, e.gep("i8", later, at))

        with e.loop(e.i64(0), Operand("i64", "%count"), carry=[start, to]) as channel:
            x_row, plane = channel.carried
            with e.when(single), e.loop(begins, ends, lanes) as chunk:
                s = chunk.index
                copy(x_row, e.gep(self.element, plane, s), s, self.reader(s, column))
            with e.when(several), e.loop(e.i64(0), e.add(last, 1), lanes) as chunk:
                s = e.add(begins, e.sub(last, chunk.index))
                read = self.reader(s, column)
                with e.loop(e.i64(0), begin, carry=[e.gep(self.element, plane, s)]) as line:
                    e.store(zero, line.carried[0], 4)
                    line.next = [e.gep(self.element, line.carried[0], columns)]
                with e.loop(begin, end, carry=[x_row, line.carried[0]]) as line:
                    copy(line.carried[0], line.carried[1], s, read)
                    line.next = [
                        e.gep(self.stored, line.carried[0], x_step),
                        e.gep(self.element, line.carried[1], columns),
                    ]
                with e.loop(self.most(begin, end), count, carry=[line.carried[1]]) as line:
                    e.store(zero, line.carried[0], 4)
                    line.next = [e.gep(self.element, line.carried[0], columns)]
            channel.next = [e.gep(self.stored, x_row, x_c), e.gep(self.element, plane, c_plane)]

    def turns(self, rows: Operand, count: Operand) -> Operand:
        """Lines, of ``count``, before ``rows`` rows are passed."""
        e, h = self.e, self.p("h")
        positive = self.most(rows, e.i64(0))
        return v.least(e, e.bin("udiv", e.sub(e.add(positive, h), 1), h), count)

    def squares(
        self, x: Operand, row: Operand, column: Operand, part: tuple[Operand, Operand], count: Operand, to: Operand
    ) -> None:
        """``lines`` for adjacent shifts from ``column`` on: what a tap in each of them sees of an output lies in one
        vector, so a square of vectors is turned."""
        e, lanes, step = self.e, self.lanes, self.step
        columns, h, kind = self.p("S"), self.p("h"), storage_type(self.dtype, self.lanes)
        begin, end = self.turns(e.sub(e.i64(0), row), count), self.turns(e.sub(self.p("H"), row), count)
        begins, ends = part
        last = e.mul(e.bin("udiv", e.sub(e.sub(ends, begins), 1), e.i64(lanes)), lanes)
        apart = e.mul(self.p("plane"), self.p("remainders"))
        with e.loop(e.i64(0), Operand("i64", "%count"), carry=[x, to]) as channel:
            source, plane = channel.carried
            with e.loop(e.i64(0), e.add(last, 1), lanes) as chunk:
                s = e.add(begins, e.sub(last, chunk.index))
                first = e.add(e.mul(s, step), column)
                narrow = e.cast("trunc", first, "i32")
                with e.loop(e.i64(0), count, carry=[e.gep(self.element, plane, s)]) as line:
                    exists = e.bin("and", e.icmp("sge", line.index, begin), e.icmp("slt", line.index, end))
                    width = e.splat(e.cast("trunc", e.select(exists, self.p("W"), e.i64(0)), "i32"), lanes)
                    start = e.mul(e.add(row, e.mul(line.index, h)), self.p("x_h"))
                    start = e.gep(self.stored, source, e.add(start, first))
                    rows = []
                    for i in range(lanes):
                        mask = e.icmp("ult", v.counting(e, e.add(narrow, i * step), lanes), width)
                        raw = v.masked_load(e, kind, e.gep(self.stored, start, i * step), mask)
                        rows.append(loaded(e, self.dtype, raw))
                    place = line.carried[0]
                    for value in v.transpose(e, rows)[: -self.variant]:
                        e.store(value, place, 4)
                        place = e.gep(self.element, place, apart)
                    line.next = [e.gep(self.element, line.carried[0], columns)]
            channel.next = [e.gep(self.stored, source, self.p("x_c")), e.gep(self.element, plane, self.p("c_plane"))]

    def reader(self, s: Operand, column: Operand) -> Callable[[Operand], Operand]:
        """How the elements for outputs ``s …`` are read from a row of x."""
        e, lanes, step = self.e, self.lanes, self.step
        kind = storage_type(self.dtype, lanes)
        width = e.splat(e.cast("trunc", self.p("W"), "i32"), lanes)
        first = e.add(e.mul(s, step), column)
        narrow = e.cast("trunc", first, "i32")
        if not self.variant:
            where = v.combine(e, [v.iota(lanes)], [Operand("i32", str(step))])
            where = e.add(where, e.splat(narrow, lanes))
            inside = e.icmp("ult", where, width)
            offsets = e.mul(e.cast("sext", where, "i64"), e.splat(self.p("x_w"), lanes))
            return lambda row: loaded(
                e, self.dtype, v.gather(e, kind, v.addresses(e, self.stored, row, offsets), inside)
            )
        masks = [e.icmp("ult", v.counting(e, e.add(narrow, i * lanes), lanes), width) for i in range(self.variant)]

        def read(row: Operand) -> Operand:
            at = e.gep(self.stored, row, first)
            raw = [v.masked_load(e, kind, e.gep(self.stored, at, i * lanes), mask) for i, mask in enumerate(masks)]
            return self.every([loaded(e, self.dtype, r) for r in raw], step)

        return read

    def every(self, vectors: list[Operand], step: int) -> Operand:
        """A vector of every ``step``-th element of adjacent vectors: neighbours are joined until one is left."""
        e, lanes = self.e, self.lanes
        wanted: list[tuple[Operand, list[int]]] = []
        for i, vector_ in enumerate(vectors):
            here = [at - i * lanes for at in range(0, lanes * step, step) if i * lanes <= at < (i + 1) * lanes]
            if here:
                wanted.append((vector_, here))
        while len(wanted) > 1 or wanted[0][1] != list(range(lanes)):
            joined = []
            for i in range(0, len(wanted), 2):
                (left, first), (right, second) = wanted[i], wanted[i + 1] if i + 1 < len(wanted) else (wanted[i][0], [])
                order = first + [lanes + at for at in second]
                joined.append((v.shuffle(e, left, right, order + [0] * (lanes - len(order))), list(range(len(order)))))
            wanted = joined
        return wanted[0][0]
