"""The command ``luchina``."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from luchina import datasets, hub
from luchina.cli import app

runner = CliRunner()


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
        done = runner.invoke(app, ["predict", *args])
        assert done.exit_code == 1 and "Traceback" not in done.output


def test_explain_shows_kernels_ir_and_assembly(tmp_path, capfd):
    script = tmp_path / "script.py"
    script.write_text("import luchina\nx = luchina.ones(37)\nprint((x * 3 + 1).sum().item())\n")
    done = runner.invoke(app, ["explain", "--ir", "--asm", str(script)])
    text = done.output + capfd.readouterr().out
    assert done.exit_code == 0
    assert "148.0" in text and "program 1" in text and "define void" in text and "assembly of" in text


def test_info_and_a_device_that_is_not_there():
    assert "kernel cache" in runner.invoke(app, ["info"]).output
    done = runner.invoke(app, ["demo", "--device", "cuda", "--epochs", "1"])
    assert done.exit_code == 1 and "Traceback" not in done.output


def test_split_parts_have_no_image_in_common():
    images, labels = datasets.digits()
    parts = datasets.split(images, labels, 5)
    assert [len(y) for _, y in parts] == [1258, 180, 359]
    seen = [{row.tobytes() for row in x.reshape(len(x), -1).numpy()} for x, _ in parts]
    assert not (seen[0] & seen[1]) and not (seen[0] & seen[2]) and not (seen[1] & seen[2])
