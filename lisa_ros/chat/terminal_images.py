# SPDX-License-Identifier: Apache-2.0
"""Images in a terminal: kitty's and iTerm2's protocols, sixel, or half blocks of 24 bit colour."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Protocol = Literal["kitty", "iterm2", "sixel", "blocks", "none"]
PROTOCOLS: tuple[Protocol, ...] = ("kitty", "iterm2", "sixel", "blocks", "none")

_KITTY_CHUNK = 4096
_CELL_WIDTH = 10
"""Pixels that a column of text is taken to have, for protocols that count pixels."""
_WIDEST = 1000
_SIXEL_COLOURS = 128


def supported_protocol(environment: Mapping[str, str] | None = None, is_terminal: bool = True) -> Protocol:
    """What a terminal can show, as far as its environment variables say.

    Args:
        environment: None: this process's.
        is_terminal: whether the output is one at all.
    """
    known = os.environ if environment is None else environment
    terminal, program = known.get("TERM", ""), known.get("TERM_PROGRAM", "")
    if not is_terminal or terminal in ("", "dumb"):
        return "none"
    if known.get("TMUX") or terminal.startswith("screen"):
        return "blocks"  # multiplexers do not pass images on
    if terminal in ("xterm-kitty", "xterm-ghostty") or known.get("KITTY_WINDOW_ID") or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty"):
        return "iterm2"
    if terminal.startswith(("foot", "mlterm", "contour")) or "sixel" in terminal:
        return "sixel"
    return "blocks"


def rendered(image: NDArray[np.uint8], protocol: Protocol, columns: int) -> str:
    """An image as text to print.

    Args:
        image: RGB uint8 (H, W, 3).
        protocol: what the terminal can show.
        columns: of text that the image may take.
    """
    if protocol == "none":
        return ""
    if protocol == "blocks":
        return _half_blocks(image, columns)
    shown = Image.fromarray(image)
    shown.thumbnail((min(_WIDEST, columns * _CELL_WIDTH), _WIDEST))
    if protocol == "sixel":
        return _sixel(shown)
    file = io.BytesIO()
    shown.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return _kitty(data) if protocol == "kitty" else f"\x1b]1337;File=inline=1;preserveAspectRatio=1:{data}\x07\n"


def _kitty(data: str) -> str:
    """https://sw.kovidgoyal.net/kitty/graphics-protocol: PNG (f=100), shown at once (a=T), in chunks."""
    chunks = [data[i : i + _KITTY_CHUNK] for i in range(0, len(data), _KITTY_CHUNK)]
    parts = []
    for i, chunk in enumerate(chunks):
        first = "a=T,f=100," if i == 0 else ""
        parts.append(f"\x1b_G{first}m={int(i < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(parts) + "\n"


def _half_blocks(image: NDArray[np.uint8], columns: int) -> str:
    """Two pixels a character: the upper half block in the upper pixel's colour on the lower one's."""
    height, width = image.shape[:2]
    wide = max(1, min(columns, width))
    high = max(2, round(height * wide / width / 2) * 2)
    pixels = np.asarray(Image.fromarray(image).resize((wide, high), Image.Resampling.BOX))
    lines = []
    for upper, lower in zip(pixels[0::2], pixels[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a};{b};{c};48;2;{d};{e};{f}m\u2580"
            for (a, b, c), (d, e, f) in zip(upper.tolist(), lower.tolist(), strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines) + "\n"


def _sixel(shown: Image.Image) -> str:
    """DEC's sixel graphics: bands of six rows, for each colour of a band one bit a row and column."""
    paletted = shown.quantize(_SIXEL_COLOURS)
    palette = np.asarray(paletted.getpalette(), dtype=float).reshape(-1, 3) / 255 * 100
    indices = np.asarray(paletted)
    height, width = indices.shape
    parts = [f'\x1bPq"1;1;{width};{height}']
    parts += [f"#{i};2;{red:.0f};{green:.0f};{blue:.0f}" for i, (red, green, blue) in enumerate(palette)]
    for top in range(0, height, 6):
        band = indices[top : top + 6]
        weights = 1 << np.arange(len(band))[:, None]
        for colour in np.unique(band):
            bits = ((band == colour) * weights).sum(axis=0)
            parts.append(f"#{colour}{_run_lengths(bits)}$")
        parts.append("-")
    return "".join(parts) + "\x1b\\\n"


def _run_lengths(bits: NDArray[np.int_]) -> str:
    starts = np.flatnonzero(np.diff(bits, prepend=-1))
    lengths = np.diff(np.append(starts, len(bits)))
    return "".join(f"!{n}{chr(63 + bits[at])}" for at, n in zip(starts.tolist(), lengths.tolist(), strict=True))
