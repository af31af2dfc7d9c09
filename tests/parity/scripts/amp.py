# ruff: noqa
# fmt: off
import torch, torch.nn as nn
torch.manual_seed(0); m = nn.Linear(4, 2); x = torch.randn(3, 4)
with torch.autocast('cpu', dtype=torch.bfloat16): o = m(x); l = nn.functional.cross_entropy(o, torch.tensor([0, 1, 0])); print(o.dtype, l.dtype, (o + 1).dtype, torch.exp(o).dtype, o.softmax(1).dtype, (x @ x.t()).dtype, x.sum().dtype)
l.backward(); print(m.weight.grad.dtype)
with torch.amp.autocast(device_type='cpu', enabled=False): print(m(x).dtype)
with torch.autocast('cpu', dtype=torch.float16): print(m(x).dtype)
h = m.half(); print(h(x.half()).dtype, h.weight.dtype); b = nn.Linear(4, 2).bfloat16(); print(b(x.bfloat16()))
s = torch.amp.GradScaler('cpu', enabled=True); mm = nn.Linear(4, 1); op = torch.optim.SGD(mm.parameters(), lr=0.1); l = mm(x).sum(); s.scale(l).backward(); s.unscale_(op); print(mm.weight.grad); s.step(op); s.update(); print(s.get_scale())
