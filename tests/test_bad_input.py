"""Bad input: an error at the line that gave it, of PyTorch's class, and nothing changed by the failed call."""

from __future__ import annotations

import copy
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import traceback

import pytest

import luchina as torch
from luchina import nn
from luchina.nn import functional

HERE = os.path.basename(__file__)


class Net(nn.Module):
    """A network whose third layer does not fit the second."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(9, 2))

    def forward(self, x):
        return self.body(x)


LAYERS = {
    "linear": (lambda: Net()(torch.randn(3, 4)), RuntimeError, "(3x8 and 9x2)", "'body.2'"),
    "conv": (
        lambda: nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3))(torch.randn(1, 2, 8, 8)),
        RuntimeError,
        "to have 3 channels, but got 2 channels",
        "'1'",
    ),
    "dtype": (
        lambda: nn.Sequential(nn.Linear(3, 4))(torch.randn(2, 3, dtype=torch.float64)),
        RuntimeError,
        "same dtype, but got Double and Float",
        "'0'",
    ),
    "norm": (
        lambda: nn.ModuleDict({"norm": nn.BatchNorm2d(5)})["norm"](torch.randn(1, 4, 3, 3)),
        RuntimeError,
        "running_mean should contain 4 elements not 5",
        "BatchNorm2d",
    ),
    "index": (
        lambda: nn.Sequential(nn.Embedding(5, 4))(torch.tensor([2, 5])),
        IndexError,
        "index out of range in self",
        "'0'",
    ),
    "pending index": (
        lambda: nn.Sequential(nn.Embedding(5, 4))(torch.tensor([2]) + 4),
        IndexError,
        "index out of range in self",
        "'0'",
    ),
    "recurrent": (
        lambda: nn.ModuleList([nn.LSTM(3, 4)])[0](torch.randn(5, 2, 7)),
        RuntimeError,
        "input.size(-1) must be equal to input_size. Expected 3, got 7",
        "LSTM",
    ),
    "attention": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)(torch.randn(2, 3, 6)),
        AssertionError,
        "was expecting embedding dimension of 8, but got 6",
        "'self_attn'",
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_error_names_the_layer_and_its_input(name):
    call, error, says, layer = LAYERS[name]
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert says in text
    assert "in layer" in text and layer in text and "input [" in text


x = torch.arange(6.0)
ints = torch.arange(6)

CALLS = {
    "shapes": (lambda: x + torch.zeros(5), RuntimeError, "size of tensor a (6) must match the size of tensor b (5)"),
    "matmul": (lambda: x @ torch.zeros(5), RuntimeError, "[6]"),
    "view": (lambda: x.view(4), RuntimeError, "shape '[4]' is invalid for input of size 6"),
    "cat": (lambda: torch.cat([torch.zeros(2, 3), torch.zeros(3, 2)]), RuntimeError, "Sizes of tensors must match"),
    "axis": (lambda: x.sum(2), IndexError, "Dimension out of range (expected to be in range of [-1, 0], but got 2)"),
    "index": (lambda: x[6], IndexError, "index 6 is out of bounds for dimension 0 with size 6"),
    "known index": (
        lambda: x[torch.tensor([1, 6])],
        IndexError,
        "index 6 is out of bounds for dimension 0 with size 6",
    ),
    "pending index": (lambda: x[ints + 3], IndexError, "is out of bounds for dimension 0 with size 6"),
    "gather": (lambda: x.gather(0, ints + 1), RuntimeError, "index 6 is out of bounds for dimension 0 with size 6"),
    "index_select": (lambda: x.index_select(0, ints + 1), IndexError, "index out of range in self"),
    "target": (
        lambda: functional.cross_entropy(torch.randn(3, 4), torch.tensor([0, 1, 4])),
        IndexError,
        "Target 4 is out of bounds.",
    ),
    "pending target": (
        lambda: functional.nll_loss(torch.randn(3, 4), torch.tensor([0, 1, 2]) + 2),
        IndexError,
        "is out of bounds.",
    ),
    "batch": (
        lambda: functional.cross_entropy(torch.randn(3, 4), torch.tensor([0, 1])),
        ValueError,
        "Expected input batch_size (3) to match target batch_size (2).",
    ),
    "device": (lambda: x.to("cuda"), RuntimeError, "No CUDA device is available"),
    "no such device": (lambda: x.to("foo"), RuntimeError, "device type at start of device string: foo"),
    "dtype": (lambda: x & x, NotImplementedError, "'Float'"),
    "integer gradient": (lambda: ints.requires_grad_(), RuntimeError, "floating point"),
    "reduction": (
        lambda: functional.mse_loss(x, x, reduction="avg"),
        ValueError,
        "avg is not a valid value for reduction",
    ),
    "unknown option": (lambda: nn.Linear(3, 4, foo=1), TypeError, "'foo'"),
    "unknown keyword": (lambda: torch.zeros(3, dtyp=torch.float32), TypeError, "'dtyp'"),
    "padding mode": (lambda: functional.pad(x, (1, 1), mode="foo"), NotImplementedError, "padding mode"),
    "learning rate": (lambda: torch.optim.SGD([x], lr=-1), ValueError, "Invalid learning rate: -1"),
    "activation": (lambda: nn.RNN(3, 4, nonlinearity="foo"), ValueError, "Unknown nonlinearity 'foo'"),
    "approximation": (lambda: nn.GELU("foo")(x), RuntimeError, "approximate argument must be either none or tanh"),
    "ragged": (lambda: torch.tensor([[1, 2], [3]]), ValueError, "expected sequence of length 2 at dim 1 (got 1)"),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_error_is_raised_by_the_line_that_is_wrong(name):
    call, error, says = CALLS[name]
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
    own = [f for f in traceback.extract_tb(caught.tb) if os.path.basename(f.filename) == HERE]
    assert own[-1].name == "<lambda>", "the last line of the user's in the traceback is the wrong call"


def writes():
    """In-place calls that fail, each on a tensor of its own."""
    wrong = torch.zeros(2, 6)
    far = torch.tensor([0, 9])
    return {
        "add_": lambda t: t.add_(wrong),
        "mul_": lambda t: t.mul_(torch.zeros(5)),
        "copy_": lambda t: t.copy_(wrong),
        "setitem": lambda t: t.__setitem__(7, 1.0),
        "setitem, index": lambda t: t.__setitem__(far, 1.0),
        "setitem, pending index": lambda t: t.__setitem__(far + 1, torch.ones(2)),
        "setitem, shape": lambda t: t.__setitem__(slice(0, 4), torch.ones(3)),
        "setitem, mask": lambda t: t.__setitem__(torch.tensor([True, False]), 1.0),
        "scatter_": lambda t: t.scatter_(0, far, 1.0),
        "scatter_add_": lambda t: t.scatter_add_(0, far, torch.ones(2)),
        "index_add_": lambda t: t.index_add_(0, far, torch.ones(2)),
        "index_fill_": lambda t: t.index_fill_(0, far, 1.0),
        "index_copy_": lambda t: t.index_copy_(0, far, torch.ones(2)),
        "masked_fill_": lambda t: t.masked_fill_(torch.tensor([True, False]), 1.0),
        "integers": lambda t: t.long().add_(1.5),
        "normal_": lambda t: t.normal_(0, -1),
        "expanded": lambda t: t[:1].expand(6).add_(1),
        "resize by view": lambda t: t.view(5).zero_(),
        "leaf": lambda t: nn.Parameter(t).add_(1),
        "out of range": lambda t: t[4:].copy_(torch.ones(3)),
    }


@pytest.mark.parametrize("name", writes())
def test_a_failed_write_changes_nothing(name):
    t = torch.arange(6.0)
    version, state = t._version, torch.get_rng_state()
    with pytest.raises((RuntimeError, IndexError, TypeError)):
        writes()[name](t)
    assert t.tolist() == [0, 1, 2, 3, 4, 5]
    assert t._version == version
    assert torch.equal(torch.get_rng_state(), state)


def small():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    return model, torch.optim.Adam(model.parameters(), lr=0.05)


def one_step(model, optimizer, x, y):
    loss = functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_training_goes_on_after_a_failed_step_as_if_it_had_not_been():
    torch.manual_seed(0)
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    results = []
    for failing in (False, True):
        model, optimizer = small()
        for _ in range(3):
            if failing:
                with pytest.raises(IndexError, match="Target 3"):
                    one_step(model, optimizer, x, y + 1)
                with pytest.raises(RuntimeError, match="mat1 and mat2"):
                    one_step(model, optimizer, x[:, :3], y)
                with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
                    model(x).backward()
            one_step(model, optimizer, x, y)
        results.append([p.tolist() for p in model.parameters()])
    assert results[0] == results[1]


def test_a_failed_backward_leaves_gradients_as_they_were():
    w = torch.ones(3, requires_grad=True)
    (w * 2).sum().backward()
    y = w.exp()
    z = (y * w).sum()
    y.detach().add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()
    assert w.grad.tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()
    (w * 3).sum().backward()
    assert w.grad.tolist() == [5, 5, 5]


def test_a_state_that_does_not_fit_is_refused():
    model, optimizer = small()
    before = copy.deepcopy(optimizer.state_dict())
    other = torch.optim.Adam([torch.zeros(2, requires_grad=True)])
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.state_dict() == before
    state = model.state_dict()
    weights = {k: v.clone() for k, v in state.items()}
    del state["2.bias"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "2.bias"'):
        model.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "3.bias"'):
        model.load_state_dict({**weights, "3.bias": torch.zeros(1)})
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight"):
        model.load_state_dict({k: v + 1 for k, v in weights.items()} | {"0.weight": torch.zeros(2, 2)})
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())


def test_parameters_that_occur_twice_are_refused():
    model, optimizer = small()
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optimizer.add_param_group({"params": [model[0].weight]})
    assert len(optimizer.param_groups) == 1


INTERRUPTED = """
    import faulthandler, signal, time
    faulthandler.dump_traceback_later(60, exit=True)
    import luchina as torch
    from luchina import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x = torch.randn(64, 20)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()

    def step():
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(5):
        first = step().item()
    stepping = False

    def interrupt(number, frame):
        if stepping:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    print("ready", flush=True)
    hits, steps, until = 0, 0, time.time() + 4
    while time.time() < until:
        try:
            stepping = True
            step()
            stepping = False
            steps += 1
        except KeyboardInterrupt:
            stepping = False
            hits += 1
    for _ in range(20):
        last = step().item()
    assert all(v == v for row in model(x).tolist() for v in row)
    print(hits > 10, steps > 10, last < 0.5 * first)
"""


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_anywhere_in_a_step_and_training_goes_on():
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        pauses = random.Random(1)
        until = time.time() + 3
        while time.time() < until:
            time.sleep(pauses.uniform(0.02, 0.08))
            child.send_signal(signal.SIGINT)
        out, errors = child.communicate(timeout=80)
    assert child.returncode == 0, errors[-2000:]
    assert out.strip() == "True True True"


def test_ctrl_c_ends_a_script_with_the_line_it_was_at():
    text = """
        import os, signal, threading
        import luchina as torch
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        x = torch.ones(10)
        while True:
            x = x * 1.0
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (-signal.SIGINT, 130) and "KeyboardInterrupt" in done.stderr
