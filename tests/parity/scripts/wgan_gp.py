# ruff: noqa
# fmt: off
import torch, torch.nn as nn
from torch import autograd
torch.manual_seed(0)
D = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
opt = torch.optim.RMSprop(D.parameters(), lr=5e-4)
def gp(D, real, fake):
    alpha = torch.rand(real.size(0), 1).expand(real.size())
    inter = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    d = D(inter)
    g = autograd.grad(outputs=d, inputs=inter, grad_outputs=torch.ones(d.size()), create_graph=True, retain_graph=True, only_inputs=True)[0]
    g = g.view(g.size(0), -1)
    return ((g.norm(2, dim=1) - 1) ** 2).mean()
for i in range(6):
    real, fake = torch.randn(8, 2), torch.rand(8, 2)
    opt.zero_grad()
    p = gp(D, real, fake)
    loss = D(fake).mean() - D(real).mean() + 10 * p
    loss.backward(); opt.step()
    print(f'{loss.item():.5f} {p.item():.5f}')
print([q.grad.abs().sum().item() for q in D.parameters()])
