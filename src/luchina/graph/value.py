"""Values and operations: what was asked for, recorded but not yet computed.

A ``Value`` is one operation applied to other Values. It never changes; computing it only fills in its ``buffer``. The
graph of Values serves twice: it is what a program is compiled from, and it is the autograd tape, since a Value that
needs a gradient knows its operation and its inputs.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from luchina import dtypes
from luchina.devices import CPU, device
from luchina.dispatch.exchange import Exchangeable
from luchina.dtypes import dtype
from luchina.graph.placement import elsewhere, place, supported
from luchina.runtime.accelerators import Memory
from luchina.runtime.buffers import Buffer

if TYPE_CHECKING:
    from luchina.compiler.prims import Node
    from luchina.graph.update import Update

OUT = -1  # in ``Op.reads``: the operation's own result

sequence = count()


class Spec(NamedTuple):
    """Shape and dtype of a result."""

    shape: tuple[int, ...]
    dtype: dtype


class Op:
    """All there is to know of an operation.

    Attributes
        name: for printing, errors and ``explain``.
        infer: ``infer(*inputs, *attrs) -> Spec`` (or a list of Specs for several results): the shape and dtype rule; it
            raises the user's error. It may look at the inputs' shape, dtype and ``weak`` only: its answers are
            remembered. Where a result lies is the same for all operations (``placement.py``).
        lower: ``lower(*nodes, *attrs) -> Node`` (or a tuple of Nodes): what it means in primitives.
        vjp: ``vjp(g, value) -> tuple`` of one cotangent (or None) an input, written with other operations on Values.
        ``g``
            is the cotangent of the result, a list of them (None where there is none) for several results. Cotangents
            may be broadcast or of a wider dtype: the engine sums and casts them to the input's.
        reads: for each input, which Values its cotangent reads (input numbers or ``OUT``), so that overwriting one of
            them between forward and backward is an error, and so that they are kept when the forward pass is run alone.
        grad_name: the stem of ``grad_fn``'s printed name.
        saves: PyTorch keeps an input for the derivative though nothing is read here, so that backward cannot go through
            twice.
    """

    __slots__ = ("grad_name", "infer", "lower", "name", "reads", "saves", "vjp")

    def __init__(
        self,
        name: str,
        infer: Callable[..., Any],
        lower: Callable[..., Any],
        vjp: Callable[..., Sequence[Value | None]] | None = None,
        reads: tuple[tuple[int, ...], ...] = (),
        grad_name: str | None = None,
        saves: bool = False,
    ) -> None:
        self.name = name
        self.infer = infer
        self.lower = lower
        self.vjp = vjp
        self.reads = reads
        self.saves = saves
        self.grad_name = grad_name or "".join(part.capitalize() for part in name.split("_"))

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def record(self, *inputs: Value, attrs: tuple = ()) -> Any:
        """Record the operation on Values: a Value, or a tuple of them for an operation with several results."""
        needs_grad = False
        if mode.grad and self.vjp is not None:
            for v in inputs:
                if v.needs_grad:
                    needs_grad = True
                    break
        epoch = recording.epoch
        # The key is read before the epoch that it belongs to: another thread may be writing both (see ``key_of``).
        key = (self, attrs, needs_grad, *[k if (k := v.key) >= 0 and v.epoch == epoch else key_of(v) for v in inputs])
        entry = interned.get(key)
        if entry is None:
            where = place(self, inputs, attrs)
            spec = self.infer(*inputs, *attrs)
            if where is not CPU:
                supported(where, [spec.dtype] if type(spec) is Spec else [each.dtype for each in spec])
            entry = _intern(key, spec, where)
            if where in (CPU, None) and _too_large(entry[1]):
                too_large.add(entry[0])
        number, spec = entry
        if needs_grad:
            for v in inputs:
                if v.cell is not None and v.cell.inference:
                    _refuse_inference(self, inputs)
        if type(spec) is Spec:
            if needs_grad and not spec.dtype.is_floating_point:
                needs_grad = False
            return Value(self, inputs, attrs, spec.shape, spec.dtype, needs_grad, key=number, epoch=epoch)
        parent = Value(self, inputs, attrs, (), spec[0].dtype, needs_grad, key=number, epoch=epoch)
        keys = _pick_keys.get(number)
        if keys is None:
            keys = _pick_keys[number] = [
                _intern((PICK, (i,), needs_grad and each.dtype.is_floating_point, number), each)[0]
                for i, each in enumerate(spec)
            ]
        return tuple(
            [
                Value(
                    PICK,
                    (parent,),
                    (i,),
                    each.shape,
                    each.dtype,
                    needs_grad and each.dtype.is_floating_point,
                    key=keys[i],
                    epoch=epoch,
                )
                for i, each in enumerate(spec)
            ]
        )

    __call__ = record  # until ``luchina.dispatch`` has compiled it


record = Exchangeable(Op.record)
"""``record(op, *inputs, attrs=())``: the same, without the detour over the operation's class."""


def _refuse_inference(op: Op, inputs: tuple[Value, ...]) -> None:
    for source, reads in zip(inputs, op.reads):
        for number in reads if source.needs_grad else ():
            if 0 <= number < len(inputs) and inputs[number].cell is not None and inputs[number].cell.inference:
                raise RuntimeError(
                    "Inference tensors cannot be saved for backward. Please do not use Tensors "
                    "created in inference mode in "
                    "computation tracked by autograd. To work around this, you can make a clone to "
                    "get a normal tensor and "
                    "use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`."
                )


class Mode(threading.local):
    """Whether what is recorded now takes part in gradients; each thread has its own."""

    def __init__(self) -> None:
        self.grad = True
        self.inference = False


mode = Mode()


class Recording(threading.local):
    """What this thread recorded since its last run.

    Every Value carries a ``key``: a number that stands for its whole structure, the operations down to the leaves,
    where a leaf counts by the order of its first use in this epoch. Equal keys mean equal programs, so a program is
    found by the keys of its results, without a walk.

    Attributes
        epoch: another one after each run, and in each thread; a key is good in the epoch it was made in.
        leaves: the leaves in order of first use.
        counted: their keys, if there are several threads: another may have overwritten what a shared leaf carries.
        graded: how many of these there were when the last one that needs a gradient came.
        watched: weak references to holders (storages) of Values that were pending when they were recorded.
        touched: something happened that a remembered backward pass cannot know: a hook, a user's function, a write
            over a Value that the graph may read.
        consumed: the losses that backward has passed over without walking their graph.
        walked: those whose graph it has walked and freed.
        passed: both, when all that was pending has been computed.
        updates: writes over memory that the next run has to do (see ``graph.update``).
        leaving: weak references to leaves of the autograd graph whose numbers were pending when they became leaves.
    """

    several = False  # whether more than one thread has recorded anything

    def __init__(self) -> None:
        self.epoch = next(_epochs)
        Recording.several = self.epoch > 0
        self.leaves: list[Value] = []
        self.counted: dict[Value, int] = {}
        self.watched: list[weakref.ref] = []
        self.graded = 0
        self.touched = False
        self.consumed: list[Value] = []
        self.walked: list[Value] = []
        self.passed: list[weakref.ref[Value]] = []
        self.updates: list[Update] = []
        self.leaving: list[weakref.ref[Value]] = []

    def restart(self) -> None:
        """After a run: leaves are counted anew."""
        self.epoch = next(_epochs)
        self.leaves.clear()
        self.counted.clear()
        self.touched = False

    def forget(self, count: int) -> None:
        """Leaves from number ``count`` on are not counted after all."""
        for leaf in self.leaves[count:]:
            leaf.epoch = -1
            self.counted.pop(leaf, None)
        del self.leaves[count:]

    def settle(self) -> None:
        """After a run that left nothing pending."""
        if self.consumed or self.walked:
            self.passed += [weakref.ref(loss) for loss in (*self.consumed, *self.walked)]
            self.consumed.clear()
            self.walked.clear()

    def arrive(self) -> None:
        """After a run: leaves whose numbers are computed are memory themselves, and no program copies them again."""
        later = []
        for reference in self.leaving:
            value = reference()
            if value is None or value.buffer is not None:
                continue
            source = value.inputs[0]
            while source.buffer is None and source.op is DETACH:
                source = source.inputs[0]
            if source.buffer is None:
                later.append(reference)
            else:
                value.buffer, value.op, value.inputs = source.buffer, None, ()
        self.leaving = later

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Record something that stands for itself (a trace), without counting its leaves and holders here."""
        saved = self.epoch, self.leaves, self.counted, self.watched, self.graded
        self.epoch, self.leaves, self.counted, self.watched, self.graded = next(_epochs), [], {}, [], 0
        try:
            yield
        finally:
            self.epoch, self.leaves, self.counted, self.watched, self.graded = saved


_epochs = count()
recording = Recording()
interned: dict[Any, tuple[int, Any]] = {}
_pick_keys: dict[int, list[int]] = {}  # of an operation with several results, by its key: the keys of the results
_numbers = count()
INTERN_LIMIT = 500_000


def _intern(key: Any, spec: Any, where: device | None = CPU) -> tuple[int, Any]:
    if len(interned) > INTERN_LIMIT:
        forget_keys()
    entry = interned[key] = (next(_numbers), spec)
    if where is not CPU:
        elsewhere[entry[0]] = where
    return entry


def forget_keys() -> None:
    """Number all structures anew. Numbers go on, so nothing old can be mistaken for something new."""
    _pick_keys.clear()
    scalar_numbers.clear()
    interned.clear()


def _too_large(spec: Any) -> bool:
    return any(prod(each.shape) * each.dtype.itemsize > MEMORY for each in ((spec,) if type(spec) is Spec else spec))


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return 1 << 47


MEMORY = _physical_memory()
too_large: set[int] = set()
"""Keys of results with more bytes than the machine has. They may be views; to hold one is an error."""


def _leaf_key(value: Value) -> int:
    """The key of a Value that is memory or a number, which is counted now unless it was already."""
    leaves = recording.leaves
    if Recording.several:
        known = recording.counted.get(value)
        if known is not None:
            return known
    # A computed Value inside the autograd graph is memory to a program, but backward goes on behind it.
    role = 0 if not value.needs_grad else 1 if value.op is None or value.op.vjp is None else 2
    buffer = value.buffer
    if buffer.__class__ is Pack:
        number = _leaf_number(len(leaves), Pack, buffer.device, *value.attrs)
    else:
        where = buffer.device if buffer.__class__ is Memory else None  # the CPU's are many, and counted at every step
        number = _leaf_number(len(leaves), value.shape, value.dtype, value.weak, role, where)
    value.place = len(leaves) if value.op is None and buffer.__class__ is Buffer and not Recording.several else None
    leaves.append(value)
    if Recording.several:
        recording.counted[value] = number
    return number


def _leaf_number(*key: Any) -> int:
    return (interned.get(key) or _intern(key, None))[0]


scalar_numbers: dict[tuple[int, type], int] = {}


def scalar_number(place: tuple[int, type]) -> int:
    """The key of a Python number (an int or a float) that is the leaf with that number."""
    at, kind = place
    dtype = dtypes.float64 if kind is float else dtypes.int64
    number = scalar_numbers[place] = _leaf_number(at, (), dtype, True, 0, None)
    return number


def key_of(value: Value) -> int:
    """The key of a Value in this epoch, found anew where it is from an earlier one.

    Threads may share leaves (a model's parameters) and each writes its own key into them. ``epoch`` is written last and
    cleared first, and a reader reads the key first, so it never takes another thread's key for its own.
    """
    epoch = recording.epoch
    number = value.key
    if number >= 0 and value.epoch == epoch:
        return number
    if value.buffer is not None or value.number is not None:
        if value.epoch != epoch:
            number = _leaf_key(value)
            value.epoch = -1
            value.key = number
            value.epoch = epoch
            return number
    stack = [value]
    number = -1
    while stack:
        top = stack[-1]
        number = top.key
        if number >= 0 and top.epoch == epoch:
            stack.pop()
            continue
        if top.buffer is not None or top.number is not None:
            number = _leaf_key(top)
        else:
            inputs, op = top.inputs, top.op
            if op is None:
                assert top.buffer is not None, f"{top!r} was let go before it was computed"
                continue  # another thread has computed it just now
            keys = [k if (k := v.key) >= 0 and v.epoch == epoch else -1 for v in inputs]
            if -1 in keys:
                stack.extend([v for v, k in zip(inputs, keys) if k < 0])
                continue
            key = (op, top.attrs, top.needs_grad, *keys)
            entry = interned.get(key) or _intern(key, op.infer(*inputs, *top.attrs), place(op, inputs, top.attrs))
            number = entry[0]
        top.epoch = -1
        top.key = number
        top.epoch = epoch
        stack.pop()
    return number


class Value:
    """An operation applied to inputs, with the shape and dtype of its result.

    Attributes
        op, inputs, attrs: None and empty for a Value that only is its buffer or number.
        buffer: the computed memory (contiguous), or None.
        number: the Python number of a scalar leaf, else None. Such a number is a run-time argument of the program: the
            same program serves every learning rate.
        weak: this is a Python number, which does not take part in promotion as a tensor does.
        needs_grad: a gradient flows through it.
        cell, version: the version counter of the tensors that showed this Value, and its reading at that time.
        context: what a user's own autograd function keeps for its backward.
        hooks: what the autograd engine has to do when the cotangent of this Value is known (a ``Hooks``), or None.
        key, epoch: what was recorded, as one number; see ``Recording``.
        place: the number of this leaf, without history, in the epoch that its key is of; it has this key in any epoch
            that counts it there.
        label: the name that ``grad_fn`` prints where it is not the operation's own.
        freed: backward has passed and let go of what it needed.
        sequence: order of recording; backward goes the other way.
    """

    __slots__ = (
        "__weakref__",
        "attrs",
        "buffer",
        "cell",
        "context",
        "dtype",
        "epoch",
        "freed",
        "hooks",
        "inputs",
        "key",
        "label",
        "needs_grad",
        "number",
        "op",
        "place",
        "sequence",
        "shape",
        "version",
        "weak",
    )

    def __init__(
        self,
        op: Op | None,
        inputs: tuple[Value, ...],
        attrs: tuple,
        shape: tuple[int, ...],
        dtype: dtype,
        needs_grad: bool = False,
        buffer: Buffer | Memory | Pack | None = None,
        number: float | int | None = None,
        weak: bool = False,
        key: int = -1,
        epoch: int = -1,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.shape = shape
        self.dtype = dtype
        self.needs_grad = needs_grad
        self.buffer: Any = buffer
        self.number = number
        self.weak = weak
        self.key = key
        self.epoch = epoch
        self.label: str | None = None
        self.cell: Any = None
        self.context: Any = None
        self.version = 0
        self.hooks: Any = None
        self.freed = False
        self.place: int | None = None
        self.sequence = next(sequence)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def device(self) -> device | None:
        """Where it lies or will be computed; None for numbers and for what is made of numbers alone: anywhere."""
        buffer = self.buffer
        if buffer is not None:
            return buffer.device if isinstance(buffer, (Memory, Pack)) else CPU
        if self.number is not None:
            return None
        if self.key < 0 or self.op is PICK:
            return self.inputs[0].device
        return elsewhere.get(self.key, CPU)

    def __repr__(self) -> str:
        what = self.op.name if self.op else "buffer" if self.number is None else repr(self.number)
        return f"<{what} {self.dtype.name}{list(self.shape)}{'' if self.buffer is None else ' ready'}>"


def from_buffer(buffer: Buffer | Memory, shape: tuple[int, ...], dtype: dtype) -> Value:
    """A leaf that is already computed: contiguous memory."""
    return Value(None, (), (), shape, dtype, buffer=buffer)


class Pack:
    """The memory, all on one device, and the numbers of many leaves that a program takes as one: what an optimizer
    owns."""

    __slots__ = ("buffers", "device", "numbers")

    def __init__(self, buffers: Sequence[Buffer | Memory], numbers: Sequence[float]) -> None:
        self.buffers = buffers
        self.numbers = numbers
        first = buffers[0] if buffers else None
        self.device = first.device if isinstance(first, Memory) else CPU


class Signature(tuple):
    """The shapes and dtypes of a pack's buffers, and how many numbers there are: ``(((shape, dtype), …), count)``.
    Equal ones are the same object, so to look one up costs nothing however long it is."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__


_signatures: dict[tuple, Signature] = {}


def pack_signature(members: tuple, count: int) -> Signature:
    """The one Signature of these members and this count of numbers."""
    found = _signatures.get((members, count))
    if found is None:
        found = _signatures[members, count] = Signature((members, count))
    return found


def packed(pack: Pack, signature: Signature) -> Value:
    """A leaf that stands for all of a pack."""
    return Value(None, (), (signature,), (), dtypes.float32, buffer=pack)


def scalar(number: float | int | bool) -> Value:
    """A Python number as a run-time argument of the program."""
    if number.__class__ is float:
        return Value(None, (), (), (), dtypes.float64, number=number, weak=True)
    if number.__class__ is bool:
        return Value(None, (), (), (), dtypes.bool_, number=int(number), weak=True)
    if not -(2**63) <= number < 2**63:
        raise RuntimeError("value cannot be converted to type int64_t without overflow")
    return Value(None, (), (), (), dtypes.int64, number=int(number), weak=True)


def priority(value: Value) -> int:
    """How much a Value counts in promotion; see ``dtypes.result_type``."""
    return 0 if value.weak else 2 if value.shape else 1


def result_dtype(*values: Value) -> dtype:
    """The dtype that PyTorch promotes these operands to."""
    if len(values) == 2 and values[0].dtype is values[1].dtype and not (values[0].weak and values[1].weak):
        return values[0].dtype
    return dtypes.result_type(tuple((v.dtype, priority(v)) for v in values))


# ---- the operations that the graph itself needs


def _same(x: Value, *attrs: Any) -> Spec:
    return Spec(x.shape, x.dtype)


def _lower_pick(parts: tuple[Node, ...], index: int) -> Node:
    return parts[index]


def _infer_pick(parent: Value, index: int) -> Spec:
    assert parent.op is not None
    return parent.op.infer(*parent.inputs, *parent.attrs)[index]


PICK = Op("pick", _infer_pick, _lower_pick, lambda g, value: (g,))
"""One of several results; backward gathers the picks' cotangents into a list for the operation."""

DETACH = Op("detach", _same, lambda x: x)
"""The same numbers, with no gradient."""

LEAF = Op("leaf", _same, lambda x: x)
"""The same numbers as a leaf of the autograd graph."""


def detach(value: Value) -> Value:
    """The Value without its gradient history."""
    if not value.needs_grad:
        return value
    if value.buffer is not None:
        return from_buffer(value.buffer, value.shape, value.dtype)
    return DETACH(value)


def leaf(value: Value) -> Value:
    """A leaf that wants a gradient, with the numbers of ``value``."""
    if value.buffer is not None:
        result = from_buffer(value.buffer, value.shape, value.dtype)
    else:
        result = Value(LEAF, (value,), (), value.shape, value.dtype)
        recording.leaving.append(weakref.ref(result))
    result.needs_grad = True
    return result
