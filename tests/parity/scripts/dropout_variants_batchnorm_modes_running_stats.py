# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0); x = torch.randn(4, 3, 5, 5)
bn = nn.BatchNorm2d(3); 
for i in range(3): y = bn(x * (i + 1))
print(bn.running_mean, bn.running_var, bn.num_batches_tracked, y.var((0, 2, 3), unbiased=False)); bn.eval(); print(bn(x).mean()); bn2 = nn.BatchNorm1d(3, momentum=None); bn2(x.mean((2, 3))); bn2(x.mean((2, 3)) + 1); print(bn2.running_mean, list(bn2.state_dict())); bn3 = nn.BatchNorm1d(3, track_running_stats=False); print(bn3.running_mean, bn3(x.mean((2, 3))).std(0)); bn.reset_running_stats(); print(bn.running_var)
print(F.dropout(torch.ones(10), 0.3), F.dropout2d(torch.ones(2, 3, 2, 2), 0.5)[:, :, 0, 0], F.alpha_dropout(torch.ones(5), 0.5, True).shape); d = nn.Dropout(0.5); print(d(torch.ones(8)), d.eval()(torch.ones(3)), nn.Dropout(0.5, inplace=True)(torch.ones(6)))
ln = nn.LayerNorm(5); gn = nn.GroupNorm(3, 3); inn = nn.InstanceNorm2d(3, affine=True); print(ln(x).std(-1).mean(), gn(x).mean((2, 3)).abs().max() < 1e-5, inn(x).var((2, 3), unbiased=False).mean(), nn.RMSNorm(5)(x).pow(2).mean())
m = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)); m.train(); m[1].eval(); print([mod.training for mod in m.modules()]); z = m(torch.randn(1, 3)); print(z.shape)
