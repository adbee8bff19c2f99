"""--export: other programs open the folder and draw our images; what they lack is refused."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from configs.command.options import Options
from configs.schema import dump, load
from functions.plan import solve
from main import main
from models import build, checkpoint, interop
from runners.export.layouts import LAYOUTS
from runners.model import weights
from runners.model.load import open_model, weights_for
from runners.sampling.recipe import recipe_of
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


def theirs(folder: Path, pipeline: str, exact: bool = False, **how) -> torch.Tensor:
    """State at the end of a pipeline of diffusers, before it becomes pixels of [0, 1]. exact: with
    its table of abar in float64.
    """
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    pipe = getattr(diffusers, pipeline).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    if exact:
        pipe.scheduler.alphas_cumprod = (1 - pipe.scheduler.betas.double()).cumprod(0)
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
    """Greatest difference, as a share of the range of values, at least of that from -1 to 1."""
    assert one.shape == two.shape and torch.isfinite(one).all()
    return float((one - two).abs().max() / (two.max() - two.min()).clamp(min=2))


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("predicts", "variance", "clip"),
    [
        *(("eps", "large", "false"), ("eps", "small", "true"), ("v", "large", "true")),
        *(("v", "small", "false"), ("x0", "large", "false")),
    ],
)
def test_diffusers_ddpm_draws_our_images(tmp_path, predicts, variance, clip) -> None:
    words = run(tmp_path, *FEW, "--diffusion.predicts", predicts, *plain_loss(predicts))
    how = ["--sample_type", f"ddpm:{variance}", "--timesteps", "20", "--sampling.clip", clip]
    assert main([*words, "--export", str(tmp_path / "out"), *how]) == 0
    flags = ["--sampling.sample_type", f"ddpm:{variance}", "--sampling.timesteps", "20"]
    here = ours(words, *flags, "--sampling.clip", clip)
    for exact, most in ((True, 1e-5), (False, 3e-5)):  # 1 - abar loses digits in float32
        there = theirs(tmp_path / "out", "DDPMPipeline", exact, num_inference_steps=20)
        assert worst(here, there) < most
    assert "DDPMPipeline.from_pretrained" in (tmp_path / "out/README.md").read_text()


def plain_loss(predicts: str) -> list[str]:
    return [] if predicts == "eps" else ["--loss.name", "simple"]


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["linear", "quad", "cosine", "const", "sigmoid"])
def test_every_noise_schedule_is_the_same_there(tmp_path, schedule) -> None:
    words = run(tmp_path, *V, "--diffusion.schedule", schedule)
    assert main([*words, "--export", str(tmp_path / "out"), "--timesteps", "8"]) == 0
    there = theirs(tmp_path / "out", "DDIMPipeline", num_inference_steps=8, eta=0.5)
    flags = ["--sampling.timesteps", "8", "--sampling.eta", "0.5"]
    assert worst(ours(words, *flags), there) < 1e-5
    scheduler = json.loads((tmp_path / "out/scheduler/scheduler_config.json").read_text())
    assert ("trained_betas" in scheduler) == (schedule in ("const", "sigmoid"))


@pytest.mark.slow
def test_dynamic_thresholds_and_zero_terminal_snr_are_the_same_there(tmp_path) -> None:
    words = run(tmp_path, *FEW, *V, "--diffusion.rescale_zero_snr", "true")
    how = ["--sampling.clip", "dynamic:0.9:1.5", "--skip_type", "trailing"]
    assert main([*words, "--export", str(tmp_path / "out"), *how, "--timesteps", "10"]) == 0
    told = {"num_inference_steps": 10, "use_clipped_model_output": True}
    there = theirs(tmp_path / "out", "DDIMPipeline", **told)
    how = ["--sampling.clip", "dynamic:0.9:1.5", "--sampling.skip_type", "trailing"]
    assert worst(ours(words, *how, "--sampling.timesteps", "10"), there) < 3e-5


@pytest.mark.slow
def test_trailing_times_are_the_same_there(tmp_path) -> None:
    words = run(tmp_path, *FEW, *V)
    assert main([*words, "--export", str(tmp_path / "out"), "--skip_type", "trailing"]) == 0
    there = theirs(tmp_path / "out", "DDIMPipeline", num_inference_steps=10)
    flags = ["--sampling.timesteps", "10", "--sampling.skip_type", "trailing"]
    assert worst(ours(words, *flags), there) < 1e-5


@pytest.mark.slow
def test_diffusers_draws_images_of_a_flow(tmp_path) -> None:
    words = run(tmp_path, *FLOW)
    assert main([*words, "--export", str(tmp_path / "out")]) == 0
    there = theirs(tmp_path / "out", "DDPMPipeline", num_inference_steps=9)
    # the times of FlowMatchEulerDiscreteScheduler end above 0, then comes clean data
    times = torch.cat([torch.linspace(1, 1e-3, 9, dtype=torch.float64), torch.zeros(1).double()])
    assert worst(ours(words, times=times), there) < 1e-5


@pytest.mark.slow
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


def weights_of(path: Path, network: torch.nn.Module, layout: str) -> str:
    """Hash of the weights of a file or folder of another layout, under our names."""
    state, info = interop.read(path)
    assert info["layout"] == layout
    interop.load_foreign(network, state, layout)
    return checkpoint.weights_hash(network.state_dict())


@pytest.mark.parametrize("layout", ["diffusers", "ddim", "safetensors"])
def test_an_export_comes_back_as_the_same_weights_and_images(tmp_path, layout) -> None:
    words, out = run(tmp_path, *FEW), tmp_path / "out"
    assert main([*words, "--export", str(out), "--layout", layout]) == 0
    model, _ = opened(words)
    network = build(model.config.model.name, **model.config.model.options)
    source = out / "ckpt.pth" if layout == "ddim" else out
    if layout != "safetensors":
        assert weights_of(source, network, layout) == model.weights.sha256
    config = [] if layout == "safetensors" else ["--config", str(out / "config.yml")]
    drawn = ["--sample", "--images", "--n_samples", "2", "--timesteps", "3"]
    assert main([*words, *drawn, "-i", "a"]) == 0
    own = [*config, "--use_pretrained", str(source), "--exp", str(tmp_path), "--device", "cpu"]
    assert main([*own, *drawn, "-i", "b"]) == 0
    a, b = tmp_path / "image_samples/a", tmp_path / "image_samples/b"
    assert [(a / f"{i}.png").read_bytes() for i in range(2)] == [
        (b / f"{i}.png").read_bytes() for i in range(2)
    ]
    card = (out / "README.md").read_text()
    assert f"--use_pretrained out{'/ckpt.pth' * (layout == 'ddim')} --sample" in card
    if layout == "safetensors":
        recipe = json.loads((b / "samples.json").read_text())["recipe"]
        told = [recipe[key] for key in ("weights", "average", "training_step")]
        assert told == [model.weights.sha256, "ema 0.9", 3]


def test_the_averages_and_the_raw_weights_can_be_chosen(tmp_path) -> None:
    words = run(tmp_path, *FEW)
    flags_of = {"mean": ["--sampling.ema", "0.9"], "raw": ["--sampling.ema", "none"]}
    for name, flags in flags_of.items():
        out = tmp_path / name
        assert main([*words, "--export", str(out), "--layout", "safetensors", *flags]) == 0
    means, raw = (load_file(tmp_path / name / "model.safetensors") for name in ("mean", "raw"))
    assert all(torch.allclose(means[key], 0.9 * raw[key]) for key in raw)
    for name in flags_of:  # which average it was is told by the file, not asked of the next one
        assert load(tmp_path / name / "config.yml").sampling.ema is None


def test_an_average_made_of_snapshots_is_exported(tmp_path) -> None:
    words = run(tmp_path, *FEW)
    model, _ = opened(words)
    made = replace(model, weights=replace(model.weights, average="ema of length 0.05"))
    config = model.config.sampling.model_copy(update={"ema_length": 0.05})
    made = replace(made, config=model.config.model_copy(update={"sampling": config}))
    files = LAYOUTS["safetensors"](made)
    assert files["model.safetensors"][1]["average"] == "ema of length 0.05"
    assert yaml.safe_load(files["config.yml"])["sampling"]["ema_length"] is None


def test_the_ddim_repository_reads_its_ckpt(tmp_path) -> None:
    words, out = run(tmp_path, *FEW), tmp_path / "out"
    assert main([*words, "--export", str(out), "--layout", "ddim"]) == 0
    content = torch.load(out / "ckpt.pth", weights_only=True)
    network = opened(words)[0].network
    wrapped = torch.nn.DataParallel(network)  # as its runner loads states[0], then states[-1]
    wrapped.load_state_dict(content[0], strict=True)
    assert content[-1].keys() == dict(network.named_parameters()).keys()
    assert content[3] == 3 and len(content) == 5


def test_guided_diffusion_reads_its_names(tmp_path) -> None:
    words, out = run(tmp_path, base="digits_adm.yml"), tmp_path / "out"
    assert main([*words, "--export", str(out), "--layout", "adm"]) == 0
    state = torch.load(out / "ema_0.995_000003.pt", weights_only=True)
    opened(words)[0].network.load_state_dict(state, strict=True)
    raw = ["--export", str(tmp_path / "raw"), "--layout", "adm", "--sampling.ema", "none"]
    assert main([*words, *raw]) == 0 and (tmp_path / "raw/model000003.pt").is_file()


CLD = ["--diffusion.process", "cld", "--diffusion.mixed_score", "none", "--loss.name", "simple"]
EDM = ["--diffusion.process", "edm", "--diffusion.predicts", "edm", "--loss.name", "simple"]
EDM += ["--training.times", "lognormal_sigma"]
REFUSED = [
    ("diffusers", CLD, "diffusion.process: diffusers has no process cld, it has vp or flow"),
    ("diffusers", EDM, "diffusion.process: diffusers has no process edm, it has vp or flow"),
    ("diffusers", ["--diffusion.process", "vpsde"], "has no process vpsde"),
    ("diffusers", ["--diffusion.mixed_score", "normal"], "diffusion.mixed_score: diffusers adds"),
    ("diffusers", ["--diffusion.predicts", "velocity", "--loss.name", "simple"], "velocity"),
    ("diffusers", [*FLOW, "--diffusion.time", "t"], "diffusion.time: diffusers tells networks"),
    ("diffusers", [*FLOW, "--sampling.clip", "true"], "sampling.clip: diffusers clips nothing"),
    ("diffusers", ["--model.resamp_with_conv", "false"], "model.resamp_with_conv: false is not"),
    ("diffusers", ["--data.classes", "true"], "data.classes: diffusers samples without labels"),
    ("diffusers", ["--data.rescaled", "false"], "data.rescaled: false: diffusers shows"),
    ("ddim", V, "the DDIM repository has no prediction v on this process, it has eps"),
    ("ddim", ["--diffusion.schedule", "cosine"], "has no noise schedule cosine, it has linear,"),
    ("adm", [], "model.name: guided-diffusion has no network ddpm, it has adm"),
]


@pytest.mark.parametrize(("layout", "flags", "reason"), REFUSED)
def test_a_model_that_the_layout_lacks_is_refused(tmp_path, capfd, layout, flags, reason) -> None:
    words = run(tmp_path, *flags)
    capfd.readouterr()
    assert main([*words, "--export", str(tmp_path / "new/out"), "--layout", layout]) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ") and reason in said and said.count("\n") == 1
    assert "--layout safetensors holds any model" in said
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("flags", [CLD, EDM])
def test_safetensors_holds_what_the_others_lack(tmp_path, flags) -> None:
    words, out = run(tmp_path, *flags), tmp_path / "out"
    assert main([*words, "--export", str(out), "--layout", "safetensors"]) == 0
    found, *_ = weights.of_file(out)
    assert found.sha256 == opened(words)[0].weights.sha256 and found.average == "ema 0.9"
    assert found.config["diffusion"]["process"] == flags[1]


def test_ncsnpp_is_no_network_of_diffusers(tmp_path, capfd) -> None:
    words = run(tmp_path, "--model.name", "ncsnpp")
    assert main([*words, "--export", str(tmp_path / "out")]) == 2
    assert "diffusers has no network ncsnpp, it has ddpm or adm" in capfd.readouterr().err


def test_heads_of_several_widths_are_refused(tmp_path, capfd) -> None:
    heads = ["--model.num_head_channels", "-1", "--model.attention_resolutions", "[1,2]"]
    words = run(tmp_path, *heads, base="digits_adm.yml")
    assert main([*words, "--export", str(tmp_path / "out")]) == 2
    assert "model.num_heads: 1 gives heads of [32, 64] channels" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--export", "x", "--layout", "onnx"], "invalid choice: 'onnx'"),
        (["--layout", "ddim"], "--layout needs --export"),
        (["--push_to_hub", "me/it"], "--push_to_hub needs --export"),
        (["--export", "x", "--push_to_hub", "it"], "--push_to_hub it: should be USER/NAME"),
        (["--export", "x", "--overwrite"], "--overwrite does not go with --export"),
        (["--export", "x", "--test"], "--test and --export are different things to do"),
        (["--export", "x", "--print_plan"], "has no effect with --print_plan"),
        (["--export", ""], "--export needs the name of a new folder"),
    ],
)
def test_bad_words_are_refused_in_one_line(tmp_path, capfd, words, reason) -> None:
    named = run(tmp_path)
    capfd.readouterr()
    assert main([*named, *words]) == 2
    said = capfd.readouterr().err
    assert reason in said and said.count("\n") == 1


def test_nothing_is_overwritten(tmp_path, capfd) -> None:
    words, out = run(tmp_path), tmp_path / "out"
    out.mkdir()
    assert main([*words, "--export", str(out)]) == 0  # an empty folder may be there
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capfd.readouterr()
    assert main([*words, "--export", str(out), "--layout", "ddim"]) == 2
    said = capfd.readouterr().err
    assert f"--export {out}: exists and is not empty; nothing is overwritten" in said
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch, capfd) -> None:
    def full(*_) -> None:
        raise OSError(28, "No space left on device", "model.safetensors")

    monkeypatch.setattr("runners.export.layouts.save_file", full)
    words = run(tmp_path)
    assert main([*words, "--export", str(tmp_path / "out")]) == 1
    assert "No space left on device" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs"]


@pytest.fixture
def hub(monkeypatch) -> list[tuple]:
    """What a fake huggingface_hub was asked, in order."""
    asked: list[tuple] = []

    class HfApi:
        def create_repo(self, repo_id, **how) -> None:
            asked.append(("create", repo_id, how))

        def upload_folder(self, *, repo_id, folder_path, **how) -> None:
            if "broken" in repo_id:
                raise RuntimeError("401 Client Error")
            asked.append(("upload", repo_id, sorted(p.name for p in Path(folder_path).iterdir())))

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(HfApi=HfApi))
    return asked


def test_push_to_hub_uploads_the_folder(tmp_path, hub, capfd) -> None:
    words = [*run(tmp_path), "--layout", "safetensors"]
    out = tmp_path / "out"
    assert main([*words, "--export", str(out), "--push_to_hub", "me/it"]) == 0
    names = ["README.md", "config.yml", "model.safetensors"]
    assert hub == [("create", "me/it", {"exist_ok": True}), ("upload", "me/it", names)]
    assert (out / "README.md").read_text().count("# me/it\n") == 1
    capfd.readouterr()
    assert main([*words, "--export", str(tmp_path / "b"), "--push_to_hub", "me/broken"]) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert "401 Client Error" in said and f"`hf upload me/broken {tmp_path / 'b'}` sends it" in said


def test_dry_run_says_what_would_be_sent(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # which it does not need
    words = [*run(tmp_path), "--export", str(tmp_path / "new/out")]
    assert main([*words, "--push_to_hub", "me/it", "--dry_run"]) == 0
    said = capfd.readouterr().out
    for name in ("model_index.json", "unet/diffusion_pytorch_model.safetensors", "README.md"):
        assert f" bytes  {name}\n" in said
    assert "nothing is written" in said and "https://huggingface.co/me/it would receive" in said
    assert not (tmp_path / "new").exists()


def test_without_the_library_push_to_hub_is_one_line(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    words = [*run(tmp_path), "--export", str(tmp_path / "out"), "--push_to_hub", "me/it"]
    assert main(words) == 2
    assert "--push_to_hub me/it: needs `pip install huggingface_hub`" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_card_holds_the_figures_of_these_weights(tmp_path) -> None:
    words = run(tmp_path, *FEW)
    model, walk = opened(words, "--sampling.timesteps", "5")
    recipe = recipe_of(model.weights, model.config, walk, "cpu")
    other = replace(recipe, weights="0" * 16)
    for name, one, value in (("mine", recipe, 12.5), ("others", other, 99.25)):
        folder = tmp_path / "image_samples" / name
        folder.mkdir(parents=True)
        figures = {"FD[classifier]-1617": value, "KID": None}
        record = {"figures": figures, "n_samples": 1617, "command": f"main.py --doc {name}"}
        (folder / "eval.json").write_text(json.dumps({**record, "recipe": one.to_json()}))
    assert main([*words, "--export", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out/README.md").read_text()
    assert "| FD[classifier]-1617 | 12.5 | 1,617 | ddim, uniform, 5 evaluations |" in card
    assert "python main.py --doc mine\n" in card and "others" not in card and "99.25" not in card
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["library_name"] == "diffusers" and head["license"] == "unknown"
    assert "3 updates of 128 images: 384 images seen" in card
    assert "eprint = {2006.11239}" in card


def test_no_path_of_this_machine_is_published(tmp_path) -> None:
    words = run(tmp_path, "--data.path", "/secret/images", "--data.holdout", "0")
    assert main([*words, "--export", str(tmp_path / "out"), "--layout", "safetensors"]) == 0
    for path in (tmp_path / "out").iterdir():
        assert b"secret" not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()
