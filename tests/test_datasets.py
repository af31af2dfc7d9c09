"""The digits and how they are divided."""

from __future__ import annotations

import pytest

import luchina as torch
from luchina import datasets


def contents(images: torch.Tensor) -> set[bytes]:
    return {image.tobytes() for image in images.numpy()}


def pairs(images: torch.Tensor, labels: torch.Tensor) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), label) for image, label in zip(images.numpy(), labels.tolist()))


def test_digits_are_the_published_ones():
    """Against scikit-learn's copy, where it is installed; else by the counts that its description gives."""
    images, labels = datasets.digits()
    assert images.shape == (1797, 8, 8) and images.dtype is torch.float32
    assert labels.shape == (1797,) and labels.dtype is torch.int64
    assert images.min().item() == 0 and images.max().item() == 16
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return
    theirs = load_digits()
    assert (images.numpy() == theirs.images).all() and (labels.numpy() == theirs.target).all()


@pytest.mark.parametrize("seed", [0, 1, 5, 2**40])
def test_parts_have_no_image_in_common_and_leave_none_out(seed):
    images, labels = datasets.digits()
    parts = datasets.split(images, labels, seed)
    assert [len(y) for _, y in parts] == [1258, 180, 359]
    seen = [contents(x) for x, _ in parts]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    assert seen[0] | seen[1] | seen[2] == contents(images)
    assert sorted(pair for part in parts for pair in pairs(*part)) == pairs(images, labels)


def test_a_seed_fixes_the_split_and_touches_no_other_random_number():
    images, labels = datasets.digits()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first, again, other = (datasets.split(images, labels, seed) for seed in (7, 7, 8))
    assert torch.equal(torch.rand(3), expected)
    for (x, y), (x2, y2) in zip(first, again):
        assert torch.equal(x, x2) and torch.equal(y, y2)
    assert not torch.equal(first[0][1], other[0][1])


@pytest.mark.parametrize("seed", range(5))
def test_repeated_images_stay_together(seed):
    kinds = torch.arange(20).repeat_interleave(5)[torch.randperm(100)]
    images = kinds.float().reshape(100, 1, 1).expand(100, 2, 2)
    parts = datasets.split(images, kinds, seed, (0.5, 0.25, 0.25))
    found = [set(y.tolist()) for _, y in parts]
    assert sum(len(y) for _, y in parts) == 100 and all(found)
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])
    assert all((x[:, 0, 0].long() == y).all().item() for x, y in parts)


def test_shares_that_do_not_add_up_are_an_error():
    with pytest.raises(ValueError, match="add up to 1"):
        datasets.split(*datasets.digits(), seed=0, shares=(0.5, 0.4))
