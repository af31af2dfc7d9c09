"""Initialisation of parameters, in place: PyTorch's numbers for a seed."""

from __future__ import annotations

import math
import warnings
from typing import Any

import luchina
from luchina import Tensor
from luchina.creation import filled

_UNIT_GAIN = frozenset(
    ["linear", "identity", "sigmoid", *(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))]
)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps a signal's variance through a nonlinearity.

    >>> calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    """
    if nonlinearity in _UNIT_GAIN:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            slope: float = 0.01
        elif isinstance(param, (int, float)) and not isinstance(param, bool):
            slope = param
        else:
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from U(a, b)."""
    with luchina.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from N(mean, std²)."""
    with luchina.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number, at once: a write that is left pending would make the first step of a training loop another
    program than the second."""
    with luchina.no_grad():
        if val and not tensor.is_floating_point():
            return tensor.fill_(val)
        tensor._write(filled(tuple(tensor.shape), float(val), tensor._dtype, tensor.device))
        return tensor


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity in a matrix."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with luchina.no_grad():
        return tensor.copy_(luchina.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight that passes as many channels through as it can."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    out, inner, *kernel = tensor.shape
    if out % groups:
        raise ValueError("dim 0 must be divisible by groups")
    each = out // groups
    middle = tuple(k // 2 for k in kernel)
    with luchina.no_grad():
        tensor.zero_()
        for g in range(groups):
            for d in range(min(each, inner)):
                tensor[(g * each + d, d, *middle)] = 1
    return tensor


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output element reads (fan_in), and how many outputs an input element reaches (fan_out)."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    window = math.prod(tensor.shape[2:])
    return tensor.size(1) * window, tensor.size(0) * window


_calculate_fan_in_and_fan_out = _fans


def _fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _fans(tensor)[mode == "fan_out"]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """U(−a, a) with a = gain · √(6 / (fan_in + fan_out))."""
    std = gain * math.sqrt(2.0 / float(sum(_fans(tensor))))
    a = math.sqrt(3.0) * std
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """N(0, std²) with std = gain · √(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(sum(_fans(tensor)))), generator)


def _nothing_to_do(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """U(−b, b) with b = gain · √(3 / fan)."""
    if _nothing_to_do(tensor):
        return tensor
    fan = _fan(tensor, mode)
    bound = math.sqrt(3.0) * (calculate_gain(nonlinearity, a) / math.sqrt(fan))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """N(0, std²) with std = gain / √fan."""
    if _nothing_to_do(tensor):
        return tensor
    fan = _fan(tensor, mode)
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(fan), generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """N(mean, std²) limited to [a, b] by drawing again what falls outside; the bounds are absolute."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )

    def below(x: float) -> float:
        return (1.0 + math.erf((x - mean) / std / math.sqrt(2.0))) / 2.0

    with luchina.no_grad():
        if below(b) - below(a) > 0.3:
            return _redraw_normals(tensor, mean, std, a, b, generator)
        return _reject_uniforms(tensor, mean, std, a, b, generator)


def _redraw_normals(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any) -> Tensor:
    low, high = (luchina.tensor(bound, dtype=tensor.dtype).item() for bound in (a, b))
    result = tensor.normal_(mean, std, generator=generator).clone()
    while True:
        outside = (result < low) | (result > high)
        if not bool(outside.any()):
            return tensor.copy_(result)
        fresh = luchina.empty_like(result).normal_(mean, std, generator=generator)
        result = luchina.where(outside, fresh, result)


def _reject_uniforms(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any) -> Tensor:
    """Where little of the normal lies inside: uniforms, each accepted with the density relative to its peak."""
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    result, pending = None, None
    while pending is None or bool(pending.any()):
        drawn = luchina.empty_like(tensor).uniform_(a, b, generator=generator)
        log_density = ((drawn - mean) / std).pow(2) * -0.5 - peak
        rejected = luchina.empty_like(tensor).uniform_(generator=generator).log() > log_density
        result = drawn if pending is None else luchina.where(pending, drawn, result)
        pending = rejected if pending is None else pending & rejected
    return tensor.copy_(result)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """A (semi-)orthogonal matrix; dimensions after the first are taken as one."""
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    from luchina.linalg import qr

    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    flat = luchina.empty((rows, tensor.numel() // rows), dtype=tensor.dtype, device=tensor.device)
    with luchina.no_grad():
        flat.normal_(0, 1, generator=generator)
        wide = rows < flat.size(1)
        q, r = qr(flat.t() if wide else flat)
        q = q * r.diagonal().sign()
        return tensor.copy_((q.t() if wide else q).reshape(tensor.shape)).mul_(gain)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """N(0, std²) with a share ``sparsity`` of each column set to 0."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with luchina.no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            # PyTorch, too, draws the rows from the default generator.
            tensor[luchina.randperm(rows)[:zeros], column] = 0
    return tensor
