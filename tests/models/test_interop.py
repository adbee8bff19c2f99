"""Weights of the DDIM repo, of converted DDPM models, of diffusers and of guided-diffusion."""

import json
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models import build
from models.interop import export, load_foreign, read
from models.interop.adm import network_options
from models.interop.diffusers import modern_name

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
REAL = json.loads((GOLDEN / "real_configs.json").read_text())
LEGACY = json.loads((GOLDEN / "manifest.json").read_text())["files"]["legacy"]["config"]
CONFIG = json.loads((GOLDEN / "diffusers_tiny_config.json").read_text())


def arrays(name):
    z = np.load(GOLDEN / f"{name}.npz")
    weights = {k[3:]: torch.tensor(z[k]).float() for k in z.files if k.startswith("sd/")}
    return weights, {k: torch.tensor(z[k]) for k in z.files if not k.startswith("sd/")}


@torch.no_grad()
def worst(network, z, want):
    return (network.eval()(z["in/x"], z["in/t"]) - z[want]).abs().max()


def diffusers_folder(folder, weights=None, end="safetensors", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    weights = arrays("diffusers_tiny")[0] if weights is None else weights
    file = folder / f"diffusion_pytorch_model.{end}"
    (save_file if end == "safetensors" else torch.save)(weights, file)
    return folder


def write_scheduler(folder, name, **config):
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"_class_name": name, **config})
    (folder / "scheduler_config.json").write_text(text)


def old_names(weights):
    """The attention names that diffusers wrote before 2023."""
    pairs = [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value.")]
    pairs.append((".to_out.0.", ".proj_attn."))
    out = {}
    for key, value in weights.items():
        for new, old in pairs:
            key = key.replace(new, old)
        out[key] = value
    return out


def test_the_ddim_training_list_gives_its_average():
    weights, info = read(GOLDEN / "ckpt.pth")
    assert [info[key] for key in ("layout", "weights", "step")] == ["ddim", "ema", 2]
    assert "attn_resolutions" not in info["options"]
    weights, info = read(GOLDEN / "ckpt.pth", side=LEGACY["image_size"])
    assert info["options"].items() <= LEGACY.items()
    network = build("ddpm", image_size=LEGACY["image_size"], **info["options"])
    load_foreign(network, weights, info["layout"])
    _, z = arrays("legacy")
    assert worst(network, z, "out/y_ema") < 2e-5
    assert worst(network, z, "out/y_model_after_2_steps") > 1e-2


def test_the_ddim_training_list_without_an_average(tmp_path):
    states = torch.load(GOLDEN / "ckpt.pth", weights_only=True)
    torch.save(states[:-1], tmp_path / "ckpt.pth")
    weights, info = read(tmp_path / "ckpt.pth")
    assert info["weights"] == "raw"
    network = build("ddpm", **LEGACY)
    load_foreign(network, weights, "ddim")
    assert worst(network, arrays("legacy")[1], "out/y_model_after_2_steps") < 2e-5


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_converted_ddpm_model(tmp_path, prefix):
    weights, z = arrays("legacy")
    torch.save(OrderedDict((prefix + k, v) for k, v in weights.items()), tmp_path / "model.ckpt")
    read_weights, info = read(tmp_path / "model.ckpt")
    assert (info["layout"], info["weights"]) == ("ddim", "unknown")
    network = build("ddpm", **LEGACY)
    load_foreign(network, read_weights)
    assert worst(network, z, "out/y_plain_init") < 2e-5
    load_foreign(network, {prefix + k: v for k, v in weights.items()})


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("end", ["safetensors", "bin"])
@pytest.mark.parametrize("inside", ["", "unet"])
def test_a_diffusers_folder(tmp_path, old, end, inside):
    weights, z = arrays("diffusers_tiny")
    diffusers_folder(tmp_path / inside, old_names(weights) if old else weights, end)
    write_scheduler(tmp_path / "scheduler" if inside else tmp_path, "DDPMScheduler")
    weights, info = read(tmp_path)
    assert info["layout"] == "diffusers"
    network = build("ddpm", **info["options"])
    load_foreign(network, weights, "diffusers")
    assert worst(network, z, "out/sample") < 2e-5


@pytest.mark.parametrize("name", [n for n in REAL if "diffusers" in REAL[n]])
def test_names_of_the_real_networks_in_diffusers(name):
    with torch.device("meta"):
        network = build("ddpm", **REAL[name]["options"])
    ours = export(network, "diffusers")
    assert list(ours) == [new for new, _ in REAL[name]["diffusers"]]
    for new, old in REAL[name]["diffusers"]:
        assert modern_name(old) == new
    assert all(v.ndim == 2 for k, v in ours.items() if ".to_" in k and k.endswith("weight"))


@pytest.mark.parametrize("layout", ["ddim", "diffusers"])
def test_round_trip_is_exact(layout):
    options = {"image_size": 8, "ch": 32, "ch_mult": [1, 2, 3], "num_res_blocks": 1}
    options["attn_resolutions"] = [8, 2]
    a, b = build("ddpm", **options), build("ddpm", **options)
    a = a.to(memory_format=torch.channels_last)
    weights = export(a, layout)
    load_foreign(b, weights, layout)
    for (name, mine), theirs in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    again = export(b, layout)
    assert list(again) == list(weights)
    assert all(torch.equal(again[k], weights[k]) and weights[k].is_contiguous() for k in weights)
    next(iter(weights.values())).zero_()  # a copy: the network does not change
    assert a.state_dict()[next(iter(a.state_dict()))].abs().sum() > 0


def test_weights_that_do_not_fit_are_counted_and_nothing_is_loaded():
    network = build("ddpm", **LEGACY)
    before = export(network)
    weights, _ = arrays("legacy")
    weights["more.weight"] = torch.zeros(1)
    weights["conv_out.bias"] = torch.zeros(6)
    del weights["norm_out.weight"], weights["norm_out.bias"]
    with pytest.raises(
        ValueError, match="2 missing .*norm_out.*; 1 unknown .*more.*; 1 of another sh"
    ):
        load_foreign(network, weights)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    with pytest.raises(ValueError, match=r"\d+ missing \(.*, \.\.\.\)"):
        load_foreign(network, {})


def test_unknown_layout_and_networks_that_diffusers_lacks():
    network = build("ddpm", **LEGACY)
    with pytest.raises(ValueError, match="keras is unknown; it should be ddim, diffusers, adm"):
        load_foreign(network, {}, "keras")
    with pytest.raises(ValueError, match="resamp_with_conv"):
        export(build("ddpm", **{**LEGACY, "resamp_with_conv": False}), "diffusers")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"norm_eps": 1e-5}, "norm_eps is 1e-05, not 1e-06"),
        ({"attention_head_dim": 8}, "attention_head_dim is 8"),
        ({"flip_sin_to_cos": True}, "flip_sin_to_cos"),
        ({"freq_shift": 0}, "freq_shift"),
        ({"num_class_embeds": 10}, "num_class_embeds"),
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"down_block_types": ["DownBlock2D", "SkipDownBlock2D"]}, "SkipDownBlock2D"),
        ({"up_block_types": ["UpBlock2D", "UpBlock2D"]}, "up_block_types"),
        ({"block_out_channels": [32, 48]}, "width 48"),
        ({"sample_size": None}, "sample_size"),
        ({"block_out_channels": "wide"}, "not the config"),
        ({"down_block_types": None}, "not the config"),
    ],
)
def test_diffusers_networks_unlike_ours_are_refused(tmp_path, changes, says):
    with pytest.raises(ValueError, match=says):
        read(diffusers_folder(tmp_path, **changes))


def test_what_config_json_leaves_out_has_the_meaning_it_has_in_diffusers(tmp_path):
    diffusers_folder(tmp_path)
    config = {k: v for k, v in CONFIG.items() if k != "norm_eps"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="norm_eps is 1e-05"):
        read(tmp_path)


def test_missing_foreign_damaged_and_dangerous_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        read(tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        read(tmp_path)
    diffusers_folder(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"safetensors or .*bin"):
        read(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"no")
    (tmp_path / "a.ckpt").write_bytes((GOLDEN / "ckpt.pth").read_bytes()[:5000])
    for name in ("a.safetensors", "a.ckpt"):
        with pytest.raises(ValueError, match=f"{name}: damaged"):
            read(tmp_path / name)
    for other in ({"lr": 0.1}, [1, 2], {"fc.weight": torch.zeros(2)}):
        torch.save(other, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=r"other\.pth"):
            read(tmp_path / "other.pth")
    target = tmp_path / "executed"
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(_Bomb(target), protocol=2))
    with pytest.raises(ValueError, match=r"bomb\.pth"):
        read(tmp_path / "bomb.pth")
    assert not target.exists()


class _Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


ADM = json.loads((GOLDEN / "adm_configs.json").read_text())
UNTOLD = {"image_size", "dropout", "use_checkpoint", "num_heads", "num_head_channels"}
UNTOLD |= {"num_heads_upsample", "use_new_attention_order"}
TINY = {"image_size": 16, "model_channels": 32, "num_res_blocks": 1, "attention_resolutions": [2]}


@pytest.mark.parametrize("half", [None, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["adm_a", "adm_b"])
def test_a_file_of_guided_diffusion(tmp_path, name, half):
    weights, z = arrays(name)
    stored = {k: v.to(half) if half and v.ndim > 2 else v for k, v in weights.items()}
    torch.save(stored, tmp_path / "model.pt")
    state, info = read(tmp_path / "model.pt")
    assert info["layout"] == "adm" and all(v.dtype == torch.float32 for v in state.values())
    options = {"conv_resample": True, **ADM[name]["options"]}
    assert info["options"] == {k: options[k] for k in info["options"]}
    network = build("adm", **ADM[name]["options"]).eval()
    load_foreign(network, state, info["layout"])
    label = [z["in/y"]] if "in/y" in z else []
    want = z["out/y" if name == "adm_a" else "out/y_legacy_order"]
    with torch.no_grad():
        off = (network(z["in/x"], z["in/t"], *label) - want).abs().max()
    assert off < (2e-5 if half is None else 0.1 * want.abs().max())
    again = export(network, "adm")
    assert list(again) == list(weights) and all(torch.equal(again[k], state[k]) for k in state)


@pytest.mark.parametrize(
    "options",
    [
        {"channel_mult": [1]},
        {"channel_mult": [1, 1, 2], "num_res_blocks": 2, "conv_resample": False},
        {"channel_mult": [1, 2, 3], "num_res_blocks": 3, "attention_resolutions": [1, 4]},
        {"channel_mult": [0.5, 1], "model_channels": 64, "resblock_updown": True},
        {"channel_mult": [2, 1], "use_scale_shift_norm": True, "resblock_updown": True},
        {"channel_mult": [1, 2], "num_classes": 7, "in_channels": 1, "out_channels": 2},
        {"channel_mult": [1], "attention_resolutions": [], "num_res_blocks": 4},
    ],
)
def test_shapes_tell_the_options_of_the_adm_network(options):
    whole = {**TINY, "conv_resample": True, "resblock_updown": False, "num_classes": None}
    whole = {**whole, "in_channels": 3, "out_channels": 3, "use_scale_shift_norm": False, **options}
    whole["attention_resolutions"] = [
        f for f in whole["attention_resolutions"] if f < 2 ** len(whole["channel_mult"])
    ]
    with torch.device("meta"):
        told = network_options(export(build("adm", **whole), "adm"))
    levels = len(whole["channel_mult"])
    unsaid = {"conv_resample"} if whole["resblock_updown"] else set()
    unsaid |= {"conv_resample", "resblock_updown"} if levels == 1 else set()
    assert told == {k: v for k, v in whole.items() if k not in UNTOLD | unsaid}


@pytest.mark.parametrize("name", ["ffhq128", "p2_default_256"])
def test_shapes_tell_the_options_of_the_published_networks(name):
    shapes = {key: torch.empty(shape, device="meta") for key, shape in ADM[name]["keys"]}
    options = {**ADM[name]["options"], "num_classes": None}
    assert network_options(shapes) == {k: v for k, v in options.items() if k not in UNTOLD}


@pytest.mark.parametrize(
    ("name", "kind", "step"),
    [
        ("model050000.pt", "raw", 50_000),
        ("ema_0.9999_050000.pt", "ema 0.9999", 50_000),
        ("ema_0.9999_1000000.pt", "ema 0.9999", 1_000_000),
        ("ema_best.pt", "ema", None),
        ("ffhq_p2.pt", "unknown", None),
        ("modelled.pt", "unknown", None),
    ],
)
def test_names_of_guided_diffusion_tell_average_and_step(tmp_path, name, kind, step):
    torch.save(arrays("adm_a")[0], tmp_path / name)
    _, info = read(tmp_path / name)
    assert (info["weights"], info["step"]) == (kind, step)


def test_weights_unlike_the_adm_network_are_refused(tmp_path):
    weights, _ = arrays("adm_a")
    del weights["input_blocks.1.0.emb_layers.1.weight"]
    torch.save(weights, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt: not the network of guided-diffusion .*emb_l"):
        read(tmp_path / "model.pt")
    with pytest.raises(ValueError, match="adm has no weights of this network; it should be ddim"):
        load_foreign(build("ddpm", **LEGACY), weights, "adm")
    for layout in ("ddim", "diffusers"):
        with pytest.raises(ValueError, match=f"{layout} has no .* it should be adm"):
            export(build("adm", **TINY, channel_mult=[1, 2]), layout)
