"""Blur: blurring diffusion."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from configs.parts import require
from configs.values import Count, PositiveOrZero
from functions.parts import PROCESSES
from functions.process.base import Process

RHO_FIRST = 80.0  # sigma/alpha at which sampling starts, as in gDDIM's code


@PROCESSES.part("blur", title="blurring diffusion", paper="2209.05557")
class Blur(Process):
    """Blurring diffusion (2209.05557) in the form of gDDIM (2206.05564): in the orthonormal DCT
    basis every frequency fades at its own rate; time in [0, 1].

    States are in DCT space, the network works in pixels. Sampling walks from the t where
    sigma/alpha is 80 to t = 1e-5, training times are drawn from [1e-5, 1], the network receives
    999 t.

    image_size: pixels, one number or (H, W).
    blur_max: largest standard deviation of the blur, in pixels.
    min_scale: share of the highest frequencies that is left at t = 1.

    Raises ValueError for options out of range.
    """

    def __init__(
        self,
        image_size: Count | tuple[Count, Count],
        blur_max: PositiveOrZero = 10.0,
        min_scale: Annotated[float, Gt(0), Le(1)] = 1e-3,
    ) -> None:
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        require(Blur, image_size=size, blur_max=blur_max, min_scale=min_scale)
        self.blur_max, self.min_scale = blur_max, min_scale
        rows, columns = (torch.pi * torch.arange(n, dtype=torch.float64) / n for n in size)
        self.frequencies = rows[:, None] ** 2 + columns**2  # (H, W)
        self.bases = tuple(_dct_basis(n) for n in size)
        self.steps = None
        least = self._abar(torch.zeros(()).double())
        # gDDIM's code counts rho from sigma at t = 0
        rho = RHO_FIRST + torch.sqrt(1 - least)
        deepest = torch.arccos(torch.sqrt(least / (rho**2 + least)))
        self.t_start, self.t_end = float(deepest * 2 / torch.pi * 1.008 - 0.004), 1e-5
        self.t_train, self.index_step = (1e-5, 1.0), 1e-3

    def mean(self, t: Tensor) -> Tensor:
        t = t.double()[..., None, None]
        fade = torch.exp(-self.frequencies.to(t.device) * self._blurred(t))
        kept = self.min_scale + (1 - self.min_scale) * fade
        return (torch.sqrt(self._abar(t)) * kept)[..., None, None]

    def psi(self, t: Tensor, s: Tensor) -> Tensor:
        return self.mean(s) / self.mean(t)

    def factor(self, t: Tensor) -> Tensor:
        return torch.sqrt(1 - self._abar(t.double())).expand(t.shape)[..., None, None, None, None]

    def drift(self, t: Tensor) -> Tensor:
        fall, fade = self._slopes(t)
        return (-fall / 2 + fade)[..., None, None]

    def diffusion(self, t: Tensor) -> Tensor:
        fall, fade = self._slopes(t)
        return (fall - 2 * (1 - self._abar(t.double()[..., None, None])) * fade)[..., None, None]

    def _slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """-d log abar/dt and d log(fading)/dt, each (*t.shape, H, W)."""
        t = t.double()[..., None, None]
        fall = torch.pi / 1.008 * torch.tan(torch.pi / 2 * (t + 0.004) / 1.008)
        blur, frequencies = self._blurred(t), self.frequencies.to(t.device)
        growth = self.blur_max**2 * torch.sin(torch.pi * t / 2) ** 3 * torch.cos(torch.pi * t / 2)
        fade = (1 - self.min_scale) * torch.exp(-frequencies * blur)
        return fall, -frequencies * torch.pi * growth * fade / (self.min_scale + fade)

    def _blurred(self, t: Tensor) -> Tensor:
        """Dissipation time tau: half the variance of the blur."""
        return (self.blur_max * torch.sin(torch.pi * t / 2) ** 2) ** 2 / 2

    def network_time(self, t: Tensor) -> Tensor:
        return 999 * t

    def lift(self, x0: Tensor) -> Tensor:
        rows, columns = (basis.to(x0.device) for basis in self.bases)
        return (rows @ x0.double() @ columns.T).to(x0)  # float64: autocast and TF32 would round it

    def drop(self, x: Tensor) -> Tensor:
        rows, columns = (basis.to(x.device) for basis in self.bases)
        return (rows.T @ x.double() @ columns).to(x)

    def views(self, x: Tensor) -> dict[str, Tensor]:
        """Pixels, and the magnitude of every frequency: 0.1 is black, 1 (pure noise) grey, 10
        white; the mean of the image is at the top left.
        """
        return {"pixels": self.drop(x), "spectrum": torch.log10(x.abs().clamp(0.1, 10))}

    def to_network(self, x: Tensor) -> Tensor:
        return self.drop(x)

    def from_network(self, answer: Tensor) -> Tensor:
        return self.lift(answer)

    @staticmethod
    def _abar(t: Tensor) -> Tensor:
        return torch.cos(torch.pi / 2 * (t + 0.004) / 1.008) ** 2


def _dct_basis(n: int) -> Tensor:
    """Orthonormal DCT-II as a matrix (n, n): row k is cos(pi k (i + 1/2)/n), normalised."""
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    basis = torch.cos(torch.pi * k * (i + 0.5) / n) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis
