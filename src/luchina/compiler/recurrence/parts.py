"""What forward and backward kernels are made of: parameters, the micro-kernel, loops over units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from luchina.compiler.body import ITEMSIZE
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction.microkernel import multiply_add
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, module, vector
from luchina.compiler.recurrence.spec import CHAIN, Spec
from luchina.compiler.target import Target
from luchina.compiler.vecmath.lanes import Lanes, Mathematics

UNROLLED = 4  # steps of the micro-kernel's inner loop; divides every number of lanes from 4 on


class Units:
    """Some units of one row: reads and writes in memory and in a tile, with the lanes beyond the last unit off."""

    def __init__(self, parts: Parts, e: Emitter, number: Operand, mask: Operand | None) -> None:
        self.parts = parts
        self.e = e
        self.number = number
        self.first = e.mul(number, parts.lanes)
        self.mask = mask
        self.m = Mathematics(
            e, parts.target.has_fma, parts.element, parts.element, scales=parts.target.name == "avx512"
        )

    def _memory(self, base: str, chunk: int) -> Operand:
        e = self.e
        start = e.mul(Operand("i64", "%H"), chunk) if chunk else e.i64(0)
        return e.gep(self.parts.element, Operand("ptr", f"%{base}"), e.add(start, self.first))

    def read(self, base: str, chunk: int = 0) -> Lanes:
        """From a row in memory: chunk ``chunk`` of H elements."""
        e, at, parts = self.e, self._memory(base, chunk), self.parts
        wide = e.load(parts.wide, at, parts.size) if self.mask is None else v.masked_load(e, parts.wide, at, self.mask)
        return Lanes(self.m, wide)

    def write(self, value: Lanes, base: str, chunk: int = 0) -> None:
        at = self._memory(base, chunk)
        if self.mask is None:
            self.e.store(value.v, at, self.parts.size)
        else:
            v.masked_store(self.e, value.v, at, self.mask)

    def _tile(self, base: str, chunk: int) -> Operand:
        e, parts = self.e, self.parts
        number = e.add(e.mul(Operand("i64", "%units"), chunk), self.number) if chunk else self.number
        return e.gep(parts.element, Operand("ptr", f"%{base}"), e.mul(number, parts.step))

    def get(self, base: str, chunk: int = 0) -> Lanes:
        """From a row of a tile: chunk ``chunk`` of ``units`` vectors."""
        return Lanes(self.m, self.e.load(self.parts.wide, self._tile(base, chunk), self.parts.size))

    def put(self, value: Lanes, base: str, chunk: int = 0) -> None:
        self.e.store(value.v, self._tile(base, chunk), self.parts.size)


class Parts:
    """A kernel in the making: its functions, and the driver ``e`` that calls them."""

    def __init__(self, spec: Spec, target: Target, name: str) -> None:
        self.spec = spec
        self.target = target
        self.name = name
        self.lanes = target.lanes(spec.dtype)
        self.step = spec.mr * self.lanes  # elements from one vector of a tile to the next
        self.element = STORAGE_TYPE[spec.dtype]
        self.size = ITEMSIZE[spec.dtype]
        self.wide = vector(self.element, self.lanes)
        self.e = Emitter()
        self.functions: list[str] = []
        self.declarations: dict[str, str] = {}
        self.at: dict[str, Operand] = {}
        params, table = Operand("ptr", "%params"), Operand("ptr", "%table")
        place = 0
        for operand in spec.operands:
            slot, offset = (self.e.load("i64", self.e.gep("i64", params, place + i), 8) for i in (0, 1))
            self.at[operand] = self.e.gep("i8", self.e.load("ptr", self.e.gep("ptr", table, slot), 8), offset)
            place += 2
        for number in spec.numbers:
            self.at[number] = self.e.load("i64", self.e.gep("i64", params, place), 8)
            place += 1

    # ---- functions

    @contextmanager
    def function(self, part: str, signature: str) -> Iterator[Emitter]:
        """Define a function of the module."""
        e = Emitter()
        yield e
        text = e.function(f"{self.name}.{part}", signature)
        self.functions.append(text.replace("define void", "define internal void", 1))
        self.declarations |= e.declarations

    def call(self, part: str, *args: Operand) -> None:
        self.e.raw(f"call void @{self.name}.{part}({', '.join(map(str, args))})")

    def text(self) -> str:
        """The module. Nothing in the driver is hot: compiling it plainly takes a tenth of the time."""
        driver = self.e.function(self.name, attributes="nounwind noinline optnone")
        return module([*self.functions, driver], self.declarations | self.e.declarations, self.target.triple)

    def over_units(self, e: Emitter, body: Callable[[Units], None]) -> None:
        """``body`` for every vector of units: whole ones, then one with the rest of ``%H``."""
        units = Operand("i64", "%H")
        whole = e.bin("udiv", units, e.i64(self.lanes))
        with e.loop(e.i64(0), whole) as loop:
            body(Units(self, e, loop.index, None))
        rest = e.sub(units, e.mul(whole, self.lanes))
        if self.lanes > 1:
            with e.when(e.icmp("sgt", rest, e.i64(0))):
                body(Units(self, e, whole, v.below(e, rest, self.lanes)))

    def define_micro(self) -> None:
        """``c = a · b`` for one tile: ``count`` vectors of a's rows, a panel of b.

        A sum is a chain of multiply-adds, begun anew every ``CHAIN`` steps.
        """
        spec, lanes = self.spec, self.lanes
        unrolled = min(UNROLLED, lanes)
        with self.function("micro", "ptr %a, ptr %b, ptr %c, i64 %count") as e:
            a, b, c = (Operand("ptr", f"%{name}") for name in "abc")
            count = Operand("i64", "%count")
            zero = e.const(self.wide, 0)
            chain = CHAIN // lanes
            with e.loop(e.i64(0), count, chain) as turn:
                stop = v.least(e, e.add(turn.index, chain), count)
                right = e.gep(self.element, b, e.mul(turn.index, lanes * lanes * spec.nv))
                with e.loop(turn.index, stop, carry=[right] + [zero] * (spec.mr * spec.nv)) as loop:
                    left = e.gep(self.element, a, e.mul(loop.index, self.step))
                    with e.loop(e.i64(0), e.i64(lanes), unrolled, carry=[left, *loop.carried]) as inner:
                        left, right, *sums = inner.carried
                        for k in range(unrolled):
                            row = [
                                e.load(self.wide, e.gep(self.element, right, (k * spec.nv + j) * lanes), self.size)
                                for j in range(spec.nv)
                            ]
                            new = []
                            for m in range(spec.mr):
                                x = e.load(self.element, e.gep(self.element, left, m * lanes + k), self.size)
                                x = e.splat(x, lanes)
                                new += [
                                    multiply_add(e, self.target, x, row[j], sums[m * spec.nv + j])
                                    for j in range(spec.nv)
                                ]
                            sums = new
                        left = e.gep(self.element, left, unrolled)
                        right = e.gep(self.element, right, unrolled * spec.nv * lanes)
                        inner.next = [left, right, *sums]
                    loop.next = inner.carried[1:]
                fresh = e.icmp("eq", turn.index, e.i64(0))
                for m in range(spec.mr):
                    for j in range(spec.nv):
                        total = loop.carried[1 + m * spec.nv + j]
                        place = e.gep(self.element, c, j * self.step + m * lanes)
                        sum_ = e.bin("fadd", e.load(self.wide, place, self.size), total)
                        e.store(e.select(fresh, total, sum_), place, self.size)

    def define_clear(self) -> None:
        """Zeros in ``count`` vectors from ``to`` on."""
        with self.function("clear", "ptr %to, i64 %count") as e, e.loop(e.i64(0), Operand("i64", "%count")) as loop:
            place = e.gep(self.element, Operand("ptr", "%to"), e.mul(loop.index, self.lanes))
            e.store(e.const(self.wide, 0), place, self.size)

    # ---- the driver

    @contextmanager
    def blocks(self) -> Iterator[None]:
        """For each block of rows. Inside, ``first`` and ``count`` of ``at`` say which rows, and their tiles are
        cleared."""
        e, at, mr = self.e, self.at, self.spec.mr
        vectors = e.mul(at["panels"], self.spec.nv)
        at["product_at"] = e.mul(at["k_vectors"], self.step)
        at["carried"] = e.add(at["product_at"], e.mul(vectors, self.step))
        at["tile"] = e.add(at["carried"], e.mul(at["units"], self.step))
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as loop:
            at["first"] = e.mul(loop.index, at["rows"])
            at["count"] = v.least(e, at["rows"], e.sub(at["B"], at["first"]))
            at["tiles"] = e.bin("udiv", e.add(at["count"], mr - 1), e.i64(mr))
            used = e.bin("udiv", e.mul(at["tiles"], at["tile"]), e.i64(self.lanes))
            self.call("clear", Operand("ptr", "%scratch"), used)
            yield

    @contextmanager
    def each_row(self) -> Iterator[tuple[Operand, Operand]]:
        """For each row of the block: its number in the batch, and where it begins in its tile."""
        e, at, mr = self.e, self.at, self.spec.mr
        with e.loop(e.i64(0), at["count"]) as loop:
            tile = e.bin("udiv", loop.index, e.i64(mr))
            row = e.sub(loop.index, e.mul(tile, mr))
            start = e.add(e.mul(tile, at["tile"]), e.mul(row, self.lanes))
            yield e.add(at["first"], loop.index), e.gep(self.element, Operand("ptr", "%scratch"), start)

    def product(self) -> None:
        """The product of all tiles of the block with the recurrent weights; a panel serves every tile at once."""
        e, at = self.e, self.at
        width = self.spec.nv * self.lanes
        panel = e.mul(e.mul(at["k_vectors"], self.lanes), width)
        with e.loop(e.i64(0), at["panels"]) as loop:
            right = e.gep(self.element, at["w"], e.mul(loop.index, panel))
            column = e.add(at["product_at"], e.mul(loop.index, self.spec.nv * self.step))
            with e.loop(e.i64(0), at["tiles"]) as tiles:
                left = e.gep(self.element, Operand("ptr", "%scratch"), e.mul(tiles.index, at["tile"]))
                self.call("micro", left, right, e.gep(self.element, left, column), at["k_vectors"])

    def offset(self, base: Operand, index: Operand) -> Operand:
        """Address of element ``index``."""
        return self.e.gep(self.element, base, index)

    def row_of(self, base: Operand, step: Operand, row: Operand, width: Operand) -> Operand:
        """Address of row ``(step, row)`` of an array (steps, B, width)."""
        e = self.e
        return self.offset(base, e.mul(e.add(e.mul(step, self.at["B"]), row), width))
