"""A kernel of several functions: parts that are compiled well, and a driver that calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from luchina.compiler.ir import Emitter, Operand, module

if TYPE_CHECKING:
    from luchina.compiler.target import Target


class Parts:
    """Writes a module. Subclasses give ``parts`` (name, what emits it, its signature) and ``driver``, the kernel."""

    def __init__(self, name: str, target: Target) -> None:
        self.name, self.target = name, target

    def parts(self) -> dict[str, tuple[Callable[[], None], str]]:
        """The functions beside the kernel."""
        raise NotImplementedError

    def driver(self) -> None:
        """The kernel itself; with parts, nothing in it may be hot: it is compiled plainly, in a tenth of the time."""
        raise NotImplementedError

    def call(self, part: str, *args: Operand) -> None:
        self.e.raw(f"call void @{self.name}.{part}({', '.join(map(str, args))})")

    def text(self) -> str:
        functions: list[str] = []
        declarations: dict[str, str] = {}
        parts = self.parts()
        for part, (emit, signature) in parts.items():
            self.e = Emitter()
            emit()
            text = self.e.function(f"{self.name}.{part}", signature)
            functions.append(text.replace("define void", "define internal void", 1))
            declarations |= self.e.declarations
        self.e = Emitter()
        self.driver()
        functions.append(self.e.function(self.name, attributes="nounwind noinline optnone" if parts else "nounwind"))
        return module(functions, declarations | self.e.declarations, self.target.triple)
