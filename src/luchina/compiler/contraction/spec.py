"""What fixes the code of a contraction kernel, and the numbers that it is given.

``C[g, m, n] = epilogue(sum_k A[g, m, k] · B[g, k, n])``. A tile of C is ``mr`` rows by ``nv`` vectors. How an operand
is read:

========  ==========================================================================================
direct    where it lies: A element by element, B in vectors along n (its n-stride is 1)
row       A only; each row copied in the dtype of the sums; adjacent along k
x         packed; adjacent along the axis that is not summed over (m for A, n for B)
k         packed; adjacent along k: squares are transposed in registers
k+        B only; packed like k, while the first tile is made
s         packed; any strides
tx, tk    packed; offsets come from tables of the digits of n and k (a convolution's patches, out of bounds
          is 0); runs of adjacent elements are looked for along n, or along k
========  ==========================================================================================
"""

from __future__ import annotations

from typing import NamedTuple

from luchina.compiler.body import Body
from luchina.compiler.ir import Emitter, Operand

# The dtype that products are summed in.
ACCUMULATE = {
    "float64": "float64",
    "float32": "float32",
    "float16": "float32",
    "bfloat16": "float32",
    "int64": "int64",
    "int32": "int32",
    "int16": "int32",
    "int8": "int32",
    "uint8": "int32",
}


class Spec(NamedTuple):
    """One kernel: all that changes its code."""

    dtype: str
    mr: int
    nv: int
    a: str
    b: str
    operands: tuple[tuple[str, str], ...]
    """dtype and class of each window that the epilogue reads: "c" one element, "0" the same along n, "1" adjacent,
    "t" by table."""
    outs: tuple[tuple[str, str], ...]
    body: Body | None
    """``None`` writes sums as they are: partial sums of a divided K."""

    def __str__(self) -> str:
        windows = " ".join(f"{d}/{c}" for d, c in self.operands) + " > " + " ".join(f"{d}/{c}" for d, c in self.outs)
        return f"{self.dtype} {self.mr}x{self.nv} {self.a}*{self.b} {windows} | {self.body}"

    @property
    def windows(self) -> tuple[tuple[str, str], ...]:
        return self.operands + self.outs

    @property
    def plain(self) -> bool:
        """Whether sums are written as they are: then the micro-kernel can write them."""
        untouched = self.body is None or (not self.body.instructions and self.body.outputs == (0,))
        return untouched and self.outs == ((ACCUMULATE[self.dtype], "1"),)

    @property
    def tabled(self) -> bool:
        """Whether n and k have digits."""
        return self.b[0] == "t"


# Numbers of every kernel, in order; those of tables only where the operands are read by table.
_COMMON = (
    *("M", "N", "K", "m_block", "n_block", "k_block", "k_split", "m_blocks", "n_blocks", "splits"),
    *("at_b", "at_c", "at_tables", "at_columns", "c_step", "a_kept", "a_turn"),
    *("a_slot", "a_offset", "a_batch", "a_x", "a_k", "b_slot", "b_offset", "b_batch", "b_x", "b_k"),
)
_TABLES = (
    *(f"{axis}_{level}_{what}" for axis in "nk" for level in "01" for what in ("extent", "magic", "shift")),
    *("k_entries", "ak_0", "ak_1", "ak_2", "bx_0", "bx_1", "bx_2", "bk_0", "bk_1", "bk_2"),
    *("h_x", "h_k", "h_0", "w_x", "w_k", "w_0", "height", "width"),
)
_WINDOW = ["slot", "offset", "batch", "split", "m", "n_0", "n_1", "n_2"]


def parameter_names(spec: Spec) -> list[str]:
    """Names of the kernel's params, in order."""
    names = [*_COMMON, *(_TABLES if spec.tabled else ())]
    return names + [f"w{i}_{what}" for i in range(len(spec.windows)) for what in _WINDOW]


class Params:
    """Reads params inside a kernel; every read is a load from the first cache."""

    def __init__(self, e: Emitter, spec: Spec) -> None:
        self.e = e
        self.places = {name: i for i, name in enumerate(parameter_names(spec))}

    def __getitem__(self, name: str) -> Operand:
        e = self.e
        return e.load("i64", e.gep("i64", Operand("ptr", "%params"), self.places[name]), 8)

    def narrow(self, name: str) -> Operand:
        """As i32."""
        return self.e.cast("trunc", self[name], "i32")


def magic(divisor: int) -> tuple[int, int]:
    """``(multiplier, shift)`` with ``n // divisor == n * multiplier >> shift`` for 0 <= n < 2**31."""
    bits = (divisor - 1).bit_length()
    return -(-(1 << (31 + bits)) // divisor), 31 + bits
