"""DataLoader: order, workers, and workers that fail."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

import luchina as torch
from luchina.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, get_worker_info


class Numbers(Dataset):
    """Items (3 copies of i, i); at 13 something may go wrong."""

    def __init__(self, trouble: str = "") -> None:
        self.trouble = trouble

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> tuple:
        if i == 13 and self.trouble == "raise":
            raise KeyError("thirteen")
        if i == 13 and self.trouble == "die":
            os._exit(3)
        if i == 13 and self.trouble == "sleep":
            time.sleep(30)
        return torch.full((3,), float(i)), i


class Stream(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(start, 10, step))


def numbers(loader: DataLoader) -> list[list[int]]:
    return [batch[1].tolist() for batch in loader]


def test_workers_give_the_same_batches_in_the_same_order():
    expected = numbers(DataLoader(Numbers(), batch_size=7))
    assert numbers(DataLoader(Numbers(), batch_size=7, num_workers=2)) == expected
    torch.manual_seed(3)
    shuffled = numbers(DataLoader(Numbers(), batch_size=7, shuffle=True))
    torch.manual_seed(3)
    assert numbers(DataLoader(Numbers(), batch_size=7, shuffle=True, num_workers=2)) == shuffled


def test_persistent_workers_serve_several_epochs():
    loader = DataLoader(Numbers(), batch_size=8, num_workers=2, persistent_workers=True)
    first = numbers(loader)
    assert numbers(loader) == first
    loader._workers.stop()


def test_streams_are_shared_among_workers():
    assert sorted(i for b in DataLoader(Stream(), batch_size=3, num_workers=2) for i in b.tolist()) == list(range(10))
    assert [b.tolist() for b in DataLoader(Stream(), batch_size=4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_an_exception_of_a_worker_keeps_its_class_and_traceback():
    with pytest.raises(KeyError, match="Caught KeyError in DataLoader worker process"):
        numbers(DataLoader(Numbers("raise"), batch_size=7, num_workers=2))


def test_a_worker_that_dies_is_an_error_and_no_hang():
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly"):
        numbers(DataLoader(Numbers("die"), batch_size=7, num_workers=2))
    assert time.monotonic() - start < 10


def test_timeout():
    with pytest.raises(RuntimeError, match="timed out after 1"):
        numbers(DataLoader(Numbers("sleep"), batch_size=7, num_workers=2, timeout=1))


def test_leaving_early_ends_the_workers():
    loader = iter(DataLoader(Numbers(), batch_size=4, num_workers=2))
    next(loader)
    loader.close()


def test_the_quick_way_for_tensor_datasets_gives_what_stacking_gives():
    data = TensorDataset(torch.arange(20.0).reshape(10, 2), torch.arange(10))
    subset = Subset(data, [7, 3, 5, 1])
    for dataset in (data, subset):
        quick = list(DataLoader(dataset, batch_size=3))
        slow = list(DataLoader(dataset, batch_size=3, collate_fn=lambda b: [torch.stack(p) for p in zip(*b)]))
        for a, b in zip(quick, slow, strict=True):
            assert all(x.dtype is y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_data_larger_than_what_is_read_streams_from_disk(tmp_path):
    rows, width = 400_000, 128  # 205 MB, sparse on disk
    array = np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.float32, shape=(rows, width))
    array[::1000] = 1
    array.flush()
    del array

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    mapped = np.load(tmp_path / "big.npy", mmap_mode="c")
    data = TensorDataset(torch.from_numpy(mapped), torch.arange(rows))
    loader = DataLoader(data, batch_size=256, sampler=range(0, rows, 500))
    before = resident()
    total = sum(batch.sum().item() for batch, _ in loader)
    assert total == rows // 1000 * width
    assert resident() - before < 60e6


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"batch_size": 0}, "batch_size should be a positive integer"),
        ({"shuffle": True, "sampler": [1]}, "mutually exclusive with shuffle"),
        ({"prefetch_factor": 2}, "prefetch_factor option could only be specified in multiprocessing"),
        ({"timeout": -1}, "timeout option should be non-negative"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(Numbers(), **options)
