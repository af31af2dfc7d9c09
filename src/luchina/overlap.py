"""Windows that overlap: themselves (expanded ones), or what is read while they are written."""

from __future__ import annotations

from luchina import dtypes
from luchina.graph.value import Value, mode
from luchina.ops.registry import full
from luchina.ops.select import where
from luchina.tensor import Tensor


def replacing(target: Tensor, new: Value) -> Value:
    """``new`` for all of ``target``, still a function of what was there: with gradient 0, as in "
    "PyTorch, not without."""
    old = target._read()
    if not (mode.grad and old.needs_grad and target._is_whole()):
        return new
    return where(full(old.shape, 1, dtypes.bool_), new, old)


def each_once(x: Tensor) -> Tensor:
    """The window without its repetitions (dimensions of stride 0): one number for all may be written there."""
    if 0 not in x._strides:
        return x
    sizes = [1 if stride == 0 and n else n for n, stride in zip(x._shape, x._strides)]
    return x.as_strided(sizes, x._strides, x._offset)  # type: ignore[attr-defined]


def _dense(x: Tensor) -> bool:
    """Whether the window covers its part of the storage without gaps or repetitions, in any order of dimensions."""
    expected = 1
    for stride, n in sorted((stride, n) for stride, n in zip(x._strides, x._shape) if n != 1):
        if stride != expected:
            return False
        expected *= n
    return True


def check_partial_overlap(target: Tensor, source: Tensor) -> None:
    """PyTorch's error where what is written is read at the same time in another order. As there, windows with gaps
    pass.

    Raises:
        RuntimeError: if two dense windows on one storage meet without being the same window.
    """
    if source is target or source._storage is not target._storage or not (_dense(source) and _dense(target)):
        return
    a, b = target._offset, source._offset
    n, m = target.numel(), source.numel()
    same = (a, n, tuple(target._strides)) == (b, m, tuple(source._strides))
    if n and m and not same and a < b + m and b < a + n:
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor "
            "refer to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )
