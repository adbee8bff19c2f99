"""Words on a sheet: fonts, labels that fit, and lines that are broken."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

INK, PALE = 0, 96  # greys of words, and of the note below a sheet
SMALLEST, LARGEST = 18, 30  # a letter grows with the images, so that both are seen alike
PAD = 3  # pixels around a label
LONGEST = 24  # letters of a line of a label; more are left out in the middle


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Open the font, of Latin, Greek and Cyrillic letters, that matplotlib brings along."""
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def writable(text: str) -> str:
    """Replace every character that no font can show by a mark; line breaks stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def shortened(label: str) -> str:
    """Shorten long lines of a label in the middle: the ends of file names are what differs."""
    keep = LONGEST - 1
    return "\n".join(
        line
        if len(line) <= LONGEST
        else f"{line[: keep // 2]}\N{HORIZONTAL ELLIPSIS}{line[-(keep - keep // 2) :]}"
        for line in writable(label).split("\n")
    )


class Words:
    """Text in the size that goes with images of a width in pixels; "" takes no place."""

    def __init__(self, width: int) -> None:
        size = min(max(SMALLEST, width // 8), LARGEST)
        self.font = _font(size)
        self.line = size + size // 4

    def width(self, text: str) -> int:
        """Width of the longest line in pixels, with its padding."""
        longest = max(self.font.getlength(line) for line in text.split("\n"))
        return int(longest) + 1 + 2 * PAD if text else 0

    def height(self, text: str) -> int:
        """Height of all lines in pixels, with their padding."""
        return self.line * (text.count("\n") + 1) + 2 * PAD if text else 0

    def broken(self, text: str, width: int) -> str:
        """Break lines at spaces so that the text is no wider than `width` where it can be."""
        done: list[str] = []
        for paragraph in text.split("\n"):
            line = ""
            for word in paragraph.split(" "):
                longer = f"{line} {word}" if line else word
                if line and self.width(longer) > width:
                    done.append(line)
                    longer = word
                line = longer
            done.append(line)
        return "\n".join(done)

    def write(
        self, canvas: Image.Image, text: str, x: int, y: int, ink: int = INK, centred: bool = False
    ) -> None:
        """Write lines from (x, y) downwards, or centred about x."""
        pen, colour = ImageDraw.Draw(canvas), ink if canvas.mode == "L" else (ink,) * 3
        for number, line in enumerate(text.split("\n") if text else ()):
            place = (x if centred else x + PAD, y + PAD + self.line * number)
            pen.text(place, line, fill=colour, font=self.font, anchor="ma" if centred else "la")
