"""Sequences of different lengths in one tensor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import luchina
from luchina import Tensor


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Tensors (Lᵢ, *) as one (L, B, *) or, with ``batch_first``, (B, L, *), filled up with ``padding_value``.

    >>> import luchina
    >>> from luchina.nn.utils.rnn import pad_sequence
    >>> pad_sequence([luchina.ones(2), luchina.ones(3)], batch_first=True)
    tensor([[1., 1., 0.],
            [1., 1., 1.]])

    Source: https://pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_sequence.html
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: " + str(type(sequences))
        )
    given = list(sequences.unbind(0)) if isinstance(sequences, Tensor) else list(sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    rest = given[0].shape[1:]
    for i, s in enumerate(given):
        if s.shape[1:] != rest:
            raise RuntimeError(
                f"The size of tensor a ({rest}) must match the size of tensor b ({s.shape[1:]}) of sequence {i} in all "
                "dimensions but the first"
            )
    longest = max(s.shape[0] for s in given)
    padded = []
    for s in given:
        fill = s.new_full((longest - s.shape[0], *rest), padding_value)
        padded.append(luchina.cat([s, fill] if padding_side == "right" else [fill, s]) if len(fill) else s)
    return luchina.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences back, each of its own length."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[:n] for row, n in zip(rows.unbind(0), lengths.tolist())]
