"""luchina: PyTorch's API on a small compiler of its own.

>>> import luchina as torch
>>> w = torch.tensor([[1., 1.], [2., 2.]], requires_grad=True)
>>> (w @ torch.tensor([[5.], [3.]])).sum().backward()
>>> w.grad
tensor([[5., 3.],
        [5., 3.]])
"""

from __future__ import annotations

import importlib
import math
import os
from typing import TYPE_CHECKING, Any

from luchina import conversion, creation, face, ops, views
from luchina.autograd import enable_grad, inference_mode, is_inference_mode_enabled, no_grad, set_grad_enabled
from luchina.autograd.modes import is_grad_enabled
from luchina.devices import device, get_default_device, set_default_device
from luchina.dtypes import (
    bfloat16,
    can_cast,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    set_default_dtype,
    short,
    uint8,
)
from luchina.dtypes import bool_ as bool
from luchina.shape import Size
from luchina.tensor import Tensor

__version__ = "0.1.0"

if TYPE_CHECKING:
    from luchina.creation import tensor  # the function, not the module of that name

float = float32
double = float64
int = int32
inf, nan, pi, e = math.inf, math.nan, math.pi, math.e

face.install(globals())
face.install_operators()
views.install(globals())
creation.install(globals())
conversion.install(globals())

from luchina import composed, elements, indexing  # noqa: E402
from luchina import random as _random  # noqa: E402

indexing.install()
composed.install(globals())
elements.install(globals())
_random.install(globals())

contiguous_format, preserve_format, channels_last = "contiguous_format", "preserve_format", "channels_last"
strided = "torch.strided"
detach = Tensor.detach


def use_deterministic_algorithms(mode: Any, *, warn_only: Any = False) -> None:
    """Accepted: every result is the same to the bit for any number of threads, run after run, anyway."""


def are_deterministic_algorithms_enabled() -> Any:
    """Always true."""
    return True


def compile(model: Any = None, **options: Any) -> Any:
    """The model itself: what it records is compiled as whole programs without being asked."""
    return model if model is not None else (lambda function: function)


_LAZY = (
    "nn",
    "optim",
    "utils",
    "random",
    "cuda",
    "opencl",
    "accelerator",
    "amp",
    "backends",
    "fused",
    "autograd",
    "hub",
    "datasets",
    "linalg",
    "testing",
)
_FROM_AMP = (
    "autocast", "clear_autocast_cache", "get_autocast_cpu_dtype", "get_autocast_dtype", "is_autocast_cache_enabled",
    "is_autocast_cpu_enabled", "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_dtype",
    "set_autocast_enabled",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"luchina.{name}")
    if name in ("save", "load"):
        return getattr(importlib.import_module("luchina.serialization"), name)
    if name == "set_printoptions":
        return importlib.import_module("luchina.printing").set_printoptions
    if name in ("set_num_threads", "get_num_threads"):
        return getattr(importlib.import_module("luchina.runtime.threads"), name)
    if name in ("set_float32_matmul_precision", "get_float32_matmul_precision"):
        return getattr(importlib.import_module("luchina.backends"), name)
    if name == "OutOfMemoryError":
        return importlib.import_module("luchina.runtime.caching").OutOfMemoryError
    if name in _FROM_AMP:
        return getattr(importlib.import_module("luchina.amp"), name)
    raise AttributeError(f"module 'luchina' has no attribute '{name}'")


if os.environ.get("LUCHINA_EXPLAIN"):
    from luchina.graph import explain as _explain

    _explain.at_exit()
