# ruff: noqa
# fmt: off
import torch
from torch.optim import lr_scheduler as S
p = torch.nn.Parameter(torch.zeros(2))
def run(mk, n=8, lr=0.1):
    o = torch.optim.SGD([p], lr=lr, momentum=0.9); s = mk(o); r = []
    for i in range(n):
        p.grad = torch.ones(2); o.step(); r.append(round(o.param_groups[0]['lr'], 6)); s.step()
    print(type(s).__name__, r, s.get_last_lr())
run(lambda o: S.StepLR(o, 3, 0.5)); run(lambda o: S.CosineAnnealingLR(o, 5, 0.01)); run(lambda o: S.LambdaLR(o, lambda e: 0.9**e)); run(lambda o: S.MultiStepLR(o, [2, 5])); run(lambda o: S.ExponentialLR(o, 0.9)); run(lambda o: S.OneCycleLR(o, 0.5, total_steps=10)); run(lambda o: S.CosineAnnealingWarmRestarts(o, 3)); run(lambda o: S.LinearLR(o)); run(lambda o: S.ConstantLR(o)); run(lambda o: S.MultiplicativeLR(o, lambda e: 0.95)); run(lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=3), S.ExponentialLR(o, 0.9)], [3]))
run(lambda o: S.ChainedScheduler([S.ConstantLR(o, 0.1, 2), S.ExponentialLR(o, 0.9)]))
o = torch.optim.SGD([p], lr=0.1); s = S.ReduceLROnPlateau(o, 'min', factor=0.5, patience=1)
for v in [1, 0.9, 0.95, 0.97, 0.98, 0.5, 0.6, 0.7, 0.8]: s.step(v); print(o.param_groups[0]['lr'], end=' ')
print(s.num_bad_epochs, s.best); print(sorted(s.state_dict()))
o = torch.optim.Adam([{'params': [p], 'lr': 1e-2}, {'params': [torch.nn.Parameter(torch.ones(1))]}], lr=1e-3); s = S.StepLR(o, 1, 0.1); o.step(); s.step(); print(s.get_last_lr(), s.state_dict()); print(o)
s2 = S.StepLR(o, 5); s2.load_state_dict(s.state_dict()); print(s2.step_size, s2.last_epoch)
import warnings
with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter('always'); o = torch.optim.SGD([p], lr=0.1); s = S.StepLR(o, 1); s.step(); print([str(x.message)[:80] for x in w])
