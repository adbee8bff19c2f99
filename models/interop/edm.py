"""Pickles of EDM and EDM2 (`network-snapshot*.pkl`): network, its options, and its preconditioning.

Names of weights are those of our networks song, dhariwal and edm2, below "model." (EDM) or "unet."
(EDM2). The preconditionings are those of EDM's table 1 (2206.00364).
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from torch import Tensor

from models.interop.unpickle import Record, Weight, shown
from models.parts import NETWORKS

_NETWORKS = {"SongUNet": "song", "DhariwalUNet": "dhariwal", "UNet": "edm2"}
_OURS = {"img_resolution": "image_size", "label_dim": "num_classes"}  # other names of options
_TRAINING = {"label_dropout", "use_fp16", "logvar_channels"}  # options that decide no answer
_FIXED: dict[str, Any] = {"channels_per_head": 64, "resample_filter": [1, 1]}  # of our edm2
_LENGTH = re.compile(r".*-\d+-(\d+\.\d+)")  # EDM2: thousand images, length of the average
_SIGMAS = (0.002, 80.0)  # EDM's sampler goes no further, whatever the network allows


def holds(content: Any) -> bool:
    """Whether an unpickled file is a snapshot of EDM or EDM2."""
    return isinstance(content, dict) and isinstance(content.get("ema"), Record)


def network_of(content: Mapping[str, Any], path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Find the averaged network of a snapshot: its weights, and what the file tells about them.

    Raises ValueError for a network or a preconditioning that this program lacks.
    """
    whole: Record = content["ema"]
    inner = "unet" if whole.class_name == "Precond" else "model"
    net = _attribute(whole, "_modules").get(inner)
    if not isinstance(net, Record) or net.class_name not in _NETWORKS:
        found = net.class_name if isinstance(net, Record) else whole.class_name
        raise ValueError(f"holds a network {found}; it should be {', '.join(_NETWORKS)}")
    name = _NETWORKS[net.class_name]
    if name not in NETWORKS:
        raise ValueError(f"holds a network {net.class_name}, which needs {name}, unknown here")
    weights = _weights(net)
    if inner == "unet":  # EDM2's network itself lies below "unet."
        weights = {f"unet.{key}": value for key, value in weights.items()}
    told = _LENGTH.fullmatch(path.stem)
    length = f" {float(told[1]):g}" if told else ""
    return weights, {
        "layout": "edm2" if inner == "unet" else "edm",
        "weights": f"ema{length}",
        "step": None,
        "network": name,
        "options": _options(net, name),
        "diffusion": _diffusion(whole),
    }


def _attribute(record: Record, name: str) -> dict[str, Any]:
    found = record.state.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"holds a {record.class_name} with a strange {name}")
    return found


def _weights(net: Record) -> dict[str, Tensor]:
    """Parameters and buffers by their dotted names, as a state dict has them."""
    found: dict[str, Tensor] = {}
    waiting, seen = [("", net)], {id(net)}
    while waiting:
        prefix, module = waiting.pop()
        hidden = module.state.get("_non_persistent_buffers_set", ())
        if not isinstance(hidden, set | list | tuple):
            raise ValueError(f"holds a {module.class_name} with strange buffers")
        for kind in ("_parameters", "_buffers"):
            for key, value in _attribute(module, kind).items():
                if isinstance(value, Weight) and key not in hidden:
                    found[f"{prefix}{key}"] = value.tensor
        for key, child in _attribute(module, "_modules").items():
            if child is None:
                continue
            if not isinstance(child, Record) or id(child) in seen:
                name = shown(f"{prefix}{key}")
                raise ValueError(f"holds a module {name} that is none, or is in it twice")
            seen.add(id(child))
            waiting.append((f"{prefix}{key}.", child))
    return found


def _options(net: Record, name: str) -> dict[str, Any]:
    """Our options of the network. Raises ValueError for one that our network lacks."""
    known = NETWORKS.parts[name].options
    options: dict[str, Any] = {}
    for key, value in _attribute(net, "_init_kwargs").items():
        ours = _OURS.get(key, key)
        if key in _TRAINING:
            continue
        if name == "edm2" and key in _FIXED:
            if (list(value) if isinstance(value, list | tuple) else value) != _FIXED[key]:
                raise ValueError(f"holds a network UNet with {key} other than {_FIXED[key]}")
            continue
        if key == "img_channels":  # EDM2's, of the state and of the answer
            options |= dict.fromkeys(("in_channels", "out_channels"), _option(key, value))
            continue
        if ours not in known:
            what = f"an option {shown(str(key))}, unknown here"
            raise ValueError(f"holds a network {net.class_name} with {what}")
        options[ours] = _option(key, value)
    if name == "edm2" and options.get("clip_act", 0) is None:
        options["clip_act"] = 0
    if "num_classes" in options:
        options["num_classes"] = options["num_classes"] or None
    return options


def _option(key: str, value: Any) -> Any:
    """A value as a config holds one. Raises ValueError for anything else than numbers and names,
    which a message could not show: in a few bytes a list may hold itself, or a million lists.
    """
    items = list(value) if isinstance(value, list | tuple) else [value]
    if len(items) > 64 or not all(isinstance(v, str | int | float | NoneType) for v in items):
        raise ValueError(f"holds a network with a strange {key}")
    return items if isinstance(value, list | tuple) else value


def _diffusion(whole: Record) -> dict[str, Any]:
    """Process and prediction of a preconditioning. Raises ValueError where we have no equal one."""
    kind, numbers = whole.class_name, whole.state
    if kind in ("EDMPrecond", "Precond"):
        low, high = _number(numbers, "sigma_min", 0.0), _number(numbers, "sigma_max", math.inf)
        return {
            **{"process": "edm", "predicts": "edm"},
            **{"sigma_min": max(low, _SIGMAS[0]), "sigma_max": min(high, _SIGMAS[1])},
            "sigma_data": _number(numbers, "sigma_data", 0.5),
        }
    if kind == "VPPrecond" and _number(numbers, "M", 1000) == 1000:
        low = _number(numbers, "beta_min", 0.1)
        high = low + _number(numbers, "beta_d", 19.9)
        # float64 sums of what was written in decimals: 0.1 + 19.9 is 20
        return {"process": "vpsde", "predicts": "eps", "beta_min": low, "beta_max": round(high, 9)}
    if kind == "iDDPMPrecond":
        steps, ends = _number(numbers, "M", 1000), (numbers.get("C_1"), numbers.get("C_2"))
        if ends == (0.001, 0.008) and math.isfinite(steps) and steps == int(steps):
            how = {"schedule": "cosine", "steps": int(steps)}
            return {"process": "vp", "predicts": "eps", **how}
    raise ValueError(
        f"holds a {kind}, whose time and scaling no process here has; it should be EDMPrecond, "
        "VPPrecond (M 1000) or iDDPMPrecond (C_1 0.001, C_2 0.008)"
    )


def _number(state: Mapping[str, Any], key: str, otherwise: float) -> float:
    value = state.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"holds a preconditioning with a strange {key}")
    return value
