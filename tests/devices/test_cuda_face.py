"""``device="cuda"`` and ``luchina.cuda`` on a driver of numpy (``tests/runtime/fake_cuda.py``)."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from tests.runtime.fake_cuda import Driver, installed

import luchina as torch
from luchina import device_generator, devices, nn
from luchina.graph import program
from luchina.runtime import accelerators


@pytest.fixture
def driver(monkeypatch):
    """Two cards; what was remembered of others is put aside."""
    monkeypatch.setattr(devices, "_known", dict(devices._known))
    monkeypatch.setattr(device_generator, "_defaults", {})
    monkeypatch.setattr(torch.cuda, "_met", {})
    monkeypatch.setattr(devices.current, "cuda", 0)
    monkeypatch.setattr(program, "_aside", {})
    accelerators.accelerator.cache_clear()
    program.clear()
    with installed(Driver(((8, 0), (7, 5)), memory=1 << 25)) as made:
        yield made
        gc.collect()
    accelerators.accelerator.cache_clear()
    program.clear()


def test_there_and_back(driver):
    x = torch.arange(6.0).reshape(2, 3)
    y = x.to("cuda")
    assert y.device == torch.device("cuda", 0) and str(y.device) == "cuda:0"
    assert torch.equal(y.cpu(), x) and (y + 1).tolist() == (x + 1).tolist()
    assert x.cuda(1).device.index == 1 and torch.ones(2, device="cuda:1").sum().item() == 2
    assert repr(y) == repr(x)[:-1] + ", device='cuda:0')"
    with pytest.raises(RuntimeError, match="no device cuda:5: there are 2"):
        x.to("cuda:5")
    with pytest.raises(RuntimeError, match="found at least two devices, cuda:0 and cuda:1"):
        y + x.to("cuda:1")


def test_training_gives_what_the_processor_gives(driver):
    def trained(where):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 24), nn.GELU(), nn.LayerNorm(24), nn.Linear(24, 3)).to(where)
        x, y = torch.randn(16, 5).to(where), torch.randint(3, (16,)).to(where)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        losses = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, [p.detach().cpu().numpy() for p in model.parameters()]

    (losses, weights), (expected, reference) = trained("cuda"), trained("cpu")
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for a, b in zip(weights, reference):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert driver.launches


def test_a_convolutional_network(driver):
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )
    x = torch.randn(2, 2, 8, 8)
    want = model(x)
    want.square().sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    got = model.to("cuda")(x.to("cuda"))
    got.square().sum().backward()
    assert torch.allclose(got.cpu(), want, rtol=1e-4, atol=1e-5)
    for p, g in zip(model.parameters(), gradients):
        assert torch.allclose(p.grad.cpu(), g, rtol=1e-3, atol=1e-4)


def test_questions(driver):
    assert torch.cuda.is_available() and torch.cuda.device_count() == 2 and torch.cuda.current_device() == 0
    assert torch.cuda.get_device_name() == "Fake card" and torch.cuda.get_device_capability("cuda:1") == (7, 5)
    properties = torch.cuda.get_device_properties(0)
    assert (properties.major, properties.total_memory, properties.multi_processor_count) == (8, 1 << 25, 4)
    assert torch.cuda.is_bf16_supported(False) and torch.cuda.get_arch_list() == ["sm_75", "sm_80", "sm_90"]
    with torch.cuda.device(1):
        assert torch.cuda.current_device() == 1 and not torch.cuda.is_bf16_supported(False)
    assert torch.cuda.current_device() == 0
    torch.cuda.set_device("cuda:1")
    assert torch.cuda.current_device() == 1
    torch.cuda.set_device(-1)
    with pytest.raises(RuntimeError, match="no device cuda:2"):
        torch.cuda.set_device(2)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        torch.cuda.synchronize("cpu")


def test_memory(driver):
    before = torch.cuda.memory_allocated()
    x = torch.zeros(1 << 18, device="cuda")
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() >= before + (1 << 20)
    assert torch.cuda.max_memory_allocated() >= torch.cuda.memory_allocated() <= torch.cuda.memory_reserved()
    del x
    assert torch.cuda.memory_allocated() < before + (1 << 20) <= torch.cuda.memory_reserved()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == torch.cuda.memory_allocated()
    free, total = torch.cuda.mem_get_info()
    assert 0 < free <= total == 1 << 25 and "reserved_bytes.all.peak" in torch.cuda.memory_summary()
    with pytest.raises(torch.OutOfMemoryError, match=r"CUDA out of memory\. Tried to allocate 64\.00 MiB"):
        torch.zeros(1 << 24, device="cuda").cpu()
    assert issubclass(torch.cuda.OutOfMemoryError, RuntimeError) and torch.ones(3, device="cuda").sum().item() == 3


def test_streams_and_events(driver):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    with pytest.raises(ValueError, match="must be recorded"):
        start.elapsed_time(end)
    x = torch.arange(100.0).to("cuda")
    other = torch.cuda.Stream()
    assert torch.cuda.current_stream() == torch.cuda.default_stream() != other
    start.record()
    with torch.cuda.stream(other):
        assert torch.cuda.current_stream() == other
        y = x * 2
    other.wait_stream(torch.cuda.current_stream())
    end.record(other)
    end.synchronize()
    assert end.query() and start.elapsed_time(end) == 0.25
    assert (y + 1).tolist() == (torch.arange(100.0) * 2 + 1).tolist()
    assert "device=cuda:0" in repr(other)
    with pytest.raises(NotImplementedError, match="several processes"):
        torch.cuda.Event(interprocess=True)


def test_matmul_precision(driver):
    x = torch.randn(32, 32).to("cuda")
    want = (x.cpu() @ x.cpu()).numpy()
    try:
        for precision, allowed, near in (("highest", False, 1e-5), ("high", True, 2e-2), ("highest", False, 1e-5)):
            torch.set_float32_matmul_precision(precision)
            assert torch.get_float32_matmul_precision() == precision
            assert torch.backends.cuda.matmul.allow_tf32 is allowed
            driver.issued.clear()
            np.testing.assert_allclose((x @ x).cpu().numpy(), want, rtol=near, atol=near)
            assert any("tf32" in name for name in driver.issued) is allowed
        torch.backends.cuda.matmul.allow_tf32 = True
        assert torch.get_float32_matmul_precision() == "high"
        with pytest.raises(RuntimeError, match="Unknown float32_matmul_precision: low"):
            torch.set_float32_matmul_precision("low")
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def test_mixed_precision(driver):
    torch.manual_seed(0)
    model = nn.Linear(16, 8).to("cuda")
    scaler = torch.amp.GradScaler("cuda", init_scale=8.0)
    assert scaler.is_enabled() and torch.get_autocast_dtype("cuda") is torch.float16
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.weight.detach().cpu().clone()
    with torch.autocast("cuda"):
        assert torch.is_autocast_enabled()
        y = model(torch.ones(4, 16, device="cuda"))
        loss = y.float().square().mean()
    assert y.dtype is torch.float16 and not torch.is_autocast_enabled()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert not torch.equal(model.weight.cpu(), before)
    assert any(name.startswith("mma.sync") for name in driver.issued)


def test_random_numbers_are_those_of_pytorch_on_cuda(driver):
    torch.cuda.manual_seed_all(0)
    assert torch.cuda.initial_seed() == 0
    first = torch.rand(4, device="cuda").tolist()
    assert [f"{x:.4f}" for x in first] == ["0.3990", "0.5167", "0.0249", "0.9401"]
    assert torch.rand(4, device="cuda:1").tolist() == first
    states = torch.cuda.get_rng_state_all()
    again = torch.rand(4, device="cuda").tolist()
    assert again != first and len(states) == 2
    torch.cuda.set_rng_state_all(states)
    assert torch.rand(4, device="cuda").tolist() == again
    with torch.cuda.device(1):
        torch.cuda.manual_seed(0)
        assert torch.rand(4, device="cuda").tolist() == first and torch.ones(1).cuda().device.index == 1
    torch.cuda.seed_all()
    assert torch.cuda.initial_seed() not in (0, 1) and torch.cuda.seed() is None
