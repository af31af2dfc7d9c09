"""The host side of CUDA against a driver of numpy: order of calls, sizes, lifetimes, and what goes wrong."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from tests.runtime import ptx_machine
from tests.runtime.fake_cuda import CUresult, Driver, has_card, installed

from luchina.compiler import prims as P
from luchina.compiler.device import compile_for
from luchina.compiler.kernel import Kernel
from luchina.runtime import cuda
from luchina.runtime.caching import CachingAllocator, OutOfMemoryError, size_class


@pytest.fixture
def driver():
    with installed(Driver()) as made:
        yield made


def doubled(device, buffer, n, count=1):
    """``count`` times ``buffer`` doubled, through a compiled program."""
    x = P.input(0, (n,), "float32")
    program = compile_for(device, [P.binary("add", x, x)])
    for _ in range(count):
        (buffer,) = program.run([buffer])
    return buffer


def numbers(device, buffer):
    return np.frombuffer(device.download(buffer), np.float32)


def test_round_trip_and_program(driver):
    device = cuda.device()
    x = np.arange(1000, dtype=np.float32)
    held = device.upload(x.tobytes())
    result = doubled(device, held, 1000, 3)
    assert not any(stream.done for stream in driver.devices[0].streams.values()), "the host has waited"
    assert (numbers(device, result) == 8 * x).all() and (numbers(device, held) == x).all()
    assert driver.launches == [(8, 128)] * 3
    assert driver.calls.index("cuDevicePrimaryCtxRetain") < driver.calls.index("cuMemAlloc")


def test_large_copies_go_through_pinned_memory_in_parts(driver):
    device = cuda.device()
    data = np.random.default_rng(0).bytes(2 * cuda.STAGING + 12345)
    before = driver.calls.count("cuMemcpyHtoDAsync")
    held = device.upload(memoryview(data))
    assert driver.calls.count("cuMemcpyHtoDAsync") - before == 3
    assert device.download(held) == data
    assert device.download(device.upload(b"")) == b""
    assert sum(size for _, size in driver.pinned.values()) <= 4 * size_class(cuda.STAGING) + (1 << 15)


def test_pinned_memory_is_bounded(driver, monkeypatch):
    monkeypatch.setattr(cuda, "MAX_PENDING", 4096)
    device = cuda.device()
    held = [device.upload(bytes([i]) * 600) for i in range(40)]
    assert [device.download(b) for b in held] == [bytes([i]) * 600 for i in range(40)]
    assert sum(size for _, size in driver.pinned.values()) <= 4096 + 2048


def test_memory_is_kept_and_used_again(driver):
    device = cuda.device()
    first = device.allocate(5000)
    address = first.ptr
    del first
    assert device.allocate(size_class(5000)).ptr == address
    assert driver.calls.count("cuMemAlloc") == 1 and device.memory.reserved == size_class(5000)
    assert device.memory.allocated == 0 and device.memory.peak_allocated == size_class(5000)
    device.memory.empty()
    assert driver.calls.count("cuMemFree") == 1 and device.memory.reserved == 0 and not driver.devices[0].memory.alive


def test_a_training_step_asks_the_driver_for_memory_once(driver):
    device = cuda.device()
    held = device.upload(np.ones(4000, np.float32).tobytes())
    held = doubled(device, held, 4000, 4)
    before = driver.calls.count("cuMemAlloc")
    doubled(device, held, 4000, 5)
    assert driver.calls.count("cuMemAlloc") <= before + 1


def test_out_of_memory(driver):
    device = cuda.device()
    kept = [device.allocate(1 << 20) for _ in range(10)]
    del kept[1:]
    big = device.allocate(10 << 20)  # the cache is given back for it
    assert driver.calls.count("cuMemFree") >= 9
    with pytest.raises(
        OutOfMemoryError, match=r"CUDA out of memory\. Tried to allocate 10\.00 MiB\. GPU 0 has a total"
    ):
        device.allocate(10 << 20)
    with pytest.raises(RuntimeError, match=r"capacity of 16\.00 MiB of which 5\.00 MiB is free"):
        device.allocate(1 << 40)
    del big
    gc.collect()
    assert device.allocate(10 << 20).nbytes == 10 << 20


def test_streams_wait_for_each_other(driver):
    device = cuda.device()
    x = np.arange(500, dtype=np.float32)
    held = doubled(device, device.upload(x.tobytes()), 500)
    other = device.stream = cuda.Stream(device)
    assert device.stream is other
    assert (numbers(device, doubled(device, held, 500)) == 4 * x).all()
    device.stream = device.default_stream
    # What is freed on one stream while another still reads it is written over only behind the reading.
    device.stream = other
    result = doubled(device, held, 500)
    device.stream = device.default_stream
    address = held.ptr
    del held
    again = device.upload(np.zeros(500, np.float32).tobytes())
    assert again.ptr == address and not numbers(device, again).any()
    assert (numbers(device, result) == 4 * x).all()


def test_events(driver):
    device = cuda.device()
    start, end, plain = cuda.Event(device, True), cuda.Event(device, True), cuda.Event(device)
    assert start.query()
    start.record(device.stream)
    doubled(device, device.upload(np.zeros(64, np.float32).tobytes()), 64)
    end.record(device.stream)
    plain.record(device.stream)
    assert not end.query() and not device.stream.query()
    end.synchronize()
    assert end.query() and start.elapsed_time(end) == 0.25
    with pytest.raises(RuntimeError, match="cuEventElapsedTime: CUDA_ERROR_INVALID_HANDLE"):
        start.elapsed_time(plain)


def test_a_kernel_that_faults_loses_its_device_only():
    with installed(Driver(((9, 0), (7, 5)))):
        bad, good = cuda.device(0), cuda.device(1)
        assert (bad.target.name, good.target.name) == ("sm_90", "sm_75")
        x = bad.upload(bytes(40))
        x.ptr += 1 << 20
        with pytest.raises(cuda.Lost, match=r"cuda:0: .* faulted \(CUDA_ERROR_ILLEGAL_ADDRESS.* devices go on"):
            numbers(bad, doubled(bad, x, 10))
        with pytest.raises(cuda.Lost, match="a kernel has faulted"):
            bad.allocate(10)
        assert numbers(good, doubled(good, good.upload(np.ones(10, np.float32).tobytes()), 10)).tolist() == [2.0] * 10
        del x


def test_devices_that_are_not_there(monkeypatch):
    with installed(Driver()), pytest.raises(cuda.NoDevice, match="no device cuda:3: there are 1"):
        cuda.device(3)
    with installed(Driver(((6, 1),))), pytest.raises(cuda.NoDevice, match=r"capability 7\.5, this one has 6\.1"):
        cuda.devices()
    ask = cuda._driver.__wrapped__
    monkeypatch.setattr(cuda.importlib, "import_module", lambda name: Driver(()))
    with pytest.raises(cuda.NoDevice, match=r"driver finds no device \(CUDA_ERROR_NO_DEVICE: no device\)"):
        ask()

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(cuda.importlib, "import_module", missing)
    with pytest.raises(cuda.NoDevice, match=r"pip install luchina\[cuda\]"):
        ask()


def test_code_comes_from_disk(driver, tmp_path, monkeypatch):
    monkeypatch.setenv("LUCHINA_CACHE", str(tmp_path))
    device = cuda.device()
    outs = [P.binary("mul", P.input(0, (5,), "float32"), P.const(3.25, "float32"))]
    kernels = [info._kernel for info in compile_for(device, outs).kernels]
    device._kernels.clear()
    before = driver.calls.count("cuLinkCreate")
    device.load(kernels)
    assert driver.calls.count("cuLinkCreate") == before and driver.calls.count("cuLinkDestroy") == before


def test_code_that_the_driver_refuses(driver):
    device = cuda.device()
    kernel = Kernel("broken", "broken", lambda target: "define void @other() { ret void }\n")
    with pytest.raises(RuntimeError, match=r"cuda:0 refuses <Kernel broken.*CUDA_ERROR_INVALID_PTX"):
        device.load([kernel])
    assert driver.calls.count("cuLinkDestroy") == driver.calls.count("cuLinkCreate")


def test_what_is_told_of_a_kernel(driver):
    x = P.input(0, (5,), "float32")
    (info,) = compile_for(cuda.device(), [P.unary("exp", x)]).kernels
    assert "ptx_kernel void @run" in info.ir() and ".visible .entry run" in info.assembly()


def test_allocator_counts():
    memory = CachingAllocator(lambda n: 1000 if n < 10000 else 0, lambda address: None)
    assert memory.allocate(600) == 1000 and memory.allocated == memory.reserved == 1024
    memory.free(1000, 600, None)
    assert memory.allocated == 0 and memory.reserved == 1024 and memory.allocate(20000) == 0 and memory.reserved == 0
    assert [size_class(n) for n in (1, 512, 513, 5000, 1 << 20, (1 << 20) + 1)] == [
        *(512, 512, 1024, 5120, 1 << 20, (1 << 20) + (1 << 18))
    ]
    assert all(n <= size_class(n) <= max(1.25 * n, n + 512) for n in range(1, 100000, 37))


def test_the_machine_is_strict(driver):
    """What a card would stop or spoil is found by the machine that stands in for it."""
    program = ptx_machine.Program(
        ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry run(\n\t.param .u64 run_param_0\n)\n"
        ".maxntid 64\n{\n\t.shared .align 4 .b8 s[256];\n\tmov.u32 \t%r1, %tid.x;\n"
        "\tsetp.gt.u32 \t%p1, %r1, 31;\n\t@%p1 bra \t$L1;\n\tbar.sync \t0;\n$L1:\n\tret;\n}\n"
    )
    memory = ptx_machine.Memory(1 << 12)
    with pytest.raises(ptx_machine.Fault, match="wait at a barrier that others have passed"):
        ptx_machine.launch(program, memory, 1, 64, bytes(8))
    assert CUresult.CUDA_ERROR_ILLEGAL_ADDRESS == 700


@pytest.mark.skipif(not has_card(), reason="no NVIDIA card in this machine: the driver is only imitated")
def test_on_a_card():
    device = cuda.device()
    x = np.arange(100_000, dtype=np.float32)
    assert (numbers(device, doubled(device, device.upload(x.tobytes()), x.size, 3)) == 8 * x).all()
