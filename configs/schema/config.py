"""Config: one experiment, frozen and valid, and what its sections build; its YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from annotated_types import Ge, Lt
from pydantic import Field

from configs import imports
from configs.parts import Part, Registry
from configs.schema import conditions, options, specs
from configs.schema.sections import (
    PLUGS,
    Data,
    Diffusion,
    Evaluation,
    Import,
    Loss,
    Model,
    Optim,
    Sampling,
    Section,
    Training,
)
from configs.values import names_of, show

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from functions.denoiser import Denoiser
    from functions.process import Process
    from functions.times import TimeSampler

Seed = Annotated[int, Ge(0), Lt(2**63)]


@dataclass(frozen=True)
class Sampler(specs.Spec):
    """Spec of a sampler. clip: how the predicted x0 is kept in range, None for not at all."""

    clip: specs.Spec | None = None

    @property
    def clipping(self) -> bool | str:
        """The clip as a record holds it: false, true, or its spec."""
        return str(self.clip) if self.clip and str(self.clip) != "static" else bool(self.clip)


class Config(Section):
    """One experiment. `comment` is free text that is kept with the run."""

    data: Data
    model: Model
    diffusion: Diffusion
    loss: Loss
    training: Training = Field(default_factory=Training)
    sampling: Sampling = Field(default_factory=Sampling)
    optim: Optim
    evaluation: Evaluation = Field(default_factory=Evaluation)
    seed: Seed = 1234
    comment: str = ""
    imports: tuple[Import, ...] = ()

    def process(self) -> Process:
        """The process of `diffusion`, for images of this size. Raises ValueError as it does."""
        from functions.process import PROCESSES

        part = PROCESSES.parts[self.diffusion.process]
        return part.make(self.diffusion.options, image_size=self.data.image_size)

    def denoiser(
        self,
        network: nn.Module,
        process: Process,
        clip: specs.Spec | None = None,
        variance: str | None = None,
    ) -> Denoiser:
        """The network as the process' denoiser. clip: how x0 is kept in range. variance: of a
        reverse step, where it is not that of model.var_type. Raises ValueError where the process
        has no such prediction, mixed score or variance.
        """
        from functions.denoiser import Denoiser

        how, kept = self.diffusion, None if clip is None else clip.build(**clip.options)
        chosen: Any = variance or self.model.var_type.removeprefix("fixed")
        return Denoiser(network, process, how.predicts, kept, how.mixed_score, chosen)

    @property
    def no_class(self) -> int | None:
        """The label that means "no class"; None where the network has no such row."""
        return int(self.data.classes) if self.training.label_dropout > 0 else None

    def classes(self) -> tuple[int, ...]:
        """Classes that samples are asked for: image i has class i mod n of these n. Empty for a
        model without classes.
        """
        return conditions.read_classes(self.sampling.classes, int(self.data.classes))

    def guidance(self) -> conditions.Guidance | None:
        """The guidance of samples, None where it has no effect."""
        if (text := self.sampling.guidance) is None:
            return None
        asked = conditions.read_guidance(text)
        return None if asked.weight == 1 else asked

    def times(self, process: Process) -> TimeSampler:
        """The density of training times."""
        spec = specs.times(self.training.times)
        return spec.build(process, **spec.options)

    def weight(self, process: Process) -> Callable[[Tensor], Tensor]:
        """The loss weight: times -> factors on what the loss compares, float64. Raises ValueError,
        when it is called, for a process on which it is not defined.
        """
        from functions.loss import LOSSES

        spec = specs.weight(self.training.weight)
        on_eps = LOSSES.parts[self.loss.name].facts.compares == "eps"
        predicts = "eps" if on_eps else self.diffusion.predicts
        return lambda t: spec.part.make(spec.options, process=process, t=t, predicts=predicts)

    def anneal(self) -> specs.Spec | None:
        """The anneal of the learning rate, None for none."""
        return specs.anneal(self.optim.anneal)

    @property
    def ema_rates(self) -> tuple[float, ...]:
        """The rate of every average of `model.averages`: 0.5^(images of an update / half-life)."""
        size = self.training.images_per_update
        return tuple(a if a < 1 else 0.5 ** (size / a) for a in self.model.averages)

    def optimizer(self, parameters: Iterable[nn.Parameter], fused: bool) -> Optimizer:
        """The optimizer of these parameters."""
        from models.optimizers import OPTIMIZERS

        made = OPTIMIZERS[self.optim.optimizer]
        return made(parameters, lr=self.optim.lr, fused=fused, **self.optim.options)

    def sampler(self) -> Sampler:
        """The sampler, with the keys beside `sample_type` that are options of it.

        ddpm has the variance of `sampling.variance`, else of `model.var_type`, and clips x0 unless
        `sampling.clip` says otherwise.
        """
        spec, clip = specs.sampler(self.sampling.sample_type), self.sampling.clip
        said = self.sampling.said
        if spec.name == "ddpm":
            said.setdefault("variance", self.model.var_type.removeprefix("fixed"))
        for key, value in said.items():
            if key in spec.part.options and key not in spec.given:
                spec = spec.with_option(key, show(value))
        asked = specs.clip(spec.name == "ddpm" if clip is None else clip)
        return Sampler(spec.part, spec.given, asked)

    def grid(self) -> specs.Spec:
        """The time grid."""
        return specs.grid(self.sampling.skip_type)

    def steps_of_grid(self, process: Process) -> int | None:
        """Steps that the time grid's own options say; None where sampling.timesteps says them.
        Raises ValueError as the grid does.
        """
        spec = self.grid()
        count = spec.part.facts.count
        return None if count is None else count(process, **spec.options)

    def scale(self) -> specs.Spec | None:
        """The eps scale, None for none."""
        return specs.scale(self.sampling.eps_scale)

    def extractor(self) -> specs.Spec:
        """The feature extractor, with `inception_weights` where it is an option of it."""
        spec, weights = specs.extractor(self.evaluation.features), self.evaluation.inception_weights
        if weights is not None and "weights" in spec.part.options and "weights" not in spec.given:
            spec = specs.Spec(spec.part, {**spec.given, "weights": weights})
        return spec

    def metrics(self) -> list[specs.Spec]:
        """The metrics, all there are where the config names none; KID's sizes as the keys say."""
        from functions.metrics import METRICS

        keys = {
            "subsets": self.evaluation.kid_subsets,
            "subset_size": self.evaluation.kid_subset_size,
        }
        found = [specs.metric(text) for text in self.evaluation.metrics or METRICS]
        return [
            specs.Spec(spec.part, {**keys, **spec.given}) if spec.name == "kid" else spec
            for spec in found
        ]

    def image_parts(self) -> list[Part[Any, Any]]:
        """The parts that decide an image."""
        sampler = self.sampler()
        drawn = [sampler, self.grid(), *filter(None, [sampler.clip, self.scale()])]
        return [*self._named("model", "diffusion"), *_parts_of(drawn)]

    def parts(self) -> list[Part[Any, Any]]:
        """Every part that the config names."""
        named = [specs.times(self.training.times), specs.weight(self.training.weight)]
        named += [self.sampler(), self.grid(), self.extractor()]
        named += [*filter(None, [self.sampler().clip, self.scale(), self.anneal()])]
        named += self.metrics() if self.evaluation.metrics else []
        return [*self._named(*PLUGS), *_parts_of(named)]

    def _named(self, *sections: str) -> list[Part[Any, Any]]:
        own = {name: getattr(self, name) for name in sections}
        named = {name: options.part_of(name, one.model_dump()) for name, one in own.items()}
        found = [(part, own[name].options) for name, part in named.items() if part is not None]
        return [one for part, given in found for one in _and_named(part, given)]

    def recorded(self) -> Config:
        """The config with the files that its parts were imported from by this command."""
        files = [Import(**record) for record in imports.records(self.parts())]
        return self.model_copy(update={"imports": tuple(files)})


def _parts_of(named: Iterable[specs.Spec]) -> list[Part[Any, Any]]:
    return [part for spec in named for part in _and_named(spec.part, spec.options)]


def _and_named(part: Part[Any, Any], given: Mapping[str, Any]) -> list[Part[Any, Any]]:
    """The part, and those that its options name, such as the noise schedule of a process."""
    registries = {key: names_of(known.annotation) for key, known in part.options.items()}
    return [part] + [
        registry.parts[given[key]]
        for key, registry in registries.items()
        if isinstance(registry, Registry) and given.get(key) in registry.parts
    ]


def dump(config: Config) -> str:
    """YAML of every key that means something in this config; loads again as an equal Config."""
    values = config.model_dump(mode="json")
    if not config.imports:
        del values["imports"]
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Sections as blocks, lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True)
)
