"""Matrix products."""

from __future__ import annotations

from luchina import dtypes
from luchina.compiler import prims as p
from luchina.compiler.prims import Node
from luchina.graph.value import Op, Spec, Value
from luchina.ops.movement import T, expand, reshape, transpose
from luchina.ops.pointwise import add, dtype_title, mul
from luchina.ops.registry import broadcast_shapes, public


def _same_dtype(a: Value, b: Value, what: str = "mat1 and mat2") -> None:
    if a.dtype is not b.dtype:
        names = {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
                 "int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char",
                 "uint8": "unsigned char", "bool": "bool"}  # fmt: skip
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {names[a.dtype.name]} != {names[b.dtype.name]}"
        )


def _refuse_bool(what: str, *operands: Value) -> None:
    """PyTorch multiplies no matrices of bools, unless there is nothing to multiply."""
    if operands[0].dtype is dtypes.bool_ and all(0 not in x.shape for x in operands):
        raise NotImplementedError(f"\"{what}\" not implemented for 'Bool'")


def _mm_spec(a: Value, b: Value) -> Spec:
    if a.ndim != 2 or b.ndim != 2:
        raise RuntimeError("self must be a matrix" if a.ndim != 2 else "mat2 must be a matrix")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and {b.shape[0]}x{b.shape[1]})"
        )
    _same_dtype(a, b)
    _refuse_bool("addmm_impl_cpu_", a, b)
    return Spec((a.shape[0], b.shape[1]), a.dtype)


def lower_dot(a: Node, b: Node) -> Node:
    """A batched product in the operands' dtype. Of bools there is only the empty one (see ``_refuse_bool``)."""
    if a.dtype == "bool":
        return p.cast(p.dot(p.cast(a, "int32"), p.cast(b, "int32")), "bool")
    return p.dot(a, b)


def _lower_mm(a: Node, b: Node) -> Node:
    product = lower_dot(p.reshape(a, (1, *a.shape)), p.reshape(b, (1, *b.shape)))
    return p.reshape(product, product.shape[1:])


MM = Op(
    "mm",
    _mm_spec,
    _lower_mm,
    lambda g, v: (
        MM(g, T(v.inputs[1])) if v.inputs[0].needs_grad else None,
        MM(T(v.inputs[0]), g) if v.inputs[1].needs_grad else None,
    ),
    ((1,), (0,)),
)


@public()
def mm(input: Value, mat2: Value) -> Value:
    """Product of two matrices: (n, m) · (m, k) → (n, k)."""
    return MM(input, mat2)


def _bmm_spec(a: Value, b: Value) -> Spec:
    if a.ndim != 3 or b.ndim != 3:
        which = "batch1" if a.ndim != 3 else "batch2"
        raise RuntimeError(f"{which} must be a 3D tensor")
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{a.shape[0]}, {a.shape[2]}] but got: "
            f"[{b.shape[0]}, {b.shape[1]}]."
        )
    _same_dtype(a, b)
    _refuse_bool("bmm", a, b)
    return Spec((a.shape[0], a.shape[1], b.shape[2]), a.dtype)


BMM = Op(
    "bmm",
    _bmm_spec,
    lower_dot,
    lambda g, v: (
        BMM(g, transpose(v.inputs[1], 1, 2)) if v.inputs[0].needs_grad else None,
        BMM(transpose(v.inputs[0], 1, 2), g) if v.inputs[1].needs_grad else None,
    ),
    ((1,), (0,)),
)


@public()
def bmm(input: Value, mat2: Value) -> Value:
    """Products of the matrices of two batches: (b, n, m) · (b, m, k) → (b, n, k)."""
    return BMM(input, mat2)


def _mv_spec(a: Value, b: Value) -> Spec:
    if a.ndim != 2 or b.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got 1, {a.ndim}, {b.ndim}")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({a.shape[0]}), mat ({a.shape[0]}x{a.shape[1]}), vec ({b.shape[0]})"
        )
    _same_dtype(a, b)
    _refuse_bool("addmv_impl_cpu", a, b)
    return Spec((a.shape[0],), a.dtype)


def _lower_mv(a: Node, b: Node) -> Node:
    return p.reshape(_lower_mm(a, p.reshape(b, (b.size, 1))), (a.shape[0],))


MV = Op(
    "mv",
    _mv_spec,
    _lower_mv,
    lambda g, v: (
        mul(reshape(g, (g.size, 1)), reshape(v.inputs[1], (1, v.inputs[1].size))) if v.inputs[0].needs_grad else None,
        MV(T(v.inputs[0]), g) if v.inputs[1].needs_grad else None,
    ),
    ((1,), (0,)),
)


@public()
def mv(input: Value, vec: Value) -> Value:
    """Matrix times vector: (n, m) · (m,) → (n,)."""
    return MV(input, vec)


def _dot_spec(a: Value, b: Value) -> Spec:
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors")
    if a.dtype is not b.dtype:
        names = {"float32": "Float", "float64": "Double", "int64": "Long", "int32": "Int", "float16": "Half"}
        raise RuntimeError(
            "dot : expected both vectors to have same dtype, but found "
            f"{names.get(a.dtype.name, a.dtype.name)} and {names.get(b.dtype.name, b.dtype.name)}"
        )
    if a.shape != b.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to have the same number "
            f"of elements, but got {a.shape[0]} and {b.shape[0]} elements respectively"
        )
    _refuse_bool("dot", a, b)
    return Spec((), a.dtype)


DOT = Op(
    "dot",
    _dot_spec,
    lambda a, b: p.reshape(_lower_mm(p.reshape(a, (1, a.size)), p.reshape(b, (b.size, 1))), ()),
    lambda g, v: (
        mul(g, v.inputs[1]) if v.inputs[0].needs_grad else None,
        mul(g, v.inputs[0]) if v.inputs[1].needs_grad else None,
    ),
    ((1,), (0,)),
)


@public()
def dot(input: Value, tensor: Value) -> Value:
    """Scalar product ⟨input, tensor⟩ of two vectors."""
    return DOT(input, tensor)


@public()
def matmul(input: Value, other: Value) -> Value:
    """The matrix product, with PyTorch's rules for vectors and batches.

    1-d · 1-d is a scalar product, a 1-d operand counts as a row (left) or a column (right), and leading
    dimensions broadcast.

    Source: https://pytorch.org/docs/stable/generated/torch.matmul.html
    """
    a, b = input.ndim, other.ndim
    if a == 2 and b == 2:
        return MM(input, other)
    if a == 0 or b == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {a}D and {b}D")
    if a == 1 and b == 1:
        return DOT(input, other)
    if a == 2 and b == 1:
        return MV(input, other)
    if a == 1:
        row = matmul(reshape(input, (1, input.size)), other)
        return reshape(row, row.shape[:-2] + row.shape[-1:])
    if b == 1:
        column = matmul(input, reshape(other, (other.size, 1)))
        return reshape(column, column.shape[:-1])
    if b == 2:
        # One tall product: a batch of rows against one matrix.
        *lead, m = input.shape
        flat = reshape(input, (input.size // m if m else _rows(lead), m))
        return reshape(MM(flat, other), (*lead, other.shape[1]))
    batch = broadcast_shapes(input.shape[:-2], other.shape[:-2])
    n = 1
    for extent in batch:
        n *= extent
    left = reshape(expand(input, (*batch, *input.shape[-2:])), (n, *input.shape[-2:]))
    right = reshape(expand(other, (*batch, *other.shape[-2:])), (n, *other.shape[-2:]))
    product = BMM(left, right)
    return reshape(product, (*batch, *product.shape[1:]))


def _rows(lead: list[int]) -> int:
    n = 1
    for extent in lead:
        n *= extent
    return n


@public()
def addmm(input: Value, mat1: Value, mat2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """beta · input + alpha · (mat1 · mat2); of integers, the factors are cut to integers."""
    product = MM(mat1, mat2)
    if not product.dtype.is_floating_point:
        beta, alpha = int(beta), int(alpha)
    if alpha != 1:
        product = mul(product, alpha)
    return product if beta == 0 else add(product, input if beta == 1 else mul(input, beta))


@public()
def baddbmm(input: Value, batch1: Value, batch2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """beta · input + alpha · (batch1 · batch2), matrix by matrix."""
    product = BMM(batch1, batch2)
    if alpha != 1:
        product = mul(product, alpha)
    return product if beta == 0 else add(product, input if beta == 1 else mul(input, beta))


@public("ger")
def outer(input: Value, vec2: Value) -> Value:
    """input ⊗ vec2: (n,), (m,) → (n, m)."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(
            f"outer: Expected 1-D argument {'self' if input.ndim != 1 else 'vec2'}, but got "
            f"{(input if input.ndim != 1 else vec2).ndim}-D"
        )
    return mul(reshape(input, (input.size, 1)), reshape(vec2, (1, vec2.size)))


# ---- the linear layer


def _linear_spec(x: Value, w: Value, bias: Value | None = None) -> Spec:
    if w.ndim == 1:
        return Spec(x.shape[:-1], x.dtype)
    if x.shape[-1] != w.shape[1]:
        rows = x.size // x.shape[-1] if x.shape[-1] else 0
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and {w.shape[1]}x{w.shape[0]})"
        )
    if x.dtype is not w.dtype:
        raise RuntimeError(
            f"mat1 and mat2 must have the same dtype, but got {dtype_title(x.dtype)} and {dtype_title(w.dtype)}"
        )
    if bias is not None and bias.shape not in ((w.shape[0],), (1,), ()):
        raise RuntimeError(
            f"The expanded size of the tensor ({w.shape[0]}) must match the existing size ({bias.shape[-1]}) at "
            f"non-singleton dimension 1.  Target sizes: [{x.size // x.shape[-1]}, {w.shape[0]}].  Tensor sizes: "
            f"{list(bias.shape)}"
        )
    _refuse_bool("addmm_impl_cpu_", x, w)
    return Spec((*x.shape[:-1], w.shape[0]), x.dtype)


def _lower_linear(x: Node, w: Node, bias: Node | None = None) -> Node:
    rows = _rows(list(x.shape[:-1]))
    flat = p.reshape(x, (1, rows, x.shape[-1]))
    turned = p.permute(p.reshape(w, (1, *w.shape)), (0, 2, 1))
    product = p.dot(flat, turned)
    if bias is not None:
        product = p.binary("add", product, bias)
    return p.reshape(product, (*x.shape[:-1], w.shape[0]))


def _linear_vjp(g: Value, v: Value) -> tuple:
    x, w = v.inputs[:2]
    rows = _rows(list(x.shape[:-1]))
    flat = reshape(g, (rows, w.shape[0]))
    gx = reshape(MM(flat, w), x.shape) if x.needs_grad else None
    gw = MM(T(flat), reshape(x, (rows, x.shape[-1]))) if w.needs_grad else None
    if len(v.inputs) == 2:
        return gx, gw
    return gx, gw, (flat if v.inputs[2].needs_grad else None)


LINEAR = Op("linear", _linear_spec, _lower_linear, _linear_vjp, ((1,), (0,), ()), "Addmm")


@public(function=False, method=False)
def linear(input: Value, weight: Value, bias: Value | None = None) -> Value:
    """y = x Wᵀ + b for x (…, in), W (out, in), b (out,).

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.linear.html
    """
    if weight.ndim == 1:
        result = matmul(input, weight)
        return result if bias is None else add(result, bias)
    return LINEAR(input, weight) if bias is None else LINEAR(input, weight, bias)
