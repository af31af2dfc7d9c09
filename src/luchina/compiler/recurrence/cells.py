"""Formulas of recurrent cells over vectors, and their derivatives.

``x`` are the projections of the input and ``u`` those of h, a chunk a gate; each function stands for some units of one
row. What ``forward`` returns in ``kept`` is what ``backward`` reads in ``kept``; anything else that backward reads
it asks for by name: ``h`` and ``c`` after the step, ``h_before`` and ``c_before``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from luchina.compiler.vecmath.exponential import expm1_reduced, reduce
from luchina.compiler.vecmath.lanes import Lanes, Mathematics


def sigmoid(m: Mathematics, x: Lanes) -> Lanes:
    """1 - q or z - z·q with z = e^-|x| and q = z / (1 + z). Where z would leave the normal numbers it stays the
    smallest: a gate that is shut needs no further digits."""
    r, k = reduce(m, (-x.abs()).at_least(-708.0 if m.double else -87.0))
    z = m.fma(expm1_reduced(m, r), (power := m.power_of_two(k)), power)
    base = (x < 0.0).select(z, 1.0)
    return m.fma(base, -(z / (z + 1.0)), base)


def tanh(m: Mathematics, x: Lanes) -> Lanes:
    """-y / (y + 2) with y = e^(-2|x|) - 1, which keeps the digits of small x: one formula for all x, within 2 units of
    the last place, since y + 2 is rounded from y's parts, not from y."""
    r, k = reduce(m, (x.abs() * -2.0).at_least(-40.0 if m.double else -20.0))
    power = m.power_of_two(k)
    q = expm1_reduced(m, r)
    return (m.fma(q, power, power - 1.0) / m.fma(q, power, power + 1.0)).with_sign(x)


class Stepped(NamedTuple):
    """What a step gives: h, c (of a cell that has one), and what backward will read."""

    h: Lanes
    c: Lanes | None = None
    kept: tuple[Lanes, ...] = ()


class Derived(NamedTuple):
    """Gradients of x and of u (the same where x and u are only added), and what the step before receives besides the
    product with the recurrent weights: the gradient of c, or a share of that of h."""

    x: tuple[Lanes, ...]
    u: tuple[Lanes, ...]
    carried: Lanes | None = None


Read = Callable[[str], Lanes]


def lstm(m: Mathematics, x: list[Lanes], u: list[Lanes], h: Lanes | None, c: Lanes | None) -> Stepped:
    """c' = σ(f) c + σ(i) tanh(g); h' = σ(o) tanh(c')."""
    assert c is not None
    i, f, g, o = (a + b for a, b in zip(x, u))
    i, f, g, o = sigmoid(m, i), sigmoid(m, f), tanh(m, g), sigmoid(m, o)
    c = m.fma(f, c, i * g)
    return Stepped(o * tanh(m, c), c, (i, f, g, o))


def lstm_backward(m: Mathematics, dh: Lanes, dc: Lanes | None, kept: list[Lanes], read: Read) -> Derived:
    assert dc is not None
    i, f, g, o = kept
    t = tanh(m, read("c"))
    dc = dc + dh * o * (1.0 - t * t)
    gates = (
        dc * g * i * (1.0 - i),
        dc * read("c_before") * f * (1.0 - f),
        dc * i * (1.0 - g * g),
        dh * t * o * (1.0 - o),
    )
    return Derived(gates, gates, dc * f)


def gru(m: Mathematics, x: list[Lanes], u: list[Lanes], h: Lanes | None, c: Lanes | None) -> Stepped:
    """r, z = σ(x + u); n = tanh(x_n + r u_n); h' = n + z (h - n)."""
    assert h is not None
    r, z = (sigmoid(m, a + b) for a, b in zip(x[:2], u))
    n = tanh(m, m.fma(r, u[2], x[2]))
    return Stepped(m.fma(z, h - n, n), None, (r, z, n, u[2]))


def gru_backward(m: Mathematics, g: Lanes, carried: Lanes | None, kept: list[Lanes], read: Read) -> Derived:
    assert carried is not None
    r, z, n, q = kept
    dh = g + carried
    dn = dh * (1.0 - z) * (1.0 - n * n)
    dr = dn * q * r * (1.0 - r)
    dz = dh * (read("h_before") - n) * z * (1.0 - z)
    return Derived((dr, dz, dn), (dr, dz, dn * r), dh * z)


def rnn_tanh(m: Mathematics, x: list[Lanes], u: list[Lanes], h: Lanes | None, c: Lanes | None) -> Stepped:
    """h' = tanh(x + u)."""
    return Stepped(tanh(m, x[0] + u[0]))


def rnn_tanh_backward(m: Mathematics, dh: Lanes, carried: Lanes | None, kept: list[Lanes], read: Read) -> Derived:
    h = read("h")
    gate = (dh * (1.0 - h * h),)
    return Derived(gate, gate)


def rnn_relu(m: Mathematics, x: list[Lanes], u: list[Lanes], h: Lanes | None, c: Lanes | None) -> Stepped:
    """h' = max(x + u, 0)."""
    total = x[0] + u[0]
    return Stepped((total <= 0.0).select(0.0, total))  # NaN stays


def rnn_relu_backward(m: Mathematics, dh: Lanes, carried: Lanes | None, kept: list[Lanes], read: Read) -> Derived:
    gate = ((read("h") <= 0.0).select(0.0, dh),)
    return Derived(gate, gate)


FORWARD: dict[str, Callable[..., Stepped]] = {
    "LSTM": lstm,
    "GRU": gru,
    "RNN_TANH": rnn_tanh,
    "RNN_RELU": rnn_relu,
}
BACKWARD: dict[str, Callable[..., Derived]] = {
    "LSTM": lstm_backward,
    "GRU": gru_backward,
    "RNN_TANH": rnn_tanh_backward,
    "RNN_RELU": rnn_relu_backward,
}
