"""Random programs, each on luchina and on numpy: ``LUCHINA_GUARD=after python guard_fuzz.py SEED COUNT``.

Windows of every kind go in (steps, offsets, transposes, no elements), ten operations follow, and what comes out is
compared. Sizes are small and odd, so that every kernel meets its tails. Run under the guard this is a search for
reads and writes that leave their memory, and for reads of what nobody wrote.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np

import luchina as torch

SIZES = (0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 70)
DTYPES = ("float32", "float32", "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "uint8", "bool")


class Case:
    """One random program; ``self.pairs`` are tensors with the arrays that they should equal."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.said: list[str] = []
        self.pairs = [self.leaf() for _ in range(3)]
        self.rounded: list = []  # compared, but not computed with: a last bit could become a whole number

    def size(self, largest: int = 70) -> int:
        return int(self.rng.choice([n for n in SIZES if n <= largest]))

    def leaf(self, shape: tuple[int, ...] | None = None, dtype: str | None = None):
        """A window on fresh memory: contiguous, or cut out by offsets, steps and a permutation."""
        rng = self.rng
        dtype = dtype or str(rng.choice(DTYPES))
        if shape is None:
            rank = int(rng.integers(0, 5))
            shape = tuple(self.size((70, 70, 40, 17, 7)[rank]) for _ in range(rank))
        order = rng.permutation(len(shape)) if rng.random() < 0.5 else np.arange(len(shape))
        cut = rng.random() < 0.6
        steps = [int(rng.integers(1, 4)) if cut else 1 for _ in shape]
        starts = [int(rng.integers(0, 4)) if cut else 0 for _ in shape]
        stored = [starts[a] + steps[a] * shape[a] + (int(rng.integers(0, 3)) if cut else 0) for a in order]
        values = rng.integers(0, 2 if dtype == "bool" else 7, stored)
        base = torch.tensor(values.tolist(), dtype=torch.float32).reshape(stored).to(getattr(torch, dtype))
        window = tuple(slice(starts[a], starts[a] + steps[a] * shape[a], steps[a]) for a in order)
        back = np.argsort(order)
        array = values.astype("float64" if dtype == "bfloat16" else dtype)
        self.said.append(f"leaf {dtype} {shape} steps {steps} starts {starts} order {order.tolist()}")
        return base[window].permute(*back.tolist()) if shape else base, array[window].transpose(back)

    def pick(self, least: int = 0):
        found = [p for p in self.pairs if p[1].ndim >= least]
        return found[int(self.rng.integers(len(found)))] if found else self.leaf(tuple(self.size(13) for _ in "abc"))

    def small(self, x, a):
        """Whole numbers from 0 to 6, so that sums and products are exact in every dtype that takes part."""
        return (x.float() % 7).floor(), np.floor(a.astype("float32") % 7)

    def step(self) -> None:
        name = str(self.rng.choice(sorted(STEPS)))
        self.said.append(name)
        done = STEPS[name](self)
        if done is not None and name in ROUNDED:
            self.rounded.append(done)
        elif done is not None:
            self.pairs = [*self.pairs[-3:], done]

    def check(self) -> None:
        for x, a in self.pairs + self.rounded:
            got = np.array(x.float().tolist() if x.is_floating_point() else x.tolist(), dtype="float64").reshape(
                x.shape
            )
            assert tuple(x.shape) == a.shape, (self.said, tuple(x.shape), a.shape)
            np.testing.assert_allclose(got, a.astype("float64"), rtol=2e-2, atol=1e-2, err_msg="\n".join(self.said))


def axis_of(case: Case, a: np.ndarray) -> int:
    return int(case.rng.integers(a.ndim))


def pointwise(case):
    x, a = case.small(*case.pick())
    shape = tuple(n if case.rng.random() < 0.7 else 1 for n in a.shape)
    y, b = case.small(*case.leaf(shape))
    return (x * 2 - y).abs() + x.maximum(y), np.abs(a * 2 - b) + np.maximum(a, b)


def curved(case):
    x, a = case.small(*case.pick())
    return torch.tanh(x / 3) * torch.exp(-x) + torch.sqrt(x), np.tanh(a / 3) * np.exp(-a) + np.sqrt(a)


def compare(case):
    x, a = case.small(*case.pick())
    return torch.where(x > 2, x, -x), np.where(a > 2, a, -a)


def reduce(case):
    x, a = case.small(*case.pick(1))
    axes = tuple(int(i) for i in case.rng.permutation(a.ndim)[: int(case.rng.integers(1, a.ndim + 1))])
    keep = bool(case.rng.random() < 0.5)
    if min((a.shape[i] for i in axes), default=1) and case.rng.random() < 0.5:
        return x.amax(axes, keep), a.max(axes, keepdims=keep)
    return x.sum(axes, keep), a.sum(axes, keepdims=keep)


def argument(case):
    x, a = case.small(*case.pick(1))
    axis = axis_of(case, a)
    return (x.argmax(axis), a.argmax(axis)) if a.shape[axis] else None


def running(case):
    x, a = case.small(*case.pick(1))
    axis = axis_of(case, a)
    return x.cumsum(axis), a.cumsum(axis)


def ordered(case):
    x, a = case.small(*case.pick(1))
    axis = axis_of(case, a)
    return x.sort(axis).values, np.sort(a, axis)


def largest(case):
    x, a = case.small(*case.pick(1))
    axis = axis_of(case, a)
    k = int(case.rng.integers(0, a.shape[axis] + 1))
    return x.topk(k, axis).values, np.flip(np.sort(a, axis), axis).take(range(k), axis)


def product(case):
    m, k, n = (case.size() for _ in range(3))
    lead = (case.size(4),) if case.rng.random() < 0.4 else ()
    kind = str(case.rng.choice(["float32", "float32", "float64", "bfloat16", "float16"]))
    x, a = case.leaf((*lead, m, k), kind)
    y, b = case.leaf((*lead, k, n), kind)
    product = np.matmul(a.astype("float64"), b.astype("float64"))
    bias, c = case.leaf((n,), kind)
    return torch.relu(x @ y + bias).float(), np.maximum(product + c, 0)


def convolution(case):
    rng = case.rng
    groups = int(rng.choice([1, 1, 2, 3]))
    n, c, o = case.size(3), groups * int(rng.integers(1, 6)), groups * int(rng.integers(1, 6))
    kh, kw = (int(rng.integers(1, 6)) for _ in "hw")
    stride, padding, dilation = int(rng.integers(1, 4)), int(rng.integers(0, 3)), int(rng.integers(1, 3))
    h, w = (max(dilation * (k - 1) + 1 - 2 * padding, 1) + int(rng.integers(0, 20)) for k in (kh, kw))
    x, a = case.leaf((n, c, h, w), "float32")
    f, b = case.leaf((o, c // groups, kh, kw), "float32")
    case.said.append(f"stride {stride} padding {padding} dilation {dilation} groups {groups}")
    a = np.pad(a, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    rows = (a.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    columns = (a.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    result = np.zeros((n, o, rows, columns))
    for i in range(kh):
        for j in range(kw):
            part = a[:, :, i * dilation :, j * dilation :][:, :, ::stride, ::stride][:, :, :rows, :columns]
            part = part.reshape(n, groups, c // groups, rows, columns)
            taps = b[:, :, i, j].reshape(groups, o // groups, c // groups)
            result += np.einsum("ngchw,goc->ngohw", part, taps).reshape(result.shape)
    return torch.nn.functional.conv2d(x, f, None, stride, padding, dilation, groups), result


def gather(case):
    x, a = case.small(*case.pick(1))
    axis = axis_of(case, a)
    if not a.shape[axis]:
        return None
    shape = tuple(int(case.rng.integers(0, n + 1)) if i != axis else case.size(33) for i, n in enumerate(a.shape))
    index = case.rng.integers(0, a.shape[axis], shape)
    trimmed = a[tuple(slice(n) if i != axis else slice(None) for i, n in enumerate(shape))]
    return x.gather(axis, torch.from_numpy(index)), np.take_along_axis(trimmed, index, axis)


def scatter(case):
    x, a = case.small(*case.pick(1))
    n = case.size(33)
    if not a.shape[0]:
        return None
    index = case.rng.integers(0, a.shape[0], n)
    y, b = case.small(*case.leaf((n, *a.shape[1:])))
    result = a.copy()
    np.add.at(result, index, b)
    return x.index_add(0, torch.from_numpy(index), y), result


def masked(case):
    x, a = case.small(*case.pick())
    return x[x > 2], a[a > 2]


def joined(case):
    x, a = case.pick(1)
    axis = axis_of(case, a)
    shape = tuple(n if i != axis else case.size(17) for i, n in enumerate(a.shape))
    (x, a), (y, b) = case.small(x, a), case.small(*case.leaf(shape))
    return torch.cat([x, y, x], axis), np.concatenate([a, b, a], axis)


def padded(case):
    x, a = case.small(*case.pick(1))
    before, after = (int(n) for n in case.rng.integers(0, 5, 2))
    return torch.nn.functional.pad(x, (before, after)), np.pad(a, [(0, 0)] * (a.ndim - 1) + [(before, after)])


def moved(case):
    x, a = case.pick(1)
    axis = axis_of(case, a)
    by = int(case.rng.integers(-9, 9))
    return x.roll(by, axis).flip(axis), np.flip(np.roll(a, by, axis), axis)


def window(case):
    x, a = case.pick(1)
    axis = axis_of(case, a)
    start = int(case.rng.integers(0, a.shape[axis] + 1))
    at = (*[slice(None)] * axis, slice(start, None, int(case.rng.integers(1, 4))))
    return x[at].transpose(0, -1), a[at].swapaxes(0, -1)


def flattened(case):
    x, a = case.pick()
    return x.reshape(-1), a.reshape(-1)


def written(case):
    """A chain of writes in place, one of them through a view."""
    x, a = case.small(*case.pick(1))
    axis = axis_of(case, a)
    x, a = x.clone(), a.copy()
    at = (*[slice(None)] * axis, slice(int(case.rng.integers(0, 3)), None, int(case.rng.integers(1, 3))))
    x[at] += 1
    a[at] += 1
    x.mul_(2).sub_(1)
    np.subtract(a * 2, 1, out=a)
    x[at].clamp_(max=5)
    np.minimum(a[at], 5, out=a[at])
    return x, a


def converted(case):
    x, a = case.small(*case.pick())
    kind = str(case.rng.choice(DTYPES))
    return x.to(getattr(torch, kind)), a.astype("float64" if kind == "bfloat16" else kind)


def normed(case):
    x, a = case.small(*case.pick(1))
    if not a.shape[-1]:
        return None
    e = np.exp(a - a.max(-1, keepdims=True))
    return x.softmax(-1), e / e.sum(-1, keepdims=True)


def looked(case):
    """Compute now, so that what follows starts from memory."""
    case.check()


def trained(case):
    """Two steps of gradient descent on one weight: memory is handed from one run to the next."""
    n, k = case.size(33), case.size(17)
    x, a = case.leaf((n, k), "float32")
    w, b = torch.zeros(k, requires_grad=True), np.zeros(k)
    for _ in range(2):
        w.grad = None
        ((x @ w - 1) ** 2).sum().backward()
        with torch.no_grad():
            w -= 1e-4 * w.grad
        b = b - 1e-4 * 2 * a.T.astype("float64") @ (a @ b - 1)
    return w.detach() * 100, b * 100


STEPS = {
    f.__name__: f
    for f in (
        pointwise, curved, compare, reduce, argument, running, ordered, largest, product, convolution, gather, scatter,
        masked, joined, padded, moved, window, flattened, written, converted, normed, looked, trained,
    )
}  # fmt: skip
ROUNDED = {"curved", "normed", "product", "trained"}


def main(first: int, count: int) -> None:
    warnings.simplefilter("ignore")
    for seed in range(first, first + count):
        case = Case(seed)
        try:
            for _ in range(10):
                case.step()
            case.check()
        except BaseException:
            print(f"seed {seed}:", *case.said, sep="\n  ", file=sys.stderr)
            raise
    print(count)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
