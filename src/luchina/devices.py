"""Where a tensor lies."""

from __future__ import annotations

from typing import Any

KNOWN = (
    *("cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla", "lazy"),
    *("vulkan", "mps", "meta", "hpu", "mtia", "privateuseone"),
)


class device:  # named as in PyTorch
    """A device: ``device("cpu")``, ``device("cuda", 0)``.

    >>> import luchina
    >>> luchina.device("cpu")
    device(type='cpu')
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index if index is None else index
        if not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str, not {type.__class__.__name__}")
        if ":" in type:
            if index is not None:
                raise RuntimeError(f"'type' must not include an index because index was passed explicitly: {type}")
            type, _, number = type.partition(":")
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{type}:{number}'")
            index = int(number)
        if type not in KNOWN:
            raise RuntimeError(f"Expected one of {', '.join(KNOWN)} device type at start of device string: {type}")
        self.type = type
        self.index = index

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple:
        return device, (self.type, self.index)


CPU = device("cpu")


def resolve(what: Any) -> device:
    """A device that exists on this machine; RuntimeError that says what is there, otherwise."""
    if what is None or what is CPU:
        return CPU
    if isinstance(what, int) and not isinstance(what, bool):
        what = device("cuda", what)
    wanted = what if isinstance(what, device) else device(what)
    if wanted.type == "cpu":
        return CPU
    if wanted.type == "cuda":
        raise RuntimeError(
            "No CUDA device is available: luchina's CUDA back end is not there yet, so 'cuda' cannot be used. "
            "What is there: 'cpu'."
        )
    raise RuntimeError(f"device '{wanted}' is not available. What is there: 'cpu'.")
