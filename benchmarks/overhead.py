"""What a sampler costs outside the network: our `solve` against diffusers' DDIMScheduler.step."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import clock
from benchmarks.networks import peer_installed
from functions.grids import GRIDS
from functions.plan import Plan, solve
from functions.process import VP
from functions.samplers import SAMPLERS

STEPS = 50


def measure(device: torch.device, rounds: int, shape: tuple[int, ...] = (64, 3, 32, 32)) -> dict:
    """Seconds per step of a DDIM walk of 50 steps with a network that costs nothing."""
    generator = torch.Generator().manual_seed(0)
    x, eps = (torch.randn(shape, generator=generator).to(device) for _ in range(2))
    vp, rows, notes = VP(), [], []
    for eta in (0.0, 1.0):
        began = time.perf_counter()
        plan = SAMPLERS["ddim"](vp, GRIDS["uniform"](vp, STEPS), eta=eta)
        notes.append(f"eta {eta:g}: plan built in {1e3 * (time.perf_counter() - began):.1f} ms")
        ours, theirs = f"solve, eta {eta:g}", f"DDIMScheduler.step, eta {eta:g}"
        tasks: dict[str, Callable[[], Tensor]] = {ours: _ours(plan, x, eps)}
        if peer_installed():
            tasks[theirs] = _theirs(eta, x, eps)
            if eta == 0:
                notes.append(_agreement(tasks[ours](), tasks[theirs]()))
        seconds = clock.interleave(tasks, rounds, device, warm=3)
        rows += clock.compared(seconds, {ours: [theirs]}, per=STEPS)
    what = "x".join(map(str, shape))
    return {
        "title": f"Sampler, per step outside the network ({what})",
        "rows": rows,
        "notes": notes,
    }


def _ours(plan: Plan, x: Tensor, eps: Tensor) -> Callable[[], Tensor]:
    @torch.no_grad()
    def task() -> Tensor:
        last = x
        for state in solve(plan, lambda x, t: eps, x):
            last = state
        return last

    return task


def _theirs(eta: float, x: Tensor, eps: Tensor) -> Callable[[], Tensor]:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_schedule="linear", clip_sample=False)
    scheduler.set_timesteps(STEPS, device=x.device)

    @torch.no_grad()
    def task() -> Tensor:
        state = x
        for t in scheduler.timesteps:
            state = scheduler.step(eps, t, state, eta=eta, return_dict=False)[0]
        return state

    return task


def _agreement(ours: Tensor, theirs: Tensor) -> str:
    gap = float((ours - theirs).abs().max() / theirs.abs().max())
    if gap > 1e-4:
        raise RuntimeError(f"the two samplers end {gap:g} apart: not the same computation")
    return f"the same walk: both end within {gap:.1e} of each other"
