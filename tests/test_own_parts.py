"""Parts of a user's own, from a file outside the project, by the recipes of CONTRIBUTING.md."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from tests.commands import run

ROOT = Path(__file__).parents[1]
CONFIG = {
    "data": {"dataset": "MYDATA"},
    "model": {"name": "my_network", "width": 8, "ema_rate": 0.9},
    "diffusion": {"process": "my_process", "rate": 9.0},
    "loss": {"name": "my_loss", "delta": 0.2},
    "training": {
        **{"times": "my_times", "weight": "my_weight:0.7"},
        **{"n_iters": 6, "batch_size": 8, "sample_freq": 0},
    },
    "sampling": {"n_samples": 16, "batch_size": 16, "timesteps": 4},
    "evaluation": {"features": "classifier", "kid_subsets": 2},
}


def recipes():
    """Every Python block of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with the recipes in one file, and a run that was trained with them."""
    folder = tmp_path_factory.mktemp("own")
    parts = "\n\n".join(recipes())
    (folder / "my_parts.py").write_text(parts)
    (folder / "mine.yml").write_text(yaml.safe_dump({"imports": ["my_parts.py"], **CONFIG}))
    code, output = run("--config", "mine.yml", "--doc", "mine", "--ni", cwd=folder)
    assert code == 0, output
    return folder


def command(folder, *words):
    code, output = run("--import", "my_parts.py", "--doc", "mine", "--ni", *words, cwd=folder)
    assert code == 0, output
    return output


@pytest.mark.slow
def test_every_kind_of_part_has_a_recipe_that_works(own):
    saved = yaml.safe_load((own / "exp/logs/mine/config.yml").read_text())
    digest = hashlib.sha256((own / "my_parts.py").read_bytes()).hexdigest()
    assert saved["imports"] == [{"file": "my_parts.py", "sha256": digest}]
    assert (saved["diffusion"]["rate"], saved["loss"]["delta"]) == (9, 0.2)
    words = ["--sample_type", "my_sampler:0.2", "--skip_type", "my_grid", "--eps_scale", "my_scale"]
    output = command(own, "--sample", "--fid", *words)
    assert "nearest[classifier]-16" in output
    record = json.loads((own / "exp/image_samples/images/eval.json").read_text())
    assert record["recipe"]["sampler"]["name"] == "my_sampler"
    assert record["recipe"]["imports"] == saved["imports"]
    assert record["figures"]["nearest[classifier]-16"] >= 0
    command(own, "--sample", "--my_picture", "--times", "2")
    assert (own / "exp/image_samples/mine/my_picture/my_picture_1.png").exists()


@pytest.mark.slow
def test_a_report_cites_them(own):
    command(own, "--sweep", "--samplers", "my_sampler,ddim@my_grid", "--timesteps", "2,4")
    page = (own / "exp/sweeps/mine/report.html").read_text()
    for text in (
        *("sampler my_sampler", "loss my_loss", "process my_process", "2310.14189"),
        *("nearest[classifier]-16", "my_grid"),
    ):
        assert text in page, text
    table = (own / "exp/sweeps/mine/report.csv").read_text().splitlines()
    assert "nearest[classifier]-16" in table[0] and len(table) == 5


@pytest.mark.slow
def test_a_run_asks_for_the_file_that_it_was_trained_with(own):
    code, output = run("--doc", "mine", "--sample", "--images", "--ni", cwd=own)
    assert code == 2
    assert "made with parts of my_parts.py" in output and "add --import my_parts.py" in output
    code, output = run("--config", "exp/logs/mine/config.yml", "--dry_run", cwd=own)
    assert code == 2 and "add --import my_parts.py" in output  # a saved config imports nothing


def test_a_checkpoint_never_imports(own, tmp_path):
    """A config inside a file is data: a name in its imports runs nothing."""
    from configs.schema import ConfigError, from_values

    trace = tmp_path / "trace"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w')")
    values = {"data": {"dataset": "DIGITS"}, "imports": [str(tmp_path / "evil.py")]}
    with pytest.raises(ConfigError, match="not imported by itself; add --import"):
        from_values(values, "ckpt_1.pth")
    assert not trace.exists()


@pytest.mark.slow
def test_ranges_are_checked_before_anything_is_built(own):
    for key, value, told in (
        ("loss.delta", "-1", "a number above 0"),
        ("model.width", "0", "a whole number, at least 1"),
        ("sampling.sample_type", "my_sampler:2", "a number from 0 to 1"),
    ):
        words = ["--import", "my_parts.py", "--doc", "mine", "--dry_run", f"--{key}", value]
        code, output = run(*words, cwd=own)
        assert code == 2 and told in output, output
