"""The kinds of parts with weights: networks, feature extractors, optimizers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from configs.parts import Facts, PartError, Registry

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class NetworkFacts(Facts):
    """shape: the options that follow from the rest of a config, which need not say them: the side
    of the process' state in pixels ("side"), its channels ("channels"), the channels of the
    network's answer ("answer"), twice as many where model.var_type is learned, the rows of its
    label embedding ("classes"), without which a network takes no labels, and the numbers that tell
    it how an image was augmented ("augment"), without which it cannot be called with `augment`.
    """

    shape: Mapping[str, Literal["side", "channels", "answer", "classes", "augment"]]

    def match(self, build: Callable[..., Any]) -> None:
        known = inspect.signature(build).parameters
        if unknown := [key for key in self.shape if key not in known]:
            raise PartError(f"has no option {unknown[0]}, which its shape names")


@dataclass(frozen=True, kw_only=True)
class ExtractorFacts(Facts):
    """needs_labels: whether the data set must have labels. gives_logits: whether class logits come
    beside the features, as the inception score needs them.
    """

    needs_labels: bool
    gives_logits: bool


NETWORKS: Registry[Callable[..., nn.Module], NetworkFacts] = Registry("network", NetworkFacts)
EXTRACTORS: Registry[Callable[..., Any], ExtractorFacts] = Registry(
    "feature extractor", ExtractorFacts, ("dataset", "cache", "device")
)
OPTIMIZERS: Registry[Callable[..., Optimizer], Facts] = Registry(
    "optimizer", Facts, ("parameters", "lr", "fused")
)
