"""Base class of picture modes, and what a mode draws with.

A mode is one class in one file, registered in PICTURES. The annotated parameters of its constructor
are its options, and the command line has a flag for each of them:

    @PICTURES.part("mean", title="Mean image", paper="", samples=64,
                   helps={"": "the mean of n_samples [64] images"})
    class Mean(Mode):
        def draw(self, session: Session) -> list[Path]:
            images = session.samples(session.config.sampling.n_samples)
            return [session.save("mean.png", images.float().mean(0).byte())]
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from configs.command.options import Options
from configs.parts import require
from configs.schema import Config
from datasets import ImageDataset, get_dataset
from datasets.transforms import to_uint8
from functions.process import Process
from models.features import Extractor
from runners.machine.processes import Ranks
from runners.measure import evaluate
from runners.model.load import Model
from runners.picture.parts import PICTURES
from runners.record import image_files
from runners.sampling.blocks import drawn
from runners.sampling.drawer import Drawer
from runners.sampling.walk import NO_STEP, Walk
from runners.sheets.film import animation


@dataclass(frozen=True)
class TrainingImages:
    """Training images, and the features in which they are compared with samples."""

    dataset: ImageDataset
    extractor: Extractor


@dataclass(frozen=True)
class Session:
    """An open model, and where its pictures go.

    walk: the config's; walked: the walk that the mode makes of it (None: no step), along which
    `drawer` draws. folder: of the files, claimed by this command before a mode draws.
    """

    model: Model
    walk: Walk
    walked: Walk | None
    drawer: Drawer
    options: Options
    folder: Path
    ranks: Ranks

    @property
    def config(self) -> Config:
        """The command's config with the model's own network, process and scaling."""
        return self.model.config

    @property
    def process(self) -> Process:
        """The model's process."""
        return self.model.process

    @cached_property
    def training_images(self) -> TrainingImages:
        """The training images and the config's feature extractor, opened when first asked for."""
        dataset, _ = get_dataset(self.config, self.options.datasets)
        extractor = evaluate.extractor_for(self.config, dataset, self.options.cache, self.ranks)
        return TrainingImages(dataset, extractor)

    @property
    def caption(self) -> str:
        """Weights, sampler, steps and evaluations, for titles."""
        scale = self.config.scale()
        source = Path(self.options.use_pretrained or "").name
        name = source or self.options.doc or f"published {self.config.data.dataset}"
        parts = [name, str(self.walked or NO_STEP), *([f"noise times {scale}"] if scale else [])]
        if guidance := self.config.guidance():
            guide = self.config.sampling.guide
            parts.append(f"guidance {guidance}{f' from {guide}' if guide else ''}")
        return ", ".join(parts)

    def title(self, shown: str, seeded: bool = True) -> str:
        """Title of a sheet: the subject, and below it the caption. seeded: with the seed."""
        seed = f", seed {self.config.seed}" if seeded else ""
        return f"{shown}\n{self.caption}{seed}"

    def samples(self, images: int | Sequence[int]) -> Tensor:
        """Draw plain samples, uint8 (n, C, H, W) on the CPU: of these indices, or the first ones of
        a number.
        """
        indices = range(images) if isinstance(images, int) else images
        parts = drawn(self.drawer, self.config, indices)
        return torch.cat([images.cpu() for _, images in parts])

    def uint8(self, images: Tensor) -> Tensor:
        """Turn data (n, C, H, W) into pixels, uint8 on the CPU."""
        return to_uint8(images, self.config.data).cpu()

    def save(self, name: str, picture: Image.Image | Tensor) -> Path:
        """Write a picture, or a uint8 image (C, H, W), below the folder. Return its path."""
        path = self.folder / name
        shown = image_files.to_picture(picture) if isinstance(picture, Tensor) else picture
        image_files.save(shown, path)
        return path

    def film(self, name: str, frames: Sequence[Image.Image], **times: int) -> list[Path]:
        """Write a film as NAME.gif and NAME.webp; times: as `animation` takes them. Return both."""
        paths = [self.folder / f"{name}.{suffix}" for suffix in ("gif", "webp")]
        for path in paths:
            animation(path, frames, **times)
        return paths


class Mode(ABC):
    """One way to picture a model. The constructor refuses wrong options by a ValueError whose text
    begins with the flag at fault ("--size 4: ..."), or follows the mode's own ("needs ...").
    """

    def __post_init__(self) -> None:
        """Check the options of a dataclass against their annotations."""
        require(type(self), **vars(self))

    @property
    def name(self) -> str:
        """The name under which the mode is registered."""
        return next(name for name, build in PICTURES.items() if build is type(self))

    def identity(self, config: Config) -> dict[str, Any]:
        """Collect what decides the pictures beside weights and sampler, as JSON can hold it: the
        options, and the number of images where it counts.

        Raises ConfigError or OSError for what cannot be pictured, before anything is written.
        """
        counted = PICTURES.parts[self.name].facts.samples is not None
        count = {"n_samples": config.sampling.n_samples} if counted else {}
        return {**count, **json.loads(json.dumps(vars(self), default=str))}

    def sources(self, session: Session) -> dict[str, Any]:
        """Collect the rest of the identity: what only an open session can tell."""
        return {}

    def walked(self, config: Config, process: Process, walk: Walk) -> Walk | None:
        """Make the walk of the pictures of the config's walk; None: no step at all. Raises
        ConfigError for a walk that does not suit the mode.
        """
        return walk

    @abstractmethod
    def draw(self, session: Session) -> list[Path]:
        """Write the pictures. Return their paths, the one to look at first."""
