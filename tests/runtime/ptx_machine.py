"""A machine that runs PTX in numpy: all threads of a launch at once, for tests on computers without a GPU.

It knows what LLVM writes for our kernels, and is strict about it: every access to memory must be aligned and inside
something that is alive, a warp's instructions need the whole warp, asynchronous copies arrive only when they are waited
for. With ``by_warps`` each warp runs alone as far as it can before the next one starts, the last one first, so that
a barrier that is missing gives other numbers.

Source: the PTX ISA manual.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

WARP = 32
_BYTES = {"8": np.uint8, "16": np.uint16, "32": np.uint32, "64": np.uint64}
_TYPES = {
    **{f"u{bits}": kind for bits, kind in _BYTES.items()},
    **{f"b{bits}": kind for bits, kind in _BYTES.items()},
    **{f"s{bits}": getattr(np, f"int{bits}") for bits in _BYTES},
    **{"f16": np.float16, "f32": np.float32, "f64": np.float64},
}


class Fault(Exception):
    """A kernel did what a card would stop it for."""


class Instruction(NamedTuple):
    guard: str  # "%p1", "!%p1" or ""
    name: str
    operands: tuple
    line: str


class Program:
    """A module's only entry."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.version, self.arch = re.search(r"\.version (\S+)\s+\.target (\w+)", text).groups()
        head, body = re.search(r"\.visible \.entry (\w+)\(.*?\n\{\n(.*)\n\}", text, re.S), None
        self.name, body = head.groups()
        self.parameters = [int(bits) // 8 for bits in re.findall(rf"\.param \.u(\d+)\b.*{self.name}_param", text)]
        threads = re.search(r"\.maxntid (\d+)", text)
        self.max_threads = int(threads[1]) if threads else 1024
        self.constants: dict[str, np.ndarray] = {}
        for bits, name, values in re.findall(r"\.global .*?\.b(\d+) (\S+)\[\d+\] = \{(.*?)\};", text, re.S):
            words = [int(v, 0) & (1 << int(bits)) - 1 for v in values.replace("\n", " ").split(",")]
            self.constants[name] = np.array(words, _BYTES[bits])
        self.shared: dict[str, int] = {}
        self.shared_bytes = 0
        for align, name, size in re.findall(r"\.shared \.align (\d+) \.b8 (\S+)\[(\d+)\];", text):
            self.shared_bytes = -(-self.shared_bytes // int(align)) * int(align)
            self.shared[name] = self.shared_bytes
            self.shared_bytes += int(size)
        assert ".local" not in text, "local memory"
        self.code: list[Instruction] = []
        self.labels: dict[str, int] = {}
        # Half of a register: { .reg .b16 tmp; mov.b32 {tmp, %rs1}, %r1; }
        body = re.sub(r"\{\s*\.reg \.b16 tmp;\s*(mov[^;]*;)\s*\}", lambda m: m[1].replace("tmp", "_"), body)
        for line in re.sub(r"\{\s*\n?\s*|\s*\n\s*\{", " {", re.sub(r",\s*\n", ",", body)).split("\n"):
            line = line.strip()
            if line.endswith(":"):
                self.labels[line[:-1]] = len(self.code)
            elif line and not line.startswith((".reg", ".shared", "//")):
                self.code.append(_parse(line))
        self.targets = frozenset(self.labels.values())


def _parse(line: str) -> Instruction:
    guard, name, rest = re.match(r"(?:@(\S+)\s+)?([\w.:]+)\s*(.*);$", line).groups()
    operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", rest)
    return Instruction(guard or "", name, tuple(operands), line)


class Memory:
    """Bytes at addresses: one array, and the ranges of it that are alive."""

    BASE = 0x7F0000000000

    def __init__(self, size: int) -> None:
        self.bytes = np.zeros(size, np.uint8)
        self.alive: dict[int, int] = {}
        self._ranges: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, start: int, size: int) -> None:
        self.alive[start] = size
        self._ranges = None

    def remove(self, start: int) -> bool:
        """Whether it was alive."""
        self._ranges = None
        return self.alive.pop(start, None) is not None

    @property
    def end(self) -> int:
        """Behind everything that is alive."""
        return max([start + size for start, size in self.alive.items()], default=self.BASE)

    def check(self, addresses: np.ndarray, size: int, line: str) -> None:
        if self._ranges is None:
            ordered = sorted(self.alive)
            self._ranges = np.array(ordered, np.int64), np.array([self.alive[s] for s in ordered], np.int64)
        starts, sizes = self._ranges
        if not len(starts):
            raise Fault(f"no memory is alive: {line}")
        at = np.searchsorted(starts, addresses, "right") - 1
        bad = (at < 0) | (addresses + size > starts[at] + sizes[at])
        if bad.any():
            raise Fault(f"address {addresses[bad][0]:#x} is outside of all memory: {line}")


def launch(
    program: Program, memory: Memory, grid: int, block: int, parameters: bytes, by_warps: bool = False
) -> dict[str, int]:
    """Run ``grid`` blocks of ``block`` threads; gives how many threads ran each instruction."""
    assert block <= program.max_threads, f"{block} threads for a kernel of at most {program.max_threads}"
    assert len(parameters) == sum(program.parameters), "parameters that do not fit the kernel"
    return _Run(program, memory, grid, block, parameters, by_warps).run()


class _Run:
    def __init__(self, program, memory, grid, block, parameters, by_warps):
        self.program, self.memory = program, memory
        self.grid, self.block, self.by_warps = grid, block, by_warps
        self.count = grid * block
        self.tid = np.tile(np.arange(block, dtype=np.int64), grid)
        self.cta = np.repeat(np.arange(grid, dtype=np.int64), block)
        warps = -(-block // WARP)
        self.warp = self.cta * warps + self.tid // WARP
        self.pc = np.zeros(self.count, np.int64)
        self.done = np.zeros(self.count, bool)
        self.waiting = np.zeros(self.count, bool)
        self.registers: dict[str, np.ndarray] = {}
        self.shared = np.full(grid * max(program.shared_bytes, 1), 0xA5, np.uint8)
        self.committed = np.zeros(self.count, np.int64)
        self.copies: list[list[np.ndarray]] = []
        self.issued: dict[str, int] = {}
        self.parameters = {}
        at = 0
        for number, size in enumerate(program.parameters):
            self.parameters[f"{program.name}_param_{number}"] = int.from_bytes(parameters[at : at + size], "little")
            at += size
        self.symbols = dict(program.shared)
        for name, values in program.constants.items():
            address = memory.end + 511 & ~511
            memory.add(address, values.nbytes)
            memory.bytes[address - Memory.BASE :][: values.nbytes] = values.view(np.uint8)
            self.symbols[name] = address

    def run(self):
        try:
            with np.errstate(all="ignore"):
                while True:
                    ready = np.nonzero(~self.done & ~self.waiting)[0]
                    if not len(ready):
                        if self.done.all():
                            break
                        self.release()
                        continue
                    if self.by_warps:
                        ready = ready[self.warp[ready] == self.warp[ready[-1]]]
                    low = self.pc[ready].min()
                    self.sel = ready[self.pc[ready] == low]
                    self.segment(int(low))
        finally:
            for name in self.program.constants:
                self.memory.remove(self.symbols[name])
        if self.copies:
            raise Fault("asynchronous copies that nobody waited for")
        return self.issued

    def release(self):
        """All threads of a block have come to the barrier."""
        arrived = np.bincount(self.cta[self.waiting], minlength=self.grid)
        here = arrived == self.block
        if not here.any():
            raise Fault("threads wait at a barrier that others have passed by")
        free = self.waiting & here[self.cta]
        first = self.pc[free]
        if len(set(first.tolist())) > self.grid:
            raise Fault("threads of a block wait at different barriers")
        self.waiting[free] = False

    def segment(self, at):
        """From ``at`` to the next place where threads part or meet."""
        program = self.program
        start = at
        while True:
            if at != start and at in program.targets:
                self.pc[self.sel] = at
                return
            ins = program.code[at]
            name = ins.name
            sel = self.sel
            self.issued[name] = self.issued.get(name, 0) + len(sel)
            at += 1
            if name in ("bra", "bra.uni"):
                target = program.labels[ins.operands[0]]
                if ins.guard:
                    taken = self.predicate(ins.guard)
                    self.pc[sel] = np.where(taken, target, at)
                else:
                    self.pc[sel] = target
                return
            if name == "ret":
                self.done[sel] = True
                return
            if name in ("bar.sync", "barrier.sync"):
                self.pc[sel] = at
                self.waiting[sel] = True
                return
            if ins.guard:
                taken = self.predicate(ins.guard)
                self.sel = sel[taken]
                if len(self.sel):
                    self.execute(ins)
                self.sel = sel
            else:
                self.execute(ins)

    def predicate(self, guard):
        value = self.registers[guard.lstrip("!")][self.sel]
        return ~value if guard.startswith("!") else value

    # ---- operands

    def value(self, text, kind):
        """An operand as numbers of type ``kind``."""
        dtype = _TYPES[kind] if kind != "pred" else bool
        if text.startswith("%"):
            special = {"%tid.x": self.tid, "%ctaid.x": self.cta}.get(text)
            if special is not None:
                return special[self.sel].astype(dtype)
            if text in ("%ntid.x", "%nctaid.x"):
                return np.full(len(self.sel), self.block if text == "%ntid.x" else self.grid, dtype)
            if text not in self.registers:  # part of a vector that nobody will read
                return np.full(len(self.sel) * np.dtype(dtype).itemsize, 0xA5, np.uint8).view(dtype)
            held = self.registers[text][self.sel]
            if dtype is bool or held.dtype.itemsize == np.dtype(dtype).itemsize:
                return held.view(dtype)
            return held.astype(_BYTES[str(8 * np.dtype(dtype).itemsize)]).view(dtype)
        if text in self.symbols:
            number = self.symbols[text]
        elif text.startswith("0f") or text.startswith("0d"):
            number = int(text[2:], 16)
        elif text.startswith("0x") and kind == "f16":
            number = int(text, 16)
        else:
            number = int(text.rstrip("U"), 0)
        if dtype is bool:
            return np.full(len(self.sel), bool(number))
        size = np.dtype(dtype).itemsize
        word = np.array(number & ((1 << 8 * size) - 1), np.uint64).astype(_BYTES[str(8 * size)])
        return np.full(len(self.sel), word).view(dtype)

    def set(self, name, value):
        if value.dtype != bool:
            bits = str(8 * value.dtype.itemsize)
            wide = {"r": "32", "rd": "64", "rs": "16"}.get(re.match(r"%(\D+)", name)[1], bits)
            value = np.ascontiguousarray(value)
            if wide != bits:  # a narrow value in a wide register: extended as its type says
                signed = np.issubdtype(value.dtype, np.signedinteger)
                value = value.astype(_TYPES[("s" if signed else "u") + wide]) if value.dtype.kind in "iu" else value
            value = value.view(_BYTES[str(8 * value.dtype.itemsize)])
        held = self.registers.get(name)
        if held is None:
            held = self.registers[name] = np.zeros(self.count, value.dtype)
        held[self.sel] = value

    def address(self, text):
        inside = text[1:-1]
        base, _, offset = inside.partition("+")
        if not base.startswith("%") and base not in self.symbols:
            return None, base
        return self.value(base, "s64") + int(offset or 0), base

    # ---- instructions

    def execute(self, ins):
        parts = ins.name.split(".")
        method = getattr(self, "do_" + parts[0], None)
        if method is None:
            raise NotImplementedError(ins.line)
        method(ins, parts)

    def names(self, text):
        return [n.strip() for n in text.strip("{}").split(",")] if text.startswith("{") else [text]

    def places(self, ins, space, text, size, wide):
        """Indices of bytes for an access of ``wide`` bytes at once."""
        at, _ = self.address(text)
        if (at % wide).any():
            raise Fault(f"misaligned: {ins.line}")
        if space == "global":
            self.memory.check(at, wide, ins.line)
            return self.memory.bytes, at - Memory.BASE
        assert space == "shared", ins.line
        if ((at < 0) | (at + wide > self.program.shared_bytes)).any():
            raise Fault(f"outside of shared memory: {ins.line}")
        return self.shared, at + self.cta[self.sel] * self.program.shared_bytes

    def do_ld(self, ins, parts):
        if parts[1] == "param":
            name = ins.operands[1][1:-1]
            self.set(ins.operands[0], self.value(str(self.parameters[name]), parts[2]))
            return
        names = self.names(ins.operands[0])
        kind = parts[-1]
        dtype = np.dtype(_TYPES[kind])
        data, at = self.places(ins, parts[1], ins.operands[1], dtype.itemsize, dtype.itemsize * len(names))
        for number, name in enumerate(names):
            lanes = (at + number * dtype.itemsize)[:, None] + np.arange(dtype.itemsize)
            self.set(name, data[lanes].view(dtype)[:, 0])

    def do_st(self, ins, parts):
        names = self.names(ins.operands[1])
        dtype = np.dtype(_TYPES[parts[-1]])
        data, at = self.places(ins, parts[1], ins.operands[0], dtype.itemsize, dtype.itemsize * len(names))
        for number, name in enumerate(names):
            value = np.ascontiguousarray(self.value(name, parts[-1]))
            lanes = (at + number * dtype.itemsize)[:, None] + np.arange(dtype.itemsize)
            data[lanes] = value.view(np.uint8).reshape(len(value), dtype.itemsize)

    def do_mov(self, ins, parts):
        to, source = ins.operands
        kind = parts[-1]
        if to.startswith("{"):
            names = self.names(to)
            bits = int(kind[1:]) // len(names)
            whole = self.value(source, "u" + kind[1:]).astype(np.uint64)
            for number, name in enumerate(names):
                if name != "_":
                    self.set(name, (whole >> np.uint64(bits * number)).astype(_BYTES[str(bits)]))
        elif source.startswith("{"):
            names = self.names(source)
            bits = int(kind[1:]) // len(names)
            whole = np.zeros(len(self.sel), np.uint64)
            for number, name in enumerate(names):
                whole |= self.value(name, f"u{bits}").astype(np.uint64) << np.uint64(bits * number)
            self.set(to, whole.astype(_BYTES[kind[1:]]))
        else:
            self.set(to, self.value(source, kind))

    def do_cvt(self, ins, parts):
        to, source = parts[-2:]
        if to == "f16x2":
            high, low = (self.value(o, source).astype(np.float16).view(np.uint16) for o in ins.operands[1:3])
            self.set(ins.operands[0], high.astype(np.uint32) << np.uint32(16) | low)
            return
        if to == "tf32":
            bits = self.value(ins.operands[1], "u32")
            finite = (bits & np.uint32(0x7F800000)) != 0x7F800000
            rounded = bits + np.uint32(0x1000) & np.uint32(0xFFFFE000)
            self.set(ins.operands[0], np.where(finite, rounded, bits))
            return
        value = self.value(ins.operands[1], source)
        modes = parts[1:-2]
        if source[0] == "f" and to[0] == "f":
            rounding = {"rni": np.rint, "rmi": np.floor, "rpi": np.ceil, "rzi": np.trunc}
            for mode in modes:
                value = rounding[mode](value) if mode in rounding else value
            result = value.astype(_TYPES[to])
        elif source[0] == "f":
            info = np.iinfo(_TYPES[to])
            rounding = {"rni": np.rint, "rmi": np.floor, "rpi": np.ceil, "rzi": np.trunc}[modes[0]]
            wide = rounding(value.astype(np.float64))
            result = np.where(np.isnan(wide), 0, wide)
            over, under = result >= float(info.max), result <= float(info.min)
            result = np.where(over | under, 0, result).astype(_TYPES[to])
            result = np.where(over, info.max, np.where(under, info.min, result)).astype(_TYPES[to])
        else:
            result = value.astype(_TYPES[to])
            if "sat" in modes:
                info = np.iinfo(_TYPES[to])
                result = np.clip(value, info.min, info.max).astype(_TYPES[to])
        self.set(ins.operands[0], result)

    def do_setp(self, ins, parts):
        kind = parts[-1]
        a, b = (self.value(o, kind) for o in ins.operands[1:3])
        test = parts[1]
        if kind[0] == "f":
            unordered = np.isnan(a) | np.isnan(b)
            if test == "num":
                result = ~unordered
            elif test == "nan":
                result = unordered
            elif test.endswith("u"):
                result = _COMPARE[test[:-1]](a, b) | unordered
            else:
                result = _COMPARE[test](a, b) & ~unordered
        else:
            if test in ("lo", "ls", "hi", "hs"):
                test = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}[test]
            result = _COMPARE[test](a, b)
        if len(parts) > 3 and parts[2] in _LOGIC:
            result = _LOGIC[parts[2]](result, self.value(ins.operands[3], "pred"))
        self.set(ins.operands[0], result)

    def do_selp(self, ins, parts):
        a, b = (self.value(o, parts[-1]) for o in ins.operands[1:3])
        self.set(ins.operands[0], np.where(self.value(ins.operands[3], "pred"), a, b))

    def do_bar(self, ins, parts):
        raise NotImplementedError(ins.line)

    def binary(self, ins, parts, how):
        kind = parts[-1]
        a, b = (self.value(o, kind) for o in ins.operands[1:3])
        self.set(ins.operands[0], how(a, b))

    def do_add(self, ins, parts):
        self.binary(ins, parts, np.add)

    def do_sub(self, ins, parts):
        self.binary(ins, parts, np.subtract)

    def do_mul(self, ins, parts):
        kind = parts[-1]
        a, b = (self.value(o, kind) for o in ins.operands[1:3])
        if "wide" in parts:
            double = kind[0] + str(2 * int(kind[1:]))
            result = a.astype(_TYPES[double]) * b.astype(_TYPES[double])
        elif "hi" in parts:
            result = _high(a, b, kind)
        else:
            result = a * b
        self.set(ins.operands[0], result)

    def do_mad(self, ins, parts):
        kind = parts[-1]
        wide = kind[0] + str(2 * int(kind[1:])) if "wide" in parts else kind
        a, b = (self.value(o, kind).astype(_TYPES[wide]) for o in ins.operands[1:3])
        self.set(ins.operands[0], a * b + self.value(ins.operands[3], wide))

    def do_div(self, ins, parts):
        kind = parts[-1]
        a, b = (self.value(o, kind) for o in ins.operands[1:3])
        if kind[0] == "f":
            assert "rn" in parts, ins.line
            self.set(ins.operands[0], a / b)
        else:
            self.set(ins.operands[0], _quotient(a, b))

    def do_rem(self, ins, parts):
        a, b = (self.value(o, parts[-1]) for o in ins.operands[1:3])
        self.set(ins.operands[0], a - _quotient(a, b) * b)

    def do_rcp(self, ins, parts):
        assert "rn" in parts, ins.line
        value = self.value(ins.operands[1], parts[-1])
        self.set(ins.operands[0], (1 / value).astype(value.dtype))

    def do_sqrt(self, ins, parts):
        assert "rn" in parts, ins.line
        self.set(ins.operands[0], np.sqrt(self.value(ins.operands[1], parts[-1])))

    def do_fma(self, ins, parts):
        assert parts[1] == "rn", ins.line
        kind = parts[-1]
        a, b, c = (self.value(o, kind) for o in ins.operands[1:4])
        if kind == "f32":
            result = (a.astype(np.float64) * b + c).astype(np.float32)
        else:
            result = _fma(a, b, c)
        self.set(ins.operands[0], result)

    def do_min(self, ins, parts):
        self.binary(ins, parts, np.minimum if "NaN" in parts or parts[-1][0] != "f" else np.fmin)

    def do_max(self, ins, parts):
        self.binary(ins, parts, np.maximum if "NaN" in parts or parts[-1][0] != "f" else np.fmax)

    def do_and(self, ins, parts):
        self.binary(ins, parts, np.bitwise_and)

    def do_or(self, ins, parts):
        self.binary(ins, parts, np.bitwise_or)

    def do_xor(self, ins, parts):
        self.binary(ins, parts, np.bitwise_xor)

    def do_not(self, ins, parts):
        self.set(ins.operands[0], ~self.value(ins.operands[1], parts[-1]))

    def do_neg(self, ins, parts):
        self.set(ins.operands[0], -self.value(ins.operands[1], parts[-1]))

    def do_abs(self, ins, parts):
        self.set(ins.operands[0], np.abs(self.value(ins.operands[1], parts[-1])))

    def do_copysign(self, ins, parts):
        sign, size = (self.value(o, parts[-1]) for o in ins.operands[1:3])
        self.set(ins.operands[0], np.copysign(size, sign))

    def do_shl(self, ins, parts):
        a, n = self.value(ins.operands[1], parts[-1]), self.value(ins.operands[2], "u32")
        bits = 8 * a.dtype.itemsize
        shifted = a << np.minimum(n, bits - 1).astype(a.dtype)
        self.set(ins.operands[0], np.where(n >= bits, 0, shifted).astype(a.dtype))

    def do_shr(self, ins, parts):
        kind = parts[-1].replace("b", "u")
        a, n = self.value(ins.operands[1], kind), self.value(ins.operands[2], "u32")
        bits = 8 * a.dtype.itemsize
        shifted = a >> np.minimum(n, bits - 1).astype(a.dtype)
        self.set(ins.operands[0], np.where((n >= bits) & (kind[0] == "u"), 0, shifted).astype(a.dtype))

    def do_shf(self, ins, parts):
        low, high = (self.value(o, "u32").astype(np.uint64) for o in ins.operands[1:3])
        n = self.value(ins.operands[3], "u32").astype(np.uint64)
        n = n & np.uint64(31) if parts[2] == "wrap" else np.minimum(n, 32)
        both = high << np.uint64(32) | low
        both = both >> n if parts[1] == "r" else (both << n) >> np.uint64(32)
        self.set(ins.operands[0], both.astype(np.uint32))

    def do_bfe(self, ins, parts):
        kind = parts[-1]
        a = self.value(ins.operands[1], kind)
        at, count = (self.value(o, "u32").astype(np.int64) for o in ins.operands[2:4])
        bits = 8 * a.dtype.itemsize
        shifted = (a.view(_BYTES[str(bits)]) << (bits - at - count).astype(_BYTES[str(bits)])).view(a.dtype)
        self.set(ins.operands[0], shifted >> (bits - count).astype(a.dtype))

    def do_prmt(self, ins, parts):
        a, b, how = (self.value(o, "u32").astype(np.uint64) for o in ins.operands[1:4])
        both = b << np.uint64(32) | a
        result = np.zeros(len(a), np.uint64)
        for byte in range(4):
            pick = how >> np.uint64(4 * byte) & np.uint64(15)
            value = both >> (np.uint64(8) * (pick & np.uint64(7))) & np.uint64(255)
            sign = np.where(value & np.uint64(128), np.uint64(255), np.uint64(0))
            result |= np.where(pick & np.uint64(8), sign, value) << np.uint64(8 * byte)
        self.set(ins.operands[0], result.astype(np.uint32))

    def do_clz(self, ins, parts):
        a = self.value(ins.operands[1], parts[-1])
        bits = 8 * a.dtype.itemsize
        count = np.array([bits - int(x).bit_length() for x in a.tolist()], np.uint32)
        self.set(ins.operands[0], count)

    def do_popc(self, ins, parts):
        a = self.value(ins.operands[1], parts[-1])
        self.set(ins.operands[0], np.array([int(x).bit_count() for x in a.tolist()], np.uint32))

    # ---- a warp together

    def whole_warps(self, ins):
        """The selected threads as warps × 32."""
        if len(self.sel) % WARP or (self.warp[self.sel].reshape(-1, WARP) != self.warp[self.sel[::WARP], None]).any():
            raise Fault(f"part of a warp only: {ins.line}")
        return len(self.sel) // WARP

    def do_ldmatrix(self, ins, parts):
        names = self.names(ins.operands[0])
        warps = self.whole_warps(ins)
        at, _ = self.address(ins.operands[1])
        at = at.reshape(warps, WARP)
        block = self.cta[self.sel].reshape(warps, WARP)[:, 0]
        lane = np.arange(WARP)
        for number, name in enumerate(names):
            rows = at[:, 8 * number : 8 * number + 8]
            if (rows % 16).any() or (rows < 0).any() or (rows + 16 > self.program.shared_bytes).any():
                raise Fault(f"a row of a matrix lies badly: {ins.line}")
            where = (rows + block[:, None] * self.program.shared_bytes)[:, :, None] + np.arange(16)
            matrix = self.shared[where].view(np.uint16)  # warps, 8 rows, 8 columns
            if "trans" in parts:
                matrix = matrix.transpose(0, 2, 1)
            pairs = np.ascontiguousarray(matrix).view(np.uint32)  # warps, 8, 4
            self.set(name, pairs[:, lane // 4, lane % 4].reshape(-1))

    def do_mma(self, ins, parts):
        """``mma.sync.aligned.m16n8k*.row.col.f32.T.T.f32``."""
        warps = self.whole_warps(ins)
        shape = re.match(r"m16n8k(\d+)", parts[3])
        depth, kind = int(shape[1]), parts[7]
        assert parts[4:6] == ["row", "col"] and parts[6] == parts[9] == "f32", ins.line
        a, b, c = (
            np.stack([self.value(n, "u32").reshape(warps, WARP) for n in self.names(o)], 2) for o in ins.operands[1:4]
        )
        lane = np.arange(WARP)
        row, pair = lane // 4, lane % 4
        left = np.zeros((warps, 16, depth), np.float32)
        right = np.zeros((warps, depth, 8), np.float32)
        each = 1 if kind == "tf32" else 2
        span = 4 * each
        for number in range(a.shape[2]):
            values = _unpacked(a[:, :, number], kind)
            for i in range(each):
                left[:, row + 8 * (number % 2), span * (number // 2) + pair * each + i] = values[i]
        for number in range(b.shape[2]):
            values = _unpacked(b[:, :, number], kind)
            for i in range(each):
                right[:, span * number + pair * each + i, row] = values[i]
        total = np.matmul(left, right)
        for number, name in enumerate(self.names(ins.operands[0])):
            own = total[:, row + 8 * (number // 2), 2 * pair + number % 2]
            self.set(name, (own + c[:, :, number].view(np.float32)).reshape(-1))

    def do_cp(self, ins, parts):
        assert parts[1] == "async", ins.line
        if parts[2] == "commit_group":
            self.committed[self.sel] += 1
        elif parts[2] in ("wait_group", "wait_all"):
            left = int(ins.operands[0]) if parts[2] == "wait_group" else 0
            self.arrive(left)
        else:
            size = int(ins.operands[2])
            read = self.value(ins.operands[3], "u32").astype(np.int64) if len(ins.operands) > 3 else size
            read = np.broadcast_to(read, len(self.sel))
            source, _ = self.address(ins.operands[1])
            if (source % size).any():
                raise Fault(f"misaligned: {ins.line}")
            if (read > 0).any():
                self.memory.check((source + 0)[read > 0], 1, ins.line)
                self.memory.check((source + read - 1)[read > 0], 1, ins.line)
            _, at = self.places(ins, "shared", ins.operands[0], size, size)
            self.shared[at[:, None] + np.arange(size)] = 0xA5  # nothing to rely on until it has arrived
            self.copies.append([self.sel, self.committed[self.sel] + 1, at, source - Memory.BASE, read, size])

    def arrive(self, left):
        remaining = []
        mine = np.zeros(self.count, bool)
        mine[self.sel] = True
        for threads, number, at, source, read, size in self.copies:
            go = mine[threads] & (number <= self.committed[threads] - left)
            lanes = np.arange(size)
            inside = lanes < read[go][:, None]
            data = self.memory.bytes[np.where(inside, source[go][:, None] + lanes, 0)]
            self.shared[at[go][:, None] + lanes] = np.where(inside, data, 0)
            if not go.all():
                keep = ~go
                remaining.append([threads[keep], number[keep], at[keep], source[keep], read[keep], size])
        self.copies = remaining


def _unpacked(words, kind):
    if kind == "tf32":
        return [(words & np.uint32(0xFFFFE000)).view(np.float32)]  # the card ignores the last 13 bits
    halves = [(words >> np.uint32(16 * i)).astype(np.uint16) for i in range(2)]
    if kind == "f16":
        return [h.view(np.float16).astype(np.float32) for h in halves]
    assert kind == "bf16", kind
    return [(h.astype(np.uint32) << np.uint32(16)).view(np.float32) for h in halves]


def _quotient(a, b):
    """Toward zero; what division by zero gives is not defined."""
    safe = np.where(b == 0, 1, b).astype(b.dtype)
    if a.dtype.kind == "u":
        return a // safe
    quotient = np.abs(a) // np.abs(safe)
    return np.where((a < 0) != (safe < 0), -quotient, quotient).astype(a.dtype)


def _high(a, b, kind):
    bits = int(kind[1:])
    if bits == 32:
        double = np.int64 if kind[0] == "s" else np.uint64
        return ((a.astype(double) * b.astype(double)) >> double(32)).astype(_TYPES[kind])
    return np.array([(int(x) * int(y) >> 64) for x, y in zip(a, b)], object).astype(_TYPES[kind])


def _fma(a, b, c):
    """a·b + c in float64: the product as two numbers (Dekker), the sum as two (Knuth)."""
    p = a * b
    factor = 134217729.0
    a1 = a * factor - (a * factor - a)
    b1 = b * factor - (b * factor - b)
    a2, b2 = a - a1, b - b1
    e = ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2
    s = p + c
    back = s - p
    t = (p - (s - back)) + (c - back)
    exact = s + (t + e)
    return np.where(np.isfinite(exact), exact, s)


_COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "equ": np.equal,
}
_LOGIC = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}
