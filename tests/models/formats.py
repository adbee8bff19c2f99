"""Files as other programs write them, made from the public description of their formats.

Each network is written down once more, as plain as its paper has it: the forward pass draws a
weight when it first needs one, under the name that the program gives it. `python -m
tests.models.formats` writes the golden files, with what these networks answer.
"""

import contextlib
import math
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F

HERE = Path(__file__).parents[1] / "golden" / "interop"


class Weights(dict):
    """Weights by name, drawn when they are first asked for."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def need(self, name, *shape, around=0.0):
        if name not in self:
            scale = 0.1 if len(shape) == 1 else 1 / math.sqrt(np.prod(shape[1:]))
            drawn = around + scale * torch.randn(shape, generator=self.generator)
            self[name] = drawn.half().float()  # short in a compressed file
        return self[name]


def norm(w, name, x, eps=1e-6):
    groups, c = min(32, x.shape[1] // 4), x.shape[1]
    weight, bias = w.need(f"{name}.weight", c, around=1.0), w.need(f"{name}.bias", c)
    return F.group_norm(x, groups, weight, bias, eps)


def conv(w, name, x, out, kernel=3, stride=1, padding=None):
    weight = w.need(f"{name}.weight", out, x.shape[1], kernel, kernel)
    pad = kernel // 2 if padding is None else padding
    return F.conv2d(x, weight, w.need(f"{name}.bias", out), stride, pad)


def linear(w, name, x, out, bias=True):
    weight = w.need(f"{name}.weight", out, x.shape[1])
    return F.linear(x, weight, w.need(f"{name}.bias", out) if bias else None)


def waves(t, width):
    frequencies = 10000.0 ** (-torch.arange(width // 2) / (width // 2 - 1))
    angle = t[:, None] * frequencies
    return torch.cat([angle.sin(), angle.cos()], 1)


# EDM's SongUNet (2206.00364, appendix; DDPM++: positional, standard, standard)

SONG = {
    **{"img_resolution": 8, "in_channels": 3, "out_channels": 3, "label_dim": 0, "augment_dim": 9},
    **{"model_channels": 4, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]},
    **{"dropout": 0.13, "embedding_type": "positional", "encoder_type": "standard"},
    **{"decoder_type": "standard", "channel_mult_noise": 1, "resample_filter": [1, 1]},
}


def song_block(w, name, x, emb, out, attend=False, up=False, down=False):
    def resampled(part, y):
        if up or down:
            w.setdefault(f"{name}.{part}.resample_filter", torch.full((1, 1, 2, 2), 0.25))
        y = F.interpolate(y, scale_factor=2.0, mode="nearest") if up else y
        return F.avg_pool2d(y, 2) if down else y

    h = resampled("conv0", F.silu(norm(w, f"{name}.norm0", x)))
    h = conv(w, f"{name}.conv0", h, out) + linear(w, f"{name}.affine", emb, out)[:, :, None, None]
    h = conv(w, f"{name}.conv1", F.silu(norm(w, f"{name}.norm1", h)), out)
    if x.shape[1] != out or up or down:
        x = conv(w, f"{name}.skip", resampled("skip", x), out, 1)
    x = (x + h) * math.sqrt(0.5)
    if attend:
        qkv = conv(w, f"{name}.qkv", norm(w, f"{name}.norm2", x), 3 * out, 1)
        q, k, v = qkv.reshape(len(x), out, 3, -1).unbind(2)
        weights = torch.softmax(q.mT @ (k / math.sqrt(out)), 2)
        h = conv(w, f"{name}.proj", (v @ weights.mT).reshape(x.shape), out, 1)
        x = (x + h) * math.sqrt(0.5)
    return x


def song(w, x, time, kwargs):
    """F(x; c_noise) of EDM's network; c_noise: (B,)."""
    ch, side, attends = (
        kwargs["model_channels"],
        kwargs["img_resolution"],
        kwargs["attn_resolutions"],
    )
    w.need("map_augment.weight", ch, kwargs["augment_dim"])  # no augmentation: zeros
    emb = F.silu(linear(w, "map_layer0", waves(time, ch), 4 * ch))
    emb = F.silu(linear(w, "map_layer1", emb, 4 * ch))
    levels = [(side >> i, ch * m) for i, m in enumerate(kwargs["channel_mult"])]
    skips = []
    for i, (here, width) in enumerate(levels):
        if i == 0:
            x = conv(w, f"enc.{here}x{here}_conv", x, ch)
        else:
            x = song_block(w, f"enc.{here}x{here}_down", x, emb, x.shape[1], down=True)
        skips.append(x)
        for n in range(kwargs["num_blocks"]):
            x = song_block(w, f"enc.{here}x{here}_block{n}", x, emb, width, here in attends)
            skips.append(x)
    for i, (here, width) in reversed([*enumerate(levels)]):
        name = f"dec.{here}x{here}"
        if i == len(levels) - 1:
            x = song_block(w, f"{name}_in0", x, emb, width, attend=True)
            x = song_block(w, f"{name}_in1", x, emb, width)
        else:
            x = song_block(w, f"{name}_up", x, emb, x.shape[1], up=True)
        for n in range(kwargs["num_blocks"] + 1):
            attend = n == kwargs["num_blocks"] and here in attends
            x = torch.cat([x, skips.pop()], 1)
            x = song_block(w, f"{name}_block{n}", x, emb, width, attend)
    x = F.silu(norm(w, f"{name}_aux_norm", x))
    return conv(w, f"{name}_aux_conv", x, kwargs["out_channels"])


# EDM's DhariwalUNet (ADM)

DHARIWAL = {
    **{"img_resolution": 4, "in_channels": 3, "out_channels": 3, "label_dim": 5, "augment_dim": 0},
    **{"model_channels": 32, "channel_mult": [1, 4], "channel_mult_emb": 2, "num_blocks": 1},
    **{"attn_resolutions": [2], "dropout": 0.1, "label_dropout": 0.1},
}


def dhariwal_block(w, name, x, emb, out, attend=False, up=False, down=False):
    def resampled(part, y):
        if up or down:
            w.setdefault(f"{name}.{part}.resample_filter", torch.full((1, 1, 2, 2), 0.25))
        y = F.interpolate(y, scale_factor=2.0, mode="nearest") if up else y
        return F.avg_pool2d(y, 2) if down else y

    h = resampled("conv0", F.silu(norm(w, f"{name}.norm0", x, 1e-5)))
    h = conv(w, f"{name}.conv0", h, out)
    scale, shift = linear(w, f"{name}.affine", emb, 2 * out)[:, :, None, None].chunk(2, 1)
    h = F.silu(norm(w, f"{name}.norm1", h, 1e-5) * (1 + scale) + shift)
    h = conv(w, f"{name}.conv1", h, out)
    x = resampled("skip", x)
    x = (conv(w, f"{name}.skip", x, out, 1) if x.shape[1] != out else x) + h
    if heads := attend * (out // 64):
        qkv = conv(w, f"{name}.qkv", norm(w, f"{name}.norm2", x, 1e-5), 3 * out, 1)
        q, k, v = qkv.reshape(len(x) * heads, out // heads, 3, -1).unbind(2)
        weights = torch.softmax(q.mT @ (k / 8), 2)
        x = x + conv(w, f"{name}.proj", (v @ weights.mT).reshape(x.shape), out, 1)
    return x


def dhariwal(w, x, time, label, kwargs):
    """F(x; c_noise); label: int64 (B,)."""
    ch, side, attends = (
        kwargs[k] for k in ("model_channels", "img_resolution", "attn_resolutions")
    )
    angle = time[:, None] * 10000.0 ** (-torch.arange(ch // 2) / (ch // 2))
    width = ch * kwargs["channel_mult_emb"]
    emb = F.silu(linear(w, "map_layer0", torch.cat([angle.cos(), angle.sin()], 1), width))
    emb = linear(w, "map_layer1", emb, width)
    emb = F.silu(emb + linear(w, "map_label", F.one_hot(label, 5).float(), width, bias=False))
    levels, skips = [(side >> i, ch * m) for i, m in enumerate(kwargs["channel_mult"])], []
    for i, (here, width) in enumerate(levels):
        if i == 0:
            x = conv(w, f"enc.{here}x{here}_conv", x, width)
        else:
            x = dhariwal_block(w, f"enc.{here}x{here}_down", x, emb, x.shape[1], down=True)
        skips.append(x)
        for n in range(kwargs["num_blocks"]):
            x = dhariwal_block(w, f"enc.{here}x{here}_block{n}", x, emb, width, here in attends)
            skips.append(x)
    for i, (here, width) in reversed([*enumerate(levels)]):
        name = f"dec.{here}x{here}"
        if i == len(levels) - 1:
            x = dhariwal_block(w, f"{name}_in0", x, emb, width, attend=True)
            x = dhariwal_block(w, f"{name}_in1", x, emb, width)
        else:
            x = dhariwal_block(w, f"{name}_up", x, emb, x.shape[1], up=True)
        for n in range(kwargs["num_blocks"] + 1):
            x = torch.cat([x, skips.pop()], 1)
            x = dhariwal_block(w, f"{name}_block{n}", x, emb, width, here in attends)
    x = F.silu(norm(w, "out_norm", x, 1e-5))
    return conv(w, "out_conv", x, kwargs["out_channels"])


# EDM2's UNet (2312.02696, figure 21, appendix B.7)

EDM2 = {
    **{"img_resolution": 8, "img_channels": 3, "label_dim": 5, "model_channels": 4},
    **{"channel_mult": [1, 2], "channel_mult_noise": None, "channel_mult_emb": None},
    **{"num_blocks": 1, "attn_resolutions": [4], "dropout": 0.1, "clip_act": None},
}


def pixel_norm(x, dims=1):
    size = (x**2).mean(dims, keepdim=True).sqrt()
    return x / (size + 1e-4)


def mp_conv(w, name, x, out, kernel=0, gain=1.0):
    weight = w.need(f"{name}.weight", out, x.shape[1], *[kernel] * (2 * (kernel > 0)))
    weight = pixel_norm(weight, tuple(range(1, weight.ndim)))
    weight = weight * gain / math.sqrt(weight[0].numel())
    return F.conv2d(x, weight, padding=kernel // 2) if kernel else F.linear(x, weight)


def mp_mix(a, b, t):
    return ((1 - t) * a + t * b) / math.sqrt((1 - t) ** 2 + t**2)


def mp_join(a, b):
    n, m = a.shape[1], b.shape[1]
    return math.sqrt((n + m) / 0.5) * torch.cat([0.5 / n**0.5 * a, 0.5 / m**0.5 * b], 1)


def silu(x):
    return F.silu(x) / 0.596


def edm2_block(w, name, x, emb, out, encode, attend=False, up=False, down=False):
    x = F.avg_pool2d(x, 2) if down else x
    x = F.interpolate(x, scale_factor=2.0, mode="nearest") if up else x
    if encode:
        x = mp_conv(w, f"{name}.conv_skip", x, out, 1) if x.shape[1] != out else x
        x = pixel_norm(x)
    h = mp_conv(w, f"{name}.conv_res0", silu(x), out, 3)
    factor = mp_conv(w, f"{name}.emb_linear", emb, out, gain=w.need(f"{name}.emb_gain")) + 1
    h = mp_conv(w, f"{name}.conv_res1", silu(h * factor[:, :, None, None]), out, 3)
    if not encode and x.shape[1] != out:
        x = mp_conv(w, f"{name}.conv_skip", x, out, 1)
    x = mp_mix(x, h, 0.3)
    if attend:  # one head: fewer than 64 channels
        qkv = mp_conv(w, f"{name}.attn_qkv", x, 3 * out, 1)
        q, k, v = pixel_norm(qkv.reshape(len(x), out, 3, -1)).unbind(2)
        h = (v @ torch.softmax(q.mT @ k / math.sqrt(out), 2).mT).reshape(x.shape)
        x = mp_mix(x, mp_conv(w, f"{name}.attn_proj", h, out, 1), 0.3)
    return x


def edm2(w, x, time, label, kwargs):
    """F(x; c_noise) of EDM2's network; label: int64 (B,)."""
    ch, side, attends = (
        kwargs[k] for k in ("model_channels", "img_resolution", "attn_resolutions")
    )
    waves = time[:, None] * w.need("emb_fourier.freqs", ch) + w.need("emb_fourier.phases", ch)
    levels = [(side >> i, ch * m) for i, m in enumerate(kwargs["channel_mult"])]
    classes, width = kwargs["label_dim"], levels[-1][1]
    emb = mp_conv(w, "emb_noise", math.sqrt(2) * waves.cos(), width)
    named = F.one_hot(label, classes).float() * math.sqrt(classes)
    emb = silu(mp_mix(emb, mp_conv(w, "emb_label", named, width), 0.5))
    x, skips = torch.cat([x, torch.ones_like(x[:, :1])], 1), []
    for i, (here, width) in enumerate(levels):
        name = f"enc.{here}x{here}"
        if i == 0:
            x = mp_conv(w, f"{name}_conv", x, width, 3)
        else:
            x = edm2_block(w, f"{name}_down", x, emb, x.shape[1], True, down=True)
        skips.append(x)
        for n in range(kwargs["num_blocks"]):
            x = edm2_block(w, f"{name}_block{n}", x, emb, width, True, here in attends)
            skips.append(x)
    for i, (here, width) in reversed([*enumerate(levels)]):
        name = f"dec.{here}x{here}"
        if i == len(levels) - 1:
            x = edm2_block(w, f"{name}_in0", x, emb, width, False, attend=True)
            x = edm2_block(w, f"{name}_in1", x, emb, width, False)
        else:
            x = edm2_block(w, f"{name}_up", x, emb, x.shape[1], False, up=True)
        for n in range(kwargs["num_blocks"] + 1):
            x = mp_join(x, skips.pop())
            x = edm2_block(w, f"{name}_block{n}", x, emb, width, False, here in attends)
    return mp_conv(w, "out_conv", x, kwargs["img_channels"], 3, w.need("out_gain"))


def edm2_denoiser(w, x, sigma, label, data=0.5):
    c = sigma[:, None, None, None]
    total = (c**2 + data**2).sqrt()
    answer = edm2(w, x / total, sigma.log() / 4, label, EDM2)
    return data**2 / total**2 * x + c * data / total * answer


def edm2_snapshot(weights, kwargs=EDM2):
    """A snapshot of EDM2's trainer in 16 bits, with the head that it has for the uncertainty."""
    half = {key: value.half() for key, value in weights.items()}
    head = {"logvar_fourier.freqs": torch.ones(8), "logvar_fourier.phases": torch.ones(8)}
    head["logvar_linear.weight"] = torch.ones(1, 8)
    shape = {"img_resolution": 8, "img_channels": 3, "label_dim": 5, "logvar_channels": 8}
    return snapshot(half, "Precond", "UNet", kwargs, "unet", beside=head, **shape)


def edm(w, x, sigma, data=0.5):
    """D(x; sigma) of EDM, table 1."""
    c = sigma[:, None, None, None]
    total = (c**2 + data**2).sqrt()
    answer = song(w, x / total, sigma.log() / 4, SONG)
    return data**2 / total**2 * x + c * data / total * answer


@contextlib.contextmanager
def fake_modules():
    """Modules of NVIDIA's programs, as far as their pickles name them, while one is written."""
    persistence, util = ModuleType("torch_utils.persistence"), ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("no reader may come here")

    class EasyDict(dict):
        pass

    for module, made in ((persistence, _reconstruct_persistent_obj), (util, EasyDict)):
        made.__module__, made.__qualname__ = module.__name__, made.__name__
        setattr(module, made.__name__, made)
    parents = {"torch_utils": ModuleType("torch_utils"), "dnnlib": ModuleType("dnnlib")}
    added = {**parents, "torch_utils.persistence": persistence, "dnnlib.util": util}
    sys.modules.update(added)
    try:
        yield added
    finally:
        for name in added:
            del sys.modules[name]


class Persistent:
    """An object of a persistent class, whose source text would leave a trace if it were run."""

    SOURCE = "raise SystemExit('the source text of a pickle was run')"

    def __init__(self, class_name, **state):
        self.meta = {"type": "class", "version": 6, "module_src": self.SOURCE}
        self.meta |= {"class_name": class_name, "state": state}

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


def module(class_name, names, state, **more):
    """A module of weights {dotted name: tensor}, in the form that torch.nn gives its state."""
    own = {key: value for key, value in names.items() if "." not in key}
    buffers = {key for key in own if key in ("resample_filter", "freqs", "phases")}
    children = dict.fromkeys(key.split(".")[0] for key in names if "." in key)
    inner = {
        child: {k[len(child) + 1 :]: v for k, v in names.items() if k.startswith(child + ".")}
        for child in children
    }
    made = torch.nn.Module().__dict__ | {
        "_parameters": {k: torch.nn.Parameter(v) for k, v in own.items() if k not in buffers},
        "_buffers": {k: own[k] for k in buffers},
        "_modules": {child: module(child, inner[child], {}) for child in children},
    }
    if class_name in ("enc", "dec"):
        container = torch.nn.ModuleDict()
        container.__dict__.update(made)
        return container
    return Persistent(class_name, **made, **state, **more)


def snapshot(
    weights,
    kind="EDMPrecond",
    net="SongUNet",
    kwargs=SONG,
    inside="model",
    beside=None,
    **numbers,
):
    """A snapshot of EDM's trainer: the bytes of its pickle. beside: weights beside the network."""
    numbers = {"sigma_min": 0.0, "sigma_max": float("inf"), "sigma_data": 0.5, **numbers}
    with fake_modules() as modules:
        inner = module(net, weights, {}, _init_args=(), _init_kwargs=kwargs)
        rest = module("enc", beside or {}, {})._modules
        outer = torch.nn.Module().__dict__ | {"_modules": {inside: inner, **rest}}
        whole = Persistent(kind, **outer, **numbers, skip_scale=np.sqrt(0.5), use_fp16=False)
        data = modules["dnnlib.util"].EasyDict(
            ema=whole,
            loss_fn=Persistent("EDMLoss", P_mean=-1.2, P_std=1.2, sigma_data=0.5),
            augment_pipe=Persistent("AugmentPipe", p=0.12, xflip=np.float64(1e8)),
            dataset_kwargs={"class_name": "training.dataset.ImageFolderDataset", "resolution": 8},
        )
        return pickle.dumps(data, protocol=4)


# score_sde's NCSN++ (2011.13456, appendix H), a list of modules in the order of execution

NCSNPP = {"ch": 4, "mult": [1, 2], "blocks": 1, "attend": [0], "channels": 3}


def resampled(x, up, fir):
    """By the filter [1, 3, 3, 1] (StyleGAN2's resampling), or without one."""
    if not fir:
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if up else F.avg_pool2d(x, 2)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (torch.outer(taps, taps) / taps.sum() ** 2).expand(x.shape[1], 1, 4, 4)
    if up:
        spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
        spread[:, :, ::2, ::2] = x
        return F.conv2d(F.pad(spread, (2, 1, 2, 1)), 4 * kernel, groups=x.shape[1])
    return F.conv2d(F.pad(x, (1, 1, 1, 1)), kernel, stride=2, groups=x.shape[1])


class ScoreSDE:
    """The network; its weights are called all_modules.N..."""

    def __init__(self, seed, fourier, fir, residual):
        self.w, self.fourier, self.fir, self.residual = Weights(seed), fourier, fir, residual

    def name(self):
        self.index += 1
        return f"all_modules.{self.index}"

    def block(self, x, emb, out, resample=None):
        name, w = self.name(), self.w
        h = F.silu(norm(w, f"{name}.GroupNorm_0", x))
        if resample:
            h, x = (resampled(y, resample == "up", self.fir) for y in (h, x))
        h = conv(w, f"{name}.Conv_0", h, out)
        h = h + linear(w, f"{name}.Dense_0", emb, out)[:, :, None, None]
        h = conv(w, f"{name}.Conv_1", F.silu(norm(w, f"{name}.GroupNorm_1", h)), out)
        if resample or x.shape[1] != out:
            x = conv(w, f"{name}.Conv_2", x, out, 1)
        return (x + h) * math.sqrt(0.5)

    def attention(self, x):
        name, c = self.name(), x.shape[1]

        def nin(i, y):  # (B, C, N)
            weight, bias = (
                self.w.need(f"{name}.NIN_{i}.W", c, c),
                self.w.need(f"{name}.NIN_{i}.b", c),
            )
            return torch.einsum("bin,io->bon", y, weight) + bias[:, None]

        h = norm(self.w, f"{name}.GroupNorm_0", x).flatten(2)
        q, k, v = (nin(i, h) for i in range(3))
        weights = torch.softmax(q.mT @ k / math.sqrt(c), 2)
        return (x + nin(3, v @ weights.mT).reshape(x.shape)) * math.sqrt(0.5)

    def shrink(self, picture, out):
        name = self.name()
        if not self.fir:
            return conv(self.w, f"{name}.Conv_0", F.pad(picture, (0, 1, 0, 1)), out, 3, 2, 0)
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = torch.outer(taps, taps) / taps.sum() ** 2
        kernel = kernel.expand(picture.shape[1], 1, 4, 4)
        # 3x3 of stride 2 behind a filter of 4 taps: two zeros at each border
        h = F.conv2d(F.pad(picture, (2, 2, 2, 2)), kernel, groups=picture.shape[1])
        return conv(self.w, f"{name}.Conv2d_0", h, out, 3, 2, 0)

    def __call__(self, x, time):
        self.index, w, ch = -1, self.w, NCSNPP["ch"]
        if self.fourier:
            angle = 2 * math.pi * time.log()[:, None] * w.need(f"{self.name()}.W", ch)
            emb = torch.cat([angle.sin(), angle.cos()], 1)
        else:
            emb = waves(time, ch)
        emb = linear(w, self.name(), emb, 4 * ch)
        emb = F.silu(linear(w, self.name(), F.silu(emb), 4 * ch))
        picture, x = x, conv(w, self.name(), x, ch)
        skips, last = [x], len(NCSNPP["mult"]) - 1
        for i, mult in enumerate(NCSNPP["mult"]):
            for _ in range(NCSNPP["blocks"]):
                x = self.block(x, emb, ch * mult)
                x = self.attention(x) if i in NCSNPP["attend"] else x
                skips.append(x)
            if i < last:
                x = self.block(x, emb, ch * mult, "down")
                if self.residual:
                    x = picture = (self.shrink(picture, ch * mult) + x) * math.sqrt(0.5)
                skips.append(x)
        x = self.block(x, emb, x.shape[1])
        x = self.block(self.attention(x), emb, x.shape[1])
        for i, mult in reversed([*enumerate(NCSNPP["mult"])]):
            for _ in range(NCSNPP["blocks"] + 1):
                x = self.block(torch.cat([x, skips.pop()], 1), emb, ch * mult)
            x = self.attention(x) if i in NCSNPP["attend"] else x
            x = self.block(x, emb, ch * mult, "up") if i else x
        x = F.silu(norm(w, self.name(), x))
        return conv(w, self.name(), x, NCSNPP["channels"])


def score_sde(network):
    """A checkpoint of score_sde's trainer: raw weights of another step than the average."""
    trained = {k: v for k, v in network.w.items() if k != "all_modules.0.W"}
    raw = {f"module.{k}": v + 0.1 * (k in trained) for k, v in network.w.items()}
    return {
        "optimizer": {
            "state": {},
            "param_groups": [{"lr": 2e-4, "params": [*range(len(trained))]}],
        },
        "model": {"module.sigmas": torch.linspace(50, 0.01, 4), **raw},
        "ema": {"decay": 0.9999, "num_updates": 7, "shadow_params": [*trained.values()]},
        "step": 7,
    }


def inputs(side=8):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2, 3, side, side, generator=generator), torch.tensor([0.3, 2.0])


def main():
    HERE.mkdir(exist_ok=True)
    x, t = inputs()
    weights = Weights(1)
    answers = {"edm": edm(weights, x, t)}
    (HERE / "edm.pkl").write_bytes(snapshot(weights))
    weights = Weights(6)
    answers["edm2"] = edm2_denoiser(weights, x, t, torch.tensor([4, 1]))
    (HERE / "edm2.pkl").write_bytes(edm2_snapshot(weights))
    for name, how in (("ddpmpp", (False, False, False)), ("ncsnpp", (True, True, True))):
        network = ScoreSDE(2, *how)
        answers[name] = network(x, t)
        torch.save(score_sde(network), HERE / f"{name}.pth")
    np.savez_compressed(HERE / "answers.npz", **{k: v.numpy() for k, v in answers.items()})


if __name__ == "__main__":
    main()
