"""The flags and their help, grouped by verb."""

from __future__ import annotations

import argparse
import json
from typing import Any, NoReturn

from configs.command import picture_flags
from configs.command.options import AXES, EXPORTED
from configs.command.usage import UsageError

VERSION = "0.4.0"
LEVELS = ("debug", "info", "warning", "error", "critical")
TEXT = ("NAME", "FILE", "TEXT", "SET", "SPEC")  # what these name is text, whatever it looks like
EXAMPLES = """\
examples:
  python main.py --config digits.yml --doc digits --ni
  python main.py --config cifar10_s2dm.yml --doc s2dm --training.batch_size 64 --loss.skip 49 --ni
  python main.py --config cifar10.yml --doc ddpm --resume_training --ni
  python main.py --doc s2dm --sample --fid --timesteps 50 --eta 0 --ni
  python main.py --doc s2dm --sample --fid --sample_type deis:3 --nfe 20 --ni
  python main.py --doc s2dm --sweep --samplers generalized,f_pndm,deis:3 --timesteps 10,20,50 --ni
  python main.py --curve --docs 'ddpm-*,s2dm-*' --name fast --timesteps 50 --ni
  python main.py --doc s2dm --sample --sequence --timesteps 50 --frames 8 --ni
  python main.py --doc s2dm --sample --inpaint --image photo.png --mask center --ni
  torchrun --nproc_per_node=8 main.py --config cifar10.yml --doc ddpm --ni

exit codes: 0 done, 1 failed, 2 usage, 75 stopped by SIGTERM or SIGUSR1 after saving, 130 Ctrl-C
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class _Override(argparse.Action):
    """Collects (dotted key, YAML text, flag); `dest` is the key, --override holds KEY=TEXT."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        key, text = self.dest, str(values)
        if option_string == "--override":
            key, _, text = text.partition("=")
            option_string = f"--{key}"
        elif self.metavar in TEXT:
            text = json.dumps(text)
        namespace.overrides = [*namespace.overrides, (key, text, option_string or f"--{key}")]


def parser() -> argparse.ArgumentParser:
    """The parser of every flag; its errors are UsageErrors."""
    made = _Parser(
        prog="main.py",
        usage="main.py --config FILE --doc NAME [--sample | --sweep | --test | ...] [flags]",
        description="Train diffusion models with S^2-DM's skip-step loss, sample and measure them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    made.set_defaults(overrides=[])
    everywhere = made.add_argument_group("everywhere")
    _add_everywhere(everywhere)
    _add_train(made.add_argument_group("train (the default)"))
    _add_sample(made.add_argument_group("sample", "needs --images, --fid or one of the pictures"))
    text = "with --sample, one at a time; `main.py --sample --help` lists them"
    picture_flags.add(made.add_argument_group("pictures", text))
    _add_sweep(made.add_argument_group("sweep", "samplers x step counts x runs x seeds"))
    text = "a sweep over the checkpoints that the runs of --docs kept, with one sampler"
    _add_curve(made.add_argument_group("curve", text))
    _add_measure(made.add_argument_group("measure"))
    text = "the weights that --sample would take, as a folder for other programs and for the hub"
    _add_export(made.add_argument_group("export", text))
    _add_inspect(made.add_argument_group("inspect"))
    return made


Group = argparse._ArgumentGroup


def _switch(group: Group, flag: str, text: str) -> None:
    group.add_argument(flag, action="store_true", help=text)


def _key(group: Group, flag: str, key: str, metavar: str, text: str) -> None:
    """A flag that stands for a key of the config."""
    group.add_argument(flag, action=_Override, dest=key, metavar=metavar, help=f"{text} ({key})")


def _add_everywhere(group: Group) -> None:
    group.add_argument(
        "--config",
        metavar="FILE",
        help="a path, or a name in ./configs or the program's configs; a run has its own",
    )
    group.add_argument("--doc", metavar="NAME", help="the run's name: EXP/logs/NAME")
    group.add_argument("--exp", default="exp", metavar="DIR", help="where everything goes [exp]")
    _key(group, "--seed", "seed", "N", "all randomness follows from it")
    _key(group, "--comment", "comment", "TEXT", "kept with the run")
    group.add_argument(
        "--SECTION.KEY",
        dest="override_help",
        metavar="VALUE",
        help="set any key of the config, as in --optim.lr 2e-4 --model.ch_mult [1,2,2]",
    )
    group.add_argument("--override", action=_Override, help=argparse.SUPPRESS)
    group.add_argument(
        "--import",
        dest="imports",
        action="append",
        metavar="FILE",
        help="run a Python file that registers parts of your own; repeatable",
    )
    _switch(group, "--ni", "never ask a question")
    _switch(group, "--overwrite", "move what is in the way aside; nothing is deleted")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N [auto]")
    group.add_argument("--verbose", default="info", metavar="LEVEL", help=", ".join(LEVELS))
    group.add_argument("--version", action="version", version=f"skip-step {VERSION}")
    group.add_argument("-h", "--help", action="help", help="show this and stop")


def _add_train(group: Group) -> None:
    _switch(group, "--resume_training", "go on from the newest valid checkpoint of the run")


def _add_sample(group: Group) -> None:
    _switch(group, "--sample", "draw images")
    _switch(group, "--images", "draw images only, no metric")
    group.add_argument(
        "--use_pretrained",
        nargs="?",
        const="",
        metavar="SOURCE",
        help="weights from a file of any program, a diffusers folder or a hub id; alone: the "
        "published EMA model",
    )
    group.add_argument(
        "-i",
        "--image_folder",
        metavar="DIR",
        help="EXP/image_samples/DIR [images; of a picture: NAME/sequence and so on]",
    )
    _key(group, "--n_samples", "sampling.n_samples", "N", "how many images")
    _key(group, "--sample_type", "sampling.sample_type", "SPEC", "the sampler, such as deis:3:rho")
    _key(group, "--order", "sampling.order", "Q", "of the sampler")
    _key(group, "--variable", "sampling.variable", "NAME", "of deis: t, rho or lambda")
    _key(group, "--variance", "sampling.variance", "NAME", "of ddpm: large, small or learned")
    _key(group, "--eta", "sampling.eta", "E", "0 is DDIM, 1 has the noise of DDPM")
    grids = "the time grid, such as karras:7 or respaced:ddim25"
    _key(group, "--skip_type", "sampling.skip_type", "SPEC", grids)
    _key(group, "--timesteps", "sampling.timesteps", "S", "how many sampling steps")
    _key(group, "--nfe", "sampling.nfe", "N", "instead: at most N evaluations of the network")
    scales = "none, skip:K:TAU or linear:K,B: a factor on the predicted noise"
    _key(group, "--eps_scale", "sampling.eps_scale", "SPEC", scales)
    length = "EDM2's average of this length, such as 0.03, from the run's snapshots"
    _key(group, "--ema_length", "sampling.ema_length", "LENGTH", length)
    _key(group, "--class", "sampling.classes", "SPEC", "all, 3 or 3,5: image by image in turn")
    weight = "2, or 2:0.2-0.8 in noise levels sigma/alpha, or 2:rescale=0.7: away from no class"
    _key(group, "--guidance", "sampling.guidance", "SPEC", weight)
    weaker = "DOC[:STEP] or a file: a weaker model to be guided away from, in place of no class"
    _key(group, "--guide", "sampling.guide", "SPEC", weaker)


def _add_sweep(group: Group) -> None:
    _switch(group, "--sweep", "measure every combination; go on with the same command")
    texts = {
        "--samplers": "such as generalized,f_pndm,deis:3@quad (SAMPLER@GRID)",
        "--docs": "more runs beside --doc, separated by commas; patterns too, as in 'p2-*'",
        "--seeds": "of the noise, as in 0,1,2 [the config's seed]; also of --interpolation",
        "--shard": "I/N: the I-th (from 0) of N parts, for separate jobs",
        "--name": "EXP/sweeps/NAME [--doc, or DOC-curve]; several with --report: EXP/reports/A,B",
    }
    for flag, text in texts.items():
        group.add_argument(flag, metavar=flag[2:].upper(), help=text)
    _switch(group, "--report", "write the report of a sweep again")
    text = f"of training curves in the report: {', '.join(AXES)} [{AXES[0]}]"
    group.add_argument("--axis", metavar="AXIS", help=text)


def _add_curve(group: Group) -> None:
    _switch(group, "--curve", "measure quality against images seen; go on with the same command")
    text = "training steps, as in 500,1000 [all that have a checkpoint]"
    group.add_argument("--snapshots", metavar="SNAPSHOTS", help=text)


def _add_measure(group: Group) -> None:
    _switch(group, "--fid", "with --sample: measure the images: FID, KID, ...")
    _switch(group, "--no_images", "with --fid: measure without writing the images")
    _key(group, "--features", "evaluation.features", "SET", "the feature extractor")
    _key(group, "--inception_weights", "evaluation.inception_weights", "FILE", "a local copy")
    _switch(group, "--test", "held-out loss by quartile of t, and bits per dimension")
    group.add_argument(
        "--likelihood",
        metavar="KIND",
        choices=("bound", "ode", "none"),
        help="of --test: bound (variational, over the time grid), ode (probability flow) or none",
    )


def _add_export(group: Group) -> None:
    group.add_argument("--export", metavar="FOLDER", help="write a new folder, with a model card")
    text = f"of the files: {', '.join(EXPORTED)} [{EXPORTED[0]}]"
    group.add_argument("--layout", metavar="LAYOUT", choices=EXPORTED, help=text)
    text = "upload the folder to the Hugging Face hub; with --dry_run only print what would be sent"
    group.add_argument("--push_to_hub", metavar="USER/NAME", help=text)


def _add_inspect(group: Group) -> None:
    _switch(group, "--list_samplers", "print samplers, time grids and eps scales; stop")
    _switch(group, "--list_parts", "print everything that a config or a flag may name; stop")
    _switch(group, "--json_schema", "print the JSON schema of a config file; stop")
    _switch(group, "--print_plan", "print the table of coefficients of what would be sampled; stop")
    _switch(group, "--dry_run", "print config, parameters, FLOPs, memory and data counts; stop")
    _switch(group, "--check_data", "read every image once; count them and name bad files")
