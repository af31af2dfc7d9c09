"""Convolutions as implicit matrix products: the patches are gathered while packing, never in memory.

Each index of the product is a number of three digits, and an element's place is affine in the digits:

=============  =====================  =========================  =======================
product        m                      n                          k
=============  =====================  =========================  =======================
output         output channel         image, row, column         channel, tap, tap
input's grad   input channel          image, row, column         output channel, tap, tap
weight's grad  output channel         channel, tap, tap          image, row, column
=============  =====================  =========================  =======================

Groups are the batch. With a stride s the input's gradient falls apart into s·s products, one for each remainder of an
input position, each of which meets only the taps that reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd
from typing import NamedTuple

from luchina.compiler.contraction import (
    depthwise,
    depthwise_lanes,
    plan,
    planes,
    planes_conv,
    planes_weight,
    winograd,
    winograd_weight,
)
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.spec import magic
from luchina.compiler.target import Target

Pair = tuple[int, int]
Quad = tuple[int, int, int, int]


class _Axis(NamedTuple):
    """How a position in an image follows from its digits: ``x · n + k · tap + start``, valid in ``[0, bound)``."""

    x: int
    k: int
    start: int
    bound: int


def conv2d(
    x: Window,
    w: Window,
    outs: Sequence[Window],
    x_shape: Quad,
    w_shape: Quad,
    stride: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
    target: Target,
    temporary: Callable[[int], int],
    epilogue: Epilogue | None = None,
) -> list[Call]:
    """``prims.conv2d``: x (N, C, H, W), w (O, C/groups, kh, kw), outs and epilogue operands (N, O, H', W')."""
    epilogue = plan.checked(x.dtype, outs, epilogue)
    images, size = x_shape[0], (x_shape[2], x_shape[3])
    out_channels, channels, taps = w_shape[0], w_shape[1], (w_shape[2], w_shape[3])
    rows, columns = _output_size(size, taps, stride, padding, dilation)
    per_group = out_channels // groups
    before = (padding[0][0], padding[1][0])
    result = (images, rows, columns)
    if _is_plain(taps, stride, dilation) and winograd.fits(x, outs, epilogue, result, channels, per_group):
        sizes = (images, *size), result, (groups, per_group, channels)
        return winograd.conv(x, w, per_group * w.strides[0], outs, epilogue, sizes, before, groups, target, temporary)
    if channels == 1 and per_group < MANY_OUTPUTS and depthwise.fits(x.dtype, (x,), outs, epilogue, taps, before):
        counts = images, out_channels, per_group
        extents = size, (rows, columns), taps
        if per_group == 1:
            few = depthwise_lanes.conv(
                x, w, outs, epilogue, (images, channels * groups), *extents, stride, before, dilation, False, target
            )
            if few is not None:
                return few
        calls = depthwise.plane(x, w, outs, epilogue, counts, *extents, stride, before, dilation, (1, 1), target)
        if calls is not None:
            return calls
    w_o, w_c, w_h, w_w = w.strides
    if planes_conv.fits(x.dtype, outs, epilogue):
        over_planes = planes_conv.Problem(
            x, channels * x.strides[1], w, (per_group * w_o, w_o, w_c), outs, epilogue,
            (groups, images, per_group, channels), size, (rows, columns), stride,
            [_taps(w_shape, padding, dilation, (w_h, w_w))], columns,
        )  # fmt: skip
        return planes_conv.conv(over_planes, target, temporary)
    flat = w_c == taps[0] * w_h and w_h == taps[1] * w_w
    axes = [_Axis(s, d, -p[0], n) for s, d, p, n in zip(stride, dilation, padding, size, strict=True)]
    x_n, x_c, x_h, x_w = x.strides
    problem = plan.Problem(
        dtype=x.dtype,
        extents=(groups, per_group, images * rows * columns, channels * taps[0] * taps[1]),
        a_mode=_weights_mode(w, images * rows * columns) if flat else "tk",
        b_mode="tx",
        a={"slot": w.slot, "offset": w.offset, "batch": per_group * w_o, "x": w_o, "k": w_w},
        b={"slot": x.slot, "offset": x.offset - padding[0][0] * x_h - padding[1][0] * x_w, "batch": channels * x_c}
        | {"x": 0, "k": 0},
        body=epilogue.body,
        operands=[_image_window(v, per_group, (rows, columns), True) for v in epilogue.operands],
        outs=[_image_window(v, per_group, (rows, columns), False) for v in outs],
        tables=_tables(
            (images, rows, columns),
            (channels, *taps),
            (w_c, w_h, w_w),
            (x_n, stride[0] * x_h, stride[1] * x_w),
            (x_c, dilation[0] * x_h, dilation[1] * x_w),
            axes,
        ),
    )
    return plan.calls(problem, target, temporary)


def conv2d_input(
    g: Window,
    w: Window,
    outs: Sequence[Window],
    x_shape: Quad,
    w_shape: Quad,
    stride: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
    target: Target,
    temporary: Callable[[int], int],
    epilogue: Epilogue | None = None,
) -> list[Call]:
    """``prims.conv2d_input``: g (N, O, H', W'), w (O, C/groups, kh, kw), outs and epilogue operands (N, C, H, W)."""
    epilogue = plan.checked(g.dtype, outs, epilogue)
    images, size = x_shape[0], (x_shape[2], x_shape[3])
    out_channels, channels, taps = w_shape[0], w_shape[1], (w_shape[2], w_shape[3])
    g_size = _output_size(size, taps, stride, padding, dilation)
    per_group = out_channels // groups
    if _is_plain(taps, stride, dilation) and winograd.fits(g, outs, epilogue, (images, *size), per_group, channels):
        # The convolution of g with the window turned round.
        w_o, w_c, w_h, w_w = w.strides
        turned = Window(w.slot, w.offset + 2 * w_h + 2 * w_w, (w_c, w_o, -w_h, -w_w), w.dtype)
        before = (2 - padding[0][0], 2 - padding[1][0])
        sizes = (images, *g_size), (images, *size), (groups, channels, per_group)
        return winograd.conv(g, turned, per_group * w_o, outs, epilogue, sizes, before, groups, target, temporary)
    reach = [d * (k - 1) for d, k in zip(dilation, taps, strict=True)]
    low, high = ((reach[0] - padding[0][i], reach[1] - padding[1][i]) for i in (0, 1))
    if channels == per_group == 1 and depthwise.fits(g.dtype, (g,), outs, epilogue, taps, (*low, *high)):
        few = depthwise_lanes.conv(
            g, w, outs, epilogue, (images, groups), g_size, size, taps, stride,
            (padding[0][0], padding[1][0]), dilation, True, target,
        )  # fmt: skip
        if few is not None:
            return few
        w_o, _, w_h, w_w = w.strides
        turned = Window(w.slot, w.offset + (taps[0] - 1) * w_h + (taps[1] - 1) * w_w, (w_o, 0, -w_h, -w_w), w.dtype)
        sizes_ = g_size, size, taps
        found = depthwise.plane(
            g, turned, outs, epilogue, (images, groups, 1), *sizes_, (1, 1), low, dilation, stride, target
        )
        if found is not None:
            return found
    if stride[1] <= 2 and planes_conv.fits(g.dtype, outs, epilogue):
        return _input_planes(
            g, w, outs, epilogue, (groups, images, channels, per_group), size, g_size, taps, stride, padding, dilation,
            target, temporary,
        )  # fmt: skip
    calls = []
    for row_phase in range(min(stride[0], size[0])):
        for column_phase in range(min(stride[1], size[1])):
            phase = (row_phase, column_phase)
            reached = [
                _reach(*each) for each in zip(phase, stride, [p[0] for p in padding], dilation, taps, strict=True)
            ]
            first, step, count = zip(*reached, strict=True)
            if 0 in count:  # no tap meets these positions: an empty sum
                first, count = (0, 0), (0, 0)
            extent = [-(-(n - r) // s) for n, r, s in zip(size, phase, stride, strict=True)]
            axes = [
                _Axis(1, -(d * t // s), (r + p[0] - f * d) // s, n)
                for d, t, s, r, p, f, n in zip(dilation, step, stride, phase, padding, first, g_size, strict=True)
            ]
            g_n, g_o, g_h, g_w = g.strides
            w_o, w_c, w_h, w_w = w.strides
            problem = plan.Problem(
                dtype=g.dtype,
                extents=(groups, channels, images * extent[0] * extent[1], per_group * count[0] * count[1]),
                a_mode="tk",
                b_mode="tx",
                a={"slot": w.slot, "offset": w.offset + first[0] * w_h + first[1] * w_w, "batch": per_group * w_o}
                | {"x": w_c, "k": 0},
                b={"slot": g.slot, "offset": g.offset + axes[0].start * g_h + axes[1].start * g_w}
                | {"batch": per_group * g_o, "x": 0, "k": 0},
                body=epilogue.body,
                operands=[_phase_window(v, channels, phase, stride, extent, True) for v in epilogue.operands],
                outs=[_phase_window(v, channels, phase, stride, extent, False) for v in outs],
                tables=_tables(
                    (images, *extent),
                    (per_group, max(1, count[0]), max(1, count[1])),
                    (w_o, step[0] * w_h, step[1] * w_w),
                    (g_n, g_h, g_w),
                    (g_o, axes[0].k * g_h, axes[1].k * g_w),
                    axes,
                ),
            )
            calls += plan.calls(problem, target, temporary)
    return calls


def _input_planes(
    g: Window,
    w: Window,
    outs: Sequence[Window],
    epilogue: Epilogue,
    counts: Quad,
    size: Pair,
    g_size: Pair,
    taps: Pair,
    stride: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    target: Target,
    temporary: Callable[[int], int],
) -> list[Call]:
    """The input's gradient: a sum over planes of g for each remainder of a row, in which columns are phases."""
    per_group = counts[3]
    w_o, w_c, w_h, w_w = w.strides

    def reached(axis: int, phase: int) -> list[tuple[int, int]]:
        """Taps that lead to positions of this remainder, and where in g they come from."""
        before, by, apart = padding[axis][0], stride[axis], dilation[axis]
        first, step, count = _reach(phase, by, before, apart, taps[axis])
        return [(tap, (phase + before - tap * apart) // by) for tap in range(first, first + step * count, step)]

    def window(v: Window, phase: int) -> Window:
        image, channel, row, column = v.strides
        return Window(v.slot, v.offset + phase * row, (image, channel, stride[0] * row, column), v.dtype)

    calls = []
    for phase in range(min(stride[0], size[0])):
        phases = [
            [
                planes.Tap(row, column, a * w_h + b * w_w)
                for a, row in reached(0, phase)
                for b, column in reached(1, column_phase)
            ]
            for column_phase in range(stride[1])
        ]
        problem = planes_conv.Problem(
            g,
            per_group * g.strides[1],
            w,
            (per_group * w_o, w_c, w_o),
            [window(v, phase) for v in outs],
            Epilogue(epilogue.body, tuple(window(v, phase) for v in epilogue.operands)),
            counts,
            g_size,
            (-(-(size[0] - phase) // stride[0]), -(-size[1] // stride[1])),
            (1, 1),
            phases,
            size[1],
        )
        calls += planes_conv.conv(problem, target, temporary)
    return calls


def conv2d_weight(
    x: Window,
    g: Window,
    outs: Sequence[Window],
    x_shape: Quad,
    w_shape: Quad,
    stride: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
    target: Target,
    temporary: Callable[[int], int],
    epilogue: Epilogue | None = None,
) -> list[Call]:
    """``prims.conv2d_weight``: x (N, C, H, W), g (N, O, H', W'), outs and epilogue operands (O, C/groups, kh, kw)."""
    epilogue = plan.checked(x.dtype, outs, epilogue)
    images, size = x_shape[0], (x_shape[2], x_shape[3])
    out_channels, channels, taps = w_shape[0], w_shape[1], (w_shape[2], w_shape[3])
    rows, columns = _output_size(size, taps, stride, padding, dilation)
    per_group = out_channels // groups
    before = (padding[0][0], padding[1][0])
    if channels == 1 and per_group < MANY_OUTPUTS and depthwise.fits(x.dtype, (x, g), outs, epilogue, taps, before):
        sizes = size, (rows, columns), taps
        counts = images, out_channels, per_group
        if per_group == 1:
            few = depthwise_lanes.weight(
                x, g, outs, epilogue, (images, groups), *sizes, stride, before, dilation, target
            )
            if few is not None:
                return few
        calls = depthwise.weight(x, g, outs, epilogue, counts, *sizes, stride, before, dilation, target)
        if calls is not None:
            return calls
    result = (images, rows, columns)
    if _is_plain(taps, stride, dilation) and winograd_weight.fits(x, g, outs, epilogue, result, per_group, channels):
        extents = (images, *size), result, (groups, per_group, channels)
        return winograd_weight.weight(x, g, outs, epilogue, extents, before, target, temporary)
    group_shape = (per_group, channels, *taps)
    if planes_weight.fits(x, g, outs, epilogue, group_shape, images * rows * columns):
        return planes_weight.weight(
            x, channels * x.strides[1], g, per_group * g.strides[1], outs, epilogue, (groups, images), group_shape,
            size, (rows, columns), stride, _taps(w_shape, padding, dilation, (0, 0)), target, temporary,
        )  # fmt: skip
    axes = [_Axis(d, s, -p[0], n) for s, d, p, n in zip(stride, dilation, padding, size, strict=True)]
    x_n, x_c, x_h, x_w = x.strides
    g_n, g_o, g_h, g_w = g.strides
    problem = plan.Problem(
        dtype=x.dtype,
        extents=(groups, per_group, channels * taps[0] * taps[1], images * rows * columns),
        a_mode="tk",
        b_mode="tk",
        parts="any",
        a={"slot": g.slot, "offset": g.offset, "batch": per_group * g_o, "x": g_o, "k": 0},
        b={"slot": x.slot, "offset": x.offset - padding[0][0] * x_h - padding[1][0] * x_w, "batch": channels * x_c}
        | {"x": 0, "k": 0},
        body=epilogue.body,
        operands=[_weight_window(v, per_group, w_shape, True) for v in epilogue.operands],
        outs=[_weight_window(v, per_group, w_shape, False) for v in outs],
        tables=_tables(
            (channels, *taps),
            (images, rows, columns),
            (g_n, g_h, g_w),
            (x_c, dilation[0] * x_h, dilation[1] * x_w),
            (x_n, stride[0] * x_h, stride[1] * x_w),
            axes,
        ),
    )
    return plan.calls(problem, target, temporary)


# Outputs of one input channel from which on products are faster than planes and taps.
MANY_OUTPUTS = 6

# Weights are read where they lie for results of at most so many columns: one image, late in a network.
DIRECT_COLUMNS = 128


def _weights_mode(w: Window, columns: int) -> str:
    """How weights whose taps lie one after the other are read."""
    if columns <= DIRECT_COLUMNS:
        return "direct"
    return "k" if w.strides[3] == 1 else "s"


def _taps(w_shape: Quad, padding: tuple[Pair, Pair], dilation: Pair, strides: tuple[int, int]) -> list[planes.Tap]:
    """Where each tap of a window looks, from the place of an output, and where its weight lies."""
    return [
        planes.Tap(a * dilation[0] - padding[0][0], b * dilation[1] - padding[1][0], a * strides[0] + b * strides[1])
        for a in range(w_shape[2])
        for b in range(w_shape[3])
    ]


def _is_plain(taps: Sequence[int], stride: Pair, dilation: Pair) -> bool:
    """Whether a window of 3×3 moves by single steps."""
    return tuple(taps) == (3, 3) and stride == dilation == (1, 1)


def _output_size(
    size: Sequence[int], taps: Sequence[int], stride: Pair, padding: tuple[Pair, Pair], dilation: Pair
) -> tuple[int, int]:
    rows, columns = (
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, taps, stride, padding, dilation, strict=True)
    )
    return rows, columns


def _reach(remainder: int, stride: int, padding: int, dilation: int, taps: int) -> tuple[int, int, int]:
    """First tap, step and number of taps that lead to input positions of this remainder by the stride."""
    step = stride // gcd(stride, dilation)
    for first in range(min(step, taps)):
        if (remainder + padding - first * dilation) % stride == 0:
            return first, step, -(-(taps - first) // step)
    return 0, step, 0


def _tables(
    n: Sequence[int],
    k: Sequence[int],
    a_k: Sequence[int],
    b_x: Sequence[int],
    b_k: Sequence[int],
    axes: Sequence[_Axis],
) -> dict[str, int]:
    """The numbers of the digits: extents along n and k, strides of the operands, positions in the image."""
    numbers: dict[str, int] = {}
    for axis, extents in (("n", n), ("k", k)):
        for level, extent in enumerate((extents[1] * extents[2], extents[2])):
            multiplier, shift = magic(max(1, extent))
            numbers |= {f"{axis}_{level}_extent": max(1, extent), f"{axis}_{level}_magic": multiplier}
            numbers[f"{axis}_{level}_shift"] = shift
    for name, strides in (("ak", a_k), ("bx", b_x), ("bk", b_k)):
        numbers |= {f"{name}_{i}": stride for i, stride in enumerate(strides)}
    for name, bound, position in zip("hw", ("height", "width"), axes, strict=True):
        numbers |= {f"{name}_x": position.x, f"{name}_k": position.k, f"{name}_0": position.start}
        numbers[bound] = position.bound
    reach = max(
        sum(abs(s) * max(0, e - 1) for s, e in zip(strides, extents, strict=True))
        for strides, extents in ((a_k, k), (b_x, n), (b_k, k))
    )
    if reach >= 1 << 30:
        raise NotImplementedError("a convolution whose operand has 2**30 elements or more")
    return numbers


def _digit_window(
    w: Window, offset: int, batch: int, m: int, n: Sequence[int], extents: Sequence[int], readable: bool
) -> tuple[str, str, dict[str, int]]:
    contiguous, step = True, 1
    for stride, extent in zip(reversed(n), reversed(extents), strict=True):
        contiguous &= extent == 1 or stride == step
        step *= extent
    kind = "0" if readable and not any(n) else "1" if contiguous else "t"
    numbers = {"slot": w.slot, "offset": offset, "batch": batch, "split": 0, "m": m}
    return w.dtype, kind, numbers | {f"n_{i}": stride for i, stride in enumerate(n)}


def _image_window(w: Window, channels: int, size: Sequence[int], readable: bool) -> tuple[str, str, dict[str, int]]:
    image, channel, row, column = w.strides
    return _digit_window(w, w.offset, channels * channel, channel, (image, row, column), (2, *size), readable)


def _phase_window(
    w: Window, channels: int, phase: Pair, stride: Pair, extent: Sequence[int], readable: bool
) -> tuple[str, str, dict[str, int]]:
    image, channel, row, column = w.strides
    offset = w.offset + phase[0] * row + phase[1] * column
    n = (image, stride[0] * row, stride[1] * column)
    return _digit_window(w, offset, channels * channel, channel, n, (2, *extent), readable)


def _weight_window(w: Window, channels: int, shape: Quad, readable: bool) -> tuple[str, str, dict[str, int]]:
    out, *rest = w.strides
    return _digit_window(w, w.offset, channels * out, out, rest, shape[1:], readable)
