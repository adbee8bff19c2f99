"""The sections of a report that show curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from runners.report import charts, markup, published
from runners.report.curves import curve
from runners.report.markup import escape
from runners.report.study import Doc, Metric, Point, Study, steps_title
from runners.report.style import Style, Styles, legend, nth_colour
from runners.report.summary import Gain, baseline, beside, decimals, finite, gains, pareto, timed
from runners.report.verdict import digits_of

CROWDED = 16  # lines beyond which they share no chart
SHORT = 10  # rows of a table up to which it is not folded


def styles(study: Study) -> Styles:
    """One look for every line, the same in all charts."""
    return Styles([doc.label for doc in study.docs], study.samplers)


def distance(study: Study) -> str:
    """Distance against NFE with published references, and the other figures as small multiples."""
    if not finite(study.points):
        return ""
    look = styles(study)
    shown, words = _references(study)
    several = any(p.distance.n > 1 for p in study.points)
    bars = " Points: means over the seeds of each." if several else ""
    bars += " Bars: standard deviation over them." if several else ""
    caption = f"{escape(study.distance.label)} against NFE.{bars} {words}"
    others = [metric for metric in study.metrics[1:] if finite(study.points, metric.key)]
    if len(study.lines) <= CROWDED:
        main = markup.figure(
            charts.against_nfe(study, study.distance, study.lines, look, shown), caption
        )
        rest = [
            markup.figure(charts.against_nfe(study, metric, study.lines, look, ()), _better(metric))
            for metric in others
        ]
        body = f'{look.legend()}<div class="beside">{main}{"".join(rest)}</div>'
    else:
        rest = [markup.details(_better(metric), _panels(study, metric, ())) for metric in others]
        body = f"{look.legend(dashes=False)}{_panels(study, study.distance, shown)}"
        body += markup.note(caption) + "".join(rest)
    return markup.section("distance", "Quality against evaluations", body)


def _panels(study: Study, metric: Metric, references: Sequence[published.Curve]) -> str:
    """Many lines: a chart for each doc, or for each sampler, whichever are fewer; equal axes."""
    look = styles(study)
    found = [
        f"<div><h3>{escape(name)}</h3>"
        f"{markup.figure(charts.against_nfe(study, metric, lines, look, references))}</div>"
        for name, lines in look.groups(study.lines).items()
    ]
    return f'<div class="beside">{"".join(found)}</div>'


def _better(metric: Metric) -> str:
    return f"{escape(metric.label)}: {'lower' if metric.lower_is_better else 'higher'} is better."


def _references(study: Study) -> tuple[list[published.Curve], str]:
    """Curves to draw, and the words about them. An FID is drawn beside an FID only: a distance in
    other features has another scale.
    """
    names = {cell.record.get("sampler_name") for sweep in study.sweeps for cell in sweep.cells}
    found = published.curves(
        str(study.dataset.get("dataset")), study.shape[2], {str(n) for n in names}
    )
    if not found:
        return [], ""
    ours = study.distance.label
    if ours.split("-")[0] == "FID":
        named = "; ".join(
            f"<b>{letter}</b> {escape(c.title)} (arXiv {c.source})"
            for letter, c in zip("abcdefgh", found, strict=False)
        )
        return found, (
            f"Dotted, published, FID of 50,000 samples of the papers' own networks: {named}. "
            f"Ours is {escape(ours)}."
        )
    listed = "; ".join(
        f"{escape(c.title)} (arXiv {c.source}): "
        + ", ".join(f"{fid:g} at {nfe}" for nfe, fid in c.fid.items())
        for c in found
    )
    return [], (
        f"Published figures are FID of 50,000 samples; {escape(ours)} has another scale, so they "
        f"are not drawn here. By NFE: {listed}."
    )


def time(study: Study) -> str:
    """Seconds per image against distance, and who is on the Pareto front."""
    ranked = timed(study.points)
    points = ranked or [p for p in finite(study.points) if p.seconds.mean > 0]
    if not points:
        return ""
    front = pareto(ranked)
    look = styles(study)
    devices = {str(c.record.get("device")) for s in study.sweeps for c in s.cells}
    caption = f"Measured on {escape(', '.join(sorted(devices)))}" + (
        ": times of different devices are not comparable." if len(devices) > 1 else "."
    )
    joined = len(study.lines) <= CROWDED
    if not joined:
        caption += " Too many lines to tell all apart here: colours and markers only."
    if any(p.seconds.n > 1 for p in points):
        caption += " Bars: standard deviation over seeds."
    chart = charts.time_against_distance(study, points, front, look, joined)
    chart = markup.figure(chart, caption)
    listed = _front(study, front, points)
    return markup.section(
        "time",
        "Quality against time",
        f'<div class="beside"><div>{look.legend(joined)}{chart}</div><div>{listed}</div></div>',
    )


def _front(study: Study, front: Sequence[Point], points: Sequence[Point]) -> str:
    """Who is on the Pareto front, who is not told apart from it, and how sure that is."""
    if not front:
        return markup.note("No front: the points have no seed in common.")
    level, digits = beside(front, points), digits_of(study, "distance")
    rows = [
        [
            (f'<span class="doc">{escape(p.doc)}</span>' if len(study.docs) > 1 else "")
            + f"{escape(p.sampler)}, {steps_title(p.steps)}{' ≈' if p in level else ''}"
            + markup.evaluations(p.nfe),
            f"{markup.spread(p.seconds, decimals([p.seconds.mean]))} s",
            markup.spread(p.distance, digits),
        ]
        for p in sorted([*front, *level], key=lambda p: p.seconds.mean)
    ]
    words = (
        f"By the means over {markup.seeds(front[0].distance.n)} nothing else is both faster and "
    )
    words += "closer (broad line). "
    if front[0].distance.n > 1:
        words += "±: standard deviation over seeds; an order within it is no claim."
    else:
        words += "How far times and distances scatter cannot be told: one seed."
    words += " ≈: off the line, but not told apart from it at 95 %." if level else ""
    return markup.details(
        f"On the front: {len(front)} of {len(points)}",
        markup.note(words)
        + markup.table(["", "per image", escape(study.distance.label)], rows, "figures"),
        len(rows) <= SHORT,
    )


def gain(study: Study) -> str:
    """Relative gain of every doc over the baseline, by sampler and step count."""
    if len(study.docs) < 2:
        return ""
    over = baseline(study)
    others = [doc for doc in study.docs if doc is not over]
    found = [one for doc in others for one in gains(study, over, doc).values()]
    words = (
        f"Gain = 100 (1 - distance / distance of <b>{escape(over.label)}</b>) percent of "
        f"{escape(study.distance.label)}: positive means a lower distance than the baseline's. "
    )
    words += (
        "There is no uncertainty: one seed."
        if not any(one.known for one in found)
        else "± is the standard error over the seeds that both have, propagated from both seed by "
        "seed, as equal seeds begin with equal noise; <b>bold</b>: zero lies outside the 95 % "
        "interval (Student's t). Seeds vary the sampling noise only: how far two trainings of "
        "the same kind lie apart is not in it."
    )
    key = legend([(nth_colour(i), name) for i, name in enumerate(study.samplers)])
    blocks = [_gain_of(study, over, doc) for doc in others]
    shown = len(others) <= 3
    parts = [
        f"<h3>{title}</h3>{body}" if shown else markup.details(title, body, is_open=i == 0)
        for i, (title, body) in enumerate(blocks)
    ]
    return markup.section(
        "gain", f"Gain over {over.label}", markup.note(words), key, "".join(parts)
    )


def _gain_of(study: Study, over: Doc, doc: Doc) -> tuple[str, str]:
    found = gains(study, over, doc)
    title = escape(doc.label)
    if not found:
        text = f"No sampler, step count and seed in common with {escape(over.label)}: no gain."
        return title, markup.note(text)
    most = max(one.seeds for one in found.values())
    rows = []
    for sampler in study.samplers:
        cells = [escape(sampler)]
        for steps in study.steps:
            one = found.get((sampler, steps))
            if one is None:
                cells.append('<span class="none">–</span>')
                continue
            error = f" ± {one.error:.1f}" if math.isfinite(one.error) else ""
            mark = ' class="best"' if one.clear else ""
            seeds = markup.seeds(one.seeds) if one.seeds < most else ""
            few = f'<span class="nfe few">{seeds}</span>' if seeds else ""
            cells.append(f"<span{mark}>{one.percent:+.1f}{error}</span>{few}")
        rows.append(cells)
    text = _summed_up(list(found.values()))
    chart = charts.gain_against_nfe(study, over.label, doc.label, found)
    table = markup.table(["%", *map(steps_title, study.steps)], rows, "figures")
    figure = markup.figure(chart, "Gain in %. Bars: standard error.")
    return title, f'<p>{text}.</p><div class="flow">{table}{figure}</div>'


def _summed_up(found: Sequence[Gain]) -> str:
    better = sum(one.percent > 0 for one in found)
    lowest, highest = (f(one.percent for one in found) for f in (min, max))
    text = f"Lower distance in {better} of {len(found)} places, {lowest:+.1f} to {highest:+.1f} %; "
    clear = [one.percent > 0 for one in found if one.clear]
    unknown = sum(not one.known for one in found)
    if unknown == len(found):
        return f"{text}how clearly cannot be told: one seed"
    text += f"clearly lower in {sum(clear)}, clearly higher in {len(clear) - sum(clear)}"
    return f"{text}, cannot be told in {unknown}: one seed" if unknown else text


def training(study: Study, runs: dict[str, Path]) -> str:
    """Loss curves of the docs whose runs have a metrics.jsonl."""
    found, losses = [], set()
    for doc in study.docs:
        run = runs.get(doc.label) or runs.get(doc.name) or doc.info.get("run")
        one = curve(doc.label, Path(run)) if run else None
        if one is not None:
            found.append(one)
            losses.add(str(doc.config.get("loss")))
    if not found:
        return ""
    entries = [(nth_colour(i), one.title) for i, one in enumerate(found)]
    caption = "Faint: as written. Full: running geometric mean. Hollow markers: held-out images."
    if len(losses) > 1:
        caption += " The docs minimise different losses: heights do not compare."
    plain = [(Style(style.colour), title) for style, title in entries]
    body = markup.figure(charts.training(found), caption)
    return markup.section("training", "Training", legend(plain), f'<div class="lead">{body}</div>')
