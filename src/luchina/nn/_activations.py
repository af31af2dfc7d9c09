"""Activation functions, under PyTorch's signatures."""

from __future__ import annotations

import warnings
from typing import Any

import luchina
from luchina import Tensor
from luchina.nn import engine

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(0, x), elementwise."""
    if inplace:
        return input.copy_(relu(input.clone()))
    return engine.relu(input)


def relu_(input: Tensor) -> Tensor:
    """``relu`` written to its input."""
    return relu(input, True)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x · Φ(x), elementwise; ``approximate="tanh"`` uses ½x(1 + tanh(√(2/π)(x + 0.044715x³)))."""
    return engine.gelu(input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x · σ(x), elementwise."""
    if inplace:
        return input.copy_(silu(input.clone()))
    return engine.silu(input)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else α(eˣ − 1)."""
    if inplace:
        return input.copy_(elu(input.clone(), alpha))
    return engine.elu(input, alpha)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope · x."""
    if inplace:
        return input.copy_(leaky_relu(input.clone(), negative_slope))
    return engine.leaky_relu(input, negative_slope)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^{βx}) / β; x itself where βx > threshold."""
    return engine.softplus(input, beta, threshold)


def _softmax_dim(name: str, ndim: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=4,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """eˣ / Σ eˣ along ``dim``."""
    if dim is None:
        dim = _softmax_dim("softmax", input.dim())
    return engine.softmax(input, dim) if dtype is None else engine.softmax(input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """x − log Σ eˣ along ``dim``."""
    if dim is None:
        dim = _softmax_dim("log_softmax", input.dim())
    return engine.log_softmax(input, dim) if dtype is None else engine.log_softmax(input, dim, dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(−x) along ``dim``."""
    return softmax(-input, _softmax_dim("softmin", input.dim()) if dim is None else dim, dtype=dtype)


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return input.tanh()


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ)."""
    return input.sigmoid()


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(0, x), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val]; no gradient at or outside the limits."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if inplace:
        return input.copy_(hardtanh(input.clone(), min_val, max_val))
    outside = (input <= min_val) | (input >= max_val)
    # clamp passes a gradient at the limits themselves, hardtanh does not: the limits come from a detached copy.
    return luchina.where(outside, input.detach().clamp(min_val, max_val), input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6."""
    if inplace:
        return input.copy_(hardsigmoid(input.clone()))
    return hardtanh(input + 3.0, 0.0, 6.0) / 6.0


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · min(max(x + 3, 0), 6) / 6."""
    if inplace:
        return input.copy_(hardswish(input.clone()))
    return input * (input + 3.0).clamp(0.0, 6.0) / 6.0


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · tanh(softplus(x))."""
    if inplace:
        return input.copy_(mish(input.clone()))
    return input * engine.softplus(input, 1.0, 20.0).tanh()


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """scale · (x where x > 0, else α(eˣ − 1)) with the two constants of self-normalising networks."""
    if inplace:
        return input.copy_(selu(input.clone()))
    return engine.elu(input, SELU_ALPHA) * SELU_SCALE


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(0, x) + min(0, α(e^{x/α} − 1))."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    if inplace:
        return input.copy_(celu(input.clone(), alpha))
    return luchina.where(input > 0, input, alpha * luchina.expm1(input.clamp(max=0.0) / alpha))


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """x − tanh(x)."""
    return input - input.tanh()


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > λ, else 0."""
    return luchina.where((input >= -lambd) & (input <= lambd), luchina.zeros_like(input), input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x shrunk towards 0 by λ."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    shrunk = luchina.where(input > lambd, input - lambd, input + lambd)
    return luchina.where((input >= -lambd) & (input <= lambd), input * 0, shrunk)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value."""
    if inplace:
        return input.copy_(_threshold(input.clone(), threshold, value))
    return _threshold(input, threshold, value)


def _threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    return luchina.where(input <= threshold, luchina.full_like(input, value), input)


def logsigmoid(input: Tensor) -> Tensor:
    """log σ(x), exact for large |x|."""
    return luchina.minimum(input, luchina.zeros_like(input)) - luchina.log1p(luchina.exp(-input.abs()))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · σ(b), where a and b are the halves of x along ``dim``."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}")
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight · x; ``weight`` holds one number, or one for each channel (dimension 1)."""
    if weight.numel() != 1:
        if input.dim() == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.size(1) if input.dim() >= 2 else 1
        if channels != weight.numel():
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
        weight = weight.reshape(-1, *[1] * (input.dim() - 2))
    elif weight.dim() and input.dim() == 0:
        weight = weight.reshape(())
    return luchina.where(input > 0, input, weight * input)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Leaky ReLU whose slope is drawn from U(lower, upper) in training, else their mean."""
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    if inplace:
        return input.copy_(rrelu(input.clone(), lower, upper, True))
    with luchina.no_grad():
        # As in PyTorch only elements that are not positive draw, so their number has to be known now.
        down = input <= 0
        slope = luchina.ones_like(input)
        drawn = luchina.rand(int(down.sum()), dtype=luchina.float64) * (upper - lower) + lower
        slope[down] = drawn.to(input.dtype)
    return input * slope


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of the Gumbel-softmax distribution; ``hard``: one-hot forward, soft gradient."""
    gumbels = -luchina.empty_like(logits).exponential_().log()
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = luchina.zeros_like(logits).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
