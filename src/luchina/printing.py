"""The printed form of a tensor: PyTorch's, to the character.

One number format is chosen for the whole tensor by looking at the elements that will be shown (`_choose_format`); the
nested brackets are then laid out around it (`_layout`), long tensors by their edges only; at last come the suffixes
(`dtype=`, `requires_grad=`, …), each moved to a line of its own where the line would grow too long.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

SMALLEST_PLAIN = 1e-4
LARGEST_PLAIN = 1e8
LARGEST_PLAIN_RATIO = 1000.0


@dataclasses.dataclass
class PrintOptions:
    """What `set_printoptions` sets; the defaults are the profile ``"default"``."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}

options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors are printed. What is None stays as it is; ``sci_mode=None`` means automatic.

    Args:
        precision: digits after the point.
        threshold: a tensor of more elements is shown by its edges.
        edgeitems: how many elements an edge has, on each axis.
        linewidth: characters in a line.
        profile: ``"default"``, ``"short"`` or ``"full"``; applied before the other arguments.
        sci_mode: always (True), never (False) or automatically (None) in scientific notation.

    >>> import luchina as torch
    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    """
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    chosen = PROFILES.get(profile, {}) if profile is not None else {}
    chosen = chosen | {name: value for name, value in given.items() if value is not None}
    for name, value in chosen.items():
        setattr(options, name, value)
    options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options in force, fit to be passed to `set_printoptions` again."""
    return dataclasses.asdict(options)


@contextmanager
def printoptions(**changes: Any) -> Iterator[None]:
    """`set_printoptions` for the length of a ``with`` block."""
    before = get_printoptions()
    set_printoptions(**changes)
    try:
        yield
    finally:
        set_printoptions(**before)


# ---- one format for all elements

Format = Callable[[Any], str]


def _choose_format(shown: np.ndarray) -> tuple[Format, int]:
    """How to write one element, and the width to which all are padded; ``shown`` are the elements to be printed.

    Three forms of a float: whole numbers with a bare point (``3.``), a fixed number of digits, scientific. Only finite
    non-zero numbers take part in the choice, so a zero or a nan can be wider than the rest.
    """
    if shown.dtype.kind != "f":
        width = max((len(str(value)) for value in shown.ravel().tolist()), default=1)
        return str, max(width, 1)

    digits = options.precision
    finite = shown[np.isfinite(shown) & (shown != 0)].astype(np.float64)
    if not finite.size:
        return _whole, 1
    smallest, largest = float(np.abs(finite).min()), float(np.abs(finite).max())
    scientific = options.sci_mode
    if scientific is None:
        with np.errstate(over="ignore"):
            ratio = np.float64(largest) / smallest
        scientific = bool(ratio > LARGEST_PLAIN_RATIO or largest > LARGEST_PLAIN or smallest < SMALLEST_PLAIN)
    form: Format
    if scientific:
        form = f"{{:.{digits}e}}".format
    elif np.all(finite == np.ceil(finite)):
        form = _whole
    else:
        form = f"{{:.{digits}f}}".format
    return form, max(len(form(value)) for value in finite.tolist())


def _whole(value: float) -> str:
    return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"


# ---- brackets


def _edges(data: np.ndarray) -> np.ndarray:
    """The elements of a long tensor that are shown: the first and last few on each axis."""
    edge = options.edgeitems
    for axis, extent in enumerate(data.shape):
        if extent > 2 * edge:
            data = np.take(data, [*range(edge), *range(extent - edge, extent)], axis=axis)
    return data


def _layout(data: np.ndarray, indent: int, summarize: bool, form: Format, width: int) -> str:
    """Nested brackets; a vector's lines are filled up to the line width, matrices are parted by empty lines."""
    edge = options.edgeitems
    shorten = summarize and len(data) > 2 * edge
    if data.ndim > 1:
        rows = [*data[:edge], *data[len(data) - edge :]] if shorten else [*data]
        parts = [_layout(row, indent + 1, summarize, form, width) for row in rows]
        if shorten:
            parts.insert(edge, "...")
        between = "," + "\n" * (data.ndim - 1) + " " * (indent + 1)
        return "[" + between.join(parts) + "]"

    if summarize and not edge:
        parts = ["..."]
    elif shorten:
        head, tail = data[:edge].tolist(), data[len(data) - edge :].tolist()
        parts = [*(form(v).rjust(width) for v in head), " ...", *(form(v).rjust(width) for v in tail)]
    else:
        parts = [form(v).rjust(width) for v in data.tolist()]
    per_line = max(1, (options.linewidth - indent) // (width + 2))
    lines = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


# ---- the whole


def _contents(data: np.ndarray, indent: int) -> str:
    if not data.size:
        return "[]"
    summarize = data.size > options.threshold
    form, width = _choose_format(_edges(data) if summarize else data)
    if data.ndim == 0:
        return form(data.item()).rjust(width)
    return _layout(data, indent, summarize, form, width)


def tensor_repr(
    data: np.ndarray,
    dtype_name: str,
    *,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    device: str = "cpu",
    prefix: str = "tensor(",
    default_dtype: str = "float32",
) -> str:
    """The text that ``repr`` of a tensor gives.

    Args:
        data: the elements; bfloat16 comes as the float32 numbers it stands for.
        dtype_name: ``"float32"``, ``"bfloat16"``, …
        requires_grad: shown as ``requires_grad=True`` when there is no ``grad_fn_name``.
        grad_fn_name: for instance ``"MmBackward0"``, shown as ``grad_fn=<MmBackward0>``.
        device: shown unless it is ``"cpu"``.
        prefix: what stands before the first bracket; its length sets the indentation.
        default_dtype: the floating dtype that need not be shown.

    >>> tensor_repr(np.eye(2, dtype=np.float32), "float32", requires_grad=True)
    'tensor([[1., 0.],\\n        [0., 1.]], requires_grad=True)'
    """
    suffixes = []
    if device != "cpu":
        suffixes.append(f"device='{device}'")
    if data.size == 0:
        if data.ndim != 1:
            suffixes.append(f"size={data.shape}")
        shown_dtype = dtype_name != default_dtype  # nothing to infer it from, so int64 and bool are named as well
    else:
        if not options.edgeitems:
            suffixes.append(f"size={data.shape}")
        shown_dtype = dtype_name not in (default_dtype, "int64", "bool")
    if shown_dtype:
        suffixes.append(f"dtype=torch.{dtype_name}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")

    indent = len(prefix)
    text = prefix + _contents(data, indent)
    column = len(text) - text.rfind("\n") + 1  # one more than is on the line: where PyTorch breaks
    for suffix in suffixes:
        if column + len(suffix) + 2 > options.linewidth:
            text += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"
