"""Sizes of tiles and blocks: from the extents and the machine's row only, never from the number of threads.

Times in nanoseconds weigh one division against another; they were found on a machine with AVX-512.
"""

from __future__ import annotations

import functools
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

# What a core reaches in float32.
FLOPS_PER_NANOSECOND = {"avx512": 250.0, "avx2": 90.0, "sse2": 15.0, "neon": 30.0}

# Nanoseconds to pack an element, by how it is read; to add one to those of an earlier part of k, or of a divided K.
PACKING = {"direct": 0.03, "row": 0.04, "x": 0.06, "k": 0.08, "k+": 0.07, "s": 0.2, "tx": 0.08, "tk": 0.15}
ADDING, PARTING = 0.02, 0.14

# Nanoseconds of a block for each block of its k; and of work for which threads are worth while, times their square.
BLOCK_NANOSECONDS = 150.0
THREAD_NANOSECONDS = 500.0
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
    nanoseconds: float
    """Of all blocks on one core."""


def padded(extent: int, step: int) -> int:
    """``extent`` rounded up to a multiple of ``step``, at least one step."""
    return max(1, -(-extent // step)) * step


def choose_tile(target: Target, dtype: str, m: int, n: int, a_mode: str = "direct") -> tuple[int, int]:
    """``(mr, nv)``: the tile that wastes least. Rows that are read where they lie have to exist."""
    lanes = target.lanes(ACCUMULATE[dtype])

    def time(tile: tuple[int, int, float]) -> float:
        mr, nv, rate = tile
        return padded(m, mr) * padded(n, nv * lanes) / rate

    mr, nv, _ = min((t for t in TILES[target.name] if a_mode != "direct" or t[0] <= max(1, m)), key=time)
    return mr, nv


def k_block(target: Target, k: int) -> int:
    """Steps of a block of k: nearly even, and a function of K alone, so that sums have one order. A multiple of 64,
    because runs of pixels seldom end there."""
    turns = max(1, ceil(k / BLOCKS[target.name][0]))
    return padded(ceil(k / turns), 64 if turns > 1 else 8)


@functools.lru_cache(4096)
def tiling(
    target: Target, dtype: str, extents: tuple[int, int, int, int], a_mode: str, b_mode: str, parts: str
) -> Tiling:
    """Tile and blocks of a contraction of these extents (batch, M, N, K).

    Of all divisions it takes the one that should be done soonest by 2, 4 and 8 threads, all told, as far as so many
    are worth while. ``parts`` says how K may be divided: ``"blocks"`` only into single blocks of k, which gives the
    sum that an undivided K gives; ``"any"``.
    """
    batch, m, n, k = extents
    mr, nv = choose_tile(target, dtype, m, n, a_mode)
    size = ITEMSIZE[ACCUMULATE[dtype]]
    nr = nv * target.lanes(ACCUMULATE[dtype])
    depth = k_block(target, k)
    turns = ceil(k / depth)
    _, most_m, most_n = BLOCKS[target.name]
    rate = FLOPS_PER_NANOSECOND[target.name]
    alone = batch * (2 * m * n * k / rate + PACKING[a_mode] * m * k + PACKING[b_mode] * n * k)
    threads = [t for t in (2, 4, 8) if t * t * THREAD_NANOSECONDS <= alone] or [1]
    # With A kept, narrow blocks are free: B's panels are read while they are near.
    near = max(nr, NEAR_BYTES // (size * depth) // nr * nr)
    best, result = float("inf"), Tiling(mr, nv, nr, mr, nr, depth, max(1, k), False, 0.0)
    for k_parts in _k_parts(m, n, k, turns, parts) if len(threads) > 1 else [1]:
        k_split = max(1, k) if k_parts == 1 else ceil(turns / k_parts) * depth
        steps = min(k, k_split)
        for m_size in _sizes(m, mr, most_m):
            keeps = a_mode != "direct" and m_size * steps * size <= KEPT_BYTES
            for n_size in _sizes(n, nr, min(most_n, near) if keeps else most_n):
                n_parts = ceil(n / n_size)
                kept = keeps and n_parts > 1
                blocks = batch * k_parts * ceil(m / m_size) * n_parts
                # Each thread that takes part packs what it keeps.
                packed = m_size * (min(n_parts, 3) / n_parts if kept else 1)
                block = BLOCK_NANOSECONDS * ceil(steps / depth)
                block += steps * (PACKING[a_mode] * packed + PACKING[b_mode] * n_size)
                block += m_size * n_size * (2 * steps / rate + ADDING * turns / k_parts)
                block += m_size * n_size * PARTING * (k_parts > 1)
                # At the end threads wait for half a block of another one.
                time = sum(ceil(blocks / t) + (t - 1) / (2 * t) for t in threads) * block
                if time < best:
                    best, result = time, Tiling(mr, nv, nr, m_size, n_size, depth, k_split, kept, blocks * block)
    return result


def _sizes(extent: int, step: int, most: int) -> list[int]:
    """Sizes of blocks that are worth a thought, from the largest: multiples of ``step``, no more than ``most``."""
    least = ceil(extent / (most // step * step))
    counts = [least, *(c for c in (2, 3, 4, 6, 8, 12, 16, 24, 32) if c > least), 2 * least]
    return list(dict.fromkeys(padded(ceil(extent / count), step) for count in counts))


def _k_parts(m: int, n: int, k: int, turns: int, parts: str) -> list[int]:
    """Into how many parts K may be divided: only where it is much longer than the result is wide."""
    if k < 2 * SPLIT_STEPS or k < 4 * max(m, n):
        return [1]
    if parts == "blocks":
        return [1, turns] if turns <= 4 * BLOCK_COUNT else [1]
    return [1, *(p for p in (2, 4, 8, BLOCK_COUNT) if k // p >= SPLIT_STEPS)]
