"""The Python block of the README runs as it stands, with fewer training steps."""

import re
import subprocess
import sys

import pytest
from PIL import Image

from tests.commands import ROOT


@pytest.mark.slow
def test_the_python_block_trains_and_samples(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    short = block.replace("range(1, 501)", "range(1, 3)").replace("step % 100 == 0", "step == 2")
    assert short.count("step == 2") == 1 and "range(1, 3)" in short
    where = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", short], cwd=tmp_path, env=where, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "step 2: loss" in done.stdout
    assert Image.open(tmp_path / "digits.png").size == (82, 82)  # 8 x 8 digits and their borders
