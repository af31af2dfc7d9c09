"""Convolutions as contractions of windows, for devices: the primitive ``product``, which only their scheduler knows.

``product(x, y)`` of classes such as "nbmnn": a letter for each axis of the result says whether it is of both operands
(b), of x (m) or of y (n). The axes of x are all b, all m and those that are summed over; of y all b, the sum's, all n.
Attention and recurrent layers are written out in files of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luchina.compiler import expansion_attention, expansion_recurrence, prims
from luchina.compiler.movement import contiguous_strides
from luchina.compiler.prims import Node
from luchina.compiler.simplify import _with_inputs


def expand_contractions(outputs: Sequence[Node]) -> list[Node]:
    """The same outputs with every contraction written as multiplication and sum, attention as products and softmax,
    recurrent layers step by step."""
    done: dict[int, Node] = {}
    several: dict[int, dict[str, Node]] = {}  # of nodes whose kernel gives more than one result: all of them
    for node in prims.topological(outputs):
        if node.op in prims.ATTENTION_FURTHER:
            done[id(node)] = several[id(node.inputs[0])][node.op]
            continue
        fresh = _with_inputs(node, tuple(done[id(i)] for i in node.inputs))
        if node.op in _WHOLE:
            several[id(node)] = _WHOLE[node.op](fresh)
            done[id(node)] = several[id(node)][node.op]
            continue
        rule = _RULES.get(node.op)
        done[id(node)] = rule(fresh) if rule and fresh.size else fresh
    return [done[id(node)] for node in outputs]


def _sum_of_products(a: Node, b: Node, axes: tuple[int, ...], shape: tuple[int, ...], dtype: str) -> Node:
    """16-bit floats are multiplied and added in float32, and rounded once."""
    if dtype in ("float16", "bfloat16"):
        a, b = prims.cast(a, "float32"), prims.cast(b, "float32")
    result = prims.reshape(prims.reduce("sum", prims.binary("mul", a, b), axes), shape)
    return result if result.dtype == dtype else prims.cast(result, dtype)


def _dot(node: Node) -> Node:
    a, b = node.inputs
    batch, m, k = a.shape
    n = b.shape[2]
    if k and node.dtype != "bool":
        parts = parts_of(k, k)
        if parts == 1 or min(m, n) == 1:
            return node  # ``targets/product.py``
        x = prims.permute(prims.reshape(a, (batch, m, parts, k // parts)), (0, 2, 1, 3))
        y = prims.reshape(b, (batch, parts, k // parts, n))
        return _in_parts(x, y, "bbmn", (batch, parts, m, n), node)
    left = prims.reshape(a, (batch, m, 1, k))
    right = prims.reshape(prims.permute(b, (0, 2, 1)), (batch, 1, n, k))
    return _sum_of_products(left, right, (3,), node.shape, node.dtype)


def _fit(x: Node, padding: Sequence[tuple[int, int]]) -> Node:
    """Zeros round the last two axes; less than none cuts off."""
    pads = [(0, 0), (0, 0), *padding]
    x = prims.pad(x, [max(low, 0) for low, _ in pads], [max(high, 0) for _, high in pads])
    if any(low < 0 or high < 0 for low, high in pads):
        starts = [max(-low, 0) for low, _ in pads]
        shape = [n - s - max(-high, 0) for n, s, (_, high) in zip(x.shape, starts, pads)]
        x = prims.slice(x, starts, shape, [1] * 4)
    return x


PART = 2048
"""Terms of a sum that one group adds up at least, where there are more."""

MAX_PARTS = 32


def parts_of(depth: int, extent: int) -> int:
    """In how many parts a long sum is made, by divisors of its first extent: a function of the sum alone, so that
    results with few elements occupy a card too and no element's bits depend on how many there are."""
    most = min(depth // PART, MAX_PARTS)
    return next((parts for parts in range(most, 1, -1) if extent % parts == 0), 1)


def _in_parts(x: Node, y: Node, classes: str, shape: tuple[int, ...], node: Node) -> Node:
    """A contraction whose second axis is the parts of its sum, which are added up: 16-bit floats in float32."""
    wide = "float32" if node.dtype in ("float16", "bfloat16") else node.dtype
    total = prims.reduce("sum", _product(x, y, classes, shape, wide), (1,))
    return prims.reshape(total if wide == node.dtype else prims.cast(total, node.dtype), node.shape)


def _product(x: Node, y: Node, classes: str, shape: tuple[int, ...], dtype: str) -> Node:
    return Node("product", (x, y), shape, dtype, (classes,))


def _conv2d(node: Node) -> Node:
    x, w = node.inputs
    stride, padding, dilation, groups = node.attrs
    x = _fit(x, padding)
    images = x.shape[0]
    rows, columns = node.shape[2:]
    outs, inside, kh, kw = w.shape
    sn, sc, sh, sw = contiguous_strides(x.shape)
    windows = prims.strided(
        x,
        (groups, inside, kh, kw, images, rows, columns),
        (inside * sc, sc, dilation[0] * sh, dilation[1] * sw, sn, stride[0] * sh, stride[1] * sw),
    )
    weights = prims.reshape(w, (groups, outs // groups, inside, kh, kw))
    shape = (images, groups, outs // groups, rows, columns)
    return prims.reshape(_product(weights, windows, "nbmnn", shape, node.dtype), node.shape)


def _conv2d_input(node: Node) -> Node:
    """A convolution of g, with zeros between its elements where the stride was, by the turned weight."""
    g, w = node.inputs
    stride, padding, dilation, groups = node.attrs
    size = node.shape[2:]
    outs, inside, kh, kw = w.shape
    spread = (*g.shape[:2], *((n - 1) * s + 1 for n, s in zip(g.shape[2:], stride)))
    if spread != g.shape:
        sn, sc, sh, sw = contiguous_strides(spread)
        zeros = prims.const(0, g.dtype, spread)
        g = prims.update(zeros, g, (sn, sc, stride[0] * sh, stride[1] * sw), 0)
    around = []
    for n, extent, k, d, (low, _) in zip(size, spread[2:], (kh, kw), dilation, padding, strict=True):
        before = d * (k - 1) - low
        around.append((before, n - extent - before + d * (k - 1)))
    turned = prims.slice(w, (0, 0, kh - 1, kw - 1), w.shape, (1, 1, -1, -1))
    turned = prims.permute(prims.reshape(turned, (groups, outs // groups, inside, kh, kw)), (0, 2, 1, 3, 4))
    turned = prims.reshape(turned, (groups * inside, outs // groups, kh, kw))
    return _conv2d(prims.conv2d(g, turned, (1, 1), tuple(around), dilation, groups))


def _conv2d_weight(node: Node) -> Node:
    x, g = node.inputs
    stride, padding, dilation, groups = node.attrs
    kernel = node.shape[2:]
    x = _fit(x, padding)
    images, outs, rows, columns = g.shape
    inside = x.shape[1] // groups
    sn, sc, sh, sw = contiguous_strides(x.shape)
    parts = parts_of(images * rows * columns, images)
    share = images // parts
    windows = prims.strided(
        x,
        (groups, parts, share, rows, columns, inside, *kernel),
        (inside * sc, share * sn, sn, stride[0] * sh, stride[1] * sw, sc, dilation[0] * sh, dilation[1] * sw),
    )
    g = prims.permute(prims.reshape(g, (parts, share, groups, outs // groups, rows, columns)), (2, 0, 3, 1, 4, 5))
    shape = (groups, parts, outs // groups, inside, *kernel)
    if parts > 1:
        return _in_parts(g, windows, "bbmnnn", shape, node)
    return prims.reshape(_product(g, windows, "bbmnnn", shape, node.dtype), node.shape)


_RULES: dict[str, Callable[[Node], Node]] = {
    "dot": _dot,
    "conv2d": _conv2d,
    "conv2d_input": _conv2d_input,
    "conv2d_weight": _conv2d_weight,
}

_WHOLE: dict[str, Callable[[Node], dict[str, Node]]] = {
    "attention": expansion_attention.forward,
    "attention_backward": expansion_attention.backward,
    "recurrence": expansion_recurrence.forward,
    "recurrence_backward": expansion_recurrence.backward,
}
