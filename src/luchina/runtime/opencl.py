"""Devices with an OpenCL driver that takes SPIR-V: discovery, memory, programs, launches.

Kernels find their operands through a table of raw addresses, as on the CPU. That needs shared virtual memory whose
allocations a kernel may reach through pointers that lie in memory (``FINE_GRAIN_SYSTEM``).

``pip install luchina[opencl]`` brings pyopencl, ``luchina[opencl-cpu]`` a driver that runs on the processor.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import threading
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from luchina.compiler.kernel import Kernel
from luchina.compiler.targets import spirv
from luchina.compiler.targets.items import ENTRY
from luchina.runtime import cache
from luchina.runtime.caching import CachingAllocator, OutOfMemoryError

MAX_SCRATCH = 1 << 26
"""Bytes of scratch memory of all work items of a launch together."""

ALIGNMENT = 64

IDLE = "idle"
"""Where memory waits that no kernel can be using any more."""

TABLES = 8
"""Tables of addresses that a program keeps: a training step often finds its memory where one before it did."""


class NoDevice(RuntimeError):
    """There is no usable OpenCL device; the message says what is missing."""


class OutOfMemory(OutOfMemoryError):
    """The device cannot give as much memory."""


def _opencl() -> Any:
    try:
        return importlib.import_module("pyopencl")
    except ImportError:
        raise NoDevice("OpenCL needs pyopencl: pip install luchina[opencl]") from None


def missing_of(version: str, il: str, svm: int) -> list[str]:
    """What a device lacks of what programs need, from its answers to three questions."""
    lacks = []
    if "SPIR-V" not in il:
        lacks.append(f"SPIR-V (its intermediate languages: {il or 'none'})")
    if not svm & 4:
        lacks.append(f"shared virtual memory through any pointer (has {svm:#x} of {version})")
    return lacks


def _all_devices() -> list[Any]:
    cl = _opencl()
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        raise NoDevice(f"no OpenCL driver is installed ({error})") from None
    found = []
    for platform in platforms:
        try:
            found += platform.get_devices()
        except cl.Error:
            continue
    return found


def _lacks(device: Any) -> list[str]:
    cl = _opencl()
    try:
        il = device.il_version
    except cl.Error:
        il = ""
    try:
        svm = int(device.svm_capabilities)
    except cl.Error:
        svm = 0
    return missing_of(device.version, il, svm)


@functools.cache
def devices() -> tuple[OpenCL, ...]:
    """All usable devices, in the drivers' order.

    Raises:
        NoDevice: if there is none; the message says what each device lacks.
    """
    found = _all_devices()
    usable = [device for device in found if not _lacks(device)]
    if not usable:
        told = "; ".join(f"{d.name} lacks {', '.join(_lacks(d))}" for d in found)
        raise NoDevice("no usable OpenCL device: " + (told or "the drivers offer none"))
    return tuple(OpenCL(device, index) for index, device in enumerate(usable))


def device(index: int = 0) -> OpenCL:
    """Device number ``index``.

    Raises:
        NoDevice: if there is none of that number.
    """
    usable = devices()
    if not 0 <= index < len(usable):
        raise NoDevice(f"there is no device opencl:{index}: there are {len(usable)}, from 0")
    return usable[index]


Call = tuple[Any, bytes, int, int]
"""A kernel as ``OpenCL.load`` gives it, its parameters, blocks, and bytes of scratch memory for each work item."""


class Buffer:
    """Memory of an OpenCL device, kept for others with its last reference."""

    __slots__ = ("__weakref__", "_device", "nbytes", "ptr")

    def __init__(self, device: OpenCL, ptr: int, nbytes: int) -> None:
        self._device = device
        self.ptr = ptr
        self.nbytes = nbytes

    def __del__(self) -> None:
        self._device._release(self)


class OpenCL:
    """One device, with an in-order queue.

    Args:
        extensions: those that programs may use; all that the device has, if none are given.

    Attributes:
        unsupported: dtypes that the device has no arithmetic for, with what it lacks. float16 is not among them:
            without ``cl_khr_fp16`` its bits are converted by integer arithmetic.
    """

    def __init__(self, device: Any, index: int, extensions: Collection[str] = ()) -> None:
        cl = _opencl()
        self._device = device
        self._context = cl.Context([device])
        self._queue = cl.CommandQueue(self._context)
        self._kernels: dict[str, Any] = {}
        self._lock = threading.Lock()  # a kernel's arguments are its state until it is enqueued
        self._cl = cl
        self._blocks: dict[int, Any] = {}
        self._largest = int(device.max_mem_alloc_size)
        self._epoch = 0  # of memory that is freed: how often the host has waited before
        self.memory = CachingAllocator(self._take, self._give)
        self.name = f"opencl:{index}"
        self.target = spirv.target_for(extensions or device.extensions.split())
        self.unsupported = {} if self.target.has_f64 else {"float64": "cl_khr_fp64"}
        self.description = f"{device.name} ({device.platform.name}, {device.version}, driver {device.driver_version})"

    def __repr__(self) -> str:
        return f"<{self.name}: {self.description}>"

    # ---- memory

    def _take(self, nbytes: int) -> int:
        cl = self._cl
        if nbytes > self._largest:
            return 0
        flags = cl.svm_mem_flags.READ_WRITE | cl.svm_mem_flags.SVM_FINE_GRAIN_BUFFER
        try:
            block = cl.SVMAllocation(self._context, nbytes, ALIGNMENT, flags, self._queue)
        except (cl.MemoryError, cl.Error):
            return 0
        self._blocks[block.svm_ptr] = block
        return int(block.svm_ptr)

    def _give(self, address: int) -> None:
        del self._blocks[address]  # freed when what was enqueued before has run

    def _allocated(self, nbytes: int, *queues: Any) -> Buffer:
        address = self.memory.allocate(nbytes, *queues)
        if not address:
            kept = self.memory
            raise OutOfMemory(
                f"{self.name} out of memory: tried to allocate {nbytes} bytes, at most {self._largest} at once. The "
                f"device has {self._device.global_mem_size} bytes, of which {kept.allocated} are allocated by luchina."
            )
        return Buffer(self, address, nbytes)

    def allocate(self, nbytes: int) -> Buffer:
        """Memory whose contents are undefined, for kernels that are launched from now on.

        Raises:
            OutOfMemory: with the sizes, if there is none even when the cache is empty.
        """
        return self._allocated(nbytes, self._epoch, IDLE)

    def _release(self, buffer: Buffer) -> None:
        try:
            self.memory.free(buffer.ptr, buffer.nbytes, self._epoch)
        except Exception:
            return  # Python is going

    def upload(self, data: bytes | bytearray | memoryview) -> Buffer:
        """A new buffer that holds ``data``. The host writes it: no kernel that still runs may know its memory."""
        size = len(data)
        buffer = self._allocated(size, IDLE, IDLE)
        if size:
            ctypes.memmove(buffer.ptr, data if isinstance(data, bytes) else bytes(data), size)
        return buffer

    def download(self, buffer: Any) -> bytes:
        """The contents of a buffer, or of a window on one, once everything before has run."""
        self.synchronize()
        return ctypes.string_at(buffer.ptr, buffer.nbytes)

    def copy(self, to: Any, source: Any, nbytes: int) -> None:
        """``nbytes`` from one buffer of this device to another."""
        self.synchronize()
        ctypes.memmove(to.ptr, source.ptr, nbytes)

    def synchronize(self) -> None:
        """Wait until all that was launched has run."""
        with self._lock:
            before, self._epoch = self._epoch, self._epoch + 1
        self._queue.finish()
        self.memory.merge(before, IDLE)

    # ---- programs

    def load(self, kernels: Sequence[Kernel]) -> list[Any]:
        """What ``launch`` takes, for each kernel: from this process, from disk, or built now."""
        return [self._kernels.get(kernel.key) or self._load(kernel) for kernel in kernels]

    def _load(self, kernel: Kernel) -> Any:
        from luchina.compiler import jit

        cl = self._cl
        floats = f"f16 {self.target.has_f16c} f64 {self.target.has_f64}"
        digest = cache.digest(jit.environment(self.target), kernel.name, kernel.key, self.description, floats)
        program = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cl.CompilerWarning)  # drivers tell of each kernel that they vectorise
            if (stored := cache.load(digest)) is not None:
                try:
                    program = cl.Program(self._context, [self._device], [stored]).build()
                except cl.Error:
                    program = None  # the driver's own form may change under the same version: make it again
            if program is None:
                try:
                    program = cl.Program(self._context, spirv.binary(kernel, self.target)).build()
                except cl.Error as error:
                    raise RuntimeError(f"the driver of {self.name} refuses {kernel!r}: {error}") from None
                cache.store(digest, program.get_info(cl.program_info.BINARIES)[0])
        made = self._kernels[kernel.key] = (program, getattr(kernel, "group", 1))
        return made

    def sequence(self, calls: Sequence[Call]) -> Launches:
        """What starts the kernels of a program, in order."""
        return Launches(self, calls)

    def use(self, buffer: Any) -> None:
        """Tell that what is launched next touches a buffer: there is one queue, in order."""

    def text(self, kernel: Kernel) -> str:
        """LLVM IR of a kernel for this device."""
        return spirv.text(kernel, self.target)


class Launches:
    """The kernels of a program, ready to be started with a table of addresses: their other arguments are set."""

    def __init__(self, device: OpenCL, calls: Sequence[Call]) -> None:
        cl = device._cl
        self._device = device
        self._kernels: list[tuple[Any, int, int, int]] = []  # with its items, those of a group, and scratch memory
        self._tables: dict[bytes, Buffer] = {}
        self._params: list[Buffer] = []
        self._bound: Any = None  # the table that the kernels have as their argument
        for (program, group), params, blocks, scratch in calls:
            if not blocks:
                continue
            scratch = -(-scratch // ALIGNMENT) * ALIGNMENT
            items = max(1, min(blocks, MAX_SCRATCH // scratch)) if scratch else blocks
            kernel = cl.Kernel(program, ENTRY)
            self._params.append(device.upload(params))
            kernel.set_arg(1, device._blocks[self._params[-1].ptr])
            kernel.set_arg(2, device._blocks[self._params[-1].ptr])  # not read where there is no scratch memory
            for place, value in enumerate((blocks, -(-blocks // items), scratch), 3):
                kernel.set_arg(place, np.int64(value))
            self._kernels.append((kernel, items, group, items * scratch))

    def run(self, table: bytes) -> None:
        """Enqueue all kernels.

        Raises:
            OutOfMemory: if there is no scratch memory for one of them.
            RuntimeError: if the driver refuses one.
        """
        device = self._device
        cl, queue = device._cl, device._queue
        places = self._tables.get(table)
        if places is None:
            if len(self._tables) == TABLES:
                self._tables.clear()
            places = self._tables[table] = device.upload(table)
        with device._lock:
            if places is not self._bound:
                block = device._blocks[places.ptr]
                for kernel, *_ in self._kernels:
                    kernel.set_arg(0, block)
                self._bound = places
            for kernel, items, group, scratch in self._kernels:
                if scratch:
                    room = device.allocate(scratch)
                    kernel.set_arg(2, device._blocks[room.ptr])
                try:
                    cl.enqueue_nd_range_kernel(queue, kernel, (items * group,), None if group == 1 else (group,))
                except cl.MemoryError as error:
                    raise OutOfMemory(f"{device.name} out of memory at the start of a kernel ({error})") from None
                except cl.Error as error:
                    raise RuntimeError(
                        f"{device.name} does not start a kernel of {items * group} items: {error}"
                    ) from None
