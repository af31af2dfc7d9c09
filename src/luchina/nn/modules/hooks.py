"""Hooks of modules: the handle that removes one, and the two gates that see a module's gradients pass."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import luchina

_ids = itertools.count()


class RemovableHandle:
    """Returned when a hook is registered: ``remove()`` takes the hook away, and so does leaving a ``with`` block."""

    def __init__(self, hooks: dict[int, Any], *others: Any) -> None:
        self.id = next(_ids)
        # An OrderedDict can be weakly referenced, a dict cannot: a handle must not keep a module's hooks alive.
        self._hooks = tuple(weakref.ref(each) for each in (hooks, *others))

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        for reference in self._hooks:
            hooks = reference()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class GradientGates:
    """The passage of gradients through one call of a module, shown to its full backward hooks.

    Identities are put around the module: gradients reach the output gate first (``grad_output``), then the input
    gate (``grad_input``), where the hooks run. If no input needs a gradient, they run at the output gate.
    """

    def __init__(self, module: Any, pre_hooks: Sequence[Callable], hooks: Sequence[Callable]) -> None:
        self.module, self.pre_hooks, self.hooks = module, pre_hooks, hooks
        self.inputs = 0
        self.input_at: list[int] = []
        self.output_at: list[int] = []
        self.grad_output: tuple[Any, ...] | None = None

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, with those that need gradients passed through the input gate."""
        self.inputs = len(args)
        self.input_at = [i for i, a in enumerate(args) if isinstance(a, luchina.Tensor) and a.requires_grad]
        return self._through(_input_gate, args, self.input_at)

    def leave(self, result: Any) -> Any:
        """The module's result, passed through the output gate."""
        outputs = result if isinstance(result, tuple) else (result,)
        self.output_at = [i for i, a in enumerate(outputs) if isinstance(a, luchina.Tensor) and a.requires_grad]
        self.outputs = len(outputs)
        passed = self._through(_output_gate, outputs, self.output_at)
        return passed if isinstance(result, tuple) else passed[0]

    def _through(self, gate: Callable[[], Any], values: tuple[Any, ...], at: list[int]) -> tuple[Any, ...]:
        if not at or not luchina.is_grad_enabled():
            return values
        passed = gate().apply(self, *(values[i] for i in at))
        passed = passed if isinstance(passed, tuple) else (passed,)
        values_ = list(values)
        for i, value in zip(at, passed):
            values_[i] = value
        return tuple(values_)

    def on_output(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        full = _spread(grads, self.output_at, self.outputs)
        for hook in self.pre_hooks:
            full = self._replaced(hook(self.module, full), full, "grad_output")
        self.grad_output = full
        if not self.input_at:
            for hook in self.hooks:
                if hook(self.module, (None,) * self.inputs, full) is not None:
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or "
                        "None for all gradients."
                    )
        return tuple(full[i] for i in self.output_at)

    def on_input(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        full = _spread(grads, self.input_at, self.inputs)
        if self.grad_output is None:
            raise RuntimeError(
                "Module backward hook for grad_input is called before the grad_output one. This happens because "
                "the gradient in your nn.Module flows to the Module's input without passing through the Module's "
                "output. Make sure that the output depends on the input and that the loss is computed based on "
                "the output."
            )
        for hook in self.hooks:
            full = self._replaced(hook(self.module, full, self.grad_output), full, "grad_input")
        return tuple(full[i] for i in self.input_at)

    @staticmethod
    def _replaced(result: Any, full: tuple[Any, ...], what: str) -> tuple[Any, ...]:
        if result is None:
            return full
        result = result if isinstance(result, tuple) else (result,)
        if len(result) != len(full):
            raise RuntimeError(
                f"Backward hook returned an invalid number of {what}, got {len(result)}, but expected {len(full)}"
            )
        return result


def _spread(grads: Sequence[Any], at: list[int], n: int) -> tuple[Any, ...]:
    full: list[Any] = [None] * n
    for i, grad in zip(at, grads):
        full[i] = grad
    return tuple(full)


_gates: dict[str, Any] = {}


def _make_gate(name: str, method: str) -> Any:
    if name not in _gates:

        def forward(ctx: Any, gates: GradientGates, *tensors: Any) -> Any:
            ctx.gates = gates
            passed = tuple(t.view_as(t) for t in tensors)
            return passed if len(passed) > 1 else passed[0]

        def backward(ctx: Any, *grads: Any) -> Any:
            return (None, *getattr(ctx.gates, method)(grads))

        members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
        _gates[name] = type(name, (luchina.autograd.Function,), members)
    return _gates[name]


def _input_gate() -> Any:
    return _make_gate("InputGate", "on_input")


def _output_gate() -> Any:
    return _make_gate("OutputGate", "on_output")
