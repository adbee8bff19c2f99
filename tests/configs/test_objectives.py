"""Objectives that a config or a command cannot have: one line, exit code 2, nothing written."""

import pytest

from main import main

LINEAR = "numbers as coefficients only"
TRAIN = ("--ni", "--device", "cpu")
PLAN = ("--print_plan", "--timesteps", "5")


@pytest.mark.parametrize(
    ("config", "words", "text"),
    [
        *[
            (f"digits_{process}", (*TRAIN, "--diffusion.predicts", predicts), LINEAR)
            for process in ("cld", "blur")
            for predicts in ("v", "velocity", "edm")
        ],
        *[
            ("digits_flow", (*TRAIN, "--diffusion.predicts", p), f"{p} tells nothing at t = 1")
            for p in ("eps", "edm")
        ],
        ("digits_flow", (*TRAIN, "--diffusion.predicts", "score"), "velocity"),
        ("digits_flow", (*TRAIN, "--diffusion.time", "2t"), "1000t, t or 1-t"),
        ("digits_edm", (*TRAIN, "--diffusion.sigma_min", "90"), "sigma_min 90 is not below"),
        ("digits", (*PLAN, "--skip_type", "shifted"), "begins without signal, such as flow"),
        ("digits_edm", (*PLAN, "--skip_type", "shifted"), "begins without signal, such as flow"),
        ("digits_flow", (*PLAN, "--sample_type", "euler:1"), "cannot begin at t = 1"),
        *[
            (f"digits_{process}", (*TRAIN, "--diffusion.variance", "learned"), "no such key")
            for process in ("flow", "edm")
        ],
        (
            "digits_flow",
            (*TRAIN, "--loss.name", "skip"),
            "L_skip is defined for the variance-preserving",
        ),
        ("digits_flow", (*TRAIN, "--training.times", "mode:3"), "a number from -1 to 1.75"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else None,
)
def test_an_objective_that_cannot_be_is_refused_in_one_line(tmp_path, capsys, config, words, text):
    home = () if words[0] == "--print_plan" else ("--exp", str(tmp_path), "--doc", "run")
    code = main(["--config", f"{config}.yml", *home, *words])
    says = capsys.readouterr().err.strip()
    assert code == 2 and text in says and says.count("\n") == 0, (code, says)
    assert not [*tmp_path.iterdir()]
