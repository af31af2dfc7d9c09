"""Programs written once for PyTorch's API, run on two engines, compared.

A program is a function of the engine: ``def views_transpose(torch): ...``. It returns any nest of tensors, numbers,
strings, tuples and dicts; `run` turns that into plain records, exceptions included, and `differences` compares two such
records. `archive` and `restore` keep PyTorch's records in files, for machines without PyTorch.
"""

from __future__ import annotations

import gzip
import json
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

# Of float64 four units count as one: what is compared there are derivatives, and PyTorch's own are off by several.
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-50}


@dataclass(frozen=True)
class Program:
    """``ulps``: how far a float may be off, in units of the expected value's last place; with ``spread`` the largest
    element of the tensor counts as well, as it must where sums cancel."""

    name: str
    run: Callable[[Any], Any]
    ulps: float
    spread: bool


@dataclass
class TensorRecord:
    dtype: str
    array: np.ndarray
    requires_grad: bool


@dataclass
class Raised:
    kind: str
    message: str


PROGRAMS: dict[str, Program] = {}


def register(name: str, run: Callable[[Any], Any], *, ulps: float = 8, spread: bool = True) -> None:
    if name in PROGRAMS:
        raise ValueError(f"two programs named {name}")
    PROGRAMS[name] = Program(name, run, ulps, spread)


def program(run: Callable[[Any], Any] | None = None, *, ulps: float = 8, spread: bool = True) -> Any:
    """Decorator: register a function as a program named ``module.function``."""

    def decorate(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        register(f"{function.__module__.split('.')[-1]}.{function.__name__}", function, ulps=ulps, spread=spread)
        return function

    return decorate(run) if run else decorate


# ---- running


def attempt(function: Callable[[], Any], *fragments: str) -> Any:
    """The function's result, or what it raised: class, and whether the message has each of ``fragments``."""
    try:
        return function()
    except Exception as error:
        message = str(error)
        return {"raised": type(error).__name__, **{f"says {f!r}": f in message for f in fragments}, "": Note(message)}


@dataclass(frozen=True)
class Note:
    """Text that is shown with a failure but not compared."""

    text: str


def plain(value: Any, torch: ModuleType) -> Any:
    """``value`` with every tensor replaced by its record."""
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        numbers = value.detach()
        if dtype == "bfloat16":
            numbers = numbers.float()
        return TensorRecord(dtype, np.array(numbers.numpy()), bool(value.requires_grad))
    if isinstance(value, dict):
        return {str(k): plain(v, torch) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, torch) for v in value]
    if isinstance(value, np.ndarray):
        return TensorRecord(f"numpy {value.dtype}", value.copy(), False)
    if isinstance(value, np.generic):
        return plain(np.asarray(value), torch)
    if isinstance(value, (bool, int, float, str, Note, TensorRecord, Raised)) or value is None:
        return value
    if isinstance(value, torch.dtype):
        return str(value)
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text


def run(program: Program, torch: ModuleType) -> Any:
    """The program's plain result on an engine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(program.run(torch), torch)
        except Exception as error:
            return Raised(type(error).__name__, f"{error}")


# ---- comparing


def _close(got: np.ndarray, expected: np.ndarray, dtype: str, program: Program) -> np.ndarray:
    """Which elements agree: nan with nan, infinities exactly, finite numbers within the program's tolerance."""
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    size = np.where(finite, np.abs(expected), 0)
    scale = size.max(initial=0) if program.spread else 0
    tiny = {"float16": 2.0**-24, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}[dtype]
    allowed = program.ulps * EPSILON[dtype] * (size + scale) + program.ulps * tiny
    with np.errstate(all="ignore"):
        near = np.abs(got - expected) <= allowed
    return np.where(finite, near, (got == expected) | (np.isnan(got) & np.isnan(expected)))


def differences(got: Any, expected: Any, program: Program, path: str = "", scale: float = 0.0) -> Iterator[str]:
    """One line for each place where two plain results differ; ``scale`` is the largest of the floats in a list."""
    if isinstance(expected, TensorRecord) and isinstance(got, TensorRecord):
        for what in ("dtype", "requires_grad"):
            if getattr(got, what) != getattr(expected, what):
                yield f"{path}: {what} {getattr(got, what)}, PyTorch {getattr(expected, what)}"
        if got.array.shape != expected.array.shape:
            yield f"{path}: shape {got.array.shape}, PyTorch {expected.array.shape}"
        elif got.dtype == expected.dtype:
            dtype = expected.dtype.removeprefix("numpy ")
            same = (
                _close(got.array, expected.array, dtype, program)
                if dtype in EPSILON
                else np.asarray(got.array == expected.array)
            )
            if not same.all():
                at = tuple(int(i[0]) for i in np.nonzero(~same)) if same.ndim else ()
                count = f"{int((~same).sum())} of {same.size} differ, first at {list(at)}" if same.ndim else "value"
                yield f"{path}: {count}: {got.array[at]!r}, PyTorch {expected.array[at]!r}"
    elif isinstance(expected, Note) and isinstance(got, Note):
        return
    elif isinstance(expected, Raised) and isinstance(got, Raised):
        if got.kind != expected.kind:
            yield f"{path}: raised {got.kind}: {got.message[:200]}; PyTorch {expected.kind}: {expected.message[:200]}"
    elif isinstance(expected, dict) and isinstance(got, dict):
        notes = "; ".join(f"{v.text[:160]!r}" for v in (got.get(""), expected.get("")) if isinstance(v, Note))
        for key in [*expected, *(k for k in got if k not in expected)]:
            if key not in got or key not in expected:
                if key:
                    side, record = ("missing", expected[key]) if key not in got else ("not in PyTorch", got[key])
                    yield f"{path}/{key}: {side}: {_short(record)} {notes}"
                continue
            for line in differences(got[key], expected[key], program, f"{path}/{key}"):
                yield f"{line} ({notes})" if notes else line
    elif isinstance(expected, list) and isinstance(got, list):
        if len(got) != len(expected):
            yield f"{path}: {len(got)} items, PyTorch {len(expected)}"
        floats = [abs(e) for e in expected if isinstance(e, float) and math.isfinite(e)] if program.spread else []
        for i, (g, e) in enumerate(zip(got, expected)):
            yield from differences(g, e, program, f"{path}[{i}]", max(floats, default=0.0))
    elif isinstance(expected, float) and isinstance(got, float):
        size = abs(expected) if math.isfinite(expected) else 0
        near = got == expected or (math.isnan(got) and math.isnan(expected))
        if not near and not abs(got - expected) <= program.ulps * EPSILON["float32"] * (size + scale):
            yield f"{path}: {got!r}, PyTorch {expected!r}"
    elif type(got) is not type(expected) or got != expected:
        yield f"{path}: {_short(got)}, PyTorch {_short(expected)}"


def _short(value: Any) -> str:
    if isinstance(value, Raised):
        return f"raised {value.kind}: {value.message[:200]}"
    if isinstance(value, TensorRecord):
        return f"{value.dtype}{list(value.array.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) < 120 else text[:120] + "…"


# ---- keeping PyTorch's results


def archive(results: dict[str, Any], folder: Path) -> None:
    """Write results as ``parity.json.gz``, their numbers in ``parity.npz``: one long array for each dtype."""
    pools: dict[str, list[np.ndarray]] = {}
    lengths: dict[str, int] = {}
    places: dict[tuple, int] = {}

    def place(array: np.ndarray) -> int:
        kind = array.dtype.name
        key = (kind, array.tobytes())
        if key not in places:
            places[key] = lengths.get(kind, 0)
            pools.setdefault(kind, []).append(array.ravel())
            lengths[kind] = places[key] + array.size
        return places[key]

    def pack(value: Any) -> Any:
        if isinstance(value, TensorRecord):
            array = value.array
            where = [array.dtype.name, place(array), list(array.shape)]
            return {"$": "tensor", "dtype": value.dtype, "at": where, "requires_grad": value.requires_grad}
        if isinstance(value, Raised):
            return {"$": "raised", "kind": value.kind, "message": value.message}
        if isinstance(value, Note):
            return {"$": "note", "text": value.text}
        if isinstance(value, dict):
            return {k: pack(v) for k, v in value.items()}
        return [pack(v) for v in value] if isinstance(value, list) else value

    packed = {name: pack(result) for name, result in results.items()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(packed.items()))
    with gzip.GzipFile(folder / "parity.json.gz", "wb", mtime=0) as file:
        file.write(("{\n" + lines + "\n}\n").encode())
    np.savez_compressed(folder / "parity.npz", **{kind: np.concatenate(pool) for kind, pool in pools.items()})


def restore(folder: Path) -> dict[str, Any]:
    """What `archive` wrote."""
    with np.load(folder / "parity.npz") as file:
        pools = dict(file)

    def unpack(value: Any) -> Any:
        if isinstance(value, list):
            return [unpack(v) for v in value]
        if not isinstance(value, dict):
            return value
        kind = value.get("$")
        if kind == "tensor":
            pool, start, shape = value["at"]
            array = pools[pool][start : start + math.prod(shape)].reshape(shape)
            return TensorRecord(value["dtype"], array, value["requires_grad"])
        if kind == "raised":
            return Raised(value["kind"], value["message"])
        if kind == "note":
            return Note(value["text"])
        return {k: unpack(v) for k, v in value.items()}

    with gzip.open(folder / "parity.json.gz") as file:
        return {name: unpack(value) for name, value in json.load(file).items()}


# ---- data: the same on both engines


def data(seed: int, *shape: int, low: float = -2.0, high: float = 2.0, dtype: str = "float32") -> np.ndarray:
    """Uniform numbers (whole ones for integer dtypes, coin tosses for bool)."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if "int" in dtype:
        return np.asarray(rng.integers(0 if dtype == "uint8" and low < 0 else int(low), int(high) + 1, shape, dtype))
    return np.asarray(rng.uniform(low, high, shape).astype(np.float32 if dtype == "bfloat16" else dtype))


def tensor(torch: ModuleType, array: np.ndarray, dtype: str | None = None, layout: str = "", grad: bool = False) -> Any:
    """A tensor of the array's numbers; ``layout``: ``t`` transposed, ``s`` every second element of a longer one,
    ``o`` with an offset into its storage, in the last axis."""
    array = np.asarray(array)
    target = getattr(torch, dtype or str(array.dtype))
    if layout == "t" and array.ndim >= 2:
        x = torch.tensor(np.ascontiguousarray(array.swapaxes(-1, -2))).to(target).transpose(-1, -2)
    elif layout == "s" and array.ndim >= 1:
        x = torch.tensor(np.repeat(array, 2, axis=-1)).to(target)[..., ::2]
    elif layout == "o" and array.ndim >= 1:
        x = torch.tensor(np.concatenate([array[..., :1], array], axis=-1)).to(target)[..., 1:]
    else:
        x = torch.tensor(array).to(target)
    return x.detach().requires_grad_() if grad else x
