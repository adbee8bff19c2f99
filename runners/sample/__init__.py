"""Sampling into a folder, with or without figures."""
