"""--nearest: samples beside the training images that are nearest to them in feature space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from configs.options import Picture
from configs.schema import Config
from datasets import get_dataset
from runners import evaluate, rundir
from runners.draw import sheet
from runners.meter import Meter
from runners.pictures.studio import Studio
from runners.sample import drawn

TYPICAL = 256  # training images that say how far apart training images are


def identity(config: Config, picture: Picture) -> dict[str, Any]:
    """Number of samples and neighbours, and in which features they are near."""
    evaluation = config.evaluation
    return {
        "n_samples": config.sampling.n_samples,
        "neighbours": picture.neighbours,
        "features": evaluation.features,
        "inception_weights": evaluation.inception_weights,
        "dataset": config.data.dataset,
    }


def draw(studio: Studio) -> list[Path]:
    """Write nearest.png, a row for every sample; nearest.json, indices and distances; the samples
    as {index}.png.
    """
    config, picture = studio.config, studio.picture
    dataset, _ = get_dataset(config, studio.options.datasets)
    meter = Meter(config, dataset, studio.options.cache, studio.ranks)
    count = config.sampling.n_samples
    parts = drawn(studio.drawer, config, range(count))
    images = torch.cat([images.cpu() for _, images in parts])
    split = iter(images.split(config.evaluation.batch_size))
    features, _ = evaluate.features_of(split, meter.extractor)
    found = meter.nearest(features, picture.neighbours)
    usual = _usual(meter)
    rows = [
        [image, *dataset.images([index for index, _ in near])]
        for image, near in zip(images, found, strict=True)
    ]
    page = sheet(
        rows,
        top=["sample", *(f"nearest {k + 1}" for k in range(len(found[0])))],
        left=[f"image {index}" for index in range(count)],
        below=[["", *(_short(distance) for _, distance in near)] for near in found],
        title=studio.title("Samples and their nearest training images"),
        note=f"Below each training image: its distance from the sample in {meter.extractor.name} "
        f"features. Half of the training images have another one within {_short(usual)}; a sample "
        "much nearer than that may be a copy.",
        apart=((), (1,)),
    )
    record = {
        "extractor": meter.extractor.name,
        "extractor_sha256": meter.extractor.hash,
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint(),
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
    rundir.write_text(path, json.dumps(record, indent=1) + "\n")
    singles = [studio.save(f"{index}.png", image) for index, image in enumerate(images)]
    return [studio.save("nearest.png", page), path, *singles]


def _usual(meter: Meter) -> float:
    """The median distance of some training images from the nearest other one."""
    some = meter.reference.features[:TYPICAL]
    near = meter.nearest(some, 2)  # the nearest is the image itself
    return float(torch.tensor([found[-1][1] for found in near]).median())


def _short(distance: float) -> str:
    return f"{distance:#.3g}".rstrip(".")
