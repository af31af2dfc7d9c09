"""What the contraction template takes from the scheduler and gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.body import Body

if TYPE_CHECKING:
    from luchina.compiler.kernel import Kernel


class Window(NamedTuple):
    """A strided view on an entry of the program's pointer table; offset and strides are in elements.

    The extents are those of the contraction that the window is an operand of. Any stride is allowed, 0 and negative
    ones too; the windows of the outputs must not overlap themselves.
    """

    slot: int
    offset: int
    strides: tuple[int, ...]
    dtype: str


class Epilogue(NamedTuple):
    """What is done to each element of the result before it is written.

    ``body.inputs[0]`` is the accumulated element (of the contraction's dtype, 16-bit floats still in float32); its
    other inputs are ``operands``, windows over the axes of the result. Each output of the body has one window.
    """

    body: Body
    operands: tuple[Window, ...] = ()


@dataclass
class Call:
    """One kernel call; calls of one contraction run in the order of the list.

    Args:
        kernel: the code.
        params: its numbers.
        blocks: number of blocks; depends on the extents only, never on the number of threads.
        scratch: bytes of private memory that each running thread needs.
        cost: estimated nanoseconds on one core.
        reads, writes: table entries, temporaries included.
        flops: floating-point operations, two for a multiplication with addition.
    """

    kernel: Kernel
    params: list[int]
    blocks: int
    scratch: int
    cost: float
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    flops: int = 0


@dataclass
class Slots:
    """Gives out table entries for temporaries: ``next`` is the first free entry; ``sizes[i]`` bytes belong to entry
    ``first + i``. Used where the scheduler passes no function of its own."""

    first: int
    sizes: list[int] = field(default_factory=list)

    def __call__(self, nbytes: int) -> int:
        self.sizes.append(nbytes)
        return self.first + len(self.sizes) - 1
