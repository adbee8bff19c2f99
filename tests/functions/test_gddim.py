"""CLD and blur against what the gDDIM repository left (tests/golden/gddim), float64.

"exact" arrays are accurate evaluations of the same definitions; "ref" is the repository's own
code, which integrates by left Riemann sums and interpolates a table of R.
"""

import numpy as np
import pytest
import torch

from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.plan import apply, solve
from functions.process import CLD, Blur
from functions.samplers import SAMPLERS, rk45
from functions.scales import SCALES
from tests.analytic import GOLDEN

HOME = GOLDEN.parent / "gddim"


def stored(name):
    with np.load(HOME / f"{name}.npz") as found:
        return {key: torch.from_numpy(found[key]) for key in found.files}


def pack(u):
    """(B, ..., 2) -> positions, then velocities, along the channels."""
    return torch.cat([u[..., 0], u[..., 1]], 1)


def close(got, want, atol):
    torch.testing.assert_close(got, want, rtol=0, atol=atol)


def at(t):
    return torch.as_tensor(t, dtype=torch.float64)


class Exact:
    """E[noise | state] for data N(mean, sd^2) under CLD, in its own parametrisation."""

    def __init__(self, process, mean=0.3, sd=0.5):
        self.process, self.mean, self.sd = process, float(mean), float(sd)

    def moments(self, t):
        psi, R = self.process.psi(at(0.0), at(t)), self.process.factor(at(t))
        return psi[:, 0] * self.mean, R @ R.T + self.sd**2 * torch.outer(psi[:, 0], psi[:, 0])

    def __call__(self, x, t):
        mean, covariance = self.moments(t)
        shift = mean.repeat_interleave(x.shape[1] // 2).view(1, -1, 1, 1)
        return apply(self.process.factor(at(t)).T @ torch.linalg.inv(covariance), x - shift)


# --- CLD ------------------------------------------------------------------------------------------

TABLES, COEFS, TRAJ = stored("cld_tables"), stored("cld_coefs"), stored("cld_traj")


def test_cld_tables():
    cld, t = CLD(), TABLES["t"]
    close(cld.psi(torch.zeros_like(t), t), TABLES["psi_0t"], 1e-13)
    close(cld.psi(*TABLES["s_pairs"].T), TABLES["psi_pairs"], 1e-11)
    R = cld.factor(t)
    close(R, TABLES["R_exact"], 1e-13)
    close(R, TABLES["R_ref_rk1e-6"], 1e-6)
    close(R @ R.mT, TABLES["Sigma_exact"], 1e-13)
    close(CLD(parametrisation="L").factor(t), TABLES["L_exact"], 1e-13)
    close(cld.drift(t), TABLES["F"], 1e-12)
    close(cld.diffusion(t), TABLES["G"] @ TABLES["G"].mT, 1e-12)


def test_r_solves_its_equation_and_the_transition_solves_its_own():
    cld, t, h = (
        CLD(beta=3.0, inverse_mass=2.0, gamma=0.1),
        torch.linspace(0.02, 1, 50).double(),
        1e-6,
    )
    R = cld.factor(t)
    slope = (cld.factor(t + h) - cld.factor(t - h)) / (2 * h)
    want = cld.drift(t) @ R + cld.diffusion(t) @ torch.linalg.inv(R).mT / 2
    close(slope, want, 1e-6)
    psi = cld.psi(t, t + h) - cld.psi(t, t - h)
    close(psi / (2 * h), cld.drift(t), 1e-6)
    close(CLD(beta=3.0, inverse_mass=2.0, gamma=0.1).factor(t) @ R.mT, R @ R.mT, 0)


def test_cld_perturbation_and_loss():
    z, cld = stored("cld_perturb"), CLD()
    for i, t in enumerate(z["t"]):
        got = cld.perturb(z["x0"], t, pack(z["noise"][i]))
        close(got, pack(z["perturbed_exact"][i]), 1e-12)
    z = stored("cld_loss")

    class Stored(torch.nn.Module):
        def forward(self, x, t):
            close(x, z["net_in_packed_nchw"], 1e-6)  # the reference interpolates R
            close(t, z["net_labels"], 1e-9)
            return z["net_out_packed_nchw"]

    from functions.loss import simple

    image = z["image"].permute(0, 3, 1, 2)
    loss = simple(Denoiser(Stored(), cld), image, z["t"], z["target_eps_packed_nchw"])
    torch.testing.assert_close(loss, z["per_sample_loss_plain"], rtol=1e-8, atol=0)
    mixed = Denoiser(Stored(), cld, mixed="velocity")
    loss = simple(mixed, image, z["t"], z["target_eps_packed_nchw"]).mean()
    torch.testing.assert_close(loss, z["loss_mixed_mean"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("nfe", [10, 20])
def test_cld_coefficients_and_trajectories(nfe, order):
    cld, grid = CLD(), COEFS[f"nfe{nfe}_den0_rev_ts"]
    close(GRIDS["power"](cld, nfe, order=2.0), grid, 1e-12)
    plan = SAMPLERS["deis"](cld, grid, order)
    want = COEFS[f"nfe{nfe}_den0_order{order}_exact"]
    for i, stage in enumerate(plan.stages):
        close(stage.A, want[i][0], 1e-11)
        for j in range(min(i, order) + 1):
            close(stage.B[i - j], want[i][1 + j], 1e-8)
    got = list(solve(plan, Exact(cld, TRAJ["m"], TRAJ["sd"]), pack(TRAJ["u_T"])))
    key = f"nfe{nfe}_den0_order{order}_traj"
    want = torch.stack([pack(u) for u in TRAJ[f"{key}_exact"]])
    close(torch.stack(got), want[1:], 1e-7 if order < 3 else 1e-6)
    # ours is the more accurate of the two: their Riemann sums are off by this much
    assert (pack(TRAJ[f"{key}_ref"][-1]) - want[-1]).abs().max() > 1e-4


@pytest.mark.slow
def test_cld_finds_the_exact_probability_flow():
    cld, exact = CLD(), Exact(CLD(), TRAJ["m"], TRAJ["sd"])
    plan = SAMPLERS["deis"](cld, GRIDS["power"](cld, 1000), 3)
    *_, last = solve(plan, exact, pack(TRAJ["u_T"]))
    close(last, pack(TRAJ["pf_exact_u_t0"]), 1e-6)


@pytest.mark.parametrize("order", range(4))
def test_cld_in_the_cholesky_parametrisation(order):
    z, cld = stored("cld_lparam"), CLD(parametrisation="L")
    plan = SAMPLERS["deis"](cld, z["nfe20_rev_ts"], order)
    want = z[f"nfe20_order{order}_coef_exact"]
    for i, stage in enumerate(plan.stages):
        for j in range(min(i, order) + 1):
            close(stage.B[i - j], want[i][1 + j], 1e-8)
    *_, last = solve(plan, Exact(cld, z["m"], z["sd"]), pack(z["u_T"]))
    want = pack(z[f"nfe20_order{order}_traj_exact"][-1])
    biggest = z[f"nfe20_order{order}_traj_exact"].abs().max().item()
    close(last, want, 1e-6 * biggest)


@pytest.mark.parametrize("lam", [0.1, 0.3, 1.0])
def test_cld_with_noise(lam):
    z, cld, key = stored("cld_lambda"), CLD(), f"lam{lam}_nfe20"
    plan = SAMPLERS["gddim"](cld, z["nfe20_rev_ts"], lam=lam)
    for i, stage in enumerate(plan.stages):
        close(stage.B[i], z[f"{key}_epscoef_exact"][i], 1e-8)
        if stage.C is not None:
            close(stage.C @ stage.C.mT, z[f"{key}_cov_exact"][i], 1e-8)
    noise = iter(z[f"{key}_z"])
    walk = solve(plan, Exact(cld, z["m"], z["sd"]), pack(z["u_T"]), lambda x: pack(next(noise)))
    want = torch.stack([pack(u) for u in z[f"{key}_traj_exact"]])
    close(torch.stack(list(walk)), want[1:], 1e-6)


# --- blur ---------------------------------------------------------------------------------------

BLUR, BLURRED = stored("bdm_tables"), stored("bdm_traj")


def channels_first(x):
    return x.movedim(-1, -3)


def test_blur_tables_and_dct():
    for size in (8, 32):
        blur = Blur(size)
        close(blur.frequencies, BLUR[f"labda_{size}"], 1e-12)
        close(blur.mean(BLUR["t"])[..., 0, 0], BLUR[f"y_mean_coef_{size}"], 1e-12)
    close(blur.factor(BLUR["t"]).flatten(), BLUR["y_std_coef"], 1e-12)
    assert blur.t_start == pytest.approx(float(BLUR["sampling_T"]), abs=1e-9)
    close(GRIDS["power"](blur, 10), BLUR["rev_ts_nfe10"], 1e-9)
    for size in (4, 8):
        image, y = channels_first(BLUR[f"dct_img_{size}"]), channels_first(BLUR[f"dct_y_{size}"])
        close(Blur(size).lift(image), y, 1e-12)
        close(Blur(size).drop(y), image, 1e-12)


def test_blur_of_images_that_are_not_square():
    blur, image = Blur((4, 6)), torch.randn(2, 3, 4, 6, dtype=torch.float64)
    y = blur.lift(image)
    close(blur.drop(y), image, 1e-12)
    close(y.square().sum(), image.square().sum(), 1e-10)  # orthonormal
    from scipy.fft import dctn

    close(y, torch.from_numpy(dctn(image.numpy(), axes=(2, 3), norm="ortho")), 1e-12)
    assert blur.mean(at(0.5)).shape == (4, 6, 1, 1)


def test_blur_perturbation_and_loss():
    z, blur = stored("bdm_perturb"), Blur(8)
    for i, t in enumerate(z["t_8"]):
        image, noise = (channels_first(v) for v in (z["image_8"], z["noise_8"][i]))
        got = blur.drop(blur.perturb(image, t, blur.lift(noise)))
        close(got, channels_first(z["perturbed_8"][i]), 1e-12)
    z = stored("bdm_loss")

    class Stored(torch.nn.Module):
        def forward(self, x, t):
            close(x, channels_first(z["perturbed"]), 1e-12)
            close(t, z["net_labels"], 1e-9)
            return channels_first(z["net_out"])

    from functions.loss import simple

    noise = blur.lift(channels_first(z["noise"]))
    loss = simple(Denoiser(Stored(), blur), channels_first(z["image"]), z["t"], noise)
    torch.testing.assert_close(loss.mean(), z["loss_mean"], rtol=1e-8, atol=0)


def exact_blur(blur, mean, sd):
    def predict(y, t):
        a, sigma = blur.mean(at(t))[..., 0, 0], blur.factor(at(t)).item()
        return sigma * (y - a * mean) / (a**2 * sd**2 + sigma**2)

    return predict


@pytest.mark.parametrize("order", range(4))
def test_blur_coefficients_and_trajectories(order):
    mean, sd = (channels_first(BLURRED[k]) for k in ("m_y", "s_y"))
    blur = Blur(8)
    plan = SAMPLERS["deis"](blur, BLURRED["nfe10_rev_ts"], order)
    got = list(solve(plan, exact_blur(blur, mean, sd), channels_first(BLURRED["y_T"])))
    if order == 0:
        want = torch.stack([channels_first(y) for y in BLURRED["nfe10_order0_traj_y_ref"]])
        close(torch.stack(got), want[1:], 1e-9)
        return
    want = BLURRED[f"nfe10_order{order}_coef_INDEPENDENT"]
    for i, stage in enumerate(plan.stages):
        for j in range(min(i, order) + 1):
            close(stage.B[i - j][..., 0, 0], want[i][1 + j], 1e-7)
    close(got[-1], channels_first(BLURRED[f"nfe10_order{order}_final_y_INDEPENDENT"]), 1e-7)


def linear_cld(t):
    """Response of the exact noise estimate, mean and covariance of the state at t."""
    exact = Exact(CLD())
    mean, covariance = exact.moments(t)
    return exact.process.factor(at(t)).mT @ torch.linalg.inv(covariance), mean[:, None], covariance


def linear_blur(t):
    blur, sd = Blur(4), torch.linspace(0.3, 1.3, 16, dtype=torch.float64).view(4, 4, 1, 1)
    a, sigma = blur.mean(at(t)), blur.factor(at(t))
    variance = a**2 * sd**2 + sigma**2
    return sigma / variance, 0.3 * a, variance


@pytest.mark.slow
@pytest.mark.parametrize(("name", "lam"), [*[("gddim", lam) for lam in (0.1, 1.0)], ("euler", 1)])
@pytest.mark.parametrize("process", [CLD(), Blur(4)], ids=["cld", "blur"])
def test_noise_leads_to_the_exact_mean_and_covariance(process, name, lam):
    """Data are normal, so the estimate is linear and the moments go through the plan without a
    draw: what remains is the error of the steps, of first order.
    """
    linear = linear_cld if process.groups == 2 else linear_blur
    errors = []
    for steps in (150, 300):
        plan = SAMPLERS[name](process, torch.linspace(0.9, 0.3, steps + 1).double(), lam=lam)
        _, mean, covariance = linear(0.9)
        for i, stage in enumerate(plan.stages):
            response, centre, _ = linear(stage.t)
            step = stage.A + stage.B[i] @ response
            mean = stage.A @ mean + stage.B[i] @ response @ (mean - centre)
            covariance = step @ covariance @ step.mT
            if stage.C is not None:
                covariance = covariance + stage.C @ stage.C.mT
            elif i < steps - 1:
                pytest.fail("a step without noise")
        _, want_mean, want = linear(0.3)
        scale = want.diagonal(dim1=-2, dim2=-1).sqrt()
        off = [(mean - want_mean).squeeze(-1) / scale, (covariance - want) / want.abs().max()]
        errors.append(max(part.abs().max().item() for part in off))
    assert errors[1] < 0.5 and 1.6 < errors[0] / errors[1] < 2.4, errors


@pytest.mark.slow
def test_cld_with_noise_has_the_moments_when_drawn():
    """20,000 pairs, each number within 5 of its own standard errors for normal draws; the error of
    2,000 steps (the test above) is below one.
    """
    cld, exact, n = CLD(), Exact(CLD()), 20_000
    generator = torch.Generator().manual_seed(1)

    def randn(x):
        return torch.randn(x.shape, generator=generator, dtype=torch.float64)

    mean, covariance = exact.moments(0.6)
    pairs = randn(torch.empty(n, 2)) @ torch.linalg.cholesky(covariance).T + mean
    plan = SAMPLERS["gddim"](cld, torch.linspace(0.6, 0.3, 1001).double(), lam=0.5)
    *_, last = solve(plan, exact, pairs.view(n, 2, 1, 1), randn)
    mean, covariance = exact.moments(0.3)
    got = last.view(n, 2)
    variance = covariance.diagonal()
    error = torch.sqrt((torch.outer(variance, variance) + covariance**2) / n)
    assert ((got.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
    assert ((got.T.cov() - covariance).abs() < 5 * error).all()


@pytest.mark.parametrize("process", [CLD(), Blur(8)], ids=["cld", "blur"])
def test_the_algebra_of_a_process_is_not_rounded_by_autocast(process):
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(3, 1, 8, 8, generator=generator)
    noise = torch.randn(3, process.groups, 8, 8, generator=generator)
    t = torch.tensor([1e-3, 0.5, 0.9])
    want = process.perturb(x0, t, noise), process.drop(noise), process.from_network(noise)
    with torch.autocast("cpu", torch.bfloat16):
        got = process.perturb(x0, t, noise), process.drop(noise), process.from_network(noise)
    for one, other in zip(got, want, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_what_the_processes_cannot_do_is_refused():
    grid = torch.linspace(1, 1e-3, 11).double()
    for name, options in (("rho_rk", {}), ("unipc", {}), ("ddpm", {}), ("ddim", {"eta": 1.0})):
        with pytest.raises(ValueError, match="numbers as coefficients only"):
            SAMPLERS[name](CLD(), grid, **options)
    for make in (SAMPLERS["ddim"], SAMPLERS["heun"], SAMPLERS["s_pndm"], rk45):
        with pytest.raises(ValueError, match="has no DDIM row"):
            make(CLD(parametrisation="L"), grid)
    with pytest.raises(ValueError, match="needs CLD's R parametrisation"):
        SAMPLERS["gddim"](CLD(parametrisation="L"), grid, lam=0.5)
    for process in (CLD(), Blur(8)):
        with pytest.raises(
            ValueError, match="eps scale skip is defined for the variance-preserving"
        ):
            SCALES["skip"](process)
    with pytest.raises(ValueError, match="grid karras is defined for processes with numbers"):
        GRIDS["karras"](Blur(8), 10)
    with pytest.raises(ValueError, match="lam 1 goes with order 0 and without corrector"):
        SAMPLERS["gddim"](CLD(), grid, order=2, lam=1.0)
    with pytest.raises(ValueError, match="gamma 0 is not valid; it should be a number above 0"):
        CLD(gamma=0.0)
    with pytest.raises(ValueError, match="parametrisation Q is not valid; it should be R or L"):
        CLD(parametrisation="Q")
    with pytest.raises(
        ValueError, match="image_size .* is not valid; it should be a whole number, at least 1"
    ):
        Blur(0)
