# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0)
cnn = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()).eval().requires_grad_(False)
def gram(x):
    a, b, c, d = x.size(); f = x.view(a*b, c*d); return torch.mm(f, f.t()).div(a*b*c*d)
content, style = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8); img = content.clone(); img.requires_grad_(True)
feats = {}
cnn[3].register_forward_hook(lambda m, i, o: feats.__setitem__('c', o)); cnn[0].register_forward_hook(lambda m, i, o: feats.__setitem__('s', o))
cnn(content); ct = feats['c'].detach(); cnn(style); st = gram(feats['s']).detach()
opt = torch.optim.Adam([img], lr=0.02)
for i in range(6):
    with torch.no_grad(): img.clamp_(0, 1)
    opt.zero_grad(); cnn(img); l = F.mse_loss(feats['c'], ct) + 1e3 * F.mse_loss(gram(feats['s']), st); l.backward(); opt.step(); print(f'{l.item():.5f} {img.grad.norm().item():.4f}')
mean = torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1); print(((img - mean) / 0.2)[0, :, 0, 0])
im = img.detach().squeeze(0).permute(1, 2, 0).mul(255).clamp(0, 255).byte().numpy(); print(im.shape, im.dtype, im[0])
