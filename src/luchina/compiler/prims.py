"""The primitive graph: the small typed language that the compiler takes.

An operation of PyTorch's API is lowered to these primitives; everything behind this file knows nothing else. A
``Node`` is
immutable; the functions below are its only constructors, and they check shapes and dtypes.

Conventions
    * dtypes are names: ``float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 bool``.
    * A pointwise primitive takes operands of ONE dtype (``where``'s condition is bool); shapes broadcast as in numpy.
      Comparisons give bool. 16-bit floats are computed in float32 and rounded once when they are written.
    * Integer arithmetic wraps. ``idiv``/``irem`` truncate towards zero and give 0 for a zero divisor (no trap).
    * ``maximum``/``minimum`` and the max/min reductions propagate NaN.
    * A float sum accumulates in at least float32, in an order that depends on its own extent only.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
INTS = frozenset({"int8", "int16", "int32", "int64", "uint8"})
DTYPES = FLOATS | INTS | {"bool"}

# Pointwise primitives by what they accept: f floats, i integers, b bool.
UNARY = {
    **dict.fromkeys(
        [
            "exp",
            "expm1",
            "exp2",
            "log",
            "log2",
            "log10",
            "log1p",
            "sqrt",
            "rsqrt",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "tanh",
            "asinh",
            "acosh",
            "atanh",
            "erf",
            "erfc",
            "normal_cdf",
            "erfinv",
            "lgamma",
            "digamma",
            "floor",
            "ceil",
            "trunc",
            "round",
            "sigmoid",
            "reciprocal",
        ],
        "f",
    ),
    "neg": "fi",
    "abs": "fi",
    "sign": "fi",
    "invert": "ib",
    "isnan": "f",
}
BINARY = {
    **dict.fromkeys(["div", "pow", "fmod", "atan2", "copysign"], "f"),
    **dict.fromkeys(["add", "sub", "mul"], "fi"),
    **dict.fromkeys(["maximum", "minimum"], "fib"),
    **dict.fromkeys(["idiv", "irem", "shl", "shr"], "i"),
    **dict.fromkeys(["and", "or", "xor"], "ib"),
}
COMPARE = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
REDUCE = {"sum": "fi", "prod": "fi", "max": "fib", "min": "fib"}
POINTWISE = frozenset(UNARY) | frozenset(BINARY) | COMPARE | {"where", "cast"}
MOVEMENT = frozenset({"reshape", "permute", "expand", "slice", "pad", "strided"})


class Node:
    """One primitive: ``op`` applied to ``inputs`` with ``attrs``, giving an array of ``shape`` and ``dtype``."""

    __slots__ = ("attrs", "dtype", "inputs", "op", "shape")

    def __init__(
        self, op: str, inputs: tuple[Node, ...], shape: tuple[int, ...], dtype: str, attrs: tuple = ()
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.shape = shape
        self.dtype = dtype

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __repr__(self) -> str:
        attrs = f" {self.attrs}" if self.attrs else ""
        return f"<{self.op}{attrs} {self.dtype}{list(self.shape)}>"


class PrimitiveError(Exception):
    """A lowering built an ill-typed primitive: a fault in luchina, never in the user's program."""


def _require(condition: bool, *what: object) -> None:
    if not condition:
        raise PrimitiveError(" ".join(map(str, what)))


# ---- leaves


def input(index: int, shape: Sequence[int], dtype: str) -> Node:
    """The ``index``-th input buffer: contiguous, row-major."""
    return Node("input", (), tuple(shape), dtype, (index,))


def scalar(index: int, dtype: str) -> Node:
    """The ``index``-th run-time scalar, a 0-d value: a number that may differ each run without a new compilation."""
    return Node("scalar", (), (), dtype, (index,))


def const(value: float | int | bool, dtype: str, shape: Sequence[int] = ()) -> Node:
    """A constant known when compiling."""
    node = Node("const", (), (), dtype, (value,))
    return expand(node, shape) if tuple(shape) else node


def iota(n: int, dtype: str = "int64") -> Node:
    """``[0, 1, …, n-1]``."""
    return Node("iota", (), (n,), dtype)


# ---- pointwise


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, extent in enumerate(shape, rank - len(shape)):
            if extent != 1:
                _require(result[axis] in (1, extent), "shapes do not broadcast:", shapes)
                result[axis] = extent
    return tuple(result)


def _pointwise(op: str, inputs: Sequence[Node], dtype: str, attrs: tuple = ()) -> Node:
    shape = broadcast_shapes(*(node.shape for node in inputs))
    return Node(op, tuple(expand(node, shape) for node in inputs), shape, dtype, attrs)


def _kind(dtype: str) -> str:
    return "f" if dtype in FLOATS else "i" if dtype in INTS else "b"


def unary(op: str, x: Node) -> Node:
    """A pointwise function of ``UNARY``; ``round`` rounds half to even, ``sign(nan)`` is nan, ``invert`` is bitwise."""
    _require(_kind(x.dtype) in UNARY[op], op, "of", x.dtype)
    return _pointwise(op, (x,), "bool" if op == "isnan" else x.dtype)


def binary(op: str, a: Node, b: Node) -> Node:
    """A pointwise function of ``BINARY`` or a comparison; ``fmod`` has the sign of ``a``; ``shr`` is arithmetic."""
    _require(a.dtype == b.dtype, op, "of", a.dtype, "and", b.dtype)
    if op in COMPARE:
        return _pointwise(op, (a, b), "bool")
    _require(_kind(a.dtype) in BINARY[op], op, "of", a.dtype)
    return _pointwise(op, (a, b), a.dtype)


def where(condition: Node, a: Node, b: Node) -> Node:
    """``a`` where the condition holds, else ``b``: a selection, so that nan in the other branch does not leak."""
    _require(condition.dtype == "bool" and a.dtype == b.dtype, "where of", condition.dtype, a.dtype, b.dtype)
    return _pointwise("where", (condition, a, b), a.dtype)


def cast(x: Node, dtype: str) -> Node:
    """Conversion: float to integer truncates, anything to bool is ``x != 0``, bool to number is 0 or 1."""
    return x if x.dtype == dtype else _pointwise("cast", (x,), dtype)


# ---- movement: which element, never which value


def reshape(x: Node, shape: Sequence[int]) -> Node:
    shape = tuple(shape)
    _require(prod(shape) == x.size, "reshape", x.shape, "to", shape)
    return x if shape == x.shape else Node("reshape", (x,), shape, x.dtype)


def permute(x: Node, axes: Sequence[int]) -> Node:
    axes = tuple(axes)
    _require(sorted(axes) == list(range(len(x.shape))), "permute", x.shape, "by", axes)
    if axes == tuple(range(len(axes))):
        return x
    return Node("permute", (x,), tuple(x.shape[a] for a in axes), x.dtype, axes)


def expand(x: Node, shape: Sequence[int]) -> Node:
    """Broadcast to ``shape`` as numpy does: axes are added in front, extents of 1 are repeated."""
    shape = tuple(shape)
    if shape == x.shape:
        return x
    _require(broadcast_shapes(x.shape, shape) == shape, "expand", x.shape, "to", shape)
    if len(shape) > len(x.shape):
        x = reshape(x, (1,) * (len(shape) - len(x.shape)) + x.shape)
    return x if shape == x.shape else Node("expand", (x,), shape, x.dtype)


def slice(x: Node, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> Node:
    """``out[i…] = x[starts + i·steps]``, one entry an axis; a step may be negative (then start is the last index)."""
    for extent, start, size, step in zip(x.shape, starts, sizes, steps, strict=True):
        last = start + (size - 1) * step
        _require(size == 0 or (0 <= start < extent and 0 <= last < extent), "slice", x.shape, starts, sizes, steps)
    if tuple(sizes) == x.shape and not any(starts) and all(s == 1 for s in steps):
        return x
    return Node("slice", (x,), tuple(sizes), x.dtype, (tuple(starts), tuple(steps)))


def pad(x: Node, low: Sequence[int], high: Sequence[int], fill: float | int = 0) -> Node:
    """``fill`` around ``x``: ``low`` elements before and ``high`` after it on each axis, all non-negative."""
    _require(all(n >= 0 for n in (*low, *high)), "pad", low, high)
    shape = tuple(lo + n + hi for lo, n, hi in zip(low, x.shape, high, strict=True))
    return x if shape == x.shape else Node("pad", (x,), shape, x.dtype, (tuple(low), tuple(high), fill))


def strided(x: Node, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Node:
    """``out[i…] = x.flat[offset + Σ i·strides]``; strides may be 0, negative or overlap (a window)."""
    shape, strides = tuple(shape), tuple(strides)
    if prod(shape):
        low = offset + sum(min(0, (n - 1) * s) for n, s in zip(shape, strides, strict=True))
        high = offset + sum(max(0, (n - 1) * s) for n, s in zip(shape, strides, strict=True))
        _require(low >= 0 and high < x.size, "strided", x.shape, "as", shape, strides, offset)
    return Node("strided", (x,), shape, x.dtype, (strides, offset))


def concat(xs: Sequence[Node], axis: int) -> Node:
    first = xs[0]
    for x in xs:
        _require(x.dtype == first.dtype and len(x.shape) == len(first.shape), "concat", xs)
        _require(all(a == b for i, (a, b) in enumerate(zip(x.shape, first.shape)) if i != axis), "concat", xs)
    if len(xs) == 1:
        return first
    shape = list(first.shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return Node("concat", tuple(xs), tuple(shape), first.dtype, (axis,))


def update(base: Node, source: Node, strides: Sequence[int], offset: int = 0) -> Node:
    """``base`` with ``base.flat[offset + Σ i·strides] = source[i…]``; the region does not overlap itself."""
    _require(base.dtype == source.dtype, "update", base, source)
    return Node("update", (base, source), base.shape, base.dtype, (tuple(strides), offset))


# ---- reductions, scans, order


def reduce(op: str, x: Node, axes: Sequence[int]) -> Node:
    """``sum prod max min`` over ``axes``, which disappear. An empty sum is 0 and an empty product 1; max of nothing
    is not defined. Reducing bool by max is *any*, by min *all*."""
    axes = tuple(sorted(axes))
    _require(_kind(x.dtype) in REDUCE[op], op, "of", x.dtype)
    if not axes:
        return x
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return Node(op, (x,), shape, x.dtype, axes)


def argreduce(op: str, x: Node, axis: int) -> Node:
    """``argmax`` / ``argmin`` over one axis: int64 index of the first extreme element; the first NaN wins."""
    _require(op in ("argmax", "argmin"), op)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    return Node(op, (x,), shape, "int64", (axis,))


def scan(op: str, x: Node) -> Node:
    """Inclusive running ``sum prod max min`` along the last axis."""
    return Node("scan", (x,), x.shape, x.dtype, (op,))


def argsort(x: Node, descending: bool = False) -> Node:
    """int64 indices that sort the last axis stably; NaN counts as the largest."""
    return Node("argsort", (x,), x.shape, "int64", (descending,))


# ---- indirect access; indices are int64, non-negative and already checked


def take(x: Node, index: Node) -> Node:
    """Rows by number: ``x (R, D)``, ``index (n,)`` give ``out[i, :] = x[index[i], :]`` of shape ``(n, D)``."""
    _require(index.dtype == "int64" and len(x.shape) == 2 and len(index.shape) == 1, "take", x, index)
    return Node("take", (x, index), (index.shape[0], x.shape[1]), x.dtype)


def scatter(base: Node, index: Node, source: Node, mode: str = "add") -> Node:
    """Rows into ``base (R, D)``: for i in order, ``out[index[i], :] op= source[i, :]``; mode ``set "
    "add mul max min``."""
    _require(index.dtype == "int64" and base.dtype == source.dtype, "scatter", base, index, source)
    _require(source.shape == (index.shape[0], base.shape[1]), "scatter", base, index, source)
    return Node("scatter", (base, index, source), base.shape, base.dtype, (mode,))


# ---- contractions


def dot(a: Node, b: Node) -> Node:
    """``(B, M, K) · (B, K, N) → (B, M, N)``; 16-bit floats accumulate in float32, integers wrap."""
    _require(a.dtype == b.dtype and len(a.shape) == 3 and len(b.shape) == 3, "dot", a, b)
    _require(a.shape[0] == b.shape[0] and a.shape[2] == b.shape[1], "dot", a, b)
    return Node("dot", (a, b), (a.shape[0], a.shape[1], b.shape[2]), a.dtype)


def conv2d(x: Node, w: Node, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Node:
    """Cross-correlation: ``x (N, C, H, W)``, ``w (O, C/groups, kh, kw)`` give ``(N, O, H', W')``; zero padding
    ``((top, bottom), (left, right))``; ``H' = (H + top + bottom - dilation·(kh-1) - 1) // stride + 1``."""
    out = [
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], w.shape[2:], stride, padding, dilation, strict=True)
    ]
    shape = (x.shape[0], w.shape[0], *out)
    return Node("conv2d", (x, w), shape, x.dtype, (stride, padding, dilation, groups))


def conv2d_input(g: Node, w: Node, size: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Node:
    """The transpose of ``conv2d`` in ``x``: from ``g`` of the output's shape to the input of spatial ``size``."""
    shape = (g.shape[0], w.shape[1] * groups, *size)
    return Node("conv2d_input", (g, w), shape, g.dtype, (stride, padding, dilation, groups))


def conv2d_weight(x: Node, g: Node, kernel: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Node:
    """The transpose of ``conv2d`` in ``w``: from ``x`` and ``g`` of the output's shape to the weight's gradient."""
    shape = (g.shape[1], x.shape[1] // groups, *kernel)
    return Node("conv2d_weight", (x, g), shape, x.dtype, (stride, padding, dilation, groups))


# ---- attention

# Further results of the attention primitives: their only input is the node whose kernel gives them.
ATTENTION_FURTHER = frozenset({"attention_lse", "attention_dk", "attention_dv"})


def attention(q: Node, k: Node, v: Node, mask: Node | None, scale: float, causal: bool) -> Node:
    """softmax(scale · Q Kᵀ + mask) V of ``q (A, C, G, L, E)``, ``k (…, S, E)``, ``v (…, S, Ev)``: ``(A, L, C, G, Ev)``.

    ``mask (A, C, G, L, S)`` is bool (may attend) or floating (added); ``causal`` lets query i see keys 0 to i. A query
    that sees nothing gives 0.
    """
    lead, queries, keys = q.shape[:3], q.shape[3], k.shape[3]
    _require(len(q.shape) == 5 and k.shape[:3] == v.shape[:3] == lead, "attention", q, k, v)
    _require(q.shape[4] == k.shape[4] and v.shape[3] == keys and q.dtype == k.dtype == v.dtype, "attention", q, k, v)
    _require(q.dtype in FLOATS and q.size > 0 and v.size > 0, "attention", q, v)
    if mask is not None:
        _require(mask.shape == (*lead, queries, keys) and not causal, "attention", q, k, mask)
    inputs = (q, k, v) if mask is None else (q, k, v, mask)
    shape = (lead[0], queries, *lead[1:], v.shape[4])
    return Node("attention", inputs, shape, q.dtype, (scale, causal, False))


def attention_lse(node: Node) -> Node:
    """log Σ exp of the scores of an ``attention`` node, ``(A, C, G, L)`` in the dtype of sums; +∞ for nothing."""
    q = node.inputs[0]
    return Node("attention_lse", (node,), q.shape[:4], "float64" if q.dtype == "float64" else "float32")


def attention_backward(
    q: Node,
    k: Node,
    v: Node,
    mask: Node | None,
    lse: Node,
    delta: Node,
    g: Node,
    scale: float,
    causal: bool,
    parts: int = 1,
) -> tuple[Node, Node, Node]:
    """Gradients of ``attention`` in q, k and v, as ``(A, L, C, G, E)``.

    ``g (A, C, G, L, Ev)`` is the result's cotangent, ``lse`` is the forward pass's, ``delta (A, C, G, L)`` the sum over
    the width of g times the result. With several ``parts`` the first is their shares, ``(parts, A, C, G, L, E)`` in the
    dtype of sums.
    """
    _require(lse.shape == delta.shape == q.shape[:4] and lse.dtype == delta.dtype, "attention_backward", lse, delta)
    _require(g.shape == (*q.shape[:4], v.shape[4]) and g.dtype == q.dtype, "attention_backward", q, v, g)
    inputs = (q, k, v, lse, delta, g) if mask is None else (q, k, v, lse, delta, g, mask)

    def laid_out(x: Node) -> tuple[int, ...]:
        return (x.shape[0], x.shape[3], *x.shape[1:3], x.shape[4])

    shape, dtype = (laid_out(q), q.dtype) if parts == 1 else ((parts, *q.shape), lse.dtype)
    dq = Node("attention_backward", inputs, shape, dtype, (scale, causal, parts, parts > 1))
    dk = Node("attention_dk", (dq,), laid_out(k), q.dtype, (False,))
    return dq, dk, Node("attention_dv", (dq,), laid_out(v), q.dtype, (False,))


# ---- recurrent layers


class Cell(NamedTuple):
    """A kind of recurrent cell: what there is of it, in chunks of H."""

    gates: int
    kept: int
    """Chunks a step that forward keeps for backward besides h and c."""
    has_c: bool
    biased: bool
    """The projection of h has a bias of its own, and a gradient other than the input's projection."""

    @property
    def carries(self) -> bool:
        """Backward carries something from step to step besides the product with the recurrent weights."""
        return self.has_c or self.biased


CELLS = {
    "LSTM": Cell(4, 4, True, False),
    "GRU": Cell(3, 4, False, True),
    "RNN_TANH": Cell(1, 0, False, False),
    "RNN_RELU": Cell(1, 0, False, False),
}


class Sections(NamedTuple):
    """Where in the result of ``recurrence`` c and what is kept begin, and its size."""

    c: int
    kept: int
    size: int


def recurrence_sections(mode: str, steps: int, batch: int, hidden: int, keep: bool) -> Sections:
    """The result of ``recurrence``: h before and after each step ``(T+1, B, H)``; c likewise, or only the last one
    ``(B, H)`` where nothing is kept; the chunks kept for backward ``(T, B, kept · H)``."""
    cell, state = CELLS[mode], batch * hidden
    c = (steps + 1) * state
    kept = c + (0 if not cell.has_c else c if keep else state)
    return Sections(c, kept, kept + (steps * cell.kept * state if keep else 0))


def recurrence(
    mode: str, x: Node, h0: Node, c0: Node | None, bias: Node | None, w: Node, reverse: bool, keep: bool
) -> Node:
    """All steps of a layer of ``CELLS[mode]``: ``x (T, B, G·H)`` projected inputs, ``h0``, ``c0 (B, H)``,
    ``w (G·H, H)`` and ``bias (G·H,)`` of the projection of h. One flat result, see ``recurrence_sections``; with
    ``reverse`` the steps go from the last to the first, and "before" step t is row t+1."""
    cell = CELLS[mode]
    steps, batch, width = x.shape
    hidden = w.shape[1]
    _require((c0 is not None, bias is not None) == (cell.has_c, cell.biased), "recurrence", mode)
    _require(width == cell.gates * hidden and w.shape == (width, hidden) and x.size > 0, "recurrence", x, w)
    _require(all(s is None or s.shape == (batch, hidden) for s in (h0, c0)), "recurrence", h0, c0)
    inputs = tuple(node for node in (x, h0, c0, bias, w) if node is not None)
    _require(x.dtype in ("float32", "float64") and all(i.dtype == x.dtype for i in inputs), "recurrence", inputs)
    size = recurrence_sections(mode, steps, batch, hidden, keep).size
    return Node("recurrence", inputs, (size,), x.dtype, (mode, reverse, keep))


def recurrence_backward(
    mode: str, g: Node, gh: Node, gc: Node | None, trace: Node, w: Node, steps: int, reverse: bool
) -> Node:
    """The derivative of ``recurrence``, from the cotangents ``g (T, B, H)`` of every h (or ``(1, B, H)``, the same for
    every step) and ``gh``, ``gc (B, H)`` of the last h and c, and the forward pass's result. One flat result: the
    gradient of x ``(T, B, G·H)``; that of the projection of h, for a cell that is ``biased``; for a cell that
    ``carries``, the gradient of c0 or the share of h0's that is not a product ``(B, H)``."""
    cell = CELLS[mode]
    batch, hidden = g.shape[1:]
    _require(g.shape[0] in (1, steps) and (gc is not None) == cell.has_c, "recurrence_backward", mode, g)
    _require(trace.size == recurrence_sections(mode, steps, batch, hidden, True).size, "recurrence_backward", trace)
    size = steps * batch * cell.gates * hidden * (2 if cell.biased else 1) + (batch * hidden if cell.carries else 0)
    inputs = tuple(node for node in (g, gh, gc, trace, w) if node is not None)
    return Node("recurrence_backward", inputs, (size,), g.dtype, (mode, reverse, steps))


# ---- reading a graph


def topological(outputs: Sequence[Node]) -> list[Node]:
    """Every node that ``outputs`` depend on, each after its inputs."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[Node | None] = list(reversed(outputs))
    while stack:
        node = stack.pop()
        if node is None:  # all that the node below depends on is there
            order.append(stack.pop())  # type: ignore[arg-type]
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.inputs:
            stack += node, None
            stack += [i for i in node.inputs[::-1] if id(i) not in seen]
        else:
            order.append(node)
    return order


def text(outputs: Sequence[Node]) -> str:
    """The graph as numbered lines: ``%3 = add(%1, %2) float32[4, 5]``."""
    order = topological(outputs)
    names = {id(node): f"%{i}" for i, node in enumerate(order)}
    lines = []
    for node in order:
        args = ", ".join([names[id(i)] for i in node.inputs] + [str(a) for a in node.attrs])
        lines.append(f"{names[id(node)]} = {node.op}({args}) {node.dtype}{list(node.shape)}")
    lines.append("return " + ", ".join(names[id(node)] for node in outputs))
    return "\n".join(lines)
