# ruff: noqa
# fmt: off
import torch, copy, pickle, torch.nn as nn, io
torch.manual_seed(0)
m = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.LSTM(3, 2)); m2 = pickle.loads(pickle.dumps(m)); print(m2, torch.equal(m[0].weight, m2[0].weight), m2.training)
t = torch.arange(6.).view(2, 3).t(); u = pickle.loads(pickle.dumps(t)); print(u, u.stride()); p = pickle.loads(pickle.dumps(nn.Parameter(torch.ones(2)))); print(p)
a = torch.ones(2, requires_grad=True); a.grad = torch.zeros(2); b = copy.deepcopy(a); print(b, b.grad, b.is_leaf)
o = torch.optim.Adam(m[0].parameters()); m[0](torch.ones(1, 2)).sum().backward(); o.step(); o2 = pickle.loads(pickle.dumps(o)); print(o2, o2.state_dict()['state'][0]['step']); o3 = copy.deepcopy(o); print(len(o3.state), o3.param_groups[0]['params'][0] is m[0].weight)
for q in (torch.float32, torch.device('cpu'), torch.Size([1, 2]), torch.ones(2).shape): print(pickle.loads(pickle.dumps(q)), copy.deepcopy(q))
d = {'a': torch.ones(2), 'b': [torch.zeros(1)]}; e = copy.deepcopy(d); e['a'][0] = 5; print(d, e); x = torch.ones(2); l = copy.deepcopy([x, x]); l[0][0] = 7; print(l); v = x.view(2); l = copy.deepcopy([x, v]); l[0][0] = 7; print(l, copy.copy(x) is x); y = copy.copy(x); y[0] = 9; print(x)
class Big(nn.Module):
    def __init__(self): super().__init__(); self.l = nn.Linear(1, 1); self.hooked = 0; self.l.register_forward_hook(self.hk)
    def hk(self, *a): self.hooked += 1
    def forward(self, x): return self.l(x)
b = Big(); b(torch.ones(1, 1)); c = copy.deepcopy(b); c(torch.ones(1, 1)); print(b.hooked, c.hooked)
b2 = pickle.dumps(torch.Generator().manual_seed(1)) if False else None
