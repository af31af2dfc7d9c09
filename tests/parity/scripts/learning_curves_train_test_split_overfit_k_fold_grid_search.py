# ruff: noqa
# fmt: off
import torch, torch.nn as nn
from torch.utils.data import TensorDataset, DataLoader, random_split, Subset
torch.manual_seed(0); X = torch.randn(60, 5); y = (X[:, 0] * 2 - X[:, 1] + 0.1 * torch.randn(60)).unsqueeze(1); ds = TensorDataset(X, y); tr, va, te = random_split(ds, [40, 10, 10]); print(len(tr), len(va), len(te), tr.indices[:5], set(tr.indices) & set(te.indices))
mean, std = X[tr.indices].mean(0), X[tr.indices].std(0); print(mean, std)
def fit(lr, h, epochs=4):
    torch.manual_seed(1); m = nn.Sequential(nn.Linear(5, h), nn.ReLU(), nn.Linear(h, 1)); o = torch.optim.Adam(m.parameters(), lr=lr, weight_decay=1e-4); hist = []
    for e in range(epochs):
        m.train(); run = 0.0
        for xb, yb in DataLoader(tr, batch_size=16, shuffle=True): o.zero_grad(); l = nn.functional.mse_loss(m(xb), yb); l.backward(); o.step(); run += l.item() * xb.size(0)
        m.eval()
        with torch.no_grad(): v = sum(nn.functional.mse_loss(m(xb), yb, reduction='sum').item() for xb, yb in DataLoader(va, batch_size=16)) / len(va)
        hist.append((run / len(tr), v))
    return m, hist
best = None
for lr in (1e-2, 1e-3):
    for h in (4, 16):
        m, hist = fit(lr, h); print(lr, h, ['%.3f/%.3f' % q for q in hist])
        if best is None or hist[-1][1] < best[0]: best = (hist[-1][1], lr, h, m)
print(best[1:3]); idx = torch.randperm(60); folds = idx.chunk(5); print([f.tolist()[:3] for f in folds])
for k in range(2): t = torch.cat([f for i, f in enumerate(folds) if i != k]); print(len(Subset(ds, t.tolist())), X[t].mean().item())
q = X.flatten(); out = (q - q.mean()).abs() > 2 * q.std(); print(out.sum(), q[~out].std(), torch.where(out, q.mean(), q).max())
pr = best[3](X).detach(); print(1 - ((y - pr) ** 2).sum() / ((y - y.mean()) ** 2).sum(), (y - pr).abs().mean())
