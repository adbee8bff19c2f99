"""The command line: flags -> a verb, Options, and overrides of the config.

No flag may be abbreviated. `--section.key VALUE` sets any key of the config; the flags that stand
for a key are such overrides themselves, and of two the later one counts.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from configs import imports
from configs.command import picture_flags, sweep_flags
from configs.command.flags import LEVELS, parser
from configs.command.options import Options
from configs.command.usage import UnknownFlagError, UsageError
from configs.schema.problems import known_keys

VERBS = ("sample", "sweep", "curve", "report", "test", "export", "check_data")
LOOKS = ("dry_run", "print_plan", "list_samplers", "list_parts", "json_schema")

# Flags that have a use beside those that only look or report: others would silently do nothing.
SHOWN = ("ni", "verbose", "imports")
MEANT = ("config", "doc", "exp", "override", *SHOWN)
DRAWN = ("sample", "images", "fid", "no_images", "image_folder", "use_pretrained")
PLACED = ("device", "overwrite")  # of the command that one looks at before it is run
EXPORTS = ("export", "layout", "push_to_hub")
HEEDED = {
    "list_samplers": SHOWN,
    "list_parts": SHOWN,
    "json_schema": SHOWN,
    "print_plan": (*MEANT, *DRAWN),
    "dry_run": (*MEANT, *DRAWN, *PLACED, *EXPORTS, "resume_training"),
    "report": ("config", "doc", "exp", "name", "axis", *SHOWN),
}
IMPORT = re.compile(r"--import(?:=(.*))?", re.DOTALL)

DOTTED = re.compile(r"--([A-Za-z_]\w*(?:\.\w+)+)(=.*)?", re.DOTALL)
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(frozen=True)
class Command:
    """verb: train, or one of VERBS or LOOKS; config: None where the run has its own."""

    verb: str
    config: str | None
    overrides: tuple[tuple[str, str, str], ...]
    options: Options


def run_imports(argv: Sequence[str]) -> None:
    """Run the files of --import, whose parts may bring flags of their own. Raises UsageError."""
    for word, following in zip(argv, [*argv[1:], None], strict=False):
        match = IMPORT.fullmatch(word)
        if match is not None:
            file = following if match[1] is None else match[1]
            if not file or file.startswith("--"):
                raise UsageError("--import needs a file, as in --import my_parts.py")
            try:
                imports.run(file, "--import")
            except imports.ImportFileError as err:
                raise UsageError(str(err)) from err


def parse(argv: Sequence[str]) -> Command:
    """Read a command line. Raises UsageError with one line."""
    flags, unknown = parser().parse_known_args(_fold_dotted(argv))
    if unknown:
        flags_only = [word for word in unknown if word.startswith("-")]  # the rest are their values
        raise UnknownFlagError("; ".join(_unknown(word) for word in flags_only or unknown))
    _check(flags)
    fields = {
        name: getattr(flags, name)
        for name in (
            *("doc", "image_folder", "ni", "resume_training", "overwrite", "images", "fid"),
            *("no_images", "axis", "likelihood", "use_pretrained", "device", "verbose"),
            *("export", "layout", "push_to_hub", "dry_run"),
        )
        if getattr(flags, name) is not None
    }
    lists, overrides = sweep_flags.read(flags)
    picture, overrides = picture_flags.read(flags, overrides)
    if picture is not None:
        fields["picture"] = picture
        fields.setdefault("image_folder", str(PurePath(flags.doc or "", picture.name)))
    for name in (*lists.get("docs", ()), *lists.get("names", ())):
        _check_folder("docs" if name in lists["docs"] else "name", name)
    options = Options(
        **{**fields, **lists}, exp=Path(flags.exp), command=shlex.join(["main.py", *argv])
    )
    verb = next((verb for verb in VERBS if getattr(flags, verb)), "train")
    if verb != "export":  # whose --dry_run shows the files
        verb = next((look for look in LOOKS if getattr(flags, look)), verb)
    _check_presence(verb, flags.config, options)
    return Command(verb, flags.config, tuple(overrides), options)


def _fold_dotted(argv: Sequence[str]) -> list[str]:
    """`--a.b V` and `--a.b=V` as one hidden `--override=a.b=V`, so that order is kept."""
    folded, words = [], iter(argv)
    for word in words:
        match = DOTTED.fullmatch(word)
        if match is None:
            folded.append(word)
            continue
        key, value = match.groups()
        text = value[1:] if value is not None else next(words, None)
        if text is None or (value is None and text.startswith("--")):
            raise UsageError(f"--{key} needs a value")
        folded.append(f"--override={key}={text}")
    return folded


def _unknown(word: str) -> str:
    if not word.startswith("-"):
        return f"unexpected word {word!r}; every argument here is a flag or a flag's value"
    flag = word.partition("=")[0]
    from configs.schema import Config

    own = [option for action in parser()._actions for option in action.option_strings]
    keys = [f"--{key}" for key in (*known_keys(Config), "loss.skip", "loss.tau", "loss.skip_noise")]
    named = [option for option in keys if option.rpartition(".")[2] == flag.lstrip("-")]
    visible = [option for option in own if option not in ("--override", "--SECTION.KEY")]
    near = named or difflib.get_close_matches(flag, [*visible, *keys], 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else "; see --help"
    return f"unknown flag {flag}{hint}"


def _check(flags: argparse.Namespace) -> None:
    """Check the command line for contradictory or missing flags. Reads no file."""
    _check_looks(flags)
    verbs = [f"--{verb}" for verb in VERBS if getattr(flags, verb)]
    if len(verbs) > 1:
        raise UsageError(f"{' and '.join(verbs)} are different things to do; give one")
    verb = verbs[0] if verbs else "training"
    modes = [f"--{name}" for name in picture_flags.given(flags)]
    every = [f"--{name}" for name in ("images", "fid", *picture_flags.modes())]
    rules = [
        (flags.sample and not modes, f"--sample needs {', '.join(every[:-1])} or {every[-1]}"),
        (
            flags.fid and flags.images,
            "--fid and --images exclude each other: --fid draws and measures",
        ),
        (
            len(modes) > 1,
            f"{' and '.join(modes)} are different things to sample; give one",
        ),
        (modes and not flags.sample, f"{modes[0] if modes else ''} needs --sample"),
        (flags.no_images and not flags.fid, "--no_images needs --sample --fid"),
        (flags.resume_training and verbs, f"--resume_training does not go with {verb}"),
        (
            flags.resume_training and flags.overwrite,
            "--resume_training and --overwrite exclude each other",
        ),
        (flags.image_folder is not None and not flags.sample, "--image_folder needs --sample"),
        (
            flags.overwrite and verb in ("--test", "--export", "--check_data"),
            f"--overwrite does not go with {verb}",
        ),
        (
            flags.use_pretrained is not None and verb not in ("--sample", "--test", "--export"),
            "--use_pretrained needs --sample, --test or --export",
        ),
        (flags.likelihood is not None and not flags.test, "--likelihood needs --test"),
        (flags.export == "", "--export needs the name of a new folder"),
        (flags.layout and not flags.export, "--layout needs --export"),
        (flags.push_to_hub is not None and not flags.export, "--push_to_hub needs --export"),
        (
            flags.push_to_hub is not None and not HUB_ID.fullmatch(flags.push_to_hub),
            f"--push_to_hub {flags.push_to_hub}: should be USER/NAME",
        ),
        (flags.override_help is not None, "--SECTION.KEY stands for a key such as --optim.lr"),
        (not flags.exp, "--exp needs the name of a folder"),
        (
            not DEVICE.fullmatch(flags.device),
            f"--device {flags.device}: should be auto, cpu, cuda or cuda:N",
        ),
        (flags.verbose not in LEVELS, f"--verbose {flags.verbose}: should be {', '.join(LEVELS)}"),
    ]
    for broken, text in rules:
        if broken:
            raise UsageError(text)
    for flag in ("doc", "image_folder"):
        _check_folder(flag, getattr(flags, flag))


def _check_looks(flags: argparse.Namespace) -> None:
    """Refuse flags that have no effect beside the first of HEEDED that was given."""
    look = next((name for name in HEEDED if getattr(flags, name)), None)
    if look is None:
        return
    heeded = {look, *HEEDED[look], *(PLACED if flags.sample else ())}
    if "sample" in heeded:
        heeded |= {*picture_flags.modes(), *picture_flags.owners()}
    typed = [
        action.option_strings[-1]
        for action in parser()._actions
        if action.dest not in heeded
        and getattr(flags, action.dest, None) not in (None, False, action.default)
    ]
    for key, _, flag in flags.overrides:
        if "override" not in heeded and not (look == "report" and key.startswith("data.")):
            typed.append(flag)
    if typed:
        raise UsageError(f"{typed[0]} has no effect with --{look}: leave one of them out")


def _check_folder(flag: str, name: str | None) -> None:
    if name is not None and (
        not PurePath(name).parts
        or PurePath(name).is_absolute()
        or ".." in PurePath(name).parts
        or "\0" in name
    ):
        raise UsageError(
            f"--{flag} {name!r}: should be a name without .. and without a leading slash"
        )


def _check_presence(verb: str, config: str | None, options: Options) -> None:
    if verb == "check_data" or verb in LOOKS:
        return  # each says itself what it lacks
    if verb == "report":
        if not options.names:
            raise UsageError("--report needs --name, the sweep's, or --doc")
        return
    if options.doc is None and verb == "curve":
        raise UsageError("--curve needs --docs, the runs, as in --docs uniform-0,uniform-1")
    if options.doc is None and options.use_pretrained is None:
        raise UsageError("--doc is missing: the name of the run, as in --doc my_model")
    if config is None and options.doc is None and not options.use_pretrained:
        raise UsageError("--config is missing: a YAML file, as in --config cifar10.yml")
