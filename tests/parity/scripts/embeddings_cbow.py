# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F, torch.optim as optim
torch.manual_seed(1)
raw = """When forty winters shall besiege thy brow, And dig deep trenches in thy beauty's field""".split()
vocab = sorted(set(raw)); w2i = {w: i for i, w in enumerate(vocab)}
grams = [([raw[i-2], raw[i-1]], raw[i]) for i in range(2, len(raw))]
class NGram(nn.Module):
    def __init__(self, v, e, c):
        super().__init__(); self.embeddings = nn.Embedding(v, e); self.linear1 = nn.Linear(c*e, 32); self.linear2 = nn.Linear(32, v)
    def forward(self, x):
        e = self.embeddings(x).view((1, -1)); o = F.relu(self.linear1(e)); return F.log_softmax(self.linear2(o), dim=1)
losses = []; lf = nn.NLLLoss(); m = NGram(len(vocab), 10, 2); opt = optim.SGD(m.parameters(), lr=0.01)
for epoch in range(3):
    total = 0
    for ctx, tgt in grams:
        m.zero_grad(); lp = m(torch.tensor([w2i[w] for w in ctx], dtype=torch.long)); loss = lf(lp, torch.tensor([w2i[tgt]], dtype=torch.long)); loss.backward(); opt.step(); total += loss.item()
    losses.append(total)
print(losses); print(m.embeddings.weight[w2i["thy"]])
