"""Holes are filled as the known pixels demand: RePaint against a density known in closed form."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from functions.denoiser import Denoiser
from functions.editing.inpainting import Known, resampled, usual
from functions.grids import power, uniform
from functions.plan import Plan, apply, solve
from functions.process import CLD, VP, VPSDE, Blur
from functions.samplers import ddim, ddpm, deis, heun, rho_rk
from tests.analytic import ExactNet, Gauss

PROCESSES = {"vp": VP(), "vpsde": VPSDE(), "cld": CLD(), "cld_L": CLD(parametrisation="L")}
PROCESSES["blur"] = Blur(4)


class Pair(nn.Module):
    """Images of two pixels from two correlated Gaussians: the exact noise estimate, and what one
    pixel says about the other.
    """

    weights = torch.tensor([0.35, 0.65], dtype=torch.float64)
    means = torch.tensor([[1.0, -0.6], [-0.8, 0.5]], dtype=torch.float64)
    covariances = torch.tensor(
        [[[0.6, 0.4], [0.4, 0.7]], [[0.5, -0.3], [-0.3, 0.5]]], dtype=torch.float64
    )

    def __init__(self, process: VP) -> None:
        super().__init__()
        self.process = process

    def forward(self, x, t):
        alpha, sigma = self.process.alpha(t[0]), self.process.sigma(t[0])
        spread = alpha**2 * self.covariances + sigma**2 * torch.eye(2, dtype=torch.float64)
        gaps = x.flatten(1)[:, None] - alpha * self.means
        pulls = (torch.linalg.inv(spread) @ gaps[..., None])[..., 0]
        logs = self.weights.log() - 0.5 * ((gaps * pulls).sum(-1) + torch.logdet(spread))
        share = torch.softmax(logs, 1)[..., None]
        return (sigma * (share * pulls).sum(1)).view_as(x)

    def given(self, known: float) -> tuple[float, float]:
        """Mean and variance of the second pixel where the first is `known`."""
        own, cross = self.covariances[:, 0, 0], self.covariances[:, 0, 1]
        gap = known - self.means[:, 0]
        share = torch.softmax(self.weights.log() - 0.5 * (gap**2 / own + own.log()), 0)
        means = self.means[:, 1] + cross / own * gap
        variances = self.covariances[:, 1, 1] - cross**2 / own
        mean = float((share * means).sum())
        return mean, float((share * (variances + means**2)).sum()) - mean**2


def filled(plan: Plan, known: float, count: int) -> torch.Tensor:
    """The second pixel of `count` images whose first is known."""
    process = VP()
    denoiser = Denoiser(Pair(process), process)
    images = torch.tensor([known, torch.nan], dtype=torch.float64).expand(count, 1, 1, 2)
    hole = torch.tensor([False, True]).view(1, 1, 1, 2)
    generator = torch.Generator().manual_seed(0)

    def randn(x):
        return torch.randn(x.shape, generator=generator, dtype=x.dtype)

    project = Known(process, images, hole, randn, denoiser.x0)
    predict = partial(denoiser.answer, plan.basis)
    x = torch.empty(0)
    for x in solve(plan, predict, randn(images), randn, project):  # noqa: B007
        pass
    assert (x[..., 0] == known).all()
    return x[..., 1].flatten()


@pytest.mark.slow
@pytest.mark.parametrize("known", [0.5, -1.0])
def test_repaint_fills_with_the_right_mean_and_variance_and_replacement_does_not(known) -> None:
    plan = ddpm(VP(), uniform(VP(), 50))
    mean, variance = Pair(VP()).given(known)
    off, ratio = [], []
    for times in (1, 4, 20):  # once is plain replacement
        fills = filled(resampled(VP(), plan, 1, times), known, 1000)
        off.append(abs(float(fills.mean()) - mean) / variance**0.5)
        ratio.append(float(fills.var()) / variance)
    # 1000 fills: the mean is known to 0.032 deviations, the variance to about 5 percent; the
    # rest is RePaint's own error, which falls with `times`
    assert off[2] < 0.15 and abs(ratio[2] - 1) < 0.12, (off, ratio)
    assert off[0] > 0.3 and off[0] > off[1] > off[2], (off, ratio)


class Row:
    """Images of 1x1xNxN pixels from one correlated Gaussian: the exact noise estimate and clean
    image for any process, and what the left half says about the right one.
    """

    side, mean = 4, 0.2

    def __init__(self, process) -> None:
        n, eye = self.side, torch.eye(self.side**2, dtype=torch.float64)
        at = torch.cartesian_prod(*[torch.arange(n, dtype=torch.float64)] * 2)
        self.covariance = 0.25 * torch.exp(-torch.cdist(at, at) / 2)
        lifts = process.lift(eye.view(-1, 1, n, n))
        self.process, self.lift, self.shape = process, lifts.flatten(1).mT, lifts.shape[1:]
        self.center = self.lift @ torch.full((n * n,), self.mean, dtype=torch.float64)
        self.hole = torch.zeros(1, 1, n, n, dtype=torch.bool)
        self.hole[..., n // 2 :] = True

    def parts(self, x, t):
        """Gain of the state, its noise, and its gap to the mean times the inverse covariance."""
        time = torch.tensor(t, dtype=torch.float64)
        eye = torch.eye(len(self.lift), dtype=torch.float64).view(-1, *self.shape)
        gain = apply(self.process.mean(time), eye).flatten(1).mT
        noise = apply(self.process.factor(time), eye).flatten(1).mT
        spread = gain @ self.lift @ self.covariance @ self.lift.mT @ gain.mT + noise @ noise.mT
        gap = x.flatten(1).mT - (gain @ self.center)[:, None]
        return gain, noise, torch.linalg.solve(spread, gap)

    def eps(self, x, t):
        _, noise, pull = self.parts(x, t)
        return (noise.mT @ pull).mT.reshape(x.shape)

    def x0(self, x, t):
        gain, _, pull = self.parts(x, t)
        change = self.lift @ self.covariance @ self.lift.mT @ gain.mT @ pull
        return (self.center[:, None] + change).mT.reshape(x.shape)

    def error(self, plan: Plan, count: int) -> float:
        """How far the mean of the fills of two images is off, in deviations, root mean square."""
        hole, gaps = self.hole.flatten(), []
        generator = torch.Generator().manual_seed(0)

        def randn(x):
            return torch.randn(x.shape, generator=generator, dtype=torch.float64)

        own = self.covariance[~hole][:, ~hole]
        gain = torch.linalg.solve(own, self.covariance[~hole][:, hole]).mT
        left = self.covariance[hole][:, hole] - gain @ self.covariance[~hole][:, hole]
        for level in (-0.5, 0.9):
            image = torch.full((count, 1, self.side, self.side), level, dtype=torch.float64)
            project = Known(self.process, image, self.hole, randn, self.x0)
            start = self.process.prior(tuple(image.shape), randn).double()
            *_, x = solve(plan, self.eps, start, randn, project)
            fills = self.process.drop(x).flatten(1)[:, hole].mean(0)
            gap = fills - self.mean - gain @ (image[0].flatten()[~hole] - self.mean)
            gaps.append(gap / left.diagonal().sqrt())
        return float(torch.stack(gaps).square().mean().sqrt())


@pytest.mark.slow
@pytest.mark.parametrize("process", [VPSDE(), CLD(), Blur(Row.side)], ids=["vpsde", "cld", "blur"])
def test_what_repaint_does_by_itself_is_better_than_replacement(process) -> None:
    exact, plan = Row(process), ddim(process, power(process, 30))
    jump, times = usual(process, plan)
    plain = exact.error(plan, 300)
    repaint = exact.error(resampled(process, plan, jump, times), 300)
    # 300 fills: a mean is known to 0.06 deviations; the rest is RePaint's own error: 0.09, 0.20
    # of CLD and 0.18, where replacement is off by 0.60, 0.45 and 0.83
    assert repaint < 0.3 and repaint < 0.6 * plain, (plain, repaint)


def test_the_usual_jump_goes_with_the_process_and_is_no_longer_than_the_walk() -> None:
    for process, steps, jump in ((VP(), 9, 2), (VP(), 2, 1), (CLD(), 30, 9), (CLD(), 3, 1)):
        plan = ddim(process, uniform(process, steps))
        assert usual(process, plan) == (jump, 10)
        resampled(process, plan, *usual(process, plan))
    with pytest.raises(ValueError, match="answers of earlier steps"):
        usual(VP(), deis(VP(), uniform(VP(), 5), 1))


@pytest.mark.parametrize("name", PROCESSES)
def test_the_way_back_up_is_the_process_itself(name) -> None:
    process = PROCESSES[name]
    sampler = deis if name == "cld_L" else ddim
    options = {"order": 0} if name == "cld_L" else {}
    plan = sampler(process, uniform(process, 7), **options)
    walked = resampled(process, plan, 3, 2)
    ups = [stage for stage in walked.stages if not stage.evaluate]
    assert len(ups) == 2 and walked.nfe == 7 + 2 * 3
    for up in ups:
        s, t = torch.tensor([up.s, up.t], dtype=torch.float64)
        assert s > t
        early, late = process.factor(t), process.factor(s)
        covariance = up.A @ early @ early.mT @ up.A.mT + up.C @ up.C.mT
        assert torch.allclose(covariance, (late @ late.mT).expand_as(covariance), atol=1e-12)
        assert torch.allclose(up.A @ process.mean(t), process.mean(s), atol=1e-12)


def test_steps_are_repeated_in_blocks_that_end_before_the_last_one() -> None:
    plan = ddim(VP(), torch.tensor([900.0, 700, 500, 300, 100, 0, -1]))
    stages = resampled(VP(), plan, 2, 3).stages
    block = [(700, 500), (500, 300)]
    end = [(300, 100), (100, 0)]
    up, again = [(300, 700)], [(0, 300)]
    expected = [(900, 700), *block, *up, *block, *up, *block]
    expected += [*end, *again, *end, *again, *end, (0, -1)]
    assert [(stage.t, stage.s) for stage in stages] == expected
    assert str(resampled(VP(), plan, 5, 1)) == str(plan)


@pytest.mark.parametrize("build", [ddim, ddpm, heun, rho_rk])
def test_without_a_mask_resampling_keeps_the_distribution(build) -> None:
    process = VP()
    denoiser = Denoiser(ExactNet(Gauss(), process), process)
    options = {"churn": 20.0} if build is heun else {}
    plan = resampled(process, build(process, uniform(process, 40), **options), 4, 3)
    torch.manual_seed(0)
    x, predict = torch.randn(40, 1, 10, 10).double(), denoiser.eps
    predict = denoiser.x0 if plan.basis == "x0" else predict
    *_, x = solve(plan, predict, x)
    assert float(x.mean()) == pytest.approx(Gauss.mean, abs=0.03)
    assert float(x.std()) == pytest.approx(Gauss.std, rel=0.1)


def test_what_cannot_be_resampled_is_refused() -> None:
    plan = ddim(VP(), uniform(VP(), 5))
    with pytest.raises(ValueError, match="answers of earlier steps.*take a sampler without"):
        resampled(VP(), deis(VP(), uniform(VP(), 5), 1), 2, 2)
    with pytest.raises(ValueError, match="back 5 steps needs a walk of at least 6, not 5"):
        resampled(VP(), plan, 5, 2)
    with pytest.raises(ValueError, match="at least 1, not 2 and 0"):
        resampled(VP(), plan, 2, 0)


@pytest.mark.parametrize("name", ["vp", "cld", "blur"])
def test_what_the_hole_hides_is_never_looked_at(name) -> None:
    process = PROCESSES[name]
    hole = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    hole[..., 1:3, 1:3] = True
    images = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    others = torch.where(hole, torch.inf, images)
    x = process.lift(torch.randn(2, 1, 4, 4, dtype=torch.float64))
    times = {"vp": [800.0, 0.0, -1.0], "cld": [0.9, 1e-3], "blur": [0.9, 0.5, 1e-5]}[name]
    for t in times:
        states = [
            Known(process, given, hole, torch.ones_like, lambda x, t: x)(x, t)
            for given in (images, others)
        ]
        assert states[0].isfinite().all() and torch.equal(*states)
    shown = process.drop(states[0])
    assert torch.allclose(shown.masked_fill(hole, 0), images.masked_fill(hole, 0), atol=0.2)
    if name == "vp":
        assert torch.equal(shown, torch.where(hole, x, images))


def test_holes_of_blurred_images_are_filled_by_the_models_own_estimate() -> None:
    process, mean, std = Blur(4), 0.2, 0.3
    grid = power(process, 60)

    def network(x, t):  # exact for independent pixels N(mean, std^2)
        time = t[0] / 999
        at, factor = process.mean(time), process.factor(time)
        center = apply(at, process.lift(torch.full_like(x, mean)))
        coef = factor / (at**2 * std**2 + factor**2)
        return process.to_network(apply(coef, process.from_network(x) - center))

    denoiser = Denoiser(network_of(network), process)
    hole = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    hole[..., 2:] = True
    torch.manual_seed(0)
    images = mean + std * torch.randn(500, 1, 4, 4).double()
    project = Known(process, images, hole, torch.randn_like, denoiser.x0)
    start = process.prior(tuple(images.shape), torch.randn_like).double()
    *_, x = solve(ddim(process, grid), denoiser.eps, start, project=project)
    fills = process.drop(x)[hole.expand_as(images)]
    assert float(fills.mean()) == pytest.approx(mean, abs=0.05)
    assert float(fills.std()) == pytest.approx(std, rel=0.25)


def network_of(function) -> nn.Module:
    made = nn.Module()
    made.forward = function
    return made
