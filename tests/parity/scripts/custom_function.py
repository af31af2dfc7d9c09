# ruff: noqa
# fmt: off
import torch
class MyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input): ctx.save_for_backward(input); return input.clamp(min=0)
    @staticmethod
    def backward(ctx, g): input, = ctx.saved_tensors; gi = g.clone(); gi[input < 0] = 0; return gi
class Legendre(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return 0.5 * (5*x**3 - 3*x)
    @staticmethod
    def backward(ctx, g): x, = ctx.saved_tensors; return g * 1.5 * (5*x**2 - 1)
class STE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, thr): ctx.thr = thr; ctx.mark_non_differentiable(x > 0) if False else None; return (x > thr).float()
    @staticmethod
    def backward(ctx, g): return torch.nn.functional.hardtanh(g), None
class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, k): ctx.k = k; ctx.save_for_backward(x); return x * k, x + k
    @staticmethod
    def backward(ctx, a, b): print(ctx.needs_input_grad); return a * ctx.k + b, None
torch.manual_seed(0)
x = torch.randn(8, 5); y = torch.randn(8, 2); w1 = torch.randn(5, 6, requires_grad=True); w2 = torch.randn(6, 2, requires_grad=True)
for t in range(4):
    p = MyReLU.apply(x.mm(w1)).mm(w2); l = (p - y).pow(2).sum(); print(t, l.item(), p.grad_fn, MyReLU.apply(x.mm(w1)).grad_fn); l.backward()
    with torch.no_grad(): w1 -= 1e-3 * w1.grad; w2 -= 1e-3 * w2.grad; w1.grad = None; w2.grad = None
a = torch.full((), 0.3, requires_grad=True); z = Legendre.apply(a); z.backward(); print(a.grad)
s = torch.randn(4, requires_grad=True); STE.apply(s, 0.1).sum().backward(); print(s.grad)
q = torch.ones(2, requires_grad=True); u, v = Scale.apply(q, 3.); (u * v).sum().backward(); print(q.grad)
print(torch.autograd.gradcheck(Legendre.apply, (torch.randn(3, dtype=torch.float64, requires_grad=True),)))
d = torch.tensor(1.5, requires_grad=True); g, = torch.autograd.grad(Legendre.apply(d), d, create_graph=True); print(torch.autograd.grad(g, d))
