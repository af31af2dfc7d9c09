"""Where K was divided: the partial sums are added in order and the epilogue is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luchina.compiler.contraction import writeback
from luchina.compiler.contraction.spec import ACCUMULATE, Params, Spec
from luchina.compiler.ir import STORAGE_TYPE, Emitter, Operand, module, vector
from luchina.compiler.kernel import Kernel, kernel_name

if TYPE_CHECKING:
    from luchina.compiler.target import Target


def kernel(spec: Spec) -> Kernel:
    """The kernel that adds ``K`` partial results, ``a_k`` elements apart; ``spec.mr`` is 1."""
    key = f"combine {spec}"
    name = kernel_name(key)
    return Kernel(name, key, lambda target: emit(spec, target, name))


def emit(spec: Spec, target: Target, name: str) -> str:
    """Text of the module. A block is ``m_block`` rows of one batch."""
    e = Emitter()
    p = Params(e, spec)
    lanes = target.lanes(ACCUMULATE[spec.dtype])
    element = STORAGE_TYPE[ACCUMULATE[spec.dtype]]
    wide = vector(element, lanes)
    width = spec.nv * lanes
    offsets = e.gep("i8", Operand("ptr", "%scratch"), p["at_columns"])
    partial = e.load("ptr", e.gep("ptr", Operand("ptr", "%table"), p["a_slot"]), 8)
    parts = [("write", writeback.emit_write(spec, target), writeback.SIGNATURE)]
    if writeback.tabled_windows(spec):
        parts.append(("columns", writeback.emit_columns(spec, target), writeback.COLUMNS_SIGNATURE))
    count, n_extent = p["m_blocks"], p["N"]
    with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as block:
        batch = e.bin("udiv", block.index, count)
        m = e.mul(e.sub(block.index, e.mul(batch, count)), p["m_block"])
        stop = e.add(m, p["m_block"])
        stop = e.select(e.icmp("slt", stop, p["M"]), stop, p["M"])
        with e.loop(e.i64(0), n_extent, width) as panel:
            if len(parts) > 1:
                e.raw(f"call void @{name}.columns(ptr %params, {panel.index}, {offsets})")
            left = e.sub(n_extent, panel.index)
            columns = e.select(e.icmp("slt", left, e.i64(width)), left, e.i64(width))
            with e.loop(m, stop) as row:
                at = e.add(e.add(e.mul(batch, p["a_batch"]), e.mul(row.index, p["a_x"])), panel.index)
                # Rows of partial sums are whole vectors long, so that nothing needs a mask here.
                with e.loop(e.i64(0), columns, lanes) as column:
                    start = e.gep(element, partial, e.add(at, column.index))
                    with e.loop(e.i64(0), p["K"], carry=[e.const(wide, 0)]) as part:
                        value = e.load(wide, e.gep(element, start, e.mul(part.index, p["a_k"])), 4)
                        total = part.carried[0]
                        part.next = [e.add(total, value) if element[0] == "i" else e.bin("fadd", total, value)]
                    e.store(part.carried[0], e.gep(element, Operand("ptr", "%scratch"), column.index), 4)
                e.raw(
                    f"call void @{name}.write(ptr %params, ptr %table, ptr %scratch, {batch}, i64 0, "
                    f"{row.index}, i64 1, {panel.index}, {columns}, {offsets})"
                )
    declarations: dict[str, str] = {}
    functions = []
    for part_name, function, signature in parts:
        text = function.function(f"{name}.{part_name}", signature)
        functions.append(text.replace("define void", "define internal void", 1))
        declarations |= function.declarations
    return module([*functions, e.function(name)], declarations, target.triple)
