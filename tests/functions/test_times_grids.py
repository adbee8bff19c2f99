import pytest
import torch

from functions.grids import GRIDS
from functions.grids.ays import LEVELS
from functions.process import EDM, VP, VPSDE
from functions.times import TIMES
from tests.analytic import golden

VPS = {"vp": VP(), "vpsde": VPSDE()}


def asked(kind):
    return [k for k in golden("timesteps") if k.startswith(kind)]


@pytest.mark.parametrize("key", asked("uniform"))
def test_uniform_grids_equal_the_ddim_repository(key):
    stored, steps = golden("timesteps")[key], int(key.split("__")[1])
    for name in ("uniform", "ddim_uniform"):
        assert GRIDS[name](VP(), steps).tolist() == [*stored.flip(0).tolist(), -1]


@pytest.mark.parametrize("key", asked("quad"))
def test_quad_is_the_distinct_times_of_the_ddim_repository(key):
    stored, steps = golden("timesteps")[key], int(key.split("__")[1])
    assert GRIDS["quad"](VP(), steps).tolist() == [*stored.unique().flip(0).tolist(), -1]


@pytest.mark.parametrize(("steps", "ran"), [(7, 8), (30, 31), (300, 334), (999, 1000)])
def test_where_steps_does_not_divide_only_ddim_uniform_overshoots(steps, ran):
    stride = 1000 // steps
    repository = GRIDS["ddim_uniform"](VP(), steps)
    assert len(repository) == ran + 1
    assert repository.tolist() == [*reversed(range(0, 1000, stride)), -1]
    exact = GRIDS["uniform"](VP(), steps)
    assert exact.tolist() == [*(i * 1000 // steps for i in reversed(range(steps))), -1]


@pytest.mark.parametrize("process", VPS.values(), ids=VPS)
@pytest.mark.parametrize("name", ["uniform", "quad"])
def test_grids_fall_from_inside_the_process_to_its_clean_end(name, process):
    for steps in (1, 2, 10, 250):
        grid = GRIDS[name](process, steps)
        assert grid.dtype == torch.float64 and grid[-1] == process.t_end
        assert (grid[1:] < grid[:-1]).all() and grid[0] <= process.t_start
        assert len(grid) == steps + 1 or (name == "quad" and process.steps)


def test_continuous_grids_are_even_in_t_or_in_its_root():
    even, quad = GRIDS["uniform"](VPSDE(), 8), GRIDS["quad"](VPSDE(), 8)
    assert even[0] == quad[0] == 1 and even[-1] == quad[-1] == 1e-3
    for distances in (even.diff(), quad.sqrt().diff()):
        torch.testing.assert_close(distances, distances.mean().expand(8), rtol=1e-12, atol=0)


@pytest.mark.parametrize("steps", [10, 20])
def test_grids_of_the_solvers_equal_their_references(steps):
    """The DEIS repository's grids on the continuous process, diffusers' trailing on the table."""
    if steps == 10:
        stored = golden("deis")
        for name, theirs in (("karras", "rho7"), ("logsnr", "log"), ("power", "t2")):
            got = GRIDS[name](VPSDE(), steps)
            torch.testing.assert_close(got, stored[f"rev_ts__{theirs}__n10"], rtol=0, atol=1e-12)
    want = [*range(999, 0, -1000 // steps), -1]
    assert GRIDS["trailing"](VP(), steps).tolist() == want


@pytest.mark.parametrize("process", VPS.values(), ids=VPS)
@pytest.mark.parametrize("name", ["trailing", "power", "karras", "logsnr"])
def test_grids_of_the_solvers_fall_from_pure_noise_to_the_clean_end(name, process):
    for steps in (1, 2, 7, 250):
        grid = GRIDS[name](process, steps)
        assert grid.dtype == torch.float64 and len(grid) == steps + 1
        assert grid[0] == process.t_start and grid[-1] == process.t_end
        assert grid[-2] >= 0  # the network knows no cleaner time
        assert (grid[1:] < grid[:-1]).all()


def test_grids_are_even_in_what_their_names_say():
    vp = VP()
    noise = vp.rho(GRIDS["karras"](vp, 9, rho=3.0)[:-1]) ** (1 / 3)
    lam = -vp.rho(GRIDS["logsnr"](vp, 9)[:-1]).log()
    root = GRIDS["power"](vp, 9, order=3.0)[:-1] ** (1 / 3)
    for values in (noise, lam, root):
        torch.testing.assert_close(values.diff(), values.diff().mean().expand(8), rtol=1e-9, atol=0)


@pytest.mark.parametrize("process", [VP(), VP("cosine"), VPSDE()], ids=["vp", "cosine", "vpsde"])
def test_the_time_of_a_noise_level_is_the_inverse_of_it(process):
    times = torch.linspace(process.t_end, process.t_start, 777, dtype=torch.float64)
    back = process.time_of(process.rho(times))
    torch.testing.assert_close(back, times, rtol=1e-9, atol=1e-9)


def test_grid_options_out_of_range_are_refused():
    for name, option in (("karras", "rho"), ("power", "order")):
        with pytest.raises(
            ValueError, match=f"{option} -1 is not valid; it should be a number above 0"
        ):
            GRIDS[name](VP(), 10, **{option: -1.0})


@pytest.mark.parametrize("table", ["sd15", "sdxl", "deepfloyd", "svd"])
def test_align_your_steps_walks_the_published_levels(table):
    """Their table for 10 steps; every second of its levels for 5; between two the geometric mean
    for 20; from the first time of the process to its end.
    """
    edm = EDM(sigma_max=700.0)
    ten, five, twenty = (GRIDS["ays"](edm, steps, table) for steps in (10, 5, 20))
    torch.testing.assert_close(ten[1:-1], torch.tensor(LEVELS[table][1:-1]).double())
    torch.testing.assert_close(five[1:-1], ten[2:-1:2])
    torch.testing.assert_close(twenty[3:-2:2], (ten[1:-2] * ten[2:-1]).sqrt())
    assert ten[0] == 700 and ten[-1] == 0 and GRIDS["ays"](edm, 1, table).tolist() == [700, 0]
    assert GRIDS["ays"](VP("quad", 0.00085, 0.012), 10)[1] == pytest.approx(850, abs=0.5)


def test_align_your_steps_needs_room_for_its_levels():
    with pytest.raises(
        ValueError, match="54.5 to 0.034, which should lie between .* 14.6 and 0.02"
    ):
        GRIDS["ays"](VP("quad", 0.00085, 0.012), 10, "svd")


def test_impossible_grids_are_refused():
    for name, make in GRIDS.items():
        for steps in (0, -3, 1001):
            with pytest.raises(ValueError, match="step"):
                make(VP(), steps)
        if name not in ("ddim_uniform", "respaced", "shifted"):
            with pytest.raises(ValueError, match="at least one step"):
                make(VPSDE(), 0)
    with pytest.raises(ValueError, match="ddim_uniform.*discrete"):
        GRIDS["ddim_uniform"](VPSDE(), 10)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_antithetic_times_are_those_of_the_ddim_repository(n):
    half = torch.randint(low=0, high=1000, size=(n // 2 + 1,), generator=seeded())
    t, weight = TIMES["antithetic"](VP()).sample(n, seeded())
    assert torch.equal(t, torch.cat([half, 1000 - half - 1], dim=0)[:n])
    assert torch.equal(weight, torch.ones(n))


def test_antithetic_pairs_mirror_in_continuous_time():
    t, _ = TIMES["antithetic"](VPSDE()).sample(9, seeded())
    low, high = VPSDE().t_train
    torch.testing.assert_close(t[:4] + t[5:], torch.full((4,), low + high))


@pytest.mark.parametrize("process", VPS.values(), ids=VPS)
@pytest.mark.parametrize("name", TIMES)
def test_draws_are_a_function_of_the_generator(name, process):
    times = TIMES[name](process)
    first = times.sample(16, seeded(3))[0]
    torch.manual_seed(99)  # the global generator plays no part where one is given
    assert torch.equal(times.sample(16, seeded(3))[0], first)
    assert not torch.equal(times.sample(16, seeded(4))[0], first)
    torch.manual_seed(3)
    assert torch.equal(times.sample(16)[0], first)
