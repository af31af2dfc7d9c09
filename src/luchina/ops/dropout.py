"""Dropout, given which elements stay."""

from __future__ import annotations

from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph.value import Op, Spec, Value


def _lower(x: Node, mask: Node, keep: Node) -> Node:
    """x · (mask / keep), the quotient rounded to the input's dtype first, as PyTorch's noise is."""
    inner = "float32" if x.dtype in ("float16", "bfloat16") else x.dtype
    noise = p.cast(p.binary("div", p.cast(mask, inner), p.cast(keep, inner)), x.dtype)
    return p.binary("mul", x, noise)


DROPOUT = Op(
    "dropout",
    lambda x, mask, keep: Spec(x.shape, x.dtype),
    _lower,
    lambda g, v: (DROPOUT(g, v.inputs[1], v.inputs[2]), None, None),
    ((1,), (), ()),
    "Mul",
)


def dropout(input: Value, mask: Value, keep: Value) -> Value:
    """input / keep where the mask holds, else 0; ``keep`` is the probability that an element stays, a scalar Value."""
    return DROPOUT(input, mask, keep)
