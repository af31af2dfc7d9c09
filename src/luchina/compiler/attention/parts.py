"""What both attention kernels are made of: copies into scratch, a micro-kernel, the elementwise steps between products.

Everything in scratch is in the dtype that sums are kept in (float32, or float64 for float64), row-major, and padded to
whole vectors, so that no product needs a mask: only the axis that is summed over has an exact count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler import vecmath
from luchina.compiler.body import ITEMSIZE, from_storage, storage_type, to_storage
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction.microkernel import multiply_add
from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, module, vector

if TYPE_CHECKING:
    from luchina.compiler.target import Target


class Tile(NamedTuple):
    """Register tile (rows by vectors), and how many queries and keys make a block: whole tiles in both directions."""

    mr: int
    nv: int
    block: int


TILES = {"avx512": Tile(8, 2, 64), "avx2": Tile(6, 2, 48), "sse2": Tile(4, 2, 64), "neon": Tile(8, 2, 64)}


def panel(target: Target, dtype: str, width: int) -> int:
    """Vectors of a panel of a head's width."""
    return 1 if width <= target.lanes(ACCUMULATE[dtype]) else TILES[target.name].nv


class Parts:
    """The functions of one kernel: each is written once and called by name.

    Args:
        name: the kernel's symbol.
        target: the machine.
        dtype: of the operands in memory.
        mask: None, "causal", or the dtype of the mask.
        params: names of the kernel's numbers, in order.
    """

    def __init__(self, name: str, target: Target, dtype: str, mask: str | None, params: tuple[str, ...]) -> None:
        self.name = name
        self.target = target
        self.dtype = dtype
        self.tile = TILES[target.name]
        self.accumulate = ACCUMULATE[dtype]
        self.element = STORAGE_TYPE[self.accumulate]
        self.size = ITEMSIZE[self.accumulate]
        self.lanes = target.lanes(self.accumulate)
        self.wide = vector(self.element, self.lanes)
        self.nr = self.tile.nv * self.lanes
        self.places = {param: i for i, param in enumerate(params)}
        self.functions: dict[str, str] = {}
        self.declarations: dict[str, str] = {}
        self.causal = mask == "causal"
        self.masked = mask is not None and not self.causal
        self.e = Emitter()  # the driver
        with self.e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as loop:
            self.block(loop.index)

    def block(self, number: Operand) -> None:
        """The work of block ``number``."""
        raise NotImplementedError

    # ---- the driver's words

    def __getitem__(self, param: str) -> Operand:
        """A parameter of the kernel, in the driver."""
        e = self.e
        return e.load("i64", e.gep("i64", Operand("ptr", "%params"), self.places[param]), 8)

    def call(self, part: str, *args: Operand | int) -> None:
        texts = [str(a) if isinstance(a, Operand) else f"i64 {a}" for a in args]
        self.e.raw(f"call void @{self.name}.{part}({', '.join(texts)})")

    def place(self, param: str) -> Operand:
        """An address in scratch."""
        return self.e.gep("i8", Operand("ptr", "%scratch"), self[param])

    def at(self, base: Operand, row: Operand | int, step: Operand | int, column: Operand | int = 0) -> Operand:
        """Address of an element of a table of sums."""
        e = self.e
        row, column = (e.i64(x) if isinstance(x, int) else x for x in (row, column))
        return e.gep(self.element, base, e.add(e.mul(row, step), column))

    def least(self, *xs: Operand) -> Operand:
        result = xs[0]
        for x in xs[1:]:
            result = v.least(self.e, result, x)
        return result

    def at_least_zero(self, x: Operand) -> Operand:
        return self.e.select(self.e.icmp("sgt", x, self.e.i64(0)), x, self.e.i64(0))

    def operand(self, which: str, batch: list[Operand], dtype: str | None = None) -> Operand:
        """Address of an operand's first element for these three batch numbers."""
        e = self.e
        base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), self[f"{which}_slot"]), 8)
        offset = self[f"{which}_offset"]
        for i, number in enumerate(batch):
            offset = e.add(offset, e.mul(number, self[f"{which}_{i}"]))
        return e.gep(STORAGE_TYPE[dtype or self.dtype], base, offset)

    def row(self, which: str, batch: list[Operand], row: Operand, dtype: str | None = None) -> Operand:
        """Address of the start of an operand's row."""
        base = self.operand(which, batch, dtype)
        return self.e.gep(STORAGE_TYPE[dtype or self.dtype], base, self.e.mul(row, self[f"{which}_row"]))

    def batch(self, number: Operand) -> list[Operand]:
        """The three digits of a batch number."""
        digits = []
        for axis in ("batch_2", "batch_1"):
            extent = self[axis]
            rest = self.e.bin("udiv", number, extent)
            digits.append(self.e.sub(number, self.e.mul(rest, extent)))
            number = rest
        return [number, *digits[::-1]]

    def scale(self) -> Operand:
        """The factor of the scores, which params hold as the bits of a double."""
        bits = self.e.cast("bitcast", self["scale"], "double")
        return bits if self.element == "double" else self.e.cast("fptrunc", bits, "float")

    def text(self) -> str:
        """The module. Nothing in the driver is hot: compiling it plainly takes a tenth of the time."""
        driver = self.e.function(self.name, attributes="nounwind noinline optnone")
        return module([*self.functions.values(), driver], self.declarations | self.e.declarations, self.target.triple)

    def define(self, part: str, signature: str, body: Callable[[Emitter], None]) -> None:
        """Write a function, once."""
        if part in self.functions:
            return
        e = Emitter()
        body(e)
        text = e.function(f"{self.name}.{part}", signature)
        self.functions[part] = text.replace("define void", "define internal void", 1)
        self.declarations |= e.declarations

    # ---- shared by the functions

    def load(self, e: Emitter, base: Operand, at: Operand | int = 0) -> Operand:
        return e.load(self.wide, e.gep(self.element, base, at), self.size)

    def store(self, e: Emitter, value: Operand, base: Operand, at: Operand | int = 0) -> None:
        e.store(value, e.gep(self.element, base, at), self.size)

    def math(self, e: Emitter, name: str, x: Operand) -> Operand:
        result = vecmath.emit(e, self.target, name, x)
        assert result is not None
        return result

    def widened(self, e: Emitter, dtype: str, raw: Operand) -> Operand:
        """What was read from memory, in the dtype of sums; a bool says whether a score counts: 0 or −∞ is added."""
        value = from_storage(e, dtype, raw)
        lanes = raw.type[1 : raw.type.index(" ")] if raw.type[0] == "<" else "1"
        to = vector(self.element, int(lanes))
        if dtype == "bool":
            return e.select(value, e.const(to, 0.0), e.const(to, -math.inf))
        have = ACCUMULATE[dtype]
        if have == self.accumulate:
            return value
        return e.cast("fpext" if have == "float32" else "fptrunc", value, self.element)

    # ---- between memory and scratch

    _COPY = "ptr %from, i64 %row_step, i64 %column_step, i64 %rows, i64 %columns, ptr %to"

    def stage(self, dtype: str, scaled: bool = False) -> str:
        """Rows of any strides into scratch, times a factor if ``scaled``; columns up to ``to_step`` become 0."""
        part = f"stage.{dtype}.{'scaled' if scaled else 'plain'}"
        signature = self._COPY + ", i64 %to_step" + f", {self.element} %factor" * scaled
        self.define(part, signature, lambda e: self._stage(e, dtype, scaled))
        return part

    def pack(self, dtype: str, scaled: bool = False) -> str:
        """Columns of any strides into rows of scratch, a block apart, times a factor if ``scaled``.

        Rows of scratch up to a whole number of vectors may be written too.
        """
        part = f"pack.{dtype}.{'scaled' if scaled else 'plain'}"
        signature = self._COPY + f", {self.element} %factor" * scaled
        self.define(part, signature, lambda e: self._pack(e, dtype, scaled))
        return part

    def _converted(self, e: Emitter, dtype: str, scaled: bool, lanes: int) -> Callable[[Operand], Operand]:
        """From what was read, one element or ``lanes``, to what is stored."""
        factor = Operand(self.element, "%factor")
        wide_factor = e.splat(factor, lanes) if scaled else factor

        def convert(raw: Operand) -> Operand:
            value = self.widened(e, dtype, raw)
            if not scaled:
                return value
            return e.bin("fmul", value, factor if value.type == self.element else wide_factor)

        return convert

    def _stage(self, e: Emitter, dtype: str, scaled: bool) -> None:
        source, to = Operand("ptr", "%from"), Operand("ptr", "%to")
        names = ("row_step", "column_step", "rows", "columns", "to_step")
        row_step, column_step, rows, columns, to_step = (Operand("i64", f"%{n}") for n in names)
        stored, kind, lanes = STORAGE_TYPE[dtype], storage_type(dtype, self.lanes), self.lanes
        convert = self._converted(e, dtype, scaled, lanes)
        adjacent = e.icmp("eq", column_step, e.i64(1))
        whole = e.mul(e.bin("sdiv", columns, e.i64(lanes)), lanes)
        whole = e.select(adjacent, whole, e.i64(0))
        rest = e.bin("and", adjacent, e.icmp("slt", whole, columns))
        mask = v.below(e, e.sub(columns, whole), lanes)
        singly = e.select(adjacent, columns, e.i64(0))
        with e.loop(e.i64(0), rows) as row:
            here = e.gep(stored, source, e.mul(row.index, row_step))
            there = e.gep(self.element, to, e.mul(row.index, to_step))
            with e.loop(e.i64(0), whole, lanes) as column:
                self.store(e, convert(e.load(kind, e.gep(stored, here, column.index), 1)), there, column.index)
            with e.when(rest):
                self.store(e, convert(v.masked_load(e, kind, e.gep(stored, here, whole), mask)), there, whole)
            with e.loop(singly, columns) as column:
                value = convert(e.load(stored, e.gep(stored, here, e.mul(column.index, column_step)), 1))
                e.store(value, e.gep(self.element, there, column.index), self.size)
            with e.loop(columns, to_step) as column:
                e.store(e.const(self.element, 0.0), e.gep(self.element, there, column.index), self.size)

    def _pack(self, e: Emitter, dtype: str, scaled: bool) -> None:
        source, to = Operand("ptr", "%from"), Operand("ptr", "%to")
        names = ("row_step", "column_step", "rows", "columns")
        row_step, column_step, rows, columns = (Operand("i64", f"%{n}") for n in names)
        stored, block = STORAGE_TYPE[dtype], self.tile.block
        # Squares of 256 bits: as quick as wider ones, whose shuffles take LLVM long.
        lanes = min(self.lanes, 32 // self.size)
        kind = storage_type(dtype, lanes)
        convert = self._converted(e, dtype, scaled, lanes)
        whole = e.mul(e.bin("sdiv", columns, e.i64(lanes)), lanes)
        whole = e.select(e.icmp("eq", column_step, e.i64(1)), whole, e.i64(0))
        with e.loop(e.i64(0), rows, lanes) as row:
            # Rows that do not exist read the last one again.
            left = e.sub(rows, row.index)
            places = [e.gep(stored, source, e.mul(row.index, row_step))]
            for i in range(1, lanes):
                step = e.select(e.icmp("sgt", left, e.i64(i)), row_step, e.i64(0))
                places.append(e.gep(stored, places[-1], step))
            with e.loop(e.i64(0), whole, lanes) as column:
                lines = [convert(e.load(kind, e.gep(stored, place, column.index), 1)) for place in places]
                there = e.gep(self.element, to, e.add(e.mul(column.index, block), row.index))
                for i, line in enumerate(v.transpose(e, lines)):
                    self.store(e, line, there, i * block)
        with e.loop(e.i64(0), rows) as row, e.loop(whole, columns) as column:
            at = e.add(e.mul(row.index, row_step), e.mul(column.index, column_step))
            value = convert(e.load(stored, e.gep(stored, source, at), 1))
            e.store(value, e.gep(self.element, to, e.add(e.mul(column.index, block), row.index)), self.size)

    def unstage(self, dtype: str, factors: str = "") -> str:
        """Rows of scratch into memory, times a factor each ("rows") or all times one ("one")."""
        part = f"unstage.{dtype}.{factors}"
        signature = "ptr %from, i64 %from_step, i64 %rows, i64 %columns, ptr %to, i64 %to_step"
        signature += {"": "", "one": f", {self.element} %factor", "rows": ", ptr %factor"}[factors]
        self.define(part, signature, lambda e: self._unstage(e, dtype, factors))
        return part

    def _unstage(self, e: Emitter, dtype: str, factors: str) -> None:
        names = ("from_step", "rows", "columns", "to_step")
        from_step, rows, columns, to_step = (Operand("i64", f"%{n}") for n in names)
        source, to = Operand("ptr", "%from"), Operand("ptr", "%to")
        stored, lanes = STORAGE_TYPE[dtype], self.lanes
        whole = e.mul(e.bin("sdiv", columns, e.i64(lanes)), lanes)
        mask = v.below(e, e.sub(columns, whole), lanes)
        with e.loop(e.i64(0), rows) as row:
            here = e.gep(self.element, source, e.mul(row.index, from_step))
            there = e.gep(stored, to, e.mul(row.index, to_step))
            factor = Operand(self.element, "%factor")
            if factors == "rows":
                factor = e.load(self.element, e.gep(self.element, Operand("ptr", "%factor"), row.index), self.size)
            wide_factor = e.splat(factor, lanes) if factors else None

            def value(at: Operand, here: Operand = here, factor: Operand | None = wide_factor) -> Operand:
                x = self.load(e, here, at)
                return to_storage(e, dtype, x if factor is None else e.bin("fmul", x, factor))

            with e.loop(e.i64(0), whole, lanes) as column:
                e.store(value(column.index), e.gep(stored, there, column.index), 1)
            with e.when(e.icmp("slt", whole, columns)):
                v.masked_store(e, value(whole), e.gep(stored, there, whole), mask)

    def fill(self) -> str:
        """``%count`` elements of scratch, a whole number of vectors, become 0."""

        def body(e: Emitter) -> None:
            with e.loop(e.i64(0), Operand("i64", "%count"), self.lanes) as i:
                self.store(e, e.const(self.wide, 0.0), Operand("ptr", "%to"), i.index)

        self.define("fill", "ptr %to, i64 %count", body)
        return "fill"

    # ---- products

    def product(self, kind: str, nv: int, keep: str) -> str:
        """A register tile of C = A·B: ``mr`` rows by ``nv`` vectors, everything in scratch.

        ``rows``: A's rows are ``a_step`` apart and adjacent along the sum; ``columns``: the other way. C is set, or,
        where ``%again`` is not 0, added to (``keep`` is "add") or first multiplied by its row's factor ("scale").
        """
        part = f"{kind}{nv}"
        signature = "ptr %a, i64 %a_step, ptr %b, i64 %b_step, i64 %count, ptr %c, i64 %c_step, i64 %again"
        signature += ", ptr %factor" * (keep == "scale")
        self.define(part, signature, lambda e: self._product(e, kind == "rows", nv, keep))
        return part

    def _product(self, e: Emitter, by_rows: bool, nv: int, keep: str) -> None:
        a, b, c = (Operand("ptr", f"%{n}") for n in "abc")
        a_step, b_step, count, c_step, again = (
            Operand("i64", f"%{n}") for n in ("a_step", "b_step", "count", "c_step", "again")
        )
        mr, lanes, element = self.tile.mr, self.lanes, self.element
        rows = [e.gep(element, a, e.mul(a_step, m)) for m in range(mr)] if by_rows else []
        carry = [e.const(self.wide, 0.0)] * (mr * nv) + [b] + ([] if by_rows else [a])
        with e.loop(e.i64(0), count, carry=carry) as loop:
            sums, moving = loop.carried[: mr * nv], loop.carried[mr * nv :]
            right = [self.load(e, moving[0], j * lanes) for j in range(nv)]
            following = []
            for m in range(mr):
                place = e.gep(element, rows[m], loop.index) if by_rows else e.gep(element, moving[1], m)
                left = e.splat(e.load(element, place, self.size), lanes)
                following += [multiply_add(e, self.target, left, right[j], sums[m * nv + j]) for j in range(nv)]
            following.append(e.gep(element, moving[0], b_step))
            loop.next = following if by_rows else [*following, e.gep(element, moving[1], a_step)]
        sums = loop.carried[: mr * nv]
        places = [e.gep(element, c, e.mul(c_step, m)) for m in range(mr)]
        e.cond_br(e.icmp("eq", again, e.i64(0)), "set", "more")
        for label in ("set", "more"):
            e.label(label)
            for m in range(mr):
                if label == "more" and keep == "scale":
                    factor = e.load(element, e.gep(element, Operand("ptr", "%factor"), m), self.size)
                    factor = e.splat(factor, lanes)
                for j in range(nv):
                    total = sums[m * nv + j]
                    if label == "more":
                        old = self.load(e, places[m], j * lanes)
                        if keep == "scale":
                            total = multiply_add(e, self.target, old, factor, total)
                        else:
                            total = e.bin("fadd", old, total)
                    self.store(e, total, places[m], j * lanes)
            e.br("done")
        e.label("done")
