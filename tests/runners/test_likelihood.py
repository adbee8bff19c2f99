"""Bits per dimension of --test."""

import json
import shutil

import pytest

from main import main
from tests.commands import TINY, run

ADM = [
    *("--config", "digits_adm.yml", "--ni", "--device", "cpu", "--model.model_channels", "32"),
    *("--model.channel_mult", "[1]", "--model.attention_resolutions", "[]"),
    *("--training.batch_size", "12", "--training.n_images", "24", "--training.sample_freq", "0"),
    *("--training.validation_freq", "0"),
]
FEW = ("--evaluation.test_images", "20", "--timesteps", "5")


@pytest.fixture(scope="module")
def exp(tmp_path_factory, trained):
    folder = tmp_path_factory.mktemp("exp")
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    assert main([*ADM, "--exp", str(folder), "--doc", "adm"]) == 0
    return folder


def bits_of(exp, doc, *words):
    """What --test records of the likelihood."""
    for path in (exp / "logs" / doc).glob("test-*"):
        path.unlink()
    assert main(["--exp", str(exp), "--doc", doc, "--test", "--device", "cpu", *words]) == 0
    (path,) = (exp / "logs" / doc).glob("test-*.json")
    return json.loads(path.read_text())["likelihood"]


def test_the_bound_is_measured_with_every_variance(exp, capsys):
    found = {}
    for variance in ("large", "small", "learned"):
        words = ("--sample_type", f"ddpm:{variance}")
        found[variance] = bits_of(exp, "adm", *words, *FEW)
        assert found[variance]["details"]["variance"] == variance
    learned = found["learned"]
    assert "bits per dimension (variational bound, 5 steps, variance learned" in (
        capsys.readouterr().out
    )
    terms = learned["details"]["terms"]
    assert len(terms) == 5 and learned["images"] == 20 and learned["standard_error"] > 0
    whole = learned["details"]["prior"] + sum(terms)
    assert learned["bits"] == pytest.approx(whole, rel=1e-5)
    assert len({round(one["bits"], 6) for one in found.values()}) == 3
    assert bits_of(exp, "adm", *FEW)["bits"] == learned["bits"]  # as model.var_type has it


def test_a_respaced_chain_and_the_exact_decoder(exp):
    words = ("--evaluation.test_images", "20", "--skip_type", "respaced:2+3")
    plain, exact = (
        bits_of(exp, "adm", *words, "--evaluation.decoder", kind) for kind in ("tanh", "erf")
    )
    assert plain["details"]["steps"] == 5
    assert plain["bits"] != exact["bits"] and plain["bits"] == pytest.approx(exact["bits"], rel=0.1)


def test_the_likelihood_of_the_flow_and_none(exp, capsys):
    few = ("--evaluation.test_images", "2", "--likelihood")
    ode = bits_of(exp, "digits", *few, "ode")
    assert ode["kind"] == "ode" and ode["images"] == 2 and ode["details"]["evaluations"] > 20
    assert "probability flow" in capsys.readouterr().out
    assert bits_of(exp, "digits", *few, "none") is None


@pytest.mark.slow
def test_the_bound_is_the_same_on_two_processes(exp):
    alone = bits_of(exp, "adm", *FEW, "--evaluation.test_images", "100")
    for path in (exp / "logs/adm").glob("test-*"):
        path.unlink()
    words = ["--exp", str(exp), "--doc", "adm", "--test", "--device", "cpu", *FEW]
    code, said = run(*words, "--evaluation.test_images", "100", processes=2)
    assert code == 0, said
    (path,) = (exp / "logs/adm").glob("test-*.json")
    both = json.loads(path.read_text())["likelihood"]
    assert both["bits"] == pytest.approx(alone["bits"], rel=1e-5)  # sums of other orders


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data.gaussian_dequantization", "true"), "--likelihood bound: it needs 8-bit pixels"),
        (("--data.uniform_dequantization", "true"), "the bound needs 8-bit pixels"),
    ],
)
def test_a_likelihood_that_is_not_defined_is_refused(words, said, tmp_path, capsys):
    assert (
        main([*TINY, "--exp", str(tmp_path), "--doc", "a", "--training.n_iters", "1", *words]) == 0
    )
    test = ["--exp", str(tmp_path), "--doc", "a", "--test", "--device", "cpu"]
    assert main([*test, "--likelihood", "bound"]) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "logs/a").glob("test-*"))
    assert main(test) == 0  # the loss alone, nobody having asked for more


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--loss.name", "hybrid"), "hybrid trains a variance; model.var_type should be learned"),
        (("--model.var_type", "learned"), "does not train the variance"),
    ],
)
def test_a_loss_and_a_variance_that_do_not_fit_are_refused(words, said, tmp_path, capsys):
    assert main([*TINY, "--exp", str(tmp_path), "--doc", "a", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()


def test_a_run_without_averages_is_tested(tmp_path):
    words = ["--exp", str(tmp_path), "--doc", "a", "--model.ema", "false"]
    words += ["--model.ema_rate", "null", "--model.ema_half_life", "500k"]
    words += ["--training.n_iters", "1"]
    assert main([*TINY, *words]) == 0
    assert bits_of(tmp_path, "a", *FEW)["images"] == 20


def test_a_schedule_without_signal_is_refused_before_training(tmp_path, capsys):
    words = ["--exp", str(tmp_path), "--doc", "a", "--diffusion.beta_schedule", "jsd"]
    assert main([*ADM, *words]) == 2
    assert "needs some signal at the last time" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()
