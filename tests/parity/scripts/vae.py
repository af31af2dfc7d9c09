# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F
class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(16, 12); self.fc21 = nn.Linear(12, 3); self.fc22 = nn.Linear(12, 3); self.fc3 = nn.Linear(3, 12); self.fc4 = nn.Linear(12, 16)
    def encode(self, x): h = F.relu(self.fc1(x)); return self.fc21(h), self.fc22(h)
    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5*logvar); eps = torch.randn_like(std); return mu + eps*std
    def decode(self, z): return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))
    def forward(self, x):
        mu, lv = self.encode(x.view(-1, 16)); return self.decode(self.reparameterize(mu, lv)), mu, lv
torch.manual_seed(1)
m = VAE(); opt = torch.optim.Adam(m.parameters(), lr=1e-2)
x = torch.rand(32, 1, 4, 4)
for e in range(10):
    r, mu, lv = m(x)
    bce = F.binary_cross_entropy(r, x.view(-1, 16), reduction='sum')
    kld = -0.5 * torch.sum(1 + lv - mu.pow(2) - lv.exp())
    opt.zero_grad(); (bce + kld).backward(); opt.step()
    print('%.3f %.4f' % (bce.item(), kld.item()))
with torch.no_grad(): s = m.decode(torch.randn(2, 3)); print(s.view(2, 4, 4))
