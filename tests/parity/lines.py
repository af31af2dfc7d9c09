"""One-liners: each line is a program whose last expression is compared: numbers, dtype, shape, strides, the name of its
``grad_fn``, or the class of what it raises."""

from __future__ import annotations

import ast
import copy
import io
import math

import numpy as np

from parity.harness import register


def seen(torch, value):
    """What is compared of a value."""
    if isinstance(value, torch.Tensor):
        name = type(value.grad_fn).__name__ if value.grad_fn is not None else None
        return [value, list(value.stride()), value.storage_offset(), name]
    if isinstance(value, dict):
        return {k: seen(torch, v) for k, v in value.items()}
    return [seen(torch, v) for v in value] if isinstance(value, (list, tuple)) else value


def line(text):
    """The program of a line: statements, and an expression at the end (or statements that raise)."""
    tree = ast.parse(text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    statements = compile(tree, text, "exec")
    expression = compile(ast.Expression(last.value), text, "eval") if last else None

    def run(torch):
        names = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
        names |= {"np": np, "copy": copy, "io": io, "math": math}
        exec(statements, names)
        return seen(torch, eval(expression, names)) if expression else None

    return run


LINES = """
torch.tensor([1,2]) + 1.5
torch.tensor([1,2]) * True
torch.tensor([True]) + 1
torch.tensor([True]) + torch.tensor([True])
torch.tensor([True]) - torch.tensor([True])
-torch.tensor([True])
~torch.tensor([True])
~torch.tensor([1,2])
~torch.tensor([1.])
torch.tensor([1,2],dtype=torch.uint8) - torch.tensor([2,1],dtype=torch.uint8)
torch.tensor([1,2],dtype=torch.uint8) + torch.tensor([-2,1],dtype=torch.int8)
torch.tensor([1,2],dtype=torch.int32) / 2
torch.tensor([7,-7]) // 2
torch.tensor([7,-7]) % 3
torch.tensor([7.,-7.]) % 3
torch.tensor([7.,-7.]).fmod(3)
torch.tensor([7,-7]) // 0
torch.tensor([7,-7]) % 0
torch.tensor([7.]) // 0
torch.tensor([1,2]) ** -1
torch.tensor([1,2]) ** 2
torch.tensor([1,2]) ** 0.5
2 ** torch.tensor([1,2])
2.5 ** torch.tensor([1,2])
(-2) ** torch.tensor([1,2])
torch.tensor(2, dtype=torch.int32) + torch.tensor([1.0], dtype=torch.float16)
torch.tensor(2.0, dtype=torch.float64) + torch.tensor([1.0], dtype=torch.float16)
torch.tensor([2.0], dtype=torch.float64) + torch.tensor([1.0], dtype=torch.float16)
torch.tensor([2.0], dtype=torch.bfloat16) + torch.tensor([1.0], dtype=torch.float16)
torch.tensor(2.0, dtype=torch.float64) + torch.tensor([1])
torch.tensor(2) + torch.tensor(3., dtype=torch.float16)
torch.result_type(torch.tensor([1]), 2.0)
torch.result_type(torch.tensor([1], dtype=torch.int8), 300)
torch.promote_types(torch.int32, torch.float16)
torch.promote_types(torch.uint8, torch.int8)
torch.can_cast(torch.float32, torch.int64)
torch.can_cast(torch.int64, torch.float32)
torch.tensor([1,2], dtype=torch.int8) + 127
torch.tensor([1,2], dtype=torch.int8) * 1000
x = torch.tensor([1,2]); x += 1.5
x = torch.tensor([1,2]); x /= 2
x = torch.tensor([1,2]); x //= 2; x
x = torch.tensor([1.,2.], dtype=torch.float16); x += torch.tensor([1.,2.], dtype=torch.float64); x
x = torch.tensor([True]); x += 1
x = torch.tensor([True,False]); x |= torch.tensor([False, True]); x
x = torch.tensor([1,2]); x **= 2; x
x = torch.tensor([1,2]); x %= 2; x
x = torch.tensor([1,2]); x <<= 2; x
torch.tensor([1,2]) << 3
torch.tensor([16,-16]) >> 2
1 << torch.tensor([1,2])
5 & torch.tensor([1,4])
torch.tensor([1,2]) ^ 3
torch.tensor([1.]) & torch.tensor([1.])
torch.tensor([1,2]) == 1.0
torch.tensor([1,2]) < torch.tensor(1.5)
torch.tensor([1,2]).float().mean()
torch.tensor([1,2]).mean()
torch.tensor([True, False]).sum()
torch.tensor([True, False]).float().mean()
torch.tensor([True, False]).mean()
torch.tensor([1,2], dtype=torch.int8).sum()
torch.tensor([1,2], dtype=torch.uint8).prod()
torch.tensor([1,2], dtype=torch.int8).cumsum(0)
torch.tensor([1.,2.], dtype=torch.float16).sum(dtype=torch.float64)
torch.ones(3, dtype=torch.bfloat16).sum()
torch.tensor([1,2]).std()
torch.tensor([1.]).std()
torch.tensor([1.,2.]).std(unbiased=False)
torch.tensor([1.,2.]).std(correction=0)
torch.tensor([[1.,2.],[3.,5.]]).std(0)
torch.tensor([[1.,2.],[3.,5.]]).var(dim=1, keepdim=True)
torch.std_mean(torch.tensor([[1.,2.],[3.,5.]]), 0)
torch.var_mean(torch.tensor([[1.,2.],[3.,5.]]))
torch.sqrt(torch.tensor([1,4]))
torch.exp(torch.tensor([True]))
torch.sigmoid(torch.tensor([0,1]))
torch.abs(torch.tensor([-1,2]))
torch.abs(torch.tensor([True]))
torch.sign(torch.tensor([-2.,0.,float('nan')]))
torch.round(torch.tensor([0.5,1.5,2.5,-0.5]))
torch.round(torch.tensor([1.2345]), decimals=2)
torch.trunc(torch.tensor([1.7,-1.7]))
torch.frac(torch.tensor([1.7,-1.7]))
torch.floor(torch.tensor([1,2]))
torch.ceil(torch.tensor([1,2]))
torch.clamp(torch.tensor([1,5,9]), 2, 6)
torch.clamp(torch.tensor([1,5,9]), 2.5, 6)
torch.clamp(torch.tensor([1.,5,9]), min=2)
torch.clamp(torch.tensor([1.,5,9]))
torch.clamp(torch.tensor([1.,5,9]), min=torch.tensor([2.,6.,7.]))
torch.clip(torch.tensor([1.,5,9]), max=3)
torch.where(torch.tensor([True,False]), 1, 0)
torch.where(torch.tensor([True,False]), 1.0, 0)
torch.where(torch.tensor([True,False]), torch.tensor([1,2]), 0.5)
torch.where(torch.tensor([1,0]), torch.tensor([1,2]), 0.5)
torch.where(torch.tensor([True,False]))
torch.count_nonzero(torch.tensor([[1,0],[0,2]]), dim=0)
torch.maximum(torch.tensor([1,2]), torch.tensor([1.5,0.]))
torch.max(torch.tensor([1,2]), torch.tensor([1,5]))
torch.max(torch.tensor([[1,2],[4,3]]), 1)
torch.max(torch.tensor([[1,2],[4,3]]), dim=0, keepdim=True)
torch.max(torch.tensor([]))
torch.tensor([]).argmax()
torch.min(torch.tensor([[1.,float('nan')],[4,3]]), 1)
torch.amax(torch.tensor([[1,2],[4,3]]), (0,1))
torch.aminmax(torch.tensor([1.,2.,-3.]))
torch.tensor([[1,2],[4,3]]).argmax()
torch.tensor([[1,2],[4,3]]).argmax(dim=1, keepdim=True)
torch.tensor([3,1,3]).argmax()
torch.tensor([3.,1,3]).argmin()
torch.median(torch.tensor([1.,3.,2.,4.]))
torch.median(torch.tensor([[1.,3.,2.],[6,5,4]]), dim=1)
torch.mode(torch.tensor([1,2,2,3]))
torch.quantile(torch.tensor([1.,2.,3.,4.]), 0.3)
torch.quantile(torch.tensor([1.,2.,3.,4.]), torch.tensor([0.25,0.5]))
torch.unique(torch.tensor([3,1,2,3,1]))
torch.unique(torch.tensor([3,1,2,3,1]), return_counts=True)
torch.unique(torch.tensor([3,1,2,3,1]), return_inverse=True)
torch.bincount(torch.tensor([0,1,1,3]))
torch.bincount(torch.tensor([0,1,1,3]), minlength=6)
torch.histc(torch.tensor([1.,2.,1.]), bins=4, min=0, max=3)
torch.sort(torch.tensor([3,1,2]))
torch.sort(torch.tensor([[3,1,2],[1,2,0]]), dim=0, descending=True)
torch.tensor([3,1,2]).sort(descending=True).values
torch.argsort(torch.tensor([3,1,2]), descending=True)
torch.topk(torch.tensor([3,1,2]), 2)
torch.topk(torch.tensor([3.,1,2]), 2, largest=False)
torch.topk(torch.tensor([3.,1,2]), 5)
torch.kthvalue(torch.tensor([3.,1,2]), 2)
torch.cumprod(torch.tensor([1,2,3]), 0)
torch.cummax(torch.tensor([1,3,2]), 0)
torch.diff(torch.tensor([1,3,2]))
torch.logcumsumexp(torch.tensor([1.,3,2]), 0)
torch.cumsum(torch.tensor([[1,2],[3,4]]), 1)
torch.norm(torch.tensor([3.,4.]))
torch.norm(torch.tensor([3,4]))
torch.norm(torch.tensor([[3.,4.],[6,8]]), dim=1)
torch.norm(torch.tensor([[3.,4.],[6,8]]), p=1)
torch.norm(torch.tensor([[3.,4.],[6,8]]), p='fro')
torch.norm(torch.tensor([[3.,4.],[6,8]]), p=float('inf'))
torch.linalg.norm(torch.tensor([[3.,4.],[6,8]]))
torch.linalg.norm(torch.tensor([3.,4.]), ord=1)
torch.linalg.norm(torch.tensor([[3.,4.],[6,8]]), ord=1)
torch.linalg.norm(torch.tensor([[3.,4.],[6,8]]), dim=1)
torch.linalg.norm(torch.tensor([[3.,4.],[6,8]]), ord='fro')
torch.linalg.vector_norm(torch.tensor([[3.,4.],[6,8]]), ord=3)
torch.linalg.vector_norm(torch.tensor([[3.,4.],[6,8]]), dim=0, keepdim=True)
torch.linalg.matrix_norm(torch.tensor([[3.,4.],[6,8]]))
torch.tensor([3.,4.]).norm(p=3, dim=0, keepdim=True)
torch.dist(torch.tensor([3.,4.]), torch.tensor([0.,0.]))
torch.cdist(torch.tensor([[3.,4.]]), torch.tensor([[0.,0.],[1,1]]))
torch.logsumexp(torch.tensor([1.,2.,3.]), 0)
torch.logsumexp(torch.tensor([[1.,2.,3.]]), dim=1, keepdim=True)
torch.logaddexp(torch.tensor([1.]), torch.tensor([2.]))
torch.any(torch.tensor([[0,1],[0,0]]), dim=1)
torch.all(torch.tensor([0.5, 1.]))
torch.all(torch.tensor([1,2], dtype=torch.uint8))
torch.tensor([1,2]).any()
torch.isnan(torch.tensor([1., float('nan')]))
torch.isinf(torch.tensor([1., float('-inf')]))
torch.isfinite(torch.tensor([1, 2]))
torch.nan_to_num(torch.tensor([1., float('nan'), float('inf')]))
torch.equal(torch.tensor([1,2]), torch.tensor([1,2]))
torch.equal(torch.tensor([1,2]), torch.tensor([1.,2]))
torch.equal(torch.tensor([1,2]), torch.tensor([1,2,3]))
torch.allclose(torch.tensor([1.]), torch.tensor([1.00001]))
torch.allclose(torch.tensor([1.]), torch.tensor([1.1]), atol=0.2)
torch.allclose(torch.tensor([1.]), torch.tensor([1]))
torch.allclose(torch.tensor([float('nan')]), torch.tensor([float('nan')]), equal_nan=True)
torch.isclose(torch.tensor([1.,2.]), torch.tensor([1.00001,3.]))
torch.eq(torch.tensor([1,2]), 1)
torch.ne(torch.tensor([1,2]), torch.tensor([1,3]))
torch.gt(torch.tensor([1,2]), 1.5)
torch.logical_and(torch.tensor([1,0]), torch.tensor([1,1]))
torch.logical_not(torch.tensor([1.,0]))
torch.logical_xor(torch.tensor([1,0]), torch.tensor([1,1]))
torch.bitwise_and(torch.tensor([5]), torch.tensor([4]))
torch.bitwise_not(torch.tensor([5], dtype=torch.uint8))
torch.addcmul(torch.tensor([1.]), torch.tensor([2.]), torch.tensor([3.]), value=0.5)
torch.addcdiv(torch.tensor([1.]), torch.tensor([2.]), torch.tensor([3.]), value=0.5)
torch.addmm(torch.ones(2), torch.ones(2,3), torch.ones(3,2), beta=2, alpha=3)
torch.lerp(torch.tensor([1.]), torch.tensor([3.]), 0.25)
torch.sub(torch.tensor([1,2]), 1, alpha=2)
torch.add(torch.tensor([1.,2]), torch.tensor([1.,2]), alpha=2)
torch.rsub(torch.tensor([1,2]), 1)
torch.div(torch.tensor([7,-7]), 2, rounding_mode='floor')
torch.div(torch.tensor([7,-7]), 2, rounding_mode='trunc')
torch.div(torch.tensor([7.,-7]), 2, rounding_mode='trunc')
torch.true_divide(torch.tensor([7]), 2)
torch.floor_divide(torch.tensor([7,-7]), 2)
torch.remainder(torch.tensor([-3.,3.]), 2)
torch.pow(torch.tensor([2.]), torch.tensor([3]))
torch.pow(2, torch.tensor([3.]))
torch.square(torch.tensor([2]))
torch.rsqrt(torch.tensor([4.]))
torch.reciprocal(torch.tensor([4]))
torch.neg(torch.tensor([4], dtype=torch.uint8))
torch.erf(torch.tensor([0.5]))
torch.erfinv(torch.tensor([0.5]))
torch.lgamma(torch.tensor([0.5, 4.]))
torch.digamma(torch.tensor([0.5, 4.]))
torch.expm1(torch.tensor([1e-5]))
torch.log2(torch.tensor([8.]))
torch.log10(torch.tensor([100.]))
torch.log1p(torch.tensor([1e-5]))
torch.log(torch.tensor([0.,-1.]))
torch.atan2(torch.tensor([1.]), torch.tensor([-1.]))
torch.sinh(torch.tensor([1.])), torch.cosh(torch.tensor([1.])), torch.asin(torch.tensor([.5])), torch.acos(torch.tensor([.5])), torch.atan(torch.tensor([.5])), torch.tan(torch.tensor([.5]))
torch.asinh(torch.tensor([1.])), torch.acosh(torch.tensor([1.5])), torch.atanh(torch.tensor([.5]))
torch.hypot(torch.tensor([3.]), torch.tensor([4.]))
torch.deg2rad(torch.tensor([180.])), torch.rad2deg(torch.tensor([3.14159265]))
torch.softmax(torch.tensor([1.,2.]), 0), torch.log_softmax(torch.tensor([1.,2.]), dim=0)
torch.softmax(torch.tensor([1,2]), 0)
torch.softmax(torch.tensor([1,2]), 0, dtype=torch.float32)
torch.heaviside(torch.tensor([-1.,0.,2.]), torch.tensor([.5]))
torch.sgn(torch.tensor([-2.]))
torch.signbit(torch.tensor([-2., 0., -0.]))
torch.copysign(torch.tensor([2.]), -1.)
torch.gcd(torch.tensor([12]), torch.tensor([18]))
torch.sinc(torch.tensor([0., .5]))
torch.logit(torch.tensor([.3]))
torch.nansum(torch.tensor([1., float('nan')]))
torch.nanmean(torch.tensor([1., float('nan')]))
torch.tensor(5)
torch.tensor(5.0)
torch.tensor(True)
torch.tensor([1, 2.0])
torch.tensor([1, True])
torch.tensor([[1,2],[3]])
torch.tensor([[1,2],[3,4]], dtype=torch.float16)
torch.tensor(np.array([1,2], dtype=np.int32))
torch.tensor(np.float64(1.5))
torch.tensor(np.array(3))
torch.tensor([np.float32(1.5), 2])
torch.tensor([torch.tensor(1), torch.tensor(2)])
torch.tensor([torch.tensor(1.), 2])
torch.tensor([torch.ones(2), torch.ones(2)])
torch.tensor('a')
torch.tensor(None)
torch.tensor([])
torch.tensor([[]])
torch.tensor([[],[]])
torch.tensor(range(3))
torch.tensor((1,2,3))
torch.tensor({1,2})
torch.tensor([1,2], requires_grad=True)
torch.tensor([1.,2], requires_grad=True)
torch.tensor([300], dtype=torch.uint8)
torch.tensor([-1], dtype=torch.uint8)
torch.tensor(2**63)
torch.tensor(2**62)
torch.tensor([1e300])
torch.tensor([1.5], dtype=torch.int64)
torch.tensor([1.5, -1.5], dtype=torch.int32)
torch.tensor(["a"])
torch.Tensor(2,3).shape
torch.Tensor([2,3])
torch.Tensor(5).shape
torch.Tensor([5])
torch.Tensor()
torch.Tensor(2.5)
torch.Tensor([[1,2],[3,4]])
torch.Tensor(np.array([1,2]))
torch.FloatTensor([1,2])
torch.LongTensor([1,2])
torch.LongTensor([1.5,2])
torch.BoolTensor([1,0])
torch.DoubleTensor([1])
torch.IntTensor([1]), torch.ByteTensor([1]), torch.HalfTensor([1]), torch.ShortTensor([1]), torch.CharTensor([1])
torch.FloatTensor(2,3).shape
torch.zeros(2,3)
torch.zeros((2,3), dtype=torch.int8)
torch.zeros([2])
torch.zeros(())
torch.zeros(0)
torch.zeros(2, 0, 3)
torch.zeros(-1)
torch.zeros(2.0)
torch.zeros('a')
torch.ones(2, dtype=bool)
torch.ones(2, dtype=int)
torch.ones(2, dtype=float)
torch.full((2,), 7)
torch.full((2,), 7.)
torch.full((2,), True)
torch.full((2,), 7, dtype=torch.float16)
torch.full(2, 7)
torch.full((2,), float('inf'))
torch.eye(2, 3)
torch.eye(2, dtype=torch.int32)
torch.arange(5)
torch.arange(1, 2, 0.25)
torch.arange(5.)
torch.arange(0, 5, 2)
torch.arange(5, 0, -1)
torch.arange(5, 0)
torch.arange(0, 5, 0)
torch.arange(1, 5, dtype=torch.float32)
torch.arange(3, dtype=torch.int8)
torch.arange(0, 1, 0.1)
torch.linspace(0, 1, 5)
torch.linspace(0, 1, steps=4)
torch.linspace(0, 10, 1)
torch.linspace(0, 10, 5, dtype=torch.int64)
torch.linspace(-3, 3, 7)
torch.logspace(0, 2, 3)
torch.empty(2, 3).shape
torch.empty((2, 3), dtype=torch.int64).dtype
torch.zeros_like(torch.tensor([1,2]))
torch.ones_like(torch.tensor([1,2]), dtype=torch.float32)
torch.full_like(torch.tensor([1.,2]), 3)
torch.full_like(torch.tensor([1,2]), 3.7)
torch.empty_like(torch.ones(2,3).t()).stride()
torch.zeros_like(torch.ones(2,3).t())
torch.zeros_like(torch.ones(2,3)[:, ::2])
torch.rand_like(torch.ones(2,3, dtype=torch.int64))
torch.manual_seed(0); torch.randn_like(torch.ones(2,3))
torch.manual_seed(0); torch.randint(10, (3,))
torch.manual_seed(0); torch.randint(5, 10, (3,))
torch.manual_seed(0); torch.randint(5, 10, (3,), dtype=torch.float32)
torch.manual_seed(0); torch.randint(0, 0, (3,))
torch.manual_seed(0); torch.randint(10, 3)
torch.manual_seed(0); torch.randperm(6)
torch.manual_seed(0); torch.rand(3)
torch.manual_seed(0); torch.rand(())
torch.manual_seed(0); torch.rand(2, dtype=torch.float64)
torch.manual_seed(0); torch.rand(2, dtype=torch.float16)
torch.manual_seed(0); torch.randn(2, dtype=torch.bfloat16)
torch.manual_seed(0); torch.randn(17)
torch.manual_seed(0); torch.normal(0., 1., (3,))
torch.manual_seed(0); torch.normal(torch.zeros(3), torch.ones(3))
torch.manual_seed(0); torch.normal(2.0, torch.ones(3))
torch.manual_seed(0); torch.bernoulli(torch.tensor([.1,.5,.9]))
torch.manual_seed(0); torch.multinomial(torch.tensor([.1,.5,.4]), 2)
torch.manual_seed(0); torch.multinomial(torch.tensor([.1,.5,.4]), 6, replacement=True)
torch.manual_seed(0); torch.multinomial(torch.tensor([.1,.5,.4]), 6)
torch.manual_seed(0); torch.multinomial(torch.tensor([[.1,.5,.4],[.3,.3,.4]]), 1)
torch.manual_seed(0); torch.zeros(3).uniform_(-1, 1)
torch.manual_seed(0); torch.zeros(3).normal_(1, 2)
torch.manual_seed(0); torch.zeros(3).exponential_()
torch.manual_seed(0); torch.zeros(3).bernoulli_(0.5)
torch.manual_seed(0); torch.zeros(5).random_(10)
torch.manual_seed(0); torch.empty(5, dtype=torch.int64).random_(0, 10)
torch.manual_seed(0); torch.zeros(3, 4).t().normal_()
torch.manual_seed(0); torch.zeros(3, 4).t().uniform_()
torch.manual_seed(0); torch.zeros(3, 8)[:, ::2].normal_()
torch.manual_seed(0); torch.zeros(2,3,4).permute(2,0,1).normal_()
torch.manual_seed(0); torch.zeros(3, 4).t().bernoulli_(0.5)
torch.manual_seed(0); torch.zeros(3, 4).t().random_(10)
torch.manual_seed(0); torch.zeros(30, 4).t().normal_()
torch.manual_seed(0); torch.randn_like(torch.zeros(3, 4).t())
torch.manual_seed(0); torch.rand_like(torch.zeros(3, 4).t())
torch.manual_seed(0); torch.bernoulli(torch.full((3,4),.5).t())
torch.manual_seed(5).initial_seed()
type(torch.manual_seed(0)).__name__
torch.manual_seed(1); s = torch.get_rng_state(); a = torch.rand(2); torch.set_rng_state(s); (a == torch.rand(2)).all()
torch.get_rng_state().shape, torch.get_rng_state().dtype
torch.from_numpy(np.arange(3))
torch.from_numpy(np.arange(3.)[::-1])
torch.from_numpy(np.arange(6.).reshape(2,3).T)
torch.from_numpy([1,2])
torch.as_tensor([1,2])
torch.as_tensor(np.float32(3))
torch.as_tensor(torch.ones(2), dtype=torch.int64)
torch.asarray([1,2])
torch.scalar_tensor(3)
torch.meshgrid(torch.arange(2), torch.arange(3), indexing='ij')
torch.meshgrid(torch.arange(2), torch.arange(3), indexing='xy')
torch.cartesian_prod(torch.tensor([1,2]), torch.tensor([3,4]))
torch.combinations(torch.tensor([1,2,3]))
torch.tril_indices(3,3), torch.triu_indices(3,3,1)
torch.tril(torch.ones(3,3)), torch.triu(torch.ones(3,3,dtype=torch.bool), 1)
torch.diag(torch.tensor([1,2]))
torch.diag(torch.tensor([[1,2],[3,4]]))
torch.diag_embed(torch.tensor([[1,2]]))
torch.block_diag(torch.ones(1,1), torch.ones(2,2))
torch.vander(torch.tensor([1,2,3]))
torch.trace(torch.ones(3,3))
torch.hann_window(4), torch.hamming_window(4)
F.one_hot(torch.tensor([0,2,1]))
F.one_hot(torch.tensor([0,2,1]), 5)
F.one_hot(torch.tensor([0,2,1]), 2)
F.one_hot(torch.tensor([0.,2,1]))
torch.get_default_dtype()
torch.is_tensor(torch.ones(1)), torch.is_tensor(1), torch.is_floating_point(torch.ones(1)), torch.numel(torch.ones(2,3)), torch.is_complex(torch.ones(1))
torch.finfo(torch.float32), torch.finfo(torch.bfloat16).eps, torch.iinfo(torch.int8)
torch.finfo(torch.float16)
torch.iinfo(torch.int64).max, torch.finfo(torch.float64).tiny, torch.finfo().max
torch.float32.itemsize, torch.float32.is_floating_point, torch.int8.is_signed
torch.float, torch.double, torch.half, torch.long, torch.int, torch.short
torch.Size([2,3]), torch.Size([2,3]).numel(), torch.Size([2,3]) + (4,), torch.Size([2,3])[1:], torch.Size((2,3)) == (2,3), len(torch.Size([2])), tuple(torch.Size([1,2]))
torch.Size([2.5])
torch.Size(torch.tensor([1,2]))
torch.zeros(2,3).shape[-1], torch.zeros(2,3).size(), torch.zeros(2,3).size(-1), torch.zeros(2,3).size(dim=0)
torch.zeros(2,3).size(5)
str(torch.zeros(2,3).shape), f"{torch.zeros(2,3).shape}", list(torch.zeros(2,3).shape)
a, b = torch.zeros(2,3).shape; a*b
torch.zeros(torch.zeros(2,3).shape).shape
torch.device('foo')
torch.ones(1).to('cpu').device, torch.ones(1).device == torch.device('cpu'), torch.ones(1).is_cuda, torch.ones(1).cpu().device
torch.ones(1, device='cpu'), torch.ones(1).get_device()
torch.ones(2).to(torch.int64), torch.ones(2).to(torch.ones(1, dtype=torch.float64)), torch.ones(2).to('cpu', torch.float16), torch.ones(2).type(torch.int32), torch.ones(2).double(), torch.ones(2).half(), torch.ones(2).bfloat16(), torch.ones(2).bool(), torch.ones(2).byte(), torch.ones(2).char(), torch.ones(2).short(), torch.ones(2).int(), torch.ones(2).long()
torch.ones(2).type(), torch.ones(2).long().type(), torch.ones(2).type('torch.DoubleTensor'), torch.ones(2).type(torch.LongTensor)
torch.ones(2).type_as(torch.ones(1).int())
x = torch.ones(2); x.to(torch.float32) is x, x.float() is x, x.contiguous() is x, x.cpu() is x, x.to(torch.float32, copy=True) is x
torch.tensor([1.7, -1.7]).int(), torch.tensor([float('nan')]).bool(), torch.tensor([300.]).to(torch.uint8), torch.tensor([-1.]).to(torch.uint8), torch.tensor([1e10]).to(torch.float16)
torch.ones(2).view(torch.int32)
torch.ones(2, dtype=torch.float32).view(torch.uint8)
torch.arange(8, dtype=torch.uint8).view(torch.int32)
torch.arange(3, dtype=torch.uint8).view(torch.int32)
torch.ones(2).view(torch.float64)
torch.ones(2,2).t().view(torch.float64)
x = torch.ones(2); y = x.view(torch.int32); y[0] = 0; x
torch.ones(2, 3).view(torch.float16)
torch.tensor([1,2]).item()
torch.tensor([1]).item(), torch.tensor(1.5).item(), torch.tensor([[True]]).item()
torch.tensor([1,2]).tolist(), torch.tensor(3).tolist(), torch.tensor([[1.5]]).tolist(), torch.tensor([True]).tolist(), torch.zeros(0,2).tolist(), torch.zeros(2,0).tolist()
float(torch.tensor(1.5)), int(torch.tensor(1.7)), bool(torch.tensor([0.])), float(torch.tensor([2])), complex(torch.tensor(1.))
bool(torch.tensor([1,2]))
bool(torch.tensor([]))
int(torch.tensor([1,2]))
float(torch.tensor('a'))
if torch.tensor([1.,2.]) > 0: pass
len(torch.zeros(3,2)), [t.tolist() for t in torch.arange(4).view(2,2)]
len(torch.tensor(1))
iter(torch.tensor(1))
list(torch.tensor([1,2]))
1 in torch.tensor([1,2]), 5 in torch.tensor([1,2]), torch.tensor(2) in torch.tensor([1,2])
range(10)[torch.tensor(3)], [1,2,3][torch.tensor(1)], list(range(torch.tensor(3)))
"abc"[torch.tensor(1.)]
f"{torch.tensor(1.23456):.2f}", f"{torch.tensor(3):d}", f"{torch.tensor(3):5d}|", "%.3f" % torch.tensor(1.5), "{:.1e}".format(torch.tensor(12345.))
f"{torch.tensor([1.5]):.2f}"
f"{torch.tensor([1.5])}", str(torch.tensor(2.)), f"{torch.tensor(1.5)}", f"{torch.tensor(2)}"
round(torch.tensor(1.6)), abs(torch.tensor(-1)), divmod(torch.tensor(7), torch.tensor(2)), sum([torch.tensor(1), torch.tensor(2)]), max(torch.tensor(1), torch.tensor(2)), sum(torch.tensor([1,2,3])), sorted(torch.tensor([3,1,2]))
math.sqrt(torch.tensor(4.)), math.floor(torch.tensor(1.5)), math.exp(torch.tensor(0))
np.array(torch.ones(2)), np.asarray(torch.tensor([1,2])), np.mean(torch.tensor([1.,2.]).numpy()), np.exp(torch.zeros(2))
np.ones(2) + torch.ones(2)
torch.ones(2) + np.ones(2)
torch.ones(2) * np.float64(2.5)
np.float64(2.5) * torch.ones(2)
np.float32(2.5) + torch.ones(2, requires_grad=True)
torch.ones(2) * [1,2]
torch.ones(2) + '1'
torch.ones(2) + None
torch.ones(2) == None
torch.ones(2) == 'a'
torch.ones(2) != None
torch.ones(2) < None
None == torch.ones(2)
torch.ones(1) == torch.ones(1), torch.ones(2) == torch.ones(3)
torch.ones(2) + torch.ones(3)
torch.ones(2,3) + torch.ones(2)
torch.ones(2,3) * torch.ones(3,1)
torch.ones(2,3) + torch.ones(2,1)
torch.ones(2) and 1
not torch.tensor(0)
isinstance(torch.ones(1), torch.Tensor), isinstance(torch.ones(1), torch.FloatTensor), isinstance(nn.Parameter(torch.ones(1)), torch.Tensor), type(torch.ones(1)).__name__
x = torch.zeros(2,3); x[:,0] += 1; x
x = torch.zeros(2,3); x.view(-1)[3] = 7; x
x = torch.arange(6.).view(2,3); y = x.t(); y.zero_(); x
x = torch.zeros(3); a = x.numpy(); a[0] = 5; x += 1; (x, a)
a = np.zeros(3); x = torch.from_numpy(a); x[1] = 3; a[0] = 2; (x, a)
x = torch.arange(12).view(3,4); x[1], x[1,2], x[1:,2], x[..., -1], x[None].shape, x[:, None].shape, x[1:3, ::2], x[-1], x[:, -2:]
x = torch.arange(12).view(3,4); x[[0,2]], x[[0,2],[1,3]], x[torch.tensor([0,2])], x[x>5], x[x%2==0].shape, x[:, [True,False,True,False]], x[[True,False,True]]
x = torch.arange(12).view(3,4); x[torch.tensor([[0,1],[2,0]])].shape, x[:, torch.tensor([[0,1],[2,0]])].shape, x[torch.tensor([0,1]), :, None].shape
x = torch.arange(24).view(2,3,4); x[0, :, [0,1]].shape, x[:, [0,1], [0,1]].shape, x[[0,1], :, [0,1]].shape, x[..., [0]].shape, x[[0], ..., [1]].shape, x[0, ..., None].shape
x = torch.arange(5); x[10]
x = torch.arange(5); x[-6]
x = torch.arange(6).view(2,3); x[0, 5]
x = torch.arange(6).view(2,3); x[0,0,0]
x = torch.arange(6).view(2,3); x[[0,5]]
x = torch.arange(6).view(2,3); x[torch.tensor([0, -3])]
x = torch.arange(6).view(2,3); x[torch.tensor([0., 1])]
x = torch.arange(6).view(2,3); x[1.0]
x = torch.arange(6).view(2,3); x['a']
x = torch.arange(6).view(2,3); x[::-1]
x = torch.arange(6).view(2,3); x[torch.tensor([True,False,True])]
x = torch.arange(6).view(2,3); x[torch.tensor([[True,False,True],[False,False,True]])]
x = torch.arange(6).view(2,3); x[torch.tensor([[True,False],[False,True]])]
x = torch.arange(6).view(2,3); x[[0,1],[0,1,2]]
x = torch.arange(6); x[0] = 1.7; x
x = torch.arange(6.); x[1:3] = torch.tensor([10,20]); x
x = torch.arange(6.); x[1:3] = [10,20]; x
x = torch.arange(6.); x[1:3] = torch.tensor([1.,2.,3.])
x = torch.arange(6.); x[[0,0,1]] = torch.tensor([1.,2.,3.]); x
x = torch.arange(6.); x[[0,0,1]] += 1; x
x = torch.arange(6.); x[x>2] = 0; x
x = torch.arange(6.); x[x>2] *= 2; x
x = torch.arange(6.); x[x>2] = torch.tensor([1.,2.])
x = torch.arange(6.); x[x>2] = torch.tensor([1.,2.,3.]); x
x = torch.arange(6.).view(2,3); x[0] = x[1]; x
x = torch.arange(6.).view(2,3); x[:, 0] = torch.tensor(9); x
x = torch.arange(6.).view(2,3); x[...] = 3; x
x = torch.arange(6.).view(2,3); x[:, 1:] = torch.ones(2,1); x
x = torch.arange(6.).view(2,3); x[1, [0,2]] = -1; x
x = torch.arange(6.).view(2,3); x[torch.tensor([1]), :] = 5; x
x = torch.zeros(2,3,4); x[:, 1, ::2] = 1; x.sum(), x[:,1]
x = torch.zeros(2); x[()] = 5; x
x = torch.tensor(3.); x[()], x[None], x[...]
x = torch.tensor(3.); x[0]
x = torch.zeros(4); x[torch.tensor(2)] = 1; x
x = torch.zeros(4); x[True] = 2; x
x = torch.arange(4); x[None, 1:, None].shape
x = torch.arange(4); x[torch.arange(4) > 5]
x = torch.arange(4); x[[]]
x = torch.arange(4); x[torch.tensor([], dtype=torch.long)]
x = torch.arange(4); x[np.array([1,2])], x[np.int64(2)], x[np.array([True,False,True,False])]
x = torch.arange(4); x[slice(1,3)], x[1:100], x[3:1], x[-100:2]
x = torch.arange(4); x[(1,)], x[range(2)], x[(slice(None),)]
x = torch.arange(12).view(3,4); x[0:2, torch.tensor(1)], x[torch.tensor(1), torch.tensor(2)]
x = torch.arange(12).view(3,4); x[torch.tensor([0,1]), 1:3], x[1:3, torch.tensor([0,1])]
x = torch.arange(12).view(3,4); x.t().stride(), x.t().is_contiguous(), x[:, 1].stride(), x[:, 1].storage_offset(), x.t().contiguous().stride()
x = torch.arange(12).view(3,4); x.t().view(-1)
x = torch.arange(12).view(3,4); x.t().reshape(-1), x.view(2,6), x.view(-1, 2).shape, x.view(12)
x = torch.arange(12).view(3,4); x.view(5,-1)
x = torch.arange(12); x.view(-1,-1)
x = torch.arange(12); x.reshape(5,5)
x = torch.arange(12).view(3,4); x[:, :2].view(6)
x = torch.arange(12).view(3,4); x.unsqueeze(0).shape, x.unsqueeze(-1).shape, x.unsqueeze(5)
x = torch.zeros(1,3,1); x.squeeze().shape, x.squeeze(0).shape, x.squeeze(1).shape, x.squeeze(-1).shape, x.squeeze((0,2)).shape
x = torch.zeros(2,3,4); x.permute(2,0,1).shape, x.transpose(0,1).shape, x.permute(0,-1,1).stride(), x.movedim(0,-1).shape
x = torch.zeros(2,3,4); x.permute(0,1)
x = torch.zeros(2,3,4); x.permute(0,1,1)
x = torch.zeros(2,3,4); x.t()
x = torch.zeros(2,3,4); x.transpose(0,3)
x = torch.zeros(2,3,4); x.T.shape
x = torch.zeros(3); x.expand(2,3), x.expand(2,-1).stride(), x.expand(2,4)
x = torch.zeros(3); y = x.expand(2,3); y[0,0] = 1; y
x = torch.zeros(3); y = x.expand(2,3); y.add_(1)
x = torch.zeros(3,1).expand(3,4); x += 1
x = torch.zeros(3,1).expand(3,4); x[:, 0] = 1; x
x = torch.arange(4.); x[1:] += x[:-1]; x
x = torch.arange(4.); x[:-1] = x[1:]; x
x = torch.arange(4.); x[1:] = x[:-1]
x = torch.arange(4.); x.add_(x.flip(0)); x
x = torch.arange(4.).view(2,2); x.add_(x.t()); x
x = torch.arange(9.).view(3,3); x.copy_(x.t()); x
x = torch.arange(6.); a = x.view(2,3); b = a[1]; c = b[1:]; c.mul_(10); (x, a, b, c)
x = torch.arange(6.); a = x.view(2,3).t()[1:]; a += 100; x
x = torch.zeros(2,2); y = x; y += 1; z = x + 1; (x, y is x, z)
x = torch.zeros(2,2); y = x.clone(); y += 1; x
x = torch.zeros(2,2); y = x.detach(); y += 1; x
x = torch.zeros(2,2); y = x.data; y += 1; x
x = torch.zeros(2,2); y = x.reshape(4); y += 1; x
x = torch.zeros(2,2).t(); y = x.reshape(4); y += 1; x
x = torch.zeros(2,2); y = x.flatten(); y += 1; x
x = torch.zeros(2,2); y = x.contiguous(); y += 1; x
x = torch.arange(6.).view(2,3); a, b = x.unbind(0); a += 1; x
x = torch.arange(6.).view(2,3); a, b, c = x.split(1, 1); b.zero_(); x
x = torch.arange(6.).view(2,3); a, b = x.chunk(2, 1); b.fill_(-1); x, a.shape, b.shape
x = torch.arange(6.); x.chunk(4)
x = torch.arange(6.); x.split([1,2,3]), x.split(4)
x = torch.arange(6.); x.split([1,2])
x = torch.arange(6.).view(2,3); d = x.diagonal(); d += 10; x
x = torch.eye(3); x.fill_diagonal_(5)
x = torch.arange(5.); y = x.unfold(0,3,1); y, y.stride()
x = torch.arange(5.); x.as_strided((2,2),(1,2))
x = torch.zeros(3); x.fill_(2), x.zero_(), x.add_(1).mul_(3).sub_(1).div_(2), x
x = torch.zeros(3); x.copy_(torch.tensor([1,2,3])), x.copy_(torch.tensor(5.))
x = torch.zeros(3); x.copy_(torch.zeros(2))
x = torch.zeros(3, dtype=torch.int64); x.copy_(torch.tensor([1.9,-1.9,3])), x
x = torch.zeros(3, dtype=torch.int64); x.add_(1.5)
x = torch.zeros(3); x.add_(torch.ones(2,3))
x = torch.zeros(3); x += torch.ones(3, dtype=torch.int64); x
x = torch.zeros(3); x.resize_(2)
x = torch.zeros(3); x.set_(torch.ones(2)); x
x = torch.zeros(2,3); x.unsqueeze_(0).shape, x.squeeze_().shape, x.t_().shape, x.transpose_(0,1).shape
x = torch.zeros(2,3); x.t_(); x.stride(), x.is_contiguous()
x = torch.arange(3.); x.clamp_(max=1), x.clamp_min_(1), x.abs_(), x.neg_(), x.exp_(), x.sqrt_(), x.pow_(2), x.floor_()
x = torch.arange(3.); x.masked_fill_(x > 1, 9), x
x = torch.arange(3.); x.masked_fill(torch.tensor([1,0,1]), 9)
x = torch.arange(3.); x.masked_fill(torch.tensor([True,False,True]), torch.tensor([1.,2.]))
x = torch.arange(3); x.masked_fill(torch.tensor([True,False,True]), 2.5)
x = torch.arange(6.).view(2,3); x.masked_select(x > 2), torch.masked_select(x, torch.tensor([True,False,True]))
x = torch.zeros(2,3); x.masked_scatter_(torch.tensor([True,False,True]), torch.arange(6.)), x
x = torch.arange(6.).view(2,3); x.gather(1, torch.tensor([[0,2],[1,1]]))
x = torch.arange(6.).view(2,3); x.gather(1, torch.tensor([[0,3],[1,1]]))
x = torch.arange(6.).view(2,3); x.gather(0, torch.tensor([[0,1]]))
x = torch.arange(6.).view(2,3); x.gather(1, torch.tensor([0,1]))
x = torch.arange(6.).view(2,3); x.gather(1, torch.tensor([[0.,1]]))
x = torch.arange(6.).view(2,3); x.gather(1, torch.tensor([[0],[1],[1]]))
torch.zeros(2,3).scatter(1, torch.tensor([[0],[2]]), 1.0)
torch.zeros(2,3).scatter_(1, torch.tensor([[0],[2]]), torch.tensor([[5.],[6.]]))
torch.zeros(2,3).scatter_(1, torch.tensor([[0],[3]]), 1.)
torch.zeros(2,3).scatter_(1, torch.tensor([[0],[1]]), torch.tensor([[1],[2]]))
torch.zeros(2,3).scatter_add_(1, torch.tensor([[0,0],[2,2]]), torch.ones(2,2))
torch.ones(2,3).scatter_reduce(1, torch.tensor([[0,0],[2,2]]), torch.full((2,2),3.), reduce='sum')
torch.ones(2,3).scatter_reduce(1, torch.tensor([[0,0],[2,2]]), torch.full((2,2),3.), reduce='amax', include_self=False)
torch.zeros(5).index_add(0, torch.tensor([0,0,2]), torch.tensor([1.,2.,3.])), torch.zeros(5).index_add_(0, torch.tensor([0,4]), torch.ones(2), alpha=2)
torch.arange(6).view(2,3).index_select(1, torch.tensor([2,0])), torch.index_select(torch.arange(3), 0, torch.tensor([1,1]))
torch.arange(6).view(2,3).index_select(1, torch.tensor([1.]))
torch.zeros(5).index_fill(0, torch.tensor([0,2]), 7), torch.zeros(3,2).index_copy(0, torch.tensor([2,0]), torch.ones(2,2))
torch.zeros(5).index_put((torch.tensor([1,1]),), torch.tensor([1.,2.]), accumulate=True)
torch.zeros(5).put_(torch.tensor([1,3]), torch.tensor([1.,2.])), torch.take(torch.arange(6).view(2,3), torch.tensor([0,5]))
torch.take_along_dim(torch.arange(6).view(2,3), torch.tensor([[1],[2]]), dim=1), torch.take_along_dim(torch.arange(6).view(2,3), torch.tensor([0,4]))
torch.cat([torch.ones(2), torch.zeros(1)]), torch.cat((torch.ones(2,1), torch.zeros(2,2)), 1), torch.cat([torch.ones(1), torch.ones(1, dtype=torch.int64)]), torch.cat([torch.ones(2,2), torch.tensor([])])
torch.cat([torch.ones(2,2), torch.ones(3)])
torch.cat([torch.ones(2,2), torch.ones(2,3)])
torch.cat([])
torch.cat([torch.tensor(1), torch.tensor(2)])
torch.cat(torch.ones(2))
torch.stack([torch.ones(2), torch.zeros(2)]), torch.stack([torch.tensor(1), torch.tensor(2)]), torch.stack((torch.ones(2), torch.zeros(2)), dim=1), torch.stack([torch.ones(2), torch.zeros(2)], -1).stride()
torch.stack([torch.ones(2), torch.zeros(3)])
torch.stack([])
torch.hstack([torch.ones(2), torch.zeros(1)]), torch.vstack([torch.ones(2), torch.zeros(2)]), torch.column_stack([torch.ones(2), torch.zeros(2)]), torch.dstack([torch.ones(2), torch.zeros(2)])
torch.arange(3).repeat(2), torch.arange(3).repeat(2,2), torch.arange(3).repeat_interleave(2), torch.repeat_interleave(torch.arange(3), torch.tensor([1,0,2])), torch.tile(torch.arange(2), (2,2)), torch.arange(4).view(2,2).repeat_interleave(2, dim=1)
torch.arange(6).view(2,3).repeat(2)
torch.flip(torch.arange(6).view(2,3), [0,1]), torch.arange(6).flip(0), torch.roll(torch.arange(6).view(2,3), 1), torch.roll(torch.arange(6).view(2,3), (1,1), (0,1)), torch.rot90(torch.arange(4).view(2,2)), torch.fliplr(torch.arange(4).view(2,2))
F.pad(torch.ones(2,2), (1,0)), F.pad(torch.ones(1,1,2,2), (1,1,1,1), value=5), F.pad(torch.arange(3.).view(1,1,3), (2,2), mode='reflect'), F.pad(torch.arange(3.).view(1,1,3), (1,1), 'replicate'), F.pad(torch.arange(3.).view(1,1,3), (1,1), 'circular'), F.pad(torch.ones(3), (-1,0))
F.pad(torch.ones(3), (1,1,1))
F.pad(torch.ones(3), (1,1), mode='foo')
F.pad(torch.ones(3), (1,1,1,1))
torch.matmul(torch.ones(2,3), torch.ones(3)), torch.matmul(torch.ones(3), torch.ones(3,2)), torch.ones(3) @ torch.ones(3), (torch.ones(4,1,2,3) @ torch.ones(5,3,2)).shape
torch.matmul(torch.ones(2,3), torch.ones(2))
torch.ones(3) @ torch.ones(4)
torch.ones(2,2) @ torch.ones(2,2, dtype=torch.int64)
torch.ones(2,3,4) @ torch.ones(3,4,5)
torch.tensor(2.) @ torch.ones(2)
torch.mm(torch.ones(2,3), torch.ones(3))
torch.mm(torch.ones(2,3), torch.ones(2,3))
torch.bmm(torch.ones(2,2,3), torch.ones(2,3,1)), torch.mv(torch.ones(2,3), torch.ones(3)), torch.dot(torch.ones(3), torch.arange(3.)), torch.outer(torch.arange(2), torch.arange(3)), torch.inner(torch.ones(3), torch.ones(3)), torch.ger(torch.ones(2), torch.ones(2))
torch.bmm(torch.ones(2,2,3), torch.ones(3,3,1))
torch.bmm(torch.ones(2,3), torch.ones(3,3,1))
torch.mv(torch.ones(2,3), torch.ones(2))
torch.dot(torch.ones(3), torch.ones(2))
torch.dot(torch.ones(3,1), torch.ones(3,1))
torch.einsum('ij,jk->ik', torch.ones(2,3), torch.ones(2,2))
torch.einsum('ij,jk->il', torch.ones(2,3), torch.ones(3,2))
torch.einsum('ij->i', torch.ones(2))
torch.kron(torch.eye(2), torch.ones(1,2)), torch.tensordot(torch.ones(2,3), torch.ones(3,2), dims=1), torch.cross(torch.tensor([1.,0,0]), torch.tensor([0.,1,0]), dim=0), torch.chain_matmul(torch.ones(1,2), torch.ones(2,3)), torch.baddbmm(torch.ones(1,1,1), torch.ones(1,1,2), torch.ones(1,2,1))
torch.searchsorted(torch.tensor([1,3,5]), torch.tensor([2,3])), torch.bucketize(torch.tensor([2,3]), torch.tensor([1,3,5])), torch.searchsorted(torch.tensor([1,3,5]), 3, right=True)
torch.cov(torch.tensor([[1.,2,3],[3,1,2]])), torch.corrcoef(torch.tensor([[1.,2,3],[3,1,2]]))
torch.renorm(torch.ones(2,2), 2, 0, 1), F.normalize(torch.tensor([[3.,4.]])), F.cosine_similarity(torch.ones(1,2), torch.ones(1,2)), F.pairwise_distance(torch.ones(1,2), torch.zeros(1,2))
x = torch.zeros(3); x.add_(1); x[0] = 1; x._version
x = torch.ones(2,3).t() + 1; x.stride(), x.is_contiguous()
x = torch.ones(2,3).t(); (x * 2).stride(), (x + torch.ones(3,2)).stride(), x.clone().stride(), x.exp().stride(), torch.relu(x).stride(), x.sum(0).stride(), x.double().stride(), (x > 0).stride()
x = torch.ones(2,3,4,5).permute(0,2,3,1); (x+1).stride(), x.contiguous().stride(), x.clone().stride(), torch.where(x>0, x, x).stride()
x = torch.ones(2,3)[:, ::2]; (x+1).stride(), x.clone().stride()
x = torch.ones(2,3).t(); (x+1).view(-1)
x = torch.ones(2,3,4).transpose(1,2); (x * 2).view(2, -1)
x = torch.ones(2,3,4).transpose(1,2); (x * 2).contiguous().view(2, -1).shape
torch.zeros(2,3,4,4).contiguous(memory_format=torch.channels_last).is_contiguous(memory_format=torch.channels_last)
torch.zeros(2,3).new_zeros(2), torch.zeros(2, dtype=torch.int64).new_tensor([1.5]), torch.zeros(2).new_ones((2,), dtype=torch.int8), torch.zeros(2).new_full((1,), 3), torch.zeros(1).new_empty(2).shape
torch.arange(6).view(2,3).sum(dim=(0,1)), torch.arange(6).view(2,3).sum(-1, keepdim=True), torch.arange(6.).view(2,3).mean((0,1)), torch.arange(6.).view(2,3).sum(dim=[]), torch.arange(6.).view(2,3).prod(1)
torch.arange(6).view(2,3).sum(5)
torch.arange(6.).view(2,3).mean(dim=(0,0))
torch.zeros(0).sum(), torch.zeros(0).mean(), torch.zeros(0).prod(), torch.zeros(2,0).sum(1), torch.zeros(0).max()
torch.zeros(2,0).max(1)
torch.zeros(2,0).argmax(0)
x = torch.tensor([2.], requires_grad=True); y = x**2; y.backward(); x.grad
x = torch.tensor([2.,3.], requires_grad=True); y = x**2; y.backward()
x = torch.tensor([2.,3.], requires_grad=True); y = x**2; y.backward(torch.tensor([1.,0.])); x.grad
x = torch.tensor([2.,3.], requires_grad=True); y = x**2; y.backward(torch.tensor([1.]))
x = torch.tensor([2.,3.], requires_grad=True); y = (x**2).sum(); y.backward(); y.backward()
x = torch.tensor([2.,3.], requires_grad=True); y = (x**2).sum(); y.backward(retain_graph=True); y.backward(); x.grad
x = torch.tensor([2.,3.], requires_grad=True); y = (x*2).sum(); y.backward(); y.backward(); x.grad
x = torch.tensor([2.,3.]); x.sum().backward()
x = torch.tensor([2,3], requires_grad=True)
x = torch.tensor([2,3]); x.requires_grad_()
x = torch.tensor([2,3]); x.requires_grad = True
x = torch.ones(2, requires_grad=True); x += 1
x = torch.ones(2, requires_grad=True); x[0] = 1
x = torch.ones(2, requires_grad=True); x.view(-1)[0] = 1
x = torch.ones(2, requires_grad=True); x.data[0] = 5; x
x = torch.ones(2, requires_grad=True); y = x * 2; y.requires_grad = False
x = torch.ones(2, requires_grad=True); y = x * 2; y.grad
x = torch.ones(2, requires_grad=True); y = x * 2; y.retain_grad(); y.sum().backward(); y.grad, x.grad
x = torch.ones(2, requires_grad=True); x.numpy()
x = torch.ones(2, requires_grad=True); (x*2).numpy()
x = torch.ones(2, requires_grad=True); np.array(x)
x = torch.ones(2, requires_grad=True); x.detach().numpy(), x.tolist(), x[0].item(), float(x[0])
x = torch.ones(2, requires_grad=True); y = x.exp(); y.add_(1); y.sum().backward()
x = torch.ones(2, requires_grad=True); y = x * 1; y[0] = 5; (y**2).sum().backward(); x.grad
x = torch.ones(2, requires_grad=True); w = torch.zeros(3); w[:2] = x; (w**2).sum().backward(); x.grad, w
x = torch.ones(2, requires_grad=True); w = torch.zeros(3); w[0] = x[0] * 3; w
x = torch.ones(3, requires_grad=True); y = x.clone(); y[1:] *= x[:-1]; y.sum().backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.t(); (y * torch.arange(4.).view(2,2)).sum().backward(); x.grad, x.grad.stride()
x = torch.ones(3, requires_grad=True); y = torch.ones(3, requires_grad=True); torch.autograd.grad(x.sum(), [x, y])
x = torch.ones(3, requires_grad=True); torch.autograd.grad(x * 2, x)
x = torch.ones(3, requires_grad=True); torch.autograd.grad(x * 2, x, grad_outputs=torch.ones(3))
x = torch.tensor(2., requires_grad=True); g, = torch.autograd.grad(x**3, x, create_graph=True); h, = torch.autograd.grad(g, x); (g, h)
x = torch.tensor(2., requires_grad=True); g, = torch.autograd.grad(x**3, x); g.requires_grad, torch.autograd.grad(g, x)
x = torch.ones(2, requires_grad=True); (y := x * 2).requires_grad, y.is_leaf, y.grad_fn, x.is_leaf, x.grad_fn
x = torch.ones(2, requires_grad=True); y = x * 2; y.grad_fn.next_functions
x = torch.ones(2, requires_grad=True); y = (x * 2 + 1).mean(); y.grad_fn.next_functions[0][0].next_functions[0][0].name()
x = torch.ones(2, requires_grad=True); y = x * 2; h = y.register_hook(lambda g: g * 10); y.sum().backward(); x.grad
x = torch.ones(2, requires_grad=True); h = x.register_hook(lambda g: g * 10); h.remove(); x.sum().backward(); x.grad
x = torch.ones(2); x.register_hook(print)
x = torch.ones(2, requires_grad=True); x.detach_().requires_grad
x = torch.ones(2, requires_grad=True); y = x.detach(); y.requires_grad, y.is_leaf
x = torch.ones(2, requires_grad=True); x.grad = torch.ones(3)
x = torch.ones(2, requires_grad=True); x.grad = torch.ones(2, dtype=torch.float64)
x = torch.ones(2, requires_grad=True); x.grad = torch.ones(2); x.sum().backward(); x.grad
x = torch.ones(2, requires_grad=True); x.sum().backward(); x.grad.zero_(); x.grad
x = torch.ones(2, requires_grad=True); x.sum().backward(); g = x.grad; x.grad = None; (x*3).sum().backward(); g, x.grad
x = torch.ones(2, requires_grad=True); x.sum().backward(); g = x.grad; (x*3).sum().backward(); g
torch.set_grad_enabled(False); r = torch.is_grad_enabled(); torch.set_grad_enabled(True); r
x = torch.ones(2, requires_grad=True); f = torch.no_grad()(lambda: x * 2); f().requires_grad
x = torch.tensor([1.,2.,3.], requires_grad=True); x.max().backward(); x.grad
x = torch.tensor([1.,3.,3.], requires_grad=True); x.max().backward(); x.grad
x = torch.tensor([1.,3.,3.], requires_grad=True); x.max(0)[0].backward(); x.grad
x = torch.tensor([1.,3.,3.], requires_grad=True); x.amax().backward(); x.grad
x = torch.tensor([1.,3.,2.], requires_grad=True); x.sort()[0].backward(torch.tensor([1.,2.,3.])); x.grad
x = torch.tensor([1.,3.,2.], requires_grad=True); x.topk(2)[0].sum().backward(); x.grad
x = torch.tensor([1.,3.,2.], requires_grad=True); x.argmax().requires_grad
x = torch.tensor([0.,1.,-1.], requires_grad=True); x.abs().sum().backward(); x.grad
x = torch.tensor([0.,1.,-1.], requires_grad=True); F.relu(x).sum().backward(); x.grad
x = torch.tensor([0.,1.,-1.], requires_grad=True); x.clamp(-0.5,0.5).sum().backward(); x.grad
x = torch.tensor([0.,1.], requires_grad=True); x.clamp(0,1).sum().backward(); x.grad
x = torch.tensor([0.,4.], requires_grad=True); x.sqrt().sum().backward(); x.grad
x = torch.tensor([0.,4.], requires_grad=True); x.norm().backward(); x.grad
x = torch.tensor([0.,0.], requires_grad=True); x.norm().backward(); x.grad
x = torch.tensor([0.,2.], requires_grad=True); x.prod().backward(); x.grad
x = torch.tensor([0.,2.], requires_grad=True); (x**0).sum().backward(); x.grad
x = torch.tensor([0.,2.], requires_grad=True); (x**0.5).sum().backward(); x.grad
x = torch.tensor([0.,2.], requires_grad=True); (2**x).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); torch.maximum(x, torch.tensor([1.,1.])).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); torch.where(x > 1, x*2, x*3).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x.std().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x.cumsum(0).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x.cumprod(0).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x[[0,0,1]].sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x[x>1].sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x.expand(3,2).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x.repeat(3).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); torch.cat([x,x]).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x.double().sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x.half().sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); x.long()
x = torch.tensor([1.,2.], requires_grad=True); x.round().sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); (x // 2).sum().backward()
x = torch.tensor([1.,2.], requires_grad=True); (x % 2).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); (x == 1).requires_grad
x = torch.tensor([1.,2.], requires_grad=True); torch.cdist(x.view(2,1), torch.zeros(1,1)).sum().backward(); x.grad
x = torch.tensor([1.,2.], requires_grad=True); F.cosine_similarity(x, torch.tensor([1.,1.]), dim=0).backward(); x.grad
torch.autograd.functional.jacobian(lambda x: x**2, torch.tensor([1.,2.]))
torch.autograd.gradcheck(lambda x: x**2, torch.ones(2, dtype=torch.float64, requires_grad=True))
x = torch.ones(2, requires_grad=True); y = torch.ones(2, requires_grad=True); torch.autograd.backward([x.sum(), (x*y).sum()]); x.grad, y.grad
x = torch.ones(2, requires_grad=True); y = torch.ones(2, requires_grad=True); (x*y).sum().backward(inputs=[x]); x.grad, y.grad
x = torch.ones(2, requires_grad=True); x.requires_grad_(False); x += 1; x
x = torch.ones(2, requires_grad=True); copy.deepcopy(x), copy.copy(x)
x = torch.ones(2, requires_grad=True); nn.Parameter(x), nn.Parameter(torch.ones(1), requires_grad=False)
nn.Parameter(torch.tensor([1,2]))
nn.Parameter(torch.tensor([1,2]), requires_grad=False)
x = nn.Parameter(torch.ones(2)); type(x.data).__name__, type(x + 1).__name__, type(x.detach()).__name__, type(copy.deepcopy(x)).__name__, type(x.clone()).__name__
torch.manual_seed(0); F.dropout(torch.ones(3,4).t(), 0.5)
torch.manual_seed(0); F.dropout(torch.ones(2,3,4).transpose(1,2) + torch.ones(1,4,3), 0.5)
torch.manual_seed(0); nn.Linear(2,1)(torch.ones(3))
nn.Linear(2,1)(torch.ones(1,3))
nn.Linear(2,1)(torch.ones(1,2,dtype=torch.int64))
nn.Linear(2,1)(torch.ones(1,2).double())
nn.Conv2d(3,4,3)(torch.ones(1,1,5,5))
nn.Conv2d(3,4,3)(torch.ones(5,5))
nn.Conv2d(3,4,3)(torch.ones(3,5,5)).shape
nn.Conv2d(3,4,3)(torch.ones(1,3,2,2))
nn.Conv2d(3,4,3,groups=2)
nn.Conv2d(3,4,3,stride=2,padding='same')
nn.Conv2d(3,4,3,padding='same')(torch.ones(1,3,5,5)).shape
nn.Conv2d(3,4,3,padding=1,padding_mode='circular')(torch.ones(1,3,5,5)).shape
nn.Conv1d(3,4,3)(torch.ones(1,3,2))
nn.Conv1d(3,4,3)(torch.ones(3,2,2,2))
F.conv_transpose1d(torch.ones(1,2,4), torch.ones(2,2,3)).shape
F.conv_transpose2d(torch.ones(1,2,4,4), torch.ones(3,2,3,3))
F.max_pool1d(torch.ones(2,4), 2)
F.max_pool1d(torch.ones(4), 2)
F.max_pool2d(torch.ones(1,1,4,4), 5)
F.max_pool2d(torch.ones(4,4), 2)
F.max_pool2d(torch.arange(16.).view(1,1,4,4), 2, return_indices=True)
F.max_pool2d(torch.ones(1,1,4,4), 2, padding=2)
F.max_pool2d(torch.arange(36.).view(1,1,6,6), 5, stride=1)
x = torch.arange(36.).view(1,1,6,6).requires_grad_(); F.max_pool2d(x, 6).backward(); x.grad
F.max_pool1d(torch.arange(40.).view(1,1,40), 20)
F.avg_pool2d(torch.arange(36.).view(1,1,6,6), 6), F.avg_pool2d(torch.ones(1,1,4,4), 3, 2, 1), F.avg_pool2d(torch.ones(1,1,4,4), 3, 2, 1, count_include_pad=False), F.avg_pool2d(torch.ones(1,1,5,5), 2, ceil_mode=True)
F.adaptive_avg_pool2d(torch.arange(20.).view(1,1,4,5), (2,3)), F.adaptive_avg_pool2d(torch.ones(1,1,4,5), 1), F.adaptive_max_pool2d(torch.arange(20.).view(1,1,4,5), 2)
nn.BatchNorm2d(3)(torch.ones(2,4,3,3))
nn.BatchNorm2d(3)(torch.ones(2,3))
nn.BatchNorm1d(3)(torch.ones(1,3))
nn.BatchNorm1d(3)(torch.ones(2,3,2)).shape
nn.LayerNorm(3)(torch.ones(2,4))
nn.GroupNorm(2,3)
nn.GroupNorm(2,4)(torch.ones(2,3,1))
nn.Embedding(5,2)(torch.tensor([5]))
nn.Embedding(5,2)(torch.tensor([-1]))
nn.Embedding(5,2)(torch.tensor([1.]))
nn.Embedding(5,2, padding_idx=7)
nn.Embedding(5,2, padding_idx=-1).padding_idx
nn.Embedding.from_pretrained(torch.ones(2,3)).weight.requires_grad, nn.Embedding.from_pretrained(torch.ones(2,3), freeze=False)(torch.tensor(1))
nn.Dropout(1.5)
F.dropout(torch.ones(2), -1)
F.dropout(torch.ones(2), 1.0), F.dropout(torch.ones(2), 0.0), F.dropout(torch.ones(2), 0.5, training=False)
F.cross_entropy(torch.zeros(2,3), torch.tensor([0,3]))
F.cross_entropy(torch.zeros(2,3), torch.tensor([0,-1]))
F.cross_entropy(torch.zeros(2,3), torch.tensor([0,1,2]))
F.cross_entropy(torch.zeros(2,3), torch.tensor([0.,1.]))
F.cross_entropy(torch.zeros(2,3), torch.tensor([[0],[1]]))
F.cross_entropy(torch.zeros(2,3), torch.tensor([0,1], dtype=torch.int32))
F.cross_entropy(torch.zeros(2,3), torch.ones(2,3)/3)
F.cross_entropy(torch.zeros(3), torch.tensor(1))
F.cross_entropy(torch.zeros(2,3,4), torch.zeros(2,4,dtype=torch.long))
F.cross_entropy(torch.zeros(2,3), torch.tensor([-100,-100]))
F.cross_entropy(torch.zeros(2,3), torch.tensor([0,1]), reduction='none'), F.cross_entropy(torch.zeros(2,3), torch.tensor([0,1]), weight=torch.tensor([1.,2.,3.]))
F.cross_entropy(torch.zeros(2,3), torch.tensor([0,1]), weight=torch.tensor([1.,2.]))
F.cross_entropy(torch.zeros(2,3), torch.tensor([0,1]), reduction='foo')
F.nll_loss(torch.zeros(2,3), torch.tensor([0,1])), F.nll_loss(torch.zeros(2,3), torch.tensor([0,5]))
F.mse_loss(torch.zeros(2,3), torch.zeros(2))
F.mse_loss(torch.zeros(2,1), torch.zeros(2))
F.mse_loss(torch.zeros(2), torch.zeros(2, dtype=torch.int64))
F.mse_loss(torch.zeros(2), torch.ones(2), reduction='sum'), F.mse_loss(torch.zeros(2), torch.ones(2), reduction='none')
F.binary_cross_entropy(torch.tensor([1.5]), torch.tensor([1.]))
F.binary_cross_entropy(torch.tensor([0.5]), torch.tensor([[1.]]))
F.binary_cross_entropy(torch.tensor([0.,1.]), torch.tensor([1.,0.]))
F.binary_cross_entropy(torch.tensor([0.5]), torch.tensor([1]))
F.binary_cross_entropy_with_logits(torch.zeros(2), torch.zeros(3))
F.binary_cross_entropy_with_logits(torch.zeros(2), torch.tensor([0,1]))
F.l1_loss(torch.zeros(2), torch.ones(2)), F.smooth_l1_loss(torch.zeros(2), torch.tensor([.5,3.]), beta=2.), F.huber_loss(torch.zeros(2), torch.tensor([.5,3.])), F.kl_div(torch.zeros(2), torch.tensor([.5,.5]), reduction='batchmean'), F.hinge_embedding_loss(torch.zeros(2), torch.tensor([1.,-1.])), F.poisson_nll_loss(torch.zeros(2), torch.ones(2)), F.gaussian_nll_loss(torch.zeros(2), torch.ones(2), torch.ones(2)), F.soft_margin_loss(torch.zeros(2), torch.ones(2)), F.multi_margin_loss(torch.zeros(2,3), torch.tensor([0,1])), F.multilabel_soft_margin_loss(torch.zeros(2,3), torch.ones(2,3))
F.gelu(torch.tensor([1]))
F.softmax(torch.ones(2,2))
F.gumbel_softmax(torch.zeros(2,3), tau=1, hard=True).sum()
torch.manual_seed(0); F.gumbel_softmax(torch.zeros(2,3), tau=0.5)
F.softmax(torch.ones(2,2), dim=2)
F.unfold(torch.arange(16.).view(1,1,4,4), 2), F.unfold(torch.arange(16.).view(1,1,4,4), (2,3), padding=1, stride=2, dilation=1).shape, F.fold(torch.ones(1,4,9), (4,4), 2), nn.Unfold(2)(torch.ones(1,1,3,3)).shape, nn.Fold((4,4), 2)(torch.ones(1,4,9)).shape
F.scaled_dot_product_attention(torch.ones(1,2,3,4), torch.ones(1,2,3,4), torch.arange(24.).view(1,2,3,4), is_causal=True)
F.scaled_dot_product_attention(torch.ones(1,2,3,4), torch.ones(1,2,5,4), torch.ones(1,2,5,4), attn_mask=torch.ones(3,5).tril().bool()).shape
F.scaled_dot_product_attention(torch.ones(1,2,3,4), torch.ones(1,2,5,3), torch.ones(1,2,5,4))
F.embedding(torch.tensor([[0,1]]), torch.arange(4.).view(2,2)), F.linear(torch.ones(2), torch.ones(3,2), torch.ones(3)), F.bilinear(torch.ones(1,2), torch.ones(1,3), torch.ones(4,2,3))
F.linear(torch.ones(2), torch.ones(3,3))
F.linear(torch.ones(1,2), torch.ones(3,3))
F.linear(torch.ones(2,2,2), torch.ones(3,3))
torch.manual_seed(0); m = nn.LSTM(2,3); o,(h,c) = m(torch.ones(4,1,2)); o.shape, h.shape, o[-1], [n for n,_ in m.named_parameters()]
nn.LSTM(2,3)(torch.ones(4,1,5))
nn.LSTM(2,3)(torch.ones(4,2)) [0].shape
nn.LSTM(2,3)(torch.ones(4,1,2,2))
nn.LSTM(2,3)(torch.ones(4,1,2), (torch.ones(1,2,3), torch.ones(1,1,3)))
nn.GRU(2,3)(torch.ones(4,1,2), torch.ones(2,1,3))
nn.LSTM(2,3,num_layers=0)
nn.RNN(2,3,nonlinearity='foo')
torch.manual_seed(0); nn.LSTMCell(2,3)(torch.ones(1,2)), nn.GRUCell(2,3)(torch.ones(1,2)), nn.RNNCell(2,3)(torch.ones(1,2))
nn.MultiheadAttention(5,2)
torch.manual_seed(0); m = nn.MultiheadAttention(4,2,batch_first=True); m(torch.ones(1,3,4), torch.ones(1,3,4), torch.ones(1,3,4))
torch.manual_seed(0); m = nn.TransformerEncoderLayer(4,2,8,batch_first=True,dropout=0.); m(torch.arange(12.).view(1,3,4))
torch.manual_seed(0); m = nn.TransformerEncoderLayer(4,2,8,dropout=0.1); m(torch.arange(24.).view(3,2,4))
torch.manual_seed(0); m = nn.TransformerEncoderLayer(4,2,8,dropout=0.1,batch_first=True); m(torch.arange(24.).view(3,2,4))
torch.manual_seed(0); m = nn.TransformerEncoderLayer(4,2,8,dropout=0.1,batch_first=True,norm_first=True,activation='gelu'); m(torch.arange(24.).view(3,2,4))
torch.manual_seed(0); m = nn.MultiheadAttention(4,2,dropout=0.3); m(torch.ones(3,2,4), torch.ones(3,2,4), torch.ones(3,2,4))
torch.manual_seed(0); m = nn.MultiheadAttention(4,2,dropout=0.3,batch_first=True); m(torch.ones(3,2,4), torch.ones(3,2,4), torch.ones(3,2,4), need_weights=False)
nn.Transformer.generate_square_subsequent_mask(3)
torch.manual_seed(0); nn.init.orthogonal_(torch.empty(3,5)), nn.init.orthogonal_(torch.empty(5,3), gain=2.), nn.init.orthogonal_(torch.empty(4,2,3)), nn.init.orthogonal_(torch.empty(6,6))
nn.init.xavier_uniform_(torch.empty(3))
nn.init.calculate_gain('foo')
nn.init.kaiming_normal_(torch.empty(2,2), mode='x')
nn.CrossEntropyLoss(weight=torch.tensor([1.,2.]), ignore_index=1, label_smoothing=.1)(torch.zeros(2,2), torch.tensor([0,1]))
nn.CrossEntropyLoss(label_smoothing=2.)(torch.zeros(2,2), torch.tensor([0,1]))
torch.nn.functional.one_hot(torch.tensor([1]), num_classes=3).dtype
nn.Module().state_dict(), nn.Linear(1,1).state_dict().keys()
nn.Linear(2,0), nn.Linear(0,2)(torch.zeros(1,0)).shape, nn.Linear(2,2,bias=False).bias, nn.Linear(2,2,dtype=torch.float64).weight.dtype, nn.Linear(2,2,device='cpu').weight.device
nn.Linear(-1,2)
nn.Linear(2.5,2)
nn.Linear(2)
nn.Sequential(nn.Linear(2,2), nn.ReLU()).state_dict()['0.weight'].shape, len(list(nn.LSTM(1,2,2,bidirectional=True).parameters())), nn.Conv2d(1,2,(3,5)).weight.shape, nn.ConvTranspose2d(2,4,3,groups=2).weight.shape
torch.nn.Parameter(torch.ones(2)).requires_grad_(False), torch.nn.parameter.Parameter is nn.Parameter, nn.modules.module.Module is nn.Module, nn.modules.Linear is nn.Linear, isinstance(nn.ReLU(), torch.nn.Module), nn.functional is F
torch.utils.data.DataLoader([1,2,3], 2).__len__(), list(torch.utils.data.DataLoader([1,2,3], 2)), list(torch.utils.data.DataLoader([(1,'a'),(2,'b')], 2)), list(torch.utils.data.DataLoader(torch.arange(4).view(4,1), 2)), list(torch.utils.data.DataLoader(range(3)))
x = torch.ones(2, requires_grad=True); f = lambda x: (x.exp() * x).sum(); torch.utils.checkpoint.checkpoint(f, x, use_reentrant=False).backward(); x.grad
torch.compile(lambda x: x + 1)(torch.ones(1))
x = torch.ones(2,3,4,5).permute(0,2,3,1); (x+1).stride(), x.contiguous().stride(), x.clone().stride(), torch.where(x>0, x, x).stride(), (x[:, :, 1:] + 1).stride(), (x[:, ::2] * 2).stride(), (x + torch.ones(5,3)).stride(), (x[0] + x).stride(), x.float().stride(), (x + x.contiguous()).stride(), (x.contiguous() + x).stride()
x = torch.arange(6.).view(2,3).t(); y = x * 2; y[0] = 9; y.add_(1); y, y.t()
x = torch.arange(6.).view(2,3).t(); y = x * 2; y.zero_(); y[1,1] = 5; y.view(3,2), y.t().view(-1)
x = torch.arange(6.).view(2,3).requires_grad_(); y = (x.t() * 2); y.grad_fn, y.stride(), y
x = torch.arange(6.).view(2,3).requires_grad_(); y = (x.t() * 2).exp() + 1; y.sum().backward(); x.grad
x = torch.arange(6.).view(2,3).requires_grad_(); y = (x.t() * 2); z = y.exp(); y.add_(1); (z * y).sum().backward(); x.grad
x = torch.arange(6.).view(2,3).requires_grad_(); y = (x.t() ** 2); g, = torch.autograd.grad(y.sum(), x, create_graph=True); g.sum().backward(); x.grad
x = torch.arange(6.).view(2,3).requires_grad_(); y = x.t() * 2; y[0] = 0; (y * y).sum().backward(); x.grad, y
x = torch.arange(24.).view(2,3,4).transpose(1,2); w = torch.ones(3,2); (x + 1) @ w, F.linear(x * 2, w.t())
torch.manual_seed(0); x = torch.ones(2,3,4).transpose(1,2) + torch.ones(1,4,3); F.dropout(x, 0.5), torch.randn_like(x)
torch.manual_seed(0); m = nn.Sequential(nn.Dropout(0.3), nn.GELU(), nn.Dropout(0.3)); x = torch.randn(2,3,4).transpose(1,2); m(x * 2)
x = torch.arange(6.).view(2,3).t().double(); copy.deepcopy(x), copy.copy(x).stride()
x = torch.arange(6.).view(2,3).t() * 1; y = x.detach(); y.stride(), (y + 1).stride(), y.requires_grad_().stride(), (y * 2).grad_fn
a = np.arange(6.).reshape(2,3).T; x = torch.from_numpy(a); y = x + 1; y.stride(), y; a[0,0] = 50; y, x
x = torch.arange(4.).view(2,2).t() + 0; x += x.t(); x
x = torch.arange(6.).view(2,3).t() + 0; x.t_(); x.stride(), x
x = torch.arange(6.).view(2,3).t() + 0; x.unsqueeze(0).stride(), x[:, 0].stride(), x.flatten(), x.expand(2,3,2).stride(), x.chunk(2)[0].stride(), x.squeeze().stride(), x.unfold(0,2,1).stride(), x.diagonal().stride()
torch.ones(3,1).expand(3,4) + 1, (torch.ones(3,1).expand(3,4) + 1).stride(), (torch.ones(3).expand(4,3) * 2).stride(), torch.ones(3).expand(4,3).clone().stride(), torch.ones(3,1).expand(3,4).exp().stride()
x = torch.arange(6.).view(2,3).t() + 0; x.data = torch.ones(2,2); (x + 1).stride()
x = torch.ones(2,2, requires_grad=True); y = x * 1; z = y.view(4); z += 1; repr(y), repr(z)
x = torch.ones(2,2, requires_grad=True); y = x * 1; z = y.view(2,2); z += 1; repr(y), repr(z)
x = torch.ones(2,2, requires_grad=True); y = x * 1; z = y[0]; y += 1; repr(y), repr(z)
x = torch.ones(2,2, requires_grad=True); y = x * 1; z = y[0]; z.mul_(2); w = y.t(); repr(y), repr(z), repr(w)
x = torch.ones(2,2, requires_grad=True); y = x * 1; z = y.t(); z.zero_(); (y * y).sum().backward(); x.grad, repr(y), repr(z)
x = torch.ones(2,2, requires_grad=True); y = torch.zeros(2,2); y[0] = x[0]; repr(y), repr(y[0]), y.requires_grad, y.is_leaf
x = torch.ones(2,2, requires_grad=True); y = torch.zeros(2,2); v = y[0]; v.copy_(x[0]); repr(y), repr(v), v.requires_grad
x = torch.ones(2,2, requires_grad=True); y = torch.zeros(2,2); v = y.view(-1); w = y[1]; v[:2].add_(x[0]); repr(y), repr(v), repr(w)
x = torch.ones(3, requires_grad=True); y = x.exp(); z = y.detach(); z.add_(1); y.sum().backward()
x = torch.ones(3, requires_grad=True); y = x * 2; (w := y.view(3)).add_(1); (y * w).sum().backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (x * 2).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (2 * x).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (x / 2).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (x + 2).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (2 - x).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (-x).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.mean(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.mean(0).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (x ** 1).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (x + x).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.t().sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x[0].sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = torch.cat([x,x]).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.expand(3,2,2).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.cumsum(0).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.tril().sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.flip(0).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.double().sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.clone().sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = F.pad(x, (1,1)).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = F.l1_loss(x, torch.zeros(2,2)); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.max(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.max(1)[0].sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.masked_fill(x > 0, 1).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = torch.where(x > 0, x, 1.).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.gather(1, torch.zeros(2,1,dtype=torch.long)).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.repeat(2,2).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(1,1,4,4, requires_grad=True); y = F.avg_pool2d(x, 2).sum(); y.backward(); y.backward(); x.grad.sum()
x = torch.ones(1,1,4,4, requires_grad=True); y = F.adaptive_avg_pool2d(x, 2).sum(); y.backward(); y.backward(); x.grad.sum()
x = torch.ones(2,2, requires_grad=True); y = x.round().sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (x % 2).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.diagonal().sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.trace(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.roll(1).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = F.dropout(x, 0.).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = F.dropout(x, 0.5).sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = x.var(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = x.softmax(0).sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = x.relu().sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = F.linear(x, torch.ones(2,2), torch.ones(2)).sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); b = torch.ones(2, requires_grad=True); y = F.linear(torch.ones(2,2), torch.ones(2,2), b).sum(); y.backward(); y.backward(); b.grad
x = torch.ones(2,2, requires_grad=True); y = F.embedding(torch.tensor([0]), x).sum(); y.backward(); y.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x.view(4).sum(); y.backward(); z = y * 1; z.backward()
x = torch.ones(2,2, requires_grad=True); y = x.exp(); z = y.sum(); z.backward(); w = y.sum(); w.backward()
x = torch.ones(2,2, requires_grad=True); y = x * 3; y.sum().backward(); (y * 2).sum().backward()
x = torch.ones(2,2, requires_grad=True); y = x + 3; y.sum().backward(); (y * 2).sum().backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x * 3; a = y.sum(); b = y.mean(); a.backward(retain_graph=True); b.backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = x * 3; torch.autograd.grad(y.sum(), x); torch.autograd.grad(y.sum(), x)
x = torch.ones(2,2, requires_grad=True); y = x.clamp(0, 2).sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = x.abs().sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = torch.maximum(x, x).sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = x.sum() * 3; y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = x.index_select(0, torch.tensor([0])).sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = x[[0,1]].sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = x * 1; y += 1; y *= 2; y.sum().backward(); y.sum().backward()
x = torch.ones(2,2, requires_grad=True); y = x * 1; y += 1; y.sum().backward(); y.sum().backward()
x = torch.ones(2,2, requires_grad=True); y = x + 0; y[0] = 3; y.sum().backward(); y.sum().backward(); x.grad
x = torch.ones(2,2, requires_grad=True); y = (x @ torch.ones(2,2)).sum(); y.backward(); y.backward()
x = torch.ones(2,2, requires_grad=True); y = (torch.ones(2,2) - x).abs().mean(); y.backward(); y.backward()
o = torch.zeros(3, 3); r = torch.eye(3, out=o); (r is o, o)
o = torch.zeros(3); r = torch.arange(3, out=o); (r is o, o)
o = torch.zeros(0, dtype=torch.float64); r = torch.linspace(0, 1, 3, out=o); (r is o, o)
o = torch.zeros(3); r = torch.logspace(0, 2, 3, out=o); (r is o, o)
torch.arange(3, out=torch.zeros(3, dtype=torch.int32), dtype=torch.int64)
torch.eye(2, out=torch.zeros(2, dtype=torch.int32))
torch.manual_seed(1); o = torch.zeros(20); r = torch.rand(20, out=o); (r is o, o)
torch.manual_seed(1); o = torch.zeros(20, dtype=torch.float64); r = torch.rand(20, out=o); (r is o, o)
torch.manual_seed(1); o = torch.zeros(20); r = torch.randn(20, out=o); (r is o, o)
torch.manual_seed(1); o = torch.zeros(0, dtype=torch.int64); r = torch.randint(3, (5,), out=o); (r is o, o)
torch.manual_seed(1); o = torch.zeros(5, dtype=torch.int64); r = torch.randperm(5, out=o); (r is o, o)
torch.manual_seed(1); o = torch.zeros(5); r = torch.randperm(5, out=o); (r is o, o)
torch.manual_seed(1); o = torch.zeros(20); r = torch.normal(1., 2., (20,), out=o); (r is o, o)
torch.manual_seed(1); o = torch.zeros(20); r = torch.normal(torch.arange(20.), 2., out=o); (r is o, o)
torch.manual_seed(1); o = torch.zeros(4, dtype=torch.int64); r = torch.bernoulli(torch.tensor([1., 0., .5, .5]), out=o); (r is o, o)
torch.manual_seed(1); o = torch.zeros(0, dtype=torch.int64); r = torch.multinomial(torch.ones(3), 2, out=o); (r is o, o)
torch.multinomial(torch.ones(3), 2, out=torch.zeros(2))
torch.rand(3, out=torch.zeros(3), dtype=torch.float64)
torch.rand(3, out=torch.zeros(3, dtype=torch.int64))
torch.rand(3, out=torch.zeros(3, requires_grad=True))
torch.zeros(3, pin_memory=True)
torch.tensor([1.], pin_memory=True)
torch.rand(3, pin_memory=True)
torch.zeros(3, layout=torch.strided)
x = torch.arange(120.).view(2, 3, 4, 5); x.contiguous(memory_format=torch.channels_last)
x = torch.arange(120.).view(2, 3, 4, 5); x.contiguous(memory_format=torch.channels_last).is_contiguous(memory_format=torch.channels_last)
x = torch.arange(120.).view(2, 3, 4, 5); (x.is_contiguous(memory_format=torch.channels_last), x.is_contiguous(memory_format=torch.contiguous_format))
x = torch.arange(12.).view(3, 4); x.contiguous(memory_format=torch.channels_last)
x = torch.arange(12.).view(3, 4); x.t().contiguous(memory_format=torch.preserve_format)
x = torch.arange(120.).view(2, 3, 4, 5); x.to(memory_format=torch.channels_last)
x = torch.arange(120.).view(2, 3, 4, 5); x.to(torch.float64, memory_format=torch.channels_last)
x = torch.arange(120.).view(2, 3, 4, 5); x.double(memory_format=torch.channels_last)
x = torch.arange(120.).view(2, 3, 4, 5); x.float(memory_format=torch.channels_last)
x = torch.arange(120.).view(2, 3, 4, 5); x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
x = torch.arange(120.).view(2, 3, 4, 5); x.clone(memory_format=torch.channels_last)
x = torch.arange(120.).view(2, 3, 4, 5); torch.clone(x, memory_format=torch.channels_last)
x = torch.arange(120.).view(2, 3, 4, 5).requires_grad_(); y = x.clone(memory_format=torch.channels_last); (y * y).sum().backward(); (x.grad.sum(), y * 2)
x = torch.arange(120.).view(2, 3, 4, 5); torch.zeros_like(x, memory_format=torch.channels_last)
x = torch.arange(120.).view(2, 3, 4, 5); torch.zeros_like(x.permute(0, 2, 3, 1), memory_format=torch.contiguous_format)
x = torch.arange(120.).view(2, 3, 4, 5); torch.full_like(x.permute(0, 2, 3, 1), 2)
x = torch.arange(120.).view(2, 3, 4, 5); torch.full_like(x.permute(0, 2, 3, 1), 2, memory_format=torch.contiguous_format)
torch.manual_seed(1); torch.rand_like(torch.ones(2, 3, 4, 5).permute(0, 2, 3, 1), memory_format=torch.contiguous_format)
torch.manual_seed(1); torch.randn_like(torch.ones(2, 3, 4, 5).permute(0, 2, 3, 1), memory_format=torch.contiguous_format)
torch.manual_seed(1); torch.randn_like(torch.ones(2, 3, 4, 5), memory_format=torch.channels_last)
torch.manual_seed(1); torch.randint_like(torch.ones(2, 3, 4, 5).permute(0, 2, 3, 1), 9, memory_format=torch.contiguous_format)
torch.empty(2, 3, 4, 5, memory_format=torch.channels_last).stride()
torch.zeros(2, memory_format=torch.contiguous_format)
torch.tril_indices(3, 3, device="foo")
torch.testing.assert_close(torch.nn.Parameter(torch.ones(2)), torch.ones(2), allow_subclasses=False)
torch.testing.assert_close(torch.nn.Parameter(torch.ones(2)), torch.ones(2), allow_subclasses=True)
torch.utils.checkpoint.checkpoint(torch.exp, torch.ones(2, requires_grad=True), use_reentrant=False, determinism_check="foo").sum().backward()
"""

for text in LINES.strip().splitlines():
    register(f"lines.{text}", line(text), ulps=64)
