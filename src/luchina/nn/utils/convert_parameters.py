"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import luchina
from luchina import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The parameters one after the other in one dimension."""
    return luchina.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Parts of ``vec`` become the parameters' data."""
    if not isinstance(vec, luchina.Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    start = 0
    for p in parameters:
        n = p.numel()
        p.data = vec[start : start + n].view_as(p).data
        start += n
