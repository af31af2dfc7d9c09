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
from typing import Any

from luchina.compiler.kernel import Kernel
from luchina.compiler.target import Target, host
from luchina.runtime import cache
from luchina.runtime.image import Image, place

_IMAGE, _OBJECT = b"I", b"O"

# What happened in this process so far; read by the tests and by ``luchina explain``.
compiled = 0
"""Kernels that LLVM made."""
loaded = 0
"""Kernels that came from the on-disk cache."""
compile_seconds = 0.0

_addresses: dict[str, dict[str, int]] = {}
_lock = threading.RLock()
_imported = time.time()
_libraries: list[Any] = []  # keeps what LLVM's own loader placed


def _after_fork() -> None:
    """In the child no thread holds the lock, whatever it was at the fork."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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


def is_stored(kernel: Kernel) -> bool:
    """Whether ``load`` would find the kernel without compiling it."""
    digest = cache.digest(environment(host()), kernel.name, kernel.key)
    return kernel.name in _addresses.get(kernel.key, ()) or cache.load(digest) is not None


def kernel_ir(kernel: Kernel) -> str:
    """The LLVM IR of a kernel for this machine."""
    return kernel.emit(host())


def kernel_assembly(kernel: Kernel) -> str:
    """The assembly of a kernel for this machine."""
    from luchina.compiler import llvm

    target = host()
    return llvm.compiler(target).assembly(kernel.emit(target))


def environment(target: Target) -> str:
    """Everything but the key that a kernel's code depends on."""
    return f"{_sources()} {_llvm_version()} {target.triple} {target.cpu} {target.features} {target.vector_bits}"


def _load_missing(kernels: Sequence[Kernel]) -> None:
    global loaded
    target = host()
    missing = {kernel.key: kernel for kernel in kernels if kernel.name not in _addresses.get(kernel.key, ())}
    here = environment(target)
    digests = {key: cache.digest(here, kernel.name, key) for key, kernel in missing.items()}
    codes: dict[str, bytes] = {}
    for key, digest in digests.items():
        if (stored := cache.load(digest)) is not None:
            codes[key] = stored
    loaded += len(codes)
    absent = [kernel for key, kernel in missing.items() if key not in codes]
    if absent:
        absent.sort(key=_seconds, reverse=True)  # the longest first, so that threads end together
        made = _compile(absent, target)
        codes |= made
        if not edited():
            for key, code in made.items():
                cache.store(digests[key], code)
        _prune_once()
    images = {key: Image.unpack(code[1:]) for key, code in codes.items() if code[:1] == _IMAGE}
    for key in codes.keys() - images.keys():
        _addresses[key] = _place_object(missing[key], codes[key][1:])
    _addresses.update(zip(images, place(list(images.values()))))


def _seconds(kernel: Kernel) -> tuple[bool, int]:
    """What compiling a kernel takes, as an order: loops take less than what has tiles, and long ones more."""
    return not kernel.key.startswith("loop"), len(kernel.key)


@functools.cache
def _prune_once() -> None:
    """Keep the cache's directory bounded; looked at once in a process, and only if it compiled something."""
    cache.prune()


def _compile(kernels: Sequence[Kernel], target: Target) -> dict[str, bytes]:
    """What is cached under each kernel's key: ``_IMAGE`` and a linked image, or ``_OBJECT`` and an object."""
    global compiled, compile_seconds
    from luchina.compiler import elf, llvm

    start = time.perf_counter()
    try:
        objects = llvm.compile_all(target, (kernel.emit(target) for kernel in kernels))
    except llvm.Refused as error:
        raise RuntimeError(f"LLVM refuses {kernels[getattr(error, 'index', 0)]!r}: {error}") from None
    result = {}
    for kernel, data in zip(kernels, objects):
        try:
            result[kernel.key] = _IMAGE + elf.link(data).pack()
        except elf.CannotLink:
            result[kernel.key] = _OBJECT + data
    compiled += len(kernels)
    compile_seconds += time.perf_counter() - start
    return result


def _place_object(kernel: Kernel, data: bytes) -> dict[str, int]:
    """Load an object that ``elf.link`` does not take: other formats, other processors."""
    from luchina.compiler import llvm

    target = host()
    functions = llvm.compiler(target).functions(kernel.emit(target))
    library, addresses = llvm.load_object(target, f"{kernel.name}.{len(_libraries)}", data, functions)
    _libraries.append(library)
    return addresses


@functools.cache
def _sources() -> str:
    """A digest of the code generators' own text: whoever edits an emitter gets new kernels."""
    state = hashlib.blake2b(digest_size=16)
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        state.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    if edited():
        state.update(os.urandom(16))
    return state.hexdigest()


def edited() -> bool:
    """Whether an emitter was edited after this process had imported it, so that the text on disk is not what runs here.

    A kernel under the digest of the other text would be given parameters in an order that it does not know, and would
    read and write anywhere. A time in the future says nothing.
    """
    now = time.time()
    return any(_imported < path.stat().st_mtime <= now for path in Path(__file__).parent.rglob("*.py"))


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
