"""Editing of images by sampling: inpainting, inversion, interpolation."""
