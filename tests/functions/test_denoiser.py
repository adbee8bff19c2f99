import json

import pytest
import torch
from torch import nn

from functions.denoiser import Denoiser
from functions.process import CLD, VP, VPSDE, Blur
from main import main
from tests.analytic import MODELS, ExactNet
from tests.commands import TINY

PREDICTS = ["eps", "x0", "v"]
PROCESSES = {"vp": VP(), "vpsde": VPSDE()}


def states(n=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 4, 4, generator=generator, dtype=torch.float64).to(dtype)


def some_times(process):
    return torch.tensor([3, 500, 999] if process.steps else [0.01, 0.5, 1.0])


class Constant(nn.Module):
    """Answers what it is told."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x, t, label=None):
        return self.answer


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("predicts", PREDICTS)
def test_every_parametrisation_gives_the_same_noise_and_data(predicts, kind, process):
    model, x, t = MODELS[kind], states(), some_times(process)
    denoiser = Denoiser(ExactNet(model, process, predicts), process, predicts)
    alpha, sigma = (f(t.double()).view(-1, 1, 1, 1) for f in (process.alpha, process.sigma))
    eps = model.eps(x, alpha**2)
    torch.testing.assert_close(denoiser.eps(x, t), eps, rtol=0, atol=1e-11)
    # x0 = (x - sigma eps)/alpha, alpha = 6e-3 at the noisy end
    want = (x - sigma * eps) / alpha
    torch.testing.assert_close(denoiser.x0(x, t), want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("predicts", PREDICTS)
def test_a_network_that_answers_the_target_recovers_noise_and_data(predicts, process):
    x0, noise, t = states(), states(seed=1), some_times(process)
    probe = Denoiser(Constant(None), process, predicts)
    denoiser = Denoiser(Constant(probe.target(x0, noise, t)), process, predicts)
    x = process.perturb(x0, t, noise)
    torch.testing.assert_close(denoiser.eps(x, t), noise, rtol=0, atol=1e-11)
    torch.testing.assert_close(denoiser.x0(x, t), x0, rtol=0, atol=1e-11)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("predicts", PREDICTS)
def test_a_number_means_the_same_time_for_every_sample(predicts, process):
    x, t = states(), float(some_times(process)[1])
    denoiser = Denoiser(ExactNet(MODELS["mixture"], process, predicts), process, predicts, clip=0.7)
    for ask in (denoiser, denoiser.eps, denoiser.x0):
        one, many = ask(x, t), ask(x, torch.full((3,), t, dtype=torch.float64))
        torch.testing.assert_close(one, many, rtol=1e-12, atol=1e-13)
        alone = torch.cat([ask(x[i : i + 1], t) for i in range(3)])
        torch.testing.assert_close(one, alone, rtol=1e-12, atol=1e-13)


def test_the_network_is_told_the_index_or_999_t():
    for process, t, told in ((VP(), 417.5, 417.5), (VPSDE(), 0.5, 499.5)):
        net = ExactNet(MODELS["gauss"], process)
        Denoiser(net, process).eps(states(), t)
        assert net.times[0].tolist() == [told]


def test_discrete_training_times_reach_the_network_as_they_are():
    net = ExactNet(MODELS["gauss"], VP())
    Denoiser(net, VP()).eps(states(), torch.tensor([0, 5, 999]))
    assert net.times[0].tolist() == [0, 5, 999] and net.times[0].dtype == torch.int64


@pytest.mark.parametrize("predicts", PREDICTS)
def test_clip_bounds_the_data_and_keeps_x_consistent(predicts):
    process, t, x = VP(), 700.0, 3 * states()
    net = ExactNet(MODELS["mixture"], process, predicts)
    free, clipped = Denoiser(net, process, predicts), Denoiser(net, process, predicts, clip=0.2)
    want = free.x0(x, t).clamp(-0.2, 0.2)
    assert (free.x0(x, t) != want).any() and (free.x0(x, t) == want).any()
    torch.testing.assert_close(clipped.x0(x, t), want)
    alpha, sigma = process.alpha(torch.tensor(t)), process.sigma(torch.tensor(t))
    torch.testing.assert_close(alpha * clipped.x0(x, t) + sigma * clipped.eps(x, t), x)


def test_clip_leaves_the_networks_own_answer_and_the_target_alone():
    process, t, x = VP(), torch.tensor([700, 800, 900]), 3 * states()
    net = ExactNet(MODELS["mixture"], process, "x0")
    free, clipped = Denoiser(net, process, "x0"), Denoiser(net, process, "x0", clip=0.1)
    assert torch.equal(free(x, t), clipped(x, t))
    assert torch.equal(free.target(x, x, t), clipped.target(x, x, t))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("predicts", PREDICTS)
def test_the_dtype_of_x_is_kept(predicts, dtype):
    x = states(dtype=dtype)
    denoiser = Denoiser(Constant(x), VP(), predicts, clip=1.0)
    for t in (10.0, torch.tensor([1, 2, 3]), torch.tensor([1.0, 2.0, 3.0])):
        assert denoiser.eps(x, t).dtype == denoiser.x0(x, t).dtype == dtype
        assert denoiser.target(x, x, torch.tensor([1, 2, 3])).dtype == dtype


@pytest.mark.parametrize("predicts", PREDICTS)
def test_an_answer_in_low_precision_is_brought_back_to_the_dtype_of_x(predicts):
    """Autocast: the network computes in bfloat16, everything around it in the dtype of x."""
    x, t = states(dtype=torch.float32), torch.tensor([100, 200, 300])
    denoiser = Denoiser(Constant(x.bfloat16()), VP(), predicts)
    for ask in (denoiser, denoiser.eps, denoiser.raw_eps, denoiser.x0):
        assert ask(x, t).dtype == torch.float32
    exact = Denoiser(Constant(x.bfloat16().float()), VP(), predicts)
    assert torch.equal(denoiser.x0(x, t), exact.x0(x, t))


def test_a_label_is_passed_on_and_left_out_where_there_is_none():
    seen = []

    class Net(nn.Module):
        def forward(self, x, t, *label):
            seen.append(label)
            return x

    denoiser, x, label = Denoiser(Net(), VP()), states(), torch.tensor([1, 2, 3])
    denoiser.eps(x, 5.0), denoiser.x0(x, 5.0, label)
    assert seen == [(), (label,)]


def test_it_holds_the_networks_weights_and_nothing_else():
    net = nn.Conv2d(2, 2, 1)
    names = list(Denoiser(net, VP()).state_dict())
    assert names == ["network.weight", "network.bias"]


def test_unknown_parametrisations_are_refused():
    with pytest.raises(
        ValueError, match="predicts score is not valid; it should be eps, x0, v, velocity or edm"
    ):
        Denoiser(nn.Identity(), VP(), predicts="score")


@pytest.mark.parametrize("process", [VP(), VPSDE(), CLD(), CLD(parametrisation="L"), Blur(4)])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9])
def test_a_mixed_score_is_the_best_linear_guess_for_normal_data(process, part):
    """Data and noise span a normal space: summed over its unit vectors, what is left of the noise
    is orthogonal to x. With a network that tells the rest, the noise is exact."""
    t = torch.tensor(round(part * 999) if process.steps else part, dtype=torch.float64)
    size = 16 * (1 + process.groups)
    vectors = torch.eye(size, dtype=torch.float64).view(size, 1 + process.groups, 4, 4)
    x0, noise, times = vectors[:, :1], vectors[:, 1:], t.expand(size)
    x = process.perturb(x0, times, noise)
    guess = Denoiser(Constant(torch.zeros_like(x)), process, mixed="normal").eps(x, float(t))
    left = noise - guess
    torch.testing.assert_close(
        torch.einsum("bi,bj->ij", left.flatten(1), x.flatten(1)),
        torch.zeros(x[0].numel(), x[0].numel(), dtype=torch.float64),
        rtol=0,
        atol=1e-12,
    )
    rest = Denoiser(Constant(process.to_network(left)), process, mixed="normal")
    torch.testing.assert_close(rest.eps(x, float(t)), noise, rtol=0, atol=1e-12)


def test_what_a_denoiser_cannot_be_is_refused():
    for process, options, text in (
        (CLD(), {"predicts": "v"}, "numbers as coefficients only"),
        (VP(), {"predicts": "x0", "mixed": "normal"}, "needs predicts eps"),
        (VP(), {"predicts": "x1"}, "it should be eps, x0, v, velocity or edm"),
        (VP(), {"clip": 0.0}, "clip 0 is not valid"),
        (VP(), {"mixed": "yes"}, "it should be none, normal or velocity"),
        (Blur(4), {"mixed": "velocity"}, "needs a process that has one"),
    ):
        with pytest.raises(ValueError, match=text):
            Denoiser(Constant(None), process, **options)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["digits", "digits_cld", "digits_blur"])
def test_a_trained_model_is_opened_with_its_mixed_score(tmp_path, config):
    """What training saved as its held-out loss, --test finds again."""
    words = ["--exp", str(tmp_path), "--doc", "run", "--training.n_iters", "2"]
    words += ["--config", f"{config}.yml", "--diffusion.mixed_score", "normal"]
    words += ["--training.validation_freq", "2"]
    assert main([*TINY, *words, "--optim.warmup", "0"]) == 0
    lines = (tmp_path / "logs/run/metrics.jsonl").read_text().splitlines()
    saved = [json.loads(line) for line in lines]
    assert main(["--exp", str(tmp_path), "--doc", "run", "--test", "--ni", "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "logs/run/test-2.json").read_text())
    losses = [values["loss"] for values in found["losses"].values()]
    want = next(line["held_out/loss"] for line in saved if "held_out/loss" in line)
    assert any(abs(loss - want) < 1e-6 * want for loss in losses), (losses, want)


def test_the_wrong_loss_for_a_runs_process_is_refused(tmp_path, capsys):
    words = ["--exp", str(tmp_path), "--doc", "run", "--training.n_iters", "1"]
    assert main([*TINY, *words, "--config", "digits_cld.yml"]) == 0
    assert main(["--exp", str(tmp_path), "--doc", "run", "--test", "--config", "digits.yml"]) != 0
    assert "L_skip is defined for the variance-preserving" in capsys.readouterr().err
