"""float16 on devices that do not have it: 16 bits of memory, converted to float32 and back by integer arithmetic.

Rounding is to nearest, ties to even. No step meets a subnormal float32, which a device may take for 0.
"""

from __future__ import annotations

import re

from luchina.compiler.ir import Emitter, Operand, element_of, lanes_of, vector

_HALF = re.compile(r"\bhalf\b")
_CONVERSION = re.compile(r"(?:fpext|fptrunc) ((?:<\d+ x )?(?:half|float)>?) ([^,\n]+) to (\S.*)")
_CONSTANT = re.compile(r"\b0xH([0-9A-F]{4})\b")


def without_half(text: str) -> str:
    """LLVM IR with ``i16`` for ``half``, and calls for its conversions."""
    functions: dict[str, str] = {}

    def call(found: re.Match[str]) -> str:
        source, value, to = found.groups()
        if "half" not in source + to:
            return found[0]
        widens = element_of(source) == "half"
        lanes = lanes_of(source)
        name = f"{'half_to_float' if widens else 'float_to_half'}.{lanes}"
        if name not in functions:
            functions[name] = _function(name, widens, lanes)
        return f"call {to} @{name}({source} {value})"

    text = _CONVERSION.sub(call, text)
    text = _CONSTANT.sub(lambda found: str(int(found[1], 16)), text)
    return _HALF.sub("i16", text + "\n".join(functions.values()))


def _function(name: str, widens: bool, lanes: int) -> str:
    e = Emitter()
    argument = Operand(vector("half" if widens else "float", lanes), "%x")
    result = _to_float(e, Operand(vector("i16", lanes), "%x")) if widens else _to_half(e, argument)
    body = "\n".join(e.lines)
    declared = "\n".join(e.declarations.values())
    return f"{declared}\ndefine internal {result.type} @{name}({argument}) {{\n{body}\n  ret {result}\n}}\n"


def _to_float(e: Emitter, half: Operand) -> Operand:
    bits = e.cast("zext", half, "i32")
    rest = _and(e, bits, 0x7FFF)
    # The exponent's bias is larger by 112; infinities and NaN have the largest of both.
    bias = e.select(
        e.icmp("uge", rest, e.const(bits.type, 0x7C00)),
        e.const(bits.type, 224 << 23),
        e.const(bits.type, 112 << 23),
    )
    normal = e.add(e.bin("shl", rest, e.const(bits.type, 13)), bias)
    whole = e.cast("uitofp", rest, "float")
    small = e.cast("bitcast", e.bin("fmul", whole, e.const(whole.type, 2.0**-24)), "i32")
    magnitude = e.select(e.icmp("ult", rest, e.const(bits.type, 0x400)), small, normal)
    sign = e.bin("shl", _and(e, bits, 0x8000), e.const(bits.type, 16))
    return e.cast("bitcast", e.bin("or", magnitude, sign), "float")


def _to_half(e: Emitter, x: Operand) -> Operand:
    bits = e.cast("bitcast", x, "i32")
    rest = _and(e, bits, 0x7FFFFFFF)
    shifted = e.bin("lshr", rest, e.const(bits.type, 13))
    up = e.add(_and(e, shifted, 1), e.const(bits.type, 0xFFF - (112 << 23)))
    normal = e.bin("lshr", e.add(rest, up), e.const(bits.type, 13))
    # The last bit of a number in [1/2, 1) is worth 2⁻²⁴, as that of a subnormal float16: the addition rounds.
    magnitude = e.cast("bitcast", rest, "float")
    sum_ = e.cast("bitcast", e.bin("fadd", magnitude, e.const(x.type, 0.5)), "i32")
    small = e.add(sum_, e.const(bits.type, -0x3F000000))
    finite = e.select(e.icmp("ult", rest, e.const(bits.type, 113 << 23)), small, normal)
    bounded = e.select(e.icmp("uge", rest, e.const(bits.type, 143 << 23)), e.const(bits.type, 0x7C00), finite)
    quiet = e.bin("or", _and(e, shifted, 0x3FF), e.const(bits.type, 0x7E00))
    number = e.select(e.icmp("ugt", rest, e.const(bits.type, 255 << 23)), quiet, bounded)
    sign = _and(e, e.bin("lshr", bits, e.const(bits.type, 16)), 0x8000)
    return e.cast("trunc", e.bin("or", number, sign), "i16")


def _and(e: Emitter, x: Operand, mask: int) -> Operand:
    return e.bin("and", x, e.const(x.type, mask))
