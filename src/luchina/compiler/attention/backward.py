"""The backward kernel: a block of keys passes over the queries and makes all three gradients.

Weights are found again from the scores, which are the forward pass's to the bit, and its logarithms of sums:
P = exp(S − lse). With D = rowsum(dO · O) and dS = P · (dO Vᵀ − D), and Q already scaled:

    dV += Pᵀ dO        dK += dSᵀ Q        dQ += scale · dS K

A block of the kernel is one part of the keys of one head (its blocks ``part``, ``part + parts``, …): the sums
of dK and dV are complete there; dQ is that part's share. There is one part where there are heads enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.attention.parts import Parts
from luchina.compiler.contraction import lanes as v
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target

_WINDOWS = ("q", "k", "v", "g", "dq", "dk", "dv", "mask")
PARAMS = (
    *("batch_1", "batch_2", "queries", "keys", "width", "value_width", "scale", "parts", "dq_part"),
    *("lse_slot", "lse_offset", "delta_slot", "delta_offset"),
    *("at_kt", "at_vt", "at_k", "at_q", "at_g", "at_s", "at_d", "at_dk", "at_dv", "at_dq", "at_mask"),
    *("q_step", "v_step", "dq_size"),
    *(f"{w}_{what}" for w in _WINDOWS for what in ("slot", "offset", "0", "1", "2", "row", "column")),
)


class Backward(NamedTuple):
    """All that changes the code; ``nk`` and ``nv`` vectors make a panel of Q and K, and of V.

    ``share``: dQ is one part's share, kept in the dtype of sums.
    """

    dtype: str
    mask: str | None
    nk: int
    nv: int
    share: bool

    def kernel(self) -> Kernel:
        key = f"attention backward {self.dtype} {self.mask} {self.nk} {self.nv} {self.share}"
        return Kernel(None, key, lambda target: _Backward(self, target, kernel_name(key)).text())


class _Backward(Parts):
    def __init__(self, spec: Backward, target: Target, name: str) -> None:
        self.spec = spec
        super().__init__(name, target, spec.dtype, spec.mask, PARAMS)

    def number(self, which: str, at: Operand) -> Operand:
        """Address of a query's number: the logarithm of its sum, or D."""
        e = self.e
        base = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), self[f"{which}_slot"]), 8)
        return e.gep(self.element, base, e.add(self[f"{which}_offset"], at))

    def block(self, number: Operand) -> None:
        """One part of one head."""
        e, block = self.e, self.tile.block
        parts = self["parts"]
        head = e.bin("udiv", number, parts)
        part = e.sub(number, e.mul(head, parts))
        batch = self.batch(head)
        dq = self.place("at_dq")
        self.call(self.fill(), dq, self["dq_size"])
        with e.loop(e.mul(part, block), self["keys"], e.mul(parts, block)) as key:
            self.keys(head, batch, key.index, self.least(e.sub(self["keys"], key.index), e.i64(block)), dq)
        dtype = self.accumulate if self.spec.share else self.dtype
        to = self.operand("dq", batch, dtype)
        to = e.gep(STORAGE_TYPE[dtype], to, e.mul(part, self["dq_part"]))
        size = (self["queries"], self["width"])
        self.call(self.unstage(dtype, "one"), dq, self["q_step"], *size, to, self["dq_row"], self.scale())

    def keys(self, head: Operand, batch: list[Operand], start: Operand, keys: Operand, dq: Operand) -> None:
        """One block of keys."""
        e, block = self.e, self.tile.block
        width, value_width = self["width"], self["value_width"]
        kt, vt, k = self.place("at_kt"), self.place("at_vt"), self.place("at_k")
        at_k, at_v = self.row("k", batch, start), self.row("v", batch, start)
        pack, stage = self.pack(self.dtype), self.stage(self.dtype)
        self.call(pack, at_k, self["k_row"], self["k_column"], keys, width, kt)
        self.call(pack, at_v, self["v_row"], self["v_column"], keys, value_width, vt)
        self.call(stage, at_k, self["k_row"], self["k_column"], keys, width, k, self["q_step"])
        first = e.mul(e.bin("udiv", start, e.i64(block)), block) if self.causal else e.i64(0)
        queries = self["queries"]
        with e.loop(first, queries, block) as query:
            rows = self.least(e.sub(queries, query.index), e.i64(block))
            again = e.cast("zext", e.icmp("sgt", query.index, first), "i64")
            self.pair(head, batch, start, keys, query.index, rows, again, dq)
        # Queries that see none of these keys leave nothing: there is nothing to write but 0.
        none = e.icmp("sge", first, queries)
        with e.when(none):
            self.call(self.fill(), self.place("at_dk"), e.mul(self["q_step"], block))
            self.call(self.fill(), self.place("at_dv"), e.mul(self["v_step"], block))
        write = self.unstage(self.dtype)
        for name, step, columns in (("dk", "q_step", width), ("dv", "v_step", value_width)):
            with e.when(e.icmp("sge", self[f"{name}_slot"], e.i64(0))):
                to = self.row(name, batch, start)
                self.call(write, self.place(f"at_{name}"), self[step], keys, columns, to, self[f"{name}_row"])

    def pair(
        self,
        head: Operand,
        batch: list[Operand],
        start: Operand,
        keys: Operand,
        first: Operand,
        rows: Operand,
        again: Operand,
        dq: Operand,
    ) -> None:
        """One block of keys and one of queries."""
        e, block, mr, nr, lanes, zero = self.e, self.tile.block, self.tile.mr, self.nr, self.lanes, self.e.i64(0)
        names = ("kt", "vt", "k", "q", "g", "s", "d", "dk", "dv", "mask")
        kt, vt, k, q, g, s, d, dk, dv, mask = (self.place(f"at_{name}") for name in names)
        q_step, v_step, width, value_width = (self[x] for x in ("q_step", "v_step", "width", "value_width"))
        stage = self.stage(self.dtype)
        at_q = self.row("q", batch, first)
        scaled = self.stage(self.dtype, True)
        self.call(scaled, at_q, self["q_row"], self["q_column"], rows, width, q, q_step, self.scale())
        self.call(stage, self.row("g", batch, first), self["g_row"], self["g_column"], rows, value_width, g, v_step)
        if self.masked:
            dtype = self.spec.mask
            assert dtype is not None
            base = self.row("mask", batch, first, dtype)
            base = e.gep(STORAGE_TYPE[dtype], base, e.mul(start, self["mask_column"]))
            self.call(self.stage(dtype), base, self["mask_row"], self["mask_column"], rows, keys, mask, block)
        diagonal = e.sub(first, start)  # key c of the block is before or at query r where c ≤ diagonal + r

        by_rows = self.product("rows", self.tile.nv, "add")
        with e.loop(zero, rows, mr) as query:
            seen = keys
            if self.causal:
                seen = self.at_least_zero(self.least(keys, e.add(e.add(diagonal, query.index), mr)))
            with e.loop(zero, seen, nr) as key:
                for a, step, b, count, c in ((q, q_step, kt, width, s), (g, v_step, vt, value_width, d)):
                    left = self.at(a, query.index, step)
                    to = self.at(c, query.index, block, key.index)
                    right = e.gep(self.element, b, key.index)
                    self.call(by_rows, left, step, right, block, count, to, block, 0)
        at = e.add(e.mul(head, self["queries"]), first)
        numbers = (self.number("lse", at), self.number("delta", at))
        self.call(self.derive(), s, d, mask, *numbers, rows, keys, diagonal)

        with e.loop(zero, keys, mr) as key:
            # Queries before the first of these keys have weight 0.
            begin = self.least(rows, self.at_least_zero(e.sub(key.index, diagonal))) if self.causal else zero
            count = e.sub(rows, begin)
            for a, b, step, nv, c in ((s, g, v_step, self.spec.nv, dv), (d, q, q_step, self.spec.nk, dk)):
                left = self.at(a, begin, block, key.index)
                part = self.product("columns", nv, "add")
                with e.loop(zero, step, nv * lanes) as column:
                    right = self.at(b, begin, step, column.index)
                    to = self.at(c, key.index, step, column.index)
                    self.call(part, left, block, right, step, count, to, step, again)
        part = self.product("rows", self.spec.nk, "add")
        with e.loop(zero, rows, mr) as query:
            seen = keys
            if self.causal:
                seen = self.at_least_zero(self.least(keys, e.add(e.add(diagonal, query.index), mr)))
            left = self.at(d, query.index, block)
            with e.loop(zero, q_step, self.spec.nk * lanes) as column:
                right = e.gep(self.element, k, column.index)
                to = self.at(dq, e.add(first, query.index), q_step, column.index)
                self.call(part, left, block, right, q_step, seen, to, q_step, 1)

    def derive(self) -> str:
        """Scores become weights, and their cotangents those of the scores."""
        signature = "ptr %s, ptr %d, ptr %bias, ptr %lse, ptr %delta, i64 %rows, i64 %keys, i64 %diagonal"
        self.define("derive", signature, self._derive)
        return "derive"

    def _derive(self, e: Emitter) -> None:
        s, d, bias, lse, delta = (Operand("ptr", f"%{n}") for n in ("s", "d", "bias", "lse", "delta"))
        rows, keys, diagonal = (Operand("i64", f"%{n}") for n in ("rows", "keys", "diagonal"))
        lanes, block = self.lanes, self.tile.block
        zero = e.const(self.wide, 0.0)
        with e.loop(e.i64(0), rows) as row:
            start = e.mul(row.index, block)
            low = e.splat(e.load(self.element, e.gep(self.element, lse, row.index), self.size), lanes)
            mean = e.splat(e.load(self.element, e.gep(self.element, delta, row.index), self.size), lanes)
            last = e.cast("trunc", e.add(diagonal, row.index), "i32")
            with e.loop(e.i64(0), keys, lanes) as key:
                at = e.add(start, key.index)
                score = self.load(e, s, at)
                if self.masked:
                    score = e.bin("fadd", score, self.load(e, bias, at))
                weight = self.math(e, "exp", e.bin("fsub", score, low))
                change = e.bin("fmul", weight, e.bin("fsub", self.load(e, d, at), mean))
                if self.causal:
                    lane = v.counting(e, e.cast("trunc", key.index, "i32"), lanes)
                    seen = e.icmp("sle", lane, e.splat(last, lanes))
                    weight, change = e.select(seen, weight, zero), e.select(seen, change, zero)
                self.store(e, weight, s, at)
                self.store(e, change, d, at)
