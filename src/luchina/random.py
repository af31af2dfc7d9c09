"""Random tensors: PyTorch's numbers for a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from luchina import devices, dtypes
from luchina.dtypes import dtype
from luchina.face import into
from luchina.generator import Generator, default_generator
from luchina.graph.value import from_buffer
from luchina.layout import arranged, in_order, order_in, order_of
from luchina.ops.transfer import to_device
from luchina.options import makes
from luchina.runtime import buffers
from luchina.shape import as_shape
from luchina.tensor import Tensor, wrap_value


def manual_seed(seed: int) -> Generator:
    """Seed the default generator.

    >>> import luchina
    >>> _ = luchina.manual_seed(0)
    >>> luchina.randn(2)
    tensor([ 1.5410, -0.2934])

    Source: https://pytorch.org/docs/stable/generated/torch.manual_seed.html
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator with a number that cannot be predicted."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator was last given."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state: 5,056 bytes as a uint8 tensor."""
    return state_tensor(default_generator)


def set_rng_state(new_state: Tensor) -> None:
    """Put back a state from ``get_rng_state``."""
    default_generator.set_state(bytes(new_state.tolist()) if isinstance(new_state, Tensor) else new_state)


def state_tensor(generator: Generator) -> Tensor:
    """A generator's state as a uint8 tensor."""
    from luchina.creation import tensor

    state = generator.get_state()
    return state if isinstance(state, Tensor) else tensor(list(bytes(state)), dtype=dtypes.uint8)


def _source(generator: Generator | None) -> Generator:
    return default_generator if generator is None else generator


def _shape(size: Sequence[Any], name: str = "randint") -> tuple[int, ...]:
    shape = as_shape(tuple(size), name)
    for n in shape:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(shape)}")
    return shape


def _memory(shape: tuple[int, ...], d: dtype) -> tuple[Any, int]:
    n = math.prod(shape)
    return buffers.allocate(n * d.itemsize), n


def _floating(d: dtype | None, name: str) -> dtype:
    d = d or dtypes.get_default_dtype()
    if not d.is_floating_point:
        from luchina.ops.pointwise import dtype_title

        raise NotImplementedError(f"\"{name}\" not implemented for '{dtype_title(d)}'")
    return d


def _done(buffer: Any, shape: tuple[int, ...], d: dtype, requires_grad: bool, where: Any = devices.CPU) -> Tensor:
    result = wrap_value(to_device(from_buffer(buffer, shape, d), where))
    return result.requires_grad_() if requires_grad else result


@makes
def rand(
    *sizes: Any, size: Any = None, generator: Generator | None = None, dtype: dtype | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Uniform numbers in [0, 1).

    Source: https://pytorch.org/docs/stable/generated/torch.rand.html
    """
    where = devices.resolve(device)
    shape, d = _shape(sizes if size is None else (size,), "rand"), _floating(dtype, "check_uniform_bounds")
    buffer, n = _memory(shape, d)
    _source(generator).fill_uniform(buffer, d.name, n, 0.0, 1.0)
    return _done(buffer, shape, d, requires_grad, where)


@makes
def randn(
    *sizes: Any, size: Any = None, generator: Generator | None = None, dtype: dtype | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers, mean 0 and variance 1.

    Source: https://pytorch.org/docs/stable/generated/torch.randn.html
    """
    where = devices.resolve(device)
    shape, d = _shape(sizes if size is None else (size,), "randn"), _floating(dtype, "normal_kernel_cpu")
    buffer, n = _memory(shape, d)
    _source(generator).fill_normal(buffer, d.name, n, 0.0, 1.0)
    return _done(buffer, shape, d, requires_grad, where)


@makes
def randint(
    *args: Any, low: int | None = None, high: int | None = None, size: Any = None, generator: Generator | None = None,
    dtype: dtype | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Integers in [low, high): ``randint(high, size)`` or ``randint(low, high, size)``.

    Source: https://pytorch.org/docs/stable/generated/torch.randint.html
    """
    where = devices.resolve(device)
    rest = list(args)
    if rest and isinstance(rest[-1], (tuple, list)):
        size = rest.pop()
    if len(rest) == 2:
        low, high = rest
    elif len(rest) == 1:
        high = rest[0]
    low = 0 if low is None else int(low)
    if isinstance(size, int) or (size is None and len(rest) == 2):
        raise TypeError(f"randint(): argument 'size' (position {len(args)}) must be tuple of ints, not int")
    if high is None or size is None:
        raise TypeError("randint() received an invalid combination of arguments: it needs high and size")
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={int(high)}")
    shape, d = _shape((size,)), dtype or dtypes.int64
    buffer, n = _memory(shape, d)
    _source(generator).fill_randint(buffer, d.name, n, low, int(high))
    return _done(buffer, shape, d, requires_grad, where)


@makes
def randperm(
    n: int, *, generator: Generator | None = None, dtype: dtype = dtypes.int64, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A random permutation of 0 … n−1."""
    where = devices.resolve(device)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    buffer, _ = _memory((n,), dtype)
    _source(generator).fill_randperm(buffer, dtype.name, n)
    return _done(buffer, (n,), dtype, requires_grad, where)


def _like(
    make_tensor: Any, input: Tensor, *args: Any, requires_grad: bool = False, memory_format: Any = None, **kwargs: Any
) -> Tensor:
    """A random tensor in the shape of another, and in its memory order if the format says nothing else."""
    order = order_in(memory_format, input.ndim, order_of(input))
    if order is None:
        return make_tensor(*args, tuple(input.shape), requires_grad=requires_grad, **kwargs)
    result = arranged(make_tensor(*args, tuple([input.shape[a] for a in order]), **kwargs)._read(), order)
    return result.requires_grad_() if requires_grad else result


def rand_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """``rand`` in the shape and dtype of another tensor."""
    where = input.device if device is None else device
    options = {"device": where, "requires_grad": requires_grad, "memory_format": memory_format}
    return _like(rand, input, dtype=dtype or input.dtype, **options)


def randn_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """``randn`` in the shape and dtype of another tensor."""
    device = input.device if device is None else device
    if order_in(memory_format, input.ndim, order_of(input)) is None:
        return randn(tuple(input.shape), dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)
    from luchina.creation import empty_like

    result = empty_like(input, dtype=dtype, device=device, memory_format=memory_format).normal_()
    return result.requires_grad_() if requires_grad else result


def randint_like(input: Tensor, *args: int, dtype: dtype | None = None, device: Any = None, **kwargs: Any) -> Tensor:
    """``randint`` in the shape and dtype of another tensor."""
    where = input.device if device is None else device
    return _like(randint, input, *args, dtype=dtype or input.dtype, device=where, **kwargs)


@makes
def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: dtype | None =
    None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers with the given mean and standard deviation: numbers (with ``size``) or tensors."""
    where = devices.resolve(device)
    if size is not None:
        d = _floating(dtype, "normal_kernel_cpu")
        if std < 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        shape = _shape((size,))
        buffer, n = _memory(shape, d)
        _source(generator).fill_normal(buffer, d.name, n, float(mean), float(std))
        return _done(buffer, shape, d, requires_grad, where)
    if isinstance(mean, Tensor) and isinstance(std, Tensor):
        from luchina.ops.registry import broadcast

        shape = broadcast(mean._read(), std._read())
        d = dtypes.promote_types(mean.dtype, std.dtype)
    else:
        given = mean if isinstance(mean, Tensor) else std
        shape, d = tuple(given.shape), given.dtype
    if isinstance(std, Tensor):
        if std.numel() and not bool((std >= 0).all()):
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    given = mean if isinstance(mean, Tensor) else std
    return randn(shape, generator=generator, dtype=d, device=given.device) * std + mean


@makes
def bernoulli(input: Tensor, *, generator: Generator | None = None, p: float | None = None) -> Tensor:
    """1 with the probability that ``input`` gives (or ``p``), else 0; in the input's dtype."""
    buffer, n = _memory(tuple(input.shape), input.dtype)
    if p is not None:
        _check_probability(p)
        _source(generator).fill_bernoulli(buffer, input.dtype.name, n, float(p))
    else:
        _floating(input.dtype, "bernoulli_tensor_cpu_p_")
        probabilities = input.detach().contiguous()
        if n and not bool(((probabilities >= 0) & (probabilities <= 1)).all().item()):
            raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
        probabilities = probabilities.to("cpu")
        memory = probabilities._storage.realize().buffer
        view = buffers.external(probabilities.data_ptr(), n * input.dtype.itemsize, memory)
        _source(generator).fill_bernoulli_tensor(buffer, input.dtype.name, view, input.dtype.name, n)
    return _done(buffer, tuple(input.shape), input.dtype, False, input.device)


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Indices drawn with the probabilities that each row gives.

    Source: https://pytorch.org/docs/stable/generated/torch.multinomial.html
    """
    if out is not None and out.dtype is not dtypes.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {_title(out.dtype)}")
    if input.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not input.dtype.is_floating_point:
        raise RuntimeError("multinomial only supports floating-point dtypes for input, got: " + _title(input.dtype))
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    categories = input.shape[-1]
    if not replacement and num_samples > categories:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    weights = input.detach().contiguous().to("cpu")
    if weights.numel():
        array = weights._array()
        if weights.dtype is dtypes.bfloat16:
            array = weights.to(dtypes.float32)._array()
        if not (math.isfinite(high := float(array.max())) and float(array.min()) >= 0):
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if high == 0 or not array.any(-1).all():
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    rows = 1 if input.ndim == 1 else input.shape[0]
    buffer, _ = _memory((rows, num_samples), dtypes.int64)
    memory = weights._storage.realize().buffer
    view = buffers.external(weights.data_ptr(), weights.nbytes, memory)
    _source(generator).fill_multinomial(buffer, view, input.dtype.name, rows, categories, num_samples, replacement)
    result = _done(buffer, (rows, num_samples), dtypes.int64, False, input.device)
    return into(out, result if input.ndim == 2 else result.reshape(num_samples))


def _title(d: dtype) -> str:
    from luchina.ops.pointwise import dtype_title

    return dtype_title(d)


# ---- in place


def _fill(self: Tensor, method: str, generator: Generator | None, *args: Any) -> Tensor:
    """Fill a tensor from the generator, in the order in which its elements lie in memory."""
    self._check_writable()
    order = order_of(self)
    shape = tuple(self.shape) if order is None else tuple([self.shape[axis] for axis in order])
    buffer, n = _memory(shape, self.dtype)
    getattr(_source(generator), method)(buffer, self.dtype.name, n, *args)
    value = to_device(from_buffer(buffer, shape, self.dtype), self.device)
    if order is not None:
        value = in_order(value, [order.index(axis) for axis in range(self.ndim)])
    self._write(value)
    return self


def uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None, **bounds: float
) -> Tensor:
    """Uniform numbers in [from, to)."""
    low = bounds.pop("from", from_)
    _floating(self.dtype, "check_uniform_bounds")
    if low > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={to}")
    return _fill(self, "fill_uniform", generator, float(low), float(to))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Normal numbers."""
    _floating(self.dtype, "normal_kernel_cpu")
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    return _fill(self, "fill_normal", generator, float(mean), float(std), self.is_contiguous())


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """1 with probability ``p`` (a number or a tensor), else 0."""
    if isinstance(p, Tensor):
        return self.copy_(bernoulli(p.expand(self.shape).contiguous(), generator=generator))
    _check_probability(p)
    return _fill(self, "fill_bernoulli", generator, float(p))


def random_(self: Tensor, *bounds: Any, generator: Generator | None = None, **named: Any) -> Tensor:
    """Integers in [from, to), or over the dtype's whole range."""
    limits = [*bounds]
    low = named.get("from", limits[0] if len(limits) == 2 else 0)
    high = named.get("to", limits[-1] if limits else None)
    if high is None:
        return _fill(self, "fill_random", generator)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    return _fill(self, "fill_randint", generator, int(low), int(high))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Exponentially distributed numbers with rate ``lambd``."""
    _floating(self.dtype, "exponential_")
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _fill(self, "fill_exponential", generator, float(lambd))


def keep_mask(
    shape: tuple[int, ...], keep: float, where: Any = devices.CPU, generator: Generator | None = None
) -> Tensor:
    """bool: which elements dropout keeps; two words of the generator an element, as in PyTorch."""
    buffer, n = _memory(tuple(shape), dtypes.bool_)
    _source(generator).fill_bernoulli(buffer, "bool", n, keep)
    return _done(buffer, tuple(shape), dtypes.bool_, False, where)


class fork_rng:
    """Leaves the default generator as it was after the block."""

    def __init__(self, devices: Any = None, enabled: bool = True) -> None:
        self.enabled = enabled

    def __enter__(self) -> None:
        self.state = default_generator.get_state()

    def __exit__(self, *exception: object) -> None:
        if self.enabled:
            default_generator.set_state(self.state)


FUNCTIONS = (
    manual_seed, seed, initial_seed, get_rng_state, set_rng_state, rand, randn, randint, randperm, rand_like,
    randn_like,
    randint_like, normal, bernoulli, multinomial,
)  # fmt: skip
METHODS = (uniform_, normal_, bernoulli_, random_, exponential_, multinomial)


def install(namespace: dict[str, Any]) -> None:
    """Random functions and methods."""
    for function in FUNCTIONS:
        namespace[function.__name__] = function
    for method in METHODS:
        setattr(Tensor, method.__name__, method)
    setattr(Tensor, "bernoulli", lambda self, p=None, *, generator=None: bernoulli(self, generator=generator, p=p))
    namespace["Generator"] = Generator
    namespace["default_generator"] = default_generator
