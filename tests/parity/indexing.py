"""Reading and writing by index."""

from __future__ import annotations

import numpy as np

from parity.harness import attempt, data, plain, program, register, tensor

READS = """
x[0]
x[-1]
x[1, 2]
x[1, 2, 3]
x[0][1]
x[:]
x[...]
x[0, ...]
x[..., 0]
x[..., -1, :]
x[1:]
x[:1]
x[:, 1:3]
x[:, ::2]
x[:, :, 1::2]
x[::2, ::2, ::2]
x[1:1]
x[5:]
x[-5:]
x[:-1]
x[0:100]
x[2:1]
x[None]
x[:, None]
x[..., None]
x[None, ..., None]
x[0, None, 1]
x[True]
x[False]
x[()]
x[[0, 1]]
x[[1, 0, 1]]
x[[-1]]
x[:, [0, 2]]
x[..., [3, 0]]
x[[0, 1], [2, 0]]
x[[0, 1], :, [2, 0]]
x[:, [0, 1], [2, 3]]
x[[[0, 1], [1, 0]]]
x[torch.tensor([0, 1])]
x[torch.tensor(1)]
x[:, torch.tensor([[0, 1], [2, 0]])]
x[torch.tensor([[0], [1]]), torch.tensor([0, 2])]
x[torch.tensor([0, 1]), 1]
x[1, :, torch.tensor([0, 3])]
x[torch.tensor([0]), None, torch.tensor([1])]
x[0, torch.tensor([1, 2])]
x[torch.tensor([0, 1]), ..., torch.tensor([0, 1])]
x[torch.tensor([0, 1], dtype=torch.int32)]
x[torch.tensor([0, 1], dtype=torch.uint8)]
x[torch.tensor([], dtype=torch.int64)]
x[x > 0]
x[x > 99]
x[x[:, 0, 0] > 0]
x[x[:, :, 0] > 0]
x[:, x[0, :, 0] > 0]
x[..., x[0, 0] > 0]
x[torch.tensor([True, False])]
x[torch.tensor([True, False]), 0]
x[torch.tensor([True, True]), torch.tensor([0, 2])]
x[[True, False]]
x[x > 0].sum()
x[1:, [0, 1], ::2]
x[:, 0, [1, 2]]
x[0, :, [1, 2]]
x[None, [0, 1]]
x[[0, 1], None]
x[:, None, [0, 1]]
x[2]
x[0, 5]
x[0, 0, 0, 0]
x[0, 0, 0, None]
x[..., ...]
x[1.0]
x["a"]
x[[0, 5]]
x[torch.tensor([0.5])]
x[torch.tensor([True, False, True])]
x[::-1]
x[::0]
x[[0, 1], [0, 1, 2]]
x[(0, 1), ]
x[(0, 1)]
x[slice(0, 1), slice(None)]
x[torch.tensor(0):torch.tensor(2)]
x[:, -2:]
x[-1:, -1:, -1:]
x[1][2][3]
x[..., 1:2, :]
x[np.arange(2)]
x[range(2)]
x[torch.tensor(True)]
x[:, torch.tensor([[True, False], [False, True], [True, True]])[0].repeat(2)[:3]]
"""
COPYING = ("[[", ", [", "tensor", "x[x", ", x", "np.", "range", "True", "False", "x[(0, 1), ]")
VALUES = {
    "scalar": "7",
    "float": "1.5",
    "0-d": "torch.tensor(5)",
    "row": "torch.arange(4)",
    "same": "torch.zeros_like(@)",
    "wrong": "torch.zeros(11)",
}
WRITES = """
x[0]
x[-1]
x[1, 2]
x[1, 2, 3]
x[:]
x[...]
x[..., 0]
x[:, 1:3]
x[::2, ::2, ::2]
x[1:1]
x[None]
x[[0, 1]]
x[[1, 0, 1]]
x[:, [0, 2]]
x[..., [3, 0]]
x[[0, 1], [2, 0]]
x[[0, 1], :, [2, 0]]
x[torch.tensor([[0], [1]]), torch.tensor([0, 2])]
x[1, :, torch.tensor([0, 3])]
x[x > 0]
x[x[:, 0, 0] > 0]
x[x[:, :, 0] > 0]
x[:, x[0, :, 0] > 0]
x[torch.tensor([True, False]), 0]
x[True]
x[0][1]
x[2]
x[torch.tensor(1)]
x[1:, [0, 1], ::2]
"""


def _reads(text):
    def run(torch):
        results = {}
        for dtype in ("float32", "int64"):
            for layout in ("", "t"):
                x = tensor(torch, data(1, 2, 3, 4, low=-5, high=5, dtype=dtype), layout=layout)
                found = attempt(lambda x=x: eval(text, {"torch": torch, "np": np}, {"x": x}))
                is_view = isinstance(found, torch.Tensor) and not any(word in text for word in COPYING)
                layout_found = (found.stride(), found.storage_offset()) if is_view else None
                results[dtype + layout] = plain([found, layout_found], torch)
        x = tensor(torch, data(2, 2, 3, 4, dtype="float64"), grad=True)
        found = attempt(lambda: eval(text, {"torch": torch, "np": np}, {"x": x}))
        if isinstance(found, torch.Tensor):
            cotangent = tensor(torch, data(3, *found.shape, dtype="float64"))
            (found * cotangent).sum().backward()
            results["gradient"] = plain(x.grad, torch)
        return results

    register(f"indexing.read {text}", run)


def _writes(place):
    def run(torch):
        results = {}
        for name, value in VALUES.items():
            statement = f"{place} = {value.replace('@', place)}"
            for dtype in ("float32", "int64"):
                x = tensor(torch, data(1, 2, 3, 4, low=-5, high=5, dtype=dtype))
                error = attempt(lambda x=x, s=statement: exec(s, {"torch": torch}, {"x": x}))
                # PyTorch may have written part of the elements before it raised
                results[f"{name} {dtype}"] = plain([error, None if isinstance(error, dict) else x], torch)
        for operation in ("+= 1", "*= 2", "-= 0.5"):
            x = tensor(torch, data(1, 2, 3, 4, low=-5, high=5, dtype="float32"))
            error = attempt(lambda x=x, s=f"{place} {operation}": exec(s, {"torch": torch}, {"x": x}))
            results[operation] = plain([error, None if isinstance(error, dict) else x], torch)
        leaf = tensor(torch, data(4, 2, 3, 4, dtype="float64"), grad=True)
        value = tensor(torch, data(5, dtype="float64"), grad=True)
        x = leaf * 2
        error = attempt(lambda: exec(f"{place} = value", {"torch": torch}, {"x": x, "value": value}))
        (x * tensor(torch, data(6, 2, 3, 4, dtype="float64"))).sum().backward()
        results["gradient"] = plain([error, leaf.grad, value.grad], torch)
        return results

    register(f"indexing.write {place}", run)


for _text in filter(None, READS.split("\n")):
    _reads(_text)
for _text in filter(None, WRITES.split("\n")):
    _writes(_text)


@program
def accumulate_with_repeated_indices(torch):
    x = torch.zeros(4)
    x.index_put_((torch.tensor([0, 0, 2]),), torch.tensor([1.0, 2.0, 3.0]), accumulate=True)
    y = torch.zeros(4)
    y[torch.tensor([0, 0, 2])] += 1
    z = torch.zeros(3, 4)
    z.index_put_((torch.tensor([[0], [2]]), torch.tensor([1, 1, 3])), torch.tensor(1.0), accumulate=True)
    return x, y, z


@program
def mask_assignments(torch):
    x = torch.arange(12.0).reshape(3, 4)
    x[x > 5] = 0
    x[x == 0] = torch.tensor(-1.0)
    x[x == 3] = torch.tensor([9.0])
    y = torch.arange(5)
    y[y % 2 == 0] = torch.tensor([10, 20, 30])
    z = torch.arange(4.0)
    error = attempt(lambda: z.__setitem__(z > 1, torch.ones(3)))
    z.masked_scatter_(z > 1, torch.tensor([7.0, 8.0, 9.0]))
    return x, y, error, z


@program
def assignment_converts_dtype(torch):
    x = torch.zeros(3, dtype=torch.int64)
    x[0] = 2.7
    x[1] = torch.tensor(3.9)
    y = torch.zeros(2, dtype=torch.bool)
    y[0] = 5
    z = torch.zeros(2, dtype=torch.uint8)
    z[0] = True
    return x, y, z, attempt(lambda: x.__setitem__(torch.tensor([0]), torch.tensor([1.5])))


@program
def chained_and_nested(torch):
    x = torch.zeros(3, 4)
    x[1][2] = 5
    x[0:2][:, 1] = 3
    x[[0, 1]][0] = 9  # a copy: not seen in x
    x[2, :] += torch.arange(4)
    x[:, 0] *= 2
    x[..., -1] -= 1
    return x


@program
def functions_that_look_things_up(torch):
    x = torch.arange(12.0).reshape(3, 4)
    return (
        torch.nonzero(torch.tensor([[0, 1], [2, 0]])), torch.nonzero(torch.tensor([1, 0, 2]), as_tuple=True),
        torch.where(x > 5), torch.nonzero(torch.tensor(1)), x.masked_select(x > 7), torch.argwhere(x > 10),
        x.take(torch.tensor([0, -1])), torch.index_select(x, 1, torch.tensor([3, 0])),
        torch.zeros(3, 4).index_fill_(1, torch.tensor([1]), 2.0), x.narrow(1, 1, 2), torch.select(x, 0, -1),
        torch.bincount(torch.tensor([0, 1, 1, 3])),
        torch.unique(torch.tensor([3, 1, 1, 2])), torch.unique(torch.tensor([3, 1, 1]), return_counts=True),
    )  # fmt: skip
