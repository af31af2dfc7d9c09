"""Sizes of tiles and blocks: from the extents and the machine's row only, never from the number of threads."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from luchina.compiler.body import ITEMSIZE
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
BLOCKS = {"avx512": (384, 264, 512), "avx2": (320, 144, 512), "sse2": (320, 128, 384), "neon": (320, 144, 512)}

# A block should take about so long; and a contraction that lasts longer should have so many.
BLOCK_FLOPS = 400_000
BLOCK_COUNT = 16

# Packed rows of A are kept for all of K from one block of columns to the next where they take no more bytes.
KEPT_BYTES = 1 << 20

# Panels of B that are used again at once: a part of the second cache.
NEAR_BYTES = 256 << 10

# A part of K has at least so many steps where sums may be ordered by all extents.
SPLIT_STEPS = 1024


class Tiling(NamedTuple):
    """Tile and block sizes of one contraction."""

    mr: int
    nv: int
    nr: int
    m_block: int
    n_block: int
    k_block: int
    k_split: int
    """Steps of K of one part; all of K (at least 1) where it is not divided."""
    a_kept: bool


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
    """Steps of a block of k: nearly even, and a function of K alone, so that sums have one order. A multiple of 64,
    because runs of pixels seldom end there."""
    turns = max(1, ceil(k / BLOCKS[target.name][0]))
    return padded(ceil(k / turns), 64 if turns > 1 else 8)


def tiling(
    target: Target,
    dtype: str,
    extents: tuple[int, int, int, int],
    price_a: float,
    price_b: float,
    parts: str,
) -> Tiling:
    """Tile and blocks of a contraction of these extents (batch, M, N, K).

    Of all divisions into enough blocks it takes the one that packs least; ``price_a`` and ``price_b`` are the costs of
    packing an element. ``parts`` says how K may be divided: ``"blocks"`` only into single blocks of k, which gives the
    sum that an undivided K gives; ``"any"``.
    """
    batch, m, n, k = extents
    mr, nv = choose_tile(target, dtype, m, n)
    size = ITEMSIZE[ACCUMULATE[dtype]]
    nr = nv * target.lanes(ACCUMULATE[dtype])
    depth = k_block(target, k)
    turns = ceil(k / depth)
    _, most_m, most_n = BLOCKS[target.name]
    wanted = min(BLOCK_COUNT, ceil(2 * batch * m * n * max(k, 1) / BLOCK_FLOPS)) / batch
    most_blocks = ceil(m / mr) * ceil(n / nr)
    best, result = float("inf"), None
    for k_parts in _k_parts(m, n, k, turns, wanted, parts):
        k_split = ceil(turns / k_parts) * depth
        for m_count in range(ceil(m / most_m), max(ceil(m / most_m), min(2 * BLOCK_COUNT, ceil(m / mr))) + 1):
            m_size = padded(ceil(m / m_count), mr)
            kept = price_a > 0.1 and m_size * min(k if k_parts == 1 else k_split, k) * size <= KEPT_BYTES
            # With A kept, narrow blocks are free: B's panels are read while they are near.
            widest = min(most_n, padded(max(1, NEAR_BYTES // (size * depth) - nr + 1), nr)) if kept else most_n
            n_count = max(ceil(n / widest), ceil(wanted / (m_count * k_parts)))
            n_size = padded(ceil(n / n_count), nr)
            m_parts, n_parts = ceil(m / m_size), ceil(n / n_size)
            if k_parts * m_parts * n_parts < min(wanted, k_parts * most_blocks):
                continue
            kept = kept and n_parts > 1
            # Each thread that takes part packs what it keeps.
            price = price_a * m * k * (min(n_parts, 3) if kept else n_parts) + price_b * n * k * m_parts
            price += 2 * m * n * (k_parts if k_parts > 1 else 0) + 0.3 * m * n * turns
            if price < best:
                whole = k_parts == 1
                best = price
                result = Tiling(mr, nv, nr, m_size, n_size, depth, max(1, k if whole else k_split), kept)
    if result is None:
        sizes = padded(min(m, most_m), mr), padded(min(n, most_n), nr)
        result = Tiling(mr, nv, nr, *sizes, depth, max(1, k), False)
    return result


def _k_parts(m: int, n: int, k: int, turns: int, wanted: float, parts: str) -> list[int]:
    """Into how many parts K may be divided: only where it is much longer than the result is wide."""
    if k < 2 * SPLIT_STEPS or k < 4 * max(m, n) or wanted <= 1:
        return [1]
    if parts == "blocks":
        return [1, turns] if turns <= 4 * BLOCK_COUNT else [1]
    return [1, *(p for p in (2, 4, 8, BLOCK_COUNT) if k // p >= SPLIT_STEPS)]
