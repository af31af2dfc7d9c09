# ruff: noqa
# fmt: off
import torch
for d in (torch.float16, torch.bfloat16, torch.float32, torch.float64): f = torch.finfo(d); print(f, f.eps, f.max, f.min, f.tiny, f.smallest_normal, f.bits, f.resolution)
print(torch.tensor([65504., 65520., 1e-8, 0.1], dtype=torch.float32).half(), torch.tensor([0.1]).bfloat16().float(), torch.tensor(1., dtype=torch.float16) + torch.tensor(0.0004, dtype=torch.float16), torch.tensor(2048., dtype=torch.float16) + 1, torch.ones(10000, dtype=torch.float16).sum(), torch.full((3000,), 0.1, dtype=torch.bfloat16).mean(), torch.tensor(16777216.) + 1, torch.tensor([1e38]) * 10, torch.tensor([0.1, 0.2]).double().sum(), torch.tensor(0.1).half().item(), (torch.tensor([3.]) / 0), torch.tensor([0.]) / 0)
x = torch.randn(4, 4).half(); print((x @ x).dtype, x.mean().dtype, x.softmax(0).dtype, (x + 1.0).dtype, (x + torch.ones(1)).dtype, (x * torch.tensor(2.)).dtype, x.sum().dtype, torch.cat([x, x.float()]).dtype, x.element_size() * x.nelement())
import struct
for v in (1.0, -0.15625, 0.1): b = struct.unpack('>I', struct.pack('>f', v))[0]; t = torch.tensor([v]).view(torch.int32).item(); print(b, t, (t >> 31) & 1, (t >> 23) & 0xff, t & 0x7fffff)
m = torch.nn.Linear(3, 2); s = torch.amp.GradScaler('cpu') if True else None
with torch.autocast('cpu', dtype=torch.bfloat16): o = m(torch.ones(2, 3)); print(o.dtype, o.requires_grad)
print(sum(p.numel() * p.element_size() for p in m.parameters()), sum(p.numel() * p.element_size() for p in m.half().parameters()))
