"""The sections of a config: keys, types, ranges and defaults.

Key names are the DDIM repository's where it has the key. A section that names a part (PLUGS) also
holds the options of that part; they are checked against its signature (`options.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Gt, Lt, MinLen
from pydantic import BaseModel, ConfigDict

from configs.values import (
    Count,
    CountOrZero,
    Fraction,
    Length,
    Positive,
    PositiveOrZero,
    Quantity,
)

MaybeCount = Count | None
Rate = Annotated[float, Gt(0), Lt(1)]
MaybeText = Annotated[str, MinLen(1)] | None
Precision = Literal["fp32", "bf16", "fp16"]
# Options of parts: any plain value; lists become tuples, so that nothing can change.
Scalar = bool | int | float | str | None
Plain = Scalar | tuple[Scalar, ...]
SAMPLER_KEYS = ("eta", "order", "variable", "variance")  # options of samplers that are keys

PLUGS = {  # section: (the key that names a part, the kind of the part)
    "data": ("dataset", "data set"),
    "model": ("name", "network"),
    "diffusion": ("process", "process"),
    "loss": ("name", "loss"),
    "optim": ("optimizer", "optimizer"),
}


class Section(BaseModel):
    """Frozen, strict, without unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class Plug(Section):
    """A section that names a part; its further keys are the options of that part."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Plain]

    @property
    def options(self) -> dict[str, Plain]:
        """Every option of the part, defaults included."""
        return dict(self.__pydantic_extra__)


class Data(Plug):
    """Data set, its place, and the scaling of its pixels."""

    dataset: str
    image_size: Count
    channels: Count
    path: MaybeText = None  # a folder or zip; null: EXP/datasets/<name>
    test_path: MaybeText = None
    holdout: Fraction = 0.0  # held out where the source has no test split
    download: bool = False  # fetch what torchvision can fetch when it is missing
    classes: bool | Count = False  # train with labels; a number where the source does not know it
    random_flip: bool = False
    augment: Fraction = 0.0  # probability of each transformation that the network is told of
    num_workers: CountOrZero = 0
    in_memory: Literal["auto", True, False] = "auto"
    rescaled: bool = True
    logit_transform: bool = False
    uniform_dequantization: bool = False
    gaussian_dequantization: bool = False


class Model(Plug):
    """The network and its averages."""

    name: str = "ddpm"
    var_type: Literal["fixedlarge", "fixedsmall", "learned"] = "fixedlarge"
    ema: bool = True
    ema_rate: Rate | Annotated[tuple[Rate, ...], MinLen(1)] | None = None  # null: as below
    ema_half_life: Quantity | Annotated[tuple[Quantity, ...], MinLen(1)] | None = None  # in images
    ema_warmup: bool = False
    ema_rampup: Positive | None = None  # half-life at most so many times the images seen; EDM: 0.05
    ema_powers: Annotated[tuple[Length, ...], MinLen(1)] | None = None  # EDM2's, by their lengths

    @property
    def averages(self) -> tuple[float, ...]:
        """Every average that is kept, named by its rate (below 1) or its half-life in images (from
        1 on), whichever the config says; none with `ema: false`.
        """
        said = self.ema_half_life if self.ema_rate is None else self.ema_rate
        named = said if isinstance(said, tuple) else (said,) if said else ()
        return named if self.ema else ()


class Diffusion(Plug):
    """The process that turns data into noise, and what the network says about it."""

    process: str = "vp"
    predicts: Literal["eps", "x0", "v", "velocity", "edm"] = "eps"
    mixed_score: Literal["none", "normal", "velocity"] = "none"  # what the network's answer adds to


class Loss(Plug):
    """The training objective."""

    name: str = "simple"
    reduction: Literal["mean", "sum"] = "mean"


class Training(Section):
    """Length of a training, its portions, and the steps between savings and pictures."""

    batch_size: Count = 128  # over all processes
    grad_accum: Count = 1  # batches whose mean gradient makes one update
    micro_batch: MaybeCount = None  # images per forward and backward pass on one device
    n_images: Quantity | None = None  # whichever of n_images, n_epochs and n_iters ends first
    n_epochs: MaybeCount = None
    n_iters: MaybeCount = None  # updates; 800,000 where none of the three is said
    times: str = "antithetic"  # spec of a density of training times
    label_dropout: Fraction = 0.0  # share of labels that become "no class", for guidance
    weight: str = "none"  # spec of a loss weight, such as p2:1:0.5; it moves no loss that is logged
    snapshot_freq: Count = 5000
    validation_freq: CountOrZero = 2000  # 0: never
    log_freq: Count = 100
    sample_freq: CountOrZero = 5000  # 0: never
    ema_snapshot_freq: MaybeCount = None  # of model.ema_powers; null: 32 in a training
    keep_last: Count = 2
    milestone_freq: CountOrZero = 0  # 0: no checkpoints are kept for good
    precision: Precision = "fp32"
    compile: bool = False
    tf32: bool = False
    channels_last: bool = False

    @property
    def images_per_update(self) -> int:
        """Images of one update of the weights, over all processes."""
        return self.batch_size * self.grad_accum

    def end(self, images: int) -> tuple[str, int]:
        """The key that ends a training on a data set of so many images, and its updates."""
        size = self.images_per_update
        said = {"n_images": self.n_images, "n_epochs": self.n_epochs and self.n_epochs * images}
        updates = {key: -(-count // size) for key, count in said.items() if count}
        if self.n_iters or not updates:
            updates["n_iters"] = self.n_iters or 800_000
        key = min(updates, key=updates.__getitem__)
        return key, updates[key]

    def between_snapshots(self, total: int) -> int:
        """Updates from one snapshot of model.ema_powers to the next, in a training of `total`."""
        return self.ema_snapshot_freq or -(-total // 32)


class Sampling(Section):
    """Number of images, sampler, time grid, weights."""

    batch_size: Count = 64
    n_samples: Count = 50_000
    sample_type: str = "generalized"  # spec of a sampler, such as deis:3
    skip_type: str = "uniform"  # spec of a time grid, such as karras:7
    timesteps: MaybeCount = None  # null: every time of the process
    nfe: MaybeCount = None  # in place of timesteps: at most so many evaluations of the network
    eta: PositiveOrZero | None = None
    order: CountOrZero | None = None
    variable: str | None = None
    eps_scale: str = "none"  # none, or a spec such as skip:9:0.99
    classes: CountOrZero | MaybeText = None  # all, 3 or 3,5; image i has class i mod n of these
    guidance: PositiveOrZero | MaybeText = None  # weight, or such as 2:0.2-0.8 in noise levels
    guide: MaybeText = None  # DOC[:STEP] or a file: a weaker model to be guided away from
    clip: bool | MaybeText = None  # true, or such as dynamic:0.995; null: as the sampler has it
    variance: Literal["large", "small", "learned"] | None = None  # null: as model.var_type has it
    # One of model.ema_rate or model.ema_half_life; none: raw; null: the first.
    ema: Literal["none"] | Rate | Quantity | None = None
    ema_length: Length | None = None  # in place of ema: made from snapshots of model.ema_powers
    precision: Precision = "fp32"
    last_only: Literal[True] = True  # intermediate states are not kept; --sequence shows them
    ckpt_id: MaybeCount = None  # the training step of the checkpoint; null: the newest

    @property
    def said(self) -> dict[str, float | str]:
        """Options of the sampler that have a key of their own and are set."""
        found = {key: getattr(self, key) for key in SAMPLER_KEYS}
        return {key: value for key, value in found.items() if value is not None}


class Optim(Plug):
    """The optimizer of the weights and its learning rate."""

    optimizer: str = "Adam"
    lr: Positive = 2e-4
    grad_clip: Positive | None = None
    warmup: CountOrZero = 0  # steps over which the learning rate rises to lr
    anneal: str = "none"  # none, or the spec of a learning-rate anneal, such as inverse_sqrt:70M


class Evaluation(Section):
    """Feature extractor and metrics of samples."""

    features: str = "inception"  # spec of a feature extractor
    metrics: tuple[str, ...] | None = None  # specs of metrics; null: all there are
    inception_weights: MaybeText = None
    batch_size: Count = 64
    kid_subsets: Count = 100
    kid_subset_size: Count = 1000
    test_images: MaybeCount = None  # held-out images of a likelihood; null: all
    # Normal distribution function of the bound's decoder: as published figures have it, or exact.
    decoder: Literal["tanh", "erf"] = "tanh"


class Import(Section):
    """A file that parts of this config were imported from, as a saved config records it."""

    file: Annotated[str, MinLen(1)]
    sha256: Annotated[str, MinLen(64)]
