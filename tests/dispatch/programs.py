"""Random small programs as plain data, and what running one shows: values, layouts, errors, who shares what.

``python programs.py`` reads programs, one a line, and writes what each shows.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Callable
from typing import Any

import luchina as torch

nn, functional = torch.nn, torch.nn.functional
Step = tuple[str, int, int, int]
"""What is done, to which two tensors (by number), and which variant of it."""

NUMBERS = (2, 0.5, -1.5, 0.0, 1, True, -0.0, 3)
SHAPES = ((12,), (3, 4), (4, 3), (2, 6), (2, 3, 2), (-1,), (1, 12), (6, -1))
KEYS: tuple[Any, ...] = (
    *(0, -1, 7, None, Ellipsis, True, (slice(None), 0), (Ellipsis, None, slice(0, 2)), (0, slice(1, 3))),
    *(slice(1, None), slice(None, None, 2), slice(2, 1), (slice(None), slice(-2, None)), (None, slice(0, 1))),
)
DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool)


def _number(k: int) -> Any:
    return NUMBERS[k % len(NUMBERS)]


def _shape(k: int) -> tuple[int, ...]:
    return SHAPES[k % len(SHAPES)]


def _key(k: int) -> Any:
    return KEYS[k % len(KEYS)]


def _dim(k: int) -> int:
    return k % 5 - 2  # now and then there is no such dimension


MAKE: dict[str, Callable[[Any, Any, int], Any]] = {
    "add": lambda x, y, k: x + y,
    "sub": lambda x, y, k: x - y,
    "mul": lambda x, y, k: torch.mul(input=x, other=y) if k % 2 else torch.mul(other=y, input=x),
    "number": lambda x, y, k: (x + _number(k), _number(k) - x, x * _number(k), _number(k) / x)[k % 3 : k % 3 + 2],
    "alpha": lambda x, y, k: torch.add(x, y, alpha=_number(k)) if k % 3 else x.sub(y, alpha=_number(k)),
    "compare": lambda x, y, k: x > _number(k),
    "clamp": lambda x, y, k: x.clamp(*((-1, 1), (_number(k),), (None, _number(k)))[k % 3]),
    "relu": lambda x, y, k: functional.relu(x, inplace=k % 5 == 0),
    "elu": lambda x, y, k: functional.elu(x, alpha=_number(k)),
    "sum": lambda x, y, k: x.sum(_dim(k), keepdim=bool(k % 2)) if k % 3 else torch.sum(x, dim=(_dim(k),)),
    "softmax": lambda x, y, k: x.softmax(_dim(k)),
    "matmul": lambda x, y, k: x @ (y.t() if k % 2 else y),
    "layer_norm": lambda x, y, k: functional.layer_norm(x, (x.shape[-1],) if k % 2 else [x.shape[-1]]),
    "to": lambda x, y, k: x.to(DTYPES[k % 4]),
    "clone": lambda x, y, k: x.clone(),
    "contiguous": lambda x, y, k: x.contiguous(),
    "ones": lambda x, y, k: torch.ones(3, 4),
    "cat": lambda x, y, k: torch.cat((x, y) if k % 2 else [x, y, x], _dim(k)),
    "stack": lambda x, y, k: torch.stack([x, y], _dim(k)),
    "parameter": lambda x, y, k: nn.Parameter(x.detach().clone()),
    "mask": lambda x, y, k: x[x > 0],
    "embedding": lambda x, y, k: functional.embedding(torch.tensor([[0, k % 4]]), x),
    "out": lambda x, y, k: torch.add(x, y, out=torch.zeros(3, 4) if k % 2 else None),
    "view": lambda x, y, k: x.view(_shape(k)) if k % 2 else x.view(*_shape(k)),
    "reshape": lambda x, y, k: torch.reshape(shape=_shape(k), input=x) if k % 5 == 0 else x.reshape(_shape(k)),
    "t": lambda x, y, k: x.t(),
    "transpose": lambda x, y, k: x.transpose(dim0=_dim(k), dim1=_dim(k // 3)),
    "permute": lambda x, y, k: x.permute(*((1, 0), (0, 1), (1, 2, 0), (-1, 0))[k % 4]),
    "flatten": lambda x, y, k: x.flatten(*((), (1,), (0, -1))[k % 3]),
    "unsqueeze": lambda x, y, k: x.unsqueeze(_dim(k)),
    "split": lambda x, y, k: x.split((1, 2, [1, 2], [1, 3], 5)[k % 5], _dim(k)),
    "chunk": lambda x, y, k: x.chunk(k % 4, _dim(k)),
    "unbind": lambda x, y, k: x.unbind(_dim(k)),
    "index": lambda x, y, k: x[_key(k)],
    "expand": lambda x, y, k: x.expand(2, *x.shape),
    "detach": lambda x, y, k: x.detach() if k % 2 else x.data,
}


def _assign(x: Any, y: Any, k: int) -> None:
    x[_key(k)] = _number(k) if k % 3 else y[_key(k)]


def _swap(x: Any, y: Any, k: int) -> None:
    x.data = y.detach() if k % 2 else y.data.clone()


def _forget(x: Any, y: Any, k: int) -> None:
    x.grad = None


CHANGE: dict[str, Callable[[Any, Any, int], Any]] = {
    "add_": lambda x, y, k: x.add_(y),
    "mul_": lambda x, y, k: x.mul_(_number(k)),
    "copy_": lambda x, y, k: x.copy_(y),
    "t_": lambda x, y, k: x.t_(),
    "assign": _assign,
    "swap": _swap,
    "leaf": lambda x, y, k: x.requires_grad_(bool(k % 3)),
    "backward": lambda x, y, k: (x * y).sum().backward(retain_graph=bool(k % 2)),
    "backward again": lambda x, y, k: x.sum().backward(),
    "look": lambda x, y, k: x.tolist(),
    "forget": _forget,
    "turn": lambda x, y, k: x.grad.t_(),
    "hook": lambda x, y, k: x.register_hook(lambda g: g * 2) and None,
}

OFTEN = ("backward", "leaf", "mask", "matmul", "optimizer", "reshape", "t")
NAMES = sorted([*MAKE, *CHANGE, "mode", "layer", "optimizer", *OFTEN, *OFTEN])
MODES = (torch.enable_grad, torch.no_grad, torch.enable_grad, torch.inference_mode)


class Net(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.norm = nn.Linear(4, 4), nn.Linear(4, 4, bias=False), nn.LayerNorm(4)
        self.last.weight = self.first.weight
        self.first.weight.data.copy_(torch.arange(16.0).reshape(4, 4) / 16 - 0.4)
        self.first.bias.data.zero_()

    def forward(self, x: Any, *, twice: bool = False) -> Any:
        x = self.last(self.norm(functional.gelu(self.first(x))))
        return x * 2 if twice else x


def _shown(t: Any) -> tuple:
    name = t.grad_fn and t.grad_fn.name()
    layout = tuple(t.shape), t.stride(), t.storage_offset(), t.is_contiguous(), str(t.dtype), t._base is not None
    return type(t).__name__, *layout, t.requires_grad, t.is_leaf, name, t._version


def _numbers(t: Any) -> str:
    return repr(t.detach().tolist())


def run(program: list[Step]) -> str:
    """All there is to see of a program, as text."""
    rows = torch.arange(12.0).reshape(3, 4).clone()
    turned = (torch.arange(12.0) - 5.5).reshape(4, 3).clone().t()
    tensors = [rows, turned, torch.ones(3, 4, requires_grad=True), torch.arange(6).reshape(2, 3), torch.ones(3, 4) * 2]
    net = Net()
    optimizers = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), torch.optim.AdamW(net.parameters(), lr=0.1)
    seen: list[Any] = []
    mode = 0
    for name, i, j, k in program:
        x, y = tensors[i % len(tensors)], tensors[j % len(tensors)]
        made: Any = ()
        try:
            with MODES[mode]():
                if name == "mode":
                    mode = k % len(MODES)
                elif name == "layer":
                    made = net(x, twice=bool(k % 2))
                elif name == "optimizer":
                    net.zero_grad(set_to_none=bool(k % 3))
                    (net(rows.detach()) ** 2).mean().backward()
                    optimizers[k % 2].step()
                elif name in MAKE:
                    made = MAKE[name](x, y, k)
                else:
                    seen.append(repr(CHANGE[name](x, y, k) is x))
        except Exception as error:
            seen.append((name, type(error).__name__, str(error)))
        made = made if isinstance(made, tuple) else (made,)
        tensors += [t for t in made[:3] if t.ndim < 5 and t.numel() < 200]
        seen += [name, len(made), [_shown(t) for t in made], _shown(x)]
    places = {id(t._storage): at for at, t in reversed([*enumerate(tensors)])}
    names = {id(t): at for at, t in enumerate(tensors)}
    for t in [*tensors, *net.parameters()]:
        seen += [_shown(t), places.get(id(t._storage)), names.get(id(t._base)), _numbers(t)]
        gradient = t.grad if t.is_leaf else None
        seen.append(gradient is not None and (_shown(gradient), _numbers(gradient)))
    return repr(seen)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        try:
            answer = run(ast.literal_eval(line))
        except Exception as error:  # what happens outside a step is told as well
            answer = repr(error)
        print(answer, flush=True)
