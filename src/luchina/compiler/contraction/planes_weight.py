"""The weight's gradient of convolutions over planes.

``out[o, c, t] = sum_{i, r, s} g[i, o, r, s] · x[i, c, h·r + row(t), v·s + column(t)]``: a product whose rows are the
pairs (c, t), whose columns are the channels o, and which is summed over pixels. In planes of x the pixels of a pair are
adjacent, so the micro-kernel reads them where they lie, one pointer a row; those of g are packed ``[pixel][o]`` by
squares turned in registers.

* A block of the first kernel takes a part of the pixels (the number of parts follows from the extents), some channels c
  and some o. In *rounds* of some images, or some lines of one, it adds to ``u[group][part][panel of o][c, t][o]``.
* The second adds up the parts, turns them round and applies the epilogue.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import ceil, gcd
from typing import TYPE_CHECKING, Any

from luchina.compiler.body import ITEMSIZE, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction import lines
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.microkernel import multiply_add, prefetch
from luchina.compiler.contraction.packing import loaded
from luchina.compiler.contraction.planes import FLOATS, GEOMETRY, Geometry, PlaneKernel, Tap, way
from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.contraction.tiles import padded
from luchina.compiler.ir import STORAGE_TYPE, Operand
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target

Pair = tuple[int, int]

AHEAD = 256  # bytes of g that are asked for before they are read: as many streams as lanes are too many to be foreseen
MOST_ROWS = 12  # of a tile: each has a pointer
MOST_PIXELS = 384  # of a round
MOST_COLUMNS = 256  # of a block
PLANE_BYTES = 128 << 10
PACKED_BYTES = 160 << 10
SUMS_BYTES = 8 << 20  # of all parts together
BLOCK_COUNT = 16
BLOCK_FLOPS = 800_000
COMBINED_ROWS = 64  # of a block of the second kernel

SHAPE = (
    *GEOMETRY,
    *("C", "O", "T", "M", "images", "R", "rounds", "round_images", "bands", "band", "parts", "part_rounds"),
    *("c_block", "c_part", "c_parts", "o_part", "o_parts", "image_plane", "b_panel", "entries", "at_planes", "at_b"),
    *("g_slot", "g_offset", "g_group", "g_n", "g_o", "g_h", "whole", "u_slot", "u_group", "u_part", "u_panel"),
)
WINDOW = ("slot", "offset", "batch", "row")


def fits(
    x: Window, g: Window, outs: Sequence[Window], epilogue: Epilogue, w_shape: tuple[int, ...], pixels: int
) -> bool:
    """Whether the gradient goes this way."""
    kinds = [_kind(w, w_shape) for w in (*epilogue.operands, *outs)]
    return (
        x.dtype in FLOATS
        and g.strides[3] == 1
        and pixels * w_shape[0] * w_shape[1] > 0
        and None not in kinds
        and 0 not in kinds[len(epilogue.operands) :]
    )


def _kind(w: Window, w_shape: Sequence[int]) -> int | None:
    """1 where (channel, tap, tap) are adjacent elements, 0 where they are one element."""
    seen = [(stride, extent) for stride, extent in zip(w.strides[1:], w_shape[1:], strict=True) if extent > 1]
    if all(stride == 0 for stride, _ in seen):
        return 0 if seen else 1
    step = 1
    for stride, extent in reversed(seen):
        if stride != step:
            return None
        step *= extent
    return 1


def _tile(target: Target, lanes: int, m: int, o: int) -> Pair:
    """``(mr, nv)``: the least time, in half cycles of a core with two multiply-adds and two loads a cycle."""
    nv = 1 if o <= lanes else 2
    most = min(MOST_ROWS, (target.registers - nv - 1) // nv)

    def time(mr: int) -> float:
        return ceil(m / mr) * (max(mr * nv, mr + nv, 8) + 0.5)

    return min(range(1, most + 1), key=time), nv


def weight(
    x: Window,
    x_group: int,
    g: Window,
    g_group: int,
    outs: Sequence[Window],
    epilogue: Epilogue,
    counts: tuple[int, int],
    w_shape: tuple[int, int, int, int],
    size: Pair,
    result: Pair,
    step: Pair,
    taps: list[Tap],
    target: Target,
    temporary: Callable[[int], int],
) -> list[Call]:
    """The calls of a gradient.

    Args:
        x, g: strides (image, channel, row, column); ``x_group`` and ``g_group`` from one group to the next.
        outs: strides (o, channel, tap, tap).
        counts: (groups, images).
        w_shape: (O, C, taps, taps) of one group.
        size, result: rows and columns of x and of g.
        step: (h, v), from one pixel of g to the next.
        taps: in the order of the windows.
    """
    (groups, images), (out, channels, *_) = counts, w_shape
    rows, columns = result
    dtype = x.dtype
    lanes, item = target.lanes(ACCUMULATE[dtype]), ITEMSIZE[ACCUMULATE[dtype]]
    m = channels * len(taps)
    mr, nv = _tile(target, lanes, m, out)
    nr = nv * lanes
    planes = Geometry(taps, step[0], columns)

    o_parts = ceil(out / MOST_COLUMNS)
    o_part = padded(ceil(out / o_parts), nr)
    o_parts = ceil(out / o_part)
    most = min(MOST_PIXELS, max(64, PACKED_BYTES // (o_part * item)))
    bands = ceil(rows / max(1, min(rows, most // columns)))
    band = ceil(rows / bands)
    bands = ceil(rows / band)
    round_images = max(1, min(images, most // (rows * columns)))
    rounds = ceil(images / round_images) * bands
    planes.layout((band + planes.ahead) * columns, lanes, item)

    together = mr // gcd(len(taps), mr)  # channels whose rows fill tiles
    c_plane = planes.plane * planes.copies
    c_block = max(1, PLANE_BYTES // (round_images * c_plane * item) // together) * together
    c_block = min(channels, c_block)
    flops = 2 * groups * m * out * images * rows * columns
    wanted = min(BLOCK_COUNT, ceil(flops / BLOCK_FLOPS))
    u_panel = padded(m, mr) * nr
    u_part = ceil(out / nr) * u_panel
    parts = max(1, min(rounds, wanted, SUMS_BYTES // (groups * u_part * item)))
    part_rounds = ceil(rounds / parts)
    parts = ceil(rounds / part_rounds)
    c_parts = min(ceil(wanted / (groups * parts * o_parts)), ceil(channels / together))
    c_part = min(channels, padded(ceil(channels / c_parts), together))
    c_parts = ceil(channels / c_part)
    if 2 * groups * parts * c_parts * o_parts <= wanted and out >= 4 * nr:  # pixels are copied twice
        o_part = padded(ceil(out / (2 * o_parts)), nr)
        o_parts = ceil(out / o_part)
    c_block = min(c_block, c_part)

    image_plane = c_block * c_plane
    entries = c_block * len(taps) + mr
    b_panel = (round_images * band * columns + lanes) * nr
    at_planes = lines.aligned(8 * entries)
    at_b = lines.aligned(at_planes + (round_images * image_plane + lanes) * item)
    scratch = lines.aligned(at_b + ceil(o_part / nr) * b_panel * item)
    u_slot = temporary((groups * parts * u_part + lanes * nr) * item)
    windows = [*epilogue.operands, *outs]
    head = len(SHAPE) + len(windows) * len(WINDOW)
    numbers = {
        **planes.numbers(x, x_group, size, step[1], band * columns, head),
        **{"C": channels, "O": out, "T": len(taps), "M": m, "images": images, "R": rows, "rounds": rounds},
        **{"round_images": round_images, "bands": bands, "band": band, "parts": parts, "part_rounds": part_rounds},
        **{"c_block": c_block, "c_part": c_part, "c_parts": c_parts, "o_part": o_part, "o_parts": o_parts},
        **{"image_plane": image_plane, "b_panel": b_panel, "entries": entries, "at_planes": at_planes, "at_b": at_b},
        **{"g_slot": g.slot, "g_offset": g.offset, "g_group": g_group, "whole": int(g.strides[2] == columns)},
        **dict(zip(("g_n", "g_o", "g_h"), g.strides, strict=False)),
        **{"u_slot": u_slot, "u_group": parts * u_part, "u_part": u_part, "u_panel": u_panel},
    }
    params = [numbers[name] for name in SHAPE]
    flat = [Window(w.slot, w.offset, (w.strides[0], 0, 0, _kind(w, w_shape) or 0), w.dtype) for w in windows]
    for window in flat:
        params += [window.slot, window.offset, out * window.strides[0], window.strides[0]]
    params += planes.lists
    params += [planes.offset(tap) * item for tap in taps]
    read = len(epilogue.operands)
    spec = lines.spec_of((dtype, nv), flat[read:], Epilogue(epilogue.body, tuple(flat[:read])))
    sums = Call(
        _sums_kernel((dtype, mr, nv, way(x, step[1], planes.shifts, lanes), step[1], len(windows))),
        params,
        groups * parts * c_parts * o_parts,
        scratch,
        flops / 60 + 100.0,
        (x.slot, g.slot),
        (u_slot,),
        flops,
    )
    combine = Call(
        _combine_kernel(spec),
        params,
        groups * ceil(out / lanes) * ceil(m / COMBINED_ROWS),
        lanes * lanes * item,
        100.0 + groups * m * out * (parts + 1) / 8,
        tuple(dict.fromkeys([u_slot, *(w.slot for w in flat[:read])])),
        tuple(dict.fromkeys(w.slot for w in flat[read:])),
        groups * m * out * parts,
    )
    return [sums, combine]


@functools.lru_cache(1024)
def _sums_kernel(sizes: tuple[Any, ...]) -> Kernel:
    key = f"planes' weight gradient {sizes}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: _Sums(sizes, target, name).text())


@functools.lru_cache(1024)
def _combine_kernel(spec: lines.Spec) -> Kernel:
    key = f"planes' weight gradient combined {spec}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: _Combine(spec, target, name).text())


class _Sums(PlaneKernel):
    names = SHAPE

    def __init__(self, sizes: tuple[Any, ...], target: Target, name: str) -> None:
        super().__init__(sizes, target, name)
        _, self.mr, self.nv, self.variant, self.step, _ = sizes
        self.nr = self.nv * self.lanes
        self.widths = sorted({max(1, self.nv // 2), self.nv})

    def parts(self) -> dict[str, tuple[Callable[[], None], str]]:
        micro = "ptr %a, ptr %offsets, ptr %b, i64 %count, i64 %images, i64 %step, ptr %c, i1 %fresh"
        some = "i64 %image, i64 %images, i64 %row, i64 %lines"
        return {
            "offsets": (self.offsets, "ptr %params, ptr %to"),
            "pack": (self.pack, f"ptr %params, ptr %x, {some}, i64 %count, ptr %to"),
            "gradient": (self.gradient, f"ptr %params, ptr %g, {some}, i64 %o, i64 %o_stop, ptr %to"),
            **{f"micro{nv}": (functools.partial(self.micro, nv), micro) for nv in self.widths},
            "tiles": (
                self.tiles,
                "ptr %params, ptr %scratch, ptr %u, i64 %c, i64 %count, i64 %o, i64 %o_stop, i64 %pixels, i64 %images, "
                "i1 %fresh",
            ),
        }

    def driver(self) -> None:
        e = self.e
        params, scratch = Operand("ptr", "%params"), Operand("ptr", "%scratch")
        self.call("offsets", params, scratch)
        x, gradient, u = (self.address(slot) for slot in ("x_slot", "g_slot", "u_slot"))
        planes, packed = (e.gep("i8", scratch, self.p(at)) for at in ("at_planes", "at_b"))
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
            number = block.index
            index = {}
            for axis in ("parts", "c_parts", "o_parts"):
                rest = e.bin("udiv", number, self.p(axis))
                index[axis] = e.sub(number, e.mul(rest, self.p(axis)))
                number = rest
            c, o = e.mul(index["c_parts"], self.p("c_part")), e.mul(index["o_parts"], self.p("o_part"))
            c_stop = v.least(e, e.add(c, self.p("c_part")), self.p("C"))
            o_stop = v.least(e, e.add(o, self.p("o_part")), self.p("O"))
            first = e.mul(index["parts"], self.p("part_rounds"))
            last = v.least(e, e.add(first, self.p("part_rounds")), self.p("rounds"))
            images = e.gep(self.stored, x, e.add(self.p("x_offset"), e.mul(number, self.p("x_group"))))
            mine = e.gep(self.stored, gradient, e.add(self.p("g_offset"), e.mul(number, self.p("g_group"))))
            at = e.add(e.mul(number, self.p("u_group")), e.mul(index["parts"], self.p("u_part")))
            to = e.gep(self.element, u, at)
            with e.loop(first, last) as turn:
                which = e.bin("udiv", turn.index, self.p("bands"))
                row = e.mul(e.sub(turn.index, e.mul(which, self.p("bands"))), self.p("band"))
                image = e.mul(which, self.p("round_images"))
                count = v.least(e, self.p("round_images"), e.sub(self.p("images"), image))
                lines_ = v.least(e, self.p("band"), e.sub(self.p("R"), row))
                pixels = e.mul(lines_, self.p("S"))
                fresh = e.icmp("eq", turn.index, first)
                self.call("gradient", params, mine, image, count, row, lines_, o, o_stop, packed)
                with e.loop(c, c_stop, self.p("c_block")) as channel:
                    some = v.least(e, self.p("c_block"), e.sub(c_stop, channel.index))
                    source = e.gep(self.stored, images, e.mul(channel.index, self.p("x_c")))
                    self.call("pack", params, source, image, count, row, lines_, some, planes)
                    self.call(
                        "tiles", params, scratch, to, channel.index, some, o, o_stop, pixels, count, fresh
                    )  # fmt: skip

    def offsets(self) -> None:
        """Where each row's pixels begin in the planes, in bytes; rows beyond the last one are as the first."""
        e = self.e
        to, count = Operand("ptr", "%to"), self.p("T")
        with e.loop(e.i64(0), self.p("entries")) as entry:
            e.store(e.i64(0), e.gep("i64", to, entry.index), 8)
        step = e.mul(self.p("c_plane"), self.item)
        with e.loop(e.i64(0), self.p("c_block")) as channel, e.loop(e.i64(0), count) as tap:
            at = self.param(e.add(self.p("tap_at"), tap.index))
            place = e.gep("i64", to, e.add(e.mul(channel.index, count), tap.index))
            e.store(e.add(e.mul(channel.index, step), at), place, 8)

    def pack(self) -> None:
        """Planes of x for ``lines`` lines of some images, for ``count`` channels."""
        e = self.e
        with e.loop(e.i64(0), Operand("i64", "%images")) as image:
            number = e.add(Operand("i64", "%image"), image.index)
            source = e.gep(self.stored, Operand("ptr", "%x"), e.mul(number, self.p("x_n")))
            to = e.gep(self.element, Operand("ptr", "%to"), e.mul(image.index, self.p("image_plane")))
            count = e.add(Operand("i64", "%lines"), self.p("ahead"))
            self.copies(source, Operand("i64", "%row"), (e.i64(0), self.p("S")), count, to)

    def gradient(self) -> None:
        """Panels of g, ``[pixel][o]``, of the same lines."""
        e, lanes = self.e, self.lanes
        o, o_stop, rows = (Operand("i64", f"%{x}") for x in ("o", "o_stop", "lines"))
        columns, final = self.p("S"), e.sub(self.p("O"), 1)
        whole = e.icmp("ne", self.p("whole"), e.i64(0))
        turns = e.select(whole, e.i64(1), rows)
        length = e.select(whole, e.mul(rows, columns), columns)
        kind = storage_type(self.dtype, lanes)
        with e.loop(o, o_stop, lanes) as group:
            place = e.sub(group.index, o)
            panel = e.bin("udiv", place, e.i64(self.nr))
            at = e.add(e.mul(panel, self.p("b_panel")), e.sub(place, e.mul(panel, self.nr)))
            with e.loop(
                e.i64(0), Operand("i64", "%images"), carry=[e.gep(self.element, Operand("ptr", "%to"), at)]
            ) as image:
                number = e.add(Operand("i64", "%image"), image.index)
                start = e.add(e.mul(number, self.p("g_n")), e.mul(Operand("i64", "%row"), self.p("g_h")))
                base = e.gep(self.stored, Operand("ptr", "%g"), start)
                sources = [
                    e.gep(self.stored, base, e.mul(v.least(e, e.add(group.index, i), final), self.p("g_o")))
                    for i in range(lanes)
                ]
                with e.loop(e.i64(0), turns, carry=[e.i64(0), image.carried[0]]) as line:
                    ahead, to = line.carried
                    with e.loop(e.i64(0), length, lanes) as pixel:
                        mask = v.below(e, e.sub(length, pixel.index), lanes)
                        here = e.add(ahead, pixel.index)
                        for source in sources:
                            prefetch(e, e.gep("i8", e.gep(self.stored, source, here), AHEAD))
                        raw = [v.masked_load(e, kind, e.gep(self.stored, s, here), mask) for s in sources]
                        square = v.transpose(e, [loaded(e, self.dtype, r) for r in raw])
                        first = e.gep(self.element, to, e.mul(pixel.index, self.nr))
                        for i, value in enumerate(square):
                            e.store(value, e.gep(self.element, first, i * self.nr), 4)
                    line.next = [e.add(ahead, self.p("g_h")), e.gep(self.element, to, e.mul(length, self.nr))]
                image.next = [line.carried[1]]

    def micro(self, nv: int) -> None:
        """``c[row][o] (+)= sum_k a[offset(row) + k] · b[k][o]`` over ``count`` pixels of each of some images."""
        e, lanes, mr = self.e, self.lanes, self.mr
        a, offsets, b, c = (Operand("ptr", f"%{x}") for x in ("a", "offsets", "b", "c"))
        count = Operand("i64", "%count")
        starts = [e.load("i64", e.gep("i64", offsets, i), 8) for i in range(mr)]
        zero = [e.const(self.wide, 0)] * (mr * nv)
        with e.loop(e.i64(0), Operand("i64", "%images"), carry=[a, b, *zero]) as image:
            here, right, *sums = image.carried
            rows = [e.gep("i8", here, start) for start in starts]
            with e.loop(e.i64(0), count, carry=sums) as k:
                line = e.gep(self.element, right, e.mul(k.index, self.nr))
                vectors = [e.load(self.wide, e.gep(self.element, line, j * lanes), 4) for j in range(nv)]
                for m, row in enumerate(rows):
                    one = e.splat(e.load(self.element, e.gep(self.element, row, k.index), 4), lanes)
                    k.next += [multiply_add(e, self.target, one, vectors[j], k.carried[m * nv + j]) for j in range(nv)]
            image.next = [
                e.gep(self.element, here, Operand("i64", "%step")),
                e.gep(self.element, right, e.mul(count, self.nr)),
                *k.carried,
            ]
        totals = image.carried[2:]
        places = [e.gep(self.element, c, m * self.nr + j * lanes) for m in range(mr) for j in range(nv)]
        e.cond_br(Operand("i1", "%fresh"), "set", "add")
        e.label("add")
        for total, place in zip(totals, places, strict=True):
            e.store(e.bin("fadd", e.load(self.wide, place, 4), total), place, 4)
        e.br("done")
        e.label("set")
        for total, place in zip(totals, places, strict=True):
            e.store(total, place, 4)
        e.br("done")
        e.label("done")

    def tiles(self) -> None:
        e, mr, nr = self.e, self.mr, self.nr
        scratch, u = Operand("ptr", "%scratch"), Operand("ptr", "%u")
        c, count, o, o_stop, pixels, images = (
            Operand("i64", f"%{x}") for x in ("c", "count", "o", "o_stop", "pixels", "images")
        )
        planes, packed = (e.gep("i8", scratch, self.p(at)) for at in ("at_planes", "at_b"))
        step, rows = self.p("image_plane"), e.mul(count, self.p("T"))
        first = e.mul(e.mul(c, self.p("T")), nr)
        u_panel = self.p("u_panel")
        start = e.gep(self.element, u, e.add(first, e.mul(e.bin("udiv", o, e.i64(nr)), u_panel)))
        with e.loop(o, o_stop, nr, carry=[packed, start]) as column:
            b, to = column.carried
            narrow = e.icmp("sle", e.sub(o_stop, column.index), e.i64(self.widths[0] * self.lanes))
            with e.loop(e.i64(0), rows, mr, carry=[to]) as row:
                offsets = e.gep("i64", scratch, row.index)
                arguments = (planes, offsets, b, pixels, images, step, row.carried[0], Operand("i1", "%fresh"))
                if len(self.widths) == 1:
                    self.call(f"micro{self.nv}", *arguments)
                else:
                    for nv, chosen in ((self.widths[0], narrow), (self.nv, v.invert(e, narrow))):
                        with e.when(chosen):
                            self.call(f"micro{nv}", *arguments)
                row.next = [e.gep(self.element, row.carried[0], mr * nr)]
            column.next = [e.gep(self.element, b, self.p("b_panel")), e.gep(self.element, to, u_panel)]


class _Combine(PlaneKernel):
    """A block is a vector of channels o and some rows (c, t)."""

    names = SHAPE

    def __init__(self, spec: lines.Spec, target: Target, name: str) -> None:
        super().__init__(spec.sizes, target, name)
        self.spec = spec
        self.nr = int(spec.sizes[1]) * self.lanes

    def parts(self) -> dict[str, tuple[Callable[[], None], str]]:
        return {}

    def driver(self) -> None:
        e, lanes, spec = self.e, self.lanes, self.spec
        scratch, u = Operand("ptr", "%scratch"), self.address("u_slot")
        m_blocks = e.bin("udiv", e.add(self.p("M"), COMBINED_ROWS - 1), e.i64(COMBINED_ROWS))
        o_blocks = e.bin("udiv", e.add(self.p("O"), lanes - 1), e.i64(lanes))
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
            rest = e.bin("udiv", block.index, m_blocks)
            m = e.mul(e.sub(block.index, e.mul(rest, m_blocks)), COMBINED_ROWS)
            group = e.bin("udiv", rest, o_blocks)
            o = e.mul(e.sub(rest, e.mul(group, o_blocks)), lanes)
            panel = e.bin("udiv", o, e.i64(self.nr))
            at = e.add(e.mul(group, self.p("u_group")), e.mul(panel, self.p("u_panel")))
            source = e.gep(self.element, u, e.add(at, e.sub(o, e.mul(panel, self.nr))))
            heads, steps = [], []
            for i, (dtype, _) in enumerate(spec.windows):
                slot, offset, batch, row = (self.param(len(SHAPE) + i * len(WINDOW) + at) for at in range(len(WINDOW)))
                base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), slot), 8)
                place = e.add(offset, e.add(e.mul(group, batch), e.mul(o, row)))
                heads.append(e.gep(STORAGE_TYPE[dtype], base, place))
                steps.append(row)
            rows = v.least(e, e.i64(lanes), e.sub(self.p("O"), o))
            stop = v.least(e, self.p("M"), e.add(m, COMBINED_ROWS))
            with e.loop(m, stop, lanes) as first:
                here = e.gep(self.element, source, e.mul(first.index, self.nr))
                with e.loop(e.i64(0), self.p("parts"), carry=[e.const(self.wide, 0)] * lanes) as part:
                    start = e.gep(self.element, here, e.mul(part.index, self.p("u_part")))
                    for i, total in enumerate(part.carried):
                        value = e.load(self.wide, e.gep(self.element, start, i * self.nr), 4)
                        part.next.append(e.bin("fadd", total, value))
                for i, value in enumerate(v.transpose(e, part.carried)):
                    e.store(value, e.gep(self.element, scratch, i * lanes), 4)
                places = [
                    e.gep(STORAGE_TYPE[dtype], head, first.index) if kind == "1" else head
                    for (dtype, kind), head in zip(spec.windows, heads, strict=True)
                ]
                mask = v.below(e, e.sub(stop, first.index), lanes)
                lines.write(e, self.target, spec, (scratch, lanes), places, steps, rows, mask, self.dtype)
