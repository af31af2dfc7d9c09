"""Running reductions and sorting along the last axis of a table (rows, n): a row is one block's work.

scan:    out[r, i] = op(out[r, i-1], x[r, i])
argsort: elements become unsigned integers of the same order, which a radix sort puts in place, eight bits at a time
         from the lowest: that is stable, and its time does not depend on the data
"""

from __future__ import annotations

from typing import NamedTuple

from luchina.compiler.body import ITEMSIZE, emit_cast, emit_op, load_value, store_value
from luchina.compiler.ir import Emitter, Operand, module
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.prims import FLOATS
from luchina.compiler.scatter import _parameters
from luchina.compiler.target import Target

_COMBINE = {"sum": "add", "prod": "mul", "max": "maximum", "min": "minimum"}
_INTEGER = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}
_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000, "float64": 0x7FF0000000000000}

BUCKETS = 256
SHORT = 64  # rows that insertion sort puts in order sooner than the counting of digits


class Scan(NamedTuple):
    """A running ``op`` over rows. Sums and products run one precision wider than they are stored, as in PyTorch:
    16-bit floats in float32, float32 in float64 where there is any."""

    dtype: str
    op: str

    def kernel(self) -> Kernel:
        key = f"scan {self.dtype} {self.op}"
        return Kernel(None, key, lambda target: self._emit(target, kernel_name(key)))

    def _emit(self, target: Target, name: str) -> str:
        e = Emitter()
        x, out, n = _parameters(e, 3, pointers=2)
        element = _INTEGER[ITEMSIZE[self.dtype]]
        widened = self.dtype == "float32" and self.op in ("sum", "prod") and target.has_f64
        running_dtype = "float64" if widened else self.dtype

        def load(at: Operand) -> Operand:
            return emit_cast(e, self.dtype, running_dtype, load_value(e, self.dtype, e.gep(element, x, at)))

        def store(value: Operand, at: Operand) -> None:
            store_value(e, self.dtype, emit_cast(e, running_dtype, self.dtype, value), e.gep(element, out, at))

        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as rows:
            start = e.mul(rows.index, n)
            first = load(start)
            store(first, start)
            with e.loop(e.i64(1), n, carry=[first]) as loop:
                at = e.add(start, loop.index)
                running = emit_op(e, target, _COMBINE[self.op], running_dtype, loop.carried[0], load(at))
                store(running, at)
                loop.next = [running]
        return module([e.function(name)], e.declarations, target.triple)


class Argsort(NamedTuple):
    """Stable order of rows; nan counts as the largest, and 0.0 as equal to -0.0."""

    dtype: str
    descending: bool

    def kernel(self) -> Kernel:
        key = f"argsort {self.dtype} {self.descending}"
        return Kernel(None, key, lambda target: self._emit(target, kernel_name(key)))

    def scratch(self, n: int) -> int:
        """Bytes of scratch memory for rows of ``n``: digit counts, indices, and the keys twice."""
        size = ITEMSIZE[self.dtype]
        return 8 * BUCKETS * size + 8 * n + 2 * size * n

    def _emit(self, target: Target, name: str) -> str:
        e = Emitter()
        x, out, n = _parameters(e, 3, pointers=2)
        size = ITEMSIZE[self.dtype]
        element = _INTEGER[size]
        counts = Operand("ptr", "%scratch")
        spare = e.gep("i64", counts, BUCKETS * size)
        keys = e.gep("i64", spare, n)
        other_keys = e.gep(element, keys, n)
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as rows:
            start = e.mul(rows.index, n)
            row = e.gep(element, x, start)
            order = e.gep("i64", out, start)
            with e.loop(e.i64(0), n) as loop:
                key = self._key(e, e.load(element, e.gep(element, row, loop.index), size))
                e.store(key, e.gep(element, keys, loop.index), size)
                e.store(loop.index, e.gep("i64", order, loop.index), 8)
            is_short = e.icmp("sle", n, e.i64(SHORT))
            with e.when(is_short):
                _insertion_sort(e, element, keys, order, n)
            with e.when(e.bin("xor", is_short, e.const("i1", 1))):
                _radix_sort(e, size, counts, (keys, other_keys), (order, spare), n)
        return module([e.function(name)], e.declarations, target.triple)

    def _key(self, e: Emitter, bits: Operand) -> Operand:
        """An unsigned integer that is smaller where the element comes earlier."""
        width = 8 * ITEMSIZE[self.dtype]
        sign = e.const(bits.type, 1 << (width - 1))
        key = bits
        if self.dtype in FLOATS:
            magnitude = e.bin("and", bits, e.const(bits.type, (1 << (width - 1)) - 1))
            key = e.select(e.icmp("eq", magnitude, e.const(bits.type, 0)), magnitude, key)
            flip = e.bin("or", e.bin("ashr", key, e.const(bits.type, width - 1)), sign)
            key = e.bin("xor", key, flip)
            is_nan = e.icmp("ugt", magnitude, e.const(bits.type, _INFINITY[self.dtype]))
            key = e.select(is_nan, e.const(bits.type, -1), key)
        elif self.dtype not in ("uint8", "bool"):
            key = e.bin("xor", key, sign)
        return e.bin("xor", key, e.const(bits.type, -1)) if self.descending else key


def _insertion_sort(e: Emitter, element: str, keys: Operand, order: Operand, n: Operand) -> None:
    """Keys and, with them, their indices."""
    with e.loop(e.i64(1), n) as loop:
        mine = e.load(element, e.gep(element, keys, loop.index))
        with _while(e, [loop.index]) as shift:
            (hole,) = shift.carried
            left = e.sub(hole, 1)
            # At the row's start nothing is to the left: look at the hole, and stop.
            at_start = e.icmp("eq", hole, e.i64(0))
            seen = e.select(at_start, hole, left)
            neighbour = e.load(element, e.gep(element, keys, seen))
            later = e.icmp("ugt", neighbour, mine)
            shift.test(e.select(at_start, e.const("i1", 0), later))
            e.store(neighbour, e.gep(element, keys, hole))
            e.store(e.load("i64", e.gep("i64", order, left), 8), e.gep("i64", order, hole), 8)
            shift.next = [left]
        e.store(mine, e.gep(element, keys, shift.carried[0]))
        e.store(loop.index, e.gep("i64", order, shift.carried[0]), 8)


def _radix_sort(
    e: Emitter, size: int, counts: Operand, keys: tuple[Operand, Operand], orders: tuple[Operand, Operand], n: Operand
) -> None:
    """By one digit after the other, back and forth between the two places; the result is at ``orders[0]``."""
    element = _INTEGER[size]

    def digit(key: Operand, number: Operand) -> Operand:
        wide = key if size == 8 else e.cast("zext", key, "i64")
        return e.bin("and", e.bin("lshr", wide, e.mul(number, 8)), e.i64(BUCKETS - 1))

    with e.loop(e.i64(0), e.i64(BUCKETS * size)) as loop:
        e.store(e.i64(0), e.gep("i64", counts, loop.index), 8)
    with e.loop(e.i64(0), n) as loop:
        key = e.load(element, e.gep(element, keys[0], loop.index))
        for number in range(size):
            at = e.gep("i64", counts, e.add(digit(key, e.i64(number)), BUCKETS * number))
            e.store(e.add(e.load("i64", at, 8), 1), at, 8)
    with e.loop(e.i64(0), e.i64(size), carry=[*keys, *orders]) as digits:
        from_keys, to_keys, source, to = digits.carried
        places = e.gep("i64", counts, e.mul(digits.index, BUCKETS))
        common = digit(e.load(element, from_keys), digits.index)
        same = e.icmp("eq", e.load("i64", e.gep("i64", places, common), 8), n)
        with e.when(e.bin("xor", same, e.const("i1", 1))):
            with e.loop(e.i64(0), e.i64(BUCKETS), carry=[e.i64(0)]) as loop:
                at = e.gep("i64", places, loop.index)
                count = e.load("i64", at, 8)
                e.store(loop.carried[0], at, 8)
                loop.next = [e.add(loop.carried[0], count)]
            with e.loop(e.i64(0), n) as loop:
                key = e.load(element, e.gep(element, from_keys, loop.index))
                at = e.gep("i64", places, digit(key, digits.index))
                place = e.load("i64", at, 8)
                e.store(e.add(place, 1), at, 8)
                e.store(key, e.gep(element, to_keys, place))
                e.store(e.load("i64", e.gep("i64", source, loop.index), 8), e.gep("i64", to, place), 8)
        digits.next = [
            e.select(same, a, b) for a, b in ((from_keys, to_keys), (to_keys, from_keys), (source, to), (to, source))
        ]
    result = digits.carried[2]
    with e.when(e.inst("i1", f"icmp ne {result}, {orders[0].text}")), e.loop(e.i64(0), n) as loop:
        e.store(e.load("i64", e.gep("i64", result, loop.index), 8), e.gep("i64", orders[0], loop.index), 8)


class _while:
    """``while test:`` with values carried round; ``test`` is called once in the body, before its effects.

    After the block ``carried`` still names the values at the head, which are the final ones there.
    """

    def __init__(self, e: Emitter, carry: list[Operand]) -> None:
        self.e = e
        self.first = carry
        self.next: list[Operand] = []

    def __enter__(self) -> _while:
        e = self.e
        self.name = e.fresh("W")
        self.before = e.block
        e.br(f"{self.name}.head")
        e.label(f"{self.name}.head")
        self.at = len(e.lines)
        self.carried = [e.inst(c.type, "") for c in self.first]
        return self

    def test(self, condition: Operand) -> None:
        self.e.cond_br(condition, f"{self.name}.body", f"{self.name}.end")
        self.e.label(f"{self.name}.body")

    def __exit__(self, *exception: object) -> None:
        e = self.e
        after = e.block
        e.br(f"{self.name}.head")
        for i, (phi, first, later) in enumerate(zip(self.carried, self.first, self.next, strict=True)):
            e.lines[self.at + i] = (
                f"  {phi.text} = phi {phi.type} [ {first.text}, %{self.before} ], [ {later.text}, %{after} ]"
            )
        e.label(f"{self.name}.end")
