"""Devices as a program sees them: PyTorch's rules of ``device=``, ``to``, mixing, looking and gradients."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest

import luchina as torch
from luchina import nn
from luchina.runtime import accelerators


def test_a_device_has_a_number_and_is_one_object(where: torch.device) -> None:
    assert torch.ones(1, device="opencl").device is where
    assert torch.ones(1, device="opencl:0").device is where
    assert torch.ones(1, device=torch.device("opencl", 0)).device is where
    assert (where.type, where.index) == ("opencl", 0)
    assert torch.ones(1, device=where).get_device() == 0
    assert torch.ones(1).get_device() == -1 and torch.ones(1).is_cpu


@pytest.mark.parametrize(
    "make",
    [
        lambda d: torch.tensor([1.0, 2.0], device=d),
        lambda d: torch.zeros(2, 3, device=d),
        lambda d: torch.ones(2, dtype=torch.bfloat16, device=d),
        lambda d: torch.full((2,), 7, device=d),
        lambda d: torch.arange(5, device=d),
        lambda d: torch.linspace(0, 1, 5, device=d),
        lambda d: torch.eye(3, device=d),
        lambda d: torch.as_tensor([1, 2], device=d),
        lambda d: torch.empty(3, 4, device=d).zero_(),
        lambda d: torch.tril_indices(3, 3, device=d),
        lambda d: torch.zeros(0, 3, device=d),
        lambda d: torch.ones(2, device=d).new_full((3,), 5.0),
        lambda d: torch.ones_like(torch.zeros(2, 3, device=d).t()),
        lambda d: torch.logspace(0, 2, 3, device=d),
    ],
)
def test_creation(where: torch.device, make: object) -> None:
    there, here = make(where), make("cpu")
    assert there.device is where and here.device == torch.device("cpu")
    assert there.dtype is here.dtype and there.stride() == here.stride()
    assert torch.equal(there.cpu(), here)
    assert repr(there).replace(", device='opencl:0'", "") == repr(here)


def test_default_device(where: torch.device) -> None:
    with torch.device("opencl"):
        assert torch.zeros(1).device is where
        assert nn.Linear(2, 2).weight.device is where
        assert torch.from_numpy(np.ones(1)).device.type == "cpu"
        with torch.device("cpu"):
            assert torch.zeros(1).device.type == "cpu"
        x = torch.zeros(2, device="cpu")
        for like in (torch.full_like(x, 1.0), torch.zeros_like(x), torch.rand_like(x), x.new_full((1,), 2.0)):
            assert like.device.type == "cpu"
    assert torch.zeros(1).device.type == "cpu"
    torch.set_default_device("opencl")
    try:
        assert torch.get_default_device() is where and torch.arange(3).device is where
    finally:
        torch.set_default_device(None)
    assert torch.zeros(1).device.type == "cpu"


def test_moves(where: torch.device) -> None:
    x = torch.arange(6.0).reshape(2, 3)
    y = x.to(where)
    assert y.device is where and y.to(where) is y and y.to("cpu", torch.float64).dtype is torch.float64
    assert x.to(y).device is where and y.cpu().tolist() == x.tolist()
    assert x.to("opencl", non_blocking=True, copy=True).tolist() == x.tolist()
    assert x.t().to(where).stride() == x.t().stride()
    assert x[:, 1:].to(where).tolist() == x[:, 1:].tolist()
    assert torch.zeros(2, 3, device=where).copy_(x).tolist() == x.tolist()
    assert torch.zeros(2, 3).copy_(y).tolist() == x.tolist()
    assert x.type_as(y).device is where


def test_mixing_is_an_error_that_names_both_and_the_layer(where: torch.device) -> None:
    x = torch.ones(2, 3, device=where)
    with pytest.raises(RuntimeError, match=r"same device.* \(float32\[2, 3\] on opencl:0 and float32\[3\] on cpu"):
        x + torch.ones(3)
    with pytest.raises(RuntimeError, match=r"same device.*\n  in layer '1' \(Linear\(in_features=3"):
        nn.Sequential(nn.ReLU(), nn.Linear(3, 2))(x)
    with pytest.raises(RuntimeError, match="same device"):
        x.add_(torch.ones(3))
    with pytest.raises(RuntimeError, match="same device"):
        torch.cat([x, torch.ones(1, 3)])
    assert (x + 1).tolist() == [[2.0] * 3] * 2  # the process and the devices go on


def test_zero_dim_tensors_of_the_cpu_mix(where: torch.device) -> None:
    x = torch.tensor([1.0, 2.0], device=where)
    two = torch.tensor(2.0)
    for result in (x * two, two * x, x * (torch.ones(3).sum() - 1), torch.where(x > 1, x * two, x + x)):
        assert result.device is where and result.tolist() == [2.0, 4.0]
    scale = torch.tensor(3.0, requires_grad=True)
    w = torch.tensor([1.0, 2.0], device=where, requires_grad=True)
    (w * scale).sum().backward()
    assert scale.grad.device.type == "cpu" and scale.grad.item() == 3.0
    assert w.grad.device is where and w.grad.tolist() == [3.0, 3.0]


def test_looking(where: torch.device) -> None:
    x = torch.tensor([[1.5, -2.0]], device=where)
    assert x[0, 1].item() == -2.0 and x.tolist() == [[1.5, -2.0]] and float(x[0, 0]) == 1.5
    assert bool((x > -3).all()) and f"{x.sum():.2f}" == "-0.50"
    with pytest.raises(TypeError, match="can't convert opencl:0 device type tensor to numpy"):
        x.numpy()
    with pytest.raises(TypeError, match="can't convert opencl:0"):
        np.asarray(x)
    assert x.numpy(force=True).tolist() == x.tolist()


def test_views_and_writes(where: torch.device) -> None:
    def program(device: object) -> list:
        x = torch.arange(24.0, device=device).reshape(4, 6)
        x[1] = 0
        x[:, 2] += 10
        x[2, 3] = 5
        x.t()[0].mul_(2)
        x[x > 20] = -1
        x[torch.tensor([0, 3], device=device)] -= 1
        rows = x[torch.tensor([1, 1, 0], device=device)]
        window = x[1:3, ::2]
        window.zero_()
        return [x.tolist(), rows.tolist(), x[x < 0].tolist(), window.flatten().tolist(), x.view(-1)[5:9].tolist()]

    assert program(where) == program("cpu")


def test_an_index_of_the_cpu_takes_rows_of_a_device(where: torch.device) -> None:
    x = torch.arange(6.0, device=where).reshape(3, 2)
    assert x[torch.tensor([2, 0])].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    x[torch.tensor([True, False, False])] = 9
    assert x.tolist() == [[9.0, 9.0], [2.0, 3.0], [4.0, 5.0]]


def test_gradients_move_back(where: torch.device) -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2).to(where)
    (y * y).sum().backward()
    assert x.grad.device.type == "cpu" and x.grad.tolist() == [8.0, 16.0]
    assert y.grad_fn.name() == "ToCopyBackward0"
    a = torch.tensor([1.0, 2.0], device=where, requires_grad=True)
    (g,) = torch.autograd.grad((a**3).sum(), a, create_graph=True)
    g.sum().backward()
    assert a.grad.device is where and a.grad.tolist() == [6.0, 12.0]


def test_two_devices_in_one_training_loop(where: torch.device) -> None:
    def losses(second: object) -> list[float]:
        torch.manual_seed(0)
        first, last = nn.Linear(3, 4), nn.Linear(4, 1).to(second)
        optimizer = torch.optim.Adam([*first.parameters(), *last.parameters()], lr=0.1)
        x, y = torch.randn(8, 3), torch.randn(8, 1)
        seen = []
        for _ in range(5):
            loss = ((last(first(x).tanh().to(second)) - y.to(second)) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        return seen

    assert losses(where) == pytest.approx(losses("cpu"), rel=1e-4)


def test_copies_and_files(where: torch.device) -> None:
    x = torch.arange(6.0, device=where).reshape(2, 3).t()
    for again in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone(), x.detach()):
        assert again.device is where and again.tolist() == x.tolist() and again.stride() == x.stride()
    file = io.BytesIO()
    model = nn.Linear(3, 2).to(where)
    torch.save({"x": x, "model": model.state_dict()}, file)
    for location, device in ((None, where), ("cpu", torch.device("cpu")), ({"opencl:0": "cpu"}, torch.device("cpu"))):
        file.seek(0)
        loaded = torch.load(file, map_location=location)
        assert loaded["x"].device == device and loaded["x"].tolist() == x.tolist()
        other = nn.Linear(3, 2)
        other.load_state_dict(loaded["model"])
        assert other.weight.device.type == "cpu" and other.weight.tolist() == model.weight.tolist()
    file.seek(0)
    file = io.BytesIO()
    torch.save(x.cpu(), file)
    file.seek(0)
    assert torch.load(file, map_location="opencl").device is where


def test_a_device_that_is_not_there(where: torch.device) -> None:
    with pytest.raises(RuntimeError, match=r"'opencl:7' is not available: .*What is there: 'cpu', 'opencl:0'"):
        torch.ones(1, device="opencl:7")
    with pytest.raises(RuntimeError, match=r"'mps:0' is not available. What is there: 'cpu', 'opencl:0'"):
        torch.ones(1).to("mps")


def test_out_of_memory_leaves_everything_usable(where: torch.device) -> None:
    small = torch.ones(4, device=where)
    with pytest.raises(RuntimeError, match=r"opencl:0 out of memory: tried to allocate \d+ bytes"):
        (small[:1].expand(1 << 38) + 1)[0].item()
    assert (small + 1).tolist() == [2.0] * 4 and (torch.ones(2) + 1).tolist() == [2.0] * 2


def test_views_as_another_dtype_share_memory(where: torch.device) -> None:
    for d in ("cpu", where):
        x = torch.arange(8.0, device=d).reshape(2, 4)
        bits = x[1:].view(torch.int32)
        halves = x[:, 1:].view(torch.int16)
        assert bits.device == x.device and bits.shape == (1, 4) and halves.shape == (2, 6) and halves.stride() == (8, 1)
        assert bits.tolist() == [[0x40800000, 0x40A00000, 0x40C00000, 0x40E00000]]
        before = bits + 0
        x[1, 0] = 1.0
        assert bits[0, 0].item() == 0x3F800000 and before[0, 0].item() == 0x40800000
        bits[0, 1] = 0x40000000
        bits.mul_(torch.tensor([1, 1, 0, 1], device=d))
        assert x.tolist() == [[0, 1, 2, 3], [1, 2, 0, 7]] and halves[1].tolist() == [0, 0x4000, 0, 0, 0, 0x40E0]
        assert (x + 1).tolist() == [[1, 2, 3, 4], [2, 3, 1, 8]]
        wide = torch.arange(6, dtype=torch.uint8, device=d)[2:].view(torch.int16)  # which begins anywhere
        assert wide.tolist() == [0x0302, 0x0504]
        with pytest.raises(RuntimeError, match=r"self.size\(-1\) must be divisible by 2"):
            torch.ones(3, device=d).view(torch.float64)


def test_memory_of_a_device_is_not_exported(where: torch.device) -> None:
    x = torch.ones(2, device=where)
    assert x.__dlpack_device__() == (4, 0)
    for share in (lambda: x.__dlpack__(), lambda: torch.utils.dlpack.to_dlpack(x), lambda: torch.from_dlpack(x)):
        with pytest.raises(BufferError, match="memory of opencl:0 cannot be exported"):
            share()
    with pytest.raises(TypeError, match=r"can't convert opencl:0 device type tensor to numpy. Use Tensor.cpu\(\)"):
        np.asarray(x)


def test_saved_constants_go_with_any_device(where: torch.device) -> None:
    """What a later backward reads may be made of numbers alone, which no run may put on the CPU."""
    x = torch.ones(2, 2, device=where, requires_grad=True)
    kept = torch.where(torch.ones(2, 2, dtype=torch.bool, device=where), x * 2, x)
    y = torch.nn.functional.leaky_relu(kept, 0.2)
    y.sum().item()
    y.sum().backward()
    assert x.grad.tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_what_programs_ask(where: torch.device) -> None:
    assert torch.opencl.is_available() and torch.opencl.device_count() >= 1 and torch.opencl.why_not() == ""
    assert torch.opencl.get_device_name(0) == torch.opencl.get_device_name(where)
    with pytest.raises(ValueError, match="Expected an opencl device, but got: cpu"):
        torch.opencl.synchronize("cpu")
    state = torch.opencl.get_rng_state()
    first = torch.rand(3, device=where).tolist()
    torch.opencl.set_rng_state(state)
    assert torch.rand(3, device=where).tolist() == first
    torch.opencl.manual_seed(0)
    assert f"{torch.rand(1, device=where).item():.4f}" == "0.3990"
    kind = torch.accelerator.current_accelerator()
    assert torch.accelerator.is_available() and kind is not None and torch.ones(1, device=kind).device.index == 0
    torch.accelerator.synchronize()
    torch.opencl.synchronize()


def test_safetensors_go_where_they_are_wanted(where: torch.device, tmp_path: object) -> None:
    from luchina import hub

    hub.save_file({"x": torch.arange(3.0, device=where)}, tmp_path / "x.safetensors")
    loaded = hub.load_file(tmp_path / "x.safetensors", device="opencl")
    assert loaded["x"].device is where and loaded["x"].tolist() == [0.0, 1.0, 2.0]


def test_a_batch_of_a_device(where: torch.device) -> None:
    data = torch.utils.data.TensorDataset(torch.arange(6.0, device=where).reshape(3, 2), torch.arange(3))
    for x, y in torch.utils.data.DataLoader(data, batch_size=2):
        assert x.device is where and y.device.type == "cpu"
        assert x[:, 0].tolist() == [2.0 * i for i in y.tolist()]
    with torch.device(where):
        order = [y for _, y in torch.utils.data.DataLoader(data, shuffle=True)]
    assert sorted(y.item() for y in order) == [0, 1, 2]


def test_threads_record_for_devices_of_their_own(where: torch.device) -> None:
    import threading

    found: dict[str, float] = {}

    def run(name: str, device: object) -> None:
        x = torch.ones(50, device=device)
        for _ in range(20):
            x = x * 1.01
        found[name] = x.sum().item()

    threads = [threading.Thread(target=run, args=(f"{d}{i}", d)) for d in ("cpu", "opencl") for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(value == pytest.approx(50 * 1.01**20, rel=1e-5) for value in found.values())


def test_a_step_on_the_cpu_beside_pending_values_of_a_device(where: torch.device) -> None:
    """The optimizer writes over its parameters where they lie: what a device still has to read is read before."""
    x = torch.ones(3, device=where)
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0)
    for _ in range(3):
        before = w.detach().sum().item()
        optimizer.zero_grad()
        (w * w).sum().backward()
        y = x * w.detach().sum()
        optimizer.step()
        assert y.tolist() == [before] * 3
    assert w.tolist() == [-1.0, -2.0]


def test_steps_do_not_wait_for_the_device(where: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an index may be is known of memory that was looked at before, and of what came from the host."""
    accelerator = accelerators.accelerator("opencl", 0)
    torch.manual_seed(0)
    table, layer = nn.Embedding(20, 8, device=where), nn.Linear(8, 5, device=where)
    words, classes = torch.randint(20, (64,)).to(where), torch.randint(5, (64,), device=where)
    order = torch.randperm(64, device=where)
    optimizer = torch.optim.SGD([*table.parameters(), *layer.parameters()], lr=0.1)

    def step(chosen: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(table(words[chosen])), y).backward()
        optimizer.step()

    def epoch() -> None:
        for start in range(0, 64, 16):
            chosen = order[start : start + 16]
            step(chosen, classes[chosen])
        for _ in range(2):
            step(torch.randperm(64)[:16].to(where), torch.randint(5, (16,)).to(where))

    epoch()
    waits = []
    finish = accelerator.synchronize
    monkeypatch.setattr(accelerator, "synchronize", lambda: (waits.append(1), finish()))
    epoch()
    assert not waits
    with pytest.raises(IndexError, match="Target 7 is out of bounds"):
        step(order[:2], torch.tensor([1, 7]).to(where))
    wide = torch.tensor([0, 9, 1, 2]).to(where)
    step(order[:2], wide[2:])  # whose neighbour is no class
    with pytest.raises(IndexError, match="Target 9 is out of bounds"):
        step(order[:2], wide[:2])
    numbers = torch.tensor([0, 1], device=where)
    bits = numbers.view(torch.int32)
    step(order[:2], numbers)
    bits[0] = 6
    with pytest.raises(IndexError, match="Target 6 is out of bounds"):
        step(order[:2], numbers)
    assert nn.functional.one_hot(wide[2:], 4).tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert nn.functional.one_hot(wide[2:]).shape == (2, 3) and wide[2:].bincount().tolist() == [0, 1, 1]


def test_memory_that_is_kept_goes_back_before_there_is_none(
    where: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerator = accelerators.accelerator("opencl", 0)
    memory, take = accelerator.memory, accelerator._take
    kept = torch.ones(1 << 16, device=where)
    assert (kept + 1).sum().item() == 2 << 16
    memory.empty()
    free = 1 << 21
    granted: list[int] = []

    def scarce(nbytes: int) -> int:
        held = sum(size for address, size in sizes.items() if address in accelerator._blocks)
        if held + nbytes > free:
            return 0
        address = take(nbytes)
        sizes[address] = nbytes
        granted.append(nbytes)
        return address

    sizes: dict[int, int] = {}
    monkeypatch.setattr(memory, "_take", scarce)
    for n in (100_000, 200_000, 250_000):  # each of another size, which together are more than there is
        x = torch.full((n,), 2.0, device=where)
        assert x.sum().item() == 2.0 * n
        del x
    assert sum(granted) > free
    with pytest.raises(
        torch.OutOfMemoryError, match=r"opencl:0 out of memory: tried to allocate 4000000 bytes.* are all"
    ):
        torch.full((1_000_000,), 2.0, device=where)
    assert (torch.ones(3, device=where) + 1).tolist() == [2.0] * 3 and kept[0].item() == 1 and torch.ones(2).sum() == 2
