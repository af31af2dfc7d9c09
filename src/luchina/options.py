"""The options that functions which make tensors share: ``out``, ``layout``, ``pin_memory``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from luchina.dtypes import dtype
from luchina.ops.pointwise import dtype_title
from luchina.tensor import Tensor


def makes(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give ``function`` these options: what it makes is written to ``out``, in its dtype, and returned as ``out``."""
    has_dtype = "dtype" in inspect.signature(function).parameters

    @functools.wraps(function)
    def with_options(
        *args: Any, out: Tensor | None = None, layout: Any = None, pin_memory: bool = False, **kwargs: Any
    ) -> Tensor:
        check(layout, pin_memory)
        if out is None:
            return function(*args, **kwargs)
        from luchina.face import into

        if out.requires_grad:
            raise RuntimeError(
                f"{function.__name__}(): functions with out=... arguments don't support automatic differentiation, but "
                "one of the arguments requires grad."
            )
        if has_dtype:
            wanted = kwargs.get("dtype")
            if isinstance(wanted, dtype) and wanted is not out.dtype:
                raise RuntimeError(
                    f"dtype {dtype_title(wanted)} does not match dtype of out parameter ({dtype_title(out.dtype)})"
                )
            kwargs["dtype"] = out.dtype
        return into(out, function(*args, **kwargs).to(out.dtype))

    return with_options


def check(layout: Any = None, pin_memory: bool = False) -> None:
    """The errors of what is not there: other layouts than strided ones, page-locked memory."""
    if layout not in (None, "torch.strided"):
        raise NotImplementedError(f"layout={layout}: luchina's tensors are strided")
    if pin_memory:
        raise RuntimeError(
            "pin_memory=True requires a CUDA or other accelerator backend; no pinned memory allocator is available on "
            "this system."
        )
