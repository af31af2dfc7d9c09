"""Writes the code of a loop kernel from its ``LoopSpec``: the loops, the addresses, the vectors.

The outer loop counts items: rows, or chunks of the vector axis. For an item the row-level code is written once, then
each phase is a nest of loops over the inner axes. Whole vectors run first; the rest has a mask where the machine
has masks for every type, else it goes element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from luchina.compiler import body
from luchina.compiler.accumulators import CHUNK, Accumulator, accumulator
from luchina.compiler.body import ITEMSIZE, from_storage, register_type, storage_type, to_storage
from luchina.compiler.ir import Emitter, Operand, lanes_of, mangle, module
from luchina.compiler.loopspec import (
    HEADER,
    SLACK,
    LoopSpec,
    choose_lanes,
    is_full,
    phases_of,
    register_bytes,
    uniform_of,
)

if TYPE_CHECKING:
    from luchina.compiler.target import Target

Positions = dict[tuple[int, int], Operand]


def emit(spec: LoopSpec, target: Target, name: str) -> str:
    """The LLVM module of a loop kernel."""
    writer = Writer(spec, target)
    writer.write()
    e = writer.e
    return module([e.function(name)], e.declarations, target.triple)


class Form:
    """An affine form of the counters: constant, one coefficient per axis (a number where it is known), and how it goes
    along lanes."""

    def __init__(self, constant: Operand, coefficients: list[Operand | int], lane_class: str) -> None:
        self.constant = constant
        self.coefficients = coefficients
        self.lane_class = lane_class


class Group:
    """How many lanes the code that is being written has, and in a masked rest which of them are on."""

    def __init__(self, lanes: int, mask: Operand | None = None) -> None:
        self.lanes = lanes
        self.mask = mask


# What runs for each counter: takes the counter, the group and what is carried, gives what is carried on.
Step = Callable[[Operand, Group, list[Operand]], list[Operand]]


class Writer:
    """Writes one kernel; the code is in ``e`` afterwards."""

    def __init__(self, spec: LoopSpec, target: Target) -> None:
        self.spec = spec
        self.target = target
        self.e = Emitter()
        self.axes = spec.outer + spec.inner
        self.vector_axis = self.axes - 1 if spec.along == "inner" else spec.outer - 1
        self.lanes = choose_lanes(spec, target)
        self.full = is_full(spec)
        self.phase = phases_of(spec, self.full)
        self.uniform = uniform_of(spec)
        self.masks = target.name == "avx512"
        self.masked_tail = self.masks and not any(a.kind == "store" and a.vector in "2s" for a in spec.accesses)
        self.types = [i.dtype for i in spec.program]
        self.scratch: dict[int, Operand] = {}
        self.once: dict[int, Operand] = {}  # values that are the same for the whole kernel
        self.spread: dict[int, Operand] = {}  # these in every lane
        self.splats: dict[tuple[str, int], Operand] = {}

    # ---- parameters

    def param(self, index: int) -> Operand:
        e = self.e
        return e.load("i64", e.gep("i64", Operand("ptr", "%params"), index), 8)

    def read_params(self) -> None:
        spec, e = self.spec, self.e
        self.items, self.per_block, self.chunk = (self.param(i) for i in range(HEADER))
        self.extents = [self.param(HEADER + a) for a in range(self.axes)]
        at = HEADER + self.axes
        self.pointers: list[Operand] = []
        self.forms: list[list[Form]] = []  # per access: address (or index value), then its masks
        self.index_strides: list[Operand] = []
        self.mask_extents: list[list[Operand]] = []
        for access in spec.accesses:
            if access.kind in ("load", "store"):
                slot = self.param(at)
                entry = e.gep("ptr", Operand("ptr", "%table"), slot)
                self.pointers.append(e.load("ptr", entry, 8))
            else:
                self.pointers.append(Operand("ptr", "null"))
            forms = [self.read_form(at + 1, at + 2, access.vector, access.inner)]
            at += 2 + self.axes
            self.index_strides.append(self.param(at) if access.indexed else e.i64(0))
            at += access.indexed
            extents = []
            for lane_class in access.masks:
                extents.append(self.param(at + 1))
                forms.append(self.read_form(at, at + 2, lane_class, access.inner))
                at += 2 + self.axes
            self.forms.append(forms)
            self.mask_extents.append(extents)
        if spec.keep:
            self.lay_out_scratch()

    def lay_out_scratch(self) -> None:
        """A region for each kept value; the position in it is one more affine form, of the inner counters."""
        spec, e = self.spec, self.e
        coefficients: list[Operand | int] = [0] * spec.outer
        inner = e.i64(1)
        for axis in range(self.axes - 1, spec.outer - 1, -1):
            coefficients.insert(spec.outer, inner)
            inner = e.mul(self.extents[axis], inner)
        self.forms.append([Form(e.i64(0), coefficients, "1")])
        elements = e.add(e.mul(inner, self.lanes if spec.along == "outer" else 1), SLACK)
        start = e.i64(0)
        for i in spec.keep:
            self.scratch[i] = e.gep("i8", Operand("ptr", "%scratch"), start)
            start = e.add(start, e.mul(elements, register_bytes(self.types[i])))

    def scratch_place(self, i: int, lanes: int, positions: Positions) -> tuple[str, Operand]:
        """Type and address of a kept value for the current group."""
        type_ = register_type(self.types[i], lanes)
        at = positions[len(self.spec.accesses), 0]
        by = register_type(self.types[i], lanes if self.spec.along == "outer" else 1)
        return type_, self.e.gep(by, self.scratch[i], at)

    def read_form(self, constant_at: int, at: int, lane_class: str, inner: bool) -> Form:
        coefficients: list[Operand | int] = []
        for axis in range(self.axes):
            if axis == self.vector_axis and lane_class in "012":
                coefficients.append(int(lane_class))
            elif axis >= self.spec.outer and not inner:
                coefficients.append(0)
            else:
                coefficients.append(self.param(at + axis))
        return Form(self.param(constant_at), coefficients, lane_class)

    def lane_stride(self, access: int, form: int = 0) -> Operand:
        """How far apart the lanes of a form are."""
        coefficient = self.forms[access][form].coefficients[self.vector_axis]
        return self.e.i64(coefficient) if isinstance(coefficient, int) else coefficient

    # ---- positions: the running value of every affine form

    def advance(self, positions: Positions, axis: int, counter: Operand) -> Positions:
        """Positions with ``counter`` of ``axis`` taken in."""
        e = self.e
        result = {}
        for key, value in positions.items():
            coefficient = self.forms[key[0]][key[1]].coefficients[axis]
            if isinstance(coefficient, int):
                result[key] = e.add(value, e.mul(counter, coefficient)) if coefficient else value
            else:
                result[key] = e.add(value, e.mul(counter, coefficient))
        return result

    # ---- the outer loop over items

    def write(self) -> None:
        e, spec = self.e, self.spec
        self.read_params()
        lo, hi = Operand("i64", "%lo"), Operand("i64", "%hi")
        self.compute_once()
        first = e.mul(lo, self.per_block)
        last = self.minimum(e.mul(hi, self.per_block), self.items)
        row_axes = list(range(spec.outer if spec.along == "inner" else spec.outer - 1))
        # Counters of the first item; the chunk of the vector axis runs fastest.
        rest = first
        chunks = None
        if spec.along == "outer":
            chunks = e.bin("udiv", e.add(self.extents[self.vector_axis], e.sub(self.chunk, 1)), self.chunk)
            chunks = e.intrinsic("umax", chunks, e.i64(1))
        limits = [self.extents[a] for a in row_axes] + ([chunks] if chunks is not None else [])
        counters: list[Operand] = []
        for i in range(len(limits) - 1, -1, -1):
            if i == 0:
                counters.insert(0, rest)
            else:
                counters.insert(0, e.bin("urem", rest, limits[i]))
                rest = e.bin("udiv", rest, limits[i])
        with e.loop(first, last, carry=counters) as items:
            positions = {(a, f): form.constant for a, forms in enumerate(self.forms) for f, form in enumerate(forms)}
            for axis, counter in zip(row_axes, items.carried):
                positions = self.advance(positions, axis, counter)
            if spec.along == "outer":
                self.write_columns(positions, items.carried[-1])
            else:
                self.write_group(positions, Group(1))
            # Count on, with carry into the slower counters.
            following = list(items.carried)
            step = e.i64(1)
            for i in range(len(following) - 1, -1, -1):
                raised = e.bin("add", following[i], step)
                if i == 0:
                    following[i] = raised
                    break
                wraps = e.icmp("sge", raised, limits[i])
                following[i] = e.select(wraps, e.i64(0), raised)
                step = e.cast("zext", wraps, "i64")
            items.next = following

    def compute_once(self) -> None:
        """What is one value for the whole kernel, before its loops."""
        positions = {(a, 0): forms[0].constant for a, forms in enumerate(self.forms)}
        same = [i for i, uniform in enumerate(self.uniform) if uniform]
        self.compute(same, self.once, positions, Group(1))
        for ins, uniform in zip(self.spec.program, self.uniform):
            for a in () if uniform else ins.args:
                if self.uniform[a] and self.spec.program[a].op != "const" and self.lanes > 1:
                    self.spread[a] = self.e.splat(self.once[a], self.lanes)

    def minimum(self, a: Operand, b: Operand) -> Operand:
        return self.e.intrinsic("smin", a, b)

    def write_columns(self, positions: Positions, chunk: Operand) -> None:
        """``along="outer"``: the lanes of one chunk of the last outer axis."""
        e = self.e
        start = e.mul(chunk, self.chunk)
        stop = self.minimum(e.add(start, self.chunk), self.extents[self.vector_axis])

        def run(counter: Operand, group: Group, carried: list[Operand]) -> list[Operand]:
            self.write_group(self.advance(positions, self.vector_axis, counter), group)
            return carried

        self.lane_loop(start, stop, [], run)

    def lane_loop(
        self,
        start: Operand,
        stop: Operand,
        carry: list[Operand],
        run: Step,
    ) -> list[Operand]:
        """Run ``run(counter, group, carried) -> carried`` over ``[start, stop)`` by whole vectors, then the rest with
        a mask. A scalar tail carries the same vectors, so it works on lane 0 of them (see ``accumulate``)."""
        e = self.e
        whole = e.sub(stop, e.bin("urem", e.sub(stop, start), e.i64(self.lanes)))
        with e.loop(start, whole, self.lanes, carry) as loop:
            loop.next = run(loop.index, Group(self.lanes), loop.carried)
        carried = loop.carried
        if self.masked_tail:
            with e.loop(whole, stop, self.lanes, carried) as loop:
                live = e.sub(stop, loop.index)
                lanes = Operand(f"<{self.lanes} x i32>", self.lane_numbers(32))
                mask = e.icmp("ult", lanes, e.splat(e.cast("trunc", live, "i32"), self.lanes))
                loop.next = run(loop.index, Group(self.lanes, mask), loop.carried)
        else:
            with e.loop(whole, stop, 1, carried) as loop:
                loop.next = run(loop.index, Group(1), loop.carried)
        return loop.carried

    def lane_numbers(self, bits: int) -> str:
        return "<" + ", ".join(f"i{bits} {i}" for i in range(self.lanes)) + ">"

    # ---- one group: a row, or the lanes of a column chunk

    def write_group(self, positions: Positions, group: Group) -> None:
        """Everything for one row (or ``group.lanes`` rows): row-level code, phases, row-level stores."""
        spec = self.spec
        values = dict(self.once)
        self.kept: set[int] = set()
        program = spec.program
        last = max(self.phase, default=0)
        for phase in range(last + 1):
            row = [
                i
                for i, ins in enumerate(program)
                if not self.full[i] and self.phase[i] == phase and ins.op != "store" and not self.uniform[i]
            ]
            self.compute([i for i in row if not program[i].op.startswith("reduce.")], values, positions, group)
            actions = [
                i
                for i, ins in enumerate(program)
                if (ins.op == "store" and self.full[i] and self.phase[i] == phase)
                or (ins.op.startswith("reduce.") and self.phase[i] == phase + 1)
            ]
            if actions:
                self.write_phase(actions, values, positions, group)
        stores = [i for i, ins in enumerate(program) if ins.op == "store" and not self.full[i]]
        self.compute(stores, values, positions, group)

    def needed(self, actions: list[int], stored: set[int]) -> list[int]:
        """The full-level instructions that ``actions`` need, in order; those ``stored`` come from scratch."""
        want: set[int] = set()
        stack = list(actions)
        while stack:
            i = stack.pop()
            if i in stored:
                continue
            for a in self.spec.program[i].args:
                if self.full[a] and a not in want:
                    want.add(a)
                    stack.append(a)
        return sorted(want)

    def write_phase(self, actions: list[int], values: dict[int, Operand], positions: Positions, group: Group) -> None:
        """One visit to the inner axes."""
        e, spec = self.e, self.spec
        reductions = [i for i in actions if spec.program[i].op.startswith("reduce.")]
        stores = [i for i in actions if spec.program[i].op == "store"]
        stored = set(self.kept)
        full = self.needed(actions, stored)
        keep = [i for i in full if i in self.scratch and i not in stored]
        self.kept.update(keep)
        if spec.along == "outer":
            self.widen(full + stores, values, group.lanes)
            shapes = [group.lanes if self.lanes_of_value(spec.program[i].args[0]) > 1 else 1 for i in reductions]
        else:
            self.widen(full + stores, values, self.lanes)
            shapes = [1] * len(reductions)
        accumulators = [accumulator(self, i, lanes) for i, lanes in zip(reductions, shapes)]
        totals = [t for acc in accumulators for t in acc.initial_total()]

        def body_at(positions: Positions, group: Group, carried: list[Operand]) -> list[Operand]:
            local = dict(values)
            for i in full:
                lanes = 1 if self.lanes_of_value_cached(i) == 1 else group.lanes
                if i in stored:
                    type_, place = self.scratch_place(i, lanes, positions)
                    local[i] = e.load(type_, place, register_bytes(self.types[i]))
                    continue
                self.compute([i], local, positions, group)
                if i in keep:
                    _, place = self.scratch_place(i, lanes, positions)
                    e.store(local[i], place, register_bytes(self.types[i]))
            self.compute(stores, local, positions, group)
            result = []
            for acc, i in zip(accumulators, reductions):
                width = acc.width()
                arguments = [local[a] for a in spec.program[i].args]
                result += acc.accumulate(carried[:width], arguments, group)
                carried = carried[width:]
            return result

        def nest(axis: int, positions: Positions, totals: list[Operand]) -> list[Operand]:
            if axis < self.axes - 1:
                with e.loop(e.i64(0), self.extents[axis], carry=totals) as loop:
                    loop.next = nest(axis + 1, self.advance(positions, axis, loop.index), loop.carried)
                return loop.carried
            return self.last_axis(positions, totals, accumulators, group, body_at)

        active = {k: v for k, v in positions.items()}
        results = self.combine(accumulators, nest(spec.outer, active, totals))
        for acc, i in zip(accumulators, reductions):
            width = acc.total_width()
            values[i] = acc.finish(results[:width])
            results = results[width:]

    def combine(self, accumulators: list[Accumulator], totals: list[Operand]) -> list[Operand]:
        """What a phase has gathered, by all who work on the row: on a processor that is one thread."""
        return totals

    def last_axis(
        self,
        positions: Positions,
        totals: list[Operand],
        accumulators: list[Accumulator],
        group: Group,
        body_at: Callable[[Positions, Group, list[Operand]], list[Operand]],
    ) -> list[Operand]:
        """The last inner axis, in chunks: each chunk's accumulators are folded into the totals."""
        e, spec = self.e, self.spec
        axis = self.axes - 1
        extent = self.extents[axis]
        size = e.i64(CHUNK * self.lanes if spec.along == "inner" else CHUNK)
        if not accumulators:
            size = e.intrinsic("smax", extent, e.i64(1))
        with e.loop(e.i64(0), extent, size, totals) as chunks:
            stop = self.minimum(e.add(chunks.index, size), extent)
            wide = spec.along == "inner"
            initial = [o for acc in accumulators for o in acc.initial(self.lanes if wide else None)]
            if wide:

                def run(counter: Operand, inner: Group, carried: list[Operand]) -> list[Operand]:
                    return body_at(self.advance(positions, axis, counter), inner, carried)

                partial = self.lane_loop(chunks.index, stop, initial, run)
            else:
                with e.loop(chunks.index, stop, 1, initial) as loop:
                    at = self.advance(positions, axis, loop.index)
                    loop.next = body_at(at, group, loop.carried)
                partial = loop.carried
            folded: list[Operand] = []
            carried = chunks.carried
            for acc in accumulators:
                folded += acc.fold(carried[: acc.total_width()], partial[: acc.width()])
                carried, partial = carried[acc.total_width() :], partial[acc.width() :]
            chunks.next = folded
        return chunks.carried

    # ---- instructions

    def lanes_of_value(self, index: int) -> int:
        """1 when a value is the same for all lanes, else the kernel's lanes."""
        op, _, args, attrs = self.spec.program[index]
        if op.startswith("reduce.") and self.spec.along == "inner":
            return 1
        if op in ("load", "index", "mask"):
            access = self.spec.accesses[attrs[0]]
            classes = (access.vector if op != "mask" else "0", *access.masks)
            if self.spec.along == "inner" and not access.inner:
                classes = ("0",)
            if any(c != "0" for c in classes):
                return self.lanes
        return max((self.lanes_of_value_cached(a) for a in args), default=1)

    def lanes_of_value_cached(self, index: int) -> int:
        cache = self.__dict__.setdefault("_lanes_cache", {})
        if index not in cache:
            cache[index] = self.lanes_of_value(index)
        return cache[index]

    def widen(self, users: list[int], values: dict[int, Operand], lanes: int) -> None:
        """Splat the row-level values that a loop over vectors will use, before it begins."""
        self.splats = {}
        if lanes == 1:
            return
        for i in users:
            op, _, args, _ = self.spec.program[i]
            if op == "load" or (op != "store" and self.lanes_of_value_cached(i) == 1):
                continue
            for a in args:
                value = values.get(a)
                if self.uniform[a]:
                    continue
                if value is not None and lanes_of(value.type) == 1:
                    key = (value.text, lanes)
                    if key not in self.splats:
                        self.splats[key] = self.e.splat(value, lanes)

    def wide(self, index: int, values: dict[int, Operand], lanes: int) -> Operand:
        """A value with exactly ``lanes`` lanes."""
        ins = self.spec.program[index]
        if ins.op == "const":
            return self.e.const(register_type(ins.dtype, lanes), ins.attrs[0])
        value = values[index]
        if lanes_of(value.type) == lanes:
            return value
        if index in self.spread and lanes == self.lanes:
            return self.spread[index]
        splat = self.splats.get((value.text, lanes))
        return splat or self.e.splat(value, lanes)

    def compute(self, indices: list[int], values: dict[int, Operand], positions: Positions, group: Group) -> None:
        """Write instructions in order; their values are added to ``values``."""
        program = self.spec.program
        for i in indices:
            op, dtype, args, attrs = program[i]
            lanes = 1 if self.lanes_of_value_cached(i) == 1 else group.lanes
            if op == "const":
                values[i] = self.e.const(register_type(dtype, 1), attrs[0])
            elif op == "load":
                values[i] = self.load(attrs[0], positions, group, [values[a] for a in args])
            elif op == "index":
                values[i] = self.index(attrs[0], dtype, positions, lanes)
            elif op == "mask":
                values[i] = self.condition(attrs[0], positions, group)
            elif op == "store":
                self.store(attrs[0], self.wide(args[0], values, group.lanes), positions, group)
            elif op == "cast":
                operand = self.wide(args[0], values, lanes)
                values[i] = body.emit_cast(self.e, program[args[0]].dtype, dtype, operand)
            else:
                operands = [self.wide(a, values, lanes) for a in args]
                values[i] = body.emit_op(self.e, self.target, op, program[args[-1]].dtype, *operands)

    def index(self, a: int, dtype: str, positions: Positions, lanes: int) -> Operand:
        e = self.e
        value = positions[a, 0]
        if lanes > 1:
            lane = Operand(f"<{lanes} x i64>", self.lane_numbers(64))
            if self.spec.accesses[a].vector == "s":
                lane = e.mul(lane, e.splat(self.lane_stride(a), lanes))
            value = e.add(e.splat(value, lanes), lane)
        return body.emit_cast(e, "int64", dtype, value)

    # ---- memory

    def condition(self, a: int, positions: Positions, group: Group) -> Operand:
        """Whether all masks of an access hold: ``i1``, or a vector of them."""
        e = self.e
        result: Operand | None = None
        uniform = all(c == "0" for c in self.spec.accesses[a].masks)
        lanes = 1 if uniform else group.lanes
        for m, extent in enumerate(self.mask_extents[a]):
            position = positions[a, m + 1]
            form = self.forms[a][m + 1]
            if form.lane_class == "0" or lanes == 1:
                holds = e.splat(e.icmp("ult", position, extent), lanes)
            elif form.lane_class == "1":
                # Lanes [low, high) are inside.
                zero, all_lanes = e.i64(0), e.i64(lanes)
                low = self.minimum(e.intrinsic("smax", e.bin("sub", zero, position), zero), all_lanes)
                high = self.minimum(e.intrinsic("smax", e.sub(extent, position), low), all_lanes)
                lane = Operand(f"<{lanes} x i32>", self.lane_numbers(32))
                from_low = e.sub(lane, e.splat(e.cast("trunc", low, "i32"), lanes))
                holds = e.icmp("ult", from_low, e.splat(e.cast("trunc", e.sub(high, low), "i32"), lanes))
            else:
                lane = Operand(f"<{lanes} x i64>", self.lane_numbers(64))
                each = e.add(e.splat(position, lanes), e.mul(lane, e.splat(self.lane_stride(a, m + 1), lanes)))
                holds = e.icmp("ult", each, e.splat(extent, lanes))
            result = holds if result is None else e.bin("and", result, holds)
        assert result is not None
        return result

    def load(self, a: int, positions: Positions, group: Group, indices: list[Operand]) -> Operand:
        e = self.e
        access = self.spec.accesses[a]
        dtype = access.dtype
        at = positions[a, 0]
        element = storage_type(dtype)
        row_level = self.spec.along == "inner" and not access.inner
        lane_class = "0" if row_level else access.vector
        masks = ("0",) * len(access.masks) if row_level else access.masks
        lanes = group.lanes
        index = indices[0] if indices else None
        if index is not None and lanes_of(index.type) == 1:
            at = e.add(at, e.mul(index, self.index_strides[a]))
            index = None
        holds = self.condition(a, positions, group) if masks else None
        if lanes == 1 or (lane_class == "0" and index is None and (holds is None or lanes_of(holds.type) == 1)):
            if index is not None:
                raise AssertionError("an index with lanes in a scalar group")
            if holds is not None:
                at = e.select(holds, at, e.i64(0))
            raw = e.load(element, e.gep(element, self.pointers[a], at), ITEMSIZE[dtype])
            if holds is not None:
                raw = e.select(holds, raw, e.const(element, 0))
            return from_storage(e, dtype, raw)
        wide = storage_type(dtype, lanes)
        mask = group.mask
        if holds is not None:
            holds = holds if lanes_of(holds.type) == lanes else e.splat(holds, lanes)
            mask = holds if mask is None else e.bin("and", holds, mask)
        if lane_class == "1" and index is None and (mask is None or self.masks):
            pointer = e.gep(element, self.pointers[a], at)
            if mask is None:
                raw = e.load(wide, pointer, self.alignment(dtype, lanes))
            else:
                raw = e.call(
                    wide,
                    f"llvm.masked.load.{mangle(wide)}.p0",
                    pointer,
                    mask,
                    e.const(wide, 0),
                )
            return from_storage(e, dtype, raw)
        if lane_class == "2" and index is None and mask is None:
            # Two vectors that end with the last element wanted, and of each the lanes that are.
            first = e.load(wide, e.gep(element, self.pointers[a], at), ITEMSIZE[dtype])
            second = e.load(wide, e.gep(element, self.pointers[a], e.add(at, lanes - 1)), ITEMSIZE[dtype])
            chosen = [*range(0, lanes, 2), *range(lanes + 1, 2 * lanes, 2)]
            return from_storage(e, dtype, self.shuffle(first, second, chosen))
        # Lane by lane; a lane that is switched off reads the buffer's first element instead.
        stride = int(lane_class) if lane_class in "012" else self.lane_stride(a)
        raw = Operand(wide, "poison")
        for lane in range(lanes):
            position = at
            if isinstance(stride, int):
                position = e.add(at, stride * lane)
            elif lane:
                position = e.add(at, e.mul(stride, lane))
            if index is not None:
                position = e.add(position, e.mul(e.extract(index, lane), self.index_strides[a]))
            if mask is not None:
                position = e.select(e.extract(mask, lane), position, e.i64(0))
            raw = e.insert(raw, e.load(element, e.gep(element, self.pointers[a], position), ITEMSIZE[dtype]), lane)
        if holds is not None:
            raw = e.select(holds, raw, e.const(wide, 0))
        return from_storage(e, dtype, raw)

    def alignment(self, dtype: str, lanes: int) -> int:
        """What is known of the address of ``lanes`` adjacent elements, in bytes."""
        return ITEMSIZE[dtype]

    def shuffle(self, a: Operand, b: Operand, lanes: list[int]) -> Operand:
        mask = ", ".join(f"i32 {lane}" for lane in lanes)
        return self.e.inst(a.type, f"shufflevector {a}, {b}, <{len(lanes)} x i32> <{mask}>")

    def store(self, a: int, value: Operand, positions: Positions, group: Group) -> None:
        e = self.e
        access = self.spec.accesses[a]
        element = storage_type(access.dtype)
        raw = to_storage(e, access.dtype, value)
        at = positions[a, 0]
        size = ITEMSIZE[access.dtype]
        pointer = e.gep(element, self.pointers[a], at)
        if lanes_of(raw.type) == 1:
            e.store(raw, pointer, size)
        elif access.vector == "1":
            if group.mask is None:
                e.store(raw, pointer, self.alignment(access.dtype, lanes_of(raw.type)))
            else:
                e.call("void", f"llvm.masked.store.{mangle(raw.type)}.p0", raw, pointer, group.mask)
        elif access.vector == "2" and self.masks:
            lanes = lanes_of(raw.type)
            mask = Operand(f"<{lanes} x i1>", "<" + ", ".join(["i1 true, i1 false"] * (lanes // 2)) + ">")
            for half in range(2):
                spread = self.shuffle(raw, raw, [half * lanes // 2 + i // 2 for i in range(lanes)])
                pointer = e.gep(element, self.pointers[a], e.add(at, half * lanes))
                e.call("void", f"llvm.masked.store.{mangle(raw.type)}.p0", spread, pointer, mask)
        else:
            stride = self.lane_stride(a)
            for lane in range(lanes_of(raw.type)):
                position = e.add(at, e.mul(stride, lane)) if lane else at
                e.store(e.extract(raw, lane), e.gep(element, self.pointers[a], position), size)
