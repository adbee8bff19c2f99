"""Layouts of an export: the files of each, and what each can express."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from configs.schema import Config, ConfigError, dump
from models import interop
from models.interop import adm_diffusers, diffusers
from runners.export.programs import ELSEWHERE, refuse
from runners.export.scheduler import PIPELINE, scheduler
from runners.model.load import Model

# Name of a file in the folder -> its content: text, or what torch.save or safetensors write.
Files = dict[str, Any]


def write(files: Files, folder: Path) -> None:
    """Write the files of an export. The suffix says how: weights in .safetensors are tensors and
    the header that goes with them.
    """
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif path.suffix == ".safetensors":
            save_file(content[0], path, content[1])
        else:
            torch.save(content, path)


def to_diffusers(model: Model) -> Files:
    """A folder that DDPMPipeline and, but for flows and learned variances, DDIMPipeline open."""
    refuse(model.config, "diffusers")
    config, weights = _unet(model)
    steps = scheduler(model.config, model.process)
    index = {
        "_class_name": PIPELINE,
        "scheduler": ["diffusers", steps["_class_name"]],
        "unet": ["diffusers", "UNet2DModel"],
    }
    return {
        "model_index.json": _json(index),
        "scheduler/scheduler_config.json": _json(steps),
        "unet/config.json": _json(config),
        "unet/diffusion_pytorch_model.safetensors": (weights, _header(model)),
        "config.yml": dump(portable(model.config)),
    }


def to_ddim(model: Model) -> Files:
    """A ckpt.pth that the DDIM repository samples from: [model, optimizer, epoch, step, average],
    the weights both as the model, behind DataParallel's prefix, and as its average.
    """
    refuse(model.config, "ddim")
    weights = interop.export(model.network, "ddim")
    wrapped = {f"module.{key}": tensor for key, tensor in weights.items()}
    content = [wrapped, {}, 0, model.weights.step or 0, weights]
    return {"ckpt.pth": content, "config.yml": dump(portable(model.config))}


def to_adm(model: Model) -> Files:
    """A state dict under the name that guided-diffusion's trainer gives it."""
    refuse(model.config, "adm")
    averages = [f"ema {average}" for average in model.config.model.averages]
    rates = dict(zip(averages, model.config.ema_rates, strict=True))
    step, average = model.weights.step or 0, model.weights.average
    kind = f"ema_{rates[average]:.6g}_" if average in rates else "ema_"
    name = f"{kind if average.startswith('ema') else 'model'}{step:06d}"
    weights = interop.export(model.network, "adm")
    return {f"{name}.pt": weights, "config.yml": dump(portable(model.config))}


def to_safetensors(model: Model) -> Files:
    """The weights under our own names and the config: everything that `--use_pretrained FOLDER`
    needs. Holds any model.
    """
    weights = {
        key: tensor.detach().clone(memory_format=torch.contiguous_format)
        for key, tensor in model.network.state_dict().items()
    }
    return {
        "model.safetensors": (weights, _header(model)),
        "config.yml": dump(portable(model.config)),
    }


LAYOUTS: Mapping[str, Callable[[Model], Files]] = {
    "diffusers": to_diffusers,
    "ddim": to_ddim,
    "adm": to_adm,
    "safetensors": to_safetensors,
}


def portable(config: Config) -> Config:
    """The config without what an export leaves behind: paths of this machine, the guide, and which
    checkpoint and average it was.
    """
    data = config.data.model_copy(update={"path": None, "test_path": None})
    local = {"ckpt_id": None, "ema": None, "ema_length": None, "guide": None}
    if config.sampling.guide is not None:
        local["guidance"] = None
    sampling = config.sampling.model_copy(update=local)
    evaluation = config.evaluation.model_copy(update={"inception_weights": None})
    update = {"data": data, "sampling": sampling, "evaluation": evaluation}
    return config.model_copy(update=update)


def _unet(model: Model) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """config.json of UNet2DModel, and its weights. Raises ConfigError where it lacks a layer."""
    name, options = model.config.model.name, model.config.model.options
    try:
        if name == "adm":
            weights = interop.export(model.network, "adm")
            return adm_diffusers.unet_config(options), adm_diffusers.unet_weights(options, weights)
        return diffusers.unet_config(options), interop.export(model.network, "diffusers")
    except ValueError as err:
        text = " ".join(str(err).split())
        raise ConfigError(f"model.{text}; {ELSEWHERE}") from err


def _header(model: Model) -> dict[str, str]:
    """Header of a safetensors file: that the tensors are PyTorch's, and which weights they are."""
    found = model.weights
    step = {} if found.step is None else {"step": str(found.step)}
    return {"format": "pt", "average": found.average, **step}


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
