"""An emitter for functions on Python objects: borrowed and owned references, slots, tuples, the C interface."""

from __future__ import annotations

from collections.abc import Mapping

from luchina.compiler.ir import Emitter, Operand
from luchina.dispatch.objects import ITEMS, TYPE, WORD

NULL = Operand("ptr", "null")
SIGNATURE = "ptr %self, ptr %args, i64 %nargs, ptr %names"
"""Of a function that Python calls: what it is bound to, the arguments, how many are positional, the names of the
rest."""


class ObjectEmitter(Emitter):
    """Writes functions on Python objects. Their first parameter, ``%self``, is the tuple of what they are given.

    Args:
        context: what lies where in that tuple.
        offsets: where the slots of classes lie in their objects, by class and slot.
    """

    def __init__(self, context: Mapping[str, int], offsets: Mapping[tuple[str, str], int]) -> None:
        super().__init__()
        self.context = context
        self.offsets = offsets

    # ---- objects

    def api(self, name: str, *args: Operand, result: str = "ptr") -> Operand:
        """Call a function of Python's C interface."""
        return self.call(result, name, *args)

    def inner(self, name: str, *args: Operand, result: str = "ptr") -> Operand:
        """Call a function of the same module."""
        return self.inst(result, f"call {result} @{name}({', '.join(map(str, args))})")

    def incref(self, a: Operand) -> Operand:
        self.api("Py_IncRef", a, result="void")
        return a

    def decref(self, a: Operand) -> None:
        """Give a reference back; nothing happens for null."""
        self.api("Py_DecRef", a, result="void")

    def at(self, base: Operand, offset: int) -> Operand:
        return self.inst("ptr", f"getelementptr i8, {base}, i64 {offset}")

    def word(self, base: Operand, offset: int) -> Operand:
        """The object that lies ``offset`` bytes into another; a borrowed reference."""
        return self.load("ptr", self.at(base, offset), 8)

    def item(self, pair: Operand, index: int | Operand) -> Operand:
        """An item of a tuple, borrowed."""
        if isinstance(index, int):
            return self.word(pair, ITEMS + WORD * index)
        return self.load("ptr", self.gep("ptr", self.at(pair, ITEMS), index), 8)

    def given(self, name: str) -> Operand:
        """An object of the context, borrowed."""
        return self.item(Operand("ptr", "%self"), self.context[name])

    def kind(self, a: Operand) -> Operand:
        """The object's type."""
        return self.word(a, TYPE)

    def slot(self, a: Operand, cls: str, name: str) -> Operand:
        return self.word(a, self.offsets[cls, name])

    def put(self, a: Operand, cls: str, name: str, held: Operand) -> None:
        """Set a slot of a new object, which takes over the reference."""
        self.store(held, self.at(a, self.offsets[cls, name]), 8)

    def fill(self, made: Operand, cls: str, slots: Mapping[str, Operand]) -> None:
        """Set slots of a new object, which gets references of its own."""
        for name, held in slots.items():
            self.put(made, cls, name, self.incref(held))

    def integer(self, number: Operand) -> Operand:
        """A Python int as a machine's; the caller knows that it fits."""
        return self.api("PyLong_AsLong", number, result="i64")

    def is_(self, a: Operand, name: str) -> Operand:
        """Whether it is this very object of the context."""
        return self.icmp("eq", a, self.given(name))

    def any_of(self, *conditions: Operand) -> Operand:
        found = conditions[0]
        for each in conditions[1:]:
            found = self.bin("or", found, each)
        return found

    # ---- control

    def unless(self, cond: Operand, other: str) -> None:
        """Go on if ``cond`` holds, else at the label ``other``."""
        name = self.fresh("C")
        self.cond_br(cond, name, other)
        self.label(name)

    def present(self, a: Operand, other: str) -> Operand:
        """The object; at the label ``other`` if it is null."""
        self.unless(self.icmp("ne", a, NULL), other)
        return a

    def split(self, cond: Operand, yes: str, no: str) -> None:
        """To the label ``yes`` or ``no``, and go on writing at ``yes``."""
        self.cond_br(cond, yes, no)
        self.label(yes)

    def cell(self, type_: str = "ptr", first: Operand = NULL) -> Operand:
        """Room for one value on the stack."""
        place = self.inst("ptr", f"alloca {type_}")
        self.store(first, place, 8)
        return place

    def array(self, count: int) -> Operand:
        """Room for pointers on the stack, null at first."""
        place = self.inst("ptr", f"alloca [{count} x ptr]")
        self.raw(f"store [{count} x ptr] zeroinitializer, {place}, align 8")
        return place

    def ret(self, a: Operand) -> None:
        self.raw(f"ret {a}")

    def finished(self, name: str, signature: str = SIGNATURE, result: str = "ptr", internal: bool = False) -> str:
        """The text of the function; every block has been ended."""
        body = "\n".join(self.lines)
        linkage = "internal " if internal else ""
        return f"define {linkage}{result} @{name}({signature}) nounwind {{\nentry:\n{body}\n}}\n"
