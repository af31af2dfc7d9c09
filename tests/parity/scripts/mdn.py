# ruff: noqa
# fmt: off
import torch, torch.nn as nn, math
torch.manual_seed(0)
x = torch.linspace(-1, 1, 40).unsqueeze(1); y = 7*torch.sin(3*x) + 0.5*torch.randn(40, 1)
class MDN(nn.Module):
    def __init__(self, h, k): super().__init__(); self.z = nn.Sequential(nn.Linear(1, h), nn.Tanh()); self.pi = nn.Linear(h, k); self.sigma = nn.Linear(h, k); self.mu = nn.Linear(h, k)
    def forward(self, x): z = self.z(x); return nn.functional.softmax(self.pi(z), -1), torch.exp(self.sigma(z)), self.mu(z)
m = MDN(10, 3); opt = torch.optim.Adam(m.parameters(), 1e-2)
for i in range(10):
    pi, s, mu = m(x)
    r = torch.exp(-0.5*((y.expand_as(mu) - mu) * torch.reciprocal(s))**2) * torch.reciprocal(s) * (1/math.sqrt(2*math.pi))
    l = torch.mean(-torch.log(torch.sum(r * pi, dim=1) + 1e-10)); opt.zero_grad(); l.backward(); opt.step(); print(l)
k = torch.multinomial(pi, 1).view(-1); print(mu.detach()[torch.arange(40), k][:5])
