# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(inplace=True), nn.Linear(16, 4))
opt = torch.optim.Adam(net.parameters(), lr=5e-3); tl = nn.TripletMarginLoss(margin=1.0, p=2)
class ContrastiveLoss(torch.nn.Module):
    def __init__(self, margin=2.0): super().__init__(); self.margin = margin
    def forward(self, a, b, label):
        d = F.pairwise_distance(a, b, keepdim=True)
        return torch.mean((1-label) * torch.pow(d, 2) + label * torch.pow(torch.clamp(self.margin - d, min=0.0), 2))
cl = ContrastiveLoss()
for i in range(6):
    a, p, n = torch.randn(8, 6), torch.randn(8, 6), torch.randn(8, 6)
    l = tl(net(a), net(p), net(n)) + cl(net(a), net(n), torch.randint(0, 2, (8, 1)).float()) + nn.CosineEmbeddingLoss()(net(a), net(p), torch.ones(8)) + nn.MarginRankingLoss(0.1)(net(a)[:,0], net(p)[:,0], torch.ones(8))
    opt.zero_grad(); l.backward(); opt.step(); print(f'{l.item():.4f}')
