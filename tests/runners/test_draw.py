"""Sheets and films: pixels are those of the images, words are whole and touch nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from runners.record.image_files import pixels, to_picture
from runners.sheets.film import animation
from runners.sheets.sheet import EDGE, abreast, beside, sheet
from runners.sheets.words import INK, PALE

LONG = "wider than any image 1°\nand has two lines"


def plain(value: int, channels: int = 1, size: tuple[int, int] = (2, 2)) -> Tensor:
    return torch.full((channels, *size), value, dtype=torch.uint8)


def test_a_sheet_without_words_is_images_and_gaps() -> None:
    rows = [[plain(0), plain(1)], [plain(2)]]
    page = pixels(sheet(rows, least=5, gap=3))
    assert page.shape == (1, 21, 21)  # two images of 6 pixels a side, gaps of 3, thrice
    assert page[0, 3:9, 3:9].eq(0).all() and page[0, 3:9, 12:18].eq(1).all()
    assert page[0, 12:18, 3:9].eq(2).all() and page[0, 12:18, 12:18].eq(255).all()
    assert int((page < 255).sum()) == 3 * 36
    bare = pixels(sheet(rows[:1], least=1, gap=0))
    assert bare.tolist() == [[[0, 0, 1, 1], [0, 0, 1, 1]]]


def test_pixels_are_repeated_and_never_blurred() -> None:
    image = torch.arange(48, dtype=torch.uint8).view(3, 4, 4) * 5
    page = pixels(sheet([[image]], least=9, gap=1, paper=7))
    assert page.shape == (3, 14, 14)
    assert torch.equal(page[:, 1:13:3, 1:13:3], image)
    assert torch.equal(page[:, 1:13, 1:13], image.repeat_interleave(3, 1).repeat_interleave(3, 2))
    assert page[:, 0].eq(7).all() and page[:, :, -1].eq(7).all()


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_channels_that_are_shown(channels: int, shown: int) -> None:
    image = torch.arange(channels, dtype=torch.uint8).view(-1, 1, 1).expand(-1, 2, 2)
    page = pixels(sheet([[image]], least=1, gap=0))
    assert page[:, 0, 0].tolist() == list(range(shown))


def test_grey_beside_colour_and_empty_places() -> None:
    page = pixels(sheet([[plain(9), None, plain(3, 3)]], least=2, gap=0))
    assert page.shape == (3, 2, 6)
    assert page[:, 0].tolist() == [[9, 9, 255, 255, 3, 3]] * 3


def test_sheets_of_nothing_or_of_several_sizes_are_refused() -> None:
    for rows in ([[None]], [], [[plain(0), plain(0, size=(2, 3))]]):
        with pytest.raises(ValueError, match="all of one size"):
            sheet(rows)


def ink(page: Image.Image) -> int:
    return int((255 - pixels(page).long()).sum())


def alone(text: str, grey: int = INK) -> int:
    """The ink of a text, but for the frame of the one image it stands above."""
    page = sheet([[plain(255)]], least=80, title=text)
    scaled = pixels(page).long()
    return int((255 - scaled).sum() - FRAME) * (255 - grey) // 255


FRAME = (82**2 - 80**2) * (255 - EDGE)  # the line around an image


@pytest.mark.parametrize("count", [1, 5])
def test_words_are_whole_and_touch_nothing(count: int) -> None:
    tall = "a\nlabel\nof\nmany\nlines\nindeed"
    top, left = [LONG] * count, [tall] * count
    below = [["1.25"] * count] * count
    rows = [[plain(255)] * count] * count
    title = "a title that goes on and on and on, up to where it needs a second line"
    page = sheet(rows, top, left, title, below=below, least=80)
    words = alone(LONG) * count + alone(tall) * count + alone("1.25") * count**2
    parts = [alone(word) for word in title.split(" ")]
    expected = words + sum(parts) + FRAME * count**2
    assert ink(page) == pytest.approx(expected, rel=0.005)  # letters move by parts of a pixel
    noted = sheet(rows, top, left, title, note="in brief", below=below, least=80)
    assert ink(noted) - ink(page) == pytest.approx(alone("in brief", PALE), rel=0.02)
    array = np.asarray(noted)
    edges = array[0], array[-1], array[:, 0], array[:, -1]
    assert all((edge == 255).all() for edge in edges)


def test_images_lie_under_their_labels_and_apart_where_wanted() -> None:
    cells = [[plain(10 * i + j + 1, 3) for j in range(3)] for i in range(2)]
    for row in cells:
        for cell in row:
            cell[1] = 200  # no grey of any letter
    page = pixels(sheet(cells, top=[LONG, "b", "c"], least=80, apart=((1,), (2,))))
    lefts, tops = [], []
    for i in range(2):
        for j in range(3):
            ys, xs = torch.nonzero((page[0] == 10 * i + j + 1) & (page[1] == 200), as_tuple=True)
            assert len(xs) == 80 * 80 and int(xs.max() - xs.min()) == 79
            lefts.append(int(xs.min()))
            tops.append(int(ys.min()))
    assert lefts[:3] == lefts[3:]
    assert lefts[2] - lefts[1] > lefts[1] - lefts[0] > 200  # wide as the widest label
    assert tops[3] - tops[0] > 84


def same(one: str, other: str) -> bool:
    pages = [sheet([[plain(255)]], left=[text]) for text in (one, other)]
    return pages[0].size == pages[1].size and pages[0].tobytes() == pages[1].tobytes()


def test_labels_of_any_file_name() -> None:
    long = "a-photograph-of-the-harbour-on-a-morning-0017"
    assert same(long, "a-photograp…morning-0017")
    assert same(f"{long}\nb", "a-photograp…morning-0017\nb")
    assert same("tab\there \x1b \udce4", "tab\N{REPLACEMENT CHARACTER}here \ufffd \ufffd")
    letters = ["é", "ñ", "ψ", "Ж", "ł", "…", "\ufffd"]
    assert len({sheet([[plain(255)]], left=[letter]).tobytes() for letter in letters}) == 7


def test_how_many_fit_beside_each_other() -> None:
    for side, label in ((8, ""), (32, "0.00 image"), (256, "t")):
        count = abreast(side, label)
        cells = [plain(3, 1, (side, side))] * count
        page = sheet([cells], top=[label] * count, left=["m" * 24 if label else ""])
        assert 14_000 < page.width < 16_000, (side, label)
    assert abreast(9_000) == 1


def test_letters_grow_with_the_images() -> None:
    small, large = (
        sheet([[plain(255, size=(side, side))]], title="Ag", least=1) for side in (8, 256)
    )
    heights = [np.nonzero((np.asarray(p) < 128).any(1))[0] for p in (small, large)]
    assert heights[1].max() - heights[1].min() > heights[0].max() - heights[0].min() >= 12


def test_sheets_beside_each_other() -> None:
    page = pixels(beside([to_picture(plain(1)), to_picture(plain(2, 3, (3, 1)))]))
    assert page.tolist() == [[[1, 1, 2], [1, 1, 2], [255, 255, 2]]] * 3


def frames(count: int) -> list[Image.Image]:
    found = [to_picture(plain(40 * i, 3, (4, 6))) for i in range(count)]
    found[1] = to_picture(plain(40, 3, (2, 3)))  # one that is smaller
    return found


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_film_shows_every_frame_and_holds_the_last(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new" / f"film.{kind}"
    animation(path, frames(4), milliseconds=120, hold=900)
    with Image.open(path) as film:
        assert film.info["loop"] == 0 and film.size == (6, 4)
        shown = []
        for frame in ImageSequence.Iterator(film):
            frame.load()
            shown.append((frame.info["duration"], *frame.convert("RGB").getpixel((0, 0))))
            if len(shown) == 2:
                assert frame.convert("RGB").getpixel((5, 3)) == (255, 255, 255)
    assert [value for _, value, _, _ in shown] == [0, 40, 80, 120]
    assert [duration for duration, *_ in shown] == [120, 120, 120, 900]


def test_words_in_a_colourful_gif_keep_their_ink(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (20, 3, 64, 64), generator=generator, dtype=torch.uint8)
    reel = [sheet([[image]], title="words", note="in brief") for image in noise]
    animation(tmp_path / "film.gif", reel)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 20
        for page, frame in zip(reel, ImageSequence.Iterator(film), strict=True):
            before, after = (pixels(p.convert("RGB")).long() for p in (page, frame))
            grey = (before == before[:1]).all(0)
            for value in (INK, PALE, EDGE, 255):
                exact = grey & (before[0] == value)
                assert exact.any() and (after[:, exact] == value).all()
            assert float((before - after).abs().float().mean()) < 16


def test_a_film_is_whole_or_absent(tmp_path: Path, monkeypatch) -> None:
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        animation(tmp_path / "film.gif", frames(2))
    assert list(tmp_path.iterdir()) == []
