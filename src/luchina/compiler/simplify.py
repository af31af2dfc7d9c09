"""Graph to graph: the same values with fewer, or cheaper, primitives.

Each rule is a small function of one node whose inputs are simplified already; it gives a better node or None. Rules on
floats change no bit of a finite result (``x·1`` goes, ``x + 0`` stays: it turns -0 into 0). Equal nodes become one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from luchina.compiler import movement, prims
from luchina.compiler.body import ITEMSIZE, highest, lowest
from luchina.compiler.prims import FLOATS, INTS, Node

Rule = Callable[[Node], Node | None]


def simplify(outputs: Sequence[Node]) -> list[Node]:
    """The outputs with every rule applied and common subexpressions shared."""
    done: dict[int, Node] = {}
    known: dict[tuple, Node] = {}

    def finish(node: Node) -> Node:
        """Apply rules until none fits, then find the node's twin."""
        while True:
            for rule in _RULES.get(node.op, ()):
                better = rule(node)
                if better is not None:
                    break
            else:
                break
            if id(better) in settled:
                return better
            node = rebuild(better)
        key = (node.op, tuple(map(id, node.inputs)), node.shape, node.dtype, repr(node.attrs))
        twin = known.setdefault(key, node)
        settled[id(twin)] = twin
        return twin

    settled: dict[int, Node] = {}

    def rebuild(node: Node) -> Node:
        """A node that a rule made may rest on other new ones."""
        if id(node) in settled:
            return node
        inputs = tuple(i if id(i) in settled else finish(rebuild(i)) for i in node.inputs)
        return _with_inputs(node, inputs)

    keep: list[Node] = []  # ids stay unique while their nodes live
    for node in prims.topological(outputs):
        fresh = _with_inputs(node, tuple(done[id(i)] for i in node.inputs))
        keep.append(fresh)
        done[id(node)] = finish(fresh)
    results = [done[id(node)] for node in outputs]
    settled.clear()  # the two functions hold each other and what they know
    known.clear()
    return results


def _with_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    if all(a is b for a, b in zip(inputs, node.inputs)):
        return node
    return Node(node.op, inputs, node.shape, node.dtype, node.attrs)


def constant_of(node: Node) -> float | int | bool | None:
    """The value of a node that is one constant everywhere."""
    while node.op in ("expand", "reshape", "permute", "slice"):
        node = node.inputs[0]
    return node.attrs[0] if node.op == "const" else None


# ---- movement


def fold_reshape(node: Node) -> Node | None:
    """reshape(reshape(x)) reads x once."""
    (x,) = node.inputs
    if x.op == "reshape":
        return prims.reshape(x.inputs[0], node.shape)
    return x if x.shape == node.shape else None


def fold_permute(node: Node) -> Node | None:
    """permute(permute(x)) is one permutation; one that moves only axes of one element is a reshape."""
    (x,) = node.inputs
    if x.op == "permute":
        return prims.permute(x.inputs[0], tuple(x.attrs[a] for a in node.attrs))
    moved = [a for a in node.attrs if x.shape[a] != 1]
    return prims.reshape(x, node.shape) if moved == sorted(moved) else None


def fold_round_trip(node: Node) -> Node | None:
    """Axes that are split, moved and joined so that every element is where it was are one reshape."""
    chain = []
    x = node
    while x.op in ("reshape", "permute"):
        chain.append(x)
        x = x.inputs[0]
    if len(chain) < 3 or node.size == 0:
        return None
    shape, strides = x.shape, movement.contiguous_strides(x.shape)
    for step in reversed(chain):
        if step.op == "permute":
            strides = tuple(strides[a] for a in step.attrs)
        elif (seen := movement.restrided(shape, strides, step.shape)) is not None:
            strides = seen
        else:
            return None
        shape = step.shape
    wanted = movement.contiguous_strides(shape)
    in_place = all(n == 1 or a == b for n, a, b in zip(shape, strides, wanted))
    return prims.reshape(x, shape) if in_place else None


def fold_expand(node: Node) -> Node | None:
    """expand(expand(x)) is one expansion."""
    (x,) = node.inputs
    return prims.expand(x.inputs[0], node.shape) if x.op == "expand" else None


def fold_slice(node: Node) -> Node | None:
    """slice(slice(x)) is one slice."""
    (x,) = node.inputs
    if x.op != "slice" or node.size == 0:
        return None
    (starts, steps), (first, stride) = node.attrs, x.attrs
    return prims.slice(
        x.inputs[0],
        [f + s * k for f, s, k in zip(first, starts, stride)],
        node.shape,
        [s * k for s, k in zip(steps, stride)],
    )


# ---- casts


def _widens(narrow: str, wide: str) -> bool:
    """Whether every value of ``narrow`` is exact in ``wide``."""
    if narrow == wide or narrow == "bool":
        return True
    if narrow in FLOATS:
        return (narrow, wide) in _WIDER
    if wide in INTS:
        return ITEMSIZE[wide] > ITEMSIZE[narrow] and wide != "uint8"
    return 8 * ITEMSIZE[narrow] <= _MANTISSA.get(wide, 0)


_WIDER = {
    ("float16", "float32"),
    ("float16", "float64"),
    ("bfloat16", "float32"),
    ("bfloat16", "float64"),
    ("float32", "float64"),
}
_MANTISSA = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


def fold_cast(node: Node) -> Node | None:
    """cast(cast(x)) through a wider type is one cast; a cast of a constant is a constant."""
    (x,) = node.inputs
    if x.dtype == node.dtype:
        return x
    if x.op == "cast" and _widens(x.inputs[0].dtype, x.dtype):
        return prims.cast(x.inputs[0], node.dtype)
    value = constant_of(x)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if node.dtype == "bool":
        return prims.const(value != 0, "bool", node.shape)
    if node.dtype in FLOATS and x.dtype not in FLOATS and abs(value) <= 256:
        return prims.const(float(value), node.dtype, node.shape)
    if node.dtype in FLOATS and (x.dtype, node.dtype) == ("float64", "float32"):
        return prims.const(value, node.dtype, node.shape)
    if node.dtype in INTS and 0 <= value < 128:
        return prims.const(int(value), node.dtype, node.shape)
    return None


# ---- arithmetic


def drop_neutral(node: Node) -> Node | None:
    """x·1, x/1, x - 0, and for integers x + 0."""
    a, b = node.inputs
    x, y = constant_of(a), constant_of(b)
    is_float = node.dtype in FLOATS
    if node.op in ("mul", "div") and y is not None and y == 1:
        return a
    if node.op == "mul" and x is not None and x == 1:
        return b
    if node.op == "sub" and y is not None and y == 0 and math.copysign(1, y) == 1:
        return a
    if node.op == "add" and y is not None and y == 0 and (not is_float or math.copysign(1, y) == -1):
        return a
    if node.op == "add" and x is not None and x == 0 and (not is_float or math.copysign(1, x) == -1):
        return b
    return None


def fold_neg(node: Node) -> Node | None:
    """-(-x) is x."""
    (x,) = node.inputs
    return x.inputs[0] if x.op == "neg" else None


def fold_invert(node: Node) -> Node | None:
    """Inverting twice is nothing."""
    (x,) = node.inputs
    return x.inputs[0] if x.op == "invert" else None


def fold_where(node: Node) -> Node | None:
    """A condition known now, or the same value on both sides."""
    condition, a, b = node.inputs
    value = constant_of(condition)
    if value is not None:
        return a if value else b
    return a if a is b else None


# ---- reductions

_NOTHING = {"sum": 0, "prod": 1}


def fold_reduction(node: Node) -> Node | None:
    """Over nothing: a constant. Over single elements: a reshape."""
    (x,) = node.inputs
    extents = [x.shape[a] for a in node.attrs]
    if 0 in extents and node.op in _NOTHING:
        return prims.const(_NOTHING[node.op], node.dtype, node.shape)
    if node.size and all(n == 1 for n in extents):
        return prims.reshape(x, node.shape)
    return None


def fold_argreduction(node: Node) -> Node | None:
    """The extreme of a single element is at 0."""
    (x,) = node.inputs
    return prims.const(0, "int64", node.shape) if node.size and x.shape[node.attrs[0]] == 1 else None


def extreme_of_repeated(node: Node) -> Node | None:
    """max and min of an expanded value need each element once."""
    (x,) = node.inputs
    if x.op != "expand":
        return None
    source = x.inputs[0]
    repeated = [a for a in node.attrs if source.shape[a] == 1 and x.shape[a] > 1]
    if not repeated:
        return None
    shape = tuple(1 if a in repeated else n for a, n in enumerate(x.shape))
    return prims.reduce(node.op, prims.expand(source, shape), node.attrs)


def fold_contraction(node: Node) -> Node | None:
    """A sum of no products is zero."""
    if node.size and any(i.size == 0 for i in node.inputs):
        return prims.const(0, node.dtype, node.shape)
    return None


def split_sum(node: Node) -> Node | None:
    """A long reduction with few results, in two stages, so that every core has a part.

    The number of parts follows from the extents alone. 16-bit partial sums are kept in float32.
    """
    (x,) = node.inputs
    if x.size < SPLIT_SIZE // 2 or node.size == 0:
        return None
    trailing = node.attrs[-1] == len(x.shape) - 1
    if trailing and x.size < SPLIT_SIZE:
        return None
    # Down columns, a vector of results is one core's work.
    rows = node.size if trailing or not node.shape else node.size // node.shape[-1] * -(-node.shape[-1] // 32)
    inner = x.size // node.size
    if trailing and rows >= 4 and inner * 4 <= 1 << 18:
        return None
    axis = max(node.attrs, key=lambda a: (x.shape[a], -a))
    extent = x.shape[axis]
    parts = min(min(SPLIT_PARTS, x.size // (SPLIT_SIZE // 4)) // rows, extent)
    if not trailing:
        # Some rows at a time are read from end to end; all rows of some columns would be a little from every page.
        parts = max(parts, min(extent, inner // COLUMN_ROWS))
    if parts < 2:
        return None
    divisors = [p for p in range(parts, parts // 2, -1) if extent % p == 0]
    parts = divisors[0] if divisors else parts
    length = -(-extent // parts)
    wide = x
    if node.dtype in ("float16", "bfloat16"):
        wide = prims.cast(x, "float32")
    if parts * length != extent:
        rest = [parts * length - extent if a == axis else 0 for a in range(len(x.shape))]
        fill = {"sum": 0, "prod": 1, "max": lowest(wide.dtype), "min": highest(wide.dtype)}[node.op]
        wide = prims.pad(wide, [0] * len(x.shape), rest, fill)
    wide = prims.reshape(wide, (*x.shape[:axis], parts, length, *x.shape[axis + 1 :]))
    axes = tuple(a if a < axis else a + 1 for a in node.attrs)
    partial = prims.reduce(node.op, wide, axes)
    at = axis - sum(a < axis for a in node.attrs)
    return prims.cast(prims.reduce(node.op, partial, (at,)), node.dtype)


SPLIT_SIZE = 1 << 17  # elements from which on a reduction is worth sharing; half of them where rows are summed
SPLIT_PARTS = 64
COLUMN_ROWS = 64  # rows whose sum is one part


_RULES: dict[str, tuple[Rule, ...]] = {
    "reshape": (fold_reshape, fold_round_trip),
    "permute": (fold_permute, fold_round_trip),
    "expand": (fold_expand,),
    "slice": (fold_slice,),
    "cast": (fold_cast,),
    **dict.fromkeys(("add", "sub", "mul", "div"), (drop_neutral,)),
    "neg": (fold_neg,),
    "invert": (fold_invert,),
    "where": (fold_where,),
    **dict.fromkeys(("sum", "prod"), (fold_reduction, split_sum)),
    **dict.fromkeys(("max", "min"), (fold_reduction, extreme_of_repeated, split_sum)),
    **dict.fromkeys(("dot", "conv2d", "conv2d_input", "conv2d_weight"), (fold_contraction,)),
    **dict.fromkeys(("argmax", "argmin"), (fold_argreduction,)),
}
