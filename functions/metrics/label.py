"""Names under which figures may be shown."""

from typing import Protocol


class Named(Protocol):
    """Anything with the name of a feature extractor."""

    @property
    def name(self) -> str:
        """``inception`` for the published network, anything else otherwise."""
        ...


def label(metric: str, extractor: str | Named, n: int) -> str:
    """Name under which a figure may be shown; only 50,000 samples of Inception make a bare one.

    ``metric`` is "FID", "KID", "IS", "precision", ...; ``extractor`` an extractor or its name;
    ``n`` the number of samples. Examples: ``FID``, ``FID-10k``, ``FID-1797``,
    ``FD[classifier]-1617``, ``KID[classifier]``, ``FD[inception:0123abcd]-10k``.
    """
    if n < 1:
        raise ValueError(f"a figure needs at least 1 sample, got {n}")
    name = extractor if isinstance(extractor, str) else extractor.name
    if name != "inception":
        metric = f"{'FD' if metric == 'FID' else metric}[{name}]"
    if n >= 50_000:
        return metric
    return f"{metric}-{n // 1000}k" if n % 1000 == 0 else f"{metric}-{n}"
