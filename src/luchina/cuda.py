"""``luchina.cuda``: NVIDIA's GPUs. Where there is none, questions have answers, requests errors that say what there is.

What PyTorch answers without CUDA is answered the same (``is_available``, ``device_count``, seeds, memory counters).
Work goes to the current stream of the tensors' device. A tensor that another stream has touched is waited for without
being asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from luchina import devices, random
from luchina.runtime import accelerators
from luchina.runtime.caching import OutOfMemoryError

if TYPE_CHECKING:
    from luchina import Tensor
    from luchina.runtime import cuda as runtime

__all__ = ["Event", "OutOfMemoryError", "Stream", "device_count", "is_available"]


_met: dict[int, runtime.CUDA] = {}


def _find(name: str, what: Any = None) -> runtime.CUDA:
    """The device that an argument names: a number, a ``luchina.device`` or its text, or None for the current one."""
    index = what
    if what is None:
        index = devices.current.cuda
    elif not isinstance(what, int) or isinstance(what, bool):
        named = what if isinstance(what, devices.device) else devices.device(what)
        if named.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {named}")
        index = devices.current.cuda if named.index is None else named.index
    if index < 0:
        index = devices.current.cuda
    found = _met.get(index)
    if found is None:
        try:
            devices.resolve(devices.device("cuda", index))
        except RuntimeError as error:
            raise RuntimeError(f"luchina.cuda.{name}: {error}") from None
        from luchina.runtime import cuda as runtime

        found = _met[index] = runtime.device(index)
    return found


def is_available() -> bool:
    """Whether there is a GPU to compute on.

    >>> import luchina
    >>> device = "cuda" if luchina.cuda.is_available() else "cpu"
    """
    return device_count() > 0


def device_count() -> int:
    """How many GPUs there are; 0 without a driver or ``cuda-bindings``."""
    return accelerators.count("cuda")


def is_initialized() -> bool:
    """Whether a GPU has been used."""
    return any(found._context is not None for found in _met.values())


def init() -> None:
    """Make the CUDA state, which otherwise the first use does."""
    _find("init").synchronize()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the GPU has bfloat16: cards of capability 8.0 have; others store it and compute in float32."""
    if not is_available():
        return False
    return including_emulation or _find("is_bf16_supported").capability >= (8, 0)


def get_arch_list() -> list[str]:
    """The GPU architectures that code is made for."""
    if not is_available():
        return []
    from luchina.compiler.targets import ptx

    return sorted(target.name for target in ptx.TARGETS.values())


def _run_recorded() -> None:
    from luchina.graph import program

    program.realize(())


# ---- devices


def current_device() -> int:
    """The current GPU's number."""
    return _find("current_device").index


def set_device(device: Any) -> None:
    """Choose the GPU that is meant where none is named; a negative number changes nothing."""
    devices.current.cuda = _find("set_device", device).index


class device:  # named as in PyTorch
    """Choose a GPU until the block ends: ``with luchina.cuda.device(1): ...``."""

    def __init__(self, device: Any) -> None:
        self._index = _find("device", device).index

    def __enter__(self) -> None:
        self._before = devices.current.cuda
        devices.current.cuda = self._index

    def __exit__(self, *exception: object) -> None:
        devices.current.cuda = self._before


def get_device_name(device: Any = None) -> str:
    """A GPU's name."""
    return _find("get_device_name", device).card


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """A GPU's compute capability: ``(8, 0)``."""
    return _find("get_device_capability", device).capability


def get_device_properties(device: Any = None) -> SimpleNamespace:
    """A GPU's name, capability (major, minor), memory and number of multiprocessors."""
    found = _find("get_device_properties", device)
    major, minor = found.capability
    return SimpleNamespace(
        name=found.card,
        major=major,
        minor=minor,
        total_memory=found.total,
        multi_processor_count=found.processors,
    )


def synchronize(device: Any = None) -> None:
    """Run what is recorded, and wait until all work of a GPU has run."""
    found = _find("synchronize", device)
    _run_recorded()
    found.synchronize()


# ---- memory


def empty_cache() -> None:
    """Give the memory that is kept for later use back to the driver."""
    for found in _met.values():
        found.synchronize()
        found.memory.empty()


def _counter(device: Any, name: str) -> int:
    return getattr(_find(name, device).memory, name) if is_available() else 0


def memory_allocated(device: Any = None) -> int:
    """Bytes of GPU memory in use. ``luchina.runtime.buffers.memory_allocated`` counts the CPU's."""
    return _counter(device, "allocated")


def max_memory_allocated(device: Any = None) -> int:
    """The most that ``memory_allocated`` has been."""
    return _counter(device, "peak_allocated")


def memory_reserved(device: Any = None) -> int:
    """Bytes of GPU memory held, in use or kept for later."""
    return _counter(device, "reserved")


def max_memory_reserved(device: Any = None) -> int:
    """The most that ``memory_reserved`` has been."""
    return _counter(device, "peak_reserved")


def memory_stats(device: Any = None) -> dict[str, Any]:
    """Counters of GPU memory, with PyTorch's names."""
    if not is_available():
        return {}
    memory = _find("memory_stats", device).memory
    return {
        "allocated_bytes.all.current": memory.allocated,
        "allocated_bytes.all.peak": memory.peak_allocated,
        "reserved_bytes.all.current": memory.reserved,
        "reserved_bytes.all.peak": memory.peak_reserved,
        "allocation.all.allocated": memory.allocations,
        "num_device_alloc": memory.taken,
    }


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A table of the memory counters."""
    found = _find("memory_summary", device)
    lines = [f"{found.name}: {found.card}"]
    lines += [f"  {name:<30} {value:>16,}" for name, value in memory_stats(found.index).items()]
    return "\n".join(lines[:3] if abbreviated else lines)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let the peak counters start again."""
    _find("reset_peak_memory_stats", device).memory.reset_peaks()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of a GPU's memory."""
    return _find("mem_get_info", device).memory_info()


def ipc_collect() -> None:
    """Free memory shared between processes, of which there is none."""
    _find("ipc_collect")


# ---- random numbers


def _generator(name: str, device: Any = None) -> Any:
    """The generator of a GPU."""
    from luchina import device_generator

    return device_generator.default(devices.resolve(f"cuda:{_find(name, device).index}"))


def manual_seed(seed: int) -> None:
    """Seed the current GPU's generator; nothing where there is no GPU."""
    seed = int(seed)
    if is_available():
        _generator("manual_seed").manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed every GPU's generator; nothing where there are none."""
    seed = int(seed)
    for index in range(device_count()):
        _generator("manual_seed_all", index).manual_seed(seed)


def seed() -> None:
    """Seed the current GPU's generator with a number that cannot be predicted."""
    manual_seed(int.from_bytes(os.urandom(8), "little"))


def seed_all() -> None:
    """Seed every GPU's generator with one number that cannot be predicted."""
    manual_seed_all(int.from_bytes(os.urandom(8), "little"))


def initial_seed() -> int:
    """The seed of the current GPU's generator."""
    return _generator("initial_seed").initial_seed()


def get_rng_state(device: Any = None) -> Tensor:
    """The state of a GPU's generator, 16 bytes."""
    return random.state_tensor(_generator("get_rng_state", device))


def get_rng_state_all() -> list[Tensor]:
    """The states of all GPUs' generators."""
    return [get_rng_state(index) for index in range(device_count())]


def set_rng_state(new_state: Tensor, device: Any = None) -> None:
    """Put back the state of a GPU's generator."""
    _generator("set_rng_state", device).set_state(bytes(new_state.tolist()))


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Put back the states of all GPUs' generators."""
    for index, state in enumerate(new_states):
        set_rng_state(state, index)


# ---- streams


class Stream:
    """A queue of work on a GPU: what is in one runs in order, different ones may overlap.

    Args:
        device: whose; the current one if none is named.
        priority: lower numbers go first.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, _of: Any = None) -> None:
        from luchina.runtime import cuda as runtime

        found = _find("Stream", device) if _of is None else _of._device
        self._stream = runtime.Stream(found, priority) if _of is None else _of
        self.device = devices.device("cuda", found.index)
        self.priority = self._stream.priority

    def synchronize(self) -> None:
        """Run what is recorded, and wait until all work of the stream has run."""
        _run_recorded()
        self._stream.synchronize()

    def query(self) -> bool:
        """Whether all its work has run."""
        return self._stream.query()

    def wait_event(self, event: Event) -> None:
        """Let what comes from now on begin behind an event."""
        if event._event is not None:
            self._stream.wait_event(event._event)

    def wait_stream(self, stream: Stream) -> None:
        """Let what comes from now on begin behind all that is in another stream."""
        self._stream.wait_stream(stream._stream)

    def record_event(self, event: Event | None = None) -> Event:
        """An event behind all that is in this stream now."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self._stream is other._stream

    def __hash__(self) -> int:
        return id(self._stream)

    def __repr__(self) -> str:
        return f"<luchina.cuda.Stream device={self.device} cuda_stream={int(self._stream.handle):#x}>"


class Event:
    """A mark in a stream; with ``enable_timing``, the time between two can be asked."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        if interprocess:
            raise NotImplementedError("luchina.cuda.Event: events of several processes are not there yet")
        _find("Event")
        self._timing = enable_timing
        self._event: runtime.Event | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark behind all that is in a stream (the current one) now."""
        from luchina.runtime import cuda as runtime

        _run_recorded()
        stream = current_stream() if stream is None else stream
        if self._event is None:
            self._event = runtime.Event(stream._stream._device, self._timing)
        self._event.record(stream._stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Let what comes into a stream (the current one) from now on begin behind the mark."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Whether everything before the mark has run."""
        return self._event is None or self._event.query()

    def synchronize(self) -> None:
        """Wait for everything before the mark."""
        if self._event is not None:
            self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to another."""
        if not (self._timing and end_event._timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._event is None or end_event._event is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return self._event.elapsed_time(end_event._event)


def current_stream(device: Any = None) -> Stream:
    """The stream that work of a GPU goes to."""
    return Stream(_of=_find("current_stream", device).stream)


def default_stream(device: Any = None) -> Stream:
    """The stream that work of a GPU goes to unless another is chosen."""
    return Stream(_of=_find("default_stream", device).default_stream)


def set_stream(stream: Stream) -> None:
    """Choose a stream of the calling thread for its device."""
    stream._stream._device.stream = stream._stream


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Choose a stream, and its device, until the block ends; what the block records is put into it."""
    if stream is None:
        yield
        return
    _run_recorded()
    found = stream._stream._device
    before, index = found.stream, devices.current.cuda
    found.stream, devices.current.cuda = stream._stream, found.index
    try:
        yield
        _run_recorded()
    finally:
        found.stream, devices.current.cuda = before, index


def __getattr__(name: str) -> Any:
    """``cuda.amp``, the old names of mixed precision on a GPU: disabled with a warning where there is none."""
    if name != "amp":
        raise AttributeError(f"module 'luchina.cuda' has no attribute '{name}'")
    from functools import partial

    from luchina.amp import GradScaler, autocast

    return SimpleNamespace(autocast=partial(autocast, "cuda"), GradScaler=partial(GradScaler, "cuda"))
