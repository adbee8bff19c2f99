"""Options of a command, beside the config: folders, and the work of its verb."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

AXES = ("steps", "images", "hours")  # of training curves
EXPORTED = ("diffusers", "ddim", "adm", "safetensors")  # layouts of an export


@dataclass(frozen=True)
class Options:
    """Flags of one command. None of them changes what is learned; the config decides that.

    exp: the folder that holds everything; doc: the run's name, None where none is needed.
    image_folder: below EXP/image_samples. images, fid, picture: the modes of --sample, one of them;
    picture is an object of the class that is registered as this picture mode, made of its flags.
    samplers, steps, docs, seeds: what a sweep runs over; snapshots: training steps whose
    checkpoints it measures, () for all that are kept, None for the newest alone; shard: (i, n), the
    i-th of n parts of its cells; names: the sweeps below EXP/sweeps that are filled or reported.
    axis: of training curves in reports, one of AXES.
    likelihood: of --test: "bound", "ode" or "none"; None: the bound where it is defined.
    use_pretrained: source of foreign weights, a file, a folder or a hub id; "" is the published
    model of the data set, None the run's own. export: the new folder of --export; layout: of its
    files, one of EXPORTED; push_to_hub: the repository USER/NAME that receives it, None for none;
    dry_run: only say what would be written and sent. device: auto, cpu, cuda or cuda:N.
    command: what was typed, for the records.
    """

    exp: Path = Path("exp")
    doc: str | None = None
    image_folder: str = "images"
    ni: bool = False
    resume_training: bool = False
    overwrite: bool = False
    images: bool = False
    fid: bool = False
    no_images: bool = False
    picture: Any = None
    samplers: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    docs: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    snapshots: tuple[int, ...] | None = None
    shard: tuple[int, int] = (0, 1)
    names: tuple[str, ...] = ()
    likelihood: str | None = None
    axis: str = "steps"
    use_pretrained: str | None = None
    export: str | None = None
    layout: str = "diffusers"
    push_to_hub: str | None = None
    dry_run: bool = False
    device: str = "auto"
    verbose: str = "info"
    command: str = ""

    @property
    def logs(self) -> Path:
        """EXP/logs, which holds one folder per run."""
        return self.exp / "logs"

    @property
    def run(self) -> Path:
        """EXP/logs/DOC. Raises ValueError without --doc."""
        if self.doc is None:
            raise ValueError("this needs the name of a run: --doc NAME")
        return self.logs / self.doc

    @property
    def tensorboard(self) -> Path:
        """EXP/tensorboard/DOC. Raises ValueError without --doc."""
        return self.exp / "tensorboard" / self.run.relative_to(self.logs)

    @property
    def samples(self) -> Path:
        """EXP/image_samples/FOLDER."""
        return self.exp / "image_samples" / self.image_folder

    @property
    def sweeps(self) -> tuple[Path, ...]:
        """EXP/sweeps/NAME of every name."""
        return tuple(self.exp / "sweeps" / name for name in self.names)

    @property
    def datasets(self) -> Path:
        """EXP/datasets, where data sets without a path of their own are looked for."""
        return self.exp / "datasets"

    @property
    def cache(self) -> Path:
        """EXP/fid_stats: reference statistics and feature classifiers."""
        return self.exp / "fid_stats"
