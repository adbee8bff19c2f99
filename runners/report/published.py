"""FID from the literature, drawn dotted in charts of the same data set.

All are of 50,000 samples and Inception features, read in the sources; the networks are the papers'
own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """FID by network evaluations. source: arXiv number; only_with: the only sampler beside which it
    is shown, "" for all.
    """

    title: str
    source: str
    dataset: str
    size: int
    fid: dict[int, float]
    only_with: str = ""


CIFAR10, CELEBA = ("CIFAR10", 32), ("CELEBA", 64)
CURVES = (
    Curve(
        *("DDIM, quad grid", "2010.02502", *CIFAR10),
        {10: 13.36, 20: 6.84, 50: 4.67, 100: 4.16, 1000: 4.04},
    ),
    Curve(
        *("DDIM with eta 1 (DDPM, small variance)", "2010.02502", *CIFAR10),
        {10: 41.07, 20: 18.36, 50: 8.01, 100: 5.78, 1000: 4.73},
        only_with="ddpm",
    ),
    Curve(
        *("DDPM, large variance (ddpm_noisy)", "2010.02502", *CIFAR10),
        {10: 367.0, 20: 133.0, 50: 32.7, 100: 9.99, 1000: 3.17},
        only_with="ddpm",
    ),
    Curve("F-PNDM", "2202.09778", *CIFAR10, {19: 7.03, 29: 4.61, 59: 3.68}),
    Curve("DEIS tAB3, DDPM network", "2204.13902", *CIFAR10, {10: 7.12, 20: 4.53, 50: 3.78}),
    Curve(
        *("DDIM, uniform grid", "2010.02502", *CELEBA),
        {10: 17.33, 20: 13.73, 50: 9.17, 100: 6.53, 1000: 3.51},
    ),
    Curve("F-PNDM", "2202.09778", *CELEBA, {19: 7.71, 29: 5.51, 59: 3.34}),
)


def curves(dataset: str, size: int, samplers: set[str]) -> list[Curve]:
    """Curves of a data set at an image size that belong beside these samplers (names)."""
    return [
        curve
        for curve in CURVES
        if (curve.dataset, curve.size) == (dataset.upper(), size)
        and (not curve.only_with or curve.only_with in samplers)
    ]
