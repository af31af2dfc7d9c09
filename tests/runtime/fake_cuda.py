"""A stand-in for ``cuda.bindings.driver``: devices of host memory that run PTX (``ptx_machine.py``).

Work waits in its stream until somebody must see it done, as late as a real card may run it: what is read or given out
again too early shows. What a driver forbids is an error of its kind; what it would not notice (a leak, a handle that is
dead, a pinned buffer freed under a copy) is an ``AssertionError``.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import functools
import shutil
import subprocess
import threading

import numpy as np
import pytest
from tests.runtime import ptx_machine


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_DEVICE = 101
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_PTX = 218
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_FOUND = 500
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


class CUdevice_attribute(enum.IntEnum):
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class CUevent_flags(enum.IntEnum):
    CU_EVENT_DEFAULT = 0
    CU_EVENT_DISABLE_TIMING = 2


class CUstream_flags(enum.IntEnum):
    CU_STREAM_NON_BLOCKING = 1


class CUjitInputType(enum.IntEnum):
    CU_JIT_INPUT_PTX = 1


OK = CUresult.CUDA_SUCCESS
CUBIN = b"\x7fELF fake "


class _Device:
    def __init__(self, number, capability, memory):
        self.number, self.capability, self.total = number, capability, memory
        self.memory = ptx_machine.Memory(memory)
        self.context = None
        self.streams = {}
        self.modules = []
        self.fault = None


class _Stream:
    def __init__(self, device):
        self.device = device
        self.work = []
        self.done = 0

    def __int__(self):
        return id(self)


class _Event:
    def __init__(self, device, flags):
        self.device, self.flags = device, flags
        self.stream = None
        self.position = 0


class Driver:
    """Looks like the module. ``calls`` are the names of all calls so far, ``launches`` what was started."""

    CUresult, CUdevice_attribute, CUevent_flags = CUresult, CUdevice_attribute, CUevent_flags
    CUstream_flags, CUjitInputType = CUstream_flags, CUjitInputType

    def __init__(self, capabilities=((8, 0),), memory=1 << 24, lazy=True, by_warps=False):
        self.devices = [_Device(i, c, memory) for i, c in enumerate(capabilities)]
        self.lazy, self.by_warps = lazy, by_warps
        self.initialised = False
        self.calls: list[str] = []
        self.launches: list[tuple[int, int]] = []
        self.issued: dict[str, int] = {}
        self.pinned: dict[int, tuple] = {}
        self._local = threading.local()
        self._lock = threading.RLock()

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if not name.startswith("cu"):
            return found

        def call(*arguments):
            with self._lock:
                self.calls.append(name)
                if not self.initialised and name not in ("cuInit", "cuGetErrorName", "cuGetErrorString"):
                    return (CUresult.CUDA_ERROR_NOT_INITIALIZED,)
                needs = name.startswith(("cuMem", "cuStream", "cuEvent", "cuModule", "cuLaunch", "cuLink", "cuCtxSync"))
                if needs and (self.here is None or self.here.fault):
                    fault = self.here.fault if self.here else CUresult.CUDA_ERROR_INVALID_CONTEXT
                    return (fault, None)
                try:
                    result = found(*arguments)
                except ptx_machine.Fault as fault:
                    self.here.fault = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
                    self.fault = str(fault)
                    return (self.here.fault, None)
                return result if isinstance(result, tuple) else (OK,) if result is None else (OK, result)

        return call

    @property
    def here(self):
        return getattr(self._local, "device", None)

    # ---- the driver and its devices

    def cuInit(self, flags):
        assert flags == 0
        if not self.devices:
            return (CUresult.CUDA_ERROR_NO_DEVICE,)
        self.initialised = True

    def cuGetErrorName(self, result):
        return CUresult(result).name.encode()

    def cuGetErrorString(self, result):
        return CUresult(result).name.removeprefix("CUDA_ERROR_").replace("_", " ").lower().encode()

    def cuDriverGetVersion(self):
        return 13000

    def cuDeviceGetCount(self):
        return len(self.devices)

    def cuDeviceGet(self, number):
        return self.devices[number] if number < len(self.devices) else (CUresult.CUDA_ERROR_INVALID_DEVICE, None)

    def cuDeviceGetName(self, length, device):
        return b"Fake card".ljust(length, b"\0")

    def cuDeviceTotalMem(self, device):
        return device.total

    def cuDeviceGetAttribute(self, attribute, device):
        kinds = CUdevice_attribute
        return {
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: device.capability[0],
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: device.capability[1],
            kinds.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: 4,
        }[attribute]

    def cuDevicePrimaryCtxRetain(self, device):
        device.context = device
        return device

    def cuCtxSetCurrent(self, context):
        assert context.context is not None, "a context that was not made"
        self._local.device = context

    def cuCtxSynchronize(self):
        self._drain_all()

    def _drain_all(self):
        for stream in list(self.here.streams.values()):
            self._drain(stream, len(stream.work))

    # ---- memory

    def cuMemAlloc(self, nbytes):
        if nbytes == 0:
            return (CUresult.CUDA_ERROR_INVALID_VALUE, None)
        memory = self.here.memory
        limit = ptx_machine.Memory.BASE + self.here.total
        at = -(-(memory.end + 256) // 256) * 256
        if at + nbytes > limit:  # among what is alive
            at = ptx_machine.Memory.BASE + 256
            for start in sorted(memory.alive):
                if start - at >= nbytes + 256:
                    break
                at = max(at, -(-(start + memory.alive[start] + 256) // 256) * 256)
        if at + nbytes > limit:
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY, None)
        memory.add(at, nbytes)
        self.here.memory.bytes[at - ptx_machine.Memory.BASE :][:nbytes] = 0xA5
        return at

    def cuMemFree(self, address):
        self._drain_all()  # as the real one
        if not self.here.memory.remove(int(address)):
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)

    def cuMemGetInfo(self):
        return OK, self.here.total - sum(self.here.memory.alive.values()), self.here.total

    def cuMemHostAlloc(self, nbytes, flags):
        block = ctypes.create_string_buffer(nbytes)
        self.pinned[ctypes.addressof(block)] = (block, nbytes)
        return ctypes.addressof(block)

    def cuMemFreeHost(self, address):
        self._drain_all()
        del self.pinned[address]

    def _pinned(self, address, nbytes):
        for start, (_, size) in self.pinned.items():
            if start <= address and address + nbytes <= start + size:
                return np.frombuffer((ctypes.c_ubyte * nbytes).from_address(address), np.uint8)
        raise AssertionError("a copy from or to host memory that is not pinned")

    def _at(self, device, address, nbytes):
        device.memory.check(np.array([address], np.int64), nbytes, "a copy")
        start = address - ptx_machine.Memory.BASE
        return device.memory.bytes[start : start + nbytes]

    def cuMemcpyHtoDAsync(self, to, source, nbytes, stream):
        device = self.here
        host = self._pinned(source, nbytes)
        self._enqueue(stream, lambda: self._at(device, to, nbytes).__setitem__(slice(None), host))

    def cuMemcpyDtoHAsync(self, to, source, nbytes, stream):
        device = self.here
        host = self._pinned(to, nbytes)
        self._enqueue(stream, lambda: host.__setitem__(slice(None), self._at(device, source, nbytes)))

    def cuMemcpyDtoDAsync(self, to, source, nbytes, stream):
        device = self.here

        def run():
            self._at(device, to, nbytes)[:] = self._at(device, source, nbytes)

        self._enqueue(stream, run)

    # ---- streams and events

    def _stream(self, handle):
        assert self.here.streams.get(id(handle)) is handle, "a stream of another device, or one that is dead"
        return handle

    def _enqueue(self, handle, work):
        stream = self._stream(handle)
        stream.work.append(work)
        if not self.lazy:
            self._drain(stream, len(stream.work))

    def _drain(self, stream, end):
        while stream.done < end:
            work = stream.work[stream.done]
            stream.done += 1
            stream.work[stream.done - 1] = None
            if work is not None:
                work()

    def cuStreamCreateWithPriority(self, flags, priority):
        stream = _Stream(self.here)
        self.here.streams[id(stream)] = stream
        return stream

    def cuStreamSynchronize(self, handle):
        stream = self._stream(handle)
        self._drain(stream, len(stream.work))

    def cuStreamQuery(self, handle):
        stream = self._stream(handle)
        return (OK if stream.done == len(stream.work) else CUresult.CUDA_ERROR_NOT_READY,)

    def cuStreamWaitEvent(self, handle, event, flags):
        stream, position = event.stream, event.position
        if stream is not None:
            self._enqueue(handle, lambda: self._drain(stream, position))

    def cuEventCreate(self, flags):
        return _Event(self.here, flags)

    def cuEventDestroy(self, event):
        assert event.device is not None, "an event that is dead"
        event.device = None

    def cuEventRecord(self, event, handle):
        stream = self._stream(handle)
        assert event.device is self.here
        stream.work.append(None)
        event.stream, event.position = stream, len(stream.work)

    def cuEventQuery(self, event):
        return (OK if event.stream is None or event.stream.done >= event.position else CUresult.CUDA_ERROR_NOT_READY,)

    def cuEventSynchronize(self, event):
        if event.stream is not None:
            self._drain(event.stream, event.position)

    def cuEventElapsedTime(self, start, end):
        if start.flags & CUevent_flags.CU_EVENT_DISABLE_TIMING or end.flags & CUevent_flags.CU_EVENT_DISABLE_TIMING:
            return (CUresult.CUDA_ERROR_INVALID_HANDLE, None)
        return 0.25

    # ---- programs

    def cuLinkCreate(self, count, options, values):
        assert count == len(options) == len(values) == 0
        return []

    def cuLinkAddData(self, state, kind, data, size, name, count, options, values):
        assert kind == CUjitInputType.CU_JIT_INPUT_PTX and len(data) == size and data.endswith(b"\0")
        if b".entry" not in data:
            return (CUresult.CUDA_ERROR_INVALID_PTX,)
        state.append(data[:-1])

    def cuLinkComplete(self, state):
        image = CUBIN + state[0]
        state.append(ctypes.create_string_buffer(image, len(image)))
        return OK, ctypes.addressof(state[-1]), len(image)

    def cuLinkDestroy(self, state):
        state.clear()

    def cuModuleLoadData(self, image):
        assert image.startswith(CUBIN)
        program = ptx_machine.Program(image.removeprefix(CUBIN).decode())
        major, minor = self.here.capability
        assert int(program.arch[3:]) <= 10 * major + minor, f"code for {program.arch} on {major}.{minor}"
        self.here.modules.append(program)
        return program

    def cuModuleGetFunction(self, module, name):
        return module if name == module.name.encode() else (CUresult.CUDA_ERROR_NOT_FOUND, None)

    def cuLaunchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        device = self.here
        assert function in device.modules, "a kernel of another device"
        if min(gx, bx) < 1 or gx >= 1 << 31 or bx > 1024 or (gy, gz, by, bz) != (1, 1, 1, 1):
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)
        assert shared == 0 and extra == 0
        places = (ctypes.c_void_p * len(function.parameters)).from_address(parameters)
        data = b"".join(ctypes.string_at(place, size) for place, size in zip(places, function.parameters))
        self.launches.append((gx, bx))

        def run():
            issued = ptx_machine.launch(function, device.memory, gx, bx, data, self.by_warps)
            for name, count in issued.items():
                self.issued[name] = self.issued.get(name, 0) + count

        self._enqueue(stream, run)


@contextlib.contextmanager
def installed(driver):
    """The driver of ``runtime/cuda.py`` until the block ends."""
    from luchina.runtime import cuda

    driver.cuInit(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "_driver", lambda: driver)
        patch.setattr(cuda, "devices", functools.cache(cuda.devices.__wrapped__))
        yield driver


def has_card():
    """Whether this machine has a real one."""
    found = shutil.which("nvidia-smi")
    return found is not None and not subprocess.run([found, "-L"], capture_output=True).returncode
