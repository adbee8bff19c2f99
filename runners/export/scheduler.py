"""scheduler_config.json of diffusers: the process, the prediction and how images are drawn."""

from __future__ import annotations

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
        **_clips(config),
        "timestep_spacing": _SPACINGS.get(config.grid().name, "leading"),
        "steps_offset": 0,
        "rescale_betas_zero_snr": how.options["rescale_zero_snr"],
    }


def _clips(config: Config) -> dict[str, Any]:
    """How the predicted clean image is kept in range."""
    if (spec := config.sampler().clip) is None:
        return {"clip_sample": False, "thresholding": False}
    clip = spec.build(**spec.options)
    if clip.ratio is None:
        return {"clip_sample": True, "clip_sample_range": clip.bound, "thresholding": False}
    return {
        "clip_sample": False,
        "thresholding": True,
        "dynamic_thresholding_ratio": clip.ratio,
        "sample_max_value": min(clip.most, 1e9),  # JSON has no infinity
    }


def variance(config: Config) -> str:
    """Variance of DDPM's steps: the network's where it answers one, else that of the sampler."""
    own = config.model.var_type.removeprefix("fixed")
    spec = config.sampler()
    return spec.options["variance"] if spec.name == "ddpm" and own != "learned" else own


def _betas(config: Config, process: VP) -> dict[str, Any]:
    """The noise schedule by name where DDPMScheduler and DDIMScheduler have the formula, else as a
    list of betas.
    """
    how = config.diffusion.options
    if name := _SCHEDULES.get(str(how["schedule"])):
        return {"beta_schedule": name, **{key: how[key] for key in ("beta_start", "beta_end")}}
    return {"trained_betas": process.betas.tolist()}
