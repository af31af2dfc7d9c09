"""The command ``luchina``."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import luchina
from luchina import datasets, hub
from luchina.cli import app

runner = CliRunner()


def failure(*args: str) -> str:
    """The one line that the command ends with when something is wrong."""
    done = runner.invoke(app, args)
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit), (done.output, done.exception)
    assert done.stdout == "" and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.output
    return done.stderr


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    done = runner.invoke(app, ["demo", "--epochs", "3", "--out", str(folder)])
    assert done.exit_code == 0, done.output
    assert "test accuracy" in done.output and "validation" in done.output
    return folder / "digits.safetensors"


def test_the_demo_leaves_a_checkpoint(checkpoint):
    weights = hub.load_file(checkpoint)
    assert weights["features.0.weight"].shape == (32, 1, 3, 3)


def test_predict_reads_pictures_of_several_kinds(checkpoint, tmp_path):
    from PIL import Image

    images, labels = datasets.digits()
    right = 0
    for i in range(10, 20):
        pixels = (images[i].numpy() * 15.9).astype(np.uint8)
        picture = Image.fromarray(pixels if i % 2 else 255 - pixels).resize((80, 80)).convert("RGBA" if i % 3 else "L")
        picture.save(tmp_path / f"{i}.png")
        done = runner.invoke(app, ["predict", str(checkpoint), str(tmp_path / f"{i}.png")])
        assert done.exit_code == 0, done.output
        right += f"{i}.png: {labels[i].item()}" in done.output.replace("\n", "")
    assert right >= 7


def test_predict_says_what_is_wrong_in_one_line(checkpoint, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"12345")
    for args in (
        [str(checkpoint), str(tmp_path / "none.png")],
        [str(checkpoint), str(bad)],
        [str(damaged), str(bad)],
        [str(tmp_path / "none.safetensors"), str(bad)],
    ):
        failure("predict", *args)


def test_explain_shows_kernels_ir_and_assembly(tmp_path, capfd):
    script = tmp_path / "script.py"
    script.write_text("import luchina\nx = luchina.ones(37)\nprint((x * 3 + 1).sum().item())\n")
    done = runner.invoke(app, ["explain", "--ir", "--asm", str(script)])
    text = done.output + capfd.readouterr().out
    assert done.exit_code == 0
    assert "148.0" in text and "program 1" in text and "define void" in text and "assembly of" in text


def test_errors_are_one_line_that_says_what_is_there(checkpoint, tmp_path):
    assert "What is there: 'cpu'" in failure("demo", "--device", "cuda", "--epochs", "1", "--out", str(tmp_path))
    assert "nowhere" in failure("demo", "--device", "nowhere", "--out", str(tmp_path))
    file = tmp_path / "file"
    file.write_text("")
    assert str(file) in failure("demo", "--out", str(file))
    long = tmp_path / ("a" * 90) / "[/bold].png"  # neither broken at the screen's edge nor read as markup
    assert str(long) in failure("predict", str(checkpoint), str(long))
    assert "no such file" in failure("explain", str(tmp_path / "none.py"))
    assert "--float" in failure("explain")
    assert "--float" in failure("explain", "--float", "1", "--ir")


def test_predict_says_that_a_checkpoint_is_of_another_network(tmp_path):
    path = tmp_path / "x.safetensors"
    hub.save_file({"features.0.weight": luchina.ones(2)}, path)
    said = failure("predict", str(path), str(tmp_path / "none.png"))
    assert "Missing key(s)" in said and "size mismatch for features.0.weight" in said


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_predict_says_that_a_checkpoint_is_cut_off(checkpoint, tmp_path, cut):
    path = tmp_path / "x.safetensors"
    path.write_bytes(checkpoint.read_bytes()[:cut])
    assert "not a whole safetensors file" in failure("predict", str(path), str(tmp_path / "none.png"))


def answer(checkpoint, picture, path) -> int:
    picture.save(path)
    done = runner.invoke(app, ["predict", str(checkpoint), str(path)])
    assert done.exit_code == 0, done.output
    found = re.search(rf"{path.name}: (\d)", done.stdout)
    assert found, done.output
    return int(found[1])


def test_a_picture_of_the_networks_own_size_is_answered_as_the_tensor_is(checkpoint, tmp_path):
    """At 8×8 nothing is cut or resized: upright, inverted and with an alpha channel it is the image itself."""
    from PIL import Image

    from luchina.commands.predict import load_model

    images, _ = datasets.digits()
    model = load_model(checkpoint)
    for i in (0, 7, 100, 1000):
        pixels = (images[i].numpy() * (255 / 16)).round().astype(np.uint8)
        expected = model((images[i] / images[i].max()).reshape(1, 1, 8, 8)).argmax(1).item()
        dark = Image.fromarray(pixels)
        light = Image.fromarray(255 - pixels)
        ink = Image.merge("RGBA", [Image.new("L", (8, 8))] * 3 + [dark])  # black strokes, nothing behind them
        large = dark.resize((160, 160), Image.Resampling.NEAREST)
        path = tmp_path / f"{i}.png"
        assert [answer(checkpoint, p, path) for p in (dark, light, dark.convert("RGBA"), ink)] == [expected] * 4
        assert 0 <= answer(checkpoint, large, path) <= 9


def test_the_checkpoint_says_what_it_scored(checkpoint):
    from safetensors import safe_open

    with safe_open(checkpoint, "np") as file:
        described = file.metadata()
    assert described["model"].endswith("DigitNet") and 0.8 < float(described["test_accuracy"]) <= 1


def test_explain_passes_arguments_on_and_reports_a_script_that_fails(tmp_path, capfd):
    script = tmp_path / "script.py"
    script.write_text("import sys, luchina\nprint(luchina.ones(3).sum().item(), sys.argv[1:])\nraise SystemExit(3)\n")
    before = sys.argv
    done = runner.invoke(app, ["explain", str(script), "--steps", "5"])
    text = done.output + capfd.readouterr().out
    assert done.exit_code == 3 and "3.0 ['--steps', '5']" in text and "program 1" in text
    assert sys.argv is before


def test_explain_shows_a_numbers_bits():
    done = runner.invoke(app, ["explain", "--float", "1.5"])
    assert done.exit_code == 0 and "0x3fc00000" in done.stdout and "0x3fc0" in done.stdout
    assert "not a number" in failure("explain", "--float", "one")


def test_cache_clear_removes_kernels_and_nothing_else(tmp_path, monkeypatch):
    from luchina.runtime import cache

    monkeypatch.setenv("LUCHINA_CACHE", str(tmp_path))
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "aa").mkdir()
    (tmp_path / "aa" / "notes").write_text("mine")
    cache.store(cache.digest("a"), b"code")
    assert str(tmp_path) in runner.invoke(app, ["info"]).stdout
    done = runner.invoke(app, ["cache", "clear"])
    assert done.exit_code == 0 and "1 kernels removed" in done.stdout
    assert cache.load(cache.digest("a")) is None
    assert (tmp_path / "thesis.txt").exists() and (tmp_path / "aa" / "notes").exists()
    monkeypatch.setenv("LUCHINA_CACHE", "off")
    assert "LUCHINA_CACHE is off" in failure("cache", "clear")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "luchina", "info"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""
    shown = {words[0]: words[1] for words in map(str.split, done.stdout.splitlines()) if len(words) > 1}
    assert shown["luchina"] == luchina.__version__ and shown["devices"] == "cpu"
    assert int(shown["threads"]) >= 1
