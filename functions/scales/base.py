"""Type of an eps scale."""

from collections.abc import Callable

from torch import Tensor

Scale = Callable[[Tensor], Tensor]  # times -> factors, float64, of one shape
