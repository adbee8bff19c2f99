"""Respacing of guided-diffusion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, repeat
from typing import Annotated

from pydantic import AfterValidator
from torch import Tensor

from configs.parts import require
from functions.grids.base import ending
from functions.parts import GRIDS
from functions.process import Process

# Lists in flags are separated by commas, so that the canonical text has none.
Sections = Annotated[str, AfterValidator(lambda text: text.replace(",", "+"))]


def count(process: Process, sections: str) -> int:
    """Number of steps that the sections say. Raises ValueError as `respaced` does."""
    return len(_times(process, sections))


@GRIDS.part(
    title="respacing of guided-diffusion: ddim25, 250, or 10+15+20 by sections",
    paper="2102.09672",
    count=count,
)
def respaced(process: Process, steps: int, sections: Sections = "ddim25") -> Tensor:
    """Times of guided-diffusion's `timestep_respacing`, then the clean end.

    sections: "ddimN", N times 0, k, 2k, ... with a whole stride k; or the number of times in each
    of equal sections, as "250" or "10+15+20" (commas will do), evenly spaced from the first to the
    last time of a section and rounded. Raises ValueError for a continuous process, for sections
    that cannot be had, and for `steps` other than theirs.
    """
    require(respaced, sections=sections)
    times = _times(process, sections)
    if steps != len(times):
        raise ValueError(f"respaced:{sections} has {len(times)} steps, not {steps}")
    return ending(reversed(times), process)


def _times(process: Process, sections: str) -> list[int]:
    """The times without the clean end, ascending."""
    if process.steps is None:
        raise ValueError("grid respaced needs discrete times; this process is continuous")
    if not re.fullmatch(r"ddim\d{1,9}|\d{1,9}([,+]\d{1,9})*", sections):
        text = "should be ddim25, or numbers of times as in 250 or 10+15+20"
        raise ValueError(f"respaced:{sections} means nothing; it {text}")
    if sections.startswith("ddim"):
        return _strided(process.steps, int(sections.removeprefix("ddim")))
    counts = [int(text) for text in re.split("[,+]", sections)]
    if not any(counts):
        raise ValueError(f"respaced:{sections} has no times; a time grid needs at least one step")
    return [*_by_sections(process.steps, counts)]


def _strided(total: int, wanted: int) -> list[int]:
    """`wanted` times 0, k, 2k, ... below `total`."""
    possible = {len(range(0, total, k)): k for k in range(total - 1, 0, -1)}  # the least stride
    if wanted not in possible:
        near = sorted(sorted(possible, key=lambda n: abs(n - wanted))[:2])
        text = " or ".join([f"ddim{n}" for n in near] or ["1"])
        raise ValueError(
            f"respaced:ddim{wanted}: no whole stride takes exactly {wanted} of {total} times; "
            f"it should be {text}"
        )
    return [*range(0, total, possible[wanted])]


def _by_sections(total: int, counts: list[int]) -> Iterator[int]:
    """Counts of times of equal sections, of which the first ones are longer by one."""
    begin, (least, longer) = 0, divmod(total, len(counts))
    for i, wanted in enumerate(counts):
        size = least + (i < longer)
        if wanted > size:
            shown = "+".join(map(str, counts))
            text = f"section {i + 1} has {size} times, fewer than {wanted}"
            raise ValueError(f"respaced:{shown}: {text}")
        stride = (size - 1) / (wanted - 1) if wanted > 1 else 1.0
        # added up, as the reference does: a product would round other halves
        ahead = accumulate(repeat(stride, wanted - 1), initial=0.0) if wanted else ()
        yield from (begin + round(position) for position in ahead)
        begin += size
