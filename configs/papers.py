"""The papers behind the parts: BibTeX entries of papers.bib by arXiv number."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("papers.bib")
FIELD = re.compile(r"^\s*(\w+) = \{(.*)\},?$", re.MULTILINE)
LETTERS = (("\\'n", "ń"), ("\\l", "ł"), ('\\"a', "ä"), ("S$^2$", "S^2"), ("{", ""), ("}", ""))


@cache
def entries() -> dict[str, str]:
    """Every entry of papers.bib, whole, by arXiv number."""
    texts = re.findall(r"^@.*?^}", FILE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {_fields(text)["eprint"]: text for text in texts}


def bibtex(number: str, own: str = "") -> str:
    """The entry of an arXiv number. own: what a part brings along for a paper that is not there."""
    bare = f"@misc{{arxiv{number},\n  eprint = {{{number}}},\n  archivePrefix = {{arXiv}}\n}}"
    return entries().get(number) or own.strip() or bare


def words(number: str, own: str = "") -> str:
    """`Ho et al.: Denoising Diffusion Probabilistic Models, NeurIPS 2020` in plain text."""
    found = _fields(bibtex(number, own))
    if not {"author", "title", "year"} <= found.keys():
        return "a paper"
    names = [_plain(name.split(",")[0]) for name in found["author"].split(" and ")]
    who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    venue = f"{found['booktitle']} " if "booktitle" in found else ""
    return f"{who}: {_plain(found['title'])}, {venue}{found['year']}"


def _fields(entry: str) -> dict[str, str]:
    return dict(FIELD.findall(entry))


def _plain(text: str) -> str:
    for tex, letter in LETTERS:
        text = text.replace(tex, letter)
    return text
