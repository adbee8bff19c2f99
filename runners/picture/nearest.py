"""--nearest: samples beside the training images that are nearest to them in feature space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from configs.command.options import Options, Picture
from configs.schema import Config, ConfigError
from datasets import get_dataset
from runners.machine.processes import Ranks
from runners.measure import evaluate, reference
from runners.measure.meter import Meter
from runners.picture.studio import Gallery, Studio
from runners.record import files
from runners.sampling.blocks import drawn
from runners.sheets.sheet import abreast, sheet

MOST = 32  # samples on the sheet
TYPICAL = 256  # training images that say how far apart training images are


def identity(config: Config, picture: Picture) -> dict[str, Any]:
    """Number of samples and neighbours. Raises ConfigError for more neighbours than a sheet holds
    beside each other.
    """
    size, count = config.data.image_size, picture.neighbours
    if count >= (most := abreast(size, f"nearest {count}")):
        raise ConfigError(
            f"--neighbours {count}: beside a sample, a sheet holds at most {most - 1} images of "
            f"{size} pixels"
        )
    return {"n_samples": config.sampling.n_samples, "neighbours": count}


def gallery(config: Config, options: Options, ranks: Ranks) -> Gallery:
    """The training images and the extractor of their features. Raises ConfigError where there are
    fewer images than neighbours.
    """
    dataset, _ = get_dataset(config, options.datasets)
    assert options.picture is not None
    count, most = options.picture.neighbours, min(len(dataset), reference.KEPT_FEATURES)
    if count > most:
        raise ConfigError(f"--neighbours {count}: only {most:,} training images are looked among")
    return Gallery(dataset, evaluate.extractor_for(config, dataset, options.cache, ranks))


def searched(gallery: Gallery) -> dict[str, Any]:
    """What decides which training images are near, for samples.json."""
    return {
        "dataset": gallery.dataset.name,
        "fingerprint": gallery.dataset.fingerprint(),
        "extractor": gallery.extractor.name,
        "extractor_sha256": gallery.extractor.hash,
    }


def draw(studio: Studio) -> list[Path]:
    """Write nearest.png, a row for every sample; nearest.json, indices and distances; the samples
    as {index}.png.
    """
    config, picture = studio.config, studio.picture
    assert studio.gallery is not None
    dataset, extractor = studio.gallery.dataset, studio.gallery.extractor
    meter = Meter(config, dataset, studio.options.cache, studio.ranks, extractor)
    count = config.sampling.n_samples
    parts = drawn(studio.drawer, config, range(count))
    images = torch.cat([images.cpu() for _, images in parts])
    split = iter(images.split(config.evaluation.batch_size))
    features, _ = reference.features_of(split, meter.extractor)
    found = meter.nearest(features, picture.neighbours)
    usual = _usual(meter)
    rows = [
        [image, *dataset.images([index for index, _ in near])]
        for image, near in zip(images[:MOST], found, strict=False)
    ]
    page = sheet(
        rows,
        top=["sample", *(f"nearest {k + 1}" for k in range(len(found[0])))],
        left=[f"image {index}" for index in range(len(rows))],
        below=[["", *(_short(distance) for _, distance in near)] for near in found[:MOST]],
        title=studio.title("Samples and their nearest training images"),
        note=_note(studio, len(meter.reference.features), usual),
        apart=((), (1,)),
    )
    record = {
        **searched(studio.gallery),
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
    path = studio.folder / "nearest.json"
    files.write_text(path, json.dumps(record, indent=1) + "\n")
    singles = [studio.save(f"{index}.png", image) for index, image in enumerate(images)]
    return [studio.save("nearest.png", page), path, *singles]


def _note(studio: Studio, looked: int, usual: float) -> str:
    """looked: among so many training images; usual: distance of two of them."""
    assert studio.gallery is not None
    count, every = studio.config.sampling.n_samples, len(studio.gallery.dataset)
    note = (
        "Below each training image: its distance from the sample in "
        f"{studio.gallery.extractor.name} features. Half of the training images have another one "
        f"within {_short(usual)}; a sample much nearer than that may be a copy."
    )
    if looked < every:
        note += f" Looked for among the first {looked:,} of {every:,} training images."
    if count > MOST:
        note += f" The first {MOST} of {count:,} samples."
    return note


def _usual(meter: Meter) -> float:
    """The median distance of some training images, from all over the set, from the nearest other
    one.
    """
    features = meter.reference.features
    some = features[:: max(1, len(features) // TYPICAL)]
    near = meter.nearest(some, 2)  # the nearest is the image itself
    return float(torch.tensor([found[-1][1] for found in near]).median())


def _short(distance: float) -> str:
    return f"{distance:#.3g}".rstrip(".")
