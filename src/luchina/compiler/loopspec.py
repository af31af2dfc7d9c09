"""What fixes the code of a loop kernel, and what follows from it: levels, phases, lanes.

A kernel runs over *outer* axes (independent elements or rows, shared out in blocks) and, inside, *inner* axes (those
that it reduces). Its program is one list of instructions in SSA form: the pointwise primitives and

* ``load`` and ``store`` through an ``Access``: a window on a buffer, affine in the counters;
* ``index`` and ``mask``: the value of an affine form, and whether it lies within its bounds;
* ``reduce.sum`` … ``reduce.argmin``: over the inner axes (the arg-reductions are given the index as well); what
  depends on the result is at *row* level.

A *full*-level value varies along the inner axes. Where one depends on a reduction, the inner axes are run again:
softmax is three *phases* over a row that stays in the first cache. Vectors go along the last inner axis
(``along="inner"``, lanes are combined at the end) or along the last outer axis (``along="outer"``, a lane is a row).

Extents, strides, offsets and buffers are run-time parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from luchina.compiler.body import COST, EXPENSIVE, ITEMSIZE, Instruction

if TYPE_CHECKING:
    from luchina.compiler.target import Target

SLACK = 128  # scratch elements that whole vectors may write beyond a row

HEADER = 3  # params: items, items per block, vector chunk; then extents, then one record per access


class Access(NamedTuple):
    """One operand of a loop kernel; only what changes the code."""

    kind: str  # load, store, index or mask
    dtype: str
    vector: str  # stride along the vector axis: "0" the same element, "1" adjacent, "2" every other one, "s" any
    inner: bool  # varies along the inner axes
    masks: tuple[str, ...] = ()  # bounds to respect, each with its class along the vector axis
    indexed: bool = False  # an index value times a row stride is added
    uniform: bool = False  # one element for the whole kernel


class LoopSpec(NamedTuple):
    """All that fixes the code of a loop kernel."""

    outer: int
    inner: int
    along: str
    accesses: tuple[Access, ...]
    program: tuple[Instruction, ...]
    keep: tuple[int, ...] = ()  # full-level values that stay in scratch memory from one phase to the next

    def __str__(self) -> str:
        lines = [f"loop {self.outer}+{self.inner} along {self.along} keep {self.keep}"]
        lines += [" ".join(map(str, a)) for a in self.accesses]
        for i, (op, dtype, args, attrs) in enumerate(self.program):
            lines.append(f"%{i}:{dtype} = {op}({', '.join([f'%{a}' for a in args] + [repr(a) for a in attrs])})")
        return "\n".join(lines)


def record_size(access: Access, axes: int) -> int:
    """Number of params of an access: slot, offset, strides, index stride; each mask: constant, extent, coefficients."""
    return 2 + axes + access.indexed + len(access.masks) * (2 + axes)


def register_bytes(dtype: str) -> int:
    """Bytes of a register value in scratch memory."""
    return 4 if dtype in ("float16", "bfloat16") else ITEMSIZE[dtype]


def is_full(spec: LoopSpec) -> list[bool]:
    """For each instruction, whether its value varies along the inner axes."""
    full: list[bool] = []
    for op, _, args, attrs in spec.program:
        if op.startswith("reduce."):
            full.append(False)
        else:
            at_access = op in ("load", "store", "index", "mask") and spec.accesses[attrs[0]].inner
            full.append(at_access or any(full[a] for a in args))
    return full


def uniform_of(spec: LoopSpec) -> list[bool]:
    """For each instruction, whether its value is one for the whole kernel."""
    uniform: list[bool] = []
    for op, _, args, attrs in spec.program:
        if op == "load":
            uniform.append(spec.accesses[attrs[0]].uniform)
        elif op in ("index", "mask", "store") or op.startswith("reduce."):
            uniform.append(False)
        else:
            uniform.append(all(uniform[a] for a in args))
    return uniform


def phases_of(spec: LoopSpec, full: list[bool]) -> list[int]:
    """For each instruction, the visit to the inner axes in which it first can be computed."""
    phase: list[int] = []
    for op, _, args, _ in spec.program:
        ready = max((phase[a] for a in args), default=0)
        phase.append(ready + 1 if op.startswith("reduce.") else ready)
    return phase


def repeated(spec: LoopSpec) -> tuple[int, ...]:
    """The costly full-level values that a later phase than their first would compute again."""
    full = is_full(spec)
    phase = phases_of(spec, full)
    wanted: dict[int, set[int]] = {}
    for i in range(len(spec.program) - 1, -1, -1):
        op, _, args, _ = spec.program[i]
        if op.startswith("reduce."):
            users = {phase[i] - 1}
        elif op == "store":
            users = {phase[i]} if full[i] else set()
        else:
            users = wanted.get(i, set()) if full[i] else set()
        for a in args:
            if full[a]:
                wanted.setdefault(a, set()).update(users)
    return tuple(i for i, users in sorted(wanted.items()) if len(users) > 1 and spec.program[i].op in EXPENSIVE)


def scratch_elements(spec: LoopSpec, inner: int, lanes: int) -> int:
    """Places of one kept value in scratch memory, for rows of ``inner`` elements."""
    return inner * (lanes if spec.along == "outer" else 1) + SLACK


def choose_lanes(spec: LoopSpec, target: Target) -> int:
    """Lanes of a kernel: two machine vectors of its widest type; one for a long program or scattered access."""
    if not target.vector_bits:
        return 1  # a lane is a work item
    varying = [i for i, same in zip(spec.program, uniform_of(spec)) if not same]
    values = [i for i in varying if i.op not in ("const", "store")]
    widest = max((ITEMSIZE[i.dtype] if i.dtype not in ("float16", "bfloat16") else 4 for i in values), default=4)
    native = min(max(target.vector_bits // 8 // widest, 2), 32)  # beyond 64 lanes code only gets longer
    long = sum(COST.get(i.op, 1) for i in varying) > 20
    scattered = any("s" in a.vector for a in spec.accesses)
    if long or scattered:
        return native
    # Down columns, each visit to a row of memory should use up its cache lines.
    return 4 * native if spec.along == "outer" and spec.inner else 2 * native
