# ruff: noqa
# fmt: off
import torch, math
torch.manual_seed(0); dtype = torch.float; device = torch.device("cpu")
x = torch.linspace(-math.pi, math.pi, 200, device=device, dtype=dtype); y = torch.sin(x)
a, b, c, d = (torch.randn((), device=device, dtype=dtype, requires_grad=True) for _ in range(4))
for t in range(60):
    y_pred = a + b * x + c * x ** 2 + d * x ** 3; loss = (y_pred - y).pow(2).sum()
    if t % 20 == 19: print(t, loss.item())
    loss.backward()
    with torch.no_grad():
        for p in (a, b, c, d): p -= 1e-6 * p.grad; p.grad = None
print(f'Result: y = {a.item():.4f} + {b.item():.4f} x + {c.item():.4f} x^2 + {d.item():.4f} x^3')
p = torch.tensor([1, 2, 3]); xx = x.unsqueeze(-1).pow(p); model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1)); loss_fn = torch.nn.MSELoss(reduction='sum'); opt = torch.optim.RMSprop(model.parameters(), lr=1e-3)
for t in range(60): yp = model(xx); loss = loss_fn(yp, y); opt.zero_grad(); loss.backward(); opt.step()
print(loss.item(), model[0].weight, model[0].bias)
class Poly(torch.nn.Module):
    def __init__(self): super().__init__(); self.a = torch.nn.Parameter(torch.randn(())); self.b = torch.nn.Parameter(torch.randn(()))
    def forward(self, x):
        y = self.a + self.b * x
        for e in range(4, random.randint(4, 6)): y = y + self.a * x ** e
        return y
    def string(self): return f'y = {self.a.item():.3f} + {self.b.item():.3f} x'
import random; random.seed(0); torch.manual_seed(1); m = Poly(); opt = torch.optim.SGD(m.parameters(), lr=1e-8, momentum=0.9)
for t in range(20): l = (m(x) - y).pow(2).sum(); opt.zero_grad(); l.backward(); opt.step()
print(m.string(), l)
