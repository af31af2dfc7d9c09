"""A device without ``cl_khr_fp16`` and ``cl_khr_fp64``: the first one again, as number 1, whose kernels may not use
what these bring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import luchina as torch
from devices import test_parity as corpus
from luchina import devices, nn
from luchina.compiler.targets import spirv
from luchina.runtime import accelerators, opencl
from parity import harness, ops

as_default = corpus.as_default


def _capabilities(binary: bytes) -> set[int]:
    """What a SPIR-V module asks of a device: the operands of its OpCapability instructions, which come first."""
    words = np.frombuffer(binary, np.uint32)[5:]
    found = set()
    at = 0
    while words[at] & 0xFFFF == 17:
        found.add(int(words[at + 1]))
        at += int(words[at] >> 16)
    return found


FLOAT16, FLOAT64 = 9, 10


@pytest.fixture(scope="module")
def where() -> Iterator[torch.device]:
    """The device."""
    try:
        first = opencl.device()
    except opencl.NoDevice as error:
        pytest.skip(str(error))
    bare = opencl.OpenCL(first._device, 1, ["cl_khr_spir"])
    written = spirv.binary

    def checked(kernel: Any, target: Any) -> bytes:
        made = written(kernel, target)
        if target is bare.target:
            assert not _capabilities(made) & {FLOAT16, FLOAT64}, kernel
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opencl, "devices", lambda: (first, bare))
        patch.setattr(spirv, "binary", checked)
        patch.setattr(devices, "_known", dict(devices._known))
        yield devices.resolve("opencl:1")
    accelerators.accelerator.cache_clear()


def test_float16_is_kept_to_the_bit(where: torch.device) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide, expected = torch.from_numpy(halves.copy()).to(where).float().cpu().numpy(), halves.astype(np.float32)
    np.testing.assert_array_equal(np.signbit(wide) * ~np.isnan(wide), np.signbit(halves) * ~np.isnan(halves))
    np.testing.assert_array_equal(wide, expected)
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 1 << 32, 1 << 16, dtype=np.uint32).view(np.float32)
    near = (rng.standard_normal(1 << 16) * 10.0 ** rng.integers(-9, 6, 1 << 16)).astype(np.float32)
    odd = np.array([65519, 65520, np.inf, -np.inf, 2.0**-24, 2.0**-25, 2.0**-25 * 1.0001, -0.0], np.float32)
    numbers = np.concatenate([numbers[~np.isnan(numbers)], near, odd])
    got = torch.from_numpy(numbers).to(where).half().cpu().numpy()
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got.view(np.uint16), numbers.astype(np.float16).view(np.uint16))
    assert torch.tensor([float("nan")], device=where).half().float().isnan().item()


@pytest.mark.parametrize(
    "make",
    [
        lambda d: torch.ones(2, dtype=torch.float64, device=d),
        lambda d: torch.ones(2, device=d).double(),
        lambda d: torch.ones(2, dtype=torch.float64).to(d),
        lambda d: torch.tensor([1.0], dtype=torch.float64, device=d),
        lambda d: torch.randn(3, dtype=torch.float64, device=d),
        lambda d: torch.ones(2, device=d) + torch.ones(2, dtype=torch.float64).to(d),
        lambda d: nn.Linear(2, 2).double().to(d),
        lambda d: torch.empty(2, device=d).sum(dtype=torch.float64),
    ],
)
def test_float64_is_an_error_that_names_dtype_and_device(where: torch.device, make: Any) -> None:
    with pytest.raises(TypeError, match=r"^opencl:1 does not support torch\.float64 \(.*lacks cl_khr_fp64\)"):
        make(where)
    assert (torch.ones(2, device=where) + 1).tolist() == [2.0, 2.0]


def test_numbers_of_the_cpu_go_along(where: torch.device) -> None:
    x = torch.ones(2, device=where)
    assert (x * torch.tensor(0.1, dtype=torch.float64)).tolist() == [np.float32(0.1)] * 2
    pending = torch.ones(3, dtype=torch.float64).sum()
    assert (x + pending).tolist() == [4.0, 4.0]
    assert x.to("cpu", torch.float64).dtype is torch.float64
    assert x.half().to("cpu", torch.float64).tolist() == [1.0, 1.0]


def test_two_devices_do_not_mix(where: torch.device) -> None:
    with pytest.raises(RuntimeError, match="found at least two devices, opencl:1 and opencl:0"):
        torch.ones(2, device=where) + torch.ones(2, device="opencl:0")
    assert torch.ones(2, device="opencl:0", dtype=torch.float64).to("cpu").tolist() == [1.0, 1.0]


FUNCTIONS = "sin cos tan asin acos atan sinh cosh asinh acosh atanh erf erfc erfinv lgamma digamma exp log tanh log1p"


def test_functions(where: torch.device) -> None:
    torch.manual_seed(0)
    x = torch.rand(1000) * 0.98 + 0.01
    for name in FUNCTIONS.split():
        own = x + (name == "acosh")
        expected = getattr(own.double(), name)().numpy()
        np.testing.assert_allclose(getattr(own.to(where), name)().cpu().numpy(), expected, 2e-6, 1e-7, err_msg=name)
    y = torch.randn(1000)
    for name in ("pow", "atan2", "fmod"):
        expected = getattr(torch, name)(x.double(), y.double()).numpy()
        np.testing.assert_allclose(getattr(torch, name)(x.to(where), y.to(where)).cpu().numpy(), expected, 1e-5, 1e-6)


def test_functions_behind_a_product(where: torch.device) -> None:
    """Items there have four neighbouring elements."""
    torch.manual_seed(0)
    x = torch.rand(32, 32)
    expected = (torch.pow((x @ x).double(), 1.5).sin()).half()
    got = torch.pow(x.to(where) @ x.to(where), 1.5).sin().half().cpu()
    assert torch.allclose(got, expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_training(where: torch.device, dtype: torch.dtype) -> None:
    def train(device: Any) -> list[float]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(144, 3))
        model.to(device)
        x, y = torch.randn(6, 1, 8, 8).to(device), torch.randint(3, (6,)).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        losses = []
        for _ in range(4):
            optimizer.zero_grad()
            with torch.autocast(torch.device(device).type, dtype, enabled=dtype is torch.float16):
                loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        return losses

    assert train(where) == pytest.approx(train("cpu"), rel=1e-4 if dtype is torch.float32 else 1e-2)


@pytest.mark.parametrize("names", [p for p in corpus._groups() if p.id.startswith("ops")][2::5])
def test_operations(names: list[str], as_default: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``test_parity.py`` does, without what is float64."""
    made, evaluate = ops.tensor, ops.evaluate
    ran = [0]

    def moved(module: Any, array: Any, dtype: str = "float32", layout: str = "", grad: bool = False) -> torch.Tensor:
        with torch.device("cpu"):
            x = made(module, array, dtype, layout, False)
        return x.to(as_default).requires_grad_(grad)

    def narrow(*arguments: Any) -> Any:
        try:
            result = evaluate(*arguments)
        except TypeError as error:
            result = harness.Raised("TypeError", str(error))
        if isinstance(result, harness.Raised) and "does not support torch.float64" in str(result):
            return corpus.Skipped()
        ran[0] += not isinstance(result, corpus.Skipped)
        return result

    monkeypatch.setattr(ops, "tensor", moved)
    monkeypatch.setattr(ops, "evaluate", narrow)
    corpus.test_same_as_pytorch(names, as_default)
    assert ran[0] > len(names) // 2
