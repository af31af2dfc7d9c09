# ruff: noqa
# fmt: off
import torch
from torch.utils.data import Dataset, DataLoader, get_worker_info, IterableDataset
class DS(Dataset):
    def __len__(self): return 10
    def __getitem__(self, i):
        if i == 7 and getattr(self, 'bad', False): raise ValueError('bad item 7')
        return torch.full((2,), float(i)), torch.randint(0, 100, (1,)).item() if getattr(self, 'rnd', False) else i
torch.manual_seed(0)
print([(x[:, 0].tolist(), y.tolist()) for x, y in DataLoader(DS(), 3, num_workers=2)])
print([y.tolist() for x, y in DataLoader(DS(), 3, num_workers=2, shuffle=True)])
d = DS(); d.rnd = True
print([y.tolist() for x, y in DataLoader(d, 3, num_workers=2)])
def init(wid):
    info = get_worker_info(); torch.manual_seed(100 + wid); assert info.id == wid and info.num_workers == 2
print([y.tolist() for x, y in DataLoader(d, 3, num_workers=2, worker_init_fn=init)])
l = DataLoader(d, 5, num_workers=2, persistent_workers=True, prefetch_factor=3)
print([y.tolist() for x, y in l], [y.tolist() for x, y in l])
d = DS(); d.bad = True
try:
    for x, y in DataLoader(d, 5, num_workers=1): print(y.tolist())
except ValueError as e:
    m = str(e); print(m.splitlines()[0], m.splitlines()[-1])
try: list(DataLoader(d, 5))
except ValueError as e: print(e)
class It(IterableDataset):
    def __iter__(self):
        w = get_worker_info(); lo, hi = (0, 8) if w is None else (w.id*4, w.id*4+4); return iter(range(lo, hi))
print(sorted(v for b in DataLoader(It(), 2, num_workers=2) for v in b.tolist()), get_worker_info())
