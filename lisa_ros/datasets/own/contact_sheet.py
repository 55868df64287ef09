# SPDX-License-Identifier: Apache-2.0
"""Contact sheet of a data set: questions with their masks, as one image and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.datasets.loading import draw_truth, load_image
from lisa_ros.datasets.own.inspection import Inspection, Question
from lisa_ros.segmentation.files.atomic_files import write_text
from lisa_ros.segmentation.files.html_page import escape, figure, page
from lisa_ros.segmentation.files.image_files import write_image

CELL_PX = 260
_COLUMNS = 5
_GAP_PX = 4
_BACKGROUND = 24


def chosen(found: Inspection, count: int) -> list[Question]:
    """The questions to show: outliers first, then others from all over the data set, in its order."""
    outliers = found.outliers[:count]
    rest = [one for one in found.questions if not one.remark]
    room = min(count - len(outliers), len(rest))
    return outliers + [rest[int(i)] for i in np.linspace(0, len(rest) - 1, room)] if room else outliers


def write_sheet(folder: Path, title: str, found: Inspection, count: int) -> list[Path]:
    """Writes sheet.png and check.html.

    Args:
        folder: exists.
        title: of the page.
        found: the data set's.
        count: questions that are shown.

    Returns:
        the files.

    Raises:
        OSError: they cannot be written.
    """
    questions = chosen(found, count)
    cells = [_cell(one) for one in questions]
    files = [folder / "check.html"]
    if cells:
        write_image(folder / "sheet.png", _grid(cells))
        files.insert(0, folder / "sheet.png")
    write_text(files[-1], page(title, _body(found, questions)))
    return files


def _body(found: Inspection, questions: Sequence[Question]) -> Iterator[str]:
    yield "".join(f"<p>{escape(line)}</p>" for line in found.lines(shown=200))
    yield f"<h2>Questions</h2><p class=note>{len(questions)} of {len(found.questions)}, outliers first.</p>"
    for one in questions:
        remark = f' <span class="warning">{escape(one.remark)}</span>' if one.remark else ""
        caption = f"{one.sample.name}: {one.round.text}"
        yield f"<article><p>{escape(caption)}{remark}</p>{figure(_drawn(one), caption)}</article>"


def _drawn(one: Question, caption: str = "") -> NDArray[np.uint8]:
    return draw_truth(load_image(one.sample.image), one.round.truth(), caption)


def _cell(one: Question) -> NDArray[np.uint8]:
    """Made small before it is drawn on, so that lines and letters stay readable."""
    image, truth = load_image(one.sample.image), one.round.truth()
    scale = CELL_PX / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    mask = np.asarray(cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    remark = f" [{one.remark}]" if one.remark else ""
    padded = _padded(draw_truth(small, mask), CELL_PX, size[1])
    return draw_truth(padded, np.zeros(padded.shape[:2], np.uint8), f"{one.round.text}{remark}")


def _grid(cells: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    rows = [cells[i : i + _COLUMNS] for i in range(0, len(cells), _COLUMNS)]
    width = _COLUMNS if len(rows) > 1 else len(cells)
    return np.vstack([_row(row, width) for row in rows])


def _row(cells: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    height = max(len(cell) for cell in cells) + 2 * _GAP_PX
    padded = [_padded(cell, CELL_PX + 2 * _GAP_PX, height) for cell in cells]
    empty = np.full((height, CELL_PX + 2 * _GAP_PX, 3), _BACKGROUND, dtype=np.uint8)
    return np.hstack([*padded, *[empty] * (columns - len(cells))])


def _padded(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    out = np.full((height, width, 3), _BACKGROUND, dtype=np.uint8)
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    out[top : top + image.shape[0], left : left + image.shape[1]] = image
    return out
