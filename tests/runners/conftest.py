"""What several tests of the verbs begin with."""

import pytest

from main import main
from tests.commands import TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """An experiment folder with one run, `digits`, of 3 steps. Copy it; nothing may write here."""
    folder = tmp_path_factory.mktemp("trained")
    assert main([*TINY, "--exp", str(folder), "--doc", "digits", "--training.n_iters", "3"]) == 0
    return folder
