"""All steps of a recurrent layer in one direction.

What is written, the *trace*, is one piece of memory: h before and after every step (T+1, B, H), c likewise, and what
the cell keeps for backward (T, B, kept · H). ``prims.recurrence_sections`` says where.
"""

from __future__ import annotations

from luchina.compiler.ir import Operand
from luchina.compiler.recurrence.cells import FORWARD
from luchina.compiler.recurrence.parts import Parts, Units
from luchina.compiler.recurrence.spec import Spec
from luchina.compiler.target import Target


def emit(spec: Spec, target: Target, name: str) -> str:
    """Text of the module."""
    parts = Parts(spec, target, name)
    parts.define_micro()
    parts.define_clear()
    _define_enter(parts)
    _define_cell(parts)
    _drive(parts)
    return parts.text()


def _define_enter(parts: Parts) -> None:
    """A row of h₀ or c₀ into its tile and into the trace."""
    with parts.function("enter", "ptr %from, ptr %tile, ptr %to, i64 %H") as e:

        def body(units: Units) -> None:
            value = units.read("from")
            units.put(value, "tile")
            units.write(value, "to")

        parts.over_units(e, body)


def _define_cell(parts: Parts) -> None:
    """One step of one row, after the product."""
    spec, cell = parts.spec, parts.spec.cell
    pointers = ("x", "bias", "h", "product", "carried", "h_out", "c_out", "kept")
    with parts.function("cell", ", ".join(f"ptr %{name}" for name in pointers) + ", i64 %H, i64 %units") as e:

        def body(units: Units) -> None:
            x = [units.read("x", gate) for gate in range(cell.gates)]
            u = [units.get("product", gate) for gate in range(cell.gates)]
            if cell.biased:
                u = [a + units.read("bias", gate) for gate, a in enumerate(u)]
            c = units.get("carried") if cell.has_c else None
            h = units.get("h") if spec.mode == "GRU" else None
            result = FORWARD[spec.mode](units.m, x, u, h, c)
            units.put(result.h, "h")
            units.write(result.h, "h_out")
            if result.c is not None:
                units.put(result.c, "carried")
                units.write(result.c, "c_out")
            if spec.keep:
                for gate, value in enumerate(result.kept):
                    units.write(value, "kept", gate)

        parts.over_units(e, body)


def _drive(parts: Parts) -> None:
    e, at, cell = parts.e, parts.at, parts.spec.cell
    steps, width, trace = at["T"], at["H"], at["trace"]
    backwards = e.icmp("ne", at["reverse"], e.i64(0))
    after = e.sub(e.i64(1), at["reverse"])  # h of step t is the trace's row t + after
    cs = parts.offset(trace, at["c_at"])
    kept = parts.offset(trace, at["kept_at"])

    def c_row(step: Operand, row: Operand) -> Operand:
        return parts.offset(cs, e.add(e.mul(step, at["c_step"]), e.mul(row, width)))

    with parts.blocks():
        before = e.mul(at["reverse"], steps)
        with parts.each_row() as (row, tile):
            start = e.mul(row, width)
            parts.call("enter", parts.offset(at["h0"], start), tile, parts.row_of(trace, before, row, width), width)
            if cell.has_c:
                into = parts.offset(tile, at["carried"])
                parts.call("enter", parts.offset(at["c0"], start), into, c_row(before, row), width)
        with e.loop(e.i64(0), steps) as loop:
            t = e.select(backwards, e.sub(e.sub(steps, 1), loop.index), loop.index)
            parts.product()
            with parts.each_row() as (row, tile):
                slot = e.add(t, after)
                parts.call(
                    "cell",
                    parts.offset(at["x"], e.add(e.mul(t, at["x_t"]), e.mul(row, at["x_b"]))),
                    at["bias"] if cell.biased else Operand("ptr", "null"),
                    tile,
                    parts.offset(tile, at["product_at"]),
                    parts.offset(tile, at["carried"]),
                    parts.row_of(trace, slot, row, width),
                    c_row(slot, row),
                    parts.row_of(kept, t, row, e.mul(width, cell.kept)),
                    width,
                    at["units"],
                )
