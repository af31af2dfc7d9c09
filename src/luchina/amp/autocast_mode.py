"""Regions of mixed precision, and the state that they set."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from luchina import devices, dtypes
from luchina.dtypes import bfloat16, dtype, float16
from luchina.precision import LOWER, put_in_force, region, to_dtype
from luchina.runtime import accelerators
from luchina.tensor import Tensor


def _known(device_type: str) -> str:
    if not isinstance(device_type, str):
        raise TypeError(f"argument 'device_type' (position 1) must be str, not {type(device_type).__name__}")
    return devices.device(device_type).type


def is_present(kind: str) -> bool:
    """Whether a region of this device type does anything: on the CPU, and where there is such a device."""
    return kind == "cpu" or accelerators.count(kind) > 0


def is_autocast_available(device_type: str) -> bool:
    """Whether ``autocast`` takes this device type: "cpu", and "cuda", "opencl", "xpu", "mps", disabled where absent."""
    return _known(device_type) in region.fast


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether a region is in force; without an argument PyTorch means CUDA.

    >>> import luchina
    >>> with luchina.autocast("cpu"):
    ...     luchina.is_autocast_enabled("cpu")
    True
    """
    return _known(device_type) in region.dtypes


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switch the state of a device type; RuntimeError for one that is not there."""
    kind = _known(device_type)
    if enabled and not is_present(kind):
        devices.resolve(device_type)
    others = {k: d for k, d in region.dtypes.items() if k != kind}
    put_in_force({**others, kind: get_autocast_dtype(kind)} if enabled else others)


def get_autocast_dtype(device_type: str) -> dtype:
    """The dtype that a region has, or would have: bfloat16 on the CPU.

    >>> import luchina
    >>> luchina.get_autocast_dtype("cpu")
    torch.bfloat16
    """
    kind = _known(device_type)
    if kind not in region.fast:
        raise RuntimeError(f"unsupported device type for autocast in get_autocast_dtype: {kind}")
    return region.fast[kind]


def set_autocast_dtype(device_type: str, dtype: dtypes.dtype) -> None:
    """Set the dtype of regions to come, and of the one in force."""
    kind = _known(device_type)
    region.fast[kind] = dtype
    if kind in region.dtypes:
        put_in_force({**region.dtypes, kind: dtype})


def is_autocast_cache_enabled() -> bool:
    """Whether weights are cast once a region."""
    return region.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Switch the cache of cast weights."""
    region.cache = bool(enabled)


def clear_autocast_cache() -> None:
    """Let go of the weights cast so far."""
    region.casts.clear()


def is_autocast_cpu_enabled() -> bool:
    """``is_autocast_enabled("cpu")``."""
    return is_autocast_enabled("cpu")


def get_autocast_cpu_dtype() -> dtype:
    """``get_autocast_dtype("cpu")``."""
    return get_autocast_dtype("cpu")


class autocast:  # named as in PyTorch
    """A region in which products, convolutions and attention run in 16 bits and losses in float32.

    A context manager and a decorator. Regions nest, and ``enabled=False`` makes a hole in one. Each thread has its own
    state.

    Args:
        device_type: whose tensors are meant: "cpu", "opencl" or "cuda", where it is not there disabled with a warning.
        dtype: bfloat16 (the CPU's default) or float16 (CUDA's); anything else disables the region with a warning.
        enabled: whether the region does anything.
        cache_enabled: whether a weight is cast once for all its uses in the region.

    >>> import luchina as torch
    >>> model = torch.nn.Linear(4, 2)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     y = model(torch.ones(1, 4))
    ...     loss = torch.nn.functional.mse_loss(y, torch.zeros(1, 2))
    >>> y.dtype, loss.dtype
    (torch.bfloat16, torch.float32)

    Source: https://pytorch.org/docs/stable/amp.html
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtypes.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = region.cache if cache_enabled is None else bool(cache_enabled)
        if enabled and not is_present(_known(device_type)):
            name = _known(device_type).upper()
            warnings.warn(f"{name} is not available: what is there is 'cpu'. Disabling autocast.", stacklevel=2)
            enabled = False
        if enabled and self.fast_dtype not in LOWER:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"CPU Autocast only supports dtypes of {bfloat16}, {float16} currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = bool(enabled)
        self._before: list[
            tuple[dict[str, dtypes.dtype], Any, bool]
        ] = []  # one region object may be entered again inside itself

    def __enter__(self) -> autocast:
        self._before.append((region.dtypes, get_autocast_dtype(self.device), region.cache))
        set_autocast_dtype(self.device, self.fast_dtype)
        set_autocast_enabled(self.device, self._enabled)
        region.depth += 1
        region.cache = self._cache_enabled
        return self

    def __exit__(self, *exception: object) -> None:
        in_force, fast, cache = self._before.pop()
        region.depth -= 1
        if region.depth == 0:
            region.casts.clear()
        set_autocast_dtype(self.device, fast)
        put_in_force(in_force)
        region.cache = cache

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(function).__name__}. To open a region, write "
                "`with luchina.autocast(device_type=...):`."
            )

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return decorated


# ---- a user's own autograd functions


def _cast_nested(x: Any, d: dtype, kind: str) -> Any:
    """Tensors of a kind of device in nested lists, tuples and mappings; float64 and integer ones stay."""
    if isinstance(x, Tensor):
        return to_dtype(x, d, kind)
    if isinstance(x, Mapping):
        return {_cast_nested(k, d, kind): _cast_nested(v, d, kind) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(_cast_nested(e, d, kind) for e in x)
    return x


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: dtype | None = None
) -> Callable[..., Any]:
    """Decorate ``forward`` of an ``autograd.Function``.

    In a region, its inputs are cast to ``cast_inputs`` and autocast is off inside; with None it runs in the state in
    force, which ``custom_bwd`` gives to ``backward``.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(*args: Any, **kwargs: Any) -> Any:
        context = args[0]
        enabled = is_autocast_enabled(device_type)
        context._dtype = get_autocast_dtype(device_type)
        context._fwd_used_autocast = enabled and cast_inputs is None
        if cast_inputs is None or not enabled:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            kind = _known(device_type)
            return fwd(*_cast_nested(args, cast_inputs, kind), **_cast_nested(kwargs, cast_inputs, kind))

    return forward


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """Decorate ``backward`` of an ``autograd.Function``: it runs in the autocast state that ``forward`` had."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(*args: Any, **kwargs: Any) -> Any:
        context = args[0]
        with autocast(device_type, enabled=context._fwd_used_autocast, dtype=context._dtype):
            return bwd(*args, **kwargs)

    return backward
