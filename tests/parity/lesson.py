"""The calls of the first lesson, with their exact results and printed forms."""

from __future__ import annotations

from parity.harness import attempt, program


@program
def tensor_of_a_shape(torch):
    x = torch.Tensor(2, 3, 4)
    return x.shape, repr(x.shape), x.dtype, x.size(), x.size(0), len(x), x.dim(), x.ndim, x.numel()


@program
def constants(torch):
    return repr(torch.zeros((5, 3))), repr(torch.ones((2, 3, 4))), str(torch.zeros(5, 3))


@program
def normal_numbers(torch):
    torch.manual_seed(0)
    x = torch.randn((2, 3, 2, 4))
    return x, repr(x)


@program
def arithmetic(torch):
    x = 2 * torch.ones((2, 3)) + 3
    return x, repr(x)


@program
def identity_times_matrix(torch):
    x = torch.eye(3) * torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    return x, repr(x)


@program
def integer_matmul(torch):
    x = torch.tensor([[3, 5]]) @ torch.tensor([[2, 4], [4, 2]])
    return x, repr(x), x.dtype


@program
def first_gradient(torch):
    w = torch.tensor([[1, 1], [2, 2]], dtype=float, requires_grad=True)
    x = torch.tensor([[5], [3]], dtype=float)
    y = w @ x
    loss = y.sum()
    loss.backward()
    return y, repr(w), repr(x), repr(y), repr(loss), w.grad, repr(w.grad)


@program
def losses(torch):
    mse = torch.nn.functional.mse_loss(torch.tensor([2.0]), torch.tensor([5.0]))
    bce = torch.nn.functional.binary_cross_entropy(torch.tensor([0.7]), torch.tensor([1.0]))
    return mse, repr(mse), bce, repr(bce)


@program
def linear_layer(torch):
    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 1)
    return layer.weight, layer.bias, repr(layer), repr(layer.weight), repr(layer.bias)


@program
def convolution_layer(torch):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 4, 3)
    return layer.weight, layer.bias, repr(layer)


@program(ulps=64)
def a_neuron_trains(torch):
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    curve = []
    for _ in range(20):
        loss = nn.functional.binary_cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(loss.detach())
    return repr(model), torch.stack(curve), list(model.parameters())


@program
def neuron_by_hand(torch):
    x, w = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, -0.5, 0.1], requires_grad=True)
    y = torch.sigmoid(torch.dot(x, w))
    y.backward()
    return y, w.grad, repr(y)


@program(ulps=32)
def gradient_descent_by_hand(torch):
    x = torch.linspace(-1, 1, 20)
    y = 3 * x - 0.5
    a, b = torch.tensor(0.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)
    curve = []
    for _ in range(30):
        loss = ((a * x + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            a -= 0.3 * a.grad
            b -= 0.3 * b.grad
        a.grad, b.grad = None, None
        curve.append(loss.item())
    return curve, a, b, repr(a)


@program
def intermediate_derivatives(torch):
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    h = x * x
    y = h.sin()
    h.retain_grad()
    y.retain_grad()
    y.sum().backward()
    return x.grad, h.grad, y.grad


@program
def logic(torch):
    return (
        repr(torch.tensor([True, False]) & torch.tensor([True, True])),
        repr(torch.tensor([1, 2]) > 1),
        repr(torch.tensor([True, False]) | torch.tensor([False, False])),
        repr(~torch.tensor([True, False])),
    )


@program
def devices(torch):
    x = torch.ones(2)
    return (
        torch.cuda.is_available(),
        attempt(lambda: x.to("cpu").sum()),
        repr(x.device),
        str(x.device),
        x.device.type,
        x.is_cuda,
        x.device == torch.device("cpu"),
    )


@program
def wrong_shapes(torch):
    return (
        attempt(lambda: torch.ones(2, 3) @ torch.ones(2, 3), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
        attempt(
            lambda: torch.ones(2, 3) + torch.ones(2, 4),
            "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 1",
        ),
        attempt(lambda: torch.nn.Linear(3, 2)(torch.ones(4, 5)), "mat1 and mat2 shapes cannot be multiplied"),
    )


@program
def number_formats(torch):
    fields = ["bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"]
    formats = {
        str(d): [getattr(torch.finfo(d), f) for f in fields]
        for d in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    }
    whole = {
        str(d): [getattr(torch.iinfo(d), f) for f in ("bits", "max", "min", "dtype")]
        for d in (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
    }
    return formats, whole, repr(torch.finfo(torch.float32)), repr(torch.iinfo(torch.int8)), torch.float32


@program
def batches(torch):
    images = [torch.full((3, 4, 5), float(i)) for i in range(6)]
    batch = torch.stack(images)
    return batch.shape, batch.mean((1, 2, 3)), repr(batch.shape), batch.shape[0], tuple(batch.shape)
