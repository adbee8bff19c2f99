"""Sweeps over runs, samplers, step counts and seeds."""
