"""One expression on both engines: values, dtypes, gradients and gradients of gradients, or the error.

An expression sees ``M`` (luchina or torch), ``F`` (its ``nn.functional``) and its tensors ``x y z w``.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional

import luchina
import luchina.nn.functional

RTOL, ATOL = 1e-9, 1e-9  # float64: sums in another order, functions of another library
GRAD_RTOL, GRAD_ATOL = 1e-8, 1e-8


def random(seed: int, *shape: int) -> np.ndarray:
    """Standard normal numbers in float64."""
    return np.random.default_rng(seed).standard_normal(shape)


def _evaluate(module: Any, code: str, tensors: list[Any]) -> list[Any]:
    names = {"M": module, "F": module.nn.functional, "L": module.int64, "t": module.tensor}
    names |= dict(zip("xyzw", tensors))
    result = eval(code, names)
    return _flat(result)


def _flat(result: Any) -> list[Any]:
    if isinstance(result, (tuple, list)):
        return [part for each in result for part in _flat(each)]
    return [result]


def _numbers(x: Any) -> np.ndarray:
    return x.detach().numpy()


def _weighted(module: Any, outputs: list[Any], wave: Any) -> Any:
    """A scalar in which every element of every differentiable output counts differently."""
    loss = None
    for x in outputs:
        if x is not None and x.requires_grad:
            weights = module.tensor(wave(np.arange(x.numel(), dtype=np.float64) + 1).reshape(tuple(x.shape)))
            part = (x * weights).sum()
            loss = part if loss is None else loss + part
    return loss


def _gradients(module: Any, outputs: list[Any], inputs: list[Any], double: bool) -> list[Any]:
    floating = [x for x in inputs if x.requires_grad]
    loss = _weighted(module, outputs, np.sin)
    assert loss is not None, "no output takes part in gradients"
    first = list(module.autograd.grad(loss, floating, create_graph=double, allow_unused=True))
    if not double:
        return first
    loss = _weighted(module, first, np.cos)
    second = [None] * len(floating)
    if loss is not None:
        second = list(module.autograd.grad(loss, floating, allow_unused=True))
    return first + second


def agree(code: str, *arrays: np.ndarray, grad: bool = True, double: bool = True) -> None:
    """The expression gives the same in both, in shape, dtype and numbers; floating arrays want gradients."""
    outputs, gradients = [], []
    for module in (torch, luchina):
        tensors = [module.tensor(np.asarray(a)) for a in arrays]
        for x in tensors:
            if grad and x.is_floating_point():
                x.requires_grad_(True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs.append(_evaluate(module, code, tensors))
        gradients.append(_gradients(module, outputs[-1], tensors, double) if grad else [])
    theirs, ours = outputs
    assert len(ours) == len(theirs)
    for a, b in zip(theirs, ours):
        assert tuple(b.shape) == tuple(a.shape)
        assert str(b.dtype).rpartition(".")[2] == str(a.dtype).rpartition(".")[2]
        np.testing.assert_allclose(_numbers(b), _numbers(a), rtol=RTOL, atol=ATOL)
    for number, (a, b) in enumerate(zip(*gradients)):
        if a is None and b is None:
            continue
        like = _numbers(b if a is None else a)
        left, right = (np.zeros_like(like) if x is None else _numbers(x) for x in (a, b))
        np.testing.assert_allclose(right, left, rtol=GRAD_RTOL, atol=GRAD_ATOL, err_msg=f"gradient {number}")


def _raised(module: Any, code: str) -> str:
    def ones(*shape: int) -> Any:
        return module.ones(shape)

    try:
        names = {"M": module, "F": module.nn.functional, "L": module.int64, "t": module.tensor, "r": ones}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            eval(code, names)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing raised"


def same_error(code: str) -> None:
    """Both raise the same class with the same message; ``r(*shape)`` are float32 ones, ``t`` is ``tensor``."""
    expected = _raised(torch, code)
    assert expected != "nothing raised"
    assert _raised(luchina, code) == expected
