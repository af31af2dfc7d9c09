# ruff: noqa
# fmt: off
import torch, torch.nn as nn, random
from collections import deque, namedtuple
T = namedtuple('Transition', ('state','action','next_state','reward'))
class DQN(nn.Module):
    def __init__(self): super().__init__(); self.l1 = nn.Linear(4, 16); self.l2 = nn.Linear(16, 2)
    def forward(self, x): return self.l2(torch.relu(self.l1(x)))
torch.manual_seed(0); random.seed(0)
policy, target = DQN(), DQN(); target.load_state_dict(policy.state_dict()); target.eval()
opt = torch.optim.AdamW(policy.parameters(), lr=1e-3, amsgrad=True); mem = deque([], maxlen=100)
s = torch.randn(1, 4)
for step in range(30):
    if random.random() > 0.5:
        with torch.no_grad(): a = policy(s).max(1).indices.view(1, 1)
    else: a = torch.tensor([[random.randrange(2)]], dtype=torch.long)
    ns = s * 0.9 + torch.randn(1, 4) * 0.1 if step % 7 else None
    r = torch.tensor([float(a.item()) - 0.5])
    mem.append(T(s, a, ns, r)); s = ns if ns is not None else torch.randn(1, 4)
    if len(mem) < 8: continue
    batch = T(*zip(*random.sample(mem, 8)))
    mask = torch.tensor(tuple(map(lambda q: q is not None, batch.next_state)), dtype=torch.bool)
    nfs = torch.cat([q for q in batch.next_state if q is not None])
    sb, ab, rb = torch.cat(batch.state), torch.cat(batch.action), torch.cat(batch.reward)
    q = policy(sb).gather(1, ab); nv = torch.zeros(8)
    with torch.no_grad(): nv[mask] = target(nfs).max(1).values
    loss = nn.SmoothL1Loss()(q, ((nv * 0.99) + rb).unsqueeze(1))
    opt.zero_grad(); loss.backward(); torch.nn.utils.clip_grad_value_(policy.parameters(), 100); opt.step()
    tsd, psd = target.state_dict(), policy.state_dict()
    for k in psd: tsd[k] = psd[k]*0.005 + tsd[k]*0.995
    target.load_state_dict(tsd)
print(loss.item(), target.l1.weight[0])
for tp, p in zip(target.parameters(), policy.parameters()): tp.data.copy_(0.9 * tp.data + 0.1 * p.data)
print(target.l2.bias)
