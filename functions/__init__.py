"""The mathematics: processes, denoisers, losses, time grids, plans, samplers, metrics."""
