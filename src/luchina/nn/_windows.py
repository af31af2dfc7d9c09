"""``unfold`` and ``fold``: the sliding windows of an image as columns, and back."""

from __future__ import annotations

from typing import Any

import luchina
from luchina import Tensor


def _pair(x: Any) -> tuple[int, int]:
    return (x, x) if isinstance(x, int) else (x[0], x[-1])


def _counts(size: tuple[int, int], kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple[int, int]:
    """How many windows fit along height and width."""
    h, w = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, kernel, dilation, padding, stride))
    return h, w


def _taps(kernel: Any, dilation: Any, stride: Any, counts: tuple[int, int]) -> list[tuple[slice, ...]]:
    """For each tap of the kernel, the elements of an image (N, C, H, W) that it meets in all windows."""

    def along(axis: int) -> list[slice]:
        reach = (counts[axis] - 1) * stride[axis] + 1
        starts = [k * dilation[axis] for k in range(kernel[axis])]
        return [slice(start, start + reach, stride[axis]) for start in starts]

    every = slice(None)
    return [(every, every, rows, columns) for rows in along(0) for columns in along(1)]


def _check(**options: tuple[int, int]) -> None:
    for name, (h, w) in options.items():
        least = 0 if name == "padding" else 1
        if h < least or w < least:
            kind = "non-negative" if name == "padding" else "greater than zero"
            raise RuntimeError(f"{name} should be {kind}, but got {name}_height: {h} {name}_width: {w}")


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """(N, C, H, W) to (N, C·kh·kw, L): each of the L windows of an image as a column.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.unfold.html
    """
    kernel, dilation, padding, stride = (_pair(x) for x in (kernel_size, dilation, padding, stride))
    _check(kernel=kernel, dilation=dilation, padding=padding, stride=stride)
    if input.dim() not in (3, 4) or 0 in input.shape[1:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
            f"but got: {list(input.shape)}"
        )
    x = input if input.dim() == 4 else input.unsqueeze(0)
    n, channels = x.shape[:2]
    h, w = _counts(tuple(x.shape[2:]), kernel, dilation, padding, stride)
    if h < 1 or w < 1:
        raise RuntimeError(
            f"Given input with spatial size ({x.shape[2]}, {x.shape[3]}), kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, stride={stride}, calculated shape of the array of sliding blocks as ({h}, {w}), but "
            "its components must be at least one."
        )
    if any(padding):
        x = luchina.nn.functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    columns = [x[window] for window in _taps(kernel, dilation, stride, (h, w))]
    result = _named(luchina.stack(columns, 2).reshape(n, channels * kernel[0] * kernel[1], h * w), "Im2ColBackward0")
    return result if input.dim() == 4 else result.squeeze(0)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """(N, C·kh·kw, L) to (N, C, H, W): each column put back at its window's place, added where windows overlap.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.fold.html
    """
    size, kernel, dilation, padding, stride = (_pair(x) for x in (output_size, kernel_size, dilation, padding, stride))
    _check(kernel=kernel, dilation=dilation, padding=padding, stride=stride)
    if input.dim() not in (2, 3) or 0 in input.shape[1:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    x = input if input.dim() == 3 else input.unsqueeze(0)
    n, rows, length = x.shape
    taps = kernel[0] * kernel[1]
    if rows % taps:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={rows} and kernel_size={kernel}."
        )
    h, w = _counts(size, kernel, dilation, padding, stride)
    if h * w != length:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, stride={stride}, "
            f"expected size of input's dimension 2 to match the calculated number of sliding blocks {h} * {w} = "
            f"{h * w}, but got input.size(2)={length}."
        )
    parts = x.reshape(n, rows // taps, taps, h, w)
    padded = x.new_zeros((n, rows // taps, size[0] + 2 * padding[0], size[1] + 2 * padding[1]))
    for k, window in enumerate(_taps(kernel, dilation, stride, (h, w))):
        padded[window] += parts[:, :, k]
    inner = padded[:, :, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    result = _named(inner.clone(), "Col2ImBackward0")
    return result if input.dim() == 3 else result.squeeze(0)


def _named(result: Tensor, name: str) -> Tensor:
    """The result under the name that its ``grad_fn`` has in PyTorch."""
    result = result if result._base is None else result.clone()
    if result.requires_grad:
        result._read().label = name
    return result
