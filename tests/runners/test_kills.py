"""A few SIGKILLs; `python -m tests.kills 50` does many."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills import INTERVAL, kills


@pytest.mark.slow
def test_kills_lose_at_most_one_interval(tmp_path: Path) -> None:
    assert max(kills(tmp_path, count=3, seed=1)) <= INTERVAL
