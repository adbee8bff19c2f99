"""Checkpoints of EDM, score_sde, torchcfm, DiT and diffusers' schedulers: what they tell."""

import argparse
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from functions.denoiser import Denoiser
from functions.process import PROCESSES, VPSDE, beta_schedule
from models import build
from models.interop import dit, edm, load_foreign, read, scheduler, score_sde
from models.interop.unpickle import unpickle
from tests.models import formats
from tests.models.formats import HERE, NCSNPP, SONG, Persistent, fake_modules, snapshot

ANSWERS = {k: torch.tensor(v) for k, v in np.load(HERE / "answers.npz").items()}
X, T = formats.inputs()


@torch.no_grad()
def opened(path, side=8, **more):
    state, info = read(path, side)
    network = build(info["network"], **{"image_size": side, **info["options"], **more}).eval()
    load_foreign(network, state, info["layout"])
    return network, info


def test_a_snapshot_of_edm_gives_the_answers_of_its_network():
    network, info = opened(HERE / "edm.pkl")
    assert (info["layout"], info["network"], info["weights"]) == ("edm", "song", "ema")
    how = {**info["diffusion"]}
    assert (how.pop("process"), how.pop("predicts")) == ("edm", "edm")
    assert how == {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
    assert info["options"]["augment_dim"] == 9 and info["options"]["num_classes"] is None
    denoiser = Denoiser(network, PROCESSES["edm"](**how), "edm")
    with torch.no_grad():
        assert (denoiser.x0(X, T.double()) - ANSWERS["edm"]).abs().max() < 2e-5


def test_a_snapshot_with_the_adm_network_of_edm(tmp_path):
    weights, (x, t) = formats.Weights(4), formats.inputs(4)
    label = torch.tensor([4, 1])
    want = formats.dhariwal(weights, x, t, label, formats.DHARIWAL)
    path = tmp_path / "edm-imagenet-64x64-cond-adm.pkl"
    path.write_bytes(snapshot(weights, net="DhariwalUNet", kwargs=formats.DHARIWAL))
    network, info = opened(path, 4)
    assert (info["network"], info["options"]["num_classes"]) == ("dhariwal", 5)
    with torch.no_grad():
        assert (network(x, t, label) - want).abs().max() < 2e-5


def test_the_published_ddpmpp_of_edm_on_cifar10_has_our_names(monkeypatch):
    """55.7 M parameters, as EDM's training prints them, with the layer of augmentations."""

    def need(self, name, *shape, around=0.0):
        return self.setdefault(name, torch.empty(shape, device="meta"))

    monkeypatch.setattr(formats.Weights, "need", need)
    kwargs = {**SONG, "img_resolution": 32, "model_channels": 128, "channel_mult": [2, 2, 2]}
    kwargs |= {"num_blocks": 4, "attn_resolutions": [16]}
    theirs = formats.Weights(1)
    with torch.device("meta"):
        formats.song(theirs, torch.zeros(1, 3, 32, 32), torch.ones(1), kwargs)
        ours = build(
            "song",
            **edm._options(
                unpickle(snapshot({}, kwargs=kwargs))["ema"].state["_modules"]["model"], "song"
            ),
        )
    names = {k: v.shape for k, v in theirs.items()}
    assert {k: v.shape for k, v in ours.state_dict().items()} == names
    assert sum(p.numel() for p in ours.parameters()) == 55_733_891


@pytest.mark.parametrize(
    ("kind", "numbers", "told"),
    [
        (
            "VPPrecond",
            {"beta_d": 19.9, "beta_min": 0.1, "M": 1000, "epsilon_t": 1e-5},
            {"process": "vpsde", "predicts": "eps", "beta_min": 0.1, "beta_max": 20.0},
        ),
        (
            "iDDPMPrecond",
            {"C_1": 0.001, "C_2": 0.008, "M": 1000},
            {"process": "vp", "predicts": "eps", "schedule": "cosine", "steps": 1000},
        ),
        (
            "EDMPrecond",
            {"sigma_min": 0.01, "sigma_max": 50, "sigma_data": 0.6},
            {
                **{"process": "edm", "predicts": "edm"},
                **{"sigma_min": 0.01, "sigma_max": 50, "sigma_data": 0.6},
            },
        ),
    ],
)
def test_a_preconditioning_tells_process_and_prediction(tmp_path, kind, numbers, told):
    weights = unpickled_weights()
    (tmp_path / "a.pkl").write_bytes(snapshot(weights, kind, **numbers))
    assert read(tmp_path / "a.pkl")[1]["diffusion"] == told


def test_the_vp_preconditioning_is_our_noise_prediction_on_vpsde():
    """D = x - sigma F(x / sqrt(sigma^2 + 1), 999 t) at sigma = rho(t): 2206.00364, table 1."""
    asked = []

    def network(x, t, label=None):
        asked.append((x, t))
        return torch.sin(x) + t.view(-1, 1, 1, 1) / 999

    process = VPSDE(beta_min=0.1, beta_max=20.0)
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    sigma = torch.sqrt(torch.exp(0.5 * 19.9 * t**2 + 0.1 * t) - 1).view(-1, 1, 1, 1)
    x = X.double() * 3
    scaled = x / (sigma**2 + 1).sqrt()
    want = x - sigma * network(scaled, 999 * t)
    assert (Denoiser(network, process).x0(scaled, t) - want).abs().max() < 1e-9
    assert torch.allclose(asked[0][1], asked[1][1].double(), atol=1e-9)


def unpickled_weights():
    """The weights of the golden snapshot."""
    weights = formats.Weights(1)
    formats.edm(weights, X, T)
    return weights


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "VEPrecond"}, "a VEPrecond, whose time and scaling no process here has"),
        ({"kind": "VPPrecond", "M": 500}, "a VPPrecond"),
        ({"net": "MyUNet"}, "a network MyUNet; it should be SongUNet"),
        ({"kwargs": {**SONG, "flavour": 3}}, "an option flavour, unknown here"),
        ({"sigma_data": "x"}, "a strange sigma_data"),
        ({"kwargs": {**SONG, "flavour\x1b[31m": 3}}, "an option flavour?[31m, unknown here"),
        ({"net": "My\x1bUNet"}, "a network My?UNet; it should be SongUNet"),
        ({"kwargs": {**SONG, "channel_mult": [[1]]}}, "a network with a strange channel_mult"),
    ],
)
def test_other_networks_of_edm_are_refused_in_one_line(tmp_path, change, says):
    (tmp_path / "a.pkl").write_bytes(snapshot(unpickled_weights(), **change))
    with pytest.raises(ValueError, match=rf"a\.pkl: holds .*{re.escape(says)}") as caught:
        read(tmp_path / "a.pkl")
    assert "\n" not in str(caught.value)


def test_a_snapshot_with_missing_and_left_over_weights_is_refused(tmp_path):
    weights = unpickled_weights()
    del weights["map_layer0.bias"]
    weights["dec.8x8_more.weight"] = torch.zeros(1)
    (tmp_path / "a.pkl").write_bytes(snapshot(weights))
    with pytest.raises(
        ValueError, match=r"1 missing \(map_layer0.bias\); 1 unknown \(dec.8x8_more"
    ):
        opened(tmp_path / "a.pkl")


@pytest.mark.parametrize("content", [[], {"ema": 3}, {"G_ema": Persistent("Generator")}, "text"])
def test_a_pickle_of_something_else_is_refused(tmp_path, content):
    with fake_modules():
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"a\.pkl: neither a state dict nor a checkpoint"):
        read(tmp_path / "a.pkl")


def test_a_network_whose_buffers_are_no_names_is_refused():
    whole = unpickle(snapshot(unpickled_weights()))
    whole["ema"].state["_modules"]["model"].state["_non_persistent_buffers_set"] = 3
    with pytest.raises(ValueError, match="holds a SongUNet with strange buffers"):
        edm.network_of(whole, Path("a.pkl"))


def test_modules_in_a_circle_end(tmp_path):
    record = unpickle(snapshot(unpickled_weights()))["ema"]
    inner = record.state["_modules"]["model"]
    inner.state["_modules"]["again"] = inner
    from models.interop.edm import network_of

    with pytest.raises(ValueError, match=r"again that is none, or is in it twice"):
        network_of({"ema": record}, Path("a.pkl"))


@pytest.mark.parametrize("name", ["ddpmpp", "ncsnpp"])
def test_a_checkpoint_of_score_sde_gives_the_answers_of_its_average(name, tmp_path):
    network, info = opened(HERE / f"{name}.pth")
    assert (info["layout"], info["network"]) == ("score_sde", "ncsnpp")
    assert (info["weights"], info["step"]) == ("ema 0.9999", 7)
    fourier = name == "ncsnpp"
    assert info["options"] == {
        **{"in_channels": 3, "out_ch": 3, "ch": NCSNPP["ch"], "ch_mult": NCSNPP["mult"]},
        **{"num_res_blocks": NCSNPP["blocks"], "attn_resolutions": [8], "fir": fourier},
        "embedding": "fourier" if fourier else "positional",
        "progressive_input": "residual" if fourier else "none",
    }
    vp = {"process": "vpsde", "predicts": "eps"}
    assert info["diffusion"] == (None if fourier else vp)
    assert info["alike"] == (() if fourier else ("subvp",))
    with torch.no_grad():
        assert (network(X, T) - ANSWERS[name]).abs().max() < 2e-5
    content = torch.load(HERE / f"{name}.pth", weights_only=True)
    del content["ema"]
    torch.save(content, tmp_path / "raw.pth")
    raw, info = opened(tmp_path / "raw.pth")
    assert info["weights"] == "raw" and (raw(X, T) - ANSWERS[name]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("mult", "blocks", "attend"), [([1], 2, []), ([1, 2, 3], 2, [1]), ([2, 1], 1, [0, 1])]
)
@pytest.mark.parametrize("how", [(False, False, True), (True, True, False), (False, True, True)])
def test_the_list_of_modules_tells_any_network(monkeypatch, tmp_path, mult, blocks, attend, how):
    shape = {**NCSNPP, "mult": mult, "blocks": blocks, "attend": attend}
    monkeypatch.setattr(formats, "NCSNPP", shape)
    theirs = formats.ScoreSDE(3, *how)
    want = theirs(X, T)
    torch.save(formats.score_sde(theirs), tmp_path / "checkpoint_8.pth")
    fir = {} if how[2] or len(mult) == 1 else {"fir": how[1]}  # which no weight tells then
    network, info = opened(tmp_path / "checkpoint_8.pth", **fir)
    with torch.no_grad():
        assert (network(X, T) - want).abs().max() < 2e-5
    assert info["options"]["attn_resolutions"] == [8 >> i for i in attend]


@pytest.mark.parametrize(
    ("how", "blocks", "count"),
    [((False, False, False), 4, 61_804_419), ((True, True, True), 8, 107_586_947)],
    ids=["cifar10_ddpmpp_continuous", "gDDIM's blur network"],
)
def test_key_lists_of_published_networks_of_score_sde_build(monkeypatch, how, blocks, count):
    shape = {**NCSNPP, "ch": 128, "mult": [1, 2, 2, 2], "blocks": blocks, "attend": [1]}
    monkeypatch.setattr(formats, "NCSNPP", shape)

    def need(self, name, *shape, around=0.0):
        return self.setdefault(name, torch.empty(shape, device="meta"))

    monkeypatch.setattr(formats.Weights, "need", need)
    theirs = formats.ScoreSDE(1, *how)
    with torch.device("meta"):
        theirs(torch.zeros(1, 3, 32, 32), torch.ones(1))
        state, told = score_sde.translate(theirs.w, 32)
        ours = build("ncsnpp", **told["options"])
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in state.items()
    }
    assert sum(p.numel() for p in ours.parameters()) == count
    assert told["options"]["attn_resolutions"] == [16] and told["options"]["ch_mult"] == [
        1,
        2,
        2,
        2,
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["ema"]["shadow_params"].pop(), r"its average of \d+ tensors is not"),
        (lambda c: c["model"].pop("module.all_modules.2.weight"), r"its average of|not the NCSN"),
        (lambda c: c["model"].update({"module.extra": torch.zeros(1)}), "its average of"),
        (lambda c: c.update(ema={}) or c["model"].update({"module.x": torch.zeros(1)}), "holds x,"),
        (
            lambda c: c.update(model={"module.all_modules.0.weight": torch.zeros(2, 2)}, ema={}),
            "not",
        ),
        (lambda c: c.update(model={"module.all_modules.0.x": 3}), "neither a state dict"),
    ],
)
def test_damaged_checkpoints_of_score_sde_are_refused_in_one_line(tmp_path, change, says):
    content = torch.load(HERE / "ddpmpp.pth", weights_only=True)
    change(content)
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=rf"a\.pth: .*{says}") as caught:
        opened(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


GOLDEN = Path(__file__).parents[1] / "golden" / "models"
ADM = json.loads((GOLDEN / "adm_configs.json").read_text())


def test_torchcfm_answers_its_velocity_with_the_sign_turned(tmp_path):
    arrays = np.load(GOLDEN / "adm_b.npz")
    weights = {k[3:]: torch.tensor(arrays[k]).float() for k in arrays.files if k.startswith("sd/")}
    raw = {f"module.{key}": value + 1 for key, value in weights.items()}
    sched = {"base_lrs": [2e-4], "last_epoch": 400_000, "lr_lambdas": [None]}
    content = {"net_model": raw, "ema_model": weights, "sched": sched, "optim": {"state": {}}}
    torch.save({**content, "step": 400_000}, tmp_path / "cfm.pt")
    network, info = opened(tmp_path / "cfm.pt", 16, **ADM["adm_b"]["options"])
    assert (info["layout"], info["weights"], info["step"]) == ("torchcfm", "ema", 400_000)
    assert info["diffusion"] == {"process": "flow", "predicts": "velocity", "time": "1-t"}
    x, t, label = (torch.tensor(arrays[f"in/{key}"]) for key in ("x", "t", "y"))
    with torch.no_grad():
        answer = network(x, t, label)
    assert (answer + torch.tensor(arrays["out/y_legacy_order"])).abs().max() < 2e-5
    del content["ema_model"]
    torch.save(content, tmp_path / "raw.pt")
    assert read(tmp_path / "raw.pt")[1]["weights"] == "raw"


def dit_weights(hidden=32, depth=2, patch=2, side=8, classes=11, channels=3):
    """Names and shapes of facebook's DiT, its answers with a variance."""
    block = {"attn.qkv": 3 * hidden, "mlp.fc1": 4 * hidden, "adaLN_modulation.1": 6 * hidden}
    shapes = {
        "pos_embed": (1, (side // patch) ** 2, hidden),
        "x_embedder.proj.weight": (hidden, channels, patch, patch),
        "x_embedder.proj.bias": (hidden,),
        "y_embedder.embedding_table.weight": (classes, hidden),
    }
    dense = {"t_embedder.mlp.0": (hidden, 256), "t_embedder.mlp.2": (hidden, hidden)}
    dense |= {f"blocks.{i}.{k}": (out, hidden) for i in range(depth) for k, out in block.items()}
    dense |= {f"blocks.{i}.attn.proj": (hidden, hidden) for i in range(depth)}
    dense |= {f"blocks.{i}.mlp.fc2": (hidden, 4 * hidden) for i in range(depth)}
    dense["final_layer.linear"] = (patch**2 * 2 * channels, hidden)
    dense["final_layer.adaLN_modulation.1"] = (2 * hidden, hidden)
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return {name: torch.full(shape, 0.01) for name, shape in shapes.items()}


@pytest.mark.parametrize("trainer", [False, True])
def test_shapes_of_dit_tell_its_options(tmp_path, trainer):
    weights = dit_weights()
    args = argparse.Namespace(model="DiT-S/2", num_classes=10)
    raw = {key: value + 1 for key, value in weights.items()}
    whole = {"model": raw, "ema": weights, "opt": {}, "args": args} if trainer else weights
    torch.save(whole, tmp_path / "dit.pt")
    state, info = read(tmp_path / "dit.pt")
    assert (info["layout"], info["network"], info["no_class"]) == ("dit", "dit", True)
    assert info["weights"] == ("ema" if trainer else "unknown")
    assert info["options"] == {
        **{"image_size": 8, "in_channels": 3, "out_channels": 6, "patch_size": 2},
        **{"hidden_size": 32, "depth": 2, "mlp_ratio": 4.0, "num_classes": 11},
    }
    assert torch.equal(state["pos_embed"], weights["pos_embed"])
    del weights["pos_embed"]
    torch.save(weights, tmp_path / "dit.pt")
    with pytest.raises(ValueError, match=r"dit\.pt: not the network of DiT \('pos_embed'\)"):
        read(tmp_path / "dit.pt")


def test_names_of_dit_are_those_of_our_network(tmp_path):
    torch.save(dit_weights(), tmp_path / "dit.pt")
    opened(tmp_path / "dit.pt", num_heads=2)


def test_the_published_dit_xl_2_has_our_names():
    """675 M parameters (2212.09748, table 4), and the fixed table of positions."""
    with torch.device("meta"):
        theirs = dit_weights(1152, 28, 2, 32, 1001, 4)
        options = dit.network_options(theirs)
        ours = build("dit", **options)
    assert options["num_heads"] == 16
    names = {k: v.shape for k, v in theirs.items()}
    assert {k: v.shape for k, v in ours.state_dict().items()} == names
    assert round(sum(v.numel() for k, v in theirs.items() if k != "pos_embed") / 1e6) == 675


def test_a_snapshot_of_edm2_gives_the_answers_of_its_network(tmp_path):
    path = tmp_path / "edm2-img8-xs-2147483-0.135.pkl"
    path.write_bytes((HERE / "edm2.pkl").read_bytes())
    network, info = opened(path)
    assert (info["layout"], info["network"], info["weights"]) == ("edm2", "edm2", "ema 0.135")
    how = {"process": "edm", "predicts": "edm", "sigma_data": 0.5}
    assert info["diffusion"] == {**how, "sigma_min": 0.002, "sigma_max": 80.0}
    assert info["options"]["clip_act"] == 0 and info["options"]["num_classes"] == 5
    assert {network.in_channels, network.out_channels} == {3}
    denoiser = Denoiser(network, PROCESSES["edm"](sigma_data=0.5), "edm")
    label = torch.tensor([4, 1])
    with torch.no_grad():
        found = denoiser.x0(X, T.double(), label)
    assert (found - ANSWERS["edm2"]).abs().max() < 2e-5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"channels_per_head": 32}, "a network UNet with channels_per_head other than 64"),
        ({"resample_filter": [1, 3, 3, 1]}, "a network UNet with resample_filter other"),
        ({"model_channels": [[1]]}, "a network with a strange model_channels"),
        ({"img_channels": {}}, "a network with a strange img_channels"),
    ],
)
def test_other_networks_of_edm2_are_refused_in_one_line(tmp_path, change, says):
    path = tmp_path / "a.pkl"
    path.write_bytes(formats.edm2_snapshot({}, {**formats.EDM2, **change}))
    with pytest.raises(ValueError, match=rf"a\.pkl: holds {says}"):
        read(path)
    fits = {"channels_per_head": 64, "resample_filter": [1, 1]}
    path.write_bytes(formats.edm2_snapshot({}, {**formats.EDM2, **fits}))
    assert read(path)[1]["options"].keys().isdisjoint(fits)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("layout", ["edm", "score_sde", "torchcfm", "dit", "ddim", "diffusers"])
def test_a_malicious_file_of_each_layout_runs_nothing(tmp_path, layout):
    bomb, path = Bomb(tmp_path / "trace"), tmp_path / "a.pth"
    model = {"module.all_modules.0.weight": bomb}
    contents = {
        "score_sde": {"optimizer": {}, "model": model, "ema": {"shadow_params": [bomb]}, "step": 1},
        "torchcfm": {"net_model": {"time_embed.0.weight": bomb}, "sched": {"lr_lambdas": [bomb]}},
        "dit": {"x_embedder.proj.weight": torch.ones(1), "args": argparse.Namespace(x=bomb)},
        "ddim": [{"temb.dense.0.weight": torch.ones(1)}, bomb, 0, 1],
    }
    if layout == "edm":
        path = tmp_path / "network-snapshot.pkl"
        with fake_modules():
            path.write_bytes(pickle.dumps({"ema": Persistent("EDMPrecond"), "loss_fn": bomb}))
    elif layout == "diffusers":
        path = tmp_path / "folder"
        path.mkdir()
        config = (GOLDEN / "diffusers_tiny_config.json").read_text()
        (path / "config.json").write_text(config)
        torch.save({"time_embedding.linear_1.weight": bomb}, path / "diffusion_pytorch_model.bin")
    else:
        torch.save(contents[layout], path)
    with pytest.raises(ValueError, match="not opened for safety") as caught:
        read(path)
    assert "\n" not in str(caught.value) and not (tmp_path / "trace").exists()


SCHEDULERS = json.loads((HERE / "schedulers.json").read_text())["schedulers"]
TOLD = {  # process, prediction, var_type, flags of its own pipeline
    "ddpm": ("vp", "eps", "fixedlarge", ["--sampling.clip true"]),
    "ddim_scaled": ("vp", "eps", None, []),
    "ddpm_cosine_v": ("vp", "v", "fixedsmall", ["--sampling.clip true"]),
    "ddpm_sigmoid": ("vp", "x0", "fixedsmall", ["--sampling.clip true"]),
    "pndm": ("vp", "eps", None, []),
    "dpm": ("vp", "eps", None, []),
    "unipc_flow": ("flow", "velocity", None, ["--skip_type shifted:3"]),
    "euler": ("vp", "v", None, []),
    "rescaled": ("vp", "eps", None, ["--sampling.clip true"]),
    "edm": ("edm", "edm", None, []),
    "edm_dpm": ("edm", "edm", None, []),
    "flow": ("flow", "velocity", None, ["--skip_type shifted:3"]),
    "trained": ("vp", "eps", "fixedsmall", ["--sampling.clip true"]),
}


def scheduler_file(folder, config):
    path = folder / "scheduler_config.json"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize(
    ("keys", "flag"),
    [
        ({"clip_sample_range": 2.0}, "static:2"),
        ({"thresholding": True, "sample_max_value": 1.5}, "dynamic:0.995:1.5"),
    ],
)
def test_the_clip_of_a_scheduler_is_named_by_its_flag(tmp_path, keys, flag):
    config = {**SCHEDULERS["ddpm"]["config"], **keys}
    told = scheduler.read(scheduler_file(tmp_path, config))
    assert told["asks"] == [f"--sampling.clip {flag}"]


def test_a_sigmoid_schedule_comes_back_from_its_betas(tmp_path):
    betas = beta_schedule("sigmoid", 1e-3, 0.03, 50)
    config = {**SCHEDULERS["trained"]["config"], "trained_betas": betas.tolist()}
    how = scheduler.read(scheduler_file(tmp_path, config))["diffusion"]
    how = {key: value for key, value in how.items() if key not in ("process", "predicts")}
    np.testing.assert_allclose(PROCESSES["vp"](**how).betas, betas, rtol=1e-9)


@pytest.mark.parametrize("name", TOLD)
def test_a_scheduler_of_diffusers_tells_process_and_prediction(tmp_path, name):
    """Their configs and cumulative products were written by diffusers itself."""
    told = scheduler.read(scheduler_file(tmp_path, SCHEDULERS[name]["config"]))
    how = dict(told["diffusion"])
    process, predicts, var_type, asks = TOLD[name]
    assert (how.pop("process"), how.pop("predicts")) == (process, predicts)
    assert (told["var_type"], told["asks"]) == (var_type, asks)
    made = PROCESSES[process](**how)
    if process == "vp":
        last = made.steps - 1
        abar = made.log_abar(torch.tensor([0, made.steps // 3, last]).double()).exp()
        theirs = torch.tensor(SCHEDULERS[name]["abar"]).double()
        # theirs are products of float32
        assert torch.allclose(abar, theirs, rtol=2e-4, atol=1e-12)
    if name == "edm":
        assert (made.t_start, made.sigma_data) == (60.0, 0.4)
    if process == "flow":
        assert made.network_time(torch.tensor(0.25)) == 250


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("ve", {}, "ScoreSdeVeScheduler belongs to no process of this program"),
        ("ddpm", {"beta_schedule": "laplace"}, "beta_schedule is 'laplace'; it should be one of"),
        ("ddpm", {"prediction_type": "flow"}, "prediction_type is 'flow'; it should be one of eps"),
        ("ddpm", {"variance_type": "learned"}, "variance_type is 'learned'"),
        ("ddpm", {"trained_betas": [0.1, 0.3, 0.2]}, "belong to no noise schedule"),
        ("ddpm", {"trained_betas": "x"}, "DDPMScheduler: "),
        ("edm", {"prediction_type": "v_prediction"}, "this program has 'epsilon' only"),
        ("flow", {"num_train_timesteps": 500}, "num_train_timesteps is 500"),
        ("flow", {"_class_name": ["x"]}, "not the config of a scheduler|belongs to no"),
    ],
)
def test_schedulers_without_an_equal_process_are_refused_in_one_line(tmp_path, name, change, says):
    file = scheduler_file(tmp_path, {**SCHEDULERS[name]["config"], **change})
    with pytest.raises(ValueError, match=says) as caught:
        scheduler.read(file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)
    for text in ("[1]", "{", "{}"):
        file.write_text(text)
        with pytest.raises(ValueError, match="not the config of a scheduler"):
            scheduler.read(file)


@pytest.mark.parametrize("schedule", ["linear", "quad", "const", "jsd"])
def test_trained_betas_of_a_known_schedule_are_recognised(tmp_path, schedule):
    betas = PROCESSES["vp"](schedule, 1e-3, 0.2, 20).betas
    config = {"_class_name": "DDIMScheduler", "trained_betas": betas.float().tolist()}
    how = scheduler.read(scheduler_file(tmp_path, config))["diffusion"]
    assert how.pop("schedule") == schedule and how.pop("process") == "vp"
    del how["predicts"]
    assert torch.allclose(PROCESSES["vp"](schedule, **how).betas, betas, rtol=1e-6)


def test_a_pipeline_without_its_scheduler_is_refused(tmp_path):
    for inside in ("unet", ""):
        folder = tmp_path / f"pipeline{inside}"
        (folder / inside).mkdir(parents=True)
        config = (GOLDEN / "diffusers_tiny_config.json").read_text()
        (folder / inside / "config.json").write_text(config)
        (folder / "model_index.json").write_text("{}")
        with pytest.raises(
            FileNotFoundError, match=r"scheduler_config\.json: a diffusers pipeline"
        ):
            read(folder)


@torch.no_grad()
def test_torchcfms_own_network_is_read_whole(tmp_path):
    unet = pytest.importorskip("torchcfm.models.unet.unet", reason="torchcfm is not installed")
    shape = {"dim": (3, 16, 16), "num_res_blocks": 1, "num_channels": 32, "channel_mult": [1, 2]}
    heads = {"num_heads": 4, "num_head_channels": 16, "attention_resolutions": "8"}
    theirs = unet.UNetModelWrapper(**shape, **heads).eval()
    for parameter in theirs.parameters():
        parameter.normal_(0, 0.1)
    torch.save({"net_model": theirs.state_dict(), "optim": {}, "step": 3}, tmp_path / "cfm.pt")
    ours, info = opened(tmp_path / "cfm.pt", 16, num_head_channels=16)
    x, t = formats.inputs(16)
    denoiser = Denoiser(ours, PROCESSES["flow"](time="1-t"), "velocity")
    assert (denoiser(x, 1 - t) + theirs(t, x)).abs().max() < 2e-5


@torch.no_grad()
@pytest.mark.parametrize("name", ["DDPMScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_a_pipeline_that_diffusers_wrote_is_read_whole(tmp_path, name):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    config = json.loads((GOLDEN / "diffusers_tiny_config.json").read_text())
    theirs = diffusers.UNet2DModel.from_config(config).eval()
    made = getattr(diffusers, name)(num_train_timesteps=1000)
    diffusers.DDPMPipeline(theirs, made).save_pretrained(tmp_path)
    side = config["sample_size"]
    ours, info = opened(tmp_path, side)
    x, _ = formats.inputs(side)
    t = torch.tensor([3.0, 700.0])
    assert (ours(x, t) - theirs(x, t).sample).abs().max() < 2e-5
    assert info["diffusion"]["process"] == ("vp" if name == "DDPMScheduler" else "flow")
