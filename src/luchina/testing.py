"""``assert_close``: tensors, numbers and containers of them compared, with an error that says where they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import luchina
from luchina import Tensor, dtypes

_TOLERANCES = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """AssertionError unless |actual − expected| ≤ atol + rtol · |expected| everywhere; tolerances follow the dtype.

    ``check_device`` and ``check_layout`` have nothing to find: every tensor is strided and on the CPU.

    >>> import luchina
    >>> luchina.testing.assert_close(luchina.tensor([1.0]), luchina.tensor([1.0 + 1e-7]))

    Source: https://pytorch.org/docs/stable/testing.html
    """
    if (rtol is None) != (atol is None):
        what = ("rtol", "atol") if atol is None else ("atol", "rtol")
        raise ValueError(
            f"rtol and atol must both be specified or both be unspecified, but got no {what[1]} and {what[0]}="
            f"{rtol if atol is None else atol}."
        )
    options = (rtol, atol, equal_nan, check_dtype, check_stride)
    if not allow_subclasses and isinstance(actual, Tensor) and type(actual) is not type(expected):
        raise _unlike(actual, expected)
    try:
        _compare(actual, expected, "", options)
    except AssertionError as error:
        if msg is None:
            raise
        raise AssertionError(msg(str(error)) if callable(msg) else msg) from None


def _compare(actual: Any, expected: Any, where: str, options: tuple) -> None:
    numbers = (bool, int, float)
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            missing, extra = sorted(expected.keys() - actual.keys()), sorted(actual.keys() - expected.keys())
            raise AssertionError(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {missing}\nAdditional keys in the actual mapping: {extra}"
            )
        for key in expected:
            _compare(actual[key], expected[key], f"{where}[{key!r}]", options)
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            raise AssertionError(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}")
        for i, (a, e) in enumerate(zip(actual, expected)):
            _compare(a, e, f"{where}[{i}]", options)
    elif isinstance(actual, numbers) and isinstance(expected, numbers):
        _numbers(actual, expected, where, options)
    elif isinstance(actual, Tensor) and isinstance(expected, Tensor):
        _tensors(actual, expected, where, options)
    elif hasattr(actual, "__array__") and hasattr(expected, "__array__"):
        _tensors(luchina.as_tensor(actual), luchina.as_tensor(expected), where, options)
    elif actual is None and expected is None:
        return
    else:
        raise (
            AssertionError(f"None mismatch: {actual} is not {expected}")
            if None in (actual, expected)
            else _unlike(actual, expected)
        )


def _unlike(actual: Any, expected: Any) -> TypeError:
    return TypeError(f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.")


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str)


def _end(where: str) -> str:
    return f"\n\nThe failure occurred for item {where}" if where else ""


def _numbers(actual: Any, expected: Any, where: str, options: tuple) -> None:
    rtol, atol, equal_nan, check_dtype, _ = options
    if rtol is None:
        rtol, atol = _TOLERANCES[dtypes.float64] if float in (type(actual), type(expected)) else (0.0, 0.0)
    if check_dtype and type(actual) is not type(expected):
        raise AssertionError(f"The (d)types do not match: {type(actual)} != {type(expected)}.{_end(where)}")
    off = abs(actual - expected)
    if actual == expected or off <= atol + rtol * abs(expected):
        return
    if equal_nan and actual != actual and expected != expected:
        return
    kind = "Booleans" if isinstance(expected, bool) else "Scalars"
    lines = [f"{kind} are not {'equal' if rtol == atol == 0 else 'close'}!", ""]
    lines.append(f"Expected {expected} but got {actual}.")
    if not isinstance(expected, bool):
        relative = off / abs(expected) if expected else float("inf")
        lines.append(f"Absolute difference: {off}" + ("" if rtol == atol == 0 else f" (up to {atol} allowed)"))
        lines.append(f"Relative difference: {relative}" + ("" if rtol == atol == 0 else f" (up to {rtol} allowed)"))
    raise AssertionError("\n".join(lines) + _end(where))


def _tensors(actual: Tensor, expected: Tensor, where: str, options: tuple) -> None:
    rtol, atol, equal_nan, check_dtype, check_stride = options
    if actual.shape != expected.shape:
        raise AssertionError(
            "The values for attribute 'shape' do not match: " + f"{actual.shape} != {expected.shape}.{_end(where)}"
        )
    if check_dtype and actual.dtype is not expected.dtype:
        raise AssertionError(
            f"The values for attribute 'dtype' do not match: {actual.dtype} != {expected.dtype}.{_end(where)}"
        )
    if check_stride and actual.stride() != expected.stride():
        raise AssertionError(
            f"The values for attribute 'stride()' do not match: {actual.stride()} != {expected.stride()}.{_end(where)}"
        )
    actual, expected = actual.detach(), expected.detach()
    if rtol is None:
        pairs = [_TOLERANCES.get(t.dtype, (0.0, 0.0)) for t in (actual, expected)]
        rtol, atol = (max(p[i] for p in pairs) for i in (0, 1))
    if actual.dtype is not expected.dtype:
        common = dtypes.promote_types(actual.dtype, expected.dtype)
        actual, expected = actual.to(common), expected.to(common)
    wide = dtypes.float64 if expected.dtype.is_floating_point else dtypes.int64
    close = luchina.isclose(actual.to(wide), expected.to(wide), rtol=rtol, atol=atol, equal_nan=equal_nan)
    if bool(close.all()):
        return
    raise AssertionError(_report(actual, expected, close, rtol, atol) + _end(where))


def _report(actual: Tensor, expected: Tensor, close: Tensor, rtol: float, atol: float) -> str:
    equality = rtol == 0 and atol == 0
    what = "equal" if equality else "close"
    if not actual.shape:
        off = abs(actual.item() - expected.item())
        relative = off / abs(expected.item()) if expected.item() else float("inf")
        lines = [f"Scalars are not {what}!", "", f"Expected {expected.item()} but got {actual.item()}."]
        lines.append(f"Absolute difference: {off}" + ("" if equality else f" (up to {atol} allowed)"))
        lines.append(f"Relative difference: {relative}" + ("" if equality else f" (up to {rtol} allowed)"))
        return "\n".join(lines)
    wrong, n = int((~close).sum()), actual.numel()
    floating = actual.dtype.is_floating_point
    a, e = (t if floating else t.to(dtypes.int64) for t in (actual, expected))
    off = luchina.where(close, 0, (a - e).abs())
    relative = luchina.where(close, 0.0, (off / e.abs()).to(off.dtype if floating else dtypes.float32))

    def place(t: Tensor) -> tuple[Any, Any]:
        flat = int(t.reshape(-1).argmax())
        index = []
        for extent in reversed(actual.shape):
            index.append(flat % extent)
            flat //= extent
        return t[tuple(reversed(index))].item(), tuple(reversed(index))

    lines = [f"Tensor-likes are not {what}!", ""]
    lines.append(f"Mismatched elements: {wrong} / {n} ({wrong / n:.1%})")
    for name, t, limit in (("absolute", off, atol), ("relative", relative, rtol)):
        value, index = place(t)
        allowed = "" if equality else f" (up to {limit} allowed)"
        lines.append(f"Greatest {name} difference: {value} at index {index}{allowed}")
    return "\n".join(lines)
