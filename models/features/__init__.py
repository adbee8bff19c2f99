"""Networks that turn images into features for the metrics."""

from models.features.extractors import (
    OFFICIAL,
    URL,
    Classifier,
    Extractor,
    Inception,
    classifier,
    inception,
)

__all__ = ["OFFICIAL", "URL", "Classifier", "Extractor", "Inception", "classifier", "inception"]
