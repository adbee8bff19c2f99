"""Density of images under the probability flow (2011.13456, section 4.3 and appendix D.2)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.denoiser import Denoiser
from functions.process import VariancePreserving
from functions.rows import need_preserving


def log_density(
    denoiser: Denoiser,
    x: Tensor,
    randn: Callable[[Tensor], Tensor],
    rtol: Positive = 1e-5,
    atol: Positive = 1e-5,
) -> tuple[Tensor, int]:
    """Log-density in nats, (B,) float64, of states x (B, C, H, W) at the first training time, and
    the number of network evaluations (each with a gradient). Images are usually taken for such
    states as they are; on `vp` with its linear schedule sigma is 0.01 there.

    The flow is solved up to the last training time by Dormand-Prince 5(4) of SciPy, all images with
    one step; its divergence is Hutchinson's estimate with one vector of signs for each image,
    unbiased (2011.13456, eq. 40). randn: draws noise shaped like its argument, once.

    Raises ValueError for tolerances out of range and for a process whose coefficients are not
    numbers, RuntimeError where the solver fails.
    """
    require(log_density, rtol=rtol, atol=atol)
    process = need_preserving(denoiser.process, "the likelihood of the probability flow")
    ends = torch.tensor(process.t_train, dtype=torch.float64)
    signs, size = torch.sign(randn(x)), x[0].numel()
    (first, last), (begin, end) = (
        process.alpha(ends).tolist(),
        torch.log(process.rho(ends)).tolist(),
    )

    def slope(u: float, flat: np.ndarray) -> np.ndarray:
        """Slope of (x/alpha, log-density) in u = log(sigma/alpha)."""
        state = torch.from_numpy(flat[: x.numel()]).view(x.shape).to(x)
        moved, divergence = _slope(denoiser, process, state, u, signs)
        return torch.cat([moved.double().flatten(), divergence.double()]).cpu().numpy()

    start = torch.cat([(x.double() / first).flatten().cpu(), torch.zeros(len(x)).double()])
    found = solve_ivp(slope, (begin, end), start.numpy(), rtol=rtol, atol=atol, method="RK45")
    if not found.success:
        raise RuntimeError(f"the probability flow could not be solved: {found.message}")
    final = torch.from_numpy(found.y[:, -1])
    noise, gain = final[: x.numel()].view(len(x), -1) * last, final[x.numel() :]
    normal = -(noise.square() + math.log(2 * math.pi)).sum(1) / 2
    return normal + gain + size * math.log(last / first), int(found.nfev)


def _slope(
    denoiser: Denoiser, process: VariancePreserving, state: Tensor, u: float, signs: Tensor
) -> tuple[Tensor, Tensor]:
    """d(x/alpha)/du = rho eps, and its divergence by one product with the Jacobian, at u = log rho.
    state: x/alpha (B, C, H, W).
    """
    rho = torch.tensor(math.exp(u), dtype=torch.float64)
    low, high = process.t_train
    t = process.time_of(rho).clamp(low, high)
    alpha = float(process.alpha(t))
    with torch.enable_grad():
        at = (state * alpha).requires_grad_()
        eps = denoiser.raw_eps(at, t)  # a tensor: coefficients of single numbers would be kept
        (product,) = torch.autograd.grad((eps * signs).sum(), at)
    return float(rho) * eps.detach(), float(rho) * alpha * (product * signs).flatten(1).sum(1)
