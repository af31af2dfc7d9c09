"""Writes the kernel of a contraction on a device: tiles of both operands in local memory, sums in registers.

For every ``tile.k`` of the sum the group brings a tile of x and one of y into local memory, waits, and every item (with
fused multiply-adds) or warp (with tensor cores, ``multiply.py``) works on its part. While one pair of tiles is being
multiplied the next are on their way: asynchronous copies where the card has them, else through registers.

A sum goes from the first k to the last, whatever the tile.
"""

from __future__ import annotations

from luchina.compiler import body
from luchina.compiler.body import ITEMSIZE, from_storage, register_type, storage_type, to_storage
from luchina.compiler.ir import Emitter, Operand, lanes_of, module, vector
from luchina.compiler.target import Target
from luchina.compiler.targets import multiply
from luchina.compiler.targets.items import barrier, local_id
from luchina.compiler.targets.product import ALIGNMENT, CLASSES, SHARED, Side, Spec, parameter_names

LOCAL = "ptr addrspace(3)"


def emit(spec: Spec, target: Target, name: str) -> str:
    """The LLVM module of a contraction kernel."""
    writer = Writer(spec, target, name)
    writer.write()
    e = writer.e
    return module([*writer.rooms, e.function(name)], e.declarations, target.triple)


class Writer:
    """Writes one kernel; the code is in ``e`` afterwards."""

    def __init__(self, spec: Spec, target: Target, name: str) -> None:
        self.spec = spec
        self.target = target
        self.e = e = Emitter()
        self.names = {n: i for i, n in enumerate(parameter_names(spec))}
        self.known: dict[str, Operand] = {}
        self.item = local_id(e, target)
        self.engine: multiply.Engine = multiply.ENGINES[spec.engine](self)
        self.sides = (Staging(self, "x", "m", spec.x), Staging(self, "y", "n", spec.y))
        size = ITEMSIZE_OF[spec.element]
        slot = size * sum(s.elements for s in self.sides)
        self.stages = 3 if all(s.asynchronous for s in self.sides) and 3 * slot <= SHARED else 2
        self.rooms = []
        for side in self.sides:
            side.room = f"@{name}.{side.name}"
            count = side.elements * self.stages
            self.rooms.append(
                f"{side.room} = internal addrspace(3) global [{count} x {spec.element}] poison, align 16\n"
            )

    # ---- parameters and places

    def param(self, name: str) -> Operand:
        """A number of the kernel; read where it is first asked for."""
        e = self.e
        return e.load("i64", e.gep("i64", Operand("ptr", "%params"), self.names[name]), 8)

    def keep(self, *names: str) -> None:
        """Read numbers once, for everywhere below."""
        for name in names:
            self.known[name] = self.param(name)

    def number(self, name: str) -> Operand:
        return self.known.get(name) or self.param(name)

    def axes(self, c: str) -> int:
        return self.spec.axes[CLASSES.index(c)]

    def digits(self, c: str, index: Operand) -> list[Operand]:
        """The counters of a class's axes at a position."""
        e = self.e
        result: list[Operand] = []
        for i in reversed(range(1, self.axes(c))):
            multiplied = e.mul(index, self.number(f"{c}{i}_magic"))
            quotient = e.bin("lshr", multiplied, self.number(f"{c}{i}_shift"))
            result.insert(0, e.sub(index, e.mul(quotient, self.number(f"{c}{i}_extent"))))
            index = quotient
        return [index, *result]

    def offset(self, window: str, c: str, digits: list[Operand]) -> Operand:
        """How far a position of a class moves in a window, in elements."""
        e = self.e
        total: Operand | None = None
        for i, digit in enumerate(digits):
            step = e.mul(digit, self.number(f"{window}_{c}{i}"))
            total = step if total is None else e.add(total, step)
        assert total is not None
        return total

    def base(self, window: str, strides: str, dtype: str, batch: list[Operand]) -> Operand:
        """Where a window begins for a batch."""
        e = self.e
        place = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), self.number(f"{window}_slot")), 8)
        start = e.add(self.number(f"{window}_offset"), self.offset(strides, "b", batch))
        return e.gep(storage_type(dtype), place, start)

    # ---- the kernel

    def write(self) -> None:
        e, tile = self.e, self.spec.tile
        self.keep("m", "n", "k", "across", "down")
        self.keep(*(n for n in self.names if n[0] == "k" and "_" in n))
        self.keep(*(n for n in self.names if n[:3] in ("x_k", "y_k")))
        with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as blocks:
            across, down = self.known["across"], self.known["down"]
            rest = e.bin("udiv", blocks.index, across)
            left = e.mul(e.bin("urem", blocks.index, across), tile.n)
            top = e.mul(e.bin("urem", rest, down), tile.m)
            batch = self.digits("b", e.bin("udiv", rest, down))
            for side, first in zip(self.sides, (top, left)):
                side.begin(batch, first)
            for stage in range(self.stages - 1):
                for side in self.sides:
                    side.keep(side.fetch(e.i64(stage * tile.k), e.i64(stage)), e.i64(stage))
                self.commit()
            slots = [e.i64(0), e.i64(self.stages - 1)]
            ahead = (self.stages - 1) * tile.k
            with e.loop(e.i64(0), self.known["k"], tile.k, [*slots, *self.engine.zeros()]) as steps:
                slot, following = steps.carried[:2]
                self.wait()
                barrier(e, self.target)
                brought = [side.fetch(e.add(steps.index, ahead), following) for side in self.sides]
                self.commit()
                sums = self.engine.multiply(steps.carried[2:], slot)
                for side, values in zip(self.sides, brought):
                    side.keep(values, following)
                steps.next = [self.after(slot), self.after(following), *sums]
            self.write_back(batch, top, left, steps.carried[2:])
            self.wait(all_of_them=True)
            barrier(e, self.target)  # before the next block's tiles

    def after(self, slot: Operand) -> Operand:
        e = self.e
        raised = e.add(slot, 1)
        return e.select(e.icmp("eq", raised, e.i64(self.stages)), e.i64(0), raised)

    def commit(self) -> None:
        if any(s.asynchronous for s in self.sides):
            self.e.call("void", "llvm.nvvm.cp.async.commit.group")

    def wait(self, all_of_them: bool = False) -> None:
        """Until the tiles that are multiplied next have arrived."""
        if any(s.asynchronous for s in self.sides):
            name = "llvm.nvvm.cp.async.wait.group"
            self.e.declarations[name] = f"declare void @{name}(i32 immarg)"
            self.e.raw(f"call void @{name}(i32 {0 if all_of_them else self.stages - 2})")

    # ---- the result

    def write_back(self, batch: list[Operand], top: Operand, left: Operand, sums: list[Operand]) -> None:
        """The epilogue of every element, and its store."""
        e, spec = self.e, self.spec
        self.bases = [self.base(f"w{i}", f"s{w[2]}", w[0], batch) for i, w in enumerate(spec.windows)]
        self.read_numbers()
        # A single number that is read is known once for all; a result of one element still has a place.
        read = {number for _, kind, number in spec.operands if kind != "c"}
        used = sorted(read | {number for _, _, number in spec.outs})
        parts = self.engine.parts(sums)
        width = lanes_of(parts[0][2].type) if spec.wide else 1
        columns: dict[int, list[tuple[Operand, dict[int, Operand]]]] = {}
        rows: dict[int, Operand] = {}
        for (row_key, row), (column_key, column), value in parts:
            rows.setdefault(row_key, row)
            if column_key not in columns:
                columns[column_key] = []
                for lane in range(0, lanes_of(value.type), width):
                    n = e.add(e.add(left, column), lane)
                    digits = self.digits("n", n)
                    offsets = {i: self.offset(f"s{i}", "n", digits) for i in used}
                    columns[column_key].append((e.icmp("slt", n, self.known["n"]), offsets))
        for row_key, row in rows.items():
            m = e.add(top, row)
            digits = self.digits("m", m)
            starts = {i: self.offset(f"s{i}", "m", digits) for i in used}
            inside = e.icmp("slt", m, self.known["m"])
            for (own, _), (column_key, _), value in parts:
                if own != row_key:
                    continue
                for number, (valid, offsets) in enumerate(columns[column_key]):
                    element = value if width > 1 else e.extract(value, number)
                    with e.when(e.bin("and", inside, valid)):
                        self.write_element(element, {i: e.add(starts[i], offsets[i]) for i in used})

    def read_numbers(self) -> None:
        """Single numbers of the epilogue, and what follows from them alone, once for all elements."""
        e, own = self.e, self.spec.body
        self.numbers: dict[int, Operand] = {}
        for i, ((dtype, kind, _), base) in enumerate(zip(self.spec.operands, self.bases), 1):
            if kind == "c":
                self.numbers[i] = from_storage(e, dtype, e.load(storage_type(dtype), base, ITEMSIZE[dtype]))
        for at, (op, dtype, args, _) in enumerate(own.instructions, len(own.inputs)):
            if args and all(a in self.numbers for a in args):
                values = [self.numbers[a] for a in args]
                if op == "cast":
                    self.numbers[at] = body.emit_cast(e, own.dtype(args[0]), dtype, values[0])
                else:
                    self.numbers[at] = body.emit_op(e, self.target, op, own.dtype(args[-1]), *values)

    def write_element(self, value: Operand, at: dict[int, Operand]) -> None:
        """One element, or adjacent ones together."""
        e, spec = self.e, self.spec
        lanes = lanes_of(value.type)
        known = {i: e.splat(number, lanes) for i, number in self.numbers.items()}
        values = [value]
        for i, ((dtype, kind, number), base) in enumerate(zip(spec.operands, self.bases), 1):
            if i in known:
                values.append(known[i])
                continue
            count = lanes if kind == "1" else 1
            pointer = e.gep(storage_type(dtype), base, at[number])
            raw = e.load(storage_type(dtype, count), pointer, min(count * ITEMSIZE[dtype], ALIGNMENT))
            values.append(e.splat(from_storage(e, dtype, raw), lanes // count))
        results = body.emit(e, self.target, spec.body, values, lanes, known)
        for (dtype, _, number), base, result in zip(spec.outs, self.bases[len(spec.operands) :], results):
            pointer = e.gep(storage_type(dtype), base, at[number])
            result = e.splat(result, lanes) if lanes_of(result.type) != lanes else result
            e.store(to_storage(e, dtype, result), pointer, min(lanes * ITEMSIZE[dtype], ALIGNMENT))


class Staging:
    """How one operand's tiles come to local memory."""

    def __init__(self, writer: Writer, name: str, own: str, side: Side) -> None:
        spec, tile = writer.spec, writer.spec.tile
        self.writer, self.name, self.own, self.side = writer, name, own, side
        self.dtype = spec.dtype
        self.room = ""
        self.extent = tile.m if own == "m" else tile.n
        # Fused multiply-adds read columns of x and rows of y; tensor cores take a tile as it comes.
        self.by_k = spec.engine != "fma" and side.along == "k"
        self.pitch = (tile.k if self.by_k else self.extent) + multiply.PADDING[spec.engine, self.by_k]
        self.elements = self.pitch * (self.extent if self.by_k else tile.k)
        size = ITEMSIZE[spec.dtype] * side.chunk
        same = spec.engine != "fma" or register_type(spec.dtype) == storage_type(spec.dtype)
        newer = writer.target.name.startswith("sm_") and writer.target.name >= "sm_80"
        self.asynchronous = same and newer and size in (4, 8, 16)
        self.size = size
        lanes = (tile.k if side.along == "k" else self.extent) // side.chunk
        self.step = tile.items // lanes
        self.parts = (self.extent if side.along == "k" else tile.k) // self.step
        assert self.parts * self.step == (self.extent if side.along == "k" else tile.k), (spec.tile, side)
        e = writer.e
        self.lane = e.mul(e.bin("urem", writer.item, e.i64(lanes)), side.chunk)
        self.line = e.bin("udiv", writer.item, e.i64(lanes))

    def begin(self, batch: list[Operand], first: Operand) -> None:
        """What is the same for all tiles along k."""
        writer, e = self.writer, self.writer.e
        self.base = writer.base(self.name, self.name, self.dtype, batch)
        limit = writer.known["m" if self.own == "m" else "n"]
        own = [e.add(self.line, p * self.step) for p in range(self.parts)] if self.side.along == "k" else [self.lane]
        self.offsets, self.inside = [], []
        for place in own:
            index = e.add(first, place)
            self.offsets.append(writer.offset(self.name, self.own, writer.digits(self.own, index)))
            self.inside.append(e.icmp("slt", index, limit))

    def fetch(self, start: Operand, slot: Operand) -> list[Operand]:
        """Ask for a tile; what comes through registers is given back."""
        writer, e = self.writer, self.writer.e
        along_k = self.side.along == "k"
        places = [self.lane] if along_k else [e.add(self.line, p * self.step) for p in range(self.parts)]
        steps = []
        for place in places:
            k = e.add(start, place)
            steps.append((writer.offset(self.name, "k", writer.digits("k", k)), e.icmp("slt", k, writer.known["k"])))
        values = []
        element = storage_type(self.dtype)
        for part in range(self.parts):
            by_k, k_inside = steps[0 if along_k else part]
            by_x, x_inside = self.offsets[part if along_k else 0], self.inside[part if along_k else 0]
            inside = e.bin("and", k_inside, x_inside)
            at = e.select(inside, e.add(by_x, by_k), e.i64(0))
            pointer = e.gep(element, self.base, at)
            if self.asynchronous:
                self.copy(pointer, self.place(part, slot), inside)
                continue
            raw = e.load(vector(element, self.side.chunk), pointer, self.size)
            if writer.spec.engine == "fma":
                raw = from_storage(e, self.dtype, raw)
            elif element == "half":
                raw = e.cast("bitcast", raw, "i16")
            values.append(e.select(inside, raw, e.const(raw.type, 0)))
        return values

    def copy(self, source: Operand, to: Operand, inside: Operand) -> None:
        """Asynchronously; zeros where nothing is read."""
        e = self.writer.e
        kind = "cg" if self.size == 16 else "ca"
        name = f"llvm.nvvm.cp.async.{kind}.shared.global.{self.size}.s"
        e.declarations[name] = f"declare void @{name}({LOCAL}, ptr, i32)"
        read = e.select(inside, e.const("i32", self.size), e.const("i32", 0))
        e.raw(f"call void @{name}({to}, {source}, {read})")

    def keep(self, values: list[Operand], slot: Operand) -> None:
        """Store what came through registers."""
        e = self.writer.e
        for part, value in enumerate(values):
            e.store(value, self.place(part, slot), self.size if self.writer.spec.engine != "fma" else 4)

    def place(self, part: int, slot: Operand) -> Operand:
        """Where this item's part of a tile goes."""
        e = self.writer.e
        line = e.add(self.line, part * self.step)
        x, k = (line, self.lane) if self.side.along == "k" else (self.lane, line)
        return self.at(slot, x, k)

    def at(self, slot: Operand, x: Operand, k: Operand) -> Operand:
        """The place of an element in local memory."""
        e = self.writer.e
        line, lane = (x, k) if self.by_k else (k, x)
        index = e.add(e.add(e.mul(slot, self.elements), e.mul(line, self.pitch)), lane)
        return e.inst(LOCAL, f"getelementptr {self.writer.spec.element}, {LOCAL} {self.room}, {index}")


ITEMSIZE_OF = {"i8": 1, "i16": 2, "i32": 4, "i64": 8, "half": 2, "float": 4, "double": 8}
