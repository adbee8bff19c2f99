"""--nearest: samples beside the training images that are nearest to them in feature space."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from configs.schema import Config, ConfigError
from configs.values import Count
from runners.measure import reference
from runners.measure.meter import Meter
from runners.picture.mode import Mode, Session
from runners.picture.parts import PICTURES
from runners.record import files
from runners.sheets.sheet import abreast, sheet

MOST = 32  # samples on the sheet
TYPICAL = 256  # training images that say how far apart training images are


@PICTURES.part(
    "nearest",
    title="Nearest training images",
    paper="",
    samples=8,
    helps={
        "": "n_samples [8] images beside their nearest training images",
        "neighbours": "number of training images beside every sample",
    },
)
@dataclass(frozen=True)
class NearestMode(Mode):
    """Samples beside training images. neighbours: number of training images per sample."""

    neighbours: Count = 5

    def identity(self, config: Config) -> dict[str, Any]:
        """The options and the number of samples. Raises ConfigError for more neighbours than a
        sheet holds beside each other.
        """
        size, count = config.data.image_size, self.neighbours
        if count >= (most := abreast(size, f"nearest {count}")):
            raise ConfigError(
                f"--neighbours {count}: beside a sample, a sheet holds at most {most - 1} images "
                f"of {size} pixels"
            )
        return super().identity(config)

    def sources(self, session: Session) -> dict[str, Any]:
        """Data set and feature extractor. Raises ConfigError for more neighbours than training
        images.
        """
        dataset, extractor = session.training_images.dataset, session.training_images.extractor
        most = min(len(dataset), reference.KEPT_FEATURES)
        if self.neighbours > most:
            raise ConfigError(
                f"--neighbours {self.neighbours}: only {most:,} training images are looked among"
            )
        return {
            "dataset": dataset.name,
            "fingerprint": dataset.fingerprint(),
            "extractor": extractor.name,
            "extractor_sha256": extractor.hash,
        }

    def draw(self, session: Session) -> list[Path]:
        """Write nearest.png, a row for every sample; nearest.json, indices and distances; the
        samples as {index}.png.
        """
        config, dataset = session.config, session.training_images.dataset
        extractor = session.training_images.extractor
        meter = Meter(config, dataset, session.options.cache, session.ranks, extractor)
        images = session.samples(config.sampling.n_samples)
        split = iter(images.split(config.evaluation.batch_size))
        features, _ = reference.features_of(split, extractor)
        found = meter.nearest(features, self.neighbours)
        usual = _usual(meter)
        rows = [
            [image, *dataset.images([index for index, _ in near])]
            for image, near in zip(images[:MOST], found, strict=False)
        ]
        made = sheet(
            rows,
            top=["sample", *(f"nearest {k + 1}" for k in range(len(found[0])))],
            left=[f"image {index}" for index in range(len(rows))],
            below=[["", *(_short(distance) for _, distance in near)] for near in found[:MOST]],
            title=session.title("Samples and their nearest training images"),
            note=_note(session, len(meter.reference.features), usual),
            apart=((), (1,)),
        )
        record = {
            **self.sources(session),
            "searched": len(meter.reference.features),
            "median_distance_within_training_images": usual,
            "neighbours": [
                {
                    "sample": index,
                    "training_images": [i for i, _ in near],
                    "distances": [distance for _, distance in near],
                }
                for index, near in enumerate(found)
            ],
        }
        path = session.folder / "nearest.json"
        files.write_text(path, json.dumps(record, indent=1) + "\n")
        singles = [session.save(f"{index}.png", image) for index, image in enumerate(images)]
        return [session.save("nearest.png", made), path, *singles]


def _note(session: Session, searched: int, usual: float) -> str:
    """Explain the numbers. searched: number of training images; usual: distance of two of them."""
    count, every = session.config.sampling.n_samples, len(session.training_images.dataset)
    note = (
        "Below each training image: its distance from the sample in "
        f"{session.training_images.extractor.name} features. Half of the training images have "
        f"another one within {_short(usual)}; a sample much nearer than that may be a copy."
    )
    if searched < every:
        note += f" Looked for among the first {searched:,} of {every:,} training images."
    if count > MOST:
        note += f" The first {MOST} of {count:,} samples."
    return note


def _usual(meter: Meter) -> float:
    """Median distance of training images, taken from all over the set, from their nearest other."""
    features = meter.reference.features
    some = features[:: max(1, len(features) // TYPICAL)]
    near = meter.nearest(some, 2)  # the nearest is the image itself
    return float(torch.tensor([found[-1][1] for found in near]).median())


def _short(distance: float) -> str:
    return f"{distance:#.3g}".rstrip(".")
