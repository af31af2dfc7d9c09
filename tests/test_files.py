"""Checkpoints: PyTorch's zip format and safetensors, whole, damaged and foreign."""

from __future__ import annotations

import io
import pickle
import zipfile

import pytest

import luchina as torch
from luchina import hub


def state() -> dict:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    base = torch.arange(6.0)
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "base": base,
        "view": base.view(2, 3).t(),
        "types": [
            torch.ones(2, dtype=d) for d in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool)
        ],
        "plain": (1, 2.5, "text", None, True, torch.Size([2, 3]), torch.float32),
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype is b.dtype and a.shape == b.shape and a.stride() == b.stride() and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and not isinstance(a, torch.Size):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b


def test_what_was_saved_is_loaded_and_memory_stays_shared(tmp_path):
    saved = state()
    torch.save(saved, tmp_path / "x.pt")
    loaded = torch.load(tmp_path / "x.pt")
    assert same(saved, loaded)
    loaded["base"][0] = 99
    assert loaded["view"][0, 0].item() == 99


@pytest.mark.parity
def test_pytorch_opens_ours_and_we_open_pytorchs(tmp_path):
    import torch as pytorch

    torch.save(state(), tmp_path / "ours.pt")
    theirs = pytorch.load(tmp_path / "ours.pt", weights_only=True)
    assert theirs["view"].stride() == (1, 3) and theirs["types"][1].dtype is pytorch.bfloat16
    pytorch.save(theirs, tmp_path / "theirs.pt")
    assert same(torch.load(tmp_path / "theirs.pt")["model"], state()["model"])


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_code_does_not_run(capsys):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"x": Evil()}, 2))
        archive.writestr("archive/version", "3\n")
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="print"):
        torch.load(file)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("cut", [0, 10, 200, -40])
def test_truncated_files_are_errors(tmp_path, cut):
    path = tmp_path / "x.pt"
    torch.save({"w": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
        torch.load(path)


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    torch.save(torch.ones(2), path)
    with pytest.raises(Exception):  # noqa: B017
        torch.save({"f": lambda: 1}, path)
    assert torch.equal(torch.load(path), torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_a_full_disk_keeps_the_old_file(tmp_path):
    resource = pytest.importorskip("resource")
    import signal

    path = tmp_path / "x.pt"
    torch.save(torch.ones(2), path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(RuntimeError):
            torch.save(torch.ones(1_000_000), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert torch.equal(torch.load(path), torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_safetensors_both_ways_and_damage(tmp_path):
    tensors = {"a": torch.randn(3, 4), "b": torch.ones(2).bfloat16(), "c": torch.tensor(3), "e": torch.zeros(0, 2)}
    path = tmp_path / "x.safetensors"
    hub.save_file(tensors, path, {"epoch": "1"})
    loaded = hub.load_file(path)
    assert set(loaded) == set(tensors) and all(same(tensors[k], loaded[k]) for k in tensors)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RuntimeError, match="not a whole safetensors file"):
        hub.load_file(path)
