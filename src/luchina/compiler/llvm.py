"""Text of LLVM IR to object code, on several cores.

llvmlite holds one lock round every call of LLVM. LLVM itself needs none between threads that share no context and no
target machine, so code generation, where nearly all the time goes, is called here without that lock: each thread has a
context and a machine of its own. Everything else goes llvmlite's way.
"""

from __future__ import annotations

import ctypes
import functools
import os
import queue
import threading
from collections.abc import Iterable, Sequence

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from luchina.compiler.target import Target

MAX_THREADS = 4


class Refused(RuntimeError):
    """LLVM does not take the text: a fault in an emitter."""


class Compiler:
    """A context and a target machine, for one thread at a time: a thread that an interrupted call left behind may still
    be busy with it."""

    def __init__(self, target: Target) -> None:
        self._machine = _new_machine(target)
        self._context = llvm.create_context()
        self._busy = threading.Lock()

    def object_code(self, text: str) -> bytes:
        """The relocatable object of a module.

        Raises:
            Refused: if the text cannot be parsed, is not well formed or cannot be compiled.
        """
        with self._busy:
            return self._emit(self._parse(text))

    def _emit(self, module: llvm.ModuleRef) -> bytes:
        emit = getattr(getattr(ffi.lib, "_lib_handle", None), "LLVMPY_TargetMachineEmitToMemory", None)
        if emit is None:  # another llvmlite than the one this was written for: go through its lock
            return self._machine.emit_object(module)
        with ffi.OutputString() as error:
            buffer = emit(self._machine, module, 1, error)
            if not buffer:
                raise Refused(str(error))
        try:
            return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
        finally:
            ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)

    def assembly(self, text: str) -> str:
        """The assembly of a module."""
        with self._busy:
            return self._machine.emit_assembly(self._parse(text))

    def functions(self, text: str) -> list[str]:
        """Names of the functions that a module defines."""
        with self._busy:
            return [f.name for f in self._parse(text).functions if not f.is_declaration]

    def _parse(self, text: str) -> llvm.ModuleRef:
        try:
            module = llvm.parse_assembly(text, context=self._context)
            module.verify()
        except RuntimeError as error:
            raise Refused(str(error)) from None
        return module


def compile_all(target: Target, texts: Iterable[str]) -> list[bytes]:
    """Objects of all modules, in order. The calling thread takes the texts (and so makes them), others compile.

    LLVM is not called from the calling thread: Python raises an interrupt (Ctrl-C) in the main thread only, and one
    that came while llvmlite holds its lock would leave it locked for good. An interrupted call returns at once; its
    threads end after the module that they are at.

    Raises:
        Refused: as ``Compiler.object_code``; its ``index`` says which text.
    """
    waiting: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, bytes | Exception]] = queue.SimpleQueue()
    stopped = threading.Event()

    def work(number: int) -> None:
        while (task := waiting.get()) is not None and not stopped.is_set():
            index, text = task
            try:
                done.put((index, _compiler(target, number).object_code(text)))
            except Exception as error:
                done.put((index, error))

    threads = count = 0
    results: dict[int, bytes] = {}
    failures: dict[int, Exception] = {}
    try:
        for count, text in enumerate(texts, 1):
            waiting.put((count - 1, text))
            if threads < min(MAX_THREADS, os.cpu_count() or 1):
                threading.Thread(target=work, args=(threads,), daemon=True).start()
                threads += 1
        for _ in range(count):
            index, result = done.get()
            if isinstance(result, Exception):
                failures[index] = result
                break
            results[index] = result
    finally:
        stopped.set()
        for _ in range(threads):
            waiting.put(None)
    if failures:
        index, failure = failures.popitem()
        failure.index = index  # type: ignore[attr-defined]
        raise failure
    return [results[index] for index in range(count)]


@functools.cache
def _compiler(target: Target, number: int) -> Compiler:
    return Compiler(target)


def compiler(target: Target) -> Compiler:
    """The calling thread's compiler."""
    return _compiler(target, 0)


@functools.cache
def jit_engine(target: Target) -> llvm.LLJIT:
    """LLVM's own loader of objects."""
    return llvm.create_lljit_compiler(_new_machine(target))


def load_object(target: Target, name: str, data: bytes, functions: Sequence[str]) -> tuple[object, dict[str, int]]:
    """Place an object with LLVM's own loader; gives what keeps it alive and its functions' addresses."""
    builder = llvm.JITLibraryBuilder().add_object_img(data).add_current_process()
    for function in functions:
        builder.export_symbol(function)
    library = builder.link(jit_engine(target), name)
    return library, {function: library[function] for function in functions}


def _new_machine(target: Target) -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )
