"""--sequence: the way from noise to images, as a sheet and as a film."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from configs.command.options import Picture
from configs.schema import Config, ConfigError, specs
from functions.plan import Plan
from functions.process import Process
from runners.picture.studio import Studio
from runners.sampling.blocks import finite, whole_blocks
from runners.sampling.noise import Noise
from runners.sampling.walk import walk_for
from runners.sheets.sheet import abreast, animation, sheet

log = logging.getLogger("skip_step")

ABREAST = 8  # images beside each other in the film
MOST = 16  # images on the sheet and in the film
TITLE = "From noise to image"
WIDEST_LABEL = "0.00 image"
SECONDS = 3  # that the film lasts, where its frames are not too few or too many
NOTE = (
    "x: the state at time t, the sum of so much image{range} and so much noise (of deviation 1). "
    "Shown are the states whose times are nearest to evenly spaced ones."
)
NOTES = {  # by the view that they are about
    "velocity": "velocity: the other half of a state; grey is 0.",
    "spectrum": "spectrum: size of every frequency from 0.1 (black) to 10 (white), logarithmic; "
    "the mean is at the top left.",
    "x0": "x0: the clean image that the network sees in x; near pure noise its errors are large.",
}


@dataclass(frozen=True)
class Frame:
    """What is shown of all images after `step` steps, at time t. levels: of image and noise; views:
    uint8 (n, C, H, W) by their names.
    """

    step: int
    t: float
    levels: tuple[float, float]
    views: dict[str, Tensor]

    def __str__(self) -> str:
        image, noise = self.levels
        return f"t {self.t:.3g}\n{image:.2f} image\n{noise:.2f} noise"


def identity(config: Config, picture: Picture) -> dict[str, Any]:
    """Number of images and frames, what is shown of them, and the evaluations of the network that
    this takes beside the walk's. Raises ConfigError for rk45 and for frames that are too many.
    """
    name = config.sampler().name
    if specs.is_adaptive(name):
        raise ConfigError(
            f"--sequence: {name} gives every image steps of its own, so there are no times at "
            "which all could be shown; take another --sample_type"
        )
    process, size = config.process(), config.data.image_size
    plan = walk_for(config, process).plan
    assert isinstance(plan, Plan)
    times = _times(plan)
    shown, most = frames_of(times, picture.frames), abreast(size, WIDEST_LABEL)
    if len(shown) > most:
        raise ConfigError(
            f"--frames {picture.frames}: a sheet holds at most {most} images of {size} pixels "
            "beside each other"
        )
    told = {"n_samples": config.sampling.n_samples, "show": picture.show, "frames": picture.frames}
    if picture.show != "x":
        told["nfe_beside"] = sum(_evaluated(process, times[step]) for step in shown)
    return told


def draw(studio: Studio) -> list[Path]:
    """Write sequence.png, sequence.gif, sequence.webp, and {image}_{step}.png of every frame, those
    of x0 below x0/.
    """
    frames = _frames(studio)
    paths = [studio.save("sequence.png", _sheet(studio, frames))]
    film = [_film_frame(studio, frame, frames[-1].step) for frame in frames]
    for suffix in ("gif", "webp"):
        paths.append(studio.folder / f"sequence.{suffix}")
        animation(paths[-1], film, milliseconds=min(max(60, SECONDS * 1000 // len(film)), 300))
    for frame in frames:
        first = next(iter(frame.views))
        for view in {first, "x0"} & frame.views.keys():
            for image, pixels in enumerate(frame.views[view]):
                name = f"{image}_{frame.step}.png"
                paths.append(studio.save(f"x0/{name}" if view == "x0" else name, pixels))
    return paths


@torch.no_grad()
def _frames(studio: Studio) -> list[Frame]:
    """What is shown, evenly in time from the first state to the sample."""
    plan, process = studio.drawer.plan, studio.model.process
    assert isinstance(plan, Plan)
    times = _times(plan)
    asked, last = studio.picture.frames, len(times) - 1
    if asked > len(times):
        log.warning("%d frames asked, the walk has %d states", asked, len(times))
    shown = frames_of(times, asked)
    views: dict[int, list[dict[str, Tensor]]] = {step: [] for step in shown}
    for indices, states in _walks(studio):
        for step, x in enumerate(states):
            if step == last:
                finite(x, indices)
            if step in views:
                views[step].append(_views(studio, x, times[step]))
    return [
        Frame(step, times[step], levels(process, times[step]), _joined(views[step]))
        for step in shown
    ]


def _times(plan: Plan) -> list[float]:
    """Of every state, from the first to the sample."""
    return [plan.stages[0].t, *(stage.s for stage in plan.stages if stage.commit)]


def frames_of(times: Sequence[float], count: int) -> list[int]:
    """Positions of `count` of these times (all of them where they are fewer), in order: the first,
    the last, and between them those nearest to evenly spaced times. None comes twice: where times
    lie further apart than frames, the next one is taken.
    """
    count, shown, last = min(count, len(times)), [0], len(times) - 1
    for k in range(1, count - 1):
        wanted = times[0] + (times[last] - times[0]) * k / (count - 1)
        left = range(shown[-1] + 1, last - (count - 2 - k))
        shown.append(min(left, key=lambda step: abs(times[step] - wanted)))
    return [*shown, last]


def _walks(studio: Studio) -> Iterator[tuple[Sequence[int], Iterator[Tensor]]]:
    """Indices of images, and their states from the first to the plain sample; together all that are
    asked for.
    """
    drawer, count = studio.drawer, studio.config.sampling.n_samples
    for indices, together in whole_blocks(drawer, studio.config, count):
        noise = Noise(drawer.seed, together)
        x = drawer.start(noise, len(together))
        states = chain([x], drawer.states(x, noise))
        yield indices, (state[: len(indices)] for state in states)


def _views(studio: Studio, x: Tensor, t: float) -> dict[str, Tensor]:
    """What is shown of states x (n, ...) at t, by name, uint8 (n, C, H, W)."""
    process, show, found = studio.model.process, studio.picture.show, dict[str, Tensor]()
    if show != "x0":
        first, *others = process.views(x).items()
        found["x" if first[0] == "image" else f"x: {first[0]}"] = studio.uint8(process.drop(x))
        for name, view in others:  # in [-1, 1], whatever the scaling of the data
            shown = ((view.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            found[f"x: {name}"] = shown.cpu()
    if show != "x":
        found["x0"] = studio.uint8(process.drop(_clean(studio, x, t)))
    return found


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _clean(studio: Studio, x: Tensor, t: float) -> Tensor:
    """The clean state expected behind x, at the cost of an evaluation; at a time that the network
    does not know, x is clean.
    """
    if not _evaluated(studio.model.process, t):
        return x
    return studio.drawer.x0(x, t).nan_to_num()


def _evaluated(process: Process, t: float) -> bool:
    """Whether the network is asked for x0 at t: not where it knows nothing, of clean data."""
    return t >= process.t_train[0]


def levels(process: Process, t: float) -> tuple[float, float]:
    """How much of the clean image is in a pixel at time t, and the standard deviation of the noise
    in it, both root mean square over pixels.
    """
    time = torch.tensor(t, dtype=torch.float64)
    mean, factor = process.mean(time), process.factor(time)
    noise = (factor @ factor.mT)[..., 0, 0].mean().sqrt()
    return float(mean[..., 0, 0].square().mean().sqrt()), float(noise)


def _sheet(studio: Studio, frames: Sequence[Frame]) -> Image.Image:
    """A row for every view of every image, a column for every frame."""
    names, count = list(frames[0].views), min(MOST, studio.config.sampling.n_samples)
    rows = [[frame.views[name][i] for frame in frames] for i in range(count) for name in names]
    left = [
        f"image {i}\n{name}" if name == names[0] else name for i in range(count) for name in names
    ]
    return sheet(
        rows,
        top=[str(frame) for frame in frames],
        left=left,
        title=studio.title(TITLE),
        note=_note(studio, names),
        apart=(range(0, len(rows), len(names)), ()) if len(names) > 1 else ((), ()),
    )


def _note(studio: Studio, names: Sequence[str]) -> str:
    data = studio.config.data
    span = " (from -1 to 1)" if data.rescaled else " (from 0 to 1)"
    said = [NOTE.format(range=" (its logits)" if data.logit_transform else span)]
    said += [NOTES[kind] for name in names if (kind := _kind(name)) in NOTES]
    return " ".join([*said, _few(studio)]).strip()


def _few(studio: Studio) -> str:
    count = studio.config.sampling.n_samples
    return f"The first {MOST} of {count:,} images." if count > MOST else ""


def _film_frame(studio: Studio, frame: Frame, last: int) -> Image.Image:
    """All images at one time, their views below each other."""
    names, count = list(frame.views), min(MOST, studio.config.sampling.n_samples)
    bands = [range(begin, min(begin + ABREAST, count)) for begin in range(0, count, ABREAST)]
    rows = [[frame.views[name][i] for i in band] for band in bands for name in names]
    where = f"step {frame.step} of {last}: " + str(frame).replace("\n", ", ")
    return sheet(
        rows,
        left=names * len(bands) if len(names) > 1 else (),
        title=f"{studio.title(TITLE)}\n{where}",
        note=_few(studio),
        apart=(range(0, len(rows), len(names)) if len(names) > 1 else (), ()),
    )


def _kind(name: str) -> str:
    return name.removeprefix("x: ")
