"""Module: a part of a model, which owns parameters, buffers and other modules."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import luchina
from luchina.dispatch import install as install_calls
from luchina.nn.modules import state
from luchina.nn.modules.hooks import GradientGates, RemovableHandle
from luchina.nn.parameter import Buffer, Parameter, _typename


def _forward_unimplemented(self: Module, *input: Any) -> None:
    """Subclasses define what the module computes."""
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


class Module:
    """The base class of all layers and models.

    Parameters, buffers and modules that are assigned as attributes are registered, so that ``parameters()``,
    ``state_dict()``, ``to()`` and ``repr`` find them.

    >>> class Net(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = luchina.nn.Linear(2, 1)
    ...     def forward(self, x):
    ...         return self.layer(x).relu()
    >>> Net()
    Net(
      (layer): Linear(in_features=2, out_features=1, bias=True)
    )
    """

    _version: int = 1
    training: bool
    forward: Callable[..., Any] = _forward_unimplemented

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        own["_parameters"] = {}
        own["_buffers"] = {}
        own["_modules"] = {}
        own["_non_persistent_buffers_set"] = set()
        # Set as soon as there is a forward or backward hook: one test tells a call that there is nothing but forward.
        own["_hooked"] = False
        for hooks in _HOOKS:
            own[hooks] = OrderedDict()

    # ---- registration

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        parameters = own.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif parameters is not None and name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)"
                )
            parameters[name] = None
        elif isinstance(value, Module):
            if parameters is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_parameters", "_buffers")
            own["_modules"][name] = value
        elif parameters is None:
            if isinstance(value, Buffer):
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            object.__setattr__(self, name, value)
        elif name in own["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as child module '{name}' (torch.nn.Module or None expected)"
                )
            own["_modules"][name] = None
        elif name in own["_buffers"] or isinstance(value, Buffer):
            if value is not None and not isinstance(value, luchina.Tensor):
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            persistent = (
                value.persistent if isinstance(value, Buffer) else name not in own["_non_persistent_buffers_set"]
            )
            self.register_buffer(name, value, persistent)
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str, *registries: str) -> None:
        self.__dict__.pop(name, None)
        self._non_persistent_buffers_set.discard(name)
        for registry in registries:
            self.__dict__[registry].pop(name, None)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for registry in ("_parameters", "_buffers", "_modules"):
            if registry in own and name in own[registry]:
                return own[registry][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for registry in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__[registry]:
                del self.__dict__[registry][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[:1].isdigit())

    def _check_name(self, kind: str, name: Any, registry: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_typename(name)}")
        if hasattr(self, name) and name not in self.__dict__[registry]:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under ``name``; None reserves the name."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{_typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                    "forward() method."
                )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: luchina.Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not trained; ``persistent=False`` keeps it out of ``state_dict()``."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, luchina.Tensor):
            raise TypeError(
                f"cannot assign '{_typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            )
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under ``name``."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        self._check_name("module", name, "_modules")
        self._modules[name] = module

    register_module = add_module

    # ---- the call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._hooked or _global_hooks:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            _name_layer(error, self, args, error.__traceback__ and error.__traceback__.tb_next)
            raise

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = None
        left = [key for key in self._forward_hooks if key in self._forward_hooks_always_called]
        try:
            for hook in list(_global_forward_pre_hooks.values()):
                args = _as_args(hook(self, args), args)
            for key, hook in list(self._forward_pre_hooks.items()):
                if key in self._forward_pre_hooks_with_kwargs:
                    changed = hook(self, args, kwargs)
                    if changed is not None:
                        if not (isinstance(changed, tuple) and len(changed) == 2):
                            raise RuntimeError(
                                "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                                f"but got {changed}."
                            )
                        args, kwargs = changed
                else:
                    args = _as_args(hook(self, args), args)
            gates = None
            if self._backward_hooks or self._backward_pre_hooks:
                gates = GradientGates(self, [*self._backward_pre_hooks.values()], [*self._backward_hooks.values()])
                args = gates.enter(args)
            result = self.forward(*args, **kwargs)
            for hook in list(_global_forward_hooks.values()):
                changed = hook(self, args, result)
                result = result if changed is None else changed
            for key, hook in list(self._forward_hooks.items()):
                if key in left:
                    left.remove(key)
                with_kwargs = key in self._forward_hooks_with_kwargs
                changed = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
                result = result if changed is None else changed
            return result if gates is None else gates.leave(result)
        except Exception:
            for key in left:  # the hooks that asked to be called whatever happens
                hook = self._forward_hooks[key]
                if key in self._forward_hooks_with_kwargs:
                    hook(self, args, kwargs, result)
                else:
                    hook(self, args, result)
            raise

    # ---- hooks

    def _add_hook(self, registry: str, hook: Callable, prepend: bool = False, **flags: bool) -> RemovableHandle:
        hooks = self.__dict__[registry]
        marks = [self.__dict__[flag] for flag, wanted in flags.items() if wanted]
        handle = RemovableHandle(hooks, *marks)
        hooks[handle.id] = hook
        for mark in marks:
            mark[handle.id] = True
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        self.__dict__["_hooked"] = True
        return handle

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """``hook(module, args)`` before forward; what it returns replaces ``args``.

        With ``with_kwargs``: ``hook(module, args, kwargs)`` returning None or ``(args, kwargs)``.
        """
        return self._add_hook("_forward_pre_hooks", hook, prepend, _forward_pre_hooks_with_kwargs=with_kwargs)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """``hook(module, args, output)`` after forward; what it returns replaces the output.

        With ``with_kwargs``: ``hook(module, args, kwargs, output)``. ``always_call`` runs it also when forward fails.
        """
        return self._add_hook(
            "_forward_hooks",
            hook,
            prepend,
            _forward_hooks_with_kwargs=with_kwargs,
            _forward_hooks_always_called=always_call,
        )

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """``hook(module, grad_output)`` before the gradient passes the module; it may return a new ``grad_output``."""
        return self._add_hook("_backward_pre_hooks", hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """``hook(module, grad_input, grad_output)`` in backward; it may return a new ``grad_input``."""
        return self._add_hook("_backward_hooks", hook, prepend)

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(module, prefix, keep_vars)`` before ``state_dict()``."""
        return self._add_state_hook("_state_dict_pre_hooks", hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(module, state_dict, prefix, local_metadata)`` after it; it changes the dict in place."""
        return self._add_state_hook("_state_dict_hooks", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(module, state_dict, prefix, metadata, strict, missing_keys, unexpected_keys, error_msgs)``."""
        return self._add_state_hook("_load_state_dict_pre_hooks", hook)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(module, incompatible_keys)``, which may change the lists of keys in place."""
        return self._add_state_hook("_load_state_dict_post_hooks", hook)

    def _add_state_hook(self, registry: str, hook: Callable) -> RemovableHandle:
        hooks = self.__dict__[registry]
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    # ---- looking up

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as ``"encoder.layers.0"``; AttributeError if there is none."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put ``module`` at a path; with ``strict`` there must be one there already."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        parent_path, _, name = target.rpartition(".")
        parent = self.get_submodule(parent_path)
        if not hasattr(parent, name):
            if strict:
                raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        elif not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as ``"encoder.weight"``."""
        module, name = self._owner(target)
        if not isinstance(getattr(module, name), Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return getattr(module, name)

    def get_buffer(self, target: str) -> luchina.Tensor:
        """The buffer at a path such as ``"norm.running_mean"``."""
        module, name = self._owner(target)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return getattr(module, name)

    def _owner(self, target: str) -> tuple[Module, str]:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        return module, name

    # ---- walking

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their paths, each once unless ``remove_duplicate`` is False."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one."""
        return (module for _, module in self.named_children())

    def _named_members(
        self,
        members: Callable[[Module], Iterable],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, tensor in members(module):
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their paths."""
        return self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters: what an optimizer is given."""
        return (param for _, param in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, luchina.Tensor]]:
        """Buffers with their paths."""
        return self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[luchina.Tensor]:
        """Buffers."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # ---- state

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by path, sharing memory with the module."""
        return state.collect(self, destination, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy a state into the module (``assign``: take its tensors over).

        RuntimeError if shapes differ or, with ``strict``, if keys are missing or unexpected; then nothing was changed.
        """
        return state.load(self, state_dict, strict, assign)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        state.save_own(self, destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict[str, Any], *rest: Any) -> None:
        state.load_own(self, state_dict, *rest)

    def get_extra_state(self) -> Any:
        """To be overridden together with ``set_extra_state``: picklable state besides tensors."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: it does not define get_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """To be overridden: take back what ``get_extra_state`` gave."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: it does not define set_extra_state()")

    # ---- changing all of it

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """``fn(module)`` for every module below and then for this one; typically to initialise."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[luchina.Tensor], luchina.Tensor], recurse: bool = True) -> Self:
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is not None:
                with luchina.no_grad():
                    param.data = fn(param)
                    if param.grad is not None:
                        requires_grad = param.grad.requires_grad
                        param.grad = fn(param.grad).requires_grad_(requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move to a device and/or convert floating parameters and buffers to a dtype, in place.

        ``to(device)``, ``to(dtype)``, ``to(device, dtype)``, ``to(tensor)``.
        """
        device, dtype, non_blocking = _parse_to(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def convert(t: luchina.Tensor) -> luchina.Tensor:
            return t.to(device, dtype if t.is_floating_point() else None, non_blocking)

        return self._apply(convert)

    def type(self, dst_type: Any) -> Self:
        """Convert all parameters and buffers to ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))

    def _floating(self, dtype: Any) -> Self:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self) -> Self:
        """Floating parameters and buffers as float32."""
        return self._floating(luchina.float32)

    def double(self) -> Self:
        """Floating parameters and buffers as float64."""
        return self._floating(luchina.float64)

    def half(self) -> Self:
        """Floating parameters and buffers as float16."""
        return self._floating(luchina.float16)

    def bfloat16(self) -> Self:
        """Floating parameters and buffers as bfloat16."""
        return self._floating(luchina.bfloat16)

    def cpu(self) -> Self:
        """Move to the CPU's memory."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move to a GPU's memory."""
        return self._apply(lambda t: t.cuda(device))

    def train(self, mode: bool = True) -> Self:
        """Training mode (dropout drops, batch norm uses the batch's statistics), or evaluation mode."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Whether the parameters get gradients; False freezes them."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or set them to zero)."""
        for param in self.parameters():
            clear_grad(param, set_to_none)

    # ---- printing, copying

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What ``repr`` shows in the brackets besides children; to be overridden."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        if len(lines) == 1 and not self._modules:
            return f"{self._get_name()}({extra})"
        for name, module in self._modules.items():
            lines.append(f"({name}): " + repr(module).replace("\n", "\n  "))
        body = "\n  " + "\n  ".join(lines) + "\n" if lines else ""
        return f"{self._get_name()}({body})"

    def __setstate__(self, saved: dict[str, Any]) -> None:
        Module.__init__(self)
        self.__dict__.update(saved)


_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)

_global_forward_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_global_forward_hooks: OrderedDict[int, Callable] = OrderedDict()
# Holds the ids of all hooks of all modules: empty, and thus false, in nearly every program.
_global_hooks: OrderedDict[int, bool] = OrderedDict()


def _add_global_hook(hooks: OrderedDict[int, Callable], hook: Callable) -> RemovableHandle:
    handle = RemovableHandle(hooks, _global_hooks)
    hooks[handle.id] = hook
    _global_hooks[handle.id] = True
    return handle


def register_module_forward_pre_hook(hook: Callable[[Module, Any], Any]) -> RemovableHandle:
    """``hook(module, args)`` before the forward of every module."""
    return _add_global_hook(_global_forward_pre_hooks, hook)


def register_module_forward_hook(hook: Callable[[Module, Any, Any], Any]) -> RemovableHandle:
    """``hook(module, args, output)`` after the forward of every module."""
    return _add_global_hook(_global_forward_hooks, hook)


def clear_grad(param: luchina.Tensor, set_to_none: bool) -> None:
    """``param.grad = None``, or zeros that are detached from any graph."""
    gradient = param._grad
    if gradient is None:
        return
    if set_to_none:
        param._grad = None
        return
    if gradient.grad_fn is not None:
        gradient.detach_()
    else:
        gradient.requires_grad_(False)
    gradient.zero_()


def _as_args(changed: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if changed is None:
        return args
    return changed if isinstance(changed, tuple) else (changed,)


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool]:
    """The device, dtype and non_blocking that ``to``'s overloads mean."""
    unknown = set(kwargs) - {"device", "dtype", "non_blocking", "copy", "memory_format", "tensor", "other"}
    if unknown:
        raise TypeError(f"to() got an unexpected keyword argument '{min(unknown)}'")
    if kwargs.get("memory_format") not in (None, "preserve_format", "contiguous_format"):
        raise NotImplementedError("Module.to(memory_format=torch.channels_last) is not there yet")
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for name in ("tensor", "other"):
        if name in kwargs:
            args = (kwargs[name], *args)
    rest = []
    for arg in args:
        if isinstance(arg, luchina.Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, luchina.dtype):
            dtype = arg
        elif isinstance(arg, bool) or arg is None:
            rest.append(arg)
        else:
            device = arg
    flags = [flag for flag in rest if flag is not None]
    return device, dtype, bool(flags[0]) if flags else kwargs.get("non_blocking", False)


# ---- errors that name the layer


_NAMED: Any = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)


def _failed(error: Any, module: Module, args: tuple[Any, ...]) -> None:
    _name_layer(error, module, args, error.__traceback__)


install_calls.layers(Module, _global_hooks, _failed)


def _name_layer(error: Any, module: Module, args: tuple[Any, ...], trace: TracebackType | None) -> None:
    """Add the failing layer's path, class and input to the message of an error that luchina raised.

    The innermost call notes the layer; as the error climbs, each enclosing module rewrites the path as seen from it.
    An error that the user's own ``forward`` raised keeps its message. ``trace`` is what ran in ``forward``: nothing, if
    the arguments did not fit its signature, which Python's text says.
    """
    if not isinstance(error, _NAMED):
        return
    noted = getattr(error, "_luchina_layer", None)
    if noted is None:
        if isinstance(error, NotImplementedError) or len(error.args) != 1 or not isinstance(error.args[0], str):
            return
        frames = list(traceback.walk_tb(trace))
        if not frames or not frames[-1][0].f_globals.get("__name__", "").startswith("luchina"):
            return
        inputs = ", ".join(_describe(arg) for arg in args if isinstance(arg, luchina.Tensor))
        what = f"{module._get_name()}({module.extra_repr()})" if not module._modules else f"{module._get_name()}"
        error._luchina_layer = noted = (module, error.args[0], what, inputs)
        path = ""
    else:
        path = next((path for path, each in module.named_modules() if each is noted[0]), "")
        if not path:
            return
    _, text, what, inputs = noted
    where = f"'{path}' ({what})" if path else what
    error.args = (f"{text}\n  in layer {where}" + (f", input {inputs}" if inputs else ""),)


def _describe(x: luchina.Tensor) -> str:
    shape = str(list(x.shape))
    return shape if x.dtype == luchina.float32 else f"{shape} {str(x.dtype).removeprefix('torch.')}"
