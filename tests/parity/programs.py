"""Whole scripts as they are written for PyTorch (``scripts/``): what they print is compared.

A script's ``import torch`` gives the engine, and its ``print`` notes what it is given: tensors as they are, text as its
words and its numbers.
"""

from __future__ import annotations

import builtins
import copy
import importlib
import io
import math
import random
import re
from pathlib import Path

import numpy as np

from parity.harness import register

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|inf|nan)(?![\w])")
_UNLIKE = re.compile(r"0x[0-9a-f]+|\n  in layer [^\n]*")  # addresses; what luchina's errors say beyond PyTorch's


def noted(torch, value):
    """What is compared of something printed: text as its words and the list of its floats."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    text = _UNLIKE.sub("", str(value).replace("luchina", "torch"))
    return [" ".join(_NUMBER.sub("#", text).split()), [float(n) for n in _NUMBER.findall(text)]]


def script(source, name):
    """The program of a script."""
    code = compile(source, name, "exec")

    def run(torch):
        lines = []

        def imported(module, globals=None, locals=None, fromlist=(), level=0):
            if module.split(".")[0] != "torch":
                return builtins.__import__(module, globals, locals, fromlist, level)
            found = importlib.import_module(torch.__name__ + module.removeprefix("torch"))
            return found if fromlist else torch

        names = {"__name__": "__main__", "torch": torch, "nn": torch.nn, "F": torch.nn.functional}
        names |= {"np": np, "copy": copy, "io": io, "math": math}
        names["__builtins__"] = {**vars(builtins), "__import__": imported}
        names["print"] = lambda *values, **options: lines.append([noted(torch, v) for v in values])
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        exec(code, names)
        return lines

    return run


for path in sorted((Path(__file__).parent / "scripts").glob("*.py")):
    # Printed numbers have four digits, and a training grows rounding differences.
    register(f"programs.{path.stem}", script(path.read_text(), path.name), ulps=8192)
