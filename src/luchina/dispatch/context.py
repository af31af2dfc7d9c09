"""What compiled functions are given, and which slots of objects they know."""

from __future__ import annotations

_OBJECTS = (
    "recording", "mode", "anywhere", "too_large", "interned", "scalar_numbers", "layouts", "sequence",
    "object", "Value", "Tensor", "Storage", "Counter", "Spec", "Size", "dtype",
    "None", "True", "False", "int", "float", "bool", "str", "tuple", "NoneType",
    "zero", "empty", "minus_one", "float64", "int64",
    "__dict__", "epoch", "watched", "graded", "grad", "inference", "leaves", "several", "_read",
    "_base", "_detached", "_multi_view", "is_floating_point", "attrs", "key_of", "limit", "scalar_number",
    "Buffer", "one", "getrefcount", "own_memory", "show_one", "numbers_of",
    "allocate", "arena", "run", "threads", "lock", "_pool", "acquire", "release", "address", "stride",
    "record", "gradient", "with_attrs", "TensorHooks", "_grad", "wrap_value", "accumulate",
    "_hooked", "forward", "_parameters", "_buffers", "_modules",
    "pool_of", "list", "memory", "pool", "_in_use", "_pooled", "_peak", "POOL_LIMIT",
    "Pack", "program_lock", "observers", "present", "accelerators", "programs", "epochs", "statistics", "runs",
    "NoMemory", "updates", "leaving", "counted", "touched", "consumed", "walked", "finish", "settle",
    "gather", "signature", "execute", "fill",
)  # fmt: skip
OWN = ("twin", "memo", "learn", "laid", "free", "hooks", "failed")
"""What differs from one function to another."""
CONTEXT = {name: i for i, name in enumerate((*_OBJECTS, *OWN))}
"""Where a function finds what it is given, in the tuple that it is bound to."""

SLOTS = {
    "Value": (
        "op", "inputs", "attrs", "shape", "dtype", "needs_grad", "buffer", "number", "weak", "key", "epoch", "label",
        "cell", "context", "version", "hooks", "freed", "sequence", "place",
    ),
    "Tensor": (
        "_storage", "_shape", "_strides", "_offset", "_dtype", "_counter", "_value", "_generation", "_dense",
    ),
    "Storage": ("value", "generation", "owned_elsewhere", "lent", "_exports"),
    "Counter": ("version",),
    "Buffer": ("_size", "nbytes", "owner", "ptr"),
    "Update": ("tensors", "value", "written"),
    "Pack": ("buffers", "device", "numbers"),
    "TensorHooks": ("after", "functions", "tensor"),
    "Op": ("vjp",),
    "Anywhere": ("threads",),
}  # fmt: skip
"""The slots that the code reads or sets: of a Value, a Tensor, a Storage and a Counter, all that a new one has."""
