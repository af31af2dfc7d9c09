# ruff: noqa
# fmt: off
import torch
torch.manual_seed(0); logits = torch.randn(30, 4); y = torch.randint(0, 4, (30,))
pred = logits.argmax(dim=1); cm = torch.zeros(4, 4, dtype=torch.int64)
for t, p in zip(y, pred): cm[t, p] += 1
print(cm); cm2 = torch.zeros(4, 4, dtype=torch.long).index_put_((y, pred), torch.tensor(1), accumulate=True); print(torch.equal(cm, cm2), torch.equal(cm, torch.bincount(y * 4 + pred, minlength=16).view(4, 4)))
prec = cm.diag() / cm.sum(0); rec = cm.diag() / cm.sum(1); f1 = 2*prec*rec/(prec+rec); print(prec, rec, torch.nan_to_num(f1), cm.diag().sum() / cm.sum(), (pred == y).sum().item() / len(y))
_, top = logits.topk(2, 1, True, True); correct = top.t().eq(y.view(1, -1).expand_as(top.t())); print([correct[:k].reshape(-1).float().sum(0, keepdim=True).mul_(100.0 / 30) for k in (1, 2)])
s = torch.sigmoid(logits[:, 0]); order = s.argsort(descending=True); tp = (y[order] == 0).float().cumsum(0); print(tp[:5], (tp / torch.arange(1, 31))[:5])
print(f'{(pred == y).float().mean().item():.2%}', '%d/%d' % ((pred == y).sum(), len(y)), torch.unique(pred, return_counts=True))
for c in range(4): print(f'Class {c}: {cm[c, c]}/{cm[c].sum()} = {100.0 * cm[c, c] / cm[c].sum():.1f}%')
w = 1.0 / torch.bincount(y).float(); print(w / w.sum())
print(torch.stack([logits.softmax(1).max(1).values.mean(), -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()]))
