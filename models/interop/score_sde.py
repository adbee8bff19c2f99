"""Checkpoints of score_sde (PyTorch, 2011.13456) and of CLD, which has its network: NCSN++.

Their network is one list of modules, `all_modules.N`, in the order of execution. A walk along the
list tells the options of our network and the place of each module in it.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

NAME = "all_modules."
_UNLIKE = "not the NCSN++ of score_sde that is here"
_IN = {  # names inside the modules of a kind
    "block": {
        **{"GroupNorm_0": "norm1", "Conv_0": "conv1", "Dense_0": "temb_proj"},
        **{"GroupNorm_1": "norm2", "Conv_1": "conv2", "Conv_2": "shortcut"},
    },
    "attention": {
        **{"GroupNorm_0": "norm", "NIN_0": "q", "NIN_1": "k", "NIN_2": "v", "NIN_3": "proj_out"},
    },
    **dict.fromkeys(("shrink", "frequencies", "dense", "conv", "norm"), {}),
}
_IN_LAYER = {"W": "weight", "b": "bias"}


@dataclass(frozen=True)
class _Module:
    """One module of the list: the names of its weights and their shapes."""

    index: int
    shapes: dict[str, tuple[int, ...]]

    @property
    def kind(self) -> str:
        """block, attention, shrink, frequencies, dense, conv, norm or unknown."""
        for name, kind in (("Conv_1.weight", "block"), ("NIN_0.W", "attention")):
            if name in self.shapes:
                return kind
        if self.shapes.keys() <= {f"Conv{d}_0.{w}" for d in ("", "2d") for w in ("weight", "bias")}:
            return "shrink"
        if self.shapes.keys() == {"W"}:
            return "frequencies"
        dimensions = len(self.shapes.get("weight", ()))
        return {1: "norm", 2: "dense", 4: "conv"}.get(dimensions, "unknown")

    @property
    def resamples(self) -> bool:
        """Whether a block changes the size of the image: then alone a square shortcut is needed."""
        out, width = self.shapes.get("Conv_2.weight", (1, 0))[:2]
        return out == width


@dataclass
class _Walk:
    """Our names of the modules seen so far, and the options that they told."""

    names: dict[int, str] = field(default_factory=dict)
    mult: list[int] = field(default_factory=list)
    attend: list[int] = field(default_factory=list)
    pyramid: int = 0


def averaged(raw: Mapping[str, Tensor], ema: Any) -> tuple[dict[str, Tensor], str]:
    """Lay the average of a checkpoint, where it has one, over its raw weights; tell the kind.

    ema: its entry of that name, with a list of the trained parameters in order, without names.
    """
    if not isinstance(ema, dict) or not ema.get("shadow_params"):
        return dict(raw), "raw"
    trained = [key for key in raw if key not in ("sigmas", f"{NAME}0.W")]
    shadow = ema["shadow_params"]
    shapes = [tuple(value.shape) for value in shadow if isinstance(value, Tensor)]
    if shapes != [tuple(raw[key].shape) for key in trained]:
        raise ValueError(
            f"its average of {len(shadow)} tensors is not of the {len(trained)} of its model"
        )
    rate = ema.get("decay")
    kind = f"ema {rate:g}" if isinstance(rate, float) else "ema"
    return {**raw, **dict(zip(trained, shadow, strict=True))}, kind


def translate(
    state: Mapping[str, Tensor], side: int | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights under our names, and what they tell: "options" of the network ncsnpp, and
    "diffusion". side: of the images, without which the levels with attention are not told.

    Raises ValueError for another network of that program.
    """
    modules = _modules(state)
    try:
        walk, options = _walked(modules)
        named = {name: tensor for module in modules for name, tensor in _named(module, state, walk)}
    except (KeyError, IndexError) as err:
        raise ValueError(f"{_UNLIKE}: it should have blocks of BigGAN") from err
    if side is not None:
        options["attn_resolutions"] = [side >> level for level in walk.attend]
    if options["embedding"] == "fourier":
        return named, {"options": options, "diffusion": None}
    # only VP and sub-VP tell their network a number of the time axis
    vp = {"process": "vpsde", "predicts": "eps"}
    return named, {"options": options, "diffusion": vp, "alike": ("subvp",)}


def _named(
    module: _Module, state: Mapping[str, Tensor], walk: _Walk
) -> Iterator[tuple[str, Tensor]]:
    """Weights of a module under our names."""
    place, own = walk.names.get(module.index, ""), _IN[module.kind]
    for name in module.shapes:
        tensor, (*layer, last) = state[f"{NAME}{module.index}.{name}"], name.split(".")
        if module.kind == "frequencies":
            yield "temb.frequencies", tensor
            continue
        if last == "W":  # (in, out), applied to the channels
            tensor = tensor.T[:, :, None, None]
        inner = [own[part] for part in layer] if own else []
        yield ".".join([place, *inner, _IN_LAYER.get(last, last)]), tensor


def _modules(state: Mapping[str, Tensor]) -> list[_Module]:
    found: dict[int, dict[str, tuple[int, ...]]] = {}
    for key, tensor in state.items():
        if key == "sigmas":  # the noise levels of its training, which no weight belongs to
            continue
        index, _, name = key.removeprefix(NAME).partition(".")
        if not key.startswith(NAME) or not index.isdecimal() or not name:
            raise ValueError(f"holds {key}, unknown in the NCSN++ of score_sde")
        found.setdefault(int(index), {})[name] = tuple(tensor.shape)
    return [_Module(index, found[index]) for index in sorted(found)]


def _walked(modules: list[_Module]) -> tuple[_Walk, dict[str, Any]]:
    """Give every module its place. Raises ValueError where one is left over or not expected."""
    blocks = [module for module in modules if module.kind == "block"]
    levels = 1 + sum(block.resamples for block in blocks) // 2
    # a level has n blocks on the way down and n + 1 on the way up; all but one level resample, each
    # way; 2 are in the middle
    count, rest = divmod(len(blocks) - 3 * levels, 2 * levels)
    if rest or count < 1:
        raise ValueError(f"{_UNLIKE}: levels of different depths")
    walk, line = _Walk(), deque(modules)
    if fourier := line[0].kind == "frequencies":
        line.popleft()
    options = _head(walk, line)
    _stages(walk, line, levels, count, options["ch"])
    if [module.kind for module in line] != ["norm", "conv"]:
        raise ValueError(f"{_UNLIKE}: more than a normalisation and a convolution at its end")
    norm, last = line
    walk.names |= {norm.index: "norm_out", last.index: "conv_out"}
    shrinks = [module for module in modules if module.kind == "shrink"]
    return walk, {
        **options,
        **{"out_ch": last.shapes["weight"][0], "ch_mult": walk.mult, "num_res_blocks": count},
        "embedding": "fourier" if fourier else "positional",
        "progressive_input": "residual" if shrinks else "none",
        # without such layers nothing tells it: DDPM++, all published networks of them, has none
        "fir": any("Conv2d_0.weight" in module.shapes for module in shrinks),
    }


def _head(walk: _Walk, line: deque[_Module]) -> dict[str, Any]:
    """Two dense layers of the time, and the first convolution."""
    first, second, conv = (line.popleft() for _ in range(3))
    if [module.kind for module in (first, second, conv)] != ["dense", "dense", "conv"]:
        raise ValueError(f"{_UNLIKE}: it should be told the time")
    walk.names |= {first.index: "temb.dense.0", second.index: "temb.dense.1", conv.index: "conv_in"}
    width, channels = conv.shapes["weight"][:2]
    return {"in_channels": channels, "ch": width}


def _stages(walk: _Walk, line: deque[_Module], levels: int, count: int, ch: int) -> None:
    """Place the blocks: count + 1 a level on the way down, 2 in the middle, count + 2 a level on
    the way up; the last level has one less, each way.
    """
    places = [f"down.{i}" for i in range(levels * (count + 1) - 1)]
    places += ["mid.0", "mid.1", *(f"up.{i}" for i in range(levels * (count + 2) - 1))]
    for number, place in enumerate(places):
        module = line.popleft()
        if module.kind != "block":
            raise ValueError(f"{_UNLIKE}: a layer of the kind {module.kind} in place of {place}")
        walk.names[module.index] = place
        level, inner = divmod(number, count + 1)
        down = place.startswith("down.")
        if down and inner == 0:
            walk.mult.append(module.shapes["Conv_0.weight"][0] // ch)
        while line[0].kind in ("attention", "shrink"):
            beside = line.popleft()
            if beside.kind == "attention":
                walk.names[beside.index] = f"{place}.attn"
                walk.attend += [level] if down and inner == 0 else []
            else:
                walk.names[beside.index] = f"pyramid.{walk.pyramid}.conv"
                walk.pyramid += 1
