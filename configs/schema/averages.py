"""Checks of the averages that a training keeps, and of the one that samples are drawn with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.schema.problems import Problem
from configs.values import show

if TYPE_CHECKING:
    from configs.schema import Config


def check_averages(config: Config) -> list[Problem]:
    """Find averages that contradict each other, and one that is asked for and not kept."""
    return [*_powers(config), *(_kept(config) or _sampled(config))]


def _kept(config: Config) -> list[Problem]:
    """Averages by rate or half-life."""
    model, averages = config.model, config.model.averages
    if model.ema_warmup and model.ema_rampup is not None:
        text = f"{show(model.ema_rampup)} and ema_warmup true exclude each other; give one"
        return [Problem("model.ema_rampup", text)]
    if model.ema_rate is not None and model.ema_half_life is not None:
        text = f"{show(model.ema_half_life)} and ema_rate {show(model.ema_rate)} exclude each other"
        return [Problem("model.ema_half_life", f"{text}; give one")]
    if len(set(averages)) < len(averages):
        text = f"{show(averages)} names one average twice"
        return [Problem(f"model.{_key(config)}", text)]
    if len(set(rates := config.ema_rates)) < len(rates) or max(rates, default=0) >= 1:
        text = f"{show(model.ema_half_life)} gives the rates {', '.join(map(str, rates))} with "
        text += f"{config.training.images_per_update} images an update; they should differ, below 1"
        return [Problem("model.ema_half_life", text)]
    return []


def _powers(config: Config) -> list[Problem]:
    """Averages by power functions, and their snapshots."""
    powers, every = config.model.ema_powers, config.training.ema_snapshot_freq
    if powers and len(set(powers)) < len(powers):
        return [Problem("model.ema_powers", f"{show(powers)} names one average twice")]
    if every and not powers:
        text = f"{every} has no effect without model.ema_powers, such as [0.05, 0.1]"
        return [Problem("training.ema_snapshot_freq", text)]
    return []


def _sampled(config: Config) -> list[Problem]:
    """The average of samples. Whether a run has a length is known when its snapshots are found."""
    sampling, averages = config.sampling, config.model.averages
    if sampling.ema is not None and sampling.ema_length is not None:
        text = f"{sampling.ema_length:g} and ema {show(sampling.ema)} exclude each other; give one"
        return [Problem("sampling.ema_length", text)]
    if isinstance(sampling.ema, float | int) and sampling.ema not in averages:
        kept = ", ".join(map(show, averages)) or "nothing (model.ema is false)"
        text = f"{show(sampling.ema)} is not averaged; model.{_key(config)} keeps {kept}"
        return [Problem("sampling.ema", text)]
    return []


def _key(config: Config) -> str:
    return "ema_rate" if config.model.ema_half_life is None else "ema_half_life"
