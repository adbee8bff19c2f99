"""The mathematics: processes, denoisers, losses, grids, plans, samplers, metrics."""
