"""What every verb stands on: processes, precision, seeds, signals, versions."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from torch import nn

from configs.schema import ConfigError, load
from runners.machine import precision, processes, seeds, signals, versions
from runners.machine.processes import Ranks

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU)


def test_one_process_has_everything_itself() -> None:
    rows = torch.arange(6).reshape(3, 2)
    assert ALONE.first and ALONE.device_name == "cpu"
    assert ALONE.sum(rows) is rows and torch.equal(ALONE.gather(rows), rows)
    assert ALONE.any(True, False) == [True, False]
    assert ALONE.on_first(lambda: 3) == 3
    ALONE.barrier()


def test_the_first_process_speaks(capsys, monkeypatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    processes.say(["a", "b"])
    monkeypatch.setenv("RANK", "1")
    processes.say(["c"])
    assert capsys.readouterr().out == "a\nb\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [("tpu", "not a device"), ("cpu:1", "not a device"), ("cuda:x", "not a device")],
)
def test_devices_there_are_not(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        processes.start(name)


def test_a_cuda_device_beyond_the_last_is_named() -> None:
    with pytest.raises(ConfigError, match="this machine has"):
        processes.start(f"cuda:{torch.cuda.device_count()}")
    assert processes.start("cpu") == ALONE


@pytest.mark.parametrize(("name", "dtype"), precision.PRECISIONS.items())
def test_mixed_precision(name: str, dtype: torch.dtype | None) -> None:
    layer, x = nn.Linear(4, 4), torch.ones(2, 4)
    with precision.autocast(name, CPU):
        assert layer(x).dtype == (dtype or torch.float32)


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_allowed_or_not(tf32: bool) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    precision.set_up(tf32)
    assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    assert torch.backends.cudnn.allow_tf32 is tf32
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_the_layout_in_memory_is_the_configs() -> None:
    channels_last = load("digits.yml", [("training.channels_last", "true")])
    assert precision.memory_format(channels_last) == torch.channels_last
    assert precision.memory_format(load("digits.yml")) == torch.contiguous_format
    network = nn.Conv2d(8, 8, 3)
    before = network.weight.stride()
    assert precision.laid_out(network, channels_last, CPU).weight.stride() == before
    on_meta = precision.laid_out(network, channels_last, torch.device("meta"))
    assert on_meta.weight.is_contiguous(memory_format=torch.channels_last)


def test_seeds_of_neighbours_have_nothing_in_common() -> None:
    found = [seeds.mixed_seed(a, b) for a in range(30) for b in range(30)]
    assert len(set(found)) == 900 and all(0 <= seed < 2**63 for seed in found)
    assert seeds.mixed_seed(1, 2) == seeds.mixed_seed(1, 2) != seeds.mixed_seed(2, 1)
    bits = [bin(a ^ b).count("1") for a, b in zip(found, found[1:], strict=False)]
    assert 30 < sum(bits) / len(bits) < 33  # half of 63


def test_a_step_is_seeded_by_its_three_numbers() -> None:
    drawn = []
    for numbers in ((1, 0, 5), (1, 0, 5), (1, 1, 5), (1, 0, 6), (2, 0, 5)):
        seeds.seed_step(*numbers)
        drawn.append(float(torch.randn(())))
    assert drawn[0] == drawn[1] and len(set(drawn)) == 4


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_is_a_request(name: str) -> None:
    before = signal.getsignal(getattr(signal, name))
    with signals.stop_request() as stop:
        assert not stop
        os.kill(os.getpid(), getattr(signal, name))
        assert stop and stop.name == name
    assert signal.getsignal(getattr(signal, name)) == before


def test_a_signal_ends_a_block_that_saves_nothing(caplog, monkeypatch) -> None:
    monkeypatch.setattr(signals.log, "propagate", True)
    with pytest.raises(SystemExit) as left, signals.leaving_on_request("begin again"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == signals.STOPPED
    assert "SIGTERM: stopped; begin again" in caplog.text


def test_versions_name_the_program_and_its_libraries(monkeypatch) -> None:
    found = versions.versions()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] != "absent"
    assert {"python", "skip-step", *versions.LIBRARIES} == found.keys()
    monkeypatch.setattr(versions.subprocess, "run", _no_git)
    assert versions._commit() == "unknown"


def _no_git(*_args, **_options):
    raise FileNotFoundError("git")
