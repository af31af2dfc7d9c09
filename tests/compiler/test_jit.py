"""From a kernel's text to a running function: compiling, caching, linking, refusing."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from luchina.compiler import elf, jit, target
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.runtime import cache, image

# Adds a constant from memory (a relocation), calls a C function (a stub) and picks from a table of pointers.
TEXT = """
target triple = "{triple}"
@addend = private constant <4 x float> <float {value}, float {value}, float {value}, float {value}>
@words = private constant [2 x i64] [i64 7, i64 9]
@table = private constant [2 x ptr] [ptr @words, ptr getelementptr ([2 x i64], ptr @words, i64 0, i64 1)]
declare double @log1p(double)
define void @{name}(ptr %table, ptr %params, i64 %lo, i64 %hi, ptr %scratch) nounwind {{
  %x = load <4 x float>, ptr %table, align 4
  %c = load <4 x float>, ptr @addend
  %y = fadd <4 x float> %x, %c
  store <4 x float> %y, ptr %table, align 4
  %d = load double, ptr %params
  %l = call double @log1p(double %d)
  store double %l, ptr %params
  %entry = getelementptr [2 x ptr], ptr @table, i64 0, i64 %lo
  %word = load ptr, ptr %entry
  %number = load i64, ptr %word
  store i64 %number, ptr %scratch
  ret void
}}
"""


def make(key: str, value: float = 1.5, name: str | None = None) -> Kernel:
    name = name or kernel_name(key)
    return Kernel(name, key, lambda t: TEXT.format(triple=t.triple, name=name, value=value))


def run(address: int) -> tuple[list[float], float, int]:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    floats, double, word = (ctypes.c_float * 4)(1, 2, 3, 4), ctypes.c_double(1.0), ctypes.c_int64()
    function = ctypes.CFUNCTYPE(None, pointer, pointer, number, number, pointer)(address)
    function(ctypes.addressof(floats), ctypes.addressof(double), 1, 0, ctypes.addressof(word))
    return list(floats), double.value, word.value


EXPECTED = ([2.5, 3.5, 4.5, 5.5], 0.6931471805599453, 9)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LUCHINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "_addresses", {})
    return tmp_path / "cache"


def counts() -> tuple[int, int]:
    return jit.compiled, jit.loaded


def load_counted(*kernels: Kernel) -> tuple[list[int], int, int]:
    compiled, loaded = counts()
    addresses = jit.load(kernels)
    return addresses, jit.compiled - compiled, jit.loaded - loaded


def forget(monkeypatch) -> None:
    """As if this were a new process."""
    monkeypatch.setattr(jit, "_addresses", {})


def test_compiled_code_runs():
    (address,), compiled, loaded = load_counted(make("runs"))
    assert (compiled, loaded) == (1, 0)
    assert run(address) == EXPECTED


def test_each_place_is_asked_in_turn(monkeypatch):
    kernels = [make("turn a"), make("turn b", 2.5)]
    first, compiled, loaded = load_counted(*kernels)
    assert (compiled, loaded) == (2, 0)
    again, compiled, loaded = load_counted(*kernels)
    assert (compiled, loaded) == (0, 0) and again == first
    forget(monkeypatch)
    fresh, compiled, loaded = load_counted(*kernels)
    assert (compiled, loaded) == (0, 2)
    assert run(fresh[0]) == EXPECTED
    assert run(fresh[1])[0] == [3.5, 4.5, 5.5, 6.5]


def test_the_same_kernel_twice_in_one_call_is_compiled_once():
    addresses, compiled, _ = load_counted(make("twice"), make("twice"))
    assert compiled == 1 and addresses[0] == addresses[1]


def entries(root) -> list:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
        lambda data: b"NOTOURS!" + data[8:],
        lambda data: data[:8] + bytes([data[8] ^ 1]) + data[9:],
        lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:],
    ],
    ids=["truncated", "header only", "empty", "longer", "bit flipped", "foreign", "length", "key"],
)
def test_a_damaged_entry_is_recompiled(own_cache, monkeypatch, damage):
    jit.load([make("damage")])
    (path,) = entries(own_cache)
    path.write_bytes(damage(path.read_bytes()))
    forget(monkeypatch)
    (address,), compiled, loaded = load_counted(make("damage"))
    assert (compiled, loaded) == (1, 0)
    assert run(address) == EXPECTED
    forget(monkeypatch)
    assert load_counted(make("damage"))[1:] == (0, 1), "the good entry has replaced the damaged one"


def test_an_entry_under_a_wrong_name_is_not_loaded(own_cache, monkeypatch):
    jit.load([make("one"), make("two", 9.5)])
    a, b = entries(own_cache)
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    forget(monkeypatch)
    addresses, compiled, loaded = load_counted(make("one"), make("two", 9.5))
    assert (compiled, loaded) == (2, 0)
    assert run(addresses[0]) == EXPECTED


@pytest.mark.parametrize("part", ["cpu", "features"])
def test_another_machine_gets_its_own_entry(monkeypatch, part):
    jit.load([make("machine")])
    forget(monkeypatch)
    here = jit.environment(target.host())
    monkeypatch.setattr(jit, "environment", lambda t: here.replace(t.cpu, "other-cpu") + part)
    assert load_counted(make("machine"))[1:] == (1, 0)


def test_the_environment_names_everything():
    row = target.host()
    text = jit.environment(row)
    assert row.cpu in text and row.triple in text and jit._sources() in text and jit._llvm_version() in text


def test_what_an_older_text_compiled_is_not_kept_under_the_newer_one(tmp_path):
    package = tmp_path / "luchina"
    shutil.copytree(Path(jit.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in package.rglob("*"):
        os.utime(path, (1e9, 1e9))
    text = """
import os, sys
import luchina
from luchina.compiler import jit, loops
if "edit" in sys.argv:
    with open(loops.__file__, "a") as file:
        file.write("# edited while this process runs")
assert (luchina.arange(5.0) * 2).sum().item() == 20
print(jit.loaded, jit.compiled)
"""

    def process(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", text, *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        return [int(word) for word in done.stdout.split()]

    loaded, compiled = process("edit")
    assert loaded == 0 < compiled
    for path in package.rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert process() == [0, compiled]
    assert process() == [compiled, 0]


def test_without_a_directory_nothing_is_kept(monkeypatch):
    monkeypatch.setenv("LUCHINA_CACHE", "off")
    assert run(jit.load([make("off")])[0]) == EXPECTED
    forget(monkeypatch)
    assert load_counted(make("off"))[1:] == (1, 0)


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    monkeypatch.setenv("LUCHINA_CACHE", str(blocked / "cache"))
    assert run(jit.load([make("blocked")])[0]) == EXPECTED


def test_a_full_disk_is_no_error_and_leaves_nothing(own_cache, monkeypatch):
    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert run(jit.load([make("full")])[0]) == EXPECTED
    assert entries(own_cache) == []


def test_text_that_llvm_refuses_is_named():
    bad = Kernel("bad", "bad text", lambda t: "define void @bad() { ret i32 0 }")
    with pytest.raises(RuntimeError, match="LLVM refuses <Kernel bad: bad text>"):
        jit.load([bad])
    broken = Kernel(
        "b", "broken", lambda t: "define i32 @b() {\n %x = add i32 %y, 1\n %y = add i32 1, 1\n ret i32 %x\n}"
    )
    with pytest.raises(RuntimeError, match="LLVM refuses"):
        jit.load([broken])


def test_many_kernels_compile_on_several_threads_as_one_by_one(monkeypatch):
    from luchina.compiler import llvm  # not above: a warm process imports this file

    machine = target.host()
    texts = [make(f"many {i}", i / 4).emit(machine) for i in range(40)]
    one_by_one = [llvm.Compiler(machine).object_code(text) for text in texts]
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert llvm.compile_all(machine, iter(texts)) == one_by_one
    assert llvm.compile_all(machine, []) == []


def test_the_refused_kernel_of_many_is_named_and_the_others_compile_later():
    kernels = [make(f"among {i}") for i in range(12)]
    kernels[7] = Kernel("bad", "the bad one", lambda t: "define void @bad() { ret i32 0 }")
    with pytest.raises(RuntimeError, match="LLVM refuses <Kernel bad: the bad one>"):
        jit.load(kernels)
    del kernels[7]
    assert all(run(address) == EXPECTED for address in jit.load(kernels))


def test_an_emitter_that_fails_lets_its_own_error_through():
    def fail(t):
        raise ZeroDivisionError("in the emitter")

    with pytest.raises(ZeroDivisionError, match="in the emitter"):
        jit.load([make("before"), make("before too"), Kernel("f", "failing", fail)])
    assert run(jit.load([make("before")])[0]) == EXPECTED


def test_a_function_that_no_library_has():
    name = "luchina_no_such_function"
    text = f"declare void @{name}()\ndefine void @f() {{\n call void @{name}()\n ret void\n}}"
    with pytest.raises(RuntimeError, match="luchina_no_such_function"):
        jit.load([Kernel("f", text, lambda t: text)])


def test_ir_and_assembly_can_be_read():
    kernel = make("listing")
    assert f"define void @{kernel.name}" in jit.kernel_ir(kernel)
    assert "log1p" in jit.kernel_assembly(kernel)


def test_a_warm_process_does_not_load_llvm(own_cache):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_jit as t; from luchina.compiler import jit;"
        "print(t.run(jit.load([t.make('warm')])[0]) == t.EXPECTED, jit.compiled, 'llvmlite' in sys.modules)"
    )
    command = [sys.executable, "-c", program, os.path.dirname(__file__)]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    assert outputs == [["True", "1", "True"], ["True", "0", "False"]]


def test_llvms_own_loader_takes_what_the_linker_does_not(monkeypatch):
    def refuse(data):
        raise elf.CannotLink("for the test")

    monkeypatch.setattr(elf, "link", refuse)
    kernels = [make("object a"), make("object b")]
    addresses, compiled, _ = load_counted(*kernels)
    assert compiled == 2 and [run(a) for a in addresses] == [EXPECTED] * 2
    forget(monkeypatch)
    addresses, compiled, loaded = load_counted(*kernels)
    assert (compiled, loaded) == (0, 2) and run(addresses[0]) == EXPECTED


def test_writable_data_is_not_linked():
    text = "@x = global i64 5\ndefine i64 @f() {\n %v = load i64, ptr @x\n store i64 6, ptr @x\n ret i64 %v\n}"
    from luchina.compiler import llvm

    kernel = Kernel("f", text, lambda t: f'target triple = "{t.triple}"\n{text}')
    data = llvm.compiler(target.host()).object_code(kernel.emit(target.host()))
    with pytest.raises(elf.CannotLink, match="writable"):
        elf.link(data)


def test_an_image_survives_packing():
    original = image.Image(b"code" * 9, {"f": 0, "g": 16}, [(8, "log1p")], [(24, 3)])
    assert image.Image.unpack(original.pack()) == original


def test_digest_separates_its_parts():
    assert cache.digest("ab", "c") != cache.digest("a", "bc")


class TestTarget:
    def test_lanes(self):
        avx2, avx512 = target.TARGETS["avx2"], target.TARGETS["avx512"]
        assert [avx2.lanes(d) for d in ("float64", "float32", "bfloat16", "int64", "uint8")] == [4, 8, 8, 4, 32]
        assert avx512.lanes("float32") == 16

    def test_the_widest_row_that_the_flags_allow(self):
        v3 = frozenset(["avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe", "sse2"])
        v4 = v3 | frozenset(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])
        rows = [row for row in target.TARGETS.values() if row.arch == "x86_64"]

        def best(flags):
            return next(row.name for row in rows if target._supports(row, flags))

        assert best(v4) == "avx512"
        assert best(v4 - {"avx512bw"}) == "avx2"
        assert best(v3) == "avx2"
        assert best(v3 - {"fma"}) == "sse2"

    def test_a_lower_row_can_be_asked_for(self, monkeypatch):
        monkeypatch.setenv("LUCHINA_TARGET", "avx1024")
        target.host.cache_clear()
        try:
            with pytest.raises(RuntimeError, match="LUCHINA_TARGET=avx1024: this machine supports"):
                target.host()
            lowest = [row for row in target.TARGETS.values() if row.arch == "x86_64"][-1].name
            monkeypatch.setenv("LUCHINA_TARGET", lowest)
            if sys.platform == "linux" and os.uname().machine == "x86_64":
                assert target.host().name == lowest
        finally:
            monkeypatch.delenv("LUCHINA_TARGET")
            target.host.cache_clear()
