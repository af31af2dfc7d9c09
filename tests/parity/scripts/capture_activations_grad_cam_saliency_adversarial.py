# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0); m = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()
acts, grads = {}, {}
def fh(name):
    def h(mod, i, o): acts[name] = o.detach()
    return h
def bh(mod, gi, go): grads['g'] = go[0].detach()
hs = [l.register_forward_hook(fh(n)) for n, l in m.named_modules() if isinstance(l, nn.Conv2d)] + [m[4].register_full_backward_hook(bh)]
x = torch.rand(2, 1, 8, 8, requires_grad=True); o = m(x); o[:, 1].sum().backward(); print({k: v.shape for k, v in acts.items()}, x.grad.abs().amax((1, 2, 3)), grads['g'].mean((2, 3)))
cam = F.relu((grads['g'].mean((2, 3), keepdim=True) * acts['3']).sum(1)); cam = cam / (cam.amax((1, 2), keepdim=True) + 1e-8); print(cam[0])
for h in hs: h.remove()
adv = (x + 0.1 * x.grad.sign()).clamp(0, 1).detach(); print((adv - x).abs().max(), m(adv).argmax(1), F.softmax(m(adv), 1))
y = torch.tensor([0, 2]); delta = torch.zeros_like(x, requires_grad=True)
for _ in range(3):
    F.cross_entropy(m(x.detach() + delta), y).backward(); delta.data = (delta + 0.02 * delta.grad.detach().sign()).clamp(-0.05, 0.05); delta.grad.zero_()
print(delta.abs().mean(), F.cross_entropy(m(x.detach() + delta), y))
