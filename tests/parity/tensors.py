"""Creation, attributes, conversions, printing, scalars: what one can do with a tensor besides arithmetic."""

from __future__ import annotations

import copy

import numpy as np

from parity.harness import attempt, data, program, register


def _expression(text):
    def run(torch):
        return eval(text, {"torch": torch, "np": np, "attempt": attempt, "inf": float("inf"), "nan": float("nan")})

    register(f"tensors: {text}".replace("tensors: ", "tensors.create: ", 1), run)


for _text in filter(
    None,
    map(
        str.strip,
        """
        torch.tensor(3)
        torch.tensor(3.5)
        torch.tensor(True)
        torch.tensor([1, 2.5])
        torch.tensor([True, 2])
        torch.tensor([[1, 2], [3, 4]], dtype=torch.float16)
        torch.tensor([])
        torch.tensor([[], []])
        torch.tensor(np.float32(2))
        torch.tensor(np.arange(4, dtype=np.int16))
        torch.tensor([np.float64(1), np.float64(2)])
        torch.tensor([torch.tensor(1), torch.tensor(2)])
        torch.tensor((1, 2, 3), dtype=float)
        torch.tensor([1, 2], dtype=int)
        torch.tensor([1, 0], dtype=bool)
        torch.tensor([1.5, 2.7], dtype=torch.int64)
        torch.tensor([1, 2], requires_grad=True)
        torch.tensor([[1, 2], [3]])
        torch.tensor("a")
        torch.tensor([2**40, 1])
        torch.tensor(2**70)
        torch.tensor([300], dtype=torch.uint8)
        torch.tensor([nan, inf, -inf])
        torch.tensor(range(5))
        torch.tensor([[[1.0]]]).shape
        torch.tensor(None)
        torch.tensor([1, None])
        torch.tensor({1: 2})
        torch.Tensor([1, 2, 3])
        torch.Tensor([[1, 2], [3, 4]]).dtype
        torch.Tensor(3).shape
        torch.Tensor()
        torch.zeros(3)
        torch.zeros(2, 3, dtype=torch.int32)
        torch.zeros((2, 3))
        torch.zeros([2, 0])
        torch.zeros(())
        torch.zeros(2, requires_grad=True)
        torch.zeros(-1)
        torch.zeros(2.5)
        torch.zeros("a")
        torch.ones(2, dtype=bool)
        torch.ones(torch.Size([2, 2]))
        torch.full((2, 2), 7)
        torch.full((2,), 7.5)
        torch.full((2,), True)
        torch.full((2,), 7, dtype=torch.float16)
        torch.full((), nan)
        torch.empty(3, 4).shape
        torch.empty((2, 0)).shape
        torch.empty(2, dtype=torch.bfloat16).dtype
        torch.eye(3)
        torch.eye(2, 4)
        torch.eye(3, dtype=torch.int64)
        torch.eye(0)
        torch.arange(5)
        torch.arange(5.0)
        torch.arange(2, 8)
        torch.arange(1, 2, 0.25)
        torch.arange(5, 0, -2)
        torch.arange(0, 1, 0.1)
        torch.arange(3, dtype=torch.float32)
        torch.arange(0)
        torch.arange(5, 2)
        torch.arange(0, 5, 0)
        torch.arange(1, 10, 3, dtype=torch.int8)
        torch.arange(4, dtype=torch.float16)
        torch.linspace(0, 1, 5)
        torch.linspace(-3, 7, 11)
        torch.linspace(0, 10, 1)
        torch.linspace(0, 1, 0)
        torch.linspace(1, 0, 7, dtype=torch.float64)
        torch.linspace(0, 9, 10, dtype=torch.int64)
        torch.logspace(0, 2, 3)
        torch.zeros_like(torch.ones(2, 3))
        torch.ones_like(torch.zeros(2, dtype=torch.int8))
        torch.full_like(torch.zeros(2, 2), 3)
        torch.full_like(torch.zeros(2, dtype=torch.int64), 3)
        torch.zeros_like(torch.ones(2), dtype=torch.bool)
        torch.empty_like(torch.ones(2, 3)).shape
        torch.ones(2).new_zeros(3)
        torch.ones(2, dtype=torch.int32).new_tensor([1.5, 2])
        torch.ones(2).new_full((2, 2), 3)
        torch.ones(2).new_ones(2, 2)
        torch.ones(2).new_empty(4).shape
        torch.from_numpy(np.arange(6.0).reshape(2, 3))
        torch.from_numpy(np.array([True]))
        torch.from_numpy([1, 2])
        torch.from_numpy(np.array(["a"]))
        torch.as_tensor([1.0, 2.0])
        torch.as_tensor(np.ones(2, np.float32))
        torch.as_tensor(3)
        torch.as_tensor([1, 2], dtype=torch.float64)
        torch.asarray([1, 2])
        torch.scalar_tensor(3.0)
        torch.diag(torch.tensor([1.0, 2.0]))
        torch.tril_indices(3, 3)
        torch.get_default_dtype()
        torch.is_tensor(torch.ones(1)), torch.is_tensor(1)
        torch.numel(torch.ones(2, 3))
        torch.is_floating_point(torch.ones(1))
        torch.tensor([1, 2]).is_floating_point()
        torch.float32.is_floating_point, torch.int8.is_floating_point, torch.float16.itemsize, torch.bool.is_signed
        torch.float is torch.float32, torch.long is torch.int64, torch.half is torch.float16, torch.double
        torch.int, torch.short, torch.uint8, torch.bfloat16
        torch.Size([2, 3]).numel(), torch.Size([2, 3]) == (2, 3), torch.Size([2]) + torch.Size([3]), hash(torch.Size([1]))
        torch.Size([2, 3])[1:], isinstance(torch.Size([1]), tuple), repr(torch.Size([])), torch.Size((1, 2))[0]
        torch.pi, torch.inf, torch.e
        """.splitlines(),
    ),
):
    _expression(_text)


@program
def scalars(torch):
    x = torch.tensor([[1.5]])
    return (
        x.item(), float(x), int(x), bool(x), torch.tensor(3).item(), torch.tensor(True).item(),
        attempt(lambda: torch.ones(2).item()), attempt(lambda: bool(torch.ones(2))), attempt(lambda: float(torch.ones(2))),
        attempt(lambda: bool(torch.zeros(0))), [10, 20, 30][torch.tensor(1)], list(range(torch.tensor(3))),
        attempt(lambda: [1, 2][torch.tensor(1.0)]), torch.tensor(2.5) == 2.5, bool(torch.tensor(0.0)),
        f"{torch.tensor(1.5)}", f"{torch.tensor(1.23456):.2f}", f"{torch.ones(2)}",
        round(torch.tensor(2.567).item(), 1), torch.tensor(7) // 2, divmod(7, 2), torch.tensor([5])[0].item(),
        attempt(lambda: f"{torch.ones(2):.2f}"), complex(torch.tensor(2.0)).real, torch.tensor(-0.0).item(),
    )  # fmt: skip


@program
def python_protocols(torch):
    x = torch.arange(6).reshape(2, 3)
    return (
        len(x), [row for row in x], 3 in x, 9 in x, [int(v) for v in x[0]], attempt(lambda: len(torch.tensor(1))),
        attempt(lambda: list(torch.tensor(1))), reversed(x[0]), isinstance(x, torch.Tensor), type(x).__name__,
        {x: 1}[x], x is x, attempt(lambda: x < "a"), attempt(lambda: x + "a"), attempt(lambda: x + [1, 2, 3]),
        attempt(lambda: x + None), x.__class__.__name__, sum(torch.tensor([1, 2, 3])), max(torch.tensor([1, 5, 3])),
        sorted(torch.tensor([3, 1, 2])), [*x], dict(a=x)["a"], torch.tensor([1]) in [torch.tensor([1])],
        x.tolist(), x[0, 1].tolist(), torch.zeros(2, 0).tolist(), torch.tensor([True]).tolist(),
    )  # fmt: skip


@program
def attributes(torch):
    x = torch.arange(24.0).reshape(2, 3, 4)
    y = x.transpose(0, 2)
    return (
        x.shape, x.size(), x.size(-1), x.ndim, x.dim(), x.numel(), x.nelement(), x.stride(), x.stride(1), y.stride(), y.shape,
        x.is_contiguous(), y.is_contiguous(), y.contiguous().stride(), x.storage_offset(), x[1].storage_offset(), x.is_leaf,
        x.requires_grad, x.grad, x.grad_fn, x.layout, x.dtype, x.device, x.itemsize, x.nbytes, x.element_size(), x.is_sparse,
        x.data_ptr() == x[0].data_ptr(), x.data_ptr() + 48 == x[1].data_ptr(), x.T.shape if x.ndim == 2 else None, x.mT.shape,
        x.is_complex(), x.is_signed(), y[1:, ::2].stride(), x.expand(5, 2, 3, 4).stride(), x.is_same_size(y), x.H if False else 0,
    )  # fmt: skip


NUMPY = """
np.asarray(x)
np.array(x, dtype=np.int32)
x.numpy()
np.sum(x.numpy())
w.numpy()
w.detach().numpy()
x.t().numpy()
x[:, ::2].numpy()
torch.tensor(2.5).numpy()
np.asarray(torch.tensor([True]))
torch.ones(2, dtype=torch.bfloat16).numpy()
np.ones(3, np.float32) * torch.tensor(2.0)
np.ones(3, np.float32) * torch.ones(3)
np.ones(3, np.float32) + torch.ones(3)
torch.ones(3) * np.float32(2)
torch.ones(3) + np.ones(3, np.float32)
torch.ones(3) * np.ones(3)
np.stack([x, x])
x.numpy(force=True)
w.numpy(force=True)
torch.tensor([1, 2]) * np.int64(3)
np.exp(x)
np.float32(2) * torch.ones(2)
np.float64(2) * torch.ones(2)
torch.ones(2, dtype=torch.float64) * np.float32(3)
torch.from_numpy(np.ones((2, 3)).T)
torch.from_numpy(np.arange(6)[::2])
torch.from_numpy(np.arange(6)[::-1])
x.__array__().dtype.name
isinstance(x.numpy(), np.ndarray)
x.numpy().strides
x.t().numpy().strides
x == x.numpy()
torch.allclose(x, torch.tensor(x.numpy()))
x[np.array([0, 1])]
x[np.array([True, False])]
x[np.int64(1)]
x.reshape(np.int64(3), 2)
torch.zeros(np.int64(3))
torch.zeros(x.shape)
np.concatenate([x, x])
x.numpy().tolist()
np.array(w.tolist())
np.mean(np.asarray(x))
"""


@program
def numpy_protocols(torch):
    x = torch.arange(6.0).reshape(2, 3)
    scope = {"torch": torch, "np": np, "x": x, "w": torch.ones(2, requires_grad=True)}
    return {text: attempt(lambda text=text: eval(text, scope)) for text in filter(None, NUMPY.split("\n"))}


@program
def dlpack(torch):
    x = torch.arange(6.0).reshape(2, 3)
    shared = np.from_dlpack(x)
    x[0, 0] = 9
    array = np.arange(4, dtype=np.int64)
    y = torch.from_dlpack(array)
    array[1] = 50
    return (
        shared.copy(),
        y.clone(),
        torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x)),
        [int(v) for v in x.__dlpack_device__()],
    )


@program
def copies(torch):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    leaf = copy.deepcopy(x)
    return (
        leaf, leaf is x, leaf.is_leaf, attempt(lambda: copy.deepcopy(y), "deepcopy protocol"), copy.copy(x) is x,
        x.clone().requires_grad, x.detach().clone().is_leaf, torch.clone(x),
    )  # fmt: skip


PRINTED = {
    "0-d": lambda t: t.tensor(3.14159),
    "int": lambda t: t.arange(12).reshape(3, 4),
    "negative": lambda t: t.tensor([-1.5, 2.0]),
    "long": lambda t: t.arange(2000),
    "long matrix": lambda t: t.arange(3000.0).reshape(60, 50),
    "cube": lambda t: t.arange(24).reshape(2, 3, 4),
    "4-d": lambda t: t.zeros(2, 1, 2, 2),
    "half": lambda t: t.tensor([1.0, 0.333]).half(),
    "bfloat16": lambda t: t.tensor([1.0, 0.333]).bfloat16(),
    "double": lambda t: t.tensor([1.0, 1 / 3], dtype=t.float64),
    "int8": lambda t: t.tensor([1, -3], dtype=t.int8),
    "bool": lambda t: t.tensor([[True], [False]]),
    "empty": lambda t: t.zeros(0),
    "empty 2-d": lambda t: t.zeros(2, 0),
    "empty int": lambda t: t.zeros(0, dtype=t.int32),
    "tiny": lambda t: t.tensor([1e-7, 1.0]),
    "huge": lambda t: t.tensor([1e10, 1.0]),
    "whole": lambda t: t.tensor([1.0, 2.0, 1000.0]),
    "nan": lambda t: t.tensor([float("nan"), 1.0, float("inf")]),
    "leaf": lambda t: t.ones(2, requires_grad=True),
    "view": lambda t: t.arange(6).reshape(2, 3).t(),
    "add": lambda t: t.ones(2, requires_grad=True) + 1,
    "mean": lambda t: t.ones(2, requires_grad=True).mean(),
    "wide": lambda t: t.arange(40.0) / 7,
    "random": lambda t: t.tensor(data(5, 3, 4)),
    "parameter": lambda t: t.nn.Parameter(t.ones(2, 2)),
    "list of": lambda t: [t.ones(1), t.tensor(2)],
    "dict of": lambda t: {"a": t.ones(1)},
}


@program
def printed_forms(torch):
    return {name: repr(make(torch)) for name, make in PRINTED.items()}


GRAD_FNS = """
x + 1
1 - x
x * x
x / 2
-x
x ** 2
x @ x
torch.mm(x, x)
x.sum()
x.sum(0)
x.mean()
x.mean(1)
x.exp()
x.log()
x.sin()
x.tanh()
x.sigmoid()
x.relu()
torch.relu(x)
x.abs()
x.sqrt()
x.pow(3)
x.t()
x.view(-1)
x.reshape(-1)
x.flatten()
x.transpose(0, 1)
x.permute(1, 0)
x.unsqueeze(0)
x.squeeze()
x[0]
x[:, 0]
x[0, 1]
x[0:1]
x[None]
x[torch.tensor([0])]
x[x > 0]
x.clone()
x.double()
x.max()
x.max(0)[0]
x.amax()
x.norm()
x.var()
x.std()
x.prod()
x.cumsum(0)
x.softmax(0)
x.log_softmax(0)
x.logsumexp(0)
torch.cat([x, x])
torch.stack([x, x])
x.expand(3, 2, 2)
x.repeat(2, 2)
x.split(1)[0]
x.chunk(2)[1]
x.unbind()[0]
x.clamp(0, 1)
x.where(x > 0, 0)
torch.maximum(x, x)
x.sort()[0]
x.topk(1)[0]
x.gather(0, torch.zeros(1, 2, dtype=torch.int64))
x.index_select(0, torch.tensor([0]))
x.masked_fill(x > 0, 1)
x.tril()
x.flip(0)
x.roll(1)
x.contiguous()
x.diagonal()
x.T.contiguous()
torch.bmm(x[None], x[None])
torch.dot(x[0], x[1])
torch.mv(x, x[0])
torch.outer(x[0], x[1])
torch.einsum("ij,jk", x, x)
F.linear(x, x)
F.linear(x, x, x[0])
F.mse_loss(x, x)
F.l1_loss(x, x)
F.cross_entropy(x, torch.tensor([0, 1]))
F.nll_loss(x, torch.tensor([0, 1]))
F.binary_cross_entropy(x.sigmoid(), x.sigmoid())
F.binary_cross_entropy_with_logits(x, x)
F.kl_div(x, x)
F.smooth_l1_loss(x, x)
F.gelu(x)
F.silu(x)
F.elu(x)
F.leaky_relu(x)
F.softplus(x)
F.softmax(x, 0)
F.layer_norm(x, (2,))
F.dropout(x, 0.5)
F.embedding(torch.tensor([0]), x)
F.conv2d(x[None, None], x[None, None])
F.max_pool2d(x[None, None], 2)
F.avg_pool2d(x[None, None], 2)
F.adaptive_avg_pool2d(x[None, None], 1)
F.pad(x, (1, 1))
F.batch_norm(x, None, None, training=True)
F.group_norm(x, 1)
F.scaled_dot_product_attention(x[None], x[None], x[None])
x.clone().add_(1)
x.clone().mul_(2)
x.clone().zero_()
x.clone().fill_(1)
x.scatter_add(0, torch.zeros(1, 2, dtype=torch.int64), x)
torch.erf(x)
torch.round(x)
x.floor()
x.sign()
x.atan2(x)
x.addmm(x, x)
x.minimum(x)
x.log1p()
x.rsqrt()
x.reciprocal()
x.cos()
x.narrow(0, 0, 1)
x.select(0, 1)
x.movedim(0, 1)
x.to(torch.float64)
x.float()
x.half()
""".strip().splitlines()


@program
def names_of_gradient_functions(torch):
    x = torch.tensor([[0.5, 0.25], [1.0, 2.0]], requires_grad=True)
    scope = {"torch": torch, "F": torch.nn.functional, "x": x}
    return {text: attempt(lambda text=text: type(eval(text, scope).grad_fn).__name__) for text in GRAD_FNS if text}


@program
def print_options(torch):
    x = torch.tensor([1.23456, 100.0])
    seen = []
    try:
        torch.set_printoptions(precision=2)
        seen.append(repr(x))
        torch.set_printoptions(sci_mode=True)
        seen.append(repr(x))
        torch.set_printoptions(profile="short", threshold=5)
        seen.append(repr(torch.arange(10)))
    finally:
        torch.set_printoptions(profile="default")
    return seen, repr(x)


@program
def default_dtype(torch):
    try:
        torch.set_default_dtype(torch.float64)
        x = torch.ones(2) / 3
        return x, repr(x), torch.tensor(1.5), torch.zeros(1).float(), repr(torch.zeros(1).float()), torch.arange(2.0)
    finally:
        torch.set_default_dtype(torch.float32)


@program
def wrong_arguments(torch):
    x = torch.ones(2, 3)
    return {
        "keyword": attempt(lambda: torch.sum(x, wrong=1)),
        "argument": attempt(lambda: torch.exp("a")),
        "none": attempt(lambda: torch.exp()),
        "dim type": attempt(lambda: x.sum("a")),
        "list": attempt(lambda: torch.exp([1.0])),
        "matmul number": attempt(lambda: x @ 2),
        "dtype": attempt(lambda: x.to("float99")),
        "device": attempt(lambda: x.to("nowhere")),
        "mixed matmul": attempt(lambda: torch.ones(2, 2) @ torch.ones(2, 2, dtype=torch.float64)),
        "mixed integer matmul": attempt(lambda: torch.ones(2, 2) @ torch.ones(2, 2, dtype=torch.int64)),
        "cat": attempt(lambda: torch.cat([])),
        "cat number": attempt(lambda: torch.cat([1, 2])),
        "stack": attempt(lambda: torch.stack([])),
        "bool subtraction": attempt(lambda: torch.tensor([True]) - torch.tensor([True])),
        "neg bool": attempt(lambda: -torch.tensor([True])),
        "mean int": attempt(lambda: torch.tensor([1, 2]).mean()),
        "integer negative power": attempt(lambda: torch.tensor([2]) ** -1),
        "integer division by zero": attempt(lambda: torch.tensor([1]) // torch.tensor([0])),
        "integer remainder by zero": attempt(lambda: torch.tensor([1]) % 0),
        "in place cast": attempt(lambda: torch.tensor([1, 2]).add_(1.5)),
        "in place division": attempt(lambda: torch.tensor([1, 2]).div_(2)),
        "unknown attribute": attempt(lambda: x.nothing),
        "unknown function": attempt(lambda: torch.nothing),
        "assign shape": attempt(lambda: setattr(x, "shape", (3, 2))),
        "softmax int": attempt(lambda: torch.softmax(torch.tensor([1, 2]), 0)),
        "exp_ int": attempt(lambda: torch.tensor([1]).exp_()),
        "clamp none": attempt(lambda: x.clamp()),
        "requires_grad_ int": attempt(lambda: torch.tensor([1]).requires_grad_()),
        "device of a missing GPU": attempt(lambda: torch.ones(2, device="nowhere:0")),
    }
