# ruff: noqa
# fmt: off
import torch
from torch.utils.data import Dataset, DataLoader, TensorDataset, random_split, Subset, ConcatDataset, RandomSampler, SequentialSampler, BatchSampler, WeightedRandomSampler, SubsetRandomSampler, Sampler, IterableDataset
class DS(Dataset):
    def __init__(self, n): self.x = torch.arange(n*2.).view(n, 2); self.y = list(range(n))
    def __len__(self): return len(self.x)
    def __getitem__(self, i): return self.x[i], self.y[i], {'name': f's{i}', 'v': i * 0.5}
torch.manual_seed(0)
ds = DS(7)
for x, y, d in DataLoader(ds, batch_size=3, shuffle=True): print(x, y, d)
print(len(DataLoader(ds, 3)), len(DataLoader(ds, 3, drop_last=True)))
for b in DataLoader(ds, batch_size=None): print(b); break
def coll(batch):
    xs, ys, ds = zip(*batch); return torch.stack(xs), torch.tensor(ys), [d['name'] for d in ds]
for b in DataLoader(ds, batch_size=4, collate_fn=coll, sampler=WeightedRandomSampler([0.1]*6+[5.], 7)): print(b)
for b in DataLoader(ds, batch_sampler=BatchSampler(SequentialSampler(ds), 2, True), collate_fn=coll): print(b[1])
print(list(RandomSampler(range(5))), list(RandomSampler(range(5), replacement=True, num_samples=8)), list(SubsetRandomSampler([4, 5, 6])), list(BatchSampler(RandomSampler(range(5)), 2, False)))
a, b = random_split(ds, [5, 2], generator=torch.Generator().manual_seed(42)); print(a.indices, b.indices, len(a), a[0][1])
print([len(s) for s in random_split(range(10), [0.33, 0.33, 0.34])])
try: random_split(range(10), [3, 3])
except ValueError as e: print('ValueError', e)
c = ConcatDataset([ds, DS(2)]); print(len(c), c[8][1], c[-1][1]); print(len(ds + DS(1)))
s = Subset(ds, [1, 3]); print(len(s), s[1][1])
t = TensorDataset(torch.arange(4), torch.arange(8).view(4, 2)); print(t[1], t[1:3], len(t))
try: TensorDataset(torch.arange(4), torch.arange(3))
except AssertionError as e: print('AssertionError', e)
class It(IterableDataset):
    def __iter__(self): return iter(range(7))
print([b.tolist() for b in DataLoader(It(), batch_size=3)])
class My(Sampler):
    def __init__(self, n): self.n = n
    def __iter__(self): return iter(reversed(range(self.n)))
    def __len__(self): return self.n
print([b[1].tolist() for b in DataLoader(ds, 3, sampler=My(7))])
for kw in (dict(shuffle=True, sampler=My(7)), dict(batch_sampler=[[0]], batch_size=2), dict(batch_size=0), dict(num_workers=-1), dict(batch_size=None, drop_last=True), dict(num_workers=0, prefetch_factor=2), dict(persistent_workers=True)):
    try: DataLoader(ds, **kw); print('no error', kw)
    except Exception as e: print(type(e).__name__, e)
try: DataLoader(It(), shuffle=True)
except Exception as e: print(type(e).__name__, e)
it = iter(DataLoader(ds, 3)); next(it); next(it); next(it)
try: next(it)
except StopIteration: print('stop')
class Bad(Dataset):
    def __len__(self): return 3
    def __getitem__(self, i): return None
try: next(iter(DataLoader(Bad())))
except Exception as e: print(type(e).__name__, str(e)[:150])
class Uneven(Dataset):
    def __len__(self): return 3
    def __getitem__(self, i): return torch.zeros(i + 1)
try: next(iter(DataLoader(Uneven(), 3)))
except Exception as e: print(type(e).__name__, e)
from torch.utils.data import default_collate
print(default_collate([1, 2]), default_collate([1., 2.]), default_collate(['a', 'b']), default_collate([(1, 2.), (3, 4.)]), default_collate([{'a': 1}, {'a': 2}]), default_collate([np.ones(2), np.zeros(2)]), default_collate([np.float64(1), np.float64(2)]), default_collate([[1, 2], [3, 4]]), default_collate([True, False]))
from collections import namedtuple
P = namedtuple('P', 'a b'); print(default_collate([P(1, 2), P(3, 4)]))
dl = DataLoader(ds, 3); print(dl.batch_size, dl.dataset is ds, dl.num_workers, type(dl.sampler).__name__, dl.drop_last)
g = torch.Generator(); g.manual_seed(5); print([b[1].tolist() for b in DataLoader(ds, 3, shuffle=True, generator=g)])
torch.manual_seed(9); l = DataLoader(t, 2, shuffle=True); print([x.tolist() for x, _ in l], [x.tolist() for x, _ in l], torch.rand(1))
