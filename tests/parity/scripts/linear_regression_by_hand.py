# ruff: noqa
# fmt: off
import torch
torch.manual_seed(1)
true_w, true_b = torch.tensor([2, -3.4]), 4.2
def synthetic_data(w, b, n):
    X = torch.normal(0, 1, (n, len(w)))
    y = torch.matmul(X, w) + b
    y += torch.normal(0, 0.01, y.shape)
    return X, y.reshape((-1, 1))
features, labels = synthetic_data(true_w, true_b, 100)
print('features:', features[0], '\nlabel:', labels[0])
import random
def data_iter(bs, features, labels):
    n = len(features); idx = list(range(n)); random.shuffle(idx)
    for i in range(0, n, bs):
        b = torch.tensor(idx[i: min(i+bs, n)])
        yield features[b], labels[b]
w = torch.normal(0, 0.01, size=(2,1), requires_grad=True)
b = torch.zeros(1, requires_grad=True)
for epoch in range(3):
    for X, y in data_iter(10, features, labels):
        l = (X @ w + b - y.reshape((X @ w).shape))**2 / 2
        l.sum().backward()
        with torch.no_grad():
            for p in [w, b]:
                p -= 0.03 * p.grad / 10
                p.grad.zero_()
    with torch.no_grad():
        print(f'epoch {epoch+1}, loss {float(((features @ w + b - labels)**2/2).mean()):f}')
print(f'error in w: {true_w - w.reshape(true_w.shape)}')
print(f'error in b: {true_b - b}')
