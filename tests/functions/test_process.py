import math

import pytest
import torch

from functions.process import PROCESSES, VP, VPSDE, Blur, apply, beta_schedule
from tests.analytic import MODELS, golden

SCHEDULES = ["linear", "quad", "const", "jsd", "sigmoid", "cosine"]


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_equal_the_reference(schedule):
    stored, vp = golden("schedules"), VP(schedule)
    torch.testing.assert_close(vp.betas, stored[f"betas__{schedule}"], rtol=1e-12, atol=1e-15)
    abar, t = stored[f"abar__{schedule}"], torch.arange(1000)
    torch.testing.assert_close(vp.alpha(t) ** 2, abar, rtol=1e-11, atol=1e-16)
    torch.testing.assert_close(vp.sigma(t) ** 2, 1 - abar, rtol=1e-11, atol=1e-16)


def test_default_vp_is_the_published_one():
    vp, common = VP(), golden("common")
    torch.testing.assert_close(vp.betas, common["betas"], rtol=1e-13, atol=0)
    torch.testing.assert_close(vp.mean(torch.arange(1000))[:, 0, 0] ** 2, common["abar"])


@pytest.mark.parametrize("kind", MODELS)
def test_the_exact_models_equal_the_reference(kind):
    """The fixture every other test leans on, on the discrete and the continuous process."""
    common, model = golden("common"), MODELS[kind]
    abar = (VP().alpha(common["probe_t"]) ** 2).view(-1, 1, 1, 1)
    got = model.eps(common["probe_x"], abar)
    torch.testing.assert_close(got, common[f"probe_eps_{kind}"], rtol=0, atol=1e-12)
    abar = (VPSDE().alpha(common["probe_tc"]) ** 2).view(-1, 1, 1, 1)
    got = model.eps(common["probe_x"], abar)
    torch.testing.assert_close(got, common[f"probe_eps_cont_{kind}"], rtol=0, atol=1e-12)


def test_vpsde_is_the_closed_form():
    t, stored = golden("common")["probe_tc"], golden("common")["probe_alpha_c"]
    torch.testing.assert_close(VPSDE().alpha(t) ** 2, stored, rtol=1e-12, atol=0)
    narrow = VPSDE(beta_min=0.2, beta_max=4.0)
    expected = torch.exp(-(t**2) * 3.8 / 2 - t * 0.2)
    torch.testing.assert_close(narrow.alpha(t) ** 2, expected, rtol=1e-12, atol=0)
    assert torch.equal(narrow.network_time(f64(0.5)), f64(499.5))


@pytest.mark.parametrize("process", [VP(), VP("cosine"), VPSDE()], ids=["vp", "cosine", "vpsde"])
def test_signal_and_noise_obey_the_process_laws(process):
    low, high = process.t_end, process.t_start
    t = torch.linspace(low, high, 37, dtype=torch.float64)
    alpha, sigma = process.alpha(t), process.sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t), rtol=0, atol=1e-14)
    assert (alpha[1:] < alpha[:-1]).all() and (sigma[1:] > sigma[:-1]).all()
    a, b, c = t[:-2], t[1:-1], t[2:]
    chained = process.psi(a, b) @ process.psi(b, c)
    torch.testing.assert_close(chained, process.psi(a, c), rtol=1e-12, atol=0)
    torch.testing.assert_close(process.psi(a, b) @ process.mean(a), process.mean(b))


def test_vp_time_minus_one_is_clean_and_log_abar_is_linear_between_indices():
    vp = VP()
    assert vp.alpha(f64(-1.0)).item() == 1 and vp.sigma(f64(-1.0)).item() == 0
    assert vp.factor(f64(-1.0)).abs().item() == 0
    ends = vp.log_abar(f64(417.0, 418.0))
    for share in (0.25, 0.75):
        want = (1 - share) * ends[:1] + share * ends[1:]
        torch.testing.assert_close(vp.log_abar(f64(417 + share)), want, rtol=1e-13, atol=0)
    between_clean_and_first = vp.log_abar(f64(-0.5))
    torch.testing.assert_close(between_clean_and_first, vp.log_abar(f64(0.0)) / 2)


@pytest.mark.parametrize("t", [-1.5, -1.0001, 999.5, 1000.0, math.nan])
def test_vp_refuses_times_outside_its_table(t):
    with pytest.raises(ValueError, match=r"\[-1, 999\]"):
        VP().alpha(f64(t))


def test_a_schedule_without_signal_left_stays_finite_where_it_can():
    vp = VP("jsd")
    assert vp.alpha(f64(999.0)).item() == 0 and vp.sigma(f64(999.0)).item() == 1
    assert math.isfinite(vp.log_abar(f64(998.0)).item())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("process", [VP(), VPSDE()], ids=["vp", "vpsde"])
def test_perturb_is_signal_plus_noise_sample_by_sample(process, dtype):
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(3, 2, 4, 4, generator=generator).to(dtype) for _ in range(2))
    t = torch.tensor([0, 1, 1]) if process.steps is None else torch.tensor([0, 400, 999])
    got = process.perturb(x0, t, noise)
    assert got.dtype == dtype
    for i in range(3):
        alpha, sigma = process.alpha(t[i]).item(), process.sigma(t[i]).item()
        want = alpha * x0[i].double() + sigma * noise[i].double()
        tolerance = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 3e-2}[dtype]
        torch.testing.assert_close(got[i].double(), want, rtol=0, atol=tolerance)


def test_times_may_be_of_any_number_type_and_coefficients_are_float64():
    vp = VP()
    for t in (torch.tensor(7), torch.tensor(7.0), torch.tensor([7], dtype=torch.float16)):
        assert vp.mean(t).dtype == torch.float64
        assert vp.mean(t).flatten().item() == vp.alpha(f64(7.0)).item()
    assert vp.mean(torch.zeros(5, 2)).shape == (5, 2, 1, 1)


def test_prior_draws_noise_of_the_asked_shape():
    seen = []

    def randn(like):
        seen.append(like.shape)
        return torch.full_like(like, 2.0)

    assert torch.equal(VP().prior((2, 3, 4, 4), randn), torch.full((2, 3, 4, 4), 2.0))
    assert seen == [(2, 3, 4, 4)]


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="schedule lineer is not valid; it should be linear, quad"):
        VP("lineer")
    with pytest.raises(
        ValueError, match="steps 0 is not valid; it should be a whole number, at least 1"
    ):
        VP(steps=0)
    for start, end in [(0.0, 0.02), (1e-4, 1.5), (-0.1, 0.02)]:
        with pytest.raises(ValueError, match="beta_.* a number above 0 and below 1"):
            beta_schedule("linear", start, end, 10)
    with pytest.raises(ValueError, match="beta_start 0.1 is above beta_end, 0.02"):
        VP(beta_start=0.1)
    for size in (0, (4, 0), (1, 2, 3)):
        with pytest.raises(ValueError, match="image_size .* is not valid"):
            Blur(size)
    for low, high in [(0.0, 1.0), (2.0, 1.0)]:
        with pytest.raises(ValueError, match="beta_min"):
            VPSDE(low, high)


def test_the_registry_builds_by_name():
    assert PROCESSES["vp"](schedule="cosine", steps=10).steps == 10
    assert PROCESSES["vpsde"](beta_max=10.0).steps is None


@pytest.mark.parametrize("batch", [(), (3,)], ids=["shared", "per sample"])
@pytest.mark.parametrize(
    ("space", "k"), [((), 1), ((4, 5), 1), ((), 2)], ids=["number", "per pixel", "2x2"]
)
def test_apply_equals_plain_loops(batch, space, k):
    generator = torch.Generator().manual_seed(1)
    coef = torch.randn(*batch, *space, k, k, generator=generator, dtype=torch.float64)
    x = torch.randn(3, 2 * k, 4, 5, generator=generator, dtype=torch.float64)
    full = coef if batch else coef.expand(3, *coef.shape)
    full = full if space else full[:, None, None].expand(3, 4, 5, k, k)
    want = torch.zeros_like(x)
    for i in range(k):
        for j in range(k):
            weight = full[:, None, :, :, i, j]
            want[:, 2 * i : 2 * i + 2] += weight * x[:, 2 * j : 2 * j + 2]
    torch.testing.assert_close(apply(coef, x), want, rtol=1e-13, atol=1e-14)
    assert apply(coef, x.float()).dtype == torch.float32


def test_apply_with_as_many_rows_as_samples_is_not_mistaken_for_a_batch():
    """(H, W) coefficients of a square image whose side equals the batch size."""
    coef = torch.arange(9.0, dtype=torch.float64).view(3, 3, 1, 1)
    x = torch.ones(3, 1, 3, 3, dtype=torch.float64)
    for sample in apply(coef, x):
        assert torch.equal(sample[0], coef[..., 0, 0])


@pytest.mark.parametrize("name", PROCESSES)
def test_shares_of_the_training_times_go_there_and_back(name):
    process = PROCESSES[name](8) if name == "blur" else PROCESSES[name]()
    low, high = process.t_train
    share = torch.linspace(0, 1, 9, dtype=torch.float64)
    t = process.time_at(share)
    assert float(t[0]) == pytest.approx(low) and float(t[-1]) == pytest.approx(high)
    torch.testing.assert_close(process.share_of(t[1:]), share[1:], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(process.mirrored(t), t.flip(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_rescaled_schedule_keeps_its_first_signal_and_loses_the_last(schedule):
    """2305.08891, algorithm 1: alpha is moved by a shift and a factor."""
    t = torch.arange(1000)
    plain, rescaled = VP(schedule).alpha(t), VP(schedule, rescale_zero_snr=True).alpha(t)
    want = (plain - plain[-1]) * plain[0] / (plain[0] - plain[-1])
    torch.testing.assert_close(rescaled, want, rtol=0, atol=1e-12)
    assert rescaled[-1] == 0 and rescaled[0] == pytest.approx(float(plain[0]), abs=1e-15)
    with pytest.raises(ValueError, match="rescale_zero_snr needs at least 2 steps"):
        VP(steps=1, rescale_zero_snr=True)
