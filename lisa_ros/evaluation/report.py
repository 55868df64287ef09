# SPDX-License-Identifier: Apache-2.0
"""One HTML page about a run, that needs no other file: its table, what failed, and the pictures, worst first."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.datasets.masks import decode_mask
from lisa_ros.datasets.samples import IGNORE, Round, Sample, Truth
from lisa_ros.evaluation.items import Item
from lisa_ros.evaluation.reliability import Reliability, diagram, limit_rows
from lisa_ros.evaluation.runner import load_image
from lisa_ros.evaluation.tables import Row, cells_of
from lisa_ros.segmentation.overlay import draw_overlay

_WIDEST = 420
_MOST_FAILURES = 200

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
.partial { background: #fff3cd; padding: .5em 1em; }
"""


@dataclass(frozen=True)
class Page:
    """What a page is about.

    Attributes:
        title: its heading.
        settings: what run it is, by name.
        rows: the table.
        items: all items.
        samples: (variant, sample's name) -> the sample, for pictures and truths.
        truth_title: what the second picture shows.
        whole: whether the run came to its end.
        scores: how good the masks' scores are; None where there are none.
    """

    title: str
    settings: Mapping[str, Any]
    rows: Sequence[Row]
    items: Sequence[Item]
    samples: Mapping[tuple[str, str], Sample]
    truth_title: str = "truth"
    whole: bool = True
    scores: Reliability | None = None


def page(about: Page, pictures: int) -> str:
    """The page; the `pictures` worst items are shown with image, truth and mask, embedded as JPEG."""
    judged = sorted((item for item in about.items if item.failed is None), key=lambda item: item.iou)
    failed = [item for item in about.items if item.failed is not None]
    shown = judged[:pictures]
    parts = [
        f"<h1>{_escape(about.title)}</h1>",
        "" if about.whole else '<p class="partial">This run was stopped before its end; the numbers are partial.</p>',
        _table(cells_of(about.rows)),
        _scores(about.scores),
        _settings(about.settings),
        _failures(failed),
        f"<h2>Pictures, worst first</h2><p class=note>{len(shown)} of {len(judged)} questions that were judged.</p>",
        *(_article(item, about) for item in shown),
    ]
    head = f"<meta charset=utf-8><title>{_escape(about.title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"


def _table(cells: Sequence[Sequence[str]]) -> str:
    titles, *lines = cells
    head = "".join(f"<th>{_escape(title)}" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{_escape(cell)}" for cell in line) for line in lines)
    return f"<table><tr>{head}{body}</table>"


def _scores(found: Reliability | None) -> str:
    if found is None:
        return ""
    limits = _table(limit_rows(found.limits))
    return f"<h2>Scores</h2><p>{_escape(found.line())}.</p>{diagram(found)}{limits}"


def _settings(settings: Mapping[str, Any]) -> str:
    lines = "".join(f"<tr><td>{_escape(name)}<td>{_escape(value)}" for name, value in settings.items())
    return f"<details><summary>What was run</summary><table>{lines}</table></details>"


def _failures(failed: Sequence[Item]) -> str:
    if not failed:
        return ""
    lines = "".join(
        f"<tr><td>{_escape(item.sample)}<td>{item.round}<td>{_escape(item.text)}<td>{_escape(item.failed)}"
        for item in failed[:_MOST_FAILURES]
    )
    rest = len(failed) - _MOST_FAILURES
    more = f"<p class=note>… and {rest} more; results.json has them all.</p>" if rest > 0 else ""
    head = "<tr><th>sample<th>round<th>text<th>why it could not be judged"
    return f"<h2>{len(failed)} failed</h2><p>They are in no number above.</p><table>{head}{lines}</table>{more}"


def _article(item: Item, about: Page) -> str:
    place = f"{item.sample}, round {item.round}" + (f", {item.variant}" if item.variant else "")
    group = f" · {item.group}" if item.group else ""
    score = "" if item.score is None else f", score {item.score:.3f}"
    expected = f"<p><b>expected:</b> {_escape(item.expected)}</p>" if item.expected is not None else ""
    cut = " <span class=note>(cut at its longest length)</span>" if item.cut else ""
    return (
        f"<article><p><b>IoU {item.iou:.3f}</b> · {_escape(place + group)} · {item.masks} mask(s){score}</p>"
        f"<p><b>asked:</b> {_escape(item.asked)}</p><p><b>answer:</b> {_escape(item.answer) or '(empty)'}{cut}</p>"
        f"{expected}{_pictures(item, about)}</article>"
    )


def _pictures(item: Item, about: Page) -> str:
    try:
        sample = about.samples[item.variant, item.sample]
        asked: Round = sample.rounds[item.round - 1]
        image, truth = load_image(sample.image), asked.truth()
        found = decode_mask(item.found, item.size)
        drawn = [
            ("image", image),
            (about.truth_title, _with_truth(image, truth)),
            ("mask", draw_overlay(image, [found])),
        ]
    except (ValueError, OSError, LookupError) as error:  # it changed since it was judged
        return f"<p class=note>No pictures: {_escape(error)}</p>"
    return "".join(_figure(picture, caption) for caption, picture in drawn)


def _with_truth(image: NDArray[np.uint8], truth: Truth) -> NDArray[np.uint8]:
    """The truth as a mask; what is not to be judged is greyed out."""
    picture = image.copy()
    picture[truth == IGNORE] = picture[truth == IGNORE] // 3 + np.uint8(85)
    return draw_overlay(picture, [truth == 1])


def _figure(picture: NDArray[np.uint8], caption: str) -> str:
    height, width = picture.shape[:2]
    if width > _WIDEST:
        small = (_WIDEST, max(1, round(height * _WIDEST / width)))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not done:
        raise OSError("a picture could not be written as JPEG")
    address = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
    alt = _escape(caption)
    return f'<figure><img src="{address}" alt="{alt}"><figcaption>{alt}</figcaption></figure>'


def _escape(value: Any) -> str:
    return html.escape(str(value))
