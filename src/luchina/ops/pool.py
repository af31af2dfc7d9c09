"""Pooling: the largest element or the mean of each window.

Spatial dimensions come as two; one-dimensional pooling has an extra axis of 1. A window of few elements is unrolled
into strided slices, so that pooling is a pointwise kernel; a large one is a reduction over a strided view.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph.value import Op, Spec, Value
from luchina.ops.formula import Formula, isnan, where, wide
from luchina.ops.index import GATHER, SCATTER
from luchina.ops.movement import contiguous_strides, reshape
from luchina.ops.registry import full, public

Ints = int | tuple[int, ...] | list[int]
UNROLLED = 16  # windows of up to so many elements are unrolled


class Window(NamedTuple):
    """The windows of a pooling over planes of ``size``, giving planes of ``out``; everything per dimension."""

    size: tuple[int, int]
    out: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)

    @property
    def apart(self) -> bool:
        """Windows tile the plane: each element is in one window at most."""
        return self.kernel == self.stride and self.padding == (0, 0) and self.dilation == (1, 1) and self.inside

    @property
    def inside(self) -> bool:
        """No window reaches past the end of the plane."""
        return all((o - 1) * s + d * (k - 1) < n + pad for n, o, k, s, pad, d in self.per_axis())

    def per_axis(self) -> Any:
        return zip(self.size, self.out, self.kernel, self.stride, self.padding, self.dilation)


def _planes(x: Node) -> Node:
    return p.reshape(x, (math.prod(x.shape[:-2]), *x.shape[-2:]))


def _padded(x: Node, w: Window, fill: float | int) -> Node:
    """Planes with ``fill`` around them, as far as the windows reach."""
    high = [max((o - 1) * s + d * (k - 1) + 1 - n - pad, 0) for n, o, k, s, pad, d in w.per_axis()]
    return p.pad(x, (0, *w.padding), (0, *high), fill)


def _taps(x: Node, w: Window) -> list[Node]:
    """The window's elements, each as an array over all windows, in row-major order."""
    taps = []
    for a in range(w.kernel[0]):
        for b in range(w.kernel[1]):
            starts = (0, a * w.dilation[0], b * w.dilation[1])
            taps.append(p.slice(x, starts, (x.shape[0], *w.out), (1, *w.stride)))
    return taps


def _windows(x: Node, w: Window) -> Node:
    """(planes, out, out, kernel, kernel): a strided view of padded planes."""
    plane, row, _ = contiguous_strides(x.shape)
    strides = (plane, w.stride[0] * row, w.stride[1], w.dilation[0] * row, w.dilation[1])
    return p.strided(x, (x.shape[0], *w.out, *w.kernel), strides)


def _unrolled(w: Window) -> bool:
    return math.prod(w.kernel) <= UNROLLED


def _lowest(dtype: str) -> float | int:
    if dtype in p.FLOATS:
        return -math.inf
    return 0 if dtype in ("bool", "uint8") else -(1 << (int(dtype[3:]) - 1))


# ---- the largest element


def _lower_max_pool(x: Node, w: Window) -> Node:
    padded = _padded(_planes(x), w, _lowest(x.dtype))
    if _unrolled(w):
        taps = _taps(padded, w)
        result = functools.reduce(lambda a, b: p.binary("maximum", a, b), taps)
    else:
        result = p.reduce("max", _windows(padded, w), (3, 4))
    return p.reshape(result, (*x.shape[:-2], *w.out))


def _lower_max_place(x: Node, w: Window, in_plane: bool) -> Node:
    """Which element of its window is the largest: the first one, or the last nan, as PyTorch's loop finds it.

    The number counts in the window (int32), or in the plane (int64) if ``in_plane``.
    """
    padded = _padded(_planes(x), w, _lowest(x.dtype))
    if _unrolled(w):
        taps = [Formula(wide(t)) for t in _taps(padded, w)]
        best = taps[0]
        place = Formula(p.const(0, "int32", best.shape))
        first = _first_inside(w)
        if first is not None:  # windows may begin in the padding: start from an element that is in the plane
            place = first
        for j, tap in enumerate(taps[1:], 1):
            better = tap > best
            if tap.dtype in p.FLOATS:
                better = better | isnan(tap)
            place = where(better, j, place)
            best = where(better, tap, best)
        local = place.node
    else:
        flat = p.reshape(_windows(padded, w), (padded.shape[0], *w.out, math.prod(w.kernel)))
        local = p.cast(p.argreduce("argmax", flat, 3), "int32")
    shape = (*x.shape[:-2], *w.out)
    if not in_plane:
        return p.reshape(local, shape)
    return p.reshape(_plane_number(p.cast(local, "int64"), w), shape)


def _first_inside(w: Window) -> Formula | None:
    """For each window the number of its first element inside the plane (a window of lowest values has that as its
    place); None where windows never begin in the padding."""
    if w.padding == (0, 0):
        return None
    firsts = []
    for axis, (_, o, _, s, pad, d) in enumerate(w.per_axis()):
        line = Formula(p.cast(p.iota(o), "int32")) * -s + pad + (d - 1)  # distance to the plane's edge, rounded up
        skipped = Formula(p.binary("idiv", line.max(0).node, p.const(d, "int32")))
        firsts.append(skipped.reshape((o, 1) if axis == 0 else (1, o)))
    return (firsts[0] * w.kernel[1] + firsts[1]).reshape((1, *w.out))


def _plane_number(local: Node, w: Window) -> Node:
    number = Formula(local)
    k = p.const(w.kernel[1], "int64")
    a, b = Formula(p.binary("idiv", local, k)), Formula(p.binary("irem", local, k))
    rows = Formula(p.reshape(p.iota(w.out[0]), (w.out[0], 1))) * w.stride[0] + (-w.padding[0])
    columns = Formula(p.iota(w.out[1])) * w.stride[1] + (-w.padding[1])
    number = (a * w.dilation[0] + rows) * w.size[1] + (b * w.dilation[1] + columns)
    return number.node


MAX_PLACE = Op(
    "max_pool_place",
    lambda x, w, in_plane: Spec((*x.shape[:-2], *w.out), dtypes.int64 if in_plane else dtypes.int32),
    _lower_max_place,
)


def _cells(x: Node, w: Window) -> tuple[int, ...]:
    """Planes cut into their windows: (planes, out, kernel, out, kernel)."""
    return (math.prod(x.shape[:-2]), w.out[0], w.kernel[0], w.out[1], w.kernel[1])


def _chosen(place: Node, w: Window) -> Node:
    """Whether each cell's element is the one that ``place`` names, for windows that tile."""
    planes = math.prod(place.shape[:-2])
    number = p.reshape(place, (planes, w.out[0], 1, w.out[1], 1))
    kh, kw = w.kernel
    rows = Formula(p.cast(p.iota(kh), "int32")).reshape((kh, 1, 1)) * kw
    own = rows + Formula(p.cast(p.iota(kw), "int32")).reshape((1, 1, kw))
    return p.binary("eq", number, own.node)


def _lower_unpool(g: Node, place: Node, w: Window) -> Node:
    planes = math.prod(g.shape[:-2])
    zero = p.const(0, g.dtype)
    kh, kw = w.kernel

    def cell(j: int) -> Node:
        mine = p.where(p.binary("eq", place, p.const(j, "int32")), g, zero)
        return p.reshape(mine, (planes, w.out[0], 1, w.out[1], 1))

    # Each element of the windows is written by itself, so that the loops run over windows and not inside them.
    cells = p.concat([p.concat([cell(a * kw + b) for b in range(kw)], 4) for a in range(kh)], 2)
    covered = (w.out[0] * w.kernel[0], w.out[1] * w.kernel[1])
    whole = p.pad(p.reshape(cells, (planes, *covered)), (0, 0, 0), (0, *(n - c for n, c in zip(w.size, covered))))
    return p.reshape(whole, (*g.shape[:-2], *w.size))


def _lower_pick(x: Node, place: Node, w: Window) -> Node:
    covered = (w.out[0] * w.kernel[0], w.out[1] * w.kernel[1])
    flat = _planes(x)
    cut = p.slice(flat, (0, 0, 0), (flat.shape[0], *covered), (1, 1, 1))
    cells = p.reshape(cut, _cells(x, w))
    picked = p.reduce("sum", p.where(_chosen(place, w), cells, p.const(0, x.dtype)), (2, 4))
    return p.reshape(picked, place.shape)


UNPOOL = Op(
    "max_pool_backward",
    lambda g, place, w: Spec((*g.shape[:-2], *w.size), g.dtype),
    _lower_unpool,
    lambda h, v: (PICK_PLACE(h, v.inputs[1], attrs=v.attrs), None),
    ((1,), ()),
)
"""Each window's cotangent at its chosen element, zeros elsewhere: windows that tile, no scatter."""

PICK_PLACE = Op(
    "max_pool_pick",
    lambda x, place, w: Spec(place.shape, x.dtype),
    _lower_pick,
    lambda h, v: (UNPOOL(h, v.inputs[1], attrs=v.attrs), None),
    ((1,), ()),
)


def _max_pool_vjp(g: Value, v: Value) -> tuple:
    x, (w,) = v.inputs[0], v.attrs
    if w.apart:
        return (UNPOOL(g, MAX_PLACE(x, attrs=(w, False)), attrs=(w,)),)
    return (_scatter_planes(g, MAX_PLACE(x, attrs=(w, True)), x.shape),)


def _scatter_planes(g: Value, place: Value, shape: tuple[int, ...]) -> Value:
    planes, area, out = math.prod(shape[:-2]), math.prod(shape[-2:]), math.prod(g.shape[-2:])
    base = full((planes, area), 0, g.dtype)
    flat = SCATTER(base, reshape(place, (planes, out)), reshape(g, (planes, out)), attrs=(1, "add"))
    return reshape(flat, shape)


MAX_POOL = Op(
    "max_pool2d",
    lambda x, w: Spec((*x.shape[:-2], *w.out), x.dtype),
    _lower_max_pool,
    _max_pool_vjp,
    ((0,),),
    "MaxPool2DWithIndices",
)


def _take_planes(x: Value, place: Value) -> Value:
    """The elements of each plane that ``place`` names."""
    planes = math.prod(x.shape[:-2])
    index = reshape(place, (planes, math.prod(place.shape[-2:])))
    return reshape(GATHER(reshape(x, (planes, math.prod(x.shape[-2:]))), index, attrs=(1,)), place.shape)


# ---- sizes and their errors


def _pair(name: str, what: str, value: Ints) -> tuple[int, int]:
    values = (value,) if isinstance(value, int) else tuple(value)
    if len(values) not in (1, 2):
        extra = ", or omitted" if what == "stride" else ""
        raise RuntimeError(
            f"{name}: {what} must either be{extra} a single int, or a tuple of two ints".replace("be,", "be")
        )
    return (values[0], values[-1])


def _out_size(n: int, k: int, s: int, pad: int, d: int, ceil: bool) -> int:
    room = n + 2 * pad - d * (k - 1) - 1
    size = (room + (s - 1 if ceil else 0)) // s + 1
    if ceil and (size - 1) * s >= n + pad:  # the last window must begin inside the input or the padding before it
        size -= 1
    return size


@functools.lru_cache(4096)
def _window(
    name: str, shape: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Window:
    kernel = _pair(name, "kernel_size", kernel)
    stride = kernel if stride is None or stride == () else _pair(name, "stride", stride)
    padding = _pair(name, "padding", padding)
    dilation = _pair(name, "dilation", dilation)
    if 0 in stride:
        raise RuntimeError("stride should not be zero")
    if len(shape) not in (3, 4):
        raise RuntimeError("non-empty 3D or 4D (batch mode) tensor expected for input")
    if any(k <= 0 for k in kernel):
        raise RuntimeError(f"kernel size should be greater than zero, but got kH: {kernel[0]} kW: {kernel[1]}")
    if any(s <= 0 for s in stride):
        raise RuntimeError(f"stride should be greater than zero, but got dH: {stride[0]} dW: {stride[1]}")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(
            f"dilation should be greater than zero, but got dilationH: {dilation[0]} dilationW: {dilation[1]}"
        )
    if 0 in shape[-3:]:
        raise RuntimeError(
            f"Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:{list(shape)}"
        )
    for k, pad, d in zip(kernel, padding, dilation):
        if pad < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {pad}")
        if pad > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={pad}, kernel_size={k} and "
                f"dilation={d}"
            )
    out = tuple(
        _out_size(n, k, s, pad, d, ceil_mode) for n, k, s, pad, d in zip(shape[-2:], kernel, stride, padding, dilation)
    )
    if min(out) < 1:
        channels = shape[-3]
        raise RuntimeError(
            f"Given input size: ({channels}x{shape[-2]}x{shape[-1]}). Calculated output size: "
            f"({channels}x{out[0]}x{out[1]}). Output size is too small"
        )
    return Window((shape[-2], shape[-1]), (out[0], out[1]), kernel, stride, padding, dilation)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _one(value: Ints | None, zero: int) -> Any:
    """A one-dimensional argument as a pair for the extra axis in front."""
    if value is None:
        return None
    return (zero, value if isinstance(value, int) else next(iter(value)))


def _line(name: str, input: Value) -> Value:
    """(…, L) as (…, 1, L)."""
    return reshape(input, (*input.shape[:-1], 1, input.shape[-1]))


def _unline(x: Value) -> Value:
    return reshape(x, (*x.shape[:-2], x.shape[-1]))


@public(method=False)
def max_pool2d(
    input: Value,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of (N, C, H, W) or (C, H, W); with ``return_indices`` also its place, counted
    in the flattened plane. The gradient goes to the first of equal elements.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html
    """
    w = _window(
        "max_pool2d", input.shape, _frozen(kernel_size), _frozen(stride), _frozen(padding), _frozen(dilation), ceil_mode
    )
    if not return_indices:
        return MAX_POOL(input, attrs=(w,))
    return MAX_POOL(input, attrs=(w,)), MAX_PLACE(input, attrs=(w, True))


@public(method=False)
def max_pool1d(
    input: Value,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of (N, C, L) or (C, L)."""
    if input.ndim not in (2, 3):
        raise RuntimeError(
            "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but "
            f"got:{list(input.shape)}"
        )
    k, pad = _one(kernel_size, 1)[1], _one(padding, 0)[1]
    d, s = _one(dilation, 1)[1], (_one(stride, 1) or _one(kernel_size, 1))[1]
    if 0 <= k // 2 < pad:
        raise RuntimeError(
            f"max_pool1d() padding should be at most half of kernel size, but got padding={pad} and kernel_size={k}"
        )
    if k > 0 and s > 0 and d > 0:
        size = _out_size(input.shape[-1], k, s, pad, d, ceil_mode)
        if size <= 0:
            raise RuntimeError(f"max_pool1d() Invalid computed output size: {size}")
    result = max_pool2d(_line("max_pool1d", input), (1, k), (1, s), (0, pad), (1, d), ceil_mode, return_indices)
    return tuple(_unline(v) for v in result) if return_indices else _unline(result)


# ---- the mean


def _edge_counts(w: Window, include_pad: bool) -> list[Formula] | None:
    """How many elements each window's mean is over, as a factor for each axis; None where it is the whole window."""
    if include_pad and all((o - 1) * s + k <= n + 2 * pad for n, o, k, s, pad, _ in w.per_axis()):
        return None
    if w.padding == (0, 0) and w.inside:
        return None
    counts = []
    for axis, (n, o, k, s, pad, _) in enumerate(w.per_axis()):
        start = Formula(p.iota(o)) * s + (-pad)
        end = (start + k).min(n + pad)
        if not include_pad:
            start, end = start.max(0), end.min(n)
        counts.append((end - start).reshape((o, 1) if axis == 0 else (1, o)))
    return counts


def _divided(x: Formula, w: Window, include_pad: bool, divisor: int | None) -> Formula:
    """Sums of windows to means."""
    if divisor is not None:
        return x / (float(divisor) if x.dtype in p.FLOATS else divisor)
    counts = _edge_counts(w, include_pad)
    if counts is None:
        return x / float(math.prod(w.kernel))
    return x / (counts[0] * counts[1]).to(x.dtype)


def _lower_avg_pool(x: Node, w: Window, include_pad: bool, divisor: int | None) -> Node:
    padded = _padded(wide(_planes(x)), w, 0)
    if _unrolled(w):
        total = functools.reduce(lambda a, b: p.binary("add", a, b), _taps(padded, w))
    else:
        total = p.reduce("sum", _windows(padded, w), (3, 4))
    mean = _divided(Formula(total), w, include_pad, divisor).node
    return p.reshape(p.cast(mean, x.dtype), (*x.shape[:-2], *w.out))


def _spread_axis(g: Node, axis: int, n: int, k: int, s: int, pad: int) -> Node:
    """Along one axis: each element added to the ``k`` places of its window, in an axis of ``n``."""
    o = g.shape[axis]
    if s > 1:  # s − 1 zeros after each element
        shape = list(g.shape)
        split = (*shape[: axis + 1], 1, *shape[axis + 1 :])
        low = [0] * len(split)
        high = [s - 1 if a == axis + 1 else 0 for a in range(len(split))]
        g = p.pad(p.reshape(g, split), low, high)
        shape[axis] = o * s
        g = p.reshape(g, shape)
    length = max(g.shape[axis] + k - 1, n + pad)
    total = None
    for shift in range(k):
        low = [shift if a == axis else 0 for a in range(len(g.shape))]
        high = [length - g.shape[axis] - shift if a == axis else 0 for a in range(len(g.shape))]
        part = p.pad(g, low, high)
        total = part if total is None else p.binary("add", total, part)
    assert total is not None
    starts = [pad if a == axis else 0 for a in range(len(g.shape))]
    sizes = [n if a == axis else m for a, m in enumerate(g.shape)]
    return p.slice(total, starts, sizes, (1,) * len(sizes))


def _lower_avg_backward(g: Node, w: Window, include_pad: bool, divisor: int | None) -> Node:
    share = _divided(Formula(wide(_planes(g))), w, include_pad, divisor).node
    if w.apart:
        planes = share.shape[0]
        cells = p.expand(
            p.reshape(share, (planes, w.out[0], 1, w.out[1], 1)), (planes, w.out[0], w.kernel[0], w.out[1], w.kernel[1])
        )
        covered = (w.out[0] * w.kernel[0], w.out[1] * w.kernel[1])
        result = p.pad(p.reshape(cells, (planes, *covered)), (0, 0, 0), (0, *(n - c for n, c in zip(w.size, covered))))
    else:
        result = share
        for axis in (0, 1):
            result = _spread_axis(result, axis + 1, w.size[axis], w.kernel[axis], w.stride[axis], w.padding[axis])
    return p.reshape(p.cast(result, g.dtype), (*g.shape[:-2], *w.size))


AVG_POOL = Op(
    "avg_pool2d",
    lambda x, w, *a: Spec((*x.shape[:-2], *w.out), x.dtype),
    _lower_avg_pool,
    lambda g, v: (AVG_POOL_BACKWARD(g, attrs=v.attrs),),
    ((),),
    "AvgPool2D",
    saves=True,
)
AVG_POOL_BACKWARD = Op(
    "avg_pool2d_backward",
    lambda g, w, *a: Spec((*g.shape[:-2], *w.size), g.dtype),
    _lower_avg_backward,
    lambda h, v: (AVG_POOL(h, attrs=v.attrs),),
    ((),),
)


@public(function=False, method=False)
def avg_pool2d(
    input: Value,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """The mean of each window of (N, C, H, W) or (C, H, W).

    Zeros of the padding count as elements unless ``count_include_pad`` is False; ``divisor_override`` divides instead.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html
    """
    if input.ndim < 3:
        rank = input.ndim
        raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got -3)")
    w = _window("avg_pool2d", input.shape, _frozen(kernel_size), _frozen(stride), _frozen(padding), 1, ceil_mode)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"avg_pool2d of {input.dtype} is not supported: floating dtypes only")
    return AVG_POOL(input, attrs=(w, bool(count_include_pad), divisor_override))


def _check_line(name: str, input: Value) -> None:
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"Expected 2 to 3 dimensions, but got {input.ndim}-dimensional tensor for argument #1 'self' (while "
            f"checking arguments for {name})"
        )


@public(method=False)
def avg_pool1d(
    input: Value,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Value:
    """The mean of each window of (N, C, L) or (C, L)."""
    _check_line("avg_pool1d", input)
    k, s, pad = _one(kernel_size, 1), _one(stride, 1), _one(padding, 0)
    return _unline(avg_pool2d(_line("avg_pool1d", input), k, s, pad, ceil_mode, count_include_pad))


# ---- windows that follow from the size of the result


def _parts(n: int, out: int) -> list[tuple[int, int]]:
    """Bounds of adaptive pooling's windows: floor(i·n/out) to ceil((i+1)·n/out)."""
    return [(i * n // out, -((-(i + 1) * n) // out)) for i in range(out)]


def _lower_parts(x: Node, axis: int, out: int) -> Node:
    """Means of nearly equal parts of one axis."""
    n = x.shape[axis]
    pieces = []
    for low, high in _parts(n, out):
        sizes = [high - low if a == axis else m for a, m in enumerate(x.shape)]
        part = p.slice(wide(x), [low if a == axis else 0 for a in range(len(sizes))], sizes, (1,) * len(sizes))
        pieces.append(Formula(part).mean((axis,)).node)
    return p.cast(p.concat(pieces, axis), x.dtype)


def _lower_parts_backward(g: Node, axis: int, n: int) -> Node:
    total = None
    for i, (low, high) in enumerate(_parts(n, g.shape[axis])):
        sizes = [1 if a == axis else m for a, m in enumerate(g.shape)]
        one = p.slice(wide(g), [i if a == axis else 0 for a in range(len(sizes))], sizes, (1,) * len(sizes))
        share = (Formula(one) / float(high - low)).node
        spread = p.expand(share, [high - low if a == axis else m for a, m in enumerate(sizes)])
        lows = [low if a == axis else 0 for a in range(len(sizes))]
        part = p.pad(spread, lows, [n - high if a == axis else 0 for a in range(len(sizes))])
        total = part if total is None else p.binary("add", total, part)
    assert total is not None
    return p.cast(total, g.dtype)


def _axis_spec(x: Value, axis: int, size: int) -> Spec:
    return Spec((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)


PART_MEANS = Op(
    "adaptive_avg_pool",
    _axis_spec,
    _lower_parts,
    lambda g, v: (PART_MEANS_BACKWARD(g, attrs=(v.attrs[0], v.inputs[0].shape[v.attrs[0]])),),
    ((),),
    "AdaptiveAvgPool2D",
)
PART_MEANS_BACKWARD = Op(
    "adaptive_avg_pool_backward",
    _axis_spec,
    _lower_parts_backward,
    lambda h, v: (PART_MEANS(h, attrs=(v.attrs[0], v.inputs[0].shape[v.attrs[0]])),),
    ((),),
)


def _target(name: str, input: Value, output_size: Any) -> tuple[int, int]:
    if input.ndim not in (3, 4):
        raise RuntimeError(f"{name}(): Expected 3D or 4D tensor, but got {list(input.shape)}")
    wanted = (output_size,) * 2 if isinstance(output_size, int) or output_size is None else tuple(output_size)
    wanted = wanted * 2 if len(wanted) == 1 else wanted
    sizes = tuple(n if want is None else want for n, want in zip(input.shape[-2:], wanted))
    if min(sizes) < 0:
        shown = ", ".join(map(str, sizes))
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received {{{shown}}}"
        )
    for a in range(input.ndim - 2 if input.ndim == 4 else 0, input.ndim):
        if a and input.shape[a] == 0:
            raise RuntimeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes "
                f"{list(input.shape)} with dimension {a} being empty"
            )
    return (sizes[0], sizes[1])


@public(function=False, method=False)
def adaptive_avg_pool2d(input: Value, output_size: Any) -> Value:
    """The means of output_size nearly equal parts of (N, C, H, W) or (C, H, W); None keeps a dimension.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool2d.html
    """
    sizes = _target("adaptive_avg_pool2d", input, output_size)
    shape = input.shape
    if 0 in sizes or input.size == 0:
        return full((*shape[:-2], *sizes), 0, input.dtype, input.device)
    if all(n % out == 0 for n, out in zip(shape[-2:], sizes)):
        if sizes == shape[-2:]:
            return input
        kernel = (shape[-2] // sizes[0], shape[-1] // sizes[1])
        w = Window((shape[-2], shape[-1]), sizes, kernel, kernel, (0, 0))
        return AVG_POOL(input, attrs=(w, True, None))
    for axis, out in ((input.ndim - 2, sizes[0]), (input.ndim - 1, sizes[1])):
        if out != input.shape[axis]:
            input = PART_MEANS(input, attrs=(axis, out))
    return input


@public(method=False)
def adaptive_avg_pool1d(input: Value, output_size: Ints) -> Value:
    """The means of ``output_size`` nearly equal parts of (N, C, L) or (C, L)."""
    _check_line("adaptive_avg_pool1d", input)
    return _unline(adaptive_avg_pool2d(_line("adaptive_avg_pool1d", input), _one(output_size, 1)))


def _lower_part_places(x: Node, sizes: tuple[int, int]) -> Node:
    """The place of the largest element of each part, in the flattened plane."""
    planes = _planes(x)
    width = planes.shape[2]
    found = []
    for top, bottom in _parts(planes.shape[1], sizes[0]):
        for left, right in _parts(width, sizes[1]):
            cut = p.slice(planes, (0, top, left), (planes.shape[0], bottom - top, right - left), (1, 1, 1))
            flat = p.reshape(cut, (planes.shape[0], (bottom - top) * (right - left)))
            local = p.argreduce("argmax", flat, 1)
            k = p.const(right - left, "int64")
            row, column = Formula(p.binary("idiv", local, k)), Formula(p.binary("irem", local, k))
            number = (row + top) * width + (column + left)
            found.append(number.reshape((planes.shape[0], 1)).node)
    return p.reshape(p.concat(found, 1), (*x.shape[:-2], *sizes))


PART_PLACES = Op(
    "adaptive_max_pool_place", lambda x, sizes: Spec((*x.shape[:-2], *sizes), dtypes.int64), _lower_part_places
)


@public(function=False, method=False)
def adaptive_max_pool2d(input: Value, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of output_size nearly equal parts of (N, C, H, W) or (C, H, W)."""
    sizes = _target("adaptive_max_pool2d", input, output_size)
    if 0 in sizes or input.size == 0:
        values = full((*input.shape[:-2], *sizes), 0, input.dtype, input.device)
        return (values, full(values.shape, 0, dtypes.int64, input.device)) if return_indices else values
    if all(n % out == 0 for n, out in zip(input.shape[-2:], sizes)):
        kernel = (input.shape[-2] // sizes[0], input.shape[-1] // sizes[1])
        return max_pool2d(input, kernel, kernel, return_indices=return_indices)
    places = PART_PLACES(input, attrs=(sizes,))
    values = _take_planes(input, places)
    return (values, places) if return_indices else values


@public(method=False)
def adaptive_max_pool1d(input: Value, output_size: Ints, return_indices: bool = False) -> Any:
    """The largest elements of ``output_size`` nearly equal parts of (N, C, L) or (C, L)."""
    _check_line("adaptive_max_pool1d", input)
    result = adaptive_max_pool2d(_line("adaptive_max_pool1d", input), _one(output_size, 1), return_indices)
    return tuple(_unline(v) for v in result) if return_indices else _unline(result)
