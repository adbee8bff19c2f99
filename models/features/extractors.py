"""Networks that turn images into features for the metrics.

Two of them: the Inception network of the published figures, and a small classifier trained on a
data set's own labels for machines or images that Inception does not suit. Every weights file is
read with ``weights_only=True`` and known by its SHA-256; what is not the published Inception file
carries another name, so that its figures are never called FID.
"""

import hashlib
import http.client
import io
import logging
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.checkpoint import digest, load, save
from models.features.small_net import SmallNet, fit, new_network

log = logging.getLogger("skip_step")

URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
OFFICIAL = "6726825d"  # first digits of the published file's SHA-256, as its name says
VERSION = 1  # of the classifier's architecture and training; another one trains anew


class Extractor(Protocol):
    """A fixed network from images to features.

    Called with uint8 images (n, C, H, W) on any device, answers with float32 features (n, dim)
    and class logits (n, K) or None, both on its own device. Never in training mode, never under
    autocast or TF32, and the same up to float32 rounding for every batch size.

    ``name`` is ``inception`` for the published weights only; ``hash`` is the weights' SHA-256.
    """

    name: str
    dim: int
    hash: str

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and logits; ValueError for images of another dtype or shape."""
        ...


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """No gradients, no autocast, no TF32: whatever training has switched on."""
    cudnn: Any = torch.backends.cudnn
    switches = (cudnn.conv, torch.backends.cuda.matmul)
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


def _require_images(images: Tensor, channels: tuple[int, ...]) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in channels:
        wanted = " or ".join(map(str, channels))
        raise ValueError(
            f"expected uint8 images (n, {wanted}, H, W), got {images.dtype} {tuple(images.shape)}"
        )


class Inception:
    """InceptionV3 of 2015-12-05 with TensorFlow's resizing, as torch-fidelity ports it.

    Grey images are repeated to three channels. 2048 features, and the 1008 logits without the
    bias of the last layer, which the inception score is defined by.
    """

    dim = 2048

    def __init__(self, network: nn.Module, sha256: str, device: torch.device) -> None:
        self.name = "inception" if sha256.startswith(OFFICIAL) else f"inception:{sha256[:8]}"
        self.hash = sha256
        self._network, self._device = network.to(device), device

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, 2048) and logits (n, 1008) of uint8 images with 1 or 3 channels."""
        _require_images(images, (1, 3))
        with _exact(self._device):
            features, logits = self._network(images.to(self._device).expand(-1, 3, -1, -1))
        return features, logits


def inception(weights: Path | None, device: torch.device | str) -> Inception:
    """Inception with torch-fidelity's weights file, or with a file of the same layout.

    Without ``weights`` the file is taken from PyTorch's download folder, or downloaded there;
    it must then be the published one. A file with another SHA-256 is accepted when given, under
    the name ``inception:`` and eight digits of it. Nothing in a file is ever executed.

    Raises FileNotFoundError for a missing file, OSError where the download fails, and ValueError
    for a file that is damaged or holds something else.
    """
    path = _published() if weights is None else Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such Inception weights file")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if weights is None and not found.startswith(OFFICIAL):
        raise ValueError(
            f"{path}: damaged, SHA-256 starts with {found[:8]} instead of {OFFICIAL}; "
            "delete it, or name another file by --inception_weights FILE"
        )
    return Inception(_inception_network(_tensors(content, path), path), found, torch.device(device))


def _published() -> Path:
    """Where torch-fidelity keeps its file; downloaded, checked and moved there if missing."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(URL).name
    if path.is_file():
        return path
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log.info("downloading %s to %s", URL, path)
        with urllib.request.urlopen(URL, timeout=20) as source:
            content = source.read()
        if not (found := hashlib.sha256(content).hexdigest()).startswith(OFFICIAL):
            raise OSError(f"SHA-256 {found[:8]} instead of {OFFICIAL}")
        partial.write_bytes(content)
        partial.replace(path)
    except (OSError, http.client.HTTPException) as err:
        raise OSError(
            f"no Inception weights ({err}): put {URL} at {path}, or name the file by "
            "--inception_weights FILE, or measure with --features classifier"
        ) from err
    finally:
        if partial.exists():
            partial.unlink()
    return path


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as err:  # damage shows in every way there is
        raise ValueError(f"{path}: not a readable file of PyTorch weights") from err
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path}: not a state dict, a name for every tensor was expected")
    return {str(name): value.detach() for name, value in state.items()}


def _inception_network(state: dict[str, Tensor], path: Path) -> nn.Module:
    """torch-fidelity's module on our tensors.

    Its constructor unpickles whatever file it is given, so it is given a copy in memory that we
    have just written from plain tensors. It also draws 24 million random weights first: the
    caller's generator is put back afterwards.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    copy = io.BytesIO()
    torch.save(state, copy)
    copy.seek(0)
    try:
        with torch.random.fork_rng(devices=[]):
            return FeatureExtractorInceptionV3(
                "inception-v3-compat",
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=copy,
            )
    except RuntimeError as err:
        raise ValueError(f"{path}: not the weights of torch-fidelity's InceptionV3") from err


class Classifier:
    """A trained :class:`SmallNet` as an extractor; ``accuracy`` is on images held out from it."""

    name = "classifier"

    def __init__(self, network: SmallNet, shape: tuple[int, ...], accuracy: float) -> None:
        self.dim, self.accuracy = network.dim, accuracy
        self.hash = digest(network.state_dict())
        self._network, self._shape = network.eval().requires_grad_(False), shape

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, dim) and logits (n, classes) of images shaped like the training images."""
        _require_images(images, (self._shape[0],))
        if tuple(images.shape[1:]) != self._shape:
            raise ValueError(f"expected images {self._shape}, got {tuple(images.shape[1:])}")
        device = self._network.head.weight.device
        with _exact(device):
            return self._network(images.to(device))


@torch.inference_mode(False)
def classifier(
    images: Tensor, labels: Tensor | None, cache: Path, device: torch.device | str, seed: int = 0
) -> Classifier:
    """Features of the data's own classes: trained once, then read from the folder ``cache``.

    ``images`` uint8 (n, C, H, W) with ``labels`` (n,), integers of any values. The file name
    carries a fingerprint of the data, the seed and this code's version, so other data never meets
    the wrong network; a damaged file is named in a warning and replaced. Training is a function
    of the arguments (and, in the last digits, of device and thread count) and leaves the caller's
    random state alone.

    Raises ValueError for data without labels, with one class only, or with fewer than 20 images.
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
    """Load the cached weights; the accuracy recorded with them."""
    state = load(path)
    try:
        if state["fingerprint"] != fingerprint:
            raise LookupError("other data")
        network.load_state_dict(state["weights"])
        return float(state["accuracy"])
    except (LookupError, TypeError, RuntimeError) as err:
        raise ValueError(f"{path}: not the classifier of these data") from err


def _classes(images: Tensor, labels: Tensor | None) -> Tensor:
    """Labels as 0..K-1, after all checks."""
    if labels is None:
        raise ValueError("--features classifier needs labelled images, this data set has no labels")
    _require_images(images, (images.shape[1] if images.ndim == 4 else 3,))
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise ValueError(f"expected {len(images)} integer labels, got {tuple(labels.shape)}")
    values, target = labels.cpu().long().unique(return_inverse=True)
    if len(images) < 20 or len(values) < 2:
        raise ValueError(
            "--features classifier needs at least 20 images of 2 classes, "
            f"got {len(images)} of {len(values)}"
        )
    return target
