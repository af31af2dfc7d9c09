"""Matrix products by tiles in local memory: a work-group makes TILE × TILE elements of the result.

For each TILE of k the group brings a tile of both matrices into local memory, waits, and every item multiplies for the
TILE·TILE / GROUP elements that it gathers in registers. A sum goes from the first k to the last.
"""

from __future__ import annotations

from luchina.compiler.body import ITEMSIZE, from_storage, register_type, storage_type, store_value
from luchina.compiler.ir import Emitter, Operand, module
from luchina.compiler.scatter import _parameters
from luchina.compiler.target import Target
from luchina.compiler.targets.groups import GROUP
from luchina.compiler.targets.items import GroupKernel, barrier, local_id

TILE = 16
ROWS = GROUP // TILE  # rows of a tile that the group touches at once
EACH = TILE // ROWS  # elements of a tile for each work item


def kernel(dtype: str) -> GroupKernel:
    """``out[b] = x[b] · y[b]`` of contiguous operands; params: three places, then m, n, k, tiles down and across."""
    return GroupKernel(f"product {TILE} {GROUP} {dtype}", GROUP, lambda target, name: _emit(dtype, name, target))


def tiles(m: int, n: int) -> tuple[int, int]:
    """How many tiles the result has down and across."""
    return -(-m // TILE), -(-n // TILE)


def _emit(dtype: str, name: str, target: Target) -> str:
    e = Emitter()
    x, y, out, m, n, k, down, across = _parameters(e, 8, pointers=3)
    item = local_id(e, target)
    row, column = e.bin("udiv", item, e.i64(TILE)), e.bin("urem", item, e.i64(TILE))
    register, element = register_type(dtype), storage_type(dtype)
    is_float = register in ("float", "double")
    rooms = [f"@{name}.{side} = internal addrspace(3) global [{TILE * TILE} x {register}] poison\n" for side in "xy"]

    def local(side: str, i: Operand, j: Operand) -> str:
        at = e.add(e.mul(i, TILE), j)
        return (
            f"ptr addrspace(3) {e.inst('ptr', f'getelementptr {register}, ptr addrspace(3) @{name}.{side}, {at}').text}"
        )

    def bring(side: str, base: Operand, first: tuple[Operand, Operand], limits: tuple[Operand, Operand]) -> None:
        """A tile of a matrix with zeros beyond its edges."""
        for part in range(EACH):
            own = e.add(row, part * ROWS)
            i, j = e.add(first[0], own), e.add(first[1], column)
            inside = e.bin("and", e.icmp("slt", i, limits[0]), e.icmp("slt", j, limits[1]))
            at = e.select(inside, e.add(e.mul(i, limits[1]), j), e.i64(0))
            value = from_storage(e, dtype, e.load(element, e.gep(element, base, at), ITEMSIZE[dtype]))
            value = e.select(inside, value, e.const(register, 0))
            e.raw(f"store {value}, {local(side, own, column)}")

    with e.loop(Operand("i64", "%lo"), Operand("i64", "%hi")) as blocks:
        tile = e.bin("urem", blocks.index, e.mul(down, across))
        batch = e.bin("udiv", blocks.index, e.mul(down, across))
        top = e.mul(e.bin("udiv", tile, across), TILE)
        left = e.mul(e.bin("urem", tile, across), TILE)
        bases = [e.gep(element, p, e.mul(batch, e.mul(a, b))) for p, a, b in ((x, m, k), (y, k, n), (out, m, n))]
        zeros = [e.const(register, 0)] * EACH
        with e.loop(e.i64(0), k, TILE, zeros) as steps:
            bring("x", bases[0], (top, steps.index), (m, k))
            bring("y", bases[1], (steps.index, left), (k, n))
            barrier(e, target)
            sums = list(steps.carried)
            for depth in range(TILE):
                b = e.inst(register, f"load {register}, {local('y', e.i64(depth), column)}")
                for part in range(EACH):
                    own = e.add(row, part * ROWS)
                    a = e.inst(register, f"load {register}, {local('x', own, e.i64(depth))}")
                    if is_float:
                        sums[part] = e.intrinsic("fma", a, b, sums[part])
                    else:
                        sums[part] = e.add(sums[part], e.mul(a, b))
            barrier(e, target)
            steps.next = sums
        for part, value in enumerate(steps.carried):
            i, j = e.add(top, e.add(row, part * ROWS)), e.add(left, column)
            with e.when(e.bin("and", e.icmp("slt", i, m), e.icmp("slt", j, n))):
                store_value(e, dtype, value, e.gep(element, bases[2], e.add(e.mul(i, n), j)))
    return module([*rooms, e.function(name)], e.declarations, target.triple)
