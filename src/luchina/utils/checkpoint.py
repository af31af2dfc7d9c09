"""Checkpointing: what a part of a model computes on the way is not kept for backward, but computed again there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import luchina
from luchina import Tensor
from luchina.autograd.engine import reachable
from luchina.autograd.function import Function
from luchina.graph.value import detach, recording
from luchina.random import fork_rng
from luchina.tensor import wrap_value


class CheckpointError(RuntimeError):
    """The second run of a function gave something else than the first."""


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] | None = None,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, which is called again in backward instead of being remembered.

    Gradients reach the arguments and every parameter that the function uses. The second call draws the same random
    numbers (``preserve_rng_state``) and must give the same shapes and dtypes (``determinism_check``). Both of PyTorch's
    variants (``use_reentrant``) are this one.

    Source: https://pytorch.org/docs/stable/checkpoint.html
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    if debug:
        raise NotImplementedError("checkpoint(debug=True): traces of both runs are not there yet")
    first, second = context_fn() if context_fn is not None else (nullcontext(), nullcontext())
    if not luchina.is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    state = luchina.get_rng_state() if preserve_rng_state else None
    given, rebuild = _flatten((args, kwargs))
    with first:
        outputs = function(*args, **kwargs)
    results, shape = _flatten(outputs)
    # Nothing was computed yet. What the outputs depend on beside the arguments: the function's parameters.
    values = [t._read() for t in results]
    like = [(t.shape, t.dtype) for t in results]
    known = {t._read() for t in given}
    leaves = [v for v in reachable(values) if v.hooks is not None and (v.op is None or v.op.vjp is None)]
    tensors = [v.hooks.tensor() for v in leaves if v not in known]
    parameters = [t for t in tensors if t is not None]

    def again(inputs: list[Tensor]) -> list[Tensor]:
        positional, named = rebuild(inputs)
        with fork_rng(enabled=preserve_rng_state), second:
            if state is not None:
                luchina.set_rng_state(state)
            found = _flatten(function(*positional, **named))[0]
        if determinism_check == "default" and [(t.shape, t.dtype) for t in found] != like:
            raise CheckpointError(
                "checkpoint: Recomputed values have different metadata than during the forward pass: "
                f"{[(list(t.shape), t.dtype) for t in found]} instead of {[(list(s), d) for s, d in like]}."
            )
        return found

    numbers = [wrap_value(detach(v)) for v in values]
    recording.touched = True
    once = _Again.apply(again, numbers, len(given), *given, *parameters)
    return shape(list(once))


class _Again(Function):
    """Shows numbers that are known; backward calls the function to find out how they came about."""

    @staticmethod
    def forward(ctx: Any, again: Any, numbers: list[Tensor], count: int, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.again, ctx.count = again, count
        ctx.save_for_backward(*inputs)
        return tuple(numbers)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        saved, twice = ctx.saved_tensors, luchina.is_grad_enabled()
        given, parameters = saved[: ctx.count], saved[ctx.count :]
        with luchina.enable_grad():
            inputs = [(t.view_as(t) if twice else t.detach().requires_grad_()) if t.requires_grad else t for t in given]
            outputs = ctx.again(list(inputs))
            pairs = [(o, g) for o, g in zip(outputs, gradients) if o.requires_grad]
            wanted = [t for t in (*inputs, *parameters) if t.requires_grad]
            found = iter(
                luchina.autograd.grad(
                    [o for o, _ in pairs],
                    wanted,
                    [g for _, g in pairs],
                    retain_graph=True,
                    create_graph=twice,
                    allow_unused=True,
                )
            )
        return (None, None, None, *[next(found) if t.requires_grad else None for t in (*inputs, *parameters)])


def _flatten(nest: Any) -> tuple[list[Tensor], Callable[[list[Tensor]], Any]]:
    """The tensors of a nest of tuples, lists and dicts, and how to put others in their places."""
    if isinstance(nest, Tensor):
        return [nest], lambda tensors: tensors[0]
    if isinstance(nest, dict):
        keys = list(nest)
        found, rebuild = _flatten([nest[k] for k in keys])
        return found, lambda tensors: dict(zip(keys, rebuild(tensors)))
    if isinstance(nest, (list, tuple)):
        parts = [_flatten(e) for e in nest]
        counts = [len(p[0]) for p in parts]

        def put(tensors: list[Tensor]) -> Any:
            at, result = 0, []
            for (_, rebuild), n in zip(parts, counts):
                result.append(rebuild(tensors[at : at + n]))
                at += n
            return type(nest)(*result) if hasattr(nest, "_fields") else type(nest)(result)

        return [t for p in parts for t in p[0]], put
    return [], lambda tensors: nest


def checkpoint_sequential(
    functions: Any, segments: int, input: Tensor, use_reentrant: bool | None = None, **options: Any
) -> Tensor:
    """A ``Sequential`` (or a list of modules) in ``segments`` parts, all but the last of them checkpointed."""
    layers = list(functions.children()) if isinstance(functions, luchina.nn.Sequential) else list(functions)
    size = len(layers) // segments

    def run(start: int, end: int) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            for layer in layers[start:end]:
                x = layer(x)
            return x

        return forward

    for i in range(segments - 1):
        input = checkpoint(run(i * size, (i + 1) * size), input, use_reentrant=use_reentrant, **options)
    return run((segments - 1) * size, len(layers))(input)
