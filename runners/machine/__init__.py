"""The machine a command runs on: its processes, devices, signals, versions."""
