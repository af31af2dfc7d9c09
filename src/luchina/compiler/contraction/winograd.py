"""Convolutions by 3×3 windows with 16 multiplications for four results instead of 36: Winograd's F(2×2, 3×3).

An output tile of 2×2 is ``Aᵀ [Σ_c (G w Gᵀ) ⊙ (Bᵀ d B)] A`` of the 4×4 inputs ``d`` that it sees: sixteen products, one
for each place of the transformed tile, with channels summed over and tiles side by side as columns.

* A first kernel transforms the weights, once for a call: ``u[group][panel of rows][place][channel][row]``.
* A block of the second takes as many tiles as a register tile has columns: it transforms their inputs, in scratch
  (``v[place][channel][tile]``), then for each panel of output channels multiplies, transforms back and applies the
  epilogue.

Tiles of a block come in *segments*: neighbours in one row of one image, within one vector of columns.

Sums are made in chains of ``CHAIN`` channels, so that rounding errors are those of the plain sum. The transforms add up
inputs that a result does not depend on; where that made something infinite or nan, the panel is summed directly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from luchina.compiler.body import from_storage, load_value, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction import lines
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.microkernel import multiply_add
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, module, vector
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target

# Rows of a register tile; it is two vectors wide.
ROWS = {"avx512": 8, "avx2": 6, "sse2": 4, "neon": 8}
VECTORS = 2

# Channels that are summed one after the other.
CHAIN = 32

# What is read and written; all that is computed is float32.
DTYPES = ("float32", "float16", "bfloat16")

# Fewer channels on either side, or fewer tiles, do not repay the transforms.
LEAST_CHANNELS = 16
LEAST_TILES = 48

# A contraction should have so many blocks; its output channels are divided for that, which transforms inputs again.
BLOCK_COUNT = 8

RECORD = 8  # numbers of a segment:
BASE, ROW, COLUMN, LANE, COUNT, IMAGE, OUT_ROW, OUT_COLUMN = range(RECORD)
NOWHERE = 1 << 30  # the row of tiles that do not exist

SHAPE = (
    *("C", "O", "H", "W", "R", "S", "t_rows", "t_columns", "tiles", "top", "left"),
    *("tile_blocks", "parts", "part_panels", "panels", "u_plane", "v_plane"),
    *("u_slot", "at_v", "at_m", "at_y", "at_zeros"),
    *("x_slot", "x_offset", "x_batch", "x_n", "x_c", "x_h"),
    *("w_slot", "w_offset", "w_batch", "w_o", "w_c", "w_h", "w_w"),
    *("g_slot", "g_offset", "g_batch", "g_n", "g_c", "g_h", "g_plane", "t_plane", "c_panels"),
    *("at_t", "at_g", "at_row", "part_blocks", "sums", "sums_part"),
)
WINDOW = ("slot", "offset", "batch", "m", "image", "row")


class Params:
    def __init__(self, e: Emitter, windows: int) -> None:
        self.e = e
        self.places = {name: i for i, name in enumerate(names(windows))}

    def __getitem__(self, name: str) -> Operand:
        return self.e.load("i64", self.e.gep("i64", Operand("ptr", "%params"), self.places[name]), 8)


def names(windows: int) -> list[str]:
    return [*SHAPE, *(f"w{i}_{what}" for i in range(windows) for what in WINDOW)]


# ---- planning


def fits(
    x: Window, outs: Sequence[Window], epilogue: Epilogue, shape: tuple[int, ...], channels: int, out: int
) -> bool:
    """Whether a convolution of stride 1 by 3×3 goes this way; ``shape`` is (images, rows, columns) of the result."""
    images, rows, columns = shape
    tiles = images * ceil(rows / 2) * ceil(columns / 2)
    return (
        x.dtype in DTYPES
        and min(channels, out) >= LEAST_CHANNELS
        and tiles >= LEAST_TILES
        and columns >= 3
        and x.strides[3] == 1
        and lines.fit(outs, epilogue)
    )


def conv(
    x: Window,
    w: Window,
    w_batch: int,
    outs: Sequence[Window],
    epilogue: Epilogue,
    sizes: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]],
    padding: tuple[int, int],
    groups: int,
    target: Target,
    temporary: Callable[[int], int],
) -> list[Call]:
    """The calls of a convolution: x (N, C, H, W) with weights (O, C, 3, 3) of each group.

    Args:
        w_batch: from one group's weights to the next.
        sizes: (images, H, W), (images, R, S) of the result, and (groups, O, C) with the channels of one group.
        padding: before the first row and column; negative where some are left out.
    """
    (images, height, width), (_, rows, columns), (_, out, channels) = sizes
    lanes = target.lanes("float32")
    mr, nr = ROWS[target.name], VECTORS * lanes
    t_rows, t_columns = ceil(rows / 2), ceil(columns / 2)
    tiles = images * t_rows * t_columns
    tile_blocks, panels = ceil(tiles / nr), ceil(out / mr)
    parts = max(1, min(ceil(BLOCK_COUNT / (tile_blocks * groups)), panels // 8))
    part_panels = ceil(panels / parts)
    parts = ceil(panels / part_panels)
    # Planes a multiple of 4096 bytes apart would share a few lines of the first cache.
    u_plane, v_plane = channels * mr + 16, channels * nr + nr
    u_slot = temporary(groups * panels * 16 * u_plane * 4)
    at_v = aligned((nr + 1) * RECORD * 8 + 8)
    at_m = aligned(at_v + 16 * v_plane * 4)
    at_y = aligned(at_m + 16 * mr * nr * 4)
    at_zeros = aligned(at_y + mr * 4 * nr * 4)
    numbers = {
        **dict.fromkeys(SHAPE, 0),
        **{"C": channels, "O": out, "H": height, "W": width, "R": rows, "S": columns},
        **{"t_rows": t_rows, "t_columns": t_columns, "tiles": tiles, "top": padding[0], "left": padding[1]},
        **{"tile_blocks": tile_blocks, "parts": parts, "part_panels": part_panels, "panels": panels},
        **{"u_plane": u_plane, "v_plane": v_plane, "u_slot": u_slot},
        **{"at_v": at_v, "at_m": at_m, "at_y": at_y, "at_zeros": at_zeros},
        **{"x_slot": x.slot, "x_offset": x.offset, "x_batch": channels * x.strides[1]},
        **dict(zip(("x_n", "x_c", "x_h"), x.strides, strict=False)),
        **{"w_slot": w.slot, "w_offset": w.offset, "w_batch": w_batch},
        **dict(zip(("w_o", "w_c", "w_h", "w_w"), w.strides, strict=True)),
    }
    spec = lines.spec_of((mr, x.dtype), outs, epilogue)
    windows = [*epilogue.operands, *outs]
    for i, window in enumerate(windows):
        image, channel, row, _ = window.strides
        values = (window.slot, window.offset, out * channel, channel, image, row)
        numbers |= {f"w{i}_{what}": value for what, value in zip(WINDOW, values, strict=True)}
    chunks = ceil(channels / CHAIN)
    first = Call(
        _weights_kernel(mr, w.dtype, _tap_order(w)),
        [numbers[name] for name in SHAPE],
        groups * panels * chunks,
        0,
        groups * out * channels * 6.0,
        (w.slot,),
        (u_slot,),
    )
    flops = 2 * groups * out * channels * images * rows * columns * 9
    main = Call(
        _main_kernel(spec),
        [numbers[name] for name in names(len(windows))],
        groups * tile_blocks * parts,
        aligned(at_zeros + 4 * lanes * 4),
        flops / 100 + 100.0,
        tuple(dict.fromkeys([x.slot, w.slot, u_slot, *(o.slot for o in epilogue.operands)])),
        tuple(dict.fromkeys(o.slot for o in outs)),
        flops,
    )
    return [first, main]


def aligned(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


def _tap_order(w: Window) -> int:
    """1 where the taps of a window lie one after the other, -1 where they do backwards, else 0."""
    return {(3, 1): 1, (-3, -1): -1}.get((w.strides[2], w.strides[3]), 0)


@functools.lru_cache(8)
def _weights_kernel(mr: int, dtype: str, order: int) -> Kernel:
    key = f"winograd weights {mr} {dtype} {CHAIN} {order}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: _emit_weights(mr, dtype, order, target, name))


@functools.lru_cache(1024)
def _main_kernel(spec: lines.Spec) -> Kernel:
    key = f"winograd {spec}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: _emit_main(spec, target, name))


# ---- arithmetic of the transforms


def four(e: Emitter, d: Sequence[Operand]) -> list[Operand]:
    """Bᵀ d."""
    return [e.bin("fsub", d[0], d[2]), e.bin("fadd", d[1], d[2]), e.bin("fsub", d[2], d[1]), e.bin("fsub", d[1], d[3])]


def _spread(e: Emitter, g: Sequence[Operand]) -> list[Operand]:
    """G g."""
    half = e.const(g[0].type, 0.5)
    ends = e.bin("fadd", g[0], g[2])
    return [
        g[0],
        e.bin("fmul", half, e.bin("fadd", ends, g[1])),
        e.bin("fmul", half, e.bin("fsub", ends, g[1])),
        g[2],
    ]


def _two(e: Emitter, m: Sequence[Operand]) -> tuple[Operand, Operand]:
    """Aᵀ m."""
    first = e.bin("fadd", m[0], e.bin("fadd", m[1], m[2]))
    return first, e.bin("fsub", e.bin("fsub", m[1], m[2]), m[3])


def shuffle(e: Emitter, a: Operand, b: Operand, order: list[int]) -> Operand:
    mask = ", ".join(f"i32 {i}" for i in order)
    wide = vector("float", len(order))
    return e.inst(wide, f"shufflevector {a}, {b}, <{len(order)} x i32> <{mask}>")


# ---- the weights


def _emit_weights(mr: int, dtype: str, order: int, target: Target, name: str) -> str:
    e = Emitter()
    p = Params(e, 0)
    lanes = 1 << (mr - 1).bit_length()
    mask = None if lanes == mr else v.below(e, e.i64(mr), lanes)
    table = Operand("ptr", "%table")
    weights, to = (e.load("ptr", e.gep("ptr", table, p[at]), 8) for at in ("w_slot", "u_slot"))
    chunks = e.bin("udiv", e.add(p["C"], CHAIN - 1), e.i64(CHAIN))
    with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
        panel = e.bin("udiv", block.index, chunks)
        c = e.mul(e.sub(block.index, e.mul(panel, chunks)), CHAIN)
        stop = v.least(e, e.add(c, CHAIN), p["C"])
        group = e.bin("udiv", panel, p["panels"])
        row = e.mul(e.sub(panel, e.mul(group, p["panels"])), mr)
        base = e.gep(STORAGE_TYPE[dtype], weights, e.add(p["w_offset"], e.mul(group, p["w_batch"])))
        final = e.sub(p["O"], 1)
        rows = [e.mul(v.least(e, e.add(row, i), final), p["w_o"]) for i in range(lanes)]
        plane = p["u_plane"]
        start = e.gep("float", to, e.mul(e.mul(panel, 16), plane))
        with e.loop(c, stop) as channel:
            here = e.gep(STORAGE_TYPE[dtype], base, e.mul(channel.index, p["w_c"]))
            taps = _taps(e, p, dtype, here, rows, order)
            columns = [_spread(e, taps[j::3]) for j in range(3)]
            at = e.gep("float", start, e.mul(channel.index, mr))
            for i in range(4):
                for value in _spread(e, [column[i] for column in columns]):
                    v.masked_store(e, value, at, mask)
                    at = e.gep("float", at, plane)
    return module([e.function(name)], e.declarations, target.triple)


def _taps(e: Emitter, p: Params, dtype: str, base: Operand, rows: list[Operand], order: int) -> list[Operand]:
    """The nine weights of each row, as vectors over the rows."""
    lanes, stored = len(rows), STORAGE_TYPE[dtype]

    def gathered(tap: int) -> Operand:
        at = e.gep(stored, base, e.add(e.mul(p["w_h"], tap // 3), e.mul(p["w_w"], tap % 3)))
        result = e.const(vector(stored, lanes), 0)
        for lane, row in enumerate(rows):
            result = e.insert(result, e.load(stored, e.gep(stored, at, row), 1), lane)
        return from_storage(e, dtype, result)

    if not order:
        return [gathered(tap) for tap in range(9)]
    # Squares of taps are transposed in registers.
    first = base if order > 0 else e.gep(stored, base, -8)
    taps: list[Operand] = []
    for start in range(0, 9 - lanes + 1, lanes):
        places = [e.gep(stored, e.gep(stored, first, row), start) for row in rows]
        taps += v.transpose(e, [load_value(e, dtype, place, lanes) for place in places])
    taps = taps[::order]
    last = gathered(8 if order > 0 else 0)
    return [*taps, last] if order > 0 else [last, *taps]


# ---- the products


def _emit_main(spec: lines.Spec, target: Target, name: str) -> str:
    writer = _Main(spec, target, name)
    parts = {
        "segments": (writer.segments, "ptr %params, i64 %first, ptr %segments"),
        "input": (writer.input, "ptr %params, ptr %x, ptr %segments, ptr %zeros, ptr %v"),
        "micro": (writer.micro, "ptr %a, ptr %b, i64 %count, ptr %c"),
        "output": (writer.output, "ptr %m, i64 %rows, ptr %y, ptr %flag"),
        "direct": (writer.direct, "ptr %params, ptr %x, ptr %w, ptr %segments, i64 %rows, ptr %y"),
        "write": (
            writer.write,
            "ptr %params, ptr %table, ptr %segments, ptr %y, i64 %group, i64 %first, i64 %rows",
        ),
    }
    return assembled(writer, parts, name, target)


def assembled(writer: Any, parts: dict[str, tuple[Callable[[], None], str]], name: str, target: Target) -> str:
    """The module of a kernel in parts, each a method of ``writer`` with its signature; its driver calls them."""
    functions: list[str] = []
    declarations: dict[str, str] = {}
    for part, (emit, signature) in parts.items():
        e = writer.begin()
        emit()
        text = e.function(f"{name}.{part}", signature)
        functions.append(text.replace("define void", "define internal void", 1))
        declarations |= e.declarations
    e = writer.begin()
    writer.driver()
    functions.append(e.function(name, attributes="nounwind noinline optnone"))
    return module(functions, declarations, target.triple)


class Tiles:
    """The functions that both kernels over tiles have."""

    def __init__(self, spec: lines.Spec, target: Target, name: str) -> None:
        self.spec, self.target, self.name = spec, target, name
        self.dtype: str = spec.sizes[1]
        self.stored = STORAGE_TYPE[self.dtype]
        self.lanes = target.lanes("float32")
        self.wide = vector("float", self.lanes)
        self.nr = VECTORS * self.lanes

    def begin(self) -> Emitter:
        self.e = Emitter()
        self.p = Params(self.e, len(self.spec.windows))
        return self.e

    def call(self, part: str, *args: Operand) -> None:
        self.e.raw(f"call void @{self.name}.{part}({', '.join(map(str, args))})")

    # ---- segments

    def segments(self) -> None:
        """Write the segments of the tiles from ``first`` on; their number comes before them."""
        e, p = self.e, self.p
        to = Operand("ptr", "%segments")
        per_row, per_image = p["t_columns"], e.mul(p["t_columns"], p["t_rows"])
        with e.loop(e.i64(0), e.i64(self.nr), carry=[e.i64(0), e.i64(0)]) as lane:
            tile = e.add(Operand("i64", "%first"), lane.index)
            image = e.bin("udiv", tile, per_image)
            inside = e.sub(tile, e.mul(image, per_image))
            row = e.bin("udiv", inside, per_row)
            column = e.sub(inside, e.mul(row, per_row))
            exists = e.icmp("slt", tile, p["tiles"])
            begins = e.bin("and", e.icmp("eq", column, e.i64(0)), exists)
            begins = e.bin("or", begins, e.icmp("eq", e.bin("and", lane.index, e.i64(self.lanes - 1)), e.i64(0)))
            number, began = lane.carried
            number = e.add(number, e.cast("zext", begins, "i64"))
            began = e.select(begins, lane.index, began)
            record = e.gep("i64", to, e.mul(number, RECORD))
            with e.when(begins):
                out_row, out_column = e.mul(row, 2), e.mul(column, 2)
                first_row, first_column = e.sub(out_row, p["top"]), e.sub(out_column, p["left"])
                base = e.add(e.mul(image, p["x_n"]), e.add(e.mul(first_row, p["x_h"]), first_column))
                numbers = {
                    BASE: base,
                    ROW: e.select(exists, first_row, e.i64(NOWHERE)),
                    COLUMN: first_column,
                    LANE: lane.index,
                    IMAGE: image,
                    OUT_ROW: e.select(exists, out_row, e.i64(NOWHERE)),
                    OUT_COLUMN: out_column,
                }
                for at, value in numbers.items():
                    e.store(value, e.gep("i64", record, at), 8)
            e.store(e.add(e.sub(lane.index, began), 1), e.gep("i64", record, COUNT), 8)
            lane.next = [number, began]
        e.store(lane.carried[0], to, 8)

    def each_segment(self) -> tuple[Operand, Operand]:
        """Bounds of a loop over the segments."""
        e = self.e
        return e.i64(1), e.add(e.load("i64", Operand("ptr", "%segments"), 8), 1)

    def masked_load(self, pointer: Operand, mask: Operand) -> Operand:
        """A vector of inputs, zero where the mask is off."""
        raw = v.masked_load(self.e, storage_type(self.dtype, self.lanes), pointer, mask)
        return from_storage(self.e, self.dtype, raw)

    def record(self, number: Operand) -> Callable[[int], Operand]:
        e = self.e
        at = e.gep("i64", Operand("ptr", "%segments"), e.mul(number, RECORD))
        return lambda field: e.load("i64", e.gep("i64", at, field), 8)

    # ---- inputs

    def input(self) -> None:
        """Transform what the tiles of all segments see: ``v[place][channel][lane]``."""
        e = self.e
        with e.loop(*self.each_segment()) as segment:
            field = self.record(segment.index)
            for tiles, mask in self.cases(field):
                self.segment_input(field, tiles, mask)

    def cases(self, field: Callable[[int], Operand]) -> Iterator[tuple[int, Operand | None]]:
        """Code for half a vector of tiles and for a whole one, and for those that must be masked at the last lane."""
        e = self.e
        count, lane = field(COUNT), field(LANE)
        for tiles in (self.lanes // 2, self.lanes):
            longer = e.icmp("sgt", count, e.i64(self.lanes // 2))
            size = longer if tiles == self.lanes else v.invert(e, longer)
            beyond = e.icmp("sgt", e.add(lane, tiles), e.i64(self.nr))
            for whole in (True, False):
                with e.when(e.bin("and", size, v.invert(e, beyond) if whole else beyond)):
                    yield tiles, None if whole else v.below(e, count, tiles)

    def segment_input(self, field: Callable[[int], Operand], tiles: int, mask: Operand | None) -> None:
        """``tiles`` lanes of a segment, all channels; memory is read from its first column on and from its third."""
        e, p, lanes = self.e, self.p, self.lanes
        starts = (0, 2) if tiles < lanes else (0, lanes, 2, lanes + 2)
        column = e.cast("trunc", field(COLUMN), "i32")
        width = e.splat(e.cast("trunc", p["W"], "i32"), lanes)
        masks = [e.icmp("ult", v.counting(e, e.add(column, start), lanes), width) for start in starts]
        x = e.gep(self.stored, Operand("ptr", "%x"), field(BASE))
        row, x_c = field(ROW), p["x_c"]
        rows, steps = [], []
        for i in range(4):
            valid = e.icmp("ult", e.add(row, i), p["H"])
            rows.append(
                e.select(valid, e.gep(self.stored, x, e.mul(p["x_h"], i)) if i else x, Operand("ptr", "%zeros"))
            )
            steps.append(e.select(valid, x_c, e.i64(0)))
        plane, channels = p["v_plane"], p["C"]
        to = e.gep("float", Operand("ptr", "%v"), field(LANE))
        even, odd = [list(range(first, 2 * tiles, 2)) for first in (0, 1)]
        with e.loop(e.i64(0), channels, carry=[to, *rows]) as channel:
            to, *rows = channel.carried
            seen = []
            for start, inside in zip(starts, masks, strict=True):
                seen.append(four(e, [self.masked_load(e.gep(self.stored, r, start), inside) for r in rows]))
            at = to
            for i in range(4):
                if tiles < lanes:
                    pairs = [(seen[q][i], seen[q][i]) for q in range(2)]
                else:
                    pairs = [(seen[q][i], seen[q + 1][i]) for q in (0, 2)]
                columns = [shuffle(e, *pair, order) for pair in pairs for order in (even, odd)]
                for value in four(e, columns):
                    v.masked_store(e, value, at, mask) if mask else e.store(value, at, 4)
                    at = e.gep("float", at, plane)
            following = [e.gep(self.stored, r, step) for r, step in zip(rows, steps, strict=True)]
            channel.next = [e.gep("float", to, self.nr), *following]


class _Main(Tiles):
    def driver(self) -> None:
        e, p, spec = self.e, self.p, self.spec
        table, scratch = Operand("ptr", "%table"), Operand("ptr", "%scratch")
        at = {x: e.gep("i8", scratch, p[f"at_{x}"]) for x in ("v", "m", "y", "zeros")}
        flag = e.gep("i64", scratch, (self.nr + 1) * RECORD)
        x, w, u = (e.load("ptr", e.gep("ptr", table, p[slot]), 8) for slot in ("x_slot", "w_slot", "u_slot"))
        for i in range(4):
            e.store(e.const(self.wide, 0), e.gep("float", at["zeros"], i * self.lanes), 4)
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
            rest = e.bin("udiv", block.index, p["parts"])
            part = e.sub(block.index, e.mul(rest, p["parts"]))
            group = e.bin("udiv", rest, p["tile_blocks"])
            first = e.mul(e.sub(rest, e.mul(group, p["tile_blocks"])), self.nr)
            image = e.gep(self.stored, x, e.add(p["x_offset"], e.mul(group, p["x_batch"])))
            weights = e.gep(self.stored, w, e.add(p["w_offset"], e.mul(group, p["w_batch"])))
            self.call("segments", Operand("ptr", "%params"), first, scratch)
            self.call("input", Operand("ptr", "%params"), image, scratch, at["zeros"], at["v"])
            panel = e.mul(part, p["part_panels"])
            stop = v.least(e, e.add(panel, p["part_panels"]), p["panels"])
            with e.loop(panel, stop) as panels:
                row = e.mul(panels.index, spec.sizes[0])
                rows = v.least(e, e.sub(p["O"], row), e.i64(spec.sizes[0]))
                number = e.add(e.mul(group, p["panels"]), panels.index)
                start = e.gep("float", u, e.mul(e.mul(number, 16), p["u_plane"]))
                with e.loop(e.i64(0), e.i64(16)) as place:
                    a = e.gep("float", start, e.mul(place.index, p["u_plane"]))
                    b = e.gep("float", at["v"], e.mul(place.index, p["v_plane"]))
                    c = e.gep("float", at["m"], e.mul(place.index, spec.sizes[0] * self.nr))
                    self.call("micro", a, b, p["C"], c)
                self.call("output", at["m"], rows, at["y"], flag)
                with e.when(e.icmp("ne", e.load("i64", flag, 8), e.i64(0))):
                    mine = e.gep(self.stored, weights, e.mul(row, p["w_o"]))
                    self.call("direct", Operand("ptr", "%params"), image, mine, scratch, rows, at["y"])
                self.call("write", Operand("ptr", "%params"), table, scratch, at["y"], group, row, rows)

    # ---- products

    def micro(self) -> None:
        """``c[row][lane] = sum_k a[k][row] · b[k][lane]``, in chains of ``CHAIN``."""
        e, lanes, mr = self.e, self.lanes, self.spec.sizes[0]
        a, b, c = (Operand("ptr", f"%{x}") for x in "abc")
        count = Operand("i64", "%count")
        with e.loop(e.i64(0), count, CHAIN) as chain:
            stop = v.least(e, e.add(chain.index, CHAIN), count)
            with e.loop(chain.index, stop, carry=[e.const(self.wide, 0)] * (mr * VECTORS)) as loop:
                left, right = e.gep("float", a, e.mul(loop.index, mr)), e.gep("float", b, e.mul(loop.index, self.nr))
                vectors = [e.load(self.wide, e.gep("float", right, j * lanes), 4) for j in range(VECTORS)]
                for m in range(mr):
                    one = e.splat(e.load("float", e.gep("float", left, m), 4), lanes)
                    loop.next += [
                        multiply_add(e, self.target, one, vectors[j], loop.carried[m * VECTORS + j])
                        for j in range(VECTORS)
                    ]
            places = [e.gep("float", c, i * lanes) for i in range(mr * VECTORS)]
            name = e.fresh("C")
            e.cond_br(e.icmp("eq", chain.index, e.i64(0)), f"{name}.set", f"{name}.add")
            e.label(f"{name}.set")
            for total, place in zip(loop.carried, places, strict=True):
                e.store(total, place, 4)
            e.br(f"{name}.end")
            e.label(f"{name}.add")
            for total, place in zip(loop.carried, places, strict=True):
                e.store(e.bin("fadd", e.load(self.wide, place, 4), total), place, 4)
            e.br(f"{name}.end")
            e.label(f"{name}.end")

    # ---- results

    def output(self) -> None:
        """``y[row][line][column]`` of the tiles, two columns for each lane; the flag says whether one is not finite."""
        e, lanes, mr = self.e, self.lanes, self.spec.sizes[0]
        zero = e.const(self.wide, 0)
        halves = [[h * lanes // 2 + i // 2 + (i % 2) * lanes for i in range(lanes)] for h in range(2)]
        with e.loop(e.i64(0), Operand("i64", "%rows"), carry=[zero]) as row:
            spoilt = row.carried[0]
            source = e.gep("float", Operand("ptr", "%m"), e.mul(row.index, self.nr))
            to = e.gep("float", Operand("ptr", "%y"), e.mul(row.index, 4 * self.nr))
            for j in range(VECTORS):
                m = [
                    e.load(self.wide, e.gep("float", source, place * mr * self.nr + j * lanes), 4)
                    for place in range(16)
                ]
                columns = [_two(e, m[b::4]) for b in range(4)]
                for line in range(2):
                    pair = _two(e, [column[line] for column in columns])
                    for value in pair:
                        spoilt = multiply_add(e, self.target, value, zero, spoilt)
                    for h, order in enumerate(halves):
                        at = e.gep("float", to, line * 2 * self.nr + (2 * j + h) * lanes)
                        e.store(shuffle(e, *pair, order), at, 4)
            row.next = [spoilt]
        bad = e.fcmp("uno", row.carried[0], row.carried[0])
        e.store(
            e.cast("zext", e.bin("xor", v.every(e, v.invert(e, bad)), e.const("i1", 1)), "i64"),
            Operand("ptr", "%flag"),
            8,
        )

    def direct(self) -> None:
        """The same from the definition."""
        e, p, lanes = self.e, self.p, self.lanes
        x, w = Operand("ptr", "%x"), Operand("ptr", "%w")
        width = e.splat(e.cast("trunc", p["W"], "i32"), lanes)
        with e.loop(e.i64(0), Operand("i64", "%rows")) as row, e.loop(*self.each_segment()) as segment:
            field = self.record(segment.index)
            stop = e.mul(field(COUNT), 2)
            weights = e.gep(self.stored, w, e.mul(row.index, p["w_o"]))
            with e.loop(e.i64(0), e.i64(2)) as line, e.loop(e.i64(0), stop, lanes) as column:
                start = e.add(e.mul(line.index, p["x_h"]), column.index)
                source = e.gep(self.stored, x, e.add(field(BASE), start))
                first = e.cast("trunc", e.add(field(COLUMN), column.index), "i32")
                with e.loop(e.i64(0), p["C"], carry=[e.const(self.wide, 0)]) as channel:
                    total = channel.carried[0]
                    here = e.gep(self.stored, source, e.mul(channel.index, p["x_c"]))
                    tap = e.gep(self.stored, weights, e.mul(channel.index, p["w_c"]))
                    for i in range(3):
                        valid = e.icmp("ult", e.add(e.add(field(ROW), line.index), i), p["H"])
                        for j in range(3):
                            inside = e.icmp("ult", v.counting(e, e.add(first, j), lanes), width)
                            inside = e.bin("and", inside, e.splat(valid, lanes))
                            value = self.masked_load(e.gep(self.stored, here, e.add(e.mul(p["x_h"], i), j)), inside)
                            weight = e.gep(self.stored, tap, e.add(e.mul(p["w_h"], i), e.mul(p["w_w"], j)))
                            one = e.splat(load_value(e, self.dtype, weight), lanes)
                            total = multiply_add(e, self.target, one, value, total)
                    channel.next = [total]
                at = e.add(e.mul(field(LANE), 2), column.index)
                at = e.add(at, e.mul(e.add(e.mul(row.index, 2), line.index), 2 * self.nr))
                mask = v.below(e, e.sub(stop, column.index), lanes)
                v.masked_store(e, channel.carried[0], e.gep("float", Operand("ptr", "%y"), at), mask)

    def write(self) -> None:
        """Apply the epilogue and write the rows of a panel."""
        e, p, spec, lanes = self.e, self.p, self.spec, self.lanes
        first, group = Operand("i64", "%first"), Operand("i64", "%group")
        starts = []
        for i, (dtype, _) in enumerate(spec.windows):
            at = e.add(p[f"w{i}_offset"], e.add(e.mul(group, p[f"w{i}_batch"]), e.mul(first, p[f"w{i}_m"])))
            base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), p[f"w{i}_slot"]), 8)
            starts.append(e.gep(STORAGE_TYPE[dtype], base, at))
        with e.loop(*self.each_segment()) as segment:
            field = self.record(segment.index)
            stop = v.least(e, e.mul(field(COUNT), 2), e.sub(p["S"], field(OUT_COLUMN)))
            two = v.least(e, e.sub(p["R"], field(OUT_ROW)), e.i64(2))
            with e.loop(e.i64(0), two) as line, e.loop(e.i64(0), stop, lanes) as column:
                left = e.sub(stop, column.index)
                bases = []
                for i, ((dtype, kind), start) in enumerate(zip(spec.windows, starts, strict=True)):
                    at = e.mul(field(IMAGE), p[f"w{i}_image"])
                    at = e.add(at, e.mul(e.add(field(OUT_ROW), line.index), p[f"w{i}_row"]))
                    if kind == "1":
                        at = e.add(at, e.add(field(OUT_COLUMN), column.index))
                    bases.append(e.gep(STORAGE_TYPE[dtype], start, at))
                at = e.add(e.mul(line.index, 2 * self.nr), e.add(e.mul(field(LANE), 2), column.index))
                source = e.gep("float", Operand("ptr", "%y"), at)
                whole = e.icmp("sge", left, e.i64(lanes))
                steps = [p[f"w{i}_m"] for i in range(len(spec.windows))]
                rows = Operand("i64", "%rows")
                for complete in (True, False):
                    with e.when(whole if complete else e.bin("xor", whole, e.const("i1", 1))):
                        mask = None if complete else v.below(e, left, lanes)
                        lines.write(e, self.target, spec, (source, 4 * self.nr), bases, steps, rows, mask)
