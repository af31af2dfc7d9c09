"""The weight's gradient of convolutions by 3×3 windows, through the same tiles as ``winograd``.

With ``y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A`` the gradient of w is ``Gᵀ [Σ (A g Aᵀ) ⊙ (Bᵀ d B)] G`` over all tiles: sixteen
products of output channels by input channels in which the tiles are summed over.

* A block of the first kernel takes a part of the tiles (the number of parts follows from the extents) and some output
  channels. As many tiles at a time as a register tile has columns, it transforms inputs and gradients and adds to
  ``sums[group][part][place][panel of rows][panel of columns]``, each a tile of registers.
* The second adds up the parts, transforms back and applies the epilogue.

An input or gradient that is infinite makes gradients nan, where the plain sum may be infinite.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING

from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction import lines, winograd
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.microkernel import multiply_add
from luchina.compiler.contraction.winograd import (
    DTYPES,
    IMAGE,
    LANE,
    OUT_COLUMN,
    OUT_ROW,
    RECORD,
    ROWS,
    SHAPE,
    VECTORS,
    WINDOW,
    Params,
    Tiles,
    aligned,
    names,
    shuffle,
)
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, module
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target

LEAST_CHANNELS = 20
LEAST_TILES = 300
PARTS = 16
BLOCK_COUNT = 4
SUMS_BYTES = 9 << 20  # of all parts together


def fits(
    x: Window, g: Window, outs: Sequence[Window], epilogue: Epilogue, shape: tuple[int, ...], out: int, channels: int
) -> bool:
    """Whether the gradient goes this way; ``shape`` is (images, rows, columns) of g."""
    images, rows, columns = shape
    tiles = images * ceil(rows / 2) * ceil(columns / 2)
    return (
        x.dtype in DTYPES
        and min(out, channels) >= LEAST_CHANNELS
        and 64 * out * channels <= SUMS_BYTES // 2
        and tiles >= LEAST_TILES
        and columns >= 3
        and x.strides[3] == g.strides[3] == 1
        and all(w.strides[1:] == (9, 3, 1) for w in outs)
        and all(w.strides[1:] in ((9, 3, 1), (0, 0, 0)) for w in epilogue.operands)
    )


def weight(
    x: Window,
    g: Window,
    outs: Sequence[Window],
    epilogue: Epilogue,
    sizes: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]],
    padding: tuple[int, int],
    target: Target,
    temporary: Callable[[int], int],
) -> list[Call]:
    """The calls: x (N, C, H, W), g (N, O, R, S), outs and the epilogue's operands (O, C, 3, 3) of each group.

    Args:
        sizes: (images, H, W), (images, R, S) and (groups, O, C) with the channels of one group.
        padding: before the first row and column.
    """
    (images, height, width), (_, rows, columns), (groups, out, channels) = sizes
    lanes = target.lanes("float32")
    mr, nr = ROWS[target.name], VECTORS * lanes
    t_rows, t_columns = ceil(rows / 2), ceil(columns / 2)
    tiles = images * t_rows * t_columns
    tile_blocks, panels, c_panels = ceil(tiles / nr), ceil(out / mr), ceil(channels / nr)
    sums = 16 * panels * c_panels * mr * nr
    parts = max(1, min(PARTS, tile_blocks, SUMS_BYTES // (sums * 4)))
    part_blocks = ceil(tile_blocks / parts)
    parts = ceil(tile_blocks / part_blocks)
    row_parts = max(1, min(panels, ceil(BLOCK_COUNT / (parts * groups))))
    part_panels = ceil(panels / row_parts)
    row_parts = ceil(panels / part_panels)
    v_plane, t_plane = channels * nr + nr, c_panels * nr * nr + nr
    g_plane = panels * mr * nr + nr
    slot = temporary(groups * parts * sums * 4)
    at_v = aligned((nr + 1) * RECORD * 8 + 8)
    at_t = aligned(at_v + (16 * v_plane + nr * nr) * 4)
    at_g = aligned(at_t + 16 * t_plane * 4)
    at_zeros = aligned(at_g + 16 * g_plane * 4)
    numbers = {
        **dict.fromkeys(SHAPE, 0),
        **{"C": channels, "O": out, "H": height, "W": width, "R": rows, "S": columns},
        **{"t_rows": t_rows, "t_columns": t_columns, "tiles": tiles, "top": padding[0], "left": padding[1]},
        **{"tile_blocks": tile_blocks, "parts": parts, "part_blocks": part_blocks, "panels": panels},
        **{"part_panels": part_panels, "c_panels": c_panels, "v_plane": v_plane, "t_plane": t_plane},
        **{"g_plane": g_plane, "u_slot": slot, "sums": sums // 16, "sums_part": sums},
        **{"at_v": at_v, "at_t": at_t, "at_g": at_g, "at_zeros": at_zeros},
        **{"x_slot": x.slot, "x_offset": x.offset, "x_batch": channels * x.strides[1]},
        **dict(zip(("x_n", "x_c", "x_h"), x.strides, strict=False)),
        **{"g_slot": g.slot, "g_offset": g.offset, "g_batch": out * g.strides[1]},
        **dict(zip(("g_n", "g_c", "g_h"), g.strides, strict=False)),
    }
    spec = lines.spec_of((mr, x.dtype), outs, epilogue)
    windows = [*epilogue.operands, *outs]
    flops = 2 * groups * out * channels * images * rows * columns * 9
    first = Call(
        _sums_kernel(mr, x.dtype),
        [numbers[name] for name in SHAPE],
        groups * parts * row_parts,
        aligned(at_zeros + 4 * lanes * 4),
        flops / 100 + 100.0,
        tuple(dict.fromkeys((x.slot, g.slot))),
        (slot,),
        flops,
    )
    for i, window in enumerate(windows):
        values = (window.slot, window.offset, out * window.strides[0], window.strides[0], 0, 0)
        numbers |= {f"w{i}_{what}": value for what, value in zip(WINDOW, values, strict=True)}
    last = Call(
        _back_kernel(spec),
        [numbers[name] for name in names(len(windows))],
        groups * out,
        aligned(c_panels * nr * 9 * 4),
        groups * parts * sums / 8 + 100.0,
        tuple(dict.fromkeys([slot, *(w.slot for w in epilogue.operands)])),
        tuple(dict.fromkeys(w.slot for w in outs)),
    )
    return [first, last]


@functools.lru_cache(8)
def _sums_kernel(mr: int, dtype: str) -> Kernel:
    key = f"winograd weight sums {mr} {dtype}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: _emit_sums(mr, dtype, target, name))


@functools.lru_cache(1024)
def _back_kernel(spec: lines.Spec) -> Kernel:
    key = f"winograd weight {spec}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: _emit_back(spec, target, name))


# ---- sums over tiles


def _emit_sums(mr: int, dtype: str, target: Target, name: str) -> str:
    writer = _Sums(lines.Spec((mr, dtype), (), (), None), target, name)  # type: ignore[arg-type]
    parts = {
        "segments": (writer.segments, "ptr %params, i64 %first, ptr %segments"),
        "input": (writer.input, "ptr %params, ptr %x, ptr %segments, ptr %zeros, ptr %v"),
        "turn": (writer.turn, "ptr %params, ptr %v, ptr %t"),
        "gradient": (writer.gradient, "ptr %params, ptr %g, ptr %segments, ptr %zeros, i64 %first, i64 %stop, ptr %to"),
        "micro": (writer.micro, "ptr %a, ptr %b, ptr %c, i1 %fresh"),
    }
    return winograd.assembled(writer, parts, name, target)


class _Sums(Tiles):
    def driver(self) -> None:
        e, p, nr = self.e, self.p, self.nr
        mr = int(self.spec.sizes[0])
        params, table, scratch = (Operand("ptr", f"%{x}") for x in ("params", "table", "scratch"))
        at = {x: e.gep("i8", scratch, p[f"at_{x}"]) for x in ("v", "t", "g", "zeros")}
        x, g, u = (e.load("ptr", e.gep("ptr", table, p[slot]), 8) for slot in ("x_slot", "g_slot", "u_slot"))
        for i in range(4):
            e.store(e.const(self.wide, 0), e.gep("float", at["zeros"], i * self.lanes), 4)
        row_parts = e.bin("udiv", e.add(p["panels"], e.sub(p["part_panels"], 1)), p["part_panels"])
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
            number = e.bin("udiv", block.index, row_parts)
            panel = e.mul(e.sub(block.index, e.mul(number, row_parts)), p["part_panels"])
            panel_stop = v.least(e, e.add(panel, p["part_panels"]), p["panels"])
            group = e.bin("udiv", number, p["parts"])
            start = e.mul(e.sub(number, e.mul(group, p["parts"])), p["part_blocks"])
            stop = v.least(e, e.add(start, p["part_blocks"]), p["tile_blocks"])
            image = e.gep(self.stored, x, e.add(p["x_offset"], e.mul(group, p["x_batch"])))
            gradient = e.gep(self.stored, g, e.add(p["g_offset"], e.mul(group, p["g_batch"])))
            sums = e.gep("float", u, e.mul(number, p["sums_part"]))
            with e.loop(start, stop) as tiles:
                first = e.mul(tiles.index, nr)
                fresh = e.icmp("eq", tiles.index, start)
                self.call("segments", params, first, scratch)
                self.call("input", params, image, scratch, at["zeros"], at["v"])
                self.call("turn", params, at["v"], at["t"])
                rows = e.mul(panel, mr), v.least(e, e.mul(panel_stop, mr), p["O"])
                self.call("gradient", params, gradient, scratch, at["zeros"], *rows, at["g"])
                with e.loop(e.i64(0), e.i64(16)) as place:
                    left = e.gep("float", at["g"], e.mul(place.index, p["g_plane"]))
                    right = e.gep("float", at["t"], e.mul(place.index, p["t_plane"]))
                    to = e.gep("float", sums, e.mul(place.index, p["sums"]))
                    with e.loop(e.i64(0), p["c_panels"]) as column, e.loop(panel, panel_stop) as row:
                        a = e.gep("float", left, e.mul(row.index, mr * nr))
                        b = e.gep("float", right, e.mul(column.index, nr * nr))
                        c = e.add(e.mul(row.index, p["c_panels"]), column.index)
                        self.call("micro", a, b, e.gep("float", to, e.mul(c, mr * nr)), fresh)

    def turn(self) -> None:
        """``t[place][panel][tile][channel]`` of ``v[place][channel][tile]``; channels beyond the last are not used."""
        e, p, lanes, nr = self.e, self.p, self.lanes, self.nr
        with e.loop(e.i64(0), e.i64(16)) as place:
            source = e.gep("float", Operand("ptr", "%v"), e.mul(place.index, p["v_plane"]))
            to = e.gep("float", Operand("ptr", "%t"), e.mul(place.index, p["t_plane"]))
            with e.loop(e.i64(0), p["C"], lanes) as channel:
                here = e.gep("float", source, e.mul(channel.index, nr))
                panel = e.bin("udiv", channel.index, e.i64(nr))
                at = e.add(e.mul(panel, nr * nr), e.sub(channel.index, e.mul(panel, nr)))
                there = e.gep("float", to, at)
                for j in range(VECTORS):
                    rows = [e.load(self.wide, e.gep("float", here, i * nr + j * lanes), 4) for i in range(lanes)]
                    for i, column in enumerate(v.transpose(e, rows)):
                        e.store(column, e.gep("float", there, (j * lanes + i) * nr), 4)

    def gradient(self) -> None:
        """``A g Aᵀ`` of the rows ``first … stop``: ``to[place][row][tile]``."""
        e = self.e
        with e.loop(*self.each_segment()) as segment:
            field = self.record(segment.index)
            for tiles, mask in self.cases(field):
                self.segment_gradient(field, tiles, mask)

    def segment_gradient(self, field: Callable[[int], Operand], tiles: int, mask: Operand | None) -> None:
        e, p, lanes = self.e, self.p, self.lanes
        starts = (0,) if tiles < lanes else (0, lanes)
        column, row = field(OUT_COLUMN), field(OUT_ROW)
        left = e.sub(p["S"], column)
        masks = [v.below(e, e.sub(left, start) if start else left, lanes) for start in starts]
        first = Operand("i64", "%first")
        at = e.add(e.mul(field(IMAGE), p["g_n"]), e.add(e.mul(row, p["g_h"]), column))
        source = e.gep(self.stored, Operand("ptr", "%g"), e.add(at, e.mul(first, p["g_c"])))
        rows, steps = [], []
        for i in range(2):
            valid = e.icmp("ult", e.add(row, i), p["R"])
            here = e.gep(self.stored, source, p["g_h"]) if i else source
            rows.append(e.select(valid, here, Operand("ptr", "%zeros")))
            steps.append(e.select(valid, p["g_c"], e.i64(0)))
        to = e.gep("float", Operand("ptr", "%to"), e.add(field(LANE), e.mul(first, self.nr)))
        plane = p["g_plane"]
        even, odd = [list(range(start, 2 * tiles, 2)) for start in (0, 1)]
        with e.loop(first, Operand("i64", "%stop"), carry=[to, *rows]) as channel:
            to, *rows = channel.carried
            seen = [
                _spread(e, [self.masked_load(e.gep(self.stored, r, start), inside) for r in rows])
                for start, inside in zip(starts, masks, strict=True)
            ]
            at_place = to
            for i in range(4):
                pair = seen[0][i], seen[-1][i]
                for value in _spread(e, [shuffle(e, *pair, order) for order in (even, odd)]):
                    v.masked_store(e, value, at_place, mask) if mask else e.store(value, at_place, 4)
                    at_place = e.gep("float", at_place, plane)
            following = [e.gep(self.stored, r, step) for r, step in zip(rows, steps, strict=True)]
            channel.next = [e.gep("float", to, self.nr), *following]

    def micro(self) -> None:
        """Add ``sum_t a[row][t] · b[t][lane]`` to a tile of sums, or set it."""
        e, lanes, nr = self.e, self.lanes, self.nr
        mr = int(self.spec.sizes[0])
        a, b, c = (Operand("ptr", f"%{x}") for x in "abc")
        with e.loop(e.i64(0), e.i64(nr), carry=[e.const(self.wide, 0)] * (mr * VECTORS)) as loop:
            left, right = e.gep("float", a, loop.index), e.gep("float", b, e.mul(loop.index, nr))
            vectors = [e.load(self.wide, e.gep("float", right, j * lanes), 4) for j in range(VECTORS)]
            for m in range(mr):
                one = e.splat(e.load("float", e.gep("float", left, m * nr), 4), lanes)
                loop.next += [
                    multiply_add(e, self.target, one, vectors[j], loop.carried[m * VECTORS + j]) for j in range(VECTORS)
                ]
        places = [e.gep("float", c, i * lanes) for i in range(mr * VECTORS)]
        fresh = Operand("i1", "%fresh")
        with e.when(fresh):
            for total, place in zip(loop.carried, places, strict=True):
                e.store(total, place, 4)
        with e.when(v.invert(e, fresh)):
            for total, place in zip(loop.carried, places, strict=True):
                e.store(e.bin("fadd", e.load(self.wide, place, 4), total), place, 4)


def _spread(e: Emitter, g: Sequence[Operand]) -> list[Operand]:
    """A g."""
    return [g[0], e.bin("fadd", g[0], g[1]), e.bin("fsub", g[0], g[1]), e.inst(g[1].type, f"fneg {g[1]}")]


def _three(e: Emitter, u: Sequence[Operand]) -> list[Operand]:
    """Gᵀ u."""
    half = e.const(u[0].type, 0.5)
    both = e.bin("fmul", half, e.bin("fadd", u[1], u[2]))
    return [
        e.bin("fadd", u[0], both),
        e.bin("fmul", half, e.bin("fsub", u[1], u[2])),
        e.bin("fadd", both, u[3]),
    ]


# ---- back to windows


def _emit_back(spec: lines.Spec, target: Target, name: str) -> str:
    """A block is one output channel: ``row[channel][tap]`` in scratch, then the epilogue."""
    e = Emitter()
    p = Params(e, len(spec.windows))
    mr, lanes = int(spec.sizes[0]), target.lanes("float32")
    nr, wide = VECTORS * lanes, f"<{lanes} x float>"
    table, scratch = Operand("ptr", "%table"), Operand("ptr", "%scratch")
    sums = e.load("ptr", e.gep("ptr", table, p["u_slot"]), 8)
    with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
        group = e.bin("udiv", block.index, p["O"])
        row = e.sub(block.index, e.mul(group, p["O"]))
        panel = e.bin("udiv", row, e.i64(mr))
        start = e.mul(e.mul(panel, p["c_panels"]), mr * nr)
        start = e.add(start, e.mul(e.sub(row, e.mul(panel, mr)), nr))
        start = e.add(start, e.mul(e.mul(group, p["parts"]), p["sums_part"]))
        with e.loop(e.i64(0), p["C"], lanes) as channel:
            column = e.bin("udiv", channel.index, e.i64(nr))
            at = e.add(e.mul(column, mr * nr), e.sub(channel.index, e.mul(column, nr)))
            here = e.gep("float", sums, e.add(start, at))
            with e.loop(e.i64(0), p["parts"], carry=[e.const(wide, 0)] * 16) as part:
                place = e.gep("float", here, e.mul(part.index, p["sums_part"]))
                for total in part.carried:
                    part.next.append(e.bin("fadd", total, e.load(wide, place, 4)))
                    place = e.gep("float", place, p["sums"])
            columns = [_three(e, part.carried[b::4]) for b in range(4)]
            offsets = e.mul(v.counting(e, channel.index, lanes), e.const(f"<{lanes} x i64>", 9))
            for i in range(3):
                for j, value in enumerate(_three(e, [column[i] for column in columns])):
                    to = v.addresses(e, "float", e.gep("float", scratch, i * 3 + j), offsets)
                    v.scatter(e, value, to, None)
        places = []
        for i, (dtype, _) in enumerate(spec.windows):
            at = e.add(p[f"w{i}_offset"], e.mul(group, p[f"w{i}_batch"]))
            base = e.load("ptr", e.gep("ptr", table, p[f"w{i}_slot"]), 8)
            places.append(e.gep(STORAGE_TYPE[dtype], base, e.add(at, e.mul(row, p[f"w{i}_m"]))))
        count = e.mul(p["C"], 9)
        with e.loop(e.i64(0), count, lanes) as element:
            left = e.sub(count, element.index)
            whole = e.icmp("sge", left, e.i64(lanes))
            here_ = [
                e.gep(STORAGE_TYPE[dtype], place, element.index) if kind == "1" else place
                for (dtype, kind), place in zip(spec.windows, places, strict=True)
            ]
            source = e.gep("float", scratch, element.index)
            for complete in (True, False):
                with e.when(whole if complete else v.invert(e, whole)):
                    mask = None if complete else v.below(e, left, lanes)
                    steps = [e.i64(0)] * len(here_)
                    lines.write(e, target, spec, (source, 0), here_, steps, e.i64(1), mask)
    return module([e.function(name)], e.declarations, target.triple)
