# ruff: noqa
# fmt: off
import torch, torch.nn as nn
from collections import OrderedDict
class Net(nn.Module):
    def __init__(self):
        super().__init__(); self.a = nn.Linear(2, 3); self.act = nn.ReLU(); self.b = nn.Linear(3, 1); self.register_buffer('buf', torch.zeros(1)); self.register_buffer('np', torch.zeros(1), persistent=False); self.s = nn.Parameter(torch.ones(1)); self.register_parameter('none', None); self.plain = 5
    def forward(self, x, scale=1.): return self.b(self.act(self.a(x))) * self.s * scale
torch.manual_seed(0); m = Net(); print(m)
print([n for n, _ in m.named_parameters()], [n for n, _ in m.named_buffers()], [n for n, _ in m.named_modules()], [n for n, _ in m.named_children()], list(m.state_dict()), [type(c).__name__ for c in m.children()])
print(m._modules.keys(), m.none, m.training, m.eval().training, m.a.training, m.train().a.training)
h1 = m.a.register_forward_hook(lambda mod, i, o: print('fwd', type(mod).__name__, i[0].shape, o.shape)); h2 = m.register_forward_pre_hook(lambda mod, a: (a[0] * 2,)); h3 = m.register_forward_hook(lambda mod, a, kw, o: print('kw', kw) or o + 1, with_kwargs=True); h4 = m.b.register_full_backward_hook(lambda mod, gi, go: print('bwd', [g.shape for g in gi], [g.shape for g in go])); h5 = m.register_forward_pre_hook(lambda mod, a, kw: (a, {**kw, 'scale': 3.}), with_kwargs=True)
o = m(torch.ones(2, 2), scale=2.); print(o); o.sum().backward(); print(m.a.weight.grad)
for h in (h1, h2, h3, h4, h5): h.remove()
print(m(torch.ones(1, 2)))
h = m.act.register_forward_hook(lambda mod, i, o: torch.zeros_like(o)); print(m(torch.ones(1, 2))); h.remove()
def t(f):
    try: print('ok', f())
    except Exception as e: print(type(e).__name__, str(e).split('\n  in layer')[0])
t(lambda: m.foo); t(lambda: setattr(m, 'a', 5)); t(lambda: setattr(m, 's', torch.ones(1))); t(lambda: setattr(m, 's', None)); t(lambda: setattr(m, 'buf', torch.ones(2))); t(lambda: setattr(m, 'buf', 'x')); t(lambda: setattr(m, 'act', nn.Tanh())); t(lambda: delattr(m, 'b')); t(lambda: m(torch.ones(1, 2))); t(lambda: m.register_buffer('a', torch.ones(1))); t(lambda: m.register_buffer('x.y', torch.ones(1))); t(lambda: m.register_parameter('q', torch.ones(1))); t(lambda: m.add_module('z', 5)); t(lambda: m.add_module('plain', nn.ReLU())); t(lambda: m.get_parameter('a.weight').shape); t(lambda: m.get_submodule('a')); t(lambda: m.get_submodule('zz')); t(lambda: m.a(torch.ones(1, 5))); t(lambda: m.a(torch.ones(1, 2).double())); t(lambda: m.a('x')); t(lambda: m.a()); t(lambda: nn.Module()(1))
class NoInit(nn.Module):
    def __init__(self): self.a = nn.Linear(1, 1)
t(NoInit)
class NoInit2(nn.Module):
    def __init__(self): self.a = nn.Parameter(torch.ones(1))
t(NoInit2)
class Lst(nn.Module):
    def __init__(self): super().__init__(); self.layers = [nn.Linear(1, 1)]; self.ml = nn.ModuleList([nn.Linear(1, 1), nn.ReLU()]); self.md = nn.ModuleDict({'x': nn.Linear(1, 2), 'y': nn.Sigmoid()}); self.pl = nn.ParameterList([nn.Parameter(torch.ones(2))]); self.seq = nn.Sequential(OrderedDict([('c', nn.Linear(2, 2)), ('d', nn.Tanh())]))
l = Lst(); print(l); print([n for n, _ in l.named_parameters()]); l.ml.append(nn.Tanh()); l.ml.extend([nn.ReLU()]); print(len(l.ml), l.ml[-1], l.ml[0:2], 'x' in l.md, list(l.md.keys()), l.seq[0], l.seq.c, l.seq[:1]); l.ml.insert(0, nn.Identity()); del l.ml[1]; print(l.ml); l.md['z'] = nn.ELU(); print(l.md.pop('x'), l.md)
s = nn.Sequential(nn.Linear(1, 1), nn.ReLU()); s.append(nn.Tanh()); s.add_module('last', nn.Sigmoid()); print(s, len(s)); s[1] = nn.GELU(); print(s[1], [type(q).__name__ for q in s])
t(lambda: s[10]); t(lambda: nn.Sequential(1)); t(lambda: nn.ModuleList([1])); t(lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3))(torch.ones(1, 2)))
m = nn.Linear(2, 2); print(m.double().weight.dtype, m.half().weight.dtype, m.to(torch.float32).weight.dtype, m.float().bias.dtype, next(m.parameters()).device, m.to('cpu') is m, m.requires_grad_(False).weight.requires_grad, m.zero_grad())
m.apply(lambda q: print('apply', q)); m.extra = 1; print(m.extra_repr(), sum(1 for _ in m.modules()))
class R(nn.Module):
    def extra_repr(self): return 'k=3'
print(R(), nn.Sequential(R(), nn.Sequential(nn.Sequential(), R()), R()), nn.Sequential(*[nn.Linear(2, 2) for _ in range(3)], nn.ReLU(), nn.ReLU()), nn.ModuleList([nn.Linear(2, 2) for _ in range(3)]))
tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)); tied[1].weight = tied[0].weight; print([n for n, _ in tied.named_parameters()], list(tied.state_dict()), [n for n, _ in tied.named_parameters(remove_duplicate=False)])
import copy; c = copy.deepcopy(tied); print(c[0].weight is c[1].weight)
sd = tied.state_dict(); print(sd['0.weight'].requires_grad, sd['0.weight'].data_ptr() == tied[0].weight.data_ptr(), type(sd).__name__, sd._metadata)
def hk(mod, sd, prefix, meta): sd[prefix + 'more'] = torch.ones(1)
m = nn.Linear(1, 1); m.register_state_dict_post_hook(hk); print(list(m.state_dict(prefix='pre.')), m.state_dict(keep_vars=True)['weight'].requires_grad)
m = nn.Linear(1,1); m.register_load_state_dict_post_hook(lambda mod, inc: print('post', inc)); m.load_state_dict(m.state_dict()); m.register_load_state_dict_pre_hook(lambda mod, sd, *a: sd.pop('junk', None) and None); print(m.load_state_dict({**m.state_dict(), 'junk': 1}))
print(nn.Linear(2,2).eval(), dir(m).count('weight'), 'weight' in m.__dict__, hasattr(m, 'weight'), isinstance(m, nn.Module))
