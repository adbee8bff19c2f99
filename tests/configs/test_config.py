"""Configs: what loads, what is refused and how it is told, and that a saved config loads again."""

import json
import re
from pathlib import Path
from typing import Annotated

import pytest
import torch
import yaml
from annotated_types import Ge
from torch import Tensor

from configs.schema import Config, ConfigError, dump, from_values, load
from configs.schema.json_schema import json_schema
from configs.schema.options import state_shape
from configs.schema.sections import Training
from configs.schema.source import SourceError, parse
from functions.metrics import METRICS
from functions.plan import Plan
from functions.process import Process
from functions.samplers import SAMPLERS, ddim
from models import NETWORKS

HERE = Path(__file__).parents[1]
CONFIGS = sorted((HERE.parent / "configs").glob("*.yml"))
DDIM = sorted((HERE / "golden" / "configs").glob("*.yml"))
TINY = "data: {dataset: DIGITS}\nmodel: {ch: 32, ch_mult: [1, 2], attn_resolutions: [4]}\n"


def write(folder: Path, text: str, name: str = "tiny.yml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture
def tiny(tmp_path):
    return write(tmp_path, TINY)


def problems(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    return caught.value.lines


@pytest.mark.slow
@pytest.mark.parametrize("path", [*CONFIGS, *DDIM], ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_file_loads_and_its_dump_loads_as_the_same_config(path, tmp_path):
    config = load(path)
    assert load(write(tmp_path, dump(config))) == config
    assert from_values(config.model_dump(mode="json"), "a checkpoint") == config


def test_the_ddim_files_mean_what_they_mean_there():
    found = {path.stem: load(path) for path in DDIM}
    assert sorted(found) == ["bedroom", "celeba", "church", "cifar10"]
    for name, config in found.items():
        written = yaml.safe_load((HERE / "golden" / "configs" / f"{name}.yml").read_text())
        assert written["model"].pop("type") == "simple"
        for section, values in written.items():
            for key, value in values.items():
                renamed = {"beta_schedule": "schedule", "num_diffusion_timesteps": "steps"}
                got = getattr(getattr(config, section), renamed.get(key, key))
                want = tuple(value) if isinstance(value, list) else value
                assert got == (float(want) if isinstance(got, float) else want), (section, key)
        assert config.model.name == "ddpm"
        assert config.loss.name == "simple"
    assert found["bedroom"].optim.grad_clip is None  # that file has none
    assert found["church"].sampler().options == {"eta": 0.0}


@pytest.mark.slow
def test_twins_differ_in_the_loss_only():
    for name in ("cifar10", "celeba", "bedroom", "church"):
        plain, twin = load(name).model_dump(), load(f"{name}_s2dm").model_dump()
        assert twin.pop("loss") == {
            **plain.pop("loss"),
            **{"name": "skip", "skip": 9, "tau": 0.99, "skip_noise": "fresh", "c_max": 10.0},
        }
        assert plain == twin


def test_shapes_are_filled_in_from_the_data(tiny):
    config = load(tiny)
    assert (config.data.image_size, config.data.channels) == (8, 1)
    options = config.model.options
    assert (options["image_size"], options["in_channels"], options["out_ch"]) == (8, 1, 1)
    wide = [("data.image_size", "16"), ("model.attn_resolutions", "[8]")]
    rgb = load(tiny, [("data.dataset", "folder"), *wide])
    assert rgb.data.dataset == "FOLDER"
    assert rgb.model.options["in_channels"] == 3


def test_numbers_as_people_write_them(tiny):
    config = load(tiny, [("optim.lr", "2e-4"), ("training.n_iters", "1e5"), ("loss.name", "skip")])
    assert config.optim.lr == 2e-4
    assert config.training.n_iters == 100_000
    assert isinstance(config.training.n_iters, int)
    assert isinstance(config.loss.options["tau"], float)


def test_a_config_cannot_change(tiny):
    config = load(tiny)
    with pytest.raises(ValueError, match="frozen"):
        config.optim.lr = 1.0
    with pytest.raises(ValueError, match="frozen"):
        config.model.ch = 64
    assert isinstance(config.model.options["ch_mult"], tuple)


def test_everything_wrong_is_told_at_once_with_file_key_and_way_out(tmp_path):
    path = write(
        tmp_path,
        "data: {dataset: DIGITZ, image_size: 8, num_workers: -1}\n"
        "model: {ch: 32, ch_mult: [1, two], deepness: 3}\n"
        "loss: {name: skipp}\n"
        "training: {batch_sise: 3, lr: 1}\n"
        "optim: {lr: fast}\n",
    )
    lines = problems(path, ("sampling.eta", "-1", "--eta"), ("trainin.x", "1"))
    for part in (
        "tiny.yml: data.dataset: DIGITZ is unknown; it should be ",
        "tiny.yml: data.num_workers: -1 is not valid; it should be a whole number, at least 0",
        'tiny.yml: model.ch_mult: [1, "two"] is not valid; it should be a non-empty list of whole',
        "tiny.yml: model.deepness: there is no such key with network ddpm; known here: image_size",
        "tiny.yml: loss.name: skipp is unknown; it should be hybrid, kl, simple or skip; did you",
        "tiny.yml: training.batch_sise: there is no such key; did you mean training.batch_size?",
        "tiny.yml: training.lr: there is no such key; did you mean optim.lr?",
        "tiny.yml: optim.lr: fast is not valid; it should be a number above 0",
        "--eta: sampling.eta: -1 is not valid; it should be a number, at least 0, or null",
        "--trainin.x: trainin: there is no such key; did you mean training?",
    ):
        assert sum(line.startswith(part) for line in lines) == 1, (part, lines)
    assert len(lines) == 10


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("training.batch_size", "true", "a whole number"),
        ("training.batch_size", "64.5", "a whole number"),
        ("training.batch_size", "'64'", "a whole number"),
        ("training.batch_size", "", "a whole number"),
        ("training.micro_batch", "7", "should divide batch_size"),
        ("training.grad_accum", "0", "at least 1"),
        ("training.n_images", "25.6X", "25.6X is not valid; it should be a count above 0, such as"),
        ("training.n_images", "0.5", "or 25.6M, or null"),
        ("training.n_images", "1.0001k", "500k or 25.6M"),
        ("optim.anneal", "cosin", "did you mean cosine?"),
        ("optim.anneal", "inverse_sqrt", "ref is missing; it should be a count above 0"),
        ("optim.anneal", "inverse_sqrt:fast", "ref 'fast' is not valid; it should be a count"),
        ("optim.anneal", "linear:3", "linear has no options"),
        ("model.ema_half_life", "[500k, '5e5']", "[500000, 500000] names one average twice"),
        ("model.ema_half_life", "-1", "a non-empty list of counts above 0, such as 50000, 500k"),
        ("model.ema_powers", "[0.1, 0.1]", "[0.1, 0.1] names one average twice"),
        ("model.ema_powers", "[0.3]", "a non-empty list of numbers above 0 and at most 0.25"),
        ("model.ema_rampup", "0", "0 is not valid; it should be a number above 0 or null"),
        ("training.ema_snapshot_freq", "100", "has no effect without model.ema_powers"),
        ("sampling.ema_length", "0.3", "a number above 0 and at most 0.25 or null"),
        ("training.times", "unifrom", "did you mean uniform?"),
        (
            "training.times",
            "under:-1",
            "gamma '-1' is not valid; it should be a number, at least 0",
        ),
        (
            "training.weight",
            "p3",
            "p3 is unknown; it should be edm, snr_plus_one, min_snr, p2, none or snr",
        ),
        ("training.weight", "p2:0", "k '0' is not valid; it should be a number above 0"),
        ("training.weight", "p2:predicts=x0", "p2 has the options k, gamma"),
        ("training.precision", "int8", "fp32, bf16 or fp16"),
        ("data.holdout", "1", "below 1"),
        ("data.image_size", "9", "divisible by 2"),
        ("data.channels", "0", "at least 1"),
        ("data.category", "church", "belongs to LSUN; data set DIGITS does not use it"),
        ("data.logit_transform", "true", "one of the two should be false"),
        ("data.in_memory", "maybe", "auto, true or false"),
        ("model.ema_rate", "1", "above 0 and below 1"),
        ("model.ema_rate", "[]", "or a non-empty list of numbers above 0 and below 1"),
        ("model.ch", "48", "multiple of 32"),
        ("model.ch", "0", "at least 1"),
        ("model.ch_mult", "[]", "a non-empty list of whole numbers"),
        ("model.ch_mult", "[1, 1, 1, 1, 1]", "divisible by 16"),
        ("model.dropout", "1", "below 1"),
        ("model.out_ch", "3", "does not fit data.channels; it should be 1"),
        ("model.image_size", "16", "does not fit data.image_size"),
        ("model.name", "adam", "it should be"),
        ("model.type", "bayesian", "bayesian is unknown; it should be adm, ddpm, dhariwal, dit"),
        ("model.type", "simpel", "did you mean simple?"),
        ("model.ch.x", "1", "model.ch is a value and holds no keys"),
        ("diffusion.beta_start", "0", "above 0 and below 1"),
        ("diffusion.beta_start", "0.5", "above beta_end"),
        ("diffusion.beta_schedule", "linera", "linear, quad"),
        ("diffusion.beta_max", "10", "belongs to vpsde or subvp; process vp does not use it"),
        ("diffusion.steps", "0", "from 1 to 1000000"),
        ("diffusion.predicts", "noise", "eps, x0, v, velocity or edm"),
        ("loss.tau", "0.9", "belongs to skip; loss simple does not use it"),
        ("loss.reduction", "median", "mean or sum"),
        ("sampling.timesteps", "1001", "more than the 1000 steps"),
        ("sampling.skip_type", "quat", "did you mean quad?"),
        ("sampling.sample_type", "ddmp", "did you mean ddpm?"),
        ("sampling.variance", "small", "no effect with sample_type generalized"),
        ("sampling.ema", "0.5", "model.ema_rate keeps 0.9999"),
        ("sampling.last_only", "false", "it should be true"),
        ("optim.lr", ".nan", "a number above 0"),
        ("optim.lr", ".inf", "a number above 0"),
        ("optim.grad_clip", "0", "above 0 or null"),
        ("seed", "-1", "at least 0"),
        ("seed", "1e30", "at least 0"),
        ("comment", "5", "it should be text"),
        ("evaluation.features", "vgg", "classifier or inception"),
        ("training", "5", "a section"),
        ("no_such", "5", "no such key"),
        ("optim.lr", "[1", "expected"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_flag(tiny, key, text, told):
    lines = problems(tiny, (key, text))
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"--{key}") or "data." in lines[0] or "model." in lines[0]
    assert told in lines[0]
    assert "\n" not in lines[0]


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("skip", "1000", "below 1000"),
        ("skip", "0", "at least 1"),
        ("tau", "1.1", "from 0 to 1"),
        ("skip_noise", "stale", "fresh, shared or closed_form"),
        ("c_max", "0", "above 0"),
    ],
)
def test_options_of_the_skip_loss(tiny, key, text, told):
    lines = problems(tiny, ("loss.name", "skip"), (f"loss.{key}", text))
    assert len(lines) == 1, lines
    assert told in lines[0]


def test_lsun_needs_a_category(tiny):
    lines = problems(tiny, ("data.dataset", "lsun"), ("data.image_size", "8"))
    assert lines == ("tiny.yml: data.category: is missing; it should be text",)


def test_eta_has_no_meaning_for_ddpm(tiny):
    lines = problems(tiny, ("sampling.sample_type", "ddpm_noisy"), ("sampling.eta", "1", "--eta"))
    assert lines == (
        "--eta: sampling.eta: 1 has no effect with sample_type ddpm_noisy; it should be null",
    )


def test_the_network_has_the_channels_of_the_state(tiny):
    config = load(tiny, [("diffusion.process", "cld"), ("loss", "{name: simple}")])
    assert config.model.options["in_channels"] == config.model.options["out_ch"] == 2
    assert config.process().groups == 2
    blur = load(tiny, [("diffusion.process", "blur"), ("loss", "{name: simple}")])
    assert blur.model.options["in_channels"] == 1
    assert blur.process().frequencies.shape == (8, 8)
    loads_again = load(tiny, [("diffusion", "{process: cld, parametrisation: L}")])
    assert loads_again.process().parametrisation == "L"


@pytest.mark.slow
@pytest.mark.parametrize("process", ["vp", "vpsde", "cld", "blur"])
def test_a_saved_config_is_the_same_config(tiny, process):
    for mixed in ("none", "normal"):
        overrides = [("diffusion", f"{{process: {process}, mixed_score: {mixed}}}")]
        config = load(tiny, [*overrides, ("loss", "{name: simple}")])
        assert from_values(config.model_dump(mode="json"), "a checkpoint") == config
        assert config.diffusion.mixed_score == mixed


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("model.in_channels", "model.in_channels: 1 does not fit data.channels; it should be 2"),
        ("loss.name", "loss: L_skip is defined for the variance-preserving processes only"),
        ("diffusion.beta_min", "belongs to vpsde or subvp; process cld does not use it"),
        ("diffusion.mixed_score", "diffusion.mixed_score: 1 is not valid"),
        ("sampling.skip_type", "numbers as coefficients"),
    ],
)
def test_what_does_not_fit_the_process_is_refused(tiny, override, text):
    value = {"loss.name": "skip", "sampling.skip_type": "karras"}.get(override, "1")
    with pytest.raises(ConfigError, match=re.escape(text)):
        load(tiny, [("diffusion.process", "cld"), (override, value)])


def test_a_continuous_process_has_its_own_keys(tiny, tmp_path):
    config = load(tiny, [("diffusion.process", "vpsde"), ("diffusion.beta_max", "10")])
    assert config.diffusion.options == {"beta_min": 0.1, "beta_max": 10.0}
    assert load(write(tmp_path, dump(config), "again.yml")) == config
    lines = problems(tiny, ("diffusion.process", "vpsde"), ("diffusion.beta_end", "0.02"))
    assert "belongs to vp" in lines[0]
    lines = problems(tiny, ("diffusion.process", "vpsde"), ("sampling.skip_type", "ddim_uniform"))
    assert "discrete times" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "name", "options", "clip"),
    [
        ({}, "ddim", {"eta": 0.0}, False),
        ({"sample_type": "ddim", "eta": "0.5", "clip": "true"}, "ddim", {"eta": 0.5}, True),
        ({"sample_type": "ddpm_noisy"}, "ddpm", {"variance": "large"}, True),
        ({"sample_type": "ddpm"}, "ddpm", {"variance": "small"}, True),
        ({"sample_type": "ddpm", "variance": "large"}, "ddpm", {"variance": "large"}, True),
        ({"sample_type": "ddpm", "clip": "false"}, "ddpm", {"variance": "small"}, False),
        ({"clip": "dynamic:0.9"}, "ddim", {"eta": 0.0}, "dynamic:0.9"),
        ({"clip": "static:keep_eps=true"}, "ddim", {"eta": 0.0}, "static:keep_eps=true"),
        ({"clip": "static"}, "ddim", {"eta": 0.0}, True),
    ],
)
def test_sample_types_are_samplers(tiny, overrides, name, options, clip):
    given = [(f"sampling.{key}", value) for key, value in overrides.items()]
    sampler = load(tiny, [("model.var_type", "fixedsmall"), *given]).sampler()
    assert (sampler.name, sampler.options, sampler.clipping) == (name, options, clip)
    from functions.grids import GRIDS
    from functions.samplers import SAMPLERS

    process = load(tiny).process()
    assert SAMPLERS[sampler.name](process, GRIDS["uniform"](process, 5), **sampler.options).nfe == 5


def test_ema_rates(tiny):
    assert load(tiny, [("model.ema_rate", "[0.99, 0.999]")]).ema_rates == (0.99, 0.999)
    assert load(tiny, [("model.ema", "false")]).ema_rates == ()
    both = [("model.ema_rate", "[0.99, 0.999]"), ("sampling.ema", "0.999")]
    assert load(tiny, both).sampling.ema == 0.999


def test_averages_by_half_life_in_images(tmp_path):
    path = write(tmp_path, TINY)
    lives = [("model.ema_half_life", "[500k, 2M]"), ("training.grad_accum", "2")]
    config = load(path, lives)
    assert config.model.averages == (500_000, 2_000_000) and config.model.ema_rate is None
    size = 2 * config.training.batch_size
    for rate, life in zip(config.ema_rates, config.model.averages, strict=True):
        assert rate ** (life / size) == pytest.approx(0.5, rel=1e-12)
    assert load(path, [*lives, ("sampling.ema", "2M")]).sampling.ema == 2_000_000
    (line,) = problems(path, *lives, ("sampling.ema", "0.9999"))
    assert "0.9999 is not averaged; model.ema_half_life keeps 500000, 2000000" in line
    saved = write(tmp_path, dump(config), "saved.yml")
    assert load(saved) == config
    typed = load(saved, [("model.ema_rate", "0.99")])  # what is typed replaces the file's
    assert typed.model.averages == typed.ema_rates == (0.99,)
    text = TINY.replace("ch: 32", "ch: 32, ema_rate: 0.99, ema_half_life: 5k")
    both = write(tmp_path, text, "both.yml")
    (line,) = problems(both)
    assert "model.ema_half_life: 5000 and ema_rate 0.99 exclude each other; give one" in line
    (line,) = problems(path, ("model.ema_warmup", "true"), ("model.ema_rampup", "0.05"))
    assert "model.ema_rampup: 0.05 and ema_warmup true exclude each other; give one" in line


def test_a_training_stores_at_most_32_snapshots_unless_it_says_how_often():
    every = {total: Training().between_snapshots(total) for total in (1, 10, 60, 1000, 800_000)}
    assert every == {1: 1, 10: 1, 60: 2, 1000: 32, 800_000: 25_000}
    assert Training(ema_snapshot_freq=7).between_snapshots(1000) == 7


def test_a_length_that_is_typed_replaces_the_average_of_the_file(tmp_path):
    path = write(tmp_path, TINY + "sampling: {ema: none}\n")
    sampling = load(path, [("sampling.ema_length", "0.03")]).sampling
    assert (sampling.ema, sampling.ema_length) == (None, 0.03)


def test_budgets_are_kept_as_numbers_and_load_again(tmp_path):
    path = write(tmp_path, TINY)
    keys = [("training.n_images", "25.6M"), ("optim.anneal", "inverse_sqrt:70M")]
    config = load(path, keys)
    assert (config.training.n_images, config.training.n_iters) == (25_600_000, None)
    assert str(config.anneal()) == "inverse_sqrt:70000000"
    assert load(write(tmp_path, dump(config), "saved.yml")) == config


def test_a_config_saved_by_version_0_2_0_means_what_it_meant(tmp_path):
    """It says every length and the rate, and none of the keys that came later."""
    text = "training: {batch_size: 64, n_epochs: null, n_iters: 800000}\n"
    config = load(write(tmp_path, TINY.replace("ch: 32", "ch: 32, ema_rate: 0.99") + text))
    assert config.training.end(10**9) == ("n_iters", 800_000)
    assert config.training.images_per_update == 64
    assert config.model.averages == (0.99,) and config.anneal() is None


def test_extends_merges_sections_and_names_the_right_file(tmp_path):
    write(tmp_path, TINY + "optim: {lr: 1e-3, beta1: 2}\n", "base.yml")
    write(tmp_path, "extends: base.yml\nloss: {name: skip}\n", "middle.yml")
    twin = write(tmp_path, "extends: middle.yml\nloss: {skip: 4}\noptim: {eps: no}\n", "twin.yml")
    lines = problems(twin)
    assert any(line.startswith("base.yml: optim.beta1: 2 ") for line in lines)
    assert any(line.startswith("twin.yml: optim.eps: false ") for line in lines)
    mine = write(tmp_path, "extends: cifar10.yml\ncomment: mine\n", "mine.yml")
    assert load(mine) == load("cifar10", [("comment", "mine")])
    config = load(twin, [("optim.beta1", "0.9"), ("optim.eps", "1e-8")])
    assert (config.loss.name, config.loss.options["skip"], config.optim.lr) == ("skip", 4, 1e-3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty"),
        ("- 1\n- 2\n", "it should hold sections"),
        (
            "data: {dataset: DIGITS}\ndata: {}\n",
            "line 2, column 1: the key 'data' is written twice",
        ),
        ("data: {a: 1, a: 2}\n", "line 1, column 14: the key 'a' is written twice"),
        ("data: [1\n", "bad.yml: line"),
        ("1: 2\n", "the key 1 is not text"),
        ("model: !!python/object:argparse.Namespace {}\n", "never loaded"),
        ("data: &a [*a]\n", "contains itself"),
        ("extends: bad.yml\n", "goes in a circle: bad.yml -> bad.yml"),
        ("extends: gone.yml\n", "there is no file"),
        ("extends: [a]\n", "is not the name of a file"),
        ("model: {}\n", "bad.yml: data: is missing; it should be a section"),
        ("data: {dataset: FOLDER}\n", "data.image_size: is missing; it should be a whole number"),
    ],
)
def test_bad_files(tmp_path, text, told):
    lines = problems(write(tmp_path, text, "bad.yml"))
    assert len(lines) == 1, lines
    assert told in lines[0]


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "bad.yml"
    path.write_bytes(b"\xff\xfe\x00data")
    assert "not UTF-8 text" in problems(path)[0]


def test_names_are_searched_here_and_in_the_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load("cifar10") == load("cifar10.yml") == load(CONFIGS[0].parent / "cifar10.yml")
    (tmp_path / "configs").mkdir()
    write(tmp_path / "configs", TINY, "mine.yml")
    assert load("mine.yml").data.dataset == "DIGITS"
    assert "did you mean mine.yml?" in problems("mien.yml")[0]
    assert "is a folder" in problems(tmp_path)[0]


def test_yaml_dates_and_near_numbers_stay_text():
    assert parse("{a: 2020-01-01, b: e5, c: 1e, d: 1.2.3}", "x") == {
        "a": "2020-01-01",
        "b": "e5",
        "c": "1e",
        "d": "1.2.3",
    }
    assert parse("[2e-4, 1e5, 1., .5, -1E3, +2.5e-1]", "x") == [2e-4, 1e5, 1.0, 0.5, -1e3, 0.25]
    with pytest.raises(SourceError, match="--x: line 1"):
        parse("]", "--x")


def test_the_error_is_one_block():
    err = ConfigError("one", "two")
    assert str(err) == "one\n       two"
    assert issubclass(ConfigError, ValueError)
    assert Config.model_config["frozen"]


def test_a_flag_that_chooses_another_part_drops_the_old_ones_options(caplog):
    plain = load("digits", [("loss.name", "simple", "--loss.name")])
    assert plain.loss.options == {}
    assert "loss.skip, loss.tau, loss.skip_noise dropped: loss skip has these" in caplog.text
    sde = load("cifar10", [("diffusion.process", "vpsde")])
    assert sde.diffusion.options == {"beta_min": 0.1, "beta_max": 20.0}
    kept = load("digits", [("model.name", "ncsnpp")]).model.options
    assert kept["ch"] == 32 and kept["ch_mult"] == (1, 2)  # both networks have these
    typed = [("loss.name", "simple"), ("loss.skip", "4", "--loss.skip")]
    with pytest.raises(ConfigError, match="--loss.skip: belongs to skip"):
        load("digits", typed)


def test_the_networks_answer_has_the_shape_of_the_state(tiny):
    @NETWORKS.part("flat", title="flat", paper="", shape={"channels": "channels"})
    class Flat(torch.nn.Module):
        def __init__(self, channels: int = 3) -> None:
            super().__init__()

        def forward(self, x, t, label=None):
            return x[:, :1]

    try:
        assert load(tiny, [("model", "{name: flat}")]).model.options == {"channels": 1}
        wide = [("model", "{name: flat}"), ("data.channels", "3")]
        (line,) = problems(tiny, *wide)
        assert "network flat answers (2, 1, 8, 8) to a state (2, 3, 8, 8)" in line
    finally:
        del NETWORKS.parts["flat"]


def test_the_json_schema_knows_every_part_and_its_options(tiny):
    schema = json.loads(json_schema())
    diffusion = schema["$defs"]["Diffusion"]
    names = {*diffusion["properties"]["process"]["enum"]}
    assert names == {"vp", "vpsde", "subvp", "cld", "blur", "flow", "edm"}
    options = {rule["if"]["properties"]["process"]["const"]: rule for rule in diffusion["allOf"]}
    steps = options["vp"]["then"]["properties"]["steps"]
    assert (steps["minimum"], steps["default"]) == (1, 1000)
    assert schema["properties"].keys() == Config.model_fields.keys()


def test_metrics_and_their_options(tiny):
    assert [spec.name for spec in load(tiny).metrics()] == list(METRICS)
    few = load(tiny, [("evaluation.metrics", "[kid:5]"), ("evaluation.kid_subset_size", "7")])
    assert [spec.options for spec in few.metrics()] == [{"subsets": 5, "subset_size": 7}]
    (line,) = problems(tiny, ("evaluation.metrics", "[kid:5,recall,kid:7]"))
    assert line.endswith("evaluation.metrics: names kid twice; once is enough")
    (line,) = problems(tiny, ("evaluation.metrics", "[fidd]"))
    assert "evaluation.metrics: fidd is unknown" in line


def test_eta_0_counts_where_it_is_said(tiny, monkeypatch):
    given = dict(SAMPLERS.parts)
    monkeypatch.setattr(SAMPLERS, "parts", given)

    @SAMPLERS.part(title="noisy", paper="", order="1", nfe="S")
    def noisy(process: Process, grid: Tensor, eta: Annotated[float, Ge(0)] = 1.0) -> Plan:
        return ddim(process, grid, eta)

    eta = ("sampling.eta", "0", "--eta")
    assert load(tiny, [("sampling.sample_type", "noisy")]).sampler().options == {"eta": 1}
    assert load(tiny, [("sampling.sample_type", "noisy"), eta]).sampler().options == {"eta": 0}
    (line,) = problems(tiny, ("sampling.sample_type", "ddim:0.5"), eta)
    assert line.startswith("--eta: sampling.eta: 0 has no effect with sample_type ddim:0.5")
    assert load(tiny, [("sampling.sample_type", "deis"), eta]).sampler().name == "deis"
    tiny.write_text(tiny.read_text() + "\nsampling: {eta: 0.0}\n")  # as version 0.1.0 wrote it
    chosen = load(tiny, [("sampling.sample_type", "ddim:0.5")]).sampler()
    assert chosen.options == {"eta": 0.5}


ADM = """
data: {dataset: DIGITS}
model: {name: adm, num_channels: 32, ch_mult: [1, 2], attention_resolutions: [2]}
"""
LEARNED = ("model.var_type", "learned")


@pytest.fixture
def adm(tmp_path):
    return write(tmp_path, ADM, "adm.yml")


def test_a_learned_variance_doubles_the_channels_of_the_answer():
    every = {"data": {"image_size": 8, "channels": 3}, "diffusion": {}, "model": {}}
    rest = {"side": 8, "classes": None, "augment": 0}
    assert state_shape(every) == {"channels": 3, "answer": 3, **rest}
    every["model"]["var_type"] = "learned"
    assert state_shape(every) == {"channels": 3, "answer": 6, **rest}
    every["diffusion"]["process"] = "cld"
    assert state_shape(every) == {"channels": 6, "answer": 12, **rest}
    every["data"]["augment"] = 0.12
    assert state_shape(every)["augment"] == 9


@pytest.mark.parametrize("name", ["adm", "tiny"])
def test_the_options_of_a_networks_shape_need_not_be_said(name, request):
    config = load(request.getfixturevalue(name))
    out = {"adm": "out_channels", "tiny": "out_ch"}[name]
    assert [config.model.options[key] for key in ("image_size", "in_channels", out)] == [8, 1, 1]
    assert from_values(config.model_dump(mode="json"), "a checkpoint") == config


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            [("model.out_channels", "2")],
            "does not fit data.channels; it should be 1, or left out; "
            "with model.var_type learned it fits",
        ),
        ([("model.out_channels", "3")], "does not fit data.channels; it should be 1, or left out"),
        (
            [LEARNED, ("model.out_channels", "1")],
            "data.channels and var_type learned; it should be 2, or left out",
        ),
        (
            [("model.attention_resolutions", "[4]")],
            "must be among the factors of the levels, [1, 2]",
        ),
        ([("model.num_head_channels", "0")], "it should be -1 or a whole number, at least 1"),
        ([("model.use_fp16", "true")], "there is no such key with network adm"),
        ([("model.ch", "32")], "is another name of model.model_channels"),
        ([("model.attn_resolutions", "[4]")], "song; network adm does not"),
        (
            [("sampling.sample_type", "ddpm"), ("sampling.variance", "learned")],
            "sampling.variance: learned needs a network that answers variances, but "
            "model.var_type is fixedlarge; the variance should be large or small",
        ),
    ],
)
def test_what_does_not_fit_the_adm_network_is_refused(adm, overrides, text):
    (line,) = problems(adm, *overrides)
    assert text in line


def test_a_typed_grid_changes_no_average():
    config = load("digits_adm.yml", [("sampling.skip_type", "respaced:5")])
    assert config.model == load("digits_adm.yml").model
    assert config.sampling.timesteps is None  # the grid says its steps


def test_half_lives_that_make_no_rate_are_told():
    with pytest.raises(ConfigError, match="model.ema_half_life: .* gives the rates 1.0"):
        load("digits.yml", [("model.ema_half_life", "100000000000000000000")])
