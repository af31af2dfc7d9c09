"""Makes ``rng.npz``: what PyTorch's CPU generator draws for a seed, so that the tests need no PyTorch.

    python tests/golden/make_rng.py

Made with torch 2.13.0+cpu at the AVX2 capability level (``ATEN_CPU_CAPABILITY=avx2`` and higher give the same numbers).
Each entry's name is ``seed|rule|dtype|n|arguments``; its content is the first 64 outputs as they lie in memory. The
entry with ``|state`` appended holds a digest of the generator's state afterwards: how many words were used, and
what was kept for the next call.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch

FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8"]
SEEDS = [0, 1234, -1, 2**32 + 5]


def dtype(name: str) -> torch.dtype:
    return getattr(torch, name)


def strided(n: int, name: str) -> torch.Tensor:
    return torch.empty(n, 2, dtype=dtype(name))[:, 0]


def draw(generator: torch.Generator, rule: str, name: str, n: int, *args: float) -> torch.Tensor:
    out = torch.empty(n, dtype=dtype(name))
    match rule:
        case "normal_strided":
            return strided(n, name).normal_(*args, generator=generator).contiguous()
        case "randint":
            return out.random_(int(args[0]), int(args[1]), generator=generator)
        case "random":
            return out.random_(generator=generator)
        case "full_range":
            return out.random_(-(2**63), None, generator=generator)
        case "randperm":
            return torch.randperm(n, dtype=dtype(name), generator=generator)
        case "bernoulli_tensor":
            return torch.bernoulli(torch.linspace(0, 1, n, dtype=dtype(name)), generator=generator)
        case "multinomial":
            rows, samples, replacement = map(int, args)
            weights = (torch.arange(rows * n) % 7 + 1).to(dtype(name)).view(rows, n)
            return torch.multinomial(weights, samples, bool(replacement), generator=generator).flatten()
        case _:
            return getattr(out, rule + "_")(*args, generator=generator)


def cases() -> list[tuple]:
    found: list[tuple] = []
    for name in FLOATS:
        for n in (1, 5, 16, 17, 40, 700):
            found += [("uniform", name, n), ("uniform", name, n, -0.3, 2.7), ("normal", name, n)]
            found += [("normal", name, n, 0.3, 0.7), ("normal_strided", name, n, 0.3, 0.7)]
        found += [("exponential", name, 70, 1.7), ("geometric", name, 70, 0.3), ("cauchy", name, 70, 0.3, 0.7)]
        found += [("log_normal", name, 33, 0.3, 0.7), ("bernoulli_tensor", name, 70)]
        for rows, samples, replacement in [(1, 1, 0), (1, 1, 1), (2, 9, 1), (1, 64, 1)]:
            found.append(("multinomial", name, 10, rows, samples, replacement))
    for name in ("float32", "float64"):  # with 16 bits equal scores are common, and their order is nobody's promise
        found.append(("multinomial", name, 10, 3, 7, 0))
    for name in [*FLOATS, *INTEGERS, "bool"]:
        found += [("random", name, 70), ("bernoulli", name, 70, 0.3), ("randint", name, 70, 0, 2)]
    for name in [*FLOATS, *INTEGERS]:
        found += [("randint", name, 70, 3, 100), ("randperm", name, 40)]
    for low, high in [(0, 2**28 - 1), (0, 2**28), (-5, 2**40), (-(2**62), 2**62)]:
        found.append(("randint", "int64", 70, low, high))
    found += [("randint", "int32", 70, -(2**31), 2**31 - 1), ("full_range", "int64", 70), ("randperm", "int64", 1000)]
    return found


def main() -> None:
    entries = {}
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        for case in cases():  # one after the other: each starts where the last one stopped
            values = draw(generator, *case)[:64]
            if values.dtype == torch.bfloat16:
                values = values.view(torch.int16)
            name = "|".join(map(str, [seed, *case[:3], ",".join(map(repr, case[3:]))]))
            entries[name] = np.frombuffer(values.numpy().tobytes(), np.uint8)
            state = hashlib.blake2b(generator.get_state().numpy().tobytes(), digest_size=8).digest()
            entries[name + "|state"] = np.frombuffer(state, np.uint8)
    generator = torch.Generator().manual_seed(3)
    torch.randn(3, generator=generator)
    entries["state after manual_seed(3), randn(3)"] = generator.get_state().numpy()
    entries["randn(20) that follows"] = torch.randn(20, generator=generator).numpy().view(np.uint8)
    entries["versions"] = np.frombuffer(f"torch {torch.__version__}".encode(), np.uint8)
    # One array and one index, not a thousand members: small and quick to read.
    names = list(entries)
    sizes = [len(entries[name]) for name in names]
    path = Path(__file__).with_name("rng.npz")
    np.savez_compressed(
        path, names=np.array("\n".join(names)), sizes=sizes, data=np.concatenate(list(entries.values()))
    )
    print(f"{len(names)} entries, {path.stat().st_size} bytes: {path}")


if __name__ == "__main__":
    main()
