# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F
class BasicBlock(nn.Module):
    expansion = 1
    def __init__(self, i, p, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(i, p, kernel_size=3, stride=stride, padding=1, bias=False); self.bn1 = nn.BatchNorm2d(p)
        self.conv2 = nn.Conv2d(p, p, kernel_size=3, stride=1, padding=1, bias=False); self.bn2 = nn.BatchNorm2d(p)
        self.shortcut = nn.Sequential()
        if stride != 1 or i != p: self.shortcut = nn.Sequential(nn.Conv2d(i, p, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(p))
    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x))); out = self.bn2(self.conv2(out)); out += self.shortcut(x); return F.relu(out)
class Net(nn.Module):
    def __init__(self):
        super().__init__(); self.in_planes = 8
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False); self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = self._make(8, 1, 1); self.layer2 = self._make(16, 2, 2); self.linear = nn.Linear(16, 10)
        for m in self.modules():
            if isinstance(m, nn.Conv2d): nn.init.kaiming_normal_(m.weight, mode='fan_out', nonlinearity='relu')
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)): nn.init.constant_(m.weight, 1); nn.init.constant_(m.bias, 0)
    def _make(self, p, n, s):
        layers = []
        for st in [s] + [1]*(n-1): layers.append(BasicBlock(self.in_planes, p, st)); self.in_planes = p
        return nn.Sequential(*layers)
    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x))); x = self.layer2(self.layer1(x)); x = F.adaptive_avg_pool2d(x, (1,1)); return self.linear(torch.flatten(x, 1))
torch.manual_seed(0)
m = Net(); print(m)
opt = torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True); sch = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=6)
x = torch.randn(8, 3, 8, 8); y = torch.randint(0, 10, (8,))
for i in range(6):
    m.train(); l = F.cross_entropy(m(x), y, label_smoothing=0.1); opt.zero_grad(); l.backward(); opt.step(); sch.step()
    print(i, f'{l.item():.3f}', sch.get_last_lr())
m.eval()
with torch.no_grad(): print((m(x).argmax(1) == y).sum())
