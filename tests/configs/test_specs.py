"""Spec text: what it means, its canonical form, and what is refused in one line."""

from typing import Literal

import pytest

from configs.parts import Facts, Registry
from configs.schema import ConfigError, load, specs

REGISTRY = Registry("made thing", Facts, ("process", "grid"))


@REGISTRY.part(title="made", paper="", aliases={"old": "1"})
def made(
    process,
    grid,
    order: int = 3,
    variable: Literal["t", "rho"] = "t",
    scale: float = 1.0,
    flag: bool = False,
    late: bool | None = True,
):
    return process, grid, order, variable, scale, flag, late


@REGISTRY.part(title="bare", paper="")
def bare(process, grid):
    return process, grid


@pytest.mark.parametrize(
    ("text", "given", "canonical"),
    [
        ("made", {}, "made"),
        ("made:3", {"order": 3}, "made"),
        ("made:2", {"order": 2}, "made:2"),
        ("made:2:rho", {"order": 2, "variable": "rho"}, "made:2:rho"),
        ("made:order=2", {"order": 2}, "made:2"),
        ("made:variable=rho", {"variable": "rho"}, "made:variable=rho"),
        ("made:3:rho", {"order": 3, "variable": "rho"}, "made:variable=rho"),
        ("made:scale=1e-5", {"scale": 1e-5}, "made:scale=1e-05"),
        ("made:scale=inf", {"scale": float("inf")}, "made:scale=inf"),
        ("made:2,rho,1.017,true", None, "made:2:rho:1.017:true"),
        (" made:flag=true:order=0 ", {"flag": True, "order": 0}, "made:0:flag=true"),
        ("made:late=none", {"late": None}, "made:late=none"),
        ("made:2:t:1:true:null", None, "made:2:flag=true:late=none"),
        ("made:late=false", {"late": False}, "made:late=false"),
        ("bare", {}, "bare"),
        ("old", {"order": 1}, "made:1"),
        ("old:rho", {"order": 1, "variable": "rho"}, "made:1:rho"),
    ],
)
def test_what_a_text_means(text, given, canonical):
    spec = specs.parse(text, REGISTRY)
    assert given is None or spec.given == given
    assert str(spec) == canonical
    again = specs.parse(canonical, REGISTRY)
    assert again.options == spec.options and str(again) == canonical
    assert spec.build(1, 2, **spec.options)[:2] == (1, 2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("maid", "maid is unknown; it should be made, bare or old; did you mean made?"),
        ("", " is unknown; it should be made, bare or old"),
        ("made:x", "order 'x' is not valid; it should be a whole number"),
        ("made:2.5", "order '2.5' is not valid; it should be a whole number"),
        ("made:2:lambda", "variable 'lambda' is not valid; it should be t or rho"),
        ("made:scale=nan", "scale 'nan' is not valid; it should be a number"),
        ("made:flag=maybe", "flag 'maybe' is not valid; it should be true or false"),
        ("made:", "order '' is not valid"),
        ("made:odrer=2", "'odrer=2' fits no option; made has the options order, variable, scale"),
        ("made:odrer=2", "did you mean order?"),
        ("made:2:t:1:true:true:9", "'9' fits no option"),
        ("made:none", "order 'none' is not valid; it should be a whole number"),
        ("made:late=maybe", "late 'maybe' is not valid; it should be true or false or null"),
        ("made:2:order=2", "order is given twice"),
        ("made:process=1", "'process=1' fits no option"),
        ("bare:1", "'1' fits no option; bare has no options"),
    ],
)
def test_what_a_text_cannot_mean(text, told):
    with pytest.raises(specs.SpecError) as caught:
        specs.parse(text, REGISTRY)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_registered_name_is_its_own_canonical_text():
    from functions.grids import GRIDS
    from functions.samplers import SAMPLERS
    from functions.scales import SCALES

    for parse, registry in (
        (specs.sampler, SAMPLERS),
        (specs.grid, GRIDS),
        (specs.scale, SCALES),
    ):
        for name in registry:
            spec = parse(name)
            assert str(spec) == name and spec.options == parse(str(spec)).options
    assert specs.scale("none") is None
    assert str(specs.sampler("generalized")) == "ddim"
    assert specs.sampler("ddpm_noisy").options == {"variance": "large"}
    assert specs.sampler("heun").record["s_max"] == "inf"  # JSON has no infinity


def test_scales_may_be_written_with_commas():
    assert specs.scale("linear:0,1.017").options == {"k": 0.0, "b": 1.017}
    assert specs.scale("skip:9:0.99:shared").options["noise"] == "shared"


def sampler(*words, base="digits"):
    keys = [words[i : i + 2] for i in range(0, len(words), 2)]
    return load(base, [(f"sampling.{key}", text, f"--{key}") for key, text in keys]).sampler()


def refused(*words):
    with pytest.raises(ConfigError) as caught:
        sampler(*words)
    (line,) = caught.value.lines
    return line


def test_keys_are_options_of_the_sampler():
    assert str(sampler("sample_type", "deis", "order", "2", "variable", "rho")) == "deis:2:rho"
    assert str(sampler("sample_type", "deis", "order", "0")) == "deis:0"
    assert str(sampler("eta", "0.5")) == "ddim:0.5"
    assert str(sampler("sample_type", "ddpm", "variance", "small")) == "ddpm:small"
    assert sampler("sample_type", "ddpm_noisy").clip and not sampler("sample_type", "deis").clip
    assert sampler("sample_type", "deis", "clip", "true").clip
    assert str(sampler("sample_type", "rk45:1e-3")) == "rk45:0.001"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sample_type", "dies:3"), "did you mean deis?"),
        (("sample_type", "deis:3", "order", "2"), "2 has no effect with sample_type deis:3"),
        (("sample_type", "f_pndm", "order", "2"), "2 has no effect with sample_type f_pndm"),
        (("sample_type", "f_pndm", "eta", "1"), "1 has no effect with sample_type f_pndm"),
        (("sample_type", "deis", "variable", "rh"), "should be t, rho or lambda"),
        (("order", "1.5"), "order: 1.5 is not valid; it should be a whole number"),
        (("sample_type", "rk45", "timesteps", "10"), "which chooses its own steps"),
        (("sample_type", "rk45", "nfe", "10"), "which chooses its own steps"),
        (("timesteps", "10", "nfe", "10"), "exclude each other"),
        (("sample_type", "ddpm", "variance", "learned"), "needs a network that answers variances"),
        (("sample_type", "ddpm:learned"), "needs a network that answers variances"),
        (("sample_type", "deis:9"), "order '9' is not valid; it should be a whole number from 0"),
        (("sample_type", "ddim:-3"), "eta '-3' is not valid; it should be a number, at least 0"),
        (("sample_type", "deis", "order", "9"), "it should be a whole number from 0 to 3"),
        (("eps_scale", "skp:9"), "did you mean skip?"),
        (("eps_scale", "none:1"), "none is unknown; it should be linear or skip"),
        (("skip_type", "karas"), "did you mean karras?"),
        (("skip_type", "karras:x"), "rho 'x' is not valid"),
        (("skip_type", "respaced:ddim300"), "it should be ddim250 or ddim334"),
        (("skip_type", "respaced:1+x"), "respaced:1+x means nothing"),
        (("skip_type", "respaced:250", "timesteps", "10"), "10 does not fit skip_type resp"),
        (("skip_type", "respaced:250", "nfe", "10"), "which has 250 steps; it should be left out"),
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_are_told(words, told):
    line = refused(*words)
    assert told in line and line.startswith("--")


def test_steps_and_evaluations_give_way_to_what_was_typed():
    config = load("digits", [("sampling.nfe", "20")])
    assert (config.sampling.nfe, config.sampling.timesteps) == (20, None)
    assert load("digits", [("sampling.timesteps", "5")]).sampling.nfe is None
    assert load("digits", [("sampling.sample_type", "rk45")]).sampling.timesteps == 50
    respaced = ("sampling.skip_type", "respaced:10,15,20")
    assert load("digits", [respaced]).sampling.timesteps is None
    assert load("digits", [respaced, ("sampling.timesteps", "45")]).sampling.timesteps == 45
    assert load("digits", [("sampling.skip_type", "quad")]).sampling.timesteps == 50
