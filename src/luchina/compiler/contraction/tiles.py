"""Sizes of tiles and blocks: from the extents and the machine's row only, never from the number of threads."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.target import Target

# Register tiles, rows by vectors, with the share of the FMA rate that each reaches on packed panels.
TILES: dict[str, tuple[tuple[int, int, float], ...]] = {
    "avx512": ((1, 8, 0.5), (2, 8, 0.9), (4, 4, 0.95), (8, 1, 0.95), (14, 1, 0.96), (8, 2, 0.99), (12, 2, 1.0)),
    "avx2": ((1, 6, 0.4), (2, 4, 0.6), (4, 1, 0.5), (4, 2, 0.8), (6, 1, 0.6), (6, 2, 1.0)),
    "sse2": ((1, 6, 0.4), (2, 4, 0.7), (4, 1, 0.5), (4, 2, 1.0)),
    "neon": ((1, 8, 0.4), (2, 6, 0.6), (4, 4, 0.9), (8, 1, 0.7), (8, 3, 1.0)),
}

# The longest block of k; the most rows and columns of a block of C.
BLOCKS = {"avx512": (384, 240, 512), "avx2": (320, 144, 512), "sse2": (320, 128, 384), "neon": (320, 144, 512)}

# A block should take about so long; and a contraction that lasts longer should have so many.
BLOCK_FLOPS = 400_000
BLOCK_COUNT = 16

# K is divided when the result alone gives too few blocks, into parts of at least so many steps.
SPLIT_STEPS = 1024


class Tiling(NamedTuple):
    """Tile and block sizes of one contraction."""

    mr: int
    nv: int
    nr: int
    m_block: int
    n_block: int
    k_block: int


def padded(extent: int, step: int) -> int:
    """``extent`` rounded up to a multiple of ``step``, at least one step."""
    return max(1, -(-extent // step)) * step


def choose_tile(target: Target, dtype: str, m: int, n: int) -> tuple[int, int]:
    """``(mr, nv)``: the tile that wastes least."""
    lanes = target.lanes(ACCUMULATE[dtype])

    def time(tile: tuple[int, int, float]) -> float:
        mr, nv, rate = tile
        return padded(m, mr) * padded(n, nv * lanes) / rate

    mr, nv, _ = min(TILES[target.name], key=time)
    return mr, nv


def k_block(target: Target, k: int) -> int:
    """Steps of a block of k: as even as can be, and a function of K alone, so that sums have one order."""
    turns = max(1, ceil(k / BLOCKS[target.name][0]))
    return padded(ceil(k / turns), 8)


def tiling(target: Target, dtype: str, batch: int, m: int, n: int, k: int, pack_a: bool, pack_b: bool) -> Tiling:
    """Tile and blocks of a contraction of these extents; packed operands make a repeated panel dearer."""
    mr, nv = choose_tile(target, dtype, m, n)
    nr = nv * target.lanes(ACCUMULATE[dtype])
    _, most_m, most_n = BLOCKS[target.name]
    flops = 2 * batch * m * n * max(k, 1)
    wanted = min(BLOCK_COUNT, ceil(flops / BLOCK_FLOPS)) / max(1, batch)
    best, sizes = float("inf"), (0, 0)
    least_m, least_n = ceil(m / most_m), ceil(n / most_n)
    for m_count in range(max(1, least_m), max(1, least_m, min(BLOCK_COUNT, ceil(m / mr))) + 1):
        n_count = max(1, least_n, ceil(wanted / m_count))
        m_size, n_size = padded(ceil(m / m_count), mr), padded(ceil(n / n_count), nr)
        m_parts, n_parts = ceil(m / m_size), ceil(n / n_size)
        if m_parts * n_parts < min(wanted, ceil(m / mr) * ceil(n / nr)):
            continue
        # Rows of A are read once for each block of columns, columns of B once for each block of rows.
        price = n_parts * m * (2 if pack_a else 1) + m_parts * n * (2 if pack_b else 1)
        if price < best:
            best, sizes = price, (m_size, n_size)
    if not sizes[0]:
        sizes = (padded(min(m, most_m), mr), padded(min(n, most_n), nr))
    return Tiling(mr, nv, nr, *sizes, k_block(target, k))


def k_parts(target: Target, blocks: int, k: int) -> int:
    """Into how many parts K is divided, given the blocks of the result."""
    if blocks >= BLOCK_COUNT // 2 or k < 2 * SPLIT_STEPS:
        return 1
    return min(BLOCK_COUNT // blocks, k // SPLIT_STEPS)
