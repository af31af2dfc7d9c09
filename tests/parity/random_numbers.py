"""The generator: same seed, same numbers. Whole numbers and permutations to the bit, normals to 1 ulp."""

from __future__ import annotations

from parity.harness import attempt, program, register

CALLS = """
torch.rand(5)
torch.rand(17)
torch.rand(3, 4, dtype=torch.float64)
torch.rand(20, dtype=torch.float16)
torch.rand(20, dtype=torch.bfloat16)
torch.rand(())
torch.rand(0)
torch.rand(1000)
torch.randn(5)
torch.randn(15)
torch.randn(16)
torch.randn(17)
torch.randn(31)
torch.randn(3, 7, 5)
torch.randn(1000)
torch.randn(5, dtype=torch.float64)
torch.randn(40, dtype=torch.float64)
torch.randn(20, dtype=torch.float16)
torch.randn(20, dtype=torch.bfloat16)
torch.randn(())
torch.randint(10, (20,))
torch.randint(-5, 5, (3, 4))
torch.randint(0, 2, (10,), dtype=torch.bool)
torch.randint(0, 255, (20,), dtype=torch.uint8)
torch.randint(0, 2**40, (10,))
torch.randint(0, 100, (10,), dtype=torch.int32)
torch.randint(0, 10, (5,), dtype=torch.float32)
torch.randint(5, 5, (2,))
torch.randperm(10)
torch.randperm(1)
torch.randperm(0)
torch.randperm(1000)
torch.randperm(10, dtype=torch.int32)
torch.rand_like(torch.zeros(2, 3))
torch.randn_like(torch.zeros(2, 3, dtype=torch.float64))
torch.randint_like(torch.zeros(4), 10)
torch.zeros(7).uniform_(-1, 3)
torch.zeros(7).normal_(5, 2)
torch.zeros(33).normal_(5, 2)
torch.zeros(7, dtype=torch.float64).uniform_()
torch.zeros(20).bernoulli_(0.3)
torch.zeros(20).random_(10)
torch.zeros(5, dtype=torch.int64).random_(3, 9)
torch.normal(0.0, 1.0, (5,))
torch.normal(torch.zeros(4), torch.ones(4) * 2)
torch.bernoulli(torch.full((12,), 0.4))
torch.zeros(6).exponential_()
torch.multinomial(torch.tensor([0.1, 0.2, 0.7]), 5, replacement=True)
torch.multinomial(torch.tensor([0.1, 0.2, 0.7]), 2)
torch.nn.functional.dropout(torch.ones(40), 0.3)
torch.nn.functional.dropout(torch.ones(3, 5), 0.5)
torch.nn.functional.dropout(torch.ones(10), 0.0)
torch.nn.functional.dropout(torch.ones(10), 1.0)
torch.rand(4, 6).t()
torch.zeros(3, 4).t().normal_()
torch.zeros(3, 4).t().uniform_()
torch.zeros(6, 4)[:, ::2].normal_()
torch.nn.init.xavier_uniform_(torch.zeros(4, 5))
torch.nn.init.xavier_normal_(torch.zeros(4, 5), gain=2)
torch.nn.init.kaiming_uniform_(torch.zeros(4, 5), nonlinearity="relu")
torch.nn.init.kaiming_uniform_(torch.zeros(4, 5), a=5**0.5)
torch.nn.init.kaiming_normal_(torch.zeros(4, 5, 3, 3), mode="fan_out", nonlinearity="relu")
torch.nn.init.uniform_(torch.zeros(5), -2, 2)
torch.nn.init.normal_(torch.zeros(5), 1, 2)
torch.nn.init.trunc_normal_(torch.zeros(20))
torch.nn.init.trunc_normal_(torch.zeros(20), std=0.02)
torch.nn.init.constant_(torch.zeros(2), 3)
torch.nn.init.zeros_(torch.ones(2))
torch.nn.init.ones_(torch.zeros(2))
torch.nn.init.eye_(torch.zeros(2, 3))
torch.nn.init.orthogonal_(torch.zeros(4, 4)).shape
torch.nn.init.dirac_(torch.zeros(2, 2, 3, 3))
torch.nn.init.calculate_gain("tanh")
torch.nn.init.xavier_uniform_(torch.zeros(4))
"""


def _call(text):
    def run(torch):
        results = []
        for seed in (0, 1, 123456789):
            torch.manual_seed(seed)
            results.append(attempt(lambda: eval(text, {"torch": torch})))
            results.append(torch.rand(1))  # the generator stands where PyTorch's stands
            results.append(attempt(lambda: eval(text, {"torch": torch})))
        return results

    register(f"random_numbers.{text}", run, ulps=4, spread=False)


for _text in filter(None, CALLS.split("\n")):
    _call(_text)


@program
def interleaved(torch):
    torch.manual_seed(7)
    found = [torch.randn(3), torch.rand(2), torch.randn(20), torch.randint(9, (3,)), torch.randn(5), torch.randperm(6)]
    found += [
        torch.randn(1),
        torch.randn(1),
        torch.randn(1, dtype=torch.float64),
        torch.rand(1, dtype=torch.float64),
        torch.randn(2),
    ]
    return found


@program
def generators(torch):
    g = torch.Generator().manual_seed(5)
    h = torch.Generator()
    h.manual_seed(5)
    torch.manual_seed(1)
    a = torch.rand(3, generator=g)
    b = torch.rand(3)
    return (
        a,
        b,
        torch.randn(4, generator=h),
        torch.randperm(5, generator=g),
        torch.randint(9, (4,), generator=g),
        g.initial_seed(),
        torch.initial_seed(),
    )


@program
def states(torch):
    torch.manual_seed(3)
    torch.randn(5)
    state = torch.get_rng_state()
    a = torch.randn(5), torch.rand(2)
    torch.set_rng_state(state)
    b = torch.randn(5), torch.rand(2)
    with torch.random.fork_rng():
        torch.randn(9)
    return a, b, torch.rand(1), state.shape, state.dtype


@program
def lazy_order_does_not_matter(torch):
    torch.manual_seed(11)
    a, b, c = torch.randn(20), torch.rand(5), torch.randn(3)
    return c, b, a


@program
def large_seeds(torch):
    found = []
    for seed in (2**31, 2**32 + 5, -1, 2**63 - 1):
        torch.manual_seed(seed)
        found.append(torch.rand(2))
    return found, attempt(lambda: torch.manual_seed(2**70))


@program
def data_loader_orders(torch):
    data = torch.utils.data
    dataset = data.TensorDataset(torch.arange(23), torch.arange(23) * 2)
    found = {}
    for name, options in {
        "plain": {"batch_size": 5},
        "shuffled": {"batch_size": 5, "shuffle": True},
        "drop last": {"batch_size": 4, "shuffle": True, "drop_last": True},
        "generator": {"batch_size": 6, "shuffle": True, "generator": "own"},
        "one by one": {},
        "no batches": {"batch_size": None},
    }.items():
        torch.manual_seed(2)
        if options.get("generator"):
            options = {**options, "generator": torch.Generator().manual_seed(4)}
        loader = data.DataLoader(dataset, **options)
        epochs = [[b for b in loader] for _ in range(2)]
        found[name] = epochs, attempt(lambda loader=loader: len(loader)), torch.rand(1)
    return found


@program
def splits_and_samplers(torch):
    data = torch.utils.data
    torch.manual_seed(0)
    a, b = data.random_split(list(range(10)), [7, 3])
    c, d = data.random_split(range(10), [0.5, 0.5], generator=torch.Generator().manual_seed(1))
    subset = data.Subset(list(range(20)), [3, 5, 7])
    weights = data.WeightedRandomSampler([0.1, 0.9, 0.5], 6)
    return (
        list(a), list(b), a.indices, list(c), d.indices, list(subset), len(a), list(weights),
        list(data.RandomSampler(range(6))), list(data.SequentialSampler(range(3))),
        list(data.BatchSampler(data.SequentialSampler(range(5)), 2, False)), list(data.ConcatDataset([[1, 2], [3]])),
        list(data.SubsetRandomSampler([4, 5, 6])), attempt(lambda: data.random_split(range(10), [7, 4])), torch.rand(1),
    )  # fmt: skip


@program
def collating(torch):
    collate = torch.utils.data.default_collate
    import numpy as np

    return (
        collate([1, 2]), collate([1.5, 2.5]), collate([(1, 2.0), (3, 4.0)]), collate([{"a": 1}, {"a": 2}]),
        collate([torch.ones(2), torch.zeros(2)]), collate([np.ones(2), np.zeros(2)]), collate(["a", "b"]), collate([True, False]),
        collate([[1, 2], [3, 4]]), attempt(lambda: collate([torch.ones(2), torch.ones(3)])), attempt(lambda: collate([None])),
        attempt(lambda: collate([[1], [1, 2]])), collate([np.float32(1), np.float32(2)]),
    )  # fmt: skip


@program
def initialisations(torch):
    nn = torch.nn
    makers = {
        "Linear": lambda: nn.Linear(5, 4),
        "Linear no bias": lambda: nn.Linear(5, 4, bias=False),
        "Conv1d": lambda: nn.Conv1d(3, 4, 5),
        "Conv2d": lambda: nn.Conv2d(4, 6, 3, groups=2),
        "ConvTranspose2d": lambda: nn.ConvTranspose2d(3, 4, 3),
        "Embedding": lambda: nn.Embedding(7, 3),
        "Embedding padded": lambda: nn.Embedding(7, 3, padding_idx=1),
        "BatchNorm2d": lambda: nn.BatchNorm2d(3),
        "LayerNorm": lambda: nn.LayerNorm((3, 4)),
        "GroupNorm": lambda: nn.GroupNorm(2, 4),
        "RNN": lambda: nn.RNN(3, 4),
        "LSTM": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True),
        "GRU": lambda: nn.GRU(3, 4, bias=False),
        "MultiheadAttention": lambda: nn.MultiheadAttention(8, 2),
        "MultiheadAttention kdim": lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=6),
        "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(8, 2, 16),
        "Bilinear": lambda: nn.Bilinear(2, 3, 4),
        "PReLU": lambda: nn.PReLU(),
        "Sequential": lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
        "double": lambda: nn.Linear(3, 20, dtype=torch.float64),
        "TransformerEncoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
        "LSTMCell": lambda: nn.LSTMCell(3, 4),
        "GRUCell": lambda: nn.GRUCell(3, 4),
    }
    found = {}
    for name, make in makers.items():
        torch.manual_seed(0)
        module = attempt(make)
        found[name] = (
            (dict(module.state_dict()), torch.rand(1), repr(module)) if isinstance(module, nn.Module) else module
        )
    return found
