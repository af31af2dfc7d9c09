"""The parameters that one step updates together, with their states: gathered once, and looked over at each step."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import luchina
from luchina import Tensor
from luchina.graph.update import ready
from luchina.graph.value import Value


class Rows:
    """Parameters with gradients, and the named states of each, that are updated together.

    Args:
        step: the number of the step that they make next; 0 where the states do not count steps.
    """

    def __init__(
        self, optimizer: Any, group: dict[str, Any], names: Sequence[str], params: Sequence[Any], step: int = 0
    ) -> None:
        self.step = step
        self.params = list(params)
        self.states = [optimizer.state[param] for param in params] if names or step else []
        rows = [(param, *[own[name] for name in names]) for param, own in zip(params, self.states)]
        self.members = luchina.fused.Members(rows or [(param,) for param in params])
        self.values: list[Value] | None = None  # of the gradients, once it was looked
        self._of = group, names, group["params"], optimizer.state
        held: list[Any] = []
        for row, own in zip(rows, self.states):
            held += [optimizer.state, row[0], own]
            for name, tensor in zip((*names, "step") if step else names, (*row[1:], own.get("step"))):
                held += [own, name, tensor]
        self._held = tuple(held)
        self._without = [param for param in group["params"] if param.grad is None]
        self._counters = [own["step"] for own in self.states] if step else []
        self._versions: list[int] = []
        self._memory: Any = None  # the number of steps, one for all of the counters

    @property
    def gradients(self) -> list[Tensor]:
        return [param._grad for param in self.params]

    def written(self) -> None:
        """The step has been made: the states count it."""
        if not self.step:
            return
        if self._memory is None:
            self._memory = luchina.fused.assign(self._counters, float(self.step))
            self._versions = [counter._counter.version for counter in self._counters]
        else:
            ctypes.c_float.from_address(self._memory.ptr).value = self.step
        self.step += 1

    def hold(self, optimizer: Any, group: dict[str, Any], names: Sequence[str]) -> bool:
        """Whether the next step finds everything as this one did."""
        own_group, own_names, params, states = self._of
        if own_group is not group or own_names != names or states is not optimizer.state:
            return False
        if params is not group["params"] or len(params) != len(self.params) + len(self._without):
            return False
        memory = self._memory
        # Beside the counters only this object, this function and the question may hold what is written over.
        if self.step and (memory is None or getrefcount(memory) != len(self._counters) + 3):
            return False
        self.values = ready(self._held, self.params, self._without, self._counters, self._versions, memory)
        return self.values is not None
