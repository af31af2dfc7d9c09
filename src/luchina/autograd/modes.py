"""Switching the recording of gradients on and off: context managers that also decorate functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from luchina.graph import program
from luchina.graph.value import mode


class _GradMode:
    """Sets the mode on entry, and puts back what was there on exit."""

    def __init__(self) -> None:
        self._before: list[tuple[bool, bool]] = []

    def _set(self) -> None:
        raise AssertionError("a mode says what it sets")

    def __enter__(self) -> Any:
        self._before.append(_now())
        self._set()

    def __exit__(self, *exception: object) -> None:
        mode.grad, mode.inference = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                running = function(*args, **kwargs)
                send = None
                while True:
                    with self._clone():
                        try:
                            item = running.send(send)
                        except StopIteration as stop:
                            return stop.value
                    send = yield item

            return generator

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._clone():
                return function(*args, **kwargs)

        return wrapped

    def _clone(self) -> _GradMode:
        return type(self)()


class no_grad(_GradMode):
    """Nothing inside is recorded for gradients. As a context manager or a decorator, with or without brackets.

    >>> import luchina
    >>> x = luchina.ones(2, requires_grad=True)
    >>> with luchina.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def __new__(cls, function: Any = None) -> Any:
        self = object.__new__(cls)
        if function is None:
            return self
        self.__init__()  # type: ignore[misc]  # what follows __new__ in a class of this kind
        return self(function)

    def __init__(self, function: Any = None) -> None:
        self._before = []

    def __enter__(self) -> None:
        now = mode.__dict__  # of this thread: one look-up instead of three
        self._before.append((now["grad"], now["inference"]))
        now["grad"] = self._wanted

    def __exit__(self, *exception: object) -> None:
        now = mode.__dict__
        now["grad"], now["inference"] = self._before.pop()
        if now["grad"] and program.pending_count() > UPDATE_LIMIT:
            program.realize(())

    _wanted = False


UPDATE_LIMIT = 64  # storages pending at the end of a no_grad block from which on it runs what is recorded


class enable_grad(no_grad):
    """Gradients are recorded inside, also within ``no_grad``."""

    _wanted = True


class inference_mode(_GradMode):
    """``no_grad``, and what is made inside may not be saved for a backward pass, nor written to outside."""

    def __new__(cls, mode: Any = True) -> Any:
        self = object.__new__(cls)
        if isinstance(mode, bool):
            return self
        self.__init__()  # type: ignore[misc]  # what follows __new__ in a class of this kind
        return self(mode)

    def __init__(self, mode: Any = True) -> None:
        super().__init__()
        self.flag = mode if isinstance(mode, bool) else True

    def _set(self) -> None:
        if self.flag:
            mode.grad = False
        mode.inference = self.flag

    def _clone(self) -> _GradMode:
        return type(self)(self.flag)


class set_grad_enabled(_GradMode):
    """Recording on or off: as a statement, a context manager or a decorator."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.flag = mode
        self._outer = _now()
        self._set()

    def _set(self) -> None:
        mode.grad = self.flag

    def __enter__(self) -> None:
        self._before.append(self._outer)
        self._set()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode.grad, mode.inference = self._outer
        return super().__call__(function)

    def _clone(self) -> _GradMode:
        return type(self)(self.flag)


def _now() -> tuple[bool, bool]:
    return mode.grad, mode.inference


def is_grad_enabled() -> bool:
    """Whether operations are recorded for gradients now."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Whether inference mode is on."""
    return mode.inference
