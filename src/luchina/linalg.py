"""Linear algebra: norms, the QR factorisation, products of several matrices.

Source: https://pytorch.org/docs/stable/linalg.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import luchina
from luchina import dtypes
from luchina.dtypes import dtype
from luchina.tensor import Tensor


class linalg_qr(NamedTuple):
    """Q with orthonormal columns and upper triangular R: A = QR."""

    Q: Tensor
    R: Tensor


def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None
) -> Tensor:
    """(Σ|x|ᵖ)^(1/p) over the given dimensions, or over all elements.

    >>> import luchina
    >>> luchina.linalg.vector_norm(luchina.tensor([3., 4.]))
    tensor(5.)
    """
    _floating("linalg.vector_norm", x)
    x = x if dtype is None else x.to(dtype)
    dims = list(range(x.ndim)) if dim is None else dim
    return x.norm(float(ord), dims, keepdim)


def _floating(name: str, x: Tensor) -> None:
    if not x.dtype.is_floating_point:
        title = x.type().removeprefix("torch.").removesuffix("Tensor")
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {title}")


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *, dtype: dtype | None = None
) -> Tensor:
    """A norm of matrices: ``"fro"``, or 1, −1, inf, −inf: the largest or smallest sum of a column or row."""
    _floating("linalg.matrix_norm", A)
    if A.ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    A = A if dtype is None else A.to(dtype)
    if ord == "fro":
        return A.norm(2, list(dim), keepdim)
    if ord in (2, -2, "nuc"):
        raise NotImplementedError(f"linalg.matrix_norm with ord={ord!r} needs the singular values, which are missing")
    if ord not in (1, -1, math.inf, -math.inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    rows, columns = (d % A.ndim for d in dim)
    summed, left = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = A.abs().sum(summed, keepdim=True)
    result = sums.amax(left, keepdim=True) if ord > 0 else sums.amin(left, keepdim=True)
    return result if keepdim else result.squeeze((rows, columns))


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """A vector norm or, where ``ord`` or two dimensions ask for it, a matrix norm.

    >>> import luchina
    >>> luchina.linalg.norm(luchina.tensor([[3., 4.], [6., 8.]]), dim=1)
    tensor([ 5., 10.])
    """
    _floating("linalg.norm", A)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if A.ndim not in (1, 2):
            raise RuntimeError(
                f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D."
            )
        dim = (0,) if A.ndim == 1 else (0, 1)
    if isinstance(dim, int) or len(dim) == 1:
        if isinstance(ord, str):
            raise RuntimeError("linalg.matrix_norm: dim must be a 2-tuple.")
        return vector_norm(A, ord, dim, keepdim, dtype=dtype)
    return matrix_norm(A, ord, dim, keepdim, dtype=dtype)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices, in the order that takes the fewest multiplications."""
    if len(tensors) < 2:
        raise RuntimeError("multi_dot(): expected at least 2 tensors but got " + str(len(tensors)))
    extents = [tensors[0].shape[0] if tensors[0].ndim == 2 else 1, *(t.shape[-1] for t in tensors[:-1])]
    extents.append(tensors[-1].shape[-1] if tensors[-1].ndim == 2 else 1)
    n = len(tensors)
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            best[i, j] = min(
                (best[i, k][0] + best[k + 1, j][0] + extents[i] * extents[k + 1] * extents[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return tensors[i]
        k = best[i, j][1]
        return product(i, k) @ product(k + 1, j)

    return product(0, n - 1)


def qr(A: Tensor, mode: str = "reduced") -> linalg_qr:
    """A = QR by Householder reflections, with LAPACK's signs (computed in float64). It has no derivative here.

    ``mode``: ``"reduced"`` (Q: m×k, R: k×n, k = min(m, n)), ``"complete"`` (m×m, m×n), ``"r"`` (Q is empty).

    >>> import luchina
    >>> q, r = luchina.linalg.qr(luchina.tensor([[3., 1.], [4., 2.]]))
    >>> luchina.allclose(q @ r, luchina.tensor([[3., 1.], [4., 2.]]), atol=1e-6)
    True
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    if A.ndim < 2:
        raise RuntimeError("linalg.qr: The input tensor A must have at least 2 dimensions.")
    if A.dtype not in (dtypes.float32, dtypes.float64):
        raise NotImplementedError(f"linalg.qr is there for float32 and float64, not for {A.dtype}")
    if A.requires_grad and luchina.is_grad_enabled():
        raise NotImplementedError("linalg.qr has no derivative yet: give it A.detach()")
    with luchina.no_grad():
        batch, (m, n) = A.shape[:-2], A.shape[-2:]
        pairs = [_householder(a, mode) for a in A.detach().reshape(-1, m, n)]
        q = luchina.stack([p[0] for p in pairs]).reshape(*batch, *pairs[0][0].shape)
        r = luchina.stack([p[1] for p in pairs]).reshape(*batch, *pairs[0][1].shape)
    return linalg_qr(q.to(A.dtype) if mode != "r" else A.new_empty(0), r.to(A.dtype))


def _householder(A: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """One matrix. Every step has the same shapes (what is done already is masked), so all are one program."""
    m, n = A.shape
    r = A.to(dtypes.float64, copy=True)
    q = luchina.eye(m, dtype=dtypes.float64)
    rows = luchina.arange(m)
    for k in range(min(m - 1, n)):
        column = luchina.where(rows >= k, r[:, k], 0.0)
        head = r[k, k]
        length = column.norm()
        # The reflection sends the column to ∓‖column‖, away from its head, so that nothing cancels.
        v = column + luchina.where(rows == k, luchina.where(head >= 0, length, -length), 0.0)
        square = (v * v).sum()
        scaled = v * luchina.where(square > 0, 2 / square, 0.0)
        r -= luchina.outer(scaled, v @ r)
        q -= luchina.outer(q @ v, scaled)
        q.data_ptr()  # computed now: one program a step
    k = m if mode == "complete" else min(m, n)
    return q[:, :k], r[:k].triu()
