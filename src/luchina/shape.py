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

    def __reduce__(self) -> tuple:
        return Size, (tuple(self),)


def as_shape(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Extents given either as separate integers or as one sequence."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    result = []
    for n in sizes:
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError(f"expected an int as size, but got {type(n).__name__}")
        result.append(n.__index__())
    return tuple(result)
