"""Data types, how they promote, and what their numbers can hold."""

from __future__ import annotations

from functools import cache

import numpy as np


class dtype:  # named as in PyTorch
    """A tensor's element type, for instance ``luchina.float32``; compared by identity.

    Attributes
        name: ``"float32"``.
        itemsize: bytes an element.
        is_floating_point, is_signed, is_complex: as in PyTorch.
        numpy: the numpy dtype with the same bytes (``uint16`` for bfloat16, which numpy lacks).
    """

    __slots__ = ("is_floating_point", "is_signed", "itemsize", "name", "numpy", "rank")

    is_complex = False

    def __init__(self, name: str, rank: int, numpy_name: str) -> None:
        self.name = name
        self.rank = rank
        self.numpy = np.dtype(numpy_name)
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = "float" in name
        self.is_signed = name not in ("uint8", "bool")

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple:
        return _by_name, (self.name,)

    def to_complex(self) -> dtype:
        raise TypeError("luchina has no complex dtypes yet")


# ``rank`` orders the types inside their category; see promote().
float16 = half = dtype("float16", 0, "float16")
bfloat16 = dtype("bfloat16", 1, "uint16")
float32 = dtype("float32", 2, "float32")
float64 = dtype("float64", 3, "float64")
int8 = dtype("int8", 0, "int8")
int16 = short = dtype("int16", 1, "int16")
int32 = dtype("int32", 2, "int32")
int64 = long = dtype("int64", 3, "int64")
uint8 = dtype("uint8", 0, "uint8")
bool_ = dtype("bool", 0, "bool")

ALL = (float16, bfloat16, float32, float64, int8, int16, int32, int64, uint8, bool_)
BY_NAME = {d.name: d for d in ALL}
FROM_NUMPY = {d.numpy: d for d in ALL if d is not bfloat16}

# Printed under PyTorch's name, so that a printed tensor is the same text.
dtype.__module__ = "luchina"


def _by_name(name: str) -> dtype:
    return BY_NAME[name]


def category(d: dtype) -> int:
    """0 bool, 1 integer, 2 floating: a higher category wins a promotion."""
    return 2 if d.is_floating_point else 0 if d is bool_ else 1


@cache
def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype that both convert to, by PyTorch's table.

    >>> import luchina
    >>> luchina.promote_types(luchina.int32, luchina.float16)
    torch.float16
    """
    if type1 is type2:
        return type1
    c1, c2 = category(type1), category(type2)
    if c1 != c2:
        return type1 if c1 > c2 else type2
    if c1 == 1 and uint8 in (type1, type2):
        other = type2 if type1 is uint8 else type1
        return int16 if other is int8 else other
    if {type1, type2} == {float16, bfloat16}:
        return float32
    return type1 if type1.rank > type2.rank else type2


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether a result of one dtype may be written to a tensor of another: never from floating to integer or to bool.

    >>> import luchina
    >>> luchina.can_cast(luchina.float32, luchina.int32)
    False
    """
    return category(from_) <= category(to)


_default = float32


def get_default_dtype() -> dtype:
    """The floating dtype of new tensors: float32 unless changed.

    >>> import luchina
    >>> luchina.get_default_dtype()
    torch.float32
    """
    return _default


def set_default_dtype(d: dtype, /) -> None:
    """Make ``d``, a floating dtype, the dtype of new floating tensors.

    >>> import luchina
    >>> luchina.set_default_dtype(luchina.float32)
    """
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(
            "only floating-point types are supported as the default type"
            if isinstance(d, dtype)
            else "invalid dtype object"
        )
    for hook in on_default_change:
        hook()
    _default = d
    result_type.cache_clear()


on_default_change: list = []
"""Called before the default changes: what is pending is computed as it was recorded, caches are cleared."""


@cache
def result_type(operands: tuple[tuple[dtype, int], ...]) -> dtype:
    """PyTorch's promotion of operands given as (dtype, priority).

    Priority 2 is a tensor with dimensions, 1 a 0-d tensor, 0 a Python number. A lower priority matters only where
    its category (bool < integer < floating) is higher than that of the operands above it.
    """
    found: list[dtype | None] = [None, None, None]
    for d, priority in operands:
        if priority == 0 and d.is_floating_point:
            d = _default
        now = found[priority]
        found[priority] = d if now is None else promote_types(now, d)
    result: dtype | None = None
    for kind in (found[2], found[1], found[0]):
        if kind is not None:
            if result is None or category(kind) > category(result):
                result = kind
    assert result is not None
    return result


_FLOAT_FORMATS = {  # bits, precision (explicit + 1), largest exponent, decimal digits
    "float16": (16, 11, 15, 3),
    "bfloat16": (16, 8, 127, 2),
    "float32": (32, 24, 127, 6),
    "float64": (64, 53, 1023, 15),
}


class finfo:  # named as in PyTorch
    """Limits of a floating dtype: ``bits eps max min tiny smallest_normal resolution``.

    >>> import luchina
    >>> luchina.finfo(luchina.float16).max
    65504.0
    """

    def __init__(self, d: dtype | None = None) -> None:
        d = d or _default
        if not isinstance(d, dtype):
            raise TypeError(f"torch.finfo() requires a dtype argument, not {type(d).__name__}")
        if not d.is_floating_point:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{d}'")
        self.bits, precision, exponent, digits = _FLOAT_FORMATS[d.name]
        self.dtype = d.name
        self.eps = 2.0 ** (1 - precision)
        self.max = (2.0 - 2.0 ** (1 - precision)) * 2.0**exponent
        self.min = -self.max
        self.tiny = self.smallest_normal = 2.0 ** (1 - exponent)
        self.resolution = float(f"1e-{digits}")

    def __repr__(self) -> str:
        def short(x: float) -> str:
            return f"{x:g}"

        return (
            f"finfo(resolution={short(self.resolution)}, min={short(self.min)}, max={short(self.max)}, "
            f"eps={short(self.eps)}, smallest_normal={short(self.tiny)}, tiny={short(self.tiny)}, dtype={self.dtype})"
        )


class iinfo:  # named as in PyTorch
    """Limits of an integer dtype: ``bits max min``.

    >>> import luchina
    >>> luchina.iinfo(luchina.int8).min
    -128
    """

    def __init__(self, d: dtype) -> None:
        if not isinstance(d, dtype):
            raise TypeError(f"torch.iinfo() requires a dtype argument, not {type(d).__name__}")
        if d.is_floating_point:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{d}'")
        if d is bool_:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        self.dtype = d.name
        self.bits = d.itemsize * 8
        self.max = (1 << (self.bits - d.is_signed)) - 1
        self.min = -(1 << (self.bits - 1)) if d.is_signed else 0

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
