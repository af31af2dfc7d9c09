# ruff: noqa
# fmt: off
import torch
@torch.no_grad()
def f(x): return x * 2
@torch.inference_mode()
def g(x): return x * 2
@torch.no_grad
def h(x): return x * 2
@torch.enable_grad()
def k(x): return x * 2
x = torch.ones(2, requires_grad=True); print(f(x).requires_grad, g(x).is_inference(), h(x).requires_grad)
with torch.no_grad(): print(k(x).requires_grad, torch.is_grad_enabled()); z = torch.nn.Parameter(torch.ones(1)); print(z.requires_grad)
with torch.set_grad_enabled(False): print((x * 2).requires_grad)
y = g(x)
for fn in (lambda: y.requires_grad_(), lambda: y * x, lambda: (y * x).sum().backward(), lambda: y.add_(1)):
    try: print(fn())
    except Exception as e: print(type(e).__name__, e)
with torch.autograd.set_detect_anomaly(True): print('anomaly')
with torch.autograd.graph.save_on_cpu() if hasattr(torch.autograd, 'graph') and hasattr(torch.autograd.graph, 'save_on_cpu') else torch.no_grad(): pass
def gen():
    for i in range(2): yield torch.is_grad_enabled()
print(list(torch.no_grad()(gen)()), torch.is_grad_enabled())
try:
    with torch.no_grad(): raise KeyError('a')
except KeyError: print(torch.is_grad_enabled())
