"""Finding the operation whose derivative goes wrong: backward looks at every cotangent for nan.

Source: https://pytorch.org/docs/stable/autograd.html#anomaly-detection
"""

from __future__ import annotations

from collections.abc import Sequence

from luchina.graph.value import Value


class _State:
    """Whether backward looks; for all threads."""

    enabled = False
    check_nan = True


state = _State()


class set_detect_anomaly:
    """Switches the search on or off, for good or as a context manager."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = state.enabled, state.check_nan
        state.enabled, state.check_nan = mode, check_nan

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        state.enabled, state.check_nan = self._before


class detect_anomaly(set_detect_anomaly):
    """Switches the search on for a block: a nan in a cotangent is an error that names the operation."""

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)


def check(name: str, cotangents: Sequence[Value | None]) -> None:
    """The error, if one of an operation's cotangents has a nan."""
    from luchina.autograd.modes import no_grad
    from luchina.tensor import wrap_value

    for i, value in enumerate(cotangents):
        if value is None or not value.dtype.is_floating_point:
            continue
        with no_grad():
            wrong = wrap_value(value).isnan().any().item()  # type: ignore[attr-defined]
        if wrong:
            raise RuntimeError(f"Function '{name}' returned nan values in its {i}th output.")
