"""Every sampler converges at its order, on every process, and all of them to one end.

tests/orders.py measures; `python benchmarks/orders.py` prints the table of docs/samplers.md.
"""

import pytest
import torch

from functions import adaptive
from functions.plan import solve
from functions.process import EDM, VP, VPSDE, Flow
from functions.samplers import SAMPLERS
from tests.orders import LATE, ORDERS, WALKS, data, defined, ends, order

CASES = [(name, *case) for case in ORDERS for name in WALKS if defined(name, *case[:2])]


@pytest.mark.slow
@pytest.mark.parametrize(("walk", "sampler", "options", "want"), CASES, ids=str)
def test_a_sampler_converges_at_its_order(walk, sampler, options, want):
    """Halving the step divides the error by 2^order."""
    seen, error = order(walk, sampler, options)
    late = (sampler, options) in LATE
    assert want - (0.8 if late else 0.4) < seen < want + (2.3 if late else 0.7), (seen, error)
    assert error < (0.3 if sampler == "euler" else 0.1)


def test_every_sampler_is_measured_on_every_process_that_has_it():
    """ddpm is noise all over, rk45 chooses its own steps; those two are measured elsewhere."""
    assert {name for name, _, _ in ORDERS} == SAMPLERS.keys() - {"ddpm", "rk45"}
    for sampler, options, _ in ORDERS:
        for name, walk in WALKS.items():
            if sampler != "classical" and not defined(name, sampler, options):
                grid = torch.linspace(walk.t, walk.s, 9)
                with pytest.raises(
                    ValueError, match="numbers as coefficients|begin the grid later"
                ):
                    SAMPLERS[sampler](walk.process, grid, **options)


# --- equal ends -------------------------------------------------------------------------------

SCALARS = {"vp": VP(), "cosine": VP("cosine"), "vpsde": VPSDE(), "flow": Flow(), "edm": EDM()}
LEVELS = torch.tensor([80.0, 0.02], dtype=torch.float64)  # of sigma/alpha: begin and end
TIGHT = {"rtol": 1e-11, "atol": 1e-11}


def start():
    """A state without its signal scale at the first level: one on all processes."""
    generator = torch.Generator().manual_seed(0)
    return LEVELS[0] * torch.randn(1, 1, 4, 4, generator=generator, dtype=torch.float64)


def end(process, sampler, options, steps):
    """End of a walk between the two levels, without its signal scale."""
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    times = process.time_of(torch.exp(torch.lerp(*LEVELS.log(), share)))
    plan = SAMPLERS[sampler](process, times, **options)
    walk = adaptive.solve if sampler == "rk45" else solve
    x = start() * process.alpha(times[0])
    *_, x = walk(plan, lambda x, t: data().answers(process, x, t)[plan.basis], x)
    return x / process.alpha(times[-1])


def extrapolated(process, sampler, options, steps):
    """Richardson's extrapolation of a method of first order with a smooth grid."""
    row = [end(process, sampler, options, steps * 2**k) for k in range(6)]
    for power in range(1, 6):
        row = [b + (b - a) / (2**power - 1) for a, b in zip(row[:-1], row[1:], strict=True)]
    return row[0]


@pytest.mark.slow
@pytest.mark.parametrize("process", SCALARS.values(), ids=SCALARS)
def test_all_processes_lead_from_equal_noise_to_equal_data(process):
    """VP, flow and EDM are one flow in x/alpha and sigma/alpha. Methods that walk in other
    coordinates, and the exact quantiles, agree on its end to 1e-8.
    """
    edm = EDM()
    want = data().flow(edm, start(), *edm.time_of(LEVELS).tolist())
    for got in (
        end(process, "rk45", TIGHT, 1),
        end(process, "rho_rk", {"tableau": "rk4"}, 350),
        extrapolated(process, "ddim", {}, 16),
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_flow_begins_without_signal_and_ends_where_it_should():
    """From t = 1, to a little noise: the adaptive walk against the exact quantiles."""
    x, flow = ends("flow")[0], Flow()
    times = torch.tensor([1.0, 0.02], dtype=torch.float64)
    plan = SAMPLERS["rk45"](flow, times, **TIGHT)
    *_, got = adaptive.solve(plan, lambda x, t: data().answers(flow, x, t)[plan.basis], x)
    torch.testing.assert_close(got, data().flow(flow, x, *times.tolist()), rtol=0, atol=1e-8)
