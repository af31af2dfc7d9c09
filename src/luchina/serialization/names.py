"""The names under which PyTorch's checkpoints speak of element types."""

from __future__ import annotations

from luchina import dtypes
from luchina.dtypes import dtype

STORAGE_TYPES: dict[str, dtype] = {
    "HalfStorage": dtypes.float16,
    "BFloat16Storage": dtypes.bfloat16,
    "FloatStorage": dtypes.float32,
    "DoubleStorage": dtypes.float64,
    "CharStorage": dtypes.int8,
    "ShortStorage": dtypes.int16,
    "IntStorage": dtypes.int32,
    "LongStorage": dtypes.int64,
    "ByteStorage": dtypes.uint8,
    "BoolStorage": dtypes.bool_,
}
STORAGE_NAMES = {d: name for name, d in STORAGE_TYPES.items()}
