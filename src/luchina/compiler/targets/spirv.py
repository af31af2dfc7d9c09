"""SPIR-V for OpenCL: the kernels of the CPU, one lane a work item (``items.py``)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from array import array
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

    LLVM keeps the labels of a function that it has written by the function's address in its own memory, beyond the
    function's life. Another one that comes to lie there gets them too, though their numbers are given out anew, and
    Intel's driver crashes over such a module. So it is written until it is sound: each time with more memory held, so
    that it lies elsewhere, and in the end by a process that has written nothing yet.

    Raises:
        NoDeviceForm: see ``text``.
        RuntimeError: if LLVM refuses the text.
    """
    made = text(kernel, target)
    held: list[bytearray] = []
    for attempt in range(TRIES + 1):
        try:
            result = write(made) if attempt < TRIES else _write_apart(made)
        except RuntimeError as error:
            raise RuntimeError(f"LLVM refuses {kernel!r} for SPIR-V: {error}") from None
        if is_sound(result):
            return result
        held += [bytearray(size) for size in range(512, 1 << 13, 16)]
    raise RuntimeError(f"LLVM gives numbers in {kernel!r} twice")


TRIES = 4


def write(made: str) -> bytes:
    """The SPIR-V module of LLVM IR."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(opt=2)
    module = llvm.parse_assembly(made, context=llvm.create_context())
    module.verify()
    return machine.emit_object(module)


def _write_apart(made: str) -> bytes:
    code = f"import sys; from {__name__} import write; sys.stdout.buffer.write(write(sys.stdin.read()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], input=made.encode(), capture_output=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace")[-1000:])
    return done.stdout


_TYPES, _LABEL = range(19, 34), 248


def is_sound(module: bytes) -> bool:
    """Whether the labels of a SPIR-V module have numbers of their own."""
    words = array("I", module)
    seen: set[int] = set()
    at = 5
    while at < len(words):
        opcode = words[at] & 0xFFFF
        if opcode == _LABEL or opcode in _TYPES:
            if words[at + 1] in seen:
                return False
            seen.add(words[at + 1])
        at += words[at] >> 16
    return True
