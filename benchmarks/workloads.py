"""Training steps as ordinary PyTorch-API scripts: the same lines run on either engine.

Each workload is ``name(torch) -> step``: a function that sets everything up and gives the function that does one step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]


def gradient_descent(torch: Any) -> Step:
    """Raw tensors: three weights fitted to a line in two variables."""
    torch.manual_seed(0)
    x = torch.randn(100, 2)
    y = x @ torch.tensor([[2.0], [-3.0]]) + 0.5
    w = torch.zeros(2, 1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)

    def step() -> Any:
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w.sub_(0.1 * w.grad)
            b.sub_(0.1 * b.grad)
            w.grad = None
            b.grad = None
        return loss.item()

    return step


def mlp_2_16_16_1(torch: Any) -> Step:
    """A 2-16-16-1 network with Adam, batch 32."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x = torch.rand(32, 2)
    y = x[:, :1] * x[:, 1:]

    def step() -> Any:
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def mlp_784_128_10(torch: Any) -> Step:
    """A 784-128-10 classifier with SGD, batch 64."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.rand(64, 784), torch.randint(10, (64,))

    def step() -> Any:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def digits_network(torch: Any) -> Step:
    """The network of ``luchina demo`` with AdamW, batch 64."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(64 * 4 * 4, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    x, y = torch.rand(64, 1, 8, 8), torch.randint(10, (64,))

    def step() -> Any:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


ALL = (gradient_descent, mlp_2_16_16_1, mlp_784_128_10, digits_network)
