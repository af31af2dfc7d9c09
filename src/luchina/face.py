"""From the list of operations to functions and methods on tensors.

``lift`` turns a function on Values into one on tensors: it reads its tensors, calls, and wraps the results. ``install``
does so for every public operation: ``luchina.exp``, ``Tensor.exp``, ``Tensor.exp_``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from luchina import dtypes
from luchina.dispatch import install as install_calls
from luchina.dispatch.calls import Call
from luchina.graph import program
from luchina.graph.value import Value, mode
from luchina.labels import RULES, Rule
from luchina.layout import elementwise
from luchina.ops.movement import expand
from luchina.ops.pointwise import cast, dtype_title
from luchina.ops.registry import DECLARED, PUBLIC
from luchina.overlap import check_partial_overlap
from luchina.precision import POLICIES, anywhere, cast_call, region, suspended
from luchina.tensor import Tensor, alias, wrap_value

_PLAIN = frozenset({int, float, bool, str, type(None), dtypes.dtype})


# Their results lie in memory in the order of their operands: see ``luchina.layout``.
ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "addcdiv", "addcmul", "asin", "asinh", "atan", "atan2", "atanh",
    "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "ceil", "celu", "clamp", "clamp_max", "clamp_min", "clone", "cos", "cosh", "digamma", "div", "elu", "eq",
    "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac",
    "ge", "gelu", "gt", "hardsigmoid", "hardswish", "hardtanh", "isfinite", "isinf", "isnan", "le",
    "leaky_relu", "lerp", "lgamma", "log", "log10", "log1p", "log2", "logsigmoid", "logaddexp", "logical_and",
    "logical_not", "logical_or", "logical_xor", "lt",  "maximum", "minimum", "mish", "mul",
    "ne", "neg", "pow", "reciprocal", "relu", "relu6", "remainder", "round", "rsqrt", "rsub", "selu",
    "sigmoid", "sign", "silu", "sin", "sinh", "softplus", "sqrt", "square", "sub", "tan", "tanh", "trunc",
    "where_function", "where_method", "xlogy",
}  # fmt: skip


def read(x: Any) -> Any:
    """Tensors (also inside lists and tuples) as Values, anything else as it is."""
    if x.__class__ in _PLAIN:
        return x
    if isinstance(x, Tensor):
        return x._read()
    if x.__class__ in (list, tuple) and x and any(isinstance(e, Tensor) for e in x):
        return [e._read() if isinstance(e, Tensor) else e for e in x]
    return x


def shown(x: Any) -> Any:
    """Values (also inside tuples) as new tensors."""
    if x.__class__ is Value:
        return wrap_value(x)
    if isinstance(x, tuple):
        parts = [shown(e) for e in x]
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    if x.__class__ is list:
        return [shown(e) for e in x]
    return x


def _shared(args: tuple) -> bool:
    for x in args:
        if isinstance(x, Tensor):
            if x._storage.lent and x._storage.shared:
                return True
        elif x.__class__ in (list, tuple) and _shared(tuple(x)):
            return True
    return False


def settle(args: tuple, result: Any) -> None:
    """Memory that numpy shares may change at any time: what was read from it is computed now."""
    if _shared(args):
        program.realize(_values(result))


def _values(result: Any) -> list[Value]:
    if isinstance(result, Tensor):
        return [result._read()]
    if isinstance(result, (tuple, list)):
        return [v for e in result for v in _values(e)]
    return []


def _require_tensor(name: str, args: tuple) -> None:
    """PyTorch's error for something else where a tensor belongs."""
    if args and not isinstance(args[0], Tensor):
        kind = type(args[0])
        if kind in (list, tuple):
            bad = next(((i, e) for i, e in enumerate(args[0]) if not isinstance(e, Tensor)), None)
            if bad is not None and name in ("cat", "stack"):
                raise TypeError(f"expected Tensor as element {bad[0]} in argument 0, but got {type(bad[1]).__name__}")
        if name in ("cat", "stack"):
            raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not {kind.__name__}")
        what = f"{kind.__module__}." if kind.__module__ != "builtins" else ""
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {what}{kind.__name__}")


# A Python number among their arguments is a run-time scalar, whatever it is.
_ARITHMETIC = ("add", "sub", "mul", "div")


@functools.cache
def _lifted(call: Callable[..., Any]) -> Call:
    """The function on tensors that does what ``call`` does on Values. ``out=`` is understood."""

    rule = RULES.get(call.__name__)
    each = call.__name__ in ELEMENTWISE
    policies = POLICIES.get(call.__name__)

    @functools.wraps(call)
    def function(*args: Any, **kwargs: Any) -> Any:
        given = args
        if policies is not None and anywhere.threads and region.dtypes:
            if kwargs.get("out") is not None:
                with suspended():
                    return function(*args, **kwargs)
            given = (*args, *kwargs.values())
            args, kwargs = cast_call(policies, args, kwargs)
        if each and not (kwargs and any(k in ("out", "self") or isinstance(v, Tensor) for k, v in kwargs.items())):
            laid = elementwise(call, args, kwargs, (lambda value: _label(rule, value, args, kwargs)) if rule else None)
            if laid is not None:
                settle(given, laid)
                return laid
        if kwargs:
            if "out" in kwargs:
                return into(kwargs.pop("out"), function(*args, **kwargs))
            if "self" in kwargs:
                kwargs["input"] = kwargs.pop("self")
            result = call(*[read(a) for a in args], **{k: read(v) for k, v in kwargs.items()})
            args = (*args, *kwargs.values())
            given = (*given, *kwargs.values())
        else:
            try:
                result = call(*[a._read() if isinstance(a, Tensor) else read(a) for a in args])
            except AttributeError:
                _require_tensor(call.__name__, args)
                raise
        if rule is not None:
            _label(rule, result, args, kwargs)
        result = wrap_value(result) if result.__class__ is Value else shown(result)
        for a in given:
            if isinstance(a, Tensor):
                if a._storage.lent:
                    settle(given, result)
                    break
            elif a.__class__ in (list, tuple):
                settle(given, result)
                break
        return result

    name = call.__name__
    return Call(function, laid=each, free=name in _ARITHMETIC)


@functools.cache
def lift(call: Callable[..., Any]) -> Callable[..., Any]:
    """What ``_lifted`` gives, as users call it."""
    return install_calls.function(_lifted(call))


def _label(rule: Rule, result: Any, args: tuple, kwargs: dict) -> None:
    """Set what ``grad_fn`` prints of a result that has a gradient."""
    for value in result if isinstance(result, tuple) else (result,):
        if value.__class__ is Value and value.needs_grad and value.cell is None:
            value.label = rule(args, kwargs) if callable(rule) else rule


def into(out: Any, result: Any) -> Any:
    """The meaning of ``out=``: written there, resized if the shape differs."""
    if out is None:
        return result
    if isinstance(result, tuple):
        for target, part in zip(out, result, strict=True):
            into(target, part)
        return out
    if mode.grad and (out.requires_grad or result.requires_grad):
        raise RuntimeError(
            "out=... arguments don't support automatic differentiation, but one of the arguments requires grad."
        )
    if dtypes.category(result.dtype) > dtypes.category(out.dtype):
        raise RuntimeError(
            f"result type {dtype_title(result.dtype)} can't be cast to the desired output type {dtype_title(out.dtype)}"
        )
    if out.shape != result.shape:
        fresh = result.to(out.dtype)
        out._storage, out._shape, out._strides, out._offset = fresh._storage, fresh._shape, fresh._strides, 0
        out._base, out._generation, out._dense = None, -1, fresh._dense
        return out
    out._write(cast(result._read(), out.dtype))
    return out


def in_place(call: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The method ``name`` that writes the result of ``call`` into its own tensor."""

    @functools.wraps(call)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._check_writable()
        for other in args:
            if isinstance(other, Tensor) and other._storage is self._storage:
                check_partial_overlap(self, other)
        own, others = self._read(), [read(a) for a in args]
        if mode.grad and (own.needs_grad or any(v.__class__ is Value and v.needs_grad for v in others)):
            own = alias(own)  # the derivative reads what was here before, which this very write does not spoil
        value = call(own, *others, **{k: read(v) for k, v in kwargs.items()}) if kwargs else call(own, *others)
        self._put(value if value.dtype is self._dtype and value.shape == self._shape else fitted(self, value))
        return self

    method.__name__ = name
    method.__doc__ = f"In-place version of ``{call.__name__}``."
    return method


def write(target: Tensor, value: Value, name: str = "") -> None:
    """Write ``value`` into a tensor, by the rules of in-place operations: shape and dtype of the target stay."""
    target._write(fitted(target, value))


def fitted(target: Tensor, value: Value) -> Value:
    """The Value in a tensor's shape and dtype; PyTorch's errors where it cannot be."""
    if value.dtype is not target.dtype:
        if dtypes.category(value.dtype) > dtypes.category(target.dtype):
            raise RuntimeError(
                f"result type {dtype_title(value.dtype)} can't be cast to the desired output type "
                f"{dtype_title(target.dtype)}"
            )
        value = cast(value, target.dtype)
    if value.shape != target.shape:
        if len(value.shape) > len(target.shape) or expandable(value.shape, target.shape) is False:
            raise RuntimeError(
                f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(value.shape)}"
            )
        value = expand(value, tuple(target.shape))
    return value


def expandable(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether ``shape`` broadcasts to ``target``."""
    lead = len(target) - len(shape)
    return lead >= 0 and all(n in (1, m) for n, m in zip(shape, target[lead:]))


def install(namespace: dict[str, Any]) -> None:
    """Put every public operation into the ``luchina`` namespace and onto ``Tensor``."""
    for entry in DECLARED:
        if entry.function:
            namespace.setdefault(entry.name, lift(entry.call))
        if entry.method and entry.name not in Tensor.__dict__:
            _set_method(entry.name, _lifted(entry.call))
        if entry.inplace:
            name = entry.name + "_"
            if name not in Tensor.__dict__:
                setattr(Tensor, name, in_place(entry.call, name))
                if entry.function:
                    namespace.setdefault(name, getattr(Tensor, name))


def _set_method(name: str, call: Call) -> None:
    setattr(Tensor, name, install_calls.method(name, call))


# ---- operators

_NUMBERS = (bool, int, float)


def _operator(name: str, reflected: bool = False) -> Call:
    call = PUBLIC[name].call
    listed = _lifted(call).python if name in POLICIES else None
    reflected_name = {"sub": "RsubBackward1"}.get(name)

    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, Tensor):
            right = other._read()
        elif other.__class__ in _NUMBERS or _is_numpy_number(other):
            right = other
        elif not reflected and isinstance(other, np.ndarray):
            other = _from_array(other)
            right = other._read()
        else:
            return NotImplemented
        if listed is not None and anywhere.threads and region.dtypes:
            return listed(other, self) if reflected else listed(self, other)
        if reflected and name == "div":  # as PyTorch: its rounding, and its derivative reads the result
            return self.reciprocal() * other
        if not (reflected and name == "pow") and (
            self._base is not None
            or self._moved
            or self._detached
            or (right.__class__ is Value and (other._base is not None or other._moved or other._detached))
        ):
            laid = elementwise(call, (other, self) if reflected else (self, other), {})
            if laid is not None:
                settle((self, other), laid)
                return laid
        left = self._read()
        value = call(right, left) if reflected else call(left, right)
        if reflected_name is not None and reflected and value.needs_grad and value.cell is None:
            value.label = reflected_name
        result = wrap_value(value)
        if self._storage.lent or (right.__class__ is Value and other._storage.lent):
            settle((self, other), result)
        return result

    return Call(method, laid=True, free=name in _ARITHMETIC)


def _from_array(array: np.ndarray) -> Tensor:
    """PyTorch takes an array on the right of an operator (and refuses one on the left)."""
    from luchina.creation import tensor

    return tensor(array)


def _is_numpy_number(x: Any) -> bool:
    return isinstance(x, _NUMBERS) or (hasattr(x, "dtype") and hasattr(x, "item") and getattr(x, "ndim", 1) == 0)


def _inplace_operator(name: str) -> Callable[..., Any]:
    method = in_place(PUBLIC[name].call, name + "_")

    def operator(self: Tensor, other: Any) -> Any:
        if isinstance(other, Tensor) or _is_numpy_number(other):
            return method(self, other)
        return NotImplemented

    return operator


_BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "pow", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}  # fmt: skip


def install_operators() -> None:
    """Python's operators on tensors."""
    for operator, name in _BINARY.items():
        _set_method(f"__{operator}__", _operator(name))
        _set_method(f"__r{operator}__", _operator(name, reflected=True))
        setattr(Tensor, f"__i{operator}__", _inplace_operator(name))
    for operator in ("eq", "ne", "lt", "le", "gt", "ge"):
        _set_method(f"__{operator}__", _operator(operator))
    _set_method("__matmul__", Call(_matmul))
    setattr(Tensor, "__rmatmul__", lambda self, other: NotImplemented)
    setattr(Tensor, "__imatmul__", _inplace_operator("matmul"))
    for operator, name in (("neg", "neg"), ("pos", "positive"), ("abs", "abs")):
        _set_method(f"__{operator}__", _lifted(PUBLIC[name].call))
    setattr(Tensor, "__invert__", _invert)


_bitwise_not = _lifted(PUBLIC["bitwise_not"].call).python


def _invert(self: Tensor) -> Tensor:
    if self.dtype.is_floating_point:
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return _bitwise_not(self)


_lifted_matmul = _lifted(PUBLIC["matmul"].call).python


def _matmul(self: Tensor, other: Any) -> Any:
    if isinstance(other, np.ndarray):
        other = _from_array(other)
    if not isinstance(other, Tensor):
        return NotImplemented
    return _lifted_matmul(self, other)
