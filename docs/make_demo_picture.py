"""Draws docs/demo.svg: what `luchina demo` prints, recorded from a real run.

python docs/make_demo_picture.py
"""

from __future__ import annotations

import io
import pathlib
import tempfile

from rich.console import Console

from luchina.commands.demo import run


def main() -> None:
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=False)
    with tempfile.TemporaryDirectory() as folder:
        run(console, 20, 64, 3e-3, 0, None, pathlib.Path(folder), "cpu")
    text = console.export_text(clear=False).replace(folder, "runs")
    svg = console.export_svg(title="luchina demo").replace(folder, "runs")
    (pathlib.Path(__file__).parent / "demo.svg").write_text(svg)
    print(text)


if __name__ == "__main__":
    main()
