# ruff: noqa
# fmt: off
import torch, copy, torch.nn as nn
def t(f):
    try: print('ok', f())
    except Exception as e: print(type(e).__name__, e)
p = nn.Parameter(torch.ones(2))
t(lambda: torch.optim.SGD([], lr=0.1)); t(lambda: torch.optim.SGD([p], lr=-1)); t(lambda: torch.optim.SGD([p], nesterov=True)); t(lambda: torch.optim.SGD([p, p], lr=0.1)); t(lambda: torch.optim.Adam([p], betas=(1., 0.9))); t(lambda: torch.optim.Adam([p * 2])); t(lambda: torch.optim.Adam([1])); t(lambda: torch.optim.Adam([{'lr': 1}])); t(lambda: torch.optim.SGD([p], momentum=-1)); t(lambda: torch.optim.RMSprop([p], alpha=-1)); t(lambda: torch.optim.AdamW([p], eps=-1)); t(lambda: torch.optim.Adam([p], weight_decay=-1)); t(lambda: torch.optim.Adam([p], foo=1)); t(lambda: torch.optim.SGD())
m = nn.Linear(2, 1); torch.manual_seed(0); nn.init.ones_(m.weight); nn.init.zeros_(m.bias)
for cls, kw in ((torch.optim.SGD, dict(lr=0.1, momentum=0.9)), (torch.optim.Adam, dict(lr=0.1)), (torch.optim.AdamW, dict(lr=0.1, amsgrad=True)), (torch.optim.RMSprop, dict(lr=0.1, momentum=0.5, centered=True)), (torch.optim.Adagrad, dict(lr=0.1)), (torch.optim.Adadelta, {}), (torch.optim.Adamax, {}), (torch.optim.NAdam, {})):
    mm = copy.deepcopy(m); o = cls(mm.parameters(), **kw)
    print(o.state_dict())
    for i in range(3): o.zero_grad(); mm(torch.tensor([[1., 2.]])).sum().backward(); o.step()
    sd = o.state_dict(); print({k: {a: b for a, b in v.items()} for k, v in sd['state'].items()}); print(sd['param_groups']); print(repr(o))
    m2 = copy.deepcopy(mm); o2 = cls(m2.parameters(), **kw); o2.load_state_dict(copy.deepcopy(sd))
    for (mi, oi) in ((mm, o), (m2, o2)): oi.zero_grad(); mi(torch.tensor([[1., 2.]])).sum().backward(); oi.step()
    print(torch.equal(mm.weight, m2.weight), mm.weight.tolist())
    print(type(o.state[mm.weight]).__name__, list(o.state[mm.weight]), o.param_groups[0].keys(), o.defaults)
o = torch.optim.SGD(m.parameters(), lr=0.1)
t(lambda: o.load_state_dict(torch.optim.SGD([p], lr=0.1).state_dict())); t(lambda: o.load_state_dict(torch.optim.SGD([{'params': [p]}, {'params': [m.weight]}], lr=0.1).state_dict())); t(lambda: o.load_state_dict({}))
t(lambda: o.add_param_group({'params': [p], 'lr': 0.01})); t(lambda: o.add_param_group({'params': p})); t(lambda: o.add_param_group([p])); t(lambda: o.add_param_group({'params': {p}})); print(len(o.param_groups), [g['lr'] for g in o.param_groups])
def closure(): o.zero_grad(); l = m(torch.ones(1, 2)).sum(); l.backward(); return l
print(o.step(closure)); print(o.step())
o.zero_grad(); print(m.weight.grad); m(torch.ones(1,2)).sum().backward(); o.zero_grad(set_to_none=False); print(m.weight.grad)
lb = torch.optim.LBFGS(m.parameters(), lr=0.1) if hasattr(torch.optim, 'LBFGS') else None
