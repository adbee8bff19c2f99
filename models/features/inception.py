"""Features of the Inception network, which published figures (FID, inception score) use."""

import hashlib
import http.client
import io
import logging
import os
import urllib.request
from pathlib import Path

import torch
from torch import Tensor, nn

from models.features.base import Images, exact, require_images
from models.parts import EXTRACTORS

log = logging.getLogger("skip_step")

URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
OFFICIAL = "6726825d"  # first digits of the published file's SHA-256, as its name says


class Inception:
    """InceptionV3 of 2015-12-05 with TensorFlow's resizing, as torch-fidelity ports it."""

    dim = 2048

    def __init__(self, network: nn.Module, sha256: str, device: torch.device) -> None:
        self.name = "inception" if sha256.startswith(OFFICIAL) else f"inception:{sha256[:8]}"
        self.hash = sha256
        self._network, self._device = network.to(device), device

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features (n, 2048) and logits (n, 1008) of uint8 images with 1 or 3 channels.

        Grey images are repeated to three channels. The logits are without the bias of the last
        layer, as the inception score is defined.
        """
        require_images(images, (1, 3))
        with exact(self._device):
            features, logits = self._network(images.to(self._device).expand(-1, 3, -1, -1))
        return features, logits


@EXTRACTORS.part(
    title="Inception network", paper="1512.00567", needs_labels=False, gives_logits=True
)
def inception(
    dataset: Images, cache: Path, device: torch.device | str, weights: str | None = None
) -> Inception:
    """Open the Inception network. weights: a file, or None for the published one."""
    return open_inception(None if weights is None else Path(weights), device)


def open_inception(weights: Path | None, device: torch.device | str) -> Inception:
    """Open the Inception network with a weights file of torch-fidelity's layout.

    weights: None for the published file, from PyTorch's download folder or downloaded to it. A file
    with another SHA-256 is accepted where it is named, and the extractor is then called
    `inception:` with eight digits of it. No code in a file is executed.

    Raises FileNotFoundError for a missing file, OSError where the download fails, and ValueError
    for a file that is damaged or holds something else.
    """
    path = _published() if weights is None else weights
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
    """Find torch-fidelity's file; download, check and move it there if it is missing."""
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
    """Read a state dict from the bytes of a file."""
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as err:  # damage shows in every way there is
        raise ValueError(f"{path}: not a readable file of PyTorch weights") from err
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path}: not a state dict, a name for every tensor was expected")
    return {str(name): value.detach() for name, value in state.items()}


def _inception_network(state: dict[str, Tensor], path: Path) -> nn.Module:
    """Make torch-fidelity's network with these weights, without a trace in the random state."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The constructor unpickles its file without weights_only, so it gets a copy of plain tensors.
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
