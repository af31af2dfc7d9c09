"""The parameters that one step updates together, with their states: gathered once, and looked over at each step."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import luchina
from luchina import Tensor


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
        self._of = group, names, group["params"], optimizer.state
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
        for row, own in zip(self.members.rows, self.states):
            if states.get(row[0]) is not own:
                return False
            for name, tensor in zip(names, row[1:]):
                if own.get(name) is not tensor:
                    return False
        for param in self.params:
            if param._grad is None:
                return False
        for param in self._without:
            if param._grad is not None:
                return False
        return not self.step or self._counters_hold()

    def _counters_hold(self) -> bool:
        # Beside the counters only this object, this function and the question may hold what is written over.
        memory = self._memory
        if memory is None or getrefcount(memory) != len(self._counters) + 3:
            return False
        for own, counter, version in zip(self.states, self._counters, self._versions):
            if own.get("step") is not counter or counter._counter.version != version:
                return False
            if counter._storage.value.buffer is not memory:
                return False
        return True
