"""--sequence: the way from noise to images, as a sheet and as a film."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from PIL import Image
from torch import Tensor

from configs.schema import Config, ConfigError
from functions.plan import Plan
from functions.process import Process
from runners.picture.levels import levels
from runners.picture.mode import Mode, Session
from runners.picture.parts import PICTURES
from runners.sampling.blocks import finite, whole_blocks
from runners.sampling.noise import Noise
from runners.sampling.walk import Walk, walk_for
from runners.sheets.sheet import abreast, sheet

log = logging.getLogger("skip_step")

ABREAST = 8  # images beside each other in the film
MOST = 16  # images on the sheet and in the film
TITLE = "From noise to image"
WIDEST_LABEL = "0.00 image"
SECONDS = 3  # length of the film, where its frames are not too few or too many
NOTE = (
    "x: the state at time t, the sum of so much image{range} and so much noise (of deviation 1). "
    "Shown are the states whose times are nearest to evenly spaced ones."
)
NOTES = {  # by the view that they explain
    "velocity": "velocity: the other half of a state; grey is 0.",
    "spectrum": "spectrum: size of every frequency from 0.1 (black) to 10 (white), logarithmic; "
    "the mean is at the top left.",
    "x0": "x0: the clean image that the network sees in x; near pure noise its errors are large.",
}


@dataclass(frozen=True)
class Frame:
    """All images after `step` steps, at time t. levels: of image and noise; views: uint8
    (n, C, H, W) by name.
    """

    step: int
    t: float
    levels: tuple[float, float]
    views: dict[str, Tensor]

    def __str__(self) -> str:
        image, noise = self.levels
        return f"t {self.t:.3g}\n{image:.2f} image\n{noise:.2f} noise"


@PICTURES.part(
    "sequence",
    title="Way from noise to image",
    paper="2010.02502",
    samples=4,
    helps={
        "": "the way from noise to n_samples [4] images: a sheet, a film",
        "show": "of a state: x, x0 (its clean estimate) or both",
        "frames": "number of states, evenly in time, start and end included",
    },
)
@dataclass(frozen=True)
class SequenceMode(Mode):
    """States on the way of a walk. show: the state x, its clean estimate x0, or both; frames:
    number of states, evenly in time.
    """

    show: Literal["x", "x0", "both"] = "both"
    frames: Annotated[int, Ge(2)] = 10

    def identity(self, config: Config) -> dict[str, Any]:
        """The options, and the evaluations of the network beside those of the walk. Raises
        ConfigError for an adaptive sampler, and for more frames than a sheet holds.
        """
        process, size = config.process(), config.data.image_size
        times = _times(self.walked(config, process, walk_for(config, process)).plan)
        shown, most = frames_of(times, self.frames), abreast(size, WIDEST_LABEL)
        if len(shown) > most:
            raise ConfigError(
                f"--frames {self.frames}: a sheet holds at most {most} images of {size} pixels "
                "beside each other"
            )
        beside = sum(_evaluated(process, times[step]) for step in shown)
        return super().identity(config) | ({"nfe_beside": beside} if self.show != "x" else {})

    def walked(self, config: Config, process: Process, walk: Walk) -> Walk:
        """The walk itself. Raises ConfigError for an adaptive sampler."""
        if isinstance(walk.plan, Plan):
            return walk
        raise ConfigError(
            f"--sequence: {walk.sampler} gives every image steps of its own, so there are no times "
            "at which all could be shown; take another --sample_type"
        )

    def draw(self, session: Session) -> list[Path]:
        """Write sequence.png, sequence.gif, sequence.webp, and {image}_{step}.png of every frame,
        those of x0 below x0/.
        """
        frames = self._frames(session)
        paths = [session.save("sequence.png", _sheet(session, frames))]
        film = [_film_frame(session, frame, frames[-1].step) for frame in frames]
        each = min(max(60, SECONDS * 1000 // len(film)), 300)
        paths += session.film("sequence", film, milliseconds=each)
        for frame in frames:
            first = next(iter(frame.views))
            for view in {first, "x0"} & frame.views.keys():
                for image, pixels in enumerate(frame.views[view]):
                    name = f"{image}_{frame.step}.png"
                    paths.append(session.save(f"x0/{name}" if view == "x0" else name, pixels))
        return paths

    @torch.no_grad()
    def _frames(self, session: Session) -> list[Frame]:
        """Draw the frames, evenly in time from the first state to the sample."""
        times = _times(session.drawer.plan)
        if self.frames > len(times):
            log.warning("%d frames asked, the walk has %d states", self.frames, len(times))
        shown = frames_of(times, self.frames)
        views: dict[int, list[dict[str, Tensor]]] = {step: [] for step in shown}
        for indices, states in _walks(session):
            for step, x in enumerate(states):
                if step == len(times) - 1:
                    finite(x, indices)
                if step in views:
                    views[step].append(self._views(session, indices, x, times[step]))
        return [
            Frame(step, times[step], levels(session.process, times[step]), _joined(views[step]))
            for step in shown
        ]

    def _views(
        self, session: Session, indices: Sequence[int], x: Tensor, t: float
    ) -> dict[str, Tensor]:
        """Turn states x (n, ...) of these images at t into images by name, uint8 (n, C, H, W)."""
        process, found = session.process, dict[str, Tensor]()
        if self.show != "x0":
            first, *others = process.views(x).items()
            found["x" if first[0] == "image" else f"x: {first[0]}"] = session.uint8(process.drop(x))
            for name, view in others:  # in [-1, 1], whatever the scaling of the data
                shown = ((view.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
                found[f"x: {name}"] = shown.cpu()
        if self.show != "x":
            # at a time that the network does not know, x is clean
            drawer, clean = session.drawer.labelled(indices), x
            if _evaluated(process, t):
                clean = drawer.x0(x, t).nan_to_num()
            found["x0"] = session.uint8(process.drop(clean))
        return found


def _times(plan: object) -> list[float]:
    """Times of all states, from the first to the sample."""
    assert isinstance(plan, Plan)
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


def _walks(session: Session) -> Iterator[tuple[Sequence[int], Iterator[Tensor]]]:
    """Indices of images and their states from the first to the plain sample, block by block."""
    drawer, count = session.drawer, session.config.sampling.n_samples
    for indices, together in whole_blocks(drawer, session.config, count):
        noise = Noise(drawer.seed, together)
        x = drawer.start(noise, len(together))
        states = chain([x], drawer.labelled(together).states(x, noise))
        yield indices, (state[: len(indices)] for state in states)


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _evaluated(process: Process, t: float) -> bool:
    """Whether the network is asked for x0 at t: not below its training times, at clean data."""
    return t >= process.t_train[0]


def _sheet(session: Session, frames: Sequence[Frame]) -> Image.Image:
    """A row for every view of every image, a column for every frame."""
    names, count = list(frames[0].views), min(MOST, session.config.sampling.n_samples)
    rows = [[frame.views[name][i] for frame in frames] for i in range(count) for name in names]
    left = [
        f"image {i}\n{name}" if name == names[0] else name for i in range(count) for name in names
    ]
    return sheet(
        rows,
        top=[str(frame) for frame in frames],
        left=left,
        title=session.title(TITLE),
        note=_note(session, names),
        apart=(range(0, len(rows), len(names)), ()) if len(names) > 1 else ((), ()),
    )


def _note(session: Session, names: Sequence[str]) -> str:
    data = session.config.data
    span = " (from -1 to 1)" if data.rescaled else " (from 0 to 1)"
    said = [NOTE.format(range=" (its logits)" if data.logit_transform else span)]
    said += [NOTES[kind] for name in names if (kind := name.removeprefix("x: ")) in NOTES]
    return " ".join([*said, _few(session)]).strip()


def _few(session: Session) -> str:
    count = session.config.sampling.n_samples
    return f"The first {MOST} of {count:,} images." if count > MOST else ""


def _film_frame(session: Session, frame: Frame, last: int) -> Image.Image:
    """All images at one time, their views below each other."""
    names, count = list(frame.views), min(MOST, session.config.sampling.n_samples)
    bands = [range(begin, min(begin + ABREAST, count)) for begin in range(0, count, ABREAST)]
    rows = [[frame.views[name][i] for i in band] for band in bands for name in names]
    where = f"step {frame.step} of {last}: " + str(frame).replace("\n", ", ")
    return sheet(
        rows,
        left=names * len(bands) if len(names) > 1 else (),
        title=f"{session.title(TITLE)}\n{where}",
        note=_few(session),
        apart=(range(0, len(rows), len(names)) if len(names) > 1 else (), ()),
    )
