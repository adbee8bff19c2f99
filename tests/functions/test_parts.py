"""Parts of the mathematics: the facts that they state and the ranges of their options."""

import inspect

import pytest
import torch

from configs import papers, values
from configs.parts import PartError
from configs.schema import specs
from configs.values import Count
from functions import parts
from functions.anneals import ANNEALS
from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.loss import LOSSES
from functions.metrics import METRICS
from functions.process import PROCESSES, SCHEDULES, VP
from functions.samplers import SAMPLERS
from functions.scales import SCALES
from functions.times import TIMES
from functions.weights import WEIGHTS

REGISTRIES = [PROCESSES, SCHEDULES, LOSSES, TIMES, WEIGHTS, SAMPLERS, GRIDS, SCALES, METRICS]
REGISTRIES += [ANNEALS]
PARTS = [part for registry in REGISTRIES for part in registry.parts.values()]


def test_the_registries_hold_what_they_held():
    assert all(registry in vars(parts).values() for registry in REGISTRIES)
    names = {registry.kind: set(registry) for registry in REGISTRIES}
    assert names["process"] >= {"vp", "vpsde", "cld", "blur", "flow", "edm"}
    assert names["noise schedule"] >= {"linear", "quad", "const", "jsd", "sigmoid", "cosine"}
    assert names["loss"] >= {"simple", "skip"}
    assert names["density of times"] >= {"uniform", "antithetic", "under", "loss_second_moment"}
    assert names["loss weight"] >= {"none", "snr", "p2", "min_snr", "edm", "snr_plus_one"}
    assert names["sampler"] >= {"ddim", "ddpm", "deis", "gddim", "heun", "unipc", "rk45"}
    assert names["eps scale"] >= {"skip", "linear"}
    assert names["learning-rate anneal"] >= {"linear", "cosine", "inverse_sqrt"}
    assert names["metric"] >= {"distance", "kid", "precision", "recall", "is"}


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_every_part_introduces_itself(part):
    """A title, a paper that papers.bib holds, a docstring, and a default that its range allows."""
    assert part.facts.title.strip()
    assert part.facts.paper == "" or part.facts.paper in papers.entries()
    assert (part.build.__doc__ or "").strip()
    for key, option in part.options.items():
        assert values.words(option.annotation), key
        if option.default is not inspect.Parameter.empty:
            assert values.fits(option.annotation, option.default), key
    assert set(part.facts.keys.values()) <= set(part.options)


def test_the_names_of_the_ddim_repository_are_aliases():
    for alias, name, options in (("generalized", "ddim", ""), ("ddpm_noisy", "ddpm", "large")):
        part, said = SAMPLERS.find(alias)
        assert (part.name, said) == (name, options)
    assert PROCESSES.parts["vp"].facts.keys["beta_schedule"] == "schedule"
    assert PROCESSES.parts["vp"].facts.keys["num_diffusion_timesteps"] == "steps"


GIVEN = {  # what the program gives itself
    "process": (),
    "time grid": (VP(), 10),
    "eps scale": (VP(),),
    "density of times": (VP(),),
    "loss weight": (VP(), torch.arange(3)),
    "learning-rate anneal": (5, 10),
    "sampler": (VP(), torch.linspace(900, -1, 11)),
}
RANGED = [
    (part, key)
    for part in PARTS
    for key, option in part.options.items()
    if part.kind in GIVEN and option.annotation not in (bool, bool | None, float)
]


@pytest.mark.parametrize(("part", "key"), RANGED, ids=str)
def test_builders_refuse_what_the_signature_does_not_allow(part, key):
    """The same range that a config, a flag and a spec are checked against."""
    annotation = part.options[key].annotation
    wrong = next(value for value in (-7, -3.5, "nothing") if not values.fits(annotation, value))
    given = (4,) if part.name == "blur" else GIVEN[part.kind]
    with pytest.raises(ValueError, match=f"^{key} .* is not valid; it should be [^\n]*$"):
        part.build(*given, **{key: wrong})


def test_a_loss_refuses_a_tau_of_two():
    denoiser = Denoiser(torch.nn.Identity(), VP())
    x = torch.zeros(2, 1, 4, 4)
    with pytest.raises(ValueError, match="tau 2 is not valid; it should be a number from 0 to 1"):
        LOSSES["skip"](denoiser, x, torch.tensor([5, 50]), x, tau=2.0)


def test_two_metrics_never_have_one_label(monkeypatch):
    monkeypatch.setattr(METRICS, "parts", dict(METRICS.parts))
    with pytest.raises(PartError, match="'mine' has the label recall, which is that of functions/"):

        @METRICS.part(title="x", paper="", label="recall", lower_is_better=True, unit="share")
        def mine(seen): ...


def test_a_metric_is_measured_without_being_told_options(monkeypatch):
    monkeypatch.setattr(METRICS, "parts", dict(METRICS.parts))
    with pytest.raises(PartError, match="'mine' has no default for k; --fid measures it"):

        @METRICS.part(title="x", paper="", label="mine", lower_is_better=True, unit="share")
        def mine(seen, k: int): ...


def test_a_misspelt_fact_is_named():
    with pytest.raises(PartError, match="'mine' states unti; a metric states title, paper"):
        METRICS.part("mine", title="x", paper="", unti="share")(print)


def test_a_spec_says_which_option_is_missing(monkeypatch):
    monkeypatch.setattr(GRIDS, "parts", dict(GRIDS.parts))

    @GRIDS.part(title="x", paper="")
    def mine(process, steps, share: Count): ...

    with pytest.raises(
        specs.SpecError, match="mine: share is missing; it should be a whole number"
    ):
        specs.grid("mine")
