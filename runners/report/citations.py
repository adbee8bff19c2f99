"""Which papers a study ran, as BibTeX and in words. Keys are arXiv numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from functions.samplers import SAMPLERS
from runners.report.study import Doc, Study


class Paper(NamedTuple):
    """authors as BibTeX wants them; venue: empty for a preprint."""

    key: str
    authors: str
    title: str
    venue: str
    year: int


PAPERS = {
    "2401.01520": Paper(
        "wang2024s2dm", "Wang, Yixuan and Li, Shuangyin", "{S}^2-{DMs}: Skip-Step Diffusion Models",
        "", 2024,
    ),
    "2006.11239": Paper(
        "ho2020ddpm", "Ho, Jonathan and Jain, Ajay and Abbeel, Pieter",
        "Denoising Diffusion Probabilistic Models", "NeurIPS", 2020,
    ),
    "2010.02502": Paper(
        "song2021ddim", "Song, Jiaming and Meng, Chenlin and Ermon, Stefano",
        "Denoising Diffusion Implicit Models", "ICLR", 2021,
    ),
    "2011.13456": Paper(
        "song2021score",
        "Song, Yang and Sohl-Dickstein, Jascha and Kingma, Diederik P. and Kumar, Abhishek and "
        "Ermon, Stefano and Poole, Ben",
        "Score-Based Generative Modeling through Stochastic Differential Equations", "ICLR", 2021,
    ),
    "2102.09672": Paper(
        "nichol2021improved", "Nichol, Alex and Dhariwal, Prafulla",
        "Improved Denoising Diffusion Probabilistic Models", "ICML", 2021,
    ),
    "2202.09778": Paper(
        "liu2022pndm", "Liu, Luping and Ren, Yi and Lin, Zhijie and Zhao, Zhou",
        "Pseudo Numerical Methods for Diffusion Models on Manifolds", "ICLR", 2022,
    ),
    "2204.13902": Paper(
        "zhang2023deis", "Zhang, Qinsheng and Chen, Yongxin",
        "Fast Sampling of Diffusion Models with Exponential Integrator", "ICLR", 2023,
    ),
    "2206.00364": Paper(
        "karras2022edm", "Karras, Tero and Aittala, Miika and Aila, Timo and Laine, Samuli",
        "Elucidating the Design Space of Diffusion-Based Generative Models", "NeurIPS", 2022,
    ),
    "2206.00927": Paper(
        "lu2022dpmsolver",
        "Lu, Cheng and Zhou, Yuhao and Bao, Fan and Chen, Jianfei and Li, Chongxuan and Zhu, Jun",
        "{DPM-Solver}: A Fast {ODE} Solver for Diffusion Probabilistic Model Sampling in Around "
        "10 Steps", "NeurIPS", 2022,
    ),
    "2112.07068": Paper(
        "dockhorn2022cld", "Dockhorn, Tim and Vahdat, Arash and Kreis, Karsten",
        "Score-Based Generative Modeling with Critically-Damped {Langevin} Diffusion", "ICLR", 2022,
    ),
    "2206.05564": Paper(
        "zhang2023gddim", "Zhang, Qinsheng and Tao, Molei and Chen, Yongxin",
        "{gDDIM}: Generalized Denoising Diffusion Implicit Models", "ICLR", 2023,
    ),
    "2209.05557": Paper(
        "hoogeboom2023blurring", "Hoogeboom, Emiel and Salimans, Tim",
        "Blurring Diffusion Models", "ICLR", 2023,
    ),
    "2211.01095": Paper(
        "lu2022dpmsolverpp",
        "Lu, Cheng and Zhou, Yuhao and Bao, Fan and Chen, Jianfei and Li, Chongxuan and Zhu, Jun",
        "{DPM-Solver++}: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
        "", 2022,
    ),
    "2302.04867": Paper(
        "zhao2023unipc",
        "Zhao, Wenliang and Bai, Lujia and Rao, Yongming and Zhou, Jie and Lu, Jiwen",
        "{UniPC}: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models",
        "NeurIPS", 2023,
    ),
    "2305.08891": Paper(
        "lin2024flawed", "Lin, Shanchuan and Liu, Bingchen and Li, Jiashi and Yang, Xiao",
        "Common Diffusion Noise Schedules and Sample Steps are Flawed", "WACV", 2024,
    ),
    "2308.15321": Paper(
        "ning2024epsscaling",
        "Ning, Mang and Li, Mingxiao and Su, Jianlin and Salah, Albert Ali and Onal Ertugrul, Itir",
        "Elucidating the Exposure Bias in Diffusion Models", "ICLR", 2024,
    ),
    "1706.08500": Paper(
        "heusel2017fid",
        "Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and "
        "Hochreiter, Sepp",
        "{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium",
        "NIPS", 2017,
    ),
    "1801.01401": Paper(
        "binkowski2018kid",
        "Bi{\\'n}kowski, Miko{\\l}aj and Sutherland, Danica J. and Arbel, Michael and Gretton, "
        "Arthur",
        "Demystifying {MMD} {GANs}", "ICLR", 2018,
    ),
    "1904.06991": Paper(
        "kynkaanniemi2019precision",
        "Kynk{\\\"a}{\\\"a}nniemi, Tuomas and Karras, Tero and Laine, Samuli and Lehtinen, Jaakko "
        "and Aila, Timo",
        "Improved Precision and Recall Metric for Assessing Generative Models", "NeurIPS", 2019,
    ),
}  # fmt: skip

# Which paper stands behind a name that a sweep can hold.
METRICS = {
    "distance": ("1706.08500", "the Frechet distance"),
    "kid": ("1801.01401", "KID"),
    "precision": ("1904.06991", "precision and recall"),
    "recall": ("1904.06991", "precision and recall"),
}
GRIDS = {
    "quad": "2010.02502",
    "ddim_uniform": "2010.02502",
    "trailing": "2305.08891",
    "power": "2204.13902",
    "karras": "2206.00364",
    "logsnr": "2206.00927",
}
EPS_SCALES = {"skip": "2401.01520", "linear": "2308.15321"}
LOSSES = {"simple": "2006.11239", "skip": "2401.01520"}
PROCESSES = {
    "vp": "2006.11239",
    "vpsde": "2011.13456",
    "cld": "2112.07068",
    "blur": "2209.05557",
}
NETWORKS = {"ddpm": "2006.11239", "ncsnpp": "2011.13456"}


def used(study: Study) -> dict[str, list[str]]:
    """arXiv number -> what of it was run."""
    found: dict[str, list[str]] = {}
    for paper, what in _uses(study):
        reasons = found.setdefault(paper, [])
        if what not in reasons:
            reasons.append(what)
    return found


def _uses(study: Study) -> Iterator[tuple[str, str]]:
    for doc in study.docs:
        yield from _of_doc(doc)
    for sweep in study.sweeps:
        for cell in sweep.cells:
            sampler = str(cell.record.get("sampler_name") or cell.sampler.split(":")[0])
            if sampler in SAMPLERS:
                yield SAMPLERS.parts[sampler].facts.paper, f"sampler {cell.sampler}"
            grid = cell.grid.split(":")[0]
            if grid in GRIDS:
                yield GRIDS[grid], f"grid {cell.grid}"
    for metric in study.metrics:
        yield METRICS[metric.key]


def _of_doc(doc: Doc) -> Iterator[tuple[str, str]]:
    scale = doc.eps_scale.split(":")[0]
    if doc.loss in LOSSES:
        yield LOSSES[doc.loss], f"loss {doc.loss}"
    if scale in EPS_SCALES:
        yield EPS_SCALES[scale], f"eps scale {doc.eps_scale}"
    diffusion, model = (doc.config.get(key) or {} for key in ("diffusion", "model"))
    process = str(diffusion.get("process"))
    if process in PROCESSES:
        yield PROCESSES[process], f"process {process}"
    if diffusion.get("beta_schedule") == "cosine":
        yield "2102.09672", "schedule cosine"
    if model.get("name") in NETWORKS:
        yield NETWORKS[model["name"]], f"network {model['name']}"


def bibtex(study: Study) -> str:
    """One entry per paper that was run."""
    return "\n\n".join(_entry(number) for number in used(study))


def _entry(number: str) -> str:
    paper = PAPERS.get(number)
    if paper is None:
        return f"@misc{{arxiv{number},\n  eprint = {{{number}}},\n  archivePrefix = {{arXiv}}\n}}"
    kind = "inproceedings" if paper.venue else "misc"
    lines = [f"author = {{{paper.authors}}}", f"title = {{{_title(paper.title)}}}"]
    if paper.venue:
        lines.append(f"booktitle = {{{paper.venue}}}")
    lines += [f"year = {{{paper.year}}}", f"eprint = {{{number}}}", "archivePrefix = {arXiv}"]
    body = ",\n  ".join(lines)
    return f"@{kind}{{{paper.key},\n  {body}\n}}"


def words(study: Study) -> list[tuple[str, str, str]]:
    """(arXiv number, who and what, what of it was run) in plain text."""
    found = []
    for number, reasons in used(study).items():
        paper = PAPERS.get(number)
        title = "a paper"
        if paper is not None:
            names = [_plain(name.split(",")[0]) for name in paper.authors.split(" and ")]
            who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
            venue = f"{paper.venue} " if paper.venue else ""
            title = f"{who}: {_plain(paper.title)}, {venue}{paper.year}"
        found.append((number, title, ", ".join(reasons)))
    return found


def _title(title: str) -> str:
    return title.replace("{S}^2", "{S$^2$}")


def _plain(text: str) -> str:
    for tex, letter in (("\\'n", "ń"), ("\\l", "ł"), ('\\"a', "ä"), ("{", ""), ("}", "")):
        text = text.replace(tex, letter)
    return text
