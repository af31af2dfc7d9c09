# ruff: noqa
# fmt: off
import torch
from torch import nn
import numpy as np
np.random.seed(0)
N, D, K = 50, 2, 3
Xn = np.zeros((N*K, D)); yn = np.zeros(N*K, dtype='uint8')
for j in range(K):
    ix = range(N*j, N*(j+1))
    r = np.linspace(0.0, 1, N)
    t = np.linspace(j*4, (j+1)*4, N) + np.random.randn(N)*0.2
    Xn[ix] = np.c_[r*np.sin(t), r*np.cos(t)]
    yn[ix] = j
torch.manual_seed(0)
X = torch.from_numpy(Xn).float()
y = torch.tensor(yn, dtype=torch.long)
print(X.dtype, y.dtype, X.shape, y.unique())
W1 = 0.01 * torch.randn(D, 100); b1 = torch.zeros(1, 100); W2 = 0.01*torch.randn(100, K); b2 = torch.zeros(1, K)
for p in (W1, b1, W2, b2): p.requires_grad_()
for i in range(60):
    h = torch.clamp(X @ W1 + b1, min=0)
    scores = h.mm(W2) + b2
    exp = torch.exp(scores)
    probs = exp / exp.sum(dim=1, keepdim=True)
    loss = -torch.log(probs[range(len(y)), y]).mean() + 0.5*1e-3*((W1*W1).sum() + (W2**2).sum())
    if i % 20 == 0: print('iteration %d: loss %f' % (i, loss))
    loss.backward()
    with torch.no_grad():
        for p in (W1, b1, W2, b2):
            p -= 1.0 * p.grad
            p.grad.zero_()
print('training accuracy: %.2f' % (scores.argmax(1) == y).float().mean())
print(W2[:3], b2)
