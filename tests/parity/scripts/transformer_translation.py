# ruff: noqa
# fmt: off
import torch, torch.nn as nn, math
class PE(nn.Module):
    def __init__(self, d, drop=0.1, n=50):
        super().__init__(); self.dropout = nn.Dropout(p=drop); pos = torch.arange(n).unsqueeze(1); div = torch.exp(torch.arange(0, d, 2) * (-math.log(10000.0) / d)); pe = torch.zeros(n, 1, d); pe[:, 0, 0::2] = torch.sin(pos * div); pe[:, 0, 1::2] = torch.cos(pos * div); self.register_buffer('pe', pe)
    def forward(self, x): return self.dropout(x + self.pe[:x.size(0)])
class LM(nn.Module):
    def __init__(self, v, d, h, f, n):
        super().__init__(); self.pos = PE(d); self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, h, f, 0.2), n); self.emb = nn.Embedding(v, d); self.d = d; self.lin = nn.Linear(d, v); self.emb.weight.data.uniform_(-0.1, 0.1); self.lin.bias.data.zero_(); self.lin.weight.data.uniform_(-0.1, 0.1)
    def forward(self, s, mask=None):
        s = self.pos(self.emb(s) * math.sqrt(self.d))
        if mask is None: mask = nn.Transformer.generate_square_subsequent_mask(len(s))
        return self.lin(self.enc(s, mask))
torch.manual_seed(0); m = LM(15, 12, 2, 20, 2); opt = torch.optim.SGD(m.parameters(), lr=1.0); sch = torch.optim.lr_scheduler.StepLR(opt, 1.0, gamma=0.95)
data = torch.randint(0, 15, (25, 3)); m.train()
for i in range(0, 20, 7):
    s = min(7, len(data) - 1 - i); d, t = data[i:i+s], data[i+1:i+1+s].reshape(-1)
    o = m(d).view(-1, 15); l = nn.CrossEntropyLoss()(o, t); opt.zero_grad(); l.backward(); torch.nn.utils.clip_grad_norm_(m.parameters(), 0.5); opt.step(); sch.step(); print(f'{l.item():.4f} {math.exp(l.item()):.3f}', sch.get_last_lr()[0])
tr = nn.Transformer(8, 2, 1, 1, 16, dropout=0.1, batch_first=True); src, tgt = torch.randn(2, 5, 8), torch.randn(2, 4, 8); pad = torch.tensor([[False]*5, [False]*3+[True]*2])
o = tr(src, tgt, tgt_mask=nn.Transformer.generate_square_subsequent_mask(4), src_key_padding_mask=pad, memory_key_padding_mask=pad); print(o.shape, o.std())
