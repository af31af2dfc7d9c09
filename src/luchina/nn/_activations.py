"""Activation functions, under PyTorch's signatures."""

from __future__ import annotations

import warnings
from typing import Any

import luchina
from luchina import Tensor
from luchina.nn import engine


@engine.replayed
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(0, x), elementwise."""
    if inplace:
        return input.copy_(relu(input.clone()))
    return engine.relu(input)


def relu_(input: Tensor) -> Tensor:
    """``relu`` written to its input."""
    return relu(input, True)


@engine.replayed
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x · Φ(x), elementwise; ``approximate="tanh"`` uses ½x(1 + tanh(√(2/π)(x + 0.044715x³)))."""
    return engine.gelu(input, approximate=approximate)


@engine.replayed
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x · σ(x), elementwise."""
    if inplace:
        return input.copy_(silu(input.clone()))
    return engine.silu(input)


@engine.replayed
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else α(eˣ − 1)."""
    if inplace:
        return input.copy_(elu(input.clone(), alpha))
    return engine.elu(input, alpha)


@engine.replayed
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


@engine.replayed
def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return input.tanh()


@engine.replayed
def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ)."""
    return input.sigmoid()


def _applied(name: str, input: Tensor, inplace: bool, *args: Any) -> Tensor:
    """An operation of the engine; in place it reads a copy, since its derivative needs what the write destroys."""
    call = getattr(engine, name)
    return input.copy_(call(input.clone(), *args)) if inplace else call(input, *args)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(0, x), 6)."""
    return _applied("relu6", input, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val]; no gradient at or outside the limits."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return _applied("hardtanh", input, inplace, min_val, max_val)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6."""
    return _applied("hardsigmoid", input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · min(max(x + 3, 0), 6) / 6."""
    return _applied("hardswish", input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · tanh(softplus(x))."""
    return _applied("mish", input, inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """scale · (x where x > 0, else α(eˣ − 1)) with the two constants of self-normalising networks."""
    return _applied("selu", input, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(0, x) + min(0, α(e^{x/α} − 1))."""
    return _applied("celu", input, inplace, alpha)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value."""
    return _applied("threshold", input, inplace, threshold, value)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return engine.softsign(input)


def tanhshrink(input: Tensor) -> Tensor:
    """x − tanh(x)."""
    return engine.tanhshrink(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > λ, else 0."""
    return engine.hardshrink(input, lambd)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x shrunk towards 0 by λ."""
    return engine.softshrink(input, lambd)


def logsigmoid(input: Tensor) -> Tensor:
    """log σ(x), exact for large |x|."""
    return engine.logsigmoid(input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · σ(b), where a and b are the halves of x along ``dim``."""
    return engine.glu(input, dim)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight · x; ``weight`` holds one number, or one for each channel (dimension 1)."""
    return engine.prelu(input, weight)


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
