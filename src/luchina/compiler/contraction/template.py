"""The kernel round the micro-kernel: blocks of C, each in blocks of k; pack, multiply, write.

A block is ``m_block`` rows by ``n_block`` columns of one batch and one part of K. For each ``k_block`` of its K it
packs B's panels and A's, and goes over its tiles, whose sums stay in scratch until the last block of k, when the
epilogue writes them; without an epilogue the micro-kernel writes whole tiles itself. Packed rows of A may be kept for
the blocks beside. Blocks are independent; all sizes are run-time numbers found from the extents (``tiles.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction import microkernel, packing, turning, writeback
from luchina.compiler.contraction.spec import ACCUMULATE, Params, Spec
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, module
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target


def kernel(spec: Spec) -> Kernel:
    """The kernel of ``spec``."""
    key = f"contraction {spec}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: emit(spec, target, name))


# A tile of fewer steps of k is written before a prefetch would have come.
PREFETCH_STEPS = 32

ROWS_SIGNATURE = (
    "ptr %params, ptr %table, ptr %offsets, ptr %a, ptr %b, ptr %c, i64 %m, i64 %stop, i64 %n, i64 %columns, "
    "i64 %count, i1 %fresh, i1 %last, i64 %batch, i64 %split"
)


def emit(spec: Spec, target: Target, name: str) -> str:
    """Text of the module."""
    parts = [("micro", microkernel.emit_micro(spec, target), microkernel.SIGNATURE)]
    parts.append(("write", writeback.emit_write(spec, target), writeback.SIGNATURE))
    if writeback.adjacent_windows(spec):
        parts.append(("prefetch", writeback.emit_prefetch(spec, target), writeback.PREFETCH_SIGNATURE))
    parts.append(("rows", _Rows(spec, target, name).emit(), ROWS_SIGNATURE))
    for operand, mode in (("a", spec.a), ("b", spec.b)):
        if mode == "k+":
            parts.append(("turn", turning.emit_turn(spec, target), turning.SIGNATURE))
        elif mode != "direct":
            parts.append((f"pack_{operand}", packing.emit_pack(spec, target, operand), packing.SIGNATURE))
    if spec.tabled:
        parts.append(("tables", packing.emit_tables(spec, target), packing.TABLES_SIGNATURE))
    if writeback.tabled_windows(spec):
        parts.append(("columns", writeback.emit_columns(spec, target), writeback.COLUMNS_SIGNATURE))
    driver = _Driver(spec, target, name).emit()
    declarations: dict[str, str] = {}
    functions = []
    for part, e, signature in parts:
        text = e.function(f"{name}.{part}", signature)
        functions.append(text.replace("define void", "define internal void", 1))
        declarations |= e.declarations
    # Nothing in the driver is hot: compiling it plainly takes a tenth of the time.
    text = driver.function(name, attributes="nounwind noinline optnone")
    return module([*functions, text], declarations, target.triple)


class _Driver:
    def __init__(self, spec: Spec, target: Target, name: str) -> None:
        self.e = Emitter()
        self.params = Params(self.e, spec)
        self.spec = spec
        self.name = name
        self.lanes = target.lanes(ACCUMULATE[spec.dtype])
        self.nr = spec.nv * self.lanes
        self.stored = STORAGE_TYPE[spec.dtype]
        self.packed = STORAGE_TYPE[ACCUMULATE[spec.dtype]]
        self.pointer = {p: Operand("ptr", f"%{p}") for p in ("table", "params", "scratch")}

    def call(self, part: str, *args: Operand) -> None:
        self.e.raw(f"call void @{self.name}.{part}({', '.join(map(str, args))})")

    def least(self, a: Operand, b: Operand) -> Operand:
        return v.least(self.e, a, b)

    def operand(self, which: str, batch: Operand) -> Operand:
        """Address of element (0, 0) of an operand."""
        e, p = self.e, self.params
        base = e.load("ptr", e.gep("ptr", self.pointer["table"], p[f"{which}_slot"]), 8)
        return e.gep(self.stored, base, e.add(p[f"{which}_offset"], e.mul(batch, p[f"{which}_batch"])))

    def emit(self) -> Emitter:
        e = self.e
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi"), carry=[e.i64(-1)]) as loop:
            loop.next = [self.block(loop.index, loop.carried[0])]
        return e

    def pack(
        self, which: str, base: Operand, first: Operand, stop: Operand, k: Operand, count: Operand, to: Operand
    ) -> None:
        tables = self.e.gep("i8", self.pointer["scratch"], self.params["at_tables"])
        self.call(f"pack_{which}", self.pointer["params"], base, first, stop, k, count, to, tables)

    def tables(self, k: Operand, count: Operand) -> None:
        if self.spec.tabled:
            tables = self.e.gep("i8", self.pointer["scratch"], self.params["at_tables"])
            self.call("tables", self.pointer["params"], k, count, tables)

    def block(self, number: Operand, kept: Operand) -> Operand:
        """One block; ``kept`` says which rows of A (of which batch and part of K) lie packed already."""
        e, p = self.e, self.params
        rows_of_a = e.bin("udiv", number, p["n_blocks"])
        index = {}
        for axis, blocks in (("n", "n_blocks"), ("m", "m_blocks"), ("split", "splits")):
            extent = p[blocks]
            rest = e.bin("udiv", number, extent)
            index[axis] = e.sub(number, e.mul(rest, extent))
            number = rest
        a, b = (self.operand(which, number) for which in "ab")
        m_block, n_block = p["m_block"], p["n_block"]
        m, n = e.mul(index["m"], m_block), e.mul(index["n"], n_block)
        m_stop, n_stop = self.least(e.add(m, m_block), p["M"]), self.least(e.add(n, n_block), p["N"])
        k_split, k_block = p["k_split"], p["k_block"]
        start = e.mul(index["split"], k_split)
        stop = self.least(e.add(start, k_split), p["K"])
        # An empty sum still has to be written: one turn at least.
        turns = e.bin("sdiv", e.sub(e.add(e.sub(stop, start), k_block), 1), k_block)
        turns = e.select(e.icmp("slt", turns, e.i64(1)), e.i64(1), turns)
        keep = e.icmp("ne", p["a_kept"], e.i64(0))
        if self.spec.a != "direct":
            with e.when(e.bin("and", keep, e.icmp("ne", rows_of_a, kept))), e.loop(e.i64(0), turns) as turn:
                k = e.add(start, e.mul(turn.index, k_block))
                count = self.least(k_block, e.sub(stop, k))
                self.tables(k, count)
                to = e.gep(self.packed, self.pointer["scratch"], e.mul(turn.index, p["a_turn"]))
                self.pack("a", a, m, m_stop, k, count, to)
        with e.loop(e.i64(0), turns) as turn:
            k = e.add(start, e.mul(turn.index, k_block))
            count = self.least(k_block, e.sub(stop, k))
            self.tables(k, count)
            panel = e.gep(self.packed, self.pointer["scratch"], e.mul(turn.index, p["a_turn"]))
            if self.spec.a != "direct":
                with e.when(e.icmp("eq", p["a_kept"], e.i64(0))):
                    self.pack("a", a, m, m_stop, k, count, panel)
            fresh = e.icmp("eq", turn.index, e.i64(0))
            last = e.icmp("eq", turn.index, e.sub(turns, 1))
            self.turn(a, b, panel, (m, m_stop, n, n_stop), k, count, fresh, last, number, index["split"])
        return rows_of_a

    def turn(
        self,
        a: Operand,
        b: Operand,
        packed_a: Operand,
        region: tuple[Operand, Operand, Operand, Operand],
        k: Operand,
        count: Operand,
        fresh: Operand,
        last: Operand,
        batch: Operand,
        split: Operand,
    ) -> None:
        """One block of k of one block of C."""
        e, p, spec = self.e, self.params, self.spec
        m, m_stop, n, n_stop = region
        params, table, scratch = (self.pointer[x] for x in ("params", "table", "scratch"))
        place = {x: e.gep("i8", scratch, p[f"at_{x}"]) for x in ("b", "c", "columns")}
        panel = {"a": packed_a, "b": place["b"]}
        turned = spec.b == "k+"
        if spec.b != "direct" and not turned:
            self.pack("b", b, n, n_stop, k, count, panel["b"])
        m_block, c_step = p["m_block"], p["c_step"]
        with e.loop(n, n_stop, self.nr) as j:
            columns = self.least(e.sub(n_stop, j.index), e.i64(self.nr))
            if writeback.tabled_windows(spec):
                with e.when(last):
                    self.call("columns", params, j.index, place["columns"])
            right = panel["b"] if turned else self.tile("b", b, panel["b"], j.index, n, k, count)
            left = self.tile("a", a, panel["a"], m, m, k, count)
            at = e.mul(e.mul(e.sub(j.index, n), m_block), c_step)
            c = e.gep(self.packed, place["c"], at)
            if turned:
                more = e.icmp("slt", e.add(m, spec.mr), m_stop)
                first, keep = left, e.cast("zext", more, "i64")
                if spec.a == "direct":  # as ``_Rows`` begins
                    first = e.gep(self.stored, left, e.mul(e.sub(e.i64(0), _before(e, spec, m, m_stop)), p["a_x"]))
                self.call("turn", params, b, j.index, k, count, panel["b"], keep, first, c, fresh)
            self.call(
                "rows", params, table, place["columns"], left, right, c, m, m_stop, j.index, columns, count,
                fresh, last, batch, split,
            )  # fmt: skip

    def tile(
        self, which: str, base: Operand, panel: Operand, x: Operand, first: Operand, k: Operand, count: Operand
    ) -> Operand:
        """Where the micro-kernel starts to read an operand."""
        e, p = self.e, self.params
        if (self.spec.a if which == "a" else self.spec.b) == "direct":
            return e.gep(self.stored, base, e.add(e.mul(x, p[f"{which}_x"]), e.mul(k, p[f"{which}_k"])))
        rows = e.add(count, packing.surplus_rows(self.lanes, self.spec.mr if which == "a" else self.nr))
        return e.gep(self.packed, panel, e.mul(e.sub(x, first), rows))


def _before(e: Emitter, spec: Spec, m: Operand, stop: Operand) -> Operand:
    """Tiles of rows that are read where they lie are whole: one that the rows end in begins so many rows earlier."""
    rows = v.least(e, e.sub(stop, m), e.i64(spec.mr))
    return v.least(e, m, e.sub(e.i64(spec.mr), rows))


class _Rows:
    """The tiles of rows ``m … stop`` beside one panel of B, whose sums lie at ``c`` one after the other; the first one
    is made already where B is packed by way of it."""

    def __init__(self, spec: Spec, target: Target, name: str) -> None:
        self.e = Emitter()
        self.spec = spec
        self.name = name
        self.lanes = target.lanes(ACCUMULATE[spec.dtype])

    def call(self, part: str, *args: Operand) -> None:
        self.e.raw(f"call void @{self.name}.{part}({', '.join(map(str, args))})")

    def emit(self) -> Emitter:
        e, spec = self.e, self.spec
        p = Params(e, spec)
        nr = spec.nv * self.lanes
        params, table, offsets, a, b, c = (
            Operand("ptr", f"%{x}") for x in ("params", "table", "offsets", "a", "b", "c")
        )
        m, stop, n, columns, count = (Operand("i64", f"%{x}") for x in ("m", "stop", "n", "columns", "count"))
        batch, split = Operand("i64", "%batch"), Operand("i64", "%split")
        fresh, last = Operand("i1", "%fresh"), Operand("i1", "%last")
        if spec.a == "direct":
            a_type, a_step = STORAGE_TYPE[spec.dtype], e.mul(p["a_x"], spec.mr)
        else:
            a_type = STORAGE_TYPE[ACCUMULATE[spec.dtype]]
            panel_rows = e.add(count, packing.surplus_rows(self.lanes, spec.mr))
            a_step = e.mul(packing.row_length(e, count, self.lanes) if spec.a == "row" else panel_rows, spec.mr)
        c_type = STORAGE_TYPE[ACCUMULATE[spec.dtype]]
        c_step = e.mul(p["c_step"], spec.mr * nr)
        carry = [a, c]
        ahead = e.bin("and", last, e.icmp("sge", count, e.i64(PREFETCH_STEPS)))
        if spec.plain:
            base = e.load("ptr", e.gep("ptr", table, p["w0_slot"]), 8)
            at = e.add(e.add(p["w0_offset"], n), e.mul(batch, p["w0_batch"]))
            at = e.add(e.add(at, e.mul(split, p["w0_split"])), e.mul(m, p["w0_m"]))
            out_row, out_step = p["w0_m"], e.mul(p["w0_m"], spec.mr)
            wide = e.icmp("eq", columns, e.i64(nr))
            carry.append(e.gep(c_type, base, at))
        with e.loop(m, stop, spec.mr, carry) as i:
            left, sums, *out = i.carried
            rows = v.least(e, e.sub(stop, i.index), e.i64(spec.mr))
            written = sums
            if spec.a == "direct":
                before = _before(e, spec, i.index, stop)
                left = e.gep(a_type, left, e.mul(e.sub(e.i64(0), before), p["a_x"]))
                written = e.gep(c_type, sums, e.mul(before, nr))
            made = e.icmp("eq", i.index, m) if spec.b == "k+" else e.const("i1", 0)
            missing = e.bin("xor", made, e.const("i1", 1))
            to, to_row, write = sums, e.i64(nr), last
            if spec.plain:
                whole = e.bin("and", e.bin("and", wide, last), e.icmp("eq", rows, e.i64(spec.mr)))
                whole = e.bin("and", whole, missing)
                to, to_row = e.select(whole, out[0], sums), e.select(whole, out_row, to_row)
                write = e.bin("and", last, e.bin("xor", whole, e.const("i1", 1)))
            if writeback.adjacent_windows(spec):
                with e.when(ahead):
                    self.call("prefetch", params, table, batch, split, i.index, rows, n)
            with e.when(missing):
                self.call("micro", params, left, b, count, sums, to, to_row, fresh, columns)
            with e.when(write):
                self.call("write", params, table, written, batch, split, i.index, rows, n, columns, offsets)
            i.next = [e.gep(a_type, left, a_step), e.gep(c_type, sums, c_step)]
            if spec.plain:
                i.next.append(e.gep(c_type, out[0], out_step))
        return e
