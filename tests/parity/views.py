"""Aliasing and writes in place: who sees whose changes, and what autograd forbids."""

from __future__ import annotations

import numpy as np

from parity.harness import attempt, program


def _table(torch):
    return torch.arange(12.0).reshape(3, 4)


@program
def column_add(torch):
    x = torch.zeros(3, 3)
    x[:, 0] += 1
    return x


@program
def write_through_view(torch):
    x = _table(torch)
    x.view(-1)[3] = 70
    return x


@program
def transposed_zero(torch):
    x = _table(torch)
    y = x.t()
    y.zero_()
    return x, y


@program
def transposed_row(torch):
    x = _table(torch)
    x.t()[1] = torch.tensor([7.0, 8.0, 9.0])
    x.T[2] += 1
    return x


@program
def numpy_sharing(torch):
    a = torch.ones(3)
    n = a.numpy()
    n[0] = 5
    first = a.clone()
    a[1] = 7
    second = n.copy()
    a.add_(1)
    n *= 2
    return first, second, a, n, a.sum()


@program
def numpy_sharing_of_views(torch):
    a = torch.zeros(3, 4)
    n = a[:, 1].numpy()
    n[:] = [1, 2, 3]
    m = a.t().numpy()
    m[0, 0] = 9
    a[1, 1] = -1
    return a, n, m


@program
def from_numpy_sharing(torch):
    n = np.arange(6, dtype=np.float32)
    x = torch.from_numpy(n)
    y = x.view(2, 3)
    n[0] = 10
    first = y.clone()
    y[1, 1] = 50
    x.mul_(2)
    z = x + 1
    n[2] = -1
    return first, n, x, y, z


@program
def as_tensor_sharing(torch):
    n = np.zeros(3)
    x, y, z = torch.as_tensor(n), torch.tensor(n), torch.as_tensor(n, dtype=torch.float32)
    n[0] = 1
    t = torch.ones(2)
    return x, y, z, torch.as_tensor(t) is t


@program
def numpy_read_after_lazy_work(torch):
    n = np.ones(4, np.float32)
    x = torch.from_numpy(n)
    y = x * 2
    n[:] = 100
    return y, x * 2


@program
def chain_of_views(torch):
    x = torch.arange(24).reshape(2, 3, 4)
    y = x.permute(2, 0, 1)[1:3].transpose(0, 2)[::2]
    y += 100
    y[0, 0, 0] = -5
    return x, y, y.stride(), y.storage_offset(), y.shape


@program
def view_of_view_of_view(torch):
    x = torch.zeros(4, 4)
    a = x[1:3]
    b = a[:, 1:3]
    c = b.t()
    c[0, 1] = 1
    b[0, 0] = 2
    a[0] += 10
    x[2, 2] = 5
    return x, a, b, c


@program
def reshape_view_or_copy(torch):
    x = _table(torch)
    y = x.reshape(4, 3)
    y[0, 0] = 100
    z = x.t().reshape(-1)
    z[0] = -1
    return x, z, y.data_ptr() == x.data_ptr(), z.data_ptr() == x.data_ptr()


@program
def view_of_non_contiguous(torch):
    x = _table(torch).t()
    return (
        attempt(lambda: x.view(-1), "view size is not compatible with input tensor's size and stride"),
        attempt(lambda: x.view(2, 2, 3)),
        x.view(4, 3).shape,
        x.view(2, 2, 3).stride() if False else x.reshape(2, 6),
        x.unsqueeze(0).view(1, 4, 3).stride(),
        x[:2].view(2, 3).stride(),
    )


@program
def expand_write(torch):
    x = torch.ones(3, 1)
    y = x.expand(3, 4)
    fragment = (
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location"
    )
    return (
        attempt(lambda: y.add_(1), fragment),
        attempt(lambda: y.zero_()),
        attempt(lambda: y.__setitem__((0, 0), 5)),
        attempt(lambda: y.copy_(torch.zeros(3, 4))),
        attempt(lambda: y.fill_(3)),
        x,
        y.stride(),
        attempt(lambda: y.mul_(2), fragment),
    )


@program
def expand_sees_base(torch):
    x = torch.zeros(3)
    y = x.expand(2, 3)
    x[1] = 4
    z = torch.broadcast_to(x, (2, 2, 3))
    x += 1
    return y, z, y.stride(), z.stride()


@program
def overlapping_input_and_output(torch):
    x = torch.arange(6.0)
    fragment = "some elements of the input tensor and the written-to tensor refer to a single memory location"
    return (
        attempt(lambda: x[1:].add_(x[:-1]), fragment),
        attempt(lambda: x[1:].copy_(x[:-1])),
        x,
        attempt(lambda: x.add_(x)),
        attempt(lambda: x[:3].mul_(x[3:])),
    )


@program
def transposed_with_itself(torch):
    x = _table(torch)[:, :3].contiguous()
    error = attempt(lambda: x.add_(x.t()))
    x.copy_(x.t().clone())
    return error, x


@program
def detach_shares(torch):
    x = torch.ones(3, requires_grad=True)
    y = x.detach()
    y[0] = 5
    return x, y, y.requires_grad, x._version, y._version, y.data_ptr() == x.data_ptr()


@program
def data_attribute(torch):
    x = torch.ones(3, requires_grad=True)
    x.data[1] = 7
    x.data.mul_(2)
    before = x._version
    x.data = torch.zeros(3)
    return x, before, x.data.requires_grad


@program
def as_strided(torch):
    x = torch.arange(8.0)
    y = x.as_strided((3, 2), (2, 1), 1)
    y[0] = 100
    z = torch.as_strided(x, (2, 2), (1, 1))
    return x, y, z, y.stride(), attempt(lambda: x.as_strided((9,), (1,))), attempt(lambda: x.as_strided((2,), (-1,)))


@program
def chunks_are_views(torch):
    x = _table(torch)
    a, b = x.chunk(2, 1)
    a.zero_()
    b[0] = 9
    c = x.split(1)
    c[2].add_(100)
    for row in x.unbind(0):
        row[3] = -1
    return x, a.stride(), b.storage_offset(), len(c), x.unfold(1, 2, 1)


@program
def iterating_gives_views(torch):
    x = _table(torch)
    for i, row in enumerate(x):
        row += i
    for row in x:
        row[0] = 0
    return x


@program
def multi_view_in_place(torch):
    x = torch.ones(4, requires_grad=True) * 1
    a, _ = x.chunk(2)
    message = "Output 0 of Split is a view and is being modified inplace. This view is the output of a function that returns multiple views"
    c = x.unbind()
    d = x.split([1, 3])
    return (
        attempt(lambda: a.add_(1), message),
        attempt(lambda: c[0].mul_(2), "Output 0 of Unbind is a view and is being modified inplace"),
        attempt(lambda: d[1].zero_()),
        attempt(lambda: next(iter(x)).add_(1)),
    )


@program
def multi_view_in_place_no_grad(torch):
    x = torch.zeros(4)
    a, b = x.chunk(2)
    a.add_(1)
    with torch.no_grad():
        b.add_(2)
    return x


@program
def copy_broadcasts(torch):
    x = torch.zeros(2, 3)
    x.copy_(torch.tensor([1, 2, 3]))
    y = torch.zeros(2, 3, dtype=torch.int64)
    y.copy_(torch.tensor([[1.9], [-2.9]]))
    return x, y, attempt(lambda: torch.zeros(3).copy_(torch.zeros(2, 3))), x.copy_(y) is x


@program
def out_of_place_after_in_place(torch):
    x = torch.ones(3)
    y = x * 2
    x.add_(5)
    z = x * 2
    x[0] = 0
    return y, z, x


@program
def value_read_before_write_stays(torch):
    x = torch.arange(4.0)
    y = x + 0
    view = x[1:3]
    total = view.sum()
    x.zero_()
    return y, view, total, x


@program
def swapaxes_and_moves(torch):
    x = torch.zeros(2, 3, 4)
    x.swapaxes(0, 2)[1, 1, 1] = 1
    x.movedim(2, 0)[0] = 2
    x.permute(1, 2, 0)[2, 3] = torch.tensor([8.0, 9.0])
    return x


@program
def diagonal_write(torch):
    x = torch.zeros(3, 3)
    x.diagonal().fill_(1)
    x.diagonal(1).copy_(torch.tensor([5.0, 6.0]))
    x.diagonal(-1)[0] = -1
    y = torch.ones(3, 3).fill_diagonal_(7)
    return x, y, x.diagonal().stride()


@program
def masked_writes(torch):
    x = _table(torch)
    x.t().masked_fill_(x.t() > 6, -1)
    x[1:].masked_fill_(torch.tensor([True, False, False, True]), 0)
    return x


@program
def squeeze_unsqueeze_views(torch):
    x = torch.zeros(1, 3)
    x.squeeze(0)[1] = 4
    x.unsqueeze(-1)[0, 2, 0] = 5
    x[None][0, 0, 0] = 6
    x.squeeze_()
    y = torch.zeros(2, 3)
    y.unsqueeze_(0)
    z = torch.arange(6.0).reshape(2, 3)
    z.t_()
    return x, x.shape, y.shape, z, z.stride(), z.transpose_(0, 1)


@program
def flatten_view_or_copy(torch):
    x = torch.zeros(2, 3)
    x.flatten()[0] = 1
    x.t().flatten()[1] = 1
    x.ravel()[5] = 2
    return x


@program
def contiguous_and_clone(torch):
    x = _table(torch)
    return (
        x.contiguous() is x,
        x.t().contiguous().data_ptr() == x.data_ptr(),
        x.clone().data_ptr() == x.data_ptr(),
        x.t().contiguous().stride(),
        x[:, 1].clone().stride(),
        x.expand(2, 3, 4).clone().stride(),
        x.to(torch.float32) is x,
        x.float() is x,
        x.double() is x,
        x.to(torch.float32, copy=True) is x,
        x.cpu() is x,
    )


@program
def versions(torch):
    x = torch.zeros(3)
    seen = [x._version]
    x.add_(1)
    seen.append(x._version)
    view = x[1:]
    view.mul_(2)
    seen += [x._version, view._version]
    x[0] = 3
    seen.append(x._version)
    y = x + 1
    seen += [y._version, x.detach()._version, x.clone()._version]
    with torch.no_grad():
        x.zero_()
    seen.append(x._version)
    return seen


@program
def strides_and_flags(torch):
    x = torch.zeros(2, 3, 4)
    made = {
        "transpose": x.transpose(0, 1),
        "permute": x.permute(2, 0, 1),
        "slice": x[:, 1:, ::2],
        "select": x[:, 1],
        "newaxis": x[:, None],
        "expand": x[:, :1].expand(2, 5, 4),
        "view": x.view(6, 4),
        "unfold": x.unfold(2, 2, 1),
        "diagonal": x.diagonal(0, 1, 2),
        "squeeze": x[:1].squeeze(0),
        "flatten": x.flatten(1),
        "unflatten": x.unflatten(2, (2, 2)),
        "T": x[0].T,
        "mT": x.mT,
        "narrow": x.narrow(2, 1, 2),
        "empty": torch.zeros(0, 3),
        "one": torch.zeros(1, 3, 1).transpose(0, 2),
        "0-d": torch.tensor(1.0),
        "split": x.split(2, 2)[1],
        "movedim": x.movedim(0, 2),
        "flip": x.flip(0),
        "expand_as": torch.zeros(4).expand_as(x),
    }
    return {
        k: (
            v.shape,
            v.stride(),
            v.storage_offset(),
            v.is_contiguous(),
            v.data_ptr() - x.data_ptr() == 4 * v.storage_offset(),
        )
        if k not in ("empty", "one", "0-d", "flip", "expand_as")
        else (v.shape, v.stride(), v.is_contiguous())
        for k, v in made.items()
    }


@program
def base_and_is_view(torch):
    x = torch.zeros(3, 4)
    y = x[1]
    return x._base is None, y._base is x, y[0]._base is x, (x + 1)._base is None, x.detach()._base is None, y._is_view()


@program
def set_and_resize(torch):
    x = torch.zeros(2, 3)
    y = torch.ones(4)
    return attempt(lambda: x.resize_(3, 2).shape), attempt(lambda: x.set_(y).shape), attempt(lambda: x.numel())


@program
def in_place_returns_self(torch):
    x = torch.ones(3)
    y = x.add_(1).mul_(2)
    z = x
    x += 1
    return y is x, z is x, x, x.zero_() is x, x.fill_(2) is x, x.clamp_(0, 1) is x


@program
def augmented_assignment_makes_no_copy(torch):
    x = torch.ones(3)
    view = x[:]
    x += 1
    x -= 0.5
    x *= 2
    x /= 3
    x **= 2
    y = torch.tensor([5, 7])
    z = y
    y //= 2
    y %= 3
    y <<= 1
    y |= 1
    y &= 3
    y ^= 1
    return view, x, z


@program
def swap_rows(torch):
    x = torch.arange(6).reshape(3, 2)
    x[[0, 2]] = x[[2, 0]]
    y = torch.arange(6).reshape(3, 2)
    y[0], y[1] = y[1].clone(), y[0].clone()
    z = torch.arange(6).reshape(3, 2)
    z[0], z[1] = z[1], z[0]
    return x, y, z


@program
def self_overlapping_assignment(torch):
    x = torch.arange(6)
    x[1:] = x[:-1].clone()
    y = torch.arange(4.0)
    y[:] = y.flip(0)
    z = torch.arange(9.0).reshape(3, 3)
    z[:] = z.t().clone()
    return x, y, z


@program
def many_views_many_writes(torch):
    rng = np.random.default_rng(0)
    x = torch.zeros(6, 5)
    views = [x, x.t(), x[1:4], x[:, ::2], x.view(30), x[2], x.t()[1:3], x.view(5, 6)[::2, 1:4], x.diagonal()]
    for step in range(40):
        v = views[rng.integers(len(views))]
        match step % 4:
            case 0:
                v += step
            case 1:
                v.mul_(0.5)
            case 2:
                v[0] = step
            case 3:
                v.sub_(v.mean())
    return x, views


# ---- in place and autograd


@program
def leaf_in_place(torch):
    x = torch.ones(3, requires_grad=True)
    message = "a leaf Variable that requires grad is being used in an in-place operation."
    view = "a view of a leaf Variable that requires grad is being used in an in-place operation."
    return (
        attempt(lambda: x.add_(1), message),
        attempt(lambda: x.__setitem__(0, 1)),
        attempt(lambda: x[0].zero_(), view),
        attempt(lambda: x.view(-1).mul_(2), view),
        attempt(lambda: x.t().fill_(2)),
        x,
        x._version,
    )


@program
def leaf_in_place_no_grad(torch):
    x = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        x.add_(1)
        x[0] = 5
        x -= 0.5
    x.sum().backward()
    return x, x.grad, x.is_leaf, x.requires_grad, x._version


@program
def saved_tensor_modified(torch):
    message = "one of the variables needed for gradient computation has been modified by an inplace operation"

    def case(make, write):
        x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
        y = x * 1
        z = make(y)
        write(y)
        return attempt(lambda: (z.sum().backward(), x.grad)[1], message)

    return {
        "mul": case(lambda y: y * y, lambda y: y.add_(1)),
        "view": case(lambda y: y * y, lambda y: y[:1].zero_()),
        "pow": case(lambda y: y**2, lambda y: y.mul_(2)),
        "sin": case(torch.sin, lambda y: y.fill_(0)),
        "exp of input": case(torch.exp, lambda y: y.add_(1)),  # exp saves its output: allowed
        "add": case(lambda y: y + 1, lambda y: y.add_(1)),  # nothing saved: allowed
        "sum": case(lambda y: y.sum(), lambda y: y.zero_()),
        "setitem": case(lambda y: y * y, lambda y: y.__setitem__(0, 3)),
        "matmul": case(lambda y: y.view(1, 3) @ y.view(3, 1), lambda y: y.add_(1)),
        "detach": case(lambda y: y * y, lambda y: y.detach().zero_()),
        "relu": case(torch.relu, lambda y: y.add_(1)),
        "div": case(lambda y: 1 / y, lambda y: y.add_(1)),
        "max": case(lambda y: y.max(), lambda y: y.add_(1)),
        "copy_": case(lambda y: y * y, lambda y: y.copy_(torch.zeros(3))),
        "index": case(lambda y: y[[0, 1]], lambda y: y.add_(1)),
    }


@program
def saved_output_modified(torch):
    x = torch.ones(3, requires_grad=True)
    results = {}
    for name in ("exp", "sigmoid", "tanh", "sqrt", "relu", "softmax"):
        y = getattr(torch, name)(x, *([0] if name == "softmax" else []))
        y.add_(1)
        results[name] = attempt(lambda y=y: y.sum().backward(), "modified by an inplace operation")
    return results


@program
def gradient_through_in_place(torch):
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y[0] = 10
    y[1:] *= 3
    z = y.view(3, 1)
    z += x.view(3, 1)
    (y * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    return y, z, x.grad, y.grad_fn is not None, repr(y)


@program
def gradient_through_view_write(torch):
    a = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    b = torch.tensor([10.0, 20.0], requires_grad=True)
    x = torch.zeros(2, 4)
    x[0] = a
    x[1, 1:3] = b * 2
    x.t()[3] += a[:2]
    (x * torch.arange(8.0).reshape(2, 4)).sum().backward()
    return x, a.grad, b.grad, x.requires_grad, type(x.grad_fn).__name__


@program
def gradient_through_view_of_changed_base(torch):
    a = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = a.clone()
    view = x[1:]
    x.mul_(3)
    first = view.sum()
    view.add_(1)
    (first + (x * x).sum()).backward()
    return a.grad, view, type(view.grad_fn).__name__, type(x.grad_fn).__name__


@program
def in_place_chain_gradients(torch):
    x = torch.tensor([0.5, -1.5, 2.5], requires_grad=True)
    results = {}
    for name, change in {
        "relu_": lambda y: y.relu_(),
        "sigmoid_": lambda y: y.sigmoid_(),
        "exp_": lambda y: y.exp_(),
        "mul_": lambda y: y.mul_(y.detach()),
        "pow_": lambda y: y.pow_(3),
        "clamp_": lambda y: y.clamp_(-1, 1),
        "neg_": lambda y: y.neg_(),
        "masked_fill_": lambda y: y.masked_fill_(y.detach() > 1, 0.0),
        "copy_": lambda y: y.copy_(x * 5),
        "zero_": lambda y: y.zero_(),
        "div_": lambda y: y.div_(4),
        "addcmul_": lambda y: y.addcmul_(x, x),
        "index_add_": lambda y: y.index_add_(0, torch.tensor([0, 0]), x[:2]),
        "scatter_": lambda y: y.scatter_(0, torch.tensor([2]), x[:1]),
        "index_put_": lambda y: y.index_put_((torch.tensor([1]),), x[2]),
        "t_": lambda y: y.view(1, 3).t_().mul_(2),
        "squeeze_": lambda y: y.unsqueeze_(0),
    }.items():

        def gradient(change=change):
            y = x * 2
            z = change(y)
            (grad,) = torch.autograd.grad((z * torch.tensor([1.0, 2.0, 3.0])).sum(), x, allow_unused=True)
            return grad

        results[name] = attempt(gradient)
    return results


@program
def requires_grad_of_written(torch):
    x = torch.zeros(3)
    w = torch.ones(3, requires_grad=True)
    x.add_(w)
    y = torch.zeros(3)
    y[0] = w[0]
    z = torch.zeros(3)
    with torch.no_grad():
        z.add_(w)
    return (
        x.requires_grad,
        x.is_leaf,
        y.requires_grad,
        z.requires_grad,
        attempt(lambda: torch.zeros(2, dtype=torch.int64).add_(w)),
    )


@program
def leaf_becomes_non_leaf_by_write(torch):
    x = torch.zeros(3)
    view = x[:2]
    w = torch.tensor(2.0, requires_grad=True)
    view.add_(w)
    x.sum().backward()
    return w.grad, x.requires_grad, view.requires_grad, type(x.grad_fn).__name__


@program
def write_of_graph_into_its_own_view(torch):
    x = torch.arange(4.0, requires_grad=True)
    y = x * 1
    y[1:] = y[:-1] * 2
    y.sum().backward()
    z = torch.arange(4.0, requires_grad=True)
    u = z * 1
    for i in range(1, 4):
        u[i] = u[i].clone() + u[i - 1].clone() * 2
    return y, x.grad, u, attempt(lambda: (u.sum().backward(), z.grad)[1])


@program
def recurrence_written_into_buffer(torch):
    w = torch.tensor(0.5, requires_grad=True)
    buffer = torch.zeros(6)
    state = torch.tensor(1.0)
    for t in range(6):
        state = torch.tanh(state * w + 1)
        buffer[t] = state
    buffer.sum().backward()
    return buffer, w.grad


@program
def cat_of_views_after_write(torch):
    x = torch.zeros(2, 2)
    parts = [x[0], x[1]]
    x += 1
    y = torch.cat(parts)
    parts[0].fill_(9)
    return y, torch.stack(parts), x


@program
def parameters_share_after_view(torch):
    layer = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.weight[0].zero_()
        layer.weight.view(-1)[3] = 5
    return layer.weight, layer(torch.tensor([[1.0, 2.0]]))
