"""Padding by constants, reflection, repetition or wrapping."""

from __future__ import annotations

from collections.abc import Sequence

from luchina.graph.value import Value
from luchina.ops.movement import cat, constant_pad, expand, flip, slice_
from luchina.ops.registry import public

_RANKS = {2: (2, 3), 4: (3, 4), 6: (4, 5)}  # length of ``pad`` -> ranks of the input, for the modes that read the input


def _cut(x: Value, axis: int, start: int, size: int) -> Value:
    starts, sizes = [0] * x.ndim, list(x.shape)
    starts[axis], sizes[axis] = start, size
    return slice_(x, starts, sizes, (1,) * x.ndim)


def _reflect(x: Value, axis: int, low: int, high: int) -> Value:
    n = x.shape[axis]
    if low >= n or high >= n:
        raise RuntimeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, but "
            f"got: padding ({low}, "
            f"{high}) at dimension {axis} of input {list(x.shape)}"
        )
    pieces = [flip(_cut(x, axis, 1, low), axis)] if low else []
    pieces.append(x)
    return cat([*pieces, *([flip(_cut(x, axis, n - 1 - high, high), axis)] if high else [])], axis)


def _replicate(x: Value, axis: int, low: int, high: int) -> Value:
    def edge(at: int, count: int) -> list[Value]:
        shape = list(x.shape)
        shape[axis] = count
        return [expand(_cut(x, axis, at, 1), tuple(shape))] if count > 0 else []

    return cat([*edge(0, low), x, *edge(x.shape[axis] - 1, high)], axis)


def _circular(x: Value, axis: int, low: int, high: int) -> Value:
    n = x.shape[axis]
    if low > n or high > n:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    pieces = [_cut(x, axis, n - low, low)] if low > 0 else []
    return cat([*pieces, x, *([_cut(x, axis, 0, high)] if high > 0 else [])], axis)


_MODES = {"reflect": _reflect, "replicate": _replicate, "circular": _circular}


@public(function=False, method=False)
def pad(input: Value, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Value:
    """Padding given from the last dimension backwards: (left, right, top, bottom, …); a negative amount cuts.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.pad.html
    """
    amounts = list(pad)
    if len(amounts) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    pairs = len(amounts) // 2
    if pairs > input.ndim:
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(amounts)} and input of dimension {input.ndim}"
        )
    low, high = [0] * input.ndim, [0] * input.ndim
    for i in range(pairs):
        low[input.ndim - 1 - i], high[input.ndim - 1 - i] = amounts[2 * i], amounts[2 * i + 1]
    for axis, (a, n, b) in enumerate(zip(low, input.shape, high)):
        if a + n + b < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {a} and {b} resulted in a negative output size, which is "
                f"invalid. Check dimension {axis} of your input."
            )
    if mode == "constant":
        return constant_pad(input, low, high, 0 if value is None else value)
    if mode not in _MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if input.ndim not in _RANKS.get(len(amounts), ()):
        raise NotImplementedError("Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now")
    for axis, (a, b) in enumerate(zip(low, high)):
        if a > 0 or b > 0:
            input = _MODES[mode](input, axis, max(a, 0), max(b, 0))
    if any(n < 0 for n in (*low, *high)):
        input = constant_pad(input, [min(n, 0) for n in low], [min(n, 0) for n in high])
    return input
