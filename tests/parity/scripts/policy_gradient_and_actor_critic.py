# ruff: noqa
# fmt: off
import torch, torch.nn as nn, random
torch.manual_seed(0); random.seed(0)
class AC(nn.Module):
    def __init__(self): super().__init__(); self.f = nn.Linear(4, 16); self.a = nn.Linear(16, 2); self.c = nn.Linear(16, 1)
    def forward(self, x): h = torch.relu(self.f(x)); return torch.softmax(self.a(h), -1), self.c(h)
m = AC(); opt = torch.optim.Adam(m.parameters(), lr=1e-2); eps = 1e-8
for ep in range(4):
    s = torch.randn(4); logs, vals, rews = [], [], []
    for t in range(8):
        p, v = m(s); a = torch.multinomial(p, 1).item(); logs.append(torch.log(p[a])); vals.append(v); r = 1.0 if (s[0] > 0) == bool(a) else -0.5; rews.append(r); s = s * 0.9 + torch.randn(4) * 0.3
    R, rets = 0, []
    for r in rews[::-1]: R = r + 0.95 * R; rets.insert(0, R)
    rets = torch.tensor(rets); rets = (rets - rets.mean()) / (rets.std() + eps)
    adv = [R - v.item() for R, v in zip(rets, vals)]
    loss = torch.stack([-l * a for l, a in zip(logs, adv)]).sum() + torch.stack([nn.functional.smooth_l1_loss(v, R.view(1)) for v, R in zip(vals, rets)]).sum()
    opt.zero_grad(); loss.backward(); opt.step(); print(ep, f'{loss.item():.4f} {sum(rews):.2f}')
