"""Every kernel of representative programs as PTX for three generations of cards, assembled by NVIDIA's ``ptxas``.

``ptxas`` says what a kernel needs: registers, what did not fit into them (spills), shared memory.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from tests.compiler import test_build as programs

import luchina
from luchina import nn
from luchina.compiler import build
from luchina.compiler import prims as P
from luchina.compiler.device import plan
from luchina.compiler.kernel import Kernel
from luchina.compiler.targets import ptx
from luchina.compiler.targets.items import NoDeviceForm
from luchina.examples.digits import DigitNet

needs_ptxas = pytest.mark.skipif(
    shutil.which("ptxas") is None, reason="ptxas, NVIDIA's assembler, is not on the path: PTX is made but not assembled"
)


def step(model, x, y, loss, optimizer=luchina.optim.Adam):
    """The primitives of a training step of a model, as it compiles them."""
    seen = []

    def record(outputs, donated=(), keep=False):
        seen.append(list(outputs))
        return compile_graph(outputs, donated)

    compile_graph = build.compile
    steps = optimizer(model.parameters(), lr=0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "compile", record)
        for _ in range(2):
            steps.zero_grad()
            loss(model(x), y).backward()
            steps.step()
    return seen


def softmax_and_norm():
    x = P.input(0, (64, 512), "float32")
    total = P.reshape(P.reduce("sum", x, (1,)), (64, 1))
    return [programs.softmax(x), P.binary("sub", x, total), P.argreduce("argmax", x, 1), P.reduce("max", x, (0,))]


def pointwise(dtype):
    x, y = P.input(0, (300, 70), dtype), P.input(1, (70,), dtype)
    wide = P.expand(P.reshape(y, (1, 70)), (300, 70))
    return [P.binary(op, x, wide) for op in ("add", "mul", "maximum", "lt")] + [P.cast(x, "float32")]


def mathematics(dtype):
    x = P.input(0, (300,), dtype)
    return [[P.unary(op, x)] for op in sorted(P.UNARY) if "f" in P.UNARY[op]]


def indexing():
    x, index = P.input(0, (50, 20), "float32"), P.input(1, (30,), "int64")
    rows = P.take(x, index)
    return [rows, P.scatter(x, index, rows, "add"), P.scan("sum", x), P.argsort(x), P.pad(x, (1, 2), (0, 3), 0.0)]


def product(dtype, turned=False, size=130):
    shape = (2, 96, size) if turned else (2, size, 96)
    a, b = P.input(0, (2, 70, size), dtype), P.input(1, shape, dtype)
    y = P.dot(a, P.permute(b, (0, 2, 1)) if turned else b)
    return [P.binary("maximum", y, P.const(0.0 if "float" in dtype else 0, dtype))]


def large(dtype, turned):
    a, b = P.input(0, (1, 2048, 2048), dtype), P.input(1, (1, 2048, 2048), dtype)
    return [P.dot(P.permute(a, (0, 2, 1)) if turned else a, b)]


def convolution(stride, groups):
    x, w = P.input(0, (2, 8, 17, 16), "float32"), P.input(1, (12, 8 // groups, 3, 3), "float32")
    geometry = ((stride, stride), ((1, 1), (1, 1)), (1, 1), groups)
    y = P.conv2d(x, w, *geometry)
    g = P.input(2, y.shape, "float32")
    return [y, P.conv2d_input(g, w, (17, 16), *geometry), P.conv2d_weight(x, g, (3, 3), *geometry)]


def collected(target):
    """Kernels by key, and which program they are from."""
    luchina.manual_seed(0)
    cross_entropy, mse = nn.functional.cross_entropy, nn.functional.mse_loss
    mlp = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 3))
    small = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 5))
    )
    x, labels = luchina.randn(6, 20), luchina.tensor([0, 2, 1, 1, 0, 2])
    graphs = {
        "softmax and norm": [softmax_and_norm()],
        "indexing": [indexing()],
        **{f"pointwise {d}": [pointwise(d)] for d in ("float16", "bfloat16", "float32", "float64", "int64", "uint8")},
        **{f"mathematics {d}": mathematics(d) for d in ("float16", "float32", "float64")},
        **{f"product {d}": [product(d)] for d in ("float16", "bfloat16", "float32", "float64", "int32")},
        **{f"product turned {d}": [product(d, True, 128)] for d in ("float16", "bfloat16", "float32")},
        **{
            f"large product {d}": [large(d, turned)]
            for d in ("float16", "bfloat16", "float32")
            for turned in (False, True)
        },
        **{f"convolution {g}": [convolution(*g)] for g in ((1, 1), (2, 2))},
        "perceptron": step(mlp, x, labels, cross_entropy),
        "small convolutional network": step(
            small, luchina.randn(4, 3, 16, 16), luchina.randn(4, 5), mse, luchina.optim.SGD
        ),
        "digits": step(DigitNet().eval(), luchina.randn(5, 1, 8, 8), luchina.tensor([1, 2, 3, 4, 5]), cross_entropy),
    }
    found: dict[str, tuple[str, Kernel]] = {}
    for name, several in graphs.items():
        for outputs in several:
            for task in plan(outputs, target).tasks:
                found.setdefault(task.kernel.key, (name, task.kernel))
    return list(found.values())


def assembled(kernels, target, folder):
    """What ``ptxas`` says of each kernel: (program, registers, spilled bytes, shared bytes)."""
    head = None
    entries = []
    for _, kernel in kernels:
        text = ptx.assembly(kernel, target)
        head, _, rest = text.partition(".address_size 64\n")
        rest = re.sub(r"\brun(?=\(|_param)", kernel.name, rest)
        for symbol in set(re.findall(r"\b(two_over_pi)\b", rest)):
            rest = rest.replace(symbol, f"{symbol}_{kernel.name}")
        entries.append(rest)
    (folder / "all.ptx").write_text(head + ".address_size 64\n" + "\n".join(entries))
    command = ["ptxas", f"-arch={target.name}", "-v", str(folder / "all.ptx"), "-o", str(folder / "all.cubin")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]
    names = {kernel.name: f"{program}: {kernel.key.splitlines()[0]}" for program, kernel in kernels}
    told = {}
    for part in re.split(r"Compiling entry function ", done.stderr)[1:]:
        name = re.match(r"'(\w+)'", part)[1]
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill", part))) + int(re.search(r"(\d+) bytes stack", part)[1])
        shared = re.search(r"(\d+) bytes smem", part)
        told[names[name], name] = (
            int(re.search(r"Used (\d+) registers", part)[1]),
            spilled,
            int(shared[1]) if shared else 0,
        )
    assert len(told) == len(kernels)
    return told


@needs_ptxas
@pytest.mark.parametrize("capability", ptx.TARGETS)
def test_assembled(capability, tmp_path):
    target = ptx.TARGETS[capability]
    told = assembled(collected(target), target, tmp_path)
    for kernel, (registers, spilled, shared) in told.items():
        if kernel[0].partition(": ")[2].startswith("product"):
            assert spilled == 0 and registers <= 224, (kernel, registers, spilled)
        assert spilled <= 192, (kernel, "spills", spilled)  # round the slow way of a division
        assert registers <= 255, (kernel, "registers", registers)
        assert shared <= 48 << 10, (kernel, "bytes of shared memory", shared)


@needs_ptxas
@pytest.mark.parametrize("capability", ptx.TARGETS)
def test_products_of_odd_extents_fit_into_registers(capability, tmp_path):
    """What does not lie in 16 bytes is brought element by element."""
    target = ptx.TARGETS[capability]
    kernels = {}
    for dtype in ("float16", "bfloat16", "float32"):
        x, y = P.input(0, (1, 71, 33), dtype), P.input(1, (1, 33, 45), dtype)
        for left in (x, P.permute(P.input(0, (1, 33, 71), dtype), (0, 2, 1))):
            for right in (y, P.permute(P.input(1, (1, 45, 33), dtype), (0, 2, 1))):
                for task in plan([P.dot(left, right)], target).tasks:
                    kernels[task.kernel.key] = (dtype, task.kernel)
    for kernel, (registers, spilled, _) in assembled(list(kernels.values()), target, tmp_path).items():
        assert spilled == 0 and registers <= 224, (kernel, registers, spilled)


def test_cards_and_their_rows():
    assert ptx.target_for((7, 5)).name == "sm_75" and ptx.target_for((8, 9)).name == "sm_80"
    assert ptx.target_for((9, 0)).name == ptx.target_for((12, 0)).name == "sm_90"
    with pytest.raises(RuntimeError, match=r"compute capability 7\.5, this one has 6\.1"):
        ptx.target_for((6, 1))


def test_foreign_functions_are_refused():
    call = "define void @strange(ptr %p) { call void @puts(ptr %p) ret void }\ndeclare void @puts(ptr)\n"
    with pytest.raises(NoDeviceForm, match="puts of the C library"):
        ptx.text(Kernel("strange", "strange", lambda target: call), ptx.TARGETS[8, 0])
    with pytest.raises(RuntimeError, match="LLVM refuses"):
        ptx.assembly(
            Kernel("broken", "broken", lambda target: "define void @broken() { nonsense }\n"), ptx.TARGETS[8, 0]
        )
