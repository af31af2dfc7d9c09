"""From LLVM's relocatable object (ELF, x86-64) to an ``Image``: a linker for the little that kernels contain.

Sections are laid one after the other, so every reference inside the image is resolved here. A call of a C function goes
through a stub that jumps to the address in a slot, which the loader fills in.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from luchina.runtime.image import Image

_X86_64 = 62
_SYMTAB, _RELA, _NOBITS = 2, 4, 8
_WRITE, _ALLOC = 1, 2
_ABS64, _PC32, _PLT32, _GOTPCREL, _PC64, _GOTPCRELX, _REX_GOTPCRELX = 1, 2, 4, 9, 24, 41, 42
_JUMP_TO_SLOT = b"\xff\x25"  # jmp *rel32(%rip)


class CannotLink(Exception):
    """The object contains something that this linker does not know; LLVM's own loader has to take it."""


class _Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int


class _Symbol(NamedTuple):
    name: str
    info: int
    section: int
    value: int


def link(data: bytes) -> Image:
    """Resolve a relocatable object.

    Raises:
        CannotLink: for another machine's object, writable data or an unknown relocation.
    """
    if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 18)[0] != _X86_64:
        raise CannotLink("not an x86-64 ELF object")
    table = struct.unpack_from("<Q", data, 40)[0]
    count = struct.unpack_from("<H", data, 60)[0]
    sections = [_Section(*struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i)) for i in range(count)]
    names = sections[struct.unpack_from("<H", data, 62)[0]]

    code = bytearray()
    placed: dict[int, int] = {}
    for number, section in enumerate(sections):
        name = _text(data, names.offset + section.name)
        if not section.flags & _ALLOC or not section.size or name == ".eh_frame":
            continue
        if section.type == _NOBITS or (section.flags & _WRITE and not name.startswith(".data.rel.ro")):
            raise CannotLink(f"writable section {name}")
        _pad(code, max(16, section.align))
        placed[number] = len(code)
        code += data[section.offset : section.offset + section.size]
    symbols = _symbols(data, sections)
    return _relocate(data, sections, symbols, placed, code)


def _relocate(
    data: bytes, sections: list[_Section], symbols: list[_Symbol], placed: dict[int, int], code: bytearray
) -> Image:
    slots: dict[_Symbol, int] = {}
    stubs: dict[_Symbol, int] = {}
    imports: list[tuple[int, str]] = []
    relative: list[tuple[int, int]] = []

    def here(symbol: _Symbol) -> int | None:
        """Offset of a symbol of this object; ``None`` for one that is imported."""
        if symbol.section == 0:
            return None
        if symbol.section not in placed:
            raise CannotLink(f"symbol {symbol.name!r} outside the image")
        return placed[symbol.section] + symbol.value

    def slot(symbol: _Symbol) -> int:
        if symbol not in slots:
            _pad(code, 8)
            slots[symbol] = len(code)
            code.extend(bytes(8))
            at = here(symbol)
            if at is None:
                imports.append((slots[symbol], symbol.name))
            else:
                relative.append((slots[symbol], at))
        return slots[symbol]

    def stub(symbol: _Symbol) -> int:
        if symbol not in stubs:
            target = slot(symbol)
            stubs[symbol] = len(code)
            code.extend(_JUMP_TO_SLOT + struct.pack("<i", target - len(code) - 6))
        return stubs[symbol]

    for section in sections:
        if section.type != _RELA or section.info not in placed:
            continue
        for at in range(section.offset, section.offset + section.size, 24):
            offset, info, addend = struct.unpack_from("<QQq", data, at)
            place, symbol, kind = placed[section.info] + offset, symbols[info >> 32], info & 0xFFFFFFFF
            target = here(symbol)
            if kind == _ABS64:
                if target is None:
                    imports.append((place, symbol.name))
                else:
                    relative.append((place, target + addend))
            elif kind in (_PC32, _PLT32):
                struct.pack_into("<i", code, place, (stub(symbol) if target is None else target) + addend - place)
            elif kind == _PC64 and target is not None:
                struct.pack_into("<q", code, place, target + addend - place)
            elif kind in (_GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX):
                struct.pack_into("<i", code, place, slot(symbol) + addend - place)
            else:
                raise CannotLink(f"relocation {kind} of {symbol.name!r}")
    exports = {s.name: placed[s.section] + s.value for s in symbols if s.info >> 4 and s.section in placed}
    return Image(bytes(code), exports, imports, relative)


def _symbols(data: bytes, sections: list[_Section]) -> list[_Symbol]:
    for section in sections:
        if section.type == _SYMTAB:
            strings = sections[section.link].offset
            found = []
            for at in range(section.offset, section.offset + section.size, 24):
                name, info, _, index, value, _ = struct.unpack_from("<IBBHQQ", data, at)
                found.append(_Symbol(_text(data, strings + name), info, index, value))
            return found
    raise CannotLink("no symbols")


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def _pad(code: bytearray, align: int) -> None:
    code.extend(bytes(-len(code) % align))
