"""torch.nn and torch.optim: layers, containers, state, hooks, printing, schedules."""

from __future__ import annotations

import io
import math

from parity.harness import attempt, data, program, register, tensor

FLAT = lambda t: tensor(t, data(1, 4, 6))  # noqa: E731
IMAGE = lambda t: tensor(t, data(2, 2, 4, 6, 6))  # noqa: E731
SERIES = lambda t: tensor(t, data(3, 2, 4, 9))  # noqa: E731
WORDS = lambda t: t.tensor([[1, 2, 0], [3, 1, 4]])  # noqa: E731
TOKENS = lambda t: tensor(t, data(4, 5, 3, 8))  # noqa: E731

LAYERS = {
    "Linear(6, 3)": FLAT,
    "Linear(6, 3, bias=False)": FLAT,
    "Bilinear(6, 6, 2)": lambda t: (FLAT(t), FLAT(t)),
    "Identity()": FLAT,
    "Flatten()": IMAGE,
    "Flatten(0, 1)": IMAGE,
    "Unflatten(1, (2, 3))": FLAT,
    "ReLU()": FLAT,
    "ReLU(inplace=True)": FLAT,
    "ReLU6()": FLAT,
    "GELU()": FLAT,
    "GELU(approximate='tanh')": FLAT,
    "SiLU()": FLAT,
    "Tanh()": FLAT,
    "Sigmoid()": FLAT,
    "Softmax(dim=1)": FLAT,
    "Softmax()": FLAT,
    "LogSoftmax(dim=-1)": FLAT,
    "LeakyReLU(0.2)": FLAT,
    "LeakyReLU()": FLAT,
    "ELU(alpha=0.5)": FLAT,
    "Softplus()": FLAT,
    "Hardtanh()": FLAT,
    "PReLU()": FLAT,
    "Mish()": FLAT,
    "Hardswish()": FLAT,
    "Dropout(0.5)": FLAT,
    "Dropout(p=0.1, inplace=True)": FLAT,
    "Dropout2d(0.5)": IMAGE,
    "Conv1d(4, 5, 3)": SERIES,
    "Conv1d(4, 8, 3, stride=2, padding=1, dilation=2, groups=4, bias=False)": SERIES,
    "Conv1d(4, 5, 3, padding='same')": SERIES,
    "Conv1d(4, 5, 3, padding=2, padding_mode='circular')": SERIES,
    "Conv2d(4, 5, 3)": IMAGE,
    "Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(1, 0), groups=2)": IMAGE,
    "Conv2d(4, 5, 3, padding='same', bias=False)": IMAGE,
    "Conv2d(4, 5, 3, padding=1, padding_mode='reflect')": IMAGE,
    "Conv2d(4, 5, 3, padding=1, padding_mode='zeros', dilation=2)": IMAGE,
    "ConvTranspose2d(4, 5, 3)": IMAGE,
    "ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)": IMAGE,
    "MaxPool2d(2)": IMAGE,
    "MaxPool2d(3, stride=2, padding=1)": IMAGE,
    "MaxPool2d(2, ceil_mode=True, return_indices=True)": IMAGE,
    "MaxPool1d(2)": SERIES,
    "AvgPool2d(2)": IMAGE,
    "AvgPool2d((3, 2), stride=1, padding=1)": IMAGE,
    "AdaptiveAvgPool2d(1)": IMAGE,
    "AdaptiveAvgPool2d((4, None))": IMAGE,
    "AdaptiveMaxPool2d(2)": IMAGE,
    "BatchNorm1d(6)": FLAT,
    "BatchNorm1d(4)": SERIES,
    "BatchNorm2d(4)": IMAGE,
    "BatchNorm2d(4, momentum=0.3, eps=1e-3)": IMAGE,
    "BatchNorm2d(4, affine=False)": IMAGE,
    "BatchNorm2d(4, track_running_stats=False)": IMAGE,
    "BatchNorm2d(4, momentum=None)": IMAGE,
    "LayerNorm(6)": FLAT,
    "LayerNorm((4, 6, 6), eps=1e-3)": IMAGE,
    "LayerNorm(6, elementwise_affine=False)": FLAT,
    "LayerNorm(6, bias=False)": FLAT,
    "GroupNorm(2, 4)": IMAGE,
    "GroupNorm(4, 4, affine=False)": IMAGE,
    "InstanceNorm2d(4)": IMAGE,
    "RMSNorm(6)": FLAT,
    "Embedding(5, 3)": WORDS,
    "Embedding(5, 3, padding_idx=0)": WORDS,
    "Embedding(5, 3, max_norm=1.0)": WORDS,
    "RNN(8, 4)": TOKENS,
    "RNN(8, 4, nonlinearity='relu', batch_first=True)": TOKENS,
    "RNN(8, 4, num_layers=2, bidirectional=True)": TOKENS,
    "LSTM(8, 4)": TOKENS,
    "LSTM(8, 4, num_layers=2, batch_first=True, bidirectional=True)": TOKENS,
    "LSTM(8, 4, proj_size=2)": TOKENS,
    "LSTM(8, 4, bias=False)": TOKENS,
    "GRU(8, 4)": TOKENS,
    "GRU(8, 4, num_layers=2, batch_first=True)": TOKENS,
    "LSTMCell(8, 4)": lambda t: TOKENS(t)[0],
    "GRUCell(8, 4)": lambda t: TOKENS(t)[0],
    "RNNCell(8, 4)": lambda t: TOKENS(t)[0],
    "MultiheadAttention(8, 2)": lambda t: (TOKENS(t), TOKENS(t), TOKENS(t)),
    "MultiheadAttention(8, 4, batch_first=True, bias=False)": lambda t: (TOKENS(t), TOKENS(t), TOKENS(t)),
    "TransformerEncoderLayer(8, 2, 16, dropout=0.0)": TOKENS,
    "TransformerEncoderLayer(8, 2, 16, dropout=0.1, activation='gelu', batch_first=True)": TOKENS,
    "TransformerEncoderLayer(8, 2, 16, dropout=0.0, norm_first=True)": TOKENS,
    "Upsample(scale_factor=2)": IMAGE,
    "ZeroPad2d(1)": IMAGE,
    "PixelShuffle(2)": IMAGE,
    "CosineSimilarity()": lambda t: (FLAT(t), FLAT(t) + 1),
}


def _layer(text, make_input):
    def run(torch):
        torch.manual_seed(3)
        layer = eval(text, {**vars(torch.nn)})
        state = {k: v.clone() for k, v in layer.state_dict().items()}

        def call():
            inputs = make_input(torch)
            inputs = inputs if isinstance(inputs, tuple) else (inputs,)
            inputs = [i.clone().requires_grad_() if i.is_floating_point() else i for i in inputs]
            passed = [i.clone() if i.is_floating_point() else i for i in inputs]  # a layer may work in place
            out = layer(*passed)
            first = out[0] if isinstance(out, tuple) else out
            if first.requires_grad:
                (first * tensor(torch, data(8, *first.shape))).sum().backward()
            grads = [i.grad for i in inputs] + [p.grad for p in layer.parameters()]
            layer.zero_grad()
            return out, grads

        trained = attempt(call)
        after = dict(layer.state_dict())
        layer.eval()
        return repr(layer), state, trained, after, attempt(call), [n for n, _ in layer.named_parameters()]

    register(f"modules.{text}", run, ulps=128)


for _text, _input in LAYERS.items():
    _layer(_text, _input)

LOSSES = {
    "MSELoss()": "probability",
    "MSELoss(reduction='none')": "probability",
    "L1Loss()": "probability",
    "SmoothL1Loss(beta=0.5)": "probability",
    "HuberLoss()": "probability",
    "BCELoss()": "probability",
    "BCEWithLogitsLoss()": "probability",
    "BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))": "probability",
    "KLDivLoss(reduction='batchmean')": "probability",
    "KLDivLoss()": "probability",
    "CrossEntropyLoss()": "class",
    "CrossEntropyLoss(label_smoothing=0.1, reduction='sum')": "class",
    "CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]), ignore_index=1)": "class",
    "CrossEntropyLoss() ": "probability",
    "NLLLoss()": "class",
    "NLLLoss(weight=torch.tensor([1.0, 2.0, 3.0]), reduction='none')": "class",
}


def _loss(text, kind):
    def run(torch):
        loss = eval(text, {**vars(torch.nn), "torch": torch})
        x = tensor(torch, data(1, 5, 3, low=0.1, high=0.9), grad=True)
        y = torch.tensor([0, 2, 1, 1, 0]) if kind == "class" else tensor(torch, data(2, 5, 3, low=0, high=1))
        value = loss(x, y)
        value.sum().backward()
        return repr(loss), value, x.grad

    register(f"modules.{text}", run, ulps=32)


for _text, _kind in LOSSES.items():
    _loss(_text, _kind)


def _network(torch):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.linear = nn.Linear(width, width)
            self.scale = nn.Parameter(torch.ones(width))
            self.register_buffer("count", torch.zeros(1))
            self.register_buffer("scratch", torch.zeros(2), persistent=False)
            self.nothing = None
            self.register_parameter("absent", None)

        def forward(self, x):
            self.count += 1
            return self.linear(x).relu() * self.scale

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Block(4) for _ in range(2)])
            self.heads = nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.2))})
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x, head="a"):
            for block in self.blocks:
                x = block(x)
            return self.heads[head](self.norm(x))

    torch.manual_seed(0)
    return Net()


@program(ulps=64)
def network_outputs(torch):
    net = _network(torch)
    x = tensor(torch, data(1, 5, 4))
    a, b = net(x), net(x, head="b")
    net.eval()
    return a, b, net(x, "b"), repr(net), str(net.blocks), repr(net.heads["b"])


@program
def network_state(torch):
    net = _network(torch)
    state = net.state_dict()
    return (
        list(state), type(state).__name__, [n for n, _ in net.named_parameters()], [n for n, _ in net.named_buffers()],
        [n for n, _ in net.named_modules()], [n for n, _ in net.named_children()], len(list(net.modules())),
        sum(p.numel() for p in net.parameters()), net.training, net.blocks[0].training, [p.shape for p in net.parameters()],
        state["norm.num_batches_tracked"], [v.requires_grad for v in state.values()], len(net.blocks), list(net.heads),
        list(net.heads.keys()), "a" in net.heads, net.blocks[-1] is net.blocks[1], net._get_name(),
        net.get_submodule("heads.b.0"), net.get_parameter("blocks.1.scale"), [n for n, _ in net.named_parameters(prefix="x")],
        [n for n, _ in net.named_parameters(recurse=False)], next(net.parameters()).shape, net.extra_repr(),
    )  # fmt: skip


@program
def loading_state(torch):
    a, b = _network(torch), _network(torch)
    with torch.no_grad():
        for p in a.parameters():
            p.add_(1)
    result = b.load_state_dict(a.state_dict())
    same = all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))
    short = {k: v for k, v in a.state_dict().items() if k != "norm.weight"} | {"extra": torch.ones(1)}
    wrong = a.state_dict() | {"norm.weight": torch.ones(9)}
    before = b.norm.weight.detach().clone()
    loose = b.load_state_dict(short, strict=False)
    return (
        repr(result), same, loose.missing_keys, loose.unexpected_keys, repr(loose),
        attempt(lambda: b.load_state_dict(short), "Error(s) in loading state_dict for Net:", 'Missing key(s) in state_dict: "norm.weight".', 'Unexpected key(s) in state_dict: "extra".'),
        attempt(lambda: b.load_state_dict(wrong), "size mismatch for norm.weight: copying a param with shape torch.Size([9]) from checkpoint, the shape in current model is torch.Size([4])."),
        before, b.norm.weight, attempt(lambda: b.load_state_dict([1])),
        [p is q for p, q in zip(b.parameters(), list(b.parameters()))].count(True),
    )  # fmt: skip


@program
def saving_and_loading(torch):
    a, b = _network(torch), _network(torch)
    optimizer = torch.optim.Adam(a.parameters())
    a(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    file = io.BytesIO()
    torch.save(
        {"model": a.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "note": "x", "list": [1, 2.5, None]},
        file,
    )
    file.seek(0)
    loaded = torch.load(file)
    b.load_state_dict(loaded["model"])
    shared = torch.arange(6.0)
    file = io.BytesIO()
    torch.save([shared, shared[2:4], shared.view(2, 3).t(), torch.tensor([1.5]).half(), torch.tensor([True])], file)
    file.seek(0)
    x, y, z, h, t = torch.load(file)
    y[0] = 100
    return (
        [torch.equal(v, w) for v, w in zip(a.parameters(), b.parameters())],
        loaded["epoch"],
        loaded["list"],
        loaded["optimizer"]["param_groups"],
        x,
        z,
        z.stride(),
        h,
        t,
    )


@program
def modes_and_devices(torch):
    net = _network(torch)
    net.eval()
    flags = [m.training for m in net.modules()]
    net.blocks.train()
    net.requires_grad_(False)
    frozen = [p.requires_grad for p in net.parameters()]
    net.double()
    kinds = sorted({str(p.dtype) for p in net.state_dict().values()})
    net.half()
    back = net.to(torch.float32)
    return (
        flags, net.training, net.blocks[0].training, frozen, kinds, back is net, net.norm.num_batches_tracked.dtype,
        attempt(lambda: net.to(torch.int64)), net.cpu() is net, net.norm.weight.dtype, net.float() is net,
    )  # fmt: skip


@program
def applying_and_iterating(torch):
    nn = torch.nn
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))

    @torch.no_grad()
    def init(m):
        if isinstance(m, nn.Linear):
            m.weight.fill_(0.5)
            nn.init.zeros_(m.bias)

    net.apply(init)
    longer = nn.Sequential(*net, nn.Sigmoid())
    longer.append(nn.Identity())
    names = nn.Sequential()
    names.add_module("first", nn.Linear(1, 1))
    from collections import OrderedDict

    ordered = nn.Sequential(OrderedDict([("a", nn.ReLU()), ("b", nn.Tanh())]))
    modules = nn.ModuleList([nn.ReLU()])
    modules.extend([nn.Tanh(), nn.Sigmoid()])
    modules.insert(0, nn.Identity())
    modules[1] = nn.GELU()
    return (
        net(torch.ones(1, 2)), len(longer), repr(longer), repr(longer[1:3]), repr(names), ordered.a, repr(ordered),
        [type(m).__name__ for m in net], repr(modules), repr(nn.ModuleList()), repr(nn.Sequential()), repr(modules[:2]),
        repr(nn.ParameterList([nn.Parameter(torch.ones(2))])), attempt(lambda: longer[9]), attempt(lambda: nn.Sequential(1)),
        repr(nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])),
    )  # fmt: skip


@program
def module_attributes(torch):
    nn = torch.nn

    class Forgot(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(1, 1)

    class Empty(nn.Module):
        pass

    m = nn.Linear(2, 2)
    m.weight = nn.Parameter(torch.zeros(2, 2))
    m.extra = nn.Parameter(torch.ones(1))
    names = [n for n, _ in m.named_parameters()]
    del m.extra
    return (
        attempt(Forgot, "cannot assign module before Module.__init__() call"), attempt(lambda: Empty()(1), "is missing the required"),
        names, attempt(lambda: setattr(m, "weight", torch.ones(2, 2)), "cannot assign 'torch.FloatTensor' as parameter 'weight'"),
        attempt(lambda: m.nothing, "'Linear' object has no attribute 'nothing'"), hasattr(m, "extra"), m.bias.shape,
        attempt(lambda: setattr(m, "bias", None)), m(torch.ones(1, 2)), attempt(lambda: m.register_buffer("weight", torch.ones(1))),
        attempt(lambda: m.register_parameter("p", torch.ones(1))), attempt(lambda: nn.Linear(2, 2)("a")), attempt(lambda: nn.Linear("a", 2)),
        isinstance(nn.Parameter(torch.ones(1)), torch.Tensor), nn.Parameter(torch.ones(1), requires_grad=False).requires_grad,
        type(nn.Parameter(torch.ones(1)) * 2).__name__, type(nn.Parameter(torch.ones(1)).data).__name__,
        attempt(lambda: nn.Parameter(torch.ones(1, dtype=torch.int64))), nn.Parameter().shape, nn.Linear(0, 2).weight.shape,
    )  # fmt: skip


@program
def module_hooks(torch):
    nn = torch.nn
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    seen = []
    handles = [
        net[0].register_forward_pre_hook(lambda m, i: seen.append(("pre", i[0].clone()))),
        net[0].register_forward_hook(lambda m, i, o: seen.append(("post", o.detach().clone()))),
        net[1].register_forward_hook(lambda m, i, o: o * 10),
        net[0].register_full_backward_hook(lambda m, gi, go: seen.append(("back", go[0].clone()))),
        net.register_forward_pre_hook(lambda m, i: (i[0] * 2,)),
    ]
    x = torch.ones(1, 2, requires_grad=True)
    y = net(x)
    y.sum().backward()
    for handle in handles:
        handle.remove()
    z = net(x)
    return (
        y,
        z,
        seen,
        x.grad,
        len(seen),
        attempt(lambda: net.register_forward_hook(lambda m, a, k, o: seen.append(k), with_kwargs=True)),
    )


@program
def clipping(torch):
    p = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(1))]
    p[0].grad, p[1].grad = torch.tensor([3.0, 4.0, 0.0]), torch.full((2, 2), 6.0)
    total = torch.nn.utils.clip_grad_norm_(p, 1.0)
    after = [q.grad.clone() for q in p[:2]]
    again = torch.nn.utils.clip_grad_norm_(p, 100.0)
    infinite = torch.nn.utils.clip_grad_norm_(p[0], 0.1, norm_type=float("inf"))
    torch.nn.utils.clip_grad_value_(p[1:2], 0.01)
    p[0].grad[0] = float("nan")
    return (
        total, after, again, infinite, p[1].grad, p[2].grad, attempt(lambda: torch.nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)),
        torch.nn.utils.clip_grad_norm_([], 1.0), torch.nn.utils.parameters_to_vector(p),
    )  # fmt: skip


OPTIMIZERS = """
SGD(p, lr=0.1)
SGD(p, lr=0.1, momentum=0.9)
SGD(p, lr=0.1, momentum=0.9, nesterov=True)
SGD(p, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01)
SGD(p, lr=0.1, maximize=True)
Adam(p, lr=0.1)
Adam(p)
Adam(p, lr=0.1, betas=(0.5, 0.9), eps=1e-4, weight_decay=0.1)
Adam(p, lr=0.1, amsgrad=True)
Adam(p, lr=0.1, maximize=True)
AdamW(p, lr=0.1)
AdamW(p, lr=0.1, weight_decay=0.3, amsgrad=True)
RMSprop(p, lr=0.1)
RMSprop(p, lr=0.1, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.1)
Adagrad(p, lr=0.1)
Adamax(p, lr=0.1)
Adadelta(p, lr=0.1)
NAdam(p, lr=0.1)
SGD([{"params": p[:1], "lr": 0.5}, {"params": p[1:]}], lr=0.1, momentum=0.9)
Adam([{"params": p[:1], "weight_decay": 0.1}, {"params": p[1:], "lr": 0.01}])
"""


def _optimizer(text):
    def run(torch):
        p = [torch.nn.Parameter(tensor(torch, data(i, *shape))) for i, shape in enumerate([(3,), (2, 4), ()])]
        unused = torch.nn.Parameter(torch.ones(2))
        optimizer = eval(text, {**vars(torch.optim), "p": [*p, unused]})
        curve = []

        def step(optimizer):
            loss = (p[0].sin().sum() * p[2] + (p[1] ** 4).sum()) ** 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(loss.detach())

        for _ in range(4):
            step(optimizer)
        state = optimizer.state_dict()
        again = eval(text, {**vars(torch.optim), "p": [*p, unused]})
        again.load_state_dict(state)
        for group in again.param_groups:
            group["lr"] *= 0.5
        for _ in range(3):
            step(again)
        closure = attempt(lambda: optimizer.step(lambda: torch.tensor(3.0)))
        groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        final = [[q.detach(), unused.detach()] for q in p]
        return torch.stack(curve), final, state, groups, closure, repr(optimizer), list(state["state"].keys())

    register(f"modules.optim {text}", run, ulps=256)


for _text in filter(None, OPTIMIZERS.split("\n")):
    _optimizer(_text)

SCHEDULERS = """
StepLR(o, 3)
StepLR(o, step_size=2, gamma=0.5)
MultiStepLR(o, [2, 5], gamma=0.3)
ExponentialLR(o, 0.9)
CosineAnnealingLR(o, 5)
CosineAnnealingLR(o, T_max=4, eta_min=0.01)
LambdaLR(o, lambda e: 0.95 ** e)
LambdaLR(o, [lambda e: 1 / (e + 1), lambda e: e])
LinearLR(o, total_iters=4)
ConstantLR(o, 0.5, 3)
OneCycleLR(o, max_lr=1.0, total_steps=10)
CosineAnnealingWarmRestarts(o, 3)
PolynomialLR(o, 5)
"""


def _scheduler(text):
    def run(torch):
        p = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
        optimizer = torch.optim.SGD([{"params": p[:1]}, {"params": p[1:], "lr": 0.3}], lr=0.1)
        scheduler = eval(text, {**vars(torch.optim.lr_scheduler), "o": optimizer})
        seen = [scheduler.get_last_lr()]
        for _ in range(9):
            optimizer.step()
            scheduler.step()
            seen.append([g["lr"] for g in optimizer.param_groups])
        state = {k: v for k, v in scheduler.state_dict().items() if k in ("last_epoch", "base_lrs", "_last_lr")}
        return seen, state, optimizer.param_groups[0].get("initial_lr")

    register(f"modules.scheduler {text}", run)


for _text in filter(None, SCHEDULERS.split("\n")):
    _scheduler(_text)


@program
def plateau(torch):
    found = {}
    for name, options in {
        "default": {},
        "patient": {"patience": 1, "factor": 0.5},
        "max": {"mode": "max", "patience": 0, "threshold": 0.1, "threshold_mode": "abs"},
        "cooldown": {"patience": 0, "cooldown": 2, "min_lr": 0.01},
    }.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rates = []
        for value in [
            1.0,
            0.9,
            0.9,
            0.95,
            0.9,
            0.8,
            0.8,
            0.8,
            0.8,
            math.nan,
            0.8,
            torch.tensor(0.5),
            0.5,
            0.5,
            0.5,
            0.5,
        ]:
            scheduler.step(value)
            rates.append(optimizer.param_groups[0]["lr"])
        found[name] = rates, scheduler.num_bad_epochs, float(scheduler.best)
    return found


@program
def optimizer_errors(torch):
    p = torch.nn.Parameter(torch.ones(2))
    x = torch.ones(2, requires_grad=True) * 2
    optim = torch.optim
    return (
        attempt(lambda: optim.SGD([], lr=0.1), "optimizer got an empty parameter list"), attempt(lambda: optim.SGD([p], lr=-1), "Invalid learning rate: -1"),
        attempt(lambda: optim.SGD([x], lr=0.1), "can't optimize a non-leaf Tensor"), attempt(lambda: optim.SGD(p, lr=0.1)),
        attempt(lambda: optim.SGD([p], lr=0.1, nesterov=True)), attempt(lambda: optim.Adam([p], betas=(1.0, 0.9))),
        attempt(lambda: optim.SGD([1], lr=0.1)), attempt(lambda: optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)),
        attempt(lambda: optim.Adam([p]).load_state_dict(optim.Adam([p, torch.nn.Parameter(torch.ones(1))]).state_dict())),
        attempt(lambda: optim.Adam([p], eps=-1)), attempt(lambda: optim.Adam([p], wrong=1)), attempt(lambda: optim.RMSprop([p], alpha=-1)),
        attempt(lambda: optim.SGD([p], momentum=-1)),
    )  # fmt: skip


@program
def zero_grad(torch):
    net = torch.nn.Linear(2, 1)
    net(torch.ones(1, 2)).sum().backward()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer.zero_grad(set_to_none=False)
    zeros = net.weight.grad.clone()
    optimizer.zero_grad()
    cleared = net.weight.grad
    net(torch.ones(1, 2)).sum().backward()
    net.zero_grad()
    optimizer.add_param_group({"params": torch.nn.Parameter(torch.ones(1)), "lr": 9})
    return zeros, cleared, net.weight.grad, len(optimizer.param_groups), repr(optimizer)


@program(ulps=64)
def attention_details(torch):
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    x = tensor(torch, data(1, 2, 4, 8))
    mask = torch.triu(torch.ones(4, 4, dtype=torch.bool), 1)
    padding = torch.tensor([[False, False, True, True], [False, False, False, True]])
    return (
        attention(x, x, x), attention(x, x, x, need_weights=False), attention(x, x, x, attn_mask=mask),
        attention(x, x, x, key_padding_mask=padding), attention(x, x, x, average_attn_weights=False)[1].shape,
        attention(x, x[:, :2], x[:, :2])[0], attention(x, x, x, attn_mask=torch.zeros(4, 4).masked_fill(mask, -1e9))[0],
        attention(x[0], x[0], x[0])[0], attempt(lambda: torch.nn.MultiheadAttention(7, 2)), attempt(lambda: attention(x, x[:1], x[:1])),
    )  # fmt: skip


@program(ulps=64)
def recurrent_details(torch):
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(3, 4, num_layers=2)
    x = tensor(torch, data(1, 6, 2, 3))
    state = (tensor(torch, data(2, 2, 2, 4)), tensor(torch, data(3, 2, 2, 4)))
    gru = torch.nn.GRU(3, 4, batch_first=True)
    return (
        lstm(x), lstm(x, state), lstm(x[:, 0]), gru(x, tensor(torch, data(4, 1, 6, 4))), attempt(lambda: lstm(x[..., :2])),
        attempt(lambda: lstm(x, (state[0][:1], state[1])), "Expected hidden[0] size"), attempt(lambda: lstm(x[0, 0])),
        lstm.all_weights[0][0].shape, [n for n, _ in lstm.named_parameters()], lstm.flatten_parameters(),
    )  # fmt: skip


@program(ulps=64)
def batch_norm_details(torch):
    norm = torch.nn.BatchNorm1d(3)
    x = tensor(torch, data(1, 5, 3))
    found = [norm(x), norm(x * 2 + 1), dict(norm.state_dict())]
    found = [v.clone() if hasattr(v, "clone") else {k: w.clone() for k, w in v.items()} for v in found]
    norm.eval()
    found.append(norm(x))
    norm.train()
    errors = [
        attempt(
            lambda: norm(x[:1]),
            "Expected more than 1 value per channel when training, got input size torch.Size([1, 3])",
        ),
        attempt(lambda: norm(x[:, :2])),
        attempt(lambda: norm(x[0])),
        attempt(lambda: torch.nn.BatchNorm2d(3)(x), "expected 4D input (got 2D input)"),
    ]
    norm.reset_running_stats()
    return found, errors, dict(norm.state_dict())


@program
def embedding_details(torch):
    torch.manual_seed(0)
    e = torch.nn.Embedding(5, 2, padding_idx=1)
    out = e(torch.tensor([[0, 1], [1, 4]]))
    out.sum().backward()
    made = torch.nn.Embedding.from_pretrained(torch.eye(3))
    return (
        out, e.weight.grad, attempt(lambda: e(torch.tensor([5])), "index out of range in self"), attempt(lambda: e(torch.tensor([-1]))),
        attempt(lambda: e(torch.tensor([0.5]))), made(torch.tensor([2, 0])), made.weight.requires_grad, e(torch.tensor(2)), e(torch.zeros(0, dtype=torch.int64)).shape,
    )  # fmt: skip


@program
def shape_errors_of_layers(torch):
    nn = torch.nn
    return {
        "conv channels": attempt(
            lambda: nn.Conv2d(3, 4, 3)(torch.ones(1, 2, 8, 8)), "to have 3 channels, but got 2 channels instead"
        ),
        "conv small": attempt(
            lambda: nn.Conv2d(1, 1, 5)(torch.ones(1, 1, 3, 3)), "Kernel size can't be greater than actual input size"
        ),
        "conv groups": attempt(lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels must be divisible by groups"),
        "conv dim": attempt(
            lambda: nn.Conv2d(3, 4, 3)(torch.ones(3, 8)), "Expected 3D (unbatched) or 4D (batched) input to conv2d"
        ),
        "conv dtype": attempt(lambda: nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2).double())),
        "linear dtype": attempt(lambda: nn.Linear(2, 2)(torch.ones(2).double()), "must have the same dtype"),
        "linear int": attempt(lambda: nn.Linear(2, 2)(torch.ones(2, 2).long())),
        "layer norm": attempt(lambda: nn.LayerNorm(4)(torch.ones(2, 3)), "Given normalized_shape=[4]"),
        "pool": attempt(lambda: nn.MaxPool2d(5)(torch.ones(1, 1, 3, 3))),
        "flatten": attempt(lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, 1))(torch.ones(2, 4))),
        "group norm": attempt(lambda: nn.GroupNorm(3, 4), "num_channels (4) must be divisible by num_groups (3)"),
        "cross entropy": attempt(
            lambda: nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([0, 3])), "Target 3 is out of bounds."
        ),
        "mse": attempt(lambda: nn.MSELoss()(torch.ones(2, 3), torch.ones(2, 4))),
        "dropout": attempt(lambda: nn.Dropout(1.5), "dropout probability has to be between 0 and 1, but got 1.5"),
        "bce": attempt(
            lambda: nn.BCELoss()(torch.tensor([2.0]), torch.tensor([1.0])),
            "all elements of input should be between 0 and 1",
        ),
        "softmax dim": attempt(lambda: nn.Softmax(dim=3)(torch.ones(2, 2)), "Dimension out of range"),
    }
