"""The last steps of DEIS in lambda, measured against DDIM on a mixture of Gaussians."""

import pytest
import torch

from functions.grids import GRIDS
from functions.process import VP, VPSDE
from functions.samplers import ddim, deis
from tests.functions.test_samplers import denoiser_of, noises, walk

FINE = {"vp": [0.0, -1.0], "vpsde": [1e-3]}  # ends of a fine walk


def end_errors(process, grid, plans):
    """Root mean square error of the samples of a mixture against a fine walk from grid[0]."""
    denoiser, x = denoiser_of("mixture", process), noises(1, 8, 1, 8, 8)[0]
    ends = FINE["vpsde" if process.steps is None else "vp"]
    fine = torch.cat([torch.linspace(float(grid[0]), ends[0], 300), torch.tensor(ends[1:])])
    exact = walk(deis(process, fine, 2, "rho"), denoiser, x)[-1]
    found = [walk(plan, denoiser, x)[-1] - exact for plan in plans]
    return [float(gap.square().mean().sqrt()) for gap in found]


@pytest.mark.slow
@pytest.mark.parametrize("process", [VP(), VPSDE()], ids=["vp", "vpsde"])
@pytest.mark.parametrize("steps", [5, 10, 20])
@pytest.mark.parametrize("order", [2, 3])
def test_deis_in_lambda_is_not_worse_than_ddim_on_a_uniform_grid(process, steps, order):
    """Its last rows once extrapolated over a step that is four times as long as the one before."""
    grid = GRIDS["uniform"](process, steps)
    plans = [
        ddim(process, grid),
        deis(process, grid, order, "lambda"),
        deis(process, grid, order, "lambda", lower_order_final=True),
        deis(process, grid, order, "lambda", lower_order_final=False),
    ]
    plain, usual, lowered, full = end_errors(process, grid, plans)
    assert usual == lowered < plain
    assert full > 2 * plain or steps == 5


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["logsnr", "karras"])
@pytest.mark.parametrize("steps", [10, 20])
def test_where_steps_in_lambda_are_even_deis_keeps_its_degree(grid, steps):
    times = GRIDS[grid](VP(), steps)
    usual, full, lowered = (
        deis(VP(), times, 3, "lambda", lower_order_final=lower) for lower in (None, False, True)
    )
    assert str(usual) == str(full) != str(lowered)
    kept, lost = end_errors(VP(), times, [full, lowered])
    assert kept < lost


def test_lowered_degrees_come_before_the_step_to_the_clean_end():
    plan = deis(VP(), GRIDS["uniform"](VP(), 8), 3, "lambda")
    assert [len(stage.B) for stage in plan.stages] == [1, 2, 3, 4, 3, 2, 1, 1]
    plan = deis(VPSDE(), GRIDS["uniform"](VPSDE(), 8), 3, "lambda")
    assert [len(stage.B) for stage in plan.stages] == [1, 2, 3, 4, 4, 3, 2, 1]
