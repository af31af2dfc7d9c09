"""From an operand pair with its numbers to kernel calls: what ``dot`` and the convolutions share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from luchina.compiler import body
from luchina.compiler.body import ITEMSIZE, Body
from luchina.compiler.contraction import combine, packing, template, tiles, writeback
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.spec import ACCUMULATE, Spec, parameter_names
from luchina.compiler.target import Target

# Threads are shared with, and woken, early: programs mostly come again before these fall asleep. A time counts
# so many times, and each byte of the operands besides, as in other kernels.
EAGERNESS = 4.0
NANOSECONDS_A_BYTE = 0.05


@dataclass
class Problem:
    """``C[g, m, n] = sum_k A[g, m, k] · B[g, k, n]`` with everything that the kernel must be told.

    Args:
        extents: (G, M, N, K).
        a, b: slot, offset and strides of the operands, named as in ``spec``.
        windows: for each operand of the epilogue and each output: dtype, class along n, and its numbers.
        tables: the numbers of a contraction with digits; ``None`` without.
        parts: how K may be divided; see ``tiles.tiling``.
    """

    dtype: str
    extents: tuple[int, int, int, int]
    a_mode: str
    b_mode: str
    a: dict[str, int]
    b: dict[str, int]
    body: Body
    operands: list[tuple[str, str, dict[str, int]]]
    outs: list[tuple[str, str, dict[str, int]]]
    tables: dict[str, int] | None = None
    parts: str = "blocks"


kernel_of = functools.lru_cache(4096)(template.kernel)
combine_of = functools.lru_cache(1024)(combine.kernel)


def calls(problem: Problem, target: Target, temporary: Callable[[int], int]) -> list[Call]:
    """The kernel calls of a problem: one, or two where K is divided."""
    batch, m, n, k = problem.extents
    if batch * m * n == 0:
        return []
    tile = tiles.tiling(target, problem.dtype, problem.extents, problem.a_mode, problem.b_mode, problem.parts)
    parts = ceil(k / tile.k_split) if k else 1
    if parts == 1:
        return [_main(problem, tile, problem.body, problem.operands, problem.outs, target)]
    accumulated = ACCUMULATE[problem.dtype]
    row = tiles.padded(n, tile.nr)
    step = batch * m * row
    slot = temporary(parts * step * ITEMSIZE[accumulated])
    numbers = {"slot": slot, "offset": 0, "batch": m * row, "split": step, "m": row, "n_0": 0, "n_1": 0, "n_2": 0}
    first = _main(problem, tile, None, [], [(accumulated, "1", numbers)], target)
    return [first, _combine(problem, slot, parts, row, step, target)]


def _main(
    problem: Problem,
    tile: tiles.Tiling,
    body_: Body | None,
    operands: Sequence[tuple[str, str, dict[str, int]]],
    outs: Sequence[tuple[str, str, dict[str, int]]],
    target: Target,
) -> Call:
    batch, m, n, k = problem.extents
    lanes = target.lanes(ACCUMULATE[problem.dtype])
    size = ITEMSIZE[ACCUMULATE[problem.dtype]]
    spec = Spec(
        problem.dtype,
        tile.mr,
        tile.nv,
        problem.a_mode,
        problem.b_mode,
        tuple(map(_class, operands)),
        tuple((dtype, kind) for dtype, kind, _ in outs),
        body_,
    )
    m_blocks, n_blocks = ceil(m / tile.m_block), ceil(n / tile.n_block)
    parts = max(1, ceil(k / tile.k_split))
    several = tile.k_split > tile.k_block
    # Where each thing lies in scratch: packed A, packed B, sums, tables along k, offsets of columns.
    depth = min(tile.k_block, max(k, 1))
    slack = packing.slack(lanes, max(tile.nr, tile.mr)) * size
    m_used, n_used = min(tile.m_block, tiles.padded(m, tile.mr)), min(tile.n_block, tiles.padded(n, tile.nr))
    in_rows = tiles.padded(depth + lanes, lanes), depth + packing.surplus_rows(lanes, tile.mr)
    a_turn = m_used * in_rows[problem.a_mode != "row"] if problem.a_mode != "direct" else 0
    b_width = {"direct": 0, "k+": tile.nr}.get(problem.b_mode, n_used)
    b_turn = b_width * (depth + packing.surplus_rows(lanes, tile.nr))
    turns = ceil(min(k, tile.k_split) / tile.k_block) if tile.a_kept else 1
    at_b = _aligned(a_turn * turns * size + slack if a_turn else 0)
    at_c = at_b + _aligned(b_turn * size + slack if b_turn else 0)
    at_tables = at_c + _aligned((m_used * n_used if several else tile.mr * tile.nr) * size)
    entries = tiles.padded(depth, 64) + 64
    at_columns = at_tables + _aligned(packing.TABLES * entries * 4 if problem.tables is not None else 0)
    scratch = at_columns + _aligned(writeback.columns_bytes(spec, lanes))
    numbers = {
        "M": m,
        "N": n,
        "K": k,
        "m_block": tile.m_block,
        "n_block": tile.n_block,
        "k_block": tile.k_block,
        "k_split": tile.k_split,
        "m_blocks": m_blocks,
        "n_blocks": n_blocks,
        "splits": parts,
        "at_b": at_b,
        "at_c": at_c,
        "at_tables": at_tables,
        "at_columns": at_columns,
        "c_step": int(several),
        "a_kept": int(tile.a_kept),
        "a_turn": a_turn if tile.a_kept else 0,
        "k_entries": entries,
        **{f"a_{name}": value for name, value in problem.a.items()},
        **{f"b_{name}": value for name, value in problem.b.items()},
        **(problem.tables or {}),
    }
    flops = 2 * batch * m * n * k
    return Call(
        kernel_of(spec),
        _params(spec, numbers, [w for *_, w in (*operands, *outs)]),
        batch * parts * m_blocks * n_blocks,
        scratch,
        EAGERNESS * tile.nanoseconds + NANOSECONDS_A_BYTE * ITEMSIZE[problem.dtype] * batch * (m * k + k * n),
        tuple(dict.fromkeys([problem.a["slot"], problem.b["slot"], *(w["slot"] for *_, w in operands)])),
        tuple(dict.fromkeys(w["slot"] for *_, w in outs)),
        flops,
    )


def _combine(problem: Problem, slot: int, parts: int, row: int, step: int, target: Target) -> Call:
    batch, m, n, _ = problem.extents
    lanes = target.lanes(ACCUMULATE[problem.dtype])
    nv = 4
    spec = Spec(
        problem.dtype,
        1,
        nv,
        "partial",
        "tx" if problem.tables is not None else "direct",
        tuple(map(_class, problem.operands)),
        tuple((dtype, kind) for dtype, kind, _ in problem.outs),
        problem.body,
    )
    m_block = max(1, min(m, 16384 // max(1, n * parts)))
    at_columns = _aligned(nv * lanes * 8)
    numbers = dict.fromkeys(parameter_names(spec), 0) | {
        "M": m,
        "N": n,
        "K": parts,
        "m_block": m_block,
        "m_blocks": ceil(m / m_block),
        "at_columns": at_columns,
        "a_slot": slot,
        "a_batch": m * row,
        "a_x": row,
        "a_k": step,
        **(problem.tables or {}),
    }
    windows = [w for *_, w in (*problem.operands, *problem.outs)]
    return Call(
        combine_of(spec),
        _params(spec, numbers, windows),
        batch * ceil(m / m_block),
        at_columns + _aligned(writeback.columns_bytes(spec, lanes)),
        100.0 + batch * m * n * parts / 8,
        tuple(dict.fromkeys([slot, *(w["slot"] for *_, w in problem.operands)])),
        tuple(dict.fromkeys(w["slot"] for *_, w in problem.outs)),
        batch * m * n * parts,
    )


def _class(operand: tuple[str, str, dict[str, int]]) -> tuple[str, str]:
    dtype, kind, window = operand
    single = kind == "0" and not (window["batch"] or window["split"] or window["m"])
    return dtype, "c" if single else kind


def _params(spec: Spec, numbers: dict[str, int], windows: list[dict[str, int]]) -> list[int]:
    for i, window in enumerate(windows):
        for what, value in window.items():
            numbers[f"w{i}_{what}"] = value
    return [numbers[name] for name in parameter_names(spec)]


def _aligned(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


def checked(dtype: str, outs: Sequence[Window], epilogue: Epilogue | None) -> Epilogue:
    """The epilogue (or the one that writes the result as it is), once it fits the outputs."""
    if dtype not in ACCUMULATE:
        raise NotImplementedError(f"a contraction of {dtype}")
    epilogue = epilogue or Epilogue(body.identity(dtype))
    inputs = (dtype, *(w.dtype for w in epilogue.operands))
    if epilogue.body.inputs != inputs:
        raise TypeError(f"the epilogue takes {epilogue.body.inputs}, its operands are {inputs}")
    if epilogue.body.output_dtypes != tuple(w.dtype for w in outs):
        raise TypeError(f"the epilogue gives {epilogue.body.output_dtypes}, its outputs are {outs}")
    return epilogue
