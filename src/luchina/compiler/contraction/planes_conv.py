"""Convolutions and their input gradients over planes.

``out[i, m, r, s] = sum_{c, t} w[m, c, t] · x[i, c, h·r + row(t), v·s + column(t)]`` with taps t, whose offsets in
planes of x are in a table: nothing but columns is unrolled.

* A first kernel packs the weights once for a call: ``u[group][phase][panel of rows][c][t][row]``.
* The second goes over blocks: some outputs of an image (of all images where taps lie in one row), some channels m.
  Channels c are summed in chunks whose length depends on C and the window only.

The input's gradient of a convolution of stride v is v such sums, *phases*, with taps of their own, whose columns are
interleaved when they are written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from luchina.compiler.body import ITEMSIZE, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction import lines
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.microkernel import LINE, multiply_add, prefetch
from luchina.compiler.contraction.packing import loaded
from luchina.compiler.contraction.planes import FLOATS, GEOMETRY, Geometry, PlaneKernel, Tap, copy_price, way
from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.contraction.tiles import TILES, padded
from luchina.compiler.ir import STORAGE_TYPE, Operand
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target

Pair = tuple[int, int]

# About so many products are summed one after the other: rounding errors grow with a chain's length, not with K.
CHAIN = 128

# Planes and sums of a block lie in the second cache.
PLANE_BYTES = 256 << 10
SUM_BYTES = 192 << 10

# Tiles of shorter sums are written before a prefetch would have come.
AHEAD_STEPS = 32

# Blocks are such that so many threads share them well; each takes some half cycles to begin.
THREADS = (2, 8)
STEPS = (0, 1, 2, 3, 4, 6, 8, 12, 16)
START = 10_000

# Of sums no longer than this the results are what takes time: many of them are written in long runs.
SHORT = 64
MANY = 64

# Half cycles in which a vector of outputs is written.
WRITE = 8

SHAPE = (
    *GEOMETRY,
    *("R", "C", "M", "N", "c_block", "c_blocks", "n_block", "n_blocks", "m_block", "m_blocks"),
    *("units", "line", "line_rows", "width", "entries", "at_planes", "at_sums", "at_pairs", "several"),
    *("w_slot", "w_offset", "w_group", "w_m", "w_c", "u_slot", "u_group", "panels"),
    *("count_0", "count_1", "u_0", "u_1"),
)
WINDOW = ("slot", "offset", "batch", "m", "image", "row")


@dataclass
class Problem:
    """A convolution in these terms.

    Args:
        x: strides (image, channel, row, column); ``x_group`` from one group to the next.
        w: slot and offset of weights; ``w_strides`` are (group, m, c).
        counts: (groups, images, M, C), channels of one group.
        size, result: rows and columns of x, and of the outputs of one phase.
        step: (h, v), from one output to the next.
        phases: taps of each; with two, outputs of the first lie in even columns, those of the second in odd ones.
        width: columns of the windows.
        lines: rows and columns of outputs where a line of ``result`` holds several lines of the windows.
    """

    x: Window
    x_group: int
    w: Window
    w_strides: tuple[int, int, int]
    outs: Sequence[Window]
    epilogue: Epilogue
    counts: tuple[int, int, int, int]
    size: Pair
    result: Pair
    step: Pair
    phases: list[list[Tap]]
    width: int
    lines: Pair | None = None


def fits(dtype: str, outs: Sequence[Window], epilogue: Epilogue) -> bool:
    """Whether a convolution with these windows can go this way."""
    return dtype in FLOATS and lines.fit(outs, epilogue)


def conv(problem: Problem, target: Target, temporary: Callable[[int], int]) -> list[Call]:
    """The calls of a convolution: weights are packed, then it is done."""
    p = _merged(problem)
    if 0 in (*p.counts[:3], *p.result):
        return []
    dtype = p.x.dtype
    groups, images, out, channels = p.counts
    (rows, columns), (h, step) = p.result, p.step
    lanes = target.lanes(ACCUMULATE[dtype])
    item = ITEMSIZE[ACCUMULATE[dtype]]
    every = [tap for taps in p.phases for tap in taps]
    g = Geometry(every, h, columns, _apart(p, target))
    # Lines of different images follow each other where no tap leaves its line.
    units = images if g.ahead else 1
    n = images * rows * columns // units
    mr, nv = _tile(target, dtype, out, n)
    nr = nv * lanes
    taps = max(len(phase) for phase in p.phases)
    depth = channels * taps
    turns = max(1, ceil(depth / CHAIN))
    c_block = ceil(channels / turns)
    c_blocks = ceil(channels / c_block)
    phases = len(p.phases)

    fit = PLANE_BYTES // max(1, g.copies * c_block * item)
    if rows > 1 or g.ahead:
        fit = max(1, fit // columns - g.ahead) * columns
    if c_blocks > 1:
        fit = min(fit, SUM_BYTES // (item * phases * min(out, 256)))
    flops = 2 * groups * out * images * rows * columns * channels * sum(map(len, p.phases))
    # Blocks of columns copy lines ahead twice, blocks of rows copy everything twice.
    narrowest = max(2 * nr, 2 * g.ahead * columns)
    n_block, m_block = _blocks(
        (groups * units, n, out),
        (ceil(n / max(nr, fit // nr * nr)), ceil(n / narrowest)),
        (ceil(out / padded(min(out, 256 if c_blocks > 1 else out), mr)), ceil(out / (4 * mr))),
        (nr, mr),
        (channels * sum(map(len, p.phases)) + WRITE * phases) / lanes,
        g.copies * (120 * c_blocks + 30 * channels),
        g.copies
        * channels
        * (1 + g.ahead * columns / n)
        * copy_price(way(p.x, step, g.shifts, lanes), lanes)
        * ceil(columns / lanes)
        / columns,
    )
    n_blocks, m_blocks = ceil(n / n_block), ceil(out / m_block)

    # Of images of one line a block copies its own part.
    most_lines = min(ceil((n_block - 1) / columns) + 1, n // columns) + g.ahead
    g.layout(n_block if rows == 1 and not g.ahead else most_lines * columns, lanes, item)
    panels = ceil(out / mr)
    u_sizes = [panels * channels * len(phase) * mr for phase in p.phases]
    u_slot = temporary(max(64, groups * sum(u_sizes) * item))
    entries = max(1, c_block * taps)
    at_planes = lines.aligned(8 * entries * phases)
    at_sums = lines.aligned(at_planes + (c_block * g.plane * g.copies + nr + lanes) * item)
    sums = m_block * n_block if c_blocks > 1 else mr * nr
    at_pairs = lines.aligned(at_sums + sums * phases * item)
    windows = [*p.epilogue.operands, *p.outs]
    line_rows, line = p.lines or p.result
    merged = phases == 1 and all(w.strides[2] == (line if w.strides[3] else 0) for w in windows)
    head = len(SHAPE) + len(windows) * len(WINDOW)
    numbers = {
        **g.numbers(p.x, p.x_group, p.size, step, min(n_block, rows * columns), head),
        **{"R": rows, "C": channels, "M": out, "N": n, "c_block": c_block, "c_blocks": c_blocks},
        **{"n_block": n_block, "n_blocks": n_blocks, "m_block": m_block, "m_blocks": m_blocks, "units": units},
        **{"line": line_rows * line if merged else line, "line_rows": 1 if merged else line_rows, "width": p.width},
        **{"entries": entries, "at_planes": at_planes, "at_sums": at_sums, "at_pairs": at_pairs},
        "several": int(c_blocks > 1),
        **{"w_slot": p.w.slot, "w_offset": p.w.offset},
        **dict(zip(("w_group", "w_m", "w_c"), p.w_strides, strict=True)),
        **{"u_slot": u_slot, "u_group": sum(u_sizes), "panels": panels},
        **{"count_0": len(p.phases[0]), "count_1": len(p.phases[-1]), "u_0": 0, "u_1": u_sizes[0]},
    }
    params = [numbers[name] for name in SHAPE]
    for window in windows:
        image, channel, row, _ = window.strides
        params += [window.slot, window.offset, out * channel, channel, image, row]
    params += g.lists
    for tap in every:
        params += [g.offset(tap) * item, tap.weight]
    order = _weight_order(p)
    weights = Call(
        _weights_kernel((dtype, mr, phases, order), len(windows)),
        params,
        groups * panels,
        0,
        100.0 + groups * sum(u_sizes) * (2.0 if order == "s" else 0.4),
        (p.w.slot,),
        (u_slot,),
    )
    spec = lines.spec_of(
        (dtype, mr, nv, phases, way(p.x, step, g.shifts, lanes), step, depth <= SHORT and out >= MANY),
        p.outs,
        p.epilogue,
    )
    main = Call(
        _main_kernel(spec),
        params,
        groups * units * n_blocks * m_blocks,
        lines.aligned(at_pairs + mr * lanes * item),
        flops / 60 + groups * images * out * rows * columns * phases / 8 + 100.0,
        tuple(dict.fromkeys([p.x.slot, u_slot, *(o.slot for o in p.epilogue.operands)])),
        tuple(dict.fromkeys(o.slot for o in p.outs)),
        flops,
    )
    return [weights, main]


def _tile(target: Target, dtype: str, m: int, n: int) -> Pair:
    """The tile that wastes least; columns beyond the last one cost half a tile at most."""
    lanes = target.lanes(ACCUMULATE[dtype])

    def time(tile: tuple[int, int, float]) -> float:
        mr, nv, rate = tile
        return padded(m, mr) * padded(n, max(1, nv // 2) * lanes) / rate

    mr, nv, _ = min(TILES[target.name], key=time)
    return mr, nv


def _apart(p: Problem, target: Target) -> bool:
    """Whether copying lines for every row of the taps costs less than the columns that tiles of single images waste."""
    _, images, out, _ = p.counts
    (rows, columns), (h, _) = p.result, p.step
    every = [tap for taps in p.phases for tap in taps]
    lanes = target.lanes(ACCUMULATE[p.x.dtype])

    def time(g: Geometry) -> float:
        units = images if g.ahead else 1
        n = images * rows * columns // units
        _, nv = _tile(target, p.x.dtype, out, n)
        products = out * len(every) * padded(n, max(1, nv // 2) * lanes) / lanes
        copied = g.copies * (images // units * rows + g.ahead) * ceil(columns / lanes)
        price = copy_price(way(p.x, p.step[1], g.shifts, lanes), lanes)
        return units * (products + price * copied)

    return time(Geometry(every, h, columns, True)) < time(Geometry(every, h, columns))


def _blocks(
    extents: tuple[int, int, int],
    n_counts: Pair,
    m_counts: Pair,
    tile: Pair,
    product: float,
    start: float,
    copy: float,
) -> Pair:
    """Columns and rows of a block: what takes least time on few threads and on many.

    Args:
        extents: (groups and images, N, M).
        n_counts, m_counts: how many blocks there must be at least along N and M, and how many there may be.
        tile: what both are multiples of.
        product, start, copy: half cycles for an output, for a block, and for a column that it copies.
    """
    batch, n, m = extents
    best, result = float("inf"), (n, m)
    for more_n in STEPS:
        n_block = padded(ceil(n / min(n_counts[0] + more_n, max(n_counts))), tile[0])
        for more_m in STEPS:
            m_block = padded(ceil(m / min(m_counts[0] + more_m, max(m_counts))), tile[1])
            count = batch * ceil(n / n_block) * ceil(m / m_block)
            one = START + start + min(n_block, n) * (m_block * product + copy)
            time = sum(threads * ceil(count / threads) * one for threads in THREADS)
            if time < best:
                best, result = time, (n_block, m_block)
    return result


def _merged(p: Problem) -> Problem:
    """Images as single lines, where one tap meets every element of them."""
    rows, columns = p.result
    single = all(len(taps) <= 1 for taps in p.phases) and all(tap[:2] == (0, 0) for taps in p.phases for tap in taps)
    if not single or p.step != (1, 1) or p.size != p.result or p.x.strides[2] != columns * p.x.strides[3]:
        return p
    line = (1, rows * columns)
    return replace(p, size=line, result=line, lines=p.result)


def _weight_order(p: Problem) -> str:
    """How weights lie: adjacent along k, adjacent along m, or neither."""
    if p.w_strides[1] == 1:
        return "x"
    taps = p.phases[0]
    adjacent = all(tap.weight == i for i, tap in enumerate(taps)) and p.w_strides[2] == len(taps)
    return "k" if len(p.phases) == 1 and adjacent else "s"


@functools.lru_cache(256)
def _weights_kernel(sizes: tuple[Any, ...], windows: int) -> Kernel:
    key = f"planes' weights {sizes} {windows}"
    name = kernel_name(key)
    spec = lines.Spec(sizes, (), (), None)  # type: ignore[arg-type]
    return Kernel(name, key, lambda target: _Weights(spec, target, name).text())


@functools.lru_cache(1024)
def _main_kernel(spec: lines.Spec) -> Kernel:
    key = f"planes {spec}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: _Main(spec, target, name).text())


class _Kernel(PlaneKernel):
    names = SHAPE

    def __init__(self, spec: lines.Spec, target: Target, name: str) -> None:
        super().__init__(spec.sizes, target, name)
        self.spec = spec


class _Weights(_Kernel):
    """A block is one panel of a group."""

    def parts(self) -> dict[str, tuple[Callable[[], None], str]]:
        return {}

    def driver(self) -> None:
        e = self.e
        _, mr, phases, order = self.spec.sizes
        w, u = self.address("w_slot"), self.address("u_slot")
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
            group = e.bin("udiv", block.index, self.p("panels"))
            panel = e.sub(block.index, e.mul(group, self.p("panels")))
            row = e.mul(panel, mr)
            base = e.add(self.p("w_offset"), e.mul(group, self.p("w_group")))
            base = e.gep(self.stored, w, base)
            to = e.gep(self.element, u, e.mul(group, self.p("u_group")))
            for phase in range(phases):
                count = self.p(f"count_{phase}")
                at = e.add(self.p(f"u_{phase}"), e.mul(e.mul(panel, mr), e.mul(self.p("C"), count)))
                first = e.add(self.p("tap_at"), e.mul(self.p("count_0"), 2)) if phase else self.p("tap_at")
                place = e.gep(self.element, to, at)
                getattr(self, f"along_{order}")(base, row, place, count, first, mr)

    def rows(self, row: Operand, mr: int) -> list[Operand]:
        """Where the rows of a panel begin; those that do not exist repeat the last one."""
        e = self.e
        final = e.sub(self.p("M"), 1)
        return [e.mul(v.least(e, e.add(row, i), final), self.p("w_m")) for i in range(mr)]

    def along_k(self, base: Operand, row: Operand, to: Operand, count: Operand, first: Operand, mr: int) -> None:
        """Squares of each row's elements of k, transposed in registers."""
        e, lanes = self.e, self.lanes
        depth = e.mul(self.p("C"), count)
        starts = [e.gep(self.stored, base, r) for r in self.rows(row, mr)]
        kind = storage_type(self.dtype, lanes)
        with e.loop(e.i64(0), depth, lanes) as k:
            left = e.sub(depth, k.index)
            mask = v.below(e, left, lanes)
            for group in range(0, mr, lanes):
                some = starts[group : group + lanes]
                raw = [v.masked_load(e, kind, e.gep(self.stored, s, k.index), mask) for s in some]
                square = [loaded(e, self.dtype, r) for r in raw]
                square += [Operand(square[0].type, "poison")] * (lanes - len(square))
                keep = None if len(some) == lanes else v.below(e, e.i64(len(some)), lanes)
                for i, column in enumerate(v.transpose(e, square)):
                    place = e.gep(self.element, to, e.add(e.mul(e.add(k.index, i), mr), group))
                    with e.when(e.icmp("sgt", left, e.i64(i))):
                        v.masked_store(e, column, place, keep)

    def along_x(self, base: Operand, row: Operand, to: Operand, count: Operand, first: Operand, mr: int) -> None:
        self._each(base, to, count, first, mr, lambda at: self._vectors(at, row, mr, None))

    def along_s(self, base: Operand, row: Operand, to: Operand, count: Operand, first: Operand, mr: int) -> None:
        rows = self.rows(row, mr)
        self._each(base, to, count, first, mr, lambda at: self._vectors(at, row, mr, rows))

    def _vectors(self, at: Operand, row: Operand, mr: int, rows: list[Operand] | None) -> list[Operand]:
        """The rows' elements, in vectors."""
        e, lanes = self.e, self.lanes
        result = []
        for start in range(0, mr, lanes):
            some = min(lanes, mr - start)
            if rows is None:
                left = v.least(e, e.sub(self.p("M"), e.add(row, start)), e.i64(some))
                place = e.gep(self.stored, at, e.add(row, start))
                raw = v.masked_load(e, storage_type(self.dtype, lanes), place, v.below(e, left, lanes))
            else:
                raw = e.const(storage_type(self.dtype, lanes), 0)
                for i in range(some):
                    one = e.load(self.stored, e.gep(self.stored, at, rows[start + i]), 1)
                    raw = e.insert(raw, one, i)
            result.append(loaded(e, self.dtype, raw))
        return result

    def _each(
        self,
        base: Operand,
        to: Operand,
        count: Operand,
        first: Operand,
        mr: int,
        vectors: Callable[[Operand], list[Operand]],
    ) -> None:
        e, lanes = self.e, self.lanes
        with e.loop(e.i64(0), self.p("C")) as channel:
            here = e.gep(self.stored, base, e.mul(channel.index, self.p("w_c")))
            row = e.mul(channel.index, count)
            with e.loop(e.i64(0), count) as tap:
                weight = self.param(e.add(e.add(first, e.mul(tap.index, 2)), 1))
                place = e.gep(self.element, to, e.mul(e.add(row, tap.index), mr))
                for i, value in enumerate(vectors(e.gep(self.stored, here, weight))):
                    some = min(lanes, mr - i * lanes)
                    keep = None if some == lanes else v.below(e, e.i64(some), lanes)
                    v.masked_store(e, value, e.gep(self.element, place, i * lanes), keep)


class _Main(_Kernel):
    def __init__(self, spec: lines.Spec, target: Target, name: str) -> None:
        super().__init__(spec, target, name)
        _, self.mr, self.nv, self.phases, self.variant, self.step, self.along = spec.sizes
        self.nr = self.nv * self.lanes
        self.widths = sorted({max(1, self.nv // 2), self.nv})

    def parts(self) -> dict[str, tuple[Callable[[], None], str]]:
        micro = {
            f"micro{nv}": (
                functools.partial(self.micro, nv),
                "ptr %a, ptr %b, ptr %offsets, i64 %count, ptr %c, i1 %fresh",
            )
            for nv in self.widths
        }
        return {
            "offsets": (self.offsets, "ptr %params, ptr %to"),
            "pack": (
                self.pack,
                "ptr %params, ptr %x, i64 %unit, i64 %n, i64 %n_stop, i64 %count, ptr %to",
            ),
            **micro,
            "ahead": (
                self.ahead,
                "ptr %params, ptr %table, i64 %group, i64 %unit, i64 %m, i64 %rows, i64 %n",
            ),
            "write": (
                self.write,
                "ptr %params, ptr %table, ptr %scratch, ptr %c, i64 %group, i64 %unit, i64 %m, i64 %rows, i64 %n, "
                "i64 %columns",
            ),
            "tiles": (
                self.tiles,
                "ptr %params, ptr %table, ptr %scratch, ptr %u, i64 %group, i64 %unit, i64 %m, i64 %m_stop, i64 %n, "
                "i64 %n_stop, i64 %c, i64 %count, i1 %fresh, i1 %last",
            ),
        }

    def driver(self) -> None:
        e = self.e
        params, table, scratch = (Operand("ptr", f"%{x}") for x in ("params", "table", "scratch"))
        self.call("offsets", params, scratch)
        planes = e.gep("i8", scratch, self.p("at_planes"))
        x, u = self.address("x_slot"), self.address("u_slot")
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
            number = block.index
            index = {}
            for axis in ("m_blocks", "n_blocks", "units"):
                rest = e.bin("udiv", number, self.p(axis))
                index[axis] = e.sub(number, e.mul(rest, self.p(axis)))
                number = rest
            m, n = e.mul(index["m_blocks"], self.p("m_block")), e.mul(index["n_blocks"], self.p("n_block"))
            m_stop = v.least(e, e.add(m, self.p("m_block")), self.p("M"))
            n_stop = v.least(e, e.add(n, self.p("n_block")), self.p("N"))
            image = e.gep(self.stored, x, e.add(self.p("x_offset"), e.mul(number, self.p("x_group"))))
            panels = e.gep(self.element, u, e.mul(number, self.p("u_group")))
            with e.loop(e.i64(0), self.p("c_blocks")) as turn:
                c = e.mul(turn.index, self.p("c_block"))
                count = v.least(e, self.p("c_block"), e.sub(self.p("C"), c))
                source = e.gep(self.stored, image, e.mul(c, self.p("x_c")))
                self.call("pack", params, source, index["units"], n, n_stop, count, planes)
                fresh = e.icmp("eq", turn.index, e.i64(0))
                last = e.icmp("eq", turn.index, e.sub(self.p("c_blocks"), 1))
                self.call(
                    "tiles", params, table, scratch, panels, number, index["units"], m, m_stop, n, n_stop, c, count,
                    fresh, last,
                )  # fmt: skip

    def offsets(self) -> None:
        """In bytes, for each channel of a chunk and each tap, one table a phase."""
        e = self.e
        step = e.mul(self.p("c_plane"), self.item)
        for phase in range(self.phases):
            count = self.p(f"count_{phase}")
            first = e.add(self.p("tap_at"), e.mul(self.p("count_0"), 2)) if phase else self.p("tap_at")
            to = e.gep("i64", Operand("ptr", "%to"), e.mul(self.p("entries"), phase))
            with e.loop(e.i64(0), self.p("c_block")) as channel, e.loop(e.i64(0), count) as tap:
                at = self.param(e.add(first, e.mul(tap.index, 2)))
                place = e.gep("i64", to, e.add(e.mul(channel.index, count), tap.index))
                e.store(e.add(e.mul(channel.index, step), at), place, 8)

    # ---- what the outputs see

    def single(self) -> Operand:
        """i1: whether images have one line, which is cut where a block begins and ends."""
        e = self.e
        one = e.icmp("eq", self.p("R"), e.i64(1))
        return e.bin("and", one, e.icmp("eq", self.p("ahead"), e.i64(0)))

    def origin(self, n: Operand) -> Operand:
        """The output that the planes of a block begin with."""
        e = self.e
        line = e.mul(e.bin("udiv", n, self.p("S")), self.p("S"))
        return e.select(self.single(), n, line)

    def pack(self) -> None:
        """The lines of outputs ``n … n_stop``, and as many more as taps are ahead, of ``count`` channels."""
        e = self.e
        n, n_stop = Operand("i64", "%n"), Operand("i64", "%n_stop")
        rows, columns = self.p("R"), self.p("S")
        origin, single = self.origin(n), self.single()
        first = e.bin("udiv", n, columns)
        stop = e.add(e.bin("udiv", e.sub(n_stop, 1), columns), 1)
        with e.loop(e.bin("udiv", first, rows), e.add(e.bin("udiv", e.sub(stop, 1), rows), 1)) as image:
            begin = e.mul(image.index, rows)
            start = self.most(first, begin)
            count = e.add(e.sub(v.least(e, stop, e.add(begin, rows)), start), self.p("ahead"))
            at = e.mul(start, columns)
            begins = e.select(single, self.most(e.sub(n, at), e.i64(0)), e.i64(0))
            ends = e.select(single, v.least(e, e.sub(n_stop, at), columns), columns)
            to = e.gep(self.element, Operand("ptr", "%to"), e.sub(at, origin))
            number = e.add(Operand("i64", "%unit"), image.index)
            source = e.gep(self.stored, Operand("ptr", "%x"), e.mul(number, self.p("x_n")))
            self.copies(source, e.sub(start, begin), (begins, ends), count, to)

    # ---- products

    def micro(self, nv: int) -> None:
        """``c[row][lane] (+)= sum_k a[k][row] · b[offset(k) + lane]`` for ``nv`` vectors of columns."""
        e, lanes, mr = self.e, self.lanes, self.mr
        a, b, offsets, c = (Operand("ptr", f"%{x}") for x in ("a", "b", "offsets", "c"))
        with e.loop(e.i64(0), Operand("i64", "%count"), carry=[e.const(self.wide, 0)] * (mr * nv)) as loop:
            right = e.gep("i8", b, e.load("i64", e.gep("i64", offsets, loop.index), 8))
            left = e.gep(self.element, a, e.mul(loop.index, mr))
            vectors = [e.load(self.wide, e.gep(self.element, right, j * lanes), 4) for j in range(nv)]
            for m in range(mr):
                one = e.splat(e.load(self.element, e.gep(self.element, left, m), 4), lanes)
                loop.next += [
                    multiply_add(e, self.target, one, vectors[j], loop.carried[m * nv + j]) for j in range(nv)
                ]
        places = [e.gep(self.element, c, m * self.nr + j * lanes) for m in range(mr) for j in range(nv)]
        e.cond_br(Operand("i1", "%fresh"), "set", "add")
        e.label("add")
        for total, place in zip(loop.carried, places, strict=True):
            e.store(e.bin("fadd", e.load(self.wide, place, 4), total), place, 4)
        e.br("done")
        e.label("set")
        for total, place in zip(loop.carried, places, strict=True):
            e.store(total, place, 4)
        e.br("done")
        e.label("done")

    def tiles(self) -> None:
        e, mr, nr = self.e, self.mr, self.nr
        scratch, u = Operand("ptr", "%scratch"), Operand("ptr", "%u")
        m, m_stop, n, n_stop, c, count = (Operand("i64", f"%{x}") for x in ("m", "m_stop", "n", "n_stop", "c", "count"))
        fresh, last = Operand("i1", "%fresh"), Operand("i1", "%last")
        planes = e.gep("i8", scratch, self.p("at_planes"))
        planes = e.gep(self.element, planes, e.sub(e.i64(0), self.origin(n)))
        c_step = e.mul(self.p("several"), mr * nr * self.phases)
        depths, starts, panels = [], [], []
        for phase in range(self.phases):
            taps = self.p(f"count_{phase}")
            depths.append(e.mul(count, taps))
            panel = e.mul(e.mul(self.p("C"), taps), mr)
            at = e.add(self.p(f"u_{phase}"), e.mul(e.bin("udiv", m, e.i64(mr)), panel))
            starts.append(e.gep(self.element, u, e.add(at, e.mul(e.mul(c, taps), mr))))
            panels.append(panel)
        tables = [e.gep("i64", scratch, e.mul(self.p("entries"), phase)) for phase in range(self.phases)]
        sums = e.gep("i8", scratch, self.p("at_sums"))
        ahead = e.bin("and", last, e.icmp("sge", depths[0], e.i64(AHEAD_STEPS)))

        def tile(row: Operand, column: Operand, left: Sequence[Operand], to: Operand) -> None:
            b = e.gep(self.element, planes, column)
            columns = v.least(e, e.sub(n_stop, column), e.i64(nr))
            narrow = e.icmp("sle", columns, e.i64(self.widths[0] * self.lanes))
            rows = v.least(e, e.sub(m_stop, row), e.i64(mr))
            place = Operand("i64", "%group"), Operand("i64", "%unit"), row, rows, column
            with e.when(ahead):
                self.call("ahead", Operand("ptr", "%params"), Operand("ptr", "%table"), *place)
            for phase in range(self.phases):
                part = e.gep(self.element, to, phase * mr * nr)
                arguments = (left[phase], b, tables[phase], depths[phase], part, fresh)
                if len(self.widths) == 1:
                    self.call(f"micro{self.nv}", *arguments)
                    continue
                for nv, chosen in ((self.widths[0], narrow), (self.nv, v.invert(e, narrow))):
                    with e.when(chosen):
                        self.call(f"micro{nv}", *arguments)
            with e.when(last):
                self.call("write", Operand("ptr", "%params"), Operand("ptr", "%table"), scratch, to, *place, columns)

        def below(left: Sequence[Operand]) -> list[Operand]:
            return [e.gep(self.element, at, panel) for at, panel in zip(left, panels, strict=True)]

        if self.along:
            with e.loop(m, m_stop, mr, carry=[sums, *starts]) as row:
                to, *left = row.carried
                with e.loop(n, n_stop, nr, carry=[to]) as column:
                    tile(row.index, column.index, left, column.carried[0])
                    column.next = [e.gep(self.element, column.carried[0], c_step)]
                row.next = [column.carried[0], *below(left)]
            return
        with e.loop(n, n_stop, nr, carry=[sums]) as column:
            with e.loop(m, m_stop, mr, carry=[column.carried[0], *starts]) as row:
                to, *left = row.carried
                tile(row.index, column.index, left, to)
                row.next = [e.gep(self.element, to, c_step), *below(left)]
            column.next = [row.carried[0]]

    # ---- results

    def windows(self, line: Operand) -> tuple[list[Operand], list[Operand], Operand]:
        """Where a line of a tile's first row begins in each window, how far rows are apart, and the line's first
        output."""
        e, spec = self.e, self.spec
        group, unit, m = (Operand("i64", f"%{x}") for x in ("group", "unit", "m"))
        image = e.bin("udiv", line, self.p("line_rows"))
        row = e.sub(line, e.mul(image, self.p("line_rows")))
        image = e.add(image, unit)
        heads, steps = [], []
        for i, (dtype, _) in enumerate(spec.windows):
            number = {what: self.param(len(SHAPE) + i * len(WINDOW) + at) for at, what in enumerate(WINDOW)}
            at = number["offset"]
            for index, what in ((group, "batch"), (m, "m"), (image, "image"), (row, "row")):
                at = e.add(at, e.mul(index, number[what]))
            base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), number["slot"]), 8)
            heads.append(e.gep(STORAGE_TYPE[dtype], base, at))
            steps.append(number["m"])
        return heads, steps, e.mul(line, self.p("line"))

    def ahead(self) -> None:
        """Ask for the lines of memory that a tile will be written to, and for those its epilogue reads."""
        e, spec = self.e, self.spec
        n, rows = Operand("i64", "%n"), Operand("i64", "%rows")
        heads, steps, begin = self.windows(e.bin("udiv", n, self.p("line")))
        column = e.mul(e.sub(n, begin), self.phases)
        for (dtype, kind), head, step in zip(spec.windows, heads, steps, strict=True):
            if kind == "1":
                with e.loop(e.i64(0), rows, carry=[e.gep(STORAGE_TYPE[dtype], head, column)]) as row:
                    for at in range(0, self.nr * self.phases * ITEMSIZE[dtype], LINE):
                        prefetch(e, e.gep("i8", row.carried[0], at), level=2)
                    row.next = [e.gep(STORAGE_TYPE[dtype], row.carried[0], step)]

    def write(self) -> None:
        """Apply the epilogue to a tile and write it, line by line."""
        e, spec, lanes = self.e, self.spec, self.lanes
        c, rows, n, columns = (Operand("ptr" if x == "c" else "i64", f"%{x}") for x in ("c", "rows", "n", "columns"))
        line = self.p("line")
        stop = e.add(n, columns)
        first, last = e.bin("udiv", n, line), e.bin("udiv", e.sub(stop, 1), line)
        # A whole tile in one line is written at once.
        whole = e.bin("and", e.icmp("eq", first, last), e.icmp("eq", columns, e.i64(self.nr)))
        if self.phases == 1 and self.nv > 1:
            with e.when(whole):
                heads, steps, begin = self.windows(first)
                places = self.places(heads, e.sub(n, begin))
                lines.write(e, self.target, spec, (c, self.nr), places, steps, rows, None, self.dtype, self.nv)
            first = e.select(whole, e.add(last, 1), first)
        with e.loop(first, e.add(last, 1)) as each:
            heads, steps, begin = self.windows(each.index)
            end = v.least(e, stop, e.add(begin, line))
            with e.loop(self.most(n, begin), end, lanes // self.phases) as column:
                out_column = e.mul(e.sub(column.index, begin), self.phases)
                left = e.mul(e.sub(end, column.index), self.phases)
                if self.phases > 1:
                    left = v.least(e, left, e.sub(self.p("width"), out_column))
                places = self.places(heads, out_column)
                sums = e.gep(self.element, c, e.sub(column.index, n)), self.nr
                if self.phases > 1:
                    sums = self.pairs(sums[0], rows), lanes
                complete = e.icmp("sge", left, e.i64(lanes))
                for all_lanes in (True, False):
                    with e.when(complete if all_lanes else v.invert(e, complete)):
                        mask = None if all_lanes else v.below(e, left, lanes)
                        lines.write(e, self.target, spec, sums, places, steps, rows, mask, self.dtype)

    def places(self, heads: list[Operand], column: Operand) -> list[Operand]:
        """The elements at a column of lines that begin at ``heads``."""
        return [
            self.e.gep(STORAGE_TYPE[dtype], head, column) if kind == "1" else head
            for (dtype, kind), head in zip(self.spec.windows, heads, strict=True)
        ]

    def pairs(self, sums: Operand, rows: Operand) -> Operand:
        """Sums of both phases in turns, a vector a row."""
        e, lanes = self.e, self.lanes
        to = e.gep("i8", Operand("ptr", "%scratch"), self.p("at_pairs"))
        order = [i // 2 + i % 2 * lanes for i in range(lanes)]
        with e.loop(e.i64(0), rows) as row:
            at = e.gep(self.element, sums, e.mul(row.index, self.nr))
            both = [e.load(self.wide, e.gep(self.element, at, phase * self.mr * self.nr), 4) for phase in range(2)]
            e.store(v.shuffle(e, both[0], both[1], order), e.gep(self.element, to, e.mul(row.index, lanes)), 4)
        return to
