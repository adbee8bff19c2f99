"""The main job on a CUDA device; skipped, visibly, where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from main import main
from models import checkpoint
from tests.commands import TINY

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
FAST = ["--training.precision", "bf16", "--training.channels_last", "true"]


@pytest.mark.parametrize("more", [[], FAST, [*FAST, "--training.compile", "true"]])
def test_train_resume_sample_and_measure(tmp_path: Path, more: list[str]) -> None:
    words = [*TINY, "--device", "cuda", "--exp", str(tmp_path), "--doc", "digits", *more]
    assert main([*words, "--training.n_iters", "3"]) == 0
    assert main([*words, "--training.n_iters", "5", "--resume_training"]) == 0
    assert checkpoint.steps(tmp_path / "logs/digits") == [3, 5]
    sample = ["--exp", str(tmp_path), "--doc", "digits", "--device", "cuda", "--sample", "--fid"]
    assert main([*sample, "--n_samples", "20", "--timesteps", "4"]) == 0
    assert (tmp_path / "image_samples/images/eval.json").exists()
