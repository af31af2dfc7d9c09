"""Rows of a table by number: embeddings and one-hot vectors."""

from __future__ import annotations

from typing import Any

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph.value import Op, Spec, Value
from luchina.ops.checks import bounds, extremes
from luchina.ops.index import check_range
from luchina.ops.movement import reshape
from luchina.ops.pointwise import cast, eq
from luchina.ops.registry import full, public


def _lower_embedding(weight: Node, index: Node, padding: int) -> Node:
    rows = p.take(weight, p.reshape(index, (index.size,)))
    return p.reshape(rows, (*index.shape, weight.shape[1]))


def _lower_gradient(g: Node, index: Node, rows: int, padding: int) -> Node:
    width = g.shape[-1]
    flat = p.reshape(index, (index.size,))
    source = p.reshape(g, (index.size, width))
    if padding >= 0:
        kept = p.reshape(p.binary("ne", flat, p.const(padding, "int64")), (index.size, 1))
        source = p.where(kept, source, p.const(0, g.dtype))
    return p.scatter(p.const(0, g.dtype, (rows, width)), flat, source, "add")


EMBEDDING_GRADIENT = Op(
    "embedding_dense_backward",
    lambda g, index, rows, padding: Spec((rows, g.shape[-1]), g.dtype),
    _lower_gradient,
    lambda g, v: (EMBEDDING(g, v.inputs[1], attrs=(v.attrs[1],)), None),
    ((1,), ()),
)
EMBEDDING = Op(
    "embedding",
    lambda weight, index, padding: Spec((*index.shape, weight.shape[1]), weight.dtype),
    _lower_embedding,
    lambda g, v: (EMBEDDING_GRADIENT(g, v.inputs[1], attrs=(v.inputs[0].shape[0], v.attrs[0])), None),
    ((1,), ()),
)


def check(index: Value, weight: Value) -> None:
    """Refuse what is no table, no whole numbers, or no row of the table."""
    if weight.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"torch.{_tensor_name(index)} instead (while checking arguments for embedding)"
        )
    check_range(index, 0, weight.shape[0], "index out of range in self")


@public(function=False, method=False)
def rows(weight: Value, input: Value, padding_idx: int | None = None) -> Value:
    """Rows of ``weight`` (V, D) by number: input (…), which ``check`` has seen, → (…, D). The row ``padding_idx`` gets
    no gradient.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.embedding.html
    """
    padding = -1 if padding_idx is None else padding_idx + weight.shape[0] if padding_idx < 0 else padding_idx
    return EMBEDDING(weight, cast(input, dtypes.int64), attrs=(padding,))


def _tensor_name(x: Value) -> str:
    from luchina.ops.pointwise import dtype_title

    return f"{dtype_title(x.dtype)}Tensor"


@public(function=False, method=False)
def one_hot(tensor: Value, num_classes: int = -1) -> Value:
    """(…) class numbers → (…, num_classes) zeros with a one; int64.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html
    """
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if not tensor.size:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return full((*tensor.shape, num_classes), 0, dtypes.int64, tensor.device)
    low, high = extremes(tensor) if num_classes == -1 else bounds(tensor)
    if num_classes != -1 and not 0 <= low <= high < num_classes:
        low, high = extremes(tensor)
    if low < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = high + 1
    elif num_classes <= high:
        raise RuntimeError("Class values must be smaller than num_classes.")
    column: Any = reshape(tensor, (*tensor.shape, 1))
    return cast(eq(column, _classes(num_classes)), dtypes.int64)


def _classes(n: int) -> Value:
    return CLASSES(attrs=(n,))


CLASSES = Op("classes", lambda n: Spec((n,), dtypes.int64), lambda n: p.iota(n))
