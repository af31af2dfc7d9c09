# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F
def dc(i, o): return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.Conv2d(o, o, 3, padding=1), nn.GroupNorm(2, o), nn.ReLU(inplace=True))
class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1 = dc(1, 4); self.d2 = dc(4, 8); self.mid = dc(8, 16); self.pool = nn.MaxPool2d(2)
        self.u2 = nn.ConvTranspose2d(16, 8, 2, 2); self.c2 = dc(16, 8); self.u1 = nn.Upsample(scale_factor=2, mode='bilinear', align_corners=True); self.c1 = dc(12, 4); self.out = nn.Conv2d(4, 1, 1)
    def forward(self, x):
        a = self.d1(x); b = self.d2(self.pool(a)); c = self.mid(self.pool(b)); u = self.u2(c)
        dy, dx = b.size(2) - u.size(2), b.size(3) - u.size(3)
        u = F.pad(u, [dx//2, dx - dx//2, dy//2, dy - dy//2])
        b2 = self.c2(torch.cat([b, u], 1)); return self.out(self.c1(torch.cat([self.u1(b2), a], 1)))
torch.manual_seed(0); m = UNet(); x = torch.randn(2, 1, 12, 12); y = (torch.rand(2, 1, 12, 12) > 0.7).float()
opt = torch.optim.RMSprop(m.parameters(), lr=1e-3, weight_decay=1e-8, momentum=0.9)
crit = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.]))
for i in range(5):
    o = m(x); l = crit(o, y); pr = torch.sigmoid(o); dice = 1 - (2 * (pr * y).sum((1,2,3)) + 1) / (pr.sum((1,2,3)) + y.sum((1,2,3)) + 1)
    t = l + dice.mean(); opt.zero_grad(set_to_none=True); t.backward(); opt.step(); print(f'{t.item():.3f}')
