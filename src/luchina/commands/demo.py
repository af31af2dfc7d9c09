"""``luchina demo``: the example on handwritten digits, with progress bars and tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import luchina
from luchina.examples import digits

Batch = tuple[int, float, int]


def run(
    console: Console, epochs: int, batch_size: int, lr: float, seed: int, threads: int | None, out: Path, device: str
) -> None:
    """Train, show, save the best checkpoint."""
    from luchina import hub
    from luchina.devices import resolve

    resolve(device)
    hub.package()  # what saving will need, before any work is done
    out.mkdir(parents=True, exist_ok=True)
    if threads:
        luchina.set_num_threads(threads)
    start = time.perf_counter()
    model, history, test_data = digits.train(seed, epochs, batch_size, lr, device, progress=_Bars(console, epochs).show)
    seconds = time.perf_counter() - start
    answers, truth = digits.predict(model, test_data)
    test = (answers == truth).float().mean().item()
    console.print(_history_table(history))
    console.print(_confusion_table(answers.tolist(), truth.tolist()))
    path = save(model, out, seed, max(r["validation"] for r in history), test)
    console.print(
        f"test accuracy [bold]{test:.2%}[/] on {len(truth)} images not seen before, {seconds:.1f} s in all, the first "
        "compilation included"
    )
    console.print(f"checkpoint of the best epoch: {path}", markup=False, highlight=False, soft_wrap=True)


class _Bars:
    """A progress bar an epoch."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console = console
        self.epochs = epochs

    def show(self, epoch: int, batches: Iterator[Batch], total: int) -> list[Batch]:
        done: list[Batch] = []
        columns = (
            TextColumn("epoch {task.fields[epoch]:>2}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(
                "loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.2%}  {task.fields[rate]:,.0f} images/s"
            ),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, refresh_per_second=8) as progress:
            task = progress.add_task("", total=total, epoch=epoch, loss=0.0, accuracy=0.0, rate=0.0)
            start = time.perf_counter()
            seen, loss, right = 0, 0.0, 0
            for batch in batches:
                done.append(batch)
                n, batch_loss, batch_right = batch
                seen += n
                loss += n * batch_loss
                right += batch_right
                rate = seen / (time.perf_counter() - start)
                progress.update(task, completed=seen, loss=loss / seen, accuracy=right / seen, rate=rate)
        return done


def _history_table(history: list[dict]) -> Table:
    table = Table(title="training")
    for name in ("epoch", "loss", "train", "validation", "images/s"):
        table.add_column(name, justify="right")
    best = max(r["validation"] for r in history)
    last_best = max(r["epoch"] for r in history if r["validation"] == best)
    for r in history:
        style = "bold green" if r["epoch"] == last_best else ""
        table.add_row(
            str(r["epoch"]),
            f"{r['loss']:.4f}",
            f"{r['train']:.2%}",
            f"{r['validation']:.2%}",
            f"{r['images_per_second']:,.0f}",
            style=style,
        )
    return table


def _confusion_table(answers: list[int], truth: list[int]) -> Table:
    counts = [[0] * 10 for _ in range(10)]
    for answer, right in zip(answers, truth):
        counts[right][answer] += 1
    table = Table(title="test images: rows are the digits, columns the answers")
    table.add_column("")
    for digit in range(10):
        table.add_column(str(digit), justify="right")
    for digit, row in enumerate(counts):
        cells = [f"[bold green]{n}[/]" if i == digit else f"[bold red]{n}[/]" if n else "·" for i, n in enumerate(row)]
        table.add_row(str(digit), *cells)
    return table


def save(model: Any, folder: Path, seed: int, validation: float, test: float) -> Path:
    """The weights as safetensors, with what they scored."""
    from luchina import hub

    path = folder / "digits.safetensors"
    metadata = {
        "model": "luchina.examples.digits.DigitNet",
        "seed": str(seed),
        "validation_accuracy": f"{validation:.4f}",
        "test_accuracy": f"{test:.4f}",
    }
    hub.save_file(model.state_dict(), path, metadata)
    return path
