"""Recurrent layers step by step, for devices that have no kernel of their own for them.

The formulas are those of ``recurrence/cells.py``, on whole steps (B, H) of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from luchina.compiler import prims
from luchina.compiler.prims import CELLS, Node, recurrence_sections


class _State(NamedTuple):
    """h and c before or after a step, and what a step keeps for backward."""

    h: Node
    c: Node | None
    kept: tuple[Node, ...] = ()


def _add(a: Node, b: Node) -> Node:
    return prims.binary("add", a, b)


def _mul(*factors: Node) -> Node:
    result = factors[0]
    for factor in factors[1:]:
        result = prims.binary("mul", result, factor)
    return result


def _less(a: Node) -> Node:
    """1 - a."""
    return prims.binary("sub", prims.const(1.0, a.dtype), a)


def _sigmoid(a: Node) -> Node:
    return prims.unary("sigmoid", a)


def _tanh(a: Node) -> Node:
    return prims.unary("tanh", a)


def _product(a: Node, w: Node) -> Node:
    """(B, K) by (K, N)."""
    return prims.reshape(prims.dot(*(prims.reshape(x, (1, *x.shape)) for x in (a, w))), (a.shape[0], w.shape[1]))


def _row(x: Node, t: int) -> Node:
    """Step ``t`` of (T, …)."""
    rest = x.shape[1:]
    cut = prims.slice(x, (t, *(0 for _ in rest)), (1, *rest), (1,) * len(x.shape))
    return prims.reshape(cut, rest)


def _chunks(x: Node, count: int) -> list[Node]:
    """(B, count · H) in pieces (B, H)."""
    batch, width = x.shape[0], x.shape[1] // count
    return [prims.slice(x, (0, i * width), (batch, width), (1, 1)) for i in range(count)]


def _flat(xs: Sequence[Node]) -> list[Node]:
    return [prims.reshape(x, (x.size,)) for x in xs]


def _order(steps: int, reverse: bool) -> Sequence[int]:
    return range(steps)[::-1] if reverse else range(steps)


def _step(mode: str, x: list[Node], u: list[Node], before: _State) -> _State:
    h, c = before.h, before.c
    if mode == "LSTM":
        assert c is not None
        i, f, g, o = (_add(a, b) for a, b in zip(x, u))
        i, f, g, o = _sigmoid(i), _sigmoid(f), _tanh(g), _sigmoid(o)
        c = _add(_mul(f, c), _mul(i, g))
        return _State(_mul(o, _tanh(c)), c, (i, f, g, o))
    if mode == "GRU":
        r, z = (_sigmoid(_add(a, b)) for a, b in zip(x[:2], u))
        n = _tanh(_add(x[2], _mul(r, u[2])))
        return _State(_add(n, _mul(z, prims.binary("sub", h, n))), None, (r, z, n, u[2]))
    total = _add(x[0], u[0])
    if mode == "RNN_TANH":
        return _State(_tanh(total), None)
    return _State(prims.binary("maximum", total, prims.const(0.0, total.dtype)), None)


def forward(node: Node) -> dict[str, Node]:
    """The trace of a ``recurrence`` node: see ``prims.recurrence_sections``."""
    mode, reverse, keep = node.attrs
    cell = CELLS[mode]
    x, h, *rest, w = node.inputs
    c, bias = rest[0] if cell.has_c else None, rest[0] if cell.biased else None
    weights = prims.permute(w, (1, 0))
    states = [_State(h, c)]
    kept: dict[int, Node] = {}
    for t in _order(x.shape[0], reverse):
        u = _product(states[-1].h, weights)
        if bias is not None:
            u = _add(u, bias)
        states.append(_step(mode, _chunks(_row(x, t), cell.gates), _chunks(u, cell.gates), states[-1]))
        if cell.kept:
            kept[t] = prims.concat(states[-1].kept, 1)
    in_memory = states[::-1] if reverse else states
    pieces = [state.h for state in in_memory]
    if cell.has_c:
        pieces += [state.c for state in (in_memory if keep else states[-1:]) if state.c is not None]
    if keep:
        pieces += [kept[t] for t in sorted(kept)]
    return {"recurrence": prims.concat(_flat(pieces), 0)}


def _step_backward(
    mode: str, dh: Node, carried: Node | None, kept: list[Node], before: _State, after: _State
) -> tuple[tuple[Node, ...], tuple[Node, ...], Node | None]:
    """Gradients of both projections, a chunk a gate, and what is carried to the step before."""
    if mode == "LSTM":
        assert carried is not None and before.c is not None and after.c is not None
        i, f, g, o = kept
        t = _tanh(after.c)
        dc = _add(carried, _mul(dh, o, _less(_mul(t, t))))
        gates = (
            _mul(dc, g, i, _less(i)),
            _mul(dc, before.c, f, _less(f)),
            _mul(dc, i, _less(_mul(g, g))),
            _mul(dh, t, o, _less(o)),
        )
        return gates, gates, _mul(dc, f)
    if mode == "GRU":
        assert carried is not None
        r, z, n, q = kept
        dh = _add(dh, carried)
        dn = _mul(dh, _less(z), _less(_mul(n, n)))
        dr = _mul(dn, q, r, _less(r))
        dz = _mul(dh, prims.binary("sub", before.h, n), z, _less(z))
        return (dr, dz, dn), (dr, dz, _mul(dn, r)), _mul(dh, z)
    if mode == "RNN_TANH":
        gate = _mul(dh, _less(_mul(after.h, after.h)))
    else:
        zero = prims.const(0.0, dh.dtype)
        gate = prims.where(prims.binary("le", after.h, zero), zero, dh)
    return (gate,), (gate,), None


def backward(node: Node) -> dict[str, Node]:
    """The flat gradients of a ``recurrence_backward`` node."""
    mode, reverse, steps = node.attrs
    cell = CELLS[mode]
    g, gh, *gc, trace, w = node.inputs
    batch, hidden = gh.shape
    at = recurrence_sections(mode, steps, batch, hidden, True)

    def section(start: int, shape: tuple[int, ...]) -> Node:
        size = 1
        for n in shape:
            size *= n
        return prims.reshape(prims.slice(trace, (start,), (size,), (1,)), shape)

    h = section(0, (steps + 1, batch, hidden))
    c = section(at.c, (steps + 1, batch, hidden)) if cell.has_c else None
    kept = section(at.kept, (steps, batch, cell.kept * hidden)) if cell.kept else None

    def state(row: int) -> _State:
        return _State(_row(h, row), None if c is None else _row(c, row))

    dh, zeros = gh, prims.const(0.0, gh.dtype, gh.shape)
    carried: Node | None = gc[0] if gc else zeros if cell.carries else None
    dx: dict[int, Node] = {}
    du: dict[int, Node] = {}
    order = _order(steps, reverse)
    for t in reversed(order):
        before, after = (t + 1, t) if reverse else (t, t + 1)
        own = _chunks(_row(kept, t), cell.kept) if kept is not None else []
        dh = _add(_row(g, t if g.shape[0] > 1 else 0), dh)
        x_gates, u_gates, carried = _step_backward(mode, dh, carried, own, state(before), state(after))
        dx[t], du[t] = prims.concat(x_gates, 1), prims.concat(u_gates, 1)
        if t != order[0]:
            dh = _product(du[t], w)
    pieces = [dx[t] for t in range(steps)]
    if cell.biased:
        pieces += [du[t] for t in range(steps)]
    if carried is not None:
        pieces.append(carried)
    return {"recurrence_backward": prims.concat(_flat(pieces), 0)}
