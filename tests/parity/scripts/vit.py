# ruff: noqa
# fmt: off
import torch
import torch.nn as nn
class Patch(nn.Module):
    def __init__(self, c, p, d): super().__init__(); self.proj = nn.Conv2d(c, d, kernel_size=p, stride=p)
    def forward(self, x): return self.proj(x).flatten(2).transpose(1, 2)
class Attn(nn.Module):
    def __init__(self, d, h, drop=0.1):
        super().__init__(); self.h = h; self.scale = (d // h) ** -0.5; self.qkv = nn.Linear(d, 3 * d); self.proj = nn.Linear(d, d); self.ad = nn.Dropout(drop); self.pd = nn.Dropout(drop)
    def forward(self, x):
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.h, C // self.h).permute(2, 0, 3, 1, 4)
        a = self.ad((q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1))
        return self.pd(self.proj((a @ v).transpose(1, 2).reshape(B, N, C)))
class Blk(nn.Module):
    def __init__(self, d, h):
        super().__init__(); self.n1 = nn.LayerNorm(d); self.a = Attn(d, h); self.n2 = nn.LayerNorm(d); self.m = nn.Sequential(nn.Linear(d, 2*d), nn.GELU(), nn.Dropout(0.1), nn.Linear(2*d, d), nn.Dropout(0.1))
    def forward(self, x): x = x + self.a(self.n1(x)); return x + self.m(self.n2(x))
class ViT(nn.Module):
    def __init__(self, cls):
        super().__init__(); self.p = Patch(3, 4, 16); self.cls = nn.Parameter(torch.zeros(1, 1, 16)) if cls else None; self.pos = nn.Parameter(torch.randn(1, 4 + bool(cls), 16) * .02); self.d = nn.Dropout(0.1); self.b = nn.ModuleList(Blk(16, 2) for _ in range(2)); self.n = nn.LayerNorm(16); self.head = nn.Linear(16, 5)
    def forward(self, x):
        x = self.p(x)
        if self.cls is not None: x = torch.cat([self.cls.expand(x.size(0), -1, -1), x], 1)
        x = self.d(x + self.pos)
        for b in self.b: x = b(x)
        x = self.n(x)
        return self.head(x[:, 0] if self.cls is not None else x.mean(1))
for cls in (True, False):
    torch.manual_seed(0); m = ViT(cls); opt = torch.optim.AdamW(m.parameters(), lr=1e-3, weight_decay=0.05); sch = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1., (s + 1) / 3))
    x, y = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    for i in range(5): l = nn.functional.cross_entropy(m(x), y, label_smoothing=0.1); opt.zero_grad(); l.backward(); opt.step(); sch.step(); print(i, f'{l.item():.4f}', opt.param_groups[0]['lr'])
print(m)
