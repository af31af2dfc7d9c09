"""Functions that scripts use by PyTorch's name and that are short in terms of other functions on tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import luchina as _namespace
from luchina import dtypes
from luchina.dtypes import dtype
from luchina.ops.registry import axis_of
from luchina.ops.registry import broadcast_shapes as _common_shape
from luchina.shape import Size
from luchina.tensor import Tensor

luchina: Any = _namespace  # its functions have no types yet while this module becomes part of it


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to.

    >>> import luchina
    >>> luchina.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    result: tuple[int, ...] = ()
    for shape in shapes:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        try:
            result = _common_shape(result, shape)
        except RuntimeError:
            raise RuntimeError("Shape mismatch: objects cannot be broadcast to a single shape") from None
    return Size(result)


# ---- joining and turning


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """1-d tensors as the columns of a matrix; others side by side."""
    return luchina.hstack([t.reshape(-1, 1) if t.ndim < 2 else t for t in tensors])


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the third dimension."""
    return luchina.cat([luchina.atleast_3d(t) for t in tensors], 2)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned ``k`` times by 90° in the plane of two dimensions."""
    a, b = (axis_of(d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    turns = k % 4
    if turns == 1:
        return input.flip(b).transpose(a, b)
    if turns == 2:
        return input.flip([a, b])
    return input.flip(a).transpose(a, b) if turns == 3 else input.clone()


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a larger one, zeros elsewhere."""
    blocks = [luchina.atleast_2d(t) for t in tensors]
    width = sum(b.shape[1] for b in blocks)
    rows, at = [], 0
    for block in blocks:
        rows.append(luchina.nn.functional.pad(block, (at, width - at - block.shape[1])))
        at += block.shape[1]
    return luchina.cat(rows, 0)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Every combination of one element of each 1-d tensor, a row each."""
    if len(tensors) == 1:
        return tensors[0]
    return luchina.stack([g.reshape(-1) for g in luchina.meshgrid(*tensors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Every choice of ``r`` elements of a 1-d tensor, a row each."""
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    chosen = list(choose(range(input.shape[0]), r))
    if not chosen:
        return input.new_empty((0, r))
    return input[luchina.tensor(chosen)]


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements as columns, the highest first."""
    powers = luchina.arange(x.shape[-1] if N is None else N)
    powers = powers if increasing else powers.flip(0)
    return x.unsqueeze(-1) ** powers


def put_(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Elements of the flattened tensor replaced (or added to), in place."""
    self.view(-1).index_put_((index.reshape(-1),), source.reshape(-1), accumulate)
    return self


# ---- elementwise


def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians."""
    return input * (math.pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees."""
    return input * (180 / math.pi)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 − x)); with ``eps``, x is first clamped to [eps, 1 − eps]."""
    x = input if input.dtype.is_floating_point else input.to(dtypes.get_default_dtype())
    if eps is not None:
        x = x.clamp(eps, 1 - eps)
    return (x / (1 - x)).log()


def signbit(input: Tensor) -> Tensor:
    """Whether the sign is minus, that of −0 included."""
    if not input.dtype.is_floating_point:
        return input < 0
    return (input < 0) | ((input == 0) & (1 / input < 0))


def copysign(input: Tensor, other: Any) -> Tensor:
    """The size of ``input`` with the sign of ``other``."""
    sign = other if isinstance(other, Tensor) else luchina.tensor(float(other), dtype=input.dtype)
    x = input if input.dtype.is_floating_point else input.to(dtypes.get_default_dtype())
    return luchina.where(signbit(sign), -x.abs(), x.abs())


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, ``values`` at zero."""
    if input.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return luchina.where(input == 0, values, (input > 0).to(input.dtype))


def sinc(input: Tensor) -> Tensor:
    """sin(πx) / (πx), and 1 at 0."""
    x = (input if input.dtype.is_floating_point else input.to(dtypes.get_default_dtype())) * math.pi
    zero = x == 0
    return luchina.where(zero, 1.0, x.sin() / luchina.where(zero, 1.0, x)).to(x.dtype)


def gcd(input: Tensor, other: Tensor) -> Tensor:
    """Greatest common divisor of integers."""
    a, b = luchina.broadcast_tensors(input.abs(), other.abs())
    while bool((b != 0).any()):
        safe = luchina.where(b == 0, 1, b)
        a, b = luchina.where(b == 0, a, b), luchina.where(b == 0, b, a % safe)
    return a.clone()


# ---- reductions


def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The sum, nan counted as 0."""
    clean = luchina.where(input.isnan(), 0.0, input).to(input.dtype) if input.dtype.is_floating_point else input
    return clean.sum(dim, keepdim, dtype=dtype) if dim is not None else clean.sum(dtype=dtype)


def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The mean of what is not nan."""
    there = ~input.isnan()
    count = there.sum(dim, keepdim) if dim is not None else there.sum()
    return nansum(input, dim, keepdim, dtype=dtype) / count


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    return (input - other).norm(p)


def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The quantiles ``q`` (in [0, 1]) along a dimension, or of all elements.

    Source: https://pytorch.org/docs/stable/generated/torch.quantile.html
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError("quantile() input tensor must be either float or double dtype")
    if not input.numel():
        raise RuntimeError("quantile() input tensor must be non-empty")
    wanted = q if isinstance(q, Tensor) else luchina.tensor(float(q), dtype=input.dtype)
    if wanted.ndim > 1:
        raise RuntimeError("quantile() q must be a scalar or 1D tensor")
    if not bool(((wanted >= 0) & (wanted <= 1)).all()):
        raise RuntimeError("quantile() q values must be in the range [0, 1]")
    flat = input.reshape(-1) if dim is None else input.movedim(dim, -1)
    ranked = flat.sort(-1)[0]
    n = ranked.shape[-1]
    place = wanted.reshape(-1) * (n - 1)
    below = place.floor() if interpolation != "higher" else place.ceil()
    if interpolation == "nearest":
        below = place.round()
    low = ranked[..., below.to(dtypes.int64)]
    if interpolation in ("linear", "midpoint"):
        high = ranked[..., place.ceil().to(dtypes.int64)]
        weight = place - below if interpolation == "linear" else luchina.where(place == below, 0.0, 0.5)
        low = luchina.lerp(low, high, weight.to(input.dtype).expand(low.shape))
    elif interpolation not in ("lower", "higher", "nearest"):
        raise RuntimeError(
            "quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, but got "
            f"{interpolation}"
        )
    result = luchina.where(flat.isnan().any(-1, keepdim=True), math.nan, low).to(input.dtype)
    if keepdim:
        result = result.unsqueeze(-2) if dim is not None else result.reshape(*[1] * input.ndim, -1)
        result = result.transpose(-2, axis_of(dim, input.ndim) - input.ndim - 1) if dim is not None else result
    result = result.movedim(-1, 0)
    return result if wanted.ndim else result[0]


def cov(input: Tensor, *, correction: int = 1) -> Tensor:
    """Covariances of the rows' variables; columns are observations."""
    rows = input if input.ndim == 2 else input.reshape(1, -1)
    centred = rows - rows.mean(1, keepdim=True)
    result = centred @ centred.t() / max(rows.shape[1] - correction, 0)
    return result if input.ndim == 2 else result.reshape(())


def corrcoef(input: Tensor) -> Tensor:
    """Correlation coefficients of the rows' variables."""
    c = cov(input)
    if c.ndim == 0:
        return c / c
    spread = c.diagonal().sqrt()
    return (c / spread[:, None] / spread[None, :]).clip(-1, 1)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along ``dim`` whose p-norm exceeds ``maxnorm`` are scaled down to it."""
    axis = axis_of(dim, input.ndim)
    norms = input.norm(p, [d for d in range(input.ndim) if d != axis], keepdim=True)
    return input * luchina.where(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0)


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices."""
    return luchina.linalg.multi_dot(matrices)


# ---- windows


def _window(name: str, terms: Sequence[float]) -> Callable[..., Tensor]:
    def window(
        window_length: int, periodic: bool = True, *, dtype: dtype | None = None, requires_grad: bool = False
    ) -> Tensor:
        if window_length < 2:
            return luchina.ones(window_length, dtype=dtype)
        angle = luchina.arange(window_length, dtype=dtype or dtypes.get_default_dtype())
        angle = angle * (2 * math.pi / (window_length if periodic else window_length - 1))
        result = sum((-1) ** k * a * (angle * k).cos() for k, a in enumerate(terms) if k) + terms[0]
        return result.requires_grad_() if requires_grad else result

    window.__name__ = name
    window.__doc__ = f"The {name.split('_')[0]} window of a length, one period of it by default."
    return window


hann_window = _window("hann_window", (0.5, 0.5))
hamming_window = _window("hamming_window", (0.54, 0.46))
blackman_window = _window("blackman_window", (0.42, 0.5, 0.08))


# ---- the class names of old: ``torch.LongTensor([1, 2])``


class _Typed(type):
    """A name for the tensors of one dtype: it makes them, and they count as its instances."""

    dtype: dtype

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> Tensor:
        if len(args) == 1 and isinstance(args[0], Tensor):
            if args[0].dtype is not cls.dtype:
                raise TypeError(f"expected {cls.dtype} (got {args[0].dtype})")
            return args[0].detach()
        if len(args) == 1 and not isinstance(args[0], (int, Size)):
            return luchina.tensor(list(args[0]) if not hasattr(args[0], "dtype") else args[0], dtype=cls.dtype)
        return luchina.empty(*(args or (0,)), dtype=cls.dtype)


def _typed(name: str, d: dtype) -> Any:
    return _Typed(name, (), {"dtype": d, "__module__": "torch", "__doc__": f"Tensors of dtype {d}."})


TYPED = {
    f"{stem}Tensor": _typed(f"{stem}Tensor", d)
    for stem, d in (
        ("Float", dtypes.float32), ("Double", dtypes.float64), ("Half", dtypes.float16),
        ("BFloat16", dtypes.bfloat16), ("Long", dtypes.int64), ("Int", dtypes.int32), ("Short", dtypes.int16),
        ("Char", dtypes.int8), ("Byte", dtypes.uint8), ("Bool", dtypes.bool_),
    )
}  # fmt: skip


def typename(obj: Any) -> str:
    """The full name of an object's type; ``"torch.FloatTensor"`` for tensors."""
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(kind, "__module__", "builtins")
    return kind.__qualname__ if module in ("builtins", None) else f"{module}.{kind.__qualname__}"


METHODS = (
    rot90, deg2rad, rad2deg, logit, signbit, copysign, heaviside, sinc, gcd, nansum, nanmean, dist, quantile,
    cov, corrcoef, renorm,
)  # fmt: skip
FUNCTIONS: dict[str, Any] = {
    f.__name__: f
    for f in (
        *METHODS, broadcast_shapes, column_stack, dstack, block_diag, cartesian_prod, combinations, vander,
        chain_matmul, hann_window, hamming_window, blackman_window, typename,
    )
} | TYPED  # fmt: skip


def install(namespace: dict[str, Any]) -> None:
    """As functions, and those that PyTorch has so as methods."""
    for method in METHODS:
        setattr(Tensor, method.__name__, method)
    setattr(Tensor, "put_", put_)
    namespace.update(FUNCTIONS)
