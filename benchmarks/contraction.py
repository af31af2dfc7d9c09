"""Matrix products and convolutions beside PyTorch's: ``python benchmarks/contraction.py [words of a case's name]``.

Prints, for each case, the best time of alternating runs, GFLOP/s, the ratio to PyTorch (above 1: we are faster) and the
milliseconds that LLVM took for the kernels. ``THREADS`` sets the number of threads of both.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from luchina.compiler import contraction, jit
from luchina.compiler.contraction import Slots, Window
from luchina.compiler.target import host
from luchina.runtime import threads
from luchina.runtime.program import KernelCall, Program

# batch, M, N, K, layout of B (or of A for ^): "n" as it is, "t" B is stored transposed, "^" A is stored transposed
PRODUCTS = [
    (1, 1024, 1024, 1024, "n"),
    (1, 64, 512, 784, "t"),
    (1, 784, 512, 64, "^"),
    (1, 256, 3072, 768, "t"),
    (1, 4096, 64, 64, "t"),
    (64, 128, 128, 64, "n"),
    (64, 64, 64, 16, "t"),
    (1, 64, 64, 8192, "^"),
    (1, 1, 4096, 4096, "t"),
    (1, 1, 4096, 4096, "n"),
    (1, 16, 16, 16, "n"),
    (1, 64, 16, 2, "t"),
]

# images, channels, side, output channels, kernel, stride, padding, groups
CONVOLUTIONS = [
    (32, 64, 32, 64, 3, 1, 1, 1),
    (64, 1, 8, 16, 3, 1, 1, 1),
    (64, 16, 8, 32, 3, 1, 1, 1),
    (32, 3, 64, 32, 3, 2, 1, 1),
    (32, 64, 32, 128, 1, 1, 0, 1),
    (32, 64, 30, 64, 3, 1, 0, 1),
    (16, 128, 16, 128, 3, 2, 1, 1),
    (16, 64, 28, 64, 3, 1, 1, 64),
]


def best_of(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the fastest run of either, in turns."""
    best = [float("inf"), float("inf")]
    for _ in range(3):
        for i, run in enumerate((ours, theirs)):
            run()
            stop = time.perf_counter() + 0.15
            while (start := time.perf_counter()) < stop:
                run()
                best[i] = min(best[i], time.perf_counter() - start)
    return best[0], best[1]


def window(slot: int, array: np.ndarray) -> Window:
    return Window(slot, 0, tuple(s // array.itemsize for s in array.strides), str(array.dtype))


def measure(name: str, flops: int, plan: Callable, arrays: list[np.ndarray], theirs: Callable[[], object]) -> None:
    if not all(word in name for word in sys.argv[1:]):
        return
    slots = Slots(3)
    first, second, out = (window(i, a) for i, a in enumerate(arrays))
    calls = plan(first, second, [out], slots)
    before = jit.compile_seconds
    addresses = jit.load([call.kernel for call in calls])
    compiling = jit.compile_seconds - before
    temporaries = [np.empty(nbytes, np.uint8) for nbytes in slots.sizes]
    program = Program(
        [KernelCall(a, c.params, c.blocks, c.scratch, c.cost) for a, c in zip(addresses, calls, strict=True)],
        3 + len(temporaries),
    )
    table = [a.ctypes.data for a in arrays + temporaries]
    mine, torchs = best_of(lambda: program.run(table), theirs)
    print(
        f"{name:38s} {mine * 1e6:10.1f} us {flops / mine / 1e9:6.1f} GFLOP/s   PyTorch {torchs * 1e6:10.1f} us "
        f"{flops / torchs / 1e9:6.1f}   {torchs / mine:5.2f}x   compiled in {compiling * 1e3:.0f} ms",
        flush=True,
    )


def products() -> None:
    rng = np.random.default_rng(0)
    for batch, m, n, k, layout in PRODUCTS:
        a = rng.standard_normal((batch, k, m) if layout == "^" else (batch, m, k)).astype("float32")
        b = rng.standard_normal((batch, n, k) if layout == "t" else (batch, k, n)).astype("float32")
        a = a.swapaxes(1, 2) if layout == "^" else a
        b = b.swapaxes(1, 2) if layout == "t" else b
        out = np.empty((batch, m, n), "float32")
        ta, tb, to = torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(out.copy())

        def plan(first, second, outs, slots, shape=(batch, m, n, k)):
            return contraction.dot(first, second, outs, shape, host(), slots)

        def theirs(ta=ta, tb=tb, to=to):
            return torch.mm(ta[0], tb[0], out=to[0]) if len(ta) == 1 else torch.bmm(ta, tb, out=to)

        measure(f"dot {batch} {m}x{n}x{k} {layout}", 2 * batch * m * n * k, plan, [a, b, out], theirs)


def convolutions() -> None:
    rng = np.random.default_rng(0)
    for images, channels, side, outs_, taps, stride, padding, groups in CONVOLUTIONS:
        x = rng.standard_normal((images, channels, side, side)).astype("float32")
        w = rng.standard_normal((outs_, channels // groups, taps, taps)).astype("float32")
        tx, tw = torch.from_numpy(x), torch.from_numpy(w)
        g = torch.randn_like(torch.nn.functional.conv2d(tx, tw, None, stride, padding, 1, groups))
        flops = 2 * g.numel() * channels // groups * taps * taps

        def backward(mask, g=g, tx=tx, tw=tw, s=stride, p=padding, groups=groups):
            return torch.ops.aten.convolution_backward(
                g, tx, tw, None, [s, s], [p, p], [1, 1], False, [0, 0], groups, mask
            )

        def forward(tx=tx, tw=tw, s=stride, p=padding, groups=groups):
            return torch.nn.functional.conv2d(tx, tw, None, s, p, 1, groups)

        cases = {
            "conv2d": (x, w, g.shape, forward),
            "conv2d_input": (g.numpy(), w, x.shape, lambda b=backward: b([True, False, False])),
            "conv2d_weight": (x, g.numpy(), w.shape, lambda b=backward: b([False, True, False])),
        }
        rest = ((stride, stride), ((padding, padding), (padding, padding)), (1, 1), groups)
        for kind, (first, second, shape, theirs) in cases.items():

            def plan(first, second, outs, slots, kind=kind, shapes=(x.shape, w.shape), rest=rest):
                return getattr(contraction, kind)(first, second, outs, *shapes, *rest, host(), slots)

            name = f"{kind} {images}x{channels}x{side}x{side} {outs_}x{taps}x{taps} s{stride} g{groups}"
            measure(name, flops, plan, [first, second, np.empty(tuple(shape), "float32")], theirs)


if __name__ == "__main__":
    count = int(os.environ.get("THREADS", "2"))
    torch.set_num_threads(count)
    threads.set_num_threads(count)
    with torch.no_grad():
        products()
        convolutions()
