"""Names of weights in the layouts of other programs."""

import re

import torch
from torch import Tensor, nn

from configs.values import either
from models.interop.diffusers import diffusers_name, modern_name
from models.parts import NETWORKS

# layout: the networks of this program that its weights belong to
NETWORKS_OF = {
    **{"ddim": ("ddpm",), "diffusers": ("ddpm",), "adm": ("adm",), "torchcfm": ("adm",)},
    **{"score_sde": ("ncsnpp",), "edm": ("song", "dhariwal"), "edm2": ("edm2",), "dit": ("dit",)},
    "ncsnpp": ("ncsnpp",),  # this program's own names
}
_PREFIXES = re.compile(r"^(module\.|_orig_mod\.)+")  # of DataParallel, DDP and torch.compile


def load_foreign(network: nn.Module, state_dict: dict[str, Tensor], layout: str = "ddim") -> None:
    """Copy weights into a network of this program. layout: of their names, a key of `NETWORKS_OF`.

    Prefixes of wrappers ("module.", "_orig_mod.") are ignored. Raises ValueError, which counts and
    names them, for weights that are missing, unknown or of another shape; nothing is copied then.
    """
    names = _names(network, layout)
    given = unwrapped(state_dict)
    if layout == "diffusers":
        given = {modern_name(key): value for key, value in given.items()}
    own = network.state_dict()
    fitted = {ours: _reshaped(given[k], own[ours]) for ours, k in names.items() if k in given}
    faults = [
        ("missing", [k for k in names.values() if k not in given]),
        ("unknown", sorted(given.keys() - set(names.values()))),
        ("of another shape", [names[k] for k, v in fitted.items() if v.shape != own[k].shape]),
    ]
    text = [
        f"{len(f)} {fault} ({', '.join(f[:3])}{', ...' * (len(f) > 3)})" for fault, f in faults if f
    ]
    if text:
        raise ValueError(f"these weights do not fit the network: {'; '.join(text)}")
    network.load_state_dict(fitted)


def export(network: nn.Module, layout: str = "ddim") -> dict[str, Tensor]:
    """Copy the network's weights, under the names and in the shapes of `layout`."""
    names, weights = _names(network, layout), {}
    for ours, tensor in network.state_dict().items():
        dense = layout == "diffusers" and ".attentions." in names[ours] and tensor.ndim == 4
        copy = tensor.detach().clone(memory_format=torch.contiguous_format)
        weights[names[ours]] = copy.flatten(1) if dense else copy
    return weights


def unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes that wrappers add to names."""
    return {_PREFIXES.sub("", key): value for key, value in state.items()}


def _names(network: nn.Module, layout: str) -> dict[str, str]:
    """Map our name to the layout's, for every entry of the network's state dict."""
    if layout not in NETWORKS_OF:
        raise ValueError(f"layout: {layout} is unknown; it should be {either(NETWORKS_OF)}")
    keys = list(network.state_dict())
    own = next((name for name, build in NETWORKS.items() if type(network) is build), "")
    if own not in NETWORKS_OF[layout]:
        fit = [known for known, networks in NETWORKS_OF.items() if own in networks]
        text = f"has no weights of this network; it should be {either(fit) or 'our own'}"
        raise ValueError(f"layout: {layout} {text}")
    if layout != "diffusers":
        return {key: key for key in keys}
    if not getattr(network, "resamp_with_conv", True):
        raise ValueError("layout: diffusers has no network with resamp_with_conv false")
    levels = len({key.split(".")[1] for key in keys if key.startswith("down.")})
    return {key: diffusers_name(key, levels) for key in keys}


def _reshaped(tensor: Tensor, like: Tensor) -> Tensor:
    """Give a dense layer's weight (C, C) the shape of the 1x1 convolution `like`."""
    if like.ndim == 4 and like.shape[2:] == (1, 1) and tensor.ndim == 2:
        return tensor[:, :, None, None]
    return tensor
