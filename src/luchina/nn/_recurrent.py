"""Recurrent layers as functions: one call is one layer in one direction.

All input projections of a layer are one matrix product. The recurrence itself is one operation with a kernel of its own
(``ops/recurrent.py``), or goes step by step where there is none: 16-bit floats, projected states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import luchina
from luchina import Tensor
from luchina.nn import engine
from luchina.precision import in_force

State = tuple[Tensor, ...]
# A cell takes the projected input (N, G), the state, and the recurrent weights; it returns the new state, whose first
# member is the output.
Cell = Callable[..., State]


def rnn_tanh_step(projected: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh)."""
    return ((projected + engine.linear(state[0], w_hh, b_hh)).tanh(),)


def rnn_relu_step(projected: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    """h' = relu(W_ih x + b_ih + W_hh h + b_hh)."""
    return (engine.relu(projected + engine.linear(state[0], w_hh, b_hh)),)


def lstm_step(projected: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor | None = None) -> State:
    """i, f, g, o = gates; c' = σ(f) c + σ(i) tanh(g); h' = σ(o) tanh(c'), projected by ``w_hr`` if there is one."""
    h, c = state
    i, f, g, o = (projected + engine.linear(h, w_hh, b_hh)).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if w_hr is None else engine.linear(h, w_hr)), c


def gru_step(projected: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    """r, z = σ(gates); n = tanh(x_n + r (W_hn h + b_hn)); h' = n + z (h − n)."""
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, 1)
    h_r, h_z, h_n = engine.linear(h, w_hh, b_hh).chunk(3, 1)
    r = (x_r + h_r).sigmoid()
    z = (x_z + h_z).sigmoid()
    n = (x_n + r * h_n).tanh()
    return (n + z * (h - n),)


STEPS: dict[str, Cell] = {
    "RNN_TANH": rnn_tanh_step,
    "RNN_RELU": rnn_relu_step,
    "LSTM": lstm_step,
    "GRU": gru_step,
}


def layer(
    mode: str,
    input: Tensor,
    state: State,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    w_hr: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """One layer in one direction: input (T, N, I) and state (N, H) to output (T, N, H) and the last state."""
    if w_hr is None and _has_kernel(input, state, w_ih, w_hh):
        return _whole(mode, input, state, w_ih, w_hh, b_ih, b_hh, reverse)
    step = STEPS[mode]
    weights = (w_hh, b_hh) if w_hr is None else (w_hh, b_hh, w_hr)
    projected = engine.linear(input, w_ih, b_ih).unbind(0)
    outputs = []
    for x in reversed(projected) if reverse else projected:
        state = step(x, state, *weights)
        outputs.append(state[0])
    if reverse:
        outputs.reverse()
    return luchina.stack(outputs), state


def _has_kernel(*tensors: Any) -> bool:
    """float32 or float64 throughout, not empty, and no region of autocast."""
    input, state, w_ih, w_hh = tensors
    dtype = input.dtype
    same = all(t.dtype is dtype for t in (*state, w_ih, w_hh))
    return same and dtype in (luchina.float32, luchina.float64) and input.numel() > 0 and in_force(input) is None


def _whole(
    mode: str,
    input: Tensor,
    state: State,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, State]:
    """A layer as two operations: the projection of all inputs, and all steps."""
    bias = None
    if mode == "GRU":  # r multiplies W_hn h + b_hn, so that b_hh cannot be added to the input's projection
        bias = luchina.zeros(w_hh.shape[0], dtype=w_hh.dtype) if b_hh is None else b_hh
    elif b_ih is not None and b_hh is not None:
        b_ih = b_ih + b_hh
    projected = engine.linear(input, w_ih, b_ih)
    c = state[1] if mode == "LSTM" else None
    output, *last = engine.recurrent_layer(mode, projected, state[0], c, w_hh, bias, reverse)
    return output, tuple(last)


def network(
    mode: str,
    input: Tensor,
    state: State,
    weights: Sequence[Sequence[Tensor]],
    bias: bool,
    num_layers: int,
    bidirectional: bool,
    dropout: float,
    training: bool,
) -> tuple[Tensor, State]:
    """Layers on top of each other: input (T, N, I), state tensors (layers · directions, N, H).

    ``weights`` has one list for each (layer, direction), forward then reverse.
    """
    directions = 2 if bidirectional else 1
    single = num_layers * directions == 1
    last: list[State] = []
    for depth in range(num_layers):
        outputs = []
        for direction in range(directions):
            at = depth * directions + direction
            w_ih, w_hh, *rest = weights[at]
            b_ih, b_hh = rest[:2] if bias else (None, None)
            (w_hr,) = rest[2 if bias else 0 :] or (None,)
            start = tuple(s.squeeze(0) if single else s[at] for s in state)
            output, end = layer(mode, input, start, w_ih, w_hh, b_ih, b_hh, w_hr, reverse=direction == 1)
            outputs.append(output)
            last.append(end)
        input = outputs[0] if directions == 1 else luchina.cat(outputs, -1)
        if dropout > 0 and training and depth + 1 < num_layers:
            input = engine.dropout(input, dropout, True)
    return input, tuple(members[0].unsqueeze(0) if single else luchina.stack(members) for members in zip(*last))
