# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0); w = torch.randn(3, requires_grad=True); f = lambda w: (w ** 3).sum() + (w[0] * w[1] * w[2]).sin()
g, = torch.autograd.grad(f(w), w, create_graph=True); v = torch.tensor([1., 2., 3.]); hv, = torch.autograd.grad(g @ v, w, retain_graph=True); print(hv)
H = torch.stack([torch.autograd.grad(g[i], w, retain_graph=True)[0] for i in range(3)]); print(H, H @ v, torch.allclose(H, H.t()))
net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)); meta = torch.optim.Adam(net.parameters(), lr=1e-2)
def forward(x, p): return F.linear(torch.tanh(F.linear(x, p[0], p[1])), p[2], p[3])
for it in range(4):
    tot = 0.
    for task in range(2):
        amp = torch.rand(1) * 2; x = torch.rand(10, 1) * 4 - 2; y = amp * torch.sin(x); ps = list(net.parameters())
        gs = torch.autograd.grad(F.mse_loss(forward(x, ps), y), ps, create_graph=True); fast = [p - 0.1 * q for p, q in zip(ps, gs)]; tot = tot + F.mse_loss(forward(x, fast), y)
    meta.zero_grad(); tot.backward(); meta.step(); print(it, f'{tot.item():.5f}', net[0].weight.grad.norm())
