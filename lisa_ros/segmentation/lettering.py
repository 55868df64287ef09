# SPDX-License-Identifier: Apache-2.0
"""Text in images: a Unicode font, line wrapping, and numbers of objects as coloured badges inside the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import cv2
from PIL import ImageDraw, ImageFont

from lisa_ros.segmentation.text import number_of, number_symbol

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/) without black: eight colours that people with any kind of
# colour blindness can tell apart. Ordered so that the first ones differ most from each other and from wooden tables.
PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),  # sky blue
    (213, 94, 0),  # vermillion
    (240, 228, 66),  # yellow
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (230, 159, 0),  # orange
    (0, 114, 178),  # blue
)

# OpenCV's own text has ASCII only, and Pillow's built-in font no letter beyond it, not even "ü". DejaVu Sans comes with
# OpenCV's wheel and with most desktops. Roboto is a dependency in package.xml, so that rosdep installs it on every
# robot. The others have scripts that these two lack.
_FONTS = (
    str(Path(cv2.__file__).parent / "qt" / "fonts" / "DejaVuSans.ttf"),
    "DejaVuSans.ttf",
    "Roboto-Regular.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
)
_MISSING = "\U0010ffff"
"""A character that no font has."""

_USUAL = 16
"""Most words have at most so many letters, and are measured once."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_SYMBOLS = re.compile(f"([{number_symbol(1)}-{number_symbol(20)}])")


def colour_of(number: int) -> Colour:
    """The colour of an object's number, counted from 1; the palette begins again after its last colour."""
    return PALETTE[(number - 1) % len(PALETTE)]


def font_for(text: str, size_px: int) -> Font:
    """The first font found that has all characters of the text, else the first found."""
    names = _found_fonts()
    best = next((name for name in names if all(_has(name, character) for character in set(text))), None)
    return _font(best or names[0], size_px) if names else ImageFont.load_default(size_px)


@lru_cache(maxsize=1)
def _found_fonts() -> tuple[str, ...]:
    return tuple(name for name in _FONTS if _loads(name))


def _loads(name: str) -> bool:
    try:
        ImageFont.truetype(name, 12)
    except OSError:
        return False
    return True


@lru_cache(maxsize=64)
def _font(name: str, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(name, size_px)


@lru_cache(maxsize=4096)
def _has(name: str, character: str) -> bool:
    font = _font(name, 12)
    return character.isspace() or bytes(font.getmask(character)) != bytes(font.getmask(_MISSING))


class Lettering:
    """Writes text of one size. Symbols such as "①" become badges in the colour of their object."""

    def __init__(self, size_px: int) -> None:
        """Takes the size of the letters, in pixels."""
        self.size_px = size_px
        self.line_px = round(1.35 * size_px)
        """Height of a line, in pixels; also the diameter of a badge."""

    def width(self, text: str) -> int:
        """Width of a text, in pixels."""
        font = font_for(text, self.size_px)
        return sum(self.line_px if number else round(font.getlength(part)) for part, number in _parts(text))

    def draw(self, draw: ImageDraw.ImageDraw, x: int, y: int, text: str, colour: Colour) -> None:
        """Draw a text whose upper left corner is at (x, y)."""
        font = font_for(text, self.size_px)
        for part, number in _parts(text):
            if number:
                self.badge(draw, x, y, number)
                x += self.line_px
            else:
                draw.text((x, y + self.line_px / 2), part, font=font, fill=colour, anchor="lm")
                x += round(font.getlength(part))

    def badge(self, draw: ImageDraw.ImageDraw, x: int, y: int, number: int) -> None:
        """Draw an object's number on a disc of its colour, whose upper left corner is at (x, y)."""
        colour, side = colour_of(number), self.line_px
        draw.ellipse((x + 1, y + 1, x + side - 2, y + side - 2), fill=colour)
        digits = str(number)
        font = font_for(digits, max(6, round((0.85 if number < 10 else 0.7) * self.size_px)))
        draw.text((x + side / 2 - 0.5, y + side / 2), digits, font=font, fill=readable_on(colour), anchor="mm")

    def wrapped(self, text: str, width_px: int, max_lines: int) -> list[str]:
        """Lines of a text that are at most so wide; what is left after the last one becomes "…"."""
        all_lines = (line for paragraph in text.splitlines() for line in self._lines(paragraph.split(), width_px))
        lines = list(islice(all_lines, max_lines + 1))  # a text can have thousands, which nobody reads
        if len(lines) <= max_lines:
            return lines
        return [*lines[: max_lines - 1], self.shortened(lines[max_lines - 1] + " …", width_px)]

    def shortened(self, text: str, width_px: int) -> str:
        """The text, or its beginning and "…" where it is too wide."""
        if self.width(text) <= width_px:
            return text
        text = text.removesuffix("…").rstrip()
        text = text[: self._fitting(text, width_px)]  # a name can have thousands of letters
        while text and self.width(text + "…") > width_px:
            text = text[:-1].rstrip()
        return text + "…"

    def _lines(self, words: Sequence[str], width_px: int) -> Iterator[str]:
        line = ""
        for piece in (piece for word in words for piece in self._pieces(word, width_px)):
            longer = f"{line} {piece}" if line else piece
            if line and self.width(longer) > width_px:
                yield line
                longer = piece
            line = longer
        yield line

    def _pieces(self, word: str, width_px: int) -> Iterator[str]:
        """A word, cut where it is wider than a line."""
        while (fits := self._fitting(word, width_px)) < len(word):
            yield word[:fits]
            word = word[fits:]
        yield word

    def _fitting(self, word: str, width_px: int) -> int:
        """How many of a word's first characters are at most so wide; at least 1."""

        def width_of(count: int) -> int:
            return self.width(word[:count])

        most = _USUAL
        while width_of(most) <= width_px:
            if most >= len(word):
                return len(word)
            most *= 2
        return max(1, bisect_right(range(1, min(most, len(word))), width_px, key=width_of))


def readable_on(colour: Colour) -> Colour:
    """Black or white, whichever contrasts more with a colour (luma of ITU-R BT.601)."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)


def _parts(text: str) -> Iterator[tuple[str, int]]:
    """Pieces of a text, each with its number: that of a symbol such as "①", 0 for other text."""
    for part in filter(None, _SYMBOLS.split(text)):
        yield part, number_of(part) if _SYMBOLS.fullmatch(part) else 0
