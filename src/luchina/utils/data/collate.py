"""From a list of items to a batch. Batches are made on the host, as plain memory: nothing is recorded for them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

import luchina
from luchina import Tensor, dtypes
from luchina.graph.value import from_buffer
from luchina.runtime import buffers
from luchina.tensor import wrap_value

_WRONG = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def plain(array: np.ndarray, d: dtypes.dtype) -> Tensor:
    """A new host array as a tensor, which takes over its memory."""
    array = np.ascontiguousarray(array)
    if not array.size:
        return luchina.empty(array.shape, dtype=d, device="cpu")
    return wrap_value(from_buffer(buffers.from_numpy(array), array.shape, d))


def _stacked(batch: Sequence[Tensor]) -> Tensor:
    first = batch[0]
    if any(t.requires_grad for t in batch) or any(t.dtype is not first.dtype for t in batch):
        return luchina.stack(list(batch), 0)
    if any(t.shape != first.shape or t.device.type != "cpu" for t in batch):
        return luchina.stack(list(batch), 0)  # raises PyTorch's error
    return plain(np.stack([t._array() for t in batch]), first.dtype)


def take_rows(tensor: Tensor, indices: list[int]) -> Tensor:
    """Rows of a tensor as a new one: what stacking its items one by one would give."""
    if tensor.requires_grad or tensor.device.type != "cpu":
        return luchina.stack([tensor[i] for i in indices], 0)
    return plain(tensor._array()[np.asarray(indices, np.intp)], tensor.dtype)


def default_collate(batch: Sequence[Any]) -> Any:
    """Items to a batch: tensors and arrays are stacked, numbers become tensors, containers are collated inside.

    Source: https://pytorch.org/docs/stable/data.html#torch.utils.data.default_collate
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stacked(batch)
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "USOV":
            raise TypeError(_WRONG.format(first.dtype))
        return default_collate([luchina.as_tensor(b) for b in batch])
    if isinstance(first, np.generic) and not isinstance(first, (str, bytes)):
        return luchina.as_tensor(np.array(batch))
    if isinstance(first, float):
        return luchina.tensor(list(batch), dtype=luchina.float64)
    if isinstance(first, int):
        return luchina.tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        collated = {key: default_collate([d[key] for d in batch]) for key in first}
        if isinstance(first, MutableMapping) and type(first) is not dict:
            try:
                return type(first)(collated)  # type: ignore[call-arg]
            except TypeError:
                return collated
        return collated
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(parts) for parts in zip(*batch)))
    if isinstance(first, Sequence):
        if not all(len(item) == len(first) for item in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        parts = [default_collate(p) for p in zip(*batch)]
        if isinstance(first, (tuple, list)) or not isinstance(first, MutableSequence):
            return parts
        try:
            return type(first)(parts)  # type: ignore[call-arg]
        except TypeError:
            return parts
    raise TypeError(_WRONG.format(type(first)))


def default_convert(data: Any) -> Any:
    """Arrays as tensors, inside containers too; anything else as it is."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, np.generic) or (isinstance(data, np.ndarray) and data.dtype.kind not in "USOV"):
        return luchina.as_tensor(data)
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(d) for d in data))
    if isinstance(data, tuple):
        return [default_convert(d) for d in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [default_convert(d) for d in data]
    return data
