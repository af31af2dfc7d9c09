"""A module's state as a flat dictionary: writing it, and loading it all or not at all."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import luchina
from luchina.nn.parameter import Parameter

EXTRA_STATE = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def collect(
    module: Any, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
) -> dict[str, Any]:
    """The work of ``Module.state_dict``."""
    if destination is None:
        destination = OrderedDict()
        destination._metadata = OrderedDict()  # type: ignore[attr-defined]
    local_metadata = {"version": module._version}
    if hasattr(destination, "_metadata"):
        destination._metadata[prefix[:-1]] = local_metadata
    for hook in module._state_dict_pre_hooks.values():
        hook(module, prefix, keep_vars)
    module._save_to_state_dict(destination, prefix, keep_vars)
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
    for hook in module._state_dict_hooks.values():
        if hook(module, destination, prefix, local_metadata) is not None:
            raise RuntimeError("state_dict post-hook must return None")
    return destination


def save_own(module: Any, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    """The module's own parameters, persistent buffers and extra state, not its children's."""
    for name, tensor in _own_state(module):
        destination[prefix + name] = tensor if keep_vars else tensor.detach()
    if _overrides(module, "get_extra_state"):
        destination[prefix + EXTRA_STATE] = module.get_extra_state()


def _own_state(module: Any) -> Iterator[tuple[str, Any]]:
    for name, param in module._parameters.items():
        if param is not None:
            yield name, param
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield name, buffer


def _overrides(module: Any, method: str) -> bool:
    from luchina.nn.modules.module import Module

    return getattr(type(module), method) is not getattr(Module, method)


class Loading:
    """One ``load_state_dict``: every module is checked before anything is written.

    PyTorch writes what fits and raises at the end; here a failed call leaves the model as it was. ``writes`` are the
    assignments that are carried out once everything was checked.
    """

    def __init__(self, state: Mapping[str, Any], assign: bool) -> None:
        self.metadata = getattr(state, "_metadata", None)
        self.assign = assign
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.errors: list[str] = []
        self.writes: list[tuple[Any, str, Any, Any]] = []
        self.extra: list[tuple[Any, Any]] = []

    def visit(self, module: Any, state: dict[str, Any], prefix: str = "") -> None:
        metadata = dict(self.metadata.get(prefix[:-1], {})) if self.metadata is not None else {}
        if self.assign:
            metadata["assign_to_params_buffers"] = True
        metadata["loading"] = self
        module._load_from_state_dict(state, prefix, metadata, True, self.missing, self.unexpected, self.errors)
        for name, child in module._modules.items():
            if child is not None:
                inner = f"{prefix}{name}."
                self.visit(child, {k: v for k, v in state.items() if k.startswith(inner)}, inner)
        keys = IncompatibleKeys(self.missing, self.unexpected)
        for hook in module._load_state_dict_post_hooks.values():
            if hook(module, keys) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                    "values, if incompatible_keys need to be modified, it should be done inplace."
                )

    def write(self) -> None:
        with luchina.no_grad():
            for module, name, old, new in self.writes:
                if not self.assign:
                    old.copy_(new)
                    continue
                if isinstance(old, Parameter):
                    if isinstance(new, Parameter):
                        new.requires_grad_(old.requires_grad)
                    else:
                        new = Parameter(new, requires_grad=old.requires_grad)
                setattr(module, name, new)
        for module, value in self.extra:
            module.set_extra_state(value)


def load_own(
    module: Any,
    state: dict[str, Any],
    prefix: str,
    metadata: dict[str, Any],
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Check one module's entries of ``state`` and note what is to be written."""
    for hook in module._load_state_dict_pre_hooks.values():
        hook(module, state, prefix, metadata, strict, missing, unexpected, errors)
    loading: Loading = metadata["loading"]
    own = dict(_own_state(module))
    for name, old in own.items():
        key = prefix + name
        if key not in state:
            if strict:
                missing.append(key)
            continue
        new = state[key]
        if not isinstance(new, luchina.Tensor):
            errors.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                f"checkpoint but received {type(new)}"
            )
            continue
        if old.dim() == 0 and tuple(new.shape) == (1,):
            new = new[0]
        if new.shape != old.shape:
            errors.append(
                f"size mismatch for {key}: copying a param with shape {new.shape} from checkpoint, "
                f"the shape in current model is {old.shape}."
            )
            continue
        loading.writes.append((module, name, old, new))
    extra = prefix + EXTRA_STATE
    if _overrides(module, "set_extra_state"):
        if extra in state:
            loading.extra.append((module, state[extra]))
        elif strict:
            missing.append(extra)
    elif strict and extra in state:
        unexpected.append(extra)
    if strict:
        for key in state:
            if key.startswith(prefix) and key != extra:
                name, *rest = key[len(prefix) :].split(".", 1)
                if name not in (module._modules if rest else own):
                    unexpected.append(key)


def load(module: Any, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> IncompatibleKeys:
    """The work of ``Module.load_state_dict``."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    loading = Loading(state_dict, assign)
    loading.visit(module, copy.copy(OrderedDict(state_dict)))
    errors = loading.errors
    if strict:
        for text, keys in (("Unexpected", loading.unexpected), ("Missing", loading.missing)):
            if keys:
                names = ", ".join(f'"{key}"' for key in keys)
                errors.insert(0, f"{text} key(s) in state_dict: {names}. ")
    if errors:
        listing = "\n\t".join(errors)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{listing}")
    loading.write()
    return IncompatibleKeys(loading.missing, loading.unexpected)
