"""The list of public functions: what an operation's file offers under PyTorch's name.

A public function takes Values (and Python numbers) and returns Values. The tensor face wraps it once, for
``luchina.name``, ``Tensor.name`` and, where PyTorch has it, ``Tensor.name_``. Derivatives call the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from luchina import dtypes
from luchina.compiler import prims
from luchina.devices import device
from luchina.dtypes import dtype
from luchina.graph.value import Op, Spec, Value, scalar

F = TypeVar("F", bound=Callable[..., Any])


class Public(NamedTuple):
    """Where a function shows: as ``luchina.name``, as a method, as an in-place method."""

    name: str
    call: Callable[..., Any]
    function: bool
    method: bool
    inplace: bool


PUBLIC: dict[str, Public] = {}
DECLARED: list[Public] = []  # in order; a name may be declared once as a function and once as a method


def public(
    *aliases: str, function: bool = True, method: bool = True, inplace: bool = False, name: str | None = None
) -> Callable[[F], F]:
    """Offer the decorated function under its own name (without a trailing underscore) and ``aliases``."""

    def declare(call: F) -> F:
        for each in (name or call.__name__.rstrip("_"), *aliases):
            DECLARED.append(Public(each, call, function, method, inplace))
            PUBLIC[each] = DECLARED[-1]
        return call

    return declare


def as_value(x: Any) -> Value:
    """A Value as it is; a Python number as a run-time scalar."""
    if x.__class__ is Value:
        return x
    if isinstance(x, (bool, int, float)):
        return scalar(x if x.__class__ in (bool, int, float) else float(x) if isinstance(x, float) else int(x))
    if hasattr(x, "item") and getattr(x, "ndim", 1) == 0:  # a numpy scalar
        return scalar(x.item())
    raise TypeError(f"expected a Tensor or a number, not {type(x).__name__}")


def full(shape: tuple[int, ...], number: float | int, d: dtype, where: device | None = None) -> Value:
    """A constant Value that costs nothing until it is used: on a device, or where it is used."""
    return FULL(attrs=(shape, number, d) if where is None else (shape, number, d, where))


def axis_of(dim: int, ndim: int) -> int:
    """A dimension counted from either end, as a non-negative one; PyTorch's IndexError otherwise."""
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"dim must be an int, not {type(dim).__name__}")
    dim = dim.__index__()
    rank = max(ndim, 1)
    if not -rank <= dim < rank:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})")
    return dim + rank if dim < 0 else dim


def axes_of(dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Dimensions as a sorted tuple; None (or an empty list) means all of them."""
    if dim is None:
        return tuple(range(ndim))
    if ndim == 0:  # PyTorch takes dim 0 and -1 of a 0-d tensor; there is nothing to go along
        for d in dim if isinstance(dim, (tuple, list)) else (dim,):
            axis_of(d, ndim)
        return ()
    if isinstance(dim, (tuple, list)):
        axes = [axis_of(d, ndim) for d in dim]
        if len(set(axes)) != len(axes):
            twice = next(a for a in axes if axes.count(a) > 1)
            raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
        return tuple(sorted(axes)) if axes else tuple(range(ndim))
    return (axis_of(dim, ndim),)  # type: ignore[arg-type]  # an int, or something that axis_of refuses


def float_dtype(d: dtype) -> dtype:
    """The dtype of a floating function's result: integers and bools become the default floating dtype."""
    return d if d.is_floating_point else dtypes.get_default_dtype()


def broadcast(*values: Value) -> tuple[int, ...]:
    """The common shape; PyTorch's RuntimeError, naming sizes and dimension, if there is none."""
    shape = values[0].shape
    for value in values[1:]:
        shape = broadcast_shapes(shape, value.shape)
    return shape


def broadcast_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of two shapes."""
    if a == b:
        return a
    rank = max(len(a), len(b))
    left = (1,) * (rank - len(a)) + a
    right = (1,) * (rank - len(b)) + b
    result = []
    for axis in reversed(range(rank)):
        n, m = left[axis], right[axis]
        if n != m and n != 1 and m != 1:
            raise RuntimeError(
                f"The size of tensor a ({n}) must match the size of tensor b ({m}) at non-singleton dimension {axis}"
            )
        result.append(m if n == 1 else n)
    return tuple(reversed(result))


def _lower_full(shape: tuple[int, ...], number: float | int, d: dtype, where: device | None = None) -> Any:
    return prims.const(number, d.name, shape)


FULL = Op("full", lambda shape, number, d, where=None: Spec(shape, d), _lower_full)
