"""A program: kernel calls in order, run by one native call."""

from __future__ import annotations

import ctypes
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from luchina.runtime import executor, threads

# Below the first, handing a call to threads that are awake costs more than it saves. Waking a sleeping one takes the
# caller 15 to 20 µs and the sleeper some 50 more, so the rest of the program has to be worth the second.
SHARE_NANOSECONDS = 4_000.0
WAKE_NANOSECONDS = 80_000.0


@dataclass
class KernelCall:
    """One use of a kernel.

    Args:
        address: of the kernel's function.
        params: the kernel's own numbers: table entries, offsets, extents, strides.
        blocks: how many blocks the work is divided into; the division must not depend on the number of threads.
        scratch: bytes of private memory that each running thread needs.
        cost: estimated nanoseconds on one core; decides whether other threads take part, never the result.
    """

    address: int
    params: list[int] = field(default_factory=list)
    blocks: int = 1
    scratch: int = 0
    cost: float = 0.0


class Program:
    """Kernel calls that run in order, each finished before the next one starts.

    Args:
        calls: what to run.
        table_size: number of entries of the table of pointers that ``run`` is given.

    Attributes:
        address: of the list of calls, as the executor takes it.
        scratch: bytes of private memory that each running thread needs.
    """

    def __init__(self, calls: Sequence[KernelCall], table_size: int) -> None:
        self.calls = list(calls)
        self.table_size = table_size
        for call in self.calls:
            if not 0 <= call.blocks < 1 << 32:
                raise ValueError(f"a kernel call has 0 to 2**32 - 1 blocks, not {call.blocks}")
        self.scratch = max((call.scratch for call in self.calls), default=0)
        words = executor.CALL_BYTES // 8
        self._params = array("q", [value for call in self.calls for value in call.params])
        self._calls: Any = (ctypes.c_int64 * (words * len(self.calls)))()
        at = 0
        for number, (call, mode) in enumerate(zip(self.calls, call_modes(self.calls))):
            entry = number * words
            self._calls[entry + executor.CALL_FUNCTION // 8] = call.address
            self._calls[entry + executor.CALL_PARAMS // 8] = self._params.buffer_info()[0] + 8 * at
            self._calls[entry + executor.CALL_BLOCKS // 8] = call.blocks
            self._calls[entry + executor.CALL_MODE // 8] = mode
            at += len(call.params)
        self._pack = struct.Struct(f"{table_size}Q").pack
        self.address = ctypes.addressof(self._calls)
        self._arguments = (self.address, len(self.calls))

    def run(self, table: list[int]) -> None:
        """Run every call on the buffers whose addresses ``table`` lists; returns when all is done.

        Runs of different Python threads follow one another. An interrupt waits for the end of the run.

        Raises:
            ValueError: if the table has another length than promised.
        """
        pointers = self._pointers(table)
        with threads.lock:
            pool = threads.pool(self.scratch)
            threads.run_function()(pool.address, *self._arguments, pointers)

    def run_profiled(self, table: list[int]) -> list[int]:
        """``run``, and the nanoseconds that each call took."""
        pointers = self._pointers(table)
        with threads.lock:
            pool = threads.pool(self.scratch)
            pool.profile(True)
            try:
                threads.run_function()(pool.address, *self._arguments, pointers)
            finally:
                pool.profile(False)
            first, step = executor.CALL_NANOSECONDS // 8, executor.CALL_BYTES // 8
            return list(self._calls[first : first + step * len(self.calls) : step])

    def _pointers(self, table: list[int]) -> bytes:
        """The table in memory; one of its own for each run, so that a signal handler may run the same program."""
        if len(table) != self.table_size:
            raise ValueError(f"the program's table has {self.table_size} entries, not {len(table)}")
        return self._pack(*table)


def call_modes(calls: Sequence[KernelCall]) -> list[int]:
    """How each call is run: alone, with the threads that are awake, or waking the others first."""
    modes: list[int] = []
    ahead = 0.0  # what can be shared from here to the end
    for call in reversed(calls):
        if call.blocks <= 1 or call.cost < SHARE_NANOSECONDS:
            modes.append(executor.SERIAL)
            continue
        ahead += call.cost
        modes.append(executor.WAKE if ahead >= WAKE_NANOSECONDS else executor.SHARED)
    return modes[::-1]
