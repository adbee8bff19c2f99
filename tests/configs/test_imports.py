"""Files of a user's own parts, in this process: what is recorded, and what is refused."""

import pytest

import main
from configs import imports
from configs.parts import KINDS
from configs.schema import ConfigError, load
from configs.schema.options import load_rooms
from tests.commands import TINY

LOSS = """
from configs.values import Positive
from functions.loss import LOSSES, simple

@LOSSES.part(title="x", paper="", aliases={"mine_half": "delta=0.25"})
def mine(denoiser, x0, t, noise, delta: Positive = 1.0):
    return simple(denoiser, x0, t, noise)
"""
SCHEDULE = """
import numpy as np
from functions.process import SCHEDULES

@SCHEDULES.part(title="x", paper="")
def flat(start, end, steps):
    return np.full(steps, (start + end) / 2)
"""
METRIC = """
from functions.metrics import METRICS

@METRICS.part(title="x", paper="", label="mine", lower_is_better=True, unit="x")
def mine(seen):
    return {body}
"""
SOURCE = """
import numpy as np
from datasets.readers import ArrayReader, Split
from datasets.sources import SOURCES

@SOURCES.part("mine", title="x", paper="", size=8, channels=1, labels="yes")
def mine(path, download):
    return {body}
"""
PICTURE = """
from dataclasses import dataclass
from configs.values import Count
from runners.picture import PICTURES, Mode

@PICTURES.part("mine", title="x", paper="", helps={{"": "x", "{option}": "x"}})
@dataclass(frozen=True)
class Mine(Mode):
    {option}: Count = 1

    def {method}(self, session):
        return []
"""


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    import runners.picture  # noqa: F401

    load_rooms()
    for registry in KINDS.values():
        monkeypatch.setattr(registry, "parts", dict(registry.parts))
    known = dict(imports.IMPORTED)
    imports.IMPORTED.clear()
    yield
    imports.IMPORTED.clear()
    imports.IMPORTED.update(known)


@pytest.fixture
def bring(tmp_path):
    """Import a file of this text."""

    def run(text, name="mine.py", folder=tmp_path):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        return imports.run(folder / name, "--import")

    return run


def test_a_file_inside_the_program_is_recorded(bring, monkeypatch, tmp_path):
    monkeypatch.setattr("configs.parts.ROOT", tmp_path)  # a part's place is shown relative to it
    monkeypatch.setattr("configs.imports.ROOT", tmp_path)
    found = bring(LOSS)
    config = load("digits.yml", [("loss.name", "mine")]).recorded()
    assert [one.sha256 for one in config.imports] == [found.sha256]


def test_a_noise_schedule_is_recorded_with_every_image(bring):
    found = bring(SCHEDULE)
    config = load("digits.yml", [("diffusion.schedule", "flat")])
    assert [one.sha256 for one in config.recorded().imports] == [found.sha256]
    assert imports.records(config.image_parts()) == [found.record]


def test_an_alias_stands_for_its_options_in_a_section(bring):
    bring(LOSS)
    assert load("digits.yml", [("loss.name", "mine_half")]).loss.options == {"delta": 0.25}
    said = [("loss.name", "mine_half"), ("loss.delta", "2")]
    assert load("digits.yml", said).loss.options == {"delta": 2}


def test_a_metric_that_nobody_named_does_not_lock_a_run(bring):
    found = bring(METRIC.format(body="1.0"))
    assert load("digits.yml").recorded().imports == ()
    config = load("digits.yml", [("evaluation.metrics", "[distance,mine]")]).recorded()
    assert [one.sha256 for one in config.imports] == [found.sha256]


def test_a_run_opens_where_its_parts_have_moved_into_the_program(tmp_path, caplog):
    path = tmp_path / "saved.yml"
    record = f"[{{file: gone.py, sha256: {'a' * 64}}}]"
    path.write_text(f"extends: digits.yml\nimports: {record}\n")
    assert load(path).loss.options
    path.write_text(f"extends: digits.yml\nimports: {record}\nsampling: {{sample_type: gone}}\n")
    with pytest.raises(ConfigError, match="made with parts of gone.py .* add --import gone.py$"):
        load(path)


def test_imports_lie_beside_the_config_that_names_them(bring, tmp_path, monkeypatch):
    bring(LOSS)
    imports.IMPORTED.clear()
    KINDS["loss"].parts.pop("mine")
    (tmp_path / "base.yml").write_text("extends: digits.yml\nimports: [mine.py]\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/child.yml").write_text("extends: ../base.yml\n")
    monkeypatch.chdir(tmp_path / "sub")
    load(tmp_path / "sub/child.yml", consent=True)
    assert [path.name for path in imports.IMPORTED] == ["mine.py"]


@pytest.mark.parametrize("item", ["5", "{file: a, sha256: 5}", "{file: a}"])
def test_an_import_that_is_no_file_is_refused(tmp_path, item):
    (tmp_path / "odd.yml").write_text(f"extends: digits.yml\nimports: [{item}]\n")
    with pytest.raises(ConfigError, match=r"imports: .* should be the name of a file"):
        load(tmp_path / "odd.yml", consent=True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys\nsys.exit(0)\n", r"mine.py:2: SystemExit: 0"),
        (LOSS.replace('title="x"', "title=5"), "loss 'mine' has title 5; it should be text"),
        (LOSS.replace("def mine(denoiser, x0", "def mine(x0"), "should begin with the parameters"),
        (LOSS.replace("delta: Positive", "delta: object.__class__"), "has delta 1 by default"),
        (LOSS.replace("part(", "part('a b', "), "'a b' has a name that is not made of letters"),
        (PICTURE.format(option="size", method="paint"), "'mine' has no method draw"),
        (SOURCE.format(body="None").replace('"yes"', '"maybe"'), "labels maybe; it should be yes"),
    ],
)
def test_a_part_that_would_fail_later_is_refused(bring, text, told):
    with pytest.raises(imports.ImportFileError, match=told):
        bring(text)


@pytest.mark.parametrize("option", ["seed", "timesteps"])
def test_a_picture_mode_takes_no_flag_of_the_program(bring, option, capsys):
    bring(PICTURE.format(option=option, method="draw"))
    assert main.main(["--doc", "x", "--sample", "--mine"]) == 2
    told = capsys.readouterr().err
    assert f"--{option} of picture mode mine is a flag already" in told and "mine.py:" in told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("Split(ArrayReader(np.zeros((4, 8, 8), np.uint8), 'x'))", "no (training, held-out) pair"),
        ("Split(ArrayReader(np.zeros((0, 8, 8), np.uint8), 'x')), None", "split without images"),
        (
            "Split(ArrayReader(np.zeros((4, 8, 8), np.uint8), 'x'), np.zeros(3, int)), None",
            "3 labels for 4 images",
        ),
    ],
)
def test_a_data_source_that_breaks_its_word_is_named(bring, tmp_path, capsys, body, told):
    bring(SOURCE.format(body=body))
    words = ["--data.dataset", "mine", "--exp", str(tmp_path), "--doc", "x"]
    assert main.main([*TINY, *words, "--training.n_iters", "1"]) == 1
    output = capsys.readouterr().err
    assert told in output and "mine.py:" in output and "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize("body", ["float('nan')", "{}['boom']"])
def test_a_metric_without_a_value_and_one_that_fails(bring, tmp_path, capsys, body):
    exp = ["--exp", str(tmp_path), "--doc", "x"]
    assert main.main([*TINY, *exp, "--training.n_iters", "1"]) == 0
    bring(METRIC.format(body=body))
    words = ["--sample", "--fid", "--n_samples", "8", "--timesteps", "2", "--ni", "--device", "cpu"]
    measured = ["--features", "classifier", "--evaluation.metrics", "[distance,mine]"]
    code = main.main([*exp, *words, *measured])
    output = capsys.readouterr()
    if "nan" in body:
        assert code == 0 and "gives nan; its place stays empty" in output.err
        assert '"mine[classifier]-8": null' in next(tmp_path.rglob("eval.json")).read_text()
    else:
        assert code == 1 and "mine.py:6: KeyError: 'boom'" in output.err


PREFIX = "from functions.samplers import SAMPLERS\n\n"
FACTS = '@SAMPLERS.part(title="x", paper="", order="1", nfe="S")\n'


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def broken(:\n", "bad.py:1: does not parse: "),
        ("\n1 / 0\n", "bad.py:2: ZeroDivisionError: division by zero"),
        (PREFIX + '@SAMPLERS.part(title="x", paper="", order="1")\ndef f(): ...\n',
         "bad.py:3: sampler 'f' lacks nfe"),
        (PREFIX + '@SAMPLERS.part("ddim", title="x", paper="", order="1", nfe="S")\ndef f(): ...\n',
         "bad.py:3: sampler 'ddim' takes the name ddim, which is that of functions/samplers/"),
        (PREFIX + FACTS + 'def f(process, grid, a=1): ...\n',
         "bad.py:3: sampler 'f' has an option a without annotation"),
        (PREFIX + FACTS + 'def f(process, grid, a: int = 1.5): ...\n',
         "bad.py:3: sampler 'f' has a 1.5 by default; it should be a whole number"),
        (PREFIX + FACTS + 'def f(process, grid, a: "Int"): ...\n',
         "bad.py:3: sampler 'f' has an annotation that cannot be read: name 'Int' is not defined"),
        (None, "--import bad.py: No such file or directory"),
    ],
)  # fmt: skip
def test_a_bad_import_is_one_line_with_file_and_line(tmp_path, monkeypatch, capsys, source, told):
    monkeypatch.chdir(tmp_path)
    if source is not None:
        (tmp_path / "bad.py").write_text(source)
    assert main.main(["--import", "bad.py", "--list_samplers"]) == 2
    output = capsys.readouterr().err
    assert told in output and output.count("\n") == 1, output
