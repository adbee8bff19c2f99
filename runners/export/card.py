"""The model card of an export: README.md in the form of the Hugging Face hub."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from configs import papers
from configs.command.options import Options
from configs.values import show
from runners.export.scheduler import PIPELINE
from runners.model.load import Model
from runners.record.recipe import Recipe

log = logging.getLogger("skip_step")

LICENSE = "license: unknown  # whoever publishes this model chooses it"
STEPS = 50  # of the example, where the config says none


def card(model: Model, options: Options, files: Iterable[str]) -> str:
    """Write the card from the config, and from every eval.json below EXP/image_samples that
    measured images of these weights. files: names of the files beside it.
    """
    name = options.push_to_hub or options.doc or Path(options.export or "").name
    sections = {
        "Model": _model(model),
        "Use": _use(model, options, files),
        "Data and training": _training(model),
        "Figures": _figures(model, options),
        "License": ["Not chosen yet: whoever publishes this model names it in this file's head."],
        "Citation": ["```bibtex", *_citation(model), "```"],
    }
    lines = [*_head(model, options), f"# {name}"]
    for title, text in sections.items():
        lines += ["", f"## {title}", "", *text]
    return "\n".join(lines) + "\n"


def _head(model: Model, options: Options) -> list[str]:
    library = "diffusers" if options.layout == "diffusers" else "pytorch"
    tags = ["diffusion", f"process-{model.config.diffusion.process}", "skip-step"]
    classes = "class-conditional" if model.config.data.classes else "unconditional"
    return [
        "---",
        f"library_name: {library}",
        LICENSE,
        "pipeline_tag: unconditional-image-generation",
        "tags:",
        *(f"- {tag}" for tag in [*tags, classes]),
        "---",
    ]


def _model(model: Model) -> list[str]:
    config, found = model.config, model.weights
    size, how = config.data.image_size, config.diffusion
    parameters = sum(p.numel() for p in model.network.parameters())
    rows = {
        "images": f"{size}x{size}, {config.data.channels} channels",
        "network": f"{config.model.name}, {parameters:,} parameters",
        "process": ", ".join([how.process, *(f"{k} {show(v)}" for k, v in how.options.items())]),
        "the network predicts": how.predicts,
        "variance": config.model.var_type,
        "weights": f"{found.average}, SHA-256 {found.sha256}...",
    }
    return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]


def _use(model: Model, options: Options, files: Iterable[str]) -> list[str]:
    where = options.push_to_hub or Path(options.export or "").name
    lines: list[str] = []
    if options.layout == "diffusers":
        lines = ["```python", *_pipeline(model, where), "```", ""]
    folder = Path(options.export or "").name
    alone = next((name for name in files if name.endswith((".pt", ".pth"))), "")
    own = f"--use_pretrained {PurePosixPath(folder, alone)}"
    if options.layout != "safetensors":  # beside those weights the config is found
        own = f"--config {folder}/config.yml {own}"
    return [
        *lines,
        "In skip-step, from the folder that holds this one:",
        "",
        "```",
        f"python main.py {own} --sample --images --n_samples 16 --ni",
        "```",
    ]


def _pipeline(model: Model, where: str) -> list[str]:
    """Code that draws images in diffusers, as the config's DDPM or, by default, DDIM does."""
    config, sampler = model.config, model.config.sampler()
    only = config.diffusion.process == "flow" or config.model.var_type == "learned"
    name = PIPELINE if only or sampler.name == "ddpm" else "DDIMPipeline"
    told = {"num_inference_steps": config.sampling.timesteps or STEPS}
    if name == "DDIMPipeline":
        told["eta"] = sampler.options.get("eta", 0.0)
        if (
            sampler.clip and not sampler.clip.options["keep_eps"]
        ):  # the noise fits the clipped image
            told["use_clipped_model_output"] = True
    words = "".join(f", {key}={value}" for key, value in told.items())
    return [
        f"from diffusers import {name}",
        f'pipeline = {name}.from_pretrained("{where}")',
        f"images = pipeline(batch_size=4{words}).images",
        'images[0].save("image.png")',
    ]


def _training(model: Model) -> list[str]:
    config, found = model.config, model.weights
    data = config.data
    category = data.options.get("category")
    named = f"{data.dataset} ({category})" if category else data.dataset
    if found.config is None:
        source = Path(found.source).name
        return [
            f"The weights come from `{source}`, which does not say how they were trained; the "
            f"config they were exported with names the data set {named}."
        ]
    training, steps = config.training, found.step or 0
    seen = steps * training.images_per_update
    images = f"; {found.data['images']:,} training images" if found.data else ""
    return [
        f"Data set {named}{images}. {steps:,} updates of {training.images_per_update} images: "
        f"{seen:,} images seen. Loss {config.loss.name}, weight {training.weight}, times "
        f"{training.times}, {config.optim.optimizer} with learning rate {config.optim.lr:g}. "
        "The hardware was not recorded.",
        "",
        "`config.yml` holds every setting; a training with it is",
        "",
        "```",
        "python main.py --config config.yml --doc my_model --ni",
        "```",
    ]


def _figures(model: Model, options: Options) -> list[str]:
    rows, commands = [], []
    for record, recipe in _evaluations(options.exp / "image_samples", model.weights.sha256):
        sampler = f"{recipe.sampler['name']}, {recipe.grid}, {recipe.nfe or '?'} evaluations"
        for label, value in record["figures"].items():
            if value is not None:
                rows.append(f"| {label} | {value:.4g} | {record['n_samples']:,} | {sampler} |")
        commands.append(f"python {record['command']}")
    if not rows:
        return ["Not measured yet."]
    head = ["| figure | value | samples | sampler |", "|---|---|---|---|"]
    return [*head, *rows, "", "made by", "", "```", *dict.fromkeys(commands), "```"]


def _evaluations(folder: Path, sha256: str) -> Iterator[tuple[dict[str, Any], Recipe]]:
    """Records of the folders of samples that these weights drew, by name."""
    for path in sorted(folder.rglob("eval.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            recipe = Recipe.from_json(record)
        except ValueError as err:
            log.warning("%s is left out of the card: %s", path, err)
            continue
        if recipe.weights == sha256 and {"figures", "n_samples", "command"} <= record.keys():
            yield record, recipe


def _citation(model: Model) -> Iterator[str]:
    """BibTeX of the papers behind the parts that the config names."""
    found = {p.facts.paper: p.facts.bibtex for p in model.config.parts() if p.facts.paper}
    for number, own in found.items():
        yield papers.bibtex(number, "" if number in papers.entries() else own)
