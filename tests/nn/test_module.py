"""Module by itself: registration, state, hooks, errors that name the layer, copies."""

from __future__ import annotations

import copy
import pickle

import pytest

import luchina
from luchina import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
        self.register_buffer("scale", luchina.ones(3))
        self.register_buffer("cache", luchina.zeros(2), persistent=False)

    def forward(self, x):
        return self.encoder(x) * self.scale


def test_state_has_parameters_then_persistent_buffers_in_order() -> None:
    net = Net()
    assert list(net.state_dict()) == [
        "scale",
        "encoder.0.weight",
        "encoder.0.bias",
        "encoder.2.weight",
        "encoder.2.bias",
    ]
    assert [name for name, _ in net.named_buffers()] == ["scale", "cache"]
    shared = net.state_dict()["scale"]
    shared.mul_(2)
    assert net.scale.tolist() == [2.0, 2.0, 2.0]


def test_a_failed_load_changes_nothing_and_says_everything() -> None:
    net = Net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = {k: v + 1 for k, v in before.items()}
    state["encoder.2.bias"] = luchina.zeros(5)
    state["other"] = luchina.zeros(1)
    del state["scale"]
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    assert str(error.value) == (
        'Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "scale". '
        '\n\tUnexpected key(s) in state_dict: "other". '
        "\n\tsize mismatch for encoder.2.bias: copying a param with shape torch.Size([5]) from checkpoint, "
        "the shape in current model is torch.Size([3])."
    )
    assert all(bool((net.state_dict()[k] == v).all()) for k, v in before.items())


def test_load_without_strict_and_with_assign() -> None:
    net = Net()
    keys = net.load_state_dict({"scale": luchina.full((3,), 5.0), "x": luchina.zeros(1)}, strict=False)
    assert keys.unexpected_keys == ["x"]
    assert "encoder.0.weight" in keys.missing_keys
    assert net.scale.tolist() == [5.0] * 3
    state = Net().double().state_dict()
    assert repr(net.load_state_dict(state, assign=True)) == "<All keys matched successfully>"
    assert net.encoder[0].weight.dtype is luchina.float64
    assert isinstance(net.encoder[0].weight, nn.Parameter)
    assert net.encoder[0].weight.requires_grad


def test_an_error_names_the_layer_once() -> None:
    net = nn.Sequential(Net())
    with pytest.raises(RuntimeError) as error:
        net(luchina.ones(2, 5))
    assert str(error.value) == (
        "mat1 and mat2 shapes cannot be multiplied (2x5 and 4x6)\n"
        "  in layer '0.encoder.0' (Linear(in_features=4, out_features=6, bias=True)), input [2, 5]"
    )


def test_an_error_of_the_users_own_forward_keeps_its_text() -> None:
    class Own(nn.Module):
        def forward(self, x):
            raise ValueError("my text")

    with pytest.raises(ValueError, match=r"^my text$"):
        nn.Sequential(Own())(luchina.ones(1))


def test_hooks_see_and_replace() -> None:
    layer, seen = nn.Linear(2, 2), []
    handles = [
        layer.register_forward_pre_hook(lambda module, args: seen.append("before") or (args[0] * 0,)),
        layer.register_forward_hook(lambda module, args, out: seen.append("after") or out + 1),
        layer.register_forward_hook(lambda m, args, kwargs, out: seen.append(sorted(kwargs)), with_kwargs=True),
    ]
    result = layer(luchina.ones(1, 2))
    assert seen == ["before", "after", []]
    assert bool((result == layer.bias + 1).all())
    for handle in handles:
        handle.remove()
    layer(luchina.ones(1, 2))
    assert len(seen) == 3


def test_full_backward_hook_sees_and_replaces_gradients() -> None:
    layer, seen = nn.Linear(2, 1), []

    def hook(module, grad_input, grad_output):
        seen.append((grad_input[0].tolist(), grad_output[0].tolist()))
        return (grad_input[0] * 2,)

    layer.register_full_backward_hook(hook)
    x = luchina.ones(1, 2, requires_grad=True)
    (layer(x) * 3).sum().backward()
    weight = layer.weight.tolist()[0]
    assert seen[0][1] == [[3.0]]
    assert seen[0][0][0] == pytest.approx([3 * w for w in weight])
    assert x.grad.tolist()[0] == pytest.approx([6 * w for w in weight])


def test_copies_and_pickles_are_independent() -> None:
    net = Net()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(other) == repr(net)
        assert other.encoder[0].weight.tolist() == net.encoder[0].weight.tolist()
        with luchina.no_grad():
            other.encoder[0].weight.zero_()
        assert net.encoder[0].weight.abs().sum().item() > 0
        other(luchina.ones(1, 4)).sum().backward()
        assert net.encoder[0].weight.grad is None


def test_shared_parameters_are_listed_once_and_stay_shared() -> None:
    net = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    net[1].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    again = copy.deepcopy(net)
    assert again[0].weight is again[1].weight


def test_registration_errors() -> None:
    net = Net()
    cases = [
        (lambda: setattr(net.encoder[0], "weight", luchina.ones(1)), TypeError, "as parameter 'weight'"),
        (lambda: setattr(net, "encoder", 3), TypeError, "as child module 'encoder'"),
        (lambda: setattr(net, "scale", 3), TypeError, "as buffer 'scale'"),
        (lambda: net.register_buffer("a.b", None), KeyError, "buffer name can"),
        (lambda: net.register_parameter("scale", None), KeyError, "attribute 'scale' already exists"),
        (lambda: net.add_module("", nn.ReLU()), KeyError, "be empty string"),
        (lambda: net.missing, AttributeError, "'Net' object has no attribute 'missing'"),
        (lambda: nn.Parameter(luchina.ones(1).long()), RuntimeError, "Only Tensors of floating point"),
        (lambda: net.to(luchina.int64), TypeError, "only accepts floating point"),
        (lambda: net.train("yes"), ValueError, "training mode is expected to be boolean"),
    ]
    for run, kind, text in cases:
        with pytest.raises(kind, match=text):
            run()


def test_module_before_init() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Early()


def test_containers() -> None:
    chain = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    assert len(chain[:2]) == 2
    chain.insert(1, nn.Tanh())
    del chain[0]
    assert [type(m).__name__ for m in chain] == ["Tanh", "ReLU", "Linear"]
    assert list(dict(chain.named_children())) == ["0", "1", "2"]
    table = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()})
    assert list(table) == ["a", "b"]
    assert table.pop("a").__class__ is nn.ReLU
    values = nn.ParameterList([luchina.ones(2), 3])
    assert len(list(values.parameters())) == 1
    assert values[1] == 3


def test_clipping() -> None:
    w = nn.Parameter(luchina.zeros(2))
    w.grad = luchina.tensor([3.0, 4.0])
    assert nn.utils.clip_grad_norm_([w], 1.0).item() == 5.0
    assert w.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-5)
    nn.utils.clip_grad_value_([w], 0.7)
    assert w.grad.tolist() == pytest.approx([0.6, 0.7], rel=1e-5)
    w.grad = luchina.tensor([float("nan"), 1.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_([w], 1.0, error_if_nonfinite=True)


def test_parameters_as_one_vector() -> None:
    net = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(net.parameters())
    nn.utils.vector_to_parameters(vector * 0 + luchina.arange(9.0), net.parameters())
    assert net.bias.tolist() == [6.0, 7.0, 8.0]


@pytest.mark.parity
def test_initialisation_is_pytorchs() -> None:
    import torch

    def numbers(engine):
        init, results = engine.nn.init, []
        engine.manual_seed(5)
        for fill in (
            lambda t: init.xavier_uniform_(t, 2.0),
            init.xavier_normal_,
            lambda t: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="relu"),
            init.kaiming_normal_,
            init.trunc_normal_,
            lambda t: init.trunc_normal_(t, 0.0, 1.0, 1.5, 3.0),
            lambda t: init.sparse_(t, 0.4),
            init.eye_,
        ):
            results.append(fill(engine.empty(5, 7)).tolist())
        results.append(init.dirac_(engine.empty(4, 3, 3), 2).tolist())
        results += [init.calculate_gain(name) for name in ("tanh", "relu", "selu", "leaky_relu", "conv_transpose3d")]
        return results

    expected, got = numbers(torch), numbers(luchina)
    for a, b in zip(got, expected, strict=True):
        assert luchina.tensor(a).flatten().tolist() == pytest.approx(torch.tensor(b).flatten().tolist(), rel=3e-7)
