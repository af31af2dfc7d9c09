# ruff: noqa
# fmt: off
import torch
torch.manual_seed(0); X = torch.cat([torch.randn(20, 2) + 3, torch.randn(20, 2) - 3, torch.randn(20, 2) * 0.5]); c = X[torch.randperm(60)[:3]]
for i in range(6):
    d = torch.cdist(X, c); lab = d.argmin(1); c = torch.stack([X[lab == k].mean(0) for k in range(3)])
print(c, torch.bincount(lab, minlength=3), d.min(1).values.sum())
Xc = X - X.mean(0); cov = Xc.T @ Xc / 59; v = torch.randn(2)
for _ in range(50): v = cov @ v; v = v / v.norm()
print(v * v.sign()[0], (v @ cov @ v))
q = torch.tensor([[2., 2.], [-2., -3.]]); dist = ((X[None] - q[:, None]) ** 2).sum(-1); kd, ki = dist.topk(5, largest=False); print(kd, torch.mode(lab[ki], 1).values)
w = torch.zeros(2, requires_grad=True); b = torch.zeros((), requires_grad=True); y = (X[:, 0] + X[:, 1] > 0).float()
for i in range(30):
    z = X @ w + b; l = -(y * torch.log(torch.sigmoid(z) + 1e-9) + (1 - y) * torch.log(1 - torch.sigmoid(z) + 1e-9)).mean() + 0.01 * w.pow(2).sum(); l.backward()
    with torch.no_grad():
        for p in (w, b): p.sub_(0.1 * p.grad); p.grad = None
print(l, w, b, ((z > 0) == y.bool()).float().mean())
poly = torch.stack([torch.linspace(-1, 1, 20) ** k for k in range(4)], 1); t = poly @ torch.tensor([1., -2., 0.5, 3.]); A = poly.T @ poly + 1e-3 * torch.eye(4); sol = torch.zeros(4)
for _ in range(2000): sol = sol - 0.02 * (A @ sol - poly.T @ t)
print(sol)
