"""Mixed precision: which operations autocast moves to 16 bits or to float32, and the casts.

``POLICIES`` names PyTorch's lists for the CPU. ``face.lift`` looks an operation up once; while a region is open (see
``luchina.amp.autocast``) the operation's tensors are cast before it is recorded. The casts are ordinary Values, so
gradients pass through them back to the dtype of the weights.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from luchina import dtypes
from luchina.dtypes import bfloat16, dtype, float16, float32
from luchina.graph.value import Value, mode
from luchina.ops.einsum import contracts
from luchina.ops.pointwise import cast
from luchina.tensor import Tensor, wrap_value

LOWER = frozenset((bfloat16, float16))
_ELIGIBLE = frozenset((bfloat16, float16, float32))  # float64 and integers stay what they are


class Region(threading.local):
    """The autocast state of a thread.

    Attributes
        dtype: the 16-bit dtype in force, None outside every region and inside a disabled one.
        fast: what ``get_autocast_dtype`` says.
        cache: whether weights are cast once a region.
        depth: how many regions are open.
        casts: the weights already cast, by (weight's Value, dtype, whether gradients are recorded).
    """

    dtype: dtypes.dtype | None = None
    fast: dtypes.dtype = bfloat16
    cache: bool = True
    depth: int = 0

    def __init__(self) -> None:
        self.casts: dict[tuple[int, dtypes.dtype, bool], tuple[Value, Tensor]] = {}


region = Region()


class Anywhere:
    """In how many threads autocast is in force: a plain attribute, read in a third of the time of a thread's own."""

    __slots__ = ("threads",)

    def __init__(self) -> None:
        self.threads = 0


anywhere = Anywhere()
_lock = threading.Lock()


def _after_fork() -> None:
    """In the child no thread holds the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def put_in_force(d: dtype | None) -> None:
    """Autocast of this thread to ``d``, or none."""
    with _lock:
        anywhere.threads += (d is not None) - (region.dtype is not None)
        region.dtype = d


@contextmanager
def suspended() -> Iterator[None]:
    """No autocast inside."""
    before = region.dtype
    put_in_force(None)
    try:
        yield
    finally:
        put_in_force(before)


# ---- casts


def to_dtype(x: Any, d: dtype) -> Any:
    """Floating tensors of at most 32 bits (also inside lists and tuples) as ``d``; anything else as it is."""
    if isinstance(x, Tensor):
        if x.dtype is d or x.dtype not in _ELIGIBLE:
            return x
        if region.cache and d in LOWER and x.dtype is float32 and x._leaf:
            return _cached(x, d)
        return wrap_value(cast(x._read(), d))
    if x.__class__ in (list, tuple):
        return type(x)(to_dtype(e, d) for e in x)
    return x


def _cached(weight: Tensor, d: dtype) -> Tensor:
    """A leaf cast once a region; a weight that was written since has another Value and is cast anew."""
    value = weight._read()
    key = (id(value), d, mode.grad)
    entry = region.casts.get(key)
    if entry is None:
        entry = region.casts[key] = (value, wrap_value(cast(value, d)))
    return entry[1]


Policy = Callable[[tuple, dict], "dtype | None"]  # the dtype that the arguments of a call are cast to, if any


def _lower(args: tuple, kwargs: dict) -> dtype | None:
    return region.dtype


def _float32(args: tuple, kwargs: dict) -> dtype | None:
    return float32


def _promote(args: tuple, kwargs: dict) -> dtype | None:
    """float32 if one of the tensors is, else 16 bits."""
    tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    return float32 if any(x.dtype is float32 for x in tensors) else region.dtype


def _einsum(args: tuple, kwargs: dict) -> dtype | None:
    """16 bits if a matrix product is taken; an outer, element by element or single-operand einsum keeps its dtype."""
    shapes = [tuple(x.shape) for x in _tensors(args)]
    return region.dtype if contracts(args, shapes) else None


def _tensors(args: Any) -> Iterator[Tensor]:
    for x in args:
        if isinstance(x, Tensor):
            yield x
        elif x.__class__ in (list, tuple):
            yield from _tensors(x)


def _pad(args: tuple, kwargs: dict) -> dtype | None:
    """Reflection of one or two dimensions and replication go to float32."""
    sizes = args[1] if len(args) > 1 else kwargs.get("pad", ())
    how = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
    return float32 if how == "replicate" or (how == "reflect" and len(sizes) < 6) else None


_LISTS: tuple[tuple[Policy, str], ...] = (
    (
        _lower,
        "mm bmm matmul addmm addbmm baddbmm linear inner tensordot chain_matmul multi_dot vecdot "
        "conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d prelu "
        "scaled_dot_product_attention",
    ),
    (
        _float32,
        "prod trace quantile nanquantile cdist stft polar cholesky cholesky_inverse cholesky_solve inverse pinverse "
        "grid_sample grid_sampler max_pool3d avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d "
        "mse_loss l1_loss smooth_l1_loss huber_loss nll_loss cross_entropy binary_cross_entropy "
        "binary_cross_entropy_with_logits kl_div poisson_nll_loss soft_margin_loss hinge_embedding_loss "
        "margin_ranking_loss cosine_embedding_loss triplet_margin_loss multi_margin_loss multilabel_margin_loss "
        "ctc_loss "
        "inv inv_ex solve lstsq svd svdvals qr eigh eigvalsh eig eigvals cholesky_ex cond matrix_rank tensorinv "
        "tensorsolve householder_product",
    ),
    (_promote, "index_copy"),
    (_einsum, "einsum"),
    (_pad, "pad"),
)
# cat and stack, which PyTorch lists as promoting, promote here by themselves, in or out of a region.

POLICIES: dict[str, Policy] = {name: policy for policy, names in _LISTS for name in names.split()}


def cast_call(policy: Policy, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The arguments of a call as autocast wants them."""
    d = policy(args, kwargs)
    if d is None:
        return args, kwargs
    return tuple([to_dtype(x, d) for x in args]), {k: to_dtype(x, d) for k, x in kwargs.items()}


# ---- for functions that are written in terms of tensors

_Function = Callable[..., Any]


def _inside(policy: Policy | None, function: _Function) -> _Function:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if region.dtype is None:
            return function(*args, **kwargs)
        if policy is not None:
            args, kwargs = cast_call(policy, args, kwargs)
        with suspended():
            return function(*args, **kwargs)

    return wrapped


def in_float32(function: _Function) -> _Function:
    """In a region, ``function`` gets float32 and autocast is off inside."""
    return _inside(_float32, function)


def in_lower(function: _Function) -> _Function:
    """In a region, ``function`` gets the 16-bit dtype and autocast is off inside."""
    return _inside(_lower, function)


def untouched(function: _Function) -> _Function:
    """``function`` is one operation to autocast, and on none of its lists."""
    return _inside(None, function)
