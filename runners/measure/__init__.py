"""From images to metrics: features, reference statistics, metrics; and the held-out loss."""
