"""The base of all optimizers: parameter groups, state, and one fused program a step.

An optimizer states its update once, as a pure function of one parameter's tensors:

    update(param, grad, *state, **numbers) -> (new_param, *new_state)

``step`` gathers the parameters that share a signature and runs the update for all of them as one recorded operation.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import luchina
from luchina import Tensor
from luchina.graph.program import realize
from luchina.graph.value import mode
from luchina.nn.modules.hooks import RemovableHandle
from luchina.nn.modules.module import clear_grad
from luchina.nn.parameter import _typename
from luchina.optim.rows import Rows


class _Required:
    """The default of an option that each parameter group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()

_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_post_hooks: OrderedDict[int, Callable] = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """``hook(optimizer, args, kwargs)`` before every step of every optimizer."""
    handle = RemovableHandle(_pre_hooks)
    _pre_hooks[handle.id] = hook
    return handle


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """``hook(optimizer, args, kwargs)`` after every step of every optimizer."""
    handle = RemovableHandle(_post_hooks)
    _post_hooks[handle.id] = hook
    return handle


def _with_hooks(step: Callable) -> Callable:
    """``step`` between its hooks, without gradients."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if _pre_hooks or self._optimizer_step_pre_hooks:
            for hook in [*_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()]:
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise RuntimeError(
                            f"{hook} must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                        )
                    args, kwargs = changed
        result = step(self, *args, **kwargs)
        if "_opt_called" in self.__dict__:  # a schedule is attached and wants to know
            self._opt_called = True
        if _post_hooks or self._optimizer_step_post_hooks:
            for hook in [*self._optimizer_step_post_hooks.values(), *_post_hooks.values()]:
                hook(self, args, kwargs)
        return result

    hooked.hooked = True  # type: ignore[attr-defined]
    return hooked


_HOOKS = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


class Optimizer:
    """Holds parameters in groups with their options, and the state that the updates keep for each.

    ``params``: tensors, (name, tensor) pairs, or dicts with "params" and options of their own.
    """

    _optimizer_step_pre_hooks: OrderedDict[int, Callable]
    _optimizer_step_post_hooks: OrderedDict[int, Callable]
    _opt_called: bool  # there when a schedule is attached

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        step = cls.__dict__.get("step")
        if step is not None and not hasattr(step, "hooked"):
            cls.step = _with_hooks(step)  # type: ignore[method-assign]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        for hooks in _HOOKS:
            setattr(self, hooks, OrderedDict())
        if isinstance(params, luchina.Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + _typename(params)
            )
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for hooks in _HOOKS:
            self.__dict__.setdefault(hooks, OrderedDict())
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        groups = []
        for i, group in enumerate(self.param_groups):
            options = (f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
            groups.append(f"\nParameter Group {i}\n" + "".join(options))
        return f"{type(self).__name__} ({''.join(groups)})"

    # ---- groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimize more parameters, with options of their own; those not given are the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, luchina.Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in "
                "sets will change between runs. Please use a list instead."
            )
        given = list(params)
        names = [entry[0] for entry in given if isinstance(entry, tuple)]
        if names and len(names) != len(given):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        params = param_group["params"] = [entry[1] for entry in given] if names else given
        if names:
            param_group["param_names"] = names
        for param in params:
            if not isinstance(param, luchina.Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {_typename(param)}")
            if not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        ids = {id(param) for param in params}
        if len(ids) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an "
                "error; see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                kind = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {kind} to the optimizer"
                )
        if any(id(param) in ids for group in self.param_groups for param in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)
        if any(param._storage.value.buffer is None for param in params):
            realize(())  # parameters are memory from the first step on, whose program so is that of every step

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters (or set them to zero)."""
        for group in self.param_groups:
            for param in group["params"]:
                if param._grad is not None:
                    clear_grad(param, set_to_none)

    # ---- the step

    @_with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters that have a gradient; ``closure`` computes the loss again, which is returned."""
        loss = None
        if closure is not None:
            with luchina.enable_grad():
                loss = closure()
        before, mode.grad = mode.grad, False
        try:
            for group in self.param_groups:
                self._step_group(group)
        finally:
            mode.grad = before
        luchina.fused.run()
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        """Gather the group's parameters with gradients and update them: what each optimizer defines."""
        raise NotImplementedError

    def _with_grads(self, group: dict[str, Any]) -> list[Any]:
        return [param for param in group["params"] if param.grad is not None]

    def _start(self, params: list[Any], *names: str) -> None:
        """The state of parameters that have none yet: step 0 and zeros like the parameter ("mu_product": 1)."""
        for param in params:
            state = self.state[param]
            if not state:
                state["step"] = luchina.tensor(0.0, dtype=luchina.float32, device="cpu")
                for name in names:
                    mu = name == "mu_product"
                    state[name] = luchina.tensor(1.0, dtype=luchina.float32) if mu else luchina.zeros_like(param)

    def _update(
        self, update: Callable[..., tuple[Tensor, ...]], rows: Rows, numbers: dict[str, float], **options: Hashable
    ) -> None:
        """Run ``update`` on every row as one operation, which writes over the parameters and their states."""
        chosen = tuple(sorted(options.items()))
        values, rows.values = rows.values, None  # nothing here keeps gradients alive
        luchina.fused.overwrite(update, rows.members, rows.gradients, numbers, chosen, rows.written, values)

    def _rows(self, group: dict[str, Any], *names: str) -> list[Rows]:
        """The parameters of a group that have a gradient, with the named states: those together that have made the same
        number of steps, this one included. Mostly they are those of the step before."""
        gathered: dict[int, Rows] = self.__dict__.setdefault("_gathered", {})
        known = gathered.get(id(group))
        if known is not None and known.hold(self, group, names):
            return [known]
        params = self._with_grads(group)
        self._start(params, *names)
        by_count: dict[int, list[Any]] = {}
        for param in params:
            step = self.state[param]["step"]
            if not isinstance(step, luchina.Tensor):
                step = self.state[param]["step"] = luchina.tensor(float(step), device="cpu")
            by_count.setdefault(int(step.item()) + 1, []).append(param)
        found = [Rows(self, group, names, members, step) for step, members in by_count.items()]
        gathered.pop(id(group), None)
        if len(found) == 1:
            gathered[id(group)] = found[0]
        return found

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """``{"state": …, "param_groups": …}`` with parameters replaced by their numbers."""
        for hook in self._optimizer_state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {(numbers[id(k)] if isinstance(k, luchina.Tensor) else k): v for k, v in self.state.items()}
        state_dict = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():  # type: ignore[attr-defined]
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` gave; ValueError if the groups do not fit, and then nothing was changed."""
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(g["params"]) != len(s["params"]) for g, s in zip(groups, saved)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        numbers = chain.from_iterable(s["params"] for s in saved)
        params = dict(zip(numbers, chain.from_iterable(g["params"] for g in groups)))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for number, value in state_dict["state"].items():
            if number in params:
                state[params[number]] = _fitted(value, params[number])
            else:
                state[number] = value
        for group, new in zip(groups, saved):
            new["params"] = group["params"]
            if "param_names" in group:
                new.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():  # type: ignore[attr-defined]
            hook(self)

    # ---- hooks

    def _add_hook(self, registry: str, hook: Callable, prepend: bool = False) -> RemovableHandle:
        hooks = getattr(self, registry)
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(optimizer, args, kwargs)`` before each step; it may return new ``(args, kwargs)``."""
        return self._add_hook("_optimizer_step_pre_hooks", hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(optimizer, args, kwargs)`` after each step."""
        return self._add_hook("_optimizer_step_post_hooks", hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """``hook(optimizer)`` before ``state_dict()``."""
        return self._add_hook("_optimizer_state_dict_pre_hooks", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """``hook(optimizer, state_dict)`` after it; what it returns replaces the dict."""
        return self._add_hook("_optimizer_state_dict_post_hooks", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """``hook(optimizer, state_dict)`` before loading; what it returns replaces the dict."""
        return self._add_hook("_optimizer_load_state_dict_pre_hooks", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """``hook(optimizer)`` after loading."""
        return self._add_hook("_optimizer_load_state_dict_post_hooks", hook, prepend)


def _fitted(value: Any, param: Tensor, key: Any = None) -> Any:
    """A loaded state with its tensors (but "step") in the parameter's dtype and on its device.

    Tensors that are so already are shared with the loaded state, as in PyTorch.
    """
    if isinstance(value, luchina.Tensor):
        if key == "step":
            return value
        return value.to(device=param.device, dtype=param.dtype if param.is_floating_point() else value.dtype)
    if isinstance(value, dict):
        return {k: _fitted(v, param, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_fitted(v, param) for v in value)
    return value


# ---- checks that the optimizers share


def check_lr(lr: Any) -> None:
    """A learning rate is a non-negative number or a tensor of one element."""
    if isinstance(lr, luchina.Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not float(lr) >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_at_least_zero(**values: float) -> None:
    """ValueError in PyTorch's words for the first negative value; the keyword is the text's name for it."""
    for name, value in values.items():
        if not value >= 0.0:
            raise ValueError(f"Invalid {name} value: {value}")


def check_betas(betas: tuple[Any, Any]) -> None:
    """Both betas are in [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= float(beta) < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def check_modes(*, foreach: bool | None, fused: bool | None, differentiable: bool, capturable: bool = False) -> None:
    """``foreach`` and ``fused`` choose among PyTorch's implementations; every step here is one fused program."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if differentiable:
        raise NotImplementedError("differentiable=True: differentiating through an optimizer step is not supported")
    if capturable:
        raise NotImplementedError("capturable=True: capturing steps as CUDA graphs is not supported")


def lerp(start: Tensor, end: Tensor, weight: float, rest: float, upper: bool) -> Tensor:
    """start + weight · (end − start), from the nearer end: ``upper`` says that weight ≥ ½, ``rest`` is 1 − weight."""
    return end - (end - start) * rest if upper else start + weight * (end - start)
