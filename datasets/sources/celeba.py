"""CELEBA: 162,770 training and 19,962 test faces, the aligned images, without labels.

Cropped as in the DDIM repository (rows 57:185, columns 25:153). The files are read directly,
because torchvision's checksums refuse links and Kaggle's copies: `img_align_celeba` (a folder, or
the .zip as downloaded) beside `list_eval_partition.txt` (or Kaggle's .csv), in the data set's
folder or in its sub-folder `celeba`.
"""

from pathlib import Path

from datasets.files import Files, FolderFiles, ZipFiles, missing_names
from datasets.parts import SOURCES
from datasets.readers import FileReader, Split, Splits
from datasets.sources.vision import fetch

BOX = (25, 57, 153, 185)  # left, top, right, bottom: 128 x 128 around (89, 121) of 178 x 218
TRAIN, TEST = "0", "2"  # values in the list of partitions; 1 is validation
PUT = (
    "img_align_celeba.zip and list_eval_partition.txt "
    "(https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)"
)


@SOURCES.part("CELEBA", title="CelebA", paper="1411.7766", size=None, channels=3, labels="no")
def celeba(path: Path, download: bool) -> Splits:
    """Read the cropped images; the official validation split is not used."""
    found = _find(path)
    if found is None:
        from torchvision.datasets import CelebA

        fetch("CelebA", PUT, path, download, lambda: CelebA(path, download=True))
        found = _find(path)
    if found is None:
        raise RuntimeError(f"CelebA was downloaded to {path}, but its files are not there")
    files, listing = found
    there = {Path(name).name: name for name in files.names()}
    return _split(files, listing, there, TRAIN), _split(files, listing, there, TEST)


def _find(path: Path) -> tuple[Files, Path] | None:
    """Find the images and the list of partitions."""
    for base in (path, path / "celeba"):
        listings = [base / f"list_eval_partition.{end}" for end in ("txt", "csv")]
        listing = next((file for file in listings if file.is_file()), None)
        if listing is None:
            continue
        if (base / "img_align_celeba").is_dir():
            return FolderFiles(base / "img_align_celeba"), listing
        if (base / "img_align_celeba.zip").is_file():
            return ZipFiles(base / "img_align_celeba.zip"), listing
    return None


def _split(files: Files, listing: Path, there: dict[str, str], partition: str) -> Split:
    """Make the split of one partition. there: path below `files` of every image's name."""
    rows = [line.replace(",", " ").split() for line in listing.read_text().splitlines()]
    wanted = [row[0] for row in rows if len(row) == 2 and row[1] == partition]
    if not wanted:
        raise ValueError(f"{listing} names no image of partition {partition}: download it again")
    if missing := missing_names(there, wanted):
        raise FileNotFoundError(
            f"{files.path} lacks {missing} of {listing.name}: unpack img_align_celeba.zip again"
        )
    return Split(FileReader(files, [there[name] for name in wanted]), box=BOX)
