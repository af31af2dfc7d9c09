"""Automatic differentiation: modes, hooks, higher derivatives, custom functions, errors."""

from __future__ import annotations

from parity.harness import attempt, data, program, tensor


def _leaf(torch, seed=1, *shape, dtype="float64"):
    return tensor(torch, data(seed, *(shape or (3,)), dtype=dtype), grad=True)


@program
def accumulation(torch):
    x = _leaf(torch)
    (x * 2).sum().backward()
    first = x.grad.clone()
    grad = x.grad
    (x**2).sum().backward()
    same = x.grad is grad
    x.grad = None
    (x * 3).sum().backward()
    second = x.grad.clone()
    x.grad.zero_()
    x.sum().backward()
    return first, grad, same, second, x.grad


@program
def shared_subexpressions(torch):
    x = _leaf(torch)
    y = x.sin()
    z = y * y + y.exp() * x
    for _ in range(4):
        z = z + z
    z.sum().backward()
    return x.grad


@program
def long_chain(torch):
    x = torch.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(1500):
        y = y * 1.001
    y.backward()
    return y, x.grad


@program
def backward_twice(torch):
    x = _leaf(torch)
    y = (x * x).sum()
    y.backward()
    linear = (x + 1).sum()
    linear.backward()
    return (
        attempt(lambda: y.backward(), "Trying to backward through the graph a second time"),
        attempt(lambda: linear.backward()),
        x.grad,
    )


@program
def retain_graph(torch):
    x = _leaf(torch)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    return x.grad, attempt(lambda: y.backward(), "second time")


@program
def partly_freed_graph(torch):
    x = _leaf(torch)
    shared = x.exp()
    a, b = (shared * 2).sum(), (shared * shared).sum()
    a.backward()
    return attempt(lambda: b.backward(), "second time"), x.grad


@program
def non_scalar(torch):
    x = _leaf(torch)
    y = x * 2
    return (
        attempt(lambda: y.backward(), "grad can be implicitly created only for scalar outputs"),
        attempt(lambda: (y.backward(torch.ones(3, dtype=torch.float64)), x.grad)[1]),
        attempt(lambda: (x * 2).backward(torch.ones(2, dtype=torch.float64)), "Mismatch in shape"),
        attempt(lambda: (x * 2)[:1].backward()),
        attempt(lambda: (x * 2).backward(gradient=torch.tensor([1.0, 2.0, 3.0]))),
        x.grad,
    )


@program
def nothing_requires_grad(torch):
    message = "element 0 of tensors does not require grad and does not have a grad_fn"
    x = _leaf(torch)
    return (
        attempt(lambda: torch.ones(1).sum().backward(), message),
        attempt(lambda: x.detach().sum().backward(), message),
        attempt(lambda: torch.autograd.grad(torch.ones(1).sum(), x), message),
        attempt(lambda: (x > 0).sum().backward()),
        attempt(lambda: x.argmax().backward()),
    )


@program
def who_requires_grad(torch):
    x, y = _leaf(torch), torch.ones(3, dtype=torch.float64)
    made = [
        x + y, y + y, x.detach(), x > 0, x.argmax(), x.long(), x.round(), x.sign(), x[0], x.clone(), x.data,
        torch.zeros_like(x), torch.ones_like(x, requires_grad=True), x.new_zeros(2), torch.where(x > 0, y, y), x.T,
        torch.stack([y, x]), x.float(), x.sort()[0], x.sort()[1], x.max(0)[1], x * 0, x.shape[0] * y, x.detach() * x,
        torch.tensor(x.tolist()), x.isnan(), torch.empty_like(x), torch.rand_like(x).fill_(0), x.max(), x.nonzero(),
    ]  # fmt: skip
    return [(v.requires_grad, v.is_leaf, v.grad_fn is None) for v in made]


@program
def requires_grad_setting(torch):
    x = torch.ones(2)
    y = x * 2
    z = x.requires_grad_()
    w = x * 2
    return (
        z is x, x.requires_grad, y.requires_grad, w.requires_grad, x.requires_grad_(False).requires_grad,
        attempt(lambda: w.requires_grad_(False), "you can only change requires_grad flags of leaf variables."),
        attempt(lambda: setattr(w, "requires_grad", False)), attempt(lambda: torch.ones(2, dtype=torch.int64).requires_grad_()),
        attempt(lambda: setattr(torch.tensor([1]), "requires_grad", True), "only Tensors of floating point"),
        w.detach_().requires_grad, w.is_leaf, attempt(lambda: torch.tensor([True], requires_grad=True)),
    )  # fmt: skip


@program
def gradient_dtypes_and_shapes(torch):
    x = torch.ones(2, 1, requires_grad=True)
    y = torch.ones(3, dtype=torch.float64, requires_grad=True)
    h = torch.ones(2, dtype=torch.float16, requires_grad=True)
    s = torch.tensor(2.0, requires_grad=True)
    (x * y).sum().backward()
    (h.float() * 3).sum().backward()
    (torch.ones(4, 5) * s).sum().backward()
    return x.grad, y.grad, h.grad, s.grad


@program
def setting_grad(torch):
    x = torch.ones(3, requires_grad=True)
    x.grad = torch.tensor([1.0, 2.0, 3.0])
    x.sum().backward()
    return (
        x.grad,
        attempt(
            lambda: setattr(x, "grad", torch.ones(2)),
            "attempting to assign a gradient of size '[2]' to a tensor of size '[3]'",
        ),
        attempt(lambda: setattr(x, "grad", 1.0)),
        attempt(lambda: setattr(x, "grad", torch.ones(3, dtype=torch.float64))),
        (x * 2).grad,
    )


@program
def autograd_grad(torch):
    x, y, z = _leaf(torch), _leaf(torch, 2), _leaf(torch, 3)
    out = (x * y).sum()
    fragment = "The differentiated Tensor at index 1 appears to not have been used in the graph"
    return (
        torch.autograd.grad((x * y).sum(), (x, y)),
        torch.autograd.grad(out, x)[0],
        attempt(lambda: torch.autograd.grad((x * y).sum(), [x, z]), fragment),
        torch.autograd.grad((x * y).sum(), [x, z], allow_unused=True),
        torch.autograd.grad((x * y).sum(), [x, z], materialize_grads=True),
        torch.autograd.grad(x * y, x, grad_outputs=torch.ones(3, dtype=torch.float64))[0],
        torch.autograd.grad([x.sum(), (y * x).sum()], [x]),
        torch.autograd.grad([x * 2, x * 3], x, grad_outputs=[torch.ones_like(x), None] if False else [x, y])[0],
        x.grad,
        attempt(lambda: torch.autograd.grad(x * y, x), "grad can be implicitly created only for scalar outputs"),
        attempt(lambda: torch.autograd.grad((x * 2).sum(), torch.ones(3)), "does not require grad"),
    )


@program
def grad_of_intermediate(torch):
    x = _leaf(torch)
    h = x * 2
    y = (h * h).sum()
    (g,) = torch.autograd.grad(y, h, retain_graph=True)
    y.backward()
    return g, x.grad, h.grad


@program
def grad_of_grad(torch):
    x = _leaf(torch)
    (g,) = torch.autograd.grad((x**4).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
    (t,) = torch.autograd.grad(h.sum(), x, create_graph=True)
    (f,) = torch.autograd.grad(t.sum(), x)
    return g, h, t, f, g.requires_grad, f.requires_grad


@program
def third_derivatives(torch):
    x = torch.tensor([0.3, 0.9, 1.4], dtype=torch.float64, requires_grad=True)
    results = {}
    for name in [
        "exp",
        "log",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "sqrt",
        "reciprocal",
        "rsqrt",
        "erf",
        "log1p",
        "atan",
        "softmax",
        "cumsum",
        "prod",
        "norm",
        "var",
        "logsumexp",
    ]:

        def derivatives(name=name):
            y = getattr(torch, name)(x, *([0] if name in ("softmax", "cumsum", "logsumexp") else []))
            found = []
            for _ in range(3):
                y = (y * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)).sum() if y.ndim else y
                (y,) = torch.autograd.grad(y, x, create_graph=True)
                found.append(y.detach())
            return found

        results[name] = attempt(derivatives)
    return results


LAYERS = {
    "linear": lambda t, x: t.nn.functional.linear(x, x[:4, :5] * x[:4, :5]),
    "matmul": lambda t, x: x @ (x * x).t(),
    "softmax": lambda t, x: x.softmax(1),
    "log_softmax": lambda t, x: x.log_softmax(1),
    "cross_entropy": lambda t, x: t.nn.functional.cross_entropy(x, t.tensor([0, 1, 2, 3, 0])),
    "layer_norm": lambda t, x: t.nn.functional.layer_norm(x, (5,)),
    "batch_norm": lambda t, x: t.nn.functional.batch_norm(x, None, None, training=True),
    "group_norm": lambda t, x: t.nn.functional.group_norm(x[None], 1),
    "gelu": lambda t, x: t.nn.functional.gelu(x),
    "silu": lambda t, x: t.nn.functional.silu(x),
    "softplus": lambda t, x: t.nn.functional.softplus(x),
    "elu": lambda t, x: t.nn.functional.elu(x),
    "leaky_relu": lambda t, x: t.nn.functional.leaky_relu(x) ** 2,
    "relu": lambda t, x: t.relu(x) ** 3,
    "mse": lambda t, x: t.nn.functional.mse_loss(x**2, x),
    "bce_with_logits": lambda t, x: t.nn.functional.binary_cross_entropy_with_logits(x, t.ones_like(x) * 0.3),
    "smooth_l1": lambda t, x: t.nn.functional.smooth_l1_loss(x**2, x.detach()),
    "conv": lambda t, x: t.nn.functional.conv2d(x[None, None], x[None, None, :3, :3] ** 2, padding=1),
    "max_pool": lambda t, x: t.nn.functional.max_pool2d(x[None, None] ** 2, 2),
    "avg_pool": lambda t, x: t.nn.functional.avg_pool2d(x[None, None] ** 2, 2),
    "norm": lambda t, x: x.norm(dim=1),
    "std": lambda t, x: x.std(1),
    "max": lambda t, x: (x**2).max(1)[0],
    "sort": lambda t, x: (x**2).sort(1)[0],
    "gather": lambda t, x: (x**2).gather(1, t.tensor([[0], [1], [2], [0], [4]])),
    "index": lambda t, x: (x**2)[[0, 1, 0]],
    "mask": lambda t, x: (x**2)[x.detach() > 0],
    "cumsum": lambda t, x: (x**2).cumsum(0),
    "prod": lambda t, x: x.prod(1),
    "logsumexp": lambda t, x: x.logsumexp(1),
    "einsum": lambda t, x: t.einsum("ij,kj,ik->i", x, x, x),
    "where": lambda t, x: t.where(x > 0, x**3, x**2),
    "clamp": lambda t, x: (x**2).clamp(0.1, 2),
    "cat": lambda t, x: t.cat([x**2, x**3], 1),
    "pad": lambda t, x: t.nn.functional.pad(x**2, (1, 2)),
    "attention": lambda t, x: t.nn.functional.scaled_dot_product_attention(x[None], x[None] * 2, x[None] * x),
    "division": lambda t, x: x / (x * x + 1),
    "pow": lambda t, x: (x * x + 1) ** x,
    "embedding": lambda t, x: t.nn.functional.embedding(t.tensor([0, 2, 0]), x) ** 2,
    "write": lambda t, x: t.zeros_like(x).index_put((t.tensor([0, 1]),), (x**2)[:2]),
    "triangle": lambda t, x: (x**2).tril() @ x.triu(),
    "kl_div": lambda t, x: t.nn.functional.kl_div(x.log_softmax(1), (x * x).softmax(1)),
    "cosine": lambda t, x: t.nn.functional.cosine_similarity(x, x.flip(0), dim=1),
}


@program(ulps=2000)
def double_backward_of_layers(torch):
    results = {}
    for name, layer in LAYERS.items():

        def second(layer=layer):
            x = _leaf(torch, 7, 5, 5)
            y = layer(torch, x)
            (g,) = torch.autograd.grad(
                (y * tensor(torch, data(8, *y.shape, dtype="float64"))).sum(), x, create_graph=True
            )
            (h,) = torch.autograd.grad((g * tensor(torch, data(9, 5, 5, dtype="float64"))).sum(), x, allow_unused=True)
            return g, h

        results[name] = attempt(second)
    return results


@program(ulps=64)
def gradient_penalty(torch):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x = tensor(torch, data(1, 5, 3), grad=True)
    (g,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    penalty = ((g.norm(2, dim=1) - 1) ** 2).mean()
    penalty.backward()
    return penalty, [p.grad for p in model.parameters()], x.grad


@program
def create_graph_in_backward(torch):
    x = _leaf(torch)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    x.grad = None
    g.sum().backward()
    return g, x.grad, g.requires_grad


@program
def no_grad_forms(torch):
    x = _leaf(torch)
    seen = [torch.is_grad_enabled()]
    with torch.no_grad():
        y = x * 2
        seen.append(torch.is_grad_enabled())
        with torch.enable_grad():
            z = x * 3
            seen.append(torch.is_grad_enabled())
        leaf = torch.ones(1, requires_grad=True)

    @torch.no_grad()
    def double(v):
        return v * 2

    @torch.enable_grad()
    def triple(v):
        return v * 3

    with torch.no_grad():
        inside = triple(x)
    with torch.set_grad_enabled(False):
        w = x * 4
    torch.set_grad_enabled(False)
    off = x * 5
    torch.set_grad_enabled(True)
    flags = [v.requires_grad for v in (y, z, leaf, double(x), inside, w, off, x * 1)]
    error = attempt(lambda: _raise_inside(torch))
    return seen, flags, y.grad_fn, error, torch.is_grad_enabled(), double.__name__


def _raise_inside(torch):
    with torch.no_grad():
        raise KeyError("x")


@program
def no_grad_generators_and_threads(torch):
    x = _leaf(torch)

    @torch.no_grad()
    def generate():
        yield x * 2
        yield x * 3

    flags = []
    for v in generate():
        flags += [v.requires_grad, torch.is_grad_enabled()]
    import threading

    inside = []
    with torch.no_grad():
        thread = threading.Thread(target=lambda: inside.append(torch.is_grad_enabled()))
        thread.start()
        thread.join()
    return flags, inside


@program
def inference_mode(torch):
    x = _leaf(torch)
    with torch.inference_mode():
        y = x * 2
        enabled = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        z = torch.ones(3, dtype=torch.float64)

    @torch.inference_mode()
    def f(v):
        return v + 1

    return (
        y.requires_grad,
        z.requires_grad,
        enabled,
        f(x).requires_grad,
        attempt(lambda: (x * y).sum().backward(), "Inference tensors cannot be saved for backward"),
        attempt(lambda: y.add_(1), "Inplace update to inference tensor outside InferenceMode is not allowed"),
        attempt(lambda: y.requires_grad_()),
    )


@program
def tensor_hooks(torch):
    x = _leaf(torch)
    seen = []
    y = x * 2
    h1 = y.register_hook(lambda g: seen.append(g.clone()))
    h2 = y.register_hook(lambda g: g * 10)
    hx = x.register_hook(lambda g: g + 1)
    (y * y).sum().backward(retain_graph=True)
    first = x.grad.clone()
    h1.remove()
    h2.remove()
    x.grad = None
    (y * y).sum().backward()
    hx.remove()
    return seen, first, x.grad, attempt(lambda: torch.ones(1).register_hook(lambda g: g), "cannot register a hook")


@program
def hooks_in_order_and_errors(torch):
    x = _leaf(torch)
    order = []
    x.register_hook(lambda g: order.append("first"))
    x.register_hook(lambda g: order.append("second"))
    x.sum().backward()
    y = _leaf(torch) * 2
    y.register_hook(lambda g: torch.ones(5, dtype=torch.float64))
    return order, attempt(lambda: y.sum().backward())


@program
def post_accumulate_hook(torch):
    x = _leaf(torch)
    seen = []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    (x * 3).sum().backward()
    return seen, x.grad


@program
def retain_grad(torch):
    x = _leaf(torch)
    y = x * 2
    z = y * y
    y.retain_grad()
    y.retain_grad()
    z.sum().backward()
    return y.grad, z.grad, x.grad, y.retains_grad, z.retains_grad, attempt(lambda: torch.ones(1).retain_grad())


@program
def custom_function(torch):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.save_for_backward(x)
            ctx.factor = factor
            return factor * x**3

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * 3 * ctx.factor * x**2, None

    x = _leaf(torch)
    y = Cube.apply(x, 2.0)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    return y, g, h, type(y.grad_fn).__name__, repr(y), y.requires_grad, Cube.apply(x.detach(), 1).requires_grad


@program
def custom_function_many_outputs(torch):
    class SinCos(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            s, c = x.sin(), x.cos()
            ctx.save_for_backward(s, c)
            return s, c

        @staticmethod
        def backward(ctx, gs, gc):
            s, c = ctx.saved_tensors
            return gs * c - gc * s

    x = _leaf(torch)
    s, c = SinCos.apply(x)
    (s * 2).sum().backward(retain_graph=True)
    only_s = x.grad.clone()
    x.grad = None
    (s * c).sum().backward()
    return s, c, only_s, x.grad


@program
def custom_function_needs_input_grad(torch):
    seen = []

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b, flag=None):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            seen.append(ctx.needs_input_grad)
            return g * b if ctx.needs_input_grad[0] else None, g * a if ctx.needs_input_grad[1] else None, None

    x, y = _leaf(torch), _leaf(torch, 2)
    Product.apply(x, y, "text").sum().backward()
    Product.apply(x.detach(), y).sum().backward() if False else None
    Product.apply(x, y.detach(), 1).sum().backward()
    return x.grad, y.grad, seen


@program
def custom_function_special_marks(torch):
    class Sort(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            values, order = x.sort()
            ctx.mark_non_differentiable(order)
            ctx.save_for_backward(order)
            return values, order

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g, _):
            (order,) = ctx.saved_tensors
            return torch.zeros_like(g).scatter(0, order, g)

    class Add(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.add_(1)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g

    x = _leaf(torch)
    values, order = Sort.apply(x)
    (g,) = torch.autograd.grad((values * values).sum(), x, create_graph=True)
    y = x * 2
    z = Add.apply(y)
    return (
        values, order, order.requires_grad, g, attempt(lambda: torch.autograd.grad(g.sum(), x)),
        z is y, torch.autograd.grad(z.sum(), x),
    )  # fmt: skip


@program
def custom_function_new_style(torch):
    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x.exp()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * y

    x = _leaf(torch)
    y = Exp.apply(x)
    y.sum().backward()
    return y, x.grad


@program
def custom_function_errors(torch):
    def make(forward, backward):
        return type(
            "F", (torch.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
        )

    x = _leaf(torch)
    few = make(lambda ctx, a, b: a * b, lambda ctx, g: g)
    many = make(lambda ctx, a: a * 2, lambda ctx, g: (g, g))
    shape = make(lambda ctx, a: a * 2, lambda ctx, g: g[:2])
    kind = make(lambda ctx, a: a * 2, lambda ctx, g: "text")
    none = make(lambda ctx, a: a * 2, lambda ctx, g: None)
    fails = make(lambda ctx, a: a * 2, lambda ctx, g: 1 / 0)
    return (
        attempt(
            lambda: few.apply(x, x).sum().backward(), "returned an incorrect number of gradients (expected 2, got 1)"
        ),
        attempt(
            lambda: many.apply(x).sum().backward(), "returned an incorrect number of gradients (expected 1, got 2)"
        ),
        attempt(lambda: shape.apply(x).sum().backward(), "returned an invalid gradient at index 0"),
        attempt(lambda: kind.apply(x).sum().backward()),
        attempt(lambda: none.apply(x).sum().backward()),
        attempt(lambda: fails.apply(x).sum().backward()),
        x.grad,
    )


@program
def straight_through(torch):
    x = _leaf(torch)
    y = x + (x.round() - x).detach()
    (y * y).sum().backward()
    return y, x.grad


@program
def unused_outputs_and_zero_gradients(torch):
    x = _leaf(torch, 1, 4)
    a, b = x.split(2)
    (a * a).sum().backward()
    values, _ = _leaf(torch, 2, 4).topk(2)
    return x.grad, b, values


@program
def gradient_of_loops_and_conditions(torch):
    x = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    y = x
    while y < 20:
        y = y * x + 1 if y < 5 else y * 2
    y.backward()
    return y, x.grad


@program
def detached_branches(torch):
    x = _leaf(torch)
    y = x * 2
    z = y.detach() * x + y
    z.sum().backward()
    w = _leaf(torch, 2)
    (w.detach() * 2 + w.data).sum()
    return x.grad, w.grad, (w * 1).detach().is_leaf


@program
def many_roots(torch):
    x, y = _leaf(torch), _leaf(torch, 2)
    torch.autograd.backward([(x * y).sum(), (x + y).sum()])
    gx = x.grad.clone()
    torch.autograd.backward([x * 2], [torch.ones(3, dtype=torch.float64)])
    return gx, x.grad, y.grad


@program
def backward_inputs(torch):
    x, y = _leaf(torch), _leaf(torch, 2)
    (x * y).sum().backward(inputs=[x])
    return x.grad, y.grad


@program
def graph_structure(torch):
    x = _leaf(torch)
    y = (x * 2).exp()
    names = []
    node = y.grad_fn
    while node is not None:
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    return names[:-1], [type(f[0]).__name__ for f in (x * x).grad_fn.next_functions], y.grad_fn.next_functions[0][1]


@program
def jacobian_and_friends(torch):
    def f(x):
        return (x**2).sum() * x

    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    rows = []
    leaf = x.clone().requires_grad_()
    out = f(leaf)
    for i in range(3):
        rows.append(torch.autograd.grad(out[i], leaf, retain_graph=True)[0])
    return (
        torch.stack(rows),
        attempt(lambda: torch.autograd.functional.jacobian(f, x)),
        attempt(lambda: torch.autograd.functional.hessian(lambda v: f(v).sum(), x)),
    )


@program
def gradcheck(torch):
    x = _leaf(torch, 1, 2, 3)
    return torch.autograd.gradcheck(lambda v: (v.sin() @ v.t()).sum(0), (x,)), torch.autograd.gradgradcheck(
        lambda v: v**3, (x,)
    )


@program
def checkpoint(torch):
    x = _leaf(torch)
    y = attempt(lambda: torch.utils.checkpoint.checkpoint(lambda v: v.sin() * v, x, use_reentrant=False))
    return y, attempt(lambda: torch.autograd.grad(y.sum(), x))


@program
def anomaly_and_nan(torch):
    x = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    results = {}
    for name, f in {
        "sqrt": lambda v: v.sqrt(),
        "log": lambda v: v.log(),
        "reciprocal": lambda v: 1 / v,
        "where hides": lambda v: torch.where(v > 0, v.log(), torch.zeros_like(v)),
        "0 * inf": lambda v: v * (1 / v).detach(),
        "pow 0.5": lambda v: v**0.5,
        "pow self": lambda v: v**v,
        "norm": lambda v: (v * 0).norm(),
        "atan2": lambda v: torch.atan2(v * 0, v * 0),
        "std of equal": lambda v: (v * 0).std(),
        "softmax of -inf": lambda v: torch.where(v > 0, v, torch.full_like(v, -float("inf"))).softmax(0),
        "prod with zero": lambda v: v.prod(),
        "logsumexp of -inf": lambda v: (v.detach() * 0 - float("inf") + v).logsumexp(0),
        "asin at 1": lambda v: v.asin(),
    }.items():
        results[name] = attempt(lambda f=f: torch.autograd.grad(f(x).sum(), x)[0])
    return results


@program
def backward_in_the_middle_of_work(torch):
    x = _leaf(torch)
    y = x * 2
    before = y.sum().item()
    z = y * y
    z.sum().backward()
    after = x.grad.sum().item()
    with torch.no_grad():
        x -= 0.1 * x.grad
    x.grad = None
    w = (x * 2).sum()
    w.backward()
    return before, after, x, x.grad


@program
def gradient_layouts(torch):
    x = _leaf(torch, 1, 3, 4)
    x.t().exp().sum().backward()
    y = _leaf(torch, 2, 3)
    y.expand(4, 3).sum().backward()
    return x.grad, x.grad.stride(), y.grad, y.grad.stride()


@program
def grad_mode_and_versions(torch):
    x = _leaf(torch)
    opt = torch.optim.SGD([x], lr=0.1)
    (x * x).sum().backward()
    opt.step()
    version = x._version
    y = x * x
    with torch.no_grad():
        x.mul_(2)
    return version, x._version, attempt(lambda: y.sum().backward(), "is at version", "expected version")
