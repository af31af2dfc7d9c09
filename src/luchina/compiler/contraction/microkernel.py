"""The micro-kernel: a tile of C in registers, one step of k after the other.

    void micro(ptr params, ptr a, ptr b, i64 count, ptr old, ptr c, i64 c_row, i1 fresh, i64 columns)

Makes the tile at ``c``, whose rows are ``c_row`` elements apart, ``sum_k a[k][m] · b[k][n]`` of ``count`` steps; unless
``fresh`` it adds the tile at ``old`` (contiguous). The sum of a block of k is one chain of fused multiply-adds for
every element wherever it lies, so that it depends on nothing but k. ``columns`` says how much of the tile exists where
B is read where it lies; its rows all exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from luchina.compiler.body import ITEMSIZE, storage_type
from luchina.compiler.contraction import lanes as v
from luchina.compiler.contraction.packing import loaded, row_length
from luchina.compiler.contraction.spec import ACCUMULATE, Params, Spec
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, vector

if TYPE_CHECKING:
    from luchina.compiler.target import Target

SIGNATURE = "ptr %params, ptr %a, ptr %b, i64 %count, ptr %old, ptr %c, i64 %c_row, i1 %fresh, i64 %columns"


# Rows of an operand that is read where it lies may be pages apart: their lines are asked for so many steps ahead.
AHEAD = 16
LINE = 64


def prefetch(e: Emitter, pointer: Operand, level: int = 1) -> None:
    """Ask for the line of an address, which need not exist, in the first or the second cache."""
    e.call("void", "llvm.prefetch.p0", pointer, *(Operand("i32", str(i)) for i in (0, 4 - level, 1)))


def multiply_add(e: Emitter, target: Target, a: Operand, b: Operand, c: Operand) -> Operand:
    """``a · b + c``, rounded once where the machine can."""
    if "i" in a.type.split("x")[-1]:
        return e.add(e.mul(a, b), c)
    if target.has_fma:
        return e.intrinsic("fma", a, b, c)
    return e.bin("fadd", e.bin("fmul", a, b), c)


def emit_micro(spec: Spec, target: Target) -> Emitter:
    """The micro-kernel of ``spec``."""
    e = Emitter()
    params = Params(e, spec)
    lanes = target.lanes(ACCUMULATE[spec.dtype])
    element = STORAGE_TYPE[ACCUMULATE[spec.dtype]]
    stored = STORAGE_TYPE[spec.dtype]
    wide = vector(element, lanes)
    a, b, c = (Operand("ptr", f"%{name}") for name in "abc")
    columns, count = Operand("i64", "%columns"), Operand("i64", "%count")

    in_rows = spec.a in ("direct", "row")
    if spec.a == "direct":
        apart = e.mul(params["a_x"], ITEMSIZE[spec.dtype])
        rows_of_a, a_type, a_step = v.Rows(e, spec.mr, apart), stored, params["a_k"]
        a_ahead = e.mul(a_step, AHEAD)
    elif spec.a == "row":
        apart = e.mul(row_length(e, count, lanes), ITEMSIZE[ACCUMULATE[spec.dtype]])
        rows_of_a, a_type, a_step = v.Rows(e, spec.mr, apart), element, e.i64(1)
    if spec.b == "direct":
        b_step = params["b_k"]
        b_ahead = e.mul(b_step, AHEAD)
        masks = [v.below(e, e.sub(columns, j * lanes), lanes) for j in range(spec.nv)]

    zero = e.const(wide, 0)
    carry = [zero] * (spec.mr * spec.nv) + [p for p, moves in ((a, in_rows), (b, spec.b == "direct")) if moves]
    with e.loop(e.i64(0), count, carry=carry) as loop:
        sums, steps = loop.carried[: spec.mr * spec.nv], loop.carried[spec.mr * spec.nv :]
        following = []
        if in_rows:
            a_at, *steps = steps
            following.append(e.gep(a_type, a_at, a_step))
            a_rows = rows_of_a.at(a_at)
            if spec.a == "direct":
                for row in dict.fromkeys((a_rows[0], a_rows[-1])):
                    prefetch(e, e.gep(stored, row, a_ahead))
        else:
            a_panel = e.gep(element, a, e.mul(loop.index, spec.mr))
        if spec.b == "direct":
            start = steps[0]
            following.append(e.gep(stored, start, b_step))
            later = e.gep(stored, start, b_ahead)
            for line in range(0, spec.nv * lanes * ITEMSIZE[spec.dtype], LINE):
                prefetch(e, e.gep("i8", later, line))
            kind = storage_type(spec.dtype, lanes)
            raw = [v.masked_load(e, kind, e.gep(stored, start, j * lanes), masks[j]) for j in range(spec.nv)]
            right = [loaded(e, spec.dtype, r) for r in raw]
        else:
            start = e.gep(element, b, e.mul(loop.index, spec.nv * lanes))
            right = [e.load(wide, e.gep(element, start, j * lanes), 4) for j in range(spec.nv)]
        new = []
        for m in range(spec.mr):
            if in_rows:
                left = e.load(a_type, a_rows[m], 1)
                left = loaded(e, spec.dtype, left) if spec.a == "direct" else left
            else:
                left = e.load(element, e.gep(element, a_panel, m), 4)
            left = e.splat(left, lanes)
            new += [multiply_add(e, target, left, right[j], sums[m * spec.nv + j]) for j in range(spec.nv)]
        loop.next = new + following
    sums = loop.carried[: spec.mr * spec.nv]
    starts = [c]
    for _ in range(1, spec.mr):
        starts.append(e.gep(element, starts[-1], Operand("i64", "%c_row")))
    places = [e.gep(element, start, j * lanes) for start in starts for j in range(spec.nv)]
    e.cond_br(Operand("i1", "%fresh"), "set", "add")
    e.label("add")
    for i, (total, place) in enumerate(zip(sums, places, strict=True)):
        old = e.load(wide, e.gep(element, Operand("ptr", "%old"), i * lanes), 4)
        e.store(e.add(old, total) if element[0] == "i" else e.bin("fadd", old, total), place, 4)
    e.br("done")
    e.label("set")
    for total, place in zip(sums, places, strict=True):
        e.store(total, place, 4)
    e.br("done")
    e.label("done")
    return e
