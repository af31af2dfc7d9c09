"""Worker processes: fetch batches ahead of time, in order, and never leave the parent waiting for the dead."""

from __future__ import annotations

import os
import queue
import random
import sys
import traceback
from typing import Any, NamedTuple

import luchina


class WorkerInfo(NamedTuple):
    """What a worker knows of itself: ``get_worker_info()`` inside one."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The current worker's number, the count of workers, its seed and data set; None in the main process."""
    return _info


class Failure:
    """An exception of a worker on its way to the parent."""

    def __init__(self, where: str) -> None:
        kind, error, trace = sys.exc_info()
        assert kind is not None
        self.kind = kind
        self.text = "".join(traceback.format_exception(kind, error, trace))
        self.where = where

    def reraise(self) -> None:
        """Raise the same class with the worker's traceback as its text."""
        message = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            raise KeyError(_Text(message))
        try:
            error = self.kind(message)
        except Exception:  # a class whose constructor wants something else
            raise RuntimeError(message) from None
        raise error


class _Text(str):
    """A KeyError's message whose line breaks are printed as such."""

    def __repr__(self) -> str:
        return str(self)


class StreamEnd(NamedTuple):
    """A worker's stream is exhausted."""

    worker: int


def work(
    dataset: Any,
    fetcher: Any,
    tasks: Any,
    results: Any,
    number: int,
    count: int,
    base_seed: int,
    init: Any,
    parent: int,
) -> None:
    """The life of a worker: take (batch number, indices) from ``tasks``, put (batch number, batch) into ``results``."""
    global _info
    luchina.set_num_threads(1)
    seed = base_seed + number
    random.seed(seed)
    luchina.manual_seed(seed)
    _info = WorkerInfo(number, count, seed, dataset)
    failure = None
    try:
        if init is not None:
            init(number)
        fetch = fetcher(dataset)
    except Exception:
        failure = Failure(f"in DataLoader worker process {number}")
    try:
        while True:
            try:
                task = tasks.get(timeout=5)
            except queue.Empty:
                if os.getppid() != parent:
                    break  # nobody is left to work for
                continue
            if task is None:
                break
            batch_number, indices = task
            if indices == "restart":
                fetch = fetcher(dataset)
                continue
            if failure is not None:
                results.put((batch_number, failure))
                failure = None
                continue
            try:
                batch = fetch(indices)
            except StopIteration:
                batch = StreamEnd(number)
            except Exception:
                batch = Failure(f"in DataLoader worker process {number}")
            results.put((batch_number, batch))
            del batch
    except KeyboardInterrupt:
        pass  # the parent was interrupted as well and says so
    finally:
        results.close()
        results.join_thread()
