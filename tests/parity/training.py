"""Small whole trainings from a seed: the curves and the parameters at the end.

Rounding differences grow with the number of steps, faster where the loss surface is steep. Each program states in ulps
what it allows: a few hundred for smooth models under SGD, some thousands under Adam, whose first steps divide small
gradients by themselves.
"""

from __future__ import annotations

import io

from parity.harness import data, program, tensor


def _regression(torch, n=64, inputs=4, dtype="float32"):
    x = tensor(torch, data(1, n, inputs, dtype=dtype))
    return x, (x**2).sum(1, keepdim=True).sin()


def _classes(torch, n=60, inputs=5, classes=3):
    x = tensor(torch, data(2, n, inputs))
    return x, (x[:, :classes] + 0.3 * x[:, -classes:]).argmax(1)


def _mlp(torch, sizes=(4, 16, 16, 1), activation="Tanh"):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(a, b), getattr(torch.nn, activation)()]
    return torch.nn.Sequential(*layers[:-1])


def _fit(torch, model, loss_of, optimizer, steps, scheduler=None, clip=None):
    curve = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of(step)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if scheduler:
            scheduler.step()
        curve.append(loss.detach())
    return torch.stack(curve), [p.detach() for p in model.parameters()]


def _mlp_training(torch, make_optimizer, make_scheduler=None, steps=25):
    torch.manual_seed(0)
    model = _mlp(torch)
    x, y = _regression(torch)
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    return _fit(torch, model, lambda _: torch.nn.functional.mse_loss(model(x), y), optimizer, steps, scheduler)


@program(ulps=256)
def mlp_sgd(torch):
    return _mlp_training(torch, lambda p: torch.optim.SGD(p, lr=0.1))


@program(ulps=512)
def mlp_momentum_step_lr(torch):
    return _mlp_training(
        torch,
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 10, 0.5),
    )


# Adam divides by the root of a squared gradient: where a gradient is near zero, its rounding decides the step's sign.
@program(ulps=4000)
def mlp_adam_cosine(torch):
    return _mlp_training(
        torch,
        lambda p: torch.optim.Adam(p, lr=0.01),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 25),
    )


@program(ulps=4000)
def mlp_adamw_lambda(torch):
    return _mlp_training(
        torch,
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda e: 0.97**e),
    )


@program(ulps=4000)
def mlp_rmsprop(torch):
    return _mlp_training(torch, lambda p: torch.optim.RMSprop(p, lr=0.005, momentum=0.3))


@program(ulps=4000)
def mlp_double(torch):
    torch.manual_seed(0)
    model = _mlp(torch).double()
    x, y = _regression(torch, dtype="float64")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    return _fit(torch, model, lambda _: torch.nn.functional.mse_loss(model(x), y), optimizer, 30)


@program(ulps=256)
def classifier_with_loader(torch):
    torch.manual_seed(0)
    x, y = _classes(torch)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16, shuffle=True)
    model = _mlp(torch, (5, 12, 3), "ReLU")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    curve, accuracy = [], []
    for _ in range(4):
        for batch, target in loader:
            loss = torch.nn.functional.cross_entropy(model(batch), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        model.eval()
        with torch.no_grad():
            accuracy.append((model(x).argmax(1) == y).sum().item())
        model.train()
    return curve, accuracy, list(model.parameters())


@program(ulps=4000)
def convolutional_network(torch):
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            )  # fmt: skip
            self.drop = nn.Dropout(0.25)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.drop(self.features(x).flatten(1)))

    torch.manual_seed(0)
    net = Net()
    x = tensor(torch, data(1, 12, 1, 10, 10))
    y = torch.arange(12) % 4
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    fitted = _fit(torch, net, lambda _: nn.functional.cross_entropy(net(x), y), optimizer, 8)
    net.eval()
    return fitted, net(x), dict(net.state_dict())


def _recurrent(torch, kind):
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.ModuleDict({"rnn": getattr(nn, kind)(3, 8, batch_first=True), "head": nn.Linear(8, 1)})
    x = tensor(torch, data(1, 10, 7, 3))
    y = x.sum((1, 2))[:, None] * 0.2
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return _fit(
        torch, model, lambda _: ((model["head"](model["rnn"](x)[0][:, -1]) - y) ** 2).mean(), optimizer, 8, clip=1.0
    )


@program(ulps=8000)
def rnn(torch):
    return _recurrent(torch, "RNN")


@program(ulps=8000)
def lstm(torch):
    return _recurrent(torch, "LSTM")


@program(ulps=8000)
def gru(torch):
    return _recurrent(torch, "GRU")


@program(ulps=8000)
def transformer_language_model(torch):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(11, 16)
            self.places = nn.Parameter(torch.randn(6, 16) * 0.1)
            self.block = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True, norm_first=True)
            self.norm = nn.LayerNorm(16)
            self.head = nn.Linear(16, 11, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, x):
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            return self.head(self.norm(self.block(self.tokens(x) + self.places[: x.shape[1]], src_mask=mask)))

    torch.manual_seed(0)
    model = Model()
    x = torch.randint(0, 11, (5, 7))
    # The gradient of the keys' bias is 0 but for rounding, and Adam would turn that rounding into steps.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss_of(_):
        logits = model(x[:, :-1])
        return nn.functional.cross_entropy(logits.reshape(-1, 11), x[:, 1:].reshape(-1))

    return _fit(torch, model, loss_of, optimizer, 6), len(list(model.parameters())), repr(model)


@program(ulps=8000)
def attention_by_hand(torch):
    nn, F = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)

        def forward(self, x):
            b, t, c = x.shape
            q, k, v = self.qkv(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
            w = (q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5
            w = w.masked_fill(torch.ones(t, t).tril() == 0, float("-inf")).softmax(-1)
            return self.out((w @ v).transpose(1, 2).contiguous().view(b, t, c))

    torch.manual_seed(0)
    net = nn.Sequential(nn.LayerNorm(8), Attention(8, 2), nn.GELU(), nn.Linear(8, 1))
    x = tensor(torch, data(1, 3, 5, 8))
    y = x.cumsum(1)[..., :1] * 0.1
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    return _fit(torch, net, lambda _: F.mse_loss(net(x), y), optimizer, 8)


@program(ulps=512)
def embedding_classifier(torch):
    nn = torch.nn
    torch.manual_seed(0)
    words = torch.randint(0, 20, (16, 5))
    target = words[:, 0] % 3
    model = nn.ModuleDict({"e": nn.Embedding(20, 6, padding_idx=0), "h": nn.Linear(6, 3)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    loss_of = lambda _: nn.functional.cross_entropy(model["h"](model["e"](words).mean(1)), target)  # noqa: E731
    return _fit(torch, model, loss_of, optimizer, 12)


@program(ulps=8000)
def variational_autoencoder(torch):
    nn, F = torch.nn, torch.nn.functional

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode = nn.Linear(8, 12)
            self.mu, self.logvar = nn.Linear(12, 2), nn.Linear(12, 2)
            self.decode = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 8))

        def forward(self, x):
            h = F.relu(self.encode(x))
            mu, logvar = self.mu(h), self.logvar(h)
            z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
            return torch.sigmoid(self.decode(z)), mu, logvar

    torch.manual_seed(0)
    model = VAE()
    x = tensor(torch, data(1, 10, 8, low=0, high=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def loss_of(_):
        out, mu, logvar = model(x)
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return F.binary_cross_entropy(out, x, reduction="sum") + kl

    return _fit(torch, model, loss_of, optimizer, 8)


@program(ulps=8000)
def adversarial_pair(torch):
    nn = torch.nn
    torch.manual_seed(0)
    make, judge = _mlp(torch, (2, 8, 2), "ReLU"), _mlp(torch, (2, 8, 1), "LeakyReLU")
    a, b = torch.optim.Adam(make.parameters(), lr=0.01), torch.optim.Adam(judge.parameters(), lr=0.01)
    loss = nn.BCEWithLogitsLoss()
    curve = []
    for _ in range(6):
        real, noise = torch.randn(10, 2) * 0.5 + 1, torch.randn(10, 2)
        fake = make(noise)
        b.zero_grad()
        judged = loss(judge(real), torch.ones(10, 1)) + loss(judge(fake.detach()), torch.zeros(10, 1))
        judged.backward()
        b.step()
        a.zero_grad()
        made = loss(judge(fake), torch.ones(10, 1))
        made.backward()
        a.step()
        curve += [judged.item(), made.item()]
    return curve, list(make.parameters()), list(judge.parameters())


@program(ulps=256)
def gradient_accumulation(torch):
    torch.manual_seed(0)
    model = _mlp(torch)
    x, y = _regression(torch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    curve = []
    for _ in range(5):
        optimizer.zero_grad()
        total = 0.0
        for part, target in zip(x.split(16), y.split(16)):
            loss = torch.nn.functional.mse_loss(model(part), target) / 4
            loss.backward()
            total += loss.item()
        optimizer.step()
        curve.append(total)
    return curve, list(model.parameters())


@program(ulps=256)
def raw_tensors(torch):
    torch.manual_seed(0)
    x, y = _regression(torch)
    w1, b1 = (torch.randn(4, 8) * 0.5).requires_grad_(), torch.zeros(8, requires_grad=True)
    w2, b2 = (torch.randn(8, 1) * 0.5).requires_grad_(), torch.zeros(1, requires_grad=True)
    curve = []
    for _ in range(15):
        h = (x @ w1 + b1).clamp(min=0)
        loss = (h @ w2 + b2 - y).pow(2).mean()
        loss.backward()
        with torch.no_grad():
            for p in (w1, b1, w2, b2):
                p -= 0.1 * p.grad
                p.grad.zero_()
        curve.append(loss.item())
    return curve, w1, b1, w2, b2


@program(ulps=256)
def backward_written_by_hand(torch):
    torch.manual_seed(0)
    x, y = _regression(torch)
    w1, w2 = torch.randn(4, 8) * 0.5, torch.randn(8, 1) * 0.5
    curve = []
    for _ in range(10):
        h = x.mm(w1)
        a = h.clamp(min=0)
        error = a.mm(w2) - y
        curve.append((error**2).sum().item())
        grad = 2.0 * error
        g2 = a.t().mm(grad)
        gh = grad.mm(w2.t()).clone()
        gh[h < 0] = 0
        w1 -= 1e-3 * x.t().mm(gh)
        w2 -= 1e-3 * g2
    return curve, w1, w2


@program(ulps=4000)
def save_and_resume(torch):
    def build():
        torch.manual_seed(0)
        model = _mlp(torch)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)

    x, y = _regression(torch)
    model, optimizer, scheduler = build()
    loss = lambda m: lambda _: torch.nn.functional.mse_loss(m(x), y)  # noqa: E731
    first = _fit(torch, model, loss(model), optimizer, 5, scheduler)[0]
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), scheduler.state_dict()], file)
    straight = _fit(torch, model, loss(model), optimizer, 5, scheduler)
    file.seek(0)
    model, optimizer, scheduler = build()
    for part, state in zip((model, optimizer, scheduler), torch.load(file)):
        part.load_state_dict(state)
    resumed = _fit(torch, model, loss(model), optimizer, 5, scheduler)
    same = [torch.equal(a, b) for a, b in zip(straight[1], resumed[1])]
    return first, straight, resumed, same


@program(ulps=2000)
def learning_to_learn(torch):
    torch.manual_seed(0)
    w = torch.randn(3, 1, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.05)
    curve = []
    for task in range(5):
        x = tensor(torch, data(task, 8, 3))
        y = x.sum(1, keepdim=True) * (task + 1) * 0.3
        inner = ((x @ w - y) ** 2).mean()
        (g,) = torch.autograd.grad(inner, w, create_graph=True)
        adapted = w - 0.1 * g
        outer = ((x @ adapted - y) ** 2).mean()
        optimizer.zero_grad()
        outer.backward()
        optimizer.step()
        curve += [inner.item(), outer.item()]
    return curve, w, w.grad


@program(ulps=256)
def frozen_and_tied(torch):
    nn = torch.nn
    torch.manual_seed(0)
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    frozen = nn.Linear(4, 1)
    frozen.requires_grad_(False)
    model = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), frozen)
    x, y = _regression(torch)
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.2)
    fitted = _fit(torch, model, lambda _: nn.functional.mse_loss(model(x), y), optimizer, 10)
    return fitted, frozen.weight.grad, second.weight is first.weight, list(model.state_dict())


@program(ulps=512)
def residual_group_norm(torch):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
            self.norm = nn.GroupNorm(2, 4)

        def forward(self, x):
            return x + nn.functional.silu(self.norm(self.conv(x)))

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 1), Block(), Block(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 1))
    x = tensor(torch, data(1, 6, 2, 6, 6))
    y = x.mean((1, 2, 3))[:, None]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return _fit(torch, model, lambda _: nn.functional.mse_loss(model(x), y), optimizer, 5)


@program(ulps=4000)
def autoencoder_with_transposed_convolution(torch):
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ELU(),
        nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1), nn.Sigmoid(),
    )  # fmt: skip
    x = tensor(torch, data(1, 5, 1, 8, 8, low=0, high=1))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.005)
    return _fit(torch, model, lambda _: nn.functional.mse_loss(model(x), x), optimizer, 6)


@program(ulps=256)
def physics_informed(torch):
    """The loss holds a second derivative of the network by its input."""
    torch.manual_seed(0)
    model = _mlp(torch, (1, 8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def loss_of(_):
        t = torch.linspace(0, 1, 10)[:, None].requires_grad_()
        u = model(t)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
        return ((ddu + u) ** 2).mean() + (u[0] - 1).pow(2).sum()

    return _fit(torch, model, loss_of, optimizer, 8)


@program(ulps=256)
def evaluation_in_the_middle(torch):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
    )
    x, y = _regression(torch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    curve = []
    for _ in range(6):
        model.train()
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.inference_mode():
            validation = torch.nn.functional.mse_loss(model(x[:10]), y[:10])
        scheduler.step(validation)
        curve += [loss.item(), validation.item(), optimizer.param_groups[0]["lr"]]
    return curve, dict(model.state_dict())


@program(ulps=8)
def half_precision_inference(torch):
    torch.manual_seed(0)
    model = _mlp(torch, (4, 8, 2), "ReLU")
    x, _ = _regression(torch)
    return model.half()(x.half()), model.bfloat16()(x.bfloat16())


@program(ulps=512)
def changing_batch_sizes(torch):
    torch.manual_seed(0)
    model = _mlp(torch)
    x, y = _regression(torch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    sizes = [1, 2, 7, 16, 33, 64, 5]
    return _fit(torch, model, lambda i: torch.nn.functional.mse_loss(model(x[: sizes[i]]), y[: sizes[i]]), optimizer, 7)


@program(ulps=512)
def policy_gradient(torch):
    torch.manual_seed(0)
    policy = _mlp(torch, (3, 8, 2))
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    curve = []
    for step in range(6):
        x = tensor(torch, data(step, 12, 3))
        logp = torch.log_softmax(policy(x), -1)
        action = (x[:, 0] > 0).long()
        reward = torch.where(x[:, 1] > 0, 1.0, -0.5)
        loss = -(logp.gather(1, action[:, None]).squeeze(1) * reward).mean()
        entropy = -(logp.exp() * logp).sum(-1).mean()
        optimizer.zero_grad()
        (loss - 0.01 * entropy).backward()
        optimizer.step()
        curve += [loss.item(), entropy.item()]
    return curve, list(policy.parameters())
