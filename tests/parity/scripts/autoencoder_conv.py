# ruff: noqa
# fmt: off
import torch, torch.nn as nn
torch.manual_seed(0)
class AE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(True), nn.Conv2d(8, 4, 3, stride=2, padding=1), nn.ReLU(True))
        self.decoder = nn.Sequential(nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1), nn.ReLU(True), nn.ConvTranspose2d(8, 1, 2, stride=2), nn.Sigmoid())
    def forward(self, x): return self.decoder(self.encoder(x))
m = AE(); x = torch.rand(6, 1, 8, 8); opt = torch.optim.Adam(m.parameters(), lr=1e-2, weight_decay=1e-5); crit = nn.MSELoss()
for i in range(8):
    o = m(x); l = crit(o, x); opt.zero_grad(); l.backward(); opt.step(); print(i, l.data)
print(o.shape, m)
