"""The sections of a config: keys, types, ranges and defaults.

Every description completes the sentence "it should be ..." and is what an error message shows.
Key names are the DDIM repository's where it has the key. A section with a `name` also holds the
options of what is built by that name; they are checked against its signature (components.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer

Count = Annotated[int, Field(ge=1, description="a whole number, at least 1")]
CountOrZero = Annotated[int, Field(ge=0, description="a whole number, at least 0")]
MaybeCount = Annotated[
    Annotated[int, Field(ge=1)] | None, Field(description="a whole number, at least 1, or null")
]
Flag = Annotated[bool, Field(description="true or false")]
Positive = Annotated[float, Field(gt=0, description="a number above 0")]
PositiveOrZero = Annotated[float, Field(ge=0, description="a number, at least 0")]
Fraction = Annotated[float, Field(ge=0, lt=1, description="a number, at least 0 and below 1")]
Rate = Annotated[float, Field(gt=0, lt=1)]
MaybePath = Annotated[str | None, Field(min_length=1, description="a path, or null")]
# Options of networks and losses: any plain value; lists become tuples, so that nothing can change.
Scalar = bool | int | float | str | None
Plain = Scalar | tuple[Scalar, ...]
SPEC = "the name of {}, with options where wanted, as in {}"
SAMPLER_KEYS = ("eta", "order", "variable", "variance")  # options of samplers, said in other words

FIXED_SHAPES = {  # image size and channels of data sets that have only one
    "DIGITS": (8, 1),
    "CIFAR10": (32, 3),
    "MNIST": (28, 1),
    "FASHIONMNIST": (28, 1),
}


class Section(BaseModel):
    """Frozen, strict, without unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class Data(Section):
    """Which images, where they lie, and how they are scaled."""

    dataset: Literal[
        "DIGITS",
        "CIFAR10",
        "CELEBA",
        "LSUN",
        "FFHQ",
        "FLOWERS",
        "MNIST",
        "FASHIONMNIST",
        "FOLDER",
    ] = Field(
        description="DIGITS, CIFAR10, CELEBA, LSUN, FFHQ, FLOWERS, MNIST, FASHIONMNIST or FOLDER"
    )
    image_size: Count
    channels: Count
    path: MaybePath = None  # a folder or zip; null: EXP/datasets/<name>
    test_path: MaybePath = None
    holdout: Fraction = 0.0  # held out where the source has no test split
    category: MaybePath = Field(
        default=None, description="an LSUN category such as bedroom, or null"
    )
    download: Flag = False  # fetch what torchvision can fetch when it is missing
    random_flip: Flag = False
    num_workers: CountOrZero = 0
    in_memory: Literal["auto", True, False] = Field(
        default="auto", description="auto, true or false"
    )
    rescaled: Flag = True
    logit_transform: Flag = False
    uniform_dequantization: Flag = False
    gaussian_dequantization: Flag = False


class Model(Section):
    """The network and its averages; every further key is an option of the network `name`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Plain]

    name: str = Field(default="ddpm", description="the name of a network")
    var_type: Literal["fixedlarge", "fixedsmall"] = Field(
        default="fixedlarge", description="fixedlarge or fixedsmall"
    )
    ema: Flag = True
    ema_rate: Rate | Annotated[tuple[Rate, ...], Field(min_length=1)] = Field(
        default=0.9999, description="a number above 0 and below 1, or a list of such"
    )
    ema_warmup: Flag = False

    @property
    def options(self) -> dict[str, Plain]:
        """What `models.build(name, **options)` is called with."""
        return dict(self.__pydantic_extra__)

    @property
    def ema_rates(self) -> tuple[float, ...]:
        """Every rate an average is kept for; none with `ema: false`."""
        rates = self.ema_rate if isinstance(self.ema_rate, tuple) else (self.ema_rate,)
        return rates if self.ema else ()


PROCESS_KEYS = {  # keys of a process, and what its constructor calls them
    "vp": {
        "beta_schedule": "schedule",
        "beta_start": "beta_start",
        "beta_end": "beta_end",
        "num_diffusion_timesteps": "steps",
    },
    "vpsde": {"beta_min": "beta_min", "beta_max": "beta_max"},
    "cld": {k: k for k in ("beta", "inverse_mass", "gamma", "parametrisation")},
    "blur": {k: k for k in ("blur_max", "min_scale")},
}


class Diffusion(Section):
    """The process that turns data into noise; keys of the other processes are refused."""

    process: Literal["vp", "vpsde", "cld", "blur"] = Field(
        default="vp", description="vp, vpsde, cld or blur"
    )
    beta_schedule: Literal["linear", "quad", "const", "jsd", "sigmoid", "cosine"] = Field(
        default="linear", description="linear, quad, const, jsd, sigmoid or cosine"
    )
    beta_start: Rate = Field(default=1e-4, description="a number above 0 and below 1")
    beta_end: Rate = Field(default=0.02, description="a number above 0 and below 1")
    num_diffusion_timesteps: Count = 1000
    beta_min: Positive = 0.1
    beta_max: Positive = 20.0
    beta: Positive = 4.0
    inverse_mass: Positive = 4.0
    gamma: Positive = 0.04
    parametrisation: Literal["R", "L"] = Field(default="R", description="R or L")
    blur_max: PositiveOrZero = 10.0
    min_scale: Annotated[float, Field(gt=0, le=1, description="a number above 0 and at most 1")] = (
        1e-3
    )
    mixed_score: Literal["none", "normal", "velocity"] = Field(  # what the network's answer adds to
        default="none", description="none, normal or, for cld, velocity"
    )

    def options(self, image_size: int) -> dict[str, str | int | float]:
        """What `PROCESSES[process](**options)` is called with, for square images of this size."""
        own = {name: getattr(self, key) for key, name in PROCESS_KEYS[self.process].items()}
        return {"image_size": image_size, **own} if self.process == "blur" else own

    @model_serializer
    def _used(self) -> dict[str, str | int | float]:
        """What is written down is what the process uses."""
        used = ("process", *PROCESS_KEYS[self.process], "mixed_score")
        return {key: getattr(self, key) for key in used}


class Loss(Section):
    """The training objective; every further key is an option of the loss `name`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Plain]

    name: str = Field(default="simple", description="the name of a loss")
    reduction: Literal["mean", "sum"] = Field(default="mean", description="mean or sum")

    @property
    def options(self) -> dict[str, Plain]:
        """What `LOSSES[name](denoiser, x0, t, noise, **options)` is called with."""
        return dict(self.__pydantic_extra__)


class Training(Section):
    """How long, in which portions, and how often something is saved or shown."""

    batch_size: Count = 128  # of one update, over all processes
    micro_batch: MaybeCount = None  # images per forward and backward pass on one device
    n_epochs: MaybeCount = None  # whichever of n_epochs and n_iters ends first
    n_iters: Count = 800_000
    times: str = Field(default="antithetic", description="the name of a density of training times")
    snapshot_freq: Count = 5000
    validation_freq: Count = 2000
    log_freq: Count = 100
    sample_freq: CountOrZero = 5000  # 0: no pictures while training
    keep_last: Count = 2
    milestone_freq: CountOrZero = 0  # 0: no checkpoints are kept for good
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="fp32, bf16 or fp16"
    )
    compile: Flag = False
    tf32: Flag = False
    channels_last: Flag = False


class Sampling(Section):
    """Which images are drawn, and how."""

    batch_size: Count = 64
    n_samples: Count = 50_000
    sample_type: str = Field(default="generalized", description=SPEC.format("a sampler", "deis:3"))
    skip_type: str = Field(default="uniform", description=SPEC.format("a grid", "karras:7"))
    timesteps: MaybeCount = None  # null: every time of the process
    nfe: MaybeCount = None  # in place of timesteps: at most so many evaluations of the network
    eta: PositiveOrZero = 0.0
    order: CountOrZero | None = Field(
        default=None, description="a whole number, at least 0, or null"
    )
    variable: str | None = Field(default=None, description="t, rho, lambda or null")
    eps_scale: str = Field(default="none", description="none, or such as skip:9:0.99")
    clip: bool | None = Field(
        default=None, description="true, false or null (null: as sample_type has it)"
    )
    variance: Literal["large", "small", "learned"] | None = Field(
        default=None, description="large, small or null (null: as model.var_type has it)"
    )
    ema: Literal["none"] | Rate | None = Field(
        default=None,
        description="one of model.ema_rate, none for the raw weights, or null for the first",
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="fp32, bf16 or fp16"
    )
    last_only: Literal[True] = Field(
        default=True, description="true: only finished images are kept, intermediate states are not"
    )
    ckpt_id: MaybeCount = None  # the training step of the checkpoint; null: the newest

    @property
    def said(self) -> dict[str, float | str]:
        """Those options of the sampler that are keys of their own and are set."""
        found = {key: getattr(self, key) for key in SAMPLER_KEYS}
        unset = {**dict.fromkeys(found), "eta": 0.0}
        return {key: value for key, value in found.items() if value != unset[key]}


class Optim(Section):
    """The optimiser of the weights."""

    optimizer: Literal["Adam", "AdamW"] = Field(default="Adam", description="Adam or AdamW")
    lr: Positive = 2e-4
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Positive = 1e-8
    weight_decay: PositiveOrZero = 0.0
    amsgrad: Flag = False
    grad_clip: float | None = Field(default=None, gt=0, description="a number above 0, or null")
    warmup: CountOrZero = 0  # steps over which the learning rate rises to lr


class Evaluation(Section):
    """How samples are measured."""

    features: Literal["inception", "classifier"] = Field(
        default="inception", description="inception or classifier"
    )
    inception_weights: MaybePath = None
    batch_size: Count = 64
    kid_subsets: Count = 100
    kid_subset_size: Count = 1000
