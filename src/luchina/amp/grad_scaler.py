"""Loss scaling: gradients of a float16 network are kept in the range that float16 can hold."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

import luchina
from luchina import Tensor, devices
from luchina.amp.autocast_mode import is_present
from luchina.creation import tensor


class OptState(Enum):
    """Where an optimizer is in its iteration."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf": None}


class GradScaler:
    """Multiplies losses by a scale, divides gradients by it, and skips steps whose gradients are not finite.

    After ``growth_interval`` good steps the scale grows by ``growth_factor``; after a skipped one it shrinks by
    ``backoff_factor``. With ``enabled=False`` every method passes through.

    >>> import luchina as torch
    >>> w = torch.ones(1, requires_grad=True)
    >>> optimizer, scaler = torch.optim.SGD([w], lr=0.5), torch.amp.GradScaler("cpu", init_scale=4.0)
    >>> scaler.scale((w * 2).sum()).backward()
    >>> w.grad
    tensor([8.])
    >>> scaler.step(optimizer); scaler.update()
    >>> w
    tensor([0.], requires_grad=True)

    Source: https://pytorch.org/docs/stable/amp.html#gradient-scaling
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = bool(enabled)
        kind = devices.device(device).type
        if enabled and kind == "cuda" and not is_present("cuda"):
            warnings.warn(
                "GradScaler is enabled, but CUDA is not available: what is there is 'cpu'. Disabling.", stacklevel=2
            )
            self._enabled = False
        elif enabled:
            devices.resolve(device)
        if self._enabled:
            if growth_factor <= 1.0:
                raise AssertionError("The growth factor must be > 1.0.")
            if backoff_factor >= 1.0:
                raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale = init_scale
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._scale: Tensor | None = None  # a float32 scalar from the first ``scale`` on
        self._good_steps = 0  # good steps since the scale last changed
        self._optimizers: dict[int, dict[str, Any]] = defaultdict(_fresh)

    def _set(self, scale: float) -> None:
        self._scale = tensor(scale, dtype=luchina.float32, device="cpu")  # which goes with gradients of every device

    def _require_scale(self, name: str) -> Tensor:
        if self._scale is None:
            raise AssertionError(
                f"Attempted {name} but _scale is None.  This may indicate your script did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )
        return self._scale

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each one of an iterable, multiplied by the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._set(self._init_scale)
            return outputs * self._scale
        if isinstance(outputs, Iterable) and not isinstance(outputs, (str, bytes)):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, and note whether any is not finite.

        For what has to see true gradients, as clipping does; ``step`` does it otherwise. Once an iteration.
        """
        if not self._enabled:
            return
        scale = self._require_scale("unscale_")
        state = self._optimizers[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if any(g.dtype is luchina.float16 for g in gradients):
            raise ValueError("Attempting to unscale FP16 gradients.")
        with luchina.no_grad():
            if gradients:
                inverse = scale.to(luchina.float64).reciprocal().to(luchina.float32)
                bad: dict[Any, list[Tensor]] = {}
                for g in gradients:
                    bad.setdefault(g.device, []).append(g.isfinite().logical_not().any())
                    g.mul_(inverse)
                of_devices = [luchina.stack(found).any().float().cpu() for found in bad.values()]
                state["found_inf"] = luchina.stack(of_devices).any().float()
        state["stage"] = OptState.UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Unscale if need be, then ``optimizer.step(*args, **kwargs)``, unless a gradient is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._require_scale("step")
        state = self._optimizers[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        if state["found_inf"] is None:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None if state["found_inf"].item() else optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """End of an iteration: the scale shrinks if a step was skipped, grows after enough good ones, or is set."""
        if not self._enabled:
            return
        scale = self._require_scale("update")
        if new_scale is not None:
            self._set(new_scale if isinstance(new_scale, float) else self._given(new_scale))
        else:
            found = [s["found_inf"] for s in self._optimizers.values() if s["found_inf"] is not None]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            if any(f.item() for f in found):
                self._set(scale.item() * self._backoff_factor)
                self._good_steps = 0
            else:
                self._good_steps += 1
                if self._good_steps == self._growth_interval:
                    grown = tensor(scale.item() * self._growth_factor, dtype=luchina.float32, device="cpu")
                    if math.isfinite(grown.item()):
                        self._scale = grown
                    self._good_steps = 0
        self._optimizers = defaultdict(_fresh)

    def _given(self, new_scale: Tensor) -> float:
        if new_scale.device.type != self._device or new_scale.numel() != 1 or new_scale.requires_grad:
            raise AssertionError(
                "new_scale should be a float or a 1-element tensor of floats with requires_grad=False."
            )
        return float(new_scale.item())

    def get_scale(self) -> float:
        """The scale; 1.0 if disabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale.item())

    def get_growth_factor(self) -> float:
        """What the scale grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale shrinks by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale shrinks by."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether this does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Scale, factors, interval and count of good steps; empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` gave, here or in PyTorch; nothing if disabled."""
        if not self._enabled:
            return
        if len(state_dict) == 0:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        scale = state_dict["scale"]
        growth, backoff = state_dict["growth_factor"], state_dict["backoff_factor"]
        interval, tracker = state_dict["growth_interval"], state_dict["_growth_tracker"]
        self._init_scale = scale
        if self._scale is not None:
            self._set(scale)
        self._growth_factor, self._backoff_factor = growth, backoff
        self._growth_interval, self._good_steps = interval, tracker
