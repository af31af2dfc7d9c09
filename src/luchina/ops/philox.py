"""Random numbers of devices: Philox 4×32-10, one counter for each thread that PyTorch's CUDA kernels would start.

A number is a function of (seed, offset, its place), so a program makes it where it is used; seed and offset are
run-time numbers. Element i of n is made by thread t as the j-th number of its round r (four or two numbers a round):

    grid:    T = 256 · min(⌈n / 256⌉, blocks) threads;  t = i mod T,  r = i div (T · width),  j = i div T mod width
    vector:  v neighbours a thread (dropout, v = 4 or 2);  with k = i div v:  t = k mod T,  i mod v of round k div T

and the generator's words are ``philox(counter = (offset / 4 + r, t), key = seed)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.devices import device
from luchina.dtypes import dtype
from luchina.graph.value import Op, Spec, Value, scalar

BLOCK = 256
"""Threads of a block."""

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Layout(NamedTuple):
    """Which thread makes which elements.

    Attributes:
        blocks: of the grid, at most.
        width: numbers a round.
        vector: neighbours that a thread makes together; 1 for a grid.
    """

    blocks: int
    width: int = 4
    vector: int = 1

    def threads(self, n: int) -> int:
        """How many there are for ``n`` elements."""
        return BLOCK * min(-(-n // BLOCK), self.blocks)

    def offset(self, n: int) -> int:
        """By how much drawing ``n`` numbers moves the generator's offset on."""
        if n == 0:
            return 0
        width = 4 if self.vector > 1 else self.width
        return ((n - 1) // (self.threads(n) * width) + 1) * 4


def dropout_layout(n: int, blocks: int) -> Layout:
    """Dropout makes neighbours together where their number allows it."""
    return Layout(blocks, 4, 4 if n % 4 == 0 else 2 if n % 2 == 0 else 1)


# ---- the generator


def _const(x: int) -> Node:
    return p.const(x, "int64")


def _and(a: Node, b: int) -> Node:
    return p.binary("and", a, _const(b))


def _xor(*parts: Node) -> Node:
    result = parts[0]
    for part in parts[1:]:
        result = p.binary("xor", result, part)
    return result


def _product(a: Node, factor: int) -> tuple[Node, Node]:
    """The upper and the lower word of a word times a constant."""
    full = p.binary("mul", a, _const(factor))
    return _and(p.binary("shr", full, _const(32)), _MASK), _and(full, _MASK)


def philox(counter: tuple[Node, Node, Node, Node], key: tuple[Node, Node]) -> tuple[Node, Node, Node, Node]:
    """Four words (int64 numbers below 2³²) from four of a counter and two of a key."""
    c0, c1, c2, c3 = counter
    for step in range(_ROUNDS):
        k0, k1 = (_and(p.binary("add", k, _const(step * w & _MASK)), _MASK) for k, w in zip(key, _WEYL))
        (high0, low0), (high1, low1) = _product(c0, _MULTIPLIERS[0]), _product(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = _xor(high1, c1, k0), low1, _xor(high0, c3, k1), low0
    return c0, c1, c2, c3


class _Words(NamedTuple):
    """The four words of each element's round, and which of them (of ``width``) are its own."""

    words: tuple[Node, Node, Node, Node]
    place: Node | None  # None: the first

    def choose(self, options: list[Node]) -> Node:
        """For each element its own of a round's numbers."""
        if self.place is None:
            return options[0]
        result = options[-1]
        for number, option in reversed(list(enumerate(options[:-1]))):
            result = p.where(p.binary("eq", self.place, _const(number)), option, result)
        return result


def _words(low: Node, high: Node, round_: Node, n: int, layout: Layout) -> _Words:
    i, threads = p.iota(n), layout.threads(n)
    turn: Node | None = None
    place: Node | None = None
    if layout.vector > 1:
        group = p.binary("idiv", i, _const(layout.vector))
        place = p.binary("irem", i, _const(layout.vector))
        thread = group
        if n > threads * layout.vector:
            thread, turn = p.binary("irem", group, _const(threads)), p.binary("idiv", group, _const(threads))
            if layout.vector == 2:  # two turns share four numbers
                second = p.binary("irem", turn, _const(2))
                place = p.binary("add", place, p.binary("mul", second, _const(2)))
                turn = p.binary("idiv", turn, _const(2))
    elif n <= threads:
        thread = i
    else:
        thread, row = p.binary("irem", i, _const(threads)), p.binary("idiv", i, _const(threads))
        place, turn = p.binary("irem", row, _const(layout.width)), p.binary("idiv", row, _const(layout.width))
    at = round_ if turn is None else p.binary("add", round_, turn)
    counter = (_and(at, _MASK), _and(p.binary("shr", at, _const(32)), _MASK), thread, _const(0))
    return _Words(philox(counter, (low, high)), place)


# ---- from words to numbers


def _unit(word: Node) -> Node:
    """(0, 1] from 32 bits."""
    return _scaled(word, "float32", 2.0**-32)


def _scaled(word: Node, dtype: str, unit: float) -> Node:
    """unit · (word + 1/2)."""
    x = p.binary("mul", p.cast(word, dtype), p.const(unit, dtype))
    return p.binary("add", x, p.const(unit / 2, dtype))


def _bits(a: Node, b: Node) -> Node:
    """53 bits of two words."""
    return _xor(a, p.binary("shl", b, _const(21)))


def _pairs(words: tuple[Node, ...]) -> list[Node]:
    return [_bits(words[0], words[1]), _bits(words[2], words[3])]


def units(drawn: _Words, wide: bool) -> Node:
    """Uniform in (0, 1]: float32, or float64 if ``wide``."""
    if wide:
        return drawn.choose([_scaled(pair, "float64", 2.0**-53) for pair in _pairs(drawn.words)])
    return _unit(drawn.choose(list(drawn.words)))


def _uniform(drawn: _Words, d: str, low: Node, high: Node) -> Node:
    """low + u · (high - low), rounded once; ``low`` in place of ``high``."""
    low, high = (p.cast(p.cast(x, d), "float64") for x in (low, high))
    u = p.cast(units(drawn, d == "float64"), "float64")
    value = p.cast(p.binary("add", p.binary("mul", u, p.binary("sub", high, low)), low), d)
    first, last = p.cast(low, d), p.cast(high, d)
    return p.where(p.binary("eq", value, p.expand(last, value.shape)), p.expand(first, value.shape), value)


def _box_muller(u: Node, turn: Node) -> list[Node]:
    """Two normal numbers from u in (0, 1] and an angle."""
    radius = p.unary("sqrt", p.binary("mul", p.unary("log", u), p.const(-2.0, u.dtype)))
    return [p.binary("mul", p.unary(f, turn), radius) for f in ("sin", "cos")]


def _normal(drawn: _Words, d: str, mean: Node, std: Node) -> Node:
    w = drawn.words
    if d == "float64":
        u, v = (_scaled(pair, "float64", 2.0**-53) for pair in _pairs(w))
        both = _box_muller(u, p.binary("mul", v, p.const(2 * math.pi, "float64")))
        z = drawn.choose(both)
    else:
        numbers: list[Node] = []
        for x, y in (w[:2], w[2:]):
            angle = p.cast(_scaled(y, "float64", 2.0**-32 * 2 * math.pi), "float32")
            numbers += _box_muller(_unit(x), angle)
        z = drawn.choose(numbers)
    inner = z.dtype
    return p.cast(p.binary("add", p.binary("mul", z, p.cast(std, inner)), p.cast(mean, inner)), d)


def _remainder(high: Node, low: Node, count: Node) -> Node:
    """The unsigned number of two words modulo a positive int64."""
    half = p.binary("add", p.binary("mul", high, _const(1 << 31)), p.binary("shr", low, _const(1)))
    twice = p.binary("irem", half, count)
    left = p.binary("sub", count, twice)
    twice = p.where(p.binary("ge", twice, left), p.binary("sub", twice, left), p.binary("add", twice, twice))
    last = p.binary("add", twice, _and(low, 1))
    return p.where(p.binary("ge", last, count), p.binary("sub", last, count), last)


def _integers(drawn: _Words, d: str, low: Node, count: Node) -> Node:
    """low + word mod count."""
    word = drawn.choose(list(drawn.words))
    found = p.binary("irem", word, p.expand(count, word.shape))
    return p.cast(p.binary("add", found, low), d)


def _wide_integers(drawn: _Words, d: str, low: Node, count: Node) -> Node:
    """The same of 64 bits; 0 stands for 2⁶³."""
    w = drawn.words
    high, last = drawn.choose([w[0], w[2]]), drawn.choose([w[1], w[3]])
    count = p.expand(count, high.shape)
    half_range = p.binary("eq", count, _const(0))
    masked = p.binary("add", p.binary("mul", _and(high, _MASK >> 1), _const(1 << 32)), last)
    found = p.where(half_range, masked, _remainder(high, last, p.where(half_range, _const(1), count)))
    return p.cast(p.binary("add", found, low), d)


def _below(drawn: _Words, d: str, chance: Node) -> Node:
    """Whether u < chance."""
    u = units(drawn, d == "float64")
    return p.cast(p.binary("lt", u, p.expand(p.cast(chance, u.dtype), u.shape)), d)


def _exponential(drawn: _Words, d: str, rate: Node) -> Node:
    """-ln(u) / rate, with the smallest step below 1 in place of 1, so that nothing is 0."""
    u = units(drawn, d == "float64")
    step = 2.0**-53 if d == "float64" else 2.0**-24
    logarithm = p.where(p.binary("ge", u, p.const(1 - step, u.dtype)), p.const(-step, u.dtype), p.unary("log", u))
    return p.cast(p.binary("mul", p.binary("div", p.const(-1.0, u.dtype), p.cast(rate, u.dtype)), logarithm), d)


RULES: dict[str, Callable[..., Node]] = {
    "uniform": _uniform,
    "normal": _normal,
    "integers": _integers,
    "wide_integers": _wide_integers,
    "bernoulli": _below,
    "exponential": _exponential,
}


def width_of(rule: str, d: dtype) -> int:
    """Numbers that a round gives."""
    return 2 if rule == "wide_integers" or (d.name == "float64" and rule != "integers") else 4


def _lower(low: Node, high: Node, round_: Node, *rest: Any) -> Node:
    *arguments, rule, shape, d, layout, _ = rest
    n = math.prod(shape)
    if not n:
        return p.const(0, d.name, shape)
    drawn = _words(low, high, round_, n, layout)
    return p.reshape(RULES[rule](drawn, d.name, *arguments), shape)


PHILOX = Op("philox", lambda *args: Spec(args[-4], args[-3]), _lower)
"""Inputs: both words of the seed, a fourth of the offset, the rule's numbers; attributes: rule, shape, dtype, layout,
device."""


def draw(
    seed: int, offset: int, rule: str, shape: tuple[int, ...], d: dtype, layout: Layout, where: device, *arguments: Any
) -> Value:
    """Random numbers of a rule."""
    numbers = [scalar(x) for x in (seed & _MASK, seed >> 32, offset // 4, *arguments)]
    return PHILOX(*numbers, attrs=(rule, shape, d, layout, where))
