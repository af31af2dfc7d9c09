"""Schedules: PyTorch's sequences to the bit, chained and resumed; warnings and errors."""

from __future__ import annotations

import copy
import warnings

import pytest

import luchina
from luchina import nn, optim
from luchina.optim import lr_scheduler

SCHEDULES = """
StepLR(o, 3, .5)
MultiStepLR(o, [2, 2, 5], .3)
ExponentialLR(o, .9)
ConstantLR(o, .25, 3)
LinearLR(o, .1, .8, 6)
PolynomialLR(o, 6, 2.)
CosineAnnealingLR(o, 4, .01)
CosineAnnealingWarmRestarts(o, 2, 2, .01)
LambdaLR(o, [lambda e: .9 ** e, lambda e: 1 / (1 + e)])
MultiplicativeLR(o, lambda e: .95)
OneCycleLR(o, [1., 2.], total_steps=12)
OneCycleLR(o, 1., epochs=3, steps_per_epoch=4, three_phase=True, anneal_strategy='linear')
SequentialLR(o, [ConstantLR(o, .1, 3), ExponentialLR(o, .9), CosineAnnealingLR(o, 3)], [3, 7])
ChainedScheduler([ConstantLR(o, .5, 4), ExponentialLR(o, .9)])
""".strip().split("\n")


def follow(engine, text: str, steps: int = 12):
    p = [engine.nn.Parameter(engine.ones(1)) for _ in range(2)]
    o = engine.optim.SGD([{"params": p[:1]}, {"params": p[1:], "lr": 0.3}], lr=0.1, momentum=0.9)
    scheduler = eval(text, {**vars(engine.optim.lr_scheduler), "o": o})
    seen = [scheduler.get_last_lr()]
    for _ in range(steps):
        o.step()
        scheduler.step()
        seen.append([(g["lr"], g["momentum"]) for g in o.param_groups])
        seen.append(list(scheduler.get_last_lr()))
    return seen, sorted(scheduler.state_dict())


@pytest.mark.parity
@pytest.mark.parametrize("text", SCHEDULES)
def test_sequence(text: str) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert follow(luchina, text) == follow(torch, text)


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau(mode: str, threshold_mode: str) -> None:
    import torch

    def run(engine):
        p = engine.nn.Parameter(engine.ones(1))
        o = engine.optim.SGD([p], lr=1.0)
        scheduler = engine.optim.lr_scheduler.ReduceLROnPlateau(
            o, mode, 0.5, patience=1, threshold=0.1, threshold_mode=threshold_mode, cooldown=1, min_lr=0.05
        )
        seen = []
        for metric in [
            3.0,
            2.0,
            2.0,
            1.95,
            1.9,
            1.0,
            1.2,
            1.2,
            1.2,
            1.2,
            1.2,
            float("nan"),
            0.1,
            5.0,
            5.0,
            5.0,
            5.0,
            5.0,
        ]:
            scheduler.step(engine.tensor(metric))
            seen.append((o.param_groups[0]["lr"], scheduler.num_bad_epochs, scheduler.cooldown_counter))
        return seen, sorted(scheduler.state_dict())

    assert run(luchina) == run(torch)


def optimizer() -> optim.SGD:
    return optim.SGD([nn.Parameter(luchina.ones(1))], lr=0.1)


def test_resuming_goes_on() -> None:
    o = optimizer()
    scheduler = lr_scheduler.CosineAnnealingLR(o, 5)
    rates = []
    for step in range(8):
        if step == 4:
            saved, groups = copy.deepcopy(scheduler.state_dict()), copy.deepcopy(o.state_dict())
        o.step()
        scheduler.step()
        rates.append(o.param_groups[0]["lr"])
    again = optimizer()
    resumed = lr_scheduler.CosineAnnealingLR(again, 5)
    again.load_state_dict(groups)
    resumed.load_state_dict(saved)
    for expected in rates[4:]:
        again.step()
        resumed.step()
        assert again.param_groups[0]["lr"] == expected


def test_warning_about_a_wrong_order() -> None:
    scheduler = lr_scheduler.StepLR(optimizer(), 1)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()


def test_no_warning_in_the_right_order() -> None:
    o = optimizer()
    scheduler = lr_scheduler.StepLR(o, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        o.step()
        scheduler.step()


def test_errors() -> None:
    o = optimizer()
    cases = [
        (lambda: lr_scheduler.StepLR(nn.Linear(1, 1), 1), TypeError, "Linear is not an Optimizer"),
        (lambda: lr_scheduler.StepLR(o, 1, last_epoch=3), KeyError, "param 'initial_lr' is not specified"),
        (lambda: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0."),
        (lambda: lr_scheduler.ReduceLROnPlateau(o, mode="x"), ValueError, "mode x is unknown!"),
        (lambda: lr_scheduler.OneCycleLR(o, 1.0), ValueError, "You must define either total_steps"),
        (lambda: lr_scheduler.SequentialLR(o, [], []), ValueError, "expects at least one scheduler"),
        (lambda: lr_scheduler.LambdaLR(o, [len, len]), ValueError, "Expected 1 lr_lambdas, but got 2"),
    ]
    for run, kind, text in cases:
        with pytest.raises(kind, match=text):
            run()
