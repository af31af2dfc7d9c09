"""LLVM IR as text: one small writer that every kernel family shares.

A kernel is written straight in SSA form, already vectorised, so that LLVM only has to select instructions: no
optimisation pipeline runs over it, which is what keeps compilation in milliseconds. Text is some ten times cheaper
to produce than a tree of builder objects.

A value is an ``Operand``: its LLVM type and its spelling (``%12``, ``3``, ``0x3FF0000000000000``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

# How each luchina dtype lies in memory. bfloat16 is carried as its 16 bits: not every back end knows the type.
STORAGE_TYPE = {
    "float64": "double",
    "float32": "float",
    "float16": "half",
    "bfloat16": "i16",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint8": "i8",
    "bool": "i8",
}

KERNEL_SIGNATURE = "ptr %table, ptr %params, i64 %lo, i64 %hi, ptr %scratch"


class Operand(NamedTuple):
    """A typed SSA operand."""

    type: str
    text: str

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


def lanes_of(type_: str) -> int:
    """Number of lanes of an LLVM type: 1 for a scalar."""
    return int(type_[1 : type_.index(" ")]) if type_.startswith("<") else 1


def element_of(type_: str) -> str:
    """Element type of a vector type; a scalar type is its own element."""
    return type_[type_.index("x") + 2 : -1] if type_.startswith("<") else type_


def vector(element: str, lanes: int) -> str:
    """``<lanes x element>``, or the element itself for one lane."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def float_text(value: float, element: str) -> str:
    """Spelling of a floating constant: LLVM wants the bits of the double (of a half, for ``half``)."""
    if element == "half":
        return f"0xH{struct.unpack('<H', struct.pack('<e', value))[0]:04X}"
    if element == "float":
        try:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


class Emitter:
    """Writes the body of one function.

    Methods that compute something append one instruction and return its ``Operand``. Control flow that every
    kernel needs (counted loops, conditionals) is a context manager; what it carries round the loop is given as a list
    of initial operands and set with ``loop.next``.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declarations: dict[str, str] = {}
        self.exact: set[str] = set()  # values that a bfloat16 holds without rounding
        self.clean: set[str] = set()  # values that are no NaN, or one whose lower 16 bits are 0
        self.block = "entry"
        self._count = 0

    # ---- names and raw instructions

    def fresh(self, hint: str = "") -> str:
        """A name not used before in this function."""
        self._count += 1
        return f"{hint}{self._count}"

    def raw(self, line: str) -> None:
        self.lines.append("  " + line)

    def inst(self, type_: str, text: str) -> Operand:
        """Append ``%n = text`` and return it as an operand of ``type_``."""
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f"  {name} = {text}")
        return Operand(type_, name)

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    def br(self, name: str) -> None:
        self.raw(f"br label %{name}")

    def cond_br(self, cond: Operand, yes: str, no: str) -> None:
        self.raw(f"br i1 {cond.text}, label %{yes}, label %{no}")

    def phi(self, type_: str, incoming: list[tuple[Operand, str]]) -> Operand:
        arms = ", ".join(f"[ {value.text}, %{block} ]" for value, block in incoming)
        return self.inst(type_, f"phi {type_} {arms}")

    # ---- constants

    def i64(self, value: int) -> Operand:
        return Operand("i64", str(value))

    def const(self, type_: str, value: float | int) -> Operand:
        """A constant of any scalar or vector type; a vector constant is the splat of ``value``."""
        element = element_of(type_)
        if element in ("float", "double", "half"):
            text = float_text(float(value), element)
        elif element == "i1":
            text = "true" if value else "false"
        else:
            bits = int(element[1:])
            value = int(value) & ((1 << bits) - 1)
            text = str(value - (1 << bits) if value >> (bits - 1) else value)
        if type_ != element:
            text = "<" + ", ".join([f"{element} {text}"] * lanes_of(type_)) + ">"
        return Operand(type_, text)

    # ---- arithmetic: the opcode is LLVM's

    def bin(self, opcode: str, a: Operand, b: Operand) -> Operand:
        """``add sub mul fadd fsub fmul fdiv and or xor shl lshr ashr sdiv srem …`` on two operands of one type."""
        return self.inst(a.type, f"{opcode} {a.type} {a.text}, {b.text}")

    def add(self, a: Operand, b: Operand | int) -> Operand:
        return self._int("add", a, b)

    def sub(self, a: Operand, b: Operand | int) -> Operand:
        return self._int("sub", a, b)

    def mul(self, a: Operand, b: Operand | int) -> Operand:
        return self._int("mul", a, b)

    def _int(self, opcode: str, a: Operand, b: Operand | int) -> Operand:
        if isinstance(b, int):
            if (b == 0 and opcode != "mul") or (b == 1 and opcode == "mul"):
                return a
            b = self.const(a.type, b)
        return self.bin(opcode, a, b)

    def icmp(self, predicate: str, a: Operand, b: Operand) -> Operand:
        return self.inst(vector("i1", lanes_of(a.type)), f"icmp {predicate} {a.type} {a.text}, {b.text}")

    def fcmp(self, predicate: str, a: Operand, b: Operand) -> Operand:
        return self.inst(vector("i1", lanes_of(a.type)), f"fcmp {predicate} {a.type} {a.text}, {b.text}")

    def select(self, cond: Operand, a: Operand, b: Operand) -> Operand:
        return self.inst(a.type, f"select {cond}, {a}, {b}")

    def cast(self, opcode: str, a: Operand, element: str) -> Operand:
        """``fpext fptrunc sitofp uitofp fptosi fptoui sext zext trunc bitcast`` lane by lane."""
        to = vector(element, lanes_of(a.type))
        return a if to == a.type else self.inst(to, f"{opcode} {a} to {to}")

    def call(self, type_: str, name: str, *args: Operand) -> Operand:
        """Call (and declare) a function, for instance an intrinsic: ``e.call(t, "llvm.fma.v8f32", a, b, c)``."""
        self.declarations[name] = f"declare {type_} @{name}({', '.join(a.type for a in args)})"
        text = f"call {type_} @{name}({', '.join(map(str, args))})"
        if type_ == "void":
            self.raw(text)
            return Operand("void", "")
        return self.inst(type_, text)

    def intrinsic(self, name: str, *args: Operand) -> Operand:
        """An overloaded intrinsic whose result and mangling are the first argument's type: ``fma``, ``sqrt`` …"""
        return self.call(args[0].type, f"llvm.{name}.{mangle(args[0].type)}", *args)

    # ---- vectors and memory

    def splat(self, a: Operand, lanes: int) -> Operand:
        if lanes == 1:
            return a
        if a.type == "i1":  # LLVM's selection of a broadcast bit is slow, and for 128 lanes does not end
            whole = self.splat(self.cast("sext", a, "i8"), lanes)
            return self.icmp("slt", whole, self.const(whole.type, 0))
        wide = vector(a.type, lanes)
        one = self.inst(wide, f"insertelement {wide} poison, {a}, i64 0")
        return self.inst(wide, f"shufflevector {wide} {one.text}, {wide} poison, <{lanes} x i32> zeroinitializer")

    def extract(self, a: Operand, lane: int) -> Operand:
        return self.inst(element_of(a.type), f"extractelement {a}, i64 {lane}")

    def insert(self, a: Operand, b: Operand, lane: int) -> Operand:
        return self.inst(a.type, f"insertelement {a}, {b}, i64 {lane}")

    def gep(self, element: str, base: Operand, index: Operand | int) -> Operand:
        """Address of ``base[index]`` for elements of type ``element``."""
        index = self.i64(index) if isinstance(index, int) else index
        return self.inst("ptr", f"getelementptr {element}, {base}, {index}")

    def load(self, type_: str, pointer: Operand, align: int = 1) -> Operand:
        return self.inst(type_, f"load {type_}, {pointer}, align {align}")

    def store(self, value: Operand, pointer: Operand, align: int = 1) -> None:
        self.raw(f"store {value}, {pointer}, align {align}")

    # ---- control flow

    @contextmanager
    def loop(
        self, start: Operand, stop: Operand, step: Operand | int = 1, carry: list[Operand] | None = None
    ) -> Iterator[Loop]:
        """``for i in range(start, stop, step)``, tested before the first turn; ``step`` is positive.

        Inside, ``loop.index`` is the counter and ``loop.carried`` the values carried round; end the body with
        ``loop.next = [...]``. After the block ``loop.carried`` are the final values.
        """
        step = self.i64(step) if isinstance(step, int) else step
        name = self.fresh("L")
        before = self.block
        self.br(f"{name}.head")
        self.label(f"{name}.head")
        head_at = len(self.lines)
        loop = Loop(self.inst(start.type, ""), [self.inst(c.type, "") for c in carry or []])
        self.cond_br(self.icmp("slt", loop.index, stop), f"{name}.body", f"{name}.end")
        self.label(f"{name}.body")
        yield loop
        following = self.add(loop.index, step)
        after = self.block
        self.br(f"{name}.head")
        pairs = [(loop.index, start, following)]
        pairs += list(zip(loop.carried, carry or [], loop.next, strict=True))
        for at, (phi, first, later) in enumerate(pairs):
            self.lines[head_at + at] = (
                f"  {phi.text} = phi {phi.type} [ {first.text}, %{before} ], [ {later.text}, %{after} ]"
            )
        self.label(f"{name}.end")

    @contextmanager
    def when(self, cond: Operand) -> Iterator[None]:
        """``if cond:`` for its effects (stores) only."""
        name = self.fresh("I")
        self.cond_br(cond, f"{name}.then", f"{name}.end")
        self.label(f"{name}.then")
        yield
        self.br(f"{name}.end")
        self.label(f"{name}.end")

    # ---- the finished function

    def function(self, name: str, signature: str = KERNEL_SIGNATURE, attributes: str = "nounwind") -> str:
        """Text of a whole function; the body must not have been ended with ``ret`` yet."""
        body = "\n".join(self.lines)
        return f"define void @{name}({signature}) {attributes} {{\nentry:\n{body}\n  ret void\n}}\n"


class Loop:
    """What a counted loop carries; see ``Emitter.loop``."""

    def __init__(self, index: Operand, carried: list[Operand]) -> None:
        self.index = index
        self.carried = carried
        self.next: list[Operand] = []


def mangle(type_: str) -> str:
    """LLVM's suffix for an overloaded intrinsic: ``<8 x float>`` is ``v8f32``."""
    names = {"float": "f32", "double": "f64", "half": "f16", "ptr": "p0"}
    element = element_of(type_)
    name = names.get(element, element)
    return name if type_ == element else f"v{lanes_of(type_)}{name}"


def module(functions: list[str], declarations: dict[str, str], triple: str) -> str:
    """A module's text: the functions with every declaration that they use."""
    head = f'target triple = "{triple}"\n'
    return head + "\n".join(declarations.values()) + "\n\n" + "\n".join(functions)
