"""``Size``: a shape that prints and behaves as PyTorch's."""

from __future__ import annotations

from typing import Any


class Size(tuple):
    """A tuple of extents.

    >>> import luchina
    >>> luchina.zeros(2, 3).shape
    torch.Size([2, 3])
    """

    __slots__ = ()

    def __new__(cls, sizes: Any = ()) -> Size:
        for i, n in enumerate(sizes := tuple(sizes)):
            if n.__class__ is not int:
                if not hasattr(n, "__index__"):
                    raise TypeError(f"torch.Size() takes an iterable of 'int' (item {i} is '{type(n).__name__}')")
                sizes = (*sizes[:i], n.__index__(), *sizes[i + 1 :])
        return tuple.__new__(cls, sizes)

    def numel(self) -> int:
        """Number of elements of that shape."""
        n = 1
        for extent in self:
            n *= extent
        return n

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def __getitem__(self, key: Any) -> Any:
        result = tuple.__getitem__(self, key)
        return Size(result) if isinstance(key, slice) else result

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, tuple):  # a list takes a Size in by itself
            return NotImplemented
        return Size(tuple(other) + tuple(self))

    def __mul__(self, times: Any) -> Size:
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __reduce__(self) -> tuple:
        return Size, (tuple(self),)


def as_shape(sizes: tuple[Any, ...], name: str = "size", argument: str = "size") -> tuple[int, ...]:
    """Extents given either as separate integers or as one sequence; ``name`` is the function of PyTorch's TypeError."""
    alone = len(sizes) == 1
    if alone and isinstance(sizes[0], (tuple, list)):
        sizes, alone = tuple(sizes[0]), False
    result = []
    for i, n in enumerate(sizes):
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            kind = type(n).__name__
            if alone:
                raise TypeError(f"{name}(): argument '{argument}' (position 1) must be tuple of ints, not {kind}")
            raise TypeError(
                f"{name}(): argument '{argument}' failed to unpack the object at pos {i + 1} with error "
                f'"type must be tuple of ints,but got {kind}"'
            )
        result.append(n.__index__())
    return tuple(result)
