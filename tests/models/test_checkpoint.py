"""Checkpoints: exact, atomic, and never silently wrong."""

import os
import pickle
import random
import subprocess
import sys
import textwrap
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from models import checkpoint
from models.checkpoint import CheckpointError, latest, load, path_of, prune, save, steps

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/models"


def rich_state():
    torch.manual_seed(0)
    weights = OrderedDict(
        a=torch.randn(3, 4, 5, 6).contiguous(memory_format=torch.channels_last),
        half=torch.randn(7).to(torch.bfloat16),
        empty=torch.empty(0, 3),
        scalar=torch.tensor(2.5, dtype=torch.float64),
    )
    return {
        "model": weights,
        "optimiser": {
            "state": {0: {"step": torch.tensor(3.0)}},
            "groups": [{"betas": (0.9, 0.99)}],
        },
        "rng": torch.get_rng_state(),
        "step": 12,
        "mask": torch.tensor([True, False]),
        "note": "naïve \udcff",
        "nothing": None,
        "nan": float("nan"),
        "flag": False,
    }


def same(a, b):
    return checkpoint.digest(a) == checkpoint.digest(b)


def test_one_entry_is_read_without_the_others(tmp_path):
    path = tmp_path / "c.pth"
    save(path, rich_state())
    assert checkpoint.peek(path, "note") == rich_state()["note"]
    assert checkpoint.peek(path, "config") is None
    torch.save({"note": 1}, tmp_path / "foreign.pth")
    for name, told in (("none.pth", "no such"), ("foreign.pth", "not a checkpoint of this")):
        with pytest.raises(CheckpointError, match=told):
            checkpoint.peek(tmp_path / name, "note")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.peek(path, "note")


def test_what_is_saved_comes_back_exactly(tmp_path):
    state = rich_state()
    save(tmp_path / "c.pth", state)
    back = load(tmp_path / "c.pth")
    assert list(back) == list(state)
    assert same(back, state)
    assert torch.equal(back["model"]["half"], state["model"]["half"])
    assert back["model"]["a"].stride() == state["model"]["a"].stride()
    assert back["optimiser"]["groups"] == state["optimiser"]["groups"]
    assert (back["note"], back["flag"], back["nothing"]) == (state["note"], False, None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.pth"]


def test_any_program_can_read_it(tmp_path):
    save(tmp_path / "c.pth", rich_state())
    plain = torch.load(tmp_path / "c.pth", weights_only=True)
    assert plain["step"] == 12
    assert len(plain["sha256"]) == 64


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda s: s["model"].update(half=s["model"]["half"].view(torch.int16)), True),
        (lambda s: s["model"].update(a=s["model"]["a"].flatten()), True),
        (lambda s: s["model"].update(b=s["model"].pop("a")), True),
        (lambda s: s["model"]["a"][2, 3, 4].mul_(1 + 1e-6), True),
        (lambda s: s.update(step=12.0), True),
        (lambda s: s.update(flag=0), True),
        (lambda s: s["optimiser"]["groups"][0].update(betas=[0.9, 0.99]), True),
        (lambda s: s["model"].update(a=s["model"]["a"].contiguous()), False),
        (lambda s: s.update(note=s.pop("note")), False),
    ],
)
def test_the_digest_sees_content_and_only_content(change, differs):
    state = rich_state()
    before = checkpoint.digest(state)
    change(state)
    assert (checkpoint.digest(state) != before) is differs


def test_weights_hash_is_short_and_blind_to_order():
    a, b = torch.randn(2), torch.randn(3)
    first = checkpoint.weights_hash({"a": a, "b": b})
    assert first == checkpoint.weights_hash({"b": b, "a": a})
    assert first != checkpoint.weights_hash({"a": a, "b": b + 1})
    assert len(first) == 16
    assert int(first, 16) >= 0


def test_every_flipped_bit_is_found_or_harmless(tmp_path):
    path = path_of(tmp_path, 5)
    state = {"model": {"w": torch.randn(40, 3), "b": torch.zeros(4)}, "step": 5, "name": "x"}
    save(path, state)
    whole, dice, found = path.read_bytes(), random.Random(0), 0
    for _ in range(700):
        at = dice.randrange(len(whole) * 8)
        bad = bytearray(whole)
        bad[at // 8] ^= 1 << at % 8
        path.write_bytes(bad)
        assert steps(tmp_path) == [5]  # damaged or not, it is found
        try:
            assert same(load(path), state), f"bit {at} changed the content unseen"
        except CheckpointError as err:
            found += 1
            assert str(path) in str(err)
            assert "\n" not in str(err)
    assert found > 100


def test_every_flipped_byte_of_a_tensor_is_found(tmp_path):
    path = tmp_path / "c.pth"
    tensor = torch.randn(50)
    save(path, {"w": tensor})
    whole = path.read_bytes()
    start = whole.index(tensor.numpy().tobytes())
    for at in range(start, start + 200, 7):
        bad = bytearray(whole)
        bad[at] ^= 16
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match=r"c\.pth: damaged"):
            load(path)


@pytest.mark.parametrize("part", [0, 1, 0.3, 0.7, -1])
def test_truncated(tmp_path, part):
    path = tmp_path / "c.pth"
    save(path, rich_state())
    whole = path.read_bytes()
    path.write_bytes(whole[: part if isinstance(part, int) else int(part * len(whole))])
    with pytest.raises(CheckpointError, match=r"c\.pth: damaged"):
        load(path)


def test_missing_and_foreign(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load(tmp_path / "none.pth")
    torch.save({"model": torch.zeros(2)}, tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match="not a checkpoint of this program"):
        load(tmp_path / "plain.pth")
    (tmp_path / "page.pth").write_text("<html>quota exceeded</html>")
    with pytest.raises(CheckpointError, match=r"page\.pth"):
        load(tmp_path / "page.pth")


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_not_executed(tmp_path, zipped):
    target, path = tmp_path / "executed", tmp_path / "c.pth"
    if zipped:
        save(path, {"w": torch.zeros(2)})
        with zipfile.ZipFile(path) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(path, "w") as new:
            for name, data in parts.items():
                bomb = pickle.dumps(Bomb(target), protocol=2)
                new.writestr(name, bomb if name.endswith("data.pkl") else data)
    else:
        path.write_bytes(pickle.dumps(Bomb(target), protocol=2))
    with pytest.raises(CheckpointError, match=r"c\.pth"):
        load(path)
    assert not target.exists()


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), torch.float32, torch.Size([1])])
def test_other_types_are_refused_before_anything_is_written(tmp_path, value):
    with pytest.raises(ValueError, match=r"state\.deep\.0\.x is a "):
        save(tmp_path / "c.pth", {"deep": [{"x": value}]})
    assert list(tmp_path.iterdir()) == []


def test_reserved_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="sha256"):
        save(tmp_path / "c.pth", {"sha256": 1})


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["fsync", "torch.save"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error, where):
    path = tmp_path / "ckpt_1.pth"
    save(path, {"step": 1})

    def fail(*_):
        raise error

    if where == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(type(error)) as caught:
        save(path, {"step": 2})
    if isinstance(error, OSError):
        assert "ckpt_1.pth: checkpoint not written" in str(caught.value)
        assert "No space left" in str(caught.value)
    assert load(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_fills_while_writing(tmp_path):
    save(tmp_path / "ckpt_1.pth", {"step": 1})
    code = f"""
        import resource, torch
        from pathlib import Path
        from models.checkpoint import save
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            save(Path({str(tmp_path)!r}) / "ckpt_1.pth", {{"w": torch.zeros(1_000_000)}})
        except OSError as err:
            print("one line:", err)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "ckpt_1.pth: checkpoint not written (" in done.stdout
    assert "File too large" in done.stdout
    assert load(tmp_path / "ckpt_1.pth") == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["ckpt_1.pth"]


def test_steps_and_latest(tmp_path):
    assert steps(tmp_path / "none") == []
    assert latest(tmp_path, pytest.fail) is None
    for step in (5, 10, 100):
        save(path_of(tmp_path, step), {"step": step})
    for odd in ("ckpt.pth", "ckpt_x.pth", "ckpt_007.pth", "ckpt_7.pth.tmp", "other.txt"):
        (tmp_path / odd).touch()
    assert steps(tmp_path) == [5, 10, 100]
    assert latest(tmp_path, pytest.fail) == (path_of(tmp_path, 100), {"step": 100})


@pytest.mark.parametrize("zipped", [True, False])
def test_numbered_files_of_the_ddim_repository_are_not_taken_for_checkpoints(tmp_path, zipped):
    theirs = torch.load(GOLDEN / "ckpt.pth", weights_only=True)
    for name in ("ckpt.pth", "ckpt_1.pth", "ckpt_20.pth"):
        torch.save(theirs, tmp_path / name, _use_new_zipfile_serialization=zipped)
        assert checkpoint.is_foreign(tmp_path / name) and not checkpoint.is_ours(tmp_path / name)
    assert steps(tmp_path) == []
    assert latest(tmp_path, pytest.fail) is None
    save(path_of(tmp_path, 5), {"step": 5})
    assert steps(tmp_path) == [5]
    assert latest(tmp_path, pytest.fail) == (path_of(tmp_path, 5), {"step": 5})
    save(path_of(tmp_path, 6), {"step": 6})
    prune(tmp_path, keep_last=1, milestone_freq=None)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "ckpt.pth", "ckpt_1.pth", "ckpt_20.pth", "ckpt_6.pth"
    ]  # fmt: skip


@pytest.mark.parametrize("part", [0, 1, 100, -400, -1])
def test_a_truncated_checkpoint_is_not_foreign(tmp_path, part):
    save(path_of(tmp_path, 5), rich_state())
    path_of(tmp_path, 5).write_bytes(path_of(tmp_path, 5).read_bytes()[:part])
    assert not checkpoint.is_foreign(path_of(tmp_path, 5))
    assert steps(tmp_path) == [5]
    with pytest.raises(CheckpointError, match=r"ckpt_5\.pth: damaged"):
        latest(tmp_path, pytest.fail)


def test_a_page_saved_as_a_checkpoint_is_named(tmp_path):
    path_of(tmp_path, 5).write_text("<html>quota exceeded</html>")
    with pytest.raises(CheckpointError, match=r"ckpt_5\.pth: damaged, or not a checkpoint"):
        latest(tmp_path, pytest.fail)


def test_latest_falls_back_and_names_both(tmp_path):
    for step in (5, 10, 15):
        save(path_of(tmp_path, step), {"step": step, "w": torch.zeros(10)})
    for step in (10, 15):
        path = path_of(tmp_path, step)
        path.write_bytes(path.read_bytes()[:-400])
    said = []
    found = latest(tmp_path, said.append)
    assert found is not None
    assert found[1]["step"] == 5
    assert len(said) == 1
    for name in ("ckpt_15.pth: damaged", "ckpt_10.pth: damaged", "ckpt_5.pth instead"):
        assert name in said[0]
    path_of(tmp_path, 5).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"ckpt_15.*ckpt_10.*ckpt_5"):
        latest(tmp_path, said.append)


def test_prune_keeps_the_last_and_the_milestones(tmp_path):
    for step in range(0, 100, 10):
        save(path_of(tmp_path, step), {"step": step})
    gone = prune(tmp_path, keep_last=2, milestone_freq=40)
    assert steps(tmp_path) == [0, 40, 80, 90]
    assert {p.name for p in gone} == {f"ckpt_{s}.pth" for s in (10, 20, 30, 50, 60, 70)}
    prune(tmp_path, keep_last=1, milestone_freq=None)
    assert steps(tmp_path) == [90]
    with pytest.raises(ValueError, match="keep_last"):
        prune(tmp_path, 0, None)


@pytest.mark.skipif(os.name != "posix", reason="asks the kernel for processes")
def test_prune_removes_partial_files_of_dead_writers_only(tmp_path, monkeypatch):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()

    def partial(pid, step=1):
        with monkeypatch.context() as m:
            m.setattr(os, "getpid", lambda: pid)
            path = checkpoint._partial(path_of(tmp_path, step))
        path.touch()
        return path

    mine, live, gone = partial(os.getpid()), partial(1), partial(dead.pid)
    far = tmp_path / f".ckpt_2.pth.elsewhere.{dead.pid}.tmp"
    far.touch()
    forgotten = tmp_path / f".ckpt_3.pth.elsewhere.{dead.pid}.tmp"
    forgotten.touch()
    two_days_ago = time.time() - 2 * 86400
    os.utime(forgotten, (two_days_ago, two_days_ago))
    assert set(prune(tmp_path, 1, None)) == {gone, forgotten}
    assert {p.name for p in tmp_path.iterdir()} == {mine.name, live.name, far.name}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_while_saving(tmp_path):
    code = f"""
        import torch
        from models.checkpoint import path_of, save
        w, step = torch.zeros(300_000), 0
        while True:
            save(path_of({str(tmp_path)!r}, step := step + 1), {{"step": step, "w": w + step}})
            print(step, flush=True)
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    done = [int(writer.stdout.readline()) for _ in range(5)]
    time.sleep(0.011)
    writer.kill()
    done += [int(line) for line in writer.stdout.read().splitlines()]
    writer.wait()
    found = latest(tmp_path, pytest.fail)
    assert found is not None
    assert found[1]["step"] >= done[-1]
    assert (found[1]["w"] == found[1]["step"]).all()
    prune(tmp_path, 1, None)
    assert [entry.name for entry in tmp_path.iterdir()] == [found[0].name]
