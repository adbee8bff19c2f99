"""scheduler_config.json of diffusers: the process, the prediction and how images are drawn."""

from __future__ import annotations

import math
from typing import Any

from configs.schema import Config
from functions.process import VP, Process

# Pipelines of diffusers look at their scheduler only: this one keeps that of the folder, and
# DDIMPipeline makes a DDIMScheduler of it.
PIPELINE = "DDPMPipeline"
_PREDICTS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
_VARIANCES = {"large": "fixed_large", "small": "fixed_small", "learned": "learned_range"}
_SPACINGS = {"uniform": "leading", "ddim_uniform": "leading", "trailing": "trailing"}
_SCHEDULES = {"linear": "linear", "quad": "scaled_linear", "cosine": "squaredcos_cap_v2"}


def scheduler(config: Config, process: Process) -> dict[str, Any]:
    """The scheduler of a process that `programs.refuse` lets through: DDPMScheduler, which
    DDIMPipeline turns into its own, or FlowMatchEulerDiscreteScheduler.
    """
    if not isinstance(process, VP):
        flow = {"num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": False}
        return {"_class_name": "FlowMatchEulerDiscreteScheduler", **flow}
    how = config.diffusion
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": process.steps,
        **_betas(config, process),
        "prediction_type": _PREDICTS[how.predicts],
        "variance_type": _VARIANCES[variance(config)],
        **_clip(config),
        "timestep_spacing": _SPACINGS.get(config.grid().name, "leading"),
        "steps_offset": 0,
    }


def variance(config: Config) -> str:
    """Variance of DDPM's steps: the network's where it answers one, else that of the sampler."""
    own = config.model.var_type.removeprefix("fixed")
    spec = config.sampler()
    return spec.options["variance"] if spec.name == "ddpm" and own != "learned" else own


def _clip(config: Config) -> dict[str, Any]:
    """How the expected clean image is kept in range; keep_eps is an argument of pipelines."""
    spec = config.sampler().clip
    how = spec.build(**spec.options) if spec else None
    if how is None or how.ratio is None:
        bound = 1.0 if how is None else how.bound
        return {"clip_sample": how is not None, "clip_sample_range": bound, "thresholding": False}
    most = how.most if math.isfinite(how.most) else 1e6  # JSON has no infinity
    return {
        "clip_sample": False,
        "thresholding": True,
        "dynamic_thresholding_ratio": how.ratio,
        "sample_max_value": most,
    }


def _betas(config: Config, process: VP) -> dict[str, Any]:
    """The noise schedule by name where DDPMScheduler and DDIMScheduler have the formula, else as a
    list of betas.
    """
    how = config.diffusion.options
    if name := _SCHEDULES.get(str(how["schedule"])):
        ends = {key: how[key] for key in ("beta_start", "beta_end")}
        return {"beta_schedule": name, **ends, "rescale_betas_zero_snr": how["rescale_zero_snr"]}
    return {"trained_betas": process.betas.tolist()}
