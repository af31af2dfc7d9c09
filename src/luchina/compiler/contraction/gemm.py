"""Matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luchina.compiler.body import ITEMSIZE
from luchina.compiler.contraction import plan, tiles, turning
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.spec import ACCUMULATE
from luchina.compiler.target import Target


def dot(
    a: Window,
    b: Window,
    outs: Sequence[Window],
    shape: tuple[int, int, int, int],
    target: Target,
    temporary: Callable[[int], int],
    epilogue: Epilogue | None = None,
) -> list[Call]:
    """``C[i, m, n] = sum_k A[i, m, k] · B[i, k, n]``: ``prims.dot``.

    Args:
        a: window with strides (batch, m, k).
        b: window with strides (batch, k, n); of the same dtype.
        outs: windows with strides (batch, m, n), one for each output of the epilogue.
        shape: (batch, M, N, K).
        target: the machine.
        temporary: gives the table entry of a temporary of so many bytes.
        epilogue: applied to every element once; its operands have strides (batch, m, n).
    """
    epilogue = plan.checked(a.dtype, outs, epilogue)
    batch, m, n, k = shape
    operands = list(epilogue.operands)
    outs = list(outs)
    if _better_transposed(outs, m, n, target.lanes(ACCUMULATE[a.dtype])):
        a, b = _swapped(b), _swapped(a)
        operands, outs = [_swapped(w) for w in operands], [_swapped(w) for w in outs]
        m, n = n, m
    if batch > 1 and m > 1 and _stacked([a, *operands, *outs], m) and b.strides[0] == 0:
        batch, m = 1, batch * m  # one matrix for the whole batch: its rows are stacked
    a_batch, a_m, a_k = a.strides
    b_batch, b_k, b_n = b.strides
    _, nv = tiles.choose_tile(target, a.dtype, m, n)
    nr = nv * target.lanes(ACCUMULATE[a.dtype])
    near = b_k * ITEMSIZE[b.dtype] <= DIRECT_B_APART
    b_direct = b_n == 1 and (m <= DIRECT_B_ROWS or n * k <= DIRECT_B_ELEMENTS or near)
    a_mode = _mode_of_a(a, n <= DIRECT_A_PANELS * nr)
    problem = plan.Problem(
        dtype=a.dtype,
        extents=(batch, m, n, k),
        a_mode=a_mode,
        b_mode="direct" if b_direct else _mode_of_b(b, a_mode, turning.fits(target, a.dtype, m, k)),
        a={"slot": a.slot, "offset": a.offset, "batch": a_batch, "x": a_m, "k": a_k},
        b={"slot": b.slot, "offset": b.offset, "batch": b_batch, "x": b_n, "k": b_k},
        body=epilogue.body,
        operands=[_window(w, n, True) for w in operands],
        outs=[_window(w, n, False) for w in outs],
    )
    return plan.calls(problem, target, temporary)


# Packing pays from so many uses of an element on, and for rows of B so many bytes apart that they crowd the caches'
# sets; what fits the first cache is read where it lies.
DIRECT_A_PANELS = 16
DIRECT_B_ROWS = 32
DIRECT_B_APART = 3584
DIRECT_B_ELEMENTS = 4096


def _mode_of_a(a: Window, few_uses: bool) -> str:
    """Rows along k are read where they lie, or widened once a block where they are narrower than the sums."""
    _, m, k = a.strides
    if ACCUMULATE[a.dtype] != a.dtype:
        return "row" if k == 1 else _packing(m, k)
    return "direct" if k == 1 or few_uses else _packing(m, k)


def _mode_of_b(b: Window, a_mode: str, few_rows: bool) -> str:
    _, k, n = b.strides
    return "k+" if few_rows and k == 1 and a_mode in ("direct", "row") else _packing(n, k)


def _packing(x_stride: int, k_stride: int) -> str:
    return "x" if x_stride == 1 else "k" if k_stride == 1 else "s"


def _better_transposed(outs: Sequence[Window], m: int, n: int, lanes: int) -> bool:
    """Whether ``C' = B' A'`` fills vectors that C's few columns leave empty, or writes them where C's rows lie."""
    if n < lanes <= m or (n < m < lanes):
        return 2 * n <= lanes or outs[0].strides[1] == 1
    return outs[0].strides[1] == 1 and outs[0].strides[2] != 1 and n > 1 and m >= lanes


def _swapped(w: Window) -> Window:
    batch, first, second = w.strides
    return Window(w.slot, w.offset, (batch, second, first), w.dtype)


def _stacked(windows: Sequence[Window], m: int) -> bool:
    return all(w.strides[0] == m * w.strides[1] for w in windows)


def _window(w: Window, n: int, readable: bool) -> tuple[str, str, dict[str, int]]:
    batch, m, n_stride = w.strides
    kind = "1" if n_stride == 1 or (n == 1 and not readable) else "0" if readable and n_stride == 0 else "t"
    numbers = {"slot": w.slot, "offset": w.offset, "batch": batch, "split": 0, "m": m}
    return w.dtype, kind, numbers | {"n_0": n_stride, "n_1": 0, "n_2": 0}
