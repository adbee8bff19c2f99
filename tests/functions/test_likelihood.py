import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from functions.chain import Chain
from functions.denoiser import Answer, Denoiser
from functions.flow_likelihood import log_density
from functions.likelihood import bits_per_dimension, log_likelihood_8bit, step_bits
from functions.loss import bound, hybrid, kl, mse
from functions.plan import solve
from functions.process import CLD, VP, VPSDE, Blur
from functions.samplers import ddim, ddpm
from models import build
from models.interop import load_foreign
from tests.analytic import ExactNet, Gauss, bank

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
NETWORK = {
    **{"image_size": 16, "in_channels": 3, "model_channels": 32, "out_channels": 6},
    **{"num_res_blocks": 1, "attention_resolutions": [2], "channel_mult": [1, 2], "dropout": 0.0},
    **{"num_head_channels": 16, "resblock_updown": True, "use_scale_shift_norm": True},
}
CHAINS = {
    "T1000": VP(),
    "T1000_cosine": VP(schedule="cosine"),
    "T250": VP(beta_start=0.1 / 250, beta_end=20 / 250, steps=250),
    "T250_rescale_timesteps": VP(beta_start=0.1 / 250, beta_end=20 / 250, steps=250),
}


def stored(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope="module")
def network():
    net = build("adm", **NETWORK).eval().requires_grad_(False)
    state = {k[3:]: v for k, v in stored("adm_a").items() if k.startswith("sd/")}
    load_foreign(net, state, layout="adm")
    return net


class Times(nn.Module):
    """A network whose answer is multiplied, or whose times are others."""

    def __init__(self, network, factor=1.0, times=None):
        super().__init__()
        self.network, self.factor, self.times = network, factor, times

    def forward(self, x, t, label=None):
        t = t if self.times is None else self.times(t)
        return self.network(x, t) * self.factor


def close(got, want, rtol=2e-5):
    torch.testing.assert_close(got.double(), want.double(), rtol=rtol, atol=rtol)


def descending(times):
    return torch.tensor([*sorted(times.tolist(), reverse=True), -1.0], dtype=torch.float64)


# Tables


@pytest.mark.parametrize(
    "name", ["linear1000", "respaced[20]", "respaced[ddim25]", "respaced[250]"]
)
def test_the_chain_of_a_grid_has_the_references_tables(name):
    z = stored("gd_tables")
    times = z.get(f"{name}/timestep_map", torch.arange(1000))
    chain = Chain.over(VP(), descending(times))
    ours = {
        "betas": chain.beta,
        "posterior_variance": chain.posterior,
        "posterior_log_variance_clipped": chain.log_posterior,
        "posterior_mean_coef1": chain.of_x0,
        "posterior_mean_coef2": chain.of_x,
        "fixed_small_log_variance": chain.log_variance("small", None, slice(None)),
        "fixed_large_log_variance": chain.log_variance("large", None, slice(None)),
    }
    for key, table in ours.items():
        if f"{name}/{key}" in z:
            torch.testing.assert_close(table.flip(0), z[f"{name}/{key}"], rtol=1e-10, atol=0)


def test_a_chain_of_one_step_has_a_variance():
    chain = Chain.over(VP(), torch.tensor([500.0, -1.0]))
    assert chain.log_posterior.isfinite().all()
    assert chain.log_variance("small", None, 0) == chain.log_beta[0]


# Likelihood of 8-bit values


def test_the_8_bit_likelihood_is_the_references():
    z = stored("gd_likelihood")
    x, mean, scale = (z[f"in/{key}"].double() for key in ("x", "means", "log_scales"))
    got = log_likelihood_8bit(x[:, None, None], mean[:, None], scale)
    torch.testing.assert_close(got, z["out/log_probs_float64"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("exact", [False, True])
def test_the_probabilities_of_all_levels_sum_to_one(exact):
    levels = torch.arange(256).double() / 127.5 - 1
    for mean, scale in ((0.0, -2.0), (0.7, -4.0), (-1.2, -1.0)):
        given = torch.full_like(levels, mean), torch.full_like(levels, scale)
        total = log_likelihood_8bit(levels, *given, exact=exact).exp().sum()
        assert float(total) == pytest.approx(1, abs=1e-6)


# Losses


@pytest.mark.parametrize("name", CHAINS)
def test_hybrid_losses_are_the_references(name, network):
    z, process = stored("gd_adm_losses"), CHAINS[name]
    t = z[f"loss/{name}/t"]
    n = len(t)
    x0, noise = z["in/x_start"][:n], z["in/noise"][:n]
    told = (lambda t: t * 4) if "rescale" in name else None  # t 1000/T
    denoiser = Denoiser(Times(network, times=told), process, variance="learned")
    for gamma in ("gamma0", "gamma0.5", "gamma1"):
        want = {key: z.get(f"loss/{name}/MSE/{gamma}/{key}") for key in ("mse", "vb", "loss")}
        if want["loss"] is None:
            continue
        weight = (1 + (process.alpha(t) / process.sigma(t)) ** 2) ** -float(gamma[5:])
        weight = weight.float()
        close(weight * mse(denoiser, x0, t, noise), want["mse"])
        close(bound(denoiser, x0, t, noise), want["vb"], 5e-3)  # float32 at t = 0
        close(hybrid(denoiser, x0, t, noise, rescaled=False, weight=weight), want["loss"], 5e-3)
        rescaled = z[f"loss/{name}/RESCALED_MSE/{gamma}/loss"]
        close(hybrid(denoiser, x0, t, noise, weight=weight), rescaled, 5e-3)


def test_the_terms_of_a_respaced_chain_are_the_references(network):
    z, process = stored("gd_adm_losses"), VP()
    row = 19 - z["loss/T1000_respaced_20/t"]
    n = len(row)
    chain = Chain.over(process, descending(stored("gd_bpd")["timestep_map"]))
    t, x0, noise = chain.t[row], z["in/x_start"][:n], z["in/noise"][:n]
    denoiser = Denoiser(network, process, variance="learned")
    x = process.perturb(x0, t, noise)
    terms = step_bits(denoiser, chain, row, x0, x, denoiser.ask(x, t))
    close(terms, z["loss/T1000_respaced_20/MSE/gamma0/vb"], 1e-4)


def test_the_bound_trains_the_variance_only(network):
    process, n = VP(), 4
    x0, noise = torch.rand(2, n, 3, 16, 16) * 2 - 1
    t = torch.tensor([0, 10, 500, 999])

    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.answer = nn.Parameter(torch.randn(n, 6, 16, 16))

        def forward(self, x, t, label=None):
            return self.answer

    def gradient(loss):
        net = Given()
        torch.manual_seed(0)
        net.answer.data = torch.randn(n, 6, 16, 16, generator=torch.Generator().manual_seed(0))
        loss(Denoiser(net, process, variance="learned"), x0, t, noise).sum().backward()
        return net.answer.grad.chunk(2, 1)

    both, plain, whole = (gradient(loss) for loss in (hybrid, mse, kl))
    torch.testing.assert_close(both[0], plain[0])
    assert plain[1].abs().max() == 0 and both[1].abs().min(0).values.max() > 0
    torch.testing.assert_close(both[1] * 1000, whole[1], rtol=1e-4, atol=1e-4)  # kl: T terms
    assert (whole[0] - both[0]).abs().max() > 1e-3


@pytest.mark.parametrize("weight", ["p2", "min_snr", "snr"])
def test_a_weight_of_kl_is_one_weight_under_every_prediction(weight, tmp_path):
    from configs.schema import load

    t = torch.tensor([10, 500, 900])
    found = [
        load(
            "digits.yml",
            [
                ("loss", "{name: kl}"),
                ("training.weight", weight),
                ("diffusion.predicts", predicts),
            ],
        ).weight(VP())(t)
        for predicts in ("eps", "x0", "v")
    ]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("t", [[0.5], [-1.0], [1000.0]])
def test_times_outside_of_the_chain_are_refused(t, network):
    x = torch.zeros(1, 3, 16, 16)
    with pytest.raises(ValueError, match="whole numbers from 0 to 999"):
        bound(Denoiser(network, VP(), variance="learned"), x, torch.tensor(t), x)


def test_a_schedule_without_signal_at_its_end_has_no_bound(network):
    x, process = torch.zeros(1, 3, 16, 16), VP(schedule="jsd", steps=10)
    with pytest.raises(ValueError, match="needs some signal at the last time"):
        hybrid(Denoiser(network, process, variance="learned"), x, torch.tensor([9]), x)


def test_a_network_without_variances_is_refused():
    denoiser = Denoiser(ExactNet(Gauss(), VP()), VP(), variance="learned")
    with pytest.raises(ValueError, match="should answer twice the channels"):
        denoiser(torch.zeros(1, 1, 4, 4), 5.0)
    with pytest.raises(ValueError, match="learned variance needs a variance-preserving process"):
        Denoiser(nn.Identity(), CLD(), variance="learned")


@pytest.mark.parametrize("process", [CLD(), Blur(4), VPSDE()])
def test_the_bound_is_refused_without_a_chain_of_numbers(process):
    shape = (1, 2 if isinstance(process, CLD) else 1, 4, 4)
    with pytest.raises(ValueError, match="the variational bound|the bound"):
        bound(
            Denoiser(nn.Identity(), process), torch.zeros(shape), torch.zeros(1), torch.zeros(shape)
        )


# Bits per dimension


@pytest.mark.parametrize(
    ("variance", "clip"), [("learned", 1.0), ("learned", None), ("large", 1.0), ("small", 1.0)]
)
def test_bits_per_dimension_of_a_respaced_chain_are_the_references(variance, clip, network):
    z = stored("gd_bpd")
    head = "" if variance == "learned" else f"fixed{variance}/"
    denoiser = Denoiser(network, VP(), variance=variance)
    grid, x0 = descending(z["timestep_map"]), z["in/x_start"]
    with torch.no_grad():
        bits = bits_per_dimension(denoiser, x0, grid, bank(z["in/noise"]), clip)
    close(bits.total, z[f"{head}clip_{clip is not None}/total_bpd"])
    close(bits.terms, z[f"{head}clip_{clip is not None}/vb"])
    if variance == "learned":
        close(bits.prior, z[f"clip_{clip is not None}/prior_bpd"])


def test_bits_of_a_grid_that_does_not_end_clean_are_refused():
    denoiser = Denoiser(ExactNet(Gauss(), VP()), VP())
    with pytest.raises(ValueError, match="ends at clean data, not t = 3"):
        bits_per_dimension(
            denoiser, torch.zeros(1, 1, 2, 2), torch.tensor([9.0, 3.0]), torch.randn_like
        )


@pytest.mark.parametrize("process", [VP(), VPSDE()], ids=["vp", "vpsde"])
def test_the_flow_gives_the_density_of_gaussian_data_and_the_bound_lies_above(process):
    torch.manual_seed(0)
    model, shape = Gauss(), (48, 1, 4, 4)
    levels = (model.mean + model.std * torch.randn(shape).double()).clamp(-1, 1)
    x = ((levels + 1) * 127.5).round() / 127.5 - 1  # 8-bit
    denoiser = Denoiser(ExactNet(model, process), process)
    gap = (x - model.mean) / model.std
    nats = (-(gap**2) / 2 - math.log(model.std * math.sqrt(2 * math.pi))).flatten(1).sum(1)
    found, evaluations = log_density(denoiser, x, torch.randn_like)
    per_bit = 16 * math.log(2)
    assert evaluations > 20
    assert abs(float((found - nats).mean())) / per_bit < 1e-3
    true = float(-nats.mean()) / per_bit + math.log2(127.5)  # bins of 2/255
    grid = descending(torch.arange(1000)) if process.steps else torch.linspace(1, 0, 501).double()
    torch.manual_seed(1)
    with torch.no_grad():
        bits = bits_per_dimension(denoiser, x, grid, torch.randn_like).total
    # the bound is noisy from image to image: 4 standard errors below would be a mistake
    assert float(bits.mean()) > true - 4 * float(bits.std()) / len(x) ** 0.5
    assert float(bits.mean()) < true + 0.3


# Sampling with a learned variance


def stepped(stage, x, answer, z, frac=None):
    """One stage of a plan of single evaluations."""
    x = stage.A.item() * x + sum(c.item() for c in stage.B.values()) * answer
    if stage.C is None:
        return x
    wide = 1 if stage.spread is None else torch.exp(stage.spread.item() * frac)
    return x + stage.C.item() * wide * z


@pytest.mark.parametrize("case", ["learned", "learned without clip", "large", "small"])
@pytest.mark.parametrize("chain", ["single", "single20"])
def test_an_ancestral_step_is_the_references(case, chain, network):
    variance, _, unclipped = case.partition(" ")
    name = "p_sample" if variance == "learned" else f"p_sample_FIXED_{variance.upper()}"
    name = f"{chain}/{name}" + (f"/clip_{not unclipped}" if variance == "learned" else "")
    z = stored("gd_sampling")
    if f"{name}/sample" not in z:
        return  # fixed variances have numbers on the whole chain only
    times = torch.arange(1000) if chain == "single" else stored("gd_bpd")["timestep_map"]
    plan = ddpm(VP(), descending(times), variance=variance)
    clip = None if unclipped else 1.0
    denoiser = Denoiser(network, VP(), clip=clip, variance=variance)
    for i, t in enumerate(z[f"{chain}/t"].tolist()):
        x, stage = z["single/x"][i : i + 1], plan.stages[len(times) - 1 - t]
        with torch.no_grad():
            clean, v = denoiser.posterior(x, stage.t)
        got = stepped(stage, x, clean, z["single/noise"][i : i + 1], (v + 1) / 2)
        want = z[f"{name}/sample"][i : i + 1]
        bar = 2e-5 if clip else 1e-4 * max(1.0, float(want.abs().max()))
        torch.testing.assert_close(got, want, rtol=0, atol=bar)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("chain", ["single", "single20"])
def test_a_step_of_ddim_is_the_references(chain, eta, network):
    z = stored("gd_sampling")
    times = torch.arange(1000) if chain == "single" else stored("gd_bpd")["timestep_map"]
    plan = ddim(VP(), descending(times), eta=eta)
    denoiser = Denoiser(network, VP(), clip=1.0)
    for i, t in enumerate(z[f"{chain}/t"].tolist()):
        x, stage = z["single/x"][i : i + 1], plan.stages[len(times) - 1 - t]
        with torch.no_grad():
            eps = denoiser.eps(x, stage.t)
        got = stepped(stage, x, eps, z["single/noise"][i : i + 1])
        want = z[f"{chain}/ddim_sample/eta{eta}/sample"][i : i + 1]
        # the reference takes 1 - abar in float32: near clean data it is off, in float64 we are not
        bar = 5e-4 if stage.t <= 10 else 2e-5
        torch.testing.assert_close(got, want, rtol=0, atol=bar)


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_loop_of_ancestral_steps_is_the_references(clip, network):
    z = stored("gd_sampling")
    scale = 1.0 if clip else 0.1  # without clipping the random network leaves every range
    denoiser = Denoiser(Times(network, scale), VP(), clip=clip, variance="learned")
    grid = descending(stored("gd_bpd")["timestep_map"])

    def predict(x, t):
        clean, v = denoiser.posterior(x, t)
        return clean, (v + 1) / 2

    plan = ddpm(VP(), grid, variance="learned")
    with torch.no_grad():
        *_, got = solve(plan, predict, z["loop20/x_T"], bank(z["loop20/noise"]))
    want = z["loop20/p_sample_loop" + ("" if clip else "_noclip_model0.1")]
    bar = 1e-3 if clip else 1e-5 * float(want.abs().max())
    torch.testing.assert_close(got, want, rtol=0, atol=bar)


def test_deterministic_samplers_use_a_network_with_variances_unchanged(network):
    z = stored("gd_sampling")
    denoiser = Denoiser(network, VP(), clip=1.0, variance="learned")
    grid = descending(stored("gd_bpd")["timestep_map"])
    with torch.no_grad():
        *_, got = solve(ddim(VP(), grid), denoiser.eps, z["loop20/x_T"])
    torch.testing.assert_close(got, z["loop20/ddim_sample_loop_eta0.0"], rtol=0, atol=1e-3)


def test_a_learned_variance_goes_from_the_small_to_the_large_one():
    grid = descending(torch.tensor([0, 250, 500, 999]))
    torch.manual_seed(0)
    x, noise = torch.randn(2, 1, 4, 4).double(), list(torch.randn(4, 2, 1, 4, 4).double())

    def drawn(variance, v=0.0):
        plan = ddpm(VP(), grid, variance=variance)

        def predict(x, t):
            clean = torch.tanh(x)
            return (clean, torch.full_like(x, (v + 1) / 2)) if plan.learned else clean

        *_, end = solve(plan, predict, x, bank(noise))
        return end

    torch.testing.assert_close(drawn("learned", -1.0), drawn("small"))
    torch.testing.assert_close(drawn("learned", 1.0), drawn("large"))
    between = drawn("learned", 0.0)
    assert not torch.allclose(between, drawn("large")) and not torch.allclose(
        between, drawn("small")
    )


def test_fixed_variances_do_not_read_v(network):
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    fixed = Denoiser(network, VP(), variance="small").ask(x, 10.0)
    learned = Denoiser(network, VP(), variance="learned").ask(x, 10.0)
    assert isinstance(learned, Answer) and torch.equal(fixed.prediction, learned.prediction)
