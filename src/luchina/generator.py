"""The random generator: PyTorch's CPU numbers for a seed, drawn by native code.

A ``Generator`` owns the state of an mt19937 engine in native memory. Its ``fill_…`` methods write straight into a
buffer, in memory order, one number after the other: the number of threads cannot change what is drawn. Arguments are
checked by the operations that call them; dtypes are names.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import threading
import weakref
from typing import Any

from luchina.runtime.buffers import ITEMSIZE, Buffer, allocate

DEFAULT_SEED = 67280421310721
"""The seed of a generator that was never given one (PyTorch's)."""

_TYPES: dict[str, Any] = {"double": ctypes.c_double, "i64": ctypes.c_int64, "ptr": ctypes.c_void_p}

# seed, left, seeded, next, state[624], normal_x, normal_y, normal_rho, normal_is_valid, next_float, its validity
_STATE = struct.Struct("<QiiQ624QdddixxxxfB3x")

# ``random_()`` without bounds draws below this: 2^digits + 1 of a float, the positive range of an integer.
RANDOM_RANGE = {
    "float64": (1 << 53) + 1,
    "float32": (1 << 24) + 1,
    "float16": (1 << 11) + 1,
    "bfloat16": (1 << 8) + 1,
    "int64": 1 << 63,
    "int32": 1 << 31,
    "int16": 1 << 15,
    "int8": 1 << 7,
    "uint8": 1 << 8,
    "bool": 2,
}
_RANGE_OF_PAIRS = 1 << 28  # ranges from here on take two words a number
_LARGE_PERMUTATION = (2**32 - 1) // 20
_BLOCK_OF_NORMALS = 16


_generators: weakref.WeakSet[Generator] = weakref.WeakSet()


def _after_fork() -> None:
    """In the child no thread draws, whatever another one did at the fork."""
    for generator in _generators:
        generator._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def checked_seed(seed: Any) -> int:
    """A seed as an unsigned 64-bit number.

    Raises:
        RuntimeError: if it is no integer.
        ValueError: if it does not fit 64 bits.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
    value = seed.__index__()
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("Overflow when unpacking long long")
    return value % (1 << 64)


class Generator:
    """A stream of random numbers with PyTorch's algorithm: of the CPU here, of others in ``device_generator``.

    Args:
        device: whose generator; ``Generator("opencl")`` is one of that device.

    >>> g = Generator().manual_seed(0)
    >>> g.initial_seed()
    0
    """

    def __new__(cls, device: Any = "cpu") -> Generator:
        if cls is Generator and str(device).partition(":")[0] != "cpu":
            from luchina.device_generator import DeviceGenerator

            return object.__new__(DeviceGenerator)
        return object.__new__(cls)

    def __init__(self, device: Any = "cpu") -> None:
        self._lock = threading.Lock()
        self._engine: Buffer | None = None
        self._seed = DEFAULT_SEED
        _generators.add(self)

    @property
    def device(self) -> Any:
        from luchina.devices import CPU

        return CPU

    # ---- seed and state

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream anew; only the low 32 bits of the seed matter to the numbers.

        Raises:
            RuntimeError: if the seed is no integer.
            ValueError: if it does not fit 64 bits.
        """
        value = checked_seed(seed)
        with self._lock:
            self._seed = value
            if self._engine is not None:
                _engine_functions()["seed"](self._engine.ptr, self._seed & 0xFFFFFFFF)
        return self

    def seed(self) -> int:
        """Start the stream anew from a seed that the system gives; returns the seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the stream was last started from."""
        return self._seed

    def get_state(self) -> bytes:
        """The state as PyTorch's 5056 bytes."""
        from luchina.compiler import random as native

        with self._lock:
            engine = self._native()
            words = (ctypes.c_uint32 * 624).from_address(engine + native.STATE)
            position = _word(engine, native.POSITION).value
            valid = _word(engine, native.HAS_NORMAL).value
            normal = ctypes.c_double.from_address(engine + native.NORMAL).value if valid else 0.0
            following = 0 if _word(engine, native.FRESH).value else position
            return _STATE.pack(self._seed, 625 - position, 1, following, *words, 0.0, normal, 0.0, valid, 0.0, 0)

    def set_state(self, state: bytes | bytearray | memoryview) -> Generator:
        """Continue from a state that ``get_state`` (or PyTorch's) gave.

        Raises:
            RuntimeError: if it is no such state; the generator is unchanged then.
        """
        from luchina.compiler import random as native

        if len(state) != _STATE.size:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {_STATE.size} but found the input RNG state size to be "
                f"{len(state)}"
            )
        seed, left, seeded, following, *words = _STATE.unpack(state)
        words, (_, normal, _, valid, _, _) = words[:624], words[624:]
        position = 625 - left
        fresh = position == 624 and following == 0
        if seeded != 1 or not 0 < left <= 624 or not (fresh or following == position) or max(words) >= 1 << 32:
            raise RuntimeError("Invalid mt19937 state")
        with self._lock:
            engine = self._native()
            self._seed = seed
            (ctypes.c_uint32 * 624).from_address(engine + native.STATE)[:] = words
            state_at = engine + native.STATE
            _engine_functions()["temper"](state_at, state_at, engine + native.TEMPERED)
            _word(engine, native.POSITION).value = position
            _word(engine, native.FRESH).value = int(fresh)
            _word(engine, native.HAS_NORMAL).value = int(valid != 0)
            ctypes.c_double.from_address(engine + native.NORMAL).value = normal
        return self

    def clone_state(self) -> Generator:
        """A generator of its own that will draw the same numbers."""
        other = Generator()
        return other.set_state(self.get_state())

    def __getstate__(self) -> bytes:
        return self.get_state()

    def __setstate__(self, state: bytes) -> None:
        self.__init__()  # type: ignore[misc]
        self.set_state(state)

    def _native(self) -> int:
        """Address of the engine, made and seeded at the first use."""
        if self._engine is None:
            from luchina.compiler import random as native

            engine = allocate(native.ENGINE_BYTES)
            ctypes.memset(engine.ptr, 0, native.ENGINE_BYTES)
            functions = _engine_functions()
            _word(engine.ptr, native.WORDS_FUNCTION).value = functions["address of words"]
            functions["seed"](engine.ptr, self._seed & 0xFFFFFFFF)
            self._engine = engine
        return self._engine.ptr

    def _fill(self, rule: str, buffer: Buffer, dtype: str, n: int, *arguments: float | int) -> None:
        if n > 0:
            function = _rule_function(rule, dtype)
            if n * ITEMSIZE[dtype] > buffer.nbytes:
                raise ValueError(f"{n} numbers of {dtype} do not fit a buffer of {buffer.nbytes} bytes")
            with self._lock:
                function(self._native(), buffer.ptr, n, *arguments)

    # ---- filling a buffer with n numbers

    def words(self, n: int) -> Buffer:
        """The next ``n`` words of the engine, as 32-bit integers."""
        buffer = allocate(4 * n)
        if n > 0:
            with self._lock:
                _engine_functions()["words"](self._native(), buffer.ptr, n)
        return buffer

    def random64(self) -> int:
        """The next two words as one unsigned number, the first on top."""
        buffer = allocate(8)
        self._fill("random64", buffer, "int64", 1)
        return ctypes.c_uint64.from_address(buffer.ptr).value

    def fill_uniform(self, buffer: Buffer, dtype: str, n: int, low: float = 0.0, high: float = 1.0) -> None:
        """Uniform in ``[low, high)``: 24 random bits (float64: 53)."""
        self._fill("uniform", buffer, dtype, n, low, high)

    def fill_normal(
        self, buffer: Buffer, dtype: str, n: int, mean: float = 0.0, std: float = 1.0, contiguous: bool = True
    ) -> None:
        """Normal. ``contiguous`` says whether PyTorch's output would be: another algorithm serves strided ones."""
        rule = "normal" if contiguous and n >= _BLOCK_OF_NORMALS else "normal_scalar"
        self._fill(rule, buffer, dtype, n, mean, std)

    def fill_randint(self, buffer: Buffer, dtype: str, n: int, low: int, high: int) -> None:
        """Integers in ``[low, high)``, by remainder: the slight bias for large ranges is PyTorch's too."""
        count = high - low
        if not 0 < count < 1 << 64:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        rule = "randint64" if count >= _RANGE_OF_PAIRS else "randint32"
        self._fill(rule, buffer, dtype, n, low, _signed(count))

    def fill_random(self, buffer: Buffer, dtype: str, n: int, full_range: bool = False) -> None:
        """``random_()`` without bounds; ``full_range`` draws all 64 bits (``random_(-2**63, None)``)."""
        if full_range:
            self._fill("random64", buffer, dtype, n)
            return
        rule = "randint64" if dtype in ("int64", "float64") else "randint32"
        self._fill(rule, buffer, dtype, n, 0, _signed(RANDOM_RANGE[dtype]))

    def fill_randperm(self, buffer: Buffer, dtype: str, n: int) -> None:
        """The numbers 0 to n-1 in random order."""
        self._fill("randperm" if n < _LARGE_PERMUTATION else "randperm_large", buffer, dtype, n)

    def fill_bernoulli(self, buffer: Buffer, dtype: str, n: int, p: float = 0.5) -> None:
        """1 with probability ``p``, else 0."""
        self._fill("bernoulli", buffer, dtype, n, p)

    def fill_bernoulli_tensor(self, buffer: Buffer, dtype: str, p: Buffer, p_dtype: str, n: int) -> None:
        """1 with probability ``p[i]``, else 0."""
        self._fill(f"bernoulli_tensor_{p_dtype}", buffer, dtype, n, p.ptr)

    def fill_exponential(self, buffer: Buffer, dtype: str, n: int, rate: float = 1.0) -> None:
        """Exponential of parameter ``rate`` (λ)."""
        self._fill("exponential", buffer, dtype, n, rate)

    def fill_geometric(self, buffer: Buffer, dtype: str, n: int, p: float) -> None:
        """Number of trials up to the first success of probability ``p``."""
        self._fill("geometric", buffer, dtype, n, p)

    def fill_cauchy(self, buffer: Buffer, dtype: str, n: int, median: float = 0.0, sigma: float = 1.0) -> None:
        """Cauchy (Lorentz)."""
        self._fill("cauchy", buffer, dtype, n, median, sigma)

    def fill_log_normal(self, buffer: Buffer, dtype: str, n: int, mean: float = 1.0, std: float = 2.0) -> None:
        """Exponential function of a normal number, which is always drawn one by one."""
        self._fill("log_normal", buffer, dtype, n, mean, std)

    def fill_multinomial(
        self, buffer: Buffer, p: Buffer, p_dtype: str, rows: int, categories: int, samples: int, replacement: bool
    ) -> None:
        """Indices (int64, ``rows × samples``) drawn with the probabilities of each row of ``p``, up to a factor.

        Raises:
            RuntimeError: if a row holds a negative or infinite number or NaN, or sums to nothing.
        """
        if 8 * rows * samples > buffer.nbytes or rows * categories * ITEMSIZE[p_dtype] > p.nbytes:
            raise ValueError("the buffers are too small for the choices or their probabilities")
        scratch = allocate(16 * categories)
        arguments: tuple[int, ...] = (p.ptr, categories, samples, scratch.ptr)
        if replacement and samples > 1:
            self._fill_checked("multinomial_replacement", buffer, p_dtype, rows, arguments)
            return
        self._fill_checked("multinomial_check", buffer, p_dtype, rows, (p.ptr, categories))
        waits = allocate(rows * categories * ITEMSIZE[p_dtype])
        self.fill_exponential(waits, p_dtype, rows * categories)
        self._fill_checked("multinomial", buffer, p_dtype, rows, (waits.ptr, *arguments))

    def _fill_checked(self, rule: str, buffer: Buffer, dtype: str, n: int, arguments: tuple[int, ...]) -> None:
        """Run a rule that looks at its data, and raise what it found wrong."""
        function = _rule_function(rule, dtype)
        where = _status_offset()
        with self._lock:
            engine = self._native()
            _word(engine, where).value = 0
            function(engine, buffer.ptr, n, *arguments)
            status = _word(engine, where).value
        if status:
            from luchina.compiler import multinomial

            raise RuntimeError(multinomial.REFUSALS[status])


@functools.cache
def _status_offset() -> int:
    from luchina.compiler import random as native

    return native.STATUS


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned number."""
    return value - (1 << 64) if value >> 63 else value


def _word(engine: int, offset: int) -> ctypes.c_int64:
    return ctypes.c_int64.from_address(engine + offset)


@functools.cache
def _engine_functions() -> dict[str, Any]:
    from luchina.compiler import jit
    from luchina.compiler.random import engine_kernel

    addresses = jit.load_module(engine_kernel())
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    return {
        "address of words": addresses["words"],
        "words": ctypes.CFUNCTYPE(None, pointer, pointer, number)(addresses["words"]),
        "seed": ctypes.CFUNCTYPE(None, pointer, number)(addresses["seed"]),
        "temper": ctypes.CFUNCTYPE(None, pointer, pointer, pointer)(addresses["temper"]),
    }


@functools.cache
def _rule_function(rule: str, dtype: str) -> Any:
    from luchina.compiler import jit
    from luchina.compiler.random import find_rule, rule_kernel

    arguments = [_TYPES[part.split()[0]] for part in find_rule(rule)[0].split(", ") if part]
    address = jit.load([rule_kernel(rule, dtype)])[0]
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, *arguments)(address)


@functools.cache
def _default() -> Generator:
    generator = Generator()
    generator.seed()
    return generator


default_generator = _default()
"""What is drawn from where no generator is named; its first seed differs from process to process."""
