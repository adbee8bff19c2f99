"""Features of a small classifier that is trained on the data's own labels.

For images that the Inception network does not suit, and for machines that it is too heavy for.
"""

import logging
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import digest, load, save
from models.features.base import Images, exact, require_images
from models.features.small_net import SmallNet, fit, new_network
from models.parts import EXTRACTORS

log = logging.getLogger("skip_step")

VERSION = 1  # of the network and its training; with another version it is trained anew


class Classifier:
    """A trained `SmallNet` as an extractor. accuracy: on images held out from its training."""

    name = "classifier"

    def __init__(self, network: SmallNet, shape: tuple[int, ...], accuracy: float) -> None:
        self.dim, self.accuracy = network.dim, accuracy
        self.hash = digest(network.state_dict())
        self._network, self._shape = network.eval().requires_grad_(False), shape

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features (n, dim) and logits (n, classes); images: shaped as in training."""
        require_images(images, (self._shape[0],))
        if tuple(images.shape[1:]) != self._shape:
            raise ValueError(f"expected images {self._shape}, got {tuple(images.shape[1:])}")
        device = self._network.head.weight.device
        with exact(device):
            return self._network(images.to(device))


@EXTRACTORS.part(
    title="classifier trained on the data's own labels",
    paper="",
    needs_labels=True,
    gives_logits=True,
)
def classifier(dataset: Images, cache: Path, device: torch.device | str) -> Classifier:
    """Train the classifier on a data set, or read it from `cache`. ValueError without labels."""
    if dataset.labels is None:
        raise ValueError(
            f"--features classifier needs labels, and data set {dataset.name} has none; put "
            "each class into a sub-folder of its own, or use --features inception"
        )
    return train_classifier(dataset.images(range(len(dataset))), dataset.labels, cache, device)


@torch.inference_mode(False)
def train_classifier(
    images: Tensor, labels: Tensor, cache: Path, device: torch.device | str, seed: int = 0
) -> Classifier:
    """Train the classifier once; afterwards read it from the folder `cache`.

    images: uint8 (n, C, H, W); labels: (n,), any integers. The file's name holds a fingerprint of
    the data, the seed and VERSION, so other data get another file; a damaged file is named in a
    warning and replaced. The weights are a function of the arguments (up to rounding that depends
    on device and number of threads). The caller's random state does not change.

    Raises ValueError for labels that do not fit, for one class only, and for fewer than 20 images.
    """
    target = _classes(images, labels)
    fingerprint = digest([VERSION, seed, images, target])
    shape, classes = tuple(images.shape[1:]), int(target.max()) + 1
    path = Path(cache) / f"classifier-{fingerprint[:16]}.pt"
    if path.exists():
        network = new_network(shape, classes, seed)
        try:
            accuracy = _read(path, fingerprint, network)
            return Classifier(network.to(device), shape, accuracy)
        except ValueError as err:
            log.warning("%s; training the classifier anew", err)
    log.info("training the feature classifier on %d labelled images", len(images))
    network = new_network(shape, classes, seed).to(device)
    accuracy = fit(network, images, target, seed)
    log.info("feature classifier: %.1f %% right on held-out images; %s", 100 * accuracy, path)
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    state = {"fingerprint": fingerprint, "version": VERSION, "accuracy": accuracy}
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, {**state, "weights": weights})
    return Classifier(network, shape, accuracy)


def _read(path: Path, fingerprint: str, network: SmallNet) -> float:
    """Load cached weights into the network, and return the accuracy recorded with them."""
    state = load(path)
    try:
        if state["fingerprint"] != fingerprint:
            raise LookupError("other data")
        network.load_state_dict(state["weights"])
        return float(state["accuracy"])
    except (LookupError, TypeError, RuntimeError) as err:
        raise ValueError(f"{path}: not the classifier of these data") from err


def _classes(images: Tensor, labels: Tensor) -> Tensor:
    """Check images and labels, and number the classes from 0 to K - 1."""
    require_images(images, (images.shape[1] if images.ndim == 4 else 3,))
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise ValueError(f"expected {len(images)} integer labels, got {tuple(labels.shape)}")
    values, target = labels.cpu().long().unique(return_inverse=True)
    if len(images) < 20 or len(values) < 2:
        raise ValueError(
            "--features classifier needs at least 20 images of 2 classes, "
            f"got {len(images)} of {len(values)}"
        )
    return target
