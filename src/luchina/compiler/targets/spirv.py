"""SPIR-V for OpenCL: the kernels of the CPU, one lane a work item, entered by the work item's number.

An emitter writes ``kernel(table, params, lo, hi, scratch)`` for blocks [lo, hi). On a device that function stays as it
is; ``run``, the entry that is put before it, finds the work item's blocks:

    n work items:  item g does the blocks [blocks·g/n, blocks·(g+1)/n) with scratch + g·scratch_bytes

and the same of work-groups for a ``GroupKernel``.

All memory that kernels touch is global. Pointers in the table are raw device addresses, so the ABI is also that of a
device that knows nothing else.
"""

from __future__ import annotations

import re

from luchina.compiler.kernel import Kernel
from luchina.compiler.target import Target
from luchina.compiler.targets.groups import GroupKernel

TRIPLE = "spirv64-unknown-unknown"

# Without vectors: lanes are work items.
SPIRV = Target("spirv", "spirv64", "", "", vector_bits=0, registers=0, has_fma=True, has_f16c=True, triple=TRIPLE)

ENTRY = "run"
GLOBAL = "ptr addrspace(1)"

_ENTRY = f"""
declare i64 @WORKER(i32)
declare i64 @WORKERS(i32)

define spir_kernel void @{ENTRY}(ptr %table, ptr %params, ptr %scratch, i64 %blocks, i64 %scratch_bytes) nounwind {{
entry:
  %g = call i64 @WORKER(i32 0)
  %n = call i64 @WORKERS(i32 0)
  %next = add i64 %g, 1
  %a = mul i64 %blocks, %g
  %lo = udiv i64 %a, %n
  %b = mul i64 %blocks, %next
  %hi = udiv i64 %b, %n
  %c = mul i64 %g, %scratch_bytes
  %own = getelementptr i8, ptr %scratch, i64 %c
  call void @KERNEL(ptr %table, ptr %params, i64 %lo, i64 %hi, ptr %own)
  ret void
}}
"""

# Who does a block: a work item, or a work-group together.
_WORKERS = {
    False: ("_Z13get_global_idj", "_Z15get_global_sizej"),
    True: ("_Z12get_group_idj", "_Z14get_num_groupsj"),
}

# The C library's functions that formulas fall back on (huge arguments of sin), OpenCL's builtins: number of arguments.
_BUILTINS = {"sin": 1, "cos": 1, "tan": 1, "lgamma": 1, "fmod": 2, "pow": 2}
_LIBRARY = {
    f"{name}{suffix}": f"_Z{len(name)}{name}{type_ * count}"
    for name, count in _BUILTINS.items()
    for suffix, type_ in (("f", "f"), ("", "d"))
}

_DECLARED = re.compile(r"^declare .*?@([^( ]+)\(", re.MULTILINE)
_CALLED = re.compile(r"@([a-z]+)\(")
_LOADED_POINTER = re.compile(r"^  (%\w+) = load ptr, (ptr %\w+), align 8$", re.MULTILINE)
_POINTER = re.compile(r"\bptr\b(?! addrspace)")


class NoDeviceForm(NotImplementedError):
    """A kernel that has no form for the device yet."""


def text(kernel: Kernel) -> str:
    """LLVM IR of a kernel with its entry ``run``.

    Raises:
        NoDeviceForm: if the kernel calls functions of the C library, or is made for vectors only.
    """
    try:
        written = kernel.emit(SPIRV)
    except (KeyError, ZeroDivisionError, ValueError) as error:
        raise NoDeviceForm(f"{kernel!r} has no form without vectors yet ({type(error).__name__}: {error})") from error
    written = _CALLED.sub(lambda match: f"@{_LIBRARY.get(match[1], match[1])}(", written)
    foreign = [name for name in _DECLARED.findall(written) if not name.startswith(("llvm.", "_Z"))]
    if foreign:
        raise NoDeviceForm(f"{kernel!r} calls {', '.join(foreign)} of the C library, which a device does not have")
    worker, workers = _WORKERS[isinstance(kernel, GroupKernel)]
    names = {"KERNEL": kernel.name, "WORKERS": workers, "WORKER": worker}
    written += re.sub("@([A-Z]+)", lambda match: "@" + names[match[1]], _ENTRY)
    # A pointer lies in memory as a number.
    written = written.replace("getelementptr ptr, ", "getelementptr i64, ")
    written = _LOADED_POINTER.sub(r"  \1.n = load i64, \2, align 8\n  \1 = inttoptr i64 \1.n to ptr", written)
    return _POINTER.sub(GLOBAL, written).replace(".p0", ".p1")


def binary(kernel: Kernel) -> bytes:
    """The kernel's SPIR-V module.

    Raises:
        NoDeviceForm: see ``text``.
        RuntimeError: if LLVM refuses the text.
    """
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    written = text(kernel)
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(opt=2)
    try:
        module = llvm.parse_assembly(written, context=llvm.create_context())
        module.verify()
        return machine.emit_object(module)
    except RuntimeError as error:
        raise RuntimeError(f"LLVM refuses {kernel!r} for SPIR-V: {error}") from None
