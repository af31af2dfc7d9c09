"""Parameter and Buffer: tensors that a Module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

import luchina


def _typename(x: object) -> str:
    """The name that error messages give to a value's type."""
    if isinstance(x, luchina.Tensor):
        return x.type() if type(x) is luchina.Tensor else f"{type(x).__module__}.{type(x).__qualname__}"
    kind = type(x)
    return kind.__qualname__ if kind.__module__ in ("builtins", None) else f"{kind.__module__}.{kind.__qualname__}"


class Parameter(luchina.Tensor):
    """A tensor that is trained: assigned to a Module, it joins ``module.parameters()``.

    It shares memory with ``data`` and is a leaf of the autograd graph, also when created under ``no_grad``.

    >>> Parameter(luchina.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    def __new__(cls, data: luchina.Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = luchina.empty(0)
        elif not isinstance(data, luchina.Tensor):
            raise TypeError(f"a Parameter is made of a Tensor, not of {_typename(data)}; use luchina.tensor(...) first")
        if requires_grad and not data.is_floating_point():
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        return luchina.Tensor._make_subclass(cls, data, requires_grad)

    def __init__(self, data: luchina.Tensor | None = None, requires_grad: bool = True) -> None:
        """Everything is done by ``__new__``."""

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # the same, to the letter
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild_parameter, (type(self), self.data, self.requires_grad)


def _rebuild_parameter(cls: type[Parameter], data: luchina.Tensor, requires_grad: bool) -> Parameter:
    return cls(data, requires_grad)


class Buffer(luchina.Tensor):
    """A tensor that belongs to a Module's state but is not trained, such as a running mean.

    ``persistent=False`` keeps it out of ``state_dict()``.
    """

    persistent: bool

    def __new__(cls, data: luchina.Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = luchina.empty(0)
        buffer = luchina.Tensor._make_subclass(cls, data.detach(), data.requires_grad)
        buffer.persistent = persistent
        return buffer

    def __init__(self, data: luchina.Tensor | None = None, *, persistent: bool = True) -> None:
        """Everything is done by ``__new__``."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), persistent=self.persistent)
        return memo[id(self)]
