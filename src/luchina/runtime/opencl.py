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

from luchina.compiler.kernel import Kernel
from luchina.compiler.targets import spirv
from luchina.runtime import cache
from luchina.runtime.caching import OutOfMemoryError

MAX_SCRATCH = 1 << 26
"""Bytes of scratch memory of all work items of a launch together."""

ALIGNMENT = 64


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


class Buffer:
    """Memory of an OpenCL device, freed with its last reference (after the kernels that were enqueued before)."""

    __slots__ = ("_memory", "nbytes", "ptr")

    def __init__(self, memory: Any, nbytes: int) -> None:
        self._memory = memory
        self.ptr: int = memory.svm_ptr
        self.nbytes = nbytes


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
        self.name = f"opencl:{index}"
        self.target = spirv.target_for(extensions or device.extensions.split())
        self.unsupported = {} if self.target.has_f64 else {"float64": "cl_khr_fp64"}
        self.description = f"{device.name} ({device.platform.name}, {device.version}, driver {device.driver_version})"

    def __repr__(self) -> str:
        return f"<{self.name}: {self.description}>"

    # ---- memory

    def allocate(self, nbytes: int) -> Buffer:
        """Memory whose contents are undefined.

        Raises:
            OutOfMemory: with the sizes.
        """
        cl = _opencl()
        limit = self._device.max_mem_alloc_size
        if nbytes > limit:
            raise OutOfMemory(f"{self.name} out of memory: tried to allocate {nbytes} bytes, at most {limit} at once")
        flags = cl.svm_mem_flags.READ_WRITE | cl.svm_mem_flags.SVM_FINE_GRAIN_BUFFER
        try:
            memory = cl.SVMAllocation(self._context, max(nbytes, 1), ALIGNMENT, flags, self._queue)
        except (cl.MemoryError, cl.Error) as error:
            total = self._device.global_mem_size
            raise OutOfMemory(
                f"{self.name} out of memory: tried to allocate {nbytes} bytes of {total} ({error})"
            ) from None
        return Buffer(memory, nbytes)

    def upload(self, data: bytes | bytearray | memoryview) -> Buffer:
        """A new buffer that holds ``data``. The host writes it: nothing that runs now knows the buffer."""
        size = len(data)
        buffer = self.allocate(size)
        if size:
            memoryview((ctypes.c_ubyte * size).from_address(buffer.ptr)).cast("B")[:] = data
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
        self._queue.finish()

    # ---- programs

    def load(self, kernels: Sequence[Kernel]) -> list[Any]:
        """What ``launch`` takes, for each kernel: from this process, from disk, or built now."""
        return [self._kernels.get(kernel.key) or self._load(kernel) for kernel in kernels]

    def _load(self, kernel: Kernel) -> Any:
        from luchina.compiler import jit
        from luchina.compiler.targets.items import ENTRY

        cl = _opencl()
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
        made = self._kernels[kernel.key] = (cl.Kernel(program, ENTRY), getattr(kernel, "group", 1))
        return made

    def launch(self, code: Any, table: Buffer, params: Buffer, blocks: int, scratch: int) -> None:
        """Enqueue one kernel: ``blocks`` blocks over as many work items, fewer where each needs scratch memory."""
        import numpy as np

        cl = _opencl()
        items = blocks
        room = table  # not read
        if scratch:
            scratch = -(-scratch // ALIGNMENT) * ALIGNMENT
            items = max(1, min(blocks, MAX_SCRATCH // scratch))
            room = self.allocate(items * scratch)
        share = -(-blocks // items)
        entry, group = code
        with self._lock:
            entry.set_args(table._memory, params._memory, room._memory, *map(np.int64, (blocks, share, scratch)))
            local = None if group == 1 else (group,)
            try:
                cl.enqueue_nd_range_kernel(self._queue, entry, (items * group,), local)
            except cl.MemoryError as error:
                raise OutOfMemory(f"{self.name} out of memory at the start of a kernel ({error})") from None
            except cl.Error as error:
                raise RuntimeError(f"{self.name} does not start a kernel of {items * group} items: {error}") from None

    def use(self, buffer: Any) -> None:
        """Tell that what is launched next touches a buffer: there is one queue, in order."""

    def text(self, kernel: Kernel) -> str:
        """LLVM IR of a kernel for this device."""
        return spirv.text(kernel, self.target)
