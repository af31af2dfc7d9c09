"""Depthwise convolutions of small planes: a lane is a channel.

Lines of a few columns leave most of a vector empty. So a block takes as many channels as a vector has lanes, and turns
their planes round in registers, with the padding round them:

    plane[row][column][channel]

Any tap of any stride is then an offset, an output pixel is a vector, and nothing is masked. The results are turned back
when they are written. The input's gradient has *phases*, one for each remainder of a position by the stride, of which
each meets taps of its own. The weight's gradient multiplies by the planes of g; sums of some lines are added up in
float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.body import ITEMSIZE, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction import lines
from luchina.compiler.contraction.assembly import Parts
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.microkernel import multiply_add, prefetch
from luchina.compiler.contraction.packing import loaded
from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.ir import STORAGE_TYPE, Operand, vector
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target

Pair = tuple[int, int]

# A block's planes lie in the second cache; the more taps, the more of them pay for turning them round.
MOST_BYTES = 512 << 10
BYTES_A_TAP = 29 << 10
MOST_TOGETHER = 8  # pixels of a line that are summed together
HELD_WEIGHTS = 9  # stay in registers
UNROLLED = 8  # instructions of an epilogue that is written out for every channel
FOLD_PIXELS = 256  # of the weight's gradient are summed before they are added to its totals
BLOCK_COUNT = 16

SHAPE = (
    *("images", "channels", "image_block", "image_parts", "W", "pixels", "pitch", "top", "left", "plane"),
    *("R", "S", "outputs", "fold", "at_offsets", "at_out", "at_weights", "at_totals", "at_tile"),
    *("x_slot", "x_offset", "x_n", "x_c", "g_slot", "g_offset", "g_n", "g_c", "w_slot", "w_offset", "w_c"),
)
WINDOW = ("slot", "offset", "image", "channel")


class Moves(NamedTuple):
    """How a window moves; what fixes the code beside the dtype.

    Of a ``transposed`` convolution, outputs a stride apart form a phase; ``remainder`` is that of the padding by it.
    """

    taps: Pair
    stride: Pair
    dilation: Pair
    transposed: bool
    remainder: Pair
    together: int

    @property
    def step(self) -> Pair:
        """Rows and columns of x from an output to the next one of its phase."""
        return (1, 1) if self.transposed else self.stride

    @property
    def by(self) -> Pair:
        """Rows and columns from an output to the next one of its phase."""
        return self.stride if self.transposed else (1, 1)

    def reach(self, axis: int) -> list[list[Pair]]:
        """For each phase its taps, and how far from the phase's own position they look."""
        by, apart, rest = self.by[axis], self.dilation[axis], self.remainder[axis]
        taps = range(self.taps[axis])
        if not self.transposed:
            return [[(tap, tap * apart) for tap in taps]]
        places = [[(tap, phase + rest - tap * apart) for tap in taps] for phase in range(by)]
        return [[(tap, place // by) for tap, place in phase if place % by == 0] for phase in places]


class _Axis(NamedTuple):
    """Rows or columns of a plane: the first place that a tap looks at, and how many there are."""

    low: int
    extent: int


def _axis(moves: Moves, axis: int, size: int, result: int, before: int) -> _Axis | None:
    """``before``: padding in steps of x. ``None`` where taps look at no place before x's first."""
    reach = moves.reach(axis)
    low = min((place for phase in reach for _, place in phase), default=0)
    by = moves.by[axis]
    last = [
        (ceil((result - phase) / by) - 1) * moves.step[axis] + place - low
        for phase, places in enumerate(reach)
        for _, place in places
    ]
    before -= low
    return _Axis(before, max([before + size, *(n + 1 for n in last)])) if before >= 0 else None


def _together(columns: int, divides: bool, most: int) -> int:
    """How many pixels of a line are summed at once; the last ones may be summed twice unless it ``divides``."""
    if divides:
        return max(n for n in range(1, most + 1) if columns % n == 0)
    return min(range(1, min(most, columns) + 1), key=lambda n: (ceil(columns / n) * (n + 1), -n))


def conv(
    x: Window,
    w: Window,
    outs: Sequence[Window],
    epilogue: Epilogue,
    counts: Pair,
    size: Pair,
    result: Pair,
    taps: Pair,
    stride: Pair,
    before: Pair,
    dilation: Pair,
    transposed: bool,
    target: Target,
) -> list[Call] | None:
    """A convolution of planes, or the transpose of one (then x is its result, and the other way round).

    Args:
        counts: images and channels.
        size, result: rows and columns of x and of the output.
        before: padding before the first row and column of the convolution.
    """
    windows = [*epilogue.operands, *outs]
    flat = all(window.strides[2] == result[1] * window.strides[3] or result[0] == 1 for window in windows)
    if not flat or not _lies_flat(x, size) or not _lies_flat(w, taps):
        return None
    lanes = target.lanes(ACCUMULATE[x.dtype])
    moves = Moves(taps, stride, dilation, transposed, (0, 0), 1)
    shortest = [n // by for n, by in zip(result, moves.by, strict=True)]
    if 0 in shortest:
        return None
    moves = moves._replace(
        remainder=(before[0] % moves.by[0], before[1] % moves.by[1]),
        together=_together(shortest[1], False, min(MOST_TOGETHER, target.registers // 2 - 2)),
    )
    whole = [-(n // by) if transposed else n for n, by in zip(before, moves.by, strict=True)]
    places = [_axis(moves, i, size[i], result[i], whole[i]) for i in (0, 1)]
    images, channels = counts
    groups = ceil(channels / lanes)
    parts = min(images, ceil(BLOCK_COUNT / groups))
    numbers = _numbers(x, taps, counts, size, result, places, lanes, (images, parts))
    if numbers is None:
        return None
    numbers |= {"w_slot": w.slot, "w_offset": w.offset, "w_c": w.strides[0]}
    spec = lines.spec_of((x.dtype, "plane", moves), outs, epilogue)
    flops = 2 * images * channels * result[0] * result[1] * taps[0] * taps[1] // (moves.by[0] * moves.by[1])
    return [_call(spec, numbers, windows, len(outs), groups * numbers["image_parts"], lanes, flops)]


def weight(
    x: Window,
    gradient: Window,
    outs: Sequence[Window],
    epilogue: Epilogue,
    counts: Pair,
    size: Pair,
    result: Pair,
    taps: Pair,
    stride: Pair,
    before: Pair,
    dilation: Pair,
    target: Target,
) -> list[Call] | None:
    """The weight's gradient; ``outs`` are windows over (O, 1, kh, kw)."""
    windows = [*epilogue.operands, *outs]
    flat = all(window.strides[2] == taps[1] * window.strides[3] or taps[0] == 1 for window in windows)
    if not flat or not _lies_flat(x, size) or not _lies_flat(gradient, result):
        return None
    lanes = target.lanes(ACCUMULATE[x.dtype])
    moves = Moves(taps, stride, dilation, False, (0, 0), _together(result[1], True, MOST_TOGETHER))
    places = [_axis(moves, i, size[i], result[i], before[i]) for i in (0, 1)]
    images, channels = counts
    numbers = _numbers(x, taps, counts, size, result, places, lanes, (images, 1))
    if numbers is None:
        return None
    numbers |= dict(zip(("g_n", "g_c"), gradient.strides, strict=False))
    numbers |= {"g_slot": gradient.slot, "g_offset": gradient.offset}
    spec = lines.spec_of((x.dtype, "weight", moves), outs, epilogue)
    flops = 2 * images * channels * result[0] * result[1] * taps[0] * taps[1]
    return [_call(spec, numbers, windows, len(outs), ceil(channels / lanes), lanes, flops)]


def _lies_flat(window: Window, extents: Pair) -> bool:
    return window.strides[3] == 1 and (extents[0] == 1 or window.strides[2] == extents[1])


def _numbers(
    x: Window,
    taps: Pair,
    counts: Pair,
    size: Pair,
    result: Pair,
    places: Sequence[_Axis | None],
    lanes: int,
    images: Pair,
) -> dict[str, int] | None:
    """The params; ``None`` where a block's planes are too large."""
    rows, columns = places
    if rows is None or columns is None:
        return None
    vector_bytes = lanes * ITEMSIZE[ACCUMULATE[x.dtype]]
    outputs = result[0] * result[1]
    plane = rows.extent * columns.extent
    if (plane + outputs) * vector_bytes > min(MOST_BYTES, BYTES_A_TAP * taps[0] * taps[1]):
        return None
    image_block = ceil(images[0] / images[1])
    pixels = size[0] * size[1]
    at_offsets = lines.aligned((plane + 1) * vector_bytes)  # pixels that do not exist go to the vector behind the plane
    at_out = lines.aligned(at_offsets + 8 * (pixels + lanes))
    return {
        **dict.fromkeys(SHAPE, 0),
        **{"images": images[0], "channels": counts[1], "image_block": image_block},
        **{"image_parts": ceil(images[0] / image_block), "W": size[1], "pixels": pixels, "pitch": columns.extent},
        **{"top": rows.low, "left": columns.low, "plane": plane, "R": result[0], "S": result[1], "outputs": outputs},
        **{"fold": max(1, FOLD_PIXELS // result[1]), "at_offsets": at_offsets, "at_out": at_out},
        **{"at_weights": lines.aligned(at_out + (outputs + lanes) * vector_bytes)},
        **{"x_slot": x.slot, "x_offset": x.offset, "x_n": x.strides[0], "x_c": x.strides[1]},
    }


def _call(
    spec: lines.Spec,
    numbers: dict[str, int],
    windows: Sequence[Window],
    outs: int,
    blocks: int,
    lanes: int,
    flops: int,
) -> Call:
    dtype, kind, moves = spec.sizes
    item = ITEMSIZE[ACCUMULATE[dtype]]
    taps = ceil(moves.taps[0] * moves.taps[1] / lanes) * lanes
    numbers["at_totals"] = numbers["at_weights"] + lines.aligned(taps * lanes * item)
    numbers["at_tile"] = numbers["at_totals"] + (lines.aligned(taps * lanes * 8) if kind == "weight" else 0)
    params = [numbers[name] for name in SHAPE]
    for window in windows:
        params += [window.slot, window.offset, *window.strides[:2]]
    other = numbers["g_slot"] if kind == "weight" else numbers["w_slot"]
    reads = dict.fromkeys([numbers["x_slot"], other, *(w.slot for w in windows[: len(windows) - outs])])
    writes = dict.fromkeys(w.slot for w in windows[len(windows) - outs :])
    scratch = numbers["at_tile"] + lines.aligned(lanes * lanes * item)
    return Call(_kernel(spec), params, blocks, scratch, flops / 30 + 100.0, tuple(reads), tuple(writes), flops)


@functools.lru_cache(1024)
def _kernel(spec: lines.Spec) -> Kernel:
    key = f"depthwise lanes {spec}"
    name = kernel_name(key)
    kind = {"plane": _Conv, "weight": _Weight}[spec.sizes[1]]
    return Kernel(name, key, lambda target: kind(spec, target, name).text())


class _Kernel(Parts):
    """A block is a vector of channels, of some images."""

    def __init__(self, spec: lines.Spec, target: Target, name: str) -> None:
        super().__init__(name, target)
        self.spec = spec
        dtype, _, self.moves = spec.sizes
        self.dtype: str = dtype
        self.lanes = target.lanes(ACCUMULATE[dtype])
        self.stored, self.element = STORAGE_TYPE[dtype], STORAGE_TYPE[ACCUMULATE[dtype]]
        self.wide = vector(self.element, self.lanes)
        self.align = ITEMSIZE[ACCUMULATE[dtype]] * self.lanes

    def p(self, name: str) -> Operand:
        return self.param(SHAPE.index(name))

    def param(self, place: int) -> Operand:
        return self.e.load("i64", self.e.gep("i64", Operand("ptr", "%params"), place), 8)

    def address(self, which: str) -> Operand:
        e = self.e
        base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), self.p(f"{which}_slot")), 8)
        return e.gep(self.stored, base, self.p(f"{which}_offset"))

    def at(self, name: str) -> Operand:
        return self.e.gep("i8", Operand("ptr", "%scratch"), self.p(name))

    def vector_at(self, base: Operand, number: Operand | int) -> Operand:
        return self.e.gep(self.wide, base, number)

    def common(self) -> dict[str, tuple[Callable[[], None], str]]:
        return {
            "clear": (self.clear, "ptr %params, ptr %scratch"),
            "plane": (self.plane, "ptr %params, ptr %x, i64 %count, ptr %scratch"),
        }

    def clear(self) -> None:
        """Empty planes, and where in them each pixel goes."""
        e = self.e
        scratch = Operand("ptr", "%scratch")
        with e.loop(e.i64(0), self.p("plane")) as place:
            e.store(e.const(self.wide, 0), self.vector_at(scratch, place.index), self.align)
        offsets, width, lanes = self.at("at_offsets"), self.p("W"), self.lanes
        first = e.add(e.mul(self.p("top"), self.p("pitch")), self.p("left"))
        with e.loop(e.i64(0), self.p("pixels"), width, carry=[first]) as row:
            with e.loop(e.i64(0), width) as column:
                to = e.gep("i64", offsets, e.add(row.index, column.index))
                e.store(e.add(row.carried[0], column.index), to, 8)
            row.next = [e.add(row.carried[0], self.p("pitch"))]
        with e.loop(self.p("pixels"), e.add(self.p("pixels"), lanes)) as pixel:
            e.store(self.p("plane"), e.gep("i64", offsets, pixel.index), 8)

    def squares(
        self, source: Operand, step: Operand, ahead: Operand | None, length: Operand
    ) -> Callable[[Callable[[Operand, list[Operand]], None]], None]:
        """Rows of ``count`` channels, turned: ``use`` gets a place along them and a vector for it and each after it."""
        e, lanes = self.e, self.lanes
        final = e.sub(Operand("i64", "%count"), 1)
        rows = [e.gep(self.stored, source, e.mul(v.least(e, e.i64(i), final), step)) for i in range(lanes)]
        kind = storage_type(self.dtype, lanes)

        def each(use: Callable[[Operand, list[Operand]], None]) -> None:
            with e.loop(e.i64(0), length, lanes) as chunk:
                mask = v.below(e, e.sub(length, chunk.index), lanes)
                starts = [e.gep(self.stored, row, chunk.index) for row in rows]
                if ahead is not None:
                    for start in starts:
                        prefetch(e, e.gep(self.stored, start, ahead), level=2)
                raw = [v.masked_load(e, kind, start, mask) for start in starts]
                use(chunk.index, v.transpose(e, [loaded(e, self.dtype, r) for r in raw]))

        return each

    def plane(self) -> None:
        """Turn the planes of an image; those of the next one are asked for."""
        e, scratch = self.e, Operand("ptr", "%scratch")
        offsets = self.at("at_offsets")

        def put(first: Operand, pixels: list[Operand]) -> None:
            for i, pixel in enumerate(pixels):
                place = e.load("i64", e.gep("i64", e.gep("i64", offsets, first), i), 8)
                e.store(pixel, self.vector_at(scratch, place), self.align)

        self.squares(Operand("ptr", "%x"), self.p("x_c"), self.p("x_n"), self.p("pixels"))(put)

    def turned(self, places: list[Operand], steps: list[Operand], first: Operand, values: list[Operand]) -> None:
        """Write vectors for ``first`` and the places after it to every window, channel by channel."""
        e, lanes, tile = self.e, self.lanes, self.at("at_tile")
        rows = v.transpose(e, values)
        here = [
            e.gep(STORAGE_TYPE[dtype], place, first) if kind == "1" else place
            for (dtype, kind), place in zip(self.spec.windows, places, strict=True)
        ]
        count, left = Operand("i64", "%count"), e.sub(Operand("i64", "%length"), first)
        whole = e.icmp("sge", left, e.i64(lanes))
        if len(self.spec.body.instructions) <= UNROLLED:
            square = e.bin("and", whole, e.icmp("eq", count, e.i64(lanes)))
            with e.when(square):
                places = here
                for row in rows:
                    for (dtype, kind), place in zip(self.spec.windows, places, strict=True):
                        if kind == "1":
                            prefetch(e, e.gep(STORAGE_TYPE[dtype], place, 4 * lanes))
                    lines.write_vector(e, self.target, self.spec, row, places, None)
                    places = [
                        e.gep(STORAGE_TYPE[dtype], place, step)
                        for (dtype, _), place, step in zip(self.spec.windows, places, steps, strict=True)
                    ]
            count = e.select(square, e.i64(0), count)
        with e.when(e.icmp("sgt", count, e.i64(0))):
            for i, row in enumerate(rows):
                e.store(row, self.vector_at(tile, i), self.align)
            mask = v.below(e, left, lanes)
            lines.write(e, self.target, self.spec, (tile, lanes), here, steps, count, mask, self.dtype)

    def windows(self, image: Operand | None, channel: Operand) -> tuple[list[Operand], list[Operand]]:
        """Where each window begins, and its step from channel to channel."""
        e = self.e
        places, steps = [], []
        for i, (dtype, _) in enumerate(self.spec.windows):
            slot, offset, by_image, by_channel = (self.param(len(SHAPE) + i * len(WINDOW) + at) for at in range(4))
            if image is None:
                by_channel = by_image  # the windows of weights begin with the channel
            else:
                offset = e.add(offset, e.mul(image, by_image))
            base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), slot), 8)
            places.append(e.gep(STORAGE_TYPE[dtype], base, e.add(offset, e.mul(channel, by_channel))))
            steps.append(by_channel)
        return places, steps

    def blocks(self, each: Callable[[Operand, Operand, Operand, Operand], None]) -> None:
        """``each`` gets the first channel, how many there are, the first image and the one after the last."""
        e = self.e
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
            group = e.bin("udiv", block.index, self.p("image_parts"))
            first = e.mul(e.sub(block.index, e.mul(group, self.p("image_parts"))), self.p("image_block"))
            stop = v.least(e, e.add(first, self.p("image_block")), self.p("images"))
            channel = e.mul(group, self.lanes)
            count = v.least(e, e.sub(self.p("channels"), channel), e.i64(self.lanes))
            each(channel, count, first, stop)


class _Conv(_Kernel):
    def parts(self) -> dict[str, tuple[Callable[[], None], str]]:
        return {
            **self.common(),
            "weights": (self.weights, "ptr %params, ptr %w, i64 %count, ptr %scratch"),
            "sums": (self.sums, "ptr %params, ptr %scratch"),
            "write": (
                self.write,
                "ptr %table, ptr %params, i64 %image, i64 %channel, i64 %count, i64 %length, ptr %scratch",
            ),
        }

    def driver(self) -> None:
        e = self.e
        table, params, scratch = (Operand("ptr", f"%{n}") for n in ("table", "params", "scratch"))
        self.call("clear", params, scratch)

        def block(channel: Operand, count: Operand, first: Operand, stop: Operand) -> None:
            x = e.gep(self.stored, self.address("x"), e.mul(channel, self.p("x_c")))
            w = e.gep(self.stored, self.address("w"), e.mul(channel, self.p("w_c")))
            self.call("weights", params, w, count, scratch)
            with e.loop(first, stop) as image:
                source = e.gep(self.stored, x, e.mul(image.index, self.p("x_n")))
                self.call("plane", params, source, count, scratch)
                self.call("sums", params, scratch)
                self.call("write", table, params, image.index, channel, count, self.p("outputs"), scratch)

        self.blocks(block)

    def weights(self) -> None:
        to = self.at("at_weights")

        def put(first: Operand, taps: list[Operand]) -> None:
            for i, tap in enumerate(taps):
                self.e.store(tap, self.vector_at(self.vector_at(to, first), i), self.align)

        kh, kw = self.moves.taps
        self.squares(Operand("ptr", "%w"), self.p("w_c"), None, self.e.i64(kh * kw))(put)

    def sums(self) -> None:
        """Every output pixel, phase by phase."""
        e = self.e
        out, weights = self.at("at_out"), self.at("at_weights")
        rows, columns = self.moves.reach(0), self.moves.reach(1)
        low = [min((place for phase in reach for _, place in phase), default=0) for reach in (rows, columns)]
        held: dict[int, Operand] = {}
        kh, kw = self.moves.taps
        if kh * kw <= HELD_WEIGHTS:
            held = {i: e.load(self.wide, self.vector_at(weights, i), self.align) for i in range(kh * kw)}
        for i, row_taps in enumerate(rows):
            for j, column_taps in enumerate(columns):
                taps = [(a * kw + b, row - low[0], column - low[1]) for a, row in row_taps for b, column in column_taps]
                self.phase((i, j), taps, out, weights, held)

    def phase(
        self,
        number: Pair,
        taps: list[tuple[int, int, int]],
        out: Operand,
        weights: Operand,
        held: dict[int, Operand],
    ) -> None:
        e, moves, together = self.e, self.moves, self.moves.together
        by, step = moves.by, moves.step
        pitch, width = self.p("pitch"), self.p("S")

        def count(extent: str, axis: int) -> Operand:
            return e.bin("udiv", e.add(self.p(extent), by[axis] - 1 - number[axis]), e.i64(by[axis]))

        columns = count("S", 1)
        with e.loop(e.i64(0), count("R", 0)) as row:
            line = self.vector_at(Operand("ptr", "%scratch"), e.mul(e.mul(row.index, step[0]), pitch))
            to = e.mul(e.add(e.mul(row.index, by[0]), number[0]), width)
            to_line = self.vector_at(out, e.add(to, number[1]))
            with e.loop(e.i64(0), columns, together) as column:
                start = v.least(e, column.index, e.sub(columns, together))
                here = self.vector_at(line, e.mul(start, step[1]))
                starts = {r: self.vector_at(here, e.mul(pitch, r)) for r in sorted({r for _, r, _ in taps})}
                seen: dict[Pair, Operand] = {}
                sums = [e.const(self.wide, 0)] * together
                for tap, r, c in taps:
                    weight_ = held.get(tap) or e.load(self.wide, self.vector_at(weights, tap), self.align)
                    for u in range(together):
                        place = r, c + u * step[1]
                        if place not in seen:
                            seen[place] = e.load(self.wide, self.vector_at(starts[r], place[1]), self.align)
                        sums[u] = multiply_add(e, self.target, weight_, seen[place], sums[u])
                to_here = self.vector_at(to_line, e.mul(start, by[1]))
                for u, total in enumerate(sums):
                    e.store(total, self.vector_at(to_here, u * by[1]), self.align)

    def write(self) -> None:
        e, lanes = self.e, self.lanes
        out = self.at("at_out")
        places, steps = self.windows(Operand("i64", "%image"), Operand("i64", "%channel"))
        with e.loop(e.i64(0), Operand("i64", "%length"), lanes) as pixel:
            here = self.vector_at(out, pixel.index)
            values = [e.load(self.wide, self.vector_at(here, i), self.align) for i in range(lanes)]
            self.turned(places, steps, pixel.index, values)


class _Weight(_Kernel):
    def parts(self) -> dict[str, tuple[Callable[[], None], str]]:
        return {
            **self.common(),
            "gradient": (self.gradient, "ptr %params, ptr %g, i64 %count, ptr %scratch"),
            **{
                f"sums{i}": (functools.partial(self.sums, taps), "ptr %params, ptr %scratch")
                for i, taps in enumerate(self.groups())
            },
            "write": (self.write, "ptr %table, ptr %params, i64 %channel, i64 %count, i64 %length, ptr %scratch"),
        }

    def groups(self) -> list[list[Pair]]:
        """The taps that are summed in one visit: as many as registers hold."""
        kh, kw = self.moves.taps
        every = [(a, b) for a in range(kh) for b in range(kw)]
        most = max(self.target.registers - 6, 8)
        return [every[i : i + most] for i in range(0, len(every), most)]

    def driver(self) -> None:
        e = self.e
        table, params, scratch = (Operand("ptr", f"%{n}") for n in ("table", "params", "scratch"))
        self.call("clear", params, scratch)
        kh, kw = self.moves.taps

        def block(channel: Operand, count: Operand, first: Operand, stop: Operand) -> None:
            x = e.gep(self.stored, self.address("x"), e.mul(channel, self.p("x_c")))
            g = e.gep(self.stored, self.address("g"), e.mul(channel, self.p("g_c")))
            with e.loop(e.i64(0), e.i64(kh * kw)) as tap:
                to = e.gep(vector("double", self.lanes), self.at("at_totals"), tap.index)
                e.store(e.const(vector("double", self.lanes), 0), to, 8)
            with e.loop(first, stop) as image:
                self.call(
                    "plane", params, e.gep(self.stored, x, e.mul(image.index, self.p("x_n"))), count, scratch
                )  # fmt: skip
                self.call(
                    "gradient", params, e.gep(self.stored, g, e.mul(image.index, self.p("g_n"))), count, scratch
                )  # fmt: skip
                for i in range(len(self.groups())):
                    self.call(f"sums{i}", params, scratch)
            self.call("write", table, params, channel, count, e.i64(kh * kw), scratch)

        self.blocks(block)

    def gradient(self) -> None:
        to = self.at("at_out")

        def put(first: Operand, pixels: list[Operand]) -> None:
            for i, pixel in enumerate(pixels):
                self.e.store(pixel, self.vector_at(self.vector_at(to, first), i), self.align)

        self.squares(Operand("ptr", "%g"), self.p("g_c"), self.p("g_n"), self.p("outputs"))(put)

    def sums(self, taps: list[Pair]) -> None:
        """Some lines of an image for some taps, then added to their totals."""
        e, moves, together = self.e, self.moves, self.moves.together
        step, apart = moves.stride, moves.dilation
        gradient, totals = self.at("at_out"), self.at("at_totals")
        pitch, width, stop = self.p("pitch"), self.p("S"), self.p("R")
        with e.loop(e.i64(0), stop, self.p("fold")) as some:
            zeros = [e.const(self.wide, 0)] * len(taps)
            with e.loop(some.index, v.least(e, e.add(some.index, self.p("fold")), stop), carry=zeros) as row:
                line = self.vector_at(Operand("ptr", "%scratch"), e.mul(e.mul(row.index, step[0]), pitch))
                g_line = self.vector_at(gradient, e.mul(row.index, width))
                with e.loop(e.i64(0), width, together, carry=row.carried) as column:
                    here = self.vector_at(line, e.mul(column.index, step[1]))
                    starts = {a: self.vector_at(here, e.mul(pitch, a * apart[0])) for a in sorted({a for a, _ in taps})}
                    g_here = self.vector_at(g_line, column.index)
                    values = [e.load(self.wide, self.vector_at(g_here, u), self.align) for u in range(together)]
                    seen: dict[Pair, Operand] = {}
                    column.next = list(column.carried)
                    for i, (a, b) in enumerate(taps):
                        for u in range(together):
                            place = a, b * apart[1] + u * step[1]
                            if place not in seen:
                                seen[place] = e.load(self.wide, self.vector_at(starts[a], place[1]), self.align)
                            column.next[i] = multiply_add(e, self.target, values[u], seen[place], column.next[i])
                row.next = column.carried
            kind = vector("double", self.lanes)
            for (a, b), total in zip(taps, row.carried, strict=True):
                to = e.gep(kind, totals, a * moves.taps[1] + b)
                e.store(e.bin("fadd", e.load(kind, to, 8), e.cast("fpext", total, "double")), to, 8)

    def write(self) -> None:
        e, lanes = self.e, self.lanes
        kh, kw = self.moves.taps
        totals = self.at("at_totals")
        places, steps = self.windows(None, Operand("i64", "%channel"))
        for first in range(0, kh * kw, lanes):
            values = []
            for tap in range(first, first + lanes):
                value = e.load(vector("double", lanes), e.gep(vector("double", lanes), totals, tap), 8)
                values.append(e.cast("fptrunc", value, self.element))
            self.turned(places, steps, e.i64(first), values)
