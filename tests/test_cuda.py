"""A machine with no GPU: questions are answered, requests raise and say what is there."""

from __future__ import annotations

import pytest

import luchina


def test_questions() -> None:
    assert luchina.cuda.is_available() is False and luchina.cuda.device_count() == 0
    assert luchina.cuda.is_initialized() is False and luchina.cuda.is_bf16_supported() is False
    assert (
        luchina.cuda.memory_allocated() == luchina.cuda.max_memory_allocated(0) == luchina.cuda.memory_reserved() == 0
    )
    assert luchina.cuda.get_arch_list() == luchina.cuda.get_rng_state_all() == [] and not luchina.cuda.memory_stats()
    assert luchina.cuda.manual_seed(1) is luchina.cuda.manual_seed_all(1) is luchina.cuda.empty_cache() is None
    backends = luchina.backends
    assert not backends.mps.is_available() and not backends.mps.is_built() and not backends.cuda.is_built()
    assert not backends.cudnn.is_available() and backends.cudnn.version() is None
    device = luchina.device("cuda" if luchina.cuda.is_available() else "mps" if backends.mps.is_available() else "cpu")
    assert luchina.ones(2).to(device).device == device


def test_seeding_cuda_leaves_the_cpu_alone() -> None:
    luchina.manual_seed(3)
    first = luchina.randn(2).tolist()
    luchina.manual_seed(3)
    luchina.cuda.manual_seed_all(4)
    assert luchina.randn(2).tolist() == first


@pytest.mark.parametrize(
    "name",
    ["current_device", "get_device_name", "get_device_properties", "synchronize", "init", "mem_get_info", "Stream"],
)
def test_requests(name: str) -> None:
    with pytest.raises(RuntimeError, match=rf"luchina.cuda.{name}: No CUDA device is available.* What is there: 'cpu'"):
        getattr(luchina.cuda, name)()


def test_default_device() -> None:
    assert luchina.get_default_device() == luchina.device("cpu")
    luchina.set_default_device("cpu")
    luchina.set_default_device(None)
    for wrong in ("cuda", "mps", luchina.device("cuda", 1)):
        with pytest.raises(RuntimeError, match="What is there: 'cpu'"):
            luchina.set_default_device(wrong)
    with pytest.raises(RuntimeError, match="at start of device string: nope"):
        luchina.set_default_device("nope")
    assert luchina.zeros(1).device == luchina.get_default_device()


def test_old_names_of_mixed_precision_do_nothing_and_say_so() -> None:
    with pytest.warns(UserWarning, match="CUDA is not available"):
        region, scaler = luchina.cuda.amp.autocast(), luchina.cuda.amp.GradScaler()
    with region:
        product = luchina.ones(2, 2) @ luchina.ones(2, 2)
    assert product.dtype is luchina.float32 and scaler.scale(product) is product
    with pytest.raises(AttributeError, match=r"module 'luchina\.cuda' has no attribute 'nothing'"):
        _ = luchina.cuda.nothing
