# SPDX-License-Identifier: Apache-2.0
"""HTML pages that need no other file: images are embedded, nothing is loaded or run."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WIDEST = 420
"""Images are shown at most so many pixels wide."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 84em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border: 1px solid #ccc; padding: .25em .7em; text-align: left; }
td + td { font-variant-numeric: tabular-nums; }
article { border-top: 1px solid #ccc; padding: 1em 0; }
figure { display: inline-block; margin: 0 .5em .5em 0; vertical-align: top; }
figcaption { color: #666; font-size: 85%; }
img { display: block; max-width: 100%; }
p { margin: .2em 0; overflow-wrap: anywhere; }
.note { color: #666; }
.warning { background: #fff3cd; padding: .5em 1em; }
"""


def escape(value: Any) -> str:
    """A value as text of a page."""
    return html.escape(str(value))


def page(title: str, body: Iterable[str]) -> str:
    """A whole page; the body's parts are HTML."""
    head = f"<meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
    parts = "\n".join([f"<h1>{escape(title)}</h1>", *body])
    return f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>\n{parts}\n</body></html>\n"


def table(cells: Sequence[Sequence[Any]]) -> str:
    """A table of texts; the first line has the titles."""
    titles, *lines = cells
    head = "".join(f"<th>{escape(title)}" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in line) for line in lines)
    return f"<table><tr>{head}{body}</table>"


def figure(image: NDArray[np.uint8], caption: str) -> str:
    """An image with a caption.

    Args:
        image: RGB (H, W, 3); made smaller where it is wider than WIDEST.
        caption: plain text.

    Raises:
        OSError: it cannot be written as JPEG.
    """
    height, width = image.shape[:2]
    if width > WIDEST:
        size = (WIDEST, max(1, round(height * WIDEST / width)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not done:
        raise OSError("an image could not be written as JPEG")
    address = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
    text = escape(caption)
    return f'<figure><img src="{address}" alt="{text}"><figcaption>{text}</figcaption></figure>'
