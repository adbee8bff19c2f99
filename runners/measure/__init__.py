"""From images to figures: reference statistics, metrics, held-out loss."""
