"""The same expression on PyTorch and on luchina, compared: values, gradients, errors, printed forms."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import luchina


def plain(x: Any) -> Any:
    """Tensors of either engine as numpy arrays, in the same nest of lists."""
    if hasattr(x, "detach"):
        array = np.array(x.detach().numpy())
        return {"dtype": str(x.dtype), "array": array}
    if isinstance(x, (list, tuple)):
        return [plain(e) for e in x]
    return x


def same(got: Any, expected: Any, rtol: float, atol: float) -> bool:
    if isinstance(expected, dict) and isinstance(got, dict):
        a, b = got["array"], expected["array"]
        return (
            got["dtype"] == expected["dtype"]
            and a.shape == b.shape
            and np.allclose(
                a, b, rtol=rtol, atol=atol * max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0)), equal_nan=True
            )
        )
    if isinstance(expected, list) and isinstance(got, list):
        return len(got) == len(expected) and all(same(a, b, rtol, atol) for a, b in zip(got, expected))
    return got == expected


def outcome(run: Callable[[Any], Any], engine: Any) -> Any:
    """What a program gives on an engine: its plain result, or the class and text of what it raised."""
    engine.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(run(engine))
        except Exception as error:
            return [type(error).__name__, str(error).split("\n  in layer")[0]]


def check(run: Callable[[Any], Any], rtol: float = 2e-5, atol: float = 2e-6) -> None:
    import torch

    expected, got = outcome(run, torch), outcome(run, luchina)
    assert same(got, expected, rtol, atol), f"\nluchina: {got}\nPyTorch: {expected}"


def differentiate(engine: Any, result: Any) -> None:
    """Gradients of a sum with uneven weights: an even one is constant behind a norm, and its gradient is noise."""
    if result.requires_grad:
        weights = np.cos(np.arange(result.numel(), dtype=np.float64)).reshape(tuple(result.shape))
        (result * result * engine.tensor(weights).to(result.dtype)).sum().backward()


def layer(text: str, *arrays: Any, evaluation: bool = False, **kwargs: Any) -> Callable[[Any], Any]:
    """Build the layer, run it, differentiate: printed form, keys of the state, parameters, results, gradients."""

    def run(engine: Any) -> Any:
        module = eval(text, dict(vars(engine.nn)), {"Transformer": engine.nn.Transformer})
        if evaluation:
            module.eval()
        inputs = [engine.tensor(a) for a in arrays]
        for x in inputs:
            if x.is_floating_point():
                x.requires_grad_()
        options = {k: engine.tensor(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()}
        result = module(*[x * 1 if x.is_floating_point() else x for x in inputs], **options)
        first = result[0] if isinstance(result, tuple) else result
        differentiate(engine, first)
        parameters = list(module.parameters())
        return [
            repr(module),
            list(module.state_dict()),
            [p.detach() for p in parameters],
            result,
            [x.grad for x in inputs],
            [p.grad for p in parameters],
            list(module.buffers()),
        ]

    return run


def call(text: str, *arrays: Any) -> Callable[[Any], Any]:
    """Evaluate an expression of ``F`` and ``x`` (the arrays as tensors), differentiated by the first of them."""

    def run(engine: Any) -> Any:
        x = [engine.tensor(a) for a in arrays]
        if x[0].is_floating_point():
            x[0].requires_grad_()
        result = eval(text, {"F": engine.nn.functional, "x": x, "torch": engine})
        first = result[0] if isinstance(result, tuple) else result
        differentiate(engine, first)
        return [result, x[0].grad]

    return run
