"""Feature extractors, one file each: networks that turn images into features for the metrics."""

from models.features.base import Extractor
from models.features.classifier import Classifier, train_classifier
from models.features.inception import Inception, open_inception
from models.parts import EXTRACTORS
