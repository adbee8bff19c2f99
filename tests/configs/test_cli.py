"""The command line: what is understood, what is refused in one line, and the exit codes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import main
from configs.command import locate, parse
from configs.schema import dump, load
from runners.look import dry_run
from runners.picture import (
    GridMode,
    Img2ImgMode,
    InterpolationMode,
    NearestMode,
    SequenceMode,
)

PROGRAM = Path(main.__file__)
CIFAR = ["--config", "cifar10.yml", "--doc", "x"]
PICTURE = [*CIFAR, "--sample"]
MIX = ["--interpolation", "--seeds"]
FILLED = [*PICTURE, "--inpaint", "--image", "a", "--mask"]
JSD = ["--diffusion.beta_schedule", "jsd"]  # whose last time is pure noise


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)


def program(*argv, **env):
    command = [sys.executable, str(PROGRAM), *argv]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})


def put(monkeypatch, diffusion):
    """Let this stand where the runner is, so that only the command line is under test."""
    monkeypatch.setitem(sys.modules, "runners.diffusion", SimpleNamespace(Diffusion=diffusion))


def refused(capsys, argv, code=2):
    """The text after `error: ` of a command that must fail."""
    assert main.main(argv) == code
    err = capsys.readouterr().err
    assert err.count("error:") == 1, err
    assert "Traceback" not in err
    return err.partition("error: ")[2].strip()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "--doc is missing"),
        (["--config", "cifar10.yml"], "--doc is missing"),
        (["--doc", "x"], "--config is missing: a new run needs one"),
        (["--dry_run"], "--config is missing"),
        ([*CIFAR, "--sample"], "--sample needs --images, --fid, --grid"),
        ([*CIFAR, "--sample", "--fid", "--images"], "exclude each other"),
        ([*CIFAR, "--sample", "--test"], "--sample and --test are different things"),
        ([*CIFAR, "--test", "--check_data"], "--test and --check_data are different things"),
        ([*CIFAR, "--fid"], "--fid needs --sample"),
        ([*CIFAR, "--images"], "--images needs --sample"),
        ([*CIFAR, "--sample", "--images", "--no_images"], "--no_images needs --sample --fid"),
        ([*CIFAR, "--sample", "--fid", "--resume_training"], "does not go with --sample"),
        ([*CIFAR, "--resume_training", "--overwrite"], "exclude each other"),
        ([*CIFAR, "--test", "--overwrite"], "--overwrite does not go with --test"),
        ([*CIFAR, "--use_pretrained"], "--use_pretrained needs --sample, --test or --export"),
        ([*CIFAR, "--device", "gpu"], "should be auto, cpu, cuda or cuda:N"),
        ([*CIFAR, "--verbose", "loud"], "should be debug, info"),
        (["--config", "cifar10.yml", "--doc", "../x"], "--doc '../x'"),
        (["--config", "cifar10.yml", "--doc", ""], "--doc ''"),
        ([*CIFAR, "--sample", "--images", "-i", "/tmp"], "--image_folder '/tmp'"),
        ([*CIFAR, "-i", "a"], "--image_folder needs --sample"),
        ([*CIFAR, "--axis", "images"], "--axis needs --sweep, --curve or"),
        (
            ["--report", "--name", "s", "--axis", "image"],
            "--axis image: should be steps, im",
        ),
        ([*CIFAR, "--sweep", "-i", "a"], "--image_folder needs --sample"),
        ([*CIFAR, "--exp", ""], "--exp needs"),
        ([*CIFAR, "--doc"], "expected one argument"),
        ([*CIFAR, "extra"], "unexpected word 'extra'"),
        ([*CIFAR, "--timestep", "3"], "unknown flag --timestep; did you mean --timesteps?"),
        ([*CIFAR, "--resume"], "unknown flag --resume"),
        ([*CIFAR, "--tau", "0.9"], "unknown flag --tau; did you mean --loss.tau?"),
        ([*CIFAR, "--batch_size=64"], "unknown flag --batch_size; did you mean --training.batch_"),
        ([*CIFAR, "--sequence"], "--sequence needs --sample"),
        ([*CIFAR, "--test", "--grid", "2x2"], "--grid needs --sample"),
        ([*PICTURE, "--sequence", "--fid"], "--fid and --sequence are different things to sample"),
        ([*PICTURE, "--sequence", "--nearest"], "--nearest and --sequence are different things"),
        ([*PICTURE, "--images", "--show", "x"], "--show needs --sequence"),
        ([*CIFAR, "--frames", "3"], "--frames needs --sequence"),
        ([*PICTURE, "--grid", "2x2", "--points", "3"], "--points needs --interpolation"),
        ([*PICTURE, "--sequence", "--neighbours", "3"], "--neighbours needs --nearest"),
        ([*PICTURE, "--sequence", "--image", "a"], "needs --img2img, --inpaint or --interpolation"),
        ([*PICTURE, "--nearest", "--mask", "half"], "--mask needs --inpaint"),
        ([*PICTURE, "--nearest", "--strength", "1"], "--strength needs --img2img"),
        (
            [*PICTURE, "--sequence", "--seeds", "1,2"],
            "--seeds needs --sweep, --curve or --interpolation",
        ),
        ([*PICTURE, "--sequence", "--show", "y"], "--show 'y' should be x, x0 or both"),
        ([*PICTURE, "--sequence", "--frames", "1"], "--frames '1' should be a whole number, at le"),
        ([*PICTURE, "--nearest", "--neighbours", "0"], "--neighbours '0' should be a whole number"),
        ([*PICTURE, "--sequence", "--no_images"], "--no_images needs --sample --fid"),
        ([*PICTURE, "--grid", "4"], "--grid 4: should be ROWSxCOLUMNS, as in 4x8"),
        ([*PICTURE, "--grid", "0x2"], "--grid 0x2: should be ROWSxCOLUMNS"),
        ([*PICTURE, "--grid", ""], "--grid : should be ROWSxCOLUMNS"),
        ([*PICTURE, "--grid", "2x2", "--n_samples", "3"], "--n_samples has no effect with --grid"),
        ([*PICTURE, *MIX, "1,2", "--sampling.n_samples=3"], "--sampling.n_samples has no effect"),
        ([*PICTURE, "--interpolation"], "needs either --seeds A,B or --image FILE FILE"),
        ([*PICTURE, *MIX, "1,2", "--image", "a", "b"], "needs either --seeds"),
        ([*PICTURE, *MIX, "1,2,3"], "--seeds 1,2,3: should be two or four different seeds"),
        ([*PICTURE, *MIX, "7,7"], "--seeds 7,7: should be two or four different seeds"),
        ([*PICTURE, *MIX, "1,2", "--seed", "3"], "--seed and --seeds exclude each other"),
        ([*PICTURE, "--inpaint", "--mask", "half"], "--inpaint needs --image PATH"),
        ([*PICTURE, "--inpaint", "--image", "a"], "--inpaint needs --mask, such as center"),
        ([*PICTURE, "--inpaint", "--image"], "--image: expected at least one argument"),
        ([*FILLED, "random:1"], "--mask random:1: should be random:P with P between 0 and 1"),
        ([*FILLED, "random"], "--mask random: should be random:P"),
        ([*FILLED, "random:x"], "should be random:P with P between 0 and 1"),
        ([*FILLED, "half", "--fill", "paint"], "--fill paint: should be replace or repaint"),
        ([*FILLED, "half", "--fill", "repaint:0"], "--fill repaint:0: should be replace or"),
        ([*FILLED, "half", "--fills", "0"], "--fills '0' should be a whole number, at least 1"),
        ([*PICTURE, "--img2img", "--image", "a"], "--img2img needs --strength, such as 0.5"),
        (
            [*PICTURE, "--img2img", "--image", "a", "--strength", "2"],
            "--strength '2' should be a n",
        ),
        ([*CIFAR, "--optim.lr"], "--optim.lr needs a value"),
        ([*CIFAR, "--optim.lr", "--ni"], "--optim.lr needs a value"),
        ([*CIFAR, "--optim.lrr", "1"], "did you mean optim.lr?"),
        ([*CIFAR, "--timesteps", "ten"], "--timesteps: sampling.timesteps: ten is not valid"),
        ([*CIFAR, "--eta", "-1"], "--eta: sampling.eta: -1 is not valid"),
        ([*CIFAR, "--seed", "1.5"], "--seed: 1.5 is not valid"),
        (["--config", "cifar11", "--doc", "x"], "did you mean cifar10"),
        (["--doc", "x", "--test"], "--doc x: no such run"),
        (["--doc", "x", "--resume_training"], "--doc x: no such run"),
        (["--use_pretrained", "f.pth", "--sample", "--images"], "f.pth does not hold a config"),
        ([*CIFAR, "--sweep", "--sample"], "--sample and --sweep are different things"),
        ([*CIFAR, "--sweep", "--fid"], "--fid needs --sample"),
        ([*CIFAR, "--sweep", "--resume_training"], "does not go with --sweep"),
        (["--doc", "x", "--report", "--overwrite"], "--overwrite has no effect with --report"),
        (["--doc", "x", "--report", "--sweep"], "--sweep has no effect with --report"),
        (["--doc", "x", "--report", "--timesteps", "5"], "--timesteps has no effect with --report"),
        (["--doc", "x", "--report", "--optim.lr", "5"], "--optim.lr has no effect with --report"),
        (["--doc", "x", "--report", "--seed", "5"], "--seed has no effect with --report"),
        (["--doc", "x", "--report", "--seeds", "5"], "--seeds has no effect with --report"),
        ([*CIFAR, "--print_plan", "--sweep"], "--sweep has no effect with --print_plan"),
        ([*CIFAR, "--print_plan", "--docs", "a"], "--docs has no effect with --print_plan"),
        ([*CIFAR, "--print_plan", "--samplers", "ddim"], "--samplers has no effect with --print"),
        ([*CIFAR, "--print_plan", "--dry_run"], "--dry_run has no effect with --print_plan"),
        ([*CIFAR, "--print_plan", "--test"], "--test has no effect with --print_plan"),
        ([*CIFAR, "--print_plan", "--overwrite"], "--overwrite has no effect with --print_plan"),
        ([*CIFAR, "--dry_run", "--sweep"], "--sweep has no effect with --dry_run"),
        ([*CIFAR, "--dry_run", "--name", "a"], "--name has no effect with --dry_run"),
        ([*CIFAR, "--list_samplers"], "--config has no effect with --list_samplers"),
        (["--list_samplers", "--timesteps", "5"], "--timesteps has no effect with --list_samplers"),
        (["--list_samplers", "--sample", "--fid"], "--sample has no effect with --list_samplers"),
        ([*CIFAR, "--samplers", "ddim"], "--samplers needs --sweep"),
        ([*CIFAR, "--docs", "a"], "--docs needs --sweep"),
        ([*CIFAR, "--seeds", "1"], "--seeds needs --sweep"),
        ([*CIFAR, "--shard", "0/2"], "--shard needs --sweep"),
        ([*CIFAR, "--name", "a"], "--name needs --sweep, --curve or --report"),
        ([*CIFAR, "--sweep", "--shard", "2/2"], "--shard 2/2: should be I/N with I from 0"),
        ([*CIFAR, "--sweep", "--shard", "1"], "--shard 1: should be I/N"),
        ([*CIFAR, "--sweep", "--seeds", "0,x"], "--seeds 0,x: 'x' should be a whole number"),
        ([*CIFAR, "--sweep", "--seeds", ","], "--seeds ',': an empty list"),
        ([*CIFAR, "--sweep", "--timesteps", "5,0"], "'0' should be a whole number, at least 1"),
        ([*CIFAR, "--sweep", "--docs", "../a"], "--docs '../a'"),
        ([*CIFAR, "--sweep", "--name", "/a"], "--name '/a'"),
        ([*CIFAR, "--sweep", "--name", "a,b"], "--name a,b: a sweep has one name"),
        ([*CIFAR, "--sweep", "--order", "2"], "--order does not go with --sweep"),
        ([*CIFAR, "--sweep", "--eta", "1"], "as in --samplers ddim:0.5"),
        ([*CIFAR, "--sweep", "--nfe", "9"], "--nfe does not go with --sweep"),
        ([*CIFAR, "--sweep", "--seed", "1", "--seeds", "1"], "exclude each other"),
        (
            [*CIFAR, "--use_pretrained", "--sweep"],
            "--use_pretrained needs --sample, --test or --export",
        ),
        (["--sweep", "--samplers", "ddim"], "--doc is missing"),
        (["--report"], "--report needs --name"),
        (["--report", "--doc", "x"], "--name x: no such sweep in exp/sweeps; sweeps there: none"),
        (["--print_plan"], "--config is missing"),
        ([*CIFAR, "--timesteps", "5,10"], "timesteps: 5,10 is not valid; it should be a whole"),
        ([*CIFAR, "--timesteps", "5", "--nfe", "5"], "5 and timesteps 5 exclude each other"),
        ([*CIFAR, "--nfe", "0"], "--nfe: sampling.nfe: 0 is not valid"),
        ([*CIFAR, "--sample_type", "dies:3"], "did you mean deis?"),
        ([*CIFAR, "--sample_type", "ipndm", "--variable", "t"], "t has no effect with sample_type"),
        ([*CIFAR, "--sample_type", "rk45", "--nfe", "9"], "--nfe: sampling.nfe: has no effect"),
        (
            [*CIFAR, "--sample_type", "ddpm", "--variance", "huge"],
            "it should be large, small or learned",
        ),
        ([*CIFAR, "--skip_type", "karras:seven"], "rho 'seven' is not valid"),
        ([*CIFAR, "--eps_scale", "skip:x"], "k 'x' is not valid; it should be a whole number"),
    ],
)
def test_usage_is_one_line_and_exit_code_2(capsys, argv, told):
    text = refused(capsys, argv)
    assert told in text
    assert "\n" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--sample_type", "f_pndm", "--timesteps", "3"], "F-PNDM needs at least 4 steps"),
        (["--sample_type", "deis", "--order", "7"], "it should be a whole number from 0 to 3"),
        (["--sample_type", "ddim:99", "--timesteps", "5"], "eta 99 draws more noise"),
        (["--eta", "2", "--timesteps", "5"], "eta 2 draws more noise"),
        (["--skip_type", "power:1e-16", "--timesteps", "5"], "strictly decreasing"),
        (["--sample_type", "f_pndm", "--nfe", "12"], "needs at least 13 evaluations (4 steps)"),
        (
            ["--sample_type", "deis", "--order", "7", "--nfe", "9"],
            "it should be a whole number from 0 to 3",
        ),
        (["--sample_type", "rk45:0"], "it should be a number above 0"),
        (["--eps_scale", "linear:-1"], "eps_scale linear:-1: k t + b should be above 0"),
        (["--eps_scale", "linear:0,0"], "k t + b should be above 0"),
        (["--eps_scale", "skip:0"], "it should be a whole number, at least 1"),
        (["--eps_scale", "skip:9:1.5"], "it should be a number from 0 to 1"),
        (["--skip_type", "power:-1"], "it should be a number above 0"),
        ([*JSD, "--timesteps", "1000"], "leaves no signal at all: ask for fewer --timesteps"),
        ([*JSD, "--skip_type", "karras"], "no signal at all: take another --skip_type, such as"),
        ([*JSD, "--skip_type", "trailing", "--nfe", "9"], "take another --skip_type, such as quad"),
        ([*JSD, "--skip_type", "power", "--timesteps", "2"], "take another --skip_type"),
        ([*JSD, "--sample_type", "rk45"], "take another --skip_type, such as quad"),
    ],
)
def test_what_does_not_go_together_is_one_line(capsys, argv, told):
    argv = ["--config", "digits", "--print_plan", *argv]
    assert main.main(argv) == 2
    streams = capsys.readouterr()
    assert told in streams.err and streams.err.count("\n") == 1
    assert streams.out == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "ddim on uniform: 50 steps, 50 network evaluations"),
        (["--sample_type", "f_pndm", "--nfe", "20"], "f_pndm on uniform: 11 steps, 20 network"),
        (["--sample_type", "heun", "--nfe", "20"], "heun on uniform: 10 steps, 19 network"),
        (["--sample_type", "deis", "--order", "2", "--nfe", "9"], "deis:2 on uniform: 9 steps, 9 "),
        (["--skip_type", "quad", "--nfe", "96"], "note: 100 steps asked, grid quad has 96"),
        (["--sample_type", "rk45"], "evaluations are known only afterwards"),
        (["--eps_scale", "skip:5"], "estimate is multiplied by skip:5"),
        (["--timesteps", "3", "--sample", "--images", "--doc", "x"], "333 -> 0"),
        ([*JSD, "--nfe", "1000"], "ddim on uniform: 999 steps, 999 network evaluations"),
        ([*JSD, "--nfe", "9", "--skip_type", "ddim_uniform"], "ddim_uniform: 8 steps, 8 network"),
        ([*JSD, "--sample_type", "rk45", "--skip_type", "quad"], "known only afterwards"),
        (["--sample_type", "dpm_solver_pp:lower_order_final=none"], "dpm_solver_pp on uniform"),
    ],
)
def test_the_plan_is_shown_and_nothing_written(capsys, tmp_path, argv, told):
    assert main.main(["--config", "digits", "--print_plan", *argv]) == 0
    assert told in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_samplers_needs_nothing(capsys):
    from functions.grids import GRIDS
    from functions.samplers import SAMPLERS
    from functions.scales import SCALES

    assert main.main(["--list_samplers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    known = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    assert {*SAMPLERS, *GRIDS, *SCALES, "generalized", "ddpm_noisy"} <= set(known)
    assert any(":variable=t (t, rho or lambda)" in line for line in lines)


def test_lists_of_a_sweep():
    words = ["--doc", "a", "--docs", "b,a", "--samplers", "ddim:0.5,deis@quad", "--seeds", "0,1"]
    command = parse.parse([*words, "--sweep", "--timesteps", "10,20,10", "--shard", "1/3", "--ni"])
    options = command.options
    assert (command.verb, command.overrides) == ("sweep", ())
    assert (options.doc, options.docs) == ("a", ("a", "b"))
    assert options.samplers == ("ddim:0.5", "deis@quad")
    assert (options.steps, options.seeds, options.shard) == ((10, 20), (0, 1), (1, 3))
    assert options.sweeps == (Path("exp/sweeps/a"),)
    alone = parse.parse(["--docs", "b,c", "--sweep", "--name", "n"]).options
    assert (alone.doc, alone.docs, alone.sweeps) == ("b", ("b", "c"), (Path("exp/sweeps/n"),))
    report = parse.parse(["--report", "--name", "a,b"])
    assert (report.verb, report.options.names) == ("report", ("a", "b"))


def test_several_mistakes_are_one_block(capsys):
    text = refused(capsys, [*CIFAR, "--timesteps", "0", "--loss.name", "skipp", "--optim.eps", "a"])
    assert len(text.splitlines()) == 3


def test_only_the_first_process_speaks_and_all_fail(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    assert main.main([*CIFAR, "--sample"]) == 2
    assert capsys.readouterr().err == ""


def test_flags_are_overrides_in_the_order_typed():
    command = parse.parse(
        [
            *CIFAR,
            "--timesteps",
            "5",
            "--sampling.timesteps=7",
            "--model.ch_mult",
            "[1, 2]",
            "--eta",
            "0.5",
            "--skip_type",
            "quad",
            "--n_samples",
            "10",
            "--seed",
            "3",
            "--comment",
            "12",
            "--inception_weights",
            "1e3",
            "--features",
            "classifier",
            "--optim.lr",
            "-1",
        ]
    )
    assert command.overrides == (
        ("sampling.timesteps", "5", "--timesteps"),
        ("sampling.timesteps", "7", "--sampling.timesteps"),
        ("model.ch_mult", "[1, 2]", "--model.ch_mult"),
        ("sampling.eta", "0.5", "--eta"),
        ("sampling.skip_type", '"quad"', "--skip_type"),
        ("sampling.n_samples", "10", "--n_samples"),
        ("seed", "3", "--seed"),
        ("comment", '"12"', "--comment"),
        ("evaluation.inception_weights", '"1e3"', "--inception_weights"),
        ("evaluation.features", '"classifier"', "--features"),
        ("optim.lr", "-1", "--optim.lr"),
    )
    config = load("cifar10", command.overrides[:-1])
    assert (config.sampling.timesteps, config.comment) == (7, "12")
    assert config.evaluation.inception_weights == "1e3"


def test_the_commands_of_the_ddim_repository_are_understood():
    common = ["--config", "cifar10.yml", "--exp", "e", "--doc", "d", "--ni"]
    assert parse.parse(common).verb == "train"
    again = parse.parse([*common, "--resume_training"])
    assert (again.verb, again.options.resume_training, again.options.ni) == ("train", True, True)
    fid = parse.parse([*common, "--sample", "--fid", "--timesteps", "50", "--eta", "0", "-i", "f"])
    assert (fid.verb, fid.options.fid, fid.options.image_folder) == ("sample", True, "f")
    options = parse.parse(["--config", "c", "--use_pretrained", "--sample", "--fid"]).options
    assert (options.use_pretrained, options.doc) == ("", None)
    options = parse.parse(
        ["--config", "c", "--use_pretrained", "a/b", "--sample", "--images"]
    ).options
    assert options.use_pretrained == "a/b"
    assert parse.parse([*common, "--sample", "--fid", "--dry_run"]).verb == "dry_run"


def test_pictures_and_what_they_were_told():
    def parsed(*words):
        command = parse.parse(["--doc", "a/b", "--sample", *words])
        return command.verb, command.options, command.overrides

    verb, options, overrides = parsed("--sequence", "--show", "x0", "--frames", "5")
    assert (verb, options.images, options.fid) == ("sample", False, False)
    assert options.picture == SequenceMode(show="x0", frames=5)
    assert options.samples == Path("exp/image_samples/a/b/sequence")
    assert overrides == (("sampling.n_samples", "4", "--sequence"),)
    _, options, overrides = parsed("--nearest", "--n_samples", "3", "-i", "f")
    assert options.picture == NearestMode() and options.image_folder == "f"
    assert overrides == (("sampling.n_samples", "3", "--n_samples"),)
    _, options, overrides = parsed("--grid", "2x3")
    assert options.picture == GridMode("2x3")
    assert overrides == ()
    _, options, overrides = parsed("--interpolation", "--seeds", "7,3", "--points", "4")
    assert options.picture == InterpolationMode(seeds=(7, 3), points=4)
    assert options.seeds == () and overrides == ()
    files = ["--image", "a.png", "b.png", "--image", "c"]
    _, options, _ = parsed("--inpaint", *files, "--mask", "random:0.5", "--fill", "repaint:9")
    assert options.picture.image == (Path("a.png"), Path("b.png"), Path("c"))
    assert (options.picture.mask, options.picture.fill) == ("random:0.5", "repaint:9")
    _, options, _ = parsed("--img2img", "--image", "c", "--strength", "0")
    assert options.picture == Img2ImgMode(image=(Path("c"),), strength=0.0)
    words = ["--config", "c", "--use_pretrained", "--sample", "--grid", "1x1"]
    assert parse.parse(words).options.image_folder == "grid"
    assert parse.parse([*words, "--dry_run"]).verb == "dry_run"
    assert parse.parse([*words, "--print_plan"]).verb == "print_plan"


def test_places():
    words = ["--exp", "e", "--doc", "d", "--sample", "--images", "-i", "f"]
    options = parse.parse(words).options
    assert options.run == Path("e/logs/d")
    assert options.tensorboard == Path("e/tensorboard/d")
    assert options.samples == Path("e/image_samples/f")
    assert options.datasets == Path("e/datasets")
    assert options.command == "main.py --exp e --doc d --sample --images -i f"
    assert parse.parse(["--config", "c", "--doc", "d"]).options.image_folder == "images"
    with pytest.raises(ValueError, match="--doc"):
        _ = parse.Options().run


def test_a_run_brings_its_own_config(tmp_path):
    run = tmp_path / "exp" / "logs" / "old"
    run.mkdir(parents=True)
    (run / "config.yml").write_text(dump(load("digits", [("seed", "7")])))
    config = locate.config_of(
        parse.parse(["--doc", "old", "--sample", "--images", "--timesteps", "5"])
    )
    assert (config.seed, config.sampling.timesteps) == (7, 5)


def test_a_run_without_anything_is_told(capsys, tmp_path):
    (tmp_path / "exp" / "logs" / "old").mkdir(parents=True)
    assert "give --config" in refused(capsys, ["--doc", "old", "--test"])
    text = refused(capsys, ["--doc", "olt", "--test"])
    assert "did you mean" in text
    assert text.rstrip("?").endswith("old")


def test_a_checkpoint_brings_its_own_config(monkeypatch, tmp_path):
    import models

    (tmp_path / "exp" / "logs" / "old").mkdir(parents=True)
    (tmp_path / "file.pth").touch()
    state = {"config": load("digits", [("seed", "7")]).model_dump(mode="json")}
    stand_in = SimpleNamespace(
        latest=lambda run, _warn: (run / "ckpt_5.pth", state),
        is_ours=lambda path: path.name == "file.pth",
        peek=lambda _path, key: state[key],
    )
    monkeypatch.setattr(models, "checkpoint", stand_in, raising=False)
    for whence in (["--doc", "old"], ["--use_pretrained", "file.pth"]):
        argv = [*whence, "--sample", "--images", "--eta", "0.5"]
        config = locate.config_of(parse.parse(argv))
        assert (config.seed, config.sampling.eta) == (7, 0.5)
        with pytest.raises(main.ConfigError, match="--eta: sampling.eta: -1"):
            locate.config_of(parse.parse([*argv, "--eta", "-1"]))


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ValueError("a\n  b"), 1, "a b"),
        (ValueError(""), 1, "ValueError"),
        (KeyError("x"), 1, "KeyError: 'x'"),
        (OSError(28, "No space left on device", "exp/a"), 1, "exp/a: No space left on device"),
        (OSError("broken pipe of the loader"), 1, "broken pipe of the loader"),
        (MemoryError(), 1, "--training.micro_batch"),
        (RuntimeError("DefaultCPUAllocator: can't allocate"), 1, "--sampling.batch_size"),
        (main.ConfigError("wrong use"), 2, "wrong use"),
    ],
)
def test_any_failure_is_one_line(capsys, monkeypatch, error, code, told):
    def fail(*_):
        raise error

    put(monkeypatch, fail)
    text = refused(capsys, ["--config", "digits", "--doc", "x"], code)
    assert told in text
    assert "\n" not in text


def test_gpu_memory_names_the_two_flags(capsys, monkeypatch):
    import torch

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    put(monkeypatch, fail)
    text = refused(capsys, ["--config", "digits", "--doc", "x"], 1)
    assert "--training.micro_batch" in text
    assert "--sampling.batch_size" in text


def test_debug_shows_the_traceback(capsys, monkeypatch):
    put(monkeypatch, lambda *_: 1 / 0)
    assert main.main(["--config", "digits", "--doc", "x", "--verbose", "debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(("raised", "code"), [(SystemExit(75), 75), (KeyboardInterrupt(), 130)])
def test_stopping_has_its_own_codes(monkeypatch, raised, code):
    def stop(*_):
        raise raised

    put(monkeypatch, stop)
    if isinstance(raised, SystemExit):
        with pytest.raises(SystemExit) as caught:
            main.main(["--config", "digits", "--doc", "x"])
        assert caught.value.code == code
    else:
        assert main.main(["--config", "digits", "--doc", "x"]) == code


@pytest.mark.parametrize(
    ("argv", "verb"), [([], "train"), (["--sample", "--fid"], "sample"), (["--test"], "test")]
)
def test_each_verb_reaches_its_method(monkeypatch, argv, verb):
    called = []

    class Spy:
        def __init__(self, config, options):
            self.args = config, options

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def __getattr__(self, name):
            return lambda: called.append((name, self.args[0].data.dataset, self.args[1].doc))

    put(monkeypatch, Spy)
    assert main.main(["--config", "digits", "--doc", "x", *argv]) == 0
    assert called == [(verb, "DIGITS", "x")]


def test_dry_run_tells_everything_and_writes_nothing(capsys, tmp_path):
    argv = ["--config", "digits.yml", "--dry_run", "--data.holdout", "0.25"]
    assert main.main(argv) == 0
    out = capsys.readouterr().out
    text, _, rest = out.partition("\n\n")
    assert "name: skip" in text
    (tmp_path / "again.yml").write_text(text)
    assert load(tmp_path / "again.yml") == load("digits.yml", [("data.holdout", "0.25")])
    (tmp_path / "again.yml").unlink()
    assert "1,348 images as 1x8x8, 449 held out" in rest
    assert "GFLOP forward" in rest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_dry_run_without_the_data_says_what_is_missing(capsys, tmp_path):
    assert main.main([*CIFAR, "--dry_run"]) == 0
    out = capsys.readouterr().out
    assert "35,746,307" in out
    assert "12.44 GFLOP forward, 37.3" in out
    assert "not available here: " in out
    assert list(tmp_path.iterdir()) == []


def test_flops_and_activations_are_those_of_the_network():
    from torch import nn

    config = load("digits.yml")

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(8, 8, bias=False, device="meta")

        def forward(self, x, _t):
            return self.a(self.a(x))

    network = Twice()
    forward, training = dry_run.flops(network, config)
    assert forward == 2 * (2 * 8 * 8 * 8)
    assert training == 3 * forward - 2 * 8 * 8 * 8  # the images need no gradient
    assert dry_run.activations(network, config) == 2 * 8 * 8 * 4  # the input of each product


def test_check_data_counts_and_names_bad_files(capsys, tmp_path):
    assert main.main(["--config", "digits", "--check_data"]) == 0
    assert "1,617 images" in capsys.readouterr().out
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "bad.png").write_bytes(b"no picture")
    argv = [
        "--config",
        "digits",
        "--check_data",
        "--data.dataset",
        "FOLDER",
        "--data.path",
        "pictures",
        "--data.image_size",
        "8",
        "--data.channels",
        "1",
        "--data.holdout",
        "0",
    ]
    assert main.main(argv) == 1
    streams = capsys.readouterr()
    assert "bad.png" in streams.out
    assert streams.err.count("error:") == 1


def test_help_is_fast_in_kind_it_loads_no_torch():
    code = (
        "import sys, main\n"
        "try: main.main(['--help'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROGRAM.parent
    )
    assert done.returncode == 0, done.stderr
    titles = ("train (the default):", "sample:", "pictures:", "measure:", "inspect:")
    for title in ("everywhere:", *titles):
        assert title in done.stdout
    assert "examples:" in done.stdout


@pytest.mark.slow
def test_the_program_itself():
    version = program("--version")
    assert (version.returncode, version.stdout) == (0, "skip-step 0.4.0\n")
    usage = program(*CIFAR, "--sample", "--grid", "x")
    assert (usage.returncode, usage.stderr) == (
        2,
        "error: --grid x: should be ROWSxCOLUMNS, as in 4x8\n",
    )
    wrong = program(*CIFAR, "--loss.name", "skipp", "--ni", RANK="1", WORLD_SIZE="2")
    assert (wrong.returncode, wrong.stderr, wrong.stdout) == (2, "", "")
