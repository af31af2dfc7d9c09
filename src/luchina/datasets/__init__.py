"""Data that ship with the package."""

from __future__ import annotations

from importlib import resources

import numpy as np

import luchina
from luchina import Tensor

Part = tuple[Tensor, Tensor]


def digits() -> Part:
    """1,797 handwritten digits: images (1797, 8, 8) with values 0 to 16 in float32, labels (1797,) in int64.

    >>> from luchina import datasets
    >>> images, labels = datasets.digits()
    >>> images.shape, labels[:5]
    (torch.Size([1797, 8, 8]), tensor([0, 1, 2, 3, 4]))

    Source: UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0.
    """
    with resources.files("luchina.datasets").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return luchina.tensor(images.astype(np.float32)), luchina.tensor(labels.astype(np.int64))


def split(images: Tensor, labels: Tensor, seed: int, shares: tuple[float, ...] = (0.7, 0.1, 0.2)) -> list[Part]:
    """Parts of the data by seed, for training, validation and test. Identical images stay in one part, so that no
    image that was trained on is tested.

    >>> from luchina import datasets
    >>> [len(labels) for _, labels in datasets.split(*datasets.digits(), seed=0)]
    [1258, 180, 359]
    """
    if abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"the shares {shares} must add up to 1")
    rows = images.reshape(len(images), -1).numpy()
    _, group = np.unique(rows, axis=0, return_inverse=True)
    members: dict[int, list[int]] = {}
    for i, g in enumerate(group.reshape(-1).tolist()):
        members.setdefault(g, []).append(i)
    order = luchina.randperm(len(members), generator=luchina.Generator().manual_seed(seed)).tolist()
    groups = list(members.values())
    chosen = [i for g in order for i in groups[g]]
    edges = [0.0]
    for share in shares:
        edges.append(edges[-1] + share * len(chosen))
    parts = []
    placed = {i: g for g, indices in enumerate(groups) for i in indices}
    cuts = [_at_group_edge(chosen, placed, round(edge)) for edge in edges]
    for start, stop in zip(cuts, cuts[1:]):
        index = luchina.tensor(chosen[start:stop])
        parts.append((images[index], labels[index]))
    return parts


def _at_group_edge(chosen: list[int], placed: dict[int, int], cut: int) -> int:
    """The first cut from ``cut`` on that does not part identical images."""
    while 0 < cut < len(chosen) and placed[chosen[cut - 1]] == placed[chosen[cut]]:
        cut += 1
    return cut
