"""The engine's recorded operations as functions of Tensors: the one door from ``nn`` to ``ops``.

``functional`` gives them PyTorch's signatures; each is one Value when it is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def __getattr__(name: str) -> Callable[..., Any]:
    from luchina import face
    from luchina.ops.registry import PUBLIC

    if name not in PUBLIC:
        raise AttributeError(f"luchina has no operation named '{name}'")
    function = globals()[name] = face.lift(PUBLIC[name].call)
    return function
