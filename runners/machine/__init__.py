"""The machine: processes, devices, precision, seeds, signals, versions."""
