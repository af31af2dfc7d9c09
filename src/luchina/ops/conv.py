"""Convolutions of one and two spatial dimensions, and their transposes.

Three operations that are each other's derivatives: ``CONV`` of (x, w), ``CONV_INPUT`` of (g, w), its transpose in x,
which also is transposed convolution, and ``CONV_WEIGHT`` of (x, g), its transpose in w. All are linear in each operand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.dtypes import dtype
from luchina.graph.value import Op, Spec, Value
from luchina.ops.movement import reshape
from luchina.ops.pointwise import dtype_title
from luchina.ops.reduce import sum as sum_
from luchina.ops.registry import public

Ints = int | tuple[int, ...] | list[int]
Pairs = tuple[tuple[int, int], ...]


class Geometry(NamedTuple):
    """How the window moves: one entry a spatial dimension; padding is (before, after)."""

    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int


def _flat(x: Node) -> Node:
    """One spatial dimension as two."""
    return p.reshape(x, (*x.shape[:2], 1, x.shape[2])) if len(x.shape) == 3 else x


def _plane(size: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *size) if len(size) == 1 else size


def _moves(geometry: Geometry) -> tuple:
    stride, padding, dilation, groups = geometry
    if len(stride) == 1:
        return (1, *stride), ((0, 0), *padding), (1, *dilation), groups
    return stride, padding, dilation, groups


def _back(y: Node, rank: int) -> Node:
    return p.reshape(y, (*y.shape[:2], *y.shape[2 + 2 - rank :])) if rank == 1 else y


def _with_bias(y: Node, bias: list[Node]) -> Node:
    """With a bias of the channels, if there is one."""
    return p.binary("add", y, p.reshape(bias[0], (bias[0].size, *(1,) * (len(y.shape) - 2)))) if bias else y


def _is_product(size: tuple[int, ...], kernel: tuple[int, ...], geometry: Geometry) -> bool:
    """Whether the window meets all of the image at once: each image is a row of a matrix."""
    padded = any(n for pair in geometry.padding for n in pair)
    return tuple(size) == tuple(kernel) and geometry.groups == 1 and not padded


def _rows(x: Node) -> Node:
    return p.reshape(x, (1, x.shape[0], prod(x.shape[1:])))


def _is_outer(inner: int, kernel: tuple[int, ...], geometry: Geometry) -> bool:
    """Whether every result is one product: a window of one element over one channel."""
    stride, padding, _, groups = geometry
    moves = {*kernel, *stride, groups, inner}
    return moves == {1} and not any(n for pair in padding for n in pair)


def _outer(x: Node, w: Node, out: int) -> Node:
    """``x[n, 1, …] · w[c]`` for every channel c of ``out``."""
    w = p.reshape(w, (1, out, *(1,) * (len(x.shape) - 2)))
    return p.binary("mul", p.expand(x, (x.shape[0], out, *x.shape[2:])), w)


def _lower_conv(x: Node, w: Node, *rest: Any) -> Node:
    *bias, geometry = rest
    kernel = w.shape[2:]
    if _is_product(x.shape[2:], kernel, geometry):
        y = p.dot(_rows(x), p.permute(_rows(w), (0, 2, 1)))
        y = p.reshape(y, (x.shape[0], w.shape[0], *(1,) * len(kernel)))
    elif _is_outer(w.shape[1], kernel, geometry):
        y = _outer(x, w, w.shape[0])
    else:
        y = p.conv2d(_flat(x), _flat(w), *_moves(geometry))
        return _back(_with_bias(y, bias), len(kernel))
    return _with_bias(y, bias)


def _lower_conv_input(g: Node, w: Node, *rest: Any) -> Node:
    *bias, size, geometry = rest
    kernel = w.shape[2:]
    if _is_product(size, kernel, geometry):
        x = p.reshape(p.dot(_rows(g), _rows(w)), (g.shape[0], w.shape[1], *size))
    elif _is_outer(w.shape[0], kernel, geometry):
        x = _outer(g, w, w.shape[1])
    else:
        x = p.conv2d_input(_flat(g), _flat(w), _plane(size), *_moves(geometry))
        return _back(_with_bias(x, bias), len(kernel))
    return _with_bias(x, bias)


def _lower_conv_weight(x: Node, g: Node, kernel: tuple[int, ...], geometry: Geometry) -> Node:
    shape = (g.shape[1], x.shape[1] // geometry.groups, *kernel)
    if _is_product(x.shape[2:], kernel, geometry):
        return p.reshape(p.dot(p.permute(_rows(g), (0, 2, 1)), _rows(x)), shape)
    if _is_outer(min(shape[:2]), kernel, geometry):
        many, one = (x, g) if shape[0] == 1 else (g, x)
        wide = "float32" if x.dtype in ("float16", "bfloat16") else x.dtype
        products = p.binary("mul", p.cast(many, wide), p.expand(p.cast(one, wide), many.shape))
        total = p.reduce("sum", products, (0, *range(2, len(x.shape))))
        return p.reshape(p.cast(total, x.dtype), shape)
    return _back(p.conv2d_weight(_flat(x), _flat(g), _plane(kernel), *_moves(geometry)), len(x.shape) - 2)


def _conv_spec(x: Value, w: Value, *rest: Any) -> Spec:
    geometry = rest[-1]
    sizes = [
        (n + sum(pad) - d * (k - 1) - 1) // s + 1
        for n, k, s, pad, d in zip(x.shape[2:], w.shape[2:], geometry.stride, geometry.padding, geometry.dilation)
    ]
    return Spec((x.shape[0], w.shape[0], *sizes), x.dtype)


def _bias_gradient(g: Value, inputs: tuple[Value, ...]) -> tuple:
    if len(inputs) == 2:
        return ()
    axes = (0, *range(2, g.ndim))
    return (sum_(g, axes) if inputs[2].needs_grad else None,)


def _conv_vjp(g: Value, v: Value) -> tuple:
    x, w = v.inputs[:2]
    (geometry,) = v.attrs
    return (
        CONV_INPUT(g, w, attrs=(x.shape[2:], geometry)) if x.needs_grad else None,
        CONV_WEIGHT(x, g, attrs=(w.shape[2:], geometry)) if w.needs_grad else None,
        *_bias_gradient(g, v.inputs),
    )


def _conv_input_vjp(h: Value, v: Value) -> tuple:
    g, w = v.inputs[:2]
    geometry = v.attrs[1]
    return (
        CONV(h, w, attrs=(geometry,)) if g.needs_grad else None,
        CONV_WEIGHT(h, g, attrs=(w.shape[2:], geometry)) if w.needs_grad else None,
        *_bias_gradient(h, v.inputs),
    )


def _conv_weight_vjp(h: Value, v: Value) -> tuple:
    x, g = v.inputs
    geometry = v.attrs[1]
    return (
        CONV_INPUT(g, h, attrs=(x.shape[2:], geometry)) if x.needs_grad else None,
        CONV(x, h, attrs=(geometry,)) if g.needs_grad else None,
    )


_CROSSED = ((1,), (0,), ())
CONV = Op("convolution", _conv_spec, _lower_conv, _conv_vjp, _CROSSED)
CONV_INPUT = Op(
    "convolution_input",
    lambda g, w, *rest: Spec((g.shape[0], w.shape[1] * rest[-1].groups, *rest[-2]), g.dtype),
    _lower_conv_input,
    _conv_input_vjp,
    _CROSSED,
    "Convolution",
)
CONV_WEIGHT = Op(
    "convolution_weight",
    lambda x, g, kernel, geometry: Spec((g.shape[1], x.shape[1] // geometry.groups, *kernel), x.dtype),
    _lower_conv_weight,
    _conv_weight_vjp,
    _CROSSED,
)

# ---- checking a call; remembered by everything that it depends on

_C_NAMES = {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
            "int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char",
            "uint8": "unsigned char", "bool": "bool"}  # fmt: skip


def _spread(name: str, value: Ints, rank: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    if len(values) == 1:
        values *= rank
    if len(values) != rank:
        shown = list(values)
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {rank} values to match the convolution "
            f"dimensions, but got {name}={shown}"
        )
    return values


def _check_types(x: dtype, w: dtype, bias: dtype | None) -> None:
    if x is not w:
        raise RuntimeError(f"expected scalar type {dtype_title(x)} but found {dtype_title(w)}")
    if bias is not None and bias is not x:
        raise RuntimeError(f"Input type ({_C_NAMES[x.name]}) and bias type ({_C_NAMES[bias.name]}) should be the same")


def _check_common(
    x: tuple[int, ...], w: tuple[int, ...], bias: tuple[int, ...] | None, geometry: Geometry, transposed: bool
) -> None:
    stride, padding, dilation, groups = geometry
    if any(pad < 0 for pair in padding for pad in pair):
        raise RuntimeError("negative padding is not supported")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(f"dilation should be greater than zero, but got {list(dilation)}")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if w[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{list(w)} instead"
        )
    if w[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size [{list(w)}] instead"
        )
    channels = w[0] if transposed else w[1] * groups
    out = w[1] * groups if transposed else w[0]
    if x[1] != channels:
        given = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(
            f"Given {given}, weight of size {list(w)}, expected input{list(x)} to have {channels} channels, but got "
            f"{x[1]} channels instead"
        )
    if bias is not None and bias != (out,):
        given = "Given transposed=1, " if transposed else "Given "
        raise RuntimeError(
            f"{given}weight of size {list(w)}, expected bias to be 1-dimensional with {out} elements, but got bias of "
            f"size {list(bias)} instead"
        )


def _by(sizes: Any) -> str:
    return " x ".join(map(str, sizes))


@functools.lru_cache(4096)
def _conv_geometry(
    x: tuple[int, ...],
    w: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Geometry:
    rank = len(w) - 2
    stride = _spread("stride", stride, rank)
    dilation = _spread("dilation", dilation, rank)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        if padding == "same" and any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        totals = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, w[2:])]
        pairs = tuple((total // 2, total - total // 2) for total in totals)
    else:
        pairs = tuple((pad, pad) for pad in _spread("padding", padding, rank))
    geometry = Geometry(stride, pairs, dilation, groups)
    _check_common(x, w, bias, geometry, False)
    padded = [n + sum(pad) for n, pad in zip(x[2:], pairs)]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, w[2:])]
    if any(n < k for n, k in zip(padded, reach)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({_by(padded)}). Kernel size: ({_by(reach)}). Kernel size "
            "can't be greater than actual input size"
        )
    return geometry


@functools.lru_cache(4096)
def _transposed_geometry(
    x: tuple[int, ...],
    w: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> tuple[tuple[int, ...], Geometry]:
    """Size of the result, and the geometry of the convolution that this is the transpose of."""
    rank = len(w) - 2
    stride = _spread("stride", stride, rank)
    dilation = _spread("dilation", dilation, rank)
    pads = _spread("padding", padding, rank)
    extra = _spread("output_padding", output_padding, rank)
    _check_common(x, w, bias, Geometry(stride, tuple((n, n) for n in pads), dilation, groups), True)
    if any(e < 0 for e in extra):
        raise RuntimeError("negative output_padding is not supported")
    if any(e >= s and e >= d for e, s, d in zip(extra, stride, dilation)):
        e, s, d = ((1, *t)[-2:] if rank == 2 else ((0 if t is extra else 1), *t) for t in (extra, stride, dilation))
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got output_padding_height: "
            f"{e[0]} output_padding_width: {e[1]} stride_height: {s[0]} stride_width: {s[1]} dilation_height: {d[0]} "
            f"dilation_width: {d[1]}"
        )
    size = tuple(
        (n - 1) * s - 2 * pad + d * (k - 1) + e + 1
        for n, k, s, pad, d, e in zip(x[2:], w[2:], stride, pads, dilation, extra)
    )
    if any(n < 1 for n in size):
        raise RuntimeError(
            f"Given input size per channel: ({_by(x[2:])}). Calculated output size per channel: ({_by(size)}). Output "
            "size is too small"
        )
    # A convolution of ``size`` gives x's size back if the extra rows do not make room for one more step.
    pairs = tuple((pad, pad - e if e >= s else pad) for pad, e, s in zip(pads, extra, stride))
    return size, Geometry(stride, pairs, dilation, groups)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _batched(name: str, rank: int, x: Value, w: Value) -> Value:
    """The input with a batch dimension; PyTorch's error if it has neither the batched nor the unbatched rank."""
    if x.ndim == rank + 1:
        return reshape(x, (1, *x.shape))
    if x.ndim != rank + 2:
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got input of size: "
            f"{list(x.shape)}"
        )
    return x


def _rank_of_weight(w: Value, rank: int, stride: Any) -> None:
    if w.ndim != rank + 2:
        given = [stride] * rank if isinstance(stride, int) else list(stride)
        raise RuntimeError(
            f"expected stride to be a single integer value or a list of {w.ndim - 2} values to match the convolution "
            f"dimensions, but got stride={given}"
        )


def _convolution(name: str, rank: int) -> Callable[..., Value]:
    def call(
        input: Value,
        weight: Value,
        bias: Value | None = None,
        stride: Ints = 1,
        padding: Ints | str = 0,
        dilation: Ints = 1,
        groups: int = 1,
    ) -> Value:
        _rank_of_weight(weight, rank, stride)
        x = _batched(name, rank, input, weight)
        _check_types(x.dtype, weight.dtype, None if bias is None else bias.dtype)
        geometry = _conv_geometry(
            x.shape,
            weight.shape,
            None if bias is None else bias.shape,
            _frozen(stride),
            _frozen(padding),
            _frozen(dilation),
            groups,
        )
        y = CONV(x, weight, attrs=(geometry,)) if bias is None else CONV(x, weight, bias, attrs=(geometry,))
        return y if x is input else reshape(y, y.shape[1:])

    call.__name__ = name
    sizes, window = ("(N, C, L)", "(O, C/groups, K)") if rank == 1 else ("(N, C, H, W)", "(O, C/groups, kh, kw)")
    call.__doc__ = f"""Cross-correlation of {sizes}, or without N, with weights {window}, plus bias (O,).

    ``padding`` is a number, one a dimension, "valid" (none) or "same" (the size stays; stride 1 only).

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.{name}.html
    """
    return public(method=False)(call)


def _transposed(name: str, rank: int) -> Callable[..., Value]:
    def call(
        input: Value,
        weight: Value,
        bias: Value | None = None,
        stride: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        dilation: Ints = 1,
    ) -> Value:
        _rank_of_weight(weight, rank, stride)
        x = _batched(name, rank, input, weight)
        _check_types(x.dtype, weight.dtype, None if bias is None else bias.dtype)
        attrs = _transposed_geometry(
            x.shape,
            weight.shape,
            None if bias is None else bias.shape,
            _frozen(stride),
            _frozen(padding),
            _frozen(output_padding),
            groups,
            _frozen(dilation),
        )
        size, geometry = attrs
        beyond = [max(-high, 0) for _, high in geometry.padding]
        if any(beyond):
            y = _grown(x, weight, bias, size, geometry, beyond)
        else:
            y = CONV_INPUT(x, weight, attrs=attrs) if bias is None else CONV_INPUT(x, weight, bias, attrs=attrs)
        return y if x is input else reshape(y, y.shape[1:])

    call.__name__ = name
    sizes, window = ("(N, C, L)", "(C, O/groups, K)") if rank == 1 else ("(N, C, H, W)", "(C, O/groups, kh, kw)")
    call.__doc__ = f"""The transpose of a convolution in its input: {sizes}, or without N, by weights {window}.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.{name}.html
    """
    return public(method=False)(call)


def _grown(
    x: Value, w: Value, bias: Value | None, size: tuple[int, ...], geometry: Geometry, beyond: list[int]
) -> Value:
    """``output_padding`` past everything that the window reaches: those rows hold the bias alone."""
    from luchina.ops.movement import constant_pad
    from luchina.ops.pointwise import add

    inner = tuple(n - b for n, b in zip(size, beyond))
    pairs = tuple((low, max(high, 0)) for low, high in geometry.padding)
    y = CONV_INPUT(x, w, attrs=(inner, geometry._replace(padding=pairs)))
    y = constant_pad(y, [0, 0, *[0] * len(size)], [0, 0, *beyond])
    return y if bias is None else add(y, reshape(bias, (bias.size, *(1,) * len(size))))


conv1d = _convolution("conv1d", 1)
conv2d = _convolution("conv2d", 2)
conv_transpose1d = _transposed("conv_transpose1d", 1)
conv_transpose2d = _transposed("conv_transpose2d", 2)
