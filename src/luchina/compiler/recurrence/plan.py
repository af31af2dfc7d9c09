"""The scheduler's side of recurrent layers: windows, packed weights, parameters, blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luchina.compiler.body import ITEMSIZE
from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.prims import CELLS, Node, recurrence_sections
from luchina.compiler.recurrence import backward, forward
from luchina.compiler.recurrence.packing import Packing
from luchina.compiler.recurrence.spec import Spec, choose_tile, rows_of_block
from luchina.compiler.target import host
from luchina.compiler.task import Task, Window, contiguous

FLOPS_A_NANOSECOND = 80  # of one core
NANOSECONDS_A_UNIT = 4.0  # of the cell's formulas
BYTES_A_NANOSECOND = 8  # of packing


def _kernel(spec: Spec) -> Kernel:
    key = f"recurrence {spec}"
    emit = forward.emit if spec.direction == "forward" else backward.emit
    return Kernel(None, key, lambda target: emit(spec, target, kernel_name(key)))


class RecurrenceKernels:
    """What ``Scheduler`` does for the primitives ``recurrence`` and ``recurrence_backward``."""

    tasks: list[Task]

    if TYPE_CHECKING:

        def storage(self, kind: str, size: int, dtype: str, index: int = -1) -> Any: ...
        def view(self, node: Node) -> Window: ...
        def _plain(self, node: Node) -> Window: ...

    def _recurrence(self, node: Node, to: Window) -> None:
        mode, reverse, keep = node.attrs
        cell = CELLS[mode]
        x, weights = node.inputs[0], node.inputs[-1]
        steps, batch, _ = x.shape
        hidden = weights.shape[1]
        rows = self._rows_of(x)
        windows = [rows, *(self._plain(source) for source in node.inputs[1:-1])]
        sections = recurrence_sections(mode, steps, batch, hidden, keep)
        self._recurrence_task(
            Spec("forward", mode, node.dtype, *choose_tile(host(), batch), keep),
            windows,
            weights,
            to,
            (steps, batch, hidden, int(reverse)),
            (sections.c, sections.kept),
            [batch * hidden if keep else 0, *rows.strides[:2]],
            k_vectors=1,
            columns=cell.gates,
        )

    def _recurrence_backward(self, node: Node, to: Window) -> None:
        mode, reverse, steps = node.attrs
        cell = CELLS[mode]
        g, weights = node.inputs[0], node.inputs[-1]
        batch, hidden = g.shape[1:]
        rows = self._rows_of(g)
        windows = [rows, *(self._plain(source) for source in node.inputs[1:-1])]
        sections = recurrence_sections(mode, steps, batch, hidden, True)
        every = steps * batch * cell.gates * hidden
        self._recurrence_task(
            Spec("backward", mode, node.dtype, *choose_tile(host(), batch)),
            windows,
            weights,
            to,
            (steps, batch, hidden, int(reverse)),
            (sections.c, sections.kept),
            [rows.strides[0] if g.shape[0] == steps else 0, rows.strides[1], every, every * (2 if cell.biased else 1)],
            k_vectors=cell.gates,
            columns=1,
        )

    def _rows_of(self, node: Node) -> Window:
        """The node (steps, B, width), adjacent along the width at least."""
        window = self.view(node)
        return window if window.strides[2] == 1 or node.shape[2] == 1 else self._plain(node)

    def _recurrence_task(
        self,
        spec: Spec,
        windows: list[Window],
        weights: Node,
        to: Window,
        extents: tuple[int, int, int, int],
        sections: tuple[int, int],
        further: list[int],
        k_vectors: int,
        columns: int,
    ) -> None:
        """The tasks that pack the weights and go through the steps; ``k_vectors`` and ``columns`` in vectors of a
        unit's."""
        steps, batch, hidden, _ = extents
        gates, size = spec.cell.gates, ITEMSIZE[spec.dtype]
        lanes = host().lanes(spec.dtype)
        units = -(-hidden // lanes)
        k_vectors, panels = k_vectors * units, -(-columns * units // spec.nv)
        packed_size = panels * spec.nv * lanes * k_vectors * lanes
        matrix = self._plain(weights)
        packed = contiguous(self.storage("temp", packed_size, spec.dtype), (packed_size,))
        self.tasks.append(
            Task(
                Packing(spec.direction, spec.dtype, spec.nv).kernel(),
                [*_place(matrix), *_place(packed), hidden, units, gates, k_vectors],
                panels * spec.nv,
                [matrix.storage],
                [packed.storage],
                ops=["pack"],
                cost=packed_size * size / BYTES_A_NANOSECOND,
                nbytes_read=gates * hidden * hidden * size,
                nbytes_written=packed_size * size,
            )
        )
        rows = rows_of_block(batch, spec.mr, packed_size * size)
        blocks = -(-batch // rows)
        tiles = -(-min(rows, batch) // spec.mr)
        operands = [*windows, packed, to]
        flops = 2 * steps * batch * gates * hidden * hidden
        self.tasks.append(
            Task(
                _kernel(spec),
                [
                    *(n for window in operands for n in _place(window)),
                    *(*extents, rows, units, panels, k_vectors, *sections, *further),
                ],
                blocks,
                [window.storage for window in operands],
                [to.storage],
                ops=[f"{spec.mode.lower()} {spec.direction}"],
                scratch=tiles * (k_vectors + panels * spec.nv + units) * spec.mr * lanes * size,
                cost=flops / FLOPS_A_NANOSECOND + steps * batch * hidden * NANOSECONDS_A_UNIT,
                flops=flops,
                nbytes_read=sum(window.storage.nbytes for window in operands[:-1]),
                nbytes_written=to.storage.nbytes,
            )
        )


def _place(window: Window) -> tuple[int, int]:
    """Table entry and offset in bytes."""
    return window.storage.slot, window.offset * ITEMSIZE[window.dtype]
