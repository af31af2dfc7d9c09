"""``luchina.cuda`` on a machine where luchina has no GPU to use: the questions have answers, the requests have errors.

What PyTorch answers without CUDA is answered the same (``is_available``, ``device_count``, seeds, memory counters);
whatever needs a device raises a RuntimeError that says what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from luchina import devices


def is_available() -> bool:
    """Whether there is a GPU to compute on: no.

    >>> import luchina
    >>> "cuda" if luchina.cuda.is_available() else "cpu"
    'cpu'
    """
    return False


def device_count() -> int:
    """How many GPUs there are: 0."""
    return 0


def is_initialized() -> bool:
    """Whether the CUDA state exists: no."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the GPU computes in bfloat16: there is none."""
    return False


def get_arch_list() -> list[str]:
    """The GPU architectures that there is code for: none."""
    return []


# ---- what may be called without a GPU and then has nothing to do


def manual_seed(seed: int) -> None:
    """Seed the current GPU's generator, of which there is none; ``luchina.manual_seed`` seeds the CPU's."""
    int(seed)


def manual_seed_all(seed: int) -> None:
    """Seed every GPU's generator, of which there are none."""
    int(seed)


def seed() -> None:
    """Seed the current GPU's generator at random: there is none."""


def seed_all() -> None:
    """Seed every GPU's generator at random: there are none."""


def get_rng_state_all() -> list[Any]:
    """The states of all GPUs' generators: none."""
    return []


def empty_cache() -> None:
    """Give unused GPU memory back: there is none."""


def memory_allocated(device: Any = None) -> int:
    """Bytes of GPU memory in tensors: 0. ``luchina.runtime.buffers.memory_allocated`` counts the CPU's."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """The most that ``memory_allocated`` has been: 0."""
    return 0


def memory_reserved(device: Any = None) -> int:
    """Bytes of GPU memory held: 0."""
    return 0


def max_memory_reserved(device: Any = None) -> int:
    """The most that ``memory_reserved`` has been: 0."""
    return 0


def memory_stats(device: Any = None) -> dict[str, Any]:
    """Counters of GPU memory: none."""
    return {}


# ---- what needs a GPU


def _unavailable(name: str, what: str) -> Callable[..., NoReturn]:
    def function(*args: Any, **kwargs: Any) -> NoReturn:
        try:
            devices.resolve("cuda")
        except RuntimeError as error:
            raise RuntimeError(f"luchina.cuda.{name}: {error}") from None
        raise RuntimeError(f"luchina.cuda.{name} is not there yet.")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{what}: a RuntimeError that says what is there."
    return function


init = _unavailable("init", "Make the CUDA state")
current_device = _unavailable("current_device", "The current GPU's number")
set_device = _unavailable("set_device", "Choose a GPU")
get_device_name = _unavailable("get_device_name", "A GPU's name")
get_device_capability = _unavailable("get_device_capability", "A GPU's compute capability")
get_device_properties = _unavailable("get_device_properties", "A GPU's properties")
synchronize = _unavailable("synchronize", "Wait for a GPU")
initial_seed = _unavailable("initial_seed", "The seed of the current GPU's generator")
get_rng_state = _unavailable("get_rng_state", "The state of a GPU's generator")
set_rng_state = _unavailable("set_rng_state", "Set the state of a GPU's generator")
mem_get_info = _unavailable("mem_get_info", "Free and total memory of a GPU")
memory_summary = _unavailable("memory_summary", "A table of a GPU's memory")
reset_peak_memory_stats = _unavailable("reset_peak_memory_stats", "Let the peak counters start again")
ipc_collect = _unavailable("ipc_collect", "Free memory shared between processes")
current_stream = _unavailable("current_stream", "A GPU's current stream")
default_stream = _unavailable("default_stream", "A GPU's default stream")
stream = _unavailable("stream", "Choose a stream")
device = _unavailable("device", "Choose a GPU for a block")
Stream = _unavailable("Stream", "A queue of work on a GPU")
Event = _unavailable("Event", "A mark in a stream")


def __getattr__(name: str) -> Any:
    """``cuda.amp``, the old names of mixed precision on a GPU: disabled with a warning where there is none."""
    if name != "amp":
        raise AttributeError(f"module 'luchina.cuda' has no attribute '{name}'")
    from functools import partial
    from types import SimpleNamespace

    from luchina.amp import GradScaler, autocast

    return SimpleNamespace(autocast=partial(autocast, "cuda"), GradScaler=partial(GradScaler, "cuda"))
