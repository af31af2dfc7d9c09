"""Sums of products over named axes, and the products that can be said with them."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

from luchina.dtypes import float32
from luchina.graph.value import Value
from luchina.ops.matmul import BMM
from luchina.ops.movement import contiguous_strides, expand, permute, reshape, strided
from luchina.ops.pointwise import dtype_title, mul
from luchina.ops.reduce import sum as sum_
from luchina.ops.registry import axis_of, broadcast, full, public


def _diagonals(x: Value, labels: list[str], operand: int) -> tuple[Value, list[str]]:
    """A label that an operand repeats keeps the elements where its axes agree."""
    while len(set(labels)) != len(labels):
        label = next(c for c in labels if labels.count(c) > 1)
        a = labels.index(label)
        b = labels.index(label, a + 1)
        if x.shape[a] != x.shape[b]:
            raise RuntimeError(
                f"einsum(): subscript {label} is repeated for operand {operand} but the sizes don't match, "
                f"{x.shape[b]} != {x.shape[a]}"
            )
        strides = contiguous_strides(x.shape)
        kept = [i for i in range(x.ndim) if i != b]
        steps = tuple(strides[i] + (strides[b] if i == a else 0) for i in kept)
        x = strided(x, tuple(x.shape[i] for i in kept), steps, 0)
        labels = [labels[i] for i in kept]
    return x, labels


def _parse(equation: str, operands: Sequence[Value]) -> tuple[list[list[str]], list[str]]:
    """Labels of each operand and of the result; an ellipsis stands for labels ``0 1 2 …`` counted from the right."""
    given = equation
    equation = equation.replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        more = "fewer" if len(terms) > len(operands) else "more"
        raise RuntimeError(f"einsum(): {more} operands were provided than specified in the equation")
    labels = []
    widest = 0
    for i, (term, x) in enumerate(zip(terms, operands)):
        for c in term.replace("...", ""):
            if c == ".":
                raise RuntimeError(f"einsum(): found '.' for operand {i} that is not part of any ellipsis")
            if not (c.isascii() and c.isalpha()):
                raise RuntimeError(
                    f"einsum(): invalid subscript given at index {given.index(c)} in the equation string, subscripts "
                    "must be in [a-zA-Z]"
                )
        named = len(term.replace("...", ""))
        free = x.ndim - named
        if free < 0 or (free and "..." not in term):
            relation = "is more than" if "..." in term else "does not match"
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) {relation} the number of dimensions "
                f"({x.ndim}) for operand {i}" + ("" if "..." in term else " and no ellipsis was given")
            )
        widest = max(widest, free)
        labels.append((term, free))
    dots = [str(i) for i in range(widest)]
    expanded = []
    for term, free in labels:
        before, _, after = term.partition("...")
        expanded.append([*before, *(dots[widest - free :] if "..." in term else []), *after])
    if arrow:
        before, has, after = right.partition("...")
        result = [*before, *(dots if has else []), *after]
        everything = {c for term in expanded for c in term}
        for c in result:
            if c not in everything:
                raise RuntimeError(
                    f"einsum(): output subscript {c} does not appear in the equation for any input operand"
                )
            if result.count(c) > 1:
                raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")
    else:
        flat = [c for term in expanded for c in term]
        result = [*dots, *sorted(c for c in set(flat) if c.isalpha() and flat.count(c) == 1)]
    return expanded, result


def _check_sizes(values: Sequence[Value], terms: list[list[str]]) -> None:
    """PyTorch's errors for labels whose sizes do not broadcast, naming the first operand that does not fit."""
    sizes: dict[str, int] = {}
    for operand, (x, labels) in enumerate(zip(values, terms)):
        seen: dict[str, int] = {}
        for c, n in zip(labels, x.shape):
            if c in seen:
                if n != seen[c]:
                    raise RuntimeError(
                        f"einsum(): subscript {c} is repeated for operand {operand} but the sizes don't match, {n} != "
                        f"{seen[c]}"
                    )
                continue
            seen[c] = n
            have = sizes.get(c, 1)
            if have not in (1, n) and n != 1:
                if c.isalpha():
                    raise RuntimeError(
                        f"einsum(): subscript {c} has size {n} for operand {operand} which does not broadcast with "
                        f"previously seen size {have}"
                    )
                raise RuntimeError(
                    f"einsum(): dimension {c} covered by ellipsis in operand {operand}has size {n} which does not "
                    f"broadcast with previously seen ellipsis with size {have} for the respective dimension"
                )
            sizes[c] = max(have, n)


def _contract(a: Value, la: list[str], b: Value, lb: list[str], keep: set[str]) -> tuple[Value, list[str]]:
    """Two operands to one: a batched matrix product over the labels that they share."""
    sizes: dict[str, int] = {}
    for x, labels in ((a, la), (b, lb)):
        for c, n in zip(labels, x.shape):
            sizes[c] = max(sizes.get(c, 1), n)
    a, la = _sum_out(a, la, keep | set(lb))
    b, lb = _sum_out(b, lb, keep | set(la))
    # A shared axis of extent 1 on one side only is a broadcast: the product is not a contraction there.
    shared = [c for c in la if c in lb]
    if any(a.shape[la.index(c)] != b.shape[lb.index(c)] for c in shared):
        order = [*la, *[c for c in lb if c not in la]]
        product = mul(_aligned(a, la, order), _aligned(b, lb, order))
        return _sum_out(product, order, keep)
    batch = [c for c in shared if c in keep]
    inner = [c for c in shared if c not in keep]
    rows = [c for c in la if c not in shared]
    columns = [c for c in lb if c not in shared]
    left = _grouped(a, la, [batch, rows, inner])
    right = _grouped(b, lb, [batch, inner, columns])
    if not inner:
        product = mul(left, right)
    else:
        product = BMM(left, right)
    labels = [*batch, *rows, *columns]
    return reshape(product, tuple(sizes[c] for c in labels)), labels


def _sum_out(x: Value, labels: list[str], keep: set[str]) -> tuple[Value, list[str]]:
    gone = [i for i, c in enumerate(labels) if c not in keep]
    if not gone:
        return x, labels
    return sum_(x, gone), [c for c in labels if c in keep]


def _aligned(x: Value, labels: list[str], order: list[str]) -> Value:
    turned = permute(x, tuple(labels.index(c) for c in order if c in labels))
    extents = iter(turned.shape)
    return reshape(turned, tuple(next(extents) if c in labels else 1 for c in order))


def _grouped(x: Value, labels: list[str], groups: list[list[str]]) -> Value:
    axes = tuple(labels.index(c) for group in groups for c in group)
    turned = permute(x, axes) if axes != tuple(range(len(axes))) else x
    shape = tuple(math.prod([x.shape[labels.index(c)] for c in group]) for group in groups)
    return reshape(turned, shape)


def _letters(numbers: Sequence[Any]) -> str:
    return "".join("..." if n is Ellipsis else string.ascii_letters[n] for n in numbers)


def _from_lists(first: Value, rest: Sequence[Any]) -> tuple[str, list[Value]]:
    """The other spelling: operand, list of numbers, operand, list of numbers, … and perhaps the result's list."""
    items = [first, *rest]
    result = "->" + _letters(items.pop()) if len(items) % 2 else ""
    return ",".join(_letters(numbers) for numbers in items[1::2]) + result, items[::2]


@public(method=False)
def einsum(equation: str, *operands: Any) -> Value:
    """Σ over the labels that the result lacks of the product of all operands.

    Source: https://pytorch.org/docs/stable/generated/torch.einsum.html
    """
    values = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    if not isinstance(equation, str):
        equation, values = _from_lists(equation, operands)
    if not values:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its "
            "subscripts list"
        )
    terms, result = _parse(equation, values)
    _check_sizes(values, terms)
    for y in values[1:]:
        if y.dtype is not values[0].dtype:
            raise RuntimeError(f"expected scalar type {dtype_title(values[0].dtype)} but found {dtype_title(y.dtype)}")
    pairs = [_diagonals(x, labels, i) for i, (x, labels) in enumerate(zip(values, terms))]
    x, labels = pairs[0]
    for i, (y, others) in enumerate(pairs[1:], 1):
        later = {c for _, rest in pairs[i + 1 :] for c in rest}
        x, labels = _contract(x, labels, y, others, later | set(result))
    x, labels = _sum_out(x, labels, set(result))
    axes = tuple(labels.index(c) for c in result)
    return permute(x, axes) if axes != tuple(range(len(axes))) else x


def contracts(args: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether an einsum call with operands of these shapes takes a matrix product on its way, from left to right."""
    equation = args[0] if isinstance(args[0], str) else _from_lists(args[0], args[1:])[0]
    values = [full(shape, 0, float32) for shape in shapes]
    if not values:
        return False
    terms, result = _parse(equation, values)
    extents = [dict(zip(labels, shape)) for labels, shape in zip(terms, shapes)]
    have = dict(extents[0])
    for i, other in enumerate(extents[1:], 1):
        kept = {*result, *(c for later in terms[i + 1 :] for c in later)}
        if any(c in have and c not in kept and have[c] != 1 and n != 1 for c, n in other.items()):
            return True
        have = {c: max(have.get(c, 1), other.get(c, 1)) for c in {*have, *other} if c in kept}
    return False


@public(method=False)
def tensordot(a: Value, b: Value, dims: Any = 2) -> Value:
    """Contraction of the last ``dims`` axes of a with the first of b, or of given pairs of axes."""
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        named = list(range(-dims, 0))
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
        named = left
    if len(left) != len(right):
        raise RuntimeError("both dimension lists should have same length")
    left = [axis_of(d, a.ndim) for d in left]
    right = [axis_of(d, b.ndim) for d in right]
    for i, j, shown in zip(left, right, named):
        if a.shape[i] != b.shape[j]:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.shape[i]} in dim {shown} and second has "
                f"size {b.shape[j]} in dim {j}"
            )
    rows = [i for i in range(a.ndim) if i not in left]
    columns = [i for i in range(b.ndim) if i not in right]
    k = math.prod([a.shape[i] for i in left])
    first = reshape(permute(a, (*rows, *left)), (1, math.prod([a.shape[i] for i in rows]), k))
    second = reshape(permute(b, (*right, *columns)), (1, k, math.prod([b.shape[i] for i in columns])))
    return reshape(BMM(first, second), (*[a.shape[i] for i in rows], *[b.shape[i] for i in columns]))


@public()
def kron(input: Value, other: Value) -> Value:
    """The Kronecker product."""
    rank = max(input.ndim, other.ndim)
    a = reshape(input, (1,) * (rank - input.ndim) + input.shape)
    b = reshape(other, (1,) * (rank - other.ndim) + other.shape)
    left = reshape(a, tuple(m for n in a.shape for m in (n, 1)))
    right = reshape(b, tuple(m for n in b.shape for m in (1, n)))
    return reshape(mul(left, right), tuple(n * m for n, m in zip(a.shape, b.shape)))


@public()
def trace(input: Value) -> Value:
    """Sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    n = min(input.shape)
    return sum_(strided(input, (n,), (input.shape[1] + 1,), 0))


@public()
def diag(input: Value, diagonal: int = 0) -> Value:
    """A vector's diagonal matrix, or a matrix's diagonal."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    n, m = input.shape
    length = max(min(n, m - diagonal) if diagonal >= 0 else min(n + diagonal, m), 0)
    start = (diagonal if diagonal >= 0 else -diagonal * m) if length else 0
    from luchina.ops.movement import clone

    return clone(strided(input, (length,), (m + 1,), start))


@public()
def diag_embed(input: Value, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Value:
    """Matrices with the last axis of the input on a diagonal."""
    from luchina.ops.movement import update
    from luchina.ops.registry import full

    n = input.shape[-1] + abs(offset)
    lead = input.shape[:-1]
    shape = (*lead, n, n)
    strides = contiguous_strides(shape)
    start = offset if offset >= 0 else -offset * n
    result = update(full(shape, 0, input.dtype), input, (*strides[:-2], n + 1), start)
    a, b = axis_of(dim1, len(shape)), axis_of(dim2, len(shape))
    if (a, b) == (len(shape) - 2, len(shape) - 1):
        return result
    axes: list[int] = [-1] * len(shape)
    axes[a], axes[b] = len(shape) - 2, len(shape) - 1
    rest = iter(range(len(lead)))
    return permute(result, tuple(next(rest) if i == -1 else i for i in axes))


@public(method=False)
def cdist(x1: Value, x2: Value, p: float = 2.0) -> Value:
    """Distances between all pairs of rows: (…, P, M), (…, R, M) → (…, P, R)."""
    from luchina.ops.pointwise import sub
    from luchina.ops.reduce import norm

    left = reshape(x1, (*x1.shape[:-1], 1, x1.shape[-1]))
    right = reshape(x2, (*x2.shape[:-2], 1, *x2.shape[-2:]))
    return norm(sub(left, right), p, -1)


@public()
def cross(input: Value, other: Value, dim: int | None = None) -> Value:
    """The vector product of 3-vectors along ``dim``."""
    from luchina.ops.movement import roll
    from luchina.ops.pointwise import sub

    if dim is None:
        dim = next((i for i, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    axis = axis_of(dim, input.ndim)
    if input.shape[axis] != 3 or other.shape[axis] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[axis]} and {other.shape[axis]}"
        )
    shape = broadcast(input, other)
    input, other = expand(input, shape), expand(other, shape)
    left = mul(roll(input, -1, axis), roll(other, 1, axis))
    return sub(left, mul(roll(input, 1, axis), roll(other, -1, axis)))
