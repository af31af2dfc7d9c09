"""The scheduler's kernels on tables: scatter, running reductions, sorting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luchina.compiler.body import ITEMSIZE
from luchina.compiler.order import Argsort, Scan
from luchina.compiler.prims import Node
from luchina.compiler.scatter import Scatter, blocks_for
from luchina.compiler.task import Task, Window, contiguous

if TYPE_CHECKING:
    from luchina.compiler.kernel import Kernel


class TableKernels:
    """What ``Scheduler`` does for primitives whose kernels stand for themselves. Operands are contiguous."""

    tasks: list[Task]

    if TYPE_CHECKING:

        def storage(self, kind: str, size: int, dtype: str, index: int = -1) -> Any: ...
        def write(self, node: Node, to: Window) -> None: ...
        def view(self, node: Node) -> Window: ...

    def _plain(self, node: Node) -> Window:
        """The node in row-major order, ready to be read."""
        window = self.view(node)
        if window.is_contiguous:
            return window
        copy = contiguous(self.storage("temp", node.size, node.dtype), node.shape)
        self.write(node, copy)
        return copy

    def _table_task(
        self,
        kernel: Kernel,
        windows: list[Window],
        numbers: list[int],
        blocks: int,
        op: str,
        work: int,
        scratch: int = 0,
    ) -> None:
        """Add a task; the last of ``windows`` is written."""
        params = [n for w in windows for n in (w.storage.slot, w.offset * ITEMSIZE[w.dtype])] + numbers
        read = sum(w.storage.nbytes for w in windows[:-1])
        self.tasks.append(
            Task(
                kernel,
                params,
                blocks,
                [w.storage for w in windows],
                [windows[-1].storage],
                ops=[op],
                scratch=scratch,
                cost=float(work),
                flops=work,
                nbytes_read=read,
                nbytes_written=windows[-1].storage.nbytes,
            )
        )

    def _scatter(self, node: Node, to: Window) -> None:
        base, index, source = node.inputs
        (mode,) = node.attrs
        rows, width = base.shape
        n = index.shape[0]
        indices, sources = self._plain(index), self._plain(source)
        assert to.is_contiguous
        self.write(base, to)
        if n and width:
            blocks = blocks_for(rows, width, n)
            kernel = Scatter(node.dtype, mode).kernel()
            params = [to.storage.slot, to.offset * ITEMSIZE[to.dtype]]
            for w in (indices, sources):
                params += [w.storage.slot, w.offset * ITEMSIZE[w.dtype]]
            self.tasks.append(
                Task(
                    kernel,
                    [*params, rows, width, n, blocks],
                    blocks,
                    [to.storage, indices.storage, sources.storage],
                    [to.storage],
                    ops=["scatter"],
                    cost=float(n * width),
                    flops=n * width if mode != "set" else 0,
                    nbytes_read=n * (8 + 2 * width * ITEMSIZE[node.dtype]),
                    nbytes_written=n * width * ITEMSIZE[node.dtype],
                )
            )

    def _scan(self, node: Node, to: Window) -> None:
        (source,) = node.inputs
        n = node.shape[-1]
        assert to.is_contiguous
        kernel = Scan(node.dtype, node.attrs[0]).kernel()
        self._table_task(kernel, [self._plain(source), to], [n], node.size // n, "scan", 4 * node.size)

    def _argsort(self, node: Node, to: Window) -> None:
        (source,) = node.inputs
        n = node.shape[-1]
        assert to.is_contiguous
        spec = Argsort(source.dtype, node.attrs[0])
        work = node.size * 4 * ITEMSIZE[source.dtype]
        windows = [self._plain(source), to]
        self._table_task(spec.kernel(), windows, [n], node.size // n, "argsort", work, scratch=spec.scratch(n))
