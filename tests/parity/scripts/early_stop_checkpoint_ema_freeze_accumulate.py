# ruff: noqa
# fmt: off
import torch, copy, io, torch.nn as nn, tempfile, os
torch.manual_seed(0)
m = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)); opt = torch.optim.Adam(m.parameters(), lr=1e-2); sch = torch.optim.lr_scheduler.StepLR(opt, 2, 0.5)
x, y = torch.randn(24, 4), torch.randint(0, 2, (24,)); best, bad = float('inf'), 0; ema = copy.deepcopy(m)
for p in ema.parameters(): p.requires_grad_(False)
for e in range(6):
    m.train(); opt.zero_grad()
    for i in range(0, 24, 8): l = nn.functional.cross_entropy(m(x[i:i+8]), y[i:i+8]) / 3; l.backward()
    opt.step(); sch.step()
    with torch.no_grad():
        for a, b in zip(ema.parameters(), m.parameters()): a.mul_(0.9).add_(b, alpha=0.1)
        for a, b in zip(ema.buffers(), m.buffers()): a.copy_(b)
    m.eval()
    with torch.no_grad(): v = nn.functional.cross_entropy(m(x), y).item()
    if v < best: best = v; best_state = copy.deepcopy(m.state_dict()); bad = 0
    else: bad += 1
    print(e, round(v, 4), bad, opt.param_groups[0]['lr'])
m.load_state_dict(best_state); ema.eval(); print(ema(x[:2]).shape)
d = tempfile.mkdtemp(); path = os.path.join(d, 'ck.pt')
torch.save({'epoch': 5, 'model': m.state_dict(), 'opt': opt.state_dict(), 'sch': sch.state_dict(), 'best': best, 'list': [1, 'a', (2, None)], 'rng': torch.get_rng_state(), 'shape': x.shape, 'dt': torch.float16, 'np': 3.5}, path)
ck = torch.load(path); print(list(ck), ck['epoch'], ck['list'], ck['shape'], ck['dt'], type(ck['model']).__name__)
m2 = copy.deepcopy(m); print(m2.load_state_dict(ck['model'])); o2 = torch.optim.Adam(m2.parameters(), lr=1.); o2.load_state_dict(ck['opt']); print(o2.param_groups[0]['lr'], o2.state_dict()['state'][0]['step'])
torch.manual_seed(3); m.train(); m2.train()
for mm, oo in ((m, opt), (m2, o2)):
    torch.manual_seed(3); oo.zero_grad(); nn.functional.cross_entropy(mm(x), y).backward(); oo.step()
print(all(torch.equal(a, b) for a, b in zip(m.parameters(), m2.parameters())))
for p in m[0].parameters(): p.requires_grad = False
opt = torch.optim.SGD(filter(lambda p: p.requires_grad, m.parameters()), lr=0.1); before = m[0].weight.clone(); nn.functional.cross_entropy(m(x), y).backward(); opt.step(); print(torch.equal(before, m[0].weight), m[0].weight.grad is None or 'grad kept', len(opt.param_groups[0]['params']))
r = m.load_state_dict({'0.weight': m[0].weight, 'foo': torch.ones(1)}, strict=False); print(r, r.missing_keys, r.unexpected_keys)
for sd in ({'0.weight': torch.ones(2, 2)}, {k: v for k, v in m.state_dict().items() if k != '4.bias'}, {**m.state_dict(), 'extra': torch.ones(1)}, {**m.state_dict(), '4.bias': torch.ones(3)}, {**m.state_dict(), '4.bias': 'x'}, [1]):
    try: print(m.load_state_dict(sd))
    except Exception as e: print(type(e).__name__, e)
buf = io.BytesIO(); torch.save(m.state_dict(), buf); buf.seek(0); print(list(torch.load(buf, map_location='cpu')))
buf = io.BytesIO(); torch.save(x, buf); buf.seek(0); print(torch.equal(torch.load(buf), x))
buf = io.BytesIO(); torch.save([x, x[0], x.t()], buf); buf.seek(0); a, b, c = torch.load(buf); a[0, 0] = 99; print(b[0], c[0, 0])
for bad in ('/nonexistent/x.pt',):
    try: torch.load(bad)
    except Exception as e: print(type(e).__name__, e)
    try: torch.save(x, bad)
    except Exception as e: print(type(e).__name__, e)
