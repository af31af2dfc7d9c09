"""The derivative of a recurrent layer: its steps in reverse.

Given the cotangents of all h and of the last h and c, it writes one piece of memory: the gradient of x (T, B, G · H),
that of u (T, B, G · H) where it differs, and what is carried beyond the first step (B, H). Gradients of weights are
products over all steps and not made here.
"""

from __future__ import annotations

from luchina.compiler.ir import Operand
from luchina.compiler.recurrence.cells import BACKWARD
from luchina.compiler.recurrence.parts import Parts, Units
from luchina.compiler.recurrence.spec import Spec
from luchina.compiler.target import Target


def emit(spec: Spec, target: Target, name: str) -> str:
    """Text of the module."""
    parts = Parts(spec, target, name)
    parts.define_micro()
    parts.define_clear()
    with parts.function("enter", "ptr %from, ptr %tile, i64 %H") as e:
        parts.over_units(e, lambda units: units.put(units.read("from"), "tile"))
    if spec.cell.carries:
        with parts.function("leave", "ptr %tile, ptr %to, i64 %H") as e:
            parts.over_units(e, lambda units: units.write(units.get("tile"), "to"))
    _define_cell(parts)
    _drive(parts)
    return parts.text()


_POINTERS = ("g", "du_tile", "product", "carried", "h_before", "h", "c_before", "c", "kept", "dx", "du")


def _define_cell(parts: Parts) -> None:
    """One step of one row, before the product."""
    spec, cell = parts.spec, parts.spec.cell
    with parts.function("cell", ", ".join(f"ptr %{name}" for name in _POINTERS) + ", i64 %H, i64 %units") as e:

        def body(units: Units) -> None:
            dh = units.read("g") + units.get("product")
            carried = units.get("carried") if cell.carries else None
            kept = [units.read("kept", gate) for gate in range(cell.kept)]
            result = BACKWARD[spec.mode](units.m, dh, carried, kept, units.read)
            for gate, value in enumerate(result.x):
                units.write(value, "dx", gate)
            for gate, value in enumerate(result.u):
                units.put(value, "du_tile", gate)
                if cell.biased:
                    units.write(value, "du", gate)
            if result.carried is not None:
                units.put(result.carried, "carried")

        parts.over_units(e, body)


def _drive(parts: Parts) -> None:
    e, at, cell = parts.e, parts.at, parts.spec.cell
    steps, width, trace, out = at["T"], at["H"], at["trace"], at["out"]
    backwards = e.icmp("ne", at["reverse"], e.i64(0))
    after = e.sub(e.i64(1), at["reverse"])
    cs = parts.offset(trace, at["c_at"])
    kept = parts.offset(trace, at["kept_at"])
    du = parts.offset(out, at["du_at"])
    last = e.sub(steps, 1)
    gates = e.mul(width, cell.gates)
    with parts.blocks():
        with parts.each_row() as (row, tile):
            start = e.mul(row, width)
            parts.call("enter", parts.offset(at["gh"], start), parts.offset(tile, at["product_at"]), width)
            if cell.has_c:
                parts.call("enter", parts.offset(at["gc"], start), parts.offset(tile, at["carried"]), width)
        with e.loop(e.i64(0), steps) as loop:
            t = e.select(backwards, loop.index, e.sub(last, loop.index))
            with parts.each_row() as (row, tile):
                slot, previous = e.add(t, after), e.add(t, at["reverse"])
                parts.call(
                    "cell",
                    parts.offset(at["g"], e.add(e.mul(t, at["g_t"]), e.mul(row, at["g_b"]))),
                    tile,
                    parts.offset(tile, at["product_at"]),
                    parts.offset(tile, at["carried"]),
                    *(parts.row_of(trace, s, row, width) for s in (previous, slot)),
                    *(parts.row_of(cs, s, row, width) for s in (previous, slot)),
                    parts.row_of(kept, t, row, e.mul(width, cell.kept)),
                    parts.row_of(out, t, row, gates),
                    parts.row_of(du, t, row, gates),
                    width,
                    at["units"],
                )
            with e.when(e.icmp("slt", loop.index, last)):
                parts.product()
        if cell.carries:
            to = parts.offset(out, at["carried_at"])
            with parts.each_row() as (row, tile):
                place: Operand = parts.offset(to, e.mul(row, width))
                parts.call("leave", parts.offset(tile, at["carried"]), place, width)
