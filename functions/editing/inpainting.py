"""Inpainting: fill the hole of an image whose other pixels are known.

Replacement (2011.13456, app. I.2): after every stage the known pixels are put into the state, with
as much noise as the state has. RePaint (2201.09865, algorithm 1 and section 4.2) also adds noise
again from time to time and repeats the steps, so that the hole can adapt to its border.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from functions.plan import Plan, Stage
from functions.process import Process
from functions.rows import root

JUMP, TIMES = 2, 10  # defaults of RePaint, see `usual`
BLOCKS = 3  # jumps in the walk of a process with velocities


def usual(process: Process, plan: Plan) -> tuple[int, int]:
    """Defaults of RePaint's `jump` and `times`, chosen by measurement (benchmarks/inpainting.py).

    2 steps, 10 times; for a process with velocities a third of the steps, 10 times. There noise
    reaches the positions through the velocities, hardly any over few steps, so that a hole would
    stay as it was; the result is still worse than without velocities, and more times help. Raises
    ValueError for a plan that cannot be resampled.
    """
    repeated = len(_steps(plan)) - 1  # all but the last
    jump = repeated // BLOCKS if process.groups > 1 else min(JUMP, repeated)
    return max(1, jump), TIMES


def resampled(process: Process, plan: Plan, jump: int, times: int) -> Plan:
    """RePaint's plan: every block of `jump` steps is walked `times` times, with the forward process
    from its end to its beginning in between. The last step, to clean data, is walked once, and so
    are the first steps that fill no block.

    Raises ValueError for jump or times below 1, a plan of fewer than jump + 1 steps, and a plan
    whose steps use answers of earlier steps, which after a jump belong to another walk.
    """
    if min(jump, times) < 1:
        raise ValueError(f"jump and times should be at least 1, not {jump} and {times}")
    steps = _steps(plan)
    rest, blocks = (len(steps) - 1) % jump, (len(steps) - 1) // jump
    if not blocks:
        raise ValueError(
            f"jumping back {jump} steps needs a walk of at least {jump + 1}, not {len(steps)}"
        )
    walk = [stage for step in steps[:rest] for stage in step]
    for begin in range(rest, len(steps) - 1, jump):
        block = [stage for step in steps[begin : begin + jump] for stage in step]
        again = [_forward(process, block[-1].s, block[0].t), *block]
        walk += block + again * (times - 1)
    return Plan(tuple(_placed(i, s) for i, s in enumerate([*walk, *steps[-1]])), plan.basis)


def _steps(plan: Plan) -> list[list[Stage]]:
    """Stages of each step down; the answers of a stage are counted from itself, 0 or below."""
    steps, step = list[list[Stage]](), list[Stage]()
    for i, stage in enumerate(plan.stages):
        if min([*stage.B, *stage.X], default=i) < i - len(step):
            raise ValueError(
                "it uses answers of earlier steps, and after a jump back those belong to another "
                "walk: take a sampler without a memory, such as ddim, ddpm, heun or rho_rk"
            )
        step.append(replace(stage, B={j - i: coef for j, coef in stage.B.items()}))
        if stage.commit and stage.s < step[0].t:  # churn commits on its way up
            steps.append(step)
            step = []
    return steps


def _placed(i: int, stage: Stage) -> Stage:
    """Stage as number i of a plan, its answers counted from the beginning of the plan."""
    return replace(stage, B={i + j: coef for j, coef in stage.B.items()})


def _forward(process: Process, s: float, t: float) -> Stage:
    """Stage of the forward process from s to the noisier t, without an evaluation."""
    early, late = torch.tensor([s, t], dtype=torch.float64)
    psi, R_s, R_t = process.psi(early, late), process.factor(early), process.factor(late)
    gained = R_t @ R_t.mT - psi @ R_s @ R_s.mT @ psi.mT
    return Stage(s, t, psi, C=root(gained), evaluate=False)


def blurs(process: Process) -> bool:
    """Whether the mean of a process has a coefficient for every frequency, and so mixes pixels."""
    return process.mean(torch.tensor(process.t_start, dtype=torch.float64)).ndim > 2


class Known:
    """Projection for `solve`: puts the known pixels of images into a state, with fresh noise for
    its time, none at a clean end.

    images: data (B, C, H, W).
    hole: bool (B or 1, 1, H, W), True where a pixel is not known; `images` is never read there.
    randn: draws noise shaped like its argument.
    x0(x, t): expected clean state of x, asked for only where the process blurs. There the known
        pixels of a noisy image depend on the pixels in the hole, for which the model's estimate is
        taken. It is clamped to [-1, 1], or as far as the known pixels go: early estimates are
        wild, and the edge of the hole would spread that over all frequencies.
    """

    def __init__(
        self,
        process: Process,
        images: Tensor,
        hole: Tensor,
        randn: Callable[[Tensor], Tensor],
        x0: Callable[[Tensor, float], Tensor],
    ) -> None:
        self.process, self.randn, self.x0 = process, randn, x0
        self.hole, self.images = hole, images.masked_fill(hole, 0.0)
        self.bound = max(1.0, float(self.images.abs().max()))

    def __call__(self, x: Tensor, s: float) -> Tensor:
        """State x (B, ...) at time s with the known pixels in their place."""
        process = self.process
        times = torch.full((len(x),), s, dtype=torch.float64, device=x.device)
        images = self.images
        if blurs(process):
            guess = process.drop(self.x0(x, s)).clamp(-self.bound, self.bound)
            images = torch.where(self.hole, guess, images)
        noisy = bool(process.factor(times[:1]).any())
        noise = self.randn(x) if noisy else torch.zeros_like(x)
        known = process.perturb(images, times, noise).to(x)
        shown, put = process.to_network(x), process.to_network(known)
        return process.from_network(torch.where(self.hole, shown, put))
