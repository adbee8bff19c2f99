"""Everything that decides what image i looks like, for samples.json."""

from __future__ import annotations

from typing import Any

from configs.schema import Config, specs
from runners.model.load import scaling_of
from runners.sampling.walk import Walk


def made_by_of(config: Config, walk: Walk, device_type: str) -> dict[str, Any]:
    """Everything beside the weights that decides what image i looks like, for samples.json."""
    sampler, sampling = config.sampler(), config.sampling
    made_by = {
        "sampler": {"name": sampler.name, **sampler.record, "clip": sampler.clip},
        "sample_type": walk.sampler,
        "grid": walk.grid,
        "timesteps": walk.asked,
        "nfe": walk.plan.nfe,
        "seed": config.seed,
        "precision": sampling.precision,
        "tf32": config.training.tf32,
        "device_type": device_type,
        "scaling": scaling_of(config),
        "quantiser": "uint8, 255 x rounded half up",
    }
    if scale := specs.eps_scale(sampling.eps_scale):
        made_by["eps_scale"] = {"name": scale.name, **scale.record}
    return made_by
