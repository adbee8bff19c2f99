"""--export: other programs open the folder and draw our images; what they lack is refused."""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml

from configs.command.options import Options
from configs.schema import dump, load
from functions.plan import solve
from main import main
from models import build, checkpoint, interop
from runners.model.load import open_model, weights_for
from runners.sampling.walk import walk_for

FEW = ["--diffusion.steps", "100"]  # so that abar ends far from 0
V = ["--loss.name", "simple", "--diffusion.predicts", "v"]
FLOW = ["--diffusion.process", "flow", "--diffusion.predicts", "velocity"]
FLOW += ["--loss.name", "simple", "--training.times", "uniform"]
ADM = ["--model.channel_mult", "[1,2]", "--model.num_res_blocks", "1"]


def run(exp: Path, *flags: str, base: str = "digits.yml") -> list[str]:
    """The words that name a run with random weights, of step 3."""
    small = ["--model.ch_mult", "[1,2]", "--model.ema_rate", "0.9"] if base == "digits.yml" else ADM
    config = load(base, pairs([*small, *flags]))
    torch.manual_seed(0)
    network = build(config.model.name, **config.model.options)
    for tensor in network.parameters():
        if not tensor.any():  # as adm's last layers
            tensor.data.normal_(0, 0.02)
    raw = network.state_dict()
    average = {key: 0.9 * tensor for key, tensor in raw.items()}
    ema = {"rates": list(config.ema_rates), "averages": [average]}
    state = {"network": raw, "ema": ema, "step": 3, "config": config.model_dump(mode="json")}
    if not config.imports:
        del state["config"]["imports"]
    (exp / "logs/m").mkdir(parents=True)
    checkpoint.save(exp / "logs/m/ckpt_3.pth", state)
    (exp / "logs/m/config.yml").write_text(dump(config))
    return ["--exp", str(exp), "--doc", "m", "--device", "cpu", "--ni"]


def pairs(flags) -> list[tuple[str, str, str]]:
    return [(key[2:], text, key) for key, text in zip(flags[::2], flags[1::2], strict=True)]


def opened(words: list[str], *flags: str):
    """The model and the walk that --sample would take."""
    exp = Path(words[words.index("--exp") + 1])
    config = load(exp / "logs/m/config.yml", pairs(flags))
    found = weights_for(config, Options(exp=exp, doc="m"))
    model = open_model(config, found, torch.device("cpu"))
    return model, walk_for(model.config, model.process)


@torch.no_grad()
def ours(words: list[str], *flags: str, times: torch.Tensor | None = None) -> torch.Tensor:
    """State at the end of our sampler, from the noise of a generator with seed 0."""
    model, walk = opened(words, *flags)
    noise, config = torch.Generator().manual_seed(0), model.config
    shape = (2, config.data.channels, config.data.image_size, config.data.image_size)
    spec, plan = config.sampler(), walk.plan
    if times is not None:
        plan = spec.build(model.process, times, **spec.options)
    variance = "learned" if spec.options.get("variance") == "learned" else None
    denoiser = config.denoiser(model.network, model.process, spec.clip, variance)

    def predict(x, t):
        if not variance:
            return denoiser.answer(plan.basis, x, t)
        clean, v = denoiser.posterior(x, t)
        return clean, (v + 1) / 2

    def randn(x):
        return torch.randn(x.shape, generator=noise)

    *_, last = solve(plan, predict, randn(torch.empty(shape)), randn)
    return last


def theirs(folder: Path, pipeline: str, **how) -> torch.Tensor:
    """State at the end of a pipeline of diffusers, before it becomes pixels of [0, 1]."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    pipe = getattr(diffusers, pipeline).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    states, step = [], pipe.scheduler.step

    def kept(*args, **kwargs):
        states.append(step(*args, **kwargs))
        return states[-1]

    pipe.scheduler.step = kept
    images = pipe(batch_size=2, generator=torch.Generator().manual_seed(0), output_type="pt", **how)
    pixels = torch.as_tensor(images.images)
    assert torch.equal(pixels, (states[-1].prev_sample / 2 + 0.5).clamp(0, 1))
    assert ((pixels > 0) & (pixels < 1)).float().mean() > 0.1  # not saturated: a comparison
    return states[-1].prev_sample


def worst(one: torch.Tensor, two: torch.Tensor) -> float:
    """Greatest difference, as a share of the range of values: of an image, of black to white."""
    assert one.shape == two.shape and torch.isfinite(one).all()
    return float((one - two).abs().max() / (two.max() - two.min()))


@pytest.mark.parametrize("clip", ["false", "true"])
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_diffusers_ddim_draws_our_images(tmp_path, predicts, clip) -> None:
    words = run(tmp_path, *FEW, "--diffusion.predicts", predicts, *plain_loss(predicts))
    how = ["--timesteps", "10", "--sampling.clip", clip]
    assert main([*words, "--export", str(tmp_path / "out"), *how]) == 0
    told = {"use_clipped_model_output": True} if clip == "true" else {}
    there = theirs(tmp_path / "out", "DDIMPipeline", num_inference_steps=10, **told)
    flags = ["--sampling.timesteps", "10", "--sampling.clip", clip]
    assert worst(ours(words, *flags), there) < 1e-5
    card = (tmp_path / "out/README.md").read_text()
    assert ("use_clipped_model_output=True" in card) == (clip == "true")


@pytest.mark.parametrize("clip", ["false", "true"])
@pytest.mark.parametrize("variance", ["large", "small"])
@pytest.mark.parametrize("predicts", ["eps", "v"])
def test_diffusers_ddpm_draws_our_images(tmp_path, predicts, variance, clip) -> None:
    words = run(tmp_path, *FEW, "--diffusion.predicts", predicts, *plain_loss(predicts))
    how = ["--sample_type", f"ddpm:{variance}", "--timesteps", "20", "--sampling.clip", clip]
    assert main([*words, "--export", str(tmp_path / "out"), *how]) == 0
    there = theirs(tmp_path / "out", "DDPMPipeline", num_inference_steps=20)
    flags = ["--sampling.sample_type", f"ddpm:{variance}", "--sampling.timesteps", "20"]
    assert worst(ours(words, *flags, "--sampling.clip", clip), there) < 1e-5
    assert "DDPMPipeline.from_pretrained" in (tmp_path / "out/README.md").read_text()


def plain_loss(predicts: str) -> list[str]:
    return [] if predicts == "eps" else ["--loss.name", "simple"]


@pytest.mark.parametrize("schedule", ["linear", "quad", "cosine", "const", "sigmoid"])
def test_every_noise_schedule_is_the_same_there(tmp_path, schedule) -> None:
    words = run(tmp_path, *V, "--diffusion.schedule", schedule)
    assert main([*words, "--export", str(tmp_path / "out"), "--timesteps", "8"]) == 0
    there = theirs(tmp_path / "out", "DDIMPipeline", num_inference_steps=8, eta=0.5)
    flags = ["--sampling.timesteps", "8", "--sampling.eta", "0.5"]
    assert worst(ours(words, *flags), there) < 1e-5
    scheduler = json.loads((tmp_path / "out/scheduler/scheduler_config.json").read_text())
    assert ("trained_betas" in scheduler) == (schedule in ("const", "sigmoid"))


def test_trailing_times_are_the_same_there(tmp_path) -> None:
    words = run(tmp_path, *FEW, *V)
    assert main([*words, "--export", str(tmp_path / "out"), "--skip_type", "trailing"]) == 0
    there = theirs(tmp_path / "out", "DDIMPipeline", num_inference_steps=10)
    flags = ["--sampling.timesteps", "10", "--sampling.skip_type", "trailing"]
    assert worst(ours(words, *flags), there) < 1e-5


def test_diffusers_draws_images_of_a_flow(tmp_path) -> None:
    words = run(tmp_path, *FLOW)
    assert main([*words, "--export", str(tmp_path / "out")]) == 0
    there = theirs(tmp_path / "out", "DDPMPipeline", num_inference_steps=9)
    # the times of FlowMatchEulerDiscreteScheduler end above 0, then comes clean data
    times = torch.cat([torch.linspace(1, 1e-3, 9, dtype=torch.float64), torch.zeros(1).double()])
    assert worst(ours(words, times=times), there) < 1e-5


@pytest.mark.parametrize(
    "flags",
    [
        ["--model.attention_resolutions", "[2]", "--model.num_head_channels", "16"],
        [
            *("--model.attention_resolutions", "[2]", "--model.num_heads", "4"),
            *("--model.use_scale_shift_norm", "true", "--model.resblock_updown", "true"),
            *("--model.use_new_attention_order", "true", "--model.num_head_channels", "-1"),
        ],
    ],
    ids=["plain", "updown"],
)
def test_diffusers_draws_images_of_adm_with_its_variance(tmp_path, flags) -> None:
    words = run(tmp_path, *FEW, *flags, base="digits_adm.yml")
    how = ["--sample_type", "ddpm:learned", "--timesteps", "20"]
    assert main([*words, "--export", str(tmp_path / "out"), *how]) == 0
    there = theirs(tmp_path / "out", "DDPMPipeline", num_inference_steps=20)
    flags = ["--sampling.sample_type", "ddpm:learned", "--sampling.timesteps", "20"]
    assert worst(ours(words, *flags), there) < 1e-5
