"""Depthwise convolutions: every output channel sees one input channel, so there is nothing to multiply in panels.

A block takes a band of rows of one plane. What its windows see is copied into scratch with the padding round it, so
that no sum needs a mask, and with columns a stride apart side by side (*phases*), so that every tap of a vector of
outputs is one load:

    plane[row][phase][column] = x[row][column · stride + phase]

The input's gradient is the convolution of g, with ``stride − 1`` zeros between its elements, by the window turned
round. The weight's gradient multiplies the same planes by g; sums of a plane are added up in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from luchina.compiler.body import from_storage, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction import lines
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.microkernel import multiply_add, prefetch
from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, module, vector
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target

Pair = tuple[int, int]

ROWS = 4  # of outputs, summed together where there are several: they share what they read
MOST_TAPS = 49
AHEAD_BYTES = 3072  # lines of a plane are short runs, which no hardware foresees
BAND_BYTES = 32 << 10  # of a plane in scratch, where several rows of outputs fit
MOST_BYTES = 1 << 20

_SHAPE = (
    *("images", "channels", "H", "W", "R", "S", "top", "left", "many", "bands", "band"),
    *("columns", "row", "at_sums", "at_totals"),
    *("x_slot", "x_offset", "x_n", "x_c", "x_h", "g_slot", "g_offset", "g_n", "g_c", "g_h"),
    *("w_slot", "w_offset", "w_c", "w_h", "w_w"),
)
_WINDOW = ("slot", "offset", "image", "channel", "row")


class _Geometry:
    """The planes of a convolution: rows and columns of scratch for a band of outputs."""

    def __init__(
        self,
        size: tuple[int, int],
        result: tuple[int, int],
        taps: Pair,
        stride: Pair,
        before: Pair,
        dilation: Pair,
        stuffed: Pair,
        lanes: int,
        item: int,
    ) -> None:
        (_, width), (rows, _) = size, result
        # As far as vectors are read, and as far as they are written.
        read = ceil(result[1] / lanes) * lanes + dilation[1] * (taps[1] - 1) // stride[1]
        step = lanes * stride[1]
        written = (before[1] + stuffed[1] * ceil((width + 1) / step) * step) / stride[1]
        self.columns = ceil(max(read, written) / lanes + 1) * lanes
        self.row = self.columns * stride[1]
        fit = BAND_BYTES // (self.row * item) - dilation[0] * (taps[0] - 1) - 1
        self.rows = ROWS if rows > 1 else 1
        self.band = min(max(self.rows, fit // stride[0] // ROWS * ROWS), ceil(rows / self.rows) * self.rows)
        self.bands = ceil(rows / self.band)
        lines_ = (self.band - 1) * stride[0] + dilation[0] * (taps[0] - 1) + 1
        self.nbytes = _aligned(lines_ * self.row * item)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


def fits(
    dtype: str,
    operands: Sequence[Window],
    outs: Sequence[Window],
    epilogue: Epilogue,
    taps: Sequence[int],
    pads: Sequence[int],
) -> bool:
    """Whether the operands lie as this way needs them."""
    return (
        ACCUMULATE.get(dtype) in ("float32", "float64")
        and dtype in ("float32", "float64", "float16", "bfloat16")
        and taps[0] * taps[1] <= MOST_TAPS
        and min(pads) >= 0
        and all(w.strides[3] == 1 for w in operands)
        and lines.fit(outs, epilogue)
    )


def plane(
    x: Window,
    w: Window,
    outs: Sequence[Window],
    epilogue: Epilogue,
    counts: tuple[int, int, int],
    size: Pair,
    result: Pair,
    taps: Pair,
    stride: Pair,
    before: Pair,
    dilation: Pair,
    stuffed: Pair,
    target: Target,
) -> list[Call] | None:
    """A convolution of planes; ``None`` if one does not fit scratch.

    Args:
        counts: images, channels of the output, output channels of one input channel.
        size, result: rows and columns of x and of the output.
        stuffed: x's elements lie so far apart, with zeros between.
        before: padding before the first row and column.
    """
    images, channels, many = counts
    lanes = target.lanes(ACCUMULATE[x.dtype])
    item = 8 if x.dtype == "float64" else 4
    g = _Geometry(size, result, taps, stride, before, dilation, stuffed, lanes, item)
    if g.nbytes > MOST_BYTES:
        return None
    spec = lines.spec_of((x.dtype, "plane", *taps, *stride, *dilation, *stuffed, g.rows), outs, epilogue)
    numbers = _numbers(x, w, x, images, channels, many, size, result, before, g)
    numbers["at_sums"] = g.nbytes
    return [
        _call(
            spec,
            numbers,
            [*epilogue.operands, *outs],
            outs,
            images * channels * g.bands,
            g.nbytes + g.rows * lanes * item,
            2 * images * channels * result[0] * result[1] * taps[0] * taps[1],
        )
    ]


def weight(
    x: Window,
    gradient: Window,
    outs: Sequence[Window],
    epilogue: Epilogue,
    counts: tuple[int, int, int],
    size: Pair,
    result: Pair,
    taps: Pair,
    stride: Pair,
    before: Pair,
    dilation: Pair,
    target: Target,
) -> list[Call] | None:
    """The weight's gradient; ``None`` if a plane does not fit scratch. ``outs`` are windows over (O, 1, kh, kw)."""
    images, channels, many = counts
    if taps[0] > 1 and any(w.strides[2] != w.strides[3] * taps[1] for w in (*outs, *epilogue.operands)):
        return None
    lanes = target.lanes(ACCUMULATE[x.dtype])
    item = 8 if x.dtype == "float64" else 4
    g = _Geometry(size, result, taps, stride, before, dilation, (1, 1), lanes, item)
    if g.nbytes > MOST_BYTES:
        return None
    spec = lines.spec_of((x.dtype, "weight", *taps, *stride, *dilation, 1, 1, 1), outs, epilogue)
    numbers = _numbers(x, gradient, gradient, images, channels, many, size, result, before, g)
    numbers["at_totals"] = g.nbytes
    places = ceil(taps[0] * taps[1] / lanes) * lanes
    numbers["at_sums"] = numbers["at_totals"] + places * lanes * 8
    scratch = numbers["at_sums"] + _aligned(places * lanes * item)
    flops = 2 * images * channels * result[0] * result[1] * taps[0] * taps[1]
    return [_call(spec, numbers, [*epilogue.operands, *outs], outs, channels, scratch, flops)]


def _numbers(
    x: Window,
    w: Window,
    gradient: Window,
    images: int,
    channels: int,
    many: int,
    size: Pair,
    result: Pair,
    before: Pair,
    g: _Geometry,
) -> dict[str, int]:
    return {
        **dict.fromkeys(_SHAPE, 0),
        **{"images": images, "channels": channels, "many": many, "bands": g.bands, "band": g.band},
        **dict(zip("HWRS", (*size, *result), strict=True)),
        **{"top": before[0], "left": before[1], "columns": g.columns, "row": g.row},
        **{"x_slot": x.slot, "x_offset": x.offset, "w_slot": w.slot, "w_offset": w.offset},
        **{"g_slot": gradient.slot, "g_offset": gradient.offset},
        **dict(zip(("x_n", "x_c", "x_h"), x.strides, strict=False)),
        **dict(zip(("g_n", "g_c", "g_h"), gradient.strides, strict=False)),
        **dict(zip(("w_c", "w_h", "w_w"), (w.strides[0], *w.strides[2:]), strict=True)),
    }


def _call(
    spec: lines.Spec,
    numbers: dict[str, int],
    windows: Sequence[Window],
    outs: Sequence[Window],
    blocks: int,
    scratch: int,
    flops: int,
) -> Call:
    params = [numbers[name] for name in _SHAPE]
    for window in windows:
        params += [window.slot, window.offset, *window.strides[:3]]
    reads = dict.fromkeys(
        [numbers["x_slot"], numbers["w_slot"], *(w.slot for w in windows[: len(windows) - len(outs)])]
    )
    writes = dict.fromkeys(w.slot for w in outs)
    return Call(_kernel(spec), params, blocks, scratch, flops / 20 + 100.0, tuple(reads), tuple(writes), flops)


@functools.lru_cache(1024)
def _kernel(spec: lines.Spec) -> Kernel:
    key = f"depthwise {spec}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: _emit(spec, target, name))


def _emit(spec: lines.Spec, target: Target, name: str) -> str:
    functions: list[str] = []
    declarations: dict[str, str] = {}
    parts: list[_Part] = [_Fill(spec, target)]
    parts.append(_Plane(spec, target) if spec.sizes[1] == "plane" else _Weight(spec, target))
    for part in parts:
        part.emit(name)
        text = part.e.function(f"{name}.{part.name}" if part.name else name, part.signature)
        functions.append(text.replace("define void", "define internal void", 1) if part.name else text)
        declarations |= part.e.declarations
    return module(functions, declarations, target.triple)


class _Part:
    name = ""
    signature = "ptr %table, ptr %params, i64 %lo, i64 %hi, ptr %scratch"

    def __init__(self, spec: lines.Spec, target: Target) -> None:
        self.spec, self.target = spec, target
        self.e = Emitter()
        sizes = spec.sizes
        self.dtype = str(sizes[0])
        self.taps, self.stride, self.dilation, self.stuffed = ((int(sizes[i]), int(sizes[i + 1])) for i in (2, 4, 6, 8))
        self.rows = int(sizes[10])
        self.lanes = target.lanes(ACCUMULATE[self.dtype])
        self.stored, self.element = STORAGE_TYPE[self.dtype], STORAGE_TYPE[ACCUMULATE[self.dtype]]
        self.wide = vector(self.element, self.lanes)

    def emit(self, name: str) -> None:
        """Write the function's body; ``name`` is the kernel's."""
        raise NotImplementedError

    def p(self, name: str) -> Operand:
        return self._param(_SHAPE.index(name))

    def window(self, number: int, what: str) -> Operand:
        return self._param(len(_SHAPE) + number * len(_WINDOW) + _WINDOW.index(what))

    def _param(self, place: int) -> Operand:
        return self.e.load("i64", self.e.gep("i64", Operand("ptr", "%params"), place), 8)

    def address(self, which: str) -> Operand:
        e = self.e
        base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), self.p(f"{which}_slot")), 8)
        return e.gep(self.stored, base, self.p(f"{which}_offset"))

    def tap(self, row: int, a: int, b: int) -> tuple[int, int]:
        """Line of scratch where an output's row meets a tap, and how many columns of the plane the tap is ahead."""
        return row * self.stride[0] + a * self.dilation[0], b * self.dilation[1]

    def at_tap(self, rows: list[Operand], line: int, step: int, column: Operand) -> Operand:
        """The vector that a tap sees at ``column`` outputs."""
        e = self.e
        phase, ahead = step % self.stride[1], step // self.stride[1]
        at = e.add(column, ahead)
        if phase:
            at = e.add(at, e.mul(self.p("columns"), phase))
        return e.load(self.wide, e.gep(self.element, rows[line], at), 4)


class _Fill(_Part):
    """Copy lines of x, from number ``first`` of the padded plane on, into scratch."""

    name = "fill"
    signature = "ptr %params, ptr %x, i64 %first, i64 %count, ptr %to"

    def emit(self, name: str) -> None:
        e, lanes = self.e, self.lanes
        zero = e.const(self.wide, 0)
        row = self.p("row")
        with e.loop(e.i64(0), Operand("i64", "%count")) as line:
            to = e.gep(self.element, Operand("ptr", "%to"), e.mul(line.index, row))
            with e.loop(e.i64(0), row, lanes) as column:
                e.store(zero, e.gep(self.element, to, column.index), 4)
            number = e.sub(e.add(Operand("i64", "%first"), line.index), self.p("top"))
            t = self.stuffed[0]
            source, rest = number, e.i64(0)
            if t > 1:
                source = e.bin("sdiv", number, e.i64(t))
                rest = e.sub(number, e.mul(source, t))
            exists = e.bin("and", e.icmp("ult", number, e.mul(self.p("H"), t)), e.icmp("eq", rest, e.i64(0)))
            with e.when(exists):
                self.copy(e.gep(self.stored, Operand("ptr", "%x"), e.mul(source, self.p("x_h"))), to)

    def copy(self, source: Operand, to: Operand) -> None:
        """One line: element j goes to column ``left + j · stuffed``, column u to phase ``u % stride``."""
        e, lanes = self.e, self.lanes
        s, t = self.stride[1], self.stuffed[1]
        width, left = self.p("W"), self.p("left")
        kind = storage_type(self.dtype, lanes)

        def read(j: Operand) -> Operand:
            columns = v.counting(e, j, lanes)
            at = e.gep(self.stored, source, j)
            prefetch(e, e.gep("i8", at, AHEAD_BYTES))
            raw = v.masked_load(e, kind, at, e.icmp("ult", columns, e.splat(width, lanes)))
            return from_storage(e, self.dtype, raw)

        def shuffled(a: Operand, b: Operand, order: list[int]) -> Operand:
            text = ", ".join(f"i32 {i}" for i in order)
            return e.inst(self.wide, f"shufflevector {a}, {b}, <{lanes} x i32> <{text}>")

        if s == t == 1:
            with e.loop(e.i64(0), width, lanes) as j:
                e.store(read(j.index), e.gep(self.element, to, e.add(left, j.index)), 4)
        elif s == 2 and t == 1:
            odd = e.bin("and", left, e.i64(1))
            with e.loop(e.sub(e.i64(0), odd), width, 2 * lanes) as j:
                pair = read(j.index), read(e.add(j.index, lanes))
                at = e.bin("lshr", e.add(left, j.index), e.i64(1))
                for phase in range(2):
                    place = e.add(at, self.p("columns")) if phase else at
                    value = shuffled(*pair, list(range(phase, 2 * lanes, 2)))
                    e.store(value, e.gep(self.element, to, place), 4)
        elif s == 1 and t == 2:
            zero = e.const(self.wide, 0)
            with e.loop(e.i64(0), width, lanes) as j:
                values = read(j.index)
                at = e.add(left, e.mul(j.index, 2))
                for half in range(2):
                    order = [half * lanes // 2 + i // 2 + (i % 2) * lanes for i in range(lanes)]
                    place = e.gep(self.element, to, e.add(at, half * lanes))
                    e.store(shuffled(values, zero, order), place, 4)
        else:
            with e.loop(e.i64(0), width) as j:
                value = from_storage(e, self.dtype, e.load(self.stored, e.gep(self.stored, source, j.index), 1))
                u = e.add(left, e.mul(j.index, t))
                entry = e.bin("udiv", u, e.i64(s))
                within = e.sub(u, e.mul(entry, s))
                e.store(value, e.gep(self.element, to, e.add(entry, e.mul(within, self.p("columns")))), 4)


class _Plane(_Part):
    """A band of rows of an output plane."""

    def emit(self, name: str) -> None:
        e, lanes = self.e, self.lanes
        scratch = Operand("ptr", "%scratch")
        kh, kw = self.taps
        x, w = self.address("x"), self.address("w")
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
            rest = e.bin("udiv", block.index, self.p("bands"))
            first = e.mul(e.sub(block.index, e.mul(rest, self.p("bands"))), self.p("band"))
            image = e.bin("udiv", rest, self.p("channels"))
            channel = e.sub(rest, e.mul(image, self.p("channels")))
            source = e.add(e.mul(image, self.p("x_n")), e.mul(e.bin("udiv", channel, self.p("many")), self.p("x_c")))
            source = e.gep(self.stored, x, source)
            count = v.least(e, self.p("band"), e.sub(self.p("R"), first))
            # Rows of outputs that do not exist are summed too, from whatever lies there.
            seen = e.add(e.mul(e.sub(count, 1), self.stride[0]), self.dilation[0] * (kh - 1) + 1)
            top = e.mul(first, self.stride[0])
            e.raw(f"call void @{name}.fill(ptr %params, {source}, {top}, {seen}, {scratch})")
            line = e.gep(self.stored, w, e.mul(channel, self.p("w_c")))
            weights = {}
            for a in range(kh):
                for b in range(kw):
                    at = e.gep(self.stored, line, e.add(e.mul(self.p("w_h"), a), e.mul(self.p("w_w"), b)))
                    weights[a, b] = e.splat(from_storage(e, self.dtype, e.load(self.stored, at, 1)), lanes)
            with e.loop(e.i64(0), count, self.rows) as row:
                start = e.gep(self.element, scratch, e.mul(e.mul(row.index, self.stride[0]), self.p("row")))
                used = (self.rows - 1) * self.stride[0] + (kh - 1) * self.dilation[0] + 1
                rows = [e.gep(self.element, start, e.mul(self.p("row"), i)) if i else start for i in range(used)]
                left = v.least(e, e.sub(count, row.index), e.i64(self.rows))
                self.columns(rows, weights, image, channel, e.add(first, row.index), left)

    def columns(
        self,
        rows: list[Operand],
        weights: dict[Pair, Operand],
        image: Operand,
        channel: Operand,
        first: Operand,
        count: Operand,
    ) -> None:
        e, lanes, spec = self.e, self.lanes, self.spec
        sums_at = e.gep("i8", Operand("ptr", "%scratch"), self.p("at_sums"))
        starts, steps = [], []
        for i, (dtype, _) in enumerate(spec.windows):
            at = e.add(self.window(i, "offset"), e.mul(image, self.window(i, "image")))
            at = e.add(at, e.mul(channel, self.window(i, "channel")))
            at = e.add(at, e.mul(first, self.window(i, "row")))
            base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), self.window(i, "slot")), 8)
            starts.append(e.gep(STORAGE_TYPE[dtype], base, at))
            steps.append(self.window(i, "row"))
        stop = self.p("S")
        with e.loop(e.i64(0), stop, lanes) as column:
            sums = [e.const(self.wide, 0)] * self.rows
            loaded: dict[Pair, Operand] = {}
            for (a, b), weight_ in weights.items():
                for r in range(self.rows):
                    place = self.tap(r, a, b)
                    if place not in loaded:
                        loaded[place] = self.at_tap(rows, *place, column.index)
                    sums[r] = multiply_add(e, self.target, weight_, loaded[place], sums[r])
            for r, total in enumerate(sums):
                e.store(total, e.gep(self.element, sums_at, r * lanes), 4)
            places = [
                e.gep(STORAGE_TYPE[dtype], start, column.index) if kind == "1" else start
                for (dtype, kind), start in zip(spec.windows, starts, strict=True)
            ]
            for (dtype, kind), start, step in zip(spec.windows, places, steps, strict=True):
                for r in range(self.rows, 2 * self.rows):  # what the next rows will write and read
                    if kind == "1":
                        prefetch(e, e.gep(STORAGE_TYPE[dtype], start, e.mul(step, r)))
            left = e.sub(stop, column.index)
            whole = e.icmp("sge", left, e.i64(lanes))
            for complete in (True, False):
                with e.when(whole if complete else v.invert(e, whole)):
                    mask = None if complete else v.below(e, left, lanes)
                    lines.write(e, self.target, spec, (sums_at, lanes), places, steps, count, mask, self.dtype)


class _Weight(_Part):
    """The gradient of the window of one output channel."""

    def emit(self, name: str) -> None:
        e, lanes = self.e, self.lanes
        scratch = Operand("ptr", "%scratch")
        x, g = self.address("x"), self.address("g")
        kh, kw = self.taps
        places = -(-kh * kw // lanes) * lanes
        totals = e.gep("i8", scratch, self.p("at_totals"))
        sums_at = e.gep("i8", scratch, self.p("at_sums"))
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as channel:
            with e.loop(e.i64(0), e.i64(places * lanes), lanes) as place:
                e.store(e.const(vector("double", lanes), 0), e.gep("double", totals, place.index), 8)
            plane_ = e.mul(e.bin("udiv", channel.index, self.p("many")), self.p("x_c"))
            with e.loop(e.i64(0), self.p("images")) as image:
                source = e.gep(self.stored, x, e.add(plane_, e.mul(image.index, self.p("x_n"))))
                at = e.add(e.mul(image.index, self.p("g_n")), e.mul(channel.index, self.p("g_c")))
                gradient = e.gep(self.stored, g, at)
                with e.loop(e.i64(0), self.p("bands")) as band:
                    first = e.mul(band.index, self.p("band"))
                    count = v.least(e, self.p("band"), e.sub(self.p("R"), first))
                    seen = e.add(e.mul(e.sub(count, 1), self.stride[0]), self.dilation[0] * (kh - 1) + 1)
                    top = e.mul(first, self.stride[0])
                    e.raw(f"call void @{name}.fill(ptr %params, {source}, {top}, {seen}, {scratch})")
                    lines_ = e.gep(self.stored, gradient, e.mul(first, self.p("g_h")))
                    for group in self.groups():
                        self.band(lines_, count, group, sums_at)
                    self.fold(sums_at, totals)
            self.across(totals)
            self.finish(channel.index, totals, sums_at)

    def groups(self) -> list[list[Pair]]:
        """The taps that are summed in one visit: as many as registers hold."""
        every = [(a, b) for a in range(self.taps[0]) for b in range(self.taps[1])]
        most = max(self.target.registers - 6, 8)
        return [every[i : i + most] for i in range(0, len(every), most)]

    def band(self, gradient: Operand, count: Operand, taps: list[Pair], sums_at: Operand) -> None:
        e, lanes = self.e, self.lanes
        zeros = [e.const(self.wide, 0)] * len(taps)
        lowest = min(a for a, _ in taps)
        used = (max(a for a, _ in taps) - lowest) * self.dilation[0] + 1
        with e.loop(e.i64(0), count, carry=zeros) as row:
            start = e.add(e.mul(row.index, self.stride[0]), lowest * self.dilation[0])
            start = e.gep(self.element, Operand("ptr", "%scratch"), e.mul(start, self.p("row")))
            rows = [e.gep(self.element, start, e.mul(self.p("row"), i)) if i else start for i in range(used)]
            line = e.gep(self.stored, gradient, e.mul(row.index, self.p("g_h")))
            with e.loop(e.i64(0), self.p("S"), lanes, carry=row.carried) as column:
                mask = v.below(e, e.sub(self.p("S"), column.index), lanes)
                at = e.gep(self.stored, line, column.index)
                prefetch(e, e.gep("i8", at, AHEAD_BYTES))
                raw = v.masked_load(e, storage_type(self.dtype, lanes), at, mask)
                value = from_storage(e, self.dtype, raw)
                for (a, b), total in zip(taps, column.carried, strict=True):
                    place = self.tap(0, a - lowest, b)
                    seen = self.at_tap(rows, *place, column.index)
                    column.next.append(multiply_add(e, self.target, value, seen, total))
            row.next = column.carried
        for (a, b), total in zip(taps, row.carried, strict=True):
            e.store(total, e.gep(self.element, sums_at, (a * self.taps[1] + b) * lanes), 4)

    def fold(self, sums_at: Operand, totals: Operand) -> None:
        """Add the sums of a plane to the totals of each tap and lane."""
        e, lanes = self.e, self.lanes
        kind = vector("double", lanes)
        with e.loop(e.i64(0), e.i64(self.taps[0] * self.taps[1])) as tap:
            at = e.mul(tap.index, lanes)
            place = e.gep("double", totals, at)
            value = e.cast("fpext", e.load(self.wide, e.gep(self.element, sums_at, at), 4), "double")
            e.store(e.bin("fadd", e.load(kind, place, 8), value), place, 8)

    def across(self, totals: Operand) -> None:
        """The lanes of each tap added up, in the place of the first taps."""
        e, lanes = self.e, self.lanes
        with e.loop(e.i64(0), e.i64(self.taps[0] * self.taps[1])) as tap:
            start = e.gep("double", totals, e.mul(tap.index, lanes))
            with e.loop(e.i64(0), e.i64(lanes), carry=[e.const("double", 0)]) as lane:
                lane.next = [e.bin("fadd", lane.carried[0], e.load("double", e.gep("double", start, lane.index), 8))]
            e.store(lane.carried[0], e.gep("double", totals, tap.index), 8)

    def finish(self, channel: Operand, totals: Operand, sums_at: Operand) -> None:
        e, lanes, spec = self.e, self.lanes, self.spec
        count = self.taps[0] * self.taps[1]
        for first in range(0, count, lanes):
            values = e.load(vector("double", lanes), e.gep("double", totals, first), 8)
            e.store(e.cast("fptrunc", values, self.element), sums_at, 4)
            places = []
            for i, (dtype, kind) in enumerate(spec.windows):
                at = e.add(self.window(i, "offset"), e.mul(channel, self.window(i, "image")))
                base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), self.window(i, "slot")), 8)
                places.append(e.gep(STORAGE_TYPE[dtype], base, e.add(at, first) if kind == "1" else at))
            mask = None if first + lanes <= count else v.below(e, e.i64(count - first), lanes)
            steps = [e.i64(0)] * len(places)
            lines.write(e, self.target, spec, (sums_at, 0), places, steps, e.i64(1), mask, self.dtype)
