"""Respacing: the lists of guided-diffusion, and its errors as one line."""

import json
from pathlib import Path

import pytest

from configs.schema import specs
from functions.grids import GRIDS, respaced
from functions.process import VP, VPSDE

STORED = json.loads(
    (Path(__file__).parents[1] / "golden/models/gd_space_timesteps.json").read_text()
)
CASES, ERRORS = STORED["cases"], STORED["errors"]


def text(sections):
    return sections if isinstance(sections, str) else ",".join(map(str, sections))


@pytest.mark.parametrize("name", CASES)
def test_the_lists_are_those_of_guided_diffusion(name):
    case = CASES[name]
    process, sections = VP(steps=case["num_timesteps"]), text(case["section_counts"])
    want = [*reversed(case["sorted"]), -1]
    for written in (sections, sections.replace(",", "+")):
        assert respaced(process, len(want) - 1, written).tolist() == want
        assert GRIDS.parts["respaced"].facts.count(process, written) == len(want) - 1


@pytest.mark.parametrize(
    ("steps", "sections", "told"),
    [
        (1000, "ddim300", "no whole stride takes exactly 300 of 1000 times; it should be ddim250"),
        (1000, "ddim1", "no whole stride takes exactly 1 of 1000 times"),
        (1000, "400,1,1", r"respaced:400\+1\+1: section 1 has 334 times, fewer than 400"),
        (100, "101", "section 1 has 100 times, fewer than 101"),
        (100, "ddimx", "respaced:ddimx means nothing; it should be ddim25, or numbers"),
        (100, "10,,5", "means nothing"),
        (100, "10:5", "means nothing"),
        (100, "", "means nothing"),
        (100, "0", "has no times"),
    ],
)
def test_sections_that_cannot_be_had_are_refused(steps, sections, told):
    with pytest.raises(ValueError, match=told) as caught:
        respaced(VP(steps=steps), 25, sections)
    assert "\n" not in str(caught.value)


def test_every_stored_error_is_one():
    for steps, sections, *_ in ERRORS:
        with pytest.raises(ValueError, match="respaced:"):
            respaced(VP(steps=steps), 25, sections)


def test_other_numbers_of_steps_are_refused():
    with pytest.raises(ValueError, match="respaced:ddim25 has 25 steps, not 10"):
        respaced(VP(), 10, "ddim25")
    with pytest.raises(ValueError, match="needs discrete times"):
        respaced(VPSDE(), 25)


def test_commas_and_pluses_are_one_spec():
    for written in ("respaced:10,15,20", "respaced:10+15+20", "respaced:sections=10,15,20"):
        assert str(specs.grid(written)) == "respaced:10+15+20"
    assert str(specs.grid("respaced:ddim25")) == "respaced"
