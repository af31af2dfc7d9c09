"""No memory is an error at the line that asks for it, and everything else goes on."""

import subprocess
import sys
import textwrap

import pytest

import luchina as torch

SAYS = "can't allocate memory: you tried to allocate"

TOO_LARGE = {
    "zeros": lambda x: torch.zeros(10**15),
    "empty": lambda x: torch.empty(10**8, 10**7),
    "full": lambda x: torch.full((10**15,), 1.0),
    "arange": lambda x: torch.arange(10**15),
    "randn": lambda x: torch.randn(10**15),
    "broadcast": lambda x: x.expand(10**14, 6) + 1,
    "outer sum": lambda x: torch.zeros(10**7, 1) + torch.zeros(1, 10**8),
    "matmul": lambda x: torch.zeros(10**7, 1) @ torch.zeros(1, 10**8),
    "repeat": lambda x: x.repeat(10**15),
    "cat": lambda x: torch.cat([x.expand(10**14, 6)] * 2),
    "clone": lambda x: x.expand(10**14, 6).clone(),
    "pad": lambda x: torch.nn.functional.pad(x, (0, 10**15)),
    "one_hot": lambda x: torch.nn.functional.one_hot(torch.tensor([10**15])),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_more_than_the_machine_has_is_an_error_at_the_line(name):
    x = torch.arange(6.0)
    pending = x * 2
    with pytest.raises(RuntimeError, match=SAYS):
        TOO_LARGE[name](x)
    assert pending.tolist() == [0, 2, 4, 6, 8, 10]
    assert (x + 1).sum().item() == 21


def test_a_large_view_is_none_of_it():
    x = torch.arange(6.0)
    assert x.expand(10**14, 6).shape == (10**14, 6)
    assert x.expand(10**14, 6)[5].tolist() == x.tolist()


def limited(text):
    """Run in a process whose address space ends 600 MB above what it has at ``LIMIT``."""
    head = """
        import resource
        import luchina as torch
        from luchina import nn
        def limit(more=600 << 20):
            have = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (have + more, resource.RLIM_INFINITY))
    """
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(head) + textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space as Linux does")
def test_memory_that_ends_in_the_middle_of_a_program():
    text = """
        x = torch.ones(1000, 1000)
        print((x.exp() @ x).sum().item() > 0)
        limit()
        kept = [x * i for i in range(50)]
        large = [torch.cat([k] * 20) for k in kept]  # 80 MB each
        try:
            # One after another they fit, when the others wait; not all of them together.
            print(large[0].sum().item() + large[-1].sum().item() + sum(k.sum().item() for k in large) > 0)
            torch.cat(large).numpy()
            print("no error")
        except RuntimeError as error:
            print("allocate memory" in str(error))
        print((x * 3)[0, :2].tolist())
        del large
        print(kept[3][0, 0].item(), x.sum().item())
    """
    assert limited(text).split("\n") == ["True", "True", "True", "[3.0, 3.0]", "3.0 1000000.0"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space as Linux does")
def test_training_goes_on_after_a_step_that_did_not_fit():
    text = """
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 10))
        optimizer = torch.optim.Adam(model.parameters())
        def step(n):
            x = torch.ones(n, 500)
            loss = model(x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()
        first = step(64)
        limit()
        before = [p.tolist() for p in model.parameters()]
        try:
            step(400_000)  # 800 MB a layer
            print("no error")
        except RuntimeError as error:
            print("allocate memory" in str(error))
        optimizer.zero_grad()
        print([p.tolist() for p in model.parameters()] == before)
        for _ in range(5):
            last = step(64)
        print(last < first)
    """
    assert limited(text).split("\n") == ["True", "True", "True"]
