"""SPIR-V for OpenCL: the kernels of the CPU, one lane a work item (``items.py``)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from luchina.compiler.kernel import Kernel
from luchina.compiler.target import Target
from luchina.compiler.targets.half import without_half
from luchina.compiler.targets.items import NoDeviceForm, check_foreign, written

TRIPLE = "spirv64-unknown-unknown"

# Without vectors: lanes are work items.
SPIRV = Target("spirv", "spirv64", "", "", vector_bits=0, registers=0, has_fma=True, has_f16c=True, triple=TRIPLE)


def target_for(extensions: Collection[str]) -> Target:
    """The target for a device with these extensions of OpenCL."""
    return replace(SPIRV, has_f16c="cl_khr_fp16" in extensions, has_f64="cl_khr_fp64" in extensions)


_LOADED_POINTER = re.compile(r"^  (%\w+) = load ptr addrspace\(1\), (ptr addrspace\(1\) %\w+), align 8$", re.MULTILINE)


def text(kernel: Kernel, target: Target = SPIRV) -> str:
    """LLVM IR of a kernel with its entry ``run``.

    Raises:
        NoDeviceForm: if the kernel calls functions of the C library, or is made for vectors only.
    """
    made = written(kernel, target, "spir_kernel")
    check_foreign(kernel, made, target)
    if not target.has_f16c:
        made = without_half(made)
    if not target.has_f64 and re.search(r"\bdouble\b", made):
        raise NoDeviceForm(f"{kernel!r} computes in float64, which the device does not have")
    # A pointer lies in memory as a number.
    made = made.replace("getelementptr ptr addrspace(1), ", "getelementptr i64, ")
    return _LOADED_POINTER.sub(r"  \1.n = load i64, \2, align 8\n  \1 = inttoptr i64 \1.n to ptr addrspace(1)", made)


def binary(kernel: Kernel, target: Target = SPIRV) -> bytes:
    """The kernel's SPIR-V module.

    Raises:
        NoDeviceForm: see ``text``.
        RuntimeError: if LLVM refuses the text.
    """
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    made = text(kernel, target)
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(opt=2)
    try:
        module = llvm.parse_assembly(made, context=llvm.create_context())
        module.verify()
        return machine.emit_object(module)
    except RuntimeError as error:
        raise RuntimeError(f"LLVM refuses {kernel!r} for SPIR-V: {error}") from None
