"""The meter: collects features of samples on every process, measures on the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs import imports
from configs.command.options import Options
from configs.schema import Config
from datasets import ImageDataset, get_dataset
from functions import metrics
from models.features import Extractor
from runners.machine.processes import Ranks
from runners.measure import evaluate, reference
from runners.measure.by_class import AGREEMENT, by_class, seen_classes
from runners.model.classes import labels_of

NEIGHBOURS = 8  # images of which the nearest training image is looked for
AT_ONCE = 256  # features whose distances from all training images are held in memory


class Meter:
    """Collects features of sampled batches and turns them into figures against real images.

    extractor: where the config's is open already.
    """

    def __init__(
        self,
        config: Config,
        dataset: ImageDataset,
        cache: Path,
        ranks: Ranks,
        extractor: Extractor | None = None,
    ) -> None:
        self.ranks, self.config, self.dataset = ranks, config, dataset
        self.extractor = extractor or evaluate.extractor_for(config, dataset, cache, ranks)
        self.reference = reference.reference_for(
            dataset, self.extractor, cache, config.evaluation.batch_size, ranks
        )
        self.parts: list[tuple[Tensor, Tensor, Tensor | None]] = []
        self.first = torch.empty(0)  # features of the first images of the last figures
        self.by_class: dict[str, Any] | None = None  # of the last figures

    def add(self, indices: Any, images: Tensor) -> None:
        """Collect features of uint8 images (n, C, H, W), with their image indices."""
        features, logits = reference.features_of(
            iter(images.split(self.config.evaluation.batch_size)), self.extractor
        )
        self.parts.append((torch.tensor(list(indices)), features, logits))

    def figures(self, classes: Sequence[int] = ()) -> dict[str, Any]:
        """Measure all processes' samples in the order of their indices; {} but on the first
        process. Forgets what was collected.

        classes: of the samples in turn, empty for samples without classes.
        """
        empty = torch.empty(0, self.extractor.dim)
        indices = self.ranks.gather(torch.cat([torch.empty(0).long(), *(p[0] for p in self.parts)]))
        features = self.ranks.gather(torch.cat([empty, *(p[1] for p in self.parts)]))
        scored = [p[2] for p in self.parts if p[2] is not None]
        width = torch.tensor([scored[0].shape[1] if scored else 0])
        columns = int(self.ranks.gather(width).max())  # a process may have had no image at all
        logits = (
            self.ranks.gather(torch.cat([torch.empty(0, columns), *scored])) if columns else None
        )
        self.parts = []
        if not self.ranks.first:
            return {}
        order = indices.argsort()
        features, logits = features[order], None if logits is None else logits[order]
        self.first = features[:NEIGHBOURS]
        found = evaluate.measure(
            features, logits, self.reference, self.extractor, self.config, self.ranks.device
        )
        return {**found, **self._by_class(classes, indices[order].tolist(), features, logits)}

    def _by_class(
        self,
        classes: Sequence[int],
        indices: Sequence[int],
        features: Tensor,
        logits: Tensor | None,
    ) -> dict[str, float]:
        """Keep the figures by class, and return how often a classifier sees the class asked for."""
        self.by_class = None
        if not classes:
            return {}
        trained = self.config.extractor().part.facts.needs_labels  # on these very classes
        seen = seen_classes(logits if trained else None, self.dataset.labels)
        asked, real = labels_of(classes, indices), self.reference.features
        self.by_class = by_class(asked, features, seen, self.dataset, real)
        overall = self.by_class.get("agreement")
        return {} if overall is None else {AGREEMENT: overall}

    def neighbours(self) -> list[tuple[int, float]]:
        """(index, feature distance) of the training image nearest to each of the first images."""
        return [found[0] for found in self.nearest(self.first, 1)]

    def nearest(self, features: Tensor, count: int) -> list[list[tuple[int, float]]]:
        """(index, feature distance) of the `count` training images nearest to each of the features
        (n, D), the nearest first. Looked for among those whose features are kept.
        """
        most = min(count, len(self.reference.features))
        rows: list[tuple[list[int], list[float]]] = []
        for part in features.split(AT_ONCE):
            found = torch.cdist(part, self.reference.features).topk(most, largest=False)
            rows += zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [list(zip(*row, strict=True)) for row in rows]

    def labels(self) -> dict[str, str]:
        """Label of every metric that is measured, by the metric's name."""
        count = self.config.sampling.n_samples
        logits = self.config.extractor().part.facts.gives_logits
        return {
            spec.name: metrics.label(spec.part.facts.label, self.extractor, count)
            for spec in evaluate.measured(self.config, logits)
        }

    def described(self) -> dict[str, Any]:
        """Data set, feature extractor and options of the metrics, as a record holds them."""
        count = self.config.sampling.n_samples
        specs = [self.config.extractor(), *self.config.metrics()]
        imported = imports.records(spec.part for spec in specs)
        options = {
            f"{spec.name}_{key}": value
            for spec in self.config.metrics()
            for key, value in spec.record.items()
        }
        if (size := options.get("kid_subset_size")) is not None:  # as many as there are
            real = len(self.reference.features)
            options["kid_subset_size"] = metrics.kid_subset_size(count, real, size)
        return {
            "dataset": self.dataset.name,
            "fingerprint": self.dataset.fingerprint(),
            "images": self.reference.n,
            "real_halves_distance": self.reference.split_distance,
            "same_size_distance": reference.same_size_distance(self.reference, count),
            "extractor": self.extractor.name,
            "extractor_sha256": self.extractor.hash,
            **options,
            **{f"{found['file']}_sha256": found["sha256"][:16] for found in imported},
        }


def open_meter(config: Config, options: Options, ranks: Ranks) -> Meter:
    """Open the meter of the config's data set and feature extractor."""
    dataset, _ = get_dataset(config, options.datasets)
    return Meter(config, dataset, options.cache, ranks)
