"""Programs for devices that do not compute in float64: what is float64 between inputs and results is float32 there.

No tensor of such a device is float64, but a formula may be: a learning rate, the bounds of a uniform number.
"""

from __future__ import annotations

from collections.abc import Sequence

from luchina.compiler import prims
from luchina.compiler.prims import Node


def narrow(outputs: Sequence[Node]) -> list[Node]:
    """The same graph with float32 for float64."""
    made: dict[int, Node] = {}
    for node in prims.topological(outputs):
        inputs = tuple(made[id(source)] for source in node.inputs)
        dtype = "float32" if node.dtype == "float64" else node.dtype
        if node.op == "cast" and inputs[0].dtype == dtype:
            made[id(node)] = inputs[0]
        elif dtype == node.dtype and all(a is b for a, b in zip(inputs, node.inputs)):
            made[id(node)] = node
        else:
            made[id(node)] = Node(node.op, inputs, node.shape, dtype, node.attrs)
    return [made[id(node)] for node in outputs]
