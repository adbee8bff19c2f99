"""What a sampler costs outside the network, against diffusers' scheduler of the same name.

Both get a network that costs nothing and the same stored noise: drawing it costs both the same.
Ours includes the denoiser, which turns the answer into what a plan wants, as their step does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import clock
from benchmarks.networks import peer_installed
from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.plan import Plan, solve
from functions.process import VP
from functions.samplers import SAMPLERS

STEPS = 50


@dataclass(frozen=True)
class Pair:
    """A sampler with options, and the scheduler that does the same, None where there is none."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    scheduler: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join([self.name, *(f"{k} {v}" for k, v in self.options.items())])


PAIRS = [
    Pair("ddim", {}, "DDIMScheduler", {"clip_sample": False}),
    Pair("ddim", {"eta": 1.0}, "DDIMScheduler", {"clip_sample": False}, {"eta": 1.0}),
    Pair("ddpm", {}, "DDPMScheduler", {"clip_sample": False, "variance_type": "fixed_large"}),
    Pair("s_pndm"),
    Pair("f_pndm", {}, "PNDMScheduler"),
    Pair("ipndm", {}, "IPNDMScheduler"),
    Pair("deis", {"order": 3, "variable": "t"}),
    Pair("deis", {"order": 2, "variable": "rho"}),
    Pair("deis", {"order": 2, "variable": "lambda"}, "DEISMultistepScheduler", {"solver_order": 3}),
    Pair("rho_rk", {"tableau": "midpoint"}, "KDPM2DiscreteScheduler"),
    Pair("rho_rk", {"tableau": "rk4"}),
    Pair("heun", {}, "HeunDiscreteScheduler"),
    Pair("heun", {"churn": 40.0}),
    *[
        Pair("dpm_solver_pp", {"order": q}, "DPMSolverMultistepScheduler", {"solver_order": q})
        for q in (2, 3)
    ],
    Pair(
        "dpm_solver_pp",
        {"order": 2, "sde": True},
        "DPMSolverMultistepScheduler",
        {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
    ),
    *[Pair("unipc", {"order": q}, "UniPCMultistepScheduler", {"solver_order": q}) for q in (2, 3)],
]


def measure(device: torch.device, rounds: int, shape: tuple[int, ...] = (64, 3, 32, 32)) -> dict:
    """Seconds per network evaluation of 50 steps of every sampler, and the peer's beside it."""
    generator = torch.Generator().manual_seed(0)
    x, eps, *bank = (torch.randn(shape, generator=generator).to(device) for _ in range(6))
    rows, slowest = [], ("", 0.0)
    for pair in PAIRS:
        began = time.perf_counter()
        plan = SAMPLERS[pair.name](VP(), GRIDS["uniform"](VP(), STEPS), **pair.options)
        slowest = max(slowest, (str(pair), time.perf_counter() - began), key=lambda item: item[1])
        ours = f"solve, {pair}"
        tasks: dict[str, Callable[[], Tensor]] = {ours: _ours(plan, x, eps, bank)}
        asked = {ours: plan.nfe}
        if pair.scheduler and peer_installed():
            theirs = f"{pair.scheduler} for {pair}"
            tasks[theirs], asked[theirs] = _theirs(pair, x, eps, bank)
        seconds = clock.interleave(tasks, rounds, device, warm=2)
        seconds = {name: [s / asked[name] for s in values] for name, values in seconds.items()}
        rows += clock.compared(seconds, {ours: [name for name in tasks if name != ours]})
    what = "x".join(map(str, shape))
    return {
        "title": f"Sampler, per evaluation outside the network ({what}, {STEPS} steps)",
        "rows": rows,
        "notes": [
            f"plan that took longest to build: {slowest[0]}, {1e3 * slowest[1]:.0f} ms",
            "equal results are tests: tests/test_golden_samplers.py",
        ],
    }


class _Free(nn.Module):
    """A network that has always answered already."""

    def __init__(self, eps: Tensor) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.eps


def _ours(plan: Plan, x: Tensor, eps: Tensor, bank: list[Tensor]) -> Callable[[], Tensor]:
    denoiser = Denoiser(_Free(eps), VP())
    predict = denoiser.eps if plan.basis == "eps" else denoiser.x0

    @torch.no_grad()
    def task() -> Tensor:
        noise, last = cycle(bank), x
        for state in solve(plan, predict, x, lambda x: next(noise)):
            last = state
        return last

    return task


def _theirs(
    pair: Pair, x: Tensor, eps: Tensor, bank: list[Tensor]
) -> tuple[Callable[[], Tensor], int]:
    """A walk of the scheduler and how often it asks the network."""
    import diffusers
    from diffusers.schedulers import (
        scheduling_ddim,
        scheduling_ddpm,
        scheduling_dpmsolver_multistep,
    )

    noise = cycle(bank)
    for module in (scheduling_ddim, scheduling_ddpm, scheduling_dpmsolver_multistep):
        module.randn_tensor = lambda *args, **kwargs: next(noise)  # type: ignore[attr-defined]
    schedule = {} if pair.name == "ipndm" else {"beta_schedule": "linear"}
    scheduler = getattr(diffusers, pair.scheduler or "")(**schedule, **pair.settings)
    scheduler.set_timesteps(STEPS, device=x.device)
    times, fresh = list(scheduler.timesteps), dict(vars(scheduler))

    @torch.no_grad()
    def task() -> Tensor:  # begins with a scheduler that has not walked yet
        vars(scheduler).update({k: [*v] if isinstance(v, list) else v for k, v in fresh.items()})
        state = x
        for t in times:
            scaled = scheduler.scale_model_input(state, t)
            del scaled  # what the network would be asked
            state = scheduler.step(eps, t, state, return_dict=False, **pair.call)[0]
        return state

    return task, len(times)
