"""A caching allocator: memory that a device gives is kept when it is freed, and given out again.

Asking a driver for memory takes up to a millisecond and waits for the device, so it is done once a size. Blocks are
rounded up to classes, four to each power of two (at most a fifth is lost), and wait in a pool for each *queue* (a
stream): what was freed on a queue may be used again on it at once, because the queue runs in order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from luchina.runtime.buffers import NoMemory

SMALLEST = 512


class OutOfMemoryError(NoMemory):
    """A device has no memory left, even when what was kept is given back."""


def size_class(nbytes: int) -> int:
    """The size of the block for ``nbytes``."""
    if nbytes <= SMALLEST:
        return SMALLEST
    step = 1 << max((nbytes - 1).bit_length() - 3, SMALLEST.bit_length() - 1)
    return -(-nbytes // step) * step


class CachingAllocator:
    """Blocks at addresses, from ``take(nbytes) -> address`` (0 if there is no memory) and back by ``give(address)``.

    Attributes:
        allocated, reserved: bytes in blocks that are in use; those and what is kept.
        peak_allocated, peak_reserved: the most that they have been since ``reset_peaks``.
        allocations: blocks handed out so far.
        taken: of these, how many the device was asked for.
    """

    def __init__(self, take: Callable[[int], int], give: Callable[[int], None]) -> None:
        self._take = take
        self._give = give
        self._free: dict[tuple[Hashable, int], list[int]] = {}
        self._lock = threading.RLock()
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self.allocations = self.taken = 0

    def allocate(self, nbytes: int, queue: Hashable = None, other: Hashable = None) -> int:
        """Address of a block for ``nbytes``, or 0 if the device has no memory even when the cache is empty: one that
        waits on ``queue``, or else on the ``other``, or the device's."""
        size = size_class(nbytes)
        with self._lock:
            for each in (queue, other):
                waiting = self._free.get((each, size))
                if waiting:
                    address = waiting.pop()
                    break
            else:
                address = self._take(size)
                if not address and self.reserved > self.allocated:
                    self.empty()
                    address = self._take(size)
                if not address:
                    return 0
                self.taken += 1
                self.reserved += size
                self.peak_reserved = max(self.peak_reserved, self.reserved)
            self.allocations += 1
            self.allocated += size
            self.peak_allocated = max(self.peak_allocated, self.allocated)
        return address

    def free(self, address: int, nbytes: int, queue: Hashable = None) -> None:
        """Keep a block of ``nbytes`` for the next one who asks on ``queue``."""
        size = size_class(nbytes)
        with self._lock:
            self.allocated -= size
            self._free.setdefault((queue, size), []).append(address)

    def merge(self, last: int, to: Hashable) -> None:
        """Let the blocks that wait on queues with numbers up to ``last`` wait on ``to``."""
        with self._lock:
            for queue, size in list(self._free):
                if isinstance(queue, int) and queue <= last:
                    self._free.setdefault((to, size), []).extend(self._free.pop((queue, size)))

    def empty(self) -> None:
        """Give everything that is not in use back to the device."""
        with self._lock:
            for (_, size), addresses in self._free.items():
                for address in addresses:
                    self._give(address)
                    self.reserved -= size
            self._free.clear()

    def reset_peaks(self) -> None:
        """Let the peaks start from what is now."""
        self.peak_allocated, self.peak_reserved = self.allocated, self.reserved
