"""The forward kernel: a block of queries passes over the keys and keeps a running maximum, a running sum and O.

For each block of keys: Sᵀ = K (scale · Q)ᵀ, so that a query is a lane and its maximum and sum need no shuffles; then
P = exp(S − max), and O = O · exp(old max − new max) + P V. What lies above the diagonal of causal attention is not
computed. A block of the kernel is one block of queries of one head; the last ones, which see most keys, come first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.attention.parts import Parts
from luchina.compiler.contraction import lanes as v
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target

_WINDOWS = ("q", "k", "v", "out", "mask")
PARAMS = (
    *("batch_1", "batch_2", "queries", "keys", "width", "value_width", "scale", "q_blocks", "lse_slot"),
    *("at_k", "at_v", "at_s", "at_o", "at_mask", "at_max", "at_sum", "at_factor", "k_step", "v_step"),
    *(f"{w}_{what}" for w in _WINDOWS for what in ("slot", "offset", "0", "1", "2", "row", "column")),
)


class Forward(NamedTuple):
    """All that changes the code: ``mask`` is None, "causal" or the mask's dtype; ``nv`` vectors of V make a panel."""

    dtype: str
    mask: str | None
    nv: int

    def kernel(self) -> Kernel:
        key = f"attention {self.dtype} {self.mask} {self.nv}"
        return Kernel(None, key, lambda target: _Forward(self, target, kernel_name(key)).text())


class _Forward(Parts):
    def __init__(self, spec: Forward, target: Target, name: str) -> None:
        self.spec = spec
        super().__init__(name, target, spec.dtype, spec.mask, PARAMS)

    def block(self, number: Operand) -> None:
        """One block of queries of one head."""
        e, block, element = self.e, self.tile.block, self.element
        count = self["q_blocks"]
        head = e.bin("udiv", number, count)
        first = e.mul(e.sub(e.sub(e.add(e.mul(head, count), count), 1), number), block)
        batch = self.batch(head)
        rows = self.least(e.sub(self["queries"], first), e.i64(block))
        q, o = Operand("ptr", "%scratch"), self.place("at_o")
        at_max, at_sum = self.place("at_max"), self.place("at_sum")
        source = self.row("q", batch, first)
        self.call(
            self.pack(self.dtype, True), source, self["q_row"], self["q_column"], rows, self["width"], q, self.scale()
        )
        # A maximum of nothing is −∞, a sum of nothing 0.
        self.call(self.start(), at_max, at_sum)
        stop = self.least(self["keys"], e.add(first, rows)) if self.causal else self["keys"]
        with e.loop(e.i64(0), stop, block) as keys:
            self.keys(batch, first, rows, keys.index, self.least(e.sub(stop, keys.index), e.i64(block)), q, o)
        has_lse = e.icmp("sge", self["lse_slot"], e.i64(0))
        slot = e.select(has_lse, self["lse_slot"], e.i64(0))
        base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), slot), 8)
        lse = e.gep(element, base, e.add(e.mul(head, self["queries"]), first))
        wanted = e.select(has_lse, rows, e.i64(0))
        self.call(self.finish(), at_max, at_sum, self.place("at_factor"), lse, wanted)
        to = self.row("out", batch, first)
        args = (o, self["v_step"], rows, self["value_width"], to, self["out_row"], self.place("at_factor"))
        self.call(self.unstage(self.dtype, "rows"), *args)

    def keys(
        self, batch: list[Operand], first: Operand, rows: Operand, start: Operand, keys: Operand, q: Operand, o: Operand
    ) -> None:
        """One block of keys."""
        e, block, mr, nr = self.e, self.tile.block, self.tile.mr, self.nr
        k, value, s = self.place("at_k"), self.place("at_v"), self.place("at_s")
        width, k_step, v_step = self["width"], self["k_step"], self["v_step"]
        stage = self.stage(self.dtype)
        self.call(stage, self.row("k", batch, start), self["k_row"], self["k_column"], keys, width, k, k_step)
        v_from = self.row("v", batch, start)
        self.call(stage, v_from, self["v_row"], self["v_column"], keys, self["value_width"], value, v_step)
        mask = self.place("at_mask")
        if self.masked:
            dtype = self.spec.mask
            assert dtype is not None
            base = self.row("mask", batch, first, dtype)
            base = e.gep(STORAGE_TYPE[dtype], base, e.mul(start, self["mask_column"]))
            self.call(self.pack(dtype), base, self["mask_row"], self["mask_column"], rows, keys, mask)
        diagonal = e.sub(first, start)
        score, weigh = self.product("rows", self.tile.nv, "scale"), self.product("columns", self.spec.nv, "scale")
        factor = self.place("at_factor")
        zero = e.i64(0)
        with e.loop(zero, rows, nr) as query:
            seen = keys
            if self.causal:
                # The tiles of queries that P V takes may lie across these: a few rows more.
                seen = self.at_least_zero(self.least(keys, e.add(e.add(diagonal, query.index), nr + mr)))
            with e.loop(zero, seen, mr) as key:
                c = self.at(s, key.index, block, query.index)
                b = e.gep(self.element, q, query.index)
                self.call(score, self.at(k, key.index, k_step), k_step, b, block, width, c, block, 0, factor)
            here = [
                e.gep(self.element, x, query.index) for x in (s, self.place("at_max"), self.place("at_sum"), factor)
            ]
            bias = e.gep(self.element, mask, query.index)
            self.call(self.soften(), *here, bias, seen, e.add(diagonal, query.index))
        again = e.cast("zext", e.icmp("sgt", start, zero), "i64")
        with e.loop(zero, rows, mr) as query:
            seen = keys
            if self.causal:
                seen = self.at_least_zero(self.least(keys, e.add(e.add(diagonal, query.index), mr)))
            a = e.gep(self.element, s, query.index)
            f = e.gep(self.element, factor, query.index)
            with e.loop(zero, v_step, self.spec.nv * self.lanes) as column:
                b = e.gep(self.element, value, column.index)
                c = self.at(o, query.index, v_step, column.index)
                self.call(weigh, a, block, b, v_step, seen, c, v_step, again, f)

    # ---- functions

    def start(self) -> str:
        def body(e: Emitter) -> None:
            for i in range(0, self.tile.block, self.lanes):
                self.store(e, e.const(self.wide, -math.inf), Operand("ptr", "%max"), i)
                self.store(e, e.const(self.wide, 0.0), Operand("ptr", "%sum"), i)

        self.define("start", "ptr %max, ptr %sum", body)
        return "start"

    def soften(self) -> str:
        """A tile of queries: scores become weights, and the running maximum and sum take them in.

        Key r of the block is before or at the query of lane i where r ≤ diagonal + i.
        """
        signature = "ptr %s, ptr %max, ptr %sum, ptr %factor, ptr %bias, i64 %seen, i64 %diagonal"
        self.define("soften", signature, self._soften)
        return "soften"

    def _soften(self, e: Emitter) -> None:
        s, at_max, at_sum, at_factor, bias = (Operand("ptr", f"%{n}") for n in ("s", "max", "sum", "factor", "bias"))
        seen, diagonal = Operand("i64", "%seen"), Operand("i64", "%diagonal")
        lanes, nv, block = self.lanes, self.tile.nv, self.tile.block
        nothing = e.const(self.wide, -math.inf)
        vectors = range(0, nv * lanes, lanes)
        if self.causal:
            start = e.add(diagonal, 1)
            start = e.select(e.icmp("sgt", start, e.i64(0)), start, e.i64(0))
            with e.loop(start, seen) as key:
                row = e.mul(key.index, block)
                late = e.splat(e.cast("trunc", e.sub(key.index, diagonal), "i32"), lanes)
                for i in vectors:
                    lane = e.add(v.iota(lanes), i)
                    value = e.select(e.icmp("sge", lane, late), self.load(e, s, e.add(row, i)), nothing)
                    self.store(e, value, s, e.add(row, i))
        old = [self.load(e, at_max, i) for i in vectors]
        with e.loop(e.i64(0), seen, carry=old) as key:
            row = e.mul(key.index, block)
            following = []
            for i, most in zip(vectors, key.carried):
                value = self.load(e, s, e.add(row, i))
                if self.masked:
                    value = e.bin("fadd", value, self.load(e, bias, e.add(row, i)))
                    self.store(e, value, s, e.add(row, i))
                following.append(e.select(e.fcmp("ogt", value, most), value, most))
            key.next = following
        bases, factors = [], []
        for i, before, most in zip(vectors, old, key.carried):
            # Where every score is −∞ so far, weights are exp(−∞ − 0).
            base = e.select(e.fcmp("oeq", most, nothing), e.const(self.wide, 0.0), most)
            self.store(e, most, at_max, i)
            factor = self.math(e, "exp", e.bin("fsub", before, base))
            self.store(e, factor, at_factor, i)
            bases.append(base)
            factors.append(factor)
        with e.loop(e.i64(0), seen, carry=[e.const(self.wide, 0.0)] * nv) as key:
            row = e.mul(key.index, block)
            following = []
            for i, base, total in zip(vectors, bases, key.carried):
                weight = self.math(e, "exp", e.bin("fsub", self.load(e, s, e.add(row, i)), base))
                self.store(e, weight, s, e.add(row, i))
                following.append(e.bin("fadd", total, weight))
            key.next = following
        for i, factor, total in zip(vectors, factors, key.carried):
            self.store(e, e.bin("fadd", e.bin("fmul", self.load(e, at_sum, i), factor), total), at_sum, i)

    def finish(self) -> str:
        """Factors 1 / sum for every query, and logarithms of Σ exp(S) for the first ``%wanted``.

        A query that sees nothing gets 0, and +∞ for the logarithm, so that its weights are 0 in the backward pass too.
        """
        self.define("finish", "ptr %max, ptr %sum, ptr %factor, ptr %lse, i64 %wanted", self._finish)
        return "finish"

    def _finish(self, e: Emitter) -> None:
        at_max, at_sum, at_factor, lse = (Operand("ptr", f"%{n}") for n in ("max", "sum", "factor", "lse"))
        wanted = Operand("i64", "%wanted")
        with e.loop(e.i64(0), e.i64(self.tile.block), self.lanes) as i:
            total = self.load(e, at_sum, i.index)
            none = e.fcmp("oeq", total, e.const(self.wide, 0.0))
            factor = e.bin("fdiv", e.const(self.wide, 1.0), total)
            self.store(e, e.select(none, e.const(self.wide, 0.0), factor), at_factor, i.index)
            with e.when(e.icmp("slt", i.index, wanted)):
                value = e.bin("fadd", self.load(e, at_max, i.index), self.math(e, "log", total))
                value = e.select(none, e.const(self.wide, math.inf), value)
                place = e.gep(self.element, lse, i.index)
                v.masked_store(e, value, place, v.below(e, e.sub(wanted, i.index), self.lanes))
