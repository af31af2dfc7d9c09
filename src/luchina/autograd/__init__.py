"""Automatic differentiation: ``backward``, ``grad``, the modes that switch recording, and custom functions."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from luchina.autograd import engine, remembered
from luchina.autograd.modes import enable_grad, inference_mode, is_inference_mode_enabled, no_grad, set_grad_enabled
from luchina.graph import program
from luchina.graph.value import Value, recording
from luchina.ops.registry import full

__all__ = [
    "Function",
    "backward",
    "enable_grad",
    "functional",
    "grad",
    "inference_mode",
    "is_inference_mode_enabled",
    "no_grad",
    "set_grad_enabled",
]

BACKWARD_LIMIT = 1000  # pending storages after which the second backward pass and later ones run what is recorded


def _as_sequence(x: Any) -> tuple:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _roots(tensors: Sequence[Any], gradients: Any) -> list[tuple[Value, Value]]:
    given = _as_sequence(gradients) if gradients is not None else (None,) * len(tensors)
    if len(given) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(given)} gradients")
    roots = []
    for tensor, gradient in zip(tensors, given):
        value = tensor._read()
        if gradient is None:
            if value.needs_grad and tensor.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            cotangent = full(value.shape, 1, value.dtype, value.device)
        else:
            if gradient.shape != tensor.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{tensors.index(tensor)}] has a shape of {gradient.shape} and "
                    f"output[{tensors.index(tensor)}] has a shape of {tensor.shape}."
                )
            cotangent = gradient._read()
        if not value.needs_grad:
            raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
        roots.append((value, cotangent))
    return roots


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Gradients of ``tensors`` with respect to the leaves (or ``inputs``), added to their ``.grad``.

    Source: https://pytorch.org/docs/stable/generated/torch.autograd.backward.html
    """
    tensors = _as_sequence(tensors)
    if grad_tensors is None and inputs is None and not retain_graph and not create_graph and len(tensors) == 1:
        loss = tensors[0]._read()
        if loss.needs_grad and loss.size == 1 and remembered.backward(loss):
            _limit()
            return
    remembered.mark_passed()
    remembered.mark_consumed()
    targets = None
    if inputs is not None:
        targets = [t._read() for t in _as_sequence(inputs)]
        if not targets:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        for tensor in _as_sequence(inputs):
            if not tensor._leaf:
                tensor.retain_grad()
    retain_graph = create_graph if retain_graph is None else retain_graph
    roots = _roots(tensors, grad_tensors)
    engine.backward(roots, retain_graph=retain_graph, create_graph=create_graph, accumulate=targets)
    if not retain_graph and targets is None:
        recording.walked += [value for value, _ in roots]
    _limit()


def _limit() -> None:
    """Gradients that are accumulated do not pile up; a step of one pass, however large, waits for its optimizer."""
    if program.pending_count() > BACKWARD_LIMIT and len(recording.consumed) + len(recording.walked) > 1:
        program.realize(())


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of ``outputs`` with respect to ``inputs``, returned instead of accumulated.

    Source: https://pytorch.org/docs/stable/generated/torch.autograd.grad.html
    """
    from luchina.tensor import wrap_value

    if is_grads_batched:
        raise RuntimeError("autograd.grad(is_grads_batched=True) is not there yet")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    outputs, inputs = _as_sequence(outputs), _as_sequence(inputs)
    wanted = []
    for tensor in inputs:
        value = tensor._read()
        if not value.needs_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        wanted.append(value)
    remembered.mark_passed()
    remembered.mark_consumed()
    found = engine.backward(
        _roots(outputs, grad_outputs),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        wanted=wanted,
    )
    result: list[Any] = []
    for tensor, value in zip(inputs, found):
        if value is None:
            if materialize_grads:
                result.append(wrap_value(full(tuple(tensor.shape), 0, tensor.dtype, tensor.device)))
                continue
            if not allow_unused:
                raise RuntimeError(
                    f"The differentiated Tensor at index {len(result)} appears to not have been used in the graph. Set "
                    "allow_unused=True if this is the desired behavior."
                )
            result.append(None)
        else:
            result.append(wrap_value(value))
    return tuple(result)


_LAZY = {  # these need the tensor face, which needs this package first
    "Function": "function",
    "detect_anomaly": "anomaly",
    "set_detect_anomaly": "anomaly",
    "once_differentiable": "function",
    "gradcheck": "functional",
    "gradgradcheck": "functional",
}


def __getattr__(name: str) -> Any:
    if name in ("anomaly", "function", "functional"):
        return importlib.import_module(f"luchina.autograd.{name}")
    if name in _LAZY:
        return getattr(importlib.import_module(f"luchina.autograd.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'luchina.autograd' has no attribute '{name}'")
