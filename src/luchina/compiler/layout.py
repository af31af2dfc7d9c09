"""The axes of a loop kernel: in which order they run, which are one, along which the vectors go.

Everything here works on *forms*: lists with one coefficient per axis, for each operand's address and each of its
bounds.
Nothing changes what is computed, only the order in which memory is visited.
"""

from __future__ import annotations

from math import prod

# A tile of a transposition: lines read along one axis are used up before they leave the first cache.
TILE = 32
# Below this many elements everything is in the first cache anyway.
WORTH_TILING = 4096

# Lanes of a vector, in estimates: shorter axes leave most of one unused.
SHORT = 16

Form = list[int]


class Axes:
    """Extents of ``outer`` and then inner axes, and the forms over them; each step rewrites both."""

    def __init__(self, extents: list[int], outer: int, forms: list[Form], loads: list[int]) -> None:
        self.extents = list(extents)
        self.outer = outer
        self.forms = [list(form) for form in forms]
        self.loads = loads  # which forms are addresses that are read
        self.along = "outer"

    @property
    def inner(self) -> int:
        return len(self.extents) - self.outer

    def arrange(self) -> None:
        """All steps."""
        self.drop_ones()
        if self.inner:
            self.sort()
        self.merge()
        self.choose_vector_axis()
        if not self.inner:
            self.lengthen()
            self.tile()
        if self.along == "outer" and not self.outer:
            self._insert(0, 1)
            self.outer = 1

    # ---- editing

    def _insert(self, axis: int, extent: int) -> None:
        self.extents.insert(axis, extent)
        for form in self.forms:
            form.insert(axis, 0)

    def _remove(self, axis: int) -> None:
        del self.extents[axis]
        for form in self.forms:
            del form[axis]
        self.outer -= axis < self.outer

    def _order(self, order: list[int]) -> None:
        self.extents = [self.extents[a] for a in order]
        self.forms = [[form[a] for a in order] for form in self.forms]

    # ---- steps

    def drop_ones(self) -> None:
        """Axes of one element go; one inner axis stays where there was any: a reduction of one element is still one."""
        for axis in range(len(self.extents) - 1, -1, -1):
            if self.extents[axis] == 1 and not (axis >= self.outer and self.inner == 1):
                self._remove(axis)

    def sort(self) -> None:
        """Outer axes among themselves, and inner ones, by falling stride of the operand that is read most."""
        reads = [self.forms[i] for i in self.loads if any(self.forms[i][self.outer :])]
        if not reads:
            return
        main = max(reads, key=lambda form: prod(n for n, k in zip(self.extents, form) if k))
        axes = range(len(self.extents))
        self._order(sorted(axes, key=lambda a: (a >= self.outer, main[a] != 0, -abs(main[a]))))

    def merge(self) -> None:
        """Neighbours that every form crosses with one stride become one axis."""
        for axis in range(len(self.extents) - 2, -1, -1):
            if axis == self.outer - 1:
                continue
            extent = self.extents[axis + 1]
            if all(form[axis] == form[axis + 1] * extent for form in self.forms):
                self.extents[axis + 1] *= self.extents[axis]
                self._remove(axis)

    def choose_vector_axis(self) -> None:
        """Vectors follow the axis along which most of what is read lies adjacent: the last inner or the last outer."""
        if not self.inner:
            return
        score = 0
        for i in self.loads:
            form = self.forms[i]
            if any(form[self.outer :]):
                score += (form[-1] == 1) - (self.outer > 0 and form[self.outer - 1] == 1)
        self.along = "inner" if score >= 0 or not self.outer else "outer"

    def lengthen(self) -> None:
        """A pointwise kernel whose last axis is shorter than a vector goes along the axis where it costs least."""
        last = len(self.extents) - 1
        if last < 1 or self.extents[last] >= SHORT:
            return

        def cost(axis: int) -> float:
            """Estimated instructions for an element: a scattered access takes each lane by itself."""
            groups = -(-self.extents[axis] // SHORT)
            scattered = sum(form[axis] not in (0, 1) for form in self.forms)
            return groups * (20 + len(self.forms) + 1.5 * SHORT * scattered) / self.extents[axis]

        best = min(range(last, -1, -1), key=cost)
        if best != last:
            self._order([*(a for a in range(last + 1) if a != best), best])
            self.merge()

    def tile(self) -> None:
        """Where something is read across the vectors but adjacently along another axis, run both in tiles."""
        last = len(self.extents) - 1
        if last < 1 or prod(self.extents) < WORTH_TILING:
            return
        across = [self.forms[i] for i in self.loads if abs(self.forms[i][last]) > 1]
        axes = {a for form in across for a in range(last) if form[a] == 1 and self.extents[a] >= 8}
        if not axes:
            return
        axis = max(axes)
        for a in (last, axis):  # the later one first, so that numbers stay
            part = _divisor(self.extents[a], TILE)
            if part < 8:
                return
        self._split(last, _divisor(self.extents[last], TILE))
        self._split(axis, _divisor(self.extents[axis], TILE))
        # Now: … axis, axis within a tile, …, last, last within a tile.
        inside, last = axis + 1, len(self.extents) - 1
        order = [a for a in range(len(self.extents)) if a not in (inside, last)]
        self._order([*order, inside, last])

    def _split(self, axis: int, part: int) -> None:
        self.extents[axis : axis + 1] = [self.extents[axis] // part, part]
        for form in self.forms:
            form[axis : axis + 1] = [form[axis] * part, form[axis]]
        self.outer += axis < self.outer


def _divisor(n: int, most: int) -> int:
    """The greatest divisor of ``n`` that is at most ``most``."""
    return next(d for d in range(min(n, most), 0, -1) if n % d == 0)
