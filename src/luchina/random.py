"""Random tensors: PyTorch's numbers for a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from luchina import device_generator, devices, dtypes
from luchina.dtypes import dtype
from luchina.face import into
from luchina.generator import Generator, default_generator
from luchina.graph.value import Value, from_buffer
from luchina.layout import arranged, in_order, order_in, order_of
from luchina.options import makes
from luchina.runtime import buffers
from luchina.shape import as_shape
from luchina.tensor import Tensor, wrap_value


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices; gives the CPU's.

    >>> import luchina
    >>> _ = luchina.manual_seed(0)
    >>> luchina.randn(2)
    tensor([ 1.5410, -0.2934])

    Source: https://pytorch.org/docs/stable/generated/torch.manual_seed.html
    """
    device_generator.seed_all(int(seed))
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generators with a number that cannot be predicted."""
    found = default_generator.seed()
    device_generator.seed_all(found)
    return found


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


def _draw(
    where: devices.device, generator: Generator | None, shape: tuple[int, ...], d: dtype, rule: str, *args: Any
) -> Value:
    """Random numbers on a device, from its default generator or the one that is named."""
    source = device_generator.source(where, generator)
    if where is not devices.CPU:
        return getattr(source, rule)(shape, d, *args)
    buffer, n = _memory(shape, d)
    getattr(source, f"fill_{rule}")(buffer, d.name, n, *args)
    return from_buffer(buffer, shape, d)


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


def _done(value: Value, requires_grad: bool) -> Tensor:
    result = wrap_value(value)
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
    return _done(_draw(where, generator, shape, d, "uniform", 0.0, 1.0), requires_grad)


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
    return _done(_draw(where, generator, shape, d, "normal", 0.0, 1.0), requires_grad)


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
    return _done(_draw(where, generator, shape, d, "randint", low, int(high)), requires_grad)


@makes
def randperm(
    n: int, *, generator: Generator | None = None, dtype: dtype = dtypes.int64, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A random permutation of 0 … n−1."""
    where = devices.resolve(device)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    if where is not devices.CPU:
        keys = wrap_value(_draw(where, generator, (n,), dtypes.int64, "random"))
        result = keys.argsort(stable=True).to(dtype)
        return result.requires_grad_() if requires_grad else result
    return _done(_draw(where, generator, (n,), dtype, "randperm"), requires_grad)


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
        return _done(_draw(where, generator, shape, d, "normal", float(mean), float(std)), requires_grad)
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
    shape, d, where = tuple(input.shape), input.dtype, input.device
    if p is not None:
        _check_probability(p)
        value = _draw(where, generator, shape, d, "bernoulli", float(p))
    else:
        _floating(input.dtype, "bernoulli_tensor_cpu_p_")
        probabilities = input.detach().contiguous()
        n = input.numel()
        if n and not bool(((probabilities >= 0) & (probabilities <= 1)).all().item()):
            raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
        if where is not devices.CPU:
            units = d if d is dtypes.float64 else dtypes.float32
            drawn = wrap_value(_draw(where, generator, shape, units, "uniform", 0.0, 1.0))
            return (drawn < probabilities).to(d)
        memory = probabilities._storage.realize().buffer
        view = buffers.external(probabilities.data_ptr(), n * d.itemsize, memory)
        buffer, _ = _memory(shape, d)
        device_generator.source(where, generator).fill_bernoulli_tensor(buffer, d.name, view, d.name, n)
        value = from_buffer(buffer, shape, d)
    return _done(value, False)


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
    weights = input.detach().contiguous()
    rows = 1 if input.ndim == 1 else input.shape[0]
    if input.device is not devices.CPU:
        _check_weights(weights)
        result = _choose(weights.reshape(rows, categories), num_samples, replacement, generator)
        return into(out, result if input.ndim == 2 else result.reshape(num_samples))
    buffer, _ = _memory((rows, num_samples), dtypes.int64)
    memory = weights._storage.realize().buffer
    view = buffers.external(weights.data_ptr(), weights.nbytes, memory)
    device_generator.source(devices.CPU, generator).fill_multinomial(
        buffer, view, input.dtype.name, rows, categories, num_samples, replacement
    )
    result = _done(from_buffer(buffer, (rows, num_samples), dtypes.int64), False)
    return into(out, result if input.ndim == 2 else result.reshape(num_samples))


def _check_weights(weights: Tensor) -> None:
    """What ``Generator.fill_multinomial`` finds out by itself in the CPU's memory."""
    if not weights.numel():
        return
    array = (weights.to(dtypes.float32) if weights.dtype is dtypes.bfloat16 else weights)._array()
    if not (math.isfinite(high := float(array.max())) and float(array.min()) >= 0):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if high == 0 or not array.any(-1).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


def _choose(weights: Tensor, count: int, replacement: bool, generator: Generator | None) -> Tensor:
    """``multinomial`` on a device: the largest of weight / wait, each wait exponential; with replacement, uniform
    numbers looked up among the running sums."""
    where, d = weights.device, weights.dtype
    if count == 1 or not replacement:
        waits = wrap_value(_draw(where, generator, tuple(weights.shape), d, "exponential", 1.0))
        scores = weights / waits
        return scores.argmax(-1, True) if count == 1 else scores.topk(count, -1)[1]
    wide = weights.to(d if d is dtypes.float64 else dtypes.float32)
    limits = wide.cumsum(-1)
    drawn = wrap_value(_draw(where, generator, (weights.shape[0], count), wide.dtype, "uniform", 0.0, 1.0))
    # Of the running sums that are not above the number's share: a category of weight 0 adds nothing and is passed over.
    below = limits.unsqueeze(1) <= (drawn * limits[:, -1:]).unsqueeze(-1)
    return below.sum(-1).clamp(max=weights.shape[1] - 1)


def _title(d: dtype) -> str:
    from luchina.ops.pointwise import dtype_title

    return dtype_title(d)


# ---- in place


def _fill(self: Tensor, rule: str, generator: Generator | None, *args: Any) -> Tensor:
    """Fill a tensor from the generator, in the order in which its elements lie in memory."""
    self._check_writable()
    order = order_of(self)
    shape = tuple(self.shape) if order is None else tuple([self.shape[axis] for axis in order])
    value = _draw(self.device, generator, shape, self.dtype, rule, *args)
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
    return _fill(self, "uniform", generator, float(low), float(to))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Normal numbers."""
    _floating(self.dtype, "normal_kernel_cpu")
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    return _fill(self, "normal", generator, float(mean), float(std), self.is_contiguous())


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """1 with probability ``p`` (a number or a tensor), else 0."""
    if isinstance(p, Tensor):
        return self.copy_(bernoulli(p.expand(self.shape).contiguous(), generator=generator))
    _check_probability(p)
    return _fill(self, "bernoulli", generator, float(p))


def random_(self: Tensor, *bounds: Any, generator: Generator | None = None, **named: Any) -> Tensor:
    """Integers in [from, to), or over the dtype's whole range."""
    limits = [*bounds]
    low = named.get("from", limits[0] if len(limits) == 2 else 0)
    high = named.get("to", limits[-1] if limits else None)
    if high is None:
        return _fill(self, "random", generator)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    return _fill(self, "randint", generator, int(low), int(high))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Exponentially distributed numbers with rate ``lambd``."""
    _floating(self.dtype, "exponential_")
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _fill(self, "exponential", generator, float(lambd))


def keep_mask(
    shape: tuple[int, ...], keep: float, where: devices.device = devices.CPU, generator: Generator | None = None
) -> Tensor:
    """bool: which elements dropout keeps; on the CPU two words of the generator an element, as in PyTorch."""
    rule = "bernoulli" if where is devices.CPU else "keep"
    return _done(_draw(where, generator, tuple(shape), dtypes.bool_, rule, keep), False)


class fork_rng:
    """Leaves the default generators as they were after the block."""

    def __init__(self, devices: Any = None, enabled: bool = True) -> None:
        self.enabled = enabled

    def __enter__(self) -> None:
        self.states = [(g, g.get_state()) for g in device_generator.all_defaults()]

    def __exit__(self, *exception: object) -> None:
        for generator, state in self.states if self.enabled else ():
            generator.set_state(state)


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
