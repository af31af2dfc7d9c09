"""``luchina predict``: which digit a picture from disk shows."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

import luchina
from luchina import Tensor
from luchina.examples.digits import DigitNet

SIDE = 8  # pixels of the images that the network was trained on


def load_image(path: Path) -> Tensor:
    """A picture as the network sees digits: (1, 1, 8, 8), bright strokes on dark ground, 0 to 1.

    Transparency is laid over white; a picture with a light ground is inverted; what is drawn is centred in a square.
    """
    import numpy as np

    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ImportError("reading pictures needs Pillow: pip install 'luchina[demo]'") from None
    if not path.is_file():
        raise FileNotFoundError(f"no such picture: {path}")
    try:
        with Image.open(path) as picture:
            picture.load()
            rgba = picture.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not a picture that can be read: {error}") from None
    white = Image.new("RGBA", rgba.size, "white")
    grey = np.asarray(Image.alpha_composite(white, rgba).convert("L"), np.float32)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.median(border) > 127:
        grey = 255 - grey
    if grey.shape != (SIDE, SIDE):
        grey = _framed(grey)
    small = Image.fromarray(grey.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32)
    pixels = pixels / max(float(pixels.max()), 1.0)
    return luchina.tensor(pixels).reshape(1, 1, SIDE, SIDE)


def _framed(grey: "np.ndarray") -> "np.ndarray":  # type: ignore[name-defined]  # noqa: F821, UP037
    """The part that is drawn on, centred in a square."""
    import numpy as np

    ink = grey > 0.2 * max(float(grey.max()), 1.0)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not rows.size:
        return grey
    cut = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(cut.shape)
    framed = np.zeros((side, side), np.float32)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    framed[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return framed


def load_model(path: Path) -> DigitNet:
    """The network with a checkpoint's weights."""
    from luchina import hub

    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    model = DigitNet()
    model.load_state_dict(hub.load_file(path))
    model.eval()
    return model


def run(console: Console, checkpoint: Path, image: Path) -> None:
    """Classify and show the probabilities."""
    model = load_model(checkpoint)
    with luchina.no_grad():
        probabilities = model(load_image(image)).softmax(1)[0].tolist()
    best = max(range(10), key=probabilities.__getitem__)
    table = Table(title=Text.assemble(f"{image.name}: ", (str(best), "bold")))
    for name in ("digit", "probability", ""):
        table.add_column(name, justify="right" if name else "left")
    for digit, p in enumerate(probabilities):
        table.add_row(str(digit), f"{p:.2%}", "█" * round(40 * p), style="bold green" if digit == best else "")
    console.print(table)
