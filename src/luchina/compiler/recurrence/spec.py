"""What fixes the code of a recurrence kernel, its tile sizes, and the numbers that it is given.

Everything in a thread's scratch is in *vectors of a tile*: ``[vector][row of the tile][lane]``. So h, as the left
operand of the product, lies at constant distances for all rows of a tile, and so does the product, tile by tile.
Units are padded to whole vectors and rows to whole tiles, with zeros.
"""

from __future__ import annotations

from typing import NamedTuple

from luchina.compiler.prims import CELLS, Cell
from luchina.compiler.target import Target

# Register tiles, rows by vectors, and the share of the FMA rate that each reaches.
TILES: dict[str, tuple[tuple[int, int, float], ...]] = {
    "avx512": ((1, 8, 0.3), (2, 8, 0.85), (4, 4, 0.95), (8, 2, 1.0), (12, 2, 1.0)),
    "avx2": ((1, 6, 0.3), (2, 4, 0.6), (4, 2, 0.8), (6, 2, 1.0)),
    "sse2": ((1, 6, 0.3), (2, 4, 0.7), (4, 2, 1.0)),
    "neon": ((1, 8, 0.3), (2, 6, 0.6), (4, 4, 0.9), (8, 3, 1.0)),
}

# Packed weights that a second cache holds. Beyond, two tiles of rows share each panel.
NEAR_BYTES = 640 << 10

# Longest chain of multiply-adds in one accumulator, in steps.
CHAIN = 512


class Spec(NamedTuple):
    """One kernel: all that changes its code."""

    direction: str  # forward, backward
    mode: str
    dtype: str
    mr: int
    nv: int
    keep: bool = True
    """Forward writes down what backward reads."""

    def __str__(self) -> str:
        return f"{self.direction} {self.mode} {self.dtype} {self.mr}x{self.nv}{' keep' if self.keep else ''}"

    @property
    def cell(self) -> Cell:
        return CELLS[self.mode]

    @property
    def operands(self) -> tuple[str, ...]:
        """Pointers, in order; the last one is written."""
        cell = self.cell
        if self.direction == "forward":
            return ("x", "h0", *(("c0",) if cell.has_c else ()), *(("bias",) if cell.biased else ()), "w", "trace")
        return ("g", "gh", *(("gc",) if cell.has_c else ()), "trace", "w", "out")

    @property
    def numbers(self) -> tuple[str, ...]:
        """Plain numbers, in order; distances in elements."""
        common = ("T", "B", "H", "reverse", "rows", "units", "panels", "k_vectors", "c_at", "kept_at")
        if self.direction == "forward":
            return (*common, "c_step", "x_t", "x_b")
        return (*common, "g_t", "g_b", "du_at", "carried_at")


def choose_tile(target: Target, batch: int) -> tuple[int, int]:
    """``(mr, nv)``: the tile for which two workers need least time. More of them have as many blocks as there are."""

    def time(tile: tuple[int, int, float]) -> tuple[float, int]:
        mr, _, rate = tile
        blocks = -(-batch // mr)
        return -(-blocks // 2) * mr / rate, -mr

    mr, nv, _ = min(TILES[target.name], key=time)
    return mr, nv


def rows_of_block(batch: int, mr: int, weight_bytes: int) -> int:
    """Rows of the batch that one block takes: a function of the extents only."""
    return 2 * mr if weight_bytes > NEAR_BYTES and batch > 2 * mr else mr
