"""Handwritten digits: a small convolutional network, trained from start to end.

    python examples/digits.py

Written as one writes PyTorch. To run it there, import torch in luchina's place and load the images some other way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import luchina as torch
from luchina import datasets, nn
from luchina.utils.data import DataLoader, TensorDataset


class DigitNet(nn.Module):
    """Two convolutions look for strokes, two linear layers decide which digit they make."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(64 * 4 * 4, 128),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(128, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images))


def load_data(seed: int) -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Training, validation and test data: images (N, 1, 8, 8) scaled to 0…1, and labels (N,)."""
    images, labels = datasets.digits()
    parts = datasets.split(images, labels, seed)
    train, validation, test = (TensorDataset(x.unsqueeze(1) / 16, y) for x, y in parts)
    return train, validation, test


def train_epoch(
    model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer
) -> Iterator[tuple[int, float, int]]:
    """One pass over the training data; after each batch (images seen, loss, right answers)."""
    model.train()
    device = next(model.parameters()).device
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        # Label smoothing: a tenth of the weight goes to all digits alike, which keeps the network from being too sure.
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (logits.argmax(1) == labels).sum()
        yield len(labels), loss.item(), int(right.item())


def predict(model: nn.Module, data: TensorDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's answers and the right ones, for all the data."""
    model.eval()
    device = next(model.parameters()).device
    answers, truth = [], []
    with torch.no_grad():
        for images, labels in DataLoader(data, batch_size=256):
            answers.append(model(images.to(device)).argmax(1).cpu())
            truth.append(labels)
    return torch.cat(answers), torch.cat(truth)


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """The share of right answers."""
    answers, truth = predict(model, data)
    return (answers == truth).float().mean().item()


def train(
    seed: int = 0,
    epochs: int = 20,
    batch_size: int = 64,
    lr: float = 3e-3,
    device: torch.device | str = "cpu",
    progress: Callable[[int, Iterator[tuple[int, float, int]], int], list[tuple[int, float, int]]] | None = None,
    after_epoch: Callable[[dict], None] | None = None,
) -> tuple[nn.Module, list[dict], TensorDataset]:
    """Train a network; gives it with the weights of its best epoch, the history, and the test data it has not seen.

    ``progress(epoch, batches, total)`` may show the batches of an epoch as they are done.
    """
    torch.manual_seed(seed)
    train_data, validation_data, test_data = load_data(seed)
    loader = DataLoader(train_data, batch_size=batch_size, shuffle=True)
    model = DigitNet().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    history: list[dict] = []
    best, best_weights = -1.0, model.state_dict()
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        batches = train_epoch(model, loader, optimizer)
        done = progress(epoch, batches, len(train_data)) if progress else list(batches)
        schedule.step()
        seconds = time.perf_counter() - start
        seen = sum(n for n, _, _ in done)
        record = {
            "epoch": epoch,
            "loss": sum(n * loss for n, loss, _ in done) / seen,
            "train": sum(right for _, _, right in done) / seen,
            "validation": accuracy(model, validation_data),
            "images_per_second": seen / seconds,
        }
        history.append(record)
        if record["validation"] >= best:
            best = record["validation"]
            best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if after_epoch:
            after_epoch(record)
    model.load_state_dict(best_weights)
    return model, history, test_data


def main() -> None:
    model, _, test_data = train(
        after_epoch=lambda r: print(
            f"epoch {r['epoch']:2}  loss {r['loss']:.4f}  train {r['train']:.2%}  validation {r['validation']:.2%}"
        )
    )
    print(f"test accuracy of the best epoch: {accuracy(model, test_data):.2%}")


if __name__ == "__main__":
    main()
