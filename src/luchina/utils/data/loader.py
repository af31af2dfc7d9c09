"""``DataLoader``: batches of a data set, in this process or made ahead by workers."""

from __future__ import annotations

import itertools
import os
import queue
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from luchina import Generator
from luchina.utils.data.collate import default_collate, default_convert, take_rows
from luchina.utils.data.dataset import IterableDataset, Subset, TensorDataset
from luchina.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler, draw_seed
from luchina.utils.data.worker import Failure, StreamEnd, work

CHECK_SECONDS = 1.0  # between looks whether the workers live


class Fetcher:
    """How a batch is made of a data set: called with the data set, gives a function of indices."""

    def __init__(self, streams: bool, batched: bool, collate: Callable[[Any], Any], drop_last: bool) -> None:
        self.streams = streams
        self.batched = batched
        self.collate = collate
        self.drop_last = drop_last

    def __call__(self, dataset: Any) -> Callable[[Any], Any]:
        if self.streams:
            return self._of_stream(iter(dataset))
        if self.batched and self.collate is default_collate:
            tensors, rows = _tensors_of(dataset)
            if tensors is not None:
                return lambda indices: [
                    take_rows(t, indices if rows is None else [rows[i] for i in indices]) for t in tensors
                ]
        if not self.batched:
            return lambda index: self.collate(dataset[index])
        several = getattr(dataset, "__getitems__", None)
        if callable(several):
            return lambda indices: self.collate(several(indices))
        return lambda indices: self.collate([dataset[i] for i in indices])

    def _of_stream(self, items: Iterator[Any]) -> Callable[[Any], Any]:
        def fetch(indices: Any) -> Any:
            if not self.batched:
                return self.collate(next(items))
            batch = list(itertools.islice(items, len(indices)))
            if not batch or (self.drop_last and len(batch) < len(indices)):
                raise StopIteration
            return self.collate(batch)

        return fetch


def _tensors_of(dataset: Any) -> tuple[Any, Any]:
    """The tensors of a plain TensorDataset, and the rows that a Subset leaves of it."""
    if type(dataset) is TensorDataset:
        return dataset.tensors, None
    if type(dataset) is Subset and type(dataset.dataset) is TensorDataset:
        return dataset.dataset.tensors, dataset.indices
    return None, None


class _Endless:
    """Indices for a stream, which has none."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader:
    """Batches of a data set.

    ``shuffle`` and samplers draw random numbers as PyTorch does, so that a seed gives PyTorch's batches.
    ``num_workers`` processes
    make batches ahead (``prefetch_factor`` each); their order does not depend on which is faster.

    Source: https://pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 to enable "
                "multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        if pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device "
                "pinned memory won't be used.",
                stacklevel=2,
            )
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.persistent_workers = persistent_workers
        self._streams = isinstance(dataset, IterableDataset)
        if self._streams:
            if shuffle not in (None, False):
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified shuffle option, but got shuffle={shuffle}"
                )
            if sampler is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified sampler option, but got sampler={sampler}"
                )
            if batch_sampler is not None:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified batch_sampler option, but got "
                    f"batch_sampler={batch_sampler}"
                )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
            drop_last = False
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if self._streams:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self._batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)
        self._workers: _Workers | None = None

    def _fetcher(self) -> Fetcher:
        return Fetcher(self._streams, self._batched, self.collate_fn, self.drop_last)

    def _indices(self) -> Iterable[Any]:
        return self.batch_sampler if self.batch_sampler is not None else self.sampler

    def __iter__(self) -> Iterator[Any]:
        base_seed = draw_seed(self.generator)
        if self.num_workers == 0:
            return self._here()
        if self.persistent_workers and self._workers is not None:
            self._workers.restart()
            workers = self._workers
        else:
            workers = _Workers(self, base_seed)
            if self.persistent_workers:
                self._workers = workers
        return workers.batches(iter(self._indices()))

    def _here(self) -> Iterator[Any]:
        indices = iter(self._indices())
        fetch = self._fetcher()(self.dataset)

        def batches() -> Iterator[Any]:
            for chosen in indices:
                try:
                    batch = fetch(chosen)
                except StopIteration:
                    return
                yield batch

        return batches()

    def __len__(self) -> int:
        if self._streams:
            n = len(self.dataset)
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self._indices())  # type: ignore[arg-type]


class _Workers:
    """The processes behind a loader."""

    def __init__(self, loader: DataLoader, base_seed: int) -> None:
        import multiprocessing

        context = loader.multiprocessing_context
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        self.loader = loader
        self.results = context.Queue()
        self.tasks = [context.Queue() for _ in range(loader.num_workers)]
        self.owner = os.getpid()
        self.processes = []
        for i, tasks in enumerate(self.tasks):
            process = context.Process(
                target=work,
                args=(
                    loader.dataset,
                    loader._fetcher(),
                    tasks,
                    self.results,
                    i,
                    loader.num_workers,
                    base_seed,
                    loader.worker_init_fn,
                    os.getpid(),
                ),
                daemon=True,
            )
            process.start()
            self.processes.append(process)
        self.alive = set(range(loader.num_workers))
        self.first = 0  # number of the next batch of this epoch

    def restart(self) -> None:
        """A new epoch with the same processes."""
        self.alive = set(range(len(self.processes)))
        for tasks in self.tasks:
            tasks.put((None, "restart"))

    def batches(self, indices: Iterator[Any]) -> Iterator[Any]:
        """Batches in the order of ``indices``."""
        waiting: dict[int, int] = {}  # batch number -> worker
        arrived: dict[int, Any] = {}
        workers = itertools.cycle(range(len(self.processes)))
        sent = wanted = self.first

        def send() -> None:
            nonlocal sent
            if not self.alive:
                return
            try:
                chosen = next(indices)
            except StopIteration:
                return
            worker = next(w for w in workers if w in self.alive)
            self.tasks[worker].put((sent, chosen))
            waiting[sent] = worker
            sent += 1

        finished = False
        try:
            for _ in range(len(self.processes) * max(self.loader.prefetch_factor or 1, 1)):
                send()
            while wanted < sent:
                if wanted not in arrived:
                    number, batch = self._receive()
                    if number in waiting:
                        arrived[number] = batch
                    continue
                batch = arrived.pop(wanted)
                waiting.pop(wanted)
                wanted += 1
                if isinstance(batch, StreamEnd):
                    self.alive.discard(batch.worker)
                    send()
                    continue
                send()
                if isinstance(batch, Failure):
                    batch.reraise()
                yield batch
            finished = True
        finally:
            self.first = sent
            if not (finished and self.loader.persistent_workers):
                self.stop()

    def _receive(self) -> tuple[int, Any]:
        timeout = self.loader.timeout
        until = time.monotonic() + timeout if timeout else None
        while True:
            try:
                return self.results.get(timeout=min(CHECK_SECONDS, timeout) if timeout else CHECK_SECONDS)
            except queue.Empty:
                dead = [p.pid for i, p in enumerate(self.processes) if not p.is_alive() and i in self.alive]
                if dead:
                    pids = ", ".join(map(str, dead))
                    raise RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly") from None
                if until is not None and time.monotonic() > until:
                    raise RuntimeError(f"DataLoader timed out after {timeout} seconds") from None

    def stop(self) -> None:
        """End the processes, whatever they are doing."""
        if self.loader._workers is self:
            self.loader._workers = None
        for tasks in self.tasks:
            tasks.cancel_join_thread()
            tasks.put(None)
        deadline = time.monotonic() + 1.0
        for process in self.processes:
            process.join(max(deadline - time.monotonic(), 0.0))
            if process.is_alive():
                process.terminate()
                process.join(1.0)
        for tasks in (*self.tasks, self.results):
            tasks.cancel_join_thread()
            tasks.close()

    def __del__(self) -> None:
        if self.owner == os.getpid() and any(p.is_alive() for p in self.processes):  # not in a forked child's copy
            self.stop()
