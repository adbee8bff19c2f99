"""`scheduler_config.json` of diffusers: process, prediction and variance that a network was trained
for. Of its sampling (steps, spacing, clipping) nothing is taken over.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FILE = "scheduler_config.json"
_PREDICTS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
_SCHEDULES = {  # diffusers' name of a noise schedule: ours
    **{"linear": "linear", "scaled_linear": "quad", "squaredcos_cap_v2": "cosine"},
    "sigmoid": "sigmoid",
}
_VARIANCES = {
    **{"fixed_small": "fixedsmall", "fixed_small_log": "fixedsmall"},
    **{"fixed_large": "fixedlarge", "fixed_large_log": "fixedlarge"},
    "learned_range": "learned",
}
_DISCRETE = {  # schedulers of the discrete variance-preserving process
    *("DDPMScheduler", "DDPMParallelScheduler", "DDIMScheduler", "DDIMParallelScheduler"),
    *("PNDMScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"),
    *("UniPCMultistepScheduler", "DEISMultistepScheduler", "HeunDiscreteScheduler"),
    *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler"),
}
_EDM = {"EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"}
_FLOW = {"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"}


def find(folder: Path, weights: Path) -> Path | None:
    """The scheduler's file of a diffusers folder whose network lies in `weights`; None where the
    network lies there alone. Raises FileNotFoundError for a pipeline without one.
    """
    places = (folder / "scheduler" / FILE, folder / FILE, weights.parent / "scheduler" / FILE)
    found = next((place for place in places if place.is_file()), None)
    if found is None and (weights != folder or (folder / "model_index.json").is_file()):
        raise FileNotFoundError(f"{places[0]}: a diffusers pipeline holds one; it is missing")
    return found


def read(file: Path) -> dict[str, Any]:
    """Tell "diffusion", the keys of a config's section, "var_type" or None, and "asks": flags with
    which its own pipeline samples. Raises ValueError for a scheduler that no process here equals.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        name = str(config["_class_name"])
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f"{file}: not the config of a scheduler of diffusers ({err!r})") from err
    try:
        if name in _FLOW or config.get("use_flow_sigmas") is True:
            return _flow(config)
        if name in _EDM:
            return _edm(config)
        if name in _DISCRETE:
            return _discrete(config)
    except (ValueError, TypeError) as err:
        raise ValueError(f"{file}: {name}: {err}") from err
    raise ValueError(f"{file}: {name} belongs to no process of this program")


def _told(diffusion: dict[str, Any], var_type: str | None = None, *asks: str) -> dict[str, Any]:
    return {"diffusion": diffusion, "var_type": var_type, "asks": list(asks)}


def _flow(config: Mapping[str, Any]) -> dict[str, Any]:
    _need(config, num_train_timesteps=1000, invert_sigmas=False)
    shift = config.get("shift", config.get("flow_shift", 1.0))
    asks = [] if shift in (1, None) else [f"--skip_type shifted:{shift:g}"]
    how = {"process": "flow", "predicts": "velocity", "time": "1000t"}
    return _told(how, None, *asks)


def _edm(config: Mapping[str, Any]) -> dict[str, Any]:
    _need(config, prediction_type="epsilon")  # so it calls EDM's own preconditioned answer
    numbers = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
    own = {key: config.get(key, value) for key, value in numbers.items()}
    return _told({"process": "edm", "predicts": "edm", **own})


def _discrete(config: Mapping[str, Any]) -> dict[str, Any]:
    predicts = _one_of(_PREDICTS, config, "prediction_type", "epsilon")
    kind = config.get("variance_type")
    var_type = None if kind is None else _one_of(_VARIANCES, config, "variance_type", None)
    asks = _clips(config) if str(config["_class_name"]).startswith(("DDPM", "DDIM")) else []
    how = {"process": "vp", "predicts": predicts, **_betas(config)}
    if config.get("rescale_betas_zero_snr"):
        how["rescale_zero_snr"] = True
    return _told(how, var_type, *asks)


def _clips(config: Mapping[str, Any]) -> list[str]:
    """The flag that clips as DDPMScheduler and DDIMScheduler do with these keys."""
    if config.get("thresholding"):
        numbers = config.get("dynamic_thresholding_ratio", 0.995), config.get("sample_max_value", 1)
        return ["--sampling.clip dynamic:{:g}:{:g}".format(*numbers)]
    if not config.get("clip_sample", True):
        return []
    bound = config.get("clip_sample_range", 1.0)
    return [f"--sampling.clip {'true' if bound == 1 else f'static:{bound:g}'}"]


def _betas(config: Mapping[str, Any]) -> dict[str, Any]:
    """Our noise schedule of the same betas. Raises ValueError where none has them."""
    if (trained := config.get("trained_betas")) is not None:
        return _equal(np.asarray(trained, dtype=np.float64))
    default = {"beta_start": 0.0001, "beta_end": 0.02}
    ends = {key: config.get(key, value) for key, value in default.items()}
    schedule = _one_of(_SCHEDULES, config, "beta_schedule", "linear")
    steps = config.get("num_train_timesteps", 1000)
    return {"schedule": schedule, "steps": steps, **({} if schedule == "cosine" else ends)}


def _equal(betas: np.ndarray) -> dict[str, Any]:
    """The schedule among linear, quad, const, jsd and sigmoid with these betas, to six digits."""
    if betas.ndim != 1 or not len(betas):
        raise ValueError("trained_betas should be a list of numbers")
    steps, ends = len(betas), (float(betas[0]), float(betas[-1]))
    roots = np.sqrt(np.abs(ends))
    share = 1 / (1 + np.exp(-np.linspace(-6, 6, steps)))
    slope = (ends[1] - ends[0]) / max(share[-1] - share[0], 1e-9)
    bottom = ends[0] - slope * share[0]
    named = {
        "const": np.full(steps, ends[1]),
        "linear": np.linspace(*ends, steps),
        "quad": np.linspace(roots[0], roots[1], steps) ** 2,
        "jsd": 1 / np.linspace(steps, 1, steps),
        "sigmoid": bottom + slope * share,
    }
    for schedule, values in named.items():
        if np.allclose(betas, values, rtol=1e-6, atol=0):
            both = {"beta_start": min(ends), "beta_end": ends[1]}
            if schedule == "sigmoid":
                both = {"beta_start": float(bottom), "beta_end": float(bottom + slope)}
            return {"schedule": schedule, "steps": steps, **({} if schedule == "jsd" else both)}
    raise ValueError("trained_betas belong to no noise schedule of this program")


def _one_of(known: Mapping[str, str], config: Mapping[str, Any], key: str, default: Any) -> str:
    value = config.get(key, default)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{key} is {value!r}; it should be one of {', '.join(known)}")
    return known[value]


def _need(config: Mapping[str, Any], **wants: Any) -> None:
    """Check keys that have one value here, their default there."""
    for key, value in wants.items():
        if (found := config.get(key, value)) not in (value, None):
            raise ValueError(f"{key} is {found!r}; this program has {value!r} only")
