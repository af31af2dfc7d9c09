"""NVIDIA's devices through the driver: discovery, memory, programs, launches.

``pip install luchina[cuda]`` brings cuda-bindings, the driver's interface; nothing of the CUDA toolkit is needed. Work
goes to the current stream of a device (one of its own to begin with) and runs in that order; the host waits only for
what it downloads. Memory comes from a caching allocator; a block that was used on other streams than its own is given
out again only behind them.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from luchina.compiler.kernel import Kernel
from luchina.runtime import cache
from luchina.runtime.caching import CachingAllocator, OutOfMemoryError, size_class

ALIGNMENT = 256
"""Of every block."""

STAGING = 4 << 20
"""Bytes that go through one pinned buffer at a time."""

MAX_PENDING = 64 << 20
"""Bytes of pinned buffers that may wait for their copies before the host waits too."""

MAX_SCRATCH = 1 << 26
"""Bytes of scratch memory of all threads of a launch together."""

MAX_GRID = (1 << 31) - 1


class NoDevice(RuntimeError):
    """There is no such CUDA device; the message says what is missing."""


class Lost(RuntimeError):
    """A kernel has faulted: the driver gives the device's memory up for the rest of the process."""


OutOfMemory = OutOfMemoryError


@functools.cache
def _driver() -> Any:
    """The driver's interface, initialised."""
    try:
        driver = importlib.import_module("cuda.bindings.driver")
    except ImportError:
        raise NoDevice("CUDA needs cuda-bindings: pip install luchina[cuda]") from None
    try:
        (result,) = driver.cuInit(0)
    except Exception as error:  # cuda-bindings has several classes for a library that is not there
        raise NoDevice(f"no NVIDIA driver is installed ({error})") from None
    if result != driver.CUresult.CUDA_SUCCESS:
        raise NoDevice(f"the NVIDIA driver finds no device ({_told(driver, result)})")
    return driver


def _told(driver: Any, result: Any) -> str:
    """The driver's name and sentence for a result."""
    texts = []
    for ask in (driver.cuGetErrorName, driver.cuGetErrorString):
        status, text = ask(result)
        if status == driver.CUresult.CUDA_SUCCESS:
            texts.append(text.decode() if isinstance(text, bytes) else str(text))
    return ": ".join(texts) or str(result)


def _call(name: str, *arguments: Any) -> Any:
    """A driver's function outside of any device: its results, or NoDevice."""
    driver = _driver()
    result, *values = getattr(driver, name)(*arguments)
    if result != driver.CUresult.CUDA_SUCCESS:
        raise NoDevice(f"{name}: {_told(driver, result)}")
    return values[0] if len(values) == 1 else values


@functools.cache
def devices() -> tuple[CUDA, ...]:
    """All devices that run our kernels, in the driver's order.

    Raises:
        NoDevice: if there is none; the message says what is missing.
    """
    count = _call("cuDeviceGetCount")
    found: list[CUDA] = []
    refused: list[str] = []
    for number in range(count):
        try:
            found.append(CUDA(_call("cuDeviceGet", number), len(found)))
        except RuntimeError as error:
            refused.append(str(error))
    if not found:
        raise NoDevice("no usable CUDA device: " + ("; ".join(refused) or "the driver finds none"))
    return tuple(found)


def device(index: int = 0) -> CUDA:
    """Device number ``index``.

    Raises:
        NoDevice: if there is none of that number.
    """
    usable = devices()
    if not 0 <= index < len(usable):
        raise NoDevice(f"there is no device cuda:{index}: there are {len(usable)}, from 0")
    return usable[index]


Call = tuple[Any, bytes, int, int]
"""A kernel as ``CUDA.load`` gives it, its parameters, blocks, and bytes of scratch memory for each of its items."""


class Buffer:
    """Memory of a CUDA device, kept for others with its last reference."""

    __slots__ = ("__weakref__", "_device", "_last", "_stream", "nbytes", "ptr")

    def __init__(self, device: CUDA, ptr: int, nbytes: int, stream: Stream) -> None:
        self._device = device
        self._stream = stream
        self._last = stream  # whose work touched it last
        self.ptr = ptr
        self.nbytes = nbytes

    def __del__(self) -> None:
        self._device._release(self)


class Event:
    """A mark in a stream."""

    def __init__(self, device: CUDA, timing: bool = False) -> None:
        self._device = device
        flag = device._driver.CUevent_flags
        kind = flag.CU_EVENT_DEFAULT if timing else flag.CU_EVENT_DISABLE_TIMING
        self.handle = device._do("cuEventCreate", int(kind))
        self.recorded = False

    def record(self, stream: Stream) -> None:
        """Put the mark behind all that is in a stream now."""
        self._device._do("cuEventRecord", self.handle, stream.handle)
        self.recorded = True

    def query(self) -> bool:
        """Whether everything before the mark has run."""
        return not self.recorded or self._device._is_ready("cuEventQuery", self.handle)

    def synchronize(self) -> None:
        """Wait for everything before the mark."""
        if self.recorded:
            self._device._do("cuEventSynchronize", self.handle)

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this mark to another, both with timing."""
        return float(self._device._do("cuEventElapsedTime", self.handle, end.handle))

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._device._quietly("cuEventDestroy", self.handle)


class Stream:
    """A queue of work on a device."""

    def __init__(self, device: CUDA, priority: int = 0) -> None:
        self._device = device
        flags = device._driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        self.priority = priority
        self.handle = device._do("cuStreamCreateWithPriority", int(flags), priority)

    def synchronize(self) -> None:
        """Wait until all its work has run."""
        self._device._do("cuStreamSynchronize", self.handle)

    def query(self) -> bool:
        """Whether all its work has run."""
        return self._device._is_ready("cuStreamQuery", self.handle)

    def wait_event(self, event: Event) -> None:
        """Let what comes from now on begin behind a mark of another stream."""
        if event.recorded:
            self._device._do("cuStreamWaitEvent", self.handle, event.handle, 0)

    def wait_stream(self, other: Stream) -> None:
        """Let what comes from now on begin behind all that is in another stream."""
        event = Event(self._device)
        event.record(other)
        self.wait_event(event)


class CUDA:
    """One device.

    Attributes:
        name: ``cuda:0``.
        description: the card's name, capability, memory and driver.
        capability: its compute capability, as (major, minor).
        total: bytes of memory.
        target: for what the compiler writes.
        unsupported: dtypes that cards have no arithmetic for: none.
    """

    def __init__(self, handle: Any, index: int) -> None:
        from luchina.compiler.targets import ptx

        self._driver = _driver()
        self._handle = handle
        self._lost = ""
        self._context: Any = None
        self._lock = threading.RLock()
        self._local = threading.local()
        self.index = index
        self.name = f"cuda:{index}"
        attribute = self._driver.CUdevice_attribute
        self.card = _call("cuDeviceGetName", 256, handle).partition(b"\0")[0].decode()
        self.capability = (
            _call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, handle),
            _call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, handle),
        )
        self.processors = _call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, handle)
        self.total = _call("cuDeviceTotalMem", handle)
        self.target = ptx.target_for(self.capability)
        self.unsupported: dict[str, str] = {}
        version = _call("cuDriverGetVersion")
        self.version = (version // 1000, version % 1000 // 10)
        capability = ".".join(map(str, self.capability))
        self.description = (
            f"{self.card} (sm {capability}, {self.total >> 20} MiB, driver for CUDA {version / 1000:.1f})"
        )
        self._kernels: dict[str, tuple[Any, int, bool]] = {}
        self.memory = CachingAllocator(self._take, self._give)
        self._pinned = CachingAllocator(self._take_pinned, self._give_pinned)
        self._pending: deque[tuple[Event, int, int]] = deque()
        self._pending_bytes = 0

    def __repr__(self) -> str:
        return f"<{self.name}: {self.description}>"

    # ---- calls

    def _do(self, name: str, *arguments: Any) -> Any:
        """Call the driver with this device current: what it gives.

        Raises:
            Lost: if a kernel has faulted, now or before.
            RuntimeError: if the driver refuses.
        """
        result, values = self._ask(name, *arguments)
        if result != self._driver.CUresult.CUDA_SUCCESS:
            self._fail(name, result)
        return values

    def _ask(self, name: str, *arguments: Any) -> tuple[Any, Any]:
        if self._lost:
            raise Lost(self._lost)
        driver = self._driver
        if self._context is None:
            with self._lock:
                if self._context is None:
                    result, context = driver.cuDevicePrimaryCtxRetain(self._handle)
                    if result != driver.CUresult.CUDA_SUCCESS:
                        self._fail("cuDevicePrimaryCtxRetain", result)
                    self._context = context
        driver.cuCtxSetCurrent(self._context)
        result, *values = getattr(driver, name)(*arguments)
        return result, values[0] if len(values) == 1 else values

    def _fail(self, name: str, result: Any) -> None:
        told = _told(self._driver, result)
        if any(word in told for word in _FAULTS):
            self._lost = (
                f"{self.name}: a kernel has faulted ({told}). The driver has given up what this process has on the "
                "device: its tensors are lost, and it cannot use the device again. The CPU and other devices go on."
            )
            raise Lost(self._lost)
        raise RuntimeError(f"{self.name}: {name}: {told}")

    def _is_ready(self, name: str, handle: Any) -> bool:
        result, _ = self._ask(name, handle)
        if result == self._driver.CUresult.CUDA_ERROR_NOT_READY:
            return False
        if result != self._driver.CUresult.CUDA_SUCCESS:
            self._fail(name, result)
        return True

    def _quietly(self, name: str, handle: Any) -> None:
        """For what is thrown away: also when the device is lost, or Python is going."""
        try:
            if not self._lost:
                self._ask(name, handle)
        except Exception:
            return

    # ---- streams

    @functools.cached_property
    def default_stream(self) -> Stream:
        """Where work goes unless another stream is chosen."""
        return Stream(self)

    @property
    def stream(self) -> Stream:
        """The calling thread's current stream."""
        return getattr(self._local, "stream", None) or self.default_stream

    @stream.setter
    def stream(self, stream: Stream) -> None:
        self._local.stream = stream

    def synchronize(self) -> None:
        """Wait until all that was launched has run."""
        self._do("cuCtxSynchronize")

    # ---- memory

    def _take(self, nbytes: int) -> int:
        result, address = self._ask("cuMemAlloc", nbytes)
        if result == self._driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            return 0
        if result != self._driver.CUresult.CUDA_SUCCESS:
            self._fail("cuMemAlloc", result)
        return int(address)

    def _give(self, address: int) -> None:
        self._quietly("cuMemFree", address)

    def allocate(self, nbytes: int) -> Buffer:
        """Memory whose contents are undefined.

        Raises:
            OutOfMemoryError: with the sizes, if there is none even when the cache is empty.
            Lost: if a kernel has faulted.
        """
        if self._lost:
            raise Lost(self._lost)
        stream = self.stream
        address = self.memory.allocate(nbytes, stream)
        if not address:
            self._do("cuCtxSynchronize")
            self.memory.empty()
            raise OutOfMemoryError(self._why(nbytes))
        return Buffer(self, address, nbytes, stream)

    def _why(self, nbytes: int) -> str:
        free, total = self.memory_info()
        memory = self.memory
        return (
            f"CUDA out of memory. Tried to allocate {_size(nbytes)}. GPU {self.index} has a total capacity of "
            f"{_size(total)} of which {_size(free)} is free. Of the allocated memory {_size(memory.allocated)} is "
            f"allocated by luchina, and {_size(memory.reserved - memory.allocated)} is reserved but unallocated."
        )

    def memory_info(self) -> tuple[int, int]:
        """Free and total bytes."""
        free, total = self._do("cuMemGetInfo")
        return int(free), int(total)

    def _release(self, buffer: Buffer) -> None:
        try:
            if buffer._last is not buffer._stream:
                buffer._stream.wait_stream(buffer._last)  # the next owner's work comes behind
            self.memory.free(buffer.ptr, buffer.nbytes, buffer._stream)
        except Exception:
            return  # the device is lost, or Python is going

    def use(self, buffer: Any) -> None:
        """Tell that what goes into the current stream next touches a buffer: it comes behind what other streams have to
        do with it, and the buffer is given out again only behind it."""
        stream = self.stream
        owner = getattr(buffer, "owner", buffer)
        if owner._last is not stream:
            stream.wait_stream(owner._last)
            owner._last = stream

    # ---- copies

    def _take_pinned(self, nbytes: int) -> int:
        result, address = self._ask("cuMemHostAlloc", nbytes, 0)
        if result != self._driver.CUresult.CUDA_SUCCESS:
            if result == self._driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
                return 0
            self._fail("cuMemHostAlloc", result)
        return int(address)

    def _give_pinned(self, address: int) -> None:
        self._quietly("cuMemFreeHost", address)

    def _stage(self, nbytes: int) -> int:
        """Address of a pinned buffer."""
        with self._lock:
            while self._pending and (self._pending_bytes > MAX_PENDING or self._pending[0][0].query()):
                event, address, size = self._pending.popleft()
                event.synchronize()
                self._pending_bytes -= size
                self._pinned.free(address, size)
        address = self._pinned.allocate(nbytes)
        if not address:
            raise OutOfMemoryError(f"{self.name}: no pinned host memory: tried to allocate {_size(nbytes)}")
        return address

    def _staged(self, address: int, nbytes: int, stream: Stream) -> None:
        """The pinned buffer is free when what is in the stream now has run."""
        event = Event(self)
        event.record(stream)
        with self._lock:
            self._pending.append((event, address, nbytes))
            self._pending_bytes += size_class(nbytes)

    def upload(self, data: bytes | bytearray | memoryview) -> Buffer:
        """A new buffer that holds ``data``; the copy runs behind what the stream has to do."""
        view = memoryview(data).cast("B")
        buffer = self.allocate(len(view))
        stream = buffer._stream
        for start in range(0, len(view), STAGING):
            part = view[start : start + STAGING]
            address = self._stage(len(part))
            _host(address, len(part))[:] = part
            self._do("cuMemcpyHtoDAsync", buffer.ptr + start, address, len(part), stream.handle)
            self._staged(address, len(part), stream)
        return buffer

    def download(self, buffer: Any) -> bytes:
        """The contents of a buffer, or of a window on one, once everything before has run."""
        self.use(buffer)
        stream = self.stream
        result = bytearray(buffer.nbytes)
        waiting: deque[tuple[int, int, int]] = deque()

        def arrive() -> None:
            address, start, size = waiting.popleft()
            stream.synchronize()
            result[start : start + size] = _host(address, size)
            self._pinned.free(address, size)

        for start in range(0, len(result), STAGING):
            size = min(STAGING, len(result) - start)
            address = self._stage(size)
            self._do("cuMemcpyDtoHAsync", address, buffer.ptr + start, size, stream.handle)
            waiting.append((address, start, size))
            if len(waiting) > 1:
                arrive()
        while waiting:
            arrive()
        return bytes(result)

    def copy(self, to: Any, source: Any, nbytes: int) -> None:
        """``nbytes`` from one buffer of this device to another, in the current stream."""
        for buffer in (to, source):
            self.use(buffer)
        if nbytes:
            self._do("cuMemcpyDtoDAsync", to.ptr, source.ptr, nbytes, self.stream.handle)

    # ---- programs

    def load(self, kernels: Sequence[Kernel]) -> list[Any]:
        """What ``launch`` takes, for each kernel: from this process, from disk, or compiled now."""
        with self._lock:
            return [self._kernels.get(kernel.key) or self._load(kernel) for kernel in kernels]

    def _load(self, kernel: Kernel) -> tuple[Any, int, bool]:
        from luchina.compiler import jit
        from luchina.compiler.targets import ptx
        from luchina.compiler.targets.items import ENTRY, GroupKernel

        capability = "{}.{}".format(*self.capability)
        digest = cache.digest(
            jit.environment(self.target), kernel.name, kernel.key, f"cubin {capability} {self.version}"
        )
        image = cache.load(digest)
        if image is None:
            image = self._assemble(kernel, ptx.assembly(kernel, self.target))
            cache.store(digest, image)
        module = self._do("cuModuleLoadData", image)
        made = self._kernels[kernel.key] = (
            self._do("cuModuleGetFunction", module, ENTRY.encode()),
            ptx.group_of(kernel),
            isinstance(kernel, GroupKernel),
        )
        return made

    def _assemble(self, kernel: Kernel, text: str) -> bytes:
        """The driver's machine code of PTX."""
        state = self._do("cuLinkCreate", 0, [], [])
        data = text.encode() + b"\0"
        try:
            kind = self._driver.CUjitInputType.CU_JIT_INPUT_PTX
            name = kernel.name.encode()
            self._do("cuLinkAddData", state, kind, data, len(data), name, 0, [], [])
            address, size = self._do("cuLinkComplete", state)
            return ctypes.string_at(int(address), int(size))
        except Lost:
            raise
        except RuntimeError as error:
            raise RuntimeError(f"the driver of {self.name} refuses {kernel!r}: {error}") from None
        finally:
            self._quietly("cuLinkDestroy", state)

    def sequence(self, calls: Sequence[Call]) -> Launches:
        """What starts the kernels of a program, in order."""
        return Launches(self, calls)

    def text(self, kernel: Kernel) -> str:
        """LLVM IR of a kernel for this device."""
        from luchina.compiler.targets import ptx

        return ptx.text(kernel, self.target)

    def assembly(self, kernel: Kernel) -> str:
        """PTX of a kernel for this device."""
        from luchina.compiler.targets import ptx

        return ptx.assembly(kernel, self.target)


class Launches:
    """The kernels of a program, ready to be started with a table of addresses. A block has a thread, or a group of
    threads; where each needs scratch memory, some share one."""

    def __init__(self, device: CUDA, calls: Sequence[Call]) -> None:
        self._device = device
        self._table: tuple[bytes, Any] = (b"", None)
        self._params: list[Buffer] = []
        self._kernels: list[tuple[Any, tuple[int, int], Any, int, int]] = []
        for (function, threads, together), params, blocks, scratch in calls:
            if not blocks:
                continue
            items = min(blocks, MAX_GRID)
            if scratch:
                scratch = -(-scratch // ALIGNMENT) * ALIGNMENT
                items = max(1, min(items, MAX_SCRATCH // scratch))
            share = -(-blocks // items)
            self._params.append(device.upload(params))
            # Table, parameters, scratch memory (which is not read where there is none), then numbers.
            values = (ctypes.c_uint64 * 6)(0, self._params[-1].ptr, 0, blocks, share, scratch)
            places = (ctypes.c_void_p * 6)(*(ctypes.addressof(values) + 8 * i for i in range(6)))
            grid = items if together else -(-items // threads)
            self._kernels.append(
                (function, (grid, threads), (values, places), ctypes.addressof(places), items * scratch)
            )

    def run(self, table: bytes) -> None:
        """Enqueue all kernels in the current stream."""
        device = self._device
        if table != self._table[0]:  # a training step often finds its memory where it was
            self._table = (table, device.upload(table))
        for buffer in (self._table[1], *self._params):
            device.use(buffer)
        stream = device.stream.handle
        with device._lock:  # the arguments are the sequence's until a kernel is enqueued
            for function, (grid, threads), (values, _), places, scratch in self._kernels:
                values[0] = self._table[1].ptr
                room = device.allocate(scratch) if scratch else None
                if room is not None:
                    values[2] = room.ptr
                device._do("cuLaunchKernel", function, grid, 1, 1, threads, 1, 1, 0, stream, places, 0)


# After these the driver answers every call with the same error until the process ends.
_FAULTS = (
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_LAUNCH_TIMEOUT",
    "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    "CUDA_ERROR_MISALIGNED_ADDRESS",
    "CUDA_ERROR_INVALID_ADDRESS_SPACE",
    "CUDA_ERROR_INVALID_PC",
    "CUDA_ERROR_HARDWARE_STACK_ERROR",
    "CUDA_ERROR_ASSERT",
    "CUDA_ERROR_ECC_UNCORRECTABLE",
)


def _host(address: int, nbytes: int) -> memoryview:
    return memoryview((ctypes.c_ubyte * nbytes).from_address(address)).cast("B")


def _size(nbytes: int) -> str:
    """As PyTorch writes sizes."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit:
            return f"{nbytes / unit:.2f} {name}"
    return f"{nbytes} bytes"
