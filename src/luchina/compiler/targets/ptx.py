"""PTX for NVIDIA's cards: the kernels of the CPU, one lane a thread (``items.py``), through LLVM's NVPTX back end.

Text of an architecture runs on every later one: the driver assembles it for the card that it finds.
"""

from __future__ import annotations

import re

from luchina.compiler.kernel import Kernel
from luchina.compiler.target import Target
from luchina.compiler.targets.items import GroupKernel, check_foreign, written

TRIPLE = "nvptx64-nvidia-cuda"

THREADS = 128
"""Threads of a block of a kernel whose items work alone."""


def _row(name: str, version: str) -> Target:
    return Target(name, "nvptx64", name, version, 0, 0, has_fma=True, has_f16c=True, triple=TRIPLE)


# By compute capability, the newest first, with the version of PTX that has what our kernels use.
TARGETS = {(9, 0): _row("sm_90", "+ptx78"), (8, 0): _row("sm_80", "+ptx70"), (7, 5): _row("sm_75", "+ptx65")}


def target_for(capability: tuple[int, int]) -> Target:
    """The newest row that a card of this compute capability runs.

    Raises:
        RuntimeError: for cards older than all rows.
    """
    for known, target in TARGETS.items():
        if capability >= known:
            return target
    needed, has = (".".join(map(str, pair)) for pair in (min(TARGETS), capability))
    raise RuntimeError(f"luchina needs a card of compute capability {needed}, this one has {has}")


def group_of(kernel: Kernel) -> int:
    """Threads of a block."""
    return kernel.group if isinstance(kernel, GroupKernel) else THREADS


def text(kernel: Kernel, target: Target) -> str:
    """LLVM IR of a kernel with its entry ``run``.

    Raises:
        NoDeviceForm: if the kernel calls functions of the C library, or is made for vectors only.
    """
    made = written(kernel, target, "ptx_kernel", f'"nvvm.maxntid"="{group_of(kernel)}" ')
    check_foreign(kernel, made, target)
    return made


def assembly(kernel: Kernel, target: Target) -> str:
    """The kernel's PTX.

    Raises:
        NoDeviceForm: see ``text``.
        RuntimeError: if LLVM refuses the text.
    """
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    made = text(kernel, target)
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=target.cpu, features=target.features, opt=3)
    try:
        module = llvm.parse_assembly(made, context=llvm.create_context())
        module.verify()
        return _COMMENT.sub("", machine.emit_assembly(module))
    except RuntimeError as error:
        raise RuntimeError(f"LLVM refuses {kernel!r} for {target.name}: {error}") from None


_COMMENT = re.compile(r"^\s*//.*\n", re.MULTILINE)
