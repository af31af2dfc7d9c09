# ruff: noqa
# fmt: off
import torch, torch.nn as nn, math
from torch.nn import functional as F
class Head(nn.Module):
    def __init__(self, n, hs, bs):
        super().__init__()
        self.key = nn.Linear(n, hs, bias=False); self.query = nn.Linear(n, hs, bias=False); self.value = nn.Linear(n, hs, bias=False)
        self.register_buffer('tril', torch.tril(torch.ones(bs, bs))); self.dropout = nn.Dropout(0.1)
    def forward(self, x):
        B, T, C = x.shape
        k, q = self.key(x), self.query(x)
        wei = q @ k.transpose(-2, -1) * k.shape[-1]**-0.5
        wei = wei.masked_fill(self.tril[:T, :T] == 0, float('-inf'))
        wei = self.dropout(F.softmax(wei, dim=-1))
        return wei @ self.value(x)
class MHA(nn.Module):
    def __init__(self, n, h, bs):
        super().__init__()
        self.heads = nn.ModuleList([Head(n, n//h, bs) for _ in range(h)]); self.proj = nn.Linear(n, n); self.dropout = nn.Dropout(0.1)
    def forward(self, x): return self.dropout(self.proj(torch.cat([h(x) for h in self.heads], dim=-1)))
class FF(nn.Module):
    def __init__(self, n):
        super().__init__(); self.net = nn.Sequential(nn.Linear(n, 4*n), nn.ReLU(), nn.Linear(4*n, n), nn.Dropout(0.1))
    def forward(self, x): return self.net(x)
class Block(nn.Module):
    def __init__(self, n, h, bs):
        super().__init__(); self.sa = MHA(n, h, bs); self.ffwd = FF(n); self.ln1 = nn.LayerNorm(n); self.ln2 = nn.LayerNorm(n)
    def forward(self, x):
        x = x + self.sa(self.ln1(x)); return x + self.ffwd(self.ln2(x))
class GPT(nn.Module):
    def __init__(self, v, n=16, h=2, bs=8, L=2):
        super().__init__()
        self.bs = bs; self.tok = nn.Embedding(v, n); self.pos = nn.Embedding(bs, n); self.blocks = nn.Sequential(*[Block(n, h, bs) for _ in range(L)]); self.ln_f = nn.LayerNorm(n); self.lm_head = nn.Linear(n, v)
        self.apply(self._init)
        self.lm_head.weight = self.tok.weight
    def _init(self, m):
        if isinstance(m, nn.Linear):
            torch.nn.init.normal_(m.weight, mean=0.0, std=0.02)
            if m.bias is not None: torch.nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Embedding): torch.nn.init.normal_(m.weight, mean=0.0, std=0.02)
    def forward(self, idx, targets=None):
        B, T = idx.shape
        x = self.tok(idx) + self.pos(torch.arange(T, device=idx.device))
        logits = self.lm_head(self.ln_f(self.blocks(x)))
        if targets is None: return logits, None
        B, T, C = logits.shape
        return logits, F.cross_entropy(logits.view(B*T, C), targets.view(B*T))
    def generate(self, idx, n):
        for _ in range(n):
            logits, _ = self(idx[:, -self.bs:])
            probs = F.softmax(logits[:, -1, :], dim=-1)
            v, _ = torch.topk(logits[:, -1, :], 5)
            l = logits[:, -1, :].clone(); l[l < v[:, [-1]]] = -float('Inf')
            idx = torch.cat((idx, torch.multinomial(F.softmax(l, -1), num_samples=1)), dim=1)
        return idx
torch.manual_seed(1337)
m = GPT(20)
print(len(list(m.parameters())), len(m.state_dict()), sum(p.numel() for p in m.parameters()))
decay = [p for p in m.parameters() if p.dim() >= 2]; nodecay = [p for p in m.parameters() if p.dim() < 2]
opt = torch.optim.AdamW([{'params': decay, 'weight_decay': 0.1}, {'params': nodecay, 'weight_decay': 0.0}], lr=1e-2, betas=(0.9, 0.95))
data = torch.arange(200) % 20
for it in range(10):
    lr = 1e-2 * (it + 1) / 10
    for g in opt.param_groups: g['lr'] = lr
    ix = torch.randint(len(data) - 8, (4,))
    x = torch.stack([data[i:i+8] for i in ix]); y = torch.stack([data[i+1:i+9] for i in ix])
    logits, loss = m(x, y)
    opt.zero_grad(set_to_none=True); loss.backward(); opt.step()
    print(it, f'{loss.item():.3f}')
m.eval()
with torch.no_grad(): print(m.generate(torch.zeros((1,1), dtype=torch.long), 12).tolist())
print(list(m.state_dict().keys())[:6])
