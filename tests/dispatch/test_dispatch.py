"""The compiled functions do what their twins in Python do, and keep the books of references."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import pytest

import luchina as torch
from luchina.dispatch import install, objects
from luchina.graph.value import key_of, recording

nn, functional = torch.nn, torch.nn.functional

pytestmark = pytest.mark.skipif(not objects.supported(), reason="this Python's objects are laid out in another way")


@pytest.fixture(autouse=True)
def _installed():
    assert install.install()


def _program():
    """Calls of every kind: operators, methods, functions, layers; numbers, dimensions, a composed one."""
    torch.manual_seed(0)
    x, w = torch.randn(4, 3), torch.randn(5, 3, requires_grad=True)
    b = torch.zeros(5, requires_grad=True)
    y = functional.linear(x, w, b).relu() * 2.5 + 1
    z = (3 - y) / 2 @ torch.ones(5, 2)
    first, second = z.split(1, dim=1)
    head = (y * 1).view(4, 1, 5).transpose(1, 2)
    return (
        y, z, z.softmax(-1), y.sum(1), (y**2).mean(), functional.gelu(z), x.clamp(-0.5, 0.5), y.t() * y.t(),
        first, second, first.t() @ second, *y.unbind(1), *y.chunk(2), z[:, -1], z[..., None, 1:, ::2], z[-1], z[None],
        torch.cat((y, z), 1), torch.cat([y, y * 2]), torch.stack((z, z - 1), -1), y.t().contiguous(), head.contiguous(),
        functional.layer_norm(y, (5,)), functional.layer_norm(y, [5], b, None),
        functional.scaled_dot_product_attention(head, head, head, dropout_p=0.0, is_causal=True),
    )  # fmt: skip


def test_the_same_is_recorded_as_by_the_twins():
    torch.randn(3).sum().item()
    replayed = [_program() for _ in range(3)][-1]
    shown = [(t.shape, t.dtype, t.stride(), t.grad_fn and t.grad_fn.name(), t.tolist()) for t in replayed]
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_dispatch import _program\n"
        "print([(t.shape, t.dtype, t.stride(), t.grad_fn and t.grad_fn.name(), t.tolist()) for t in _program()])"
    )
    twins = subprocess.run(
        [sys.executable, "-c", code, os.path.dirname(__file__)],
        env={**os.environ, "LUCHINA_DISPATCH": "python"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert twins.stdout.strip() == str(shown)


def test_a_replayed_call_has_the_key_of_the_call_itself():
    torch.randn(3).sum().item()
    keys = []
    for _ in range(3):
        recording.restart()
        keys.append([key_of(t._read()) for t in _program()])
    assert keys[0] == keys[1] == keys[2]


def test_references_are_given_back():
    x, w = torch.randn(4, 3), torch.randn(5, 3, requires_grad=True)
    narrow = torch.ones(2, 2)
    held = (x._read(), w._read(), x._storage, None, True, False, functional.linear)

    def calls():
        for _ in range(30):
            functional.linear(x, w)
            x * 2.5
            x.sum(1)
            torch.exp(x)
            (x + 1).split(2)
            (x + 1)[:, 1:]
            torch.cat((x, x))
            with pytest.raises(RuntimeError):
                functional.linear(w, narrow)
        x.sum().item()

    for _ in range(3):
        calls()
    gc.collect()
    before = [sys.getrefcount(o) for o in held], len(gc.get_objects())
    for _ in range(30):
        calls()
    gc.collect()
    after = [sys.getrefcount(o) for o in held], len(gc.get_objects())
    assert all(abs(b - a) < 40 for a, b in zip(before[0], after[0])), (before, after)
    assert abs(after[1] - before[1]) < 200


def test_what_depends_on_data_is_asked_again():
    table = torch.randn(4, 2)
    index = torch.tensor([0, 3])
    for _ in range(3):
        functional.embedding(index, table)
    with pytest.raises(IndexError):
        functional.embedding(torch.tensor([0, 4]), table)
    assert functional.one_hot(torch.tensor([0, 1])).shape == (2, 2)
    assert functional.one_hot(torch.tensor([0, 4])).shape == (2, 5)


def test_the_pieces_of_a_split_may_not_be_written_to():
    for _ in range(3):
        w = torch.ones(2, 4, requires_grad=True)
        y = w * 2
        for piece in (*y.split(2, 1), *y.chunk(2), *y.unbind(0)):
            with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
                piece.add_(1)
        left, right = (torch.ones(2, 4) * 2).split(2, 1)
        left.add_(1)
        assert left.tolist() == [[3, 3]] * 2 and right.tolist() == [[2, 2]] * 2


def test_a_growing_index_is_checked():
    table = torch.randn(4, 2)
    index = torch.tensor([[0, 3]])
    for new in (1, 2, 3):
        index = torch.cat((index, torch.tensor([[new]])), 1)
        assert functional.embedding(index, table).shape == (1, index.shape[1], 2)
    for wrong in (4, -1):
        with pytest.raises(IndexError, match="index out of range in self"):
            functional.embedding(torch.cat((index, torch.tensor([[wrong]])), 1), table)


def test_a_lookup_is_one_program_by_the_twins_and_by_compiled_code():
    code = (
        "import luchina as torch\n"
        "from luchina.dispatch import install\n"
        "from luchina.graph import program\n"
        "table, index = torch.nn.Embedding(7, 3), torch.tensor([1, 2])\n"
        "for _ in range(3):\n"
        "    table(index).sum().item()\n"
        "before = program.statistics['programs']\n"
        "assert not install.installed and install.install()\n"
        "for _ in range(3):\n"
        "    table(index).sum().item()\n"
        "print(program.statistics['programs'] - before)"
    )
    environment = {**os.environ, "LUCHINA_DISPATCH": "python"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_a_leaf_that_was_pending_becomes_memory():
    layer = nn.LayerNorm(3)  # its weights are written to, then read as leaves, then computed
    x = torch.randn(2, 3)
    layer(x).sum().item()
    assert all(p._read().buffer is not None for p in layer.parameters())
    layer(x).sum().backward()
    assert layer.bias.grad.tolist() == [2, 2, 2]


def test_a_layer_is_called_by_compiled_code():
    assert type(nn.Module.__dict__["__call__"]).__name__ == "instancemethod"

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x, *, factor=1):
            if factor is None:
                raise ValueError("my text")
            return self.layer(x) * factor

    class Bare(nn.Module):
        def __init__(self):
            pass

        def forward(self, x):
            return x

    model, x = Scaled(), torch.ones(1, 2)
    assert torch.equal(model(x, factor=2), model(x) * 2)
    with pytest.raises(RuntimeError, match=r"\n  in layer 'layer' \(Linear.*, input \[1, 3\]"):
        model(torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"^my text$"):
        model(x, factor=None)
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'x'$"):
        model()
    with pytest.raises(AttributeError):
        Bare()(x)
    seen = []
    handle = model.layer.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    model(x)
    handle.remove()
    model(x)
    assert len(seen) == 1
    for _ in range(3):
        before = sys.getrefcount(model), sys.getrefcount(x), sys.getrefcount(ValueError)
        for _ in range(100):
            with pytest.raises(ValueError):
                model(x, factor=None)
            model(x)
        gc.collect()
        after = sys.getrefcount(model), sys.getrefcount(x), sys.getrefcount(ValueError)
    assert all(abs(b - a) < 10 for a, b in zip(before, after)), (before, after)


def test_numbers():
    x = torch.ones(2)
    for number in (2, 2.0, True, 0.5, 7, -1.5, 2**40):
        assert (x * number).tolist() == [number] * 2
    assert (x * 2).dtype == (torch.ones(2, dtype=torch.int64) * 2.0).dtype == torch.float32
    assert (torch.ones(2, dtype=torch.int64) * 2).dtype == torch.int64
    for zero in (0.0, -0.0, 0.0):
        assert str((x * zero).tolist()) == str([zero] * 2)
        assert str(torch.clamp(-x, min=zero).tolist()) == str([zero] * 2)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            x * 2**70


def test_a_number_that_the_call_itself_looks_at():
    x, y = torch.ones(2), torch.full((2,), 10.0)
    for alpha in (1, 1, 2, 3, 1, 0):
        assert x.add(y, alpha=alpha).tolist() == [1 + 10 * alpha] * 2
        assert torch.sub(x, y, alpha=float(alpha)).tolist() == [1 - 10 * alpha] * 2


def test_modes_are_looked_at_each_time():
    w = torch.ones(2, 2, requires_grad=True)
    for _ in range(2):
        assert (w * w).requires_grad
        with torch.no_grad():
            assert not (w * w).requires_grad
        with torch.inference_mode():
            assert (w * w).is_inference()
        with torch.autocast("cpu"):
            assert (w @ w).dtype == torch.bfloat16
        assert (w @ w).dtype == torch.float32
    count, kept = torch.tensor([1, 4]), torch.tensor([4, 9]).sqrt()
    assert count.sqrt().dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.arange(3).sqrt().dtype == count.sqrt().dtype == torch.float64
        assert kept.dtype == torch.float32 and kept.tolist() == [2, 3]  # recorded before
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.arange(3).sqrt().dtype == torch.float32


def test_writes_and_shared_memory_are_seen():
    import numpy as np

    x = torch.ones(2)
    assert (x + 1).tolist() == [2, 2]
    x += 1
    assert (x + 1).tolist() == [3, 3]
    array = np.ones(2, np.float32)
    shared = torch.from_numpy(array)
    y = shared + 1
    array[0] = 5
    assert y.tolist() == [2, 2] and (shared + 1).tolist() == [6, 2]


def test_a_subclass_and_wrong_arguments():
    parameter = nn.Parameter(torch.ones(2))
    assert torch.exp(parameter).requires_grad and type(torch.exp(parameter)) is torch.Tensor
    with pytest.raises(TypeError):
        torch.exp("1")
    with pytest.raises(TypeError):
        torch.exp()
    with pytest.raises(TypeError):
        torch.ones(2) + "1"


def test_threads_share_a_model():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    x = torch.randn(5, 3)
    with torch.no_grad():
        wanted = (model(x) * 2).tolist()
    wrong = []

    def work():
        for _ in range(200):
            with torch.no_grad():
                if (model(x) * 2).tolist() != wanted:
                    wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_function_keeps_its_name_and_signature():
    import inspect

    assert torch.exp.__name__ == "exp" and torch.exp.__doc__
    assert "input" in str(inspect.signature(functional.linear))


def test_a_copy_is_made_again_only_of_what_lies_as_it_lay():
    rows, columns = torch.ones(4, 3), torch.ones(3, 4)
    weight = torch.ones(3, 2, requires_grad=True)
    turned = columns.t()
    (turned @ weight).sum().item()  # the turned numbers are kept for backward: memory, as those of ``rows``
    for _ in range(2):
        recording.restart()
        copy = turned.reshape(12)
        recording.restart()
        window = rows.reshape(12)
        assert window._base is rows and copy._base is None


def test_a_gradient_that_was_turned_in_place():
    parameters = [nn.Parameter(torch.zeros(2, 2)) for _ in range(2)]
    optimizer = torch.optim.SGD(parameters, lr=1)
    for _ in range(4):
        for p in parameters:
            p.grad = torch.tensor([[0.0, 1.0], [2.0, 3.0]]) * 1
            p.grad.t_()
        optimizer.step()
    assert [p.tolist() for p in parameters] == [[[0, -8], [-4, -12]]] * 2


def test_a_layer_without_itself():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'self'"):
        nn.Module.__call__()


def test_a_call_of_layers_that_was_replaced_before_stays():
    code = (
        "import luchina as torch\n"
        "from luchina.dispatch import install\n"
        "call, seen = torch.nn.Module.__call__, []\n"
        "def watched(self, *args): seen.append(self); return call(self, *args)\n"
        "torch.nn.Module.__call__ = watched\n"
        "torch.ones(2).sum().item()\n"
        "assert install.install()\n"
        "torch.nn.Identity()(1)\n"
        "print(len(seen))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "1\n"
