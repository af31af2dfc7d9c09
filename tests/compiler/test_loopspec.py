"""Specs of loop kernels: levels, phases, what is kept."""

from __future__ import annotations

from luchina.compiler.body import Instruction
from luchina.compiler.loopspec import Access, LoopSpec, is_full, phases_of, record_size, repeated

FULL = Access("load", "float32", "1", True)
ROW = Access("store", "float32", "0", False)

SOFTMAX = LoopSpec(
    1,
    1,
    "inner",
    (FULL, Access("store", "float32", "1", True)),
    (
        Instruction("load", "float32", (), (0,)),
        Instruction("reduce.max", "float32", (0,)),
        Instruction("sub", "float32", (0, 1)),
        Instruction("exp", "float32", (2,)),
        Instruction("reduce.sum", "float32", (3,)),
        Instruction("div", "float32", (3, 4)),
        Instruction("store", "float32", (5,), (1,)),
    ),
)


def test_softmax_has_three_phases_and_keeps_the_exponential():
    full = is_full(SOFTMAX)
    assert full == [True, False, True, True, False, True, True]
    assert phases_of(SOFTMAX, full) == [0, 1, 1, 1, 2, 2, 2]
    assert repeated(SOFTMAX) == (3,)


def test_what_is_cheap_is_computed_again():
    program = list(SOFTMAX.program)
    program[3] = Instruction("abs", "float32", (2,))
    assert repeated(SOFTMAX._replace(program=tuple(program))) == ()


def test_the_key_tells_everything_apart():
    specs = [
        SOFTMAX,
        SOFTMAX._replace(along="outer"),
        SOFTMAX._replace(keep=(3,)),
        SOFTMAX._replace(accesses=(FULL._replace(vector="s"), SOFTMAX.accesses[1])),
        SOFTMAX._replace(accesses=(FULL._replace(masks=("1",)), SOFTMAX.accesses[1])),
        SOFTMAX._replace(accesses=(FULL, ROW)),
    ]
    assert len({str(spec) for spec in specs}) == len(specs)


def test_record_size():
    assert record_size(FULL, 3) == 5
    assert record_size(FULL._replace(masks=("1", "0"), indexed=True), 3) == 16
