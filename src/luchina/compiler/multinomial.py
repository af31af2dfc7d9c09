"""Native code of ``multinomial``: choosing categories by weight, as PyTorch's CPU code does.

Without replacement, and for a single choice, each category waits for an exponential time of its weight and the first
ones win: the largest of ``p / q`` with ``q`` exponential. With replacement: a uniform number is looked up in the
cumulative sum.
"""

from __future__ import annotations

from collections.abc import Callable

from luchina.compiler.body import emit_cast, load_value, round_to
from luchina.compiler.ir import STORAGE_TYPE, Operand
from luchina.compiler.random import STATUS, Rule, unit
from luchina.compiler.target import Target

NEGATIVE, NOT_FINITE, NO_SUM, INVALID = 1, 2, 3, 4
REFUSALS = {
    NEGATIVE: "invalid multinomial distribution (encountering probability entry < 0)",
    NOT_FINITE: "invalid multinomial distribution (encountering probability entry = infinity or NaN)",
    NO_SUM: "invalid multinomial distribution (sum of probabilities <= 0)",
    INVALID: "probability tensor contains either `inf`, `nan` or element < 0",
}

# Indices of the %k largest scores, the largest first and of equals the earlier, by a heap.
_TOP_K = """
define internal i1 @above(ptr %scores, i64 %a, i64 %b) nounwind {
  %pa = getelementptr double, ptr %scores, i64 %a
  %pb = getelementptr double, ptr %scores, i64 %b
  %x = load double, ptr %pa
  %y = load double, ptr %pb
  %greater = fcmp ogt double %x, %y
  %same = fcmp oeq double %x, %y
  %earlier = icmp slt i64 %a, %b
  %tie = and i1 %same, %earlier
  %result = or i1 %greater, %tie
  ret i1 %result
}

define internal void @sift(ptr %scores, ptr %heap, i64 %start, i64 %size) nounwind {
entry:
  br label %head
head:
  %i = phi i64 [ %start, %entry ], [ %child, %swap ]
  %twice = shl i64 %i, 1
  %left = add i64 %twice, 1
  %right = add i64 %twice, 2
  %inside = icmp slt i64 %left, %size
  br i1 %inside, label %both, label %end
both:
  %left.at = getelementptr i64, ptr %heap, i64 %left
  %left.value = load i64, ptr %left.at
  %two = icmp slt i64 %right, %size
  br i1 %two, label %compare, label %choose
compare:
  %right.at = getelementptr i64, ptr %heap, i64 %right
  %right.value = load i64, ptr %right.at
  %prefer = call i1 @above(ptr %scores, i64 %right.value, i64 %left.value)
  %better = select i1 %prefer, i64 %right, i64 %left
  br label %choose
choose:
  %child = phi i64 [ %left, %both ], [ %better, %compare ]
  %child.at = getelementptr i64, ptr %heap, i64 %child
  %child.value = load i64, ptr %child.at
  %i.at = getelementptr i64, ptr %heap, i64 %i
  %i.value = load i64, ptr %i.at
  %move = call i1 @above(ptr %scores, i64 %child.value, i64 %i.value)
  br i1 %move, label %swap, label %end
swap:
  store i64 %child.value, ptr %i.at
  store i64 %i.value, ptr %child.at
  br label %head
end:
  ret void
}

define internal void @topk(ptr %scores, ptr %heap, i64 %n, i64 %k, ptr %out) nounwind {
entry:
  br label %fill
fill:
  %i = phi i64 [ 0, %entry ], [ %i1, %fill ]
  %p = getelementptr i64, ptr %heap, i64 %i
  store i64 %i, ptr %p
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %fill, label %build
build:
  %j = phi i64 [ %n, %fill ], [ %j1, %build ]
  %j1 = sub i64 %j, 1
  call void @sift(ptr %scores, ptr %heap, i64 %j1, i64 %n)
  %again = icmp sgt i64 %j1, 0
  br i1 %again, label %build, label %take
take:
  %t = phi i64 [ 0, %build ], [ %t1, %take ]
  %first = load i64, ptr %heap
  %q = getelementptr i64, ptr %out, i64 %t
  store i64 %first, ptr %q
  %t1 = add i64 %t, 1
  %left = sub i64 %n, %t1
  %last.at = getelementptr i64, ptr %heap, i64 %left
  %last = load i64, ptr %last.at
  store i64 %last, ptr %heap
  call void @sift(ptr %scores, ptr %heap, i64 0, i64 %left)
  %next = icmp slt i64 %t1, %k
  br i1 %next, label %take, label %end
end:
  ret void
}
"""

# The first of %n ascending numbers that is not below %u; binary search.
_LOOK_UP = """
define internal i64 @look_up(ptr %sums, i64 %n, double %u) nounwind {
entry:
  br label %head
head:
  %left = phi i64 [ 0, %entry ], [ %left1, %body ]
  %right = phi i64 [ %n, %entry ], [ %right1, %body ]
  %more = icmp slt i64 %left, %right
  br i1 %more, label %body, label %end
body:
  %width = sub i64 %right, %left
  %half = lshr i64 %width, 1
  %mid = add i64 %left, %half
  %p = getelementptr double, ptr %sums, i64 %mid
  %x = load double, ptr %p
  %below = fcmp olt double %x, %u
  %after = add i64 %mid, 1
  %left1 = select i1 %below, i64 %after, i64 %left
  %right1 = select i1 %below, i64 %right, i64 %mid
  br label %head
end:
  ret i64 %left
}
"""

_P, _Q, _SCRATCH = Operand("ptr", "%p"), Operand("ptr", "%q"), Operand("ptr", "%scratch")
_CATEGORIES, _SAMPLES = Operand("i64", "%categories"), Operand("i64", "%samples")


def _weight(r: Rule, base: Operand, row: Operand, column: Operand) -> Operand:
    index = r.e.add(r.e.mul(row, _CATEGORIES), column)
    return load_value(r.e, r.dtype, r.e.gep(STORAGE_TYPE[r.dtype], base, index))


def _refuse(r: Rule, where: Operand, status: int) -> None:
    """Note the first reason to refuse, where the condition holds."""
    e = r.e
    place = e.gep("i8", r.engine, STATUS)
    earlier = e.load("i64", place, 8)
    e.store(e.select(e.bin("and", where, e.icmp("eq", earlier, e.i64(0))), e.i64(status), earlier), place, 8)


def _check(r: Rule, target: Target) -> None:
    """What PyTorch asks of the whole matrix before it draws: finite, not negative, no row without weight."""
    e = r.e
    with e.loop(e.i64(0), r.n) as row, e.loop(e.i64(0), _CATEGORIES) as column:
        p = _weight(r, _P, row.index, column.index)
        good = e.bin("and", e.fcmp("oge", p, e.const(p.type, 0.0)), e.fcmp("olt", p, e.const(p.type, float("inf"))))
        _refuse(r, e.bin("xor", good, e.const("i1", 1)), INVALID)
    with e.loop(e.i64(0), r.n) as row:
        zero = e.const("double" if r.dtype == "float64" else "float", 0.0)
        with e.loop(e.i64(0), _CATEGORIES, carry=[zero]) as column:
            p = _weight(r, _P, row.index, column.index)
            column.next = [e.bin("fadd", column.carried[0], p)]
        total = round_to(e, r.dtype, column.carried[0])
        _refuse(r, e.fcmp("oeq", total, zero), NO_SUM)


def _choose(r: Rule, target: Target) -> None:
    """The ``samples`` largest of ``p / q`` in every row."""
    e = r.e
    r.helpers.append(_TOP_K)
    heap = e.gep("double", _SCRATCH, _CATEGORIES)
    with e.loop(e.i64(0), r.n) as row:
        with e.loop(e.i64(0), _CATEGORIES) as column:
            p, q = (_weight(r, base, row.index, column.index) for base in (_P, _Q))
            score = emit_cast(e, r.dtype, "float64", round_to(e, r.dtype, e.bin("fdiv", p, q)))
            # 0 / 0 is NaN, which PyTorch ranks first.
            score = e.select(e.fcmp("uno", score, score), e.const("double", float("inf")), score)
            e.store(score, e.gep("double", _SCRATCH, column.index), 8)
        out = e.gep("i64", r.out, e.mul(row.index, _SAMPLES))
        e.raw(f"call void @topk({_SCRATCH}, {heap}, {_CATEGORIES}, {_SAMPLES}, {out})")


def _replace(r: Rule, target: Target) -> None:
    """Independent choices: a serial cumulative sum, normalised, and a uniform number looked up in it."""
    e = r.e
    r.helpers.append(_LOOK_UP)
    compute = "double" if r.dtype == "float64" else "float"
    samples_out, rows = r.out, r.n
    status = e.gep("i8", r.engine, STATUS)
    with e.loop(e.i64(0), rows) as row, e.when(e.icmp("eq", e.load("i64", status, 8), e.i64(0))):
        zero = e.const(compute, 0.0)
        with e.loop(e.i64(0), _CATEGORIES, carry=[zero]) as column:
            p = _weight(r, _P, row.index, column.index)
            _refuse(r, e.fcmp("ult", p, zero), NEGATIVE)
            _refuse(r, e.fcmp("oeq", p, e.const(compute, float("inf"))), NOT_FINITE)
            total = e.bin("fadd", column.carried[0], p)
            e.store(total, e.gep("double", _SCRATCH, column.index), 8)
            column.next = [total]
        total = column.carried[0]
        _refuse(r, e.fcmp("ole", total, zero), NO_SUM)
        with e.loop(e.i64(0), _CATEGORIES) as column:
            place = e.gep("double", _SCRATCH, column.index)
            share = e.bin("fdiv", e.load(compute, place, 8), total)
            e.store(emit_cast(e, "float32", "float64", share) if compute == "float" else share, place, 8)
        e.store(e.const("double", 1.0), e.gep("double", _SCRATCH, e.sub(_CATEGORIES, 1)), 8)
        with e.when(e.icmp("eq", e.load("i64", status, 8), e.i64(0))):
            r.n = _SAMPLES
            base = e.mul(row.index, _SAMPLES)
            with r.chunks(2) as (first, count), e.loop(e.i64(0), count) as i:
                u = unit(e, "float64", r.word(i.index, 2))
                found = e.inst("i64", f"call i64 @look_up({_SCRATCH}, {_CATEGORIES}, {u})")
                e.store(found, e.gep("i64", samples_out, e.add(base, e.add(first, i.index))), 8)


_ARGUMENTS = "ptr %p, i64 %categories, i64 %samples, ptr %scratch"
RULES: dict[str, tuple[str, Callable[[Rule, Target], None]]] = {
    "multinomial_check": ("ptr %p, i64 %categories", _check),
    "multinomial": (f"ptr %q, {_ARGUMENTS}", _choose),
    "multinomial_replacement": (_ARGUMENTS, _replace),
}
