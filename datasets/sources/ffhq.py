"""FFHQ: a folder or a zip of faces, of any size, without classes."""

from pathlib import Path

from datasets.parts import SOURCES
from datasets.readers import Splits
from datasets.sources.folder import read_folder


@SOURCES.part("FFHQ", title="FFHQ", paper="1812.04948", size=None, channels=3, labels="no")
def ffhq(path: Path, download: bool) -> Splits:
    """Read the images; sub-folders are no classes, each only holds a thousand images."""
    return read_folder(path, labelled=False)
