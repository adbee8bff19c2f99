"""Augmentation that the network is told of, against EDM's and by its own laws."""

import math
from pathlib import Path

import numpy as np
import torch

from datasets.augment import LABELS, Drawn, augment, labels_of, resample, transform

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "datasets" / "augment.npz")


def golden(name):
    return torch.from_numpy(GOLDEN[name])


def test_transformations_and_labels_of_the_edm_repo():
    drawn = Drawn(*(golden(name) for name in Drawn._fields))
    assert all(value.any() for value in drawn)
    assert torch.equal(labels_of(drawn), golden("labels"))
    assert torch.allclose(transform(golden("images"), drawn), golden("out"), rtol=0, atol=2e-5)


def test_each_transformation_is_drawn_with_its_probability_and_independently():
    torch.manual_seed(0)
    count, share = 40_000, 0.12
    images = torch.rand(count, 1, 4, 4)
    seen, labels = augment(images, share)
    assert labels.shape == (count, LABELS) and labels.dtype == torch.float32
    there = (labels != 0).double()
    want = torch.tensor([0.5, share / 2, *[share] * 7], dtype=torch.float64)
    error = 4 * (want * (1 - want) / count).sqrt()
    error[6] = 0.01  # of the stretch: also 0 where its axes are not turned
    want[6] /= 2
    assert ((there.mean(0) - want).abs() < error).all()
    apart = there[:, [0, 1, 2, 4, 5, 7]].T.corrcoef() - torch.eye(6)
    assert apart.abs().max() < 4 / math.sqrt(count)
    for index, std in ((2, 1.0), (7, 1.0), (8, 1.0)):  # normal numbers
        values = labels[labels[:, index] != 0, index]
        assert abs(values.std() - std) < 0.05
    angles = torch.atan2(labels[:, 4], labels[:, 3] + 1)[there[:, 4] == 1]
    assert abs(angles.std() - math.pi / math.sqrt(3)) < 0.05
    same = (seen == images).flatten(1).all(1)
    assert same[~labels.any(1)].all() and not same[labels.any(1)].any()


def test_what_is_not_resampled_keeps_its_pixels():
    torch.manual_seed(1)
    images = torch.randn(64, 3, 8, 8, dtype=torch.float64)
    seen, labels = augment(images, 1e-9)
    mirrored = labels[:, 0] == 1
    assert seen.dtype == torch.float64 and not labels[:, 1:].any() and mirrored.any()
    assert torch.equal(seen, torch.where(mirrored[:, None, None, None], images.flip(3), images))


def test_equal_seeds_draw_equal_augmentations():
    images = torch.rand(16, 1, 8, 8)
    torch.manual_seed(2)
    first = augment(images, 0.5)
    torch.manual_seed(2)
    assert all(map(torch.equal, first, augment(images, 0.5)))
    assert not torch.equal(augment(images, 0.5)[0], first[0])


def test_resampling_moves_a_smooth_image_to_where_it_belongs():
    """Pixel p shows the point linear (p - shift); x is to the right, y down."""
    axis = torch.linspace(-1, 1, 33, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def image(x, y):
        return torch.exp(-8 * (x - 0.3) ** 2 - 20 * (y + 0.2) ** 2)

    cos, sin, shift = math.cos(0.7), math.sin(0.7), torch.tensor([[4 / 33, -2 / 33]])
    linear = torch.tensor([[[cos, -sin], [sin, cos]]]) * 1.1
    seen = resample(image(x, y)[None, None], linear.double(), shift.double())[0, 0]
    dx, dy = x - 4 / 16, y + 2 / 16
    want = image(1.1 * (cos * dx - sin * dy), 1.1 * (sin * dx + cos * dy))
    inside = (x**2 + y**2).sqrt() < 0.6
    assert (seen - want)[inside].abs().max() < 0.02


def test_resampling_by_nothing_returns_the_image_and_beyond_the_border_it_is_reflected():
    torch.manual_seed(3)
    images = torch.randn(2, 1, 24, 24, dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    inner = (..., slice(4, -4), slice(4, -4))
    same = resample(images, eye, torch.zeros(2, 2, dtype=torch.float64))
    assert torch.allclose(same[inner], images[inner], rtol=0, atol=1e-9)
    half = torch.tensor([[0.5, 0.0], [0.0, 0.5]], dtype=torch.float64)  # 12 pixels
    seen = resample(images, eye, half)
    assert torch.allclose(seen[0, 0, 4:-4, 16:20], images[0, 0, 4:-4, 4:8], rtol=0, atol=1e-9)
    mirror = images[0, 0].flip(1)[4:-4, 15:19]  # pixels 8 to 5
    assert torch.allclose(seen[0, 0, 4:-4, 4:8], mirror, rtol=0, atol=0.5)
    assert torch.allclose(seen[1, 0, 16:20, 4:-4], images[1, 0, 4:8, 4:-4], rtol=0, atol=1e-9)
    flat = resample(torch.ones_like(images), 5 * eye, 3 * half)
    assert torch.allclose(flat, torch.ones_like(flat))
