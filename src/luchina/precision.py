"""Mixed precision: which operations autocast moves to 16 bits or to float32, and the casts.

``POLICIES`` has PyTorch's lists for the CPU and those for CUDA, which all other devices share. ``face.lift`` looks an
operation up once; while a region is open for the device that its tensors lie on (see ``luchina.amp.autocast``) they are
cast before it is recorded. The casts are ordinary Values, so
gradients pass through them back to the dtype of the weights.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from luchina.devices import CPU, present
from luchina.dtypes import bfloat16, dtype, float16, float32
from luchina.graph.value import Value, mode
from luchina.ops.einsum import contracts
from luchina.ops.pointwise import cast
from luchina.tensor import Tensor, wrap_value

LOWER = frozenset((bfloat16, float16))
_ELIGIBLE = frozenset((bfloat16, float16, float32))  # float64 and integers stay what they are


class Region(threading.local):
    """The autocast state of a thread, for each kind of device.

    Attributes
        dtypes: the 16-bit dtypes in force, by kind of device; a kind outside every region, or inside a disabled one, is
            not there.
        fast: what ``get_autocast_dtype`` says.
        cache: whether weights are cast once a region.
        depth: how many regions are open.
        casts: the weights already cast, by (weight's Value, dtype, whether gradients are recorded).
    """

    cache: bool = True
    depth: int = 0

    def __init__(self) -> None:
        self.dtypes: dict[str, dtype] = {}
        self.fast = {"cpu": bfloat16, "cuda": float16, "opencl": float16, "xpu": float16, "mps": float16}
        self.casts: dict[tuple[int, dtype, bool], tuple[Value, Tensor]] = {}


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


def put_in_force(dtypes: dict[str, dtype]) -> None:
    """Autocast of this thread, by kind of device."""
    with _lock:
        anywhere.threads += bool(dtypes) - bool(region.dtypes)
        region.dtypes = dtypes


@contextmanager
def suspended() -> Iterator[None]:
    """No autocast inside."""
    before = region.dtypes
    put_in_force({})
    try:
        yield
    finally:
        put_in_force(before)


def kind_of(args: Iterable[Any]) -> str:
    """The kind of device that a call with these arguments runs on."""
    if present.accelerators:
        for x in _tensors(args):
            if x.device is not CPU:
                return x.device.type
    return "cpu"


def in_force(*tensors: Any) -> dtype | None:
    """The 16-bit dtype in force for a call on these tensors."""
    return region.dtypes.get(kind_of(tensors)) if region.dtypes else None


# ---- casts


def to_dtype(x: Any, d: dtype, kind: str) -> Any:
    """Floating tensors of at most 32 bits on a kind of device (also inside lists and tuples) as ``d``; anything else as
    it is."""
    if isinstance(x, Tensor):
        if x.dtype is d or x.dtype not in _ELIGIBLE or kind_of((x,)) != kind:
            return x
        if region.cache and d in LOWER and x.dtype is float32 and x._leaf:
            return _cached(x, d)
        return wrap_value(cast(x._read(), d))
    if x.__class__ in (list, tuple):
        return type(x)(to_dtype(e, d, kind) for e in x)
    return x


def _cached(weight: Tensor, d: dtype) -> Tensor:
    """A leaf cast once a region; a weight that was written since has another Value and is cast anew."""
    value = weight._read()
    key = (id(value), d, mode.grad)
    entry = region.casts.get(key)
    if entry is None:
        entry = region.casts[key] = (value, wrap_value(cast(value, d)))
    return entry[1]


Policy = Callable[[dtype, tuple, dict], "dtype | None"]  # from the 16-bit dtype in force and the arguments of a call:
# the dtype that these are cast to, if any


def _lower(fast: dtype, args: tuple, kwargs: dict) -> dtype | None:
    return fast


def _float32(fast: dtype, args: tuple, kwargs: dict) -> dtype | None:
    return float32


def _float32_result(fast: dtype, args: tuple, kwargs: dict) -> dtype | None:
    """float32 unless the call names a dtype."""
    named = kwargs.get("dtype") is not None or any(a.__class__ is dtype for a in args)
    return None if named else float32


def _promote(fast: dtype, args: tuple, kwargs: dict) -> dtype | None:
    """float32 if one of the tensors is, else 16 bits."""
    return float32 if any(x.dtype is float32 for x in _tensors((*args, *kwargs.values()))) else fast


def _contraction(fast: dtype, args: tuple, kwargs: dict) -> dtype | None:
    """16 bits if a matrix product is taken; an outer, element by element or single-operand einsum keeps its dtype."""
    shapes = [tuple(x.shape) for x in _tensors(args)]
    return fast if contracts(args, shapes) else None


def _tensors(args: Any) -> Iterator[Tensor]:
    for x in args:
        if isinstance(x, Tensor):
            yield x
        elif x.__class__ in (list, tuple):
            yield from _tensors(x)


def _pad(fast: dtype, args: tuple, kwargs: dict) -> dtype | None:
    """Reflection of one or two dimensions and replication go to float32."""
    sizes = args[1] if len(args) > 1 else kwargs.get("pad", ())
    how = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
    return float32 if how == "replicate" or (how == "reflect" and len(sizes) < 6) else None


def _unsafe(fast: dtype, args: tuple, kwargs: dict) -> dtype | None:
    raise RuntimeError(
        "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
        "Many models use a sigmoid layer right before the binary cross entropy layer.\n"
        "In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_logits\n"
        "or torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits are\n"
        "safe to autocast."
    )


_Lists = tuple[tuple[Policy, str], ...]

_CPU: _Lists = (
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
    (_contraction, "einsum"),
    (_pad, "pad"),
)
# cat and stack, which PyTorch lists as promoting, promote here by themselves, in or out of a region.

_DEVICES: _Lists = (
    (
        _lower,
        "mm mv bmm matmul addmm addmv addr addbmm baddbmm linear einsum chain_matmul multi_dot vecdot "
        "conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d prelu "
        "scaled_dot_product_attention",
    ),
    (
        _float32,
        "acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow square softplus layer_norm "
        "group_norm cosine_similarity poisson_nll_loss cosine_embedding_loss nll_loss cross_entropy "
        "hinge_embedding_loss kl_div l1_loss smooth_l1_loss huber_loss mse_loss margin_ranking_loss "
        "multilabel_margin_loss soft_margin_loss triplet_margin_loss multi_margin_loss "
        "binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp norm ctc_loss interpolate",
    ),
    (_float32_result, "prod softmax log_softmax cumprod cumsum vector_norm matrix_norm sum"),
    (_promote, "addcdiv addcmul atan2 bilinear cross dot vdot grid_sample index_put tensordot scatter_add index_copy"),
    (_unsafe, "binary_cross_entropy"),
)


class Policies(NamedTuple):
    """What autocast does to an operation on the CPU and on other devices."""

    cpu: Policy | None
    devices: Policy | None


def _table(lists: _Lists) -> dict[str, Policy]:
    return {name: policy for policy, names in lists for name in names.split()}


POLICIES = {
    name: Policies(_table(_CPU).get(name), _table(_DEVICES).get(name)) for name in (_table(_CPU) | _table(_DEVICES))
}


def cast_call(policies: Policies, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The arguments of a call as autocast wants them."""
    kind = kind_of((*args, *kwargs.values()))
    fast = region.dtypes.get(kind)
    policy = policies.cpu if kind == "cpu" else policies.devices
    d = policy(fast, args, kwargs) if fast is not None and policy is not None else None
    if d is None:
        return args, kwargs
    return tuple([to_dtype(x, d, kind) for x in args]), {k: to_dtype(x, d, kind) for k, x in kwargs.items()}


# ---- for functions that are written in terms of tensors

_Function = Callable[..., Any]


def listed(function: _Function) -> _Function:
    """``function`` is one operation to autocast: its arguments are cast as the lists say of its name, if they do, and
    autocast is off inside."""
    policies = POLICIES.get(function.__name__, Policies(None, None))

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not region.dtypes:
            return function(*args, **kwargs)
        args, kwargs = cast_call(policies, args, kwargs)
        with suspended():
            return function(*args, **kwargs)

    return wrapped
