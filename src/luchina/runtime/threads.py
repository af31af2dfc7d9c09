"""The worker pool: native threads that live in compiled code and never touch Python.

The pool starts with the first program. A forked child starts its own with its first program. Workers ignore signals, so
that Ctrl-C reaches the thread that runs Python, and they are simply gone when the process ends.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import threading
from pathlib import Path
from typing import Any

from luchina.compiler import jit
from luchina.runtime import executor
from luchina.runtime.buffers import GUARDED, allocate

_FIRST_SCRATCH = 1 << 16


class Pool:
    """The calling thread and ``threads - 1`` workers, with the memory that they share.

    Args:
        threads: how many there are, the calling one included.
        stride: bytes of private memory for each. They never change: a pool with more takes this one's place, in one
            assignment, so that an interrupt in between leaves no address of memory that is gone.
    """

    def __init__(self, threads: int, stride: int) -> None:
        functions = _functions()
        self.threads = threads
        self.stride = stride
        self.memory = (ctypes.c_ubyte * (executor.HANDLES + 8 * threads + 128))()
        self.address = -(-ctypes.addressof(self.memory) // 128) * 128
        _immortal.append(self.memory)  # a worker may look at it until the process has ended
        self._mutex = ctypes.c_void_p(self.address + executor.MUTEX)
        library = _c_library()
        library.pthread_mutex_init(self._mutex, None)
        library.pthread_cond_init(ctypes.c_void_p(self.address + executor.CONDITION), None)
        # A taker gets 1/(2 · threads) of what is left, rounded to a power of two: few takes, and even at the end.
        self._write(executor.SHARE, (2 * threads - 1).bit_length() if threads > 1 else 0)
        self.scratch = allocate(stride * threads)
        self._write(executor.SCRATCH, self.scratch.ptr)
        self._write(executor.SCRATCH + 8, stride)
        self._workers: list[ctypes.c_ulong] = []
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # asked first: blocking them may raise an interrupt
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            for _ in range(threads - 1):
                handle = ctypes.c_ulong()
                if library.pthread_create(ctypes.byref(handle), None, ctypes.c_void_p(functions["worker"]), self._at()):
                    break  # the system gives no more threads: fewer do the same work
                self._write(executor.HANDLES + 8 * len(self._workers), handle.value)
                self._workers.append(handle)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._keep_off_the_callers_core()

    def _keep_off_the_callers_core(self) -> None:
        if not hasattr(os, "sched_getaffinity"):
            return
        cores = os.sched_getaffinity(0)
        mask = sum(1 << core for core in cores)
        if len(cores) > 1 and mask.bit_length() <= 8 * executor.ALLOWED_BYTES:
            ctypes.memmove(self.address + executor.ALLOWED, mask.to_bytes(executor.ALLOWED_BYTES, "little"), 128)
            self._write(executor.KEEP_OFF + 8, -1)
            self._write(executor.KEEP_OFF + 16, len(self._workers))
            self._write(executor.KEEP_OFF, 1)
            _pool_function("keep_off")(self.address)

    def profile(self, on: bool) -> None:
        """Let the following runs note each call's time."""
        self._write(executor.PROFILE, int(on))

    def stop(self) -> None:
        """End the workers; only while nothing runs. The pool stays usable: the calling thread needs nobody's help."""
        self._write(executor.KEEP_OFF, 0)  # their handles mean nothing once they are joined
        self._write(executor.STOP, 1)
        _pool_function("wake")(self.address)
        while self._workers:
            _c_library().pthread_join(self._workers.pop(), None)

    def _write(self, offset: int, value: int) -> None:
        ctypes.c_int64.from_address(self.address + offset).value = value

    def _at(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.address)


_immortal: list[Any] = []
_pool: Pool | None = None
_wanted: int | None = None
lock = threading.RLock()
"""Held while a program runs: there is one pool, and one program at a time uses it. A Python signal handler may come
between taking it and the native call, and run programs of its own, so it can be taken twice."""


def pool(nbytes: int = 0) -> Pool:
    """The pool, with at least ``nbytes`` of private memory for each thread; the caller holds ``lock``."""
    global _pool
    current = _pool
    if current is not None and (nbytes <= current.stride if not GUARDED else _stride(nbytes) == current.stride):
        return current
    fresh = Pool(get_num_threads(), _stride(nbytes))
    _pool = fresh
    if current is not None:
        current.stop()
    return fresh


def _stride(nbytes: int) -> int:
    if GUARDED:  # exactly what this program asks for, so that taking more shows
        return max(-(-nbytes // 64) * 64, 64)
    # Few sizes, because a new one starts new threads; and not a power of two, because these share cache sets.
    quarter = 1 << max((max(nbytes, _FIRST_SCRATCH) - 1).bit_length() - 3, 0)
    return -(-max(nbytes, _FIRST_SCRATCH) // quarter) * quarter + 128


def set_num_threads(threads: int) -> None:
    """Use ``threads`` threads from the next run on, the calling one included.

    Raises:
        RuntimeError: if ``threads`` is not positive.
    """
    global _pool, _wanted
    if threads < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
    with lock:
        _wanted = threads
        if _pool is not None and _pool.threads != threads:
            old, _pool = _pool, None
            old.stop()


def get_num_threads() -> int:
    """How many threads run a program: what was set, ``LUCHINA_NUM_THREADS``, ``OMP_NUM_THREADS``, or the cores."""
    global _wanted
    if _wanted is None:
        for name in ("LUCHINA_NUM_THREADS", "OMP_NUM_THREADS"):
            value = os.environ.get(name, "").strip()
            if value.isdigit() and int(value) > 0:
                _wanted = int(value)
                break
        else:
            _wanted = _cores()
    return _wanted


def _cores() -> int:
    """Physical cores that this process may use, no more than its control group's share of time allows."""
    try:
        processors = os.sched_getaffinity(0)
    except AttributeError:
        return os.cpu_count() or 1
    cores = set()
    for number in processors:
        try:
            path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
            cores.add(path.read_text().strip())
        except OSError:
            cores.add(str(number))
    count = len(cores)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return count


def _after_fork() -> None:
    """In the child only the calling thread exists: forget the parent's workers and what other threads held."""
    global _pool, lock
    if _pool is not None:
        _immortal.append(_pool)
    _pool = None
    lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@functools.cache
def _functions() -> dict[str, int]:
    return jit.load_module(executor.kernel())


def run_address() -> int:
    """Where the function is that ``run_function`` calls."""
    return _functions()["run"]


@functools.cache
def run_function() -> Any:
    """``run(pool, calls, count, table)``: the whole program in one native call."""
    pointer = ctypes.c_void_p
    return ctypes.CFUNCTYPE(None, pointer, pointer, ctypes.c_int64, pointer)(_functions()["run"])


@functools.cache
def _pool_function(name: str) -> Any:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_functions()[name])
