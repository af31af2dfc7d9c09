"""Printed forms: stored cases first, then PyTorch's own words on random tensors where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luchina import printing
from luchina.printing import printoptions, tensor_repr

F32 = np.float32

STORED = [
    (np.zeros((2, 3), F32), "float32", {}, "tensor([[0., 0., 0.],\n        [0., 0., 0.]])"),
    (np.array(3.0, F32), "float32", {}, "tensor(3.)"),
    (np.array(0.35667, F32), "float32", {}, "tensor(0.3567)"),
    (np.array([[26, 22]]), "int64", {}, "tensor([[26, 22]])"),
    (np.array([[26, 22]], "int32"), "int32", {}, "tensor([[26, 22]], dtype=torch.int32)"),
    (np.array([True, False]), "bool", {}, "tensor([ True, False])"),
    (np.zeros((0, 3), F32), "float32", {}, "tensor([], size=(0, 3))"),
    (np.zeros(0, "int64"), "int64", {}, "tensor([], dtype=torch.int64)"),
    (np.array([1.0, np.nan, -np.inf], F32), "float32", {}, "tensor([1., nan, -inf])"),
    (np.array([1e-5, 1.0], F32), "float32", {}, "tensor([1.0000e-05, 1.0000e+00])"),
    (np.array([[8.0], [6.0]]), "float64", {"grad_fn_name": "MmBackward0"}, None),
    (np.array([1.5], F32), "float32", {"requires_grad": True}, "tensor([1.5000], requires_grad=True)"),
    (np.array([1.5], F32), "bfloat16", {"device": "cuda:0"}, "tensor([1.5000], device='cuda:0', dtype=torch.bfloat16)"),
    (np.arange(2000), "int64", {}, "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
    (
        np.zeros((2, 2, 2), F32),
        "float32",
        {},
        "tensor([[[0., 0.],\n         [0., 0.]],\n\n        [[0., 0.],\n         [0., 0.]]])",
    ),
]


@pytest.mark.parametrize("data, dtype, more, expected", STORED)
def test_stored_form(data: np.ndarray, dtype: str, more: dict, expected: str | None) -> None:
    if expected is None:
        expected = "tensor([[8.],\n        [6.]], dtype=torch.float64, grad_fn=<MmBackward0>)"
    assert tensor_repr(data, dtype, **more) == expected


def test_options_are_restored_and_sci_mode_resets() -> None:
    before = printing.get_printoptions()
    with printoptions(precision=2, sci_mode=True):
        assert tensor_repr(np.array([1.125], F32), "float32") == "tensor([1.12e+00])"
        printing.set_printoptions(edgeitems=1)
        assert printing.options.sci_mode is None, "as in PyTorch, every call sets sci_mode"
    assert printing.get_printoptions() == before


def test_profiles() -> None:
    with printoptions(profile="full"):
        assert "..." not in tensor_repr(np.arange(1001), "int64")
    with printoptions(profile="short"):
        assert tensor_repr(np.arange(1001) / F32(3), "float32").count(".") == 4 + 3


# ---- against PyTorch

DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
FLOAT_KINDS = ["normal", "whole", "mixed", "tiny", "huge", "special", "zeros", "powers"]
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "precision": st.integers(0, 9),
        "threshold": st.sampled_from([0, 5, 30, 1000, float("inf")]),
        "edgeitems": st.integers(0, 4),
        "linewidth": st.sampled_from([1, 10, 25, 60, 80, 200]),
        "sci_mode": st.sampled_from([True, False, None]),
    },
)


def numbers(kind: str, dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers of a kind that stresses one branch of the choice of format."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.startswith(("int", "uint")):
        info = np.iinfo(dtype)
        wide = kind in ("huge", "mixed", "special")
        low, high = (info.min, info.max) if wide else (0, 20)
        return np.asarray(rng.integers(low, high, shape, dtype, endpoint=True))
    if kind == "normal":
        x = rng.normal(size=shape)
    elif kind == "whole":
        x = rng.integers(-2000, 2000, shape).astype(float)
    elif kind == "mixed":
        x = rng.normal(size=shape) * 10.0 ** rng.integers(-6, 6, shape)
    elif kind == "tiny":
        x = rng.normal(size=shape) * 10.0 ** rng.integers(-44, -3)
    elif kind == "huge":
        x = rng.normal(size=shape) * 10.0 ** rng.integers(3, 40)
    elif kind == "powers":
        x = 2.0 ** rng.integers(-3, 28, shape)
    elif kind == "zeros":
        x = rng.choice([0.0, -0.0], shape)
    else:
        x = rng.choice([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, 0.5, 99999.5, 1e8, 1e-4], shape)
    with np.errstate(over="ignore"):
        return np.asarray(x, "float32" if dtype == "bfloat16" else dtype)


@pytest.mark.parity
@settings(max_examples=400, deadline=None)
@given(
    kind=st.sampled_from(FLOAT_KINDS),
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 7, 8, 12]), max_size=4).map(tuple)
    | st.sampled_from([(1001,), (40, 30), (7, 200), (2, 3, 400), (9, 9, 9, 9), (1, 2000), (2000, 1)]),
    seed=st.integers(0, 2**32 - 1),
    chosen=OPTIONS | st.just({}),
    requires_grad=st.booleans(),
)
def test_as_pytorch(kind: str, dtype: str, shape: tuple, seed: int, chosen: dict, requires_grad: bool) -> None:
    torch = pytest.importorskip("torch")
    data = numbers(kind, dtype, shape, seed)
    tensor = torch.from_numpy(data).to(getattr(torch, dtype))
    requires_grad = requires_grad and tensor.is_floating_point()
    with torch._tensor_str.printoptions(**chosen):
        expected = repr(tensor.requires_grad_(requires_grad))
    if dtype == "bfloat16":
        data = tensor.detach().float().numpy()
    with printoptions(**chosen):
        assert tensor_repr(data, dtype, requires_grad=requires_grad) == expected


@pytest.mark.parity
def test_suffixes_break_lines_as_pytorch_does() -> None:
    torch = pytest.importorskip("torch")
    for n in range(1, 60):
        x = torch.arange(n, dtype=torch.float64, requires_grad=True)
        y = x * 1
        assert repr(x) == tensor_repr(x.detach().numpy(), "float64", requires_grad=True)
        assert repr(y) == tensor_repr(y.detach().numpy(), "float64", grad_fn_name="MulBackward0")
