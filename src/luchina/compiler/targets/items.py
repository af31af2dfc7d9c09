"""Work items: how a kernel of the CPU's form becomes one that a device starts, and the words that devices differ in.

An emitter writes ``kernel(table, params, lo, hi, scratch)`` for blocks [lo, hi). On a device it gets another head,
``run``, that finds the work item's blocks:

    run(table, params, pool, blocks, share, scratch_bytes)
    item g does the blocks [g·share, min((g + 1)·share, blocks)) with pool + g·scratch_bytes

and the same of work-groups for a ``GroupKernel``. All memory that kernels touch is global. Pointers in the table are
raw device addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from luchina.compiler.ir import KERNEL_SIGNATURE, Emitter, Operand
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.target import Target

ENTRY = "run"
GLOBAL = "ptr addrspace(1)"


class NoDeviceForm(NotImplementedError):
    """A kernel that has no form for the device yet."""


class GroupKernel(Kernel):
    """A kernel whose block is the work of a group of ``group`` work items."""

    __slots__ = ("group",)

    def __init__(self, key: str, group: int, write: Callable[[Target, str], str]) -> None:
        name = kernel_name(key)
        super().__init__(name, key, lambda target: write(target, name))
        self.group = group


class Words(NamedTuple):
    """What one language of devices calls things."""

    local_id: str  # the item's number in its group
    group_id: str
    item: tuple[str, ...]  # the item's number among all: one question, or a product of two and a third
    argument: str  # of all these: the axis, or nothing
    number: str  # their type
    barrier: str
    foreign: tuple[str, ...]  # prefixes of functions that the device has


WORDS = {
    "spirv64": Words(
        "_Z12get_local_idj",
        "_Z12get_group_idj",
        ("_Z13get_global_idj",),
        "i32 0",
        "i64",
        "void @_Z7barrierj(i32 3)",  # local and global memory
        ("llvm.", "_Z"),
    ),
    "nvptx64": Words(
        "llvm.nvvm.read.ptx.sreg.tid.x",
        "llvm.nvvm.read.ptx.sreg.ctaid.x",
        ("llvm.nvvm.read.ptx.sreg.ctaid.x", "llvm.nvvm.read.ptx.sreg.ntid.x", "llvm.nvvm.read.ptx.sreg.tid.x"),
        "",
        "i32",
        "void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)",
        ("llvm.",),
    ),
}


def local_id(e: Emitter, target: Target) -> Operand:
    """The work item's number in its group, ``i64``."""
    words = WORDS[target.arch]
    e.declarations[words.local_id] = _declaration(words, words.local_id)
    number = e.inst(words.number, f"call {words.number} @{words.local_id}({words.argument})")
    return e.cast("zext", number, "i64")


def barrier(e: Emitter, target: Target) -> None:
    """Wait for the group, and see what it wrote to local and global memory."""
    words = WORDS[target.arch]
    name = words.barrier[: words.barrier.index("(")]
    e.declarations[name] = f"declare {name}(i32) convergent nounwind"
    e.raw(f"call {words.barrier} convergent")


def _declaration(words: Words, name: str) -> str:
    return f"declare {words.number} @{name}({words.argument.partition(' ')[0]})"


_DECLARED = re.compile(r"^declare .*?@([^( ]+)\(", re.MULTILINE)
_POINTER = re.compile(r"\bptr\b(?! addrspace)")


def written(kernel: Kernel, target: Target, convention: str, attributes: str = "") -> str:
    """LLVM IR of a kernel with the head ``run``, its pointers global.

    Raises:
        NoDeviceForm: if the kernel is made for vectors only.
    """
    try:
        text = kernel.emit(target)
    except (KeyError, ZeroDivisionError, ValueError) as error:
        raise NoDeviceForm(f"{kernel!r} has no form without vectors yet ({type(error).__name__}: {error})") from error
    head = f"define void @{kernel.name}({KERNEL_SIGNATURE}) nounwind {{\n"
    before, found, body = text.partition(head)
    if not found:
        return text  # LLVM or the driver says what is wrong with it
    words = WORDS[target.arch]
    names = (words.group_id,) if isinstance(kernel, GroupKernel) else words.item
    for name in names:
        if f"@{name}(" not in before:
            before += _declaration(words, name) + "\n"
    start = Emitter()
    first, *rest = (
        start.cast("zext", start.inst(words.number, f"call {words.number} @{name}({words.argument})"), "i64")
        for name in names
    )
    item = start.add(start.mul(first, rest[0]), rest[1]) if rest else first
    lines = "\n".join(start.lines).replace("%v", "%start.")
    number = item.text.replace("%v", "%start.")
    body = f"""start:
{lines}
  %lo = mul i64 {number}, %share
  %start.hi = add i64 %lo, %share
  %start.over = icmp slt i64 %blocks, %start.hi
  %hi = select i1 %start.over, i64 %blocks, i64 %start.hi
  %start.own = mul i64 {number}, %scratch_bytes
  %scratch = getelementptr i8, ptr %pool, i64 %start.own
  %start.some = icmp slt i64 %lo, %hi
  br i1 %start.some, label %entry, label %none
none:
  ret void
{body}"""
    signature = "ptr %table, ptr %params, ptr %pool, i64 %blocks, i64 %share, i64 %scratch_bytes"
    text = f"{before}define {convention} void @{ENTRY}({signature}) nounwind {attributes}{{\n{body}"
    return _POINTER.sub(GLOBAL, text).replace(".p0", ".p1")


def check_foreign(kernel: Kernel, text: str, target: Target) -> None:
    """Raise ``NoDeviceForm`` if a kernel calls functions that the device does not have."""
    foreign = [name for name in _DECLARED.findall(text) if not name.startswith(WORDS[target.arch].foreign)]
    if foreign:
        raise NoDeviceForm(f"{kernel!r} calls {', '.join(foreign)} of the C library, which a device does not have")
