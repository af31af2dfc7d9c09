# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F
class TextCNN(nn.Module):
    def __init__(self): super().__init__(); self.emb = nn.Embedding(30, 8, padding_idx=0); self.convs = nn.ModuleList([nn.Conv1d(8, 6, k) for k in (2, 3, 4)]); self.drop = nn.Dropout(0.5); self.fc = nn.Linear(18, 3)
    def forward(self, x): e = self.emb(x).permute(0, 2, 1); return self.fc(self.drop(torch.cat([F.max_pool1d(F.relu(c(e)), c(e).shape[2]).squeeze(2) for c in self.convs], 1)))
class Tagger(nn.Module):
    def __init__(self): super().__init__(); self.emb = nn.Embedding(30, 8); self.lstm = nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True, dropout=0.3); self.fc = nn.Linear(12, 4)
    def forward(self, x): o, (h, c) = self.lstm(self.emb(x)); return self.fc(o), h
torch.manual_seed(0); x = torch.randint(1, 30, (6, 10)); x[0, 7:] = 0; y = torch.randint(0, 3, (6,)); t = torch.randint(0, 4, (6, 10)); t[0, 7:] = -100
for m, f in ((TextCNN(), lambda m: F.cross_entropy(m(x), y, weight=torch.tensor([1., 2., 0.5]))), (Tagger(), lambda m: F.cross_entropy(m(x)[0].transpose(1, 2), t, ignore_index=-100))):
    opt = torch.optim.Adam(m.parameters(), lr=5e-3)
    for i in range(5): opt.zero_grad(); l = f(m); l.backward(); opt.step(); print(type(m).__name__, f'{l.item():.4f}')
    print(m.emb.weight.grad[0].abs().sum() if hasattr(m, 'emb') else 0); m.eval()
    with torch.no_grad(): print((m(x) if isinstance(m, TextCNN) else m(x)[0]).argmax(-1).tolist())
