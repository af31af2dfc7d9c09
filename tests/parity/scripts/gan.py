# ruff: noqa
# fmt: off
import torch, torch.nn as nn
torch.manual_seed(0)
G = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.LeakyReLU(0.2, inplace=True), nn.Linear(16, 2), nn.Tanh())
D = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(0.3), nn.Linear(16, 1))
def weights_init(m):
    c = m.__class__.__name__
    if c.find('Linear') != -1: nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif c.find('BatchNorm') != -1: nn.init.normal_(m.weight.data, 1.0, 0.02); nn.init.constant_(m.bias.data, 0)
G.apply(weights_init); D.apply(weights_init)
print(G, D)
og = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.999)); od = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.999))
crit = nn.BCEWithLogitsLoss()
for i in range(8):
    real = torch.randn(16, 2) * 0.5 + 0.3
    od.zero_grad()
    lab = torch.full((16,), 1., dtype=torch.float)
    out = D(real).view(-1); errr = crit(out, lab); errr.backward(); dx = out.mean().item()
    fake = G(torch.randn(16, 4)); lab.fill_(0.)
    out = D(fake.detach()).view(-1); errf = crit(out, lab); errf.backward(); od.step()
    og.zero_grad(); lab.fill_(1.); out = D(fake).view(-1); errg = crit(out, lab); errg.backward(); og.step()
    print(f'[{i}] D {(errr+errf).item():.4f} G {errg.item():.4f} D(x) {dx:.4f}')
print(G[1].running_mean[:4], G[1].num_batches_tracked)
