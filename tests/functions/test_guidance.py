"""Guidance of exact denoisers: what is asked of the network, and what comes of its answers."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from functions import adaptive
from functions.denoiser import Denoiser, Scaled
from functions.grids import GRIDS
from functions.guidance import Guided, rows_asked
from functions.plan import solve
from functions.process import CLD, VP, VPSDE, Blur, Flow
from functions.samplers import SAMPLERS
from tests.analytic import ExactNet, Gauss, Mixture

MEANS = torch.tensor([0.4, -0.5, 0.1], dtype=torch.float64)  # of two classes, and of no class
STD, NONE = 0.5, 2
VPROCESS = VP()


class Toy(nn.Module):
    """Exact network of pixels that are N(mean of the class, STD^2), in any parametrisation; adds
    `worse` to the means. Keeps the labels that it was asked with.
    """

    def __init__(self, process, predicts: str = "eps", worse: float = 0.0, learned=False) -> None:
        super().__init__()
        self.process, self.predicts, self.worse, self.learned = process, predicts, worse, learned
        self.asked: list[list[int]] = []

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        self.asked.append(label.tolist())
        own = t / 999 if self.process.steps is None else t  # VPSDE tells the network 999 t
        alpha = self.process.alpha(own.double()).view(-1, 1, 1, 1).to(x)
        sigma = (1 - alpha**2).sqrt()
        mean = (MEANS[label] + self.worse).view(-1, 1, 1, 1).to(x)
        eps = sigma * (x - alpha * mean) / (alpha**2 * STD**2 + sigma**2)
        x0 = (x - sigma * eps) / alpha
        answer = {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0}[self.predicts]
        return torch.cat([answer, 0 * x + mean], 1) if self.learned else answer


class Plain(Toy):
    """The exact network of one mean, whatever the label."""

    def __init__(self, process, mean: float) -> None:
        super().__init__(process, worse=mean - float(MEANS[0]))

    def forward(self, x: Tensor, t: Tensor, label: None = None) -> Tensor:
        return super().forward(x, t, torch.zeros(len(x), dtype=torch.int64))


def noise(n: int = 4) -> Tensor:
    return torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


LABEL = torch.tensor([0, 1, 1, 0])
TELLS = (lambda d: d.eps, lambda d: d.x0, lambda d: d.raw_eps, lambda d: d)


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
@pytest.mark.parametrize("tell", TELLS)
@pytest.mark.parametrize("t", [500.0, torch.tensor([100.0, 400.0, 700.0, 999.0])])
def test_the_answer_lies_on_the_line_through_both_predictions(predicts, tell, t) -> None:
    plain, x = Denoiser(Toy(VPROCESS, predicts), VPROCESS, predicts), noise()
    own, other = (tell(plain)(x, t, label) for label in (LABEL, torch.full((4,), NONE)))
    for weight in (0.0, 0.5, 1.0, 2.0, 4.0):
        guided = Guided(plain, weight, no_class=NONE).given(LABEL)
        wanted = other + weight * (own - other)
        torch.testing.assert_close(tell(guided)(x, t), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("weight", "asked"),
    [(0.0, [[2, 2, 2, 2]]), (1.0, [[0, 1, 1, 0]]), (3.0, [[0, 1, 1, 0, 2, 2, 2, 2]])],
)
def test_both_halves_are_one_batch_and_only_what_counts_is_asked(weight, asked) -> None:
    network = Toy(VPROCESS)
    guided = Guided(Denoiser(network, VPROCESS), weight, no_class=NONE)
    guided.eps(noise(), 500.0, LABEL)
    assert network.asked == asked
    assert rows_asked(guided, 500.0) * 4 == len(asked[0])


def test_outside_of_the_interval_the_weight_is_one() -> None:
    network = Toy(VPROCESS)
    plain = Denoiser(network, VPROCESS)
    guided = Guided(plain, 3.0, 0.2, 0.8, NONE).given(LABEL)
    levels = torch.tensor([0.1, 0.5, 0.8, 0.9], dtype=torch.float64)
    times = VPROCESS.time_of(levels)
    everywhere = Guided(plain, 3.0, no_class=NONE)
    inside = everywhere.eps(noise(), times, LABEL)
    wanted = torch.where(levels.view(-1, 1, 1, 1) <= 0.8, inside, plain.eps(noise(), times, LABEL))
    wanted[0] = plain.eps(noise(), times, LABEL)[0]
    torch.testing.assert_close(guided.eps(noise(), times), wanted, rtol=0, atol=1e-12)
    network.asked.clear()
    for t in (float(times[0]), float(times[1]), float(times[3]), times[2:3].expand(4) - 1e-3):
        guided.eps(noise(), t)
    assert [len(asked) for asked in network.asked] == [4, 8, 4, 8]
    assert [rows_asked(guided, float(t)) for t in times[[0, 1, 3]]] == [1, 2, 1]
    assert torch.equal(
        guided.eps(noise(), float(times[3])), plain.eps(noise(), float(times[3]), LABEL)
    )


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
@pytest.mark.parametrize("weak", ["eps", "v"])
def test_a_guide_takes_the_place_of_the_unconditional_half(predicts, weak) -> None:
    strong = Denoiser(Toy(VPROCESS, predicts), VPROCESS, predicts)
    guide = Denoiser(Toy(VPROCESS, weak, worse=0.3), VPROCESS, weak)
    x, t = noise(), 600.0
    own, other = (d.eps(x, t, LABEL) for d in (strong, guide))
    for weight in (0.0, 1.0, 2.5):
        guided = Guided(strong, weight, guide=guide).given(LABEL)
        wanted = other + weight * (own - other)
        torch.testing.assert_close(guided.eps(x, t), wanted, rtol=0, atol=1e-10)
    assert strong.network.asked[-1] == guide.network.asked[-1] == LABEL.tolist()


def test_a_guide_works_without_classes() -> None:
    strong, guide = (Denoiser(Plain(VPROCESS, mean), VPROCESS) for mean in (0.2, 0.5))
    own, other = (d.eps(noise(), 300.0) for d in (strong, guide))
    found = Guided(strong, 2.0, guide=guide).eps(noise(), 300.0)
    torch.testing.assert_close(found, 2 * own - other, rtol=0, atol=1e-12)


def test_a_learned_variance_is_the_conditional_one() -> None:
    plain = Denoiser(Toy(VPROCESS, learned=True), VPROCESS, variance="learned")
    for weight, mean in ((0.0, MEANS[[NONE] * 4]), (1.0, MEANS[LABEL]), (2.0, MEANS[LABEL])):
        v = Guided(plain, weight, no_class=NONE).given(LABEL).posterior(noise(), 300.0).v
        torch.testing.assert_close(v[:, 0, 0, 0], mean)


def test_eps_scales_around_and_inside_are_the_same_and_clipping_is_last() -> None:
    plain = Denoiser(Toy(VPROCESS), VPROCESS, clip=0.3)

    def scale(t: Tensor) -> Tensor:
        return 1 + t / 5000

    around = Scaled(Guided(plain, 4.0, no_class=NONE), scale).given(LABEL)
    inside = Guided(Scaled(plain, scale), 4.0, no_class=NONE).given(LABEL)
    for tell in TELLS:
        torch.testing.assert_close(tell(around)(noise(), 700.0), tell(inside)(noise(), 700.0))
    assert rows_asked(around, 700.0) == 2
    assert float(around.x0(noise(), 700.0).abs().max()) == 0.3


@pytest.mark.parametrize(
    "sampler",
    ["ddim", "ddpm", "ipndm", "deis", "heun", "dpm_solver_pp", "unipc", "gddim", "rho_rk"],
)
@pytest.mark.parametrize("process", [VP(), VPSDE()], ids=["vp", "vpsde"])
def test_every_sampler_walks_to_the_guided_distribution(sampler, process) -> None:
    """Guidance between Gaussians of one deviation is the Gaussian of the mean on their line."""
    grid = GRIDS["quad"](process, 8)
    given = {"tableau": "heun"} if sampler == "rho_rk" else {}
    plan = SAMPLERS[sampler](process, grid, **given)
    weight, x = 2.0, noise()
    guided = Guided(Denoiser(Toy(process), process), weight, no_class=NONE).given(LABEL)
    tell = partial(guided.answer, plan.basis)
    *_, found = solve(plan, tell, x, randn=torch.zeros_like)
    for row, label in enumerate(LABEL.tolist()):
        mean = float(MEANS[NONE] + weight * (MEANS[label] - MEANS[NONE]))
        exact = Denoiser(Plain(process, mean), process)
        tell = partial(exact.answer, plan.basis)
        *_, wanted = solve(plan, tell, x[row : row + 1], randn=torch.zeros_like)
        torch.testing.assert_close(found[row : row + 1], wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("levels", [(0.0, float("inf")), (0.2, 2.0)])
def test_the_adaptive_solver_tells_every_row_its_own_label(levels) -> None:
    flow = adaptive.Adaptive(VPROCESS, 999.0, -1.0, 1e-5, 1e-5)
    guided = Guided(Denoiser(Toy(VPROCESS), VPROCESS), 2.0, *levels, NONE)
    solved = partial(adaptive.solve, flow, guided.eps)
    *_, together = solved(noise(), label=LABEL)
    for row in range(4):
        *_, alone = solved(noise()[row : row + 1], label=LABEL[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)
    means = together.flatten(1).mean(1)
    assert min(means[[0, 3]]) > max(means[[1, 2]])


class Shift(nn.Module):
    """Any state, moved by a number of its label's."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return x.tanh() + label.view(-1, 1, 1, 1)


@pytest.mark.parametrize("process", [CLD(), Blur(2)], ids=["cld", "blur"])
def test_processes_of_other_kinds_are_guided_but_have_no_noise_levels(process) -> None:
    plain = Denoiser(Shift(), process)
    x = noise().repeat(1, process.groups, 1, 1)
    own, other = (plain.eps(x, 0.5, label) for label in (LABEL, torch.full((4,), NONE)))
    found = Guided(plain, 3.0, no_class=NONE).eps(x, 0.5, LABEL)
    torch.testing.assert_close(found, other + 3 * (own - other))
    with pytest.raises(ValueError, match="guidance interval"):
        Guided(plain, 3.0, 0.2, 0.8, NONE)


def test_what_cannot_be_guided_is_refused() -> None:
    plain = Denoiser(Toy(VPROCESS), VPROCESS)
    with pytest.raises(ValueError, match="no class, or a guide"):
        Guided(plain, 2.0)
    with pytest.raises(ValueError, match="process of the denoiser"):
        Guided(plain, 2.0, guide=Denoiser(Toy(VPSDE()), VPSDE()))
    with pytest.raises(ValueError, match="needs labels"):
        Guided(plain, 2.0, no_class=NONE).eps(noise(), 3.0)


def test_labels_are_given_once_and_may_still_be_named() -> None:
    plain = Denoiser(Toy(VPROCESS), VPROCESS)
    told = plain.given(LABEL)
    assert told.network is plain.network and told._kept is plain._kept and plain.label is None
    assert torch.equal(told.eps(noise(), 5.0), plain.eps(noise(), 5.0, LABEL))
    told.eps(noise(), 5.0, 1 - LABEL)
    assert plain.network.asked[-1] == (1 - LABEL).tolist()
    assert Scaled(plain, torch.ones_like).given(LABEL).eps(noise(), 5.0).shape == noise().shape


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight": -2.0}, "weight -2 is not valid"),
        ({"weight": float("nan")}, "weight"),
        ({"low": 5.0, "high": 1.0}, "low below high, not 5 and 1"),
        ({"guide": Denoiser(nn.Identity(), VP(schedule="cosine", steps=100))}, "needs the process"),
        ({"guide": Denoiser(nn.Identity(), VP(schedule="cosine"))}, "needs the process"),
    ],
)
def test_numbers_and_guides_that_do_not_fit_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Guided(Denoiser(nn.Identity(), VP()), **{"weight": 2.0, "no_class": 1, **options})


def test_guidance_0_by_a_guide_without_variances_is_refused():
    learned = Denoiser(nn.Identity(), VP(), variance="learned")
    with pytest.raises(ValueError, match="has no learned variance"):
        Guided(learned, 0.0, guide=Denoiser(nn.Identity(), VP()))


def test_guidance_is_scaled_back_to_the_spread_of_the_own_answer():
    """2305.08891, eq. 15 and 16: all of it, a part of it, none of it."""
    plain, x = Denoiser(Toy(VPROCESS), VPROCESS), noise()

    def ask(rescale):
        guided = Guided(plain, 6.0, no_class=NONE, rescale=rescale)
        return guided.given(LABEL)(x, 600.0)

    def spread(answer):
        return answer.flatten(1).std(1)

    own, full = plain(x, 600.0, LABEL), ask(0.0)
    torch.testing.assert_close(spread(ask(1.0)), spread(own))
    torch.testing.assert_close(ask(0.3), 0.3 * ask(1.0) + 0.7 * full)
    with pytest.raises(ValueError, match="rescale 1.5 is not valid"):
        Guided(plain, 6.0, no_class=NONE, rescale=1.5)


@pytest.mark.parametrize("weight", [0.0, 2.0])
@pytest.mark.parametrize(("strong", "weak"), [("velocity", "v"), ("x0", "velocity"), ("v", "x0")])
def test_a_guide_of_another_prediction_where_there_is_no_signal(strong, weak, weight) -> None:
    """At t = 1 of flow, where an estimate of the noise tells nothing of the image."""
    flow, model, other, x = Flow(), Gauss(), Mixture(), noise()
    one = Denoiser(ExactNet(model, flow, strong), flow, strong)
    two = Denoiser(ExactNet(other, flow, weak), flow, weak)
    guided = Guided(one, weight, guide=two)
    for t in (1.0, 0.4):
        want = two.x0(x, t) + weight * (one.x0(x, t) - two.x0(x, t))
        torch.testing.assert_close(guided.x0(x, t), want, rtol=0, atol=1e-12)
