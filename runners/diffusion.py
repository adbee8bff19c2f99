"""class Diffusion: one config and one set of paths, wired to the verbs. No mathematics here."""

from __future__ import annotations

from functools import cached_property

from configs.command.options import Options
from configs.schema import Config
from runners.export import export
from runners.look.check_data import check_data
from runners.look.dry_run import dry_run
from runners.look.print_plan import print_plan
from runners.machine import precision, processes
from runners.machine.processes import Ranks
from runners.picture import picture
from runners.report import write_report
from runners.sample import sample
from runners.sampling.walk import walk_for
from runners.sweep import sweep
from runners.test import test
from runners.train import train


class Diffusion:
    """A command: its config, its options, and one method for each verb.

    Raises ConfigError for a wrong usage, other exceptions for failures; main.py turns both into one
    line and an exit code.
    """

    def __init__(self, config: Config, options: Options) -> None:
        self.config, self.options = config, options

    @cached_property
    def ranks(self) -> Ranks:
        """The processes of this command; started by the first verb that computes."""
        precision.set_up(self.config.training.tf32)
        return processes.start(self.options.device)

    def __enter__(self) -> Diffusion:
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the process group: a process that ends inside it may be aborted."""
        processes.stop()

    def train(self) -> None:
        """Train, or go on training, in EXP/logs/DOC."""
        train(self.config, self.options, self.ranks)

    def sample(self) -> None:
        """Draw images and measure them, or draw one of the pictures."""
        verb = sample if self.options.picture is None else picture
        verb(self.config, self.options, self.ranks)

    def sweep(self) -> None:
        """Measure every combination of runs, samplers, step counts and seeds; write the report."""
        if sweep(self.config, self.options, self.ranks):
            self.ranks.on_first(lambda: write_report(self.options))

    def curve(self) -> None:
        """Measure every snapshot of the runs: a sweep over training steps; write the report."""
        self.sweep()

    def test(self) -> None:
        """Measure the held-out loss, for the averaged and the raw weights."""
        test(self.config, self.options, self.ranks)

    def export(self) -> None:
        """Write the model as a folder for other programs; upload it where asked."""
        self.ranks.on_first(lambda: export(self.config, self.options))

    def print_plan(self) -> None:
        """Print the coefficients of the walk that would be taken, for a picture too."""
        process = self.config.process()
        walk, mode = walk_for(self.config, process), self.options.picture
        if mode is not None:
            mode.identity(self.config)  # refuses what cannot be pictured
            walk = mode.walked(self.config, process, walk)
        processes.say(print_plan(self.config, walk))

    def dry_run(self) -> None:
        """Print the config, the network's size and cost, memory and data counts."""
        processes.say(dry_run(self.config, self.options))

    def check_data(self) -> None:
        """Decode every image and print the counts."""
        check_data(self.config, self.options)
