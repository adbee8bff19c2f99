"""The text of `sampling.guidance`."""

import math

import pytest

from configs.schema.conditions import Guidance, read_guidance


@pytest.mark.parametrize(
    ("text", "guidance"),
    [
        (2.0, Guidance(2.0)),
        ("0", Guidance(0.0)),
        ("2:0.2-0.8", Guidance(2.0, 0.2, 0.8)),
        ("7.5:rescale=0.7", Guidance(7.5, 0.0, math.inf, 0.7)),
        ("2:0-1e1:rescale=1", Guidance(2.0, 0.0, 10.0, 1.0)),
    ],
)
def test_a_guidance_is_read_and_written(text, guidance):
    asked = read_guidance(text)
    assert asked == guidance and read_guidance(str(asked)) == asked


@pytest.mark.parametrize(
    "text", ["", "-1", "2:0.8-0.2", "2:1-1", "2:0.5", "1e999", "2:1-1e999", "2:rescale=2", "2:0.7"]
)
def test_a_malformed_guidance_is_refused(text):
    with pytest.raises(ValueError, match="should be a weight, at least 0, and may name"):
        read_guidance(text)
