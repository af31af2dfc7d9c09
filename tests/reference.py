"""The meaning of every primitive, written in numpy as plainly as possible: the oracle for the compiler.

``evaluate`` interprets a graph of ``luchina.compiler.prims`` node by node. Real arithmetic is done in float64 and
rounded to the node's dtype after every primitive, so that a float32 result is (nearly always) correctly rounded.
bfloat16 arrays travel as ``uint16``, as they do in luchina's own buffers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from luchina.compiler import prims
from luchina.compiler.prims import FLOATS, INTS, Node

STORAGE = {name: np.dtype("uint16" if name == "bfloat16" else name) for name in prims.DTYPES}


# ---- 16-bit brain floats, and the way between stored and computed numbers


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """Round to the nearest bfloat16, ties to even; the result is its bits."""
    x = np.asarray(x, np.float32)
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers that bfloat16 bits stand for."""
    return (np.asarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)


def load(stored: np.ndarray, dtype: str) -> np.ndarray:
    """What to compute with: float64 for every float, the array itself otherwise."""
    if dtype == "bfloat16":
        return from_bfloat16(stored).astype(np.float64)
    return stored.astype(np.float64) if dtype in FLOATS else stored


def store(x: np.ndarray, dtype: str) -> np.ndarray:
    """Round computed numbers to ``dtype``; 16-bit floats are computed in float32 first."""
    x = np.asarray(x)
    if dtype == "bfloat16":
        return to_bfloat16(x)
    if dtype == "float16":
        return x.astype(np.float32).astype(np.float16)
    return x.astype(STORAGE[dtype])


# ---- special functions that numpy lacks


def _each(function: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    return np.vectorize(function, otypes=[np.float64])


def _lgamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    return math.lgamma(x)


def _digamma(x: float) -> float:
    """Recurrence up to 12, then the asymptotic series; reflection for negative numbers."""
    if math.isnan(x) or x == -math.inf:
        return math.nan
    if x == 0:
        return -math.copysign(math.inf, x)
    if x < 0:
        whole = math.floor(x)
        if x == whole:
            return math.nan
        return _digamma(1 - x) - math.pi / math.tan(math.pi * (x - whole))
    if x == math.inf:
        return math.inf
    shift = 0.0
    while x < 12:
        shift -= 1 / x
        x += 1
    s = 1 / (x * x)
    series = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s * (1 / 132 - s * (691 / 32760 - s / 12))))))
    return shift + math.log(x) - 0.5 / x - series


def _erfinv(y: float) -> float:
    """Bisection to a good start, then Newton's method on erf (on erfc near one, where erf has no digits left)."""
    if math.isnan(y) or abs(y) > 1:
        return math.nan
    if abs(y) == 1:
        return math.copysign(math.inf, y)
    if y == 0:
        return y
    target = abs(y)
    low, high = 0.0, 6.0
    for _ in range(20):
        middle = (low + high) / 2
        if math.erf(middle) < target:
            low = middle
        else:
            high = middle
    x = (low + high) / 2 if target > 1e-4 else target * math.sqrt(math.pi) / 2
    for _ in range(8):
        excess = math.erf(x) - target if target < 0.5 else (1 - target) - math.erfc(x)
        x -= excess * math.sqrt(math.pi) / 2 * math.exp(x * x)
    return math.copysign(x, y)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{
        name: getattr(np, name)
        for name in [
            "exp",
            "expm1",
            "exp2",
            "log",
            "log2",
            "log10",
            "log1p",
            "sqrt",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "floor",
            "ceil",
            "trunc",
            "sign",
        ]
    },
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": _each(math.erf),
    "erfc": _each(math.erfc),
    "normal_cdf": _each(lambda x: math.erfc(-x * math.sqrt(0.5)) / 2),
    "erfinv": _each(_erfinv),
    "lgamma": _each(_lgamma),
    "digamma": _each(_digamma),
    "round": np.rint,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": _sigmoid,
    "reciprocal": lambda x: 1 / x,
    "neg": np.negative,
    "abs": np.abs,
    "invert": np.invert,
    "isnan": np.isnan,
}


def _idiv(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    safe = np.where(b == 0, np.ones_like(b), b)
    minus_one = safe == -1 if a.dtype.kind == "i" else np.zeros(a.shape, bool)
    safe = np.where(minus_one, np.ones_like(b), safe)
    quotient = np.floor_divide(a, safe)
    quotient = quotient + ((quotient * safe != a) & ((a < 0) != (safe < 0))).astype(a.dtype)  # floor to truncation
    quotient = np.where(minus_one, np.negative(a), quotient)
    return np.where(b == 0, np.zeros_like(a), quotient)


def _irem(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b == 0, np.zeros_like(a), a - _idiv(a, b) * b)


def _shift(left: bool) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def apply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        bits = a.dtype.itemsize * 8
        inside = (b >= 0) & (b < bits)
        count = np.where(inside, b, np.zeros_like(b))
        gone = np.zeros_like(a) if left else np.where(a < 0, np.full_like(a, -1 if a.dtype.kind == "i" else 0), 0)
        return np.where(inside, np.left_shift(a, count) if left else np.right_shift(a, count), gone).astype(a.dtype)

    return apply


BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "fmod": np.fmod,
    "atan2": np.arctan2,
    "copysign": np.copysign,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "idiv": _idiv,
    "irem": _irem,
    "shl": _shift(True),
    "shr": _shift(False),
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _cast(x: np.ndarray, source: str, target: str) -> np.ndarray:
    numbers = load(x, source)
    if target == "bool":
        return numbers != 0
    if source in FLOATS and target in INTS:  # truncation through int64, then wrapping
        return np.trunc(np.where(np.isfinite(numbers), numbers, 0)).astype(np.int64).astype(target)
    if source in FLOATS and target == "float64":
        return numbers
    return store(numbers, target)


# ---- movement


def _window(flat: np.ndarray, shape: tuple[int, ...], strides: Sequence[int], offset: int) -> np.ndarray:
    return as_strided(flat[offset:], shape, [s * flat.itemsize for s in strides])


def _slice(x: np.ndarray, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> np.ndarray:
    for axis, (start, size, step) in enumerate(zip(starts, sizes, steps)):
        x = np.take(x, start + step * np.arange(size), axis=axis)
    return x


def _pad(x: np.ndarray, node: Node) -> np.ndarray:
    low, _, fill = node.attrs
    out = np.broadcast_to(_constant(fill, node.dtype), node.shape).copy()
    out[tuple(slice(lo, lo + n) for lo, n in zip(low, x.shape))] = x
    return out


def _strided(x: np.ndarray, node: Node) -> np.ndarray:
    strides, offset = node.attrs
    if node.size == 0:
        return np.empty(node.shape, x.dtype)
    return _window(np.ascontiguousarray(x).reshape(-1), node.shape, strides, offset).copy()


def _update(base: np.ndarray, source: np.ndarray, node: Node) -> np.ndarray:
    strides, offset = node.attrs
    flat = base.reshape(-1).copy()
    if source.size:
        _window(flat, source.shape, strides, offset)[...] = source
    return flat.reshape(base.shape)


# ---- reductions, scans, order, indirect access

REDUCE = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}
SCAN = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


def _reduce(op: str, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """numpy would widen small integers; luchina's sums wrap in their own dtype."""
    if op in ("sum", "prod"):
        return REDUCE[op](x, axis=axes, dtype=x.dtype)
    return REDUCE[op](x, axis=axes)


def _argsort(x: np.ndarray, descending: bool) -> np.ndarray:
    if not descending:
        return np.argsort(x, axis=-1, kind="stable")
    last = x.shape[-1] - 1
    return last - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]  # equal elements keep their order


def _scatter(base: np.ndarray, index: np.ndarray, source: np.ndarray, mode: str) -> np.ndarray:
    out = base.copy()
    combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    for i, row in enumerate(index):
        out[row] = source[i] if mode == "set" else combine[mode](out[row], source[i])
    return out


# ---- convolution: one einsum for each position in the kernel


def _positions(node_shape: Sequence[int], kernel: Sequence[int], stride: tuple, dilation: tuple):
    """(i, j, window of the padded input) that meet the kernel's (i, j) for an output of ``node_shape``."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows = slice(i * dilation[0], i * dilation[0] + (node_shape[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(j * dilation[1], j * dilation[1] + (node_shape[1] - 1) * stride[1] + 1, stride[1])
            yield i, j, (..., rows, columns)


def _padded(x: np.ndarray, padding: tuple) -> np.ndarray:
    """Zero padding; a negative amount crops."""
    x = np.pad(x, [(0, 0), (0, 0), *[(max(lo, 0), max(hi, 0)) for lo, hi in padding]])
    crop = [slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape[2:], padding)]
    return x[:, :, crop[0], crop[1]]


def _groups(x: np.ndarray, groups: int, axis: int) -> np.ndarray:
    return x.reshape(*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])


def _conv2d(x: np.ndarray, w: np.ndarray, node: Node) -> np.ndarray:
    stride, padding, dilation, groups = node.attrs
    n, o, *size = node.shape
    x, w = _groups(_padded(x, padding), groups, 1), _groups(w, groups, 0)
    out = np.zeros((n, groups, o // groups, *size), x.dtype)
    if out.size:
        for i, j, window in _positions(size, w.shape[3:], stride, dilation):
            out += np.einsum("ngchw,goc->ngohw", x[window], w[..., i, j])
    return out.reshape(node.shape)


def _conv2d_input(g: np.ndarray, w: np.ndarray, node: Node) -> np.ndarray:
    stride, padding, dilation, groups = node.attrs
    n, c, *size = node.shape
    full = [m + sum(p) for m, p in zip(size, padding)]
    g, w = _groups(g, groups, 1), _groups(w, groups, 0)
    out = np.zeros((n, groups, c // groups, *full), g.dtype)
    if g.size and out.size:
        for i, j, window in _positions(g.shape[3:], w.shape[3:], stride, dilation):
            out[window] += np.einsum("ngohw,goc->ngchw", g, w[..., i, j])
    out = out.reshape(n, c, *full)
    return _padded(out, tuple((-lo, -hi) for lo, hi in padding))


def _conv2d_weight(x: np.ndarray, g: np.ndarray, node: Node) -> np.ndarray:
    stride, padding, dilation, groups = node.attrs
    x, g = _groups(_padded(x, padding), groups, 1), _groups(g, groups, 1)
    o, c, *kernel = node.shape
    out = np.zeros((groups, o // groups, c, *kernel), x.dtype)
    if g.size:
        for i, j, window in _positions(g.shape[3:], kernel, stride, dilation):
            out[..., i, j] = np.einsum("ngohw,ngchw->goc", g, x[window])
    return out.reshape(node.shape)


# ---- the interpreter


def _constant(value: float | int | bool, dtype: str) -> np.ndarray:
    if dtype in INTS:
        bits = STORAGE[dtype].itemsize * 8
        value = int(value) & ((1 << bits) - 1)
        if dtype != "uint8" and value >> (bits - 1):
            value -= 1 << bits
        return np.array(value, dtype)
    return store(np.array(value, np.bool_ if dtype == "bool" else np.float64), dtype)


def _compute(node: Node, args: list[np.ndarray]) -> np.ndarray:
    """The stored result of one primitive that has inputs."""
    op = node.op
    if op == "reshape":
        return args[0].reshape(node.shape)
    if op == "permute":
        return args[0].transpose(node.attrs)
    if op == "expand":
        return np.broadcast_to(args[0], node.shape)
    if op == "slice":
        return _slice(args[0], node.attrs[0], node.shape, node.attrs[1])
    if op == "pad":
        return _pad(args[0], node)
    if op == "strided":
        return _strided(args[0], node)
    if op == "concat":
        return np.concatenate(args, axis=node.attrs[0])
    if op == "update":
        return _update(args[0], args[1], node)
    if op == "take":
        return args[0][args[1]]
    if op == "where":
        return np.where(*args)
    if op == "cast":
        return _cast(args[0], node.inputs[0].dtype, node.dtype)
    x = [load(a, i.dtype) for a, i in zip(args, node.inputs)]
    if op in UNARY:
        return store(UNARY[op](*x), node.dtype)
    if op in BINARY:
        return store(BINARY[op](*x), node.dtype)
    if op in REDUCE:
        return store(_reduce(op, x[0], node.attrs), node.dtype)
    if op in ("argmax", "argmin"):
        return getattr(np, op)(x[0], axis=node.attrs[0]).astype(np.int64)
    if op == "scan":
        return store(SCAN[node.attrs[0]].accumulate(x[0], axis=-1, dtype=x[0].dtype), node.dtype)
    if op == "argsort":
        return _argsort(x[0], *node.attrs).astype(np.int64)
    if op == "scatter":
        return store(_scatter(*x, *node.attrs), node.dtype)
    if op == "dot":
        return store(np.matmul(*x), node.dtype)
    if op == "conv2d":
        return store(_conv2d(*x, node), node.dtype)
    if op == "conv2d_input":
        return store(_conv2d_input(*x, node), node.dtype)
    if op == "conv2d_weight":
        return store(_conv2d_weight(*x, node), node.dtype)
    raise NotImplementedError(f"reference.py does not know the primitive {op!r}")


def evaluate(outputs: list[Node], inputs: list[np.ndarray], scalars: Sequence[float | int] = ()) -> list[np.ndarray]:
    """The outputs of a primitive graph, each a fresh contiguous array (``uint16`` bits for bfloat16)."""
    values: dict[int, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for node in prims.topological(outputs):
            if node.op == "input":
                result = np.asarray(inputs[node.attrs[0]]).reshape(node.shape)
                assert result.dtype == STORAGE[node.dtype], (node, result.dtype)
            elif node.op == "scalar":
                result = _constant(scalars[node.attrs[0]], node.dtype)
            elif node.op == "const":
                result = _constant(node.attrs[0], node.dtype)
            elif node.op == "iota":
                result = store(np.arange(node.shape[0]), node.dtype)
            else:
                result = _compute(node, [values[id(i)] for i in node.inputs])
            result = np.asarray(result)
            assert result.shape == node.shape and result.dtype == STORAGE[node.dtype], (
                node,
                result.shape,
                result.dtype,
            )
            values[id(node)] = result
    return [np.array(values[id(node)], order="C") for node in outputs]
