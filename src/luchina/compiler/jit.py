"""From kernels to addresses: this process's table, else the on-disk cache, else LLVM.

LLVM is loaded only when something has to be compiled. The text of a kernel is parsed, verified and selected with no
optimisation pipeline before it: the emitters write vector code already. Each kernel is one entry of the cache under a
digest of its key, of the emitters' source, of LLVM's version and of the target.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luchina.compiler.kernel import Kernel
from luchina.compiler.target import Target, host
from luchina.runtime import cache
from luchina.runtime.image import Image, place

if TYPE_CHECKING:
    import llvmlite.binding as llvm

# What happened in this process so far; read by the tests and by ``luchina explain``.
compiled = 0
"""Kernels that LLVM made."""
loaded = 0
"""Kernels that came from the on-disk cache."""
compile_seconds = 0.0

_addresses: dict[str, dict[str, int]] = {}
_lock = threading.RLock()
_libraries: list[Any] = []  # keeps what LLVM's own loader placed


def load(kernels: Sequence[Kernel]) -> list[int]:
    """Addresses of the kernels' functions, in order; what is missing is compiled.

    Raises:
        RuntimeError: if LLVM refuses a kernel's text.
    """
    try:
        return [_addresses[kernel.key][kernel.name] for kernel in kernels]
    except KeyError:
        with _lock:
            _load_missing(kernels)
        return [_addresses[kernel.key][kernel.name] for kernel in kernels]


def load_module(kernel: Kernel) -> dict[str, int]:
    """Addresses of every function that the kernel's module defines, by name."""
    load([kernel])
    return _addresses[kernel.key]


def kernel_ir(kernel: Kernel) -> str:
    """The LLVM IR of a kernel for this machine."""
    return kernel.emit(host())


def kernel_assembly(kernel: Kernel) -> str:
    """The assembly of a kernel for this machine."""
    target = host()
    return _machine(target).emit_assembly(_parse(kernel, target))


def environment(target: Target) -> str:
    """Everything but the key that a kernel's code depends on."""
    return f"{_sources()} {_llvm_version()} {target.triple} {target.cpu} {target.features} {target.vector_bits}"


def _load_missing(kernels: Sequence[Kernel]) -> None:
    global compiled, loaded
    target = host()
    missing = {kernel.key: kernel for kernel in kernels if kernel.name not in _addresses.get(kernel.key, ())}
    images: dict[str, Image] = {}
    for key, kernel in missing.items():
        digest = cache.digest(environment(target), kernel.name, key)
        stored = cache.load(digest)
        if stored is not None:
            loaded += 1
        else:
            stored = _compile(kernel, target)
            compiled += 1
            cache.store(digest, stored)
        if stored[:1] == b"I":
            images[key] = Image.unpack(stored[1:])
        else:
            _addresses[key] = _place_object(kernel, stored[1:])
    _addresses.update(zip(images, place(list(images.values()))))


def _compile(kernel: Kernel, target: Target) -> bytes:
    """Object code as it is cached: ``I`` and a linked image, or ``O`` and an object for LLVM's own loader."""
    global compile_seconds
    start = time.perf_counter()
    data = _machine(target).emit_object(_parse(kernel, target))
    from luchina.compiler.elf import CannotLink, link

    try:
        result = b"I" + link(data).pack()
    except CannotLink:
        result = b"O" + data
    compile_seconds += time.perf_counter() - start
    return result


def _parse(kernel: Kernel, target: Target) -> llvm.ModuleRef:
    import llvmlite.binding as llvm

    text = kernel.emit(target)
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise RuntimeError(f"LLVM refuses {kernel!r}: {error}") from None
    return module


@functools.cache
def _machine(target: Target) -> llvm.TargetMachine:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )


@functools.cache
def _lljit() -> llvm.LLJIT:
    import llvmlite.binding as llvm

    return llvm.create_lljit_compiler(_machine(host()))


def _place_object(kernel: Kernel, data: bytes) -> dict[str, int]:
    """Load an object that ``elf.link`` does not take: other formats, other processors."""
    import llvmlite.binding as llvm

    functions = [f.name for f in _parse(kernel, host()).functions if not f.is_declaration]
    builder = llvm.JITLibraryBuilder().add_object_img(data).add_current_process()
    for name in functions:
        builder.export_symbol(name)
    library = builder.link(_lljit(), f"{kernel.name}.{len(_libraries)}")
    _libraries.append(library)
    return {name: library[name] for name in functions}


@functools.cache
def _sources() -> str:
    """A digest of the code generators' own text: whoever edits an emitter gets new kernels."""
    state = hashlib.blake2b(digest_size=16)
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        state.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return state.hexdigest()


@functools.cache
def _llvm_version() -> str:
    """Which LLVM would compile, found without loading it."""
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or not spec.submodule_search_locations:
        return "none"
    root = Path(spec.submodule_search_locations[0])
    state = hashlib.blake2b(digest_size=16)
    try:
        state.update((root / "_version.py").read_bytes())
        for path in sorted((root / "binding").glob("libllvmlite*")) + sorted((root / "binding").glob("llvmlite*.dll")):
            state.update(f"{path.name} {os.stat(path).st_size}".encode())
    except OSError:
        pass
    return state.hexdigest()
