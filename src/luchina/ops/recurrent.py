"""Layers of recurrent cells over all steps of a sequence, in one direction.

``recurrent_layer`` takes inputs that are projected already and goes through the steps in one native kernel, whose
trace (every h and c, and the gates) the derivative reads. Backward is one native kernel too; the gradients of the
weights are then products over all steps. A derivative that is to be derived again is written out step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from luchina.compiler import prims as p
from luchina.compiler.prims import CELLS, Node, recurrence_sections
from luchina.graph.value import Op, Spec, Value, mode
from luchina.ops.activation import RELU
from luchina.ops.matmul import LINEAR, MM, T
from luchina.ops.movement import cat, reshape, slice_, stack, sum_to
from luchina.ops.pointwise import SIGMOID, TANH, add, cast, mul, sub
from luchina.ops.registry import full, public


def _extents(x: Value | Node, w: Value | Node) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], w.shape[1]


def _states(kind: str, inputs: Sequence[Any]) -> tuple[Any, Any, Any]:
    """h₀, c₀ and the recurrent bias, None where the cell has none; ``inputs`` are what stands between x and w."""
    cell = CELLS[kind]
    return inputs[0], inputs[1] if cell.has_c else None, inputs[1] if cell.biased else None


# ---- the trace


def _infer_trace(x: Value, *rest: Any) -> Spec:
    w, kind, _, keep = rest[-4:]
    return Spec((recurrence_sections(kind, *_extents(x, w), keep).size,), x.dtype)


def _lower_trace(x: Node, *rest: Any) -> Node:
    *states, w, kind, reverse, keep = rest
    return p.recurrence(kind, x, *_states(kind, states), w, reverse, keep)


TRACE = Op("recurrence", _infer_trace, _lower_trace)
"""Everything that the forward kernel writes, see ``prims.recurrence``. No gradient goes through it."""


def _section(flat: Node, start: int, shape: tuple[int, ...]) -> Node:
    size = 1
    for n in shape:
        size *= n
    return p.reshape(p.slice(flat, (start,), (size,), (1,)), shape)


SECTION = Op("section", lambda flat, start, shape: Spec(shape, flat.dtype), _section)
"""A part of a flat result, in its own shape."""


# ---- the layer


def _infer_layer(x: Value, *rest: Any) -> list[Spec]:
    w, _, kind, _, _ = rest[-5:]
    steps, batch, hidden = _extents(x, w)
    last = Spec((batch, hidden), x.dtype)
    return [Spec((steps, batch, hidden), x.dtype), last, *([last] if CELLS[kind].has_c else [])]


def _lower_layer(x: Node, *rest: Any) -> tuple[Node, ...]:
    w, trace, kind, reverse, keep = rest[-5:]
    steps, batch, hidden = _extents(x, w)
    state = batch * hidden
    end = 0 if reverse else steps
    found = [
        _section(trace, 0 if reverse else state, (steps, batch, hidden)),
        _section(trace, end * state, (batch, hidden)),
    ]
    if CELLS[kind].has_c:
        start = recurrence_sections(kind, steps, batch, hidden, keep).c
        found.append(_section(trace, start + (end * state if keep else 0), (batch, hidden)))
    return tuple(found)


def _layer_vjp(cotangents: Sequence[Value | None], value: Value) -> tuple:
    x, *states, w, trace = value.inputs
    kind, reverse, _ = value.attrs
    steps, batch, hidden = _extents(x, w)
    cell = CELLS[kind]
    given = [*cotangents, None, None, None][:3]
    if mode.grad:
        found = _written_out(kind, reverse, given, x, *_states(kind, states), w)
    else:
        found = _native(kind, reverse, given, x, w, trace)
    rows, width = steps * batch, cell.gates * hidden
    first = (steps - 1 if reverse else 0) * batch
    du = reshape(found.du, (rows, width))
    gradients: list[Value | None] = [found.dx if x.needs_grad else None]
    if states[0].needs_grad:
        dh = MM(slice_(du, (first, 0), (batch, width), (1, 1)), w)
        gradients.append(add(dh, found.carried) if cell.biased else dh)
    else:
        gradients.append(None)
    if cell.has_c:
        gradients.append(found.carried)
    if cell.biased:
        gradients.append(sum_to(du, (width,)) if states[1].needs_grad else None)
    gradients.append(MM(T(du), found.before) if w.needs_grad else None)
    return (*gradients, None)


def _layer_op(kind: str) -> Op:
    """Inputs: x, h₀, c₀ or the bias where there is one, w, the trace; the last two are what the kernel reads."""
    count = 4 + CELLS[kind].carries
    return Op(kind.lower(), _infer_layer, _lower_layer, _layer_vjp, ((count - 2, count - 1),) * (count - 1))


LAYERS = {kind: _layer_op(kind) for kind in CELLS}


class _Found(NamedTuple):
    """Gradients of the projections of the inputs (T, B, G · H) and of h, what is carried beyond the first step, and h
    before every step (T · B, H)."""

    dx: Value
    du: Value
    carried: Value | None
    before: Value


# ---- the derivative as a kernel


def _infer_backward(g: Value, *rest: Any) -> Spec:
    *_, kind, _, steps = rest
    cell = CELLS[kind]
    _, batch, hidden = g.shape
    state = batch * hidden
    size = steps * cell.gates * state * (2 if cell.biased else 1) + (state if cell.carries else 0)
    return Spec((size,), g.dtype)


def _lower_backward(g: Node, gh: Node, *rest: Any) -> Node:
    *gc, trace, w, kind, reverse, steps = rest
    return p.recurrence_backward(kind, g, gh, gc[0] if gc else None, trace, w, steps, reverse)


BACKWARD = Op("recurrence_backward", _infer_backward, _lower_backward)


def _native(kind: str, reverse: bool, given: list[Value | None], x: Value, w: Value, trace: Value) -> _Found:
    steps, batch, hidden = _extents(x, w)
    cell, state = CELLS[kind], batch * hidden
    zeros = full((batch, hidden), 0, x.dtype)
    g, gh, gc = (None if v is None else cast(v, x.dtype) for v in given)
    if g is None:
        g = full((1, batch, hidden), 0, x.dtype)
    ends = [gh or zeros, *([gc or zeros] if cell.has_c else [])]
    flat = BACKWARD(g, *ends, trace, w, attrs=(kind, reverse, steps))
    shape = (steps, batch, cell.gates * hidden)
    every = steps * cell.gates * state
    return _Found(
        SECTION(flat, attrs=(0, shape)),
        SECTION(flat, attrs=(every if cell.biased else 0, shape)),
        SECTION(flat, attrs=(every * (2 if cell.biased else 1), (batch, hidden))) if cell.carries else None,
        SECTION(trace, attrs=(state if reverse else 0, (steps * batch, hidden))),
    )


# ---- the derivative written out, which can be derived again


def _gates(kind: str, x: Value, h: Value, w: Value, bias: Value | None) -> tuple[list[Value], list[Value]]:
    """Chunks of the projections of a step's input and of h."""
    u = LINEAR(h, w) if bias is None else LINEAR(h, w, bias)
    batch, hidden = h.shape
    return tuple(  # type: ignore[return-value]
        [slice_(v, (0, i * hidden), (batch, hidden), (1, 1)) for i in range(CELLS[kind].gates)] for v in (x, u)
    )


def _less(a: Value) -> Value:
    """1 - a."""
    return sub(1, a)


class _Step(NamedTuple):
    """One step written out: its states and gates."""

    h_before: Value
    c_before: Value | None
    h: Value
    c: Value | None
    gates: tuple[Value, ...]


def _step(kind: str, x: Value, h: Value, c: Value | None, w: Value, bias: Value | None) -> _Step:
    xs, us = _gates(kind, x, h, w, bias)
    if kind == "LSTM":
        assert c is not None
        i, f, g, o = (add(a, b) for a, b in zip(xs, us))
        i, f, g, o = SIGMOID(i), SIGMOID(f), TANH(g), SIGMOID(o)
        after = add(mul(f, c), mul(i, g))
        return _Step(h, c, mul(o, TANH(after)), after, (i, f, g, o))
    if kind == "GRU":
        r, z = (SIGMOID(add(a, b)) for a, b in zip(xs[:2], us))
        n = TANH(add(xs[2], mul(r, us[2])))
        return _Step(h, None, add(n, mul(z, sub(h, n))), None, (r, z, n, us[2]))
    total = add(xs[0], us[0])
    return _Step(h, None, TANH(total) if kind == "RNN_TANH" else RELU(total), None, ())


def _step_backward(kind: str, step: _Step, dh: Value, carried: Value | None) -> tuple[list[Value], list[Value], Any]:
    """Gradients of both projections, a chunk a gate, and what is carried to the step before."""
    if kind == "LSTM":
        assert carried is not None and step.c is not None and step.c_before is not None
        i, f, g, o = step.gates
        t = TANH(step.c)
        dc = add(carried, mul(mul(dh, o), _less(mul(t, t))))
        chunks = [
            mul(mul(dc, g), mul(i, _less(i))),
            mul(mul(dc, step.c_before), mul(f, _less(f))),
            mul(mul(dc, i), _less(mul(g, g))),
            mul(mul(dh, t), mul(o, _less(o))),
        ]
        return chunks, chunks, mul(dc, f)
    if kind == "GRU":
        assert carried is not None
        r, z, n, q = step.gates
        dh = add(dh, carried)
        dn = mul(mul(dh, _less(z)), _less(mul(n, n)))
        dr = mul(mul(dn, q), mul(r, _less(r)))
        dz = mul(mul(dh, sub(step.h_before, n)), mul(z, _less(z)))
        return [dr, dz, dn], [dr, dz, mul(dn, r)], mul(dh, z)
    if kind == "RNN_TANH":
        chunks = [mul(dh, _less(mul(step.h, step.h)))]
    else:
        assert RELU.vjp is not None
        chunks = [*RELU.vjp(dh, step.h)]  # type: ignore[list-item]
    return chunks, chunks, None


def _written_out(
    kind: str,
    reverse: bool,
    given: list[Value | None],
    x: Value,
    h: Value,
    c: Value | None,
    bias: Value | None,
    w: Value,
) -> _Found:
    steps, batch, hidden = _extents(x, w)
    zeros = full((batch, hidden), 0, x.dtype)
    times = range(steps)[::-1] if reverse else range(steps)

    def at(v: Value, t: int) -> Value:
        return reshape(slice_(v, (t, 0, 0), (1, batch, v.shape[2]), (1, 1, 1)), (batch, v.shape[2]))

    done: dict[int, _Step] = {}
    for t in times:
        step = done[t] = _step(kind, at(x, t), h, c, w, bias)
        h, c = step.h, step.c
    g, gh, gc = given
    dh: Value = gh or zeros
    carried: Value | None = (gc or zeros) if CELLS[kind].carries else None
    dx: dict[int, Value] = {}
    du: dict[int, Value] = {}
    for t in reversed(times):
        if g is not None:
            dh = add(dh, at(g, t))
        x_chunks, u_chunks, carried = _step_backward(kind, done[t], dh, carried)
        dx[t], du[t] = cat(x_chunks, 1), cat(u_chunks, 1)
        dh = MM(du[t], w)
    order = range(steps)
    before = reshape(stack([done[t].h_before for t in order]), (steps * batch, hidden))
    return _Found(stack([dx[t] for t in order]), stack([du[t] for t in order]), carried, before)


# ---- what layers call


@public(function=False, method=False)
def recurrent_layer(
    kind: str, x: Value, h0: Value, c0: Value | None, w: Value, bias: Value | None, reverse: bool = False
) -> tuple[Value, ...]:
    """All steps of cells of ``kind`` (LSTM, GRU, RNN_TANH, RNN_RELU): every h (T, B, H), the last h, and the last c of
    an LSTM.

    Shapes: x (T, B, G · H), the inputs' projections with all their biases; h0, c0 (B, H); w (G · H, H). Only a GRU
    takes ``bias`` (G · H), of the projection of h. float32 or float64, and not empty.
    """
    cell = CELLS[kind]
    inputs = [x, h0, *([c0] if cell.has_c else []), *([bias] if cell.biased else []), w]
    keep = mode.grad and any(v is not None and v.needs_grad for v in inputs)
    attrs = (kind, reverse, keep)
    trace = TRACE(*inputs, attrs=attrs)  # type: ignore[arg-type]
    return LAYERS[kind](*inputs, trace, attrs=attrs)  # type: ignore[arg-type]
