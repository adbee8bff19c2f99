"""Label of a metric: the name under which its value may be shown."""

from __future__ import annotations

from typing import Protocol


class Named(Protocol):
    """Anything with the name of a feature extractor."""

    @property
    def name(self) -> str:
        """`inception` for the published network, anything else otherwise."""
        ...


def label(metric: str, extractor: str | Named, n: int) -> str:
    """Label of a metric, such as `FID`, `FID-10k`, `FID-1797`, `FD[classifier]-1617`,
    `KID[classifier]`, `FD[inception:0123abcd]-10k`. Only 50,000 samples of Inception get a bare
    name, with which published values can be compared.

    metric: its short name ("FID", "KID", "IS", "precision", ...). extractor: a feature extractor or
    its name. n: number of samples; ValueError below 1.
    """
    if n < 1:
        raise ValueError(f"a metric needs at least 1 sample, got {n}")
    name = extractor if isinstance(extractor, str) else extractor.name
    if name != "inception":
        metric = f"{'FD' if metric == 'FID' else metric}[{name}]"
    if n >= 50_000:
        return metric
    return f"{metric}-{n // 1000}k" if n % 1000 == 0 else f"{metric}-{n}"
