"""What every picture mode works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from configs.command.options import Options, Picture
from configs.schema import Config, specs
from datasets import ImageDataset
from datasets.transforms import to_uint8
from models.features import Extractor
from runners.machine.processes import Ranks
from runners.model.load import Model
from runners.record import image_files
from runners.sampling.drawer import Drawer
from runners.sampling.walk import Walk

NOTHING = "no step is walked: the images stay as they are"


@dataclass(frozen=True)
class Gallery:
    """Training images to look among, and the features in which they are near."""

    dataset: ImageDataset
    extractor: Extractor


@dataclass(frozen=True)
class Studio:
    """An open model with everything that a picture is made of. config: the command's, as `adopt`
    changed it; walk: the config's; walked: what the mode makes of it (`pictures.walked`), along
    which the drawer draws; folder: where the files go, claimed by this command already; gallery: of
    --nearest.
    """

    model: Model
    config: Config
    walk: Walk
    walked: Walk | None
    drawer: Drawer
    options: Options
    folder: Path
    ranks: Ranks
    gallery: Gallery | None = None

    @property
    def picture(self) -> Picture:
        """What the mode was told."""
        assert self.options.picture is not None
        return self.options.picture

    @property
    def caption(self) -> str:
        """What made the images, for titles: weights, sampler, steps, evaluations."""
        scale = specs.eps_scale(self.config.sampling.eps_scale)
        source = Path(self.options.use_pretrained or "").name
        name = source or self.options.doc or f"published {self.config.data.dataset}"
        parts = [name, str(self.walked or NOTHING), *([f"noise times {scale}"] if scale else [])]
        return ", ".join(parts)

    def title(self, shown: str) -> str:
        """What is shown, and below it what made it."""
        seed = "" if self.picture.seeds else f", seed {self.config.seed}"
        return f"{shown}\n{self.caption}{seed}"

    def uint8(self, images: Tensor) -> Tensor:
        """Data (n, C, H, W) as the files hold it, uint8 on the CPU."""
        return to_uint8(images, self.config.data).cpu()

    def save(self, name: str, picture: Image.Image | Tensor) -> Path:
        """Write a picture, or a uint8 image (C, H, W), below the folder; its path."""
        path = self.folder / name
        shown = image_files.to_picture(picture) if isinstance(picture, Tensor) else picture
        image_files.save(shown, path)
        return path


class Mode(Protocol):
    """A module that makes the pictures of one mode. It may have a `walked` like that of the
    package, where a picture is not made by the config's walk.
    """

    def identity(self, config: Config, picture: Picture, /) -> dict[str, Any]:
        """What decides the pictures beside weights and sampler, as JSON can hold it. Raises
        ConfigError, ValueError or OSError for what cannot be pictured: nothing is written yet.
        """

    def draw(self, studio: Studio, /) -> list[Path]:
        """Write the pictures; their files, the one to look at first in front."""
