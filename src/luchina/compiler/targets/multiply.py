"""What multiplies two tiles in local memory: fused multiply-adds of each work item, or a warp's tensor cores.

An engine holds its sums in registers: ``zeros`` to begin with, ``multiply`` takes one pair of tiles in, ``parts`` says
which elements of the tile they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from luchina.compiler.body import register_type
from luchina.compiler.ir import Operand, vector

if TYPE_CHECKING:
    from luchina.compiler.targets.product_kernel import Staging, Writer

# Elements between lines of a tile in local memory, so that a warp's accesses fall on different banks; by engine and by
# whether a line lies along k.
PADDING = {
    ("fma", False): 4,
    ("mma", True): 8,
    ("mma", False): 8,
    ("tf32", True): 4,
    ("tf32", False): 8,
}

Place = tuple[int, Operand]
"""A number for a row or column that is the same for all items, and which one it is for this item."""


class Engine(Protocol):
    """What a kernel asks of whatever multiplies."""

    def zeros(self) -> list[Operand]: ...
    def multiply(self, sums: list[Operand], slot: Operand) -> list[Operand]: ...
    def parts(self, sums: list[Operand]) -> list[tuple[Place, Place, Operand]]: ...


class FusedMultiplyAdd:
    """Each item has squares of 4 × 4 elements, as far apart as the items' number goes."""

    SQUARE = 4

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        e, tile = writer.e, writer.spec.tile
        self.element = register_type(writer.spec.dtype)
        self.rows, self.columns = tile.m // (4 * tile.rows), tile.n // (4 * tile.columns)
        row = e.bin("udiv", writer.item, e.i64(tile.columns))
        column = e.bin("urem", writer.item, e.i64(tile.columns))
        self.row = [e.mul(e.add(row, v * tile.rows), 4) for v in range(self.rows)]
        self.column = [e.mul(e.add(column, u * tile.columns), 4) for u in range(self.columns)]

    def zeros(self) -> list[Operand]:
        return [self.writer.e.const(vector(self.element, 4), 0)] * (self.rows * self.columns * 4)

    def multiply(self, sums: list[Operand], slot: Operand) -> list[Operand]:
        e, sums = self.writer.e, list(sums)
        x, y = self.writer.sides
        four = vector(self.element, 4)
        align = 16 if self.element in ("float", "i32", "double", "i64") else 4
        for k in range(self.writer.spec.tile.k):
            left = [e.load(four, x.at(slot, row, e.i64(k)), align) for row in self.row]
            right = [e.load(four, y.at(slot, column, e.i64(k)), align) for column in self.column]
            at = 0
            for a in left:
                for lane in range(4):
                    wide = e.splat(e.extract(a, lane), 4)
                    for b in right:
                        if self.element in ("float", "double"):
                            sums[at] = e.intrinsic("fma", wide, b, sums[at])
                        else:
                            sums[at] = e.add(sums[at], e.mul(wide, b))
                        at += 1
        return sums

    def parts(self, sums: list[Operand]) -> list[tuple[Place, Place, Operand]]:
        e = self.writer.e
        result = []
        values = iter(sums)
        for v, row in enumerate(self.row):
            for lane in range(4):
                for u, column in enumerate(self.column):
                    result.append(((4 * v + lane, e.add(row, lane)), (u, column), next(values)))
        return result


class TensorCores:
    """A warp has a part of the tile in fragments of 16 × 8 elements; 16-bit floats, summed in float32.

    Source: the PTX ISA manual, "Matrix fragments for mma.m16n8k16" and "ldmatrix".
    """

    DEPTH = 16

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        e, tile = writer.e, writer.spec.tile
        self.lane = e.bin("urem", writer.item, e.i64(32))
        warp = e.bin("udiv", writer.item, e.i64(32))
        self.m, self.n = tile.m // tile.rows, tile.n // tile.columns
        self.top = e.mul(e.bin("udiv", warp, e.i64(tile.columns)), self.m)
        self.left = e.mul(e.bin("urem", warp, e.i64(tile.columns)), self.n)
        self.group, self.pair = e.bin("udiv", self.lane, e.i64(4)), e.bin("urem", self.lane, e.i64(4))

    def zeros(self) -> list[Operand]:
        return [self.writer.e.const("float", 0.0)] * (4 * (self.m // 16) * (self.n // 8))

    def multiply(self, sums: list[Operand], slot: Operand) -> list[Operand]:
        sums = list(sums)
        x, y = self.writer.sides
        for k in range(0, self.writer.spec.tile.k, self.DEPTH):
            left = [self.left_fragment(x, slot, i, k) for i in range(0, self.m, 16)]
            right = [f for j in range(0, self.n, 16) for f in self.right_fragments(y, slot, j, k)]
            at = 0
            for a in left:
                for b in right:
                    sums[at : at + 4] = self.mma(a, b, sums[at : at + 4])
                    at += 4
        return sums

    def left_fragment(self, side: Staging, slot: Operand, row: int, k: int) -> list[Operand]:
        """16 rows by 16 of k: quarters (top, first k), (bottom, first), (top, last), (bottom, last)."""
        e = self.writer.e
        in_line, quarter = e.bin("urem", self.lane, e.i64(8)), e.bin("udiv", self.lane, e.i64(8))
        low, high = e.mul(e.bin("urem", quarter, e.i64(2)), 8), e.mul(e.bin("udiv", quarter, e.i64(2)), 8)
        at_row, at_k = (e.add(in_line, low), high) if side.by_k else (low, e.add(in_line, high))
        return self.matrices(side, side.at(slot, e.add(e.add(self.top, row), at_row), e.add(at_k, k)))

    def right_fragments(self, side: Staging, slot: Operand, column: int, k: int) -> list[list[Operand]]:
        """16 of k by two times 8 columns."""
        e = self.writer.e
        in_line, quarter = e.bin("urem", self.lane, e.i64(8)), e.bin("udiv", self.lane, e.i64(8))
        low, high = e.mul(e.bin("urem", quarter, e.i64(2)), 8), e.mul(e.bin("udiv", quarter, e.i64(2)), 8)
        at_k, at_column = (low, e.add(in_line, high)) if side.by_k else (e.add(in_line, low), high)
        four = self.matrices(side, side.at(slot, e.add(e.add(self.left, column), at_column), e.add(at_k, k)))
        return [four[:2], four[2:]]

    def matrices(self, side: Staging, pointer: Operand) -> list[Operand]:
        """Four matrices of 8 × 8 whose lines the lanes point to; turned where lines lie along the other axis."""
        turned = "" if side.by_k else ".trans"
        name = f"llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4{turned}.b16.p3"
        return self.several(name, "i32", 4, [pointer])

    def mma(self, a: list[Operand], b: list[Operand], c: list[Operand]) -> list[Operand]:
        """c + a·b."""
        if self.writer.spec.dtype == "bfloat16":
            return self.several("llvm.nvvm.mma.m16n8k16.row.col.bf16", "float", 4, [*a, *b, *c])
        a, b = ([self.writer.e.inst("<2 x half>", f"bitcast {v} to <2 x half>") for v in own] for own in (a, b))
        if self.writer.target.name >= "sm_80":
            return self.several("llvm.nvvm.mma.m16n8k16.row.col.f32.f32", "float", 4, [*a, *b, *c])
        for half in range(2):  # the older instruction takes 8 of k
            c = self.several("llvm.nvvm.mma.m16n8k8.row.col.f32.f32", "float", 4, [*a[2 * half :][:2], b[half], *c])
        return c

    def several(self, name: str, element: str, count: int, arguments: list[Operand]) -> list[Operand]:
        """Call an intrinsic with several results."""
        e = self.writer.e
        kind = "{" + ", ".join([element] * count) + "}"
        e.declarations[name] = f"declare {kind} @{name}({', '.join(a.type for a in arguments)})"
        made = e.inst(kind, f"call {kind} @{name}({', '.join(map(str, arguments))})")
        return [e.inst(element, f"extractvalue {made}, {i}") for i in range(count)]

    def parts(self, sums: list[Operand]) -> list[tuple[Place, Place, Operand]]:
        e = self.writer.e
        result = []
        at = 0
        for i in range(self.m // 16):
            for j in range(self.n // 8):
                column = e.add(e.add(self.left, 8 * j), e.mul(self.pair, 2))
                for half in range(2):
                    row = e.add(e.add(self.top, 16 * i + 8 * half), self.group)
                    value = e.insert(Operand("<2 x float>", "poison"), sums[at + 2 * half], 0)
                    value = e.insert(value, sums[at + 2 * half + 1], 1)
                    result.append(((2 * i + half, row), (j, column), value))
                at += 4
        return result


class TensorFloat(TensorCores):
    """float32 rounded to 10 bits of fraction: the same fragments, with 8 of k and 32-bit elements."""

    DEPTH = 8

    def left_fragment(self, side: Staging, slot: Operand, row: int, k: int) -> list[Operand]:
        e = self.writer.e
        places = [(low, high) for high in (0, 4) for low in (0, 8)]
        return [
            self.rounded(side.at(slot, e.add(e.add(self.top, row + low), self.group), e.add(self.pair, k + high)))
            for low, high in places
        ]

    def right_fragments(self, side: Staging, slot: Operand, column: int, k: int) -> list[list[Operand]]:
        e = self.writer.e
        return [
            [
                self.rounded(
                    side.at(slot, e.add(e.add(self.left, column + more), self.group), e.add(self.pair, k + high))
                )
                for high in (0, 4)
            ]
            for more in (0, 8)
        ]

    def rounded(self, pointer: Operand) -> Operand:
        e = self.writer.e
        return e.call("i32", "llvm.nvvm.f2tf32.rna", e.load("float", pointer, 4))

    def mma(self, a: list[Operand], b: list[Operand], c: list[Operand]) -> list[Operand]:
        return self.several("llvm.nvvm.mma.m16n8k8.row.col.tf32", "float", 4, [*a, *b, *c])


ENGINES: dict[str, Callable[[Writer], Engine]] = {"fma": FusedMultiplyAdd, "mma": TensorCores, "tf32": TensorFloat}
