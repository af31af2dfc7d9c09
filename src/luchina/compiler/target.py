"""What the emitters must know of a machine: one row a kind of processor.

A row is a level of an instruction set (x86-64-v3, x86-64-v4, ...), not one processor's name: kernels of the on-disk
cache then serve every machine of that level, and the host's row can be found without loading LLVM.
``LUCHINA_TARGET=avx2`` asks for a lower row than the host's.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from dataclasses import dataclass

# Bytes of one lane when a dtype is computed: 16-bit floats are widened to float32 in registers.
_LANE_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 4,
    "bfloat16": 4,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}


@dataclass(frozen=True)
class Target:
    """A kind of processor as the emitters and LLVM see it."""

    name: str
    arch: str
    cpu: str
    """LLVM's name of the level; a device generation for a GPU."""
    features: str
    """LLVM's feature string, added to what ``cpu`` implies."""
    vector_bits: int
    registers: int
    """Number of vector registers."""
    has_fma: bool
    has_f16c: bool
    """Conversion between half and float32 is an instruction; on a device, half is a type."""
    triple: str = ""
    has_f64: bool = True
    """float64 can be computed."""

    def lanes(self, dtype: str) -> int:
        """Elements of ``dtype`` that one vector register holds while computing."""
        return self.vector_bits // (8 * _LANE_BYTES[dtype])


# From the widest to the narrowest of each architecture; the last row of an architecture is what every member has.
TARGETS = {
    row.name: row
    for row in (
        Target("avx512", "x86_64", "x86-64-v4", "", 512, 32, True, True),
        Target("avx2", "x86_64", "x86-64-v3", "", 256, 16, True, True),
        Target("sse2", "x86_64", "x86-64", "", 128, 16, False, False),
        Target("neon", "aarch64", "generic", "+neon", 128, 32, True, True),
    )
}

# What a processor must list for a row; names are the operating system's, LLVM's spelling after the bar.
_REQUIRED = {
    "avx512": "avx512f avx512bw avx512cd avx512dq avx512vl avx2 fma f16c bmi1|bmi bmi2 abm|lzcnt movbe",
    "avx2": "avx avx2 fma f16c bmi1|bmi bmi2 abm|lzcnt movbe",
    "sse2": "",
    "neon": "",
}

_ARCH = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_SYSTEM = {"linux": "unknown-linux-gnu", "darwin": "apple-darwin", "win32": "pc-windows-msvc"}


def _processor_flags() -> frozenset[str]:
    """Instruction set extensions of this machine: from the kernel where it tells, else from LLVM."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    import llvmlite.binding as llvm

    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def _supports(row: Target, flags: frozenset[str]) -> bool:
    return all(not flags.isdisjoint(names.split("|")) for names in _REQUIRED[row.name].split())


@functools.cache
def host() -> Target:
    """The row of this machine, with its triple; the widest that it supports, or ``LUCHINA_TARGET``."""
    arch = _ARCH.get(platform.machine().lower())
    rows = [row for row in TARGETS.values() if row.arch == arch]
    if not rows:
        raise RuntimeError(f"luchina has no code generator for processors of kind {platform.machine()!r}")
    flags = _processor_flags()
    supported = [row for row in rows if _supports(row, flags)]
    row = supported[0]
    if wanted := os.environ.get("LUCHINA_TARGET"):
        chosen = [row for row in supported if row.name == wanted]
        if not chosen:
            names = ", ".join(row.name for row in supported)
            raise RuntimeError(f"LUCHINA_TARGET={wanted}: this machine supports {names}")
        row = chosen[0]
    return on_system(row, sys.platform)


def on_system(row: Target, system: str) -> Target:
    """The row with the triple of an operating system (``sys.platform``'s name)."""
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    fields["triple"] = f"{row.arch}-{_SYSTEM.get(system, 'unknown-linux-gnu')}"
    return Target(**fields)
