"""Operations of the user's own: a forward and a backward in Python.

Source: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from luchina.graph.value import Op, Spec, Value, mode, recording
from luchina.tensor import Tensor, alias, wrap_value


class Context:
    """``ctx``: what forward leaves for backward. Any attribute may be set."""

    def __init__(self) -> None:
        self._saved: list[tuple[Any, int]] = []
        self._not_differentiable: set[int] = set()
        self._dirty: set[int] = set()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors; overwriting one before backward is then an error."""
        self._saved = [(t, t._version if t is not None else 0) for t in tensors]

    @property
    def saved_tensors(self) -> tuple:
        for tensor, version in self._saved:
            if tensor is not None and tensor._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"[{tensor.type()} {list(tensor.shape)}] is at version {tensor._version}; "
                    f"expected version {version} "
                    "instead."
                )
        return tuple(tensor for tensor, _ in self._saved)

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Outputs through which no gradient flows."""
        self._not_differentiable.update(id(t) for t in tensors)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Inputs that forward wrote to in place."""
        self._dirty.update(id(t) for t in tensors)

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (True) or None for outputs that nothing depends on."""
        self._materialize = value


def _infer(*values_and_count: Any) -> list[Spec]:
    *values, inputs = values_and_count
    return [Spec(v.shape, v.dtype) for v in values[inputs:]]


def _lower(*nodes_and_count: Any) -> tuple:
    *nodes, inputs = nodes_and_count
    return tuple(nodes[inputs:])


def _vjp(gradients: list[Value | None], value: Value) -> tuple:
    function, ctx, positions, specs = value.context
    parts = list(gradients) + [None] * (len(specs) - len(gradients))
    given: list[Tensor | None] = []
    for gradient, spec in zip(parts, specs):
        if gradient is not None:
            given.append(wrap_value(gradient))
        elif ctx._materialize:
            from luchina.creation import zeros

            given.append(zeros(spec.shape, dtype=spec.dtype))
        else:
            given.append(None)
    result = function.backward(ctx, *given)
    result = result if isinstance(result, tuple) else (result,)
    if len(result) < len(ctx.needs_input_grad) or any(r is not None for r in result[len(ctx.needs_input_grad) :]):
        raise RuntimeError(
            f"function {function.__name__}Backward returned an incorrect number of gradients (expected "
            f"{len(ctx.needs_input_grad)}, got {len(result)})"
        )
    cotangents: list[Value | None] = []
    for position, source in zip(positions, value.inputs):
        gradient = result[position]
        if gradient is None:
            cotangents.append(None)
            continue
        if not isinstance(gradient, Tensor):
            raise RuntimeError(f"expected Variable or None (got {type(gradient).__name__})")
        if gradient.shape != source.shape and gradient.numel() != source.size:
            raise RuntimeError(
                f"Function {function.__name__}Backward returned an invalid gradient at index {position} - got "
                f"{list(gradient.shape)} but expected shape compatible with {list(source.shape)}"
            )
        cotangents.append(gradient._read())
    return (*cotangents, *[None] * (len(value.inputs) - len(cotangents)))


@functools.cache
def _op_of(function: type) -> Op:
    """One operation a class, so that every call of it has the same program signature."""
    name = f"{function.__name__}Backward"
    return Op(function.__name__, _infer, _lower, _vjp, ((0,),), name)


class Function:
    """Subclass with static methods ``forward(ctx, *args)`` and ``backward(ctx, *grads)``; call with ``apply``."""

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward, and record backward if an input needs a gradient."""
        ctx = Context()
        positions = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        record = mode.grad and any(ctx.needs_input_grad)
        sources = [args[i]._read() for i in positions]
        before, mode.grad = mode.grad, False
        try:
            if hasattr(cls, "setup_context") and "setup_context" in _methods(cls):
                outputs = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, outputs)
            else:
                outputs = cls.forward(ctx, *args, **kwargs)
        finally:
            mode.grad = before
        single = not isinstance(outputs, tuple)
        results = [outputs] if single else list(outputs)
        tensors = [(i, t) for i, t in enumerate(results) if isinstance(t, Tensor)]
        if record and tensors:
            # Which numbers backward needs is for ctx to say: writing to an input afterwards (or in forward) is no
            # fault.
            sources = [alias(v) for v in sources]
            values = [t._read() for _, t in tensors]
            op = _op_of(cls)  # type: ignore[arg-type]  # classes can be hashed
            picks = op(*sources, *values, attrs=(len(sources),))
            recording.touched = True
            picks[0].inputs[0].context = (cls, ctx, positions, [Spec(v.shape, v.dtype) for v in values])
            for (i, tensor), pick in zip(tensors, picks):
                if id(tensor) in ctx._not_differentiable or not tensor.dtype.is_floating_point:
                    continue
                if id(tensor) in ctx._dirty:
                    tensor._storage.set(pick)
                    continue
                wrapped = wrap_value(pick)
                # What backward saved of the outputs must be the tensors that the caller sees.
                ctx._saved = [(wrapped if s is tensor else s, 0 if s is tensor else v) for s, v in ctx._saved]
                results[i] = wrapped
        else:
            for i, tensor in tensors:
                if any(tensor is a for a in args) and id(tensor) not in ctx._dirty:
                    results[i] = tensor.view(tensor.shape)
        return results[0] if single else tuple(results)


def _methods(cls: type) -> set[str]:
    return {name for base in cls.__mro__ if base not in (Function, object) for name in base.__dict__}


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward that cannot be differentiated again: asking for that is an error."""

    @functools.wraps(backward)
    def wrapped(ctx: Any, *gradients: Any) -> Any:
        recording = mode.grad
        before, mode.grad = mode.grad, False
        try:
            result = backward(ctx, *gradients)
        finally:
            mode.grad = before
        if not recording or not any(isinstance(g, Tensor) and g.requires_grad for g in gradients):
            return result
        parts = result if isinstance(result, tuple) else (result,)
        return tuple(_Undifferentiable.apply(p, *gradients) if isinstance(p, Tensor) else p for p in parts)

    return wrapped


class _Undifferentiable(Function):
    """Passes its first input on, tied to the others; its backward is the error."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *others: Tensor | None) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
