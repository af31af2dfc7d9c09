"""The examples run, and train."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import luchina as torch
from luchina.examples import digits


def test_digits_are_learned_in_two_epochs():
    told: list[dict] = []
    model, history, test_data = digits.train(epochs=2, after_epoch=told.append)
    assert told == history and [r["epoch"] for r in history] == [1, 2]
    floor = 0.5  # what smoothed labels leave: the entropy of (0.91, 0.01, …, 0.01)
    assert history[1]["loss"] - floor < (history[0]["loss"] - floor) / 2
    assert history[1]["train"] > history[0]["train"]
    assert digits.accuracy(model, test_data) > 0.8
    best = max(r["validation"] for r in history)
    validation = digits.load_data(0)[1]
    assert digits.accuracy(model, validation) == best  # the weights are those of the best epoch


def test_a_run_can_be_repeated_to_the_bit():
    runs = [digits.train(seed=1, epochs=1)[0].state_dict() for _ in range(2)]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    other = digits.train(seed=2, epochs=1)[0].state_dict()
    assert not torch.equal(runs[0]["features.0.weight"], other["features.0.weight"])


@pytest.mark.slow
def test_the_script_reaches_98_percent(capsys):
    runpy.run_path(str(Path(digits.__file__)), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21 and lines[-1].startswith("test accuracy of the best epoch: ")
    assert float(lines[-1].split()[-1].rstrip("%")) >= 98
