"""Clips from the config to the images."""

import pytest
import torch

from configs.schema import ConfigError, load
from runners.model.load import Model
from runners.sampling.drawer import drawer_for
from runners.sampling.walk import walk_for


class Toy(torch.nn.Module):
    def forward(self, x, t, label=None):
        return 0.4 * x


def drawn(clip, sampler="ddim"):
    """Images of a toy network under a clip, on the digits' process."""
    keys = {"sampling.clip": clip, "sampling.sample_type": sampler}
    if sampler != "rk45":
        keys["sampling.timesteps"] = "5"
    config = load("digits.yml", [*keys.items()])
    process = config.process()
    model = Model(config, process, Toy(), None)
    return drawer_for(model, config, walk_for(config, process), torch.device("cpu"))([0, 1])


def test_every_clip_draws_images_of_its_own():
    clips = ["false", "true", "dynamic:0.8", "static:keep_eps=true", "dynamic:0.8:keep_eps=true"]
    images = [drawn(clip) for clip in clips]
    for i, one in enumerate(images):
        assert all((one - other).abs().max() > 1e-3 for other in images[:i]), clips[i]
    assert all(image.abs().max() <= 1 + 1e-6 for image in images[1:3])
    assert torch.equal(drawn("static"), images[1])


@pytest.mark.parametrize("sampler", ["ddpm", "dpm_single", "rk45"])
def test_a_clip_that_keeps_the_noise_needs_a_sampler_that_asks_for_it(sampler):
    with pytest.raises(ConfigError, match="keeps the predicted noise, .* take ddim, or leave"):
        drawn("static:keep_eps=true", sampler)


def test_a_malformed_clip_is_refused():
    with pytest.raises(ConfigError, match="sampling.clip: .*dynamic"):
        drawn("dynamik")
    with pytest.raises(ConfigError, match="sampling.clip: ratio '2' is not valid"):
        drawn("dynamic:2")
