"""Contractions on devices: what fixes the kernel of one, its parameters and its tiles.

``out[b, m, n] = epilogue(Σ_k x[b, m, k] · y[b, k, n])``, where each of b, m, n and k may be several axes: a
convolution's n are its images, rows and columns, its k the channels and the places of the window. An operand is a
strided window on memory over its axes, so nothing is unrolled before it is read. A work-group makes a tile of the
result (``product_kernel.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from luchina.compiler import allowed as permitted
from luchina.compiler.body import ITEMSIZE, Body, identity, register_type
from luchina.compiler.contraction.interface import Call, Epilogue, Window
from luchina.compiler.contraction.spec import magic
from luchina.compiler.ir import element_of
from luchina.compiler.target import Target
from luchina.compiler.targets.items import GroupKernel
from luchina.compiler.vecmath import alone

NANOSECONDS_A_FLOP = 0.001

ALIGNMENT = 16
"""Bytes that one item reads or writes at once, at most."""

SHARED = 48 << 10
"""Bytes of local memory that a group may have on every card."""


class Tile(NamedTuple):
    """A tile of the result, its depth, and the work items that make it: ``rows`` × ``columns`` of them, or of warps,
    each with a part of its own."""

    m: int
    n: int
    k: int
    items: int
    rows: int
    columns: int


# By what multiplies and the architecture: large tiles, and small ones for results that have few.
_FMA = (Tile(128, 128, 8, 256, 16, 16), Tile(64, 64, 16, 256, 16, 16))
TILES = {
    ("fma", "spirv"): (Tile(32, 32, 16, 64, 8, 8),),
    ("fma", "sm_75"): _FMA,
    ("fma", "sm_80"): _FMA,
    ("fma", "sm_90"): _FMA,
    ("mma", "sm_75"): (Tile(128, 64, 32, 128, 2, 2), Tile(64, 64, 32, 128, 2, 2)),
    ("mma", "sm_80"): (Tile(128, 128, 32, 256, 2, 4), Tile(64, 64, 32, 128, 2, 2)),
    ("mma", "sm_90"): (Tile(128, 128, 32, 256, 2, 4), Tile(64, 64, 32, 128, 2, 2)),
    ("tf32", "sm_80"): (Tile(128, 128, 16, 256, 2, 4), Tile(64, 64, 16, 128, 2, 2)),
    ("tf32", "sm_90"): (Tile(128, 128, 16, 256, 2, 4), Tile(64, 64, 16, 128, 2, 2)),
}

# Tensor cores by dtype: the oldest architecture.
_TENSOR_CORES = {"float16": ("mma", "sm_75"), "bfloat16": ("mma", "sm_80"), "float32": ("tf32", "sm_80")}

FEW = 96
"""Tiles that leave processors of a card without work: smaller ones are taken."""


class Side(NamedTuple):
    """How an operand is brought to local memory: along which class of axes neighbouring items read, and how many
    adjacent elements each."""

    along: str
    chunk: int


class Spec(NamedTuple):
    """One kernel: all that changes its code. ``axes`` are how many axes b, m, n and k have."""

    dtype: str
    engine: str
    tile: Tile
    axes: tuple[int, int, int, int]
    x: Side
    y: Side
    operands: tuple[tuple[str, str, int], ...]
    """Of each window that the epilogue reads the dtype, how it lies along n ("c" is a single number, "0" the same
    element, "1" adjacent ones, "s" anything), and the number of its strides: windows of the same strides share them."""
    outs: tuple[tuple[str, str, int], ...]
    wide: bool
    """Whether adjacent columns are written together."""
    body: Body

    def __str__(self) -> str:
        return " ".join(map(str, ("product", *self[:-1]))) + " | " + str(self.body)

    @property
    def windows(self) -> tuple[tuple[str, str, int], ...]:
        return self.operands + self.outs

    @property
    def strides(self) -> int:
        """How many different strides the windows have."""
        return 1 + max(number for _, _, number in self.windows)

    @property
    def element(self) -> str:
        """LLVM's type of an element in local memory."""
        return {"mma": "i16", "tf32": "float"}.get(self.engine) or element_of(register_type(self.dtype))


CLASSES = "bmnk"
_HAS = {"x": "bmk", "y": "bkn"}


def parameter_names(spec: Spec) -> list[str]:
    """Names of the kernel's params, in order."""
    names = ["m", "n", "k", "down", "across"]
    for c, count in zip(CLASSES, spec.axes):
        names += [f"{c}{i}_{what}" for i in range(1, count) for what in ("extent", "magic", "shift")]
    for w in ("x", "y", *(f"w{i}" for i in range(len(spec.windows)))):
        names += [f"{w}_slot", f"{w}_offset"]
    for w in ("x", "y", *(f"s{i}" for i in range(spec.strides))):
        names += [f"{w}_{c}{i}" for c in _HAS.get(w, "bmn") for i in range(spec.axes[CLASSES.index(c)])]
    return names


class Operand(NamedTuple):
    """A window with its strides by class of axes."""

    window: Window
    strides: dict[str, list[int]]


def engine_for(target: Target, dtype: str) -> str:
    """What multiplies: tensor cores where the card has them for the dtype."""
    kind, oldest = _TENSOR_CORES.get(dtype, ("fma", ""))
    allowed = kind == "mma" or (kind == "tf32" and permitted.tensor_float)
    newer = target.name.startswith("sm_") and target.name >= oldest
    return kind if allowed and newer else "fma"


def call(
    target: Target,
    dtype: str,
    classes: str,
    extents: Sequence[int],
    depth: Sequence[int],
    x: Window,
    y: Window,
    outs: Sequence[Window],
    epilogue: Epilogue | None,
    aligned: bool = True,
) -> Call:
    """The kernel call of a contraction.

    Args:
        classes: of each axis of the result b, m or n; ``extents`` are theirs, ``depth`` those of k.
        x: over the axes b…, m…, k… in the result's order.
        y: over b…, k…, n….
        outs: over the result's axes; as the epilogue's operands.
        aligned: whether all memory begins at multiples of ``ALIGNMENT``.
    """
    sizes = {c: [n for n, own in zip(extents, classes) if own == c] for c in "bmn"} | {"k": list(depth)}
    windows = [*(epilogue.operands if epilogue else ()), *outs]
    operands = [
        _by_class(x, {c: len(sizes[c]) for c in _HAS["x"]}),
        _by_class(y, {c: len(sizes[c]) for c in _HAS["y"]}),
    ]
    for w in windows:
        own = {c: [s for s, o in zip(w.strides, classes) if o == c] for c in "bmn"}
        operands.append(Operand(w, own))
    for c in CLASSES:
        _merge(sizes[c], [o.strides[c] for o in operands if c in o.strides])
    total = {c: prod(sizes[c]) for c in CLASSES}
    engine = engine_for(target, dtype)
    tile = _choose(TILES[engine, target.name], total)
    body = epilogue.body if epilogue else identity(dtype)
    inner = [o.strides["n"][-1] for o in operands[2:]]
    wide_by = 4 if engine == "fma" else 2
    adjacent = all(
        (s == 0 or s == 1) and (s == 0 or _aligned(o, "n", wide_by, sizes)) for s, o in zip(inner, operands[2:])
    )
    wide = (
        aligned
        and adjacent
        and sizes["n"][-1] % wide_by == 0
        and not any(i.op in alone.FUNCTIONS for i in body.instructions)
    )
    shared: dict[str, tuple[int, dict[str, list[int]]]] = {}
    kinds = []
    for s, o in zip(inner, operands[2:]):
        number = shared.setdefault(str(o.strides), (len(shared), o.strides))[0]
        single = not any(any(own) for own in o.strides.values())
        kinds.append((o.window.dtype, "c" if single else "0" if s == 0 else "1" if s == 1 else "s", number))
    count = len(windows) - len(outs)
    left, right = (_side(o, own, engine, dtype, tile, sizes, aligned) for o, own in zip(operands, "mn"))
    if engine == "mma" and 1 in (left.chunk, right.chunk):
        tile = tile._replace(k=16)  # elements that come one by one wait in registers, which are few
        left, right = (_side(o, own, engine, dtype, tile, sizes, aligned) for o, own in zip(operands, "mn"))
    spec = Spec(
        dtype,
        engine,
        tile,
        tuple(len(sizes[c]) for c in CLASSES),  # type: ignore[arg-type]
        left,
        right,
        tuple(kinds[:count]),
        tuple(kinds[count:]),
        wide,
        body,
    )
    down, across = -(-total["m"] // tile.m), -(-total["n"] // tile.n)
    params = [total["m"], total["n"], total["k"], down, across]
    for c in CLASSES:
        for extent in sizes[c][1:]:
            params += [extent, *magic(extent)]
    for operand in operands:
        params += [operand.window.slot, operand.window.offset]
    for by_class in (operands[0].strides, operands[1].strides, *(strides for _, strides in shared.values())):
        params += [s for strides in by_class.values() for s in strides]
    flops = 2 * prod(total.values())
    from luchina.compiler.targets import product_kernel

    return Call(
        GroupKernel(str(spec), tile.items, lambda target, name: product_kernel.emit(spec, target, name)),
        params,
        total["b"] * down * across,
        0,
        NANOSECONDS_A_FLOP * flops,
        tuple(o.window.slot for o in operands[: 2 + count]),
        tuple(w.slot for w in outs),
        flops,
    )


def _by_class(window: Window, counts: dict[str, int]) -> Operand:
    strides = iter(window.strides)
    return Operand(window, {c: [next(strides) for _ in range(n)] for c, n in counts.items()})


def _merge(extents: list[int], strides: list[list[int]]) -> None:
    """Leave out axes of one element, and make one of two that every window crosses as one."""
    for i in reversed(range(len(extents))):
        if extents[i] == 1:
            for part in (extents, *strides):
                del part[i]
    for i in reversed(range(len(extents) - 1)):
        if all(own[i] == own[i + 1] * extents[i + 1] for own in strides):
            extents[i + 1] *= extents[i]
            for part in (extents, *strides):
                del part[i]
    if not extents:
        extents.append(1)
        for own in strides:
            own.append(0)


def _choose(tiles: Sequence[Tile], total: dict[str, int]) -> Tile:
    for tile in tiles:
        if total["b"] * -(-total["m"] // tile.m) * -(-total["n"] // tile.n) >= FEW:
            return tile
    return tiles[-1]


def _aligned(operand: Operand, along: str, by: int, sizes: dict[str, list[int]]) -> bool:
    """Whether runs of ``by`` elements along the last axis of a class begin at multiples of ``by`` and are whole."""
    others = [s for c, own in operand.strides.items() for s in (own[:-1] if c == along else own)]
    offset = operand.window.offset
    return (
        operand.strides[along][-1] == 1 and sizes[along][-1] % by == 0 and all(s % by == 0 for s in (offset, *others))
    )


def _side(
    operand: Operand, own: str, engine: str, dtype: str, tile: Tile, sizes: dict[str, list[int]], aligned: bool
) -> Side:
    unit = [c for c in (own, "k") if operand.strides[c][-1] == 1]
    along = max(unit, key=lambda c: sizes[c][-1], default="k")
    chunk = ALIGNMENT // ITEMSIZE[dtype]
    whole = (engine != "fma" or along != "k") and register_type(dtype) != "i1"
    whole = whole and (engine != "fma" or element_of(register_type(dtype)) not in ("i8", "i16"))
    if engine == "fma" and dtype in ("float16", "bfloat16"):
        whole = False
    extent = {"m": tile.m, "n": tile.n, "k": tile.k}
    lanes = extent[along] // chunk
    other = extent[own] if along == "k" else tile.k
    whole = aligned and whole and lanes > 0 and tile.items % lanes == 0 and other % (tile.items // lanes) == 0
    return Side(along, chunk if whole and _aligned(operand, along, chunk, sizes) else 1)
