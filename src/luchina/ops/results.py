"""Results with names: what ``max``, ``sort`` and ``topk`` return, under PyTorch's field names.

>>> named_fields("pair", ("first", "second"), 1, 2).second
2
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

_kinds: dict[tuple[str, tuple[str, ...]], type] = {}


def _repr(self: Any) -> str:
    """PyTorch's printed form: one field a line."""
    fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
    return f"torch.return_types.{type(self).__name__}(\n{fields})"


def named_fields(name: str, fields: tuple[str, ...], *parts: Any) -> Any:
    """The parts as a named tuple that prints as ``torch.return_types.<name>``."""
    kind = _kinds.get((name, fields))
    if kind is None:
        base = namedtuple(name, fields)  # type: ignore[misc]
        kind = _kinds[name, fields] = type(name, (base,), {"__slots__": (), "__repr__": _repr})
    return kind(*parts)


def named(name: str, values: Any, indices: Any) -> Any:
    """The usual pair: (values, indices)."""
    return named_fields(name, ("values", "indices"), values, indices)
