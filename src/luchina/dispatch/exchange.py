"""A function whose inside is exchanged while everybody keeps the same object."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Exchangeable(functools.partial):
    """Calls ``function``, until ``exchange`` gives it another one that does the same.

    >>> f = Exchangeable(lambda x: x + 1)
    >>> g = f
    >>> f.exchange(lambda x: 1 + x)
    >>> g(2)
    3
    """

    def __new__(cls, function: Callable[..., Any]) -> Exchangeable:
        made = super().__new__(cls, function)
        functools.update_wrapper(made, function)
        return made

    def exchange(self, function: Callable[..., Any]) -> None:
        """From now on, call ``function``. Name, documentation and signature stay."""
        self.__setstate__((function, (), {}, self.__dict__))  # type: ignore[attr-defined]
