import math
import types

import pytest
import torch
from torchvision.utils import save_image

from datasets.transforms import random_flip, to_model, to_uint8, to_unit

LEVELS = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


def options(*names):
    keys = (
        "rescaled",
        "logit_transform",
        "uniform_dequantization",
        "gaussian_dequantization",
    )
    return types.SimpleNamespace(**{key: key in names for key in keys})


@pytest.mark.parametrize("scale", [(), ("rescaled",), ("logit_transform",)])
@pytest.mark.parametrize("noise", [(), ("uniform_dequantization",)])
def test_every_level_comes_back_exactly(scale, noise):
    data = options(*scale, *noise)
    torch.manual_seed(0)
    images = LEVELS.expand(2000, 3, 16, 16)
    assert torch.equal(to_uint8(to_model(images, data), data), images)


def test_the_range_is_minus_one_to_one():
    data = options("rescaled")
    x = to_model(LEVELS, data).flatten()
    assert x.dtype == torch.float32
    assert torch.equal(x, 2 * (LEVELS.flatten() / 255) - 1)
    assert (x[0].item(), x[-1].item()) == (-1, 1)


def test_uniform_noise_fills_each_level_evenly():
    data = options("uniform_dequantization")
    images = torch.full((1, 1, 300, 300), 100, dtype=torch.uint8)
    u = to_model(images, data) * 256 - 100
    assert 0 <= u.min() < 1e-3
    assert 1 > u.max() > 1 - 1e-3
    assert abs(u.mean() - 0.5) < 5 / math.sqrt(12 * u.numel())
    assert abs(u.std() - math.sqrt(1 / 12)) < 0.005


def test_gaussian_noise_has_a_hundredth_of_deviation():
    images = torch.full((1, 1, 300, 300), 100, dtype=torch.uint8)
    n = to_model(images, options("gaussian_dequantization")) - 100 / 255
    assert abs(n.mean()) < 2e-4
    assert abs(n.std() - 0.01) < 2e-4
    logit = to_model(LEVELS, options("gaussian_dequantization", "logit_transform"))
    assert logit.isfinite().all()


def test_the_logit_is_the_formula():
    x = LEVELS.double() / 255
    shrunk = 1e-6 + (1 - 2e-6) * x
    got = to_model(LEVELS, options("logit_transform"))
    assert torch.allclose(got.double(), torch.logit(shrunk), rtol=1e-5, atol=0.05)
    middle = (LEVELS > 0) & (LEVELS < 255)
    assert torch.allclose(got.double()[middle], torch.logit(shrunk)[middle], atol=1e-4)


def test_noise_comes_from_the_generator_given():
    data = options("uniform_dequantization", "gaussian_dequantization")
    state = torch.get_rng_state()
    first = to_model(LEVELS, data, torch.Generator().manual_seed(1))
    again = to_model(LEVELS, data, torch.Generator().manual_seed(1))
    other = to_model(LEVELS, data, torch.Generator().manual_seed(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_way_back_clamps_and_keeps_precision():
    data = options("rescaled")
    x = torch.tensor([-3.0, -1.0, 0.5, 1.0, 9.0])
    assert to_unit(x, data).tolist() == [0, 0, 0.75, 1, 1]
    assert to_uint8(x, data).tolist() == [0, 0, 191, 255, 255]
    assert to_unit(x.double(), data).dtype == torch.float64
    assert torch.equal(to_uint8(to_model(LEVELS, data).half(), data), LEVELS)


def test_the_quantiser_is_save_images(tmp_path):
    import numpy as np
    from PIL import Image

    x = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    save_image(x, tmp_path / "x.png", padding=0)
    wanted = np.asarray(Image.open(tmp_path / "x.png")).transpose(2, 0, 1)
    assert np.array_equal(to_uint8(x, options()), wanted)


def test_two_scales_at_once_are_refused():
    data = options("rescaled", "logit_transform")
    with pytest.raises(ValueError, match="exclude each other"):
        to_model(LEVELS, data)
    with pytest.raises(ValueError, match="exclude each other"):
        to_uint8(LEVELS.float(), data)


def test_flips_are_whole_images_one_coin_each_from_the_global_generator():
    images = torch.arange(400 * 3 * 2 * 4).reshape(400, 3, 2, 4)
    torch.manual_seed(7)
    flipped = random_flip(images)
    torch.manual_seed(7)
    assert torch.equal(random_flip(images), flipped)
    turned = (flipped == images.flip(-1)).flatten(1).all(1)
    kept = (flipped == images).flatten(1).all(1)
    assert (turned ^ kept).all()
    assert 140 < turned.sum() < 260
