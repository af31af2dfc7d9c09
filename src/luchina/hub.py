"""safetensors files, both ways, through the safetensors package (extra ``hub``).

Source: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from luchina import devices, dtypes
from luchina.creation import from_array, moved
from luchina.serialization.atomic import replacing
from luchina.tensor import Tensor

_NAMES = {
    "F64": dtypes.float64, "F32": dtypes.float32, "F16": dtypes.float16, "BF16": dtypes.bfloat16, "I64": dtypes.int64,
    "I32": dtypes.int32, "I16": dtypes.int16, "I8": dtypes.int8, "U8": dtypes.uint8, "BOOL": dtypes.bool_,
}  # fmt: skip


def package() -> Any:
    """The safetensors package; ImportError with the command that installs it, where it is missing."""
    try:
        import safetensors
    except ImportError:
        raise ImportError("safetensors files need the safetensors package: pip install 'luchina[hub]'") from None
    return safetensors


def save_file(
    tensors: Mapping[str, Tensor], path: str | os.PathLike[str], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors and text metadata; the file is written whole or not at all.

    >>> import luchina, tempfile, os
    >>> from luchina import hub
    >>> path = os.path.join(tempfile.mkdtemp(), "x.safetensors")
    >>> hub.save_file({"w": luchina.ones(2)}, path)
    >>> hub.load_file(path)
    {'w': tensor([1., 1.])}
    """
    safetensors = package()
    described, alive = {}, []
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected a Tensor but received {type(tensor)}")
        array = np.ascontiguousarray(tensor.detach()._array())
        alive.append(array)  # the specs below only know addresses
        described[name] = safetensors.TensorSpec(
            dtype=tensor.dtype.name, shape=list(tensor.shape), data_ptr=array.ctypes.data, data_len=array.nbytes
        )
    payload = safetensors.serialize(described, metadata)
    with replacing(path) as file:
        file.write(payload)


def load_file(path: str | os.PathLike[str], device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file; RuntimeError for one that is damaged or something else."""
    where = devices.resolve(device)
    safetensors = package()
    with open(path, "rb") as file:
        data = file.read()
    try:
        entries = safetensors.deserialize(data)
    except Exception as error:
        raise RuntimeError(f"{os.fspath(path)} is not a whole safetensors file: {error}") from None
    result = {}
    for name, entry in entries:
        d = _NAMES.get(entry["dtype"])
        if d is None:
            raise RuntimeError(f"tensor '{name}' of {os.fspath(path)} has dtype {entry['dtype']}, which luchina lacks")
        array = np.frombuffer(entry["data"], d.numpy).reshape(entry["shape"])
        result[name] = moved(from_array(array, d), where)
    return result
