"""Images edited while they are sampled: inpainting, inversion, interpolation."""
