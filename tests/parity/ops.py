"""The database of operations: expressions, what they are tried on, and in which dtypes.

Each expression is evaluated on every sample; ``x``, ``y``, ``z`` are its tensors. Where ``grad`` is asked for, it is
evaluated again in float64 and the gradients of all floating inputs for a random cotangent are compared too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from parity.harness import Raised, data, plain, register, tensor

FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTS = ["int64", "int32", "int16", "int8", "uint8"]
ALL = [*FLOATS, *INTS, "bool"]
NUMBERS = [*FLOATS, *INTS]
NAN, INF = float("nan"), float("inf")

# A sample gives the arrays of x, y, z for a dtype; its name may end in a layout letter for x: see harness.tensor.
Sample = Callable[[str], Sequence[np.ndarray]]


def evaluate(torch: Any, expression: str, arrays: Sequence[np.ndarray], dtype: str, layout: str, grad: bool) -> Any:
    """The expression's plain result (or what it raised), with the gradients of its inputs."""
    own = [a if np.asarray(a).dtype.kind in "ib" and "int" not in dtype and dtype != "bool" else None for a in arrays]
    inputs = [
        tensor(torch, a, dtype if o is None else str(np.asarray(a).dtype), layout if i == 0 else "", grad and o is None)
        for i, (a, o) in enumerate(zip(arrays, own))
    ]
    names = dict(zip("xyz", inputs))
    try:
        result = eval(expression.replace("F.", "torch.nn.functional."), {"torch": torch, "inf": INF, "nan": NAN}, names)
        if not grad:
            return plain(result, torch)
        found: dict[str, Any] = {"value": result}
        several = result if isinstance(result, (tuple, list)) else [result]
        several = [r for r in several if r.requires_grad]
        loss = 0
        for i, r in enumerate(several):
            cotangent = tensor(torch, data(90 + i, *r.shape, dtype="float64")).to(r.dtype)
            loss = (r * cotangent).sum() + loss
        if several:
            loss.backward()
            found |= {f"grad {name}": x.grad for name, x in names.items() if x.is_floating_point()}
        return plain(found, torch)
    except Exception as error:
        return Raised(type(error).__name__, str(error))


def cases(
    group: str,
    expressions: str,
    samples: dict[str, Sample],
    dtypes: Sequence[str] = ("float32",),
    *,
    grad: bool = False,
    ulps: float = 8,
    spread: bool = True,
    layouts: Sequence[str] = ("",),
) -> None:
    """Register one program for each line of ``expressions``."""
    for expression in filter(None, map(str.strip, expressions.splitlines())):

        def run(torch: Any, expression: str = expression) -> dict[str, Any]:
            results = {}
            for label, sample in samples.items():
                for layout in layouts:
                    for dtype in dtypes:
                        arrays = [np.asarray(a) for a in sample(dtype)]
                        results[f"{label}{layout} {dtype}"] = evaluate(torch, expression, arrays, dtype, layout, False)
                if grad:
                    arrays = [np.asarray(a) for a in sample("float64")]
                    results[f"{label} gradient"] = evaluate(torch, expression, arrays, "float64", "", True)
            return results

        register(f"ops.{group}: {expression}", run, ulps=ulps, spread=spread)


def make(seed: int, *shapes: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> Sample:
    """Random arrays of the given shapes."""
    return lambda dtype: [data(seed + i, *shape, low=low, high=high, dtype=dtype) for i, shape in enumerate(shapes)]


def listed(*arrays: Any) -> Sample:
    """Given numbers, in the dtype asked for (nan and inf only where the dtype has them)."""

    def sample(dtype: str) -> list[np.ndarray]:
        result = []
        for a in arrays:
            a = np.asarray(a)
            if a.dtype.kind == "f" and ("int" in dtype or dtype == "bool"):
                a = np.nan_to_num(a, nan=3, posinf=7, neginf=5)
                a = np.abs(a) if dtype == "uint8" else a
            result.append(a.astype(dtype if dtype != "bfloat16" else "float32") if a.dtype.kind == "f" else a)
        return result

    return sample


# ---- pointwise

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 1.5, 3.0, 100.0, -100.0, 1e-3, NAN, INF, -INF]
one = {
    "special": listed(SPECIAL),
    "0-d": listed(0.7),
    "empty": listed(np.zeros((0, 3))),
    "matrix": make(1, (5, 7)),
}
cases(
    "pointwise",
    """
    torch.exp(x)
    x.expm1()
    torch.exp2(x)
    torch.log(x)
    torch.log2(x)
    torch.log10(x)
    torch.log1p(x)
    torch.sqrt(x)
    torch.rsqrt(x)
    torch.sin(x)
    x.cos()
    torch.tan(x)
    torch.asin(x)
    torch.acos(x)
    torch.atan(x)
    torch.sinh(x)
    torch.cosh(x)
    torch.tanh(x)
    torch.sigmoid(x)
    torch.erf(x)
    torch.reciprocal(x)
    torch.asinh(x)
    torch.acosh(x)
    torch.atanh(x)
    torch.erfc(x)
    """,
    one,
    [*FLOATS, "int64", "uint8", "bool"],
    grad=True,
    ulps=6,
    spread=False,
)
cases(
    "pointwise",
    """
    torch.abs(x)
    torch.sign(x)
    torch.neg(x)
    -x
    +x
    torch.floor(x)
    torch.ceil(x)
    torch.round(x)
    torch.trunc(x)
    torch.square(x)
    torch.isnan(x)
    torch.isinf(x)
    torch.isfinite(x)
    torch.logical_not(x)
    abs(x)
    torch.clamp(x, -1, 1)
    torch.clamp(x, min=0)
    torch.clamp(x, max=0.5)
    x.clamp_min(0.25)
    x.clamp(2, 1)
    x.clamp_max(1)
    torch.nan_to_num(x)
    torch.relu(x)
    x.positive()
    torch.frac(x)
    torch.absolute(x)
    torch.nan_to_num(x, 1.0, 2.0, -2.0)
    ~x
    """,
    one,
    ALL,
    grad=True,
    ulps=2,
    spread=False,
)
cases(
    "pointwise layouts",
    """
    x.exp()
    x + 1
    x * x
    -x
    x.clone()
    x.sum()
    """,
    {"matrix": make(3, (4, 6)), "cube": make(4, (2, 3, 4)), "vector": make(5, (9,))},
    ["float32", "int64", "bfloat16"],
    grad=True,
    layouts=["t", "s", "o"],
)
cases(
    "powers",
    """
    x ** 2
    x ** 3
    x ** 0.5
    x ** -1
    x ** -2.0
    x ** 0
    2 ** x
    2.5 ** x
    x.pow(2.5)
    torch.pow(2, x)
    torch.pow(x, torch.tensor(2))
    x ** x
    """,
    {"special": listed([0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -2.5]), "positive": make(7, (4, 3), low=0.1, high=3.0)},
    NUMBERS,
    grad=True,
    ulps=8,
    spread=False,
)

two = {
    "same": make(10, (3, 4), (3, 4)),
    "row": make(11, (3, 4), (4,)),
    "column": make(12, (3, 1), (1, 4)),
    "0-d": make(13, (2, 3), ()),
    "0-d both": make(14, (), ()),
    "empty": make(15, (0, 3), (1, 3)),
    "wide": make(16, (2, 1, 3), (4, 1)),
}
cases(
    "arithmetic",
    """
    x + y
    x - y
    x * y
    torch.add(x, y, alpha=2)
    torch.sub(x, y, alpha=3)
    torch.maximum(x, y)
    torch.minimum(x, y)
    x.add(y).mul(x).sub(y)
    torch.max(x, y)
    torch.min(x, y)
    torch.fmax(x, y)
    """,
    two,
    ALL,
    grad=True,
    ulps=1,
)
nonzero = {
    "same": make(20, (3, 4), (3, 4), low=1, high=9),
    "row": make(21, (3, 4), (4,), low=1, high=9),
    "0-d": make(22, (2, 3), (), low=1, high=9),
    "signs": listed(
        [7.0, -7.0, 7.0, -7.0, 6.0, -6.0, 0.0, 5.5, -5.5], [3.0, 3.0, -3.0, -3.0, 3.0, -3.0, 5.0, 2.0, 2.0]
    ),
}
cases(
    "division",
    """
    x / y
    x // y
    x % y
    torch.div(x, y, rounding_mode="trunc")
    torch.div(x, y, rounding_mode="floor")
    torch.floor_divide(x, y)
    torch.remainder(x, y)
    torch.fmod(x, y)
    torch.true_divide(x, y)
    """,
    nonzero,
    [*NUMBERS, "bool"],
    grad=True,
    ulps=2,
)
cases(
    "division by zero",
    """
    x / y
    x // y
    x % y
    torch.fmod(x, y)
    """,
    {"zero": listed([1.0, -1.0, 0.0, INF, NAN], [0.0, 0.0, 0.0, 2.0, 1.0])},
    FLOATS,
)
cases(
    "comparison",
    """
    x == y
    x != y
    x < y
    x <= y
    x > y
    x >= y
    torch.eq(x, y)
    x.gt(0)
    x.le(1)
    0 < x
    x == None
    torch.equal(x, y)
    torch.equal(x, x)
    torch.allclose(x, x)
    torch.isclose(x, y)
    """,
    {**two, "nan": listed([NAN, 1.0, INF, -INF], [NAN, 1.0, INF, INF])},
    ALL,
)
cases(
    "logical",
    """
    torch.logical_and(x, y)
    torch.logical_or(x, y)
    torch.logical_xor(x, y)
    x.logical_not()
    x.bool()
    """,
    two,
    ALL,
)
cases(
    "bitwise",
    """
    x & y
    x | y
    x ^ y
    ~x
    x & 1
    1 | x
    x ^ True
    torch.bitwise_and(x, y)
    torch.bitwise_not(x)
    """,
    {"same": make(30, (3, 4), (3, 4), low=0, high=100), "row": make(31, (3, 4), (4,), low=0, high=100)},
    [*INTS, "bool", "float32"],
)
cases("shift", "x << y\nx >> y\nx << 1\n1 << x", {"small": make(33, (3, 4), (3, 4), low=0, high=5)}, INTS)
cases(
    "scalars",
    """
    x + 1
    x + 1.5
    1 - x
    1.5 - x
    x * 2
    2 * x
    x * True
    x / 2
    3 / x
    x // 2
    7 // x
    x % 3
    x - True
    x + 0.1
    torch.add(x, 1)
    torch.sub(1, x)
    torch.mul(x, 2.5)
    torch.true_divide(x, 3)
    x.sub(1, alpha=2)
    """,
    {"numbers": make(35, (2, 3), low=1, high=5)},
    ALL,
    grad=True,
    ulps=2,
)
cases(
    "three",
    """
    torch.where(x > 0, x, y)
    torch.where(x > y, x, 0)
    torch.where(x > y, 1.5, y)
    torch.addcmul(x, y, z)
    torch.addcmul(x, y, z, value=0.5)
    torch.addcdiv(x, y, z + 9)
    torch.lerp(x, y, 0.3)
    torch.lerp(x, y, z)
    torch.clamp(x, y, z)
    torch.clamp(x, min=y)
    torch.where(x > 0, x, y.sum())
    torch.atan2(x, y)
    torch.hypot(x, y)
    """,
    {
        "same": make(40, (3, 4), (3, 4), (3, 4)),
        "broadcast": make(41, (3, 4), (4,), (3, 1)),
        "0-d": make(42, (), (), ()),
    },
    ["float32", "float64", "int64"],
    grad=True,
)
cases(
    "in place",
    """
    x.add_(y)
    x.sub_(y)
    x.mul_(y)
    x.add_(y, alpha=2)
    x.add_(1)
    x.mul_(2.0)
    x.zero_()
    x.fill_(3)
    x.neg_()
    x.clamp_(-1, 1)
    x.copy_(y)
    x.div_(y + 9)
    x.pow_(2)
    x.masked_fill_(y > 0, 1)
    x.exp_()
    x.sqrt_()
    x.abs_()
    x.relu_()
    x.sigmoid_()
    x.tanh_()
    x.floor_()
    x.eq_(y)
    """,
    {"same": make(45, (3, 4), (3, 4)), "row": make(46, (3, 4), (4,)), "too small": make(47, (4,), (3, 4))},
    ["float32", "int64", "bool", "float16"],
)

# ---- reductions

tables = {
    "matrix": make(50, (4, 5)),
    "cube": make(51, (2, 3, 4)),
    "vector": make(52, (7,)),
    "0-d": make(53, ()),
    "long": make(54, (3, 300)),
}
cases(
    "reduce all",
    """
    x.sum()
    torch.sum(x)
    x.mean()
    torch.prod(x)
    x.var()
    x.std()
    torch.var(x, unbiased=False)
    x.std(correction=0)
    x.max()
    x.min()
    torch.amax(x)
    x.amin()
    x.norm()
    torch.norm(x, p=1)
    x.norm(p=float("inf"))
    torch.norm(x, p="fro")
    x.any()
    x.all()
    x.argmax()
    x.argmin()
    torch.count_nonzero(x)
    torch.aminmax(x)
    torch.std_mean(x)
    torch.var_mean(x)
    """,
    tables,
    [*FLOATS, "int64", "uint8", "bool"],
    grad=True,
    ulps=16,
)
cases(
    "reduce dim",
    """
    x.sum(0)
    x.sum(-1, keepdim=True)
    x.sum(dim=(0, 1))
    x.sum(dim=[])
    x.sum((0, -1), keepdim=True)
    torch.sum(x, 1, dtype=torch.float64)
    x.mean(0)
    x.mean((0, 1), keepdim=True)
    x.mean(-1, dtype=torch.float64)
    x.prod(0)
    x.prod(1, keepdim=True)
    x.var(0)
    x.var(1, keepdim=True, correction=0)
    torch.var(x, dim=(0, 1), correction=2)
    x.std(-1)
    x.std(0, unbiased=False)
    x.max(0)
    x.max(-1, keepdim=True)
    x.min(1)
    torch.max(x, 0)[1]
    x.amax(0)
    x.amax((0, 1), keepdim=True)
    x.amin(dim=-1)
    x.argmax(0)
    x.argmax(1, keepdim=True)
    x.argmin(-1)
    x.any(0)
    x.all(-1, keepdim=True)
    x.norm(dim=1)
    x.norm(p=2, dim=0, keepdim=True)
    torch.norm(x, p=1, dim=-1)
    x.logsumexp(0)
    torch.logsumexp(x, (0, 1))
    torch.logsumexp(x, -1, keepdim=True)
    torch.softmax(x, 0)
    x.softmax(-1)
    x.log_softmax(1)
    torch.softmax(x, 1, dtype=torch.float64)
    x.cumsum(0)
    torch.cumsum(x, 1)
    x.cumprod(1)
    x.cummax(1)
    torch.cumsum(x, -1, dtype=torch.float64)
    torch.std_mean(x, 1)
    x.sum(5)
    x.max(5)
    x.mean(-4)
    x.sum((0, 0))
    F.normalize(x, dim=1)
    """,
    {k: tables[k] for k in ("matrix", "cube", "vector")},
    ["float32", "float16", "int64", "bool", "uint8"],
    grad=True,
    ulps=16,
)
cases(
    "reduce dim 0 of 0-d",
    """
    x.sum(0)
    x.sum(-1, keepdim=True)
    x.max(0)
    x.mean(0)
    x.argmax(0)
    x.softmax(0)
    x.cumsum(0)
    x.sum(1)
    x.amax(0)
    x.logsumexp(0)
    """,
    {"0-d": make(56, ())},
    ["float32", "int64"],
    grad=True,
)
cases(
    "reduce nothing",
    """
    x.sum()
    x.sum(0)
    x.sum(1)
    x.mean()
    x.mean(0)
    x.prod()
    x.prod(1)
    x.max()
    x.max(0)
    x.max(1)
    x.amax(1)
    x.argmax()
    x.argmax(0)
    x.any()
    x.all()
    x.all(0)
    x.var()
    x.std(0)
    x.norm()
    x.logsumexp(0)
    x.cumsum(0)
    x.min(1)
    """,
    {"empty": listed(np.zeros((0, 3)))},
    ["float32", "int64", "bool"],
)
cases(
    "reduce special numbers",
    """
    x.sum()
    x.max()
    x.max(0)
    x.amax(1)
    x.argmax(1)
    x.argmin(0)
    x.min(1)
    x.prod(0)
    x.mean(1)
    x.cumsum(1)
    x.cummax(1)
    x.logsumexp(1)
    x.softmax(1)
    x.any(1)
    x.norm(dim=1)
    x.amin()
    x.sort(1)
    x.topk(2)
    x.log_softmax(0)
    """,
    {
        "nan": listed([[1.0, NAN, 3.0], [2.0, 2.0, -INF], [INF, 1.0, NAN]]),
        "inf": listed([[INF, 1.0, 2.0], [-INF, -INF, -INF], [INF, INF, 0.0]]),
        "ties": listed([[2.0, 2.0, 1.0], [1.0, 1.0, 1.0], [0.0, 3.0, 3.0]]),
    },
    ["float32", "float64"],
)
cases(
    "gradient at ties",
    """
    x.max()
    x.min()
    x.amax()
    x.amin(1)
    x.max(1)[0]
    x.min(0)[0]
    x.amax((0, 1))
    torch.relu(x)
    x.abs()
    x.clamp(0, 1)
    x.clamp(min=1)
    F.hardtanh(x, 0, 1)
    torch.maximum(x, torch.ones_like(x))
    torch.minimum(x, torch.ones_like(x))
    x ** 0
    x ** 2
    x ** 1
    x.sign()
    (x * 0).norm()
    (x * 0).norm(dim=1)
    (x * 0).norm(p=1)
    x.prod()
    x.prod(1)
    x.cumprod(1)
    F.leaky_relu(x - 1, 0.1)
    F.elu(x - 1)
    torch.where(x > 1, x, x * 0)
    x.sort(1)[0]
    x.topk(2, 1)[0]
    x.cummax(1)[0]
    F.max_pool2d(x[None, None], 2, 1)
    F.l1_loss(x, x * 0 + 1)
    F.smooth_l1_loss(x, x * 0 + 2)
    torch.fmod(x, 2)
    x.max(dim=0).values
    x.norm(p=float("inf"))
    x.std(0)
    F.gelu(x)
    F.softplus(x)
    """,
    {
        "ties": listed([[2.0, 2.0, 1.0], [1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]),
        "row": listed([[-0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]),
    },
    ["float64"],
    grad=True,
)

# ---- matrices

cases(
    "matmul",
    "x @ y\ntorch.matmul(x, y)\ntorch.mm(x, y)\nx.bmm(y)\ntorch.dot(x, y)",
    {
        "2 2": make(60, (3, 4), (4, 5)),
        "1 1": make(61, (4,), (4,)),
        "2 1": make(62, (3, 4), (4,)),
        "1 2": make(63, (4,), (4, 3)),
        "3 3": make(64, (2, 3, 4), (2, 4, 5)),
        "3 2": make(65, (2, 3, 4), (4, 5)),
        "2 3": make(66, (3, 4), (2, 4, 5)),
        "3 1": make(67, (2, 3, 4), (4,)),
        "1 3": make(68, (4,), (2, 4, 3)),
        "4 3": make(69, (2, 1, 3, 4), (5, 4, 2)),
        "empty": make(70, (0, 4), (4, 5)),
        "no inner": make(71, (3, 0), (0, 5)),
        "wrong": make(72, (3, 4), (3, 4)),
        "0-d": make(73, (), (3,)),
    },
    ["float32", "float64", "float16", "bfloat16", "int64", "int8"],
    grad=True,
    ulps=16,
)
cases(
    "matmul layouts",
    "x @ y\nx.t() @ x\nx @ x.t()\n(x @ y).t()\ny.t() @ x.t()",
    {"2 2": make(75, (13, 17), (17, 19))},
    ["float32", "float64"],
    grad=True,
    layouts=["", "t", "s", "o"],
    ulps=32,
)
cases(
    "matrices",
    """
    torch.outer(x[0], y[:, 0])
    torch.addmm(x @ y, x, y)
    torch.addmm(x @ y, x, y, beta=0.5, alpha=2)
    torch.einsum("ij,jk->ik", x, y)
    torch.einsum("ij,jk", x, y)
    torch.einsum("ij->ji", x)
    torch.einsum("ij->", x)
    torch.einsum("ij,ij->i", x, x)
    torch.einsum("ij,kj->ik", x, x)
    torch.einsum("...j,jk->...k", x, y)
    torch.einsum("i,j->ij", x[0], y[0])
    torch.einsum("ij,ij,ij->j", x, x, x)
    torch.einsum("ii->i", x @ y)
    torch.einsum("ii", x @ y)
    torch.einsum("bij,bjk->bik", x[None], y[None])
    torch.einsum("ij,jk,kl->il", x, y, x)
    torch.einsum("ij,jk->ijk", x, y)
    F.linear(x, y.t())
    F.linear(x, y.t(), y[0])
    torch.tensordot(x, y, dims=1)
    torch.tensordot(x, x, dims=([0, 1], [0, 1]))
    x.trace()
    torch.baddbmm(x[None] @ y[None], x[None], y[None])
    torch.mm(x, x)
    torch.bmm(x, y)
    x.mv(y)
    torch.einsum("ij,jk->iz", x, y)
    torch.einsum("ij,kk->ik", x, y)
    """,
    {"4 3 4": make(77, (4, 3), (3, 4))},
    ["float32", "float64", "int64"],
    grad=True,
    ulps=16,
)

# ---- shapes

cubes = {"cube": make(80, (2, 3, 4)), "matrix": make(81, (3, 4)), "vector": make(82, (6,)), "0-d": make(83, ())}
cases(
    "shape",
    """
    x.view(-1)
    x.reshape(-1)
    x.reshape(2, -1)
    x.view(3, 4)
    x.reshape((6, 4))
    x.transpose(0, 1)
    x.transpose(-1, 0)
    x.t()
    x.T
    x.mT
    x.permute(2, 0, 1)
    x.permute(1, 0)
    torch.permute(x, (0, -1, 1))
    x.squeeze()
    x.unsqueeze(0)
    x.unsqueeze(-1)
    x.unsqueeze(1).squeeze(1)
    x[None].squeeze(0)
    x.unsqueeze(5)
    x.squeeze((0, 1))
    x.flatten()
    x.flatten(1)
    torch.flatten(x, 0, 1)
    x.unflatten(-1, (2, -1))
    x.expand(5, *x.shape)
    x.expand(-1, -1)
    x.unsqueeze(0).expand(3, -1, -1, -1)
    x.expand_as(x)
    torch.broadcast_to(x, (2, *x.shape))
    torch.cat([x, x])
    torch.cat((x, x, x), 1)
    torch.cat([x, x], dim=-1)
    torch.concat([x, x])
    torch.stack([x, x])
    torch.stack((x, x), -1)
    torch.stack([x, x], 5)
    x.split(2)
    x.split([1, 2], 1)
    torch.split(x, 3, dim=-1)
    x.split([1, 1], 0)
    x.chunk(2)
    torch.chunk(x, 3, -1)
    x.chunk(5, 1)
    x.unbind()
    torch.unbind(x, -1)
    x.repeat(2, 2)
    x.repeat(2, 1, 1, 2)
    x.repeat(3)
    torch.tile(x, (2, 2))
    x.flip(0)
    x.flip((0, 1))
    torch.flip(x, [-1])
    x.roll(1)
    x.roll(1, 0)
    torch.roll(x, (1, -2), (0, 1))
    x.tril()
    x.triu(1)
    torch.tril(x, -1)
    F.pad(x, (1, 2))
    F.pad(x, (1, 1, 2, 0))
    F.pad(x, (1, 1), value=3)
    F.pad(x, (-1, 1))
    F.pad(x.float(), (1, 1), mode="reflect")
    F.pad(x.float(), (2, 1), mode="replicate")
    F.pad(x.float(), (1, 1), mode="circular")
    x.narrow(0, 1, 1)
    x.select(0, 1)
    x.select(-1, 0)
    x.movedim(0, -1)
    x.swapaxes(0, 1)
    torch.swapdims(x, 0, -1)
    x.diagonal()
    torch.diag(x)
    torch.diagonal(x, 1, 0, 1)
    x.unfold(0, 2, 1)
    x.unfold(-1, 2, 2)
    torch.hstack([x, x])
    torch.vstack([x, x])
    x.ravel()
    x.view_as(x)
    x.contiguous()
    x.reshape(5, 5)
    x.view(5, -1)
    torch.cat([x, x[None]])
    torch.cat([x, torch.tensor([1.5])])
    torch.stack([x, x[0]])
    torch.split(x, 0)
    x.expand(2, 2)
    x.permute(0, 0)
    x.transpose(0, 7)
    torch.take(x, torch.tensor([0, 1]))
    x.masked_select(x > 0)
    torch.nonzero(x > 0)
    x.tensor_split(2)
    F.one_hot(torch.tensor([0, 2, 1]), 4)
    x.T.contiguous().view(-1)
    """,
    cubes,
    ["float32", "int64", "bool"],
    grad=True,
)

# ---- gather, scatter, order

table_and_index = {
    "rows": lambda dtype: [
        data(100, 4, 5, dtype=dtype),
        np.array([[0, 3, 1, 0, 2], [2, 2, 0, 1, 3]]),
        data(101, 2, 5, dtype=dtype),
    ],
    "columns": lambda dtype: [
        data(102, 3, 5, dtype=dtype),
        np.array([[0, 4], [1, 1], [2, 0]]),
        data(103, 3, 2, dtype=dtype),
    ],
}
cases(
    "gather and scatter",
    """
    x.gather(0, y)
    torch.gather(x, 1, y)
    x.scatter(0, y, z)
    x.scatter(1, y, z)
    x.scatter(0, y, 7)
    x.scatter_add(0, y, z)
    x.scatter_add(1, y, z)
    x.scatter_reduce(0, y, z, "sum")
    x.scatter_reduce(0, y, z, "amax")
    x.take_along_dim(y, 0)
    torch.take_along_dim(x, y, dim=1)
    x.gather(0, y + 9)
    x.gather(0, y.int())
    x.clone().scatter_(1, y, 1)
    x.clone().scatter_add_(0, y, z)
    x.clone().detach().scatter_(0, y, z.detach(), reduce="add")
    """,
    table_and_index,
    ["float32", "int64", "float16"],
    grad=True,
)
cases(
    "index",
    """
    x.index_select(0, y)
    torch.index_select(x, 1, y)
    x.index_select(-1, y)
    x.index_add(0, y, z)
    x.index_add(1, y, x[:, :3])
    x.clone().index_add_(0, y, z, alpha=2)
    x.index_copy(0, y, z)
    x.index_fill(0, y, 5)
    x.index_put((y,), z)
    x.index_put((y,), z, accumulate=True)
    x.clone().index_put_((y, y), z[:, 0])
    x.masked_fill(x > 0, -1)
    x.masked_fill(x[0] > 0, 2.5)
    x[y]
    x[:, y]
    x[y, y]
    x[y].sum(0)
    x.take(y)
    F.embedding(y, x)
    x.index_select(0, y + 9)
    x[y + 9]
    x[y - 9]
    """,
    {"three": lambda dtype: [data(110, 4, 5, dtype=dtype), np.array([2, 0, 2]), data(111, 3, 5, dtype=dtype)]},
    ["float32", "int64", "bool"],
    grad=True,
)
cases(
    "order",
    """
    x.sort()
    torch.sort(x, 0)
    x.sort(0, descending=True)
    x.sort(dim=-1, stable=True)
    torch.sort(x, dim=1, descending=True, stable=True)
    x.argsort()
    x.argsort(0)
    torch.argsort(x, 1, descending=True)
    torch.argsort(x, stable=True)
    x.topk(2)
    x.topk(2, 0)
    torch.topk(x, 3, largest=False)
    x.topk(1, dim=0).indices
    x.topk(9)
    x.kthvalue(2)
    x.msort()
    x.sort().values
    """,
    {
        # no repeated values: the order of equal elements is not defined without stable=True
        "matrix": lambda dtype: [
            np.random.default_rng(120).permutation(20).reshape(4, 5).astype("float32" if dtype == "bfloat16" else dtype)
        ],
        "vector": lambda dtype: [np.random.default_rng(121).permutation(40).astype(dtype)],
    },
    ["float32", "int64", "int8", "float16"],
    grad=True,
)
cases(
    "order with ties",
    """
    x.sort(stable=True)
    x.sort(dim=0, stable=True, descending=True)
    torch.argsort(x, stable=True)
    x.sort().values
    """,
    {"ties": lambda dtype: [data(125, 5, 40, dtype="int64" if dtype != "bool" else "bool").astype(dtype)]},
    ["float32", "int64", "int32", "bool"],
)
cases(
    "conversion",
    """
    x.to(torch.float32)
    x.to(torch.float64)
    x.to(torch.float16)
    x.to(torch.bfloat16)
    x.to(torch.int64)
    x.to(torch.int32)
    x.int()
    x.long()
    x.float()
    x.double()
    x.half()
    x.bool()
    x.short()
    x.char()
    x.bfloat16()
    x.type(torch.float64)
    x.to("cpu", torch.float64)
    x.to(torch.zeros(1, dtype=torch.int8))
    x.type_as(torch.zeros(1, dtype=torch.int16))
    x.tolist()
    x.numpy()
    x.dtype
    x.is_floating_point()
    x.element_size()
    x.nbytes
    x.clone().detach()
    x.abs().byte()
    str(x)
    """,
    {
        "numbers": listed([0.0, -0.0, 1.0, -1.5, 2.5, 100.7, -100.2]),
        "0-d": listed(1.75),
        "matrix": make(130, (2, 3)),
        "empty": listed(np.zeros((2, 0))),
    },
    ALL,
    grad=False,
)
cases(
    "conversion gradient",
    "x.float() * 2\nx.double()\nx.to(torch.float64).sum()\nx.clone()\nx.contiguous()\nx.half().float()",
    {"matrix": make(131, (2, 3))},
    ["float32"],
    grad=True,
)
cases(
    "round trips of 16-bit floats",
    "x.float()\nx + x\nx * 3\nx.sum()\nx @ x\nx.mean()\nx.exp()\nx / 3\n(x + 1) - x",
    {"vector": make(133, (100,)), "large": listed([65504.0, 65504.0, 6e-8, -6e-8])},
    ["float16", "bfloat16"],
    ulps=2,
)

# ---- nn.functional

cases(
    "activation",
    """
    F.relu(x)
    F.gelu(x)
    F.gelu(x, approximate="tanh")
    F.silu(x)
    F.softplus(x)
    F.leaky_relu(x)
    F.leaky_relu(x, 0.2)
    F.elu(x)
    F.elu(x, 0.5)
    F.tanh(x)
    F.sigmoid(x)
    F.softmax(x, dim=-1)
    F.log_softmax(x, dim=0)
    F.hardtanh(x)
    F.relu6(x)
    F.selu(x)
    F.mish(x)
    F.logsigmoid(x)
    F.softsign(x)
    F.tanhshrink(x)
    F.hardswish(x)
    F.glu(torch.cat([x, x], -1))
    F.dropout(x, 0.5, training=False)
    F.normalize(x, dim=-1)
    F.relu(x.clone(), inplace=True)
    F.layer_norm(x, x.shape[-1:])
    """,
    {"matrix": make(140, (4, 6), low=-5, high=5), "special": listed([[0.0, -0.0, 30.0, -30.0, 1.0, -1.0]])},
    ["float32", "float64", "float16", "bfloat16"],
    grad=True,
    ulps=12,
)
cases(
    "activation",
    "F.cosine_similarity(x, y, dim=-1)\nF.cosine_similarity(x, y[0], dim=1)",
    {"matrix": make(145, (4, 6), (4, 6))},
    ["float32", "float64"],
    grad=True,
    ulps=32,
)
probabilities = {
    "matrix": lambda dtype: [
        data(150, 4, 3, low=0.05, high=0.95, dtype=dtype),
        data(151, 4, 3, low=0, high=1, dtype=dtype),
    ]
}
cases(
    "loss",
    """
    F.mse_loss(x, y)
    F.mse_loss(x, y, reduction="sum")
    F.mse_loss(x, y, reduction="none")
    F.mse_loss(x, y[0])
    F.l1_loss(x, y)
    F.l1_loss(x, y, reduction="none")
    F.smooth_l1_loss(x, y)
    F.smooth_l1_loss(x, y, beta=0.1)
    F.huber_loss(x, y, delta=0.3)
    F.binary_cross_entropy(x, y)
    F.binary_cross_entropy(x, y, reduction="sum")
    F.binary_cross_entropy(x, y, weight=y.detach())
    F.binary_cross_entropy(x, y[0])
    F.binary_cross_entropy(x + 5, y)
    F.binary_cross_entropy_with_logits(x, y)
    F.binary_cross_entropy_with_logits(x, y, pos_weight=y[0].detach() + 1)
    F.binary_cross_entropy_with_logits(x, y, weight=y.detach(), reduction="none")
    F.kl_div(x, y)
    F.kl_div(x, y, reduction="batchmean")
    F.kl_div(x, x - 1, log_target=True, reduction="sum")
    F.mse_loss(x, y, reduction="wrong")
    F.cross_entropy(x, y)
    F.cross_entropy(x, y, label_smoothing=0.1)
    F.cross_entropy(x, y, weight=y[0])
    F.soft_margin_loss(x, y.detach())
    F.poisson_nll_loss(x, y)
    F.gaussian_nll_loss(x, y, y + 1)
    """,
    probabilities,
    ["float32", "float64", "float16"],
    grad=True,
    ulps=16,
)
classes = {
    "matrix": lambda dtype: [
        data(160, 5, 4, dtype=dtype),
        np.array([0, 3, 1, 2, 3]),
        data(161, 4, low=0.5, dtype=dtype),
    ]
}
cases(
    "classes",
    """
    F.cross_entropy(x, y)
    F.cross_entropy(x, y, reduction="none")
    F.cross_entropy(x, y, reduction="sum")
    F.cross_entropy(x, y, weight=z.detach())
    F.cross_entropy(x, y, weight=z.detach(), reduction="none")
    F.cross_entropy(x, y, ignore_index=3)
    F.cross_entropy(x, y, ignore_index=3, weight=z.detach(), label_smoothing=0.2)
    F.cross_entropy(x, y, label_smoothing=0.1)
    F.cross_entropy(x, y, label_smoothing=0.1, weight=z.detach())
    F.cross_entropy(x, y, label_smoothing=0.3, reduction="sum")
    F.cross_entropy(x[0], y[0])
    F.cross_entropy(x.t()[None], y[None, :4].clamp(max=3)[:, [0, 1, 2, 3, 0]])
    F.cross_entropy(x, y * 0 - 100)
    F.cross_entropy(x, y + 9)
    F.cross_entropy(x, y.float())
    F.cross_entropy(x, y[:3])
    F.cross_entropy(x, y.int())
    F.nll_loss(x.log_softmax(1), y)
    F.nll_loss(x, y, weight=z.detach())
    F.nll_loss(x, y, reduction="none", ignore_index=1)
    F.nll_loss(x, y, reduction="sum")
    F.nll_loss(x, y + 9)
    F.multi_margin_loss(x, y)
    """,
    classes,
    ["float32", "float64"],
    grad=True,
    ulps=16,
)
pictures = {
    "x w b": make(170, (2, 4, 7, 8), (6, 4, 3, 3), (6,)),
}
cases(
    "conv2d",
    """
    F.conv2d(x, y)
    F.conv2d(x, y, z)
    F.conv2d(x, y, z, stride=2)
    F.conv2d(x, y, padding=1)
    F.conv2d(x, y, padding=(2, 0), stride=(1, 2))
    F.conv2d(x, y, padding="same")
    F.conv2d(x, y, padding="valid")
    F.conv2d(x, y, dilation=2)
    F.conv2d(x, y, z, stride=2, padding=2, dilation=(1, 2))
    F.conv2d(x, y[:, :2], groups=2)
    F.conv2d(x, y[:4, :1], groups=4, padding=1)
    F.conv2d(x, y[:, :, :1, :1])
    F.conv2d(x[0], y)
    F.conv2d(x[:, :3], y)
    F.conv2d(x[:0], y)
    F.conv2d(x[:, :, :2], y)
    F.conv2d(x.transpose(2, 3), y)
    F.conv2d(x, y, z[:3])
    F.conv2d(x[0, 0], y)
    F.conv2d(x, y, padding=-1)
    F.conv2d(x, y, stride=0)
    F.conv_transpose2d(x, y[:4])
    F.conv_transpose2d(x, y[:4], z[:4], stride=2)
    F.conv_transpose2d(x, y[:4], stride=2, padding=1, output_padding=1)
    F.conv_transpose2d(x, y[:4], dilation=2)
    F.conv_transpose2d(x, y[:4, :2], groups=2)
    F.conv1d(x[:, :, 0], y[:, :, 0])
    F.conv1d(x[:, :, 0], y[:, :, 0], z, stride=2, padding=1)
    F.conv1d(x[:, :, 0], y[:, :, 0], padding="same", dilation=2)
    F.conv1d(x[0, :, 0], y[:, :, 0])
    F.max_pool2d(x, 2)
    F.max_pool2d(x, 3, stride=1, padding=1)
    F.max_pool2d(x, (2, 3), stride=(1, 2))
    F.max_pool2d(x, 2, ceil_mode=True)
    F.max_pool2d(x, 2, dilation=2)
    F.max_pool2d(x, 2, return_indices=True)
    F.max_pool2d(x, 3, padding=2)
    F.max_pool2d(x[0], 2)
    F.max_pool1d(x[:, :, 0], 2)
    F.avg_pool2d(x, 2)
    F.avg_pool2d(x, 3, stride=2, padding=1)
    F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
    F.avg_pool2d(x, 2, ceil_mode=True)
    F.avg_pool2d(x, 2, divisor_override=3)
    F.adaptive_avg_pool2d(x, 1)
    F.adaptive_avg_pool2d(x, (3, 5))
    F.adaptive_avg_pool2d(x, (None, 2))
    F.adaptive_max_pool2d(x, (3, 3))
    F.batch_norm(x, z[:4].detach() * 0, z[:4].detach().abs() + 1)
    F.batch_norm(x, None, None, training=True)
    F.group_norm(x, 2)
    F.group_norm(x, 4, z[:4], z[:4])
    F.group_norm(x, 3)
    F.layer_norm(x, (7, 8))
    F.layer_norm(x, (8,), x[0, 0, 0], x[0, 0, 1])
    F.layer_norm(x, (7,))
    F.instance_norm(x)
    F.interpolate(x, scale_factor=2)
    F.interpolate(x, size=(5, 5), mode="bilinear")
    F.pixel_shuffle(x, 2)
    F.dropout2d(x, training=False)
    F.scaled_dot_product_attention(x, x, x)
    F.scaled_dot_product_attention(x, x, x, is_causal=True)
    F.scaled_dot_product_attention(x, x, x, scale=0.3)
    F.scaled_dot_product_attention(x, x[:, :, :3], x[:, :, :3])
    F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(7, 7, dtype=torch.bool).tril())
    F.scaled_dot_product_attention(x, x, x, attn_mask=x[0, 0, :, :7])
    """,
    pictures,
    ["float32", "float64"],
    grad=True,
    ulps=64,
)

# ---- promotion: the dtype (and value) of every pair of dtypes, with 0-d tensors and Python numbers


def promotion(torch: Any, operation: str) -> dict[str, Any]:
    results = {}
    for i, a in enumerate(ALL):
        for j, b in enumerate(ALL):
            for label, left, right in (("dd", [1, 0], [1, 1]), ("d0", [1, 0], 1), ("00", 1, 1)):
                x, y = torch.tensor(left).to(getattr(torch, a)), torch.tensor(right).to(getattr(torch, b))
                result = _result(torch, operation, x, y)
                if (i + j) % 4 and not isinstance(result, Raised):  # the dtype everywhere, the numbers here and there
                    result = [str(result.dtype), list(result.shape)]
                results[f"{a} {b} {label}"] = plain(result, torch)
        for scalar in (2, 2.0, True):
            for left in ([1, 0], 1):
                x = torch.tensor(left).to(getattr(torch, a))
                results[f"{a} {left} {scalar!r}"] = plain(_result(torch, operation, x, scalar), torch)
    return results


def _result(torch: Any, operation: str, x: Any, y: Any) -> Any:
    try:
        return eval(operation, {"torch": torch}, {"x": x, "y": y})
    except Exception as error:
        return Raised(type(error).__name__, str(error))


for _operation in [
    "x + y",
    "x * y",
    "x / y",
    "x - y",
    "x == y",
    "x // y",
    "torch.where(x > 0, x, y)",
    "x ** y",
    "x & y",
]:
    register(f"ops.promotion: {_operation}", lambda torch, o=_operation: promotion(torch, o))
register(
    "ops.promotion: result_type and can_cast",
    lambda torch: {
        f"{a} {b}": [
            str(torch.promote_types(getattr(torch, a), getattr(torch, b))),
            torch.can_cast(getattr(torch, a), getattr(torch, b)),
            str(torch.result_type(torch.ones(2).to(getattr(torch, a)), torch.tensor(1).to(getattr(torch, b)))),
        ]
        for a in ALL
        for b in ALL
    },
)
